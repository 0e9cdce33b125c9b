/* What the tests of the storage and of the hub share: a folder for a database file, a storage on it, and publishing. */
#ifndef STORAGE_KIT_H
#define STORAGE_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/sync.h"
#include "storage/storage.h"

#include "../temporary.h"

#include <fcntl.h>
#include <ftw.h>
#include <sqlite3.h>
#include <unistd.h>

enum { KIT_WAIT_SECONDS = 60 };

struct database_file {
    char folder[TEMPORARY_BYTES];
    char path[TEMPORARY_BYTES + 16];
    char url[TEMPORARY_BYTES + 32];
    struct log log;
};

/* What no healthy test comes near to. */
static inline int64_t kit_patience(void)
{
    return clock_monotonic_ns() + KIT_WAIT_SECONDS * CLOCK_NS_PER_SECOND;
}

static inline int64_t kit_in_ms(int64_t milliseconds)
{
    return clock_monotonic_ns() + milliseconds * CLOCK_NS_PER_MS;
}

static inline void database_file_make(struct database_file *file)
{
    assert_int_equal(temporary_folder(file->folder, "event-syncer-unit"), 0);
    snprintf(file->path, sizeof file->path, "%s/events", file->folder);
    snprintf(file->url, sizeof file->url, "sqlite:%s", file->path);
    file->log = (struct log){.descriptor = open("/dev/null", O_WRONLY | O_CLOEXEC), .level = LOG_LEVEL_DEBUG};
}

static inline int remove_path(const char *path, const struct stat *stat, int kind, struct FTW *position)
{
    (void)stat, (void)kind, (void)position;
    return remove(path);
}

static inline void database_file_remove(struct database_file *file)
{
    nftw(file->folder, remove_path, 16, FTW_DEPTH | FTW_PHYS);
    close(file->log.descriptor);
}

static inline struct storage *kit_open_storage(const char *url, const struct log *log)
{
    char reason[STORAGE_REASON_BYTES] = "";
    struct storage_options options = {.url = url, .log = log};
    struct storage *storage = storage_open(&options, reason);
    assert_string_equal(reason, "");
    assert_non_null(storage);
    return storage;
}

/* Runs SQL on the file by a connection of its own, as the sqlite3 program would. */
static inline void database_file_run(const struct database_file *file, const char *sql)
{
    sqlite3 *database = NULL;
    assert_int_equal(sqlite3_open(file->path, &database), SQLITE_OK);
    sqlite3_busy_timeout(database, KIT_WAIT_SECONDS * 1000);
    assert_int_equal(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(database);
}

/* The first value of the first row. */
static inline int64_t database_file_number(const struct database_file *file, const char *sql)
{
    sqlite3 *database = NULL;
    sqlite3_stmt *statement = NULL;
    assert_int_equal(sqlite3_open(file->path, &database), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(database, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int64_t number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(database);
    return number;
}

/* Writes that are waited for: the write may stand on the stack, because its outcome is always found out in time. */
static inline enum storage_result kit_write(struct storage *storage, struct storage_write *write)
{
    enum storage_result result = storage_write(storage, write, kit_patience());
    assert_int_not_equal(result, STORAGE_UNKNOWN);
    return result;
}

static inline uint64_t kit_store(struct storage *storage, const char *channel, struct text payload)
{
    struct storage_write write = {.kind = STORAGE_PUBLISH,
                                  .channel = text_from(channel),
                                  .event_type = TEXT("type"),
                                  .payload = payload,
                                  .created_ms = 1700000000123};
    assert_int_equal(kit_write(storage, &write), STORAGE_OK);
    return write.id;
}

static inline void kit_subscription(struct storage *storage, enum storage_write_kind kind, const char *user,
                                    const char *channel)
{
    struct storage_write write = {.kind = kind, .user = text_from(user), .channel = text_from(channel)};
    assert_int_equal(kit_write(storage, &write), STORAGE_OK);
}

#endif
