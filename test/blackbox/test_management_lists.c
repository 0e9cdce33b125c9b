/* The three lists: their form, whom they know, ids in the path, and where the users come from. */
#include <stdio.h>
#include <string.h>

#include "kit_http.h"
#include "kit_management.h"

#define TOKEN         "secret-T"
#define AUTHORIZATION "Authorization: Bearer " TOKEN "\r\n"
#define CONTENT_TYPE  "Content-Type: application/json\r\n"

static const char *const lists[] = {KIT_GET_USERS, KIT_GET_EVENTS, KIT_EVENTS_OF "u"};

/* ---- form ---- */

static void empty_lists_are_arrays(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_assert_list(server, KIT_GET_USERS, "[]");
    kit_assert_list(server, KIT_GET_EVENTS, "[]");
    kit_assert_error(kit_get_path(server, KIT_EVENTS_OF "u"), 404, ".");
}

static void a_known_user_without_events_has_none(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_put_table(server, "{\"known\":{}}");
    kit_assert_list(server, KIT_EVENTS_OF "known", "[]");
    kit_assert_error(kit_get_path(server, KIT_EVENTS_OF "unknown"), 404, ".");
    kit_assert_error(kit_get_path(server, KIT_EVENTS_OF "Known"), 404, ".");
    kit_assert_error(kit_get_path(server, KIT_EVENTS_OF "know"), 404, ".");
    kit_assert_list(server, KIT_GET_EVENTS, "[]");
    kit_assert_list(server, KIT_EVENTS_OF "known?limit=5", "[]");
}

static void head_is_answered_without_a_body(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_add(server, "n", "\"u\"", NULL);
    for (size_t i = 0; i < KIT_COUNT(lists); i++) {
        struct kit_connection *connection = kit_connect(server);
        kit_note(*state, "%s", lists[i]);
        kit_send_request(connection, "HEAD", lists[i], "Connection: close\r\n", NULL, 0);
        const struct kit_response *response = kit_receive_head(connection);
        kit_assert_status(response, 200);
        kit_assert_header(response, "Content-Type", "application/json");
        kit_expect_end(connection);
    }
    kit_assert_status(kit_request(server, "HEAD", KIT_EVENTS_OF "nobody", NULL, NULL, 0), 404);
    kit_assert_status(kit_request(server, "HEAD", KIT_EVENTS_OF, NULL, NULL, 0), 404);
}

static void other_methods_are_refused(void **state)
{
    static const char *const methods[] = {"POST", "PUT", "DELETE", "PATCH", "OPTIONS"};
    struct kit_server *server = kit_serve_events(*state);
    kit_add(server, "n", "\"u\"", NULL);
    for (size_t i = 0; i < KIT_COUNT(lists) * KIT_COUNT(methods); i++) {
        const char *target = lists[i % KIT_COUNT(lists)], *method = methods[i / KIT_COUNT(lists)];
        kit_note(*state, "%s %s", method, target);
        const struct kit_response *response = kit_request(server, method, target, NULL, NULL, 0);
        kit_assert_error(response, 405, ".");
        kit_assert_header_matches(response, *state, "Allow", "^(GET, ?HEAD|HEAD, ?GET)$");
    }
}

/* A short list leaves a connection that goes on, or says that it does not. */
static void answers_do_not_run_into_each_other(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_add(server, "n", "\"u\"", NULL);
    for (size_t i = 0; i < KIT_COUNT(lists); i++) {
        struct kit_connection *connection = kit_connect(server);
        kit_note(*state, "%s", lists[i]);
        kit_send_request(connection, "GET", lists[i], NULL, NULL, 0);
        const struct kit_response *response = kit_receive(connection);
        assert_int_equal(kit_parse_entries(response, __FILE__, __LINE__)->count, 1);
        const char *fate = kit_header(response, "Connection");
        if (response->until_end)
            kit_fail(*state, "HTTP/1.1 got a body without a frame: %s", response->head);
        if (fate != NULL && strcmp(fate, "close") == 0) {
            kit_expect_end(connection);
        } else {
            kit_send_request(connection, "GET", "/healthz", NULL, NULL, 0);
            kit_assert_status(kit_receive(connection), 200);
        }
    }
}

/* ---- ids in the path ---- */

static void escapes_in_the_path_are_decoded(void **state)
{
    static const struct {
        const char *user, *path;
    } rows[] = {
        {"a/b", "a%2Fb"},       {"a/b/", "a%2fb%2F"},
        {"a+b", "a+b"},         {"a b", "a%20b"},
        {"+", "%2B"},           {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "%C3%A4%E2%82%AC%F0%9F%98%80"},
        {"a?b", "a%3Fb"},       {"a#b", "a%23b"},
        {"a%2Fb", "a%252Fb"},   {"..", "%2E%2E"},
        {"plain", "%70lain"},   {"a&limit=0", "a&limit=0"},
        {"a=b;c,d", "a=b;c,d"}, {"\\\"", "%22"},
    };
    struct kit_server *server = kit_serve_events(*state);
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        kit_note(*state, "user %s as %s", rows[i].user, rows[i].path);
        const char *id = kit_add(server, "n", kit_format(*state, "\"%s\"", rows[i].user), NULL);
        assert_string_equal(kit_ids(server, kit_format(*state, KIT_EVENTS_OF "%s", rows[i].path)), id);
    }
    kit_note(*state, "what must not be decoded twice, or as a query");
    kit_assert_error(kit_get_path(server, KIT_EVENTS_OF "a%2Bb%20"), 404, ".");
    kit_assert_error(kit_get_path(server, KIT_EVENTS_OF "a%2520b"), 404, ".");
}

static void bad_ids_in_the_path_are_refused(void **state)
{
    struct kit *kit = *state;
    const char *const paths[] = {"%",
                                 "a%",
                                 "a%2",
                                 "%zz",
                                 "%2x",
                                 "a%g0b",
                                 "%00",
                                 "a%00",
                                 "%0A",
                                 "a%1fb",
                                 "%7F",
                                 "%FF",
                                 "%C3",
                                 "%C0%AF",
                                 "%20%",
                                 "%u20",
                                 "%ED%A0%80",
                                 kit_repeat(kit, "u", 256),
                                 kit_repeat(kit, "%75", 256),
                                 kit_repeat(kit, "%C3%A4", 128)};
    struct kit_server *server = kit_serve_events(kit);
    for (size_t i = 0; i < KIT_COUNT(paths); i++) {
        kit_note(kit, "/getEventsByUserId/%s", paths[i]);
        kit_assert_error(kit_get_path(server, kit_format(kit, KIT_EVENTS_OF "%s", paths[i])), 400, ".");
    }
    kit_note(kit, "the longest that is right");
    kit_assert_error(kit_get_path(server, kit_format(kit, KIT_EVENTS_OF "%s", kit_repeat(kit, "%75", 255))),
                     404, ".");
}

static void other_paths_are_unknown(void **state)
{
    static const char *const paths[] = {"/getEventsByUserId",
                                        "/getEventsByUserId/",
                                        "/getEventsByUserId/u/",
                                        "/getEventsByUserId/u/v",
                                        "/getEventsByUserId//u",
                                        "/getEventsByUserId/u//",
                                        "/getEventsByUserId//",
                                        "/getUsers/",
                                        "/getUsers/u",
                                        "/getEvents/",
                                        "/getEvents/1",
                                        "/addEvent/",
                                        "/getEventsByUser/u",
                                        "/getEventsByUserIdX/u",
                                        "/GetUsers",
                                        "/getusers",
                                        "/getEventsByUserId/?x",
                                        "/getEventsByUserId/u/?x",
                                        "/getEventsByUserId?id=u"};
    struct kit_server *server = kit_serve_events(*state);
    kit_add(server, "n", "\"u\"", NULL);
    for (size_t i = 0; i < KIT_COUNT(paths); i++) {
        kit_note(*state, "%s", paths[i]);
        kit_assert_error(kit_get_path(server, paths[i]), 404, ".");
    }
}

/* ---- where users come from ---- */

static void attributes_of_the_table_are_shown(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_put_table(
        server, "{\"b\":{\"plan\":\"pro\",\"region\":\"eu\",\"userName\":\"Bea\",\"email\":\"b@x.example\"},"
                "\"a\":{\"userName\":\"Z\xc3\xb6"
                "e\",\"age\":1e400,\"tags\":[1,{\"t\":null}]},\"c\":{}}");
    const struct kit_entries *users = kit_entries(server, KIT_GET_USERS);
    static const struct {
        const char *id, *name, *value;
    } wanted[] = {
        {"b", "userName", "\"Bea\""},
        {"b", "email", "\"b@x.example\""},
        {"b", "plan", "\"pro\""},
        {"b", "region", "\"eu\""},
        {"b", "events", "[]"},
        {"a", "userName",
         "\"Z\xc3\xb6"
         "e\""},
        {"a", "email", "null"},
        {"a", "age", "1e400"},
        {"a", "tags", "[1,{\"t\":null}]"},
        {"c", "userName", "null"},
        {"c", "email", "null"},
        {"c", "events", "[]"},
    };
    assert_string_equal(kit_ids(server, KIT_GET_USERS), "b a c"); /* in the order of the table */
    for (size_t i = 0; i < KIT_COUNT(wanted); i++) {
        size_t place = strcspn("bac", wanted[i].id);
        struct kit_slice value;
        kit_note(*state, "%s of user %s in %s", wanted[i].name, wanted[i].id, users->response->body);
        assert_int_equal(kit_member(users->items[place].json, wanted[i].name, &value), 1);
        assert_true(kit_slice_is(value, wanted[i].value));
    }
}

/* Whatever a table calls an attribute, a user has one id and one list of events. */
static void attributes_hide_nothing(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_put_table(server, "{\"u\":{\"id\":\"another\",\"events\":[\"99\"],\"userName\":\"U\"}}");
    kit_add(server, "n", "\"u\"", NULL);
    const struct kit_entries *users = kit_entries(server, KIT_GET_USERS);
    struct kit_slice value;
    assert_int_equal(users->count, 1);
    kit_note(*state, "%s", users->response->body);
    assert_int_equal(kit_member(users->items[0].json, "id", &value), 1);
    assert_true(kit_slice_is(value, "\"u\""));
    assert_int_equal(kit_member(users->items[0].json, "events", &value), 1);
    assert_true(kit_slice_is(value, "[\"1\"]"));
    assert_int_equal(kit_member(users->items[0].json, "userName", &value), 1);
}

static void users_of_table_and_events_come_once(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_add(server, "n", "\"both\"", NULL);
    kit_add(server, "n", "\"z-added\"", NULL);
    kit_put_table(server, "{\"y\":{\"userName\":\"Y\"},\"both\":{\"userName\":\"B\"},\"7\":{}}");
    kit_add(server, "n", "\"a-added\"", NULL);
    kit_add(server, "n", "7", NULL);
    kit_add(server, "n", "\"both\"", NULL);
    kit_assert_list(server, KIT_GET_USERS,
                    "[{\"id\":\"y\",\"userName\":\"Y\",\"email\":null,\"events\":[]},"
                    "{\"id\":\"both\",\"userName\":\"B\",\"email\":null,\"events\":[\"1\",\"5\"]},"
                    "{\"id\":\"7\",\"userName\":null,\"email\":null,\"events\":[\"4\"]},"
                    "{\"id\":\"a-added\",\"userName\":null,\"email\":null,\"events\":[\"3\"]},"
                    "{\"id\":\"z-added\",\"userName\":null,\"email\":null,\"events\":[\"2\"]}]");
}

static void users_with_events_outlive_a_table(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    kit_put_table(server, "{\"a\":{\"userName\":\"A\",\"email\":\"a@x\"},\"b\":{\"userName\":\"B\"}}");
    kit_add(server, "n", "\"a\"", NULL);
    kit_put_table(server, "{\"c\":{\"userName\":\"C\"}}");
    static const char swapped[] = "[{\"id\":\"c\",\"userName\":\"C\",\"email\":null,\"events\":[]},"
                                  "{\"id\":\"a\",\"userName\":null,\"email\":null,\"events\":[\"1\"]}]";
    kit_assert_list(server, KIT_GET_USERS, swapped);
    assert_string_equal(kit_ids(server, KIT_EVENTS_OF "a"), "1");
    kit_assert_error(kit_get_path(server, KIT_EVENTS_OF "b"), 404, ".");
    kit_assert_list(server, KIT_EVENTS_OF "c", "[]");
    kit_stop(server);
    server = kit_serve_events(kit);
    kit_assert_list(server, KIT_GET_USERS, swapped);
    kit_put_table(server, "{}");
    assert_string_equal(kit_ids(server, KIT_GET_USERS), "a");
    kit_assert_error(kit_get_path(server, KIT_EVENTS_OF "c"), 404, ".");
}

/* Names of tables may be all kinds of text, also what looks like JSON or SQL. */
static void ids_of_the_table_may_be_any_text(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_put_table(server, "{\"it's \\\"a\\\" \\\\ % _ user\":{},\"\xf0\x9f\x98\x80\":{},\"1\":{}}");
    kit_add(server, "n", "\"it's \\\"a\\\" \\\\ % _ user\"", NULL);
    kit_add(server, "n", "\"\\ud83d\\ude00\"", NULL);
    kit_add(server, "n", "1", NULL);
    assert_int_equal(kit_entries(server, KIT_GET_USERS)->count, 3);
    assert_string_equal(kit_ids(server, KIT_EVENTS_OF "it's%20%22a%22%20%5C%20%25%20_%20user"), "1");
    assert_string_equal(kit_ids(server, KIT_EVENTS_OF "%F0%9F%98%80"), "2");
    assert_string_equal(kit_ids(server, KIT_EVENTS_OF "1"), "3");
}

/* ---- who may ask ---- */

static void the_token_applies(void **state)
{
    struct kit_server *server = kit_serve_events(*state, "--token", TOKEN);
    static const char body[] = "{\"name\":\"n\",\"userId\":\"u\"}";
    const struct kit_response *response = kit_post_json(server, KIT_ADD_EVENT, body);
    kit_assert_error(response, 401, ".");
    kit_assert_header(response, "WWW-Authenticate", "Bearer");
    for (size_t i = 0; i < KIT_COUNT(lists); i++) {
        kit_note(*state, "%s", lists[i]);
        kit_assert_error(kit_get_path(server, lists[i]), 401, ".");
        kit_assert_error(kit_get_path(server, kit_format(*state, "%s?access_token=" TOKEN, lists[i])), 401,
                         ".");
    }
    kit_assert_error(kit_get_path(server, KIT_EVENTS_OF "%"), 401, ".");
    response = kit_request(server, "POST", KIT_ADD_EVENT, AUTHORIZATION CONTENT_TYPE, body, strlen(body));
    assert_string_equal(kit_added_id(response), "1");
    for (size_t i = 0; i < KIT_COUNT(lists); i++) {
        response = kit_request(server, "GET", lists[i], AUTHORIZATION, NULL, 0);
        assert_int_equal(kit_parse_entries(response, __FILE__, __LINE__)->count, 1);
    }
}

static void foreign_pages_are_refused(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    static const char body[] = "{\"name\":\"n\",\"userId\":\"u\"}";
    kit_assert_error(
        kit_request(server, "POST", KIT_ADD_EVENT, "Origin: https://evil.example\r\n", body, strlen(body)),
        403, ".");
    kit_assert_error(kit_request(server, "GET", KIT_GET_USERS, "Sec-Fetch-Site: cross-site\r\n", NULL, 0),
                     403, ".");
    kit_assert_list(server, KIT_GET_EVENTS, "[]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_engines(empty_lists_are_arrays),
        kit_test_engines(a_known_user_without_events_has_none),
        kit_test_sqlite(head_is_answered_without_a_body),
        kit_test_sqlite(other_methods_are_refused),
        kit_test_sqlite(answers_do_not_run_into_each_other),
        kit_test_engines(escapes_in_the_path_are_decoded),
        kit_test_sqlite(bad_ids_in_the_path_are_refused),
        kit_test_sqlite(other_paths_are_unknown),
        kit_test_engines(attributes_of_the_table_are_shown),
        kit_test_engines(attributes_hide_nothing),
        kit_test_engines(users_of_table_and_events_come_once),
        kit_test_engines(users_with_events_outlive_a_table),
        kit_test_engines(ids_of_the_table_may_be_any_text),
        kit_test_sqlite(the_token_applies),
        kit_test_sqlite(foreign_pages_are_refused),
    };
    return kit_run_event_tests(tests);
}
