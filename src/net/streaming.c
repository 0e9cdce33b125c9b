/* Endless answers. */
#include "net/streaming.h"

#include "net/blocking.h"
#include "net/connection_internal.h"

#include <stdlib.h>
#include <sys/socket.h>

static int begin(struct worker *worker, enum block_reason reason)
{
    worker_end_computing(worker);
    if (pool_block(worker->server->pool, reason) != 0)
        return -1;
    worker_pass_events_on(worker);
    return 0;
}

int blocking_begin(struct worker *worker)
{
    return begin(worker, BLOCK_CALL);
}

void blocking_end(struct worker *worker)
{
    pool_unblock(worker->server->pool, BLOCK_CALL);
}

int blocking_begin_page(struct worker *worker)
{
    return begin(worker, BLOCK_PAGE);
}

void blocking_end_page(struct worker *worker)
{
    pool_unblock(worker->server->pool, BLOCK_PAGE);
}

uint64_t streaming_token(const struct request *request)
{
    return connection_token(request->worker->server, request->connection);
}

struct budget *streaming_budget(const struct request *request)
{
    return &request->worker->server->request_memory;
}

/* What the connection no longer needs once its request has become a stream. */
static void free_request(struct worker *worker, struct connection *connection)
{
    if (connection->message == NULL)
        message_free(&worker->message);
    connection_drop_message(connection);
    connection->request_deadline_at = 0;
}

/* Until when the client must have taken a page of a body that ends; an event stream may last. */
static int64_t page_deadline(const struct http_server *server, const struct outgoing *outgoing)
{
    const struct http_deadlines *deadlines = &server->options.deadlines;
    if (!outgoing->source.ends)
        return INT64_MAX;
    int64_t page_s = (int64_t)(outgoing_ready(outgoing) / (uint64_t)deadlines->answer_bytes_rate);
    return clock_monotonic_ns() + deadlines->answer_ns + page_s * CLOCK_NS_PER_SECOND;
}

void stream_begin(struct worker *worker, struct connection *connection, struct outgoing *outgoing)
{
    connection->outgoing = outgoing_keep(outgoing, &worker->server->request_memory);
    if (connection->outgoing == NULL) {
        outgoing_abandon(outgoing);
        connection_close(worker->server, connection);
        return;
    }
    connection->outgoing->deadline_at = page_deadline(worker->server, connection->outgoing);
    connection->deadline_at = INT64_MAX;
    free_request(worker, connection);
    connection_watch_room(worker->server, connection);
    stream_serve(worker->server, connection, worker);
}

/* Lets go of a stream with nothing to send. */
static bool release_idle(struct connection *connection)
{
    outgoing_forget_head(connection->outgoing);
    return connection_release(connection, CONNECTION_STREAMING, INT64_MAX);
}

/* When a client that takes nothing has had its time. Being woken again and again gives it no more. */
static int64_t room_deadline(const struct http_server *server, struct connection *connection, bool moved)
{
    if (!moved && connection->deadline_at != INT64_MAX)
        return connection->deadline_at;
    connection->unsent = connection_unsent(connection);
    int64_t stalled_at = clock_monotonic_ns() + server->options.deadlines.stalled_ns;
    return stalled_at < connection->outgoing->deadline_at ? stalled_at : connection->outgoing->deadline_at;
}

/* Reads and drops what the client has sent: closing a socket with unread bytes would reset the connection, and the client
 * might lose what it has not read yet (RFC 9112 section 9.6). */
static void drop_input(const struct connection *connection)
{
    enum { READS = 64 };
    char dropped[4096];
    for (int i = 0; i < READS && recv(connection->descriptor, dropped, sizeof dropped, MSG_DONTWAIT) > 0; i++)
        continue;
}

static bool end(struct http_server *server, struct connection *connection)
{
    drop_input(connection);
    connection_close(server, connection);
    return false;
}

/* A body that has come to its end by itself, and may still be on its way to a client that is sending. */
static bool end_gently(struct http_server *server, struct connection *connection)
{
    if (!connection->outgoing->source.ends || shutdown(connection->descriptor, SHUT_WR) != 0)
        return end(server, connection);
    outgoing_abandon(connection->outgoing);
    outgoing_free(connection->outgoing);
    connection->outgoing = NULL;
    connection->request_deadline_at = clock_monotonic_ns() + connection_linger_ns(server);
    connection_yield(server, connection, CONNECTION_LINGERING, connection->request_deadline_at);
    return false;
}

static enum body_more ask_for_more(struct connection *connection, struct worker *worker)
{
    const struct body_source *source = &connection->outgoing->source;
    return source->operations->more(source->state, worker);
}

/* Writes once. Returns whether the caller still owns the connection. */
static bool stream_step(struct http_server *server, struct connection *connection, struct worker *worker)
{
    /* At a stop, what is queued goes out as far as the socket takes it. */
    bool ends = connection->outgoing->source.ends;
    bool stopping = atomic_load(&server->stopping) && !ends;
    /* Who has only closed its sending side waits for an answer all the same, but not for events. */
    if (connection->was_hung_up && !ends)
        return end(server, connection);
    uint64_t before = connection->outgoing->source_sent + connection->outgoing->sent;
    enum outgoing_result result = outgoing_send(connection->descriptor, connection->outgoing);
    bool moved = connection->outgoing->source_sent + connection->outgoing->sent > before;
    switch (result) {
    case OUTGOING_BLOCKED:
        if (stopping)
            break;
        return !connection_release(connection, CONNECTION_STREAMING,
                                   room_deadline(server, connection, moved));
    case OUTGOING_YIELDED:
        connection_yield(server, connection, CONNECTION_STREAMING, room_deadline(server, connection, moved));
        return false;
    case OUTGOING_IDLE:
        if (stopping)
            break;
        switch (ask_for_more(connection, worker)) {
        case BODY_MORE:
            connection->outgoing->deadline_at = page_deadline(server, connection->outgoing);
            return true;
        case BODY_IDLE:
            return !release_idle(connection);
        case BODY_END:
            return end_gently(server, connection);
        }
        break;
    case OUTGOING_WHOLE:
    case OUTGOING_FAILED:
        break;
    }
    return end(server, connection);
}

void stream_serve(struct http_server *server, struct connection *connection, struct worker *worker)
{
    while (stream_step(server, connection, worker))
        continue;
}

void streaming_wake(struct http_server *server, uint64_t token)
{
    struct connection *connection = connection_claim(server, token, EPOLLOUT);
    if (connection != NULL)
        stream_serve(server, connection, NULL);
}

void streaming_resume(struct http_server *server, uint64_t token)
{
    connection_pass_on(server, token, EPOLLOUT);
}
