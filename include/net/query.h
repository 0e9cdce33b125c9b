/* Query strings: `name=value&name=value`, percent-encoded, `+` for a space (WHATWG URL,
 * application/x-www-form-urlencoded); and segments of paths.
 *
 * Nothing is allocated: a value is decoded into the caller's memory. Pure functions.
 */
#ifndef NET_QUERY_H
#define NET_QUERY_H

#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>

enum query_result { QUERY_FOUND, QUERY_MISSING, QUERY_TOO_LONG };

/* Whether every `%` is followed by two hexadecimal digits. */
bool query_is_valid(struct text query);

/* Decodes a segment of a path (RFC 3986 section 2.1: a plus sign stays one), which has passed query_is_valid. Returns 0, or
 * -1 when it is longer than `capacity`. */
int query_decode_segment(struct text segment, char *value, size_t capacity, size_t *length);

/* Decodes the first value of `name` into `value`, at most `capacity` bytes, and sets its length. The query
 * has passed query_is_valid. */
enum query_result query_find(struct text query, const char *name, char *value, size_t capacity,
                             size_t *length);

#endif
