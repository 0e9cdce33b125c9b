/* Thousands of idle streams cost neither threads nor, once closed, descriptors; streams that nobody reads cost no memory
 * to speak of. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "kit_sse.h"
#include "kit_streams.h"

enum {
    STREAMS = 2000,          /* at TEST_TIME_SCALE 1 */
    SPARE_DESCRIPTORS = 200, /* of this process and of the server, beside those of the streams */
    THREADS_MAX = 22,
    HEARTBEAT_MS = 3000,
};

/* The number behind "NAME:" in /proc/PID/status. */
static int64_t process_number(struct kit_server *server, const char *name)
{
    const char *status = kit_read_file(
        kit_of(server), kit_format(kit_of(server), "/proc/%d/status", (int)kit_process(server)));
    const char *line = strstr(status, kit_format(kit_of(server), "\n%s:", name));
    if (line == NULL)
        kit_fail(kit_of(server), "no %s in %s", name, status);
    return strtoll(line + strlen(name) + 2, NULL, 10);
}

static int64_t descriptor_count(struct kit_server *server)
{
    DIR *directory = opendir(kit_format(kit_of(server), "/proc/%d/fd", (int)kit_process(server)));
    assert_non_null(directory);
    int64_t count = 0;
    while (readdir(directory) != NULL)
        count++;
    closedir(directory);
    return count;
}

/* As many as this process and the server may have descriptors for. */
static int stream_count(void)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    int wanted = (int)(STREAMS / kit_time_scale());
    assert_true(limit.rlim_cur > 2 * SPARE_DESCRIPTORS);
    rlim_t most = limit.rlim_cur - SPARE_DESCRIPTORS;
    return (rlim_t)wanted < most ? wanted : (int)most;
}

static void expect_few_threads(struct kit_server *server)
{
    assert_true(kit_health(server, "threads.total") <= THREADS_MAX);
    /* A sanitizer may have one of its own. */
    assert_in_range(process_number(server, "Threads"), 1, THREADS_MAX + 2);
}

static struct kit_sse **open_streams(struct kit_server *server, int count)
{
    struct kit *kit = kit_of(server);
    struct kit_sse **streams = kit_allocate(kit, (size_t)count * sizeof(struct kit_sse *));
    const char *target = kit_sse_target(server, "1", "c");
    for (int i = 0; i < count; i++) {
        kit_note(kit, "opening stream %d of %d", i, count);
        streams[i] = kit_sse_open_target(server, target, NULL);
    }
    return streams;
}

/* Each gets this event next, under this id if that is not 0; the id. */
static int64_t expect_everywhere(struct kit *kit, struct kit_sse **streams, int count, const char *payload)
{
    int64_t id = 0;
    for (int i = 0; i < count; i++) {
        kit_note(kit, "event %s at stream %d", payload, i);
        int64_t got = kit_sse_expect(streams[i], "t", payload);
        assert_true(id == 0 || got == id);
        id = got;
    }
    return id;
}

static void expect_heartbeats(struct kit *kit, struct kit_sse **streams, int count)
{
    for (int i = 0; i < count; i++) {
        kit_note(kit, "heartbeat at stream %d", i);
        const struct kit_sse_frame *frame = kit_sse_next_frame(streams[i], HEARTBEAT_MS);
        assert_int_equal(frame->kind, KIT_SSE_COMMENT);
    }
}

static void thousands_of_idle_streams_cost_no_threads(void **state)
{
    struct kit *kit = *state;
    int count = stream_count();
    struct kit_server *server =
        kit_serve_events(kit, "--threads", "2", "--max-threads", "22", "--heartbeat", "1");
    kit_subscribe(server, "1", "c");
    int64_t connections_before = 1; /* the one that asks, once those before it are gone */
    kit_wait_until_health(server, "connections.open", connections_before);
    int64_t descriptors_before = descriptor_count(server);
    struct kit_sse **streams = open_streams(server, count);
    assert_int_equal(kit_streams(server), count);
    kit_wait_until_health(server, "connections.open", count + connections_before);
    expect_few_threads(server);
    kit_publish(server, "c", "t", "1");
    kit_publish(server, "c", "t", "2"); /* what follows at once on the first shows that none came twice */
    int64_t first_id = expect_everywhere(kit, streams, count, "1");
    assert_true(expect_everywhere(kit, streams, count, "2") > first_id);
    expect_heartbeats(kit, streams, count);
    expect_few_threads(server);
    assert_int_equal(kit_streams(server), count);
    for (int i = 0; i < count; i++)
        (i % 2 == 0 ? kit_close : kit_reset)(streams[i]->connection);
    kit_wait_until_streams(server, 0);
    kit_wait_until_health(server, "connections.open", connections_before);
    /* Those of the database come and go. */
    assert_in_range(descriptor_count(server), 0, descriptors_before + SPARE_DESCRIPTORS);
    expect_few_threads(server);
}

/* ---- streams that nobody reads ---- */

enum { UNREAD = 40, LENGTH = 400000, EVENTS = 100, ALLOWED_KIB = 400 * 1024 };

/* "xxx" of LENGTH bytes that begins with its number. */
static void write_large(char *payload, int number)
{
    memset(payload, 'x', LENGTH);
    payload[1 + sprintf(payload + 1, "%d ", number)] = 'x'; /* over the NUL */
    payload[0] = payload[LENGTH - 1] = '"';
}

/* Publishes all large events; the most that the server's resident memory was, in KiB. */
static int64_t publish_large(struct kit_server *server)
{
    struct kit *kit = kit_of(server);
    struct kit_connection *connection = kit_connect(server);
    char *payload = kit_allocate(kit, LENGTH + 1);
    int64_t most_kib = 0;
    for (int number = 0; number < EVENTS; number++) {
        write_large(payload, number);
        int status = kit_try_publish(connection, "c", "t", payload, kit_deadline_at_ms(KIT_DEADLINE_MS));
        if (status != 202)
            kit_fail(kit, "publish %d: %d (%s)", number, status, status < 0 ? strerror(errno) : "");
        int64_t now_kib = process_number(server, "VmRSS");
        most_kib = now_kib > most_kib ? now_kib : most_kib;
    }
    return most_kib;
}

/* Takes the large events from the `first` on; how many. With fewer than all of them the server has ended the stream. */
static int take_large(struct kit *kit, struct kit_sse *stream, int first)
{
    char *wanted = kit_allocate(kit, LENGTH + 1);
    int taken = 0;
    for (; first + taken < EVENTS; taken++) {
        struct kit_sse_frame frame;
        write_large(wanted, first + taken);
        if (kit_sse_try_next_event(stream, kit_deadline_at_ms(KIT_DEADLINE_MS), &frame) != 0)
            break;
        bool is_right = strcmp(frame.data, wanted) == 0;
        kit_sse_frame_clear(&frame);
        if (!is_right)
            kit_fail(kit, "id %lld is not event %d", (long long)stream->last_id, first + taken);
    }
    if (first + taken < EVENTS && errno != EPIPE && errno != ECONNRESET && !stream->cut)
        kit_fail(kit, "event %d: %s", first + taken, errno == EPROTO ? stream->problem : strerror(errno));
    return taken;
}

/* They are closed for it; whoever then reads what there is, and resumes, gets everything. */
static void unread_streams_are_closed_and_cost_little_memory(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit, "--threads", "2", "--max-threads", "22");
    struct kit_sse *streams[UNREAD];
    kit_subscribe(server, "1", "c");
    for (int i = 0; i < UNREAD; i++)
        streams[i] = kit_sse_open(server, "1", "c");
    int64_t before_kib = process_number(server, "VmRSS"), most_kib = publish_large(server);
    /* A copy for each would be 1.6 GB; the events themselves, which the queue has too, are 40 MB. */
    print_message("%d unread streams: %lld KiB before, %lld KiB at most\n", UNREAD, (long long)before_kib,
                  (long long)most_kib);
    if ((double)(most_kib - before_kib) > ALLOWED_KIB * kit_time_scale())
        kit_fail(kit, "the server has grown by %lld KiB", (long long)(most_kib - before_kib));
    kit_wait_until_streams(server, 0);
    for (int i = 0; i < UNREAD; i += UNREAD / 3) {
        kit_note(kit, "reading stream %d", i);
        int taken = take_large(kit, streams[i], 0);
        assert_in_range(taken, 0, EVENTS - 1);
        struct kit_sse *resumed = kit_sse_resume(server, "1", "c", streams[i]->last_id);
        assert_int_equal(taken + take_large(kit, resumed, taken), EVENTS);
        kit_sse_close(resumed);
    }
    kit_sse_expect_silence(kit_sse_open(server, "1", "c"), "c");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_engines(thousands_of_idle_streams_cost_no_threads),
        kit_test_engines(unread_streams_are_closed_and_cost_little_memory),
    };
    return kit_run_event_tests(tests);
}
