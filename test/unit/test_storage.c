/* The storage by its face alone, with the same tests on both engines: what goes in comes out, in the order of the ids,
 * also after a restart; and what can't be opened is refused with a line that helps. */
#include "storage_engines_kit.h"

#include "storage/engine.h"

enum { MEGABYTE = 1024 * 1024, LIST_BYTES = 512 };

/* --- reading --- */

/* Ids with blanks behind, and how many are still wanted. */
struct id_list {
    char text[LIST_BYTES];
    size_t wanted;
};

static bool list_id(void *context, const struct storage_event *event)
{
    struct id_list *list = context;
    size_t length = strlen(list->text);
    snprintf(list->text + length, sizeof list->text - length, "%llu ", (unsigned long long)event->id);
    return --list->wanted > 0;
}

static void expect_ids(struct storage *storage, const struct storage_range *range, const char *expected)
{
    struct id_list list = {.wanted = SIZE_MAX};
    assert_int_equal(storage_events(storage, range, list_id, &list, kit_patience()), STORAGE_OK);
    assert_string_equal(list.text, expected);
}

static void expect_newest(struct storage *storage, uint64_t expected)
{
    uint64_t newest = 12345;
    assert_int_equal(storage_newest_id(storage, &newest, kit_patience()), STORAGE_OK);
    assert_int_equal(newest, expected);
}

static bool list_channel(void *context, struct text channel)
{
    char *text = context;
    size_t length = strlen(text);
    snprintf(text + length, LIST_BYTES - length, "%.*s ", (int)channel.length, channel.bytes);
    return true;
}

static void expect_subscriptions(struct storage *storage, struct text user, const char *expected)
{
    char text[LIST_BYTES] = "";
    assert_int_equal(storage_subscriptions(storage, user, list_channel, text, kit_patience()), STORAGE_OK);
    assert_string_equal(text, expected);
}

/* --- events --- */

static void a_new_database_is_empty(void **state)
{
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    struct storage_range range = {.up_to = UINT64_MAX, .limit = 10};
    assert_string_equal(storage_engine_name(storage), place->on_sqlite ? "sqlite" : "postgresql");
    assert_true(storage_is_available(storage));
    expect_newest(storage, 0);
    expect_ids(storage, &range, "");
    expect_subscriptions(storage, TEXT("user"), "");
    storage_close(storage);
    storage_close(NULL);
    storage_stop(NULL);
    database_file_remove(&place->file);
}

static bool expect_event(void *context, const struct storage_event *event)
{
    const struct storage_write **next = context;
    const struct storage_write *expected = (*next)++;
    assert_int_equal(event->id, expected->id);
    assert_true(event->created_ms == expected->created_ms);
    assert_true(text_equals(event->channel, expected->channel));
    assert_true(text_equals(event->event_type, expected->event_type));
    assert_true(text_equals(event->payload, expected->payload));
    return true;
}

static void texts_come_back_as_they_were(void **state)
{
    enum { COUNT = 6 };
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    char *large = malloc(MEGABYTE);
    assert_non_null(large);
    for (size_t i = 0; i < MEGABYTE; i++)
        large[i] = "abc\\\"'{}%$1\xC3\xA4"[i % 13];
    large[MEGABYTE - 1] = 'z'; /* not half a character */
    struct storage_write writes[COUNT] = {
        {.channel = TEXT("a"), .event_type = TEXT("t"), .payload = TEXT("{\"x\":1.0,\"x\":1e2}")},
        {.channel = TEXT("quote\"'`"), .event_type = TEXT("'; DROP"), .payload = TEXT("\"\\u0000\\\\\\\"\"")},
        {.channel = TEXT("back\\slash\\"), .event_type = TEXT("%s {}"), .payload = TEXT("null")},
        {.channel = TEXT("\xC3\xA4\xF0\x9F\x98\x80"),
         .event_type = TEXT("\xE2\x82\xAC"),
         .payload = TEXT("0")},
        {.channel = TEXT("NULL"), .event_type = TEXT("NULL"), .payload = {large, MEGABYTE}},
        {.channel = TEXT(" "), .event_type = TEXT("  t  "), .payload = TEXT("\"\xF0\x9F\x98\x80\"")},
    };
    static const int64_t times[COUNT] = {0, 1, 1700000000123, 253402300799999, -1, 999};
    for (size_t i = 0; i < COUNT; i++) {
        writes[i].created_ms = times[i];
        assert_int_equal(kit_write(storage, &writes[i]), STORAGE_OK);
        assert_int_equal(writes[i].id, i + 1);
    }
    for (int round = 0; round < 2; round++) {
        const struct storage_write *next = writes;
        struct storage_range range = {.up_to = UINT64_MAX, .limit = 100};
        assert_int_equal(storage_events(storage, &range, expect_event, &next, kit_patience()), STORAGE_OK);
        assert_ptr_equal(next, writes + COUNT);
        for (size_t i = 0; i < COUNT; i++) {
            next = &writes[i];
            range.channels = &writes[i].channel;
            range.channel_count = 1;
            assert_int_equal(storage_events(storage, &range, expect_event, &next, kit_patience()),
                             STORAGE_OK);
            assert_ptr_equal(next, &writes[i] + 1);
        }
        storage_close(storage);
        storage = place_open(place);
    }
    storage_close(storage);
    free(large);
    database_file_remove(&place->file);
}

static void ids_go_on_after_a_restart(void **state)
{
    struct place *place = place_make(*state);
    struct storage_range range = {.up_to = UINT64_MAX, .limit = 100};
    for (uint64_t round = 0; round < 3; round++) {
        struct storage *storage = place_open(place);
        expect_newest(storage, round * 2);
        assert_int_equal(kit_store(storage, "a", TEXT("1")), round * 2 + 1);
        expect_newest(storage, round * 2 + 1);
        kit_subscription(storage, STORAGE_SUBSCRIBE, "user", "a");
        assert_int_equal(kit_store(storage, "b", TEXT("2")), round * 2 + 2);
        storage_close(storage);
    }
    struct storage *storage = place_open(place);
    expect_newest(storage, 6);
    expect_ids(storage, &range, "1 2 3 4 5 6 ");
    expect_subscriptions(storage, TEXT("user"), "a ");
    storage_close(storage);
    database_file_remove(&place->file);
}

/* Twelve events: a at 1, 4, 7, 10; b at 2, 5, 8, 11; c at 3, 6, 9, 12. */
static struct storage *open_with_twelve(const struct place *place)
{
    struct storage *storage = place_open(place);
    for (int i = 0; i < 4; i++) {
        kit_store(storage, "a", TEXT("1"));
        kit_store(storage, "b", TEXT("2"));
        kit_store(storage, "c", TEXT("3"));
    }
    return storage;
}

static void ranges_choose_events(void **state)
{
    static const struct text channels[] = {TEXT("c"), TEXT("none"), TEXT("a")};
    static const struct {
        size_t channels;
        uint64_t after, up_to;
        size_t limit;
        const char *expected;
    } rows[] = {
        {0, 0, UINT64_MAX, 100, "1 2 3 4 5 6 7 8 9 10 11 12 "},
        {0, 0, UINT64_MAX, 3, "1 2 3 "},
        {0, 3, 7, 100, "4 5 6 7 "},
        {0, 3, 7, 4, "4 5 6 7 "},
        {0, 3, 4, 100, "4 "},
        {0, 4, 4, 100, ""},
        {0, 5, 4, 100, ""},
        {0, 12, UINT64_MAX, 100, ""},
        {0, UINT64_MAX, UINT64_MAX, 100, ""},
        {1, 0, UINT64_MAX, 100, "3 6 9 12 "},
        {1, 3, 9, 100, "6 9 "},
        {1, 2, 11, 2, "3 6 "},
        {2, 0, UINT64_MAX, 100, "3 6 9 12 "},
        {3, 0, UINT64_MAX, 100, "1 3 4 6 7 9 10 12 "},
        {3, 0, UINT64_MAX, 3, "1 3 4 "},
        {3, 0, UINT64_MAX, 1, "1 "},
        {3, 3, 10, 100, "4 6 7 9 10 "},
        {3, 3, 10, 5, "4 6 7 9 10 "},
        {3, 12, UINT64_MAX, 100, ""},
    };
    struct place *place = place_make(*state);
    struct storage *storage = open_with_twelve(place);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct storage_range range = {.channels = channels,
                                      .channel_count = rows[i].channels,
                                      .after = rows[i].after,
                                      .up_to = rows[i].up_to,
                                      .limit = rows[i].limit};
        expect_ids(storage, &range, rows[i].expected);
    }
    storage_close(storage);
    database_file_remove(&place->file);
}

static void visitors_may_stop(void **state)
{
    static const struct text channels[] = {TEXT("c"), TEXT("a")};
    struct place *place = place_make(*state);
    struct storage *storage = open_with_twelve(place);
    static const char *const expected[] = {"1 2 3 ", "3 6 9 ", "1 3 4 "};
    for (size_t count = 0; count < 3; count++) {
        struct storage_range range = {
            .channels = channels, .channel_count = count, .up_to = UINT64_MAX, .limit = 100};
        struct id_list list = {.wanted = 3};
        assert_int_equal(storage_events(storage, &range, list_id, &list, kit_patience()), STORAGE_OK);
        assert_string_equal(list.text, expected[count]);
        /* Nothing is left over for the next one. */
        list = (struct id_list){.wanted = 1};
        range.after = 9;
        assert_int_equal(storage_events(storage, &range, list_id, &list, kit_patience()), STORAGE_OK);
        assert_string_equal(list.text, count == 1 ? "12 " : "10 ");
    }
    assert_true(storage_is_available(storage));
    storage_close(storage);
    database_file_remove(&place->file);
}

static bool take_bytes(void *context, const struct storage_event *event)
{
    uint64_t *last = context;
    assert_int_equal(event->payload.length, MEGABYTE);
    assert_int_equal(event->id, *last + 1);
    *last = event->id;
    return true;
}

/* More than an engine may hold in memory at once. */
static void many_large_events_come_whole(void **state)
{
    enum { COUNT = 12 };
    static const struct text channels[] = {TEXT("b"), TEXT("a")};
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    char *large = malloc(MEGABYTE);
    assert_non_null(large);
    memset(large, '1', MEGABYTE);
    for (size_t i = 0; i < COUNT; i++)
        kit_store(storage, i % 2 == 0 ? "a" : "b", (struct text){large, MEGABYTE});
    for (size_t count = 0; count < 3; count += 2) {
        struct storage_range range = {
            .channels = channels, .channel_count = count, .up_to = UINT64_MAX, .limit = 100};
        uint64_t last = 0;
        assert_int_equal(storage_events(storage, &range, take_bytes, &last, kit_patience()), STORAGE_OK);
        assert_int_equal(last, COUNT);
    }
    free(large);
    storage_close(storage);
    database_file_remove(&place->file);
}

/* --- subscriptions --- */

static void subscriptions_are_a_sorted_set(void **state)
{
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    static const char *const channels[] = {"b", "a", "B", "b", "\xC3\xA4", "a b", "z", "a"};
    for (size_t i = 0; i < sizeof channels / sizeof channels[0]; i++)
        kit_subscription(storage, STORAGE_SUBSCRIBE, "us'er", channels[i]);
    kit_subscription(storage, STORAGE_SUBSCRIBE, "other", "a");
    expect_subscriptions(storage, TEXT("us'er"), "B a a b b z \xC3\xA4 ");
    expect_subscriptions(storage, TEXT("other"), "a ");
    expect_subscriptions(storage, TEXT("US'ER"), "");
    kit_subscription(storage, STORAGE_UNSUBSCRIBE, "us'er", "a");
    kit_subscription(storage, STORAGE_UNSUBSCRIBE, "us'er", "a");
    kit_subscription(storage, STORAGE_UNSUBSCRIBE, "us'er", "nothing");
    kit_subscription(storage, STORAGE_UNSUBSCRIBE, "nobody", "a");
    expect_subscriptions(storage, TEXT("us'er"), "B a b b z \xC3\xA4 ");
    expect_subscriptions(storage, TEXT("other"), "a ");
    kit_subscription(storage, STORAGE_SUBSCRIBE, "us'er", "a");
    expect_subscriptions(storage, TEXT("us'er"), "B a a b b z \xC3\xA4 ");
    /* They draw no ids. */
    expect_newest(storage, 0);
    storage_close(storage);
    database_file_remove(&place->file);
}

static void two_servers_share_a_database(void **state)
{
    struct place *place = place_make(*state);
    struct storage *first = place_open(place), *second = place_open(place);
    struct storage_range range = {.up_to = UINT64_MAX, .limit = 100};
    for (uint64_t id = 1; id <= 6; id++) {
        assert_int_equal(kit_store(id % 2 == 0 ? first : second, "a", TEXT("1")), id);
        expect_newest(id % 2 == 0 ? second : first, id);
    }
    expect_ids(first, &range, "1 2 3 4 5 6 ");
    expect_ids(second, &range, "1 2 3 4 5 6 ");
    kit_subscription(first, STORAGE_SUBSCRIBE, "user", "a");
    kit_subscription(second, STORAGE_SUBSCRIBE, "user", "a");
    kit_subscription(second, STORAGE_UNSUBSCRIBE, "user", "a");
    expect_subscriptions(first, TEXT("user"), "");
    storage_close(first);
    storage_close(second);
    database_file_remove(&place->file);
}

static void after_the_stop_it_can_be_read(void **state)
{
    struct place *place = place_make(*state);
    struct storage *storage = open_with_twelve(place);
    struct storage_range range = {.after = 10, .up_to = UINT64_MAX, .limit = 100};
    storage_stop(storage);
    storage_stop(storage);
    struct storage_write write = {.kind = STORAGE_SUBSCRIBE, .user = TEXT("user"), .channel = TEXT("a")};
    assert_int_equal(storage_write(storage, &write, kit_patience()), STORAGE_AWAY);
    assert_int_equal(storage_submit(storage, &write), -1);
    expect_ids(storage, &range, "11 12 ");
    expect_newest(storage, 12);
    expect_subscriptions(storage, TEXT("user"), "");
    storage_close(storage);
    database_file_remove(&place->file);
}

/* --- what can't be opened --- */

static void expect_refused(const struct place *place, const char *url, const char *part)
{
    char reason[STORAGE_REASON_BYTES] = "";
    struct storage_options options = {.url = url, .log = &place->file.log};
    assert_null(storage_open(&options, reason));
    if (strstr(reason, part) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", part, reason);
    assert_null(strchr(reason, '\n'));
}

static void newer_tables_are_refused(void **state)
{
    struct place *place = place_make(*state);
    storage_close(open_with_twelve(place));
    place_run(place,
              place->on_sqlite ? "PRAGMA user_version = 99" : "UPDATE schema_version SET version = 99");
    expect_refused(place, place->url, "version 99");
    expect_refused(place, place->url, "use a newer event-syncer");
    /* Nothing has been touched: the newer program finds all as it was. */
    char back[64];
    snprintf(back, sizeof back, "%s = %d",
             place->on_sqlite ? "PRAGMA user_version" : "UPDATE schema_version SET version",
             STORAGE_SCHEMA_VERSION);
    place_run(place, back);
    struct storage *storage = place_open(place);
    expect_newest(storage, 12);
    storage_close(storage);
    database_file_remove(&place->file);
}

static void addresses_of_no_kind_are_refused(void **state)
{
    static const char *const urls[] = {"",         "sqlite", "mysql://user@host/name", "/var/lib/events",
                                       "SQLITE:x", "file:x", "postgres:user@host",     " sqlite:x"};
    struct place *place = place_make(*state);
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++)
        expect_refused(place, urls[i], "sqlite:FILE or postgres://");
    expect_refused(place, "sqlite:", "no file is named");
    database_file_remove(&place->file);
}

static void files_that_cannot_be_are_refused(void **state)
{
    struct place *place = place_make(*state);
    char url[1024];
    snprintf(url, sizeof url, "%s/missing/events", place->url);
    expect_refused(place, url, "check that the folder exists");
    snprintf(url, sizeof url, "sqlite:%s", place->file.folder);
    expect_refused(place, url, place->file.folder);
    assert_int_not_equal(access(place->file.path, F_OK), 0);
    database_file_remove(&place->file);
}

static void a_file_that_is_no_database_stays_as_it_is(void **state)
{
    static const char line[] = "This is somebody's diary and no database at all.\n";
    struct place *place = place_make(*state);
    for (int lines = 1; lines < 200; lines += 198) {
        char bytes[sizeof line];
        FILE *file = fopen(place->file.path, "w");
        assert_non_null(file);
        for (int i = 0; i < lines; i++)
            fputs(line, file);
        fclose(file);
        expect_refused(place, place->url, "name another file");
        expect_refused(place, place->url, place->file.path);
        file = fopen(place->file.path, "r");
        assert_non_null(file);
        int found = 0;
        for (; fgets(bytes, sizeof bytes, file) != NULL; found++)
            assert_string_equal(bytes, line);
        fclose(file);
        assert_int_equal(found, lines);
    }
    database_file_remove(&place->file);
}

/* --- the program --- */

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(a_new_database_is_empty),
        ON_BOTH(texts_come_back_as_they_were),
        ON_BOTH(ids_go_on_after_a_restart),
        ON_BOTH(ranges_choose_events),
        ON_BOTH(visitors_may_stop),
        ON_BOTH(many_large_events_come_whole),
        ON_BOTH(subscriptions_are_a_sorted_set),
        ON_BOTH(two_servers_share_a_database),
        ON_BOTH(after_the_stop_it_can_be_read),
        ON_BOTH(newer_tables_are_refused),
        ON_SQLITE(addresses_of_no_kind_are_refused),
        ON_SQLITE(files_that_cannot_be_are_refused),
        ON_SQLITE(a_file_that_is_no_database_stays_as_it_is),
    };
    return cmocka_run_group_tests(tests, cluster_start, cluster_end);
}
