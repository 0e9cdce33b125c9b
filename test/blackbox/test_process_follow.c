/* process --follow goes on with what comes, over rotations and outages, until it is told to end; and on a terminal process
 * shows how far it is. With it all parts together: events over HTTP, sums in the database, revenue over HTTP. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../postgres.h"
#include "kit_live.h"

/* On a signal a follower ends with a summary of all it has counted. */
static void expect_end(struct kit_server *follower, int signal_number, int status, int64_t lines,
                       int64_t skipped)
{
    kit_signal(follower, signal_number);
    const struct kit_run *run = kit_finish_processor(follower);
    if (run->exit_status != status || kit_counted(kit_of(follower), run) != lines ||
        !kit_matches(run->output,
                     kit_format(kit_of(follower), "; %lld lines? skipped; ", (long long)skipped)))
        kit_fail(kit_of(follower), "exit status %d, not %lld lines:\n%s%s", run->exit_status,
                 (long long)lines, run->output, run->errors);
}

static void what_is_appended_shows_soon(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_server *server = kit_serve_live(kit, journal);
    kit_live(server, kit_add(kit, "u", "0.1"));
    struct kit_server *follower = kit_start_processor(kit, journal, "--follow");
    kit_wait_until_revenue(server, "u", "0.1");
    for (int i = 1; i < 8; i++) {
        int64_t posted_at_ms = kit_now_ms();
        kit_live(server, kit_add(kit, "u", "0.1"));
        kit_wait_until_revenue(server, "u", kit_format(kit, "0.%d", i + 1));
        assert_in_range(kit_now_ms() - posted_at_ms, 0, (int64_t)(4000 * kit_time_scale()));
    }
    kit_live(server, kit_subtract(kit, "u", "1"));
    kit_wait_until_revenue(server, "u", "-0.2");
    expect_end(follower, SIGTERM, 0, 9, 0);
    kit_process_all(kit, journal, .added = "0");
}

static void sigint_ends_it_too(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    kit_append(kit, journal, kit_format(kit, "%sbad\n", kit_add(kit, "u", "5")));
    struct kit_server *server = kit_serve_events(kit);
    struct kit_server *follower = kit_start_processor(kit, journal, "--follow");
    kit_wait_until_revenue(server, "u", "5");
    expect_end(follower, SIGINT, 1, 1, 1); /* a line was skipped */
    assert_true(kit_matches(kit_log(follower), "server-events.jsonl:2: skipped: "));
}

static void half_a_line_is_waited_for(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit), *line = kit_add(kit, "u", "5");
    struct kit_server *server = kit_serve_events(kit);
    kit_append(kit, journal, line);
    struct kit_server *follower = kit_start_processor(kit, journal, "--follow");
    kit_wait_until_revenue(server, "u", "5");
    for (int i = 0; i < 3; i++) {
        kit_append(kit, journal, kit_format(kit, "%s%.20s", kit_add(kit, "marker", "1"), line));
        kit_wait_until_revenue(server, "marker",
                               kit_format(kit, "%d", i + 1)); /* the half line has been seen */
        kit_assert_revenue(server, "u", kit_format(kit, "%d", 5 * (i + 1)));
        kit_append(kit, journal, line + 20);
        kit_wait_until_revenue(server, "u", kit_format(kit, "%d", 5 * (i + 2)));
    }
    expect_end(follower, SIGTERM, 0, 7, 0);
}

static void the_file_may_come_later(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_server *follower = kit_start_processor(kit, journal, "--follow");
    struct kit_server *server = kit_serve_live(kit, kit_new_journal(kit));
    kit_assert_revenue(server, "u", NULL);
    assert_false(kit_processor_has_ended(follower));
    kit_append(kit, journal, kit_add(kit, "u", "1"));
    kit_wait_until_revenue(server, "u", "1");
    kit_append(kit, journal, kit_add(kit, "u", "1"));
    kit_wait_until_revenue(server, "u", "2");
    expect_end(follower, SIGTERM, 0, 2, 0);
}

/* The old one is finished, then the new one is followed. */
static void rotations_are_followed(void **state)
{
    enum { ROTATIONS = 5 };
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_server *server = kit_serve_live(kit, journal);
    struct kit_server *follower = kit_start_processor(kit, journal, "--follow");
    int sum = 0;
    for (int rotation = 0; rotation < ROTATIONS; rotation++) {
        kit_note(kit, "rotation %d", rotation);
        kit_live(server, kit_add(kit, "u", "1"));
        if (rotation % 2 == 0) /* else it may not have got so far */
            kit_wait_until_revenue(server, "u", kit_format(kit, "%d", sum + 1));
        kit_live(server, kit_add(kit, "u", "10"));
        for (int i = rotation; i >= 0; i--)
            kit_rename(kit, i == 0 ? journal : kit_format(kit, "%s.%d", journal, i),
                       kit_format(kit, "%s.%d", journal, i + 1));
        kit_live(server, kit_add(kit, "u", "100"));
        sum += 111;
        kit_wait_until_revenue(server, "u", kit_format(kit, "%d", sum));
    }
    expect_end(follower, SIGTERM, 0, INT64_C(3) * ROTATIONS, 0);
    kit_process_all(kit, journal, .added = "0");
}

static void a_follower_keeps_up_with_a_load(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_server *server = kit_serve_live(kit, journal);
    struct kit_server *follower = kit_start_processor(kit, journal, "--follow");
    struct kit_live_load *load = kit_start_load(server, 0, 8, 0);
    for (int i = 0; i < 3; i++) {
        kit_wait_until_taken(load, 500 * (i + 1));
        if (i < 2)
            kit_rename(kit, journal, kit_format(kit, "%s.%d", journal, 2 - i));
    }
    kit_finish_load(load);
    for (int client = 0; client < 8; client++) {
        int64_t sum = 0;
        for (int i = 0; i < load->clients[client].sent; i++)
            sum += i;
        const char *target = kit_format(kit, "/userEvents/load%%200%%20client%%20%d", client);
        const char *wanted =
            kit_format(kit, "{\"userId\":\"load 0 client %d\",\"revenue\":%lld}", client, (long long)sum);
        int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
        while (strcmp(kit_get_path(server, target)->body, wanted) != 0) {
            if (kit_now_ms() > deadline_at_ms)
                kit_fail(kit, "%s does not come", wanted);
            kit_pause();
        }
    }
    expect_end(follower, SIGTERM, 0, load->taken, 0);
}

static void a_killed_follower_loses_nothing(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_server *server = kit_serve_live(kit, journal);
    for (int i = 0; i < 5; i++) {
        struct kit_server *follower = kit_start_processor(kit, journal, "--follow");
        kit_live(server, kit_add(kit, "u", "1"));
        kit_wait_until_revenue(server, "u", kit_format(kit, "%d", 2 * i + 1));
        kit_live(server, kit_add(kit, "u", "1"));
        kit_kill(follower);
    }
    assert_int_equal(kit_run_processor(kit, journal)->exit_status, 0);
    kit_assert_revenue(server, "u", "10");
}

static void a_follower_outlives_an_outage(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_server *server = kit_serve_live(kit, journal);
    struct kit_server *follower = kit_start_processor(kit, journal, "--follow");
    kit_live(server, kit_add(kit, "u", "1"));
    kit_wait_until_revenue(server, "u", "1");
    assert_int_equal(postgres_stop(kit_postgres(kit), true), 0);
    kit_live(server, kit_add(kit, "u", "1")); /* the journal needs no database */
    const struct kit_response *response = kit_get_path(server, "/userEvents/u");
    kit_assert_error(response, 503, ".");
    kit_assert_header(response, "Retry-After", "");
    assert_int_equal(postgres_restart(kit_postgres(kit)), 0);
    int64_t deadline_at_ms = kit_deadline_at_ms(INT64_C(3) * KIT_DEADLINE_MS);
    while (strcmp(kit_get_path(server, "/userEvents/u")->body, "{\"userId\":\"u\",\"revenue\":2}") != 0) {
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(kit, "it does not go on: %s", kit_log(follower));
        kit_pause();
    }
    expect_end(follower, SIGTERM, 0, 2, 0);
}

static void it_ends_during_an_outage_too(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_server *server = kit_serve_live(kit, journal);
    struct kit_server *follower = kit_start_processor(kit, journal, "--follow");
    kit_live(server, kit_add(kit, "u", "1"));
    kit_wait_until_revenue(server, "u", "1");
    assert_int_equal(postgres_stop(kit_postgres(kit), true), 0);
    kit_live(server, kit_add(kit, "u", "1"));
    kit_signal(follower, SIGTERM);
    int status = kit_wait_exit(follower);
    assert_int_equal(postgres_restart(kit_postgres(kit)), 0);
    assert_in_range(status, 0, 1);
    kit_process_all(kit, journal, .lines = 1, .users = 1);
}

/* It ends by itself, or says what it has found and goes on until it is told to end. */
static void expect_notice(struct kit *kit, struct kit_server *follower)
{
    const char *pattern =
        "server-events\\.jsonl[^\n]*(cut|truncat|short|anew|removed|replac|gone|another|other file)";
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
    while (!kit_processor_has_ended(follower) && !kit_matches(kit_log(follower), pattern)) {
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(kit, "it is not noticed: %s", kit_log(follower));
        kit_pause();
    }
    if (!kit_processor_has_ended(follower))
        kit_signal(follower, SIGTERM);
    assert_int_equal(kit_wait_exit(follower), 1);
    if (!kit_matches(kit_log(follower), pattern))
        kit_fail(kit, "it is not reported: %s", kit_log(follower));
}

/* A cut file under a follower is never counted from its middle. */
static void a_cut_journal_is_noticed(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit), *line = kit_add(kit, "u", "1");
    struct kit_server *server = kit_serve_events(kit);
    kit_append(kit, journal, kit_repeat(kit, line, 5));
    struct kit_server *follower = kit_start_processor(kit, journal, "--follow");
    kit_wait_until_revenue(server, "u", "5");
    assert_int_equal(truncate(journal, (off_t)(2 * strlen(line))), 0);
    expect_notice(kit, follower);
    kit_assert_revenue(server, "u", "5");
}

/* Another file in its place, the old one gone: both are counted from their beginnings, sooner or later. */
static void a_replaced_journal_is_noticed(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit), *other = kit_format(kit, "%s.new", journal);
    struct kit_server *server = kit_serve_events(kit);
    kit_append(kit, journal, kit_repeat(kit, kit_add(kit, "u", "1"), 5));
    struct kit_server *follower = kit_start_processor(kit, journal, "--follow");
    kit_wait_until_revenue(server, "u", "5");
    kit_append(kit, other, kit_repeat(kit, kit_add(kit, "v", "1"), 7));
    kit_rename(kit, other, journal);
    expect_notice(kit, follower);
    kit_run_processor(kit, journal);
    kit_assert_revenue(server, "u", "5");
    kit_assert_revenue(server, "v", "7");
}

/* ---- the terminal ---- */

/* All that the processor writes to the terminal until it has ended. */
static const char *read_terminal(struct kit *kit, int terminal, struct kit_server *processor)
{
    char *text = kit_format(kit, "%s", ""), bytes[4096];
    int64_t deadline_at_ms = kit_deadline_at_ms(INT64_C(2) * KIT_DEADLINE_MS);
    bool ended = false;
    for (;;) {
        ssize_t count = read(terminal, bytes, sizeof bytes);
        if (count > 0)
            text = kit_format(kit, "%s%.*s", text, (int)count, bytes);
        else if (ended)
            return text;
        else if (kit_now_ms() > deadline_at_ms)
            kit_fail(kit, "it does not end: %s", text);
        else
            kit_pause();
        ended = kit_processor_has_ended(processor); /* what it has written is read after that */
    }
}

static void a_terminal_shows_the_progress(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_revenues *revenues = kit_allocate(kit, sizeof *revenues);
    revenues->users = 100;
    kit_append_events(kit, journal, revenues, kit_time_scale() > 1 ? 20000 : 200000);
    int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    assert_true(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    int other_end = open(ptsname(terminal), O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_true(other_end >= 0 && ioctl(other_end, TIOCSWINSZ, &size) == 0);
    struct kit_server *processor =
        kit_start_processor_with(kit, journal, (const char *const[]){NULL}, other_end);
    const char *text = read_terminal(kit, terminal, processor);
    close(other_end);
    close(terminal);
    assert_int_equal(kit_wait_exit(processor), 0);
    if (strchr(text, '%') == NULL || strstr(text, "100") == NULL || strchr(text, '\r') == NULL)
        kit_fail(kit, "no progress: %s", text);
    if (!kit_matches(text, "(\n|\r)[^\n]*[0-9] lines counted, of 100 users; [^\n]* s\r?\n$"))
        kit_fail(kit, "no summary at the end: %s", text);
    /* No line is wider than the terminal. */
    for (const char *next = text; *next != '\0'; next += strcspn(next, "\r\n"), next += *next != '\0')
        if (memchr(next, '%', strcspn(next, "\r\n")) != NULL)
            assert_in_range(strcspn(next, "\r\n"), 1, 80 + 8);
}

/* ---- all together ---- */

static void from_the_event_to_the_revenue(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_server *server = kit_serve_live(kit, journal);
    kit_live(server, "{\"userId\":\"user1\",\"name\":\"add_revenue\",\"value\":100}");
    kit_live(server, "{\"userId\":\"user1\",\"name\":\"subtract_revenue\",\"value\":0.0}");
    kit_live(server, "{\"userId\":\"user2\",\"name\":\"add_revenue\",\"value\":1e-1}");
    kit_live(server, "{\"userId\":\"user3\",\"name\":\"subtract_revenue\",\"value\":20.05}");
    kit_assert_revenue(server, "user1", NULL);
    kit_process_all(kit, journal, .lines = 4, .users = 3, .added = "100\\.1", .subtracted = "20\\.05");
    kit_assert_revenue(server, "user1", "100");
    kit_assert_revenue(server, "user2", "0.1");
    kit_assert_revenue(server, "user3", "-20.05");
    const struct kit_response *response = kit_post_live_lines(
        server, kit_format(kit, "%s%s", kit_add(kit, "user1", "50"), kit_add(kit, "user2", "0.2")));
    kit_assert_status(response, 200);
    kit_process_all(kit, journal, .lines = 2, .users = 2, .added = "50\\.2", .subtracted = "0");
    kit_stop(server);
    server = kit_serve_live(kit, journal);
    kit_assert_revenue(server, "user1", "150");
    kit_assert_revenue(server, "user2", "0.3");
    kit_assert_revenue(server, "user3", "-20.05");
    kit_assert_revenue(server, "user4", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_engines(what_is_appended_shows_soon),     kit_test_sqlite(sigint_ends_it_too),
        kit_test_sqlite(half_a_line_is_waited_for),        kit_test_sqlite(the_file_may_come_later),
        kit_test_engines(rotations_are_followed),          kit_test_engines(a_follower_keeps_up_with_a_load),
        kit_test_engines(a_killed_follower_loses_nothing), kit_test_postgresql(a_follower_outlives_an_outage),
        kit_test_postgresql(it_ends_during_an_outage_too), kit_test_sqlite(a_cut_journal_is_noticed),
        kit_test_sqlite(a_replaced_journal_is_noticed),    kit_test_sqlite(a_terminal_shows_the_progress),
        kit_test_engines(from_the_event_to_the_revenue),
    };
    return kit_run_event_tests(tests);
}
