#include "queue/reaper.h"

#include "base/periodic.h"
#include "queue/store_internal.h"

#include <malloc.h>
#include <stdlib.h>

enum {
    REAPER_SLICE = 128,
    REAPER_ROUND = 64 * 1024,
    REAPER_PAUSE_NS = 20 * 1000 * 1000,
    TRIM_AFTER_BYTES = 8 * 1024 * 1024,
};

struct reaper {
    struct store *store;
    struct periodic *thread;
    uint64_t peak_bytes; /* the reaper's own: the most memory since the last trim */
};

/* The key whose event expires next in the shard, held, when that event has expired by `now`. */
static struct key *expired_key(struct shard *shard, int64_t now)
{
    struct key *key = NULL;
    pthread_mutex_lock(&shard->mutex);
    pthread_mutex_lock(&shard->expiry.mutex);
    struct event *oldest = TAILQ_FIRST(&shard->expiry.events);
    if (oldest != NULL && oldest->expires_at <= now) {
        key = oldest->key;
        key->users++;
    }
    pthread_mutex_unlock(&shard->expiry.mutex);
    pthread_mutex_unlock(&shard->mutex);
    return key;
}

size_t store_reap(struct store *store, size_t limit)
{
    int64_t now = store_now(store);
    size_t count = 0;
    for (size_t i = 0; i < SHARD_COUNT && count < limit; i++) {
        struct key *key;
        while (count < limit && (key = expired_key(&store->shards[i], now)) != NULL) {
            size_t left = limit - count;
            struct event_list purged = TAILQ_HEAD_INITIALIZER(purged);
            key_lock(key);
            count += key_purge_locked(store, key, now, left < REAPER_SLICE ? left : REAPER_SLICE, &purged);
            key_unlock(store, key);
            key_release(store, key);
            events_discard(store, &purged);
        }
    }
    return count;
}

int64_t store_next_expiry(struct store *store)
{
    int64_t next = INT64_MAX;
    for (size_t i = 0; i < SHARD_COUNT; i++) {
        struct expiry *expiry = &store->shards[i].expiry;
        pthread_mutex_lock(&expiry->mutex);
        struct event *oldest = TAILQ_FIRST(&expiry->events);
        if (oldest != NULL && oldest->expires_at < next)
            next = oldest->expires_at;
        pthread_mutex_unlock(&expiry->mutex);
    }
    return next;
}

/* An event pushed from now on lives for the ttl, so a later look than that is never needed. */
static int64_t next_round(struct store *store)
{
    int64_t now = store_now(store);
    int64_t latest = now + store->options.ttl_ns;
    int64_t earliest = now + REAPER_PAUSE_NS;
    int64_t next = store_next_expiry(store);
    if (next > latest)
        next = latest;
    return next < earliest ? earliest : next;
}

/* Gives memory back once much of the peak since the last time has been freed. */
static void trim(struct reaper *reaper)
{
    uint64_t bytes = atomic_load_explicit(&reaper->store->memory_bytes, memory_order_relaxed);
    uint64_t freed = bytes < reaper->peak_bytes ? reaper->peak_bytes - bytes : 0;
    if (freed >= TRIM_AFTER_BYTES && freed >= reaper->peak_bytes / 4)
        malloc_trim(0);
    else if (freed > 0)
        return;
    reaper->peak_bytes = bytes;
}

static int64_t reap_round(void *context, struct periodic *thread)
{
    struct reaper *reaper = context;
    trim(reaper);
    while (store_reap(reaper->store, REAPER_ROUND) == REAPER_ROUND && !periodic_is_stopping(thread))
        continue;
    trim(reaper);
    return next_round(reaper->store);
}

struct reaper *reaper_start(struct store *store)
{
    struct reaper *reaper = calloc(1, sizeof *reaper);
    if (reaper == NULL)
        return NULL;
    reaper->store = store;
    reaper->thread = periodic_start("reaper", reap_round, reaper);
    if (reaper->thread == NULL) {
        free(reaper);
        return NULL;
    }
    return reaper;
}

void reaper_stop(struct reaper *reaper)
{
    if (reaper == NULL)
        return;
    periodic_stop(reaper->thread);
    free(reaper);
}
