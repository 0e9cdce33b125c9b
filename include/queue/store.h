/* The queue store: keys, their events, consumer groups, and the requests that wait for events.
 *
 * What it is
 *   A key holds events in push order, each for `ttl`. A consumer group of a key is a cursor: the id of the last
 *   event that was taken for it. Taking makes a batch: references to all events that the group has not consumed,
 *   which then is either consumed (store_batch_consumed) or given back (store_batch_return). Who finds nothing may
 *   become a waiter; the push that ends its wait makes the batch for it and delivers it. The store knows no socket:
 *   a waiter brings the function that delivers along.
 *
 *   "A per-key condition variable" is read as: each waiter of a key has one of its own. A signal on a shared one
 *   could neither choose the waiter that has waited longest nor wake just one group, and a broadcast makes all of
 *   them queue for the key's mutex (measured with 18,000 threads: 1.6 s instead of 0.27 s).
 *
 * Who owns what
 *   The store owns keys, groups and events. An event is one allocation, reference-counted: one reference of its key
 *   while it is stored, one of each batch that holds it; its bytes are never copied on the way out. A batch belongs
 *   to exactly one of: the group (it came back), the list of a push or return (on its way to a waiter), whoever is
 *   sending it. A waiter lives on the stack of the thread that waits. A reservation is the caller's; it owns an event
 *   that is not stored yet, and is a user of its key, which thus can't be forgotten.
 *
 * Locks, outermost first
 *   1  shard->mutex   the table of keys of one shard, key->users, the shard's highest forgotten id
 *   2  key->mutex     everything in a key and its groups; a waiter's place in the list of its group
 *   3  waiter->mutex  the outcome of one wait (leaf)
 *   3  expiry->mutex  the shard's list of stored events in the order in which they expire (leaf)
 *   No function is called back, and nothing is written, under any of them.
 *
 * Invariants (store_check asserts them; builds with -DSTORE_CHECKS look at a key's at every unlock of it)
 *   I1  whenever key->mutex is free, no group has both an event to consume and a waiter in its list
 *   I2  the ids of a key's stored events are consecutive, and the last one is key->last_id
 *   I3  group->cursor never falls; every returned event's id is at most group->cursor
 *   I4  group->cursor_event is the stored event whose id is group->cursor, or NULL when there is none
 *   I5  a group without cursor_event, delivery and waiter does not exist (what had come back to it has expired too,
 *       by I3); nor does a key without events, groups and users
 *   I6  memory_bytes is the sum of what events, keys, groups, reservations (with their events at their largest),
 *       returned batches and batches under way take
 *   I7  ids of a key never go back: a shard remembers the highest id of any key it forgot, and a new key starts
 *       above that
 *   I8  a key's ring has room for its events and one more for each of its reservations
 *
 * Memory
 *   Nothing takes the store beyond max_memory_bytes: STORE_FULL. A push is refused an eighth before that, which is
 *   kept for the groups and batches of consumers, so that a full store can still be read.
 *
 * Time is in nanoseconds of the clock given. Whether an event has expired is judged when a batch is taken, exactly;
 * the reaper (queue/reaper.h) only gives memory back. An event in a batch under way is still delivered.
 */
#ifndef QUEUE_STORE_H
#define QUEUE_STORE_H

#include "base/clock.h"
#include "base/text.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct store;
struct key;
struct group;
struct batch;
struct store_reservation;

struct store_options {
    struct clock clock;
    int64_t ttl_ns;
    uint64_t max_memory_bytes;
};

enum store_result {
    STORE_OK,
    STORE_EMPTY,     /* nothing to consume, or (store_wait_begin) the waiter is in the list now */
    STORE_FULL,      /* max_memory_bytes */
    STORE_NO_MEMORY, /* the system has none */
    STORE_STOPPED,   /* store_stop was called: nobody waits any more */
};

/* What the delivering function of a waiter answers. */
enum delivery {
    DELIVERY_TAKEN, /* the batch is consumed, or somebody will call store_batch_consumed or _return */
    DELIVERY_GONE,  /* the client is not there any more: the batch stays with the caller */
};

enum wait_outcome {
    WAIT_PENDING,
    WAIT_DELIVERED,   /* the delivering function took a batch */
    WAIT_GONE,        /* the delivering function found nobody there */
    WAIT_TIMED_OUT,   /* nothing was consumed */
    WAIT_INTERRUPTED, /* store_wait_interrupt; nothing was consumed */
    WAIT_STOPPED,     /* store_stop; nothing was consumed */
    WAIT_NO_MEMORY,   /* there is something, but no memory for a batch; nothing was consumed */
};

/* Batches on their way to their waiters, and waiters whose outcome is known, but who have not been told. */
STAILQ_HEAD(batch_list, batch);
TAILQ_HEAD(waiter_list, waiter);

struct waiter {
    /* Given to store_waiter_init, never changed. */
    enum delivery (*deliver)(void *context, struct batch *batch);
    void *context;
    size_t limit;
    /* The delivering thread's: what store_wake will say. */
    bool delivered;
    /* Guarded by the key's mutex; `link` is the delivering thread's once the waiter has been taken out of its
     * group. */
    TAILQ_ENTRY(waiter) link;
    struct key *key;
    struct group *group; /* NULL when it is in no list of a group */
    /* Guarded by `mutex`. */
    pthread_mutex_t mutex;
    pthread_cond_t condition;
    enum wait_outcome outcome;
    bool interrupted;
};

struct store_pushed {
    uint64_t last_id;
    struct batch_list batches; /* to be given to store_deliver */
    size_t batch_count;
};

struct store_counts {
    uint64_t keys;
    uint64_t groups;
    uint64_t events;
    uint64_t waiting;
    uint64_t memory_bytes;
};

/* What a batch holds at one place. Valid as long as the batch is. */
struct batch_event {
    uint64_t id;
    int64_t wall_ms;
    struct text value;
};

/* Returns a store, or NULL with errno. The options are copied. */
struct store *store_create(const struct store_options *options);

/* Frees the store with all that is in it. No waiter, no batch, no reservation and no other thread may be left. Takes
 * NULL. */
void store_free(struct store *store);

/* Stores `count` (1 or more) values under `key`, all or nothing, in order and with consecutive ids. For
 * STORE_OK fills `pushed`, whose batches the caller then delivers with store_deliver, under no lock. */
enum store_result store_push(struct store *store, struct text key, const struct text *values, size_t count,
                             struct store_pushed *pushed);

/* Makes sure that one value of at most `most_bytes` can be pushed under `key` later, whatever becomes of the memory
 * meanwhile: for who first has to make something durable elsewhere. Refused as a push is. Several reservations of one
 * key may be held at once, by any threads. STORE_OK: `*reservation` is the caller's, until exactly one of the following
 * two ends it. It takes no place among the events: ids and times are given at the push. */
enum store_result store_reserve(struct store *store, struct text key, size_t most_bytes,
                                struct store_reservation **reservation);

/* Pushes `value`, at most as long as was reserved, with what was reserved: can't fail. Frees the reservation, and what
 * a shorter value leaves of it. Fills `pushed` as store_push does (for a waiter's batch nothing was reserved: as after
 * store_push, it may end with WAIT_NO_MEMORY). */
void store_push_reserved(struct store *store, struct store_reservation *reservation, struct text value,
                         struct store_pushed *pushed);

/* Gives back what was reserved, unused. */
void store_unreserve(struct store *store, struct store_reservation *reservation);

/* Takes what `group` of `key` has not consumed, at most `limit` events. STORE_OK: `*batch` is the caller's,
 * until it calls store_batch_consumed or store_batch_return. STORE_EMPTY: there is nothing, and nothing was
 * made for the asking. */
enum store_result store_take(struct store *store, struct text key, struct text group, size_t limit,
                             struct batch **batch);

/* Makes a waiter whose batch of at most `limit` events will go to `deliver(context, batch)`, which is called
 * without locks by the thread that pushes. Returns 0, or -1 with errno. store_waiter_destroy ends what this
 * began. */
int store_waiter_init(struct waiter *waiter, size_t limit,
                      enum delivery (*deliver)(void *context, struct batch *batch), void *context);
void store_waiter_destroy(struct waiter *waiter);

/* Takes like store_take; where there is nothing, puts the waiter at the end of the group's list
 * (STORE_EMPTY), and then store_wait must be called. With any other result the waiter is in no list. */
enum store_result store_wait_begin(struct store *store, struct text key, struct text group,
                                   struct waiter *waiter, struct batch **batch);

/* Blocks until the waiter's batch has been delivered, it was interrupted, the store was stopped, or
 * `deadline_at` (CLOCK_MONOTONIC) has passed. A wait that would end while a delivery is under way waits for
 * its outcome instead, which takes no longer than a write that does not block. The waiter is in no list
 * afterwards. */
enum wait_outcome store_wait(struct store *store, struct waiter *waiter, int64_t deadline_at);

/* Ends a wait from another thread, e.g. because the client hung up. The waiter must still exist: the caller's
 * own lock sees to that. Takes the waiter's mutex only. */
void store_wait_interrupt(struct waiter *waiter);

/* Delivers each batch to its waiter; where the client is gone, to the next one of the group, or back to the
 * group. Empties the list. Calls the waiters' functions: no lock may be held. The waiters are added to
 * `done`, and sleep until store_wake: a thread that is woken wants a processor, and would take it from the
 * deliveries still to be made (10,000 of them: 245 ms when each thread is woken at once, 90 ms when all are
 * woken at the end). */
void store_deliver(struct store *store, struct batch_list *batches, struct waiter_list *done);

/* Ends the waits of store_deliver. Empties the list. */
void store_wake(struct waiter_list *done);

/* Moves at most `count` batches from the front of `from` to the empty list `to`. */
void store_batches_split(struct batch_list *from, struct batch_list *to, size_t count);

/* The batch has been handed to the network whole. Frees it. */
void store_batch_consumed(struct store *store, struct batch *batch);

/* The batch could not be handed over: gives it back to its group, or to the group's waiter that waits
 * longest, and delivers it there. No lock may be held. */
void store_batch_return(struct store *store, struct batch *batch);

size_t store_batch_count(const struct batch *batch);

/* The sum of the lengths of all values of the batch. */
uint64_t store_batch_value_bytes(const struct batch *batch);

/* The event at `index`, which must be below the count. */
struct batch_event store_batch_event(const struct batch *batch, size_t index);

/* Ends all waits with WAIT_STOPPED, and those to come with STORE_STOPPED. Pushes and takes go on. */
void store_stop(struct store *store);

/* Purges what has expired, at most `limit` events; returns the number purged. The reaper's work, and the
 * tests'. */
size_t store_reap(struct store *store, size_t limit);

/* When the oldest stored event expires; INT64_MAX when there is none. */
int64_t store_next_expiry(struct store *store);

struct store_counts store_counts(struct store *store);

/* The number of stored events that have not expired. For the last log line. */
uint64_t store_count_live(struct store *store);

/* Aborts when an invariant above does not hold. I6 is only looked at when no batch is under way. For tests.
 */
void store_check(struct store *store);

#endif
