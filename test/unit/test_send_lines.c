/* Lines, however they are cut into reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/send_lines.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The next result that is none of reading, from a pipe that is written to in pieces. */
struct source {
    int pipe[2];
    const char *bytes;
    size_t length, at, piece;
    struct send_lines lines;
};

static void source_begin(struct source *source, const char *bytes, size_t length, size_t piece)
{
    *source = (struct source){.bytes = bytes, .length = length, .piece = piece};
    assert_int_equal(pipe2(source->pipe, O_CLOEXEC), 0);
    send_lines_begin(&source->lines, source->pipe[0]);
}

static void source_end(struct source *source)
{
    send_lines_free(&source->lines);
    close(source->pipe[0]);
    if (source->pipe[1] >= 0)
        close(source->pipe[1]);
}

static enum send_lines_result source_next(struct source *source, struct send_lines_line *line)
{
    enum send_lines_result result;
    while ((result = send_lines_next(&source->lines, line)) == SEND_LINES_MORE) {
        size_t left = source->length - source->at;
        size_t piece = left < source->piece ? left : source->piece;
        if (piece > 0) {
            assert_int_equal(write(source->pipe[1], source->bytes + source->at, piece), piece);
            source->at += piece;
        } else if (source->pipe[1] >= 0) {
            close(source->pipe[1]);
            source->pipe[1] = -1;
        }
        assert_int_equal(send_lines_read(&source->lines), 0);
    }
    return result;
}

struct expected {
    enum send_lines_result result;
    const char *text;
    uint64_t bytes;
};

static void check(const char *bytes, const struct expected *expected, size_t count)
{
    for (size_t piece = 1; piece <= strlen(bytes) + 1; piece++) {
        struct source source;
        struct send_lines_line line;
        source_begin(&source, bytes, strlen(bytes), piece);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(source_next(&source, &line), expected[i].result);
            assert_int_equal(line.number, i + 1);
            assert_int_equal(line.bytes, expected[i].bytes);
            if (expected[i].result != SEND_LINES_LINE)
                continue;
            assert_int_equal(line.text.length, strlen(expected[i].text));
            assert_memory_equal(line.text.bytes, expected[i].text, line.text.length);
        }
        assert_int_equal(source_next(&source, &line), SEND_LINES_END);
        assert_int_equal(source_next(&source, &line), SEND_LINES_END);
        source_end(&source);
    }
}

#define CHECK(bytes, ...)                                                                                    \
    do {                                                                                                     \
        const struct expected expected_[] = {__VA_ARGS__};                                                   \
        check(bytes, expected_, sizeof expected_ / sizeof *expected_);                                       \
    } while (0)

static void test_ends(void **state)
{
    (void)state;
    check("", NULL, 0);
    CHECK("a", {SEND_LINES_LINE, "a", 1});
    CHECK("a\n", {SEND_LINES_LINE, "a", 2});
    CHECK("a\r\n", {SEND_LINES_LINE, "a", 3});
    CHECK("a\r", {SEND_LINES_LINE, "a", 2});
    CHECK("a\r\r\n", {SEND_LINES_LINE, "a\r", 4});
    CHECK("a\nbc\r\nd\re", {SEND_LINES_LINE, "a", 2}, {SEND_LINES_LINE, "bc", 4},
          {SEND_LINES_LINE, "d\re", 3});
}

static void test_blanks(void **state)
{
    (void)state;
    CHECK("\n", {SEND_LINES_BLANK, NULL, 1});
    CHECK(" \t\r\n\r\n\n x \n ", {SEND_LINES_BLANK, NULL, 4}, {SEND_LINES_BLANK, NULL, 2},
          {SEND_LINES_BLANK, NULL, 1}, {SEND_LINES_LINE, " x ", 4}, {SEND_LINES_BLANK, NULL, 1});
}

/* `length` bytes and an end, then a short line; told as it must be, in memory that does not grow with it. */
static void check_length(size_t length, const char *end, enum send_lines_result result)
{
    size_t total = length + strlen(end) + 2;
    char *bytes = malloc(total + 1);
    assert_non_null(bytes);
    memset(bytes, 'x', length);
    snprintf(bytes + length, total + 1 - length, "%sy\n", end);
    struct source source;
    struct send_lines_line line;
    source_begin(&source, bytes, total, 60000);
    assert_int_equal(source_next(&source, &line), result);
    assert_int_equal(line.number, 1);
    assert_int_equal(line.bytes, length + strlen(end));
    if (result == SEND_LINES_LINE)
        assert_int_equal(line.text.length, length);
    assert_int_equal(source_next(&source, &line), SEND_LINES_LINE);
    assert_int_equal(line.number, 2);
    assert_int_equal(line.text.length, 1);
    assert_int_equal(source_next(&source, &line), SEND_LINES_END);
    assert_true(source.lines.read.capacity <= 4 * SEND_LINE_BYTES);
    source_end(&source);
    free(bytes);
}

static void test_long_lines(void **state)
{
    (void)state;
    check_length(SEND_LINE_BYTES, "\n", SEND_LINES_LINE);
    check_length(SEND_LINE_BYTES, "\r\n", SEND_LINES_LINE);
    for (size_t more = 1; more <= 4; more++) {
        check_length(SEND_LINE_BYTES + more, "\n", SEND_LINES_TOO_LONG);
        check_length(SEND_LINE_BYTES + more, "\r\n", SEND_LINES_TOO_LONG);
    }
    check_length(20 * SEND_LINE_BYTES, "\n", SEND_LINES_TOO_LONG);
}

static void test_long_last_line(void **state)
{
    enum { LENGTH = 3 * SEND_LINE_BYTES };
    (void)state;
    char *bytes = calloc(1, LENGTH);
    struct source source;
    struct send_lines_line line;
    assert_non_null(bytes);
    source_begin(&source, bytes, LENGTH, 60000);
    assert_int_equal(source_next(&source, &line), SEND_LINES_TOO_LONG);
    assert_int_equal(line.bytes, LENGTH);
    assert_int_equal(source_next(&source, &line), SEND_LINES_END);
    source_end(&source);
    free(bytes);
}

static void test_unreadable(void **state)
{
    struct send_lines lines;
    struct send_lines_line line;
    (void)state;
    send_lines_begin(&lines, -1);
    assert_int_equal(send_lines_next(&lines, &line), SEND_LINES_MORE);
    assert_int_equal(send_lines_read(&lines), -1);
    assert_int_equal(errno, EBADF);
    assert_int_equal(send_lines_next(&lines, &line), SEND_LINES_MORE);
    send_lines_free(&lines);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends),       cmocka_unit_test(test_blanks),
        cmocka_unit_test(test_long_lines), cmocka_unit_test(test_long_last_line),
        cmocka_unit_test(test_unreadable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
