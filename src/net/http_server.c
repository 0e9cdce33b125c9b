#include "net/http_server.h"

#include "net/connection_internal.h"

#include "base/sync.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    STACK_BYTES = 256 * 1024, /* address space; what a thread does not touch costs nothing */
    CUT_GRACE_SECONDS = 1,
};

static void ring(int descriptor)
{
    uint64_t one = 1;
    while (write(descriptor, &one, sizeof one) < 0 && errno == EINTR)
        continue;
}

static void wake(void *context)
{
    struct http_server *server = context;
    ring(server->wake_descriptor);
}

static void wake_all(void *context)
{
    struct http_server *server = context;
    ring(server->stop_descriptor);
}

static int watch_control(struct http_server *server, int descriptor, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.u64 = CONTROL_SLOT};
    return epoll_ctl(server->epoll_descriptor, EPOLL_CTL_ADD, descriptor, &event);
}

static int open_descriptors(struct http_server *server)
{
    server->epoll_descriptor = epoll_create1(EPOLL_CLOEXEC);
    server->wake_descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    server->stop_descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (server->epoll_descriptor < 0 || server->wake_descriptor < 0 || server->stop_descriptor < 0)
        return -1;
    if (watch_control(server, server->wake_descriptor, EPOLLIN | EPOLLET) != 0 ||
        watch_control(server, server->stop_descriptor, EPOLLIN) != 0)
        return -1;
    return listener_open(server);
}

static void close_descriptor(int descriptor)
{
    if (descriptor >= 0)
        close(descriptor);
}

static int start_threads(struct http_server *server)
{
    struct pool_options pool_options = {
        .ready = server->options.ready,
        .threads = server->options.threads,
        .max_threads = server->options.max_threads,
        .stack_bytes = STACK_BYTES,
        .work = worker_run,
        .wake = wake,
        .wake_all = wake_all,
        .context = server,
        .log = server->options.log,
    };
    server->pool = pool_create(&pool_options);
    if (server->pool == NULL)
        return -1;
    server->timekeeper = periodic_start("timekeeper", timekeeper_round, server);
    return server->timekeeper == NULL ? -1 : 0;
}

struct http_server *http_server_create(const struct http_server_options *options)
{
    struct http_server *server = calloc(1, sizeof *server);
    if (server == NULL)
        return NULL;
    server->options = *options;
    budget_init(&server->request_memory, options->max_request_memory);
    server->listen_descriptor = server->epoll_descriptor = -1;
    server->wake_descriptor = server->stop_descriptor = server->accept_stop_descriptor = -1;
    if (connections_create(server) != 0) {
        free(server);
        return NULL;
    }
    if (open_descriptors(server) != 0 || start_threads(server) != 0) {
        int error = errno;
        http_server_free(server);
        errno = error;
        return NULL;
    }
    return server;
}

int http_server_start(struct http_server *server)
{
    return listener_start(server);
}

uint16_t http_server_port(const struct http_server *server)
{
    return server->port;
}

struct pool *http_server_pool(struct http_server *server)
{
    return server->pool;
}

struct connection_counts http_server_connections(struct http_server *server)
{
    pthread_mutex_lock(&server->slots_mutex);
    struct connection_counts counts = {.open = server->open_count, .max = server->options.max_connections};
    pthread_mutex_unlock(&server->slots_mutex);
    return counts;
}

uint64_t http_server_request_memory(struct http_server *server)
{
    return budget_used(&server->request_memory);
}

/* Has a connection looked at that may have nothing more to say; one that is in somebody's hands is looked at
 * when they let go of it. */
static void look_again(void *context, struct connection *connection)
{
    bool streaming = connection->state == CONNECTION_STREAMING;
    if (streaming && connection->outgoing->source.ends)
        return; /* it goes on to its end */
    if (streaming && connection->deadline_at != INT64_MAX)
        shutdown(connection->descriptor, SHUT_RDWR); /* it waits for a client that takes nothing */
    else if (connection->state == CONNECTION_PARKED || streaming)
        connection_poke_locked(context, connection);
    else
        connection->events |= EPOLLOUT;
}

void http_server_stop_accepting(struct http_server *server)
{
    listener_stop(server);
    atomic_store(&server->stopping, true);
    connections_each(server, look_again, server);
}

static void cut(void *context, struct connection *connection)
{
    (void)context;
    shutdown(connection->descriptor, SHUT_RDWR);
}

static unsigned wait_until_closed(struct http_server *server, int64_t deadline_at)
{
    bool in_time = true;
    pthread_mutex_lock(&server->slots_mutex);
    while (server->open_count > 0 && in_time)
        in_time = sync_wait_until(&server->all_closed, &server->slots_mutex, deadline_at);
    unsigned left = server->open_count;
    pthread_mutex_unlock(&server->slots_mutex);
    return left;
}

void http_server_drain(struct http_server *server, int64_t deadline_at)
{
    unsigned left = wait_until_closed(server, deadline_at);
    if (left == 0)
        return;
    log_warn(server->options.log, "cutting connections that take too long connections=%u", left);
    connections_each(server, cut, NULL);
    wait_until_closed(server, clock_monotonic_ns() + CUT_GRACE_SECONDS * CLOCK_NS_PER_SECOND);
}

void http_server_free(struct http_server *server)
{
    if (server == NULL)
        return;
    listener_stop(server);
    periodic_stop(server->timekeeper);
    pool_free(server->pool);
    connections_destroy(server);
    close_descriptor(server->epoll_descriptor);
    close_descriptor(server->wake_descriptor);
    close_descriptor(server->stop_descriptor);
    free(server);
}
