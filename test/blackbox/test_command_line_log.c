/*
 * Proves what the log says and what it keeps to itself: --log-level, one line a request with --access-log, no
 * contents below debug, the token never.
 */
#include <string.h>

#include "kit_http.h"

/* The first number behind a path, so that no duration or size is taken for it. */
#define STATUS(pattern) "[^0-9]*(HTTP/1\\.[01][^0-9]*)?" pattern "([^0-9]|$)"

/* What the server has written, on either stream, once it has ended. */
static const char *log_of_ended(struct kit_server *server)
{
    kit_stop(server);
    struct kit *kit = kit_of(server);
    const char *output = kit_read_file(kit, kit_format(kit, "%s/stdout", kit_directory(server)));
    return kit_format(kit, "%s%s", kit_log(server), output);
}

static void assert_lacks(struct kit *kit, const char *log, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strstr(log, words[i]) != NULL)
            kit_fail(kit, "\"%s\" is in the log:\n%s", words[i], log);
}

/* A few requests of every outcome, with contents that are easy to find. */
static void make_requests(struct kit_server *server, const char *authorization)
{
    kit_request(server, "POST", "/push?key=KEYMARK", authorization, "\"BODYMARK\"", 10);
    kit_request(server, "POST", "/push?key=KEYMARK", authorization, "BODYMARK", 8);
    kit_request(server, "GET", "/blocking-get?key=KEYMARK&groupId=GROUPMARK&timeout=0", authorization, NULL,
                0);
    kit_request(server, "GET", "/no-such-path?QUERYMARK=1", authorization, NULL, 0);
    kit_request(server, "GET", "/push?key=KEYMARK", authorization, NULL, 0);
    kit_request(server, "GET", "/push?key=KEY%4dARK%zz", authorization, NULL, 0);
}

static const char *const contents[] = {"KEYMARK", "KEY%4dARK", "BODYMARK", "GROUPMARK", "QUERYMARK"};

static void level_says_how_much_is_logged(void **state)
{
    static const char *const levels[] = {"error", "warn", "info", "debug"};
    struct kit *kit = *state;
    size_t lines[KIT_COUNT(levels)];
    for (size_t i = 0; i < KIT_COUNT(levels); i++) {
        struct kit_server *server = kit_serve(kit, "--log-level", levels[i]);
        make_requests(server, NULL);
        lines[i] = kit_line_count(log_of_ended(server));
    }
    struct kit_server *server = kit_serve(kit);
    make_requests(server, NULL);
    size_t usual = kit_line_count(log_of_ended(server));
    /* An ordinary life has no errors to tell; the last line, which counts what was stored, may come all the
     * same. */
    assert_in_range(lines[0], 0, 1);
    assert_true(lines[1] >= lines[0] && lines[2] >= lines[1] && lines[3] >= lines[2]);
    assert_in_range(usual, 1, lines[3]);
}

static void access_log_has_one_line_a_request(void **state)
{
    static const struct {
        const char *line;
        size_t count;
    } rows[] = {
        {"POST[^0-9]*/push" STATUS("200"), 1},
        {"POST[^0-9]*/push" STATUS("400"), 1},
        {"GET[^0-9]*/blocking-get" STATUS("200"), 1},
        {"GET[^0-9]*/no-such-path" STATUS("404"), 1},
        {"GET[^0-9]*/push" STATUS("40[05]"), 2},
        {"POST", 2},
        {"GET", 4},
    };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit, "--access-log");
    make_requests(server, NULL);
    const char *log = log_of_ended(server);
    for (size_t i = 0; i < KIT_COUNT(rows); i++)
        if (kit_matching_lines(kit, log, rows[i].line) != rows[i].count)
            kit_fail(kit, "%zu lines instead of %zu match %s:\n%s",
                     kit_matching_lines(kit, log, rows[i].line), rows[i].count, rows[i].line, log);
    assert_lacks(kit, log, contents, KIT_COUNT(contents));
}

/* Requests on one connection, and those that never reach a handler. */
static void access_log_has_every_request_of_a_connection(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit, "--access-log");
    struct kit_connection *connection = kit_connect(server);
    for (int i = 0; i < 20; i++) {
        kit_send_request(connection, "GET", "/healthz", NULL, NULL, 0);
        kit_assert_status(kit_receive(connection), 200);
    }
    kit_close(connection);
    const char *log = log_of_ended(server);
    assert_int_equal(kit_matching_lines(kit, log, "GET[^0-9]*/healthz" STATUS("200")), 20);
}

static void no_access_log_unless_asked_for(void **state)
{
    struct kit_server *server = kit_serve(*state);
    make_requests(server, NULL);
    const char *log = log_of_ended(server);
    assert_int_equal(kit_matching_lines(*state, log, "(GET|POST)[^0-9]*/(push|blocking-get|no-such-path)"),
                     0);
    assert_lacks(*state, log, contents, KIT_COUNT(contents));
}

/* A path is the client's text: it must not be able to write lines of its own, or colours. */
static void log_cannot_be_forged(void **state)
{
    struct kit_server *server = kit_serve(*state, "--access-log", "--log-level", "debug");
    kit_request(server, "GET", "/x%0aFORGED%0d%0aFORGED", NULL, NULL, 0);
    kit_request(server, "POST", "/push?key=x%0aFORGED", NULL, "1", 1);
    kit_request(server, "GET", "/%1b%5b31mRED", NULL, NULL, 0);
    kit_request(server, "GET", "/healthz", "X-Note: a\x1b[31m\r\n", NULL, 0);
    const char *log = log_of_ended(server);
    assert_int_equal(kit_matching_lines(*state, log, "^FORGED"), 0);
    static const char *const escapes[] = {"\x1b[31m", "\r"};
    assert_lacks(*state, log, escapes, KIT_COUNT(escapes));
}

static void check_token_stays_secret(struct kit *kit, const char *level, const char *option,
                                     const char *variable)
{
    static const char *const words[] = {"TOKENMARK", "TOKEN%4dARK", "TOKEN%4DARK", "WRONGMARK"};
    const char *const arguments[] = {"--access-log", "--log-level", level, option, "TOKENMARK", NULL};
    const char *const only_level[] = {"--access-log", "--log-level", level, NULL};
    const char *const environment[] = {variable, NULL};
    struct kit_start start = {.arguments = option == NULL ? only_level : arguments,
                              .environment = environment};
    struct kit_server *server = kit_start(kit, &start);
    make_requests(server, "Authorization: Bearer TOKENMARK\r\n");
    make_requests(server, "Authorization: TOKENMARK\r\n");
    make_requests(server, "Authorization: Bearer WRONGMARK\r\n");
    kit_request(server, "GET", "/no-such-path?access_token=TOKENMARK", NULL, NULL, 0);
    kit_request(server, "GET", "/no-such-path?a=b&access_token=TOKEN%4dARK&c=d", NULL, NULL, 0);
    kit_request(server, "GET", "/no-such-path?access%5Ftoken=TOKENMARK", NULL, NULL, 0);
    kit_request(server, "POST", "/push?access_token=TOKENMARK&key=%zz", NULL, "1", 1);
    const char *log = log_of_ended(server);
    assert_lacks(kit, log, words, KIT_COUNT(words));
}

static void token_is_never_logged(void **state)
{
    check_token_stays_secret(*state, "info", "--token", NULL);
    check_token_stays_secret(*state, "debug", "--token", NULL);
    check_token_stays_secret(*state, "debug", NULL, "EVENT_SYNCER_TOKEN=TOKENMARK");
}

static void token_is_in_no_message_about_the_command_line(void **state)
{
    const struct kit_run *run = kit_command(*state, "serve", "--token", "TOKENMARK", "--ttl", "x");
    assert_int_equal(run->exit_status, 2);
    assert_null(strstr(run->errors, "TOKENMARK"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(level_says_how_much_is_logged),
        kit_test(access_log_has_one_line_a_request),
        kit_test(access_log_has_every_request_of_a_connection),
        kit_test(no_access_log_unless_asked_for),
        kit_test(log_cannot_be_forged),
        kit_test(token_is_never_logged),
        kit_test(token_is_in_no_message_about_the_command_line),
    };
    return kit_run_tests(tests);
}
