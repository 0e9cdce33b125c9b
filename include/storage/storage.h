/* Storage: what outlives a restart, behind one interface with two engines, SQLite and PostgreSQL.
 *
 * What it is
 *   storage_open picks the engine by the URL ("sqlite:FILE", "postgres://..."), creates the tables on first start and
 *   refuses a schema that is newer than this program. It lies below the other domains and knows none of them.
 *
 * Writes: group commit
 *   One writer thread takes all writes that are queued, runs them as one transaction (a batch) and tells each that it
 *   is settled; a write that was told STORAGE_OK is durable (SQLite: WAL with synchronous=FULL; PostgreSQL:
 *   synchronous_commit=on). So the more callers wait, the more share the price of one commit.
 *   A batch ends before it has more than 8 MB of payloads, which a purge counts for, too, and the lists that are merged
 *   (a larger write goes alone), so that no transaction gets long.
 *   A write is a struct on the heap, embedded in the caller's own. It belongs to the storage from storage_write on;
 *   when that returns anything but STORAGE_UNKNOWN, it is the caller's again. For STORAGE_UNKNOWN it stays with the
 *   storage, which goes on to find the outcome out, calls `settled` with `abandoned`, and thereby gives it away: the
 *   callee then owns it.
 *   `settled` is called in the writer thread, in the order of the ids, before the caller is woken, exactly once for
 *   each write that was taken into a batch; no lock is held. It must not block.
 *
 *   storage_submit does the same without a caller that waits: `settled` gives the write back. For one whose deadline
 *   passes first it is called by the deadline thread: with STORAGE_AWAY when no batch had taken it yet, else with
 *   STORAGE_UNKNOWN, and then, `abandoned`, a second time when the outcome is known.
 *
 * Ids
 *   Published events get ids that rise without gaps in the order of their commits, and become visible in that order:
 *   who has read up to id n will never again find one below n. On PostgreSQL a transaction draws them by UPDATE from
 *   one counter row, whose lock it holds until its commit is visible.
 *
 * The reference table
 *   A text of any length, in pieces, each an ordinary write, so that no transaction gets long. They are stored under a
 *   generation, which the one who stores the table draws at random (1 to 2^63 - 1: several servers may be at it); then
 *   one write makes that generation the current one. That its pieces are all there is for the one who switches to see to.
 *   The pieces of tables that were replaced, or never finished, stay until they are purged, some at a time.
 *
 * Planned events
 *   What users have planned (published events are something else): each has an id, a text, and a position, which rises in
 *   the order in which they were added and became visible, as the ids of published events do, but may leave gaps. Every
 *   event's user is in the table of users. They are added here, or come from the upstream, whose lists are merged: what
 *   the upstream says replaces what it said before, and never what was added here alone.
 *
 * Revenue
 *   What is counted out of a journal file: a sum for each user, an exact decimal. The transaction that adds to sums moves
 *   the checkpoint of the file, how far it has been read: so each part of it is counted once, whatever dies when, and
 *   however many processors are at the same file. Who finds the checkpoint elsewhere reads it again and goes on from there.
 *
 * A connection that breaks while a commit is under way (PostgreSQL)
 *   Each batch inserts an id of its own, unique, into a table in its transaction. To find out what became of it, the
 *   writer tries to insert that id itself: either it is there (committed), or the writer's row makes the lost
 *   transaction fail for good, even if its backend should still be alive. Only then is the batch tried again, under a
 *   new id. Nothing is ever stored twice.
 *
 * Deadlines
 *   Every call takes an instant (CLOCK_MONOTONIC) by which it returns: STORAGE_AWAY, with nothing changed, or
 *   STORAGE_UNKNOWN. A write whose turn comes with less than 0.3 s left is refused: it would cut the time of the whole batch.
 *   A call may block until then, so it is made in a blocking section of the pool.
 *
 * Locks, outermost first
 *   1  storage->mutex  the queue of writes, and the list of submitted ones by deadline
 *   2  write->mutex    state, result and abandonment of one write (leaf)
 *   Each engine has its own; they are leaves.
 */
#ifndef STORAGE_STORAGE_H
#define STORAGE_STORAGE_H

#include "base/decimal.h"
#include "base/log.h"
#include "base/text.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct storage;

enum { STORAGE_REASON_BYTES = 256 };

/* Builds with sanitizers are some times slower, the database's own programs beside them too. */
#ifndef DEADLINE_SCALE
#define DEADLINE_SCALE 1
#endif

/* How long a call may take. */
#define STORAGE_CALL_NS (INT64_C(1800) * 1000 * 1000 * DEADLINE_SCALE)

enum storage_result {
    STORAGE_OK,
    STORAGE_AWAY,    /* can't be reached, locked, full, read-only, or not in time; nothing was changed */
    STORAGE_UNKNOWN, /* of a write: its commit was under way, and the outcome could not be found out in time */
    STORAGE_NO_MEMORY,
};

/* What may happen without the caller's doing. Called by threads of the storage, with no lock held; must not block
 * for long. */
struct storage_watcher {
    /* There may be events that this process has not published itself. */
    void (*news)(void *context);
    /* A subscription may have ended through another server; an empty user: any may. */
    void (*unsubscribed)(void *context, struct text user, struct text channel);
    void *context;
};

struct storage_options {
    const char *url;
    const struct log *log;
    struct storage_watcher watcher; /* functions may be NULL */
};

/* Opens the database, makes or checks its tables and starts the threads. Returns NULL and why, in one line that says
 * what to do. The options are copied, but for the log. */
struct storage *storage_open(const struct storage_options *options, char reason[static STORAGE_REASON_BYTES]);

/* Settles all writes and ends the writer thread; writes that come later are refused, reads go on. Does nothing the second
 * time, and takes NULL. */
void storage_stop(struct storage *storage);

/* Stops, and closes the database. Nobody else may use it any more. Takes NULL. */
void storage_close(struct storage *storage);

/* "sqlite" or "postgresql". */
const char *storage_engine_name(const struct storage *storage);

/* Whether the last word from the database was a good one. */
bool storage_is_available(struct storage *storage);

/* --- writes --- */

enum storage_write_kind {
    STORAGE_PUBLISH,     /* channel, event_type, payload, created_ms; the id is filled in */
    STORAGE_SUBSCRIBE,   /* user, channel; again: nothing changes */
    STORAGE_UNSUBSCRIBE, /* user, channel */

    /* generation, number, payload (any text without NUL, in UTF-8), created_ms. One that is there already stays as it is,
     * so that a write whose outcome is unknown may be repeated. */
    STORAGE_REFERENCE_PIECE,
    /* generation, number (how many pieces it has), created_ms (of the update): makes it the current table, in place of any
     * other. */
    STORAGE_REFERENCE_SWITCH,
    /* generation (of a table that has been replaced; 0: none), created_ms: deletes pieces of that generation and those
     * stored before created_ms, but never the current table's; at most STORAGE_PURGE_PIECES, so it is repeated until
     * `purged` is 0. */
    STORAGE_REFERENCE_PURGE,

    /* user, name, details, event_id, spare_id: adds a planned event, and its user unless it is there; `id` is filled with
     * its position. Without an event_id its id is the position in decimal, or spare_id where another event has that
     * already: then `spare_used` is set. The spare_id must be unlike any other. With an event_id, which the upstream gave
     * it, it is stored under that; when an event with that id is there already, nothing changes, and `id` is its
     * position. */
    STORAGE_ADD_EVENT,
    /* users, count: adds those who are not there and replaces attributes that differ. Of users with the same id the last
     * one counts. */
    STORAGE_MERGE_USERS,
    /* events, count (their positions do not count): adds those from the upstream that are not there, in their order, with
     * their users; replaces name, user and details where they differ, unless the event was added here alone. Of events
     * with the same id the last one counts, at the place of the first. */
    STORAGE_MERGE_EVENTS,

    /* file, position_before, position_after (greater; at most 2^63 - 1), lines_after (the same), revenues, count: moves the
     * checkpoint of the file from position_before (also 0: there is none yet) to position_after and adds the amounts, both
     * or none. No user occurs twice. STORAGE_OK all the same, with nothing changed, when the checkpoint stands elsewhere
     * (`overtaken`: another processor is at it), or else when a sum would not be a decimal any more (`overflowed`). One that
     * is not valid is not taken: STORAGE_NO_MEMORY, or -1. */
    STORAGE_COUNT_REVENUE,
};

enum {
    STORAGE_PURGE_PIECES = 16,
    STORAGE_MERGE_MAX = 500, /* users or events of one write */
    STORAGE_NAMED_MAX = 256, /* users that are asked for by name at once */
    /* So many sums among a million take some 50 ms on either engine (10,000: 120 ms on SQLite, 230 ms on PostgreSQL), which
     * publishes wait for. */
    STORAGE_REVENUES_MAX = 2000,
    STORAGE_FILE_BYTES = 255,
    STORAGE_REVENUE_BYTES = DECIMAL_BYTES, /* of a sum as text, with a final NUL */
    STORAGE_CHECKPOINTS_MAX = 1000,
};

struct storage_planned_user {
    struct text id;
    struct text attributes; /* a JSON object; empty: none */
};

struct storage_planned_event {
    uint64_t position;
    struct text id;
    struct text name;
    struct text user;
    struct text details; /* JSON; empty: none */
};

struct storage_revenue {
    struct text user;
    struct text amount; /* what decimal_parse takes, such as -20.05 */
};

/* How far a journal file has been read. */
struct storage_checkpoint {
    uint64_t position; /* in bytes */
    uint64_t lines;
};

enum storage_write_state {
    STORAGE_WRITE_QUEUED,   /* to _TAKEN, or back to the caller when its deadline passes */
    STORAGE_WRITE_TAKEN,    /* in a batch; to _SETTLING, unless it has been abandoned */
    STORAGE_WRITE_SETTLING, /* `settled` is being called; to _SETTLED */
    STORAGE_WRITE_SETTLED,  /* `result` tells; the caller's again */
};

struct storage_write {
    /* Filled by the caller; the texts stay the caller's memory and must live as long as the write. */
    enum storage_write_kind kind;
    struct text user;
    struct text channel;
    struct text event_type;
    struct text payload; /* compact JSON, or a piece */
    int64_t created_ms;  /* since 1970, UTC; any, also before */
    uint64_t generation;
    uint32_t number;      /* of a piece, counted from 0; or of pieces */
    struct text event_id; /* of a planned event; empty: none */
    struct text spare_id;
    struct text name;
    struct text details; /* JSON; empty: none */
    /* What they name too must live as long as the write. */
    const struct storage_planned_user *users;
    const struct storage_planned_event *events;
    const struct storage_revenue *revenues;
    size_t count;
    struct text file; /* identifies a journal file: UTF-8 without NUL, 1 to STORAGE_FILE_BYTES bytes */
    uint64_t position_before;
    uint64_t position_after;
    uint64_t lines_after;
    /* See above; may be NULL, and then an abandoned write is freed with free(). */
    void (*settled)(struct storage_write *write, enum storage_result result, bool abandoned);
    /* Filled by the engine. */
    uint64_t id;
    bool spare_used; /* counts for STORAGE_OK, as `id` does */
    bool overtaken;  /* the same, of revenue; never both */
    bool overflowed;
    /* How many pieces it has deleted. Counts for STORAGE_OK only; it may be 0 all the same when the connection was lost in
     * the commit, and that this had succeeded was found out later: what is left goes with a later purge. */
    uint32_t purged;
    /* The storage's own. */
    STAILQ_ENTRY(storage_write) link; /* the queue's, then the writer thread's */
    int64_t deadline_at;
    bool submitted; /* nobody waits for it */
    /* Guarded by storage->mutex. */
    bool outstanding; /* it is in the list by deadline */
    TAILQ_ENTRY(storage_write) by_deadline;
    pthread_mutex_t mutex;
    pthread_cond_t condition;
    /* Guarded by `mutex`. */
    bool expiring; /* the deadline thread is calling `settled` */
    bool hopeless; /* the storage closes, and nobody will know */
    enum storage_write_state state;
    enum storage_result result;
    bool abandoned;
};

/* Queues the write and waits until it is settled, or until `deadline_at`. */
enum storage_result storage_write(struct storage *storage, struct storage_write *write, int64_t deadline_at);

/* Queues the write and returns; `settled` will be called. All submitted writes have the same time, STORAGE_CALL_NS.
 * Returns 0, or -1 when it was not taken: the write is the caller's, and nothing is called. */
int storage_submit(struct storage *storage, struct storage_write *write);

/* --- reads --- */

struct storage_event {
    uint64_t id;
    int64_t created_ms;
    struct text channel;
    struct text event_type;
    struct text payload;
};

/* Which events: those of `channels` (none: of all) with `after` < id <= `up_to`; the first `limit` of them, and none behind
 * the one with which their payloads reach `most_bytes` (0: no bound). What this names may all be in memory at once. */
struct storage_range {
    const struct text *channels;
    size_t channel_count;
    uint64_t after;
    uint64_t up_to;
    size_t limit;
    uint64_t most_bytes;
};

/* Calls `visit` for each event in the order of their ids, until it returns false. The texts live until it returns;
 * it may be called although the result is not STORAGE_OK in the end. It must not block and not use the storage. */
enum storage_result storage_events(struct storage *storage, const struct storage_range *range,
                                   bool (*visit)(void *context, const struct storage_event *event),
                                   void *context, int64_t deadline_at);

/* The highest id of any published event, 0 for none. */
enum storage_result storage_newest_id(struct storage *storage, uint64_t *id, int64_t deadline_at);

/* Calls `visit` for each channel that the user is subscribed to, in byte order of their names. As storage_events
 * otherwise. */
enum storage_result storage_subscriptions(struct storage *storage, struct text user,
                                          bool (*visit)(void *context, struct text channel), void *context,
                                          int64_t deadline_at);

struct storage_reference {
    uint64_t generation; /* 0: there is no table */
    uint32_t piece_count;
    int64_t updated_ms;
};

/* Which reference table is the current one. */
enum storage_result storage_reference(struct storage *storage, struct storage_reference *reference,
                                      int64_t deadline_at);

/* Calls `visit` with the content of a piece, once, where it is there; `*found` tells, for STORAGE_OK. It is not when the
 * table has been replaced meanwhile, and purged. As storage_events otherwise. */
enum storage_result storage_reference_piece(struct storage *storage, uint64_t generation, uint32_t number,
                                            void (*visit)(void *context, struct text content), void *context,
                                            bool *found, int64_t deadline_at);

/* --- planned events --- */

/* Which events: those of `user` (empty: of all) behind the position `after`; as struct storage_range otherwise, with the
 * bytes of names and details. */
struct storage_planned_range {
    struct text user;
    uint64_t after;
    size_t limit;
    uint64_t most_bytes;
};

/* Calls `visit` for each planned event in the order of their positions, until it returns false. As storage_events
 * otherwise, here and below. */
enum storage_result storage_planned_events(struct storage *storage, const struct storage_planned_range *range,
                                           bool (*visit)(void *context,
                                                         const struct storage_planned_event *event),
                                           void *context, int64_t deadline_at);

/* Where the event is; `*found` tells, for STORAGE_OK, whether there is one. */
enum storage_result storage_planned_position(struct storage *storage, struct text event_id,
                                             uint64_t *position, bool *found, int64_t deadline_at);

/* Calls `visit` for each of the users (at most STORAGE_NAMED_MAX) who is there, with its place among them, in any order. */
enum storage_result
storage_planned_users_named(struct storage *storage, const struct text *users, size_t count,
                            void (*visit)(void *context, size_t index, struct text attributes), void *context,
                            int64_t deadline_at);

/* Calls `visit` for each user behind the id `after` (empty: all) in byte order of ids, until it returns false; at most
 * `limit`, and none behind the one with which their attributes reach `most_bytes` (0: no bound). */
enum storage_result
storage_planned_users(struct storage *storage, struct text after, size_t limit, uint64_t most_bytes,
                      bool (*visit)(void *context, const struct storage_planned_user *user), void *context,
                      int64_t deadline_at);

/* Which ids: of the events of users[first_user] behind the position `after`, then of all those of users[first_user + 1]
 * and so on; the first `limit`. The users are distinct. */
struct storage_event_ids_range {
    const struct text *users;
    size_t user_count;
    size_t first_user;
    uint64_t after;
    size_t limit;
};

/* Calls `visit` for each id, in the order of the users, then of the positions, until it returns false. */
enum storage_result
storage_planned_event_ids(struct storage *storage, const struct storage_event_ids_range *range,
                          bool (*visit)(void *context, size_t index, uint64_t position, struct text id),
                          void *context, int64_t deadline_at);

/* --- revenue --- */

/* The user's sum, in the notation of decimal_format; `*found` tells, for STORAGE_OK, whether there is one. */
enum storage_result storage_revenue(struct storage *storage, struct text user,
                                    char amount[static STORAGE_REVENUE_BYTES], bool *found,
                                    int64_t deadline_at);

/* How far the file has been read; `*found` as above: without a checkpoint it is at 0. */
enum storage_result storage_checkpoint(struct storage *storage, struct text file,
                                       struct storage_checkpoint *checkpoint, bool *found,
                                       int64_t deadline_at);

/* Calls `visit` for the checkpoints that were moved last, the last one first, until it returns false; at most
 * STORAGE_CHECKPOINTS_MAX. */
enum storage_result storage_checkpoints(struct storage *storage,
                                        bool (*visit)(void *context, struct text file,
                                                      const struct storage_checkpoint *checkpoint),
                                        void *context, int64_t deadline_at);

#endif
