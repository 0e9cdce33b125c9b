#include "queue/reaper.h"

#include "base/sync.h"
#include "queue/store_internal.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

enum {
    REAPER_SLICE = 512,
    REAPER_ROUND = 64 * 1024,
    REAPER_PAUSE_NS = 20 * 1000 * 1000,
    TRIM_AFTER_BYTES = 8 * 1024 * 1024,
};

struct reaper {
    struct store *store;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t condition;
    bool stopping;
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
    size_t purged = 0;
    for (size_t i = 0; i < SHARD_COUNT && purged < limit; i++) {
        struct key *key;
        while (purged < limit && (key = expired_key(&store->shards[i], now)) != NULL) {
            size_t left = limit - purged;
            key_lock(key);
            purged += key_purge_locked(store, key, now, left < REAPER_SLICE ? left : REAPER_SLICE);
            key_unlock(store, key);
            key_release(store, key);
        }
    }
    return purged;
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
static uint64_t trim(struct store *store, uint64_t peak_bytes)
{
    uint64_t bytes = atomic_load_explicit(&store->memory_bytes, memory_order_relaxed);
    if (bytes > peak_bytes)
        return bytes;
    if (peak_bytes - bytes < TRIM_AFTER_BYTES || peak_bytes - bytes < peak_bytes / 4)
        return peak_bytes;
    malloc_trim(0);
    return bytes;
}

static bool reaper_is_stopping(struct reaper *reaper)
{
    pthread_mutex_lock(&reaper->mutex);
    bool stopping = reaper->stopping;
    pthread_mutex_unlock(&reaper->mutex);
    return stopping;
}

static void *reaper_main(void *context)
{
    struct reaper *reaper = context;
    uint64_t peak_bytes = 0;
    pthread_mutex_lock(&reaper->mutex);
    while (!reaper->stopping) {
        pthread_mutex_unlock(&reaper->mutex);
        peak_bytes = trim(reaper->store, peak_bytes);
        while (store_reap(reaper->store, REAPER_ROUND) == REAPER_ROUND && !reaper_is_stopping(reaper))
            continue;
        peak_bytes = trim(reaper->store, peak_bytes);
        int64_t next = next_round(reaper->store);
        pthread_mutex_lock(&reaper->mutex);
        while (!reaper->stopping && sync_wait_until(&reaper->condition, &reaper->mutex, next))
            continue;
    }
    pthread_mutex_unlock(&reaper->mutex);
    return NULL;
}

struct reaper *reaper_start(struct store *store)
{
    struct reaper *reaper = calloc(1, sizeof *reaper);
    if (reaper == NULL)
        return NULL;
    reaper->store = store;
    if (sync_condition_init(&reaper->condition) != 0)
        goto free_reaper;
    pthread_mutex_init(&reaper->mutex, NULL);
    errno = pthread_create(&reaper->thread, NULL, reaper_main, reaper);
    if (errno != 0)
        goto destroy_locks;
    pthread_setname_np(reaper->thread, "reaper");
    return reaper;

destroy_locks:
    pthread_mutex_destroy(&reaper->mutex);
    pthread_cond_destroy(&reaper->condition);
free_reaper:
    free(reaper);
    return NULL;
}

void reaper_stop(struct reaper *reaper)
{
    if (reaper == NULL)
        return;
    pthread_mutex_lock(&reaper->mutex);
    reaper->stopping = true;
    pthread_cond_signal(&reaper->condition);
    pthread_mutex_unlock(&reaper->mutex);
    pthread_join(reaper->thread, NULL);
    pthread_mutex_destroy(&reaper->mutex);
    pthread_cond_destroy(&reaper->condition);
    free(reaper);
}
