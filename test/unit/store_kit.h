/* What the tests of the store share: a clock that they move, names, and batches as text. */
#ifndef STORE_KIT_H
#define STORE_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "queue/store.h"

#include <stdatomic.h>

#define SECONDS(n) ((n)*CLOCK_NS_PER_SECOND)

enum { KIT_TTL_SECONDS = 120, KIT_TEXT_BYTES = 512 };

struct store_kit {
    _Atomic int64_t now;
    struct store *store;
};

static inline int64_t kit_now(void *context)
{
    struct store_kit *kit = context;
    return atomic_load(&kit->now);
}

static inline int64_t kit_wall_ms(void *context)
{
    return kit_now(context) / CLOCK_NS_PER_MS;
}

static inline void kit_start(struct store_kit *kit, uint64_t max_memory_bytes)
{
    atomic_store(&kit->now, SECONDS(1000));
    struct store_options options = {
        .clock = {.monotonic_ns = kit_now, .wall_ms = kit_wall_ms, .context = kit},
        .ttl_ns = SECONDS(KIT_TTL_SECONDS),
        .max_memory_bytes = max_memory_bytes,
    };
    kit->store = store_create(&options);
    assert_non_null(kit->store);
}

static inline void kit_pass(struct store_kit *kit, int64_t ns)
{
    atomic_fetch_add(&kit->now, ns);
}

static inline void kit_deliver(struct store *store, struct batch_list *batches)
{
    struct waiter_list done = TAILQ_HEAD_INITIALIZER(done);
    store_deliver(store, batches, &done);
    store_wake(&done);
}

/* Pushes one value and delivers it to whoever waits. Returns its id, 0 when it was refused. */
static inline uint64_t kit_push(struct store_kit *kit, const char *key, const char *value)
{
    struct text text = text_from(value);
    struct store_pushed pushed;
    if (store_push(kit->store, text_from(key), &text, 1, &pushed) != STORE_OK)
        return 0;
    kit_deliver(kit->store, &pushed.batches);
    store_check(kit->store);
    return pushed.last_id;
}

/* A batch as its values with commas between. */
static inline void kit_batch_text(const struct batch *batch, char text[KIT_TEXT_BYTES])
{
    size_t length = 0;
    text[0] = '\0';
    for (size_t i = 0; i < store_batch_count(batch); i++) {
        struct text value = store_batch_event(batch, i).value;
        length += (size_t)snprintf(text + length, KIT_TEXT_BYTES - length, "%s%.*s", i == 0 ? "" : ",",
                                   (int)value.length, value.bytes);
        assert_true(length < KIT_TEXT_BYTES);
    }
}

/* Takes for a group and looks at what came; NULL stands for nothing. The batch stays open. */
static inline struct batch *kit_take(struct store_kit *kit, const char *key, const char *group, size_t limit,
                                     const char *expected)
{
    struct batch *batch = NULL;
    enum store_result result = store_take(kit->store, text_from(key), text_from(group), limit, &batch);
    store_check(kit->store);
    if (expected == NULL) {
        assert_int_equal(result, STORE_EMPTY);
        return NULL;
    }
    char text[KIT_TEXT_BYTES];
    assert_int_equal(result, STORE_OK);
    kit_batch_text(batch, text);
    assert_string_equal(text, expected);
    return batch;
}

/* The same, and consumes it. */
static inline void kit_consume(struct store_kit *kit, const char *key, const char *group, size_t limit,
                               const char *expected)
{
    struct batch *batch = kit_take(kit, key, group, limit, expected);
    if (batch != NULL)
        store_batch_consumed(kit->store, batch);
    store_check(kit->store);
}

/* Lets everything expire and sees that nothing is left behind; frees the store. */
static inline void kit_end(struct store_kit *kit)
{
    kit_pass(kit, SECONDS(KIT_TTL_SECONDS));
    store_reap(kit->store, SIZE_MAX);
    store_check(kit->store);
    struct store_counts counts = store_counts(kit->store);
    assert_int_equal(counts.events, 0);
    assert_int_equal(counts.groups, 0);
    assert_int_equal(counts.keys, 0);
    assert_int_equal(counts.waiting, 0);
    assert_int_equal(counts.memory_bytes, 0);
    store_free(kit->store);
}

#endif
