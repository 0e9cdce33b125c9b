/* Proves that Content-Type is taken apart as RFC 9110 writes it, and that what is malformed is passed over.
 */
#include "net/media_type.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

struct row {
    const char *value, *type, *charset;
};

static void check_all(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct media_type parsed = media_type_parse(text_from(rows[i].value));
        if (!text_equals(parsed.type, text_from(rows[i].type)) ||
            !text_equals(parsed.charset, text_from(rows[i].charset)))
            fail_msg("%s: type \"%.*s\", charset \"%.*s\"", rows[i].value, (int)parsed.type.length,
                     parsed.type.bytes, (int)parsed.charset.length, parsed.charset.bytes);
    }
}

static void types_and_charsets_are_found(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"text/plain", "text/plain", ""},
        {"application/json", "application/json", ""},
        {"Application/JSON", "Application/JSON", ""},
        {"text/plain;charset=utf-8", "text/plain", "utf-8"},
        {"text/plain; charset=utf-8", "text/plain", "utf-8"},
        {"text/plain ; charset=utf-8", "text/plain", "utf-8"},
        {"text/plain\t;\tcharset=utf-8\t", "text/plain", "utf-8"},
        {" text/plain ; charset=utf-8 ", "text/plain", "utf-8"},
        {"text/plain; CharSet=UTF-8", "text/plain", "UTF-8"},
        {"text/plain; charset=\"utf-8\"", "text/plain", "utf-8"},
        {"text/plain; charset=\"UTF-8\"; profile=x", "text/plain", "UTF-8"},
        {"text/plain; profile=x; charset=latin-1", "text/plain", "latin-1"},
        {"text/plain; profile=x;charset=latin-1;q=1", "text/plain", "latin-1"},
        {"text/plain;;charset=utf-8;", "text/plain", "utf-8"},
        {"text/plain; ; charset=utf-8", "text/plain", "utf-8"},
    };
    check_all(rows, COUNT(rows));
}

/* Quotes hide what stands between them. */
static void quoted_values_hide_no_charset(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"text/plain; profile=\"charset=latin-1\"", "text/plain", ""},
        {"text/plain; profile=\"a; charset=latin-1\"", "text/plain", ""},
        {"text/plain; profile=\"; charset=latin-1; \"; charset=utf-8", "text/plain", "utf-8"},
        {"text/plain; profile=\"\\\"; charset=latin-1\"; charset=utf-8", "text/plain", "utf-8"},
        {"text/plain; profile=\"\\\\\"; charset=utf-8", "text/plain", "utf-8"},
        {"text/plain; profile=\"\"; charset=utf-8", "text/plain", "utf-8"},
    };
    check_all(rows, COUNT(rows));
}

static void malformed_parts_are_passed_over(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"", "", ""},
        {" \t", "", ""},
        {";", "", ""},
        {"; charset=utf-8", "", "utf-8"},
        {"text/plain;", "text/plain", ""},
        {"text/plain; charset", "text/plain", ""},
        {"text/plain; charset=", "text/plain", ""},
        {"text/plain; charset=\"\"", "text/plain", ""},
        {"text/plain; charset; charset=utf-8", "text/plain", "utf-8"},
        {"text/plain; xcharset=latin-1", "text/plain", ""},
        {"text/plain; charsets=latin-1", "text/plain", ""},
        {"text/plain; =x; charset=utf-8", "text/plain", "utf-8"},
        {"text/plain charset=utf-8", "text/plain charset=utf-8", ""},
    };
    check_all(rows, COUNT(rows));
    struct media_type none = media_type_parse((struct text){0});
    assert_int_equal(none.type.length, 0);
    assert_int_equal(none.charset.length, 0);
}

/* Whatever comes, the texts lie in what was given. */
static void texts_point_into_the_value(void **state)
{
    (void)state;
    static const char pieces[] = "ac=;\"\\ \t/x";
    unsigned random = 7;
    for (int round = 0; round < 200000; round++) {
        char bytes[40] = "charset=";
        size_t length = (random >> 10) % sizeof bytes;
        for (size_t i = round % 2 ? 8 : 0; i < length; i++) {
            random = random * 1103515245U + 12345U;
            bytes[i] = pieces[(random >> 16) % (sizeof pieces - 1)];
        }
        random = random * 1103515245U + 12345U;
        struct media_type parsed = media_type_parse((struct text){bytes, length});
        const struct text texts[] = {parsed.type, parsed.charset};
        for (size_t i = 0; i < 2; i++)
            if (texts[i].length > 0)
                assert_true(texts[i].bytes >= bytes && texts[i].bytes + texts[i].length <= bytes + length);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_and_charsets_are_found),
        cmocka_unit_test(quoted_values_hide_no_charset),
        cmocka_unit_test(malformed_parts_are_passed_over),
        cmocka_unit_test(texts_point_into_the_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
