/* The storage's face: the choice of the engine, and the writer thread with its group commit. */
#include "storage/storage.h"

#include "base/clock.h"
#include "base/sync.h"
#include "storage/storage_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Other servers' transactions wait for ours. One write alone may have more bytes. */
enum {
    WRITES_AT_ONCE = 4096,
    BYTES_AT_ONCE = 8 * 1024 * 1024,
    PURGE_BYTES = BYTES_AT_ONCE, /* what a purge counts for: it deletes more, which is quicker */
    MERGED_BYTES = 1024,         /* what looking for a row counts for, beside its texts */
    REVENUE_BYTES = 4096,        /* the same of a user's sum: no two large writes of them go together */
};

/* A batch has less time than its callers wait, so that they learn its outcome. */
#define LONGEST_COMMIT_NS (INT64_C(1500) * CLOCK_NS_PER_MS * DEADLINE_SCALE)
#define OUTCOME_MARGIN_NS (INT64_C(100) * CLOCK_NS_PER_MS * DEADLINE_SCALE)
#define LEAST_COMMIT_NS   (INT64_C(300) * CLOCK_NS_PER_MS)
#define RESOLVE_PAUSE_NS  (INT64_C(100) * CLOCK_NS_PER_MS)
#define RESOLVE_NS        CLOCK_NS_PER_SECOND
#define DEADLINE_ROUND_NS CLOCK_NS_PER_SECOND

/* --- the writer thread --- */

static size_t merged_bytes(const struct storage_write *write)
{
    size_t bytes = write->count * MERGED_BYTES;
    for (size_t i = 0; i < write->count; i++) {
        if (write->kind == STORAGE_MERGE_USERS) {
            bytes += write->users[i].id.length + write->users[i].attributes.length;
            continue;
        }
        const struct storage_planned_event *event = &write->events[i];
        bytes += event->id.length + event->name.length + event->user.length + event->details.length;
    }
    return bytes;
}

static size_t revenue_bytes(const struct storage_write *write)
{
    size_t bytes = write->count * REVENUE_BYTES;
    for (size_t i = 0; i < write->count; i++)
        bytes += write->revenues[i].user.length + write->revenues[i].amount.length;
    return bytes;
}

static size_t bytes_of(const struct storage_write *write)
{
    switch (write->kind) {
    case STORAGE_PUBLISH:
    case STORAGE_REFERENCE_PIECE:
        return write->payload.length;
    case STORAGE_REFERENCE_PURGE:
        return PURGE_BYTES;
    case STORAGE_ADD_EVENT:
        return write->name.length + write->details.length;
    case STORAGE_MERGE_USERS:
    case STORAGE_MERGE_EVENTS:
        return merged_bytes(write);
    case STORAGE_COUNT_REVENUE:
        return revenue_bytes(write);
    case STORAGE_SUBSCRIBE:
    case STORAGE_UNSUBSCRIBE:
    case STORAGE_REFERENCE_SWITCH:
        break;
    }
    return 0;
}

/* Waits for writes and takes them; those with too little time left for a commit go to `late`, as they would cut the time of
 * all others. What is told about an unsubscription comes before a new subscription can be seen: that is left for the next
 * batch. Returns false at the end, when there are none left. */
static bool take_batch(struct storage *storage, struct storage_write_list *batch,
                       struct storage_write_list *late)
{
    pthread_mutex_lock(&storage->mutex);
    while (STAILQ_EMPTY(&storage->queued) && !storage->stopping) {
        storage->writer_idles = true;
        sync_wait(&storage->work, &storage->mutex);
    }
    storage->writer_idles = false;
    int64_t late_at = clock_monotonic_ns() + LEAST_COMMIT_NS;
    bool unsubscribes = false;
    size_t bytes = 0;
    for (size_t i = 0; i < WRITES_AT_ONCE && !STAILQ_EMPTY(&storage->queued); i++) {
        struct storage_write *write = STAILQ_FIRST(&storage->queued);
        if (unsubscribes && write->kind == STORAGE_SUBSCRIBE)
            break;
        size_t more = bytes_of(write);
        if (bytes > 0 && bytes + more > BYTES_AT_ONCE)
            break;
        bytes += more;
        unsubscribes = unsubscribes || write->kind == STORAGE_UNSUBSCRIBE;
        STAILQ_REMOVE_HEAD(&storage->queued, link);
        if (write->deadline_at < late_at)
            STAILQ_INSERT_TAIL(late, write, link);
        else
            STAILQ_INSERT_TAIL(batch, write, link);
        pthread_mutex_lock(&write->mutex);
        write->state = STORAGE_WRITE_TAKEN;
        pthread_mutex_unlock(&write->mutex);
    }
    pthread_mutex_unlock(&storage->mutex);
    return !STAILQ_EMPTY(batch) || !STAILQ_EMPTY(late);
}

static int64_t commit_deadline(const struct storage_write_list *batch)
{
    int64_t deadline_at = clock_monotonic_ns() + LONGEST_COMMIT_NS;
    const struct storage_write *write;
    STAILQ_FOREACH (write, batch, link) {
        if (write->deadline_at - OUTCOME_MARGIN_NS < deadline_at)
            deadline_at = write->deadline_at - OUTCOME_MARGIN_NS;
    }
    return deadline_at;
}

/* Returns false when the storage is being closed. */
static bool pause_before_resolving(struct storage *storage)
{
    int64_t until_at = clock_monotonic_ns() + RESOLVE_PAUSE_NS;
    bool in_time = true;
    pthread_mutex_lock(&storage->mutex);
    while (!storage->stopping && in_time)
        in_time = sync_wait_until(&storage->work, &storage->mutex, until_at);
    bool stopping = storage->stopping;
    pthread_mutex_unlock(&storage->mutex);
    return !stopping;
}

/* Commits, and does not rest until the outcome is known, or the storage is being closed. */
static enum storage_result commit(struct storage *storage, const struct storage_write_list *batch)
{
    enum storage_result result = storage->engine->commit(storage->state, batch, commit_deadline(batch));
    while (result == STORAGE_UNKNOWN && pause_before_resolving(storage))
        result = storage->engine->resolve(storage->state, batch, clock_monotonic_ns() + RESOLVE_NS);
    return result;
}

static void destroy_locks(struct storage_write *write)
{
    pthread_cond_destroy(&write->condition);
    pthread_mutex_destroy(&write->mutex);
}

/* Tells the owner. Returns whether a caller waits, who then may not give up any more. */
static bool announce(struct storage_write *write, enum storage_result result)
{
    pthread_mutex_lock(&write->mutex);
    while (write->expiring)
        sync_wait(&write->condition, &write->mutex);
    /* Only when the storage closes without knowing: the caller is to give up. */
    write->hopeless = result == STORAGE_UNKNOWN;
    while (write->hopeless && !write->submitted && !write->abandoned) {
        pthread_cond_broadcast(&write->condition);
        sync_wait(&write->condition, &write->mutex);
    }
    bool abandoned = write->abandoned;
    bool waiting = !abandoned && !write->submitted;
    write->state = STORAGE_WRITE_SETTLING;
    pthread_mutex_unlock(&write->mutex);
    if (!waiting)
        destroy_locks(write);
    if (write->submitted && !abandoned && result == STORAGE_UNKNOWN) {
        write->settled(write, result, false);
        abandoned = true;
    }
    if (write->settled != NULL)
        write->settled(write, result, abandoned);
    else if (abandoned)
        free(write);
    return waiting;
}

static void wake_caller(struct storage_write *write, enum storage_result result)
{
    pthread_mutex_lock(&write->mutex);
    write->result = result;
    write->state = STORAGE_WRITE_SETTLED;
    pthread_cond_signal(&write->condition);
    pthread_mutex_unlock(&write->mutex);
}

static void forget_deadline_locked(struct storage *storage, struct storage_write *write)
{
    if (write->outstanding)
        TAILQ_REMOVE(&storage->outstanding, write, by_deadline);
    write->outstanding = false;
}

static void forget_deadlines(struct storage *storage, const struct storage_write_list *batch)
{
    struct storage_write *write;
    pthread_mutex_lock(&storage->mutex);
    STAILQ_FOREACH (write, batch, link)
        forget_deadline_locked(storage, write);
    pthread_mutex_unlock(&storage->mutex);
}

/* Announces all before the first caller wakes, so that callers who go on compete with nothing of theirs. */
static void settle(struct storage *storage, struct storage_write_list *batch, enum storage_result result)
{
    struct storage_write_list waiting = STAILQ_HEAD_INITIALIZER(waiting);
    struct storage_write *write;
    forget_deadlines(storage, batch);
    while ((write = STAILQ_FIRST(batch)) != NULL) {
        STAILQ_REMOVE_HEAD(batch, link);
        if (announce(write, result))
            STAILQ_INSERT_TAIL(&waiting, write, link);
    }
    while ((write = STAILQ_FIRST(&waiting)) != NULL) {
        STAILQ_REMOVE_HEAD(&waiting, link);
        wake_caller(write, result);
    }
}

static void *writer_main(void *context)
{
    struct storage *storage = context;
    struct storage_write_list batch = STAILQ_HEAD_INITIALIZER(batch);
    struct storage_write_list late = STAILQ_HEAD_INITIALIZER(late);
    while (take_batch(storage, &batch, &late)) {
        settle(storage, &late, STORAGE_AWAY);
        if (!STAILQ_EMPTY(&batch))
            settle(storage, &batch, commit(storage, &batch));
    }
    return NULL;
}

/* --- callers --- */

/* Returns 0, or -1 when nobody would take it out again. */
static int enqueue(struct storage *storage, struct storage_write *write)
{
    pthread_mutex_lock(&storage->mutex);
    bool stopping = storage->stopping;
    if (!stopping)
        STAILQ_INSERT_TAIL(&storage->queued, write, link);
    write->outstanding = write->submitted && !stopping;
    if (write->outstanding)
        TAILQ_INSERT_TAIL(&storage->outstanding, write, by_deadline);
    if (storage->writer_idles)
        pthread_cond_signal(&storage->work);
    storage->writer_idles = false;
    pthread_mutex_unlock(&storage->mutex);
    return stopping ? -1 : 0;
}

/* Takes a write that no batch has taken out of the queue again. */
static bool withdraw(struct storage *storage, struct storage_write *write)
{
    pthread_mutex_lock(&storage->mutex);
    pthread_mutex_lock(&write->mutex);
    bool queued = write->state == STORAGE_WRITE_QUEUED;
    pthread_mutex_unlock(&write->mutex);
    if (queued)
        STAILQ_REMOVE(&storage->queued, write, storage_write, link);
    pthread_mutex_unlock(&storage->mutex);
    return queued;
}

/* Waits until the write is settled. At the deadline: STORAGE_AWAY for one that could be withdrawn, STORAGE_UNKNOWN for
 * one that had to be left behind. */
static enum storage_result await(struct storage *storage, struct storage_write *write)
{
    bool in_time = true;
    pthread_mutex_lock(&write->mutex);
    while (write->state != STORAGE_WRITE_SETTLED && !write->hopeless && in_time)
        in_time = sync_wait_until(&write->condition, &write->mutex, write->deadline_at);
    if (write->state == STORAGE_WRITE_QUEUED) {
        pthread_mutex_unlock(&write->mutex);
        if (withdraw(storage, write))
            return STORAGE_AWAY;
        pthread_mutex_lock(&write->mutex);
    }
    if (write->state == STORAGE_WRITE_TAKEN) {
        write->abandoned = true;
        pthread_cond_broadcast(&write->condition);
    }
    while (!write->abandoned && write->state != STORAGE_WRITE_SETTLED)
        sync_wait(&write->condition, &write->mutex);
    enum storage_result result = write->abandoned ? STORAGE_UNKNOWN : write->result;
    pthread_mutex_unlock(&write->mutex);
    return result;
}

static bool is_valid(const struct storage_write *write)
{
    return write->kind == STORAGE_COUNT_REVENUE ? storage_revenue_is_valid(write)
                                                : write->count <= STORAGE_MERGE_MAX;
}

/* Returns 0, or -1 with errno. */
static int prepare(struct storage_write *write, bool submitted, int64_t deadline_at)
{
    write->deadline_at = deadline_at;
    write->submitted = submitted;
    write->state = STORAGE_WRITE_QUEUED;
    write->abandoned = false;
    write->expiring = false;
    write->hopeless = false;
    if (!is_valid(write)) {
        errno = EINVAL;
        return -1;
    }
    if (sync_condition_init(&write->condition) != 0)
        return -1;
    pthread_mutex_init(&write->mutex, NULL);
    return 0;
}

int storage_submit(struct storage *storage, struct storage_write *write)
{
    if (prepare(write, true, clock_monotonic_ns() + STORAGE_CALL_NS) != 0)
        return -1;
    if (enqueue(storage, write) == 0)
        return 0;
    destroy_locks(write);
    return -1;
}

enum storage_result storage_write(struct storage *storage, struct storage_write *write, int64_t deadline_at)
{
    if (prepare(write, false, deadline_at) != 0)
        return STORAGE_NO_MEMORY;
    enum storage_result result = enqueue(storage, write) == 0 ? await(storage, write) : STORAGE_AWAY;
    if (result != STORAGE_UNKNOWN)
        destroy_locks(write);
    return result;
}

const char *storage_engine_name(const struct storage *storage)
{
    return storage->engine->name;
}

bool storage_is_available(struct storage *storage)
{
    return storage->engine->is_available(storage->state);
}

/* --- submitted writes whose time is over --- */

/* Takes the first one whose deadline has passed out of its lists. Returns NULL and when the next is due, or the write and
 * whether it was still queued. */
static struct storage_write *take_expired(struct storage *storage, bool *queued, int64_t *next_at)
{
    pthread_mutex_lock(&storage->mutex);
    struct storage_write *write = TAILQ_FIRST(&storage->outstanding);
    *next_at = write == NULL ? INT64_MAX : write->deadline_at;
    if (write != NULL && write->deadline_at > clock_monotonic_ns())
        write = NULL;
    if (write != NULL) {
        forget_deadline_locked(storage, write);
        pthread_mutex_lock(&write->mutex);
        *queued = write->state == STORAGE_WRITE_QUEUED;
        write->abandoned = !*queued;
        write->expiring = !*queued;
        pthread_mutex_unlock(&write->mutex);
        if (*queued)
            STAILQ_REMOVE(&storage->queued, write, storage_write, link);
    }
    pthread_mutex_unlock(&storage->mutex);
    return write;
}

/* The writer thread waits with what it has to say until this is over. */
static void expire(struct storage_write *write)
{
    write->settled(write, STORAGE_UNKNOWN, false);
    pthread_mutex_lock(&write->mutex);
    write->expiring = false;
    pthread_cond_signal(&write->condition);
    pthread_mutex_unlock(&write->mutex);
}

/* A round of the deadline thread. */
static int64_t end_expired(void *context, struct periodic *thread)
{
    struct storage *storage = context;
    struct storage_write *write;
    int64_t next_at = INT64_MAX;
    bool queued;
    while (!periodic_is_stopping(thread) && (write = take_expired(storage, &queued, &next_at)) != NULL) {
        if (queued) {
            destroy_locks(write);
            write->settled(write, STORAGE_AWAY, false);
        } else {
            expire(write);
        }
    }
    /* One that is submitted meanwhile has more time than a round. */
    int64_t latest = clock_monotonic_ns() + DEADLINE_ROUND_NS;
    return next_at < latest ? next_at : latest;
}

/* --- life --- */

static const struct storage_engine *engine_of(const char *url)
{
    if (strncmp(url, "sqlite:", strlen("sqlite:")) == 0)
        return &storage_sqlite;
    if (strncmp(url, "postgres://", strlen("postgres://")) == 0 ||
        strncmp(url, "postgresql://", strlen("postgresql://")) == 0)
        return &storage_postgresql;
    return NULL;
}

static struct storage *create(const struct storage_engine *engine, void *state)
{
    struct storage *storage = calloc(1, sizeof *storage);
    if (storage == NULL)
        return NULL;
    storage->engine = engine;
    storage->state = state;
    STAILQ_INIT(&storage->queued);
    TAILQ_INIT(&storage->outstanding);
    if (sync_condition_init(&storage->work) != 0) {
        free(storage);
        return NULL;
    }
    pthread_mutex_init(&storage->mutex, NULL);
    storage->deadlines = periodic_start("deadlines", end_expired, storage);
    int error =
        storage->deadlines == NULL ? errno : pthread_create(&storage->writer, NULL, writer_main, storage);
    if (error != 0) {
        periodic_stop(storage->deadlines);
        pthread_mutex_destroy(&storage->mutex);
        pthread_cond_destroy(&storage->work);
        free(storage);
        errno = error;
        return NULL;
    }
    pthread_setname_np(storage->writer, "storage writer");
    return storage;
}

struct storage *storage_open(const struct storage_options *options, char reason[static STORAGE_REASON_BYTES])
{
    const struct storage_engine *engine = engine_of(options->url);
    if (engine == NULL) {
        snprintf(reason, STORAGE_REASON_BYTES,
                 "--database and DATABASE_URL take sqlite:FILE or postgres://USER@HOST/NAME");
        return NULL;
    }
    void *state = engine->open(options, reason);
    if (state == NULL)
        return NULL;
    struct storage *storage = create(engine, state);
    if (storage == NULL) {
        snprintf(reason, STORAGE_REASON_BYTES, "%s", strerror(errno));
        engine->close(state);
    }
    return storage;
}

void storage_stop(struct storage *storage)
{
    if (storage == NULL)
        return;
    pthread_mutex_lock(&storage->mutex);
    bool stopped = storage->stopping;
    storage->stopping = true;
    pthread_cond_signal(&storage->work);
    pthread_mutex_unlock(&storage->mutex);
    if (stopped)
        return;
    pthread_join(storage->writer, NULL);
    periodic_stop(storage->deadlines);
}

void storage_close(struct storage *storage)
{
    if (storage == NULL)
        return;
    storage_stop(storage);
    storage->engine->close(storage->state);
    pthread_mutex_destroy(&storage->mutex);
    pthread_cond_destroy(&storage->work);
    free(storage);
}
