/* The PostgreSQL engine while the database is well: what is stored, ids, the tables, notifications. */
#include "postgresql_kit.h"

#include "base/sync.h"

#include <pthread.h>
#include <stdatomic.h>

static const struct storage_range everything = {.up_to = UINT64_MAX, .limit = SIZE_MAX};

/* --- writes and reads --- */

static void ids_are_consecutive_in_list_order(void **state)
{
    struct kit *kit = *state;
    void *engine = kit_open(kit, kit_database(kit));
    struct batch batch;
    uint64_t newest = 99;
    assert_int_equal(storage_postgresql.newest_id(engine, &newest, kit_in_ms(5000)), STORAGE_OK);
    assert_int_equal(newest, 0);
    for (uint64_t round = 0; round < 3; round++) {
        batch_begin(&batch);
        batch_publish(&batch, "a", "1");
        batch_subscription(&batch, STORAGE_SUBSCRIBE, "user", "a");
        batch_publish(&batch, "b", "2");
        batch_publish(&batch, "a", "3");
        assert_int_equal(batch_commit(engine, &batch), STORAGE_OK);
        assert_int_equal(batch.writes[0].id, round * 3 + 1);
        assert_int_equal(batch.writes[2].id, round * 3 + 2);
        assert_int_equal(batch.writes[3].id, round * 3 + 3);
    }
    assert_int_equal(storage_postgresql.newest_id(engine, &newest, kit_in_ms(5000)), STORAGE_OK);
    assert_int_equal(newest, 9);
    assert_true(storage_postgresql.is_available(engine));
    storage_postgresql.close(engine);
}

static void payloads_are_kept_byte_for_byte(void **state)
{
    static const char *const payloads[] = {
        "{\"a\":1.0,\"a\":1e2}", "\"\\\\ \\\" \\u0000 {},\"", "\"\xC3\xA4\xF0\x9F\x98\x80\"", "null",
        "[1,\"NULL\",'']",
    };
    static const int64_t times[] = {0, 1, 1700000000123, 253402300799999, -1};
    struct kit *kit = *state;
    void *engine = kit_open(kit, kit_database(kit));
    struct batch batch;
    batch_begin(&batch);
    for (size_t i = 0; i < 5; i++)
        batch_publish(&batch, "quote\"back\\slash,{}", payloads[i])->created_ms = times[i];
    assert_int_equal(batch_commit(engine, &batch), STORAGE_OK);
    struct stored *stored = stored_read(engine, &everything);
    assert_int_equal(stored->count, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(stored->events[i].payload, payloads[i]);
        assert_string_equal(stored->events[i].channel, "quote\"back\\slash,{}");
        assert_int_equal(stored->events[i].created_ms, times[i]);
    }
    free(stored);
    storage_postgresql.close(engine);
}

static void expect_ids(void *engine, const struct storage_range *range, const uint64_t *ids, size_t count)
{
    struct stored *stored = stored_read(engine, range);
    assert_int_equal(stored->count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(stored->events[i].id, ids[i]);
    free(stored);
}

static void ranges_choose_events(void **state)
{
    const struct text channels[] = {TEXT("c"), TEXT("none"), TEXT("a")};
    struct kit *kit = *state;
    void *engine = kit_open(kit, kit_database(kit));
    struct batch batch;
    for (int i = 0; i < 3; i++) {
        batch_begin(&batch);
        batch_publish(&batch, "a", "0");
        batch_publish(&batch, "b", "0");
        batch_publish(&batch, "c", "0");
        assert_int_equal(batch_commit(engine, &batch), STORAGE_OK);
    }
    struct storage_range range = {
        .channels = channels, .channel_count = 3, .up_to = UINT64_MAX, .limit = 100};
    expect_ids(engine, &range, (const uint64_t[]){1, 3, 4, 6, 7, 9}, 6);
    range.after = 3;
    range.up_to = 7;
    expect_ids(engine, &range, (const uint64_t[]){4, 6, 7}, 3);
    range.limit = 2;
    expect_ids(engine, &range, (const uint64_t[]){4, 6}, 2);
    range.channel_count = 0;
    expect_ids(engine, &range, (const uint64_t[]){4, 5}, 2);
    range = (struct storage_range){.channels = channels + 1, .channel_count = 1, .up_to = 9, .limit = 9};
    expect_ids(engine, &range, NULL, 0);
    storage_postgresql.close(engine);
}

static bool append_channel(void *context, struct text channel)
{
    char *text = context;
    snprintf(text + strlen(text), KIT_TEXT_BYTES - strlen(text), "%.*s ", (int)channel.length, channel.bytes);
    return true;
}

static void subscriptions_are_listed_by_bytes(void **state)
{
    struct kit *kit = *state;
    void *engine = kit_open(kit, kit_database(kit));
    struct batch batch;
    char text[KIT_TEXT_BYTES] = "";
    batch_begin(&batch);
    batch_subscription(&batch, STORAGE_SUBSCRIBE, "user", "b");
    batch_subscription(&batch, STORAGE_SUBSCRIBE, "user", "a");
    batch_subscription(&batch, STORAGE_SUBSCRIBE, "user", "B");
    batch_subscription(&batch, STORAGE_SUBSCRIBE, "user", "b");
    batch_subscription(&batch, STORAGE_SUBSCRIBE, "other", "c");
    batch_subscription(&batch, STORAGE_UNSUBSCRIBE, "user", "a");
    batch_subscription(&batch, STORAGE_UNSUBSCRIBE, "user", "nothing");
    batch_subscription(&batch, STORAGE_SUBSCRIBE, "user", "\xC3\xA4");
    assert_int_equal(batch_commit(engine, &batch), STORAGE_OK);
    assert_int_equal(
        storage_postgresql.subscriptions(engine, TEXT("user"), append_channel, text, kit_in_ms(5000)),
        STORAGE_OK);
    assert_string_equal(text, "B b \xC3\xA4 ");
    text[0] = '\0';
    assert_int_equal(
        storage_postgresql.subscriptions(engine, TEXT(""), append_channel, text, kit_in_ms(5000)),
        STORAGE_OK);
    assert_string_equal(text, "");
    storage_postgresql.close(engine);
}

/* More bytes than one statement takes, and more statements than fit into the buffers of the sockets. */
static void large_batches_are_stored_whole(void **state)
{
    enum { COUNT = 3000, LARGE = 1024 * 1024, LARGE_EVERY = 150 };
    struct kit *kit = *state;
    const char *url = kit_database(kit);
    void *engine = kit_open(kit, url);
    struct storage_write *writes = calloc(COUNT, sizeof *writes);
    char *large = malloc(LARGE);
    assert_non_null(writes);
    assert_non_null(large);
    memset(large, '\\', LARGE);
    struct storage_write_list list = STAILQ_HEAD_INITIALIZER(list);
    for (size_t i = 0; i < COUNT; i++) {
        bool subscribes = i % 3 == 2;
        writes[i].kind = !subscribes ? STORAGE_PUBLISH : i % 2 == 0 ? STORAGE_SUBSCRIBE : STORAGE_UNSUBSCRIBE;
        writes[i].user = TEXT("user");
        writes[i].channel = TEXT("channel");
        writes[i].event_type = TEXT("type");
        writes[i].payload = (struct text){.bytes = large, .length = i % LARGE_EVERY == 0 ? LARGE : i % 100};
        STAILQ_INSERT_TAIL(&list, &writes[i], link);
    }
    assert_int_equal(storage_postgresql.commit(engine, &list, kit_in_ms(60000)), STORAGE_OK);
    uint64_t id = 0;
    for (size_t i = 0; i < COUNT; i++)
        if (writes[i].kind == STORAGE_PUBLISH)
            assert_int_equal(writes[i].id, ++id);
    assert_int_equal(kit_number(kit, url, "SELECT count(*) FROM events"), COUNT / 3 * 2);
    assert_int_equal(kit_number(kit, url, "SELECT max(length(payload)) FROM events"), LARGE);
    assert_int_equal(kit_number(kit, url, "SELECT length(payload) FROM events WHERE id = 501"),
                     750 % LARGE_EVERY == 0 ? LARGE : 0);
    free(large);
    free(writes);
    storage_postgresql.close(engine);
}

static void settled_batches_leave_no_rows(void **state)
{
    struct kit *kit = *state;
    const char *url = kit_database(kit);
    void *engine = kit_open(kit, url);
    struct batch batch;
    for (int i = 0; i < 50; i++) {
        batch_begin(&batch);
        batch_subscription(&batch, STORAGE_SUBSCRIBE, "user", "a");
        assert_int_equal(batch_commit(engine, &batch), STORAGE_OK);
    }
    assert_int_equal(kit_number(kit, url, "SELECT count(*) FROM write_batches"), 1);
    storage_postgresql.close(engine);
}

/* --- several servers --- */

enum { COMMITS = 200 };

struct committer {
    void *engine;
    atomic_uint *committing; /* threads */
    uint64_t published;
    bool good;
};

static void *commit_many(void *context)
{
    struct committer *committer = context;
    struct batch batch;
    committer->good = true;
    for (size_t i = 0; i < COMMITS && committer->good; i++) {
        batch_begin(&batch);
        for (size_t n = 0; n <= i % 4; n++)
            batch_publish(&batch, "a", "0");
        /* In different orders: they would deadlock if transactions could overlap. */
        batch_subscription(&batch, STORAGE_SUBSCRIBE, "user", i % 2 == 0 ? "a" : "b");
        batch_subscription(&batch, STORAGE_UNSUBSCRIBE, "user", i % 2 == 0 ? "b" : "a");
        committer->published += batch.count - 2;
        committer->good = batch_commit(committer->engine, &batch) == STORAGE_OK;
    }
    atomic_fetch_sub(committer->committing, 1);
    return NULL;
}

static bool expect_next(void *context, const struct storage_event *event)
{
    uint64_t *last = context;
    assert_int_equal(event->id, *last + 1);
    *last = event->id;
    return true;
}

static void ids_become_visible_in_order(void **state)
{
    enum { ENGINES = 2 };
    struct kit *kit = *state;
    const char *url = kit_database(kit);
    atomic_uint committing = ENGINES;
    struct committer committers[ENGINES] = {{.good = false}};
    pthread_t threads[ENGINES];
    for (size_t i = 0; i < ENGINES; i++)
        committers[i] = (struct committer){.engine = kit_open(kit, url), .committing = &committing};
    for (size_t i = 0; i < ENGINES; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, commit_many, &committers[i]), 0);
    struct storage_range range = {.up_to = UINT64_MAX, .limit = 100};
    bool last_look = false;
    do {
        last_look = atomic_load(&committing) == 0;
        uint64_t before;
        do {
            before = range.after;
            assert_int_equal(storage_postgresql.events(committers[0].engine, &range, expect_next,
                                                       &range.after, kit_in_ms(5000)),
                             STORAGE_OK);
        } while (range.after != before);
    } while (!last_look);
    uint64_t published = 0;
    for (size_t i = 0; i < ENGINES; i++) {
        pthread_join(threads[i], NULL);
        assert_true(committers[i].good);
        published += committers[i].published;
        storage_postgresql.close(committers[i].engine);
    }
    assert_int_equal(range.after, published);
}

static void *open_one(void *context)
{
    struct storage_options *options = context;
    char reason[STORAGE_REASON_BYTES];
    return storage_postgresql.open(options, reason);
}

static void servers_start_at_once(void **state)
{
    enum { SERVERS = 4 };
    struct kit *kit = *state;
    const char *url = kit_database(kit);
    struct storage_options options = {.url = url, .log = &kit->log};
    pthread_t threads[SERVERS];
    void *engines[SERVERS];
    for (size_t i = 0; i < SERVERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, open_one, &options), 0);
    for (size_t i = 0; i < SERVERS; i++)
        pthread_join(threads[i], &engines[i]);
    for (size_t i = 0; i < SERVERS; i++) {
        assert_non_null(engines[i]);
        storage_postgresql.close(engines[i]);
    }
    assert_int_equal(kit_number(kit, url, "SELECT version FROM schema_version"), STORAGE_SCHEMA_VERSION);
    assert_int_equal(kit_number(kit, url, "SELECT count(*) FROM event_counter"), 1);
}

/* --- what can't be opened --- */

static void expect_refused(struct kit *kit, const char *url, const char *part)
{
    char reason[STORAGE_REASON_BYTES] = "";
    struct storage_options options = {.url = url, .log = &kit->log};
    assert_null(storage_postgresql.open(&options, reason));
    if (strstr(reason, part) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", part, reason);
    assert_null(strstr(reason, "secret"));
    assert_null(strchr(reason, '\n'));
}

static void a_newer_schema_is_refused(void **state)
{
    struct kit *kit = *state;
    const char *url = kit_database(kit);
    storage_postgresql.close(kit_open(kit, url));
    storage_postgresql.close(kit_open(kit, url));
    kit_number(kit, url, "UPDATE schema_version SET version = 99");
    expect_refused(kit, url, "version 99");
    assert_int_equal(kit_number(kit, url, "SELECT version FROM schema_version"), 99);
}

static void other_encodings_are_refused(void **state)
{
    struct kit *kit = *state;
    const char *url = kit_database(kit);
    char other[128];
    kit_number(kit, url, "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    snprintf(other, sizeof other, "%.*s/latin", (int)(strrchr(url, '/') - url), url);
    expect_refused(kit, other, "LATIN1");
}

static void read_only_databases_are_refused(void **state)
{
    struct kit *kit = *state;
    char url[160];
    snprintf(url, sizeof url, "%s?options=-cdefault_transaction_read_only%%3Don", kit_database(kit));
    expect_refused(kit, url, "read-only");
}

static void bad_urls_tell_no_password(void **state)
{
    struct kit *kit = *state;
    expect_refused(kit, "postgres://user:sec%ret@127.0.0.1/test", "not valid");
    expect_refused(kit, "postgres://user:p/secret@127.0.0.1/test", "not valid");
    expect_refused(kit, "postgres://user:p@secret@127.0.0.1/test", "not valid");
    expect_refused(kit, "postgres://user:secret@127.0.0.1:1/test", "Connection refused");
}

static void unknown_databases_are_refused_at_once(void **state)
{
    struct kit *kit = *state;
    char url[128];
    snprintf(url, sizeof url, "%s_unknown", kit_database(kit));
    int64_t begun_at = clock_monotonic_ns();
    expect_refused(kit, url, "does not exist");
    assert_true(clock_monotonic_ns() - begun_at < MILLISECONDS(3000));
}

/* --- notifications --- */

struct watched {
    pthread_mutex_t mutex;
    pthread_cond_t condition;
    unsigned news;
    unsigned unknown; /* unsubscribed with an empty user */
    char user[KIT_TEXT_BYTES * 8];
    char channel[KIT_TEXT_BYTES * 8];
};

static void see_news(void *context)
{
    struct watched *watched = context;
    pthread_mutex_lock(&watched->mutex);
    watched->news++;
    pthread_cond_signal(&watched->condition);
    pthread_mutex_unlock(&watched->mutex);
}

static void see_unsubscribed(void *context, struct text user, struct text channel)
{
    struct watched *watched = context;
    pthread_mutex_lock(&watched->mutex);
    watched->unknown += user.length == 0 ? 1 : 0;
    snprintf(watched->user, sizeof watched->user, "%.*s", (int)user.length, user.bytes);
    snprintf(watched->channel, sizeof watched->channel, "%.*s", (int)channel.length, channel.bytes);
    pthread_cond_signal(&watched->condition);
    pthread_mutex_unlock(&watched->mutex);
}

static void expect_seen(struct watched *watched, unsigned news, unsigned unknown, const char *user)
{
    int64_t deadline_at = kit_in_ms(KIT_WAIT_MS);
    bool in_time = true;
    pthread_mutex_lock(&watched->mutex);
    while (in_time &&
           (watched->news < news || watched->unknown < unknown || strcmp(watched->user, user) != 0))
        in_time = sync_wait_until(&watched->condition, &watched->mutex, deadline_at);
    pthread_mutex_unlock(&watched->mutex);
    assert_true(in_time);
}

static void notifications_reach_other_servers(void **state)
{
    enum { LONGEST_NAME = 255 };
    char user[LONGEST_NAME + 1], channel[LONGEST_NAME + 1];
    memset(user, ':', LONGEST_NAME);
    memset(channel, '1', LONGEST_NAME);
    user[LONGEST_NAME] = channel[LONGEST_NAME] = '\0';
    struct kit *kit = *state;
    const char *url = kit_database(kit);
    struct watched watched = {.mutex = PTHREAD_MUTEX_INITIALIZER};
    assert_int_equal(sync_condition_init(&watched.condition), 0);
    char reason[STORAGE_REASON_BYTES];
    struct storage_options options = {
        .url = url, .log = &kit->log, .watcher = {see_news, see_unsubscribed, &watched}};
    void *watching = storage_postgresql.open(&options, reason);
    assert_non_null(watching);
    void *writing = kit_open(kit, url);
    expect_seen(&watched, 1, 1, "");
    struct batch batch;
    batch_begin(&batch);
    batch_publish(&batch, "a", "0");
    batch_subscription(&batch, STORAGE_SUBSCRIBE, user, channel);
    assert_int_equal(batch_commit(writing, &batch), STORAGE_OK);
    expect_seen(&watched, 2, 1, "");
    batch_begin(&batch);
    batch_subscription(&batch, STORAGE_UNSUBSCRIBE, user, channel);
    assert_int_equal(batch_commit(writing, &batch), STORAGE_OK);
    expect_seen(&watched, 2, 1, user);
    assert_string_equal(watched.channel, channel);
    /* After a new connection anything may have happened. */
    kit_number(kit, url,
               "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'");
    expect_seen(&watched, 3, 2, "");
    storage_postgresql.close(writing);
    storage_postgresql.close(watching);
    pthread_cond_destroy(&watched.condition);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_consecutive_in_list_order),
        cmocka_unit_test(payloads_are_kept_byte_for_byte),
        cmocka_unit_test(ranges_choose_events),
        cmocka_unit_test(subscriptions_are_listed_by_bytes),
        cmocka_unit_test(large_batches_are_stored_whole),
        cmocka_unit_test(settled_batches_leave_no_rows),
        cmocka_unit_test(ids_become_visible_in_order),
        cmocka_unit_test(servers_start_at_once),
        cmocka_unit_test(a_newer_schema_is_refused),
        cmocka_unit_test(other_encodings_are_refused),
        cmocka_unit_test(read_only_databases_are_refused),
        cmocka_unit_test(bad_urls_tell_no_password),
        cmocka_unit_test(unknown_databases_are_refused_at_once),
        cmocka_unit_test(notifications_reach_other_servers),
    };
    return cmocka_run_group_tests(tests, kit_setup, kit_teardown);
}
