/* A tally: how many events of each value (a plan, a region, a type) there are in each second of a ring.
 *
 * Values are small numbers. A second's row is an array of counts for the values below 1,024, and a list of numbers for
 * those above, one for each event; beside the rows there is for every 32 seconds, a block, the sum of its rows. So a
 * window is summed from at most 62 rows and the blocks between, whatever the number of events; only values from the
 * 1,024th on cost something for each event of the window's two edges.
 *
 * Places of the ring are numbered from 0; their number is a power of two and at least 32. Whoever owns the struct owns
 * the rows. Not locked: see metrics_internal.h.
 */
#ifndef METRICS_TALLY_H
#define METRICS_TALLY_H

#include "base/budget.h"
#include "metrics/numbers.h"

enum { TALLY_BLOCK = 32, TALLY_ARRAY = 1024 };

struct tally_row {
    uint32_t *counts;
    uint32_t capacity;
    struct numbers others;
};

struct tally_block {
    uint32_t *counts;
    uint32_t capacity;
};

struct tally {
    struct budget *budget;
    uint32_t places;
    struct tally_row *rows;
    struct tally_block *blocks;
};

/* False when there is no memory for the ring; the tally is then as after tally_free. */
bool tally_init(struct tally *tally, struct budget *budget, uint32_t places);
void tally_free(struct tally *tally);

/* Makes sure that one event of `value` can be added at `place`. False when there is no memory for it. */
bool tally_reserve(struct tally *tally, uint32_t place, uint32_t value);

/* Counts an event for which tally_reserve has made room. Can't fail. */
static inline void tally_add(struct tally *tally, uint32_t place, uint32_t value)
{
    struct tally_row *row = &tally->rows[place];
    if (value < TALLY_ARRAY)
        row->counts[value]++;
    else
        numbers_append(&row->others, value);
    tally->blocks[place / TALLY_BLOCK].counts[value]++;
}

/* Forgets the events at `place`. `forget`, unless it is NULL, is told how many of each value; a value may come several
 * times. */
void tally_clear(struct tally *tally, uint32_t place,
                 void (*forget)(void *context, uint32_t value, uint32_t count), void *context);

/* Adds the counts of `length` places from `first` on, around the ring, to counts[value]; those of values from
 * `count_length` on are left out. */
void tally_sum(const struct tally *tally, uint32_t first, uint32_t length, uint64_t *counts,
               uint32_t count_length);

#endif
