/* How planned events share batches: what they count for in the bound of a batch. */
#include "writes_kit.h"

enum { MEGABYTE = 1024 * 1024, COUNT = 6 };

/* How many events and users there are when a write is settled. The writer thread makes no commit meanwhile. */
struct sized {
    struct record record; /* the first member */
    int64_t stored;
};

static void see_sized(struct storage_write *write, enum storage_result result, bool abandoned)
{
    struct sized *sized = (struct sized *)(void *)write;
    sized->stored = database_file_number(
        &sized->record.fixture->file,
        "SELECT (SELECT count(*) FROM planned_events) + 1000 * (SELECT count(*) FROM planned_users)");
    see_settled(write, result, abandoned);
}

/* Submits them while a commit is under way, so that they wait together, and compares what was there behind each. */
static void expect_batches(const struct storage_write writes[COUNT], const int64_t stored[COUNT])
{
    static struct sized sized[COUNT];
    struct fixture *fixture = fixture_make();
    struct record first;
    gate_set(true, 0);
    submit(&first, fixture, STORAGE_PUBLISH, "a");
    gate_await_waiting();
    for (size_t i = 0; i < COUNT; i++) {
        sized[i] = (struct sized){.record = {.write = writes[i], .fixture = fixture}};
        sized[i].record.write.settled = see_sized;
        assert_int_equal(storage_submit(fixture->storage, &sized[i].record.write), 0);
    }
    gate_set(false, 0);
    await_calls(fixture, 1 + COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        expect_call(&sized[i].record, 0, STORAGE_OK, false);
        assert_int_equal(sized[i].stored, stored[i]);
    }
    fixture_free(fixture);
}

/* Each has 3 MB: two fit. */
static void texts_count(void **state)
{
    (void)state;
    char *large = malloc(3 * MEGABYTE);
    assert_non_null(large);
    memset(large, '1', 3 * MEGABYTE);
    const struct text text = {large, 3 * MEGABYTE};
    const struct storage_planned_user user = {.id = TEXT("w"), .attributes = text};
    const struct storage_planned_event named = {.id = TEXT("a"), .user = TEXT("u"), .name = text};
    const struct storage_planned_event detailed = {.id = TEXT("b"), .user = TEXT("u"), .details = text};
    const struct storage_write writes[COUNT] = {
        {.kind = STORAGE_ADD_EVENT, .user = TEXT("u"), .name = text},
        {.kind = STORAGE_ADD_EVENT, .user = TEXT("u"), .details = text},
        {.kind = STORAGE_MERGE_EVENTS, .events = &named, .count = 1},
        {.kind = STORAGE_MERGE_EVENTS, .events = &detailed, .count = 1},
        {.kind = STORAGE_MERGE_USERS, .users = &user, .count = 1},
        {.kind = STORAGE_ADD_EVENT, .user = TEXT("v"), .name = text},
    };
    const int64_t stored[COUNT] = {1002, 1002, 1004, 1004, 3005, 3005};
    expect_batches(writes, stored);
    free(large);
}

/* So do rows without much text, which have to be looked for all the same: these merges are two batches. */
static void rows_count(void **state)
{
    enum { MERGES = 24, ROWS = MERGES * STORAGE_MERGE_MAX, USER = 1000 };
    static struct storage_planned_event events[ROWS];
    static char ids[ROWS][16];
    static struct sized sized[MERGES];
    (void)state;
    struct fixture *fixture = fixture_make();
    struct record first;
    for (size_t i = 0; i < ROWS; i++) {
        snprintf(ids[i], sizeof ids[i], "%zu", i);
        events[i] = (struct storage_planned_event){.id = text_from(ids[i]), .user = TEXT("u")};
    }
    gate_set(true, 0);
    submit(&first, fixture, STORAGE_PUBLISH, "a");
    gate_await_waiting();
    for (size_t i = 0; i < MERGES; i++) {
        struct storage_write *write = &sized[i].record.write;
        record_make(&sized[i].record, fixture, STORAGE_MERGE_EVENTS, "");
        write->events = events + i * STORAGE_MERGE_MAX;
        write->count = STORAGE_MERGE_MAX;
        write->settled = see_sized;
        assert_int_equal(storage_submit(fixture->storage, write), 0);
    }
    gate_set(false, 0);
    await_calls(fixture, 1 + MERGES);
    for (size_t i = 0; i < MERGES; i++)
        expect_call(&sized[i].record, 0, STORAGE_OK, false);
    assert_true(sized[0].stored >= USER + ROWS / 2);
    assert_true(sized[0].stored < USER + ROWS);
    assert_int_equal(sized[MERGES - 1].stored, USER + ROWS);
    fixture_free(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_count),
        cmocka_unit_test(rows_count),
    };
    return cmocka_run_group_tests(tests, install_gate, NULL);
}
