/* Planned events and their users in PostgreSQL: the reads. */
#include "storage/postgresql_internal.h"

static struct postgresql_parameter bytes_parameter(uint64_t most_bytes,
                                                   char storage[static POSTGRESQL_NUMBER_BYTES])
{
    return postgresql_bound(most_bytes == 0 ? UINT64_MAX : most_bytes, storage);
}

/* Asks with texts as the first parameter, for rows of so many columns. */
static enum storage_result query_with_texts(struct postgresql *postgresql, const char *statement,
                                            const struct text *texts, size_t text_count,
                                            struct postgresql_parameter parameters[static 1], size_t count,
                                            int64_t deadline_at, PGresult **rows)
{
    struct postgresql_array array = {.bytes = BUFFER_EMPTY};
    postgresql_array_begin_texts(&array);
    for (size_t i = 0; i < text_count; i++)
        postgresql_array_add_text(&array, texts[i]);
    parameters[0] = postgresql_array_finish(&array);
    *rows = NULL;
    enum storage_result result = STORAGE_NO_MEMORY;
    if (!array.bytes.failed)
        result = postgresql_query(postgresql, statement, parameters, count, deadline_at, rows);
    postgresql_array_free(&array);
    return result;
}

enum storage_result postgresql_planned_events(void *state, const struct storage_planned_range *range,
                                              bool (*visit)(void *context,
                                                            const struct storage_planned_event *event),
                                              void *context, int64_t deadline_at)
{
    char numbers[3][POSTGRESQL_NUMBER_BYTES];
    const struct postgresql_parameter parameters[] = {
        postgresql_bound(range->after, numbers[0]),
        postgresql_bound(range->limit, numbers[1]),
        bytes_parameter(range->most_bytes, numbers[2]),
        postgresql_text_parameter(range->user),
    };
    PGresult *rows;
    enum storage_result result =
        range->user.length == 0
            ? postgresql_query(state, "planned_events", parameters, 3, deadline_at, &rows)
            : postgresql_query(state, "planned_events_of_user", parameters, 4, deadline_at, &rows);
    bool wanted = result == STORAGE_OK;
    for (int row = 0; wanted && row < PQntuples(rows); row++) {
        const struct storage_planned_event event = {
            .position = postgresql_number_field(rows, row, 0),
            .id = postgresql_field(rows, row, 1),
            .name = postgresql_field(rows, row, 2),
            .user = postgresql_field(rows, row, 3),
            .details = postgresql_field(rows, row, 4),
        };
        wanted = visit(context, &event);
    }
    PQclear(rows);
    return result;
}

enum storage_result postgresql_planned_position(void *state, struct text event_id, uint64_t *position,
                                                bool *found, int64_t deadline_at)
{
    const struct postgresql_parameter parameter = postgresql_text_parameter(event_id);
    PGresult *rows;
    enum storage_result result =
        postgresql_query(state, "planned_position", &parameter, 1, deadline_at, &rows);
    *found = result == STORAGE_OK && PQntuples(rows) == 1;
    if (*found)
        *position = postgresql_number_field(rows, 0, 0);
    PQclear(rows);
    return result;
}

enum storage_result postgresql_planned_users_named(void *state, const struct text *users, size_t count,
                                                   void (*visit)(void *context, size_t index,
                                                                 struct text attributes),
                                                   void *context, int64_t deadline_at)
{
    struct postgresql_parameter parameters[1];
    PGresult *rows;
    enum storage_result result =
        query_with_texts(state, "planned_users_named", users, count, parameters, 1, deadline_at, &rows);
    for (int row = 0; result == STORAGE_OK && row < PQntuples(rows); row++)
        visit(context, postgresql_number_field(rows, row, 0) - 1, postgresql_field(rows, row, 1));
    PQclear(rows);
    return result;
}

enum storage_result
postgresql_planned_users(void *state, struct text after, size_t limit, uint64_t most_bytes,
                         bool (*visit)(void *context, const struct storage_planned_user *user), void *context,
                         int64_t deadline_at)
{
    char numbers[2][POSTGRESQL_NUMBER_BYTES];
    const struct postgresql_parameter parameters[] = {
        postgresql_text_parameter(after),
        postgresql_bound(limit, numbers[0]),
        bytes_parameter(most_bytes, numbers[1]),
    };
    PGresult *rows;
    enum storage_result result = postgresql_query(state, "planned_users", parameters, 3, deadline_at, &rows);
    bool wanted = result == STORAGE_OK;
    for (int row = 0; wanted && row < PQntuples(rows); row++) {
        const struct storage_planned_user user = {
            .id = postgresql_field(rows, row, 0),
            .attributes = postgresql_field(rows, row, 1),
        };
        wanted = visit(context, &user);
    }
    PQclear(rows);
    return result;
}

enum storage_result postgresql_planned_event_ids(void *state, const struct storage_event_ids_range *range,
                                                 bool (*visit)(void *context, size_t index, uint64_t position,
                                                               struct text id),
                                                 void *context, int64_t deadline_at)
{
    char numbers[2][POSTGRESQL_NUMBER_BYTES];
    struct postgresql_parameter parameters[3];
    PGresult *rows;
    if (range->first_user >= range->user_count)
        return STORAGE_OK;
    parameters[1] = postgresql_bound(range->after, numbers[0]);
    parameters[2] = postgresql_bound(range->limit, numbers[1]);
    enum storage_result result =
        query_with_texts(state, "planned_event_ids", range->users + range->first_user,
                         range->user_count - range->first_user, parameters, 3, deadline_at, &rows);
    bool wanted = result == STORAGE_OK;
    for (int row = 0; wanted && row < PQntuples(rows); row++)
        wanted = visit(context, range->first_user + postgresql_number_field(rows, row, 0) - 1,
                       postgresql_number_field(rows, row, 1), postgresql_field(rows, row, 2));
    PQclear(rows);
    return result;
}
