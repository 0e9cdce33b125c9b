/* Writing to SQLite: batches, one transaction each. */
#include "storage/sqlite_internal.h"

/* Each part finds its rows by an index of its own. */
#define PURGEABLE " AND generation IS NOT (SELECT generation FROM reference_table) LIMIT ?3"

int sqlite_writer_open(struct sqlite *sqlite)
{
    struct sqlite_writer *writer = &sqlite->writer;
    const struct sqlite_statement statements[] = {
        {&writer->begin, "BEGIN IMMEDIATE"},
        {&writer->commit, "COMMIT"},
        {&writer->rollback, "ROLLBACK"},
        {&writer->draw_ids, "UPDATE event_counter SET last_id = last_id + ?1 RETURNING last_id"},
        {&writer->insert_event, "INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5)"},
        {&writer->subscribe, "INSERT INTO user_subscriptions VALUES (?1, ?2) ON CONFLICT DO NOTHING"},
        {&writer->unsubscribe, "DELETE FROM user_subscriptions WHERE user_id = ?1 AND channel = ?2"},
        {&writer->store_piece, "INSERT INTO reference_pieces VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING"},
        {&writer->switch_table, "REPLACE INTO reference_table VALUES (1, ?1, ?2, ?3)"},
        {&writer->purge_pieces,
         "DELETE FROM reference_pieces WHERE rowid IN ("
         "SELECT rowid FROM (SELECT rowid FROM reference_pieces WHERE generation = ?1" PURGEABLE ")"
         " UNION "
         "SELECT rowid FROM (SELECT rowid FROM reference_pieces WHERE created_at < ?2" PURGEABLE ")"
         " LIMIT ?3)"},
    };
    if (sqlite_prepare(writer->database, statements, sizeof statements / sizeof statements[0]) != 0)
        return -1;
    return sqlite_planned_writer_open(writer) != 0 ? -1 : sqlite_revenue_writer_open(writer);
}

void sqlite_writer_close(struct sqlite *sqlite)
{
    struct sqlite_writer *writer = &sqlite->writer;
    sqlite3_finalize(writer->begin);
    sqlite3_finalize(writer->commit);
    sqlite3_finalize(writer->rollback);
    sqlite3_finalize(writer->draw_ids);
    sqlite3_finalize(writer->insert_event);
    sqlite3_finalize(writer->subscribe);
    sqlite3_finalize(writer->unsubscribe);
    sqlite3_finalize(writer->store_piece);
    sqlite3_finalize(writer->switch_table);
    sqlite3_finalize(writer->purge_pieces);
    sqlite_planned_writer_close(writer);
    sqlite_revenue_writer_close(writer);
    sqlite3_close(writer->database);
}

/* Takes `count` ids off the counter, or gives them back where it is negative. */
static int draw_ids(struct sqlite_writer *writer, int64_t count, uint64_t *first)
{
    sqlite3_bind_int64(writer->draw_ids, 1, count);
    int result = sqlite3_step(writer->draw_ids);
    if (result == SQLITE_ROW)
        *first = (uint64_t)(sqlite3_column_int64(writer->draw_ids, 0) - count + 1);
    sqlite3_reset(writer->draw_ids);
    return result == SQLITE_ROW ? SQLITE_OK : result;
}

static int publish(struct sqlite_writer *writer, const struct storage_write *write)
{
    sqlite3_stmt *insert = writer->insert_event;
    int result = sqlite3_bind_int64(insert, 1, (sqlite3_int64)write->id);
    if (result == SQLITE_OK)
        result = sqlite_bind(insert, 2, write->channel);
    if (result == SQLITE_OK)
        result = sqlite_bind(insert, 3, write->event_type);
    if (result == SQLITE_OK)
        result = sqlite_bind(insert, 4, write->payload);
    if (result == SQLITE_OK)
        result = sqlite3_bind_int64(insert, 5, write->created_ms);
    return result == SQLITE_OK ? sqlite_run(insert) : result;
}

static int change_subscription(sqlite3_stmt *statement, const struct storage_write *write)
{
    int result = sqlite_bind(statement, 1, write->user);
    if (result == SQLITE_OK)
        result = sqlite_bind(statement, 2, write->channel);
    return result == SQLITE_OK ? sqlite_run(statement) : result;
}

/* --- the reference table --- */

static int store_piece(sqlite3_stmt *statement, const struct storage_write *write)
{
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)write->generation);
    sqlite3_bind_int64(statement, 2, write->number);
    int result = sqlite_bind(statement, 3, write->payload);
    if (result == SQLITE_OK)
        result = sqlite3_bind_int64(statement, 4, write->created_ms);
    return result == SQLITE_OK ? sqlite_run(statement) : result;
}

static int switch_table(sqlite3_stmt *statement, const struct storage_write *write)
{
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)write->generation);
    sqlite3_bind_int64(statement, 2, write->number);
    sqlite3_bind_int64(statement, 3, write->created_ms);
    return sqlite_run(statement);
}

static int purge_pieces(struct sqlite_writer *writer, struct storage_write *write)
{
    sqlite3_bind_int64(writer->purge_pieces, 1, (sqlite3_int64)write->generation);
    sqlite3_bind_int64(writer->purge_pieces, 2, write->created_ms);
    sqlite3_bind_int64(writer->purge_pieces, 3, STORAGE_PURGE_PIECES);
    int result = sqlite_run(writer->purge_pieces);
    write->purged = result == SQLITE_OK ? (uint32_t)sqlite3_changes(writer->database) : 0;
    return result;
}

/* --- batches --- */

static size_t count_published(const struct storage_write_list *writes)
{
    size_t count = 0;
    const struct storage_write *write;
    STAILQ_FOREACH (write, writes, link)
        count += write->kind == STORAGE_PUBLISH ? 1 : 0;
    return count;
}

static int run_writes(struct sqlite_writer *writer, const struct storage_write_list *writes)
{
    size_t published = count_published(writes);
    uint64_t next_id = 0;
    int result = published == 0 ? SQLITE_OK : draw_ids(writer, (int64_t)published, &next_id);
    struct storage_write *write;
    STAILQ_FOREACH (write, writes, link) {
        if (result != SQLITE_OK)
            break;
        switch (write->kind) {
        case STORAGE_PUBLISH:
            write->id = next_id++;
            result = publish(writer, write);
            break;
        case STORAGE_SUBSCRIBE:
            result = change_subscription(writer->subscribe, write);
            break;
        case STORAGE_UNSUBSCRIBE:
            result = change_subscription(writer->unsubscribe, write);
            break;
        case STORAGE_REFERENCE_PIECE:
            result = store_piece(writer->store_piece, write);
            break;
        case STORAGE_REFERENCE_SWITCH:
            result = switch_table(writer->switch_table, write);
            break;
        case STORAGE_REFERENCE_PURGE:
            result = purge_pieces(writer, write);
            break;
        case STORAGE_ADD_EVENT:
            result = sqlite_add_event(writer, write);
            break;
        case STORAGE_MERGE_USERS:
            result = sqlite_merge_users(writer, write);
            break;
        case STORAGE_MERGE_EVENTS:
            result = sqlite_merge_events(writer, write);
            break;
        case STORAGE_COUNT_REVENUE:
            result = sqlite_count_revenue(writer, write);
            break;
        }
    }
    return result;
}

/* Once, until it is over, and not at each of many short failures: a full disk is not to fill the log too. */
static void complain(struct sqlite *sqlite)
{
    sqlite3 *database = sqlite->writer.database;
    bool is_full = (sqlite3_errcode(database) & 0xFF) == SQLITE_FULL;
    if (!sqlite->writer.complained)
        sqlite->writer.complained = log_limited(
            sqlite->log, &sqlite->unwritten, LOG_LEVEL_WARN, "the database took no writes%s error=%s code=%d",
            is_full ? ": make room on its disk" : "", LOG_TEXT(text_from(sqlite3_errmsg(database))),
            sqlite3_extended_errcode(database));
}

static enum storage_result give_up(struct sqlite *sqlite, int error)
{
    complain(sqlite);
    if (sqlite3_get_autocommit(sqlite->writer.database) == 0)
        sqlite_run(sqlite->writer.rollback);
    return (error & 0xFF) == SQLITE_NOMEM ? STORAGE_NO_MEMORY : STORAGE_AWAY;
}

enum storage_result sqlite_commit(void *state, const struct storage_write_list *writes, int64_t deadline_at)
{
    struct sqlite *sqlite = state;
    struct sqlite_writer *writer = &sqlite->writer;
    sqlite_set_deadline(writer->database, deadline_at);
    int result = sqlite_run(writer->begin);
    if (result == SQLITE_OK)
        result = run_writes(writer, writes);
    if (result != SQLITE_OK)
        return give_up(sqlite, result);
    result = sqlite_run(writer->commit);
    if (result == SQLITE_OK) {
        if (writer->complained)
            log_info(sqlite->log, "the database takes writes again");
        writer->complained = false;
        return STORAGE_OK;
    }
    enum storage_result given_up = give_up(sqlite, result);
    /* The transaction may stand in the log, only its sync failed, or the memory for its place in the log's index: a crash now
     * could bring it back. */
    bool may_stand = (result & 0xFF) == SQLITE_IOERR || (result & 0xFF) == SQLITE_NOMEM;
    return may_stand ? STORAGE_UNKNOWN : given_up;
}

/* A later transaction takes the place in the log of the one whose commit failed: that is gone for good. It must change
 * something, as SQLite writes no page whose content stays what it was. */
enum storage_result sqlite_resolve(void *state, const struct storage_write_list *writes, int64_t deadline_at)
{
    (void)writes;
    struct sqlite *sqlite = state;
    struct sqlite_writer *writer = &sqlite->writer;
    uint64_t unused;
    sqlite_set_deadline(writer->database, deadline_at);
    int result = sqlite_run(writer->begin);
    if (result == SQLITE_OK)
        result = draw_ids(writer, 1, &unused);
    if (result == SQLITE_OK)
        result = draw_ids(writer, -1, &unused);
    if (result == SQLITE_OK)
        result = sqlite_run(writer->commit);
    if (result == SQLITE_OK)
        return STORAGE_AWAY;
    give_up(sqlite, result);
    return STORAGE_UNKNOWN;
}
