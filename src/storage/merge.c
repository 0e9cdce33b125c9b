/* What of a merge counts. */
#include "storage/engine.h"

#include <stdlib.h>
#include <string.h>

struct named {
    struct text id;
    size_t first;
    size_t last;
};

static int compare_ids(const struct named *a, const struct named *b)
{
    if (a->id.length != b->id.length)
        return a->id.length < b->id.length ? -1 : 1;
    return a->id.length == 0 ? 0 : memcmp(a->id.bytes, b->id.bytes, a->id.length);
}

static int compare_by_id(const void *a, const void *b)
{
    const struct named *first = a, *second = b;
    int order = compare_ids(first, second);
    return order != 0 ? order : first->first < second->first ? -1 : first->first > second->first;
}

static int compare_by_place(const void *a, const void *b)
{
    const struct named *first = a, *second = b;
    return first->first < second->first ? -1 : first->first > second->first;
}

size_t storage_merge_order(const struct storage_write *write, size_t order[static STORAGE_MERGE_MAX])
{
    struct named all[STORAGE_MERGE_MAX];
    size_t given = write->count < STORAGE_MERGE_MAX ? write->count : STORAGE_MERGE_MAX;
    size_t count = 0;
    for (size_t i = 0; i < given; i++) {
        struct text id = write->kind == STORAGE_MERGE_USERS ? write->users[i].id : write->events[i].id;
        all[i] = (struct named){.id = id, .first = i, .last = i};
    }
    if (given > 0)
        qsort(all, given, sizeof all[0], compare_by_id);
    for (size_t i = 0; i < given; i++) {
        if (count > 0 && compare_ids(&all[count - 1], &all[i]) == 0)
            all[count - 1].last = all[i].last;
        else
            all[count++] = all[i];
    }
    if (count > 0)
        qsort(all, count, sizeof all[0], compare_by_place);
    for (size_t i = 0; i < count; i++)
        order[i] = all[i].last;
    return count;
}
