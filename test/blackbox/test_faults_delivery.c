/* An allocation fails while an event is on its way to others: to those who wait, to streams, to an upstream. Each group still
 * gets it exactly once, each stream sees it or ends and replays it, and the upstream is called once. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "kit_events.h"
#include "kit_faults.h"
#include "kit_management.h"
#include "kit_sse.h"

enum { MOST = 300 };

/* The K-th allocation fails from here on; 0: none. */
static uint64_t begin(struct faults *faults, struct kit *kit, const char *name, uint64_t nth)
{
    kit_note(kit, "%s, allocation %llu", name, (unsigned long long)nth);
    uint64_t failed = atomic_load(&faults->failed_allocations);
    if (nth > 0)
        kit_fail_allocations(faults, nth, 1);
    return failed;
}

/* Whether one has failed. */
static bool end(struct faults *faults, uint64_t failed)
{
    kit_faults_end(faults);
    return atomic_load(&faults->failed_allocations) != failed;
}

/* 200 or 202: taken. 503: refused, unless its outcome is unknown. */
static enum kit_outcome outcome_of(struct kit_server *server, struct kit_connection *connection)
{
    struct kit_response response;
    if (kit_try_receive(connection, "POST", kit_deadline_at_ms(KIT_DEADLINE_MS), &response) != 0)
        kit_fail(kit_of(server), "no answer: %s", strerror(errno));
    int status = response.status;
    bool is_open = strstr(response.body, "outcome unknown") != NULL;
    kit_response_clear(&response);
    kit_close(connection);
    if (status != 200 && status != 202 && status != 503)
        kit_fail(kit_of(server), "status %d", status);
    return status != 503 ? KIT_TAKEN : is_open ? KIT_OPEN_OUTCOME : KIT_REFUSED;
}

/* --- those who wait --- */

/* What a waiting request was given: the inside of its array; "" when nothing, or 503. */
static const char *receive_waited(struct kit_server *server, struct kit_connection *connection)
{
    struct kit *kit = kit_of(server);
    const struct kit_response *response = kit_receive(connection);
    kit_close(connection);
    if (response->status == 503)
        return "";
    kit_assert_status(response, 200);
    return kit_format(kit, "%.*s", (int)strlen(response->body) - 2, response->body + 1);
}

/* What the group has got in all, first by the request that waited, and then by another one. */
static void check_group(struct kit_server *server, const char *key, const char *group, const char *waited,
                        enum kit_outcome outcome)
{
    struct kit *kit = kit_of(server);
    const struct kit_response *rest = kit_get(server, key, group, "timeout=0");
    kit_assert_status(rest, 200);
    const char *all = kit_format(kit, "[%s]%s", waited, rest->body);
    const char *both = "^(\\[1,2\\]\\[\\]|\\[1\\]\\[2\\]|\\[\\]\\[1,2\\])$";
    const char *second = "^(\\[2\\]\\[\\]|\\[\\]\\[2\\])$";
    bool has_both = kit_matches(all, both), has_second = kit_matches(all, second);
    if (!(has_both && outcome != KIT_REFUSED) && !(has_second && outcome != KIT_TAKEN))
        kit_fail(kit, "group %s: outcome %d, and it was given %s", group, (int)outcome, all);
}

/* One request that begins to wait, a push for it, and one allocation of the two. Returns whether it failed. */
static bool wait_once(struct kit_server *server, struct faults *faults, unsigned nth)
{
    struct kit *kit = kit_of(server);
    const char *key = kit_format(kit, "waited%u", nth);
    struct kit_connection *pushing = kit_connect(server);
    uint64_t failed = begin(faults, kit, "a wait and a push", nth);
    struct kit_connection *waiting = kit_get_later(server, key, "g", NULL);
    kit_send_request(pushing, "POST", kit_format(kit, "/push?key=%s", key), NULL, "1", 1);
    enum kit_outcome outcome = outcome_of(server, pushing);
    bool fired = end(faults, failed);
    kit_push(server, key, "2");
    check_group(server, key, "g", receive_waited(server, waiting), outcome);
    return fired;
}

static void a_waiting_request_and_its_push(void **state)
{
    struct faults *faults = kit_faults(*state);
    struct kit_server *server = kit_serve(*state);
    wait_once(server, faults, 0);
    struct kit_holdings before = kit_holdings(server);
    unsigned nth = 1;
    for (unsigned quiet = 0; quiet < 4 && nth < MOST; nth++)
        quiet = wait_once(server, faults, nth) ? 0 : quiet + 1;
    assert_in_range(nth, 10, MOST - 1);
    kit_wait_until_health(server, "queue.waiting", 0);
    kit_wait_until_holdings(server, &before);
}

enum { GROUPS = 70 }; /* more than one worker delivers to */

static bool fan_out_once(struct kit_server *server, struct faults *faults, unsigned nth)
{
    struct kit *kit = kit_of(server);
    const char *key = kit_format(kit, "fanned%u", nth);
    struct kit_connection *waiting[GROUPS];
    for (int i = 0; i < GROUPS; i++)
        waiting[i] = kit_get_later(server, key, kit_format(kit, "g%d", i), NULL);
    kit_wait_until_health(server, "queue.waiting", GROUPS);
    struct kit_connection *pushing = kit_connect(server);
    uint64_t failed = begin(faults, kit, "a fan-out", nth);
    kit_send_request(pushing, "POST", kit_format(kit, "/push?key=%s", key), NULL, "1", 1);
    enum kit_outcome outcome = outcome_of(server, pushing);
    /* The answer may go before the deliveries: the first of them is the last to be sure of. */
    const char *given[GROUPS];
    for (int i = 0; i < GROUPS && outcome == KIT_TAKEN; i++)
        given[i] = receive_waited(server, waiting[i]);
    bool fired = end(faults, failed);
    kit_push(server, key, "2");
    for (int i = 0; i < GROUPS; i++) {
        if (outcome != KIT_TAKEN)
            given[i] = receive_waited(server, waiting[i]);
        check_group(server, key, kit_format(kit, "g%d", i), given[i], outcome);
    }
    return fired;
}

static void a_fan_out_to_many_groups(void **state)
{
    static const unsigned picked[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 50, 100, 140, 200};
    struct faults *faults = kit_faults(*state);
    struct kit_server *server = kit_serve(*state);
    unsigned fired = 0;
    for (size_t i = 0; i < sizeof picked / sizeof *picked; i++)
        fired += fan_out_once(server, faults, picked[i]);
    assert_true(fired >= 10);
    kit_wait_until_health(server, "queue.waiting", 0);
}

/* --- streams --- */

/* The stream shows this event next; one that has ended is resumed first. */
static void expect_event(struct kit_sse **stream, const char *data)
{
    struct kit_sse_frame frame;
    struct kit_server *server = (*stream)->server;
    struct kit *kit = kit_of(server);
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
    while (kit_sse_try_next_event(*stream, deadline_at_ms, &frame) != 0) {
        if (errno == ETIMEDOUT || (errno == EPROTO && !(*stream)->cut))
            kit_fail(kit, "no event: %s", errno == EPROTO ? (*stream)->problem : strerror(errno));
        *stream = kit_sse_resume(server, "1", "c", (*stream)->last_id);
    }
    if (strcmp(frame.data, data) != 0)
        kit_fail(kit, "the stream shows %s instead of %s", frame.data, data);
    kit_sse_frame_clear(&frame);
}

static bool publish_once(struct kit_server *server, struct faults *faults, struct kit_sse **stream,
                         unsigned nth)
{
    struct kit *kit = kit_of(server);
    const char *payload = kit_format(kit, "[%u]", nth);
    const char *body = kit_envelope(kit, "c", "t", payload);
    struct kit_connection *publishing = kit_connect(server);
    uint64_t failed = begin(faults, kit, "a publish to a stream", nth);
    kit_send_request(publishing, "POST", KIT_PUBLISH, NULL, body, strlen(body));
    enum kit_outcome outcome = outcome_of(server, publishing);
    bool fired = end(faults, failed);
    if (fired)
        kit_await_database(server);
    const struct kit_history *history = kit_whole_history(server, "c", 1000);
    bool stored = history->count > 0 && strcmp(history->events[history->count - 1].payload, payload) == 0;
    if (outcome != KIT_OPEN_OUTCOME)
        assert_int_equal(stored, outcome == KIT_TAKEN);
    if (stored)
        expect_event(stream, payload);
    return fired;
}

static void a_publish_to_an_open_stream(void **state)
{
    struct faults *faults = kit_faults(*state);
    struct kit_server *server = kit_serve_events(*state);
    kit_subscribe(server, "1", "c");
    kit_await_links(*state);
    struct kit_sse *stream = kit_sse_open(server, "1", "c");
    publish_once(server, faults, &stream, 0);
    struct kit_holdings before = kit_holdings(server);
    unsigned nth = 1;
    for (unsigned quiet = 0; quiet < 4 && nth < MOST; nth++)
        quiet = publish_once(server, faults, &stream, nth) ? 0 : quiet + 1;
    assert_in_range(nth, 10, MOST - 1);
    kit_wait_until_streams(server, 1);
    kit_wait_until_holdings(server, &before);
}

/* A stream that is opened, and replays; what it does not show the next one does. */
static bool replay_once(struct kit_server *server, struct faults *faults, unsigned nth)
{
    enum { STORED = 5 };
    struct kit *kit = kit_of(server);
    struct kit_sse stream = {.server = server, .connection = kit_connect(server)};
    struct kit_sse_frame frame;
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
    uint64_t failed = begin(faults, kit, "a replay", nth);
    const char *target = KIT_STREAM "?userId=1&channels=c";
    int64_t last_id = 0;
    if (kit_sse_try_open(&stream, stream.connection, target, "Last-Event-ID: 0\r\n", deadline_at_ms) == 0) {
        while (last_id < STORED && kit_sse_try_next_event(&stream, deadline_at_ms, &frame) == 0) {
            assert_int_equal(frame.id, ++last_id);
            kit_sse_frame_clear(&frame);
        }
        if (last_id < STORED && errno != EPIPE && errno != ECONNRESET && !stream.cut)
            kit_fail(kit, "the stream neither shows all nor ends: %s, %s", strerror(errno), stream.problem);
    } else if (stream.status != 503 && errno != EPIPE && errno != ECONNRESET) {
        kit_fail(kit, "the stream is refused with %d: %s", stream.status, strerror(errno));
    }
    bool fired = end(faults, failed);
    kit_close(stream.connection);
    if (fired)
        kit_await_database(server);
    if (!fired)
        assert_int_equal(last_id, STORED);
    return fired;
}

static void a_stream_that_replays(void **state)
{
    struct faults *faults = kit_faults(*state);
    struct kit_server *server = kit_serve_events(*state);
    kit_subscribe(server, "1", "c");
    kit_await_links(*state);
    for (int i = 1; i <= 5; i++)
        kit_publish(server, "c", "t", kit_format(*state, "[%d,\"%s\"]", i, kit_repeat(*state, "x", 5000)));
    replay_once(server, faults, 0);
    kit_wait_until_streams(server, 0);
    struct kit_holdings before = kit_holdings(server);
    unsigned nth = 1;
    for (unsigned quiet = 0; quiet < 4 && nth < MOST; nth++)
        quiet = replay_once(server, faults, nth) ? 0 : quiet + 1;
    assert_in_range(nth, 10, MOST - 1);
    kit_wait_until_streams(server, 0);
    kit_wait_until_holdings(server, &before);
}

/* --- the upstream --- */

struct upstream_sweep {
    struct kit_sweep sweep; /* the first member */
    struct standin *standin;
    uint64_t calls;
};

static void judge_call(struct kit_sweep *sweep, unsigned number, enum kit_outcome outcome, const char *body)
{
    struct upstream_sweep *all = (struct upstream_sweep *)(void *)sweep;
    struct kit *kit = kit_of(sweep->server);
    uint64_t calls = standin_count(all->standin, KIT_ADD_EVENT) - all->calls;
    const char *target = kit_format(kit, "%sadder%u", KIT_EVENTS_OF, number);
    const struct kit_response *list = kit_get_path(sweep->server, target);
    bool success = body != NULL && strstr(body, "\"success\":true") != NULL;
    if (calls > 1 || (success && calls != 1) || (outcome == KIT_REFUSED && calls != 0))
        kit_fail(kit, "outcome %d, and %llu calls: %s", (int)outcome, (unsigned long long)calls, body);
    if (success)
        kit_assert_body_matches(list, "^\\[\\{[^{}]*\"name\":\"swept\"[^{}]*\\}\\]$");
    else if (outcome == KIT_REFUSED)
        kit_assert_status(list, 404);
    /* One that succeeds keeps the circuit breaker closed. */
    kit_add(sweep->server, "between", "1", NULL);
    assert_string_equal(kit_breaker(sweep->server), "closed");
    all->calls = standin_count(all->standin, KIT_ADD_EVENT);
}

static void an_event_for_the_upstream(void **state)
{
    static const struct kit_swept request = {
        "an event for the upstream", .method = "POST",
        .target = KIT_ADD_EVENT,     .body = "{\"name\":\"swept\",\"userId\":\"adder#\"}",
        .statuses = "200|500|502",   .answer = "",
        .judge = judge_call,
    };
    struct upstream_sweep all = {.sweep.faults = kit_faults(*state), .standin = kit_standin(*state)};
    all.sweep.server = kit_serve_upstream(*state, all.standin);
    kit_add(all.sweep.server, "first", "1", NULL);
    all.calls = standin_count(all.standin, KIT_ADD_EVENT);
    struct kit_holdings before = kit_holdings(all.sweep.server);
    kit_sweep(&all.sweep, &request, MOST);
    assert_true(all.sweep.refused > 0);
    assert_int_equal(all.sweep.cut, 0);
    kit_wait_until_holdings(all.sweep.server, &before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(a_waiting_request_and_its_push),      kit_test(a_fan_out_to_many_groups),
        kit_test_engines(a_publish_to_an_open_stream), kit_test_engines(a_stream_that_replays),
        kit_test_upstream(an_event_for_the_upstream),
    };
    return kit_run_event_tests(tests);
}
