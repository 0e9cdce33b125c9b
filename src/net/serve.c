/* What a worker does: takes an event, serves the connection's requests, lets go. */
#include "net/connection_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum {
    SCRATCH_KEPT_BYTES = 64 * 1024,
    LARGE_BODY_BYTES = 32 * 1024,
    STOPPING_LINGER_PART = 10, /* of the usual time, while the server stops */
};

/* What to do with a connection next. */
enum step {
    STEP_ON,    /* look at its next bytes */
    STEP_LEAVE, /* it is not ours any more */
    STEP_AGAIN, /* something happened while we let go: start over */
};

static struct message *message_of(struct worker *worker, struct connection *connection)
{
    return connection->message != NULL ? connection->message : &worker->message;
}

static enum step leave(struct http_server *server, struct connection *connection)
{
    connection_close(server, connection);
    return STEP_LEAVE;
}

int connection_keep_message(struct worker *worker, struct connection *connection)
{
    int result = 0;
    connection->after_empty_line = message_of(worker, connection)->after_empty_line;
    if (connection->message == NULL && !message_is_idle(&worker->message)) {
        connection->message = malloc(sizeof *connection->message);
        if (connection->message == NULL || message_move(&worker->message, connection->message) != 0) {
            free(connection->message);
            connection->message = NULL;
            result = -1;
        }
    } else if (connection->message != NULL && message_is_idle(connection->message)) {
        connection_drop_message(connection);
    }
    return result;
}

/* Reads and drops what a client still sends after its last answer. */
static enum step linger(struct http_server *server, struct connection *connection)
{
    enum { READS_IN_A_ROW = 64 };
    char dropped[4096];
    ssize_t received = 1;
    if (clock_monotonic_ns() >= connection->request_deadline_at)
        return leave(server, connection);
    for (int i = 0; i < READS_IN_A_ROW && received > 0; i++)
        received = recv(connection->descriptor, dropped, sizeof dropped, MSG_DONTWAIT);
    if (received > 0) {
        connection_yield(server, connection, CONNECTION_LINGERING, connection->request_deadline_at);
        return STEP_LEAVE;
    }
    if (received == 0 || (errno != EAGAIN && errno != EINTR))
        return leave(server, connection);
    return connection_release(connection, CONNECTION_LINGERING, connection->request_deadline_at) ? STEP_LEAVE
                                                                                                 : STEP_AGAIN;
}

int64_t connection_linger_ns(const struct http_server *server)
{
    int64_t linger_ns = server->options.deadlines.linger_ns;
    return atomic_load(&server->stopping) ? linger_ns / STOPPING_LINGER_PART : linger_ns;
}

/* Ends a connection behind its last answer, so that the answer arrives also at a client that is still
 * sending: closing a socket with unread bytes resets the connection (RFC 9112 section 9.6). */
static enum step close_gently(struct http_server *server, struct connection *connection)
{
    connection_drop_message(connection);
    if (shutdown(connection->descriptor, SHUT_WR) != 0)
        return leave(server, connection);
    connection->request_deadline_at = clock_monotonic_ns() + connection_linger_ns(server);
    return linger(server, connection);
}

static void response_init(struct worker *worker, struct response *response)
{
    buffer_clear(&worker->body);
    buffer_clear(&worker->headers);
    *response = (struct response){.body = &worker->body, .headers = &worker->headers};
}

/* Writes the answer, and what the handler wanted done after the first try of it. */
static enum step answer(struct worker *worker, struct connection *connection, struct response *response,
                        unsigned minor_version, bool keep_alive)
{
    struct http_server *server = worker->server;
    struct outgoing outgoing = {.source = response->source};
    enum outgoing_result result = OUTGOING_FAILED;
    bool prepared =
        answer_prepare(server, response, minor_version, keep_alive, &worker->head, &outgoing) == 0;
    if (prepared)
        result = response->source.endless ? OUTGOING_IDLE : answer_try(server, connection, &outgoing);
    else
        answer_without_memory(server, connection, response->refused || response->safe);
    enum step step = STEP_ON;
    if (result == OUTGOING_FAILED) {
        outgoing_abandon(&outgoing);
        step = prepared ? leave(server, connection) : close_gently(server, connection);
    } else if (result == OUTGOING_IDLE) {
        stream_begin(worker, connection, &outgoing);
        step = STEP_LEAVE;
    } else if (result != OUTGOING_WHOLE) {
        /* The rest goes out when the socket takes it; from here on the connection may be any worker's. */
        if (connection_keep_message(worker, connection) != 0)
            connection->outgoing->close = true;
        answer_leave_rest(server, connection);
        step = STEP_LEAVE;
    }
    if (response->after_is_long)
        worker_pass_events_on(worker);
    if (response->after != NULL)
        response->after(response->after_context);
    if (step == STEP_ON && !keep_alive)
        step = close_gently(server, connection);
    return step;
}

void log_access(const struct http_server *server, const struct request *request,
                const struct response *response, int64_t started_at)
{
    if (!server->options.access_log)
        return;
    uint64_t length = response->kind != RESPONSE_ANSWER ? response->sent_bytes
                      : response->source.operations != NULL && !response->source.endless
                          ? response->source.length
                          : response->body->length;
    log_info(server->options.log, "request method=%s path=%s status=%u bytes=%llu ms=%.3f",
             request_method_name(request->method),
             request->route_of_path == NULL ? LOG_TEXT(request->path) : request->route_of_path->path,
             response->status, (unsigned long long)length,
             (double)(clock_monotonic_ns() - started_at) / CLOCK_NS_PER_MS);
}

static enum step refuse(struct worker *worker, struct connection *connection, unsigned status,
                        const char *reason)
{
    struct response response;
    response_init(worker, &response);
    if (reason == NULL)
        response_out_of_memory(&response);
    else
        response_error(&response, status, "%s", reason);
    response.without_body = message_is_head_request(message_of(worker, connection));
    /* What was not understood has no method and no path. */
    log_access(worker->server, &(struct request){.method = 0}, &response, clock_monotonic_ns());
    return answer(worker, connection, &response, 1, false);
}

/* Has others take care of what is ready while this worker has long work to do. */
static void run_handler(struct worker *worker, struct request *request, struct response *response)
{
    struct http_server *server = worker->server;
    if (request->body.length >= LARGE_BODY_BYTES) {
        worker_pass_events_on(worker);
        worker->computing = pool_block(server->pool, BLOCK_COMPUTE) == 0;
    }
    request->route->handle(server->options.context, request, response);
    worker_end_computing(worker);
}

/* Refuses an answer that might have to wait for a slow client while others hold too much memory. Only what was read is
 * refused: who has changed something is told so, or loses the connection. */
static void check_room(struct worker *worker, const struct request *request, struct response *response)
{
    bool safe = request->method == METHOD_GET;
    if (!safe || response->kind != RESPONSE_ANSWER || answer_may_be_kept(worker->server, response))
        return;
    buffer_clear(response->headers);
    response_out_of_memory(response);
}

static enum step handle(struct worker *worker, struct connection *connection, struct request *request)
{
    struct http_server *server = worker->server;
    int64_t started_at = server->options.access_log ? clock_monotonic_ns() : 0;
    struct response response;
    response_init(worker, &response);
    response.without_body = request->method == METHOD_HEAD;
    response.safe = (request->method & (METHOD_GET | METHOD_HEAD | METHOD_OPTIONS)) != 0;
    request->worker = worker;
    request->connection = connection;
    connection->request_deadline_at = 0;
    router_check(server, request, &response);
    if (request->route != NULL)
        run_handler(worker, request, &response);
    if (response.kind == RESPONSE_DEFERRED)
        return STEP_LEAVE; /* it may be gone already */
    check_room(worker, request, &response);
    log_access(server, request, &response, started_at);
    if (!request->released)
        message_done(message_of(worker, connection));
    bool keep_alive =
        request->keep_alive && !response.close && !response.source.endless && !atomic_load(&server->stopping);
    switch (response.kind) {
    case RESPONSE_ANSWER:
        return answer(worker, connection, &response, request->minor_version, keep_alive);
    case RESPONSE_WRITTEN:
        return keep_alive ? STEP_ON : close_gently(server, connection);
    case RESPONSE_HANG_UP:
        return close_gently(server, connection);
    case RESPONSE_ELSEWHERE:
    case RESPONSE_DEFERRED:
        break;
    }
    return STEP_LEAVE;
}

static int send_continue(struct connection *connection)
{
    static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct outgoing outgoing = {.bytes = interim, .length = sizeof interim - 1};
    enum outgoing_result result = outgoing_send(connection->descriptor, &outgoing);
    /* A client that does not even take its earlier answers waits for nothing: it sends the body by itself. */
    bool skipped = result == OUTGOING_BLOCKED && outgoing.sent == 0;
    return result == OUTGOING_WHOLE || skipped ? 0 : -1;
}

/* The head is there, the body is not: refuses at once what need not be read, asks for the rest otherwise. */
static enum step begin_body(struct worker *worker, struct connection *connection, struct request *request)
{
    struct http_server *server = worker->server;
    struct response response;
    response_init(worker, &response);
    response.without_body = request->method == METHOD_HEAD;
    bool expects_continue = request_expects_continue(request);
    router_check(server, request, &response);
    uint64_t limit = router_body_limit(server, request->route);
    bool refused = request->route == NULL;
    bool small = request->framing == FRAMING_LENGTH && request->content_length <= limit;
    if (refused && (expects_continue || !small)) {
        log_access(server, request, &response, clock_monotonic_ns());
        return answer(worker, connection, &response, request->minor_version, false);
    }
    message_expect_body(message_of(worker, connection), limit, refused);
    connection->request_deadline_at = clock_monotonic_ns() + server->options.deadlines.body_ns;
    if (expects_continue && send_continue(connection) != 0)
        return leave(server, connection);
    return STEP_ON;
}

static enum step refuse_without_memory(struct worker *worker, struct connection *connection)
{
    return refuse(worker, connection, 503, NULL);
}

enum received { RECEIVED_BYTES, RECEIVED_NONE, RECEIVED_END, RECEIVED_NO_MEMORY };

/* Reads once. */
static enum received receive(struct connection *connection, struct message *message)
{
    size_t room;
    char *bytes = message_room(message, &room);
    if (bytes == NULL)
        return RECEIVED_NO_MEMORY;
    ssize_t length;
    do {
        length = recv(connection->descriptor, bytes, room, MSG_DONTWAIT);
    } while (length < 0 && errno == EINTR);
    if (length > 0) {
        message_received(message, (size_t)length);
        /* Behind the last bytes of a client that has hung up lies the end, which makes no event of its own.
         */
        connection->drained = (size_t)length < room && !connection->was_hung_up;
        return RECEIVED_BYTES;
    }
    connection->drained = true;
    return length < 0 && errno == EAGAIN ? RECEIVED_NONE : RECEIVED_END;
}

/* Lets go of a connection whose next request is not there, or not whole. */
static enum step park(struct worker *worker, struct connection *connection)
{
    struct http_server *server = worker->server;
    struct message *message = message_of(worker, connection);
    int64_t now = clock_monotonic_coarse_ns();
    int64_t deadline_at = now + server->options.deadlines.idle_ns;
    if (message_is_idle(message)) {
        if (atomic_load(&server->stopping))
            return leave(server, connection);
        connection->request_deadline_at = 0; /* what came was an empty line */
    } else {
        if (connection->request_deadline_at == 0)
            connection->request_deadline_at = now + server->options.deadlines.head_ns;
        deadline_at = connection->request_deadline_at;
        if (deadline_at <= now)
            return refuse(worker, connection, 408, "the request took too long to arrive");
    }
    if (connection_keep_message(worker, connection) != 0)
        return refuse_without_memory(worker, connection);
    return connection_release(connection, CONNECTION_PARKED, deadline_at) ? STEP_LEAVE : STEP_AGAIN;
}

static enum step end_timed_out(struct worker *worker, struct connection *connection)
{
    if (connection->message == NULL)
        return leave(worker->server, connection);
    return refuse(worker, connection, 408, "the request took too long to arrive");
}

/* Reads what comes next, or lets go until something does. */
static enum step read_more(struct worker *worker, struct connection *connection, struct message *message)
{
    if (connection->drained)
        return park(worker, connection);
    switch (receive(connection, message)) {
    case RECEIVED_END:
        return leave(worker->server, connection);
    case RECEIVED_NO_MEMORY:
        return refuse_without_memory(worker, connection);
    case RECEIVED_BYTES:
    case RECEIVED_NONE:
        break;
    }
    return STEP_ON;
}

static enum step serve_requests(struct worker *worker, struct connection *connection)
{
    enum step step = STEP_ON;
    unsigned requests = 0;
    connection->drained = false;
    while (step == STEP_ON) {
        struct request request;
        struct refusal refusal;
        struct message *message = message_of(worker, connection);
        switch (message_next(message, &request, &refusal)) {
        case MESSAGE_MORE:
            step = read_more(worker, connection, message);
            break;
        case MESSAGE_STARTED:
            step = begin_body(worker, connection, &request);
            break;
        case MESSAGE_REFUSED:
            step = refuse(worker, connection, refusal.status, refusal.reason);
            break;
        case MESSAGE_REQUEST:
            step = handle(worker, connection, &request);
            /* Without memory for its bytes the connection has to stay. */
            if (step == STEP_ON && ++requests >= HTTP_REQUESTS_IN_A_ROW &&
                connection_keep_message(worker, connection) == 0) {
                connection_yield(worker->server, connection, CONNECTION_PARKED,
                                 clock_monotonic_ns() + worker->server->options.deadlines.idle_ns);
                step = STEP_LEAVE;
            }
            break;
        }
    }
    return step;
}

static enum step resume_answer(struct worker *worker, struct connection *connection)
{
    bool close = connection->outgoing->close;
    if (answer_continue(worker->server, connection) == ANSWER_PENDING)
        return STEP_LEAVE;
    return close ? close_gently(worker->server, connection) : STEP_ON;
}

static void clear_large(struct buffer *buffer)
{
    if (buffer->capacity > SCRATCH_KEPT_BYTES)
        buffer_free(buffer);
    buffer_clear(buffer);
}

static void clear_scratch(struct worker *worker)
{
    message_clear(&worker->message, SCRATCH_KEPT_BYTES);
    clear_large(&worker->body);
    clear_large(&worker->headers);
    clear_large(&worker->head);
}

void connection_serve(struct worker *worker, struct connection *connection)
{
    enum step step;
    do {
        clear_scratch(worker);
        worker->message.after_empty_line = connection->after_empty_line;
        step = STEP_ON;
        if (connection->before == CONNECTION_STREAMING) {
            stream_serve(worker->server, connection, worker);
            return;
        }
        if (connection->before == CONNECTION_WRITING)
            step = resume_answer(worker, connection);
        else if (connection->before == CONNECTION_LINGERING)
            step = linger(worker->server, connection);
        else if (connection->was_timed_out)
            step = end_timed_out(worker, connection);
        if (step == STEP_ON)
            step = serve_requests(worker, connection);
    } while (step == STEP_AGAIN);
}

void worker_free_scratch(struct worker *worker)
{
    message_free(&worker->message);
    buffer_free(&worker->body);
    buffer_free(&worker->headers);
    buffer_free(&worker->head);
}

void worker_end_computing(struct worker *worker)
{
    if (worker->computing)
        pool_unblock(worker->server->pool, BLOCK_COMPUTE);
    worker->computing = false;
}

void worker_pass_events_on(struct worker *worker)
{
    while (worker->next_event < worker->event_count) {
        const struct epoll_event *event = &worker->events[worker->next_event++];
        if ((event->data.u64 & UINT32_MAX) != CONTROL_SLOT)
            connection_pass_on(worker->server, event->data.u64, event->events);
    }
}

static void take_events(struct worker *worker, struct pool *pool)
{
    int timeout_ms = pool_has_jobs(pool) ? 0 : -1;
    int count = epoll_wait(worker->server->epoll_descriptor, worker->events, EVENTS_AT_ONCE, timeout_ms);
    worker->next_event = 0;
    worker->event_count = count < 0 ? 0 : count;
}

void worker_run(void *context, struct pool *pool)
{
    struct http_server *server = context;
    struct worker worker = {.server = server, .message = {.budget = &server->request_memory}};
    while (pool_turn(pool)) {
        take_events(&worker, pool);
        while (worker.next_event < worker.event_count) {
            const struct epoll_event event = worker.events[worker.next_event++];
            if ((event.data.u64 & UINT32_MAX) == CONTROL_SLOT)
                continue;
            struct connection *connection = connection_claim(worker.server, event.data.u64, event.events);
            if (connection != NULL)
                connection_serve(&worker, connection);
        }
        clear_scratch(&worker); /* it may be a spare for a while now */
    }
    worker_free_scratch(&worker);
}
