/* Reading from SQLite: connections that are lent, and the queries. */
#include "storage/sqlite_internal.h"

#include "base/sync.h"

#include <stdlib.h>

static int reader_open(struct sqlite *sqlite, struct sqlite_reader *reader)
{
    const struct sqlite_statement statements[] = {
        {&reader->events_of_all, "SELECT id, created_at, channel, event_type, payload FROM events"
                                 " WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3"},
        {&reader->events_of_channel, "SELECT id, created_at, channel, event_type, payload FROM events"
                                     " WHERE channel = ?4 AND id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3"},
        {&reader->ids_of_channel, "SELECT id FROM events"
                                  " WHERE channel = ?4 AND id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3"},
        {&reader->event_by_id,
         "SELECT id, created_at, channel, event_type, payload FROM events WHERE id = ?1"},
        {&reader->newest_id, "SELECT last_id FROM event_counter"},
        {&reader->subscriptions,
         "SELECT channel FROM user_subscriptions WHERE user_id = ?1 ORDER BY channel"},
        {&reader->reference, "SELECT generation, piece_count, updated_at FROM reference_table"},
        {&reader->reference_piece,
         "SELECT content FROM reference_pieces WHERE generation = ?1 AND number = ?2"},
    };
    if (sqlite_connect(sqlite->path, SQLITE_OPEN_READWRITE, &reader->database) != 0)
        return -1;
    if (sqlite_prepare(reader->database, statements, sizeof statements / sizeof statements[0]) != 0)
        return -1;
    return sqlite_planned_reader_open(reader) != 0 ? -1 : sqlite_revenue_reader_open(reader);
}

int sqlite_readers_open(struct sqlite *sqlite)
{
    for (size_t i = 0; i < READER_COUNT; i++) {
        if (reader_open(sqlite, &sqlite->readers[i]) != 0)
            return -1;
        STAILQ_INSERT_TAIL(&sqlite->idle, &sqlite->readers[i], link);
    }
    return 0;
}

void sqlite_readers_close(struct sqlite *sqlite)
{
    for (size_t i = 0; i < READER_COUNT; i++) {
        struct sqlite_reader *reader = &sqlite->readers[i];
        sqlite3_finalize(reader->events_of_all);
        sqlite3_finalize(reader->events_of_channel);
        sqlite3_finalize(reader->ids_of_channel);
        sqlite3_finalize(reader->event_by_id);
        sqlite3_finalize(reader->newest_id);
        sqlite3_finalize(reader->subscriptions);
        sqlite3_finalize(reader->reference);
        sqlite3_finalize(reader->reference_piece);
        sqlite_planned_reader_close(reader);
        sqlite_revenue_reader_close(reader);
        sqlite3_close(reader->database);
    }
}

struct sqlite_reader *sqlite_borrow(struct sqlite *sqlite, int64_t deadline_at)
{
    bool in_time = true;
    pthread_mutex_lock(&sqlite->mutex);
    while (STAILQ_EMPTY(&sqlite->idle) && in_time)
        in_time = sync_wait_until(&sqlite->reader_idle, &sqlite->mutex, deadline_at);
    struct sqlite_reader *reader = STAILQ_FIRST(&sqlite->idle);
    if (reader != NULL)
        STAILQ_REMOVE_HEAD(&sqlite->idle, link);
    pthread_mutex_unlock(&sqlite->mutex);
    if (reader != NULL)
        sqlite_set_deadline(reader->database, deadline_at);
    return reader;
}

enum storage_result sqlite_give_back(struct sqlite *sqlite, struct sqlite_reader *reader, int result)
{
    bool good = result == SQLITE_OK || result == SQLITE_ROW || result == SQLITE_DONE;
    if (!good)
        log_limited(sqlite->log, &sqlite->unread, LOG_LEVEL_WARN,
                    "the database could not be read error=%s code=%d",
                    LOG_TEXT(text_from(sqlite3_errmsg(reader->database))), result);
    pthread_mutex_lock(&sqlite->mutex);
    /* The most recent first: its pages are in memory. */
    STAILQ_INSERT_HEAD(&sqlite->idle, reader, link);
    pthread_cond_signal(&sqlite->reader_idle);
    pthread_mutex_unlock(&sqlite->mutex);
    if (good)
        atomic_store(&sqlite->available, true);
    else if ((result & 0xFF) == SQLITE_NOMEM)
        return STORAGE_NO_MEMORY;
    else
        atomic_store(&sqlite->available, false);
    return good ? STORAGE_OK : STORAGE_AWAY;
}

sqlite3_int64 sqlite_clamped(uint64_t number)
{
    return number > INT64_MAX ? INT64_MAX : (sqlite3_int64)number;
}

static void bind_range(sqlite3_stmt *statement, const struct storage_range *range)
{
    sqlite3_bind_int64(statement, 1, sqlite_clamped(range->after));
    sqlite3_bind_int64(statement, 2, sqlite_clamped(range->up_to));
    sqlite3_bind_int64(statement, 3, sqlite_clamped(range->limit));
}

static struct storage_event event_of(sqlite3_stmt *statement)
{
    return (struct storage_event){
        .id = (uint64_t)sqlite3_column_int64(statement, 0),
        .created_ms = sqlite3_column_int64(statement, 1),
        .channel = sqlite_text(statement, 2),
        .event_type = sqlite_text(statement, 3),
        .payload = sqlite_text(statement, 4),
    };
}

/* Who wants the events, and how many bytes of them still. */
struct audience {
    bool (*visit)(void *context, const struct storage_event *event);
    void *context;
    uint64_t bytes_left;
};

static int visit_rows(sqlite3_stmt *statement, struct audience *audience)
{
    int result = SQLITE_ROW;
    while (audience->bytes_left > 0 && (result = sqlite3_step(statement)) == SQLITE_ROW) {
        struct storage_event event = event_of(statement);
        /* Without memory for a text there is a row all the same. */
        if (event.channel.bytes == NULL || event.event_type.bytes == NULL || event.payload.bytes == NULL) {
            result = SQLITE_NOMEM;
            break;
        }
        bool more = audience->visit(audience->context, &event) && event.payload.length < audience->bytes_left;
        audience->bytes_left = more ? audience->bytes_left - event.payload.length : 0;
    }
    sqlite3_reset(statement);
    return result;
}

/* --- events of several channels: the first ids of each, merged, then the events one by one, so that the time does not
 * depend on how many events there are --- */

struct id_list {
    sqlite3_int64 *ids;
    size_t count;
};

static int collect_ids(struct sqlite_reader *reader, const struct storage_range *range, struct id_list *list)
{
    sqlite3_stmt *statement = reader->ids_of_channel;
    int result = SQLITE_DONE;
    bind_range(statement, range);
    for (size_t i = 0; i < range->channel_count && result == SQLITE_DONE; i++) {
        if (sqlite_bind(statement, 4, range->channels[i]) != SQLITE_OK)
            return SQLITE_NOMEM;
        while ((result = sqlite3_step(statement)) == SQLITE_ROW)
            list->ids[list->count++] = sqlite3_column_int64(statement, 0);
        sqlite3_reset(statement);
    }
    return result;
}

static int compare_ids(const void *a, const void *b)
{
    sqlite3_int64 first = *(const sqlite3_int64 *)a;
    sqlite3_int64 second = *(const sqlite3_int64 *)b;
    return first < second ? -1 : first > second;
}

static int visit_merged(struct sqlite_reader *reader, const struct storage_range *range,
                        struct audience *audience)
{
    struct id_list list = {.ids = calloc(range->channel_count, range->limit * sizeof(sqlite3_int64))};
    if (list.ids == NULL)
        return SQLITE_NOMEM;
    int result = collect_ids(reader, range, &list);
    if (list.count > 0)
        qsort(list.ids, list.count, sizeof list.ids[0], compare_ids);
    for (size_t i = 0; i < list.count && i < range->limit && result == SQLITE_DONE; i++) {
        sqlite3_bind_int64(reader->event_by_id, 1, list.ids[i]);
        result = visit_rows(reader->event_by_id, audience);
        if (audience->bytes_left == 0)
            break;
    }
    free(list.ids);
    return result;
}

enum storage_result sqlite_events(void *state, const struct storage_range *range,
                                  bool (*visit)(void *context, const struct storage_event *event),
                                  void *context, int64_t deadline_at)
{
    struct sqlite *sqlite = state;
    struct sqlite_reader *reader = sqlite_borrow(sqlite, deadline_at);
    if (reader == NULL)
        return STORAGE_AWAY;
    struct audience audience = {
        .visit = visit,
        .context = context,
        .bytes_left = range->most_bytes == 0 ? UINT64_MAX : range->most_bytes,
    };
    int result;
    if (range->channel_count > 1) {
        result = visit_merged(reader, range, &audience);
    } else {
        sqlite3_stmt *statement =
            range->channel_count == 0 ? reader->events_of_all : reader->events_of_channel;
        bind_range(statement, range);
        result = range->channel_count == 1 ? sqlite_bind(statement, 4, range->channels[0]) : SQLITE_OK;
        if (result == SQLITE_OK)
            result = visit_rows(statement, &audience);
    }
    return sqlite_give_back(sqlite, reader, result);
}

enum storage_result sqlite_newest_id(void *state, uint64_t *id, int64_t deadline_at)
{
    struct sqlite *sqlite = state;
    struct sqlite_reader *reader = sqlite_borrow(sqlite, deadline_at);
    if (reader == NULL)
        return STORAGE_AWAY;
    int result = sqlite3_step(reader->newest_id);
    if (result == SQLITE_ROW)
        *id = (uint64_t)sqlite3_column_int64(reader->newest_id, 0);
    sqlite3_reset(reader->newest_id);
    return sqlite_give_back(sqlite, reader, result == SQLITE_DONE ? SQLITE_CORRUPT : result);
}

enum storage_result sqlite_subscriptions(void *state, struct text user,
                                         bool (*visit)(void *context, struct text channel), void *context,
                                         int64_t deadline_at)
{
    struct sqlite *sqlite = state;
    struct sqlite_reader *reader = sqlite_borrow(sqlite, deadline_at);
    if (reader == NULL)
        return STORAGE_AWAY;
    int result = sqlite_bind(reader->subscriptions, 1, user);
    bool wanted = result == SQLITE_OK;
    while (wanted && (result = sqlite3_step(reader->subscriptions)) == SQLITE_ROW) {
        struct text channel = sqlite_text(reader->subscriptions, 0);
        if (channel.bytes == NULL)
            result = SQLITE_NOMEM;
        wanted = result == SQLITE_ROW && visit(context, channel);
    }
    sqlite3_reset(reader->subscriptions);
    return sqlite_give_back(sqlite, reader, result);
}

enum storage_result sqlite_reference(void *state, struct storage_reference *reference, int64_t deadline_at)
{
    struct sqlite *sqlite = state;
    struct sqlite_reader *reader = sqlite_borrow(sqlite, deadline_at);
    if (reader == NULL)
        return STORAGE_AWAY;
    *reference = (struct storage_reference){.generation = 0};
    int result = sqlite3_step(reader->reference);
    if (result == SQLITE_ROW) {
        reference->generation = (uint64_t)sqlite3_column_int64(reader->reference, 0);
        reference->piece_count = (uint32_t)sqlite3_column_int64(reader->reference, 1);
        reference->updated_ms = sqlite3_column_int64(reader->reference, 2);
    }
    sqlite3_reset(reader->reference);
    return sqlite_give_back(sqlite, reader, result);
}

enum storage_result sqlite_reference_piece(void *state, uint64_t generation, uint32_t number,
                                           void (*visit)(void *context, struct text content), void *context,
                                           bool *found, int64_t deadline_at)
{
    struct sqlite *sqlite = state;
    struct sqlite_reader *reader = sqlite_borrow(sqlite, deadline_at);
    if (reader == NULL)
        return STORAGE_AWAY;
    sqlite3_stmt *statement = reader->reference_piece;
    sqlite3_bind_int64(statement, 1, sqlite_clamped(generation));
    sqlite3_bind_int64(statement, 2, number);
    int result = sqlite3_step(statement);
    struct text content = {.bytes = NULL};
    if (result == SQLITE_ROW)
        content = sqlite_text(statement, 0);
    if (content.bytes == NULL && result == SQLITE_ROW)
        result = SQLITE_NOMEM;
    *found = result == SQLITE_ROW;
    if (*found)
        visit(context, content);
    sqlite3_reset(statement);
    return sqlite_give_back(sqlite, reader, result);
}
