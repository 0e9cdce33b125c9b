/* A request as handlers see it, and the strict reading of its head.
 *
 * The request points into the memory that the connection read into: it is valid until its handler returns, or
 * until waiting_begin (net/waiting.h), which gives that memory away. It belongs to the thread that serves it.
 *
 * Lines and fields are read here, every byte of them by RFC 9112: lines end in CRLF, a field name is a token with the
 * colon right behind it, no folding, no control characters, at most one Host, Content-Length and
 * Transfer-Encoding, and never both of the latter. http-parser, which as Debian builds it is lenient where two
 * parsers in a row could read two different things, splits the request line that has passed.
 */
#ifndef NET_REQUEST_H
#define NET_REQUEST_H

#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

struct connection;
struct worker;
struct route;

enum request_method {
    METHOD_GET = 1 << 0,
    METHOD_HEAD = 1 << 1,
    METHOD_POST = 1 << 2,
    METHOD_PUT = 1 << 3,
    METHOD_DELETE = 1 << 4,
    METHOD_PATCH = 1 << 5,
    METHOD_OPTIONS = 1 << 6,
};

/* The fields that somebody here reads. */
enum header {
    HEADER_ACCESS_CONTROL_REQUEST_METHOD,
    HEADER_AUTHORIZATION,
    HEADER_CONNECTION,
    HEADER_CONTENT_ENCODING,
    HEADER_CONTENT_LENGTH,
    HEADER_CONTENT_TYPE,
    HEADER_EXPECT,
    HEADER_HOST,
    HEADER_LAST_EVENT_ID,
    HEADER_ORIGIN,
    HEADER_SEC_FETCH_SITE,
    HEADER_TRANSFER_ENCODING,
    HEADER_COUNT,
};

enum framing { FRAMING_NONE, FRAMING_LENGTH, FRAMING_CHUNKED };

struct request {
    enum request_method method;
    unsigned minor_version; /* of HTTP/1 */
    bool keep_alive;
    struct text path;
    struct text query;
    struct text headers[HEADER_COUNT]; /* bytes == NULL: not there; the first of a repeated one */
    enum framing framing;
    uint64_t content_length;
    struct text body;
    struct text segment; /* behind the path of a route that takes one; percent-encoded */
    /* Set by the server that serves it; for net/ alone. */
    const struct route *route;
    const struct route
        *route_of_path; /* which the method may not fit: for the log, as the rest of a path is a client's */
    struct connection *connection;
    struct worker *worker;
    bool released; /* its memory has been given away (net/waiting.h) */
};

/* Why a head is refused. */
struct refusal {
    unsigned status;
    const char *reason;
};

/* Reads a whole head, up to and with its empty line, without leading empty lines; all its lines end in CRLF.
 * Fills everything of the request but its body and the last group. Returns 0, or -1 and why. */
int request_parse_head(struct request *request, struct text head, struct refusal *refusal);

/* Whether a byte may stand in a token, such as a field name (RFC 9110 section 5.6.2). */
bool request_is_token_byte(char c);

bool request_has_header(const struct request *request, enum header header);

/* Whether the client may wait for "100 Continue" before it sends its body. */
bool request_expects_continue(const struct request *request);

/* The name of a method, of which exactly one bit is set. */
const char *request_method_name(enum request_method method);

#endif
