/*
 * Proves where requests begin and end and which of them the server knows: versions and what they say about
 * the connection, pipelining, requests that arrive in pieces, methods, targets, and heads that are too large.
 */
#include <stdio.h>
#include <string.h>

#include "kit_http.h"

#define HEALTHZ      "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"
#define POST_OF_FIVE "POST /push?key=k HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n[1,2]"
#define SPLIT_VALUE  "{\"n\":[1,\"two\",3]}"

static void connection_lasts_as_the_version_says(void **state)
{
    static const struct kit_exchange exchanges[] = {
        {"1.1", "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 0, "200", KIT_OPEN},
        {"1.1, keep-alive", "GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n\r\n", 0, "200",
         KIT_OPEN},
        {"1.1, close", "GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", 0, "200", KIT_CLOSED},
        {"1.1, CLOSE", "GET /healthz HTTP/1.1\r\nHost: h\r\nCONNECTION: CLOSE\r\n\r\n", 0, "200", KIT_CLOSED},
        {"1.1, close in a list", "GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: x-hop, close\r\n\r\n", 0,
         "200", KIT_CLOSED},
        {"1.1, no word for close", "GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: closed\r\n\r\n", 0, "200",
         KIT_OPEN},
        {"1.0", "GET /healthz HTTP/1.0\r\n\r\n", 0, "200", KIT_CLOSED},
        {"1.0 with Host", "GET /healthz HTTP/1.0\r\nHost: h\r\n\r\n", 0, "200", KIT_CLOSED},
        {"1.0, keep-alive", "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 0, "200", KIT_OPEN},
        {"1.0, Keep-Alive", "GET /healthz HTTP/1.0\r\nconnection: Keep-Alive\r\n\r\n", 0, "200", KIT_OPEN},
        {"1.0, POST", "POST /push?key=k HTTP/1.0\r\nContent-Length: 1\r\n\r\n1", 0, "200", KIT_CLOSED},
        {"1.0, POST, keep-alive",
         "POST /push?key=k HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n1", 0, "200",
         KIT_OPEN},
        {"an error keeps the connection", "GET /no-such-path HTTP/1.1\r\nHost: h\r\n\r\n", 0, "404",
         KIT_OPEN},
        {"a bad parameter keeps it too", "GET /blocking-get?key=k HTTP/1.1\r\nHost: h\r\n\r\n", 0, "400",
         KIT_OPEN},
        {"an error of 1.0", "GET /no-such-path HTTP/1.0\r\n\r\n", 0, "404", KIT_CLOSED},
    };
    kit_play_all(kit_serve(*state), exchanges, KIT_COUNT(exchanges));
}

/* A client of HTTP/1.0 takes the end of the connection for the end of the answer unless it is told otherwise.
 */
static void keep_alive_of_http_1_0_is_confirmed(void **state)
{
    struct kit_connection *connection = kit_connect(kit_serve(*state));
    kit_send_text(connection, "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    const struct kit_response *response = kit_receive(connection);
    kit_assert_status(response, 200);
    kit_assert_header_matches(response, *state, "Connection", "^[Kk]eep-[Aa]live$");
    kit_assert_header(response, "Transfer-Encoding", NULL);
}

static void request_line_variants_are_taken_or_refused(void **state)
{
    static const struct kit_exchange exchanges[] = {
        {"one empty line first", "\r\nGET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 0, "200", KIT_OPEN},
        {"two empty lines first", "\r\n\r\nGET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 0, "200|400",
         KIT_EITHER},
        {"five empty lines first", "\r\n\r\n\r\n\r\n\r\nGET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 0,
         "200|400", KIT_EITHER},
        {"empty lines for a request line", "\r\n\r\nHost: h\r\n\r\n", 0, "400", KIT_CLOSED},
        {"absolute form", "GET http://127.0.0.1:80/healthz HTTP/1.1\r\nHost: h\r\n\r\n", 0, "200", KIT_OPEN},
        {"absolute form in capitals", "GET HTTP://h/healthz HTTP/1.1\r\nHost: h\r\n\r\n", 0, "200", KIT_OPEN},
        {"absolute form with a query",
         "POST http://h/push?key=k HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1", 0, "200", KIT_OPEN},
        {"absolute form, unknown path", "GET http://h/no-such-path HTTP/1.1\r\nHost: h\r\n\r\n", 0, "404",
         KIT_OPEN},
        {"a query that nobody asked for", "GET /healthz?a=b&c HTTP/1.1\r\nHost: h\r\n\r\n", 0, "200",
         KIT_OPEN},
        {"asterisk", "GET * HTTP/1.1\r\nHost: h\r\n\r\n", 0, "400|404|405", KIT_EITHER},
        {"no slash", "GET healthz HTTP/1.1\r\nHost: h\r\n\r\n", 0, "400|404", KIT_EITHER},
        {"no target", "GET HTTP/1.1\r\nHost: h\r\n\r\n", 0, "400", KIT_CLOSED},
        {"no version", "GET /healthz\r\nHost: h\r\n\r\n", 0, "400|505", KIT_CLOSED},
        {"a space too many", "GET /healthz x HTTP/1.1\r\nHost: h\r\n\r\n", 0, "400|505", KIT_CLOSED},
        {"a space first", " GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 0, "400|501", KIT_CLOSED},
        {"tabs for spaces", "GET\t/healthz\tHTTP/1.1\r\nHost: h\r\n\r\n", 0, "400|501", KIT_CLOSED},
        {"HTTP/2.0", "GET /healthz HTTP/2.0\r\nHost: h\r\n\r\n", 0, "400|426|501|505", KIT_CLOSED},
        {"preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0, "400|404|405|426|501|505", KIT_CLOSED},
        {"HTTP/0.9", "GET /healthz HTTP/0.9\r\nHost: h\r\n\r\n", 0, "400|426|501|505", KIT_CLOSED},
        {"HTTP/1.10", "GET /healthz HTTP/1.10\r\nHost: h\r\n\r\n", 0, "400|505", KIT_CLOSED},
        {"HTTP/1", "GET /healthz HTTP/1\r\nHost: h\r\n\r\n", 0, "400|505", KIT_CLOSED},
        {"http/1.1", "GET /healthz http/1.1\r\nHost: h\r\n\r\n", 0, "400|505", KIT_CLOSED},
        {"HTTPS/1.1", "GET /healthz HTTPS/1.1\r\nHost: h\r\n\r\n", 0, "400|505", KIT_CLOSED},
        {"start of TLS", "\x16\x03\x01\x02\x80\x01\x01\xfc\x03\x03\r\n\r\n", 0, "400|501|505", KIT_CLOSED},
    };
    kit_play_all(kit_serve(*state), exchanges, KIT_COUNT(exchanges));
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    struct kit_server *server = kit_serve(*state);
    struct kit_connection *connection = kit_connect(server);
    kit_send_text(connection,
                  HEALTHZ POST_OF_FIVE "GET /blocking-get?key=k&groupId=g&timeout=0 HTTP/1.1\r\nHost: h\r\n"
                                       "\r\n"
                                       "HEAD /healthz HTTP/1.1\r\nHost: h\r\n\r\n"
                                       "GET /no-such-path HTTP/1.1\r\nHost: h\r\n\r\n" HEALTHZ);
    kit_assert_body(kit_receive(connection), "{\"ok\":true}");
    kit_assert_body_matches(kit_receive(connection), "\"id\":1[,}]");
    kit_assert_body(kit_receive(connection), "[[1,2]]");
    kit_assert_status(kit_receive_head(connection), 200);
    kit_assert_error(kit_receive(connection), 404, ".");
    kit_assert_body(kit_receive(connection), "{\"ok\":true}");
}

static void two_hundred_requests_fit_into_one_write(void **state)
{
    enum { REQUESTS = 200 };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    struct kit_connection *connection = kit_connect(server);
    char *requests = kit_allocate(kit, REQUESTS * 128), *wanted = kit_allocate(kit, REQUESTS * 8);
    size_t used = 0, wanted_used = 0;
    for (int i = 1; i <= REQUESTS; i++) {
        used += (size_t)sprintf(
            requests + used, "POST /push?key=k HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n%03d", i + 99);
        wanted_used += (size_t)sprintf(wanted + wanted_used, "%c%d", i == 1 ? '[' : ',', i + 99);
    }
    strcpy(wanted + wanted_used, "]");
    kit_send(connection, requests, used);
    for (int i = 1; i <= REQUESTS; i++)
        kit_assert_body_matches(kit_receive(connection), kit_format(kit, "\"id\":%d[,}]", i));
    kit_assert_get(server, "k", "g", wanted);
}

static void request_behind_a_waiting_one_is_answered_after_it(void **state)
{
    struct kit_connection *connection = kit_connect(kit_serve(*state));
    kit_send_text(connection,
                  "GET /blocking-get?key=k&groupId=g&timeout=0.3 HTTP/1.1\r\nHost: h\r\n\r\n" HEALTHZ);
    kit_assert_body(kit_receive(connection), "[]");
    kit_assert_body(kit_receive(connection), "{\"ok\":true}");
}

/* Old clients end the body of a POST with a line break that Content-Length does not count. */
static void line_break_behind_a_body_is_skipped(void **state)
{
    struct kit_connection *connection = kit_connect(kit_serve(*state));
    kit_send_text(connection, POST_OF_FIVE "\r\n" POST_OF_FIVE);
    kit_assert_status(kit_receive(connection), 200);
    kit_assert_body_matches(kit_receive(connection), "\"id\":2[,}]");
}

static void half_closed_connection_is_answered(void **state)
{
    struct kit_connection *connection = kit_connect(kit_serve(*state));
    kit_send_text(connection, POST_OF_FIVE HEALTHZ);
    kit_shutdown_sending(connection);
    kit_assert_status(kit_receive(connection), 200);
    kit_assert_body(kit_receive(connection), "{\"ok\":true}");
    kit_expect_end(connection);
}

/* Every position between two pieces of one request; each push must be stored once, whole. */
static void check_splits(struct kit *kit, const char *request)
{
    struct kit_server *server = kit_serve(kit);
    struct kit_connection *witness = kit_connect(server);
    size_t length = strlen(request);
    for (size_t position = 1; position < length; position++) {
        struct kit_connection *connection = kit_connect(server);
        kit_send_at_once(connection);
        kit_send(connection, request, position);
        kit_let_read(witness);
        kit_send(connection, request + position, length - position);
        const struct kit_response *response = kit_receive(connection);
        if (response->status != 200 ||
            !kit_matches(response->body, kit_format(kit, "\"id\":%zu[,}]", position)))
            kit_fail(kit, "split at %zu (\"%.20s\"): %s\n%s", position, request + position, response->head,
                     response->body);
        kit_close(connection);
    }
    char *wanted = kit_repeat(kit, "," SPLIT_VALUE, length - 1);
    wanted[0] = '[';
    kit_assert_get(server, "split", "g", kit_format(kit, "%s]", wanted));
}

static void every_split_of_a_counted_body_is_one_request(void **state)
{
    check_splits(*state, "POST /push?key=split HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
                         "Content-Length: 17\r\n\r\n" SPLIT_VALUE);
}

static void every_split_of_a_chunked_body_is_one_request(void **state)
{
    check_splits(*state, "POST /push?key=split HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                         "3;x=y\r\n{\"n\r\n00e\r\n\":[1,\"two\",3]}\r\n0\r\nX-Trailer: 1\r\n\r\n");
}

static void request_may_arrive_byte_by_byte(void **state)
{
    struct kit_server *server = kit_serve(*state);
    struct kit_connection *witness = kit_connect(server), *connection = kit_connect(server);
    kit_send_at_once(connection);
    for (const char *next = POST_OF_FIVE HEALTHZ; *next != '\0'; next++) {
        kit_send(connection, next, 1);
        kit_let_read(witness);
    }
    kit_assert_status(kit_receive(connection), 200);
    kit_assert_body(kit_receive(connection), "{\"ok\":true}");
    kit_assert_get(server, "k", "g", "[[1,2]]");
}

static void head_has_the_headers_of_get_and_no_body(void **state)
{
    struct kit_server *server = kit_serve(*state);
    static const char *const targets[] = {"/health", "/healthz"};
    for (size_t i = 0; i < KIT_COUNT(targets); i++) {
        const struct kit_response *get = kit_request(server, "GET", targets[i], NULL, NULL, 0);
        struct kit_connection *connection = kit_connect(server);
        kit_send_request(connection, "HEAD", targets[i], NULL, NULL, 0);
        const struct kit_response *head = kit_receive_head(connection);
        kit_assert_status(head, 200);
        assert_int_equal(head->header_count, get->header_count);
        for (size_t header = 0; header < get->header_count; header++)
            kit_assert_header(head, get->headers[header].name, "");
        kit_assert_header(head, "Content-Type", kit_header(get, "Content-Type"));
        /* A body would be taken for the start of this answer. */
        kit_send_request(connection, "GET", "/healthz", NULL, NULL, 0);
        kit_assert_body(kit_receive(connection), "{\"ok\":true}");
        kit_close(connection);
    }
    const struct kit_response *head = kit_request(server, "HEAD", "/healthz", NULL, NULL, 0);
    kit_assert_header(head, "Content-Length", "11");
}

static void unknown_paths_are_not_found(void **state)
{
    static const struct kit_exchange exchanges[] = {
        {"GET", "GET /no-such-path HTTP/1.1\r\nHost: h\r\n\r\n", 0, "404", KIT_OPEN},
        {"HEAD", "HEAD /no-such-path HTTP/1.1\r\nHost: h\r\n\r\n", 0, "404", KIT_OPEN},
        {"a name that goes on", "GET /healthzz HTTP/1.1\r\nHost: h\r\n\r\n", 0, "404", KIT_OPEN},
        {"a name cut short", "GET /healt HTTP/1.1\r\nHost: h\r\n\r\n", 0, "404", KIT_OPEN},
        {"capitals", "GET /HEALTHZ HTTP/1.1\r\nHost: h\r\n\r\n", 0, "404", KIT_OPEN},
        {"something behind it", "GET /healthz/x HTTP/1.1\r\nHost: h\r\n\r\n", 0, "404", KIT_OPEN},
        {"no way up", "GET /../../etc/passwd HTTP/1.1\r\nHost: h\r\n\r\n", 0, "400|404", KIT_EITHER},
        {"a body that looks like a request",
         "POST /no-such-path HTTP/1.1\r\nHost: h\r\nContent-Length: 37\r\n\r\nGET /health HTTP/1.1\r\nHost: "
         "hhhh\r\n\r\n ",
         0, "404", KIT_OPEN},
    };
    kit_play_all(kit_serve(*state), exchanges, KIT_COUNT(exchanges));
}

static void wrong_methods_are_told_the_right_ones(void **state)
{
    static const struct {
        const char *method, *target, *allow, *never;
    } rows[] = {
        {"GET", "/push?key=k", "POST", "GET|HEAD"},
        {"HEAD", "/push?key=k", "POST", "GET|HEAD"},
        {"PUT", "/push?key=k", "POST", "PUT"},
        {"DELETE", "/push?key=k", "POST", "DELETE"},
        {"PATCH", "/push?key=k", "POST", "PATCH"},
        {"POST", "/blocking-get?key=k&groupId=g", "GET", "POST"},
        {"HEAD", "/blocking-get?key=k&groupId=g", "GET", "HEAD"},
        {"OPTIONS", "/push?key=k", "POST", "OPTIONS"},
        {"OPTIONS", "/health", "GET", "OPTIONS"},
        {"POST", "/health", "GET.*HEAD|HEAD.*GET", "POST"},
        {"POST", "/healthz", "GET.*HEAD|HEAD.*GET", "POST"},
        {"DELETE", "/healthz", "GET", "DELETE"},
    };
    struct kit_server *server = kit_serve(*state);
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        const struct kit_response *response =
            kit_request(server, rows[i].method, rows[i].target, NULL, NULL, 0);
        kit_assert_status(response, 405);
        kit_assert_header_matches(response, *state, "Allow", rows[i].allow);
        if (kit_matches(kit_header(response, "Allow"),
                        kit_format(*state, "(^|[ ,])(%s)([ ,]|$)", rows[i].never)))
            kit_fail(*state, "%s %s: the refused method is in Allow: %s", rows[i].method, rows[i].target,
                     kit_header(response, "Allow"));
        if (strcmp(rows[i].method, "HEAD") != 0)
            kit_assert_error(response, 405, ".");
    }
    assert_int_equal(kit_health(server, "queue.events"), 0);
}

static void unknown_methods_are_not_implemented(void **state)
{
    static const struct kit_exchange exchanges[] = {
        {"FOO", "FOO /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 0, "501", KIT_EITHER},
        {"TRACE", "TRACE /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 0, "501", KIT_EITHER},
        {"CONNECT", "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", 0, "501", KIT_EITHER},
        {"FOO on a path that is not there", "FOO /no-such-path HTTP/1.1\r\nHost: h\r\n\r\n", 0, "404|501",
         KIT_EITHER},
        {"methods have capitals", "get /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 0, "400|405|501", KIT_EITHER},
        {"a long one", "GETGETGETGETGETGETGETGETGETGETGETGET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 0,
         "400|501", KIT_EITHER},
        {"not a word", "G@T /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 0, "400|501", KIT_EITHER},
        {"no method", " /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 0, "400", KIT_CLOSED},
    };
    kit_play_all(kit_serve(*state), exchanges, KIT_COUNT(exchanges));
}

static void heads_that_are_too_large_are_refused(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    const char *large = kit_repeat(kit, "a", 200000);
    const char *many = kit_repeat(kit, "X-A: b\r\n", 20000);
    const struct kit_exchange exchanges[] = {
        {"path", kit_format(kit, "GET /%s HTTP/1.1\r\nHost: h\r\n\r\n", large), 0, "414", KIT_EITHER},
        {"query", kit_format(kit, "GET /healthz?%s HTTP/1.1\r\nHost: h\r\n\r\n", large), 0, "414",
         KIT_EITHER},
        {"endless target", kit_format(kit, "GET /%s", large), 0, "414", KIT_CLOSED},
        {"value", kit_format(kit, "GET /healthz HTTP/1.1\r\nHost: h\r\nX: %s\r\n\r\n", large), 0, "431",
         KIT_EITHER},
        {"name", kit_format(kit, "GET /healthz HTTP/1.1\r\nHost: h\r\n%s: x\r\n\r\n", large), 0, "431",
         KIT_EITHER},
        {"many", kit_format(kit, "GET /healthz HTTP/1.1\r\nHost: h\r\n%s\r\n", many), 0, "431", KIT_EITHER},
        {"endless head", kit_format(kit, "GET /healthz HTTP/1.1\r\nHost: h\r\n%s", many), 0, "431",
         KIT_CLOSED},
    };
    kit_play_all(server, exchanges, KIT_COUNT(exchanges));
}

/* What browsers and proxies send today must fit. */
static void ordinary_large_heads_are_taken(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    const struct kit_exchange exchanges[] = {
        {"4 KB of cookies",
         kit_format(kit, "GET /healthz HTTP/1.1\r\nHost: h\r\nCookie: %s\r\n\r\n",
                    kit_repeat(kit, "c", 4000)),
         0, "200", KIT_OPEN},
        {"40 headers",
         kit_format(kit, "GET /healthz HTTP/1.1\r\nHost: h\r\n%s\r\n",
                    kit_repeat(kit, "X-Name: value\r\n", 40)),
         0, "200", KIT_OPEN},
        {"a target of 2,000 bytes",
         kit_format(kit, "GET /healthz?%s HTTP/1.1\r\nHost: h\r\n\r\n", kit_repeat(kit, "q", 2000)), 0, "200",
         KIT_OPEN},
    };
    kit_play_all(server, exchanges, KIT_COUNT(exchanges));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(connection_lasts_as_the_version_says),
        kit_test(keep_alive_of_http_1_0_is_confirmed),
        kit_test(request_line_variants_are_taken_or_refused),
        kit_test(pipelined_requests_are_answered_in_order),
        kit_test(two_hundred_requests_fit_into_one_write),
        kit_test(request_behind_a_waiting_one_is_answered_after_it),
        kit_test(line_break_behind_a_body_is_skipped),
        kit_test(half_closed_connection_is_answered),
        kit_test(every_split_of_a_counted_body_is_one_request),
        kit_test(every_split_of_a_chunked_body_is_one_request),
        kit_test(request_may_arrive_byte_by_byte),
        kit_test(head_has_the_headers_of_get_and_no_body),
        kit_test(unknown_paths_are_not_found),
        kit_test(wrong_methods_are_told_the_right_ones),
        kit_test(unknown_methods_are_not_implemented),
        kit_test(heads_that_are_too_large_are_refused),
        kit_test(ordinary_large_heads_are_taken),
    };
    return kit_run_tests(tests);
}
