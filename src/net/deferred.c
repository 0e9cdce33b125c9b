#include "net/deferred.h"

#include "net/connection_internal.h"

#include <sys/socket.h>

int deferred_begin(struct deferred *deferred, struct request *request, struct response *response)
{
    struct worker *worker = request->worker;
    struct connection *connection = request->connection;
    *deferred = (struct deferred){
        .server = worker->server,
        .connection = connection,
        .request = {.method = request->method,
                    .route = request->route,
                    .minor_version = request->minor_version,
                    .keep_alive = request->keep_alive},
        .started_at = clock_monotonic_coarse_ns(),
    };
    message_done(connection->message != NULL ? connection->message : &worker->message);
    request->released = true;
    if (connection_keep_message(worker, connection) != 0) {
        response->close = true; /* what the client has sent behind this request is lost */
        return -1;
    }
    response->kind = RESPONSE_DEFERRED;
    pthread_mutex_lock(&connection->mutex);
    connection->state = CONNECTION_DEFERRED;
    pthread_mutex_unlock(&connection->mutex);
    return 0;
}

static void own(struct connection *connection)
{
    pthread_mutex_lock(&connection->mutex);
    connection->state = CONNECTION_ANSWERED;
    pthread_mutex_unlock(&connection->mutex);
}

/* Parks the connection; where there is more to serve already, a worker is sent for it. */
static void go_on(struct http_server *server, struct connection *connection)
{
    int64_t deadline_at = clock_monotonic_coarse_ns() + server->options.deadlines.idle_ns;
    if (connection->message != NULL || !connection->drained ||
        !connection_release(connection, CONNECTION_PARKED, deadline_at))
        connection_yield(server, connection, CONNECTION_PARKED, deadline_at);
}

/* Ends the connection as after any last answer; a worker drops what the client still sends. */
static void end(struct http_server *server, struct connection *connection)
{
    if (shutdown(connection->descriptor, SHUT_WR) != 0) {
        connection_close(server, connection);
        return;
    }
    connection->request_deadline_at = clock_monotonic_ns() + connection_linger_ns(server);
    connection_yield(server, connection, CONNECTION_LINGERING, connection->request_deadline_at);
}

static void write_answer(struct http_server *server, struct connection *connection, unsigned minor_version,
                         bool keep_alive, struct response *response)
{
    struct buffer head = BUFFER_EMPTY;
    struct outgoing outgoing = {.source = response->source};
    enum outgoing_result result = OUTGOING_FAILED;
    bool prepared = answer_prepare(server, response, minor_version, keep_alive, &head, &outgoing) == 0;
    if (prepared)
        result = answer_try(server, connection, &outgoing);
    else
        answer_without_memory(server, connection, response->refused);
    buffer_free(&head);
    if (result == OUTGOING_WHOLE && keep_alive) {
        go_on(server, connection);
    } else if (!prepared) {
        outgoing_abandon(&outgoing);
        end(server, connection);
    } else if (result == OUTGOING_WHOLE) {
        end(server, connection);
    } else if (result == OUTGOING_FAILED) {
        outgoing_abandon(&outgoing);
        connection_close(server, connection);
    } else {
        answer_leave_rest(server, connection);
    }
}

void deferred_answer(struct deferred *deferred, struct response *response)
{
    struct http_server *server = deferred->server;
    bool keep_alive = deferred->request.keep_alive && !response->close && !atomic_load(&server->stopping);
    log_access(server, &deferred->request, response, deferred->started_at);
    own(deferred->connection);
    write_answer(server, deferred->connection, deferred->request.minor_version, keep_alive, response);
    if (response->after != NULL)
        response->after(response->after_context);
}
