/* --max-metrics-memory: what finds no room is refused and counts nothing, what was taken stays, and after the
 * retention there is room again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit_metrics.h"

#define MEMORY_TEXT "2000000"
enum { MEMORY = 2000000, BATCH = 1000, BATCHES_MAX = 200 };

/* A batch of events with new ids; user and type are new in each event if `various`. */
static const char *batch_of(struct kit *kit, size_t number, bool various)
{
    char *lines = kit_allocate(kit, (size_t)BATCH * 256);
    const char *now = kit_instant(kit, -1000);
    size_t used = 0;
    for (size_t i = 0; i < BATCH; i++) {
        size_t which = various ? number * BATCH + i : 0;
        used += (size_t)sprintf(
            lines + used,
            "{\"event_id\":\"%zu-%zu\",\"user_id\":\"user %zu\",\"type\":\"type %zu\",\"ts\":\"%s\"}\n",
            number, i, which, which, now);
    }
    return lines;
}

/* The events of an answer that were accepted; the others must be errors of their own. */
static size_t count_accepted(const struct kit_response *response)
{
    const struct kit_results *results = kit_results(response);
    size_t accepted = 0;
    assert_int_equal(results->count, BATCH);
    for (size_t i = 0; i < results->count; i++)
        accepted += strcmp(results->results[i].message, KIT_ACCEPTED) == 0;
    return accepted;
}

/* Posts batches from *number on until one is refused whole; the events that were accepted. */
static size_t fill(struct kit_server *server, size_t *number, bool various)
{
    size_t accepted = 0;
    for (size_t first = *number; *number < first + BATCHES_MAX; ++*number) {
        const struct kit_response *response =
            kit_post_events(server, KIT_NDJSON, batch_of(kit_of(server), *number, various));
        if (response->status != 200) {
            kit_assert_retry_later(response);
            return accepted;
        }
        accepted += count_accepted(response);
    }
    kit_fail(kit_of(server), "the memory never fills up");
}

/* After a fill of a server that knows "user 0". */
static void check_full(struct kit_server *server, size_t number, size_t accepted, bool various)
{
    struct kit *kit = kit_of(server);
    for (int i = 0; i < 3; i++)
        kit_assert_retry_later(kit_post_events(server, KIT_NDJSON, batch_of(kit, number, true)));
    /* What needs no memory needs none. */
    kit_assert_event(server, "5", NULL, "Event must be an object");
    kit_assert_event(server, kit_click(kit, "0-0", "u", "t", kit_instant(kit, 0)), "0-0",
                     "Event 0-0 already seen");
    kit_assert_event(server, kit_click(kit, "late", "u", "t", kit_instant(kit, -130000)), "late",
                     "Event late timestamp is outside the 2 minute lateness threshold.");
    const char *table = kit_users(kit, "user ", MEMORY / 50, "\"plan\":\"new\"");
    kit_assert_retry_later(kit_put(server, kit_table(kit, table, kit_table_instant(kit, 2))));
    const struct kit_metrics *metrics = kit_metrics(server, 300);
    assert_int_equal(metrics->events, accepted);
    assert_int_equal(metrics->unknown, various ? accepted - 1 : 0);
    assert_int_equal(kit_parse_count(metrics->by_plan, "old"), various ? 1 : accepted);
    assert_int_equal(kit_parse_count(metrics->by_plan, "new"), -1);
    kit_assert_body(kit_get_path(server, "/healthz"), "{\"ok\":true}");
    /* The log says it, and what to do, but not for each. */
    const char *said = " warn the memory for metrics is full, .*--max-metrics-memory";
    assert_int_equal(kit_matching_lines(kit, kit_log(server), said), 1);
}

static void full_memory_refuses_and_drops_nothing(void **state)
{
    for (int various = 0; various < 2; various++) {
        struct kit_server *server = kit_serve(*state, "--max-metrics-memory", MEMORY_TEXT);
        kit_put_users(server, "{\"user 0\":{\"plan\":\"old\"}}", kit_table_instant(*state, 1));
        size_t number = 0, accepted = fill(server, &number, various == 1);
        print_message("%zu events fit into %s bytes\n", accepted, MEMORY_TEXT);
        kit_note(*state, "%zu events", accepted);
        /* An event costs more than a byte of its id, but not a kilobyte. */
        assert_in_range(accepted, MEMORY / 1024, MEMORY / 4);
        check_full(server, number, accepted, various == 1);
    }
}

/* A batch of which some fit: each of the others has an error of its own, and can be sent again. */
static void a_batch_may_fit_in_part(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit, "--max-metrics-memory", MEMORY_TEXT);
    size_t count = MEMORY / 20, used = 0, accepted = 0;
    char *lines = kit_allocate(kit, count * 128);
    const char *now = kit_instant(kit, -1000);
    for (size_t i = 0; i < count; i++)
        used += (size_t)sprintf(lines + used,
                                "{\"event_id\":\"%zu\",\"user_id\":\"u%zu\",\"type\":\"t\",\"ts\":\"%s\"}\n",
                                i, i, now);
    const struct kit_results *results = kit_results(kit_post_events(server, KIT_NDJSON, lines));
    assert_int_equal(results->count, count);
    for (size_t i = 0; i < count; i++) {
        bool is_accepted = strcmp(results->results[i].message, KIT_ACCEPTED) == 0;
        accepted += is_accepted;
        assert_string_equal(results->results[i].id, kit_format(kit, "%zu", i));
        if (!is_accepted && strstr(results->results[i].message, "already seen") != NULL)
            kit_fail(kit, "event %zu: %s", i, results->results[i].message);
    }
    assert_in_range(accepted, 1, count - 1);
    assert_int_equal(kit_metrics(server, 300)->events, accepted);
    /* The refused ones are not remembered: still no room, but never seen. */
    kit_assert_retry_later(kit_post_events(
        server, KIT_JSON, kit_click(kit, kit_format(kit, "%zu", count - 1), "u", "t", kit_instant(kit, 0))));
}

static void a_table_needs_room(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit, "--max-metrics-memory", MEMORY_TEXT);
    kit_put_users(server, "{\"u\":{\"plan\":\"old\"}}", kit_table_instant(kit, 1));
    kit_add_events(server, 2, "u", "click", -1000);
    const char *large = kit_users(kit, "user", MEMORY / 20, "\"plan\":\"new\"");
    for (int i = 0; i < 2; i++) {
        kit_assert_retry_later(kit_put(server, kit_table(kit, large, kit_table_instant(kit, 2))));
        kit_assert_metrics(server, 300, .unique_users = 1, .plans = "old=2", .regions = "",
                           .types = "click=2");
    }
    /* Nor is it there after a restart. */
    const char *database = kit_format(kit, "sqlite:%s/event-syncer.db", kit_directory(server));
    kit_kill(server);
    server = kit_serve(kit, "--database", database);
    kit_assert_metrics(server, 300, .plans = "old=0", .regions = "", .types = "");
    /* What has room is taken all the same; its ts is newer than the one that is there, not than the refused one. */
    server = kit_serve(kit, "--max-metrics-memory", MEMORY_TEXT);
    kit_put_users(server, "{}", kit_table_instant(kit, 1));
    kit_assert_retry_later(kit_put(server, kit_table(kit, large, kit_table_instant(kit, 3))));
    kit_put_users(server, kit_users(kit, "user", 100, "\"plan\":\"new\""), kit_table_instant(kit, 2));
    kit_add_events(server, 1, "user99", "click", -1000);
    kit_assert_metrics(server, 300, .unique_users = 1, .plans = "new=1", .regions = "", .types = "click=1");
}

/* Tables that come and go leave nothing behind that fills the memory. */
static void tables_give_their_room_back(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit, "--max-metrics-memory", MEMORY_TEXT);
    for (int i = 0; i < 100; i++) {
        kit_note(kit, "table %d", i);
        const char *prefix = kit_format(kit, "user %d of table ", i);
        const char *plan = kit_format(kit, "\"plan\":\"p%d\",\"region\":\"r%d\"", i, i);
        kit_put_users(server, kit_users(kit, prefix, 1000, plan), kit_table_instant(kit, i));
        kit_add_events(server, 1, kit_format(kit, "%s999", prefix), "click", -1000);
        kit_assert_metrics(server, 300, .unique_users = 1, .unknown = i, .plans = kit_format(kit, "p%d=1", i),
                           .regions = kit_format(kit, "r%d=1", i),
                           .types = kit_format(kit, "click=%d", i + 1));
    }
}

static void there_is_room_again_after_the_retention(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit, "--max-metrics-memory", MEMORY_TEXT, "--retention", "2");
    kit_put_users(server, "{\"user 0\":{\"plan\":\"pro\"}}", kit_table_instant(kit, 1));
    size_t number = 0;
    for (int round = 0; round < 3; round++) {
        kit_note(kit, "round %d", round);
        size_t accepted = fill(server, &number, true);
        assert_in_range(accepted, MEMORY / 1024, MEMORY);
        kit_wait_until_metrics(server, 2, KIT_LONG_MS, .plans = "pro=0", .regions = "", .types = "");
        int64_t deadline_at_ms = kit_deadline_at_ms(KIT_LONG_MS);
        const struct kit_response *response;
        do {
            if (kit_now_ms() > deadline_at_ms)
                kit_fail(kit, "still full long after everything has expired");
            response = kit_post_events(server, KIT_NDJSON, batch_of(kit, ++number, true));
        } while (response->status != 200 || count_accepted(response) < BATCH);
        number++;
    }
    kit_put_users(server, "{\"user 0\":{\"plan\":\"free\"}}", kit_table_instant(kit, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(full_memory_refuses_and_drops_nothing),
        kit_test(a_batch_may_fit_in_part),
        kit_test(a_table_needs_room),
        kit_test(tables_give_their_room_back),
        kit_test(there_is_room_again_after_the_retention),
    };
    return kit_run_tests(tests);
}
