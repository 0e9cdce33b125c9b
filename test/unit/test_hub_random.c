/* The hub under threads: this server and another one publish, clients with random channels start at random ids, take
 * random portions, fall behind, are closed in the middle of a frame and come back with the last id that they saw. Each is
 * handed each event of its channels exactly once, in order. */
#include "hub_kit.h"

enum {
    CLIENTS = 6,
    CHANNELS = 5,
    EVENTS_MAX = 20000,
    EARLY_EVENTS = 1000,
    OWN_EVENTS = 6000,
    OTHER_EVENTS = 300,
    IN_FLIGHT = 500,
    PAYLOAD_MAX = 300,
    PORTION_MAX = 4000,
    NAP_EVENTS = 1200,
};

static const char *const channel_names[CHANNELS] = {"a", "b", "c", "d", "e"};
/* The payload of an event is made of its channel's digit. */
static const char channel_digits[] = "01234";

struct world {
    struct hub_kit *kit;
    /* Guarded by kit->mutex. */
    uint64_t final_ids[CHANNELS]; /* of the last event on each channel; 0 while there is more to come */
};

struct random_client {
    pthread_t thread;
    struct client client; /* stays while its streams come and go */
    struct world *world;
    unsigned seed;
    unsigned channels; /* one bit for each */
    uint64_t after;    /* where it began */
    uint64_t last_id;  /* the last that it has seen whole */
    uint64_t *seen;
    size_t seen_count;
    size_t ended; /* streams, by the hub */
    const char *fault;
};

static unsigned draw(unsigned *seed, unsigned below)
{
    return (unsigned)rand_r(seed) % below;
}

static bool follows(const struct random_client *random, unsigned channel)
{
    return (random->channels & (1U << channel)) != 0;
}

/* --- what a client reads --- */

static bool cut_text(struct text *rest, struct text expected)
{
    if (rest->length < expected.length || memcmp(rest->bytes, expected.bytes, expected.length) != 0)
        return false;
    *rest = (struct text){.bytes = rest->bytes + expected.length, .length = rest->length - expected.length};
    return true;
}

/* A frame without the empty line at its end. */
static void take_frame(struct random_client *random, struct text frame)
{
    uint64_t id = 0;
    struct text rest = frame;
    if (!cut_text(&rest, TEXT("id: ")))
        random->fault = "a frame begins otherwise";
    for (; rest.length > 0 && rest.bytes[0] >= '0' && rest.bytes[0] <= '9'; rest.bytes++, rest.length--)
        id = id * 10 + (uint64_t)(rest.bytes[0] - '0');
    if (!cut_text(&rest, TEXT("\nevent: type\ndata: ")) || rest.length == 0)
        random->fault = "a frame has another form";
    else if (!follows(random, (unsigned)(rest.bytes[0] - '0')))
        random->fault = "an event of another channel";
    for (size_t i = 1; i < rest.length; i++) {
        if (rest.bytes[i] != rest.bytes[0])
            random->fault = "a payload is mixed with another";
    }
    if (id <= random->last_id)
        random->fault = "an id does not rise";
    if (random->seen_count == EVENTS_MAX)
        random->fault = "too many events";
    if (random->fault != NULL)
        return;
    random->last_id = id;
    random->seen[random->seen_count++] = id;
}

static void take_frames(struct random_client *random)
{
    struct buffer *text = &random->client.text;
    size_t start = 0;
    for (size_t i = 1; i < text->length; i++) {
        if (text->bytes[i] != '\n' || text->bytes[i - 1] != '\n')
            continue;
        take_frame(random, (struct text){.bytes = text->bytes + start, .length = i - 1 - start});
        start = i + 1;
    }
    buffer_drop_front(text, start);
}

/* --- what a client does --- */

static void open_again(struct random_client *random)
{
    struct text names[CHANNELS];
    struct client *client = &random->client;
    size_t count = 0;
    for (unsigned i = 0; i < CHANNELS; i++) {
        if (follows(random, i))
            names[count++] = text_from(channel_names[i]);
    }
    client->stream = stream_open(client->kit->hub, TEXT("user"), names, count, (uint64_t)(uintptr_t)client);
    if (client->stream == NULL) {
        random->fault = "no stream";
        return;
    }
    for (size_t i = 0; i < count; i++)
        stream_confirm(client->stream, names[i]);
    stream_drop_unconfirmed(client->stream);
    stream_start(client->stream, random->last_id);
    buffer_clear(&client->text);
}

static void close_and_open(struct random_client *random)
{
    stream_close(random->client.stream);
    random->client.stream = NULL;
    open_again(random);
}

static void await_wake(struct random_client *random)
{
    struct client *client = &random->client;
    int64_t deadline_at = kit_patience();
    bool in_time = true;
    pthread_mutex_lock(&client->kit->mutex);
    while (!client->woken && in_time)
        in_time = sync_wait_until(&client->kit->changed, &client->kit->mutex, deadline_at);
    client->woken = false;
    pthread_mutex_unlock(&client->kit->mutex);
    if (!in_time)
        random->fault = "nobody wakes it";
}

/* Takes nothing while many events are published. */
static void nap(struct random_client *random)
{
    struct hub_kit *kit = random->client.kit;
    int64_t deadline_at = kit_patience();
    bool in_time = true;
    pthread_mutex_lock(&kit->mutex);
    uint64_t until = kit->last_id + NAP_EVENTS;
    while (kit->last_id < until && random->world->final_ids[0] == 0 && in_time)
        in_time = sync_wait_until(&kit->changed, &kit->mutex, deadline_at);
    pthread_mutex_unlock(&kit->mutex);
    if (!in_time)
        random->fault = "nobody publishes";
}

static bool has_seen_all(struct random_client *random)
{
    uint64_t last_id = 0;
    pthread_mutex_lock(&random->client.kit->mutex);
    bool known = random->world->final_ids[0] != 0;
    for (unsigned i = 0; i < CHANNELS; i++) {
        if (follows(random, i) && random->world->final_ids[i] > last_id)
            last_id = random->world->final_ids[i];
    }
    pthread_mutex_unlock(&random->client.kit->mutex);
    return known && random->last_id >= last_id;
}

/* The stream has nothing to take. */
static void go_on(struct random_client *random)
{
    switch (stream_more(random->client.stream)) {
    case STREAM_MORE:
        break;
    case STREAM_IDLE:
        await_wake(random);
        break;
    case STREAM_REPLAYS:
        if (draw(&random->seed, 30) == 0) {
            stream_stall(random->client.stream);
            hub_look(random->client.kit->hub); /* it would resume in a second without that, too */
            await_wake(random);
        } else if (stream_replay(random->client.stream) == STREAM_IDLE) {
            await_wake(random);
        }
        break;
    case STREAM_ENDED:
        random->ended++;
        close_and_open(random);
        break;
    }
}

static void *client_main(void *context)
{
    struct random_client *random = context;
    open_again(random);
    while (random->fault == NULL && !has_seen_all(random)) {
        unsigned number = draw(&random->seed, 400);
        if (number == 0)
            nap(random);
        if (number < 4)
            close_and_open(random);
        else if (client_take(&random->client, 1 + draw(&random->seed, PORTION_MAX)) > 0)
            take_frames(random);
        else
            go_on(random);
    }
    if (random->client.stream != NULL)
        stream_close(random->client.stream);
    return NULL;
}

/* --- the publishers --- */

struct other_server {
    pthread_t thread;
    struct hub_kit *kit;
    struct storage *storage;
    unsigned failures;
};

static void *other_main(void *context)
{
    struct other_server *other = context;
    unsigned seed = 7;
    for (size_t i = 0; i < OTHER_EVENTS; i++) {
        unsigned channel = draw(&seed, CHANNELS);
        struct storage_write write = {.kind = STORAGE_PUBLISH,
                                      .channel = text_from(channel_names[channel]),
                                      .event_type = TEXT("type"),
                                      .payload = {.bytes = channel_digits + channel, .length = 1}};
        if (storage_write(other->storage, &write, kit_patience()) != STORAGE_OK)
            other->failures++;
        if (draw(&seed, 3) == 0)
            hub_look(other->kit->hub);
    }
    return NULL;
}

static void publish_own(struct hub_kit *kit, unsigned *seed, size_t count)
{
    char payload[PAYLOAD_MAX];
    for (size_t i = 0; i < count; i++) {
        unsigned channel = draw(seed, CHANNELS);
        size_t length = 1 + draw(seed, PAYLOAD_MAX);
        memset(payload, channel_digits[channel], length);
        pthread_mutex_lock(&kit->mutex);
        int64_t deadline_at = kit_patience();
        bool in_time = true;
        while (kit->outstanding > IN_FLIGHT && in_time)
            in_time = sync_wait_until(&kit->changed, &kit->mutex, deadline_at);
        pthread_mutex_unlock(&kit->mutex);
        kit_submit(kit, channel_names[channel], (struct text){.bytes = payload, .length = length});
    }
}

/* The clients may have seen the last event before they know that it is the last. */
static void publish_finals(struct world *world, struct random_client *clients)
{
    uint64_t ids[CHANNELS];
    for (unsigned i = 0; i < CHANNELS; i++)
        ids[i] = kit_publish(world->kit, channel_names[i], (struct text){channel_digits + i, 1}, 1);
    pthread_mutex_lock(&world->kit->mutex);
    memcpy(world->final_ids, ids, sizeof ids);
    for (size_t i = 0; i < CLIENTS; i++)
        clients[i].client.woken = true;
    pthread_cond_broadcast(&world->kit->changed);
    pthread_mutex_unlock(&world->kit->mutex);
}

/* --- the judge: the database itself --- */

struct judged {
    const struct random_client *random;
    size_t index;
};

static bool compare_seen(void *context, const struct storage_event *event)
{
    struct judged *judged = context;
    const struct random_client *random = judged->random;
    if (judged->index >= random->seen_count || random->seen[judged->index] != event->id)
        return false;
    judged->index++;
    return true;
}

static void judge(struct world *world, const struct random_client *random)
{
    struct text names[CHANNELS];
    size_t count = 0;
    for (unsigned i = 0; i < CHANNELS; i++) {
        if (follows(random, i))
            names[count++] = text_from(channel_names[i]);
    }
    struct storage_range range = {.channels = names,
                                  .channel_count = count,
                                  .after = random->after,
                                  .up_to = UINT64_MAX,
                                  .limit = EVENTS_MAX};
    struct judged judged = {.random = random};
    assert_int_equal(storage_events(world->kit->storage, &range, compare_seen, &judged, kit_patience()),
                     STORAGE_OK);
    assert_int_equal(judged.index, random->seen_count);
    assert_true(random->seen_count > OWN_EVENTS / CHANNELS / 2);
    uint64_t newest = random->seen[random->seen_count - 1];
    for (unsigned i = 0; i < CHANNELS; i++)
        assert_true(!follows(random, i) || world->final_ids[i] <= newest);
}

static void start_clients(struct world *world, struct random_client *clients, unsigned seed)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        unsigned numbers = seed + i;
        struct random_client *random = &clients[i];
        *random =
            (struct random_client){.world = world, .client = {.kit = world->kit}, .seed = seed * 100 + i};
        random->channels = i == 0 ? (1U << CHANNELS) - 1 : 1 + draw(&numbers, (1U << CHANNELS) - 1);
        random->after = draw(&numbers, EARLY_EVENTS);
        random->last_id = random->after;
        random->seen = calloc(EVENTS_MAX, sizeof random->seen[0]);
        assert_non_null(random->seen);
        assert_int_equal(pthread_create(&random->thread, NULL, client_main, random), 0);
    }
}

/* Returns how many streams the hub has ended. */
static size_t run(unsigned seed, uint64_t max_queued_bytes)
{
    static struct random_client clients[CLIENTS];
    struct world world = {.kit = kit_make(3600 * CLOCK_NS_PER_SECOND, max_queued_bytes)};
    struct other_server other = {.kit = world.kit,
                                 .storage = kit_open_storage(world.kit->file.url, &world.kit->file.log)};
    size_t ended = 0;
    unsigned numbers = seed;
    publish_own(world.kit, &numbers, EARLY_EVENTS);
    kit_settle(world.kit);
    start_clients(&world, clients, seed);
    assert_int_equal(pthread_create(&other.thread, NULL, other_main, &other), 0);
    publish_own(world.kit, &numbers, OWN_EVENTS);
    pthread_join(other.thread, NULL);
    kit_settle(world.kit);
    publish_finals(&world, clients);
    for (size_t i = 0; i < CLIENTS; i++)
        pthread_join(clients[i].thread, NULL);
    assert_int_equal(other.failures, 0);
    for (size_t i = 0; i < CLIENTS; i++) {
        if (clients[i].fault != NULL)
            fail_msg("seed %u, client %zu: %s behind id %llu", seed, i, clients[i].fault,
                     (unsigned long long)clients[i].last_id);
        judge(&world, &clients[i]);
        ended += clients[i].ended;
        free(clients[i].seen);
        buffer_free(&clients[i].client.text);
    }
    storage_close(other.storage);
    kit_free(world.kit);
    return ended;
}

static void each_event_comes_exactly_once(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 3; seed++)
        run(seed, UINT64_MAX);
}

/* With little memory streams are ended all the time, and resumed. */
static void ended_streams_lose_nothing(void **state)
{
    (void)state;
    size_t ended = 0;
    for (unsigned seed = 11; seed <= 13; seed++)
        ended += run(seed, 32 * 1024);
    assert_true(ended > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_event_comes_exactly_once),
        cmocka_unit_test(ended_streams_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
