/*
 * Holds many event streams open and measures how fast one published event reaches all of them.
 *
 * One thread with epoll opens COUNT connections, each with one stream (each of a user of its own on
 * event-syncer, each an eventsource subscriber of the same channel on nchan), from several loopback addresses
 * so that ports can't run out. It obeys the lines on its standard input:
 *
 *   subscribe  subscribes as many users to the channel (on event-syncer, where that is asked for); prints
 *              "subscribed COUNT"
 *   open       opens the streams; prints "open COUNT" when all have sent the beginning of their answer
 *   publish    publishes one event and prints "reached N FIRST MEDIAN LAST": how many streams got it, and the
 *              times in milliseconds from just before it was sent until the first, the middle and the last
 *              stream's event had been read whole
 *
 * A stream that gets an event twice, an event that nobody published or the end of its connection ends the
 * program.
 *
 * usage: streams event-syncer|nchan PORT COUNT
 */
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_PER_SOURCE 1000
#define FIRST_SOURCE           1
#define OPENING_AT_ONCE        200
#define SUBSCRIBING_AT_ONCE    32
#define EVENTS_AT_ONCE         512
#define PUBLISH_DEADLINE       UINT64_C(60000000000)
#define OPENING_DEADLINE       UINT64_C(60000000000)
#define MILLISECOND            1e6
#define MARKER_SIZE            64

struct streams {
    enum server_kind kind;
    uint16_t port;
    size_t count;
    int epoll;
    struct connection *streams;
    bool *begun; /* the header of the answer has been read */
    size_t begun_count;
    double *reached_at; /* 0: not yet */
    size_t reached;
    uint64_t published_at; /* 0: nothing is under way */
    unsigned long sequence;
    char marker[MARKER_SIZE]; /* what only the event under way holds */
    struct connection publisher;
};

static size_t checked_length(int length)
{
    if (length < 0 || length >= REQUEST_SIZE)
        fail("a request is longer than %d bytes", REQUEST_SIZE);
    return (size_t)length;
}

static size_t format_post(char request[REQUEST_SIZE], const char *path, const char *header, const char *body)
{
    return checked_length(snprintf(request, REQUEST_SIZE,
                                   "POST %s HTTP/1.1\r\nHost: localhost\r\n%s"
                                   "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                                   path, header, strlen(body), body));
}

static size_t format_stream(char request[REQUEST_SIZE], enum server_kind kind, size_t index)
{
    static const char accept[] = "Host: localhost\r\nAccept: text/event-stream\r\n\r\n";

    if (kind == SERVER_EVENT_SYNCER)
        return checked_length(snprintf(request, REQUEST_SIZE,
                                       "GET /api/events/stream?userId=u%zu&channels=streams HTTP/1.1\r\n%s",
                                       index, accept));
    return checked_length(snprintf(request, REQUEST_SIZE, "GET /stream?key=streams HTTP/1.1\r\n%s", accept));
}

static size_t format_publish(char request[REQUEST_SIZE], enum server_kind kind, const char *payload)
{
    char body[REQUEST_SIZE];

    if (kind == SERVER_NCHAN)
        return format_post(request, "/publish?key=streams", "X-EventSource-Event: created\r\n", payload);
    checked_length(snprintf(body, sizeof body,
                            "{\"channel\":\"streams\",\"eventType\":\"created\",\"payload\":%s}", payload));
    return format_post(request, "/api/events/publish", "", body);
}

/* --- opening --- */

static void subscribe_user(struct connection *connection, size_t user)
{
    char body[REQUEST_SIZE];
    char request[REQUEST_SIZE];
    size_t length;

    checked_length(snprintf(body, sizeof body, "{\"userId\":\"u%zu\",\"channel\":\"streams\"}", user));
    length = format_post(request, "/api/events/channels/subscribe", "", body);
    send_all(connection->descriptor, request, length);
}

static void await_subscribed(struct connection *connection)
{
    struct response response;

    response_wait(connection, &response);
    if (response.status != 201)
        fail("a subscription was answered with %d", response.status);
    response_drop(connection, &response);
}

/* Some at a time, so that they share their commits. */
static void subscribe_users(const struct streams *streams)
{
    static struct connection connections[SUBSCRIBING_AT_ONCE];

    for (size_t i = 0; i < SUBSCRIBING_AT_ONCE; i++)
        connection_open(&connections[i], streams->port, 0);
    for (size_t first = 0; first < streams->count; first += SUBSCRIBING_AT_ONCE) {
        size_t left = streams->count - first;
        size_t some = left < SUBSCRIBING_AT_ONCE ? left : SUBSCRIBING_AT_ONCE;

        for (size_t i = 0; i < some; i++)
            subscribe_user(&connections[i], first + i);
        for (size_t i = 0; i < some; i++)
            await_subscribed(&connections[i]);
    }
    for (size_t i = 0; i < SUBSCRIBING_AT_ONCE; i++)
        close(connections[i].descriptor);
}

static void watch(struct streams *streams, int descriptor, uint64_t index)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = index};

    if (epoll_ctl(streams->epoll, EPOLL_CTL_ADD, descriptor, &event) != 0)
        fail("epoll_ctl: %s", strerror(errno));
}

/* --- what arrives --- */

static void drop(struct connection *stream, size_t length)
{
    stream->length -= length;
    memmove(stream->data, stream->data + length, stream->length);
    stream->data[stream->length] = '\0';
}

/* Takes the header of the answer, which has no length, off the buffer. */
static bool take_header(struct streams *streams, size_t index)
{
    struct connection *stream = &streams->streams[index];
    const char *end = strstr(stream->data, "\r\n\r\n");

    if (end == NULL)
        return false;
    if (strncmp(stream->data, "HTTP/1.1 200 ", strlen("HTTP/1.1 200 ")) != 0)
        fail("a stream was answered with %.40s", stream->data);
    drop(stream, (size_t)(end - stream->data) + strlen("\r\n\r\n"));
    streams->begun[index] = true;
    streams->begun_count++;
    return true;
}

/* A frame is whatever ends with a blank line: an event, a comment, or the time before a reconnection. */
static void take_frame(struct streams *streams, size_t index, const char *frame)
{
    if (strncmp(frame, "data:", strlen("data:")) != 0 && strstr(frame, "\ndata:") == NULL)
        return;
    if (streams->published_at == 0 || streams->reached_at[index] > 0 ||
        strstr(frame, streams->marker) == NULL)
        fail("a stream got an event that nobody published: %.200s", frame);
    streams->reached_at[index] = (double)(now_nanoseconds() - streams->published_at);
    streams->reached++;
}

static void receive(struct streams *streams, size_t index)
{
    struct connection *stream = &streams->streams[index];
    size_t space = BUFFER_SIZE - 1 - stream->length;
    ssize_t count = recv(stream->descriptor, stream->data + stream->length, space, 0);
    char *end;

    if (count == 0)
        fail("the server closed a stream");
    if (count < 0) {
        if (errno == EAGAIN || errno == EINTR)
            return;
        fail("recv: %s", strerror(errno));
    }
    stream->length += (size_t)count;
    stream->data[stream->length] = '\0';
    if (!streams->begun[index] && !take_header(streams, index))
        return;
    while ((end = strstr(stream->data, "\n\n")) != NULL) {
        *end = '\0';
        take_frame(streams, index, stream->data);
        drop(stream, (size_t)(end - stream->data) + strlen("\n\n"));
    }
}

/* Handles what has arrived, or comes within the time-out; says whether a command has. */
static bool handle_arrivals(struct streams *streams, int timeout)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int count = epoll_wait(streams->epoll, events, EVENTS_AT_ONCE, timeout);
    bool command = false;

    if (count < 0 && errno != EINTR)
        fail("epoll_wait: %s", strerror(errno));
    for (int index = 0; index < count; index++) {
        if (events[index].data.u64 < streams->count)
            receive(streams, (size_t)events[index].data.u64);
        else
            command = true;
    }
    return command;
}

/* --- commands --- */

static void await_begun(struct streams *streams, size_t wanted)
{
    uint64_t deadline = now_nanoseconds() + OPENING_DEADLINE;

    while (streams->begun_count < wanted) {
        if (now_nanoseconds() > deadline)
            fail("only %zu of %zu streams opened", streams->begun_count, wanted);
        handle_arrivals(streams, 1000);
    }
}

static void open_streams(struct streams *streams)
{
    for (size_t index = 0; index < streams->count; index++) {
        struct connection *stream = &streams->streams[index];
        char request[REQUEST_SIZE];
        size_t length = format_stream(request, streams->kind, index);

        connection_open(stream, streams->port, FIRST_SOURCE + (unsigned)(index / CONNECTIONS_PER_SOURCE));
        if (fcntl(stream->descriptor, F_SETFL, O_NONBLOCK) != 0)
            fail("fcntl: %s", strerror(errno));
        send_all(stream->descriptor, request, length);
        watch(streams, stream->descriptor, index);
        /* Never more connections on their way than the server's backlog can take. */
        if (index >= OPENING_AT_ONCE)
            await_begun(streams, index - OPENING_AT_ONCE);
    }
    await_begun(streams, streams->count);
}

static void publish(struct streams *streams)
{
    char payload[REQUEST_SIZE];
    char request[REQUEST_SIZE];
    struct response response;
    size_t length;

    streams->sequence++;
    snprintf(streams->marker, sizeof streams->marker, "\"sequence\":%lu}", streams->sequence);
    checked_length(snprintf(payload, sizeof payload, "{\"sensor\":17,\"value\":20.25,%s", streams->marker));
    length = format_publish(request, streams->kind, payload);
    memset(streams->reached_at, 0, streams->count * sizeof *streams->reached_at);
    streams->reached = 0;
    streams->published_at = now_nanoseconds();
    send_all(streams->publisher.descriptor, request, length);
    while (streams->reached < streams->count && now_nanoseconds() - streams->published_at < PUBLISH_DEADLINE)
        handle_arrivals(streams, 1000);
    response_wait(&streams->publisher, &response);
    if (response.status >= 300)
        fail("an event was answered with %d", response.status);
    response_drop(&streams->publisher, &response);
    printf("reached %zu %.3f %.3f %.3f\n", streams->reached,
           quantile(streams->reached_at, streams->count, 0) / MILLISECOND,
           quantile(streams->reached_at, streams->count, 0.5) / MILLISECOND,
           quantile(streams->reached_at, streams->count, 1) / MILLISECOND);
    streams->published_at = 0;
}

/* Reads one line, a command; false at the end of the input. */
static bool obey(struct streams *streams)
{
    char line[32];
    ssize_t length = read(STDIN_FILENO, line, sizeof line - 1);

    if (length <= 0)
        return false;
    line[length] = '\0';
    if (strcmp(line, "subscribe\n") == 0) {
        if (streams->kind == SERVER_EVENT_SYNCER)
            subscribe_users(streams);
        printf("subscribed %zu\n", streams->count);
    } else if (strcmp(line, "open\n") == 0 && streams->begun_count == 0) {
        open_streams(streams);
        printf("open %zu\n", streams->begun_count);
    } else if (strcmp(line, "publish\n") == 0) {
        publish(streams);
    } else {
        fail("unknown command %s", line);
    }
    fflush(stdout);
    return true;
}

int main(int argument_count, char **arguments)
{
    static struct streams streams;

    if (argument_count != 4)
        fail("usage: streams event-syncer|nchan PORT COUNT");
    streams.kind = parse_server_kind(arguments[1]);
    streams.port = (uint16_t)parse_number(arguments[2], "PORT", 1, UINT16_MAX);
    streams.count = parse_number(arguments[3], "COUNT", 1, 100000);
    raise_file_limit();
    streams.epoll = epoll_create1(EPOLL_CLOEXEC);
    streams.streams = calloc(streams.count, sizeof *streams.streams);
    streams.begun = calloc(streams.count, sizeof *streams.begun);
    streams.reached_at = calloc(streams.count, sizeof *streams.reached_at);
    if (streams.epoll < 0 || streams.streams == NULL || streams.begun == NULL || streams.reached_at == NULL)
        fail("out of memory or files");
    connection_open(&streams.publisher, streams.port, 0);
    watch(&streams, STDIN_FILENO, streams.count);
    while (!handle_arrivals(&streams, -1) || obey(&streams))
        ;
    return 0;
}
