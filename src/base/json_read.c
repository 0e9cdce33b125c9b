#include "base/json_read.h"

#include "base/json_internal.h"

#include <stdint.h>
#include <string.h>

enum {
    UNIT_LENGTH = sizeof "\\u0000" - 1,
    LEAST_HIGH_SURROGATE = 0xD800,
    LEAST_LOW_SURROGATE = 0xDC00,
    MOST_LOW_SURROGATE = 0xDFFF,
    MOST_UTF8_BYTES = 4,
};

static struct text piece(struct text text, size_t from, size_t to)
{
    if (text.length == 0) /* and then there may be no bytes to point to */
        return text;
    return (struct text){.bytes = text.bytes + from, .length = to - from};
}

size_t json_skip_space(struct text json, size_t at)
{
    while (at < json.length && json_is_space(json.bytes[at]))
        at++;
    return at;
}

size_t json_string_end(struct text json, size_t at)
{
    for (size_t from = at + 1; from < json.length;) {
        const char *quote = memchr(json.bytes + from, '"', json.length - from);
        if (quote == NULL)
            break;
        size_t end = (size_t)(quote - json.bytes);
        size_t backslashes = 0;
        while (backslashes < end - from && json.bytes[end - 1 - backslashes] == '\\')
            backslashes++;
        if (backslashes % 2 == 0)
            return end + 1;
        from = end + 1;
    }
    return json.length;
}

enum json_type json_type_of(struct text value)
{
    size_t at = json_skip_space(value, 0);
    if (at == value.length)
        return JSON_NULL;
    switch (value.bytes[at]) {
    case '"':
        return JSON_STRING;
    case '[':
        return JSON_ARRAY;
    case '{':
        return JSON_OBJECT;
    case 't':
    case 'f':
        return JSON_BOOLEAN;
    case 'n':
        return JSON_NULL;
    default:
        return JSON_NUMBER;
    }
}

bool json_is_integer(struct text value)
{
    size_t sign = value.length > 0 && value.bytes[0] == '-' ? 1 : 0;
    for (size_t i = sign; i < value.length; i++) {
        if (value.bytes[i] < '0' || value.bytes[i] > '9')
            return false;
    }
    return value.length > sign;
}

/* ---- walking ---- */

static bool is_closing(char c)
{
    return c == ']' || c == '}';
}

static bool is_at(struct text text, size_t at, char wanted)
{
    return at < text.length && text.bytes[at] == wanted;
}

/* The depth is counted, not followed: no stack grows with it. */
size_t json_container_end(struct text json, size_t at)
{
    size_t depth = 0;
    while (at < json.length) {
        char c = json.bytes[at];
        if (c == '"') {
            at = json_string_end(json, at);
            continue;
        }
        at++;
        if (c == '[' || c == '{')
            depth++;
        else if (is_closing(c) && --depth == 0)
            break;
    }
    return at;
}

static size_t value_end(struct text json, size_t at)
{
    if (is_at(json, at, '"'))
        return json_string_end(json, at);
    if (is_at(json, at, '[') || is_at(json, at, '{'))
        return json_container_end(json, at);
    while (at < json.length && json.bytes[at] != ',' && !is_closing(json.bytes[at]) &&
           !json_is_space(json.bytes[at]))
        at++;
    return at;
}

void json_walk_begin(struct json_walk *walk, struct text array_or_object)
{
    size_t at = json_skip_space(array_or_object, 0);
    size_t from = array_or_object.length;
    if (is_at(array_or_object, at, '[') || is_at(array_or_object, at, '{'))
        from = at + 1;
    walk->rest = piece(array_or_object, from, array_or_object.length);
}

/* Takes the value at `at` of the rest, and the comma behind it. */
static struct text cut_value(struct json_walk *walk, size_t at)
{
    size_t end = value_end(walk->rest, at);
    struct text value = piece(walk->rest, at, end);
    size_t next = json_skip_space(walk->rest, end);
    if (is_at(walk->rest, next, ','))
        next++;
    walk->rest = piece(walk->rest, next, walk->rest.length);
    return value;
}

bool json_walk_element(struct json_walk *walk, struct text *value)
{
    size_t at = json_skip_space(walk->rest, 0);
    if (at == walk->rest.length || is_closing(walk->rest.bytes[at]))
        return false;
    *value = cut_value(walk, at);
    return true;
}

bool json_walk_member(struct json_walk *walk, struct text *name, struct text *value)
{
    size_t at = json_skip_space(walk->rest, 0);
    if (!is_at(walk->rest, at, '"'))
        return false;
    size_t end = json_string_end(walk->rest, at);
    size_t colon = json_skip_space(walk->rest, end);
    if (!is_at(walk->rest, colon, ':'))
        return false;
    *name = piece(walk->rest, at, end);
    *value = cut_value(walk, json_skip_space(walk->rest, colon + 1));
    return true;
}

/* ---- strings ---- */

/* What stands between the quotes. */
static struct text string_content(struct text string)
{
    size_t from = json_skip_space(string, 0);
    size_t end = string.length;
    while (end > from && json_is_space(string.bytes[end - 1]))
        end--;
    if (end - from < 2)
        return piece(string, from, from);
    return piece(string, from + 1, end - 1);
}

static bool has_escapes(struct text content)
{
    return content.length > 0 && memchr(content.bytes, '\\', content.length) != NULL;
}

/* The UTF-16 unit that the escape (\uXXXX) at `at` stands for, -1 when there is none. */
static int32_t read_unit(struct text content, size_t at)
{
    if (content.length - at < UNIT_LENGTH || content.bytes[at] != '\\' || content.bytes[at + 1] != 'u')
        return -1;
    int32_t unit = 0;
    for (size_t i = at + 2; i < at + UNIT_LENGTH; i++) {
        int digit = text_hex_value(content.bytes[i]);
        if (digit < 0)
            return -1;
        unit = unit * 16 + digit;
    }
    return unit;
}

static size_t encode_utf8(int32_t code, char bytes[static MOST_UTF8_BYTES])
{
    static const unsigned char leads[] = {0x00, 0x00, 0xC0, 0xE0, 0xF0};
    size_t length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--, code >>= 6)
        bytes[i] = (char)(0x80 | (code & 0x3F));
    bytes[0] = (char)(leads[length] | code);
    return length;
}

/* Decodes a \uXXXX, or a pair of them. Returns the number of bytes, 0 when there is no such character. */
static size_t decode_units(struct text content, size_t *at, char bytes[static MOST_UTF8_BYTES])
{
    int32_t code = read_unit(content, *at);
    if (code < 0)
        return 0;
    *at += UNIT_LENGTH;
    if (code < LEAST_HIGH_SURROGATE || code > MOST_LOW_SURROGATE)
        return encode_utf8(code, bytes);
    int32_t low = read_unit(content, *at);
    if (code >= LEAST_LOW_SURROGATE || low < LEAST_LOW_SURROGATE || low > MOST_LOW_SURROGATE)
        return 0;
    *at += UNIT_LENGTH;
    code = 0x10000 + ((code - LEAST_HIGH_SURROGATE) << 10) + (low - LEAST_LOW_SURROGATE);
    return encode_utf8(code, bytes);
}

/* Decodes the escape whose backslash stands at `*at`. Returns the number of bytes, 0 when it is a bad one. */
static size_t decode_escape(struct text content, size_t *at, char bytes[static MOST_UTF8_BYTES])
{
    static const char letters[] = "bfnrt", meanings[] = "\b\f\n\r\t";
    if (content.length - *at < 2)
        return 0;
    char escaped = content.bytes[*at + 1];
    if (escaped == 'u')
        return decode_units(content, at, bytes);
    const char *letter = memchr(letters, escaped, sizeof letters - 1);
    bytes[0] = escaped;
    if (letter != NULL)
        bytes[0] = meanings[letter - letters];
    *at += 2;
    return 1;
}

enum json_string_result json_string(struct text string, struct buffer *storage, struct text *decoded)
{
    struct text content = string_content(string);
    *decoded = content;
    if (!has_escapes(content))
        return JSON_STRING_OK;
    /* No escape is shorter than what it stands for. */
    if (buffer_reserve(storage, content.length) != 0)
        return JSON_STRING_NO_MEMORY;
    char *start = storage->bytes + storage->length;
    char *end = start;
    for (size_t at = 0; at < content.length;) {
        const char *escape = memchr(content.bytes + at, '\\', content.length - at);
        size_t plain = escape == NULL ? content.length - at : (size_t)(escape - content.bytes) - at;
        memcpy(end, content.bytes + at, plain);
        end += plain;
        at += plain;
        if (escape == NULL)
            break;
        char bytes[MOST_UTF8_BYTES];
        size_t length = decode_escape(content, &at, bytes);
        if (length == 0)
            return JSON_STRING_BAD;
        memcpy(end, bytes, length);
        end += length;
    }
    *decoded = (struct text){.bytes = start, .length = (size_t)(end - start)};
    storage->length += decoded->length;
    return JSON_STRING_OK;
}

/* Compares while it decodes: that needs no memory. */
static bool escaped_equals(struct text content, struct text name)
{
    size_t matched = 0;
    for (size_t at = 0; at < content.length;) {
        char bytes[MOST_UTF8_BYTES] = {content.bytes[at]};
        size_t length = 1;
        if (bytes[0] == '\\')
            length = decode_escape(content, &at, bytes);
        else
            at++;
        if (length == 0 || name.length - matched < length || memcmp(name.bytes + matched, bytes, length) != 0)
            return false;
        matched += length;
    }
    return matched == name.length;
}

bool json_name_is(struct text name, struct text wanted)
{
    struct text content = string_content(name);
    return has_escapes(content) ? escaped_equals(content, wanted) : text_equals(content, wanted);
}

void json_members(struct text object, const struct text *names, struct text *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        values[i] = (struct text){.bytes = NULL};
    struct json_walk walk;
    struct text name, value;
    json_walk_begin(&walk, object);
    while (json_walk_member(&walk, &name, &value)) {
        struct text content = string_content(name);
        bool escaped = has_escapes(content);
        for (size_t i = 0; i < count; i++) {
            if (escaped ? escaped_equals(content, names[i]) : text_equals(content, names[i]))
                values[i] = value;
        }
    }
}

/* ---- compact ---- */

/* Where the next white space between tokens begins. */
static size_t next_space(struct text json, size_t at)
{
    while (at < json.length && !json_is_space(json.bytes[at]))
        at = json.bytes[at] == '"' ? json_string_end(json, at) : at + 1;
    return at;
}

void json_append_compact(struct buffer *buffer, struct text value)
{
    /* All the room at once: a buffer that fails keeps what it had. */
    if (value.length == 0 || buffer_reserve(buffer, value.length) != 0)
        return;
    for (size_t at = 0; at < value.length;) {
        size_t end = next_space(value, at);
        buffer_append(buffer, value.bytes + at, end - at);
        at = json_skip_space(value, end);
    }
}
