/* The elastic pool of blocking workers.
 *
 * The pool's one rule: at any moment about `ready` workers are not blocked. A worker that is about to block
 * (a wait for an event, a database or upstream call) enters a blocking section with pool_block; when that
 * leaves fewer than `ready`, a spare worker is woken or a new one started, up to `max_threads`. After
 * pool_unblock it finishes its request; then, when there are too many, pool_turn makes it a spare, and a
 * spare that idles for some seconds ends.
 *
 * `ready` is one a core, or `threads` where that is less. More workers waiting for events than cores only
 * make each event wake a thread that another one would have been back for (measured with two a core on 2
 * cores: a quarter more CPU a request). What keeps a core busy for long, such as a large body, is a section
 * of its own (BLOCK_COMPUTE): others stay ready beside it, as long as no more than `threads` run at once.
 *
 * Waiting requests may use all threads but `threads` + POOL_RESERVE, other blockers all but `threads`: so
 * waiting requests never keep a push from being served, and not even all of them keep a database call from
 * being made. The pages of long answers, of which there may be as many as clients, may use half of those: requests go
 * before them.
 *
 * Jobs are work that belongs to no connection (the delivery of one event to very many waiters). A worker does
 * one job, then serves one event, and so on, so that neither holds the other up.
 *
 * Lock: the pool's mutex, a leaf; it is not held while anything of the caller's runs.
 * Invariants: running + computing + blocked + spares = total <= max_threads; computing <= threads - ready;
 * blocked <= max_threads - threads; pages <= half of that.
 */
#ifndef NET_POOL_H
#define NET_POOL_H

#include "base/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

struct pool;

enum { POOL_RESERVE = 4 };

/* Work for any worker. `run` is called once for each pool_submit, by one worker; it may submit the job again
 * or free it. */
struct job {
    void (*run)(struct job *job);
    STAILQ_ENTRY(job) link;
};

struct pool_options {
    unsigned ready;
    unsigned threads;     /* at least `ready` */
    unsigned max_threads; /* at least threads + POOL_RESERVE + 1 */
    size_t stack_bytes;
    /* A worker's life: it calls pool_turn between two events, and returns when that says so. */
    void (*work)(void *context, struct pool *pool);
    /* Wakes one worker that waits for an event inside `work`, so that it comes to pool_turn. */
    void (*wake)(void *context);
    /* Wakes all workers that wait for an event, for good: the pool ends. */
    void (*wake_all)(void *context);
    void *context;
    const struct log *log;
};

/* Why a worker enters a blocking section. */
enum block_reason {
    BLOCK_WAITING, /* a request that waits for an event */
    BLOCK_CALL,    /* a call that takes its time */
    BLOCK_PAGE,    /* a call for the next page of an answer; when refused, the caller makes it all the same */
    BLOCK_COMPUTE, /* long work on a core; when refused, the caller does it all the same */
};

struct pool_counts {
    unsigned running; /* the computing ones too */
    unsigned waiting;
    unsigned blocked; /* the waiting ones among them */
    unsigned spare;
    unsigned total;
    unsigned max;
};

/* Makes a pool and starts `ready` workers. Returns NULL with errno. */
struct pool *pool_create(const struct pool_options *options);

/* Ends the workers: those in `work` must have been woken for good by the caller. Frees the pool. Takes NULL.
 */
void pool_free(struct pool *pool);

/* What a worker does between two events: runs at most one job, becomes a spare when there are too many.
 * Returns false when the thread should end. */
bool pool_turn(struct pool *pool);

/* Whether there are jobs, so that the worker had better not wait long for an event. */
bool pool_has_jobs(struct pool *pool);

/* Enters a blocking section. Returns 0, or -1 when no thread may be spent on it: the caller then must not
 * block. */
int pool_block(struct pool *pool, enum block_reason reason);
void pool_unblock(struct pool *pool, enum block_reason reason);

/* Queues a job. Can't fail. */
void pool_submit(struct pool *pool, struct job *job);

struct pool_counts pool_counts(struct pool *pool);

#endif
