/*
 * Proves that JSON is judged by RFC 8259 and nothing looser: values, white space, escapes, UTF-8 and depth,
 * with the place of the fault; that want of memory is told from a fault; and that strings are written so that
 * they read back as they were.
 */
#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define DEPTH        1000
#define BYTES(literal)                                                                                       \
    {                                                                                                        \
        .bytes = (literal), .length = sizeof(literal) - 1                                                    \
    }

/* malloc and free are ours, so that memory can run out; the sanitizers bring their own. */
#ifndef __has_feature
#define __has_feature(feature) 0
#endif
#if !defined(__SANITIZE_ADDRESS__) && !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
#define OWN_MALLOC
#endif

#ifdef OWN_MALLOC
void *__libc_malloc(size_t size);
void __libc_free(void *memory);

static bool counting;    /* the following hold while this is set */
static size_t remaining; /* allocations that still succeed */
static long held;        /* allocations not freed */

void *malloc(size_t size)
{
    if (counting && remaining-- == 0) {
        remaining = 0;
        return NULL;
    }
    held += counting;
    return __libc_malloc(size);
}

void free(void *memory)
{
    held -= counting && memory != NULL;
    __libc_free(memory);
}
#endif

static bool is_valid(struct text json)
{
    struct json_error error;
    memset(&error, '#', sizeof error);
    enum json_result result = json_check(json, DEPTH, &error);
    if (result == JSON_VALID)
        return true;
    assert_int_equal(result, JSON_INVALID);
    assert_true(error.line >= 1);
    assert_true(error.column >= 1);
    assert_true(error.column <= json.length + 1);
    assert_true(memchr(error.reason, '\0', sizeof error.reason) != NULL);
    assert_true(error.reason[0] != '\0');
    return false;
}

static void check_all(const char *const *texts, size_t count, bool valid)
{
    for (size_t i = 0; i < count; i++)
        if (is_valid(text_from(texts[i])) != valid)
            fail_msg("text %zu, %s, is %s", i, texts[i], valid ? "refused" : "taken");
}

static void one_value_of_any_kind_is_valid(void **state)
{
    (void)state;
    static const char *const texts[] = {"null", "true",    "false",    "0",  "\"\"", "\"a\"",  "[]",
                                        "{}",   "[[],{}]", "{\"\":0}", " 1", "1 ",   "true\n", "\"a\" "};
    check_all(texts, COUNT(texts), true);
    assert_true(is_valid(TEXT("[1,\"two\",3.0,null,true,false,{\"a\":[]}]")));
    assert_true(is_valid(TEXT("{\"a\":1,\"b\":{\"c\":[1,2,{\"d\":null}]}}")));
    assert_true(is_valid(TEXT(" \t\r\n[ \t\r\n1 \t\r\n, \t\r\n2 \t\r\n] \t\r\n")));
    assert_true(is_valid(TEXT("\n{\n\"a\"\n:\n1\n}\n")));
    assert_true(is_valid(TEXT("{\"a\":1,\"a\":2}"))); /* duplicate names are allowed */
}

static void numbers_follow_the_grammar(void **state)
{
    (void)state;
    static const char *const valid[] = {"-0",     "-1",     "10",     "0.0",   "1.5",     "-0.1",
                                        "0e0",    "1E5",    "1e+5",   "1e-5",  "1.5E+05", "1e400",
                                        "-1e400", "1e-400", "[1e00]", "[-0.0]"};
    static const char *const exact[] = {"18446744073709551616", "1000000000000000.01",
                                        "-99999999999999999999999999999999999999999999999999999999999"};
    static const char *const invalid[] = {
        "-",    "+1",    "01",        "-01",   "00",       "1.",        ".5",  "-.5",          "1.e5",
        "1e",   "1e+",   "1e-",       "1e1.5", "--1",      "1-",        "1+1", "0x10",         "1a",
        "1_0",  "1.2.3", "NaN",       "nan",   "Infinity", "-Infinity", "[-]", "[1.]",         "[01]",
        "[1e]", "[.1]",  "{\"a\":-}", "- 1",   "1 .5",     "1e 5",      "0e",  "\xef\xbc\x91", "-a"};
    check_all(valid, COUNT(valid), true);
    check_all(exact, COUNT(exact), true);
    check_all(invalid, COUNT(invalid), false);
}

static void strings_follow_the_grammar(void **state)
{
    (void)state;
    static const char *const valid[] = {
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
        "\"\\u0000\\u0041\\uABCD\\uabcd\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud800\"", /* half a pair: the grammar takes it */
        "\"\x7f\"",
        "\"\xc2\x80\xc2\x9f\"",
        "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf\xed\x9f\xbf\xee\x80\x80\"",
        "\"\xe2\x80\xa8\xe2\x80\xa9\xef\xbb\xbf\xef\xbf\xbf\"",
        "\"// no comment /* none */\"",
        "{\"\\u0061\":\"'\"}"};
    static const char *const invalid[] = {
        "\"",          "\"a",         "a\"",         "'a'",         "\"\\\"",   "\"\\",          "\"\\x41\"",
        "\"\\a\"",     "\"\\'\"",     "\"\\0\"",     "\"\\u\"",     "\"\\u1\"", "\"\\u12\"",     "\"\\u123\"",
        "\"\\u123g\"", "\"\\u 123\"", "\"\\U0041\"", "\"\\u+123\"", "\"\\u12",  "\"\\ \"",       "\"\\\n\"",
        "\"a\"b",      "\"a\"\"b\"",  "[\"a]",       "{\"a",        "{\"a:1}",  "\"\\\xc3\xa4\""};
    check_all(valid, COUNT(valid), true);
    check_all(invalid, COUNT(invalid), false);
}

/* In a string, in a name, between values, before and behind one. */
static void raw_control_characters_are_valid_nowhere(void **state)
{
    (void)state;
    for (int byte = 0; byte < 0x20; byte++) {
        bool space = byte == '\t' || byte == '\n' || byte == '\r';
        char c = (char)byte;
        char string[] = {'"', 'a', c, 'b', '"'}, name[] = {'{', '"', c, '"', ':', '1', '}'};
        char between[] = {'[', '1', c, ',', c, '2', c, ']'}, before[] = {c, '1'}, behind[] = {'1', c};
        char after_escape[] = {'"', '\\', c, '"'}, object[] = {'{', c, '"', 'a', '"', c, ':', c, '1', '}'};
        if (is_valid((struct text){string, sizeof string}) || is_valid((struct text){name, sizeof name}) ||
            is_valid((struct text){after_escape, sizeof after_escape}))
            fail_msg("0x%02x is taken in a string", (unsigned)byte);
        if (is_valid((struct text){between, sizeof between}) != space ||
            is_valid((struct text){before, sizeof before}) != space ||
            is_valid((struct text){behind, sizeof behind}) != space ||
            is_valid((struct text){object, sizeof object}) != space)
            fail_msg("0x%02x is %s as white space", (unsigned)byte, space ? "refused" : "taken");
    }
}

static void structure_must_be_whole(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "[",         "{",          "]",       "}",        ",",          ":",
        "[1",        "[1,",        "[1,]",    "[,]",      "[,1]",       "[1,,2]",
        "[1 2]",     "[1:2]",      "[1;2]",   "[}",       "{]",         "[1}",
        "{,}",       "{\"a\":1]",  "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{\"a\" 1}",
        "{\"a\",1}", "{\"a\"::1}", "{1:1}",   "{a:1}",    "{null:1}",   "{'a':1}",
        "{[]:1}",    "{\"a\":1",   "{\"a\":", "{\"a\"",   "{\"a\":1,",  "{\"a\":1 \"b\":2}"};
    check_all(texts, COUNT(texts), false);
}

static void two_values_are_not_one(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "1 2", "1,2", "[][]", "{} {}", "null1",      "1null",     "[]1", "1\n\n2", "1x",  "{}x", "[1]]",
        "{}}", "1]",  "1}",   "1,",    "true false", "truefalse", "1 t", "1 -",    "1 [", "1 {"};
    /* YAJL alone takes the beginning of a string behind a value. */
    static const char *const quotes[] = {"1\"",    "[]\"",  "\"a\"\"", "0\"1",  "1 \"abc", "{} \"",
                                         "true\"", "1 \"]", "\"\"\"",  "1\n\"", "1 \"\\",  "1 \"\\u12"};
    check_all(texts, COUNT(texts), false);
    check_all(quotes, COUNT(quotes), false);
}

static void anything_else_is_no_json(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "nul", "nulll",   "tru",    "truth",    "fals",     "True",    "TRUE",   "Null", "undefined",
        "a",   "// c\n1", "1 // c", "/* c */1", "1/* c */", "[1/**/]", "# c\n1", "<1>",  "@",
        "(1)", "\\u0031", "",       " ",        "\n\t\r ",  "\f1",     "1\f",    "[\f]", "\v1"};
    static const char *const bytes[] = {"\xef\xbb\xbf",  "\xef\xbb\xbf{}", "{}\xef\xbb\xbf", "\xc2\xa0[]",
                                        "1\xe2\x80\xa8", "[\xc3\xa4]",     "\x80",           "\xff"};
    check_all(texts, COUNT(texts), false);
    check_all(bytes, COUNT(bytes), false);
    assert_false(is_valid((struct text){0}));
    assert_false(is_valid(TEXT("\0")));
    assert_false(is_valid(TEXT("1\0")));
    assert_false(is_valid(TEXT("[1,\0]")));
    assert_false(is_valid(TEXT("\"\\u00\0g\"")));
    assert_false(is_valid(TEXT("\xff\xfe[\0]\0"))); /* UTF-16 */
}

/* Every way in which bytes are no UTF-8, in a value and in a name. */
static void strings_must_be_utf8(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\xff",     "\x80",         "\xc3",         "\xc3(",        "caf\xe9",          "\xc0\x80",
        "\xe6\xbc", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x9f\x98", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        char text[64];
        int length = snprintf(text, sizeof text, "\"%s\"", bad[i]);
        if (is_valid((struct text){text, (size_t)length}))
            fail_msg("row %zu is taken in a string", i);
        length = snprintf(text, sizeof text, "{\"%s\":1}", bad[i]);
        if (is_valid((struct text){text, (size_t)length}))
            fail_msg("row %zu is taken in a name", i);
    }
}

/* `[[..]]` or `{"a":{..}}`, as deep as that, around `core`. */
static struct text nested(size_t depth, bool objects, const char *core)
{
    const char *opening = objects ? "{\"a\":" : "[";
    size_t opening_length = strlen(opening), core_length = strlen(core);
    size_t length = depth * (opening_length + 1) + core_length;
    char *bytes = malloc(length), *at = bytes;
    assert_non_null(bytes);
    for (size_t i = 0; i < depth; i++, at += opening_length)
        memcpy(at, opening, opening_length);
    memcpy(at, core, core_length);
    memset(at + core_length, objects ? '}' : ']', depth);
    return (struct text){bytes, length};
}

static void depth_is_limited_exactly(void **state)
{
    (void)state;
    static const size_t limits[] = {1, 2, 3, 100, 1000, 100000};
    struct json_error error;
    for (size_t i = 0; i < COUNT(limits); i++)
        for (int objects = 0; objects < 2; objects++) {
            struct text within = nested(limits[i], objects, "1"),
                        beyond = nested(limits[i] + 1, objects, "1");
            assert_int_equal(json_check(within, limits[i], &error), JSON_VALID);
            assert_int_equal(json_check(beyond, limits[i], &error), JSON_INVALID);
            assert_int_equal(error.line, 1);
            free((void *)(uintptr_t)within.bytes);
            free((void *)(uintptr_t)beyond.bytes);
        }
    assert_int_equal(json_check(TEXT("1"), 0, &error), JSON_VALID);
    assert_int_equal(json_check(TEXT("[]"), 0, &error), JSON_INVALID);
    assert_int_equal(json_check(TEXT("{}"), 0, &error), JSON_INVALID);
    assert_int_equal(json_check(TEXT("[{}]"), 1, &error), JSON_INVALID);
    assert_int_equal(json_check(TEXT("{\"a\":[]}"), 1, &error), JSON_INVALID);
    assert_int_equal(json_check(TEXT("[[],{},[],{\"a\":[1]}]"), 3, &error), JSON_VALID);
    assert_int_equal(json_check(TEXT("[[],{},[],{\"a\":[1]}]"), 2, &error), JSON_INVALID);

    /* What is too deep need not be closed to be refused. */
    struct text endless = nested(1000000, false, "");
    assert_int_equal(json_check((struct text){endless.bytes, 1000000}, DEPTH, &error), JSON_INVALID);
    free((void *)(uintptr_t)endless.bytes);
}

static void check_place(struct text json, size_t line, size_t column)
{
    struct json_error error = {0};
    assert_int_equal(json_check(json, DEPTH, &error), JSON_INVALID);
    if (error.line != line || error.column != column)
        fail_msg("%s: line %zu, column %zu instead of %zu, %zu (%s)", json.bytes, error.line, error.column,
                 line, column, error.reason);
}

/* At the first byte that can't belong to a valid text. */
static void faults_are_located(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        size_t column;
    } rows[] = {{"x", 1},        {"]", 1},          {"[1,]", 4},       {"[1 2]", 4},     {"[1]]", 4},
                {"{1:1}", 2},    {"\t\t]", 3},      {"1 2", 3},        {"1 \"a", 3},     {"\f1", 1},
                {"1\f", 2},      {"[tru]", 5},      {"[1.]", 4},       {"[-]", 3},       {"[null1]", 6},
                {"[1 /]", 4},    {"true \"x\"", 6}, {"{\"a\":1,}", 8}, {"[\"\\x\"]", 4}, {"[\"\\u12g\"]", 7},
                {"nullfalse", 5}};
    for (size_t i = 0; i < COUNT(rows); i++)
        check_place(text_from(rows[i].json), 1, rows[i].column);
    check_place(TEXT("[\"\xc3\xa4\xe2\x82\xac\" ?]"), 1, 10); /* columns are bytes */
    check_place(TEXT("[1,\0]"), 1, 4);
    check_place(TEXT("\xef\xbb\xbf{}"), 1, 1);
    check_place(TEXT("{}\n\xef\xbb\xbf"), 2, 1);
    check_place(TEXT("[1,\n2,]"), 2, 3);
    check_place(TEXT("[\n\n  \"a\" \"b\"]"), 3, 7);
    check_place(TEXT("[\r\n1,\r\n?]"), 3, 1);
    check_place(TEXT("\n\n\n]"), 4, 1);
    check_place(TEXT("1\n\n2"), 3, 1);
    check_place(TEXT("[1,\n\f2]"), 2, 1);
    check_place(TEXT("[1\n/2]"), 2, 1);
    check_place(TEXT("[\"a\nb\"]"), 1, 4);
}

/* The end is where the fault is when a text stops too early: behind its last byte, or at it. */
static void missing_ends_are_located_at_the_end(void **state)
{
    (void)state;
    static const struct {
        struct text json;
        size_t line, least, most;
    } rows[] = {
        {BYTES(""), 1, 1, 1},        {BYTES("["), 1, 1, 2},       {BYTES("[1,"), 1, 3, 4},
        {BYTES("{\"a\":"), 1, 5, 6}, {BYTES("\n\n[1"), 3, 2, 3},  {BYTES("[\n\"abc\","), 2, 6, 7},
        {BYTES("tru"), 1, 3, 4},     {BYTES("\"\\u12"), 1, 5, 6},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct json_error error = {0};
        assert_int_equal(json_check(rows[i].json, DEPTH, &error), JSON_INVALID);
        if (error.line != rows[i].line || error.column < rows[i].least || error.column > rows[i].most)
            fail_msg("%s: line %zu, column %zu (%s)", rows[i].json.bytes, error.line, error.column,
                     error.reason);
    }
}

/* A megabyte and more in one token, ended or not. */
static void huge_tokens_are_judged(void **state)
{
    (void)state;
    enum { SIZE = 3 << 20 };
    char *bytes = malloc(SIZE);
    assert_non_null(bytes);
    struct text whole = {bytes, SIZE};
    memset(bytes, 'a', SIZE);
    bytes[0] = '"';
    assert_false(is_valid(whole));
    bytes[SIZE - 1] = '"';
    assert_true(is_valid(whole));
    bytes[SIZE - 2] = '\\';
    assert_false(is_valid(whole));
    bytes[SIZE - 2] = '\n';
    assert_false(is_valid(whole));
    memset(bytes + 1, '\\', SIZE - 2);
    assert_true(is_valid(whole));
    bytes[SIZE - 2] = 'x';
    assert_false(is_valid(whole));

    memset(bytes, '7', SIZE);
    assert_true(is_valid(whole));
    bytes[1] = '.';
    assert_true(is_valid(whole));
    bytes[SIZE - 1] = 'e';
    assert_false(is_valid(whole));
    memset(bytes, ' ', SIZE);
    assert_false(is_valid(whole));
    bytes[SIZE / 2] = '1';
    assert_true(is_valid(whole));
    free(bytes);
}

/* The text ends where its length says, in the middle of any token, whatever lies behind it. */
static void nothing_behind_the_text_is_read(void **state)
{
    (void)state;
    static const char text[] = "[12.5e+3,\"a\\u0041\\n\xc3\xa4\",true,null,{\"b\":false}]";
    for (size_t length = 0; length < sizeof text; length++) {
        char *copy = malloc(length + 1);
        assert_non_null(copy);
        memcpy(copy + 1, text, length); /* the byte behind belongs to nobody */
        assert_int_equal(is_valid((struct text){copy + 1, length}), length == sizeof text - 1);
        free(copy);
    }
    assert_true(is_valid((struct text){"123456", 3}));
    assert_false(is_valid((struct text){"true", 3}));
}

#ifdef OWN_MALLOC
/* However far memory reaches, the answer is right or JSON_NO_MEMORY, and all of it comes back. */
static void want_of_memory_is_told_from_a_fault(void **state)
{
    (void)state;
    enum { LEVELS = 10000 };
    struct text deep = nested(LEVELS, false, "\"\\u0041\\n\"");
    struct text faulty = {deep.bytes, deep.length - 1};
    for (int bad = 0; bad < 2; bad++) {
        size_t allowed = 0;
        enum json_result result = JSON_NO_MEMORY;
        for (; result == JSON_NO_MEMORY; allowed++) {
            struct json_error error;
            remaining = allowed;
            held = 0;
            counting = true;
            result = json_check(bad ? faulty : deep, LEVELS, &error);
            counting = false;
            assert_int_equal(held, 0);
            assert_true(allowed < 1000);
        }
        assert_int_equal(result, bad ? JSON_INVALID : JSON_VALID);
        assert_true(allowed > 1);
    }
    free((void *)(uintptr_t)deep.bytes);
}
#endif

/* ---- writing ---- */

static unsigned hex_of(const char *digits)
{
    unsigned value = 0;
    for (int i = 0; i < 4; i++) {
        assert_true(text_hex_value(digits[i]) >= 0);
        value = value << 4 | (unsigned)text_hex_value(digits[i]);
    }
    return value;
}

/* Undoes the escapes of ASCII characters, all that a writer needs. Returns the length. */
static size_t read_back(const struct buffer *json, char *bytes)
{
    static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    size_t length = 0;
    assert_true(json->length >= 2);
    assert_int_equal(json->bytes[0], '"');
    assert_int_equal(json->bytes[json->length - 1], '"');
    for (size_t i = 1; i < json->length - 1; i++) {
        char c = json->bytes[i];
        if (c == '\\') {
            c = json->bytes[++i];
            if (c == 'u') {
                assert_true(hex_of(json->bytes + i + 1) < 0x80);
                c = (char)hex_of(json->bytes + i + 1);
                i += 4;
            } else {
                assert_non_null(strchr(names, c));
                c = meanings[strchr(names, c) - names];
            }
        }
        bytes[length++] = c;
    }
    return length;
}

static void strings_read_back_as_they_were(void **state)
{
    (void)state;
    enum { SIZE = 1 << 16 };
    static char bytes[SIZE], copy[SIZE];
    size_t length = 0;
    for (int round = 0; round < 100; round++)
        for (int c = 0; c < 0x80; c++)
            bytes[length++] = (char)((c * (2 * round + 1)) & 0x7f);
    static const char others[] = "\xc2\x80\xc3\xa4\xe2\x80\xa8\xe2\x82\xac\xef\xbb\xbf\xf0\x9f\x98\x80";
    memcpy(bytes + length, others, sizeof others - 1);
    length += sizeof others - 1;

    for (size_t start = 0; start <= 300; start++) {
        struct buffer json = BUFFER_EMPTY;
        size_t wanted = start == 300 ? length : start;
        json_append_string(&json, (struct text){bytes, wanted});
        assert_false(json.failed);
        assert_int_equal(read_back(&json, copy), wanted);
        assert_memory_equal(copy, bytes, wanted);
        assert_true(is_valid((struct text){json.bytes, json.length}));
        buffer_free(&json);
    }
}

static void strings_are_appended_to_what_is_there(void **state)
{
    (void)state;
    struct buffer json = BUFFER_EMPTY;
    buffer_append_text(&json, "{\"k\":");
    json_append_string(&json, TEXT("a\"b\\c"));
    buffer_append_text(&json, ",\"e\":");
    json_append_string(&json, (struct text){0});
    buffer_append_text(&json, "}");
    static const char wanted[] = "{\"k\":\"a\\\"b\\\\c\",\"e\":\"\"}";
    assert_int_equal(json.length, sizeof wanted - 1);
    assert_memory_equal(json.bytes, wanted, sizeof wanted - 1);
    buffer_free(&json);
}

static void numbers_are_written_as_short_as_they_can_be(void **state)
{
    (void)state;
    static const struct {
        double number;
        const char *wanted;
    } cases[] = {{0, "0"},
                 {52.3, "52.3"},
                 {620.0 / 300, "2.066666666666667"},
                 {0.1, "0.1"},
                 {1.0 / 3, "0.3333333333333333"},
                 {9007199254740993.0, "9007199254740992"},
                 {1e300, "1e+300"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buffer json = BUFFER_EMPTY;
        json_append_double(&json, cases[i].number);
        buffer_append(&json, "", 1);
        assert_string_equal(json.bytes, cases[i].wanted);
        assert_true(strtod(json.bytes, NULL) == cases[i].number);
        buffer_free(&json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_value_of_any_kind_is_valid),
        cmocka_unit_test(numbers_follow_the_grammar),
        cmocka_unit_test(strings_follow_the_grammar),
        cmocka_unit_test(raw_control_characters_are_valid_nowhere),
        cmocka_unit_test(structure_must_be_whole),
        cmocka_unit_test(two_values_are_not_one),
        cmocka_unit_test(anything_else_is_no_json),
        cmocka_unit_test(strings_must_be_utf8),
        cmocka_unit_test(depth_is_limited_exactly),
        cmocka_unit_test(faults_are_located),
        cmocka_unit_test(missing_ends_are_located_at_the_end),
        cmocka_unit_test(huge_tokens_are_judged),
        cmocka_unit_test(nothing_behind_the_text_is_read),
#ifdef OWN_MALLOC
        cmocka_unit_test(want_of_memory_is_told_from_a_fault),
#endif
        cmocka_unit_test(strings_read_back_as_they_were),
        cmocka_unit_test(strings_are_appended_to_what_is_there),
        cmocka_unit_test(numbers_are_written_as_short_as_they_can_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
