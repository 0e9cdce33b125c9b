#include "base/timestamp.h"

#include <stdbool.h>

struct date_time {
    unsigned year, month, day, hour, minute, second, millisecond;
    int offset_minutes;
};

enum { MINUTES_PER_DAY = 24 * 60, FIRST_LEAP_SECOND_YEAR = 1972 };

/* Reads exactly `digits` digits. */
static bool take_number(struct text *rest, unsigned digits, unsigned least, unsigned most, unsigned *number)
{
    unsigned value = 0;
    if (rest->length < digits)
        return false;
    for (unsigned i = 0; i < digits; i++) {
        char c = rest->bytes[i];
        if (c < '0' || c > '9')
            return false;
        value = value * 10 + (unsigned)(c - '0');
    }
    rest->bytes += digits;
    rest->length -= digits;
    *number = value;
    return value >= least && value <= most;
}

/* Takes the next byte when it is one of the two. */
static bool take(struct text *rest, char wanted, char other)
{
    if (rest->length == 0 || (rest->bytes[0] != wanted && rest->bytes[0] != other))
        return false;
    rest->bytes++;
    rest->length--;
    return true;
}

static unsigned days_in_month(unsigned year, unsigned month)
{
    static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap ? 1U : 0U);
}

static bool take_date(struct text *rest, struct date_time *at)
{
    return take_number(rest, 4, 0, 9999, &at->year) && take(rest, '-', '-') &&
           take_number(rest, 2, 1, 12, &at->month) && take(rest, '-', '-') &&
           take_number(rest, 2, 1, days_in_month(at->year, at->month), &at->day);
}

static bool take_fraction(struct text *rest, unsigned *millisecond)
{
    unsigned scale = 100, value = 0;
    size_t digits = 0;
    if (!take(rest, '.', '.'))
        return true;
    for (unsigned digit; rest->length > 0 && take_number(rest, 1, 0, 9, &digit); digits++) {
        value += digit * scale;
        scale /= 10;
    }
    *millisecond = value;
    return digits > 0;
}

static bool take_offset(struct text *rest, int *offset_minutes)
{
    unsigned hours, minutes;
    if (take(rest, 'Z', 'z'))
        return true;
    bool behind = rest->length > 0 && rest->bytes[0] == '-';
    if (!take(rest, '+', '-') || !take_number(rest, 2, 0, 23, &hours) || !take(rest, ':', ':') ||
        !take_number(rest, 2, 0, 59, &minutes))
        return false;
    int offset = (int)(hours * 60 + minutes);
    *offset_minutes = behind ? -offset : offset;
    return true;
}

static bool take_time(struct text *rest, struct date_time *at)
{
    return take_number(rest, 2, 0, 23, &at->hour) && take(rest, ':', ':') &&
           take_number(rest, 2, 0, 59, &at->minute) && take(rest, ':', ':') &&
           take_number(rest, 2, 0, 60, &at->second) && take_fraction(rest, &at->millisecond) &&
           take_offset(rest, &at->offset_minutes);
}

/* Days since 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil): the year
 * begins in March, so that the leap day is its last. */
static int64_t days_since_1970(const struct date_time *at)
{
    int64_t year = (int64_t)at->year - (at->month <= 2 ? 1 : 0);
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t shifted_month = at->month > 2 ? (int64_t)at->month - 3 : (int64_t)at->month + 9;
    int64_t day_of_year = (153 * shifted_month + 2) / 5 + (int64_t)at->day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

/* Whether the minute is, in UTC, the last one of June or December. */
static bool may_have_leap_second(const struct date_time *at, int64_t minutes)
{
    int64_t first_of_year = days_since_1970(&(struct date_time){.year = at->year, .month = 1, .day = 1});
    int64_t first_of_july = days_since_1970(&(struct date_time){.year = at->year, .month = 7, .day = 1});
    int64_t next_year = days_since_1970(&(struct date_time){.year = at->year + 1, .month = 1, .day = 1});
    int64_t next = minutes + 1;
    if (next == first_of_year * MINUTES_PER_DAY) /* by the offset's clock it is next year already */
        return at->year > FIRST_LEAP_SECOND_YEAR;
    return at->year >= FIRST_LEAP_SECOND_YEAR &&
           (next == first_of_july * MINUTES_PER_DAY || next == next_year * MINUTES_PER_DAY);
}

int timestamp_parse(struct text text, int64_t *wall_ms)
{
    struct date_time at = {.year = 0};
    if (!take_date(&text, &at) || !take(&text, 'T', 't') || !take_time(&text, &at) || text.length > 0)
        return -1;
    int64_t minutes =
        days_since_1970(&at) * MINUTES_PER_DAY + (int64_t)at.hour * 60 + at.minute - at.offset_minutes;
    if (at.second == 60 && !may_have_leap_second(&at, minutes))
        return -1;
    *wall_ms = (minutes * 60 + at.second) * 1000 + at.millisecond;
    return 0;
}
