/* Waiting spends threads, never the workers: pushes go on whatever waits, --max-threads refuses, SIGTERM ends
 * waits. */
#include <signal.h>
#include <string.h>

#include "kit.h"

static void one_worker_serves_while_hundreds_wait(void **state)
{
    enum { COUNT = 200 };
    struct kit_server *server = kit_serve(*state, "--threads", "1");
    struct kit_connection *waiting[COUNT];
    for (int i = 0; i < COUNT; i++)
        waiting[i] = kit_get_later(server, i % 2 == 0 ? "a" : "b", kit_format(*state, "g%d", i), NULL);
    kit_wait_until_health(server, "queue.waiting", COUNT);
    assert_true(kit_health(server, "threads.running") <= 1);
    for (int i = 0; i < 50; i++)
        kit_push(server, "c", "0");
    kit_assert_status(kit_get(server, "c", "g", NULL), 200);
    kit_assert_get(server, "a", "g0", "[]");
    assert_int_equal(kit_health(server, "queue.waiting"), COUNT);
    /* Each of the groups gets each event, all at one push. */
    kit_push(server, "a", "1");
    for (int i = 0; i < COUNT; i += 2)
        kit_assert_body(kit_receive(waiting[i]), "[1]");
    kit_wait_until_health(server, "queue.waiting", COUNT / 2);
    kit_push(server, "b", "2");
    for (int i = 1; i < COUNT; i += 2)
        kit_assert_body(kit_receive(waiting[i]), "[2]");
    kit_wait_until_health(server, "queue.waiting", 0);
}

static void one_group_of_hundreds_is_served_in_line(void **state)
{
    enum { COUNT = 200 };
    struct kit_server *server = kit_serve(*state, "--threads", "1");
    struct kit_connection *waiting[COUNT];
    for (int i = 0; i < COUNT; i++) {
        waiting[i] = kit_get_later(server, "a", "g", "limit=1");
        kit_wait_until_health(server, "queue.waiting", i + 1);
    }
    char lines[COUNT * 5];
    size_t used = 0;
    for (int i = 0; i < COUNT; i++) {
        const char *line = kit_format(*state, "%d\n", i);
        memcpy(lines + used, line, strlen(line));
        used += strlen(line);
    }
    kit_assert_status(kit_post(server, "a", "application/x-ndjson", lines, used), 200);
    for (int i = 0; i < COUNT; i++)
        kit_assert_body(kit_receive(waiting[i]), kit_format(*state, "[%d]", i));
}

/* True when the connection has been answered, false once `waiting` requests wait. */
static bool is_answered(struct kit_server *server, struct kit_connection *connection, int64_t waiting)
{
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
    while (!kit_has_input(connection)) {
        if (kit_health(server, "queue.waiting") == waiting)
            return false;
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(kit_of(server), "a request neither waits nor is answered");
        kit_pause();
    }
    return true;
}

#define MAX_THREADS 8

/* Lets requests wait until one is refused; how many wait. */
static int wait_until_refused(struct kit_server *server, const char *key, struct kit_connection **waiting)
{
    for (int i = 0; i <= MAX_THREADS; i++) {
        waiting[i] = kit_get_later(server, key, kit_format(kit_of(server), "g%d", i), NULL);
        if (is_answered(server, waiting[i], i + 1)) {
            const struct kit_response *response = kit_receive(waiting[i]);
            kit_assert_error(response, 503, "");
            kit_assert_header(response, "Retry-After", "");
            assert_true(kit_matches(kit_header(response, "Retry-After"), "^[1-9][0-9]*$"));
            return i;
        }
    }
    kit_fail(kit_of(server), "more requests wait than there may be threads");
}

static void the_thread_limit_refuses_only_who_would_wait(void **state)
{
    struct kit_server *server = kit_serve(*state, "--threads", "2", "--max-threads", "8");
    struct kit_connection *waiting[MAX_THREADS + 1];
    assert_int_equal(kit_health(server, "threads.max"), MAX_THREADS);
    for (int round = 0; round < 3; round++) {
        kit_note(*state, "round %d", round);
        const char *key = kit_format(*state, "a%d", round);
        int count = wait_until_refused(server, key, waiting);
        assert_true(count > 0);
        assert_true(kit_health(server, "threads.total") <= MAX_THREADS);
        assert_int_equal(kit_health(server, "queue.waiting"), count);
        /* Everything that need not wait goes on. */
        kit_push(server, "b", "1");
        kit_assert_body(kit_get(server, "b", kit_format(*state, "g%d", round), "limit=1"), "[1]");
        kit_assert_get(server, "none", "g", "[]");
        kit_assert_error(kit_get(server, "none", "g", NULL), 503, "");
        for (int i = 0; i < count; i++)
            kit_expect_silence(waiting[i]);
        /* Those who wait get theirs, and their place is free again. */
        kit_push(server, key, "2");
        for (int i = 0; i < count; i++)
            kit_assert_body(kit_receive(waiting[i]), "[2]");
        kit_wait_until_health(server, "queue.waiting", 0);
        kit_wait_until_health(server, "threads.waiting", 0); /* they leave a little later */
        for (int i = 0; i <= count; i++)
            kit_close(waiting[i]);
        /* The group that was refused has consumed nothing. */
        kit_assert_get(server, key, kit_format(*state, "g%d", count), "[2]");
    }
}

static void a_refused_connection_stays_usable(void **state)
{
    struct kit_server *server = kit_serve(*state, "--threads", "2", "--max-threads", "8");
    struct kit_connection *waiting[MAX_THREADS + 1];
    int count = wait_until_refused(server, "a", waiting);
    struct kit_connection *refused = waiting[count];
    kit_send_request(refused, "GET", "/blocking-get?key=a&groupId=h&timeout=0", NULL, NULL, 0);
    kit_assert_body(kit_receive(refused), "[]");
    kit_close(waiting[0]);
    kit_wait_until_health(server, "queue.waiting", count - 1);
    kit_wait_until_health(server, "threads.waiting", count - 1);
    kit_send_request(refused, "GET", "/blocking-get?key=a&groupId=h", NULL, NULL, 0);
    assert_false(is_answered(server, refused, count));
    kit_push(server, "a", "1");
    kit_assert_body(kit_receive(refused), "[1]");
}

/* The last line of what the server wrote to stderr. */
static const char *last_log_line(struct kit_server *server)
{
    char *log = kit_format(kit_of(server), "%s", kit_log(server));
    size_t length = strlen(log);
    while (length > 0 && log[length - 1] == '\n')
        log[--length] = '\0';
    const char *newline = strrchr(log, '\n');
    return newline == NULL ? log : newline + 1;
}

static void check_stop(void **state, int signal_number)
{
    enum { COUNT = 50, EVENTS = 1373 }; /* a number that no clock shows by chance */
    struct kit_server *server = kit_serve(*state);
    struct kit_connection *waiting[COUNT];
    for (int i = 0; i < COUNT; i++)
        waiting[i] = kit_get_later(server, "a", kit_format(*state, "g%d", i % 10), NULL);
    kit_wait_until_health(server, "queue.waiting", COUNT);
    const char *lines = kit_repeat(*state, "1\n", EVENTS);
    kit_assert_status(kit_post(server, "b", "application/x-ndjson", lines, strlen(lines)), 200);
    kit_signal(server, signal_number);
    for (int i = 0; i < COUNT; i++) {
        const struct kit_response *response = kit_receive(waiting[i]);
        kit_assert_status(response, 200);
        kit_assert_body(response, "[]");
        kit_expect_end(waiting[i]);
        kit_close(waiting[i]);
    }
    assert_int_equal(kit_wait_exit(server), 0);
    const char *line = last_log_line(server);
    if (!kit_matches(line, "(^|[^0-9])1373([^0-9]|$)"))
        kit_fail(*state, "no count of the stored events in the last line of the log: %s", line);
}

static void sigterm_answers_those_who_wait(void **state)
{
    check_stop(state, SIGTERM);
}

static void sigint_answers_those_who_wait(void **state)
{
    check_stop(state, SIGINT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(one_worker_serves_while_hundreds_wait),
        kit_test(one_group_of_hundreds_is_served_in_line),
        kit_test(the_thread_limit_refuses_only_who_would_wait),
        kit_test(a_refused_connection_stays_usable),
        kit_test(sigterm_answers_those_who_wait),
        kit_test(sigint_answers_those_who_wait),
    };
    return kit_run_tests(tests);
}
