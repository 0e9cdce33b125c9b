/* The circuit breaker beside an obviously right model over long random runs, and under many threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "upstream/breaker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALLS = 24, RUNS = 60, STEPS = 4000, HISTORY_MOST = STEPS, THREADS = 50, ROUNDS = 200 };

/* --- the model: keeps everything that has happened and works each answer out from it --- */

struct model {
    enum breaker_state state;
    int64_t failures[HISTORY_MOST]; /* in a row, in this closed period */
    size_t failure_count;
    int64_t open_until;
    unsigned probes_lost;
    int probe_call; /* the call that is the probe, or -1 */
    unsigned periods;
};

struct model_call {
    bool under_way;
    unsigned period;
};

static uint64_t next_random(uint64_t *state)
{
    /* Sebastiano Vigna's SplitMix64. */
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static int64_t model_backoff(const struct model *model, uint64_t drawn)
{
    double nominal_s = 1;
    for (unsigned i = 0; i < model->probes_lost; i++)
        nominal_s = nominal_s * 2 > 60 ? 60 : nominal_s * 2;
    int64_t half = (int64_t)(nominal_s * 500000000);
    return half + (int64_t)(drawn % (uint64_t)(half + 1));
}

static void model_open(struct model *model, int64_t now, uint64_t drawn)
{
    model->state = BREAKER_OPEN;
    model->open_until = now + model_backoff(model, drawn);
    model->periods++;
    model->failure_count = 0;
    model->probe_call = -1;
}

static enum breaker_entry model_enter(struct model *model, struct model_call *calls, int call, int64_t now)
{
    if (model->state == BREAKER_OPEN && now >= model->open_until) {
        model->state = BREAKER_HALF_OPEN;
        model->periods++;
    }
    if (model->state == BREAKER_OPEN || (model->state == BREAKER_HALF_OPEN && model->probe_call >= 0))
        return BREAKER_REFUSED;
    calls[call] = (struct model_call){.under_way = true, .period = model->periods};
    if (model->state == BREAKER_CLOSED)
        return BREAKER_GO;
    model->probe_call = call;
    return BREAKER_PROBE;
}

static void model_leave(struct model *model, struct model_call *calls, int call, enum breaker_outcome outcome,
                        int64_t now, uint64_t drawn)
{
    calls[call].under_way = false;
    if (model->probe_call == call) {
        model->probe_call = -1;
        if (outcome == BREAKER_SUCCESS) {
            model->state = BREAKER_CLOSED;
            model->periods++;
            model->probes_lost = 0;
        } else if (outcome == BREAKER_FAILURE) {
            model->probes_lost++;
            model_open(model, now, drawn);
        }
        return;
    }
    if (model->state != BREAKER_CLOSED || calls[call].period != model->periods)
        return;
    if (outcome == BREAKER_SUCCESS)
        model->failure_count = 0;
    if (outcome != BREAKER_FAILURE)
        return;
    model->failures[model->failure_count++] = now;
    size_t n = model->failure_count;
    if (n >= 3 && model->failures[n - 1] - model->failures[n - 3] <= 30 * CLOCK_NS_PER_SECOND)
        model_open(model, now, drawn);
}

/* --- random runs --- */

struct run {
    struct breaker *breaker;
    struct model model;
    struct model_call calls[CALLS];
    struct breaker_ticket tickets[CALLS];
    uint64_t random;
    uint64_t drawn;
    int64_t now;
    unsigned failure_percent;
};

static uint64_t draw_from_run(void *context)
{
    return ((struct run *)context)->drawn;
}

static int64_t random_pause(struct run *run)
{
    switch (next_random(&run->random) % 8) {
    case 0:
        return 0;
    case 1:
        return (int64_t)(next_random(&run->random) % (uint64_t)(40 * CLOCK_NS_PER_SECOND));
    case 2:
        /* Just when the back-off ends, or just before. */
        if (run->model.state == BREAKER_OPEN && run->model.open_until > run->now)
            return run->model.open_until - run->now - (int64_t)(next_random(&run->random) % 2);
        return 1;
    default:
        return (int64_t)(next_random(&run->random) % (uint64_t)CLOCK_NS_PER_SECOND);
    }
}

static enum breaker_outcome random_outcome(struct run *run)
{
    uint64_t percent = next_random(&run->random) % 100;
    if (percent < 5)
        return BREAKER_CANCELLED;
    return percent < 5 + run->failure_percent ? BREAKER_FAILURE : BREAKER_SUCCESS;
}

static void compare(struct run *run)
{
    struct breaker_counts counts = breaker_counts(run->breaker);
    size_t row = run->model.failure_count < 3 ? run->model.failure_count : 3;
    uint64_t under_way = 0;
    for (int i = 0; i < CALLS; i++)
        under_way += run->calls[i].under_way;
    assert_int_equal(counts.state, run->model.state);
    assert_int_equal(counts.row, row);
    assert_int_equal(counts.probes_lost, run->model.probes_lost);
    assert_int_equal(counts.probe_under_way, run->model.probe_call >= 0);
    assert_int_equal(counts.probe_at, run->model.state == BREAKER_OPEN ? run->model.open_until : 0);
    assert_int_equal(counts.calls, counts.successes + counts.failures + counts.cancelled + under_way);
}

static void random_step(struct run *run)
{
    run->now += random_pause(run);
    run->drawn = next_random(&run->random);
    int call = (int)(next_random(&run->random) % CALLS);
    if (run->calls[call].under_way) {
        enum breaker_outcome outcome = random_outcome(run);
        model_leave(&run->model, run->calls, call, outcome, run->now, run->drawn);
        breaker_leave(run->breaker, &run->tickets[call], outcome, run->now);
    } else {
        int64_t retry_at = -1;
        enum breaker_entry wanted = model_enter(&run->model, run->calls, call, run->now);
        enum breaker_entry entry = breaker_enter(run->breaker, run->now, &run->tickets[call], &retry_at);
        assert_int_equal(entry, wanted);
        if (entry == BREAKER_REFUSED)
            assert_int_equal(retry_at, run->model.state == BREAKER_OPEN ? run->model.open_until : run->now);
    }
    compare(run);
}

static void the_model_agrees(void **state)
{
    (void)state;
    const char *given = getenv("TEST_SEED");
    uint64_t seed = given == NULL ? breaker_defaults.draw(NULL) : strtoull(given, NULL, 0);
    print_message("TEST_SEED=0x%llx\n", (unsigned long long)seed);
    uint64_t opened = 0;
    for (unsigned i = 0; i < RUNS; i++) {
        static struct run run;
        run = (struct run){.random = seed + i, .model = {.probe_call = -1, .state = BREAKER_CLOSED}};
        run.failure_percent = i * 90 / RUNS;
        struct breaker_config config = breaker_defaults;
        config.draw = draw_from_run;
        config.draw_context = &run;
        run.breaker = breaker_create(&config);
        assert_non_null(run.breaker);
        for (unsigned step = 0; step < STEPS; step++)
            random_step(&run);
        opened += breaker_counts(run.breaker).opened;
        breaker_free(run.breaker);
    }
    assert_true(opened > RUNS); /* else the runs have tested little */
}

/* --- threads --- */

struct crowd {
    struct breaker *breaker;
    pthread_barrier_t barrier;
    _Atomic int64_t now;
    atomic_uint probes;
    atomic_uint let_through;
    atomic_uint refused;
    enum breaker_outcome outcome; /* of this round's probe */
};

static void *knock(void *context)
{
    struct crowd *crowd = context;
    for (int round = 0; round < ROUNDS; round++) {
        struct breaker_ticket ticket;
        int64_t retry_at = 0;
        pthread_barrier_wait(&crowd->barrier);
        enum breaker_entry entry = breaker_enter(crowd->breaker, crowd->now, &ticket, &retry_at);
        atomic_fetch_add(entry == BREAKER_PROBE     ? &crowd->probes
                         : entry == BREAKER_REFUSED ? &crowd->refused
                                                    : &crowd->let_through,
                         1);
        /* The probe lasts until all have knocked. */
        pthread_barrier_wait(&crowd->barrier);
        if (entry != BREAKER_REFUSED)
            breaker_leave(crowd->breaker, &ticket, crowd->outcome, crowd->now);
        pthread_barrier_wait(&crowd->barrier);
        pthread_barrier_wait(&crowd->barrier);
    }
    return NULL;
}

/* One round of the crowd at the moment of a probe that ends with `outcome`. */
static void knock_round(struct crowd *crowd, enum breaker_outcome outcome)
{
    struct breaker_counts counts = breaker_counts(crowd->breaker);
    if (counts.state == BREAKER_OPEN)
        atomic_store(&crowd->now, counts.probe_at);
    crowd->outcome = outcome;
    atomic_store(&crowd->probes, 0);
    atomic_store(&crowd->refused, 0);
    atomic_store(&crowd->let_through, 0);
    pthread_barrier_wait(&crowd->barrier);
    pthread_barrier_wait(&crowd->barrier);
    pthread_barrier_wait(&crowd->barrier);
    if (counts.state == BREAKER_CLOSED) {
        assert_int_equal(atomic_load(&crowd->let_through), THREADS);
    } else {
        assert_int_equal(atomic_load(&crowd->probes), 1);
        assert_int_equal(atomic_load(&crowd->refused), THREADS - 1);
    }
    pthread_barrier_wait(&crowd->barrier);
}

static void fifty_threads_are_one_probe(void **state)
{
    (void)state;
    struct crowd crowd = {.now = 0};
    pthread_t threads[THREADS];
    crowd.breaker = breaker_create(&breaker_defaults);
    assert_non_null(crowd.breaker);
    assert_int_equal(pthread_barrier_init(&crowd.barrier, NULL, THREADS + 1), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, knock, &crowd), 0);
    for (int round = 0; round < ROUNDS; round++) {
        /* All fail together: 3 of the 50 open it, 47 are late. Then probes that fail, that are given back, that succeed. */
        static const enum breaker_outcome outcomes[] = {BREAKER_FAILURE, BREAKER_FAILURE, BREAKER_CANCELLED,
                                                        BREAKER_SUCCESS};
        knock_round(&crowd, outcomes[round % 4]);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    struct breaker_counts counts = breaker_counts(crowd.breaker);
    assert_int_equal(counts.state, BREAKER_CLOSED);
    assert_int_equal(counts.opened, ROUNDS / 4 * 2);
    assert_int_equal(counts.late, ROUNDS / 4 * (THREADS - 3));
    assert_int_equal(counts.calls, ROUNDS / 4 * (THREADS + 3));
    assert_int_equal(counts.refused, ROUNDS / 4 * 3 * (THREADS - 1));
    pthread_barrier_destroy(&crowd.barrier);
    breaker_free(crowd.breaker);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_model_agrees),
        cmocka_unit_test(fifty_threads_are_one_probe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
