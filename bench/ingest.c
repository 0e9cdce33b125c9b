/*
 * Loads a server with events for metrics, or asks it for metrics, over HTTP.
 *
 * usage: ingest events PORT BATCHES FIRST   over 4 connections, 1,000 events a batch; prints "rate N", events a second
 *        ingest query PORT COUNT            one after the other; prints "median_us N" of GET /metrics?window=1800
 *
 * The bodies are made beforehand; for each send only the number of its batch, which makes ids distinct, and the time
 * are written into it. Numbers begin with FIRST: runs against one server must not overlap. An answer must be, to the
 * byte, that of a batch whose events were all accepted.
 */
#include "common.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNECTIONS = 4,
    EVENTS = 1000,
    BODIES = 300, /* different ones: together they have nearly all users */
    USERS = 100000,
    TYPES = 10,
    EVENT_BYTES = 160, /* at most, as are those below */
    HEAD_BYTES = 256,
    ANSWER_BYTES = 256 * 1024,
    REQUEST_BYTES = HEAD_BYTES + EVENTS * EVENT_BYTES,
    NUMBER_BYTES = 8,
    TIME_BYTES = sizeof "2025-10-08T12:34:56.789Z" - 1,
};

static const char *const types[TYPES] = {"click", "view",   "purchase", "login",    "logout",
                                         "share", "search", "add_item", "checkout", "signup"};

/* Places are offsets into the text. */
struct request {
    size_t length;
    size_t number_at[EVENTS];
    size_t time_at[EVENTS];
    char text[REQUEST_BYTES];
};

struct answer {
    size_t length;
    size_t number_at[EVENTS];
    char text[ANSWER_BYTES];
};

struct sender {
    pthread_t thread;
    int descriptor;
    struct answer expected;
    char request[REQUEST_BYTES];
    char received[ANSWER_BYTES];
};

static struct request requests[BODIES];
static struct sender senders[CONNECTIONS];
static atomic_ulong next_batch;
static unsigned long last_batch;

static unsigned draw(unsigned below)
{
    static uint64_t random = UINT64_C(0x9E3779B97F4A7C15);
    random ^= random << 13;
    random ^= random >> 7;
    random ^= random << 17;
    return (unsigned)(random >> 33) % below;
}

static void append(char *text, size_t *length, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void append(char *text, size_t *length, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    *length += (size_t)vsprintf(text + *length, format, arguments);
    va_end(arguments);
}

/* --- before the load --- */

static void make_request(struct request *request)
{
    static char body[EVENTS * EVENT_BYTES];
    size_t length = 0;
    for (unsigned i = 0; i < EVENTS; i++) {
        append(body, &length, "%s{\"event_id\":\"7f3c9a52-", i == 0 ? "[" : ",");
        request->number_at[i] = length;
        append(body, &length, "%08x%08x\",\"user_id\":\"u-%u\",\"type\":\"%s\",\"ts\":\"", 0U, i, draw(USERS),
               types[draw(TYPES)]);
        request->time_at[i] = length;
        append(body, &length, "%*s\"}", (int)TIME_BYTES, "");
    }
    append(body, &length, "]");
    request->length = 0;
    append(request->text, &request->length,
           "POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
           "Content-Length: %zu\r\n\r\n",
           length);
    size_t head_length = request->length;
    memcpy(request->text + head_length, body, length);
    request->length += length;
    for (unsigned i = 0; i < EVENTS; i++) {
        request->number_at[i] += head_length;
        request->time_at[i] += head_length;
    }
}

static void make_answer(struct answer *answer)
{
    answer->length = 0;
    append(answer->text, &answer->length, "{\"results\":[");
    for (unsigned i = 0; i < EVENTS; i++) {
        append(answer->text, &answer->length, "%s{\"event_id\":\"7f3c9a52-", i == 0 ? "" : ",");
        answer->number_at[i] = answer->length;
        append(answer->text, &answer->length,
               "%08x%08x\",\"status\":\"success\",\"message\":\"Event accepted\"}", 0U, i);
    }
    append(answer->text, &answer->length, "]}");
}

/* --- one exchange --- */

/* Waits for a whole answer; returns where its body begins in `received`, which ends it with a NUL. */
static const char *receive(int descriptor, char received[ANSWER_BYTES], size_t *body_length)
{
    size_t length = 0, wanted = 0;
    const char *body = NULL;
    while (body == NULL || length < wanted) {
        ssize_t count = recv(descriptor, received + length, ANSWER_BYTES - 1 - length, 0);
        if (count <= 0)
            fail("no whole answer, but %zu bytes", length);
        length += (size_t)count;
        received[length] = '\0';
        const char *end = body == NULL ? strstr(received, "\r\n\r\n") : NULL;
        if (end == NULL)
            continue;
        const char *field = strcasestr(received, "\r\ncontent-length: ");
        if (strncmp(received, "HTTP/1.1 200 ", 13) != 0 || field == NULL || field > end)
            fail("answered with %.100s", received);
        body = end + 4;
        *body_length = strtoul(field + sizeof "\r\ncontent-length: " - 1, NULL, 10);
        wanted = (size_t)(body - received) + *body_length;
    }
    if (length > wanted)
        fail("%zu bytes after an answer", length - wanted);
    return body;
}

static void format_time(char text[TIME_BYTES + 1])
{
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    strftime(text, TIME_BYTES + 1, "%Y-%m-%dT%H:%M:%S.", &parts);
    snprintf(text + 20, TIME_BYTES + 1 - 20, "%03uZ", (unsigned)(now.tv_nsec / 1000000) % 1000);
}

static void send_batch(struct sender *sender, unsigned long batch)
{
    const struct request *request = &requests[batch % BODIES];
    char number[NUMBER_BYTES + 1], time[TIME_BYTES + 1];
    snprintf(number, sizeof number, "%08x", (unsigned)batch);
    format_time(time);
    memcpy(sender->request, request->text, request->length);
    for (unsigned i = 0; i < EVENTS; i++) {
        memcpy(sender->request + request->number_at[i], number, NUMBER_BYTES);
        memcpy(sender->request + request->time_at[i], time, TIME_BYTES);
        memcpy(sender->expected.text + sender->expected.number_at[i], number, NUMBER_BYTES);
    }
    send_all(sender->descriptor, sender->request, request->length);
    size_t length = 0;
    const char *body = receive(sender->descriptor, sender->received, &length);
    if (length != sender->expected.length || memcmp(body, sender->expected.text, length) != 0)
        fail("not all of batch %lu was accepted: %.300s", batch, body);
}

static void *send_batches(void *context)
{
    unsigned long batch;
    while ((batch = atomic_fetch_add(&next_batch, 1)) < last_batch)
        send_batch(context, batch);
    return NULL;
}

static void load(uint16_t port, unsigned long batches, unsigned long first)
{
    for (unsigned i = 0; i < BODIES; i++)
        make_request(&requests[i]);
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        make_answer(&senders[i].expected);
        senders[i].descriptor = connect_loopback(port, 0);
    }
    atomic_store(&next_batch, first);
    last_batch = first + batches;
    uint64_t begin = now_nanoseconds();
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        if (pthread_create(&senders[i].thread, NULL, send_batches, &senders[i]) != 0)
            fail("no thread");
    }
    for (unsigned i = 0; i < CONNECTIONS; i++)
        pthread_join(senders[i].thread, NULL);
    double seconds = (double)(now_nanoseconds() - begin) / 1e9;
    printf("rate %.0f\n", (double)batches * EVENTS / seconds);
}

static void query(uint16_t port, unsigned long count)
{
    static const char request[] = "GET /metrics?window=1800 HTTP/1.1\r\nHost: localhost\r\n\r\n";
    double *times = calloc(count, sizeof *times);
    if (times == NULL)
        fail("no memory");
    int descriptor = connect_loopback(port, 0);
    for (unsigned long i = 0; i < count; i++) {
        size_t length;
        uint64_t begin = now_nanoseconds();
        send_all(descriptor, request, sizeof request - 1);
        receive(descriptor, senders[0].received, &length);
        times[i] = (double)(now_nanoseconds() - begin) / 1000;
    }
    printf("median_us %.1f\n", quantile(times, count, 0.5));
    free(times);
}

int main(int argument_count, char **arguments)
{
    static const char usage[] = "usage: ingest events PORT BATCHES FIRST | ingest query PORT COUNT";
    if (argument_count < 4)
        fail("%s", usage);
    uint16_t port = (uint16_t)parse_number(arguments[2], "PORT", 1, UINT16_MAX);
    if (strcmp(arguments[1], "events") == 0 && argument_count == 5)
        load(port, parse_number(arguments[3], "BATCHES", 1, 100000000),
             parse_number(arguments[4], "FIRST", 0, 100000000));
    else if (strcmp(arguments[1], "query") == 0 && argument_count == 4)
        query(port, parse_number(arguments[3], "COUNT", 1, 1000000));
    else
        fail("%s", usage);
    return 0;
}
