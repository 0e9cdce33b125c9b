#include "metrics/budget.h"

#include <stdlib.h>

enum { BLOCK_WORD = 8, BLOCK_UNIT = 16, SMALLEST_BLOCK = 32 };

/* What glibc's allocator takes for a block. */
static uint64_t block_bytes(size_t bytes)
{
    uint64_t size = ((uint64_t)bytes + BLOCK_WORD + BLOCK_UNIT - 1) / BLOCK_UNIT * BLOCK_UNIT;
    return size < SMALLEST_BLOCK ? SMALLEST_BLOCK : size;
}

void budget_init(struct budget *budget, uint64_t limit_bytes)
{
    budget->limit_bytes = limit_bytes;
    atomic_init(&budget->used_bytes, 0);
}

uint64_t budget_used(struct budget *budget)
{
    return atomic_load_explicit(&budget->used_bytes, memory_order_relaxed);
}

static bool take(struct budget *budget, uint64_t bytes)
{
    uint64_t used = atomic_load_explicit(&budget->used_bytes, memory_order_relaxed);
    do {
        if (bytes > budget->limit_bytes || used > budget->limit_bytes - bytes)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&budget->used_bytes, &used, used + bytes,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

static void give_back(struct budget *budget, uint64_t bytes)
{
    atomic_fetch_sub_explicit(&budget->used_bytes, bytes, memory_order_relaxed);
}

bool budget_take(struct budget *budget, size_t bytes)
{
    return take(budget, block_bytes(bytes));
}

void budget_give_back(struct budget *budget, size_t bytes)
{
    give_back(budget, block_bytes(bytes));
}

void *budget_allocate(struct budget *budget, size_t bytes)
{
    if (!budget_take(budget, bytes))
        return NULL;
    void *block = calloc(1, bytes);
    if (block == NULL)
        budget_give_back(budget, bytes);
    return block;
}

void *budget_grow(struct budget *budget, void *block, size_t old_bytes, size_t bytes)
{
    if (!budget_take(budget, bytes))
        return NULL;
    void *grown = realloc(block, bytes);
    if (grown == NULL)
        budget_give_back(budget, bytes);
    else if (block != NULL)
        budget_give_back(budget, old_bytes);
    return grown;
}

void budget_free(struct budget *budget, void *block, size_t bytes)
{
    if (block == NULL)
        return;
    free(block);
    budget_give_back(budget, bytes);
}
