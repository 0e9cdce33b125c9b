/* The journal's queue, its writer thread and the deadlines. What becomes of the file is in src/journal/file.c. */
#include "journal/journal.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "base/periodic.h"
#include "base/sync.h"
#include "journal/file.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TAILQ_HEAD(append_list, journal_append);

struct journal {
    const struct log *log;
    struct log_limit refused, open;
    atomic_bool complained; /* the log says that no lines are taken */
    uint64_t max_unsettled_bytes;
    int64_t call_ns;
    struct periodic *deadlines;
    pthread_t writer;
    bool joined; /* the stopper's own */
    /* The writer thread's own. */
    struct journal_file file;
    struct buffer batch;
    pthread_mutex_t mutex;
    pthread_cond_t work;
    pthread_cond_t end;
    /* Guarded by `mutex`. Both lists are in the order of submission, and so of the deadlines. */
    struct append_list queued;
    struct append_list taken; /* by the batch that is being written */
    struct journal_counts counts;
    unsigned settling; /* threads that are calling `settled` */
    bool writer_idles;
    bool stopping;
    bool ended; /* the writer thread, but for its return */
};

/* --- the writer thread --- */

/* Gives the appends back. Their bytes are free before the first owner knows, who may submit again at once. */
static void settle(struct journal *journal, struct append_list *list, enum journal_result result)
{
    struct journal_append *append;
    if (TAILQ_EMPTY(list))
        return;
    pthread_mutex_lock(&journal->mutex);
    TAILQ_FOREACH (append, list, link)
        journal->counts.unsettled_bytes -= append->lines.length;
    journal->settling++;
    pthread_mutex_unlock(&journal->mutex);
    while ((append = TAILQ_FIRST(list)) != NULL) {
        TAILQ_REMOVE(list, append, link);
        append->settled(append, result);
    }
    pthread_mutex_lock(&journal->mutex);
    journal->settling--;
    pthread_cond_broadcast(&journal->end);
    pthread_mutex_unlock(&journal->mutex);
}

/* Waits for appends and takes those of a batch; those with too little time left go to `late`. Nobody else knows of any of
 * them until they are given back. Returns false at the end, when there are none left. */
static bool take(struct journal *journal, struct append_list *batch, struct append_list *late)
{
    size_t bytes = 0;
    pthread_mutex_lock(&journal->mutex);
    while (TAILQ_EMPTY(&journal->queued) && !journal->stopping) {
        journal->writer_idles = true;
        sync_wait(&journal->work, &journal->mutex);
    }
    journal->writer_idles = false;
    int64_t late_at = clock_monotonic_ns() + journal->call_ns / 6;
    struct journal_append *append;
    while ((append = TAILQ_FIRST(&journal->queued)) != NULL) {
        bool is_late = append->deadline_at < late_at;
        if (!is_late && bytes > 0 && bytes + append->lines.length > JOURNAL_BATCH_BYTES)
            break;
        TAILQ_REMOVE(&journal->queued, append, link);
        TAILQ_INSERT_TAIL(is_late ? late : batch, append, link);
        journal->counts.expired += is_late ? 1 : 0;
        bytes += is_late ? 0 : append->lines.length;
    }
    pthread_mutex_unlock(&journal->mutex);
    return !TAILQ_EMPTY(batch) || !TAILQ_EMPTY(late);
}

/* Copies the lines behind a line break (see journal_file_append). Returns 0, or -1 without memory. */
static int copy_lines(struct buffer *buffer, const struct append_list *batch)
{
    const struct journal_append *append;
    buffer_clear(buffer);
    buffer_append(buffer, "\n", 1);
    TAILQ_FOREACH (append, batch, link)
        buffer_append(buffer, append->lines.bytes, append->lines.length);
    return buffer->failed ? -1 : 0;
}

static uint64_t count_lines(const struct buffer *buffer)
{
    uint64_t count = 0;
    const char *end = buffer->bytes + buffer->length;
    for (const char *at = buffer->bytes + 1; at < end; count++)
        at = (const char *)memchr(at, '\n', (size_t)(end - at)) + 1;
    return count;
}

/* Said once, until it is over, and not at each of many short failures. */
static void complain(struct journal *journal, const char *reason)
{
    if (!atomic_load(&journal->complained) && log_limited(journal->log, &journal->refused, LOG_LEVEL_ERROR,
                                                          "the journal takes no lines: %s", reason))
        atomic_store(&journal->complained, true);
}

static void report(struct journal *journal, enum journal_result result)
{
    const char *reason = journal->file.reason;
    if (result == JOURNAL_UNKNOWN)
        log_limited(journal->log, &journal->open, LOG_LEVEL_ERROR,
                    "lines may be left in the journal that were not acknowledged: %s", reason);
    else if (result != JOURNAL_OK)
        complain(journal, reason);
    else if (atomic_exchange(&journal->complained, false))
        log_info(journal->log, "the journal takes lines again");
}

/* Counts the batch, and takes those back that the deadline thread has not settled meanwhile. */
static void take_back(struct journal *journal, struct append_list *batch, enum journal_result result)
{
    uint64_t lines = result == JOURNAL_OK ? count_lines(&journal->batch) : 0;
    pthread_mutex_lock(&journal->mutex);
    TAILQ_CONCAT(batch, &journal->taken, link);
    struct journal_counts *counts = &journal->counts;
    counts->available = result == JOURNAL_OK;
    if (result == JOURNAL_OK) {
        counts->batches++;
        counts->lines += lines;
        counts->bytes += journal->batch.length - 1;
    } else {
        counts->failures++;
    }
    pthread_mutex_unlock(&journal->mutex);
    report(journal, result);
}

static enum journal_result write_batch(struct journal *journal, struct append_list *batch)
{
    /* Copied first: once the deadline thread knows of them, their lines may be gone at any time. */
    int copied = copy_lines(&journal->batch, batch);
    pthread_mutex_lock(&journal->mutex);
    TAILQ_CONCAT(&journal->taken, batch, link);
    pthread_mutex_unlock(&journal->mutex);
    enum journal_result result = JOURNAL_AWAY;
    if (copied == 0)
        result = journal_file_append(
            &journal->file, (struct text){.bytes = journal->batch.bytes, .length = journal->batch.length});
    else
        snprintf(journal->file.reason, sizeof journal->file.reason, "no memory for a batch");
    take_back(journal, batch, result);
    /* One large append is no reason to keep its memory. */
    if (journal->batch.capacity > 2 * (size_t)JOURNAL_BATCH_BYTES)
        buffer_free(&journal->batch);
    return result;
}

static void *writer_main(void *context)
{
    struct journal *journal = context;
    struct append_list batch = TAILQ_HEAD_INITIALIZER(batch);
    struct append_list late = TAILQ_HEAD_INITIALIZER(late);
    sigset_t too_large;
    sigemptyset(&too_large);
    sigaddset(&too_large, SIGXFSZ);
    pthread_sigmask(SIG_BLOCK, &too_large, NULL);
    while (take(journal, &batch, &late)) {
        settle(journal, &late, JOURNAL_AWAY);
        if (!TAILQ_EMPTY(&batch)) {
            enum journal_result result = write_batch(journal, &batch);
            settle(journal, &batch, result);
        }
    }
    journal_file_close(&journal->file);
    buffer_free(&journal->batch);
    pthread_mutex_lock(&journal->mutex);
    journal->ended = true;
    pthread_cond_broadcast(&journal->end);
    pthread_mutex_unlock(&journal->mutex);
    return NULL;
}

/* --- callers --- */

/* Returns 0, or the error. */
static int enqueue(struct journal *journal, struct journal_append *append)
{
    struct journal_counts *counts = &journal->counts;
    int error = 0;
    pthread_mutex_lock(&journal->mutex);
    if (journal->stopping)
        error = ESHUTDOWN;
    else if (append->lines.length > journal->max_unsettled_bytes - counts->unsettled_bytes)
        error = EAGAIN;
    if (error == 0) {
        /* Under the lock, so that the lists are in the order of the deadlines. */
        append->deadline_at = clock_monotonic_ns() + journal->call_ns;
        counts->unsettled_bytes += append->lines.length;
        TAILQ_INSERT_TAIL(&journal->queued, append, link);
        if (journal->writer_idles)
            pthread_cond_signal(&journal->work);
        journal->writer_idles = false;
    }
    pthread_mutex_unlock(&journal->mutex);
    return error;
}

int journal_submit(struct journal *journal, struct journal_append *append)
{
    struct text lines = append->lines;
    int error = EINVAL;
    if (lines.length > 0 && lines.bytes[lines.length - 1] == '\n')
        error = enqueue(journal, append);
    errno = error == 0 ? errno : error;
    return error == 0 ? 0 : -1;
}

struct journal_counts journal_counts(struct journal *journal)
{
    pthread_mutex_lock(&journal->mutex);
    struct journal_counts counts = journal->counts;
    pthread_mutex_unlock(&journal->mutex);
    return counts;
}

/* --- appends whose time is over --- */

static void take_expired_locked(struct journal *journal, struct append_list *list,
                                struct append_list *expired)
{
    int64_t now = clock_monotonic_ns();
    struct journal_append *append;
    while ((append = TAILQ_FIRST(list)) != NULL && append->deadline_at <= now) {
        TAILQ_REMOVE(list, append, link);
        journal->counts.expired++;
        TAILQ_INSERT_TAIL(expired, append, link);
    }
}

static int64_t next_deadline_locked(const struct append_list *list)
{
    return TAILQ_EMPTY(list) ? INT64_MAX : TAILQ_FIRST(list)->deadline_at;
}

/* A round of the deadline thread. */
static int64_t end_expired(void *context, struct periodic *thread)
{
    struct journal *journal = context;
    struct append_list unknown = TAILQ_HEAD_INITIALIZER(unknown);
    struct append_list away = TAILQ_HEAD_INITIALIZER(away);
    (void)thread;
    pthread_mutex_lock(&journal->mutex);
    take_expired_locked(journal, &journal->taken, &unknown);
    take_expired_locked(journal, &journal->queued, &away);
    bool hangs = !TAILQ_EMPTY(&unknown) && journal->counts.available;
    if (hangs)
        journal->counts.available = false;
    int64_t taken_at = next_deadline_locked(&journal->taken);
    int64_t queued_at = next_deadline_locked(&journal->queued);
    /* What is submitted meanwhile has all its time, what is just being copied a sixth of it. */
    int64_t pause_ns = journal->writer_idles ? journal->call_ns : journal->call_ns / 8;
    int64_t next_at = clock_monotonic_ns() + pause_ns;
    pthread_mutex_unlock(&journal->mutex);
    if (hangs)
        complain(journal, "its disk does not answer in time");
    settle(journal, &unknown, JOURNAL_UNKNOWN);
    settle(journal, &away, JOURNAL_AWAY);
    next_at = taken_at < next_at ? taken_at : next_at;
    return queued_at < next_at ? queued_at : next_at;
}

/* --- life --- */

/* Starts the threads. Returns 0, or -1 with errno. */
static int start(struct journal *journal)
{
    journal->deadlines = periodic_start("journal times", end_expired, journal);
    if (journal->deadlines == NULL)
        return -1;
    int error = pthread_create(&journal->writer, NULL, writer_main, journal);
    if (error != 0) {
        periodic_stop(journal->deadlines);
        errno = error;
        return -1;
    }
    pthread_setname_np(journal->writer, "journal writer");
    return 0;
}

static struct journal *create(const struct journal_options *options)
{
    struct journal *journal = calloc(1, sizeof *journal);
    if (journal == NULL)
        return NULL;
    journal->log = options->log;
    journal->max_unsettled_bytes =
        options->max_unsettled_bytes == 0 ? JOURNAL_UNSETTLED_BYTES : options->max_unsettled_bytes;
    journal->call_ns = options->call_ns == 0 ? JOURNAL_CALL_NS : options->call_ns;
    journal->counts.available = true;
    TAILQ_INIT(&journal->queued);
    TAILQ_INIT(&journal->taken);
    if (sync_condition_init(&journal->work) != 0)
        goto free_journal;
    if (sync_condition_init(&journal->end) != 0)
        goto destroy_work;
    pthread_mutex_init(&journal->mutex, NULL);
    return journal;

destroy_work:
    pthread_cond_destroy(&journal->work);
free_journal:
    free(journal);
    return NULL;
}

static void destroy(struct journal *journal)
{
    pthread_mutex_destroy(&journal->mutex);
    pthread_cond_destroy(&journal->end);
    pthread_cond_destroy(&journal->work);
    free(journal);
}

struct journal *journal_open(const struct journal_options *options, char reason[static JOURNAL_REASON_BYTES])
{
    struct journal *journal = create(options);
    if (journal == NULL) {
        snprintf(reason, JOURNAL_REASON_BYTES, "%s", strerror(errno));
        return NULL;
    }
    if (journal_file_open(&journal->file, options->path, options->system) != 0) {
        memcpy(reason, journal->file.reason, JOURNAL_REASON_BYTES);
        destroy(journal);
        return NULL;
    }
    if (start(journal) != 0) {
        snprintf(reason, JOURNAL_REASON_BYTES, "%s", strerror(errno));
        journal_file_close(&journal->file);
        destroy(journal);
        return NULL;
    }
    return journal;
}

/* Returns whether the writer thread has ended in time. */
static bool await_end(struct journal *journal)
{
    pthread_mutex_lock(&journal->mutex);
    journal->stopping = true;
    pthread_cond_signal(&journal->work);
    int64_t deadline_at = clock_monotonic_ns() + journal->call_ns;
    bool in_time = true;
    /* All appends are settled by their deadlines, of which none is later. */
    while (!journal->ended && (in_time || journal->counts.unsettled_bytes > 0 || journal->settling > 0)) {
        if (in_time)
            in_time = sync_wait_until(&journal->end, &journal->mutex, deadline_at);
        else
            sync_wait(&journal->end, &journal->mutex);
    }
    bool ended = journal->ended;
    pthread_mutex_unlock(&journal->mutex);
    return ended;
}

int journal_stop(struct journal *journal)
{
    if (journal->joined)
        return 0;
    if (!await_end(journal))
        return -1;
    pthread_join(journal->writer, NULL);
    periodic_stop(journal->deadlines);
    journal->joined = true;
    return 0;
}

void journal_close(struct journal *journal)
{
    if (journal == NULL)
        return;
    if (journal_stop(journal) == 0)
        destroy(journal);
    else
        log_error(journal->log, "the journal's disk does not answer; its last lines may be lost");
}
