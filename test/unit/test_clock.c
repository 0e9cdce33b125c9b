/*
 * Proves that instants are written as the right civil dates, from the year 0 to 9999, day by day against a
 * calendar that counts, and that the clocks are those of the system.
 */
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define COUNT(array)    (sizeof(array) / sizeof(array)[0])
#define SECONDS_PER_DAY INT64_C(86400)
#define YEAR_0          INT64_C(-62167219200) /* 0000-01-01T00:00:00Z */

static const char *const day_names[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
static const char *const month_names[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

static void known_instants_have_their_rfc3339_text(void **state)
{
    (void)state;
    static const struct {
        int64_t wall_ms;
        const char *text;
    } rows[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {1, "1970-01-01T00:00:00.001Z"},
        {999, "1970-01-01T00:00:00.999Z"},
        {1000, "1970-01-01T00:00:01.000Z"},
        {86399999, "1970-01-01T23:59:59.999Z"},
        {86400000, "1970-01-02T00:00:00.000Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {-1000, "1969-12-31T23:59:59.000Z"},
        {-1001, "1969-12-31T23:59:58.999Z"},
        {-86400000, "1969-12-31T00:00:00.000Z"},
        {-86400001, "1969-12-30T23:59:59.999Z"},
        {784111777 * INT64_C(1000), "1994-11-06T08:49:37.000Z"},
        {951782399999, "2000-02-28T23:59:59.999Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {951868800000, "2000-03-01T00:00:00.000Z"},
        {1709164800000, "2024-02-29T00:00:00.000Z"},
        {1740787200000, "2025-03-01T00:00:00.000Z"},
        {4107542400000, "2100-03-01T00:00:00.000Z"},
        {4107542399000, "2100-02-28T23:59:59.000Z"},
        {INT64_C(2147483648) * 1000, "2038-01-19T03:14:08.000Z"},
        {INT64_C(-2147483649) * 1000, "1901-12-13T20:45:51.000Z"},
        {1767323045678, "2026-01-02T03:04:05.678Z"},
        {253402300799999, "9999-12-31T23:59:59.999Z"},
        {YEAR_0 * 1000, "0000-01-01T00:00:00.000Z"},
        {YEAR_0 * 1000 + 59 * SECONDS_PER_DAY * 1000, "0000-02-29T00:00:00.000Z"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[CLOCK_RFC3339_BYTES];
        clock_format_rfc3339(rows[i].wall_ms, text);
        assert_string_equal(text, rows[i].text);
    }
}

static void known_instants_have_their_http_date(void **state)
{
    (void)state;
    static const struct {
        int64_t wall_s;
        const char *text;
    } rows[] = {
        {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"}, /* the example of RFC 9110 */
        {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {86399, "Thu, 01 Jan 1970 23:59:59 GMT"},
        {86400, "Fri, 02 Jan 1970 00:00:00 GMT"},
        {-1, "Wed, 31 Dec 1969 23:59:59 GMT"},
        {-86400, "Wed, 31 Dec 1969 00:00:00 GMT"},
        {-86401, "Tue, 30 Dec 1969 23:59:59 GMT"},
        {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
        {951868799, "Tue, 29 Feb 2000 23:59:59 GMT"},
        {951868800, "Wed, 01 Mar 2000 00:00:00 GMT"},
        {4107542400, "Mon, 01 Mar 2100 00:00:00 GMT"},
        {253402300799, "Fri, 31 Dec 9999 23:59:59 GMT"},
        {YEAR_0, "Sat, 01 Jan 0000 00:00:00 GMT"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[CLOCK_HTTP_DATE_BYTES];
        clock_format_http_date(rows[i].wall_s, text);
        assert_string_equal(text, rows[i].text);
    }
}

struct date {
    int year, month, day, weekday; /* month and day from 1 */
};

static int days_of(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

static void next_day(struct date *date)
{
    date->weekday = (date->weekday + 1) % 7;
    if (++date->day <= days_of(date->year, date->month))
        return;
    date->day = 1;
    if (++date->month <= 12)
        return;
    date->month = 1;
    date->year++;
}

static void check_date(const struct date *date, int64_t day_s)
{
    char wanted[64], text[CLOCK_RFC3339_BYTES], http[CLOCK_HTTP_DATE_BYTES];
    int second = date->year * 7919 % (int)SECONDS_PER_DAY;
    int hour = second / 3600, minute = second / 60 % 60;

    snprintf(wanted, sizeof wanted, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", date->year, date->month, date->day,
             hour, minute, second % 60, second % 1000);
    clock_format_rfc3339((day_s + second) * 1000 + second % 1000, text);
    assert_string_equal(text, wanted);

    snprintf(wanted, sizeof wanted, "%s, %02d %s %04d %02d:%02d:%02d GMT", day_names[date->weekday],
             date->day, month_names[date->month - 1], date->year, hour, minute, second % 60);
    clock_format_http_date(day_s + second, http);
    assert_string_equal(http, wanted);
}

/* Every day of four centuries around now, elsewhere those beside which a leap day may stand. */
static void dates_follow_the_calendar(void **state)
{
    (void)state;
    struct date date = {.year = 0, .month = 1, .day = 1, .weekday = 6};
    for (int64_t day_s = YEAR_0; date.year <= 9999; day_s += SECONDS_PER_DAY) {
        bool all = date.year >= 1900 && date.year < 2300;
        bool edge = (date.month == 12 && date.day == 31) || (date.month == 1 && date.day == 1) ||
                    (date.month == 2 && date.day >= 28) || (date.month == 3 && date.day == 1);
        if (all || edge)
            check_date(&date, day_s);
        next_day(&date);
    }
}

/* Years of other lengths have no promised text, but still nothing may be written beyond its place. */
static void no_instant_writes_too_much(void **state)
{
    (void)state;
    static const int64_t instants[] = {
        INT64_MIN, INT64_MIN + 1, -(INT64_C(1) << 55), YEAR_0 * 1000 - 1, INT64_C(253402300800000),
        INT64_MAX, INT64_MAX - 1, INT64_C(1) << 55,    YEAR_0 - 1,        INT64_C(253402300800),
    };
    for (size_t i = 0; i < COUNT(instants); i++) {
        char bytes[128];
        memset(bytes, '#', sizeof bytes);
        clock_format_rfc3339(instants[i], bytes);
        assert_true(memchr(bytes, '\0', CLOCK_RFC3339_BYTES) != NULL);
        for (size_t at = CLOCK_RFC3339_BYTES; at < sizeof bytes; at++)
            assert_int_equal(bytes[at], '#');

        memset(bytes, '#', sizeof bytes);
        clock_format_http_date(instants[i], bytes);
        assert_true(memchr(bytes, '\0', CLOCK_HTTP_DATE_BYTES) != NULL);
        for (size_t at = CLOCK_HTTP_DATE_BYTES; at < sizeof bytes; at++)
            assert_int_equal(bytes[at], '#');
    }
}

static int64_t now_ns(clockid_t id)
{
    struct timespec now;
    assert_int_equal(clock_gettime(id, &now), 0);
    return now.tv_sec * CLOCK_NS_PER_SECOND + now.tv_nsec;
}

static void system_clocks_tell_the_system_s_time(void **state)
{
    (void)state;
    int64_t before = now_ns(CLOCK_MONOTONIC), first = clock_monotonic_ns();
    int64_t second = clock_system.monotonic_ns(clock_system.context), after = now_ns(CLOCK_MONOTONIC);
    assert_true(before <= first && first <= second && second <= after);

    /* The wall clock may be set meanwhile, but not each time. */
    for (int tries = 0;; tries++) {
        assert_true(tries < 5);
        before = now_ns(CLOCK_REALTIME) / CLOCK_NS_PER_MS;
        first = clock_wall_ms();
        second = clock_system.wall_ms(clock_system.context);
        after = now_ns(CLOCK_REALTIME) / CLOCK_NS_PER_MS;
        if (before <= first && first <= second && second <= after)
            break;
    }
}

static void check_coarse_clocks(void)
{
    const int64_t late_ns = 100 * CLOCK_NS_PER_MS; /* a tick is 10 ms at most */
    for (int tries = 0;; tries++) {
        assert_true(tries < 5); /* the wall clock may be set meanwhile, but not each time */
        int64_t before = now_ns(CLOCK_MONOTONIC), wall_before = now_ns(CLOCK_REALTIME);
        int64_t coarse = clock_monotonic_coarse_ns(), wall = clock_wall_coarse_s();
        int64_t after = now_ns(CLOCK_MONOTONIC), wall_after = now_ns(CLOCK_REALTIME);
        assert_true(coarse >= before - late_ns && coarse <= after);
        if (wall >= (wall_before - late_ns) / CLOCK_NS_PER_SECOND && wall <= wall_after / CLOCK_NS_PER_SECOND)
            break;
    }
}

/* Over more time than they may be late, so that they must go on; and back they never go. */
static void coarse_clocks_follow_a_little_late(void **state)
{
    (void)state;
    const struct timespec pause = {.tv_nsec = 10 * CLOCK_NS_PER_MS};
    int64_t end = now_ns(CLOCK_MONOTONIC) + 250 * CLOCK_NS_PER_MS, last = 0;
    do {
        check_coarse_clocks();
        int64_t coarse = clock_monotonic_coarse_ns();
        assert_true(coarse >= last);
        last = coarse;
        nanosleep(&pause, NULL);
    } while (now_ns(CLOCK_MONOTONIC) < end);
    check_coarse_clocks();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_instants_have_their_rfc3339_text),
        cmocka_unit_test(known_instants_have_their_http_date),
        cmocka_unit_test(dates_follow_the_calendar),
        cmocka_unit_test(no_instant_writes_too_much),
        cmocka_unit_test(system_clocks_tell_the_system_s_time),
        cmocka_unit_test(coarse_clocks_follow_a_little_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
