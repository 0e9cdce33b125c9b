/* The options of `event-syncer process`. An option beats the environment, the environment beats the default. Texts point
 * into the command line or the environment. */
#ifndef CLI_PROCESS_OPTIONS_H
#define CLI_PROCESS_OPTIONS_H

#include "cli/options.h"

#include <stdbool.h>

struct process_options {
    const char *file;
    const char *database;
    bool follow;
};

enum options_result process_options_read(struct process_options *options, int argument_count,
                                         char **arguments);

/* Prints the table as help text on stdout. */
void process_options_print(void);

#endif
