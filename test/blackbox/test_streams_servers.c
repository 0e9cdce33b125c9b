/* Two servers on one PostgreSQL: events, streams and unsubscriptions reach across, ids rise over both, and all of it
 * survives the database's stops and restarts. */
#include <string.h>

#include "../postgres.h"
#include "kit_sse.h"
#include "kit_streams.h"

static void every_client_of_two_servers_sees_every_event_once(void **state)
{
    struct kit_server *first = kit_serve_events(*state), *second = kit_serve_events(*state);
    /* Two servers, a database and 34 clients can keep few cores busy for longer than a commit may take: then a publish is
     * refused, truly. */
    const struct swarm_setup setup = {.readers = 30, .stalling = 3, .events = 400, .database_goes = true};
    struct swarm *swarm = swarm_start(*state, &setup, first, second);
    swarm_finish(swarm, second);
}

static void nothing_is_lost_when_the_database_restarts(void **state)
{
    struct kit *kit = *state;
    struct postgres *postgres = streams_postgres(kit);
    struct kit_server *first = kit_serve_events(kit), *second = kit_serve_events(kit);
    const struct swarm_setup setup = {.readers = 20, .events = 200, .database_goes = true};
    struct swarm *swarm = swarm_start(kit, &setup, first, second);
    for (int i = 0; i < 2; i++) {
        swarm_hold_at(swarm, 40 * (i + 1));
        swarm_wait_stored(swarm, 30 * (i + 1));
        assert_int_equal(postgres_stop(postgres, i % 2 == 0), 0);
        swarm_hold_at(swarm, 100);
        swarm_wait_refused(swarm, 3);
        assert_int_equal(postgres_restart(postgres), 0);
    }
    swarm_finish(swarm, first);
}

static void nothing_is_lost_when_the_database_stands_still(void **state)
{
    struct kit *kit = *state;
    struct postgres *postgres = streams_postgres(kit);
    struct kit_server *first = kit_serve_events(kit), *second = kit_serve_events(kit);
    const struct swarm_setup setup = {.readers = 20, .events = 100, .database_goes = true};
    struct swarm *swarm = swarm_start(kit, &setup, first, second);
    for (int i = 0; i < 2; i++) {
        swarm_hold_at(swarm, 40 * (i + 1));
        swarm_wait_stored(swarm, 30 * (i + 1));
        assert_int_equal(postgres_freeze(postgres), 0);
        swarm_hold_at(swarm, 100);
        swarm_wait_refused(swarm, 3);
        assert_int_equal(postgres_thaw(postgres), 0);
    }
    swarm_finish(swarm, first);
}

/* What one server takes the other one's streams get at once, without a look at the clock of either. */
static void events_and_subscriptions_reach_the_other_server(void **state)
{
    struct kit *kit = *state;
    struct kit_server *servers[] = {kit_serve_events(kit), kit_serve_events(kit)};
    struct kit_sse *streams[2];
    kit_subscribe(servers[0], "1", "a");
    kit_subscribe(servers[1], "1", "b");
    for (int i = 0; i < 2; i++) {
        kit_assert_channels(servers[i], "1", "a", "b");
        streams[i] = kit_sse_open(servers[i], "1", "a,b");
    }
    for (int number = 0; number < 20; number++) {
        const char *payload = kit_format(kit, "%d", number);
        kit_publish(servers[number % 3 == 0], number % 2 == 0 ? "a" : "b", "t", payload);
        int64_t id = kit_sse_expect(streams[0], "t", payload);
        assert_int_equal(kit_sse_expect(streams[1], "t", payload), id);
    }
    assert_int_equal(kit_streams(servers[0]), 1);
    assert_int_equal(kit_streams(servers[1]), 1);
}

/* Publishes to "gone" through one server and then to "kept" through the other, which the stream gets in any case; true
 * when it has got the one to "gone" too. */
static bool is_delivered(struct kit_sse *stream, struct kit_server *server, struct kit_server *other)
{
    struct kit *kit = kit_of(server);
    static int number;
    kit_publish(server, "gone", "gone", kit_format(kit, "%d", ++number));
    kit_publish(other, "kept", "kept", kit_format(kit, "%d", number));
    const struct kit_sse_frame *frame = kit_sse_next(stream);
    bool is_gone = strcmp(frame->event, "gone") == 0;
    assert_string_equal(frame->data, kit_format(kit, "%d", number));
    if (is_gone)
        kit_sse_expect(stream, "kept", kit_format(kit, "%d", number));
    return is_gone;
}

static void unsubscribing_at_one_server_ends_the_delivery_at_the_other(void **state)
{
    struct kit *kit = *state;
    struct kit_server *here = kit_serve_events(kit), *there = kit_serve_events(kit);
    kit_subscribe(here, "1", "gone");
    kit_subscribe(here, "1", "kept");
    struct kit_sse *near = kit_sse_open(here, "1", "gone,kept");
    struct kit_sse *far = kit_sse_open(there, "1", "kept,gone");
    assert_true(is_delivered(far, here, there));
    assert_true(is_delivered(far, there, here));
    kit_unsubscribe(here, "1", "gone");
    /* Where it was done it takes effect at once, and it is in the database. */
    for (int i = 0; i < 2; i++) {
        kit_sse_expect(near, "gone", kit_format(kit, "%d", i + 1));
        kit_sse_expect(near, "kept", kit_format(kit, "%d", i + 1));
    }
    kit_assert_channels(there, "1", "kept");
    kit_assert_error(kit_get_path(there, kit_sse_target(there, "1", "gone")), 403, "");
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
    int rounds = 1;
    for (; is_delivered(far, here, there); rounds++)
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(kit, "the other server's stream still gets the channel");
    for (int i = 0; i < 20; i++, rounds++)
        assert_false(is_delivered(far, i % 2 == 0 ? here : there, i % 3 == 0 ? here : there));
    for (int i = 3; i < rounds + 3; i++)
        kit_sse_expect(near, "kept", kit_format(kit, "%d", i));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        streams_test_postgresql(every_client_of_two_servers_sees_every_event_once),
        streams_test_postgresql(nothing_is_lost_when_the_database_restarts),
        streams_test_postgresql(nothing_is_lost_when_the_database_stands_still),
        kit_test_postgresql(events_and_subscriptions_reach_the_other_server),
        kit_test_postgresql(unsubscribing_at_one_server_ends_the_delivery_at_the_other),
    };
    return kit_run_event_tests(tests);
}
