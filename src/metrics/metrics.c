/* The metrics as a whole: made, locked, kept up with the clock, and freed. */
#include "base/sync.h"
#include "metrics/metrics_internal.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

enum {
    SWEPT_PER_ROUND = 16, /* parts of the filter: all of them in 64 s */
    TRIM_AFTER_BYTES = 8 * 1024 * 1024,
};

/* One for each live second. (A block of a tally may have the newest of them beside the oldest, when they come round the
 * ring; but it is only used where all its places are in the window.) */
static uint32_t places_for(int64_t retention_s)
{
    uint32_t places = TALLY_BLOCK;
    while (places < retention_s + METRICS_SKEW_S)
        places *= 2;
    return places;
}

static bool make_ring(struct metrics *metrics)
{
    struct budget *budget = &metrics->budget;
    metrics->events = budget_allocate(budget, metrics->places * sizeof metrics->events[0]);
    metrics->logs = budget_allocate(budget, metrics->places * sizeof metrics->logs[0]);
    if (metrics->events == NULL || metrics->logs == NULL ||
        !tally_init(&metrics->types, budget, metrics->places))
        return false;
    metrics->current = view_create(metrics, NULL, 0);
    if (metrics->current == NULL)
        return false;
    metrics->current->mapped_end = UINT32_MAX;
    metrics->current->places_end = metrics->places;
    return true;
}

struct metrics *metrics_create(const struct metrics_options *options)
{
    if (options->retention_s < 1 || options->retention_s > METRICS_LONGEST_RETENTION_S) {
        errno = EINVAL;
        return NULL;
    }
    struct metrics *metrics = calloc(1, sizeof *metrics);
    if (metrics == NULL)
        return NULL;
    if (sync_condition_init(&metrics->swapped) != 0) {
        free(metrics);
        return NULL;
    }
    pthread_mutex_init(&metrics->swap, NULL);
    pthread_mutex_init(&metrics->turn, NULL);
    pthread_mutex_init(&metrics->mutex, NULL);
    budget_init(&metrics->budget, options->max_memory_bytes);
    metrics->clock = options->clock;
    metrics->retention_s = options->retention_s;
    metrics->places = places_for(options->retention_s);
    intern_init(&metrics->users, &metrics->budget, sizeof(struct user));
    intern_init(&metrics->type_names, &metrics->budget, sizeof(struct interned));
    filter_init(&metrics->filter, &metrics->budget);
    metrics->now_s = second_of(metrics->clock.wall_ms(metrics->clock.context));
    if (hash_seed_draw(&metrics->seed) == 0) {
        if (budget_take(&metrics->budget, sizeof *metrics) && make_ring(metrics))
            return metrics;
        errno = ENOMEM;
    }
    int error = errno;
    metrics_free(metrics);
    errno = error;
    return NULL;
}

void metrics_free(struct metrics *metrics)
{
    if (metrics == NULL)
        return;
    struct budget *budget = &metrics->budget;
    view_free(metrics, metrics->current);
    filter_free(&metrics->filter);
    intern_free(&metrics->type_names);
    intern_free(&metrics->users);
    numbers_free(&metrics->departed, budget);
    tally_free(&metrics->types);
    for (uint32_t place = 0; metrics->logs != NULL && place < metrics->places; place++)
        numbers_free(&metrics->logs[place], budget);
    budget_free(budget, metrics->logs, metrics->places * sizeof metrics->logs[0]);
    budget_free(budget, metrics->events, metrics->places * sizeof metrics->events[0]);
    pthread_mutex_destroy(&metrics->mutex);
    pthread_mutex_destroy(&metrics->turn);
    pthread_mutex_destroy(&metrics->swap);
    pthread_cond_destroy(&metrics->swapped);
    free(metrics);
}

void metrics_lock(struct metrics *metrics)
{
    pthread_mutex_lock(&metrics->turn);
    pthread_mutex_lock(&metrics->mutex);
    pthread_mutex_unlock(&metrics->turn);
}

int64_t metrics_enter(struct metrics *metrics)
{
    metrics_lock(metrics);
    /* Read under the lock, else threads that overtake one another would make the clock step back. */
    int64_t wall_ms = metrics->clock.wall_ms(metrics->clock.context);
    window_advance_locked(metrics, second_of(wall_ms));
    return wall_ms;
}

void metrics_leave(struct metrics *metrics)
{
    pthread_mutex_unlock(&metrics->mutex);
}

int64_t second_of(int64_t wall_ms)
{
    return wall_ms / 1000 - (wall_ms % 1000 < 0 ? 1 : 0);
}

struct metrics_counts metrics_counts(struct metrics *metrics)
{
    metrics_enter(metrics);
    struct metrics_counts counts = {
        .generation = metrics->current->generation,
        .events = metrics->event_count,
        .users = metrics->users.count,
        .types = metrics->type_names.count,
        .memory_bytes = budget_used(&metrics->budget),
    };
    metrics_leave(metrics);
    return counts;
}

/* Gives memory back to the system once much of the peak since the last time has been freed. */
static void trim(struct metrics *metrics)
{
    metrics_lock(metrics);
    uint64_t bytes = budget_used(&metrics->budget);
    uint64_t freed = bytes < metrics->peak_bytes ? metrics->peak_bytes - bytes : 0;
    bool much = freed >= TRIM_AFTER_BYTES && freed >= metrics->peak_bytes / 4;
    if (much || freed == 0)
        metrics->peak_bytes = bytes;
    metrics_leave(metrics);
    if (much)
        malloc_trim(0);
}

int64_t metrics_round(void *context, struct periodic *periodic)
{
    struct metrics *metrics = context;
    for (int i = 0; i < SWEPT_PER_ROUND; i++) {
        metrics_enter(metrics);
        int64_t monotonic_s = metrics->clock.monotonic_ns(metrics->clock.context) / CLOCK_NS_PER_SECOND;
        filter_sweep(&metrics->filter, monotonic_s, 1);
        metrics_leave(metrics);
    }
    bool more = true;
    while (more && !(periodic != NULL && periodic_is_stopping(periodic))) {
        metrics_enter(metrics);
        more = window_bury_locked(metrics, METRICS_PART_EVENTS);
        metrics_leave(metrics);
    }
    trim(metrics);
    return clock_monotonic_ns() + CLOCK_NS_PER_SECOND;
}
