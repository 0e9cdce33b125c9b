/* The store looked at from outside: counts, and the invariants of queue/store.h as assertions.
 *
 * REQUIRE is not assert(): the tests want the checks whatever NDEBUG says.
 */
#include "queue/store_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define REQUIRE(condition)                                                                                   \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: invariant broken: %s\n", __FILE__, __LINE__, #condition);                \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

struct tally {
    uint64_t bytes;
    uint64_t groups;
    uint64_t events;
    uint64_t waiting;
    uint64_t deliveries;
};

static void check_waiting_groups(struct store *store, struct key *key)
{
    int64_t now = store_now(store);
    struct group *group;
    TAILQ_FOREACH (group, &key->waiting_groups, waiting_link) {
        REQUIRE(!TAILQ_EMPTY(&group->waiters));
        REQUIRE(!group_has_events_locked(group, now));
    }
}

void key_check_locked(struct store *store, struct key *key)
{
    struct event *last = key->event_count == 0 ? NULL : key_event_locked(key, key->event_count - 1);
    REQUIRE(last == NULL || last->id == key->last_id);
    REQUIRE(key->event_count == 0 || key_event_locked(key, 0)->id == key->last_id - key->event_count + 1);
    size_t wanted_places = key->event_count + key->reservation_count;
    REQUIRE(key->ring_capacity >= wanted_places);
    REQUIRE((key->ring_capacity > 0) == (wanted_places > 0));
    check_waiting_groups(store, key);
}

static void check_reservations(struct key *key, struct tally *tally)
{
    size_t count = 0;
    struct store_reservation *reservation;
    LIST_FOREACH (reservation, &key->reservations, link) {
        REQUIRE(reservation->key == key);
        tally->bytes += reservation_bytes(reservation);
        count++;
    }
    REQUIRE(count == key->reservation_count);
    REQUIRE(count <= key->users);
}

static void check_group(struct group *group, struct tally *tally)
{
    struct key *key = group->key;
    uint64_t first_id = key->last_id - key->event_count + 1;
    bool cursor_is_stored = key->event_count > 0 && group->cursor >= first_id;
    REQUIRE(group->cursor <= key->last_id);
    REQUIRE((group->cursor_event != NULL) == cursor_is_stored);
    REQUIRE(group->cursor_event == NULL || group->cursor_event->id == group->cursor);
    REQUIRE(group->cursor_event != NULL || group->delivery_count > 0 || !TAILQ_EMPTY(&group->waiters));
    uint64_t last_first_id = 0;
    struct batch *batch;
    TAILQ_FOREACH (batch, &group->returned, returned_link) {
        REQUIRE(batch->first < batch->count);
        REQUIRE(batch->events[batch->first]->id > last_first_id);
        REQUIRE(batch->events[batch->count - 1]->id <= group->cursor);
        last_first_id = batch->events[batch->first]->id;
        tally->bytes += batch_bytes(batch);
    }
    struct waiter *waiter;
    TAILQ_FOREACH (waiter, &group->waiters, link) {
        REQUIRE(waiter->group == group);
        tally->waiting++;
    }
    tally->deliveries += group->delivery_count;
    tally->bytes += group_bytes(group);
    tally->groups++;
}

static void check_key(struct store *store, struct key *key, struct tally *tally)
{
    key_lock(key);
    key_check_locked(store, key);
    for (size_t i = 0; i < key->event_count; i++) {
        struct event *event = key_event_locked(key, i);
        REQUIRE(event->id == key->last_id - key->event_count + 1 + i);
        REQUIRE(event->key == key);
        tally->bytes += event_bytes(event->length);
    }
    tally->events += key->event_count;
    check_reservations(key, tally);
    struct table_link *link = NULL;
    while ((link = table_next(&key->groups, link)) != NULL)
        check_group(TABLE_ELEMENT(link, struct group, link), tally);
    REQUIRE(key->users > 0 || key->event_count > 0 || key->groups.count > 0);
    tally->bytes += key_bytes(key) + key->accounted_bytes;
    key_unlock(store, key);
}

void store_check(struct store *store)
{
    struct tally tally = {.bytes = 0};
    uint64_t in_expiry = 0;
    for (size_t i = 0; i < SHARD_COUNT; i++) {
        struct shard *shard = &store->shards[i];
        pthread_mutex_lock(&shard->mutex);
        struct table_link *link = NULL;
        while ((link = table_next(&shard->keys, link)) != NULL) {
            struct key *key = TABLE_ELEMENT(link, struct key, link);
            check_key(store, key, &tally);
        }
        in_expiry += shard->expiry.count;
        pthread_mutex_unlock(&shard->mutex);
    }
    REQUIRE(in_expiry == tally.events);
    REQUIRE(atomic_load(&store->group_count) == tally.groups);
    REQUIRE(atomic_load(&store->waiting_count) == tally.waiting);
    /* Returned batches may hold events that the key has purged; those and batches under way can't be reached.
     */
    if (tally.deliveries == 0)
        REQUIRE(atomic_load(&store->memory_bytes) >= tally.bytes);
    if (tally.groups == 0)
        REQUIRE(atomic_load(&store->memory_bytes) == tally.bytes);
}

struct store_counts store_counts(struct store *store)
{
    struct store_counts counts = {
        .groups = atomic_load_explicit(&store->group_count, memory_order_relaxed),
        .waiting = atomic_load_explicit(&store->waiting_count, memory_order_relaxed),
        .memory_bytes = atomic_load_explicit(&store->memory_bytes, memory_order_relaxed),
    };
    for (size_t i = 0; i < SHARD_COUNT; i++) {
        struct shard *shard = &store->shards[i];
        pthread_mutex_lock(&shard->mutex);
        counts.keys += shard->keys.count;
        pthread_mutex_unlock(&shard->mutex);
        pthread_mutex_lock(&shard->expiry.mutex);
        counts.events += shard->expiry.count;
        pthread_mutex_unlock(&shard->expiry.mutex);
    }
    return counts;
}

uint64_t store_count_live(struct store *store)
{
    int64_t now = store_now(store);
    uint64_t count = 0;
    for (size_t i = 0; i < SHARD_COUNT; i++) {
        struct expiry *expiry = &store->shards[i].expiry;
        pthread_mutex_lock(&expiry->mutex);
        count += expiry->count;
        struct event *event;
        TAILQ_FOREACH (event, &expiry->events, link) {
            if (event->expires_at > now)
                break;
            count--;
        }
        pthread_mutex_unlock(&expiry->mutex);
    }
    return count;
}
