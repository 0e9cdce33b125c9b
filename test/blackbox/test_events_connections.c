/* Streams come and go: they are counted, hang-ups are noticed, heartbeats keep them, and a stop ends them. */
#include <signal.h>
#include <string.h>

#include "kit_events.h"
#include "kit_http.h"
#include "kit_sse.h"

static void open_streams_are_counted(void **state)
{
    enum { STREAMS = 5 };
    struct kit_server *server = kit_serve_events(*state);
    struct kit_sse *streams[STREAMS];
    kit_subscribe(server, "1", "c");
    const struct kit_response *response = kit_get_path(server, KIT_ACTIVE_CONNECTIONS);
    kit_assert_status(response, 200);
    kit_assert_body(response, "{\"count\":0}");
    kit_assert_header(response, "Content-Type", "application/json");
    for (int i = 0; i < STREAMS; i++) {
        streams[i] = kit_sse_open(server, "1", "c");
        /* Its head has arrived, so it is open. */
        assert_int_equal(kit_streams(server), i + 1);
    }
    /* Other connections are none of them. */
    kit_connect(server);
    struct kit_connection *waiting = kit_get_later(server, "a", "g", NULL);
    kit_wait_until_health(server, "queue.waiting", 1);
    assert_int_equal(kit_streams(server), STREAMS);
    kit_close(waiting);
    for (int i = 0; i < STREAMS; i++) {
        kit_sse_close(streams[i]);
        kit_wait_until_streams(server, STREAMS - 1 - i);
    }
}

enum way { WITH_FIN, WITH_RST, HALF_CLOSED, HALF_CLOSED_BEHIND_A_REQUEST, WAYS };

static void hang_up(struct kit_sse *stream, enum way way)
{
    if (way == HALF_CLOSED_BEHIND_A_REQUEST)
        kit_send_request(stream->connection, "GET", "/healthz", NULL, NULL, 0);
    if (way == WITH_FIN)
        kit_close(stream->connection);
    else if (way == WITH_RST)
        kit_reset(stream->connection);
    else
        kit_shutdown_sending(stream->connection);
}

static void hang_ups_are_noticed(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_subscribe(server, "1", "c");
    struct kit_sse *other = kit_sse_open(server, "1", "c");
    for (enum way way = 0; way < WAYS; way++) {
        kit_note(*state, "way %d", (int)way);
        struct kit_sse *stream = kit_sse_open(server, "1", "c");
        kit_wait_until_streams(server, 2);
        hang_up(stream, way);
        kit_wait_until_streams(server, 1);
        kit_publish(server, "c", "t", "1");
        kit_sse_expect(other, "t", "1");
        if (way == HALF_CLOSED)
            kit_sse_expect_end(stream);
        else if (way == HALF_CLOSED_BEHIND_A_REQUEST) /* which is not read any more, so this may be by RST */
            kit_expect_end(stream->connection);
    }
}

/* Request and hang-up arrive together; the server may see the one only after the other. */
static void hanging_up_at_once_leaves_nothing_behind(void **state)
{
    enum { STREAMS = 40 };
    struct kit_server *server = kit_serve_events(*state);
    kit_subscribe(server, "1", "c");
    kit_publish(server, "c", "t", "1");
    for (int i = 0; i < STREAMS; i++) {
        struct kit_connection *connection = kit_connect(server);
        kit_send_request(connection, "GET", kit_sse_target(server, "1", "c"),
                         i % 2 == 0 ? NULL : kit_sse_header(server, 0), NULL, 0);
        (i % 4 < 2 ? kit_close : kit_reset)(connection);
    }
    /* Only the look at the server's health is left: all the others are gone for it, too. */
    kit_wait_until_health(server, "connections.open", 1);
    assert_int_equal(kit_streams(server), 0);
    struct kit_sse *stream = kit_sse_open(server, "1", "c");
    kit_sse_expect_silence(stream, "c");
}

/* A stream that waits must not cost a worker: far more of them than there are workers, and all goes on. */
static void many_streams_leave_the_server_free(void **state)
{
    enum { STREAMS = 200 };
    struct kit_server *server = kit_serve_events(*state, "--threads", "2", "--max-threads", "24");
    struct kit_sse *streams[STREAMS];
    kit_subscribe(server, "1", "c");
    for (int i = 0; i < STREAMS; i++)
        streams[i] = kit_sse_open(server, "1", "c");
    assert_int_equal(kit_streams(server), STREAMS);
    kit_publish(server, "c", "t", "1");
    for (int i = 0; i < STREAMS; i++)
        kit_sse_expect(streams[i], "t", "1");
    for (int i = 0; i < STREAMS; i += 2)
        kit_sse_close(streams[i]);
    kit_wait_until_streams(server, STREAMS / 2);
    kit_publish(server, "c", "t", "2");
    for (int i = 1; i < STREAMS; i += 2)
        kit_sse_expect(streams[i], "t", "2");
}

static void expect_heartbeat(struct kit_sse *stream)
{
    const struct kit_sse_frame *frame = kit_sse_next_frame(stream, KIT_DEADLINE_MS);
    assert_int_equal(frame->kind, KIT_SSE_COMMENT);
    assert_string_equal(frame->comment, "heartbeat");
}

static void heartbeats_come_every_second(void **state)
{
    struct kit_server *server = kit_serve_events(*state, "--heartbeat", "1");
    kit_subscribe(server, "1", "c");
    struct kit_sse *stream = kit_sse_open(server, "1", "c");
    expect_heartbeat(stream);
    int64_t first_at_ms = kit_now_ms();
    expect_heartbeat(stream);
    expect_heartbeat(stream);
    /* Two intervals; the first beat may have been read late, by as much as the machine is slow. */
    assert_in_range(kit_now_ms() - first_at_ms, 1500, (int64_t)(3000 * kit_time_scale()));
}

static void fractions_of_a_second_count(void **state)
{
    enum { BEATS = 10 };
    struct kit_server *server = kit_serve_events(*state, "--heartbeat", "0.2");
    kit_subscribe(server, "1", "c");
    struct kit_sse *stream = kit_sse_open(server, "1", "c");
    expect_heartbeat(stream);
    int64_t first_at_ms = kit_now_ms();
    for (int i = 0; i < BEATS; i++)
        expect_heartbeat(stream);
    assert_in_range(kit_now_ms() - first_at_ms, 1500, (int64_t)(4000 * kit_time_scale()));
}

static void heartbeats_stand_between_frames(void **state)
{
    enum { EVENTS = 300 };
    struct kit_server *server = kit_serve_events(*state, "--heartbeat", "0.05");
    kit_subscribe(server, "1", "c");
    struct kit_sse *stream = kit_sse_open(server, "1", "c");
    const char *large = kit_format(*state, "\"%s\"", kit_repeat(*state, "x", 300000));
    kit_publish(server, "c", "t", large);
    kit_publish_numbers(server, "c", 0, EVENTS);
    kit_publish(server, "c", "t", large);
    kit_sse_expect(stream, "t", large);
    for (int i = 0; i < EVENTS; i++)
        kit_sse_next(stream);
    kit_sse_expect(stream, "t", large);
}

static void a_stop_ends_streams_between_frames(void **state)
{
    enum { STREAMS = 10 };
    struct kit_server *server = kit_serve_events(*state);
    struct kit_sse *streams[STREAMS];
    kit_subscribe(server, "1", "c");
    for (int i = 0; i < STREAMS; i++)
        streams[i] = kit_sse_open(server, "1", "c");
    kit_publish(server, "c", "t", "1");
    for (int i = 0; i < STREAMS; i++)
        kit_sse_expect(streams[i], "t", "1");
    int64_t signalled_at_ms = kit_now_ms();
    kit_signal(server, SIGTERM);
    for (int i = 0; i < STREAMS; i++)
        kit_sse_expect_end(streams[i]);
    assert_int_equal(kit_wait_exit(server), 0);
    /* Nothing was to be waited for: not the 8 s at which it cuts what is under way. */
    assert_in_range(kit_now_ms() - signalled_at_ms, 0, (int64_t)(5000 * kit_time_scale()));
}

/* A reader that has stopped reading holds the stop up to 8 s at most. */
static void a_stop_does_not_wait_for_a_stalled_stream(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    const char *large = kit_format(*state, "\"%s\"", kit_repeat(*state, "x", 900000));
    kit_subscribe(server, "1", "c");
    for (int i = 0; i < 20; i++)
        kit_publish(server, "c", "t", large);
    struct kit_connection *connection = kit_connect_small(server, 4096);
    kit_sse_open_over(server, connection, kit_sse_target(server, "1", "c"), kit_sse_header(server, 0));
    kit_signal(server, SIGTERM);
    assert_int_equal(kit_wait_exit(server), 0); /* within 10 s */
}

static void a_new_server_goes_on_where_the_old_one_stopped(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_subscribe(server, "1", "c");
    struct kit_sse *stream = kit_sse_open(server, "1", "c");
    kit_publish(server, "c", "t", "1");
    int64_t last_id = kit_sse_expect(stream, "t", "1");
    kit_publish(server, "c", "t", "2"); /* perhaps not read any more */
    kit_stop(server);
    server = kit_serve_events(*state);
    kit_publish(server, "c", "t", "3");
    stream = kit_sse_resume(server, "1", "c", last_id);
    kit_sse_expect(stream, "t", "2");
    kit_sse_expect(stream, "t", "3");
    kit_sse_expect_silence(stream, "c");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_engines(open_streams_are_counted),
        kit_test_engines(hang_ups_are_noticed),
        kit_test_engines(hanging_up_at_once_leaves_nothing_behind),
        kit_test_engines(many_streams_leave_the_server_free),
        kit_test_engines(heartbeats_come_every_second),
        kit_test_engines(fractions_of_a_second_count),
        kit_test_engines(heartbeats_stand_between_frames),
        kit_test_engines(a_stop_ends_streams_between_frames),
        kit_test_engines(a_stop_does_not_wait_for_a_stalled_stream),
        kit_test_engines(a_new_server_goes_on_where_the_old_one_stopped),
    };
    return kit_run_event_tests(tests);
}
