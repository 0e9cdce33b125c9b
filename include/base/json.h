/* JSON (RFC 8259): judging texts, and writing strings.
 *
 * The parser is YAJL, behind this header alone, because it is strict, hands numbers over as they were written, and
 * is fast. What it gets wrong is set right here:
 *   - it takes a form feed and a vertical tab for white space: a raw 0x0B or 0x0C byte, valid nowhere in JSON, is
 *     refused beforehand;
 *   - it is lenient with UTF-8 (overlong forms, surrogates): that is judged by base/text.h;
 *   - it trusts its allocator never to fail: all that it allocates comes from an arena that lives for one parse; when
 *     that runs dry, the parse is abandoned whole and reported as JSON_NO_MEMORY;
 *   - it overlooks half a token behind a whole value (1"): a line feed fed at the end shows that;
 *   - it says how much it has consumed, not where the fault begins.
 *
 * Duplicate names in an object are allowed, as the RFC does. No state is kept between calls; any number of threads.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/buffer.h"
#include "base/text.h"

#include <stddef.h>

enum json_result {
    JSON_VALID,
    JSON_INVALID,
    JSON_NO_MEMORY,
};

/* Where and why a text is not valid: at the first byte that can't belong to a valid text, or behind the last one. (Bytes that
 * are no UTF-8 are told before all else. Of a word or string that may not stand there, and is not whole either, it is where it
 * breaks off.) Line and column count from 1, the column in bytes. */
struct json_error {
    size_t line;
    size_t column;
    char reason[96];
};

/* Whether `json` is exactly one value (with white space around it), nested at most `depth_limit` deep. Fills
 * `error` for JSON_INVALID. */
enum json_result json_check(struct text json, size_t depth_limit, struct json_error *error);

/* Appends `text`, which must be valid UTF-8, as a JSON string with its quotes. Failures are the buffer's. */
void json_append_string(struct buffer *buffer, struct text text);

/* Appends a finite number with as few digits as it needs to be read back to the same double. */
void json_append_double(struct buffer *buffer, double number);

#endif
