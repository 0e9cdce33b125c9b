/* The SQLite engine: opening and closing, and what its other files share. */
#include "storage/sqlite_internal.h"

#include "base/clock.h"
#include "base/sync.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int sqlite_connect(const char *path, int flags, sqlite3 **database)
{
    int result = sqlite3_open_v2(path, database, flags | SQLITE_OPEN_NOMUTEX, NULL);
    if (result != SQLITE_OK)
        return -1;
    sqlite3_extended_result_codes(*database, 1);
    return 0;
}

int sqlite_prepare(sqlite3 *database, const struct sqlite_statement *statements, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (sqlite3_prepare_v3(database, statements[i].sql, -1, SQLITE_PREPARE_PERSISTENT,
                               statements[i].statement, NULL) != SQLITE_OK)
            return -1;
    }
    return 0;
}

int sqlite_run(sqlite3_stmt *statement)
{
    int result = sqlite3_step(statement);
    sqlite3_reset(statement);
    return result == SQLITE_DONE || result == SQLITE_ROW ? SQLITE_OK : result;
}

int sqlite_bind(sqlite3_stmt *statement, int index, struct text text)
{
    return sqlite3_bind_text64(statement, index, text.length == 0 ? "" : text.bytes, text.length,
                               SQLITE_STATIC, SQLITE_UTF8);
}

int sqlite_look_up(sqlite3_stmt *statement, struct text key)
{
    int result = sqlite_bind(statement, 1, key);
    return result == SQLITE_OK ? sqlite3_step(statement) : result;
}

int sqlite_bind_optional(sqlite3_stmt *statement, int index, struct text text)
{
    return text.length == 0 ? sqlite3_bind_null(statement, index) : sqlite_bind(statement, index, text);
}

struct text sqlite_text(sqlite3_stmt *statement, int column)
{
    const char *bytes = (const char *)sqlite3_column_text(statement, column);
    return (struct text){.bytes = bytes, .length = (size_t)sqlite3_column_bytes(statement, column)};
}

void sqlite_set_deadline(sqlite3 *database, int64_t deadline_at)
{
    int64_t left_ms = (deadline_at - clock_monotonic_ns()) / CLOCK_NS_PER_MS;
    if (left_ms < 0)
        left_ms = 0;
    sqlite3_busy_timeout(database, left_ms > 60000 ? 60000 : (int)left_ms);
}

static void sqlite_close(void *state)
{
    struct sqlite *sqlite = state;
    sqlite_readers_close(sqlite);
    sqlite_writer_close(sqlite);
    pthread_mutex_destroy(&sqlite->mutex);
    pthread_cond_destroy(&sqlite->reader_idle);
    free(sqlite->path);
    free(sqlite);
}

static struct sqlite *create(const struct storage_options *options)
{
    struct sqlite *sqlite = calloc(1, sizeof *sqlite);
    if (sqlite == NULL)
        return NULL;
    sqlite->log = options->log;
    sqlite->path = strdup(options->url + strlen("sqlite:"));
    if (sqlite->path == NULL || sync_condition_init(&sqlite->reader_idle) != 0) {
        free(sqlite->path);
        free(sqlite);
        return NULL;
    }
    pthread_mutex_init(&sqlite->mutex, NULL);
    STAILQ_INIT(&sqlite->idle);
    atomic_store(&sqlite->available, true);
    return sqlite;
}

/* One line of what went wrong, and what to do. */
static void explain(const struct sqlite *sqlite, char reason[static STORAGE_REASON_BYTES])
{
    const char *advice = "";
    switch (sqlite3_errcode(sqlite->writer.database)) {
    case SQLITE_NOTADB:
        advice = "; name another file with --database sqlite:FILE";
        break;
    case SQLITE_CANTOPEN:
        advice = "; check that the folder exists and may be written to";
        break;
    case SQLITE_READONLY:
        advice = "; the file and its folder must be writable";
        break;
    case SQLITE_BUSY:
        advice = "; another program holds it: end that, or name another file with --database sqlite:FILE";
        break;
    default:
        break;
    }
    snprintf(reason, STORAGE_REASON_BYTES, "%s: %s%s", sqlite->path,
             sqlite->writer.database == NULL ? "out of memory" : sqlite3_errmsg(sqlite->writer.database),
             advice);
}

/* SQLite would find out too, but leave files beside it that have the same mode. */
static bool may_write(const struct sqlite *sqlite, char reason[static STORAGE_REASON_BYTES])
{
    if (access(sqlite->path, F_OK) != 0 || access(sqlite->path, R_OK | W_OK) == 0)
        return true;
    snprintf(reason, STORAGE_REASON_BYTES, "%s: %s; the file and its folder must be writable", sqlite->path,
             strerror(errno));
    return false;
}

static void *sqlite_open(const struct storage_options *options, char reason[static STORAGE_REASON_BYTES])
{
    if (options->url[strlen("sqlite:")] == '\0') {
        snprintf(reason, STORAGE_REASON_BYTES, "no file is named behind sqlite:");
        return NULL;
    }
    struct sqlite *sqlite = create(options);
    if (sqlite == NULL) {
        snprintf(reason, STORAGE_REASON_BYTES, "out of memory");
        return NULL;
    }
    reason[0] = '\0';
    if (may_write(sqlite, reason) &&
        sqlite_connect(sqlite->path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &sqlite->writer.database) ==
            0 &&
        sqlite_prepare_schema(sqlite->writer.database, reason) == 0 && sqlite_writer_open(sqlite) == 0 &&
        sqlite_readers_open(sqlite) == 0)
        return sqlite;
    if (reason[0] == '\0')
        explain(sqlite, reason);
    sqlite_close(sqlite);
    return NULL;
}

static bool sqlite_is_available(void *state)
{
    struct sqlite *sqlite = state;
    return atomic_load(&sqlite->available);
}

const struct storage_engine storage_sqlite = {
    .name = "sqlite",
    .open = sqlite_open,
    .close = sqlite_close,
    .is_available = sqlite_is_available,
    .commit = sqlite_commit,
    .resolve = sqlite_resolve,
    .events = sqlite_events,
    .newest_id = sqlite_newest_id,
    .subscriptions = sqlite_subscriptions,
    .reference = sqlite_reference,
    .reference_piece = sqlite_reference_piece,
    .planned_events = sqlite_planned_events,
    .planned_position = sqlite_planned_position,
    .planned_users_named = sqlite_planned_users_named,
    .planned_users = sqlite_planned_users,
    .planned_event_ids = sqlite_planned_event_ids,
    .revenue = sqlite_revenue,
    .checkpoint = sqlite_checkpoint,
    .checkpoints = sqlite_checkpoints,
};
