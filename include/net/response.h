/* A response as handlers fill it. Only the server writes to the socket.
 *
 * A handler appends its body to `body` (memory of the worker's, empty at the start), or sets `source`, from
 * which the body is sent in pieces without a copy. An endless source may be preceded by a `body`. It belongs to the thread that serves the request.
 */
#ifndef NET_RESPONSE_H
#define NET_RESPONSE_H

#include "base/buffer.h"
#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

/* A body that comes in pieces. The source's memory is its own; it must stay what it is until `close`. */
struct body_source {
    const struct body_source_operations *operations; /* NULL: there is none */
    void *state;
    uint64_t length; /* in all; 0 of an endless one */
    bool endless;    /* no length; the body ends with the connection (net/streaming.h) */
    bool ends;       /* of an endless one: by itself, so that a stop of the server waits for it */
};

/* What an endless body says when it has nothing to fill with. */
enum body_more {
    BODY_MORE, /* now it has */
    BODY_IDLE, /* somebody will wake it */
    BODY_END,  /* that was all: the connection is closed */
};

struct worker;

struct body_source_operations {
    /* Points at most `count` vectors to the next bytes that are still to be sent, and returns how many it
     * filled. */
    int (*fill)(void *state, struct iovec *vectors, int count);
    /* `length` of those bytes have been taken by the network. */
    void (*advance)(void *state, size_t length);
    /* The end: either all bytes were handed to the network (`whole`), or no more will be. Called once, under
     * no lock. */
    void (*close)(void *state, bool whole);
    /* Of endless bodies: called when `fill` had nothing. It may block (net/blocking.h) when `worker` is not NULL, and must
     * not when it is. */
    enum body_more (*more)(void *state, struct worker *worker);
};

enum response_kind {
    RESPONSE_ANSWER,    /* to be written */
    RESPONSE_WRITTEN,   /* somebody else has written it whole (net/waiting.h) */
    RESPONSE_ELSEWHERE, /* somebody else has begun to write it; the connection is out of our hands */
    RESPONSE_DEFERRED,  /* somebody else will write it (net/deferred.h) */
    RESPONSE_HANG_UP,   /* nobody is there to answer to */
};

struct response {
    enum response_kind kind;
    unsigned status;
    const char *content_type;
    struct buffer *body;
    struct buffer *headers; /* further header lines, each with its CRLF */
    struct body_source source;
    bool close;          /* end the connection after the answer */
    bool without_body;   /* HEAD: the headers as if there were one */
    bool safe;           /* the request's method changes nothing (RFC 9110 section 9.2.1) */
    bool refused;        /* nothing was changed; said by response_error */
    bool out_of_memory;  /* a refusal that the log should tell of */
    uint64_t sent_bytes; /* RESPONSE_WRITTEN and _ELSEWHERE: of the body, for the access log */
    /* Called after the first try to write the answer, if set. */
    void (*after)(void *context);
    void *after_context;
    bool after_is_long; /* it takes longer than a few answers do */
};

/* Sets the status and the type of a JSON answer, whose text the caller appends to response->body. */
void response_json(struct response *response, unsigned status);

/* An answer {"error":"..."}; what the body held is dropped. 401 gets its WWW-Authenticate, 503 its
 * Retry-After. It is a refusal, unless the message begins with "outcome unknown". */
void response_error(struct response *response, unsigned status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* 503, and the log says that there is no memory, but not each time. */
void response_out_of_memory(struct response *response);

/* Appends one header line. */
void response_header(struct response *response, const char *name, struct text value);

/* Appends status line and headers for a body of `length` bytes to `head`. `wall_s` is now; `keep_alive`
 * whether the connection stays; `common` are header lines that every answer has. */
void response_write_head(const struct response *response, uint64_t length, int64_t wall_s,
                         unsigned minor_version, bool keep_alive, struct text common, struct buffer *head);

#endif
