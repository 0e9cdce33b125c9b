/* What the files of the PostgreSQL engine share.
 *
 * What it is
 *   A link is one connection (PGconn), driven without blocking: every call ends by its deadline. The pool of links has
 *   one for the writer thread and READER_LINKS for reads. A link is lent to one caller at a time; a call that fails on
 *   the level of the connection, or does not end in time, leaves it broken: its answers would come in somebody else's
 *   call. A thread of its own, the connector, connects broken links again, with exponential back-off and jitter, since
 *   the resolution of names may block. The listener is a thread with a connection of its own, which waits for
 *   notifications (LISTEN).
 *
 * Ids
 *   The first statement of every write transaction updates the one row of event_counter, also when it draws no ids: so
 *   write transactions come one after the other, ids become visible in their order, and no two can deadlock. The positions
 *   of planned events come from that row, too: with that first statement for the events that are added, so that they are
 *   known from the batch's row; for those that are merged when it is known how many are new.
 *
 * The outcome of a transaction whose connection was lost
 *   Each inserts a batch id of its own into write_batches; what became of its writes of revenue, a letter each, is added to
 *   that row. While COMMIT has not been sent, nothing can have been
 *   stored. After that the batch is open: the writer inserts the same batch id itself, as a tombstone. Whichever row is
 *   there then is the outcome, for good: the lost transaction's, which committed, or the tombstone, which makes the
 *   lost transaction fail on the unique key even if its backend should still be alive.
 *   The row of a batch that is known to have committed serves nobody any more: the next transaction deletes it.
 *   Tombstones, and rows of servers that ended, go after a day.
 *
 * Who owns what
 *   The pool owns the links; `writer` belongs to the writer thread; the listener's link to the listener. PGresults
 *   belong to whoever got them.
 *
 * Locks: links.mutex guards the states of the links and the connector's (leaf; no call of libpq under it).
 *
 * Times are instants of CLOCK_MONOTONIC in nanoseconds. Failures are `enum postgresql_flow`; why is in link->error, one
 * line without secrets.
 */
#ifndef STORAGE_POSTGRESQL_INTERNAL_H
#define STORAGE_POSTGRESQL_INTERNAL_H

#include "base/buffer.h"
#include "base/clock.h"
#include "storage/engine.h"

#include <libpq-fe.h>
#include <stdatomic.h>

enum {
    POSTGRESQL_READER_LINKS = 4,
    POSTGRESQL_LINKS = 1 + POSTGRESQL_READER_LINKS,
    POSTGRESQL_NUMBER_BYTES = 24,
    POSTGRESQL_BATCH_ID_BYTES = 2 * 16 + 1, /* 128 random bits as hexadecimal digits, and a NUL */
};

#define POSTGRESQL_CONNECT_NS (INT64_C(2) * CLOCK_NS_PER_SECOND * DEADLINE_SCALE)

/* --- postgresql_link.c: one connection --- */

enum postgresql_flow {
    POSTGRESQL_DONE,
    POSTGRESQL_LATE, /* the deadline has passed */
    POSTGRESQL_LOST, /* the connection is of no use any more, or close() interrupted the wait */
};

enum postgresql_role {
    POSTGRESQL_WRITER,
    POSTGRESQL_READER,
    POSTGRESQL_ROLES,
};

enum postgresql_link_state {
    POSTGRESQL_BROKEN, /* the connector's */
    POSTGRESQL_IDLE,   /* the pool's */
    POSTGRESQL_LENT,   /* a caller's */
};

struct postgresql_link {
    PGconn *connection; /* NULL while there is none */
    int interrupt;      /* an eventfd that ends waits; the engine's */
    enum postgresql_role role;
    enum postgresql_link_state state; /* links.mutex */
    char error[STORAGE_REASON_BYTES]; /* why the last function failed */
};

/* A parameter of a statement: a NUL-terminated text, or (length > 0) binary. */
struct postgresql_parameter {
    const char *value;
    size_t length;
};

/* Connects, without anything that needs our tables. */
enum postgresql_flow postgresql_link_open(struct postgresql_link *link, const char *url, int64_t deadline_at);

/* Makes the session's settings, enters pipeline mode and prepares the statements of the link's role. */
enum postgresql_flow postgresql_link_set_up(struct postgresql_link *link, int64_t deadline_at);

/* Ends the connection, if there is one. */
void postgresql_link_close(struct postgresql_link *link);

/* Whether the server has not closed the idle connection. */
bool postgresql_link_is_alive(struct postgresql_link *link);

/* Waits until the socket can be read from, or written to where `events` says so, or for some time; then takes in what
 * has come. */
enum postgresql_flow postgresql_link_wait(struct postgresql_link *link, short events, int64_t deadline_at);

/* Outside of pipeline mode: runs SQL, one statement or several, and gives the last result, which may be an error. */
enum postgresql_flow postgresql_link_run(struct postgresql_link *link, const char *sql, int64_t deadline_at,
                                         PGresult **result);

/* In pipeline mode: adds a prepared statement to what is to be sent. Returns 0, or -1 without memory or connection. */
int postgresql_link_add(struct postgresql_link *link, const char *statement,
                        const struct postgresql_parameter *parameters, size_t count);

/* In pipeline mode: adds a synchronization point, where a failed pipeline goes on. Returns 0 or -1. */
int postgresql_link_add_sync(struct postgresql_link *link);

/* Sends what was added, and takes in what comes meanwhile. */
enum postgresql_flow postgresql_link_flush(struct postgresql_link *link, int64_t deadline_at);

/* In pipeline mode: waits for the next result, of a statement (an error, too) or of a synchronization point. */
enum postgresql_flow postgresql_link_next(struct postgresql_link *link, int64_t deadline_at,
                                          PGresult **result);

/* In pipeline mode: runs one prepared statement in a transaction of its own and gives its result, which may be an
 * error. */
enum postgresql_flow postgresql_link_ask(struct postgresql_link *link, const char *statement,
                                         const struct postgresql_parameter *parameters, size_t count,
                                         int64_t deadline_at, PGresult **result);

/* Whether the server says that a statement failed and it goes on: what was not committed is rolled back for sure. (A
 * session that is being ended may have committed.) */
bool postgresql_is_error(const PGresult *result);

/* Remembers the result's message as link->error. */
void postgresql_link_blame(struct postgresql_link *link, const PGresult *result);

/* --- postgresql_statements.c --- */

struct postgresql_statement {
    const char *name;
    const char *sql;
};

/* The statements of a role; the list ends with a NULL name. */
const struct postgresql_statement *postgresql_statements(enum postgresql_role role);

/* SQL that makes the settings of a session. */
extern const char postgresql_settings[];

/* --- postgresql_links.c: the pool and the connector --- */

struct postgresql;

struct postgresql_links {
    pthread_t connector;
    bool has_connector;
    pthread_mutex_t mutex;
    pthread_cond_t idle[POSTGRESQL_ROLES]; /* a link is idle, or the state of `away` has changed */
    pthread_cond_t broken;                 /* there is work for the connector, or it is to end */
    /* Guarded by `mutex`. */
    struct postgresql_link all[POSTGRESQL_LINKS]; /* the writer's is the first */
    bool away;                                    /* the connector's last attempt failed */
    bool stopping;
};

int postgresql_links_init(struct postgresql *postgresql);
void postgresql_links_destroy(struct postgresql *postgresql);

/* Starts the connector, which connects all links that are broken. Returns 0, or -1 with errno. */
int postgresql_links_start(struct postgresql *postgresql);
void postgresql_links_stop(struct postgresql *postgresql);

/* Lends a connected link. Returns NULL when there is none by the deadline; unless `patiently`, at once when all are
 * broken and the database is known to be away. */
struct postgresql_link *postgresql_links_take(struct postgresql *postgresql, enum postgresql_role role,
                                              int64_t deadline_at, bool patiently);

/* Takes a link back; one that is not good is closed and connected anew. */
void postgresql_links_give_back(struct postgresql *postgresql, struct postgresql_link *link, bool good);

/* Before attempt `failures` + 1 to connect: 100 ms to 1 s. */
int64_t postgresql_backoff_ns(unsigned failures);

/* --- postgresql_schema.c --- */

/* Checks the server, makes the tables or checks their version. The link is open, but not set up. Returns 0, or -1 and a
 * reason. */
int postgresql_prepare_schema(struct postgresql_link *link, char reason[static STORAGE_REASON_BYTES]);

/* --- postgresql_array.c: parameters of the type text[] and bigint[], binary --- */

struct postgresql_array {
    struct buffer bytes; /* bytes.failed: no memory */
    uint32_t count;
};

/* The header has a type: begin with one of these. */
void postgresql_array_begin_texts(struct postgresql_array *array);
void postgresql_array_begin_numbers(struct postgresql_array *array);
void postgresql_array_add_text(struct postgresql_array *array, struct text text);
void postgresql_array_add_number(struct postgresql_array *array, int64_t number);
/* Completes the array and returns it as a parameter, which lives as long as the array does not change. */
struct postgresql_parameter postgresql_array_finish(struct postgresql_array *array);
void postgresql_array_free(struct postgresql_array *array);

/* --- postgresql_transaction.c: the transaction of a batch --- */

enum postgresql_attempt {
    POSTGRESQL_STORED,
    POSTGRESQL_REFUSED,       /* by the server: nothing is stored */
    POSTGRESQL_OUT_OF_MEMORY, /* ours: nothing is stored */
    POSTGRESQL_NOT_SENT, /* the connection was lost, or time ran out, before the commit: nothing is stored */
    POSTGRESQL_OPEN,     /* nobody knows */
};

struct postgresql_batch {
    char id[POSTGRESQL_BATCH_ID_BYTES];
    const char *settled_id; /* of a batch whose row may go; NULL for none */
    size_t published;       /* how many of the writes */
    size_t added;           /* how many of them add planned events */
    uint64_t last_id;       /* of the published ones, for POSTGRESQL_STORED */
};

/* Runs the transaction on the link; for POSTGRESQL_STORED it has filled `purged` of the purges, the ids of added planned
 * events, and what became of revenue. `*link_is_good` tells whether that can be used again. */
enum postgresql_attempt postgresql_run_batch(struct postgresql_link *link, struct postgresql_batch *batch,
                                             const struct storage_write_list *writes, int64_t deadline_at,
                                             bool *link_is_good);

/* A parameter that is a number, kept in `storage`. */
struct postgresql_parameter postgresql_number(int64_t number, char storage[static POSTGRESQL_NUMBER_BYTES]);

/* --- postgresql_planned_write.c --- */

size_t postgresql_count_added(const struct storage_write_list *writes);

/* Asks for the ids of the planned events that a batch has added, when it is known to have committed, and fills them.
 * Returns false when they are not known; `*link_is_good` as above. */
bool postgresql_ask_added(struct postgresql_link *link, const char *batch_id,
                          const struct storage_write_list *writes, int64_t deadline_at, bool *link_is_good);

/* --- postgresql_commit.c --- */

/* The writer thread's own. */
struct postgresql_writer {
    char open_id[POSTGRESQL_BATCH_ID_BYTES];    /* of the batch whose outcome is open; "" for none */
    char settled_id[POSTGRESQL_BATCH_ID_BYTES]; /* of the last batch that was stored; "" for none */
};

enum storage_result postgresql_commit(void *state, const struct storage_write_list *writes,
                                      int64_t deadline_at);
enum storage_result postgresql_resolve(void *state, const struct storage_write_list *writes,
                                       int64_t deadline_at);

/* --- postgresql_read.c --- */

/* Runs a query. For STORAGE_OK, `*result` has the rows. */
enum storage_result postgresql_query(struct postgresql *postgresql, const char *statement,
                                     const struct postgresql_parameter *parameters, size_t count,
                                     int64_t deadline_at, PGresult **result);

/* A number of the caller's: no id is above INT64_MAX. */
struct postgresql_parameter postgresql_bound(uint64_t number, char storage[static POSTGRESQL_NUMBER_BYTES]);

/* Lives as long as the text. */
struct postgresql_parameter postgresql_text_parameter(struct text text);

struct text postgresql_field(const PGresult *result, int row, int column);
uint64_t postgresql_number_field(const PGresult *result, int row, int column);

enum storage_result postgresql_events(void *state, const struct storage_range *range,
                                      bool (*visit)(void *context, const struct storage_event *event),
                                      void *context, int64_t deadline_at);
enum storage_result postgresql_newest_id(void *state, uint64_t *id, int64_t deadline_at);
enum storage_result postgresql_subscriptions(void *state, struct text user,
                                             bool (*visit)(void *context, struct text channel), void *context,
                                             int64_t deadline_at);
enum storage_result postgresql_reference(void *state, struct storage_reference *reference,
                                         int64_t deadline_at);
enum storage_result postgresql_reference_piece(void *state, uint64_t generation, uint32_t number,
                                               void (*visit)(void *context, struct text content),
                                               void *context, bool *found, int64_t deadline_at);

/* --- postgresql_planned_read.c --- */

enum storage_result postgresql_planned_events(void *state, const struct storage_planned_range *range,
                                              bool (*visit)(void *context,
                                                            const struct storage_planned_event *event),
                                              void *context, int64_t deadline_at);
enum storage_result postgresql_planned_position(void *state, struct text event_id, uint64_t *position,
                                                bool *found, int64_t deadline_at);
enum storage_result postgresql_planned_users_named(void *state, const struct text *users, size_t count,
                                                   void (*visit)(void *context, size_t index,
                                                                 struct text attributes),
                                                   void *context, int64_t deadline_at);
enum storage_result
postgresql_planned_users(void *state, struct text after, size_t limit, uint64_t most_bytes,
                         bool (*visit)(void *context, const struct storage_planned_user *user), void *context,
                         int64_t deadline_at);
enum storage_result postgresql_planned_event_ids(void *state, const struct storage_event_ids_range *range,
                                                 bool (*visit)(void *context, size_t index, uint64_t position,
                                                               struct text id),
                                                 void *context, int64_t deadline_at);

/* --- postgresql_revenue.c --- */

/* Fills `overtaken` and `overflowed` of a batch's first writes of revenue by what its row says of them. */
void postgresql_take_counted(const struct storage_write_list *writes, const char *counted);

enum storage_result postgresql_revenue(void *state, struct text user,
                                       char amount[static STORAGE_REVENUE_BYTES], bool *found,
                                       int64_t deadline_at);
enum storage_result postgresql_checkpoint(void *state, struct text file,
                                          struct storage_checkpoint *checkpoint, bool *found,
                                          int64_t deadline_at);
enum storage_result postgresql_checkpoints(void *state,
                                           bool (*visit)(void *context, struct text file,
                                                         const struct storage_checkpoint *checkpoint),
                                           void *context, int64_t deadline_at);

/* --- postgresql_listener.c --- */

int postgresql_listener_start(struct postgresql *postgresql);
void postgresql_listener_stop(struct postgresql *postgresql);

/* --- postgresql.c --- */

struct postgresql {
    const struct log *log;
    struct log_limit gone, unread, unwritten, lost, resolved;
    atomic_bool complained; /* the log says that the database is away */
    char *url;              /* holds a password: never logged */
    struct storage_watcher watcher;
    int stop; /* eventfd, readable from the beginning of close() on */
    atomic_bool available;
    atomic_bool closing; /* what breaks now is nobody's fault */
    struct postgresql_links links;
    struct postgresql_writer writer;
    pthread_t listener;
    bool has_listener;
};

/* Notes the last word of the database; logs when it has changed. */
void postgresql_note(struct postgresql *postgresql, bool good, const char *error);

/* Lets some time pass before the next attempt. Returns false, at once, when the engine is being closed. */
bool postgresql_pause(struct postgresql *postgresql, int64_t until_at);

#endif
