#include "base/buffer.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SMALLEST_CAPACITY = 256 };

void buffer_free(struct buffer *buffer)
{
    free(buffer->bytes);
    *buffer = BUFFER_EMPTY;
}

void buffer_clear(struct buffer *buffer)
{
    buffer->length = 0;
    buffer->failed = false;
}

size_t buffer_capacity_for(const struct buffer *buffer, size_t extra)
{
    size_t capacity = buffer->capacity == 0 ? SMALLEST_CAPACITY : buffer->capacity;
    while (capacity - buffer->length < extra) {
        if (capacity > SIZE_MAX / 2)
            return 0;
        capacity *= 2;
    }
    return capacity;
}

int buffer_reserve(struct buffer *buffer, size_t extra)
{
    if (buffer->capacity - buffer->length >= extra)
        return 0;
    return buffer_set_capacity(buffer, buffer_capacity_for(buffer, extra));
}

int buffer_set_capacity(struct buffer *buffer, size_t capacity)
{
    char *bytes = capacity == 0 ? NULL : realloc(buffer->bytes, capacity);
    if (bytes == NULL) {
        buffer->failed = true;
        return -1;
    }
    buffer->bytes = bytes;
    buffer->capacity = capacity;
    return 0;
}

void buffer_append_number(struct buffer *buffer, uint64_t number)
{
    char digits[20];
    size_t first = sizeof digits;
    do {
        digits[--first] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    buffer_append(buffer, digits + first, sizeof digits - first);
}

void buffer_printf(struct buffer *buffer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    size_t room = buffer->capacity - buffer->length;
    char *end = buffer->bytes == NULL ? NULL : buffer->bytes + buffer->length;
    int length = vsnprintf(end, room, format, arguments);
    va_end(arguments);
    if (length < 0) {
        buffer->failed = true;
        return;
    }
    if ((size_t)length >= room) {
        /* vsnprintf needs room for its NUL, which is not counted in `length`. */
        if (buffer_reserve(buffer, (size_t)length + 1) != 0)
            return;
        va_start(arguments, format);
        vsnprintf(buffer->bytes + buffer->length, (size_t)length + 1, format, arguments);
        va_end(arguments);
    }
    buffer->length += (size_t)length;
}

void buffer_drop_front(struct buffer *buffer, size_t length)
{
    if (length >= buffer->length) {
        buffer->length = 0;
        return;
    }
    memmove(buffer->bytes, buffer->bytes + length, buffer->length - length);
    buffer->length -= length;
}
