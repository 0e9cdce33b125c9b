/* The limits and deadlines of HTTP that no option changes, in one place. Sizes in bytes, times in
 * nanoseconds.
 *
 * A server takes the deadlines as a struct, so that its tests can shorten them; http_deadlines_default is
 * what `event-syncer serve` runs with.
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
};

struct http_deadlines {
    int64_t head_ns;           /* from the first byte of a request to the end of its head */
    int64_t body_ns;           /* from there to the end of its body */
    int64_t idle_ns;           /* between two requests */
    int64_t stalled_ns;        /* a reader that takes nothing of an answer */
    int64_t answer_ns;         /* a whole answer, and in addition: */
    int64_t answer_bytes_rate; /* what a reader must take, bytes a second */
    int64_t linger_ns;         /* after an answer that ends a connection whose client may still be sending */
};

extern const struct http_deadlines http_deadlines_default;

#endif
