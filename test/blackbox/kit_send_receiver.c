#include "kit_send.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_BYTES = 16 * 1024, MOST_CONNECTIONS = 512, BACKLOG = 128, PATIENCE_S = 60 };

struct receiver {
    receiver_judge *judge;
    void *context;
    int listener;
    char url[64];
    pthread_t acceptor;
    pthread_mutex_t mutex; /* all below, and each call of `judge` */
    pthread_cond_t changed;
    bool ending;
    char **bodies;
    size_t count, capacity;
    unsigned connection_count;
    int connections[MOST_CONNECTIONS];
    pthread_t threads[MOST_CONNECTIONS];
};

struct link {
    struct receiver *receiver;
    int descriptor;
    char head[HEAD_BYTES + 1];
    size_t read; /* of the head's bytes, and what came behind it */
};

/* Waits for a change until `deadline`, with the mutex held. Returns false when it has passed. */
static bool wait_locked(struct receiver *receiver, const struct timespec *deadline)
{
    return pthread_cond_timedwait(&receiver->changed, &receiver->mutex, deadline) != ETIMEDOUT;
}

static struct timespec after_us(int64_t microseconds)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    int64_t ns = at.tv_nsec + microseconds % 1000000 * 1000;
    at.tv_sec += (time_t)(microseconds / 1000000 + ns / 1000000000);
    at.tv_nsec = (long)(ns % 1000000000);
    return at;
}

/* Reads a head and its body, which the caller frees; NULL at the end. */
static char *read_post(struct link *link, size_t *length)
{
    char *end;
    link->head[link->read] = '\0';
    while ((end = strstr(link->head, "\r\n\r\n")) == NULL) {
        ssize_t got = recv(link->descriptor, link->head + link->read, sizeof link->head - 1 - link->read, 0);
        if (got <= 0)
            return NULL;
        link->read += (size_t)got;
        link->head[link->read] = '\0';
    }
    const char *field = strcasestr(link->head, "content-length:");
    *length = field == NULL ? 0 : (size_t)strtoull(field + 15, NULL, 10);
    char *body = malloc(*length + 1);
    if (body == NULL)
        return NULL;
    size_t have = link->read - (size_t)(end + 4 - link->head);
    if (have > *length)
        have = *length; /* who sends more than one post at a time is not answered */
    memcpy(body, end + 4, have);
    end[4] = '\0';
    link->read = 0;
    while (have < *length) {
        ssize_t got = recv(link->descriptor, body + have, *length - have, 0);
        if (got <= 0) {
            free(body);
            return NULL;
        }
        have += (size_t)got;
    }
    body[*length] = '\0';
    return body;
}

/* Takes the body over. */
static struct receiver_answer judge_post(struct receiver *receiver, const char *head, char *body,
                                         size_t length)
{
    struct receiver_answer answer = {.act = RECEIVER_ANSWER};
    pthread_mutex_lock(&receiver->mutex);
    struct receiver_post post = {.body = body, .length = length, .head = head, .count = receiver->count};
    if (receiver->count == receiver->capacity) {
        receiver->capacity = receiver->capacity * 2 + 1024;
        receiver->bodies = realloc(receiver->bodies, receiver->capacity * sizeof *receiver->bodies);
        if (receiver->bodies == NULL)
            abort();
    }
    receiver->bodies[receiver->count++] = body;
    if (receiver->judge != NULL)
        answer = receiver->judge(receiver->context, &post);
    pthread_cond_broadcast(&receiver->changed);
    struct timespec until = after_us(answer.delay_us);
    while (answer.delay_us > 0 && !receiver->ending && wait_locked(receiver, &until))
        continue;
    pthread_mutex_unlock(&receiver->mutex);
    return answer;
}

static bool answer_post(const struct link *link, const struct receiver_answer *answer)
{
    const char *body = answer->body == NULL ? "{\"message\":\"Event received\"}" : answer->body;
    char text[2048], retry[64] = "";
    if (answer->retry_after_s > 0)
        snprintf(retry, sizeof retry, "Retry-After: %u\r\n", answer->retry_after_s);
    int length = snprintf(text, sizeof text, "HTTP/1.1 %u Judged\r\n%sContent-Length: %zu\r\n\r\n%s",
                          answer->status == 0 ? 200 : answer->status, retry, strlen(body), body);
    return send(link->descriptor, text, (size_t)length, MSG_NOSIGNAL) == length;
}

static void *connection_main(void *context)
{
    struct link *link = context;
    char *body;
    size_t length;
    while ((body = read_post(link, &length)) != NULL) {
        struct receiver_answer answer = judge_post(link->receiver, link->head, body, length);
        if (answer.act == RECEIVER_DROP || !answer_post(link, &answer))
            break;
    }
    shutdown(link->descriptor, SHUT_RDWR);
    free(link);
    return NULL;
}

static void begin_connection(struct receiver *receiver, int descriptor)
{
    int on = 1;
    struct link *link = calloc(1, sizeof *link);
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    pthread_mutex_lock(&receiver->mutex);
    unsigned number = receiver->connection_count;
    if (link != NULL && !receiver->ending && number < MOST_CONNECTIONS) {
        *link = (struct link){.receiver = receiver, .descriptor = descriptor};
        if (pthread_create(&receiver->threads[number], NULL, connection_main, link) == 0) {
            receiver->connections[number] = descriptor;
            receiver->connection_count++;
            link = NULL; /* its thread frees it */
            descriptor = -1;
        }
    }
    pthread_mutex_unlock(&receiver->mutex);
    free(link);
    if (descriptor >= 0)
        close(descriptor);
}

static void *acceptor_main(void *context)
{
    struct receiver *receiver = context;
    for (;;) {
        int descriptor = accept4(receiver->listener, NULL, NULL, SOCK_CLOEXEC);
        if (descriptor >= 0)
            begin_connection(receiver, descriptor);
        else if (errno != EINTR && errno != ECONNABORTED)
            return NULL; /* it was shut down */
    }
}

struct receiver *receiver_start(struct kit *kit, receiver_judge *judge, void *context)
{
    struct receiver *receiver = calloc(1, sizeof *receiver);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    assert_non_null(receiver);
    receiver->judge = judge;
    receiver->context = context;
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&receiver->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&receiver->mutex, NULL);
    receiver->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (receiver->listener < 0 ||
        bind(receiver->listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(receiver->listener, BACKLOG) != 0 ||
        getsockname(receiver->listener, (struct sockaddr *)&address, &length) != 0 ||
        pthread_create(&receiver->acceptor, NULL, acceptor_main, receiver) != 0) {
        free(receiver);
        kit_fail(kit, "no receiver: %s", strerror(errno));
    }
    snprintf(receiver->url, sizeof receiver->url, "http://127.0.0.1:%u", ntohs(address.sin_port));
    return receiver;
}

void receiver_end(struct receiver *receiver)
{
    pthread_mutex_lock(&receiver->mutex);
    receiver->ending = true;
    pthread_cond_broadcast(&receiver->changed);
    pthread_mutex_unlock(&receiver->mutex);
    shutdown(receiver->listener, SHUT_RDWR);
    pthread_join(receiver->acceptor, NULL);
    close(receiver->listener);
    for (unsigned i = 0; i < receiver->connection_count; i++) {
        shutdown(receiver->connections[i], SHUT_RDWR);
        pthread_join(receiver->threads[i], NULL);
        close(receiver->connections[i]);
    }
    for (size_t i = 0; i < receiver->count; i++)
        free(receiver->bodies[i]);
    free(receiver->bodies);
    pthread_cond_destroy(&receiver->changed);
    pthread_mutex_destroy(&receiver->mutex);
    free(receiver);
}

void receiver_lock(struct receiver *receiver)
{
    pthread_mutex_lock(&receiver->mutex);
}

void receiver_unlock(struct receiver *receiver)
{
    pthread_mutex_unlock(&receiver->mutex);
}

const char *receiver_url(const struct receiver *receiver)
{
    return receiver->url;
}

size_t receiver_count(struct receiver *receiver)
{
    pthread_mutex_lock(&receiver->mutex);
    size_t count = receiver->count;
    pthread_mutex_unlock(&receiver->mutex);
    return count;
}

const char *receiver_body(struct receiver *receiver, size_t index)
{
    pthread_mutex_lock(&receiver->mutex);
    const char *body = index < receiver->count ? receiver->bodies[index] : "";
    pthread_mutex_unlock(&receiver->mutex);
    return body;
}

unsigned receiver_number(const char *body)
{
    const char *at = strstr(body, "\"n\":");
    return at == NULL ? 0 : (unsigned)strtoul(at + 4, NULL, 10);
}

size_t receiver_count_of(struct receiver *receiver, const char *body)
{
    size_t found = 0;
    pthread_mutex_lock(&receiver->mutex);
    for (size_t i = 0; i < receiver->count; i++)
        found += strcmp(receiver->bodies[i], body) == 0 ? 1 : 0;
    pthread_mutex_unlock(&receiver->mutex);
    return found;
}

bool receiver_await(struct receiver *receiver, size_t count)
{
    struct timespec deadline = after_us((int64_t)(PATIENCE_S * kit_time_scale() * 1e6));
    pthread_mutex_lock(&receiver->mutex);
    while (receiver->count < count && wait_locked(receiver, &deadline))
        continue;
    bool there = receiver->count >= count;
    pthread_mutex_unlock(&receiver->mutex);
    return there;
}
