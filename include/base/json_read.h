/* Reading JSON values out of texts that json_check (base/json.h) has found valid.
 *
 * A value is a piece of the source text: nothing is built, nothing copied, numbers stay as they were written. Only
 * strings that hold escapes need memory when they are decoded. Given a text that was not checked, these functions stay
 * inside it and end, but say nothing of use. Pure; any number of threads.
 */
#ifndef BASE_JSON_READ_H
#define BASE_JSON_READ_H

#include "base/buffer.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>

enum json_type {
    JSON_NULL,
    JSON_BOOLEAN,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
};

/* The type of a value, white space around it allowed. An empty text is JSON_NULL. */
enum json_type json_type_of(struct text value);

/* Whether a value, without white space around it, is a number that is written without a fraction and an exponent. */
bool json_is_integer(struct text value);

/* Walks through an array or object: begin, then next until it returns false. The names and values have no white
 * space around them; a name is a string with its quotes. */
struct json_walk {
    struct text rest;
};
void json_walk_begin(struct json_walk *walk, struct text array_or_object);
bool json_walk_element(struct json_walk *walk, struct text *value);
bool json_walk_member(struct json_walk *walk, struct text *name, struct text *value);

/* Looks members of an object up by name: values[i] becomes that of names[i], without white space around it, or an
 * empty text when there is none. Of a repeated name the last one counts, as in JavaScript. One walk for all. */
void json_members(struct text object, const struct text *names, struct text *values, size_t count);

/* Whether a name, as a walk gives it, is `wanted` when its escapes are decoded. */
bool json_name_is(struct text name, struct text wanted);

enum json_string_result {
    JSON_STRING_OK,
    JSON_STRING_BAD, /* an escaped surrogate without its partner: no Unicode text (RFC 8259 section 8.2) */
    JSON_STRING_NO_MEMORY,
};

/* Decodes a string. `decoded` points into the source where it holds no escapes, else into `storage`, to which it is
 * appended (decode several strings into one buffer only after reserving room for all, as its memory may move). */
enum json_string_result json_string(struct text string, struct buffer *storage, struct text *decoded);

/* Appends the value without the white space between its tokens. Failures are the buffer's. */
void json_append_compact(struct buffer *buffer, struct text value);

#endif
