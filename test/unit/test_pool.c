/*
 * Proves the pool's one rule: a worker that blocks is replaced, up to limits that keep workers free for those
 * who do not wait; what is too much afterwards idles, is used again, and ends. And that each job is run once.
 */
#include "base/clock.h"
#include "base/sync.h"
#include "net/pool.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { READY = 2, COMPUTERS = 2, THREADS = READY + COMPUTERS };
enum { WAITERS = 3, BLOCKERS = WAITERS + POOL_RESERVE, MAX_THREADS = THREADS + BLOCKERS };

/* The clock is ours, so that it can be behind: whatever is to wait until later by it then waits shorter. */
static _Atomic int64_t clock_lag_ns;

int clock_gettime(clockid_t id, struct timespec *now)
{
    if (syscall(SYS_clock_gettime, id, now) != 0)
        return -1;
    int64_t ns = now->tv_sec * CLOCK_NS_PER_SECOND + now->tv_nsec - clock_lag_ns;
    *now = (struct timespec){.tv_sec = ns / CLOCK_NS_PER_SECOND, .tv_nsec = ns % CLOCK_NS_PER_SECOND};
    return 0;
}

/* An event that a worker serves: it may block for `reason`, or just hold the worker, until it is released. */
struct task {
    bool blocks;
    enum block_reason reason;
    STAILQ_ENTRY(task) link;
    /* Guarded by the harness's mutex. */
    bool entered;
    unsigned steps; /* that it may go: 1: out of its section, 2: and to its end */
    bool unblocked;
    bool left;
    int result; /* of pool_block */
};

/* What a server is to its pool: events, and workers that wait for them. On the heap: a failed test leaves it
 * to the workers. */
struct harness {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct pool *pool;
    struct log log;
    atomic_uint workers; /* inside `work` */
    /* Guarded by `mutex`. */
    STAILQ_HEAD(, task) tasks;
    unsigned idle; /* workers that wait for an event */
    unsigned wakes;
    bool ended;
    char order[32]; /* 'J' for a job, 'E' for an event */
    size_t order_length;
    struct task blocked[BLOCKERS], computing[COMPUTERS], refused, served[READY];
};

static int64_t real_now(void)
{
    return clock_monotonic_ns() + clock_lag_ns;
}

static int64_t deadline(void)
{
    const char *scale = getenv("TEST_TIME_SCALE");
    return real_now() + (int64_t)(5e9 * (scale == NULL ? 1 : atof(scale)));
}

/* Looks at `condition` with the harness's mutex held, until it is true. */
#define await(harness, condition)                                                                            \
    do {                                                                                                     \
        int64_t until = deadline();                                                                          \
        bool in_time = true;                                                                                 \
        pthread_mutex_lock(&(harness)->mutex);                                                               \
        while (!(condition) && in_time)                                                                      \
            in_time = sync_wait_until(&(harness)->changed, &(harness)->mutex, until);                        \
        pthread_mutex_unlock(&(harness)->mutex);                                                             \
        if (!in_time)                                                                                        \
            fail_msg("too late: %s", #condition);                                                            \
    } while (0)

static void serve(struct harness *harness, struct task *task)
{
    int result = task->blocks ? pool_block(harness->pool, task->reason) : 0;
    pthread_mutex_lock(&harness->mutex);
    harness->order[harness->order_length++ % sizeof harness->order] = 'E';
    task->entered = true;
    task->result = result;
    pthread_cond_broadcast(&harness->changed);
    while (task->steps < 1 && result == 0)
        pthread_cond_wait(&harness->changed, &harness->mutex);
    pthread_mutex_unlock(&harness->mutex);
    if (task->blocks && result == 0)
        pool_unblock(harness->pool, task->reason);
    pthread_mutex_lock(&harness->mutex);
    task->unblocked = true;
    pthread_cond_broadcast(&harness->changed);
    while (task->steps < 2 && result == 0)
        pthread_cond_wait(&harness->changed, &harness->mutex);
    task->left = true;
    pthread_cond_broadcast(&harness->changed);
    pthread_mutex_unlock(&harness->mutex);
}

static void work(void *context, struct pool *pool)
{
    struct harness *harness = context;
    harness->workers++;
    while (pool_turn(pool)) {
        pthread_mutex_lock(&harness->mutex);
        harness->idle++;
        pthread_cond_broadcast(&harness->changed);
        while (STAILQ_EMPTY(&harness->tasks) && harness->wakes == 0 && !harness->ended)
            pthread_cond_wait(&harness->changed, &harness->mutex);
        harness->idle--;
        struct task *task = STAILQ_FIRST(&harness->tasks);
        if (task != NULL)
            STAILQ_REMOVE_HEAD(&harness->tasks, link);
        else if (harness->wakes > 0)
            harness->wakes--;
        pthread_mutex_unlock(&harness->mutex);
        if (task != NULL)
            serve(harness, task);
    }
    harness->workers--;
}

/* Asks the pool something, which would hang if its mutex were held meanwhile. */
static void wake(void *context)
{
    struct harness *harness = context;
    pool_counts(harness->pool);
    pthread_mutex_lock(&harness->mutex);
    harness->wakes++;
    pthread_cond_broadcast(&harness->changed);
    pthread_mutex_unlock(&harness->mutex);
}

static void wake_all(void *context)
{
    struct harness *harness = context;
    pthread_mutex_lock(&harness->mutex);
    harness->ended = true;
    pthread_cond_broadcast(&harness->changed);
    pthread_mutex_unlock(&harness->mutex);
}

static struct pool *create_pool(struct harness *harness, unsigned ready, size_t stack_bytes)
{
    harness->log = (struct log){.descriptor = STDERR_FILENO, .level = LOG_LEVEL_ERROR};
    STAILQ_INIT(&harness->tasks);
    pthread_mutex_init(&harness->mutex, NULL);
    assert_int_equal(sync_condition_init(&harness->changed), 0);
    return pool_create(&(struct pool_options){.ready = ready,
                                              .threads = ready + COMPUTERS,
                                              .max_threads = ready + COMPUTERS + BLOCKERS,
                                              .stack_bytes = stack_bytes,
                                              .work = work,
                                              .wake = wake,
                                              .wake_all = wake_all,
                                              .context = harness,
                                              .log = &harness->log});
}

static struct harness *start(unsigned ready)
{
    struct harness *harness = calloc(1, sizeof *harness);
    harness->pool = create_pool(harness, ready, 1024 * 1024);
    assert_non_null(harness->pool);
    await(harness, harness->idle == ready);
    return harness;
}

/* No worker is left in `work` when pool_free returns. */
static void stop(struct harness *harness)
{
    pool_free(harness->pool);
    assert_int_equal(harness->workers, 0);
    pthread_cond_destroy(&harness->changed);
    pthread_mutex_destroy(&harness->mutex);
    free(harness);
}

static void hand_out(struct harness *harness, struct task *task)
{
    pthread_mutex_lock(&harness->mutex);
    STAILQ_INSERT_TAIL(&harness->tasks, task, link);
    pthread_cond_broadcast(&harness->changed);
    pthread_mutex_unlock(&harness->mutex);
}

static void let_go(struct harness *harness, struct task *tasks, size_t count, unsigned steps)
{
    pthread_mutex_lock(&harness->mutex);
    for (size_t i = 0; i < count; i++)
        tasks[i].steps = steps;
    pthread_cond_broadcast(&harness->changed);
    pthread_mutex_unlock(&harness->mutex);
}

static void release(struct harness *harness, struct task *tasks, size_t count)
{
    let_go(harness, tasks, count, 2);
    for (size_t i = 0; i < count; i++)
        await(harness, tasks[i].left);
}

/* Has a worker call pool_block, and returns what that said. */
static int block(struct harness *harness, struct task *task, enum block_reason reason)
{
    *task = (struct task){.blocks = true, .reason = reason};
    hand_out(harness, task);
    await(harness, task->entered && (task->result == 0 || task->left));
    return task->result;
}

static void assert_counts(struct harness *harness, unsigned waiting, unsigned blocked, unsigned spare)
{
    struct pool_counts counts = pool_counts(harness->pool);
    assert_int_equal(counts.running, READY);
    assert_int_equal(counts.waiting, waiting);
    assert_int_equal(counts.blocked, blocked);
    assert_int_equal(counts.spare, spare);
    assert_int_equal(counts.total, READY + blocked + spare);
    assert_int_equal(counts.max, MAX_THREADS);
}

/* The pool tells nobody when a worker becomes a spare, or ends. */
#define await_counts(harness, member, number)                                                                \
    for (int64_t until = deadline(); pool_counts((harness)->pool).member != (number); poll(NULL, 0, 1))      \
    assert_true(real_now() < until)

/* As many workers as are to be ready serve events at the same time. */
static void assert_served(struct harness *harness)
{
    for (size_t i = 0; i < READY; i++) {
        harness->served[i] = (struct task){.blocks = false};
        hand_out(harness, &harness->served[i]);
    }
    await(harness, harness->served[0].entered && harness->served[READY - 1].entered);
    release(harness, harness->served, READY);
}

static void pool_that_gets_no_threads_is_none(void **state)
{
    (void)state;
    struct harness harness = {.workers = 0};
    errno = 0;
    assert_null(create_pool(&harness, READY, (size_t)1 << 50));
    assert_int_not_equal(errno, 0);
    pool_free(NULL);
}

static void blocked_workers_are_replaced(void **state)
{
    (void)state;
    for (unsigned waiters = 0; waiters <= WAITERS; waiters += WAITERS) {
        struct harness *harness = start(READY);
        for (unsigned i = 0; i < BLOCKERS; i++) {
            enum block_reason reason = i < waiters ? BLOCK_WAITING : BLOCK_CALL;
            assert_int_equal(block(harness, &harness->blocked[i], reason), 0);
            assert_counts(harness, i < waiters ? i + 1 : waiters, i + 1, 0);
            assert_served(harness);
        }
        assert_int_equal(block(harness, &harness->refused, BLOCK_WAITING), -1);
        assert_int_equal(block(harness, &harness->refused, BLOCK_CALL), -1);
        assert_counts(harness, waiters, BLOCKERS, 0);
        release(harness, harness->blocked, BLOCKERS);
        stop(harness);
    }
}

/* Pages of answers leave half of the threads to requests, also when there are more of them. */
static void pages_leave_threads_to_requests(void **state)
{
    (void)state;
    struct harness *harness = start(READY);
    for (unsigned i = 0; i < BLOCKERS; i++) {
        enum block_reason reason = i < BLOCKERS / 2 ? BLOCK_PAGE : BLOCK_CALL;
        assert_int_equal(block(harness, &harness->blocked[i], reason), 0);
        assert_served(harness);
        if (i >= BLOCKERS / 2 - 1)
            assert_int_equal(block(harness, &harness->refused, BLOCK_PAGE), -1);
    }
    assert_int_equal(block(harness, &harness->refused, BLOCK_CALL), -1);
    release(harness, harness->blocked, BLOCKERS);
    stop(harness);
}

/* Computing workers are replaced too, beside as many as may block, and count as running. */
static void computing_workers_are_replaced(void **state)
{
    (void)state;
    struct harness *harness = start(READY);
    for (unsigned i = 0; i < BLOCKERS; i++)
        assert_int_equal(block(harness, &harness->blocked[i], BLOCK_CALL), 0);
    for (unsigned i = 0; i < COMPUTERS; i++) {
        assert_int_equal(block(harness, &harness->computing[i], BLOCK_COMPUTE), 0);
        struct pool_counts counts = pool_counts(harness->pool);
        assert_int_equal(counts.running, READY + i + 1);
        assert_int_equal(counts.total, READY + i + 1 + BLOCKERS);
        assert_served(harness);
    }
    assert_int_equal(block(harness, &harness->refused, BLOCK_COMPUTE), -1);
    release(harness, harness->computing, COMPUTERS);
    await_counts(harness, spare, COMPUTERS);
    assert_counts(harness, 0, BLOCKERS, COMPUTERS);
    release(harness, harness->blocked, BLOCKERS);
    stop(harness);
}

static void waiting_requests_leave_a_reserve_for_calls(void **state)
{
    (void)state;
    struct harness *harness = start(READY);
    for (unsigned i = 0; i < WAITERS; i++)
        assert_int_equal(block(harness, &harness->blocked[i], BLOCK_WAITING), 0);
    assert_int_equal(block(harness, &harness->refused, BLOCK_WAITING), -1);
    assert_counts(harness, WAITERS, WAITERS, 0);
    for (unsigned i = WAITERS; i < BLOCKERS; i++)
        assert_int_equal(block(harness, &harness->blocked[i], BLOCK_CALL), 0);
    release(harness, harness->blocked, BLOCKERS);
    stop(harness);
}

static void surplus_workers_idle_and_are_used_again(void **state)
{
    (void)state;
    struct harness *harness = start(READY);
    for (int round = 0; round < 3; round++) {
        for (unsigned i = 0; i < WAITERS; i++)
            assert_int_equal(block(harness, &harness->blocked[i], BLOCK_WAITING), 0);
        /* In the first round threads were started, later ones find spares. */
        assert_counts(harness, WAITERS, WAITERS, 0);
        for (unsigned i = 0; i < WAITERS; i++) {
            release(harness, &harness->blocked[i], 1);
            await_counts(harness, spare, i + 1);
            assert_counts(harness, WAITERS - 1 - i, WAITERS - 1 - i, i + 1);
        }
        assert_served(harness);
        assert_int_equal(harness->workers, READY + WAITERS);
    }
    stop(harness); /* with spares */
}

/* A worker that finishes its request behind a section is one of the ready ones: nobody is started beside it. */
static void unblocked_workers_count_at_once(void **state)
{
    (void)state;
    struct harness *harness = start(READY);
    assert_int_equal(block(harness, &harness->blocked[0], BLOCK_CALL), 0);
    await(harness, harness->idle == READY);
    let_go(harness, harness->blocked, 1, 1);
    await(harness, harness->blocked[0].unblocked);
    assert_int_equal(pool_counts(harness->pool).running, READY + 1);
    assert_int_equal(block(harness, &harness->blocked[1], BLOCK_CALL), 0);
    assert_counts(harness, 0, 1, 0);
    release(harness, harness->blocked, 2);
    stop(harness);
}

static void spares_end_when_they_idle_for_long(void **state)
{
    (void)state;
    struct harness *harness = start(READY);
    for (unsigned i = 0; i < WAITERS; i++)
        assert_int_equal(block(harness, &harness->blocked[i], BLOCK_WAITING), 0);
    clock_lag_ns = 60 * CLOCK_NS_PER_SECOND;
    release(harness, harness->blocked, WAITERS);
    await_counts(harness, total, READY);
    clock_lag_ns = 0;
    assert_counts(harness, 0, 0, 0);
    assert_served(harness);
    assert_int_equal(harness->workers, READY);
    stop(harness);
}

/* ---- jobs ---- */

struct test_job {
    struct job job;
    struct harness *harness;
    atomic_uint runs;
    unsigned again; /* how often it submits itself */
    bool freed;     /* by itself */
};

static void run_job(struct job *job)
{
    struct test_job *test_job = (struct test_job *)job;
    struct harness *harness = test_job->harness;
    pool_counts(harness->pool);
    pthread_mutex_lock(&harness->mutex);
    harness->order[harness->order_length++ % sizeof harness->order] = 'J';
    test_job->runs++;
    pthread_cond_broadcast(&harness->changed);
    pthread_mutex_unlock(&harness->mutex);
    if (test_job->again > 0) {
        test_job->again--;
        pool_submit(harness->pool, job);
    } else if (test_job->freed) {
        free(test_job);
    }
}

static void each_job_is_run_once(void **state)
{
    (void)state;
    enum { JOBS = 2000 };
    static struct test_job jobs[JOBS];
    struct harness *harness = start(READY);
    for (int i = 0; i < JOBS; i++) {
        jobs[i] = (struct test_job){.job.run = run_job, .harness = harness, .again = i % 100 == 0 ? 3 : 0};
        pool_submit(harness->pool, &jobs[i].job);
        struct test_job *freed = malloc(sizeof *freed);
        *freed = (struct test_job){.job.run = run_job, .harness = harness, .freed = true};
        pool_submit(harness->pool, &freed->job);
    }
    await(harness, harness->order_length == 2 * JOBS + JOBS / 100 * 3);
    for (int i = 0; i < JOBS; i++)
        assert_int_equal(jobs[i].runs, i % 100 == 0 ? 4 : 1);
    assert_false(pool_has_jobs(harness->pool));
    stop(harness);
}

static void jobs_and_events_take_turns(void **state)
{
    (void)state;
    enum { COUNT = 5 };
    struct harness *harness = start(1);
    struct task first = {.blocks = false}, tasks[COUNT] = {{0}};
    struct test_job jobs[COUNT];
    hand_out(harness, &first);
    await(harness, first.entered);
    for (int i = 0; i < COUNT; i++) {
        jobs[i] = (struct test_job){.job.run = run_job, .harness = harness};
        tasks[i].steps = 2;
        pool_submit(harness->pool, &jobs[i].job);
        hand_out(harness, &tasks[i]);
    }
    assert_true(pool_has_jobs(harness->pool) && jobs[0].runs == 0);
    release(harness, &first, 1);
    await(harness, harness->order_length == 1 + 2 * COUNT);
    assert_memory_equal(harness->order, "EJEJEJEJEJE", 1 + 2 * COUNT);
    stop(harness);
}

/* "`run` is called once for each pool_submit": also for those that wait when the pool ends. */
static void no_job_is_left_at_the_end(void **state)
{
    (void)state;
    enum { JOBS = 200 };
    static struct test_job jobs[JOBS];
    for (int round = 0; round < 20; round++) {
        struct harness *harness = start(READY);
        for (int i = 0; i < JOBS; i++) {
            jobs[i] = (struct test_job){.job.run = run_job, .harness = harness};
            pool_submit(harness->pool, &jobs[i].job);
        }
        stop(harness);
        for (int i = 0; i < JOBS; i++)
            assert_int_equal(jobs[i].runs, 1);
    }
}

/* ---- all at once ---- */

static void invariants_hold_under_load(void **state)
{
    (void)state;
    enum { TASKS = 3000 };
    static struct task tasks[TASKS];
    static const enum block_reason reasons[] = {BLOCK_CALL, BLOCK_CALL, BLOCK_WAITING, BLOCK_COMPUTE};
    struct harness *harness = start(READY);
    for (unsigned i = 0; i < TASKS; i++) {
        tasks[i] = (struct task){.blocks = i % 4 != 0, .reason = reasons[i % 4]};
        hand_out(harness, &tasks[i]);
        if (i >= 10)
            release(harness, &tasks[i - 10], 1);
        struct pool_counts counts = pool_counts(harness->pool);
        assert_int_equal(counts.running + counts.blocked + counts.spare, counts.total);
        assert_true(counts.total <= MAX_THREADS);
        assert_true(counts.blocked <= MAX_THREADS - THREADS);
        assert_true(counts.waiting <= WAITERS && counts.waiting <= counts.blocked);
        assert_true(counts.running >= READY);
    }
    release(harness, tasks, TASKS);
    stop(harness);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pool_that_gets_no_threads_is_none),
        cmocka_unit_test(blocked_workers_are_replaced),
        cmocka_unit_test(pages_leave_threads_to_requests),
        cmocka_unit_test(computing_workers_are_replaced),
        cmocka_unit_test(waiting_requests_leave_a_reserve_for_calls),
        cmocka_unit_test(surplus_workers_idle_and_are_used_again),
        cmocka_unit_test(unblocked_workers_count_at_once),
        cmocka_unit_test(spares_end_when_they_idle_for_long),
        cmocka_unit_test(each_job_is_run_once),
        cmocka_unit_test(jobs_and_events_take_turns),
        cmocka_unit_test(no_job_is_left_at_the_end),
        cmocka_unit_test(invariants_hold_under_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
