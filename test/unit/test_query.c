/*
 * Proves that query strings are decoded as application/x-www-form-urlencoded says, the first of a repeated
 * name wins, and never a byte is written beyond the caller's memory.
 */
#include "net/query.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define CAPACITY     32

static void escapes_are_judged(void **state)
{
    (void)state;
    static const char *const valid[] = {
        "",    "a",   "a=b",  "%41", "%00",  "%ff",   "%Ff", "a=%20&b=%2B", "%25%25", "=",
        "&&=", "a+b", "%254", "?",   "%41z", "a=%41", "+",   "\xc3\xa4",    "a=b=c",  "a&b",
    };
    static const char *const invalid[] = {
        "%",   "a%",    "%4",    "%%",  "%g0",    "%0g",      "%zz",  "%+1",         "% 1",
        "%-1", "%0x41", "%4%41", "a=%", "%u0041", "a=%4&b=1", "%41%", "%\xc3\xa4",   "x&y=%2",
        "%4 ", "%:0",   "%@0",   "%`0", "%/0",    "%G0",      "%0G",  "ok=1&bad=%a",
    };
    for (size_t i = 0; i < COUNT(valid); i++)
        if (!query_is_valid(text_from(valid[i])))
            fail_msg("\"%s\" is refused", valid[i]);
    for (size_t i = 0; i < COUNT(invalid); i++)
        if (query_is_valid(text_from(invalid[i])))
            fail_msg("\"%s\" is taken", invalid[i]);
    assert_true(query_is_valid((struct text){0}));
    /* What lies behind the end belongs to nobody. */
    assert_false(query_is_valid((struct text){"a=%41", 4}));
    assert_false(query_is_valid((struct text){"a=%41", 3}));
    assert_false(query_is_valid(TEXT("%\0"
                                     "41")));
    assert_false(query_is_valid(TEXT("%4\0"
                                     "1")));
}

static void check(const char *query, const char *name, const char *wanted)
{
    char memory[CAPACITY + 16];
    size_t length = 77;
    memset(memory, '#', sizeof memory);
    enum query_result result = query_find(text_from(query), name, memory, CAPACITY, &length);
    if (wanted == NULL) {
        if (result != QUERY_MISSING)
            fail_msg("\"%s\": %s is there", query, name);
        return;
    }
    if (result != QUERY_FOUND || length != strlen(wanted) || memcmp(memory, wanted, length) != 0)
        fail_msg("\"%s\": %s is (%d) \"%.*s\" instead of \"%s\"", query, name, (int)result,
                 result == QUERY_FOUND ? (int)length : 0, memory, wanted);
    for (size_t i = CAPACITY; i < sizeof memory; i++)
        assert_int_equal(memory[i], '#');
}

static void values_are_decoded(void **state)
{
    (void)state;
    static const struct {
        const char *query, *name, *value; /* value NULL: missing */
    } rows[] = {
        {"key=a", "key", "a"},
        {"key=a&groupId=b", "key", "a"},
        {"key=a&groupId=b", "groupId", "b"},
        {"x=1&y=2&key=a", "key", "a"},
        {"key=a+b", "key", "a b"},
        {"key=+", "key", " "},
        {"key=a%20b", "key", "a b"},
        {"key=a%2Bb", "key", "a+b"},
        {"key=a%2bb", "key", "a+b"},
        {"key=%26%3D%25%2523", "key", "&=%%23"},
        {"key=%C3%A4%e2%82%AC", "key", "\xc3\xa4\xe2\x82\xac"},
        {"key=\xc3\xa4", "key", "\xc3\xa4"},
        {"key=a=b==c", "key", "a=b==c"},
        {"key=a?b/c;d", "key", "a?b/c;d"},
        {"key=", "key", ""},
        {"key", "key", ""},
        {"key&x=1", "key", ""},
        {"x=1&key", "key", ""},
        {"&&key=a&&", "key", "a"},
        {"&&&", "key", NULL},
        {"", "key", NULL},
        {"=a", "key", NULL},
        {"x=key", "key", NULL},
        {"x=1&xkey=a", "key", NULL},
        {"ke=a", "key", NULL},
        {"keys=a", "key", NULL},
        {"Key=a", "key", NULL},
        {"KEY=a", "key", NULL},
        {"x=%26key%3Da", "key", NULL},
        {"x=1%26key=a", "key", NULL},
        {"x=1;key=a", "key", NULL},
        {"key%3Da=b", "key", NULL},
        {"+key=a", "key", NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        check(rows[i].query, rows[i].name, rows[i].value);
}

static void names_may_be_encoded(void **state)
{
    (void)state;
    check("%6bey=a", "key", "a");
    check("%6B%65%79=a", "key", "a");
    check("ke%79=a", "key", "a");
    check("group%49d=g&x=1", "groupId", "g");
    check("a+b=1", "a b", "1");
    check("a%20b=1", "a b", "1");
    check("a%2Bb=1", "a b", NULL);
    check("a%3Db=1", "a=b", "1");
    check("a%26b=1", "a&b", "1");
    check("%4bey=a", "key", NULL);
    check("key%00=a", "key", NULL);
    check("key%00x=a", "key", NULL);
    check("%256bey=a", "key", NULL);
    check("%6bey", "key", "");
}

static void first_of_a_repeated_name_counts(void **state)
{
    (void)state;
    check("key=a&key=b", "key", "a");
    check("key=&key=b", "key", "");
    check("key&key=b", "key", "");
    check("k=1&key=a&k=2&key=b&k=3", "k", "1");
    check("%6bey=a&key=b", "key", "a");
    check("key=b&%6bey=a", "key", "b");
    check("Key=x&key=a&key=b", "key", "a");
}

static void long_values_are_told_from_those_that_fit(void **state)
{
    (void)state;
    /* Four bytes, however they are written. */
    static const char *const fours[] = {"key=abcd", "key=%61%62%63%64", "key=a%62c%64", "key=+%20++",
                                        "x=1&key=abcd&key=a"};
    for (size_t i = 0; i < COUNT(fours); i++)
        for (size_t capacity = 0; capacity <= 6; capacity++) {
            char memory[16];
            size_t length = 77;
            memset(memory, '#', sizeof memory);
            enum query_result result = query_find(text_from(fours[i]), "key", memory, capacity, &length);
            assert_int_equal(result, capacity < 4 ? QUERY_TOO_LONG : QUERY_FOUND);
            if (result == QUERY_FOUND)
                assert_int_equal(length, 4);
            for (size_t at = capacity; at < sizeof memory; at++)
                assert_int_equal(memory[at], '#');
        }
    char none;
    size_t length = 77;
    assert_int_equal(query_find(TEXT("key="), "key", &none, 0, &length), QUERY_FOUND);
    assert_int_equal(length, 0);
    assert_int_equal(query_find(TEXT("x=abcd"), "key", &none, 0, &length), QUERY_MISSING);
}

static void every_byte_can_be_written(void **state)
{
    (void)state;
    for (unsigned byte = 0; byte < 256; byte++)
        for (int capitals = 0; capitals < 2; capitals++) {
            const char *digits = capitals ? "0123456789ABCDEF" : "0123456789abcdef";
            char query[] = {'k', '=', '<', '%', digits[byte / 16], digits[byte % 16], '>'}, value[3];
            size_t length = 0;
            struct text text = {query, sizeof query};
            assert_true(query_is_valid(text));
            assert_int_equal(query_find(text, "k", value, sizeof value, &length), QUERY_FOUND);
            assert_int_equal(length, 3);
            assert_int_equal(value[0], '<');
            assert_int_equal((unsigned char)value[1], byte);
            assert_int_equal(value[2], '>');
        }
}

/* The last value is at the very end of memory that is not terminated. */
static void query_ends_where_its_length_says(void **state)
{
    (void)state;
    static const char whole[] = {'k', 'e', 'y', '=', 'a', 'b', '&', 'x', '=', '1'};
    static const struct {
        size_t length, wanted;
        enum query_result result;
    } rows[] = {{0, 0, QUERY_MISSING}, {2, 0, QUERY_MISSING}, {3, 0, QUERY_FOUND}, {4, 0, QUERY_FOUND},
                {5, 1, QUERY_FOUND},   {6, 2, QUERY_FOUND},   {7, 2, QUERY_FOUND}, {10, 2, QUERY_FOUND}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        char value[8];
        size_t length = 0;
        struct text query = {whole, rows[i].length};
        assert_int_equal(query_find(query, "key", value, sizeof value, &length), rows[i].result);
        if (rows[i].result == QUERY_FOUND)
            assert_int_equal(length, rows[i].wanted);
    }
    char value[8];
    size_t length;
    assert_int_equal(query_find((struct text){0}, "key", value, sizeof value, &length), QUERY_MISSING);
}

static void segments_keep_their_plus(void **state)
{
    (void)state;
    static const struct {
        const char *segment;
        const char *decoded;
    } cases[] = {{"1", "1"}, {"a+b", "a+b"}, {"a%2Bb%20c", "a+b c"}, {"%2F%c3%a4", "/\xc3\xa4"}, {"", ""}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        char value[CAPACITY];
        size_t length = SIZE_MAX;
        assert_int_equal(query_decode_segment(text_from(cases[i].segment), value, sizeof value, &length), 0);
        assert_int_equal(length, strlen(cases[i].decoded));
        assert_memory_equal(value, cases[i].decoded, length);
    }
    char small[2] = {'x', 'x'};
    size_t length = 0;
    assert_int_equal(query_decode_segment(TEXT("%61%62%63"), small, 1, &length), -1);
    assert_int_equal(small[1], 'x');
    assert_int_equal(query_decode_segment(TEXT("%61"), small, 1, &length), 0);
    assert_int_equal(length, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(escapes_are_judged),
        cmocka_unit_test(values_are_decoded),
        cmocka_unit_test(names_may_be_encoded),
        cmocka_unit_test(first_of_a_repeated_name_counts),
        cmocka_unit_test(long_values_are_told_from_those_that_fit),
        cmocka_unit_test(every_byte_can_be_written),
        cmocka_unit_test(query_ends_where_its_length_says),
        cmocka_unit_test(segments_keep_their_plus),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
