/*
 * The kit's part for faults on purpose (test/faults/faults.h): servers whose allocations, threads and writes fail when
 * the test says so, and sweeps, which let the first allocation of a request fail, then the second, and so on.
 *
 * The usual build is given faults.so, from the folder `faults` beside it; a sanitized one is replaced by the
 * event-syncer in that folder. All functions fail the test and belong to its own thread; struct faults is any thread's.
 */
#ifndef KIT_FAULTS_H
#define KIT_FAULTS_H

#include "../faults/faults.h"
#include "kit.h"

#include <sys/types.h>

/* Processes that the kit starts from now on, by whatever function, share this switchboard. Everything is off. */
struct faults *kit_faults(struct kit *kit);
/* Of the allocations from now on, number `nth` and the `count - 1` after it fail. */
void kit_fail_allocations(struct faults *faults, uint64_t nth, uint64_t count);
/* Every n-th fails; 0: none. */
void kit_fail_every(struct faults *faults, uint64_t every);
/* The calls (enum faults_call) on files whose path contains `name` fail with that error, from now on. */
void kit_fail_files(struct faults *faults, const char *name, unsigned calls, int error);
/* All works again. */
void kit_faults_end(struct faults *faults);

/* Asks until a write and a read work again: a failure may have ended a connection to the database. */
void kit_await_database(struct kit_server *server);

/* ---- what a server holds ---- */

struct kit_holdings {
    int64_t descriptors, threads, connections, streams;
};

/* All of the server's connections to PostgreSQL are there: they are opened one after the other, from the start on. */
void kit_await_links(struct kit *kit);
/* Its open descriptors and threads, by /proc, without the connection that asks, and what /health counts. */
struct kit_holdings kit_holdings(struct kit_server *server);
/* Asks until it holds no more than that, the threads that idle as spares aside; fails the test after 5 s. */
void kit_wait_until_holdings(struct kit_server *server, const struct kit_holdings *wanted);

/* ---- sweeps ---- */

enum kit_outcome {
    KIT_TAKEN,        /* one of the wanted answers */
    KIT_REFUSED,      /* 503 and {"error":...}, and not "outcome unknown" */
    KIT_OPEN_OUTCOME, /* 503 "outcome unknown", or no answer */
};

struct kit_sweep {
    struct kit_server *server;
    struct faults *faults;
    void *context;
    bool
        database_goes; /* a failure may end the connection to the database, which then comes back by itself */
    const char *first_answer; /* the sweep's own */
    unsigned attempts, taken, refused, open,
        cut; /* so far, of all requests; `cut`: of the open ones, without an answer */
};

/* A request. In target, headers and body each # stands for the number of the attempt, which is never used twice. */
struct kit_swept {
    const char *name;
    const char *method, *target, *headers, *body; /* `headers`, `body`: NULL: none */
    const char *raw;      /* instead of all these: the bytes as they are sent, but for # */
    const char *statuses; /* what it may be answered while nothing fails: "200|404" */
    const char *answer;   /* the body of such an answer; NULL: the same each time; "": any */
    /* Judges, while nothing fails, what has become of the attempt; NULL: nothing to see. The body is NULL when there was no
     * answer. */
    void (*judge)(struct kit_sweep *sweep, unsigned number, enum kit_outcome outcome, const char *body);
};

/* Lets the first, the second, ... allocation of the process fail once such a request is sent, each over a connection of
 * its own, until the answer comes before the failure; then the request must be taken. At most `most` attempts. */
void kit_sweep(struct kit_sweep *sweep, const struct kit_swept *request, unsigned most);

/* The text with # replaced by the number. */
char *kit_numbered(struct kit *kit, const char *text, unsigned number);

#endif
