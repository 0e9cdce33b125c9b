/*
 * Proves that a buffer holds exactly what was appended, through every growth and drop, and that a failure for
 * want of memory leaves the content whole and is remembered until it is cleared.
 */
#include "base/buffer.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A request for far too much memory is to come back as NULL under the sanitizers too. */
const char *__asan_default_options(void);
const char *__tsan_default_options(void);

const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

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

static void assert_holds(const struct buffer *buffer, const char *wanted, size_t length)
{
    assert_false(buffer->failed);
    assert_int_equal(buffer->length, length);
    assert_true(buffer->capacity >= length);
    if (length > 0)
        assert_memory_equal(buffer->bytes, wanted, length);
}

static void empty_buffer_has_nothing(void **state)
{
    (void)state;
    struct buffer buffer = BUFFER_EMPTY;
    assert_holds(&buffer, "", 0);
    assert_null(buffer.bytes);
    assert_int_equal(buffer.capacity, 0);
    buffer_free(&buffer);
    assert_null(buffer.bytes);
}

static void pieces_are_appended_in_order(void **state)
{
    (void)state;
    struct buffer buffer = BUFFER_EMPTY;
    buffer_append(&buffer, "a\0b", 3);
    buffer_append_text(&buffer, "cd");
    buffer_printf(&buffer, "-%d %s%c", -7, "ef", 'g');
    assert_holds(&buffer, "a\0bcd--7 efg", 12);
    buffer_free(&buffer);
}

static void numbers_are_appended_in_decimal(void **state)
{
    (void)state;
    static const uint64_t numbers[] = {0,
                                       1,
                                       9,
                                       10,
                                       42,
                                       99,
                                       100,
                                       1234567890,
                                       UINT32_MAX,
                                       UINT64_C(4294967296),
                                       UINT64_MAX,
                                       INT64_MAX,
                                       UINT64_C(10000000000000000000)};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        struct buffer buffer = BUFFER_EMPTY;
        char wanted[600];
        int length = snprintf(wanted, sizeof wanted, "<%" PRIu64, numbers[i]);
        buffer_append_text(&buffer, "<");
        buffer_append_number(&buffer, numbers[i]);
        assert_holds(&buffer, wanted, (size_t)length);
        /* Again, beyond the first piece of memory. */
        for (int more = 1; more < 20; more++) {
            length += snprintf(wanted + length, sizeof wanted - (size_t)length, "%" PRIu64 ",", numbers[i]);
            buffer_append_number(&buffer, numbers[i]);
            buffer_append_text(&buffer, ",");
            assert_holds(&buffer, wanted, (size_t)length);
        }
        buffer_free(&buffer);
    }
}

static void nothing_appended_changes_nothing(void **state)
{
    (void)state;
    struct buffer buffer = BUFFER_EMPTY;
    buffer_append(&buffer, NULL, 0);
    buffer_append_text(&buffer, "");
    buffer_printf(&buffer, "%s", "");
    assert_holds(&buffer, "", 0);
    buffer_append_text(&buffer, "x");
    buffer_append(&buffer, NULL, 0);
    buffer_append_text(&buffer, "");
    buffer_printf(&buffer, "%s", "");
    assert_holds(&buffer, "x", 1);
    buffer_free(&buffer);
}

/* Formatted texts of every length around the sizes at which memory grows. */
static void formatted_texts_of_any_length_come_out_whole(void **state)
{
    (void)state;
    enum { LONGEST = 5000 };
    char *wanted = malloc(LONGEST + 1);
    assert_non_null(wanted);
    for (size_t i = 0; i < LONGEST; i++)
        wanted[i] = (char)('a' + i % 23);
    wanted[LONGEST] = '\0';
    for (size_t length = 0; length <= LONGEST; length += length < 600 ? 1 : 37) {
        struct buffer buffer = BUFFER_EMPTY;
        buffer_printf(&buffer, "%.*s", (int)length, wanted);
        assert_holds(&buffer, wanted, length);
        buffer_printf(&buffer, "%.*s", (int)length, wanted);
        assert_int_equal(buffer.length, 2 * length);
        if (length > 0)
            assert_memory_equal(buffer.bytes + length, wanted, length);
        buffer_free(&buffer);
    }
    free(wanted);
}

/* A long run of random steps against a plain array. */
static void content_follows_every_step(void **state)
{
    (void)state;
    enum { STEPS = 20000, MOST = 1 << 16 };
    static char model[MOST], piece[3000];
    size_t length = 0;
    struct buffer buffer = BUFFER_EMPTY;
    for (unsigned step = 0, random = 12345; step < STEPS; step++) {
        random = random * 1103515245U + 12345U;
        size_t size = (random >> 8) % sizeof piece;
        switch ((random >> 4) % 8) {
        case 0:
        case 1: {
            size_t dropped = size > length ? length : size;
            buffer_drop_front(&buffer, size);
            memmove(model, model + dropped, length - dropped);
            length -= dropped;
            break;
        }
        case 2:
            assert_int_equal(buffer_reserve(&buffer, size), 0);
            assert_true(buffer.capacity - buffer.length >= size);
            break;
        default:
            size %= 200;
            if (length + size > MOST)
                break;
            memset(piece, (int)(step % 251), size);
            buffer_append(&buffer, piece, size);
            memcpy(model + length, piece, size);
            length += size;
        }
        assert_holds(&buffer, model, length);
    }
    buffer_free(&buffer);
}

static void reserved_room_takes_bytes_without_moving(void **state)
{
    (void)state;
    struct buffer buffer = BUFFER_EMPTY;
    assert_int_equal(buffer_reserve(&buffer, 0), 0);
    buffer_append_text(&buffer, "abc");
    assert_int_equal(buffer_reserve(&buffer, 100000), 0);
    assert_holds(&buffer, "abc", 3);
    const char *bytes = buffer.bytes;
    for (int i = 0; i < 100000; i++)
        buffer_append(&buffer, "x", 1);
    assert_ptr_equal(buffer.bytes, bytes);
    assert_int_equal(buffer.length, 100003);
    buffer_free(&buffer);
}

static void clear_forgets_content_and_keeps_memory(void **state)
{
    (void)state;
    struct buffer buffer = BUFFER_EMPTY;
    buffer_append_text(&buffer, "something to forget");
    const char *bytes = buffer.bytes;
    size_t capacity = buffer.capacity;
    buffer_clear(&buffer);
    assert_int_equal(buffer.length, 0);
    assert_ptr_equal(buffer.bytes, bytes);
    assert_int_equal(buffer.capacity, capacity);
    buffer_append_text(&buffer, "new");
    assert_holds(&buffer, "new", 3);
    assert_ptr_equal(buffer.bytes, bytes);
    buffer_free(&buffer);
    buffer_clear(&buffer);
    assert_holds(&buffer, "", 0);
}

static void freed_buffer_can_be_used_again(void **state)
{
    (void)state;
    struct buffer buffer = BUFFER_EMPTY;
    buffer_append_text(&buffer, "old");
    buffer_free(&buffer);
    assert_null(buffer.bytes);
    assert_int_equal(buffer.length, 0);
    assert_int_equal(buffer.capacity, 0);
    buffer_append_text(&buffer, "new");
    assert_holds(&buffer, "new", 3);
    buffer_free(&buffer);
    buffer_free(&buffer);
}

static void front_is_dropped_at_most_to_the_end(void **state)
{
    (void)state;
    struct buffer buffer = BUFFER_EMPTY;
    buffer_drop_front(&buffer, 0);
    buffer_drop_front(&buffer, 5);
    assert_holds(&buffer, "", 0);
    buffer_append_text(&buffer, "abcdef");
    buffer_drop_front(&buffer, 0);
    assert_holds(&buffer, "abcdef", 6);
    buffer_drop_front(&buffer, 2);
    assert_holds(&buffer, "cdef", 4);
    buffer_drop_front(&buffer, 4);
    assert_holds(&buffer, "", 0);
    buffer_append_text(&buffer, "xyz");
    buffer_drop_front(&buffer, SIZE_MAX);
    assert_holds(&buffer, "", 0);
    buffer_append_text(&buffer, "again");
    assert_holds(&buffer, "again", 5);
    buffer_free(&buffer);
}

static void want_of_memory_is_remembered(void **state)
{
    (void)state;
    /* The first sums overflow, the others are more than any machine has. */
    static const size_t extras[] = {SIZE_MAX, SIZE_MAX - 2, SIZE_MAX - 3, SIZE_MAX / 2 + 1, SIZE_MAX / 2};
    for (size_t i = 0; i < sizeof extras / sizeof extras[0]; i++) {
        struct buffer buffer = BUFFER_EMPTY;
        buffer_append_text(&buffer, "kept");
        assert_int_equal(buffer_reserve(&buffer, extras[i]), -1);
        assert_true(buffer.failed);
        assert_int_equal(buffer.length, 4);
        assert_memory_equal(buffer.bytes, "kept", 4);

        /* A writer goes on and asks at the end. */
        buffer_append_text(&buffer, "more");
        buffer_printf(&buffer, "%d", 1);
        assert_true(buffer.failed);
        assert_memory_equal(buffer.bytes, "kept", 4);

        buffer_clear(&buffer);
        buffer_append_text(&buffer, "new");
        assert_holds(&buffer, "new", 3);
        buffer_free(&buffer);

        assert_int_equal(buffer_reserve(&buffer, extras[i]), -1);
        assert_true(buffer.failed);
        buffer_free(&buffer);
        assert_false(buffer.failed);
    }
}

#ifdef OWN_REALLOC
static void append_123(struct buffer *buffer, int way)
{
    if (way == 0)
        buffer_append(buffer, "123", 3);
    else if (way == 1)
        buffer_append_text(buffer, "123");
    else if (way == 2)
        buffer_append_number(buffer, 123);
    else
        buffer_printf(buffer, "%s", "123");
}

/* Whatever there is no memory for sets `failed`, and leaves what was there: no part of it is appended, though there
 * was room for a part. What is appended later does not make it forgotten. */
static void every_way_to_append_may_fail(void **state)
{
    (void)state;
    enum { WAYS = 4 };
    char wanted[1024];
    memset(wanted, 'x', sizeof wanted);
    for (size_t room = 0; room < 3; room++)
        for (int way = 0; way < WAYS; way++) {
            struct buffer buffer = BUFFER_EMPTY;
            assert_int_equal(buffer_reserve(&buffer, 1), 0);
            assert_true(buffer.capacity + 3 <= sizeof wanted);
            buffer_append(&buffer, wanted, buffer.capacity - room);
            size_t length = buffer.length;
            out_of_memory = true;
            append_123(&buffer, way);
            out_of_memory = false;
            assert_true(buffer.failed);
            assert_int_equal(buffer.length, length);
            assert_memory_equal(buffer.bytes, wanted, length);

            append_123(&buffer, way);
            assert_true(buffer.failed);
            assert_int_equal(buffer.length, length + 3);
            assert_memory_equal(buffer.bytes, wanted, length);
            assert_memory_equal(buffer.bytes + length, "123", 3);
            buffer_free(&buffer);
        }
}

static void the_first_append_may_fail(void **state)
{
    (void)state;
    for (int way = 0; way < 4; way++) {
        struct buffer buffer = BUFFER_EMPTY;
        out_of_memory = true;
        append_123(&buffer, way);
        out_of_memory = false;
        assert_true(buffer.failed);
        assert_int_equal(buffer.length, 0);
        assert_null(buffer.bytes);
        buffer_clear(&buffer);
        append_123(&buffer, way);
        assert_holds(&buffer, "123", 3);
        buffer_free(&buffer);
    }
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_buffer_has_nothing),
        cmocka_unit_test(pieces_are_appended_in_order),
        cmocka_unit_test(numbers_are_appended_in_decimal),
        cmocka_unit_test(nothing_appended_changes_nothing),
        cmocka_unit_test(formatted_texts_of_any_length_come_out_whole),
        cmocka_unit_test(content_follows_every_step),
        cmocka_unit_test(reserved_room_takes_bytes_without_moving),
        cmocka_unit_test(clear_forgets_content_and_keeps_memory),
        cmocka_unit_test(freed_buffer_can_be_used_again),
        cmocka_unit_test(front_is_dropped_at_most_to_the_end),
        cmocka_unit_test(want_of_memory_is_remembered),
#ifdef OWN_REALLOC
        cmocka_unit_test(every_way_to_append_may_fail),
        cmocka_unit_test(the_first_append_may_fail),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
