/*
 * Proves that no path of the API is forgotten: each asks for the token, refuses the pages of strangers, and says to the
 * named origin that it may read the answer, errors included; and that what was refused has changed nothing.
 */
#include <stdio.h>
#include <string.h>

#include "kit_events.h"
#include "kit_http.h"

#define APP     "https://app.example"
#define TOKEN   "Authorization: Bearer secret-T\r\n"
#define STRANGE "Origin: https://evil.example\r\n"

/* A request that would do something, of every path that the contract names. */
static const struct call {
    const char *method, *target, *body;
    bool open;      /* needs no token */
    bool no_method; /* what it would do is not looked at */
} calls[] = {
    {"POST", "/push?key=k", "1", false, false},
    {"GET", "/blocking-get?key=k&groupId=g&timeout=0", NULL, false, false},
    {"POST", KIT_PUBLISH, "{\"channel\":\"c\",\"eventType\":\"t\",\"payload\":1}", false, false},
    {"POST", KIT_SUBSCRIBE, "{\"userId\":1,\"channel\":\"c\"}", false, false},
    {"POST", KIT_UNSUBSCRIBE, "{\"userId\":9,\"channel\":\"c\"}", false, false},
    {"GET", KIT_LIST "?userId=1", NULL, false, false},
    {"GET", KIT_HISTORY "?channel=c", NULL, false, false},
    {"GET", KIT_ACTIVE_CONNECTIONS, NULL, false, false},
    {"GET", KIT_STREAM "?userId=2&channels=c", NULL, false, false},
    {"POST", "/events",
     "{\"event_id\":\"e\",\"user_id\":\"u\",\"type\":\"t\",\"ts\":\"2026-01-01T00:00:00Z\"}", false, false},
    {"PUT", "/reference/users", "{\"user_metadata\":{\"u\":{}},\"ts\":\"2026-01-01T00:00:00Z\"}", false,
     false},
    {"GET", "/metrics?window=10", NULL, false, false},
    {"GET", "/getUsers", NULL, false, false},
    {"GET", "/getEvents", NULL, false, false},
    {"GET", "/getEventsByUserId/u", NULL, false, false},
    {"POST", "/addEvent", "{\"name\":\"n\",\"userId\":\"u\"}", false, false},
    {"POST", "/liveEvent", "{\"userId\":\"u\",\"name\":\"add_revenue\",\"value\":1}", false, false},
    {"GET", "/userEvents/u", NULL, false, false},
    {"GET", "/health", NULL, true, false},
    {"GET", "/healthz", NULL, true, false},
    {"GET", "/", NULL, false, true},
    {"GET", "/no-such-path", NULL, false, true},
    {"DELETE", "/push?key=k", NULL, false, true},
    {"PATCH", "/userEvents/u", NULL, false, true},
    {"POST", "/health", "1", false, true},
};

static const struct kit_response *ask(struct kit_connection *connection, const struct call *call,
                                      const char *headers)
{
    kit_send_request(connection, call->method, call->target, headers, call->body,
                     call->body == NULL ? 0 : strlen(call->body));
    return kit_receive(connection);
}

/* Nothing was pushed, stored, counted, written. */
static void check_nothing_happened(struct kit_server *server, const char *headers)
{
    static const struct {
        const char *target, *body;
    } rows[] = {{"/blocking-get?key=k&groupId=other&timeout=0", "[]"},
                {"/blocking-get?key=c&groupId=other&timeout=0", "[]"},
                {KIT_HISTORY "?channel=c", "{\"events\":[],\"nextAfterId\":null}"},
                {KIT_LIST "?userId=1", "{\"channels\":[]}"},
                {"/getUsers", "[]"},
                {"/getEvents", "[]"}};
    for (size_t i = 0; i < KIT_COUNT(rows); i++)
        kit_assert_body(kit_request(server, "GET", rows[i].target, headers, NULL, 0), rows[i].body);
    const char *journal = kit_format(kit_of(server), "%s/server-events.jsonl", kit_directory(server));
    assert_string_equal(kit_read_file(kit_of(server), journal), "");
}

static void every_path_asks_for_the_token(void **state)
{
    static const char *const wrong[] = {NULL, "Authorization: Bearer wrong\r\n", "Authorization: secret\r\n",
                                        "Authorization: Basic c2VjcmV0LVQ=\r\n"};
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit, "--token", "secret-T");
    struct kit_connection *connection = kit_connect(server);
    for (size_t i = 0; i < KIT_COUNT(calls); i++) {
        kit_note(kit, "%s %s", calls[i].method, calls[i].target);
        for (size_t k = 0; k < KIT_COUNT(wrong); k++) {
            const struct kit_response *response = ask(connection, &calls[i], wrong[k]);
            if (calls[i].open) {
                kit_assert_status(response, 200);
                continue;
            }
            if (strcmp(calls[i].target, "/health") == 0)
                continue; /* the path is open, with any method */
            kit_assert_error(response, 401, "Bearer");
            kit_assert_header(response, "WWW-Authenticate", "Bearer");
        }
    }
    check_nothing_happened(server, TOKEN);
}

static void the_token_opens_every_path(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit, "--token", "secret-T");
    struct kit_connection *connection = kit_connect(server);
    for (size_t i = 0; i < KIT_COUNT(calls); i++) {
        kit_note(kit, "%s %s", calls[i].method, calls[i].target);
        const struct kit_response *response = ask(connection, &calls[i], TOKEN);
        /* Nobody is subscribed to what the stream asks for, and nobody has revenue. */
        kit_assert_status_among(response, kit, calls[i].no_method ? "404|405" : "200|201|202|403|404");
    }
}

static void every_path_refuses_strangers(void **state)
{
    static const char *const strange[] = {STRANGE, "Origin: null\r\n", "Sec-Fetch-Site: cross-site\r\n",
                                          TOKEN STRANGE};
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    struct kit_connection *connection = kit_connect(server);
    for (size_t i = 0; i < KIT_COUNT(calls); i++) {
        kit_note(kit, "%s %s", calls[i].method, calls[i].target);
        for (size_t k = 0; k < KIT_COUNT(strange); k++) {
            const struct kit_response *response = ask(connection, &calls[i], strange[k]);
            kit_assert_error(response, 403, "origin");
            kit_assert_header(response, "Access-Control-Allow-Origin", NULL);
        }
    }
    check_nothing_happened(server, NULL);
}

static void every_path_lets_the_named_origin_read(void **state)
{
    static const char *const headers[] = {"Origin: " APP "\r\n" TOKEN, "Origin: " APP "\r\n"};
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit, "--token", "secret-T", "--cors-origin", APP);
    struct kit_connection *connection = kit_connect(server);
    for (size_t i = 0; i < KIT_COUNT(calls); i++) {
        kit_note(kit, "%s %s", calls[i].method, calls[i].target);
        for (size_t k = 0; k < KIT_COUNT(headers); k++) {
            const struct kit_response *response = ask(connection, &calls[i], headers[k]);
            kit_assert_header(response, "Access-Control-Allow-Origin", APP);
            kit_assert_header_matches(response, kit, "Vary", "Origin");
        }
        const struct call preflight = {.method = "OPTIONS", .target = calls[i].target};
        const struct kit_response *response =
            ask(connection, &preflight, "Origin: " APP "\r\nAccess-Control-Request-Method: POST\r\n");
        kit_assert_status_among(response, kit, "200|204");
        kit_assert_header(response, "Access-Control-Allow-Origin", APP);
        assert_int_equal(response->body_length, 0);
        kit_assert_error(ask(connection, &preflight, STRANGE), 403, "origin");
    }
}

/* Answers that are made before a path is looked at: a page may read those too. */
static void refused_bytes_let_the_named_origin_read(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit, "--cors-origin", APP, "--max-body", "10");
    const char *longer = kit_repeat(kit, "x", 20000);
    const char *const requests[] = {
        "nonsense\r\n\r\n",
        "FOO / HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET / HTTP/2.0\r\nHost: h\r\n\r\n",
        "GET /healthz HTTP/1.1\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: h\r\nOrigin: a\r\nOrigin: b\r\n\r\n",
        kit_format(kit, "GET /%s HTTP/1.1\r\nHost: h\r\n\r\n", longer),
        kit_format(kit, "GET / HTTP/1.1\r\nHost: h\r\nX: %s\r\n\r\n", longer),
        "POST /push?key=k HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n12345678901",
        "POST /push?key=k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
        "chunked\r\n\r\nb\r\n12345678901\r\n0\r\n\r\n",
        "POST /push?key=k HTTP/1.1\r\nHost: h\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\n1",
        "POST /push?key=%zz HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1",
    };
    for (size_t i = 0; i < KIT_COUNT(requests); i++) {
        kit_note(kit, "%.60s", requests[i]);
        struct kit_connection *connection = kit_connect(server);
        kit_send_text(connection, requests[i]);
        const struct kit_response *response = kit_receive(connection);
        kit_assert_status_among(response, kit, "400|413|414|415|431|501|505");
        kit_assert_header(response, "Access-Control-Allow-Origin", APP);
        kit_close(connection);
    }
}

/* A field that names one thing, named twice: another server on the way may see the other one. */
static void repeated_fields_let_nobody_in(void **state)
{
    static const char *const fields[] = {
        TOKEN "Authorization: Bearer wrong\r\n",
        "Authorization: Bearer wrong\r\n" TOKEN,
        TOKEN TOKEN,
        TOKEN "Origin: http://127.0.0.1\r\nOrigin: https://evil.example\r\n",
        TOKEN "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Site: cross-site\r\n",
        TOKEN "Content-Type: text/plain\r\nContent-Type: application/json\r\n",
        TOKEN "Content-Encoding: identity\r\nContent-Encoding: gzip\r\n",
    };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit, "--token", "secret-T");
    for (size_t i = 0; i < KIT_COUNT(fields); i++)
        kit_assert_error(kit_request(server, "POST", "/push?key=k", fields[i], "1", 1), 400, "repeated");
    assert_int_equal(kit_health(server, "queue.events"), 0);
}

static void long_credentials_are_refused(void **state)
{
    static const size_t lengths[] = {100, 4096, 15000, 16384, 100000};
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit, "--token", "secret-T");
    for (size_t i = 0; i < KIT_COUNT(lengths); i++) {
        const char *field = kit_format(kit, "Authorization: Bearer %s\r\n", kit_repeat(kit, "x", lengths[i]));
        const struct kit_response *response = kit_request(server, "POST", "/push?key=k", field, "1", 1);
        kit_assert_error(response, lengths[i] < 16000 ? 401 : 431, ".");
    }
    const char *target =
        kit_format(kit, KIT_STREAM "?userId=1&channels=c&access_token=%s", kit_repeat(kit, "x", 7000));
    kit_assert_error(kit_request(server, "GET", target, NULL, NULL, 0), 401, ".");
    assert_int_equal(kit_health(server, "queue.events"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_sqlite(every_path_asks_for_the_token),
        kit_test_sqlite(the_token_opens_every_path),
        kit_test_sqlite(every_path_refuses_strangers),
        kit_test_sqlite(every_path_lets_the_named_origin_read),
        kit_test_sqlite(refused_bytes_let_the_named_origin_read),
        kit_test(repeated_fields_let_nobody_in),
        kit_test(long_credentials_are_refused),
    };
    return kit_run_event_tests(tests);
}
