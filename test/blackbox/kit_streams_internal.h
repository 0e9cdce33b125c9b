/* What the files of the swarm share among themselves; tests include kit_streams.h only. */
#ifndef KIT_STREAMS_INTERNAL_H
#define KIT_STREAMS_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "kit_internal.h"
#include "kit_sse.h"
#include "kit_streams.h"

enum { CHANNELS = 5, PUBLISHERS = 4, READERS_MAX = 64, SERVERS_MAX = 2 };
enum { PADDING = 200, PADDING_MAX = 20000, PADDING_LARGE = 400000, BODY_BYTES = PADDING_LARGE + 300 };
enum {
    SPARE = 200,        /* numbers that a publisher may use up beyond its events */
    GIVE_UP_MS = 30000, /* without an event taken, or without an open stream */
};

/* What its publisher knows of an event. */
enum certainty {
    UNSENT,
    STORED,  /* 202 */
    PERHAPS, /* sent whole, and not known what became of it */
    CUT,     /* not sent whole */
    REFUSED, /* 503, and not "outcome unknown" */
};

enum kind { STEADY, DROPPING, STALLING };

struct sighting {
    int64_t id;
    int channel, publisher, number;
};

struct actor {
    struct swarm *swarm;
    pthread_t thread;
    bool runs; /* the thread was started and not joined yet */
    int number;
    uint64_t random;
    char *body; /* of a publisher: BODY_BYTES */
    int64_t give_up_at_ms;
    struct kit_connection *connection; /* NULL: opened when needed */
};

struct reader {
    struct actor actor;
    enum kind kind;
    unsigned channels; /* a bit for each */
    bool opened, has_stalled;
    struct kit_sse stream;
    int64_t last_id;
    struct sighting *seen;
    size_t count, capacity;
};

struct swarm {
    struct kit *kit;
    struct swarm_setup setup;
    int ports[SERVERS_MAX], port_count;
    int events, numbers; /* of each publisher: to be taken, and to be used up for that at most */
    /* By number. Each row is its publisher's alone while threads run; the last is the test's own. */
    enum certainty *pushes[PUBLISHERS + 1];
    struct actor publishers[PUBLISHERS];
    struct reader readers[READERS_MAX];
    struct sighting *all; /* all histories, by id */
    size_t all_count;
    int64_t started_at_ms;
    atomic_int hold_at;                /* events of each publisher */
    atomic_int publishing;             /* publishers that are not through */
    atomic_int opened, through;        /* clients: with their first stream, and with their last event */
    atomic_int stored, refused, lost;  /* answers to publishes: 202, 503, none */
    atomic_int drops, ended;           /* of streams: by the client, and by the server */
    _Atomic int64_t targets[CHANNELS]; /* the last event's id; 0: not known yet */
    atomic_bool failed;
    pthread_mutex_t mutex; /* guards `problem` */
    char problem[500];
};

/* ---- for any thread (kit_streams.c) ---- */

/* The first problem counts; it ends all threads. */
void swarm_fail(struct swarm *swarm, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Scrambles a number (splitmix64's way). */
uint64_t swarm_mix(uint64_t value);
/* The body of a publish, up to BODY_BYTES and a NUL, the same for the same event; its length. */
int swarm_write_body(const struct swarm *swarm, char *body, int channel, int publisher, int number);
/* Takes an event; false when it is not as it was published. */
bool swarm_read_event(const struct swarm *swarm, const char *type, const char *payload,
                      struct sighting *event);

/* ---- threads (kit_streams_actors.c), over a struct actor and the one in a struct reader ---- */

void *swarm_publish_all(void *publisher);
void *swarm_read_streams(void *reader);

#endif
