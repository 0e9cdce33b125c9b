#include "net/media_type.h"

#include <stdbool.h>

/* The text up to a semicolon that stands in no quotes. */
static struct text cut_parameter(struct text *rest)
{
    struct text front = *rest;
    bool quoted = false;
    for (size_t i = 0; i < rest->length; i++) {
        char c = rest->bytes[i];
        if (c == '"')
            quoted = !quoted;
        else if (c == '\\' && quoted)
            i++;
        else if (c == ';' && !quoted) {
            front.length = i;
            rest->bytes += i + 1;
            rest->length -= i + 1;
            return front;
        }
    }
    rest->length = 0;
    return front;
}

static struct text without_quotes(struct text text)
{
    if (text.length < 2 || text.bytes[0] != '"' || text.bytes[text.length - 1] != '"')
        return text;
    return (struct text){.bytes = text.bytes + 1, .length = text.length - 2};
}

struct media_type media_type_parse(struct text value)
{
    struct media_type media_type = {.type = {.length = 0}};
    if (value.length == 0)
        return media_type;
    media_type.type = text_trim(cut_parameter(&value));
    while (value.length > 0) {
        struct text parameter = cut_parameter(&value);
        struct text name = text_trim(text_cut(&parameter, '='));
        if (media_type.charset.length == 0 && text_equals_ignoring_case(name, TEXT("charset")))
            media_type.charset = without_quotes(text_trim(parameter));
    }
    return media_type;
}
