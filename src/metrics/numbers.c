#include "metrics/numbers.h"

enum { FIRST_CAPACITY = 4, LARGEST_CAPACITY = 1020 };

static size_t piece_bytes(uint32_t capacity)
{
    return sizeof(struct numbers_piece) + capacity * sizeof(uint32_t);
}

bool numbers_reserve(struct numbers *numbers, struct budget *budget)
{
    struct numbers_piece *last = numbers->last;
    if (last != NULL && last->count < last->capacity)
        return true;
    uint32_t capacity = last == NULL ? FIRST_CAPACITY : last->capacity * 2;
    if (capacity > LARGEST_CAPACITY)
        capacity = LARGEST_CAPACITY;
    struct numbers_piece *piece = budget_allocate(budget, piece_bytes(capacity));
    if (piece == NULL)
        return false;
    piece->capacity = capacity;
    if (last == NULL)
        numbers->first = piece;
    else
        last->next = piece;
    numbers->last = piece;
    return true;
}

void numbers_move(struct numbers *to, struct numbers *from)
{
    if (from->first == NULL)
        return;
    if (to->last == NULL)
        to->first = from->first;
    else
        to->last->next = from->first;
    to->last = from->last;
    *from = (struct numbers){.first = NULL};
}

void numbers_drop_piece(struct numbers *numbers, struct budget *budget)
{
    struct numbers_piece *piece = numbers->first;
    numbers->first = piece->next;
    if (numbers->first == NULL)
        numbers->last = NULL;
    budget_free(budget, piece, piece_bytes(piece->capacity));
}

void numbers_free(struct numbers *numbers, struct budget *budget)
{
    while (numbers->first != NULL)
        numbers_drop_piece(numbers, budget);
}
