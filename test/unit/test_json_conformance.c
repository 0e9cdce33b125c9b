/*
 * Proves that the server's judge of JSON (base/json.h) takes exactly the texts of RFC 8259, and says where each other
 * one goes wrong: a table written from the grammar, by hand; every front of its values; every short text over an
 * alphabet of what JSON is made of; and texts with a byte changed, compared with a judge that follows the grammar
 * letter by letter.
 */
#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "json_grammar_kit.h"
#include "json_rows_kit.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
enum { DEPTH = 1000 };

/* --- judging --- */

/* In memory that ends where the text ends. */
static enum json_result judge(const char *bytes, size_t length, struct json_error *error)
{
    char *copy = malloc(length == 0 ? 1 : length);
    assert_non_null(copy);
    memcpy(copy, bytes, length);
    enum json_result result = json_check((struct text){.bytes = copy, .length = length}, DEPTH, error);
    free(copy);
    return result;
}

static void print_text(const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        print_error(bytes[i] >= ' ' && bytes[i] <= '~' ? "%c" : "\\x%02x", (unsigned char)bytes[i]);
    print_error("\n");
}

/* Returns false, and says so, when the verdict is not the one that is wanted. */
static bool check(const char *bytes, size_t length, size_t line, size_t column)
{
    struct json_error error = {.line = 0};
    enum json_result result = judge(bytes, length, &error);
    if (line == 0 ? result == JSON_VALID
                  : result == JSON_INVALID && error.line == line && error.column == column)
        return true;
    print_error("result %d, line %zu, column %zu (%s) instead of line %zu, column %zu: ", (int)result,
                error.line, error.column, result == JSON_INVALID ? error.reason : "", line, column);
    print_text(bytes, length);
    return false;
}

static size_t offset_of(const char *bytes, size_t length, const struct json_error *error)
{
    size_t at = 0;
    for (size_t line = 1; line < error->line && at < length; at++)
        line += bytes[at] == '\n';
    return at + error->column - 1;
}

/* The place is that of the first bad byte. Of a token that is not whole, and may not stand there either, it is where that
 * breaks. */
static bool is_place(const char *bytes, size_t length, size_t bad_at, size_t place, const char *reason)
{
    bool whole = strncmp(reason, "lexical error", strlen("lexical error")) != 0;
    if (place <= bad_at || bad_at >= length)
        return place == bad_at;
    if (bytes[bad_at] == '"')
        return true;
    for (size_t i = bad_at; i < place; i++)
        if (whole || strchr("-.+abcdefghijklmnopqrstuvwxyzE0123456789", bytes[i]) == NULL)
            return false;
    return true;
}

/* Both judges agree, also about the place, unless a raw byte is what is told first here. */
static bool compare(const char *bytes, size_t length)
{
    size_t bad_at = 0;
    struct json_error error = {.line = 0};
    struct text text = {.bytes = bytes, .length = length};
    if (grammar_judge(bytes, length, DEPTH, &bad_at))
        return check(bytes, length, 0, 0);
    bool raw =
        !text_is_utf8(text) || memchr(bytes, '\f', length) != NULL || memchr(bytes, '\v', length) != NULL;
    bool refused = judge(bytes, length, &error) == JSON_INVALID;
    size_t place = refused ? offset_of(bytes, length, &error) : 0;
    if (refused && (raw || is_place(bytes, length, bad_at, place, error.reason)))
        return true;
    print_error("%s at %zu (%s) instead of %zu: ", refused ? "refused" : "taken", place,
                refused ? error.reason : "", bad_at);
    print_text(bytes, length);
    return false;
}

/* --- the tests --- */

static void the_table_is_judged_as_written(void **state)
{
    (void)state;
    size_t rows = 0, wrong = 0;
    for (size_t i = 0; i < COUNT(tables); i++) {
        for (size_t k = 0; k < tables[i].count; k++, rows++) {
            const struct row *row = &tables[i].rows[k];
            wrong += !check(row->bytes, row->length, row->line, row->column);
        }
    }
    assert_true(rows >= 150);
    assert_int_equal(wrong, 0);
}

/* As an element and as a member: the same verdict as alone, and at the same place, moved. */
static void values_are_judged_alike_wherever_they_stand(void **state)
{
    (void)state;
    static const struct {
        const char *before, *behind;
    } frames[] = {{"[", "]"}, {"{\"a\":", "}"}, {"[0,", ",0]"}, {"{\"a\":{\"b\":[", "]},\"c\":0}"}};
    size_t wrong = 0;
    for (size_t frame = 0; frame < COUNT(frames); frame++) {
        for (size_t i = 0; i < COUNT(tables); i++) {
            for (size_t k = 0; k < tables[i].count; k++) {
                const struct row *row = &tables[i].rows[k];
                char text[200];
                size_t before = strlen(frames[frame].before), behind = strlen(frames[frame].behind);
                assert_true(before + row->length + behind < sizeof text);
                memcpy(text, frames[frame].before, before);
                memcpy(text + before, row->bytes, row->length);
                memcpy(text + before + row->length, frames[frame].behind, behind);
                wrong += !compare(text, before + row->length + behind);
            }
        }
    }
    assert_int_equal(wrong, 0);
}

static void every_front_is_judged_by_the_grammar(void **state)
{
    (void)state;
    static const char long_one[] =
        "\n{ \"a\\u00e9\xc3\xa9\" : [ -1.5e+10, true , false,null, \"\\\"\\\\\\/\\b\\ud83d\\ude00\" ],\r\n"
        "\t\"\" : { \"\xf0\x9f\x98\x80\" : [ [ ], { } , 0 ] } }\n";
    size_t wrong = 0;
    for (size_t length = 0; length < sizeof long_one; length++)
        wrong += !compare(long_one, length);
    for (size_t i = 0; i < COUNT(tables); i++)
        for (size_t k = 0; k < tables[i].count; k++)
            for (size_t length = 0; length <= tables[i].rows[k].length; length++)
                wrong += !compare(tables[i].rows[k].bytes, length);
    assert_int_equal(wrong, 0);
}

static void every_short_text_is_judged_by_the_grammar(void **state)
{
    (void)state;
    static const char alphabet[] = "\"\\u01-+.eE[]{}:,n \n\f"; /* and the NUL at its end */
    enum { LETTERS = sizeof alphabet, LONGEST = 4, SHOWN = 20 };
    size_t wrong = 0;
    for (size_t length = 0, count = 1; length <= LONGEST; length++, count *= LETTERS) {
        for (size_t number = 0; number < count && wrong < SHOWN; number++) {
            char text[LONGEST];
            for (size_t i = 0, rest = number; i < length; i++, rest /= LETTERS)
                text[i] = alphabet[rest % LETTERS];
            wrong += !compare(text, length);
        }
    }
    assert_int_equal(wrong, 0);
}

/* Every byte in every place of a text that has all of the grammar. */
static void every_changed_byte_is_judged_by_the_grammar(void **state)
{
    (void)state;
    static const char source[] = "{\"a\\u0b3F\\n\":[-10.25e-3,true,\"\xc3\xa9\"], \"b\":{\"\":[null,{}]}}\n";
    char text[sizeof source];
    size_t wrong = 0;
    for (size_t at = 0; at < sizeof source - 1; at++) {
        memcpy(text, source, sizeof source);
        for (int byte = 0; byte < 256; byte++) {
            text[at] = (char)byte;
            wrong += !compare(text, sizeof source - 1);
        }
    }
    assert_int_equal(wrong, 0);
}

/* Arrays and objects in turns around a core, so that it lies `depth` deep; unclosed when `open`. */
static size_t nest(char *text, size_t depth, const char *core, bool open)
{
    size_t length = 0, core_length = strlen(core);
    for (size_t i = 0; i < depth; i++) {
        const char *opening = i % 2 == 0 ? "[" : "{\"a\":";
        memcpy(text + length, opening, strlen(opening));
        length += strlen(opening);
    }
    memcpy(text + length, core, core_length);
    length += core_length;
    for (size_t i = depth; i-- > 0 && !open;)
        text[length++] = i % 2 == 0 ? ']' : '}';
    return length;
}

static void a_thousand_levels_are_taken_and_no_more(void **state)
{
    (void)state;
    static char text[(DEPTH + 2) * 8];
    assert_true(check(text, nest(text, DEPTH, "1", false), 0, 0));
    assert_true(check(text, nest(text, DEPTH - 1, "[]", false), 0, 0));
    assert_true(check(text, nest(text, DEPTH - 1, "{}", false), 0, 0));
    assert_true(compare(text, nest(text, DEPTH, "[]", false)));
    assert_true(compare(text, nest(text, DEPTH, "{}", false)));
    assert_true(compare(text, nest(text, DEPTH + 1, "1", false)));
    assert_true(compare(text, nest(text, DEPTH + 1, "", true)));
    assert_true(compare(text, nest(text, DEPTH, "", true)));
    assert_true(compare(text, nest(text, DEPTH, "[[", true)));
    /* Depth is how deep, not how many. */
    assert_true(compare(text, nest(text, DEPTH - 2, "[[],{},[],{}]", false)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_is_judged_as_written),
        cmocka_unit_test(values_are_judged_alike_wherever_they_stand),
        cmocka_unit_test(every_front_is_judged_by_the_grammar),
        cmocka_unit_test(every_short_text_is_judged_by_the_grammar),
        cmocka_unit_test(every_changed_byte_is_judged_by_the_grammar),
        cmocka_unit_test(a_thousand_levels_are_taken_and_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
