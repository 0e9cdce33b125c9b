/* A published event is in the queue, too: under the key of its channel's name, as in the history, in the order
 * of the ids, and before its publisher is answered. */
#include <stdlib.h>
#include <string.h>

#include "kit_events.h"
#include "kit_http.h"
#include "kit_sse.h"

/* What a group that has consumed nothing gets: the history of the channel as an array. */
static void expect_the_history(struct kit_server *server, const char *channel, const char *group)
{
    struct kit *kit = kit_of(server);
    const struct kit_history *history = kit_whole_history(server, channel, 1000);
    size_t length = 3;
    for (size_t i = 0; i < history->count; i++)
        length += strlen(history->events[i].json) + 1;
    char *wanted = kit_allocate(kit, length), *end = wanted;
    *end++ = '[';
    for (size_t i = 0; i < history->count; i++) {
        if (i > 0)
            *end++ = ',';
        end = stpcpy(end, history->events[i].json);
    }
    *end = ']';
    kit_assert_get(server, channel, group, wanted);
}

static void the_history_object_is_the_value(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_publish(server, "c", "created", " { \"n\" : [ 1.0 , \"two\" ] } ");
    const struct kit_response *response = kit_get(server, "c", "g", "timeout=0");
    kit_assert_status(response, 200);
    kit_assert_body(response, kit_format(*state, "[%s]", kit_history(server, "c", NULL)->events[0].json));
    kit_assert_get(server, "c", "g", "[]");
}

static void every_group_gets_every_event_at_once(void **state)
{
    enum { EVENTS = 30 };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    for (int i = 0; i < EVENTS; i++) {
        kit_publish(server, "c", "t", kit_format(kit, "%d", i));
        /* It is there before the 202, so no time is to be given to it. */
        const struct kit_history *history = kit_history(server, "c", kit_format(kit, "limit=1000&afterId=0"));
        kit_assert_get(server, "c", "one", kit_format(kit, "[%s]", history->events[i].json));
    }
    expect_the_history(server, "c", "all");
}

static void the_order_is_that_of_the_ids(void **state)
{
    enum { EVENTS = 800 };
    struct kit_server *server = kit_serve_events(*state);
    kit_publish_numbers(server, "c", 0, EVENTS);
    assert_int_equal(kit_whole_history(server, "c", 1000)->count, EVENTS);
    expect_the_history(server, "c", "g");
}

static void a_waiting_consumer_is_woken(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    struct kit_connection *waiting = kit_get_later(server, "c", "g", NULL);
    struct kit_connection *other = kit_get_later(server, "d", "g", NULL);
    kit_wait_until_health(server, "queue.waiting", 2);
    kit_publish(server, "c", "t", "1");
    const struct kit_response *response = kit_receive(waiting);
    kit_assert_status(response, 200);
    kit_assert_body(response, kit_format(kit, "[%s]", kit_history(server, "c", NULL)->events[0].json));
    kit_publish(server, "d", "t", "2");
    kit_assert_body(kit_receive(other),
                    kit_format(kit, "[%s]", kit_history(server, "d", NULL)->events[0].json));
}

static void pushes_and_events_share_a_key(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    kit_push(server, "c", "\"pushed first\"");
    kit_publish(server, "c", "t", "1");
    kit_push(server, "c", "\"pushed last\"");
    const char *event = kit_history(server, "c", NULL)->events[0].json;
    kit_assert_get(server, "c", "g", kit_format(kit, "[\"pushed first\",%s,\"pushed last\"]", event));
    /* A push is no event: nothing of it is in the history. */
    kit_assert_history(server, "c", "[1]");
}

static void keys_are_the_channels_names(void **state)
{
    static const struct {
        const char *in_json, *in_query;
    } rows[] = {
        {"h\xc3\xa9llo \xf0\x9f\x98\x80", "h%c3%a9llo+%F0%9F%98%80"},
        {"a\\\"b\\\\c", "a%22b%5Cc"},
        {"a&b=c+d%", "a%26b%3Dc%2Bd%25"},
        {"\\u0041", "A"},
    };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    for (size_t i = 0; i < KIT_COUNT(rows); i++)
        kit_publish(server, rows[i].in_json, "t", kit_format(kit, "%zu", i));
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        kit_note(kit, "channel %s", rows[i].in_json);
        expect_the_history(server, rows[i].in_query, "g");
    }
}

static void a_refused_event_is_not_pushed(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_assert_status(kit_post_json(server, KIT_PUBLISH, "{\"channel\":\"c\",\"eventType\":\"t\"}"), 400);
    kit_assert_status(kit_post_json(server, KIT_PUBLISH, "{\"channel\":\"c\",\"eventType\":\"t\","), 400);
    kit_assert_get(server, "c", "g", "[]");
    kit_publish(server, "c", "t", "1");
    expect_the_history(server, "c", "g");
}

static void assert_full(const struct kit_response *response)
{
    kit_assert_error(response, 503, ".");
    kit_assert_header(response, "Retry-After", "");
    assert_true(kit_matches(kit_header(response, "Retry-After"), "^[1-9][0-9]*$"));
}

/* Publishes until the memory for events is full; how many were taken. */
static int fill(struct kit_server *server, const char *payload)
{
    const char *body = kit_envelope(kit_of(server), "c", "t", payload);
    for (int count = 0;; count++) {
        const struct kit_response *response = kit_post_json(server, KIT_PUBLISH, body);
        if (response->status != 202) {
            assert_full(response);
            return count;
        }
        if (count > 100)
            kit_fail(kit_of(server), "the memory never fills up");
    }
}

static void a_full_memory_refuses_and_stores_nothing(void **state)
{
    enum { LENGTH = 50000 };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit, "--max-memory", "1000000");
    kit_subscribe(server, "1", "c");
    kit_subscribe(server, "1", "d");
    const char *payload = kit_format(kit, "\"%s\"", kit_repeat(kit, "x", LENGTH));
    int count = fill(server, payload);
    assert_in_range(count, 5, 1000000 / LENGTH);
    assert_int_equal(kit_history(server, "c", "limit=1000")->count, count);
    for (int i = 0; i < 3; i++)
        assert_full(kit_post_json(server, KIT_PUBLISH, kit_envelope(kit, "d", "t", payload)));
    kit_assert_history(server, "d", "[]");
    assert_int_equal(kit_history(server, "c", "limit=1000")->count, count);
    expect_the_history(server, "c", "g");
    /* What was refused is not replayed either. */
    struct kit_sse *stream = kit_sse_resume(server, "1", "c,d", 0);
    for (int i = 0; i < count; i++)
        kit_sse_expect(stream, "t", payload);
    kit_stop(server);
    kit_sse_expect_end(stream);
}

static void events_are_taken_again_after_the_ttl(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit, "--max-memory", "1000000", "--ttl", "1");
    const char *payload = kit_format(kit, "\"%s\"", kit_repeat(kit, "x", 100000));
    int count = fill(server, payload);
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
    const struct kit_response *response;
    while ((response = kit_post_json(server, KIT_PUBLISH, kit_envelope(kit, "c", "t", payload)))->status !=
           202) {
        assert_full(response);
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(kit, "still full long after everything has expired");
        kit_pause();
    }
    /* Expired in the queue, not in the history. */
    assert_int_equal(kit_history(server, "c", "limit=1000")->count, count + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_engines(the_history_object_is_the_value),
        kit_test_engines(every_group_gets_every_event_at_once),
        kit_test_engines(the_order_is_that_of_the_ids),
        kit_test_engines(a_waiting_consumer_is_woken),
        kit_test_engines(pushes_and_events_share_a_key),
        kit_test_engines(keys_are_the_channels_names),
        kit_test_engines(a_refused_event_is_not_pushed),
        kit_test_engines(a_full_memory_refuses_and_stores_nothing),
        kit_test_engines(events_are_taken_again_after_the_ttl),
    };
    return kit_run_event_tests(tests);
}
