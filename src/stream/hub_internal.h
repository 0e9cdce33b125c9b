/* What the files of the hub share. See stream/hub.h for locks and owners. */
#ifndef STREAM_HUB_INTERNAL_H
#define STREAM_HUB_INTERNAL_H

#include "base/hash.h"
#include "base/periodic.h"
#include "base/table.h"
#include "stream/hub.h"

#include <stdatomic.h>

/* A frame as it goes over the wire, shared by all streams that send it. */
struct frame {
    uint64_t id;            /* 0: a heartbeat */
    atomic_size_t *account; /* of the hub, in which its bytes count, or NULL */
    atomic_uint references;
    size_t length;
    STAILQ_ENTRY(frame) link; /* in the inbox, or the tail's batch */
    struct text channel;      /* behind the bytes */
    char bytes[];
};

STAILQ_HEAD(frame_list, frame);

/* A stream's interest in a channel. */
struct following {
    struct stream *stream;
    struct channel *channel;     /* hub->mutex; NULL when it has ended */
    TAILQ_ENTRY(following) link; /* hub->mutex */
    bool ended;                  /* stream->mutex */
    bool confirmed;              /* hub->mutex: by stream_confirm */
    bool in_question;            /* hub->mutex: it was there before a recheck began */
    struct text name;
};

struct channel {
    struct table_link link;
    TAILQ_HEAD(following_list, following) followers;
    struct text name;
    char bytes[];
};

struct user {
    struct table_link link;
    unsigned recheck_generation; /* how often its subscriptions have been looked up again */
    bool recheck_wanted;         /* it is in the hub's list */
    TAILQ_ENTRY(user) recheck_link;
    TAILQ_HEAD(user_stream_list, stream) streams;
    struct text name;
    char bytes[];
};

struct queued {
    struct frame *frame;
    struct following *following; /* NULL for a heartbeat */
};

/* A ring of frames to be sent; it takes memory only while something is in it. */
struct frame_queue {
    struct queued *items;
    size_t capacity; /* a power of two */
    size_t first;
    size_t count;
    size_t bytes; /* of the frames */
};

enum stream_phase {
    STREAM_PHASE_OPENING, /* nothing is queued; to _REPLAY or _LIVE by stream_start */
    STREAM_PHASE_REPLAY,  /* to _LIVE when the goal is reached */
    STREAM_PHASE_LIVE,    /* to _ENDED when it can't keep up */
    STREAM_PHASE_ENDED,
};

struct stream {
    struct hub *hub;
    uint64_t token;
    atomic_uint references;
    /* hub->mutex */
    struct user *user;
    unsigned recheck_generation; /* the user's when it was opened */
    TAILQ_ENTRY(stream) user_link;
    TAILQ_ENTRY(stream) heartbeat_link;
    int64_t next_heartbeat_at;
    TAILQ_ENTRY(stream) stalled_link;
    bool stalled;
    /* The wake list's; `listed` under `mutex`. */
    STAILQ_ENTRY(stream) wake_link;
    /* The owner's. */
    uint64_t cursor; /* of the replay: all up to here has been queued */
    pthread_mutex_t mutex;
    /* Guarded by `mutex`. */
    enum stream_phase phase;
    bool listed;
    bool overflowed;      /* the live queue, during a replay */
    uint64_t start_after; /* only events above this are for the stream */
    uint64_t goal;        /* of the replay */
    struct frame_queue replayed;
    struct frame_queue live;
    size_t sent; /* bytes of the first frame of the queue whose turn it is */
    size_t following_count;
    struct following followings[]; /* then the channels' names */
};

struct hub {
    struct hub_options options;
    struct storage *storage;
    struct hash_seed seed;
    struct frame *heartbeat;
    struct periodic *heartbeats;
    atomic_size_t queued_bytes;   /* of all frames for live queues */
    atomic_size_t replayed_bytes; /* of all frames that replays have read */
    atomic_size_t stream_count;   /* changed under inbox_mutex */
    pthread_mutex_t mutex;
    /* Guarded by `mutex`. */
    struct table channels;
    struct table users;
    uint64_t head;
    TAILQ_HEAD(heartbeat_list, stream) by_heartbeat;
    TAILQ_HEAD(stalled_list, stream) stalled;
    TAILQ_HEAD(recheck_list, user) rechecks; /* whose subscriptions are to be looked up again */
    pthread_t tail;
    bool tail_runs;
    pthread_mutex_t inbox_mutex;
    pthread_cond_t inbox_changed;
    pthread_cond_t round_over;
    /* Guarded by `inbox_mutex`. */
    struct frame_list inbox;
    size_t inbox_count;
    uint64_t newest_id; /* that this server has committed, or seen */
    bool look;          /* into the database */
    bool tail_idles;
    bool stopping;
};

/* --- frame.c --- */

/* Makes the frame of an event with one reference. `account` is that of the hub in which its bytes count. NULL without
 * memory. */
struct frame *frame_create(atomic_size_t *account, const struct storage_event *event);
struct frame *frame_create_heartbeat(void);
void frame_hold(struct frame *frame);
void frame_release(struct frame *frame);

/* Adds at the end, with a reference of its own. Returns 0, or -1 without memory. */
int frame_queue_add(struct frame_queue *queue, struct frame *frame, struct following *following);
struct queued *frame_queue_at(const struct frame_queue *queue, size_t index);
/* Takes the first one out and drops its reference. */
void frame_queue_drop_first(struct frame_queue *queue);
void frame_queue_clear(struct frame_queue *queue);
/* Drops what belongs to channels that have ended, but for the first `kept`. */
void frame_queue_drop_ended(struct frame_queue *queue, size_t kept);

/* --- registry.c: tables of channels and users; all under hub->mutex --- */

int registry_add_locked(struct hub *hub, struct stream *stream, struct text user);
void registry_remove_locked(struct hub *hub, struct stream *stream);
void registry_end_following_locked(struct hub *hub, struct following *following);
struct channel *registry_channel_locked(const struct hub *hub, struct text name);
struct user *registry_user_locked(const struct hub *hub, struct text name);

/* --- stream.c --- */

/* Queues the frame for a live or replaying stream. Adds the stream to `woken` when it then has to be written to. */
void stream_offer(struct following *following, struct frame *frame, struct stream_list *woken, size_t *count);
/* What has not begun to be sent for it will not be. hub->mutex is held. */
void stream_end_following_locked(struct following *following);

/* Ends one reference. */
void stream_unreference(struct stream *stream);
void stream_offer_heartbeat(struct stream *stream, struct stream_list *woken, size_t *count);

/* --- recheck.c: subscriptions that may have ended through other servers --- */

/* Has the user's subscriptions looked up again. hub->mutex is held. */
void recheck_user_locked(struct hub *hub, struct user *user);

/* Looks some users up. Returns whether there are more. The tail's. */
bool recheck_some(struct hub *hub);

/* --- tail.c --- */

/* Starts and ends the thread. */
int tail_start(struct hub *hub);
void tail_stop(struct hub *hub);

/* Has the streams written to that are in the list. */
void hub_wake(struct hub *hub, struct stream_list *woken, size_t count);

#endif
