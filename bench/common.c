/*
 * What the benchmark clients share; see common.h.
 */
#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define NANOSECONDS_PER_SECOND UINT64_C(1000000000)
#define WAITING_DEADLINE       (60 * NANOSECONDS_PER_SECOND)
#define RECEIVE_SECONDS        60

_Noreturn void fail(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fputs("bench client: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

enum server_kind parse_server_kind(const char *name)
{
    if (strcmp(name, "event-syncer") == 0)
        return SERVER_EVENT_SYNCER;
    if (strcmp(name, "nchan") == 0)
        return SERVER_NCHAN;
    fail("unknown server '%s': event-syncer or nchan", name);
}

unsigned long parse_number(const char *text, const char *what, unsigned long minimum, unsigned long maximum)
{
    char *end;
    unsigned long number;

    errno = 0;
    number = strtoul(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || number < minimum || number > maximum)
        fail("%s must be a number from %lu to %lu, not '%s'", what, minimum, maximum, text);
    return number;
}

static uint64_t clock_nanoseconds(clockid_t clock)
{
    struct timespec time;

    if (clock_gettime(clock, &time) != 0)
        fail("clock_gettime: %s", strerror(errno));
    return (uint64_t)time.tv_sec * NANOSECONDS_PER_SECOND + (uint64_t)time.tv_nsec;
}

uint64_t now_nanoseconds(void)
{
    return clock_nanoseconds(CLOCK_MONOTONIC);
}

uint64_t process_nanoseconds(pid_t process)
{
    clockid_t clock;
    int error = clock_getcpuclockid(process, &clock);

    if (error != 0)
        fail("no CPU clock of process %ld: %s", (long)process, strerror(error));
    return clock_nanoseconds(clock);
}

void raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        fail("getrlimit: %s", strerror(errno));
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        fail("setrlimit: %s", strerror(errno));
}

static void set_option(int descriptor, int level, int option, const void *value, socklen_t length)
{
    if (setsockopt(descriptor, level, option, value, length) != 0)
        fail("setsockopt: %s", strerror(errno));
}

int connect_loopback(uint16_t port, unsigned source)
{
    static const int on = 1;
    static const struct timeval patience = {.tv_sec = RECEIVE_SECONDS};
    struct sockaddr_in address = {.sin_family = AF_INET};
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (descriptor < 0)
        fail("socket: %s", strerror(errno));
    set_option(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    set_option(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (source > 0) {
        /* The port is chosen by connect(), when the whole pair of addresses is known, not by bind(). */
        set_option(descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + source);
        if (bind(descriptor, (const struct sockaddr *)&address, sizeof address) != 0)
            fail("bind: %s", strerror(errno));
    }
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(descriptor, (const struct sockaddr *)&address, sizeof address) != 0)
        fail("connect to port %u: %s", (unsigned)port, strerror(errno));
    return descriptor;
}

void connection_open(struct connection *connection, uint16_t port, unsigned source)
{
    connection->descriptor = connect_loopback(port, source);
    connection->length = 0;
}

void send_all(int descriptor, const char *data, size_t length)
{
    size_t sent = 0;

    while (sent < length) {
        ssize_t count = send(descriptor, data + sent, length - sent, MSG_NOSIGNAL);

        if (count < 0) {
            struct pollfd writable = {.fd = descriptor, .events = POLLOUT};

            if (errno != EAGAIN && errno != EINTR)
                fail("send: %s", strerror(errno));
            poll(&writable, 1, RECEIVE_SECONDS * 1000);
            continue;
        }
        sent += (size_t)count;
    }
}

/* The value of a header, up to its line end, or NULL. */
static const char *find_header(const char *data, size_t header_length, const char *name)
{
    size_t name_length = strlen(name);
    const char *end = data + header_length;
    const char *line = memchr(data, '\n', header_length);

    while (line != NULL && (size_t)(end - ++line) > name_length) {
        if (strncasecmp(line, name, name_length) == 0 && line[name_length] == ':') {
            const char *value = line + name_length + 1;

            return value + strspn(value, " ");
        }
        line = memchr(line, '\n', (size_t)(end - line));
    }
    return NULL;
}

bool response_parse(const struct connection *connection, struct response *response)
{
    static const size_t status_offset = sizeof "HTTP/1.1 " - 1;
    const char *data = connection->data;
    const char *end = memmem(data, connection->length, "\r\n\r\n", 4);
    const char *length;

    if (end == NULL) {
        if (connection->length >= BUFFER_SIZE - 1)
            fail("an answer's header is longer than %d bytes", BUFFER_SIZE);
        return false;
    }
    if (memcmp(data, "HTTP/1.", 7) != 0)
        fail("not an HTTP answer: %.40s", data);
    response->status = (int)strtol(data + status_offset, NULL, 10);
    response->header_length = (size_t)(end - data) + 4;
    length = find_header(data, response->header_length, "Content-Length");
    if (length == NULL && response->status == 200)
        fail("an answer without Content-Length");
    response->body_length = length == NULL ? 0 : strtoul(length, NULL, 10);
    if (response->header_length + response->body_length >= BUFFER_SIZE)
        fail("an answer is longer than %d bytes", BUFFER_SIZE);
    return connection->length >= response->header_length + response->body_length;
}

void response_drop(struct connection *connection, const struct response *response)
{
    size_t used = response->header_length + response->body_length;

    connection->length -= used;
    memmove(connection->data, connection->data + used, connection->length);
    connection->data[connection->length] = '\0';
}

void response_wait(struct connection *connection, struct response *response)
{
    while (!response_parse(connection, response)) {
        size_t space = BUFFER_SIZE - 1 - connection->length;
        ssize_t count = recv(connection->descriptor, connection->data + connection->length, space, 0);

        if (count == 0)
            fail("the server closed a connection");
        if (count < 0) {
            if (errno == EINTR)
                continue;
            fail("no answer: %s", strerror(errno));
        }
        connection->length += (size_t)count;
        connection->data[connection->length] = '\0';
    }
}

int exchange(struct connection *connection, const char *request)
{
    struct response response;

    send_all(connection->descriptor, request, strlen(request));
    response_wait(connection, &response);
    response_drop(connection, &response);
    return response.status;
}

static size_t checked_length(int length)
{
    if (length < 0 || length >= REQUEST_SIZE)
        fail("a request is longer than %d bytes", REQUEST_SIZE);
    return (size_t)length;
}

size_t format_wait(char request[REQUEST_SIZE], enum server_kind kind, const char *key, unsigned long group,
                   const struct position *position)
{
    if (kind == SERVER_EVENT_SYNCER)
        return checked_length(snprintf(request, REQUEST_SIZE,
                                       "GET /blocking-get?key=%s&groupId=g%lu HTTP/1.1\r\n"
                                       "Host: localhost\r\n\r\n",
                                       key, group));
    if (position->tag[0] == '\0')
        return checked_length(snprintf(request, REQUEST_SIZE,
                                       "GET /subscribe?key=%s HTTP/1.1\r\nHost: localhost\r\n\r\n", key));
    return checked_length(snprintf(request, REQUEST_SIZE,
                                   "GET /subscribe?key=%s HTTP/1.1\r\nHost: localhost\r\n"
                                   "If-Modified-Since: %s\r\nIf-None-Match: %s\r\n\r\n",
                                   key, position->modified, position->tag));
}

size_t format_push(char request[REQUEST_SIZE], enum server_kind kind, const char *key, const char *body)
{
    return checked_length(snprintf(request, REQUEST_SIZE,
                                   "POST /%s?key=%s HTTP/1.1\r\nHost: localhost\r\n"
                                   "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                                   kind == SERVER_EVENT_SYNCER ? "push" : "publish", key, strlen(body),
                                   body));
}

static void copy_validator(char target[VALIDATOR_SIZE], const char *data, size_t header_length,
                           const char *name)
{
    const char *value = find_header(data, header_length, name);
    size_t length = value == NULL ? 0 : strcspn(value, "\r\n");

    if (length == 0 || length >= VALIDATOR_SIZE)
        fail("nchan's answer has no usable %s", name);
    memcpy(target, value, length);
    target[length] = '\0';
}

bool response_has_event(const struct connection *connection, const struct response *response,
                        enum server_kind kind, struct position *position)
{
    if (response->status != 200)
        fail("a waiting request was answered with %d", response->status);
    if (kind == SERVER_EVENT_SYNCER)
        return response->body_length > sizeof "[]" - 1;
    copy_validator(position->modified, connection->data, response->header_length, "Last-Modified");
    copy_validator(position->tag, connection->data, response->header_length, "Etag");
    return true;
}

unsigned long waiting_count(struct connection *control, enum server_kind kind)
{
    bool own = kind == SERVER_EVENT_SYNCER;
    const char *request = own ? "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
                              : "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n";
    const char *name = own ? "\"waiting\":" : "Writing: ";
    struct response response;
    const char *field;
    unsigned long count;

    send_all(control->descriptor, request, strlen(request));
    response_wait(control, &response);
    field = control->data + response.header_length;
    if (own) /* "threads" have a field of the same name */
        field = strstr(field, "\"queue\":");
    field = field == NULL ? NULL : strstr(field, name);
    if (field == NULL)
        fail("the server does not say how many requests wait (status %d)", response.status);
    count = strtoul(field + strlen(name), NULL, 10);
    response_drop(control, &response);
    return own ? count : count - 1;
}

void waiting_reach(struct connection *control, enum server_kind kind, unsigned long wanted)
{
    uint64_t deadline = now_nanoseconds() + WAITING_DEADLINE;
    unsigned long count;

    while ((count = waiting_count(control, kind)) < wanted) {
        if (now_nanoseconds() > deadline)
            fail("only %lu of %lu requests wait", count, wanted);
    }
}

static int compare_doubles(const void *left, const void *right)
{
    double first = *(const double *)left;
    double second = *(const double *)right;

    return (first > second) - (first < second);
}

double quantile(double *values, size_t count, double part)
{
    if (count == 0)
        fail("no values to take a quantile of");
    qsort(values, count, sizeof *values, compare_doubles);
    return values[(size_t)((double)(count - 1) * part + 0.5)];
}
