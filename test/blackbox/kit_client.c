/* Plain sockets with deadlines. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kit_internal.h"

#define READ_BYTES 65536

bool kit_poll(int descriptor, short events, int64_t deadline_at_ms)
{
    for (;;) {
        int64_t left_ms = deadline_at_ms - kit_now_ms();
        struct pollfd entry = {.fd = descriptor, .events = events};
        int ready = poll(&entry, 1, left_ms > 0 ? (int)left_ms : 0);
        if (ready > 0)
            return true;
        if (ready == 0 && left_ms <= 0) {
            errno = ETIMEDOUT;
            return false;
        }
        if (ready < 0 && errno != EINTR)
            return false;
    }
}

static struct kit_connection *connection_new(struct kit *kit, int descriptor)
{
    struct kit_connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL) {
        close(descriptor);
        return NULL;
    }
    connection->kit = kit;
    connection->socket = descriptor;
    pthread_mutex_lock(&kit->mutex);
    LIST_INSERT_HEAD(&kit->connections, connection, link);
    pthread_mutex_unlock(&kit->mutex);
    return connection;
}

void kit_connection_free(struct kit_connection *connection)
{
    pthread_mutex_lock(&connection->kit->mutex);
    LIST_REMOVE(connection, link);
    pthread_mutex_unlock(&connection->kit->mutex);
    close(connection->socket);
    free(connection->buffer);
    free(connection);
}

/* connect(2) with a deadline; the socket stays non-blocking. */
static int connect_in_time(int descriptor, const struct addrinfo *address)
{
    if (connect(descriptor, address->ai_addr, address->ai_addrlen) == 0)
        return 0;
    if (errno != EINPROGRESS || !kit_poll(descriptor, POLLOUT, kit_deadline_at_ms(KIT_DEADLINE_MS)))
        return -1;
    int problem = 0;
    socklen_t length = sizeof problem;
    getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &problem, &length);
    errno = problem;
    return problem == 0 ? 0 : -1;
}

static struct kit_connection *open_connection(struct kit *kit, const char *address, int port,
                                              int receive_buffer)
{
    char service[16];
    struct addrinfo wanted = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found;
    snprintf(service, sizeof service, "%d", port);
    if (getaddrinfo(address, service, &wanted, &found) != 0) {
        errno = EINVAL;
        return NULL;
    }
    int descriptor = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* Before connecting: the window is agreed on then. */
    if (descriptor >= 0 && receive_buffer > 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    /* What a test sends in pieces must leave in pieces, each at once. */
    int at_once = 1;
    if (descriptor >= 0)
        setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof at_once);
    bool connected = descriptor >= 0 && connect_in_time(descriptor, found) == 0;
    freeaddrinfo(found);
    if (connected)
        return connection_new(kit, descriptor);
    if (descriptor >= 0) {
        int problem = errno;
        close(descriptor);
        errno = problem;
    }
    return NULL;
}

struct kit_connection *kit_try_connect_to(struct kit *kit, const char *address, int port)
{
    return open_connection(kit, address, port, 0);
}

struct kit_connection *kit_try_connect(struct kit_server *server)
{
    return open_connection(server->kit, "127.0.0.1", server->port, 0);
}

struct kit_connection *kit_connect_small(struct kit_server *server, int receive_buffer)
{
    struct kit_connection *connection =
        open_connection(server->kit, "127.0.0.1", server->port, receive_buffer);
    if (connection == NULL)
        kit_fail(server->kit, "connect: %s", strerror(errno));
    return connection;
}

struct kit_connection *kit_connect(struct kit_server *server)
{
    return kit_connect_small(server, 0);
}

int kit_try_send(struct kit_connection *connection, const void *bytes, size_t length)
{
    const char *next = bytes;
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
    while (length > 0) {
        ssize_t sent = send(connection->socket, next, length, MSG_NOSIGNAL);
        if (sent > 0) {
            next += sent;
            length -= (size_t)sent;
            deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
        } else if (errno == EAGAIN) {
            if (!kit_poll(connection->socket, POLLOUT, deadline_at_ms))
                return -1;
        } else if (errno != EINTR) {
            return -1;
        }
    }
    return 0;
}

void kit_send(struct kit_connection *connection, const void *bytes, size_t length)
{
    if (kit_try_send(connection, bytes, length) != 0)
        kit_fail(connection->kit, "send: %s", strerror(errno));
}

void kit_send_text(struct kit_connection *connection, const char *text)
{
    kit_send(connection, text, strlen(text));
}

void kit_shutdown_sending(struct kit_connection *connection)
{
    shutdown(connection->socket, SHUT_WR);
}

void kit_close(struct kit_connection *connection)
{
    kit_connection_free(connection);
}

void kit_reset(struct kit_connection *connection)
{
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(connection->socket, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    kit_connection_free(connection);
}

static ssize_t receive_some(struct kit_connection *connection, void *bytes, size_t length,
                            int64_t deadline_at_ms)
{
    for (;;) {
        ssize_t count = recv(connection->socket, bytes, length, 0);
        if (count >= 0 || (errno != EAGAIN && errno != EINTR))
            return count;
        if (!kit_poll(connection->socket, POLLIN, deadline_at_ms))
            return -1;
    }
}

ssize_t kit_fill(struct kit_connection *connection, int64_t deadline_at_ms)
{
    if (connection->capacity - connection->used < READ_BYTES + 1) {
        size_t capacity = connection->capacity * 2 + READ_BYTES * 2;
        char *larger = realloc(connection->buffer, capacity);
        if (larger == NULL)
            return -1;
        connection->buffer = larger;
        connection->capacity = capacity;
    }
    ssize_t count =
        receive_some(connection, connection->buffer + connection->used, READ_BYTES, deadline_at_ms);
    if (count > 0)
        connection->used += (size_t)count;
    connection->buffer[connection->used] = '\0';
    return count;
}

void kit_consume(struct kit_connection *connection, size_t length)
{
    connection->used -= length;
    memmove(connection->buffer, connection->buffer + length, connection->used + 1);
}

ssize_t kit_try_read(struct kit_connection *connection, void *bytes, size_t length)
{
    size_t buffered = connection->used < length ? connection->used : length;
    if (buffered == 0)
        return receive_some(connection, bytes, length, kit_deadline_at_ms(KIT_DEADLINE_MS));
    memcpy(bytes, connection->buffer, buffered);
    kit_consume(connection, buffered);
    return (ssize_t)buffered;
}

bool kit_has_input(struct kit_connection *connection)
{
    return connection->used > 0 || kit_poll(connection->socket, POLLIN, kit_now_ms());
}

const char *kit_read_to_end(struct kit_connection *connection)
{
    ssize_t count;
    while ((count = kit_fill(connection, kit_deadline_at_ms(KIT_DEADLINE_MS))) > 0)
        ;
    if (count < 0 && errno != ECONNRESET)
        kit_fail(connection->kit, "no end of the connection: %s", strerror(errno));
    return kit_format(connection->kit, "%s", connection->buffer);
}

void kit_expect_end_at(struct kit_connection *connection, const char *file, int line)
{
    ssize_t count = connection->used > 0 ? (ssize_t)connection->used
                                         : kit_fill(connection, kit_deadline_at_ms(KIT_DEADLINE_MS));
    if (count > 0)
        kit_fail_at(connection->kit, file, line, "bytes instead of the end of the connection: %.1000s",
                    connection->buffer);
    if (count < 0 && errno != ECONNRESET)
        kit_fail_at(connection->kit, file, line, "no end of the connection: %s", strerror(errno));
}

void kit_expect_silence_at(struct kit_connection *connection, const char *file, int line)
{
    if (kit_has_input(connection)) {
        ssize_t count = connection->used > 0 ? 1 : kit_fill(connection, kit_now_ms());
        kit_fail_at(connection->kit, file, line, "something has arrived (%s): %.1000s",
                    count > 0 ? "bytes" : "the end", count > 0 ? connection->buffer : "");
    }
}
