/* Decimals: a line of the input is a number. */
#include "fuzz.h"

#include "base/decimal.h"

#include <string.h>

static bool same(const struct decimal *a, const struct decimal *b)
{
    return a->whole == b->whole && a->fraction == b->fraction;
}

static void check_format(const struct decimal *value)
{
    char written[DECIMAL_BYTES];
    struct decimal again;
    struct text text = decimal_format(value, written);
    FUZZ_REQUIRE(text.length == strlen(written) && text.length < DECIMAL_BYTES);
    FUZZ_REQUIRE(strchr(written, 'e') == NULL && strcmp(written, "-0") != 0);
    FUZZ_REQUIRE(strchr(written, '.') == NULL || written[text.length - 1] != '0');
    FUZZ_REQUIRE(decimal_parse(text, &again) == DECIMAL_OK && same(value, &again));
}

/* Adds and takes away again. */
static void check_sum(struct decimal *sum, const struct decimal *term)
{
    struct decimal before = *sum, negative = *term, other = *term;
    if (decimal_add(sum, term) != 0) {
        FUZZ_REQUIRE(same(sum, &before));
        return;
    }
    FUZZ_REQUIRE(decimal_add(&other, &before) == 0 && same(&other, sum));
    check_format(sum);
    struct decimal back = *sum;
    decimal_negate(&negative);
    check_format(&negative);
    FUZZ_REQUIRE(decimal_add(&back, &negative) == 0 && same(&back, &before));
}

static void check_line(struct text line, struct decimal *sum)
{
    struct text text = fuzz_copy(line.bytes, line.length);
    struct decimal value = {.whole = 0};
    enum decimal_result result = decimal_parse(text, &value);
    FUZZ_REQUIRE((result != DECIMAL_NO_NUMBER) == model_json_is_number(text));
    if (result == DECIMAL_OK) {
        FUZZ_REQUIRE(value.fraction < UINT64_C(1000000000000000000));
        FUZZ_REQUIRE(decimal_fits(&value, DECIMAL_WHOLE_DIGITS));
        FUZZ_REQUIRE(!decimal_fits(&value, 18) || decimal_fits(&value, 19));
        check_format(&value);
        check_sum(sum, &value);
    }
    fuzz_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text rest = {.bytes = (const char *)data, .length = size};
    struct decimal sum = {.whole = 0};
    while (rest.length > 0)
        check_line(text_cut(&rest, '\n'), &sum);
    return 0;
}
