#include "net/query.h"

bool query_is_valid(struct text query)
{
    for (size_t i = 0; i < query.length; i++) {
        if (query.bytes[i] != '%')
            continue;
        if (query.length - i < 3 || text_hex_value(query.bytes[i + 1]) < 0 ||
            text_hex_value(query.bytes[i + 2]) < 0)
            return false;
    }
    return true;
}

/* The next decoded byte of `text`, which is not empty. */
static char decode_next(struct text *text)
{
    size_t used = 1;
    char c = text->bytes[0];
    if (c == '+') {
        c = ' ';
    } else if (c == '%') {
        c = (char)(text_hex_value(text->bytes[1]) * 16 + text_hex_value(text->bytes[2]));
        used = 3;
    }
    text->bytes += used;
    text->length -= used;
    return c;
}

int query_decode_segment(struct text segment, char *value, size_t capacity, size_t *length)
{
    for (*length = 0; segment.length > 0; (*length)++) {
        if (*length == capacity)
            return -1;
        bool plus = segment.bytes[0] == '+';
        value[*length] = decode_next(&segment);
        if (plus)
            value[*length] = '+';
    }
    return 0;
}

static bool decodes_to(struct text encoded, const char *name)
{
    for (; encoded.length > 0 && *name != '\0'; name++) {
        if (decode_next(&encoded) != *name)
            return false;
    }
    return encoded.length == 0 && *name == '\0';
}

enum query_result query_find(struct text query, const char *name, char *value, size_t capacity,
                             size_t *length)
{
    while (query.length > 0) {
        struct text encoded = text_cut(&query, '&');
        if (!decodes_to(text_cut(&encoded, '='), name))
            continue;
        for (*length = 0; encoded.length > 0; (*length)++) {
            if (*length == capacity)
                return QUERY_TOO_LONG;
            value[*length] = decode_next(&encoded);
        }
        return QUERY_FOUND;
    }
    return QUERY_MISSING;
}
