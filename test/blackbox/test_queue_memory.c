/* The bounds of what is stored: --max-memory refuses and drops nothing, --ttl ends an event for everyone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit_http.h"

#define MEMORY      1000000
#define MEMORY_TEXT "1000000"
#define EVENT       50000 /* bytes of one large event */

static const char *large_event(struct kit *kit)
{
    char *event = kit_repeat(kit, "x", EVENT);
    event[0] = event[EVENT - 1] = '"';
    return event;
}

static void assert_full(const struct kit_response *response)
{
    kit_assert_error(response, 503, "");
    kit_assert_header(response, "Retry-After", "");
    assert_true(kit_matches(kit_header(response, "Retry-After"), "^[1-9][0-9]*$"));
}

/* Pushes until the memory is full; how many were taken. */
static size_t fill(struct kit_server *server, const char *key)
{
    const char *event = large_event(kit_of(server));
    for (size_t count = 0;; count++) {
        const struct kit_response *response = kit_post(server, key, NULL, event, EVENT);
        if (response->status != 200) {
            assert_full(response);
            return count;
        }
        /* Far beyond what fits, even if some expire meanwhile. */
        if (count > 100 * MEMORY / EVENT)
            kit_fail(kit_of(server), "the memory never fills up");
    }
}

static void full_memory_refuses_and_drops_nothing(void **state)
{
    struct kit_server *server = kit_serve(*state, "--max-memory", MEMORY_TEXT);
    size_t count = fill(server, "a");
    /* Bookkeeping takes its part, but not half of it with events as large as these. */
    assert_in_range(count, MEMORY / EVENT / 2, MEMORY / EVENT);
    assert_true(kit_health(server, "queue.memory_bytes") <= MEMORY);
    assert_true(kit_health(server, "queue.memory_bytes") >= (int64_t)count * EVENT);
    assert_int_equal(kit_health(server, "queue.max_memory_bytes"), MEMORY);
    assert_int_equal(kit_health(server, "queue.events"), count);
    for (int i = 0; i < 20; i++)
        assert_full(kit_post(server, "b", NULL, large_event(*state), EVENT));
    /* The log says it, and what to do, but not for each. */
    const char *said = " warn the memory for events is full, .*--max-memory";
    assert_int_equal(kit_matching_lines(*state, kit_log(server), said), 1);

    const char *others = kit_repeat(*state, kit_format(*state, ",%s", large_event(*state)), count - 1);
    kit_assert_get(server, "a", "g", kit_format(*state, "[%s%s]", large_event(*state), others));
    kit_assert_get(server, "b", "g", "[]");
    /* Delivered to one group is not gone: others may come. */
    assert_full(kit_post(server, "a", NULL, large_event(*state), EVENT));
    kit_assert_body(kit_get(server, "a", "h", "timeout=0&limit=1"),
                    kit_format(*state, "[%s]", large_event(*state)));
}

static void a_refusal_for_memory_uses_no_id(void **state)
{
    struct kit_server *server = kit_serve(*state, "--max-memory", MEMORY_TEXT);
    int64_t count = (int64_t)fill(server, "a");
    /* A small one may fit where a large one did not. */
    const struct kit_response *response = kit_post(server, "a", NULL, "1", 1);
    if (response->status == 503) {
        assert_full(response);
    } else {
        int64_t id;
        kit_assert_status(response, 200);
        assert_true(kit_json_number(response->body, "id", &id));
        assert_int_equal(id, count + 1);
    }
}

static void a_batch_that_does_not_fit_is_refused_whole(void **state)
{
    struct kit_server *server = kit_serve(*state, "--max-memory", MEMORY_TEXT);
    kit_push(server, "a", "\"before\"");
    const char *line = kit_format(*state, "%s\n", large_event(*state));
    const char *lines = kit_repeat(*state, line, MEMORY / EVENT);
    assert_full(kit_post(server, "a", "application/x-ndjson", lines, strlen(lines)));
    kit_assert_get(server, "a", "g", "[\"before\"]");
    kit_assert_status(kit_post(server, "a", NULL, large_event(*state), EVENT), 200);
}

static void memory_is_usable_again_after_the_ttl(void **state)
{
    struct kit_server *server = kit_serve(*state, "--max-memory", MEMORY_TEXT, "--ttl", "1");
    const char *event = large_event(*state);
    for (int round = 0; round < 2; round++) {
        kit_note(*state, "round %d", round);
        fill(server, "a");
        int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
        const struct kit_response *response;
        while ((response = kit_post(server, "a", NULL, event, EVENT))->status != 200) {
            assert_full(response);
            if (kit_now_ms() > deadline_at_ms)
                kit_fail(*state, "still full long after everything has expired");
            kit_pause();
        }
    }
    kit_wait_until_health(server, "queue.events", 0);
    assert_true(kit_health(server, "queue.memory_bytes") < EVENT);
}

/* Pushes one tiny event on a kept connection; its status. */
static int push_tiny(struct kit_connection *connection, const char *target)
{
    struct kit_response response;
    kit_send_request(connection, "POST", target, NULL, "1", 1);
    if (kit_try_receive(connection, "POST", kit_deadline_at_ms(KIT_DEADLINE_MS), &response) != 0)
        return -1;
    int status = response.status;
    kit_response_clear(&response);
    return status;
}

static void keys_count_as_memory(void **state)
{
    struct kit_server *server = kit_serve(*state, "--max-memory", MEMORY_TEXT);
    struct kit_connection *connection = kit_connect(server);
    const char *rest = kit_repeat(*state, "k", 247);
    char target[320];
    size_t count = 0;
    int status;
    do {
        snprintf(target, sizeof target, "/push?key=%08zu%s", count++, rest);
        status = push_tiny(connection, target);
    } while (status == 200 && count <= MEMORY / 255);
    assert_int_equal(status, 503);
    assert_true(count > 100);
}

/* One request without waiting of a group that is new to key a; its status. */
static int get_as_new_group(struct kit_connection *connection, size_t number)
{
    char target[400], rest[248];
    struct kit_response response;
    memset(rest, 'g', sizeof rest - 1);
    rest[sizeof rest - 1] = '\0';
    snprintf(target, sizeof target, "/blocking-get?key=a&groupId=%08zu%s&timeout=0", number, rest);
    kit_send_request(connection, "GET", target, NULL, NULL, 0);
    if (kit_try_receive(connection, "GET", kit_deadline_at_ms(KIT_DEADLINE_MS), &response) != 0)
        return -1;
    int status = response.status;
    kit_response_clear(&response);
    return status;
}

static void groups_count_as_memory(void **state)
{
    struct kit_server *server = kit_serve(*state, "--max-memory", MEMORY_TEXT);
    struct kit_connection *connection = kit_connect(server);
    kit_push(server, "a", "1");
    int status = 200;
    size_t count = 0;
    /* Whether a new group or the next event is refused does not matter here. */
    while (status == 200 && count <= MEMORY / 255) {
        status = get_as_new_group(connection, count++);
        if (status == 200 && count % 64 == 0)
            status = push_tiny(connection, "/push?key=b");
    }
    assert_int_equal(status, 503);
}

static void groups_alone_do_not_grow_without_bound(void **state)
{
    struct kit_server *server = kit_serve(*state, "--max-memory", MEMORY_TEXT);
    struct kit_connection *connection = kit_connect(server);
    kit_push(server, "a", "1");
    size_t count = 0;
    while (get_as_new_group(connection, count) == 200 && count <= 2 * MEMORY / 255)
        count++;
    assert_full(kit_get(server, "a", kit_repeat(*state, "h", 255), "timeout=0"));
    /* A reserve may let consumers in where pushes are refused already, but not a large one. */
    assert_in_range(kit_health(server, "queue.memory_bytes"), MEMORY / 2, MEMORY + MEMORY / 4);
    /* Groups that are known go on. */
    kit_assert_get(server, "a", kit_format(*state, "%08d%s", 0, kit_repeat(*state, "g", 247)), "[]");
}

static void an_event_lives_for_its_ttl(void **state)
{
    struct kit_server *server = kit_serve(*state, "--ttl", "1");
    int64_t sent_at_ms = kit_now_ms();
    kit_push(server, "a", "1");
    int64_t stored_at_ms = kit_now_ms();
    bool gone = false;
    for (int i = 0; !gone; i++) {
        int64_t asked_at_ms = kit_now_ms();
        /* A new group each time: none of them has consumed it. */
        const struct kit_response *response =
            kit_get(server, "a", kit_format(*state, "group%d", i), "timeout=0");
        int64_t answered_at_ms = kit_now_ms();
        gone = strcmp(response->body, "[]") == 0;
        if (!gone)
            kit_assert_body(response, "[1]");
        if (gone && answered_at_ms < sent_at_ms + 999)
            kit_fail(*state, "gone after %lld ms", (long long)(answered_at_ms - sent_at_ms));
        if (!gone && asked_at_ms > stored_at_ms + (int64_t)(1500 * kit_time_scale()))
            kit_fail(*state, "still there after %lld ms", (long long)(asked_at_ms - stored_at_ms));
        kit_pause();
    }
    /* A group that had consumed it goes on with what comes later. */
    kit_assert_get(server, "a", "group0", "[]");
    kit_push(server, "a", "2");
    kit_assert_get(server, "a", "group0", "[2]");
    kit_assert_get(server, "a", "new", "[2]");
}

static void events_expire_one_by_one(void **state)
{
    struct kit_server *server = kit_serve(*state, "--ttl", "1");
    /* A new event every few milliseconds for more than a ttl: a new group then finds the latest ones only. */
    int64_t until_ms = kit_now_ms() + 1300;
    int last = 0;
    while (kit_now_ms() < until_ms) {
        kit_push(server, "a", kit_format(*state, "%d", ++last));
        kit_pause();
    }
    const struct kit_response *response = kit_get(server, "a", "g", "timeout=0");
    int first = atoi(response->body + 1);
    assert_in_range(first, 2, last);
    const char *next = response->body + 1;
    for (int wanted = first; wanted <= last; wanted++) {
        char *end;
        assert_int_equal(strtol(next, &end, 10), wanted);
        assert_int_equal(*end, wanted == last ? ']' : ',');
        next = end + 1;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(full_memory_refuses_and_drops_nothing),
        kit_test(a_refusal_for_memory_uses_no_id),
        kit_test(a_batch_that_does_not_fit_is_refused_whole),
        kit_test(memory_is_usable_again_after_the_ttl),
        kit_test(keys_count_as_memory),
        kit_test(groups_count_as_memory),
        kit_test(groups_alone_do_not_grow_without_bound),
        kit_test(an_event_lives_for_its_ttl),
        kit_test(events_expire_one_by_one),
    };
    return kit_run_tests(tests);
}
