/* The reaper: a thread that gives back the memory of expired events.
 *
 * It sleeps (base/periodic.h) until the oldest stored event expires, but at least REAPER_PAUSE_NS, so that a steady
 * stream of expiries is purged in few rounds. Its work grows with what expires: each shard keeps its events in the
 * order in which they expire, and a group ends with the event that its cursor stands on. It wakes no waiter, holds a
 * key's mutex for no more than REAPER_SLICE events, and removes nothing that a waiter or a delivery refers to. After
 * large purges it gives free memory back to the system (malloc_trim).
 *
 * Locks: those of the store, see there.
 */
#ifndef QUEUE_REAPER_H
#define QUEUE_REAPER_H

#include "queue/store.h"

struct reaper;

/* Starts the thread. Returns NULL with errno. The store must outlive the reaper. */
struct reaper *reaper_start(struct store *store);

/* Ends and joins the thread, frees the reaper. Takes NULL. */
void reaper_stop(struct reaper *reaper);

#endif
