/* Around the live events: which methods and paths there are, who may use them, how users are named in the path, what
 * /health says of the journal, and which journals a server takes. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit_live.h"

#define EVENT "{\"userId\":\"user1\",\"name\":\"add_revenue\",\"value\":100}"

static void other_methods_are_refused(void **state)
{
    static const struct {
        const char *method, *path, *allowed;
    } rows[] = {
        {"GET", "/liveEvent", "POST"},          {"PUT", "/liveEvent", "POST"},
        {"DELETE", "/liveEvent", "POST"},       {"OPTIONS", "/liveEvent", "POST"},
        {"POST", "/userEvents/user1", "GET"},   {"PUT", "/userEvents/user1", "GET"},
        {"DELETE", "/userEvents/user1", "GET"}, {"OPTIONS", "/userEvents/user1", "GET"},
    };
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_server *server = kit_serve_live(kit, journal);
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        kit_note(kit, "%s %s", rows[i].method, rows[i].path);
        const struct kit_response *response = kit_request(
            server, rows[i].method, rows[i].path, "Content-Type: application/json\r\n", EVENT, strlen(EVENT));
        kit_assert_error(response, 405, ".");
        kit_assert_header_matches(response, kit, "Allow", rows[i].allowed);
    }
    assert_string_equal(kit_read_file(kit, journal), "");
}

static void other_paths_are_unknown(void **state)
{
    struct kit_server *server = kit_serve_live(*state, kit_new_journal(*state));
    static const char *const posts[] = {"/liveEvents", "/liveEvent/", "/liveevent", "/liveEvent/1"};
    for (size_t i = 0; i < KIT_COUNT(posts); i++) {
        kit_note(*state, "POST %s", posts[i]);
        kit_assert_error(kit_post_json(server, posts[i], EVENT), 404, ".");
    }
    kit_assert_error(kit_get_path(server, "/userEvents"), 404, ".");
    kit_assert_error(kit_get_path(server, "/userevents/user1"), 404, ".");
    kit_assert_status_among(kit_get_path(server, "/userEvents/"), *state, "400|404");
    kit_assert_status_among(kit_get_path(server, "/userEvents/a/b"), *state, "400|404");
}

static void bodies_are_json_in_utf8(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_server *server = kit_serve_live(kit, journal);
    static const char *const headers[] = {
        "Content-Type: application/json\r\nContent-Encoding: gzip\r\n",
        "Content-Type: application/json; charset=iso-8859-1\r\n",
        "Content-Type: application/x-ndjson; charset=utf-16\r\n",
    };
    for (size_t i = 0; i < KIT_COUNT(headers); i++) {
        kit_note(kit, "%s", headers[i]);
        kit_assert_error(kit_request(server, "POST", "/liveEvent", headers[i], EVENT, strlen(EVENT)), 415,
                         ".");
    }
    assert_string_equal(kit_read_file(kit, journal), "");
    const char *with = "Content-Type: application/json; charset=UTF-8\r\n";
    kit_assert_status(kit_request(server, "POST", "/liveEvent", with, EVENT, strlen(EVENT)), 200);
    kit_assert_status(kit_request(server, "POST", "/liveEvent", NULL, EVENT, strlen(EVENT)), 200);
}

static void a_token_is_asked_for(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_server *server = kit_serve_live(kit, journal, "--token", "secret-T");
    const struct kit_response *responses[] = {
        kit_post_live(server, EVENT),
        kit_request(server, "POST", "/liveEvent", "Authorization: Bearer secret-t\r\n", EVENT, strlen(EVENT)),
        kit_get_path(server, "/userEvents/user1"),
        kit_get_path(server, "/userEvents/user1?access_token=secret-T"), /* for streams only */
    };
    for (size_t i = 0; i < KIT_COUNT(responses); i++) {
        kit_note(kit, "request %zu", i);
        kit_assert_error(responses[i], 401, ".");
        kit_assert_header_matches(responses[i], kit, "WWW-Authenticate", "^Bearer");
    }
    assert_string_equal(kit_read_file(kit, journal), "");
    const char *token = "Authorization: Bearer secret-T\r\n";
    kit_assert_status(kit_request(server, "POST", "/liveEvent", token, EVENT, strlen(EVENT)), 200);
    kit_assert_status(kit_request(server, "GET", "/userEvents/user1", token, NULL, 0), 404);
    kit_process_all(kit, journal, .lines = 1, .users = 1);
    kit_assert_status(kit_request(server, "GET", "/userEvents/user1", token, NULL, 0), 200);
}

static void foreign_pages_are_refused(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_server *server = kit_serve_live(kit, journal);
    const char *origin = "Origin: https://example.org\r\n";
    kit_assert_error(kit_request(server, "POST", "/liveEvent", origin, EVENT, strlen(EVENT)), 403, ".");
    kit_assert_error(kit_request(server, "GET", "/userEvents/user1", origin, NULL, 0), 403, ".");
    assert_string_equal(kit_read_file(kit, journal), "");
}

static void head_is_get_without_a_body(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    kit_append(kit, journal, kit_add(kit, "user1", "150"));
    kit_process_all(kit, journal, .lines = 1, .users = 1);
    struct kit_server *server = kit_serve_live(kit, journal);
    struct kit_connection *connection = kit_connect(server);
    kit_send_request(connection, "HEAD", "/userEvents/user1", NULL, NULL, 0);
    const struct kit_response *response = kit_receive_head(connection);
    kit_assert_status(response, 200);
    kit_assert_header(response, "Content-Length", "32");
    kit_assert_header(response, "Content-Type", "application/json");
    kit_send_request(connection, "HEAD", "/userEvents/user2", NULL, NULL, 0);
    kit_assert_status(kit_receive_head(connection), 404);
    kit_send_request(connection, "GET", "/userEvents/user1", NULL, NULL, 0);
    response = kit_receive(connection);
    kit_assert_body(response, "{\"userId\":\"user1\",\"revenue\":150}");
    kit_assert_header(response, "Content-Type", "application/json");
}

static void users_are_percent_encoded_in_the_path(void **state)
{
    static const struct {
        const char *user, *path; /* the former as in JSON */
    } rows[] = {
        {"a b", "a%20b"},       {"a/b", "a%2Fb"},
        {"a/b", "a%2fb"},       {"50%", "50%25"},
        {"a+b", "a+b"},         {"a+b", "a%2Bb"},
        {"\xc3\xa4", "%C3%A4"}, {"what?", "what%3F"},
        {"#1", "%231"},         {"say \\\"x\\\"", "say%20%22x%22"},
        {"\\\\", "%5C"},        {"..", "%2E%2E"},
        {"42", "42"},           {"42", "%34%32?x=1"},
        {"%41", "%2541"},
    };
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    for (size_t i = 0; i < KIT_COUNT(rows); i++)
        kit_append(kit, journal, kit_add(kit, rows[i].user, "1"));
    kit_append(kit, journal, "{\"userId\":42,\"name\":\"add_revenue\",\"value\":2}\n");
    struct kit_server *server = kit_serve_live(kit, journal);
    kit_process_all(kit, journal, .lines = KIT_COUNT(rows) + 1, .users = 12);
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        kit_note(kit, "%s", rows[i].path);
        int revenue = strcmp(rows[i].user, "42") == 0 ? 2 : 0;
        for (size_t other = 0; other < KIT_COUNT(rows); other++)
            revenue += strcmp(rows[i].user, rows[other].user) == 0;
        const struct kit_response *response =
            kit_get_path(server, kit_format(kit, "/userEvents/%s", rows[i].path));
        kit_assert_status(response, 200);
        kit_assert_body(response,
                        kit_format(kit, "{\"userId\":\"%s\",\"revenue\":%d}", rows[i].user, revenue));
    }
}

static void what_is_no_user_is_not_found(void **state)
{
    static const char *const paths[] = {"%", "%2", "%zz", "a%00b", "%0A", "%FF", "%C3"};
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_live(kit, kit_new_journal(kit));
    kit_assert_revenue(server, "user1", NULL);
    kit_assert_revenue(server, kit_repeat(kit, "x", 255), NULL);
    const char *long_path = kit_format(kit, "/userEvents/%s", kit_repeat(kit, "x", 256));
    kit_assert_status_among(kit_get_path(server, long_path), kit, "400|404");
    for (size_t i = 0; i < KIT_COUNT(paths); i++) {
        kit_note(kit, "%s", paths[i]);
        kit_assert_status_among(kit_get_path(server, kit_format(kit, "/userEvents/%s", paths[i])), kit,
                                "400|404");
    }
}

static void revenue_is_an_exact_decimal(void **state)
{
    static const struct {
        const char *user, *values[4], *revenue;
    } rows[] = {
        {"whole", {"100", "50"}, "150"},
        {"tenths", {"0.1", "0.1", "0.1"}, "0.3"},
        {"negative", {"-20.05"}, "-20.05"},
        {"zeros", {"1.500", "0.500"}, "2"},
        {"hundreds", {"1e2", "1E+2"}, "200"},
        {"nothing", {"5", "-5.00"}, "0"},
        {"small", {"1e-9", "-3e-9"}, "-0.000000002"},
        {"fraction", {"-0.25", "0.125"}, "-0.125"},
    };
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_server *server = kit_serve_live(kit, journal);
    for (size_t i = 0; i < KIT_COUNT(rows); i++)
        for (size_t value = 0; value < 4 && rows[i].values[value] != NULL; value++)
            kit_live(server, kit_add(kit, rows[i].user, rows[i].values[value]));
    kit_process_all(kit, journal, .lines = 16, .users = KIT_COUNT(rows));
    for (size_t i = 0; i < KIT_COUNT(rows); i++)
        kit_assert_revenue(server, rows[i].user, rows[i].revenue);
}

static void health_tells_of_the_journal(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_live(kit, kit_new_journal(kit));
    const struct kit_response *response = kit_get_path(server, "/health");
    kit_assert_status(response, 200);
    kit_assert_body_matches(response, "[{,]\"journal\":");
    kit_live(server, EVENT);
    assert_int_equal(kit_health(server, "journal.lines"), 1);
}

/* ---- which journals a server takes ---- */

static const struct kit_run *serve_with(struct kit *kit, const char *journal)
{
    return kit_command(kit, "serve", "--listen", "127.0.0.1:0", "--database", kit_database(kit), "--journal",
                       journal);
}

static void unusable_journals_are_refused(void **state)
{
    struct kit *kit = *state;
    kit_expect_refusal(kit, serve_with(kit, "/no/such/directory/events.jsonl"), "/no/such/directory");
    kit_expect_refusal(kit, serve_with(kit, kit_make_directory(kit)), "journal|directory");
    kit_expect_refusal(kit, serve_with(kit, ""), "journal");
    kit_expect_refusal(kit, serve_with(kit, "/proc/no-such-file"), "/proc/no-such-file");
    const char *pipe = kit_format(kit, "%s/pipe", kit_make_directory(kit));
    assert_int_equal(mkfifo(pipe, 0600), 0);
    kit_expect_refusal(kit, serve_with(kit, pipe), "pipe");
    kit_expect_refusal(kit, kit_command(kit, "serve", "--journal"), "journal");
}

static void a_second_server_is_refused(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_server *server = kit_serve_live(kit, journal);
    kit_expect_refusal(kit, serve_with(kit, journal), "server-events.jsonl");
    kit_live(server, EVENT);
    kit_expect_refusal(kit, serve_with(kit, journal), "server-events.jsonl");
    /* Nor under another name. */
    const char *link = kit_format(kit, "%s/link.jsonl", kit_make_directory(kit));
    assert_int_equal(symlink(journal, link), 0);
    kit_expect_refusal(kit, serve_with(kit, link), "link.jsonl|server-events.jsonl");
    kit_live(server, EVENT);
    kit_stop(server);
    kit_live(kit_serve_live(kit, journal), EVENT);
    kit_process_all(kit, journal, .lines = 3, .users = 1, .added = "300");
}

static void the_journal_goes_on_after_a_restart(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    kit_append(kit, journal, kit_add(kit, "old", "1"));
    for (int i = 0; i < 3; i++) {
        struct kit_server *server = kit_serve_live(kit, journal);
        kit_live(server, EVENT);
        kit_stop(server);
    }
    assert_string_equal(
        kit_read_file(kit, journal),
        kit_format(kit, "%s%s", kit_add(kit, "old", "1"), kit_repeat(kit, kit_add(kit, "user1", "100"), 3)));
}

/* What a crash has left does not spoil the next line. */
static void half_a_line_gets_a_line_break(void **state)
{
    static const char half[] = "{\"userId\":\"user1\",\"name\":\"add_rev";
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    kit_append(kit, journal, kit_add(kit, "user1", "1"));
    kit_append(kit, journal, half);
    struct kit_server *server = kit_serve_live(kit, journal);
    kit_live(server, EVENT);
    kit_live(server, EVENT);
    const char *line = kit_add(kit, "user1", "100");
    assert_string_equal(kit_read_file(kit, journal),
                        kit_format(kit, "%s%s\n%s%s", kit_add(kit, "user1", "1"), half, line, line));
    const struct kit_run *run = kit_run_processor(kit, journal);
    kit_expect_summary(kit, run, 1, .lines = 3, .users = 1, .added = "201", .subtracted = "0", .skipped = 1);
    if (!kit_matches(run->errors, "server-events.jsonl:2: skipped: "))
        kit_fail(kit, "line 2 is not reported: %s", run->errors);
    kit_assert_revenue(server, "user1", "201");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_sqlite(other_methods_are_refused),
        kit_test_sqlite(other_paths_are_unknown),
        kit_test_sqlite(bodies_are_json_in_utf8),
        kit_test_sqlite(a_token_is_asked_for),
        kit_test_sqlite(foreign_pages_are_refused),
        kit_test_sqlite(head_is_get_without_a_body),
        kit_test_engines(users_are_percent_encoded_in_the_path),
        kit_test_engines(what_is_no_user_is_not_found),
        kit_test_engines(revenue_is_an_exact_decimal),
        kit_test_sqlite(health_tells_of_the_journal),
        kit_test_sqlite(unusable_journals_are_refused),
        kit_test_sqlite(a_second_server_is_refused),
        kit_test_sqlite(the_journal_goes_on_after_a_restart),
        kit_test_engines(half_a_line_gets_a_line_break),
    };
    return kit_run_event_tests(tests);
}
