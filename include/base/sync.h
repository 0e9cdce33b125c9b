/* Condition variables on CLOCK_MONOTONIC, and waits with an absolute deadline.
 *
 * Every wait in the server is `while (!predicate) sync_wait_until(...)` under the mutex that guards the
 * predicate. These are leaves: nothing here takes a lock of its own.
 */
#ifndef BASE_SYNC_H
#define BASE_SYNC_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Makes `condition` follow CLOCK_MONOTONIC. Returns 0, or -1 with errno when the system has no memory for it.
 */
int sync_condition_init(pthread_cond_t *condition);

/* Waits on `condition` with `mutex` held until it is signalled (or wakes for no reason) or the instant
 * `deadline_at` (CLOCK_MONOTONIC, ns) has passed. Returns false once the deadline has passed, else true. */
bool sync_wait_until(pthread_cond_t *condition, pthread_mutex_t *mutex, int64_t deadline_at);

/* Waits for as long as the predicate needs: for the few places where another thread is bound to signal in
 * bounded time. Wakes at least once a minute, so that the caller's loop looks again. */
void sync_wait(pthread_cond_t *condition, pthread_mutex_t *mutex);

#endif
