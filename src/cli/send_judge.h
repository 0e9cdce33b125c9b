/* What an answer means for its line, and when a line that was not taken is tried again. Pure functions.
 *
 *   answer                                    the line
 *   200 {"message":"Event received"}          was taken
 *   any other 2xx                             unknown: something else answers there
 *   503 "outcome unknown..."                  unknown
 *   503, 429, 408                             was not taken; again later (408: the request did not come whole, RFC 9110)
 *   401, 403                                  was not taken, and none will be: stop
 *   other 3xx and 4xx, 501, 505               refused
 *   other 5xx                                 unknown: it may have failed behind the point where the line was stored
 *   none, nothing of the request was sent     was not taken; again later
 *   none, some of it was sent                 unknown; also when it seems too little to be of use
 *
 * An unknown line is not sent again. Again means: when the answer's Retry-After is over, but not before the back-off,
 * which doubles from BACKOFF_FIRST_NS to BACKOFF_MOST_NS, less up to half of it at random, so that connections that were
 * refused together do not come back together.
 */
#ifndef CLI_SEND_JUDGE_H
#define CLI_SEND_JUDGE_H

#include "base/clock.h"
#include "cli/client.h"

#include <stdint.h>

#define SEND_BACKOFF_FIRST_NS (100 * CLOCK_NS_PER_MS)
#define SEND_BACKOFF_MOST_NS  (5 * CLOCK_NS_PER_SECOND)

enum { SEND_REASON_BYTES = 256 };

enum send_verdict {
    SEND_TAKEN,
    SEND_REFUSED,
    SEND_UNKNOWN,
    SEND_AGAIN,
    SEND_FORBIDDEN,
};

/* Fills `reason`, one line without anything that could harm a terminal, unless the line was taken. */
enum send_verdict send_judge(const struct client_answer *answer, char reason[static SEND_REASON_BYTES]);

/* How long to wait after the try `tries` (from 1) has failed. `random`: any number, drawn anew each time. */
int64_t send_backoff_ns(unsigned tries, int64_t retry_after_s, uint64_t random);

#endif
