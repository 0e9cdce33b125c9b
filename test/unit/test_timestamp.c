/* Timestamps are read as RFC 3339 has them, and nothing else is. */
#include "base/timestamp.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static int64_t parse(const char *text)
{
    int64_t wall_ms;
    if (timestamp_parse(text_from(text), &wall_ms) != 0)
        fail_msg("not taken: %s", text);
    return wall_ms;
}

static void refuse(struct text text)
{
    int64_t wall_ms = 4711;
    if (timestamp_parse(text, &wall_ms) != -1)
        fail_msg("taken: %.*s", (int)text.length, text.bytes);
    assert_int_equal(wall_ms, 4711);
}

static void good_ones_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t wall_ms;
    } rows[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01t00:00:00z", 0},
        {"1970-01-01T00:00:00.001Z", 1},
        {"1969-12-31T23:59:59.999Z", -1},
        {"1969-12-31T23:59:59Z", -1000},
        {"2025-10-08T12:34:56.789Z", INT64_C(1759926896789)},
        {"2025-10-08T12:34:56Z", INT64_C(1759926896000)},
        {"2025-10-08T14:34:56.789+02:00", INT64_C(1759926896789)},
        {"2025-10-08T04:04:56.789-08:30", INT64_C(1759926896789)},
        {"2025-10-09T12:33:56.789+23:59", INT64_C(1759926896789)},
        {"2025-10-07T12:35:56.789-23:59", INT64_C(1759926896789)},
        {"2025-10-08T12:34:56.789-00:00", INT64_C(1759926896789)},
        {"2025-10-08T12:34:56.789+00:00", INT64_C(1759926896789)},
        /* fractions of any length, cut behind milliseconds */
        {"2025-10-08T12:34:56.7Z", INT64_C(1759926896700)},
        {"2025-10-08T12:34:56.70Z", INT64_C(1759926896700)},
        {"2025-10-08T12:34:56.07Z", INT64_C(1759926896070)},
        {"2025-10-08T12:34:56.0Z", INT64_C(1759926896000)},
        {"2025-10-08T12:34:56.7899Z", INT64_C(1759926896789)},
        {"2025-10-08T12:34:56.0009999999999999999999999999999999999999Z", INT64_C(1759926896000)},
        {"2025-10-08T12:34:56.99999999999999999999999999999999999999+00:00", INT64_C(1759926896999)},
        {"1969-12-31T23:59:59.9999Z", -1},
        /* leap years */
        {"2024-02-29T00:00:00Z", INT64_C(1709164800000)},
        {"2000-02-29T23:59:59Z", INT64_C(951868799000)},
        {"0000-02-29T00:00:00Z", INT64_C(-62162121600000)},
        {"2400-02-29T00:00:00Z", INT64_C(13574563200000)},
        /* the edges */
        {"0000-01-01T00:00:00Z", INT64_C(-62167219200000)},
        {"0000-01-01T00:00:00+23:59", INT64_C(-62167305540000)},
        {"9999-12-31T23:59:59.999Z", INT64_C(253402300799999)},
        {"9999-12-31T23:59:59.999-23:59", INT64_C(253402387139999)},
        /* the examples of RFC 3339, section 5.8 */
        {"1985-04-12T23:20:50.52Z", INT64_C(482196050520)},
        {"1996-12-19T16:39:57-08:00", INT64_C(851042397000)},
        {"1990-12-31T23:59:60Z", INT64_C(662688000000)},
        {"1990-12-31T15:59:60-08:00", INT64_C(662688000000)},
        {"1937-01-01T12:00:27.87+00:20", INT64_C(-1041337172130)},
        /* leap seconds: the ends of June and December in UTC */
        {"2016-12-31T23:59:60.5Z", INT64_C(1483228800500)},
        {"2017-01-01T00:59:60+01:00", INT64_C(1483228800000)},
        {"2015-06-30T23:59:60Z", INT64_C(1435708800000)},
        {"2015-07-01T08:59:60+09:00", INT64_C(1435708800000)},
        {"1972-06-30T23:59:60Z", INT64_C(78796800000)},
        {"1973-01-01T01:59:60+02:00", INT64_C(94694400000)},
        {"2030-12-31T23:59:60Z", INT64_C(1924992000000)},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        int64_t wall_ms = parse(rows[i].text);
        if (wall_ms != rows[i].wall_ms)
            fail_msg("%s: %lld", rows[i].text, (long long)wall_ms);
    }
}

static const char *const bad_texts[] = {
    "",
    "Z",
    "2025",
    "2025-10-08",
    "2025-10-08T",
    "2025-10-08T12:34:56",
    "2025-10-08T12:34Z",
    "2025-10-08T12Z",
    "2025-10-08Z",
    "12:34:56Z",
    "now",
    "null",
    "1759926896",
    "1759926896789",
    "20251008T123456Z",
    /* other separators */
    "2025-10-08 12:34:56Z",
    "2025-10-08_12:34:56Z",
    "2025/10/08T12:34:56Z",
    "2025-10-08T12.34.56Z",
    "2025-10-08T12-34-56Z",
    "2025:10:08T12:34:56Z",
    "2025-10-08T12:34:56,789Z",
    "2025-10-08TT12:34:56Z",
    /* garbage at the ends */
    " 2025-10-08T12:34:56Z",
    "2025-10-08T12:34:56Z ",
    "2025-10-08T12:34:56Z\n",
    "2025-10-08T12:34:56ZZ",
    "2025-10-08T12:34:56.789Zx",
    "\"2025-10-08T12:34:56Z\"",
    "+2025-10-08T12:34:56Z",
    "-2025-10-08T12:34:56Z",
    "2025-10-08T12:34:56Z+00:00",
    "2025-10-08T12:34:56+00:00Z",
    "2025-10-08T12:34:56 Z",
    "2025-10-08T12:34:56+00:00 ",
    /* too few and too many digits */
    "225-10-08T12:34:56Z",
    "02025-10-08T12:34:56Z",
    "12025-10-08T12:34:56Z",
    "2025-1-08T12:34:56Z",
    "2025-010-08T12:34:56Z",
    "2025-10-8T12:34:56Z",
    "2025-10-008T12:34:56Z",
    "2025-10-08T2:34:56Z",
    "2025-10-08T012:34:56Z",
    "2025-10-08T12:4:56Z",
    "2025-10-08T12:034:56Z",
    "2025-10-08T12:34:6Z",
    "2025-10-08T12:34:056Z",
    "2025-10-08T12:34:Z",
    "2025-10-08T12::56Z",
    "2025-10-08T:34:56Z",
    "2025--08T12:34:56Z",
    /* no digits */
    "2o25-10-08T12:34:56Z",
    "2025-1O-08T12:34:56Z",
    "2025-10-0 T12:34:56Z",
    "2025-10-08T1a:34:56Z",
    "2025-10-08T12:+4:56Z",
    "2025-10-08T12:34:-6Z",
    "2025-10-08T 2:34:56Z",
    "2025-10-08T12:34:5\xC2\xB2Z",
    "2025-10-08T12:34:56.7x9Z",
    "2025-10-08T12:34:56.-9Z",
    "2025-10-08T12:34:56. 9Z",
    "2025-10-08T12:34:56.9 Z",
    /* fields out of range */
    "2025-00-08T12:34:56Z",
    "2025-13-08T12:34:56Z",
    "2025-10-00T12:34:56Z",
    "2025-10-32T12:34:56Z",
    "2025-04-31T12:34:56Z",
    "2025-06-31T12:34:56Z",
    "2025-09-31T12:34:56Z",
    "2025-11-31T12:34:56Z",
    "2025-10-08T24:00:00Z",
    "2025-10-08T25:34:56Z",
    "2025-10-08T12:60:56Z",
    "2025-10-08T12:34:61Z",
    "2025-10-08T99:99:99Z",
    /* years without a leap day */
    "2025-02-29T12:34:56Z",
    "2023-02-29T12:34:56Z",
    "1900-02-29T12:34:56Z",
    "2100-02-29T12:34:56Z",
    "2024-02-30T12:34:56Z",
    "2000-02-30T12:34:56Z",
    /* fractions */
    "2025-10-08T12:34:56.Z",
    "2025-10-08T12:34:56.",
    "2025-10-08T12:34:56.+02:00",
    "2025-10-08T12:34:56..7Z",
    "2025-10-08T12:34:56.7.8Z",
    "2025-10-08T12:34:56.789",
    "2025-10-08T12:34.5Z",
    "2025-10-08T12.5Z",
    /* offsets */
    "2025-10-08T12:34:56+",
    "2025-10-08T12:34:56+0",
    "2025-10-08T12:34:56+02",
    "2025-10-08T12:34:56+02:",
    "2025-10-08T12:34:56+02:0",
    "2025-10-08T12:34:56+0200",
    "2025-10-08T12:34:56+2:00",
    "2025-10-08T12:34:56+02:000",
    "2025-10-08T12:34:56+24:00",
    "2025-10-08T12:34:56-24:00",
    "2025-10-08T12:34:56+02:60",
    "2025-10-08T12:34:56-99:99",
    "2025-10-08T12:34:56\342\210\22202:00",
    "2025-10-08T12:34:56GMT",
    "2025-10-08T12:34:56UTC",
    "2025-10-08T12:34:56 +02:00",
    "2025-10-08T12:34:56*02:00",
    "2025-10-08T12:34:56+-2:00",
    "2025-10-08T12:34:56[UTC]",
    "2025-10-08T12:34:56Z[UTC]",
    "2025-10-08T12:34:56X",
    /* leap seconds where there can't be one */
    "2016-12-31T23:58:60Z",
    "2016-12-31T22:59:60Z",
    "2016-12-30T23:59:60Z",
    "2017-01-01T23:59:60Z",
    "2015-06-29T23:59:60Z",
    "2015-07-31T23:59:60Z",
    "2016-12-31T23:59:60+01:00",
    "2016-12-31T23:59:60-08:00",
    "2017-01-01T00:00:60Z",
    "2015-03-31T23:59:60Z",
    "2015-09-30T23:59:60Z",
    "1971-12-31T23:59:60Z",
    "1971-06-30T23:59:60Z",
    "1972-01-01T00:59:60+01:00",
    "0000-01-01T00:59:60+01:00",
    /* dates of other kinds */
    "Wed, 08 Oct 2025 12:34:56 GMT",
    "2025-W41-3T12:34:56Z",
    "2025-281T12:34:56Z",
    "08-10-2025T12:34:56Z",
    "2025-10-08T12:34:56.789e3Z",
    "0x25-10-08T12:34:56Z",
};

static void bad_ones_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad_texts); i++)
        refuse(text_from(bad_texts[i]));
    refuse((struct text){.bytes = NULL});
    refuse(TEXT("2025-10-08T12:34:56Z\0"));
    refuse(TEXT("2025-10-08\0T12:34:56Z"));
}

/* Every front of a good one, and each of its bytes replaced by any other. */
static void nothing_near_is_taken_by_mistake(void **state)
{
    (void)state;
    static const char good[] = "2024-12-31T23:59:58.25+05:30";
    char text[sizeof good];
    for (size_t length = 0; length < sizeof good - 1; length++)
        refuse((struct text){.bytes = good, .length = length});
    for (size_t at = 0; at < sizeof good - 1; at++) {
        for (int byte = 0; byte < 256; byte++) {
            int64_t wall_ms;
            memcpy(text, good, sizeof good);
            text[at] = (char)byte;
            bool digit = byte >= '0' && byte <= '9' && good[at] >= '0' && good[at] <= '9';
            bool other_case = (good[at] == 'T' && byte == 't') || (good[at] == '+' && byte == '-');

            if (timestamp_parse(text_from(text), &wall_ms) == 0 && !digit && !other_case && byte != good[at])
                fail_msg("taken: %s", text);
        }
    }
}

/* Every day of the calendar, as base/clock.h writes it. */
static void what_the_clock_writes_is_read_back(void **state)
{
    (void)state;
    int64_t step_ms = INT64_C(86400000) + 1234567; /* some more than a day */
    for (int64_t wall_ms = INT64_C(-62167219200000); wall_ms <= INT64_C(253402300799999);
         wall_ms += step_ms) {
        char text[CLOCK_RFC3339_BYTES];
        clock_format_rfc3339(wall_ms, text);
        if (parse(text) != wall_ms)
            fail_msg("%s is not %lld", text, (long long)wall_ms);
    }
}

/* The C library's own calendar agrees, whatever its time zone. */
static void the_time_zone_of_the_machine_does_not_matter(void **state)
{
    (void)state;
    static const char *const zones[] = {"UTC", "America/New_York", "Asia/Kolkata", "XXX-13:30"};
    for (size_t i = 0; i < COUNT(zones); i++) {
        assert_int_equal(setenv("TZ", zones[i], 1), 0);
        tzset();
        assert_int_equal(parse("2025-07-08T12:34:56Z"), INT64_C(1751978096000));
        for (time_t at = -1000000000; at < 4000000000; at += 86399 * 17) {
            struct tm parts;
            char text[64];
            gmtime_r(&at, &parts);
            strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
            assert_int_equal(parse(text), (int64_t)at * 1000);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_ones_are_read),
        cmocka_unit_test(bad_ones_are_refused),
        cmocka_unit_test(nothing_near_is_taken_by_mistake),
        cmocka_unit_test(what_the_clock_writes_is_read_back),
        cmocka_unit_test(the_time_zone_of_the_machine_does_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
