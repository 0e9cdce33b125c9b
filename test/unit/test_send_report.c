/* What is said of the lines: order, ranges, the end of the list, the sum. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "cli/send_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The list as text, valid until the next call with the same buffer. */
static const char *list(const struct send_report *report, struct buffer *text)
{
    buffer_clear(text);
    send_report_list(report, text);
    buffer_append(text, "", 1);
    assert_false(text->failed);
    return text->bytes;
}

static void test_ranges(void **state)
{
    struct send_report report;
    struct buffer text = BUFFER_EMPTY;
    (void)state;
    assert_int_equal(send_report_begin(&report), 0);
    assert_string_equal(list(&report, &text), "");
    send_report_add(&report, 7, SEND_FATE_REFUSED, "400");
    send_report_add(&report, 5, SEND_FATE_REFUSED, "400");
    send_report_add(&report, 4, SEND_FATE_SENT, NULL);
    send_report_add(&report, 3, SEND_FATE_BLANK, NULL);
    assert_string_equal(list(&report, &text), "line 5: refused: 400\nline 7: refused: 400\n");
    send_report_add(&report, 6, SEND_FATE_REFUSED, "400");
    assert_string_equal(list(&report, &text), "lines 5-7: refused: 400\n");
    send_report_add(&report, 8, SEND_FATE_REFUSED, "413");
    send_report_add(&report, 9, SEND_FATE_UNKNOWN, "413");
    send_report_add(&report, 2, SEND_FATE_NOT_SENT, "stopped before");
    send_report_add(&report, 10, SEND_FATE_UNKNOWN, "413");
    send_report_add(&report, 1, SEND_FATE_NOT_SENT, "stopped before");
    assert_string_equal(list(&report, &text), "lines 1-2: not sent: stopped before\n"
                                              "lines 5-7: refused: 400\n"
                                              "line 8: refused: 413\n"
                                              "lines 9-10: outcome unknown: 413\n");
    buffer_clear(&text);
    send_report_sum(&report, 2 * CLOCK_NS_PER_SECOND, &text);
    buffer_append(&text, "", 1);
    assert_string_equal(text.bytes,
                        "event-syncer: 10 lines: 1 sent, 4 refused, 2 unknown, 2 not sent, 1 blank; "
                        "2.0 s, 5 lines/s\n");
    assert_int_equal(send_report_lines(&report), 10);
    assert_false(send_report_is_good(&report));
    buffer_free(&text);
    send_report_free(&report);
}

static void test_good(void **state)
{
    struct send_report report;
    (void)state;
    assert_int_equal(send_report_begin(&report), 0);
    assert_true(send_report_is_good(&report));
    send_report_add(&report, 1, SEND_FATE_SENT, NULL);
    send_report_add(&report, 2, SEND_FATE_BLANK, NULL);
    assert_true(send_report_is_good(&report));
    send_report_add(&report, 3, SEND_FATE_UNKNOWN, "lost");
    assert_false(send_report_is_good(&report));
    send_report_free(&report);
}

/* In any order of their coming, the lowest entries stay. */
static void test_list_is_bounded(void **state)
{
    enum { LINES = 12000 };
    (void)state;
    for (int order = 0; order < 3; order++) {
        struct send_report report;
        struct buffer text = BUFFER_EMPTY;
        assert_int_equal(send_report_begin(&report), 0);
        for (uint64_t i = 0; i < LINES; i++) {
            uint64_t place = order == 0 ? i : order == 1 ? LINES - 1 - i : i * 12347 % LINES;
            send_report_add(&report, 2 * place + 1, SEND_FATE_REFUSED, "400");
        }
        const char *shown = list(&report, &text);
        const char *at = shown;
        for (unsigned i = 0; i < SEND_REPORT_ENTRIES; i++) {
            char line[64];
            int length = snprintf(line, sizeof line, "line %u: refused: 400\n", 2 * i + 1);
            assert_memory_equal(at, line, (size_t)length);
            at += length;
        }
        assert_string_equal(at, "and 11,000 more lines\n");
        buffer_free(&text);
        send_report_free(&report);
    }
}

/* Very many lines with one fate take one entry, in whatever order they are told. */
static void test_long_range(void **state)
{
    enum { LINES = 12000, STRIDE = SEND_QUEUE_LINES - 1 };
    struct send_report report;
    struct buffer text = BUFFER_EMPTY;
    (void)state;
    assert_int_equal(send_report_begin(&report), 0);
    /* As far out of order as a full queue allows: every other line long before the ones between. */
    for (uint64_t i = 1; i <= LINES + STRIDE; i++) {
        if (i % 2 == 1 && i <= LINES)
            send_report_add(&report, i, SEND_FATE_REFUSED, "404");
        if (i > STRIDE && (i - STRIDE) % 2 == 0)
            send_report_add(&report, i - STRIDE, SEND_FATE_REFUSED, "404");
    }
    assert_int_equal(send_report_lines(&report), LINES);
    assert_string_equal(list(&report, &text), "lines 1-12000: refused: 404\n");
    buffer_free(&text);
    send_report_free(&report);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_list_is_bounded),
        cmocka_unit_test(test_long_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
