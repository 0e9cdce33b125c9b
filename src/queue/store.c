/* The store's operations: each finds its key, does its work under the key's mutex and lets go again. */
#include "queue/store.h"

#include "base/sync.h"
#include "queue/store_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct store *store_create(const struct store_options *options)
{
    struct store *store = aligned_alloc(alignof(struct store), sizeof *store);
    if (store == NULL)
        return NULL;
    memset(store, 0, sizeof *store);
    store->options = *options;
    if (hash_seed_draw(&store->seed) != 0) {
        free(store);
        return NULL;
    }
    for (size_t i = 0; i < SHARD_COUNT; i++) {
        struct shard *shard = &store->shards[i];
        pthread_mutex_init(&shard->mutex, NULL);
        pthread_mutex_init(&shard->expiry.mutex, NULL);
        TAILQ_INIT(&shard->expiry.events);
    }
    return store;
}

static void free_key_content(struct store *store, struct key *key)
{
    struct event_list purged = TAILQ_HEAD_INITIALIZER(purged);
    key_lock(key);
    key_purge_locked(store, key, INT64_MAX, SIZE_MAX, &purged);
    events_discard(store, &purged);
    struct table_link *link;
    while ((link = table_next(&key->groups, NULL)) != NULL)
        group_destroy_locked(store, TABLE_ELEMENT(link, struct group, link));
    key_unlock(store, key);
}

void store_free(struct store *store)
{
    if (store == NULL)
        return;
    for (size_t i = 0; i < SHARD_COUNT; i++) {
        struct shard *shard = &store->shards[i];
        struct table_link *link;
        while ((link = table_next(&shard->keys, NULL)) != NULL) {
            struct key *key = TABLE_ELEMENT(link, struct key, link);
            key_hold(key);
            free_key_content(store, key);
            key_release(store, key);
        }
        pthread_mutex_destroy(&shard->expiry.mutex);
        pthread_mutex_destroy(&shard->mutex);
    }
    free(store);
}

/* Hands what has just been appended to the longest waiter of each waiting group (I1). */
static size_t serve_waiting_groups(struct store *store, struct key *key, struct batch_list *batches)
{
    size_t count = 0;
    int64_t now = TAILQ_EMPTY(&key->waiting_groups) ? 0 : store_now(store);
    struct group *group = TAILQ_FIRST(&key->waiting_groups);
    while (group != NULL) {
        struct group *next = TAILQ_NEXT(group, waiting_link);
        count += group_serve_waiters_locked(store, group, now, batches);
        group_remove_if_idle_locked(store, group);
        group = next;
    }
    return count;
}

void push_finish_locked(struct store *store, struct key *key, struct store_pushed *pushed)
{
    pushed->last_id = key->last_id;
    STAILQ_INIT(&pushed->batches);
    pushed->batch_count = serve_waiting_groups(store, key, &pushed->batches);
}

enum store_result store_push(struct store *store, struct text key_name, const struct text *values,
                             size_t count, struct store_pushed *pushed)
{
    struct event_list chain;
    enum store_result result = events_create(store, values, count, &chain);
    if (result != STORE_OK)
        return result;
    struct key *key;
    result = key_acquire(store, key_name, KEY_TO_PUSH, &key);
    if (result == STORE_OK) {
        key_lock(key);
        result = key_append_locked(store, key, &chain, count);
        if (result == STORE_OK)
            push_finish_locked(store, key, pushed);
        key_unlock(store, key);
        key_release(store, key);
    }
    if (result != STORE_OK)
        events_discard(store, &chain);
    return result;
}

/* Takes for a group that need not exist yet; makes it only when there is something to take, or to wait for.
 */
static enum store_result take_locked(struct store *store, struct key *key, struct text name, size_t limit,
                                     struct waiter *waiter, struct batch **batch)
{
    int64_t now = store_now(store);
    struct group *group = group_find_locked(store, key, name);
    if (group == NULL) {
        if (waiter == NULL && key_first_live_locked(key, now) == key->event_count)
            return STORE_EMPTY;
        enum store_result result = group_create_locked(store, key, name, &group);
        if (result != STORE_OK)
            return result;
    }
    enum store_result result = group_take_locked(store, group, limit, now, batch);
    if (result == STORE_EMPTY && waiter != NULL)
        group_add_waiter_locked(store, group, waiter);
    else
        group_remove_if_idle_locked(store, group);
    return result;
}

enum store_result store_take(struct store *store, struct text key_name, struct text group, size_t limit,
                             struct batch **batch)
{
    struct key *key;
    enum store_result result = key_acquire(store, key_name, KEY_TO_LOOK, &key);
    if (result != STORE_OK)
        return result;
    key_lock(key);
    result = take_locked(store, key, group, limit, NULL, batch);
    key_unlock(store, key);
    key_release(store, key);
    return result;
}

int store_waiter_init(struct waiter *waiter, size_t limit,
                      enum delivery (*deliver)(void *context, struct batch *batch), void *context)
{
    *waiter =
        (struct waiter){.deliver = deliver, .context = context, .limit = limit, .outcome = WAIT_PENDING};
    if (sync_condition_init(&waiter->condition) != 0)
        return -1;
    pthread_mutex_init(&waiter->mutex, NULL);
    return 0;
}

void store_waiter_destroy(struct waiter *waiter)
{
    pthread_mutex_destroy(&waiter->mutex);
    pthread_cond_destroy(&waiter->condition);
}

enum store_result store_wait_begin(struct store *store, struct text key_name, struct text group,
                                   struct waiter *waiter, struct batch **batch)
{
    struct key *key;
    enum store_result result = key_acquire(store, key_name, KEY_TO_WAIT, &key);
    if (result != STORE_OK)
        return result;
    key_lock(key);
    /* store_stop sets the flag before it visits the keys: either it finds this waiter, or this sees the flag.
     */
    if (atomic_load(&store->stopping))
        result = STORE_STOPPED;
    else
        result = take_locked(store, key, group, waiter->limit, waiter, batch);
    key_unlock(store, key);
    if (result == STORE_EMPTY)
        waiter->key = key; /* stays a user of the key until store_wait ends */
    else
        key_release(store, key);
    return result;
}

void waiter_finish(struct waiter *waiter, enum wait_outcome outcome)
{
    pthread_mutex_lock(&waiter->mutex);
    waiter->outcome = outcome;
    pthread_cond_signal(&waiter->condition);
    pthread_mutex_unlock(&waiter->mutex);
}

void store_wait_interrupt(struct waiter *waiter)
{
    pthread_mutex_lock(&waiter->mutex);
    waiter->interrupted = true;
    pthread_cond_signal(&waiter->condition);
    pthread_mutex_unlock(&waiter->mutex);
}

/* Leaves the list when nobody has taken the waiter out of it. */
static bool withdraw(struct store *store, struct waiter *waiter)
{
    key_lock(waiter->key);
    struct group *group = waiter->group;
    if (group != NULL) {
        group_remove_waiter_locked(store, waiter);
        group_remove_if_idle_locked(store, group);
    }
    key_unlock(store, waiter->key);
    return group != NULL;
}

enum wait_outcome store_wait(struct store *store, struct waiter *waiter, int64_t deadline_at)
{
    pthread_mutex_lock(&waiter->mutex);
    bool in_time = true;
    while (waiter->outcome == WAIT_PENDING && !waiter->interrupted && in_time)
        in_time = sync_wait_until(&waiter->condition, &waiter->mutex, deadline_at);
    enum wait_outcome outcome = waiter->outcome;
    bool interrupted = waiter->interrupted;
    pthread_mutex_unlock(&waiter->mutex);
    if (outcome == WAIT_PENDING) {
        if (withdraw(store, waiter)) {
            outcome = interrupted ? WAIT_INTERRUPTED : WAIT_TIMED_OUT;
        } else {
            pthread_mutex_lock(&waiter->mutex);
            while (waiter->outcome == WAIT_PENDING)
                sync_wait(&waiter->condition, &waiter->mutex);
            outcome = waiter->outcome;
            pthread_mutex_unlock(&waiter->mutex);
        }
    }
    key_release(store, waiter->key);
    waiter->key = NULL;
    return outcome;
}

void store_batch_consumed(struct store *store, struct batch *batch)
{
    struct group *group = batch->group;
    struct key *key = group->key; /* stays, as long as the group has a delivery under way */
    key_hold(key);
    key_lock(key);
    group->delivery_count--;
    group_remove_if_idle_locked(store, group);
    key_unlock(store, key);
    key_release(store, key);
    batch_free(store, batch);
}

/* Gives a batch back to its group; adds what waiters of the group now get to `batches`. */
static void give_back(struct store *store, struct batch *batch, struct batch_list *batches)
{
    struct group *group = batch->group;
    struct key *key = group->key;
    key_hold(key);
    key_lock(key);
    int64_t now = store_now(store);
    group_return_locked(store, batch, now);
    group_serve_waiters_locked(store, group, now, batches);
    group_remove_if_idle_locked(store, group);
    key_unlock(store, key);
    key_release(store, key);
}

void store_deliver(struct store *store, struct batch_list *batches, struct waiter_list *done)
{
    struct batch *batch;
    while ((batch = STAILQ_FIRST(batches)) != NULL) {
        STAILQ_REMOVE_HEAD(batches, link);
        struct waiter *waiter = batch->waiter;
        /* Given to the waiter's function, unless it says that nobody is there. */
        waiter->delivered = waiter->deliver(waiter->context, batch) == DELIVERY_TAKEN;
        if (!waiter->delivered)
            give_back(store, batch, batches);
        TAILQ_INSERT_TAIL(done, waiter, link);
    }
}

void store_wake(struct waiter_list *done)
{
    struct waiter *waiter;
    while ((waiter = TAILQ_FIRST(done)) != NULL) {
        TAILQ_REMOVE(done, waiter, link);
        waiter_finish(waiter, waiter->delivered ? WAIT_DELIVERED : WAIT_GONE);
    }
}

void store_batch_return(struct store *store, struct batch *batch)
{
    struct batch_list batches = STAILQ_HEAD_INITIALIZER(batches);
    struct waiter_list done = TAILQ_HEAD_INITIALIZER(done);
    give_back(store, batch, &batches);
    store_deliver(store, &batches, &done);
    store_wake(&done);
}

static void stop_waiters_locked(struct store *store, struct key *key)
{
    struct group *group;
    while ((group = TAILQ_FIRST(&key->waiting_groups)) != NULL) {
        struct waiter *waiter;
        while ((waiter = TAILQ_FIRST(&group->waiters)) != NULL) {
            group_remove_waiter_locked(store, waiter);
            waiter_finish(waiter, WAIT_STOPPED);
        }
        group_remove_if_idle_locked(store, group);
    }
}

void store_stop(struct store *store)
{
    atomic_store(&store->stopping, true);
    for (size_t i = 0; i < SHARD_COUNT; i++) {
        struct shard *shard = &store->shards[i];
        pthread_mutex_lock(&shard->mutex);
        struct table_link *link = NULL;
        while ((link = table_next(&shard->keys, link)) != NULL) {
            struct key *key = TABLE_ELEMENT(link, struct key, link);
            key_lock(key);
            stop_waiters_locked(store, key);
            key_unlock(store, key);
        }
        pthread_mutex_unlock(&shard->mutex);
    }
}
