#include "base/sync.h"

#include "base/clock.h"

#include <errno.h>
#include <time.h>

int sync_condition_init(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    int error = pthread_condattr_init(&attributes);
    if (error == 0) {
        error = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        if (error == 0)
            error = pthread_cond_init(condition, &attributes);
        pthread_condattr_destroy(&attributes);
    }
    errno = error;
    return error == 0 ? 0 : -1;
}

bool sync_wait_until(pthread_cond_t *condition, pthread_mutex_t *mutex, int64_t deadline_at)
{
    if (deadline_at < 0)
        deadline_at = 0;
    struct timespec deadline = {.tv_sec = (time_t)(deadline_at / CLOCK_NS_PER_SECOND),
                                .tv_nsec = (long)(deadline_at % CLOCK_NS_PER_SECOND)};
    return pthread_cond_timedwait(condition, mutex, &deadline) != ETIMEDOUT;
}

void sync_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
{
    sync_wait_until(condition, mutex, clock_monotonic_ns() + 60 * CLOCK_NS_PER_SECOND);
}
