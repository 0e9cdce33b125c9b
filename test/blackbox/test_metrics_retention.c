/* --retention: how long an id is remembered, how long an event counts, and which windows there are. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit_metrics.h"

enum { RETENTION_MS = 3000, MANY = 5000 };

static void bad_values_are_refused(void **state)
{
    static const char *const options[] = {"--retention", "--max-metrics-memory"};
    static const char *const values[] = {"0", "", "-1", "x", "5x", "nan", "0x10", "99999999999999999999999"};
    for (size_t option = 0; option < KIT_COUNT(options); option++)
        for (size_t i = 0; i < KIT_COUNT(values); i++) {
            kit_note(*state, "%s \"%s\"", options[option], values[i]);
            const struct kit_run *run =
                kit_command(*state, "serve", "--listen", "127.0.0.1:0", options[option], values[i]);
            assert_int_equal(run->exit_status, 2);
            assert_int_equal(kit_line_count(run->errors), 1);
            if (strstr(run->errors, options[option] + 2) == NULL)
                kit_fail(*state, "the message does not name the option: %s", run->errors);
        }
    for (size_t option = 0; option < KIT_COUNT(options); option++) {
        const struct kit_run *run = kit_command(*state, "serve", options[option]);
        assert_int_equal(run->exit_status, 2);
        assert_int_equal(kit_line_count(run->errors), 1);
    }
}

static void it_is_the_longest_window(void **state)
{
    static const struct {
        const char *text;
        int seconds;
    } rows[] = {{"1", 1}, {"5", 5}, {"300", 300}, {"3600", 3600}};
    struct kit *kit = *state;
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        kit_note(kit, "--retention %s", rows[i].text);
        struct kit_server *server = kit_serve(kit, "--retention", rows[i].text);
        kit_add_events(server, 1, "u", "click", -1000);
        kit_metrics(server, rows[i].seconds);
        kit_metrics(server, 1);
        const char *target = kit_format(kit, KIT_METRICS "?window=%d", rows[i].seconds + 1);
        kit_assert_error(kit_get_path(server, target), 400, "window");
    }
}

/* The ids first to first + MANY - 1, all at `ts`; how many of them are accepted. The others are seen. */
static size_t post_many(struct kit_server *server, const char *ts)
{
    char *lines = kit_allocate(kit_of(server), (size_t)MANY * 128);
    size_t used = 0, accepted = 0;
    for (int i = 0; i < MANY; i++)
        used += (size_t)sprintf(
            lines + used, "{\"event_id\":\"%d\",\"user_id\":\"u\",\"type\":\"many\",\"ts\":\"%s\"}\n", i, ts);
    const struct kit_results *results = kit_results(kit_post_events(server, KIT_NDJSON, lines));
    assert_int_equal(results->count, MANY);
    for (size_t i = 0; i < MANY; i++) {
        bool is_accepted = strcmp(results->results[i].message, KIT_ACCEPTED) == 0;
        accepted += is_accepted;
        if (!is_accepted && strstr(results->results[i].message, "already seen") == NULL)
            kit_fail(kit_of(server), "%s", results->results[i].message);
    }
    return accepted;
}

/* Repeats the event until it is accepted, which must not be within the retention and must be soon after it. */
static void repeat_until_accepted(struct kit_server *server, int64_t first_sent_at_ms)
{
    struct kit *kit = kit_of(server);
    int64_t deadline_at_ms = kit_deadline_at_ms(RETENTION_MS + KIT_DEADLINE_MS);
    for (;;) {
        const char *event = kit_click(kit, "e1", "u", "click", kit_instant(kit, 0));
        const struct kit_response *response = kit_post_events(server, KIT_JSON, event);
        if (strstr(response->body, "success") != NULL)
            break;
        kit_assert_result(response, "e1", "Event e1 already seen");
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(kit, "an id is never forgotten");
        kit_pause();
    }
    int64_t after_ms = kit_now_ms() - first_sent_at_ms;
    print_message("accepted again after %lld ms\n", (long long)after_ms);
    if (after_ms < RETENTION_MS)
        kit_fail(kit, "an id was taken again after %lld ms", (long long)after_ms);
}

static void ids_and_events_last_for_it(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit, "--retention", "3");
    kit_put_users(server, "{\"u\":{\"plan\":\"pro\",\"region\":\"eu\"}}", kit_table_instant(kit, 1));
    int64_t first_sent_at_ms = kit_now_ms();
    const char *now = kit_instant(kit, 0);
    kit_assert_event(server, kit_click(kit, "e1", "u", "click", now), "e1", KIT_ACCEPTED);
    assert_int_equal(post_many(server, now), MANY);
    /* Far before and behind the window: remembered like the others, whatever they count for. */
    static const char *const ids[] = {"before", "behind"};
    static const int64_t offsets_ms[] = {-60000, 100000};
    for (size_t i = 0; i < KIT_COUNT(ids); i++) {
        const char *event = kit_click(kit, ids[i], "u", "click", kit_instant(kit, offsets_ms[i]));
        kit_assert_event(server, event, ids[i], KIT_ACCEPTED);
        kit_assert_event(server, event, ids[i], kit_format(kit, "Event %s already seen", ids[i]));
    }
    assert_int_equal(post_many(server, kit_instant(kit, 0)), 0);
    repeat_until_accepted(server, first_sent_at_ms);
    /* The others came at about the same time. */
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
    size_t accepted = 0;
    while ((accepted += post_many(server, kit_instant(kit, 0))) < MANY)
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(kit, "only %zu of the ids are forgotten", accepted);
    assert_int_equal(accepted, MANY);
    kit_wait_until_metrics(server, 3, RETENTION_MS + KIT_DEADLINE_MS, .plans = "pro=0", .regions = "eu=0",
                           .types = "");
}

/* An event that lies further ahead than the retention reaches back counts when its second comes, and then leaves. Its id
 * is known until then: it counts once. */
static void an_event_may_be_ahead_of_it(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit, "--retention", "2");
    const char *event = kit_click(kit, "soon", "u", "click", kit_instant(kit, 3000));
    kit_assert_event(server, event, "soon", KIT_ACCEPTED);
    assert_int_equal(kit_metrics(server, 2)->events, 0);
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_LONG_MS), count;
    while ((count = kit_metrics(server, 2)->events) == 0) {
        kit_assert_event(server, event, "soon", "Event soon already seen");
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(kit, "its second never comes");
        kit_pause();
    }
    assert_int_equal(count, 1);
    kit_wait_until_metrics(server, 2, KIT_DEADLINE_MS, .plans = "", .regions = "", .types = "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(bad_values_are_refused),
        kit_test(it_is_the_longest_window),
        kit_test(ids_and_events_last_for_it),
        kit_test(an_event_may_be_ahead_of_it),
    };
    return kit_run_tests(tests);
}
