/* The log: one line an entry on a descriptor (stderr), made for people and for grep.
 *
 *   2026-01-02T03:04:05.678Z info listening address=127.0.0.1:3031
 *
 * A line is the time (UTC), the level, a sentence and pairs of name=value. Values that strangers had a hand in go
 * through LOG_TEXT, which quotes and escapes them, so that nobody can forge a line; keys, payloads and tokens are
 * never logged below debug level. Each line is one write(2), so lines of several threads never mix. The struct is
 * made by main, never changes afterwards and needs no lock. Logging can't fail or block: a line that does not fit
 * LOG_LINE_BYTES is cut, one that the reader of a pipe has no room for is dropped.
 *
 * What can go wrong with every request, as when memory or the disk is full, goes through log_limited: a shortage that
 * lasts must not fill the log.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/text.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARN,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
};

enum { LOG_LINE_BYTES = 1024, LOG_TEXT_BYTES = 384 };

struct log {
    int descriptor;
    enum log_level level;
};

/* Reads a level's name ("error", "warn", "info", "debug"). Returns 0, or -1 for any other word. */
int log_level_parse(struct text name, enum log_level *level);

/* Writes a line when `level` is not above the log's own. `format` gives the sentence and the pairs. */
void log_write(const struct log *log, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define log_error(log, ...) log_write(log, LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(log, ...)  log_write(log, LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(log, ...)  log_write(log, LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(log, ...) log_write(log, LOG_LEVEL_DEBUG, __VA_ARGS__)

enum { LOG_PAUSE_SECONDS = 10 };

/* One for each kind of line, zeroed at first. Any thread. */
struct log_limit {
    atomic_llong next_at; /* CLOCK_MONOTONIC, ns; 0: never said */
    atomic_ullong left_out;
};

/* As log_write, but at most one line in LOG_PAUSE_SECONDS; the next one says how many were left out meanwhile, as
 * left_out=N. Returns whether it was said. */
bool log_limited(const struct log *log, struct log_limit *limit, enum log_level level, const char *format,
                 ...) __attribute__((format(printf, 4, 5)));

/* Writes `text` into `quoted` in double quotes, with quotes, backslashes, control characters and bytes above
 * 0x7E escaped; cut with "..." when it is too long. Returns `quoted`. */
const char *log_quote(struct text text, char quoted[static LOG_TEXT_BYTES]);

/* A stranger's text, quoted for the duration of the enclosing block. */
#define LOG_TEXT(text) log_quote((text), (char[LOG_TEXT_BYTES]){0})

#endif
