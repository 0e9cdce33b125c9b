/* The invariants of the metrics, recounted from the logs. For tests: it takes its time. */
#include "metrics/metrics_internal.h"

#include <stdlib.h>

static void require(bool holds)
{
    if (!holds)
        abort();
}

static uint64_t tally_total(const struct tally *tally, uint32_t place)
{
    const struct tally_row *row = &tally->rows[place];
    uint64_t total = 0;
    for (uint32_t value = 0; value < row->capacity; value++)
        total += row->counts[value];
    for (const struct numbers_piece *piece = row->others.first; piece != NULL; piece = piece->next)
        total += piece->count;
    return total;
}

/* M5, and that there is nothing outside the rows. */
static void check_blocks(const struct tally *tally)
{
    for (uint32_t block = 0; block < tally->places / TALLY_BLOCK; block++) {
        uint64_t rows = 0, total = 0;
        for (uint32_t i = 0; i < TALLY_BLOCK; i++)
            rows += tally_total(tally, block * TALLY_BLOCK + i);
        for (uint32_t value = 0; value < tally->blocks[block].capacity; value++)
            total += tally->blocks[block].counts[value];
        require(rows == total);
    }
}

/* What one log should make of a row: counts by value. */
static void count_log(const struct metrics *metrics, const struct view *view, uint32_t place, uint64_t *plans,
                      uint64_t *regions, uint64_t *unknown)
{
    for (struct numbers_piece *piece = metrics->logs[place].first; piece != NULL; piece = piece->next) {
        for (uint32_t i = 0; i < piece->count; i++) {
            const struct user *user = intern_at(&metrics->users, piece->values[i]);
            const struct user_attributes *attributes = &user->attributes[view->side];
            *unknown += attributes->plan == USER_UNKNOWN;
            if (attributes->plan != USER_UNKNOWN && attributes->plan != REFERENCE_NONE)
                plans[attributes->plan]++;
            if (attributes->plan != USER_UNKNOWN && attributes->region != REFERENCE_NONE)
                regions[attributes->region]++;
        }
    }
}

static void compare(const struct tally *tally, uint32_t place, uint64_t *expected, uint32_t length)
{
    uint64_t *counts = calloc((size_t)length + 1, sizeof counts[0]);
    require(counts != NULL);
    tally_sum(tally, place, 1, counts, length);
    for (uint32_t i = 0; i < length; i++) {
        require(counts[i] == expected[i]);
        expected[i] = 0;
    }
    free(counts);
}

/* M2 */
static void check_view(const struct metrics *metrics, const struct view *view)
{
    uint32_t plan_count = view->reference == NULL ? 0 : reference_plan_count(view->reference);
    uint32_t region_count = view->reference == NULL ? 0 : reference_region_count(view->reference);
    uint64_t *plans = calloc((size_t)plan_count + 1, sizeof plans[0]);
    uint64_t *regions = calloc((size_t)region_count + 1, sizeof regions[0]);
    require(plans != NULL && regions != NULL);
    for (uint32_t place = 0; place < view->places_end; place++) {
        uint64_t unknown = 0;
        count_log(metrics, view, place, plans, regions, &unknown);
        require(unknown == view->unknown[place]);
        compare(&view->plans, place, plans, plan_count);
        compare(&view->regions, place, regions, region_count);
    }
    free(plans);
    free(regions);
    check_blocks(&view->plans);
    check_blocks(&view->regions);
}

/* What the logs say of users: by number. */
struct recount {
    int64_t *latest_s;
    uint32_t *references;
};

static void recount_log(const struct numbers *log, const struct recount *recount, int64_t second)
{
    for (const struct numbers_piece *piece = log->first; piece != NULL; piece = piece->next) {
        for (uint32_t i = 0; i < piece->count; i++) {
            recount->references[piece->values[i]]++;
            if (recount->latest_s[piece->values[i]] < second)
                recount->latest_s[piece->values[i]] = second;
        }
    }
}

static void check_latest(const struct metrics *metrics, const struct view *view,
                         const struct recount *recount)
{
    uint32_t *latest = calloc(metrics->places, sizeof latest[0]);
    require(latest != NULL);
    for (uint32_t number = 0; number < intern_end(&metrics->users); number++) {
        const struct user *user = intern_at_if_used(&metrics->users, number);
        if (user != NULL && view_knows(view, user) && recount->latest_s[number] != SECOND_NONE)
            latest[place_of(metrics, recount->latest_s[number])]++;
    }
    for (uint32_t place = 0; place < metrics->places; place++)
        require(latest[place] == view->latest[place]);
    free(latest);
}

/* M3, and M4 for users */
static void check_users(const struct metrics *metrics)
{
    uint32_t end = intern_end(&metrics->users);
    struct recount recount = {.latest_s = calloc((size_t)end + 1, sizeof recount.latest_s[0]),
                              .references = calloc((size_t)end + 1, sizeof recount.references[0])};
    require(recount.latest_s != NULL && recount.references != NULL);
    for (uint32_t number = 0; number < end; number++)
        recount.latest_s[number] = SECOND_NONE;
    int64_t first = metrics->now_s - metrics->retention_s + 1;
    for (int64_t second = first; second <= metrics->now_s + METRICS_SKEW_S; second++)
        recount_log(&metrics->logs[place_of(metrics, second)], &recount,
                    second <= metrics->now_s ? second : SECOND_NONE);
    recount_log(&metrics->departed, &recount, SECOND_NONE);
    for (uint32_t number = 0; number < end; number++) {
        const struct user *user = intern_at_if_used(&metrics->users, number);
        require(recount.references[number] == (user == NULL ? 0 : user->name.references));
        require(user == NULL || user->name.references > 0);
        if (user != NULL && is_live(metrics, user->latest_s))
            require(user->latest_s == recount.latest_s[number]);
        else
            require(recount.latest_s[number] == SECOND_NONE);
    }
    check_latest(metrics, metrics->current, &recount);
    if (metrics->next != NULL)
        check_latest(metrics, metrics->next, &recount);
    free(recount.latest_s);
    free(recount.references);
}

/* M1, and M4 for types */
static void check_types(const struct metrics *metrics)
{
    uint32_t end = intern_end(&metrics->type_names);
    uint64_t *counts = calloc((size_t)end + 1, sizeof counts[0]), total = 0;
    require(counts != NULL);
    for (uint32_t place = 0; place < metrics->places; place++) {
        uint64_t length = 0;
        for (struct numbers_piece *piece = metrics->logs[place].first; piece != NULL; piece = piece->next)
            length += piece->count;
        require(length == metrics->events[place]);
        require(length == tally_total(&metrics->types, place));
        total += length;
    }
    require(total == metrics->event_count);
    tally_sum(&metrics->types, 0, metrics->places, counts, end);
    for (uint32_t number = 0; number < end; number++) {
        const struct interned *type = intern_at_if_used(&metrics->type_names, number);
        require(counts[number] == (type == NULL ? 0 : type->references));
        require(type == NULL || type->references > 0);
    }
    free(counts);
    check_blocks(&metrics->types);
}

void metrics_check(struct metrics *metrics)
{
    metrics_enter(metrics);
    check_types(metrics);
    check_users(metrics);
    check_view(metrics, metrics->current);
    if (metrics->next != NULL && metrics->next->mapped_end == UINT32_MAX)
        check_view(metrics, metrics->next);
    metrics_leave(metrics);
}
