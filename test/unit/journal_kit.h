/* What the tests of the journal share: a folder, files read and written whole, a gate before the system calls, so that each
 * takes as long as the test wants, or fails; and appends that remember how they were settled. */
#ifndef JOURNAL_KIT_H
#define JOURNAL_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/sync.h"
#include "journal/journal.h"
#include "journal/reader.h"

#include "../temporary.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KIT_WAIT_SECONDS = 60, KIT_PATH_BYTES = TEMPORARY_BYTES + 64 };

/* What no healthy test comes near to. */
static inline int64_t kit_patience(void)
{
    return clock_monotonic_ns() + KIT_WAIT_SECONDS * CLOCK_NS_PER_SECOND;
}

/* --- files --- */

static inline int remove_path(const char *path, const struct stat *stat, int kind, struct FTW *position)
{
    (void)stat, (void)kind, (void)position;
    return remove(path);
}

static inline void kit_remove_folder(const char *folder)
{
    nftw(folder, remove_path, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void kit_put(const char *path, int flags, const char *bytes, size_t length)
{
    int descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600);
    assert_true(descriptor >= 0);
    assert_int_equal(write(descriptor, bytes, length), length);
    close(descriptor);
}

static inline void kit_write_file(const char *path, const char *content)
{
    kit_put(path, O_TRUNC, content, strlen(content));
}

static inline void kit_append_file(const char *path, const char *content)
{
    kit_put(path, O_APPEND, content, strlen(content));
}

/* Appends a file's content, and a NUL that is not counted. */
static inline void kit_read_file(const char *path, struct buffer *content)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(descriptor >= 0);
    ssize_t got = 1;
    while (got > 0) {
        assert_int_equal(buffer_reserve(content, 65537), 0);
        got = read(descriptor, content->bytes + content->length, 65536);
        assert_true(got >= 0);
        content->length += (size_t)got;
    }
    content->bytes[content->length] = '\0';
    close(descriptor);
}

static inline void kit_expect_file(const char *path, const char *expected)
{
    struct buffer content = BUFFER_EMPTY;
    kit_read_file(path, &content);
    assert_string_equal(content.bytes, expected);
    assert_int_equal(content.length, strlen(expected));
    buffer_free(&content);
}

/* --- the gate --- */

enum gate_call { GATE_OPEN, GATE_WRITE, GATE_FDATASYNC, GATE_FSYNC, GATE_FTRUNCATE, GATE_CALLS };

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    /* Guarded by `mutex`. */
    bool shut[GATE_CALLS];        /* such calls wait */
    unsigned passing[GATE_CALLS]; /* so many do not fail before those that do */
    unsigned failing[GATE_CALLS]; /* so many then fail */
    int error;                    /* with this */
    size_t short_write;           /* the next write takes only so much; 0: all */
    unsigned waiting;             /* threads before the gate */
    unsigned calls[GATE_CALLS];   /* that have begun */
} gate = {.mutex = PTHREAD_MUTEX_INITIALIZER};

/* Returns whether the call is to be made; else errno says why not. */
static inline bool gate_pass(enum gate_call call)
{
    pthread_mutex_lock(&gate.mutex);
    gate.calls[call]++;
    gate.waiting++;
    pthread_cond_broadcast(&gate.changed);
    int64_t deadline_at = kit_patience();
    while (gate.shut[call] && sync_wait_until(&gate.changed, &gate.mutex, deadline_at))
        continue;
    gate.waiting--;
    bool fails = gate.passing[call] == 0 && gate.failing[call] > 0;
    gate.failing[call] -= fails ? 1 : 0;
    gate.passing[call] -= gate.passing[call] > 0 ? 1 : 0;
    int error = gate.error;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.mutex);
    errno = fails ? error : errno;
    return !fails;
}

static inline int gated_open(const char *path, int flags, mode_t mode)
{
    return gate_pass(GATE_OPEN) ? open(path, flags, mode) : -1;
}

static inline ssize_t gated_write(int descriptor, const void *bytes, size_t length)
{
    if (!gate_pass(GATE_WRITE))
        return -1;
    pthread_mutex_lock(&gate.mutex);
    length = gate.short_write > 0 && gate.short_write < length ? gate.short_write : length;
    gate.short_write = 0;
    pthread_mutex_unlock(&gate.mutex);
    return write(descriptor, bytes, length);
}

static inline int gated_fdatasync(int descriptor)
{
    return gate_pass(GATE_FDATASYNC) ? fdatasync(descriptor) : -1;
}

static inline int gated_fsync(int descriptor)
{
    return gate_pass(GATE_FSYNC) ? fsync(descriptor) : -1;
}

static inline int gated_ftruncate(int descriptor, off_t length)
{
    return gate_pass(GATE_FTRUNCATE) ? ftruncate(descriptor, length) : -1;
}

static const struct journal_system gated_system = {
    .open = gated_open,
    .write = gated_write,
    .fdatasync = gated_fdatasync,
    .fsync = gated_fsync,
    .ftruncate = gated_ftruncate,
};

static inline int install_gate(void **state)
{
    (void)state;
    return sync_condition_init(&gate.changed);
}

static inline void gate_reset(void)
{
    pthread_mutex_lock(&gate.mutex);
    memset(gate.shut, 0, sizeof gate.shut);
    memset(gate.passing, 0, sizeof gate.passing);
    memset(gate.failing, 0, sizeof gate.failing);
    memset(gate.calls, 0, sizeof gate.calls);
    gate.short_write = 0;
    gate.error = EIO;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.mutex);
}

static inline void gate_shut(enum gate_call call, bool shut)
{
    pthread_mutex_lock(&gate.mutex);
    gate.shut[call] = shut;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.mutex);
}

/* After `passing` more calls that do not fail, `failing` do. */
static inline void gate_fail(enum gate_call call, unsigned passing, unsigned failing, int error)
{
    pthread_mutex_lock(&gate.mutex);
    gate.passing[call] = passing;
    gate.failing[call] = failing;
    gate.error = error;
    pthread_mutex_unlock(&gate.mutex);
}

/* The next write takes `length` bytes, the one after that none. */
static inline void gate_fill_disk(size_t length)
{
    gate_fail(GATE_WRITE, 1, 1, ENOSPC);
    pthread_mutex_lock(&gate.mutex);
    gate.short_write = length;
    pthread_mutex_unlock(&gate.mutex);
}

static inline void gate_await_waiting(void)
{
    int64_t deadline_at = kit_patience();
    bool in_time = true;
    pthread_mutex_lock(&gate.mutex);
    while (gate.waiting == 0 && in_time)
        in_time = sync_wait_until(&gate.changed, &gate.mutex, deadline_at);
    pthread_mutex_unlock(&gate.mutex);
    assert_true(in_time);
}

static inline unsigned gate_calls(enum gate_call call)
{
    pthread_mutex_lock(&gate.mutex);
    unsigned calls = gate.calls[call];
    pthread_mutex_unlock(&gate.mutex);
    return calls;
}

/* --- a journal, and appends that remember how they were settled --- */

enum { SETTLED_MAX = 4096 };

struct fixture {
    char folder[TEMPORARY_BYTES];
    char path[KIT_PATH_BYTES];
    struct log log;
    struct journal_options options;
    struct journal *journal;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    /* Guarded by `mutex`. */
    size_t settled_count;
    struct record *order[SETTLED_MAX]; /* as they were settled */
};

struct record {
    struct journal_append append; /* the first member */
    struct fixture *fixture;
    /* Guarded by fixture->mutex. */
    unsigned calls;
    enum journal_result result;
};

static inline void see_settled(struct journal_append *append, enum journal_result result)
{
    struct record *record = (struct record *)(void *)append;
    struct fixture *fixture = record->fixture;
    pthread_mutex_lock(&fixture->mutex);
    record->result = result;
    record->calls++;
    if (fixture->settled_count < SETTLED_MAX)
        fixture->order[fixture->settled_count] = record;
    fixture->settled_count++;
    pthread_cond_broadcast(&fixture->changed);
    pthread_mutex_unlock(&fixture->mutex);
}

static inline void fixture_open(struct fixture *fixture)
{
    char reason[JOURNAL_REASON_BYTES] = "";
    fixture->journal = journal_open(&fixture->options, reason);
    assert_string_equal(reason, "");
    assert_non_null(fixture->journal);
}

/* A folder, and options for a journal in it that is not open yet. */
static inline struct fixture *fixture_prepare(void)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    gate_reset();
    assert_int_equal(temporary_folder(fixture->folder, "event-syncer-unit"), 0);
    snprintf(fixture->path, sizeof fixture->path, "%s/journal", fixture->folder);
    fixture->log =
        (struct log){.descriptor = open("/dev/null", O_WRONLY | O_CLOEXEC), .level = LOG_LEVEL_DEBUG};
    fixture->options = (struct journal_options){.path = fixture->path,
                                                .log = &fixture->log,
                                                .call_ns = KIT_WAIT_SECONDS * CLOCK_NS_PER_SECOND,
                                                .system = &gated_system};
    pthread_mutex_init(&fixture->mutex, NULL);
    assert_int_equal(sync_condition_init(&fixture->changed), 0);
    return fixture;
}

static inline struct fixture *fixture_make(void)
{
    struct fixture *fixture = fixture_prepare();
    fixture_open(fixture);
    return fixture;
}

static inline void fixture_free(struct fixture *fixture)
{
    journal_close(fixture->journal);
    kit_remove_folder(fixture->folder);
    close(fixture->log.descriptor);
    pthread_mutex_destroy(&fixture->mutex);
    pthread_cond_destroy(&fixture->changed);
    free(fixture);
}

/* The path of another file in the journal's folder. */
static inline const char *beside(const struct fixture *fixture, const char *name,
                                 char path[static KIT_PATH_BYTES])
{
    snprintf(path, KIT_PATH_BYTES, "%s/%s", fixture->folder, name);
    return path;
}

#define BESIDE(fixture, name) beside((fixture), (name), (char[KIT_PATH_BYTES]){0})

static inline void record_make(struct record *record, struct fixture *fixture, struct text lines)
{
    *record = (struct record){.fixture = fixture, .append = {.lines = lines, .settled = see_settled}};
}

static inline void submit(struct record *record, struct fixture *fixture, const char *lines)
{
    record_make(record, fixture, text_from(lines));
    assert_int_equal(journal_submit(fixture->journal, &record->append), 0);
}

/* At least so many. */
static inline void await_settled(struct fixture *fixture, size_t count)
{
    int64_t deadline_at = kit_patience();
    bool in_time = true;
    pthread_mutex_lock(&fixture->mutex);
    while (fixture->settled_count < count && in_time)
        in_time = sync_wait_until(&fixture->changed, &fixture->mutex, deadline_at);
    assert_true(fixture->settled_count >= count);
    pthread_mutex_unlock(&fixture->mutex);
}

static inline enum journal_result await_record(struct record *record)
{
    struct fixture *fixture = record->fixture;
    int64_t deadline_at = kit_patience();
    bool in_time = true;
    pthread_mutex_lock(&fixture->mutex);
    while (record->calls == 0 && in_time)
        in_time = sync_wait_until(&fixture->changed, &fixture->mutex, deadline_at);
    assert_int_equal(record->calls, 1);
    enum journal_result result = record->result;
    pthread_mutex_unlock(&fixture->mutex);
    return result;
}

/* Appends, and waits for the outcome. */
static inline enum journal_result append(struct fixture *fixture, const char *lines)
{
    struct record record;
    submit(&record, fixture, lines);
    return await_record(&record);
}

#endif
