#include "base/decimal.h"

#include <stddef.h>

#define FRACTION_UNIT UINT64_C(1000000000000000000)
#define WHOLE_LIMIT   ((__int128)FRACTION_UNIT * (__int128)FRACTION_UNIT)

/* Beyond the length of any text, so that no digit comes back into the range; and sums with lengths stay in int64_t. */
#define EXPONENT_LIMIT (INT64_MAX / 4)

/* A number in its parts. */
struct parts {
    bool negative;
    struct text whole;
    struct text fraction;
    int64_t exponent;
};

/* --- the grammar --- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Cuts `c` off the front, if that is what comes. */
static bool skip(struct text *rest, char c)
{
    if (rest->length == 0 || rest->bytes[0] != c)
        return false;
    rest->bytes++;
    rest->length--;
    return true;
}

/* Cuts the digits off the front; there must be some. */
static int cut_digits(struct text *rest, struct text *digits)
{
    *digits = (struct text){.bytes = rest->bytes};
    while (digits->length < rest->length && is_digit(rest->bytes[digits->length]))
        digits->length++;
    if (digits->length == 0)
        return -1;
    rest->bytes += digits->length;
    rest->length -= digits->length;
    return 0;
}

static int cut_exponent(struct text *rest, int64_t *exponent)
{
    bool negative = skip(rest, '-');
    if (!negative)
        skip(rest, '+');
    struct text digits;
    if (cut_digits(rest, &digits) != 0)
        return -1;
    *exponent = 0;
    for (size_t i = 0; i < digits.length && *exponent < EXPONENT_LIMIT / 10; i++)
        *exponent = *exponent * 10 + (digits.bytes[i] - '0');
    if (negative)
        *exponent = -*exponent;
    return 0;
}

static int cut_parts(struct text number, struct parts *parts)
{
    *parts = (struct parts){.negative = skip(&number, '-')};
    if (cut_digits(&number, &parts->whole) != 0)
        return -1;
    if (parts->whole.length > 1 && parts->whole.bytes[0] == '0')
        return -1;
    if (skip(&number, '.') && cut_digits(&number, &parts->fraction) != 0)
        return -1;
    if ((skip(&number, 'e') || skip(&number, 'E')) && cut_exponent(&number, &parts->exponent) != 0)
        return -1;
    return number.length == 0 ? 0 : -1;
}

/* --- the value --- */

/* The digits of both parts are numbered from the left. */
static int digit_at(const struct parts *parts, int64_t index)
{
    int64_t whole_length = (int64_t)parts->whole.length;
    if (index < 0 || index >= whole_length + (int64_t)parts->fraction.length)
        return 0;
    return (index < whole_length ? parts->whole.bytes[index] : parts->fraction.bytes[index - whole_length]) -
           '0';
}

/* Finds the first and the last digit that is not 0. Returns false when there is none. */
static bool find_digits(const struct parts *parts, int64_t *first, int64_t *last)
{
    int64_t count = (int64_t)(parts->whole.length + parts->fraction.length);
    *first = 0;
    while (*first < count && digit_at(parts, *first) == 0)
        ++*first;
    *last = count - 1;
    while (*last > *first && digit_at(parts, *last) == 0)
        --*last;
    return *first < count;
}

enum decimal_result decimal_parse(struct text json_number, struct decimal *decimal)
{
    struct parts parts;
    if (cut_parts(json_number, &parts) != 0)
        return DECIMAL_NO_NUMBER;
    struct decimal value = {.whole = 0};
    int64_t first, last;
    if (find_digits(&parts, &first, &last)) {
        /* The number of the digit that stands for the ones. */
        int64_t ones = (int64_t)parts.whole.length - 1 + parts.exponent;
        if (ones - first >= DECIMAL_WHOLE_DIGITS || last - ones > DECIMAL_FRACTION_DIGITS)
            return DECIMAL_OUT_OF_RANGE;
        for (int64_t i = ones - DECIMAL_WHOLE_DIGITS + 1; i <= ones; i++)
            value.whole = value.whole * 10 + digit_at(&parts, i);
        for (int64_t i = ones + 1; i <= ones + DECIMAL_FRACTION_DIGITS; i++)
            value.fraction = value.fraction * 10 + (unsigned)digit_at(&parts, i);
    }
    if (parts.negative)
        decimal_negate(&value);
    *decimal = value;
    return DECIMAL_OK;
}

/* Whether |value| < limit. */
static bool is_below(const struct decimal *decimal, __int128 limit)
{
    return decimal->whole < limit &&
           (decimal->whole > -limit || (decimal->whole == -limit && decimal->fraction > 0));
}

bool decimal_fits(const struct decimal *decimal, unsigned whole_digits)
{
    __int128 limit = 1;
    for (unsigned i = 0; i < whole_digits && limit < WHOLE_LIMIT; i++)
        limit *= 10;
    return is_below(decimal, limit);
}

int decimal_add(struct decimal *sum, const struct decimal *term)
{
    /* Neither sum can overflow: both terms are below a tenth of their types' ranges. */
    struct decimal result = {.whole = sum->whole + term->whole, .fraction = sum->fraction + term->fraction};
    if (result.fraction >= FRACTION_UNIT) {
        result.fraction -= FRACTION_UNIT;
        result.whole++;
    }
    if (!is_below(&result, WHOLE_LIMIT))
        return -1;
    *sum = result;
    return 0;
}

void decimal_negate(struct decimal *decimal)
{
    decimal->whole = -decimal->whole;
    if (decimal->fraction > 0) {
        decimal->whole--;
        decimal->fraction = FRACTION_UNIT - decimal->fraction;
    }
}

/* --- the text --- */

/* Writes `count` digits of the number, its last ones. */
static void put_digits(char *text, unsigned __int128 number, unsigned count)
{
    for (unsigned i = count; i > 0; i--) {
        text[i - 1] = (char)('0' + (int)(number % 10));
        number /= 10;
    }
}

static unsigned count_digits(unsigned __int128 number)
{
    unsigned count = 1;
    while ((number /= 10) > 0)
        count++;
    return count;
}

struct text decimal_format(const struct decimal *decimal, char text[static DECIMAL_BYTES])
{
    struct decimal magnitude = *decimal;
    size_t length = 0;
    if (magnitude.whole < 0) {
        decimal_negate(&magnitude);
        text[length++] = '-';
    }
    unsigned digits = count_digits((unsigned __int128)magnitude.whole);
    put_digits(text + length, (unsigned __int128)magnitude.whole, digits);
    length += digits;
    if (magnitude.fraction > 0) {
        text[length++] = '.';
        put_digits(text + length, magnitude.fraction, DECIMAL_FRACTION_DIGITS);
        length += DECIMAL_FRACTION_DIGITS;
        while (text[length - 1] == '0')
            length--;
    }
    text[length] = '\0';
    return (struct text){.bytes = text, .length = length};
}
