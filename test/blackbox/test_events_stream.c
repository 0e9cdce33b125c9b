/* GET /api/events/stream: its head and frames, which events it brings to whom, and what is refused. */
#include <string.h>

#include "kit_events.h"
#include "kit_http.h"
#include "kit_sse.h"

static void the_bytes_are_exact(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    struct kit_connection *connection = kit_connect(server);
    kit_subscribe(server, "1", "c");
    kit_send_request(connection, "GET", kit_sse_target(server, "1", "c"), NULL, NULL, 0);
    kit_assert_status(kit_receive_head(connection), 200);
    kit_wait_until_streams(server, 1);
    kit_publish(server, "c", "created", " { \"n\" : [ 1.0 , \"two\" ] } ");
    kit_publish(server, "c", "a type: with colons", "false");
    const struct kit_event *events = kit_history(server, "c", NULL)->events;
    const char *wanted = kit_format(kit,
                                    "retry: 2000\n\n"
                                    "id: %lld\nevent: created\ndata: {\"n\":[1.0,\"two\"]}\n\n"
                                    "id: %lld\nevent: a type: with colons\ndata: false\n\n",
                                    (long long)events[0].id, (long long)events[1].id);
    char *bytes = kit_allocate(kit, strlen(wanted) + 1);
    for (size_t length = 0; length < strlen(wanted);) {
        ssize_t count = kit_try_read(connection, bytes + length, strlen(wanted) - length);
        if (count <= 0)
            kit_fail(kit, "the stream goes no further than: %s", bytes);
        length += (size_t)count;
    }
    assert_string_equal(bytes, wanted);
    kit_stop(server);
    kit_expect_end(connection);
}

static void events_arrive_with_the_ids_of_the_history(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_subscribe(server, "1", "c");
    struct kit_sse *stream = kit_sse_open(server, "1", "c");
    kit_publish(server, "c", "created", "{\"n\":1}");
    int64_t first = kit_sse_expect(stream, "created", "{\"n\":1}");
    kit_publish(server, "c", "h\xc3\xa9llo", "[2]");
    int64_t second = kit_sse_expect(stream, "h\xc3\xa9llo", "[2]");
    const struct kit_history *history = kit_history(server, "c", NULL);
    assert_int_equal(history->count, 2);
    assert_int_equal(history->events[0].id, first);
    assert_int_equal(history->events[1].id, second);
}

static void nothing_of_before_without_being_asked(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_subscribe(server, "1", "c");
    kit_publish(server, "c", "t", "1");
    struct kit_sse *stream = kit_sse_open(server, "1", "c");
    kit_publish(server, "c", "t", "2");
    kit_sse_expect(stream, "t", "2");
    kit_sse_expect_silence(stream, "c");
}

static void only_channels_asked_for_and_subscribed(void **state)
{
    static const char *const channels[] = {"asked", "subscribed", "neither", "ask", "both and more", "BOTH"};
    struct kit_server *server = kit_serve_events(*state);
    kit_subscribe(server, "1", "both");
    kit_subscribe(server, "1", "both too");
    kit_subscribe(server, "1", "subscribed");
    kit_subscribe(server, "2", "asked");
    struct kit_sse *stream = kit_sse_open(server, "1", "asked,both,both+too");
    for (size_t i = 0; i < KIT_COUNT(channels); i++)
        kit_publish(server, channels[i], "t", "\"not for this one\"");
    kit_publish(server, "both", "t", "1");
    kit_publish(server, "both too", "t", "2");
    kit_sse_expect(stream, "t", "1");
    kit_sse_expect(stream, "t", "2");
    kit_sse_expect_silence(stream, "both");
}

static void channel_names_are_percent_decoded(void **state)
{
    static const struct {
        const char *in_json, *in_query;
    } rows[] = {
        {"a b", "a+b"},
        {"c&d=e", "c%26d%3De"},
        {"h\xc3\xa9llo", "h%c3%a9llo"},
        {"\xf0\x9f\x98\x80", "%F0%9F%98%80"},
        {"f\\\"g", "f%22g"},
        {"50%", "50%25"},
    };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    const char *all = "";
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        kit_subscribe(server, "\"h\xc3\xa9 llo\"", rows[i].in_json);
        all = kit_format(kit, "%s%s%s", all, i == 0 ? "" : ",", rows[i].in_query);
    }
    struct kit_sse *stream = kit_sse_open(server, "h%c3%a9+llo", all);
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        kit_note(kit, "channel %s", rows[i].in_json);
        kit_publish(server, rows[i].in_json, "t", kit_format(kit, "%zu", i));
        kit_sse_expect(stream, "t", kit_format(kit, "%zu", i));
    }
}

static void a_channel_named_twice_comes_once(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_subscribe(server, "1", "c");
    struct kit_sse *stream = kit_sse_open(server, "1", "c,c,c&channels=d");
    kit_publish(server, "c", "t", "1");
    kit_sse_expect(stream, "t", "1");
    kit_sse_expect_silence(stream, "c");
}

static void number_and_string_are_one_user(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_subscribe(server, "\"1\"", "a");
    kit_subscribe(server, "1", "b");
    struct kit_sse *stream = kit_sse_open(server, "1", "a,b");
    kit_publish(server, "a", "t", "1");
    kit_publish(server, "b", "t", "2");
    kit_sse_expect(stream, "t", "1");
    kit_sse_expect(stream, "t", "2");
}

static void every_stream_of_a_channel_gets_each_event(void **state)
{
    enum { STREAMS = 20 };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    struct kit_sse *streams[STREAMS];
    kit_subscribe(server, "1", "c");
    kit_subscribe(server, "2", "c");
    for (int i = 0; i < STREAMS; i++)
        streams[i] = kit_sse_open(server, i % 2 == 0 ? "1" : "2", "c");
    for (int event = 0; event < 3; event++)
        kit_publish(server, "c", "t", kit_format(kit, "%d", event));
    for (int event = 0; event < 3; event++) {
        int64_t id = kit_sse_expect(streams[0], "t", kit_format(kit, "%d", event));
        for (int i = 1; i < STREAMS; i++)
            assert_int_equal(kit_sse_expect(streams[i], "t", kit_format(kit, "%d", event)), id);
    }
}

static void all_of_many_publishers_arrive_in_the_order_of_the_history(void **state)
{
    enum { EVENTS = 500 };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    kit_subscribe(server, "1", "a");
    kit_subscribe(server, "1", "b");
    struct kit_sse *of_one = kit_sse_open(server, "1", "a"), *of_both = kit_sse_open(server, "1", "a,b");
    kit_publish_numbers(server, "a", 0, EVENTS);
    kit_publish(server, "b", "t", "\"last\"");
    const struct kit_history *history = kit_whole_history(server, "a", 1000);
    assert_int_equal(history->count, EVENTS);
    for (int i = 0; i < EVENTS; i++) {
        kit_note(kit, "event %d", i);
        const struct kit_event *event = &history->events[i];
        assert_int_equal(kit_sse_expect(of_one, "number", event->payload), event->id);
        assert_int_equal(kit_sse_expect(of_both, "number", event->payload), event->id);
    }
    kit_sse_expect(of_both, "t", "\"last\"");
    kit_sse_expect_silence(of_one, "a");
}

static void unsubscribing_ends_a_channel_at_once(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    for (int user = 1; user <= 2; user++) {
        kit_subscribe(server, user == 1 ? "1" : "2", "a");
        kit_subscribe(server, user == 1 ? "1" : "2", "b");
    }
    struct kit_sse *first = kit_sse_open(server, "1", "a,b"), *second = kit_sse_open(server, "1", "a,b");
    struct kit_sse *other = kit_sse_open(server, "2", "a,b");
    kit_publish(server, "a", "t", "1");
    kit_sse_expect(first, "t", "1");
    kit_sse_expect(second, "t", "1");
    kit_unsubscribe(server, "1", "a");
    kit_publish(server, "a", "t", "2");
    kit_publish(server, "b", "t", "3");
    kit_sse_expect(first, "t", "3");
    kit_sse_expect(second, "t", "3");
    for (int i = 1; i <= 3; i++)
        kit_sse_expect(other, "t", kit_format(*state, "%d", i));
    kit_sse_expect_silence(first, "b");
}

/* At once: an event of just before may be under way and not arrive any more, one of just after never does. */
static void unsubscribing_is_at_once_each_time(void **state)
{
    enum { ROUNDS = 30 };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    kit_subscribe(server, "1", "marked");
    for (int round = 0; round < ROUNDS; round++) {
        kit_note(kit, "round %d", round);
        kit_subscribe(server, "1", "c");
        struct kit_sse *stream = kit_sse_open(server, "1", "c,marked");
        kit_publish(server, "c", "before", "1");
        kit_unsubscribe(server, "\"1\"", "c");
        kit_publish(server, "c", "after", "2");
        kit_publish(server, "marked", "last", "3");
        const struct kit_sse_frame *frame = kit_sse_next(stream);
        if (strcmp(frame->event, "before") == 0)
            frame = kit_sse_next(stream);
        assert_string_equal(frame->event, "last");
        kit_sse_close(stream);
    }
}

static void a_later_subscription_does_not_widen_a_stream(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_subscribe(server, "1", "a");
    struct kit_sse *stream = kit_sse_open(server, "1", "a,b");
    kit_subscribe(server, "1", "b");
    kit_publish(server, "b", "t", "1");
    kit_sse_expect_silence(stream, "a");
    /* One that is opened now has it. */
    struct kit_sse *later = kit_sse_open(server, "1", "a,b");
    kit_publish(server, "b", "t", "2");
    kit_sse_expect(later, "t", "2");
    kit_sse_expect_silence(stream, "a");
}

static void who_has_subscribed_nothing_of_it_is_refused(void **state)
{
    static const char *const queries[] = {
        "userId=2&channels=a",      "userId=1&channels=b",    "userId=1&channels=b,d,%20",
        "userId=nobody&channels=a", "userId=1&channels=A",    "userId=01&channels=a",
        "userId=1&channels=%25",    "userId=1%20&channels=a", "userId=2&channels=a&userId=1",
    };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    kit_subscribe(server, "1", "a");
    kit_subscribe(server, "2", "b");
    kit_subscribe(server, "1", "gone");
    kit_unsubscribe(server, "1", "gone");
    for (size_t i = 0; i < KIT_COUNT(queries); i++) {
        kit_note(kit, "%s", queries[i]);
        kit_assert_error(kit_get_path(server, kit_format(kit, KIT_STREAM "?%s", queries[i])), 403, ".");
    }
    kit_assert_error(kit_get_path(server, KIT_STREAM "?userId=1&channels=gone"), 403, ".");
    assert_int_equal(kit_streams(server), 0);
}

static void bad_parameters_are_named(void **state)
{
    struct kit *kit = *state;
    const struct {
        const char *query, *named;
    } rows[] = {
        {"", "userId|channels"},
        {"?userId=1", "channels"},
        {"?userId=1&channels", "channels"},
        {"?userId=1&channels=", "channels"},
        {"?userId=1&Channels=c", "channels"},
        {"?userId=1&channel=c", "channels"},
        {"?userId=1&channels=c%00", "channels"},
        {"?userId=1&channels=c,a%0ab", "channels"},
        {"?userId=1&channels=%ff", "channels"},
        {"?channels=c", "userId"},
        {"?userId&channels=c", "userId"},
        {"?userId=&channels=c", "userId"},
        {"?userid=1&channels=c", "userId"},
        {"?userId=1%00&channels=c", "userId"},
        {"?userId=%7f&channels=c", "userId"},
        {kit_format(kit, "?userId=1&channels=c,%s", kit_repeat(kit, "c", 256)), "channels"},
        {kit_format(kit, "?userId=%s&channels=c", kit_repeat(kit, "1", 256)), "userId"},
    };
    struct kit_server *server = kit_serve_events(kit);
    kit_subscribe(server, "1", "c");
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        kit_note(kit, "%s", rows[i].query);
        kit_assert_error(kit_get_path(server, kit_format(kit, KIT_STREAM "%s", rows[i].query)), 400,
                         rows[i].named);
    }
    assert_int_equal(kit_streams(server), 0);
}

static void a_refused_stream_leaves_the_connection_open(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    struct kit_connection *connection = kit_connect(server);
    kit_subscribe(server, "1", "c");
    kit_send_request(connection, "GET", kit_sse_target(server, "2", "c"), NULL, NULL, 0);
    kit_assert_error(kit_receive(connection), 403, ".");
    kit_send_request(connection, "GET", KIT_STREAM "?userId=1", NULL, NULL, 0);
    kit_assert_error(kit_receive(connection), 400, "channels");
    kit_send_request(connection, "GET", "/healthz", NULL, NULL, 0);
    kit_assert_body(kit_receive(connection), "{\"ok\":true}");
    /* And a stream may follow other answers. */
    struct kit_sse *stream = kit_sse_open_over(server, connection, kit_sse_target(server, "1", "c"), NULL);
    kit_publish(server, "c", "t", "1");
    kit_sse_expect(stream, "t", "1");
}

static void headers_of_browsers_are_taken(void **state)
{
    static const char *const headers[] = {
        "Accept: text/event-stream\r\nCache-Control: no-cache\r\nConnection: keep-alive\r\n",
        "Accept: */*\r\nAccept-Encoding: gzip, deflate, br\r\n",
        "Connection: close\r\n",
    };
    struct kit_server *server = kit_serve_events(*state);
    kit_subscribe(server, "1", "c");
    for (size_t i = 0; i < KIT_COUNT(headers); i++) {
        kit_note(*state, "%s", headers[i]);
        struct kit_sse *stream = kit_sse_open_target(server, kit_sse_target(server, "1", "c"), headers[i]);
        kit_assert_header(stream->head, "Content-Encoding", NULL);
        kit_publish(server, "c", "t", "1");
        kit_sse_expect(stream, "t", "1");
    }
}

static void a_client_of_http_1_0_gets_a_stream(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    struct kit_connection *connection = kit_connect(server);
    kit_subscribe(server, "1", "c");
    kit_send_text(connection, "GET " KIT_STREAM "?userId=1&channels=c HTTP/1.0\r\n\r\n");
    const struct kit_response *head = kit_receive_head(connection);
    kit_assert_status(head, 200);
    kit_assert_header(head, "Transfer-Encoding", NULL);
    kit_wait_until_streams(server, 1);
    kit_publish(server, "c", "t", "1");
    struct kit_sse stream = {.server = server, .connection = connection};
    assert_int_equal(kit_sse_next_frame(&stream, KIT_DEADLINE_MS)->kind, KIT_SSE_RETRY);
    kit_sse_expect(&stream, "t", "1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_engines(the_bytes_are_exact),
        kit_test_engines(events_arrive_with_the_ids_of_the_history),
        kit_test_engines(nothing_of_before_without_being_asked),
        kit_test_engines(only_channels_asked_for_and_subscribed),
        kit_test_engines(channel_names_are_percent_decoded),
        kit_test_engines(a_channel_named_twice_comes_once),
        kit_test_engines(number_and_string_are_one_user),
        kit_test_engines(every_stream_of_a_channel_gets_each_event),
        kit_test_engines(all_of_many_publishers_arrive_in_the_order_of_the_history),
        kit_test_engines(unsubscribing_ends_a_channel_at_once),
        kit_test_engines(unsubscribing_is_at_once_each_time),
        kit_test_engines(a_later_subscription_does_not_widen_a_stream),
        kit_test_engines(who_has_subscribed_nothing_of_it_is_refused),
        kit_test_engines(bad_parameters_are_named),
        kit_test_engines(a_refused_stream_leaves_the_connection_open),
        kit_test_engines(headers_of_browsers_are_taken),
        kit_test_engines(a_client_of_http_1_0_gets_a_stream),
    };
    return kit_run_event_tests(tests);
}
