/* Who is let in under /api/events: the token, in a stream's own parameter too, and the pages of other origins. */
#include <string.h>

#include "kit_events.h"
#include "kit_http.h"
#include "kit_sse.h"

#define TOKEN  "secret-T+/="
#define HEADER "Authorization: Bearer " TOKEN "\r\n"
#define QUERY  "&access_token=secret-T%2B/%3D"
#define STREAM KIT_STREAM "?userId=1&channels=c"
#define APP    "https://app.example"

static struct kit_server *serve_with_token(struct kit *kit)
{
    struct kit_server *server =
        kit_serve_events(kit, "--token", TOKEN, "--access-log", "--log-level", "debug");
    static const char body[] = "{\"userId\":1,\"channel\":\"c\"}";
    kit_assert_status(kit_request(server, "POST", KIT_SUBSCRIBE, HEADER, body, strlen(body)), 201);
    return server;
}

/* An event, and the stream must bring it. */
static void check_stream(struct kit_server *server, struct kit_sse *stream)
{
    const char *body = kit_envelope(kit_of(server), "c", "t", "1");
    kit_assert_status(kit_request(server, "POST", KIT_PUBLISH, HEADER, body, strlen(body)), 202);
    kit_sse_expect(stream, "t", "1");
    kit_sse_close(stream);
}

static void streams_take_the_token_in_three_ways(void **state)
{
    struct kit_server *server = serve_with_token(*state);
    check_stream(server, kit_sse_open_target(server, STREAM, HEADER));
    check_stream(server, kit_sse_open_target(server, STREAM, "Authorization: " TOKEN "\r\n"));
    check_stream(server, kit_sse_open_target(server, STREAM QUERY, NULL));
    check_stream(server, kit_sse_open_target(server,
                                             KIT_STREAM "?access_token=secret%2DT%2b%2F%3d"
                                                        "&userId=1&channels=c",
                                             NULL));
}

static void streams_without_it_are_refused(void **state)
{
    static const struct {
        const char *target, *headers;
    } rows[] = {
        {STREAM, NULL},
        {STREAM "&access_token=", NULL},
        {STREAM "&access_token", NULL},
        {STREAM "&access_token=wrong", NULL},
        {STREAM "&access_token=secret-T%2B/%3Dx", NULL},
        {STREAM "&access_token=secret-T%2B/", NULL},
        {STREAM "&access_token=SECRET-T%2B/%3D", NULL},
        {STREAM "&access_token=secret-T+/%3D", NULL}, /* the plus is a blank */
        {STREAM "&access_token=Bearer%20secret-T%2B/%3D", NULL},
        {STREAM "&Access_Token=secret-T%2B/%3D", NULL},
        {STREAM "&token=secret-T%2B/%3D", NULL},
        {STREAM "&access_token=wrong" QUERY, NULL}, /* the first counts */
        {STREAM, "Authorization: Bearer wrong\r\n"},
        {KIT_STREAM "?userId=2&channels=c", NULL}, /* whether it would be allowed is nobody's business */
        {KIT_STREAM, NULL},
    };
    struct kit_server *server = serve_with_token(*state);
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        kit_note(*state, "%s %s", rows[i].target, rows[i].headers == NULL ? "" : rows[i].headers);
        const struct kit_response *response =
            kit_request(server, "GET", rows[i].target, rows[i].headers, NULL, 0);
        kit_assert_error(response, 401, ".");
        kit_assert_header(response, "WWW-Authenticate", "Bearer");
    }
}

static void the_parameter_is_for_streams_alone(void **state)
{
    static const struct {
        const char *method, *target, *body;
    } rows[] = {
        {"POST", KIT_PUBLISH "?x=1" QUERY, "{\"channel\":\"c\",\"eventType\":\"t\",\"payload\":1}"},
        {"POST", KIT_SUBSCRIBE "?x=1" QUERY, "{\"userId\":1,\"channel\":\"d\"}"},
        {"POST", KIT_UNSUBSCRIBE "?x=1" QUERY, "{\"userId\":1,\"channel\":\"c\"}"},
        {"GET", KIT_LIST "?userId=1" QUERY, NULL},
        {"GET", KIT_HISTORY "?channel=c" QUERY, NULL},
        {"GET", KIT_ACTIVE_CONNECTIONS "?x=1" QUERY, NULL},
    };
    struct kit_server *server = serve_with_token(*state);
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        kit_note(*state, "%s", rows[i].target);
        const char *body = rows[i].body;
        const struct kit_response *response =
            kit_request(server, rows[i].method, rows[i].target, NULL, body, body == NULL ? 0 : strlen(body));
        kit_assert_error(response, 401, ".");
        kit_assert_header(response, "WWW-Authenticate", "Bearer");
    }
    kit_assert_body(kit_request(server, "GET", KIT_LIST "?userId=1", HEADER, NULL, 0),
                    "{\"channels\":[\"c\"]}");
    kit_assert_body(kit_request(server, "GET", KIT_HISTORY "?channel=c", HEADER, NULL, 0),
                    "{\"events\":[],\"nextAfterId\":null}");
}

static void everything_else_needs_the_header(void **state)
{
    static const char *const targets[] = {KIT_LIST "?userId=1", KIT_HISTORY "?channel=c",
                                          KIT_ACTIVE_CONNECTIONS, KIT_PUBLISH};
    struct kit_server *server = serve_with_token(*state);
    for (size_t i = 0; i < KIT_COUNT(targets); i++) {
        kit_note(*state, "%s", targets[i]);
        kit_assert_error(kit_get_path(server, targets[i]), 401, ".");
    }
    const char *body = kit_envelope(*state, "c", "t", "1");
    kit_assert_error(kit_post_json(server, KIT_PUBLISH, body), 401, ".");
    kit_assert_body(kit_request(server, "GET", KIT_HISTORY "?channel=c", HEADER, NULL, 0),
                    "{\"events\":[],\"nextAfterId\":null}");
}

static void the_token_is_never_logged(void **state)
{
    struct kit_server *server = serve_with_token(*state);
    check_stream(server, kit_sse_open_target(server, STREAM QUERY, NULL));
    kit_assert_status(kit_get_path(server, STREAM "&access_token=mistyped-secret"), 401);
    kit_assert_status(kit_get_path(server, KIT_LIST "?userId=1" QUERY), 401);
    kit_assert_status(kit_get_path(server, KIT_STREAM "?userId=1" QUERY), 400);
    kit_stop(server);
    const char *log = kit_log(server);
    if (strstr(log, "/api/events/stream") == NULL)
        kit_fail(*state, "the access log does not show the stream");
    if (strstr(log, "secret") != NULL)
        kit_fail(*state, "the log shows the token");
}

static void foreign_pages_get_no_stream(void **state)
{
    static const char *const headers[] = {"Origin: https://evil.example\r\n", "Origin: null\r\n",
                                          "Sec-Fetch-Site: cross-site\r\n"};
    struct kit_server *server = kit_serve_events(*state);
    kit_subscribe(server, "1", "c");
    for (size_t i = 0; i < KIT_COUNT(headers); i++) {
        kit_note(*state, "%s", headers[i]);
        kit_assert_error(kit_request(server, "GET", STREAM, headers[i], NULL, 0), 403, ".");
        kit_assert_error(kit_request(server, "GET", KIT_HISTORY "?channel=c", headers[i], NULL, 0), 403, ".");
    }
    assert_int_equal(kit_streams(server), 0);
}

static void the_named_origin_gets_a_stream(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit, "--cors-origin", APP);
    kit_subscribe(server, "1", "c");
    struct kit_sse *stream =
        kit_sse_open_target(server, STREAM, "Origin: " APP "\r\nSec-Fetch-Site: cross-site\r\n");
    kit_assert_header(stream->head, "Access-Control-Allow-Origin", APP);
    kit_publish(server, "c", "t", "1");
    kit_sse_expect(stream, "t", "1");
    static const char preflight[] = "Origin: " APP "\r\nAccess-Control-Request-Method: GET\r\n"
                                    "Access-Control-Request-Headers: last-event-id\r\n";
    const struct kit_response *response = kit_request(server, "OPTIONS", STREAM, preflight, NULL, 0);
    kit_assert_status_among(response, kit, "200|204");
    kit_assert_header(response, "Access-Control-Allow-Origin", APP);
    kit_assert_header_matches(response, kit, "Access-Control-Allow-Headers", "Last-Event-ID");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_engines(streams_take_the_token_in_three_ways),
        kit_test_engines(streams_without_it_are_refused),
        kit_test_engines(the_parameter_is_for_streams_alone),
        kit_test_engines(everything_else_needs_the_header),
        kit_test_engines(the_token_is_never_logged),
        kit_test_engines(foreign_pages_get_no_stream),
        kit_test_engines(the_named_origin_gets_a_stream),
    };
    return kit_run_event_tests(tests);
}
