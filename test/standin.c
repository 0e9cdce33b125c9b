/* The stand-in's outside: its port, its connections, what is set and what has come. */
#include "standin.h"

#include "standin_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    /* Below the ports that the system gives to clients, so that nobody takes it meanwhile (as test/postgres.c). */
    PORT_FIRST = 12000,
    PORT_COUNT = 20000,
    PORT_ATTEMPTS = 200,
    BACKLOG = 512,
};

static void complain(const char *what)
{
    fprintf(stderr, "test stand-in: %s: %s\n", what, strerror(errno));
}

struct timespec standin_in_ms(int64_t milliseconds)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    int64_t ns = at.tv_nsec + milliseconds % 1000 * 1000000;
    at.tv_sec += (time_t)(milliseconds / 1000 + ns / 1000000000);
    at.tv_nsec = (long)(ns % 1000000000);
    return at;
}

bool standin_wait_locked(struct standin *standin, const struct timespec *deadline)
{
    return pthread_cond_timedwait(&standin->changed, &standin->mutex, deadline) != ETIMEDOUT;
}

/* --- connections --- */

static void *connection_main(void *context)
{
    struct standin_connection *connection = context;
    struct standin *standin = connection->standin;
    standin_serve(connection);
    pthread_mutex_lock(&standin->mutex);
    LIST_REMOVE(connection, link);
    close(connection->descriptor);
    pthread_cond_broadcast(&standin->changed);
    pthread_mutex_unlock(&standin->mutex);
    free(connection);
    return NULL;
}

static void begin_connection(struct standin *standin, int descriptor)
{
    struct standin_connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL) {
        close(descriptor);
        return;
    }
    struct timeval patience = {.tv_sec = STANDIN_PATIENCE_MS / 1000};
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    *connection = (struct standin_connection){.standin = standin, .descriptor = descriptor, .idle = true};
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    pthread_mutex_lock(&standin->mutex);
    connection->number = ++standin->connection_count;
    LIST_INSERT_HEAD(&standin->connections, connection, link);
    if (standin->away || pthread_create(&thread, &attributes, connection_main, connection) != 0) {
        LIST_REMOVE(connection, link);
        close(descriptor);
        free(connection);
    }
    pthread_mutex_unlock(&standin->mutex);
    pthread_attr_destroy(&attributes);
}

static void *acceptor_main(void *context)
{
    struct standin *standin = context;
    for (;;) {
        int descriptor = accept4(standin->listener, NULL, NULL, SOCK_CLOEXEC);
        if (descriptor >= 0)
            begin_connection(standin, descriptor);
        else if (errno != EINTR && errno != ECONNABORTED)
            return NULL; /* EINVAL: vanished */
    }
}

static int bind_somewhere(struct standin *standin)
{
    int on = 1;
    setsockopt(standin->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    unsigned start = (unsigned)now.tv_nsec / 1000 + (unsigned)getpid() * 7919U;
    for (unsigned i = 0; i < PORT_ATTEMPTS; i++) {
        unsigned port = PORT_FIRST + (start + i * 127) % PORT_COUNT;
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)port),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        if (bind(standin->listener, (struct sockaddr *)&address, sizeof address) == 0) {
            standin->port = port;
            snprintf(standin->url, sizeof standin->url, "http://127.0.0.1:%u", port);
            return 0;
        }
    }
    return -1;
}

struct standin *standin_start(void)
{
    struct standin *standin = calloc(1, sizeof *standin);
    if (standin == NULL)
        return NULL;
    standin->records = calloc(STANDIN_RECORDS, sizeof *standin->records);
    standin->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    LIST_INIT(&standin->connections);
    pthread_mutex_init(&standin->mutex, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&standin->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    standin->away = true;
    if (standin->records == NULL || standin->listener < 0 || bind_somewhere(standin) != 0 ||
        standin_return(standin) != 0) {
        complain("start");
        standin_free(standin);
        return NULL;
    }
    return standin;
}

int standin_vanish(struct standin *standin)
{
    pthread_mutex_lock(&standin->mutex);
    bool was_away = standin->away;
    standin->away = true;
    struct standin_connection *connection;
    LIST_FOREACH (connection, &standin->connections, link) {
        shutdown(connection->descriptor, SHUT_RDWR);
    }
    pthread_cond_broadcast(&standin->changed);
    pthread_mutex_unlock(&standin->mutex);
    if (was_away)
        return 0;
    /* A listening socket stops to listen and keeps its port (Linux). */
    shutdown(standin->listener, SHUT_RD);
    pthread_join(standin->acceptor, NULL);
    struct timespec deadline = standin_in_ms(STANDIN_PATIENCE_MS);
    pthread_mutex_lock(&standin->mutex);
    while (!LIST_EMPTY(&standin->connections) && standin_wait_locked(standin, &deadline))
        continue;
    bool gone = LIST_EMPTY(&standin->connections);
    pthread_mutex_unlock(&standin->mutex);
    return gone ? 0 : -1;
}

int standin_return(struct standin *standin)
{
    pthread_mutex_lock(&standin->mutex);
    standin->away = false;
    pthread_mutex_unlock(&standin->mutex);
    if (listen(standin->listener, BACKLOG) == 0 &&
        pthread_create(&standin->acceptor, NULL, acceptor_main, standin) == 0)
        return 0;
    complain("return");
    pthread_mutex_lock(&standin->mutex);
    standin->away = true;
    pthread_mutex_unlock(&standin->mutex);
    return -1;
}

void standin_free(struct standin *standin)
{
    if (standin == NULL)
        return;
    if (standin_vanish(standin) != 0)
        complain("connections that do not end"); /* they still use the mutex: leave it all to them */
    else {
        if (standin->listener >= 0)
            close(standin->listener);
        for (size_t i = 0; i < standin->route_count; i++)
            free(standin->routes[i].plan.body);
        for (size_t i = 0; i < standin->record_count; i++)
            standin_request_free(&standin->records[i]);
        free(standin->plan.body);
        free(standin->records);
        pthread_cond_destroy(&standin->changed);
        pthread_mutex_destroy(&standin->mutex);
        free(standin);
    }
}

unsigned standin_port(const struct standin *standin)
{
    return standin->port;
}

const char *standin_url(const struct standin *standin)
{
    return standin->url;
}

void standin_close_idle(struct standin *standin)
{
    pthread_mutex_lock(&standin->mutex);
    struct standin_connection *connection;
    LIST_FOREACH (connection, &standin->connections, link) {
        if (connection->idle)
            shutdown(connection->descriptor, SHUT_RDWR);
    }
    pthread_mutex_unlock(&standin->mutex);
}

unsigned standin_connections(struct standin *standin)
{
    pthread_mutex_lock(&standin->mutex);
    unsigned count = standin->connection_count;
    pthread_mutex_unlock(&standin->mutex);
    return count;
}

/* --- what is set, what has come --- */

/* The route of a path, made when there is room. */
static struct standin_route *route_locked(struct standin *standin, const char *path)
{
    for (size_t i = 0; i < standin->route_count; i++) {
        if (strcmp(standin->routes[i].path, path) == 0)
            return &standin->routes[i];
    }
    if (standin->route_count == STANDIN_ROUTES)
        return NULL;
    struct standin_route *route = &standin->routes[standin->route_count++];
    snprintf(route->path, sizeof route->path, "%s", path);
    return route;
}

static struct standin_plan copy_plan(const struct standin_behaviour *behaviour)
{
    struct standin_plan plan = {.behaviour = *behaviour};
    plan.body = strdup(behaviour->body == NULL ? "{\"success\":true}" : behaviour->body);
    if (plan.behaviour.status == 0)
        plan.behaviour.status = 200;
    plan.behaviour.body = NULL;
    return plan;
}

void standin_set(struct standin *standin, const char *path, const struct standin_behaviour *behaviour)
{
    struct standin_plan plan = copy_plan(behaviour);
    pthread_mutex_lock(&standin->mutex);
    struct standin_plan *place = &standin->plan;
    if (path != NULL) {
        struct standin_route *route = route_locked(standin, path);
        if (route != NULL)
            route->is_set = true;
        place = route == NULL ? NULL : &route->plan;
    }
    if (place != NULL) {
        free(place->body);
        *place = plan;
    } else {
        fprintf(stderr, "test stand-in: too many paths\n");
        free(plan.body);
    }
    pthread_mutex_unlock(&standin->mutex);
}

void standin_release(struct standin *standin)
{
    pthread_mutex_lock(&standin->mutex);
    standin->releases++;
    pthread_cond_broadcast(&standin->changed);
    pthread_mutex_unlock(&standin->mutex);
}

struct standin_behaviour standin_general(struct standin *standin)
{
    pthread_mutex_lock(&standin->mutex);
    struct standin_behaviour behaviour = standin->plan.behaviour;
    pthread_mutex_unlock(&standin->mutex);
    return behaviour;
}

struct standin_plan standin_note(struct standin *standin, struct standin_request *request)
{
    pthread_mutex_lock(&standin->mutex);
    struct standin_route *route = route_locked(standin, request->path);
    const struct standin_plan *plan = route != NULL && route->is_set ? &route->plan : &standin->plan;
    struct standin_behaviour behaviour = plan->behaviour;
    behaviour.body = plan->body;
    struct standin_plan copy = copy_plan(&behaviour);
    copy.releases = standin->releases;
    standin->count++;
    if (route != NULL)
        route->count++;
    if (standin->record_count < STANDIN_RECORDS)
        standin->records[standin->record_count++] = *request;
    else
        standin_request_free(request);
    pthread_cond_broadcast(&standin->changed);
    pthread_mutex_unlock(&standin->mutex);
    return copy;
}

static uint64_t count_locked(struct standin *standin, const char *path)
{
    if (path == NULL)
        return standin->count;
    const struct standin_route *route = route_locked(standin, path);
    return route == NULL ? 0 : route->count;
}

uint64_t standin_count(struct standin *standin, const char *path)
{
    pthread_mutex_lock(&standin->mutex);
    uint64_t count = count_locked(standin, path);
    pthread_mutex_unlock(&standin->mutex);
    return count;
}

int standin_await(struct standin *standin, const char *path, uint64_t count, int64_t most_ms)
{
    struct timespec deadline = standin_in_ms(most_ms);
    pthread_mutex_lock(&standin->mutex);
    while (count_locked(standin, path) < count && standin_wait_locked(standin, &deadline))
        continue;
    bool there = count_locked(standin, path) >= count;
    pthread_mutex_unlock(&standin->mutex);
    return there ? 0 : -1;
}

int standin_request(struct standin *standin, size_t index, struct standin_request *request)
{
    pthread_mutex_lock(&standin->mutex);
    bool there = index < standin->record_count;
    if (there) {
        *request = standin->records[index];
        request->head = strdup(request->head);
        request->body = calloc(1, request->body_length + 1);
        if (request->body != NULL)
            memcpy(request->body, standin->records[index].body, request->body_length);
    }
    pthread_mutex_unlock(&standin->mutex);
    if (!there)
        return -1;
    if (request->head != NULL && request->body != NULL)
        return 0;
    standin_request_free(request);
    return -1;
}

void standin_request_free(struct standin_request *request)
{
    free(request->head);
    free(request->body);
    request->head = NULL;
    request->body = NULL;
}
