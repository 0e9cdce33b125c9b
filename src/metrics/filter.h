/* The duplicate filter: which event ids were taken lately.
 *
 * What is kept of an id is 16 bytes: 103 bits of its keyed 128-bit hash (10 more choose the part), and the second up to which it is remembered,
 * modulo 2^24. They lie in 1,024 open-addressed parts of their own sizes, so that growing never moves more than a
 * thousandth of all. What has expired counts as absent at once; its place is used again when a part is swept or grows.
 *
 * Seconds are whole ones of CLOCK_MONOTONIC, so a change of the wall clock forgets nothing and keeps nothing for ever.
 * They may be remembered for up to 2^23 seconds (97 days), and filter_sweep must come by more often than that.
 *
 * Whoever owns the struct owns the parts. Not locked: see metrics_internal.h.
 */
#ifndef METRICS_FILTER_H
#define METRICS_FILTER_H

#include "base/budget.h"
#include "base/hash.h"

enum { FILTER_PARTS = 1024, FILTER_LONGEST_S = (1 << 23) - 1 };

struct filter_entry {
    uint64_t low;  /* 0: no entry */
    uint64_t high; /* 40 bits of the hash, 24 of the second */
};

struct filter_part {
    struct filter_entry *entries;
    uint32_t capacity;
    uint32_t count; /* of entries, expired ones too */
};

struct filter {
    struct budget *budget;
    uint32_t next_swept;
    struct filter_part parts[FILTER_PARTS];
};

void filter_init(struct filter *filter, struct budget *budget);
void filter_free(struct filter *filter);

/* Whether the id with this hash is remembered in second `now_s`. */
bool filter_has(const struct filter *filter, const struct hash_128 *hash, int64_t now_s);

/* Makes sure that this hash can be added. False when there is no memory for it. */
bool filter_reserve(struct filter *filter, const struct hash_128 *hash, int64_t now_s);

/* Remembers an id up to and with second `last_s`, which lies at most FILTER_LONGEST_S ahead. filter_reserve has made
 * room. Can't fail. */
void filter_add(struct filter *filter, const struct hash_128 *hash, int64_t last_s);

/* Looks through the next `part_count` parts and gives back what their expired entries took. */
void filter_sweep(struct filter *filter, int64_t now_s, uint32_t part_count);

/* The number of ids that are remembered: looks at all of them. */
uint64_t filter_count(const struct filter *filter, int64_t now_s);

static inline struct filter_part *filter_part_of(const struct filter *filter, const struct hash_128 *hash)
{
    return (struct filter_part *)&filter->parts[hash->high % FILTER_PARTS];
}

/* Where the search for a hash begins. The part must have entries. */
static inline uint32_t filter_home(const struct filter_part *part, uint64_t low)
{
    return (uint32_t)((low >> 32) * part->capacity >> 32);
}

/* Has the processor fetch what a look-up will want. */
static inline void filter_prefetch(const struct filter *filter, const struct hash_128 *hash)
{
    const struct filter_part *part = filter_part_of(filter, hash);
    if (part->capacity > 0)
        __builtin_prefetch(&part->entries[filter_home(part, hash->low | 1)]);
}

#endif
