/* event-syncer: picks the command. */
#include "api/server.h"
#include "cli/commands.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct command {
    const char *name;
    int (*run)(int argument_count, char **arguments);
    const char *help;
};

static const struct command commands[] = {
    {"serve", command_serve, "serve events over HTTP (the default)"},
    {"process", command_process, "turn a journal of live events into revenue"},
    {"send", command_send, "post the lines of a file to a server"},
};

enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

static void print_help(void)
{
    printf("usage: event-syncer [COMMAND] [options]\n\ncommands:\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        printf("  %-10s %s\n", commands[i].name, commands[i].help);
    printf("\nevent-syncer COMMAND --help tells the options of a command; event-syncer --version the "
           "version.\n\n");
}

int main(int argument_count, char **arguments)
{
    const char *first = argument_count > 1 ? arguments[1] : "";
    if (strcmp(first, "--version") == 0) {
        printf("event-syncer %s\n", EVENT_SYNCER_VERSION);
        return EXIT_SUCCESS;
    }
    if (strcmp(first, "--help") == 0) {
        print_help();
        return command_serve(argument_count - 1, arguments + 1);
    }
    if (first[0] == '-' || first[0] == '\0')
        return command_serve(argument_count - 1, arguments + 1);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(first, commands[i].name) == 0)
            return commands[i].run(argument_count - 2, arguments + 2);
    }
    fprintf(stderr, "event-syncer: there is no command '%s'; see event-syncer --help\n", first);
    return EXIT_USAGE;
}
