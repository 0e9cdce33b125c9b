/* `send`: which lines arrive, how often and as what, and what is said about the others. */
#include "kit_send.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A file whose lines are blank, end in either way, and end without a line break. */
static void test_lines_arrive(void **state)
{
    struct kit *kit = *state;
    struct receiver *receiver = receiver_start(kit, NULL, NULL);
    const char *file = sending_file(kit, "{\"userId\":1,\"n\":1}\n\n{\"userId\":2,\"n\":2}\r\n  \t\r\n\r\n"
                                         " {\"userId\":3, \"n\":3} \nno JSON\n{\"userId\":4,\"n\":4}");
    const struct kit_run *run = sending_run(kit, file, "--url", receiver_url(receiver));
    assert_int_equal(run->exit_status, 0);
    assert_string_equal(run->output, "");
    assert_int_equal(receiver_count(receiver), 5);
    static const char *const bodies[] = {"{\"userId\":1,\"n\":1}", "{\"userId\":2,\"n\":2}",
                                         " {\"userId\":3, \"n\":3} ", "no JSON", "{\"userId\":4,\"n\":4}"};
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(receiver_count_of(receiver, bodies[i]), 1);
    assert_true(kit_matches(run->errors,
                            "^event-syncer: 8 lines: 5 sent, 0 refused, 0 unknown, 0 not sent, 3 "
                            "blank; [0-9.]+ s, [0-9,]+ lines/s\n$"));
    receiver_end(receiver);
}

struct heads {
    char seen[4096];
};

static struct receiver_answer keep_head(void *context, const struct receiver_post *post)
{
    struct heads *heads = context;
    snprintf(heads->seen, sizeof heads->seen, "%s", post->head);
    return (struct receiver_answer){.act = RECEIVER_ANSWER};
}

static bool has_seen(struct receiver *receiver, const struct heads *heads, const char *part)
{
    receiver_lock(receiver);
    bool has = strstr(heads->seen, part) != NULL;
    receiver_unlock(receiver);
    return has;
}

static void test_head(void **state)
{
    struct kit *kit = *state;
    struct heads heads;
    struct receiver *receiver = receiver_start(kit, keep_head, &heads);
    const char *file = sending_file(kit, "{\"n\":1}\n");
    const char *url = kit_format(kit, "%s/base/", receiver_url(receiver));
    assert_int_equal(sending_run(kit, file, "--url", url)->exit_status, 0);
    assert_true(has_seen(receiver, &heads, "POST /base/liveEvent HTTP/1.1\r\n"));
    assert_true(has_seen(receiver, &heads, "\r\nContent-Type: application/json\r\n"));
    assert_true(has_seen(receiver, &heads, "\r\nContent-Length: 7\r\n"));
    assert_false(has_seen(receiver, &heads, "Authorization"));
    assert_false(has_seen(receiver, &heads, "Expect"));
    /* The token: option, file, environment, in this order. */
    const char *const environment[] = {"EVENT_SYNCER_TOKEN=from-there", NULL};
    const char *const plain[] = {"send", file, "--url", url, NULL};
    assert_int_equal(kit_run(kit, plain, environment)->exit_status, 0);
    assert_true(has_seen(receiver, &heads, "\r\nAuthorization: Bearer from-there\r\n"));
    const char *const given[] = {"send", file, "--url", url, "--token=given", NULL};
    assert_int_equal(kit_run(kit, given, environment)->exit_status, 0);
    assert_true(has_seen(receiver, &heads, "\r\nAuthorization: Bearer given\r\n"));
    const char *token_file = sending_file(kit, "in-a-file\r\nand more\n");
    const char *const filed[] = {"send", file, "--url", url, "--token-file", token_file, NULL};
    assert_int_equal(kit_run(kit, filed, environment)->exit_status, 0);
    assert_true(has_seen(receiver, &heads, "\r\nAuthorization: Bearer in-a-file\r\n"));
    receiver_end(receiver);
}

/* Refuses lines by what they hold. */
static struct receiver_answer refuse_some(void *context, const struct receiver_post *post)
{
    struct receiver_answer answer = {.act = RECEIVER_ANSWER};
    (void)context;
    if (strstr(post->body, "bad") != NULL) {
        answer.status = 400;
        answer.body = "{\"error\":\"that is \\\"bad\\\"\\u001b[31m\"}";
    } else if (strstr(post->body, "large") != NULL) {
        answer.status = 413;
        answer.body = "no JSON";
    } else if (strstr(post->body, "moved") != NULL) {
        answer.status = 307;
    }
    return answer;
}

static void test_refused_lines_are_listed(void **state)
{
    struct kit *kit = *state;
    struct receiver *receiver = receiver_start(kit, refuse_some, NULL);
    const char *file =
        sending_file(kit, "\"good 1\"\n\"bad 2\"\n\"bad 3\"\n\n\"bad 5\"\n\"large 6\"\n\"good 7\"\n"
                          "\"moved 8\"\n");
    const struct kit_run *run = sending_run(kit, file, "--url", receiver_url(receiver));
    assert_int_equal(run->exit_status, 1);
    assert_int_equal(receiver_count(receiver), 7);
    const char *list = "lines 2-3: refused: 400 \"that is \\\"bad\\\"\\x1b[31m\"\n"
                       "line 5: refused: 400 \"that is \\\"bad\\\"\\x1b[31m\"\n"
                       "line 6: refused: 413\n"
                       "line 8: refused: 307\n"
                       "event-syncer: 8 lines: 2 sent, 5 refused, 0 unknown, 0 not sent, 1 blank; ";
    assert_memory_equal(run->errors, list, strlen(list));
    receiver_end(receiver);
}

static struct receiver_answer refuse_odd(void *context, const struct receiver_post *post)
{
    (void)context;
    bool odd = atoi(post->body) % 2 == 1;
    return (struct receiver_answer){.status = odd ? 400 : 200};
}

static void test_list_ends(void **state)
{
    struct kit *kit = *state;
    struct receiver *receiver = receiver_start(kit, refuse_odd, NULL);
    char *text = kit_allocate(kit, 3000 * 8);
    size_t length = 0;
    for (int i = 1; i <= 2500; i++)
        length += (size_t)sprintf(text + length, "%d\n", i);
    const struct kit_run *run =
        sending_run(kit, sending_file(kit, text), "--url", receiver_url(receiver), "--connections", "16");
    assert_int_equal(run->exit_status, 1);
    assert_memory_equal(run->errors, "line 1: refused: 400\nline 3: ", 29);
    sending_assert_line(kit, run->errors, "line 1999: refused: 400");
    assert_null(strstr(run->errors, "line 2001:"));
    sending_assert_line(kit, run->errors, "and 250 more lines");
    assert_non_null(strstr(run->errors, "2,500 lines: 1,250 sent, 1,250 refused"));
    receiver_end(receiver);
}

/* Exactly 1 MiB is taken, with either end of line; a byte more is not, nor is much more. */
static void test_long_lines(void **state)
{
    enum { MIB = 1024 * 1024 };
    struct kit *kit = *state;
    struct receiver *receiver = receiver_start(kit, NULL, NULL);
    const char *most = kit_repeat(kit, "x", MIB);
    const char *much = kit_repeat(kit, "y", 5 * MIB);
    const char *file =
        sending_file(kit, kit_format(kit, "%s\r\n%sx\r\n1\n%s\n%s\n2\n%s", most, most, much, most, much));
    const struct kit_run *run = sending_run(kit, file, "--url", receiver_url(receiver));
    assert_int_equal(run->exit_status, 1);
    assert_int_equal(receiver_count(receiver), 4);
    assert_int_equal(receiver_count_of(receiver, most), 2);
    sending_assert_line(kit, run->errors, "line 2: refused: longer than 1 MiB");
    sending_assert_line(kit, run->errors, "line 4: refused: longer than 1 MiB");
    sending_assert_line(kit, run->errors, "line 7: refused: longer than 1 MiB");
    assert_non_null(strstr(run->errors, "7 lines: 4 sent, 3 refused"));
    receiver_end(receiver);
}

static void test_empty_file(void **state)
{
    struct kit *kit = *state;
    /* Nothing is sent, so nobody need be there. */
    static const char *const contents[] = {"", "\n", "\r\n\n \t\n"};
    for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
        const struct kit_run *run =
            sending_run(kit, sending_file(kit, contents[i]), "--url", "http://127.0.0.1:1");
        assert_int_equal(run->exit_status, 0);
        assert_non_null(strstr(run->errors, ": 0 sent, 0 refused, 0 unknown, 0 not sent, "));
    }
}

struct wrong {
    const char *arguments[6];
    const char *said;
};

static void test_wrong_command_lines(void **state)
{
    struct kit *kit = *state;
    const char *file = sending_file(kit, "1\n");
    const char *directory = kit_make_directory(kit);
    const struct wrong wrongs[] = {
        {{"missing"}, "can't read missing: No such file or directory; name a file of JSON lines, or -"},
        {{NULL}, "can't read events.jsonl: No such file"},
        {{directory}, "Is a directory"},
        {{file, "more"}, "send takes one file"},
        {{""}, "send takes the name of a file"},
        {{file, "--nonsense"}, "there is no option '--nonsense'; see event-syncer send --help"},
        {{file, "--url"}, "--url needs a value: --url URL"},
        {{file, "--url", "ftp://there"}, "--url takes http://HOST[:PORT][/PATH], not 'ftp://there'"},
        {{file, "--url", "http://me:secret@"}, "--url takes http://HOST[:PORT][/PATH]\n"},
        {{file, "--url", "http://me:secret@there", "--token", "t"}, "give one of them"},
        {{file, "--connections", "0"}, "--connections takes a whole number from 1 to 256, not '0'"},
        {{file, "--connections=257"}, "--connections takes"},
        {{file, "--give-up", "never"}, "--give-up takes 0.001 to 86400 seconds, not 'never'"},
        {{file, "--timeout", "0"}, "--timeout takes 0.001 to 3600 seconds, not '0'"},
        {{file, "--token", ""}, "--token is empty"},
        {{file, "--token-file", "missing"}, "can't read --token-file missing"},
        {{file, "--url", "http://127.0.0.1:1"},
         "can't reach http://127.0.0.1:1: no connection (Connection refused); start the server there, or "
         "name another with --url"},
    };
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        const char *arguments[8] = {"send"};
        for (size_t at = 0; at < 6; at++)
            arguments[at + 1] = wrongs[i].arguments[at];
        const struct kit_run *run = kit_run(kit, arguments, NULL);
        kit_note(kit, "%s", wrongs[i].said);
        assert_int_equal(run->exit_status, 2);
        assert_string_equal(run->output, "");
        assert_memory_equal(run->errors, "event-syncer: ", 14);
        if (strstr(run->errors, wrongs[i].said) == NULL || strstr(run->errors, "secret") != NULL ||
            strchr(run->errors, '\n') != run->errors + strlen(run->errors) - 1)
            kit_fail(kit, "said: %s", run->errors);
    }
}

static void test_help(void **state)
{
    struct kit *kit = *state;
    const struct kit_run *run = sending_run(kit, "--help");
    assert_int_equal(run->exit_status, 0);
    assert_string_equal(run->errors, "");
    static const char *const names[] = {"--url",     "--token",   "--token-file", "--connections",
                                        "--timeout", "--give-up", "--help",       "events.jsonl"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_non_null(strstr(run->output, names[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(test_lines_arrive),
        kit_test(test_head),
        kit_test(test_refused_lines_are_listed),
        kit_test(test_list_ends),
        kit_test(test_long_lines),
        kit_test(test_empty_file),
        kit_test(test_wrong_command_lines),
        kit_test(test_help),
    };
    return kit_run_tests(tests);
}
