/*
 * Proves that chunked bodies are decoded to the same data and end at the same byte however they are cut into
 * pieces, also in place; that what is not written as RFC 9112 section 7.1 says is refused at the byte that
 * does not belong there; and that what surrounds the data is limited.
 */
#include "net/chunked.h"
#include "net/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define BEHIND       "GET / HTTP/1.1\r\n"

/* What a whole decoding came to. */
struct outcome {
    enum chunked_result result;
    size_t consumed, written;
    char data[256];
};

/* Feeds `input` in pieces that end at `first`, `second` and the end. */
static struct outcome decode(const char *input, size_t length, size_t first, size_t second)
{
    struct outcome outcome = {.result = CHUNKED_RESULT_MORE};
    struct chunked chunked = CHUNKED_START;
    size_t ends[] = {first, second, length}, start = 0;
    for (size_t i = 0; i < COUNT(ends) && outcome.result == CHUNKED_RESULT_MORE; start = ends[i++]) {
        size_t consumed = 0, written = 0, piece = ends[i] - start;
        char *copy = malloc(piece + 1); /* whose end the sanitizer watches */
        assert_non_null(copy);
        memcpy(copy + 1, input + start, piece);
        outcome.result =
            chunked_decode(&chunked, copy + 1, piece, &consumed, outcome.data + outcome.written, &written);
        free(copy);
        assert_true(consumed <= piece && written <= consumed);
        if (outcome.result == CHUNKED_RESULT_MORE)
            assert_int_equal(consumed, piece);
        outcome.consumed += consumed;
        outcome.written += written;
    }
    return outcome;
}

static bool same(const struct outcome *a, const struct outcome *b)
{
    return a->result == b->result && a->consumed == b->consumed && a->written == b->written &&
           memcmp(a->data, b->data, a->written) == 0;
}

struct row {
    const char *name, *input, *data;
};

static const struct row good[] = {
    {"one chunk", "5\r\nhello\r\n0\r\n\r\n", "hello"},
    {"two chunks", "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world"},
    {"no data", "0\r\n\r\n", ""},
    {"a byte a chunk", "1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n", "abc"},
    {"hexadecimal", "a\r\n0123456789\r\nB\r\nabcdefghijk\r\n0\r\n\r\n", "0123456789abcdefghijk"},
    {"two digits", "1A\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n", "abcdefghijklmnopqrstuvwxyz"},
    {"zeros first", "0005\r\nhello\r\n000\r\n\r\n", "hello"},
    {"breaks in the data", "8\r\n\r\n0\r\n\r\n!\r\n0\r\n\r\n", "\r\n0\r\n\r\n!"},
    {"extension", "5;name=value\r\nhello\r\n0;last\r\n\r\n", "hello"},
    {"extensions", "5;a;b=c;d=\"e;f\"\r\nhello\r\n0\r\n\r\n", "hello"},
    {"quoted extension", "5;a=\"b \\\" \xc3\xa4\t\"\r\nhello\r\n0\r\n\r\n", "hello"},
    {"white space in extensions", "5 \t; a\t = b ;\tc = \"d\" ;e\r\nhello\r\n0\r\n\r\n", "hello"},
    {"empty quotes", "5;a=\"\";b\r\nhello\r\n0\r\n\r\n", "hello"},
    {"space before the extension", "5 ;a=b\r\nhello\r\n0\t ;b\r\n\r\n", "hello"},
    {"trailer", "5\r\nhello\r\n0\r\nX-A: 1\r\n\r\n", "hello"},
    {"trailers", "5\r\nhello\r\n0\r\nX-A: 1\r\nX-B:\t\xc3\xa4 \r\nX-C:\r\n\r\n", "hello"},
    {"trailer that looks like a chunk", "1\r\nx\r\n0\r\n5:\r\n0: 0\r\n\r\n", "x"},
};

static void good_bodies_are_decoded_to_their_end(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        char input[256];
        size_t length = strlen(good[i].input);
        int whole = snprintf(input, sizeof input, "%s" BEHIND, good[i].input);
        struct outcome outcome = decode(input, (size_t)whole, 0, 0);
        if (outcome.result != CHUNKED_RESULT_DONE || outcome.consumed != length ||
            outcome.written != strlen(good[i].data) ||
            memcmp(outcome.data, good[i].data, outcome.written) != 0)
            fail_msg("%s: %d, %zu of %zu bytes, \"%.*s\"", good[i].name, (int)outcome.result,
                     outcome.consumed, length, (int)outcome.written, outcome.data);
    }
}

/* All that is short of the last byte of a good body is not done, nor bad. */
static void beginnings_want_more(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++)
        for (size_t length = 0; length < strlen(good[i].input); length++) {
            struct outcome outcome = decode(good[i].input, length, 0, 0);
            if (outcome.result != CHUNKED_RESULT_MORE)
                fail_msg("%s: %d at %zu", good[i].name, (int)outcome.result, length);
            assert_memory_equal(outcome.data, good[i].data, outcome.written);
        }
}

struct bad_row {
    const char *name, *input;
    size_t length; /* 0: strlen(input) */
    size_t good;   /* bytes before the one that does not belong there */
};

#define NULS(literal) literal, sizeof(literal) - 1

static const struct bad_row bad[] = {
    {"no size", "\r\nhello\r\n0\r\n\r\n", 0, 0},
    {"not a digit", "g\r\n", 0, 0},
    {"a digit, then not", "5x\r\nhello\r\n0\r\n\r\n", 0, 1},
    {"plus", "+5\r\n", 0, 0},
    {"minus", "-5\r\n", 0, 0},
    {"0x", "0x5\r\nhello\r\n", 0, 1},
    {"space first", " 5\r\n", 0, 0},
    {"space behind the size", "5 \r\nhello\r\n", 0, 2},
    {"tab behind the size", "5\t\r\nhello\r\n", 0, 2},
    {"two sizes", "5 5\r\nhello\r\n", 0, 2},
    {"only an extension", ";a=b\r\n", 0, 0},
    {"NUL in the size", NULS("5\0\r\nhello"), 1},
    {"LF behind the size", "5\nhello\r\n", 0, 1},
    {"CR alone behind the size", "5\rhello\r\n", 0, 2},
    {"CR CR LF behind the size", "5\r\r\nhello\r\n", 0, 2},
    {"LF in an extension", "5;a\nb\r\nhello\r\n", 0, 3},
    {"CR in an extension", "5;a\rb\r\nhello\r\n", 0, 4},
    {"NUL in an extension", NULS("5;a\0\r\nhello"), 3},
    {"control character in an extension", "5;a\x01\r\nhello", 0, 3},
    {"DEL in an extension", "5;a\x7f\r\nhello", 0, 3},
    {"empty extension", "5;\r\nhello\r\n", 0, 2},
    {"empty extension before another", "5;;a\r\nhello\r\n", 0, 2},
    {"no name of an extension", "5;=b\r\nhello\r\n", 0, 2},
    {"quoted name of an extension", "5;\"a\"\r\nhello\r\n", 0, 2},
    {"byte above 127 in a name", "5;a\xc3\xa4\r\nhello\r\n", 0, 3},
    {"no value of an extension", "5;a=\r\nhello\r\n", 0, 4},
    {"two values of an extension", "5;a=b=c\r\nhello\r\n", 0, 5},
    {"two words in an extension", "5;a b\r\nhello\r\n", 0, 4},
    {"two words in a value", "5;a=b c\r\nhello\r\n", 0, 6},
    {"space behind a name", "5;a \r\nhello\r\n", 0, 4},
    {"space behind a value", "5;a=b \r\nhello\r\n", 0, 6},
    {"space behind quotes", "5;a=\"b\" \r\nhello\r\n", 0, 8},
    {"text behind quotes", "5;a=\"b\"c\r\nhello\r\n", 0, 7},
    {"open quotes", "5;a=\"b\r\nhello\r\n", 0, 6},
    {"escaped break", "5;a=\"b\\\r\n\"\r\nhello\r\n", 0, 7},
    {"NUL in quotes", NULS("5;a=\"\0\"\r\nhello"), 5},
    {"data too long", "4\r\nhello\r\n0\r\n\r\n", 0, 7},
    {"data too short", "6\r\nhello\r\n0\r\n\r\n", 0, 9},
    {"LF behind the data", "5\r\nhello\n0\r\n\r\n", 0, 8},
    {"CR alone behind the data", "5\r\nhello\r0\r\n\r\n", 0, 9},
    {"no break behind the data", "5\r\nhello0\r\n\r\n", 0, 8},
    {"LF for the last line", "5\r\nhello\r\n0\r\n\n", 0, 13},
    {"CR alone for the last line", "5\r\nhello\r\n0\r\n\rX", 0, 14},
    {"size behind the last chunk's line", "0\r\n\r\r\n", 0, 4},
    {"LF in a trailer", "0\r\nX: y\n\r\n", 0, 7},
    {"CR in a trailer", "0\r\nX: y\rz\r\n\r\n", 0, 8},
    {"NUL in a trailer", NULS("0\r\nX: \0\r\n\r\n"), 6},
    {"control character in a trailer", "0\r\nX: \x02\r\n\r\n", 0, 6},
    {"trailer without a colon", "0\r\nabc\r\n\r\n", 0, 6},
    {"trailer without a name", "0\r\n: y\r\n\r\n", 0, 3},
    {"space before the trailer's colon", "0\r\nX : y\r\n\r\n", 0, 4},
    {"folded trailer", "0\r\nX: y\r\n z\r\n\r\n", 0, 9},
};

static size_t length_of(const struct bad_row *row)
{
    return row->length == 0 ? strlen(row->input) : row->length;
}

static void bad_bodies_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct outcome outcome = decode(bad[i].input, length_of(&bad[i]), 0, 0);
        if (outcome.result != CHUNKED_RESULT_BAD)
            fail_msg("%s: %d", bad[i].name, (int)outcome.result);
    }
}

/* Neither earlier, which would refuse what is good so far, nor later, when more has been believed. */
static void bad_bodies_are_refused_at_the_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct outcome before = decode(bad[i].input, bad[i].good, 0, 0);
        struct outcome at = decode(bad[i].input, bad[i].good + 1, 0, 0);
        if (before.result != CHUNKED_RESULT_MORE || at.result != CHUNKED_RESULT_BAD)
            fail_msg("%s: %d before, %d at the byte", bad[i].name, (int)before.result, (int)at.result);
    }
}

static void check_splits(const char *name, const char *input, size_t length)
{
    struct outcome whole = decode(input, length, 0, 0);
    for (size_t first = 0; first <= length; first++)
        for (size_t second = first; second <= length; second++) {
            struct outcome pieces = decode(input, length, first, second);
            if (!same(&whole, &pieces))
                fail_msg("%s, cut at %zu and %zu: %d, %zu bytes", name, first, second, (int)pieces.result,
                         pieces.consumed);
        }
}

static void every_split_gives_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        char input[256];
        int length = snprintf(input, sizeof input, "%s" BEHIND, good[i].input);
        check_splits(good[i].name, input, (size_t)length);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        check_splits(bad[i].name, bad[i].input, length_of(&bad[i]));
}

static void single_bytes_give_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        struct chunked chunked = CHUNKED_START;
        size_t length = strlen(good[i].input), written = 0, consumed;
        char data[256];
        for (size_t at = 0; at < length; at++) {
            size_t more = 0;
            enum chunked_result result =
                chunked_decode(&chunked, good[i].input + at, 1, &consumed, data + written, &more);
            assert_int_equal(consumed, 1);
            assert_int_equal(result, at + 1 == length ? CHUNKED_RESULT_DONE : CHUNKED_RESULT_MORE);
            written += more;
        }
        assert_int_equal(written, strlen(good[i].data));
        assert_memory_equal(data, good[i].data, written);
    }
}

/* The data moves to the front of the memory that it came in, or to a place before. */
static void data_may_be_written_over_the_input(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++)
        for (size_t gap = 0; gap < 20; gap++) {
            char memory[256];
            size_t length = strlen(good[i].input), input = gap, output = 0;
            memcpy(memory + gap, good[i].input, length);
            struct chunked chunked = CHUNKED_START;
            enum chunked_result result = CHUNKED_RESULT_MORE;
            for (size_t piece = 1; result == CHUNKED_RESULT_MORE; piece++) {
                size_t left = gap + length - input, consumed = 0, written = 0;
                assert_true(left > 0);
                result = chunked_decode(&chunked, memory + input, piece < left ? piece : left, &consumed,
                                        memory + output, &written);
                input += consumed;
                output += written;
            }
            assert_int_equal(result, CHUNKED_RESULT_DONE);
            assert_int_equal(input, gap + length);
            assert_int_equal(output, strlen(good[i].data));
            assert_memory_equal(memory, good[i].data, output);
        }
}

static void sizes_that_overflow_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *size;
        enum chunked_result result;
    } rows[] = {
        {"7fffffff\r\n", CHUNKED_RESULT_MORE},
        {"100000005\r\n", CHUNKED_RESULT_MORE},
        {"fffffffffffffff\r\n", CHUNKED_RESULT_MORE},
        {"10000000000000000\r\n", CHUNKED_RESULT_BAD},
        {"10000000000000005\r\n", CHUNKED_RESULT_BAD},
        {"fffffffffffffffff\r\n", CHUNKED_RESULT_BAD},
        {"100000000000000000000000000000005\r\n", CHUNKED_RESULT_BAD},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char input[128], data[128];
        int length = snprintf(input, sizeof input, "%shello\r\n0\r\n\r\n", rows[i].size);
        struct chunked chunked = CHUNKED_START;
        size_t consumed, written = 0;
        enum chunked_result result =
            chunked_decode(&chunked, input, (size_t)length, &consumed, data, &written);
        if (result != rows[i].result)
            fail_msg("%s: %d", rows[i].size, (int)result);
        /* All that follows is data of so large a chunk. */
        if (result == CHUNKED_RESULT_MORE)
            assert_int_equal(written, (size_t)length - strlen(rows[i].size));
        else
            assert_int_equal(written, 0);
    }
}

/* Feeds `start`, then `piece` again and again. Returns how many bytes were taken before there were too many. */
static size_t bytes_until_extra(const char *start, const char *piece)
{
    struct chunked chunked = CHUNKED_START;
    char data[256];
    size_t consumed, written, total = strlen(start);
    assert_int_equal(chunked_decode(&chunked, start, total, &consumed, data, &written), CHUNKED_RESULT_MORE);
    while (total < 10 * HTTP_CHUNK_EXTRA_BYTES) {
        enum chunked_result result =
            chunked_decode(&chunked, piece, strlen(piece), &consumed, data, &written);
        total += consumed;
        if (result == CHUNKED_RESULT_EXTRA || result == CHUNKED_RESULT_BAD)
            return total;
        assert_int_equal(result, CHUNKED_RESULT_MORE);
    }
    return total;
}

static void what_surrounds_the_data_is_limited(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"5;", "abcdefgh"},
        {"5;a=\"", "bcdefghi"},
        {"0\r\n", "X-Trailer: y\r\n"},
        {"0\r\nX: ", "yyyyyyyy"},
        {"0\r\n", "x"},
        {"0", "00000000"},
        {"5\r\nhello\r\n0;", "abc"},
        {"1;abcdefgh\r\nx\r\n", "1;abcdefgh\r\nx\r\n"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t total = bytes_until_extra(rows[i][0], rows[i][1]);
        if (total > 2 * HTTP_CHUNK_EXTRA_BYTES)
            fail_msg("row %zu: %zu bytes are taken", i, total);
    }
}

/* Decodes `body` and returns what it came to. */
static enum chunked_result result_of(const char *body, size_t length)
{
    struct chunked chunked = CHUNKED_START;
    char *data = malloc(length + 1);
    assert_non_null(data);
    size_t consumed, written;
    enum chunked_result result = chunked_decode(&chunked, body, length, &consumed, data, &written);
    free(data);
    return result;
}

/* A trailer as long as the limit is taken, give or take the lines around it, and a longer one is not. */
static void trailers_up_to_the_limit_are_taken(void **state)
{
    (void)state;
    static char body[2 * HTTP_CHUNK_EXTRA_BYTES];
    enum chunked_result result = CHUNKED_RESULT_DONE;
    size_t longest = 0;
    for (size_t length = HTTP_CHUNK_EXTRA_BYTES - 64; length < HTTP_CHUNK_EXTRA_BYTES + 64; length++) {
        size_t fixed = strlen("0\r\nX:\r\n\r\n");
        int at = snprintf(body, sizeof body, "0\r\nX:%*s\r\n\r\n", (int)(length - fixed), "");
        assert_int_equal(at, length);
        enum chunked_result next = result_of(body, length);
        /* Once too long, always too long. */
        assert_true(next == result || (result == CHUNKED_RESULT_DONE && next == CHUNKED_RESULT_EXTRA));
        result = next;
        if (result == CHUNKED_RESULT_DONE)
            longest = length;
    }
    assert_int_equal(result, CHUNKED_RESULT_EXTRA);
    assert_in_range(longest, HTTP_CHUNK_EXTRA_BYTES, HTTP_CHUNK_EXTRA_BYTES + 16);
}

/* What is limited are extensions and trailers, not how finely the data is cut. */
static void data_is_not_limited(void **state)
{
    (void)state;
    static const size_t sizes[] = {65536, 4096, 512, 16, 1};
    enum { CHUNKS = 20000 };
    static char chunk[65536 + 32], data[65536 + 32];
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct chunked chunked = CHUNKED_START;
        size_t head = (size_t)snprintf(chunk, sizeof chunk, "%05zx\r\n", sizes[i]), consumed, written;
        memset(chunk + head, 'd', sizes[i]);
        memcpy(chunk + head + sizes[i], "\r\n", 2);
        for (int count = 0; count < CHUNKS; count++) {
            size_t length = head + sizes[i] + 2;
            if (chunked_decode(&chunked, chunk, length, &consumed, data, &written) != CHUNKED_RESULT_MORE)
                fail_msg("chunks of %zu bytes: number %d is refused", sizes[i], count);
            assert_int_equal(consumed, length);
            assert_int_equal(written, sizes[i]);
        }
        assert_int_equal(chunked_decode(&chunked, "0\r\n\r\n", 5, &consumed, data, &written),
                         CHUNKED_RESULT_DONE);
    }
}

/* Room is for all chunks together, and is judged by what they announce. */
static void chunks_without_room_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        uint64_t room;
        size_t taken; /* 0: all */
    } rows[] = {
        {"5\r\nhello\r\n0\r\n\r\n", 5, 0},
        {"5\r\nhello\r\n0\r\n\r\n", 4, 3},
        {"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", 5, 0},
        {"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", 4, 10},
        {"2\r\nhe\r\n3;a=b\r\nno\nbreak", 4, 14},
        {"fffffffffffffff\r\n", UINT64_MAX / 32, 17},
        {"0\r\n\r\n", 0, 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct chunked chunked = CHUNKED_START;
        char data[64];
        size_t consumed, written, length = strlen(rows[i].body);
        chunked.room = rows[i].room;
        enum chunked_result result =
            chunked_decode(&chunked, rows[i].body, length, &consumed, data, &written);
        assert_int_equal(result, rows[i].taken == 0 ? CHUNKED_RESULT_DONE : CHUNKED_RESULT_LARGE);
        assert_int_equal(consumed, rows[i].taken == 0 ? length : rows[i].taken);
    }
}

/* Extensions of many chunks add up. */
static void extensions_are_limited_together(void **state)
{
    (void)state;
    struct chunked chunked = CHUNKED_START;
    size_t consumed, written, extensions = 0;
    char data[16];
    static const char chunk[] = "1;abcdefg\r\nx\r\n";
    while (chunked_decode(&chunked, chunk, sizeof chunk - 1, &consumed, data, &written) ==
           CHUNKED_RESULT_MORE) {
        extensions += strlen(";abcdefg");
        assert_true(extensions <= HTTP_CHUNK_EXTRA_BYTES);
    }
    assert_true(extensions >= HTTP_CHUNK_EXTRA_BYTES - 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_bodies_are_decoded_to_their_end),
        cmocka_unit_test(beginnings_want_more),
        cmocka_unit_test(bad_bodies_are_refused),
        cmocka_unit_test(bad_bodies_are_refused_at_the_byte),
        cmocka_unit_test(every_split_gives_the_same),
        cmocka_unit_test(single_bytes_give_the_same),
        cmocka_unit_test(data_may_be_written_over_the_input),
        cmocka_unit_test(sizes_that_overflow_are_refused),
        cmocka_unit_test(what_surrounds_the_data_is_limited),
        cmocka_unit_test(trailers_up_to_the_limit_are_taken),
        cmocka_unit_test(data_is_not_limited),
        cmocka_unit_test(chunks_without_room_are_refused),
        cmocka_unit_test(extensions_are_limited_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
