/* `send`: what is tried again, what is not, and when it gives up. */
#include "kit_send.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINES = 120 };

/* Refuses each line whose number says so a few times, then takes it. */
struct storm {
    unsigned tries[LINES + 1];
    unsigned taken[LINES + 1];
    unsigned last;
    unsigned breaches;
    unsigned status;
    const char *body;
};

static struct receiver_answer refuse_for_a_while(void *context, const struct receiver_post *post)
{
    struct storm *storm = context;
    unsigned number = receiver_number(post->body);
    if (++storm->tries[number] <= number % 4)
        return (struct receiver_answer){.status = storm->status, .body = storm->body};
    storm->taken[number]++;
    return (struct receiver_answer){.status = 200};
}

static const char *write_lines(struct kit *kit, unsigned count)
{
    const char *path = sending_file(kit, "");
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    for (unsigned i = 1; i <= count; i++)
        fprintf(file, "{\"userId\":%u,\"n\":%u}\n", i % 40, i);
    assert_int_equal(fclose(file), 0);
    return path;
}

static void test_storm(void **state)
{
    struct kit *kit = *state;
    const char *path = write_lines(kit, LINES);
    static const unsigned statuses[] = {503, 429, 408};
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        struct storm storm = {.status = statuses[i], .body = "{\"error\":\"too much\"}"};
        struct receiver *receiver = receiver_start(kit, refuse_for_a_while, &storm);
        const struct kit_run *run =
            sending_run(kit, path, "--url", receiver_url(receiver), "--connections", "40");
        receiver_end(receiver);
        kit_note(kit, "status %u", statuses[i]);
        assert_int_equal(run->exit_status, 0);
        for (unsigned number = 1; number <= LINES; number++) {
            assert_int_equal(storm.taken[number], 1);
            assert_int_equal(storm.tries[number], number % 4 + 1);
        }
    }
}

struct patience {
    int64_t refused_at_ms, back_at_ms;
};

static struct receiver_answer ask_for_a_second(void *context, const struct receiver_post *post)
{
    struct patience *patience = context;
    if (post->count > 0) {
        patience->back_at_ms = kit_now_ms();
        return (struct receiver_answer){.status = 200};
    }
    patience->refused_at_ms = kit_now_ms();
    return (struct receiver_answer){.status = 503, .retry_after_s = 1};
}

static void test_retry_after(void **state)
{
    struct kit *kit = *state;
    struct patience patience;
    struct receiver *receiver = receiver_start(kit, ask_for_a_second, &patience);
    assert_int_equal(sending_run(kit, sending_file(kit, "1\n"), "--url", receiver_url(receiver))->exit_status,
                     0);
    receiver_end(receiver);
    assert_true(patience.back_at_ms - patience.refused_at_ms >= 1000);
}

/* Answers that leave open what became of a line: each line comes once. */
static struct receiver_answer leave_open(void *context, const struct receiver_post *post)
{
    static const struct receiver_answer answers[] = {
        {.status = 200},
        {.act = RECEIVER_DROP},
        {.status = 500, .body = "{\"error\":\"broken\"}"},
        {.status = 502},
        {.status = 504},
        {.status = 503, .body = "{\"error\":\"outcome unknown: the disk is gone\"}"},
        {.status = 200, .body = "<html>hello</html>"},
        {.status = 202},
        {.act = RECEIVER_DROP},
        {.delay_us = 100 * 1000 * 1000},
    };
    (void)context;
    unsigned number = receiver_number(post->body);
    return answers[number % (sizeof answers / sizeof *answers)];
}

static void test_unknown_outcomes(void **state)
{
    struct kit *kit = *state;
    struct receiver *receiver = receiver_start(kit, leave_open, NULL);
    const struct kit_run *run = sending_run(
        kit,
        sending_file(
            kit, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n{\"n\":4}\n{\"n\":5}\n{\"n\":6}\n{\"n\":7}\n{\"n\":8}\n"
                 "{\"n\":9}\n{\"n\":10}\n"),
        "--url", receiver_url(receiver), "--timeout", "3");
    assert_int_equal(run->exit_status, 1);
    static const char *const lines[] = {
        "line 1: outcome unknown: the connection was lost before an answer",
        "line 2: outcome unknown: 500 \"broken\"",
        "line 3: outcome unknown: 502",
        "line 4: outcome unknown: 504",
        "line 5: outcome unknown: 503 \"outcome unknown: the disk is gone\"",
        "line 6: outcome unknown: 200 without \"Event received\"",
        "line 8: outcome unknown: the connection was lost before an answer",
        "line 9: outcome unknown: no answer in time",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        sending_assert_line(kit, run->errors, lines[i]);
    assert_non_null(strstr(run->errors, "10 lines: 1 sent, 0 refused, 9 unknown, 0 not sent"));
    assert_int_equal(receiver_count(receiver), 10);
    receiver_end(receiver);
}

/* Many lines over few connections, of which many break: also those that were kept and used before. */
static struct receiver_answer drop_some(void *context, const struct receiver_post *post)
{
    unsigned *counts = context;
    unsigned number = receiver_number(post->body);
    counts[number]++;
    return (struct receiver_answer){.act = number % 7 == 0 ? RECEIVER_DROP : RECEIVER_ANSWER};
}

static void test_dropped_lines_come_once(void **state)
{
    enum { MANY = 2000 };
    struct kit *kit = *state;
    unsigned counts[MANY + 1] = {0};
    struct receiver *receiver = receiver_start(kit, drop_some, counts);
    const struct kit_run *run = sending_run(kit, write_lines(kit, MANY), "--url", receiver_url(receiver));
    receiver_end(receiver);
    assert_int_equal(run->exit_status, 1);
    for (unsigned number = 1; number <= MANY; number++)
        assert_int_equal(counts[number], 1);
    assert_non_null(strstr(run->errors, "2,000 lines: 1,715 sent, 0 refused, 285 unknown, 0 not sent"));
}

static struct receiver_answer refuse_all(void *context, const struct receiver_post *post)
{
    (void)post;
    return *(const struct receiver_answer *)context;
}

static void test_gives_up(void **state)
{
    struct kit *kit = *state;
    struct receiver_answer answer = {.status = 503, .body = "{\"error\":\"never\"}"};
    struct receiver *receiver = receiver_start(kit, refuse_all, &answer);
    const char *path = write_lines(kit, LINES);
    int64_t started_at_ms = kit_now_ms();
    const struct kit_run *run = sending_run(kit, path, "--url", receiver_url(receiver), "--give-up", "0.5");
    assert_true(kit_now_ms() - started_at_ms >= 500);
    assert_int_equal(run->exit_status, 1);
    sending_assert_line(kit, run->errors, "event-syncer: no line was taken for 0.5 s (503 \"never\")");
    sending_assert_line(kit, run->errors,
                        kit_format(kit,
                                   "event-syncer: stopped at line 0; continue with: tail -n +1 '%s' | "
                                   "event-syncer send -",
                                   path));
    assert_non_null(strstr(run->errors, "0 lines: 0 sent, 0 refused, 0 unknown, 0 not sent"));
    receiver_end(receiver);
}

/* One line is never taken, the others go on. */
static struct receiver_answer refuse_first(void *context, const struct receiver_post *post)
{
    (void)context;
    if (receiver_number(post->body) == 1)
        return (struct receiver_answer){.status = 503, .body = "{\"error\":\"not this one\"}"};
    return (struct receiver_answer){.delay_us = 20000};
}

static void test_gives_one_line_up(void **state)
{
    struct kit *kit = *state;
    struct receiver *receiver = receiver_start(kit, refuse_first, NULL);
    const struct kit_run *run = sending_run(kit, write_lines(kit, LINES), "--url", receiver_url(receiver),
                                            "--connections", "2", "--give-up", "1");
    assert_int_equal(run->exit_status, 1);
    sending_assert_line(kit, run->errors, "line 1: not sent: 503 \"not this one\"");
    assert_null(strstr(run->errors, "stopped"));
    assert_non_null(strstr(run->errors, "120 lines: 119 sent, 0 refused, 0 unknown, 1 not sent"));
    receiver_end(receiver);
}

static void test_forbidden(void **state)
{
    struct kit *kit = *state;
    const char *path = write_lines(kit, LINES);
    static const unsigned statuses[] = {401, 403};
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        struct receiver_answer answer = {.status = statuses[i], .body = "{\"error\":\"who are you\"}"};
        struct receiver *receiver = receiver_start(kit, refuse_all, &answer);
        const struct kit_run *run = sending_run(kit, path, "--url", receiver_url(receiver));
        assert_int_equal(run->exit_status, 1);
        sending_assert_line(
            kit, run->errors,
            kit_format(kit,
                       "event-syncer: the server lets nobody in without the right token (%u \"who "
                       "are you\"); see --token and --token-file",
                       statuses[i]));
        assert_non_null(strstr(run->errors, "stopped at line 0;"));
        assert_true(receiver_count(receiver) <= 8);
        receiver_end(receiver);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(test_storm),
        kit_test(test_retry_after),
        kit_test(test_unknown_outcomes),
        kit_test(test_dropped_lines_come_once),
        kit_test(test_gives_up),
        kit_test(test_gives_one_line_up),
        kit_test(test_forbidden),
    };
    return kit_run_tests(tests);
}
