/* POST /liveEvent: what is taken and how its line in the journal reads, what is refused, and that many are taken all or
 * none. */
#include <stdio.h>
#include <string.h>

#include "kit_live.h"

static const char taken[] = "{\"message\":\"Event received\"}";

struct taken_event {
    const char *body, *line; /* NULL: the contract leaves its form open */
};

static void an_event_is_one_line(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_server *server = kit_serve_live(kit, journal);
    const struct kit_response *response =
        kit_post_live(server, "{\"userId\":\"user1\",\"name\":\"add_revenue\",\"value\":100}");
    kit_assert_status(response, 200);
    kit_assert_body(response, taken);
    kit_assert_header(response, "Content-Type", "application/json");
    assert_string_equal(kit_read_file(kit, journal), kit_add(kit, "user1", "100"));
    kit_live(server, "{\"userId\":\"user1\",\"name\":\"subtract_revenue\",\"value\":50}");
    assert_string_equal(kit_read_file(kit, journal), kit_format(kit, "%s%s", kit_add(kit, "user1", "100"),
                                                                kit_subtract(kit, "user1", "50")));
}

static void the_journal_is_server_events_jsonl(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    kit_live(server, "{\"userId\":\"user1\",\"name\":\"add_revenue\",\"value\":100}");
    assert_string_equal(kit_read_file(kit, kit_format(kit, "%s/server-events.jsonl", kit_directory(server))),
                        kit_add(kit, "user1", "100"));
}

#define ADD(user, value)  "{\"userId\":" user ",\"name\":\"add_revenue\",\"value\":" value "}"
#define LINE(user, value) ADD("\"" user "\"", value) "\n"

static const struct taken_event forms[] = {
    {ADD("1", "1"), LINE("1", "1")},
    {ADD("-7", "1"), LINE("-7", "1")},
    {ADD("0", "1"), LINE("0", "1")},
    {ADD("12345678901234567890123", "1"), LINE("12345678901234567890123", "1")},
    {ADD("\"a b\"", "0.5"), LINE("a b", "0.5")},
    {ADD("\"a/b?c%d\"", "1"), LINE("a/b?c%d", "1")},
    {ADD("\"quote \\\" and \\\\\"", "1"), LINE("quote \\\" and \\\\", "1")},
    {ADD("\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"", "1"), LINE("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "1")},
    {ADD("\"\\u00e4\\ud83d\\ude00\"", "1"), LINE("\xc3\xa4\xf0\x9f\x98\x80", "1")},
    {ADD("\"n\"", "-5.5"), LINE("n", "-5.5")},
    {ADD("\"n\"", "0"), LINE("n", "0")},
    {ADD("\"n\"", "-0"), NULL},
    {ADD("\"n\"", "-0.0e5"), NULL},
    {ADD("\"n\"", "1e2"), NULL},
    {ADD("\"n\"", "1.25E-3"), NULL},
    {ADD("\"n\"", "1e+17"), NULL},
    {ADD("\"n\"", "1e-18"), NULL},
    {ADD("\"n\"", "1.50"), NULL},
    {ADD("\"n\"", "999999999999999999.999999999999999999"),
     LINE("n", "999999999999999999.999999999999999999")},
    {ADD("\"n\"", "-999999999999999999.999999999999999999"),
     LINE("n", "-999999999999999999.999999999999999999")},
    {" {\t\"value\" : 3 ,\r\n \"name\":\"subtract_revenue\",\"userId\":\"n\" }\n",
     "{\"userId\":\"n\",\"name\":\"subtract_revenue\",\"value\":3}\n"},
    {"{\"userId\":\"n\",\"name\":\"add_revenu\\u0065\",\"value\":3}", LINE("n", "3")},
};

/* Whatever is taken is one line that process counts. */
static void all_forms_of_events_are_taken(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_server *server = kit_serve_live(kit, journal);
    size_t length = 0;
    for (size_t i = 0; i < KIT_COUNT(forms); i++) {
        kit_note(kit, "%s", forms[i].body);
        kit_live(server, forms[i].body);
        const char *line = kit_read_file(kit, journal) + length;
        if (forms[i].line != NULL)
            assert_string_equal(line, forms[i].line);
        if (kit_line_count(line) != 1 || line[strlen(line) - 1] != '\n')
            kit_fail(kit, "not one line: %s", line);
        length += strlen(line);
    }
    kit_process_all(kit, journal, .lines = KIT_COUNT(forms), .users = 10,
                    .added = "100000000000000107.501250000000000001", .subtracted = "3");
    kit_assert_revenue(server, "n", "100000000000000096.001250000000000001");
}

static void long_user_ids_are_taken(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_server *server = kit_serve_live(kit, journal);
    const char *const users[] = {kit_repeat(kit, "x", 255), kit_repeat(kit, "\xe2\x82\xac", 85)};
    for (size_t i = 0; i < KIT_COUNT(users); i++)
        kit_live(server, kit_add(kit, users[i], "7"));
    kit_process_all(kit, journal, .lines = 2, .users = 2, .added = "14", .subtracted = "0");
    kit_assert_revenue(server, users[0], "7");
    const char *target = kit_format(kit, "/userEvents/%s", kit_repeat(kit, "%E2%82%AC", 85));
    kit_assert_body(kit_get_path(server, target),
                    kit_format(kit, "{\"userId\":\"%s\",\"revenue\":7}", users[1]));
    kit_assert_error(kit_post_live(server, kit_add(kit, kit_repeat(kit, "x", 256), "7")), 400, "userId");
}

/* The members that are missing, null or empty. */
static const char *const missing[] = {
    "{}",
    "{\"name\":\"add_revenue\",\"value\":1}",
    "{\"userId\":\"u\",\"value\":1}",
    "{\"userId\":\"u\",\"name\":\"add_revenue\"}",
    ADD("null", "1"),
    ADD("\"\"", "1"),
    ADD("\"u\"", "null"),
    "{\"userId\":\"u\",\"name\":null,\"value\":1}",
    "{\"userId\":\"u\",\"name\":\"\",\"value\":1}",
    "{\"userid\":\"u\",\"Name\":\"add_revenue\",\"VALUE\":1}",
};

/* What else is no event. */
static const char *const wrong[] = {
    "",
    " \r\n",
    "null",
    "1",
    "\"text\"",
    "[]",
    "[" ADD("\"u\"", "1") "]",
    "not JSON",
    "\xef\xbb\xbf" ADD("\"u\"", "1"),
    ADD("\"u\"", "1") ADD("\"u\"", "1"),
    ADD("\"u\"", "1") " x",
    "{\"userId\":\"u\",\"name\":\"add_revenue\",\"value\":1",
    "{\"userId\":\"u\",\"name\":\"add_revenue\",\"value\":1,}",
    ADD("\"u\"", "\"1\""),
    ADD("\"u\"", "\"\""),
    ADD("\"u\"", "true"),
    ADD("\"u\"", "[1]"),
    ADD("\"u\"", "{}"),
    ADD("\"u\"", "NaN"),
    ADD("\"u\"", "Infinity"),
    ADD("\"u\"", "+1"),
    ADD("\"u\"", ".5"),
    ADD("\"u\"", "5."),
    ADD("\"u\"", "0x10"),
    ADD("\"u\"", "01"),
    ADD("\"u\"", "1e"),
    ADD("\"u\"", "1234567890123456789"),
    ADD("\"u\"", "0.1234567890123456789"),
    ADD("\"u\"", "1e18"),
    ADD("\"u\"", "1e-19"),
    ADD("\"u\"", "1e999999999999"),
    ADD("\"u\"", "1e-999999999999"),
    ADD("true", "1"),
    ADD("1.5", "1"),
    ADD("[1]", "1"),
    ADD("{\"id\":1}", "1"),
    ADD("\"a\\u0000b\"", "1"),
    ADD("\"a\\nb\"", "1"),
    ADD("\"a\nb\"", "1"),
    ADD("\"a\\u007fb\"", "1"),
    ADD("\"\\ud800\"", "1"),
    ADD("\"\xff\"", "1"),
    ADD("\"\xc3\"", "1"),
    "{\"userId\":\"u\",\"name\":\"revenue\",\"value\":1}",
    "{\"userId\":\"u\",\"name\":\"ADD_REVENUE\",\"value\":1}",
    "{\"userId\":\"u\",\"name\":\"add_revenue \",\"value\":1}",
    "{\"userId\":\"u\",\"name\":1,\"value\":1}",
    "{\"userId\":\"u\",\"name\":[\"add_revenue\"],\"value\":1}",
};

static void what_is_no_event_is_refused(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_server *server = kit_serve_live(kit, journal);
    for (size_t i = 0; i < KIT_COUNT(missing); i++) {
        kit_note(kit, "%s", missing[i]);
        const struct kit_response *response = kit_post_live(server, missing[i]);
        kit_assert_status(response, 400);
        kit_assert_body(response, "{\"error\":\"Missing required fields\"}");
    }
    for (size_t i = 0; i < KIT_COUNT(wrong); i++) {
        kit_note(kit, "%s", wrong[i]);
        kit_assert_error(kit_post_live(server, wrong[i]), 400, ".");
    }
    kit_note(kit, "no body");
    kit_assert_error(kit_post_live(server, NULL), 400, ".");
    kit_note(kit, "deep nesting");
    const char *deep = kit_format(kit, ADD("\"u\"", "%s"), kit_repeat(kit, "[", 100000));
    kit_assert_error(kit_post_live(server, deep), 400, ".");
    kit_assert_error(kit_post_live(server, "{\"userId\":\"u\",\n\"name\":\"add_revenue\",\n\"value\":x}"),
                     400, "line 3");
    assert_string_equal(kit_read_file(kit, journal), "");
    kit_live(server, ADD("\"u\"", "1"));
    assert_string_equal(kit_read_file(kit, journal), LINE("u", "1"));
}

/* The fields that are wrong are named. */
static void the_message_names_the_field(void **state)
{
    static const char *const rows[][2] = {
        {ADD("\"u\"", "\"1\""), "value"},
        {ADD("\"u\"", "1e18"), "value"},
        {ADD("1.5", "1"), "userId"},
        {ADD("\"a\\nb\"", "1"), "userId"},
        {"{\"userId\":\"u\",\"name\":\"revenue\",\"value\":1}", "name"},
    };
    struct kit_server *server = kit_serve_live(*state, kit_new_journal(*state));
    for (size_t i = 0; i < KIT_COUNT(rows); i++)
        kit_assert_error(kit_post_live(server, rows[i][0]), 400, rows[i][1]);
}

static void many_events_are_taken_together(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_server *server = kit_serve_live(kit, journal);
    const struct kit_response *response = kit_post_live_lines(
        server, "\n" ADD("\"a\"", "1") "\r\n\r\n \t\n" ADD("2", "0.25") "\n" ADD("\"c\"", "3"));
    kit_assert_status(response, 200);
    kit_assert_body(response, "{\"message\":\"Event received\",\"count\":3}");
    const char *wanted = LINE("a", "1") LINE("2", "0.25") LINE("c", "3");
    assert_string_equal(kit_read_file(kit, journal), wanted);
    response = kit_post_live_lines(server, ADD("\"a\"", "1") "\n");
    kit_assert_body(response, "{\"message\":\"Event received\",\"count\":1}");
    kit_process_all(kit, journal, .lines = 4, .users = 3, .added = "5.25", .subtracted = "0");
}

static void a_bad_line_refuses_all(void **state)
{
    static const struct {
        const char *lines, *named;
    } rows[] = {
        {"x\n" ADD("\"a\"", "1") "\n", "line 1[^0-9]"},
        {ADD("\"a\"", "1") "\n\n" ADD("\"a\"", "\"1\"") "\n" ADD("\"a\"", "1") "\n", "line 3.*value"},
        {ADD("\"a\"", "1") "\n{}", "line 2.*Missing required fields"},
        {ADD("\"a\"", "1") "\n" ADD("\"a\"", "1") ADD("\"a\"", "1") "\n", "line 2"},
        {ADD("\"a\"", "1") "\n{\"userId\":\"a\",\n\"name\":\"add_revenue\",\"value\":1}\n", "line 2"},
        {"", "."},
        {"\n", "."},
        {"\n \t\r\n\n", "."},
    };
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_server *server = kit_serve_live(kit, journal);
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        kit_note(kit, "%s", rows[i].lines);
        kit_assert_error(kit_post_live_lines(server, rows[i].lines), 400, rows[i].named);
        assert_string_equal(kit_read_file(kit, journal), "");
    }
    for (size_t i = 0; i < KIT_COUNT(wrong); i++) {
        if (kit_matches(wrong[i], "^[ \r\n]*$"))
            continue;
        kit_note(kit, "NDJSON with %s", wrong[i]);
        const char *lines = kit_format(kit, LINE("a", "1") "%s\n", wrong[i]);
        kit_assert_error(kit_post_live_lines(server, lines), 400, "line 2");
    }
    assert_string_equal(kit_read_file(kit, journal), "");
}

/* As many as a body may hold. */
static void a_large_batch_is_taken_whole(void **state)
{
    enum { LINES = 18000, TOO_MANY = 25000 };
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_server *server = kit_serve_live(kit, journal);
    const char *lines = kit_repeat(kit, LINE("user", "0.01"), LINES);
    const struct kit_response *response = kit_post_live_lines(server, lines);
    kit_assert_status(response, 200);
    kit_assert_body(response, kit_format(kit, "{\"message\":\"Event received\",\"count\":%d}", LINES));
    assert_string_equal(kit_read_file(kit, journal), lines);
    kit_assert_error(kit_post_live_lines(server, kit_repeat(kit, LINE("user", "0.01"), TOO_MANY)), 413, ".");
    assert_string_equal(kit_read_file(kit, journal), lines);
    kit_process_all(kit, journal, .lines = LINES, .users = 1, .added = "180", .subtracted = "0");
    kit_assert_revenue(server, "user", "180");
}

/* Nothing that is taken is a bad line for process, also where the contract does not say whether it is taken. */
static void what_is_taken_can_be_counted(void **state)
{
    static const char *const events[] = {
        "{\"userId\":\"u\",\"name\":\"add_revenue\",\"value\":1,\"more\":{\"a\":[1,2]}}",
        "{\"userId\":\"u\",\"userId\":\"v\",\"name\":\"add_revenue\",\"value\":1}",
        "{\"userId\":\"u\",\"name\":\"add_revenue\",\"value\":1,\"value\":\"x\"}",
        "{\"userId\":\"u\",\"name\":\"add_revenue\",\"value\":\"x\",\"value\":1}",
        ADD("1e2", "1"),
        ADD("1.0", "1"),
        ADD("-0", "1"),
        ADD("\" \"", "1"),
        ADD("\"\\u2028\"", "1"),
        ADD("\"\\u0080\"", "1"),
        ADD("\"\\ufeff\"", "1"),
        ADD("\"\\uffff\"", "1"),
        ADD("\"u\"", "0e999999"),
        ADD("\"u\"", "0.0000000000000000000"),
        ADD("\"u\"", "1.0000000000000000000000"),
        ADD("\"u\"", "100000000000000000000e-5"),
        ADD("\"u\"", "0.00000000000000000000001e20"),
    };
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_server *server = kit_serve_live(kit, journal);
    int64_t count = 0;
    for (size_t i = 0; i < KIT_COUNT(events); i++) {
        kit_note(kit, "%s", events[i]);
        const struct kit_response *response = kit_post_live(server, events[i]);
        kit_assert_status_among(response, kit, "200|400");
        count += response->status == 200;
    }
    const struct kit_run *run = kit_run_processor(kit, journal);
    if (run->exit_status != 0 || kit_counted(kit, run) != count)
        kit_fail(kit, "%lld were taken, of the journal\n%s\nthis was counted: %s%s", (long long)count,
                 kit_read_file(kit, journal), run->output, run->errors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_sqlite(an_event_is_one_line),           kit_test_sqlite(the_journal_is_server_events_jsonl),
        kit_test_engines(all_forms_of_events_are_taken), kit_test_engines(long_user_ids_are_taken),
        kit_test_sqlite(what_is_no_event_is_refused),    kit_test_sqlite(the_message_names_the_field),
        kit_test_sqlite(many_events_are_taken_together), kit_test_sqlite(a_bad_line_refuses_all),
        kit_test_sqlite(a_large_batch_is_taken_whole),   kit_test_engines(what_is_taken_can_be_counted),
    };
    return kit_run_event_tests(tests);
}
