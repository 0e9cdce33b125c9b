/* The storage's writer thread: batches, deadlines, outcomes that are found out late, the end. On SQLite, whose sync of
 * the log goes through a gate of the test's own: a commit takes as long as the test wants, or fails. */
#include "writes_kit.h"

/* --- group commit --- */

static void what_waits_is_one_batch(void **state)
{
    enum { COUNT = 100 };
    (void)state;
    struct fixture *fixture = fixture_make();
    struct record first;
    static struct record records[COUNT];
    unsigned before = gate_syncs();
    gate_set(true, 0);
    submit(&first, fixture, STORAGE_PUBLISH, "a");
    gate_await_waiting();
    for (size_t i = 0; i < COUNT; i++)
        submit(&records[i], fixture, STORAGE_PUBLISH, "a");
    gate_set(false, 0);
    await_calls(fixture, 1 + COUNT);
    /* One commit for the first, one for all that came meanwhile. */
    assert_int_equal(gate_syncs() - before, 2);
    assert_ptr_equal(fixture->order[0], &first);
    for (size_t i = 0; i < COUNT; i++) {
        assert_ptr_equal(fixture->order[i + 1], &records[i]);
        assert_int_equal(records[i].write.id, i + 3);
        expect_call(&records[i], 0, STORAGE_OK, false);
    }
    assert_int_equal(stored_events(fixture, "a"), 1 + COUNT);
    fixture_free(fixture);
}

enum { WRITERS = 8, WRITES_EACH = 100 };

struct writer {
    pthread_t thread;
    struct fixture *fixture;
    unsigned failures;
    struct record records[WRITES_EACH];
};

static void *writer_main(void *context)
{
    struct writer *writer = context;
    uint64_t last_id = 0;
    for (size_t i = 0; i < WRITES_EACH; i++) {
        struct record *record = &writer->records[i];
        bool publishes = i % 4 != 3;
        record_make(record, writer->fixture, publishes ? STORAGE_PUBLISH : STORAGE_SUBSCRIBE, "a");
        enum storage_result result = storage_write(writer->fixture->storage, &record->write, kit_patience());
        bool rises = !publishes || record->write.id > last_id;
        last_id = publishes ? record->write.id : last_id;
        writer->failures += result != STORAGE_OK || record->calls != 1 || !rises ? 1 : 0;
    }
    return NULL;
}

static void each_write_is_settled_once_in_the_order_of_ids(void **state)
{
    enum { PUBLISHED = WRITERS * WRITES_EACH / 4 * 3 };
    (void)state;
    struct fixture *fixture = fixture_make();
    static struct writer writers[WRITERS];
    for (size_t i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.fixture = fixture};
        assert_int_equal(pthread_create(&writers[i].thread, NULL, writer_main, &writers[i]), 0);
    }
    for (size_t i = 0; i < WRITERS; i++) {
        pthread_join(writers[i].thread, NULL);
        assert_int_equal(writers[i].failures, 0);
    }
    assert_int_equal(fixture->call_count, WRITERS * WRITES_EACH);
    uint64_t last_id = 1;
    for (size_t i = 0; i < fixture->call_count; i++) {
        const struct record *record = fixture->order[i];
        assert_int_equal(record->calls, 1);
        assert_int_equal(record->results[0], STORAGE_OK);
        assert_false(record->abandoned[0]);
        if (record->write.kind == STORAGE_PUBLISH)
            assert_int_equal(record->write.id, ++last_id);
    }
    assert_int_equal(last_id, 1 + PUBLISHED);
    assert_int_equal(stored_events(fixture, "a"), PUBLISHED);
    fixture_free(fixture);
}

static void writes_keep_their_order(void **state)
{
    static const enum storage_write_kind kinds[] = {STORAGE_SUBSCRIBE, STORAGE_UNSUBSCRIBE, STORAGE_PUBLISH,
                                                    STORAGE_SUBSCRIBE, STORAGE_PUBLISH};
    enum { KINDS = sizeof kinds / sizeof kinds[0] };
    (void)state;
    struct fixture *fixture = fixture_make();
    for (size_t rotation = 0; rotation < KINDS; rotation++) {
        struct record first, records[KINDS];
        size_t before = fixture->call_count;
        gate_set(true, 0);
        submit(&first, fixture, STORAGE_PUBLISH, "a");
        gate_await_waiting();
        bool subscribed = false;
        for (size_t i = 0; i < KINDS; i++) {
            enum storage_write_kind kind = kinds[(i + rotation) % KINDS];
            submit(&records[i], fixture, kind, "b");
            subscribed = kind == STORAGE_PUBLISH ? subscribed : kind == STORAGE_SUBSCRIBE;
        }
        gate_set(false, 0);
        await_calls(fixture, before + 1 + KINDS);
        for (size_t i = 0; i < KINDS; i++)
            assert_ptr_equal(fixture->order[before + 1 + i], &records[i]);
        assert_int_equal(database_file_number(&fixture->file, "SELECT count(*) FROM user_subscriptions"),
                         subscribed);
        kit_subscription(fixture->storage, STORAGE_UNSUBSCRIBE, "user", "b");
    }
    fixture_free(fixture);
}

/* How many pieces are stored when a piece is settled. The writer thread makes no commit meanwhile. */
struct sized {
    struct record record; /* the first member */
    int64_t stored;
};

static void see_sized(struct storage_write *write, enum storage_result result, bool abandoned)
{
    struct sized *sized = (struct sized *)(void *)write;
    sized->stored =
        database_file_number(&sized->record.fixture->file, "SELECT count(*) FROM reference_pieces");
    see_settled(write, result, abandoned);
}

static void batches_have_no_more_than_so_many_bytes(void **state)
{
    enum { MEGABYTE = 1024 * 1024, COUNT = 8, MOST = 8, PURGE = 0 };
    static const struct {
        size_t megabytes;
        int64_t stored; /* with the batch that it is in */
    } rows[COUNT] = {{3, 2}, {3, 2}, {3, 3}, {MOST + 1, 4}, {MOST / 2, 6}, {MOST / 2, 6}, {PURGE, 6}, {1, 7}};
    (void)state;
    struct fixture *fixture = fixture_make();
    struct record first;
    static struct sized pieces[COUNT];
    char *large = malloc((MOST + 1) * MEGABYTE);
    assert_non_null(large);
    memset(large, '1', (MOST + 1) * MEGABYTE);
    gate_set(true, 0);
    submit(&first, fixture, STORAGE_PUBLISH, "a");
    gate_await_waiting();
    for (uint32_t i = 0; i < COUNT; i++) {
        struct storage_write *write = &pieces[i].record.write;
        record_make(&pieces[i].record, fixture,
                    rows[i].megabytes == PURGE ? STORAGE_REFERENCE_PURGE : STORAGE_REFERENCE_PIECE, "");
        write->generation = rows[i].megabytes == PURGE ? 0 : 1;
        write->number = i;
        write->payload = (struct text){large, rows[i].megabytes * MEGABYTE};
        write->settled = see_sized;
        assert_int_equal(storage_submit(fixture->storage, write), 0);
    }
    gate_set(false, 0);
    await_calls(fixture, 1 + COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        expect_call(&pieces[i].record, 0, STORAGE_OK, false);
        assert_int_equal(pieces[i].stored, rows[i].stored);
    }
    free(large);
    fixture_free(fixture);
}

/* --- deadlines --- */

static void submitted_writes_expire(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make();
    struct record taken, queued;
    gate_set(true, 0);
    int64_t begun_at = clock_monotonic_ns();
    submit(&taken, fixture, STORAGE_PUBLISH, "taken");
    gate_await_waiting();
    submit(&queued, fixture, STORAGE_PUBLISH, "queued");
    await_calls(fixture, 2);
    int64_t passed = clock_monotonic_ns() - begun_at;
    assert_true(passed >= STORAGE_CALL_NS);
    assert_true(passed < STORAGE_CALL_NS + 5 * CLOCK_NS_PER_SECOND);
    expect_call(&taken, 0, STORAGE_UNKNOWN, false);
    expect_call(&queued, 0, STORAGE_AWAY, false);
    /* The one that was queued is ours again: the storage touches it no more. */
    memset(&queued.write, 0x5A, sizeof queued.write);
    gate_set(false, 0);
    await_calls(fixture, 3);
    expect_call(&taken, 1, STORAGE_OK, true);
    assert_int_equal(taken.write.id, 2);
    assert_int_equal(stored_events(fixture, "taken"), 1);
    assert_int_equal(stored_events(fixture, "queued"), 0);
    /* It drew no id. */
    assert_int_equal(kit_store(fixture->storage, "a", TEXT("1")), 3);
    assert_int_equal(taken.calls, 2);
    fixture_free(fixture);
}

static void callers_give_up_in_time(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make();
    struct caller taken;
    struct record queued;
    gate_set(true, 0);
    caller_start(&taken, fixture, "taken", kit_in_ms(600));
    gate_await_waiting();
    record_make(&queued, fixture, STORAGE_PUBLISH, "queued");
    assert_int_equal(storage_write(fixture->storage, &queued.write, kit_in_ms(50)), STORAGE_AWAY);
    assert_int_equal(queued.calls, 0);
    memset(&queued.write, 0x5A, sizeof queued.write);
    assert_int_equal(caller_join(&taken), STORAGE_UNKNOWN);
    gate_set(false, 0);
    await_calls(fixture, 1);
    expect_call(&taken.record, 0, STORAGE_OK, true);
    assert_int_equal(stored_events(fixture, "taken"), 1);
    assert_int_equal(stored_events(fixture, "queued"), 0);
    fixture_free(fixture);
}

/* Nobody is told: the storage frees it itself (which the sanitizer sees). */
static void abandoned_writes_without_settled_are_freed(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make();
    struct storage_write *write = calloc(1, sizeof *write);
    assert_non_null(write);
    write->kind = STORAGE_SUBSCRIBE;
    write->user = TEXT("user");
    write->channel = TEXT("a");
    struct record blocking;
    gate_set(true, 0);
    assert_int_equal(storage_write(fixture->storage, write, kit_in_ms(600)), STORAGE_UNKNOWN);
    submit(&blocking, fixture, STORAGE_SUBSCRIBE, "b");
    gate_set(false, 0);
    await_calls(fixture, 1);
    expect_call(&blocking, 0, STORAGE_OK, false);
    assert_int_equal(database_file_number(&fixture->file, "SELECT count(*) FROM user_subscriptions"), 2);
    fixture_free(fixture);
}

static void deadlines_that_have_passed_store_nothing(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make();
    struct record blocking, late;
    gate_set(true, 0);
    submit(&blocking, fixture, STORAGE_PUBLISH, "a");
    gate_await_waiting();
    for (int64_t deadline_at = -1; deadline_at < 2; deadline_at++) {
        record_make(&late, fixture, STORAGE_PUBLISH, "late");
        assert_int_equal(storage_write(fixture->storage, &late.write, deadline_at), STORAGE_AWAY);
        assert_int_equal(late.calls, 0);
    }
    gate_set(false, 0);
    await_calls(fixture, 1);
    expect_call(&blocking, 0, STORAGE_OK, false);
    assert_int_equal(stored_events(fixture, "late"), 0);
    fixture_free(fixture);
}

/* --- a database that takes no writes --- */

static sqlite3 *hold_lock(struct fixture *fixture)
{
    sqlite3 *holder = NULL;
    assert_int_equal(sqlite3_open(fixture->file.path, &holder), SQLITE_OK);
    assert_int_equal(sqlite3_exec(holder, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    return holder;
}

static void a_locked_database_is_away_in_time(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make();
    struct record waited;
    sqlite3 *holder = hold_lock(fixture);
    record_make(&waited, fixture, STORAGE_PUBLISH, "waited");
    int64_t begun_at = clock_monotonic_ns();
    assert_int_equal(storage_write(fixture->storage, &waited.write, begun_at + 300 * CLOCK_NS_PER_MS),
                     STORAGE_AWAY);
    assert_true(clock_monotonic_ns() - begun_at < 5 * CLOCK_NS_PER_SECOND);
    assert_int_equal(waited.calls, 1);
    expect_call(&waited, 0, STORAGE_AWAY, false);
    sqlite3_close(holder);
    assert_int_equal(stored_events(fixture, "waited"), 0);
    /* No id was lost. */
    assert_int_equal(kit_store(fixture->storage, "a", TEXT("1")), 2);
    assert_true(storage_is_available(fixture->storage));
    fixture_free(fixture);
}

static void a_lock_that_goes_in_time_harms_nobody(void **state)
{
    enum { COUNT = 4 };
    (void)state;
    struct fixture *fixture = fixture_make();
    struct caller callers[COUNT];
    sqlite3 *holder = hold_lock(fixture);
    for (size_t i = 0; i < COUNT; i++)
        caller_start(&callers[i], fixture, "a", kit_patience());
    assert_int_equal(sqlite3_exec(holder, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(holder);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(caller_join(&callers[i]), STORAGE_OK);
    assert_int_equal(stored_events(fixture, "a"), COUNT);
    fixture_free(fixture);
}

/* What was written, but not made durable, might come back after a crash: the storage takes its place in the log. */
static void a_failed_sync_is_found_to_have_stored_nothing(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make();
    struct record first, second;
    gate_set(true, 1);
    submit(&first, fixture, STORAGE_PUBLISH, "lost");
    gate_await_waiting();
    submit(&second, fixture, STORAGE_PUBLISH, "kept");
    pthread_mutex_lock(&gate.mutex);
    gate.failures = 0;
    pthread_mutex_unlock(&gate.mutex);
    gate_set(false, 1);
    await_calls(fixture, 2);
    assert_int_equal(gate.failures, 1);
    expect_call(&first, 0, STORAGE_AWAY, false);
    expect_call(&second, 0, STORAGE_OK, false);
    assert_int_equal(second.write.id, 2);
    storage_close(fixture->storage);
    fixture->storage = kit_open_storage(fixture->file.url, &fixture->file.log);
    assert_int_equal(stored_events(fixture, "lost"), 0);
    assert_int_equal(stored_events(fixture, "kept"), 1);
    fixture_free(fixture);
}

static void copy_file(const char *from, const char *to)
{
    char bytes[4096];
    size_t length;
    FILE *source = fopen(from, "r"), *target = fopen(to, "w");
    assert_true(source != NULL && target != NULL);
    while ((length = fread(bytes, 1, sizeof bytes, source)) > 0)
        assert_int_equal(fwrite(bytes, 1, length, target), length);
    fclose(source);
    fclose(target);
}

/* What a server finds that starts after this one was killed: the database and its log, without what is in memory. */
static struct storage *open_as_after_a_crash(struct fixture *fixture, struct database_file *copy)
{
    char from[sizeof copy->path + sizeof "-wal"], to[sizeof copy->path + sizeof "-wal"];
    database_file_make(copy);
    copy_file(fixture->file.path, copy->path);
    snprintf(from, sizeof from, "%s-wal", fixture->file.path);
    snprintf(to, sizeof to, "%s-wal", copy->path);
    copy_file(from, to);
    return kit_open_storage(copy->url, &copy->log);
}

/* "Nothing was changed" holds after a crash, too: the client will publish again. */
static void what_a_failed_sync_left_does_not_come_back(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make();
    struct database_file copy;
    struct record lost;
    gate_set(false, 1);
    record_make(&lost, fixture, STORAGE_PUBLISH, "lost");
    assert_int_equal(kit_write(fixture->storage, &lost.write), STORAGE_AWAY);
    struct storage *recovered = open_as_after_a_crash(fixture, &copy);
    int64_t found = database_file_number(&copy, "SELECT count(*) FROM events WHERE channel = 'lost'");
    int64_t kept = database_file_number(&copy, "SELECT count(*) FROM events WHERE channel = 'first'");
    storage_close(recovered);
    database_file_remove(&copy);
    fixture_free(fixture);
    assert_int_equal(kept, 1);
    assert_int_equal(found, 0);
}

/* --- the end --- */

static void *stop_main(void *context)
{
    storage_stop(context);
    return NULL;
}

static void the_stop_settles_what_was_queued(void **state)
{
    enum { COUNT = 50 };
    (void)state;
    struct fixture *fixture = fixture_make();
    static struct record records[COUNT];
    struct caller caller;
    struct record late;
    pthread_t stopper;
    gate_set(true, 0);
    submit(&records[0], fixture, STORAGE_PUBLISH, "a");
    gate_await_waiting();
    for (size_t i = 1; i < COUNT; i++)
        submit(&records[i], fixture, STORAGE_PUBLISH, "a");
    caller_start(&caller, fixture, "b", kit_patience());
    assert_int_equal(pthread_create(&stopper, NULL, stop_main, fixture->storage), 0);
    gate_set(false, 0);
    pthread_join(stopper, NULL);
    /* The caller came before the stop, or was refused. */
    enum storage_result result = caller_join(&caller);
    assert_true(result == STORAGE_OK || result == STORAGE_AWAY);
    assert_int_equal(fixture->call_count, COUNT + (result == STORAGE_OK ? 1 : 0));
    for (size_t i = 0; i < COUNT; i++)
        expect_call(&records[i], 0, STORAGE_OK, false);
    record_make(&late, fixture, STORAGE_PUBLISH, "late");
    assert_int_equal(storage_submit(fixture->storage, &late.write), -1);
    assert_int_equal(storage_write(fixture->storage, &late.write, kit_patience()), STORAGE_AWAY);
    assert_int_equal(late.calls, 0);
    assert_int_equal(stored_events(fixture, "a"), COUNT);
    assert_int_equal(stored_events(fixture, "b"), result == STORAGE_OK ? 1 : 0);
    assert_int_equal(stored_events(fixture, "late"), 0);
    fixture_free(fixture);
}

/* The outcome of a commit can't be found out: at the end, everybody is told that nobody knows. */
static void the_stop_does_not_wait_for_an_unknown_outcome(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make();
    struct record submitted;
    gate_set(false, UINT32_MAX);
    unsigned before = gate_syncs();
    submit(&submitted, fixture, STORAGE_PUBLISH, "a");
    gate_await_syncs(before + 2);
    storage_stop(fixture->storage);
    expect_call(&submitted, 0, STORAGE_UNKNOWN, false);
    expect_call(&submitted, 1, STORAGE_UNKNOWN, true);
    assert_int_equal(submitted.calls, 2);
    gate_set(false, 0);
    fixture_free(fixture);
}

/* As in the header: what was told STORAGE_UNKNOWN is given away by `settled`, `abandoned`. */
static void at_the_end_callers_learn_that_nobody_knows(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make();
    struct caller caller;
    gate_set(false, UINT32_MAX);
    unsigned before = gate_syncs();
    caller_start(&caller, fixture, "a", kit_patience());
    gate_await_syncs(before + 2);
    storage_stop(fixture->storage);
    assert_int_equal(caller_join(&caller), STORAGE_UNKNOWN);
    assert_int_equal(caller.record.calls, 1);
    expect_call(&caller.record, 0, STORAGE_UNKNOWN, true);
    gate_set(false, 0);
    fixture_free(fixture);
}

static void a_locked_file_is_refused_with_advice(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make();
    char reason[STORAGE_REASON_BYTES] = "";
    struct storage_options options = {.url = fixture->file.url, .log = &fixture->file.log};
    sqlite3 *holder = hold_lock(fixture);
    assert_null(storage_open(&options, reason));
    assert_non_null(strstr(reason, "another program holds it"));
    sqlite3_close(holder);
    fixture_free(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_waits_is_one_batch),
        cmocka_unit_test(each_write_is_settled_once_in_the_order_of_ids),
        cmocka_unit_test(writes_keep_their_order),
        cmocka_unit_test(batches_have_no_more_than_so_many_bytes),
        cmocka_unit_test(submitted_writes_expire),
        cmocka_unit_test(callers_give_up_in_time),
        cmocka_unit_test(abandoned_writes_without_settled_are_freed),
        cmocka_unit_test(deadlines_that_have_passed_store_nothing),
        cmocka_unit_test(a_locked_database_is_away_in_time),
        cmocka_unit_test(a_lock_that_goes_in_time_harms_nobody),
        cmocka_unit_test(a_failed_sync_is_found_to_have_stored_nothing),
        cmocka_unit_test(what_a_failed_sync_left_does_not_come_back),
        cmocka_unit_test(the_stop_settles_what_was_queued),
        cmocka_unit_test(the_stop_does_not_wait_for_an_unknown_outcome),
        cmocka_unit_test(at_the_end_callers_learn_that_nobody_knows),
        cmocka_unit_test(a_locked_file_is_refused_with_advice),
    };
    return cmocka_run_group_tests(tests, install_gate, NULL);
}
