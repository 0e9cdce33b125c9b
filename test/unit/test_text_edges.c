/*
 * Proves that no text is read beyond its end, wherever it ends: texts lie at the end of blocks of their size, where
 * AddressSanitizer sees a step further, and what lies behind a text does not change how it is judged. And that a fault
 * is found at any place, also where bytes are looked at several at a time.
 */
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* A copy that ends where its block ends; the byte in front is nobody's. */
static struct text copy_at_end(const char *bytes, size_t length)
{
    char *block = malloc(length + 1);
    assert_non_null(block);
    memcpy(block + 1, bytes, length);
    return (struct text){block + 1, length};
}

static void free_copy(struct text copy)
{
    free((char *)(uintptr_t)copy.bytes - 1);
}

/* Every front of some texts, judged where nothing follows and where the rest does. */
static void what_follows_a_text_does_not_matter(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "abcdefghijklmnop\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xed\x9f\xbf\xf4\x8f\xbf\xbf",
        "\xc2\x80 \xc2\xa0 \xc2\x9f",
        "18446744073709551615",
        "9223372036.8547758079",
        " \t x \t ",
        "a,b,,c"};
    for (size_t i = 0; i < COUNT(texts); i++)
        for (size_t length = 0; length <= strlen(texts[i]); length++) {
            struct text front = {texts[i], length}, copy = copy_at_end(texts[i], length);
            struct text rest = front, copied_rest = copy;
            uint64_t number = 0, copied_number = 0;
            int64_t ns = 0, copied_ns = 0;
            assert_int_equal(text_utf8_length(copy), text_utf8_length(front));
            assert_int_equal(text_has_control(copy), text_has_control(front));
            assert_int_equal(text_parse_number(copy, 0, UINT64_MAX, &copied_number),
                             text_parse_number(front, 0, UINT64_MAX, &number));
            assert_true(copied_number == number);
            assert_int_equal(text_parse_seconds(copy, INT64_MAX, &copied_ns),
                             text_parse_seconds(front, INT64_MAX, &ns));
            assert_true(copied_ns == ns);
            assert_true(text_equals(text_trim(copy), text_trim(front)));
            assert_true(text_equals(text_cut(&copied_rest, ','), text_cut(&rest, ',')));
            assert_true(text_equals(copied_rest, rest));
            assert_true(text_equals_ignoring_case(copy, front));
            assert_true(text_equals_in_constant_time(copy, front));
            free_copy(copy);
        }
}

/* The start of a character, behind which the text ends: nothing may be taken from beyond. */
static void cut_characters_are_refused(void **state)
{
    (void)state;
    static const char *const characters[] = {"\xc2\x80",     "\xdf\xbf",         "\xe0\xa0\x80",
                                             "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
    for (size_t i = 0; i < COUNT(characters); i++)
        for (size_t before = 0; before < 20; before++)
            for (size_t cut = 1; cut <= strlen(characters[i]); cut++) {
                char bytes[32];
                memset(bytes, 'a', before);
                memcpy(bytes + before, characters[i], strlen(characters[i]));
                struct text copy = copy_at_end(bytes, before + cut);
                bool whole = cut == strlen(characters[i]);
                assert_int_equal(text_is_utf8(copy), whole);
                assert_int_equal(text_utf8_length(copy), whole ? before + cut : before);
                free_copy(copy);
            }
}

static void a_bad_byte_is_found_at_any_place(void **state)
{
    (void)state;
    enum { LONGEST = 40 };
    char bytes[LONGEST];
    for (size_t length = 1; length <= LONGEST; length++)
        for (size_t at = 0; at < length; at++) {
            memset(bytes, '7', sizeof bytes);
            bytes[at] = (char)0x80;
            struct text text = {bytes, length};
            uint64_t number;
            assert_int_equal(text_utf8_length(text), at);
            assert_int_equal(text_parse_number(text, 0, UINT64_MAX, &number), -1);
            bytes[at] = 0x7f;
            assert_true(text_has_control(text));
            assert_true(text_is_utf8(text));
            bytes[at] = '7';
            assert_false(text_has_control(text));
        }
}

/* What is cut off goes on pointing into the same text, and nothing of it gets lost. */
static void pieces_lie_in_the_text(void **state)
{
    (void)state;
    const char *bytes = ";a;;bc;";
    struct text rest = text_from(bytes);
    static const size_t starts[] = {0, 1, 3, 4}, lengths[] = {0, 1, 0, 2};
    for (size_t i = 0; i < COUNT(starts); i++) {
        struct text piece = text_cut(&rest, ';');
        assert_ptr_equal(piece.bytes, bytes + starts[i]);
        assert_int_equal(piece.length, lengths[i]);
        assert_ptr_equal(rest.bytes, piece.bytes + piece.length + 1);
    }
    assert_int_equal(rest.length, 0);

    bytes = " \tab \t";
    struct text trimmed = text_trim(text_from(bytes));
    assert_ptr_equal(trimmed.bytes, bytes + 2);
    assert_int_equal(trimmed.length, 2);
}

static void texts_are_put_one_behind_the_other(void **state)
{
    (void)state;
    char memory[6] = "######";
    char *to = memory;
    struct text first = text_put(&to, TEXT("a\0b")), none = text_put(&to, (struct text){0});
    struct text last = text_put(&to, TEXT("c"));
    assert_true(text_equals(first, TEXT("a\0b")) && text_equals(none, TEXT("")) &&
                text_equals(last, TEXT("c")));
    assert_ptr_equal(first.bytes, memory);
    assert_ptr_equal(last.bytes, memory + 3);
    assert_ptr_equal(to, memory + 4);
    assert_memory_equal(memory, "a\0bc##", 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_follows_a_text_does_not_matter), cmocka_unit_test(cut_characters_are_refused),
        cmocka_unit_test(a_bad_byte_is_found_at_any_place),    cmocka_unit_test(pieces_lie_in_the_text),
        cmocka_unit_test(texts_are_put_one_behind_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
