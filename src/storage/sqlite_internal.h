/* What the files of the SQLite engine share.
 *
 * One connection writes, used by the writer thread alone; READER_COUNT others read, each lent to one caller at a time.
 * In WAL mode readers and the writer never wait for one another; another process (sqlite3, event-syncer process) may
 * hold the write lock for a while, which is waited for until the deadline of the call.
 *
 * Lock: sqlite->mutex guards the list of idle readers (leaf).
 */
#ifndef STORAGE_SQLITE_INTERNAL_H
#define STORAGE_SQLITE_INTERNAL_H

#include "storage/engine.h"

#include <sqlite3.h>
#include <stdatomic.h>

enum { READER_COUNT = 4 };

struct sqlite_planned_reader {
    sqlite3_stmt *events_of_all;
    sqlite3_stmt *events_of_user;
    sqlite3_stmt *position;
    sqlite3_stmt *user;
    sqlite3_stmt *users;
    sqlite3_stmt *event_ids;
};

struct sqlite_revenue_reader {
    sqlite3_stmt *revenue;
    sqlite3_stmt *checkpoint;
    sqlite3_stmt *checkpoints;
};

/* The statements of a reading connection. */
struct sqlite_reader {
    sqlite3 *database;
    sqlite3_stmt *events_of_all;
    sqlite3_stmt *events_of_channel;
    sqlite3_stmt *ids_of_channel;
    sqlite3_stmt *event_by_id;
    sqlite3_stmt *newest_id;
    sqlite3_stmt *subscriptions;
    sqlite3_stmt *reference;
    sqlite3_stmt *reference_piece;
    struct sqlite_planned_reader planned;
    struct sqlite_revenue_reader revenue;
    STAILQ_ENTRY(sqlite_reader) link;
};

struct sqlite_planned_writer {
    sqlite3_stmt *draw_position;
    sqlite3_stmt *find_event;
    sqlite3_stmt *insert_event;
    sqlite3_stmt *update_event;
    sqlite3_stmt *add_user;
    sqlite3_stmt *merge_user;
};

struct sqlite_revenue_writer {
    sqlite3_stmt *find_position;
    sqlite3_stmt *move_checkpoint;
    sqlite3_stmt *find_sum;
    sqlite3_stmt *set_sum;
};

struct sqlite_writer {
    sqlite3 *database;
    sqlite3_stmt *begin;
    sqlite3_stmt *commit;
    sqlite3_stmt *rollback;
    sqlite3_stmt *draw_ids;
    sqlite3_stmt *insert_event;
    sqlite3_stmt *subscribe;
    sqlite3_stmt *unsubscribe;
    sqlite3_stmt *store_piece;
    sqlite3_stmt *switch_table;
    sqlite3_stmt *purge_pieces;
    struct sqlite_planned_writer planned;
    struct sqlite_revenue_writer revenue;
    bool complained; /* the log says that batches are not taken */
};

struct sqlite {
    const struct log *log;
    struct log_limit unwritten, unread;
    char *path;
    atomic_bool available;
    struct sqlite_writer writer;
    struct sqlite_reader readers[READER_COUNT];
    pthread_mutex_t mutex;
    pthread_cond_t reader_idle;
    STAILQ_HEAD(sqlite_reader_list, sqlite_reader) idle; /* `mutex` */
};

struct sqlite_statement {
    sqlite3_stmt **statement;
    const char *sql;
};

/* --- sqlite.c: connections and the schema --- */

/* Opens a connection and prepares its statements. Returns 0, or -1 with the connection in `*database` for its error. */
int sqlite_connect(const char *path, int flags, sqlite3 **database);
int sqlite_prepare(sqlite3 *database, const struct sqlite_statement *statements, size_t count);

/* Runs a statement that gives no rows, and resets it. Returns SQLITE_OK or the error. */
int sqlite_run(sqlite3_stmt *statement);

int sqlite_bind(sqlite3_stmt *statement, int index, struct text text);

/* Binds a text as the first parameter and makes the first step. Returns SQLITE_ROW, SQLITE_DONE, or the error; the caller
 * resets the statement. */
int sqlite_look_up(sqlite3_stmt *statement, struct text key);

/* sqlite_bind, but NULL for an empty text. */
int sqlite_bind_optional(sqlite3_stmt *statement, int index, struct text text);

struct text sqlite_text(sqlite3_stmt *statement, int column);

/* How long a busy database is waited for. */
void sqlite_set_deadline(sqlite3 *database, int64_t deadline_at);

/* --- sqlite_schema.c --- */

/* Makes the tables, or checks their version. Returns 0, or -1 and a reason. */
int sqlite_prepare_schema(sqlite3 *database, char reason[static STORAGE_REASON_BYTES]);

/* --- sqlite_write.c --- */

int sqlite_writer_open(struct sqlite *sqlite);
void sqlite_writer_close(struct sqlite *sqlite);
enum storage_result sqlite_commit(void *state, const struct storage_write_list *writes, int64_t deadline_at);
enum storage_result sqlite_resolve(void *state, const struct storage_write_list *writes, int64_t deadline_at);

/* --- sqlite_planned_write.c: the writes of planned events and their users --- */

int sqlite_planned_writer_open(struct sqlite_writer *writer);
void sqlite_planned_writer_close(struct sqlite_writer *writer);
int sqlite_add_event(struct sqlite_writer *writer, struct storage_write *write);
int sqlite_merge_users(struct sqlite_writer *writer, const struct storage_write *write);
int sqlite_merge_events(struct sqlite_writer *writer, const struct storage_write *write);

/* --- sqlite_revenue.c --- */

int sqlite_revenue_writer_open(struct sqlite_writer *writer);
void sqlite_revenue_writer_close(struct sqlite_writer *writer);
int sqlite_count_revenue(struct sqlite_writer *writer, struct storage_write *write);
int sqlite_revenue_reader_open(struct sqlite_reader *reader);
void sqlite_revenue_reader_close(struct sqlite_reader *reader);
enum storage_result sqlite_revenue(void *state, struct text user, char amount[static STORAGE_REVENUE_BYTES],
                                   bool *found, int64_t deadline_at);
enum storage_result sqlite_checkpoint(void *state, struct text file, struct storage_checkpoint *checkpoint,
                                      bool *found, int64_t deadline_at);
enum storage_result sqlite_checkpoints(void *state,
                                       bool (*visit)(void *context, struct text file,
                                                     const struct storage_checkpoint *checkpoint),
                                       void *context, int64_t deadline_at);

/* --- sqlite_read.c --- */

/* Lends a connection; NULL when none is free by the deadline. */
struct sqlite_reader *sqlite_borrow(struct sqlite *sqlite, int64_t deadline_at);

/* Gives it back. `result` is what the last step said. */
enum storage_result sqlite_give_back(struct sqlite *sqlite, struct sqlite_reader *reader, int result);

sqlite3_int64 sqlite_clamped(uint64_t number);

int sqlite_readers_open(struct sqlite *sqlite);
void sqlite_readers_close(struct sqlite *sqlite);
enum storage_result sqlite_events(void *state, const struct storage_range *range,
                                  bool (*visit)(void *context, const struct storage_event *event),
                                  void *context, int64_t deadline_at);
enum storage_result sqlite_newest_id(void *state, uint64_t *id, int64_t deadline_at);
enum storage_result sqlite_subscriptions(void *state, struct text user,
                                         bool (*visit)(void *context, struct text channel), void *context,
                                         int64_t deadline_at);
enum storage_result sqlite_reference(void *state, struct storage_reference *reference, int64_t deadline_at);
enum storage_result sqlite_reference_piece(void *state, uint64_t generation, uint32_t number,
                                           void (*visit)(void *context, struct text content), void *context,
                                           bool *found, int64_t deadline_at);

/* --- sqlite_planned_read.c --- */

int sqlite_planned_reader_open(struct sqlite_reader *reader);
void sqlite_planned_reader_close(struct sqlite_reader *reader);
enum storage_result sqlite_planned_events(void *state, const struct storage_planned_range *range,
                                          bool (*visit)(void *context,
                                                        const struct storage_planned_event *event),
                                          void *context, int64_t deadline_at);
enum storage_result sqlite_planned_position(void *state, struct text event_id, uint64_t *position,
                                            bool *found, int64_t deadline_at);
enum storage_result sqlite_planned_users_named(void *state, const struct text *users, size_t count,
                                               void (*visit)(void *context, size_t index,
                                                             struct text attributes),
                                               void *context, int64_t deadline_at);
enum storage_result sqlite_planned_users(void *state, struct text after, size_t limit, uint64_t most_bytes,
                                         bool (*visit)(void *context,
                                                       const struct storage_planned_user *user),
                                         void *context, int64_t deadline_at);
enum storage_result sqlite_planned_event_ids(void *state, const struct storage_event_ids_range *range,
                                             bool (*visit)(void *context, size_t index, uint64_t position,
                                                           struct text id),
                                             void *context, int64_t deadline_at);

#endif
