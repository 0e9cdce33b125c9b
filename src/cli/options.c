#include "cli/options.h"

#include "base/clock.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int options_fail(const char *format, ...)
{
    char message[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    fprintf(stderr, "event-syncer: %s\n", message);
    return -1;
}

int options_read_seconds(const char *name, const char *value, int64_t least_ns, int64_t most_ns, int64_t *ns)
{
    if (text_parse_seconds(text_from(value), most_ns, ns) == 0 && *ns >= least_ns)
        return 0;
    if (least_ns <= 1)
        return options_fail("%s takes a number of seconds above 0, not '%s'", name, value);
    return options_fail("%s takes %g to %g seconds, not '%s'", name, (double)least_ns / CLOCK_NS_PER_SECOND,
                        (double)most_ns / CLOCK_NS_PER_SECOND, value);
}

int options_read_number(const char *name, const char *value, uint64_t most, uint64_t *number)
{
    if (text_parse_number(text_from(value), 1, most, number) != 0)
        return options_fail("%s takes a whole number from 1 to %llu, not '%s'", name,
                            (unsigned long long)most, value);
    return 0;
}

int options_read_token(const char *name, struct text value, struct buffer *token)
{
    if (value.length == 0)
        return options_fail("%s is empty; give a token, or leave it away", name);
    if (!text_is_utf8(value) || text_has_control(value))
        return options_fail("the token of %s holds bytes that can't stand in a header", name);
    if (text_trim(value).length < value.length)
        return options_fail("the token of %s begins or ends with a blank, which no header keeps", name);
    if (value.length > OPTIONS_TOKEN_BYTES)
        return options_fail("the token of %s is longer than %d bytes", name, (int)OPTIONS_TOKEN_BYTES);
    buffer_clear(token);
    buffer_append(token, value.bytes, value.length);
    return token->failed ? options_fail("out of memory") : 0;
}

int options_read_line(const char *name, const char *path, char *line, size_t capacity, struct text *text)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return options_fail("can't read %s %s: %s", name, path, strerror(errno));
    size_t length = 0;
    int c;
    errno = 0;
    while ((c = getc(file)) != EOF && c != '\n' && length < capacity)
        line[length++] = (char)c;
    int error = ferror(file) != 0 ? errno : 0;
    fclose(file);
    if (error != 0)
        return options_fail("can't read %s %s: %s", name, path, strerror(error));
    if (c != EOF && c != '\n')
        return options_fail("the first line of %s %s is longer than %zu bytes", name, path, capacity);
    if (length == 0)
        return options_fail("%s %s is empty; write the token into its first line", name, path);
    if (line[length - 1] == '\r')
        length--;
    *text = (struct text){.bytes = line, .length = length};
    return 0;
}

static const struct option_row *find(const struct option_table *table, struct text name)
{
    for (size_t i = 0; i < table->count; i++) {
        if (text_equals(name, text_from(table->rows[i].name)))
            return &table->rows[i];
    }
    return NULL;
}

/* Reads one argument and moves on behind it. */
static int read_argument(const struct option_table *table, void *options, int count, char **arguments,
                         int *at)
{
    const char *argument = arguments[(*at)++];
    if (table->set_argument != NULL && (argument[0] != '-' || argument[1] == '\0'))
        return table->set_argument(options, argument);
    struct text name = text_from(argument);
    const char *value = strchr(argument, '=');
    if (value != NULL)
        name.length = (size_t)(value++ - argument);
    const struct option_row *row = find(table, name);
    if (row == NULL)
        return options_fail("there is no option '%.*s'; see %s", (int)name.length, argument, table->help);
    if (row->value == NULL && value != NULL)
        return options_fail("%s takes no value", row->name);
    if (row->value != NULL && value == NULL) {
        if (*at == count)
            return options_fail("%s needs a value: %s %s", row->name, row->name, row->value);
        value = arguments[(*at)++];
    }
    return row->set(options, value);
}

enum options_result options_read(const struct option_table *table, void *options, int argument_count,
                                 char **arguments)
{
    for (int at = 0; at < argument_count;) {
        if (strcmp(arguments[at], "--help") == 0)
            return OPTIONS_HELP;
        if (read_argument(table, options, argument_count, arguments, &at) != 0)
            return OPTIONS_WRONG;
    }
    return OPTIONS_GO;
}

void options_print(const struct option_table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct option_row *row = &table->rows[i];
        char name[64];
        snprintf(name, sizeof name, "%s %s", row->name, row->value == NULL ? "" : row->value);
        printf("  %-28s %s\n", name, row->help);
    }
    printf("  %-28s %s\n", "--help", "print this");
}
