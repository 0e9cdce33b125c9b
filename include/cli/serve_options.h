/* The options of `event-syncer serve`: one table row has an option's name, default and help together.
 *
 * An option beats the environment, the environment beats the default. Errors are one line on stderr that says
 * what to do. The struct owns nothing but the token's memory, freed by serve_options_free; texts point into
 * the command line or the environment.
 */
#ifndef CLI_SERVE_OPTIONS_H
#define CLI_SERVE_OPTIONS_H

#include "base/buffer.h"
#include "base/log.h"
#include "cli/options.h"
#include "net/limits.h"

#include <stdbool.h>
#include <stdint.h>

enum { ADDRESS_BYTES = 64, DEFAULT_PORT = 3031, DESCRIPTOR_RESERVE = 64 };

struct serve_options {
    char address[ADDRESS_BYTES];
    bool address_is_v6;
    uint16_t port;
    bool port_is_named;
    const char *port_file;
    const char *database;
    const char *journal;
    int64_t heartbeat_ns;
    const char *upstream; /* NULL: none */
    int64_t upstream_timeout_ns;
    int64_t upstream_refresh_ns;
    uint64_t upstream_calls;
    int64_t ttl_ns;
    int64_t wait_ns;
    uint64_t threads;
    uint64_t max_threads;
    uint64_t max_connections;
    uint64_t max_body;
    uint64_t max_memory;
    uint64_t max_request_memory;
    uint64_t max_metrics_memory;
    uint64_t retention_s;
    struct http_deadlines deadlines;
    struct buffer token;
    const char *token_file;
    bool insecure;
    const char *cors_origin;
    enum log_level log_level;
    bool access_log;
};

/* Reads the arguments behind the command's name, the environment and the limits of the system. */
enum options_result serve_options_read(struct serve_options *options, int argument_count, char **arguments);

void serve_options_free(struct serve_options *options);

/* Prints the table as help text on stdout. */
void serve_options_print(void);

#endif
