/* Answers: from a response to bytes in the socket. */
#include "net/connection_internal.h"

int answer_prepare(const struct http_server *server, const struct response *response, unsigned minor_version,
                   bool keep_alive, struct buffer *head, struct outgoing *outgoing)
{
    uint64_t length = response->source.operations != NULL ? response->source.length : response->body->length;
    int64_t wall_s = clock_wall_coarse_s();
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
