/* What the tests of revenue in the storage share: its writes and reads, on either engine. */
#ifndef STORAGE_REVENUE_KIT_H
#define STORAGE_REVENUE_KIT_H

#include "storage_engines_kit.h"

/* Ten bytes a line. */
static inline struct storage_write count_of(const char *file, uint64_t before, uint64_t after,
                                            const struct storage_revenue *revenues, size_t count)
{
    return (struct storage_write){.kind = STORAGE_COUNT_REVENUE,
                                  .file = text_from(file),
                                  .position_before = before,
                                  .position_after = after,
                                  .lines_after = after / 10,
                                  .revenues = revenues,
                                  .count = count,
                                  /* As a batch that was tried before may leave them. */
                                  .overtaken = true,
                                  .overflowed = true};
}

static inline void count_revenues(struct storage *storage, const char *file, uint64_t before, uint64_t after,
                                  const struct storage_revenue *revenues, size_t count)
{
    struct storage_write write = count_of(file, before, after, revenues, count);
    assert_int_equal(kit_write(storage, &write), STORAGE_OK);
    assert_false(write.overtaken);
    assert_false(write.overflowed);
}

static inline void count_revenue(struct storage *storage, const char *file, uint64_t before, uint64_t after,
                                 const char *user, const char *amount)
{
    const struct storage_revenue revenue = {.user = text_from(user), .amount = text_from(amount)};
    count_revenues(storage, file, before, after, &revenue, 1);
}

/* "" for none. */
static inline void expect_revenue(struct storage *storage, const char *user, const char *expected)
{
    char amount[STORAGE_REVENUE_BYTES] = "";
    bool found = expected[0] == '\0';
    assert_int_equal(storage_revenue(storage, text_from(user), amount, &found, kit_patience()), STORAGE_OK);
    assert_int_equal(found, expected[0] != '\0');
    assert_string_equal(amount, expected);
}

/* 0 for none. */
static inline void expect_checkpoint(struct storage *storage, const char *file, uint64_t expected)
{
    struct storage_checkpoint checkpoint = {.position = 777, .lines = 777};
    bool found = expected == 0;
    assert_int_equal(storage_checkpoint(storage, text_from(file), &checkpoint, &found, kit_patience()),
                     STORAGE_OK);
    assert_int_equal(found, expected != 0);
    assert_int_equal(checkpoint.position, expected);
    assert_int_equal(checkpoint.lines, expected / 10);
}

#endif
