/* The PostgreSQL engine while the database is not well: servers and connections that end in the middle of commits, a
 * server that does not answer, transactions that outlive their connection. Whatever happens, a commit whose result was
 * STORAGE_OK is stored once, any other not at all. */
#include "postgresql_kit.h"

#include "base/sync.h"

#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>

enum { LEDGER_MAX = 6000, EVENTS_EACH = 3 };

/* --- a stream of commits --- */

struct ledger_entry {
    enum storage_result result;
    uint64_t first_id;
};

struct stream {
    void *engine;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t progress;
    /* Guarded by `mutex`. */
    size_t stored;
    bool stopping;
    /* The stream's own until it is joined. */
    size_t unknown;
    size_t count;
    struct ledger_entry ledger[LEDGER_MAX];
};

static bool stream_note(struct stream *stream, enum storage_result result)
{
    pthread_mutex_lock(&stream->mutex);
    stream->stored += result == STORAGE_OK ? 1 : 0;
    bool go_on = !stream->stopping && stream->count < LEDGER_MAX;
    pthread_cond_signal(&stream->progress);
    pthread_mutex_unlock(&stream->mutex);
    return go_on;
}

static void *stream_main(void *context)
{
    struct stream *stream = context;
    struct batch batch;
    struct ledger_entry *entry;
    do {
        char payload[KIT_TEXT_BYTES];
        batch_begin(&batch);
        for (size_t i = 0; i < EVENTS_EACH; i++) {
            snprintf(payload, sizeof payload, "%zu", stream->count * EVENTS_EACH + i);
            batch_publish(&batch, "a", payload);
        }
        entry = &stream->ledger[stream->count++];
        entry->result = storage_postgresql.commit(stream->engine, &batch.list, kit_in_ms(1500));
        if (entry->result == STORAGE_UNKNOWN) {
            stream->unknown++;
            entry->result = batch_resolve(stream->engine, &batch);
        }
        entry->first_id = batch.writes[0].id;
        if (entry->result == STORAGE_AWAY)
            poll(NULL, 0, 5); /* keeps the ledger from filling up while nobody is there */
    } while (stream_note(stream, entry->result));
    return NULL;
}

static struct stream *stream_start(void *engine)
{
    struct stream *stream = calloc(1, sizeof *stream);
    assert_non_null(stream);
    stream->engine = engine;
    pthread_mutex_init(&stream->mutex, NULL);
    assert_int_equal(sync_condition_init(&stream->progress), 0);
    assert_int_equal(pthread_create(&stream->thread, NULL, stream_main, stream), 0);
    return stream;
}

/* Waits until so many more batches have been stored. */
static void stream_await(struct stream *stream, size_t more)
{
    int64_t deadline_at = kit_in_ms(KIT_WAIT_MS);
    bool in_time = true;
    pthread_mutex_lock(&stream->mutex);
    size_t goal = stream->stored + more;
    while (stream->stored < goal && in_time)
        in_time = sync_wait_until(&stream->progress, &stream->mutex, deadline_at);
    pthread_mutex_unlock(&stream->mutex);
    assert_true(in_time);
}

static void stream_join(struct stream *stream)
{
    pthread_mutex_lock(&stream->mutex);
    stream->stopping = true;
    pthread_mutex_unlock(&stream->mutex);
    pthread_join(stream->thread, NULL);
}

/* Waits until the engine reads again. */
static void expect_recovery(void *engine)
{
    int64_t deadline_at = kit_in_ms(KIT_WAIT_MS);
    uint64_t id;
    while (storage_postgresql.newest_id(engine, &id, kit_in_ms(1000)) != STORAGE_OK) {
        assert_true(clock_monotonic_ns() < deadline_at);
        poll(NULL, 0, 10);
    }
}

/* Compares the ledger with what is stored, and frees the stream. */
static void stream_check(struct stream *stream)
{
    const struct storage_range everything = {.up_to = UINT64_MAX, .limit = SIZE_MAX};
    expect_recovery(stream->engine);
    struct stored *stored = stored_read(stream->engine, &everything);
    size_t place = 0;
    for (size_t i = 0; i < stream->count; i++) {
        assert_int_not_equal(stream->ledger[i].result, STORAGE_UNKNOWN);
        if (stream->ledger[i].result != STORAGE_OK)
            continue;
        for (size_t n = 0; n < EVENTS_EACH; n++, place++) {
            char payload[KIT_TEXT_BYTES];
            snprintf(payload, sizeof payload, "%zu", i * EVENTS_EACH + n);
            assert_true(place < stored->count);
            assert_string_equal(stored->events[place].payload, payload);
            assert_int_equal(stored->events[place].id, stream->ledger[i].first_id + n);
            assert_int_equal(stored->events[place].id, place + 1);
        }
    }
    assert_int_equal(stored->count, place);
    free(stored);
    pthread_cond_destroy(&stream->progress);
    pthread_mutex_destroy(&stream->mutex);
    free(stream);
}

static void killed_servers_lose_and_double_nothing(void **state)
{
    struct kit *kit = *state;
    void *engine = kit_open(kit, kit_database(kit));
    struct stream *stream = stream_start(engine);
    for (int i = 0; i < 8; i++) {
        stream_await(stream, 25);
        assert_int_equal(postgres_stop(kit->postgres, i % 4 != 3), 0);
        assert_int_equal(postgres_restart(kit->postgres), 0);
    }
    stream_await(stream, 25);
    stream_join(stream);
    stream_check(stream);
    storage_postgresql.close(engine);
}

static void ended_sessions_lose_and_double_nothing(void **state)
{
    struct kit *kit = *state;
    const char *url = kit_database(kit);
    void *engine = kit_open(kit, url);
    struct stream *stream = stream_start(engine);
    for (int i = 0; i < 40; i++) {
        stream_await(stream, 10);
        kit_number(kit, url,
                   "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                   " WHERE datname = current_database() AND pid <> pg_backend_pid()");
    }
    stream_join(stream);
    stream_check(stream);
    storage_postgresql.close(engine);
}

/* --- servers that do not answer --- */

static bool ignore_event(void *context, const struct storage_event *event)
{
    (void)context;
    (void)event;
    return true;
}

static bool ignore_channel(void *context, struct text channel)
{
    (void)context;
    (void)channel;
    return true;
}

/* All reads, each of which must say the same within the time. */
static void expect_reads(void *engine, enum storage_result expected, int64_t within_ms)
{
    const struct storage_range range = {.up_to = UINT64_MAX, .limit = 1};
    enum { SLACK_MS = 500 };
    uint64_t id;
    for (int i = 0; i < 3; i++) {
        int64_t begun_at = clock_monotonic_ns();
        int64_t deadline_at = begun_at + MILLISECONDS(within_ms);
        enum storage_result result =
            i == 0 ? storage_postgresql.newest_id(engine, &id, deadline_at)
            : i == 1
                ? storage_postgresql.events(engine, &range, ignore_event, NULL, deadline_at)
                : storage_postgresql.subscriptions(engine, TEXT("user"), ignore_channel, NULL, deadline_at);
        assert_int_equal(result, expected);
        assert_true(clock_monotonic_ns() - begun_at < MILLISECONDS(within_ms + SLACK_MS));
    }
}

static void frozen_servers_keep_nobody_waiting(void **state)
{
    struct kit *kit = *state;
    void *engine = kit_open(kit, kit_database(kit));
    struct batch batch;
    expect_reads(engine, STORAGE_OK, 5000);
    assert_int_equal(postgres_freeze(kit->postgres), 0);
    expect_reads(engine, STORAGE_AWAY, 300);
    batch_begin(&batch);
    batch_publish(&batch, "a", "0");
    int64_t begun_at = clock_monotonic_ns();
    assert_int_equal(storage_postgresql.commit(engine, &batch.list, kit_in_ms(500)), STORAGE_UNKNOWN);
    assert_int_equal(storage_postgresql.resolve(engine, &batch.list, kit_in_ms(500)), STORAGE_UNKNOWN);
    assert_true(clock_monotonic_ns() - begun_at < MILLISECONDS(2000));
    assert_false(storage_postgresql.is_available(engine));
    assert_int_equal(postgres_thaw(kit->postgres), 0);
    enum storage_result outcome = batch_resolve(engine, &batch);
    assert_int_not_equal(outcome, STORAGE_UNKNOWN);
    uint64_t newest;
    expect_recovery(engine);
    assert_int_equal(storage_postgresql.newest_id(engine, &newest, kit_in_ms(5000)), STORAGE_OK);
    assert_int_equal(newest, outcome == STORAGE_OK ? 1 : 0);
    if (outcome == STORAGE_OK)
        assert_int_equal(batch.writes[0].id, 1);
    storage_postgresql.close(engine);
}

static void frozen_servers_do_not_delay_the_end(void **state)
{
    struct kit *kit = *state;
    const char *url = kit_database(kit);
    void *engine = kit_open(kit, url);
    expect_reads(engine, STORAGE_OK, 5000);
    assert_int_equal(postgres_freeze(kit->postgres), 0);
    expect_reads(engine, STORAGE_AWAY, 100);
    int64_t begun_at = clock_monotonic_ns();
    storage_postgresql.close(engine);
    assert_true(clock_monotonic_ns() - begun_at < MILLISECONDS(1000));
    assert_int_equal(postgres_thaw(kit->postgres), 0);
    kit_number(kit, url, "SELECT 1");
}

static void known_absence_is_told_at_once(void **state)
{
    struct kit *kit = *state;
    void *engine = kit_open(kit, kit_database(kit));
    struct batch batch;
    batch_begin(&batch);
    batch_publish(&batch, "a", "0");
    assert_int_equal(postgres_stop(kit->postgres, true), 0);
    assert_int_equal(batch_commit(engine, &batch), STORAGE_AWAY);
    expect_reads(engine, STORAGE_AWAY, 5000);
    int64_t begun_at = clock_monotonic_ns();
    expect_reads(engine, STORAGE_AWAY, 5000);
    assert_int_equal(batch_commit(engine, &batch), STORAGE_AWAY);
    assert_true(clock_monotonic_ns() - begun_at < MILLISECONDS(1000));
    assert_false(storage_postgresql.is_available(engine));
    assert_int_equal(postgres_restart(kit->postgres), 0);
    expect_recovery(engine);
    assert_true(storage_postgresql.is_available(engine));
    storage_postgresql.close(engine);
}

/* Waits until all links of the engine are set up: the readers' last statement is prepared. (The writer's has been since
 * the engine was opened.) */
static void expect_connected(struct kit *kit, const char *url)
{
    enum { READERS = 4 };
    int64_t deadline_at = kit_in_ms(KIT_WAIT_MS);
    while (kit_number(kit, url,
                      "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                      " AND state = 'idle' AND query LIKE 'SELECT channel%'") < READERS) {
        assert_true(clock_monotonic_ns() < deadline_at);
        poll(NULL, 0, 10);
    }
}

/* A restart between two calls: the links that the server has closed are replaced within the call. */
static void restarts_while_idle_go_unnoticed(void **state)
{
    struct kit *kit = *state;
    const char *url = kit_database(kit);
    void *engine = kit_open(kit, url);
    struct batch batch;
    expect_connected(kit, url);
    assert_int_equal(postgres_restart(kit->postgres), 0);
    expect_reads(engine, STORAGE_OK, 5000);
    batch_begin(&batch);
    batch_publish(&batch, "a", "0");
    assert_int_equal(batch_commit(engine, &batch), STORAGE_OK);
    assert_int_equal(batch.writes[0].id, 1);
    storage_postgresql.close(engine);
}

/* --- transactions that outlive their connection --- */

/* Waits until no session but the connections of the engine, which are idle, does anything. */
static void expect_quiet(struct kit *kit, const char *url)
{
    int64_t deadline_at = kit_in_ms(KIT_WAIT_MS);
    while (kit_number(kit, url,
                      "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                      " AND state <> 'idle' AND pid <> pg_backend_pid()") > 0) {
        assert_true(clock_monotonic_ns() < deadline_at);
        poll(NULL, 0, 10);
    }
}

/* The lost transaction waits for the counter, and has not inserted its batch id: the tombstone comes first, and the
 * transaction fails when it goes on. */
static void tombstones_stop_lost_transactions(void **state)
{
    struct kit *kit = *state;
    const char *url = kit_database(kit);
    void *engine = kit_open(kit, url);
    struct batch batch;
    batch_begin(&batch);
    batch_publish(&batch, "a", "0");
    PGconn *holder = kit_hold(url, "UPDATE event_counter SET last_id = last_id");
    assert_int_equal(storage_postgresql.commit(engine, &batch.list, kit_in_ms(300)), STORAGE_UNKNOWN);
    assert_int_equal(batch_resolve(engine, &batch), STORAGE_AWAY);
    kit_let_go(holder);
    expect_quiet(kit, url);
    assert_int_equal(kit_number(kit, url, "SELECT count(*) FROM events"), 0);
    assert_int_equal(batch_commit(engine, &batch), STORAGE_OK);
    assert_int_equal(batch.writes[0].id, 1);
    assert_int_equal(kit_number(kit, url, "SELECT count(*) FROM events"), 1);
    storage_postgresql.close(engine);
}

/* The lost transaction has inserted its batch id and waits; its commit lies in the buffer of its socket. The tombstone
 * has to wait for it, and finds that it has committed. */
static void lost_transactions_may_commit(void **state)
{
    struct kit *kit = *state;
    const char *url = kit_database(kit);
    void *engine = kit_open(kit, url);
    struct batch batch;
    batch_begin(&batch);
    batch_publish(&batch, "a", "0");
    batch_subscription(&batch, STORAGE_SUBSCRIBE, "user", "a");
    batch_publish(&batch, "a", "1");
    PGconn *holder = kit_hold(url, "INSERT INTO user_subscriptions VALUES ('user', 'a')");
    assert_int_equal(storage_postgresql.commit(engine, &batch.list, kit_in_ms(600)), STORAGE_UNKNOWN);
    assert_int_equal(storage_postgresql.resolve(engine, &batch.list, kit_in_ms(200)), STORAGE_UNKNOWN);
    kit_let_go(holder);
    assert_int_equal(batch_resolve(engine, &batch), STORAGE_OK);
    assert_int_equal(batch.writes[0].id, 1);
    assert_int_equal(batch.writes[2].id, 2);
    expect_quiet(kit, url);
    assert_int_equal(kit_number(kit, url, "SELECT count(*) FROM events"), 2);
    batch_begin(&batch);
    batch_publish(&batch, "a", "2");
    assert_int_equal(batch_commit(engine, &batch), STORAGE_OK);
    assert_int_equal(batch.writes[0].id, 3);
    storage_postgresql.close(engine);
}

/* The same with a new reference table. How many pieces were purged may stay unknown. */
static void lost_switches_may_commit(void **state)
{
    struct kit *kit = *state;
    const char *url = kit_database(kit);
    void *engine = kit_open(kit, url);
    struct batch batch;
    struct storage_reference reference;
    batch_begin(&batch);
    for (uint64_t generation = 1; generation <= 2; generation++) {
        struct storage_write *piece = batch_add(&batch, STORAGE_REFERENCE_PIECE, "");
        piece->generation = generation;
        piece->payload = TEXT("[]");
    }
    batch_publish(&batch, "a", "0");
    struct storage_write *purge = batch_add(&batch, STORAGE_REFERENCE_PURGE, "");
    purge->generation = 1;
    struct storage_write *change = batch_add(&batch, STORAGE_REFERENCE_SWITCH, "");
    change->generation = 2;
    change->number = 1;
    PGconn *holder = kit_hold(url, "INSERT INTO reference_table VALUES (1, 9, 0, 0)");
    assert_int_equal(storage_postgresql.commit(engine, &batch.list, kit_in_ms(600)), STORAGE_UNKNOWN);
    kit_let_go(holder);
    assert_int_equal(batch_resolve(engine, &batch), STORAGE_OK);
    assert_int_equal(batch.writes[2].id, 1);
    assert_true(purge->purged <= 1);
    expect_recovery(engine);
    assert_int_equal(storage_postgresql.reference(engine, &reference, kit_in_ms(5000)), STORAGE_OK);
    assert_int_equal(reference.generation, 2);
    assert_int_equal(kit_number(kit, url, "SELECT sum(generation) FROM reference_pieces"), 2);
    storage_postgresql.close(engine);
}

/* An error of the server: nothing is stored, and the connection is used again. */
static void refused_transactions_store_nothing(void **state)
{
    struct kit *kit = *state;
    const char *url = kit_database(kit);
    void *engine = kit_open(kit, url);
    struct batch batch;
    kit_number(kit, url, "ALTER TABLE events ADD CHECK (payload <> '1')");
    batch_begin(&batch);
    batch_publish(&batch, "a", "0");
    batch_publish(&batch, "a", "1");
    assert_int_equal(batch_commit(engine, &batch), STORAGE_AWAY);
    assert_true(storage_postgresql.is_available(engine));
    batch_begin(&batch);
    batch_publish(&batch, "a", "2");
    assert_int_equal(batch_commit(engine, &batch), STORAGE_OK);
    assert_int_equal(batch.writes[0].id, 1);
    assert_int_equal(kit_number(kit, url, "SELECT count(*) FROM events"), 1);
    storage_postgresql.close(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_servers_lose_and_double_nothing),
        cmocka_unit_test(ended_sessions_lose_and_double_nothing),
        cmocka_unit_test(frozen_servers_keep_nobody_waiting),
        cmocka_unit_test(frozen_servers_do_not_delay_the_end),
        cmocka_unit_test(known_absence_is_told_at_once),
        cmocka_unit_test(restarts_while_idle_go_unnoticed),
        cmocka_unit_test(tombstones_stop_lost_transactions),
        cmocka_unit_test(lost_transactions_may_commit),
        cmocka_unit_test(lost_switches_may_commit),
        cmocka_unit_test(refused_transactions_store_nothing),
    };
    return cmocka_run_group_tests(tests, kit_setup, kit_teardown);
}
