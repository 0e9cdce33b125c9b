/* How many distinct users there are, up to a bound: a set of 64-bit keyed hashes, 16 bytes a user. Two users who share one count
 * as one; of a million that happens once in 30 million runs. The struct is the caller's; one thread. */
#ifndef LIVE_USERS_H
#define LIVE_USERS_H

#include "base/hash.h"
#include "base/text.h"

#include <stddef.h>
#include <stdint.h>

struct users {
    struct hash_seed seed;
    uint64_t *hashes; /* open addressing; 0: free */
    size_t capacity;  /* a power of two */
    size_t count;
    size_t most;
};

/* Counts at most `most`. Returns 0, or -1 with errno. */
int users_init(struct users *users, size_t most);
void users_free(struct users *users);

/* Without memory for it the user is not counted. */
void users_add(struct users *users, struct text user);

size_t users_count(const struct users *users);

#endif
