/* The lines of a file or a pipe, one after the other, in constant memory.
 *
 * A line ends with LF or CRLF, or with the end of the input. Lines of spaces and tabs alone are blank. A line longer
 * than SEND_LINE_BYTES (its end not counted) is skipped as it comes and told by its number. Lines count from 1, blank
 * ones too.
 *
 * The struct is the caller's, ended by send_lines_free; the descriptor stays the caller's. Reading is apart from
 * cutting, so that the caller decides when a read may block. One thread.
 */
#ifndef CLI_SEND_LINES_H
#define CLI_SEND_LINES_H

#include "base/buffer.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SEND_LINE_BYTES = 1024 * 1024 };

struct send_lines {
    int descriptor;
    struct buffer read; /* bytes before `at` are done with */
    size_t at;
    size_t searched;        /* no line feed before */
    bool ended;             /* the descriptor gives no more */
    bool skipping;          /* in a line that is too long */
    uint64_t skipped_bytes; /* of that line */
    uint64_t number;        /* of the last line that was told */
};

struct send_lines_line {
    struct text text; /* without its end; valid until the next call; only for SEND_LINES_LINE */
    uint64_t number;
    uint64_t bytes; /* in the file, its end included */
};

enum send_lines_result {
    SEND_LINES_LINE,
    SEND_LINES_BLANK,
    SEND_LINES_TOO_LONG,
    SEND_LINES_MORE, /* send_lines_read first */
    SEND_LINES_END,
};

void send_lines_begin(struct send_lines *lines, int descriptor);
void send_lines_free(struct send_lines *lines);

/* The next line, out of what has been read. Fills `line` for the first three results. */
enum send_lines_result send_lines_next(struct send_lines *lines, struct send_lines_line *line);

/* One read(2). Returns 0, at the end too, or -1 with errno (ENOMEM too). */
int send_lines_read(struct send_lines *lines);

#endif
