/* SQLite can't write: another process holds the lock, or the disk takes no more. What would write is answered 503 in
 * time, what only reads goes on, and everything works again once the obstacle is gone. */
#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kit_http.h"
#include "kit_sse.h"
#include "kit_streams.h"

enum { PUBLISHES = 12, PROMPT_MS = 1000, START_MS = 10000 };

/* ---- the lock ---- */

static sqlite3 *locker; /* of the test that runs; this process is not the server's */

static const char *database_path(struct kit *kit)
{
    return kit_database(kit) + strlen("sqlite:");
}

static void take_lock(struct kit *kit)
{
    if (sqlite3_open_v2(database_path(kit), &locker, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK ||
        sqlite3_busy_timeout(locker, KIT_DEADLINE_MS) != SQLITE_OK ||
        sqlite3_exec(locker, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
        kit_fail(kit, "%s can't be locked: %s", database_path(kit), sqlite3_errmsg(locker));
}

static void release_lock(void)
{
    sqlite3_close(locker); /* rolls back */
    locker = NULL;
}

static int tear_down(void **state)
{
    release_lock();
    return kit_teardown(state);
}

/* ---- refusals ---- */

static void expect_refusal(struct kit_connection *connection, int64_t sent_at_ms)
{
    const struct kit_response *response = kit_receive(connection);
    assert_in_range(kit_now_ms() - sent_at_ms, 0, (int64_t)(STREAMS_AWAY_MS * kit_time_scale()));
    kit_assert_error(response, 503, "");
    kit_assert_header(response, "Retry-After", "");
    assert_true(kit_matches(kit_header(response, "Retry-After"), "^[1-9][0-9]*$"));
    /* That is for connections that break. */
    assert_null(strstr(response->body, "outcome unknown"));
    kit_close(connection);
}

static struct kit_connection *post_later(struct kit_server *server, const char *path, const char *json)
{
    struct kit_connection *connection = kit_connect(server);
    kit_send_request(connection, "POST", path, "Content-Type: application/json\r\n", json, strlen(json));
    return connection;
}

/* What writes is refused, however much of it comes at once; what reads is answered meanwhile. */
static void expect_refusals(struct kit_server *server, const char *payloads)
{
    struct kit_connection *connections[PUBLISHES + 2];
    size_t count = 0;
    int64_t sent_at_ms = kit_now_ms();
    for (int i = 0; i < PUBLISHES; i++)
        connections[count++] =
            post_later(server, KIT_PUBLISH, kit_envelope(kit_of(server), "c", "t", "\"refused\""));
    connections[count++] = post_later(server, KIT_SUBSCRIBE, "{\"userId\":2,\"channel\":\"c\"}");
    connections[count++] = post_later(server, KIT_UNSUBSCRIBE, "{\"userId\":1,\"channel\":\"c\"}");
    int64_t asked_at_ms = kit_now_ms();
    kit_assert_history(server, "c", payloads);
    kit_assert_channels(server, "1", "c");
    kit_assert_channels(server, "2");
    kit_push(server, "k", "1");
    kit_assert_body(kit_get_path(server, "/healthz"), "{\"ok\":true}");
    assert_in_range(kit_now_ms() - asked_at_ms, 0, (int64_t)(PROMPT_MS * kit_time_scale()));
    for (size_t i = 0; i < count; i++)
        expect_refusal(connections[i], sent_at_ms);
}

static void a_locked_database_refuses_what_writes(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit, "--heartbeat", "1");
    kit_subscribe(server, "1", "c");
    struct kit_sse *stream = kit_sse_open(server, "1", "c");
    const char *payloads = "1";
    kit_publish(server, "c", "t", "1");
    kit_sse_expect(stream, "t", "1");
    for (int round = 2; round < 4; round++) {
        take_lock(kit);
        expect_refusals(server, kit_format(kit, "[%s]", payloads));
        struct kit_sse *replayed = kit_sse_resume(server, "1", "c", 0);
        kit_sse_expect(replayed, "t", "1");
        kit_sse_close(replayed);
        const struct kit_sse_frame *frame = kit_sse_next_frame(stream, KIT_DEADLINE_MS);
        assert_int_equal(frame->kind, KIT_SSE_COMMENT);
        release_lock();
        const char *payload = kit_format(kit, "%d", round);
        kit_publish(server, "c", "t", payload);
        kit_sse_expect(stream, "t", payload);
        payloads = kit_format(kit, "%s,%s", payloads, payload);
        kit_subscribe(server, "2", "d");
        kit_unsubscribe(server, "2", "d");
    }
    kit_assert_history(server, "c", kit_format(kit, "[%s]", payloads));
    kit_assert_channels(server, "1", "c");
    kit_sse_expect_silence(stream, "c");
}

/* ---- start ---- */

/* The port that a server has written, or 0 when it has ended instead. */
static int wait_started(struct kit *kit, struct kit_server *server, const char *port_file)
{
    int64_t deadline_at_ms = kit_deadline_at_ms(START_MS);
    while (access(port_file, R_OK) != 0) {
        siginfo_t ended = {0};
        if (waitid(P_PID, (id_t)kit_process(server), &ended, WEXITED | WNOHANG | WNOWAIT) != 0)
            kit_fail(kit, "waitid: %s", strerror(errno));
        if (ended.si_pid != 0)
            return 0;
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(kit, "the server neither serves nor ends");
        kit_pause();
    }
    return atoi(kit_read_file(kit, port_file));
}

static int post_to(struct kit *kit, int port, const char *payload, bool expects_refusal)
{
    struct kit_connection *connection = kit_try_connect_to(kit, "127.0.0.1", port);
    assert_non_null(connection);
    const char *json = kit_envelope(kit, "c", "t", payload);
    int64_t sent_at_ms = kit_now_ms();
    kit_send_request(connection, "POST", KIT_PUBLISH, "Content-Type: application/json\r\n", json,
                     strlen(json));
    if (expects_refusal) {
        expect_refusal(connection, sent_at_ms);
        return 503;
    }
    const struct kit_response *response = kit_receive(connection);
    kit_close(connection);
    return response->status;
}

/* The contract leaves open whether a server can be started meanwhile: it may serve, and refuse what writes; or it says
 * in one line that the database can't be used, with status 2. */
static void a_locked_database_at_the_start(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    kit_publish(server, "c", "t", "1");
    kit_stop(server);
    take_lock(kit);
    const char *port_file = kit_format(kit, "%s/port", kit_make_directory(kit));
    setenv("DATABASE_URL", kit_database(kit), 1);
    struct kit_server *second = kit_start_with_port_file(kit, port_file);
    unsetenv("DATABASE_URL");
    int port = wait_started(kit, second, port_file);
    if (port == 0) {
        assert_int_equal(kit_wait_exit(second), 2);
        assert_int_equal(kit_line_count(kit_log(second)), 1);
        release_lock();
    } else {
        post_to(kit, port, "\"refused\"", true);
        release_lock();
        assert_int_equal(post_to(kit, port, "2", false), 202);
        kit_stop(second);
    }
    print_message("a server that finds a locked database %s\n", port == 0 ? "ends" : "serves");
    server = kit_serve_events(kit);
    kit_publish(server, "c", "t", "3");
    kit_assert_history(server, "c", port == 0 ? "[1,3]" : "[1,2,3]");
}

/* ---- a disk that takes no more ---- */

/* A limit on the size of each of the server's files, as if the disk were full behind it. */
static void limit_files(struct kit_server *server, rlim_t length)
{
    struct rlimit limit;
    if (prlimit(kit_process(server), RLIMIT_FSIZE, NULL, &limit) != 0)
        kit_fail(kit_of(server), "prlimit: %s", strerror(errno));
    limit.rlim_cur = length < limit.rlim_max ? length : limit.rlim_max;
    if (prlimit(kit_process(server), RLIMIT_FSIZE, &limit, NULL) != 0)
        kit_fail(kit_of(server), "prlimit: %s", strerror(errno));
}

/* The size of the largest of the database's files. */
static rlim_t largest_file(struct kit *kit)
{
    static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
    rlim_t largest = 0;
    for (size_t i = 0; i < KIT_COUNT(ends); i++) {
        struct stat status;
        if (stat(kit_format(kit, "%s%s", database_path(kit), ends[i]), &status) == 0 &&
            (rlim_t)status.st_size > largest)
            largest = (rlim_t)status.st_size;
    }
    return largest;
}

static void a_full_disk_refuses_what_writes(void **state)
{
    enum { LENGTH = 20000, PUBLISHES_MAX = 1000, ROOM = 100000 };
    struct kit *kit = *state;
    signal(SIGXFSZ, SIG_IGN); /* the server is to see the error, as with a full disk, not the signal */
    struct kit_server *server = kit_serve_events(kit);
    kit_subscribe(server, "1", "c");
    struct kit_sse *stream = kit_sse_open(server, "1", "c");
    char *payload = kit_repeat(kit, "x", LENGTH);
    payload[0] = payload[LENGTH - 1] = '"';
    size_t taken = 0;
    for (int round = 0; round < 2; round++) {
        kit_note(kit, "round %d", round);
        limit_files(server, largest_file(kit) + ROOM);
        struct kit_connection *connection = kit_connect(server);
        int status;
        while ((status = kit_try_publish(connection, "c", "t", payload,
                                         kit_deadline_at_ms(KIT_DEADLINE_MS))) == 202)
            if (++taken > PUBLISHES_MAX)
                kit_fail(kit, "the files do not grow");
        assert_int_equal(status, 503);
        expect_refusal(post_later(server, KIT_PUBLISH, kit_envelope(kit, "c", "t", payload)), kit_now_ms());
        assert_int_equal(kit_whole_history(server, "c", 1000)->count, taken);
        kit_assert_body(kit_get_path(server, "/healthz"), "{\"ok\":true}");
        kit_close(connection);
        limit_files(server, RLIM_INFINITY);
        kit_publish(server, "c", "t", payload);
        assert_int_equal(kit_whole_history(server, "c", 1000)->count, ++taken);
    }
    for (size_t i = 0; i < taken; i++)
        kit_sse_expect(stream, "t", payload);
    kit_sse_expect_silence(stream, "c");
    kit_stop(server);
    assert_int_equal(kit_whole_history(kit_serve_events(kit), "c", 1000)->count, taken + 1); /* the marker */
}

#define locked_test(function)                                                                                \
    {                                                                                                        \
#function, function, kit_setup_sqlite, tear_down, NULL                                               \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        locked_test(a_locked_database_refuses_what_writes),
        locked_test(a_locked_database_at_the_start),
        locked_test(a_full_disk_refuses_what_writes),
    };
    return kit_run_event_tests(tests);
}
