#include "base/log.h"

#include "base/clock.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const level_names[] = {
    [LOG_LEVEL_ERROR] = "error",
    [LOG_LEVEL_WARN] = "warn",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_DEBUG] = "debug",
};

int log_level_parse(struct text name, enum log_level *level)
{
    for (enum log_level i = LOG_LEVEL_ERROR; i <= LOG_LEVEL_DEBUG; i++) {
        if (text_equals(name, text_from(level_names[i]))) {
            *level = i;
            return 0;
        }
    }
    return -1;
}

static void write_line(const struct log *log, enum log_level level, unsigned long long left_out,
                       const char *format, va_list arguments)
{
    char line[LOG_LINE_BYTES], end[48];
    char time[CLOCK_RFC3339_BYTES];
    clock_format_rfc3339(clock_wall_ms(), time);
    size_t end_length = left_out == 0 ? (size_t)snprintf(end, sizeof end, "\n")
                                      : (size_t)snprintf(end, sizeof end, " left_out=%llu\n", left_out);
    size_t length = (size_t)snprintf(line, sizeof line, "%s %s ", time, level_names[level]);
    size_t room = sizeof line - length - end_length;
    int wanted = vsnprintf(line + length, room, format, arguments);
    length += wanted < 0 ? 0 : (size_t)wanted >= room ? room - 1 : (size_t)wanted;
    memcpy(line + length, end, end_length);
    length += end_length;
    /* A reader that has stopped must not stop the server: the line is dropped. */
    struct pollfd reader = {.fd = log->descriptor, .events = POLLOUT};
    if (poll(&reader, 1, 0) != 1)
        return;
    ssize_t written = write(log->descriptor, line, length);
    (void)written; /* nobody is left to tell */
}

void log_write(const struct log *log, enum log_level level, const char *format, ...)
{
    if (level > log->level)
        return;
    va_list arguments;
    va_start(arguments, format);
    write_line(log, level, 0, format, arguments);
    va_end(arguments);
}

bool log_limited(const struct log *log, struct log_limit *limit, enum log_level level, const char *format,
                 ...)
{
    long long now = clock_monotonic_ns();
    long long next_at = atomic_load(&limit->next_at);
    if (level > log->level)
        return false;
    /* Of several threads at a time one says it. */
    if (now < next_at || !atomic_compare_exchange_strong(&limit->next_at, &next_at,
                                                         now + LOG_PAUSE_SECONDS * CLOCK_NS_PER_SECOND)) {
        atomic_fetch_add(&limit->left_out, 1);
        return false;
    }
    va_list arguments;
    va_start(arguments, format);
    write_line(log, level, atomic_exchange(&limit->left_out, 0), format, arguments);
    va_end(arguments);
    return true;
}

const char *log_quote(struct text text, char quoted[static LOG_TEXT_BYTES])
{
    enum { LONGEST_ESCAPE = 4, TAIL = sizeof "...\"" };
    size_t length = 0;
    quoted[length++] = '"';
    for (size_t i = 0; i < text.length; i++) {
        unsigned char byte = (unsigned char)text.bytes[i];
        if (length + LONGEST_ESCAPE + TAIL > LOG_TEXT_BYTES) {
            for (int dots = 0; dots < 3; dots++)
                quoted[length++] = '.';
            break;
        }
        if (byte == '"' || byte == '\\') {
            quoted[length++] = '\\';
            quoted[length++] = (char)byte;
        } else if (byte < 0x20 || byte > 0x7E) {
            length += (size_t)snprintf(quoted + length, LONGEST_ESCAPE + 1, "\\x%02x", byte);
        } else {
            quoted[length++] = (char)byte;
        }
    }
    quoted[length++] = '"';
    quoted[length] = '\0';
    return quoted;
}
