/* The database behind the events: where it comes from, what /health says of it, and what is no usable one. */
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit_events.h"
#include "kit_http.h"

static void health_tells_of_the_database(void **state)
{
    const struct kit_response *response = kit_get_path(kit_serve_events(*state), "/health");
    kit_assert_status(response, 200);
    kit_assert_body_matches(response, "^\\{.*\"status\":\"OK\".*\\}$");
    kit_assert_body_matches(response, "[{,]\"database\":");
}

/* A program that logs its whole URL logs the password. */
static void the_url_is_not_given_away(void **state)
{
    struct kit *kit = *state;
    const char *url = "postgres://someone:pass-word-1@127.0.0.1:1/none";
    const struct kit_run *run =
        kit_command(kit, "serve", "--listen", "127.0.0.1:0", "--database", url, "--log-level", "debug");
    assert_int_equal(run->exit_status, 2);
    if (strstr(run->errors, "pass-word-1") != NULL || strstr(run->output, "pass-word-1") != NULL)
        kit_fail(kit, "the password is shown: %s", run->errors);
}

static void sqlite_is_the_default(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    kit_publish(server, "c", "t", "1");
    kit_assert_history(server, "c", "[1]");
    const char *file = kit_format(kit, "%s/event-syncer.db", kit_directory(server));
    if (access(file, F_OK) != 0)
        kit_fail(kit, "%s: %s", file, strerror(errno));
}

static void the_environment_names_it(void **state)
{
    struct kit *kit = *state;
    struct kit_start start = {0};
    const char *variable = kit_format(kit, "DATABASE_URL=%s", kit_database(kit));
    start.environment = (const char *const[]){variable, NULL};
    struct kit_server *server = kit_start(kit, &start);
    kit_publish(server, "c", "t", "1");
    kit_stop(server);
    kit_assert_history(kit_serve_events(kit), "c", "[1]");
}

static void the_option_beats_the_environment(void **state)
{
    struct kit *kit = *state;
    struct kit_start start = {0};
    start.arguments = (const char *const[]){"--database", kit_database(kit), NULL};
    start.environment = (const char *const[]){"DATABASE_URL=sqlite:/no/such/directory/events.db", NULL};
    struct kit_server *server = kit_start(kit, &start);
    kit_publish(server, "c", "t", "1");
    kit_stop(server);
    kit_assert_history(kit_serve_events(kit), "c", "[1]");
}

/* Stops that come one after the other must leave a database that the next one takes. */
static void it_is_closed_properly(void **state)
{
    enum { STARTS = 5 };
    struct kit *kit = *state;
    for (int i = 0; i < STARTS; i++) {
        kit_note(kit, "start %d", i);
        struct kit_server *server = kit_serve_events(kit);
        assert_int_equal(kit_history(server, "c", NULL)->count, i);
        kit_publish(server, "c", "t", "1");
        kit_stop(server);
    }
}

static void check_refusal(struct kit *kit, const char *url, const char *named)
{
    kit_note(kit, "--database %s", url);
    const struct kit_run *run = kit_command(kit, "serve", "--listen", "127.0.0.1:0", "--database", url);
    if (run->exit_status != 2)
        kit_fail(kit, "exit status %d\n%s", run->exit_status, run->errors);
    size_t length = strlen(run->errors);
    if (kit_line_count(run->errors) != 1 || length < 2 || run->errors[length - 1] != '\n')
        kit_fail(kit, "not one line on stderr:\n%s", run->errors);
    if (*run->output != '\0')
        kit_fail(kit, "something on stdout:\n%s", run->output);
    if (!kit_matches(run->errors, named))
        kit_fail(kit, "the message does not name %s:\n%s", named, run->errors);
}

static void bad_urls_are_refused(void **state)
{
    static const char *const urls[] = {"",
                                       "events",
                                       "events.db",
                                       "mysql://localhost/events",
                                       "sqlite",
                                       "sqlite:",
                                       "SQLITE3:x.db",
                                       "file:events.db",
                                       "http://",
                                       "postgresx://localhost/events"};
    for (size_t i = 0; i < KIT_COUNT(urls); i++)
        check_refusal(*state, urls[i], "database|DATABASE");
}

static void bad_url_of_the_environment_is_refused(void **state)
{
    const char *const arguments[] = {"serve", "--listen", "127.0.0.1:0", NULL};
    const char *const environment[] = {"DATABASE_URL=mysql://localhost/events", NULL};
    const struct kit_run *run = kit_run(*state, arguments, environment);
    assert_int_equal(run->exit_status, 2);
    assert_int_equal(kit_line_count(run->errors), 1);
    if (!kit_matches(run->errors, "DATABASE_URL|database"))
        kit_fail(*state, "the message does not say what is wrong: %s", run->errors);
}

static void missing_value_is_refused(void **state)
{
    const struct kit_run *run = kit_command(*state, "serve", "--database");
    assert_int_equal(run->exit_status, 2);
    assert_int_equal(kit_line_count(run->errors), 1);
    assert_true(kit_matches(run->errors, "database"));
}

static void heartbeats_that_are_no_number_are_refused(void **state)
{
    static const char *const values[] = {"", "often", "-1", "1s", "nan", "1,5"};
    for (size_t i = 0; i < KIT_COUNT(values); i++) {
        kit_note(*state, "--heartbeat %s", values[i]);
        const struct kit_run *run =
            kit_command(*state, "serve", "--listen", "127.0.0.1:0", "--heartbeat", values[i]);
        assert_int_equal(run->exit_status, 2);
        assert_int_equal(kit_line_count(run->errors), 1);
        assert_true(kit_matches(run->errors, "heartbeat"));
    }
}

/* A file of that content and mode in a new directory. */
static const char *make_file(struct kit *kit, const char *content, mode_t mode)
{
    const char *path = kit_format(kit, "%s/file.db", kit_make_directory(kit));
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(content, file);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path, mode), 0);
    return path;
}

static void places_where_no_file_can_be_are_refused(void **state)
{
    struct kit *kit = *state;
    check_refusal(kit, "sqlite:/no/such/directory/events.db", "/no/such/directory");
    check_refusal(kit, "sqlite:no/such/directory/events.db", "no/such/directory");
    const char *directory = kit_make_directory(kit);
    check_refusal(kit, kit_format(kit, "sqlite:%s", directory), directory);
    const char *file = make_file(kit, "", 0600);
    check_refusal(kit, kit_format(kit, "sqlite:%s/events.db", file), file);
}

static void a_file_that_is_no_database_is_refused_and_kept(void **state)
{
    struct kit *kit = *state;
    const char *const contents[] = {
        "Dear diary,\n",
        kit_repeat(kit, "This is a text and not a database.\n", 1000),
        kit_format(kit, "SQLite format 3%s", kit_repeat(kit, "x", 8000)),
    };
    for (size_t i = 0; i < KIT_COUNT(contents); i++) {
        const char *path = make_file(kit, contents[i], 0600);
        check_refusal(kit, kit_format(kit, "sqlite:%s", path), path);
        assert_string_equal(kit_read_file(kit, path), contents[i]);
    }
}

/* Root may write everything; without this capability the programs that it starts may not. It can't be had back,
 * so the tests of PostgreSQL, which is started as another user's, come before these. */
static void obey_file_modes(void)
{
    (void)prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE);
}

static void a_read_only_database_is_refused(void **state)
{
    struct kit *kit = *state;
    obey_file_modes();
    struct kit_server *server = kit_serve(kit);
    kit_publish(server, "c", "t", "1");
    kit_stop(server);
    const char *path = kit_format(kit, "%s/event-syncer.db", kit_directory(server));
    assert_int_equal(chmod(path, 0400), 0);
    check_refusal(kit, kit_format(kit, "sqlite:%s", path), path);
    /* Writable again, it is as it was: the refusal has left nothing behind that is in the way. */
    kit_note(kit, "writable again");
    assert_int_equal(chmod(path, 0600), 0);
    kit_assert_history(kit_serve(kit, "--database", kit_format(kit, "sqlite:%s", path)), "c", "[1]");
}

static void an_empty_file_that_may_not_be_written_is_refused(void **state)
{
    struct kit *kit = *state;
    obey_file_modes();
    const char *path = make_file(kit, "", 0400);
    check_refusal(kit, kit_format(kit, "sqlite:%s", path), path);
}

static void a_postgresql_that_is_not_there_is_refused(void **state)
{
    struct kit *kit = *state;
    /* A port that was free a moment ago. */
    struct kit_server *server = kit_serve(kit);
    kit_stop(server);
    const char *address = kit_format(kit, "127.0.0.1:%d", kit_port(server));
    check_refusal(kit, kit_format(kit, "postgres://nobody@%s/none", address), "[Dd]atabase|[Pp]ostgre");
    check_refusal(kit, kit_format(kit, "postgresql://nobody@%s/none", address), "[Dd]atabase|[Pp]ostgre");
}

static void a_database_that_postgresql_does_not_have_is_refused(void **state)
{
    struct kit *kit = *state;
    const char *url = kit_database(kit);
    check_refusal(kit, kit_format(kit, "%s-which-is-not", url), "[Dd]atabase|[Pp]ostgre");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_engines(health_tells_of_the_database),
        kit_test_engines(the_environment_names_it),
        kit_test_engines(the_option_beats_the_environment),
        kit_test_engines(it_is_closed_properly),
        kit_test_postgresql(a_database_that_postgresql_does_not_have_is_refused),
        kit_test(sqlite_is_the_default),
        kit_test(the_url_is_not_given_away),
        kit_test(bad_urls_are_refused),
        kit_test(bad_url_of_the_environment_is_refused),
        kit_test(missing_value_is_refused),
        kit_test(heartbeats_that_are_no_number_are_refused),
        kit_test(places_where_no_file_can_be_are_refused),
        kit_test(a_file_that_is_no_database_is_refused_and_kept),
        kit_test(a_read_only_database_is_refused),
        kit_test(an_empty_file_that_may_not_be_written_is_refused),
        kit_test(a_postgresql_that_is_not_there_is_refused),
    };
    return kit_run_event_tests(tests);
}
