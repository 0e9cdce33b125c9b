/* The hub's life, its heartbeats, and what others tell it. */
#include "stream/hub.h"

#include "base/clock.h"
#include "base/sync.h"
#include "stream/hub_internal.h"

#include <stdlib.h>

enum { INBOX_FRAMES = 8192, HEARTBEATS_AT_ONCE = 1024 };

struct hub *hub_create(const struct hub_options *options)
{
    struct hub *hub = calloc(1, sizeof *hub);
    if (hub == NULL)
        return NULL;
    hub->options = *options;
    TAILQ_INIT(&hub->by_heartbeat);
    TAILQ_INIT(&hub->stalled);
    STAILQ_INIT(&hub->inbox);
    TAILQ_INIT(&hub->rechecks);
    hub->heartbeat = frame_create_heartbeat();
    if (hub->heartbeat == NULL || hash_seed_draw(&hub->seed) != 0 ||
        sync_condition_init(&hub->inbox_changed) != 0 || sync_condition_init(&hub->round_over) != 0) {
        free(hub->heartbeat);
        free(hub);
        return NULL;
    }
    pthread_mutex_init(&hub->mutex, NULL);
    pthread_mutex_init(&hub->inbox_mutex, NULL);
    return hub;
}

/* Gives a heartbeat to the streams whose time has come. Returns when the next one's comes. */
static int64_t heartbeat_round(void *context, struct periodic *thread)
{
    (void)thread;
    struct hub *hub = context;
    struct stream_list woken = STAILQ_HEAD_INITIALIZER(woken);
    size_t count = 0;
    int64_t now = clock_monotonic_ns();
    pthread_mutex_lock(&hub->mutex);
    struct stream *stream = TAILQ_FIRST(&hub->by_heartbeat);
    for (size_t i = 0; i < HEARTBEATS_AT_ONCE && stream != NULL && stream->next_heartbeat_at <= now; i++) {
        /* All have the same interval, so that the list stays in order. */
        TAILQ_REMOVE(&hub->by_heartbeat, stream, heartbeat_link);
        TAILQ_INSERT_TAIL(&hub->by_heartbeat, stream, heartbeat_link);
        stream->next_heartbeat_at = now + hub->options.heartbeat_ns;
        stream_offer_heartbeat(stream, &woken, &count);
        stream = TAILQ_FIRST(&hub->by_heartbeat);
    }
    /* A stream that opens meanwhile is due a whole interval from now at the earliest. */
    int64_t next_at = stream == NULL ? now + hub->options.heartbeat_ns : stream->next_heartbeat_at;
    pthread_mutex_unlock(&hub->mutex);
    hub_wake(hub, &woken, count);
    return next_at;
}

int hub_start(struct hub *hub, struct storage *storage, uint64_t newest_id)
{
    hub->storage = storage;
    hub->head = newest_id;
    hub->newest_id = newest_id;
    hub->heartbeats = periodic_start("heartbeats", heartbeat_round, hub);
    if (hub->heartbeats == NULL)
        return -1;
    return tail_start(hub);
}

void hub_drain(struct hub *hub, int64_t deadline_at)
{
    bool in_time = true;
    pthread_mutex_lock(&hub->inbox_mutex);
    while ((!STAILQ_EMPTY(&hub->inbox) || hub->look || !hub->tail_idles) && hub->tail_runs && in_time)
        in_time = sync_wait_until(&hub->round_over, &hub->inbox_mutex, deadline_at);
    pthread_mutex_unlock(&hub->inbox_mutex);
}

void hub_stop(struct hub *hub)
{
    periodic_stop(hub->heartbeats);
    hub->heartbeats = NULL;
    tail_stop(hub);
}

void hub_free(struct hub *hub)
{
    if (hub == NULL)
        return;
    hub_stop(hub);
    struct frame *frame;
    while ((frame = STAILQ_FIRST(&hub->inbox)) != NULL) {
        STAILQ_REMOVE_HEAD(&hub->inbox, link);
        frame_release(frame);
    }
    frame_release(hub->heartbeat);
    pthread_mutex_destroy(&hub->mutex);
    pthread_mutex_destroy(&hub->inbox_mutex);
    pthread_cond_destroy(&hub->inbox_changed);
    pthread_cond_destroy(&hub->round_over);
    free(hub);
}

void hub_published(struct hub *hub, const struct storage_event *event)
{
    /* One too many makes a frame for nothing, one too few has it read from the database. */
    struct frame *frame =
        atomic_load(&hub->stream_count) > 0 ? frame_create(&hub->queued_bytes, event) : NULL;
    pthread_mutex_lock(&hub->inbox_mutex);
    hub->newest_id = event->id;
    bool wake = false;
    if (atomic_load(&hub->stream_count) > 0) {
        wake = true;
        if (frame != NULL && hub->inbox_count < INBOX_FRAMES) {
            STAILQ_INSERT_TAIL(&hub->inbox, frame, link);
            hub->inbox_count++;
            frame = NULL;
        } else {
            hub->look = true;
        }
    }
    if (wake)
        pthread_cond_signal(&hub->inbox_changed);
    pthread_mutex_unlock(&hub->inbox_mutex);
    frame_release(frame);
}

void hub_look(struct hub *hub)
{
    pthread_mutex_lock(&hub->inbox_mutex);
    hub->look = true;
    pthread_cond_signal(&hub->inbox_changed);
    pthread_mutex_unlock(&hub->inbox_mutex);
}

void hub_unsubscribe(struct hub *hub, struct text user_name, struct text channel)
{
    pthread_mutex_lock(&hub->mutex);
    struct user *user = registry_user_locked(hub, user_name);
    struct stream *stream;
    if (user != NULL) {
        TAILQ_FOREACH (stream, &user->streams, user_link) {
            for (size_t i = 0; i < stream->following_count; i++) {
                struct following *following = &stream->followings[i];
                if (text_equals(following->name, channel))
                    stream_end_following_locked(following);
            }
        }
    }
    pthread_mutex_unlock(&hub->mutex);
}

size_t hub_stream_count(struct hub *hub)
{
    return atomic_load(&hub->stream_count);
}
