/* Windows are summed. */
#include "metrics/metrics_internal.h"

#include <stdlib.h>
#include <string.h>

struct window {
    uint32_t first; /* its first place */
    uint32_t length;
};

static uint64_t sum(const struct metrics *metrics, const uint32_t *counts, struct window window)
{
    uint64_t total = 0;
    uint32_t to_end = metrics->places - window.first;
    uint32_t front = window.length < to_end ? window.length : to_end;
    for (uint32_t i = 0; i < front; i++)
        total += counts[window.first + i];
    for (uint32_t i = 0; i < window.length - front; i++)
        total += counts[i];
    return total;
}

/* Sums a tally into `counts`, which are zero, by way of `totals`, which become zero again. */
static void sum_tally(const struct tally *tally, struct window window, uint64_t *totals,
                      struct metrics_list list)
{
    tally_sum(tally, window.first, window.length, totals, (uint32_t)list.length);
    for (size_t i = 0; i < list.length; i++)
        list.counts[i].count = totals[i];
    memset(totals, 0, list.length * sizeof totals[0]);
}

/* Keeps the types that have events, and copies their names. */
static int name_types(const struct metrics *metrics, struct metrics_answer *answer)
{
    struct metrics_list *list = &answer->by_type;
    size_t bytes = 0, length = 0;
    for (size_t i = 0; i < list->length; i++) {
        const struct interned *type;
        if (list->counts[i].count == 0)
            continue;
        type = intern_at(&metrics->type_names, (uint32_t)i);
        list->counts[length++] =
            (struct metrics_count){.name = interned_text(type), .count = list->counts[i].count};
        bytes += type->length;
    }
    list->length = length;
    answer->type_names = malloc(bytes + 1);
    if (answer->type_names == NULL)
        return -1;
    char *at = answer->type_names;
    for (size_t i = 0; i < length; i++) {
        struct text *name = &list->counts[i].name;
        if (name->length > 0)
            memcpy(at, name->bytes, name->length);
        name->bytes = at;
        at += name->length;
    }
    return 0;
}

static void name_values(struct metrics_answer *answer)
{
    for (uint32_t i = 0; i < answer->by_plan.length; i++)
        answer->by_plan.counts[i].name = reference_plan(answer->reference, i);
    for (uint32_t i = 0; i < answer->by_region.length; i++)
        answer->by_region.counts[i].name = reference_region(answer->reference, i);
}

/* Room for the answer's counts, and for the totals of the longest of its lists behind them. */
static uint64_t *make_lists(const struct metrics *metrics, struct metrics_answer *answer)
{
    size_t plans = 0, regions = 0, types = intern_end(&metrics->type_names);
    if (answer->reference != NULL) {
        plans = reference_plan_count(answer->reference);
        regions = reference_region_count(answer->reference);
    }
    size_t longest = plans > regions ? plans : regions;
    longest = longest > types ? longest : types;
    size_t count = plans + regions + types;
    answer->storage = calloc(1, count * sizeof answer->storage[0] + longest * sizeof(uint64_t) + 1);
    if (answer->storage == NULL)
        return NULL;
    answer->by_plan = (struct metrics_list){.counts = answer->storage, .length = plans};
    answer->by_region = (struct metrics_list){.counts = answer->storage + plans, .length = regions};
    answer->by_type = (struct metrics_list){.counts = answer->storage + plans + regions, .length = types};
    return (uint64_t *)(void *)(answer->storage + count);
}

static int query_locked(const struct metrics *metrics, struct window window, struct metrics_answer *answer)
{
    const struct view *view = metrics->current;
    answer->generation = view->generation;
    answer->reference = view->reference == NULL ? NULL : reference_hold(view->reference);
    answer->events = sum(metrics, metrics->events, window);
    answer->unknown = sum(metrics, view->unknown, window);
    answer->unique_users = sum(metrics, view->latest, window);
    uint64_t *totals = make_lists(metrics, answer);
    if (totals == NULL)
        return -1;
    sum_tally(&view->plans, window, totals, answer->by_plan);
    sum_tally(&view->regions, window, totals, answer->by_region);
    sum_tally(&metrics->types, window, totals, answer->by_type);
    return name_types(metrics, answer);
}

int metrics_query(struct metrics *metrics, uint32_t window_s, struct metrics_answer *answer)
{
    memset(answer, 0, sizeof *answer);
    if (window_s > metrics->retention_s)
        window_s = (uint32_t)metrics->retention_s;
    metrics_enter(metrics);
    struct window window = {.first = place_of(metrics, metrics->now_s - window_s + 1), .length = window_s};
    int result = query_locked(metrics, window, answer);
    metrics_leave(metrics);
    if (result == 0)
        name_values(answer);
    else
        metrics_answer_free(answer);
    return result;
}

void metrics_answer_free(struct metrics_answer *answer)
{
    reference_release(answer->reference);
    free(answer->type_names);
    free(answer->storage);
    memset(answer, 0, sizeof *answer);
}
