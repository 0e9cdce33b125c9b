/* `send`: signals, input that comes slowly, and a server that goes away and comes back. */
#include "kit_send.h"

#include "../standin.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINES = 5000 };

struct seen {
    unsigned counts[LINES + 1];
    unsigned delay_us;
};

static struct receiver_answer take_slowly(void *context, const struct receiver_post *post)
{
    struct seen *seen = context;
    unsigned number = receiver_number(post->body);
    if (number <= LINES)
        seen->counts[number]++;
    return (struct receiver_answer){.delay_us = seen->delay_us};
}

/* Most lines belong to one user, so that others overtake them. */
static const char *write_lines(struct kit *kit, unsigned first)
{
    const char *path = sending_file(kit, "");
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    for (unsigned i = first; i <= LINES; i++)
        fprintf(file, "{\"userId\":%u,\"n\":%u}\n", i % 3 == 0 ? i : 0, i);
    assert_int_equal(fclose(file), 0);
    return path;
}

/* Whether what is said has "stopped at line N; ..."; then the first line that was not sent. */
static unsigned find_next_line(struct kit *kit, const char *errors)
{
    const char *at = strstr(errors, "event-syncer: stopped at line ");
    if (at == NULL)
        kit_fail(kit, "no stop is told:\n%s", errors);
    return (unsigned)strtoul(at + strlen("event-syncer: stopped at line "), NULL, 10) + 1;
}

/* Stopped in the middle and continued as it says: each line comes once. */
static void test_stop_and_continue(void **state)
{
    struct kit *kit = *state;
    static const int signals[] = {SIGINT, SIGTERM};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        struct seen seen = {.delay_us = 1000};
        struct receiver *receiver = receiver_start(kit, take_slowly, &seen);
        const char *path = write_lines(kit, 1);
        struct sending *sending = sending_begin(kit, path, "--url", receiver_url(receiver));
        assert_true(receiver_await(receiver, 500));
        kit_signal(sending->process, signals[i]);
        assert_int_equal(sending_end(sending), 1);
        const char *errors = kit_log(sending->process);
        unsigned next = find_next_line(kit, errors);
        assert_true(next > 500 && next < LINES);
        sending_assert_line(kit, errors,
                            kit_format(kit,
                                       "event-syncer: stopped at line %u; continue with: tail -n +%u '%s' | "
                                       "event-syncer send -",
                                       next - 1, next, path));
        assert_memory_equal(errors, "event-syncer: stopped", 21); /* no line has an entry */
        receiver_lock(receiver);
        for (unsigned number = 1; number <= LINES; number++)
            assert_int_equal(seen.counts[number], number < next ? 1 : 0);
        seen.delay_us = 0;
        receiver_unlock(receiver);
        sending = sending_begin(kit, write_lines(kit, next), "--url", receiver_url(receiver));
        assert_int_equal(sending_end(sending), 0);
        receiver_end(receiver);
        for (unsigned number = 1; number <= LINES; number++)
            assert_int_equal(seen.counts[number], 1);
    }
}

static bool blocks_signals(struct kit *kit, pid_t process)
{
    const char *status = kit_read_file(kit, kit_format(kit, "/proc/%d/status", (int)process));
    const char *at = strstr(status, "SigBlk:");
    return at != NULL && (strtoull(at + 7, NULL, 16) >> (SIGINT - 1) & 1) == 1;
}

static struct receiver_answer never_answer(void *context, const struct receiver_post *post)
{
    (void)context, (void)post;
    return (struct receiver_answer){.delay_us = 100 * 1000 * 1000};
}

static void test_second_signal(void **state)
{
    struct kit *kit = *state;
    struct receiver *receiver = receiver_start(kit, never_answer, NULL);
    struct sending *sending =
        sending_begin(kit, sending_file(kit, "1\n2\n3\n"), "--url", receiver_url(receiver));
    assert_true(receiver_await(receiver, 3));
    kit_signal(sending->process, SIGINT);
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
    while (blocks_signals(kit, kit_process(sending->process)) && kit_now_ms() < deadline_at_ms)
        kit_pause();
    kit_signal(sending->process, SIGINT);
    assert_int_equal(sending_end(sending), 128 + SIGINT);
    receiver_end(receiver);
}

/* What is under way is waited for, but not for ever; what was not sent is told by its first line. */
static void test_stop_cuts(void **state)
{
    struct kit *kit = *state;
    struct receiver *receiver = receiver_start(kit, never_answer, NULL);
    struct sending *sending = sending_begin(kit, sending_file(kit, "1\n2\n3\n4\n"), "--url",
                                            receiver_url(receiver), "--connections", "3", "--timeout", "4");
    assert_true(receiver_await(receiver, 3));
    kit_signal(sending->process, SIGTERM);
    assert_int_equal(sending_end(sending), 1);
    const char *errors = kit_log(sending->process);
    sending_assert_line(kit, errors, "lines 1-3: outcome unknown: no answer in time");
    assert_int_equal(find_next_line(kit, errors), 4);
    assert_int_equal(receiver_count(receiver), 3);
    receiver_end(receiver);
}

/* Lines that come slowly are sent as they come, half ones when they are whole. */
static void test_input_from_a_pipe(void **state)
{
    struct kit *kit = *state;
    struct receiver *receiver = receiver_start(kit, NULL, NULL);
    struct sending *sending = sending_begin(kit, "-", "--url", receiver_url(receiver));
    sending_write(sending, "{\"n\":1}\n{\"n\":");
    assert_true(receiver_await(receiver, 1));
    sending_write(sending, "2}\r\n");
    assert_true(receiver_await(receiver, 2));
    sending_write(sending, "{\"n\":3}");
    sending_close_input(sending);
    assert_int_equal(sending_end(sending), 0);
    assert_int_equal(receiver_count(receiver), 3);
    assert_string_equal(receiver_body(receiver, 2), "{\"n\":3}");
    assert_memory_equal(kit_log(sending->process), "event-syncer: 3 lines: 3 sent, ", 31);
    receiver_end(receiver);
}

static void test_stop_while_waiting_for_input(void **state)
{
    struct kit *kit = *state;
    struct receiver *receiver = receiver_start(kit, NULL, NULL);
    struct sending *sending = sending_begin(kit, "-", "--url", receiver_url(receiver));
    sending_write(sending, "{\"n\":1}\n{\"n\":");
    assert_true(receiver_await(receiver, 1));
    kit_signal(sending->process, SIGTERM);
    assert_int_equal(kit_wait_exit(sending->process), 1);
    sending_assert_line(kit, kit_log(sending->process),
                        "event-syncer: stopped at line 1; nothing from line 2 on was sent");
    sending_end(sending);
    assert_int_equal(receiver_count(receiver), 1);
    receiver_end(receiver);
}

/* ---- a server that goes away ---- */

static struct standin *start_standin(struct kit *kit)
{
    struct standin *standin = standin_start();
    if (standin == NULL)
        kit_fail(kit, "no stand-in");
    standin_set(
        standin, "/liveEvent",
        &(struct standin_behaviour){.kind = STANDIN_ANSWER, .body = "{\"message\":\"Event received\"}"});
    return standin;
}

static void count_lines(struct kit *kit, struct standin *standin, unsigned counts[LINES + 1])
{
    struct standin_request request;
    for (size_t i = 0; standin_request(standin, i, &request) == 0; i++) {
        unsigned number = receiver_number(request.body);
        standin_request_free(&request);
        if (number > LINES)
            kit_fail(kit, "line %u came", number);
        counts[number]++;
    }
}

/* Connections that this machine has tried in vain: of `send`, or of others, then it proves less. */
static unsigned long failed_connections(struct kit *kit)
{
    const char *text = kit_read_file(kit, "/proc/net/snmp");
    const char *numbers = strstr(text, "\nTcp: ");
    numbers = numbers == NULL ? NULL : strstr(numbers + 1, "\nTcp: ");
    if (numbers == NULL)
        numbers = strstr(text, "Tcp: 1");
    unsigned long failed = 0;
    if (numbers == NULL || sscanf(strstr(numbers, "Tcp:"), "Tcp: %*s %*s %*s %*s %*s %*s %lu", &failed) != 1)
        kit_fail(kit, "no count of failed connections in:\n%s", text);
    return failed;
}

/* The lines under way when it goes may be lost, and only those; all others come once, after it is back. */
static void test_server_goes_and_comes_back(void **state)
{
    struct kit *kit = *state;
    struct standin *standin = start_standin(kit);
    struct sending *sending = sending_begin(kit, write_lines(kit, 1), "--url", standin_url(standin));
    assert_int_equal(standin_await(standin, "/liveEvent", 1000, KIT_DEADLINE_MS), 0);
    unsigned long failed = failed_connections(kit);
    assert_int_equal(standin_vanish(standin), 0);
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
    while (failed_connections(kit) < failed + 10 && kit_now_ms() < deadline_at_ms)
        kit_pause();
    assert_int_equal(standin_return(standin), 0);
    int status = sending_end(sending);
    const char *errors = kit_log(sending->process);
    unsigned counts[LINES + 1] = {0}, unknown = 0, lost = 0;
    count_lines(kit, standin, counts);
    for (unsigned number = 1; number <= LINES; number++) {
        assert_true(counts[number] <= 1);
        lost += counts[number] == 0 ? 1 : 0;
    }
    const char *sum = strstr(errors, "event-syncer: 5,000 lines: ");
    assert_non_null(sum);
    assert_int_equal(sscanf(strstr(sum, "refused, "), "refused, %u unknown", &unknown), 1);
    assert_true(lost <= unknown && unknown <= 8);
    assert_non_null(strstr(sum, " 0 refused"));
    assert_non_null(strstr(sum, " 0 not sent"));
    assert_int_equal(status, unknown > 0 ? 1 : 0);
    standin_free(standin);
}

/* Connections that the server closes between two lines cost nothing. */
static void test_closed_connections(void **state)
{
    enum { ROUNDS = 50 };
    struct kit *kit = *state;
    struct standin *standin = start_standin(kit);
    struct sending *sending = sending_begin(kit, "-", "--url", standin_url(standin));
    for (unsigned i = 1; i <= ROUNDS; i++) {
        sending_write(sending, kit_format(kit, "{\"n\":%u}\n", i));
        assert_int_equal(standin_await(standin, "/liveEvent", i, KIT_DEADLINE_MS), 0);
        if (i % 2 == 0)
            standin_set(standin, "/liveEvent",
                        &(struct standin_behaviour){.kind = STANDIN_ANSWER,
                                                    .closing = i % 4 == 0,
                                                    .body = "{\"message\":\"Event received\"}"});
    }
    assert_int_equal(sending_end(sending), 0);
    assert_int_equal(standin_count(standin, "/liveEvent"), ROUNDS);
    standin_free(standin);
}

/* It never comes back. */
static void test_server_stays_away(void **state)
{
    struct kit *kit = *state;
    struct standin *standin = start_standin(kit);
    struct sending *sending =
        sending_begin(kit, "-", "--url", standin_url(standin), "--give-up", "0.5", "--connections", "1");
    sending_write(sending, "{\"n\":1}\n");
    assert_int_equal(standin_await(standin, "/liveEvent", 1, KIT_DEADLINE_MS), 0);
    assert_int_equal(standin_vanish(standin), 0);
    sending_write(sending, "{\"n\":2}\n{\"n\":3}\n");
    sending_close_input(sending);
    assert_int_equal(sending_end(sending), 1);
    const char *errors = kit_log(sending->process);
    sending_assert_line(kit, errors,
                        "event-syncer: no line was taken for 0.5 s (no connection (Connection refused))");
    sending_assert_line(kit, errors, "event-syncer: stopped at line 1; nothing from line 2 on was sent");
    standin_free(standin);
}

/* Answers that are none. */
static void test_broken_answers(void **state)
{
    struct kit *kit = *state;
    static const struct standin_behaviour behaviours[] = {
        {.kind = STANDIN_DROP},
        {.kind = STANDIN_DROP_HALF},
        {.kind = STANDIN_GARBAGE},
        {.kind = STANDIN_LARGE, .bytes = 10 * 1024 * 1024},
        {.kind = STANDIN_LARGE_CHUNKED, .bytes = 10 * 1024 * 1024},
        {.kind = STANDIN_HANG},
        {.kind = STANDIN_SLOW, .pause_ms = 50},
        {.kind = STANDIN_INTERIM, .pause_ms = 50},
        {.kind = STANDIN_RAW, .body = "HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n{\"message\":"},
    };
    struct standin *standin = start_standin(kit);
    const char *path = sending_file(kit, "{\"n\":1}\n");
    for (size_t i = 0; i < sizeof behaviours / sizeof *behaviours; i++) {
        standin_set(standin, "/liveEvent", &behaviours[i]);
        const struct kit_run *run = sending_run(kit, path, "--url", standin_url(standin), "--timeout", "1.5");
        kit_note(kit, "behaviour %zu", i);
        assert_int_equal(run->exit_status, 1);
        assert_memory_equal(run->errors, "line 1: outcome unknown: ", 25);
        assert_int_equal(standin_count(standin, "/liveEvent"), i + 1);
    }
    standin_free(standin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(test_stop_and_continue),
        kit_test(test_second_signal),
        kit_test(test_stop_cuts),
        kit_test(test_input_from_a_pipe),
        kit_test(test_stop_while_waiting_for_input),
        kit_test(test_server_goes_and_comes_back),
        kit_test(test_closed_connections),
        kit_test(test_server_stays_away),
        kit_test(test_broken_answers),
    };
    return kit_run_tests(tests);
}
