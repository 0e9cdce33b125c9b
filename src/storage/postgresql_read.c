/* Reading from PostgreSQL. Results are taken in whole and the link given back before anybody looks at them: so a read
 * can be tried again without showing anything twice, and slow callers keep no connection. */
#include "storage/postgresql_internal.h"

#include <stdlib.h>

enum { EVENT_COLUMNS = 5, ATTEMPTS_MAX = 2 };

/* libpq makes results of its own, without fields, when it has no memory. */
static void complain(struct postgresql *postgresql, const PGresult *result)
{
    const char *error = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    log_limited(postgresql->log, &postgresql->unread, LOG_LEVEL_WARN,
                "the database could not be read error=%s sqlstate=%.5s",
                LOG_TEXT(text_from(error == NULL ? PQresultErrorMessage(result) : error)),
                state == NULL ? "-" : state);
}

enum storage_result postgresql_query(struct postgresql *postgresql, const char *statement,
                                     const struct postgresql_parameter *parameters, size_t count,
                                     int64_t deadline_at, PGresult **result)
{
    enum postgresql_flow flow = POSTGRESQL_LOST;
    *result = NULL;
    for (int i = 0; i < ATTEMPTS_MAX && flow == POSTGRESQL_LOST; i++) {
        struct postgresql_link *link =
            postgresql_links_take(postgresql, POSTGRESQL_READER, deadline_at, false);
        if (link == NULL)
            return STORAGE_AWAY;
        flow = postgresql_link_ask(link, statement, parameters, count, deadline_at, result);
        postgresql_links_give_back(postgresql, link, flow == POSTGRESQL_DONE);
    }
    if (flow == POSTGRESQL_DONE && PQresultStatus(*result) == PGRES_TUPLES_OK)
        return STORAGE_OK;
    if (flow == POSTGRESQL_DONE)
        complain(postgresql, *result);
    PQclear(*result);
    *result = NULL;
    return STORAGE_AWAY;
}

struct postgresql_parameter postgresql_bound(uint64_t number, char storage[static POSTGRESQL_NUMBER_BYTES])
{
    return postgresql_number(number > INT64_MAX ? INT64_MAX : (int64_t)number, storage);
}

struct postgresql_parameter postgresql_text_parameter(struct text text)
{
    return (struct postgresql_parameter){.value = text.length == 0 ? "" : text.bytes, .length = text.length};
}

struct text postgresql_field(const PGresult *result, int row, int column)
{
    return (struct text){.bytes = PQgetvalue(result, row, column),
                         .length = (size_t)PQgetlength(result, row, column)};
}

uint64_t postgresql_number_field(const PGresult *result, int row, int column)
{
    return strtoull(PQgetvalue(result, row, column), NULL, 10);
}

static struct storage_event event_of(const PGresult *result, int row)
{
    return (struct storage_event){
        .id = strtoull(PQgetvalue(result, row, 0), NULL, 10),
        .created_ms = strtoll(PQgetvalue(result, row, 1), NULL, 10),
        .channel = postgresql_field(result, row, 2),
        .event_type = postgresql_field(result, row, 3),
        .payload = postgresql_field(result, row, 4),
    };
}

enum storage_result postgresql_events(void *state, const struct storage_range *range,
                                      bool (*visit)(void *context, const struct storage_event *event),
                                      void *context, int64_t deadline_at)
{
    char numbers[4][POSTGRESQL_NUMBER_BYTES];
    struct postgresql_array channels = {.bytes = BUFFER_EMPTY};
    postgresql_array_begin_texts(&channels);
    for (size_t i = 0; i < range->channel_count; i++)
        postgresql_array_add_text(&channels, range->channels[i]);
    const struct postgresql_parameter parameters[] = {
        postgresql_bound(range->after, numbers[0]),
        postgresql_bound(range->up_to, numbers[1]),
        postgresql_bound(range->limit, numbers[2]),
        postgresql_bound(range->most_bytes == 0 ? INT64_MAX : range->most_bytes, numbers[3]),
        postgresql_array_finish(&channels),
    };
    PGresult *rows = NULL;
    enum storage_result result = STORAGE_NO_MEMORY;
    if (!channels.bytes.failed)
        result = range->channel_count == 0
                     ? postgresql_query(state, "events", parameters, 4, deadline_at, &rows)
                     : postgresql_query(state, "events_of_channels", parameters, 5, deadline_at, &rows);
    postgresql_array_free(&channels);
    bool wanted = result == STORAGE_OK && PQnfields(rows) == EVENT_COLUMNS;
    for (int row = 0; wanted && row < PQntuples(rows); row++) {
        struct storage_event event = event_of(rows, row);
        wanted = visit(context, &event);
    }
    PQclear(rows);
    return result;
}

enum storage_result postgresql_newest_id(void *state, uint64_t *id, int64_t deadline_at)
{
    PGresult *rows;
    enum storage_result result = postgresql_query(state, "newest_id", NULL, 0, deadline_at, &rows);
    if (result == STORAGE_OK && PQntuples(rows) == 1)
        *id = strtoull(PQgetvalue(rows, 0, 0), NULL, 10);
    else
        result = STORAGE_AWAY;
    PQclear(rows);
    return result;
}

enum storage_result postgresql_subscriptions(void *state, struct text user,
                                             bool (*visit)(void *context, struct text channel), void *context,
                                             int64_t deadline_at)
{
    const struct postgresql_parameter parameter = postgresql_text_parameter(user);
    PGresult *rows;
    enum storage_result result = postgresql_query(state, "subscriptions", &parameter, 1, deadline_at, &rows);
    bool wanted = result == STORAGE_OK;
    for (int row = 0; wanted && row < PQntuples(rows); row++)
        wanted = visit(context, postgresql_field(rows, row, 0));
    PQclear(rows);
    return result;
}

enum storage_result postgresql_reference(void *state, struct storage_reference *reference,
                                         int64_t deadline_at)
{
    PGresult *rows;
    enum storage_result result = postgresql_query(state, "reference", NULL, 0, deadline_at, &rows);
    *reference = (struct storage_reference){.generation = 0};
    if (result == STORAGE_OK && PQntuples(rows) == 1) {
        reference->generation = strtoull(PQgetvalue(rows, 0, 0), NULL, 10);
        reference->piece_count = (uint32_t)strtoul(PQgetvalue(rows, 0, 1), NULL, 10);
        reference->updated_ms = strtoll(PQgetvalue(rows, 0, 2), NULL, 10);
    }
    PQclear(rows);
    return result;
}

enum storage_result postgresql_reference_piece(void *state, uint64_t generation, uint32_t number,
                                               void (*visit)(void *context, struct text content),
                                               void *context, bool *found, int64_t deadline_at)
{
    char numbers[2][POSTGRESQL_NUMBER_BYTES];
    const struct postgresql_parameter parameters[] = {
        postgresql_bound(generation, numbers[0]),
        postgresql_bound(number, numbers[1]),
    };
    PGresult *rows;
    enum storage_result result =
        postgresql_query(state, "reference_piece", parameters, 2, deadline_at, &rows);
    *found = result == STORAGE_OK && PQntuples(rows) == 1;
    if (*found)
        visit(context, postgresql_field(rows, 0, 0));
    PQclear(rows);
    return result;
}
