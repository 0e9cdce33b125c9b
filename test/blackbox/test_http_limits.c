/*
 * Proves that the server keeps within its limits and gives everything back: connections, bodies, slow
 * senders, many idle connections, vanished clients, expired events.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "kit_http.h"

#define HEALTHZ "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"

/* One exchange: afterwards the server has surely accepted the connection. */
static void use(struct kit_connection *connection)
{
    kit_send_text(connection, HEALTHZ);
    kit_assert_status(kit_receive(connection), 200);
}

static bool is_served(struct kit_server *server)
{
    struct kit_response response;
    struct kit_connection *connection = kit_try_connect(server);
    if (connection == NULL)
        return false;
    bool served = kit_try_send(connection, HEALTHZ, strlen(HEALTHZ)) == 0 &&
                  kit_try_receive(connection, "GET", kit_deadline_at_ms(KIT_DEADLINE_MS), &response) == 0;
    if (served) {
        served = response.status == 200;
        kit_response_clear(&response);
    }
    kit_close(connection);
    return served;
}

static void connection_too_many_is_told_so(void **state)
{
    enum { MOST = 8 };
    struct kit_server *server = kit_serve(*state, "--max-connections", "8");
    struct kit_connection *connections[MOST];
    for (int i = 0; i < MOST; i++) {
        connections[i] = kit_connect(server);
        use(connections[i]);
    }
    /* One that says nothing, and one that asks at once and must not lose the answer to a reset. */
    static const char *const requests[] = {"", HEALTHZ};
    for (size_t i = 0; i < KIT_COUNT(requests); i++) {
        struct kit_connection *refused = kit_connect(server);
        (void)kit_try_send(refused, requests[i], strlen(requests[i]));
        const struct kit_response *response = kit_receive(refused);
        kit_assert_error(response, 503, ".");
        kit_assert_header_matches(response, *state, "Retry-After", "^[0-9]+$");
        kit_expect_end(refused);
        kit_close(refused);
    }
    for (int i = 0; i < MOST; i++)
        use(connections[i]); /* the others have not suffered */
    kit_close(connections[0]);
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
    while (!is_served(server))
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(*state, "no room although a connection was closed");
}

static void room_comes_back_however_clients_leave(void **state)
{
    enum { MOST = 4, ROUNDS = 20 };
    struct kit_server *server = kit_serve(*state, "--max-connections", "4");
    for (int round = 0; round < ROUNDS; round++) {
        struct kit_connection *connections[MOST];
        int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
        while (!is_served(server))
            if (kit_now_ms() > deadline_at_ms)
                kit_fail(*state, "no room in round %d", round);
        for (int i = 0; i < MOST; i++) {
            connections[i] = kit_connect(server);
            /* The server may still count the connections of before and refuse this one. */
            (void)kit_try_send(connections[i], HEALTHZ, i % 2 == 0 ? 15 : strlen(HEALTHZ));
        }
        for (int i = 0; i < MOST; i++)
            (round % 2 == 0 ? kit_close : kit_reset)(connections[i]);
    }
}

static void max_body_counts_bytes(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit, "--max-body", "100");
    const char *fits = kit_format(kit, "\"%s\"", kit_repeat(kit, "a", 98));
    const char *much = kit_format(kit, "\"%s\"", kit_repeat(kit, "a", 99));
    static const char chunks[] = "POST /push?key=k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                                 "32\r\n%.50s\r\n%zx\r\n%s\r\n0\r\n\r\n";
    const struct kit_exchange exchanges[] = {
        {"fits",
         kit_format(kit, "POST /push?key=k HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n%s", fits), 0,
         "200", KIT_OPEN},
        {"much",
         kit_format(kit, "POST /push?key=k HTTP/1.1\r\nHost: h\r\nContent-Length: 101\r\n\r\n%s", much), 0,
         "413", KIT_EITHER},
        {"fits in chunks", kit_format(kit, chunks, fits, strlen(fits) - 50, fits + 50), 0, "200", KIT_OPEN},
        {"much in chunks", kit_format(kit, chunks, much, strlen(much) - 50, much + 50), 0, "413", KIT_EITHER},
    };
    kit_play_all(server, exchanges, KIT_COUNT(exchanges));
    assert_int_equal(kit_health(server, "queue.events"), 2);
}

/* The extensions of chunks are no body, but sent for ever they must not hold a connection for ever either. */
static void chunks_that_carry_nothing_are_limited(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit, "--max-body", "1000");
    const char *pieces = kit_repeat(kit, kit_format(kit, "1;%s\r\n1\r\n", kit_repeat(kit, "x", 1000)), 900);
    struct kit_exchange exchange = {.name = "much ado", .statuses = "200|400|413|431", .fate = KIT_EITHER};
    exchange.bytes = kit_format(
        kit, "POST /push?key=k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%s0\r\n\r\n", pieces);
    assert_true(kit_play(server, &exchange));
    use(kit_connect(server));
}

static void send_and_wait(struct kit_connection *connection, struct kit_server *server, const char *text)
{
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
    kit_send_text(connection, text);
    while (kit_has_unread(server)) {
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(kit_of(server), "the server does not read");
        kit_pause();
    }
}

/* The slow one: the server's patience with a head is 10 s, and a byte now and then must not lengthen it. */
static void slow_head_times_out(void **state)
{
    struct kit_server *server = kit_serve(*state);
    struct kit_connection *connection = kit_connect(server), *empty_line = kit_connect(server);
    struct kit_response response;
    send_and_wait(empty_line, server, "\r");
    send_and_wait(empty_line, server, "\n");
    kit_send_text(connection, "GET /healthz HTTP/1.1\r\nHost: h\r\nX-Slow: ");
    int64_t started_at_ms = kit_now_ms(), deadline_at_ms = kit_deadline_at_ms(15000);
    while (kit_try_receive(connection, "GET", kit_now_ms() + 400, &response) != 0) {
        if (errno != ETIMEDOUT || kit_now_ms() > deadline_at_ms)
            kit_fail(*state, "no 408 after %lld ms: %s", (long long)(kit_now_ms() - started_at_ms),
                     strerror(errno));
        (void)kit_try_send(connection, "x", 1);
    }
    int64_t elapsed_ms = kit_now_ms() - started_at_ms;
    int status = response.status;
    bool named = kit_matches(response.body, "^\\{\"error\":\".+\"\\}$");
    kit_response_clear(&response);
    assert_int_equal(status, 408);
    assert_true(named);
    assert_in_range(elapsed_ms, 9000, (int64_t)(13000 * kit_time_scale()));
    kit_expect_end(connection);
    /* An empty line is not the beginning of a head, also when it came in pieces. */
    send_and_wait(empty_line, server, "GET /heal");
    kit_send_text(empty_line, "thz HTTP/1.1\r\nHost: h\r\n\r\n");
    kit_assert_status(kit_receive(empty_line), 200);
    use(kit_connect(server));
}

static void idle_connections_stop_nobody(void **state)
{
    enum { IDLE = 300, REQUESTS = 50 };
    struct kit_server *server = kit_serve(*state);
    for (int i = 0; i < IDLE; i++) {
        struct kit_connection *idle = kit_connect(server);
        if (i % 3 == 1)
            kit_send_text(idle, "GET /healthz HTTP/1.1\r\nHost:");
        if (i % 3 == 2)
            kit_send_text(idle, "POST /push?key=k HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n[1,");
    }
    kit_wait_until_health(server, "connections.open", IDLE + 1);
    int64_t started_at_ms = kit_now_ms();
    for (int i = 0; i < REQUESTS; i++)
        assert_int_equal(kit_push(server, "other", "1"), i + 1);
    assert_in_range(kit_now_ms() - started_at_ms, 0, (int64_t)(2000 * kit_time_scale()));
}

static void vanished_clients_are_noticed(void **state)
{
    enum { CLIENTS = 100 };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    struct kit_connection *clients[CLIENTS];
    kit_wait_until_health(server, "connections.open", 1); /* the one that asks */
    for (int i = 0; i < CLIENTS; i++) {
        if (i % 4 == 3) {
            clients[i] = kit_get_later(server, "k", "g", NULL);
            continue;
        }
        clients[i] = kit_connect(server);
        if (i % 4 == 1)
            kit_send_text(clients[i], "GET /healthz HT");
        if (i % 4 == 2)
            use(clients[i]);
    }
    kit_wait_until_health(server, "connections.open", CLIENTS + 1);
    kit_wait_until_health(server, "queue.waiting", CLIENTS / 4);
    for (int i = 0; i < CLIENTS; i++)
        (i % 8 < 4 ? kit_close : kit_reset)(clients[i]);
    kit_wait_until_health(server, "connections.open", 1);
    kit_wait_until_health(server, "queue.waiting", 0);
    kit_wait_until_health(server, "threads.waiting", 0);
}

static void expired_events_leave_nothing_behind(void **state)
{
    static const char *const numbers[] = {"queue.events", "queue.keys", "queue.groups", "queue.memory_bytes"};
    enum { KEYS = 20, EVENTS = 10 };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit, "--ttl", "1");
    int64_t start[KIT_COUNT(numbers)];
    for (size_t i = 0; i < KIT_COUNT(numbers); i++)
        start[i] = kit_health(server, numbers[i]);
    const char *lines = kit_repeat(kit, "{\"n\":1}\n", EVENTS);
    for (int i = 0; i < KEYS; i++) {
        const char *key = kit_format(kit, "key-%d", i);
        kit_assert_status(kit_post(server, key, "application/x-ndjson", lines, strlen(lines)), 200);
        if (i % 2 == 0) {
            kit_assert_status(kit_get(server, key, "all", "timeout=0"), 200);
            kit_assert_status(kit_get(server, key, "some", "timeout=0&limit=3"), 200);
        }
        kit_assert_status(kit_get(server, kit_format(kit, "empty-%d", i), "g", "timeout=0"), 200);
    }
    for (size_t i = 0; i < KIT_COUNT(numbers); i++)
        kit_wait_until_health(server, numbers[i], start[i]);
    kit_assert_get(server, "key-1", "late", "[]");
}

/* A request that waits is no reason to keep its key once it has gone. */
static void waiters_that_leave_are_forgotten(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit, "--ttl", "1");
    int64_t memory_bytes = kit_health(server, "queue.memory_bytes");
    for (int i = 0; i < 10; i++)
        kit_close(kit_get_later(server, kit_format(kit, "key-%d", i), "g", NULL));
    kit_wait_until_health(server, "connections.open", 1);
    kit_wait_until_health(server, "queue.waiting", 0);
    kit_wait_until_health(server, "queue.groups", 0);
    kit_wait_until_health(server, "queue.keys", 0);
    kit_wait_until_health(server, "queue.memory_bytes", memory_bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(connection_too_many_is_told_so),
        kit_test(room_comes_back_however_clients_leave),
        kit_test(max_body_counts_bytes),
        kit_test(chunks_that_carry_nothing_are_limited),
        kit_test(slow_head_times_out),
        kit_test(idle_connections_stop_nobody),
        kit_test(vanished_clients_are_noticed),
        kit_test(expired_events_leave_nothing_behind),
        kit_test(waiters_that_leave_are_forgotten),
    };
    return kit_run_tests(tests);
}
