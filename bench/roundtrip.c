/*
 * Measures how long an event takes from its push to the one consumer that waits for it, over connections that
 * stay open, beside a bare ping-pong of one byte there and back between two threads over loopback TCP.
 *
 * The time runs from just before the push is written until the waiting request's answer has been read.  One
 * thread does both: it writes the push and then blocks in recv() on the consumer's connection.  That adds
 * least: there is no second thread of the client to be scheduled while the server works, no poll() before the
 * recv(), and the push's own answer, which nobody is blocked on, wakes nobody.  Before each push the server
 * is asked until it says that the request waits, so every sample wakes a waiting request.
 *
 * Where the system puts two threads changes a ping-pong's time by a factor of three: on one processor it is a
 * change of threads, on two it is twice the wake-up of an idle processor.  So there are two ping-pongs, one
 * left to the system and one with both threads on one processor, and the faster of the two in each block is
 * the measure.
 *
 * Blocks of the ping-pongs and of each server take turns; a server's ratio is the median over the blocks of
 * its median by that of the faster ping-pong just before.  Prints one line each: name, median and 99th
 * percentile in microseconds, ratio.
 *
 * usage: roundtrip BLOCKS SAMPLES_PER_BLOCK event-syncer|nchan PORT [...]
 */
#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAXIMUM_SUBJECTS 5
#define PINGPONGS        2
#define MICROSECOND      1e3

static const char key[] = "roundtrip";

/* One thing measured: the ping-pong, which has a waiter only, or a server. */
struct subject {
    const char *name;
    bool is_server;
    bool one_processor; /* a ping-pong with both threads on this: */
    int processor;
    enum server_kind kind;
    struct connection waiter;
    struct connection pusher;
    struct connection control;
    struct position position;
    double *samples;
    double *medians; /* of the blocks */
    double *ratios;
};

/* Keeps a thread on one processor. */
static void pin(pthread_t thread, int processor)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((size_t)processor, &set);
    if (pthread_setaffinity_np(thread, sizeof set, &set) != 0)
        fail("can't stay on one processor");
}

static void *return_bytes(void *argument)
{
    int descriptor = *(int *)argument;
    char byte;

    while (recv(descriptor, &byte, 1, 0) == 1)
        send_all(descriptor, &byte, 1);
    return NULL;
}

/* Connects the two ends of the ping-pong and starts the far one's thread, which ends with the program. */
static void start_pingpong(struct subject *subject, const char *name, bool one_processor)
{
    static const int on = 1;
    int *far_end = malloc(sizeof *far_end);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    pthread_t thread;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (listener < 0 || bind(listener, (const struct sockaddr *)&address, length) != 0 ||
        listen(listener, 1) != 0 || getsockname(listener, (struct sockaddr *)&address, &length) != 0)
        fail("no listening socket: %s", strerror(errno));
    connection_open(&subject->waiter, ntohs(address.sin_port), 0);
    if (far_end == NULL)
        fail("out of memory");
    *far_end = accept(listener, NULL, NULL);
    if (*far_end < 0 || setsockopt(*far_end, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0)
        fail("accept: %s", strerror(errno));
    close(listener);
    if (pthread_create(&thread, NULL, return_bytes, far_end) != 0)
        fail("no thread for the ping-pong");
    subject->one_processor = one_processor;
    subject->processor = sched_getcpu();
    if (one_processor)
        pin(thread, subject->processor);
    subject->name = name;
}

static void start_server(struct subject *subject, const char *name, const char *port_text)
{
    uint16_t port = (uint16_t)parse_number(port_text, "PORT", 1, UINT16_MAX);

    subject->name = name;
    subject->is_server = true;
    subject->kind = parse_server_kind(name);
    connection_open(&subject->waiter, port, 0);
    connection_open(&subject->pusher, port, 0);
    connection_open(&subject->control, port, 0);
}

static double pingpong_once(struct subject *subject)
{
    uint64_t started = now_nanoseconds();
    char byte;

    send_all(subject->waiter.descriptor, "x", 1);
    if (recv(subject->waiter.descriptor, &byte, 1, 0) != 1)
        fail("the ping-pong's connection broke");
    return (double)(now_nanoseconds() - started);
}

static double roundtrip_once(struct subject *subject)
{
    char wait_request[REQUEST_SIZE];
    char push_request[REQUEST_SIZE];
    size_t wait_length = format_wait(wait_request, subject->kind, key, 1, &subject->position);
    size_t push_length = format_push(push_request, subject->kind, key, "{\"value\":\"a bench event\"}");
    struct response response;
    uint64_t started;
    uint64_t arrived;

    send_all(subject->waiter.descriptor, wait_request, wait_length);
    waiting_reach(&subject->control, subject->kind, 1);
    started = now_nanoseconds();
    send_all(subject->pusher.descriptor, push_request, push_length);
    response_wait(&subject->waiter, &response);
    arrived = now_nanoseconds();
    if (!response_has_event(&subject->waiter, &response, subject->kind, &subject->position))
        fail("%s answered a waiting request without the event", subject->name);
    response_drop(&subject->waiter, &response);
    response_wait(&subject->pusher, &response);
    if (response.status >= 300)
        fail("%s answered a push with %d", subject->name, response.status);
    response_drop(&subject->pusher, &response);
    return (double)(arrived - started);
}

/* Takes a block of samples and returns their median. */
static double measure_block(struct subject *subject, double *samples, size_t count)
{
    cpu_set_t before;

    if (pthread_getaffinity_np(pthread_self(), sizeof before, &before) != 0)
        fail("can't tell the processors of a thread");
    if (subject->one_processor)
        pin(pthread_self(), subject->processor);
    for (size_t sample = 0; sample < count; sample++)
        samples[sample] = subject->is_server ? roundtrip_once(subject) : pingpong_once(subject);
    if (pthread_setaffinity_np(pthread_self(), sizeof before, &before) != 0)
        fail("can't leave a processor");
    return quantile(samples, count, 0.5);
}

static double *allocate(size_t count)
{
    double *values = calloc(count, sizeof *values);

    if (values == NULL)
        fail("out of memory");
    return values;
}

static void measure(struct subject *subjects, size_t subject_count, size_t blocks, size_t per_block)
{
    for (size_t index = 0; index < subject_count; index++) {
        struct subject *subject = &subjects[index];

        subject->samples = allocate(blocks * per_block);
        subject->medians = allocate(blocks);
        subject->ratios = allocate(blocks);
        measure_block(subject, subject->samples, per_block); /* not counted: everyone gets warm */
    }
    for (size_t block = 0; block < blocks; block++) {
        double fastest = 0;

        for (size_t index = 0; index < subject_count; index++) {
            struct subject *subject = &subjects[index];
            double median = measure_block(subject, subject->samples + block * per_block, per_block);

            if (!subject->is_server && (index == 0 || median < fastest))
                fastest = median;
            subject->medians[block] = median;
            subject->ratios[block] = median / fastest;
        }
    }
}

static void print_results(const struct subject *subjects, size_t subject_count, size_t blocks,
                          size_t per_block)
{
    const struct subject *fastest = &subjects[0];

    for (size_t index = 1; index < PINGPONGS; index++) {
        if (quantile(subjects[index].medians, blocks, 0.5) < quantile(fastest->medians, blocks, 0.5))
            fastest = &subjects[index];
    }
    for (size_t index = 0; index <= subject_count; index++) {
        const struct subject *subject = index < subject_count ? &subjects[index] : fastest;

        printf("%s %.1f %.1f %.2f\n", index < subject_count ? subject->name : "fastest",
               quantile(subject->samples, blocks * per_block, 0.5) / MICROSECOND,
               quantile(subject->samples, blocks * per_block, 0.99) / MICROSECOND,
               quantile(subject->ratios, blocks, 0.5));
    }
}

int main(int argument_count, char **arguments)
{
    static struct subject subjects[MAXIMUM_SUBJECTS];
    size_t subject_count = PINGPONGS;
    size_t blocks;
    size_t per_block;

    if (argument_count < 5 || argument_count > 3 + 2 * (MAXIMUM_SUBJECTS - PINGPONGS) ||
        argument_count % 2 == 0)
        fail("usage: roundtrip BLOCKS SAMPLES_PER_BLOCK event-syncer|nchan PORT [...]");
    blocks = parse_number(arguments[1], "BLOCKS", 1, 10000);
    per_block = parse_number(arguments[2], "SAMPLES_PER_BLOCK", 1, 10000);
    start_pingpong(&subjects[0], "ping-pong", false);
    start_pingpong(&subjects[1], "ping-pong-on-one-processor", true);
    for (int argument = 3; argument < argument_count; argument += 2)
        start_server(&subjects[subject_count++], arguments[argument], arguments[argument + 1]);
    measure(subjects, subject_count, blocks, per_block);
    print_results(subjects, subject_count, blocks, per_block);
    return 0;
}
