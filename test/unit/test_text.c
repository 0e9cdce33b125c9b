/*
 * Proves that texts from strangers are judged by the letter: UTF-8 by the table of RFC 3629, control
 * characters over all of Unicode, numbers and seconds at the edges of their types, comparisons byte by byte.
 */
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
/* A literal as a text, with the NULs in it; in static tables, where a compound literal can't stand. */
#define BYTES(literal)                                                                                       \
    {                                                                                                        \
        .bytes = (literal), .length = sizeof(literal) - 1                                                    \
    }

static void assert_text(struct text text, const char *wanted)
{
    if (text.length != strlen(wanted) || memcmp(text.bytes, wanted, text.length) != 0)
        fail_msg("\"%.*s\" instead of \"%s\"", (int)text.length, text.bytes, wanted);
}

static void from_takes_all_but_the_nul(void **state)
{
    (void)state;
    const char *string = "abc";
    struct text text = text_from(string);
    assert_ptr_equal(text.bytes, string);
    assert_int_equal(text.length, 3);
    assert_int_equal(text_from("").length, 0);
}

static void equal_texts_have_the_same_bytes(void **state)
{
    (void)state;
    assert_true(text_equals(TEXT("abc"), TEXT("abc")));
    assert_true(text_equals(TEXT(""), TEXT("")));
    assert_true(text_equals((struct text){0}, TEXT("")));
    assert_true(text_equals(TEXT("a\0b"), TEXT("a\0b")));
    assert_false(text_equals(TEXT("a\0b"), TEXT("a\0c")));
    assert_false(text_equals(TEXT("abc"), TEXT("abC")));
    assert_false(text_equals(TEXT("abc"), TEXT("ab")));
    assert_false(text_equals(TEXT("ab"), TEXT("abc")));
    assert_false(text_equals(TEXT("a"), TEXT("b")));
    assert_false(text_equals(TEXT("a"), TEXT("a\0")));
}

static bool same_letter(int a, int b)
{
    bool capital = a >= 'A' && a <= 'Z', small = a >= 'a' && a <= 'z';
    return a == b || (capital && b == a + 32) || (small && b == a - 32);
}

static void case_is_ignored_for_ascii_letters_alone(void **state)
{
    (void)state;
    for (int a = 0; a < 256; a++)
        for (int b = 0; b < 256; b++) {
            char left = (char)a, right = (char)b;
            if (text_equals_ignoring_case((struct text){&left, 1}, (struct text){&right, 1}) !=
                same_letter(a, b))
                fail_msg("0x%02x and 0x%02x", (unsigned)a, (unsigned)b);
        }
    assert_true(text_equals_ignoring_case(TEXT("Content-LENGTH"), TEXT("content-length")));
    assert_true(text_equals_ignoring_case(TEXT(""), (struct text){0}));
    assert_false(text_equals_ignoring_case(TEXT("Content-Length"), TEXT("Content-Lengt")));
    assert_false(text_equals_ignoring_case(TEXT("Content-Lengt"), TEXT("Content-Length")));
    assert_false(text_equals_ignoring_case(TEXT("xbc"), TEXT("ybc")));
    assert_false(text_equals_ignoring_case(TEXT("abx"), TEXT("aby")));
}

static void secrets_are_compared_whole(void **state)
{
    (void)state;
    static const struct {
        struct text secret, guess;
        bool equal;
    } rows[] = {
        {BYTES("secret"), BYTES("secret"), true},
        {BYTES(""), BYTES(""), true},
        {BYTES("a\0b"), BYTES("a\0b"), true},
        {BYTES("\xff\x80"), BYTES("\xff\x80"), true},
        {BYTES("secret"), BYTES("Secret"), false},
        {BYTES("secret"), BYTES("seCret"), false},
        {BYTES("secret"), BYTES("secreT"), false},
        {BYTES("secret"), BYTES("SECRET"), false},
        {BYTES("secret"), BYTES("secre"), false},
        {BYTES("secret"), BYTES("secrets"), false},
        {BYTES("secret"), BYTES("secret\0"), false},
        {BYTES("secret"), BYTES("secre\0"), false},
        {BYTES("secret"), BYTES(""), false},
        {BYTES(""), BYTES("secret"), false},
        {BYTES(""), BYTES("\0"), false},
        {BYTES("\0"), BYTES(""), false},
        {BYTES("a"), BYTES("a"), true},
        {BYTES("a"), BYTES("b"), false},
        {BYTES("ab"), BYTES("ba"), false},
        {BYTES("a\0b"), BYTES("a\0c"), false},
        {BYTES("abab"), BYTES("ab"), false},
        {BYTES("ab"), BYTES("abab"), false},
        {BYTES("aa"), BYTES("\xe1\xe1"), false},
        {BYTES("ab"), BYTES("bb"), false},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        if (text_equals_in_constant_time(rows[i].secret, rows[i].guess) != rows[i].equal)
            fail_msg("row %zu: \"%s\" and \"%s\"", i, rows[i].secret.bytes, rows[i].guess.bytes);
}

/* A difference must neither get lost in a narrow type nor be outweighed by another. */
static void secrets_differ_in_any_bit_and_length(void **state)
{
    (void)state;
    enum { LENGTH = 300 };
    char secret[LENGTH] = {0}, guess[LENGTH] = {0};
    for (size_t length = 0; length <= LENGTH; length++)
        for (size_t other = 0; other <= LENGTH; other++)
            assert_int_equal(
                text_equals_in_constant_time((struct text){secret, length}, (struct text){guess, other}),
                length == other);
    for (size_t at = 0; at < LENGTH; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            guess[at] = (char)(1U << bit);
            guess[LENGTH - 1 - at] = guess[at];
            assert_false(
                text_equals_in_constant_time((struct text){secret, LENGTH}, (struct text){guess, LENGTH}));
            guess[at] = guess[LENGTH - 1 - at] = 0;
        }
}

static void trim_takes_spaces_and_tabs_off_the_ends(void **state)
{
    (void)state;
    assert_text(text_trim(TEXT("abc")), "abc");
    assert_text(text_trim(TEXT(" \t abc\t\t ")), "abc");
    assert_text(text_trim(TEXT("a \t b")), "a \t b");
    assert_text(text_trim(TEXT("\tx")), "x");
    assert_text(text_trim(TEXT("x ")), "x");
    assert_int_equal(text_trim(TEXT(" ")).length, 0);
    assert_text(text_trim(TEXT(" \r\nx\v\f ")), "\r\nx\v\f");
    assert_text(text_trim(TEXT(" \xc2\xa0 ")), "\xc2\xa0");
    assert_int_equal(text_trim(TEXT(" \t \t")).length, 0);
    assert_int_equal(text_trim(TEXT("")).length, 0);
    assert_int_equal(text_trim((struct text){0}).length, 0);
}

static void cut_gives_what_stands_before_the_separator(void **state)
{
    (void)state;
    struct text rest = TEXT("a,bc,,d");
    assert_text(text_cut(&rest, ','), "a");
    assert_text(rest, "bc,,d");
    assert_text(text_cut(&rest, ','), "bc");
    assert_text(text_cut(&rest, ','), "");
    assert_text(rest, "d");
    assert_text(text_cut(&rest, ','), "d");
    assert_int_equal(rest.length, 0);
    assert_int_equal(text_cut(&rest, ',').length, 0);
    assert_int_equal(rest.length, 0);

    rest = TEXT(",x");
    assert_text(text_cut(&rest, ','), "");
    assert_text(rest, "x");
    rest = TEXT(",");
    assert_text(text_cut(&rest, ','), "");
    assert_int_equal(rest.length, 0);
    rest = TEXT("x,");
    assert_text(text_cut(&rest, ','), "x");
    assert_int_equal(rest.length, 0);
    rest = TEXT("a\0b;c");
    assert_int_equal(text_cut(&rest, ';').length, 3);
    assert_text(rest, "c");
    rest = (struct text){0};
    assert_int_equal(text_cut(&rest, ';').length, 0);
}

static void hex_digits_have_their_value(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        const char *digits = "0123456789abcdef", *capitals = "0123456789ABCDEF";
        const char *digit = byte == 0 ? NULL : strchr(digits, byte);
        const char *capital = byte == 0 ? NULL : strchr(capitals, byte);
        int wanted = digit != NULL ? (int)(digit - digits) : capital != NULL ? (int)(capital - capitals) : -1;
        assert_int_equal(text_hex_value((char)byte), wanted);
    }
}

/* ---- UTF-8 ---- */

static size_t encode(uint32_t code, char *bytes)
{
    size_t length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = length; i-- > 1; code >>= 6)
        bytes[i] = (char)(0x80 | (code & 0x3f));
    bytes[0] = (char)(leads[length] | code);
    return length;
}

static void every_character_of_unicode_is_utf8(void **state)
{
    (void)state;
    for (uint32_t code = 0; code <= 0x10ffff; code++) {
        char bytes[6] = "a";
        size_t length = encode(code, bytes + 1);
        bytes[1 + length] = 'b';
        bool surrogate = code >= 0xd800 && code <= 0xdfff;
        if (text_is_utf8((struct text){bytes, length + 2}) == surrogate)
            fail_msg("U+%04X is %s", code, surrogate ? "taken" : "refused");
        /* Any shorter piece of it ends in the middle. */
        for (size_t cut = 2; cut < length + 1; cut++)
            if (text_is_utf8((struct text){bytes, cut}))
                fail_msg("%zu bytes of U+%04X are taken", cut - 1, code);
    }
}

/* The number of valid texts of a length tells that there is none beside those that encode() makes. */
static void nothing_else_of_three_bytes_is_utf8(void **state)
{
    (void)state;
    const size_t one = 0x80, two = 0x800 - 0x80, three = 0x10000 - 0x800 - 0x800;
    size_t singles = 0, pairs = 0, triples = 0;
    char bytes[3];
    for (int a = 0; a < 256; a++) {
        bytes[0] = (char)a;
        singles += text_is_utf8((struct text){bytes, 1});
        for (int b = 0; b < 256; b++) {
            bytes[1] = (char)b;
            pairs += text_is_utf8((struct text){bytes, 2});
            for (int c = 0; c < 256; c++) {
                bytes[2] = (char)c;
                triples += text_is_utf8((struct text){bytes, 3});
            }
        }
    }
    assert_int_equal(singles, one);
    assert_int_equal(pairs, one * one + two);
    assert_int_equal(triples, one * one * one + 2 * one * two + three);
}

/* UTF8-4 of RFC 3629 section 4: the second byte's range depends on the first. */
static void four_bytes_follow_the_table(void **state)
{
    (void)state;
    static const int thirds[] = {0x00, 0x7f, 0x80, 0xa5, 0xbf, 0xc0, 0xff};
    for (int first = 0xf0; first < 256; first++)
        for (int second = 0; second < 256; second++)
            for (size_t third = 0; third < COUNT(thirds); third++)
                for (size_t fourth = 0; fourth < COUNT(thirds); fourth++) {
                    int least = first == 0xf0 ? 0x90 : 0x80, most = first == 0xf4 ? 0x8f : 0xbf;
                    bool valid = first <= 0xf4 && second >= least && second <= most && third >= 2 &&
                                 third <= 4 && fourth >= 2 && fourth <= 4;
                    char bytes[] = {(char)first, (char)second, (char)thirds[third], (char)thirds[fourth]};
                    if (text_is_utf8((struct text){bytes, 4}) != valid)
                        fail_msg("%02x %02x %02x %02x", (unsigned)first, (unsigned)second,
                                 (unsigned)thirds[third], (unsigned)thirds[fourth]);
                }
}

static void utf8_is_judged_by_rfc_3629(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct text text;
        bool valid;
    } rows[] = {
        {"empty", BYTES(""), true},
        {"NUL", BYTES("a\0b"), true},
        {"mixed lengths", BYTES("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80z"), true},
        {"last character", BYTES("\xf4\x8f\xbf\xbf"), true},
        {"noncharacter U+FFFF", BYTES("\xef\xbf\xbf"), true},
        {"byte order mark", BYTES("\xef\xbb\xbfx"), true},
        {"overlong slash, 2", BYTES("\xc0\xaf"), false},
        {"overlong slash, 3", BYTES("\xe0\x80\xaf"), false},
        {"overlong slash, 4", BYTES("\xf0\x80\x80\xaf"), false},
        {"overlong NUL", BYTES("\xc0\x80"), false},
        {"overlong U+07FF", BYTES("\xe0\x9f\xbf"), false},
        {"overlong U+FFFF", BYTES("\xf0\x8f\xbf\xbf"), false},
        {"first surrogate", BYTES("\xed\xa0\x80"), false},
        {"last surrogate", BYTES("\xed\xbf\xbf"), false},
        {"pair of surrogates", BYTES("\xed\xa0\xbd\xed\xb8\x80"), false},
        {"U+110000", BYTES("\xf4\x90\x80\x80"), false},
        {"five bytes", BYTES("\xf8\x88\x80\x80\x80"), false},
        {"six bytes", BYTES("\xfc\x84\x80\x80\x80\x80"), false},
        {"lone continuation", BYTES("a\x80z"), false},
        {"one continuation too many", BYTES("\xc3\xa4\xa4"), false},
        {"0xFE", BYTES("\xfe"), false},
        {"0xFF", BYTES("\xff"), false},
        {"Latin-1", BYTES("caf\xe9"), false},
        {"cut after the first of four", BYTES("abc\xf0"), false},
        {"cut after the third of four", BYTES("abc\xf0\x9f\x98"), false},
        {"a letter in the middle", BYTES("\xe2\x82z"), false},
        {"bad behind a long good run", BYTES("0123456789abcdef0123456789abcdef\x80"), false},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        if (text_is_utf8(rows[i].text) != rows[i].valid)
            fail_msg("%s is %s", rows[i].name, rows[i].valid ? "refused" : "taken");
    assert_true(text_is_utf8((struct text){0}));
}

/* Random bytes that are often valid: the front ends where no longer one is UTF-8. */
static void longest_valid_front_is_measured(void **state)
{
    (void)state;
    static const char pieces[] = "a\x80\xbf\xc3\xa4\xe2\x82\xac\xed\x9f\xf0\x9f\x98\x80\xf4\x8f\xc0\xff";
    unsigned random = 3;
    for (int round = 0; round < 100000; round++) {
        char bytes[12];
        for (size_t i = 0, at = 0; i < sizeof bytes; i++) {
            random = random * 1103515245U + 12345U;
            at = (random >> 16) % 3 == 0 ? (random >> 20) % (sizeof pieces - 1)
                                         : (at + 1) % (sizeof pieces - 1);
            bytes[i] = pieces[at];
        }
        size_t longest = sizeof bytes;
        while (!text_is_utf8((struct text){bytes, longest}))
            longest--;
        assert_int_equal(text_utf8_length((struct text){bytes, sizeof bytes}), longest);
    }
    assert_int_equal(text_utf8_length((struct text){0}), 0);
    assert_int_equal(text_utf8_length(TEXT("ab\xf0\x9f\x98")), 2);
    assert_int_equal(text_utf8_length(TEXT("ab\xc3\xa4")), 4);
}

static void controls_are_those_of_category_cc(void **state)
{
    (void)state;
    for (uint32_t code = 0; code <= 0x10ffff; code++) {
        if (code >= 0xd800 && code <= 0xdfff)
            continue;
        char bytes[6] = "a";
        size_t length = encode(code, bytes + 1);
        bytes[1 + length] = 'b';
        bool control = code <= 0x1f || (code >= 0x7f && code <= 0x9f);
        if (text_has_control((struct text){bytes, length + 2}) != control ||
            text_has_control((struct text){bytes + 1, length}) != control)
            fail_msg("U+%04X is %s control character", code, control ? "no" : "a");
    }
    assert_false(text_has_control(TEXT("")));
    assert_false(text_has_control((struct text){0}));
}

/* ---- numbers ---- */

static void numbers_are_digits_within_their_range(void **state)
{
    (void)state;
    static const struct {
        struct text text;
        uint64_t least, most, number;
    } rows[] = {
        {BYTES("0"), 0, UINT64_MAX, 0},
        {BYTES("7"), 0, UINT64_MAX, 7},
        {BYTES("007"), 0, UINT64_MAX, 7},
        {BYTES("000000000000000000000000000000000000000007"), 0, UINT64_MAX, 7},
        {BYTES("00000000000000000000000000018446744073709551615"), 0, UINT64_MAX, UINT64_MAX},
        {BYTES("18446744073709551615"), 0, UINT64_MAX, UINT64_MAX},
        {BYTES("18446744073709551614"), 0, UINT64_MAX, UINT64_MAX - 1},
        {BYTES("9223372036854775808"), 0, UINT64_MAX, UINT64_C(9223372036854775808)},
        {BYTES("1"), 1, 1000, 1},
        {BYTES("1000"), 1, 1000, 1000},
        {BYTES("5"), 5, 5, 5},
        {BYTES("18446744073709551615"), UINT64_MAX, UINT64_MAX, UINT64_MAX},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint64_t number = 99;
        if (text_parse_number(rows[i].text, rows[i].least, rows[i].most, &number) != 0)
            fail_msg("%s is refused", rows[i].text.bytes);
        assert_true(number == rows[i].number);
    }
}

static void anything_else_is_no_number(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",   " ",   "+1",   "-1",    "-0",    " 1", "1 ", "1\n", "1 2",     "1.0",
        "1.", "1e3", "0x10", "1_000", "1,000", "a",  "1/", "1:",  "\xd9\xa1" /* a digit of another script */};
    static const char *const too_many[] = {
        "18446744073709551616",  "18446744073709551620",  "18446744073709551625",
        "20000000000000000000",  "36893488147419103233",  "99999999999999999999",
        "184467440737095516150", "184467440737095516160", "340282366920938463463374607431768211456"};
    uint64_t number = 0;
    for (size_t i = 0; i < COUNT(bad); i++)
        if (text_parse_number(text_from(bad[i]), 0, UINT64_MAX, &number) != -1)
            fail_msg("\"%s\" is taken as %llu", bad[i], (unsigned long long)number);
    for (size_t i = 0; i < COUNT(too_many); i++)
        if (text_parse_number(text_from(too_many[i]), 0, UINT64_MAX, &number) != -1)
            fail_msg("\"%s\" is taken as %llu", too_many[i], (unsigned long long)number);
    assert_int_equal(text_parse_number(TEXT("1\0"), 0, UINT64_MAX, &number), -1);
    assert_int_equal(text_parse_number(TEXT("\0"), 0, UINT64_MAX, &number), -1);
    assert_int_equal(text_parse_number((struct text){0}, 0, 9, &number), -1);
    assert_int_equal(text_parse_number(TEXT("0"), 1, 1000, &number), -1);
    assert_int_equal(text_parse_number(TEXT("1001"), 1, 1000, &number), -1);
    assert_int_equal(text_parse_number(TEXT("18446744073709551617"), 1, 1000, &number), -1);
    assert_int_equal(text_parse_number(TEXT("4"), 5, 5, &number), -1);
    assert_int_equal(text_parse_number(TEXT("6"), 5, 5, &number), -1);
}

static void seconds_become_nanoseconds(void **state)
{
    (void)state;
    static const struct {
        struct text text;
        int64_t most_ns, ns;
    } rows[] = {
        {BYTES("0"), INT64_MAX, 0},
        {BYTES("30"), INT64_C(30000000000), INT64_C(30000000000)},
        {BYTES("0.25"), INT64_MAX, 250000000},
        {BYTES("0.0"), 0, 0},
        {BYTES("1.5"), INT64_MAX, 1500000000},
        {BYTES("1.05"), INT64_MAX, 1050000000},
        {BYTES("0.000000001"), INT64_MAX, 1},
        {BYTES("0.123456789"), INT64_MAX, 123456789},
        {BYTES("0.999999999"), INT64_MAX, 999999999},
        {BYTES("0.9999999999999999999999999999999999999999"), INT64_MAX, 999999999},
        {BYTES("0.0000000009"), 0, 0},
        {BYTES("30.0000000009"), INT64_C(30000000000), INT64_C(30000000000)},
        {BYTES("0030"), INT64_MAX, INT64_C(30000000000)},
        {BYTES("9223372036"), INT64_MAX, INT64_C(9223372036000000000)},
        {BYTES("9223372036.854775807"), INT64_MAX, INT64_MAX},
        {BYTES("9223372036.8547758079"), INT64_MAX, INT64_MAX},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        int64_t ns = -1;
        if (text_parse_seconds(rows[i].text, rows[i].most_ns, &ns) != 0)
            fail_msg("%s is refused", rows[i].text.bytes);
        if (ns != rows[i].ns)
            fail_msg("%s is %lld ns", rows[i].text.bytes, (long long)ns);
    }
}

static void anything_else_is_no_seconds(void **state)
{
    (void)state;
    static const char *const bad[] = {"",      " ",    ".",    ".5",     "5.",           "-1",   "-0",
                                      "+1",    " 1",   "1 ",   "1s",     "1e1",          "0x1",  "1,5",
                                      "1.5.0", "1..5", "1.-5", "1.+5",   "1. 5",         "1.5 ", "1.5x",
                                      "1.x",   "inf",  "nan",  "1.0e-1", "0.1234567890x"};
    static const char *const too_many[] = {"9223372037",           "18446744074",
                                           "9223372036.854775808", "18446744073.709551616",
                                           "18446744073709551616", "99999999999999999999999999"};
    int64_t ns = 0;
    for (size_t i = 0; i < COUNT(bad); i++)
        if (text_parse_seconds(text_from(bad[i]), INT64_MAX, &ns) != -1)
            fail_msg("\"%s\" is taken as %lld ns", bad[i], (long long)ns);
    for (size_t i = 0; i < COUNT(too_many); i++)
        if (text_parse_seconds(text_from(too_many[i]), INT64_MAX, &ns) != -1)
            fail_msg("\"%s\" is taken as %lld ns", too_many[i], (long long)ns);
    assert_int_equal(text_parse_seconds(TEXT("1\0"), INT64_MAX, &ns), -1);
    assert_int_equal(text_parse_seconds(TEXT("1.5\0"), INT64_MAX, &ns), -1);
    assert_int_equal(text_parse_seconds(TEXT("30.000000001"), INT64_C(30000000000), &ns), -1);
    assert_int_equal(text_parse_seconds(TEXT("31"), INT64_C(30000000000), &ns), -1);
    assert_int_equal(text_parse_seconds(TEXT("0.000000001"), 0, &ns), -1);
    assert_int_equal(text_parse_seconds((struct text){0}, INT64_MAX, &ns), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from_takes_all_but_the_nul),
        cmocka_unit_test(equal_texts_have_the_same_bytes),
        cmocka_unit_test(case_is_ignored_for_ascii_letters_alone),
        cmocka_unit_test(secrets_are_compared_whole),
        cmocka_unit_test(secrets_differ_in_any_bit_and_length),
        cmocka_unit_test(trim_takes_spaces_and_tabs_off_the_ends),
        cmocka_unit_test(cut_gives_what_stands_before_the_separator),
        cmocka_unit_test(hex_digits_have_their_value),
        cmocka_unit_test(every_character_of_unicode_is_utf8),
        cmocka_unit_test(nothing_else_of_three_bytes_is_utf8),
        cmocka_unit_test(four_bytes_follow_the_table),
        cmocka_unit_test(utf8_is_judged_by_rfc_3629),
        cmocka_unit_test(longest_valid_front_is_measured),
        cmocka_unit_test(controls_are_those_of_category_cc),
        cmocka_unit_test(numbers_are_digits_within_their_range),
        cmocka_unit_test(anything_else_is_no_number),
        cmocka_unit_test(seconds_become_nanoseconds),
        cmocka_unit_test(anything_else_is_no_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
