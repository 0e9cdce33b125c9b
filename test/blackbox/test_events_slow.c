/* Streams whose client does not read: they are closed, not thinned, and what they missed can be replayed. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "kit_events.h"
#include "kit_http.h"
#include "kit_sse.h"

enum { EVENTS_MAX = 200, LENGTH = 900000, CLOSED_MS = 30000, ATTEMPTS = 10 };

/* The beginning of a large payload: it tells its number. */
static size_t write_start(char start[16], int number)
{
    return (size_t)snprintf(start, 16, "\"%d ", number);
}

static void publish_large(struct kit_server *server, struct kit_connection *connection, int number)
{
    static char payload[LENGTH + 1]; /* hundreds of them would not be freed before the end of the test */
    char start[16];
    memset(payload, 'x', LENGTH);
    memcpy(payload, start, write_start(start, number));
    payload[LENGTH - 1] = '"';
    int status = kit_try_publish(connection, "c", "t", payload, kit_deadline_at_ms(KIT_DEADLINE_MS));
    if (status != 202)
        kit_fail(kit_of(server), "publishing event %d: %d (%s)", number, status,
                 status < 0 ? strerror(errno) : "");
}

static bool is_large(const char *data, int number)
{
    char start[16];
    return strncmp(data, start, write_start(start, number)) == 0 && strlen(data) == LENGTH;
}

/* Takes the next event, which must be that one; false with errno when there is none. */
static bool take_large(struct kit_sse *stream, int number)
{
    struct kit_sse_frame frame;
    if (kit_sse_try_next_event(stream, kit_deadline_at_ms(KIT_DEADLINE_MS), &frame) != 0)
        return false;
    bool right = is_large(frame.data, number);
    if (!right)
        print_error("%.20s (%zu bytes) instead of event %d\n", frame.data, strlen(frame.data), number);
    kit_sse_frame_clear(&frame);
    if (!right)
        kit_fail(kit_of(stream->server), "id %lld is not event %d", (long long)stream->last_id, number);
    return true;
}

static void expect_large(struct kit_sse *stream, int number)
{
    if (!take_large(stream, number))
        kit_fail(kit_of(stream->server), "no event %d: %s", number,
                 errno == EPROTO ? stream->problem : strerror(errno));
}

/* The server has ended the connection, perhaps within a frame; nothing else may have gone wrong. */
static void expect_closed(struct kit_sse *stream, int next)
{
    if (errno != EPIPE && errno != ECONNRESET && !stream->cut)
        kit_fail(kit_of(stream->server), "at event %d: %s", next,
                 errno == EPROTO ? stream->problem : strerror(errno));
}

static struct kit_sse *open_small(struct kit_server *server, const char *headers)
{
    struct kit_connection *connection = kit_connect_small(server, 4096);
    return kit_sse_open_over(server, connection, kit_sse_target(server, "1", "c"), headers);
}

/* Publishes large events, which `keen` reads at once, until no more than `streams` are open; how many. */
static int publish_until_closed(struct kit_server *server, struct kit_sse *keen, int64_t streams)
{
    int count = 0;
    struct kit_connection *connection = kit_connect(server);
    int64_t deadline_at_ms = kit_deadline_at_ms(CLOSED_MS);
    while (kit_streams(server) > streams) {
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(kit_of(server), "not closed after %d events of %d bytes", count, LENGTH);
        if (count < EVENTS_MAX) {
            publish_large(server, connection, count);
            expect_large(keen, count);
            count++;
        } else {
            kit_pause(); /* far more than any buffer holds: then it is a matter of time */
        }
    }
    kit_close(connection);
    return count;
}

static void a_stalled_stream_is_closed_and_can_resume(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    kit_subscribe(server, "1", "c");
    struct kit_sse *keen = kit_sse_open(server, "1", "c"), *stalled = open_small(server, NULL);
    int count = publish_until_closed(server, keen, 1), next = 0;
    while (take_large(stalled, next))
        next++;
    expect_closed(stalled, next);
    assert_in_range(next, 0, count - 1); /* or it would not have been closed */
    struct kit_sse *resumed = kit_sse_resume(server, "1", "c", stalled->last_id);
    publish_large(server, kit_connect(server), count++);
    for (; next < count; next++)
        expect_large(resumed, next);
    kit_sse_expect_silence(resumed, "c");
}

/* Whoever stalls is nobody else's delay: the keen one reads each event as it is published. */
static void stalled_streams_hold_up_nobody(void **state)
{
    enum { STALLED = 6 };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit, "--threads", "2", "--max-threads", "24");
    kit_subscribe(server, "1", "c");
    kit_subscribe(server, "1", "other");
    struct kit_sse *keen = kit_sse_open(server, "1", "c"), *other = kit_sse_open(server, "1", "other");
    for (int i = 0; i < STALLED; i++)
        open_small(server, NULL);
    assert_true(publish_until_closed(server, keen, 2) > 0);
    kit_sse_expect_silence(other, "other");
    kit_sse_expect_silence(keen, "c");
}

/* Stalls at the beginning of a replay that no buffer holds, while others publish; then it reads on. If the
 * server closes it meanwhile it resumes, as a browser would. */
static void a_replay_that_stalls_loses_nothing(void **state)
{
    enum { STORED = 24, LIVE = 6 };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    struct kit_connection *connection = kit_connect(server);
    kit_subscribe(server, "1", "c");
    for (int i = 0; i < STORED; i++)
        publish_large(server, connection, i);
    struct kit_sse *stream = open_small(server, "Last-Event-ID: 0\r\n");
    for (int i = STORED; i < STORED + LIVE; i++)
        publish_large(server, connection, i);
    int next = 0;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        while (next < STORED + LIVE && take_large(stream, next))
            next++;
        if (next == STORED + LIVE)
            break;
        expect_closed(stream, next);
        int64_t last_id = stream->last_id;
        kit_sse_close(stream);
        stream = open_small(server, kit_sse_header(server, last_id));
        stream->last_id = last_id;
    }
    assert_int_equal(next, STORED + LIVE);
    kit_sse_expect_silence(stream, "c");
}

/* Far below any limit of memory: whether the server waits for the client or closes it, nothing is left out. */
static void a_stalled_stream_of_small_events_is_whole_or_closed(void **state)
{
    enum { EVENTS = 3000 };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    kit_subscribe(server, "1", "c");
    struct kit_sse *stream = open_small(server, NULL);
    kit_publish_numbers(server, "c", 0, EVENTS);
    const struct kit_history *history = kit_whole_history(server, "c", 1000);
    assert_int_equal(history->count, EVENTS);
    int next = 0;
    struct kit_sse_frame frame;
    while (next < EVENTS &&
           kit_sse_try_next_event(stream, kit_deadline_at_ms(KIT_DEADLINE_MS), &frame) == 0) {
        kit_sse_frame_clear(&frame);
        if (stream->last_id != history->events[next].id)
            kit_fail(kit, "event %d has the id %lld", next, (long long)stream->last_id);
        next++;
    }
    if (next < EVENTS) {
        expect_closed(stream, next);
        stream = kit_sse_resume(server, "1", "c", stream->last_id);
    }
    for (; next < EVENTS; next++)
        assert_int_equal(kit_sse_next(stream)->id, history->events[next].id);
    kit_sse_expect_silence(stream, "c");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_engines(a_stalled_stream_is_closed_and_can_resume),
        kit_test_engines(stalled_streams_hold_up_nobody),
        kit_test_engines(a_replay_that_stalls_loses_nothing),
        kit_test_engines(a_stalled_stream_of_small_events_is_whole_or_closed),
    };
    return kit_run_event_tests(tests);
}
