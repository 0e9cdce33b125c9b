/* Command lines: `--name value` or `--name=value`, and perhaps the name of a file, by one table a command: a row has an option's
 * name, what it takes, its help and what it sets together.
 *
 * Errors are one line on stderr that says what to do. No memory, no state.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include "base/buffer.h"
#include "base/text.h"

#include <stddef.h>
#include <stdint.h>

struct option_row {
    const char *name;
    const char *value; /* what it takes, NULL for nothing */
    const char *help;
    /* Sets the option; `value` is NULL where it takes none. Returns 0, or -1 after saying what is wrong. */
    int (*set)(void *options, const char *value);
};

struct option_table {
    const struct option_row *rows;
    size_t count;
    const char *help; /* the command that tells the options, for errors */
    /* Takes an argument that is no option; NULL: there are none. */
    int (*set_argument)(void *options, const char *argument);
};

enum options_result {
    OPTIONS_GO,
    OPTIONS_HELP,  /* --help was asked for */
    OPTIONS_WRONG, /* said on stderr */
};

/* Reads the arguments behind the command's name. */
enum options_result options_read(const struct option_table *table, void *options, int argument_count,
                                 char **arguments);

/* Prints the table as help text on stdout. */
void options_print(const struct option_table *table);

/* Says on stderr what is wrong. Returns -1. */
int options_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Read a value for the option `name`. Return 0, or -1 after saying what is wrong. */
int options_read_seconds(const char *name, const char *value, int64_t least_ns, int64_t most_ns, int64_t *ns);
int options_read_number(const char *name, const char *value, uint64_t most, uint64_t *number);

/* The longest token: with it, the head of a request still has room for all else. */
enum { OPTIONS_TOKEN_BYTES = 4096 };

/* Takes a token over: text without control characters, and without blanks at its ends. Returns 0, or -1 after saying what is wrong. */
int options_read_token(const char *name, struct text value, struct buffer *token);

/* The first line of a file that holds a secret, in `line`, without its end. A line that does not fit is refused, never cut.
 * Returns 0, or -1 after saying what is wrong. */
int options_read_line(const char *name, const char *path, char *line, size_t capacity, struct text *text);

#endif
