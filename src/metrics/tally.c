#include "metrics/tally.h"

#include <string.h>

enum { SMALLEST_CAPACITY = 16 };

bool tally_init(struct tally *tally, struct budget *budget, uint32_t places)
{
    *tally = (struct tally){.budget = budget, .places = places};
    tally->rows = budget_allocate(budget, places * sizeof tally->rows[0]);
    tally->blocks = budget_allocate(budget, places / TALLY_BLOCK * sizeof tally->blocks[0]);
    if (tally->rows != NULL && tally->blocks != NULL)
        return true;
    tally_free(tally);
    return false;
}

static void free_row(struct tally *tally, struct tally_row *row)
{
    budget_free(tally->budget, row->counts, row->capacity * sizeof row->counts[0]);
    numbers_free(&row->others, tally->budget);
    *row = (struct tally_row){.counts = NULL};
}

static void free_block(struct tally *tally, struct tally_block *block)
{
    budget_free(tally->budget, block->counts, block->capacity * sizeof block->counts[0]);
    *block = (struct tally_block){.counts = NULL};
}

void tally_free(struct tally *tally)
{
    for (uint32_t place = 0; tally->rows != NULL && place < tally->places; place++)
        free_row(tally, &tally->rows[place]);
    for (uint32_t i = 0; tally->blocks != NULL && i < tally->places / TALLY_BLOCK; i++)
        free_block(tally, &tally->blocks[i]);
    budget_free(tally->budget, tally->rows, tally->places * sizeof tally->rows[0]);
    budget_free(tally->budget, tally->blocks, tally->places / TALLY_BLOCK * sizeof tally->blocks[0]);
    *tally = (struct tally){.budget = tally->budget};
}

/* Makes an array of counts long enough for `value`. */
static bool reserve_count(struct budget *budget, uint32_t **counts, uint32_t *capacity, uint32_t value)
{
    uint32_t wanted = *capacity == 0 ? SMALLEST_CAPACITY : *capacity;
    if (value < *capacity)
        return true;
    while (wanted <= value)
        wanted *= 2;
    uint32_t *grown = budget_grow(budget, *counts, *capacity * sizeof **counts, wanted * sizeof **counts);
    if (grown == NULL)
        return false;
    memset(grown + *capacity, 0, (wanted - *capacity) * sizeof **counts);
    *counts = grown;
    *capacity = wanted;
    return true;
}

bool tally_reserve(struct tally *tally, uint32_t place, uint32_t value)
{
    struct tally_row *row = &tally->rows[place];
    struct tally_block *block = &tally->blocks[place / TALLY_BLOCK];
    if (!reserve_count(tally->budget, &block->counts, &block->capacity, value))
        return false;
    if (value < TALLY_ARRAY)
        return reserve_count(tally->budget, &row->counts, &row->capacity, value);
    return numbers_reserve(&row->others, tally->budget);
}

/* Whether none of the rows of a place's block holds anything. */
static bool block_is_empty(const struct tally *tally, uint32_t place)
{
    uint32_t first = place / TALLY_BLOCK * TALLY_BLOCK;
    for (uint32_t i = first; i < first + TALLY_BLOCK; i++) {
        if (tally->rows[i].counts != NULL || tally->rows[i].others.first != NULL)
            return false;
    }
    return true;
}

void tally_clear(struct tally *tally, uint32_t place,
                 void (*forget)(void *context, uint32_t value, uint32_t count), void *context)
{
    struct tally_row *row = &tally->rows[place];
    struct tally_block *block = &tally->blocks[place / TALLY_BLOCK];
    for (uint32_t value = 0; value < row->capacity; value++) {
        uint32_t count = row->counts[value];
        if (count == 0)
            continue;
        block->counts[value] -= count;
        if (forget != NULL)
            forget(context, value, count);
    }
    for (struct numbers_piece *piece = row->others.first; piece != NULL; piece = piece->next) {
        for (uint32_t i = 0; i < piece->count; i++) {
            block->counts[piece->values[i]]--;
            if (forget != NULL)
                forget(context, piece->values[i], 1);
        }
    }
    free_row(tally, row);
    if (block_is_empty(tally, place))
        free_block(tally, block);
}

static void sum_counts(const uint32_t *from, uint32_t capacity, uint64_t *counts, uint32_t count_length)
{
    uint32_t length = capacity < count_length ? capacity : count_length;
    for (uint32_t value = 0; value < length; value++)
        counts[value] += from[value];
}

static void sum_row(const struct tally_row *row, uint64_t *counts, uint32_t count_length)
{
    sum_counts(row->counts, row->capacity, counts, count_length);
    for (struct numbers_piece *piece = row->others.first; piece != NULL; piece = piece->next) {
        for (uint32_t i = 0; i < piece->count; i++) {
            if (piece->values[i] < count_length)
                counts[piece->values[i]]++;
        }
    }
}

void tally_sum(const struct tally *tally, uint32_t first, uint32_t length, uint64_t *counts,
               uint32_t count_length)
{
    uint32_t place = first;
    while (length > 0) {
        uint32_t step = 1;
        if (place % TALLY_BLOCK == 0 && length >= TALLY_BLOCK) {
            const struct tally_block *block = &tally->blocks[place / TALLY_BLOCK];
            step = TALLY_BLOCK;
            sum_counts(block->counts, block->capacity, counts, count_length);
        } else {
            sum_row(&tally->rows[place], counts, count_length);
        }
        place = (place + step) & (tally->places - 1);
        length -= step;
    }
}
