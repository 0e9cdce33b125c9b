/* The periodic thread: it rounds at once and again when the round said so, and stops in the middle of a long
 * sleep. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/periodic.h"
#include "base/sync.h"

#include <pthread.h>

struct rounds {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int count;
    int64_t pause_ns;
};

static int64_t count_round(void *context, struct periodic *periodic)
{
    struct rounds *rounds = context;
    assert_false(periodic_is_stopping(periodic));
    pthread_mutex_lock(&rounds->mutex);
    rounds->count++;
    pthread_cond_signal(&rounds->changed);
    pthread_mutex_unlock(&rounds->mutex);
    return clock_monotonic_ns() + rounds->pause_ns;
}

static void rounds_init(struct rounds *rounds, int64_t pause_ns)
{
    *rounds = (struct rounds){.pause_ns = pause_ns};
    pthread_mutex_init(&rounds->mutex, NULL);
    assert_int_equal(sync_condition_init(&rounds->changed), 0);
}

static void wait_for_rounds(struct rounds *rounds, int count)
{
    int64_t deadline_at = clock_monotonic_ns() + 20 * CLOCK_NS_PER_SECOND;
    pthread_mutex_lock(&rounds->mutex);
    bool in_time = true;
    while (rounds->count < count && in_time)
        in_time = sync_wait_until(&rounds->changed, &rounds->mutex, deadline_at);
    assert_true(rounds->count >= count);
    pthread_mutex_unlock(&rounds->mutex);
}

static void rounds_follow_each_other(void **state)
{
    struct rounds rounds;
    (void)state;
    rounds_init(&rounds, CLOCK_NS_PER_MS);
    struct periodic *periodic = periodic_start("rounds", count_round, &rounds);
    assert_non_null(periodic);
    wait_for_rounds(&rounds, 3);
    periodic_stop(periodic);
    pthread_cond_destroy(&rounds.changed);
    pthread_mutex_destroy(&rounds.mutex);
}

static void a_long_sleep_ends_at_once(void **state)
{
    struct rounds rounds;
    (void)state;
    rounds_init(&rounds, 3600 * CLOCK_NS_PER_SECOND);
    struct periodic *periodic = periodic_start("rounds", count_round, &rounds);
    assert_non_null(periodic);
    wait_for_rounds(&rounds, 1);
    int64_t asked_at = clock_monotonic_ns();
    periodic_stop(periodic);
    assert_true(clock_monotonic_ns() - asked_at < 20 * CLOCK_NS_PER_SECOND);
    assert_int_equal(rounds.count, 1);
    pthread_cond_destroy(&rounds.changed);
    pthread_mutex_destroy(&rounds.mutex);
}

static void stopping_nothing_is_fine(void **state)
{
    (void)state;
    periodic_stop(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rounds_follow_each_other),
        cmocka_unit_test(a_long_sleep_ends_at_once),
        cmocka_unit_test(stopping_nothing_is_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
