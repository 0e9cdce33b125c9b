#include "cli/send_lines.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { READ_BYTES = 128 * 1024, LINE_END_BYTES = 2 };

void send_lines_begin(struct send_lines *lines, int descriptor)
{
    *lines = (struct send_lines){.descriptor = descriptor};
}

void send_lines_free(struct send_lines *lines)
{
    buffer_free(&lines->read);
}

/* The line of `length` bytes at the front, its line feed (if there is one) not counted; moves on behind it. */
static enum send_lines_result cut(struct send_lines *lines, size_t length, size_t feed_bytes,
                                  struct send_lines_line *line)
{
    struct text text = {.bytes = lines->read.bytes + lines->at, .length = length};
    bool too_long = lines->skipping;
    *line = (struct send_lines_line){.number = ++lines->number,
                                     .bytes = lines->skipped_bytes + length + feed_bytes};
    lines->at += length + feed_bytes;
    lines->searched = lines->at;
    lines->skipping = false;
    lines->skipped_bytes = 0;
    if (text.length > 0 && text.bytes[text.length - 1] == '\r')
        text.length--;
    if (too_long || text.length > SEND_LINE_BYTES)
        return SEND_LINES_TOO_LONG;
    if (text_trim(text).length == 0)
        return SEND_LINES_BLANK;
    line->text = text;
    return SEND_LINES_LINE;
}

enum send_lines_result send_lines_next(struct send_lines *lines, struct send_lines_line *line)
{
    size_t length = lines->read.length - lines->at;
    const char *feed = NULL;
    if (lines->read.length > lines->searched)
        feed = memchr(lines->read.bytes + lines->searched, '\n', lines->read.length - lines->searched);
    if (feed != NULL)
        return cut(lines, (size_t)(feed - (lines->read.bytes + lines->at)), 1, line);
    lines->searched = lines->read.length;
    if (lines->ended)
        return length == 0 && !lines->skipping ? SEND_LINES_END : cut(lines, length, 0, line);
    if (lines->skipping || length > SEND_LINE_BYTES + LINE_END_BYTES) {
        lines->skipping = true;
        lines->skipped_bytes += length;
        lines->at = lines->read.length;
    }
    return SEND_LINES_MORE;
}

int send_lines_read(struct send_lines *lines)
{
    buffer_drop_front(&lines->read, lines->at);
    lines->searched -= lines->at;
    lines->at = 0;
    if (buffer_reserve(&lines->read, READ_BYTES) != 0) {
        errno = ENOMEM;
        return -1;
    }
    ssize_t got = read(lines->descriptor, lines->read.bytes + lines->read.length, READ_BYTES);
    if (got < 0)
        return errno == EINTR || errno == EAGAIN ? 0 : -1;
    lines->read.length += (size_t)got;
    lines->ended = got == 0;
    return 0;
}
