#include "cli/process_options.h"

#include <stdlib.h>

static int set_database(void *context, const char *value)
{
    struct process_options *options = context;
    options->database = value;
    return value[0] == '\0' ? options_fail("--database takes sqlite:FILE or postgres://...") : 0;
}

static int set_follow(void *context, const char *value)
{
    struct process_options *options = context;
    (void)value;
    options->follow = true;
    return 0;
}

static int set_file(void *context, const char *argument)
{
    struct process_options *options = context;
    if (options->file != NULL)
        return options_fail("process takes one file, not '%s' and '%s'; run it for each", options->file,
                            argument);
    options->file = argument;
    return argument[0] == '\0' ? options_fail("process takes the name of a file") : 0;
}

static const struct option_row option_rows[] = {
    {"--database", "URL", "sqlite:FILE or postgres://... (sqlite:event-syncer.db; DATABASE_URL)",
     set_database},
    {"--follow", NULL, "go on with what is appended later, until it is stopped", set_follow},
};

static const struct option_table table = {
    .rows = option_rows,
    .count = sizeof option_rows / sizeof option_rows[0],
    .help = "event-syncer process --help",
    .set_argument = set_file,
};

enum options_result process_options_read(struct process_options *options, int argument_count,
                                         char **arguments)
{
    *options = (struct process_options){.follow = false};
    enum options_result result = options_read(&table, options, argument_count, arguments);
    if (options->file == NULL)
        options->file = "server-events.jsonl";
    const char *database = getenv("DATABASE_URL");
    if (options->database == NULL)
        options->database = database != NULL && database[0] != '\0' ? database : "sqlite:event-syncer.db";
    return result;
}

void process_options_print(void)
{
    options_print(&table);
}
