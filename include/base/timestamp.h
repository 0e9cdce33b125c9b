/* Reading timestamps: RFC 3339 section 5.6, to the letter.
 *
 *   2025-10-08T12:34:56.789Z      1996-12-19t16:39:57-08:00
 *
 * Strict: every field has its digits and its range, days follow the Gregorian calendar (years 0000 to 9999), an offset is
 * Z or +hh:mm or -hh:mm with hh to 23 and mm to 59 ("-00:00", an unknown offset, is UTC), nothing may stand before or
 * behind. T and Z may be lower case, as the RFC allows; a space for the T is not taken (the RFC's note on it is no part
 * of its grammar). A fraction may have any number of digits; those beyond milliseconds are dropped.
 *
 * Leap seconds: second 60 is taken where one may be inserted, as the last second of June or December in UTC, from 1972
 * on; a list of those that were is not kept, since it would have to be fed for ever. It counts as the next second, as in
 * POSIX time.
 *
 * Needs no locale and no time zone; pure, any number of threads.
 */
#ifndef BASE_TIMESTAMP_H
#define BASE_TIMESTAMP_H

#include "base/text.h"

#include <stdint.h>

/* Reads a timestamp as milliseconds since 1970 UTC (negative before). Returns 0, or -1 when it is none. */
int timestamp_parse(struct text text, int64_t *wall_ms);

#endif
