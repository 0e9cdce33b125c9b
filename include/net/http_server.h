/* The HTTP server: a listener, one shared set of connections, and a pool of workers that serve them.
 *
 * It knows no domain: what it serves is a table of routes, whose handlers get the context given here. All
 * that a handler may block in goes through pool_block (net/pool.h) or waiting_begin (net/waiting.h).
 *
 * Owners: the caller owns the options, the routes and the context, which must outlive the server. Handlers
 * run in worker threads, many at once; `admit` and `handle` must be safe for that.
 *
 * Life: http_server_create, http_server_start; then, to stop in order, http_server_stop_accepting, whatever
 * ends the waits of the domain, http_server_drain, http_server_free.
 */
#ifndef NET_HTTP_SERVER_H
#define NET_HTTP_SERVER_H

#include "base/log.h"
#include "net/limits.h"
#include "net/pool.h"
#include "net/request.h"
#include "net/response.h"

#include <stdbool.h>
#include <stdint.h>

struct http_server;

typedef void route_handler(void *context, struct request *request, struct response *response);

/* One row for everything that concerns a path and a method. */
struct route {
    enum request_method method;
    const char *path;
    route_handler *handle;
    uint64_t max_body;   /* bytes; 0: the server's own limit */
    bool open;           /* needs no token */
    bool without_head;   /* a GET that HEAD makes no sense for */
    bool token_in_query; /* takes ?access_token= too, as browsers can't set headers for it */
    bool takes_segment;  /* `path` ends in a slash, and one more segment is the request's */
};

struct http_server_options {
    const char *address; /* numeric IPv4 or IPv6 address */
    uint16_t port;       /* 0: any free one */
    unsigned ready;      /* see net/pool.h, as the next two */
    unsigned threads;
    unsigned max_threads;
    unsigned max_connections;
    uint64_t max_body;
    uint64_t
        max_request_memory; /* bytes of requests that are not whole, bodies, and answers that clients have yet to take */
    struct http_deadlines deadlines;
    bool access_log;
    struct text common_headers; /* lines with CRLF that every answer carries */
    const struct route *routes;
    size_t route_count;
    /* Judges a request before its route is looked up. `route` is NULL for a path that there is none for.
     * Returns true to go on; false when it has filled the response. */
    bool (*admit)(void *context, const struct request *request, const struct route *route,
                  struct response *response);
    void *context;
    const struct log *log;
};

struct connection_counts {
    unsigned open;
    unsigned max;
};

/* Listens and starts the workers, but accepts nothing yet. Returns NULL with errno; EADDRINUSE: the port is
 * taken. */
struct http_server *http_server_create(const struct http_server_options *options);

/* Begins to accept. Returns 0, or -1 with errno. */
int http_server_start(struct http_server *server);

/* The port that it listens on. */
uint16_t http_server_port(const struct http_server *server);

struct pool *http_server_pool(struct http_server *server);
struct connection_counts http_server_connections(struct http_server *server);

/* Bytes in use of max_request_memory. */
uint64_t http_server_request_memory(struct http_server *server);

/* Takes no more connections. Those that are open are answered what they have asked and then closed. */
void http_server_stop_accepting(struct http_server *server);

/* Waits until all connections are closed; cuts those that are left at `deadline_at` (CLOCK_MONOTONIC). */
void http_server_drain(struct http_server *server, int64_t deadline_at);

/* Ends all threads and frees everything. No connection is left after http_server_drain. Takes NULL. */
void http_server_free(struct http_server *server);

#endif
