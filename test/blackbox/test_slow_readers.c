/* Clients that ask for much and read nothing of it: they are cut in time, others are served meanwhile, batches go back to
 * their group, and everything that they held comes back. */
#include <stdio.h>
#include <string.h>

#include "kit_events.h"
#include "kit_slow.h"

enum {
    READERS = 40,
    FEW = 15,    /* where an answer is much work */
    EVENTS = 12, /* of a megabyte: what no pair of socket buffers swallows */
    EVENT_BYTES = 1000000,
    PAYLOAD_BYTES = 200000, /* of a published event */
    PAYLOADS = 40,
    USERS = 60000,
    USER_BYTES = 200,
    SMALL_BUFFER = 4096,
    MARGIN_KB = 32 * 1024,
    BACK_MS = 6000,
};

/* Short, and others are not cut by it. */
#define PATIENCE "--send-timeout", "0.5", "--idle-timeout", "1"

static void push_much(struct kit_server *server)
{
    char *event = kit_repeat(kit_of(server), "x", EVENT_BYTES);
    event[0] = event[EVENT_BYTES - 1] = '"';
    for (int i = 0; i < EVENTS; i++)
        kit_push(server, "large", event);
}

static void publish_much(struct kit_server *server)
{
    struct kit *kit = kit_of(server);
    struct kit_connection *connection = kit_connect(server);
    const char *payload = kit_format(kit, "\"%s\"", kit_repeat(kit, "y", PAYLOAD_BYTES));
    kit_subscribe(server, "1", "news");
    for (int i = 0; i < PAYLOADS; i++)
        assert_int_equal(
            kit_try_publish(connection, "news", "large", payload, kit_deadline_at_ms(KIT_DEADLINE_MS)), 202);
    kit_close(connection);
}

static void put_many_users(struct kit_server *server)
{
    struct kit *kit = kit_of(server);
    char *body = kit_allocate(kit, (size_t)USERS * USER_BYTES);
    size_t length = (size_t)sprintf(body, "{\"ts\":\"2026-01-02T03:04:05Z\",\"user_metadata\":{");
    for (int i = 0; i < USERS; i++)
        length +=
            (size_t)sprintf(body + length, "%s\"u%05d\":{\"userName\":\"%0120d\"}", i == 0 ? "" : ",", i, i);
    length += (size_t)sprintf(body + length, "}}");
    kit_assert_status(kit_request(server, "PUT", "/reference/users", NULL, body, length), 200);
}

/* Each of the crowd has got the beginning of an answer, and reads no further. The number of those that were good; the others
 * were refused, as others hold too much already. */
static int count_beginnings(struct kit_crowd *crowd)
{
    char bytes[13] = "";
    int good = 0;
    for (size_t i = 0; i < crowd->count; i++) {
        if (kit_try_read(crowd->connections[i], bytes, 12) != 12)
            kit_fail(kit_of(crowd->server), "no beginning of an answer");
        if (strcmp(bytes, "HTTP/1.1 200") == 0)
            good++;
        else if (strcmp(bytes, "HTTP/1.1 503") != 0)
            kit_fail(kit_of(crowd->server), "an answer begins with %s", bytes);
    }
    return good;
}

static struct kit_usage calm_usage(struct kit_server *server)
{
    kit_assert_served(server);
    kit_wait_until_health(server, "connections.open", 1);
    return kit_usage(server);
}

/* Lets readers loose. Returns how many were not refused. */
static int check_readers(struct kit_server *server, size_t count, const char *request)
{
    struct kit_usage before = calm_usage(server);
    struct kit_crowd *crowd = kit_gather(server, count, SMALL_BUFFER, request);
    int good = count_beginnings(crowd);
    kit_assert_served(server);
    /* The server has let go of them; they still have what the network had taken. */
    kit_wait_until_usage(server, &before, MARGIN_KB, BACK_MS);
    kit_assert_served(server);
    kit_leave(crowd, KIT_LEAVE_RST);
    return good;
}

/* None of it was consumed by any of the groups. */
static void expect_all_is_there(struct kit_server *server)
{
    for (int i = 0; i < READERS; i += READERS - 1) {
        const struct kit_response *all =
            kit_get(server, "large", kit_format(kit_of(server), "g%d", i), "timeout=0");
        assert_int_equal(all->body_length, EVENTS * (EVENT_BYTES + 1) + 1);
    }
}

static void readers_of_batches_are_cut(void **state)
{
    struct kit_server *server = kit_serve(*state, PATIENCE);
    push_much(server);
    int good = check_readers(server, READERS,
                             "GET /blocking-get?key=large&groupId=g%zu HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_int_equal(good, READERS); /* they share the events: nothing is kept for each */
    expect_all_is_there(server);
}

/* The batch comes from the thread that pushes, and so does the beginning of each answer. */
static void readers_that_have_waited_are_cut(void **state)
{
    struct kit_server *server = kit_serve(*state, PATIENCE, "--max-body", "20000000");
    struct kit_usage before = calm_usage(server);
    struct kit_crowd *crowd =
        kit_gather(server, READERS, SMALL_BUFFER,
                   "GET /blocking-get?key=large&groupId=g%zu HTTP/1.1\r\nHost: h\r\n\r\n");
    kit_wait_until_health(server, "queue.waiting", READERS);
    char *lines = kit_repeat(*state, "x", EVENTS * (EVENT_BYTES + 1));
    for (int i = 0; i < EVENTS; i++) {
        char *line = lines + (size_t)i * (EVENT_BYTES + 1);
        line[0] = line[EVENT_BYTES - 1] = '"';
        line[EVENT_BYTES] = '\n';
    }
    kit_assert_status(kit_post(server, "large", "application/x-ndjson", lines, EVENTS * (EVENT_BYTES + 1)),
                      200);
    assert_int_equal(count_beginnings(crowd), READERS);
    kit_assert_served(server);
    kit_wait_until_usage(server, &before, MARGIN_KB, BACK_MS);
    expect_all_is_there(server);
    kit_leave(crowd, KIT_LEAVE_RST);
}

#define HISTORY "GET /api/events/history?channel=news HTTP/1.1\r\nHost: h\r\n\r\n"

static void readers_of_histories_are_cut(void **state)
{
    struct kit_server *server = kit_serve_events(*state, PATIENCE);
    publish_much(server);
    assert_true(check_readers(server, FEW, HISTORY) > 0);
}

/* A history page takes some 4 MB: few that are not taken use this memory up. */
static void what_slow_readers_hold_is_bounded(void **state)
{
    struct kit_server *server = kit_serve_events(*state, "--max-request-memory", "8388608");
    publish_much(server);
    kit_publish(server, "quiet", "small", "1");
    struct kit_usage before = calm_usage(server);
    struct kit_crowd *crowd = kit_gather(server, FEW, SMALL_BUFFER, HISTORY);
    assert_true(count_beginnings(crowd) > 0);
    struct kit_usage meanwhile = before;
    meanwhile.connections += FEW;
    meanwhile.descriptors += FEW;
    kit_wait_until_usage(server, &meanwhile, MARGIN_KB, BACK_MS);
    const struct kit_response *refused = kit_get_path(server, "/api/events/history?channel=news");
    kit_assert_error(refused, 503, "out of memory");
    assert_non_null(kit_header(refused, "Retry-After"));
    kit_assert_status(kit_get_path(server, "/api/events/history?channel=quiet"), 200);
    kit_assert_served(server);
    kit_leave(crowd, KIT_LEAVE_RST);
    kit_wait_until_usage(server, &before, MARGIN_KB, BACK_MS);
    kit_assert_status(kit_get_path(server, "/api/events/history?channel=news"), 200);
}

static void readers_of_lists_are_cut(void **state)
{
    struct kit_server *server = kit_serve(*state, PATIENCE);
    put_many_users(server);
    assert_true(check_readers(server, FEW, "GET /getUsers HTTP/1.1\r\nHost: h\r\n\r\n") > 0);
}

static void readers_of_replays_are_cut(void **state)
{
    struct kit_server *server = kit_serve_events(*state, PATIENCE);
    publish_much(server);
    check_readers(server, FEW,
                  "GET /api/events/stream?userId=1&channels=news&lastEventId=0 HTTP/1.1\r\nHost: h\r\n\r\n");
    kit_wait_until_health(server, "streams", 0);
}

int main(void)
{
    kit_free_at_once();
    const struct CMUnitTest tests[] = {
        kit_test(readers_of_batches_are_cut),
        kit_test(readers_that_have_waited_are_cut),
        kit_test_sqlite(readers_of_histories_are_cut),
        kit_test_sqlite(what_slow_readers_hold_is_bounded),
        kit_test(readers_of_lists_are_cut),
        kit_test_sqlite(readers_of_replays_are_cut),
    };
    return kit_run_event_tests(tests);
}
