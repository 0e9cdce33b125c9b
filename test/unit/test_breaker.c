/* The circuit breaker: every transition, step by step, with a clock that the test moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "upstream/breaker.h"

#include <errno.h>
#include <stdio.h>

enum { SLOTS = 8, CHANGES_MOST = 64 };

#define HOUR_MS INT64_C(3600000)

struct scene {
    struct breaker *breaker;
    uint64_t drawn; /* what the random source gives */
    struct breaker_change changes[CHANGES_MOST];
    size_t change_count;
};

static uint64_t draw(void *context)
{
    return ((struct scene *)context)->drawn;
}

static void note_change(void *context, const struct breaker_change *change)
{
    struct scene *scene = context;
    assert_true(scene->change_count < CHANGES_MOST);
    scene->changes[scene->change_count++] = *change;
}

static void scene_begin(struct scene *scene)
{
    *scene = (struct scene){.drawn = 0};
    struct breaker_config config = breaker_defaults;
    config.draw = draw;
    config.draw_context = scene;
    config.changed = note_change;
    config.changed_context = scene;
    scene->breaker = breaker_create(&config);
    assert_non_null(scene->breaker);
}

static int64_t ms(int64_t milliseconds)
{
    return milliseconds * CLOCK_NS_PER_MS;
}

enum action { GO, PROBE, REFUSED, SUCCESS, FAILURE, CANCELLED };

/* One step: what is done at which instant with which ticket, and the state and the row afterwards. */
struct step {
    int64_t at_ms;
    enum action action;
    int slot;
    enum breaker_state state;
    uint32_t row;
    int64_t retry_at_ms; /* for REFUSED */
};

static void step_run(struct scene *scene, struct breaker_ticket *tickets, const struct step *step)
{
    static const enum breaker_entry entries[] = {
        [GO] = BREAKER_GO, [PROBE] = BREAKER_PROBE, [REFUSED] = BREAKER_REFUSED};
    static const enum breaker_outcome outcomes[] = {
        [SUCCESS] = BREAKER_SUCCESS, [FAILURE] = BREAKER_FAILURE, [CANCELLED] = BREAKER_CANCELLED};
    if (step->action <= REFUSED) {
        int64_t retry_at = -1;
        assert_int_equal(breaker_enter(scene->breaker, ms(step->at_ms), &tickets[step->slot], &retry_at),
                         entries[step->action]);
        assert_int_equal(retry_at, step->action == REFUSED ? ms(step->retry_at_ms) : -1);
    } else {
        breaker_leave(scene->breaker, &tickets[step->slot], outcomes[step->action], ms(step->at_ms));
    }
    struct breaker_counts counts = breaker_counts(scene->breaker);
    assert_int_equal(counts.state, step->state);
    assert_int_equal(counts.row, step->row);
}

static void play(struct scene *scene, const struct step *steps, size_t count)
{
    struct breaker_ticket tickets[SLOTS] = {{.period = 0}};
    for (size_t i = 0; i < count; i++)
        step_run(scene, tickets, &steps[i]);
}

#define PLAY(scene, ...)                                                                                     \
    play((scene), (const struct step[]){__VA_ARGS__},                                                        \
         sizeof((const struct step[]){__VA_ARGS__}) / sizeof(struct step))

/* Three failures in a row: with the draw of 0 the breaker is open for half a second. */
static void fail_until_open(struct scene *scene, int64_t at_ms)
{
    PLAY(scene, {at_ms, GO, 0, BREAKER_CLOSED, 0, 0}, {at_ms, FAILURE, 0, BREAKER_CLOSED, 1, 0},
         {at_ms, GO, 0, BREAKER_CLOSED, 1, 0}, {at_ms, FAILURE, 0, BREAKER_CLOSED, 2, 0},
         {at_ms, GO, 0, BREAKER_CLOSED, 2, 0}, {at_ms, FAILURE, 0, BREAKER_OPEN, 0, 0});
}

static void three_failures_open(void **state)
{
    struct scene scene;
    (void)state;
    scene_begin(&scene);
    fail_until_open(&scene, 1000);
    PLAY(&scene, {1000, REFUSED, 1, BREAKER_OPEN, 0, 1500}, {1499, REFUSED, 1, BREAKER_OPEN, 0, 1500});
    struct breaker_counts counts = breaker_counts(scene.breaker);
    assert_int_equal(counts.calls, 3);
    assert_int_equal(counts.failures, 3);
    assert_int_equal(counts.successes, 0);
    assert_int_equal(counts.refused, 2);
    assert_int_equal(counts.opened, 1);
    assert_int_equal(counts.probe_at, ms(1500));
    assert_int_equal(scene.change_count, 1);
    assert_int_equal(scene.changes[0].from, BREAKER_CLOSED);
    assert_int_equal(scene.changes[0].to, BREAKER_OPEN);
    assert_int_equal(scene.changes[0].failed_row, 3);
    assert_int_equal(scene.changes[0].backoff_ns, ms(500));
    breaker_free(scene.breaker);
}

static void a_success_ends_the_row(void **state)
{
    struct scene scene;
    (void)state;
    scene_begin(&scene);
    PLAY(&scene, {0, GO, 0, BREAKER_CLOSED, 0, 0}, {1, FAILURE, 0, BREAKER_CLOSED, 1, 0},
         {2, GO, 0, BREAKER_CLOSED, 1, 0}, {3, FAILURE, 0, BREAKER_CLOSED, 2, 0},
         {4, GO, 0, BREAKER_CLOSED, 2, 0}, {5, SUCCESS, 0, BREAKER_CLOSED, 0, 0},
         {6, GO, 0, BREAKER_CLOSED, 0, 0}, {7, FAILURE, 0, BREAKER_CLOSED, 1, 0},
         {8, GO, 0, BREAKER_CLOSED, 1, 0}, {9, FAILURE, 0, BREAKER_CLOSED, 2, 0},
         {10, GO, 0, BREAKER_CLOSED, 2, 0}, {11, FAILURE, 0, BREAKER_OPEN, 0, 0});
    breaker_free(scene.breaker);
}

static void a_cancelled_call_says_nothing(void **state)
{
    struct scene scene;
    (void)state;
    scene_begin(&scene);
    PLAY(&scene, {0, GO, 0, BREAKER_CLOSED, 0, 0}, {0, FAILURE, 0, BREAKER_CLOSED, 1, 0},
         {0, GO, 0, BREAKER_CLOSED, 1, 0}, {0, FAILURE, 0, BREAKER_CLOSED, 2, 0},
         {0, GO, 0, BREAKER_CLOSED, 2, 0}, {0, CANCELLED, 0, BREAKER_CLOSED, 2, 0},
         {0, GO, 0, BREAKER_CLOSED, 2, 0}, {0, FAILURE, 0, BREAKER_OPEN, 0, 0});
    assert_int_equal(breaker_counts(scene.breaker).cancelled, 1);
    breaker_free(scene.breaker);
}

/* The first of the three may be 30 s before the third, not a nanosecond more. */
static void a_row_has_thirty_seconds(void **state)
{
    static const struct {
        int64_t last_ns;
        enum breaker_state state;
    } rows[] = {
        {30 * CLOCK_NS_PER_SECOND - 1, BREAKER_OPEN},
        {30 * CLOCK_NS_PER_SECOND, BREAKER_OPEN},
        {30 * CLOCK_NS_PER_SECOND + 1, BREAKER_CLOSED},
        {INT64_MAX / 2, BREAKER_CLOSED},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct scene scene;
        struct breaker_ticket ticket;
        int64_t retry_at;
        scene_begin(&scene);
        int64_t instants[] = {0, 12345, rows[i].last_ns};
        for (size_t k = 0; k < 3; k++) {
            assert_int_equal(breaker_enter(scene.breaker, instants[k], &ticket, &retry_at), BREAKER_GO);
            breaker_leave(scene.breaker, &ticket, BREAKER_FAILURE, instants[k]);
        }
        assert_int_equal(breaker_counts(scene.breaker).state, rows[i].state);
        breaker_free(scene.breaker);
    }
}

/* Of a row that is too slow the last three count as soon as they are close together. */
static void a_slow_row_slides(void **state)
{
    struct scene scene;
    (void)state;
    scene_begin(&scene);
    PLAY(&scene, {0, GO, 0, BREAKER_CLOSED, 0, 0}, {0, FAILURE, 0, BREAKER_CLOSED, 1, 0},
         {20000, GO, 0, BREAKER_CLOSED, 1, 0}, {20000, FAILURE, 0, BREAKER_CLOSED, 2, 0},
         {40000, GO, 0, BREAKER_CLOSED, 2, 0}, {40000, FAILURE, 0, BREAKER_CLOSED, 3, 0},
         {60000, GO, 0, BREAKER_CLOSED, 3, 0}, {60000, FAILURE, 0, BREAKER_CLOSED, 3, 0},
         {70000, GO, 0, BREAKER_CLOSED, 3, 0}, {70000, FAILURE, 0, BREAKER_OPEN, 0, 0});
    assert_int_equal(scene.changes[0].failed_row, 5);
    breaker_free(scene.breaker);
}

static void a_probe_closes(void **state)
{
    struct scene scene;
    (void)state;
    scene_begin(&scene);
    fail_until_open(&scene, 0);
    PLAY(&scene, {500, PROBE, 1, BREAKER_HALF_OPEN, 0, 0}, {500, REFUSED, 2, BREAKER_HALF_OPEN, 0, 500},
         {4000, REFUSED, 2, BREAKER_HALF_OPEN, 0, 4000}, {5000, SUCCESS, 1, BREAKER_CLOSED, 0, 0},
         {5000, GO, 3, BREAKER_CLOSED, 0, 0}, {5000, GO, 4, BREAKER_CLOSED, 0, 0},
         {5000, SUCCESS, 3, BREAKER_CLOSED, 0, 0}, {5000, SUCCESS, 4, BREAKER_CLOSED, 0, 0});
    assert_int_equal(scene.change_count, 3);
    assert_int_equal(scene.changes[1].to, BREAKER_HALF_OPEN);
    assert_int_equal(scene.changes[2].from, BREAKER_HALF_OPEN);
    assert_int_equal(scene.changes[2].to, BREAKER_CLOSED);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(scene.changes[i].period, i + 2);
    /* Back to a short back-off, and to a whole row. */
    fail_until_open(&scene, 6000);
    assert_int_equal(scene.changes[3].backoff_ns, ms(500));
    breaker_free(scene.breaker);
}

static void each_lost_probe_doubles(void **state)
{
    static const int64_t nominal_s[] = {1, 2, 4, 8, 16, 32, 60, 60, 60};
    struct scene scene;
    (void)state;
    scene_begin(&scene);
    fail_until_open(&scene, 0);
    int64_t at_ms = 0;
    for (size_t i = 0; i < sizeof nominal_s / sizeof *nominal_s; i++) {
        int64_t probe_ms = at_ms + nominal_s[i] * 500;
        PLAY(&scene, {probe_ms - 1, REFUSED, 0, BREAKER_OPEN, 0, probe_ms},
             {probe_ms, PROBE, 0, BREAKER_HALF_OPEN, 0, 0},
             {probe_ms + 3000, FAILURE, 0, BREAKER_OPEN, 0, 0});
        assert_int_equal(breaker_counts(scene.breaker).probes_lost, i + 1);
        at_ms = probe_ms + 3000;
    }
    /* A probe that succeeds forgets all that. */
    PLAY(&scene, {at_ms + 30000, PROBE, 0, BREAKER_HALF_OPEN, 0, 0},
         {at_ms + 30001, SUCCESS, 0, BREAKER_CLOSED, 0, 0});
    assert_int_equal(breaker_counts(scene.breaker).probes_lost, 0);
    fail_until_open(&scene, at_ms + 40000);
    PLAY(&scene, {at_ms + 40499, REFUSED, 0, BREAKER_OPEN, 0, at_ms + 40500},
         {at_ms + 40500, PROBE, 0, BREAKER_HALF_OPEN, 0, 0});
    breaker_free(scene.breaker);
}

static void a_cancelled_probe_is_given_on(void **state)
{
    struct scene scene;
    (void)state;
    scene_begin(&scene);
    fail_until_open(&scene, 0);
    PLAY(&scene, {500, PROBE, 1, BREAKER_HALF_OPEN, 0, 0}, {600, REFUSED, 2, BREAKER_HALF_OPEN, 0, 600},
         {700, CANCELLED, 1, BREAKER_HALF_OPEN, 0, 0}, {700, PROBE, 2, BREAKER_HALF_OPEN, 0, 0},
         {700, REFUSED, 3, BREAKER_HALF_OPEN, 0, 700},
         /* The one that gave it back has no say any more. */
         {800, FAILURE, 1, BREAKER_HALF_OPEN, 0, 0}, {800, REFUSED, 3, BREAKER_HALF_OPEN, 0, 800},
         {900, FAILURE, 2, BREAKER_OPEN, 0, 0});
    /* The cancelled one does not lengthen the back-off. */
    assert_int_equal(breaker_counts(scene.breaker).probe_at, ms(1900));
    assert_int_equal(scene.change_count, 3);
    breaker_free(scene.breaker);
}

/* Calls of a closed period whose results come when it is over. */
static void late_results_change_nothing(void **state)
{
    struct scene scene;
    (void)state;
    scene_begin(&scene);
    PLAY(&scene, {0, GO, 1, BREAKER_CLOSED, 0, 0}, {0, GO, 2, BREAKER_CLOSED, 0, 0},
         {0, GO, 3, BREAKER_CLOSED, 0, 0}, {0, GO, 4, BREAKER_CLOSED, 0, 0}, {0, GO, 5, BREAKER_CLOSED, 0, 0},
         {0, GO, 6, BREAKER_CLOSED, 0, 0}, {0, GO, 7, BREAKER_CLOSED, 0, 0},
         /* Three of them open it. */
         {1, FAILURE, 1, BREAKER_CLOSED, 1, 0}, {1, FAILURE, 2, BREAKER_CLOSED, 2, 0},
         {1, FAILURE, 3, BREAKER_OPEN, 0, 0},
         /* Open: neither closed nor opened again for longer. */
         {2, SUCCESS, 4, BREAKER_OPEN, 0, 0}, {3, FAILURE, 5, BREAKER_OPEN, 0, 0},
         {500, REFUSED, 0, BREAKER_OPEN, 0, 501},
         /* Half-open: the probe alone decides. */
         {501, PROBE, 0, BREAKER_HALF_OPEN, 0, 0}, {502, SUCCESS, 6, BREAKER_HALF_OPEN, 0, 0},
         {503, SUCCESS, 0, BREAKER_CLOSED, 0, 0},
         /* Closed again: no part of the new row. */
         {504, FAILURE, 7, BREAKER_CLOSED, 0, 0});
    struct breaker_counts counts = breaker_counts(scene.breaker);
    assert_int_equal(counts.late, 4);
    assert_int_equal(counts.failures, 5);
    assert_int_equal(counts.successes, 3);
    assert_int_equal(counts.calls, 8);
    assert_int_equal(counts.opened, 1);
    breaker_free(scene.breaker);
}

/* A late success of an earlier closed period does not end the row of the current one. */
static void a_late_success_ends_no_row(void **state)
{
    struct scene scene;
    (void)state;
    scene_begin(&scene);
    struct breaker_ticket early;
    int64_t retry_at;
    assert_int_equal(breaker_enter(scene.breaker, 0, &early, &retry_at), BREAKER_GO);
    fail_until_open(&scene, 0);
    PLAY(&scene, {500, PROBE, 0, BREAKER_HALF_OPEN, 0, 0}, {500, SUCCESS, 0, BREAKER_CLOSED, 0, 0},
         {600, GO, 1, BREAKER_CLOSED, 0, 0}, {600, FAILURE, 1, BREAKER_CLOSED, 1, 0},
         {600, GO, 1, BREAKER_CLOSED, 1, 0}, {600, FAILURE, 1, BREAKER_CLOSED, 2, 0});
    breaker_leave(scene.breaker, &early, BREAKER_SUCCESS, ms(700));
    assert_int_equal(breaker_counts(scene.breaker).row, 2);
    PLAY(&scene, {800, GO, 1, BREAKER_CLOSED, 2, 0}, {800, FAILURE, 1, BREAKER_OPEN, 0, 0});
    breaker_free(scene.breaker);
}

static void a_ticket_counts_once(void **state)
{
    struct scene scene;
    (void)state;
    scene_begin(&scene);
    PLAY(&scene, {0, GO, 1, BREAKER_CLOSED, 0, 0}, {0, FAILURE, 1, BREAKER_CLOSED, 1, 0},
         {0, FAILURE, 1, BREAKER_CLOSED, 1, 0}, {0, SUCCESS, 1, BREAKER_CLOSED, 1, 0});
    assert_int_equal(breaker_counts(scene.breaker).failures, 1);
    assert_int_equal(breaker_counts(scene.breaker).successes, 0);
    breaker_free(scene.breaker);
}

/* Hours without a call: the back-off is long over, a row long forgotten, nothing overflows. */
static void hours_may_pass(void **state)
{
    struct scene scene;
    (void)state;
    scene_begin(&scene);
    PLAY(&scene, {0, GO, 0, BREAKER_CLOSED, 0, 0}, {0, FAILURE, 0, BREAKER_CLOSED, 1, 0},
         {0, GO, 0, BREAKER_CLOSED, 1, 0}, {0, FAILURE, 0, BREAKER_CLOSED, 2, 0},
         {9 * HOUR_MS, GO, 0, BREAKER_CLOSED, 2, 0}, {9 * HOUR_MS, FAILURE, 0, BREAKER_CLOSED, 3, 0},
         {9 * HOUR_MS, GO, 0, BREAKER_CLOSED, 3, 0}, {9 * HOUR_MS, FAILURE, 0, BREAKER_CLOSED, 3, 0},
         {9 * HOUR_MS, GO, 0, BREAKER_CLOSED, 3, 0}, {9 * HOUR_MS, FAILURE, 0, BREAKER_OPEN, 0, 0},
         {99 * HOUR_MS, PROBE, 0, BREAKER_HALF_OPEN, 0, 0},
         {99 * HOUR_MS, REFUSED, 1, BREAKER_HALF_OPEN, 0, 99 * HOUR_MS},
         {199 * HOUR_MS, FAILURE, 0, BREAKER_OPEN, 0, 0},
         {199 * HOUR_MS, REFUSED, 0, BREAKER_OPEN, 0, 199 * HOUR_MS + 1000},
         {999 * HOUR_MS, PROBE, 0, BREAKER_HALF_OPEN, 0, 0},
         {999 * HOUR_MS, SUCCESS, 0, BREAKER_CLOSED, 0, 0});
    breaker_free(scene.breaker);
}

/* Two threads read the clock and come in the other order. */
static void an_earlier_instant_counts_as_the_latest(void **state)
{
    struct scene scene;
    (void)state;
    scene_begin(&scene);
    fail_until_open(&scene, 1000);
    PLAY(&scene, {1500, PROBE, 0, BREAKER_HALF_OPEN, 0, 0}, {1400, FAILURE, 0, BREAKER_OPEN, 0, 0},
         {2400, REFUSED, 0, BREAKER_OPEN, 0, 2500}, {1000, REFUSED, 0, BREAKER_OPEN, 0, 2500},
         {2500, PROBE, 0, BREAKER_HALF_OPEN, 0, 0});
    breaker_free(scene.breaker);
}

/* Opens a breaker whose back-off begins at `first_ns`, and returns the back-off that was drawn. */
static int64_t backoff_of(int64_t first_ns, uint64_t drawn)
{
    struct scene scene = {.drawn = drawn};
    struct breaker_config config = breaker_defaults;
    config.failures_to_open = 1;
    config.first_backoff_ns = first_ns;
    config.draw = draw;
    config.draw_context = &scene;
    struct breaker *breaker = breaker_create(&config);
    assert_non_null(breaker);
    struct breaker_ticket ticket;
    int64_t retry_at;
    assert_int_equal(breaker_enter(breaker, 0, &ticket, &retry_at), BREAKER_GO);
    breaker_leave(breaker, &ticket, BREAKER_FAILURE, 0);
    int64_t backoff_ns = breaker_counts(breaker).probe_at;
    breaker_free(breaker);
    return backoff_ns;
}

static void jitter_is_exact(void **state)
{
    (void)state;
    assert_int_equal(backoff_of(1000, 0), 500);
    assert_int_equal(backoff_of(1000, 123), 623);
    assert_int_equal(backoff_of(1000, 500), 1000);
    assert_int_equal(backoff_of(1000, 501), 500);
    assert_int_equal(backoff_of(1001, 0), 501); /* not below half, for odd ones too */
    assert_int_equal(backoff_of(1001, 500), 1001);
    assert_int_equal(backoff_of(1, UINT64_MAX), 1);
}

/* The system's own source: within the bounds, evenly enough that each tenth of them is met. */
static void jitter_stays_within_bounds(void **state)
{
    enum { DRAWS = 20000, TENTHS = 10 };
    static const int64_t nominal_s[] = {1, 2, 32, 60};
    (void)state;
    for (size_t i = 0; i < sizeof nominal_s / sizeof *nominal_s; i++) {
        int64_t nominal = nominal_s[i] * CLOCK_NS_PER_SECOND;
        unsigned met[TENTHS] = {0};
        for (int n = 0; n < DRAWS; n++) {
            int64_t backoff_ns = backoff_of(nominal, breaker_defaults.draw(NULL));
            assert_in_range((uintmax_t)backoff_ns, (uintmax_t)(nominal / 2), (uintmax_t)nominal);
            int64_t tenth = (backoff_ns - nominal / 2) * TENTHS / (nominal / 2 + 1);
            met[tenth]++;
        }
        /* 2,000 are expected in each; 1,600 is nine standard deviations away. */
        for (int tenth = 0; tenth < TENTHS; tenth++)
            assert_in_range(met[tenth], 1600, 2400);
    }
}

static void a_config_out_of_range_is_refused(void **state)
{
    (void)state;
    struct breaker_config configs[8];
    for (size_t i = 0; i < 8; i++)
        configs[i] = breaker_defaults;
    configs[0].failures_to_open = 0;
    configs[1].failures_to_open = BREAKER_MOST_FAILURES + 1;
    configs[2].row_ns = -1;
    configs[3].first_backoff_ns = 0;
    configs[4].longest_backoff_ns = configs[4].first_backoff_ns - 1;
    configs[5].longest_backoff_ns = INT64_MAX / 4 + 1;
    configs[6].draw = NULL;
    for (size_t i = 0; i < 7; i++) {
        errno = 0;
        assert_null(breaker_create(&configs[i]));
        assert_int_equal(errno, EINVAL);
    }
    struct breaker *breaker = breaker_create(&configs[7]);
    assert_non_null(breaker);
    breaker_free(breaker);
    breaker_free(NULL);
}

static void states_have_names(void **state)
{
    (void)state;
    assert_string_equal(breaker_state_name(BREAKER_CLOSED), "closed");
    assert_string_equal(breaker_state_name(BREAKER_OPEN), "open");
    assert_string_equal(breaker_state_name(BREAKER_HALF_OPEN), "half-open");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_failures_open),
        cmocka_unit_test(a_success_ends_the_row),
        cmocka_unit_test(a_cancelled_call_says_nothing),
        cmocka_unit_test(a_row_has_thirty_seconds),
        cmocka_unit_test(a_slow_row_slides),
        cmocka_unit_test(a_probe_closes),
        cmocka_unit_test(each_lost_probe_doubles),
        cmocka_unit_test(a_cancelled_probe_is_given_on),
        cmocka_unit_test(late_results_change_nothing),
        cmocka_unit_test(a_late_success_ends_no_row),
        cmocka_unit_test(a_ticket_counts_once),
        cmocka_unit_test(hours_may_pass),
        cmocka_unit_test(an_earlier_instant_counts_as_the_latest),
        cmocka_unit_test(jitter_is_exact),
        cmocka_unit_test(jitter_stays_within_bounds),
        cmocka_unit_test(a_config_out_of_range_is_refused),
        cmocka_unit_test(states_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
