/* Consumer groups: cursors, what came back, and who waits. */
#include "queue/store_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static bool group_matches(const struct table_link *link, const void *wanted)
{
    const struct group *group = TABLE_ELEMENT(link, const struct group, link);
    return text_equals((struct text){.bytes = group->name, .length = group->name_length},
                       *(const struct text *)wanted);
}

size_t group_bytes(const struct group *group)
{
    return sizeof *group + group->name_length + ALLOCATION_OVERHEAD;
}

struct group *group_find_locked(struct store *store, struct key *key, struct text name)
{
    if (key->groups.count == 0)
        return NULL;
    struct table_link *link = table_find(&key->groups, hash_text(&store->seed, name), group_matches, &name);
    return link == NULL ? NULL : TABLE_ELEMENT(link, struct group, link);
}

enum store_result group_create_locked(struct store *store, struct key *key, struct text name,
                                      struct group **created)
{
    assert(name.length <= UINT8_MAX);
    size_t bytes = sizeof(struct group) + name.length;
    enum store_result result = memory_reserve(store, bytes + ALLOCATION_OVERHEAD, true);
    if (result != STORE_OK)
        return result;
    struct group *group = malloc(bytes);
    if (group == NULL || table_reserve(&key->groups) != 0) {
        free(group);
        memory_release(store, bytes + ALLOCATION_OVERHEAD);
        return STORE_NO_MEMORY;
    }
    *group = (struct group){.key = key, .name_length = (uint8_t)name.length};
    memcpy(group->name, name.bytes, name.length);
    TAILQ_INIT(&group->returned);
    TAILQ_INIT(&group->waiters);
    table_add(&key->groups, &group->link, hash_text(&store->seed, name));
    key_account_locked(store, key);
    atomic_fetch_add_explicit(&store->group_count, 1, memory_order_relaxed);
    *created = group;
    return STORE_OK;
}

void group_destroy_locked(struct store *store, struct group *group)
{
    struct key *key = group->key;
    struct batch *batch;
    while ((batch = TAILQ_FIRST(&group->returned)) != NULL) {
        TAILQ_REMOVE(&group->returned, batch, returned_link);
        batch_free(store, batch);
    }
    if (group->cursor_event != NULL)
        LIST_REMOVE(group, cursor_link);
    table_remove(&key->groups, &group->link);
    memory_release(store, group_bytes(group));
    free(group);
    key_account_locked(store, key);
    atomic_fetch_sub_explicit(&store->group_count, 1, memory_order_relaxed);
}

void group_remove_if_idle_locked(struct store *store, struct group *group)
{
    /* What came back lies at or below the cursor (I3), so without a cursor event it has expired too. */
    if (group->cursor_event == NULL && group->delivery_count == 0 && TAILQ_EMPTY(&group->waiters))
        group_destroy_locked(store, group);
}

static struct event *returned_first(const struct batch *batch)
{
    return batch->events[batch->first];
}

/* Takes the first event out of a returned batch; its reference is the caller's. */
static struct event *returned_pop(struct batch *batch)
{
    struct event *event = batch->events[batch->first++];
    batch->value_bytes -= event->length;
    return event;
}

/* Puts a batch where its first id belongs, looking from the end: most come back in the order they were taken
 * in. */
static void returned_insert(struct group *group, struct batch *batch)
{
    struct batch *before = TAILQ_LAST(&group->returned, returned_list);
    while (before != NULL && returned_first(before)->id > returned_first(batch)->id)
        before = TAILQ_PREV(before, returned_list, returned_link);
    if (before == NULL)
        TAILQ_INSERT_HEAD(&group->returned, batch, returned_link);
    else
        TAILQ_INSERT_AFTER(&group->returned, before, batch, returned_link);
}

/* Drops what has expired of the batches that came back. */
static void returned_drop_expired(struct store *store, struct group *group, int64_t now)
{
    struct batch *batch = TAILQ_FIRST(&group->returned);
    while (batch != NULL) {
        struct batch *next = TAILQ_NEXT(batch, returned_link);
        bool changed = false;
        while (batch->first < batch->count && returned_first(batch)->expires_at <= now) {
            event_unreference(store, returned_pop(batch));
            changed = true;
        }
        if (changed) {
            TAILQ_REMOVE(&group->returned, batch, returned_link);
            if (batch->first == batch->count)
                batch_free(store, batch);
            else
                returned_insert(group, batch);
        }
        batch = next;
    }
}

static size_t returned_count(const struct group *group)
{
    size_t count = 0;
    const struct batch *batch;
    TAILQ_FOREACH (batch, &group->returned, returned_link) {
        count += batch->count - batch->first;
    }
    return count;
}

/* The index in the ring of the first event that the group has neither taken nor missed. */
static size_t first_unconsumed(const struct group *group, int64_t now)
{
    const struct key *key = group->key;
    size_t live = key_first_live_locked(key, now);
    if (key->event_count == 0)
        return 0;
    uint64_t first_id = key_event_locked(key, 0)->id;
    if (group->cursor < first_id)
        return live;
    size_t taken = (size_t)(group->cursor - first_id) + 1;
    return taken > live ? taken : live;
}

bool group_has_events_locked(const struct group *group, int64_t now)
{
    const struct batch *batch;
    TAILQ_FOREACH (batch, &group->returned, returned_link) {
        if (batch->events[batch->count - 1]->expires_at > now)
            return true;
    }
    return first_unconsumed(group, now) < group->key->event_count;
}

/* Moves events that came back into `batch`, by id, until it is full. */
static void take_returned(struct store *store, struct group *group, struct batch *batch)
{
    struct batch *source;
    while (batch->count < batch->capacity && (source = TAILQ_FIRST(&group->returned)) != NULL) {
        struct event *event = returned_pop(source);
        batch_add(batch, event);
        event_unreference(store, event);
        struct batch *next = TAILQ_NEXT(source, returned_link);
        bool empty = source->first == source->count;
        if (empty || (next != NULL && returned_first(source)->id > returned_first(next)->id)) {
            TAILQ_REMOVE(&group->returned, source, returned_link);
            if (empty)
                batch_free(store, source);
            else
                returned_insert(group, source);
        }
    }
}

static void move_cursor(struct group *group, struct event *event)
{
    if (group->cursor_event != NULL)
        LIST_REMOVE(group, cursor_link);
    group->cursor = event->id;
    group->cursor_event = event;
    LIST_INSERT_HEAD(&event->groups, group, cursor_link);
}

enum store_result group_take_locked(struct store *store, struct group *group, size_t limit, int64_t now,
                                    struct batch **taken)
{
    struct key *key = group->key;
    returned_drop_expired(store, group, now);
    size_t index = first_unconsumed(group, now);
    size_t available = returned_count(group) + key->event_count - index;
    if (available == 0)
        return STORE_EMPTY;
    struct batch *batch;
    enum store_result result = batch_create(store, group, available < limit ? available : limit, &batch);
    if (result != STORE_OK)
        return result;
    take_returned(store, group, batch);
    for (; batch->count < batch->capacity; index++) {
        struct event *event = key_event_locked(key, index);
        batch_add(batch, event);
        if (batch->count == batch->capacity)
            move_cursor(group, event);
    }
    group->delivery_count++;
    *taken = batch;
    return STORE_OK;
}

void group_add_waiter_locked(struct store *store, struct group *group, struct waiter *waiter)
{
    if (TAILQ_EMPTY(&group->waiters))
        TAILQ_INSERT_TAIL(&group->key->waiting_groups, group, waiting_link);
    TAILQ_INSERT_TAIL(&group->waiters, waiter, link);
    waiter->group = group;
    atomic_fetch_add_explicit(&store->waiting_count, 1, memory_order_relaxed);
}

void group_remove_waiter_locked(struct store *store, struct waiter *waiter)
{
    struct group *group = waiter->group;
    TAILQ_REMOVE(&group->waiters, waiter, link);
    waiter->group = NULL;
    if (TAILQ_EMPTY(&group->waiters))
        TAILQ_REMOVE(&group->key->waiting_groups, group, waiting_link);
    atomic_fetch_sub_explicit(&store->waiting_count, 1, memory_order_relaxed);
}

size_t group_serve_waiters_locked(struct store *store, struct group *group, int64_t now,
                                  struct batch_list *batches)
{
    size_t count = 0;
    struct waiter *waiter;
    while ((waiter = TAILQ_FIRST(&group->waiters)) != NULL) {
        struct batch *batch;
        enum store_result result = group_take_locked(store, group, waiter->limit, now, &batch);
        if (result == STORE_EMPTY)
            break;
        group_remove_waiter_locked(store, waiter);
        if (result == STORE_OK) {
            batch->waiter = waiter;
            STAILQ_INSERT_TAIL(batches, batch, link);
            count++;
        } else {
            waiter_finish(waiter, WAIT_NO_MEMORY);
        }
    }
    return count;
}

void group_return_locked(struct store *store, struct batch *batch, int64_t now)
{
    struct group *group = batch->group;
    batch->waiter = NULL;
    group->delivery_count--;
    returned_insert(group, batch);
    returned_drop_expired(store, group, now);
}
