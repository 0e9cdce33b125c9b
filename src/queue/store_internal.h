/* What the files of the store share. See queue/store.h for locks, owners and invariants.
 *
 * Functions that end in _locked expect the mutex of the key concerned to be held by the caller.
 */
#ifndef QUEUE_STORE_INTERNAL_H
#define QUEUE_STORE_INTERNAL_H

#include "base/hash.h"
#include "base/table.h"
#include "queue/store.h"

#include <stdalign.h>
#include <stdatomic.h>

enum {
    SHARD_COUNT = 256,
    CACHE_LINE_BYTES = 64,
    /* What the allocator keeps beside each block, roughly. */
    ALLOCATION_OVERHEAD = 16,
};

LIST_HEAD(group_list, group);
TAILQ_HEAD(event_list, event);
TAILQ_HEAD(returned_list, batch);
LIST_HEAD(reservation_list, store_reservation);

struct event {
    uint64_t id;
    int64_t expires_at;
    int64_t wall_ms;
    struct key *key;
    TAILQ_ENTRY(event) link;  /* expiry->mutex; before it is stored, the pusher's own chain */
    struct group_list groups; /* key->mutex: the groups whose cursor stands here */
    atomic_uint references;
    uint32_t length;
    char value[];
};

/* Stored events in the order in which they expire. */
struct expiry {
    pthread_mutex_t mutex;
    struct event_list events;
    uint64_t count;
};

struct shard {
    pthread_mutex_t mutex;
    struct table keys;
    uint64_t highest_forgotten_id;
    struct expiry expiry;
};

struct key {
    struct table_link link; /* shard->mutex, as is the next line */
    size_t users;           /* threads that work on the key or wait in it: it may not go */
    struct shard *shard;
    pthread_mutex_t mutex;
    /* Guarded by `mutex`: the events as a ring, its capacity a power of two. */
    struct event **ring;
    size_t ring_capacity;
    size_t ring_first;
    size_t event_count;
    uint64_t last_id;
    struct table groups;
    TAILQ_HEAD(waiting_group_list, group) waiting_groups; /* those with waiters */
    size_t accounted_bytes; /* the ring and the buckets, as memory_bytes knows them */
    struct reservation_list reservations;
    uint32_t reservation_count;
    uint8_t name_length;
    char name[];
};

struct group {
    struct table_link link;
    struct key *key;
    uint64_t cursor;
    struct event *cursor_event;
    LIST_ENTRY(group) cursor_link;
    struct returned_list returned; /* batches that came back, by their first id */
    size_t delivery_count;         /* batches under way */
    struct waiter_list waiters;    /* in order of arrival */
    TAILQ_ENTRY(group) waiting_link;
    uint8_t name_length;
    char name[];
};

/* Never changes but for its link. */
struct store_reservation {
    struct key *key;     /* of which it is a user */
    struct event *event; /* with room for `most_bytes` */
    size_t most_bytes;
    LIST_ENTRY(store_reservation) link; /* key->mutex */
};

struct batch {
    STAILQ_ENTRY(batch) link; /* in a batch_list */
    TAILQ_ENTRY(batch) returned_link;
    struct group *group;
    struct waiter *waiter; /* whom it is on its way to, or NULL */
    uint64_t value_bytes;
    size_t first; /* events before this one have been taken out again */
    size_t count;
    size_t capacity;
    struct event *events[];
};

struct store {
    struct store_options options;
    struct hash_seed seed;
    /* Written by every push: on a cache line of its own, away from what every push only reads. */
    alignas(CACHE_LINE_BYTES) atomic_uint_fast64_t memory_bytes;
    atomic_uint_fast64_t group_count;
    atomic_uint_fast64_t waiting_count;
    alignas(CACHE_LINE_BYTES) atomic_bool stopping;
    struct shard shards[SHARD_COUNT];
};

/* --- events and batches: batch.c --- */

/* Accounts for `bytes` more. STORE_FULL when that goes beyond the limit for pushes or (`consumer`) for
 * consumers. */
enum store_result memory_reserve(struct store *store, size_t bytes, bool consumer);
void memory_release(struct store *store, size_t bytes);

/* Makes an unstored event with one reference, and with room for a value of `length` to be written. */
enum store_result event_create(struct store *store, size_t length, struct event **created);
/* Makes an unstored event's room smaller, which may move it. The account is the caller's. */
struct event *event_shrink(struct event *event, size_t length);
/* Makes a chain of unstored events, as above, and copies the values into them. */
enum store_result events_create(struct store *store, const struct text *values, size_t count,
                                struct event_list *chain);
void events_discard(struct store *store, struct event_list *chain);
void event_unreference(struct store *store, struct event *event);
size_t event_bytes(size_t length);

enum store_result batch_create(struct store *store, struct group *group, size_t capacity,
                               struct batch **created);
/* Adds an event with a reference of its own. */
void batch_add(struct batch *batch, struct event *event);
/* Drops the references that are left and frees the batch. */
void batch_free(struct store *store, struct batch *batch);
size_t batch_bytes(const struct batch *batch);

/* --- keys: key.c --- */

enum key_purpose { KEY_TO_LOOK, KEY_TO_PUSH, KEY_TO_WAIT };

/* Finds the key, or makes it unless the purpose is to look only, and counts the caller as a user.
 * STORE_EMPTY: there is none. */
enum store_result key_acquire(struct store *store, struct text name, enum key_purpose purpose,
                              struct key **key);
/* The same for a key that is known to exist, because it holds something of the caller's. */
void key_hold(struct key *key);
/* Ends what key_acquire or key_hold began; forgets a key that has become empty. */
void key_release(struct store *store, struct key *key);
void key_lock(struct key *key);
void key_unlock(struct store *store, struct key *key);

/* The event at `index` in push order. */
struct event *key_event_locked(const struct key *key, size_t index);
/* The index of the first event that has not expired by `now`. */
size_t key_first_live_locked(const struct key *key, int64_t now);
/* Stores a chain of events; their ids and times are set here. */
enum store_result key_append_locked(struct store *store, struct key *key, struct event_list *chain,
                                    size_t count);
/* Keeps a place in the ring for the reservation's event, and gives it up again. */
enum store_result key_reserve_locked(struct store *store, struct key *key,
                                     struct store_reservation *reservation);
void key_unreserve_locked(struct store *store, struct key *key, struct store_reservation *reservation);
/* Stores the reservation's event, `event`, in the place that was kept. Can't fail. */
void key_append_reserved_locked(struct store *store, struct key *key, struct store_reservation *reservation,
                                struct event *event);
/* Takes at most `limit` expired events out, with the groups that end with them, and adds them to `purged`:
 * the caller drops their references (events_discard) when it has unlocked the key, so that nobody waits for
 * that. */
size_t key_purge_locked(struct store *store, struct key *key, int64_t now, size_t limit,
                        struct event_list *purged);
/* Brings memory_bytes up to date after the ring or the buckets have changed. */
void key_account_locked(struct store *store, struct key *key);
size_t key_bytes(const struct key *key);

/* --- groups: group.c --- */

struct group *group_find_locked(struct store *store, struct key *key, struct text name);
enum store_result group_create_locked(struct store *store, struct key *key, struct text name,
                                      struct group **created);
/* Frees the group when nothing of it can matter any more (I5). */
void group_remove_if_idle_locked(struct store *store, struct group *group);
/* Frees the group without a question. */
void group_destroy_locked(struct store *store, struct group *group);
/* Takes at most `limit` events for the group. */
enum store_result group_take_locked(struct store *store, struct group *group, size_t limit, int64_t now,
                                    struct batch **taken);
/* Whether there is anything to take. */
bool group_has_events_locked(const struct group *group, int64_t now);
void group_add_waiter_locked(struct store *store, struct group *group, struct waiter *waiter);
void group_remove_waiter_locked(struct store *store, struct waiter *waiter);
/* Restores I1: makes batches for the longest waiters as long as there are both, and adds them to `batches`.
 */
size_t group_serve_waiters_locked(struct store *store, struct group *group, int64_t now,
                                  struct batch_list *batches);
/* Puts a batch that came back among the returned ones. */
void group_return_locked(struct store *store, struct batch *batch, int64_t now);
size_t group_bytes(const struct group *group);

/* --- reservations: reservation.c --- */

size_t reservation_bytes(const struct store_reservation *reservation);

/* --- what pushes and waits share: store.c --- */

/* Tells of what has just been appended, and makes batches of it for those who wait (I1). */
void push_finish_locked(struct store *store, struct key *key, struct store_pushed *pushed);
/* Ends a wait and wakes its thread. */
void waiter_finish(struct waiter *waiter, enum wait_outcome outcome);

/* Asserts the invariants of one key. */
void key_check_locked(struct store *store, struct key *key);

static inline int64_t store_now(const struct store *store)
{
    return store->options.clock.monotonic_ns(store->options.clock.context);
}

#endif
