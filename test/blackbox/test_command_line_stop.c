/*
 * Proves how the server ends: SIGTERM and SIGINT let what is under way finish within 10 s and take nothing
 * new, the last log line counts what was stored, and a second signal does not wait for anybody.
 */
#include <signal.h>
#include <string.h>

#include "kit_http.h"

#define STALL_EVENTS 24

/* Stored events that no clock reading or port of a log line looks like. */
static void push_1371(struct kit_server *server)
{
    const char *lines = kit_repeat(kit_of(server), "{\"n\":1}\n", 1371);
    kit_assert_status(kit_post(server, "k", "application/x-ndjson", lines, strlen(lines)), 200);
}

static void assert_last_line_counts_1371(struct kit_server *server)
{
    const char *line = kit_last_line(kit_of(server), kit_log(server));
    if (!kit_matches(line, "(^|[^0-9.])1,?371([^0-9]|$)"))
        kit_fail(kit_of(server), "the last line does not count 1371 stored events: %s", line);
}

static void check_stop(struct kit *kit, int signal_number)
{
    struct kit_server *server = kit_serve(kit);
    push_1371(server);
    kit_assert_status(kit_get(server, "k", "g", "timeout=0&limit=5"), 200);
    /* A connection without a request and one whose request is answered: nothing is under way. */
    kit_connect(server);
    struct kit_connection *used = kit_connect(server);
    kit_send_request(used, "GET", "/healthz", NULL, NULL, 0);
    kit_assert_status(kit_receive(used), 200);
    int64_t signalled_at_ms = kit_now_ms();
    kit_signal(server, signal_number);
    assert_int_equal(kit_wait_exit(server), 0);
    assert_in_range(kit_now_ms() - signalled_at_ms, 0, (int64_t)(5000 * kit_time_scale()));
    assert_last_line_counts_1371(server);
    kit_expect_end(used);
    assert_null(kit_try_connect(server));
}

static void sigterm_ends_the_server(void **state)
{
    check_stop(*state, SIGTERM);
}

static void sigint_ends_the_server(void **state)
{
    check_stop(*state, SIGINT);
}

static void empty_server_counts_nothing(void **state)
{
    struct kit_server *server = kit_serve(*state);
    kit_stop(server);
    const char *line = kit_last_line(*state, kit_log(server));
    if (!kit_matches(line, "(^|[^0-9.])0([^0-9.]|$)|no event|nothing"))
        kit_fail(*state, "the last line does not say that nothing was stored: %s", line);
}

static void waiting_requests_are_answered_at_the_stop(void **state)
{
    enum { WAITERS = 10 };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    struct kit_connection *waiters[WAITERS];
    for (int i = 0; i < WAITERS; i++)
        waiters[i] = kit_get_later(server, "k", kit_format(kit, "g%d", i / 2), NULL);
    kit_wait_until_health(server, "queue.waiting", WAITERS);
    kit_signal(server, SIGTERM);
    for (int i = 0; i < WAITERS; i++) {
        const struct kit_response *response = kit_receive(waiters[i]);
        kit_assert_status(response, 200);
        kit_assert_body(response, "[]");
        kit_expect_end(waiters[i]);
        kit_close(waiters[i]);
    }
    assert_int_equal(kit_wait_exit(server), 0);
}

/* A consumer that has begun to read its answer of some 24 MB and goes no further: more than the sockets take
 * in. */
static struct kit_connection *stall(struct kit_server *server)
{
    enum { LENGTH = 1000000 };
    char *event = kit_repeat(kit_of(server), "a", LENGTH), byte = 0;
    event[0] = event[LENGTH - 1] = '"';
    for (int i = 0; i < STALL_EVENTS; i++)
        kit_push(server, "large", event);
    struct kit_connection *reader = kit_connect_small(server, 4096);
    kit_send_request(reader, "GET", "/blocking-get?key=large&groupId=g", NULL, NULL, 0);
    if (kit_try_read(reader, &byte, 1) != 1 || byte != 'H')
        kit_fail(kit_of(server), "no beginning of the answer");
    return reader;
}

static void wait_until_closed_to_the_new(struct kit_server *server)
{
    struct kit_connection *connection;
    int64_t deadline_at_ms = kit_deadline_at_ms(3000);
    while ((connection = kit_try_connect(server)) != NULL) {
        kit_close(connection);
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(kit_of(server), "new connections are still taken after the signal");
    }
}

/* The slow one of this file: clients that never go on are cut at 8 s, and that too is a clean end. */
static void stalled_clients_are_cut(void **state)
{
    struct kit_server *server = kit_serve(*state);
    stall(server);
    kit_send_text(kit_connect(server), "GET /healthz HTTP/1.1\r\nHo");
    kit_send_text(kit_connect(server),
                  "POST /push?key=k HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n[1,");
    int64_t signalled_at_ms = kit_now_ms();
    kit_signal(server, SIGTERM);
    wait_until_closed_to_the_new(server);
    assert_int_equal(kit_wait_exit(server), 0);
    assert_in_range(kit_now_ms() - signalled_at_ms, 6000, (int64_t)(10000 * kit_time_scale()));
}

static void reader_that_goes_on_gets_all(void **state)
{
    struct kit_server *server = kit_serve(*state);
    struct kit_connection *reader = stall(server);
    kit_signal(server, SIGTERM);
    wait_until_closed_to_the_new(server);
    size_t length = 1, capacity = 1 << 20;
    char *bytes = kit_allocate(*state, capacity);
    ssize_t count;
    while ((count = kit_try_read(reader, bytes, capacity)) > 0)
        length += (size_t)count;
    assert_int_equal(count, 0);
    assert_in_range(length, STALL_EVENTS * 1000000 + 1, STALL_EVENTS * 1010000); /* some framing */
    assert_int_equal(kit_wait_exit(server), 0);
}

static void check_second_signal(struct kit *kit, int first, int second)
{
    struct kit_server *server = kit_serve(kit);
    stall(server);
    kit_signal(server, first);
    wait_until_closed_to_the_new(server);
    int64_t signalled_at_ms = kit_now_ms();
    kit_signal(server, second);
    (void)kit_wait_exit(server); /* any status: it was not a clean end */
    assert_in_range(kit_now_ms() - signalled_at_ms, 0, (int64_t)(3000 * kit_time_scale()));
}

static void second_signal_stops_at_once(void **state)
{
    check_second_signal(*state, SIGTERM, SIGTERM);
    check_second_signal(*state, SIGINT, SIGINT);
    check_second_signal(*state, SIGTERM, SIGINT);
}

/* A client may hang up in the middle of its answer at any time. */
static void signal_of_a_broken_pipe_ends_nothing(void **state)
{
    struct kit_server *server = kit_serve(*state);
    kit_reset(stall(server));
    kit_signal(server, SIGPIPE);
    kit_assert_status(kit_request(server, "GET", "/healthz", NULL, NULL, 0), 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(sigterm_ends_the_server),     kit_test(sigint_ends_the_server),
        kit_test(empty_server_counts_nothing), kit_test(waiting_requests_are_answered_at_the_stop),
        kit_test(stalled_clients_are_cut),     kit_test(reader_that_goes_on_gets_all),
        kit_test(second_signal_stops_at_once), kit_test(signal_of_a_broken_pipe_ends_nothing),
    };
    return kit_run_tests(tests);
}
