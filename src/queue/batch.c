/* Events and batches: their memory, their references, and the account of both. */
#include "queue/store_internal.h"

#include <stdlib.h>
#include <string.h>

/* One part in this many is kept for groups and batches. */
enum { CONSUMER_SHARE = 8 };

enum store_result memory_reserve(struct store *store, size_t bytes, bool consumer)
{
    uint64_t limit = store->options.max_memory_bytes;
    if (!consumer)
        limit -= limit / CONSUMER_SHARE;
    uint64_t before = atomic_fetch_add_explicit(&store->memory_bytes, bytes, memory_order_relaxed);
    if (before + bytes <= limit)
        return STORE_OK;
    memory_release(store, bytes);
    return STORE_FULL;
}

void memory_release(struct store *store, size_t bytes)
{
    atomic_fetch_sub_explicit(&store->memory_bytes, bytes, memory_order_relaxed);
}

size_t event_bytes(size_t length)
{
    return sizeof(struct event) + length + ALLOCATION_OVERHEAD;
}

enum store_result event_create(struct store *store, size_t length, struct event **created)
{
    if (length > UINT32_MAX)
        return STORE_FULL;
    enum store_result result = memory_reserve(store, event_bytes(length), false);
    if (result != STORE_OK)
        return result;
    struct event *event = malloc(sizeof *event + length);
    if (event == NULL) {
        memory_release(store, event_bytes(length));
        return STORE_NO_MEMORY;
    }
    LIST_INIT(&event->groups);
    atomic_init(&event->references, 1);
    event->length = (uint32_t)length;
    *created = event;
    return STORE_OK;
}

struct event *event_shrink(struct event *event, size_t length)
{
    if (event->length == length)
        return event;
    event->length = (uint32_t)length;
    struct event *smaller = realloc(event, sizeof *event + length);
    if (smaller != NULL)
        return smaller;
    return event; /* it does as it is; but no allocator that is known refuses to make a block smaller */
}

enum store_result events_create(struct store *store, const struct text *values, size_t count,
                                struct event_list *chain)
{
    TAILQ_INIT(chain);
    for (size_t i = 0; i < count; i++) {
        struct event *event;
        enum store_result result = event_create(store, values[i].length, &event);
        if (result != STORE_OK) {
            events_discard(store, chain);
            return result;
        }
        memcpy(event->value, values[i].bytes, values[i].length);
        TAILQ_INSERT_TAIL(chain, event, link);
    }
    return STORE_OK;
}

void events_discard(struct store *store, struct event_list *chain)
{
    struct event *event;
    while ((event = TAILQ_FIRST(chain)) != NULL) {
        TAILQ_REMOVE(chain, event, link);
        event_unreference(store, event);
    }
}

void event_unreference(struct store *store, struct event *event)
{
    if (atomic_fetch_sub_explicit(&event->references, 1, memory_order_acq_rel) != 1)
        return;
    memory_release(store, event_bytes(event->length));
    free(event);
}

size_t batch_bytes(const struct batch *batch)
{
    return sizeof *batch + batch->capacity * sizeof batch->events[0] + ALLOCATION_OVERHEAD;
}

enum store_result batch_create(struct store *store, struct group *group, size_t capacity,
                               struct batch **created)
{
    size_t bytes = sizeof(struct batch) + capacity * sizeof(struct event *);
    enum store_result result = memory_reserve(store, bytes + ALLOCATION_OVERHEAD, true);
    if (result != STORE_OK)
        return result;
    struct batch *batch = malloc(bytes);
    if (batch == NULL) {
        memory_release(store, bytes + ALLOCATION_OVERHEAD);
        return STORE_NO_MEMORY;
    }
    *batch = (struct batch){.group = group, .capacity = capacity};
    *created = batch;
    return STORE_OK;
}

void batch_add(struct batch *batch, struct event *event)
{
    atomic_fetch_add_explicit(&event->references, 1, memory_order_relaxed);
    batch->events[batch->count++] = event;
    batch->value_bytes += event->length;
}

void batch_free(struct store *store, struct batch *batch)
{
    for (size_t i = batch->first; i < batch->count; i++)
        event_unreference(store, batch->events[i]);
    memory_release(store, batch_bytes(batch));
    free(batch);
}

size_t store_batch_count(const struct batch *batch)
{
    return batch->count - batch->first;
}

uint64_t store_batch_value_bytes(const struct batch *batch)
{
    return batch->value_bytes;
}

struct batch_event store_batch_event(const struct batch *batch, size_t index)
{
    const struct event *event = batch->events[batch->first + index];
    return (struct batch_event){.id = event->id,
                                .wall_ms = event->wall_ms,
                                .value = {.bytes = event->value, .length = event->length}};
}

void store_batches_split(struct batch_list *from, struct batch_list *to, size_t count)
{
    STAILQ_INIT(to);
    for (; count > 0 && !STAILQ_EMPTY(from); count--) {
        struct batch *batch = STAILQ_FIRST(from);
        STAILQ_REMOVE_HEAD(from, link);
        STAILQ_INSERT_TAIL(to, batch, link);
    }
}
