/* The client of GET /api/events/stream. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kit_events.h"
#include "kit_internal.h"
#include "kit_sse.h"

#define RETRY_MS    2000
#define FRAME_BYTES (4 << 20) /* more than any frame has */

static int fail_with(struct kit_sse *stream, const char *problem)
{
    stream->problem = problem;
    errno = EPROTO;
    return -1;
}

/* The end has come, or an error: what that means for the stream. */
static int fail_at_end(struct kit_sse *stream, ssize_t count)
{
    if (stream->connection->used > 0 && (count == 0 || errno == ECONNRESET)) {
        stream->cut = true;
        return fail_with(stream, "the connection ended within a frame");
    }
    if (count == 0)
        errno = EPIPE;
    return -1;
}

int kit_sse_try_next(struct kit_sse *stream, int64_t deadline_at_ms, struct kit_sse_frame *frame)
{
    struct kit_connection *connection = stream->connection;
    for (;;) {
        const char *problem;
        ssize_t length = kit_sse_parse(connection->buffer == NULL ? "" : connection->buffer, connection->used,
                                       frame, &problem);
        if (length < 0)
            return fail_with(stream, problem);
        if (length > 0) {
            kit_consume(connection, (size_t)length);
            break;
        }
        if (connection->used > FRAME_BYTES)
            return fail_with(stream, "a frame without end");
        ssize_t count = kit_fill(connection, deadline_at_ms);
        if (count <= 0)
            return fail_at_end(stream, count);
    }
    if (frame->kind != KIT_SSE_EVENT)
        return 0;
    if (frame->id <= stream->last_id) {
        kit_sse_frame_clear(frame);
        return fail_with(stream, "an id that does not rise");
    }
    stream->last_id = frame->id;
    return 0;
}

int kit_sse_try_next_event(struct kit_sse *stream, int64_t deadline_at_ms, struct kit_sse_frame *frame)
{
    for (;;) {
        if (kit_sse_try_next(stream, deadline_at_ms, frame) != 0)
            return -1;
        if (frame->kind == KIT_SSE_EVENT)
            return 0;
        bool is_retry = frame->kind == KIT_SSE_RETRY;
        kit_sse_frame_clear(frame);
        if (is_retry)
            return fail_with(stream, "a second retry");
    }
}

/* What the head of an open stream lacks, or NULL. */
static const char *judge_head(const struct kit_response *head)
{
    const char *type = kit_header(head, "Content-Type");
    const char *control = kit_header(head, "Cache-Control");
    const char *buffering = kit_header(head, "X-Accel-Buffering");
    if (head->status != 200)
        return "the status is not 200";
    if (type == NULL || !kit_matches(type, "^text/event-stream(; *charset=[Uu][Tt][Ff]-8)?$"))
        return "the Content-Type is not text/event-stream";
    if (control == NULL || strcmp(control, "no-cache") != 0)
        return "the Cache-Control is not no-cache";
    if (buffering == NULL || strcmp(buffering, "no") != 0)
        return "the X-Accel-Buffering is not no";
    if (kit_header(head, "Content-Length") != NULL || kit_header(head, "Transfer-Encoding") != NULL)
        return "the body does not end with the connection";
    return NULL;
}

static int take_retry(struct kit_sse *stream, int64_t deadline_at_ms)
{
    struct kit_sse_frame frame;
    if (kit_sse_try_next(stream, deadline_at_ms, &frame) != 0)
        return -1;
    bool right = frame.kind == KIT_SSE_RETRY && frame.retry_ms == RETRY_MS;
    kit_sse_frame_clear(&frame);
    return right ? 0 : fail_with(stream, "the stream does not begin with `retry: 2000`");
}

int kit_sse_try_open(struct kit_sse *stream, struct kit_connection *connection, const char *target,
                     const char *headers, int64_t deadline_at_ms)
{
    struct kit_response head;
    *stream = (struct kit_sse){.connection = connection};
    if (kit_try_send_request(connection, "GET", target, headers, NULL, 0) != 0)
        return -1;
    /* As if asked with HEAD: what follows is not to be waited for. */
    if (kit_try_receive(connection, "HEAD", deadline_at_ms, &head) != 0)
        return -1;
    const char *problem = judge_head(&head);
    stream->status = head.status;
    kit_response_clear(&head);
    return problem != NULL ? fail_with(stream, problem) : take_retry(stream, deadline_at_ms);
}

_Noreturn static void fail_at(struct kit_sse *stream, const char *what, const char *file, int line)
{
    int problem = errno;
    bool is_malformed = problem == EPROTO && stream->problem != NULL;
    struct kit_connection *connection = stream->connection;
    kit_fail_at(connection->kit, file, line, "%s: %s; the last id was %lld; left unread: \"%.1000s\"", what,
                is_malformed       ? stream->problem
                : problem == EPIPE ? "the stream has ended"
                                   : strerror(problem),
                (long long)stream->last_id, connection->buffer == NULL ? "" : connection->buffer);
}

struct kit_sse *kit_sse_open_over_at(struct kit_server *server, struct kit_connection *connection,
                                     const char *target, const char *headers, const char *file, int line)
{
    struct kit_sse *stream = kit_allocate(kit_of(server), sizeof *stream);
    *stream = (struct kit_sse){.server = server, .connection = connection};
    kit_send_request(connection, "GET", target, headers, NULL, 0);
    stream->head = kit_receive_at(connection, "HEAD", KIT_DEADLINE_MS, file, line);
    stream->status = stream->head->status;
    const char *problem = judge_head(stream->head);
    if (problem != NULL)
        kit_fail_at(kit_of(server), file, line, "%s: %s\n%s\n\n%.1000s", target, problem, stream->head->head,
                    connection->buffer == NULL ? "" : connection->buffer);
    if (take_retry(stream, kit_deadline_at_ms(KIT_DEADLINE_MS)) != 0)
        fail_at(stream, target, file, line);
    return stream;
}

struct kit_sse *kit_sse_open_at(struct kit_server *server, const char *target, const char *headers,
                                const char *file, int line)
{
    return kit_sse_open_over_at(server, kit_connect(server), target, headers, file, line);
}

const char *kit_sse_target(struct kit_server *server, const char *user, const char *channels)
{
    return kit_format(kit_of(server), "/api/events/stream?userId=%s&channels=%s", user, channels);
}

const char *kit_sse_header(struct kit_server *server, int64_t last_id)
{
    return kit_format(kit_of(server), "Last-Event-ID: %lld\r\n", (long long)last_id);
}

/* Hands the texts over to the kit. */
static const struct kit_sse_frame *keep(struct kit *kit, struct kit_sse_frame *frame)
{
    struct kit_sse_frame *kept = kit_allocate(kit, sizeof *kept);
    *kept = *frame;
    if (frame->event != NULL)
        kept->event = kit_format(kit, "%s", frame->event);
    if (frame->data != NULL)
        kept->data = kit_format(kit, "%s", frame->data);
    if (frame->comment != NULL)
        kept->comment = kit_format(kit, "%s", frame->comment);
    kit_sse_frame_clear(frame);
    return kept;
}

const struct kit_sse_frame *kit_sse_next_at(struct kit_sse *stream, const char *file, int line)
{
    struct kit_sse_frame frame;
    if (kit_sse_try_next_event(stream, kit_deadline_at_ms(KIT_DEADLINE_MS), &frame) != 0)
        fail_at(stream, "no next event", file, line);
    return keep(stream->connection->kit, &frame);
}

const struct kit_sse_frame *kit_sse_next_frame_at(struct kit_sse *stream, int64_t milliseconds,
                                                  const char *file, int line)
{
    struct kit_sse_frame frame;
    if (kit_sse_try_next(stream, kit_deadline_at_ms(milliseconds), &frame) != 0)
        fail_at(stream, "no next frame", file, line);
    return keep(stream->connection->kit, &frame);
}

int64_t kit_sse_expect_at(struct kit_sse *stream, const char *event, const char *data, const char *file,
                          int line)
{
    const struct kit_sse_frame *frame = kit_sse_next_at(stream, file, line);
    if (strcmp(frame->event, event) != 0 || strcmp(frame->data, data) != 0)
        kit_fail_at(stream->connection->kit, file, line,
                    "the event is %lld %s %.1000s\ninstead of %s %.1000s", (long long)frame->id, frame->event,
                    frame->data, event, data);
    return frame->id;
}

int64_t kit_sse_expect_silence_at(struct kit_sse *stream, const char *channel, const char *file, int line)
{
    static int last_marker;
    struct kit *kit = stream->connection->kit;
    const char *marker = kit_format(kit, "\"marker %d\"", ++last_marker);
    kit_publish_at(stream->server, channel, "marker", marker, file, line);
    return kit_sse_expect_at(stream, "marker", marker, file, line);
}

void kit_sse_expect_end_at(struct kit_sse *stream, const char *file, int line)
{
    struct kit_sse_frame frame;
    if (kit_sse_try_next_event(stream, kit_deadline_at_ms(KIT_DEADLINE_MS), &frame) != 0) {
        if (errno != EPIPE)
            fail_at(stream, "no end of the stream", file, line);
        return;
    }
    const struct kit_sse_frame *kept = keep(stream->connection->kit, &frame);
    kit_fail_at(stream->connection->kit, file, line, "event %lld %s %.1000s instead of the end",
                (long long)kept->id, kept->event, kept->data);
}

void kit_sse_close(struct kit_sse *stream)
{
    kit_close(stream->connection);
    stream->connection = NULL;
}
