#include "cli/serve_options.h"

#include "base/clock.h"
#include "base/text.h"
#include "cli/system_limits.h"
#include "metrics/metrics.h"
#include "net/pool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS_PER_CORE = 2, MOST_SECONDS = 365 * 24 * 3600, MOST_TIMEOUT_SECONDS = 60 };

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

/* --- one function a kind of value: each reads `value` for the option `name` and returns 0, or -1 after
 * saying why --- */

static int read_seconds(const char *name, const char *value, int64_t *ns)
{
    if (text_parse_seconds(text_from(value), MOST_SECONDS * CLOCK_NS_PER_SECOND, ns) != 0 || *ns == 0)
        return fail("%s takes a number of seconds above 0, not '%s'", name, value);
    return 0;
}

static int read_number(const char *name, const char *value, uint64_t most, uint64_t *number)
{
    if (text_parse_number(text_from(value), 1, most, number) != 0)
        return fail("%s takes a whole number from 1 to %llu, not '%s'", name, (unsigned long long)most,
                    value);
    return 0;
}

static int read_port(const char *name, struct text value, uint16_t *port)
{
    uint64_t number;
    if (text_parse_number(value, 0, UINT16_MAX, &number) != 0)
        return fail("%s takes a port from 0 to 65535, not '%.*s'", name, (int)value.length, value.bytes);
    *port = (uint16_t)number;
    return 0;
}

static int set_token(struct serve_options *options, const char *name, struct text token)
{
    if (token.length == 0)
        return fail("%s is empty; give a token, or leave it away", name);
    if (!text_is_utf8(token) || text_has_control(token))
        return fail("the token of %s holds bytes that can't stand in a header", name);
    buffer_clear(&options->token);
    buffer_append(&options->token, token.bytes, token.length);
    return options->token.failed ? fail("out of memory") : 0;
}

static int set_listen(struct serve_options *options, const char *value)
{
    struct text host = text_from(value);
    const char *bracket = strchr(value, ']');
    const char *colon = strrchr(value, ':');
    bool has_port = colon != NULL && (value[0] != '[' || colon > bracket);
    if (has_port) {
        host.length = (size_t)(colon - value);
        if (read_port("--listen", text_from(colon + 1), &options->port) != 0)
            return -1;
        options->port_is_named = true;
    }
    if (host.length > 2 && host.bytes[0] == '[' && host.bytes[host.length - 1] == ']')
        host = (struct text){.bytes = host.bytes + 1, .length = host.length - 2};
    if (text_equals(host, TEXT("localhost")))
        host = TEXT("127.0.0.1");
    unsigned char binary[sizeof(struct in6_addr)];
    if (host.length < sizeof options->address) {
        memcpy(options->address, host.bytes, host.length);
        options->address[host.length] = '\0';
        options->address_is_v6 = inet_pton(AF_INET6, options->address, binary) == 1;
        if (options->address_is_v6 || inet_pton(AF_INET, options->address, binary) == 1)
            return 0;
    }
    return fail("--listen takes ADDRESS:PORT with a numeric address, such as 127.0.0.1:3031 or [::1]:3031, "
                "not '%s'",
                value);
}

static int set_port_file(struct serve_options *options, const char *value)
{
    options->port_file = value;
    return value[0] == '\0' ? fail("--port-file takes the name of a file") : 0;
}

static int set_database(struct serve_options *options, const char *value)
{
    options->database = value;
    return value[0] == '\0' ? fail("--database takes sqlite:FILE or postgres://...") : 0;
}

static int set_max_metrics_memory(struct serve_options *options, const char *value)
{
    return read_number("--max-metrics-memory", value, INT64_MAX / 2, &options->max_metrics_memory);
}

static int set_retention(struct serve_options *options, const char *value)
{
    return read_number("--retention", value, METRICS_LONGEST_RETENTION_S, &options->retention_s);
}

static int set_heartbeat(struct serve_options *options, const char *value)
{
    return read_seconds("--heartbeat", value, &options->heartbeat_ns);
}

static int set_upstream(struct serve_options *options, const char *value)
{
    options->upstream = value; /* judged by upstream_create */
    return 0;
}

static int set_upstream_timeout(struct serve_options *options, const char *value)
{
    if (read_seconds("--upstream-timeout", value, &options->upstream_timeout_ns) != 0)
        return -1;
    if (options->upstream_timeout_ns < CLOCK_NS_PER_MS ||
        options->upstream_timeout_ns > MOST_TIMEOUT_SECONDS * CLOCK_NS_PER_SECOND)
        return fail("--upstream-timeout takes 0.001 to %d seconds, not '%s'", (int)MOST_TIMEOUT_SECONDS,
                    value);
    return 0;
}

static int set_upstream_refresh(struct serve_options *options, const char *value)
{
    return read_seconds("--upstream-refresh", value, &options->upstream_refresh_ns);
}

static int set_upstream_calls(struct serve_options *options, const char *value)
{
    return read_number("--upstream-calls", value, 10000, &options->upstream_calls);
}

static int set_ttl(struct serve_options *options, const char *value)
{
    return read_seconds("--ttl", value, &options->ttl_ns);
}

static int set_wait(struct serve_options *options, const char *value)
{
    return read_seconds("--wait", value, &options->wait_ns);
}

static int set_threads(struct serve_options *options, const char *value)
{
    return read_number("--threads", value, 4096, &options->threads);
}

static int set_max_threads(struct serve_options *options, const char *value)
{
    return read_number("--max-threads", value, 1000000, &options->max_threads);
}

static int set_max_connections(struct serve_options *options, const char *value)
{
    return read_number("--max-connections", value, 10000000, &options->max_connections);
}

static int set_max_body(struct serve_options *options, const char *value)
{
    return read_number("--max-body", value, INT32_MAX, &options->max_body);
}

static int set_max_memory(struct serve_options *options, const char *value)
{
    return read_number("--max-memory", value, INT64_MAX / 2, &options->max_memory);
}

static int set_token_value(struct serve_options *options, const char *value)
{
    return set_token(options, "--token", text_from(value));
}

static int set_token_file(struct serve_options *options, const char *value)
{
    char line[4096];
    FILE *file = fopen(value, "re");
    if (file == NULL)
        return fail("can't read --token-file %s: %s", value, strerror(errno));
    char *read = fgets(line, sizeof line, file);
    fclose(file);
    if (read == NULL)
        return fail("--token-file %s is empty; write the token into its first line", value);
    struct text token = {.bytes = line, .length = strcspn(line, "\r\n")};
    return set_token(options, "--token-file", token);
}

static int set_insecure(struct serve_options *options, const char *value)
{
    (void)value;
    options->insecure = true;
    return 0;
}

static int set_cors_origin(struct serve_options *options, const char *value)
{
    struct text origin = text_from(value);
    bool valid = strncmp(value, "http://", 7) == 0 || strncmp(value, "https://", 8) == 0;
    options->cors_origin = value;
    if (!valid || text_has_control(origin) || strchr(value, ' ') != NULL ||
        strchr(strstr(value, "//") + 2, '/') != NULL)
        return fail("--cors-origin takes an origin such as https://app.example.com, not '%s'", value);
    return 0;
}

static int set_log_level(struct serve_options *options, const char *value)
{
    if (log_level_parse(text_from(value), &options->log_level) != 0)
        return fail("--log-level takes error, warn, info or debug, not '%s'", value);
    return 0;
}

static int set_access_log(struct serve_options *options, const char *value)
{
    (void)value;
    options->access_log = true;
    return 0;
}

struct option_row {
    const char *name;
    const char *value; /* what it takes, NULL for nothing */
    const char *help;
    int (*set)(struct serve_options *options, const char *value);
};

static const struct option_row option_rows[] = {
    {"--listen", "ADDRESS:PORT", "where to listen (127.0.0.1:3031; port 0 takes a free one; PORT)",
     set_listen},
    {"--port-file", "FILE", "write the port there once connections are accepted", set_port_file},
    {"--database", "URL", "sqlite:FILE or postgres://... (sqlite:event-syncer.db; DATABASE_URL)",
     set_database},
    {"--ttl", "SECONDS", "how long an event lives (120)", set_ttl},
    {"--wait", "SECONDS", "the longest that a request waits (30)", set_wait},
    {"--threads", "N", "workers that may run at once (2 a core)", set_threads},
    {"--max-threads", "N", "all threads, the waiting ones too (what the system allows)", set_max_threads},
    {"--max-connections", "N", "open connections (the file limit, less 64)", set_max_connections},
    {"--max-body", "BYTES", "the largest request body (1048576)", set_max_body},
    {"--max-memory", "BYTES", "memory for queued events (1073741824)", set_max_memory},
    {"--max-metrics-memory", "BYTES", "memory for the metrics and the reference table (1073741824)",
     set_max_metrics_memory},
    {"--retention", "SECONDS", "how long the metrics keep events (1800)", set_retention},
    {"--heartbeat", "SECONDS", "between two heartbeats of a stream (15)", set_heartbeat},
    {"--upstream", "URL", "a service that events are added to first, http://HOST[:PORT][/PATH] (none)",
     set_upstream},
    {"--upstream-timeout", "SECONDS", "the longest that a call of it may take (5)", set_upstream_timeout},
    {"--upstream-refresh", "SECONDS", "between two refreshes of its users and events (30)",
     set_upstream_refresh},
    {"--upstream-calls", "N", "calls of it that may be under way at once (64)", set_upstream_calls},
    {"--token", "TOKEN", "what clients must bring as Authorization: Bearer TOKEN (EVENT_SYNCER_TOKEN)",
     set_token_value},
    {"--token-file", "FILE", "a file whose first line is the token", set_token_file},
    {"--insecure", NULL, "listen to others than this machine without a token", set_insecure},
    {"--cors-origin", "ORIGIN", "let web pages of this origin in", set_cors_origin},
    {"--log-level", "LEVEL", "error, warn, info or debug (info)", set_log_level},
    {"--access-log", NULL, "log a line for each request", set_access_log},
};

enum { OPTION_COUNT = sizeof option_rows / sizeof option_rows[0] };

void serve_options_print(void)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        const struct option_row *row = &option_rows[i];
        char name[64];
        snprintf(name, sizeof name, "%s %s", row->name, row->value == NULL ? "" : row->value);
        printf("  %-26s %s\n", name, row->help);
    }
    printf("  %-26s %s\n  %-26s %s\n", "--help", "print this", "--version", "print the version");
}

static const struct option_row *find_option(struct text name)
{
    for (size_t i = 0; i < OPTION_COUNT; i++) {
        if (text_equals(name, text_from(option_rows[i].name)))
            return &option_rows[i];
    }
    return NULL;
}

/* Reads one option, `--name value` or `--name=value`, and moves on behind it. */
static int read_option(struct serve_options *options, int count, char **arguments, int *at)
{
    const char *argument = arguments[(*at)++];
    struct text name = text_from(argument);
    const char *value = strchr(argument, '=');
    if (value != NULL)
        name.length = (size_t)(value++ - argument);
    const struct option_row *row = find_option(name);
    if (row == NULL)
        return fail("there is no option '%.*s'; see event-syncer --help", (int)name.length, argument);
    if (row->value == NULL && value != NULL)
        return fail("%s takes no value", row->name);
    if (row->value != NULL && value == NULL) {
        if (*at == count)
            return fail("%s needs a value: %s %s", row->name, row->name, row->value);
        value = arguments[(*at)++];
    }
    return row->set(options, value);
}

static int read_environment(struct serve_options *options)
{
    const char *token = getenv("EVENT_SYNCER_TOKEN");
    if (options->token.length == 0 && token != NULL && token[0] != '\0' &&
        set_token(options, "EVENT_SYNCER_TOKEN", text_from(token)) != 0)
        return -1;
    const char *database = getenv("DATABASE_URL");
    if (options->database == NULL)
        options->database = database != NULL && database[0] != '\0' ? database : "sqlite:event-syncer.db";
    const char *port = getenv("PORT");
    if (!options->port_is_named && port != NULL && port[0] != '\0')
        return read_port("PORT", text_from(port), &options->port);
    return 0;
}

static bool is_loopback(const struct serve_options *options)
{
    if (options->address_is_v6)
        return strcmp(options->address, "::1") == 0;
    return strncmp(options->address, "127.", 4) == 0;
}

static int check_resources(struct serve_options *options)
{
    uint64_t files = system_raise_file_limit();
    uint64_t fewest_threads = options->threads + POOL_RESERVE + 1;
    if (options->max_threads == 0) {
        options->max_threads = system_thread_limit();
        if (options->max_threads < fewest_threads)
            options->max_threads = fewest_threads;
    }
    if (options->max_threads < fewest_threads)
        return fail(
            "--max-threads %llu leaves no room for requests that wait; with --threads %llu it must be "
            "at least %llu",
            (unsigned long long)options->max_threads, (unsigned long long)options->threads,
            (unsigned long long)fewest_threads);
    if (files <= DESCRIPTOR_RESERVE)
        return fail("the limit of open files is %llu; raise it (ulimit -n)", (unsigned long long)files);
    uint64_t most_connections = files - DESCRIPTOR_RESERVE;
    if (options->max_connections == 0)
        options->max_connections = most_connections < 1000000 ? most_connections : 1000000;
    if (options->max_connections > most_connections)
        return fail(
            "--max-connections %llu needs more open files than the limit of %llu; raise it (ulimit -n)",
            (unsigned long long)options->max_connections, (unsigned long long)files);
    return 0;
}

static int check(struct serve_options *options)
{
    if (!is_loopback(options) && options->token.length == 0 && !options->insecure)
        return fail("listening on %s lets others in; give --token, or --insecure if that is meant",
                    options->address);
    return check_resources(options);
}

enum options_result serve_options_read(struct serve_options *options, int argument_count, char **arguments)
{
    *options = (struct serve_options){
        .address = "127.0.0.1",
        .port = DEFAULT_PORT,
        .ttl_ns = 120 * CLOCK_NS_PER_SECOND,
        .wait_ns = 30 * CLOCK_NS_PER_SECOND,
        .heartbeat_ns = 15 * CLOCK_NS_PER_SECOND,
        .upstream_timeout_ns = 5 * CLOCK_NS_PER_SECOND,
        .upstream_refresh_ns = 30 * CLOCK_NS_PER_SECOND,
        .upstream_calls = 64,
        .threads = THREADS_PER_CORE * system_core_count(),
        .max_body = UINT64_C(1024) * 1024,
        .max_memory = UINT64_C(1024) * 1024 * 1024,
        .max_metrics_memory = UINT64_C(1024) * 1024 * 1024,
        .retention_s = 1800,
        .log_level = LOG_LEVEL_INFO,
    };
    for (int at = 0; at < argument_count;) {
        if (strcmp(arguments[at], "--help") == 0)
            return OPTIONS_HELP;
        if (read_option(options, argument_count, arguments, &at) != 0)
            return OPTIONS_WRONG;
    }
    if (read_environment(options) != 0 || check(options) != 0)
        return OPTIONS_WRONG;
    return OPTIONS_GO;
}

void serve_options_free(struct serve_options *options)
{
    buffer_free(&options->token);
}
