/* A new reference table: its view is made aside, part by part, and then becomes the current one. */
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

/* Makes the next view and, when that succeeds, the current one of it. Returns the view that is not used any more. */
static struct view *replace_view(struct metrics *metrics, struct view *view, enum progress *progress)
{
    struct view *unused = view;
    metrics_lock(metrics);
    metrics->next = view;
    while ((*progress = work_locked(metrics, view)) == WORK_LEFT) {
        metrics_leave(metrics);
        metrics_lock(metrics);
    }
    if (*progress == WORK_DONE) {
        unused = metrics->current;
        view->generation = unused->generation + 1;
        metrics->current = view;
    }
    metrics->next = NULL;
    metrics_leave(metrics);
    return unused;
}

static enum metrics_set_result set_reference(struct metrics *metrics, struct reference *reference)
{
    /* Only this function changes `current`, and one thread at a time is here. */
    const struct view *current = metrics->current;
    if (current->reference != NULL && reference_wall_ms(reference) < reference_wall_ms(current->reference))
        return METRICS_SET_STALE;
    struct view *view = view_create(metrics, reference, 1 - current->side);
    if (view == NULL)
        return METRICS_SET_FULL;
    enum progress progress;
    view_free(metrics, replace_view(metrics, view, &progress));
    return progress == WORK_DONE ? METRICS_SET_OK : METRICS_SET_FULL;
}

enum metrics_set_result metrics_set_reference(struct metrics *metrics, struct reference *reference)
{
    pthread_mutex_lock(&metrics->swap);
    enum metrics_set_result result = set_reference(metrics, reference);
    pthread_mutex_unlock(&metrics->swap);
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
