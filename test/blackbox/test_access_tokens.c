/*
 * Proves how the token comes into the server, and on which addresses it starts without one: what could not be sent in a
 * header, or would be cut on the way, is refused at the start, and no message shows it.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kit_http.h"

static const char *write_bytes(struct kit *kit, const char *bytes, size_t length)
{
    const char *path = kit_format(kit, "%s/token", kit_make_directory(kit));
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
    return path;
}

static const char *write_text(struct kit *kit, const char *text)
{
    return write_bytes(kit, text, strlen(text));
}

/* One line on stderr that matches, exit status 2, and the secret is not in it. */
static void check_refusal(struct kit *kit, const struct kit_run *run, const char *pattern)
{
    assert_int_equal(run->exit_status, 2);
    assert_string_equal(run->output, "");
    if (kit_line_count(run->errors) != 1 || !kit_matches(run->errors, pattern))
        kit_fail(kit, "not one line that matches %s:\n%s", pattern, run->errors);
    if (strstr(run->errors, "SECRET") != NULL)
        kit_fail(kit, "the token is in the message: %s", run->errors);
}

static void check_lets_in(struct kit_server *server, const char *right, const char *wrong)
{
    struct kit *kit = kit_of(server);
    const char *header = kit_format(kit, "Authorization: Bearer %s\r\n", right);
    kit_assert_status(kit_request(server, "POST", "/push?key=k", header, "1", 1), 200);
    header = kit_format(kit, "Authorization: Bearer %s\r\n", wrong);
    kit_assert_status(kit_request(server, "POST", "/push?key=k", header, "1", 1), 401);
    kit_assert_status(kit_request(server, "POST", "/push?key=k", NULL, "1", 1), 401);
}

static void the_first_line_of_a_file_is_the_token(void **state)
{
    static const char *const contents[] = {"SECRET-1", "SECRET-1\n", "SECRET-1\r\n", "SECRET-1\nSECRET-2\n"};
    for (size_t i = 0; i < KIT_COUNT(contents); i++)
        check_lets_in(kit_serve(*state, "--token-file", write_text(*state, contents[i])), "SECRET-1",
                      "SECRET-2");
    /* Not UTF-8 in ASCII, but of bytes that a header may hold. */
    check_lets_in(kit_serve(*state, "--token-file", write_text(*state, "SECRET-\xc3\xa9 \"1\"\n")),
                  "SECRET-\xc3\xa9 \"1\"", "SECRET-");
}

static void files_without_a_good_token_are_refused(void **state)
{
    struct kit *kit = *state;
    const char *longest = kit_format(kit, "SECRET%s", kit_repeat(kit, "x", 4096 - 6));
    const struct {
        const char *path, *pattern;
    } rows[] = {
        {write_text(kit, ""), "is empty"},
        {write_text(kit, "\n"), "is empty"},
        {write_text(kit, "\nSECRET\n"), "is empty"},
        {write_text(kit, "\r\n"), "is empty"},
        {write_bytes(kit, "SECRET\0-1\n", 10), "can't stand in a header"},
        {write_text(kit, "SECRET\x01\n"), "can't stand in a header"},
        {write_text(kit, "SECRET\t1\n"), "can't stand in a header"},
        {write_text(kit, "SECRET\r1\n"), "can't stand in a header"},
        {write_text(kit, "SECRET\x7f\n"), "can't stand in a header"},
        {write_text(kit, "SECRET\xff\n"), "can't stand in a header"},
        {write_text(kit, "SECRET\xc2\x85\n"), "can't stand in a header"},
        {write_text(kit, " SECRET\n"), "blank"},
        {write_text(kit, "SECRET \n"), "blank"},
        {write_text(kit, kit_format(kit, "%sy", longest)), "longer than 409[68] bytes"},
        {write_text(kit, kit_format(kit, "%s%s\n", longest, kit_repeat(kit, "y", 10000))), "longer than"},
        {kit_make_directory(kit), "can't read"},
        {"/no/such/file", "can't read"},
        {"/proc/self/mem", "can't read"}, /* opens, and fails at the first read */
    };
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        kit_note(kit, "row %zu, %s", i, rows[i].pattern);
        check_refusal(kit, kit_command(kit, "serve", "--listen", "127.0.0.1:0", "--token-file", rows[i].path),
                      rows[i].pattern);
        if (i % 4 == 0)
            check_refusal(kit, kit_command(kit, "send", "--token-file", rows[i].path), rows[i].pattern);
    }
    const char *other = kit_format(kit, "SECRET%s", kit_repeat(kit, "x", 4096 - 7));
    check_lets_in(kit_serve(kit, "--token-file", write_text(kit, longest)), longest, other);
}

static void tokens_that_no_header_keeps_are_refused(void **state)
{
    static const char *const values[] = {" SECRET",        "SECRET ",        " ",
                                         "SECRET\n",       "SECRET\r\nX: y", "\tx",
                                         "SECRET\x1b[31m", "SECRET\xc2\x9b", "SECRET\xed\xa0\x80"};
    struct kit *kit = *state;
    const char *const arguments[] = {"serve", "--listen", "127.0.0.1:0", NULL};
    for (size_t i = 0; i < KIT_COUNT(values); i++) {
        kit_note(kit, "value %zu", i);
        check_refusal(kit, kit_command(kit, "serve", "--listen", "127.0.0.1:0", "--token", values[i]),
                      "--token");
        const char *const environment[] = {kit_format(kit, "EVENT_SYNCER_TOKEN=%s", values[i]), NULL};
        check_refusal(kit, kit_run(kit, arguments, environment), "EVENT_SYNCER_TOKEN");
    }
}

/* Whether the machine has the address. */
static bool has(const char *address)
{
    return strchr(address, ':') == NULL || access("/proc/sys/net/ipv6/conf/lo", F_OK) == 0;
}

static void own_addresses_need_no_token(void **state)
{
    static const char *const addresses[] = {"127.0.0.1", "127.0.0.2", "127.255.255.254", "::1"};
    struct kit *kit = *state;
    for (size_t i = 0; i < KIT_COUNT(addresses); i++) {
        bool wide = strchr(addresses[i], ':') != NULL;
        const char *listen = kit_format(kit, wide ? "[%s]:0" : "%s:0", addresses[i]);
        const char *const arguments[] = {"serve", "--listen", listen, "--port-file", "port", NULL};
        if (!has(addresses[i]))
            continue;
        kit_note(kit, "%s", listen);
        struct kit_server *server =
            kit_start(kit, &(struct kit_start){.arguments = arguments, .exact = true});
        struct kit_connection *connection = kit_try_connect_to(kit, addresses[i], kit_port(server));
        assert_non_null(connection);
        kit_send_request(connection, "GET", "/metrics?window=1", NULL, NULL, 0);
        kit_assert_status(kit_receive(connection), 200);
    }
}

static void localhost_is_this_machine(void **state)
{
    const char *const arguments[] = {"serve", "--listen", "localhost:0", "--port-file", "port", NULL};
    struct kit_server *server = kit_start(*state, &(struct kit_start){.arguments = arguments, .exact = true});
    assert_non_null(kit_try_connect_to(*state, "127.0.0.1", kit_port(server)));
}

static void other_addresses_need_one(void **state)
{
    static const char *const addresses[] = {"0.0.0.0:0",          "[::]:0",        "[::ffff:127.0.0.1]:0",
                                            "[::ffff:0.0.0.0]:0", "[0:0:0:0::]:0", "192.0.2.1:0",
                                            "[2001:db8::1]:0",    "128.0.0.1:0",   "1.127.0.1:0"};
    struct kit *kit = *state;
    for (size_t i = 0; i < KIT_COUNT(addresses); i++)
        check_refusal(kit, kit_command(kit, "serve", "--listen", addresses[i]), "--token");
}

/* A name may lead anywhere, also to where others come from. (localhost is taken for 127.0.0.1.) */
static void names_and_odd_numbers_are_no_addresses(void **state)
{
    static const char *const addresses[] = {
        "localhost.:0", "LOCALHOST:0",  "example.com:0", "127.1:0", "2130706433:0", "0x7f.1:0",      "0:0",
        "127.0.0.1.:0", "127.0.0.01:0", "::1",           "[::1:0",  "[::1]0",       "[fe80::1%lo]:0"};
    struct kit *kit = *state;
    for (size_t i = 0; i < KIT_COUNT(addresses); i++)
        check_refusal(kit, kit_command(kit, "serve", "--listen", addresses[i]), "--listen|--token");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(the_first_line_of_a_file_is_the_token),
        kit_test(files_without_a_good_token_are_refused),
        kit_test(tokens_that_no_header_keeps_are_refused),
        kit_test(own_addresses_need_no_token),
        kit_test(localhost_is_this_machine),
        kit_test(other_addresses_need_one),
        kit_test(names_and_odd_numbers_are_no_addresses),
    };
    return kit_run_tests(tests);
}
