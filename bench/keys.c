/*
 * Pushes one event to each of very many keys and measures whether a push gets slower as the keys become more.
 *
 * One thread with epoll keeps DEPTH pipelined pushes under way on each of CONNECTIONS connections.  Every
 * WINDOW answers it notes the time and the CPU time of the server's process.  Of the windows among the first
 * 100,000 keys and of those among the last 100,000 the medians count.  Prints
 *
 *   first RATE CPU     pushes per second, and the server's CPU time per push in microseconds
 *   last RATE CPU
 *   refused N          answers other than 200
 *
 * usage: keys PORT SERVER_PID KEYS CONNECTIONS DEPTH
 */
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define WINDOW         10000
#define WINDOWS_AT_END 10
#define EVENTS_AT_ONCE 64
#define DEPTH_MAXIMUM  64
#define PATIENCE       30000 /* milliseconds without any answer */

struct mark {
    uint64_t time;
    uint64_t processor;
};

struct pusher {
    int epoll;
    pid_t server;
    unsigned long keys;
    unsigned long sent;
    unsigned long answered;
    unsigned long refused;
    struct mark *marks; /* one before the first window, then one after each */
    struct connection *connections;
};

static void set_mark(struct pusher *pusher, unsigned long window)
{
    pusher->marks[window].time = now_nanoseconds();
    pusher->marks[window].processor = process_nanoseconds(pusher->server);
}

static void send_pushes(struct pusher *pusher, const struct connection *connection, unsigned long count)
{
    char requests[DEPTH_MAXIMUM * REQUEST_SIZE];
    size_t length = 0;

    for (; count > 0 && pusher->sent < pusher->keys; count--) {
        char key[32];

        snprintf(key, sizeof key, "device-%07lu", pusher->sent++);
        length += format_push(requests + length, SERVER_EVENT_SYNCER, key, "{\"value\":\"a bench event\"}");
    }
    send_all(connection->descriptor, requests, length);
}

static void take_answers(struct pusher *pusher, struct connection *connection)
{
    struct response response;
    unsigned long taken = 0;
    ssize_t count = recv(connection->descriptor, connection->data + connection->length,
                         BUFFER_SIZE - 1 - connection->length, 0);

    if (count == 0)
        fail("the server closed a connection");
    if (count < 0) {
        if (errno == EAGAIN || errno == EINTR)
            return;
        fail("recv: %s", strerror(errno));
    }
    connection->length += (size_t)count;
    connection->data[connection->length] = '\0';
    while (response_parse(connection, &response)) {
        pusher->refused += response.status != 200;
        response_drop(connection, &response);
        taken++;
        if (++pusher->answered % WINDOW == 0)
            set_mark(pusher, pusher->answered / WINDOW);
    }
    if (taken > 0 && pusher->sent < pusher->keys)
        send_pushes(pusher, connection, taken);
}

static void push_all(struct pusher *pusher, size_t connection_count, unsigned long depth)
{
    set_mark(pusher, 0);
    for (size_t index = 0; index < connection_count; index++)
        send_pushes(pusher, &pusher->connections[index], depth);
    while (pusher->answered < pusher->keys) {
        struct epoll_event events[EVENTS_AT_ONCE];
        int count = epoll_wait(pusher->epoll, events, EVENTS_AT_ONCE, PATIENCE);

        if (count == 0 || (count < 0 && errno != EINTR))
            fail("%lu of %lu pushes were answered", pusher->answered, pusher->keys);
        for (int index = 0; index < count; index++)
            take_answers(pusher, events[index].data.ptr);
    }
}

static void open_connections(struct pusher *pusher, uint16_t port, size_t count)
{
    for (size_t index = 0; index < count; index++) {
        struct connection *connection = &pusher->connections[index];
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};

        connection_open(connection, port, 0);
        if (fcntl(connection->descriptor, F_SETFL, O_NONBLOCK) != 0 ||
            epoll_ctl(pusher->epoll, EPOLL_CTL_ADD, connection->descriptor, &event) != 0)
            fail("fcntl or epoll_ctl: %s", strerror(errno));
    }
}

static void print_windows(const struct pusher *pusher, const char *name, unsigned long first)
{
    double times[WINDOWS_AT_END];
    double processor_times[WINDOWS_AT_END];

    for (unsigned long index = 0; index < WINDOWS_AT_END; index++) {
        const struct mark *before = &pusher->marks[first + index];

        times[index] = (double)(before[1].time - before->time);
        processor_times[index] = (double)(before[1].processor - before->processor);
    }
    printf("%s %.0f %.3f\n", name, 1e9 * WINDOW / quantile(times, WINDOWS_AT_END, 0.5),
           quantile(processor_times, WINDOWS_AT_END, 0.5) / 1e3 / WINDOW);
}

int main(int argument_count, char **arguments)
{
    struct pusher pusher = {0};
    size_t connection_count;
    unsigned long depth;
    unsigned long windows;

    if (argument_count != 6)
        fail("usage: keys PORT SERVER_PID KEYS CONNECTIONS DEPTH");
    pusher.server = (pid_t)parse_number(arguments[2], "SERVER_PID", 1, INT_MAX);
    pusher.keys = parse_number(arguments[3], "KEYS", 2 * WINDOWS_AT_END * WINDOW, 9999999);
    connection_count = parse_number(arguments[4], "CONNECTIONS", 1, 1000);
    depth = parse_number(arguments[5], "DEPTH", 1, DEPTH_MAXIMUM);
    windows = pusher.keys / WINDOW;
    raise_file_limit();
    pusher.epoll = epoll_create1(EPOLL_CLOEXEC);
    pusher.marks = calloc(windows + 1, sizeof *pusher.marks);
    pusher.connections = calloc(connection_count, sizeof *pusher.connections);
    if (pusher.epoll < 0 || pusher.marks == NULL || pusher.connections == NULL)
        fail("out of memory or files");
    open_connections(&pusher, (uint16_t)parse_number(arguments[1], "PORT", 1, UINT16_MAX), connection_count);
    push_all(&pusher, connection_count, depth);
    print_windows(&pusher, "first", 0);
    print_windows(&pusher, "last", windows - WINDOWS_AT_END);
    printf("refused %lu\n", pusher.refused);
    return 0;
}
