/* Very many clients in one thread. */
#include "kit_drive.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "kit_internal.h"

#define EVENTS_AT_ONCE   256
#define CONNECTS_AT_ONCE 64 /* far less than any backlog */

struct client {
    const struct kit_drive_role *role;
    size_t number;
    int descriptor; /* -1: it has ended */
    bool waits;     /* for an answer */
    char *bytes;    /* of the answer under way */
    size_t length, capacity;
};

struct kit_drive {
    struct kit_server *server;
    int epoll;
    struct client **clients;
    size_t count, open;
};

void kit_raise_file_limit(struct kit *kit, size_t descriptors)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        kit_fail(kit, "getrlimit: %s", strerror(errno));
    limit.rlim_cur = limit.rlim_max;
    if (limit.rlim_cur < descriptors || setrlimit(RLIMIT_NOFILE, &limit) != 0)
        kit_fail(kit, "this test needs %zu open files (ulimit -n)", descriptors);
}

struct kit_drive *kit_drive_create(struct kit_server *server)
{
    struct kit_drive *drive = kit_allocate(server->kit, sizeof *drive);
    drive->server = server;
    drive->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (drive->epoll < 0)
        kit_fail(server->kit, "epoll_create1: %s", strerror(errno));
    return drive;
}

static void end(struct kit_drive *drive, struct client *client)
{
    close(client->descriptor);
    client->descriptor = -1;
    free(client->bytes);
    client->bytes = NULL;
    drive->open--;
}

static void end_by_server(struct kit_drive *drive, struct client *client)
{
    bool cut = client->waits;
    end(drive, client);
    if (cut && client->role->cut == NULL)
        kit_fail(drive->server->kit, "client %zu was not answered", client->number);
    if (cut)
        client->role->cut(client->role->context, client->number);
}

static void ask(struct kit_drive *drive, struct client *client)
{
    char request[KIT_DRIVE_REQUEST_BYTES];
    size_t length = client->role->ask(client->role->context, client->number, request);
    if (length == 0) {
        end(drive, client);
        return;
    }
    client->waits = true;
    ssize_t sent = send(client->descriptor, request, length, MSG_NOSIGNAL);
    /* So little fits a buffer that is empty, or the connection has ended, which its event tells. */
    if (sent >= 0 && (size_t)sent != length)
        kit_fail(drive->server->kit, "a request did not fit at once");
}

static void open_client(struct kit_drive *drive, struct client *client)
{
    int at_once = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)drive->server->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    client->descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->descriptor < 0 ||
        connect(client->descriptor, (struct sockaddr *)&address, sizeof address) != 0)
        kit_fail(drive->server->kit, "connect: %s", strerror(errno));
    setsockopt(client->descriptor, IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof at_once);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    if (epoll_ctl(drive->epoll, EPOLL_CTL_ADD, client->descriptor, &event) != 0)
        kit_fail(drive->server->kit, "epoll_ctl: %s", strerror(errno));
    drive->open++;
}

void kit_drive_add(struct kit_drive *drive, size_t count, const struct kit_drive_role *role)
{
    drive->clients = realloc(drive->clients, (drive->count + count) * sizeof *drive->clients);
    assert_non_null(drive->clients);
    for (size_t i = 0; i < count; i++) {
        struct client *client = calloc(1, sizeof *client);
        assert_non_null(client);
        *client = (struct client){.role = role, .number = i, .descriptor = -1};
        drive->clients[drive->count++] = client;
        open_client(drive, client);
        ask(drive, client);
        if (i % CONNECTS_AT_ONCE == CONNECTS_AT_ONCE - 1)
            (void)kit_health(drive->server, "connections.open"); /* it comes behind them: they are accepted */
    }
}

/* The length of the answer at the beginning of the bytes, and where its body begins; 0: not whole yet. */
static size_t find_answer(const struct client *client, size_t *body_at)
{
    const char *head_end = client->length == 0 ? NULL : strstr(client->bytes, "\r\n\r\n");
    const char *field = head_end == NULL ? NULL : strcasestr(client->bytes, "\r\nContent-Length:");
    if (field == NULL || field > head_end)
        return 0;
    *body_at = (size_t)(head_end - client->bytes) + 4;
    size_t whole = *body_at + strtoul(field + strlen("\r\nContent-Length:"), NULL, 10);
    return whole <= client->length ? whole : 0;
}

static void take_answers(struct kit_drive *drive, struct client *client)
{
    size_t body_at, length;
    while (client->descriptor >= 0 && (length = find_answer(client, &body_at)) > 0) {
        int status = (int)strtol(client->bytes + strlen("HTTP/1.1 "), NULL, 10);
        char behind = client->bytes[length];
        client->bytes[length] = '\0';
        client->waits = false;
        client->role->answered(client->role->context, client->number, status, client->bytes + body_at,
                               length - body_at);
        client->bytes[length] = behind;
        client->length -= length;
        memmove(client->bytes, client->bytes + length, client->length + 1);
        ask(drive, client);
    }
}

static void read_some(struct kit_drive *drive, struct client *client)
{
    if (client->capacity - client->length < 2048) {
        client->capacity = client->capacity * 2 + 4096;
        client->bytes = realloc(client->bytes, client->capacity);
        assert_non_null(client->bytes);
    }
    ssize_t count = recv(client->descriptor, client->bytes + client->length,
                         client->capacity - client->length - 1, MSG_DONTWAIT);
    if (count > 0) {
        client->length += (size_t)count;
        client->bytes[client->length] = '\0';
        take_answers(drive, client);
    } else if (count == 0 || (errno != EAGAIN && errno != EINTR)) {
        end_by_server(drive, client);
    }
}

void kit_drive_run(struct kit_drive *drive, bool (*done)(void *context), void *context, int64_t milliseconds)
{
    int64_t deadline_at_ms = kit_deadline_at_ms(milliseconds);
    struct epoll_event events[EVENTS_AT_ONCE];
    while (drive->open > 0 && (done == NULL || !done(context))) {
        int64_t left_ms = deadline_at_ms - kit_now_ms();
        if (left_ms <= 0)
            kit_fail(drive->server->kit, "%zu clients are still at it", drive->open);
        int count = epoll_wait(drive->epoll, events, EVENTS_AT_ONCE, (int)left_ms);
        for (int i = 0; i < count; i++)
            read_some(drive, events[i].data.ptr);
    }
}

void kit_drive_free(struct kit_drive *drive)
{
    for (size_t i = 0; i < drive->count; i++) {
        if (drive->clients[i]->descriptor >= 0)
            end(drive, drive->clients[i]);
        free(drive->clients[i]);
    }
    free(drive->clients);
    drive->clients = NULL;
    drive->count = 0;
    close(drive->epoll);
}
