/*
 * Proves what the tables of test_http_conformance_*.c can't say row by row: many requests in one write, one that waits
 * among them, the end of what the client sends, and that HEAD and Allow say what is true.
 */
#include <stdio.h>
#include <string.h>

#include "kit_http.h"

#define HEALTHZ      "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"
#define POST_OF_FIVE "POST /push?key=k HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n[1,2]"

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

static void half_closed_connection_is_answered(void **state)
{
    struct kit_connection *connection = kit_connect(kit_serve(*state));
    kit_send_text(connection, POST_OF_FIVE HEALTHZ);
    kit_shutdown_sending(connection);
    kit_assert_status(kit_receive(connection), 200);
    kit_assert_body(kit_receive(connection), "{\"ok\":true}");
    kit_expect_end(connection);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(keep_alive_of_http_1_0_is_confirmed),
        kit_test(pipelined_requests_are_answered_in_order),
        kit_test(two_hundred_requests_fit_into_one_write),
        kit_test(request_behind_a_waiting_one_is_answered_after_it),
        kit_test(half_closed_connection_is_answered),
        kit_test(head_has_the_headers_of_get_and_no_body),
        kit_test(wrong_methods_are_told_the_right_ones),
    };
    return kit_run_tests(tests);
}
