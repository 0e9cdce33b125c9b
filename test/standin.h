/* A stand-in for an upstream: a small HTTP/1.1 server inside the test program that misbehaves when told to.
 *
 * It listens on a port of 127.0.0.1, has a thread for accepting and one a connection, keeps connections alive, counts
 * requests by path and records them (the first STANDIN_RECORDS of them). What it does with a request is set by path;
 * it goes by what is set when the whole request has come. Requests need a Content-Length for their body.
 *
 * One mutex guards everything; all waits have a deadline. No function fails a test: they return NULL or -1 and print why
 * to stderr. Any number of threads, but standin_vanish, _return and _free by one at a time. Needs none of the server's
 * own modules, so tests of the binary can use it too.
 */
#ifndef TEST_STANDIN_H
#define TEST_STANDIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct standin;

enum { STANDIN_RECORDS = 10000, STANDIN_PATH_BYTES = 128 };

enum standin_kind {
    STANDIN_ANSWER,      /* status and body */
    STANDIN_HANG,        /* nothing, until the client goes */
    STANDIN_HOLD,        /* the answer, once standin_release is called */
    STANDIN_DROP,        /* closes the connection when the whole request has come */
    STANDIN_DROP_UNREAD, /* resets it at a request's first byte, which it does not read (set for all paths) */
    STANDIN_DROP_HALF,   /* half of the answer, then closes */
    STANDIN_GARBAGE,     /* what is no HTTP, then closes */
    STANDIN_LARGE,       /* a body of `bytes` bytes, announced */
    STANDIN_LARGE_CHUNKED, /* the same in chunks, not announced */
    STANDIN_LARGE_HEAD,    /* a head of some `bytes` bytes */
    STANDIN_SLOW,          /* the answer byte by byte, `pause_ms` between two */
    STANDIN_REDIRECT,      /* `status` with a Location: `body` */
    STANDIN_INTERIM,       /* 103 Early Hints every `pause_ms`, without an end */
    STANDIN_RAW,           /* the bytes of `body`, then closes */
};

struct standin_behaviour {
    enum standin_kind kind;
    unsigned status;  /* 0: 200 */
    const char *body; /* copied; NULL: {"success":true} */
    size_t bytes;
    int pause_ms;
    bool closing; /* the answer says Connection: close, and means it */
};

struct standin_request {
    char method[16];
    char path[STANDIN_PATH_BYTES];
    char *head; /* as it came, with a final NUL */
    char *body; /* with a final NUL */
    size_t body_length;
    unsigned connection; /* its number, from 1 */
};

/* Listens and answers everything with 200 and {"success":true}. */
struct standin *standin_start(void);

/* Takes NULL. */
void standin_free(struct standin *standin);

unsigned standin_port(const struct standin *standin);

/* "http://127.0.0.1:PORT", as long as the stand-in lives. */
const char *standin_url(const struct standin *standin);

/* From the next request to `path` on (NULL: to all paths that have nothing of their own). */
void standin_set(struct standin *standin, const char *path, const struct standin_behaviour *behaviour);

/* Lets go what is held now. */
void standin_release(struct standin *standin);

/* Whole requests to `path` (NULL: to all) that have come. */
uint64_t standin_count(struct standin *standin, const char *path);

/* Waits until there are at least `count`, for at most `most_ms`. Returns 0 or -1. */
int standin_await(struct standin *standin, const char *path, uint64_t count, int64_t most_ms);

/* Copies a request, in the order of their coming from 0; the caller frees it. Returns -1 when there is none. */
int standin_request(struct standin *standin, size_t index, struct standin_request *request);
void standin_request_free(struct standin_request *request);

/* Connections that were ever accepted. */
unsigned standin_connections(struct standin *standin);

/* Closes the connections that wait for a request of which nothing has come. */
void standin_close_idle(struct standin *standin);

/* Closes everything, so that connections are refused, but keeps the port; and comes back there. */
int standin_vanish(struct standin *standin);
int standin_return(struct standin *standin);

#endif
