/* One stream: opening, replay, live queue, closing. */
#include "base/clock.h"
#include "stream/hub_internal.h"

#include <stdlib.h>
#include <string.h>

/* A page of a replay: at most so many events, and no more once it has so many bytes. */
enum { PAGE_EVENTS = 256, PAGE_BYTES = 256 * 1024 };

/* --- opening --- */

static struct stream *stream_allocate(const struct text *channels, size_t count)
{
    size_t name_bytes = 0;
    for (size_t i = 0; i < count; i++)
        name_bytes += channels[i].length;
    struct stream *stream = malloc(sizeof *stream + count * sizeof stream->followings[0] + name_bytes);
    if (stream == NULL)
        return NULL;
    *stream = (struct stream){.references = 1, .following_count = count};
    char *name = (char *)&stream->followings[count];
    for (size_t i = 0; i < count; i++) {
        memcpy(name, channels[i].bytes, channels[i].length);
        stream->followings[i] =
            (struct following){.stream = stream, .name = {.bytes = name, .length = channels[i].length}};
        name += channels[i].length;
    }
    return stream;
}

/* While there was no stream, nobody brought the head forward. */
static void count_in_locked(struct hub *hub)
{
    pthread_mutex_lock(&hub->inbox_mutex);
    if (atomic_fetch_add(&hub->stream_count, 1) == 0 && hub->head < hub->newest_id)
        hub->head = hub->newest_id;
    pthread_mutex_unlock(&hub->inbox_mutex);
}

static void count_out(struct hub *hub)
{
    pthread_mutex_lock(&hub->inbox_mutex);
    atomic_fetch_sub(&hub->stream_count, 1);
    pthread_mutex_unlock(&hub->inbox_mutex);
}

struct stream *stream_open(struct hub *hub, struct text user, const struct text *channels, size_t count,
                           uint64_t token)
{
    struct stream *stream = stream_allocate(channels, count);
    if (stream == NULL)
        return NULL;
    stream->hub = hub;
    stream->token = token;
    pthread_mutex_init(&stream->mutex, NULL);
    pthread_mutex_lock(&hub->mutex);
    int result = registry_add_locked(hub, stream, user);
    if (result == 0) {
        stream->recheck_generation = stream->user->recheck_generation;
        stream->next_heartbeat_at = clock_monotonic_ns() + hub->options.heartbeat_ns;
        TAILQ_INSERT_TAIL(&hub->by_heartbeat, stream, heartbeat_link);
        count_in_locked(hub);
    }
    pthread_mutex_unlock(&hub->mutex);
    if (result == 0)
        return stream;
    pthread_mutex_destroy(&stream->mutex);
    free(stream);
    return NULL;
}

void stream_end_following_locked(struct following *following)
{
    struct stream *stream = following->stream;
    pthread_mutex_lock(&stream->mutex);
    following->ended = true;
    pthread_mutex_unlock(&stream->mutex);
    following->in_question = false;
    registry_end_following_locked(stream->hub, following);
}

static struct following *find_following(struct stream *stream, struct text channel)
{
    for (size_t i = 0; i < stream->following_count; i++) {
        if (text_equals(stream->followings[i].name, channel))
            return &stream->followings[i];
    }
    return NULL;
}

/* Sets the goal of a round of replay, or ends the replay when there is nothing left to read. */
static void set_goal_locked(struct stream *stream)
{
    stream->overflowed = false;
    stream->goal = stream->hub->head;
    stream->phase = stream->cursor < stream->goal ? STREAM_PHASE_REPLAY : STREAM_PHASE_LIVE;
}

void stream_confirm(struct stream *stream, struct text channel)
{
    pthread_mutex_lock(&stream->hub->mutex);
    struct following *following = find_following(stream, channel);
    if (following != NULL)
        following->confirmed = true;
    pthread_mutex_unlock(&stream->hub->mutex);
}

size_t stream_drop_unconfirmed(struct stream *stream)
{
    size_t left = 0;
    pthread_mutex_lock(&stream->hub->mutex);
    for (size_t i = 0; i < stream->following_count; i++) {
        struct following *following = &stream->followings[i];
        if (!following->confirmed)
            stream_end_following_locked(following);
        else
            left += following->channel != NULL ? 1 : 0;
    }
    pthread_mutex_unlock(&stream->hub->mutex);
    return left;
}

void stream_start(struct stream *stream, uint64_t after)
{
    pthread_mutex_lock(&stream->hub->mutex);
    pthread_mutex_lock(&stream->mutex);
    stream->cursor = after;
    stream->start_after = after;
    set_goal_locked(stream);
    pthread_mutex_unlock(&stream->mutex);
    /* Who looked into the database meanwhile did not know yet what this stream had been told. */
    bool recheck = stream->recheck_generation != stream->user->recheck_generation;
    if (recheck)
        recheck_user_locked(stream->hub, stream->user);
    pthread_mutex_unlock(&stream->hub->mutex);
    if (recheck)
        hub_look(stream->hub);
}

uint64_t stream_token(const struct stream *stream)
{
    return stream->token;
}

/* The queue whose turn it is: the live one only when the replay is over. */
static struct frame_queue *current_queue_locked(struct stream *stream)
{
    bool over = stream->phase == STREAM_PHASE_LIVE || stream->phase == STREAM_PHASE_ENDED;
    return stream->replayed.count == 0 && over ? &stream->live : &stream->replayed;
}

/* --- what the tail and the heartbeat put in --- */

static void list_locked(struct stream *stream, struct stream_list *woken, size_t *count)
{
    if (stream->listed)
        return;
    stream->listed = true;
    atomic_fetch_add_explicit(&stream->references, 1, memory_order_relaxed);
    STAILQ_INSERT_TAIL(woken, stream, wake_link);
    (*count)++;
}

/* Whether one more frame would be too much for this stream. When all take too much together, it is so for those that take
 * more than their share: there is one. */
static bool is_full_locked(struct stream *stream)
{
    struct hub *hub = stream->hub;
    if (stream->live.count == 0)
        return false;
    if (stream->live.count >= STREAM_QUEUE_EVENTS || stream->live.bytes >= STREAM_QUEUE_BYTES)
        return true;
    return atomic_load(&hub->queued_bytes) > hub->options.max_queued_bytes &&
           stream->live.bytes >= hub->options.max_queued_bytes / (atomic_load(&hub->stream_count) + 1);
}

void stream_offer(struct following *following, struct frame *frame, struct stream_list *woken, size_t *count)
{
    struct stream *stream = following->stream;
    pthread_mutex_lock(&stream->mutex);
    bool live = stream->phase == STREAM_PHASE_LIVE;
    bool wanted = frame->id > stream->start_after && !following->ended &&
                  (live || (stream->phase == STREAM_PHASE_REPLAY && !stream->overflowed));
    if (wanted && (is_full_locked(stream) || frame_queue_add(&stream->live, frame, following) != 0)) {
        if (live)
            stream->phase = STREAM_PHASE_ENDED;
        else
            frame_queue_clear(&stream->live);
        stream->overflowed = true;
    }
    if (wanted && live)
        list_locked(stream, woken, count);
    pthread_mutex_unlock(&stream->mutex);
}

void stream_offer_heartbeat(struct stream *stream, struct stream_list *woken, size_t *count)
{
    pthread_mutex_lock(&stream->mutex);
    /* Who has something to send shows that it is alive by that. */
    struct frame_queue *queue = current_queue_locked(stream);
    bool started = stream->phase == STREAM_PHASE_REPLAY || stream->phase == STREAM_PHASE_LIVE;
    if (started && queue->count == 0 && frame_queue_add(queue, stream->hub->heartbeat, NULL) == 0)
        list_locked(stream, woken, count);
    pthread_mutex_unlock(&stream->mutex);
}

uint64_t stream_take_from_list(struct stream_list *streams)
{
    struct stream *stream = STAILQ_FIRST(streams);
    STAILQ_REMOVE_HEAD(streams, wake_link);
    uint64_t token = stream->token;
    pthread_mutex_lock(&stream->mutex);
    stream->listed = false;
    pthread_mutex_unlock(&stream->mutex);
    stream_unreference(stream);
    return token;
}

size_t stream_list_split(struct stream_list *from, struct stream_list *to, size_t count)
{
    size_t moved = 0;
    for (; moved < count && !STAILQ_EMPTY(from); moved++) {
        struct stream *stream = STAILQ_FIRST(from);
        STAILQ_REMOVE_HEAD(from, wake_link);
        STAILQ_INSERT_TAIL(to, stream, wake_link);
    }
    return moved;
}

/* --- what the owner takes out --- */

int stream_fill(struct stream *stream, struct iovec *vectors, int count)
{
    int filled = 0;
    pthread_mutex_lock(&stream->mutex);
    struct frame_queue *queue = current_queue_locked(stream);
    /* Of what has begun to go out, nothing is dropped. */
    frame_queue_drop_ended(queue, stream->sent > 0 ? 1 : 0);
    size_t skip = stream->sent;
    bool ended = stream->phase == STREAM_PHASE_ENDED;
    for (size_t i = 0; !ended && i < queue->count && filled < count; i++, filled++) {
        struct frame *frame = frame_queue_at(queue, i)->frame;
        vectors[filled] = (struct iovec){.iov_base = frame->bytes + skip, .iov_len = frame->length - skip};
        skip = 0;
    }
    pthread_mutex_unlock(&stream->mutex);
    return filled;
}

void stream_advance(struct stream *stream, size_t length)
{
    pthread_mutex_lock(&stream->mutex);
    struct frame_queue *queue = current_queue_locked(stream);
    while (length > 0) {
        size_t left = frame_queue_at(queue, 0)->frame->length - stream->sent;
        if (length < left) {
            stream->sent += length;
            break;
        }
        length -= left;
        stream->sent = 0;
        frame_queue_drop_first(queue);
    }
    pthread_mutex_unlock(&stream->mutex);
}

enum stream_more stream_more(struct stream *stream)
{
    enum stream_more more = STREAM_IDLE;
    pthread_mutex_lock(&stream->mutex);
    if (stream->phase == STREAM_PHASE_ENDED)
        more = STREAM_ENDED;
    else if (stream->phase == STREAM_PHASE_REPLAY)
        more = STREAM_REPLAYS;
    else if (current_queue_locked(stream)->count > 0)
        more = STREAM_MORE;
    pthread_mutex_unlock(&stream->mutex);
    return more;
}

/* --- replay --- */

struct page {
    struct stream *stream;
    size_t events;
    size_t bytes;
    bool failed;
};

static bool add_to_page(void *context, const struct storage_event *event)
{
    struct page *page = context;
    struct stream *stream = page->stream;
    struct following *following = find_following(stream, event->channel);
    struct frame *frame = frame_create(&stream->hub->replayed_bytes, event);
    page->failed = frame == NULL;
    if (frame != NULL && following != NULL) {
        pthread_mutex_lock(&stream->mutex);
        page->failed = frame_queue_add(&stream->replayed, frame, following) != 0;
        pthread_mutex_unlock(&stream->mutex);
        page->bytes += frame->length;
    }
    frame_release(frame);
    if (page->failed)
        return false;
    page->events++;
    stream->cursor = event->id;
    return page->bytes < PAGE_BYTES;
}

/* Reads a page between cursor and goal. Returns 0, or -1 when the database did not give all of it. */
static int read_page(struct stream *stream, uint64_t goal)
{
    struct text *channels = calloc(stream->following_count, sizeof *channels);
    if (channels == NULL)
        return -1;
    size_t count = 0;
    pthread_mutex_lock(&stream->mutex);
    for (size_t i = 0; i < stream->following_count; i++) {
        if (!stream->followings[i].ended)
            channels[count++] = stream->followings[i].name;
    }
    pthread_mutex_unlock(&stream->mutex);
    struct storage_range range = {.channels = channels,
                                  .channel_count = count,
                                  .after = stream->cursor,
                                  .up_to = goal,
                                  .limit = PAGE_EVENTS,
                                  .most_bytes = PAGE_BYTES};
    struct page page = {.stream = stream};
    enum storage_result result = STORAGE_OK;
    if (count > 0)
        result = storage_events(stream->hub->storage, &range, add_to_page, &page,
                                clock_monotonic_ns() + STORAGE_CALL_NS);
    free(channels);
    if (result != STORAGE_OK || page.failed)
        return -1;
    if (page.events < PAGE_EVENTS && page.bytes < PAGE_BYTES)
        stream->cursor = goal;
    return 0;
}

/* At the goal: on to the live queue, or, when that has overflowed, another round. */
static void end_round(struct stream *stream)
{
    pthread_mutex_lock(&stream->hub->mutex);
    pthread_mutex_lock(&stream->mutex);
    if (stream->overflowed)
        set_goal_locked(stream);
    else
        stream->phase = STREAM_PHASE_LIVE;
    pthread_mutex_unlock(&stream->mutex);
    pthread_mutex_unlock(&stream->hub->mutex);
}

enum stream_more stream_replay(struct stream *stream)
{
    pthread_mutex_lock(&stream->mutex);
    uint64_t goal = stream->goal;
    pthread_mutex_unlock(&stream->mutex);
    bool full = atomic_load(&stream->hub->replayed_bytes) > stream->hub->options.max_queued_bytes;
    if (stream->cursor < goal && (full || read_page(stream, goal) != 0)) {
        stream_stall(stream);
        return STREAM_IDLE;
    }
    if (stream->cursor >= goal)
        end_round(stream);
    return STREAM_MORE;
}

void stream_stall(struct stream *stream)
{
    struct hub *hub = stream->hub;
    pthread_mutex_lock(&hub->mutex);
    if (!stream->stalled)
        TAILQ_INSERT_TAIL(&hub->stalled, stream, stalled_link);
    stream->stalled = true;
    pthread_mutex_unlock(&hub->mutex);
}

/* --- the end --- */

void stream_unreference(struct stream *stream)
{
    if (atomic_fetch_sub_explicit(&stream->references, 1, memory_order_acq_rel) != 1)
        return;
    frame_queue_clear(&stream->replayed);
    frame_queue_clear(&stream->live);
    pthread_mutex_destroy(&stream->mutex);
    free(stream);
}

void stream_close(struct stream *stream)
{
    struct hub *hub = stream->hub;
    pthread_mutex_lock(&hub->mutex);
    registry_remove_locked(hub, stream);
    TAILQ_REMOVE(&hub->by_heartbeat, stream, heartbeat_link);
    if (stream->stalled)
        TAILQ_REMOVE(&hub->stalled, stream, stalled_link);
    pthread_mutex_unlock(&hub->mutex);
    count_out(hub);
    stream_unreference(stream);
}
