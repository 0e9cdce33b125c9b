/* The server is stopped and killed while events are published and streams are open, and started again at the same
 * address, on the same database: what was answered 202 is there and reaches every client exactly once, and what lost its
 * answer is there at most once. */
#include "kit_streams.h"

#define RESTARTS 6

/* `stops` says for each restart whether the server is stopped (SIGTERM) or killed. */
static void check_restarts(struct kit *kit, const bool *stops)
{
    const char *address = streams_free_address(kit);
    struct kit_server *server = kit_serve_events(kit, "--listen", address);
    const struct swarm_setup setup = {.readers = 20, .stalling = 2, .events = 250, .servers_go = true};
    struct swarm *swarm = swarm_start(kit, &setup, server, NULL);
    for (int i = 0; i < RESTARTS; i++) {
        swarm_wait_stored(swarm, 90 * (i + 1) / RESTARTS);
        (stops[i] ? kit_stop : kit_kill)(server);
        server = kit_serve_events(kit, "--listen", address);
    }
    swarm_finish(swarm, server);
}

static void nothing_is_lost_when_the_server_is_stopped(void **state)
{
    check_restarts(*state, (const bool[RESTARTS]){true, true, true, true, true, true});
}

static void nothing_is_lost_when_the_server_is_killed(void **state)
{
    check_restarts(*state, (const bool[RESTARTS]){false, false, false, true, false, false});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        streams_test_engines(nothing_is_lost_when_the_server_is_stopped),
        streams_test_engines(nothing_is_lost_when_the_server_is_killed),
    };
    return kit_run_event_tests(tests);
}
