/* The circuit breaker around the upstream: what opens it, that it lets nothing through, and its probes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit_http.h"
#include "kit_management.h"

#define BODY "{\"name\":\"n\",\"userId\":\"u\"}"

enum { PROMPT_MS = 500, ASKERS = 20 };

static const struct kit_response *add(struct kit_server *server)
{
    return kit_post_json(server, KIT_ADD_EVENT, BODY);
}

/* An addEvent that gets its 503 at once, without a call. */
static long expect_refused(struct kit_server *server, struct standin *standin)
{
    uint64_t calls = standin_count(standin, KIT_ADD_EVENT);
    int64_t started_at_ms = kit_now_ms();
    const struct kit_response *response = add(server);
    assert_in_range(kit_now_ms() - started_at_ms, 0, (int64_t)(PROMPT_MS * kit_time_scale()));
    kit_assert_unavailable(response, 503);
    assert_int_equal(standin_count(standin, KIT_ADD_EVENT), calls);
    return strtol(kit_header(response, "Retry-After"), NULL, 10);
}

static void check_counts(struct kit_server *server, int64_t in_a_row, int64_t opened)
{
    assert_int_equal(kit_health(server, "upstream.failures_in_a_row"), in_a_row);
    assert_int_equal(kit_health(server, "upstream.opened"), opened);
}

/* ---- closed ---- */

static void three_failures_in_a_row_open_it(void **state)
{
    struct standin *standin = kit_standin(*state);
    struct kit_server *server = kit_serve_upstream(*state, standin);
    kit_set_answer(standin, KIT_ADD_EVENT, 500, "{}");
    assert_string_equal(kit_breaker(server), "closed");
    for (int i = 1; i <= 3; i++) {
        kit_assert_unavailable(add(server), 502); /* the one that opens it too */
        assert_int_equal(standin_count(standin, KIT_ADD_EVENT), i);
        assert_string_equal(kit_breaker(server), i < 3 ? "closed" : "open");
    }
    for (int i = 0; i < 10; i++)
        assert_in_range(expect_refused(server, standin), 1, 2);
    assert_int_equal(kit_health(server, "upstream.opened"), 1);
    assert_int_equal(kit_health(server, "upstream.failures"), 3);
    assert_int_equal(kit_health(server, "upstream.refused"), 10);
    kit_assert_list(server, KIT_GET_EVENTS, "[]");
    kit_assert_list(server, KIT_GET_USERS, "[]");
}

static void all_kinds_of_failures_count(void **state)
{
    static const struct standin_behaviour kinds[][3] = {
        {{.status = 503}, {.kind = STANDIN_DROP}, {.body = "{\"success\":false}"}},
        {{.kind = STANDIN_GARBAGE},
         {.body = "no JSON"},
         {.kind = STANDIN_REDIRECT, .status = 302, .body = "/x"}},
        {{.kind = STANDIN_LARGE, .bytes = 10000000}, {.kind = STANDIN_DROP_HALF}, {.body = "[]"}},
    };
    for (size_t i = 0; i < KIT_COUNT(kinds); i++) {
        struct standin *standin = kit_standin(*state);
        struct kit_server *server = kit_serve_upstream(*state, standin);
        for (size_t j = 0; j < 3; j++) {
            kit_note(*state, "row %zu, failure %zu", i, j);
            standin_set(standin, KIT_ADD_EVENT, &kinds[i][j]);
            kit_assert_unavailable(add(server), 502);
        }
        expect_refused(server, standin);
        kit_stop(server); /* the next one takes the same database */
    }
}

static void refused_connections_open_it(void **state)
{
    struct standin *standin = kit_standin(*state);
    struct kit_server *server = kit_serve_upstream(*state, standin);
    assert_int_equal(standin_vanish(standin), 0);
    for (int i = 0; i < 3; i++)
        kit_assert_unavailable(add(server), 502);
    assert_int_equal(standin_return(standin), 0);
    expect_refused(server, standin);
}

static void successes_between_keep_it_closed(void **state)
{
    struct standin *standin = kit_standin(*state);
    struct kit_server *server = kit_serve_upstream(*state, standin);
    for (int i = 0; i < 4; i++) {
        kit_set_answer(standin, KIT_ADD_EVENT, 500, "{}");
        kit_assert_unavailable(add(server), 502);
        kit_assert_unavailable(add(server), 502);
        check_counts(server, 2, 0);
        kit_set_answer(standin, KIT_ADD_EVENT, 200, "{}");
        kit_added_id(add(server));
        check_counts(server, 0, 0);
    }
    assert_string_equal(kit_breaker(server), "closed");
    assert_int_equal(standin_count(standin, KIT_ADD_EVENT), 12);
}

/* The upstream's refusal is an answer: it works. */
static void refusals_between_keep_it_closed(void **state)
{
    struct standin *standin = kit_standin(*state);
    struct kit_server *server = kit_serve_upstream(*state, standin);
    for (int i = 0; i < 4; i++) {
        kit_set_answer(standin, KIT_ADD_EVENT, 500, "{}");
        kit_assert_unavailable(add(server), 502);
        kit_assert_unavailable(add(server), 502);
        kit_set_answer(standin, KIT_ADD_EVENT, 422, "{\"error\":\"no\"}");
        kit_assert_status(add(server), 422);
        check_counts(server, 0, 0);
    }
}

/* What the server itself refuses says nothing about the upstream. */
static void refused_bodies_count_for_nothing(void **state)
{
    struct standin *standin = kit_standin(*state);
    struct kit_server *server = kit_serve_upstream(*state, standin);
    kit_set_answer(standin, KIT_ADD_EVENT, 500, "{}");
    for (int i = 0; i < 5; i++)
        kit_assert_error(kit_post_json(server, KIT_ADD_EVENT, "{}"), 400, ".");
    kit_assert_unavailable(add(server), 502);
    kit_assert_unavailable(add(server), 502);
    kit_assert_error(kit_post_json(server, KIT_ADD_EVENT, "{}"), 400, ".");
    check_counts(server, 2, 0);
    kit_assert_unavailable(add(server), 502);
    kit_assert_error(kit_post_json(server, KIT_ADD_EVENT, "{}"), 400, "Missing"); /* open or not */
    expect_refused(server, standin);
}

/* ---- probes ---- */

/* Twenty ask at once, again and again, until one of them is held by the upstream: that one. All others get 503. */
static struct kit_connection *ask_until_probe(struct kit_server *server, struct standin *standin)
{
    struct kit *kit = kit_of(server);
    int64_t deadline_at_ms = kit_deadline_at_ms(3 * KIT_DEADLINE_MS);
    uint64_t calls = standin_count(standin, KIT_ADD_EVENT);
    while (kit_now_ms() < deadline_at_ms) {
        struct kit_connection *askers[ASKERS], *probe = NULL;
        size_t left = ASKERS;
        for (size_t i = 0; i < ASKERS; i++)
            askers[i] = kit_add_later(server, BODY);
        /* All are answered but one, or all. */
        while (left > 1 || (left == 1 && standin_count(standin, KIT_ADD_EVENT) == calls)) {
            for (size_t i = 0; i < ASKERS; i++)
                if (askers[i] != NULL && kit_has_input(askers[i])) {
                    kit_assert_unavailable(kit_receive(askers[i]), 503);
                    kit_close(askers[i]);
                    askers[i] = NULL;
                    left--;
                }
            if (kit_now_ms() > deadline_at_ms)
                kit_fail(kit, "%zu askers wait, %llu calls", left,
                         (unsigned long long)(standin_count(standin, KIT_ADD_EVENT) - calls));
            kit_pause();
        }
        for (size_t i = 0; i < ASKERS; i++)
            probe = askers[i] != NULL ? askers[i] : probe;
        if (probe != NULL) {
            assert_int_equal(standin_count(standin, KIT_ADD_EVENT), calls + 1);
            return probe;
        }
    }
    kit_fail(kit, "no probe");
}

static void hold(struct standin *standin, unsigned status)
{
    standin_set(standin, KIT_ADD_EVENT, &(struct standin_behaviour){.kind = STANDIN_HOLD, .status = status});
}

static void one_probe_goes_and_its_success_closes(void **state)
{
    struct standin *standin = kit_standin(*state);
    struct kit_server *server = kit_serve_upstream(*state, standin);
    kit_open_breaker(server, standin);
    int64_t opened_at_ms = kit_now_ms();
    hold(standin, 200);
    struct kit_connection *probe = ask_until_probe(server, standin);
    /* A second, less up to half of it. */
    assert_in_range(kit_now_ms() - opened_at_ms, 400, (int64_t)(2000 * kit_time_scale()));
    assert_string_equal(kit_breaker(server), "half-open");
    for (int i = 0; i < ASKERS; i++)
        expect_refused(server, standin);
    kit_set_answer(standin, KIT_ADD_EVENT, 200, "{}");
    standin_release(standin);
    kit_added_id(kit_receive(probe));
    assert_string_equal(kit_breaker(server), "closed");
    check_counts(server, 0, 1);
    for (int i = 0; i < 5; i++)
        kit_added_id(add(server));
    assert_int_equal(standin_count(standin, KIT_ADD_EVENT), 3 + 1 + 5);
    assert_int_equal(kit_entries(server, KIT_GET_EVENTS)->count, 1 + 5);
}

/* Two failures again do not open a breaker that has been closed by a probe; a third does, and its back-off is the first
 * one again. */
static void a_closed_breaker_starts_anew(void **state)
{
    struct standin *standin = kit_standin(*state);
    struct kit_server *server = kit_serve_upstream(*state, standin);
    kit_open_breaker(server, standin);
    hold(standin, 422);
    struct kit_connection *probe = ask_until_probe(server, standin);
    standin_release(standin);
    kit_assert_status(kit_receive(probe), 422); /* an answer closes it too */
    assert_string_equal(kit_breaker(server), "closed");
    kit_set_answer(standin, KIT_ADD_EVENT, 500, "{}");
    kit_assert_unavailable(add(server), 502);
    kit_assert_unavailable(add(server), 502);
    assert_string_equal(kit_breaker(server), "closed");
    kit_assert_unavailable(add(server), 502);
    assert_int_equal(expect_refused(server, standin), 1);
}

/* Its answer counts also when the client has gone: the breaker does not stay half-open. */
static void a_probe_outlives_its_client(void **state)
{
    struct standin *standin = kit_standin(*state);
    struct kit_server *server = kit_serve_upstream(*state, standin);
    kit_open_breaker(server, standin);
    hold(standin, 200);
    kit_reset(ask_until_probe(server, standin));
    assert_string_equal(kit_breaker(server), "half-open");
    kit_set_answer(standin, KIT_ADD_EVENT, 200, "{}");
    standin_release(standin);
    kit_wait_until_breaker(server, "closed");
    kit_added_id(add(server));
}

/* How long /health says that it still takes until the next probe. */
static int64_t next_probe_in_ms(struct kit_server *server)
{
    static const char start[] = "\"next_probe\":\"";
    const char *body = kit_get_path(server, "/health")->body, *text = strstr(body, start);
    if (text == NULL)
        kit_fail(kit_of(server), "no next_probe in %s", body);
    int64_t at_ms = kit_parse_instant_ms(text + strlen(start), strcspn(text + strlen(start), "\""));
    assert_true(at_ms > 0);
    return at_ms - kit_wall_clock_ms();
}

/* Each failed probe doubles the back-off: within 0.5 to 1 s at first, then 1 to 2 s, then 2 to 4 s. */
static void failed_probes_make_it_longer(void **state)
{
    struct standin *standin = kit_standin(*state);
    struct kit_server *server = kit_serve_upstream(*state, standin);
    kit_open_breaker(server, standin);
    assert_in_range(next_probe_in_ms(server) + 200, 200, 1200);
    for (int64_t longest_ms = 2000; longest_ms <= 4000; longest_ms *= 2) {
        kit_note(*state, "the probe before %d ms", (int)longest_ms);
        hold(standin, 500);
        struct kit_connection *probe = ask_until_probe(server, standin);
        standin_release(standin);
        kit_assert_unavailable(kit_receive(probe), 502);
        assert_string_equal(kit_breaker(server), "open");
        int64_t left_ms = next_probe_in_ms(server);
        if (left_ms > longest_ms + 50 || (kit_time_scale() <= 1 && left_ms < longest_ms / 2 - 400))
            kit_fail(*state, "the next probe comes in %d ms, not in %d at most", (int)left_ms,
                     (int)longest_ms);
        long seconds = expect_refused(server, standin);
        if (seconds * 1000 < left_ms - 500 || seconds * 1000 > longest_ms)
            kit_fail(*state, "Retry-After says %ld s, the next probe comes in %d ms", seconds, (int)left_ms);
    }
    assert_int_equal(standin_count(standin, KIT_ADD_EVENT), 3 + 2);
    kit_assert_list(server, KIT_GET_EVENTS, "[]");
}

/* ---- the refresher goes through it too ---- */

static void failed_refreshes_open_it_and_good_ones_close_it(void **state)
{
    struct standin *standin = kit_standin(*state);
    struct kit_server *server = kit_serve_upstream(*state, standin, "--upstream-refresh", "0.3");
    kit_set_answer(standin, KIT_GET_USERS, 500, "[]");
    kit_set_answer(standin, KIT_GET_EVENTS, 500, "[]");
    kit_wait_until_breaker(server, "open");
    int64_t calls = kit_health(server, "upstream.calls");
    assert_int_equal(kit_health(server, "upstream.opened"), 1);
    assert_int_equal(kit_health(server, "upstream.failures"), 3);
    expect_refused(server, standin);
    assert_int_equal(kit_health(server, "upstream.calls"), calls); /* nor has the refresher made any */
    kit_set_answer(standin, KIT_GET_USERS, 200, "[]");
    kit_set_answer(standin, KIT_GET_EVENTS, 200, "[]");
    kit_wait_until_breaker(server, "closed");
    assert_int_equal(standin_count(standin, KIT_ADD_EVENT), 0);
    kit_added_id(add(server));
}

static void health_without_an_upstream_has_none(void **state)
{
    const struct kit_response *response = kit_get_path(kit_serve_events(*state), "/health");
    assert_null(strstr(response->body, "upstream"));
    assert_null(strstr(response->body, "breaker"));
}

/* An open breaker is no reason to take the server for broken. */
static void an_open_breaker_leaves_the_server_in_health(void **state)
{
    struct standin *standin = kit_standin(*state);
    struct kit_server *server = kit_serve_upstream(*state, standin);
    kit_open_breaker(server, standin);
    const struct kit_response *response = kit_get_path(server, "/health");
    kit_assert_status(response, 200);
    kit_assert_body_matches(response, "\"status\":\"OK\"");
    kit_assert_body(kit_get_path(server, "/healthz"), "{\"ok\":true}");
    kit_assert_list(server, KIT_GET_USERS, "[]");
    if (kit_matching_lines(*state, kit_log(server), "^[^ ]+ warn .*circuit breaker.* open") != 1)
        kit_fail(*state, "not one warning");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_upstream(three_failures_in_a_row_open_it),
        kit_test_upstream(all_kinds_of_failures_count),
        kit_test_upstream(refused_connections_open_it),
        kit_test_upstream(successes_between_keep_it_closed),
        kit_test_upstream(refusals_between_keep_it_closed),
        kit_test_upstream(refused_bodies_count_for_nothing),
        kit_test_upstream(one_probe_goes_and_its_success_closes),
        kit_test_upstream(a_closed_breaker_starts_anew),
        kit_test_upstream(a_probe_outlives_its_client),
        kit_test_upstream(failed_probes_make_it_longer),
        kit_test_upstream(failed_refreshes_open_it_and_good_ones_close_it),
        kit_test_upstream(health_without_an_upstream_has_none),
        kit_test_upstream(an_open_breaker_leaves_the_server_in_health),
    };
    return kit_run_event_tests(tests);
}
