/* Revenue while the sync of SQLite's log is late or fails, and what it counts for in the bound of a batch. */
#include "writes_kit.h"

static void make_count(struct record *record, struct fixture *fixture, uint64_t before, uint64_t after,
                       const struct storage_revenue *revenues, size_t count)
{
    record_make(record, fixture, STORAGE_COUNT_REVENUE, "");
    record->write.file = TEXT("f");
    record->write.position_before = before;
    record->write.position_after = after;
    record->write.revenues = revenues;
    record->write.count = count;
}

static int64_t stored_revenue(struct fixture *fixture)
{
    return database_file_number(&fixture->file, "SELECT coalesce(sum(CAST(revenue AS INTEGER)), 0)"
                                                " FROM users_revenue");
}

static int64_t stored_position(struct fixture *fixture)
{
    return database_file_number(&fixture->file, "SELECT coalesce(max(position), 0) FROM journal_checkpoints");
}

static const struct storage_revenue seven = {TEXT("u"), TEXT("7")};

/* The outcome is found out by a later commit: it had none. */
static void failed_syncs_count_nothing(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make();
    struct record records[2];
    make_count(&records[0], fixture, 0, 10, &seven, 1);
    gate_set(false, 1);
    assert_int_equal(storage_submit(fixture->storage, &records[0].write), 0);
    await_calls(fixture, 1);
    expect_call(&records[0], 0, STORAGE_AWAY, false);
    assert_int_equal(stored_revenue(fixture), 0);
    assert_int_equal(stored_position(fixture), 0);
    make_count(&records[1], fixture, 0, 10, &seven, 1);
    assert_int_equal(storage_submit(fixture->storage, &records[1].write), 0);
    await_calls(fixture, 2);
    expect_call(&records[1], 0, STORAGE_OK, false);
    assert_false(records[1].write.overtaken);
    assert_int_equal(stored_revenue(fixture), 7);
    assert_int_equal(stored_position(fixture), 10);
    fixture_free(fixture);
}

/* Its caller's time is over before the commit ends: who asks again finds it counted. */
static void an_unknown_outcome_is_told_later(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make();
    struct record late, again;
    make_count(&late, fixture, 0, 10, &seven, 1);
    gate_set(true, 0);
    assert_int_equal(storage_write(fixture->storage, &late.write, kit_in_ms(1000)), STORAGE_UNKNOWN);
    gate_set(false, 0);
    await_calls(fixture, 1);
    expect_call(&late, 0, STORAGE_OK, true);
    assert_false(late.write.overtaken);
    make_count(&again, fixture, 0, 10, &seven, 1);
    assert_int_equal(storage_submit(fixture->storage, &again.write), 0);
    await_calls(fixture, 2);
    expect_call(&again, 0, STORAGE_OK, false);
    assert_true(again.write.overtaken);
    assert_int_equal(stored_revenue(fixture), 7);
    fixture_free(fixture);
}

/* --- batches --- */

struct sized {
    struct record record; /* the first member */
    int64_t position;
};

/* The writer thread makes no commit meanwhile. */
static void see_sized(struct storage_write *write, enum storage_result result, bool abandoned)
{
    struct sized *sized = (struct sized *)(void *)write;
    sized->position = stored_position(sized->record.fixture);
    see_settled(write, result, abandoned);
}

/* Two large ones are two batches; what is small goes with the second. */
static void large_writes_go_alone(void **state)
{
    enum { COUNT = 3 };
    static struct storage_revenue revenues[STORAGE_REVENUES_MAX];
    static char users[STORAGE_REVENUES_MAX][16];
    static const int64_t positions[COUNT] = {10, 30, 30};
    struct sized sized[COUNT];
    (void)state;
    struct fixture *fixture = fixture_make();
    struct record first;
    for (size_t i = 0; i < STORAGE_REVENUES_MAX; i++) {
        snprintf(users[i], sizeof users[i], "%zu", i);
        revenues[i] = (struct storage_revenue){.user = text_from(users[i]), .amount = TEXT("1")};
    }
    gate_set(true, 0);
    submit(&first, fixture, STORAGE_PUBLISH, "a");
    gate_await_waiting();
    for (size_t i = 0; i < COUNT; i++) {
        make_count(&sized[i].record, fixture, 10 * i, 10 * i + 10, revenues,
                   i == COUNT - 1 ? 1 : STORAGE_REVENUES_MAX);
        sized[i].record.write.settled = see_sized;
        assert_int_equal(storage_submit(fixture->storage, &sized[i].record.write), 0);
    }
    gate_set(false, 0);
    await_calls(fixture, 1 + COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        expect_call(&sized[i].record, 0, STORAGE_OK, false);
        assert_false(sized[i].record.write.overtaken);
        assert_int_equal(sized[i].position, positions[i]);
    }
    assert_int_equal(stored_revenue(fixture), 2 * STORAGE_REVENUES_MAX + 1);
    fixture_free(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failed_syncs_count_nothing),
        cmocka_unit_test(an_unknown_outcome_is_told_later),
        cmocka_unit_test(large_writes_go_alone),
    };
    return cmocka_run_group_tests(tests, install_gate, NULL);
}
