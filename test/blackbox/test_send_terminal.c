/* `send` on a terminal and without one, and a large file in little memory. */
#include "kit_send.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

enum { LARGE = 200000, MOST_MEMORY_KB = 40 * 1024 };

/* Lines of the large file; a build with sanitizers gets less to do. */
static unsigned large(void)
{
    return kit_time_scale() > 1 ? LARGE / 10 : LARGE;
}

struct pace {
    unsigned delay_us;
};

static struct receiver_answer take_at_a_pace(void *context, const struct receiver_post *post)
{
    const struct pace *pace = context;
    (void)post;
    return (struct receiver_answer){.delay_us = pace->delay_us};
}

static const char *write_lines(struct kit *kit, unsigned count)
{
    const char *path = sending_file(kit, "");
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    for (unsigned i = 1; i <= count; i++)
        fprintf(file, "{\"userId\":\"user%u\",\"name\":\"add_revenue\",\"value\":1,\"n\":%u}\n", i % 500, i);
    assert_int_equal(fclose(file), 0);
    return path;
}

/* Looks at each bar: between a carriage return and "erase to the end of the line". Returns their number. */
static unsigned judge_bars(struct kit *kit, const char *shown, size_t width)
{
    unsigned bars = 0;
    for (const char *at = strchr(shown, '\r'); at != NULL; at = strchr(at + 1, '\r')) {
        const char *end = strstr(at, "\x1b[K");
        if (at[1] == '\n' || end == NULL)
            continue;
        bars++;
        if ((size_t)(end - at - 1) > width - 1)
            kit_fail(kit, "wider than %zu: %.*s", width, (int)(end - at), at);
    }
    return bars;
}

static void test_bar(void **state)
{
    struct kit *kit = *state;
    struct pace pace = {.delay_us = 5000};
    struct receiver *receiver = receiver_start(kit, take_at_a_pace, &pace);
    const char *const arguments[] = {write_lines(kit, 200), "--url", receiver_url(receiver),
                                     "--connections",       "1",     NULL};
    int64_t started_at_ms = kit_now_ms();
    struct sending *sending =
        sending_start(kit, &(struct sending_start){.arguments = arguments, .columns = 80});
    const char *shown = sending_terminal(sending, NULL);
    assert_int_equal(sending_end(sending), 0);
    int64_t took_ms = kit_now_ms() - started_at_ms;
    unsigned bars = judge_bars(kit, shown, 80);
    assert_true(bars >= 3);
    assert_true(bars <= took_ms / 100 + 1);
    assert_true(
        kit_matches(shown, "\r\\[=*>? *\\] +[0-9]+%  [0-9]+ lines, [0-9]+/s, 0:[0-9]{2} left\x1b\\[K"));
    assert_true(kit_matches(shown,
                            "\r\\[=+\\] 100%  200 lines, [0-9]+/s, 0:[0-9]{2}\x1b\\[K\r\nevent-syncer: 200 "
                            "lines: 200 sent"));
    receiver_end(receiver);
}

/* The width is that of the moment; standard input has no percentage. */
static void test_narrow_bar(void **state)
{
    struct kit *kit = *state;
    struct pace pace = {.delay_us = 5000};
    struct receiver *receiver = receiver_start(kit, take_at_a_pace, &pace);
    const char *const arguments[] = {write_lines(kit, 300), "--url", receiver_url(receiver),
                                     "--connections",       "1",     NULL};
    struct sending *sending =
        sending_start(kit, &(struct sending_start){.arguments = arguments, .columns = 120});
    assert_true(judge_bars(kit, sending_terminal(sending, "\x1b[K"), 120) >= 1);
    struct winsize size = {.ws_row = 24, .ws_col = 30};
    assert_int_equal(ioctl(sending->terminal, TIOCSWINSZ, &size), 0);
    const char *shown = sending_terminal(sending, NULL);
    /* One may have been under way. */
    const char *second = strstr(shown, "\x1b[K");
    assert_non_null(second);
    assert_true(judge_bars(kit, second, 30) >= 2);
    assert_int_equal(sending_end(sending), 0);
    receiver_end(receiver);
}

static void test_bar_of_a_pipe(void **state)
{
    struct kit *kit = *state;
    struct receiver *receiver = receiver_start(kit, NULL, NULL);
    const char *const arguments[] = {"-", "--url", receiver_url(receiver), NULL};
    struct sending *sending = sending_start(
        kit, &(struct sending_start){.arguments = arguments, .with_input = true, .columns = 80});
    sending_write(sending, "1\n2\n3\n");
    assert_true(kit_matches(sending_terminal(sending, "3 lines"), "\r3 lines"));
    sending_close_input(sending);
    const char *shown = sending_terminal(sending, NULL);
    assert_null(strchr(shown, '%'));
    assert_null(strstr(shown, "left"));
    assert_int_equal(sending_end(sending), 0);
    receiver_end(receiver);
}

/* Holds the last line until the test has looked at the process. */
struct last {
    unsigned char counts[LARGE + 1];
    bool is_looked_at;
    unsigned tries;
};

static struct receiver_answer hold_last(void *context, const struct receiver_post *post)
{
    struct last *last = context;
    unsigned number = receiver_number(post->body);
    if (number == large() && !last->is_looked_at) {
        last->tries++;
        return (struct receiver_answer){.status = 503};
    }
    if (number <= large())
        last->counts[number]++;
    return (struct receiver_answer){.status = 200};
}

static long peak_memory_kb(struct kit *kit, pid_t process)
{
    const char *status = kit_read_file(kit, kit_format(kit, "/proc/%d/status", (int)process));
    const char *at = strstr(status, "VmHWM:");
    return at == NULL ? 0 : strtol(at + 6, NULL, 10);
}

static void test_large_file(void **state)
{
    struct kit *kit = *state;
    struct last *last = kit_allocate(kit, sizeof *last);
    struct receiver *receiver = receiver_start(kit, hold_last, last);
    struct sending *sending = sending_begin(kit, write_lines(kit, large()), "--url", receiver_url(receiver));
    assert_true(receiver_await(receiver, large() + 1)); /* all, and the last one a second time */
    long kilobytes = peak_memory_kb(kit, kit_process(sending->process));
    print_message("%ld KB\n", kilobytes);
    /* Sanitizers need a multiple, which grows with what was ever freed. */
    if (kit_time_scale() < 2)
        assert_in_range(kilobytes, 1, MOST_MEMORY_KB);
    receiver_lock(receiver);
    last->is_looked_at = true;
    receiver_unlock(receiver);
    assert_int_equal(sending_end(sending), 0);
    size_t count = receiver_count(receiver);
    receiver_end(receiver);
    for (unsigned number = 1; number <= large(); number++)
        assert_int_equal(last->counts[number], 1);
    assert_int_equal(count, large() + last->tries);
    const char *errors = kit_log(sending->process);
    assert_non_null(strstr(errors, large() == LARGE ? "200,000 lines: 200,000 sent, 0 refused"
                                                    : "20,000 lines: 20,000 sent, 0 refused"));
    assert_null(strchr(errors, '\r'));
    print_message("%s", strstr(errors, "; "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(test_bar),
        kit_test(test_narrow_bar),
        kit_test(test_bar_of_a_pipe),
        kit_test(test_large_file),
    };
    return kit_run_tests(tests);
}
