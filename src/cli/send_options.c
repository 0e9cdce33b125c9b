#include "cli/send_options.h"

#include "base/clock.h"
#include "base/text.h"
#include "cli/client.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TIMEOUT_SECONDS = 3600, MOST_GIVE_UP_SECONDS = 24 * 3600 };

static int fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int fail(const char *format, ...)
{
    char message[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    fprintf(stderr, "event-syncer: %s\n", message);
    return -1;
}

/* --- one function an option: each reads `value` and returns 0, or -1 after saying why --- */

static int read_seconds(const char *name, const char *value, int most_seconds, int64_t *ns)
{
    if (text_parse_seconds(text_from(value), most_seconds * CLOCK_NS_PER_SECOND, ns) != 0 ||
        *ns < CLOCK_NS_PER_MS)
        return fail("%s takes 0.001 to %d seconds, not '%s'", name, most_seconds, value);
    return 0;
}

static int set_token(struct send_options *options, const char *name, struct text token)
{
    if (token.length == 0)
        return fail("%s is empty; give a token, or leave it away", name);
    if (!text_is_utf8(token) || text_has_control(token))
        return fail("the token of %s holds bytes that can't stand in a header", name);
    buffer_clear(&options->token);
    buffer_append(&options->token, token.bytes, token.length);
    return options->token.failed ? fail("out of memory") : 0;
}

static int set_url(struct send_options *options, const char *value)
{
    options->url = value;
    return 0;
}

static int set_token_value(struct send_options *options, const char *value)
{
    return set_token(options, "--token", text_from(value));
}

static int set_token_file(struct send_options *options, const char *value)
{
    char line[4096];
    FILE *file = fopen(value, "re");
    if (file == NULL)
        return fail("can't read --token-file %s: %s", value, strerror(errno));
    char *read = fgets(line, sizeof line, file);
    fclose(file);
    if (read == NULL)
        return fail("--token-file %s is empty; write the token into its first line", value);
    return set_token(options, "--token-file", (struct text){.bytes = line, .length = strcspn(line, "\r\n")});
}

static int set_connections(struct send_options *options, const char *value)
{
    if (text_parse_number(text_from(value), 1, CLIENT_MOST_SLOTS, &options->connections) != 0)
        return fail("--connections takes a whole number from 1 to %d, not '%s'", (int)CLIENT_MOST_SLOTS,
                    value);
    return 0;
}

static int set_timeout(struct send_options *options, const char *value)
{
    return read_seconds("--timeout", value, MOST_TIMEOUT_SECONDS, &options->timeout_ns);
}

static int set_give_up(struct send_options *options, const char *value)
{
    return read_seconds("--give-up", value, MOST_GIVE_UP_SECONDS, &options->give_up_ns);
}

struct option_row {
    const char *name;
    const char *value; /* what it takes */
    const char *help;
    int (*set)(struct send_options *options, const char *value);
};

static const struct option_row option_rows[] = {
    {"--url", "URL", "the server, http://HOST[:PORT][/PATH] or https (http://127.0.0.1:3031)", set_url},
    {"--token", "TOKEN", "what it wants to see (EVENT_SYNCER_TOKEN)", set_token_value},
    {"--token-file", "FILE", "a file whose first line is the token", set_token_file},
    {"--connections", "N", "lines that may be under way at once (8)", set_connections},
    {"--timeout", "SECONDS", "the longest that an answer may take (30)", set_timeout},
    {"--give-up", "SECONDS", "how long to try when the server takes nothing (60)", set_give_up},
};

enum { OPTION_COUNT = sizeof option_rows / sizeof option_rows[0] };

void send_options_print(void)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s %s", option_rows[i].name, option_rows[i].value);
        printf("  %-26s %s\n", name, option_rows[i].help);
    }
    printf("  %-26s %s\n", "--help", "print this");
}

static const struct option_row *find_option(struct text name)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (text_equals(name, text_from(option_rows[i].name)))
            return &option_rows[i];
    }
    return NULL;
}

static int set_file(struct send_options *options, const char *value)
{
    if (options->file != NULL)
        return fail("send takes one file, not '%s' and '%s'; put them together with cat, and send -",
                    options->file, value);
    options->file = value;
    return value[0] == '\0' ? fail("send takes the name of a file, or - for standard input") : 0;
}

/* Reads the file's name or one option, `--name value` or `--name=value`, and moves on behind it. */
static int read_argument(struct send_options *options, int count, char **arguments, int *at)
{
    const char *argument = arguments[(*at)++];
    if (argument[0] != '-' || argument[1] == '\0')
        return set_file(options, argument);
    struct text name = text_from(argument);
    const char *value = strchr(argument, '=');
    if (value != NULL)
        name.length = (size_t)(value++ - argument);
    const struct option_row *row = find_option(name);
    if (row == NULL)
        return fail("there is no option '%.*s'; see event-syncer send --help", (int)name.length, argument);
    if (value == NULL) {
        if (*at == count)
            return fail("%s needs a value: %s %s", row->name, row->name, row->value);
        value = arguments[(*at)++];
    }
    return row->set(options, value);
}

static int read_environment(struct send_options *options)
{
    const char *token = getenv("EVENT_SYNCER_TOKEN");
    if (options->token.length > 0 || token == NULL || token[0] == '\0')
        return 0;
    return set_token(options, "EVENT_SYNCER_TOKEN", text_from(token));
}

enum options_result send_options_read(struct send_options *options, int argument_count, char **arguments)
{
    *options = (struct send_options){
        .url = "http://127.0.0.1:3031",
        .connections = 8,
        .timeout_ns = 30 * CLOCK_NS_PER_SECOND,
        .give_up_ns = 60 * CLOCK_NS_PER_SECOND,
    };
    for (int at = 0; at < argument_count;) {
        if (strcmp(arguments[at], "--help") == 0)
            return OPTIONS_HELP;
        if (read_argument(options, argument_count, arguments, &at) != 0)
            return OPTIONS_WRONG;
    }
    if (options->file == NULL)
        options->file = "events.jsonl";
    return read_environment(options) == 0 ? OPTIONS_GO : OPTIONS_WRONG;
}

void send_options_free(struct send_options *options)
{
    buffer_free(&options->token);
}
