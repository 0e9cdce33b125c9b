/* The ledger of a stress test, and its checks. */
#include <stdlib.h>

#include "kit_ledger.h"

void ledger_group_init(struct ledger_group *group, struct kit *kit, int key, int64_t id_max)
{
    *group = (struct ledger_group){.key = key, .id_max = id_max};
    pthread_mutex_init(&group->mutex, NULL);
    group->sightings = kit_allocate(kit, (size_t)(id_max + 1) * sizeof *group->sightings);
}

void ledger_group_destroy(struct ledger_group *group)
{
    free(group->cuts);
    group->cuts = NULL;
    pthread_mutex_destroy(&group->mutex);
}

const char *ledger_see_locked(struct ledger_group *group, int64_t id, int producer, int number)
{
    if (id < 1 || id > group->id_max)
        return "there can't be such an id";
    struct ledger_sighting *seen = &group->sightings[id];
    if (seen->count > 0)
        return "seen twice";
    *seen = (struct ledger_sighting){
        .producer = producer, .number = number, .count = 1, .seen_at_ms = kit_now_ms()};
    if (id > group->last_id)
        group->last_id = id;
    return NULL;
}

int ledger_note_cut(struct ledger_group *group, struct ledger_cut cut)
{
    pthread_mutex_lock(&group->mutex);
    struct ledger_cut *more = realloc(group->cuts, (group->cut_count + 1) * sizeof *more);
    if (more != NULL) {
        group->cuts = more;
        group->cuts[group->cut_count++] = cut;
    }
    pthread_mutex_unlock(&group->mutex);
    return more != NULL ? 0 : -1;
}

/* The id under which each event of a producer is stored in the key, 0 for none. */
static int64_t *find_ids(const struct ledger *ledger, const struct ledger_group *whole, int producer)
{
    int64_t *ids = kit_allocate(ledger->kit, (size_t)ledger->events * sizeof *ids);
    for (int64_t id = 1; id <= whole->last_id; id++) {
        const struct ledger_sighting *seen = &whole->sightings[id];
        if (seen->producer != producer)
            continue;
        if (ids[seen->number] != 0)
            kit_fail(ledger->kit, "event %d of producer %d is stored twice: %lld and %lld", seen->number,
                     producer, (long long)ids[seen->number], (long long)id);
        ids[seen->number] = id;
    }
    return ids;
}

static void check_producer(const struct ledger *ledger, const struct ledger_group *whole, int producer)
{
    const int64_t *ids = find_ids(ledger, whole, producer);
    int64_t last_id = 0;
    for (int number = 0; number < ledger->events; number++) {
        const struct ledger_push *push = &ledger->pushes[producer][number];
        bool is_here = ids[number] != 0, stored = push->certainty == LEDGER_STORED;
        if (push->key != whole->key ? is_here : push->certainty == LEDGER_NEVER && is_here)
            kit_fail(ledger->kit, "event %d of producer %d was not pushed to key %d", number, producer,
                     whole->key);
        if (push->key != whole->key || !stored)
            continue;
        if (!is_here)
            kit_fail(ledger->kit, "event %d of producer %d is lost", number, producer);
        if (push->id != 0 && push->id != ids[number])
            kit_fail(ledger->kit, "event %d of producer %d has id %lld, its producer was told %lld", number,
                     producer, (long long)ids[number], (long long)push->id);
        if (ids[number] <= last_id)
            kit_fail(ledger->kit, "event %d of producer %d is out of order", number, producer);
        last_id = ids[number];
    }
}

int64_t ledger_check_whole(const struct ledger *ledger, const struct ledger_group *whole)
{
    for (int64_t id = 1; id <= whole->last_id; id++)
        if (whole->sightings[id].count != 1)
            kit_fail(ledger->kit, "key %d: id %lld is missing", whole->key, (long long)id);
    for (int producer = 0; producer < ledger->producer_count; producer++)
        check_producer(ledger, whole, producer);
    return whole->last_id;
}

/* Every sighting of the group is of the event that the whole group knows by that id. */
static void check_origins(const struct ledger *ledger, const struct ledger_group *group,
                          const struct ledger_group *whole)
{
    if (group->last_id > whole->last_id)
        kit_fail(ledger->kit, "key %d: id %lld was seen by one group only", group->key,
                 (long long)group->last_id);
    for (int64_t id = 1; id <= group->last_id; id++) {
        const struct ledger_sighting *seen = &group->sightings[id], *known = &whole->sightings[id];
        if (seen->count > 0 && (seen->producer != known->producer || seen->number != known->number))
            kit_fail(ledger->kit, "key %d: id %lld is another event in another group", group->key,
                     (long long)id);
    }
}

void ledger_check_same(const struct ledger *ledger, const struct ledger_group *group,
                       const struct ledger_group *whole)
{
    check_origins(ledger, group, whole);
    for (int64_t id = 1; id <= whole->last_id; id++)
        if (group->sightings[id].count != 1)
            kit_fail(ledger->kit, "key %d: a group has never seen id %lld", group->key, (long long)id);
}

/* A missing event was in a cut request's hands when a later one was handed out: due from its push to the
 * first sighting of any event behind it. */
static bool was_cut_between(const struct ledger_group *group, int64_t from_ms, int64_t to_ms,
                            int64_t noticed_ms)
{
    for (size_t i = 0; i < group->cut_count; i++)
        if (group->cuts[i].sent_at_ms <= to_ms && group->cuts[i].closed_at_ms + noticed_ms >= from_ms)
            return true;
    return false;
}

/* The events that requests may have taken with them that were cut at that time or later. */
static size_t cut_room(const struct ledger_group *group, int64_t from_ms, int64_t noticed_ms)
{
    size_t room = 0;
    for (size_t i = 0; i < group->cut_count; i++)
        if (group->cuts[i].closed_at_ms + noticed_ms >= from_ms)
            room += (size_t)group->cuts[i].limit;
    return room;
}

size_t ledger_check_cut(const struct ledger *ledger, const struct ledger_group *group,
                        const struct ledger_group *whole, int64_t noticed_ms)
{
    size_t missing = 0;
    int64_t next_seen_at_ms = INT64_MAX;
    check_origins(ledger, group, whole);
    /* From the newest down: what is missing so far must fit into the cuts that came late enough. */
    for (int64_t id = whole->last_id; id >= 1; id--) {
        const struct ledger_sighting *seen = &group->sightings[id], *known = &whole->sightings[id];
        if (seen->count > 0) {
            if (seen->seen_at_ms < next_seen_at_ms)
                next_seen_at_ms = seen->seen_at_ms;
            continue;
        }
        int64_t pushed_at_ms = ledger->pushes[known->producer][known->number].started_at_ms;
        missing++;
        if (!was_cut_between(group, pushed_at_ms, next_seen_at_ms, noticed_ms))
            kit_fail(ledger->kit, "key %d: id %lld is lost, and no request was cut at that time", group->key,
                     (long long)id);
        if (missing > cut_room(group, pushed_at_ms, noticed_ms))
            kit_fail(ledger->kit,
                     "key %d: %zu events from id %lld on are lost, more than cut requests asked for",
                     group->key, missing, (long long)id);
    }
    return missing;
}
