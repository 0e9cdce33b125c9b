/* What the tests of the hub share: a hub over a real database, publishing as the server does it, and clients that drain
 * their streams in the test's threads. Clients outlive the hub, so that a late wake finds them. */
#ifndef HUB_KIT_H
#define HUB_KIT_H

#include "storage_kit.h"

#include "base/buffer.h"
#include "stream/hub_internal.h"

#include <pthread.h>

enum { KIT_CHANNELS_MAX = 8, KIT_VECTORS = 7 };

struct hub_kit {
    struct database_file file;
    struct storage *storage;
    struct hub *hub;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    /* Guarded by `mutex`. */
    size_t outstanding; /* publications that are not settled */
    uint64_t last_id;
    bool failed;
    bool holds_woken; /* the streams stay in `woken` */
    struct stream_list woken;
};

struct client {
    struct hub_kit *kit;
    struct stream *stream;
    struct buffer text; /* what came and was not yet expected */
    bool ended;
    /* Guarded by kit->mutex. */
    bool woken;
    unsigned resumed;
};

/* --- the hub's functions --- */

static inline void kit_wake(void *context, struct stream_list *streams, size_t count)
{
    struct hub_kit *kit = context;
    pthread_mutex_lock(&kit->mutex);
    if (kit->holds_woken)
        count -= stream_list_split(streams, &kit->woken, count);
    for (; !STAILQ_EMPTY(streams); count--)
        ((struct client *)(uintptr_t)stream_take_from_list(streams))->woken = true;
    if (count != 0)
        kit->failed = true;
    pthread_cond_broadcast(&kit->changed);
    pthread_mutex_unlock(&kit->mutex);
}

static inline void kit_resume(void *context, uint64_t token)
{
    struct hub_kit *kit = context;
    struct client *client = (struct client *)(uintptr_t)token;
    pthread_mutex_lock(&kit->mutex);
    client->woken = true;
    client->resumed++;
    pthread_cond_broadcast(&kit->changed);
    pthread_mutex_unlock(&kit->mutex);
}

static inline void kit_start_hub(struct hub_kit *kit, int64_t heartbeat_ns, uint64_t max_queued_bytes)
{
    uint64_t newest_id;
    struct hub_options options = {.heartbeat_ns = heartbeat_ns,
                                  .max_queued_bytes = max_queued_bytes,
                                  .log = &kit->file.log,
                                  .wake = kit_wake,
                                  .resume = kit_resume,
                                  .context = kit};
    kit->hub = hub_create(&options);
    assert_non_null(kit->hub);
    assert_int_equal(storage_newest_id(kit->storage, &newest_id, kit_patience()), STORAGE_OK);
    assert_int_equal(hub_start(kit->hub, kit->storage, newest_id), 0);
}

static inline struct hub_kit *kit_make(int64_t heartbeat_ns, uint64_t max_queued_bytes)
{
    struct hub_kit *kit = calloc(1, sizeof *kit);
    assert_non_null(kit);
    database_file_make(&kit->file);
    pthread_mutex_init(&kit->mutex, NULL);
    STAILQ_INIT(&kit->woken);
    assert_int_equal(sync_condition_init(&kit->changed), 0);
    kit->storage = kit_open_storage(kit->file.url, &kit->file.log);
    kit_start_hub(kit, heartbeat_ns, max_queued_bytes);
    return kit;
}

/* A hub without heartbeats and with plenty of memory. */
static inline struct hub_kit *kit_make_usual(void)
{
    return kit_make(3600 * CLOCK_NS_PER_SECOND, UINT64_MAX);
}

/* All clients are closed: nothing is left behind. */
static inline void kit_free(struct hub_kit *kit)
{
    assert_int_equal(hub_stream_count(kit->hub), 0);
    assert_int_equal(kit->hub->users.count, 0);
    assert_int_equal(kit->hub->channels.count, 0);
    storage_stop(kit->storage);
    hub_drain(kit->hub, kit_patience());
    hub_stop(kit->hub);
    assert_int_equal(atomic_load(&kit->hub->queued_bytes), 0);
    assert_int_equal(atomic_load(&kit->hub->replayed_bytes), 0);
    assert_false(kit->failed);
    hub_free(kit->hub);
    storage_close(kit->storage);
    database_file_remove(&kit->file);
    pthread_mutex_destroy(&kit->mutex);
    pthread_cond_destroy(&kit->changed);
    free(kit);
}

/* --- publishing --- */

struct publication {
    struct storage_write write; /* the first member */
    struct hub_kit *kit;
    char bytes[]; /* the channel, then the payload */
};

static inline void kit_settled(struct storage_write *write, enum storage_result result, bool abandoned)
{
    struct publication *publication = (struct publication *)(void *)write;
    struct hub_kit *kit = publication->kit;
    if (result == STORAGE_OK) {
        struct storage_event event = {.id = write->id,
                                      .created_ms = write->created_ms,
                                      .channel = write->channel,
                                      .event_type = write->event_type,
                                      .payload = write->payload};
        hub_published(kit->hub, &event);
    }
    pthread_mutex_lock(&kit->mutex);
    kit->failed = kit->failed || result != STORAGE_OK || abandoned;
    kit->last_id = write->id;
    kit->outstanding--;
    pthread_cond_broadcast(&kit->changed);
    pthread_mutex_unlock(&kit->mutex);
    free(publication);
}

/* As the server does it: the writer thread tells the hub. */
static inline void kit_submit(struct hub_kit *kit, const char *channel, struct text payload)
{
    size_t channel_length = strlen(channel);
    struct publication *publication = calloc(1, sizeof *publication + channel_length + payload.length);
    assert_non_null(publication);
    publication->kit = kit;
    memcpy(publication->bytes, channel, channel_length);
    memcpy(publication->bytes + channel_length, payload.bytes, payload.length);
    publication->write = (struct storage_write){
        .kind = STORAGE_PUBLISH,
        .channel = {.bytes = publication->bytes, .length = channel_length},
        .event_type = TEXT("type"),
        .payload = {.bytes = publication->bytes + channel_length, .length = payload.length},
        .settled = kit_settled,
    };
    pthread_mutex_lock(&kit->mutex);
    kit->outstanding++;
    pthread_mutex_unlock(&kit->mutex);
    assert_int_equal(storage_submit(kit->storage, &publication->write), 0);
}

/* Waits until all is stored, and what the hub was told of has been fanned out. Returns the last id. */
static inline uint64_t kit_settle(struct hub_kit *kit)
{
    int64_t deadline_at = kit_patience();
    bool in_time = true;
    pthread_mutex_lock(&kit->mutex);
    while (kit->outstanding > 0 && in_time)
        in_time = sync_wait_until(&kit->changed, &kit->mutex, deadline_at);
    uint64_t last_id = kit->last_id;
    bool failed = kit->failed;
    pthread_mutex_unlock(&kit->mutex);
    assert_true(in_time && !failed);
    hub_drain(kit->hub, deadline_at);
    return last_id;
}

/* Waits until the tail has done all that it was asked for: also looks and rechecks. */
static inline void kit_quiet(struct hub_kit *kit)
{
    struct hub *hub = kit->hub;
    int64_t deadline_at = kit_patience();
    bool in_time = true;
    pthread_mutex_lock(&hub->inbox_mutex);
    while (in_time && (hub->look || !hub->tail_idles || !STAILQ_EMPTY(&hub->inbox)))
        in_time = sync_wait_until(&hub->round_over, &hub->inbox_mutex, deadline_at);
    pthread_mutex_unlock(&hub->inbox_mutex);
    assert_true(in_time);
}

static inline uint64_t kit_publish(struct hub_kit *kit, const char *channel, struct text payload,
                                   size_t count)
{
    for (size_t i = 0; i < count; i++)
        kit_submit(kit, channel, payload);
    return kit_settle(kit);
}

static inline uint64_t kit_publish_one(struct hub_kit *kit, const char *channel)
{
    return kit_publish(kit, channel, TEXT("{}"), 1);
}

/* --- clients --- */

/* Registers a stream for the channels, whose names have commas between; nothing is confirmed yet. */
static inline void client_register(struct client *client, struct hub_kit *kit, const char *user,
                                   const char *channels)
{
    struct text names[KIT_CHANNELS_MAX], rest = text_from(channels);
    size_t count = 0;
    while (rest.length > 0 && count < KIT_CHANNELS_MAX)
        names[count++] = text_cut(&rest, ',');
    *client = (struct client){.kit = kit};
    client->stream = stream_open(kit->hub, text_from(user), names, count, (uint64_t)(uintptr_t)client);
    assert_non_null(client->stream);
    assert_int_equal(stream_token(client->stream), (uintptr_t)client);
}

static inline void client_open(struct client *client, struct hub_kit *kit, const char *user,
                               const char *channels, uint64_t after)
{
    client_register(client, kit, user, channels);
    struct text rest = text_from(channels);
    size_t count = 0;
    for (; rest.length > 0; count++)
        stream_confirm(client->stream, text_cut(&rest, ','));
    assert_int_equal(stream_drop_unconfirmed(client->stream), count);
    stream_start(client->stream, after);
}

/* Takes up to `most` of the bytes that are there. Returns how many. */
static inline size_t client_take(struct client *client, size_t most)
{
    struct iovec vectors[KIT_VECTORS];
    size_t taken = 0;
    int count = stream_fill(client->stream, vectors, KIT_VECTORS);
    for (int i = 0; i < count && taken < most; i++) {
        size_t length = vectors[i].iov_len < most - taken ? vectors[i].iov_len : most - taken;
        buffer_append(&client->text, vectors[i].iov_base, length);
        taken += length;
    }
    if (taken > 0)
        stream_advance(client->stream, taken);
    return taken;
}

/* Takes all that is there, replaying as needed. */
static inline void client_drain(struct client *client)
{
    while (!client->ended) {
        if (client_take(client, SIZE_MAX) > 0)
            continue;
        enum stream_more more = stream_more(client->stream);
        if (more == STREAM_REPLAYS)
            more = stream_replay(client->stream);
        client->ended = more == STREAM_ENDED;
        if (more == STREAM_IDLE)
            return;
    }
}

static inline void client_await_wake(struct client *client)
{
    int64_t deadline_at = kit_patience();
    bool in_time = true;
    pthread_mutex_lock(&client->kit->mutex);
    while (!client->woken && in_time)
        in_time = sync_wait_until(&client->kit->changed, &client->kit->mutex, deadline_at);
    client->woken = false;
    pthread_mutex_unlock(&client->kit->mutex);
    assert_true(in_time);
}

/* Waits for exactly this text to come next. */
static inline void client_expect(struct client *client, struct text expected)
{
    client_drain(client);
    while (client->text.length < expected.length && !client->ended) {
        client_await_wake(client);
        client_drain(client);
    }
    assert_false(client->text.failed);
    assert_true(client->text.length >= expected.length);
    assert_memory_equal(client->text.bytes, expected.bytes, expected.length);
    buffer_drop_front(&client->text, expected.length);
}

static inline void append_frame(struct buffer *buffer, uint64_t id, struct text payload)
{
    buffer_append_text(buffer, "id: ");
    buffer_append_number(buffer, id);
    buffer_append_text(buffer, "\nevent: type\ndata: ");
    buffer_append(buffer, payload.bytes, payload.length);
    buffer_append_text(buffer, "\n\n");
}

/* Waits for the events first, first + step, ... last, all with this payload. */
static inline void client_expect_events(struct client *client, uint64_t first, uint64_t step, uint64_t last,
                                        struct text payload)
{
    struct buffer expected = BUFFER_EMPTY;
    for (uint64_t id = first; id <= last; id += step)
        append_frame(&expected, id, payload);
    client_expect(client, (struct text){.bytes = expected.bytes, .length = expected.length});
    buffer_free(&expected);
}

static inline void client_expect_one(struct client *client, uint64_t id)
{
    client_expect_events(client, id, 1, id, TEXT("{}"));
}

/* All that came has been expected. */
static inline void client_close(struct client *client)
{
    assert_int_equal(client->text.length, 0);
    stream_close(client->stream);
    buffer_free(&client->text);
}

#endif
