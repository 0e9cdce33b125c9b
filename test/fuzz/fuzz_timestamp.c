/* Timestamps: what is read is what the C library makes of the same fields, and can be written and read again. */
#include "fuzz.h"

#include "base/clock.h"
#include "base/timestamp.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What clock_format_rfc3339 writes right: the years 0 to 9999. */
#define FIRST_MS INT64_C(-62167219200000)
#define LAST_MS  INT64_C(253402300799999)

static int field(struct text text, size_t at, int digits)
{
    int value = 0;
    for (int i = 0; i < digits; i++)
        value = value * 10 + (text.bytes[at + (size_t)i] - '0');
    return value;
}

/* Of a text that is a timestamp. */
static int64_t model_ms(struct text text)
{
    struct tm time = {.tm_year = field(text, 0, 4) - 1900,
                      .tm_mon = field(text, 5, 2) - 1,
                      .tm_mday = field(text, 8, 2),
                      .tm_hour = field(text, 11, 2),
                      .tm_min = field(text, 14, 2),
                      .tm_sec = field(text, 17, 2)};
    int64_t ms = (int64_t)timegm(&time) * 1000;
    int64_t weight = 100;
    if (text.bytes[19] == '.') {
        for (size_t i = 20; text.bytes[i] >= '0' && text.bytes[i] <= '9'; i++, weight /= 10)
            ms += (text.bytes[i] - '0') * weight;
    }
    char last = text.bytes[text.length - 1];
    if (last == 'Z' || last == 'z')
        return ms;
    int64_t offset_ms =
        (field(text, text.length - 5, 2) * 60 + field(text, text.length - 2, 2)) * INT64_C(60000);
    return text.bytes[text.length - 6] == '-' ? ms + offset_ms : ms - offset_ms;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text text = fuzz_copy(data, size);
    int64_t ms, again_ms;
    char written[CLOCK_RFC3339_BYTES];
    if (timestamp_parse(text, &ms) == 0) {
        FUZZ_REQUIRE(ms == model_ms(text));
        if (ms >= FIRST_MS && ms <= LAST_MS) {
            clock_format_rfc3339(ms, written);
            FUZZ_REQUIRE(timestamp_parse(text_from(written), &again_ms) == 0 && again_ms == ms);
        }
    }
    fuzz_free(text);
    return 0;
}
