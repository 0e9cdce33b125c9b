/* The SQL of the engine, but for the tables (postgresql_schema.c). */
#include "storage/postgresql_internal.h"

#define TEXT_OF_TOKEN(token) #token
#define TEXT_OF(macro)       TEXT_OF_TOKEN(macro)

/* Names that this version of the server does not know are left out. The server's own keepalives end the session of a
 * client whose machine has vanished: it may hold the counter's lock, and waits in the middle of a pipeline, where no
 * other timeout counts. Reads are to use the indexes whatever the statistics say: time must not depend on how many
 * events there are. (What is left without an index then seems so dear that it would be compiled: 40 ms.) */
#define STATEMENT_TIMEOUT "(1500 * " TEXT_OF(DEADLINE_SCALE) ")::text"
const char postgresql_settings[] =
    "SELECT set_config(s.name, v.setting, false) FROM (VALUES"
    " ('synchronous_commit', 'on'), ('default_transaction_isolation', 'read committed'),"
    " ('client_min_messages', 'warning'), ('statement_timeout', " STATEMENT_TIMEOUT "),"
    " ('lock_timeout', '0'), ('idle_in_transaction_session_timeout', '5000'), ('idle_session_timeout', '0'),"
    " ('tcp_keepalives_idle', '3'), ('tcp_keepalives_interval', '1'), ('tcp_keepalives_count', '3'),"
    " ('tcp_user_timeout', '5000'), ('enable_seqscan', 'off'), ('enable_bitmapscan', 'off'),"
    " ('jit', 'off'))"
    " AS v (name, setting) JOIN pg_settings s ON s.name = v.name";

#define NOT_CURRENT " AND generation IS DISTINCT FROM (SELECT generation FROM reference_table WHERE one = 1)"

#define ADDED                                                                                                \
    " FROM write_batches b, unnest($4::text[], $5::text[], $6::text[], $7::text[])"                          \
    " WITH ORDINALITY AS a (id, name, user_id, details, place) WHERE b.batch_id = $1::uuid"
#define ADDED_POSITION "b.last_position - $2::bigint + $3::bigint + a.place"
#define INSERT_EVENTS  "INSERT INTO planned_events AS e (position, id, name, user_id, details, from_upstream) "

/* Planned events and their users. What is there already is looked for row by row, by subqueries that can't become joins,
 * which might walk through all rows.
 * "add_events" and "add_events_with_ids" are $1 batch id, $2 how many the batch adds, $3 how many of them came before, and
 * the columns; ids are the spare ones in the first. "added_events" gives the position of each, and whether it has the spare
 * id. In "merge_users" and "merge_events" no id comes twice; unchanged rows are not even locked. */
#define ADD_EVENTS                                                                                           \
    "WITH added AS (SELECT " ADDED_POSITION " AS position, a.*" ADDED "),"                                   \
    " users AS (INSERT INTO planned_users (user_id) SELECT user_id FROM added ON CONFLICT DO "               \
    "NOTHING) " INSERT_EVENTS "SELECT position, CASE WHEN (SELECT true FROM planned_events o"                \
    " WHERE o.id = added.position::text) THEN id ELSE position::text END,"                                   \
    " name, user_id, nullif(details, ''), false FROM added"
#define ADD_EVENTS_WITH_IDS                                                                                  \
    "WITH added AS (SELECT DISTINCT ON (a.id) " ADDED_POSITION " AS position, a.*" ADDED                     \
    " AND (SELECT true FROM planned_events o WHERE o.id = a.id) IS NULL ORDER BY a.id, a.place),"            \
    " users AS (INSERT INTO planned_users (user_id) SELECT user_id FROM added ON CONFLICT DO "               \
    "NOTHING) " INSERT_EVENTS "SELECT position, id, name, user_id, nullif(details, ''), true FROM added"
#define ADDED_EVENTS                                                                                         \
    "SELECT CASE WHEN event_id = '' THEN position"                                                           \
    " ELSE (SELECT o.position FROM planned_events o WHERE o.id = event_id) END,"                             \
    " event_id = '' AND"                                                                                     \
    " (SELECT o.id <> o.position::text FROM planned_events o WHERE o.position = added.position)"             \
    " FROM (SELECT a.event_id, b.last_position - cardinality($2::text[]) + a.place AS position"              \
    " FROM write_batches b, unnest($2::text[]) WITH ORDINALITY AS a (event_id, place)"                       \
    " WHERE b.batch_id = $1::uuid) added ORDER BY added.position"
#define MERGE_USERS                                                                                          \
    "INSERT INTO planned_users AS u (user_id, attributes)"                                                   \
    " SELECT g.id, nullif(g.attributes, '')"                                                                 \
    " FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS g (id, name, user_id, attributes)"      \
    " LEFT JOIN LATERAL (SELECT true AS known, o.attributes FROM planned_users o"                            \
    " WHERE o.user_id = g.id LIMIT 1) o ON true"                                                             \
    " WHERE o.known IS NULL OR o.attributes IS DISTINCT FROM nullif(g.attributes, '')"                       \
    " ON CONFLICT (user_id) DO UPDATE SET attributes = excluded.attributes"
#define MERGE_EVENTS                                                                                         \
    "WITH given AS MATERIALIZED (SELECT o.position, g.id, g.name, g.user_id, nullif(g.details, '') AS"       \
    " details, g.place FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])"                          \
    " WITH ORDINALITY AS g (id, name, user_id, details, place)"                                              \
    " LEFT JOIN LATERAL (SELECT * FROM planned_events o WHERE o.id = g.id LIMIT 1) o ON true"                \
    " WHERE o.position IS NULL OR (o.from_upstream AND (o.name, o.user_id, o.details)"                       \
    " IS DISTINCT FROM (g.name, g.user_id, nullif(g.details, '')))),"                                        \
    " fresh AS (SELECT count(*) AS number FROM given WHERE position IS NULL),"                               \
    " drawn AS (UPDATE event_counter SET last_position = last_position + (SELECT number FROM fresh)"         \
    " WHERE (SELECT number FROM fresh) > 0 RETURNING last_position - (SELECT number FROM fresh) AS"          \
    " before),"                                                                                              \
    " users AS (INSERT INTO planned_users (user_id) SELECT user_id FROM given ON CONFLICT DO "               \
    "NOTHING) " INSERT_EVENTS "SELECT coalesce(position, (SELECT before FROM drawn)"                         \
    " + row_number() OVER (PARTITION BY position IS NULL ORDER BY place)),"                                  \
    " id, name, user_id, details, true FROM given"                                                           \
    " ON CONFLICT (id) DO UPDATE SET name = excluded.name, user_id = excluded.user_id,"                      \
    " details = excluded.details"

/* "count_revenue" is $1 batch id, $2 file, $3 position before, $4 after, $5 lines, and the columns. A letter for what became
 * of it is added to the batch's row: 'c' counted, 'o' overflowed, 't' overtaken. Other servers wait for the counter: that
 * the checkpoint is looked at again where it is moved is for who writes without it. */
#define COUNT_REVENUE                                                                                        \
    "WITH given AS MATERIALIZED (SELECT user_id, amount::numeric AS amount"                                  \
    " FROM unnest($6::text[], $7::text[]) AS g (user_id, amount)"                                            \
    " WHERE coalesce((SELECT position FROM journal_checkpoints WHERE file = $2::text), 0) = $3::bigint),"    \
    " fits AS MATERIALIZED (SELECT NOT EXISTS (SELECT FROM given WHERE abs(amount + coalesce("               \
    "(SELECT o.revenue FROM users_revenue o WHERE o.user_id = given.user_id), 0)) >= 1e36) AS fits),"        \
    " moved AS (INSERT INTO journal_checkpoints AS c (file, position, lines, updated_at)"                    \
    " SELECT $2::text, $4::bigint, $5::bigint, clock_timestamp() FROM fits WHERE fits AND ($3::bigint = 0"   \
    " OR EXISTS (SELECT FROM journal_checkpoints WHERE file = $2::text AND position = $3::bigint))"          \
    " ON CONFLICT (file) DO UPDATE SET position = excluded.position, lines = excluded.lines,"                \
    " updated_at = excluded.updated_at WHERE c.position = $3::bigint RETURNING position),"                   \
    " added AS (INSERT INTO users_revenue AS r (user_id, revenue) SELECT user_id, amount FROM given"         \
    " WHERE EXISTS (SELECT FROM moved) ON CONFLICT (user_id) DO UPDATE"                                      \
    " SET revenue = r.revenue + excluded.revenue)"                                                           \
    " UPDATE write_batches SET counted = concat(counted, CASE WHEN EXISTS (SELECT FROM moved) THEN 'c'"      \
    " WHEN (SELECT fits FROM fits) THEN 't' ELSE 'o' END) WHERE batch_id = $1::uuid RETURNING counted"

/* "draw" is $1 batch id, $2 how many ids, $3 batch id whose row may go, $4 how many positions. "publish" is $1 batch id, $2
 * how many of the batch were inserted before, and the columns. The counter can't be missing: a row 'committed' must have
 * ids. "purge_pieces" ($1 generation, $2 stored before, $3 how many) finds rows by an index for each part, and deletes them
 * by their places, which hold, as nobody else writes meanwhile: a join might walk through all pieces. */
static const struct postgresql_statement writer_statements[] = {
    {"begin", "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"},
    {"draw", "WITH drawn AS (UPDATE event_counter SET last_id = last_id + $2::bigint,"
             " last_position = last_position + $4::bigint RETURNING last_id, last_position),"
             " gone AS (DELETE FROM write_batches WHERE batch_id = $3::uuid)"
             " INSERT INTO write_batches (batch_id, outcome, first_id, last_id, last_position)"
             " VALUES ($1::uuid, 'committed', (SELECT last_id FROM drawn) - $2::bigint + 1,"
             " (SELECT last_id FROM drawn), (SELECT last_position FROM drawn)) RETURNING last_id"},
    {"publish", "INSERT INTO events (id, channel, event_type, payload, created_at)"
                " SELECT b.first_id + $2::bigint + e.place - 1, e.channel, e.event_type, e.payload,"
                " timestamptz 'epoch' + e.created_ms * interval '1 millisecond'"
                " FROM write_batches b, unnest($3::text[], $4::text[], $5::text[], $6::bigint[])"
                " WITH ORDINALITY AS e (channel, event_type, payload, created_ms, place)"
                " WHERE b.batch_id = $1::uuid"},
    {"subscribe", "INSERT INTO user_subscriptions (user_id, channel)"
                  " SELECT user_id, channel FROM unnest($1::text[], $2::text[]) AS s (user_id, channel)"
                  " ON CONFLICT DO NOTHING"},
    {"unsubscribe", "WITH ended AS (DELETE FROM user_subscriptions s"
                    " USING unnest($1::text[], $2::text[]) AS e (user_id, channel)"
                    " WHERE s.user_id = e.user_id AND s.channel = e.channel RETURNING s.user_id, s.channel)"
                    " SELECT pg_notify('event_syncer_unsubscribed',"
                    " octet_length(user_id) || ':' || user_id || channel) FROM ended"},
    {"notify", "NOTIFY event_syncer"},
    {"store_pieces", "INSERT INTO reference_pieces (generation, number, content, created_at)"
                     " SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[])"
                     " ON CONFLICT DO NOTHING"},
    {"switch_table", "INSERT INTO reference_table (one, generation, piece_count, updated_at)"
                     " VALUES (1, $1::bigint, $2::bigint, $3::bigint)"
                     " ON CONFLICT (one) DO UPDATE SET generation = excluded.generation,"
                     " piece_count = excluded.piece_count, updated_at = excluded.updated_at"},
    {"purge_pieces", "DELETE FROM reference_pieces WHERE ctid = ANY (ARRAY("
                     "(SELECT ctid FROM reference_pieces WHERE generation = $1::bigint" NOT_CURRENT
                     " ORDER BY number LIMIT $3::bigint) UNION "
                     "(SELECT ctid FROM reference_pieces WHERE created_at < $2::bigint" NOT_CURRENT
                     " ORDER BY created_at LIMIT $3::bigint) LIMIT $3::bigint))"},
    {"add_events", ADD_EVENTS},
    {"add_events_with_ids", ADD_EVENTS_WITH_IDS},
    {"added_events", ADDED_EVENTS},
    {"merge_users", MERGE_USERS},
    {"merge_events", MERGE_EVENTS},
    {"count_revenue", COUNT_REVENUE},
    {"commit", "COMMIT"},
    {"rollback", "ROLLBACK"},
    {"tombstone", "INSERT INTO write_batches (batch_id, outcome) VALUES ($1::uuid, 'lost')"
                  " ON CONFLICT DO NOTHING"},
    {"outcome", "SELECT outcome, last_id, counted FROM write_batches WHERE batch_id = $1::uuid"},
    {"purge", "DELETE FROM write_batches WHERE created_at < now() - interval '1 day'"},
    {NULL, NULL},
};

/* "events_of_channels" compares (channel, id) as a pair, which only the index on the two can serve: the primary key
 * would be walked through past all events of other channels. A page ends where the payloads before have bytes enough; their
 * lengths are known without reading those that lie out of line. */
#define SELECT_PAGE                                                                                          \
    "SELECT id, (extract(epoch FROM created_at) * 1000)::bigint, channel, event_type, payload FROM"          \
    " (SELECT e.*, sum(octet_length(e.payload)) OVER (ORDER BY e.id) - octet_length(e.payload) AS before "   \
    "FROM "
#define END_OF_PAGE " e) p WHERE before < $4::bigint ORDER BY id"

#define PLANNED_BYTES "octet_length(e.name) + coalesce(octet_length(e.details), 0)"
#define SELECT_PLANNED                                                                                       \
    "SELECT position, id, name, user_id, details FROM (SELECT e.*, sum(" PLANNED_BYTES                       \
    ") OVER (ORDER BY e.position) - (" PLANNED_BYTES ") AS before FROM (SELECT * FROM planned_events"
#define END_OF_PLANNED " LIMIT $2::bigint) e) p WHERE before < $3::bigint ORDER BY position"

static const struct postgresql_statement reader_statements[] = {
    {"events", SELECT_PAGE "(SELECT * FROM events WHERE id > $1::bigint AND id <= $2::bigint"
                           " ORDER BY id LIMIT $3::bigint)" END_OF_PAGE},
    {"events_of_channels", SELECT_PAGE
     "(SELECT f.* FROM unnest($5::text[]) AS c (channel) CROSS JOIN LATERAL (SELECT * FROM events"
     " WHERE (events.channel, id) > (c.channel, $1::bigint)"
     " AND (events.channel, id) <= (c.channel, $2::bigint)"
     " ORDER BY events.channel, id LIMIT $3::bigint) f ORDER BY f.id LIMIT $3::bigint)" END_OF_PAGE},
    {"newest_id", "SELECT last_id FROM event_counter"},
    {"reference", "SELECT generation, piece_count, updated_at FROM reference_table WHERE one = 1"},
    {"reference_piece",
     "SELECT content FROM reference_pieces WHERE generation = $1::bigint AND number = $2::bigint"},
    {"planned_events", SELECT_PLANNED " WHERE position > $1::bigint ORDER BY position" END_OF_PLANNED},
    {"planned_events_of_user",
     SELECT_PLANNED " WHERE (user_id, position) > ($4::text, $1::bigint) AND (user_id, position) <="
                    " ($4::text, 9223372036854775807) ORDER BY user_id, position" END_OF_PLANNED},
    {"planned_position", "SELECT position FROM planned_events WHERE id = $1::text"},
    {"planned_users_named",
     "SELECT g.place, u.attributes FROM unnest($1::text[]) WITH ORDINALITY AS g (user_id, place) CROSS JOIN"
     " LATERAL (SELECT attributes FROM planned_users o WHERE o.user_id = g.user_id LIMIT 1) u"},
    {"planned_users",
     "SELECT user_id, attributes FROM (SELECT u.*, sum(coalesce(octet_length(u.attributes), 0))"
     " OVER (ORDER BY u.user_id) - coalesce(octet_length(u.attributes), 0) AS before FROM"
     " (SELECT * FROM planned_users WHERE user_id > $1::text ORDER BY user_id LIMIT $2::bigint) u) p"
     " WHERE before < $3::bigint ORDER BY user_id"},
    {"planned_event_ids",
     "SELECT g.place, e.position, e.id FROM unnest($1::text[]) WITH ORDINALITY AS g (user_id, place)"
     " CROSS JOIN LATERAL (SELECT position, id FROM planned_events o WHERE (o.user_id, o.position) >"
     " (g.user_id, CASE g.place WHEN 1 THEN $2::bigint ELSE 0 END) AND (o.user_id, o.position) <="
     " (g.user_id, 9223372036854775807) ORDER BY o.user_id, o.position LIMIT $3::bigint) e"
     " ORDER BY g.place, e.position LIMIT $3::bigint"},
    {"revenue", "SELECT revenue FROM users_revenue WHERE user_id = $1::text"},
    {"checkpoint", "SELECT file, position, lines FROM journal_checkpoints WHERE file = $1::text"},
    {"checkpoints", "SELECT file, position, lines FROM journal_checkpoints ORDER BY updated_at DESC"
                    " LIMIT $1::bigint"},
    {"subscriptions",
     "SELECT channel FROM user_subscriptions WHERE user_id = $1::text ORDER BY channel COLLATE \"C\""},
    {NULL, NULL},
};

const struct postgresql_statement *postgresql_statements(enum postgresql_role role)
{
    return role == POSTGRESQL_WRITER ? writer_statements : reader_statements;
}
