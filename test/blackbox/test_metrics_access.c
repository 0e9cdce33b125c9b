/* Who and what reaches the enrichment: the token, the pages of other origins, methods, paths, and half requests. */
#include <string.h>

#include "kit_metrics.h"

#define TOKEN  "Authorization: Bearer secret-T\r\n"
#define APP    "https://app.example"
#define WINDOW KIT_METRICS "?window=300"
#define TABLE  "{\"user_metadata\":{\"u\":{\"plan\":\"pro\"}},\"ts\":\"2025-10-08T12:00:00Z\"}"

/* The three requests with these headers (NULL: none) have these statuses; `id` is of the event. */
static void check_requests(struct kit_server *server, const char *headers, const char *id, int status)
{
    struct kit *kit = kit_of(server);
    const char *event = kit_click(kit, id, "u", "click", kit_instant(kit, -1000));
    const struct kit_response *responses[] = {
        kit_request(server, "POST", KIT_EVENTS, headers, event, strlen(event)),
        kit_request(server, "PUT", KIT_USERS, headers, TABLE, strlen(TABLE)),
        kit_request(server, "GET", WINDOW, headers, NULL, 0),
    };
    for (size_t i = 0; i < KIT_COUNT(responses); i++) {
        kit_note(kit, "request %zu with %s", i, headers == NULL ? "nothing" : headers);
        kit_assert_status(responses[i], status);
        if (status != 200)
            kit_assert_error(responses[i], status, ".");
        if (status == 401)
            kit_assert_header(responses[i], "WWW-Authenticate", "Bearer");
    }
}

/* What was refused has left nothing. */
static void check_nothing_happened(struct kit_server *server, const char *headers)
{
    struct kit_metrics metrics;
    const char *json = kit_request(server, "GET", WINDOW, headers, NULL, 0)->body;
    const char *problem = kit_parse_metrics(json, &metrics);
    if (problem != NULL || metrics.events != 0 || kit_parse_count(metrics.by_plan, "pro") != -1)
        kit_fail(kit_of(server), "something of what was refused is there: %s", json);
}

static void everything_needs_the_token(void **state)
{
    struct kit_server *server = kit_serve(*state, "--token", "secret-T");
    check_requests(server, NULL, "e1", 401);
    check_requests(server, "Authorization: Bearer wrong\r\n", "e1", 401);
    check_nothing_happened(server, TOKEN);
    const struct kit_response *response =
        kit_request(server, "GET", WINDOW "&access_token=secret-T", NULL, NULL, 0);
    kit_assert_error(response, 401, "."); /* for streams alone */
    check_requests(server, TOKEN, "e1", 200);
    check_requests(server, "Authorization: secret-T\r\n", "e2", 200);
}

static void foreign_pages_reach_nothing(void **state)
{
    struct kit_server *server = kit_serve(*state);
    check_requests(server, "Origin: https://evil.example\r\n", "e1", 403);
    check_requests(server, "Origin: null\r\n", "e1", 403);
    check_requests(server, "Sec-Fetch-Site: cross-site\r\n", "e1", 403);
    check_nothing_happened(server, NULL);
    check_requests(server, "Sec-Fetch-Site: none\r\n", "e1", 200);
}

static void the_named_origin_is_let_in(void **state)
{
    static const struct {
        const char *target, *method;
    } rows[] = {{KIT_EVENTS, "POST"}, {KIT_USERS, "PUT"}, {WINDOW, "GET"}};
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit, "--token", "secret-T", "--cors-origin", APP);
    check_requests(server, TOKEN "Origin: " APP "\r\nSec-Fetch-Site: cross-site\r\n", "e1", 200);
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        kit_note(kit, "%s", rows[i].target);
        const char *headers = kit_format(kit,
                                         "Origin: " APP "\r\nAccess-Control-Request-Method: %s\r\n"
                                         "Access-Control-Request-Headers: authorization,content-type\r\n",
                                         rows[i].method);
        const struct kit_response *response =
            kit_request(server, "OPTIONS", rows[i].target, headers, NULL, 0);
        kit_assert_status_among(response, kit, "200|204");
        kit_assert_header(response, "Access-Control-Allow-Origin", APP);
        kit_assert_header_matches(response, kit, "Access-Control-Allow-Methods", rows[i].method);
        kit_assert_header_matches(response, kit, "Access-Control-Allow-Headers", "Authorization");
        kit_assert_header_matches(response, kit, "Access-Control-Allow-Headers", "Content-Type");
        response = kit_request(server, rows[i].method, rows[i].target, TOKEN "Origin: " APP "\r\n",
                               i < 2 ? "x" : NULL, i < 2 ? 1 : 0);
        kit_assert_header(response, "Access-Control-Allow-Origin", APP);
    }
}

static void wrong_methods_are_refused(void **state)
{
    static const struct {
        const char *path, *methods[8], *allowed;
    } rows[] = {
        {KIT_EVENTS, {"GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"}, "POST"},
        {KIT_USERS, {"GET", "HEAD", "POST", "DELETE", "PATCH", "OPTIONS"}, "PUT"},
        {WINDOW, {"POST", "PUT", "DELETE", "PATCH", "OPTIONS"}, "GET"},
    };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    for (size_t i = 0; i < KIT_COUNT(rows); i++)
        for (size_t method = 0; rows[i].methods[method] != NULL; method++) {
            kit_note(kit, "%s %s", rows[i].methods[method], rows[i].path);
            const struct kit_response *response =
                kit_request(server, rows[i].methods[method], rows[i].path, NULL, NULL, 0);
            kit_assert_status(response, 405);
            if (strcmp(rows[i].methods[method], "HEAD") != 0)
                kit_assert_error(response, 405, ".");
            kit_assert_header_matches(response, kit, "Allow",
                                      kit_format(kit, "(^|[ ,])%s([ ,]|$)", rows[i].allowed));
            if (strstr(kit_header(response, "Allow"), rows[i].methods[method]) != NULL)
                kit_fail(kit, "Allow names the method that was refused: %s", response->head);
        }
    check_nothing_happened(server, NULL);
}

static void unknown_paths_are_not_found(void **state)
{
    static const char *const paths[] = {"/events/",    "/Events",
                                        "/event",      "/events/e1",
                                        "/metrics/",   "/reference",
                                        "/reference/", "/reference/users/",
                                        "/users",      "/reference/users/u-123",
                                        "/metrics/300"};
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    for (size_t i = 0; i < KIT_COUNT(paths); i++) {
        kit_note(kit, "%s", paths[i]);
        const char *event = kit_click(kit, "e1", "u", "click", kit_instant(kit, -1000));
        kit_assert_error(kit_post_json(server, paths[i], event), 404, ".");
        kit_assert_error(kit_request(server, "PUT", paths[i], NULL, TABLE, strlen(TABLE)), 404, ".");
        kit_assert_error(kit_get_path(server, paths[i]), 404, ".");
    }
    check_nothing_happened(server, NULL);
}

static void content_types_of_tables_are_judged(void **state)
{
    static const struct {
        const char *header;
        int status;
    } rows[] = {
        {"X-None: 1", 200},
        {"Content-Type: application/json; charset=utf-8", 200},
        {"Content-Type: application/x-www-form-urlencoded", 200}, /* curl's own default */
        {"Content-Type: application/json; charset=latin-1", 415},
        {"Content-Encoding: gzip", 415},
        {"Content-Encoding: br", 415},
    };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        const char *plan = kit_format(kit, "p%zu", i);
        const char *body = kit_table(kit, kit_format(kit, "{\"u\":{\"plan\":\"%s\"}}", plan),
                                     kit_table_instant(kit, (int)i));
        kit_note(kit, "%s", rows[i].header);
        const struct kit_response *response = kit_request(
            server, "PUT", KIT_USERS, kit_format(kit, "%s\r\n", rows[i].header), body, strlen(body));
        kit_assert_status(response, rows[i].status);
        if (rows[i].status != 200)
            kit_assert_error(response, rows[i].status, ".");
        int64_t count = kit_parse_count(kit_metrics(server, 300)->by_plan, plan);
        assert_int_equal(count, rows[i].status == 200 ? 0 : -1);
    }
}

/* A table whose client vanishes before all of it has come, however much of it has. */
static void half_a_table_changes_nothing(void **state)
{
    static const char *const forms[] = {
        "PUT /reference/users HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n%s",
        "PUT /reference/users HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n%s\r\n",
        "PUT /reference/users HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n%s\r\n0\r\n",
    };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    kit_put_users(server, "{\"u\":{\"plan\":\"old\"}}", kit_table_instant(kit, 1));
    kit_add_events(server, 1, "u", "click", -1000);
    const char *users = kit_users(kit, "u", 50000, "\"plan\":\"new\",\"region\":\"eu\"");
    const char *large = kit_table(kit, users, kit_table_instant(kit, 2));
    const char *half = kit_format(kit, "%.*s", (int)strlen(large) / 2, large);
    const char *const bodies[] = {large, half, kit_table(kit, "{}", kit_table_instant(kit, 2))};
    for (size_t i = 0; i < KIT_COUNT(forms); i++)
        for (size_t way = 0; way < KIT_COUNT(bodies); way++) {
            size_t missing = i == 0 ? 1 : 0; /* a chunked one misses its end */
            struct kit_connection *connection = kit_connect(server);
            kit_send_text(connection, kit_format(kit, forms[i], strlen(bodies[way]) + missing, bodies[way]));
            if (way == 0)
                kit_reset(connection);
            else if (way == 1)
                kit_close(connection);
            else
                kit_shutdown_sending(connection);
        }
    kit_wait_until_health(server, "connections.open", 1);
    kit_assert_metrics(server, 300, .unique_users = 1, .plans = "old=1", .regions = "", .types = "click=1");
    kit_put_users(server, "{\"u\":{\"plan\":\"old\"}}", kit_table_instant(kit, 1));
}

static void health_is_as_ever(void **state)
{
    struct kit_server *server = kit_serve(*state);
    kit_put_users(server, "{}", kit_table_instant(*state, 1));
    kit_assert_body(kit_get_path(server, "/healthz"), "{\"ok\":true}");
    kit_assert_body_matches(kit_get_path(server, "/health"), "\"status\":\"OK\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(everything_needs_the_token),   kit_test(foreign_pages_reach_nothing),
        kit_test(the_named_origin_is_let_in),   kit_test(wrong_methods_are_refused),
        kit_test(unknown_paths_are_not_found),  kit_test(content_types_of_tables_are_judged),
        kit_test(half_a_table_changes_nothing), kit_test(health_is_as_ever),
    };
    return kit_run_tests(tests);
}
