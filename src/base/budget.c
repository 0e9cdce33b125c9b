#include "base/budget.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    BLOCK_WORD = 8,
    BLOCK_UNIT = 16,
    SMALLEST_BLOCK = 32,
    PAGE_BYTES = 4096,
    LARGE_BLOCK = 16 * 1024,
};

static bool is_large(size_t bytes)
{
    return bytes >= LARGE_BLOCK;
}

/* What the allocator, or the system, takes for a block. */
static uint64_t block_bytes(size_t bytes)
{
    if (is_large(bytes))
        return ((uint64_t)bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
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

bool budget_has_room(struct budget *budget, size_t bytes)
{
    uint64_t used = budget_used(budget);
    return used <= budget->limit_bytes && block_bytes(bytes) <= budget->limit_bytes - used;
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

/* The pages are had at once: read before they are written, each would be faulted in twice. */
static void *map(size_t bytes)
{
    void *block =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    return block == MAP_FAILED ? NULL : block;
}

void *budget_allocate(struct budget *budget, size_t bytes)
{
    if (!budget_take(budget, bytes))
        return NULL;
    void *block = is_large(bytes) ? map(bytes) : calloc(1, bytes);
    if (block == NULL)
        budget_give_back(budget, bytes);
    return block;
}

/* ThreadSanitizer does not know that mremap gives the old addresses back: it would take who gets them next for a racer. */
#if defined(__SANITIZE_THREAD__)
enum { HAS_MREMAP = false };
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
enum { HAS_MREMAP = false };
#else
enum { HAS_MREMAP = true };
#endif
#else
enum { HAS_MREMAP = true };
#endif

/* Makes a block, which may be NULL, a large one or a larger one. */
static void *move(void *block, size_t old_bytes, size_t bytes)
{
    if (is_large(old_bytes) && HAS_MREMAP) {
        void *grown = mremap(block, old_bytes, bytes, MREMAP_MAYMOVE);
        return grown == MAP_FAILED ? NULL : grown;
    }
    void *grown = map(bytes);
    if (grown == NULL)
        return NULL;
    if (old_bytes > 0)
        memcpy(grown, block, old_bytes);
    if (is_large(old_bytes))
        munmap(block, old_bytes);
    else
        free(block);
    return grown;
}

void *budget_grow(struct budget *budget, void *block, size_t old_bytes, size_t bytes)
{
    if (!budget_take(budget, bytes))
        return NULL;
    void *grown = is_large(bytes) ? move(block, old_bytes, bytes) : realloc(block, bytes);
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
    if (is_large(bytes))
        munmap(block, bytes);
    else
        free(block);
    budget_give_back(budget, bytes);
}
