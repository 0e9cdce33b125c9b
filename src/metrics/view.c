/* Views: what the ring knows under one generation of the reference table. */
#include "metrics/metrics_internal.h"

struct view *view_create(struct metrics *metrics, struct reference *reference, unsigned side)
{
    struct budget *budget = &metrics->budget;
    struct view *view = budget_allocate(budget, sizeof *view);
    if (view == NULL)
        return NULL;
    view->side = side;
    view->reference = reference == NULL ? NULL : reference_hold(reference);
    view->unknown = budget_allocate(budget, metrics->places * sizeof view->unknown[0]);
    view->latest = budget_allocate(budget, metrics->places * sizeof view->latest[0]);
    bool plans = tally_init(&view->plans, budget, metrics->places);
    bool regions = tally_init(&view->regions, budget, metrics->places);
    if (view->unknown != NULL && view->latest != NULL && plans && regions)
        return view;
    view_free(metrics, view);
    return NULL;
}

void view_free(struct metrics *metrics, struct view *view)
{
    if (view == NULL)
        return;
    tally_free(&view->regions);
    tally_free(&view->plans);
    budget_free(&metrics->budget, view->latest, metrics->places * sizeof view->latest[0]);
    budget_free(&metrics->budget, view->unknown, metrics->places * sizeof view->unknown[0]);
    reference_release(view->reference);
    budget_free(&metrics->budget, view, sizeof *view);
}

void view_map_user(const struct view *view, struct user *user)
{
    struct user_attributes *attributes = &user->attributes[view->side];
    uint32_t number = REFERENCE_NONE;
    attributes->plan = USER_UNKNOWN;
    if (view->reference != NULL)
        number = reference_find_hashed(view->reference, user->name.link.hash, interned_text(&user->name));
    if (number == REFERENCE_NONE)
        return;
    struct reference_user found = reference_user(view->reference, number);
    *attributes = (struct user_attributes){.plan = found.plan, .region = found.region};
}

bool view_reserve(struct view *view, uint32_t place, const struct user *user)
{
    const struct user_attributes *attributes = &user->attributes[view->side];
    if (attributes->plan == USER_UNKNOWN)
        return true;
    return (attributes->plan == REFERENCE_NONE || tally_reserve(&view->plans, place, attributes->plan)) &&
           (attributes->region == REFERENCE_NONE || tally_reserve(&view->regions, place, attributes->region));
}

void view_add(struct view *view, uint32_t place, const struct user *user)
{
    const struct user_attributes *attributes = &user->attributes[view->side];
    if (attributes->plan == USER_UNKNOWN) {
        view->unknown[place]++;
        return;
    }
    if (attributes->plan != REFERENCE_NONE)
        tally_add(&view->plans, place, attributes->plan);
    if (attributes->region != REFERENCE_NONE)
        tally_add(&view->regions, place, attributes->region);
}

void view_clear_place(struct view *view, uint32_t place)
{
    if (view == NULL)
        return;
    view->unknown[place] = 0;
    view->latest[place] = 0;
    tally_clear(&view->plans, place, NULL, NULL);
    tally_clear(&view->regions, place, NULL, NULL);
    if (place == view->places_end)
        view->piece = NULL;
}
