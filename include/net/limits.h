/* The limits and deadlines of HTTP, in one place. Sizes in bytes, times in nanoseconds.
 *
 * No option changes the limits. A server takes the deadlines as a struct; http_deadlines_default is what `event-syncer
 * serve` runs with where its options (--head-timeout and the like) say nothing else.
 *
 * A client that vanishes without a word (a cable, a power cut, a lost mobile network) sends neither FIN nor RST, so only
 * the network can tell. `peer_ns` is how long it may be silent:
 *   - when nothing is under way (a request that waits, an idle connection), TCP asks three times in the last third of
 *     that time (SO_KEEPALIVE, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT);
 *   - when something is under way, it must be acknowledged within that time (TCP_USER_TIMEOUT, RFC 5482; for Linux, also
 *     how long the window of a reader may stay shut). So a stream is noticed one heartbeat and that time after the last
 *     sign of life.
 * Then the connection ends as by a reset: who waits consumes nothing, and a batch that was not handed over whole goes back.
 */
#ifndef NET_LIMITS_H
#define NET_LIMITS_H

#include "base/clock.h"

#include <stdint.h>

enum {
    HTTP_REQUEST_LINE_BYTES = 8 * 1024, /* more: 414 */
    HTTP_HEAD_BYTES = 16 * 1024,        /* request line and headers; more: 431 */
    HTTP_HEADER_COUNT = 100,            /* more: 431 */
    HTTP_CHUNK_EXTRA_BYTES = 8 * 1024,  /* extensions and trailers of one chunked body */
    HTTP_UNCOUNTED_BYTES =
        64 * 1024,               /* of the request that a worker is at; more is counted (net/message.h) */
    HTTP_REQUESTS_IN_A_ROW = 64, /* of one connection, then others come first */
    HTTP_BYTES_IN_A_ROW = 1024 * 1024, /* of one answer, then others come first */
    HTTP_RETRY_AFTER_SECONDS = 1,
    HTTP_LEAST_PEER_SECONDS = 4, /* TCP counts in seconds */
};

struct http_deadlines {
    int64_t head_ns;           /* from the first byte of a request to the end of its head */
    int64_t body_ns;           /* from there to the end of its body */
    int64_t idle_ns;           /* between two requests */
    int64_t stalled_ns;        /* a reader that takes nothing of an answer */
    int64_t answer_ns;         /* a whole answer, and in addition: */
    int64_t answer_bytes_rate; /* what a reader must take, bytes a second */
    int64_t linger_ns;         /* after an answer that ends a connection whose client may still be sending */
    int64_t
        peer_ns; /* a client that has vanished from the network; whole seconds, HTTP_LEAST_PEER_SECONDS or more */
};

extern const struct http_deadlines http_deadlines_default;

#endif
