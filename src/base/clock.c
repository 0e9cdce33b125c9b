#include "base/clock.h"

#include <string.h>
#include <time.h>

struct civil_time {
    unsigned year, month, day, hour, minute, second, weekday;
};

static int64_t read_clock(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return (int64_t)now.tv_sec * CLOCK_NS_PER_SECOND + now.tv_nsec;
}

int64_t clock_monotonic_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t clock_wall_ms(void)
{
    return read_clock(CLOCK_REALTIME) / CLOCK_NS_PER_MS;
}

int64_t clock_monotonic_coarse_ns(void)
{
    return read_clock(CLOCK_MONOTONIC_COARSE);
}

int64_t clock_wall_coarse_s(void)
{
    return read_clock(CLOCK_REALTIME_COARSE) / CLOCK_NS_PER_SECOND;
}

static int64_t system_monotonic_ns(void *context)
{
    (void)context;
    return clock_monotonic_ns();
}

static int64_t system_wall_ms(void *context)
{
    (void)context;
    return clock_wall_ms();
}

const struct clock clock_system = {.monotonic_ns = system_monotonic_ns, .wall_ms = system_wall_ms};

static int64_t floor_divide(int64_t dividend, int64_t divisor)
{
    int64_t quotient = dividend / divisor;
    return dividend % divisor < 0 ? quotient - 1 : quotient;
}

static struct civil_time civil_from_seconds(int64_t seconds)
{
    int64_t days = floor_divide(seconds, 86400);
    int64_t rest = seconds % 86400 < 0 ? seconds % 86400 + 86400 : seconds % 86400;
    /* 1970-01-01 was a Thursday; the era of 400 years begins on 0000-03-01, so that leap days come last. */
    int64_t weekday = (days % 7 + 11) % 7;
    int64_t shifted = days + 719468;
    int64_t era = floor_divide(shifted, 146097);
    int64_t day_of_era = shifted - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted_month = (5 * day_of_year + 2) / 153;
    int64_t month = shifted_month < 10 ? shifted_month + 3 : shifted_month - 9;
    return (struct civil_time){
        .year = (unsigned)(year_of_era + era * 400 + (month <= 2 ? 1 : 0)),
        .month = (unsigned)month,
        .day = (unsigned)(day_of_year - (153 * shifted_month + 2) / 5 + 1),
        .hour = (unsigned)(rest / 3600),
        .minute = (unsigned)(rest / 60 % 60),
        .second = (unsigned)(rest % 60),
        .weekday = (unsigned)weekday,
    };
}

static void put_digits(char *text, unsigned value, unsigned digits)
{
    for (unsigned i = digits; i > 0; i--) {
        text[i - 1] = (char)('0' + value % 10);
        value /= 10;
    }
}

void clock_format_rfc3339(int64_t wall_ms, char text[static CLOCK_RFC3339_BYTES])
{
    int64_t seconds = floor_divide(wall_ms, 1000);
    struct civil_time at = civil_from_seconds(seconds);
    memcpy(text, "0000-00-00T00:00:00.000Z", CLOCK_RFC3339_BYTES);
    put_digits(text, at.year, 4);
    put_digits(text + 5, at.month, 2);
    put_digits(text + 8, at.day, 2);
    put_digits(text + 11, at.hour, 2);
    put_digits(text + 14, at.minute, 2);
    put_digits(text + 17, at.second, 2);
    int64_t milliseconds = wall_ms % 1000;
    put_digits(text + 20, (unsigned)(milliseconds < 0 ? milliseconds + 1000 : milliseconds), 3);
}

void clock_format_http_date(int64_t wall_s, char text[static CLOCK_HTTP_DATE_BYTES])
{
    static const char weekdays[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct civil_time at = civil_from_seconds(wall_s);
    memcpy(text, "Sun, 00 Jan 0000 00:00:00 GMT", CLOCK_HTTP_DATE_BYTES);
    memcpy(text, weekdays + (size_t)at.weekday * 3, 3);
    put_digits(text + 5, at.day, 2);
    memcpy(text + 8, months + (size_t)(at.month - 1) * 3, 3);
    put_digits(text + 12, at.year, 4);
    put_digits(text + 17, at.hour, 2);
    put_digits(text + 20, at.minute, 2);
    put_digits(text + 23, at.second, 2);
}
