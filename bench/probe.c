/*
 * Asks a server what ordinary clients ask, and tells how long that takes: pushes and gets in turns, each over a fresh
 * connection and over a kept one, a round every 10 ms for SECONDS.  Prints "probed COUNT MEDIAN NINETY-NINE LONGEST", the
 * times in milliseconds from before the connection is opened, or the request sent, until the answer has been read.
 *
 * usage: probe PORT SECONDS
 */
#include "common.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ROUND_PAUSE_NS 10000000
#define MOST_TIMES     1000000
#define MILLISECOND    1e6

static const char push[] =
    "POST /push?key=probe HTTP/1.1\r\nHost: localhost\r\nContent-Length: 7\r\n\r\n{\"n\":1}";
static const char get[] =
    "GET /blocking-get?key=probe&groupId=g&timeout=0 HTTP/1.1\r\nHost: localhost\r\n\r\n";

/* Over `kept`, or over a connection of its own where that is NULL. */
static double ask(uint16_t port, struct connection *kept, const char *request)
{
    struct connection fresh;
    struct connection *connection = kept != NULL ? kept : &fresh;
    uint64_t started_at = now_nanoseconds();
    if (kept == NULL)
        connection_open(&fresh, port, 0);
    int status = exchange(connection, request);
    double took = (double)(now_nanoseconds() - started_at);
    if (status != 200)
        fail("a request was answered with %d", status);
    if (kept == NULL)
        close(fresh.descriptor);
    return took;
}

int main(int argument_count, char **arguments)
{
    static double times[MOST_TIMES];
    static struct connection kept;
    const struct timespec pause = {.tv_nsec = ROUND_PAUSE_NS};
    size_t count = 0;

    if (argument_count != 3)
        fail("usage: probe PORT SECONDS");
    uint16_t port = (uint16_t)parse_number(arguments[1], "PORT", 1, UINT16_MAX);
    uint64_t seconds = parse_number(arguments[2], "SECONDS", 1, 3600);
    uint64_t end_at = now_nanoseconds() + seconds * UINT64_C(1000000000);
    connection_open(&kept, port, 0);
    while (now_nanoseconds() < end_at && count + 4 <= MOST_TIMES) {
        times[count++] = ask(port, NULL, push);
        times[count++] = ask(port, &kept, get);
        times[count++] = ask(port, &kept, push);
        times[count++] = ask(port, NULL, get);
        nanosleep(&pause, NULL);
    }
    printf("probed %zu %.3f %.3f %.3f\n", count, quantile(times, count, 0.5) / MILLISECOND,
           quantile(times, count, 0.99) / MILLISECOND, quantile(times, count, 1) / MILLISECOND);
    return 0;
}
