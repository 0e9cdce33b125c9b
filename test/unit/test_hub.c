/* The hub while all is well, and with clients that are too slow: each stream is handed every event of its channels, in
 * the order of the ids, none missing, none twice, whether from the database or live. */
#include "hub_kit.h"

enum { LARGE = 1024 * 1024 };

/* A payload of so many bytes. */
static struct text large_payload(size_t length)
{
    static char bytes[LARGE];
    memset(bytes, '7', sizeof bytes);
    return (struct text){.bytes = bytes, .length = length};
}

/* --- live --- */

static void frames_have_their_form(void **state)
{
    (void)state;
    struct hub_kit *kit = kit_make_usual();
    struct client client;
    client_open(&client, kit, "user", "a", 0);
    client_drain(&client);
    assert_int_equal(client.text.length, 0);
    kit_publish(kit, "a", TEXT("{\"x\":\"\xC3\xA4\\n\"}"), 1);
    client_expect(&client, TEXT("id: 1\nevent: type\ndata: {\"x\":\"\xC3\xA4\\n\"}\n\n"));
    for (size_t i = 0; i < 8; i++)
        kit_publish_one(kit, "a");
    kit_publish(kit, "a", TEXT("null"), 1);
    client_expect_events(&client, 2, 1, 9, TEXT("{}"));
    client_expect(&client, TEXT("id: 10\nevent: type\ndata: null\n\n"));
    client_close(&client);
    kit_free(kit);
}

static void streams_get_their_channels(void **state)
{
    (void)state;
    struct hub_kit *kit = kit_make_usual();
    struct client both, one, other, none;
    client_open(&both, kit, "user", "a,b", 0);
    client_open(&one, kit, "user", "a", 0);
    client_open(&other, kit, "other", "b", 0);
    client_open(&none, kit, "other", "A", 0);
    kit_publish_one(kit, "a");
    kit_publish_one(kit, "b");
    kit_publish_one(kit, "c");
    kit_publish_one(kit, "ab");
    kit_publish_one(kit, "a");
    client_expect_one(&both, 1);
    client_expect_one(&both, 2);
    client_expect_one(&both, 5);
    client_expect_events(&one, 1, 4, 5, TEXT("{}"));
    client_expect_one(&other, 2);
    kit_publish_one(kit, "A");
    client_expect_one(&none, 6);
    assert_int_equal(hub_stream_count(kit->hub), 4);
    client_close(&both);
    kit_publish_one(kit, "a");
    client_expect_one(&one, 7);
    client_close(&one);
    client_close(&other);
    assert_int_equal(hub_stream_count(kit->hub), 1);
    client_close(&none);
    kit_free(kit);
}

static void unconfirmed_channels_are_dropped(void **state)
{
    (void)state;
    struct hub_kit *kit = kit_make_usual();
    struct client client, nobody;
    client_register(&client, kit, "user", "a,b,c");
    client_register(&nobody, kit, "user", "a");
    kit_publish_one(kit, "b"); /* before it starts: it is replayed */
    stream_confirm(client.stream, TEXT("b"));
    stream_confirm(client.stream, TEXT("nothing"));
    stream_confirm(client.stream, TEXT("c"));
    assert_int_equal(stream_drop_unconfirmed(client.stream), 2);
    assert_int_equal(stream_drop_unconfirmed(nobody.stream), 0);
    assert_int_equal(hub_stream_count(kit->hub), 2);
    stream_start(client.stream, 0);
    kit_publish_one(kit, "a");
    kit_publish_one(kit, "c");
    client_expect_events(&client, 1, 2, 3, TEXT("{}"));
    /* What ends between the look-up and the start. */
    client_close(&nobody);
    client_register(&nobody, kit, "other", "a");
    stream_confirm(nobody.stream, TEXT("a"));
    hub_unsubscribe(kit->hub, TEXT("other"), TEXT("a"));
    assert_int_equal(stream_drop_unconfirmed(nobody.stream), 0);
    client_close(&nobody);
    client_close(&client);
    kit_free(kit);
}

/* A batch of bytes begins and ends anywhere. */
static void bytes_are_taken_in_any_portion(void **state)
{
    (void)state;
    struct hub_kit *kit = kit_make_usual();
    struct client client;
    for (size_t most = 1; most < 100; most += 7) {
        uint64_t before = kit_publish_one(kit, "a"); /* replayed */
        client_open(&client, kit, "user", "a", before - 1);
        uint64_t last = kit_publish(kit, "a", TEXT("{}"), 20);
        for (;;) {
            if (client_take(&client, most) > 0)
                continue;
            if (stream_more(client.stream) == STREAM_IDLE)
                break;
            if (stream_more(client.stream) == STREAM_REPLAYS)
                stream_replay(client.stream);
        }
        client_expect_events(&client, before, 1, last, TEXT("{}"));
        client_close(&client);
    }
    kit_free(kit);
}

/* The stream is in a list of those to be written to when it is closed. */
static void closed_streams_may_be_in_a_list(void **state)
{
    (void)state;
    struct hub_kit *kit = kit_make_usual();
    struct client clients[3];
    kit->holds_woken = true;
    for (size_t i = 0; i < 3; i++)
        client_open(&clients[i], kit, "user", "a", 0);
    kit_publish(kit, "a", TEXT("{}"), 5);
    for (size_t i = 0; i < 3; i++)
        client_close(&clients[i]);
    struct stream_list rest = STAILQ_HEAD_INITIALIZER(rest);
    assert_int_equal(stream_list_split(&kit->woken, &rest, 2), 2);
    /* Each is in it once. */
    assert_int_equal(stream_take_from_list(&kit->woken), (uintptr_t)&clients[2]);
    assert_true(STAILQ_EMPTY(&kit->woken));
    assert_int_equal(stream_take_from_list(&rest), (uintptr_t)&clients[0]);
    assert_int_equal(stream_take_from_list(&rest), (uintptr_t)&clients[1]);
    assert_int_equal(stream_list_split(&rest, &kit->woken, 2), 0);
    kit_free(kit);
}

/* --- where a stream starts --- */

static void streams_start_behind_an_id(void **state)
{
    (void)state;
    struct hub_kit *kit = kit_make_usual();
    uint64_t last = kit_publish(kit, "a", TEXT("{}"), 10);
    for (uint64_t after = 0; after <= 10; after++) {
        struct client client;
        client_open(&client, kit, "user", "a", after);
        client_expect_events(&client, after + 1, 1, last, TEXT("{}"));
        last = kit_publish_one(kit, "a");
        client_expect_one(&client, last);
        client_close(&client);
    }
    kit_free(kit);
}

static void ids_up_to_the_start_are_left_out(void **state)
{
    (void)state;
    struct hub_kit *kit = kit_make_usual();
    struct client client;
    kit_publish(kit, "a", TEXT("{}"), 2);
    client_open(&client, kit, "user", "a", 4);
    kit_publish(kit, "a", TEXT("{}"), 3);
    client_expect_one(&client, 5);
    client_close(&client);
    client_open(&client, kit, "user", "a", UINT64_MAX);
    kit_publish(kit, "a", TEXT("{}"), 3);
    client_drain(&client);
    assert_int_equal(client.text.length, 0);
    client_close(&client);
    kit_free(kit);
}

/* While nobody listens the hub looks at nothing; what comes then must not be lost for who asks for it. */
static void events_without_streams_are_not_lost(void **state)
{
    (void)state;
    struct hub_kit *kit = kit_make_usual();
    for (uint64_t round = 0; round < 5; round++) {
        struct client client;
        kit_publish(kit, "a", TEXT("{}"), 3);
        client_open(&client, kit, "user", "a", round * 4);
        kit_publish_one(kit, "a");
        client_expect_events(&client, round * 4 + 1, 1, round * 4 + 4, TEXT("{}"));
        client_close(&client);
    }
    kit_free(kit);
}

/* --- replay --- */

static void long_replays_come_in_pages(void **state)
{
    enum { COUNT = 700 };
    (void)state;
    struct hub_kit *kit = kit_make_usual();
    struct client all, half;
    for (size_t i = 0; i < COUNT; i++)
        kit_submit(kit, i % 2 == 0 ? "a" : "b", TEXT("{}"));
    kit_settle(kit);
    client_open(&all, kit, "user", "b,nothing,a", 0);
    client_open(&half, kit, "user", "b", 3);
    size_t pages = 0;
    while (stream_more(half.stream) == STREAM_REPLAYS) {
        pages += stream_replay(half.stream) == STREAM_MORE ? 1 : 0;
        while (client_take(&half, SIZE_MAX) > 0)
            continue;
    }
    assert_true(pages > 1);
    client_expect_events(&half, 4, 2, COUNT, TEXT("{}"));
    client_expect_events(&all, 1, 1, COUNT, TEXT("{}"));
    kit_publish_one(kit, "b");
    client_expect_one(&all, COUNT + 1);
    client_expect_one(&half, COUNT + 1);
    client_close(&all);
    client_close(&half);
    kit_free(kit);
}

/* However long the history, a replay holds but a page of it in memory. */
static void large_replays_take_little_memory(void **state)
{
    enum { COUNT = 40, PAYLOAD = 100 * 1024, MOST = 1024 * 1024 };
    (void)state;
    struct hub_kit *kit = kit_make_usual();
    struct text payload = large_payload(PAYLOAD);
    struct client client;
    kit_publish(kit, "a", payload, COUNT);
    client_open(&client, kit, "user", "a", 0);
    while (stream_more(client.stream) == STREAM_REPLAYS) {
        assert_int_equal(stream_replay(client.stream), STREAM_MORE);
        size_t held = atomic_load(&kit->hub->replayed_bytes);
        assert_true(held > 0 && held < MOST);
        while (client_take(&client, SIZE_MAX) > 0)
            continue;
    }
    client_expect_events(&client, 1, 1, COUNT, payload);
    client_close(&client);
    kit_free(kit);
}

static void what_is_published_during_a_replay_follows_it(void **state)
{
    (void)state;
    struct hub_kit *kit = kit_make_usual();
    struct client client;
    kit_publish(kit, "a", TEXT("{}"), 300);
    client_open(&client, kit, "user", "a", 0);
    kit_publish(kit, "a", TEXT("{}"), 100);
    assert_int_equal(stream_replay(client.stream), STREAM_MORE);
    kit_publish(kit, "a", TEXT("{}"), 100);
    client_expect_events(&client, 1, 1, 500, TEXT("{}"));
    client_close(&client);
    kit_free(kit);
}

/* --- clients that are too slow --- */

static void expect_ended(struct client *client)
{
    struct iovec vector;
    assert_int_equal(stream_more(client->stream), STREAM_ENDED);
    assert_int_equal(stream_fill(client->stream, &vector, 1), 0);
}

static void full_queues_end_the_stream(void **state)
{
    (void)state;
    struct hub_kit *kit = kit_make_usual();
    struct client slow, quick;
    client_open(&slow, kit, "user", "a", 0);
    client_open(&quick, kit, "user", "a", 0);
    kit_publish(kit, "a", TEXT("{}"), STREAM_QUEUE_EVENTS);
    client_expect_events(&slow, 1, 1, STREAM_QUEUE_EVENTS, TEXT("{}"));
    client_expect_events(&quick, 1, 1, STREAM_QUEUE_EVENTS, TEXT("{}"));
    uint64_t first = kit_publish_one(kit, "a");
    client_await_wake(&quick);
    client_expect_one(&quick, first);
    client_await_wake(&slow);
    kit_publish(kit, "a", TEXT("{}"), STREAM_QUEUE_EVENTS - 1);
    assert_int_equal(stream_more(slow.stream), STREAM_MORE);
    client_drain(&quick);
    kit_publish_one(kit, "a");
    client_await_wake(&slow);
    expect_ended(&slow);
    client_expect_events(&quick, first + 1, 1, first + STREAM_QUEUE_EVENTS, TEXT("{}"));
    assert_false(quick.ended);
    /* Who comes back goes on. */
    client_close(&slow);
    client_open(&slow, kit, "user", "a", first - 1);
    client_expect_events(&slow, first, 1, first + STREAM_QUEUE_EVENTS, TEXT("{}"));
    client_close(&slow);
    client_close(&quick);
    kit_free(kit);
}

static void many_bytes_end_the_stream(void **state)
{
    (void)state;
    struct hub_kit *kit = kit_make_usual();
    struct text payload = large_payload(LARGE);
    struct client client;
    client_open(&client, kit, "user", "a", 0);
    kit_publish(kit, "a", payload, STREAM_QUEUE_BYTES / LARGE);
    client_expect_events(&client, 1, 1, STREAM_QUEUE_BYTES / LARGE, payload);
    kit_publish(kit, "a", payload, STREAM_QUEUE_BYTES / LARGE + 1);
    expect_ended(&client);
    client_close(&client);
    kit_free(kit);
}

/* With no memory for events at all, one at a time still gets through. */
static void one_event_always_has_room(void **state)
{
    (void)state;
    struct hub_kit *kit = kit_make(3600 * CLOCK_NS_PER_SECOND, 1);
    struct client quick, slow;
    client_open(&quick, kit, "user", "a", 0);
    for (uint64_t id = 1; id <= 5; id++) {
        kit_publish(kit, "a", large_payload(LARGE), 1);
        client_expect_events(&quick, id, 1, id, large_payload(LARGE));
    }
    client_open(&slow, kit, "user", "a", 5);
    kit_publish_one(kit, "a");
    client_expect_one(&quick, 6);
    assert_int_equal(stream_more(slow.stream), STREAM_MORE);
    kit_publish_one(kit, "a");
    expect_ended(&slow);
    client_expect_one(&quick, 7);
    client_close(&quick);
    client_close(&slow);
    kit_free(kit);
}

/* A replay that is slower than the publishers goes another round, and another. */
static void a_replay_outlasts_any_overflow(void **state)
{
    (void)state;
    struct hub_kit *kit = kit_make_usual();
    struct client client;
    kit_publish(kit, "a", TEXT("{}"), 10);
    client_open(&client, kit, "user", "a", 0);
    uint64_t last = 10;
    for (int round = 0; round < 3; round++) {
        last = kit_publish(kit, "a", TEXT("{}"), STREAM_QUEUE_EVENTS + 1 + (size_t)round);
        assert_int_equal(stream_more(client.stream), STREAM_REPLAYS);
        while (client_take(&client, SIZE_MAX) > 0)
            continue;
        assert_int_equal(stream_replay(client.stream), STREAM_MORE);
    }
    client_expect_events(&client, 1, 1, last, TEXT("{}"));
    assert_false(client.ended);
    last = kit_publish_one(kit, "a");
    client_expect_one(&client, last);
    client_close(&client);
    kit_free(kit);
}

/* The tail is held up: the publisher never waits for it, and what the inbox has no room for comes from the database. */
static void a_full_inbox_loses_nothing(void **state)
{
    enum { COUNT = 9000 };
    (void)state;
    struct hub_kit *kit = kit_make_usual();
    struct client client;
    kit_publish_one(kit, "a");
    client_open(&client, kit, "user", "a", 0);
    pthread_mutex_lock(&kit->hub->mutex);
    for (size_t i = 0; i < COUNT; i++)
        kit_submit(kit, "a", TEXT("{}"));
    int64_t deadline_at = kit_patience();
    bool in_time = true;
    pthread_mutex_lock(&kit->mutex);
    while (kit->outstanding > 0 && in_time)
        in_time = sync_wait_until(&kit->changed, &kit->mutex, deadline_at);
    pthread_mutex_unlock(&kit->mutex);
    pthread_mutex_unlock(&kit->hub->mutex);
    assert_true(in_time);
    kit_quiet(kit); /* else the client could become live, and then be too slow */
    client_expect_events(&client, 1, 1, COUNT + 1, TEXT("{}"));
    client_close(&client);
    kit_free(kit);
}

static void streams_may_outlive_the_threads(void **state)
{
    (void)state;
    struct hub_kit *kit = kit_make_usual();
    struct client client;
    client_open(&client, kit, "user", "a", 0);
    kit_publish(kit, "a", TEXT("{}"), 3);
    hub_stop(kit->hub);
    hub_stop(kit->hub);
    hub_drain(kit->hub, 0);
    client_expect_events(&client, 1, 1, 3, TEXT("{}"));
    hub_unsubscribe(kit->hub, TEXT("user"), TEXT("a"));
    client_close(&client);
    kit_free(kit);
    hub_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_have_their_form),
        cmocka_unit_test(streams_get_their_channels),
        cmocka_unit_test(unconfirmed_channels_are_dropped),
        cmocka_unit_test(bytes_are_taken_in_any_portion),
        cmocka_unit_test(closed_streams_may_be_in_a_list),
        cmocka_unit_test(streams_start_behind_an_id),
        cmocka_unit_test(ids_up_to_the_start_are_left_out),
        cmocka_unit_test(events_without_streams_are_not_lost),
        cmocka_unit_test(long_replays_come_in_pages),
        cmocka_unit_test(large_replays_take_little_memory),
        cmocka_unit_test(what_is_published_during_a_replay_follows_it),
        cmocka_unit_test(full_queues_end_the_stream),
        cmocka_unit_test(many_bytes_end_the_stream),
        cmocka_unit_test(one_event_always_has_room),
        cmocka_unit_test(a_replay_outlasts_any_overflow),
        cmocka_unit_test(a_full_inbox_loses_nothing),
        cmocka_unit_test(streams_may_outlive_the_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
