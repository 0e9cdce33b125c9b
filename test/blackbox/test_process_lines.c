/* What process makes of the lines of a journal: exact sums, bad lines reported by their number and skipped, and each
 * line counted once however often it runs. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit_live.h"

/* The journal holds just this, and is new. */
static const char *journal_of(struct kit *kit, const char *text)
{
    const char *journal = kit_new_journal(kit);
    kit_append(kit, journal, text);
    return journal;
}

static void expect_skipped(struct kit *kit, const struct kit_run *run, const char *journal, int number)
{
    const char *pattern =
        kit_format(kit, "(^|\n)[^\n]*%s:%d: skipped: [^\n]+\n", "server-events.jsonl", number);
    if (!kit_matches(run->errors, pattern))
        kit_fail(kit, "line %d of %s is not reported:\n%.3000s", number, journal, run->errors);
}

static void the_summary_adds_up(void **state)
{
    struct kit *kit = *state;
    const char *journal =
        journal_of(kit, kit_format(kit, "%s%s%s%s", kit_add(kit, "a", "10"), kit_add(kit, "b", "5"),
                                   kit_subtract(kit, "c", "1.5"), kit_subtract(kit, "a", "0.5")));
    const struct kit_run *run = kit_run_processor(kit, journal);
    kit_expect_summary(kit, run, 0, .lines = 4, .users = 3, .added = "15", .subtracted = "2");
    if (strpbrk(run->errors, "\r%\033") != NULL)
        kit_fail(kit, "a progress bar in a file: %s", run->errors);
    struct kit_server *server = kit_serve_events(kit);
    kit_assert_revenue(server, "a", "9.5");
    kit_assert_revenue(server, "b", "5");
    kit_assert_revenue(server, "c", "-1.5");
    kit_assert_revenue(server, "d", NULL);
}

static void sums_are_exact(void **state)
{
    static const struct {
        const char *user, *values[4], *sum;
        int times;
    } rows[] = {
        {"tenths", {"0.1"}, "1", 10},
        {"hundredths", {"0.01"}, "10", 1000},
        {"cents", {"1000000000000000.01"}, "1000000000000000.01", 1},
        {"more cents", {"1000000000000000.01", "0.01"}, "2000000000000000.04", 2},
        {"nines", {"999999999999999.999999999", "0.000000001"}, "1000000000000000", 1},
        {"digits", {"123456789012345678.123456789012345678"}, "123456789012345678.123456789012345678", 1},
        {"eighteen", {"999999999999999999.999999999999999999"}, "19999999999999999999.99999999999999998", 20},
        {"tiny", {"0.000000000000000001", "1e-18"}, "0.000000000000000002", 1},
        {"exponents", {"1e2", "1E+2", "15e-1", "0.002E3"}, "203.5", 1},
        {"zero", {"-0", "-0.0", "0e5", "-0E-3"}, "0", 1},
        {"minus", {"-20.05"}, "-20.05", 1},
        {"both", {"-7.5", "7.25"}, "-0.25", 1},
        {"trailing", {"1.50000000", "100.00"}, "101.5", 1},
        {"large", {"9007199254740993", "0.5"}, "9007199254740993.5", 1},
    };
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    for (size_t i = 0; i < KIT_COUNT(rows); i++)
        for (int repeat = 0; repeat < rows[i].times; repeat++)
            for (size_t value = 0; value < 4 && rows[i].values[value] != NULL; value++)
                kit_append(kit, journal, kit_add(kit, rows[i].user, rows[i].values[value]));
    const struct kit_run *run = kit_run_processor(kit, journal);
    kit_expect_summary(kit, run, 0, .lines = 1055, .users = KIT_COUNT(rows),
                       .added = "20136463988267086967.37345678901234566", .subtracted = "0");
    struct kit_server *server = kit_serve_events(kit);
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        const char *user = strcmp(rows[i].user, "more cents") == 0 ? "more%20cents" : rows[i].user;
        const struct kit_response *response = kit_get_path(server, kit_format(kit, "/userEvents/%s", user));
        kit_assert_body(response,
                        kit_format(kit, "{\"userId\":\"%s\",\"revenue\":%s}", rows[i].user, rows[i].sum));
    }
}

static void numbers_and_strings_are_one_user(void **state)
{
    struct kit *kit = *state;
    const char *journal = journal_of(kit, "{\"userId\":1,\"name\":\"add_revenue\",\"value\":1}\n"
                                          "{\"value\":2,\"name\":\"add_revenue\",\"userId\":\"1\"}\n");
    kit_process_all(kit, journal, .lines = 2, .users = 1, .added = "3", .subtracted = "0");
    kit_assert_revenue(kit_serve_events(kit), "1", "3");
}

#define EVENT(user, value) "{\"userId\":" user ",\"name\":\"add_revenue\",\"value\":" value "}"

static void bad_lines_are_skipped_by_number(void **state)
{
    static const char *const bad[] = {
        "not JSON",
        "null",
        "[]",
        "{}",
        "\"\"",
        "{\"userId\":\"u\",\"name\":\"add_revenue\"}",
        "{\"userId\":\"u\",\"value\":1}",
        "{\"name\":\"add_revenue\",\"value\":1}",
        "{\"userId\":\"u\",\"name\":\"revenue\",\"value\":1}",
        "{\"userId\":\"u\",\"name\":\"add_revenue\",\"value\":1",
        EVENT("\"u\"", "1") EVENT("\"u\"", "1"),
        EVENT("\"u\"", "1") ",",
        EVENT("\"u\"", "\"1\""),
        EVENT("\"u\"", "null"),
        EVENT("\"u\"", "true"),
        EVENT("\"u\"", "NaN"),
        EVENT("\"u\"", "1e400"),
        EVENT("\"u\"", "1e99999999999999999999"),
        EVENT("\"u\"", "1234567890123456789"),
        EVENT("\"u\"", "0.1234567890123456789"),
        EVENT("\"\"", "1"),
        EVENT("null", "1"),
        EVENT("1.5", "1"),
        EVENT("true", "1"),
        EVENT("\"a\\u0000\"", "1"),
        EVENT("\"\xff\"", "1"),
        "\xef\xbb\xbf" EVENT("\"u\"", "1"),
        "\xff\xfe",
    };
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    for (size_t i = 0; i < KIT_COUNT(bad); i++)
        kit_append(kit, journal, kit_format(kit, "%s\n%s", bad[i], kit_add(kit, "good", "0.5")));
    const struct kit_run *run = kit_run_processor(kit, journal);
    kit_expect_summary(kit, run, 1, .lines = KIT_COUNT(bad), .users = 1, .added = "14", .subtracted = "0",
                       .skipped = KIT_COUNT(bad));
    for (size_t i = 0; i < KIT_COUNT(bad); i++) {
        kit_note(kit, "%s", bad[i]);
        expect_skipped(kit, run, journal, 2 * (int)i + 1);
    }
    assert_int_equal(kit_matching_lines(kit, run->errors, ":[0-9]+: skipped: "), KIT_COUNT(bad));
    struct kit_server *server = kit_serve_events(kit);
    kit_assert_revenue(server, "good", "14");
    kit_assert_revenue(server, "u", NULL);
    /* They are done with. */
    kit_process_all(kit, journal, .added = "0", .subtracted = "0");
}

/* Numbers go on where the last run ended. */
static void numbers_are_those_of_the_file(void **state)
{
    struct kit *kit = *state;
    const char *journal = journal_of(kit, kit_repeat(kit, kit_add(kit, "u", "1"), 5));
    kit_process_all(kit, journal, .lines = 5, .users = 1);
    kit_append(kit, journal,
               kit_format(kit, "%sbad\n\n%sbad\n", kit_add(kit, "u", "1"), kit_add(kit, "u", "1")));
    const struct kit_run *run = kit_run_processor(kit, journal);
    kit_expect_summary(kit, run, 1, .lines = 2, .users = 1, .added = "2", .skipped = 2);
    expect_skipped(kit, run, journal, 7);
    expect_skipped(kit, run, journal, 10);
}

static void a_thousand_bad_lines_are_listed(void **state)
{
    struct kit *kit = *state;
    const char *journal =
        journal_of(kit, kit_format(kit, "%s%s", kit_repeat(kit, "bad\n", 2500), kit_add(kit, "u", "1")));
    const struct kit_run *run = kit_run_processor(kit, journal);
    kit_expect_summary(kit, run, 1, .lines = 1, .users = 1, .added = "1", .skipped = 2500);
    assert_int_equal(kit_matching_lines(kit, run->errors, ":[0-9]+: skipped: "), 1000);
    expect_skipped(kit, run, journal, 1000);
}

/* Lines with bytes that no text has, and lines longer than anything that the server writes. */
static void strange_lines_are_skipped(void **state)
{
    enum { LONG = 3000000 };
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    const char *line = kit_add(kit, "u", "1");
    kit_append(kit, journal, line);
    kit_append_bytes(kit, journal, "\0\0\0\n", 4);
    kit_append(kit, journal, line);
    kit_append(kit, journal, kit_repeat(kit, "x", LONG));
    kit_append(kit, journal, "\n");
    kit_append(kit, journal, line);
    kit_append(kit, journal, kit_add(kit, kit_repeat(kit, "y", LONG), "1"));
    kit_append(kit, journal, kit_format(kit, "%s\n", kit_repeat(kit, "[", 200000)));
    kit_append(kit, journal, line);
    const struct kit_run *run = kit_run_processor(kit, journal);
    kit_expect_summary(kit, run, 1, .lines = 4, .users = 1, .added = "4", .skipped = 4);
    expect_skipped(kit, run, journal, 2);
    expect_skipped(kit, run, journal, 4);
    expect_skipped(kit, run, journal, 6);
    expect_skipped(kit, run, journal, 7);
    if (strlen(run->errors) > 20000)
        kit_fail(kit, "%zu bytes on stderr", strlen(run->errors));
}

static void line_ends_and_blank_lines_do_not_matter(void **state)
{
    struct kit *kit = *state;
    const char *journal =
        journal_of(kit, EVENT("\"u\"", "1") "\r\n\r\n\n \t\n\n" EVENT("\"u\"", "2") "\n\r\n");
    kit_process_all(kit, journal, .lines = 2, .users = 1, .added = "3", .subtracted = "0");
    kit_append(kit, journal, "\n\r\n" EVENT("\"u\"", "4") "\r\n");
    kit_process_all(kit, journal, .lines = 1, .users = 1, .added = "4", .subtracted = "0");
    kit_append(kit, journal, "\n\n");
    kit_process_all(kit, journal, .added = "0", .subtracted = "0");
    kit_assert_revenue(kit_serve_events(kit), "u", "7");
}

/* ---- again and again ---- */

static void a_second_run_counts_what_was_appended(void **state)
{
    struct kit *kit = *state;
    const char *journal = journal_of(kit, kit_add(kit, "u", "1"));
    struct kit_server *server = kit_serve_events(kit);
    kit_process_all(kit, journal, .lines = 1, .users = 1, .added = "1", .subtracted = "0");
    for (int i = 0; i < 3; i++) {
        kit_process_all(kit, journal, .added = "0", .subtracted = "0");
        kit_append(kit, journal, kit_format(kit, "%s%s", kit_add(kit, "u", "10"), kit_add(kit, "v", "0.1")));
        kit_process_all(kit, journal, .lines = 2, .users = 2, .added = "10.1", .subtracted = "0");
        kit_assert_revenue(server, "u", kit_format(kit, "%d", 11 + 10 * i));
    }
    kit_assert_revenue(server, "v", "0.3");
}

/* Each piece of a line may be the last one for now. */
static void half_a_line_waits(void **state)
{
    struct kit *kit = *state;
    const char *line = kit_add(kit, "u", "1.25");
    const char *journal = journal_of(kit, line);
    kit_process_all(kit, journal, .lines = 1, .users = 1);
    for (size_t i = 0; i < strlen(line); i += 13) {
        kit_append(kit, journal, kit_format(kit, "%.13s", line + i));
        bool whole = i + 13 >= strlen(line);
        kit_process_all(kit, journal, .lines = whole, .users = whole);
    }
    /* All of it but its line break. */
    kit_append(kit, journal, kit_format(kit, "%.*s", (int)strlen(line) - 1, line));
    kit_process_all(kit, journal, .added = "0");
    kit_append(kit, journal, "\n");
    kit_process_all(kit, journal, .lines = 1, .users = 1, .added = "1\\.25");
    kit_assert_revenue(kit_serve_events(kit), "u", "3.75");
}

static void an_empty_file_is_counted(void **state)
{
    struct kit *kit = *state;
    const char *journal = journal_of(kit, "");
    kit_process_all(kit, journal, .added = "0", .subtracted = "0");
    kit_process_all(kit, journal, .added = "0", .subtracted = "0");
    kit_append(kit, journal, kit_add(kit, "u", "1"));
    kit_process_all(kit, journal, .lines = 1, .users = 1, .added = "1", .subtracted = "0");
    kit_process_all(kit, journal, .added = "0", .subtracted = "0");
}

static void journals_are_counted_each_by_itself(void **state)
{
    struct kit *kit = *state;
    const char *first = journal_of(kit, kit_add(kit, "u", "1"));
    const char *second = journal_of(kit, kit_add(kit, "u", "1"));
    for (int i = 0; i < 2; i++) {
        kit_process_all(kit, first, .lines = 1 + i, .users = 1);
        kit_process_all(kit, second, .lines = 1 + i, .users = 1);
        kit_append(kit, first, kit_repeat(kit, kit_add(kit, "u", "1"), 2));
        kit_append(kit, second, kit_repeat(kit, kit_add(kit, "u", "1"), 2));
    }
    kit_assert_revenue(kit_serve_events(kit), "u", "6");
}

/* ---- what it refuses ---- */

static void mistakes_are_refused(void **state)
{
    struct kit *kit = *state;
    const char *journal = journal_of(kit, kit_add(kit, "u", "1")), *url = kit_database(kit);
    kit_expect_refusal(kit, kit_run_processor(kit, "/no/such/file.jsonl"), "/no/such/file.jsonl");
    kit_expect_refusal(kit, kit_run_processor(kit, kit_make_directory(kit)), "event-syncer-test");
    kit_expect_refusal(kit, kit_command(kit, "process", "--database", url), "server-events.jsonl");
    kit_expect_refusal(kit, kit_command(kit, "process", journal, "--database"), "database");
    kit_expect_refusal(kit, kit_command(kit, "process", journal, "--database", "mysql://h/d"), "database");
    kit_expect_refusal(kit, kit_command(kit, "process", journal, "--database", "sqlite:/no/such/dir/x.db"),
                       "/no/such/dir|database");
    kit_expect_refusal(kit, kit_command(kit, "process", journal, "--no-such-option"), "no-such-option");
    kit_expect_refusal(kit, kit_command(kit, "process", journal, "--follow=yes", "--database", url),
                       "follow");
    kit_expect_refusal(kit, kit_command(kit, "process", journal, journal, "--database", url),
                       "server-events");
    kit_expect_refusal(kit, kit_command(kit, "process", "", "--database", url), ".");
    kit_process_all(kit, journal, .lines = 1, .users = 1);
}

/* In the working directory, by the environment's database. */
static void the_defaults_are_taken(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    const char *journal = kit_format(kit, "%s/server-events.jsonl", kit_directory(server));
    kit_live(server, kit_add(kit, "u", "1"));
    const char *const environment[] = {kit_format(kit, "DATABASE_URL=%s", kit_database(kit)), NULL};
    const char *const arguments[] = {"process", journal, NULL};
    kit_expect_summary(kit, kit_run(kit, arguments, environment), 0, .lines = 1, .users = 1);
    kit_assert_revenue(server, "u", "1");
    const struct kit_run *help = kit_command(kit, "process", "--help");
    assert_int_equal(help->exit_status, 0);
    assert_true(kit_matches(help->output, "--follow") && kit_matches(help->output, "server-events.jsonl"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_engines(the_summary_adds_up),
        kit_test_engines(sums_are_exact),
        kit_test_engines(numbers_and_strings_are_one_user),
        kit_test_engines(bad_lines_are_skipped_by_number),
        kit_test_sqlite(numbers_are_those_of_the_file),
        kit_test_sqlite(a_thousand_bad_lines_are_listed),
        kit_test_sqlite(strange_lines_are_skipped),
        kit_test_engines(line_ends_and_blank_lines_do_not_matter),
        kit_test_engines(a_second_run_counts_what_was_appended),
        kit_test_engines(half_a_line_waits),
        kit_test_sqlite(an_empty_file_is_counted),
        kit_test_engines(journals_are_counted_each_by_itself),
        kit_test_sqlite(mistakes_are_refused),
        kit_test_engines(the_defaults_are_taken),
    };
    return kit_run_event_tests(tests);
}
