/* What the files of the metrics share. See metrics/metrics.h for locks, owners and invariants.
 *
 * Functions that end in _locked expect metrics->mutex to be held by the caller.
 */
#ifndef METRICS_METRICS_INTERNAL_H
#define METRICS_METRICS_INTERNAL_H

#include "base/hash.h"
#include "metrics/filter.h"
#include "metrics/intern.h"
#include "metrics/metrics.h"
#include "metrics/numbers.h"
#include "metrics/tally.h"

#include <pthread.h>

enum {
    METRICS_CHUNK = 128,        /* events under one hold of the lock */
    METRICS_PART_USERS = 256,   /* of a new view */
    METRICS_PART_EVENTS = 8192, /* of a new view, or of logs that have left the ring */
};

#define SECOND_NONE  INT64_MIN
#define USER_UNKNOWN (UINT32_MAX - 1) /* as a plan: the user is not in the table */

/* What a table says of a user. */
struct user_attributes {
    uint32_t plan; /* REFERENCE_NONE: none, USER_UNKNOWN */
    uint32_t region;
};

struct user {
    struct interned name;
    int64_t latest_s; /* the latest second up to now_s with an event of the user's; may have left the ring */
    struct user_attributes attributes[2]; /* by view->side */
};

struct view {
    struct reference *reference; /* NULL: no table yet */
    uint64_t generation;
    unsigned side; /* the current view and the next one have different sides */
    /* Users below this number have their attributes; UINT32_MAX: all. */
    uint32_t mapped_end;
    /* Places below this one are done, and of the log of that place what lies before `piece` (NULL: nothing yet). */
    uint32_t places_end;
    struct numbers_piece *piece;
    uint32_t *unknown; /* each by place */
    uint32_t *latest;
    struct tally plans;
    struct tally regions;
};

struct metrics {
    struct clock clock;
    int64_t retention_s;
    uint32_t places; /* a power of two */
    struct hash_seed seed;
    struct budget budget;
    pthread_mutex_t swap;
    pthread_cond_t swapped;
    bool swapping; /* guarded by `swap` */
    pthread_mutex_t turn;
    pthread_mutex_t mutex;
    /* Guarded by `mutex`. */
    int64_t now_s;
    struct view *current;
    struct view *next; /* being made, or NULL */
    uint32_t *events;  /* each by place */
    struct numbers *logs;
    uint64_t event_count;
    struct tally types;
    struct intern users;
    struct intern type_names;
    struct numbers
        departed;        /* logs of seconds that have left the ring: users' references still to be dropped */
    uint64_t peak_bytes; /* the most memory since free memory was last given back to the system */
    struct filter filter;
};

/* --- the lock: metrics.c --- */

/* Takes the lock in its turn. */
void metrics_lock(struct metrics *metrics);
/* Takes the lock and follows the clock. Returns the wall time in milliseconds. */
int64_t metrics_enter(struct metrics *metrics);
void metrics_leave(struct metrics *metrics);

int64_t second_of(int64_t wall_ms);

static inline uint32_t place_of(const struct metrics *metrics, int64_t second)
{
    return (uint32_t)((uint64_t)second & (metrics->places - 1));
}

/* Whether a second up to now_s is in the ring. */
static inline bool is_live(const struct metrics *metrics, int64_t second)
{
    return second > metrics->now_s - metrics->retention_s;
}

/* --- the ring: window.c --- */

/* Follows the clock: seconds leave the ring, and come. */
void window_advance_locked(struct metrics *metrics, int64_t now_s);
/* An event of the user's in `second`, which has come. */
void window_note_user_locked(struct metrics *metrics, struct user *user, int64_t second);
/* Drops references of departed events, `limit` or some more. Returns whether there are more. */
bool window_bury_locked(struct metrics *metrics, size_t limit);
void window_drop_user_locked(struct metrics *metrics, struct user *user);

/* --- views: view.c --- */

/* NULL: no memory. Holds the reference, which may be NULL. */
struct view *view_create(struct metrics *metrics, struct reference *reference, unsigned side);
void view_free(struct metrics *metrics, struct view *view);
/* Looks a new user up. */
void view_map_user(const struct view *view, struct user *user);
/* Makes sure that an event of the user's can be added. False: no memory. */
bool view_reserve(struct view *view, uint32_t place, const struct user *user);
void view_add(struct view *view, uint32_t place, const struct user *user);
void view_clear_place(struct view *view, uint32_t place);

/* Whether the user's latest second counts in the view. */
static inline bool view_knows(const struct view *view, const struct user *user)
{
    return view != NULL && user->name.number < view->mapped_end &&
           user->attributes[view->side].plan != USER_UNKNOWN;
}

/* Whether events at `place` are counted as they come. */
static inline bool view_has_place(const struct view *view, uint32_t place)
{
    return view != NULL && place < view->places_end;
}

#endif
