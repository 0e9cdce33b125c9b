/* Events come in. */
#include "base/timestamp.h"
#include "metrics/metrics_internal.h"

/* What can be found out of an event without the lock. */
struct prepared {
    struct hash_128 id;
    uint64_t user;
    uint64_t type;
    int64_t wall_ms;
    bool valid;
};

/* The instant at which a chunk comes in. */
struct arrival {
    int64_t wall_ms;
    int64_t monotonic_s;
};

static void prepare(const struct metrics *metrics, const struct metrics_event *event,
                    struct prepared *prepared)
{
    prepared->id = hash_text_128(&metrics->seed, event->id);
    prepared->user = hash_text(&metrics->seed, event->user);
    prepared->type = hash_text(&metrics->seed, event->type);
    prepared->valid = timestamp_parse(event->timestamp, &prepared->wall_ms) == 0;
}

static struct user *find_user(struct metrics *metrics, uint64_t hash, struct text id)
{
    struct user *user = (struct user *)(void *)intern_find(&metrics->users, hash, id);
    if (user != NULL)
        return user;
    user = (struct user *)(void *)intern_add(&metrics->users, hash, id);
    if (user == NULL)
        return NULL;
    user->latest_s = SECOND_NONE;
    view_map_user(metrics->current, user);
    if (metrics->next != NULL && user->name.number < metrics->next->mapped_end)
        view_map_user(metrics->next, user);
    return user;
}

static struct interned *find_type(struct metrics *metrics, uint64_t hash, struct text type)
{
    struct interned *interned = intern_find(&metrics->type_names, hash, type);
    return interned != NULL ? interned : intern_add(&metrics->type_names, hash, type);
}

static bool reserve(struct metrics *metrics, uint32_t place, const struct user *user,
                    const struct interned *type)
{
    return tally_reserve(&metrics->types, place, type->number) &&
           numbers_reserve(&metrics->logs[place], &metrics->budget) &&
           view_reserve(metrics->current, place, user) &&
           (!view_has_place(metrics->next, place) || view_reserve(metrics->next, place, user));
}

/* Counts an event whose memory is reserved. */
static void add(struct metrics *metrics, int64_t second, struct user *user, struct interned *type)
{
    uint32_t place = place_of(metrics, second);
    metrics->events[place]++;
    metrics->event_count++;
    numbers_append(&metrics->logs[place], user->name.number);
    user->name.references++;
    tally_add(&metrics->types, place, type->number);
    type->references++;
    view_add(metrics->current, place, user);
    if (view_has_place(metrics->next, place))
        view_add(metrics->next, place, user);
    if (second <= metrics->now_s)
        window_note_user_locked(metrics, user, second);
}

/* Counts an event, or (false) has no memory and changes nothing. */
static bool count_event(struct metrics *metrics, const struct metrics_event *event,
                        const struct prepared *prepared, int64_t second)
{
    struct user *user = find_user(metrics, prepared->user, event->user);
    if (user == NULL)
        return false;
    struct interned *type = find_type(metrics, prepared->type, event->type);
    if (type != NULL && reserve(metrics, place_of(metrics, second), user, type)) {
        add(metrics, second, user, type);
        return true;
    }
    if (type != NULL && type->references == 0)
        intern_remove(&metrics->type_names, type);
    window_drop_user_locked(metrics, user);
    return false;
}

static enum metrics_result ingest_locked(struct metrics *metrics, const struct metrics_event *event,
                                         const struct prepared *prepared, const struct arrival *now)
{
    if (filter_has(&metrics->filter, &prepared->id, now->monotonic_s))
        return METRICS_SEEN;
    if (!prepared->valid)
        return METRICS_INVALID_TIMESTAMP;
    if (prepared->wall_ms > now->wall_ms + METRICS_SKEW_S * INT64_C(1000))
        return METRICS_SKEWED;
    if (prepared->wall_ms < now->wall_ms - METRICS_LATENESS_S * INT64_C(1000))
        return METRICS_LATE;
    if (!filter_reserve(&metrics->filter, &prepared->id, now->monotonic_s))
        return METRICS_FULL;
    int64_t second = second_of(prepared->wall_ms);
    /* With a short retention an event that is not late may lie before every window: it is taken all the same. */
    if (is_live(metrics, second) && !count_event(metrics, event, prepared, second))
        return METRICS_FULL;
    int64_t ahead_s = second > metrics->now_s ? second - metrics->now_s : 0;
    filter_add(&metrics->filter, &prepared->id, now->monotonic_s + ahead_s + metrics->retention_s);
    return METRICS_ACCEPTED;
}

static void ingest_chunk(struct metrics *metrics, const struct metrics_event *events, size_t count,
                         enum metrics_result *results)
{
    struct prepared prepared[METRICS_CHUNK];
    for (size_t i = 0; i < count; i++)
        prepare(metrics, &events[i], &prepared[i]);
    struct arrival now;
    now.wall_ms = metrics_enter(metrics);
    now.monotonic_s = metrics->clock.monotonic_ns(metrics->clock.context) / CLOCK_NS_PER_SECOND;
    for (size_t i = 0; i < count; i++)
        filter_prefetch(&metrics->filter, &prepared[i].id);
    for (size_t i = 0; i < count; i++)
        results[i] = ingest_locked(metrics, &events[i], &prepared[i], &now);
    window_bury_locked(metrics, 2 * count);
    metrics_leave(metrics);
}

void metrics_ingest(struct metrics *metrics, const struct metrics_event *events, size_t count,
                    enum metrics_result *results)
{
    for (size_t done = 0; done < count; done += METRICS_CHUNK) {
        size_t left = count - done;
        ingest_chunk(metrics, events + done, left < METRICS_CHUNK ? left : METRICS_CHUNK, results + done);
    }
}

void metrics_append_message(struct buffer *buffer, enum metrics_result result, struct text id)
{
    static const char *const ends[] = {
        [METRICS_SEEN] = " already seen",
        [METRICS_INVALID_TIMESTAMP] = " has an invalid timestamp",
        [METRICS_SKEWED] = " timestamp is more than 2 minutes skewed.",
        [METRICS_LATE] = " timestamp is outside the 2 minute lateness threshold.",
        [METRICS_FULL] = " does not fit: the memory for metrics is full",
        [METRICS_ACCEPTED] = " accepted",
    };
    buffer_append_text(buffer, "Event");
    if (result != METRICS_ACCEPTED) {
        buffer_append_text(buffer, " ");
        buffer_append(buffer, id.bytes, id.length);
    }
    buffer_append_text(buffer, ends[result]);
}
