/* A request message while it arrives: bytes in, whole requests out.
 *
 * A message owns one run of bytes. Whoever reads from the socket appends to it (message_room,
 * message_received); message_next then says whether the bytes hold a whole request. A body by Content-Length
 * stays where it was read; a chunked one is decoded in place, so that head and body always lie in the same
 * memory. Bytes of the next, pipelined request stay behind it. The memory grows with what has come, never
 * with what was announced, and is counted in a budget that all messages share: from HTTP_UNCOUNTED_BYTES on, and from the
 * first byte where it is kept while the rest is waited for (message_move), because of those there may be very many.
 *
 * A message belongs to the owner of its connection; not locked.
 */
#ifndef NET_MESSAGE_H
#define NET_MESSAGE_H

#include "base/budget.h"
#include "base/buffer.h"
#include "net/chunked.h"
#include "net/request.h"

enum message_phase {
    MESSAGE_HEAD,  /* looking for the end of the head; to _BODY, or _WHOLE without a body */
    MESSAGE_BODY,  /* to _WHOLE with the body's last byte */
    MESSAGE_WHOLE, /* message_done takes it back to _HEAD */
};

struct message {
    struct buffer bytes;
    struct budget *budget; /* NULL: nothing is counted */
    size_t counted;        /* bytes taken from it */
    enum message_phase phase;
    size_t start;          /* of the request in bytes */
    size_t scanned;        /* from start: complete lines of the head so far */
    size_t head_length;    /* from start */
    bool after_empty_line; /* one has come; who drops an idle message keeps this in mind */
    size_t body_length;    /* of the body, decoded and kept, behind the head */
    size_t raw;            /* from start: where bytes lie that no one has looked at */
    uint64_t body_left;    /* FRAMING_LENGTH: bytes to come */
    bool discard;          /* the body is not kept, because the request will be refused */
    enum framing framing;
    struct chunked chunked;
};

enum message_result {
    MESSAGE_MORE,    /* read on */
    MESSAGE_STARTED, /* the head is whole, the body is not: `request` is valid, the body is empty (once a
                        request) */
    MESSAGE_REQUEST, /* `request` is valid until the message changes */
    MESSAGE_REFUSED, /* `refusal` says why; nothing behind it can be read */
};

#define MESSAGE_EMPTY                                                                                        \
    (struct message)                                                                                         \
    {                                                                                                        \
        .phase = MESSAGE_HEAD                                                                                \
    }

/* Looks at what has arrived. After MESSAGE_STARTED the caller says with message_expect_body how
 * much it may be and calls again. */
enum message_result message_next(struct message *message, struct request *request, struct refusal *refusal);

/* The body of the request that has just started may have at most `limit` bytes; it is dropped as it comes
 * when `discard`. */
void message_expect_body(struct message *message, uint64_t limit, bool discard);

/* Whether what has arrived of a request begins as a HEAD, whose answer, a refusal too, has no body. */
bool message_is_head_request(const struct message *message);

/* Forgets the request that MESSAGE_REQUEST gave; what follows it becomes the next. */
void message_done(struct message *message);

/* Makes room for the next bytes to read: at least one, *length of them at the place returned. NULL without
 * memory, or when the budget has no more. */
char *message_room(struct message *message, size_t *length);
void message_received(struct message *message, size_t length);

/* Whether no byte of a request has arrived; an empty line before it does not count. */
bool message_is_idle(const struct message *message);

/* Moves the unfinished request and what follows it into `to`, which is not initialized and gets memory of its own; `from`
 * becomes empty, and keeps its memory where that is small. Returns 0, or -1 without memory, and `from` is as it was. */
int message_move(struct message *from, struct message *to);

/* Forgets everything but memory of at most `kept_bytes`. */
void message_clear(struct message *message, size_t kept_bytes);

/* Frees the memory; the message is empty then, and can be used again. */
void message_free(struct message *message);

#endif
