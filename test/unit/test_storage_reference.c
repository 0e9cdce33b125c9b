/* The reference table in the storage, with the same tests on both engines: pieces, the switch, purges, and that a
 * database of version 1 gets the tables for it. */
#include "storage_reference_kit.h"

/* --- tables --- */

static void a_new_database_has_no_table(void **state)
{
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    expect_table(storage, 0, 0, 0);
    expect_no_piece(storage, 1, 0);
    expect_no_piece(storage, 0, 0);
    expect_no_piece(storage, UINT64_MAX, UINT32_MAX);
    expect_purged(storage, 0, INT64_MAX, 0);
    assert_true(storage_is_available(storage));
    storage_close(storage);
    database_file_remove(&place->file);
}

static void pieces_come_back_as_they_were(void **state)
{
    enum { COUNT = 5 };
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    char *large = make_large();
    const struct {
        uint64_t generation;
        uint32_t number;
        struct text content;
    } rows[COUNT] = {
        {1, 0, TEXT("{\"u\":{\"plan\":\"pro\",\"x\":1.0,\"x\":1e2}}")},
        {1, 1, TEXT("")},
        {INT64_MAX, 0, TEXT("\xC3\xA4\xF0\x9F\x98\x80\xE2\x82\xAC '; DROP \\ {},\x01\n")},
        {INT64_MAX, UINT32_MAX, TEXT("NULL")},
        {2, 7, {large, LARGE}},
    };
    for (size_t i = 0; i < COUNT; i++)
        expect_stored(storage, piece_of(rows[i].generation, rows[i].number, rows[i].content, now_ms));
    expect_stored(storage, switch_of(INT64_MAX, UINT32_MAX, now_ms));
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < COUNT; i++)
            expect_piece(storage, rows[i].generation, rows[i].number, rows[i].content);
        expect_no_piece(storage, 1, 2);
        expect_no_piece(storage, 3, 0);
        expect_table(storage, INT64_MAX, UINT32_MAX, now_ms);
        storage_close(storage);
        storage = place_open(place);
    }
    storage_close(storage);
    free(large);
    database_file_remove(&place->file);
}

/* Of the years 0000 to 9999; a table without pieces is one, too. */
static void tables_replace_one_another(void **state)
{
    static const int64_t times[] = {
        0, -1, 1, -62167219200000, 253402300799999, -62167219199999, 1700000000123};
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place), *other = place_open(place);
    for (uint32_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        uint64_t generation = (uint64_t)INT64_MAX - i * UINT64_C(1234567890123456789);
        expect_stored(i % 2 == 0 ? storage : other, switch_of(generation, i, times[i]));
        expect_table(storage, generation, i, times[i]);
        expect_table(other, generation, i, times[i]);
    }
    assert_int_equal(place_number(place, "SELECT count(*) FROM reference_table"), 1);
    storage_close(storage);
    storage_close(other);
    database_file_remove(&place->file);
}

/* As after an outcome that was not known. */
static void a_piece_that_is_there_stays(void **state)
{
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    for (int i = 0; i < 3; i++)
        expect_stored(storage, piece_of(5, 0, i == 0 ? TEXT("first") : TEXT("again"), now_ms + i));
    expect_piece(storage, 5, 0, TEXT("first"));
    assert_int_equal(count_pieces(place, 5), 1);
    /* So does its time. */
    expect_purged(storage, 0, now_ms + 1, 1);
    storage_close(storage);
    database_file_remove(&place->file);
}

/* --- purges --- */

static void purges_spare_what_may_be_needed(void **state)
{
    enum { REPLACED = 10, CURRENT, UNDER_WAY, NEVER_FINISHED };
    const int64_t before_ms = now_ms - 3600 * 1000;
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place), *other = place_open(place);
    store_pieces(storage, REPLACED, 2, before_ms - 1);
    expect_stored(storage, piece_of(REPLACED, 2, TEXT("new"), now_ms));
    expect_stored(storage, switch_of(REPLACED, 3, now_ms - 1));
    store_pieces(other, NEVER_FINISHED, 2, before_ms - 1);
    store_pieces(other, UNDER_WAY, 2, before_ms);
    store_pieces(storage, CURRENT, 3, before_ms - 1);
    expect_stored(storage, switch_of(CURRENT, 3, now_ms));
    /* Of no table that is named, and none so old. */
    expect_purged(storage, 0, before_ms - 1, 0);
    expect_purged(storage, 99, INT64_MIN, 0);
    expect_purged(storage, REPLACED, before_ms, 5);
    expect_purged(storage, REPLACED, before_ms, 0);
    assert_int_equal(count_pieces(place, REPLACED), 0);
    assert_int_equal(count_pieces(place, NEVER_FINISHED), 0);
    assert_int_equal(count_pieces(place, UNDER_WAY), 2);
    assert_int_equal(count_pieces(place, CURRENT), 3);
    /* The current table stays, whatever is said. */
    expect_purged(other, CURRENT, INT64_MIN, 0);
    expect_purged(other, CURRENT, INT64_MAX, 2);
    assert_int_equal(count_pieces(place, UNDER_WAY), 0);
    for (uint32_t number = 0; number < 3; number++)
        expect_piece(storage, CURRENT, number, TEXT("[]"));
    expect_table(storage, CURRENT, 3, now_ms);
    storage_close(storage);
    storage_close(other);
    database_file_remove(&place->file);
}

static void purges_are_bounded(void **state)
{
    enum { CURRENT = 20, REPLACED, OLD };
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    store_pieces(storage, CURRENT, STORAGE_PURGE_PIECES + 4, 1);
    expect_stored(storage, switch_of(CURRENT, STORAGE_PURGE_PIECES + 4, now_ms));
    store_pieces(storage, REPLACED, 2 * STORAGE_PURGE_PIECES + 8, now_ms);
    expect_purged(storage, REPLACED, 0, STORAGE_PURGE_PIECES);
    expect_purged(storage, REPLACED, 0, STORAGE_PURGE_PIECES);
    expect_purged(storage, REPLACED, 0, 8);
    expect_purged(storage, REPLACED, 0, 0);
    /* For both reasons at once, each piece counts once. */
    store_pieces(storage, REPLACED, 12, 2);
    store_pieces(storage, OLD, 12, 3);
    expect_purged(storage, REPLACED, now_ms, STORAGE_PURGE_PIECES);
    expect_purged(storage, REPLACED, now_ms, 24 - STORAGE_PURGE_PIECES);
    expect_purged(storage, REPLACED, now_ms, 0);
    assert_int_equal(count_pieces(place, CURRENT), STORAGE_PURGE_PIECES + 4);
    assert_int_equal(place_number(place, "SELECT count(*) FROM reference_pieces"), STORAGE_PURGE_PIECES + 4);
    storage_close(storage);
    database_file_remove(&place->file);
}

/* --- a database of version 1 --- */

static const char sqlite_version_1[] =
    "CREATE TABLE events ("
    " id INTEGER PRIMARY KEY, channel TEXT NOT NULL, event_type TEXT NOT NULL, payload TEXT NOT NULL,"
    " created_at INTEGER NOT NULL);"
    "CREATE INDEX events_of_channel ON events (channel, id);"
    "CREATE TABLE event_counter (last_id INTEGER NOT NULL);"
    "INSERT INTO event_counter VALUES (2);"
    "CREATE TABLE user_subscriptions ("
    " user_id TEXT NOT NULL, channel TEXT NOT NULL, PRIMARY KEY (user_id, channel)) WITHOUT ROWID;"
    "INSERT INTO events VALUES (1, 'a', 'type', '{\"n\":1.0}', 1700000000123), (2, 'b', 'type', '2', -1);"
    "INSERT INTO user_subscriptions VALUES ('user', 'a');"
    "PRAGMA user_version = 1;";

static const char postgresql_version_1[] =
    "CREATE TABLE schema_version (version integer NOT NULL);"
    "INSERT INTO schema_version VALUES (1);"
    "CREATE TABLE events (id bigint PRIMARY KEY, channel text COLLATE \"C\" NOT NULL,"
    " event_type text NOT NULL, payload text NOT NULL, created_at timestamptz NOT NULL);"
    "CREATE INDEX events_of_channel ON events (channel, id);"
    "CREATE TABLE event_counter (last_id bigint NOT NULL);"
    "INSERT INTO event_counter VALUES (2);"
    "CREATE TABLE user_subscriptions (user_id text COLLATE \"C\", channel text COLLATE \"C\","
    " PRIMARY KEY (user_id, channel));"
    "CREATE TABLE write_batches (batch_id uuid PRIMARY KEY, outcome text NOT NULL, first_id bigint,"
    " last_id bigint, created_at timestamptz NOT NULL DEFAULT now(),"
    " CHECK (outcome = 'lost' OR (outcome = 'committed' AND first_id IS NOT NULL AND last_id IS NOT NULL)));"
    "INSERT INTO events VALUES"
    " (1, 'a', 'type', '{\"n\":1.0}', timestamptz 'epoch' + 1700000000123 * interval '1 millisecond'),"
    " (2, 'b', 'type', '2', timestamptz 'epoch' - interval '1 millisecond');"
    "INSERT INTO user_subscriptions VALUES ('user', 'a');";

static bool expect_event(void *context, const struct storage_event *event)
{
    static const struct storage_event expected[] = {
        {1, 1700000000123, TEXT("a"), TEXT("type"), TEXT("{\"n\":1.0}")},
        {2, -1, TEXT("b"), TEXT("type"), TEXT("2")},
    };
    uint64_t *last = context;
    assert_true(*last < 2);
    const struct storage_event *next = &expected[(*last)++];
    assert_int_equal(event->id, next->id);
    assert_true(event->created_ms == next->created_ms);
    assert_true(text_equals(event->channel, next->channel));
    assert_true(text_equals(event->event_type, next->event_type));
    assert_true(text_equals(event->payload, next->payload));
    return true;
}

static void databases_of_version_1_are_brought_up_to_date(void **state)
{
    struct place *place = place_make(*state);
    place_run(place, place->on_sqlite ? sqlite_version_1 : postgresql_version_1);
    for (int round = 0; round < 2; round++) {
        struct storage *storage = place_open(place);
        struct storage_range range = {.up_to = 2, .limit = 100};
        uint64_t last = 0;
        assert_int_equal(place_number(place, place->on_sqlite ? "PRAGMA user_version"
                                                              : "SELECT version FROM schema_version"),
                         STORAGE_SCHEMA_VERSION);
        assert_int_equal(storage_events(storage, &range, expect_event, &last, kit_patience()), STORAGE_OK);
        assert_int_equal(last, 2);
        assert_int_equal(place_number(place, "SELECT count(*) FROM user_subscriptions"), 1);
        assert_int_equal(kit_store(storage, "a", TEXT("3")), 3 + round);
        if (round == 0) {
            expect_table(storage, 0, 0, 0);
            expect_stored(storage, piece_of(40, 0, TEXT("[]"), now_ms));
            expect_stored(storage, switch_of(40, 1, now_ms));
        }
        expect_table(storage, 40, 1, now_ms);
        expect_piece(storage, 40, 0, TEXT("[]"));
        storage_close(storage);
    }
    database_file_remove(&place->file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_new_database_has_no_table),
        ON_BOTH(pieces_come_back_as_they_were),
        ON_BOTH(tables_replace_one_another),
        ON_BOTH(a_piece_that_is_there_stays),
        ON_BOTH(purges_spare_what_may_be_needed),
        ON_BOTH(purges_are_bounded),
        ON_BOTH(databases_of_version_1_are_brought_up_to_date),
    };
    return cmocka_run_group_tests(tests, cluster_start, cluster_end);
}
