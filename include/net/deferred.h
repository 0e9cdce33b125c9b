/* Requests that are answered later, by any thread, and hold none meanwhile.
 *
 * For handlers whose outcome somebody else finds out for many requests at once, such as a group commit: a thread that
 * sleeps for each of them would have to be woken for each, and replaced while it sleeps (measured with 64 publishers on 2
 * cores: two thirds of the CPU went into switching threads). The handler takes what it needs out of the request, calls
 * deferred_begin and passes the work on; whoever finishes it calls deferred_answer, exactly once. Nothing else is split:
 * what is done before and after stays a straight line.
 *
 * While it is deferred, the connection belongs to the `struct deferred`; a hang-up is only marked, as the request is
 * carried out all the same. Its owner must see to a deadline.
 */
#ifndef NET_DEFERRED_H
#define NET_DEFERRED_H

#include "net/request.h"
#include "net/response.h"

struct deferred {
    struct http_server *server;
    struct connection *connection;
    struct request request; /* for the log: of its texts only the route's path */
    int64_t started_at;
};

/* Takes the connection over. Returns 0: the request's texts are gone, the handler returns and touches neither request nor
 * response again. Or -1 without memory: the handler answers as ever. */
int deferred_begin(struct deferred *deferred, struct request *request, struct response *response);

/* Writes the answer, without blocking, and lets the connection go on. No lock may be held. The response's `after` is
 * called. */
void deferred_answer(struct deferred *deferred, struct response *response);

#endif
