/*
 * A ledger of what producers have pushed and consumer groups have seen, and the proof that the two agree:
 * every event once for each group, in the order of its producer. Events are numbered by producer; ids are the
 * server's.
 */
#ifndef KIT_LEDGER_H
#define KIT_LEDGER_H

#include <pthread.h>

#include "kit.h"

/* What its producer knows of an event. */
enum ledger_certainty {
    LEDGER_UNSENT,
    LEDGER_STORED,  /* it was acknowledged */
    LEDGER_PERHAPS, /* sent whole, but the producer hung up before the answer */
    LEDGER_NEVER,   /* never sent whole */
};

struct ledger_push {
    enum ledger_certainty certainty;
    int key;
    int64_t id; /* 0: not told */
    int64_t started_at_ms;
};

struct ledger_sighting {
    int producer, number;
    int count; /* in answers that were received whole */
    int64_t seen_at_ms;
};

/* A request that was cut off while its answer may have been under way. */
struct ledger_cut {
    int64_t sent_at_ms, closed_at_ms;
    int limit; /* it can't have held more events */
};

struct ledger_group {
    int key;
    pthread_mutex_t mutex;             /* guards all below, while threads run */
    struct ledger_sighting *sightings; /* by id, 1 to id_max; lives as long as the kit */
    int64_t id_max, last_id;           /* last_id: the highest seen */
    struct ledger_cut *cuts;
    size_t cut_count;
};

struct ledger {
    struct kit *kit;
    int producer_count, events;  /* events of each producer */
    struct ledger_push **pushes; /* [producer][number]; each row is written by its producer alone */
};

void ledger_group_init(struct ledger_group *group, struct kit *kit, int key, int64_t id_max);
void ledger_group_destroy(struct ledger_group *group);
/* Notes an event of an answer that was received whole. NULL, or what is wrong with it. Call with the mutex
 * held. */
const char *ledger_see_locked(struct ledger_group *group, int64_t id, int producer, int number);
/* Takes the mutex; -1 when out of memory. */
int ledger_note_cut(struct ledger_group *group, struct ledger_cut cut);

/* The checks fail the test. `whole` is a group that was never cut: it defines what the key holds. */

/* The ids are 1 to a last one, each seen once; acknowledged events are among them, with the id that their
 * producer was told and in its order; none twice, and none that was never sent whole. The last id. */
int64_t ledger_check_whole(const struct ledger *ledger, const struct ledger_group *whole);
/* The group has seen the same events, each exactly once. */
void ledger_check_same(const struct ledger *ledger, const struct ledger_group *group,
                       const struct ledger_group *whole);
/* The same, except that a cut request may have taken events with it: each missing one needs a cut at about
 * the time when it was due, known to the server `noticed_ms` later at most, and all of them together need
 * cuts enough. The number of missing events. */
size_t ledger_check_cut(const struct ledger *ledger, const struct ledger_group *group,
                        const struct ledger_group *whole, int64_t noticed_ms);

#endif
