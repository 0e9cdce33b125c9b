/* A growing run of bytes.
 *
 * The owner of the struct owns the bytes and frees them with buffer_free. Appending never fails half-way:
 * when there is no memory, the buffer keeps what it had and remembers it in `failed`, so that a writer can
 * append many pieces and ask once at the end. Not locked: one thread at a time.
 */
#ifndef BASE_BUFFER_H
#define BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct buffer {
    char *bytes;
    size_t length;
    size_t capacity;
    bool failed;
};

#define BUFFER_EMPTY                                                                                         \
    (struct buffer)                                                                                          \
    {                                                                                                        \
        .bytes = NULL                                                                                        \
    }

/* Frees the bytes and leaves an empty buffer that can be used again. */
void buffer_free(struct buffer *buffer);

/* Forgets the content and a failure, keeps the memory. */
void buffer_clear(struct buffer *buffer);

/* Makes room for `extra` more bytes behind `length`. Returns 0, or -1 without memory (and sets `failed`). */
int buffer_reserve(struct buffer *buffer, size_t extra);

/* The capacity that buffer_reserve would make; 0 when there is no such number. */
size_t buffer_capacity_for(const struct buffer *buffer, size_t extra);

/* Makes the capacity larger, exactly. Returns 0, or -1 without memory (and sets `failed`). */
int buffer_set_capacity(struct buffer *buffer, size_t capacity);

/* Append bytes, a NUL-terminated string (without its NUL), or a formatted text. Failures only set `failed`.
 */
static inline void buffer_append(struct buffer *buffer, const void *bytes, size_t length)
{
    if (length == 0 || (buffer->capacity - buffer->length < length && buffer_reserve(buffer, length) != 0))
        return;
    memcpy(buffer->bytes + buffer->length, bytes, length);
    buffer->length += length;
}
static inline void buffer_append_text(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
}
void buffer_append_number(struct buffer *buffer, uint64_t number); /* in decimal */
void buffer_printf(struct buffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Drops the first `length` bytes (at most all of them). */
void buffer_drop_front(struct buffer *buffer, size_t length);

#endif
