#include "cli/send_options.h"

#include "base/clock.h"
#include "base/text.h"
#include "cli/client.h"

#include <stdlib.h>

enum { MOST_TIMEOUT_SECONDS = 3600, MOST_GIVE_UP_SECONDS = 24 * 3600 };

/* --- one function an option: each reads `value` and returns 0, or -1 after saying why --- */

static int set_url(void *context, const char *value)
{
    struct send_options *options = context;
    options->url = value;
    return 0;
}

static int set_token_value(void *context, const char *value)
{
    struct send_options *options = context;
    return options_read_token("--token", text_from(value), &options->token);
}

static int set_token_file(void *context, const char *value)
{
    struct send_options *options = context;
    char line[OPTIONS_TOKEN_BYTES + 2];
    struct text token;
    if (options_read_line("--token-file", value, line, sizeof line, &token) != 0)
        return -1;
    return options_read_token("--token-file", token, &options->token);
}

static int set_connections(void *context, const char *value)
{
    struct send_options *options = context;
    return options_read_number("--connections", value, CLIENT_MOST_SLOTS, &options->connections);
}

static int set_timeout(void *context, const char *value)
{
    struct send_options *options = context;
    return options_read_seconds("--timeout", value, CLOCK_NS_PER_MS,
                                MOST_TIMEOUT_SECONDS * CLOCK_NS_PER_SECOND, &options->timeout_ns);
}

static int set_give_up(void *context, const char *value)
{
    struct send_options *options = context;
    return options_read_seconds("--give-up", value, CLOCK_NS_PER_MS,
                                MOST_GIVE_UP_SECONDS * CLOCK_NS_PER_SECOND, &options->give_up_ns);
}

static int set_file(void *context, const char *value)
{
    struct send_options *options = context;
    if (options->file != NULL)
        return options_fail("send takes one file, not '%s' and '%s'; put them together with cat, and send -",
                            options->file, value);
    options->file = value;
    return value[0] == '\0' ? options_fail("send takes the name of a file, or - for standard input") : 0;
}

static const struct option_row option_rows[] = {
    {"--url", "URL", "the server, http://HOST[:PORT][/PATH] or https (http://127.0.0.1:3031)", set_url},
    {"--token", "TOKEN", "what it wants to see (EVENT_SYNCER_TOKEN)", set_token_value},
    {"--token-file", "FILE", "a file whose first line is the token", set_token_file},
    {"--connections", "N", "lines that may be under way at once (8)", set_connections},
    {"--timeout", "SECONDS", "the longest that an answer may take (30)", set_timeout},
    {"--give-up", "SECONDS", "how long to try when the server takes nothing (60)", set_give_up},
};

static const struct option_table table = {
    .rows = option_rows,
    .count = sizeof option_rows / sizeof option_rows[0],
    .help = "event-syncer send --help",
    .set_argument = set_file,
};

void send_options_print(void)
{
    options_print(&table);
}

static int read_environment(struct send_options *options)
{
    const char *token = getenv("EVENT_SYNCER_TOKEN");
    if (options->token.length > 0 || token == NULL || token[0] == '\0')
        return 0;
    return options_read_token("EVENT_SYNCER_TOKEN", text_from(token), &options->token);
}

enum options_result send_options_read(struct send_options *options, int argument_count, char **arguments)
{
    *options = (struct send_options){
        .url = "http://127.0.0.1:3031",
        .connections = 8,
        .timeout_ns = 30 * CLOCK_NS_PER_SECOND,
        .give_up_ns = 60 * CLOCK_NS_PER_SECOND,
    };
    enum options_result result = options_read(&table, options, argument_count, arguments);
    if (result != OPTIONS_GO)
        return result;
    if (options->file == NULL)
        options->file = "events.jsonl";
    return read_environment(options) == 0 ? OPTIONS_GO : OPTIONS_WRONG;
}

void send_options_free(struct send_options *options)
{
    buffer_free(&options->token);
}
