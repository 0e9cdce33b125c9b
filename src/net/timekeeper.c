/* The timekeeper: a thread that ends what takes too long, and gives the memory of crowds back.
 *
 * It looks through all open connections, not more often than a tenth of the shortest deadline, and sleeps
 * until the next one is due. Any deadline that is set meanwhile lies at least the shortest one away, so
 * nothing is seen more than a tick late. It owns no connection: it marks one whose request is late and has a
 * worker look at it, and shuts down the socket of one that does not read.
 */
#include "net/connection_internal.h"

#include <malloc.h>
#include <sys/socket.h>

enum { TRIM_AFTER_CONNECTIONS = 64 };

struct round {
    struct http_server *server;
    int64_t now;
    int64_t next_at;
};

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t shortest_deadline(const struct http_deadlines *deadlines)
{
    int64_t requests = least(deadlines->head_ns, least(deadlines->body_ns, deadlines->idle_ns));
    int64_t answers = least(deadlines->stalled_ns, least(deadlines->answer_ns, deadlines->linger_ns));
    return least(requests, answers);
}

/* A slow reader takes bytes from the kernel long before the kernel takes more from us. */
static bool takes_something(struct round *round, struct connection *connection)
{
    int unsent = connection_unsent(connection);
    if (unsent >= connection->unsent || connection->outgoing->deadline_at <= round->now)
        return false;
    connection->unsent = unsent;
    connection->deadline_at =
        least(round->now + round->server->options.deadlines.stalled_ns, connection->outgoing->deadline_at);
    round->next_at = least(round->next_at, connection->deadline_at);
    return true;
}

static void look(void *context, struct connection *connection)
{
    struct round *round = context;
    bool parked = connection->state == CONNECTION_PARKED;
    bool writing = connection->state == CONNECTION_WRITING || connection->state == CONNECTION_STREAMING;
    if (!parked && !writing && connection->state != CONNECTION_LINGERING)
        return;
    if (connection->deadline_at > round->now) {
        round->next_at = least(round->next_at, connection->deadline_at);
        return;
    }
    if (writing && takes_something(round, connection))
        return;
    /* A mark that no worker has come for by the next round means that the socket takes no bytes either. */
    if (parked && !connection->timed_out) {
        connection->timed_out = true;
        connection_poke_locked(round->server, connection);
    } else {
        shutdown(connection->descriptor, SHUT_RDWR);
    }
}

/* Gives memory back to the system once most of a crowd has left. */
static void trim(struct http_server *server)
{
    pthread_mutex_lock(&server->slots_mutex);
    unsigned open = server->open_count;
    bool most_left = server->peak_count - open >= TRIM_AFTER_CONNECTIONS && open <= server->peak_count / 2;
    if (most_left)
        server->peak_count = open;
    pthread_mutex_unlock(&server->slots_mutex);
    if (most_left)
        malloc_trim(0);
}

int64_t timekeeper_round(void *context, struct periodic *thread)
{
    (void)thread;
    struct http_server *server = context;
    int64_t shortest = shortest_deadline(&server->options.deadlines);
    int64_t tick = least(shortest / 10, CLOCK_NS_PER_SECOND);
    int64_t now = clock_monotonic_ns();
    struct round round = {.server = server, .now = now, .next_at = now + shortest};
    connections_each(server, look, &round);
    trim(server);
    return round.next_at < now + tick ? now + tick : round.next_at;
}
