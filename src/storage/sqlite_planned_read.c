/* Planned events and their users in SQLite: the reads. */
#include "storage/sqlite_internal.h"

#define SELECT_EVENTS "SELECT position, id, name, user_id, details FROM planned_events WHERE "

int sqlite_planned_reader_open(struct sqlite_reader *reader)
{
    struct sqlite_planned_reader *planned = &reader->planned;
    const struct sqlite_statement statements[] = {
        {&planned->events_of_all, SELECT_EVENTS "position > ?1 ORDER BY position LIMIT ?2"},
        {&planned->events_of_user, SELECT_EVENTS "user_id = ?3 AND position > ?1 ORDER BY position LIMIT ?2"},
        {&planned->position, "SELECT position FROM planned_events WHERE id = ?1"},
        {&planned->user, "SELECT attributes FROM planned_users WHERE user_id = ?1"},
        {&planned->users,
         "SELECT user_id, attributes FROM planned_users WHERE user_id > ?1 ORDER BY user_id LIMIT ?2"},
        {&planned->event_ids, "SELECT position, id FROM planned_events"
                              " WHERE user_id = ?3 AND position > ?1 ORDER BY position LIMIT ?2"},
    };
    return sqlite_prepare(reader->database, statements, sizeof statements / sizeof statements[0]);
}

void sqlite_planned_reader_close(struct sqlite_reader *reader)
{
    struct sqlite_planned_reader *planned = &reader->planned;
    sqlite3_finalize(planned->events_of_all);
    sqlite3_finalize(planned->events_of_user);
    sqlite3_finalize(planned->position);
    sqlite3_finalize(planned->user);
    sqlite3_finalize(planned->users);
    sqlite3_finalize(planned->event_ids);
}

/* A text column that may be NULL; `*result` is SQLITE_NOMEM when there was no memory for what is there. */
static struct text column_text(sqlite3_stmt *statement, int column, int *result)
{
    bool is_null = sqlite3_column_type(statement, column) == SQLITE_NULL;
    struct text text = sqlite_text(statement, column);
    if (text.bytes == NULL && !is_null)
        *result = SQLITE_NOMEM;
    return text;
}

/* How many bytes may still be visited behind something of this length. */
static uint64_t bytes_left(uint64_t before, size_t length)
{
    return length < before ? before - length : 0;
}

enum storage_result sqlite_planned_events(void *state, const struct storage_planned_range *range,
                                          bool (*visit)(void *context,
                                                        const struct storage_planned_event *event),
                                          void *context, int64_t deadline_at)
{
    struct sqlite *sqlite = state;
    struct sqlite_reader *reader = sqlite_borrow(sqlite, deadline_at);
    if (reader == NULL)
        return STORAGE_AWAY;
    sqlite3_stmt *statement =
        range->user.length == 0 ? reader->planned.events_of_all : reader->planned.events_of_user;
    uint64_t left = range->most_bytes == 0 ? UINT64_MAX : range->most_bytes;
    sqlite3_bind_int64(statement, 1, sqlite_clamped(range->after));
    int result = sqlite3_bind_int64(statement, 2, sqlite_clamped(range->limit));
    if (range->user.length > 0)
        result = sqlite_bind(statement, 3, range->user);
    bool wanted = result == SQLITE_OK;
    while (wanted && left > 0 && (result = sqlite3_step(statement)) == SQLITE_ROW) {
        const struct storage_planned_event event = {
            .position = (uint64_t)sqlite3_column_int64(statement, 0),
            .id = column_text(statement, 1, &result),
            .name = column_text(statement, 2, &result),
            .user = column_text(statement, 3, &result),
            .details = column_text(statement, 4, &result),
        };
        left = bytes_left(left, event.name.length + event.details.length);
        wanted = result == SQLITE_ROW && visit(context, &event);
    }
    sqlite3_reset(statement);
    return sqlite_give_back(sqlite, reader, result);
}

enum storage_result sqlite_planned_position(void *state, struct text event_id, uint64_t *position,
                                            bool *found, int64_t deadline_at)
{
    struct sqlite *sqlite = state;
    struct sqlite_reader *reader = sqlite_borrow(sqlite, deadline_at);
    *found = false;
    if (reader == NULL)
        return STORAGE_AWAY;
    sqlite3_stmt *statement = reader->planned.position;
    int result = sqlite_look_up(statement, event_id);
    *found = result == SQLITE_ROW;
    if (*found)
        *position = (uint64_t)sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    return sqlite_give_back(sqlite, reader, result);
}

enum storage_result sqlite_planned_users_named(void *state, const struct text *users, size_t count,
                                               void (*visit)(void *context, size_t index,
                                                             struct text attributes),
                                               void *context, int64_t deadline_at)
{
    struct sqlite *sqlite = state;
    struct sqlite_reader *reader = sqlite_borrow(sqlite, deadline_at);
    if (reader == NULL)
        return STORAGE_AWAY;
    sqlite3_stmt *statement = reader->planned.user;
    int result = SQLITE_DONE;
    for (size_t i = 0; i < count && (result == SQLITE_DONE || result == SQLITE_ROW); i++) {
        result = sqlite_look_up(statement, users[i]);
        struct text attributes = {.bytes = NULL};
        if (result == SQLITE_ROW)
            attributes = column_text(statement, 0, &result);
        if (result == SQLITE_ROW)
            visit(context, i, attributes);
        sqlite3_reset(statement);
    }
    return sqlite_give_back(sqlite, reader, result);
}

enum storage_result sqlite_planned_users(void *state, struct text after, size_t limit, uint64_t most_bytes,
                                         bool (*visit)(void *context,
                                                       const struct storage_planned_user *user),
                                         void *context, int64_t deadline_at)
{
    struct sqlite *sqlite = state;
    struct sqlite_reader *reader = sqlite_borrow(sqlite, deadline_at);
    if (reader == NULL)
        return STORAGE_AWAY;
    sqlite3_stmt *statement = reader->planned.users;
    uint64_t left = most_bytes == 0 ? UINT64_MAX : most_bytes;
    sqlite3_bind_int64(statement, 2, sqlite_clamped(limit));
    int result = sqlite_bind(statement, 1, after);
    bool wanted = result == SQLITE_OK;
    while (wanted && left > 0 && (result = sqlite3_step(statement)) == SQLITE_ROW) {
        const struct storage_planned_user user = {
            .id = column_text(statement, 0, &result),
            .attributes = column_text(statement, 1, &result),
        };
        left = bytes_left(left, user.attributes.length);
        wanted = result == SQLITE_ROW && visit(context, &user);
    }
    sqlite3_reset(statement);
    return sqlite_give_back(sqlite, reader, result);
}

/* --- the ids of several users' events --- */

struct id_audience {
    bool (*visit)(void *context, size_t index, uint64_t position, struct text id);
    void *context;
    size_t left; /* how many ids are wanted still */
};

static int visit_ids(sqlite3_stmt *statement, size_t index, struct id_audience *audience)
{
    int result = SQLITE_OK;
    while (audience->left > 0 && (result = sqlite3_step(statement)) == SQLITE_ROW) {
        struct text id = column_text(statement, 1, &result);
        if (result != SQLITE_ROW)
            break;
        bool wanted =
            audience->visit(audience->context, index, (uint64_t)sqlite3_column_int64(statement, 0), id);
        audience->left = wanted ? audience->left - 1 : 0;
    }
    sqlite3_reset(statement);
    return result == SQLITE_ROW || result == SQLITE_DONE ? SQLITE_OK : result;
}

enum storage_result sqlite_planned_event_ids(void *state, const struct storage_event_ids_range *range,
                                             bool (*visit)(void *context, size_t index, uint64_t position,
                                                           struct text id),
                                             void *context, int64_t deadline_at)
{
    struct sqlite *sqlite = state;
    struct sqlite_reader *reader = sqlite_borrow(sqlite, deadline_at);
    if (reader == NULL)
        return STORAGE_AWAY;
    sqlite3_stmt *statement = reader->planned.event_ids;
    struct id_audience audience = {.visit = visit, .context = context, .left = range->limit};
    int result = SQLITE_OK;
    for (size_t i = range->first_user; i < range->user_count && audience.left > 0 && result == SQLITE_OK;
         i++) {
        sqlite3_bind_int64(statement, 1, i == range->first_user ? sqlite_clamped(range->after) : 0);
        sqlite3_bind_int64(statement, 2, sqlite_clamped(audience.left));
        result = sqlite_bind(statement, 3, range->users[i]);
        if (result == SQLITE_OK)
            result = visit_ids(statement, i, &audience);
    }
    return sqlite_give_back(sqlite, reader, result);
}
