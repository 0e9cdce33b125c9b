/* What the tests of the storage's writes share: a gate before the sync of SQLite's log, so that a commit takes as long as
 * the test wants, or fails; and writes that remember how they were settled. */
#ifndef WRITES_KIT_H
#define WRITES_KIT_H

#include "storage_kit.h"

#include <pthread.h>

/* --- the gate: what sqlite3 calls to make the log durable --- */

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    /* Guarded by `mutex`. */
    bool shut;         /* syncs wait */
    unsigned failing;  /* so many syncs fail */
    unsigned waiting;  /* threads before the gate */
    unsigned syncs;    /* that have begun */
    unsigned failures; /* that were made to fail */
    const sqlite3_io_methods *real;
    sqlite3_vfs *system;
} gate = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static sqlite3_io_methods gated_methods;
static sqlite3_vfs gated_vfs;

static inline int gated_sync(sqlite3_file *file, int flags)
{
    pthread_mutex_lock(&gate.mutex);
    gate.syncs++;
    gate.waiting++;
    pthread_cond_broadcast(&gate.changed);
    int64_t deadline_at = kit_patience();
    while (gate.shut && sync_wait_until(&gate.changed, &gate.mutex, deadline_at))
        continue;
    gate.waiting--;
    bool fails = gate.failing > 0;
    gate.failing -= fails ? 1 : 0;
    gate.failures += fails ? 1 : 0;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.mutex);
    return fails ? SQLITE_IOERR_FSYNC : gate.real->xSync(file, flags);
}

/* The file stays sqlite3's own but for one function. */
static inline int gated_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                             int *out_flags)
{
    (void)vfs;
    int result = gate.system->xOpen(gate.system, name, file, flags, out_flags);
    if (result == SQLITE_OK && (flags & SQLITE_OPEN_WAL) != 0) {
        pthread_mutex_lock(&gate.mutex);
        if (gate.real == NULL) {
            gate.real = file->pMethods;
            gated_methods = *gate.real;
            gated_methods.xSync = gated_sync;
        }
        pthread_mutex_unlock(&gate.mutex);
        file->pMethods = &gated_methods;
    }
    return result;
}

static inline int install_gate(void **state)
{
    (void)state;
    gate.system = sqlite3_vfs_find(NULL);
    gated_vfs = *gate.system;
    gated_vfs.zName = "gated";
    gated_vfs.xOpen = gated_open;
    return sync_condition_init(&gate.changed) == 0 ? sqlite3_vfs_register(&gated_vfs, 1) : -1;
}

static inline void gate_set(bool shut, unsigned failing)
{
    pthread_mutex_lock(&gate.mutex);
    gate.shut = shut;
    gate.failing = failing;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.mutex);
}

/* Waits until a commit stands before the gate. */
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

static inline unsigned gate_syncs(void)
{
    pthread_mutex_lock(&gate.mutex);
    unsigned syncs = gate.syncs;
    pthread_mutex_unlock(&gate.mutex);
    return syncs;
}

/* Waits until the outcome of a commit has been looked for, in vain. */
static inline void gate_await_syncs(unsigned count)
{
    int64_t deadline_at = kit_in_ms(5000);
    bool in_time = true;
    pthread_mutex_lock(&gate.mutex);
    while (gate.syncs < count && in_time)
        in_time = sync_wait_until(&gate.changed, &gate.mutex, deadline_at);
    pthread_mutex_unlock(&gate.mutex);
    assert_true(in_time);
}

/* --- writes that remember how they were settled --- */

enum { CALLS_MAX = 2, SETTLED_MAX = 4096 };

struct record {
    struct storage_write write; /* the first member */
    struct fixture *fixture;
    /* Guarded by fixture->mutex. */
    unsigned calls;
    enum storage_result results[CALLS_MAX];
    bool abandoned[CALLS_MAX];
};

struct fixture {
    struct database_file file;
    struct storage *storage;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    /* Guarded by `mutex`. */
    size_t call_count;
    struct record *order[SETTLED_MAX]; /* as they were settled */
};

static inline void see_settled(struct storage_write *write, enum storage_result result, bool abandoned)
{
    struct record *record = (struct record *)(void *)write;
    struct fixture *fixture = record->fixture;
    pthread_mutex_lock(&fixture->mutex);
    if (record->calls < CALLS_MAX) {
        record->results[record->calls] = result;
        record->abandoned[record->calls] = abandoned;
    }
    record->calls++;
    if (fixture->call_count < SETTLED_MAX)
        fixture->order[fixture->call_count] = record;
    fixture->call_count++;
    pthread_cond_broadcast(&fixture->changed);
    pthread_mutex_unlock(&fixture->mutex);
}

static inline struct fixture *fixture_make(void)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    gate_set(false, 0);
    database_file_make(&fixture->file);
    pthread_mutex_init(&fixture->mutex, NULL);
    assert_int_equal(sync_condition_init(&fixture->changed), 0);
    fixture->storage = kit_open_storage(fixture->file.url, &fixture->file.log);
    /* The first commit syncs the log's header, too. */
    assert_int_equal(kit_store(fixture->storage, "first", TEXT("0")), 1);
    return fixture;
}

static inline void fixture_free(struct fixture *fixture)
{
    storage_close(fixture->storage);
    database_file_remove(&fixture->file);
    pthread_mutex_destroy(&fixture->mutex);
    pthread_cond_destroy(&fixture->changed);
    free(fixture);
}

static inline void record_make(struct record *record, struct fixture *fixture, enum storage_write_kind kind,
                               const char *channel)
{
    *record = (struct record){.fixture = fixture,
                              .write = {.kind = kind,
                                        .user = TEXT("user"),
                                        .channel = text_from(channel),
                                        .event_type = TEXT("type"),
                                        .payload = TEXT("1"),
                                        .settled = see_settled}};
}

static inline void submit(struct record *record, struct fixture *fixture, enum storage_write_kind kind,
                          const char *channel)
{
    record_make(record, fixture, kind, channel);
    assert_int_equal(storage_submit(fixture->storage, &record->write), 0);
}

static inline void await_calls(struct fixture *fixture, size_t count)
{
    int64_t deadline_at = kit_patience();
    bool in_time = true;
    pthread_mutex_lock(&fixture->mutex);
    while (fixture->call_count < count && in_time)
        in_time = sync_wait_until(&fixture->changed, &fixture->mutex, deadline_at);
    assert_int_equal(fixture->call_count, count);
    pthread_mutex_unlock(&fixture->mutex);
}

static inline void expect_call(struct record *record, unsigned call, enum storage_result result,
                               bool abandoned)
{
    pthread_mutex_lock(&record->fixture->mutex);
    assert_true(record->calls > call);
    assert_int_equal(record->results[call], result);
    assert_int_equal(record->abandoned[call], abandoned);
    pthread_mutex_unlock(&record->fixture->mutex);
}

static inline int64_t stored_events(struct fixture *fixture, const char *channel)
{
    char sql[128];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM events WHERE channel = '%s'", channel);
    return database_file_number(&fixture->file, sql);
}

/* --- a caller that waits --- */

struct caller {
    pthread_t thread;
    struct fixture *fixture;
    struct record record;
    int64_t deadline_at;
    enum storage_result result;
};

static inline void *caller_main(void *context)
{
    struct caller *caller = context;
    caller->result = storage_write(caller->fixture->storage, &caller->record.write, caller->deadline_at);
    return NULL;
}

static inline void caller_start(struct caller *caller, struct fixture *fixture, const char *channel,
                                int64_t deadline_at)
{
    caller->fixture = fixture;
    caller->deadline_at = deadline_at;
    record_make(&caller->record, fixture, STORAGE_PUBLISH, channel);
    assert_int_equal(pthread_create(&caller->thread, NULL, caller_main, caller), 0);
}

static inline enum storage_result caller_join(struct caller *caller)
{
    pthread_join(caller->thread, NULL);
    return caller->result;
}

#endif
