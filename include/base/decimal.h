/* Exact decimals: sums of JSON numbers as they were written, so that ten times 0.1 is 1.
 *
 * A decimal has up to 36 digits before the point and 18 behind it: |value| < 10^36. Nothing is ever rounded; what does not
 * fit is refused. decimal_parse takes whatever a decimal can be, sums too. Who wants to be sure that many can be added asks
 * decimal_fits first: of values with at most 18 digits before the point, 10^18 fit into a sum.
 *
 * Pure functions without memory of their own; any number of threads. Each takes a time that is bounded by the length of the
 * text: an exponent is never counted out.
 */
#ifndef BASE_DECIMAL_H
#define BASE_DECIMAL_H

#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    DECIMAL_WHOLE_DIGITS = 36,
    DECIMAL_FRACTION_DIGITS = 18,
    /* The longest text: a sign, all digits, the point, and a final NUL. */
    DECIMAL_BYTES = 1 + DECIMAL_WHOLE_DIGITS + 1 + DECIMAL_FRACTION_DIGITS + 1,
};

/* The value is whole + fraction / 10^18, so that -0.5 is -1 and 5 * 10^17. Each value has one form; zeros are 0. */
struct decimal {
    __int128 whole;
    uint64_t fraction; /* below 10^18 */
};

enum decimal_result {
    DECIMAL_OK,
    DECIMAL_OUT_OF_RANGE, /* a number, but too large, or with digits other than 0 behind the 18th of the fraction */
    DECIMAL_NO_NUMBER, /* not by the grammar of RFC 8259 section 6 */
};

/* Reads a JSON number, with nothing around it. `decimal` is set for DECIMAL_OK alone. */
enum decimal_result decimal_parse(struct text json_number, struct decimal *decimal);

/* Whether the value has at most `whole_digits` digits before the point: |value| < 10^whole_digits. */
bool decimal_fits(const struct decimal *decimal, unsigned whole_digits);

/* Adds `term` to `sum`. Returns 0, or -1 when that leaves the range: `sum` is as it was. */
int decimal_add(struct decimal *sum, const struct decimal *term);

/* Changes the sign; cannot fail, as the range is the same on both sides of 0. */
void decimal_negate(struct decimal *decimal);

/* Writes the shortest plain notation ("150", "-20.05", "0": no exponent, no zeros at the end) and a final NUL.
 * Returns it without the NUL; decimal_parse makes the same decimal of it. */
struct text decimal_format(const struct decimal *decimal, char text[static DECIMAL_BYTES]);

#endif
