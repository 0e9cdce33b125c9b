/* PUT /reference/users: what a table is, how it replaces the one before, and that a refused one changes nothing. */
#include <stdio.h>
#include <string.h>

#include "kit_metrics.h"

#define MEBIBYTE 1048576

/* A position is one of the first byte that can't belong to a valid value, both counted from 1. */
#define AT(line, column) "[Ll]ine " #line "([^0-9].*)?[Cc]olumn " #column "([^0-9]|$)"
#define SOMEWHERE        "[Ll]ine [0-9]+.*[Cc]olumn [0-9]+"

#define TS "2025-10-08T12:00:00.000Z"

/* A server whose table has one user, u, of plan old, with one event. */
static struct kit_server *serve_with_table(struct kit *kit)
{
    struct kit_server *server = kit_serve(kit);
    kit_put_users(server, "{\"u\":{\"plan\":\"old\",\"region\":\"eu\"}}", TS);
    kit_add_events(server, 1, "u", "click", -1000);
    return server;
}

static void check_old_table(struct kit_server *server)
{
    kit_assert_metrics(server, 300, .unique_users = 1, .plans = "old=1", .regions = "eu=1",
                       .types = "click=1");
}

static void a_table_is_answered_exactly(void **state)
{
    static const char body[] =
        "{\"user_metadata\":{\"u-123\":{\"plan\":\"pro\",\"region\":\"eu\"}},\"ts\":\"" TS "\"}";
    struct kit_server *server = kit_serve(*state);
    const struct kit_response *response = kit_put(server, body);
    kit_assert_status(response, 200);
    kit_assert_body(response, "{\"message\":\"Reference table updated successfully\"}");
    kit_assert_header(response, "Content-Type", KIT_JSON);
    kit_assert_metrics(server, 300, .plans = "pro=0", .regions = "eu=0", .types = "");
}

static void members_come_in_any_order_and_others_are_ignored(void **state)
{
    static const char *const bodies[] = {
        "{\"ts\":\"" TS "\",\"user_metadata\":{\"u\":{\"plan\":\"p0\"}}}",
        " {\n\"more\" : {\"ts\":5,\"user_metadata\":[]} , \"user_metadata\" : { \"u\" :\r\n{ \"region\" : "
        "null , "
        "\"plan\" : \"p1\" } } ,\t\"ts\" : \"" TS "\" , \"\" : [ ] } \n",
        "{\"user_metadata\":{\"u\":{\"a\":[1,{\"plan\":7}],\"plan\":\"p2\",\"b\":{\"plan\":8},\"n\":1e999}},"
        "\"ts\":\"" TS "\"}",
        "{\"\\u0075ser_metadata\":{\"\\u0075\":{\"pl\\u0061n\":\"\\u00703\"}},\"t\\u0073\":\"" TS "\"}",
        "{\"user_metadata\":{\"u\":{\"plan\":\"p4\",\"userName\":\"Anna\",\"email\":\"a@example.com\",\"id\":"
        "9}},"
        "\"ts\":\"" TS "\",\"ts2\":1}",
    };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    kit_add_events(server, 1, "u", "click", -1000);
    for (size_t i = 0; i < KIT_COUNT(bodies); i++) {
        kit_note(kit, "%s", bodies[i]);
        const struct kit_response *response = kit_put(server, bodies[i]);
        kit_assert_status(response, 200);
        kit_assert_body(response, KIT_REPLACED);
        kit_assert_metrics(server, 300, .unique_users = 1, .plans = kit_format(kit, "p%zu=1", i),
                           .regions = "", .types = "click=1");
    }
}

static void a_table_replaces_the_other_wholly(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = serve_with_table(kit);
    kit_add_events(server, 2, "v", "click", -1000);
    kit_put_users(server, "{\"v\":{\"plan\":\"new\"}}", kit_table_instant(kit, 1));
    kit_assert_metrics(server, 300, .unique_users = 1, .unknown = 1, .plans = "new=2", .regions = "",
                       .types = "click=3");
    kit_put_users(server, "{}", kit_table_instant(kit, 2));
    kit_assert_metrics(server, 300, .unknown = 3, .plans = "", .regions = "", .types = "click=3");
    kit_put_users(server, "{\"v\":{},\"u\":{}}", kit_table_instant(kit, 3));
    kit_assert_metrics(server, 300, .unique_users = 2, .plans = "", .regions = "", .types = "click=3");
}

static void an_older_table_is_stale(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = serve_with_table(kit);
    const char *body = kit_table(kit, "{\"u\":{\"plan\":\"new\"}}", "2025-10-08T11:59:59.999Z");
    const struct kit_response *response = kit_put(server, body);
    kit_assert_error(response, 409, "^Stale update: .");
    kit_assert_header(response, "Retry-After", NULL);
    check_old_table(server);
    /* An equal one wins, as often as it comes. */
    for (int i = 0; i < 3; i++) {
        kit_put_users(server, kit_format(kit, "{\"u\":{\"plan\":\"p%d\"}}", i), TS);
        kit_assert_metrics(server, 300, .unique_users = 1, .plans = kit_format(kit, "p%d=1", i),
                           .regions = "", .types = "click=1");
    }
    kit_put_users(server, "{}", kit_table_instant(kit, 1));
    kit_assert_error(kit_put(server, kit_table(kit, "{}", TS)), 409, "^Stale update: .");
    /* Wrong and stale: it is no table at all. */
    kit_assert_error(kit_put(server, kit_table(kit, "{\"u\":5}", TS)), 400, ".");
}

/* ---- what is refused ---- */

#define TABLE(users) "{\"user_metadata\":" users ",\"ts\":\"2025-10-08T13:00:00Z\"}"
#define USER(user)   TABLE("{\"a\":{\"plan\":\"new\"},\"u\":" user ",\"z\":{\"plan\":\"new\"}}")

struct row {
    const char *body, *error;
};

static const struct row refused[] = {
    {"5", "."},
    {"null", "."},
    {"[]", "."},
    {"\"table\"", "."},
    {"[" TABLE("{}") "]", "."},
    {"{}", "user_metadata|ts"},
    {"{\"user_metadata\":{\"u\":{}}}", "ts"},
    {"{\"ts\":\"2025-10-08T13:00:00Z\"}", "user_metadata"},
    {"{\"user_metadata\":{\"u\":{}},\"ts\":null}", "ts"},
    {"{\"user_metadata\":{\"u\":{}},\"ts\":\"\"}", "ts"},
    {"{\"user_metadata\":{\"u\":{}},\"ts\":1759928400}", "ts"},
    {"{\"user_metadata\":{\"u\":{}},\"ts\":[\"2025-10-08T13:00:00Z\"]}", "ts"},
    {"{\"user_metadata\":{\"u\":{}},\"ts\":{\"ts\":\"2025-10-08T13:00:00Z\"}}", "ts"},
    {"{\"user_metadata\":{\"u\":{}},\"ts\":true}", "ts"},
    {"{\"user_metadata\":{\"u\":{}},\"Ts\":\"2025-10-08T13:00:00Z\"}", "ts"},
    {"{\"userMetadata\":{\"u\":{}},\"ts\":\"2025-10-08T13:00:00Z\"}", "user_metadata"},
    {"{\"more\":{\"user_metadata\":{},\"ts\":\"2025-10-08T13:00:00Z\"}}", "user_metadata|ts"},
    {TABLE("null"), "user_metadata"},
    {TABLE("5"), "user_metadata"},
    {TABLE("true"), "user_metadata"},
    {TABLE("\"u\""), "user_metadata"},
    {TABLE("\"\""), "user_metadata"},
    {TABLE("[]"), "user_metadata"},
    {TABLE("[{\"u\":{\"plan\":\"new\"}}]"), "user_metadata"},
    {USER("null"), "."},
    {USER("5"), "."},
    {USER("true"), "."},
    {USER("\"pro\""), "."},
    {USER("[]"), "."},
    {USER("[{\"plan\":\"new\"}]"), "."},
    {USER("{\"plan\":5}"), "plan"},
    {USER("{\"plan\":0}"), "plan"},
    {USER("{\"plan\":true}"), "plan"},
    {USER("{\"plan\":false}"), "plan"},
    {USER("{\"plan\":[]}"), "plan"},
    {USER("{\"plan\":[\"pro\"]}"), "plan"},
    {USER("{\"plan\":{}}"), "plan"},
    {USER("{\"plan\":{\"plan\":\"pro\"}}"), "plan"},
    {USER("{\"region\":5}"), "region"},
    {USER("{\"region\":false}"), "region"},
    {USER("{\"region\":[]}"), "region"},
    {USER("{\"region\":{}}"), "region"},
    {USER("{\"plan\":\"pro\",\"region\":1}"), "region"},
    {TABLE("{\"\":{}}"), "."},
    {TABLE("{\"a\\u0000b\":{}}"), "."},
    {TABLE("{\"\\u0000\":{}}"), "."},
    {TABLE("{\"a\\n\":{}}"), "."},
    {TABLE("{\"\\u001f\":{}}"), "."},
    {TABLE("{\"\\u007f\":{}}"), "."},
    {TABLE("{\"a\x7f\":{}}"), "."},
    {TABLE("{\"\\ud800\":{}}"), "."},
};

static const struct row bad_json[] = {
    {"x", AT(1, 1)},
    {"{\"user_metadata\":{\"u\":{\"plan\":\"new\"}},\"ts\":\"2025-10-08T13:00:00Z\"", SOMEWHERE},
    {"{\"user_metadata\":{\"u\":{\"plan\":\"new\"}},\"ts\":\"2025-10-08T13:00:00Z\"}}", SOMEWHERE},
    {"{\"user_metadata\":{\"u\":{\"plan\":\"new\"}},\n\"ts\":\"2025-10-08T13:00:00Z\",\n}", AT(3, 1)},
    {"{\"ts\":\"2025-10-08T13:00:00Z\",\"user_metadata\":{\"u\":{\"plan\":\"new\"}}", SOMEWHERE},
    {"{\"ts\":\"2025-10-08T13:00:00Z\",\"user_metadata\":{\"u\":{\"plan\":\"new\"},}}", SOMEWHERE},
    {"{\"ts\":\"2025-10-08T13:00:00Z\",\n\"user_metadata\":{\"u\":{\"plan\":}}}", AT(2, 30)},
    {TABLE("{\"u\":{\"plan\":\"\xff\"}}"), SOMEWHERE},
    {TABLE("{\"\xc3\":{}}"), SOMEWHERE},
    {TABLE("{\"u\":{\"a\":01}}"), SOMEWHERE},
    {TABLE("{\"u\":{\"plan\":\"a\nb\"}}"), SOMEWHERE},
    {TABLE("{u:{}}"), SOMEWHERE},
    {TABLE("{}") TABLE("{}"), SOMEWHERE},
    {TABLE("{}") "x", SOMEWHERE},
    {"\xef\xbb\xbf" TABLE("{}"), AT(1, 1)},
};

static void check_refused(struct kit_server *server, const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        kit_note(kit_of(server), "%.400s", rows[i].body);
        kit_assert_error(kit_put(server, rows[i].body), 400, rows[i].error);
    }
    kit_note(kit_of(server), "after all");
    check_old_table(server);
    /* Nor has a refused one left its ts behind. */
    kit_put_users(server, "{\"u\":{\"plan\":\"old\",\"region\":\"eu\"}}", TS);
}

static void what_is_no_table_is_refused(void **state)
{
    struct kit_server *server = serve_with_table(*state);
    check_refused(server, refused, KIT_COUNT(refused));
    check_refused(server, bad_json, KIT_COUNT(bad_json));
    static const struct row nothing[] = {{"", "."}, {" \n", "."}};
    check_refused(server, nothing, KIT_COUNT(nothing));
    kit_assert_error(kit_request(server, "PUT", KIT_USERS, NULL, NULL, 0), 400, ".");
}

static void long_and_deep_things_are_refused(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = serve_with_table(kit);
    const char *deep = kit_repeat(kit, "[", 300000);
    const struct row rows[] = {
        {kit_format(kit, TABLE("{\"%s\":{}}"), kit_repeat(kit, "x", 256)), "."},
        {kit_format(kit, TABLE("{\"%s\":{}}"), kit_repeat(kit, "\xc3\xa9", 128)), "."},
        {kit_format(kit, TABLE("{\"%s\":{}}"), kit_repeat(kit, "x", 100000)), "."},
        /* A user of a little more than 1 MiB, between others. */
        {kit_format(kit, USER("{\"about\":\"%s\"}"), kit_repeat(kit, "x", MEBIBYTE)), "."},
        {kit_format(kit, USER("{\"about\":[%s0]}"), kit_repeat(kit, "1,", MEBIBYTE / 2)), "."},
        {deep, "."},
        {kit_format(kit, "{\"user_metadata\":{\"u\":{\"a\":%s", deep), "."},
        {kit_format(kit, "{\"a\":%s", deep), "."},
        {kit_repeat(kit, "{\"user_metadata\":", 100000), "."},
    };
    check_refused(server, rows, KIT_COUNT(rows));
}

/* ---- what is taken ---- */

static void attributes_are_kept_apart(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = serve_with_table(kit);
    kit_put_users(
        server,
        "{\"a\":{\"plan\":\"pro\",\"region\":null},\"b\":{\"plan\":null,\"region\":\"eu\"},\"c\":{},"
        "\"d\":{\"Plan\":\"x\",\"Region\":\"y\",\"more\":{\"plan\":\"z\",\"region\":5}}}",
        TS);
    kit_add_events(server, 2, "a", "click", -1000);
    kit_add_events(server, 3, "b", "click", -1000);
    kit_add_events(server, 4, "c", "click", -1000);
    kit_add_events(server, 5, "d", "click", -1000);
    /* Without a plan or a region a user is known all the same. */
    kit_assert_metrics(server, 300, .unique_users = 4, .unknown = 1, .plans = "pro=2", .regions = "eu=3",
                       .types = "click=15");
}

static void check_name(struct kit_server *server, const char *sent, const char *meant)
{
    struct kit *kit = kit_of(server);
    kit_note(kit, "plan %.300s", sent);
    kit_put_users(server,
                  kit_format(kit,
                             "{\"u\":{\"plan\":\"%s\",\"region\":\"r\"},\"v\":{\"plan\":\"p\",\"region\":"
                             "\"%s\"}}",
                             sent, sent),
                  TS);
    const struct kit_metrics *metrics = kit_metrics(server, 300);
    const char *found = kit_counts(kit, metrics->by_plan), *other = kit_format(kit, "%s=1", meant);
    if (strstr(found, other) == NULL || strstr(found, "p=0") == NULL ||
        strlen(found) != strlen(other) + strlen(" p=0"))
        kit_fail(kit, "by_plan \"%.1000s\" instead of \"%.1000s\" and p=0", found, other);
    found = kit_counts(kit, metrics->by_region);
    other = kit_format(kit, "%s=0", meant);
    if (strstr(found, other) == NULL || strstr(found, "r=1") == NULL ||
        strlen(found) != strlen(other) + strlen(" r=1"))
        kit_fail(kit, "by_region \"%.1000s\" instead of \"%.1000s\" and r=1", found, other);
}

static void plans_and_regions_are_any_text(void **state)
{
    static const struct {
        const char *sent, *meant;
    } rows[] = {
        {"", ""},
        {" ", " "},
        {"x", "x"},
        {"\\\"x\\\"", "\"x\""},
        {"\\\\", "\\"},
        {"a\\/b", "a/b"},
        {"null", "null"},
        {"\xe6\xbc\xa2\xe5\xad\x97 \xf0\x9f\x98\x80", "\xe6\xbc\xa2\xe5\xad\x97 \xf0\x9f\x98\x80"},
        {"\\u6f22\\ud83d\\ude00", "\xe6\xbc\xa2\xf0\x9f\x98\x80"},
        {"\\n\\t\\u0001\\u001f", "\n\t\x01\x1f"},
        {"\\u007f\\u0080", "\x7f\xc2\x80"},
        {"'; drop table users; --", "'; drop table users; --"},
        {"by_plan", "by_plan"},
        {"</script>", "</script>"},
        {"\\ufeff\\uffff", "\xef\xbb\xbf\xef\xbf\xbf"},
    };
    struct kit *kit = *state;
    struct kit_server *server = serve_with_table(kit);
    for (size_t i = 0; i < KIT_COUNT(rows); i++)
        check_name(server, rows[i].sent, rows[i].meant);
    const char *longest = kit_repeat(kit, "0123456789", 1024);
    check_name(server, longest, longest);
    const char *quotes = kit_repeat(kit, "\\\"", 10000);
    check_name(server, quotes, kit_repeat(kit, "\"", 10000));
}

/* NUL is a character of JSON's strings, though not of C's or of PostgreSQL's. */
static void a_plan_may_have_a_nul(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = serve_with_table(kit);
    kit_put_users(
        server, "{\"u\":{\"plan\":\"a\\u0000b\"},\"v\":{\"plan\":\"a\\u0000c\"},\"w\":{\"plan\":\"a\"}}", TS);
    const struct kit_response *response = kit_get_path(server, KIT_METRICS "?window=300");
    kit_assert_body_matches(response, "\"a\\\\u0000b\":1");
    kit_assert_body_matches(response, "\"a\\\\u0000c\":0");
    kit_assert_body_matches(response, "\"a\":0");
}

static void ids_of_users_are_text(void **state)
{
    static const char *const ids[] = {
        "h\\u00e9llo",
        "\xe6\xbc\xa2\xe5\xad\x97",
        "\\ud83d\\ude00",
        "a\\\"b",
        "a\\\\b",
        " ",
        "null",
        "plan",
        "ts",
        "user_metadata",
    };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    const char *longest = kit_repeat(kit, "x", 255);
    char *users = kit_format(kit, "{\"%s\":{\"plan\":\"longest\"}", longest);
    for (size_t i = 0; i < KIT_COUNT(ids); i++)
        users = kit_format(kit, "%s,\"%s\":{\"plan\":\"p\"}", users, ids[i]);
    kit_put_users(server, kit_format(kit, "%s}", users), TS);
    kit_add_events(server, 2, longest, "click", -1000);
    for (size_t i = 0; i < KIT_COUNT(ids); i++)
        kit_add_events(server, 1, ids[i], "click", -1000);
    /* However they are written, they are the same users. */
    kit_add_events(server, 1, "h\xc3\xa9llo", "click", -1000);
    kit_add_events(server, 1, "\xf0\x9f\x98\x80", "click", -1000);
    kit_add_events(server, 1, "Plan", "click", -1000);
    kit_assert_metrics(server, 300, .unique_users = 11, .unknown = 1, .plans = "longest=2 p=12",
                       .regions = "", .types = "click=15");
}

static void the_last_of_equal_users_wins(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = serve_with_table(kit);
    kit_put_users(server,
                  "{\"u\":{\"plan\":\"first\",\"region\":\"us\"},\"v\":{\"plan\":\"other\"},"
                  "\"u\":{\"plan\":\"second\"},\"\\u0075\":{\"plan\":\"last\"}}",
                  TS);
    const struct kit_metrics *metrics = kit_metrics(server, 300);
    assert_int_equal(metrics->unique_users, 1);
    assert_int_equal(metrics->unknown, 0);
    assert_int_equal(kit_parse_count(metrics->by_plan, "last"), 1);
    assert_int_equal(kit_parse_count(metrics->by_plan, "other"), 0);
    assert_int_equal(kit_parse_sum(metrics->by_plan), 1);
    /* He is of no region now. */
    assert_int_equal(kit_parse_sum(metrics->by_region), 0);
}

/* ---- how much ---- */

static void many_users_are_taken(void **state)
{
    struct kit *kit = *state;
    size_t count = kit_time_scale() > 1 ? 20000 : 100000;
    struct kit_server *server = serve_with_table(kit);
    const char *few =
        kit_users(kit, "u", count, "\"plan\":\"pro\",\"region\":\"eu\",\"userName\":\"Anna B.\"");
    kit_put_users(server, few, kit_table_instant(kit, 1));
    kit_assert_metrics(server, 300, .unknown = 1, .plans = "pro=0", .regions = "eu=0", .types = "click=1");
    kit_add_events(server, 3, kit_format(kit, "u%zu", count - 1), "click", -1000);
    kit_add_events(server, 2, "u0", "click", -1000);
    kit_add_events(server, 1, kit_format(kit, "u%zu", count), "click", -1000);
    kit_assert_metrics(server, 300, .unique_users = 2, .unknown = 2, .plans = "pro=5", .regions = "eu=5",
                       .types = "click=7");
    kit_put_users(server, "{\"u\":{\"plan\":\"old\",\"region\":\"eu\"}}", kit_table_instant(kit, 2));
    kit_assert_metrics(server, 300, .unique_users = 1, .unknown = 6, .plans = "old=1", .regions = "eu=1",
                       .types = "click=7");
}

/* Each of its own plan and region: all are listed. */
static void many_plans_are_listed(void **state)
{
    enum { PLANS = 5000 };
    struct kit *kit = *state;
    struct kit_server *server = serve_with_table(kit);
    char *users = kit_allocate(kit, (size_t)PLANS * 80);
    size_t used = (size_t)sprintf(users, "{\"u\":{\"plan\":\"p7\",\"region\":\"r8\"}");
    for (int i = 0; i < PLANS; i++)
        used += (size_t)sprintf(users + used, ",\"user%d\":{\"plan\":\"p%d\",\"region\":\"r%d\"}", i, i, i);
    users[used] = '}';
    kit_put_users(server, users, TS);
    const struct kit_metrics *metrics = kit_metrics(server, 300);
    for (int i = 0; i < PLANS; i += 499) {
        assert_int_equal(kit_parse_count(metrics->by_plan, kit_format(kit, "p%d", i)), i == 7);
        assert_int_equal(kit_parse_count(metrics->by_region, kit_format(kit, "r%d", i)), i == 8);
    }
    assert_int_equal(kit_parse_count(metrics->by_plan, "p7"), 1);
    assert_int_equal(kit_parse_count(metrics->by_region, "r8"), 1);
    assert_int_equal(kit_parse_count(metrics->by_plan, "old"), -1);
}

static void sixty_four_mebibytes_are_the_most(void **state)
{
    struct kit *kit = *state;
    size_t most = 64 * (size_t)MEBIBYTE;
    struct kit_server *server = serve_with_table(kit);
    static const char table[] = TABLE("{\"u\":{\"plan\":\"new\"}}");
    char *body = kit_allocate(kit, most + 2);
    memset(body, ' ', most + 1);
    memcpy(body + most - (sizeof table - 1), table, sizeof table - 1);
    kit_assert_error(kit_exchange_long(server, "PUT", KIT_USERS, KIT_JSON, body, most + 1), 413, ".");
    check_old_table(server);
    const struct kit_response *response = kit_exchange_long(server, "PUT", KIT_USERS, KIT_JSON, body, most);
    kit_assert_status(response, 200);
    kit_assert_metrics(server, 300, .unique_users = 1, .plans = "new=1", .regions = "", .types = "click=1");
    struct kit_connection *connection = kit_connect(server);
    kit_send_text(connection,
                  "PUT /reference/users HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: "
                  "67108865\r\n\r\n");
    kit_assert_error(kit_receive(connection), 413, ".");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(a_table_is_answered_exactly),
        kit_test(members_come_in_any_order_and_others_are_ignored),
        kit_test(a_table_replaces_the_other_wholly),
        kit_test(an_older_table_is_stale),
        kit_test(what_is_no_table_is_refused),
        kit_test(long_and_deep_things_are_refused),
        kit_test(attributes_are_kept_apart),
        kit_test(plans_and_regions_are_any_text),
        kit_test(a_plan_may_have_a_nul),
        kit_test(ids_of_users_are_text),
        kit_test(the_last_of_equal_users_wins),
        kit_test(many_users_are_taken),
        kit_test(many_plans_are_listed),
        kit_test(sixty_four_mebibytes_are_the_most),
    };
    return kit_run_tests(tests);
}
