/* The ring follows the clock. */
#include "metrics/metrics_internal.h"

static void forget_type(void *context, uint32_t number, uint32_t count)
{
    struct metrics *metrics = context;
    struct interned *type = intern_at(&metrics->type_names, number);
    type->references -= count;
    if (type->references == 0)
        intern_remove(&metrics->type_names, type);
}

static void clear_second(struct metrics *metrics, int64_t second)
{
    uint32_t place = place_of(metrics, second);
    metrics->event_count -= metrics->events[place];
    metrics->events[place] = 0;
    numbers_move(&metrics->departed, &metrics->logs[place]);
    tally_clear(&metrics->types, place, forget_type, metrics);
    view_clear_place(metrics->current, place);
    view_clear_place(metrics->next, place);
}

void window_drop_user_locked(struct metrics *metrics, struct user *user)
{
    if (user->name.references == 0)
        intern_remove(&metrics->users, &user->name);
}

bool window_bury_locked(struct metrics *metrics, size_t limit)
{
    size_t count = 0;
    while (metrics->departed.first != NULL && count < limit) {
        struct numbers_piece *piece = metrics->departed.first;
        for (uint32_t i = 0; i < piece->count; i++) {
            struct user *user = intern_at(&metrics->users, piece->values[i]);
            user->name.references--;
            window_drop_user_locked(metrics, user);
        }
        count += piece->count;
        numbers_drop_piece(&metrics->departed, &metrics->budget);
    }
    return metrics->departed.first != NULL;
}

/* Counts the user at its latest second, or (with UINT32_MAX) takes it out there. */
static void count_latest(struct metrics *metrics, const struct user *user, uint32_t change)
{
    uint32_t place = place_of(metrics, user->latest_s);
    if (view_knows(metrics->current, user))
        metrics->current->latest[place] += change;
    if (view_knows(metrics->next, user))
        metrics->next->latest[place] += change;
}

void window_note_user_locked(struct metrics *metrics, struct user *user, int64_t second)
{
    if (second <= user->latest_s)
        return;
    if (is_live(metrics, user->latest_s))
        count_latest(metrics, user, UINT32_MAX);
    user->latest_s = second;
    count_latest(metrics, user, 1);
}

static void note_second(struct metrics *metrics, int64_t second)
{
    for (struct numbers_piece *piece = metrics->logs[place_of(metrics, second)].first; piece != NULL;
         piece = piece->next) {
        for (uint32_t i = 0; i < piece->count; i++)
            window_note_user_locked(metrics, intern_at(&metrics->users, piece->values[i]), second);
    }
}

static int64_t lesser(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void step_forward(struct metrics *metrics, int64_t now_s)
{
    int64_t old_s = metrics->now_s;
    int64_t last_held = old_s + METRICS_SKEW_S;
    int64_t left = lesser(now_s - metrics->retention_s, last_held);
    for (int64_t second = old_s - metrics->retention_s + 1; second <= left; second++)
        clear_second(metrics, second);
    metrics->now_s = now_s;
    for (int64_t second = old_s + 1; second <= lesser(now_s, last_held); second++)
        note_second(metrics, second);
}

/* Takes the latest second away from users whose latest is to come again. Also those forget theirs whose second has left
 * the ring, as it might come again too. Returns the number of the former. */
static uint64_t forget_latest(struct metrics *metrics, int64_t now_s)
{
    uint64_t count = 0;
    for (uint32_t number = 0; number < intern_end(&metrics->users); number++) {
        struct user *user = intern_at_if_used(&metrics->users, number);
        if (user == NULL)
            continue;
        if (!is_live(metrics, user->latest_s)) {
            user->latest_s = SECOND_NONE;
        } else if (user->latest_s > now_s) {
            count_latest(metrics, user, UINT32_MAX);
            user->latest_s = SECOND_NONE;
            count++;
        }
    }
    return count;
}

/* Finds the latest second of `missing` users, or of fewer when there is none, up to the new now_s. */
static void find_latest(struct metrics *metrics, int64_t first, uint64_t missing)
{
    for (int64_t second = metrics->now_s; second >= first && missing > 0; second--) {
        struct numbers_piece *piece = metrics->logs[place_of(metrics, second)].first;
        for (; piece != NULL; piece = piece->next) {
            for (uint32_t i = 0; i < piece->count; i++) {
                struct user *user = intern_at(&metrics->users, piece->values[i]);
                missing -= user->latest_s == SECOND_NONE;
                window_note_user_locked(metrics, user, second);
            }
        }
    }
}

static void step_back(struct metrics *metrics, int64_t now_s)
{
    int64_t first_held = metrics->now_s - metrics->retention_s + 1;
    int64_t last_held = metrics->now_s + METRICS_SKEW_S;
    uint64_t missing = forget_latest(metrics, now_s);
    int64_t first_dropped = now_s + METRICS_SKEW_S + 1;
    for (int64_t second = first_dropped < first_held ? first_held : first_dropped; second <= last_held;
         second++)
        clear_second(metrics, second);
    metrics->now_s = now_s;
    find_latest(metrics, first_held, missing);
}

void window_advance_locked(struct metrics *metrics, int64_t now_s)
{
    if (now_s > metrics->now_s)
        step_forward(metrics, now_s);
    else if (now_s < metrics->now_s)
        step_back(metrics, now_s);
}
