/* Exact decimals: what is a number and what it is worth, by tables; and sums against schoolbook arithmetic on rows of
 * digits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/decimal.h"

#define NINES_18 "999999999999999999"
#define NINES_36 NINES_18 NINES_18
#define ZEROS_18 "000000000000000000"

static void expect_text(const struct decimal *decimal, const char *expected, const char *source)
{
    char text[DECIMAL_BYTES];
    struct text formatted = decimal_format(decimal, text);
    if (strcmp(text, expected) != 0 || formatted.length != strlen(expected) || formatted.bytes != text)
        fail_msg("%s: %s, not %s", source, text, expected);
}

static struct decimal parse(const char *source)
{
    struct decimal decimal;
    enum decimal_result result = decimal_parse(text_from(source), &decimal);
    if (result != DECIMAL_OK)
        fail_msg("%s: %d", source, result);
    return decimal;
}

/* What is written, and what it is; NULL: out of range. */
static const char *const numbers[][2] = {
    {"0", "0"},
    {"-0", "0"},
    {"-0.0", "0"},
    {"0e0", "0"},
    {"-0E-5", "0"},
    {"0e999999999", "0"},
    {"0.000e99999999999999999999999999999", "0"},
    {"-0e-99999999999999999999999999999", "0"},
    {"0." ZEROS_18 ZEROS_18 "0", "0"},
    {"1", "1"},
    {"-1", "-1"},
    {"150", "150"},
    {"100", "100"},
    {"0.1", "0.1"},
    {"0.10", "0.1"},
    {"1.0", "1"},
    {"-20.05", "-20.05"},
    {"-0.5", "-0.5"},
    {"-1.5", "-1.5"},
    {"1e3", "1000"},
    {"1E+3", "1000"},
    {"1e003", "1000"},
    {"1e0", "1"},
    {"1e-0", "1"},
    {"-2.5E-2", "-0.025"},
    {"2.5e1", "25"},
    {"2.5e2", "250"},
    {"250e-1", "25"},
    {"250e-2", "2.5"},
    {"0.001e3", "1"},
    {"0.00025e2", "0.025"},
    {"1000000000000000.01", "1000000000000000.01"},
    {"18446744073709551616", "18446744073709551616"},
    {"170141183460469231731687303715884105728", NULL},
    {NINES_18 "." NINES_18, NINES_18 "." NINES_18},
    {NINES_36 "." NINES_18, NINES_36 "." NINES_18},
    {"-" NINES_36 "." NINES_18, "-" NINES_36 "." NINES_18},
    {NINES_36 "." NINES_18 "000", NINES_36 "." NINES_18},
    {"1e35", "1" ZEROS_18 "00000000000000000"},
    {"1e36", NULL},
    {"-1e36", NULL},
    {"1" ZEROS_18 ZEROS_18, NULL},
    {"1" ZEROS_18 ZEROS_18 "e-1", "1" ZEROS_18 "00000000000000000"},
    {"0.1e36", "1" ZEROS_18 "00000000000000000"},
    {"0.1e37", NULL},
    {"1e-18", "0.000000000000000001"},
    {"-1e-18", "-0.000000000000000001"},
    {"10e-19", "0.000000000000000001"},
    {"1e-19", NULL},
    {"1.0000000000000000001", NULL},
    {"1.0000000000000000010", "1.000000000000000001"},
    {"0." ZEROS_18 "1", NULL},
    {"0." ZEROS_18 "1e1", "0.000000000000000001"},
    {"1e999999999", NULL},
    {"1e-999999999", NULL},
    {"-1.5e9223372036854775807", NULL},
    {"1e-9223372036854775808", NULL},
    {"1e18446744073709551617", NULL},
    {"1e-18446744073709551615", NULL},
    {"1e99999999999999999999999999999999999999999", NULL},
    {"1e-99999999999999999999999999999999999999999", NULL},
    {"0.1e99999999999999999999999999999999999999999", NULL},
};

static void numbers_keep_their_value(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        struct decimal decimal = {.whole = 7, .fraction = 7};
        enum decimal_result result = decimal_parse(text_from(numbers[i][0]), &decimal);
        if (result != (numbers[i][1] == NULL ? DECIMAL_OUT_OF_RANGE : DECIMAL_OK))
            fail_msg("%s: %d", numbers[i][0], result);
        if (result == DECIMAL_OK)
            expect_text(&decimal, numbers[i][1], numbers[i][0]);
        else
            assert_true(decimal.whole == 7 && decimal.fraction == 7);
    }
}

static void what_is_no_number_is_none(void **state)
{
    static const char *const table[] = {
        "",      "-",     "+1",           "01",
        "-01",   "00",    "1.",           ".5",
        "-.5",   "1.e1",  "1e",           "1e+",
        "1e-",   "e1",    "1e1.",         "1e1e",
        "1.2.3", "1 ",    " 1",           "1\n",
        "1,2",   "--1",   "-+1",          "0x1",
        "1f",    "1e 1",  "NaN",          "nan",
        "-inf",  "null",  "\"1\"",        "1_0",
        "1e++1", "1e-+1", "\xd9\xa1",     "1.-1",
        "0e",    "0.e",   "-e",           "1e1 ",
        "true",  "[1]",   "1e999999999x", "12345678901234567890123456789012345678901x",
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct decimal decimal = {.whole = 7, .fraction = 7};
        if (decimal_parse(text_from(table[i]), &decimal) != DECIMAL_NO_NUMBER)
            fail_msg("%s", table[i]);
        assert_true(decimal.whole == 7 && decimal.fraction == 7);
    }
    struct decimal decimal;
    assert_int_equal(decimal_parse((struct text){.bytes = NULL}, &decimal), DECIMAL_NO_NUMBER);
    assert_int_equal(decimal_parse((struct text){.bytes = "1\0", .length = 2}, &decimal), DECIMAL_NO_NUMBER);
}

/* The text's end is its length: what lies behind it is not looked at. */
static void nothing_behind_the_text_is_read(void **state)
{
    static const char source[] = "-12.50e+1";
    static const enum decimal_result results[] = {
        DECIMAL_NO_NUMBER, DECIMAL_NO_NUMBER, DECIMAL_OK,        DECIMAL_OK,        DECIMAL_NO_NUMBER,
        DECIMAL_OK,        DECIMAL_OK,        DECIMAL_NO_NUMBER, DECIMAL_NO_NUMBER, DECIMAL_OK,
    };
    (void)state;
    for (size_t length = 0; length < sizeof source; length++) {
        char *copy = malloc(length + 1);
        assert_non_null(copy);
        /* At the end of its memory, so that AddressSanitizer sees a step too far. */
        memcpy(copy + 1, source, length);
        struct decimal decimal;
        assert_int_equal(decimal_parse((struct text){.bytes = copy + 1, .length = length}, &decimal),
                         results[length]);
        free(copy);
    }
}

/* A megabyte of digits that cancel out, and one of an exponent. */
static void long_texts_are_read_at_once(void **state)
{
    enum { LENGTH = 1024 * 1024 };
    (void)state;
    char *source = malloc(LENGTH + 32);
    assert_non_null(source);
    memset(source, '0', LENGTH);
    source[1] = '.';
    /* The last digit stands at 10^-(LENGTH - 2). */
    snprintf(source + LENGTH - 1, 33, "5e%d", LENGTH - 2);
    struct decimal decimal = parse(source);
    expect_text(&decimal, "5", "many zeros");
    memset(source, '9', LENGTH);
    source[1] = 'e';
    source[LENGTH] = '\0';
    assert_int_equal(decimal_parse(text_from(source), &decimal), DECIMAL_OUT_OF_RANGE);
    source[0] = '0';
    assert_int_equal(decimal_parse(text_from(source), &decimal), DECIMAL_OK);
    expect_text(&decimal, "0", "a long exponent");
    memset(source, '0', LENGTH);
    memcpy(source, "1e", 2);
    source[LENGTH - 1] = '2';
    decimal = parse(source);
    expect_text(&decimal, "100", "zeros before an exponent");
    free(source);
}

static void sums_are_exact(void **state)
{
    static const char *const table[][3] = {
        {"0.1", "0.2", "0.3"},
        {"100", "50", "150"},
        {"1", "-1", "0"},
        {"0.5", "-1", "-0.5"},
        {"-0.5", "-0.5", "-1"},
        {"-0.5", "0.25", "-0.25"},
        {"0.000000000000000001", "-0.000000000000000001", "0"},
        {"0." NINES_18, "0.000000000000000001", "1"},
        {"-0." NINES_18, "-0.000000000000000001", "-1"},
        {"1000000000000000.01", "0.04", "1000000000000000.05"},
        {NINES_18 "." NINES_18, "0.000000000000000001", "1" ZEROS_18},
        {NINES_36, "0." NINES_18, NINES_36 "." NINES_18},
        {NINES_36 "." NINES_18, "0.000000000000000001", NULL},
        {"-" NINES_36 "." NINES_18, "-0.000000000000000001", NULL},
        {NINES_36 "." NINES_18, NINES_36 "." NINES_18, NULL},
        {"-" NINES_36 "." NINES_18, "-" NINES_36 "." NINES_18, NULL},
        {NINES_36 "." NINES_18, "-" NINES_36 "." NINES_18, "0"},
        {"-" NINES_36, "-1", NULL},
        {"-" NINES_36, "-0." NINES_18, "-" NINES_36 "." NINES_18},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        for (size_t turn = 0; turn < 2; turn++) {
            struct decimal sum = parse(table[i][turn]);
            struct decimal term = parse(table[i][1 - turn]);
            int added = decimal_add(&sum, &term);
            assert_int_equal(added, table[i][2] == NULL ? -1 : 0);
            expect_text(&sum, table[i][2] == NULL ? table[i][turn] : table[i][2], table[i][turn]);
        }
    }
}

/* By doubling: 2^60 of the largest values with 18 digits, which is more than 10^18, do not fit; 10^18 do. */
static void very_many_large_values_can_be_added(void **state)
{
    (void)state;
    struct decimal sum = parse(NINES_18 "." NINES_18);
    unsigned doublings = 0;
    for (struct decimal term = sum; decimal_add(&sum, &term) == 0; term = sum)
        doublings++;
    assert_int_equal(doublings, 59);
    struct decimal value = parse(NINES_18 "." NINES_18);
    sum = parse("0");
    /* 10^18 times, by the digits. */
    for (unsigned digit = 0; digit < 18; digit++) {
        struct decimal tenfold = parse("0");
        for (unsigned i = 0; i < 10; i++)
            assert_int_equal(decimal_add(&tenfold, &value), 0);
        value = tenfold;
    }
    assert_int_equal(decimal_add(&sum, &value), 0);
    expect_text(&sum, NINES_36, "10^18 values");
    assert_true(decimal_fits(&sum, DECIMAL_WHOLE_DIGITS));
}

static void ten_tenths_are_one(void **state)
{
    (void)state;
    struct decimal sum = parse("0"), tenth = parse("0.1");
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(decimal_add(&sum, &tenth), 0);
    expect_text(&sum, "1", "ten tenths");
}

static void digits_before_the_point_are_counted(void **state)
{
    static const struct {
        const char *source;
        unsigned digits;
    } table[] = {
        {"0", 0},
        {"0.9", 0},
        {"-0.9", 0},
        {"1", 1},
        {"-1", 1},
        {"9.99", 1},
        {"-9.99", 1},
        {"10", 2},
        {"-10", 2},
        {NINES_18 "." NINES_18, 18},
        {"-" NINES_18 "." NINES_18, 18},
        {"1e18", 19},
        {"-1e18", 19},
        {NINES_36 "." NINES_18, 36},
        {"-" NINES_36 "." NINES_18, 36},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct decimal decimal = parse(table[i].source);
        for (unsigned digits = 0; digits < 50; digits++)
            assert_int_equal(decimal_fits(&decimal, digits), digits >= table[i].digits);
    }
}

/* --- beside schoolbook arithmetic --- */

/* Digits from 10^(ROW_WHOLE - 1) down to 10^-ROW_FRACTION: more on both sides than a decimal has. */
enum { ROW_WHOLE = 60, ROW_FRACTION = 60, ROW = ROW_WHOLE + ROW_FRACTION, ROUNDS = 200000 };

struct row {
    bool negative;
    unsigned char digits[ROW];
};

static unsigned draw(uint64_t *random, unsigned below)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return (unsigned)(*random >> 33) % below;
}

static bool row_is_zero(const struct row *row)
{
    static const struct row zero;
    return memcmp(row->digits, zero.digits, ROW) == 0;
}

static bool row_is_decimal(const struct row *row)
{
    for (size_t i = 0; i < ROW; i++) {
        bool in_range = i >= ROW_WHOLE - DECIMAL_WHOLE_DIGITS && i < ROW_WHOLE + DECIMAL_FRACTION_DIGITS;
        if (!in_range && row->digits[i] != 0)
            return false;
    }
    return true;
}

static struct row row_add(const struct row *a, const struct row *b)
{
    if (a->negative != b->negative && memcmp(a->digits, b->digits, ROW) < 0) {
        const struct row *smaller = a;
        a = b;
        b = smaller;
    }
    struct row sum = {.negative = a->negative};
    int carry = 0;
    for (size_t i = ROW; i > 0; i--) {
        int digit = a->digits[i - 1] + (a->negative == b->negative ? 1 : -1) * b->digits[i - 1] + carry;
        carry = digit > 9 ? 1 : digit < 0 ? -1 : 0;
        sum.digits[i - 1] = (unsigned char)(digit - 10 * carry);
    }
    return sum;
}

static void row_format(const struct row *row, char *text)
{
    size_t length = 0, first = 0, end = ROW;
    while (first < ROW_WHOLE - 1 && row->digits[first] == 0)
        first++;
    while (end > ROW_WHOLE && row->digits[end - 1] == 0)
        end--;
    if (row->negative && !row_is_zero(row))
        text[length++] = '-';
    for (size_t i = first; i < end; i++) {
        if (i == ROW_WHOLE)
            text[length++] = '.';
        text[length++] = (char)('0' + row->digits[i]);
    }
    text[length] = '\0';
}

/* Writes a random number, and its digits into the row at the places that the exponent gives them. */
static void draw_number(uint64_t *random, char *text, struct row *row)
{
    int whole_count = 1 + (int)draw(random, draw(random, 4) == 0 ? 37 : 12);
    int fraction_count = (int)draw(random, draw(random, 4) == 0 ? 20 : 6);
    int exponent = draw(random, 2) == 0 ? 0 : (int)draw(random, 41) - 20;
    bool leading_zero = draw(random, 4) == 0;
    bool nines = draw(random, 6) == 0;
    size_t length = 0;
    *row = (struct row){.negative = draw(random, 2) == 0};
    if (row->negative)
        text[length++] = '-';
    if (leading_zero)
        whole_count = 1;
    for (int i = 0; i < whole_count + fraction_count; i++) {
        unsigned digit = nines ? 9 : draw(random, 3) == 0 ? 0 : draw(random, 10);
        if (i == 0)
            digit = leading_zero ? 0 : 1 + digit % 9;
        if (i == whole_count)
            text[length++] = '.';
        text[length++] = (char)('0' + digit);
        row->digits[ROW_WHOLE - whole_count - exponent + i] = (unsigned char)digit;
    }
    if (exponent != 0 || draw(random, 8) == 0) {
        const char *sign = exponent >= 0 && draw(random, 2) == 0 ? "+" : "";
        length += (size_t)sprintf(text + length, "%c%s%d", draw(random, 2) == 0 ? 'e' : 'E', sign, exponent);
    }
    text[length] = '\0';
}

/* Parses, and expects what the row says; back and forth again. Returns whether it is a decimal. */
static bool check_number(const char *text, const struct row *row, struct decimal *decimal)
{
    char expected[ROW + 3];
    row_format(row, expected);
    enum decimal_result result = decimal_parse(text_from(text), decimal);
    if (result != (row_is_decimal(row) ? DECIMAL_OK : DECIMAL_OUT_OF_RANGE))
        fail_msg("%s: %d", text, result);
    if (result != DECIMAL_OK)
        return false;
    expect_text(decimal, expected, text);
    struct decimal again = parse(expected);
    assert_true(again.whole == decimal->whole && again.fraction == decimal->fraction);
    assert_true(again.fraction < UINT64_C(1000000000000000000));
    return true;
}

static void random_sums_agree_with_the_schoolbook(void **state)
{
    (void)state;
    uint64_t random = 0x9E3779B97F4A7C15;
    unsigned out_of_range = 0, overflows = 0, added = 0;
    struct row sum_row = {.negative = false};
    struct decimal sum = {.whole = 0};
    for (unsigned i = 0; i < ROUNDS; i++) {
        char text[ROW + 16], expected[ROW + 3];
        struct row row;
        struct decimal term, negated;
        draw_number(&random, text, &row);
        if (!check_number(text, &row, &term)) {
            out_of_range++;
            continue;
        }
        negated = term;
        decimal_negate(&negated);
        struct row negated_row = row;
        negated_row.negative = !row.negative;
        row_format(&negated_row, expected);
        expect_text(&negated, expected, text);
        struct row next = row_add(&sum_row, &row);
        bool fits = row_is_decimal(&next);
        assert_int_equal(decimal_add(&sum, &term), fits ? 0 : -1);
        sum_row = fits ? next : sum_row;
        added += fits ? 1 : 0;
        overflows += fits ? 0 : 1;
        row_format(&sum_row, expected);
        expect_text(&sum, expected, text);
    }
    /* Each way was taken often. */
    assert_true(out_of_range > ROUNDS / 100 && overflows > 100 && added > ROUNDS / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_keep_their_value),
        cmocka_unit_test(what_is_no_number_is_none),
        cmocka_unit_test(nothing_behind_the_text_is_read),
        cmocka_unit_test(long_texts_are_read_at_once),
        cmocka_unit_test(sums_are_exact),
        cmocka_unit_test(very_many_large_values_can_be_added),
        cmocka_unit_test(ten_tenths_are_one),
        cmocka_unit_test(digits_before_the_point_are_counted),
        cmocka_unit_test(random_sums_agree_with_the_schoolbook),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
