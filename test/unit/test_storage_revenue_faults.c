/* Revenue in PostgreSQL while the connection breaks in the middle of commits, and while others write without the counter: each
 * part of a file is counted once, and what is said of writes that were found to be stored later is right. */
#include "postgresql_kit.h"

#include <libpq-fe.h>
#include <poll.h>

enum { SLACK_MS = 5000 };

static const struct storage_revenue tenth = {TEXT("u"), TEXT("0.1")};
static const struct storage_revenue large = {TEXT("u"), TEXT("999999999999999999999999999999999999.9")};

static struct storage_write *batch_count(struct batch *batch, const char *file, uint64_t before,
                                         uint64_t after, const struct storage_revenue *revenue)
{
    struct storage_write *write = batch_add(batch, STORAGE_COUNT_REVENUE, "");
    write->file = text_from(file);
    write->position_before = before;
    write->position_after = after;
    write->lines_after = after;
    write->revenues = revenue;
    write->count = 1;
    return write;
}

/* Ends the transaction some time after this has returned. */
static void commit_soon(PGconn *session)
{
    assert_int_equal(PQsendQuery(session, "SELECT pg_sleep(0.3); COMMIT"), 1);
}

static void finish(PGconn *session)
{
    PGresult *result;
    while ((result = PQgetResult(session)) != NULL) {
        assert_true(PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK);
        PQclear(result);
    }
    PQfinish(session);
}

static void expect_outcome(const struct storage_write *write, bool overtaken, bool overflowed)
{
    assert_int_equal(write->overtaken, overtaken);
    assert_int_equal(write->overflowed, overflowed);
}

static void expect_revenue(void *engine, const char *expected)
{
    char amount[STORAGE_REVENUE_BYTES] = "";
    bool found;
    assert_int_equal(storage_postgresql.revenue(engine, TEXT("u"), amount, &found, kit_in_ms(SLACK_MS)),
                     STORAGE_OK);
    assert_string_equal(amount, expected);
}

static uint64_t position_of(void *engine, const char *file)
{
    struct storage_checkpoint checkpoint;
    bool found;
    assert_int_equal(
        storage_postgresql.checkpoint(engine, text_from(file), &checkpoint, &found, kit_in_ms(SLACK_MS)),
        STORAGE_OK);
    return checkpoint.position;
}

/* --- lost commits --- */

/* The lost transaction waits for a user that somebody else is inserting, and commits. Another server goes on with the file
 * before the outcome is found out. */
static void lost_counts_may_be_stored(void **state)
{
    struct kit *kit = *state;
    const char *url = kit_database(kit);
    void *engine = kit_open(kit, url), *other = kit_open(kit, url);
    struct batch batch, later;
    batch_begin(&batch);
    struct storage_write *behind = batch_count(&batch, "f", 5, 20, &tenth);
    struct storage_write *counted = batch_count(&batch, "f", 0, 10, &tenth);
    batch_publish(&batch, "a", "0");
    struct storage_write *again = batch_count(&batch, "f", 0, 10, &tenth);
    struct storage_write *first = batch_count(&batch, "g", 0, 10, &large);
    struct storage_write *second = batch_count(&batch, "g", 10, 20, &large);
    PGconn *holder = kit_hold(url, "INSERT INTO users_revenue VALUES ('u', 1)");
    assert_int_equal(storage_postgresql.commit(engine, &batch.list, kit_in_ms(600)), STORAGE_UNKNOWN);
    assert_int_equal(storage_postgresql.resolve(engine, &batch.list, kit_in_ms(200)), STORAGE_UNKNOWN);
    counted->overtaken = first->overflowed = true;
    behind->overflowed = second->overtaken = true;
    kit_let_go(holder);

    batch_begin(&later);
    batch_count(&later, "f", 10, 30, &tenth);
    assert_int_equal(storage_postgresql.commit(other, &later.list, kit_in_ms(SLACK_MS)), STORAGE_OK);
    expect_outcome(&later.writes[0], false, false);
    assert_int_equal(batch_resolve(engine, &batch), STORAGE_OK);
    expect_outcome(behind, true, false);
    expect_outcome(counted, false, false);
    expect_outcome(again, true, false);
    expect_outcome(first, false, true);
    expect_outcome(second, true, false);
    assert_int_equal(batch.writes[2].id, 1);
    expect_revenue(engine, "0.2");
    assert_int_equal(position_of(engine, "f"), 30);
    assert_int_equal(position_of(engine, "g"), 0);
    storage_postgresql.close(other);
    storage_postgresql.close(engine);
}

/* The lost transaction waits for the counter, and fails on the tombstone when it goes on. */
static void lost_counts_may_fail(void **state)
{
    struct kit *kit = *state;
    const char *url = kit_database(kit);
    void *engine = kit_open(kit, url);
    struct batch batch;
    batch_begin(&batch);
    struct storage_write *write = batch_count(&batch, "f", 0, 10, &tenth);
    PGconn *holder = kit_hold(url, "UPDATE event_counter SET last_id = last_id");
    assert_int_equal(storage_postgresql.commit(engine, &batch.list, kit_in_ms(300)), STORAGE_UNKNOWN);
    assert_int_equal(batch_resolve(engine, &batch), STORAGE_AWAY);
    kit_let_go(holder);
    assert_int_equal(position_of(engine, "f"), 0);
    assert_int_equal(batch_commit(engine, &batch), STORAGE_OK);
    expect_outcome(write, false, false);
    expect_revenue(engine, "0.1");
    assert_int_equal(position_of(engine, "f"), 10);
    storage_postgresql.close(engine);
}

/* --- others who write without the counter --- */

static void a_checkpoint_that_is_being_moved_overtakes(void **state)
{
    struct kit *kit = *state;
    const char *url = kit_database(kit);
    void *engine = kit_open(kit, url);
    struct batch batch;
    batch_begin(&batch);
    struct storage_write *write = batch_count(&batch, "f", 0, 10, &tenth);
    PGconn *holder = kit_hold(url, "INSERT INTO journal_checkpoints VALUES ('f', 7, 1, now())");
    commit_soon(holder);
    assert_int_equal(storage_postgresql.commit(engine, &batch.list, kit_in_ms(SLACK_MS)), STORAGE_OK);
    finish(holder);
    expect_outcome(write, true, false);
    expect_revenue(engine, "");
    assert_int_equal(position_of(engine, "f"), 7);

    batch_begin(&batch);
    write = batch_count(&batch, "f", 7, 10, &tenth);
    holder = kit_hold(url, "UPDATE journal_checkpoints SET position = 8");
    commit_soon(holder);
    assert_int_equal(storage_postgresql.commit(engine, &batch.list, kit_in_ms(SLACK_MS)), STORAGE_OK);
    finish(holder);
    expect_outcome(write, true, false);
    expect_revenue(engine, "");
    assert_int_equal(position_of(engine, "f"), 8);
    storage_postgresql.close(engine);
}

static void sums_that_are_being_changed_are_added_to(void **state)
{
    struct kit *kit = *state;
    const char *url = kit_database(kit);
    void *engine = kit_open(kit, url);
    struct batch batch;
    for (uint64_t i = 0; i < 2; i++) {
        batch_begin(&batch);
        batch_count(&batch, "f", i * 10, i * 10 + 10, &tenth);
        PGconn *holder = kit_hold(url, i == 0 ? "INSERT INTO users_revenue VALUES ('u', 1)"
                                              : "UPDATE users_revenue SET revenue = revenue + 2");
        commit_soon(holder);
        assert_int_equal(storage_postgresql.commit(engine, &batch.list, kit_in_ms(SLACK_MS)), STORAGE_OK);
        finish(holder);
        expect_outcome(&batch.writes[0], false, false);
        expect_revenue(engine, i == 0 ? "1.1" : "3.2");
    }
    storage_postgresql.close(engine);
}

/* --- sessions that end in the middle --- */

/* A commit is cut off at a random point; whatever was said of it is so, and asking again counts nothing twice. */
static void ended_sessions_lose_and_double_nothing(void **state)
{
    enum { ROUNDS = 60 };
    struct kit *kit = *state;
    const char *url = kit_database(kit);
    void *engine = kit_open(kit, url);
    PGconn *killer = PQconnectdb(url);
    assert_int_equal(PQstatus(killer), CONNECTION_OK);
    uint64_t position = 0;
    for (int round = 0; round < ROUNDS; round++) {
        struct batch batch;
        batch_begin(&batch);
        struct storage_write *first = batch_count(&batch, "f", position, position + 1, &tenth);
        struct storage_write *second = batch_count(&batch, "f", position + 1, position + 2, &tenth);
        struct storage_write *third = batch_count(&batch, "f", position + 1, position + 2, &tenth);
        assert_int_equal(PQsendQuery(killer, "SELECT pg_sleep(random() / 200), pg_terminate_backend(pid) FROM"
                                             " pg_stat_activity WHERE datname = current_database()"
                                             " AND pid <> pg_backend_pid()"),
                         1);
        enum storage_result result = storage_postgresql.commit(engine, &batch.list, kit_in_ms(SLACK_MS));
        if (result == STORAGE_UNKNOWN)
            result = batch_resolve(engine, &batch);
        assert_int_not_equal(result, STORAGE_UNKNOWN);
        PGresult *answer;
        while ((answer = PQgetResult(killer)) != NULL)
            PQclear(answer);
        if (result == STORAGE_OK) {
            position += 2;
            expect_outcome(first, false, false);
            expect_outcome(second, false, false);
            expect_outcome(third, true, false);
        }
        assert_int_equal(kit_number(kit, url, "SELECT coalesce(max(position), 0) FROM journal_checkpoints"),
                         position);
        assert_int_equal(
            kit_number(kit, url, "SELECT coalesce(sum(revenue) * 10, 0)::bigint FROM users_revenue"),
            position);
        poll(NULL, 0, 5);
    }
    assert_true(position > 0);
    PQfinish(killer);
    storage_postgresql.close(engine);
}

/* --- a server that is away --- */

static bool ignore_checkpoint(void *context, struct text file, const struct storage_checkpoint *checkpoint)
{
    (void)context;
    (void)file;
    (void)checkpoint;
    return true;
}

static void expect_reads(void *engine, enum storage_result expected)
{
    const struct storage_engine *kind = &storage_postgresql;
    char amount[STORAGE_REVENUE_BYTES];
    struct storage_checkpoint checkpoint;
    bool found = true;
    int64_t deadline_at = kit_in_ms(SLACK_MS);
    assert_int_equal(kind->revenue(engine, TEXT("u"), amount, &found, deadline_at), expected);
    assert_int_equal(found, expected == STORAGE_OK);
    found = true;
    assert_int_equal(kind->checkpoint(engine, TEXT("f"), &checkpoint, &found, deadline_at), expected);
    assert_int_equal(found, expected == STORAGE_OK);
    assert_int_equal(kind->checkpoints(engine, ignore_checkpoint, NULL, deadline_at), expected);
}

static void absence_changes_nothing(void **state)
{
    struct kit *kit = *state;
    const char *url = kit_database(kit);
    void *engine = kit_open(kit, url);
    struct batch batch;
    batch_begin(&batch);
    batch_count(&batch, "f", 0, 10, &tenth);
    assert_int_equal(batch_commit(engine, &batch), STORAGE_OK);
    expect_reads(engine, STORAGE_OK);
    assert_int_equal(postgres_stop(kit->postgres, true), 0);
    batch_begin(&batch);
    batch_count(&batch, "f", 10, 20, &tenth);
    assert_int_equal(batch_commit(engine, &batch), STORAGE_AWAY);
    expect_reads(engine, STORAGE_AWAY);
    assert_int_equal(postgres_restart(kit->postgres), 0);
    int64_t deadline_at = kit_in_ms(KIT_WAIT_MS);
    while (batch_commit(engine, &batch) != STORAGE_OK) {
        assert_true(clock_monotonic_ns() < deadline_at);
        poll(NULL, 0, 10);
    }
    expect_outcome(&batch.writes[0], false, false);
    expect_reads(engine, STORAGE_OK);
    expect_revenue(engine, "0.2");
    assert_int_equal(position_of(engine, "f"), 20);
    storage_postgresql.close(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lost_counts_may_be_stored),
        cmocka_unit_test(lost_counts_may_fail),
        cmocka_unit_test(a_checkpoint_that_is_being_moved_overtakes),
        cmocka_unit_test(sums_that_are_being_changed_are_added_to),
        cmocka_unit_test(ended_sessions_lose_and_double_nothing),
        cmocka_unit_test(absence_changes_nothing),
    };
    return cmocka_run_group_tests(tests, kit_setup, kit_teardown);
}
