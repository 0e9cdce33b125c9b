/* The hub when things change behind its back: subscriptions that end, here or elsewhere, events of other servers, a
 * database that does not answer; and heartbeats. */
#include "hub_kit.h"

static void subscribe(struct hub_kit *kit, const char *user, const char *channel)
{
    kit_subscription(kit->storage, STORAGE_SUBSCRIBE, user, channel);
}

/* --- subscriptions that end here --- */

static void what_has_begun_is_sent_whole(void **state)
{
    (void)state;
    struct hub_kit *kit = kit_make_usual();
    struct client client, other, twin;
    client_open(&client, kit, "user", "a,b", 0);
    client_open(&twin, kit, "user", "b,a", 0);
    client_open(&other, kit, "other", "a,b", 0);
    kit_publish_one(kit, "a");
    kit_publish_one(kit, "b");
    kit_publish_one(kit, "a");
    kit_publish_one(kit, "b");
    assert_int_equal(client_take(&client, 5), 5);
    hub_unsubscribe(kit->hub, TEXT("user"), TEXT("a"));
    hub_unsubscribe(kit->hub, TEXT("user"), TEXT("nothing"));
    hub_unsubscribe(kit->hub, TEXT("nobody"), TEXT("b"));
    kit_publish_one(kit, "a");
    kit_publish_one(kit, "b");
    client_expect_one(&client, 1);
    client_expect_events(&client, 2, 2, 6, TEXT("{}"));
    client_expect_events(&twin, 2, 2, 6, TEXT("{}"));
    client_expect_events(&other, 1, 1, 6, TEXT("{}"));
    hub_unsubscribe(kit->hub, TEXT("user"), TEXT("b"));
    hub_unsubscribe(kit->hub, TEXT("user"), TEXT("b"));
    kit_publish_one(kit, "b");
    client_drain(&client);
    assert_int_equal(client.text.length, 0);
    assert_int_equal(stream_more(client.stream), STREAM_IDLE);
    client_expect_one(&other, 7);
    /* A stream without channels stays open. */
    assert_int_equal(hub_stream_count(kit->hub), 3);
    client_close(&client);
    client_close(&twin);
    client_close(&other);
    kit_free(kit);
}

static void a_replay_leaves_out_what_has_ended(void **state)
{
    (void)state;
    struct hub_kit *kit = kit_make_usual();
    struct client client;
    for (size_t i = 0; i < 300; i++)
        kit_submit(kit, i % 2 == 0 ? "a" : "b", TEXT("{}"));
    kit_settle(kit);
    client_open(&client, kit, "user", "a,b", 0);
    assert_int_equal(stream_replay(client.stream), STREAM_MORE);
    /* Of the page that has been read, and of those to come. */
    hub_unsubscribe(kit->hub, TEXT("user"), TEXT("a"));
    client_expect_events(&client, 2, 2, 300, TEXT("{}"));
    client_close(&client);
    client_open(&client, kit, "user", "a,b", 0);
    assert_int_equal(stream_replay(client.stream), STREAM_MORE);
    hub_unsubscribe(kit->hub, TEXT("user"), TEXT("a"));
    hub_unsubscribe(kit->hub, TEXT("user"), TEXT("b"));
    client_drain(&client);
    assert_int_equal(client.text.length, 0);
    client_close(&client);
    kit_free(kit);
}

/* --- subscriptions that ended elsewhere --- */

static void a_recheck_ends_what_is_gone(void **state)
{
    (void)state;
    struct hub_kit *kit = kit_make_usual();
    struct client client, other;
    subscribe(kit, "user", "a");
    subscribe(kit, "user", "b");
    subscribe(kit, "other", "a");
    client_open(&client, kit, "user", "a,b", 0);
    client_open(&other, kit, "other", "a", 0);
    hub_recheck(kit->hub, TEXT("user"));
    hub_recheck(kit->hub, TEXT("nobody"));
    kit_quiet(kit);
    kit_publish_one(kit, "a");
    client_expect_one(&client, 1);
    struct storage *elsewhere = kit_open_storage(kit->file.url, &kit->file.log);
    kit_subscription(elsewhere, STORAGE_UNSUBSCRIBE, "user", "a");
    storage_close(elsewhere);
    hub_recheck(kit->hub, TEXT("other"));
    kit_quiet(kit);
    kit_publish_one(kit, "a"); /* queued, not yet begun */
    hub_recheck(kit->hub, TEXT("user"));
    kit_quiet(kit);
    kit_publish_one(kit, "a");
    kit_publish_one(kit, "b");
    client_expect_one(&client, 4);
    client_expect_events(&other, 1, 1, 3, TEXT("{}"));
    client_close(&client);
    client_close(&other);
    kit_free(kit);
}

/* More users than are looked up at once, and more questions than are kept. */
static void everybody_can_be_rechecked(void **state)
{
    enum { USERS = 70, MANY = 1500 };
    (void)state;
    struct hub_kit *kit = kit_make_usual();
    static struct client clients[USERS];
    char user[16];
    for (size_t i = 0; i < USERS; i++) {
        snprintf(user, sizeof user, "user-%zu", i);
        subscribe(kit, user, "a");
        subscribe(kit, user, "b");
        client_open(&clients[i], kit, user, "a,b", 0);
    }
    database_file_run(&kit->file, "DELETE FROM user_subscriptions WHERE channel = 'a'");
    hub_recheck(kit->hub, TEXT(""));
    kit_quiet(kit);
    kit_publish_one(kit, "a");
    kit_publish_one(kit, "b");
    for (size_t i = 0; i < USERS; i++)
        client_expect_one(&clients[i], 2);
    database_file_run(&kit->file, "DELETE FROM user_subscriptions WHERE user_id <> 'user-69'");
    for (size_t i = 0; i < MANY; i++) {
        snprintf(user, sizeof user, "user-%zu", i % (USERS / 2));
        hub_recheck(kit->hub, text_from(user));
    }
    kit_quiet(kit);
    uint64_t last = kit_publish_one(kit, "b");
    for (size_t i = 0; i < USERS / 2; i++)
        client_drain(&clients[i]);
    client_expect_one(&clients[USERS - 1], last);
    for (size_t i = USERS / 2; i < USERS - 1; i++)
        buffer_clear(&clients[i].text); /* nobody asked about them, or all were asked about */
    for (size_t i = 0; i < USERS; i++)
        client_close(&clients[i]);
    kit_free(kit);
}

static void a_recheck_waits_for_the_database(void **state)
{
    (void)state;
    struct hub_kit *kit = kit_make_usual();
    struct client client;
    subscribe(kit, "user", "b");
    client_open(&client, kit, "user", "a,b", 0);
    database_file_run(&kit->file, "ALTER TABLE user_subscriptions RENAME TO hidden");
    hub_recheck(kit->hub, TEXT("user"));
    /* Not answered is not ended. */
    kit_publish_one(kit, "a");
    kit_publish_one(kit, "b");
    client_expect_events(&client, 1, 1, 2, TEXT("{}"));
    database_file_run(&kit->file, "ALTER TABLE hidden RENAME TO user_subscriptions");
    kit_quiet(kit);
    kit_publish_one(kit, "a");
    kit_publish_one(kit, "b");
    client_expect_one(&client, 4);
    client_close(&client);
    kit_free(kit);
}

/* --- several things at once --- */

enum { SUBSCRIPTIONS = 200000 };

/* Gives the user so many subscriptions that looking them up takes a while. */
static void subscribe_to_many(struct hub_kit *kit)
{
    char sql[256];
    snprintf(sql, sizeof sql,
             "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)"
             " INSERT INTO user_subscriptions SELECT 'user', 'many' || i FROM n",
             SUBSCRIPTIONS);
    database_file_run(&kit->file, sql);
    subscribe(kit, "user", "zz");
}

/* Waits until the tail has begun to look the user's subscriptions up; the answer comes later. */
static void await_question(struct hub_kit *kit, const struct client *client, size_t following)
{
    int64_t deadline_at = kit_patience();
    bool in_question = false;
    while (!in_question && clock_monotonic_ns() < deadline_at) {
        pthread_mutex_lock(&kit->hub->mutex);
        in_question = client->stream->followings[following].in_question;
        pthread_mutex_unlock(&kit->hub->mutex);
    }
    assert_true(in_question);
}

/* Another server ends the user's subscription to a, this one that to b, while the hub looks up what the user has. */
static void a_recheck_survives_an_unsubscribe(void **state)
{
    (void)state;
    struct hub_kit *kit = kit_make_usual();
    struct client client;
    subscribe_to_many(kit);
    client_open(&client, kit, "user", "a,b,zz", 0);
    hub_recheck(kit->hub, TEXT("user"));
    await_question(kit, &client, 2);
    hub_unsubscribe(kit->hub, TEXT("user"), TEXT("b"));
    kit_quiet(kit);
    kit_publish_one(kit, "a");
    kit_publish_one(kit, "b");
    kit_publish_one(kit, "zz");
    client_expect_one(&client, 3);
    client_close(&client);
    kit_free(kit);
}

/* The same while the stream is being opened: it has seen the subscription, which then ended elsewhere. */
static void a_recheck_survives_an_opening(void **state)
{
    (void)state;
    struct hub_kit *kit = kit_make_usual();
    struct client client;
    subscribe_to_many(kit);
    client_register(&client, kit, "user", "a,zz");
    stream_confirm(client.stream, TEXT("a"));
    stream_confirm(client.stream, TEXT("zz"));
    hub_recheck(kit->hub, TEXT("user"));
    await_question(kit, &client, 1);
    assert_int_equal(stream_drop_unconfirmed(client.stream), 2);
    stream_start(client.stream, 0);
    kit_quiet(kit);
    kit_publish_one(kit, "a");
    kit_publish_one(kit, "zz");
    client_expect_one(&client, 2);
    client_close(&client);
    kit_free(kit);
}

/* --- events of other servers --- */

static void events_of_others_are_found(void **state)
{
    (void)state;
    struct hub_kit *kit = kit_make_usual();
    struct storage *elsewhere = kit_open_storage(kit->file.url, &kit->file.log);
    struct client client, sparse;
    client_open(&client, kit, "user", "a", 0);
    client_open(&sparse, kit, "user", "b", 0);
    /* Nobody tells: it looks by itself. */
    kit_store(elsewhere, "a", TEXT("{}"));
    client_expect_one(&client, 1);
    /* It is told. */
    kit_store(elsewhere, "a", TEXT("{}"));
    hub_look(kit->hub);
    client_expect_one(&client, 2);
    /* They lie between its own. */
    for (uint64_t id = 3; id < 30; id += 3) {
        kit_store(elsewhere, "a", TEXT("{}"));
        kit_publish_one(kit, "a");
        kit_publish_one(kit, "a");
        client_expect_events(&client, id, 1, id + 2, TEXT("{}"));
    }
    /* More than a page of them. */
    database_file_run(
        &kit->file,
        "BEGIN IMMEDIATE; WITH RECURSIVE n(i) AS (SELECT 30 UNION ALL SELECT i + 1 FROM n WHERE i < 929)"
        " INSERT INTO events SELECT i, 'a', 'type', '{}', 0 FROM n;"
        " UPDATE event_counter SET last_id = 929; COMMIT");
    kit_publish_one(kit, "b");
    client_expect_events(&client, 30, 1, 929, TEXT("{}"));
    client_expect_one(&sparse, 930);
    client_close(&client);
    client_close(&sparse);
    storage_close(elsewhere);
    kit_free(kit);
}

/* --- a database that does not answer --- */

static unsigned resumed(struct client *client)
{
    pthread_mutex_lock(&client->kit->mutex);
    unsigned count = client->resumed;
    pthread_mutex_unlock(&client->kit->mutex);
    return count;
}

static void stalled_replays_go_on(void **state)
{
    (void)state;
    struct hub_kit *kit = kit_make_usual();
    struct client client;
    kit_publish(kit, "a", TEXT("{}"), 1000);
    client_open(&client, kit, "user", "a", 0);
    assert_int_equal(stream_replay(client.stream), STREAM_MORE);
    client_take(&client, SIZE_MAX);
    database_file_run(&kit->file, "ALTER TABLE events RENAME TO hidden");
    client_drain(&client);
    assert_int_equal(stream_more(client.stream), STREAM_REPLAYS);
    /* It tries again and again. */
    client_await_wake(&client);
    client_drain(&client);
    client_await_wake(&client);
    assert_true(resumed(&client) >= 2);
    database_file_run(&kit->file, "ALTER TABLE hidden RENAME TO events");
    client_drain(&client);
    client_expect_events(&client, 1, 1, 1000, TEXT("{}"));
    client_close(&client);
    kit_free(kit);
}

static void streams_without_a_thread_are_resumed(void **state)
{
    (void)state;
    struct hub_kit *kit = kit_make_usual();
    struct client client, gone, idle;
    kit_publish(kit, "a", TEXT("{}"), 10);
    client_open(&idle, kit, "user", "a", 10);
    client_open(&client, kit, "user", "a", 0);
    client_open(&gone, kit, "user", "a", 0);
    stream_stall(gone.stream);
    stream_stall(client.stream);
    stream_stall(client.stream); /* once is enough */
    client_close(&gone);
    hub_look(kit->hub);
    client_await_wake(&client);
    kit_quiet(kit);
    hub_look(kit->hub);
    kit_quiet(kit);
    assert_int_equal(resumed(&client), 1);
    assert_int_equal(resumed(&idle), 0);
    client_expect_events(&client, 1, 1, 10, TEXT("{}"));
    client_close(&client);
    client_close(&idle);
    kit_free(kit);
}

/* Events of others can't be read for a while: nothing is skipped. */
static void the_tail_waits_for_the_database(void **state)
{
    (void)state;
    struct hub_kit *kit = kit_make_usual();
    struct client client;
    client_open(&client, kit, "user", "a", 0);
    database_file_run(&kit->file, "BEGIN IMMEDIATE; INSERT INTO events VALUES (1, 'a', 'type', '{}', 0);"
                                  "UPDATE event_counter SET last_id = 1; ALTER TABLE events RENAME TO hidden;"
                                  "COMMIT");
    hub_look(kit->hub);
    kit_quiet(kit);
    client_drain(&client);
    assert_int_equal(client.text.length, 0);
    database_file_run(&kit->file, "ALTER TABLE hidden RENAME TO events");
    kit_publish_one(kit, "a");
    client_expect_events(&client, 1, 1, 2, TEXT("{}"));
    client_close(&client);
    kit_free(kit);
}

/* --- heartbeats --- */

static void expect_end(const struct client *client, struct text end)
{
    assert_true(client->text.length >= end.length);
    assert_memory_equal(client->text.bytes + client->text.length - end.length, end.bytes, end.length);
}

static void quiet_streams_get_heartbeats(void **state)
{
    (void)state;
    struct hub_kit *kit = kit_make(20 * CLOCK_NS_PER_MS, UINT64_MAX);
    struct client quiet, busy, opening;
    client_open(&quiet, kit, "user", "a", 0);
    client_register(&opening, kit, "user", "a");
    int64_t begun_at = clock_monotonic_ns();
    client_expect(&quiet, TEXT(": heartbeat\n\n: heartbeat\n\n: heartbeat\n\n"));
    assert_true(clock_monotonic_ns() - begun_at >= 40 * CLOCK_NS_PER_MS);
    client_open(&busy, kit, "user", "b", 0);
    kit_publish_one(kit, "b");
    /* While something waits to be sent, none is added. */
    client_expect(&quiet, TEXT(": heartbeat\n\n: heartbeat\n\n: heartbeat\n\n"));
    client_take(&busy, SIZE_MAX);
    client_take(&opening, SIZE_MAX);
    assert_int_equal(opening.text.length, 0);
    expect_end(&busy, TEXT("id: 1\nevent: type\ndata: {}\n\n"));
    buffer_clear(&busy.text);
    buffer_clear(&quiet.text);
    client_close(&quiet);
    client_close(&busy);
    client_close(&opening);
    kit_free(kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_has_begun_is_sent_whole),
        cmocka_unit_test(a_replay_leaves_out_what_has_ended),
        cmocka_unit_test(a_recheck_ends_what_is_gone),
        cmocka_unit_test(everybody_can_be_rechecked),
        cmocka_unit_test(a_recheck_waits_for_the_database),
        cmocka_unit_test(a_recheck_survives_an_unsubscribe),
        cmocka_unit_test(a_recheck_survives_an_opening),
        cmocka_unit_test(events_of_others_are_found),
        cmocka_unit_test(stalled_replays_go_on),
        cmocka_unit_test(streams_without_a_thread_are_resumed),
        cmocka_unit_test(the_tail_waits_for_the_database),
        cmocka_unit_test(quiet_streams_get_heartbeats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
