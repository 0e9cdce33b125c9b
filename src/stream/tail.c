/* The tail: the thread that brings the head forward. */
#include "base/clock.h"
#include "base/sync.h"
#include "stream/hub_internal.h"

#include <errno.h>

enum { PAGE_EVENTS = 256, PAGE_BYTES = 1024 * 1024, FANNED_OUT_AT_ONCE = 64 };

#define LOOK_NS CLOCK_NS_PER_SECOND

void hub_wake(struct hub *hub, struct stream_list *woken, size_t count)
{
    if (count > 0)
        hub->options.wake(hub->options.context, woken, count);
}

/* --- fan-out --- */

static void fan_out_locked(struct hub *hub, struct frame *frame, struct stream_list *woken, size_t *count)
{
    struct channel *channel = registry_channel_locked(hub, frame->channel);
    hub->head = frame->id;
    if (channel == NULL)
        return;
    struct following *following;
    TAILQ_FOREACH (following, &channel->followers, link)
        stream_offer(following, frame, woken, count);
}

enum gaps { GAPS_END_IT, GAPS_ARE_KNOWN };

/* Fans out frames above the head, in order, some at a time. Frames from the memory end at a gap, because somebody else's
 * event lies in it, and stay in the list; what was read from the database is complete. */
static void fan_out(struct hub *hub, struct frame_list *frames, enum gaps gaps)
{
    bool gap = false;
    while (!STAILQ_EMPTY(frames) && !gap) {
        struct stream_list woken = STAILQ_HEAD_INITIALIZER(woken);
        size_t count = 0;
        pthread_mutex_lock(&hub->mutex);
        for (size_t i = 0; i < FANNED_OUT_AT_ONCE && !STAILQ_EMPTY(frames) && !gap; i++) {
            struct frame *frame = STAILQ_FIRST(frames);
            gap = gaps == GAPS_END_IT && frame->id > hub->head + 1;
            if (gap)
                break;
            STAILQ_REMOVE_HEAD(frames, link);
            if (frame->id > hub->head)
                fan_out_locked(hub, frame, &woken, &count);
            frame_release(frame);
        }
        pthread_mutex_unlock(&hub->mutex);
        hub_wake(hub, &woken, count);
    }
}

static void release_all(struct frame_list *frames)
{
    struct frame *frame;
    while ((frame = STAILQ_FIRST(frames)) != NULL) {
        STAILQ_REMOVE_HEAD(frames, link);
        frame_release(frame);
    }
}

/* --- from the database --- */

struct page {
    struct hub *hub;
    struct frame_list frames;
    size_t events;
    size_t bytes;
    bool failed;
};

static bool add_to_page(void *context, const struct storage_event *event)
{
    struct page *page = context;
    struct frame *frame = frame_create(&page->hub->queued_bytes, event);
    page->failed = frame == NULL;
    if (page->failed)
        return false;
    STAILQ_INSERT_TAIL(&page->frames, frame, link);
    page->events++;
    page->bytes += frame->length;
    return page->bytes < PAGE_BYTES;
}

static uint64_t head_of(struct hub *hub)
{
    pthread_mutex_lock(&hub->mutex);
    uint64_t head = hub->head;
    pthread_mutex_unlock(&hub->mutex);
    return head;
}

static void raise_head(struct hub *hub, uint64_t head)
{
    pthread_mutex_lock(&hub->mutex);
    if (hub->head < head)
        hub->head = head;
    pthread_mutex_unlock(&hub->mutex);
}

/* Fans out what the database has up to `target`. Returns 0, or -1 when it did not give it. */
static int catch_up(struct hub *hub, uint64_t target)
{
    for (uint64_t head = head_of(hub); head < target; head = head_of(hub)) {
        struct page page = {.hub = hub, .frames = STAILQ_HEAD_INITIALIZER(page.frames)};
        struct storage_range range = {
            .after = head, .up_to = target, .limit = PAGE_EVENTS, .most_bytes = PAGE_BYTES};
        enum storage_result result =
            storage_events(hub->storage, &range, add_to_page, &page, clock_monotonic_ns() + STORAGE_CALL_NS);
        fan_out(hub, &page.frames, GAPS_ARE_KNOWN);
        if (result != STORAGE_OK || page.failed)
            return -1;
        if (page.events < PAGE_EVENTS && page.bytes < PAGE_BYTES)
            raise_head(hub, target);
    }
    return 0;
}

/* --- the thread --- */

struct news {
    struct frame_list frames;
    uint64_t newest_id; /* up to here the frames are in the list, or nowhere but in the database */
    bool look;
};

/* Waits for something to do. Returns false at the end. */
static bool wait_for_news(struct hub *hub, struct news *news, int64_t next_look_at)
{
    bool in_time = true;
    pthread_mutex_lock(&hub->inbox_mutex);
    hub->tail_idles = true;
    pthread_cond_broadcast(&hub->round_over);
    while (!hub->stopping && STAILQ_EMPTY(&hub->inbox) && !hub->look && in_time)
        in_time = sync_wait_until(&hub->inbox_changed, &hub->inbox_mutex, next_look_at);
    hub->tail_idles = false;
    STAILQ_INIT(&news->frames);
    STAILQ_CONCAT(&news->frames, &hub->inbox);
    hub->inbox_count = 0;
    news->newest_id = hub->newest_id;
    news->look = hub->look || !in_time;
    hub->look = false;
    bool stopping = hub->stopping;
    pthread_mutex_unlock(&hub->inbox_mutex);
    return !stopping;
}

/* With no stream open, nobody misses what is not fanned out. */
static void skip_without_streams(struct hub *hub, uint64_t newest_id)
{
    pthread_mutex_lock(&hub->mutex);
    pthread_mutex_lock(&hub->inbox_mutex);
    if (hub->newest_id < newest_id)
        hub->newest_id = newest_id;
    if (atomic_load(&hub->stream_count) == 0 && hub->head < newest_id)
        hub->head = newest_id;
    pthread_mutex_unlock(&hub->inbox_mutex);
    pthread_mutex_unlock(&hub->mutex);
}

/* Has the replays go on that the database did not answer. */
static void resume_stalled(struct hub *hub)
{
    bool more = true;
    size_t most = atomic_load(&hub->stream_count);
    for (size_t i = 0; i < most && more; i++) {
        uint64_t token = 0;
        pthread_mutex_lock(&hub->mutex);
        struct stream *stream = TAILQ_FIRST(&hub->stalled);
        more = stream != NULL;
        if (more) {
            TAILQ_REMOVE(&hub->stalled, stream, stalled_link);
            stream->stalled = false;
            token = stream->token;
        }
        pthread_mutex_unlock(&hub->mutex);
        if (more)
            hub->options.resume(hub->options.context, token);
    }
}

/* Asks the database how far it is. Returns 0, or -1 when it does not answer. */
static int look(struct hub *hub, uint64_t *newest_id)
{
    uint64_t newest = 0;
    if (storage_newest_id(hub->storage, &newest, clock_monotonic_ns() + STORAGE_CALL_NS) != STORAGE_OK)
        return -1;
    if (*newest_id < newest)
        *newest_id = newest;
    resume_stalled(hub);
    return 0;
}

static void *tail_main(void *context)
{
    struct hub *hub = context;
    struct news news;
    int64_t next_look_at = clock_monotonic_ns() + LOOK_NS;
    while (wait_for_news(hub, &news, next_look_at)) {
        bool reached = true;
        fan_out(hub, &news.frames, GAPS_END_IT);
        release_all(&news.frames); /* beyond a gap: they come from the database */
        if (news.look) {
            reached = look(hub, &news.newest_id) == 0;
            next_look_at = clock_monotonic_ns() + LOOK_NS;
        }
        skip_without_streams(hub, news.newest_id);
        if (reached)
            reached = catch_up(hub, news.newest_id) == 0;
        if (reached && recheck_some(hub))
            hub_look(hub);
    }
    release_all(&news.frames);
    return NULL;
}

int tail_start(struct hub *hub)
{
    int error = pthread_create(&hub->tail, NULL, tail_main, hub);
    hub->tail_runs = error == 0;
    errno = error;
    if (error == 0)
        pthread_setname_np(hub->tail, "stream tail");
    return error == 0 ? 0 : -1;
}

void tail_stop(struct hub *hub)
{
    if (!hub->tail_runs)
        return;
    pthread_mutex_lock(&hub->inbox_mutex);
    hub->stopping = true;
    pthread_cond_signal(&hub->inbox_changed);
    pthread_mutex_unlock(&hub->inbox_mutex);
    pthread_join(hub->tail, NULL);
    hub->tail_runs = false;
}
