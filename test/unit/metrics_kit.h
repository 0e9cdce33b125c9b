/* What the tests of the metrics share: clocks that they move, events from texts, and answers as text. */
#ifndef METRICS_KIT_H
#define METRICS_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "metrics/metrics.h"

#include <stdatomic.h>

enum { KIT_TEXT_BYTES = 1024 };

#define KIT_START_S INT64_C(1759926896)

/* The two clocks move together (kit_pass), or the wall clock alone (kit_step). */
struct metrics_kit {
    _Atomic int64_t wall_ms;
    _Atomic int64_t monotonic_ms;
    struct metrics *metrics;
    uint64_t empty_bytes; /* what the metrics take without an event or a table */
};

static inline int64_t kit_wall_ms(void *context)
{
    struct metrics_kit *kit = context;
    return atomic_load(&kit->wall_ms);
}

static inline int64_t kit_monotonic_ns(void *context)
{
    struct metrics_kit *kit = context;
    return atomic_load(&kit->monotonic_ms) * CLOCK_NS_PER_MS;
}

static inline void kit_start(struct metrics_kit *kit, uint32_t retention_s, uint64_t max_memory_bytes)
{
    atomic_store(&kit->wall_ms, KIT_START_S * 1000);
    atomic_store(&kit->monotonic_ms, 5000);
    struct metrics_options options = {
        .clock = {.monotonic_ns = kit_monotonic_ns, .wall_ms = kit_wall_ms, .context = kit},
        .retention_s = retention_s,
        .max_memory_bytes = max_memory_bytes,
    };
    kit->metrics = metrics_create(&options);
    assert_non_null(kit->metrics);
    kit->empty_bytes = metrics_counts(kit->metrics).memory_bytes;
}

static inline void kit_step(struct metrics_kit *kit, int64_t ms)
{
    atomic_fetch_add(&kit->wall_ms, ms);
}

static inline void kit_pass(struct metrics_kit *kit, int64_t ms)
{
    atomic_fetch_add(&kit->wall_ms, ms);
    atomic_fetch_add(&kit->monotonic_ms, ms);
}

/* Takes an event in, whose time is `ms` from now. */
static inline enum metrics_result kit_ingest(struct metrics_kit *kit, const char *id, const char *user,
                                             const char *type, int64_t ms)
{
    char timestamp[CLOCK_RFC3339_BYTES];
    enum metrics_result result = METRICS_FULL;
    clock_format_rfc3339(kit_wall_ms(kit) + ms, timestamp);
    struct metrics_event event = {.id = text_from(id),
                                  .user = text_from(user),
                                  .type = text_from(type),
                                  .timestamp = text_from(timestamp)};
    metrics_ingest(kit->metrics, &event, 1, &result);
    return result;
}

/* A table from a text: "user plan region, user plan region", with "-" for none. */
static inline struct reference *kit_table(struct metrics_kit *kit, const char *rows, int64_t wall_ms)
{
    struct reference_builder *builder = metrics_reference_begin(kit->metrics, wall_ms);
    assert_non_null(builder);
    struct text rest = text_from(rows);
    while (rest.length > 0) {
        struct text row = text_trim(text_cut(&rest, ','));
        struct text fields[3];
        for (int i = 0; i < 3; i++) {
            fields[i] = text_cut(&row, ' ');
            if (text_equals(fields[i], TEXT("-")))
                fields[i] = (struct text){.bytes = NULL};
        }
        assert_int_equal(reference_add(builder, fields[0], fields[1], fields[2], TEXT("{}")), REFERENCE_OK);
    }
    return reference_finish(builder);
}

static inline enum metrics_set_result kit_set(struct metrics_kit *kit, const char *rows, int64_t wall_ms)
{
    struct reference *reference = kit_table(kit, rows, wall_ms);
    enum metrics_set_result result = metrics_set_reference(kit->metrics, reference);
    reference_release(reference);
    return result;
}

static inline size_t kit_append_list(char text[KIT_TEXT_BYTES], size_t length, const char *name,
                                     const struct metrics_list *list)
{
    length += (size_t)snprintf(text + length, KIT_TEXT_BYTES - length, " %s", name);
    for (size_t i = 0; i < list->length; i++) {
        length += (size_t)snprintf(text + length, KIT_TEXT_BYTES - length, "%s%.*s=%llu", i == 0 ? ":" : ",",
                                   (int)list->counts[i].name.length, list->counts[i].name.bytes,
                                   (unsigned long long)list->counts[i].count);
        assert_true(length < KIT_TEXT_BYTES);
    }
    return length;
}

/* An answer as "events 3 unknown 1 users 2 plan:pro=1,free=1 region:eu=2 type:click=3". */
static inline void kit_answer_text(const struct metrics_answer *answer, char text[KIT_TEXT_BYTES])
{
    size_t length = (size_t)snprintf(text, KIT_TEXT_BYTES, "events %llu unknown %llu users %llu",
                                     (unsigned long long)answer->events, (unsigned long long)answer->unknown,
                                     (unsigned long long)answer->unique_users);
    length = kit_append_list(text, length, "plan", &answer->by_plan);
    length = kit_append_list(text, length, "region", &answer->by_region);
    kit_append_list(text, length, "type", &answer->by_type);
}

static inline void kit_expect_at(struct metrics_kit *kit, uint32_t window_s, const char *expected,
                                 const char *file, int line)
{
    struct metrics_answer answer;
    char text[KIT_TEXT_BYTES];
    metrics_check(kit->metrics);
    assert_int_equal(metrics_query(kit->metrics, window_s, &answer), 0);
    kit_answer_text(&answer, text);
    metrics_answer_free(&answer);
    _assert_string_equal(text, expected, file, line);
}

#define kit_expect(kit, window_s, expected) kit_expect_at((kit), (window_s), (expected), __FILE__, __LINE__)

/* Lets everything expire, and sees that nothing but the table is left behind; frees the metrics. */
static inline void kit_end(struct metrics_kit *kit)
{
    kit_pass(kit, (METRICS_LONGEST_RETENTION_S / 100) * INT64_C(1000));
    for (int i = 0; i < 64; i++)
        metrics_round(kit->metrics, NULL);
    metrics_check(kit->metrics);
    struct metrics_counts counts = metrics_counts(kit->metrics);
    assert_int_equal(counts.events, 0);
    assert_int_equal(counts.users, 0);
    assert_int_equal(counts.types, 0);
    if (counts.generation == 0)
        assert_int_equal(counts.memory_bytes, kit->empty_bytes);
    metrics_free(kit->metrics);
}

#endif
