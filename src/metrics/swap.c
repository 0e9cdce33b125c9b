/* A new reference table: its view is made aside, part by part, and then becomes the current one. */
#include "base/sync.h"
#include "metrics/metrics_internal.h"

/* What became of a part of the work. */
enum progress { WORK_LEFT, WORK_DONE, WORK_FULL };

static void map_users_locked(struct metrics *metrics, struct view *view)
{
    uint32_t end = intern_end(&metrics->users);
    uint32_t last = end > view->mapped_end && end - view->mapped_end > METRICS_PART_USERS
                        ? view->mapped_end + METRICS_PART_USERS
                        : end;
    for (; view->mapped_end < last; view->mapped_end++) {
        struct user *user = intern_at_if_used(&metrics->users, view->mapped_end);
        if (user == NULL)
            continue;
        view_map_user(view, user);
        if (user->attributes[view->side].plan != USER_UNKNOWN && is_live(metrics, user->latest_s))
            view->latest[place_of(metrics, user->latest_s)]++;
    }
    if (view->mapped_end >= end)
        view->mapped_end = UINT32_MAX;
}

/* Adds one piece of the log of the place that is being done. */
static bool add_piece_locked(struct metrics *metrics, struct view *view, const struct numbers_piece *piece)
{
    for (uint32_t i = 0; i < piece->count; i++) {
        const struct user *user = intern_at(&metrics->users, piece->values[i]);
        if (!view_reserve(view, view->places_end, user))
            return false;
        view_add(view, view->places_end, user);
    }
    return true;
}

/* Goes on with the logs, place by place. An event that comes later is in a place that is done, and is added there as it
 * comes; or its place is still to be done, and it is in the rest of the log: a log's last piece, to which it may be
 * appended, is added together with the end of its place. */
static enum progress add_events_locked(struct metrics *metrics, struct view *view)
{
    for (uint32_t count = 0; count < METRICS_PART_EVENTS && view->places_end < metrics->places; count++) {
        struct numbers_piece *piece =
            view->piece != NULL ? view->piece : metrics->logs[view->places_end].first;
        if (piece != NULL) {
            count += piece->count;
            if (!add_piece_locked(metrics, view, piece))
                return WORK_FULL;
            piece = piece->next;
        }
        view->piece = piece;
        if (piece == NULL)
            view->places_end++;
    }
    return view->places_end < metrics->places ? WORK_LEFT : WORK_DONE;
}

static enum progress work_locked(struct metrics *metrics, struct view *view)
{
    if (view->mapped_end == UINT32_MAX)
        return add_events_locked(metrics, view);
    map_users_locked(metrics, view);
    return WORK_LEFT;
}

/* Makes `view` the next one and fills it. Without memory there is no next one in the end. */
static enum progress fill_next(struct metrics *metrics, struct view *view)
{
    enum progress progress;
    metrics_lock(metrics);
    metrics->next = view;
    while ((progress = work_locked(metrics, view)) == WORK_LEFT) {
        metrics_leave(metrics);
        metrics_lock(metrics);
    }
    if (progress == WORK_FULL)
        metrics->next = NULL;
    metrics_leave(metrics);
    return progress;
}

bool metrics_take_turn(struct metrics *metrics, int64_t deadline_at)
{
    bool in_time = true;
    pthread_mutex_lock(&metrics->swap);
    while (metrics->swapping && in_time)
        in_time = sync_wait_until(&metrics->swapped, &metrics->swap, deadline_at);
    bool taken = !metrics->swapping;
    metrics->swapping = true;
    pthread_mutex_unlock(&metrics->swap);
    return taken;
}

void metrics_end_turn(struct metrics *metrics)
{
    pthread_mutex_lock(&metrics->swap);
    metrics->swapping = false;
    pthread_cond_signal(&metrics->swapped);
    pthread_mutex_unlock(&metrics->swap);
}

enum metrics_set_result metrics_prepare_reference(struct metrics *metrics, struct reference *reference)
{
    /* Only who has the turn changes `current`. */
    const struct view *current = metrics->current;
    if (current->reference != NULL && reference_wall_ms(reference) < reference_wall_ms(current->reference))
        return METRICS_SET_STALE;
    struct view *view = view_create(metrics, reference, 1 - current->side);
    if (view == NULL)
        return METRICS_SET_FULL;
    if (fill_next(metrics, view) == WORK_DONE)
        return METRICS_SET_OK;
    view_free(metrics, view);
    return METRICS_SET_FULL;
}

void metrics_commit_reference(struct metrics *metrics)
{
    metrics_lock(metrics);
    struct view *former = metrics->current;
    metrics->current = metrics->next;
    metrics->current->generation = former->generation + 1;
    metrics->next = NULL;
    metrics_leave(metrics);
    view_free(metrics, former);
    metrics_end_turn(metrics);
}

void metrics_abandon_reference(struct metrics *metrics)
{
    metrics_lock(metrics);
    struct view *view = metrics->next;
    metrics->next = NULL;
    metrics_leave(metrics);
    view_free(metrics, view);
    metrics_end_turn(metrics);
}

enum metrics_set_result metrics_set_reference(struct metrics *metrics, struct reference *reference)
{
    while (!metrics_take_turn(metrics, INT64_MAX))
        continue;
    enum metrics_set_result result = metrics_prepare_reference(metrics, reference);
    if (result == METRICS_SET_OK)
        metrics_commit_reference(metrics);
    else
        metrics_end_turn(metrics);
    return result;
}

struct reference_builder *metrics_reference_begin(struct metrics *metrics, int64_t wall_ms)
{
    return reference_begin(&metrics->seed, &metrics->budget, wall_ms);
}

struct reference *metrics_reference(struct metrics *metrics)
{
    metrics_lock(metrics);
    struct reference *reference = metrics->current->reference;
    if (reference != NULL)
        reference_hold(reference);
    metrics_leave(metrics);
    return reference;
}
