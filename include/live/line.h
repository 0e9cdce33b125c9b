/* Live events as lines of the journal: {"userId":"user1","name":"add_revenue","value":100}.
 *
 * The server writes them, the processor reads them: here stands what both take. A userId is an integer or 1 to 255 bytes of
 * text without control characters (1 and "1" are one user), the name add_revenue or subtract_revenue, the value a JSON number
 * of at most 18 digits before the point and 18 behind it (base/decimal.h). Further members are passed over; of a repeated
 * one the last counts. Pure; any number of threads.
 */
#ifndef LIVE_LINE_H
#define LIVE_LINE_H

#include "base/buffer.h"
#include "base/decimal.h"
#include "base/text.h"

#include <stdbool.h>

enum { LIVE_USER_BYTES = 255, LIVE_WHOLE_DIGITS = 18 };

struct live_line {
    char user[LIVE_USER_BYTES];
    size_t user_length;
    bool subtracts;
    struct decimal value; /* as written, whatever its sign */
};

/* Reads a text that json_check has found valid. Returns NULL, or what is wrong with it. */
const char *live_line_read(struct text json, struct live_line *line);

/* Appends the line with its line break. Failures are the buffer's. */
void live_line_append(struct buffer *buffer, const struct live_line *line);

/* What the line adds to its user's revenue. */
struct decimal live_line_amount(const struct live_line *line);

#endif
