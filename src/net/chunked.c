#include "net/chunked.h"

#include "base/text.h"
#include "net/limits.h"
#include "net/request.h"

#include <stdbool.h>
#include <string.h>

/* A size of 15 hexadecimal digits can't overflow, and no limit of ours is near it. */
enum { MOST_SIZE_DIGITS = 15, LINE_BREAK_BYTES = 4 };

static bool is_text(char c)
{
    return ((unsigned char)c >= 0x20 && c != 0x7F) || c == '\t';
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static int step_size(struct chunked *chunked, char c)
{
    int digit = text_hex_value(c);
    if (digit >= 0) {
        if (++chunked->digits > MOST_SIZE_DIGITS)
            return -1;
        chunked->left = chunked->left * 16 + (uint64_t)digit;
        return 0;
    }
    if (chunked->digits == 0)
        return -1;
    if (c == '\r')
        chunked->state = CHUNKED_SIZE_END;
    else if (c == ';')
        chunked->state = CHUNKED_EXTENSION;
    else if (is_blank(c))
        chunked->state = CHUNKED_BLANK;
    else
        return -1;
    return 0;
}

static int expect(struct chunked *chunked, char c, char expected, enum chunked_state next)
{
    if (c != expected)
        return -1;
    chunked->state = next;
    return 0;
}

/* A line of text up to its CR. */
static int step_line(struct chunked *chunked, char c, enum chunked_state at_end)
{
    if (c == '\r')
        chunked->state = at_end;
    else if (!is_text(c))
        return -1;
    return 0;
}

/* What may follow a name or a value: white space, the next extension, the end of the line. */
static int step_behind(struct chunked *chunked, char c, enum chunked_state blank)
{
    if (c == ';')
        chunked->state = CHUNKED_EXTENSION;
    else if (is_blank(c))
        chunked->state = blank;
    else if (c == '\r' && chunked->state != blank)
        chunked->state = CHUNKED_SIZE_END;
    else
        return -1;
    return 0;
}

/* White space, or the first byte of a token. */
static int step_start(struct chunked *chunked, char c, enum chunked_state next)
{
    if (is_blank(c))
        return 0;
    chunked->state = next;
    return request_is_token_byte(c) ? 0 : -1;
}

static int step_quoted(struct chunked *chunked, char c)
{
    if (c == '"')
        chunked->state = CHUNKED_EXTENSION_END;
    else if (c == '\\')
        chunked->state = CHUNKED_EXTENSION_ESCAPED;
    else if (!is_text(c))
        return -1;
    return 0;
}

/* *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ) */
static int step_extension(struct chunked *chunked, char c)
{
    switch (chunked->state) {
    case CHUNKED_EXTENSION:
        return step_start(chunked, c, CHUNKED_EXTENSION_NAME);
    case CHUNKED_EXTENSION_NAME:
        if (request_is_token_byte(c))
            return 0;
        /* fall through */
    case CHUNKED_EXTENSION_BLANK:
        if (c != '=')
            return step_behind(chunked, c, CHUNKED_EXTENSION_BLANK);
        chunked->state = CHUNKED_EXTENSION_VALUE;
        return 0;
    case CHUNKED_EXTENSION_VALUE:
        if (c != '"')
            return step_start(chunked, c, CHUNKED_EXTENSION_TOKEN);
        chunked->state = CHUNKED_EXTENSION_QUOTED;
        return 0;
    case CHUNKED_EXTENSION_TOKEN:
        return request_is_token_byte(c) ? 0 : step_behind(chunked, c, CHUNKED_BLANK);
    case CHUNKED_EXTENSION_QUOTED:
        return step_quoted(chunked, c);
    case CHUNKED_EXTENSION_ESCAPED:
        chunked->state = CHUNKED_EXTENSION_QUOTED;
        return is_text(c) ? 0 : -1;
    default: /* CHUNKED_BLANK, CHUNKED_EXTENSION_END */
        return step_behind(chunked, c, CHUNKED_BLANK);
    }
}

/* Moves by one byte that is not data. Returns 0, or -1 when it does not belong there. */
static int step(struct chunked *chunked, char c)
{
    switch (chunked->state) {
    case CHUNKED_SIZE:
        return step_size(chunked, c);
    case CHUNKED_SIZE_END:
        return expect(chunked, c, '\n', chunked->left == 0 ? CHUNKED_LINE : CHUNKED_DATA);
    case CHUNKED_DATA_CR:
        return expect(chunked, c, '\r', CHUNKED_DATA_END);
    case CHUNKED_DATA_END:
        /* Data pays for its size line and line breaks; what is limited are extensions and trailers. */
        chunked->extra -= chunked->digits + LINE_BREAK_BYTES;
        chunked->digits = 0;
        return expect(chunked, c, '\n', CHUNKED_SIZE);
    case CHUNKED_LINE:
        chunked->state = c == '\r' ? CHUNKED_FINAL_END : CHUNKED_NAME;
        return c == '\r' || request_is_token_byte(c) ? 0 : -1;
    case CHUNKED_NAME:
        if (c != ':')
            return request_is_token_byte(c) ? 0 : -1;
        chunked->state = CHUNKED_TRAILER;
        return 0;
    case CHUNKED_TRAILER:
        return step_line(chunked, c, CHUNKED_TRAILER_END);
    case CHUNKED_TRAILER_END:
        return expect(chunked, c, '\n', CHUNKED_LINE);
    case CHUNKED_FINAL_END:
        return expect(chunked, c, '\n', CHUNKED_DONE);
    case CHUNKED_DATA:
    case CHUNKED_DONE:
        return -1;
    default:
        return step_extension(chunked, c);
    }
}

/* The same, and judges what it came to. */
static enum chunked_result take(struct chunked *chunked, char c)
{
    if (++chunked->extra > HTTP_CHUNK_EXTRA_BYTES && chunked->state != CHUNKED_SIZE)
        return CHUNKED_RESULT_EXTRA;
    if (step(chunked, c) != 0)
        return CHUNKED_RESULT_BAD;
    if (chunked->state == CHUNKED_DATA) {
        if (chunked->left > chunked->room)
            return CHUNKED_RESULT_LARGE;
        chunked->room -= chunked->left;
    }
    return chunked->state == CHUNKED_DONE ? CHUNKED_RESULT_DONE : CHUNKED_RESULT_MORE;
}

enum chunked_result chunked_decode(struct chunked *chunked, const char *input, size_t input_length,
                                   size_t *consumed, char *output, size_t *written)
{
    enum chunked_result result = CHUNKED_RESULT_MORE;
    size_t at = 0;
    *written = 0;
    while (at < input_length && result == CHUNKED_RESULT_MORE) {
        if (chunked->state == CHUNKED_DATA) {
            size_t length = input_length - at;
            if (length > chunked->left)
                length = (size_t)chunked->left;
            memmove(output + *written, input + at, length);
            *written += length;
            at += length;
            chunked->left -= length;
            if (chunked->left == 0)
                chunked->state = CHUNKED_DATA_CR;
        } else {
            result = take(chunked, input[at++]);
        }
    }
    *consumed = at;
    return result;
}
