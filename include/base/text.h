/* Judging and reading text from strangers: UTF-8, control characters, numbers.
 *
 * Texts are (pointer, length) pairs, never NUL-terminated unless said; nothing here keeps a pointer,
 * allocates or fails in another way than its result says. UTF-8 is judged by RFC 3629: no overlong forms, no
 * surrogates, nothing above U+10FFFF.
 */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A text that somebody else owns. */
struct text {
    const char *bytes;
    size_t length;
};

#define TEXT(literal) ((struct text){.bytes = (literal), .length = sizeof(literal) - 1})

struct text text_from(const char *terminated);

bool text_equals(struct text a, struct text b);

/* Compares ASCII letters without regard to case. */
bool text_equals_ignoring_case(struct text a, struct text b);

/* Compares in a time that depends on the lengths alone: for secrets. */
bool text_equals_in_constant_time(struct text secret, struct text guess);

/* Without white space (space, tab) at both ends. */
struct text text_trim(struct text text);

/* Cuts the front of `rest` off, up to `separator`, which is dropped; all of it when there is none. */
struct text text_cut(struct text *rest, char separator);

/* Copies a text to where `*to` points, in memory that has room for it, and moves `*to` behind it. Returns the copy. */
struct text text_put(char **to, struct text text);

/* The value of a hexadecimal digit, -1 for any other byte. */
int text_hex_value(char digit);

bool text_is_utf8(struct text text);

/* The length of the longest front that is valid UTF-8. */
size_t text_utf8_length(struct text text);

/* Whether valid UTF-8 `text` holds a control character (Unicode's category Cc: U+0000 to U+001F, U+007F to
 * U+009F). */
bool text_has_control(struct text text);

/* Reads a whole number written in decimal digits alone. Returns 0 and the number, or -1 when there is
 * anything else, or when it does not lie in `least` to `most`. */
int text_parse_number(struct text text, uint64_t least, uint64_t most, uint64_t *number);

/* Reads seconds with an optional fraction ("30", "0.25"; digits beyond nanoseconds are dropped) as
 * nanoseconds. Returns 0, or -1 when it is anything else or above `most_ns`. */
int text_parse_seconds(struct text text, int64_t most_ns, int64_t *ns);

#endif
