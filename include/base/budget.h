/* A limit on bytes that several modules share: who allocates, asks here.
 *
 * Counted is what the allocator takes for a block, its own word and the rounding included. Blocks from 16 KiB on come
 * from the system and go back to it: the allocator would keep them in a heap that small blocks then cut to pieces (ten
 * million events: 750 MB resident for 320 MB in use). The owner of the struct keeps
 * it until every block has been given back. No lock: the count is atomic, so blocks may be taken and given back by any
 * threads. Nothing takes the count beyond the limit.
 */
#ifndef BASE_BUDGET_H
#define BASE_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct budget {
    uint64_t limit_bytes;
    atomic_uint_fast64_t used_bytes;
};

void budget_init(struct budget *budget, uint64_t limit_bytes);

uint64_t budget_used(struct budget *budget);

/* Whether a block would fit now. */
bool budget_has_room(struct budget *budget, size_t bytes);

/* Counts a block that others allocate. False when it does not fit. */
bool budget_take(struct budget *budget, size_t bytes);
void budget_give_back(struct budget *budget, size_t bytes);

/* A block of zeros. NULL when it does not fit, or the system has no memory. */
void *budget_allocate(struct budget *budget, size_t bytes);

/* Makes a block of `old_bytes` (NULL for 0) larger; what is new is not set. NULL as above, with the old one as it was. */
void *budget_grow(struct budget *budget, void *block, size_t old_bytes, size_t bytes);

/* Gives a block of `bytes` back. Takes NULL. */
void budget_free(struct budget *budget, void *block, size_t bytes);

#endif
