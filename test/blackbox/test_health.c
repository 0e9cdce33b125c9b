/* Proves that /health has its promised shape and tells the truth, and that /healthz answers. */
#include <string.h>

#include "kit_http.h"

static void health_has_its_shape(void **state)
{
    static const char *const numbers[] = {
        "uptime_seconds",     "threads.running",        "threads.waiting",
        "threads.spare",      "threads.total",          "threads.max",
        "connections.open",   "connections.max",        "queue.keys",
        "queue.groups",       "queue.waiting",          "queue.events",
        "queue.memory_bytes", "queue.max_memory_bytes",
    };
    struct kit_server *server = kit_serve(*state);
    const struct kit_response *response = kit_request(server, "GET", "/health", NULL, NULL, 0);
    kit_assert_status(response, 200);
    kit_assert_header_matches(response, *state, "Content-Type", "^application/json(;.*)?$");
    kit_assert_body_matches(response, "^\\{.*\"status\":\"OK\".*\\}$");
    kit_assert_body_matches(response, "\"version\":\"[^\"]+\"");
    for (size_t i = 0; i < KIT_COUNT(numbers); i++) {
        int64_t number = -1;
        if (!kit_json_number(response->body, numbers[i], &number) || number < 0)
            kit_fail(*state, "%s is no whole number of 0 or more in %s", numbers[i], response->body);
    }
}

static void healthz_answers(void **state)
{
    const struct kit_response *response = kit_request(kit_serve(*state), "GET", "/healthz", NULL, NULL, 0);
    kit_assert_status(response, 200);
    kit_assert_body(response, "{\"ok\":true}");
    kit_assert_header_matches(response, *state, "Content-Type", "^application/json(;.*)?$");
}

static void version_is_that_of_the_command(void **state)
{
    struct kit *kit = *state;
    const struct kit_response *response = kit_request(kit_serve(kit), "GET", "/health", NULL, NULL, 0);
    char *version = strstr(response->body, "\"version\":\"");
    assert_non_null(version);
    version += strlen("\"version\":\"");
    version = kit_format(kit, "%.*s", (int)strcspn(version, "\""), version);
    const char *printed = kit_command(kit, "--version")->output;
    if (strstr(printed, version) == NULL)
        kit_fail(kit, "/health says %s, --version %s", version, printed);
}

static void uptime_counts_seconds(void **state)
{
    struct kit_server *server = kit_serve(*state);
    int64_t uptime_seconds = kit_health(server, "uptime_seconds");
    kit_wait_until_health(server, "uptime_seconds", uptime_seconds + 1);
    int64_t changed_at_ms = kit_now_ms();
    kit_wait_until_health(server, "uptime_seconds", uptime_seconds + 2);
    assert_in_range(kit_now_ms() - changed_at_ms, 500, 1500 * (int64_t)kit_time_scale());
}

static void fresh_server_is_empty(void **state)
{
    static const char *const numbers[] = {"queue.keys", "queue.groups", "queue.waiting", "queue.events",
                                          "threads.waiting"};
    struct kit_server *server = kit_serve(*state);
    for (size_t i = 0; i < KIT_COUNT(numbers); i++)
        if (kit_health(server, numbers[i]) != 0)
            kit_fail(*state, "%s is not 0", numbers[i]);
    kit_wait_until_health(server, "connections.open", 1); /* the one that asks */
}

static void limits_are_those_of_the_options(void **state)
{
    struct kit_server *server = kit_serve(*state, "--threads", "2", "--max-threads", "24",
                                          "--max-connections", "50", "--max-memory", "10000000");
    assert_int_equal(kit_health(server, "threads.max"), 24);
    assert_int_equal(kit_health(server, "connections.max"), 50);
    assert_int_equal(kit_health(server, "queue.max_memory_bytes"), 10000000);
}

static void memory_for_events_is_one_gibibyte_by_default(void **state)
{
    assert_int_equal(kit_health(kit_serve(*state), "queue.max_memory_bytes"), 1073741824);
}

static void events_keys_and_groups_are_counted(void **state)
{
    struct kit_server *server = kit_serve(*state);
    kit_push(server, "a", "1");
    kit_push(server, "a", "2");
    kit_push(server, "b", "3");
    assert_int_equal(kit_health(server, "queue.events"), 3);
    assert_int_equal(kit_health(server, "queue.keys"), 2);
    assert_int_equal(kit_health(server, "queue.groups"), 0);
    kit_assert_get(server, "a", "g", "[1,2]");
    kit_assert_get(server, "a", "h", "[1,2]");
    kit_assert_get(server, "b", "g", "[3]");
    assert_int_equal(kit_health(server, "queue.groups"), 3); /* pairs of key and group */
    /* Delivered events are kept: another group may still ask. */
    assert_int_equal(kit_health(server, "queue.events"), 3);
    assert_int_equal(kit_health(server, "queue.keys"), 2);
}

static void ndjson_counts_by_line(void **state)
{
    struct kit_server *server = kit_serve(*state);
    kit_assert_status(kit_post(server, "a", "application/x-ndjson", "1\n2\n\n3\n", 7), 200);
    assert_int_equal(kit_health(server, "queue.events"), 3);
}

static void refused_push_counts_for_nothing(void **state)
{
    struct kit_server *server = kit_serve(*state);
    int64_t memory_bytes = kit_health(server, "queue.memory_bytes");
    kit_assert_error(kit_post(server, "a", NULL, "{\"n\":", 5), 400, ".");
    kit_assert_error(kit_post(server, "", NULL, "1", 1), 400, "key");
    kit_assert_error(kit_post(server, "a", "application/x-ndjson", "1\n{\n", 4), 400, "2");
    assert_int_equal(kit_health(server, "queue.events"), 0);
    assert_int_equal(kit_health(server, "queue.keys"), 0);
    assert_int_equal(kit_health(server, "queue.memory_bytes"), memory_bytes);
}

static void memory_is_that_of_the_events(void **state)
{
    enum { LENGTH = 100000, EVENTS = 5 };
    struct kit_server *server = kit_serve(*state);
    char *event = kit_repeat(*state, "a", LENGTH);
    event[0] = event[LENGTH - 1] = '"';
    int64_t before = kit_health(server, "queue.memory_bytes");
    for (int i = 0; i < EVENTS; i++)
        kit_push(server, "k", event);
    int64_t grown = kit_health(server, "queue.memory_bytes") - before;
    /* No less than what is stored, and no more than twice that. */
    assert_in_range(grown, LENGTH * EVENTS, 2 * LENGTH * EVENTS);
}

static void waiting_requests_are_counted(void **state)
{
    enum { WAITERS = 5 };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    struct kit_connection *waiters[WAITERS];
    for (int i = 0; i < WAITERS; i++)
        waiters[i] = kit_get_later(server, "k", kit_format(kit, "g%d", i), NULL);
    kit_wait_until_health(server, "queue.waiting", WAITERS);
    kit_wait_until_health(server, "threads.waiting", WAITERS);
    kit_wait_until_health(server, "connections.open", WAITERS + 1);
    assert_int_equal(kit_health(server, "queue.groups"), WAITERS);
    kit_close(waiters[0]);
    kit_reset(waiters[1]);
    kit_wait_until_health(server, "queue.waiting", WAITERS - 2);
    kit_push(server, "k", "1");
    for (int i = 2; i < WAITERS; i++)
        kit_assert_body(kit_receive(waiters[i]), "[1]");
    kit_wait_until_health(server, "queue.waiting", 0);
    kit_wait_until_health(server, "threads.waiting", 0);
    kit_wait_until_health(server, "connections.open", WAITERS - 2 + 1);
}

static void threads_add_up(void **state)
{
    struct kit_server *server = kit_serve(*state, "--threads", "3", "--max-threads", "40");
    for (int i = 0; i < 4; i++)
        kit_get_later(server, "k", "g", NULL);
    kit_wait_until_health(server, "queue.waiting", 4);
    const struct kit_response *response = kit_request(server, "GET", "/health", NULL, NULL, 0);
    int64_t running = -1, waiting = -1, spare = -1, total = -1, max = -1;
    assert_true(kit_json_number(response->body, "threads.running", &running));
    assert_true(kit_json_number(response->body, "threads.waiting", &waiting));
    assert_true(kit_json_number(response->body, "threads.spare", &spare));
    assert_true(kit_json_number(response->body, "threads.total", &total));
    assert_true(kit_json_number(response->body, "threads.max", &max));
    if (running > 3 || waiting != 4 || running + waiting + spare > total || total > max || max != 40)
        kit_fail(*state, "threads that do not add up: %s", response->body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(health_has_its_shape),
        kit_test(healthz_answers),
        kit_test(version_is_that_of_the_command),
        kit_test(uptime_counts_seconds),
        kit_test(fresh_server_is_empty),
        kit_test(limits_are_those_of_the_options),
        kit_test(memory_for_events_is_one_gibibyte_by_default),
        kit_test(events_keys_and_groups_are_counted),
        kit_test(ndjson_counts_by_line),
        kit_test(refused_push_counts_for_nothing),
        kit_test(memory_is_that_of_the_events),
        kit_test(waiting_requests_are_counted),
        kit_test(threads_add_up),
    };
    return kit_run_tests(tests);
}
