/* The kit's own parsers: what the tests of streams and history rely on to find a fault must find it. */
#include <string.h>

#include "kit_events.h"
#include "kit_http.h"
#include "kit_sse.h"

struct stream_row {
    const char *bytes;
    size_t length; /* 0: strlen(bytes) */
};

static void an_event_is_taken_apart(void **state)
{
    static const char bytes[] = "id: 12\nevent: a b\ndata: {\"n\":[1,\"\xc3\xa9\"]}\n\nid: 13\n";
    struct kit_sse_frame frame;
    const char *problem;
    (void)state;
    ssize_t length = kit_sse_parse(bytes, strlen(bytes), &frame, &problem);
    assert_int_equal(length, strlen(bytes) - strlen("id: 13\n"));
    assert_int_equal(frame.kind, KIT_SSE_EVENT);
    assert_int_equal(frame.id, 12);
    assert_string_equal(frame.event, "a b");
    assert_string_equal(frame.data, "{\"n\":[1,\"\xc3\xa9\"]}");
    kit_sse_frame_clear(&frame);
}

static void comments_and_retry_are_frames(void **state)
{
    struct kit_sse_frame frame;
    const char *problem;
    (void)state;
    assert_int_equal(kit_sse_parse(": heartbeat\n\n", 13, &frame, &problem), 13);
    assert_int_equal(frame.kind, KIT_SSE_COMMENT);
    assert_string_equal(frame.comment, "heartbeat");
    kit_sse_frame_clear(&frame);
    assert_int_equal(kit_sse_parse("retry: 2000\n\nid", 15, &frame, &problem), 13);
    assert_int_equal(frame.kind, KIT_SSE_RETRY);
    assert_int_equal(frame.retry_ms, 2000);
    kit_sse_frame_clear(&frame);
}

static void half_a_frame_is_waited_for(void **state)
{
    static const char bytes[] = "id: 12\nevent: t\ndata: 1\n\n";
    (void)state;
    for (size_t length = 0; length < strlen(bytes); length++) {
        struct kit_sse_frame frame;
        const char *problem;
        assert_int_equal(kit_sse_parse(bytes, length, &frame, &problem), 0);
    }
}

static void faults_are_found(void **state)
{
    static const struct stream_row rows[] = {
        {"\nid: 1\nevent: t\ndata: 1\n\n", 0},
        {"id: 1\nevent: t\ndata: 1\nid: 2\nevent: t\ndata: 2\n\n", 0}, /* no blank line between two */
        {"id: 1\nevent: t\ndata: 1\n: heartbeat\n\n", 0},
        {": heartbeat\nid: 1\nevent: t\ndata: 1\n\n", 0},
        {": heartbeat\n: heartbeat\n\n", 0},
        {"retry: 2000\nid: 1\nevent: t\ndata: 1\n\n", 0},
        {"retry: 2s\n\n", 0},
        {"retry: -1\n\n", 0},
        {"id: 1\ndata: 1\n\n", 0},
        {"event: t\ndata: 1\n\n", 0},
        {"id: 1\nevent: t\n\n", 0},
        {"id: 1\n\n", 0},
        {"data: 1\n\n", 0},
        {"event: t\nid: 1\ndata: 1\n\n", 0},
        {"id: 1\nevent: t\ndata: 1\ndata: 2\n\n", 0},
        {"id: 1\nevent: t\nevent: u\ndata: 1\n\n", 0},
        {"id: 1\nevent: t\ndata: 1\nother: 1\n\n", 0},
        {"id: 1\nevent: t\ndata: 1\ndata\n\n", 0},
        {"id:1\nevent: t\ndata: 1\n\n", 0},
        {"id: 1\nevent:t\ndata: 1\n\n", 0},
        {"id: 1\nevent: t\ndata:  1\n\n", 0},
        {"id: 1\nevent: t\ndata: \n\n", 0},
        {"id: 1\nevent: \ndata: 1\n\n", 0},
        {" id: 1\nevent: t\ndata: 1\n\n", 0},
        {"ID: 1\nevent: t\ndata: 1\n\n", 0},
        {"id: 01\nevent: t\ndata: 1\n\n", 0},
        {"id: 0\nevent: t\ndata: 1\n\n", 0},
        {"id: -1\nevent: t\ndata: 1\n\n", 0},
        {"id: 1x\nevent: t\ndata: 1\n\n", 0},
        {"id: 9999999999999999999\nevent: t\ndata: 1\n\n", 0},
        {"id: 1\r\nevent: t\r\ndata: 1\r\n\r\n", 0},
        {"id: 1\nevent: t\ndata: \"a\rb\"\n\n", 0},
        {"id: 1\nevent: t\ndata: \"a\0b\"\n\n", 28},
        {"\xef\xbb\xbfid: 1\nevent: t\ndata: 1\n\n", 0},
        {"id: 1\nevent: t\ndata: \"\xff\"\n\n", 0},
        {"id: 1\nevent: t\ndata: \"\xed\xa0\x80\"\n\n", 0},
        {"id: 1\nevent: t\ndata: \"\xc0\x80\"\n\n", 0},
        {":heartbeat\n\n", 0},
        {":\n\n", 0},
        {"heartbeat\n\n", 0},
        {"5f\r\nid: 1", 0}, /* a chunk's size */
    };
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        struct kit_sse_frame frame;
        const char *problem;
        size_t length = rows[i].length > 0 ? rows[i].length : strlen(rows[i].bytes);
        kit_note(*state, "row %zu, %s", i, rows[i].bytes);
        if (kit_sse_parse(rows[i].bytes, length, &frame, &problem) != -1 || problem == NULL)
            kit_fail(*state, "not found: %s", rows[i].bytes);
    }
}

#define INSTANT "\"2026-01-02T03:04:05.678Z\""

static void an_event_of_the_history_is_taken_apart(void **state)
{
    static const char text[] = "{\"id\":7,\"channel\":\"a\\\"b\",\"eventType\":\"t\",\"payload\":"
                               "{\"x\":[\"}\\\\\",{}],\"createdAt\":1},\"createdAt\":" INSTANT "}";
    struct kit_event_slices event;
    (void)state;
    const char *end = kit_parse_event(text, &event);
    assert_non_null(end);
    assert_string_equal(end, "");
    assert_int_equal(event.id, 7);
    assert_int_equal(event.json.length, strlen(text));
    assert_int_equal(event.channel.length, strlen("a\\\"b"));
    assert_memory_equal(event.channel.text, "a\\\"b", event.channel.length);
    assert_memory_equal(event.payload.text, "{\"x\":[\"}\\\\\",{}],\"createdAt\":1}", event.payload.length);
    assert_int_equal(event.payload.length, strlen("{\"x\":[\"}\\\\\",{}],\"createdAt\":1}"));
    assert_int_equal(kit_parse_instant_ms(event.created_at.text, event.created_at.length), 1767323045678);
}

static void faults_of_an_event_are_found(void **state)
{
    static const char *const rows[] = {
        "{\"id\":\"7\",\"channel\":\"a\",\"eventType\":\"t\",\"payload\":1,\"createdAt\":" INSTANT "}",
        "{\"id\":0,\"channel\":\"a\",\"eventType\":\"t\",\"payload\":1,\"createdAt\":" INSTANT "}",
        "{\"id\":7, \"channel\":\"a\",\"eventType\":\"t\",\"payload\":1,\"createdAt\":" INSTANT "}",
        "{\"id\":7,\"eventType\":\"t\",\"channel\":\"a\",\"payload\":1,\"createdAt\":" INSTANT "}",
        "{\"id\":7,\"channel\":\"a\",\"eventType\":\"t\",\"createdAt\":" INSTANT "}",
        "{\"id\":7,\"channel\":\"a\",\"eventType\":\"t\",\"payload\":,\"createdAt\":" INSTANT "}",
        "{\"id\":7,\"channel\":\"a\",\"eventType\":\"t\",\"payload\":[1,\"createdAt\":" INSTANT "}",
        "{\"id\":7,\"channel\":\"a\",\"eventType\":\"t\",\"payload\":1,\"createdAt\":1}",
        "{\"id\":7,\"channel\":\"a\",\"eventType\":\"t\",\"payload\":1}",
        ("{\"id\":7,\"channel\":\"a\",\"eventType\":\"t\",\"payload\":1,\"createdAt\":" INSTANT),
    };
    struct kit_event_slices event;
    for (size_t i = 0; i < KIT_COUNT(rows); i++)
        if (kit_parse_event(rows[i], &event) != NULL)
            kit_fail(*state, "not found: %s", rows[i]);
}

static void instants_have_one_form(void **state)
{
    static const char *const rows[] = {
        "2026-01-02T03:04:05.678",       "2026-01-02T03:04:05Z",     "2026-01-02 03:04:05.678Z",
        "2026-01-02T03:04:05.678+00:00", "2026-01-02T03:04:05.67Z",  "2026-01-02T03:04:05.6789Z",
        "2026-13-02T03:04:05.678Z",      "2026-01-02T25:04:05.678Z", "",
    };
    for (size_t i = 0; i < KIT_COUNT(rows); i++)
        if (kit_parse_instant_ms(rows[i], strlen(rows[i])) != -1)
            kit_fail(*state, "not found: %s", rows[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(an_event_is_taken_apart),
        kit_test(comments_and_retry_are_frames),
        kit_test(half_a_frame_is_waited_for),
        kit_test(faults_are_found),
        kit_test(an_event_of_the_history_is_taken_apart),
        kit_test(faults_of_an_event_are_found),
        kit_test(instants_have_one_form),
    };
    return kit_run_tests(tests);
}
