/*
 * A strict parser of text/event-stream and a client of GET /api/events/stream over the kit's sockets.
 *
 * Strict: a stream may hold only what the contract lets a server write, which is less than the grammar of the
 * HTML standard lets a browser take. Lines end in LF. A frame is one of
 *     id: 12 / event: TYPE / data: {...} / (blank line)       in this order, each once
 *     : comment / (blank line)
 *     retry: 2000 / (blank line)
 * Everything else is a problem: another field, a second or a missing one (as when a blank line is missing), a
 * field without exactly one blank behind its colon, CR, NUL, a byte order mark, bytes that aren't UTF-8, an
 * empty line between frames, ids that don't rise, and a connection that ends within a frame.
 *
 * As in kit.h, kit_sse_try_... and kit_sse_parse() report failure to the caller and may be used by any thread
 * (one at a time for a stream); the others fail the test and belong to its own thread.
 */
#ifndef KIT_SSE_H
#define KIT_SSE_H

#include "kit.h"

enum kit_sse_kind { KIT_SSE_EVENT, KIT_SSE_COMMENT, KIT_SSE_RETRY };

struct kit_sse_frame {
    enum kit_sse_kind kind;
    int64_t id;       /* of an event */
    char *event;      /* its type */
    char *data;       /* the payload */
    char *comment;    /* without ": " */
    int64_t retry_ms; /* of KIT_SSE_RETRY */
};

/* Takes the first frame of `bytes`: the count of its bytes, blank line included, and *frame, which
 * kit_sse_frame_clear() frees; 0 when it is not there whole; -1 and *problem when it is malformed. */
ssize_t kit_sse_parse(const char *bytes, size_t length, struct kit_sse_frame *frame, const char **problem);
void kit_sse_frame_clear(struct kit_sse_frame *frame);
/* Well-formed UTF-8 as Unicode defines it: nothing overlong, no surrogate, nothing above U+10FFFF. */
bool kit_is_utf8(const char *bytes, size_t length);

struct kit_sse {
    struct kit_server *server;         /* NULL: opened by a kit_sse_try_open() */
    struct kit_connection *connection; /* the kit's own, like every connection */
    const struct kit_response *head;   /* status and headers; NULL after kit_sse_try_open() */
    int status;
    int64_t last_id;     /* of the last event taken; 0: none yet */
    const char *problem; /* what was wrong, after errno EPROTO */
    bool cut;            /* the connection has ended within a frame */
};

/* ---- for any thread ---- */

/* Sends GET `target` with `headers` (NULL, or lines that each end in \r\n) and reads up to the frame
 * `retry: 2000`: 0; or -1 with errno, EPROTO with stream->problem also for a status other than 200
 * (stream->status). The connection stays the caller's in each case. */
int kit_sse_try_open(struct kit_sse *stream, struct kit_connection *connection, const char *target,
                     const char *headers, int64_t deadline_at_ms);
/* The next frame, which kit_sse_frame_clear() frees: 0; or -1 with errno: ETIMEDOUT, EPIPE (ended between
 * frames), ECONNRESET, EPROTO (stream->problem says what is wrong; stream->cut: only the end came early). */
int kit_sse_try_next(struct kit_sse *stream, int64_t deadline_at_ms, struct kit_sse_frame *frame);
/* The same for the next event: comments are passed over. */
int kit_sse_try_next_event(struct kit_sse *stream, int64_t deadline_at_ms, struct kit_sse_frame *frame);

/* ---- for the test's own thread ---- */

/* Opens a stream, which must get 200, the headers of the contract and `retry: 2000`. `user` and `channels`
 * are sent as they are, percent-encoded where they need it. */
#define kit_sse_open(server, user, channels)                                                                 \
    kit_sse_open_at(server, kit_sse_target(server, user, channels), NULL, __FILE__, __LINE__)
/* The same with `Last-Event-ID: last_id`. */
#define kit_sse_resume(server, user, channels, last_id)                                                      \
    kit_sse_open_at(server, kit_sse_target(server, user, channels), kit_sse_header(server, last_id),         \
                    __FILE__, __LINE__)
/* The same for any target and any headers. */
#define kit_sse_open_target(server, target, headers)                                                         \
    kit_sse_open_at(server, target, headers, __FILE__, __LINE__)
/* The same over a connection that the test has opened. */
#define kit_sse_open_over(server, connection, target, headers)                                               \
    kit_sse_open_over_at(server, connection, target, headers, __FILE__, __LINE__)
struct kit_sse *kit_sse_open_at(struct kit_server *server, const char *target, const char *headers,
                                const char *file, int line);
struct kit_sse *kit_sse_open_over_at(struct kit_server *server, struct kit_connection *connection,
                                     const char *target, const char *headers, const char *file, int line);
const char *kit_sse_target(struct kit_server *server, const char *user, const char *channels);
const char *kit_sse_header(struct kit_server *server, int64_t last_id);

/* The next event, heartbeats passed over; it lives as long as the kit. */
#define kit_sse_next(stream) kit_sse_next_at(stream, __FILE__, __LINE__)
const struct kit_sse_frame *kit_sse_next_at(struct kit_sse *stream, const char *file, int line);
/* The next frame of any kind, which must arrive within `milliseconds`. */
#define kit_sse_next_frame(stream, milliseconds)                                                             \
    kit_sse_next_frame_at(stream, milliseconds, __FILE__, __LINE__)
const struct kit_sse_frame *kit_sse_next_frame_at(struct kit_sse *stream, int64_t milliseconds,
                                                  const char *file, int line);
/* The next event has exactly this type and this data; its id. */
#define kit_sse_expect(stream, event, data) kit_sse_expect_at(stream, event, data, __FILE__, __LINE__)
int64_t kit_sse_expect_at(struct kit_sse *stream, const char *event, const char *data, const char *file,
                          int line);
/* The stream has been sent no event that the test has not taken: publishes a marker to `channel`, which the
 * stream must be open for, and the marker is what comes next. The marker's id. */
#define kit_sse_expect_silence(stream, channel) kit_sse_expect_silence_at(stream, channel, __FILE__, __LINE__)
int64_t kit_sse_expect_silence_at(struct kit_sse *stream, const char *channel, const char *file, int line);
/* The server ends the connection now, between frames and after no further event. */
#define kit_sse_expect_end(stream) kit_sse_expect_end_at(stream, __FILE__, __LINE__)
void kit_sse_expect_end_at(struct kit_sse *stream, const char *file, int line);
/* Ends the connection with FIN. The stream is not to be used any more. */
void kit_sse_close(struct kit_sse *stream);

#endif
