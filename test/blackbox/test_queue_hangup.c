/* Consumers that hang up: while they wait they consume nothing, half-way through an answer the batch comes
 * back. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit.h"

enum way { WITH_FIN, WITH_RST, HALF_CLOSED, WAYS };

static void hang_up(struct kit_connection *connection, enum way way)
{
    if (way == WITH_FIN)
        kit_close(connection);
    else if (way == WITH_RST)
        kit_reset(connection);
    else
        kit_shutdown_sending(connection);
}

static void hanging_up_while_waiting_consumes_nothing(void **state)
{
    struct kit_server *server = kit_serve(*state);
    for (enum way way = 0; way < WAYS; way++) {
        kit_note(*state, "way %d", (int)way);
        struct kit_connection *waiting = kit_get_later(server, "a", "g", NULL);
        kit_wait_until_health(server, "queue.waiting", 1);
        hang_up(waiting, way);
        kit_wait_until_health(server, "queue.waiting", 0);
        kit_push(server, "a", "1");
        kit_assert_get(server, "a", "g", "[1]");
        if (way == HALF_CLOSED)
            assert_null(strstr(kit_read_to_end(waiting), "[1]"));
    }
}

static void the_next_in_line_moves_up(void **state)
{
    struct kit_server *server = kit_serve(*state);
    for (enum way way = 0; way < WAYS; way++) {
        kit_note(*state, "way %d", (int)way);
        struct kit_connection *first = kit_get_later(server, "a", "g", NULL);
        kit_wait_until_health(server, "queue.waiting", 1);
        struct kit_connection *second = kit_get_later(server, "a", "g", NULL);
        kit_wait_until_health(server, "queue.waiting", 2);
        hang_up(first, way);
        kit_wait_until_health(server, "queue.waiting", 1);
        kit_push(server, "a", "1");
        kit_assert_body(kit_receive(second), "[1]");
        kit_close(second);
    }
}

/* The hang-up stands behind bytes that the server has no reason to read yet. */
static void a_hang_up_behind_a_pipelined_request_is_seen(void **state)
{
    struct kit_server *server = kit_serve(*state);
    for (enum way way = 0; way < WAYS; way++) {
        kit_note(*state, "way %d", (int)way);
        struct kit_connection *waiting = kit_get_later(server, "a", "g", NULL);
        kit_send_request(waiting, "GET", "/healthz", NULL, NULL, 0);
        kit_wait_until_health(server, "queue.waiting", 1);
        hang_up(waiting, way);
        kit_wait_until_health(server, "queue.waiting", 0);
        kit_push(server, "a", "1");
        kit_assert_get(server, "a", "g", "[1]");
    }
}

/* Request and hang-up arrive together; the server may see the one only after the other. */
static void hanging_up_before_the_wait_begins_consumes_nothing(void **state)
{
    struct kit_server *server = kit_serve(*state);
    struct kit_connection *half_closed = kit_get_later(server, "a", "g", NULL);
    kit_shutdown_sending(half_closed);
    assert_null(strstr(kit_read_to_end(half_closed), "[1]"));
    for (int i = 0; i < 20; i++)
        hang_up(kit_get_later(server, "a", "g", NULL), i % 2 == 0 ? WITH_FIN : WITH_RST);
    /* Only this look at the server's health is left: all the others are gone for it, too. */
    kit_wait_until_health(server, "connections.open", 1);
    assert_int_equal(kit_health(server, "queue.waiting"), 0);
    kit_push(server, "a", "1");
    kit_assert_get(server, "a", "g", "[1]");
}

static void a_half_closed_client_gets_what_needs_no_wait(void **state)
{
    struct kit_server *server = kit_serve(*state);
    struct kit_connection *empty = kit_get_later(server, "a", "g", "timeout=0");
    kit_shutdown_sending(empty);
    kit_assert_body(kit_receive(empty), "[]");
    kit_expect_end(empty);

    struct kit_connection *push = kit_connect(server);
    kit_send_request(push, "POST", "/push?key=a", NULL, "1", 1);
    kit_shutdown_sending(push);
    kit_assert_status(kit_receive(push), 200);
    kit_expect_end(push);

    struct kit_connection *full = kit_get_later(server, "a", "g", NULL);
    kit_shutdown_sending(full);
    kit_assert_body(kit_receive(full), "[1]");
    kit_expect_end(full);
    kit_assert_get(server, "a", "g", "[]");
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    struct kit_server *server = kit_serve(*state);
    struct kit_connection *connection = kit_get_later(server, "a", "g", NULL);
    kit_send_request(connection, "GET", "/healthz", NULL, NULL, 0);
    kit_send_request(connection, "POST", "/push?key=b", NULL, "2", 1);
    kit_send_request(connection, "GET", "/blocking-get?key=b&groupId=g", NULL, NULL, 0);
    kit_wait_until_health(server, "queue.waiting", 1);
    kit_expect_silence(connection);
    kit_push(server, "a", "1");
    kit_assert_body(kit_receive(connection), "[1]");
    kit_assert_body(kit_receive(connection), "{\"ok\":true}");
    kit_assert_body(kit_receive(connection), "{\"message\":\"Data pushed successfully\",\"id\":1}");
    kit_assert_body(kit_receive(connection), "[2]");
}

/* ---- answers cut half-way ---- */

#define EVENT 1000000 /* bytes of one large event */

/* How many large events no pair of socket buffers can swallow: twice the largest send buffer, and some more.
 */
static int event_count(struct kit *kit)
{
    const char *sizes = kit_read_file(kit, "/proc/sys/net/ipv4/tcp_wmem");
    const char *largest = strrchr(sizes, '\t');
    long bytes = largest == NULL ? 0 : atol(largest);
    return (int)((bytes > 4000000 ? bytes : 4000000) * 2 / EVENT) + 2;
}

static const char *large_event(struct kit *kit, int number)
{
    char *event = kit_repeat(kit, "x", EVENT);
    size_t length = (size_t)sprintf(event, "\"event %d", number);
    event[length] = ' ';
    event[EVENT - 1] = '"';
    return event;
}

/* Stores large events; the array of all of them, without its closing bracket. */
static char *store_large(struct kit_server *server, int count)
{
    char *array = kit_allocate(kit_of(server), (size_t)count * (EVENT + 1) + 2);
    for (int i = 0; i < count; i++) {
        const char *event = large_event(kit_of(server), i);
        kit_push(server, "a", event);
        array[(size_t)i * (EVENT + 1)] = i == 0 ? '[' : ',';
        memcpy(array + (size_t)i * (EVENT + 1) + 1, event, EVENT);
    }
    return array;
}

/* A consumer that has been sent the beginning of a batch of at most `limit` events and reads no further. */
static struct kit_connection *take_and_stall(struct kit_server *server, int limit)
{
    char bytes[16];
    struct kit_connection *slow = kit_connect_small(server, 4096);
    const char *target = kit_format(kit_of(server), "/blocking-get?key=a&groupId=g&limit=%d", limit);
    kit_send_request(slow, "GET", target, NULL, NULL, 0);
    assert_true(kit_try_read(slow, bytes, sizeof bytes) > 0);
    assert_int_equal(bytes[0], 'H');
    return slow;
}

static void a_cut_batch_comes_back_ahead_of_newer_events(void **state)
{
    struct kit_server *server = kit_serve(*state);
    const char *array = store_large(server, event_count(*state));
    for (enum way way = WITH_FIN; way <= WITH_RST; way++) {
        kit_note(*state, "way %d", (int)way);
        struct kit_connection *slow = take_and_stall(server, INT_MAX);
        /* While the batch is under way the group has none of it. */
        kit_assert_get(server, "a", "g", "[]");
        hang_up(slow, way);
        kit_wait_until_health(server, "connections.open", 1);
    }
    struct kit_connection *slow = take_and_stall(server, INT_MAX);
    kit_push(server, "a", "\"newer\"");
    kit_reset(slow);
    kit_wait_until_health(server, "connections.open", 1);
    kit_assert_get(server, "a", "g", kit_format(*state, "%s,\"newer\"]", array));
    kit_assert_get(server, "a", "g", "[]");
}

static void cut_batches_come_back_in_the_order_of_the_events(void **state)
{
    struct kit_server *server = kit_serve(*state);
    int count = event_count(*state);
    const char *array = store_large(server, 2 * count);
    kit_push(server, "a", "\"rest\"");
    for (int first_to_go = 0; first_to_go < 2; first_to_go++) {
        kit_note(*state, "batch %d goes first", first_to_go);
        /* Each has half of the large ones, the rest is nobody's. */
        struct kit_connection *slow[] = {take_and_stall(server, count), take_and_stall(server, count)};
        kit_reset(slow[first_to_go]);
        kit_wait_until_health(server, "connections.open", 2);
        kit_reset(slow[1 - first_to_go]);
        kit_wait_until_health(server, "connections.open", 1);
    }
    kit_assert_get(server, "a", "g", kit_format(*state, "%s,\"rest\"]", array));
    kit_assert_get(server, "a", "g", "[]");
}

static void a_cut_batch_goes_at_once_to_those_who_wait(void **state)
{
    struct kit_server *server = kit_serve(*state);
    const char *array = store_large(server, event_count(*state));
    struct kit_connection *slow = take_and_stall(server, INT_MAX);
    struct kit_connection *first = kit_get_later(server, "a", "g", "limit=1");
    kit_wait_until_health(server, "queue.waiting", 1);
    struct kit_connection *second = kit_get_later(server, "a", "g", NULL);
    kit_wait_until_health(server, "queue.waiting", 2);
    kit_reset(slow);
    const char *whole = kit_receive(first)->body;
    assert_int_equal(strlen(whole), EVENT + 2);
    assert_memory_equal(whole, array, EVENT + 1);
    whole = kit_receive(second)->body;
    assert_memory_equal(whole + 1, array + EVENT + 2, strlen(array) - EVENT - 2);
    assert_string_equal(whole + strlen(array) - EVENT - 1, "]");
}

static void a_cut_batch_is_nothing_to_other_groups(void **state)
{
    struct kit_server *server = kit_serve(*state);
    const char *array = store_large(server, event_count(*state));
    struct kit_connection *slow = take_and_stall(server, INT_MAX);
    kit_assert_get(server, "a", "h", kit_format(*state, "%s]", array));
    kit_reset(slow);
    kit_wait_until_health(server, "connections.open", 1);
    kit_assert_get(server, "a", "h", "[]");
    kit_assert_get(server, "a", "g", kit_format(*state, "%s]", array));
}

static void a_cut_batch_that_expired_stays_away(void **state)
{
    /* Storing and taking them must fit into the ttl. */
    const char *ttl = kit_format(*state, "%d", (int)(2 * kit_time_scale()));
    struct kit_server *server = kit_serve(*state, "--ttl", ttl);
    store_large(server, event_count(*state));
    struct kit_connection *slow = take_and_stall(server, INT_MAX);
    /* Pushed last, so gone last; each look at it is that of a new group. */
    kit_push(server, "marker", "1");
    int64_t deadline_at_ms = kit_deadline_at_ms(2000 + KIT_DEADLINE_MS);
    for (int i = 0;; i++) {
        const char *group = kit_format(*state, "observer%d", i);
        if (strcmp(kit_get(server, "marker", group, "timeout=0")->body, "[]") == 0)
            break;
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(*state, "the events do not expire");
        kit_pause();
    }
    kit_push(server, "a", "\"newer\"");
    kit_reset(slow);
    kit_wait_until_health(server, "connections.open", 1);
    kit_assert_get(server, "a", "g", "[\"newer\"]");
}

static void a_slow_reader_gets_it_all_once(void **state)
{
    struct kit_server *server = kit_serve(*state);
    const char *array = store_large(server, event_count(*state));
    struct kit_connection *slow = kit_connect_small(server, 4096);
    kit_send_request(slow, "GET", "/blocking-get?key=a&groupId=g", NULL, NULL, 0);
    kit_assert_get(server, "b", "g", "[]");
    kit_assert_body(kit_receive_at(slow, "GET", 4 * KIT_DEADLINE_MS, __FILE__, __LINE__),
                    kit_format(*state, "%s]", array));
    kit_close(slow);
    kit_wait_until_health(server, "connections.open", 1);
    kit_assert_get(server, "a", "g", "[]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(hanging_up_while_waiting_consumes_nothing),
        kit_test(the_next_in_line_moves_up),
        kit_test(a_hang_up_behind_a_pipelined_request_is_seen),
        kit_test(hanging_up_before_the_wait_begins_consumes_nothing),
        kit_test(a_half_closed_client_gets_what_needs_no_wait),
        kit_test(pipelined_requests_are_answered_in_order),
        kit_test(a_cut_batch_comes_back_ahead_of_newer_events),
        kit_test(cut_batches_come_back_in_the_order_of_the_events),
        kit_test(a_cut_batch_goes_at_once_to_those_who_wait),
        kit_test(a_cut_batch_is_nothing_to_other_groups),
        kit_test(a_cut_batch_that_expired_stays_away),
        kit_test(a_slow_reader_gets_it_all_once),
    };
    return kit_run_tests(tests);
}
