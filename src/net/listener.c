/* The listener: a thread that accepts connections and puts them into the set.
 *
 * At the limit of connections a new one is told so and closed. When the system has no descriptor left, new
 * connections wait in the backlog until there is one again. The log tells of both, but not of each connection.
 */
#include "net/connection_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BACKLOG = 4096,
    SHORTAGE_PAUSE_MS = 100,
    KEEPALIVE_PROBES = 3,
    KEEPALIVE_PART = 3, /* of the time that a silent client has, for the probes; see net/limits.h */
};

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static socklen_t parse_address(const struct http_server_options *options, union address *address)
{
    memset(address, 0, sizeof *address);
    if (inet_pton(AF_INET, options->address, &address->v4.sin_addr) == 1) {
        address->v4.sin_family = AF_INET;
        address->v4.sin_port = htons(options->port);
        return sizeof address->v4;
    }
    if (inet_pton(AF_INET6, options->address, &address->v6.sin6_addr) == 1) {
        address->v6.sin6_family = AF_INET6;
        address->v6.sin6_port = htons(options->port);
        return sizeof address->v6;
    }
    errno = EINVAL;
    return 0;
}

/* Accepted sockets inherit these from the listening one. */
static void set_options(int descriptor, int64_t peer_ns)
{
    int peer_s = (int)(peer_ns / CLOCK_NS_PER_SECOND);
    int interval_s = peer_s / (KEEPALIVE_PART * KEEPALIVE_PROBES);
    if (interval_s == 0)
        interval_s = 1;
    const struct {
        int level, name, value;
    } options[] = {
        {SOL_SOCKET, SO_REUSEADDR, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, peer_s - KEEPALIVE_PROBES * interval_s},
        {IPPROTO_TCP, TCP_KEEPINTVL, interval_s},
        {IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES},
        /* The kernel counts by it instead of by the probes. */
        {IPPROTO_TCP, TCP_USER_TIMEOUT, peer_s * 1000},
    };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        setsockopt(descriptor, options[i].level, options[i].name, &options[i].value, sizeof options[i].value);
}

static int find_port(struct http_server *server)
{
    union address address = {.any = {.sa_family = AF_UNSPEC}};
    socklen_t length = sizeof address;
    if (getsockname(server->listen_descriptor, &address.any, &length) != 0)
        return -1;
    server->port = ntohs(address.any.sa_family == AF_INET ? address.v4.sin_port : address.v6.sin6_port);
    return 0;
}

int listener_open(struct http_server *server)
{
    union address address;
    socklen_t length = parse_address(&server->options, &address);
    if (length == 0)
        return -1;
    int descriptor = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0)
        return -1;
    server->listen_descriptor = descriptor;
    set_options(descriptor, server->options.deadlines.peer_ns);
    if (bind(descriptor, &address.any, length) != 0 || listen(descriptor, BACKLOG) != 0 ||
        find_port(server) != 0)
        return -1;
    return 0;
}

static void turn_away(struct http_server *server, int descriptor)
{
    static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
                                 "Content-Length: 32\r\nConnection: close\r\nRetry-After: 1\r\n\r\n"
                                 "{\"error\":\"too many connections\"}";
    char dropped[4096];
    log_limited(server->options.log, &server->turned_away, LOG_LEVEL_WARN,
                "new connections are turned away with 503: raise --max-connections connections=%u",
                server->options.max_connections);
    send(descriptor, answer, sizeof answer - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    shutdown(descriptor, SHUT_WR);
    /* What the client has sent already would turn the close into a reset. */
    while (recv(descriptor, dropped, sizeof dropped, MSG_DONTWAIT) > 0)
        continue;
    close(descriptor);
}

static bool is_shortage(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

/* Waits for a connection, or after a shortage for a while. Returns false when the listener should end. */
static bool wait_for_connection(struct http_server *server, bool shortage)
{
    struct pollfd look[] = {
        {.fd = server->accept_stop_descriptor, .events = POLLIN},
        {.fd = server->listen_descriptor, .events = POLLIN},
    };
    nfds_t count = shortage ? 1 : 2;
    while (poll(look, count, shortage ? SHORTAGE_PAUSE_MS : -1) < 0 && errno == EINTR)
        continue;
    return (look[0].revents & POLLIN) == 0;
}

static void *listener_main(void *context)
{
    struct http_server *server = context;
    bool shortage = false;
    while (wait_for_connection(server, shortage)) {
        int descriptor = accept4(server->listen_descriptor, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (descriptor >= 0) {
            shortage = false;
            if (connection_open(server, descriptor) != 0)
                turn_away(server, descriptor);
        } else if (is_shortage(errno)) {
            log_limited(server->options.log, &server->descriptor_shortage, LOG_LEVEL_WARN,
                        "new connections have to wait: raise the limit of open files (ulimit -n) or lower "
                        "--max-connections error=\"%s\"",
                        strerror(errno));
            shortage = true;
        }
    }
    return NULL;
}

int listener_start(struct http_server *server)
{
    server->accept_stop_descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (server->accept_stop_descriptor < 0)
        return -1;
    errno = pthread_create(&server->listener, NULL, listener_main, server);
    if (errno != 0)
        return -1;
    pthread_setname_np(server->listener, "listener");
    server->listener_runs = true;
    return 0;
}

void listener_stop(struct http_server *server)
{
    if (server->listener_runs) {
        uint64_t one = 1;
        while (write(server->accept_stop_descriptor, &one, sizeof one) < 0 && errno == EINTR)
            continue;
        pthread_join(server->listener, NULL);
        server->listener_runs = false;
    }
    if (server->accept_stop_descriptor >= 0)
        close(server->accept_stop_descriptor);
    if (server->listen_descriptor >= 0)
        close(server->listen_descriptor);
    server->accept_stop_descriptor = -1;
    server->listen_descriptor = -1;
}
