/* Requests that wait for somebody else's answer.
 *
 * A handler that finds nothing to answer calls waiting_begin and then blocks on a condition variable of its
 * own, in a blocking section of the pool. Meanwhile any thread may answer for it with waiting_answer. A
 * hang-up of the client calls `interrupt`. While it waits, a request holds no read buffer: its strings are
 * gone.
 *
 * `struct waiting` lives on the stack of the thread that waits, between waiting_begin and waiting_end.
 * Whoever calls waiting_answer must be sure that it still exists; the store is, because a waiter that was
 * given a batch waits for the outcome of the delivery.
 *
 * Locks: the connection's mutex (see net/connection_internal.h); `interrupt` is called with it held and may
 * take leaf locks only. Nothing is written under it.
 */
#ifndef NET_WAITING_H
#define NET_WAITING_H

#include "net/request.h"
#include "net/response.h"

enum waiting_start {
    WAITING_STARTED,
    WAITING_NO_THREAD, /* no thread may be spent on it */
    WAITING_NO_MEMORY, /* what the client sent behind the request is lost: the connection must end */
    WAITING_HUNG_UP,   /* the client is gone already */
};

enum waiting_result {
    WAITING_UNANSWERED,
    WAITING_WRITTEN,   /* the network has taken the whole answer */
    WAITING_ELSEWHERE, /* the answer has begun; the server finishes it */
    WAITING_GONE,      /* nobody is there; the response's source has not been closed */
};

struct waiting {
    struct connection *connection;
    struct http_server *server;
    unsigned minor_version;
    bool keep_alive;
    enum waiting_result result; /* of waiting_answer */
    void (*interrupt)(void *context);
    void *context;
};

/* Turns the request into one that waits. For WAITING_STARTED, waiting_end must follow. */
enum waiting_start waiting_begin(struct waiting *waiting, struct request *request,
                                 void (*interrupt)(void *context), void *context);

/* Writes `response` to the client that waits, unless it has gone. Any thread, once for each wait, under no
 * lock. */
enum waiting_result waiting_answer(struct waiting *waiting, struct response *response);

/* Ends the wait, in the thread that began it, whether it was answered or not. Returns false when the client
 * has hung up meanwhile: it must not be given anything then. */
bool waiting_end(struct waiting *waiting);

#endif
