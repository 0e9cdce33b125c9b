/*
 * Proves that `process` and `send` show nobody's words but their own: a journal, a file and a server can be full of escape
 * sequences and line breaks, and still every line on a terminal or in a file is whole, printable and of the command's.
 */
#include <pty.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "kit_live.h"
#include "kit_send.h"

#define MARK   "ZQXMARK"
#define FORGED "event-syncer: forged"

/* Between marks, raw; without line breaks, NUL or quotes, so that each can stand in a line of a file. */
static const char *const hostile[] = {
    MARK "\x1b[2J\x1b[31m\x1b]0;title\x07" MARK,
    MARK "\r" FORGED MARK,
    MARK "\x08\x7f\x0b\x0c" MARK,
    MARK "\xc2\x85" FORGED "\xc2\x9b"
         "2J" MARK,
    MARK "\xe2\x80\xa8" FORGED "\xe2\x80\xae" MARK,
    MARK "\xff\xc0\x80\xed\xa0\x80" MARK,
    MARK "%s%n" MARK,
};

/* The same as JSON may hold it. */
static const char *const escaped[] = {
    MARK "\\u001b[2J" MARK,         MARK "\\n" FORGED "\\n" MARK,
    MARK "\\r" FORGED MARK,         MARK "\\u0085" FORGED "\\u009b2J",
    MARK "\\u0000\\u0007" MARK,     MARK "\\u2028" FORGED "\\u202e",
    MARK "\\\"" FORGED "\\\\" MARK,
};

/* Printable ASCII in lines, and what a progress bar is drawn with. */
static void check_shown(struct kit *kit, const char *shown, bool bar)
{
    for (const char *at = shown; *at != '\0'; at++) {
        if (bar && strncmp(at, "\x1b[K", 3) == 0) {
            at += 2;
            continue;
        }
        if (!((*at >= ' ' && *at <= '~') || *at == '\n' || (*at == '\r' && bar)))
            kit_fail(kit, "byte 0x%02x at %zu is shown: %s", (unsigned)(unsigned char)*at,
                     (size_t)(at - shown), shown);
    }
    if (kit_matches(shown, "(^|\n|\r)" FORGED))
        kit_fail(kit, "a forged line: %s", shown);
}

static void check_lacks_marks(struct kit *kit, const char *shown)
{
    if (strstr(shown, MARK) != NULL)
        kit_fail(kit, "the content is shown: %s", shown);
}

/* --- process --- */

/* A journal of bad lines that hold them everywhere; good ones in between. */
static const char *hostile_journal(struct kit *kit, int *lines, int *bad)
{
    static const char *const rows[] = {
        "%s",
        "{\"userId\":\"%s\",\"name\":\"add_revenue\"}",
        "{\"userId\":\"%s\",\"name\":\"add_revenue\",\"value\":\"%s\"}",
        "{\"userId\":\"u\",\"name\":\"%s\",\"value\":1}",
        "{\"userId\":\"u\",\"name\":\"add_revenue\",\"value\":1,\"%s\"}",
        "{\"userId\":\"u\",\"name\":\"add_revenue\",\"value\":1} %s",
    };
    const char *journal = kit_new_journal(kit);
    *lines = *bad = 0;
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        for (size_t k = 0; k < KIT_COUNT(hostile) + KIT_COUNT(escaped); k++) {
            const char *text = k < KIT_COUNT(hostile) ? hostile[k] : escaped[k - KIT_COUNT(hostile)];
            const char *at = strstr(rows[i], "%s");
            kit_append(kit, journal,
                       kit_format(kit, "%.*s%s%s\n", (int)(at - rows[i]), rows[i], text, at + 2));
            kit_append(kit, journal, kit_add(kit, "good", "1"));
            *lines += 1;
            *bad += 1;
        }
    }
    return journal;
}

static void process_shows_no_line(void **state)
{
    struct kit *kit = *state;
    int lines, bad;
    const struct kit_run *run = kit_run_processor(kit, hostile_journal(kit, &lines, &bad));
    assert_int_equal(run->exit_status, 1);
    assert_int_equal(kit_matching_lines(kit, run->errors, ":[0-9]+: skipped: [a-zA-Z]"), bad);
    kit_expect_summary(kit, run, 1, .lines = lines, .users = 1, .skipped = bad);
    check_shown(kit, run->errors, false);
    check_shown(kit, run->output, false);
    check_lacks_marks(kit, run->errors);
    check_lacks_marks(kit, run->output);
}

/* All that the terminal shows until the process has gone. */
static const char *read_terminal(struct kit *kit, int terminal)
{
    const char *shown = "";
    char bytes[4096];
    ssize_t length;
    while ((length = read(terminal, bytes, sizeof bytes)) > 0)
        shown = kit_format(kit, "%s%.*s", shown, (int)length, bytes);
    close(terminal);
    return shown;
}

static void process_shows_no_line_on_a_terminal(void **state)
{
    struct kit *kit = *state;
    int terminal, other, lines, bad;
    const char *journal = hostile_journal(kit, &lines, &bad);
    assert_int_equal(openpty(&terminal, &other, NULL, NULL, NULL), 0);
    struct kit_server *processor = kit_start_processor_with(kit, journal, (const char *const[]){NULL}, other);
    close(other);
    const char *shown = read_terminal(kit, terminal);
    assert_int_equal(kit_wait_exit(processor), 1);
    assert_non_null(strstr(shown, "skipped"));
    check_shown(kit, shown, true);
    check_lacks_marks(kit, shown);
}

/* --- send --- */

struct words {
    const char *body;
    unsigned status;
};

static struct receiver_answer answer_with(void *context, const struct receiver_post *post)
{
    const struct words *words = context;
    (void)post;
    return (struct receiver_answer){.status = words->status, .body = words->body};
}

static void check_sending(struct kit *kit, const char *file, const struct words *words, bool terminal)
{
    struct words copy = *words;
    struct receiver *receiver = receiver_start(kit, answer_with, &copy);
    const char *const arguments[] = {file, "--url", receiver_url(receiver), "--give-up", "0.2", NULL};
    struct sending *sending =
        sending_start(kit, &(struct sending_start){.arguments = arguments, .columns = terminal ? 80 : 0});
    const char *shown = terminal ? sending_terminal(sending, NULL) : NULL;
    sending_end(sending);
    receiver_end(receiver);
    check_shown(kit, shown == NULL ? kit_log(sending->process) : shown, terminal);
}

/* The server's words are shown, in quotes; the file's are not. */
static void send_quotes_what_the_server_says(void **state)
{
    static const unsigned statuses[] = {400, 401, 500, 200, 302};
    struct kit *kit = *state;
    const char *file = sending_file(kit, "{\"userId\":\"u\",\"name\":\"add_revenue\",\"value\":1}\n");
    for (size_t i = 0; i < KIT_COUNT(escaped) + KIT_COUNT(hostile); i++) {
        const char *text = i < KIT_COUNT(escaped) ? escaped[i] : hostile[i - KIT_COUNT(escaped)];
        const struct words words = {.status = statuses[i % KIT_COUNT(statuses)],
                                    .body =
                                        kit_format(kit, "{\"error\":\"%s\",\"message\":\"%s\"}", text, text)};
        kit_note(kit, "text %zu, status %u", i, words.status);
        check_sending(kit, file, &words, false);
        check_sending(kit, file, &(struct words){.status = 400, .body = text}, i % 2 == 0);
    }
    check_sending(kit, file,
                  &(struct words){.status = 400, .body = kit_format(kit, "{\"error\":\"%s\"}", escaped[0])},
                  true);
}

static void send_shows_no_line_of_its_file(void **state)
{
    struct kit *kit = *state;
    const char *lines = "";
    for (size_t i = 0; i < KIT_COUNT(hostile); i++)
        lines = kit_format(kit, "%s%s\n{\"userId\":\"%s\",\"name\":\"x\",\"value\":1}\n", lines, hostile[i],
                           hostile[i]);
    const char *file = sending_file(kit, lines);
    struct kit_server *server = kit_serve_live(kit, kit_new_journal(kit), NULL);
    const char *url = kit_format(kit, "http://127.0.0.1:%d", kit_port(server));
    const struct kit_run *run = sending_run(kit, file, "--url", url);
    assert_int_equal(run->exit_status, 1);
    assert_non_null(strstr(run->errors, "refused: 400"));
    check_shown(kit, run->errors, false);
    check_shown(kit, run->output, false);
    check_lacks_marks(kit, run->errors);
    check_lacks_marks(kit, kit_log(server));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_sqlite(process_shows_no_line),
        kit_test_sqlite(process_shows_no_line_on_a_terminal),
        kit_test(send_quotes_what_the_server_says),
        kit_test_sqlite(send_shows_no_line_of_its_file),
    };
    return kit_run_event_tests(tests);
}
