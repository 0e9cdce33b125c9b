/*
 * What the benchmark clients share: clocks, loopback connections, a reader for HTTP answers, the requests
 * that event-syncer and nginx's nchan understand, and medians.  Every function ends the program with a
 * message when the system or the server does something unexpected: a benchmark has no use for half a result.
 */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define REQUEST_SIZE   512
#define VALIDATOR_SIZE 128
#define BUFFER_SIZE    4096

enum server_kind {
    SERVER_EVENT_SYNCER,
    SERVER_NCHAN,
};

/* The answer that stands at the beginning of a connection's buffer. */
struct response {
    int status;
    size_t header_length;
    size_t body_length;
};

/* A connection with its place for what has arrived and is not used yet. */
struct connection {
    int descriptor;
    size_t length;
    char data[BUFFER_SIZE];
};

/* Where a long poll of nchan goes on: the validators of the last message; empty in the beginning. */
struct position {
    char modified[VALIDATOR_SIZE];
    char tag[VALIDATOR_SIZE];
};

_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
enum server_kind parse_server_kind(const char *name);
unsigned long parse_number(const char *text, const char *what, unsigned long minimum, unsigned long maximum);

uint64_t now_nanoseconds(void);
/* The CPU time of a whole process so far, its finished threads too. */
uint64_t process_nanoseconds(pid_t process);

/* Lifts the soft limit of open files to the hard one. */
void raise_file_limit(void);
/* A blocking socket to 127.0.0.1:port that comes from 127.0.0.(1 + source); source 0 leaves it to the system.
 */
int connect_loopback(uint16_t port, unsigned source);
void connection_open(struct connection *connection, uint16_t port, unsigned source);
void send_all(int descriptor, const char *data, size_t length);

/* Is there a whole answer at the beginning of the buffer? */
bool response_parse(const struct connection *connection, struct response *response);
/* Forgets that answer and moves what follows to the beginning. */
void response_drop(struct connection *connection, const struct response *response);
/* Blocks until a whole answer has arrived; it stays in the buffer. */
void response_wait(struct connection *connection, struct response *response);
/* Sends a request, waits for the answer, drops it and returns its status. */
int exchange(struct connection *connection, const char *request);

/* Writes the request that waits for an event, or pushes one, and returns its length. */
size_t format_wait(char request[REQUEST_SIZE], enum server_kind kind, const char *key, unsigned long group,
                   const struct position *position);
size_t format_push(char request[REQUEST_SIZE], enum server_kind kind, const char *key, const char *body);
/* Does the answer carry an event?  For nchan this also notes where the next long poll goes on. */
bool response_has_event(const struct connection *connection, const struct response *response,
                        enum server_kind kind, struct position *position);
/*
 * How many requests wait in the whole server: as event-syncer's /health says, or nginx's stub_status, which
 * counts them as being written, and the question too.  (nchan's own count of a channel's subscribers can't be
 * used: with several workers it is often too small.)
 */
unsigned long waiting_count(struct connection *control, enum server_kind kind);
/* Asks until at least that many wait. */
void waiting_reach(struct connection *control, enum server_kind kind, unsigned long wanted);

/* Sorts the values and returns the one below which the given part of them lies: 0.5 is the median. */
double quantile(double *values, size_t count, double part);

#endif
