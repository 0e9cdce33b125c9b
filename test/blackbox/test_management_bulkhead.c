/* An upstream that hangs holds up its own calls and nothing else, nor the end of the server. */
#include <stdio.h>
#include <string.h>

#include "kit_http.h"
#include "kit_management.h"

#define BODY "{\"name\":\"n\",\"userId\":\"u\"}"

enum { PROMPT_MS = 700, HANG_CALLS = 200, STOP_MS = 10000 };

static void expect_prompt(struct kit *kit, int64_t started_at_ms, const char *what)
{
    if (kit_now_ms() - started_at_ms > (int64_t)(PROMPT_MS * kit_time_scale()))
        kit_fail(kit, "%s took %d ms", what, (int)(kit_now_ms() - started_at_ms));
}

/* What has nothing to do with calls of the upstream is answered at once. */
static void check_the_rest(struct kit_server *server)
{
    static const char *const targets[] = {KIT_GET_USERS,         KIT_GET_EVENTS, "/getEventsByUserId/known",
                                          "/metrics?window=300", "/health",      "/healthz"};
    struct kit *kit = kit_of(server);
    int64_t started_at_ms = kit_now_ms();
    kit_push(server, "k", "1");
    expect_prompt(kit, started_at_ms, "/push");
    started_at_ms = kit_now_ms();
    kit_get(server, "k", "g", "timeout=0");
    expect_prompt(kit, started_at_ms, "/blocking-get");
    for (size_t i = 0; i < KIT_COUNT(targets); i++) {
        started_at_ms = kit_now_ms();
        kit_assert_status(kit_get_path(server, targets[i]), 200);
        expect_prompt(kit, started_at_ms, targets[i]);
    }
    started_at_ms = kit_now_ms();
    kit_publish(server, "c", "t", "1");
    expect_prompt(kit, started_at_ms, "a publish");
}

static void no_more_calls_than_allowed_hang(void **state)
{
    enum { CALLS = 3, REFUSED = 10 };
    struct kit *kit = *state;
    struct standin *standin = kit_standin(kit);
    struct kit_server *server = kit_serve_upstream(kit, standin, "--upstream-calls", "3",
                                                   "--upstream-timeout", "30", "--threads", "2");
    kit_add(server, "n", "\"known\"", NULL);
    standin_set(standin, KIT_ADD_EVENT, &(struct standin_behaviour){.kind = STANDIN_HOLD});
    struct kit_connection *waiting[CALLS];
    for (int i = 0; i < CALLS; i++)
        waiting[i] = kit_add_later(server, BODY);
    kit_await_calls(kit, standin, KIT_ADD_EVENT, 1 + CALLS);
    for (int i = 0; i < REFUSED; i++) {
        int64_t started_at_ms = kit_now_ms();
        kit_assert_unavailable(kit_post_json(server, KIT_ADD_EVENT, BODY), 503);
        expect_prompt(kit, started_at_ms, "a refused addEvent");
    }
    assert_int_equal(standin_count(standin, KIT_ADD_EVENT), 1 + CALLS);
    assert_int_equal(kit_health(server, "upstream.under_way"), CALLS);
    assert_string_equal(kit_breaker(server), "closed"); /* these refusals are no failures */
    check_the_rest(server);
    for (int i = 0; i < CALLS; i++)
        kit_expect_silence(waiting[i]);
    kit_set_answer(standin, KIT_ADD_EVENT, 200, "{}");
    standin_release(standin);
    for (int i = 0; i < CALLS; i++)
        kit_added_id(kit_receive(waiting[i]));
    kit_add(server, "n", "\"u\"", NULL);
    assert_int_equal(kit_entries(server, KIT_EVENTS_OF "u")->count, CALLS + 1);
}

/* A client that gives up does not give its place back before its call is over, but it does then. */
static void places_come_back(void **state)
{
    enum { CALLS = 2, ROUNDS = 3 };
    struct kit *kit = *state;
    struct standin *standin = kit_standin(kit);
    struct kit_server *server = kit_serve_upstream(kit, standin, "--upstream-calls", "2");
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t calls = standin_count(standin, KIT_ADD_EVENT);
        standin_set(standin, KIT_ADD_EVENT, &(struct standin_behaviour){.kind = STANDIN_HOLD});
        struct kit_connection *gone = kit_add_later(server, BODY), *stays = kit_add_later(server, BODY);
        kit_await_calls(kit, standin, KIT_ADD_EVENT, calls + CALLS);
        kit_reset(gone);
        kit_set_answer(standin, KIT_ADD_EVENT, 200, "{}");
        standin_release(standin);
        kit_added_id(kit_receive(stays));
        kit_wait_until_health(server, "upstream.under_way", 0);
    }
    /* The upstream has taken all of them, so all are here. */
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
    while (kit_entries(server, KIT_GET_EVENTS)->count < CALLS * ROUNDS && kit_now_ms() < deadline_at_ms)
        kit_pause();
    assert_int_equal(kit_entries(server, KIT_GET_EVENTS)->count, CALLS * ROUNDS);
}

static void two_hundred_that_hang_leave_the_rest_working(void **state)
{
    enum { PUSHES = 100 };
    struct kit *kit = *state;
    struct standin *standin = kit_standin(kit);
    struct kit_server *server =
        kit_serve_upstream(kit, standin, "--upstream-calls", "200", "--upstream-timeout", "30");
    kit_add(server, "n", "\"known\"", NULL);
    kit_set_kind(standin, KIT_ADD_EVENT, STANDIN_HANG);
    struct kit_connection *waiting[HANG_CALLS];
    for (int i = 0; i < HANG_CALLS; i++)
        waiting[i] = kit_add_later(server, BODY);
    kit_await_calls(kit, standin, KIT_ADD_EVENT, (uint64_t)HANG_CALLS + 1);
    kit_assert_unavailable(kit_post_json(server, KIT_ADD_EVENT, BODY), 503);
    struct kit_connection *waiter = kit_get_later(server, "pushed", "g", NULL);
    int64_t started_at_ms = kit_now_ms();
    for (int i = 0; i < PUSHES; i++)
        kit_push(server, "other", "1");
    assert_in_range(kit_now_ms() - started_at_ms, 0, (int64_t)(3000 * kit_time_scale()));
    kit_push(server, "pushed", "2");
    kit_assert_body(kit_receive(waiter), "[2]");
    check_the_rest(server);
    for (int i = 0; i < HANG_CALLS; i++)
        kit_expect_silence(waiting[i]);
    /* They fail together; all are answered, and the breaker opens once. */
    assert_int_equal(standin_vanish(standin), 0);
    for (int i = 0; i < HANG_CALLS; i++)
        kit_assert_unavailable(kit_receive(waiting[i]), 502);
    assert_string_equal(kit_breaker(server), "open");
    assert_int_equal(kit_health(server, "upstream.opened"), 1);
    assert_int_equal(kit_entries(server, KIT_GET_EVENTS)->count, 1);
}

/* Where threads are few, they are the limit: what finds none to wait with is refused, and the rest goes on. */
static void few_threads_are_not_all_given_to_calls(void **state)
{
    enum { ASKERS = 60 };
    struct kit *kit = *state;
    struct standin *standin = kit_standin(kit);
    struct kit_server *server =
        kit_serve_upstream(kit, standin, "--threads", "2", "--max-threads", "20", "--upstream-timeout", "30");
    kit_add(server, "n", "\"known\"", NULL);
    kit_set_kind(standin, KIT_ADD_EVENT, STANDIN_HOLD);
    struct kit_connection *askers[ASKERS];
    for (int i = 0; i < ASKERS; i++)
        askers[i] = kit_add_later(server, BODY);
    int64_t deadline_at_ms = kit_deadline_at_ms(2 * KIT_DEADLINE_MS);
    size_t waiting = ASKERS;
    while (waiting > standin_count(standin, KIT_ADD_EVENT) - 1) {
        for (int i = 0; i < ASKERS; i++)
            if (askers[i] != NULL && kit_has_input(askers[i])) {
                kit_assert_status(kit_receive(askers[i]), 503);
                kit_close(askers[i]);
                askers[i] = NULL;
                waiting--;
            }
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(kit, "%zu wait, %llu of them for the upstream", waiting,
                     (unsigned long long)standin_count(standin, KIT_ADD_EVENT) - 1);
        kit_pause();
    }
    assert_in_range(waiting, 1, 20);
    /* What reads the database may have to wait, and be refused for it. */
    int64_t started_at_ms = kit_now_ms();
    for (int i = 0; i < 20; i++)
        kit_push(server, "k", "1");
    kit_assert_body(kit_get_path(server, "/healthz"), "{\"ok\":true}");
    kit_assert_status_among(kit_get_path(server, KIT_GET_EVENTS), kit, "200|503");
    expect_prompt(kit, started_at_ms, "what needs no thread to wait with");
    kit_set_answer(standin, KIT_ADD_EVENT, 200, "{}");
    standin_release(standin);
    for (int i = 0; i < ASKERS; i++)
        if (askers[i] != NULL)
            kit_added_id(kit_receive(askers[i]));
    assert_int_equal(kit_entries(server, KIT_GET_EVENTS)->count, waiting + 1);
}

/* The time-out is one for the whole call, whatever trickles in. */
static void the_time_out_ends_calls_that_hang(void **state)
{
    enum { CALLS = 2 };
    static const struct standin_behaviour kinds[CALLS] = {{.kind = STANDIN_HANG},
                                                          {.kind = STANDIN_INTERIM, .pause_ms = 50}};
    struct kit *kit = *state;
    struct standin *standin = kit_standin(kit);
    struct kit_server *server = kit_serve_upstream(kit, standin, "--upstream-timeout", "1");
    struct kit_connection *waiting[CALLS];
    int64_t started_at_ms = kit_now_ms();
    for (int i = 0; i < CALLS; i++) {
        standin_set(standin, KIT_ADD_EVENT, &kinds[i]);
        waiting[i] = kit_add_later(server, BODY);
        kit_await_calls(kit, standin, KIT_ADD_EVENT, (uint64_t)i + 1);
    }
    for (int i = 0; i < CALLS; i++)
        kit_assert_unavailable(kit_receive(waiting[i]), 502);
    assert_in_range(kit_now_ms() - started_at_ms, 900, (int64_t)(2500 * kit_time_scale()));
    kit_assert_list(server, KIT_GET_EVENTS, "[]");
}

/* Calls and a refresh hang for longer than the server may take to stop. */
static void a_stop_does_not_wait_for_the_upstream(void **state)
{
    enum { CALLS = 5 };
    struct kit *kit = *state;
    struct standin *standin = kit_standin(kit);
    struct kit_server *server =
        kit_serve_upstream(kit, standin, "--upstream-timeout", "60", "--upstream-refresh", "1");
    kit_set_kind(standin, KIT_ADD_EVENT, STANDIN_HANG);
    kit_set_kind(standin, KIT_GET_USERS, STANDIN_HANG);
    kit_set_kind(standin, KIT_GET_EVENTS, STANDIN_HANG);
    uint64_t calls = standin_count(standin, NULL);
    for (int i = 0; i < CALLS; i++)
        kit_add_later(server, BODY);
    kit_await_calls(kit, standin, NULL, calls + CALLS + 1);
    kit_await_calls(kit, standin, KIT_ADD_EVENT, CALLS);
    int64_t started_at_ms = kit_now_ms();
    kit_stop(server);
    assert_in_range(kit_now_ms() - started_at_ms, 0, (int64_t)(STOP_MS * kit_time_scale()));
    kit_assert_list(kit_serve_events(kit), KIT_GET_EVENTS, "[]");
}

/* What the upstream answers while the server stops is stored and told. */
static void a_stop_lets_finish_what_is_answered(void **state)
{
    struct kit *kit = *state;
    struct standin *standin = kit_standin(kit);
    struct kit_server *server = kit_serve_upstream(kit, standin);
    kit_set_kind(standin, KIT_ADD_EVENT, STANDIN_HOLD);
    struct kit_connection *waiting = kit_add_later(server, BODY);
    kit_await_calls(kit, standin, KIT_ADD_EVENT, 1);
    kit_signal(server, 15);
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
    for (struct kit_connection *more; (more = kit_try_connect(server)) != NULL; kit_close(more))
        if (kit_now_ms() > deadline_at_ms) /* the stop is seen by this: no new connections */
            kit_fail(kit, "connections are still accepted");
    standin_release(standin);
    const char *id = kit_added_id(kit_receive(waiting));
    kit_close(waiting);
    assert_int_equal(kit_wait_exit(server), 0);
    assert_string_equal(kit_ids(kit_serve_events(kit), KIT_GET_EVENTS), id);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_upstream(no_more_calls_than_allowed_hang),
        kit_test_upstream(places_come_back),
        kit_test_upstream(two_hundred_that_hang_leave_the_rest_working),
        kit_test_upstream(few_threads_are_not_all_given_to_calls),
        kit_test_upstream(the_time_out_ends_calls_that_hang),
        kit_test_upstream(a_stop_does_not_wait_for_the_upstream),
        kit_test_upstream(a_stop_lets_finish_what_is_answered),
    };
    return kit_run_event_tests(tests);
}
