/*
 * Holds many waiting requests open and measures how fast one event reaches all of them.
 *
 * One thread with epoll opens COUNT connections, each with one long poll (each its own consumer group on
 * event-syncer, each a subscriber of the same channel on nchan), from several loopback addresses so that
 * ports can't run out. Then it obeys the lines on its standard input; meanwhile, and between them, requests
 * that the server answers without an event are asked again at once.
 *
 *   wait   returns when the server itself says that all requests wait; prints "waiting COUNT"
 *   push   pushes one event and prints "answered N FIRST MEDIAN LAST": how many requests got it, and the
 * times in milliseconds from just before the push was sent until the first, the middle and the last answer
 * had been read.  Only then are the requests asked again on the same connections, and the answer to the
 * command comes when all of them wait again.
 *
 * usage: longpoll event-syncer|nchan PORT COUNT
 */
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNECTIONS_PER_SOURCE 1000
#define FIRST_SOURCE           1
#define OPENING_AT_ONCE        200
#define EVENTS_AT_ONCE         512
#define PUSH_DEADLINE          UINT64_C(60000000000)
#define MILLISECOND            1e6

static const char key[] = "longpoll";

struct poller {
    enum server_kind kind;
    uint16_t port;
    size_t count;
    int epoll;
    struct connection *waiters;
    double *answered_at; /* 0: not yet */
    size_t answered;
    uint64_t pushed_at;
    struct position position;
    struct connection control;
    struct connection pusher;
};

static void ask(struct poller *poller, size_t index)
{
    char request[REQUEST_SIZE];
    size_t length = format_wait(request, poller->kind, key, index, &poller->position);

    send_all(poller->waiters[index].descriptor, request, length);
}

static void watch(struct poller *poller, int descriptor, uint64_t index)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = index};

    if (epoll_ctl(poller->epoll, EPOLL_CTL_ADD, descriptor, &event) != 0)
        fail("epoll_ctl: %s", strerror(errno));
}

static void open_waiters(struct poller *poller)
{
    for (size_t index = 0; index < poller->count; index++) {
        struct connection *waiter = &poller->waiters[index];

        connection_open(waiter, poller->port, FIRST_SOURCE + (unsigned)(index / CONNECTIONS_PER_SOURCE));
        if (fcntl(waiter->descriptor, F_SETFL, O_NONBLOCK) != 0)
            fail("fcntl: %s", strerror(errno));
        ask(poller, index);
        watch(poller, waiter->descriptor, index);
        /* Never more connections on their way than the server's backlog can take. */
        if (index % OPENING_AT_ONCE == 0 && index > 0)
            waiting_reach(&poller->control, poller->kind, index - OPENING_AT_ONCE + 1);
    }
}

static void take_answers(struct poller *poller, size_t index)
{
    struct connection *waiter = &poller->waiters[index];
    struct response response;
    ssize_t count =
        recv(waiter->descriptor, waiter->data + waiter->length, BUFFER_SIZE - 1 - waiter->length, 0);

    if (count == 0)
        fail("the server closed a waiting connection");
    if (count < 0) {
        if (errno == EAGAIN || errno == EINTR)
            return;
        fail("recv: %s", strerror(errno));
    }
    waiter->length += (size_t)count;
    waiter->data[waiter->length] = '\0';
    while (response_parse(waiter, &response)) {
        if (!response_has_event(waiter, &response, poller->kind, &poller->position)) {
            ask(poller, index);
        } else {
            if (poller->pushed_at == 0 || poller->answered_at[index] > 0)
                fail("a waiting request got an event that nobody pushed");
            poller->answered_at[index] = (double)(now_nanoseconds() - poller->pushed_at);
            poller->answered++;
        }
        response_drop(waiter, &response);
    }
}

/* Handles what has arrived, or comes within the time-out; says whether a command has. */
static bool handle_arrivals(struct poller *poller, int timeout)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int count = epoll_wait(poller->epoll, events, EVENTS_AT_ONCE, timeout);
    bool command = false;

    if (count < 0 && errno != EINTR)
        fail("epoll_wait: %s", strerror(errno));
    for (int index = 0; index < count; index++) {
        if (events[index].data.u64 < poller->count)
            take_answers(poller, (size_t)events[index].data.u64);
        else
            command = true;
    }
    return command;
}

static void wait_for_all(struct poller *poller)
{
    waiting_reach(&poller->control, poller->kind, poller->count);
}

static void push(struct poller *poller)
{
    char request[REQUEST_SIZE];
    size_t length = format_push(request, poller->kind, key, "{\"value\":\"a bench event\"}");
    struct response response;
    size_t answered;

    memset(poller->answered_at, 0, poller->count * sizeof *poller->answered_at);
    poller->answered = 0;
    poller->pushed_at = now_nanoseconds();
    send_all(poller->pusher.descriptor, request, length);
    while (poller->answered < poller->count && now_nanoseconds() - poller->pushed_at < PUSH_DEADLINE)
        handle_arrivals(poller, 1000);
    poller->pushed_at = 0;
    response_wait(&poller->pusher, &response);
    if (response.status >= 300)
        fail("a push was answered with %d", response.status);
    response_drop(&poller->pusher, &response);
    answered = poller->answered;
    for (size_t index = 0; index < poller->count; index++) {
        if (poller->answered_at[index] > 0)
            ask(poller, index);
    }
    wait_for_all(poller);
    printf("answered %zu %.3f %.3f %.3f\n", answered,
           quantile(poller->answered_at, poller->count, 0) / MILLISECOND,
           quantile(poller->answered_at, poller->count, 0.5) / MILLISECOND,
           quantile(poller->answered_at, poller->count, 1) / MILLISECOND);
}

/* Reads one line, a command; false at the end of the input. */
static bool obey(struct poller *poller)
{
    char line[32];
    ssize_t length = read(STDIN_FILENO, line, sizeof line - 1);

    if (length <= 0)
        return false;
    line[length] = '\0';
    if (strcmp(line, "wait\n") == 0) {
        wait_for_all(poller);
        printf("waiting %zu\n", poller->count);
    } else if (strcmp(line, "push\n") == 0) {
        push(poller);
    } else {
        fail("unknown command %s", line);
    }
    fflush(stdout);
    return true;
}

int main(int argument_count, char **arguments)
{
    static struct poller poller;

    if (argument_count != 4)
        fail("usage: longpoll event-syncer|nchan PORT COUNT");
    poller.kind = parse_server_kind(arguments[1]);
    poller.port = (uint16_t)parse_number(arguments[2], "PORT", 1, UINT16_MAX);
    poller.count = parse_number(arguments[3], "COUNT", 1, 100000);
    raise_file_limit();
    poller.epoll = epoll_create1(EPOLL_CLOEXEC);
    poller.waiters = calloc(poller.count, sizeof *poller.waiters);
    poller.answered_at = calloc(poller.count, sizeof *poller.answered_at);
    if (poller.epoll < 0 || poller.waiters == NULL || poller.answered_at == NULL)
        fail("out of memory or files");
    connection_open(&poller.control, poller.port, 0);
    connection_open(&poller.pusher, poller.port, 0);
    open_waiters(&poller);
    watch(&poller, STDIN_FILENO, poller.count);
    while (!handle_arrivals(&poller, -1) || obey(&poller))
        ;
    return 0;
}
