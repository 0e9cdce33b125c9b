#include "metrics/filter.h"

#include <string.h>

enum { STAMP_BITS = 24, SMALLEST_CAPACITY = 4 };

#define STAMP_MASK ((UINT64_C(1) << STAMP_BITS) - 1)

void filter_init(struct filter *filter, struct budget *budget)
{
    memset(filter, 0, sizeof *filter);
    filter->budget = budget;
}

static void free_entries(struct filter *filter, struct filter_part *part)
{
    budget_free(filter->budget, part->entries, part->capacity * sizeof part->entries[0]);
}

void filter_free(struct filter *filter)
{
    for (size_t i = 0; i < FILTER_PARTS; i++)
        free_entries(filter, &filter->parts[i]);
    filter_init(filter, filter->budget);
}

/* The part comes from the low end of hash->high, which the entry therefore leaves out. */
static struct filter_entry entry_of(const struct hash_128 *hash, int64_t last_s)
{
    return (struct filter_entry){.low = hash->low | 1,
                                 .high = (hash->high & ~STAMP_MASK) | ((uint64_t)last_s & STAMP_MASK)};
}

static bool same_hash(struct filter_entry a, struct filter_entry b)
{
    return a.low == b.low && (a.high & ~STAMP_MASK) == (b.high & ~STAMP_MASK);
}

/* Whether the entry's second, of which only 24 bits are known, is this one or yet to come. */
static bool is_live(struct filter_entry entry, int64_t now_s)
{
    return ((entry.high - (uint64_t)now_s) & STAMP_MASK) <= FILTER_LONGEST_S;
}

bool filter_has(const struct filter *filter, const struct hash_128 *hash, int64_t now_s)
{
    const struct filter_part *part = filter_part_of(filter, hash);
    struct filter_entry wanted = entry_of(hash, 0);
    if (part->capacity == 0)
        return false;
    for (uint32_t i = filter_home(part, wanted.low); part->entries[i].low != 0;) {
        if (same_hash(part->entries[i], wanted) && is_live(part->entries[i], now_s))
            return true;
        i = i + 1 == part->capacity ? 0 : i + 1;
    }
    return false;
}

static void place(struct filter_part *part, struct filter_entry entry)
{
    uint32_t i = filter_home(part, entry.low);
    while (part->entries[i].low != 0)
        i = i + 1 == part->capacity ? 0 : i + 1;
    part->entries[i] = entry;
    part->count++;
}

static uint32_t count_live(const struct filter_part *part, int64_t now_s)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < part->capacity; i++)
        count += part->entries[i].low != 0 && is_live(part->entries[i], now_s);
    return count;
}

/* Moves what is live into entries of its own size: half as many again as are in use, or more. */
static bool rebuild(struct filter *filter, struct filter_part *part, uint32_t live, int64_t now_s)
{
    struct filter_part rebuilt = {.capacity = live < SMALLEST_CAPACITY / 2 ? SMALLEST_CAPACITY : live * 2};
    rebuilt.entries = budget_allocate(filter->budget, rebuilt.capacity * sizeof rebuilt.entries[0]);
    if (rebuilt.entries == NULL)
        return false;
    for (uint32_t i = 0; i < part->capacity; i++) {
        if (part->entries[i].low != 0 && is_live(part->entries[i], now_s))
            place(&rebuilt, part->entries[i]);
    }
    free_entries(filter, part);
    *part = rebuilt;
    return true;
}

/* At most three quarters are in use, else searches become long. */
static bool has_room(const struct filter_part *part)
{
    return (uint64_t)(part->count + 1) * 4 <= (uint64_t)part->capacity * 3;
}

bool filter_reserve(struct filter *filter, const struct hash_128 *hash, int64_t now_s)
{
    struct filter_part *part = filter_part_of(filter, hash);
    if (has_room(part))
        return true;
    return rebuild(filter, part, count_live(part, now_s), now_s);
}

void filter_add(struct filter *filter, const struct hash_128 *hash, int64_t last_s)
{
    place(filter_part_of(filter, hash), entry_of(hash, last_s));
}

static void sweep_part(struct filter *filter, struct filter_part *part, int64_t now_s)
{
    uint32_t live = count_live(part, now_s);
    if (live == 0) {
        free_entries(filter, part);
        *part = (struct filter_part){.count = 0};
    } else if (live < part->count - part->count / 8 || live < part->capacity / 4) {
        rebuild(filter, part, live, now_s); /* without memory it stays as it is until the next time */
    }
}

void filter_sweep(struct filter *filter, int64_t now_s, uint32_t part_count)
{
    for (uint32_t i = 0; i < part_count; i++) {
        struct filter_part *part = &filter->parts[filter->next_swept];
        if (part->capacity > 0)
            sweep_part(filter, part, now_s);
        filter->next_swept = (filter->next_swept + 1) % FILTER_PARTS;
    }
}

uint64_t filter_count(const struct filter *filter, int64_t now_s)
{
    uint64_t count = 0;
    for (size_t i = 0; i < FILTER_PARTS; i++)
        count += count_live(&filter->parts[i], now_s);
    return count;
}
