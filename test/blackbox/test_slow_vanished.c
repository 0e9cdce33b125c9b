/* Clients that vanish from the network, without FIN or RST: TCP notices, and then they have hung up. */
#include <stdio.h>
#include <string.h>

#include "kit_events.h"
#include "kit_slow.h"
#include "kit_sse.h"

enum {
    CLIENTS = 40, /* of each kind */
    EVENTS = 12,  /* of a megabyte: what no pair of socket buffers swallows */
    EVENT_BYTES = 1000000,
    MARGIN_KB = 16 * 1024,
    PEER_MS = 4000,
    HEARTBEAT_MS = 1000,
    SLACK_MS = 2500, /* timers of the kernel, and a look now and then */
};

/* Nothing but the network may end a connection here. */
#define PATIENCE                                                                                             \
    "--peer-timeout", "4", "--heartbeat", "1", "--idle-timeout", "600", "--head-timeout", "600",             \
        "--body-timeout", "600", "--send-timeout", "600", "--wait", "600"

static void vanish(struct kit_crowd *crowd)
{
    for (size_t i = 0; i < crowd->count; i++)
        kit_vanish(crowd->connections[i]);
}

/* Returns how long that took. */
static int64_t wait_until_open(struct kit_server *server, int64_t wanted)
{
    int64_t started_at_ms = kit_now_ms();
    int64_t deadline_at_ms = kit_deadline_at_ms(PEER_MS + HEARTBEAT_MS + SLACK_MS);
    for (;;) {
        int64_t open = kit_health(server, "connections.open");
        if (open <= wanted)
            return kit_now_ms() - started_at_ms;
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(kit_of(server), "%lld connections are still open", (long long)open);
        for (int i = 0; i < 30; i++)
            kit_pause();
    }
}

static void whatever_they_did_they_are_noticed(void **state)
{
    static const char *const doing[] = {
        NULL,
        "GET /healthz HTTP/1.1\r\nHost: h\r\n",
        "POST /push?key=k HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n[1,",
        "GET /blocking-get?key=k%zu&groupId=g HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /api/events/stream?userId=1&channels=news HTTP/1.1\r\nHost: h\r\n\r\n",
    };
    enum { KINDS = sizeof doing / sizeof *doing };
    struct kit_server *server = kit_serve_events(*state, PATIENCE);
    struct kit_crowd *crowds[KINDS];
    kit_subscribe(server, "1", "news");
    kit_assert_served(server);
    kit_wait_until_health(server, "connections.open", 1);
    struct kit_usage before = kit_usage(server);
    /* One that reads and says nothing is no dead client. */
    struct kit_connection *alive = kit_get_later(server, "alive", "g", NULL);
    for (int i = 0; i < KINDS; i++)
        crowds[i] = kit_gather(server, CLIENTS, 0, doing[i]);
    kit_wait_until_health(server, "queue.waiting", CLIENTS + 1);
    kit_wait_until_health(server, "streams", CLIENTS);
    kit_wait_until_health(server, "connections.open", KINDS * CLIENTS + 2);
    for (int i = 0; i < KINDS; i++)
        vanish(crowds[i]);
    assert_true(wait_until_open(server, 2) >= PEER_MS / 2); /* their last sign of life was before that */
    assert_int_equal(kit_health(server, "queue.waiting"), 1);
    assert_int_equal(kit_health(server, "streams"), 0);
    kit_push(server, "alive", "1");
    kit_assert_body(kit_receive(alive), "[1]");
    kit_close(alive);
    kit_wait_until_usage(server, &before, MARGIN_KB, KIT_DEADLINE_MS);
}

static struct kit_connection *take_and_stall(struct kit_server *server)
{
    char byte = 0;
    struct kit_connection *reader = kit_connect_small(server, 4096);
    kit_send_request(reader, "GET", "/blocking-get?key=large&groupId=g", NULL, NULL, 0);
    if (kit_try_read(reader, &byte, 1) != 1 || byte != 'H')
        kit_fail(kit_of(server), "no beginning of the answer");
    return reader;
}

/* What it waited for goes to the next in line, and a batch in the middle of which it went comes back. */
static void what_they_were_given_goes_to_others(void **state)
{
    struct kit_server *server = kit_serve(*state, PATIENCE);
    char *event = kit_repeat(*state, "x", EVENT_BYTES);
    event[0] = event[EVENT_BYTES - 1] = '"';
    for (int i = 0; i < EVENTS; i++)
        kit_push(server, "large", event);
    struct kit_connection *reader = take_and_stall(server);
    struct kit_connection *next_reader = kit_get_later(server, "large", "g", NULL);
    struct kit_connection *first = kit_get_later(server, "k", "g", NULL);
    kit_wait_until_health(server, "queue.waiting", 2);
    struct kit_connection *second = kit_get_later(server, "k", "g", NULL);
    kit_wait_until_health(server, "queue.waiting", 3);
    kit_vanish(reader);
    kit_vanish(first);
    const struct kit_response *batch =
        kit_receive_at(next_reader, "GET", PEER_MS + SLACK_MS, __FILE__, __LINE__);
    assert_int_equal(batch->body_length, EVENTS * (EVENT_BYTES + 1) + 1);
    wait_until_open(server, 3); /* the two that live, and the one that asks */
    kit_push(server, "k", "1");
    kit_assert_body(kit_receive(second), "[1]");
}

int main(void)
{
    kit_free_at_once();
    const struct CMUnitTest tests[] = {
        kit_test_sqlite(whatever_they_did_they_are_noticed),
        kit_test(what_they_were_given_goes_to_others),
    };
    return kit_run_event_tests(tests);
}
