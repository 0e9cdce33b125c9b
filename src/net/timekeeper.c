/* The timekeeper: a thread that ends what takes too long.
 *
 * It looks through all open connections, not more often than a tenth of the shortest deadline, and sleeps
 * until the next one is due. Any deadline that is set meanwhile lies at least the shortest one away, so
 * nothing is seen more than a tick late. It owns no connection: it marks one whose request is late and has a
 * worker look at it, and shuts down the socket of one that does not read. Lock: its own mutex guards the
 * request to stop, not held while it looks.
 */
#include "net/connection_internal.h"

#include "base/sync.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

struct timekeeper {
    struct http_server *server;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t condition;
    bool stopping;
};

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
    bool without_owner =
        parked || connection->state == CONNECTION_WRITING || connection->state == CONNECTION_LINGERING;
    if (!without_owner)
        return;
    if (connection->deadline_at > round->now) {
        round->next_at = least(round->next_at, connection->deadline_at);
        return;
    }
    if (connection->state == CONNECTION_WRITING && takes_something(round, connection))
        return;
    /* A mark that no worker has come for by the next round means that the socket takes no bytes either. */
    if (parked && !connection->timed_out) {
        connection->timed_out = true;
        connection_poke_locked(round->server, connection);
    } else {
        shutdown(connection->descriptor, SHUT_RDWR);
    }
}

static void *timekeeper_main(void *context)
{
    struct timekeeper *timekeeper = context;
    struct http_server *server = timekeeper->server;
    int64_t shortest = shortest_deadline(&server->options.deadlines);
    int64_t tick = least(shortest / 10, CLOCK_NS_PER_SECOND);
    pthread_mutex_lock(&timekeeper->mutex);
    while (!timekeeper->stopping) {
        pthread_mutex_unlock(&timekeeper->mutex);
        int64_t now = clock_monotonic_ns();
        struct round round = {.server = server, .now = now, .next_at = now + shortest};
        connections_each(server, look, &round);
        int64_t next_at = round.next_at < now + tick ? now + tick : round.next_at;
        pthread_mutex_lock(&timekeeper->mutex);
        while (!timekeeper->stopping && sync_wait_until(&timekeeper->condition, &timekeeper->mutex, next_at))
            continue;
    }
    pthread_mutex_unlock(&timekeeper->mutex);
    return NULL;
}

struct timekeeper *timekeeper_start(struct http_server *server)
{
    struct timekeeper *timekeeper = calloc(1, sizeof *timekeeper);
    if (timekeeper == NULL)
        return NULL;
    timekeeper->server = server;
    if (sync_condition_init(&timekeeper->condition) != 0)
        goto free_timekeeper;
    pthread_mutex_init(&timekeeper->mutex, NULL);
    errno = pthread_create(&timekeeper->thread, NULL, timekeeper_main, timekeeper);
    if (errno != 0)
        goto destroy_locks;
    pthread_setname_np(timekeeper->thread, "timekeeper");
    return timekeeper;

destroy_locks:
    pthread_mutex_destroy(&timekeeper->mutex);
    pthread_cond_destroy(&timekeeper->condition);
free_timekeeper:
    free(timekeeper);
    return NULL;
}

void timekeeper_stop(struct timekeeper *timekeeper)
{
    if (timekeeper == NULL)
        return;
    pthread_mutex_lock(&timekeeper->mutex);
    timekeeper->stopping = true;
    pthread_cond_signal(&timekeeper->condition);
    pthread_mutex_unlock(&timekeeper->mutex);
    pthread_join(timekeeper->thread, NULL);
    pthread_mutex_destroy(&timekeeper->mutex);
    pthread_cond_destroy(&timekeeper->condition);
    free(timekeeper);
}
