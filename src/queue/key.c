/* Keys: finding and forgetting them, and the ring of their events. */
#include "queue/store_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { SMALLEST_RING = 2 };

static bool key_matches(const struct table_link *link, const void *wanted)
{
    const struct key *key = TABLE_ELEMENT(link, const struct key, link);
    return text_equals((struct text){.bytes = key->name, .length = key->name_length},
                       *(const struct text *)wanted);
}

size_t key_bytes(const struct key *key)
{
    return sizeof *key + key->name_length + ALLOCATION_OVERHEAD;
}

static enum store_result key_create_locked(struct store *store, struct shard *shard, uint64_t hash,
                                           struct text name, bool consumer, struct key **created)
{
    assert(name.length <= UINT8_MAX);
    size_t bytes = sizeof(struct key) + name.length;
    enum store_result result = memory_reserve(store, bytes + ALLOCATION_OVERHEAD, consumer);
    if (result != STORE_OK)
        return result;
    struct key *key = malloc(bytes);
    if (key == NULL || table_reserve(&shard->keys) != 0) {
        free(key);
        memory_release(store, bytes + ALLOCATION_OVERHEAD);
        return STORE_NO_MEMORY;
    }
    *key = (struct key){
        .shard = shard, .last_id = shard->highest_forgotten_id, .name_length = (uint8_t)name.length};
    memcpy(key->name, name.bytes, name.length);
    pthread_mutex_init(&key->mutex, NULL);
    TAILQ_INIT(&key->waiting_groups);
    LIST_INIT(&key->reservations);
    table_add(&shard->keys, &key->link, hash);
    *created = key;
    return STORE_OK;
}

enum store_result key_acquire(struct store *store, struct text name, enum key_purpose purpose,
                              struct key **key)
{
    uint64_t hash = hash_text(&store->seed, name);
    /* The table's buckets use the low bits, so the shards use the high ones. */
    struct shard *shard = &store->shards[hash >> 56];
    enum store_result result = STORE_OK;
    pthread_mutex_lock(&shard->mutex);
    struct table_link *link = table_find(&shard->keys, hash, key_matches, &name);
    if (link != NULL)
        *key = TABLE_ELEMENT(link, struct key, link);
    else if (purpose == KEY_TO_LOOK)
        result = STORE_EMPTY;
    else
        result = key_create_locked(store, shard, hash, name, purpose == KEY_TO_WAIT, key);
    if (result == STORE_OK)
        (*key)->users++;
    pthread_mutex_unlock(&shard->mutex);
    return result;
}

void key_hold(struct key *key)
{
    pthread_mutex_lock(&key->shard->mutex);
    key->users++;
    pthread_mutex_unlock(&key->shard->mutex);
}

void key_release(struct store *store, struct key *key)
{
    struct shard *shard = key->shard;
    pthread_mutex_lock(&shard->mutex);
    /* Nobody else can reach a key without users while the shard is locked, so it may be read without its own
     * lock. */
    if (--key->users == 0 && key->event_count == 0 && key->groups.count == 0) {
        if (shard->highest_forgotten_id < key->last_id)
            shard->highest_forgotten_id = key->last_id;
        table_remove(&shard->keys, &key->link);
        memory_release(store, key_bytes(key) + key->accounted_bytes);
        pthread_mutex_destroy(&key->mutex);
        free(key);
    }
    pthread_mutex_unlock(&shard->mutex);
}

void key_lock(struct key *key)
{
    pthread_mutex_lock(&key->mutex);
}

void key_unlock(struct store *store, struct key *key)
{
#ifdef STORE_CHECKS
    key_check_locked(store, key);
#else
    (void)store;
#endif
    pthread_mutex_unlock(&key->mutex);
}

void key_account_locked(struct store *store, struct key *key)
{
    size_t bytes = key->ring_capacity * sizeof(struct event *) + table_bytes(&key->groups);
    if (bytes > key->accounted_bytes)
        atomic_fetch_add_explicit(&store->memory_bytes, bytes - key->accounted_bytes, memory_order_relaxed);
    else
        memory_release(store, key->accounted_bytes - bytes);
    key->accounted_bytes = bytes;
}

static struct event **ring_place(const struct key *key, size_t index)
{
    return &key->ring[(key->ring_first + index) & (key->ring_capacity - 1)];
}

struct event *key_event_locked(const struct key *key, size_t index)
{
    return *ring_place(key, index);
}

size_t key_first_live_locked(const struct key *key, int64_t now)
{
    size_t low = 0;
    size_t high = key->event_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (key_event_locked(key, middle)->expires_at <= now)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Makes room for `count` events beside those that are there and those for which room is reserved (I8). */
static enum store_result ring_reserve(struct store *store, struct key *key, size_t count)
{
    size_t capacity = key->ring_capacity == 0 ? SMALLEST_RING : key->ring_capacity;
    while (capacity - key->event_count - key->reservation_count < count)
        capacity *= 2;
    if (capacity == key->ring_capacity)
        return STORE_OK;
    size_t added = (capacity - key->ring_capacity) * sizeof(struct event *);
    enum store_result result = memory_reserve(store, added, false);
    if (result != STORE_OK)
        return result;
    struct event **ring = malloc(capacity * sizeof(*ring));
    if (ring == NULL) {
        memory_release(store, added);
        return STORE_NO_MEMORY;
    }
    for (size_t i = 0; i < key->event_count; i++)
        ring[i] = key_event_locked(key, i);
    free(key->ring);
    key->ring = ring;
    key->ring_capacity = capacity;
    key->ring_first = 0;
    key->accounted_bytes += added;
    return STORE_OK;
}

/* Stores a chain of events for which the ring has room. */
static void append(struct store *store, struct key *key, struct event_list *chain, size_t count)
{
    int64_t expires_at = store_now(store) + store->options.ttl_ns;
    int64_t wall_ms = store->options.clock.wall_ms(store->options.clock.context);
    struct event *event;
    TAILQ_FOREACH (event, chain, link) {
        event->id = ++key->last_id;
        event->key = key;
        event->expires_at = expires_at;
        event->wall_ms = wall_ms;
        *ring_place(key, key->event_count++) = event;
    }
    struct expiry *expiry = &key->shard->expiry;
    pthread_mutex_lock(&expiry->mutex);
    TAILQ_CONCAT(&expiry->events, chain, link);
    expiry->count += count;
    pthread_mutex_unlock(&expiry->mutex);
}

enum store_result key_append_locked(struct store *store, struct key *key, struct event_list *chain,
                                    size_t count)
{
    enum store_result result = ring_reserve(store, key, count);
    if (result == STORE_OK)
        append(store, key, chain, count);
    return result;
}

enum store_result key_reserve_locked(struct store *store, struct key *key,
                                     struct store_reservation *reservation)
{
    enum store_result result = ring_reserve(store, key, 1);
    if (result != STORE_OK)
        return result;
    LIST_INSERT_HEAD(&key->reservations, reservation, link);
    key->reservation_count++;
    return STORE_OK;
}

static void ring_free_if_unused(struct key *key)
{
    if (key->event_count > 0 || key->reservation_count > 0)
        return;
    free(key->ring);
    key->ring = NULL;
    key->ring_capacity = 0;
    key->ring_first = 0;
}

void key_unreserve_locked(struct store *store, struct key *key, struct store_reservation *reservation)
{
    LIST_REMOVE(reservation, link);
    key->reservation_count--;
    ring_free_if_unused(key);
    key_account_locked(store, key);
}

void key_append_reserved_locked(struct store *store, struct key *key, struct store_reservation *reservation,
                                struct event *event)
{
    struct event_list chain = TAILQ_HEAD_INITIALIZER(chain);
    TAILQ_INSERT_TAIL(&chain, event, link);
    LIST_REMOVE(reservation, link);
    key->reservation_count--;
    append(store, key, &chain, 1);
}

static void ring_drop_front(struct key *key, size_t count)
{
    key->ring_first = (key->ring_first + count) & (key->ring_capacity - 1);
    key->event_count -= count;
    ring_free_if_unused(key);
}

/* Ends what stands on an event that goes. */
static void end_cursors_locked(struct store *store, struct event *event)
{
    struct group *group;
    while ((group = LIST_FIRST(&event->groups)) != NULL) {
        LIST_REMOVE(group, cursor_link);
        group->cursor_event = NULL;
        group_remove_if_idle_locked(store, group);
    }
}

size_t key_purge_locked(struct store *store, struct key *key, int64_t now, size_t limit,
                        struct event_list *purged)
{
    size_t count = key_first_live_locked(key, now);
    if (count > limit)
        count = limit;
    if (count == 0)
        return 0;
    struct expiry *expiry = &key->shard->expiry;
    pthread_mutex_lock(&expiry->mutex);
    for (size_t i = 0; i < count; i++) {
        struct event *event = key_event_locked(key, i);
        TAILQ_REMOVE(&expiry->events, event, link);
        TAILQ_INSERT_TAIL(purged, event, link);
    }
    expiry->count -= count;
    pthread_mutex_unlock(&expiry->mutex);
    for (size_t i = 0; i < count; i++)
        end_cursors_locked(store, key_event_locked(key, i));
    ring_drop_front(key, count);
    key_account_locked(store, key);
    return count;
}
