/* Revenue in batches with writes of other kinds, given to the engines directly, so that a batch is what the test says; the
 * same tests on both. And how a commit that fails leaves it (SQLite; PostgreSQL: test_storage_revenue_faults.c). */
#include "storage_revenue_kit.h"

#include "storage/engine.h"

enum { BATCH_MAX = 8 };

/* Runs all of them as one batch. */
static enum storage_result run_batch(const struct place *place, struct storage_write writes[], size_t count)
{
    char reason[STORAGE_REASON_BYTES] = "";
    const struct storage_options options = {.url = place->url, .log = &place->file.log};
    const struct storage_engine *engine = place->on_sqlite ? &storage_sqlite : &storage_postgresql;
    struct storage_write_list list = STAILQ_HEAD_INITIALIZER(list);
    for (size_t i = 0; i < count; i++)
        STAILQ_INSERT_TAIL(&list, &writes[i], link);
    void *state = engine->open(&options, reason);
    assert_string_equal(reason, "");
    enum storage_result result = engine->commit(state, &list, kit_in_ms(20000));
    engine->close(state);
    return result;
}

static struct storage_write publish_of(const char *channel)
{
    return (struct storage_write){.kind = STORAGE_PUBLISH,
                                  .channel = text_from(channel),
                                  .event_type = TEXT("type"),
                                  .payload = TEXT("1")};
}

static const struct storage_revenue tenth[] = {{TEXT("u"), TEXT("0.1")}, {TEXT("v"), TEXT("-0.1")}};
static const struct storage_revenue large = {TEXT("large"), TEXT("999999999999999999999999999999999999")};

static void expect_outcome(const struct storage_write *write, bool overtaken, bool overflowed)
{
    assert_int_equal(write->overtaken, overtaken);
    assert_int_equal(write->overflowed, overflowed);
}

static void all_kinds_share_a_batch(void **state)
{
    static const struct storage_planned_user user = {TEXT("p"), TEXT("{}")};
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    struct storage_write writes[] = {
        publish_of("a"),
        count_of("f", 0, 10, tenth, 2),
        {.kind = STORAGE_ADD_EVENT, .user = TEXT("p"), .name = TEXT("n"), .spare_id = TEXT("s")},
        {.kind = STORAGE_SUBSCRIBE, .user = TEXT("u"), .channel = TEXT("a")},
        {.kind = STORAGE_REFERENCE_PURGE, .generation = 1},
        count_of("f", 10, 20, tenth, 1),
        {.kind = STORAGE_MERGE_USERS, .users = &user, .count = 1},
        publish_of("b"),
        {.kind = STORAGE_UNSUBSCRIBE, .user = TEXT("u"), .channel = TEXT("a")},
    };
    assert_int_equal(run_batch(place, writes, sizeof writes / sizeof writes[0]), STORAGE_OK);
    expect_outcome(&writes[1], false, false);
    expect_outcome(&writes[5], false, false);
    assert_int_equal(writes[0].id, 1);
    assert_int_equal(writes[2].id, 1);
    assert_int_equal(writes[7].id, 2);
    assert_int_equal(place_number(place, "SELECT count(*) FROM events"), 2);
    assert_int_equal(place_number(place, "SELECT count(*) FROM planned_users"), 1);
    expect_revenue(storage, "u", "0.2");
    expect_revenue(storage, "v", "-0.1");
    expect_checkpoint(storage, "f", 20);
    storage_close(storage);
    database_file_remove(&place->file);
}

/* What one of them finds depends on those before it. */
static void each_has_its_own_outcome(void **state)
{
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    struct storage_write writes[BATCH_MAX] = {
        count_of("f", 5, 10, tenth, 2),   count_of("f", 0, 10, tenth, 2),
        count_of("f", 0, 15, tenth, 2),   count_of("f", 10, 20, &large, 1),
        count_of("f", 20, 30, &large, 1), count_of("f", 20, 40, tenth, 2),
        count_of("g", 0, 5, tenth, 2),    publish_of("a"),
    };
    assert_int_equal(run_batch(place, writes, BATCH_MAX), STORAGE_OK);
    expect_outcome(&writes[0], true, false);
    expect_outcome(&writes[1], false, false);
    expect_outcome(&writes[2], true, false);
    expect_outcome(&writes[3], false, false);
    expect_outcome(&writes[4], false, true);
    expect_outcome(&writes[5], false, false);
    expect_outcome(&writes[6], false, false);
    expect_revenue(storage, "u", "0.3");
    expect_revenue(storage, "large", large.amount.bytes);
    expect_checkpoint(storage, "f", 40);
    expect_checkpoint(storage, "g", 5);
    assert_int_equal(place_number(place, "SELECT count(*) FROM events"), 1);
    storage_close(storage);
    database_file_remove(&place->file);
}

/* The database does not take a sum, a checkpoint, or something else of the batch: nothing of it is stored. */
static void refused_batches_change_nothing(void **state)
{
    static const struct {
        const char *sqlite;
        const char *postgresql;
    } refuse[] = {
        {"CREATE TRIGGER r BEFORE INSERT ON users_revenue WHEN new.user_id = 'v'"
         " BEGIN SELECT RAISE(ABORT, 'no'); END",
         "ALTER TABLE users_revenue ADD CONSTRAINT r CHECK (user_id <> 'v')"},
        {"DROP TRIGGER r; CREATE TRIGGER r BEFORE INSERT ON journal_checkpoints WHEN new.position > 10"
         " BEGIN SELECT RAISE(ABORT, 'no'); END",
         "ALTER TABLE users_revenue DROP CONSTRAINT r;"
         "ALTER TABLE journal_checkpoints ADD CONSTRAINT r CHECK (position <= 10)"},
        {"DROP TRIGGER r; CREATE TRIGGER r BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no'); END",
         "ALTER TABLE journal_checkpoints DROP CONSTRAINT r; ALTER TABLE events ADD CHECK (channel <> 'a')"},
    };
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    count_revenue(storage, "f", 0, 10, "u", "5");
    for (size_t i = 0; i < 3; i++) {
        struct storage_write writes[] = {count_of("f", 10, 20, tenth, 2), publish_of("a")};
        place_run(place, place->on_sqlite ? refuse[i].sqlite : refuse[i].postgresql);
        assert_int_equal(run_batch(place, writes, 2), STORAGE_AWAY);
        expect_revenue(storage, "u", "5");
        expect_revenue(storage, "v", "");
        expect_checkpoint(storage, "f", 10);
        assert_int_equal(place_number(place, "SELECT count(*) FROM events"), 0);
    }
    count_revenues(storage, "f", 10, 20, tenth, 2);
    expect_revenue(storage, "u", "5.1");
    storage_close(storage);
    database_file_remove(&place->file);
}

static void the_largest_write_is_in_time(void **state)
{
    static struct storage_revenue revenues[STORAGE_REVENUES_MAX];
    static char users[STORAGE_REVENUES_MAX][32];
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    for (size_t i = 0; i < STORAGE_REVENUES_MAX; i++) {
        snprintf(users[i], sizeof users[i], "user %zu", i * 7919 % STORAGE_REVENUES_MAX);
        revenues[i] = (struct storage_revenue){.user = text_from(users[i]), .amount = TEXT("-20.05")};
    }
    for (uint64_t i = 0; i < 3; i++) {
        struct storage_write write = count_of("f", i, i + 1, revenues, STORAGE_REVENUES_MAX);
        assert_int_equal(storage_write(storage, &write, clock_monotonic_ns() + STORAGE_CALL_NS), STORAGE_OK);
        expect_outcome(&write, false, false);
    }
    assert_int_equal(place_number(place, "SELECT count(*) FROM users_revenue"), STORAGE_REVENUES_MAX);
    assert_int_equal(place_number(place, place->on_sqlite
                                             ? "SELECT count(*) FROM users_revenue WHERE revenue = '-60.15'"
                                             : "SELECT count(*) FROM users_revenue WHERE revenue = -60.15"),
                     STORAGE_REVENUES_MAX);
    storage_close(storage);
    database_file_remove(&place->file);
}

/* Another program holds the lock. */
static void a_locked_database_changes_nothing(void **state)
{
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    struct storage_write write = count_of("f", 0, 10, tenth, 2);
    sqlite3 *holder = NULL;
    assert_int_equal(sqlite3_open(place->file.path, &holder), SQLITE_OK);
    assert_int_equal(sqlite3_exec(holder, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(storage_write(storage, &write, kit_in_ms(1500)), STORAGE_AWAY);
    expect_checkpoint(storage, "f", 0);
    expect_revenue(storage, "u", "");
    sqlite3_close(holder);
    count_revenues(storage, "f", 0, 10, tenth, 2);
    expect_revenue(storage, "u", "0.1");
    storage_close(storage);
    database_file_remove(&place->file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(all_kinds_share_a_batch),
        ON_BOTH(each_has_its_own_outcome),
        ON_BOTH(refused_batches_change_nothing),
        ON_BOTH(the_largest_write_is_in_time),
        ON_SQLITE(a_locked_database_changes_nothing),
    };
    return cmocka_run_group_tests(tests, cluster_start, cluster_end);
}
