/*
 * A long run of everything at once: many actors, each in a thread of its own, ask all endpoints, slowly, half, and as they
 * should, at bounded rates; then all that the server holds must return to what it was before.
 *
 * An activity is what an actor does, again and again, until the run is over (soak.c). The state that actors of several
 * activities share has an owner: the queue's ledger (soak_queue.c), the channels (soak_events.c).
 *
 * Actors use the kit's functions for any thread (kit_try_...) and report with soak_fail: the first problem ends the run.
 */
#ifndef SOAK_H
#define SOAK_H

#include <pthread.h>
#include <stdatomic.h>

#include "../blackbox/kit.h"

enum { SOAK_LEFT_MOST = 16, SOAK_DEADLINE_MS = 20000 };

struct soak {
    struct kit *kit;
    struct kit_server *server;
    int64_t ends_at_ms;
    int seconds;
    atomic_bool failed;
    atomic_llong refused;  /* with 503, where a busy disk or machine may lead to that */
    pthread_mutex_t mutex; /* guards `problem` */
    char problem[500];
    struct soak_queue *queue;
    struct soak_channels *channels;
};

struct actor;

struct activity {
    const char *name;
    int count;    /* of its actors */
    int pause_ms; /* the longest between two steps; about half of it is usual */
    void (*step)(struct actor *actor);
};

struct actor {
    struct soak *soak;
    const struct activity *activity;
    pthread_t thread;
    bool runs;
    int number; /* among those of its activity */
    uint64_t random;
    uint64_t steps;
    struct kit_connection *connection; /* NULL: opened when needed */
    /* Connections that are left alone for a while; NULL: none. */
    struct kit_connection *left[SOAK_LEFT_MOST];
    int64_t last_id, last_number; /* of a stream's reader, or of a writer */
};

/* ---- soak.c ---- */

/* Notes the first problem, which ends the run. */
void soak_fail(struct soak *soak, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool soak_is_over(const struct soak *soak);
/* 0 to bound - 1. */
int soak_draw(struct actor *actor, int bound);

/* Opens the actor's connection if there is none; false after a failure. */
bool soak_connect(struct actor *actor);
/* With RST or FIN; does nothing where there is none. */
void soak_disconnect(struct actor *actor, bool reset);

/* Asks over the actor's connection; `type` NULL: no Content-Type. Returns the status, which must be one of "200|409", and
 * the response, which kit_response_clear() frees; 0 after a failure. Now and then the connection is closed behind it. */
int soak_exchange(struct actor *actor, const char *method, const char *target, const char *type,
                  const char *body, const char *statuses, struct kit_response *response);
/* The same for who does not look at the answer. */
void soak_ask(struct actor *actor, const char *method, const char *target, const char *type, const char *body,
              const char *statuses);

/* ---- soak_queue.c: pushes and gets, with a ledger ---- */

void soak_queue_create(struct soak *soak);
void soak_push(struct actor *actor);    /* events of a key, one or several */
void soak_get_all(struct actor *actor); /* the one consumer of a group, which never hangs up in the middle */
void soak_get_shared(struct actor *actor);  /* several of a group, who hang up where nothing can be lost */
void soak_get_and_cut(struct actor *actor); /* several of a group, who hang up anywhere */
/* When no actor runs any more: takes what is left, and checks that every event came once to each group. */
void soak_queue_check(struct soak *soak);

/* ---- soak_events.c: all other endpoints ---- */

void soak_channels_create(struct soak *soak);
void soak_publish(struct actor *actor);
void soak_stream(struct actor *actor);
void soak_history(struct actor *actor);
void soak_subscribe(struct actor *actor);
void soak_post_events(struct actor *actor);
void soak_metrics(struct actor *actor);
void soak_swap_table(struct actor *actor);
void soak_add_event(struct actor *actor);
void soak_list(struct actor *actor);
void soak_live_event(struct actor *actor);
void soak_look(struct actor *actor);
/* Prints what the channels have seen. */
void soak_channels_report(const struct soak *soak);

/* ---- soak_hangups.c: any request, and no good manners ---- */

void soak_hang_up(struct actor *actor); /* in the middle of a head, a body, an answer */
void soak_dawdle(struct actor *actor);  /* sends half a request, and waits to be cut */
void soak_stall(struct actor *actor);   /* asks for much and reads nothing for a while */
void soak_vanish(struct actor *actor);  /* leaves the network without a word */

#endif
