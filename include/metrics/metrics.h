/* Metrics over a sliding window: events come in, each counts in the second of its timestamp, and is enriched with what
 * the reference table of now says of its user. Knows no HTTP, no socket and no storage.
 *
 * What it is
 *   Seconds are those of the wall clock. With now_s the running one, the seconds from now_s - retention + 1 to
 *   now_s + METRICS_SKEW_S are live: they have places in a ring. Of each the ring knows
 *     - how many events it has, and of each type (a tally, src/metrics/tally.h);
 *     - its log: the user of each event, by number, 4 bytes an event;
 *     - in each view (below) how many events of each plan, of each region, and of unknown users, and for how many known
 *       users it is the latest second that has come with an event of theirs.
 *   So nothing that a query reads grows with the number of events: a window of w seconds is summed from at most 62
 *   seconds and w / 32 blocks of 32 for each of type, plan and region, and from w numbers for each of the rest. The
 *   number of users in a window that ends now is the sum of the last of these: each is counted at its latest second.
 *   Events of seconds to come lie in their places, outside every window; when the clock reaches a second, its log says
 *   whose latest second it now is. Users and types are interned (src/metrics/intern.h), and go when the last event that
 *   refers to them has left the ring.
 *
 *   A view is one generation of the reference table with what the ring knows under it. A new table gets its view made
 *   aside: a part of the users at a time, then a part of the log at a time, each under the lock for a fraction of a
 *   millisecond. Events that come meanwhile count in the current view, and in the new one where their second is done
 *   already (else the rest of the log has them). When all is done the new view becomes the current one, which is one
 *   assignment: a query, made under the lock, sees exactly one generation.
 *
 *   The duplicate filter (src/metrics/filter.h) keeps a keyed hash of the id of each event that was taken, for the
 *   retention after its arrival, and for as long as the event can be in any window. It goes by CLOCK_MONOTONIC.
 *
 * The wall clock may step back. Then events beyond the new now_s + METRICS_SKEW_S are dropped (they could not have been
 * taken), those of seconds that are to come again wait for them, and users' latest seconds are found anew from the log:
 * one pass, under the lock, that ends as soon as all users concerned are found. What had left the ring stays away.
 *
 * Who owns what
 *   The metrics own everything but the reference tables, of which each view holds a reference; so does an answer. All
 *   texts are copied. A builder and the tables count in the memory of the metrics: they must all have been abandoned or
 *   released before metrics_free.
 *
 * Locks, outermost first
 *   1  metrics->swap   whose turn it is to set a reference table: one after the other. Not held meanwhile: the turn is
 *                      a flag, that another thread than the one that took it may give back (metrics_end_turn)
 *   2  metrics->turn   held only while `mutex` is taken: who waits for `mutex` holds it, so that the thread that makes a
 *                      new view, which takes them again and again, can't keep anybody out for longer than one part
 *   3  metrics->mutex  all the rest: clock, ring, views, users, types, filter (leaf)
 *   One lock, not one for each shard: an event takes some 0.3 us under it, less than it takes to read its JSON, and every
 *   answer must be one state of everything. Hashing and the reading of timestamps are done before it is taken.
 *
 * Invariants (metrics_check asserts them)
 *   M1  every place's count of events = the length of its log = the sum of its tally of types
 *   M2  for every place that a view has done: unknown = the log's entries whose user the table does not have; the tallies
 *       of plans and regions = those of the others
 *   M3  a user's latest second = the last live second up to now_s whose log has the user; a view's count of a place =
 *       the users known to it whose latest second it is
 *   M4  references of a user = its entries in logs, those of seconds that have left the ring but are not yet worked off
 *       included; references of a type = its events in the ring
 *   M5  a block of a tally = the sum of its rows
 *
 * Memory
 *   All of it counts against max_memory_bytes, which nothing exceeds: METRICS_FULL, METRICS_SET_FULL; what was refused
 *   has changed nothing. (Answers are the askers' and are not counted.)
 *
 * Errors are results; nothing here logs. Any number of threads.
 */
#ifndef METRICS_METRICS_H
#define METRICS_METRICS_H

#include "base/buffer.h"
#include "base/clock.h"
#include "base/periodic.h"
#include "base/text.h"
#include "metrics/reference.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct metrics;

enum {
    METRICS_SKEW_S = 120,     /* an event's timestamp may be this much later than now */
    METRICS_LATENESS_S = 120, /* or this much earlier */
    METRICS_LONGEST_RETENTION_S = 30 * 24 * 3600,
};

struct metrics_options {
    struct clock clock;
    uint32_t retention_s; /* 1 to METRICS_LONGEST_RETENTION_S */
    uint64_t max_memory_bytes;
};

/* In the order in which they are checked. */
enum metrics_result {
    METRICS_SEEN,              /* the id was taken within the retention */
    METRICS_INVALID_TIMESTAMP, /* not as base/timestamp.h wants it */
    METRICS_SKEWED,            /* later than now + METRICS_SKEW_S */
    METRICS_LATE,              /* earlier than now - METRICS_LATENESS_S */
    METRICS_FULL,              /* no memory left for it: it may be sent again later */
    METRICS_ACCEPTED,
};

/* The texts need to live for the call only. */
struct metrics_event {
    struct text id;
    struct text user;
    struct text type;
    struct text timestamp;
};

enum metrics_set_result {
    METRICS_SET_OK,
    METRICS_SET_STALE, /* the current table's update is of a later time */
    METRICS_SET_FULL,  /* no memory left to make its view */
};

struct metrics_count {
    struct text name;
    uint64_t count;
};

struct metrics_list {
    struct metrics_count *counts;
    size_t length;
};

/* What is known of one window, under one generation. */
struct metrics_answer {
    uint64_t generation; /* 0: no table yet; each one that was set has the next number */
    uint64_t events;     /* all in the window */
    uint64_t unknown;    /* those of users who are not in the table */
    uint64_t unique_users;
    struct metrics_list by_plan; /* every plan of the table in its order, zeros too */
    struct metrics_list by_region;
    struct metrics_list by_type; /* those with events in the window */
    struct reference *reference; /* held: names of plans and regions are its; NULL: no table yet */
    struct metrics_count *storage;
    char *type_names;
};

struct metrics_counts {
    uint64_t generation;
    uint64_t events; /* in the ring */
    uint64_t users;  /* with events in the ring */
    uint64_t types;
    uint64_t memory_bytes;
};

/* Returns NULL with errno (EINVAL for a retention out of range). The options are copied. */
struct metrics *metrics_create(const struct metrics_options *options);

/* No other thread, no builder, no answer and no held table may be left. Takes NULL. */
void metrics_free(struct metrics *metrics);

/* Takes `count` events in, each on its own, and says of each what became of it. The lock is let go after every
 * 128 events. Results other than METRICS_ACCEPTED have changed nothing. */
void metrics_ingest(struct metrics *metrics, const struct metrics_event *events, size_t count,
                    enum metrics_result *results);

/* Appends what a client is told of a result: "Event e1 already seen". */
void metrics_append_message(struct buffer *buffer, enum metrics_result result, struct text id);

/* Begins a reference table for these metrics (reference.h), whose update carries the time `wall_ms`. NULL: no memory. */
struct reference_builder *metrics_reference_begin(struct metrics *metrics, int64_t wall_ms);

/* Waits until `deadline_at` (CLOCK_MONOTONIC) for the turn to set a table: one at a time is made and set. Returns false when
 * others had it all the time. metrics_end_turn gives it back, in any thread. */
bool metrics_take_turn(struct metrics *metrics, int64_t deadline_at);
void metrics_end_turn(struct metrics *metrics);

/* With the turn: gets all ready for `reference`, which metrics_reference_begin began, to become the table, so that the rest
 * can't fail: the caller may make it durable, and then commits or abandons it, in any thread, which ends the turn. Takes as
 * long as its view takes to make (10 million events: half a second); ingest and queries go on. Anything but
 * METRICS_SET_OK has changed nothing, the turn included. The caller's reference stays the caller's. */
enum metrics_set_result metrics_prepare_reference(struct metrics *metrics, struct reference *reference);

/* Every answer that is asked for from now on is made from the reference that was prepared. */
void metrics_commit_reference(struct metrics *metrics);
void metrics_abandon_reference(struct metrics *metrics);

/* Both in one, for when nothing has to be made durable; waits for others as long as they take. */
enum metrics_set_result metrics_set_reference(struct metrics *metrics, struct reference *reference);

/* The current table, held: the caller releases it. NULL: none yet. */
struct reference *metrics_reference(struct metrics *metrics);

/* Fills `answer` for the last `window_s` seconds (1 to the retention; what lies beyond is cut to that), the running one
 * included. Returns 0, and metrics_answer_free ends what it began; or -1 when the system has no memory. */
int metrics_query(struct metrics *metrics, uint32_t window_s, struct metrics_answer *answer);

void metrics_answer_free(struct metrics_answer *answer);

struct metrics_counts metrics_counts(struct metrics *metrics);

/* Follows the clock and gives back what has expired; for a thread of its own (base/periodic.h, `context` the metrics),
 * once a second. Everything is right without it, but memory comes back and the work of seconds that pass is done when
 * the next event or query comes. */
int64_t metrics_round(void *context, struct periodic *periodic);

/* Aborts when an invariant above does not hold. For tests. */
void metrics_check(struct metrics *metrics);

#endif
