/* What the tests of reading JSON share: texts that end where their memory ends, and what they are to hold. */
#ifndef JSON_READ_KIT_H
#define JSON_READ_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/json_read.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define BYTES(literal)                                                                                       \
    {                                                                                                        \
        .bytes = (literal), .length = sizeof(literal) - 1                                                    \
    }

static inline void kit_assert_text(struct text text, struct text wanted)
{
    if (!text_equals(text, wanted))
        fail_msg("\"%.*s\" instead of \"%.*s\"", (int)text.length, text.bytes, (int)wanted.length,
                 wanted.bytes);
}

/* A copy that ends where its block ends, with a byte in front that is nobody's, so that an empty one does too. */
static inline struct text kit_copy(struct text text)
{
    char *block = malloc(text.length + 1);
    assert_non_null(block);
    if (text.length > 0)
        memcpy(block + 1, text.bytes, text.length);
    return (struct text){block + 1, text.length};
}

static inline void kit_free(struct text copy)
{
    free((char *)(uintptr_t)copy.bytes - 1);
}

/* Writes a character as UTF-8; returns the length. */
static inline size_t kit_encode(unsigned code, char *bytes)
{
    size_t length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char leads[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = length; i-- > 1; code >>= 6)
        bytes[i] = (char)(0x80 | (code & 0x3f));
    bytes[0] = (char)(leads[length] | code);
    return length;
}

static inline void kit_check_compact(struct text value, struct text wanted)
{
    struct buffer buffer = BUFFER_EMPTY;
    struct text copy = kit_copy(value);
    buffer_append_text(&buffer, "before");
    json_append_compact(&buffer, copy);
    assert_false(buffer.failed);
    kit_assert_text((struct text){buffer.bytes + 6, buffer.length - 6}, wanted);
    assert_memory_equal(buffer.bytes, "before", 6);
    kit_free(copy);
    buffer_free(&buffer);
}

#endif
