/* Many publishers and stream clients at once. Clients drop their streams at random moments, some stop reading; at the
 * end each has seen each event of its channels exactly once, in order. */
#include "kit_streams.h"

static void every_client_sees_every_event_once(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    const struct swarm_setup setup = {.readers = 50, .stalling = 10, .events = 600};
    struct swarm *swarm = swarm_start(*state, &setup, server, NULL);
    swarm_finish(swarm, server);
    kit_wait_until_streams(server, 0);
}

static void clients_that_were_too_slow_see_every_event_once(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    const struct swarm_setup setup = {.readers = 12, .stalling = 6, .events = 30, .large = true};
    struct swarm *swarm = swarm_start(*state, &setup, server, NULL);
    swarm_finish(swarm, server);
    kit_wait_until_streams(server, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        streams_test_engines(every_client_sees_every_event_once),
        streams_test_engines(clients_that_were_too_slow_see_every_event_once),
    };
    return kit_run_event_tests(tests);
}
