/* What answers mean, and how long a refused line waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/send_judge.h"

#include <stdio.h>
#include <string.h>

struct row {
    unsigned status;
    const char *body;
    enum send_verdict verdict;
    const char *reason;
};

static void test_answers(void **state)
{
    static const struct row rows[] = {
        {200, "{\"message\":\"Event received\"}", SEND_TAKEN, ""},
        {200, " { \"id\":1, \"message\" : \"Event receiv\\u0065d\" } ", SEND_TAKEN, ""},
        {200, "{\"message\":\"Hello\"}", SEND_UNKNOWN, "200 without \"Event received\""},
        {200, "", SEND_UNKNOWN, "200 without \"Event received\""},
        {200, "{\"message\":\"Event received\"", SEND_UNKNOWN, "200 without \"Event received\""},
        {200, "[\"Event received\"]", SEND_UNKNOWN, "200 without \"Event received\""},
        {201, "{\"message\":\"Event received\"}", SEND_UNKNOWN, "201 without \"Event received\""},
        {204, "", SEND_UNKNOWN, "204 without \"Event received\""},
        {301, "", SEND_REFUSED, "301"},
        {400, "{\"error\":\"no name\"}", SEND_REFUSED, "400 \"no name\""},
        {400, "{\"error\":\"a\\nb\\u001b[2J\\\"\\u00e4\"}", SEND_REFUSED,
         "400 \"a\\x0ab\\x1b[2J\\\"\\xc3\\xa4\""},
        {400, "{\"error\":17}", SEND_REFUSED, "400"},
        {404, "<html>", SEND_REFUSED, "404"},
        {413, "", SEND_REFUSED, "413"},
        {401, "{\"error\":\"who\"}", SEND_FORBIDDEN, "401 \"who\""},
        {403, "", SEND_FORBIDDEN, "403"},
        {408, "", SEND_AGAIN, "408"},
        {429, "", SEND_AGAIN, "429"},
        {500, "{\"error\":\"broken\"}", SEND_UNKNOWN, "500 \"broken\""},
        {501, "", SEND_REFUSED, "501"},
        {502, "", SEND_UNKNOWN, "502"},
        {503, "", SEND_AGAIN, "503"},
        {503, "{\"error\":\"the memory is full\"}", SEND_AGAIN, "503 \"the memory is full\""},
        {503, "{\"error\":\"outcome unknown: lost\"}", SEND_UNKNOWN, "503 \"outcome unknown: lost\""},
        {503, "{\"error\":\"no outcome unknown\"}", SEND_AGAIN, "503 \"no outcome unknown\""},
        {504, "", SEND_UNKNOWN, "504"},
        {505, "", SEND_REFUSED, "505"},
        {599, "", SEND_UNKNOWN, "599"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char reason[SEND_REASON_BYTES] = "";
        struct client_answer answer = {
            .status = rows[i].status, .was_sent = true, .body = text_from(rows[i].body)};
        enum send_verdict verdict = send_judge(&answer, reason);
        if (verdict != rows[i].verdict || (verdict != SEND_TAKEN && strcmp(reason, rows[i].reason) != 0))
            fail_msg("%u %s: %d %s", rows[i].status, rows[i].body, (int)verdict, reason);
    }
}

/* Every status has a meaning, and few of them let a line be sent again. */
static void test_all_statuses(void **state)
{
    (void)state;
    for (unsigned status = 200; status <= 599; status++) {
        char reason[SEND_REASON_BYTES];
        struct client_answer answer = {.status = status, .was_sent = true, .body = TEXT("")};
        bool again = send_judge(&answer, reason) == SEND_AGAIN;
        assert_int_equal(again, status == 408 || status == 429 || status == 503);
    }
}

static void test_no_answer(void **state)
{
    char reason[SEND_REASON_BYTES];
    struct client_answer answer = {.failure = "no connection"};
    (void)state;
    assert_int_equal(send_judge(&answer, reason), SEND_AGAIN);
    assert_string_equal(reason, "no connection");
    answer.was_sent = true;
    assert_int_equal(send_judge(&answer, reason), SEND_UNKNOWN);
}

static void test_backoff(void **state)
{
    (void)state;
    for (unsigned tries = 1; tries <= 40; tries++) {
        int64_t full_ns = tries > 6 ? SEND_BACKOFF_MOST_NS : SEND_BACKOFF_FIRST_NS << (tries - 1);
        assert_int_equal(send_backoff_ns(tries, 0, 0), full_ns);
        assert_int_equal(send_backoff_ns(tries, 0, (uint64_t)full_ns / 2), full_ns - full_ns / 2);
        for (uint64_t random = 1; random != 0; random *= 6364136223846793005U) {
            int64_t pause_ns = send_backoff_ns(tries, 0, random);
            assert_true(pause_ns >= full_ns / 2 && pause_ns <= full_ns);
            int64_t asked_ns = send_backoff_ns(tries, 2, random);
            assert_true(asked_ns >= 2 * CLOCK_NS_PER_SECOND && asked_ns >= full_ns / 2);
            assert_true(asked_ns <= 2 * CLOCK_NS_PER_SECOND + full_ns);
            if (random > UINT64_MAX / 2)
                break;
        }
    }
    assert_int_equal(send_backoff_ns(1, 10, 0), 10 * CLOCK_NS_PER_SECOND);
    assert_true(send_backoff_ns(1, INT64_MAX, UINT64_MAX) < 3601 * CLOCK_NS_PER_SECOND);
    assert_int_equal(send_backoff_ns(1, -5, 0), SEND_BACKOFF_FIRST_NS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),
        cmocka_unit_test(test_all_statuses),
        cmocka_unit_test(test_no_answer),
        cmocka_unit_test(test_backoff),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
