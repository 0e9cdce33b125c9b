#include "base/table.h"

#include <stdlib.h>

enum { FIRST_BUCKET_COUNT = 2 };

struct table_link *table_find(const struct table *table, uint64_t hash,
                              bool (*matches)(const struct table_link *link, const void *wanted),
                              const void *wanted)
{
    if (table->bucket_count == 0)
        return NULL;
    struct table_link *link = table->buckets[hash & (table->bucket_count - 1)];
    while (link != NULL && (link->hash != hash || !matches(link, wanted)))
        link = link->next;
    return link;
}

static void push_front(struct table_link **buckets, size_t bucket_count, struct table_link *link)
{
    struct table_link **bucket = &buckets[link->hash & (bucket_count - 1)];
    link->next = *bucket;
    *bucket = link;
}

static void move_all(struct table *table, struct table_link **buckets, size_t bucket_count)
{
    for (size_t i = 0; i < table->bucket_count; i++) {
        struct table_link *next;
        for (struct table_link *link = table->buckets[i]; link != NULL; link = next) {
            next = link->next;
            push_front(buckets, bucket_count, link);
        }
    }
}

int table_reserve(struct table *table)
{
    if (table->count < table->bucket_count)
        return 0;
    size_t bucket_count = table->bucket_count == 0 ? FIRST_BUCKET_COUNT : table->bucket_count * 2;
    struct table_link **buckets = calloc(bucket_count, sizeof(*buckets));
    if (buckets == NULL)
        return table->bucket_count == 0 ? -1 : 0;
    move_all(table, buckets, bucket_count);
    free(table->buckets);
    table->buckets = buckets;
    table->bucket_count = bucket_count;
    return 0;
}

void table_add(struct table *table, struct table_link *link, uint64_t hash)
{
    link->hash = hash;
    push_front(table->buckets, table->bucket_count, link);
    table->count++;
}

void table_remove(struct table *table, struct table_link *link)
{
    struct table_link **at = &table->buckets[link->hash & (table->bucket_count - 1)];
    while (*at != link)
        at = &(*at)->next;
    *at = link->next;
    table->count--;
    if (table->count == 0) {
        free(table->buckets);
        *table = TABLE_EMPTY;
    }
}

struct table_link *table_next(const struct table *table, const struct table_link *link)
{
    size_t bucket = 0;
    if (link != NULL) {
        if (link->next != NULL)
            return link->next;
        bucket = (link->hash & (table->bucket_count - 1)) + 1;
    }
    for (; bucket < table->bucket_count; bucket++) {
        if (table->buckets[bucket] != NULL)
            return table->buckets[bucket];
    }
    return NULL;
}

size_t table_bytes(const struct table *table)
{
    return table->bucket_count * sizeof(struct table_link *);
}
