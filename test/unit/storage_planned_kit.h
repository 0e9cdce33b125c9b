/* What the tests of planned events and their users in the storage share: their writes and reads, on either engine. */
#ifndef STORAGE_PLANNED_KIT_H
#define STORAGE_PLANNED_KIT_H

#include "storage_engines_kit.h"

enum { PLANNED_TEXT_BYTES = 32 };

/* --- writes --- */

static inline struct storage_write add_of(const char *user, const char *name, const char *event_id,
                                          const char *spare_id)
{
    return (struct storage_write){.kind = STORAGE_ADD_EVENT,
                                  .user = text_from(user),
                                  .name = text_from(name),
                                  .event_id = text_from(event_id),
                                  .spare_id = text_from(spare_id)};
}

static inline struct storage_write merge_users_of(const struct storage_planned_user *users, size_t count)
{
    return (struct storage_write){.kind = STORAGE_MERGE_USERS, .users = users, .count = count};
}

static inline struct storage_write merge_events_of(const struct storage_planned_event *events, size_t count)
{
    return (struct storage_write){.kind = STORAGE_MERGE_EVENTS, .events = events, .count = count};
}

/* Stores it, and returns its position. */
static inline uint64_t store(struct storage *storage, struct storage_write write)
{
    write.id = 99999;
    write.spare_used = true;
    assert_int_equal(kit_write(storage, &write), STORAGE_OK);
    if (write.kind == STORAGE_ADD_EVENT)
        assert_false(write.spare_used);
    return write.id;
}

static inline void merge_users(struct storage *storage, const struct storage_planned_user *users,
                               size_t count)
{
    store(storage, merge_users_of(users, count));
}

static inline void merge_events(struct storage *storage, const struct storage_planned_event *events,
                                size_t count)
{
    store(storage, merge_events_of(events, count));
}

/* --- reads: a list of expected rows, in order --- */

struct expected_events {
    const struct storage_planned_event *events;
    size_t count;
    size_t seen;
};

static inline bool compare_event(void *context, const struct storage_planned_event *event)
{
    struct expected_events *expected = context;
    assert_true(expected->seen < expected->count);
    const struct storage_planned_event *next = &expected->events[expected->seen++];
    assert_int_equal(event->position, next->position);
    assert_true(text_equals(event->id, next->id));
    assert_true(text_equals(event->name, next->name));
    assert_true(text_equals(event->user, next->user));
    assert_true(text_equals(event->details, next->details));
    return true;
}

static inline void expect_events_in(struct storage *storage, const struct storage_planned_range *range,
                                    const struct storage_planned_event *events, size_t count)
{
    struct expected_events expected = {.events = events, .count = count};
    assert_int_equal(storage_planned_events(storage, range, compare_event, &expected, kit_patience()),
                     STORAGE_OK);
    assert_int_equal(expected.seen, count);
}

/* All there are. */
static inline void expect_events(struct storage *storage, const struct storage_planned_event *events,
                                 size_t count)
{
    const struct storage_planned_range everything = {.limit = 1000000};
    expect_events_in(storage, &everything, events, count);
}

static inline void expect_events_of(struct storage *storage, const char *user,
                                    const struct storage_planned_event *events, size_t count)
{
    const struct storage_planned_range range = {.user = text_from(user), .limit = SIZE_MAX};
    expect_events_in(storage, &range, events, count);
}

struct expected_users {
    const struct storage_planned_user *users;
    size_t count;
    size_t seen;
};

static inline bool compare_user(void *context, const struct storage_planned_user *user)
{
    struct expected_users *expected = context;
    assert_true(expected->seen < expected->count);
    const struct storage_planned_user *next = &expected->users[expected->seen++];
    assert_true(text_equals(user->id, next->id));
    assert_true(text_equals(user->attributes, next->attributes));
    return true;
}

static inline void expect_users_behind(struct storage *storage, const char *after, size_t limit,
                                       uint64_t most_bytes, const struct storage_planned_user *users,
                                       size_t count)
{
    struct expected_users expected = {.users = users, .count = count};
    assert_int_equal(storage_planned_users(storage, text_from(after), limit, most_bytes, compare_user,
                                           &expected, kit_patience()),
                     STORAGE_OK);
    assert_int_equal(expected.seen, count);
}

static inline void expect_users(struct storage *storage, const struct storage_planned_user *users,
                                size_t count)
{
    expect_users_behind(storage, "", 1000000, 0, users, count);
}

/* 0: there is no such event. */
static inline uint64_t position_of(struct storage *storage, const char *event_id)
{
    uint64_t position = 0;
    bool found;
    assert_int_equal(
        storage_planned_position(storage, text_from(event_id), &position, &found, kit_patience()),
        STORAGE_OK);
    assert_int_equal(found, position != 0);
    return position;
}

/* What a merge writes as 500 and more events: "event 0" and so on, each of one of three users. */
struct many_events {
    struct storage_planned_event *events;
    char (*texts)[PLANNED_TEXT_BYTES];
    size_t count;
};

static inline struct many_events many_events_make(size_t count)
{
    static const struct text users[] = {TEXT("u0"), TEXT("u1"), TEXT("u2")};
    struct many_events many = {.events = calloc(count, sizeof *many.events),
                               .texts = calloc(count, sizeof *many.texts),
                               .count = count};
    assert_non_null(many.events);
    assert_non_null(many.texts);
    for (size_t i = 0; i < count; i++) {
        snprintf(many.texts[i], PLANNED_TEXT_BYTES, "event %zu", i);
        many.events[i] = (struct storage_planned_event){
            .position = i + 1, .id = text_from(many.texts[i]), .name = TEXT("n"), .user = users[i % 3]};
    }
    return many;
}

static inline void many_events_merge(struct storage *storage, const struct many_events *many)
{
    for (size_t i = 0; i < many->count; i += STORAGE_MERGE_MAX)
        merge_events(storage, many->events + i,
                     many->count - i < STORAGE_MERGE_MAX ? many->count - i : STORAGE_MERGE_MAX);
}

static inline void many_events_free(struct many_events *many)
{
    free(many->events);
    free(many->texts);
}

#endif
