/* A keyed hash for tables whose keys come from strangers.
 *
 * SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012): without the seed nobody can choose
 * names that fall into one bucket. The 128-bit result can stand for the text itself: two texts that share one will not
 * be met. Pure functions; any number of threads.
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include "base/text.h"

#include <stdint.h>

struct hash_seed {
    uint64_t low;
    uint64_t high;
};

/* Draws a seed from the system's random source. Returns 0, or -1 with errno. */
int hash_seed_draw(struct hash_seed *seed);

struct hash_128 {
    uint64_t low;
    uint64_t high;
};

uint64_t hash_text(const struct hash_seed *seed, struct text text);

/* SipHash-2-4-128: another function, not a longer hash_text. */
struct hash_128 hash_text_128(const struct hash_seed *seed, struct text text);

#endif
