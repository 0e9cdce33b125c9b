/* What the tests of the reference table in the storage share: its writes and reads, on either engine. */
#ifndef STORAGE_REFERENCE_KIT_H
#define STORAGE_REFERENCE_KIT_H

#include "storage_engines_kit.h"

#include "storage/engine.h"

enum { MEGABYTE = 1024 * 1024, LARGE = 2 * MEGABYTE, SQL_BYTES = 160 };

static const int64_t now_ms = 1700000000123;

/* --- writes --- */

static inline struct storage_write piece_of(uint64_t generation, uint32_t number, struct text content,
                                            int64_t created_ms)
{
    return (struct storage_write){.kind = STORAGE_REFERENCE_PIECE,
                                  .generation = generation,
                                  .number = number,
                                  .payload = content,
                                  .created_ms = created_ms};
}

static inline struct storage_write switch_of(uint64_t generation, uint32_t piece_count, int64_t updated_ms)
{
    return (struct storage_write){.kind = STORAGE_REFERENCE_SWITCH,
                                  .generation = generation,
                                  .number = piece_count,
                                  .created_ms = updated_ms};
}

static inline struct storage_write purge_of(uint64_t generation, int64_t before_ms)
{
    return (struct storage_write){
        .kind = STORAGE_REFERENCE_PURGE, .generation = generation, .created_ms = before_ms};
}

static inline struct storage_write publish_of(struct text payload)
{
    return (struct storage_write){.kind = STORAGE_PUBLISH,
                                  .channel = TEXT("a"),
                                  .event_type = TEXT("type"),
                                  .payload = payload,
                                  .created_ms = now_ms};
}

static inline struct storage_write subscription_of(enum storage_write_kind kind)
{
    return (struct storage_write){.kind = kind, .user = TEXT("user"), .channel = TEXT("a")};
}

static inline void expect_stored(struct storage *storage, struct storage_write write)
{
    assert_int_equal(kit_write(storage, &write), STORAGE_OK);
}

/* Pieces with the numbers 0 to `count` - 1. */
static inline void store_pieces(struct storage *storage, uint64_t generation, uint32_t count,
                                int64_t created_ms)
{
    for (uint32_t number = 0; number < count; number++)
        expect_stored(storage, piece_of(generation, number, TEXT("[]"), created_ms));
}

static inline void expect_purged(struct storage *storage, uint64_t generation, int64_t before_ms,
                                 uint32_t expected)
{
    struct storage_write write = purge_of(generation, before_ms);
    write.purged = 99;
    assert_int_equal(kit_write(storage, &write), STORAGE_OK);
    assert_int_equal(write.purged, expected);
}

/* --- reads --- */

static inline void expect_table(struct storage *storage, uint64_t generation, uint32_t piece_count,
                                int64_t updated_ms)
{
    struct storage_reference reference = {.generation = 99};
    assert_int_equal(storage_reference(storage, &reference, kit_patience()), STORAGE_OK);
    assert_true(reference.generation == generation);
    assert_int_equal(reference.piece_count, piece_count);
    assert_true(reference.updated_ms == updated_ms);
}

struct expected_piece {
    struct text content;
    unsigned visits;
};

static inline void compare_piece(void *context, struct text content)
{
    struct expected_piece *expected = context;
    assert_true(text_equals(content, expected->content));
    expected->visits++;
}

static inline void expect_piece(struct storage *storage, uint64_t generation, uint32_t number,
                                struct text content)
{
    struct expected_piece expected = {.content = content};
    bool found = false;
    assert_int_equal(storage_reference_piece(storage, generation, number, compare_piece, &expected, &found,
                                             kit_patience()),
                     STORAGE_OK);
    assert_true(found);
    assert_int_equal(expected.visits, 1);
}

static inline void expect_no_piece(struct storage *storage, uint64_t generation, uint32_t number)
{
    struct expected_piece expected = {.visits = 0};
    bool found = true;
    assert_int_equal(storage_reference_piece(storage, generation, number, compare_piece, &expected, &found,
                                             kit_patience()),
                     STORAGE_OK);
    assert_false(found);
    assert_int_equal(expected.visits, 0);
}

static inline int64_t count_pieces(const struct place *place, uint64_t generation)
{
    char sql[SQL_BYTES];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM reference_pieces WHERE generation = %llu",
             (unsigned long long)generation);
    return place_number(place, sql);
}

static inline char *make_large(void)
{
    char *large = malloc(LARGE);
    assert_non_null(large);
    for (size_t i = 0; i < LARGE; i++)
        large[i] = "abc\\\"'{}%$1\xC3\xA4"[i % 13];
    large[LARGE - 1] = 'z'; /* not half a character */
    return large;
}

#endif
