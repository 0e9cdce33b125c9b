/* Last-Event-ID: what is replayed, in which order, and that the stream then goes on live. */
#include <stdlib.h>
#include <string.h>

#include "kit_events.h"
#include "kit_http.h"
#include "kit_sse.h"

#define EVENTS 6

/* A server, and the numbers 1 to EVENTS on channel c; ids[1] to ids[EVENTS] are theirs. Between any two of them
 * stands an event of another channel. */
static struct kit_server *serve_with_events(struct kit *kit, int64_t ids[EVENTS + 1])
{
    struct kit_server *server = kit_serve_events(kit);
    kit_subscribe(server, "1", "c");
    for (int i = 1; i <= EVENTS; i++) {
        kit_publish(server, "c", "t", kit_format(kit, "%d", i));
        kit_publish(server, "other", "t", "0");
    }
    const struct kit_history *history = kit_history(server, "c", NULL);
    assert_int_equal(history->count, EVENTS);
    ids[0] = 0;
    for (int i = 1; i <= EVENTS; i++)
        ids[i] = history->events[i - 1].id;
    return server;
}

/* Opens a stream, which must bring the numbers from `first` on with their ids, and then what is published
 * live, here to a channel that nothing has been published to before. */
static void check_replay(struct kit_server *server, const int64_t *ids, const char *headers,
                         const char *parameters, int first)
{
    static int last_channel;
    struct kit *kit = kit_of(server);
    const char *marked = kit_format(kit, "marked%d", ++last_channel);
    kit_subscribe(server, "1", marked);
    const char *target = kit_format(kit, KIT_STREAM "?userId=1&channels=c,%s%s", marked, parameters);
    kit_note(kit, "%s with %s", target, headers == NULL ? "no header" : headers);
    struct kit_sse *stream = kit_sse_open_target(server, target, headers);
    for (int i = first; i <= EVENTS; i++)
        assert_int_equal(kit_sse_expect(stream, "t", kit_format(kit, "%d", i)), ids[i]);
    kit_sse_expect_silence(stream, marked);
    kit_sse_close(stream);
}

static void what_is_above_the_id_is_replayed(void **state)
{
    int64_t ids[EVENTS + 1];
    struct kit *kit = *state;
    struct kit_server *server = serve_with_events(kit, ids);
    for (int last = 0; last <= EVENTS; last++) {
        long long id = ids[last];
        check_replay(server, ids, kit_format(kit, "Last-Event-ID: %lld\r\n", id), "", last + 1);
        check_replay(server, ids, kit_format(kit, "last-event-id:%lld \r\n", id), "", last + 1);
        check_replay(server, ids, NULL, kit_format(kit, "&lastEventId=%lld", id), last + 1);
        /* Whose event it is does not matter, nor that there is one. */
        const char *header = kit_format(kit, "Last-Event-ID: %lld\r\n", id + 1);
        check_replay(server, ids, last == 0 ? NULL : header, "", last == 0 ? EVENTS + 1 : last + 1);
        header = kit_format(kit, "Last-Event-ID: %lld\r\n", id - 1);
        check_replay(server, ids, last == 0 ? NULL : header, "", last == 0 ? EVENTS + 1 : last);
    }
}

static void the_header_beats_the_parameter(void **state)
{
    int64_t ids[EVENTS + 1];
    struct kit *kit = *state;
    struct kit_server *server = serve_with_events(kit, ids);
    const char *header = kit_format(kit, "Last-Event-ID: %lld\r\n", (long long)ids[4]);
    check_replay(server, ids, header, kit_format(kit, "&lastEventId=%lld", (long long)ids[2]), 5);
    check_replay(server, ids, header, "&lastEventId=0", 5);
    check_replay(server, ids, "Last-Event-ID: 0\r\n",
                 kit_format(kit, "&lastEventId=%lld", (long long)ids[EVENTS]), 1);
    /* Of the parameter itself the first counts. */
    check_replay(server, ids, NULL, kit_format(kit, "&lastEventId=%lld&lastEventId=0", (long long)ids[4]), 5);
}

static void malformed_headers_are_ignored(void **state)
{
    static const char *const values[] = {"",
                                         "abc",
                                         "-1",
                                         "1.5",
                                         "1x",
                                         "0x1",
                                         "1 2",
                                         "null",
                                         "1,2",
                                         "\"1\"",
                                         "1e1",
                                         "--",
                                         "99999999999999999999"};
    int64_t ids[EVENTS + 1];
    struct kit *kit = *state;
    struct kit_server *server = serve_with_events(kit, ids);
    for (size_t i = 0; i < KIT_COUNT(values); i++)
        check_replay(server, ids, kit_format(kit, "Last-Event-ID: %s\r\n", values[i]), "", EVENTS + 1);
}

static void malformed_parameters_are_refused(void **state)
{
    static const char *const values[] = {"",    "abc",  "-1",      "1.5", "1x",  "0x1",
                                         "1+2", "null", "%221%22", "1e1", "%00", "%ff"};
    int64_t ids[EVENTS + 1];
    struct kit *kit = *state;
    struct kit_server *server = serve_with_events(kit, ids);
    for (size_t i = 0; i < KIT_COUNT(values); i++) {
        const char *target = kit_format(kit, KIT_STREAM "?userId=1&channels=c&lastEventId=%s", values[i]);
        kit_note(kit, "%s", target);
        kit_assert_error(kit_get_path(server, target), 400, "lastEventId");
    }
    assert_int_equal(kit_streams(server), 0);
}

/* As after a database that was thrown away: better live only than never again. */
static void an_id_beyond_the_newest_goes_on_live(void **state)
{
    static const char *const values[] = {"1000000", "2147483648", "9007199254740993", "9223372036854775807"};
    int64_t ids[EVENTS + 1];
    struct kit *kit = *state;
    struct kit_server *server = serve_with_events(kit, ids);
    for (size_t i = 0; i < KIT_COUNT(values); i++) {
        check_replay(server, ids, kit_format(kit, "Last-Event-ID: %s\r\n", values[i]), "", EVENTS + 1);
        check_replay(server, ids, NULL, kit_format(kit, "&lastEventId=%s", values[i]), EVENTS + 1);
    }
}

static void nothing_stored_is_nothing_replayed(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_subscribe(server, "1", "c");
    struct kit_sse *stream = kit_sse_resume(server, "1", "c", 0);
    kit_sse_expect_silence(stream, "c");
    kit_sse_expect_silence(stream, "c");
}

static void channels_are_merged_in_the_order_of_the_ids(void **state)
{
    enum { EACH = 40 };
    static const char *const channels[] = {"a", "b", "not subscribed", "d", "not asked for"};
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    for (size_t i = 0; i < KIT_COUNT(channels); i++)
        if (i != 2)
            kit_subscribe(server, "1", channels[i]);
    for (int i = 0; i < EACH; i++)
        for (size_t channel = 0; channel < KIT_COUNT(channels); channel++)
            /* Not always in turn. */
            for (int again = 0; again < (i + (int)channel) % 3; again++)
                kit_publish(server, channels[channel], "t", kit_format(kit, "\"%s\"", channels[channel]));
    struct kit_sse *stream = kit_sse_resume(server, "1", "d,not+subscribed,a,b", 0);
    for (int i = 0; i < EACH; i++)
        for (size_t channel = 0; channel < KIT_COUNT(channels) - 1; channel++)
            for (int again = 0; channel != 2 && again < (i + (int)channel) % 3; again++)
                kit_sse_expect(stream, "t", kit_format(kit, "\"%s\"", channels[channel]));
    kit_sse_expect_silence(stream, "d");
}

/* Being subscribed counts when the stream opens, not when the event was published. */
static void events_of_before_the_subscription_are_replayed(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_publish(server, "c", "t", "1");
    kit_subscribe(server, "1", "c");
    kit_publish(server, "c", "t", "2");
    kit_unsubscribe(server, "1", "c");
    kit_publish(server, "c", "t", "3");
    kit_assert_error(
        kit_request(server, "GET", kit_sse_target(server, "1", "c"), "Last-Event-ID: 0\r\n", NULL, 0), 403,
        ".");
    kit_subscribe(server, "1", "c");
    struct kit_sse *stream = kit_sse_resume(server, "1", "c", 0);
    for (int i = 1; i <= 3; i++)
        kit_sse_expect(stream, "t", kit_format(*state, "%d", i));
    kit_sse_expect_silence(stream, "c");
}

/* More than all the buffers on the way: the replay must go at the reader's pace. */
static void a_large_replay_is_whole(void **state)
{
    enum { LARGE = 26, LENGTH = 900000 };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    kit_subscribe(server, "1", "c");
    char *payload = kit_format(kit, "\"%s\"", kit_repeat(kit, "x", LENGTH));
    for (int i = 0; i < LARGE; i++) {
        payload[1] = (char)('A' + i);
        kit_publish(server, "c", "t", payload);
    }
    struct kit_sse *stream = kit_sse_resume(server, "1", "c", 0);
    for (int i = 0; i < LARGE; i++) {
        payload[1] = (char)('A' + i);
        kit_sse_expect(stream, "t", payload);
    }
    kit_sse_expect_silence(stream, "c");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_engines(what_is_above_the_id_is_replayed),
        kit_test_engines(the_header_beats_the_parameter),
        kit_test_engines(malformed_headers_are_ignored),
        kit_test_engines(malformed_parameters_are_refused),
        kit_test_engines(an_id_beyond_the_newest_goes_on_live),
        kit_test_engines(nothing_stored_is_nothing_replayed),
        kit_test_engines(channels_are_merged_in_the_order_of_the_ids),
        kit_test_engines(events_of_before_the_subscription_are_replayed),
        kit_test_engines(a_large_replay_is_whole),
    };
    return kit_run_event_tests(tests);
}
