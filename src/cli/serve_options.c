#include "cli/serve_options.h"

#include "base/clock.h"
#include "base/text.h"
#include "cli/system_limits.h"
#include "metrics/metrics.h"
#include "net/pool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    THREADS_PER_CORE = 2,
    MOST_SECONDS = 365 * 24 * 3600,
    MOST_TIMEOUT_SECONDS = 60,       /* of a call of the upstream */
    MOST_CLIENT_SECONDS = 24 * 3600, /* of what a client may take */
};

static int read_port(const char *name, struct text value, uint16_t *port)
{
    uint64_t number;
    if (text_parse_number(value, 0, UINT16_MAX, &number) != 0)
        return options_fail("%s takes a port from 0 to 65535, not '%.*s'", name, (int)value.length,
                            value.bytes);
    *port = (uint16_t)number;
    return 0;
}

static int set_listen(void *context, const char *value)
{
    struct serve_options *options = context;
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
    return options_fail(
        "--listen takes ADDRESS:PORT with a numeric address, such as 127.0.0.1:3031 or [::1]:3031, "
        "not '%s'",
        value);
}

static int set_port_file(void *context, const char *value)
{
    struct serve_options *options = context;
    options->port_file = value;
    return value[0] == '\0' ? options_fail("--port-file takes the name of a file") : 0;
}

static int set_database(void *context, const char *value)
{
    struct serve_options *options = context;
    options->database = value;
    return value[0] == '\0' ? options_fail("--database takes sqlite:FILE or postgres://...") : 0;
}

static int set_journal(void *context, const char *value)
{
    struct serve_options *options = context;
    options->journal = value;
    return value[0] == '\0' ? options_fail("--journal takes the name of a file") : 0;
}

static int set_max_request_memory(void *context, const char *value)
{
    struct serve_options *options = context;
    return options_read_number("--max-request-memory", value, INT64_MAX / 2, &options->max_request_memory);
}

static int set_max_metrics_memory(void *context, const char *value)
{
    struct serve_options *options = context;
    return options_read_number("--max-metrics-memory", value, INT64_MAX / 2, &options->max_metrics_memory);
}

static int set_retention(void *context, const char *value)
{
    struct serve_options *options = context;
    return options_read_number("--retention", value, METRICS_LONGEST_RETENTION_S, &options->retention_s);
}

static int set_heartbeat(void *context, const char *value)
{
    struct serve_options *options = context;
    return options_read_seconds("--heartbeat", value, 1, MOST_SECONDS * CLOCK_NS_PER_SECOND,
                                &options->heartbeat_ns);
}

static int set_upstream(void *context, const char *value)
{
    struct serve_options *options = context;
    options->upstream = value; /* judged by upstream_create */
    return 0;
}

static int set_upstream_timeout(void *context, const char *value)
{
    struct serve_options *options = context;
    if (options_read_seconds("--upstream-timeout", value, 1, MOST_SECONDS * CLOCK_NS_PER_SECOND,
                             &options->upstream_timeout_ns) != 0)
        return -1;
    if (options->upstream_timeout_ns < CLOCK_NS_PER_MS ||
        options->upstream_timeout_ns > MOST_TIMEOUT_SECONDS * CLOCK_NS_PER_SECOND)
        return options_fail("--upstream-timeout takes 0.001 to %d seconds, not '%s'",
                            (int)MOST_TIMEOUT_SECONDS, value);
    return 0;
}

static int set_upstream_refresh(void *context, const char *value)
{
    struct serve_options *options = context;
    return options_read_seconds("--upstream-refresh", value, 1, MOST_SECONDS * CLOCK_NS_PER_SECOND,
                                &options->upstream_refresh_ns);
}

static int set_upstream_calls(void *context, const char *value)
{
    struct serve_options *options = context;
    return options_read_number("--upstream-calls", value, 10000, &options->upstream_calls);
}

static int set_ttl(void *context, const char *value)
{
    struct serve_options *options = context;
    return options_read_seconds("--ttl", value, 1, MOST_SECONDS * CLOCK_NS_PER_SECOND, &options->ttl_ns);
}

static int set_wait(void *context, const char *value)
{
    struct serve_options *options = context;
    return options_read_seconds("--wait", value, 1, MOST_SECONDS * CLOCK_NS_PER_SECOND, &options->wait_ns);
}

static int set_threads(void *context, const char *value)
{
    struct serve_options *options = context;
    return options_read_number("--threads", value, 4096, &options->threads);
}

static int set_max_threads(void *context, const char *value)
{
    struct serve_options *options = context;
    return options_read_number("--max-threads", value, 1000000, &options->max_threads);
}

static int set_max_connections(void *context, const char *value)
{
    struct serve_options *options = context;
    return options_read_number("--max-connections", value, 10000000, &options->max_connections);
}

static int set_max_body(void *context, const char *value)
{
    struct serve_options *options = context;
    return options_read_number("--max-body", value, INT32_MAX, &options->max_body);
}

static int set_max_memory(void *context, const char *value)
{
    struct serve_options *options = context;
    return options_read_number("--max-memory", value, INT64_MAX / 2, &options->max_memory);
}

/* The shortest one sets the pace of the timekeeper, so it must not be too short. */
static int read_client_timeout(const char *name, const char *value, int64_t *ns)
{
    return options_read_seconds(name, value, 100 * CLOCK_NS_PER_MS, MOST_CLIENT_SECONDS * CLOCK_NS_PER_SECOND,
                                ns);
}

static int set_head_timeout(void *context, const char *value)
{
    struct serve_options *options = context;
    return read_client_timeout("--head-timeout", value, &options->deadlines.head_ns);
}

static int set_body_timeout(void *context, const char *value)
{
    struct serve_options *options = context;
    return read_client_timeout("--body-timeout", value, &options->deadlines.body_ns);
}

static int set_idle_timeout(void *context, const char *value)
{
    struct serve_options *options = context;
    return read_client_timeout("--idle-timeout", value, &options->deadlines.idle_ns);
}

static int set_send_timeout(void *context, const char *value)
{
    struct serve_options *options = context;
    int result = read_client_timeout("--send-timeout", value, &options->deadlines.stalled_ns);
    options->deadlines.answer_ns = options->deadlines.stalled_ns;
    return result;
}

static int set_peer_timeout(void *context, const char *value)
{
    struct serve_options *options = context;
    uint64_t seconds;
    if (text_parse_number(text_from(value), HTTP_LEAST_PEER_SECONDS, MOST_CLIENT_SECONDS, &seconds) != 0)
        return options_fail("--peer-timeout takes %d to %d whole seconds, not '%s'", HTTP_LEAST_PEER_SECONDS,
                            MOST_CLIENT_SECONDS, value);
    options->deadlines.peer_ns = (int64_t)seconds * CLOCK_NS_PER_SECOND;
    return 0;
}

static int set_token_value(void *context, const char *value)
{
    struct serve_options *options = context;
    return options_read_token("--token", text_from(value), &options->token);
}

static int set_token_file(void *context, const char *value)
{
    struct serve_options *options = context;
    char line[OPTIONS_TOKEN_BYTES + 2];
    struct text token;
    if (options_read_line("--token-file", value, line, sizeof line, &token) != 0)
        return -1;
    return options_read_token("--token-file", token, &options->token);
}

static int set_insecure(void *context, const char *value)
{
    struct serve_options *options = context;
    (void)value;
    options->insecure = true;
    return 0;
}

static int set_cors_origin(void *context, const char *value)
{
    struct serve_options *options = context;
    struct text origin = text_from(value);
    bool valid = strncmp(value, "http://", 7) == 0 || strncmp(value, "https://", 8) == 0;
    options->cors_origin = value;
    if (!valid || text_has_control(origin) || strchr(value, ' ') != NULL ||
        strchr(strstr(value, "//") + 2, '/') != NULL)
        return options_fail("--cors-origin takes an origin such as https://app.example.com, not '%s'", value);
    return 0;
}

static int set_log_level(void *context, const char *value)
{
    struct serve_options *options = context;
    if (log_level_parse(text_from(value), &options->log_level) != 0)
        return options_fail("--log-level takes error, warn, info or debug, not '%s'", value);
    return 0;
}

static int set_access_log(void *context, const char *value)
{
    struct serve_options *options = context;
    (void)value;
    options->access_log = true;
    return 0;
}

static const struct option_row option_rows[] = {
    {"--listen", "ADDRESS:PORT", "where to listen (127.0.0.1:3031; port 0 takes a free one; PORT)",
     set_listen},
    {"--port-file", "FILE", "write the port there once connections are accepted", set_port_file},
    {"--database", "URL", "sqlite:FILE or postgres://... (sqlite:event-syncer.db; DATABASE_URL)",
     set_database},
    {"--journal", "FILE", "where live events are appended to (server-events.jsonl)", set_journal},
    {"--ttl", "SECONDS", "how long an event lives (120)", set_ttl},
    {"--wait", "SECONDS", "the longest that a request waits (30)", set_wait},
    {"--threads", "N", "workers that may run at once (2 a core)", set_threads},
    {"--max-threads", "N", "all threads, the waiting ones too (what the system allows)", set_max_threads},
    {"--max-connections", "N", "open connections (the file limit, less 64)", set_max_connections},
    {"--max-body", "BYTES", "the largest request body (1048576)", set_max_body},
    {"--head-timeout", "SECONDS", "the longest that a request head may take to arrive (10)",
     set_head_timeout},
    {"--body-timeout", "SECONDS", "the longest that a body may take to arrive (30)", set_body_timeout},
    {"--idle-timeout", "SECONDS", "how long a connection is kept between two requests (75)",
     set_idle_timeout},
    {"--send-timeout", "SECONDS", "how long a client may take nothing of its answer (30)", set_send_timeout},
    {"--peer-timeout", "SECONDS", "how long a client may be gone from the network (45)", set_peer_timeout},
    {"--max-memory", "BYTES", "memory for queued events (1073741824)", set_max_memory},
    {"--max-request-memory", "BYTES",
     "memory for requests on their way in and answers on their way out (1073741824)", set_max_request_memory},
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

static const struct option_table table = {
    .rows = option_rows,
    .count = sizeof option_rows / sizeof option_rows[0],
    .help = "event-syncer --help",
};

void serve_options_print(void)
{
    options_print(&table);
    printf("  %-28s %s\n", "--version", "print the version");
}

static int read_environment(struct serve_options *options)
{
    const char *token = getenv("EVENT_SYNCER_TOKEN");
    if (options->token.length == 0 && token != NULL && token[0] != '\0' &&
        options_read_token("EVENT_SYNCER_TOKEN", text_from(token), &options->token) != 0)
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
        return options_fail(
            "--max-threads %llu leaves no room for requests that wait; with --threads %llu it must be "
            "at least %llu",
            (unsigned long long)options->max_threads, (unsigned long long)options->threads,
            (unsigned long long)fewest_threads);
    if (files <= DESCRIPTOR_RESERVE)
        return options_fail("the limit of open files is %llu; raise it (ulimit -n)",
                            (unsigned long long)files);
    uint64_t most_connections = files - DESCRIPTOR_RESERVE;
    if (options->max_connections == 0)
        options->max_connections = most_connections < 1000000 ? most_connections : 1000000;
    if (options->max_connections > most_connections)
        return options_fail(
            "--max-connections %llu needs more open files than the limit of %llu; raise it (ulimit -n)",
            (unsigned long long)options->max_connections, (unsigned long long)files);
    return 0;
}

static int check(struct serve_options *options)
{
    if (!is_loopback(options) && options->token.length == 0 && !options->insecure)
        return options_fail("listening on %s lets others in; give --token, or --insecure if that is meant",
                            options->address);
    return check_resources(options);
}

enum options_result serve_options_read(struct serve_options *options, int argument_count, char **arguments)
{
    *options = (struct serve_options){
        .address = "127.0.0.1",
        .port = DEFAULT_PORT,
        .journal = "server-events.jsonl",
        .ttl_ns = 120 * CLOCK_NS_PER_SECOND,
        .wait_ns = 30 * CLOCK_NS_PER_SECOND,
        .heartbeat_ns = 15 * CLOCK_NS_PER_SECOND,
        .upstream_timeout_ns = 5 * CLOCK_NS_PER_SECOND,
        .upstream_refresh_ns = 30 * CLOCK_NS_PER_SECOND,
        .upstream_calls = 64,
        .threads = THREADS_PER_CORE * system_core_count(),
        .max_body = UINT64_C(1024) * 1024,
        .max_memory = UINT64_C(1024) * 1024 * 1024,
        .max_request_memory = UINT64_C(1024) * 1024 * 1024,
        .max_metrics_memory = UINT64_C(1024) * 1024 * 1024,
        .retention_s = 1800,
        .deadlines = http_deadlines_default,
        .log_level = LOG_LEVEL_INFO,
    };
    enum options_result result = options_read(&table, options, argument_count, arguments);
    if (result != OPTIONS_GO)
        return result;
    if (read_environment(options) != 0 || check(options) != 0)
        return OPTIONS_WRONG;
    return OPTIONS_GO;
}

void serve_options_free(struct serve_options *options)
{
    buffer_free(&options->token);
}
