/* The upstream has taken an event, and then it can't be stored here: that is told, and the next refresh brings it. */
#include <sqlite3.h>
#include <string.h>

#include "../postgres.h"
#include "kit_http.h"
#include "kit_management.h"

#define BODY "{\"name\":\"lost\",\"userId\":\"u\",\"details\":[1.50]}"

enum { STORE_MS = 5000 };

static sqlite3 *locker; /* of the test that runs */

static void unlock(void)
{
    sqlite3_close(locker); /* rolls back */
    locker = NULL;
}

static int tear_down(void **state)
{
    unlock();
    return kit_teardown_upstream(state);
}

enum absence { LOCKED, FROZEN, GONE };

static void take_database_away(struct kit *kit, enum absence absence)
{
    if (absence == FROZEN)
        kit_freeze_database(kit);
    if (absence == GONE)
        assert_int_equal(postgres_stop(kit_postgres(kit), true), 0);
    if (absence != LOCKED)
        return;
    assert_int_equal(sqlite3_open(kit_database(kit) + strlen("sqlite:"), &locker), SQLITE_OK);
    sqlite3_busy_timeout(locker, KIT_DEADLINE_MS);
    assert_int_equal(sqlite3_exec(locker, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
}

static void give_database_back(struct kit *kit, enum absence absence)
{
    unlock();
    kit_thaw_database(kit);
    if (absence == GONE)
        assert_int_equal(postgres_restart(kit_postgres(kit)), 0);
}

/* The event in the upstream's list, as its call told it; it must come here once, and stay one. */
static void expect_refreshed(struct kit_server *server, struct standin *standin)
{
    struct kit *kit = kit_of(server);
    struct kit_slice id, call = {kit_call_body(kit, standin, KIT_ADD_EVENT, 0), 0};
    call.length = strlen(call.text);
    assert_int_equal(kit_member(call, "id", &id), 1);
    const char *event = kit_format(kit, "[{\"id\":%s,\"name\":\"lost\",\"userId\":\"u\",\"details\":[1.50]}]",
                                   kit_slice_text(kit, id));
    kit_set_answer(standin, KIT_GET_EVENTS, 200, event);
    kit_wait_until_list(server, KIT_GET_EVENTS, event);
    kit_assert_list(server, KIT_EVENTS_OF "u", event);
    assert_string_equal(kit_ids(server, KIT_GET_USERS), "u");
    kit_wait_for_refresh(server); /* nor may a late commit bring it a second time */
    kit_assert_list(server, KIT_GET_EVENTS, event);
}

static void lose(struct kit *kit, enum absence absence)
{
    struct standin *standin = kit_standin(kit);
    struct kit_server *server = kit_serve_upstream(kit, standin, "--upstream-refresh", "0.3");
    kit_set_kind(standin, KIT_ADD_EVENT, STANDIN_HOLD);
    struct kit_connection *waiting = kit_add_later(server, BODY);
    kit_await_calls(kit, standin, KIT_ADD_EVENT, 1);
    take_database_away(kit, absence);
    standin_release(standin);
    struct kit_response response;
    int result = kit_try_receive(waiting, "POST", kit_deadline_at_ms(STORE_MS), &response);
    give_database_back(kit, absence);
    assert_int_equal(result, 0);
    kit_note(kit, "%d %s", response.status, response.body);
    assert_int_equal(response.status, 500);
    assert_string_equal(kit_header(&response, "Content-Type"), "application/json");
    assert_true(kit_matches(response.body, "^\\{\"success\":false,\"error\":\"([^\"\\]|\\\\.)+\".*\\}$"));
    assert_true(kit_is_json(response.body));
    kit_response_clear(&response);
    expect_refreshed(server, standin);
    assert_int_equal(standin_count(standin, KIT_ADD_EVENT), 1);
    kit_set_answer(standin, KIT_ADD_EVENT, 200, "{}");
    kit_add(server, "n", "\"u\"", NULL);
}

static void an_event_lost_to_a_lock_comes_with_a_refresh(void **state)
{
    lose(*state, LOCKED);
}

static void an_event_lost_to_a_frozen_database_comes_with_a_refresh(void **state)
{
    lose(*state, FROZEN);
}

static void an_event_lost_to_a_dead_database_comes_with_a_refresh(void **state)
{
    lose(*state, GONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {"an_event_lost_to_a_lock_comes_with_a_refresh", an_event_lost_to_a_lock_comes_with_a_refresh,
         kit_setup_sqlite, tear_down, NULL},
        kit_test_upstream_postgresql(an_event_lost_to_a_frozen_database_comes_with_a_refresh),
        kit_test_upstream_postgresql(an_event_lost_to_a_dead_database_comes_with_a_refresh),
    };
    return kit_run_event_tests(tests);
}
