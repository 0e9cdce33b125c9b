/* What judging (json.c) and reading (json_read.c) JSON share. The functions stay inside any text, valid or not. */
#ifndef BASE_JSON_INTERNAL_H
#define BASE_JSON_INTERNAL_H

#include "base/text.h"

static inline bool json_is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Where the white space at `at` ends. */
size_t json_skip_space(struct text json, size_t at);

/* Where the string that begins with the quote at `at` ends: behind its last quote, or at the end of the text. */
size_t json_string_end(struct text json, size_t at);

/* Where the array or object that begins at `at` ends: behind its last bracket, or at the end of the text. */
size_t json_container_end(struct text json, size_t at);

#endif
