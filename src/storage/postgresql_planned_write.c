/* Planned events and their users in PostgreSQL: the writes, in the transaction of a batch. */
#include "storage/postgresql_sending.h"

#include <stdlib.h>

/* --- columns of a statement --- */

struct columns {
    struct postgresql_array ids;
    struct postgresql_array names;
    struct postgresql_array users;
    struct postgresql_array details; /* or attributes */
    size_t bytes;
};

static void begin_columns(struct columns *columns)
{
    memset(columns, 0, sizeof *columns);
    postgresql_array_begin_texts(&columns->ids);
    postgresql_array_begin_texts(&columns->names);
    postgresql_array_begin_texts(&columns->users);
    postgresql_array_begin_texts(&columns->details);
}

static void add_row(struct columns *columns, struct text id, struct text name, struct text user,
                    struct text details)
{
    postgresql_array_add_text(&columns->ids, id);
    postgresql_array_add_text(&columns->names, name);
    postgresql_array_add_text(&columns->users, user);
    postgresql_array_add_text(&columns->details, details);
    columns->bytes += name.length + details.length;
}

/* Adds the statement with the parameters before the columns, and ends those. What was added before is sent first: the
 * library's buffer holds one chunk at a time. */
static enum postgresql_attempt add_columns(struct postgresql_sending *sending, struct columns *columns,
                                           const char *statement, const struct postgresql_parameter *before,
                                           size_t before_count)
{
    struct postgresql_parameter parameters[8];
    size_t count = 0;
    while (count < before_count) {
        parameters[count] = before[count];
        count++;
    }
    parameters[count++] = postgresql_array_finish(&columns->ids);
    parameters[count++] = postgresql_array_finish(&columns->names);
    parameters[count++] = postgresql_array_finish(&columns->users);
    parameters[count++] = postgresql_array_finish(&columns->details);
    enum postgresql_attempt attempt;
    if (columns->ids.bytes.failed || columns->names.bytes.failed || columns->users.bytes.failed ||
        columns->details.bytes.failed)
        attempt = postgresql_sending_fail(sending, POSTGRESQL_OUT_OF_MEMORY, "out of memory");
    else if (postgresql_link_flush(sending->link, sending->deadline_at) != POSTGRESQL_DONE)
        attempt = POSTGRESQL_NOT_SENT;
    else
        attempt = postgresql_sending_add(sending, statement, parameters, count);
    postgresql_array_free(&columns->ids);
    postgresql_array_free(&columns->names);
    postgresql_array_free(&columns->users);
    postgresql_array_free(&columns->details);
    return attempt;
}

/* --- added events: a statement for those in a row that all have ids of the upstream, or none --- */

static const struct storage_write *next_planned(const struct storage_write *write)
{
    while (write != NULL && write->kind != STORAGE_ADD_EVENT && write->kind != STORAGE_MERGE_USERS &&
           write->kind != STORAGE_MERGE_EVENTS)
        write = STAILQ_NEXT(write, link);
    return write;
}

/* Moves `*next` behind the events of the statement. */
static enum postgresql_attempt add_events(struct postgresql_sending *sending,
                                          const struct storage_write **next, size_t *added)
{
    const struct storage_write *write = *next;
    bool has_ids = write->event_id.length > 0;
    char numbers[2][POSTGRESQL_NUMBER_BYTES];
    const struct postgresql_parameter before[] = {
        {.value = sending->batch->id},
        postgresql_number((int64_t)sending->batch->added, numbers[0]),
        postgresql_number((int64_t)*added, numbers[1]),
    };
    struct columns columns;
    begin_columns(&columns);
    do {
        add_row(&columns, has_ids ? write->event_id : write->spare_id, write->name, write->user,
                write->details);
        ++*added;
        write = next_planned(STAILQ_NEXT(write, link));
    } while (write != NULL && write->kind == STORAGE_ADD_EVENT && has_ids == (write->event_id.length > 0) &&
             columns.bytes < POSTGRESQL_CHUNK_BYTES &&
             write->name.length + write->details.length < POSTGRESQL_CHUNK_BYTES - columns.bytes);
    *next = write;
    return add_columns(sending, &columns, has_ids ? "add_events_with_ids" : "add_events", before, 3);
}

/* --- their positions and ids --- */

size_t postgresql_count_added(const struct storage_write_list *writes)
{
    size_t count = 0;
    const struct storage_write *write;
    STAILQ_FOREACH (write, writes, link)
        count += write->kind == STORAGE_ADD_EVENT ? 1 : 0;
    return count;
}

static void fill_event_ids(struct postgresql_array *ids, const struct storage_write_list *writes)
{
    const struct storage_write *write;
    postgresql_array_begin_texts(ids);
    STAILQ_FOREACH (write, writes, link) {
        if (write->kind == STORAGE_ADD_EVENT)
            postgresql_array_add_text(ids, write->event_id);
    }
}

void postgresql_take_added(const struct storage_write_list *writes, const PGresult *result)
{
    int row = 0;
    struct storage_write *write;
    STAILQ_FOREACH (write, writes, link) {
        if (write->kind != STORAGE_ADD_EVENT || row == PQntuples(result))
            continue;
        write->id = strtoull(PQgetvalue(result, row, 0), NULL, 10);
        write->spare_used = PQgetvalue(result, row, 1)[0] == 't';
        row++;
    }
}

static enum postgresql_attempt add_question(struct postgresql_sending *sending,
                                            const struct storage_write_list *writes)
{
    struct postgresql_array ids = {.bytes = BUFFER_EMPTY};
    fill_event_ids(&ids, writes);
    const struct postgresql_parameter parameters[] = {
        {.value = sending->batch->id},
        postgresql_array_finish(&ids),
    };
    sending->added_place = sending->count;
    enum postgresql_attempt attempt =
        ids.bytes.failed ? postgresql_sending_fail(sending, POSTGRESQL_OUT_OF_MEMORY, "out of memory")
                         : postgresql_sending_add(sending, "added_events", parameters, 2);
    postgresql_array_free(&ids);
    return attempt;
}

bool postgresql_ask_added(struct postgresql_link *link, const char *batch_id,
                          const struct storage_write_list *writes, int64_t deadline_at, bool *link_is_good)
{
    size_t count = postgresql_count_added(writes);
    if (count == 0)
        return true;
    struct postgresql_array ids = {.bytes = BUFFER_EMPTY};
    PGresult *result = NULL;
    bool known = false;
    fill_event_ids(&ids, writes);
    const struct postgresql_parameter parameters[] = {
        {.value = batch_id},
        postgresql_array_finish(&ids),
    };
    if (!ids.bytes.failed) {
        *link_is_good =
            postgresql_link_ask(link, "added_events", parameters, 2, deadline_at, &result) == POSTGRESQL_DONE;
        known = *link_is_good && PQntuples(result) == (int)count;
    }
    if (known)
        postgresql_take_added(writes, result);
    PQclear(result);
    postgresql_array_free(&ids);
    return known;
}

/* --- what the upstream has --- */

static enum postgresql_attempt merge(struct postgresql_sending *sending, const struct storage_write *write)
{
    size_t order[STORAGE_MERGE_MAX];
    size_t count = storage_merge_order(write, order);
    const struct text none = TEXT("");
    struct columns columns;
    begin_columns(&columns);
    for (size_t i = 0; i < count; i++) {
        if (write->kind == STORAGE_MERGE_USERS) {
            const struct storage_planned_user *user = &write->users[order[i]];
            add_row(&columns, user->id, none, none, user->attributes);
        } else {
            const struct storage_planned_event *event = &write->events[order[i]];
            add_row(&columns, event->id, event->name, event->user, event->details);
        }
    }
    return add_columns(sending, &columns, write->kind == STORAGE_MERGE_USERS ? "merge_users" : "merge_events",
                       NULL, 0);
}

/* --- the whole --- */

enum postgresql_attempt postgresql_send_planned(struct postgresql_sending *sending,
                                                const struct storage_write_list *writes)
{
    enum postgresql_attempt attempt = POSTGRESQL_STORED;
    size_t added = 0;
    const struct storage_write *write = next_planned(STAILQ_FIRST(writes));
    while (write != NULL && attempt == POSTGRESQL_STORED) {
        if (write->kind == STORAGE_ADD_EVENT) {
            attempt = add_events(sending, &write, &added);
            continue;
        }
        attempt = merge(sending, write);
        write = next_planned(STAILQ_NEXT(write, link));
    }
    return attempt == POSTGRESQL_STORED && added > 0 ? add_question(sending, writes) : attempt;
}
