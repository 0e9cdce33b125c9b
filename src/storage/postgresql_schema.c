/* The tables in PostgreSQL: made on first start, brought up to date later, refused when they are newer than this
 * program. One transaction under an advisory lock: several servers may start at once. */
#include "storage/postgresql_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define SCHEMA_NS (INT64_C(60) * CLOCK_NS_PER_SECOND)

/* Nobody else's: "event-sy" in ASCII. */
#define LOCK_SCHEMA "SELECT pg_advisory_xact_lock(7311142570152522617)"

/* From version i to i + 1. The payload is text, not json: it is kept byte for byte. Names are ordered by their bytes,
 * which no update of the system's collations changes. */
static const char *const migrations[STORAGE_SCHEMA_VERSION] = {
    "CREATE TABLE schema_version (version integer NOT NULL);"
    "INSERT INTO schema_version VALUES (0);"
    "CREATE TABLE events (id bigint PRIMARY KEY, channel text COLLATE \"C\" NOT NULL, event_type text NOT "
    "NULL,"
    " payload text NOT NULL, created_at timestamptz NOT NULL);"
    "CREATE INDEX events_of_channel ON events (channel, id);"
    "CREATE TABLE event_counter (last_id bigint NOT NULL);"
    "INSERT INTO event_counter VALUES (0);"
    "CREATE TABLE user_subscriptions (user_id text COLLATE \"C\", channel text COLLATE \"C\","
    " PRIMARY KEY (user_id, channel));"
    "CREATE TABLE write_batches (batch_id uuid PRIMARY KEY, outcome text NOT NULL, first_id bigint, last_id "
    "bigint,"
    " created_at timestamptz NOT NULL DEFAULT now(),"
    " CHECK (outcome = 'lost' OR (outcome = 'committed' AND first_id IS NOT NULL AND last_id IS NOT NULL)));",

    /* Times are milliseconds since 1970: a table's may be of any year. `one` keeps the second row out. */
    "CREATE TABLE reference_pieces (generation bigint, number bigint, content text NOT NULL,"
    " created_at bigint NOT NULL, PRIMARY KEY (generation, number));"
    "CREATE INDEX reference_pieces_by_age ON reference_pieces (created_at);"
    "CREATE TABLE reference_table (one integer PRIMARY KEY CHECK (one = 1), generation bigint NOT NULL,"
    " piece_count bigint NOT NULL, updated_at bigint NOT NULL);",

    "CREATE TABLE planned_users (user_id text COLLATE \"C\" PRIMARY KEY, attributes text);"
    "CREATE TABLE planned_events (position bigint PRIMARY KEY, id text COLLATE \"C\" NOT NULL UNIQUE,"
    " name text NOT NULL, user_id text COLLATE \"C\" NOT NULL, details text, from_upstream boolean NOT NULL);"
    "CREATE INDEX planned_events_of_user ON planned_events (user_id, position);"
    "ALTER TABLE event_counter ADD COLUMN last_position bigint NOT NULL DEFAULT 0;"
    "ALTER TABLE write_batches ADD COLUMN last_position bigint;",

    "CREATE TABLE users_revenue (user_id text COLLATE \"C\" PRIMARY KEY, revenue numeric NOT NULL);"
    "CREATE TABLE journal_checkpoints (file text COLLATE \"C\" PRIMARY KEY, position bigint NOT NULL,"
    " lines bigint NOT NULL, updated_at timestamptz NOT NULL);"
    "CREATE INDEX journal_checkpoints_by_age ON journal_checkpoints (updated_at);"
    "ALTER TABLE write_batches ADD COLUMN counted text;",
};

/* Runs SQL; the first value of the first row goes into `value`. Returns 0, or -1 and a reason. */
static int run(struct postgresql_link *link, const char *sql, int64_t deadline_at, char value[static 32],
               char reason[static STORAGE_REASON_BYTES])
{
    PGresult *result = NULL;
    bool good = postgresql_link_run(link, sql, deadline_at, &result) == POSTGRESQL_DONE;
    if (good && postgresql_is_error(result)) {
        postgresql_link_blame(link, result);
        good = false;
    }
    value[0] = '\0';
    if (good && PQntuples(result) > 0)
        snprintf(value, 32, "%s", PQgetvalue(result, 0, 0));
    PQclear(result);
    if (!good)
        snprintf(reason, STORAGE_REASON_BYTES, "%.150s; check the rights of the database's user",
                 link->error);
    return good ? 0 : -1;
}

static int check_server(struct postgresql_link *link, int64_t deadline_at,
                        char reason[static STORAGE_REASON_BYTES])
{
    const char *encoding = PQparameterStatus(link->connection, "server_encoding");
    if (encoding == NULL || strcmp(encoding, "UTF8") != 0) {
        snprintf(reason, STORAGE_REASON_BYTES,
                 "the database has the encoding %.32s: create one with ENCODING 'UTF8'",
                 encoding == NULL ? "(none)" : encoding);
        return -1;
    }
    char value[32];
    if (run(link, "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on'",
            deadline_at, value, reason) != 0)
        return -1;
    if (strcmp(value, "t") == 0) {
        snprintf(reason, STORAGE_REASON_BYTES, "the database is a standby or read-only: name the primary");
        return -1;
    }
    return 0;
}

static int migrate(struct postgresql_link *link, int version, int64_t deadline_at,
                   char reason[static STORAGE_REASON_BYTES])
{
    char value[32], set_version[64];
    for (int i = version; i < STORAGE_SCHEMA_VERSION; i++)
        if (run(link, migrations[i], deadline_at, value, reason) != 0)
            return -1;
    if (version == STORAGE_SCHEMA_VERSION)
        return 0;
    snprintf(set_version, sizeof set_version, "UPDATE schema_version SET version = %d",
             STORAGE_SCHEMA_VERSION);
    return run(link, set_version, deadline_at, value, reason);
}

int postgresql_prepare_schema(struct postgresql_link *link, char reason[static STORAGE_REASON_BYTES])
{
    int64_t deadline_at = clock_monotonic_ns() + SCHEMA_NS;
    char value[32];
    if (check_server(link, deadline_at, reason) != 0 ||
        run(link, "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = on", deadline_at,
            value, reason) != 0 ||
        run(link, LOCK_SCHEMA, deadline_at, value, reason) != 0 ||
        run(link, "SELECT to_regclass('schema_version')", deadline_at, value, reason) != 0)
        return -1;
    long version = 0;
    if (value[0] != '\0') {
        if (run(link, "SELECT max(version) FROM schema_version", deadline_at, value, reason) != 0)
            return -1;
        version = strtol(value, NULL, 10);
    }
    if (version > STORAGE_SCHEMA_VERSION) {
        snprintf(
            reason, STORAGE_REASON_BYTES,
            "its tables have version %ld, this program knows versions up to %d: use a newer event-syncer",
            version, STORAGE_SCHEMA_VERSION);
        return -1;
    }
    if (migrate(link, (int)version, deadline_at, reason) != 0)
        return -1;
    return run(link, "COMMIT", deadline_at, value, reason);
}
