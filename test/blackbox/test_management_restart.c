/* What was answered outlives the server, also one that is killed; and a database that is away takes nothing. */
#include <errno.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../postgres.h"
#include "kit_http.h"
#include "kit_management.h"

#define BODY "{\"name\":\"n\",\"userId\":\"u\"}"

enum { AWAY_MS = 3000 }; /* 2 s are allowed for the answer */

/* ---- restarts ---- */

static void restart(void **state, bool kills)
{
    struct kit *kit = *state;
    const char *events = "", *users = "";
    long last_id = 0;
    for (int round = 0; round < 4; round++) {
        kit_note(kit, "round %d", round);
        struct kit_server *server = kit_serve_events(kit);
        if (round > 0) {
            kit_assert_list(server, KIT_GET_EVENTS, events);
            kit_assert_list(server, KIT_GET_USERS, users);
            kit_assert_list(server, KIT_EVENTS_OF "table", "[]");
        }
        kit_put_table(server, "{\"table\":{\"userName\":\"T\"},\"u1\":{}}");
        for (int i = 0; i < 5; i++) {
            const char *id = kit_add(server, "n", kit_format(kit, "\"u%d\"", i % 3), "{\"kept\":1.50}");
            assert_true(strtol(id, NULL, 10) > last_id);
            last_id = strtol(id, NULL, 10);
        }
        events = kit_get_path(server, KIT_GET_EVENTS)->body;
        users = kit_get_path(server, KIT_GET_USERS)->body;
        assert_int_equal(kit_entries(server, KIT_GET_EVENTS)->count, 5 * (round + 1));
        assert_string_equal(kit_ids(server, KIT_GET_USERS), "table u1 u0 u2");
        if (kills)
            kit_kill(server);
        else
            kit_stop(server);
    }
}

static void events_and_users_survive_a_stop(void **state)
{
    restart(state, false);
}

static void events_and_users_survive_a_kill(void **state)
{
    restart(state, true);
}

/* ---- killed while many add ---- */

enum { CLIENTS = 6, EVENTS_MAX = 20000, ROUNDS = 3, BEFORE_KILL = 200 };

struct client {
    struct kit_server *server;
    pthread_t thread;
    int round, number, sent, taken;
};

static atomic_int taken_by_all;

static void *add_until_killed(void *argument)
{
    struct client *client = argument;
    struct kit_connection *connection = kit_try_connect(client->server);
    while (connection != NULL && client->sent < EVENTS_MAX) {
        char body[128], id[64];
        snprintf(body, sizeof body, "{\"name\":\"%d/%d/%d\",\"userId\":\"u\"}", client->round, client->number,
                 client->sent++);
        if (kit_try_add(connection, body, kit_deadline_at_ms(KIT_DEADLINE_MS), id) != 200)
            break;
        client->taken++;
        atomic_fetch_add(&taken_by_all, 1);
    }
    if (connection != NULL)
        kit_close(connection);
    return NULL;
}

/* Of each client the events from 0 on, all that were answered and at most the one more that was under way. */
static void check_clients(struct kit_server *server, const struct client *clients, int round)
{
    struct kit *kit = kit_of(server);
    int next[CLIENTS] = {0};
    long last_id = 0;
    const struct kit_entries *entries = kit_entries(server, KIT_GET_EVENTS);
    for (size_t i = 0; i < entries->count; i++) {
        struct kit_slice name;
        int of_round, client, number;
        long id = strtol(entries->items[i].id.text, NULL, 10);
        assert_true(id > last_id);
        last_id = id;
        assert_int_equal(kit_member(entries->items[i].json, "name", &name), 1);
        assert_int_equal(sscanf(name.text, "\"%d/%d/%d\"", &of_round, &client, &number), 3);
        if (of_round != round)
            continue;
        if (client < 0 || client >= CLIENTS || number != next[client])
            kit_fail(kit, "event %.*s is not the next one", (int)name.length, name.text);
        next[client]++;
    }
    for (int i = 0; i < CLIENTS; i++)
        if (next[i] < clients[i].taken || next[i] > clients[i].sent)
            kit_fail(kit, "of client %d %d events are stored, %d were sent and %d answered", i, next[i],
                     clients[i].sent, clients[i].taken);
}

static void what_was_answered_survives_a_kill(void **state)
{
    static struct client clients[CLIENTS];
    struct kit *kit = *state;
    for (int round = 0; round < ROUNDS; round++) {
        kit_note(kit, "round %d", round);
        struct kit_server *server = kit_serve_events(kit);
        atomic_store(&taken_by_all, 0);
        for (int i = 0; i < CLIENTS; i++) {
            clients[i] = (struct client){.server = server, .round = round, .number = i};
            assert_int_equal(pthread_create(&clients[i].thread, NULL, add_until_killed, &clients[i]), 0);
        }
        int64_t deadline_at_ms = kit_deadline_at_ms(2 * KIT_DEADLINE_MS);
        while (atomic_load(&taken_by_all) < BEFORE_KILL && kit_now_ms() < deadline_at_ms)
            kit_pause();
        kit_kill(server);
        for (int i = 0; i < CLIENTS; i++)
            pthread_join(clients[i].thread, NULL);
        assert_true(atomic_load(&taken_by_all) >= BEFORE_KILL);
        server = kit_serve_events(kit);
        check_clients(server, clients, round);
        kit_stop(server);
    }
}

/* ---- the database is away ---- */

static void expect_refusal(struct kit_server *server)
{
    int64_t started_at_ms = kit_now_ms();
    const struct kit_response *response = kit_post_json(server, KIT_ADD_EVENT, BODY);
    assert_in_range(kit_now_ms() - started_at_ms, 0, (int64_t)(AWAY_MS * kit_time_scale()));
    kit_assert_error(response, 503, ".");
    kit_assert_header_matches(response, kit_of(server), "Retry-After", "^[1-9][0-9]*$");
}

/* Asks until an event is taken again. */
static void wait_until_taken(struct kit_server *server)
{
    int64_t deadline_at_ms = kit_deadline_at_ms(3 * KIT_DEADLINE_MS);
    while (kit_post_json(server, KIT_ADD_EVENT, "{\"name\":\"back\",\"userId\":\"v\"}")->status != 200) {
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(kit_of(server), "nothing is taken any more");
        kit_pause();
    }
}

static void check_nothing_stored(struct kit_server *server)
{
    kit_assert_error(kit_get_path(server, KIT_EVENTS_OF "u"), 404, ".");
    assert_string_equal(kit_ids(server, KIT_EVENTS_OF "before"), "1");
    assert_string_equal(kit_ids(server, KIT_GET_USERS), "before v");
}

/* Whoever takes the lock must let it go before anything can fail. */
static sqlite3 *lock_sqlite(struct kit *kit)
{
    sqlite3 *locker;
    assert_int_equal(sqlite3_open(kit_database(kit) + strlen("sqlite:"), &locker), SQLITE_OK);
    sqlite3_busy_timeout(locker, KIT_DEADLINE_MS);
    if (sqlite3_exec(locker, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
        kit_fail(kit, "the database can't be locked: %s", sqlite3_errmsg(locker));
    return locker;
}

static void a_locked_sqlite_takes_nothing(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    kit_add(server, "n", "\"before\"", NULL);
    sqlite3 *locker = lock_sqlite(kit);
    const struct kit_response *refusal = kit_post_json(server, KIT_ADD_EVENT, BODY);
    const char *ids = kit_ids(server, KIT_GET_EVENTS); /* what only reads goes on */
    sqlite3_close(locker);
    kit_assert_error(refusal, 503, ".");
    assert_string_equal(ids, "1");
    wait_until_taken(server);
    if (strstr(refusal->body, "outcome unknown") == NULL) /* a starved machine can make it so */
        check_nothing_stored(server);
}

enum { WRITERS = 30 };

/* The lock goes while many wait for it, the moment the first one is refused: 200 means stored, and 503 not stored. */
static void a_lock_that_ends_tells_the_truth(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    struct kit_connection *writers[WRITERS];
    sqlite3 *locker = lock_sqlite(kit);
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = kit_add_later(
            server, kit_planned_body(kit, kit_format(kit, "%d", i), kit_format(kit, "\"w%d\"", i), NULL));
        kit_pause(); /* they come one after the other, and so do their deadlines */
    }
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
    while (!kit_has_input(writers[0]) && kit_now_ms() < deadline_at_ms)
        ;
    sqlite3_close(locker);
    const struct kit_response *answers[WRITERS];
    for (int i = 0; i < WRITERS; i++)
        answers[i] = kit_receive(writers[i]);
    wait_until_taken(server);
    for (int i = 0; i < WRITERS; i++) {
        int stored = kit_get_path(server, kit_format(kit, KIT_EVENTS_OF "w%d", i))->status;
        kit_note(kit, "writer %d: %d %s, then %d", i, answers[i]->status, answers[i]->body, stored);
        kit_assert_status_among(answers[i], kit, "200|503");
        if (strstr(answers[i]->body, "outcome unknown") == NULL)
            assert_int_equal(stored, answers[i]->status == 200 ? 200 : 404);
    }
}

static void a_postgresql_that_is_gone_takes_nothing(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    kit_add(server, "n", "\"before\"", NULL);
    assert_int_equal(postgres_stop(kit_postgres(kit), false), 0);
    expect_refusal(server);
    expect_refusal(server);
    static const char *const lists[] = {KIT_GET_EVENTS, KIT_GET_USERS, KIT_EVENTS_OF "before"};
    for (size_t i = 0; i < KIT_COUNT(lists); i++) {
        kit_note(kit, "%s", lists[i]);
        const struct kit_response *response = kit_get_path(server, lists[i]);
        kit_assert_error(response, 503, ".");
        kit_assert_header_matches(response, kit, "Retry-After", "^[1-9][0-9]*$");
    }
    kit_push(server, "k", "1");
    assert_int_equal(postgres_restart(kit_postgres(kit)), 0);
    wait_until_taken(server);
    check_nothing_stored(server);
}

/* Nothing answers and nothing breaks: what was refused without "outcome unknown" must not appear afterwards. */
static void a_frozen_postgresql_takes_nothing(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    kit_add(server, "n", "\"before\"", NULL);
    kit_freeze_database(kit);
    int64_t started_at_ms = kit_now_ms();
    const struct kit_response *response = kit_post_json(server, KIT_ADD_EVENT, BODY);
    int64_t took_ms = kit_now_ms() - started_at_ms;
    kit_push(server, "k", "1");
    started_at_ms = kit_now_ms();
    const struct kit_response *list = kit_get_path(server, KIT_GET_EVENTS);
    int64_t list_took_ms = kit_now_ms() - started_at_ms;
    kit_thaw_database(kit);
    kit_assert_error(list, 503, ".");
    assert_in_range(list_took_ms, 0, (int64_t)(AWAY_MS * kit_time_scale()));
    kit_assert_error(response, 503, ".");
    kit_assert_header_matches(response, kit, "Retry-After", "^[1-9][0-9]*$");
    assert_in_range(took_ms, 0, (int64_t)(AWAY_MS * kit_time_scale()));
    wait_until_taken(server);
    if (strstr(response->body, "outcome unknown") == NULL)
        check_nothing_stored(server);
}

/* The upstream is not asked to take what can't be stored. */
static void no_upstream_is_called_for_a_database_that_is_gone(void **state)
{
    struct kit *kit = *state;
    struct standin *standin = kit_standin(kit);
    struct kit_server *server = kit_serve_upstream(kit, standin);
    kit_add(server, "n", "\"before\"", NULL);
    assert_int_equal(postgres_stop(kit_postgres(kit), false), 0);
    int64_t deadline_at_ms = kit_deadline_at_ms(2 * KIT_DEADLINE_MS);
    while (kit_get_path(server, "/health")->status != 503 && kit_now_ms() < deadline_at_ms)
        kit_pause();
    for (int i = 0; i < 5; i++)
        expect_refusal(server);
    uint64_t calls = standin_count(standin, KIT_ADD_EVENT);
    assert_int_equal(postgres_restart(kit_postgres(kit)), 0);
    assert_int_equal(calls, 1);
    wait_until_taken(server);
    assert_int_equal(kit_entries(server, KIT_GET_EVENTS)->count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_engines(events_and_users_survive_a_stop),
        kit_test_engines(events_and_users_survive_a_kill),
        kit_test_engines(what_was_answered_survives_a_kill),
        kit_test_sqlite(a_locked_sqlite_takes_nothing),
        kit_test_sqlite(a_lock_that_ends_tells_the_truth),
        kit_test_postgresql(a_postgresql_that_is_gone_takes_nothing),
        kit_test_upstream_postgresql(a_frozen_postgresql_takes_nothing),
        kit_test_upstream_postgresql(no_upstream_is_called_for_a_database_that_is_gone),
    };
    return kit_run_event_tests(tests);
}
