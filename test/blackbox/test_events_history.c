/* GET /api/events/history: order, pages, times, what is refused, and that it outlives the server. */
#include <stdlib.h>
#include <string.h>

#include "kit_events.h"
#include "kit_http.h"

static void an_unknown_channel_is_empty(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    const struct kit_response *response = kit_get_path(server, KIT_HISTORY "?channel=c");
    kit_assert_status(response, 200);
    kit_assert_body(response, "{\"events\":[],\"nextAfterId\":null}");
    kit_assert_header(response, "Content-Type", "application/json");
}

static void the_answer_is_exact(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_publish(server, "c", "created", "{\"n\":[1.0,\"two\"]}");
    const struct kit_response *response = kit_get_path(server, KIT_HISTORY "?channel=c&afterId=0&limit=50");
    kit_assert_status(response, 200);
    kit_assert_body_matches(
        response, "^\\{\"events\":\\[\\{\"id\":[1-9][0-9]*,\"channel\":\"c\",\"eventType\":\"created\","
                  "\"payload\":\\{\"n\":\\[1.0,\"two\"\\]\\},\"createdAt\":\"[0-9]{4}-[0-9]{2}-[0-9]{2}"
                  "T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z\"\\}\\],\"nextAfterId\":null\\}$");
}

static void only_the_channel_that_is_asked_for(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_publish(server, "a", "t", "1");
    kit_publish(server, "b", "t", "2");
    kit_publish(server, "a", "u", "3");
    kit_publish(server, "ab", "t", "4");
    kit_publish(server, "A", "t", "5");
    kit_assert_history(server, "a", "[1,3]");
    kit_assert_history(server, "b", "[2]");
    kit_assert_history(server, "ab", "[4]");
    kit_assert_history(server, "A", "[5]");
    kit_assert_history(server, "%25", "[]"); /* no pattern */
    kit_assert_history(server, "_", "[]");
    const struct kit_history *history = kit_history(server, "a", NULL);
    assert_string_equal(history->events[0].channel, "a");
    assert_string_equal(history->events[0].type, "t");
    assert_string_equal(history->events[1].type, "u");
    assert_true(kit_history(server, "b", NULL)->events[0].id > history->events[0].id);
    assert_true(kit_history(server, "b", NULL)->events[0].id < history->events[1].id);
}

static void check_page(struct kit_server *server, const char *parameters, int first, int count, bool more)
{
    struct kit *kit = kit_of(server);
    kit_note(kit, "%s", parameters);
    const struct kit_history *page = kit_history(server, "c", parameters);
    if (page->count != (size_t)count)
        kit_fail(kit, "%zu events instead of %d", page->count, count);
    for (int i = 0; i < count; i++)
        if (atoi(page->events[i].payload) != first + i)
            kit_fail(kit, "event %d is %s", i, page->events[i].payload);
    if ((page->next_after_id != 0) != more)
        kit_fail(kit, "nextAfterId is %lld", (long long)page->next_after_id);
}

static void pages_follow_each_other(void **state)
{
    enum { EVENTS = 7 };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    for (int i = 0; i < EVENTS; i++) {
        kit_publish(server, "c", "t", kit_format(kit, "%d", i));
        kit_publish(server, "other", "t", "-1"); /* in between, so that ids of the channel have gaps */
    }
    check_page(server, "", 0, 7, false);
    check_page(server, "afterId=0", 0, 7, false);
    check_page(server, "limit=1", 0, 1, true);
    check_page(server, "limit=6&afterId=0", 0, 6, true);
    check_page(server, "limit=7", 0, 7, false); /* just all of them: more of another channel do not count */
    check_page(server, "limit=8", 0, 7, false);
    check_page(server, "limit=1000", 0, 7, false);
    const struct kit_event *events = kit_history(server, "c", NULL)->events;
    for (int after = 0; after < EVENTS; after++)
        for (int limit = 1; limit <= EVENTS; limit++) {
            int left = EVENTS - 1 - after, count = left < limit ? left : limit;
            check_page(server, kit_format(kit, "afterId=%lld&limit=%d", (long long)events[after].id, limit),
                       after + 1, count, count < left);
        }
    /* An id of another channel is a place in the order, too. */
    check_page(server, kit_format(kit, "afterId=%lld", (long long)events[2].id + 1), 3, 4, false);
    check_page(server, kit_format(kit, "afterId=%lld", (long long)events[2].id - 1), 2, 5, false);
    check_page(server, kit_format(kit, "afterId=%lld", (long long)events[6].id + 1000000), 0, 0, false);
    check_page(server, "afterId=9007199254740993", 0, 0, false);
    check_page(server, "afterId=0&afterId=99&limit=2&limit=x", 0, 2, true);
}

static void a_thousand_make_a_page(void **state)
{
    enum { EVENTS = 1001 };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    kit_publish_numbers(server, "c", 0, EVENTS);
    const struct kit_history *page = kit_history(server, "c", "limit=1000");
    assert_int_equal(page->count, 1000);
    assert_true(page->next_after_id != 0);
    const char *rest = kit_format(kit, "limit=1000&afterId=%lld", (long long)page->next_after_id);
    assert_int_equal(kit_history(server, "c", rest)->count, 1);
    assert_int_equal(kit_history(server, "c", rest)->next_after_id, 0);
    /* However it is cut into pages, it is the same. */
    const struct kit_history *whole = kit_whole_history(server, "c", 1000);
    const struct kit_history *pieces = kit_whole_history(server, "c", 77);
    char seen[EVENTS] = {0};
    assert_int_equal(whole->count, EVENTS);
    assert_int_equal(pieces->count, EVENTS);
    for (size_t i = 0; i < EVENTS; i++) {
        assert_string_equal(whole->events[i].json, pieces->events[i].json);
        int number = atoi(whole->events[i].payload);
        assert_in_range(number, 0, EVENTS - 1);
        assert_int_equal(seen[number]++, 0);
    }
}

/* Pages are taken while others publish: what one page leaves is what the next one begins with. */
static void pages_hold_while_others_publish(void **state)
{
    enum { ROUNDS = 40, STEP = 3 };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    int64_t after_id = 0;
    int next = 0;
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < STEP; i++)
            kit_publish(server, "c", "t", kit_format(kit, "%d", round * STEP + i));
        const struct kit_history *page =
            kit_history(server, "c", kit_format(kit, "limit=2&afterId=%lld", (long long)after_id));
        assert_int_equal(page->count, 2);
        assert_true(page->next_after_id != 0);
        for (int i = 0; i < 2; i++)
            assert_int_equal(atoi(page->events[i].payload), next++);
        after_id = page->next_after_id;
    }
}

static void times_are_those_of_the_publishing(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    int64_t before_ms = kit_wall_clock_ms();
    kit_publish(server, "c", "t", "1");
    int64_t between_ms = kit_wall_clock_ms();
    kit_publish(server, "c", "t", "2");
    int64_t after_ms = kit_wall_clock_ms();
    const struct kit_event *events = kit_history(server, "c", NULL)->events;
    int64_t first_ms = kit_parse_instant_ms(events[0].created_at, strlen(events[0].created_at));
    int64_t second_ms = kit_parse_instant_ms(events[1].created_at, strlen(events[1].created_at));
    /* Whole milliseconds: one may be lost, or gained by rounding. */
    assert_in_range(first_ms, before_ms - 1, between_ms + 1);
    assert_in_range(second_ms, between_ms - 1, after_ms + 1);
}

static void it_survives_a_restart(void **state)
{
    enum { RESTARTS = 3 };
    struct kit *kit = *state;
    int64_t last_id = 0;
    const char *first = NULL;
    for (int i = 0; i < RESTARTS; i++) {
        kit_note(kit, "start %d", i);
        struct kit_server *server = kit_serve_events(kit);
        const struct kit_history *history = kit_history(server, "c", NULL);
        assert_int_equal(history->count, i);
        if (first != NULL)
            assert_string_equal(history->events[0].json, first);
        kit_publish(server, "c", "t", kit_format(kit, "{\"start\":%d.0}", i));
        history = kit_history(server, "c", NULL);
        first = history->events[0].json;
        assert_true(history->events[i].id > last_id);
        last_id = history->events[i].id;
        kit_stop(server);
    }
    kit_assert_history(kit_serve_events(kit), "c", "[{\"start\":0.0},{\"start\":1.0},{\"start\":2.0}]");
}

static void bad_parameters_are_named(void **state)
{
    static const struct {
        const char *parameter, *value;
    } rows[] = {
        {"limit", ""},       {"limit", "0"},      {"limit", "-1"},     {"limit", "1001"},
        {"limit", "abc"},    {"limit", "1.5"},    {"limit", "1x"},     {"limit", "0x10"},
        {"limit", "nan"},    {"limit", "1%202"},  {"limit", "1e2"},    {"limit", "%00"},
        {"afterId", ""},     {"afterId", "-1"},   {"afterId", "abc"},  {"afterId", "1.5"},
        {"afterId", "1x"},   {"afterId", "0x1"},  {"afterId", "null"}, {"afterId", "1%0a"},
        {"afterId", "1%20"}, {"afterId", "%201"}, {"limit", "%201"},   {"afterId", "1e400"},
    };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    kit_publish(server, "c", "t", "1");
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        kit_note(kit, "%s=%s", rows[i].parameter, rows[i].value);
        const char *target =
            kit_format(kit, KIT_HISTORY "?channel=c&%s=%s", rows[i].parameter, rows[i].value);
        kit_assert_error(kit_get_path(server, target), 400, rows[i].parameter);
    }
    /* A number that is too large to be an id is either no number or beyond the newest. */
    const struct kit_response *response =
        kit_get_path(server, KIT_HISTORY "?channel=c&afterId=99999999999999999999");
    kit_assert_status_among(response, kit, "200|400");
    if (response->status == 200)
        kit_assert_body(response, "{\"events\":[],\"nextAfterId\":null}");
}

static void bad_channels_are_named(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    const char *const targets[] = {
        KIT_HISTORY,
        KIT_HISTORY "?",
        KIT_HISTORY "?channel",
        KIT_HISTORY "?channel=",
        KIT_HISTORY "?Channel=c",
        KIT_HISTORY "?channels=c",
        KIT_HISTORY "?afterId=0&limit=50",
        KIT_HISTORY "?channel=%00",
        KIT_HISTORY "?channel=c%0a",
        KIT_HISTORY "?channel=%7f",
        KIT_HISTORY "?channel=%ff",
        kit_format(kit, KIT_HISTORY "?channel=%s", kit_repeat(kit, "c", 256)),
    };
    for (size_t i = 0; i < KIT_COUNT(targets); i++) {
        kit_note(kit, "%s", targets[i]);
        kit_assert_error(kit_get_path(server, targets[i]), 400, "channel");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_engines(an_unknown_channel_is_empty),
        kit_test_engines(the_answer_is_exact),
        kit_test_engines(only_the_channel_that_is_asked_for),
        kit_test_engines(pages_follow_each_other),
        kit_test_engines(a_thousand_make_a_page),
        kit_test_engines(pages_hold_while_others_publish),
        kit_test_engines(times_are_those_of_the_publishing),
        kit_test_engines(it_survives_a_restart),
        kit_test_engines(bad_parameters_are_named),
        kit_test_engines(bad_channels_are_named),
    };
    return kit_run_event_tests(tests);
}
