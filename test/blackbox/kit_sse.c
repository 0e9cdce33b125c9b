/* The strict parser of text/event-stream. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kit_sse.h"

/* The fields of an event in the order of the contract. */
enum field { FIELD_ID, FIELD_EVENT, FIELD_DATA, FIELDS };

static bool is_continuation(unsigned char byte)
{
    return (byte & 0xc0) == 0x80;
}

/* The bytes of the character at `next`, of which `left` are there; 0 when it is malformed. */
static size_t character_length(const unsigned char *next, size_t left)
{
    size_t length = next[0] < 0x80 ? 1 : next[0] < 0xe0 ? 2 : next[0] < 0xf0 ? 3 : 4;
    if (next[0] >= 0x80 && (next[0] < 0xc2 || next[0] > 0xf4))
        return 0;
    if (length > left)
        return 0;
    for (size_t i = 1; i < length; i++)
        if (!is_continuation(next[i]))
            return 0;
    bool overlong = (next[0] == 0xe0 && next[1] < 0xa0) || (next[0] == 0xf0 && next[1] < 0x90);
    bool beyond = (next[0] == 0xed && next[1] > 0x9f) || (next[0] == 0xf4 && next[1] > 0x8f);
    return overlong || beyond ? 0 : length;
}

bool kit_is_utf8(const char *bytes, size_t length)
{
    const unsigned char *next = (const unsigned char *)bytes;
    while (length > 0) {
        size_t taken = character_length(next, length);
        if (taken == 0)
            return false;
        next += taken;
        length -= taken;
    }
    return true;
}

void kit_sse_frame_clear(struct kit_sse_frame *frame)
{
    free(frame->event);
    free(frame->data);
    free(frame->comment);
    *frame = (struct kit_sse_frame){0};
}

/* A decimal number without sign or leading zeros that fits; -1 when it is not one. */
static int64_t parse_number(const char *text, size_t length)
{
    int64_t number = 0;
    if (length == 0 || length > 18 || (length > 1 && text[0] == '0'))
        return -1;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        number = number * 10 + (text[i] - '0');
    }
    return number;
}

/* The value of `name: value`, or NULL when the line is not that field; its length in *length. */
static const char *field_value(const char *line, size_t *length, const char *name)
{
    size_t prefix = strlen(name);
    if (*length < prefix + 2 || memcmp(line, name, prefix) != 0 || line[prefix] != ':' ||
        line[prefix + 1] != ' ')
        return NULL;
    *length -= prefix + 2;
    return line + prefix + 2;
}

static const char *take_field(struct kit_sse_frame *frame, enum field field, const char *value, size_t length)
{
    if (field == FIELD_ID) {
        frame->id = parse_number(value, length);
        return frame->id > 0 ? NULL : "an id that is not a whole number above 0";
    }
    if (length == 0 || *value == ' ')
        return "a value that is empty or begins with a blank";
    char *copy = strndup(value, length);
    if (copy == NULL)
        return "out of memory";
    *(field == FIELD_EVENT ? &frame->event : &frame->data) = copy;
    return NULL;
}

/* One line of a frame with several; `seen` counts the fields of before. NULL, or what is wrong. */
static const char *take_event_line(struct kit_sse_frame *frame, int *seen, const char *line, size_t length)
{
    static const char *const names[FIELDS] = {"id", "event", "data"};
    for (int field = 0; field < FIELDS; field++) {
        size_t value_length = length;
        const char *value = field_value(line, &value_length, names[field]);
        if (value == NULL)
            continue;
        if (field < *seen)
            return "a field twice, or fields out of order (is a blank line missing?)";
        if (field > *seen)
            return "a frame without an id, an event or data, or fields out of order";
        *seen = field + 1;
        return take_field(frame, (enum field)field, value, value_length);
    }
    return *line == ':' ? "a comment within a frame"
                        : "a line that is not one of `id: `, `event: `, `data: ` and `: ` alone";
}

/* A frame of a single line that is a comment or retry; false when it is neither. */
static bool take_single_line(struct kit_sse_frame *frame, const char *line, size_t length,
                             const char **problem)
{
    size_t value_length = length;
    const char *value = field_value(line, &value_length, "retry");
    if (value != NULL) {
        frame->kind = KIT_SSE_RETRY;
        frame->retry_ms = parse_number(value, value_length);
        *problem = frame->retry_ms >= 0 ? NULL : "a retry that is not a number";
        return true;
    }
    value_length = length;
    value = field_value(line, &value_length, "");
    if (value == NULL)
        return false;
    frame->kind = KIT_SSE_COMMENT;
    frame->comment = strndup(value, value_length);
    *problem = frame->comment != NULL ? NULL : "out of memory";
    return true;
}

static const char *take_block(struct kit_sse_frame *frame, const char *block, size_t length)
{
    const char *problem = NULL, *end = block + length;
    int seen = 0;
    frame->kind = KIT_SSE_EVENT;
    if (memchr(block, '\n', length) == NULL && take_single_line(frame, block, length, &problem))
        return problem;
    for (const char *line = block; problem == NULL && line < end;) {
        const char *line_end = memchr(line, '\n', (size_t)(end - line));
        if (line_end == NULL)
            line_end = end;
        problem = take_event_line(frame, &seen, line, (size_t)(line_end - line));
        line = line_end + 1;
    }
    if (problem == NULL && seen < FIELDS)
        problem = "a frame without an id, an event or data";
    return problem;
}

ssize_t kit_sse_parse(const char *bytes, size_t length, struct kit_sse_frame *frame, const char **problem)
{
    *frame = (struct kit_sse_frame){0};
    *problem = NULL;
    if (length > 0 && bytes[0] == '\n') {
        *problem = "an empty line where a frame should begin";
        return -1;
    }
    const char *end = length == 0 ? NULL : memmem(bytes, length, "\n\n", 2);
    /* Of a frame that is not whole yet, all that is there is looked at: with CR LF it would never be whole. */
    size_t block_length = end == NULL ? length : (size_t)(end - bytes);
    if (length > 0 && memchr(bytes, '\r', block_length) != NULL)
        *problem = "a CR";
    else if (length > 0 && memchr(bytes, '\0', block_length) != NULL)
        *problem = "a NUL";
    else if (end == NULL)
        return 0;
    else if (!kit_is_utf8(bytes, block_length))
        *problem = "bytes that are not UTF-8";
    else
        *problem = take_block(frame, bytes, block_length);
    if (*problem == NULL)
        return (ssize_t)block_length + 2;
    kit_sse_frame_clear(frame);
    return -1;
}
