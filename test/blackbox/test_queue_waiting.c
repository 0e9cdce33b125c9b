/* Blocking-get that waits: answered the moment an event is pushed, longest waiting first, or empty in time.
 */
#include <string.h>

#include "kit.h"

/* Starts `count` requests of group g of key a, each waiting before the next is sent. */
static void start_waiting(struct kit_server *server, struct kit_connection **waiting, int count,
                          const char *parameters)
{
    for (int i = 0; i < count; i++) {
        waiting[i] = kit_get_later(server, "a", "g", parameters);
        kit_wait_until_health(server, "queue.waiting", i + 1);
    }
}

static void a_push_answers_at_once(void **state)
{
    struct kit_server *server = kit_serve(*state);
    struct kit_connection *waiting = kit_get_later(server, "a", "g", NULL);
    kit_wait_until_health(server, "queue.waiting", 1);
    kit_expect_silence(waiting);
    int64_t pushed_at_ms = kit_now_ms();
    kit_push(server, "a", "{\"n\":1}");
    const struct kit_response *response = kit_receive(waiting);
    assert_true(kit_now_ms() - pushed_at_ms <= (int64_t)(500 * kit_time_scale()));
    kit_assert_status(response, 200);
    kit_assert_body(response, "[{\"n\":1}]");
    kit_assert_header(response, "Content-Type", "application/json");
    kit_assert_header(response, "Cache-Control", "no-store");
    assert_int_equal(kit_health(server, "queue.waiting"), 0);
    kit_assert_get(server, "a", "g", "[]");
}

static void a_connection_waits_again_and_again(void **state)
{
    struct kit_server *server = kit_serve(*state);
    struct kit_connection *connection = kit_connect(server);
    for (int i = 0; i < 20; i++) {
        kit_send_request(connection, "GET", "/blocking-get?key=a&groupId=g", NULL, NULL, 0);
        kit_wait_until_health(server, "queue.waiting", 1);
        kit_push(server, "a", kit_format(*state, "%d", i));
        kit_assert_body(kit_receive(connection), kit_format(*state, "[%d]", i));
    }
}

static void the_longest_waiting_gets_it_alone(void **state)
{
    enum { COUNT = 6 };
    struct kit_server *server = kit_serve(*state);
    struct kit_connection *waiting[COUNT];
    start_waiting(server, waiting, COUNT, NULL);
    for (int i = 0; i < COUNT; i++) {
        kit_push(server, "a", kit_format(*state, "%d", i));
        kit_assert_body(kit_receive(waiting[i]), kit_format(*state, "[%d]", i));
        /* The count says that the others wait on: none of them has been answered. */
        kit_wait_until_health(server, "queue.waiting", COUNT - 1 - i);
        for (int other = i + 1; other < COUNT; other++)
            kit_expect_silence(waiting[other]);
    }
}

static void the_next_in_line_moves_up_when_the_first_times_out(void **state)
{
    struct kit_server *server = kit_serve(*state);
    struct kit_connection *first = kit_get_later(server, "a", "g", "timeout=0.3");
    kit_wait_until_health(server, "queue.waiting", 1);
    struct kit_connection *second = kit_get_later(server, "a", "g", NULL);
    struct kit_connection *third = kit_get_later(server, "a", "other", NULL);
    kit_assert_body(kit_receive(first), "[]");
    kit_wait_until_health(server, "queue.waiting", 2);
    kit_push(server, "a", "1");
    kit_assert_body(kit_receive(second), "[1]");
    kit_assert_body(kit_receive(third), "[1]");
}

static void one_that_leaves_the_middle_is_passed_over(void **state)
{
    struct kit_server *server = kit_serve(*state);
    struct kit_connection *first = kit_get_later(server, "a", "g", NULL);
    kit_wait_until_health(server, "queue.waiting", 1);
    struct kit_connection *second = kit_get_later(server, "a", "g", "timeout=0.3");
    /* It may have left already when the count is looked at; its answer tells. */
    kit_assert_body(kit_receive(second), "[]");
    struct kit_connection *third = kit_get_later(server, "a", "g", NULL);
    kit_wait_until_health(server, "queue.waiting", 2);
    kit_push(server, "a", "1");
    kit_push(server, "a", "2");
    kit_assert_body(kit_receive(first), "[1]");
    kit_assert_body(kit_receive(third), "[2]");
}

static void what_a_limit_leaves_goes_to_the_next(void **state)
{
    struct kit_server *server = kit_serve(*state);
    struct kit_connection *waiting[4];
    start_waiting(server, waiting, 4, "limit=2");
    kit_assert_status(kit_post(server, "a", "application/x-ndjson", "1\n2\n3\n4\n5\n", 10), 200);
    kit_assert_body(kit_receive(waiting[0]), "[1,2]");
    kit_assert_body(kit_receive(waiting[1]), "[3,4]");
    kit_assert_body(kit_receive(waiting[2]), "[5]");
    kit_wait_until_health(server, "queue.waiting", 1);
    kit_expect_silence(waiting[3]);
}

static void a_wait_ends_with_its_timeout(void **state)
{
    struct kit_server *server = kit_serve(*state);
    static const struct {
        const char *parameters;
        int64_t milliseconds;
    } rows[] = {{"timeout=0", 0}, {"timeout=0.2", 200}, {"timeout=0.05", 50}, {"timeout=1", 1000}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        kit_note(*state, "%s", rows[i].parameters);
        int64_t started_at_ms = kit_now_ms();
        kit_assert_body(kit_get(server, "a", "g", rows[i].parameters), "[]");
        int64_t passed_ms = kit_now_ms() - started_at_ms;
        /* Whole milliseconds lose up to one; late is judged loosely, the machine may be busy. */
        assert_true(passed_ms >= rows[i].milliseconds - 1);
        assert_true(passed_ms <= rows[i].milliseconds + (int64_t)(700 * kit_time_scale()));
    }
    assert_int_equal(kit_health(server, "queue.waiting"), 0);
}

static void a_wait_ends_with_the_option(void **state)
{
    struct kit_server *server = kit_serve(*state, "--wait", "1");
    int64_t started_at_ms = kit_now_ms();
    kit_assert_body(kit_get(server, "a", "g", NULL), "[]");
    assert_true(kit_now_ms() - started_at_ms >= 999);
    assert_true(kit_now_ms() - started_at_ms <= 1000 + (int64_t)(700 * kit_time_scale()));
}

static void a_timeout_consumes_nothing(void **state)
{
    struct kit_server *server = kit_serve(*state);
    kit_assert_body(kit_get(server, "a", "g", "timeout=0.05"), "[]");
    kit_push(server, "a", "1");
    kit_assert_get(server, "a", "g", "[1]");
}

/* Pushes at about the instant at which a wait ends: the event is in that answer or in the next one, never in
 * neither or both. */
static void a_push_at_the_timeout_is_lost_to_nobody(void **state)
{
    struct kit_server *server = kit_serve(*state);
    for (int i = 0; i < 40; i++) {
        struct kit_connection *waiting = kit_get_later(server, "a", "g", "timeout=0.01");
        if (i % 2 == 0)
            for (int pauses = 0; pauses < i % 8; pauses += 2)
                kit_pause();
        kit_push(server, "a", "1");
        const char *answer = kit_receive(waiting)->body;
        kit_close(waiting);
        kit_assert_get(server, "a", "g", strcmp(answer, "[]") == 0 ? "[1]" : "[]");
        if (strcmp(answer, "[]") != 0)
            assert_string_equal(answer, "[1]");
    }
}

static void health_counts_who_waits(void **state)
{
    struct kit_server *server = kit_serve(*state);
    struct kit_connection *waiting[5];
    assert_int_equal(kit_health(server, "queue.waiting"), 0);
    start_waiting(server, waiting, 5, NULL);
    kit_close(waiting[2]);
    kit_wait_until_health(server, "queue.waiting", 4);
    kit_push(server, "a", "1");
    kit_assert_body(kit_receive(waiting[0]), "[1]");
    kit_wait_until_health(server, "queue.waiting", 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(a_push_answers_at_once),
        kit_test(a_connection_waits_again_and_again),
        kit_test(the_longest_waiting_gets_it_alone),
        kit_test(the_next_in_line_moves_up_when_the_first_times_out),
        kit_test(one_that_leaves_the_middle_is_passed_over),
        kit_test(what_a_limit_leaves_goes_to_the_next),
        kit_test(a_wait_ends_with_its_timeout),
        kit_test(a_wait_ends_with_the_option),
        kit_test(a_timeout_consumes_nothing),
        kit_test(a_push_at_the_timeout_is_lost_to_nobody),
        kit_test(health_counts_who_waits),
    };
    return kit_run_tests(tests);
}
