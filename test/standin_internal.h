/* The stand-in's own: what its two files share. */
#ifndef TEST_STANDIN_INTERNAL_H
#define TEST_STANDIN_INTERNAL_H

#include "standin.h"

#include <pthread.h>
#include <sys/queue.h>

enum { STANDIN_ROUTES = 64, STANDIN_PATIENCE_MS = 60 * 1000 };

/* A copy of what is set; its holder frees the body. */
struct standin_plan {
    struct standin_behaviour behaviour;
    char *body;
    uint64_t
        releases; /* that had been when the request was counted: who awaits the count may release it at once */
};

struct standin_route {
    char path[STANDIN_PATH_BYTES];
    bool is_set;
    struct standin_plan plan;
    uint64_t count;
};

struct standin_connection {
    struct standin *standin;
    int descriptor;
    unsigned number;
    bool idle; /* nothing of a next request has come */
    LIST_ENTRY(standin_connection) link;
};

struct standin {
    unsigned port;
    char url[64];
    int listener;
    pthread_t acceptor;
    pthread_mutex_t mutex;
    pthread_cond_t changed; /* of anything below */
    bool away;              /* connections end, none is accepted */
    uint64_t releases;
    unsigned connection_count;
    LIST_HEAD(, standin_connection) connections;
    struct standin_plan plan; /* for all other paths */
    struct standin_route routes[STANDIN_ROUTES];
    size_t route_count;
    uint64_t count;
    struct standin_request *records;
    size_t record_count;
};

/* Waits for a change until `deadline` (CLOCK_MONOTONIC), with the mutex held. Returns false when it has passed. */
bool standin_wait_locked(struct standin *standin, const struct timespec *deadline);
struct timespec standin_in_ms(int64_t milliseconds);

/* Notes a whole request; returns a copy of what is to be done with it. */
struct standin_plan standin_note(struct standin *standin, struct standin_request *request);

/* What is set for all paths, without its body. */
struct standin_behaviour standin_general(struct standin *standin);

/* Serves a connection until it ends. */
void standin_serve(struct standin_connection *connection);

#endif
