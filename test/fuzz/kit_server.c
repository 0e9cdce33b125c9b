#include "kit_server.h"

#include "api/api.h"
#include "api/stream.h"
#include "fuzz.h"
#include "net/connection_internal.h"

#include <errno.h>
#include <limits.h>
#include <linux/sockios.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LOG_BYTES = 64 * 1024,
    STUCK_MS = 60000,
    STUCK_ROUNDS = 100000,
    METRICS_MEMORY = 16 * 1024 * 1024,
    JOURNAL_MOST_BYTES = 256 * 1024,
    PATH_BYTES = PATH_MAX + 32,
};

/* One server a process, and so one of all that belongs to it. */
static struct {
    struct server server;
    struct worker worker;
    sqlite3 *database; /* a second connection, that empties it */
    sqlite3_stmt *version;
    int64_t version_seen;
    struct buffer common_headers;
    int client; /* the other end of the connection */
    char database_url[PATH_BYTES];
    char journal_path[PATH_BYTES];
} kit;

/* --- making it --- */

static void make_hub(void)
{
    struct hub_options options = {
        .heartbeat_ns = 3600 * CLOCK_NS_PER_SECOND,
        .max_queued_bytes = KIT_MAX_MEMORY,
        .log = &kit.server.log,
        .wake = stream_wake_all,
        .resume = stream_resume,
        .context = &kit.server,
    };
    kit.server.hub = hub_create(&options);
    FUZZ_REQUIRE(kit.server.hub != NULL && hub_start(kit.server.hub, kit.server.storage, 0) == 0);
}

static void make_storage(void)
{
    char reason[STORAGE_REASON_BYTES + JOURNAL_REASON_BYTES];
    struct storage_options options = {.url = kit.database_url, .log = &kit.server.log};
    kit.server.storage = storage_open(&options, reason);
    FUZZ_REQUIRE(kit.server.storage != NULL);
    FUZZ_REQUIRE(sqlite3_open(kit.database_url + strlen("sqlite:"), &kit.database) == SQLITE_OK);
    FUZZ_REQUIRE(sqlite3_prepare_v2(kit.database, "PRAGMA data_version", -1, &kit.version, NULL) ==
                 SQLITE_OK);
    struct journal_options journal_options = {.path = kit.journal_path, .log = &kit.server.log};
    kit.server.journal = journal_open(&journal_options, reason);
    FUZZ_REQUIRE(kit.server.journal != NULL);
}

static void make_store(void)
{
    struct store_options options = {
        .clock = clock_system, .ttl_ns = 3600 * CLOCK_NS_PER_SECOND, .max_memory_bytes = KIT_MAX_MEMORY};
    kit.server.store = store_create(&options);
    FUZZ_REQUIRE(kit.server.store != NULL);
}

static void make_metrics(void)
{
    struct metrics_options options = {
        .clock = clock_system, .retention_s = KIT_RETENTION_SECONDS, .max_memory_bytes = METRICS_MEMORY};
    kit.server.metrics = metrics_create(&options);
    FUZZ_REQUIRE(kit.server.metrics != NULL);
}

static void make_http(void)
{
    enum { THREADS = 2, REQUEST_MEMORY = 16 * 1024 * 1024 };
    struct http_server_options options = {
        .address = "127.0.0.1",
        .ready = 0, /* so that the pool starts no threads */
        .threads = THREADS,
        .max_threads = THREADS + POOL_RESERVE, /* so that none is left for requests that wait */
        .max_connections = 2,
        .max_body = KIT_MAX_BODY,
        .max_request_memory = REQUEST_MEMORY,
        .deadlines = http_deadlines_default,
        .access_log = true,
        .common_headers = {.bytes = kit.common_headers.bytes, .length = kit.common_headers.length},
        .routes = api_routes,
        .route_count = api_route_count,
        .admit = api_admit,
        .context = &kit.server,
        .log = &kit.server.log,
    };
    kit.server.http = http_server_create(&options);
    FUZZ_REQUIRE(kit.server.http != NULL);
    kit.worker.server = kit.server.http;
    kit.worker.message.budget = &kit.server.http->request_memory;
}

void kit_server_start(void)
{
    signal(SIGPIPE, SIG_IGN);
    snprintf(kit.database_url, sizeof kit.database_url, "sqlite:%s/database", fuzz_folder());
    snprintf(kit.journal_path, sizeof kit.journal_path, "%s/journal", fuzz_folder());
    kit.server.log = (struct log){.descriptor = memfd_create("log", MFD_CLOEXEC), .level = LOG_LEVEL_DEBUG};
    FUZZ_REQUIRE(kit.server.log.descriptor >= 0);
    kit.server.access.cors_origin = TEXT("https://app.example.com");
    kit.server.longest_wait_ns = 30 * CLOCK_NS_PER_SECOND;
    kit.server.max_memory_bytes = KIT_MAX_MEMORY;
    kit.server.max_metrics_memory_bytes = METRICS_MEMORY;
    kit.server.retention_s = KIT_RETENTION_SECONDS;
    kit.server.started_at = clock_monotonic_ns();
    api_common_headers(&kit.server.access, &kit.common_headers);
    later_init(&kit.server.later, &kit.server.http);
    make_store();
    make_metrics();
    make_storage();
    make_http();
    make_hub();
}

void kit_server_set_token(struct text token)
{
    kit.server.access.token = token;
}

/* --- emptying it --- */

/* What strangers send makes no lines of its own in the log. */
static void check_log(void)
{
    static const char front[] = "2026-01-02T03:04:05.678Z ";
    static char lines[LOG_BYTES];
    int descriptor = kit.server.log.descriptor;
    ssize_t length = pread(descriptor, lines, sizeof lines, 0);
    FUZZ_REQUIRE(length >= 0);
    struct text rest = {.bytes = lines, .length = (size_t)length};
    while (rest.length > 0) {
        struct text line = text_cut(&rest, '\n');
        bool cut = rest.length == 0 && length == LOG_BYTES;
        FUZZ_REQUIRE(cut || (line.length > sizeof front && memcmp(line.bytes, front, sizeof front - 1) == 0));
        for (size_t i = 0; i < line.length; i++)
            FUZZ_REQUIRE(line.bytes[i] >= 0x20 && line.bytes[i] < 0x7F);
    }
    FUZZ_REQUIRE(ftruncate(descriptor, 0) == 0 && lseek(descriptor, 0, SEEK_SET) == 0);
}

static bool database_has_changed(void)
{
    FUZZ_REQUIRE(sqlite3_step(kit.version) == SQLITE_ROW);
    int64_t version = sqlite3_column_int64(kit.version, 0);
    sqlite3_reset(kit.version);
    bool changed = version != kit.version_seen;
    kit.version_seen = version;
    return changed;
}

static void empty_database(void)
{
    static const char statements[] =
        "BEGIN IMMEDIATE; DELETE FROM events; DELETE FROM user_subscriptions; DELETE FROM reference_pieces;"
        "DELETE FROM reference_table; DELETE FROM planned_users; DELETE FROM planned_events;"
        "DELETE FROM users_revenue; DELETE FROM journal_checkpoints;"
        "UPDATE event_counter SET last_id = 0, last_position = 0; COMMIT;";
    FUZZ_REQUIRE(sqlite3_exec(kit.database, statements, NULL, NULL, NULL) == SQLITE_OK);
    kit.server.reference_generation = 0;
    hub_stop(kit.server.hub);
    hub_free(kit.server.hub);
    make_hub();
}

/* They take more time to look through and to make than all the rest. */
static bool metrics_are_used(void)
{
    struct metrics_counts counts = metrics_counts(kit.server.metrics);
    return counts.generation > 0 || counts.events > 0 || counts.users > 0 || counts.types > 0;
}

void kit_server_check(void)
{
    check_log();
    store_check(kit.server.store);
    if (metrics_are_used())
        metrics_check(kit.server.metrics);
}

void kit_server_reset(void)
{
    FUZZ_REQUIRE(http_server_connections(kit.server.http).open == 0);
    store_free(kit.server.store);
    make_store();
    if (metrics_are_used()) {
        metrics_free(kit.server.metrics);
        make_metrics();
    }
    if (database_has_changed())
        empty_database();
    if (kit_server_journal_bytes() > JOURNAL_MOST_BYTES)
        FUZZ_REQUIRE(truncate(kit.journal_path, 0) == 0);
}

/* --- a connection --- */

/* What a worker does when it is woken. Returns whether there was something to do. */
static bool work(int wait_ms)
{
    struct http_server *http = kit.server.http;
    struct worker *worker = &kit.worker;
    bool had_jobs = pool_has_jobs(http->pool);
    FUZZ_REQUIRE(pool_turn(http->pool));
    int count;
    do {
        count = epoll_wait(http->epoll_descriptor, worker->events, EVENTS_AT_ONCE, wait_ms);
    } while (count < 0 && errno == EINTR); /* libFuzzer has an alarm now and then */
    worker->next_event = 0;
    worker->event_count = count < 0 ? 0 : count;
    while (worker->next_event < worker->event_count) {
        const struct epoll_event event = worker->events[worker->next_event++];
        if ((event.data.u64 & UINT32_MAX) == CONTROL_SLOT)
            continue;
        struct connection *connection = connection_claim(http, event.data.u64, event.events);
        if (connection != NULL)
            connection_serve(worker, connection);
    }
    return count > 0 || had_jobs;
}

/* Whether some connection is in one of the states. */
static bool is_any(unsigned states)
{
    bool any = false;
    for (unsigned i = 0; i < kit.server.http->used_slot_count; i++) {
        struct connection *connection = &kit.server.http->slots[i];
        pthread_mutex_lock(&connection->mutex);
        any = any || (states & 1U << connection->state) != 0;
        pthread_mutex_unlock(&connection->mutex);
    }
    return any;
}

/* Whether some thread still has something to do for a connection. */
static bool is_busy(void)
{
    return is_any(1U << CONNECTION_SERVED | 1U << CONNECTION_ANSWERED | 1U << CONNECTION_DEFERRED |
                  1U << CONNECTION_WRITING);
}

/* A connection that waits for bytes has read all that there are. */
static void check_parked(void)
{
    int unread = 0;
    if (is_any(1U << CONNECTION_PARKED))
        FUZZ_REQUIRE(ioctl(kit.client, SIOCOUTQ, &unread) == 0 && unread == 0);
}

/* Reads what is there. Returns whether there was anything. */
static bool receive(int client, struct buffer *answers)
{
    char bytes[16 * 1024];
    bool any = false;
    ssize_t length;
    while ((length = recv(client, bytes, sizeof bytes, MSG_DONTWAIT)) > 0) {
        buffer_append(answers, bytes, (size_t)length);
        any = true;
    }
    return any;
}

/* Works until nothing is left to do before more bytes come. */
static void settle(int client, struct buffer *answers)
{
    bool quiet = false;
    for (int rounds = 0; !quiet; rounds++) {
        FUZZ_REQUIRE(rounds < STUCK_ROUNDS);
        bool worked = work(0);
        bool received = receive(client, answers);
        quiet = !worked && !received && !is_busy();
        if (!worked && !received && !quiet)
            FUZZ_REQUIRE(work(STUCK_MS));
    }
    check_parked();
}

void kit_server_connect(void)
{
    int ends[2];
    int send_bytes = 1; /* the least there is, so that answers of some kilobytes do not fit at once */
    FUZZ_REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    FUZZ_REQUIRE(setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &send_bytes, sizeof send_bytes) == 0);
    FUZZ_REQUIRE(connection_open(kit.server.http, ends[1]) == 0);
    kit.client = ends[0];
}

void kit_server_send(struct text piece, struct buffer *answers)
{
    while (piece.length > 0) {
        ssize_t sent = send(kit.client, piece.bytes, piece.length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno != EAGAIN)
            break; /* the server has ended the connection */
        if (sent > 0) {
            piece.bytes += sent;
            piece.length -= (size_t)sent;
        }
        settle(kit.client, answers);
    }
}

void kit_server_disconnect(struct buffer *answers)
{
    settle(kit.client, answers);
    shutdown(kit.client, SHUT_WR);
    settle(kit.client, answers);
    close(kit.client);
    while (http_server_connections(kit.server.http).open > 0)
        FUZZ_REQUIRE(work(STUCK_MS));
    FUZZ_REQUIRE(!answers->failed);
    /* Nobody is left who could hold any of it. */
    message_clear(&kit.worker.message, 0);
    FUZZ_REQUIRE(http_server_request_memory(kit.server.http) == 0);
}

/* --- the journal --- */

size_t kit_server_journal_bytes(void)
{
    struct stat journal;
    FUZZ_REQUIRE(stat(kit.journal_path, &journal) == 0);
    return (size_t)journal.st_size;
}

void kit_server_read_journal(size_t offset, struct buffer *content)
{
    char bytes[16 * 1024];
    size_t length;
    FILE *file = fopen(kit.journal_path, "re");
    FUZZ_REQUIRE(file != NULL && fseek(file, (long)offset, SEEK_SET) == 0);
    while ((length = fread(bytes, 1, sizeof bytes, file)) > 0)
        buffer_append(content, bytes, length);
    fclose(file);
}
