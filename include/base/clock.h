/* Time.
 *
 * Every deadline and age in the server is an instant of CLOCK_MONOTONIC in nanoseconds (int64_t, names end in
 * `_at`), so a change of the wall clock expires nothing. Wall time, in milliseconds since 1970 UTC, is only
 * ever shown to people. Modules that judge ages take a `struct clock`, so that their tests can move time by
 * hand; pthread condition variables always follow the real CLOCK_MONOTONIC (see base/sync.h).
 *
 * No locks, no state, nothing here can fail. The conversion from days to a civil date follows Howard Hinnant,
 * "chrono-Compatible Low-Level Date Algorithms" (civil_from_days): gmtime_r would take the C library's time
 * zone lock for every answer.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

#define CLOCK_NS_PER_SECOND INT64_C(1000000000)
#define CLOCK_NS_PER_MS     INT64_C(1000000)

enum {
    CLOCK_RFC3339_BYTES = sizeof "2026-01-02T03:04:05.678Z",
    CLOCK_HTTP_DATE_BYTES = sizeof "Sun, 06 Nov 1994 08:49:37 GMT",
};

struct clock {
    int64_t (*monotonic_ns)(void *context);
    int64_t (*wall_ms)(void *context);
    void *context;
};

/* The clocks of the system, in the form that modules take. */
extern const struct clock clock_system;

int64_t clock_monotonic_ns(void);
int64_t clock_wall_ms(void);

/* The same some milliseconds late, for a fifth of the price: for deadlines of many seconds, and seconds since
 * 1970. */
int64_t clock_monotonic_coarse_ns(void);
int64_t clock_wall_coarse_s(void);

/* Writes `wall_ms` as RFC 3339 in UTC with milliseconds ("2026-01-02T03:04:05.678Z") and a final NUL. Years
 * from 0 to 9999 come out right. */
void clock_format_rfc3339(int64_t wall_ms, char text[static CLOCK_RFC3339_BYTES]);

/* Writes `wall_s`, seconds since 1970, as an HTTP date (IMF-fixdate, RFC 9110 section 5.6.7) and a final NUL.
 */
void clock_format_http_date(int64_t wall_s, char text[static CLOCK_HTTP_DATE_BYTES]);

#endif
