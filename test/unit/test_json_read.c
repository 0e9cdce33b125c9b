/*
 * Proves that values are read out of valid JSON as they were written, however deep and with white space anywhere;
 * that strings decode to UTF-8, and that of repeated names the last one counts.
 */
#include "json_read_kit.h"

/* realloc is ours, so that memory can run out; the sanitizers bring their own. */
#ifndef __has_feature
#define __has_feature(feature) 0
#endif
#if !defined(__SANITIZE_ADDRESS__) && !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
#define OWN_REALLOC

void *__libc_realloc(void *memory, size_t size);

static bool out_of_memory;

void *realloc(void *memory, size_t size)
{
    return out_of_memory ? NULL : __libc_realloc(memory, size);
}
#endif

/* ---- types ---- */

static void every_type_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        enum json_type type;
    } rows[] = {{"null", JSON_NULL},        {"true", JSON_BOOLEAN},    {"false", JSON_BOOLEAN},
                {"0", JSON_NUMBER},         {"-1.5e3", JSON_NUMBER},   {"9", JSON_NUMBER},
                {"\"\"", JSON_STRING},      {"\"null\"", JSON_STRING}, {"\"[\"", JSON_STRING},
                {"[]", JSON_ARRAY},         {"[null]", JSON_ARRAY},    {"{}", JSON_OBJECT},
                {"{\"a\":[]}", JSON_OBJECT}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buffer spaced = BUFFER_EMPTY;
        assert_int_equal(json_type_of(text_from(rows[i].json)), rows[i].type);
        buffer_printf(&spaced, " \t\r\n%s\n\r\t ", rows[i].json);
        assert_int_equal(json_type_of((struct text){spaced.bytes, spaced.length}), rows[i].type);
        buffer_free(&spaced);
    }
    assert_int_equal(json_type_of((struct text){0}), JSON_NULL);
    assert_int_equal(json_type_of(TEXT(" \n ")), JSON_NULL);
}

/* ---- walking ---- */

static void check_elements(struct text array, const char *const *wanted, size_t count)
{
    struct text copy = kit_copy(array), value;
    struct json_walk walk;
    json_walk_begin(&walk, copy);
    for (size_t i = 0; i < count; i++) {
        assert_true(json_walk_element(&walk, &value));
        kit_assert_text(value, text_from(wanted[i]));
    }
    assert_false(json_walk_element(&walk, &value));
    assert_false(json_walk_element(&walk, &value)); /* and so it stays */
    kit_free(copy);
}

static void elements_come_in_order(void **state)
{
    (void)state;
    static const char *const wanted[] = {"1",
                                         "\"a,]b\"",
                                         "[2,[3,4],{\"x\":[5]}]",
                                         "{\"b\":[1,{}],\"c\":2}",
                                         "null",
                                         "-1.50e+07",
                                         "\"\\\"]\\\\\"",
                                         "true",
                                         "[]",
                                         "{}",
                                         "\"\""};
    check_elements(TEXT("[1,\"a,]b\",[2,[3,4],{\"x\":[5]}],{\"b\":[1,{}],\"c\":2},null,-1.50e+07,"
                        "\"\\\"]\\\\\",true,[],{},\"\"]"),
                   wanted, COUNT(wanted));
    check_elements(TEXT("\r\n[ 1\t,\n\"a,]b\" , [2,[3,4],{\"x\":[5]}]\t,{\"b\":[1,{}],\"c\":2}\r\n,"
                        "null\n,\n-1.50e+07 , \"\\\"]\\\\\" ,true ,[] , {},\n\n\"\" \n]\t "),
                   wanted, COUNT(wanted));
    check_elements(TEXT("[]"), NULL, 0);
    check_elements(TEXT(" [ \n ] "), NULL, 0);
    check_elements(TEXT("[[]]"), (const char *const[]){"[]"}, 1);
}

static void white_space_inside_a_value_stays(void **state)
{
    (void)state;
    check_elements(TEXT("[ [ 1 , 2 ] , \" a \" , { \"b\" : 3 } ]"),
                   (const char *const[]){"[ 1 , 2 ]", "\" a \"", "{ \"b\" : 3 }"}, 3);
}

static void members_come_in_order(void **state)
{
    (void)state;
    static const struct text objects[] = {
        BYTES("{\"a\":1,\"\":\"x:y\",\"}\":{\"a\":{\"b\":[]}},\"\\\"\":[1,2]}"),
        BYTES(" { \"a\"\t: 1\n,\r\"\":\"x:y\" , \"}\" :{\"a\":{\"b\":[]}}, \"\\\"\" : [1,2] } ")};
    static const char *const names[] = {"\"a\"", "\"\"", "\"}\"", "\"\\\"\""};
    static const char *const values[] = {"1", "\"x:y\"", "{\"a\":{\"b\":[]}}", "[1,2]"};
    for (size_t i = 0; i < COUNT(objects); i++) {
        struct text copy = kit_copy(objects[i]), name, value;
        struct json_walk walk;
        json_walk_begin(&walk, copy);
        for (size_t m = 0; m < COUNT(names); m++) {
            assert_true(json_walk_member(&walk, &name, &value));
            kit_assert_text(name, text_from(names[m]));
            kit_assert_text(value, text_from(values[m]));
        }
        assert_false(json_walk_member(&walk, &name, &value));
        assert_false(json_walk_member(&walk, &name, &value));
        kit_free(copy);
    }
}

static void nothing_else_has_members_or_elements(void **state)
{
    (void)state;
    static const char *const others[] = {"",     " ",       "1",          "\"a\"", "\"[1]\"", "null",
                                         "true", "\"\\\"1", "\"{\\\"a\"", "{}",    "[]",      " {\n} "};
    for (size_t i = 0; i < COUNT(others); i++) {
        struct text copy = kit_copy(text_from(others[i])), name, value;
        struct json_walk walk;
        json_walk_begin(&walk, copy);
        assert_false(json_walk_element(&walk, &value));
        json_walk_begin(&walk, copy);
        assert_false(json_walk_member(&walk, &name, &value));
        kit_free(copy);
    }
    struct text wanted = TEXT("a"), value = TEXT("old");
    json_members(TEXT("[\"a\",1]"), &wanted, &value, 1);
    assert_int_equal(value.length, 0);
    json_members((struct text){0}, &wanted, &value, 1);
    assert_int_equal(value.length, 0);
}

/* Far deeper than any stack would bear. */
static void depth_needs_no_stack(void **state)
{
    (void)state;
    enum { DEPTH = 5000000 };
    struct buffer json = BUFFER_EMPTY;
    struct json_walk walk;
    struct text value;
    assert_int_equal(buffer_reserve(&json, 2 * DEPTH + 4), 0);
    memset(json.bytes, '[', DEPTH);
    memset(json.bytes + DEPTH, ']', DEPTH - 1);
    memcpy(json.bytes + 2 * DEPTH - 1, ",7]", 3);
    json.length = 2 * DEPTH + 2;
    json_walk_begin(&walk, (struct text){json.bytes, json.length});
    assert_true(json_walk_element(&walk, &value));
    assert_int_equal(value.length, 2 * DEPTH - 2);
    assert_true(json_walk_element(&walk, &value));
    kit_assert_text(value, TEXT("7"));
    assert_false(json_walk_element(&walk, &value));
    buffer_free(&json);
}

/* ---- members by name ---- */

static void members_are_found_by_name(void **state)
{
    (void)state;
    static const struct text names[] = {BYTES("b"), BYTES("none"), BYTES(""), BYTES("a"), BYTES("\xc3\xa4")};
    struct text values[] = {TEXT("old"), TEXT("old"), TEXT("old"), TEXT("old"), TEXT("old")};
    struct text object = kit_copy(TEXT(" { \"a\" : [ 1 ] , \"aa\":0,\"b\":null,\"c\":{\"none\":1},\"\":\"e\","
                                       "\"\xc3\xa4\":\n-2\n}"));
    json_members(object, names, values, COUNT(names));
    kit_assert_text(values[0], TEXT("null"));
    assert_int_equal(values[1].length, 0);
    kit_assert_text(values[2], TEXT("\"e\""));
    kit_assert_text(values[3], TEXT("[ 1 ]"));
    kit_assert_text(values[4], TEXT("-2"));
    json_members(object, names, values, 0);
    kit_free(object);
}

static void of_repeated_names_the_last_counts(void **state)
{
    (void)state;
    static const struct text names[] = {BYTES("a"), BYTES("b"), BYTES("a")};
    struct text values[3];
    json_members(TEXT("{\"a\":1,\"b\":2,\"\\u0061\":3,\"b\":{\"b\":4}}"), names, values, 3);
    kit_assert_text(values[0], TEXT("3"));
    kit_assert_text(values[1], TEXT("{\"b\":4}"));
    kit_assert_text(values[2], TEXT("3"));
    json_members(TEXT("{\"\\u0061\":3,\"a\":1}"), names, values, 1);
    kit_assert_text(values[0], TEXT("1"));
}

static void escaped_names_are_compared_decoded(void **state)
{
    (void)state;
    static const struct {
        const char *name; /* as it is written */
        struct text wanted;
        bool found;
    } rows[] = {
        {"\\u0061b", BYTES("ab"), true},
        {"a\\u0062", BYTES("ab"), true},
        {"\\u0061\\u0062", BYTES("ab"), true},
        {"a\\u0062", BYTES("a"), false},
        {"a\\u0062", BYTES("abc"), false},
        {"a\\u0062", BYTES("a\\u0062"), false},
        {"\\\"\\\\\\/\\b\\f\\n\\r\\t", BYTES("\"\\/\b\f\n\r\t"), true},
        {"\\u0000", BYTES("\0"), true},
        {"\\u0000", BYTES(""), false},
        {"\\u00e4\\u20AC\\ud83d\\uDE00", BYTES("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"), true},
        {"\\ud83d\\uDE00", BYTES("\xf0\x9f\x98\x81"), false},
        {"\\ud83d\\uDE00", BYTES("\xf0\x9f\x98"), false},
        {"\\ud83d", BYTES("\xed\xa0\xbd"), false},
        {"\\ude00", BYTES(""), false},
        {"\\n", BYTES("n"), false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buffer json = BUFFER_EMPTY;
        struct text value, name = kit_copy(rows[i].wanted);
        buffer_printf(&json, "{\"%s\":1}", rows[i].name);
        json_members((struct text){json.bytes, json.length}, &name, &value, 1);
        if ((value.length == 1) != rows[i].found)
            fail_msg("row %zu, %s, is %s", i, rows[i].name, rows[i].found ? "missed" : "found");
        kit_free(name);
        buffer_free(&json);
    }
}

/* ---- strings ---- */

static void plain_strings_stay_where_they_are(void **state)
{
    (void)state;
    static const struct text strings[] = {BYTES("\"\""), BYTES("\"abc\""),
                                          BYTES("\"\xc3\xa4\xf0\x9f\x98\x80\""), BYTES("\"a b\"")};
    for (size_t i = 0; i < COUNT(strings); i++) {
        struct buffer storage = BUFFER_EMPTY;
        struct text decoded, copy = kit_copy(strings[i]);
        assert_int_equal(json_string(copy, &storage, &decoded), JSON_STRING_OK);
        assert_ptr_equal(decoded.bytes, copy.bytes + 1);
        assert_int_equal(decoded.length, copy.length - 2);
        assert_int_equal(storage.capacity, 0);
        kit_free(copy);
    }
}

static void escapes_are_decoded(void **state)
{
    (void)state;
    static const struct {
        struct text string, wanted;
    } rows[] = {
        {BYTES("\"\\\"\""), BYTES("\"")},
        {BYTES("\"\\\\\""), BYTES("\\")},
        {BYTES("\"\\/\""), BYTES("/")},
        {BYTES("\"\\b\\f\\n\\r\\t\""), BYTES("\b\f\n\r\t")},
        {BYTES("\"\\\\n\""), BYTES("\\n")},
        {BYTES("\"a\\nb\""), BYTES("a\nb")},
        {BYTES("\"\\nb\""), BYTES("\nb")},
        {BYTES("\"ab\\n\""), BYTES("ab\n")},
        {BYTES("\"\\u0041\\u00e4\\u00E4\\u20ac\""), BYTES("A\xc3\xa4\xc3\xa4\xe2\x82\xac")},
        {BYTES("\"\\u0000\""), BYTES("\0")},
        {BYTES("\"a\\u0000b\""), BYTES("a\0b")},
        {BYTES("\"\\u007f\\u0080\\u07ff\\u0800\""), BYTES("\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80")},
        {BYTES("\"\\ud7ff\\ue000\\uffff\""), BYTES("\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf")},
        {BYTES("\"\\ud800\\udc00\""), BYTES("\xf0\x90\x80\x80")},
        {BYTES("\"\\uDBFF\\uDFFF\""), BYTES("\xf4\x8f\xbf\xbf")},
        {BYTES("\"x\\ud83d\\ude00y\""), BYTES("x\xf0\x9f\x98\x80y")},
        {BYTES("\"\xc3\xa4\\u00fc\xe2\x82\xac\""), BYTES("\xc3\xa4\xc3\xbc\xe2\x82\xac")},
        {BYTES("\"\\u00410\""), BYTES("A0")},
    };
    struct buffer storage = BUFFER_EMPTY;
    buffer_append_text(&storage, "kept");
    assert_int_equal(buffer_reserve(&storage, 4096), 0); /* for all of them, so that nothing moves */
    struct text decoded[COUNT(rows)];
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct text copy = kit_copy(rows[i].string);
        assert_int_equal(json_string(copy, &storage, &decoded[i]), JSON_STRING_OK);
        kit_free(copy);
    }
    for (size_t i = 0; i < COUNT(rows); i++)
        kit_assert_text(decoded[i], rows[i].wanted);
    assert_memory_equal(storage.bytes, "kept", 4);
    buffer_free(&storage);
}

static void surrogates_need_their_partner(void **state)
{
    (void)state;
    static const char *const bad[] = {"\"\\ud800\"",
                                      "\"\\udbff\"",
                                      "\"\\udc00\"",
                                      "\"\\udfff\"",
                                      "\"\\ud800x\"",
                                      "\"\\ud800\\n\"",
                                      "\"\\ud800\\u0041\"",
                                      "\"\\ud800\\ud800\"",
                                      "\"\\ud800\\ue000\"",
                                      "\"\\ud800\\udbff\"",
                                      "\"\\udc00\\ud800\"",
                                      "\"ok\\ud83d\"",
                                      "\"\\ud83dude00\"",
                                      "\"\\ud83d\\\\ude00\"",
                                      "\"\\udc00\\udc00\"",
                                      "\"\\ud800\\ud800\\udc00\"",
                                      "\"\\ud800\\udc00\\udc00\""};
    struct json_error error;
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct buffer storage = BUFFER_EMPTY;
        struct text decoded, copy = kit_copy(text_from(bad[i]));
        assert_int_equal(json_check(copy, 10, &error), JSON_VALID);
        buffer_append_text(&storage, "kept");
        if (json_string(copy, &storage, &decoded) != JSON_STRING_BAD)
            fail_msg("%s is taken", bad[i]);
        kit_assert_text((struct text){storage.bytes, storage.length}, TEXT("kept"));
        assert_false(storage.failed);
        buffer_free(&storage);
        kit_free(copy);
    }
}

static void every_character_can_be_escaped(void **state)
{
    (void)state;
    struct buffer json = BUFFER_EMPTY, storage = BUFFER_EMPTY;
    for (unsigned code = 0; code <= 0x10ffff; code += code < 0x11000 ? 1 : 97) {
        if (code >= 0xd800 && code <= 0xdfff)
            continue;
        char wanted[4];
        struct text decoded;
        buffer_clear(&json);
        buffer_clear(&storage);
        if (code < 0x10000)
            buffer_printf(&json, "\"\\u%04x\"", code);
        else
            buffer_printf(&json, "\"\\u%04X\\u%04X\"", 0xd800 + ((code - 0x10000) >> 10),
                          0xdc00 + ((code - 0x10000) & 0x3ff));
        assert_int_equal(json_string((struct text){json.bytes, json.length}, &storage, &decoded),
                         JSON_STRING_OK);
        kit_assert_text(decoded, (struct text){wanted, kit_encode(code, wanted)});
        kit_assert_text(decoded, (struct text){storage.bytes, storage.length});
    }
    buffer_free(&json);
    buffer_free(&storage);
}

#ifdef OWN_REALLOC
static void want_of_memory_is_told(void **state)
{
    (void)state;
    struct buffer buffer = BUFFER_EMPTY;
    struct text decoded;
    buffer_append_text(&buffer, "kept");
    while (buffer.capacity - buffer.length > 1)
        buffer_append(&buffer, "x", 1);
    size_t length = buffer.length;
    out_of_memory = true;
    enum json_string_result escaped = json_string(TEXT("\"\\n\""), &buffer, &decoded);
    bool failed = buffer.failed;
    buffer.failed = false;
    enum json_string_result plain = json_string(TEXT("\"n\""), &buffer, &decoded);
    bool plain_failed = buffer.failed;
    json_append_compact(&buffer, TEXT("[1, 2]"));
    out_of_memory = false;
    assert_int_equal(escaped, JSON_STRING_NO_MEMORY);
    assert_true(failed);
    assert_int_equal(plain, JSON_STRING_OK);
    assert_false(plain_failed);
    assert_true(buffer.failed);
    assert_int_equal(buffer.length, length);
    assert_memory_equal(buffer.bytes, "kept", 4);
    buffer_free(&buffer);
}
#endif

/* ---- compact ---- */

static void white_space_goes_from_between_tokens_alone(void **state)
{
    (void)state;
    kit_check_compact(TEXT("1"), TEXT("1"));
    kit_check_compact(TEXT(" \t\r\n1\n\r\t "), TEXT("1"));
    kit_check_compact(TEXT("[1,2]"), TEXT("[1,2]"));
    kit_check_compact(TEXT("{ \"a b\" : [ 1 ,\n2 , \" \\\" \" ] ,\t\"\" : { } }"),
                      TEXT("{\"a b\":[1,2,\" \\\" \"],\"\":{}}"));
    kit_check_compact(TEXT("\" \\\\\" "), TEXT("\" \\\\\""));
    kit_check_compact(TEXT("[ \"\\\\\\\" \" , \" \" ]"), TEXT("[\"\\\\\\\" \",\" \"]"));
    kit_check_compact(TEXT("\" \xc2\xa0 \" "), TEXT("\" \xc2\xa0 \""));
    kit_check_compact(TEXT("[ -1.50E+07 , 1e400 ]"), TEXT("[-1.50E+07,1e400]"));
    kit_check_compact((struct text){0}, TEXT(""));
    kit_check_compact(TEXT("  "), TEXT(""));
}

static void integers_have_neither_fraction_nor_exponent(void **state)
{
    (void)state;
    static const char *const integers[] = {"0", "-0", "7", "-7", "123456789012345678901234567890"};
    static const char *const others[] = {"",     "-",   "1.0", "1e2",  "1E2", "\"1\"",
                                         "null", "[1]", "{}",  "true", " 1"};
    for (size_t i = 0; i < sizeof integers / sizeof integers[0]; i++)
        assert_true(json_is_integer(text_from(integers[i])));
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_false(json_is_integer(text_from(others[i])));
    assert_false(json_is_integer((struct text){0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_is_told),
        cmocka_unit_test(integers_have_neither_fraction_nor_exponent),
        cmocka_unit_test(elements_come_in_order),
        cmocka_unit_test(white_space_inside_a_value_stays),
        cmocka_unit_test(members_come_in_order),
        cmocka_unit_test(nothing_else_has_members_or_elements),
        cmocka_unit_test(depth_needs_no_stack),
        cmocka_unit_test(members_are_found_by_name),
        cmocka_unit_test(of_repeated_names_the_last_counts),
        cmocka_unit_test(escaped_names_are_compared_decoded),
        cmocka_unit_test(plain_strings_stay_where_they_are),
        cmocka_unit_test(escapes_are_decoded),
        cmocka_unit_test(surrogates_need_their_partner),
        cmocka_unit_test(every_character_can_be_escaped),
#ifdef OWN_REALLOC
        cmocka_unit_test(want_of_memory_is_told),
#endif
        cmocka_unit_test(white_space_goes_from_between_tokens_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
