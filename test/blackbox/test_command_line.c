/*
 * Proves what the command line takes and refuses: help and version, every mistake told in one line with exit
 * status 2, where it may listen, the port file, and that an option beats the environment.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit_http.h"

struct mistake {
    const char *named;        /* what the message must name, a regular expression */
    const char *arguments[8]; /* ended by NULL */
};

static void check_refusal(struct kit *kit, const struct kit_run *run, const char *named, const char *what)
{
    size_t length = strlen(run->errors);
    if (run->exit_status != 2)
        kit_fail(kit, "%s: exit status %d\n%s", what, run->exit_status, run->errors);
    if (kit_line_count(run->errors) != 1 || length < 2 || run->errors[length - 1] != '\n')
        kit_fail(kit, "%s: not one line on stderr:\n%s", what, run->errors);
    if (*run->output != '\0')
        kit_fail(kit, "%s: something on stdout:\n%s", what, run->output);
    if (!kit_matches(run->errors, named))
        kit_fail(kit, "%s: the message does not name %s:\n%s", what, named, run->errors);
}

static void check_mistakes(struct kit *kit, const struct mistake *mistakes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *what = kit_format(kit, "%s %s %s", mistakes[i].arguments[0],
                                      mistakes[i].arguments[1] == NULL ? "" : mistakes[i].arguments[1],
                                      mistakes[i].arguments[2] == NULL ? "" : mistakes[i].arguments[2]);
        check_refusal(kit, kit_run(kit, mistakes[i].arguments, NULL), mistakes[i].named, what);
    }
}

static void help_names_every_option(void **state)
{
    static const char *const options[] = {
        "serve",         "--listen",          "--port-file", "--ttl",        "--wait",  "--threads",
        "--max-threads", "--max-connections", "--max-body",  "--max-memory", "--token", "--token-file",
        "--insecure",    "--cors-origin",     "--log-level", "--access-log", "PORT",    "EVENT_SYNCER_TOKEN",
    };
    const struct kit_run *runs[] = {kit_command(*state, "--help"), kit_command(*state, "serve", "--help")};
    for (size_t run = 0; run < KIT_COUNT(runs); run++) {
        assert_int_equal(runs[run]->exit_status, 0);
        assert_string_equal(runs[run]->errors, "");
        for (size_t i = 0; i < KIT_COUNT(options); i++)
            if (strstr(runs[run]->output, options[i]) == NULL)
                kit_fail(*state, "%s is not in the help:\n%s", options[i], runs[run]->output);
    }
}

static void version_is_one_line(void **state)
{
    const struct kit_run *run = kit_command(*state, "--version");
    assert_int_equal(run->exit_status, 0);
    assert_string_equal(run->errors, "");
    assert_int_equal(kit_line_count(run->output), 1);
    if (!kit_matches(run->output, "[0-9]+\\.[0-9]+"))
        kit_fail(*state, "no version in: %s", run->output);
}

static void unknown_words_are_refused(void **state)
{
    static const struct mistake mistakes[] = {
        {"no-such-option", {"serve", "--no-such-option"}},
        {"no-such-option", {"--no-such-option"}},
        {"no-such-option", {"serve", "--listen", "127.0.0.1:0", "--no-such-option", "5"}},
        {"tttl", {"serve", "--listen", "127.0.0.1:0", "--tttl", "5"}},
        {"-z", {"serve", "-z"}},
        {"frobnicate", {"frobnicate"}},
        {"Serve", {"Serve"}},
        {"surplus", {"serve", "surplus"}},
        {"surplus", {"serve", "--listen", "127.0.0.1:0", "surplus"}},
    };
    check_mistakes(*state, mistakes, KIT_COUNT(mistakes));
}

static void missing_values_are_refused(void **state)
{
    static const char *const options[] = {
        "--listen",      "--port-file",       "--ttl",      "--wait",       "--threads",
        "--max-threads", "--max-connections", "--max-body", "--max-memory", "--token",
        "--token-file",  "--cors-origin",     "--log-level"};
    for (size_t i = 0; i < KIT_COUNT(options); i++) {
        const struct mistake mistake = {options[i] + 2, {"serve", options[i]}};
        check_mistakes(*state, &mistake, 1);
    }
}

static void bad_numbers_are_refused(void **state)
{
    static const char *const options[] = {
        "--ttl", "--wait", "--threads", "--max-threads", "--max-connections", "--max-body", "--max-memory"};
    static const char *const values[] = {"many", "", "1x", "-1", "99999999999999999999"};
    for (size_t i = 0; i < KIT_COUNT(options); i++)
        for (size_t value = 0; value < KIT_COUNT(values); value++) {
            const struct mistake mistake = {options[i] + 2,
                                            {"serve", options[i], values[value], "--listen", "127.0.0.1:0"}};
            check_mistakes(*state, &mistake, 1);
        }
}

static void numbers_that_leave_nothing_are_refused(void **state)
{
    static const struct mistake mistakes[] = {
        {"ttl", {"serve", "--ttl", "0", "--listen", "127.0.0.1:0"}},
        {"threads", {"serve", "--threads", "0", "--listen", "127.0.0.1:0"}},
        {"max-threads", {"serve", "--max-threads", "0", "--listen", "127.0.0.1:0"}},
        {"max-connections", {"serve", "--max-connections", "0", "--listen", "127.0.0.1:0"}},
        {"max-threads", {"serve", "--threads", "8", "--max-threads", "4", "--listen", "127.0.0.1:0"}},
        {"max-threads", {"serve", "--max-threads", "1", "--listen", "127.0.0.1:0"}},
    };
    check_mistakes(*state, mistakes, KIT_COUNT(mistakes));
}

static void other_bad_values_are_refused(void **state)
{
    static const struct mistake mistakes[] = {
        {"log-level", {"serve", "--log-level", "loud", "--listen", "127.0.0.1:0"}},
        {"/no/such/token", {"serve", "--token-file", "/no/such/token", "--listen", "127.0.0.1:0"}},
        {"token", {"serve", "--token-file", "/dev/null", "--listen", "127.0.0.1:0"}},
        {"token", {"serve", "--token", "", "--listen", "127.0.0.1:0"}},
        {"/no/such/directory/port",
         {"serve", "--port-file", "/no/such/directory/port", "--listen", "127.0.0.1:0"}},
        {"listen|99999", {"serve", "--listen", "127.0.0.1:99999"}},
        {"listen|-1", {"serve", "--listen", "127.0.0.1:-1"}},
        {"listen|http", {"serve", "--listen", "127.0.0.1:http"}},
        {"listen|300", {"serve", "--listen", "300.0.0.1:0"}},
        {"listen", {"serve", "--listen", ""}},
        {"listen|192",
         {"serve", "--listen", "192.0.2.1:0", "--insecure"}}, /* for documentation: nobody's address */
    };
    check_mistakes(*state, mistakes, KIT_COUNT(mistakes));
}

static void bad_port_of_the_environment_is_refused(void **state)
{
    static const char *const values[] = {"PORT=http", "PORT=99999", "PORT=-1", "PORT=80x"};
    for (size_t i = 0; i < KIT_COUNT(values); i++) {
        const char *const arguments[] = {"serve", NULL}, *const environment[] = {values[i], NULL};
        check_refusal(*state, kit_run(*state, arguments, environment), "PORT", values[i]);
    }
}

static void open_address_needs_a_token_or_a_word(void **state)
{
    static const struct mistake mistakes[] = {
        {"--token|--insecure", {"serve", "--listen", "0.0.0.0:0"}},
        {"--token|--insecure", {"serve", "--listen", "[::]:0"}},
    };
    check_mistakes(*state, mistakes, KIT_COUNT(mistakes));
    /* An empty variable is no token. */
    const char *const arguments[] = {"serve", "--listen", "0.0.0.0:0", NULL};
    const char *const environment[] = {"EVENT_SYNCER_TOKEN=", NULL};
    check_refusal(*state, kit_run(*state, arguments, environment), "[Tt][Oo][Kk][Ee][Nn]",
                  "empty EVENT_SYNCER_TOKEN");
}

static void open_address_is_taken_with_either(void **state)
{
    static const struct {
        const char *option, *value, *variable;
        int status; /* of a push without a token */
    } rows[] = {
        {"--insecure", NULL, NULL, 200},
        {"--token", "secret-T", NULL, 401},
        {NULL, NULL, "EVENT_SYNCER_TOKEN=secret-T", 401},
    };
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        const char *const arguments[] = {"serve", "--listen",     "0.0.0.0:0",   "--port-file",
                                         "port",  rows[i].option, rows[i].value, NULL};
        const char *const environment[] = {rows[i].variable, NULL};
        struct kit_start start = {.arguments = arguments, .environment = environment, .exact = true};
        struct kit_server *server = kit_start(*state, &start);
        kit_assert_status(kit_request(server, "POST", "/push?key=k", NULL, "1", 1), rows[i].status);
    }
}

static void taken_port_is_named(void **state)
{
    struct kit *kit = *state;
    int port = kit_port(kit_serve(kit));
    const struct kit_run *run = kit_command(kit, "serve", "--listen", kit_format(kit, "127.0.0.1:%d", port));
    check_refusal(kit, run, kit_format(kit, "%d", port), "taken port");
    if (!kit_matches(run->errors, "--listen|--port|another port|other port|stop"))
        kit_fail(kit, "the message does not say what to do: %s", run->errors);
}

static void port_file_of_a_refused_start_is_not_written(void **state)
{
    struct kit *kit = *state;
    int port = kit_port(kit_serve(kit));
    const struct kit_run *run =
        kit_command(kit, "serve", "--port-file", "port", "--listen", kit_format(kit, "127.0.0.1:%d", port));
    assert_int_equal(run->exit_status, 2);
    assert_int_not_equal(access(kit_format(kit, "%s/port", run->directory), F_OK), 0);
}

/* Who reads the file sees all of it or the old one: the old file itself never changes. */
static void port_file_is_written_by_rename(void **state)
{
    struct kit *kit = *state;
    const char *path = kit_format(kit, "%s/port", kit_make_directory(kit));
    FILE *old = fopen(path, "w+e");
    assert_non_null(old);
    assert_true(fputs("old", old) >= 0 && fflush(old) == 0);
    struct stat before, now;
    assert_int_equal(fstat(fileno(old), &before), 0);
    struct kit_server *server = kit_start_with_port_file(kit, path);
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
    do {
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(kit, "the port file has not been replaced, it is: %s", kit_read_file(kit, path));
        poll(NULL, 0, 2);
        assert_int_equal(stat(path, &now), 0); /* there is always one */
    } while (now.st_ino == before.st_ino);
    int port = 0;
    char content[8] = "", line_end = 0;
    assert_int_equal(pread(fileno(old), content, sizeof content - 1, 0), 3);
    assert_string_equal(content, "old");
    int fields = sscanf(kit_read_file(kit, path), "%d%c", &port, &line_end);
    assert_true(fields == 1 || (fields == 2 && line_end == '\n'));
    struct kit_connection *connection = kit_try_connect_to(kit, "127.0.0.1", port);
    assert_non_null(connection);
    kit_send_text(connection, "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n");
    kit_assert_status(kit_receive(connection), 200);
    fclose(old);
    kit_close(connection);
    kit_stop(server);
}

/* A port that was free a moment ago, as one. */
static int free_port(struct kit *kit)
{
    struct kit_server *server = kit_serve(kit);
    kit_stop(server);
    return kit_port(server);
}

static void port_comes_from_the_environment(void **state)
{
    struct kit *kit = *state;
    static const char *const lines[][6] = {
        {"serve", "--port-file", "port"},
        {"--port-file", "port"}, /* serve is the default command */
        {"serve", "--listen", "127.0.0.1", "--port-file", "port"},
    };
    for (size_t i = 0; i < KIT_COUNT(lines); i++) {
        int port = free_port(kit);
        struct kit_start start = {.arguments = lines[i], .exact = true};
        start.environment = (const char *const[]){kit_format(kit, "PORT=%d", port), NULL};
        struct kit_server *server = kit_start(kit, &start);
        assert_int_equal(kit_port(server), port);
        kit_assert_status(kit_request(server, "GET", "/healthz", NULL, NULL, 0), 200);
        kit_stop(server);
    }
}

static void listen_beats_the_port_of_the_environment(void **state)
{
    struct kit *kit = *state;
    int port = free_port(kit), other_port = kit_port(kit_serve(kit));
    struct kit_start start = {.exact = true};
    start.arguments = (const char *const[]){"serve",       "--listen", kit_format(kit, "127.0.0.1:%d", port),
                                            "--port-file", "port",     NULL};
    /* Would be refused: it is taken. */
    start.environment = (const char *const[]){kit_format(kit, "PORT=%d", other_port), NULL};
    assert_int_equal(kit_port(kit_start(kit, &start)), port);
}

static void only_this_machine_is_served_by_default(void **state)
{
    struct kit_server *server = kit_serve(*state);
    /* All of 127.0.0.0/8 is this machine; a server on every address would answer here. */
    assert_null(kit_try_connect_to(*state, "127.0.0.2", kit_port(server)));
}

static void wait_and_ttl_take_effect(void **state)
{
    struct kit_server *server = kit_serve(*state, "--wait", "1", "--ttl", "1");
    int64_t started_at_ms = kit_now_ms();
    kit_assert_body(kit_get(server, "k", "g", NULL), "[]");
    assert_in_range(kit_now_ms() - started_at_ms, 990, (int64_t)(3000 * kit_time_scale()));
    kit_assert_error(kit_get(server, "k", "g", "timeout=1.5"), 400, "timeout");
    kit_push(server, "k", "1");
    kit_wait_until_health(server, "queue.events", 0);
    kit_assert_get(server, "k", "g", "[]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(help_names_every_option),
        kit_test(version_is_one_line),
        kit_test(unknown_words_are_refused),
        kit_test(missing_values_are_refused),
        kit_test(bad_numbers_are_refused),
        kit_test(numbers_that_leave_nothing_are_refused),
        kit_test(other_bad_values_are_refused),
        kit_test(bad_port_of_the_environment_is_refused),
        kit_test(open_address_needs_a_token_or_a_word),
        kit_test(open_address_is_taken_with_either),
        kit_test(taken_port_is_named),
        kit_test(port_file_of_a_refused_start_is_not_written),
        kit_test(port_file_is_written_by_rename),
        kit_test(port_comes_from_the_environment),
        kit_test(listen_beats_the_port_of_the_environment),
        kit_test(only_this_machine_is_served_by_default),
        kit_test(wait_and_ttl_take_effect),
    };
    return kit_run_tests(tests);
}
