#include "base/hash.h"

#include <string.h>
#include <sys/random.h>

struct state {
    uint64_t v0, v1, v2, v3;
};

int hash_seed_draw(struct hash_seed *seed)
{
    return getrandom(seed, sizeof *seed, 0) == (ssize_t)sizeof *seed ? 0 : -1;
}

static uint64_t rotate(uint64_t value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

static void sip_rounds(struct state *s, unsigned count)
{
    while (count-- > 0) {
        s->v0 += s->v1;
        s->v1 = rotate(s->v1, 13) ^ s->v0;
        s->v0 = rotate(s->v0, 32);
        s->v2 += s->v3;
        s->v3 = rotate(s->v3, 16) ^ s->v2;
        s->v0 += s->v3;
        s->v3 = rotate(s->v3, 21) ^ s->v0;
        s->v2 += s->v1;
        s->v1 = rotate(s->v1, 17) ^ s->v2;
        s->v2 = rotate(s->v2, 32);
    }
}

static void absorb(struct state *s, uint64_t word)
{
    s->v3 ^= word;
    sip_rounds(s, 2);
    s->v0 ^= word;
}

/* Eight bytes as a little-endian number: compilers make one load of it. */
static uint64_t word_at(const unsigned char *bytes)
{
    return (uint64_t)bytes[0] | (uint64_t)bytes[1] << 8 | (uint64_t)bytes[2] << 16 |
           (uint64_t)bytes[3] << 24 | (uint64_t)bytes[4] << 32 | (uint64_t)bytes[5] << 40 |
           (uint64_t)bytes[6] << 48 | (uint64_t)bytes[7] << 56;
}

static uint64_t last_word(const unsigned char *bytes, size_t left, size_t length)
{
    uint64_t word = (uint64_t)length << 56;
    for (size_t i = 0; i < left; i++)
        word |= (uint64_t)bytes[i] << (8 * i);
    return word;
}

static struct state begin(const struct hash_seed *seed)
{
    return (struct state){
        .v0 = seed->low ^ UINT64_C(0x736f6d6570736575),
        .v1 = seed->high ^ UINT64_C(0x646f72616e646f6d),
        .v2 = seed->low ^ UINT64_C(0x6c7967656e657261),
        .v3 = seed->high ^ UINT64_C(0x7465646279746573),
    };
}

static void absorb_text(struct state *s, struct text text)
{
    const unsigned char *bytes = (const unsigned char *)text.bytes;
    size_t left = text.length;
    for (; left >= 8; bytes += 8, left -= 8)
        absorb(s, word_at(bytes));
    absorb(s, last_word(bytes, left, text.length));
}

static uint64_t finish(struct state *s)
{
    sip_rounds(s, 4);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

uint64_t hash_text(const struct hash_seed *seed, struct text text)
{
    struct state s = begin(seed);
    absorb_text(&s, text);
    s.v2 ^= 0xFF;
    return finish(&s);
}

struct hash_128 hash_text_128(const struct hash_seed *seed, struct text text)
{
    struct state s = begin(seed);
    s.v1 ^= 0xEE;
    absorb_text(&s, text);
    s.v2 ^= 0xEE;
    struct hash_128 hash;
    hash.low = finish(&s);
    s.v1 ^= 0xDD;
    hash.high = finish(&s);
    return hash;
}
