/* The metrics as the contract has them: which events are taken, in which second they count, what a window knows. */
#include "metrics_kit.h"

#include <pthread.h>

#include <errno.h>

enum { METRICS_BUSY = -1, PLENTY = 64 * 1024 * 1024, RETENTION = 1800, SECOND = 1000 };

static void events_are_judged_in_order(void **state)
{
    (void)state;
    struct metrics_kit kit;
    kit_start(&kit, RETENTION, PLENTY);
    assert_int_equal(kit_ingest(&kit, "e1", "u1", "click", 0), METRICS_ACCEPTED);
    assert_int_equal(kit_ingest(&kit, "e1", "u1", "click", 0), METRICS_SEEN);
    /* seen comes before everything else */
    assert_int_equal(kit_ingest(&kit, "e1", "u1", "click", 999 * SECOND), METRICS_SEEN);
    struct metrics_event event = {
        .id = TEXT("e1"), .user = TEXT("u1"), .type = TEXT("click"), .timestamp = TEXT("yesterday")};
    enum metrics_result result;
    metrics_ingest(kit.metrics, &event, 1, &result);
    assert_int_equal(result, METRICS_SEEN);
    event.id = TEXT("e2");
    metrics_ingest(kit.metrics, &event, 1, &result);
    assert_int_equal(result, METRICS_INVALID_TIMESTAMP);
    /* to the millisecond, at both ends */
    assert_int_equal(kit_ingest(&kit, "e2", "u1", "click", 120 * SECOND + 1), METRICS_SKEWED);
    assert_int_equal(kit_ingest(&kit, "e2", "u1", "click", -120 * SECOND - 1), METRICS_LATE);
    /* a refused event's id is not remembered */
    assert_int_equal(kit_ingest(&kit, "e2", "u1", "click", 120 * SECOND), METRICS_ACCEPTED);
    assert_int_equal(kit_ingest(&kit, "e3", "u1", "click", -120 * SECOND), METRICS_ACCEPTED);
    kit_pass(&kit, 999);
    assert_int_equal(kit_ingest(&kit, "e4", "u1", "click", 120 * SECOND + 1), METRICS_SKEWED);
    assert_int_equal(kit_ingest(&kit, "e4", "u1", "click", 120 * SECOND), METRICS_ACCEPTED);
    kit_expect(&kit, RETENTION, "events 2 unknown 2 users 0 plan region type:click=2");
    kit_end(&kit);
}

static void messages_are_those_of_the_contract(void **state)
{
    (void)state;
    static const char *const messages[] = {
        [METRICS_SEEN] = "Event e1 already seen",
        [METRICS_INVALID_TIMESTAMP] = "Event e1 has an invalid timestamp",
        [METRICS_SKEWED] = "Event e1 timestamp is more than 2 minutes skewed.",
        [METRICS_LATE] = "Event e1 timestamp is outside the 2 minute lateness threshold.",
        [METRICS_FULL] = "Event e1 does not fit: the memory for metrics is full",
        [METRICS_ACCEPTED] = "Event accepted",
    };
    for (enum metrics_result result = METRICS_SEEN; result <= METRICS_ACCEPTED; result++) {
        struct buffer buffer = BUFFER_EMPTY;
        metrics_append_message(&buffer, result, TEXT("e1"));
        buffer_append(&buffer, "", 1);
        assert_string_equal(buffer.bytes, messages[result]);
        buffer_free(&buffer);
    }
}

static void a_batch_has_a_result_for_each(void **state)
{
    (void)state;
    enum { BATCH = 1000 };
    struct metrics_kit kit;
    static struct metrics_event events[BATCH];
    static enum metrics_result results[BATCH];
    static char ids[BATCH][16];
    char now[CLOCK_RFC3339_BYTES];
    kit_start(&kit, RETENTION, PLENTY);
    clock_format_rfc3339(kit_wall_ms(&kit), now);
    for (int i = 0; i < BATCH; i++) {
        snprintf(ids[i], sizeof ids[i], "e%d", i % 700); /* the last 300 are repeats */
        events[i] = (struct metrics_event){.id = text_from(ids[i]),
                                           .user = TEXT("u"),
                                           .type = i % 2 == 0 ? TEXT("click") : TEXT("view"),
                                           .timestamp = i % 10 == 0 ? TEXT("never") : text_from(now)};
    }
    metrics_ingest(kit.metrics, events, BATCH, results);
    for (int i = 0; i < BATCH; i++) {
        enum metrics_result expected = i % 10 == 0 ? METRICS_INVALID_TIMESTAMP
                                       : i < 700   ? METRICS_ACCEPTED
                                                   : METRICS_SEEN;
        assert_int_equal(results[i], expected);
    }
    metrics_ingest(kit.metrics, events, 0, results);
    kit_expect(&kit, 1, "events 630 unknown 630 users 0 plan region type:view=350,click=280");
    kit_end(&kit);
}

static void each_event_counts_in_its_own_second(void **state)
{
    (void)state;
    struct metrics_kit kit;
    kit_start(&kit, RETENTION, PLENTY);
    kit_set(&kit, "u1 pro eu, u2 free us, u3 - eu, u4 pro -", 0);
    kit_ingest(&kit, "e1", "u1", "a", -10 * SECOND);
    kit_ingest(&kit, "e2", "u2", "b", -5 * SECOND);
    kit_ingest(&kit, "e3", "u9", "a", 0);
    kit_ingest(&kit, "e4", "u1", "a", -119 * SECOND); /* late, and no news of u1 */
    kit_expect(&kit, 1, "events 1 unknown 1 users 0 plan:pro=0,free=0 region:eu=0,us=0 type:a=1");
    kit_expect(&kit, 5, "events 1 unknown 1 users 0 plan:pro=0,free=0 region:eu=0,us=0 type:a=1");
    kit_expect(&kit, 6, "events 2 unknown 1 users 1 plan:pro=0,free=1 region:eu=0,us=1 type:a=1,b=1");
    kit_expect(&kit, 10, "events 2 unknown 1 users 1 plan:pro=0,free=1 region:eu=0,us=1 type:a=1,b=1");
    kit_expect(&kit, 11, "events 3 unknown 1 users 2 plan:pro=1,free=1 region:eu=1,us=1 type:a=2,b=1");
    kit_expect(&kit, 119, "events 3 unknown 1 users 2 plan:pro=1,free=1 region:eu=1,us=1 type:a=2,b=1");
    kit_expect(&kit, 120, "events 4 unknown 1 users 2 plan:pro=2,free=1 region:eu=2,us=1 type:a=3,b=1");
    kit_ingest(&kit, "e5", "u3", "c", 0);
    kit_ingest(&kit, "e6", "u4", "c", 0);
    kit_expect(&kit, RETENTION,
               "events 6 unknown 1 users 4 plan:pro=3,free=1 region:eu=3,us=1 type:a=3,b=1,c=2");
    kit_expect(&kit, RETENTION + 999,
               "events 6 unknown 1 users 4 plan:pro=3,free=1 region:eu=3,us=1 type:a=3,b=1,c=2");
    kit_pass(&kit, SECOND);
    kit_expect(&kit, 1, "events 0 unknown 0 users 0 plan:pro=0,free=0 region:eu=0,us=0 type");
    kit_end(&kit);
}

static void the_window_moves_with_the_clock(void **state)
{
    (void)state;
    struct metrics_kit kit;
    kit_start(&kit, 60, PLENTY);
    kit_set(&kit, "u1 pro eu", 0);
    for (int i = 0; i < 300; i++) {
        char id[16], expected[128];
        snprintf(id, sizeof id, "e%d", i);
        assert_int_equal(kit_ingest(&kit, id, "u1", "a", 0), METRICS_ACCEPTED);
        int count = i < 60 ? i + 1 : 60;
        snprintf(expected, sizeof expected, "events %d unknown 0 users 1 plan:pro=%d region:eu=%d type:a=%d",
                 count, count, count, count);
        kit_expect(&kit, 60, expected);
        kit_pass(&kit, SECOND);
    }
    kit_pass(&kit, 58 * SECOND);
    kit_expect(&kit, 60, "events 1 unknown 0 users 1 plan:pro=1 region:eu=1 type:a=1");
    kit_pass(&kit, SECOND);
    kit_expect(&kit, 60, "events 0 unknown 0 users 0 plan:pro=0 region:eu=0 type");
    kit_end(&kit);
}

static void the_future_waits_until_it_comes(void **state)
{
    (void)state;
    struct metrics_kit kit;
    kit_start(&kit, RETENTION, PLENTY);
    kit_set(&kit, "u1 pro eu", 0);
    kit_ingest(&kit, "e1", "u1", "a", 0);
    kit_ingest(&kit, "e2", "u1", "a", 2 * SECOND);
    kit_ingest(&kit, "e3", "u1", "b", 120 * SECOND);
    kit_expect(&kit, RETENTION, "events 1 unknown 0 users 1 plan:pro=1 region:eu=1 type:a=1");
    kit_pass(&kit, 2 * SECOND - 1);
    kit_expect(&kit, 1, "events 0 unknown 0 users 0 plan:pro=0 region:eu=0 type");
    kit_pass(&kit, 1);
    kit_expect(&kit, 1, "events 1 unknown 0 users 1 plan:pro=1 region:eu=1 type:a=1");
    kit_expect(&kit, 3, "events 2 unknown 0 users 1 plan:pro=2 region:eu=2 type:a=2");
    /* a clock that leaps over seconds leaves none of them out */
    kit_pass(&kit, 1000 * SECOND);
    kit_expect(&kit, RETENTION, "events 3 unknown 0 users 1 plan:pro=3 region:eu=3 type:a=2,b=1");
    kit_expect(&kit, 882, "events 0 unknown 0 users 0 plan:pro=0 region:eu=0 type");
    kit_expect(&kit, 883, "events 1 unknown 0 users 1 plan:pro=1 region:eu=1 type:b=1");
    kit_end(&kit);
}

static void a_repeat_within_the_retention_is_seen(void **state)
{
    (void)state;
    struct metrics_kit kit;
    kit_start(&kit, 200, PLENTY);
    kit_ingest(&kit, "now", "u1", "a", 0);
    kit_ingest(&kit, "late", "u1", "a", -100 * SECOND);
    kit_ingest(&kit, "future", "u1", "a", 100 * SECOND);
    for (int i = 0; i < 64; i++)
        metrics_round(kit.metrics, NULL);
    kit_pass(&kit, 200 * SECOND);
    assert_int_equal(kit_ingest(&kit, "now", "u1", "a", 0), METRICS_SEEN);
    assert_int_equal(kit_ingest(&kit, "late", "u1", "a", 0), METRICS_SEEN);
    kit_pass(&kit, SECOND);
    assert_int_equal(kit_ingest(&kit, "now", "u1", "a", 0), METRICS_ACCEPTED);
    assert_int_equal(kit_ingest(&kit, "late", "u1", "a", 0), METRICS_ACCEPTED);
    /* an event that came too early is in windows for longer, and is remembered for as long */
    assert_int_equal(kit_ingest(&kit, "future", "u1", "a", 0), METRICS_SEEN);
    kit_pass(&kit, 99 * SECOND);
    assert_int_equal(kit_ingest(&kit, "future", "u1", "a", 0), METRICS_SEEN);
    kit_pass(&kit, SECOND);
    assert_int_equal(kit_ingest(&kit, "future", "u1", "a", 0), METRICS_ACCEPTED);
    /* a step of the wall clock forgets nothing */
    kit_step(&kit, 5000 * SECOND);
    assert_int_equal(kit_ingest(&kit, "future", "u1", "a", 0), METRICS_SEEN);
    kit_step(&kit, -9000 * SECOND);
    assert_int_equal(kit_ingest(&kit, "future", "u1", "a", 0), METRICS_SEEN);
    kit_end(&kit);
}

static void a_short_retention_takes_what_is_not_late(void **state)
{
    (void)state;
    struct metrics_kit kit;
    kit_start(&kit, 1, PLENTY);
    kit_set(&kit, "u1 pro eu", 0);
    assert_int_equal(kit_ingest(&kit, "e1", "u1", "a", -120 * SECOND), METRICS_ACCEPTED);
    assert_int_equal(kit_ingest(&kit, "e1", "u1", "a", 0), METRICS_SEEN);
    assert_int_equal(kit_ingest(&kit, "e2", "u1", "a", 0), METRICS_ACCEPTED);
    assert_int_equal(kit_ingest(&kit, "e3", "u1", "a", 120 * SECOND), METRICS_ACCEPTED);
    kit_expect(&kit, 1, "events 1 unknown 0 users 1 plan:pro=1 region:eu=1 type:a=1");
    kit_pass(&kit, 120 * SECOND);
    kit_expect(&kit, 1, "events 1 unknown 0 users 1 plan:pro=1 region:eu=1 type:a=1");
    kit_end(&kit);
}

static void a_new_table_holds_for_the_whole_window(void **state)
{
    (void)state;
    struct metrics_kit kit;
    kit_start(&kit, RETENTION, PLENTY);
    assert_null(metrics_reference(kit.metrics));
    kit_ingest(&kit, "e1", "u1", "a", -100 * SECOND);
    kit_ingest(&kit, "e2", "u2", "a", -50 * SECOND);
    kit_ingest(&kit, "e3", "u1", "a", 30 * SECOND);
    kit_expect(&kit, RETENTION, "events 2 unknown 2 users 0 plan region type:a=2");
    assert_int_equal(kit_set(&kit, "u1 pro eu, u7 max asia", 100), METRICS_SET_OK);
    kit_expect(&kit, RETENTION, "events 2 unknown 1 users 1 plan:pro=1,max=0 region:eu=1,asia=0 type:a=2");
    assert_int_equal(kit_set(&kit, "u2 free us, u1 free us", 100), METRICS_SET_OK); /* an equal one wins */
    kit_expect(&kit, RETENTION, "events 2 unknown 0 users 2 plan:free=2 region:us=2 type:a=2");
    assert_int_equal(kit_set(&kit, "u1 pro eu", 99), METRICS_SET_STALE);
    kit_expect(&kit, RETENTION, "events 2 unknown 0 users 2 plan:free=2 region:us=2 type:a=2");
    assert_int_equal(metrics_counts(kit.metrics).generation, 2);
    struct reference *held = metrics_reference(kit.metrics);
    assert_int_equal(kit_set(&kit, "", 101), METRICS_SET_OK);
    kit_expect(&kit, RETENTION, "events 2 unknown 2 users 0 plan region type:a=2");
    kit_pass(&kit, 30 * SECOND);
    kit_expect(&kit, 1, "events 1 unknown 1 users 0 plan region type:a=1");
    assert_int_equal(kit_set(&kit, "u1 pro eu", 102), METRICS_SET_OK);
    kit_expect(&kit, 1, "events 1 unknown 0 users 1 plan:pro=1 region:eu=1 type:a=1");
    /* who holds an old table goes on reading it */
    assert_int_equal(reference_user_count(held), 2);
    assert_int_equal(reference_find(held, TEXT("u1")), 1);
    reference_release(held);
    kit_end(&kit);
}

/* The result, or METRICS_BUSY when it is another's turn. */
static int prepare(struct metrics_kit *kit, const char *rows)
{
    if (!metrics_take_turn(kit->metrics, clock_monotonic_ns()))
        return METRICS_BUSY;
    struct reference *reference = kit_table(kit, rows, 2);
    enum metrics_set_result result = metrics_prepare_reference(kit->metrics, reference);
    reference_release(reference);
    if (result != METRICS_SET_OK)
        metrics_end_turn(kit->metrics);
    return (int)result;
}

static void a_prepared_table_holds_from_its_commit_on(void **state)
{
    (void)state;
    struct metrics_kit kit;
    kit_start(&kit, 60, PLENTY);
    assert_int_equal(kit_set(&kit, "u pro eu", 1), METRICS_SET_OK);
    assert_int_equal(kit_ingest(&kit, "1", "u", "t", 0), METRICS_ACCEPTED);
    assert_int_equal(prepare(&kit, "u free us,v free us"), METRICS_SET_OK);
    assert_int_equal(kit_ingest(&kit, "2", "v", "t", 0), METRICS_ACCEPTED);
    kit_expect(&kit, 60, "events 2 unknown 1 users 1 plan:pro=1 region:eu=1 type:t=2");
    kit_pass(&kit, 1000);
    assert_int_equal(kit_ingest(&kit, "3", "w", "t", 0), METRICS_ACCEPTED);
    metrics_commit_reference(kit.metrics);
    kit_expect(&kit, 60, "events 3 unknown 1 users 2 plan:free=2 region:us=2 type:t=3");
    kit_end(&kit);
}

static void *commit(void *metrics)
{
    metrics_commit_reference(metrics);
    return NULL;
}

static void one_table_is_prepared_at_a_time(void **state)
{
    (void)state;
    struct metrics_kit kit;
    pthread_t thread;
    kit_start(&kit, 60, PLENTY);
    assert_int_equal(kit_ingest(&kit, "1", "u", "t", 0), METRICS_ACCEPTED);
    assert_int_equal(prepare(&kit, "u a -"), METRICS_SET_OK);
    assert_int_equal(prepare(&kit, "u b -"), METRICS_BUSY);
    metrics_abandon_reference(kit.metrics);
    kit_expect(&kit, 60, "events 1 unknown 1 users 0 plan region type:t=1");
    assert_int_equal(prepare(&kit, "u c -"), METRICS_SET_OK);
    /* Another thread ends it; who waits for the turn then gets it. */
    assert_int_equal(pthread_create(&thread, NULL, commit, kit.metrics), 0);
    assert_int_equal(kit_set(&kit, "u d -", 3), METRICS_SET_OK);
    pthread_join(thread, NULL);
    kit_expect(&kit, 60, "events 1 unknown 0 users 1 plan:d=1 region type:t=1");
    assert_int_equal(prepare(&kit, "u e -"), METRICS_SET_STALE);
    assert_int_equal(kit_set(&kit, "u f -", 3), METRICS_SET_OK);
    kit_end(&kit);
}

static void a_clock_that_steps_back_is_followed(void **state)
{
    (void)state;
    struct metrics_kit kit;
    kit_start(&kit, RETENTION, PLENTY);
    kit_set(&kit, "u1 pro eu, u2 free us, u3 free eu", 0);
    kit_ingest(&kit, "e1", "u1", "a", -100 * SECOND);
    kit_ingest(&kit, "e2", "u1", "b", 0);
    kit_ingest(&kit, "e3", "u2", "a", -3 * SECOND);
    kit_ingest(&kit, "e4", "u3", "a", 119 * SECOND);
    kit_expect(&kit, RETENTION, "events 3 unknown 0 users 2 plan:pro=2,free=1 region:eu=2,us=1 type:a=2,b=1");
    kit_step(&kit, -2 * SECOND); /* e2 is yet to come; e4 is too far ahead now, and dropped */
    kit_expect(&kit, RETENTION, "events 2 unknown 0 users 2 plan:pro=1,free=1 region:eu=1,us=1 type:a=2");
    kit_expect(&kit, 98, "events 1 unknown 0 users 1 plan:pro=0,free=1 region:eu=0,us=1 type:a=1");
    kit_step(&kit, -50 * SECOND);
    kit_expect(&kit, RETENTION, "events 1 unknown 0 users 1 plan:pro=1,free=0 region:eu=1,us=0 type:a=1");
    kit_step(&kit, 52 * SECOND);
    kit_expect(&kit, RETENTION, "events 3 unknown 0 users 2 plan:pro=2,free=1 region:eu=2,us=1 type:a=2,b=1");
    kit_step(&kit, 119 * SECOND);
    kit_expect(&kit, RETENTION, "events 3 unknown 0 users 2 plan:pro=2,free=1 region:eu=2,us=1 type:a=2,b=1");
    /* far back: everything is too far ahead */
    kit_step(&kit, -100000 * SECOND);
    kit_expect(&kit, RETENTION, "events 0 unknown 0 users 0 plan:pro=0,free=0 region:eu=0,us=0 type");
    kit_ingest(&kit, "e5", "u1", "a", 0);
    kit_expect(&kit, RETENTION, "events 1 unknown 0 users 1 plan:pro=1,free=0 region:eu=1,us=0 type:a=1");
    kit_step(&kit, 100000 * SECOND);
    kit_expect(&kit, RETENTION, "events 0 unknown 0 users 0 plan:pro=0,free=0 region:eu=0,us=0 type");
    kit_end(&kit);
}

static void a_second_that_comes_twice_begins_anew(void **state)
{
    (void)state;
    struct metrics_kit kit;
    kit_start(&kit, 30, PLENTY);
    kit_set(&kit, "u1 pro eu", 0);
    kit_ingest(&kit, "e1", "u1", "a", 0);
    kit_ingest(&kit, "e2", "u1", "a", 100 * SECOND); /* keeps u1 interned */
    kit_pass(&kit, 40 * SECOND);
    kit_expect(&kit, 30, "events 0 unknown 0 users 0 plan:pro=0 region:eu=0 type");
    kit_step(&kit, -40 * SECOND);
    kit_expect(&kit, 30, "events 0 unknown 0 users 0 plan:pro=0 region:eu=0 type");
    kit_ingest(&kit, "e3", "u1", "a", 0);
    kit_expect(&kit, 1, "events 1 unknown 0 users 1 plan:pro=1 region:eu=1 type:a=1");
    kit_pass(&kit, SECOND);
    kit_ingest(&kit, "e4", "u1", "a", 0);
    kit_expect(&kit, 2, "events 2 unknown 0 users 1 plan:pro=2 region:eu=2 type:a=2");
    kit_end(&kit);
}

static void options_out_of_range_are_refused(void **state)
{
    (void)state;
    struct metrics_options options = {.clock = clock_system, .retention_s = 0, .max_memory_bytes = PLENTY};
    assert_null(metrics_create(&options));
    assert_int_equal(errno, EINVAL);
    options.retention_s = METRICS_LONGEST_RETENTION_S + 1;
    assert_null(metrics_create(&options));
    assert_int_equal(errno, EINVAL);
    options.retention_s = METRICS_LONGEST_RETENTION_S;
    assert_null(metrics_create(&options)); /* the ring alone does not fit */
    assert_int_equal(errno, ENOMEM);
    metrics_free(NULL);
}

/* With the clocks of the system, and a thread that keeps up with them. */
static void the_system_has_clocks_too(void **state)
{
    (void)state;
    struct metrics_options options = {.clock = clock_system, .retention_s = 10, .max_memory_bytes = PLENTY};
    struct metrics *metrics = metrics_create(&options);
    assert_non_null(metrics);
    struct periodic *thread = periodic_start("metrics", metrics_round, metrics);
    assert_non_null(thread);
    char now[CLOCK_RFC3339_BYTES];
    clock_format_rfc3339(clock_wall_ms(), now);
    struct metrics_event event = {
        .id = TEXT("e"), .user = TEXT("u"), .type = TEXT("t"), .timestamp = text_from(now)};
    enum metrics_result result;
    metrics_ingest(metrics, &event, 1, &result);
    assert_int_equal(result, METRICS_ACCEPTED);
    struct metrics_answer answer;
    assert_int_equal(metrics_query(metrics, 10, &answer), 0);
    assert_int_equal(answer.events, 1);
    metrics_answer_free(&answer);
    periodic_stop(thread);
    metrics_free(metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_are_judged_in_order),
        cmocka_unit_test(messages_are_those_of_the_contract),
        cmocka_unit_test(a_batch_has_a_result_for_each),
        cmocka_unit_test(each_event_counts_in_its_own_second),
        cmocka_unit_test(the_window_moves_with_the_clock),
        cmocka_unit_test(the_future_waits_until_it_comes),
        cmocka_unit_test(a_repeat_within_the_retention_is_seen),
        cmocka_unit_test(a_short_retention_takes_what_is_not_late),
        cmocka_unit_test(a_new_table_holds_for_the_whole_window),
        cmocka_unit_test(a_prepared_table_holds_from_its_commit_on),
        cmocka_unit_test(one_table_is_prepared_at_a_time),
        cmocka_unit_test(a_clock_that_steps_back_is_followed),
        cmocka_unit_test(a_second_that_comes_twice_begins_anew),
        cmocka_unit_test(options_out_of_range_are_refused),
        cmocka_unit_test(the_system_has_clocks_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
