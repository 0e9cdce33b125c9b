/* Answers: from a response to bytes in the socket. */
#include "net/connection_internal.h"

#include <assert.h>

static void complain(struct http_server *server)
{
    log_limited(server->options.log, &server->memory_shortage, LOG_LEVEL_WARN,
                "out of memory, requests are refused: raise --max-request-memory if that is used up (see "
                "/health), else give the machine or its cgroup more, or lower --max-memory, "
                "--max-metrics-memory or --max-connections");
}

void answer_without_memory(struct http_server *server, const struct connection *connection,
                           bool nothing_changed)
{
#define OPEN_ERROR    "{\"error\":\"outcome unknown: the server is out of memory for the answer\"}"
#define REFUSED_ERROR "{\"error\":\"the server is out of memory\"}"
#define HEAD(length)                                                                                         \
    "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: " length          \
    "\r\nConnection: close\r\nRetry-After: 1\r\n\r\n"
    static const char open[] = HEAD("71") OPEN_ERROR;
    static const char refused[] = HEAD("39") REFUSED_ERROR;
    static_assert(sizeof OPEN_ERROR - 1 == 71 && sizeof REFUSED_ERROR - 1 == 39, "the lengths above");
    struct outgoing outgoing = {.bytes = nothing_changed ? refused : open,
                                .length = (nothing_changed ? sizeof refused : sizeof open) - 1};
    complain(server);
    outgoing_send(connection->descriptor, &outgoing);
}

int answer_prepare(struct http_server *server, const struct response *response, unsigned minor_version,
                   bool keep_alive, struct buffer *head, struct outgoing *outgoing)
{
    uint64_t length = response->source.operations != NULL ? response->source.length : response->body->length;
    int64_t wall_s = clock_wall_coarse_s();
    if (response->out_of_memory)
        complain(server);
    buffer_clear(head);
    response_write_head(response, length, wall_s, minor_version, keep_alive, server->options.common_headers,
                        head);
    if (!response->without_body && (response->source.operations == NULL || response->source.endless))
        buffer_append(head, response->body->bytes, response->body->length);
    if (head->failed || response->body->failed || response->headers->failed)
        return -1;
    const struct http_deadlines *deadlines = &server->options.deadlines;
    int64_t allowance_ns = (int64_t)(length / (uint64_t)deadlines->answer_bytes_rate) * CLOCK_NS_PER_SECOND;
    *outgoing = (struct outgoing){
        .bytes = head->bytes,
        .length = head->length,
        .source = response->source,
        .close = !keep_alive,
        .allowed_ns = deadlines->answer_ns + allowance_ns,
    };
    return 0;
}

bool answer_may_be_kept(struct http_server *server, const struct response *response)
{
    return response->body->length <= HTTP_UNCOUNTED_BYTES ||
           budget_has_room(&server->request_memory, response->body->length);
}

static int64_t next_deadline(const struct http_server *server, const struct outgoing *outgoing)
{
    int64_t stalled_at = clock_monotonic_ns() + server->options.deadlines.stalled_ns;
    return stalled_at < outgoing->deadline_at ? stalled_at : outgoing->deadline_at;
}

enum outgoing_result answer_try(struct http_server *server, struct connection *connection,
                                struct outgoing *outgoing)
{
    enum outgoing_result result = outgoing_send(connection->descriptor, outgoing);
    if (result == OUTGOING_WHOLE || result == OUTGOING_FAILED)
        return result;
    outgoing->deadline_at = clock_monotonic_ns() + outgoing->allowed_ns;
    connection->outgoing = outgoing_keep(outgoing, &server->request_memory);
    return connection->outgoing == NULL ? OUTGOING_FAILED : result;
}

void answer_leave_rest(struct http_server *server, struct connection *connection)
{
    connection->unsent = connection_unsent(connection);
    connection_yield(server, connection, CONNECTION_WRITING, next_deadline(server, connection->outgoing));
}

enum answer_progress answer_continue(struct http_server *server, struct connection *connection)
{
    for (;;) {
        struct outgoing *outgoing = connection->outgoing;
        switch (outgoing_send(connection->descriptor, outgoing)) {
        case OUTGOING_WHOLE:
            connection->outgoing = NULL;
            outgoing_free(outgoing);
            return ANSWER_OUT;
        case OUTGOING_IDLE: /* only of endless sources, which never get here */
        case OUTGOING_FAILED:
            connection_close(server, connection);
            return ANSWER_PENDING;
        case OUTGOING_YIELDED:
            answer_leave_rest(server, connection);
            return ANSWER_PENDING;
        case OUTGOING_BLOCKED:
            connection->unsent = connection_unsent(connection);
            if (connection_release(connection, CONNECTION_WRITING, next_deadline(server, outgoing)))
                return ANSWER_PENDING;
            break;
        }
    }
}
