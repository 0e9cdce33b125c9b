/* The hub: open event streams, and the fan-out of published events to them.
 *
 * What it is
 *   A stream belongs to one user, follows some channels, and is handed every event of those above a given id, in id
 *   order, none missing, none twice: first from the database (replay), then as they are published (live). The hub knows
 *   no socket: a stream is a source of bytes (stream_fill, stream_advance, stream_more), and whoever gave the hub its
 *   `wake` function writes them out.
 *
 * The tail
 *   One thread, the tail, brings the head forward: the id up to which events have been fanned out. It takes them from
 *   memory where this server published them and no id lies in between, else from the database (id > head, in id order).
 *   It looks there when the storage has news, and once a second. Ids become visible in their order (storage.h), so
 *   nothing can appear below the head.
 *
 * From replay to live, without a gap and without a double
 *   Under the hub's mutex a replay sets its goal to the head, and from then on the tail puts what it fans out into the
 *   stream's live queue. The replay reads pages up to the goal; then the live queue follows, whose first id lies above
 *   it. If that queue has overflowed meanwhile, it is emptied, and the replay goes another round.
 *
 * Slow clients
 *   The live queue holds references to at most STREAM_QUEUE_EVENTS events of at most STREAM_QUEUE_BYTES in all. When the
 *   events in all live queues take more than max_queued_bytes, the streams that hold more than their share are full too. One
 *   event always has room. A stream that would go beyond is closed: its client comes back with the last id that it saw, and
 *   replays at its own pace. Replays have max_queued_bytes for themselves: one that finds them used up waits (it stalls).
 *
 * Who owns what
 *   The hub owns the tables of channels and users; a stream owns its entries in them. A stream has references: one of
 *   who opened it (stream_close ends it), one while it is in a wake list. Events in queues are reference-counted.
 *
 * Locks, outermost first
 *   1  hub->mutex     the tables, the head, the list by heartbeat
 *   2  stream->mutex  queues and phase of one stream (leaf)
 *   2  inbox mutex    events that were published here and not yet fanned out (leaf)
 *   No function is called back, and nothing is read from the database, under any of them.
 */
#ifndef STREAM_HUB_H
#define STREAM_HUB_H

#include "storage/storage.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/uio.h>

struct hub;
struct stream;

enum { STREAM_QUEUE_EVENTS = 1024, STREAM_QUEUE_BYTES = 8 * 1024 * 1024 };

/* Streams that have something to send. Each holds a reference that stream_take_from_list ends. */
STAILQ_HEAD(stream_list, stream);

struct hub_options {
    int64_t heartbeat_ns;
    uint64_t max_queued_bytes;
    const struct log *log;
    /* Has the streams of the list written to, in this thread or another; `count` of them. Called with no lock held, must
     * not block. It empties the list. */
    void (*wake)(void *context, struct stream_list *streams, size_t count);
    /* Has one stream written to by a thread that may block, because its replay has stalled. */
    void (*resume)(void *context, uint64_t token);
    void *context;
};

/* Makes a hub. Returns NULL with errno. The options are copied. */
struct hub *hub_create(const struct hub_options *options);

/* Starts the tail at `newest_id` and the heartbeats. Returns 0, or -1 with errno. */
int hub_start(struct hub *hub, struct storage *storage, uint64_t newest_id);

/* Waits until all that is known to be published has been handed to the open streams, or until `deadline_at`. */
void hub_drain(struct hub *hub, int64_t deadline_at);

/* Ends the threads; streams may still be open. Does nothing when they don't run. */
void hub_stop(struct hub *hub);

/* No stream is left. Takes NULL. */
void hub_free(struct hub *hub);

/* An event of this server has been committed. Called in id order by one thread; never waits for a fan-out. */
void hub_published(struct hub *hub, const struct storage_event *event);

/* There may be events of other servers. */
void hub_look(struct hub *hub);

/* The user's subscription has ended: the channel goes out of all streams of the user, with what they have not begun to
 * send. */
void hub_unsubscribe(struct hub *hub, struct text user, struct text channel);

/* Some subscriptions may have ended elsewhere: those of `user`, or of anybody when that is empty. The tail looks into
 * the database. */
void hub_recheck(struct hub *hub, struct text user);

size_t hub_stream_count(struct hub *hub);

/* --- streams --- */

/* Registers a stream of the user for the channels, without a double in them. `token` is the caller's, for `wake`.
 * Nothing is sent yet. NULL without memory. */
struct stream *stream_open(struct hub *hub, struct text user, const struct text *channels, size_t count,
                           uint64_t token);

/* Before it starts: the user is subscribed to this channel. A subscription is to be looked up after stream_open: then one
 * that ends at that moment is either seen by the look-up, or ended by hub_unsubscribe. */
void stream_confirm(struct stream *stream, struct text channel);

/* Drops the channels that were not confirmed. Returns how many are left. */
size_t stream_drop_unconfirmed(struct stream *stream);

/* Begins: every event of the channels with an id above `after` will be sent. */
void stream_start(struct stream *stream, uint64_t after);

uint64_t stream_token(const struct stream *stream);

/* Takes the first stream out of a wake list and returns its token: then it is to be written to. */
uint64_t stream_take_from_list(struct stream_list *streams);

/* Moves at most `count` streams from the front of `from` to the end of `to`; returns how many. */
size_t stream_list_split(struct stream_list *from, struct stream_list *to, size_t count);

/* Points at most `count` vectors to the next bytes and returns how many it filled; 0: nothing for now. One thread at a
 * time uses this and the next two. */
int stream_fill(struct stream *stream, struct iovec *vectors, int count);
void stream_advance(struct stream *stream, size_t length);

enum stream_more {
    STREAM_MORE,    /* stream_fill has something */
    STREAM_IDLE,    /* nothing for now: `wake` will be called */
    STREAM_REPLAYS, /* stream_replay is to be called, by a thread that may block */
    STREAM_ENDED,   /* it could not keep up: to be closed */
};

/* What to do when stream_fill has nothing. */
enum stream_more stream_more(struct stream *stream);

/* Reads the next page of a replay. When the database does not answer, it stalls: `resume` will be called. */
enum stream_more stream_replay(struct stream *stream);

/* The replay can't go on now for lack of a thread: `resume` will be called. */
void stream_stall(struct stream *stream);

/* Closes and, with the last reference, frees the stream. */
void stream_close(struct stream *stream);

#endif
