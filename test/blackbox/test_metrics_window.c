/* GET /metrics: the answer's form, the window and what falls into it, and what is counted by what. */
#include <stdio.h>
#include <string.h>

#include "kit_metrics.h"

enum { ATTEMPTS = 50 };

static const struct kit_response *ask(struct kit_server *server, const char *window)
{
    return kit_get_path(server, kit_format(kit_of(server), KIT_METRICS "?window=%s", window));
}

/* ---- the answer ---- */

static void nothing_is_counted_at_first(void **state)
{
    struct kit_server *server = kit_serve(*state);
    const struct kit_response *response = ask(server, "300");
    kit_assert_status(response, 200);
    kit_assert_header(response, "Content-Type", KIT_JSON);
    kit_assert_body_matches(response, "^\\{\"window_sec\":300,\"events_per_sec\":0(\\.0)?,\"unique_users\":0,"
                                      "\"unknown\":0,\"by_plan\":\\{},\"by_region\":\\{},\"by_type\":\\{}}$");
}

static void the_answer_has_exactly_this_form(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    kit_put_users(server, "{\"u-123\":{\"plan\":\"pro\",\"region\":\"eu\"}}", "2025-10-08T12:00:00.000Z");
    kit_add_events(server, 3, "u-123", "click", -1000);
    const struct kit_response *response = ask(server, "12");
    kit_assert_body(response, "{\"window_sec\":12,\"events_per_sec\":0.25,\"unique_users\":1,\"unknown\":0,"
                              "\"by_plan\":{\"pro\":3},\"by_region\":{\"eu\":3},\"by_type\":{\"click\":3}}");
}

static void the_rate_is_the_events_by_the_window(void **state)
{
    static const int windows[] = {1800, 1799, 977, 300, 299, 127, 100, 60, 49, 30};
    struct kit_server *server = kit_serve(*state);
    /* kit_metrics() judges the rate: a double that is read back is the same one. */
    for (size_t count = 0; count < 4; count++) {
        for (size_t i = 0; i < KIT_COUNT(windows); i++)
            assert_int_equal(kit_metrics(server, windows[i])->events, count * 7);
        kit_add_events(server, 7, "u", "click", -1000);
    }
}

static void bad_windows_are_refused(void **state)
{
    static const char *const windows[] = {
        "0",
        "-1",
        "-0",
        "1.5",
        "1.0",
        "1801",
        "",
        "x",
        "5x",
        "x5",
        "1e2",
        "0x10",
        "%205",
        "5%20",
        "+5",
        "%2B5",
        "5,0",
        "1_0",
        "nan",
        "inf",
        "5%00",
        "%ef%bc%95",
        "2147483648",
        "4294967297",
        "18446744073709551617",
        "99999999999999999999999999",
        "-1800",
        "5;6",
    };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    for (size_t i = 0; i < KIT_COUNT(windows); i++) {
        kit_note(kit, "window=%s", windows[i]);
        kit_assert_error(ask(server, windows[i]), 400, "window");
    }
    static const char *const targets[] = {KIT_METRICS,
                                          KIT_METRICS "?",
                                          KIT_METRICS "?window",
                                          KIT_METRICS "?Window=300",
                                          KIT_METRICS "?windows=300",
                                          KIT_METRICS "?window=&window=300",
                                          KIT_METRICS "?window=0&window=300"};
    for (size_t i = 0; i < KIT_COUNT(targets); i++) {
        kit_note(kit, "%s", targets[i]);
        kit_assert_error(kit_get_path(server, targets[i]), 400, "window");
    }
}

static void good_windows_are_taken(void **state)
{
    static const char *const targets[] = {
        KIT_METRICS "?window=%33%30%30",
        KIT_METRICS "?window=300&window=0",
        KIT_METRICS "?a=b&window=300&c",
        KIT_METRICS "?%77indow=300",
    };
    struct kit_server *server = kit_serve(*state);
    for (size_t i = 0; i < KIT_COUNT(targets); i++) {
        const struct kit_response *response = kit_get_path(server, targets[i]);
        kit_assert_status(response, 200);
        kit_assert_body_matches(response, "^\\{\"window_sec\":300,");
    }
    kit_metrics(server, 1);
    kit_metrics(server, 1800);
}

static void head_is_like_get(void **state)
{
    struct kit_server *server = kit_serve(*state);
    kit_add_events(server, 3, "u", "click", -1000);
    const struct kit_response *get = ask(server, "300");
    const struct kit_response *head = kit_request(server, "HEAD", KIT_METRICS "?window=300", NULL, NULL, 0);
    kit_assert_status(head, 200);
    kit_assert_header(head, "Content-Type", KIT_JSON);
    kit_assert_header(head, "Content-Length", kit_header(get, "Content-Length"));
    kit_assert_status(kit_request(server, "HEAD", KIT_METRICS "?window=0", NULL, NULL, 0), 400);
}

/* ---- the window ---- */

static void events_count_in_the_second_of_their_ts(void **state)
{
    struct kit_server *server = kit_serve(*state);
    /* In no order, and each far from the borders of the windows. */
    kit_add_events(server, 3, "u", "b", -60000);
    kit_add_events(server, 1, "u", "d", -1000);
    kit_add_events(server, 4, "u", "a", -110000);
    kit_add_events(server, 2, "u", "c", -20000);
    kit_assert_metrics(server, 15, .unknown = 1, .plans = "", .regions = "", .types = "d=1");
    kit_assert_metrics(server, 40, .unknown = 3, .plans = "", .regions = "", .types = "c=2 d=1");
    kit_assert_metrics(server, 90, .unknown = 6, .plans = "", .regions = "", .types = "b=3 c=2 d=1");
    kit_assert_metrics(server, 300, .unknown = 10, .plans = "", .regions = "", .types = "a=4 b=3 c=2 d=1");
    kit_assert_metrics(server, 1800, .unknown = 10, .plans = "", .regions = "", .types = "a=4 b=3 c=2 d=1");
}

/* All windows from 1 s on, asked within one second of the clock: true, or false when that did not work out. */
static bool check_borders(struct kit_server *server, int64_t newest_second, int seconds)
{
    bool complete = true;
    for (int window = 1; window <= seconds && complete; window++) {
        const struct kit_metrics *metrics = kit_metrics(server, window);
        complete = kit_wall_clock_ms() / 1000 == newest_second;
        if (complete && metrics->events != (int64_t)window * 2)
            kit_fail(kit_of(server), "window %d has %lld events instead of %d", window,
                     (long long)metrics->events, 2 * window);
    }
    return complete;
}

/* The window is the running second and the whole ones before it: two events in each of them, the first and the
 * last that it can have. */
static void the_window_ends_with_the_running_second(void **state)
{
    enum { SECONDS = 8 };
    struct kit *kit = *state;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        struct kit_server *server = kit_serve(kit);
        int64_t second = kit_wall_clock_ms() / 1000;
        char *lines = kit_format(kit, "%s", "");
        for (int i = 0; i < 2 * SECONDS; i++) {
            int64_t at_ms = (second - i / 2) * 1000 + (i % 2 == 0 ? 0 : 999);
            const char *id = kit_format(kit, "e%d", i);
            lines = kit_format(kit, "%s%s\n", lines,
                               kit_click(kit, id, "u", "click", kit_instant_at(kit, at_ms)));
        }
        kit_results(kit_post_events(server, KIT_NDJSON, lines));
        bool complete = check_borders(server, second, SECONDS);
        kit_stop(server);
        if (complete)
            return;
    }
    kit_fail(kit, "never within one second");
}

/* An event that is now in its first second leaves a window of one as the clock goes on. */
static void events_leave_the_window(void **state)
{
    struct kit_server *server = kit_serve(*state);
    kit_add_events(server, 5, "u", "click", 0);
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
    while (kit_metrics(server, 1)->events != 0) {
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(*state, "they stay");
        kit_pause();
    }
    assert_int_equal(kit_metrics(server, 300)->events, 5);
}

/* Asks until the event counts; it must not while its second has not come, and must once it has. */
static void check_comes_with_its_second(struct kit_server *server, int64_t second, int64_t before)
{
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_LONG_MS);
    int64_t count = before;
    while (count == before) {
        int64_t asked_at_ms = kit_wall_clock_ms();
        count = kit_metrics(server, 300)->events;
        if (count != before && kit_wall_clock_ms() < second * 1000)
            kit_fail(kit_of(server), "it counts before its second");
        if (count == before && asked_at_ms >= second * 1000 + 20)
            kit_fail(kit_of(server), "it does not count %lld ms after its second has begun",
                     (long long)(asked_at_ms - second * 1000));
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(kit_of(server), "its second never comes");
        kit_pause();
    }
    assert_int_equal(count, before + 1);
}

static void an_event_of_the_near_future_counts_when_it_comes(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    kit_put_users(server, "{\"u\":{\"plan\":\"pro\",\"region\":\"eu\"}}", kit_table_instant(kit, 1));
    kit_add_events(server, 1, "u", "click", -1000);
    int64_t second = kit_wall_clock_ms() / 1000 + 2;
    kit_assert_event(server, kit_click(kit, "soon", "u", "click", kit_instant_at(kit, second * 1000 + 999)),
                     "soon", KIT_ACCEPTED);
    kit_assert_event(server, kit_click(kit, "later", "v", "view", kit_instant(kit, 100000)), "later",
                     KIT_ACCEPTED);
    /* It is known already. */
    kit_assert_event(server, kit_click(kit, "soon", "u", "click", kit_instant(kit, 0)), "soon",
                     "Event soon already seen");
    check_comes_with_its_second(server, second, 1);
    kit_assert_metrics(server, 300, .unique_users = 1, .plans = "pro=2", .regions = "eu=2",
                       .types = "click=2");
}

/* ---- by what ---- */

static void events_are_counted_by_type(void **state)
{
    struct kit_server *server = kit_serve(*state);
    kit_add_events(server, 2, "u", "click", -1000);
    kit_add_events(server, 3, "v", "view", -1000);
    kit_add_events(server, 1, "u", "Click", -1000);
    kit_add_events(server, 1, "u", "a\\\"b\\\\", -1000);
    kit_add_events(server, 4, "u", "\xe6\xbc\xa2", -1000);
    kit_add_events(server, 1, "u", "\\u6f22", -1000);
    kit_add_events(server, 1, "u", "by_plan", -1000);
    kit_assert_metrics(server, 300, .unknown = 13, .plans = "", .regions = "",
                       .types = "Click=1 a\"b\\=1 by_plan=1 click=2 view=3 \xe6\xbc\xa2=5");
}

static void plans_and_regions_are_listed_with_zeros(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    kit_put_users(
        server,
        "{\"a\":{\"plan\":\"free\",\"region\":\"us\"},\"b\":{\"plan\":\"pro\",\"region\":\"us\"},"
        "\"c\":{\"plan\":\"free\",\"region\":\"eu\"},\"d\":{\"plan\":\"team\",\"region\":\"asia\"}}",
        kit_table_instant(kit, 1));
    kit_assert_metrics(server, 300, .plans = "free=0 pro=0 team=0", .regions = "asia=0 eu=0 us=0",
                       .types = "");
    kit_add_events(server, 2, "a", "click", -1000);
    kit_add_events(server, 3, "b", "click", -1000);
    kit_add_events(server, 4, "c", "view", -20000);
    kit_add_events(server, 5, "nobody", "view", -1000);
    kit_add_events(server, 1, "A", "view", -1000);
    kit_assert_metrics(server, 300, .unique_users = 3, .unknown = 6, .plans = "free=6 pro=3 team=0",
                       .regions = "asia=0 eu=4 us=5", .types = "click=5 view=10");
    kit_assert_metrics(server, 15, .unique_users = 2, .unknown = 6, .plans = "free=2 pro=3 team=0",
                       .regions = "asia=0 eu=0 us=5", .types = "click=5 view=6");
}

static void users_are_counted_once(void **state)
{
    enum { USERS = 300 };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    kit_put_users(server, kit_users(kit, "u", USERS, "\"plan\":\"free\""), kit_table_instant(kit, 1));
    char *lines = kit_allocate(kit, (size_t)USERS * 360);
    size_t used = 0;
    for (int i = 0; i < 3 * USERS; i++) /* every third user of the table, nine times */
        used += (size_t)sprintf(lines + used, "%s\n",
                                kit_click(kit, kit_format(kit, "e%d", i), kit_format(kit, "u%d", i / 9 * 3),
                                          "click", kit_instant(kit, -1000 * (i % 100) - 1000)));
    assert_int_equal(kit_results(kit_post_events(server, KIT_NDJSON, lines))->count, 3 * USERS);
    kit_assert_metrics(server, 300, .unique_users = USERS / 3, .plans = "free=900", .regions = "",
                       .types = "click=900");
}

/* Nothing of a user is kept with his events: what counts is what the table says when it is asked. */
static void events_are_enriched_with_the_table_of_now(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    kit_add_events(server, 2, "a", "click", -1000);
    kit_add_events(server, 3, "b", "click", -1000);
    kit_assert_metrics(server, 300, .unknown = 5, .plans = "", .regions = "", .types = "click=5");
    kit_put_users(server, "{\"a\":{\"plan\":\"free\",\"region\":\"us\"}}", kit_table_instant(kit, 1));
    kit_assert_metrics(server, 300, .unique_users = 1, .unknown = 3, .plans = "free=2", .regions = "us=2",
                       .types = "click=5");
    kit_put_users(server, "{\"b\":{\"plan\":\"pro\",\"region\":\"us\"},\"a\":{\"plan\":\"pro\"}}",
                  kit_table_instant(kit, 2));
    kit_assert_metrics(server, 300, .unique_users = 2, .plans = "pro=5", .regions = "us=3",
                       .types = "click=5");
    kit_put_users(server, "{}", kit_table_instant(kit, 3));
    kit_assert_metrics(server, 300, .unknown = 5, .plans = "", .regions = "", .types = "click=5");
    kit_put_users(server, "{\"b\":{\"region\":\"eu\"}}", kit_table_instant(kit, 4));
    kit_assert_metrics(server, 300, .unique_users = 1, .unknown = 2, .plans = "", .regions = "eu=3",
                       .types = "click=5");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(nothing_is_counted_at_first),
        kit_test(the_answer_has_exactly_this_form),
        kit_test(the_rate_is_the_events_by_the_window),
        kit_test(bad_windows_are_refused),
        kit_test(good_windows_are_taken),
        kit_test(head_is_like_get),
        kit_test(events_count_in_the_second_of_their_ts),
        kit_test(the_window_ends_with_the_running_second),
        kit_test(events_leave_the_window),
        kit_test(an_event_of_the_near_future_counts_when_it_comes),
        kit_test(events_are_counted_by_type),
        kit_test(plans_and_regions_are_listed_with_zeros),
        kit_test(users_are_counted_once),
        kit_test(events_are_enriched_with_the_table_of_now),
    };
    return kit_run_tests(tests);
}
