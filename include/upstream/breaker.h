/* The circuit breaker: stops calls to a service that fails, and finds out when it is well again.
 *
 *                 3 failures in a row within 30 s                back-off over, one caller comes
 *      +--------+ -------------------------------> +------+ ------------------------------------> +-----------+
 *      | closed |                                  | open |                                       | half-open |
 *      +--------+                                  +------+ <------------------------------------ +-----------+
 *          ^                                                   the probe failed: longer back-off        |
 *          +--------------------------------------------------------------------------------------------+
 *                                             the probe succeeded
 *
 *   closed     All calls go. A success ends the row of failures. The row opens the breaker when it has
 *              `failures_to_open` failures of which the first is at most `row_ns` before the last; failures that are too
 *              old for that are forgotten one by one, so a row of four may open it by its last three.
 *   open       No call goes, until the back-off is over.
 *   half-open  One call goes, the probe. All others are refused while it is under way. A probe that ends as cancelled
 *              has said nothing: the next caller is the probe, at once.
 *
 * The back-off's nominal length is `first_backoff_ns`, doubled for each probe that has failed since the breaker was last
 * closed, at most `longest_backoff_ns`; the real one is drawn evenly from its upper half ("equal jitter"), so that many
 * servers do not probe in step: never above the nominal length, never below half of it.
 *
 * Sources: Michael Nygard, "Release It!" (2nd edition, 2018), chapter 5, "Circuit Breaker"; Marc Brooker, "Exponential
 * Backoff And Jitter" (AWS Architecture Blog, 2015), "Equal Jitter".
 *
 * Calls that come late
 *   Each call that goes carries a ticket with the number of the period it began in; a period ends with each change of
 *   state. A result from an earlier period is counted as late and changes nothing else: a call that was begun before the
 *   breaker opened neither closes it nor lengthens the back-off nor takes part in a later row.
 *
 * The contract of callers
 *   BREAKER_GO and BREAKER_PROBE are followed by exactly one breaker_leave with the same ticket, whatever happens: for a
 *   call that says nothing of the service (given up, no memory) with BREAKER_CANCELLED. A probe that never ends would
 *   keep all others out for ever; so the call itself must have a deadline.
 *
 * Time is handed in: instants of CLOCK_MONOTONIC in ns, 0 to INT64_MAX / 2. Threads that read the clock may come in
 * another order than they have read it: an instant before the latest one that was seen counts as that one.
 *
 * Lock: breaker->mutex guards everything, a leaf. `draw` is called under it; `changed` after it has been let go, so two
 * changes in quick succession may be told in either order (their periods tell). Any number of threads. Nothing here
 * allocates but breaker_create, nothing blocks, nothing logs.
 */
#ifndef UPSTREAM_BREAKER_H
#define UPSTREAM_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

struct breaker;

enum { BREAKER_MOST_FAILURES = 16 };

enum breaker_state {
    BREAKER_CLOSED,
    BREAKER_OPEN,
    BREAKER_HALF_OPEN,
};

struct breaker_change {
    enum breaker_state from;
    enum breaker_state to;
    uint64_t period;      /* of `to`; each has the next number */
    int64_t backoff_ns;   /* when `to` is BREAKER_OPEN: until a probe may go */
    uint32_t failed_row;  /* failures in the row that opened it from closed, else 0 */
    uint32_t probes_lost; /* probes that have failed since it was last closed */
};

struct breaker_config {
    uint32_t failures_to_open; /* 1 to BREAKER_MOST_FAILURES */
    int64_t row_ns;
    int64_t first_backoff_ns;   /* at least 1 */
    int64_t longest_backoff_ns; /* at least the first; at most INT64_MAX / 4 */
    /* Any number, each as likely as any other. Must not block. */
    uint64_t (*draw)(void *context);
    void *draw_context;
    /* Called for each change of state in the thread that caused it, without a lock. May be NULL. */
    void (*changed)(void *context, const struct breaker_change *change);
    void *changed_context;
};

/* 3 failures within 30 s; back-off from 1 s to 60 s; the system's random source; nobody is told. */
extern const struct breaker_config breaker_defaults;

enum breaker_entry {
    BREAKER_GO,
    BREAKER_PROBE, /* go: the result decides for all */
    BREAKER_REFUSED,
};

enum breaker_outcome {
    BREAKER_SUCCESS,
    BREAKER_FAILURE,
    BREAKER_CANCELLED, /* neither */
};

/* What a call that goes brings back. The caller keeps it and does not look inside. */
struct breaker_ticket {
    uint64_t period; /* 0: none, or brought back already */
    bool is_probe;
};

struct breaker_counts {
    enum breaker_state state;
    uint64_t period;
    uint32_t
        row; /* failures in the row, while closed; those that are too old included, up to failures_to_open */
    uint32_t probes_lost; /* probes that have failed since it was last closed */
    bool probe_under_way;
    int64_t probe_at;   /* while open: when the next probe may go */
    uint64_t calls;     /* that went, probes too = successes + failures + cancelled + those under way */
    uint64_t successes; /* late ones too */
    uint64_t failures;
    uint64_t cancelled;
    uint64_t late; /* successes and failures that came in a later period */
    uint64_t refused;
    uint64_t opened; /* times, from closed and from half-open */
};

/* Begins closed. The config is copied. Returns NULL with errno (EINVAL: the config is out of range). */
struct breaker *breaker_create(const struct breaker_config *config);

/* No call may be under way. Takes NULL. */
void breaker_free(struct breaker *breaker);

/* Asks whether a call may go. Fills `ticket`, and for BREAKER_REFUSED `retry_at`: the instant from which on it is worth
 * asking again (while a probe is under way, which may end at any time: now). */
enum breaker_entry breaker_enter(struct breaker *breaker, int64_t now, struct breaker_ticket *ticket,
                                 int64_t *retry_at);

/* Says how the call ended. Voids the ticket: a second time does nothing. */
void breaker_leave(struct breaker *breaker, struct breaker_ticket *ticket, enum breaker_outcome outcome,
                   int64_t now);

struct breaker_counts breaker_counts(struct breaker *breaker);

/* "closed", "open", "half-open". */
const char *breaker_state_name(enum breaker_state state);

#endif
