/* The command `serve`: puts a server together, waits for a signal, takes it apart. */
#include "api/api.h"
#include "api/reference.h"
#include "api/refresher.h"
#include "api/stream.h"
#include "base/clock.h"
#include "cli/commands.h"
#include "cli/serve_options.h"
#include "cli/system_limits.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum {
    STOP_SECONDS = 8,
    UPSTREAM_STOP_SECONDS = 2, /* before that, calls of the upstream begin to end */
    MOST_ARENAS = 8,
    LAST_EVENTS_SECONDS = 1, /* that streams get what is published at a stop */
    STREAMS_PART = 8,        /* of --max-memory, for events that wait in streams, and again for replays */
    MAPPED_BYTES = 256 * 1024,
    MOST_MAPPED = 8192,
};

/* The signals that stop the server, blocked in all threads, so that only main takes them. */
static sigset_t stop_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    return signals;
}

/* Linux 6.16 gives each process a small hash of its own for futexes, in whose chains the wake-ups of ten
 * thousand waiting threads would queue. The system's own is large (measured: half the CPU of a fan-out).
 * Older kernels know no other. */
static void use_global_futex_hash(void)
{
    enum { FUTEX_HASH = 78, FUTEX_HASH_SET_SLOTS = 1, GLOBAL = 0 };
    prctl(FUTEX_HASH, FUTEX_HASH_SET_SLOTS, GLOBAL, 0, 0);
}

static void prepare_process(const struct serve_options *options)
{
    sigset_t signals = stop_signals();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a write beyond the limit of file sizes then fails, and is answered for */
    /* A shell ignores SIGINT for what it starts in the background; who sends it to us means it. */
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    use_global_futex_hash();
    /* Ten thousand threads should not spread what few run at once over many arenas. */
    mallopt(M_ARENA_MAX, options->threads < MOST_ARENAS ? (int)options->threads : MOST_ARENAS);
    /* Large bodies and answers go back to the system when they are freed. Left to itself, malloc takes the first large one
     * that is freed for the rule and keeps the next ones. Not too many: threads need maps for their stacks. */
    mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES);
    mallopt(M_MMAP_MAX, MOST_MAPPED);
}

static int fail_to_listen(const struct serve_options *options)
{
    if (errno == EADDRINUSE)
        fprintf(
            stderr,
            "event-syncer: %s:%u is taken; stop what listens there, or choose another port with --listen\n",
            options->address, options->port);
    else
        fprintf(stderr, "event-syncer: can't serve on %s:%u: %s\n", options->address, options->port,
                strerror(errno));
    return -1;
}

static int create_store(struct server *server, const struct serve_options *options)
{
    struct store_options store_options = {
        .clock = clock_system, .ttl_ns = options->ttl_ns, .max_memory_bytes = options->max_memory};
    server->store = store_create(&store_options);
    if (server->store != NULL)
        server->reaper = reaper_start(server->store);
    if (server->reaper != NULL)
        return 0;
    fprintf(stderr, "event-syncer: can't start: %s\n", strerror(errno));
    return -1;
}

static int create_metrics(struct server *server, const struct serve_options *options)
{
    struct metrics_options metrics_options = {.clock = clock_system,
                                              .retention_s = (uint32_t)options->retention_s,
                                              .max_memory_bytes = options->max_metrics_memory};
    server->metrics = metrics_create(&metrics_options);
    if (server->metrics == NULL && errno == ENOMEM) {
        fprintf(
            stderr,
            "event-syncer: --max-metrics-memory %llu is too little for --retention %llu; raise the one or "
            "lower the other\n",
            (unsigned long long)options->max_metrics_memory, (unsigned long long)options->retention_s);
        return -1;
    }
    if (server->metrics != NULL)
        server->metrics_rounds = periodic_start("metrics", metrics_round, server->metrics);
    if (server->metrics_rounds != NULL)
        return 0;
    fprintf(stderr, "event-syncer: can't start: %s\n", strerror(errno));
    return -1;
}

static void on_news(void *context)
{
    struct server *server = context;
    hub_look(server->hub);
}

static void on_unsubscribed(void *context, struct text user, struct text channel)
{
    struct server *server = context;
    (void)channel;
    hub_recheck(server->hub, user);
}

/* Makes the hub, which runs later, and opens the database. */
static int create_storage(struct server *server, const struct serve_options *options)
{
    struct hub_options hub_options = {
        .heartbeat_ns = options->heartbeat_ns,
        .max_queued_bytes = options->max_memory / STREAMS_PART,
        .log = &server->log,
        .wake = stream_wake_all,
        .resume = stream_resume,
        .context = server,
    };
    server->hub = hub_create(&hub_options);
    if (server->hub == NULL) {
        fprintf(stderr, "event-syncer: can't start: %s\n", strerror(errno));
        return -1;
    }
    struct storage_options storage_options = {
        .url = options->database,
        .log = &server->log,
        .watcher = {.news = on_news, .unsubscribed = on_unsubscribed, .context = server},
    };
    char reason[STORAGE_REASON_BYTES];
    server->storage = storage_open(&storage_options, reason);
    if (server->storage == NULL)
        fprintf(stderr, "event-syncer: can't use the database: %s\n", reason);
    return server->storage == NULL ? -1 : 0;
}

static int open_journal(struct server *server, const struct serve_options *options)
{
    char reason[JOURNAL_REASON_BYTES];
    struct journal_options journal_options = {.path = options->journal, .log = &server->log};
    server->journal = journal_open(&journal_options, reason);
    if (server->journal == NULL)
        fprintf(stderr, "event-syncer: can't use the journal: %s\n", reason);
    return server->journal == NULL ? -1 : 0;
}

static int create_upstream(struct server *server, const struct serve_options *options)
{
    char reason[UPSTREAM_REASON_BYTES];
    if (options->upstream == NULL)
        return 0;
    struct upstream_options upstream_options = upstream_defaults();
    upstream_options.url = options->upstream;
    upstream_options.call_ns = options->upstream_timeout_ns;
    upstream_options.most_calls = (unsigned)options->upstream_calls;
    upstream_options.log = &server->log;
    server->upstream = upstream_create(&upstream_options, reason);
    if (server->upstream == NULL)
        fprintf(stderr, "event-syncer: %s\n", reason);
    return server->upstream == NULL ? -1 : 0;
}

/* Its first round fetches the lists; nobody waits for it. */
static int start_refresher(struct server *server, const struct serve_options *options)
{
    if (server->upstream == NULL)
        return 0;
    struct refresher_options refresher_options = {.upstream = server->upstream,
                                                  .storage = server->storage,
                                                  .log = &server->log,
                                                  .interval_ns = options->upstream_refresh_ns};
    server->refresher = refresher_start(&refresher_options);
    if (server->refresher == NULL)
        fprintf(stderr, "event-syncer: can't start: %s\n", strerror(errno));
    return server->refresher == NULL ? -1 : 0;
}

static int start_hub(struct server *server)
{
    uint64_t newest_id = 0;
    if (storage_newest_id(server->storage, &newest_id, clock_monotonic_ns() + STORAGE_CALL_NS) !=
        STORAGE_OK) {
        fprintf(
            stderr,
            "event-syncer: the database can't be read: check that it runs and answers, and start again\n");
        return -1;
    }
    if (hub_start(server->hub, server->storage, newest_id) == 0)
        return 0;
    fprintf(stderr, "event-syncer: can't start: %s\n", strerror(errno));
    return -1;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static int create_http(struct server *server, const struct serve_options *options, struct text common_headers)
{
    struct http_server_options http_options = {
        .address = options->address,
        .port = options->port,
        .ready = (unsigned)least(options->threads, system_core_count()),
        .threads = (unsigned)options->threads,
        .max_threads = (unsigned)options->max_threads,
        .max_connections = (unsigned)options->max_connections,
        .max_body = options->max_body,
        .max_request_memory = options->max_request_memory,
        .deadlines = options->deadlines,
        .access_log = options->access_log,
        .common_headers = common_headers,
        .routes = api_routes,
        .route_count = api_route_count,
        .admit = api_admit,
        .context = server,
        .log = &server->log,
    };
    server->http = http_server_create(&http_options);
    return server->http != NULL ? 0 : fail_to_listen(options);
}

/* Writes the port by rename, so that who waits for the file never reads half of it. */
static int write_port_file(const char *path, uint16_t port)
{
    struct buffer temporary = BUFFER_EMPTY;
    buffer_printf(&temporary, "%s.tmp", path);
    buffer_append(&temporary, "", 1);
    FILE *file = temporary.failed ? NULL : fopen(temporary.bytes, "we");
    bool written = file != NULL && fprintf(file, "%u\n", port) > 0;
    if (file != NULL)
        written = fclose(file) == 0 && written;
    if (written)
        written = rename(temporary.bytes, path) == 0;
    if (!written)
        fprintf(stderr, "event-syncer: can't write --port-file %s: %s\n", path, strerror(errno));
    buffer_free(&temporary);
    return written ? 0 : -1;
}

static void say_hello(const struct server *server, const struct serve_options *options)
{
    bool v6 = options->address_is_v6;
    char url[ADDRESS_BYTES + 32];
    snprintf(url, sizeof url, "%s%s%s:%u", v6 ? "[" : "", options->address, v6 ? "]" : "",
             http_server_port(server->http));
    log_info(&server->log, "listening address=%s threads=%llu max_threads=%llu max_connections=%llu", url,
             (unsigned long long)options->threads, (unsigned long long)options->max_threads,
             (unsigned long long)options->max_connections);
    log_info(&server->log, "try: curl -d '{\"n\":1}' 'http://%s/push?key=demo'", url);
    log_info(&server->log, "try: curl 'http://%s/blocking-get?key=demo&groupId=one'", url);
}

static void wait_for_stop_signal(const struct server *server)
{
    sigset_t signals = stop_signals();
    int signal_number = 0;
    while (sigwait(&signals, &signal_number) != 0)
        continue;
    log_info(&server->log, "stopping signal=%s", signal_number == SIGINT ? "SIGINT" : "SIGTERM");
    /* From here on a second one ends the process at once. */
    pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
}

/* What is under way finishes or is cut; nothing is consumed by a stop. */
static void stop(struct server *server)
{
    int64_t deadline_at = clock_monotonic_ns() + STOP_SECONDS * CLOCK_NS_PER_SECOND;
    /* So that its callers can still be answered. */
    if (server->upstream != NULL)
        upstream_stop(server->upstream, deadline_at - UPSTREAM_STOP_SECONDS * CLOCK_NS_PER_SECOND);
    hub_drain(server->hub, clock_monotonic_ns() + LAST_EVENTS_SECONDS * CLOCK_NS_PER_SECOND);
    http_server_stop_accepting(server->http);
    store_stop(server->store);
    http_server_drain(server->http, deadline_at);
}

static int run(struct server *server, const struct serve_options *options)
{
    server->started_at = clock_monotonic_ns();
    if (http_server_start(server->http) != 0)
        return fail_to_listen(options);
    if (options->port_file != NULL &&
        write_port_file(options->port_file, http_server_port(server->http)) != 0)
        return -1;
    say_hello(server, options);
    wait_for_stop_signal(server);
    stop(server);
    return 0;
}

static void free_server(struct server *server, bool served)
{
    /* Calls that are still under way have had their time. */
    if (server->upstream != NULL)
        upstream_stop(server->upstream, 0);
    refresher_stop(server->refresher);
    /* The writer's last words may become jobs of the pool, and a replay reads the database until its worker ends. */
    storage_stop(server->storage);
    if (server->journal != NULL)
        journal_stop(server->journal);
    if (server->hub != NULL)
        hub_stop(server->hub);
    http_server_free(server->http);
    refresher_free(server->refresher);
    storage_close(server->storage);
    journal_close(server->journal);
    hub_free(server->hub);
    later_destroy(&server->later);
    upstream_free(server->upstream);
    periodic_stop(server->metrics_rounds);
#ifdef STORE_CHECKS
    metrics_free(server->metrics); /* the same goes for them as for the events below */
#endif
    uint64_t stored = server->store == NULL ? 0 : store_count_live(server->store);
    reaper_stop(server->reaper);
    /* The end of the process frees the events all at once; one by one, gigabytes of small ones would take
     * seconds. */
#ifdef STORE_CHECKS
    store_free(server->store); /* shows what has leaked */
#endif
    if (served)
        log_info(&server->log, "stopped stored_events=%llu", (unsigned long long)stored);
}

static int serve(const struct serve_options *options)
{
    struct server server = {
        .log = {.descriptor = STDERR_FILENO, .level = options->log_level},
        .access = {.token = {.bytes = options->token.bytes, .length = options->token.length},
                   .insecure = options->insecure},
        .longest_wait_ns = options->wait_ns,
        .max_memory_bytes = options->max_memory,
        .max_metrics_memory_bytes = options->max_metrics_memory,
        .max_request_memory_bytes = options->max_request_memory,
        .retention_s = options->retention_s,
    };
    if (options->cors_origin != NULL)
        server.access.cors_origin = text_from(options->cors_origin);
    struct buffer common_headers = BUFFER_EMPTY;
    api_common_headers(&server.access, &common_headers);
    struct text headers = {.bytes = common_headers.bytes, .length = common_headers.length};
    prepare_process(options);
    later_init(&server.later, &server.http);
    bool served = create_store(&server, options) == 0 && create_metrics(&server, options) == 0 &&
                  create_upstream(&server, options) == 0 && create_storage(&server, options) == 0 &&
                  reference_restore(&server) == 0 && open_journal(&server, options) == 0 &&
                  create_http(&server, options, headers) == 0 && start_hub(&server) == 0 &&
                  start_refresher(&server, options) == 0 && run(&server, options) == 0;
    free_server(&server, served);
    buffer_free(&common_headers);
    return served ? EXIT_SUCCESS : EXIT_USAGE;
}

static void print_help(void)
{
    printf("event-syncer serve [options]: takes events in over HTTP and hands them out\n\n"
           "options (defaults and environment variables in brackets):\n");
    serve_options_print();
}

int command_serve(int argument_count, char **arguments)
{
    struct serve_options options;
    int status = EXIT_USAGE;
    switch (serve_options_read(&options, argument_count, arguments)) {
    case OPTIONS_GO:
        status = serve(&options);
        break;
    case OPTIONS_HELP:
        print_help();
        status = EXIT_SUCCESS;
        break;
    case OPTIONS_WRONG:
        break;
    }
    serve_options_free(&options);
    return status;
}
