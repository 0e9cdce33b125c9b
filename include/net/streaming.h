/* Answers without an end: a body that goes on as long as client and server want, and holds no thread.
 *
 * A handler sets response->source with `endless`; from then on the connection belongs to nobody, until somebody has
 * something for it. Who puts something into the source calls streaming_wake, which writes it at once, without blocking,
 * in the calling thread, or leaves a mark when another thread is at it. What the socket does not take goes on when it
 * takes more. The source is closed when the client hangs up, when it ends itself, when nothing was taken for the time
 * that is allowed to any reader, and when the server stops.
 *
 * A token names the connection of a request for ever: once that is closed, it names nothing, and waking it does nothing.
 */
#ifndef NET_STREAMING_H
#define NET_STREAMING_H

#include "base/budget.h"
#include "net/http_server.h"

/* The token of the connection that a request came over. */
uint64_t streaming_token(const struct request *request);

/* What the memory of answers on their way out is counted in, for sources that hold some. */
struct budget *streaming_budget(const struct request *request);

/* Writes what the source has. Any thread, no lock held; does not block. */
void streaming_wake(struct http_server *server, uint64_t token);

/* The same by some worker, which may block in the source's `more`. */
void streaming_resume(struct http_server *server, uint64_t token);

#endif
