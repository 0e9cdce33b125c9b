#include "fuzz.h"

#include <string.h>

struct model {
    struct text rest;
    size_t depth_left;
};

static int peek(const struct model *model)
{
    return model->rest.length == 0 ? -1 : (unsigned char)model->rest.bytes[0];
}

static void skip(struct model *model, size_t count)
{
    model->rest.bytes += count;
    model->rest.length -= count;
}

static bool take(struct model *model, int byte)
{
    if (peek(model) != byte)
        return false;
    skip(model, 1);
    return true;
}

static void take_space(struct model *model)
{
    while (peek(model) == ' ' || peek(model) == '\t' || peek(model) == '\n' || peek(model) == '\r')
        skip(model, 1);
}

static bool take_word(struct model *model, const char *word)
{
    size_t length = strlen(word);
    if (model->rest.length < length || memcmp(model->rest.bytes, word, length) != 0)
        return false;
    skip(model, length);
    return true;
}

static bool take_digits(struct model *model)
{
    size_t count = 0;
    for (; peek(model) >= '0' && peek(model) <= '9'; count++)
        skip(model, 1);
    return count > 0;
}

static bool take_number(struct model *model)
{
    take(model, '-');
    if (!take(model, '0') && !take_digits(model))
        return false;
    if (take(model, '.') && !take_digits(model))
        return false;
    if (take(model, 'e') || take(model, 'E')) {
        if (!take(model, '+'))
            take(model, '-');
        return take_digits(model);
    }
    return true;
}

static bool take_escape(struct model *model)
{
    if (take(model, 'u')) {
        for (int i = 0; i < 4; i++) {
            if (model->rest.length == 0 || text_hex_value(model->rest.bytes[0]) < 0)
                return false;
            skip(model, 1);
        }
        return true;
    }
    if (peek(model) <= 0 || strchr("\"\\/bfnrt", peek(model)) == NULL)
        return false;
    skip(model, 1);
    return true;
}

static bool take_string(struct model *model)
{
    if (!take(model, '"'))
        return false;
    while (!take(model, '"')) {
        if (peek(model) < 0x20)
            return false;
        if (take(model, '\\')) {
            if (!take_escape(model))
                return false;
        } else {
            skip(model, 1);
        }
    }
    return true;
}

static bool take_value(struct model *model);

static bool take_member(struct model *model, int end)
{
    if (end == '}') {
        take_space(model);
        if (!take_string(model))
            return false;
        take_space(model);
        if (!take(model, ':'))
            return false;
    }
    return take_value(model);
}

static bool take_members(struct model *model, int end)
{
    if (model->depth_left == 0)
        return false;
    model->depth_left--;
    take_space(model);
    if (!take(model, end)) {
        do {
            if (!take_member(model, end))
                return false;
        } while (take(model, ','));
        if (!take(model, end))
            return false;
    }
    model->depth_left++;
    return true;
}

/* With the white space around it. */
static bool take_value(struct model *model)
{
    bool taken;
    take_space(model);
    switch (peek(model)) {
    case '{':
    case '[': {
        int end = peek(model) == '{' ? '}' : ']';
        skip(model, 1);
        taken = take_members(model, end);
        break;
    }
    case '"':
        taken = take_string(model);
        break;
    case 't':
        taken = take_word(model, "true");
        break;
    case 'f':
        taken = take_word(model, "false");
        break;
    case 'n':
        taken = take_word(model, "null");
        break;
    default:
        taken = take_number(model);
        break;
    }
    take_space(model);
    return taken;
}

bool model_json_is_valid(struct text text, size_t depth_limit)
{
    struct model model = {.rest = text, .depth_left = depth_limit};
    return text_is_utf8(text) && take_value(&model) && model.rest.length == 0;
}

bool model_json_is_number(struct text text)
{
    struct model model = {.rest = text};
    return take_number(&model) && model.rest.length == 0;
}
