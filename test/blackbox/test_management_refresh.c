/* The upstream's users and events come into the lists: merged, changed, never deleted, and never in anyone's way. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit_http.h"
#include "kit_management.h"

enum { PROMPT_MS = 500, HUGE = 20000, HUGE_MS = 20000, ADD_MS = 1500 };

#define EVENT(id, name, user) "{\"id\":" id ",\"name\":\"" name "\",\"userId\":" user "}"
#define SHOWN(id, name, user)                                                                                \
    "{\"id\":\"" id "\",\"name\":\"" name "\",\"userId\":\"" user "\",\"details\":null}"

/* A server that looks at its upstream again and again. */
static struct kit_server *serve(struct kit *kit, struct standin *standin)
{
    return kit_serve_upstream(kit, standin, "--upstream-refresh", "0.3");
}

static void set_lists(struct standin *standin, const char *users, const char *events)
{
    kit_set_answer(standin, KIT_GET_USERS, 200, users);
    kit_set_answer(standin, KIT_GET_EVENTS, 200, events);
}

/* The value of a user's member, which it must have once. */
static const char *member_of(const struct kit_entries *users, const char *id, const char *name)
{
    struct kit *kit = users->response->kit;
    for (size_t i = 0; i < users->count; i++) {
        struct kit_slice value;
        if (!kit_slice_is(users->items[i].id, id))
            continue;
        if (kit_member(users->items[i].json, name, &value) != 1)
            kit_fail(kit, "not one %s of user %s in %s", name, id, users->response->body);
        return kit_slice_text(kit, value);
    }
    kit_fail(kit, "no user %s in %.2000s", id, users->response->body);
}

/* ---- what appears ---- */

static void users_and_events_appear(void **state)
{
    struct standin *standin = kit_standin(*state);
    set_lists(
        standin,
        "[{\"id\":1,\"userName\":\"One\",\"email\":\"one@x\",\"events\":[\"17\"]},"
        "{\"id\":\"b\",\"userName\":\"B\xc3\xa4"
        "a\"},\n {\"email\":null,\"id\":\"7\"}]",
        "[{\"id\":17,\"name\":\"hello\",\"userId\":1,\"details\":{\"n\":1e400,\"z\":[1.50]}},"
        " {\"userId\":\"b\",\"name\":\"n\\u0061me\",\"id\":\"e/2\"},\r\n" EVENT("\"17b\"", "x", "\"1\"") "]");
    struct kit_server *server = kit_serve_upstream(*state, standin);
    static const char of_one[] =
        "{\"id\":\"17\",\"name\":\"hello\",\"userId\":\"1\",\"details\":{\"n\":1e400,\"z\":[1.50]}}";
    kit_assert_list(server, KIT_EVENTS_OF "1", kit_format(*state, "[%s," SHOWN("17b", "x", "1") "]", of_one));
    kit_assert_list(server, KIT_EVENTS_OF "b", "[" SHOWN("e/2", "name", "b") "]");
    kit_assert_list(server, KIT_EVENTS_OF "7", "[]");
    assert_string_equal(kit_ids(server, KIT_GET_EVENTS), "17 e/2 17b");
    assert_string_equal(kit_ids(server, KIT_GET_USERS), "1 7 b");
    const struct kit_entries *users = kit_entries(server, KIT_GET_USERS);
    assert_string_equal(member_of(users, "1", "userName"), "\"One\"");
    assert_string_equal(member_of(users, "1", "email"), "\"one@x\"");
    assert_string_equal(member_of(users, "1", "events"), "[\"17\",\"17b\"]");
    assert_string_equal(member_of(users, "b", "userName"), "\"B\xc3\xa4"
                                                           "a\"");
    assert_string_equal(member_of(users, "b", "email"), "null");
    assert_string_equal(member_of(users, "7", "userName"), "null");
}

static void an_event_makes_its_user_known(void **state)
{
    struct standin *standin = kit_standin(*state);
    set_lists(standin, "[]", "[" EVENT("1", "n", "\"only in events\"") "]");
    struct kit_server *server = kit_serve_upstream(*state, standin);
    assert_string_equal(kit_ids(server, KIT_EVENTS_OF "only%20in%20events"), "1");
    assert_string_equal(kit_ids(server, KIT_GET_USERS), "only in events");
}

/* The table, the upstream and events of our own may all name one user. */
static void three_sources_make_one_user(void **state)
{
    struct standin *standin = kit_standin(*state);
    set_lists(standin,
              "[{\"id\":\"all\",\"userName\":\"Upstream\",\"email\":\"up@x\"},"
              "{\"id\":\"up\",\"userName\":\"U\",\"email\":\"u@x\"}]",
              "[" EVENT("1", "theirs", "\"all\"") "]");
    struct kit_server *server = kit_serve_upstream(*state, standin);
    kit_put_table(server,
                  "{\"table\":{\"userName\":\"T\"},\"all\":{\"userName\":\"Table\",\"plan\":\"pro\"}}");
    kit_set_answer(standin, KIT_ADD_EVENT, 200, "{\"id\":\"ours\"}");
    kit_add(server, "n", "\"all\"", NULL);
    kit_set_answer(standin, KIT_ADD_EVENT, 200, "{\"id\":\"ours2\"}");
    kit_add(server, "n", "\"added\"", NULL);
    assert_string_equal(kit_ids(server, KIT_GET_USERS), "table all added up");
    const struct kit_entries *users = kit_entries(server, KIT_GET_USERS);
    assert_string_equal(member_of(users, "all", "userName"), "\"Table\"");
    assert_string_equal(member_of(users, "all", "email"), "\"up@x\"");
    assert_string_equal(member_of(users, "all", "plan"), "\"pro\"");
    assert_string_equal(member_of(users, "all", "events"), "[\"1\",\"ours\"]");
    assert_string_equal(member_of(users, "up", "userName"), "\"U\"");
    assert_string_equal(member_of(users, "up", "events"), "[]");
    assert_string_equal(member_of(users, "added", "userName"), "null");
    kit_note(*state, "without the table");
    kit_put_table(server, "{}");
    users = kit_entries(server, KIT_GET_USERS);
    assert_string_equal(kit_ids(server, KIT_GET_USERS), "added all up");
    assert_string_equal(member_of(users, "all", "userName"), "\"Upstream\"");
}

/* ---- what changes ---- */

static void changed_entries_change_and_vanished_ones_stay(void **state)
{
    struct standin *standin = kit_standin(*state);
    set_lists(
        standin, "[{\"id\":\"a\",\"userName\":\"A\"},{\"id\":\"b\",\"userName\":\"B\"}]",
        "[" EVENT("1", "one", "\"a\"") "," EVENT("2", "two", "\"a\"") "," EVENT("3", "three", "\"b\"") "]");
    struct kit_server *server = serve(*state, standin);
    assert_string_equal(kit_ids(server, KIT_GET_EVENTS), "1 2 3");
    /* Number 1 is renamed, 2 goes to another user, 3 vanishes, 4 is new. */
    set_lists(standin, "[{\"id\":\"a\",\"userName\":\"A2\",\"email\":\"a@x\"},{\"id\":\"c\"}]",
              "[" EVENT("\"1\"", "uno", "\"a\"") "," EVENT("2", "two", "\"c\"") "," EVENT("4", "four",
                                                                                          "\"a\"") "]");
    kit_wait_until_list(server, KIT_GET_EVENTS,
                        "[" SHOWN("1", "uno", "a") "," SHOWN("2", "two", "c") "," SHOWN(
                            "3", "three", "b") "," SHOWN("4", "four", "a") "]");
    kit_wait_for_refresh(server);
    assert_string_equal(kit_ids(server, KIT_EVENTS_OF "a"), "1 4");
    assert_string_equal(kit_ids(server, KIT_EVENTS_OF "b"), "3");
    assert_string_equal(kit_ids(server, KIT_EVENTS_OF "c"), "2");
    const struct kit_entries *users = kit_entries(server, KIT_GET_USERS);
    assert_string_equal(kit_ids(server, KIT_GET_USERS), "a b c");
    assert_string_equal(member_of(users, "a", "userName"), "\"A2\"");
    assert_string_equal(member_of(users, "a", "email"), "\"a@x\"");
    assert_string_equal(member_of(users, "b", "userName"), "\"B\"");
    kit_note(*state, "everything vanishes");
    set_lists(standin, "[]", "[]");
    kit_wait_for_refresh(server);
    assert_string_equal(kit_ids(server, KIT_GET_EVENTS), "1 2 3 4");
    assert_string_equal(kit_ids(server, KIT_GET_USERS), "a b c");
}

/* What was added through this server comes back in the upstream's list: it is the same event. */
static void own_events_come_once(void **state)
{
    struct kit *kit = *state;
    struct standin *standin = kit_standin(kit);
    struct kit_server *server = serve(kit, standin);
    const char *first = kit_add(server, "first", "\"u\"", "1");
    kit_set_answer(standin, KIT_ADD_EVENT, 200, "{\"id\":900}");
    kit_add(server, "second", "\"u\"", NULL);
    const char *list = kit_format(kit,
                                  "[{\"id\":\"%s\",\"name\":\"first\",\"userId\":\"u\",\"details\":2},"
                                  "{\"id\":900,\"name\":\"second\",\"userId\":\"u\"},"
                                  "{\"id\":901,\"name\":\"third\",\"userId\":\"u\"}]",
                                  first);
    set_lists(standin, "[]", list);
    kit_wait_until_list(
        server, KIT_EVENTS_OF "u",
        kit_format(kit,
                   "[{\"id\":\"%s\",\"name\":\"first\",\"userId\":\"u\",\"details\":2}," SHOWN(
                       "900", "second", "u") "," SHOWN("901", "third", "u") "]",
                   first));
}

/* The refresh sees an event before the upstream has answered its addEvent. */
static void a_refresh_may_overtake_the_answer(void **state)
{
    struct kit *kit = *state;
    struct standin *standin = kit_standin(kit);
    struct kit_server *server = serve(kit, standin);
    kit_set_kind(standin, KIT_ADD_EVENT, STANDIN_HOLD);
    struct kit_connection *waiting = kit_add_later(server, "{\"name\":\"n\",\"userId\":\"u\"}");
    kit_await_calls(kit, standin, KIT_ADD_EVENT, 1);
    struct kit_slice id, body = {kit_call_body(kit, standin, KIT_ADD_EVENT, 0), 0};
    body.length = strlen(body.text);
    assert_int_equal(kit_member(body, "id", &id), 1);
    const char *event = kit_format(kit, "[{\"id\":%s,\"name\":\"n\",\"userId\":\"u\",\"details\":null}]",
                                   kit_slice_text(kit, id));
    kit_set_answer(standin, KIT_GET_EVENTS, 200, event);
    kit_wait_until_list(server, KIT_GET_EVENTS, event);
    standin_release(standin);
    const char *told = kit_added_id(kit_receive(waiting));
    assert_true(kit_slice_is(id, kit_format(kit, "\"%s\"", told)));
    kit_assert_list(server, KIT_GET_EVENTS, event);
    kit_assert_list(server, KIT_EVENTS_OF "u", event);
    assert_string_equal(kit_ids(server, KIT_GET_USERS), "u");
}

/* ---- what is of no use ---- */

static void unusable_entries_are_skipped(void **state)
{
    struct standin *standin = kit_standin(*state);
    set_lists(
        standin,
        "[null,1,\"x\",[],{},{\"id\":null},{\"id\":\"\"},{\"id\":1.5},{\"id\":true},{\"id\":[\"a\"]},"
        "{\"id\":\"a\\u0000\"},{\"userName\":\"nobody\"},{\"id\":\"good\",\"userName\":\"G\"},{\"id\":{}}]",
        "[null,1,\"x\",[],[[]],{}," EVENT("null", "n", "1") "," EVENT("\"\"", "n", "1") "," EVENT(
            "true", "n",
            "1") "," EVENT("1.5", "n",
                           "1") "," EVENT("10", "n",
                                          "null") "," EVENT("11", "n",
                                                            "[]") ","
                                                                  "{\"id\":12,\"userId\":1},{\"id\":13,"
                                                                  "\"name\":\"n\"},{\"id\":14,\"name\":5,"
                                                                  "\"userId\":1},"
                                                                  "{\"id\":15,\"name\":null,\"userId\":1},{"
                                                                  "\"name\":\"n\",\"userId\":1}," EVENT(
                                                                      "\"good\"", "n",
                                                                      "\"v\"") "," EVENT("16", "n",
                                                                                         "1.5") "]");
    struct kit_server *server = kit_serve_upstream(*state, standin);
    kit_assert_list(server, KIT_GET_EVENTS, "[" SHOWN("good", "n", "v") "]");
    assert_string_equal(kit_ids(server, KIT_GET_USERS), "good v");
    assert_string_equal(kit_breaker(server), "closed");
}

static void useless_lists_change_nothing(void **state)
{
    static const struct standin_behaviour rows[] = {
        {.status = 500, .body = "[{\"id\":\"bad\",\"name\":\"n\",\"userId\":1}]"},
        {.status = 404, .body = "[{\"id\":\"bad\",\"name\":\"n\",\"userId\":1}]"},
        {.kind = STANDIN_GARBAGE},
        {.kind = STANDIN_DROP},
        {.kind = STANDIN_DROP_HALF,
         .body =
             "[{\"id\":\"bad\",\"name\":\"n\",\"userId\":1},{\"id\":\"bad2\",\"name\":\"n\",\"userId\":1}]"},
        {.kind = STANDIN_REDIRECT, .status = 302, .body = "/elsewhere"},
        {.body = ""},
        {.body = "no JSON"},
        {.body = "{}"},
        {.body = "null"},
        {.body = "{\"id\":\"bad\",\"name\":\"n\",\"userId\":1}"},
        {.body = "[{\"id\":\"bad\",\"name\":\"n\",\"userId\":1}"},
        {.body = "[{\"id\":\"bad\",\"name\":\"n\",\"userId\":1}] x"},
        {.body = "[{\"id\":\"bad\",\"name\":\"n\",\"userId\":\"\xff\"}]"},
    };
    struct kit *kit = *state;
    struct standin *standin = kit_standin(kit);
    set_lists(standin, "[{\"id\":\"u\",\"userName\":\"U\"}]", "[" EVENT("1", "n", "\"u\"") "]");
    struct kit_server *server = kit_serve_upstream(kit, standin);
    const char *events = kit_get_path(server, KIT_GET_EVENTS)->body;
    const char *users = kit_get_path(server, KIT_GET_USERS)->body;
    kit_set_answer(standin, "/elsewhere", 200, "[{\"id\":\"bad\",\"name\":\"n\",\"userId\":1}]");
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        kit_note(kit, "row %zu, status %u, %s", i, rows[i].status, rows[i].body);
        kit_stop(server);
        standin_set(standin, KIT_GET_USERS, &rows[i]);
        standin_set(standin, KIT_GET_EVENTS, &rows[i]);
        server = kit_serve_events(kit, "--upstream", standin_url(standin));
        kit_wait_at_least(server, "upstream.failed_refreshes", 1);
        kit_assert_list(server, KIT_GET_EVENTS, events);
        kit_assert_list(server, KIT_GET_USERS, users);
    }
    assert_int_equal(standin_count(standin, "/elsewhere"), 0);
}

/* ---- size and time ---- */

static char *huge_list(struct kit *kit, const char *form)
{
    char *list = kit_allocate(kit, (size_t)HUGE * 128), *end = stpcpy(list, "[");
    for (int i = 0; i < HUGE; i++) {
        end = stpcpy(end, i == 0 ? "" : ",");
        for (const char *next = form; *next != '\0'; next++) /* every # is the number */
            end += *next == '#' ? sprintf(end, "%05d", i) : sprintf(end, "%c", *next);
    }
    memcpy(end, "]", 2);
    return list;
}

/* Whoever adds while long lists are merged need not wait for their end. How many were added. */
static size_t add_until_refreshed(struct kit_server *server)
{
    size_t added = 0;
    int64_t longest_ms = 0, deadline_at_ms = kit_deadline_at_ms(HUGE_MS);
    while (kit_health(server, "upstream.refreshes") == 0 && kit_now_ms() < deadline_at_ms) {
        int64_t started_at_ms = kit_now_ms();
        kit_add(server, "meanwhile", "\"u00000\"", NULL);
        added++;
        if (kit_now_ms() - started_at_ms > longest_ms)
            longest_ms = kit_now_ms() - started_at_ms;
    }
    assert_in_range(longest_ms, 0, (int64_t)(ADD_MS * kit_time_scale()));
    return added;
}

static void huge_lists_arrive(void **state)
{
    struct kit *kit = *state;
    struct standin *standin = kit_standin(kit);
    set_lists(standin, huge_list(kit, "{\"id\":\"u#\",\"userName\":\"User #\",\"email\":\"#@x.example\"}"),
              huge_list(kit, "{\"id\":\"e#\",\"name\":\"event #\",\"userId\":\"u#\",\"details\":[\"#\"]}"));
    struct kit_server *server = kit_serve_events(kit, "--upstream", standin_url(standin));
    size_t added = add_until_refreshed(server);
    const struct kit_entries *events = kit_entries(server, KIT_GET_EVENTS);
    const struct kit_entries *users = kit_entries(server, KIT_GET_USERS);
    assert_int_equal(events->count, HUGE + added);
    assert_int_equal(users->count, HUGE);
    int next = 0;
    for (size_t i = 0; i < events->count; i++) /* those that were added stand between them */
        next += kit_slice_is(events->items[i].id, kit_format(kit, "e%05d", next));
    assert_int_equal(next, HUGE);
    for (int i = 0; i < HUGE; i++)
        assert_true(kit_slice_is(users->items[i].id, kit_format(kit, "u%05d", i)));
    kit_assert_list(
        server, KIT_EVENTS_OF "u12345",
        "[{\"id\":\"e12345\",\"name\":\"event 12345\",\"userId\":\"u12345\",\"details\":[\"12345\"]}]");
    assert_string_equal(member_of(users, "u19999", "events"), "[\"e19999\"]");
    assert_string_equal(kit_breaker(server), "closed");
}

static void nobody_waits_for_a_refresh_that_hangs(void **state)
{
    static const char *const lists[] = {KIT_GET_USERS, KIT_GET_EVENTS, KIT_EVENTS_OF "u"};
    struct kit *kit = *state;
    struct standin *standin = kit_standin(kit);
    set_lists(standin, "[]", "[" EVENT("1", "n", "\"u\"") "]");
    struct kit_server *server = kit_serve_upstream(kit, standin);
    kit_stop(server);
    kit_set_kind(standin, KIT_GET_USERS, STANDIN_HANG);
    kit_set_kind(standin, KIT_GET_EVENTS, STANDIN_HANG);
    uint64_t calls = standin_count(standin, NULL);
    server = kit_serve_events(kit, "--upstream", standin_url(standin), "--upstream-timeout", "30");
    kit_await_calls(kit, standin, NULL, calls + 1);
    for (size_t i = 0; i < KIT_COUNT(lists); i++) {
        int64_t started_at_ms = kit_now_ms();
        assert_int_equal(kit_entries(server, lists[i])->count, 1);
        assert_in_range(kit_now_ms() - started_at_ms, 0, (int64_t)(PROMPT_MS * kit_time_scale()));
    }
    kit_add(server, "n", "\"v\"", NULL);
    kit_assert_status(kit_get_path(server, "/health"), 200);
}

static void reads_make_no_calls(void **state)
{
    struct standin *standin = kit_standin(*state);
    struct kit_server *server = kit_serve_upstream(*state, standin);
    uint64_t calls = standin_count(standin, NULL);
    for (int i = 0; i < 5; i++) {
        kit_assert_list(server, KIT_GET_EVENTS, "[]");
        kit_assert_list(server, KIT_GET_USERS, "[]");
        kit_assert_error(kit_get_path(server, KIT_EVENTS_OF "u"), 404, ".");
    }
    assert_int_equal(standin_count(standin, NULL), calls);
}

/* ---- an upstream that comes and goes ---- */

static void an_upstream_that_is_down_at_the_start_is_fetched_later(void **state)
{
    struct kit *kit = *state;
    struct standin *standin = kit_standin(kit);
    set_lists(standin, "[{\"id\":\"u\"}]", "[" EVENT("1", "n", "\"u\"") "]");
    assert_int_equal(standin_vanish(standin), 0);
    struct kit_server *server =
        kit_serve_events(kit, "--upstream", standin_url(standin), "--upstream-refresh", "0.3");
    kit_assert_list(server, KIT_GET_EVENTS, "[]");
    kit_push(server, "k", "1");
    kit_wait_at_least(server, "upstream.failed_refreshes", 2);
    if (kit_matching_lines(kit, kit_log(server), "^[^ ]+ warn .*refresh") != 1)
        kit_fail(kit, "not one warning for two failed refreshes");
    assert_int_equal(standin_return(standin), 0);
    kit_wait_until_list(server, KIT_GET_EVENTS, "[" SHOWN("1", "n", "u") "]");
    assert_string_equal(kit_ids(server, KIT_GET_USERS), "u");
    kit_add(server, "n", "\"u\"", NULL);
}

/* What has come stays: without the upstream too, and ids of our own do not collide with it then. */
static void what_has_come_stays_without_the_upstream(void **state)
{
    struct kit *kit = *state;
    struct standin *standin = kit_standin(kit);
    set_lists(standin, "[{\"id\":\"u\",\"userName\":\"U\"}]",
              "[" EVENT("1", "n", "\"u\"") "," EVENT("2", "n", "\"u\"") "," EVENT("3", "n", "\"v\"") "]");
    struct kit_server *server = kit_serve_upstream(kit, standin);
    const char *events = kit_get_path(server, KIT_GET_EVENTS)->body;
    const char *users = kit_get_path(server, KIT_GET_USERS)->body;
    kit_stop(server);
    server = kit_serve_events(kit);
    kit_assert_list(server, KIT_GET_EVENTS, events);
    kit_assert_list(server, KIT_GET_USERS, users);
    for (int i = 0; i < 5; i++)
        kit_add(server, "ours", "\"w\"", NULL);
    assert_int_equal(kit_entries(server, KIT_GET_EVENTS)->count, 8);
    assert_int_equal(kit_entries(server, KIT_EVENTS_OF "w")->count, 5);
    assert_string_equal(kit_ids(server, KIT_EVENTS_OF "u"), "1 2");
    assert_string_equal(kit_ids(server, KIT_EVENTS_OF "v"), "3");
}

static void two_servers_share_what_comes(void **state)
{
    struct kit *kit = *state;
    struct standin *standin = kit_standin(kit);
    set_lists(standin, "[{\"id\":\"u\"}]", huge_list(kit, "{\"id\":\"e#\",\"name\":\"n\",\"userId\":\"u\"}"));
    struct kit_server *servers[2];
    for (int i = 0; i < 2; i++)
        servers[i] = kit_serve_events(kit, "--upstream", standin_url(standin));
    for (int i = 0; i < 2; i++)
        kit_wait_at_least(servers[i], "upstream.refreshes", 1);
    kit_add(servers[0], "n", "\"u\"", NULL);
    kit_add(servers[1], "n", "\"v\"", NULL);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(kit_entries(servers[i], KIT_GET_EVENTS)->count, HUGE + 2);
        assert_string_equal(kit_ids(servers[i], KIT_GET_USERS), "u v");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_upstream_engines(users_and_events_appear),
        kit_test_upstream(an_event_makes_its_user_known),
        kit_test_upstream_engines(three_sources_make_one_user),
        kit_test_upstream_engines(changed_entries_change_and_vanished_ones_stay),
        kit_test_upstream(own_events_come_once),
        kit_test_upstream_engines(a_refresh_may_overtake_the_answer),
        kit_test_upstream_engines(unusable_entries_are_skipped),
        kit_test_upstream(useless_lists_change_nothing),
        kit_test_upstream_engines(huge_lists_arrive),
        kit_test_upstream(nobody_waits_for_a_refresh_that_hangs),
        kit_test_upstream(reads_make_no_calls),
        kit_test_upstream(an_upstream_that_is_down_at_the_start_is_fetched_later),
        kit_test_upstream_engines(what_has_come_stays_without_the_upstream),
        kit_test_upstream_postgresql(two_servers_share_what_comes),
    };
    return kit_run_event_tests(tests);
}
