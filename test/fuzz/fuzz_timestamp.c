/* Timestamps: read as by a reader that was written anew, with the C library's calendar; what is read can be written and read again. */
#include "fuzz.h"

#include "base/clock.h"
#include "base/timestamp.h"

#include <ctype.h>
#include <string.h>
#include <time.h>

/* 1972-06-30T23:59:59Z */
#define FIRST_LEAP_SECOND INT64_C(78796799)

/* What clock_format_rfc3339 writes right: the years 0 to 9999. */
#define FIRST_MS INT64_C(-62167219200000)
#define LAST_MS  INT64_C(253402300799999)

/* Takes digits where `pattern` has a 0, and else what it says itself, in either case. */
static bool take(struct text *rest, const char *pattern)
{
    size_t length = strlen(pattern);
    for (size_t i = 0; i < length; i++) {
        bool digit = i < rest->length && rest->bytes[i] >= '0' && rest->bytes[i] <= '9';
        if (i >= rest->length || (pattern[i] == '0' ? !digit : toupper(rest->bytes[i]) != pattern[i]))
            return false;
    }
    rest->bytes += length;
    rest->length -= length;
    return true;
}

static int number(const char *at, int digits)
{
    int value = 0;
    for (int i = 0; i < digits; i++)
        value = value * 10 + (at[i] - '0');
    return value;
}

static int64_t take_fraction_ms(struct text *rest)
{
    int64_t ms = 0;
    for (int weight = 100; take(rest, "0"); weight /= 10)
        ms += (rest->bytes[-1] - '0') * weight;
    return ms;
}

/* Takes the offset. Returns whether it is one. */
static bool take_offset(struct text *rest, int64_t *minutes)
{
    *minutes = 0;
    if (take(rest, "Z"))
        return rest->length == 0;
    bool west = rest->length > 0 && rest->bytes[0] == '-';
    if (!take(rest, "+00:00") && !take(rest, "-00:00"))
        return false;
    int hour = number(rest->bytes - 5, 2), minute = number(rest->bytes - 2, 2);
    *minutes = (west ? 1 : -1) * (hour * 60 + minute);
    return rest->length == 0 && hour <= 23 && minute <= 59;
}

/* Whether second 60 may stand behind this one. */
static bool is_before_leap_second(time_t second)
{
    time_t next = second + 1;
    struct tm time;
    gmtime_r(&next, &time);
    bool first = time.tm_mday == 1 && time.tm_hour == 0 && time.tm_min == 0 && time.tm_sec == 0;
    return first && (time.tm_mon == 0 || time.tm_mon == 6) && second >= FIRST_LEAP_SECOND;
}

/* RFC 3339 with the C library's calendar. */
static bool model_parse(struct text text, int64_t *ms)
{
    const char *at = text.bytes;
    struct text rest = text;
    if (!take(&rest, "0000-00-00T00:00:00"))
        return false;
    struct tm time = {.tm_year = number(at, 4) - 1900,
                      .tm_mon = number(at + 5, 2) - 1,
                      .tm_mday = number(at + 8, 2),
                      .tm_hour = number(at + 11, 2),
                      .tm_min = number(at + 14, 2),
                      .tm_sec = number(at + 17, 2)};
    bool leap = time.tm_sec == 60;
    time.tm_sec -= leap;
    struct tm given = time;
    time_t second = timegm(&time);
    /* What was out of its range has become something else. */
    if (time.tm_year != given.tm_year || time.tm_mon != given.tm_mon || time.tm_mday != given.tm_mday ||
        time.tm_hour != given.tm_hour || time.tm_min != given.tm_min || time.tm_sec != given.tm_sec)
        return false;
    struct text point = rest;
    bool fraction = take(&rest, ".");
    int64_t fraction_ms = take_fraction_ms(&rest), minutes;
    if (fraction ? rest.bytes == point.bytes + 1 : rest.bytes != point.bytes)
        return false;
    if (!take_offset(&rest, &minutes) || (leap && !is_before_leap_second(second + minutes * 60)))
        return false;
    *ms = ((int64_t)second + leap + minutes * 60) * 1000 + fraction_ms;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text text = fuzz_copy(data, size);
    int64_t ms, expected_ms;
    char written[CLOCK_RFC3339_BYTES];
    bool good = timestamp_parse(text, &ms) == 0;
    FUZZ_REQUIRE(good == model_parse(text, &expected_ms));
    FUZZ_REQUIRE(!good || ms == expected_ms);
    if (good && ms >= FIRST_MS && ms <= LAST_MS) {
        clock_format_rfc3339(ms, written);
        FUZZ_REQUIRE(timestamp_parse(text_from(written), &expected_ms) == 0 && expected_ms == ms);
    }
    fuzz_free(text);
    return 0;
}
