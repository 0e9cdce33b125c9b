/* Planned events in PostgreSQL while the connection breaks in the middle of commits: none is lost, none stored twice, and what
 * is said of those that were found to be stored later is right. */
#include "postgresql_kit.h"

#include <libpq-fe.h>
#include <poll.h>

enum { SLACK_MS = 5000 };

static struct storage_write *batch_event(struct batch *batch, const char *name, const char *event_id,
                                         const char *spare_id)
{
    struct storage_write *write = batch_add(batch, STORAGE_ADD_EVENT, "");
    write->user = TEXT("u");
    write->name = text_from(name);
    write->event_id = text_from(event_id);
    write->spare_id = text_from(spare_id);
    return write;
}

/* The lost transaction waits for a user that somebody else is inserting, and commits. Others add events before its outcome
 * is found out. */
static void lost_additions_may_be_stored(void **state)
{
    struct kit *kit = *state;
    const char *url = kit_database(kit);
    void *engine = kit_open(kit, url), *other = kit_open(kit, url);
    const struct storage_planned_event given[] = {{0, TEXT("3"), TEXT("three"), TEXT("v"), {NULL, 0}},
                                                  {0, TEXT("x"), TEXT("x"), TEXT("v"), {NULL, 0}}};
    struct batch batch;
    batch_begin(&batch);
    struct storage_write *merge = batch_add(&batch, STORAGE_MERGE_EVENTS, "");
    merge->events = given;
    merge->count = 2;
    assert_int_equal(batch_commit(engine, &batch), STORAGE_OK);

    batch_begin(&batch);
    struct storage_write *spare = batch_event(&batch, "a", "", "spare");
    struct storage_write *known = batch_event(&batch, "b", "x", "");
    batch_publish(&batch, "a", "0");
    struct storage_write *there = batch_event(&batch, "c", "y", "");
    struct storage_write *number = batch_event(&batch, "d", "", "unused");
    PGconn *holder = kit_hold(url, "INSERT INTO planned_users VALUES ('u')");
    assert_int_equal(storage_postgresql.commit(engine, &batch.list, kit_in_ms(600)), STORAGE_UNKNOWN);
    assert_int_equal(storage_postgresql.resolve(engine, &batch.list, kit_in_ms(200)), STORAGE_UNKNOWN);
    spare->id = number->id = 777;
    number->spare_used = true;
    kit_let_go(holder);

    struct batch later;
    batch_begin(&later);
    struct storage_write *last = batch_event(&later, "e", "", "s");
    assert_int_equal(storage_postgresql.commit(other, &later.list, kit_in_ms(SLACK_MS)), STORAGE_OK);
    assert_int_equal(last->id, 7);
    assert_int_equal(batch_resolve(engine, &batch), STORAGE_OK);
    assert_int_equal(spare->id, 3);
    assert_true(spare->spare_used);
    assert_int_equal(known->id, 2);
    assert_false(known->spare_used);
    assert_int_equal(there->id, 5);
    assert_false(there->spare_used);
    assert_int_equal(number->id, 6);
    assert_false(number->spare_used);
    assert_int_equal(batch.writes[2].id, 1);
    assert_int_equal(kit_number(kit, url, "SELECT count(*) FROM planned_events"), 6);
    assert_int_equal(kit_number(kit, url, "SELECT position FROM planned_events WHERE id = 'spare'"), 3);
    assert_int_equal(kit_number(kit, url, "SELECT position FROM planned_events WHERE id = '6'"), 6);
    storage_postgresql.close(other);
    storage_postgresql.close(engine);
}

/* The lost transaction waits for the counter, and fails on the tombstone when it goes on. */
static void lost_additions_may_fail(void **state)
{
    struct kit *kit = *state;
    const char *url = kit_database(kit);
    void *engine = kit_open(kit, url);
    struct batch batch;
    batch_begin(&batch);
    struct storage_write *write = batch_event(&batch, "a", "", "s");
    PGconn *holder = kit_hold(url, "UPDATE event_counter SET last_position = last_position");
    assert_int_equal(storage_postgresql.commit(engine, &batch.list, kit_in_ms(300)), STORAGE_UNKNOWN);
    assert_int_equal(batch_resolve(engine, &batch), STORAGE_AWAY);
    kit_let_go(holder);
    assert_int_equal(batch_commit(engine, &batch), STORAGE_OK);
    assert_int_equal(write->id, 1);
    assert_false(write->spare_used);
    assert_int_equal(kit_number(kit, url, "SELECT count(*) FROM planned_events"), 1);
    storage_postgresql.close(engine);
}

/* --- sessions that end in the middle --- */

static void expect_stored(struct kit *kit, const char *url, const struct storage_write *write)
{
    char sql[256];
    snprintf(sql, sizeof sql,
             "SELECT count(*) FROM planned_events WHERE name = '%s' AND position = %llu AND id = '%s'",
             write->name.bytes, (unsigned long long)write->id, write->event_id.bytes);
    if (write->event_id.length == 0)
        snprintf(sql, sizeof sql,
                 "SELECT count(*) FROM planned_events WHERE name = '%s' AND position = %llu AND id = "
                 "position::text",
                 write->name.bytes, (unsigned long long)write->id);
    assert_int_equal(kit_number(kit, url, sql), 1);
}

/* A commit is cut off at a random point; whatever was said of it is so. */
static void ended_sessions_lose_and_double_nothing(void **state)
{
    enum { ROUNDS = 60, EACH = 3 };
    struct kit *kit = *state;
    const char *url = kit_database(kit);
    void *engine = kit_open(kit, url);
    PGconn *killer = PQconnectdb(url);
    assert_int_equal(PQstatus(killer), CONNECTION_OK);
    long stored = 0;
    for (int round = 0; round < ROUNDS; round++) {
        struct batch batch;
        char names[EACH][KIT_TEXT_BYTES], ids[EACH][KIT_TEXT_BYTES];
        batch_begin(&batch);
        for (int i = 0; i < EACH; i++) {
            snprintf(names[i], KIT_TEXT_BYTES, "%d-%d", round, i);
            snprintf(ids[i], KIT_TEXT_BYTES, "id %d-%d", round, i);
            batch_event(&batch, names[i], i == 1 ? ids[i] : "", i == 1 ? "" : ids[i]);
        }
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
        stored += result == STORAGE_OK ? EACH : 0;
        for (size_t i = 0; result == STORAGE_OK && i < EACH; i++)
            expect_stored(kit, url, &batch.writes[i]);
        assert_int_equal(kit_number(kit, url, "SELECT count(*) FROM planned_events"), stored);
        poll(NULL, 0, 5);
    }
    assert_true(stored > 0);
    PQfinish(killer);
    storage_postgresql.close(engine);
}

/* --- a server that is away --- */

static bool ignore_event(void *context, const struct storage_planned_event *event)
{
    (void)context;
    (void)event;
    return true;
}

static bool ignore_user(void *context, const struct storage_planned_user *user)
{
    (void)context;
    (void)user;
    return true;
}

static void ignore_named(void *context, size_t index, struct text attributes)
{
    (void)context;
    (void)index;
    (void)attributes;
}

static bool ignore_id(void *context, size_t index, uint64_t position, struct text id)
{
    (void)context;
    (void)index;
    (void)position;
    (void)id;
    return true;
}

static void expect_reads(void *engine, enum storage_result expected)
{
    const struct text user = TEXT("u");
    const struct storage_planned_range range = {.limit = 1};
    const struct storage_event_ids_range ids = {.users = &user, .user_count = 1, .limit = 1};
    const struct storage_engine *kind = &storage_postgresql;
    uint64_t position;
    bool found = true;
    int64_t deadline_at = kit_in_ms(SLACK_MS);
    assert_int_equal(kind->planned_events(engine, &range, ignore_event, NULL, deadline_at), expected);
    assert_int_equal(kind->planned_position(engine, TEXT("1"), &position, &found, deadline_at), expected);
    assert_int_equal(found, expected == STORAGE_OK);
    assert_int_equal(kind->planned_users_named(engine, &user, 1, ignore_named, NULL, deadline_at), expected);
    assert_int_equal(kind->planned_users(engine, TEXT(""), 1, 0, ignore_user, NULL, deadline_at), expected);
    assert_int_equal(kind->planned_event_ids(engine, &ids, ignore_id, NULL, deadline_at), expected);
}

static void absence_changes_nothing(void **state)
{
    struct kit *kit = *state;
    const char *url = kit_database(kit);
    void *engine = kit_open(kit, url);
    struct batch batch;
    batch_begin(&batch);
    batch_event(&batch, "a", "", "s");
    assert_int_equal(batch_commit(engine, &batch), STORAGE_OK);
    expect_reads(engine, STORAGE_OK);
    assert_int_equal(postgres_stop(kit->postgres, true), 0);
    batch_begin(&batch);
    batch_event(&batch, "b", "", "s");
    assert_int_equal(batch_commit(engine, &batch), STORAGE_AWAY);
    expect_reads(engine, STORAGE_AWAY);
    assert_int_equal(postgres_restart(kit->postgres), 0);
    assert_int_equal(kit_number(kit, url, "SELECT count(*) FROM planned_events"), 1);
    int64_t deadline_at = kit_in_ms(KIT_WAIT_MS);
    while (batch_commit(engine, &batch) != STORAGE_OK) {
        assert_true(clock_monotonic_ns() < deadline_at);
        poll(NULL, 0, 10);
    }
    assert_int_equal(batch.writes[0].id, 2);
    expect_reads(engine, STORAGE_OK);
    storage_postgresql.close(engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lost_additions_may_be_stored),
        cmocka_unit_test(lost_additions_may_fail),
        cmocka_unit_test(ended_sessions_lose_and_double_nothing),
        cmocka_unit_test(absence_changes_nothing),
    };
    return cmocka_run_group_tests(tests, kit_setup, kit_teardown);
}
