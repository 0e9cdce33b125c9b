/* A thread that does a round of work again and again, whenever the last round said it should.
 *
 * It sleeps on a condition variable of its own between rounds, so that it can be stopped at once. Lock: its
 * own mutex guards the request to stop; a leaf, not held during a round.
 */
#ifndef BASE_PERIODIC_H
#define BASE_PERIODIC_H

#include <stdbool.h>
#include <stdint.h>

struct periodic;

/* One round. Returns the instant (CLOCK_MONOTONIC, ns) of the next. */
typedef int64_t periodic_round(void *context, struct periodic *periodic);

/* Starts the thread under `name` (at most 15 characters), with a first round at once. Returns NULL with
 * errno. */
struct periodic *periodic_start(const char *name, periodic_round *round, void *context);

/* Whether a long round had better come to an end. */
bool periodic_is_stopping(struct periodic *periodic);

/* Ends and joins the thread and frees the periodic. Takes NULL. */
void periodic_stop(struct periodic *periodic);

#endif
