/*
 * A swarm: publishers and stream clients at work on a few channels at once, while the test does what it likes
 * to servers and databases; and the proof that every client has seen every event of its channels exactly
 * once.
 *
 * Publishers publish numbered events, one after the other, and hang up now and then: in the middle of a
 * request (such an event must never be seen) or before the answer (it may be seen). Clients open a stream,
 * drop it at random moments (with FIN, with RST, with part of a frame read, with events unread) and resume
 * behind the last event that they have taken, at any of the servers. All is bounded by the count of events.
 *
 * What the swarm proves at its end, by the histories:
 *  - ids rise over all channels, and those of one publisher's events in the order in which they were taken;
 *  - an event that was answered 202 is there once; one that was refused (any 503 but "outcome unknown") or
 *    never sent whole is not there; one whose answer was lost is there at most once;
 *  - every client has taken exactly the events of its channels, with their ids, types and payloads, in order.
 *
 * The test's own thread runs the functions here; they fail the test.
 */
#ifndef KIT_STREAMS_H
#define KIT_STREAMS_H

#include "kit_events.h"

/* The database is away: what needs it is answered 503 within this, times TEST_TIME_SCALE. */
#define STREAMS_AWAY_MS 2000

/* Like the macros of kit_events.h, for tests with a swarm or with a PostgreSQL that they disturb: the threads end before
 * the kit does, and the database is there again for the next test. */
#define streams_test_sqlite(function)                                                                        \
    {                                                                                                        \
#function " on sqlite", function, kit_setup_sqlite, streams_teardown, NULL                           \
    }
#define streams_test_postgresql(function)                                                                    \
    {                                                                                                        \
#function " on postgresql", function, kit_setup_postgresql, streams_teardown, NULL                   \
    }
#define streams_test_engines(function) streams_test_sqlite(function), streams_test_postgresql(function)
int streams_teardown(void **state);

/* The program's PostgreSQL, for a test that is going to stop or freeze it. */
struct postgres *streams_postgres(struct kit *kit);

/* "127.0.0.1:PORT" for --listen, to start a server at the same place again. The port is none that the system
 * gives to clients: while the server is down it stays free, and nobody connects to himself. */
const char *streams_free_address(struct kit *kit);

struct swarm;

struct swarm_setup {
    int readers;  /* stream clients, at most 64 */
    int stalling; /* so many of them stop reading at times; the server may then end their streams */
    int events;   /* of each of the 4 publishers, at TEST_TIME_SCALE 1 */
    bool large;   /* events are large and their count is not scaled; who stalls stalls until it is ended */
    bool database_goes; /* a 503 and the end of a stream are allowed */
    bool servers_go;    /* broken and refused connections too */
};

/* Subscribes user 1 to the swarm's channels, opens all streams, and lets the publishers begin. `second` is
 * NULL or another server on the same database. */
struct swarm *swarm_start(struct kit *kit, const struct swarm_setup *setup, struct kit_server *first,
                          struct kit_server *second);
/* Publishers wait when that part of their events has been taken, so that the test can't come too late for what it is going
 * to do; 100: no more. */
void swarm_hold_at(struct swarm *swarm, int percent);
/* Returns when that part of the events has been taken, or the swarm has failed. */
void swarm_wait_stored(struct swarm *swarm, int percent);
/* Returns when so many more publishes were answered 503, as they must be, or the swarm has failed. */
void swarm_wait_refused(struct swarm *swarm, int count);
/* Waits until publishers and clients are through and proves the above, by the histories of `server`. */
void swarm_finish(struct swarm *swarm, struct kit_server *server);

#endif
