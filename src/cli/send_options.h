/* The options of `event-syncer send`: one table row has an option's name, default and help together, as in
 * cli/serve_options.h.
 *
 * An option beats the environment, the environment beats the default. Errors are one line on stderr that says what to do.
 * The struct owns nothing but the token's memory, freed by send_options_free; texts point into the command line.
 */
#ifndef CLI_SEND_OPTIONS_H
#define CLI_SEND_OPTIONS_H

#include "base/buffer.h"
#include "cli/options.h"

#include <stdint.h>

struct send_options {
    const char *file; /* "-": standard input */
    const char *url;  /* judged by client_create */
    struct buffer token;
    uint64_t connections;
    int64_t timeout_ns;
    int64_t give_up_ns;
};

/* Reads the arguments behind the command's name, and the environment. */
enum options_result send_options_read(struct send_options *options, int argument_count, char **arguments);

void send_options_free(struct send_options *options);

/* Prints the table as help text on stdout. */
void send_options_print(void);

#endif
