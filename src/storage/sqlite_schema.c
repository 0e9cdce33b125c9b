/* The tables in SQLite: made on first start, brought up to date later, refused when they are newer than this program. */
#include "storage/sqlite_internal.h"

#include "base/clock.h"

#include <poll.h>
#include <stdio.h>

enum { OPEN_WAIT_MS = 3000, OPEN_PAUSE_MS = 5 };

/* From version i to i + 1. */
static const char *const migrations[STORAGE_SCHEMA_VERSION] = {
    "CREATE TABLE events ("
    " id INTEGER PRIMARY KEY, channel TEXT NOT NULL, event_type TEXT NOT NULL, payload TEXT NOT NULL,"
    " created_at INTEGER NOT NULL);" /* milliseconds since 1970, UTC */
    "CREATE INDEX events_of_channel ON events (channel, id);"
    "CREATE TABLE event_counter (last_id INTEGER NOT NULL);"
    "INSERT INTO event_counter VALUES (0);"
    "CREATE TABLE user_subscriptions ("
    " user_id TEXT NOT NULL, channel TEXT NOT NULL, PRIMARY KEY (user_id, channel)) WITHOUT ROWID;",

    "CREATE TABLE reference_pieces ("
    " generation INTEGER NOT NULL, number INTEGER NOT NULL, content TEXT NOT NULL,"
    " created_at INTEGER NOT NULL, PRIMARY KEY (generation, number));"
    /* The generation is there so that a purge passes over the current table without reading its rows. */
    "CREATE INDEX reference_pieces_by_age ON reference_pieces (created_at, generation);"
    /* One row at most. */
    "CREATE TABLE reference_table ("
    " one INTEGER PRIMARY KEY CHECK (one = 1), generation INTEGER NOT NULL, piece_count INTEGER NOT NULL,"
    " updated_at INTEGER NOT NULL);",

    "CREATE TABLE planned_users (user_id TEXT NOT NULL PRIMARY KEY, attributes TEXT);"
    "CREATE TABLE planned_events ("
    " position INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, name TEXT NOT NULL, user_id TEXT NOT NULL,"
    " details TEXT, from_upstream INTEGER NOT NULL);"
    "CREATE INDEX planned_events_of_user ON planned_events (user_id, position);"
    "ALTER TABLE event_counter ADD COLUMN last_position INTEGER NOT NULL DEFAULT 0;",

    /* A revenue is an exact decimal, in the notation of decimal_format. */
    "CREATE TABLE users_revenue (user_id TEXT NOT NULL PRIMARY KEY, revenue TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE journal_checkpoints ("
    " file TEXT NOT NULL PRIMARY KEY, position INTEGER NOT NULL, lines INTEGER NOT NULL,"
    " updated_at INTEGER NOT NULL) WITHOUT ROWID;" /* milliseconds since 1970, UTC */
    "CREATE INDEX journal_checkpoints_by_age ON journal_checkpoints (updated_at);",
};

static int read_version(sqlite3 *database, int *version)
{
    sqlite3_stmt *statement = NULL;
    int result = sqlite3_prepare_v2(database, "PRAGMA user_version", -1, &statement, NULL);
    if (result == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW) {
        *version = sqlite3_column_int(statement, 0);
        sqlite3_finalize(statement);
        return 0;
    }
    sqlite3_finalize(statement);
    return -1;
}

static int migrate(sqlite3 *database, int version)
{
    for (int i = version; i < STORAGE_SCHEMA_VERSION; i++) {
        char set_version[64];
        snprintf(set_version, sizeof set_version, "PRAGMA user_version = %d", i + 1);
        if (sqlite3_exec(database, migrations[i], NULL, NULL, NULL) != SQLITE_OK ||
            sqlite3_exec(database, set_version, NULL, NULL, NULL) != SQLITE_OK)
            return -1;
    }
    return 0;
}

/* Of two that make a new file at a time, SQLite tells one at once that it is locked: waiting could be a deadlock for it. Not
 * for us, who hold nothing yet. */
static int use_write_ahead_log(sqlite3 *database)
{
    int64_t deadline_at = clock_monotonic_ns() + OPEN_WAIT_MS * CLOCK_NS_PER_MS;
    int result;
    while ((result = sqlite3_exec(database, "PRAGMA journal_mode = WAL", NULL, NULL, NULL)) == SQLITE_BUSY &&
           clock_monotonic_ns() < deadline_at)
        poll(NULL, 0, OPEN_PAUSE_MS);
    return result;
}

int sqlite_prepare_schema(sqlite3 *database, char reason[static STORAGE_REASON_BYTES])
{
    int version = 0;
    sqlite3_busy_timeout(database, OPEN_WAIT_MS);
    /* IMMEDIATE shows at once whether the file can be written to, and keeps a second server out meanwhile. */
    if (use_write_ahead_log(database) != SQLITE_OK ||
        sqlite3_exec(database, "PRAGMA synchronous = FULL; BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK ||
        read_version(database, &version) != 0)
        return -1;
    if (version > STORAGE_SCHEMA_VERSION) {
        snprintf(reason, STORAGE_REASON_BYTES,
                 "its tables have version %d, this program knows versions up to %d: use a newer event-syncer",
                 version, STORAGE_SCHEMA_VERSION);
        return -1;
    }
    if (migrate(database, version) != 0)
        return -1;
    return sqlite3_exec(database, "COMMIT", NULL, NULL, NULL) == SQLITE_OK ? 0 : -1;
}
