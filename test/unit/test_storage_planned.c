/* Planned events and their users in the storage: what writes change, with the same tests on both engines. */
#include "storage_planned_kit.h"

#include "storage/engine.h"

/* --- added events --- */

static void a_new_database_has_none(void **state)
{
    const struct text nobody = TEXT("nobody");
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    expect_events(storage, NULL, 0);
    expect_events_of(storage, "u", NULL, 0);
    expect_users(storage, NULL, 0);
    assert_int_equal(position_of(storage, "1"), 0);
    assert_int_equal(position_of(storage, ""), 0);
    assert_int_equal(storage_planned_users_named(storage, &nobody, 1, NULL, NULL, kit_patience()),
                     STORAGE_OK);
    assert_int_equal(storage_planned_users_named(storage, NULL, 0, NULL, NULL, kit_patience()), STORAGE_OK);
    assert_true(storage_is_available(storage));
    storage_close(storage);
    database_file_remove(&place->file);
}

static void added_events_come_back_as_they_were(void **state)
{
    static const struct storage_planned_event expected[] = {
        {1, TEXT("1"), TEXT("hello"), TEXT("u"), TEXT("{\"n\":1.0,\"n\":1e2}")},
        {2, TEXT("2"), TEXT(""), TEXT("\xC3\xA4 'x'"), TEXT("null")},
        {3, TEXT("from/there"), TEXT("\xF0\x9F\x98\x80\n\x01'; DROP \\ {NULL}"), TEXT("u"), {NULL, 0}},
    };
    static const struct storage_planned_user users[] = {{TEXT("u"), {NULL, 0}},
                                                        {TEXT("\xC3\xA4 'x'"), {NULL, 0}}};
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    for (size_t i = 0; i < 3; i++) {
        struct storage_write write = {.kind = STORAGE_ADD_EVENT,
                                      .user = expected[i].user,
                                      .name = expected[i].name,
                                      .details = expected[i].details,
                                      .spare_id = TEXT("spare")};
        if (i == 2)
            write.event_id = expected[i].id;
        assert_int_equal(store(storage, write), i + 1);
    }
    for (int round = 0; round < 2; round++) {
        expect_events(storage, expected, 3);
        expect_users(storage, users, 2);
        assert_int_equal(position_of(storage, "from/there"), 3);
        assert_int_equal(position_of(storage, "spare"), 0);
        storage_close(storage);
        storage = place_open(place);
    }
    assert_int_equal(store(storage, add_of("u", "next", "", "s")), 4);
    assert_int_equal(
        place_number(place, "SELECT count(*) FROM planned_events WHERE details IS NULL AND position > 2"), 2);
    storage_close(storage);
    database_file_remove(&place->file);
}

static void a_number_that_is_taken_gives_way_to_the_spare_id(void **state)
{
    static const struct storage_planned_event expected[] = {
        {1, TEXT("3"), TEXT("up"), TEXT("u"), {NULL, 0}},
        {2, TEXT("2"), TEXT("two"), TEXT("u"), {NULL, 0}},
        {3, TEXT("spare"), TEXT("three"), TEXT("v"), {NULL, 0}},
        {4, TEXT("4"), TEXT("four"), TEXT("v"), {NULL, 0}},
    };
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    assert_int_equal(store(storage, add_of("u", "up", "3", "")), 1);
    assert_int_equal(store(storage, add_of("u", "two", "", "unused")), 2);
    struct storage_write write = add_of("v", "three", "", "spare");
    assert_int_equal(kit_write(storage, &write), STORAGE_OK);
    assert_int_equal(write.id, 3);
    assert_true(write.spare_used);
    assert_int_equal(store(storage, add_of("v", "four", "", "unused")), 4);
    expect_events(storage, expected, 4);
    storage_close(storage);
    database_file_remove(&place->file);
}

static void an_event_that_is_there_stays(void **state)
{
    static const struct storage_planned_event expected[] = {
        {1, TEXT("1"), TEXT("here"), TEXT("u"), {NULL, 0}},
        {2, TEXT("x"), TEXT("there"), TEXT("v"), {NULL, 0}},
    };
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    store(storage, add_of("u", "here", "", "s"));
    merge_events(storage, &expected[1], 1);
    assert_int_equal(store(storage, add_of("w", "other", "x", "")), 2);
    assert_int_equal(store(storage, add_of("w", "other", "1", "")), 1);
    expect_events(storage, expected, 2);
    assert_int_equal(place_number(place, "SELECT count(*) FROM planned_users"), 2);
    storage_close(storage);
    database_file_remove(&place->file);
}

/* --- users --- */

static void merged_users_replace_what_differs(void **state)
{
    static const struct storage_planned_user first[] = {
        {TEXT("b"), TEXT("{\"n\":1}")}, {TEXT("a"), {NULL, 0}},         {TEXT("c"), TEXT("{\"old\":1}")},
        {TEXT("b"), TEXT("{\"n\":2}")}, {TEXT("c"), TEXT("{\"c\":1}")}, {TEXT("c"), TEXT("{\"c\":3}")},
    };
    static const struct storage_planned_user second[] = {{TEXT("d"), TEXT("{}")},
                                                         {TEXT("b"), {NULL, 0}},
                                                         {TEXT("a"), TEXT("{\"a\":1}")},
                                                         {TEXT("u"), TEXT("[]")}};
    static const struct storage_planned_user after_first[] = {{TEXT("a"), {NULL, 0}},
                                                              {TEXT("b"), TEXT("{\"n\":2}")},
                                                              {TEXT("c"), TEXT("{\"c\":3}")},
                                                              {TEXT("u"), {NULL, 0}}};
    static const struct storage_planned_user after_second[] = {{TEXT("a"), TEXT("{\"a\":1}")},
                                                               {TEXT("b"), {NULL, 0}},
                                                               {TEXT("c"), TEXT("{\"c\":3}")},
                                                               {TEXT("d"), TEXT("{}")},
                                                               {TEXT("u"), TEXT("[]")}};
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    store(storage, add_of("u", "event", "", "s"));
    for (int i = 0; i < 2; i++) {
        merge_users(storage, first, 6);
        expect_users(storage, after_first, 4);
    }
    merge_users(storage, second, 4);
    merge_users(storage, NULL, 0);
    expect_users(storage, after_second, 5);
    /* An event for a user leaves what is known of it. */
    store(storage, add_of("c", "event", "", "s"));
    expect_users(storage, after_second, 5);
    storage_close(storage);
    database_file_remove(&place->file);
}

/* --- events of the upstream --- */

static void merged_events_are_added_in_their_order(void **state)
{
    static const struct storage_planned_event given[] = {
        {77, TEXT("z"), TEXT("old"), TEXT("lost"), TEXT("1")},
        {0, TEXT("y"), TEXT("y"), TEXT("v"), TEXT("{\"n\":1}")},
        {5, TEXT("z"), TEXT("older"), TEXT("lost"), {NULL, 0}},
        {1, TEXT("b"), TEXT("b"), TEXT("u"), {NULL, 0}},
        {1, TEXT("z"), TEXT("new"), TEXT("u"), {NULL, 0}},
        {2, TEXT("\xC3\xA4"), TEXT("a"), TEXT("w"), {NULL, 0}},
    };
    static const struct storage_planned_event expected[] = {
        {1, TEXT("1"), TEXT("first"), TEXT("u"), {NULL, 0}},
        {2, TEXT("z"), TEXT("new"), TEXT("u"), {NULL, 0}},
        {3, TEXT("y"), TEXT("y"), TEXT("v"), TEXT("{\"n\":1}")},
        {4, TEXT("b"), TEXT("b"), TEXT("u"), {NULL, 0}},
        {5, TEXT("\xC3\xA4"), TEXT("a"), TEXT("w"), {NULL, 0}},
        {6, TEXT("6"), TEXT("last"), TEXT("u"), {NULL, 0}},
    };
    static const struct storage_planned_user users[] = {
        {TEXT("u"), {NULL, 0}}, {TEXT("v"), {NULL, 0}}, {TEXT("w"), {NULL, 0}}};
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    assert_int_equal(store(storage, add_of("u", "first", "", "s")), 1);
    for (int i = 0; i < 3; i++)
        merge_events(storage, given, 6);
    merge_events(storage, NULL, 0);
    assert_int_equal(store(storage, add_of("u", "last", "", "t")), 6);
    expect_events(storage, expected, 6);
    expect_users(storage, users, 3);
    storage_close(storage);
    database_file_remove(&place->file);
}

static void merged_events_replace_what_differs(void **state)
{
    static const struct storage_planned_event first[] = {
        {0, TEXT("same"), TEXT("n"), TEXT("u"), TEXT("1")},
        {0, TEXT("name"), TEXT("n"), TEXT("u"), TEXT("1")},
        {0, TEXT("user"), TEXT("n"), TEXT("u"), TEXT("1")},
        {0, TEXT("details"), TEXT("n"), TEXT("u"), TEXT("1")},
        {0, TEXT("nothing"), TEXT("n"), TEXT("u"), TEXT("1")},
        {0, TEXT("thing"), TEXT("n"), TEXT("u"), {NULL, 0}},
    };
    static const struct storage_planned_event second[] = {
        {0, TEXT("fresh"), TEXT("n"), TEXT("x"), {NULL, 0}},
        {0, TEXT("thing"), TEXT("n"), TEXT("u"), TEXT("2")},
        {0, TEXT("added"), TEXT("m"), TEXT("v"), TEXT("2")},
        {0, TEXT("name"), TEXT("m"), TEXT("u"), TEXT("1")},
        {0, TEXT("user"), TEXT("n"), TEXT("v"), TEXT("1")},
        {0, TEXT("details"), TEXT("n"), TEXT("u"), TEXT("2")},
        {0, TEXT("nothing"), TEXT("n"), TEXT("u"), {NULL, 0}},
        {0, TEXT("8"), TEXT("m"), TEXT("lost"), TEXT("2")},
        {0, TEXT("same"), TEXT("n"), TEXT("u"), TEXT("1")},
    };
    static const struct storage_planned_event expected[] = {
        {1, TEXT("same"), TEXT("n"), TEXT("u"), TEXT("1")},
        {2, TEXT("name"), TEXT("m"), TEXT("u"), TEXT("1")},
        {3, TEXT("user"), TEXT("n"), TEXT("v"), TEXT("1")},
        {4, TEXT("details"), TEXT("n"), TEXT("u"), TEXT("2")},
        {5, TEXT("nothing"), TEXT("n"), TEXT("u"), {NULL, 0}},
        {6, TEXT("thing"), TEXT("n"), TEXT("u"), TEXT("2")},
        {7, TEXT("added"), TEXT("m"), TEXT("v"), TEXT("2")},
        {8, TEXT("8"), TEXT("here"), TEXT("w"), {NULL, 0}},
        {9, TEXT("fresh"), TEXT("n"), TEXT("x"), {NULL, 0}},
    };
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    merge_events(storage, first, 6);
    store(storage, add_of("u", "n", "added", ""));
    store(storage, add_of("w", "here", "", "s"));
    for (int i = 0; i < 2; i++) {
        merge_events(storage, second, 9);
        expect_events(storage, expected, 9);
    }
    assert_int_equal(place_number(place, "SELECT count(*) FROM planned_users"), 4);
    storage_close(storage);
    database_file_remove(&place->file);
}

/* Neither by a row's version (PostgreSQL) nor by a trigger (SQLite); not even a lock is left in it. */
static void unchanged_rows_are_not_written(void **state)
{
    static const char log_of_writes[] =
        "CREATE TABLE written (n);"
        "CREATE TRIGGER e AFTER UPDATE ON planned_events BEGIN INSERT INTO written VALUES (1); END;"
        "CREATE TRIGGER u AFTER UPDATE ON planned_users BEGIN INSERT INTO written VALUES (1); END;"
        "CREATE TRIGGER c AFTER UPDATE ON event_counter BEGIN INSERT INTO written VALUES (1); END;";
    static const char written[] = "SELECT count(*) FROM written";
    static const char versions[] =
        "SELECT sum(hashtext(xmin::text || xmax::text || ctid::text)) FROM (SELECT xmin,"
        " xmax, ctid FROM planned_events UNION ALL SELECT xmin, xmax, ctid"
        " FROM planned_users) r";
    const struct storage_planned_user users[] = {{TEXT("u0"), TEXT("{}")}, {TEXT("u1"), {NULL, 0}}};
    struct place *place = place_make(*state);
    struct many_events many = many_events_make(STORAGE_MERGE_MAX);
    struct storage *storage = place_open(place);
    many.events[1].details = TEXT("[1]");
    merge_users(storage, users, 2);
    many_events_merge(storage, &many);
    if (place->on_sqlite)
        place_run(place, log_of_writes);
    int64_t before = place_number(place, place->on_sqlite ? written : versions);
    many_events_merge(storage, &many);
    merge_users(storage, users, 2);
    assert_true(place_number(place, place->on_sqlite ? written : versions) == before);
    many.events[2].name = TEXT("m");
    many_events_merge(storage, &many);
    assert_true(place_number(place, place->on_sqlite ? written : versions) != before);
    expect_events(storage, many.events, many.count);
    many_events_free(&many);
    storage_close(storage);
    database_file_remove(&place->file);
}

static void merges_have_a_bound(void **state)
{
    struct place *place = place_make(*state);
    struct many_events many = many_events_make(STORAGE_MERGE_MAX + 1);
    struct storage *storage = place_open(place);
    struct storage_write write = merge_events_of(many.events, many.count);
    assert_int_equal(kit_write(storage, &write), STORAGE_NO_MEMORY);
    assert_int_equal(storage_submit(storage, &write), -1);
    expect_events(storage, NULL, 0);
    many_events_merge(storage, &many);
    expect_events(storage, many.events, many.count);
    many_events_free(&many);
    storage_close(storage);
    database_file_remove(&place->file);
}

/* --- a database of version 2 --- */

/* What later versions added is taken away again. */
static const char back_to_version_2[] = "DROP TABLE users_revenue; DROP TABLE journal_checkpoints;"
                                        "DROP TABLE planned_users; DROP TABLE planned_events; ALTER TABLE "
                                        "event_counter DROP COLUMN last_position;";
static const char sqlite_version_2[] = "PRAGMA user_version = 2;";
static const char postgresql_version_2[] =
    "ALTER TABLE write_batches DROP COLUMN last_position, DROP COLUMN counted;"
    "UPDATE schema_version SET version = 2;";

static bool count_event(void *context, const struct storage_event *event)
{
    size_t *count = context;
    ++*count;
    assert_int_equal(event->id, *count);
    assert_true(text_equals(event->payload, TEXT("{\"n\":1.0}")));
    return true;
}

static void databases_of_version_2_are_brought_up_to_date(void **state)
{
    static const struct storage_planned_event expected[] = {
        {1, TEXT("1"), TEXT("n"), TEXT("user"), {NULL, 0}},
        {2, TEXT("2"), TEXT("n"), TEXT("user"), {NULL, 0}}};
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    kit_store(storage, "a", TEXT("{\"n\":1.0}"));
    kit_subscription(storage, STORAGE_SUBSCRIBE, "user", "a");
    struct storage_write piece = {
        .kind = STORAGE_REFERENCE_PIECE, .generation = 40, .payload = TEXT("[]"), .created_ms = 1};
    assert_int_equal(kit_write(storage, &piece), STORAGE_OK);
    storage_close(storage);
    place_run(place, back_to_version_2);
    place_run(place, place->on_sqlite ? sqlite_version_2 : postgresql_version_2);
    for (size_t round = 1; round <= 2; round++) {
        storage = place_open(place);
        assert_int_equal(place_number(place, place->on_sqlite ? "PRAGMA user_version"
                                                              : "SELECT version FROM schema_version"),
                         STORAGE_SCHEMA_VERSION);
        assert_int_equal(store(storage, add_of("user", "n", "", "s")), round);
        expect_events(storage, expected, round);
        assert_int_equal(kit_store(storage, "a", TEXT("{\"n\":1.0}")), round + 1);
        const struct storage_range range = {.up_to = UINT64_MAX, .limit = 100};
        size_t count = 0;
        assert_int_equal(storage_events(storage, &range, count_event, &count, kit_patience()), STORAGE_OK);
        assert_int_equal(count, round + 1);
        assert_int_equal(place_number(place, "SELECT count(*) FROM user_subscriptions"), 1);
        assert_int_equal(place_number(place, "SELECT generation FROM reference_pieces"), 40);
        storage_close(storage);
    }
    database_file_remove(&place->file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_new_database_has_none),
        ON_BOTH(added_events_come_back_as_they_were),
        ON_BOTH(a_number_that_is_taken_gives_way_to_the_spare_id),
        ON_BOTH(an_event_that_is_there_stays),
        ON_BOTH(merged_users_replace_what_differs),
        ON_BOTH(merged_events_are_added_in_their_order),
        ON_BOTH(merged_events_replace_what_differs),
        ON_BOTH(unchanged_rows_are_not_written),
        ON_BOTH(merges_have_a_bound),
        ON_BOTH(databases_of_version_2_are_brought_up_to_date),
    };
    return cmocka_run_group_tests(tests, cluster_start, cluster_end);
}
