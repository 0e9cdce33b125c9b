/* A list of numbers that grows at its end and is read from its front, in pieces that double up to 4 KiB, so that neither
 * few nor very many waste much, and nothing is ever moved.
 *
 * Whoever owns the struct owns the pieces. Not locked: see metrics_internal.h.
 */
#ifndef METRICS_NUMBERS_H
#define METRICS_NUMBERS_H

#include "base/budget.h"

struct numbers_piece {
    struct numbers_piece *next;
    uint32_t count;
    uint32_t capacity;
    uint32_t values[];
};

struct numbers {
    struct numbers_piece *first;
    struct numbers_piece *last;
};

/* Makes sure that one number can be appended. False when there is no memory for it. */
bool numbers_reserve(struct numbers *numbers, struct budget *budget);

/* Appends to what numbers_reserve made room for. */
static inline void numbers_append(struct numbers *numbers, uint32_t value)
{
    numbers->last->values[numbers->last->count++] = value;
}

/* Moves all of `from` behind what is in `to`. */
void numbers_move(struct numbers *to, struct numbers *from);

/* Frees the first piece, which must exist. */
void numbers_drop_piece(struct numbers *numbers, struct budget *budget);

void numbers_free(struct numbers *numbers, struct budget *budget);

#endif
