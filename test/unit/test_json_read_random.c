/*
 * Proves on random values that reading JSON agrees with how they were made; and that no text, valid or not, makes a
 * reader go beyond its end: texts lie at the end of blocks of their size, where AddressSanitizer sees a step further.
 */
#include "json_read_kit.h"

struct maker {
    uint64_t random;
    struct buffer compact, spaced;
};

static unsigned draw(struct maker *maker, unsigned below)
{
    /* xorshift64 (Marsaglia 2003): repeatable, and good enough to shuffle. */
    maker->random ^= maker->random << 13;
    maker->random ^= maker->random >> 7;
    maker->random ^= maker->random << 17;
    return (unsigned)(maker->random >> 33) % below;
}

static void make_space(struct maker *maker)
{
    static const char *const spaces[] = {"", "", "", " ", "\n", "\t", "\r\n", " \t \n"};
    buffer_append_text(&maker->spaced, spaces[draw(maker, COUNT(spaces))]);
}

static void make_token(struct maker *maker, const char *token)
{
    make_space(maker);
    buffer_append_text(&maker->compact, token);
    buffer_append_text(&maker->spaced, token);
    make_space(maker);
}

static void make_string(struct maker *maker)
{
    static const char *const pieces[] = {
        " ",   "a",   "\\\"",     "\\\\",           "[",  "}", ",", ":", "\\u0041",
        "\\n", "\\/", "\xc3\xa4", "\\ud83d\\ude00", "  ", "]", "{", "b"};
    char string[128] = "\"";
    for (unsigned left = draw(maker, 8); left > 0; left--)
        strcat(string, pieces[draw(maker, COUNT(pieces))]);
    strcat(string, "\"");
    make_token(maker, string);
}

static void make_value(struct maker *maker, unsigned depth)
{
    static const char *const scalars[] = {"null", "true", "false", "0",
                                          "-1",   "1.50", "1e9",   "12345678901234567890"};
    unsigned kind = draw(maker, depth == 0 ? 2 : 4);
    if (kind == 0) {
        make_token(maker, scalars[draw(maker, COUNT(scalars))]);
        return;
    }
    if (kind == 1) {
        make_string(maker);
        return;
    }
    make_token(maker, kind == 2 ? "[" : "{");
    for (unsigned i = 0, count = draw(maker, 5); i < count; i++) {
        if (i > 0)
            make_token(maker, ",");
        if (kind == 3) {
            make_string(maker);
            make_token(maker, ":");
        }
        make_value(maker, depth - 1);
    }
    make_token(maker, kind == 2 ? "]" : "}");
}

/* Writes the value again from what the walks say of it. */
static void rewrite(struct buffer *copy, struct text value)
{
    struct json_walk walk;
    struct text name, inner;
    size_t count = 0;
    enum json_type type = json_type_of(value);
    json_walk_begin(&walk, value);
    if (type == JSON_ARRAY) {
        buffer_append_text(copy, "[");
        for (; json_walk_element(&walk, &inner); count++) {
            buffer_append_text(copy, count > 0 ? "," : "");
            rewrite(copy, inner);
        }
        buffer_append_text(copy, "]");
    } else if (type == JSON_OBJECT) {
        buffer_append_text(copy, "{");
        for (; json_walk_member(&walk, &name, &inner); count++) {
            buffer_append_text(copy, count > 0 ? "," : "");
            buffer_append(copy, name.bytes, name.length);
            buffer_append_text(copy, ":");
            rewrite(copy, inner);
        }
        buffer_append_text(copy, "}");
    } else {
        buffer_append(copy, value.bytes, value.length);
    }
}

static void random_values_are_read_as_they_were_made(void **state)
{
    (void)state;
    struct maker maker = {.random = UINT64_C(0x9E3779B97F4A7C15)};
    struct buffer copy = BUFFER_EMPTY;
    struct json_error error;
    for (int round = 0; round < 20000; round++) {
        buffer_clear(&maker.compact);
        buffer_clear(&maker.spaced);
        make_value(&maker, draw(&maker, 6));
        struct text compact = {maker.compact.bytes, maker.compact.length};
        struct text spaced = {maker.spaced.bytes, maker.spaced.length};
        assert_int_equal(json_check(spaced, 10, &error), JSON_VALID);
        kit_check_compact(spaced, compact);
        kit_check_compact(compact, compact);

        enum json_type type = json_type_of(spaced);
        assert_int_equal(type, json_type_of(compact));
        if (type == JSON_ARRAY || type == JSON_OBJECT) {
            buffer_clear(&copy);
            rewrite(&copy, spaced);
            kit_assert_text((struct text){copy.bytes, copy.length}, compact);
        }
    }
    buffer_free(&maker.compact);
    buffer_free(&maker.spaced);
    buffer_free(&copy);
}

/* Strings written by json_append_string decode to what they were written from. */
static void random_strings_read_back_as_they_were(void **state)
{
    (void)state;
    struct maker maker = {.random = 77};
    struct buffer json = BUFFER_EMPTY, storage = BUFFER_EMPTY;
    for (int round = 0; round < 20000; round++) {
        char bytes[64];
        size_t length = 0;
        for (unsigned left = draw(&maker, 15); left > 0; left--) {
            unsigned code = draw(&maker, 4) == 0 ? draw(&maker, 0xd800) : draw(&maker, 0x80);
            length += kit_encode(code, bytes + length);
        }
        struct text decoded;
        buffer_clear(&json);
        buffer_clear(&storage);
        json_append_string(&json, (struct text){bytes, length});
        assert_int_equal(json_string((struct text){json.bytes, json.length}, &storage, &decoded),
                         JSON_STRING_OK);
        kit_assert_text(decoded, (struct text){bytes, length});
    }
    buffer_free(&json);
    buffer_free(&storage);
}

/* ---- texts that nobody checked ---- */

static bool lies_within(struct text inner, struct text outer)
{
    return inner.length == 0 ||
           (inner.bytes >= outer.bytes && inner.bytes + inner.length <= outer.bytes + outer.length);
}

/* Calls everything with the text, which need not be JSON: what comes lies within it, and there is an end. */
static void read_all(struct text source)
{
    static const struct text names[] = {BYTES("a"), BYTES("\xc3\xa4"), BYTES("")};
    struct text text = kit_copy(source), values[COUNT(names)], name, value, decoded;
    struct buffer buffer = BUFFER_EMPTY;
    struct json_walk walk;
    json_type_of(text);
    size_t count = 0;
    for (json_walk_begin(&walk, text); json_walk_element(&walk, &value); count++) {
        assert_true(lies_within(value, text));
        assert_true(count <= text.length);
    }
    count = 0;
    for (json_walk_begin(&walk, text); json_walk_member(&walk, &name, &value); count++) {
        assert_true(lies_within(name, text));
        assert_true(lies_within(value, text));
        assert_true(count <= text.length);
        buffer_clear(&buffer);
        json_string(name, &buffer, &decoded);
        assert_true(buffer.length <= name.length);
    }
    json_members(text, names, values, COUNT(names));
    for (size_t i = 0; i < COUNT(names); i++)
        assert_true(lies_within(values[i], text));
    buffer_clear(&buffer);
    json_string(text, &buffer, &decoded);
    assert_true(lies_within(decoded, text) ||
                lies_within(decoded, (struct text){buffer.bytes, buffer.length}));
    buffer_clear(&buffer);
    json_append_compact(&buffer, text);
    assert_true(buffer.length <= text.length);
    buffer_free(&buffer);
    kit_free(text);
}

static void cut_texts_are_not_overread(void **state)
{
    (void)state;
    static const char whole[] = " {\"\\u00e4\":[1,{\"b\":\"\\\"\"},-2.5e+3],\"a\\ud83d\\ude00\" : \"\\\\\","
                                "\"a\":{\"x\":[[],{}]},\"\\n\":true , \"\":null } ";
    for (size_t from = 0; from < sizeof whole; from++)
        for (size_t to = from; to < sizeof whole; to++)
            read_all((struct text){whole + from, to - from});
    read_all((struct text){0});
}

static void any_bytes_are_read_to_their_end(void **state)
{
    (void)state;
    static const char alphabet[] = "\"\"\"\\\\[]{},,::  \n1atn-u0d8c\xc3\xa4\0";
    struct maker maker = {.random = 4711};
    for (int round = 0; round < 100000; round++) {
        char bytes[24];
        size_t length = draw(&maker, sizeof bytes + 1);
        for (size_t i = 0; i < length; i++)
            bytes[i] = alphabet[draw(&maker, sizeof alphabet - 1)];
        if (length > 0 && draw(&maker, 2) == 0)
            bytes[0] = "[{\""[draw(&maker, 3)];
        read_all((struct text){bytes, length});
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_values_are_read_as_they_were_made),
        cmocka_unit_test(random_strings_read_back_as_they_were),
        cmocka_unit_test(cut_texts_are_not_overread),
        cmocka_unit_test(any_bytes_are_read_to_their_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
