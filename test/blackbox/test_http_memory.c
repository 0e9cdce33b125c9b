/* --max-request-memory: bodies that are not whole and answers that nobody reads take no more than that; what finds no
 * room is refused, small requests go on, and all of it comes back. */
#include <stdio.h>
#include <string.h>

#include "kit_events.h"
#include "kit_http.h"

enum { LIMIT = 3000000, BODY = 1000000, SENT = 900000, MOST = 6 };

#define LIMIT_TEXT "3000000"

/* Sends all of a large push but its last bytes, and waits until the server has read it, or has answered. */
static struct kit_connection *begin_push(struct kit_server *server, const char *body, int64_t wanted)
{
    struct kit *kit = kit_of(server);
    struct kit_connection *connection = kit_connect(server);
    kit_send_text(connection, kit_format(kit,
                                         "POST /push?key=large HTTP/1.1\r\nHost: localhost\r\n"
                                         "Content-Length: %d\r\n\r\n",
                                         BODY));
    int sent = kit_try_send(connection, body, SENT);
    int64_t deadline = kit_deadline_at_ms(KIT_DEADLINE_MS);
    while (sent == 0 && !kit_has_input(connection) && kit_health(server, "requests.memory_bytes") < wanted) {
        if (kit_now_ms() > deadline)
            kit_fail(kit, "neither read nor refused");
        kit_pause();
    }
    return connection;
}

static const char *large_value(struct kit *kit)
{
    char *body = kit_repeat(kit, "x", BODY);
    body[0] = body[BODY - 1] = '"';
    return body;
}

static void unfinished_bodies_are_bounded(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit, "--max-request-memory", LIMIT_TEXT);
    const char *body = large_value(kit);
    struct kit_connection *begun[MOST];
    int count = 0;
    assert_int_equal(kit_health(server, "requests.max_memory_bytes"), LIMIT);
    while (count < MOST) {
        begun[count] = begin_push(server, body, (int64_t)(count + 1) * SENT);
        if (kit_has_input(begun[count]))
            break;
        count++;
    }
    assert_in_range(count, 2, MOST - 1);
    const struct kit_response *refused = kit_receive(begun[count]);
    kit_assert_error(refused, 503, "out of memory");
    kit_assert_header(refused, "Retry-After", "1");
    assert_int_equal(kit_matching_lines(kit, kit_log(server), "warn .*--max-request-memory"), 1);
    kit_close(begun[count]);
    assert_true(kit_health(server, "requests.memory_bytes") <= LIMIT);
    /* Others go on, and so do those who were in time. */
    kit_push(server, "small", "1");
    kit_assert_get(server, "small", "g", "[1]");
    for (int i = 0; i < count; i++) {
        kit_send(begun[i], body + SENT, BODY - SENT);
        kit_assert_status(kit_receive(begun[i]), 200);
    }
    kit_wait_until_health(server, "requests.memory_bytes", 0);
    kit_assert_get(server, "large", "g", kit_format(kit, "[%s%s%s]", body, count > 1 ? "," : "", body));
}

/* Who hangs up in the middle gives back what it had. */
static void hung_up_requests_give_memory_back(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit, "--max-request-memory", LIMIT_TEXT);
    const char *body = large_value(kit);
    for (int round = 0; round < 5; round++) {
        struct kit_connection *first = begin_push(server, body, SENT);
        struct kit_connection *second = begin_push(server, body, 2 * SENT);
        kit_close(first);
        kit_reset(second);
        kit_wait_until_health(server, "requests.memory_bytes", 0);
    }
    kit_assert_get(server, "large", "g", "[]");
}

#define HISTORY "/api/events/history?channel=c"

/* The page takes more than what is left when one that nobody reads waits in memory. */
static void answers_that_nobody_reads_are_bounded(void **state)
{
    enum { EVENTS = 6, READERS = 8, LIMIT_OF_ANSWERS = 6000000, PAGE = 5 * SENT };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit, "--max-request-memory", "6000000");
    const char *payload = kit_repeat(kit, "p", SENT);
    for (int i = 0; i < EVENTS; i++)
        kit_publish(server, "c", "t", kit_format(kit, "\"%s\"", payload));
    struct kit_connection *readers[READERS];
    for (int i = 0; i < READERS; i++) {
        readers[i] = kit_connect_small(server, 4096);
        kit_send_request(readers[i], "GET", HISTORY, NULL, NULL, 0);
    }
    int64_t deadline = kit_deadline_at_ms(KIT_DEADLINE_MS);
    while (kit_health(server, "requests.memory_bytes") < LIMIT_OF_ANSWERS - PAGE) {
        if (kit_now_ms() > deadline)
            kit_fail(kit, "no answer waits in memory");
        kit_pause();
    }
    kit_assert_error(kit_request(server, "GET", HISTORY, NULL, NULL, 0), 503, "out of memory");
    assert_true(kit_health(server, "requests.memory_bytes") <= LIMIT_OF_ANSWERS);
    for (int i = 0; i < READERS; i++)
        kit_reset(readers[i]);
    kit_wait_until_health(server, "requests.memory_bytes", 0);
    const struct kit_response *whole = kit_request(server, "GET", HISTORY, NULL, NULL, 0);
    kit_assert_status(whole, 200);
    assert_true(whole->body_length > PAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(unfinished_bodies_are_bounded),
        kit_test(hung_up_requests_give_memory_back),
        kit_test(answers_that_nobody_reads_are_bounded),
    };
    return kit_run_tests(tests);
}
