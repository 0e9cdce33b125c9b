/* An intrusive hash table: the elements bring their links along, the table knows nothing else of them.
 *
 * uthash would cost a million one-event keys some 700 bytes each for their tables of groups (a header and 32
 * buckets before the first element); this one costs 24 bytes until something is in it. Chained, a power of
 * two of buckets, doubled when there is more than one element a bucket; it never shrinks but to nothing, when
 * it is empty.
 *
 * Not locked: whoever owns the table says which lock guards it. The elements stay the caller's.
 */
#ifndef BASE_TABLE_H
#define BASE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table_link {
    struct table_link *next;
    uint64_t hash;
};

struct table {
    struct table_link **buckets;
    size_t bucket_count;
    size_t count;
};

#define TABLE_EMPTY                                                                                          \
    (struct table)                                                                                           \
    {                                                                                                        \
        .buckets = NULL                                                                                      \
    }

/* The element that `link` is the member `member` of. */
#define TABLE_ELEMENT(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

/* Finds the element with `hash` for which `matches(link, wanted)` is true, or NULL. */
struct table_link *table_find(const struct table *table, uint64_t hash,
                              bool (*matches)(const struct table_link *link, const void *wanted),
                              const void *wanted);

/* Makes sure that the next table_add has buckets. Returns 0, or -1 without memory (only for the very first: a
 * table that can't grow goes on with longer chains). */
int table_reserve(struct table *table);

/* Adds `link` under `hash`. The caller has called table_reserve since the last change. Can't fail. */
void table_add(struct table *table, struct table_link *link, uint64_t hash);

/* Takes `link`, which must be in the table, out. Gives the buckets back when it was the last. */
void table_remove(struct table *table, struct table_link *link);

/* Walks through all elements in no particular order: the first with NULL, then the one after `link`; NULL at
 * the end. The table must not change meanwhile, except that an element may be removed once its successor is
 * known. */
struct table_link *table_next(const struct table *table, const struct table_link *link);

/* The bytes that the buckets take. */
size_t table_bytes(const struct table *table);

#endif
