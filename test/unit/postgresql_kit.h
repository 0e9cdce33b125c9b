/* What the tests of the PostgreSQL engine share: a cluster for each program, a database and engines for each test, and
 * batches of writes. */
#ifndef POSTGRESQL_KIT_H
#define POSTGRESQL_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../postgres.h"
#include "base/clock.h"
#include "storage/engine.h"

#include <fcntl.h>
#include <libpq-fe.h>
#include <unistd.h>

#define MILLISECONDS(n) ((n)*CLOCK_NS_PER_MS)

enum { KIT_BATCH_MAX = 8, KIT_TEXT_BYTES = 64, KIT_WAIT_MS = 60 * 1000, KIT_EVENTS_MAX = 20000 };

struct kit {
    struct postgres *postgres;
    struct log log;
};

static inline int64_t kit_in_ms(int64_t milliseconds)
{
    return clock_monotonic_ns() + MILLISECONDS(milliseconds);
}

static inline int kit_setup(void **state)
{
    struct kit *kit = calloc(1, sizeof *kit);
    if (kit == NULL)
        return -1;
    kit->postgres = postgres_start();
    kit->log = (struct log){.descriptor = open("/dev/null", O_WRONLY | O_CLOEXEC), .level = LOG_LEVEL_DEBUG};
    *state = kit;
    return kit->postgres == NULL ? -1 : 0;
}

static inline int kit_teardown(void **state)
{
    struct kit *kit = *state;
    postgres_free(kit->postgres);
    close(kit->log.descriptor);
    free(kit);
    return 0;
}

/* A new database, also after a test that has failed with the server frozen or stopped. */
static inline const char *kit_database(struct kit *kit)
{
    if (postgres_thaw(kit->postgres) != 0)
        assert_int_equal(postgres_restart(kit->postgres), 0);
    const char *url = postgres_new_database(kit->postgres);
    assert_non_null(url);
    return url;
}

static inline void *kit_open(struct kit *kit, const char *url)
{
    char reason[STORAGE_REASON_BYTES] = "";
    struct storage_options options = {.url = url, .log = &kit->log};
    void *engine = storage_postgresql.open(&options, reason);
    assert_string_equal(reason, "");
    assert_non_null(engine);
    return engine;
}

static inline long kit_number(struct kit *kit, const char *url, const char *sql)
{
    char *answer = postgres_query(kit->postgres, url, sql);
    assert_non_null(answer);
    long number = strtol(answer, NULL, 10);
    free(answer);
    return number;
}

/* Another session, in a transaction that holds the locks of this statement. */
static inline PGconn *kit_hold(const char *url, const char *sql)
{
    PGconn *session = PQconnectdb(url);
    assert_int_equal(PQstatus(session), CONNECTION_OK);
    PQclear(PQexec(session, "BEGIN"));
    PGresult *result = PQexec(session, sql);
    assert_true(PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK);
    PQclear(result);
    return session;
}

static inline void kit_let_go(PGconn *session)
{
    PQclear(PQexec(session, "ROLLBACK"));
    PQfinish(session);
}

/* --- batches --- */

struct batch {
    struct storage_write_list list;
    struct storage_write writes[KIT_BATCH_MAX];
    char payloads[KIT_BATCH_MAX][KIT_TEXT_BYTES];
    size_t count;
};

static inline void batch_begin(struct batch *batch)
{
    STAILQ_INIT(&batch->list);
    batch->count = 0;
}

static inline struct storage_write *batch_add(struct batch *batch, enum storage_write_kind kind,
                                              const char *channel)
{
    assert_true(batch->count < KIT_BATCH_MAX);
    struct storage_write *write = &batch->writes[batch->count++];
    memset(write, 0, sizeof *write);
    write->kind = kind;
    write->channel = text_from(channel);
    STAILQ_INSERT_TAIL(&batch->list, write, link);
    return write;
}

static inline struct storage_write *batch_publish(struct batch *batch, const char *channel,
                                                  const char *payload)
{
    struct storage_write *write = batch_add(batch, STORAGE_PUBLISH, channel);
    char *kept = batch->payloads[batch->count - 1];
    snprintf(kept, KIT_TEXT_BYTES, "%s", payload);
    write->event_type = TEXT("type");
    write->payload = text_from(kept);
    write->created_ms = clock_wall_ms();
    return write;
}

static inline struct storage_write *batch_subscription(struct batch *batch, enum storage_write_kind kind,
                                                       const char *user, const char *channel)
{
    struct storage_write *write = batch_add(batch, kind, channel);
    write->user = text_from(user);
    return write;
}

static inline enum storage_result batch_commit(void *engine, struct batch *batch)
{
    return storage_postgresql.commit(engine, &batch->list, kit_in_ms(5000));
}

/* Resolves until there is an outcome. */
static inline enum storage_result batch_resolve(void *engine, struct batch *batch)
{
    int64_t deadline_at = kit_in_ms(KIT_WAIT_MS);
    enum storage_result result = STORAGE_UNKNOWN;
    while (result == STORAGE_UNKNOWN && clock_monotonic_ns() < deadline_at)
        result = storage_postgresql.resolve(engine, &batch->list, kit_in_ms(1000));
    return result;
}

/* --- what is stored --- */

struct stored {
    size_t count;
    struct {
        uint64_t id;
        int64_t created_ms;
        char channel[KIT_TEXT_BYTES];
        char payload[KIT_TEXT_BYTES];
    } events[KIT_EVENTS_MAX];
};

static inline bool stored_add(void *context, const struct storage_event *event)
{
    struct stored *stored = context;
    assert_true(stored->count < KIT_EVENTS_MAX);
    stored->events[stored->count].id = event->id;
    stored->events[stored->count].created_ms = event->created_ms;
    snprintf(stored->events[stored->count].channel, KIT_TEXT_BYTES, "%.*s", (int)event->channel.length,
             event->channel.bytes);
    snprintf(stored->events[stored->count].payload, KIT_TEXT_BYTES, "%.*s", (int)event->payload.length,
             event->payload.bytes);
    stored->count++;
    return true;
}

/* All events of the range; the caller frees it. */
static inline struct stored *stored_read(void *engine, const struct storage_range *range)
{
    struct stored *stored = calloc(1, sizeof *stored);
    assert_non_null(stored);
    assert_int_equal(storage_postgresql.events(engine, range, stored_add, stored, kit_in_ms(5000)),
                     STORAGE_OK);
    return stored;
}

#endif
