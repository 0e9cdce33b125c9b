#include "net/pool.h"

#include "base/clock.h"
#include "base/sync.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { SPARE_IDLE_SECONDS = 10 };

struct spare {
    pthread_cond_t condition;
    bool woken;
    TAILQ_ENTRY(spare) link;
};

struct pool {
    struct pool_options options;
    pthread_mutex_t mutex;
    pthread_cond_t all_ended;
    /* Guarded by `mutex`. The atomic ones are changed under it and read without it, as hints. */
    atomic_uint running;
    unsigned blocked;
    unsigned pages; /* of them */
    unsigned waiting;
    unsigned computing;
    unsigned total;
    unsigned spare_count;
    TAILQ_HEAD(spare_list, spare) spares; /* the most recent first */
    STAILQ_HEAD(job_list, job) jobs;
    atomic_size_t job_count;
    atomic_bool stopping;
    struct log_limit thread_shortage, thread_limit;
};

static void *worker_main(void *context)
{
    struct pool *pool = context;
    pool->options.work(pool->options.context, pool);
    pthread_mutex_lock(&pool->mutex);
    if (--pool->total == 0)
        pthread_cond_signal(&pool->all_ended);
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

/* Starts a thread that has been counted in `total` and `running` already. Returns 0, or -1 with errno. */
static int start_thread(struct pool *pool)
{
    pthread_attr_t attributes;
    errno = pthread_attr_init(&attributes);
    if (errno != 0)
        return -1;
    pthread_t thread;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, pool->options.stack_bytes);
    int error = pthread_create(&thread, &attributes, worker_main, pool);
    pthread_attr_destroy(&attributes);
    errno = error;
    return error == 0 ? 0 : -1;
}

static void count_new_thread_locked(struct pool *pool)
{
    pool->total++;
    pool->running++;
}

static void uncount_thread_locked(struct pool *pool)
{
    pool->running--;
    if (--pool->total == 0)
        pthread_cond_signal(&pool->all_ended);
}

struct pool *pool_create(const struct pool_options *options)
{
    struct pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL)
        return NULL;
    pool->options = *options;
    TAILQ_INIT(&pool->spares);
    STAILQ_INIT(&pool->jobs);
    if (sync_condition_init(&pool->all_ended) != 0) {
        free(pool);
        return NULL;
    }
    pthread_mutex_init(&pool->mutex, NULL);
    for (unsigned i = 0; i < options->ready; i++) {
        pthread_mutex_lock(&pool->mutex);
        count_new_thread_locked(pool);
        pthread_mutex_unlock(&pool->mutex);
        if (start_thread(pool) != 0) {
            int error = errno;
            pthread_mutex_lock(&pool->mutex);
            uncount_thread_locked(pool);
            pthread_mutex_unlock(&pool->mutex);
            pool_free(pool);
            errno = error;
            return NULL;
        }
    }
    return pool;
}

void pool_free(struct pool *pool)
{
    if (pool == NULL)
        return;
    atomic_store(&pool->stopping, true);
    pool->options.wake_all(pool->options.context);
    pthread_mutex_lock(&pool->mutex);
    struct spare *spare;
    while ((spare = TAILQ_FIRST(&pool->spares)) != NULL) {
        TAILQ_REMOVE(&pool->spares, spare, link);
        pool->spare_count--;
        pool->running++;
        spare->woken = true;
        pthread_cond_signal(&spare->condition);
    }
    while (pool->total > 0)
        sync_wait(&pool->all_ended, &pool->mutex);
    pthread_mutex_unlock(&pool->mutex);
    pthread_mutex_destroy(&pool->mutex);
    pthread_cond_destroy(&pool->all_ended);
    free(pool);
}

/* Makes up for a worker that is about to block. Called with the mutex, which it gives up while it starts a
 * thread. */
static int replace_locked(struct pool *pool)
{
    struct spare *spare = TAILQ_FIRST(&pool->spares);
    if (spare != NULL) {
        TAILQ_REMOVE(&pool->spares, spare, link);
        pool->spare_count--;
        pool->running++;
        spare->woken = true;
        pthread_cond_signal(&spare->condition);
        return 0;
    }
    count_new_thread_locked(pool);
    pthread_mutex_unlock(&pool->mutex);
    int result = start_thread(pool);
    int error = errno;
    pthread_mutex_lock(&pool->mutex);
    if (result != 0)
        uncount_thread_locked(pool);
    errno = error;
    return result;
}

static bool may_block_locked(const struct pool *pool, enum block_reason reason)
{
    unsigned most = pool->options.max_threads - pool->options.threads;
    switch (reason) {
    case BLOCK_WAITING:
        return pool->blocked < most && pool->waiting < most - POOL_RESERVE;
    case BLOCK_CALL:
        return pool->blocked < most;
    case BLOCK_PAGE:
        return pool->blocked < most && pool->pages < most / 2;
    case BLOCK_COMPUTE:
        return pool->computing < pool->options.threads - pool->options.ready;
    }
    return false;
}

/* Moves a worker from the running ones to those in a section, or (`by` -1) back. */
static void move_locked(struct pool *pool, enum block_reason reason, int by)
{
    unsigned step = (unsigned)by; /* counts are never below zero, so that the sum wraps back */
    pool->running -= step;
    if (reason == BLOCK_COMPUTE)
        pool->computing += step;
    else
        pool->blocked += step;
    if (reason == BLOCK_WAITING)
        pool->waiting += step;
    if (reason == BLOCK_PAGE)
        pool->pages += step;
}

/* Why nobody may block now. `error` 0: because of --max-threads. */
static void complain(struct pool *pool, unsigned threads, int error)
{
    if (error == 0)
        log_limited(pool->options.log, &pool->thread_limit, LOG_LEVEL_WARN,
                    "requests that would wait are refused: raise --max-threads threads=%u", threads);
    else
        log_limited(
            pool->options.log, &pool->thread_shortage, LOG_LEVEL_WARN,
            "requests that would wait are refused, as the system gives no more threads: raise its limits "
            "(ulimit -u, pids.max of the cgroup) or lower --max-threads threads=%u error=\"%s\"",
            threads, strerrordesc_np(error));
}

int pool_block(struct pool *pool, enum block_reason reason)
{
    int error = 0;
    pthread_mutex_lock(&pool->mutex);
    bool entered = may_block_locked(pool, reason);
    if (entered) {
        move_locked(pool, reason, 1);
        if (pool->running < pool->options.ready && replace_locked(pool) != 0) {
            error = errno;
            move_locked(pool, reason, -1);
            entered = false;
        }
    }
    unsigned threads = pool->total;
    pthread_mutex_unlock(&pool->mutex);
    /* Long work and pages are done all the same. */
    if (!entered && reason != BLOCK_COMPUTE && reason != BLOCK_PAGE)
        complain(pool, threads, error);
    return entered ? 0 : -1;
}

void pool_unblock(struct pool *pool, enum block_reason reason)
{
    pthread_mutex_lock(&pool->mutex);
    move_locked(pool, reason, -1);
    pthread_mutex_unlock(&pool->mutex);
}

/* Idles until somebody needs one more worker. Returns false when the thread should end. */
static bool be_spare_locked(struct pool *pool)
{
    struct spare self = {.woken = false};
    bool idle_too_long = false;
    if (sync_condition_init(&self.condition) != 0) {
        pool->running--;
        return false;
    }
    pool->running--;
    pool->spare_count++;
    TAILQ_INSERT_HEAD(&pool->spares, &self, link);
    int64_t deadline = clock_monotonic_ns() + SPARE_IDLE_SECONDS * CLOCK_NS_PER_SECOND;
    while (!self.woken && !idle_too_long)
        idle_too_long = !sync_wait_until(&self.condition, &pool->mutex, deadline);
    if (!self.woken) {
        TAILQ_REMOVE(&pool->spares, &self, link);
        pool->spare_count--;
    }
    pthread_cond_destroy(&self.condition);
    return self.woken;
}

static void run_one_job(struct pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    struct job *job = STAILQ_FIRST(&pool->jobs);
    if (job != NULL) {
        STAILQ_REMOVE_HEAD(&pool->jobs, link);
        pool->job_count--;
    }
    pthread_mutex_unlock(&pool->mutex);
    if (job != NULL)
        job->run(job);
}

bool pool_turn(struct pool *pool)
{
    /* At the end no job is left undone: somebody may wait for what it does. */
    do {
        if (pool_has_jobs(pool))
            run_one_job(pool);
    } while (pool_has_jobs(pool) && atomic_load_explicit(&pool->stopping, memory_order_relaxed));
    bool go_on = true;
    if (atomic_load_explicit(&pool->running, memory_order_relaxed) > pool->options.ready) {
        pthread_mutex_lock(&pool->mutex);
        if (pool->running > pool->options.ready && !pool->stopping)
            go_on = be_spare_locked(pool);
        pthread_mutex_unlock(&pool->mutex);
    }
    return go_on && !atomic_load_explicit(&pool->stopping, memory_order_relaxed);
}

bool pool_has_jobs(struct pool *pool)
{
    return atomic_load_explicit(&pool->job_count, memory_order_relaxed) > 0;
}

void pool_submit(struct pool *pool, struct job *job)
{
    pthread_mutex_lock(&pool->mutex);
    STAILQ_INSERT_TAIL(&pool->jobs, job, link);
    pool->job_count++;
    pthread_mutex_unlock(&pool->mutex);
    pool->options.wake(pool->options.context);
}

struct pool_counts pool_counts(struct pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    struct pool_counts counts = {
        .running = pool->running + pool->computing,
        .waiting = pool->waiting,
        .blocked = pool->blocked,
        .spare = pool->spare_count,
        .total = pool->total,
        .max = pool->options.max_threads,
    };
    pthread_mutex_unlock(&pool->mutex);
    return counts;
}
