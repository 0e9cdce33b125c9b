#include "net/waiting.h"

#include "net/connection_internal.h"

#include <poll.h>

enum waiting_start waiting_begin(struct waiting *waiting, struct request *request,
                                 void (*interrupt)(void *context), void *context)
{
    struct worker *worker = request->worker;
    struct connection *connection = request->connection;
    *waiting = (struct waiting){
        .connection = connection,
        .server = worker->server,
        .minor_version = request->minor_version,
        .keep_alive = request->keep_alive,
        .interrupt = interrupt,
        .context = context,
    };
    worker_end_computing(worker);
    if (pool_block(worker->server->pool, BLOCK_WAITING) != 0)
        return WAITING_NO_THREAD;
    worker_pass_events_on(worker);
    message_done(connection->message != NULL ? connection->message : &worker->message);
    request->released = true;
    enum waiting_start result = WAITING_STARTED;
    if (connection_keep_message(worker, connection) != 0)
        result = WAITING_NO_MEMORY;
    worker_free_scratch(worker);
    pthread_mutex_lock(&connection->mutex);
    if (connection->hung_up)
        result = WAITING_HUNG_UP;
    if (result == WAITING_STARTED) {
        connection->state = CONNECTION_WAITING;
        connection->waiting = waiting;
    }
    pthread_mutex_unlock(&connection->mutex);
    if (result != WAITING_STARTED)
        pool_unblock(worker->server->pool, BLOCK_WAITING);
    return result;
}

/* Makes the caller the owner of a connection that waits, unless its client has hung up. */
static bool own_to_answer(struct connection *connection)
{
    pthread_mutex_lock(&connection->mutex);
    bool there = connection->state == CONNECTION_WAITING && !connection->hung_up;
    if (there) {
        connection->state = CONNECTION_ANSWERED;
        connection->waiting = NULL;
    }
    pthread_mutex_unlock(&connection->mutex);
    return there;
}

/* A hang-up whose event no worker has seen yet shows here at once. */
static bool peer_is_gone(int descriptor)
{
    struct pollfd look = {.fd = descriptor, .events = POLLRDHUP};
    return poll(&look, 1, 0) != 0;
}

static void hand_back(struct connection *connection)
{
    pthread_mutex_lock(&connection->mutex);
    connection->state = CONNECTION_SERVED;
    pthread_mutex_unlock(&connection->mutex);
}

static enum waiting_result answer_owned(struct waiting *waiting, struct response *response)
{
    struct connection *connection = waiting->connection;
    bool keep_alive = waiting->keep_alive && !atomic_load(&waiting->server->stopping);
    struct buffer head = BUFFER_EMPTY;
    struct outgoing outgoing = {.source = response->source};
    enum outgoing_result sent = OUTGOING_FAILED;
    if (peer_is_gone(connection->descriptor))
        return WAITING_GONE;
    if (answer_prepare(waiting->server, response, waiting->minor_version, keep_alive, &head, &outgoing) == 0)
        sent = answer_try(waiting->server, connection, &outgoing);
    else
        answer_without_memory(waiting->server, connection, true); /* nothing is consumed */
    buffer_free(&head);
    if (sent == OUTGOING_WHOLE)
        return WAITING_WRITTEN;
    if (sent == OUTGOING_FAILED)
        return WAITING_GONE;
    answer_leave_rest(waiting->server, connection);
    return WAITING_ELSEWHERE;
}

enum waiting_result waiting_answer(struct waiting *waiting, struct response *response)
{
    if (own_to_answer(waiting->connection)) {
        waiting->result = answer_owned(waiting, response);
        if (waiting->result != WAITING_ELSEWHERE)
            hand_back(waiting->connection);
    } else {
        waiting->result = WAITING_GONE;
    }
    return waiting->result;
}

bool waiting_end(struct waiting *waiting)
{
    struct connection *connection = waiting->connection;
    bool there = true;
    if (waiting->result != WAITING_ELSEWHERE) {
        pthread_mutex_lock(&connection->mutex);
        connection->state = CONNECTION_SERVED;
        connection->waiting = NULL;
        there = !connection->hung_up;
        pthread_mutex_unlock(&connection->mutex);
    }
    pool_unblock(waiting->server->pool, BLOCK_WAITING);
    return there;
}
