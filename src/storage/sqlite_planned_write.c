/* Planned events and their users in SQLite: the writes, in the transaction of a batch. */
#include "storage/sqlite_internal.h"

#include <stdio.h>

enum { DIGITS_BYTES = 24 };

int sqlite_planned_writer_open(struct sqlite_writer *writer)
{
    struct sqlite_planned_writer *planned = &writer->planned;
    const struct sqlite_statement statements[] = {
        {&planned->draw_position,
         "UPDATE event_counter SET last_position = last_position + 1 RETURNING last_position"},
        {&planned->find_event, "SELECT position FROM planned_events WHERE id = ?1"},
        {&planned->insert_event, "INSERT INTO planned_events (position, id, name, user_id, details,"
                                 " from_upstream) VALUES (?5, ?1, ?2, ?3, ?4, ?6)"},
        {&planned->update_event,
         "UPDATE planned_events SET name = ?2, user_id = ?3, details = ?4 WHERE id = ?1"
         " AND from_upstream AND (name, user_id, details) IS NOT (?2, ?3, ?4)"},
        {&planned->add_user, "INSERT INTO planned_users (user_id) VALUES (?1) ON CONFLICT DO NOTHING"},
        {&planned->merge_user,
         "INSERT INTO planned_users (user_id, attributes) VALUES (?1, ?2) ON CONFLICT (user_id)"
         " DO UPDATE SET attributes = excluded.attributes"
         " WHERE planned_users.attributes IS NOT excluded.attributes"},
    };
    return sqlite_prepare(writer->database, statements, sizeof statements / sizeof statements[0]);
}

void sqlite_planned_writer_close(struct sqlite_writer *writer)
{
    struct sqlite_planned_writer *planned = &writer->planned;
    sqlite3_finalize(planned->draw_position);
    sqlite3_finalize(planned->find_event);
    sqlite3_finalize(planned->insert_event);
    sqlite3_finalize(planned->update_event);
    sqlite3_finalize(planned->add_user);
    sqlite3_finalize(planned->merge_user);
}

/* The first number of the first row; 0 where there is none. */
static int ask_number(sqlite3_stmt *statement, uint64_t *number)
{
    int result = sqlite3_step(statement);
    *number = result == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(statement, 0) : 0;
    sqlite3_reset(statement);
    return result == SQLITE_ROW || result == SQLITE_DONE ? SQLITE_OK : result;
}

static int draw_position(struct sqlite_writer *writer, uint64_t *position)
{
    int result = ask_number(writer->planned.draw_position, position);
    return result == SQLITE_OK && *position == 0 ? SQLITE_CORRUPT : result;
}

/* The event's position; 0: there is no such event. */
static int find_event(struct sqlite_writer *writer, struct text id, uint64_t *position)
{
    int result = sqlite_bind(writer->planned.find_event, 1, id);
    return result == SQLITE_OK ? ask_number(writer->planned.find_event, position) : result;
}

static int add_user(struct sqlite_writer *writer, struct text user)
{
    int result = sqlite_bind(writer->planned.add_user, 1, user);
    return result == SQLITE_OK ? sqlite_run(writer->planned.add_user) : result;
}

static int bind_event(sqlite3_stmt *statement, const struct storage_planned_event *event)
{
    int result = sqlite_bind(statement, 1, event->id);
    if (result == SQLITE_OK)
        result = sqlite_bind(statement, 2, event->name);
    if (result == SQLITE_OK)
        result = sqlite_bind(statement, 3, event->user);
    return result == SQLITE_OK ? sqlite_bind_optional(statement, 4, event->details) : result;
}

/* With its user. */
static int insert_event(struct sqlite_writer *writer, const struct storage_planned_event *event,
                        bool from_upstream)
{
    sqlite3_stmt *insert = writer->planned.insert_event;
    int result = add_user(writer, event->user);
    if (result == SQLITE_OK)
        result = bind_event(insert, event);
    if (result == SQLITE_OK)
        result = sqlite3_bind_int64(insert, 5, (sqlite3_int64)event->position);
    if (result == SQLITE_OK)
        result = sqlite3_bind_int64(insert, 6, from_upstream);
    return result == SQLITE_OK ? sqlite_run(insert) : result;
}

/* Numbers an event by its position. */
static int choose_id(struct sqlite_writer *writer, struct storage_write *write,
                     struct storage_planned_event *event, char digits[static DIGITS_BYTES])
{
    uint64_t other;
    snprintf(digits, DIGITS_BYTES, "%llu", (unsigned long long)event->position);
    event->id = text_from(digits);
    int result = find_event(writer, event->id, &other);
    write->spare_used = result == SQLITE_OK && other != 0;
    if (write->spare_used)
        event->id = write->spare_id;
    return result;
}

int sqlite_add_event(struct sqlite_writer *writer, struct storage_write *write)
{
    char digits[DIGITS_BYTES];
    bool from_upstream = write->event_id.length > 0;
    struct storage_planned_event event = {
        .id = write->event_id, .name = write->name, .user = write->user, .details = write->details};
    write->id = 0;
    write->spare_used = false;
    int result = from_upstream ? find_event(writer, event.id, &write->id) : SQLITE_OK;
    if (result != SQLITE_OK || write->id != 0)
        return result;
    result = draw_position(writer, &event.position);
    write->id = event.position;
    if (result == SQLITE_OK && !from_upstream)
        result = choose_id(writer, write, &event, digits);
    return result == SQLITE_OK ? insert_event(writer, &event, from_upstream) : result;
}

int sqlite_merge_users(struct sqlite_writer *writer, const struct storage_write *write)
{
    size_t order[STORAGE_MERGE_MAX];
    size_t count = storage_merge_order(write, order);
    sqlite3_stmt *merge = writer->planned.merge_user;
    int result = SQLITE_OK;
    for (size_t i = 0; i < count && result == SQLITE_OK; i++) {
        const struct storage_planned_user *user = &write->users[order[i]];
        result = sqlite_bind(merge, 1, user->id);
        if (result == SQLITE_OK)
            result = sqlite_bind_optional(merge, 2, user->attributes);
        if (result == SQLITE_OK)
            result = sqlite_run(merge);
    }
    return result;
}

static int update_event(struct sqlite_writer *writer, const struct storage_planned_event *event)
{
    int result = bind_event(writer->planned.update_event, event);
    if (result == SQLITE_OK)
        result = sqlite_run(writer->planned.update_event);
    /* The user of one that has not changed is there. */
    if (result == SQLITE_OK && sqlite3_changes(writer->database) > 0)
        result = add_user(writer, event->user);
    return result;
}

static int merge_event(struct sqlite_writer *writer, struct storage_planned_event event)
{
    int result = find_event(writer, event.id, &event.position);
    if (result != SQLITE_OK)
        return result;
    if (event.position != 0)
        return update_event(writer, &event);
    result = draw_position(writer, &event.position);
    return result == SQLITE_OK ? insert_event(writer, &event, true) : result;
}

int sqlite_merge_events(struct sqlite_writer *writer, const struct storage_write *write)
{
    size_t order[STORAGE_MERGE_MAX];
    size_t count = storage_merge_order(write, order);
    int result = SQLITE_OK;
    for (size_t i = 0; i < count && result == SQLITE_OK; i++)
        result = merge_event(writer, write->events[order[i]]);
    return result;
}
