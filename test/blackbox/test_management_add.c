/* POST /addEvent without an upstream: what is taken and how it is kept, what is refused and that it changes nothing. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit_http.h"
#include "kit_management.h"

/* ---- what is taken ---- */

static void ids_are_numbers_as_text_in_the_order_added(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    for (int i = 1; i <= 12; i++) {
        const char *id = kit_add(server, "hello", i % 2 == 0 ? "\"b\"" : "\"a\"", NULL);
        assert_string_equal(id, kit_format(*state, "%d", i));
    }
    assert_string_equal(kit_ids(server, KIT_GET_EVENTS), "1 2 3 4 5 6 7 8 9 10 11 12");
    assert_string_equal(kit_ids(server, KIT_EVENTS_OF "a"), "1 3 5 7 9 11");
    assert_string_equal(kit_ids(server, KIT_EVENTS_OF "b"), "2 4 6 8 10 12");
}

/* The session of the README. */
static void an_event_is_shown_as_documented(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_put_table(server, "{\"u-1\":{\"plan\":\"pro\",\"region\":\"eu\"}}");
    kit_assert_body(kit_post_json(server, KIT_ADD_EVENT,
                                  "{\"name\":\"kick-off\",\"userId\":\"u-1\",\"details\":\"room 5\"}"),
                    "{\"success\":true,\"id\":\"1\"}");
    static const char event[] =
        "[{\"id\":\"1\",\"name\":\"kick-off\",\"userId\":\"u-1\",\"details\":\"room 5\"}]";
    kit_assert_list(server, KIT_EVENTS_OF "u-1", event);
    kit_assert_list(server, KIT_GET_EVENTS, event);
    kit_assert_list(server, KIT_GET_USERS,
                    "[{\"id\":\"u-1\",\"userName\":null,\"email\":null,\"plan\":\"pro\",\"region\":\"eu\","
                    "\"events\":[\"1\"]}]");
}

static void one_and_the_text_one_are_one_user(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_add(server, "number", "1", NULL);
    kit_add(server, "text", "\"1\"", NULL);
    kit_add(server, "escaped", "\"\\u0031\"", NULL);
    kit_add(server, "another", "\"01\"", NULL);
    kit_assert_list(server, KIT_EVENTS_OF "1",
                    "[{\"id\":\"1\",\"name\":\"number\",\"userId\":\"1\",\"details\":null},"
                    "{\"id\":\"2\",\"name\":\"text\",\"userId\":\"1\",\"details\":null},"
                    "{\"id\":\"3\",\"name\":\"escaped\",\"userId\":\"1\",\"details\":null}]");
    assert_string_equal(kit_ids(server, KIT_EVENTS_OF "01"), "4");
    assert_string_equal(kit_ids(server, KIT_GET_USERS), "01 1");
}

/* An array nested `depth` deep. */
static const char *nested(struct kit *kit, size_t depth)
{
    return kit_format(kit, "%s%s", kit_repeat(kit, "[", depth), kit_repeat(kit, "]", depth));
}

static void details_of_any_kind_are_kept_exactly(void **state)
{
    struct kit *kit = *state;
    const char *const details[] = {"null",
                                   "true",
                                   "false",
                                   "0",
                                   "-0",
                                   "-0.0",
                                   "1e400",
                                   "-1E-400",
                                   "1.0",
                                   "1.50e+03",
                                   "123456789012345678901234567890",
                                   "3.14159265358979323846264338327950288",
                                   "\"\"",
                                   "\"text\"",
                                   "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"",
                                   "{}",
                                   "[]",
                                   "{\"a\":{\"b\":[1,2.50,\"c\",null,true]}}",
                                   "{\"z\":1,\"a\":2,\"z\":3}",
                                   "[[],[[]],{\"\":\"\"}]",
                                   "\"\\\"\\\\\"",
                                   "\"line\\nbreak\\ttab\"",
                                   "\"\\u0000\"",
                                   "\"\\ud800 alone\"",
                                   "{\"a\\u0000b\":\"\\u0000\"}",
                                   nested(kit, 900),
                                   kit_format(kit, "\"%s\"", kit_repeat(kit, "long ", 100000))};
    struct kit_server *server = kit_serve_events(kit);
    for (size_t i = 0; i < KIT_COUNT(details); i++) {
        kit_note(kit, "details %.100s", details[i]);
        const char *id = kit_add(server, "d", kit_format(kit, "%zu", i), details[i]);
        const struct kit_entries *entries = kit_entries(server, kit_format(kit, KIT_EVENTS_OF "%zu", i));
        assert_int_equal(entries->count, 1);
        kit_assert_body(entries->response,
                        kit_format(kit, "[{\"id\":\"%s\",\"name\":\"d\",\"userId\":\"%zu\",\"details\":%s}]",
                                   id, i, details[i]));
    }
    assert_int_equal(kit_entries(server, KIT_GET_EVENTS)->count, KIT_COUNT(details));
}

/* An escape may be written in another way, but says the same; white space between tokens may go. */
static void escapes_and_white_space_do_no_harm(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_added_id(kit_post_json(server, KIT_ADD_EVENT,
                               " {\r\n\t\"details\" : [ 1 , { \"a\" : 2.0 } ] ,\n \"userId\" : \"u\" , "
                               "\"name\" : \"a\\u0020\\ud83d\\ude00\\/b\" } \n"));
    const struct kit_entries *entries = kit_entries(server, KIT_EVENTS_OF "u");
    assert_int_equal(entries->count, 1);
    kit_assert_body_matches(
        entries->response,
        "^\\[\\{\"id\":\"1\",\"name\":\"a( |\\\\u0020)(\xf0\x9f\x98\x80|\\\\ud83d\\\\ude00)"
        "\\\\?/b\",\"userId\":\"u\",\"details\":\\[ ?1 ?, ?\\{ ?\"a\" ?: ?2\\.0 ?\\} ?"
        "\\]\\}\\]$");
}

static void names_and_users_may_be_any_text(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    const char *longest = kit_repeat(kit, "u", 255);
    kit_add(server,
            "Stra\xc3\x9f"
            "e \xf0\x9f\x8e\x89",
            "\"Zo\xc3\xab / 100% + #1?\"", NULL);
    kit_add(server, "quoted \\\"name\\\"", "\"back\\\\slash \\\"quoted\\\"\"", NULL);
    kit_add(server, "n", kit_format(kit, "\"%s\"", longest), NULL);
    kit_add(server, "n", "-5", NULL);
    kit_add(server, "n", "9007199254740993", NULL);
    kit_assert_list(server, KIT_EVENTS_OF "Zo%C3%AB%20%2F%20100%25%20+%20%231%3F",
                    "[{\"id\":\"1\",\"name\":\"Stra\xc3\x9f"
                    "e \xf0\x9f\x8e\x89\",\"userId\":\"Zo\xc3\xab / 100% "
                    "+ #1?\",\"details\":null}]");
    kit_assert_list(
        server, KIT_EVENTS_OF "back%5Cslash%20%22quoted%22",
        "[{\"id\":\"2\",\"name\":\"quoted \\\"name\\\"\",\"userId\":\"back\\\\slash \\\"quoted\\\"\","
        "\"details\":null}]");
    assert_string_equal(kit_ids(server, kit_format(kit, KIT_EVENTS_OF "%s", longest)), "3");
    assert_string_equal(kit_ids(server, KIT_EVENTS_OF "-5"), "4");
    assert_string_equal(kit_ids(server, KIT_EVENTS_OF "9007199254740993"), "5");
    assert_int_equal(kit_entries(server, KIT_GET_USERS)->count, 5);
}

/* Taken or refused, which the contract leaves open here, but on both databases without harm. */
static void odd_names_do_no_harm(void **state)
{
    static const char *const names[] = {"a\\u0000b",      "\\ud800",          "\\udc00\\ud800",
                                        "a\\nb\\u001f",   "\\u007f",          " ",
                                        "\\ufffe\\uffff", "%s%n{}[]'\\\";--", "\xe2\x80\xae"};
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    size_t taken = 0;
    for (size_t i = 0; i < KIT_COUNT(names); i++) {
        kit_note(kit, "name %s", names[i]);
        const char *body = kit_planned_body(kit, names[i], "1", NULL);
        const struct kit_response *response = kit_post_json(server, KIT_ADD_EVENT, body);
        kit_assert_status_among(response, kit, "200|400");
        taken += response->status == 200;
        if (response->status == 400)
            kit_assert_error(response, 400, "name");
        assert_int_equal(kit_entries(server, KIT_GET_EVENTS)->count, taken);
    }
    kit_add(server, kit_repeat(kit, "long", 200000), "2", NULL);
    assert_int_equal(kit_entries(server, KIT_EVENTS_OF "2")->count, 1);
}

static void other_members_are_ignored(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_assert_body(kit_post_json(server, KIT_ADD_EVENT,
                                  "{\"x\":{\"name\":1},\"name\":\"n\",\"success\":false,\"userId\":\"u\","
                                  "\"error\":[]}"),
                    "{\"success\":true,\"id\":\"1\"}");
    kit_assert_list(server, KIT_GET_EVENTS,
                    "[{\"id\":\"1\",\"name\":\"n\",\"userId\":\"u\",\"details\":null}]");
}

static void any_content_type_and_chunks_are_taken(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    static const char body[] = "{\"name\":\"n\",\"userId\":\"u\"}";
    kit_added_id(kit_request(server, "POST", KIT_ADD_EVENT, NULL, body, strlen(body)));
    kit_added_id(kit_request(server, "POST", KIT_ADD_EVENT,
                             "Content-Type: application/x-www-form-urlencoded\r\n", body, strlen(body)));
    struct kit_connection *connection = kit_connect(server);
    kit_send_text(connection,
                  "POST /addEvent HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "9\r\n{\"name\":\"\r\n10\r\nn\",\"userId\":\"u\"}\r\n0\r\n\r\n");
    assert_string_equal(kit_added_id(kit_receive(connection)), "3");
}

/* ---- what is refused ---- */

struct row {
    const char *body;
    size_t length;     /* 0: strlen(body) */
    const char *error; /* what the message must match; NULL: that fields are missing */
};

static const struct row missing[] = {
    {"{}", 0, NULL},
    {"{\"name\":\"n\"}", 0, NULL},
    {"{\"userId\":\"u\"}", 0, NULL},
    {"{\"details\":1}", 0, NULL},
    {"{\"name\":null,\"userId\":\"u\"}", 0, NULL},
    {"{\"name\":\"n\",\"userId\":null}", 0, NULL},
    {"{\"name\":\"\",\"userId\":\"u\"}", 0, NULL},
    {"{\"name\":\"n\",\"userId\":\"\"}", 0, NULL},
    {"{\"Name\":\"n\",\"userId\":\"u\"}", 0, NULL},
    {"{\"name\":\"n\",\"user_id\":\"u\"}", 0, NULL},
    {"{\"event\":{\"name\":\"n\",\"userId\":\"u\"}}", 0, NULL},
};

static const struct row unfit[] = {
    {"{\"name\":5,\"userId\":\"u\"}", 0, "name|Missing"},
    {"{\"name\":true,\"userId\":\"u\"}", 0, "name|Missing"},
    {"{\"name\":[\"n\"],\"userId\":\"u\"}", 0, "name|Missing"},
    {"{\"name\":{\"n\":\"n\"},\"userId\":\"u\"}", 0, "name|Missing"},
    {"{\"name\":\"n\",\"userId\":true}", 0, "userId|Missing"},
    {"{\"name\":\"n\",\"userId\":false}", 0, "userId|Missing"},
    {"{\"name\":\"n\",\"userId\":1.5}", 0, "userId|Missing"},
    {"{\"name\":\"n\",\"userId\":1e400}", 0, "userId|Missing"},
    {"{\"name\":\"n\",\"userId\":[]}", 0, "userId|Missing"},
    {"{\"name\":\"n\",\"userId\":[1]}", 0, "userId|Missing"},
    {"{\"name\":\"n\",\"userId\":{\"id\":1}}", 0, "userId|Missing"},
    {"{\"name\":\"n\",\"userId\":\"a\\u0000\"}", 0, "userId"},
    {"{\"name\":\"n\",\"userId\":\"a\\nb\"}", 0, "userId"},
    {"{\"name\":\"n\",\"userId\":\"\\u007f\"}", 0, "userId"},
};

static const struct row no_objects[] = {
    {"1", 0, "."},    {"\"n\"", 0, "."}, {"null", 0, "."},
    {"true", 0, "."}, {"[]", 0, "."},    {"[{\"name\":\"n\",\"userId\":\"u\"}]", 0, "."},
};

#define POSITION "[Ll]ine [0-9]+.*[Cc]olumn [0-9]+"

static const struct row no_json[] = {
    {"x", 0, POSITION},
    {"{\"name\":\"n\",\"userId\":\"u\"", 0, POSITION},
    {"{\"name\":\"n\",\"userId\":\"u\"}}", 0, POSITION},
    {"{\"name\":\"n\",\"userId\":\"u\"} {}", 0, POSITION},
    {"{\"name\":\"n\",\"userId\":\"u\",}", 0, POSITION},
    {"{\"name\":'n',\"userId\":\"u\"}", 0, POSITION},
    {"{\"name\":\"n\",\"userId\":\"u\",\"details\":01}", 0, POSITION},
    {"{\"name\":\"n\",\"userId\":\"u\",\"details\":NaN}", 0, POSITION},
    {"{\"name\":\"n\xff\",\"userId\":\"u\"}", 0, POSITION},
    {"{\"name\":\"n\",\"userId\":\"u\",\"details\":\"\xed\xa0\x80\"}", 0, POSITION},
    {"{\"name\":\"n\",\"userId\":\"u\"}\0", 27, POSITION},
    {"name=n&userId=u", 0, POSITION},
};

/* The next id shows that nothing was stored, nor taken back. */
static void check_refused(struct kit *kit, const struct row *rows, size_t count)
{
    struct kit_server *server = kit_serve_events(kit);
    for (size_t i = 0; i < count; i++) {
        size_t length = rows[i].length > 0 ? rows[i].length : strlen(rows[i].body);
        kit_note(kit, "body %s", rows[i].body);
        const struct kit_response *response = kit_request(
            server, "POST", KIT_ADD_EVENT, "Content-Type: application/json\r\n", rows[i].body, length);
        kit_assert_error(response, 400, rows[i].error == NULL ? "." : rows[i].error);
        if (rows[i].error == NULL)
            kit_assert_body(response, KIT_MISSING);
    }
    kit_note(kit, "after all");
    kit_assert_list(server, KIT_GET_EVENTS, "[]");
    kit_assert_list(server, KIT_GET_USERS, "[]");
    assert_string_equal(kit_add(server, "n", "1", NULL), "1");
}

static void missing_fields_are_refused(void **state)
{
    check_refused(*state, missing, KIT_COUNT(missing));
}

static void unfit_fields_are_refused(void **state)
{
    check_refused(*state, unfit, KIT_COUNT(unfit));
    struct kit *kit = *state;
    const char *body = kit_planned_body(kit, "n", kit_format(kit, "\"%s\"", kit_repeat(kit, "u", 256)), NULL);
    kit_assert_error(kit_post_json(kit_serve_events(kit), KIT_ADD_EVENT, body), 400, "userId");
}

static void what_is_no_object_is_refused(void **state)
{
    check_refused(*state, no_objects, KIT_COUNT(no_objects));
}

static void what_is_no_json_is_refused(void **state)
{
    check_refused(*state, no_json, KIT_COUNT(no_json));
}

static void an_empty_body_is_refused(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_assert_error(kit_post_json(server, KIT_ADD_EVENT, ""), 400, ".");
    kit_assert_error(kit_post_json(server, KIT_ADD_EVENT, NULL), 400, ".");
    kit_assert_error(kit_post_json(server, KIT_ADD_EVENT, " \r\n "), 400, ".");
    kit_assert_list(server, KIT_GET_EVENTS, "[]");
}

static void nesting_has_its_limit(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_assert_error(
        kit_post_json(server, KIT_ADD_EVENT, kit_planned_body(*state, "n", "1", nested(*state, 100000))), 400,
        ".");
    kit_assert_list(server, KIT_GET_EVENTS, "[]");
}

static void large_bodies_are_refused(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit, "--max-body", "1000");
    static const char frame[] = "{\"name\":\"n\",\"userId\":1,\"details\":\"\"}";
    size_t room = 1000 - strlen(frame);
    const char *fits = kit_format(kit, "\"%s\"", kit_repeat(kit, "x", room));
    kit_add(server, "n", "1", fits);
    const char *larger = kit_format(kit, "\"%s\"", kit_repeat(kit, "x", room + 1));
    kit_assert_error(kit_post_json(server, KIT_ADD_EVENT, kit_planned_body(kit, "n", "1", larger)), 413, ".");
    const struct kit_entries *entries = kit_entries(server, KIT_GET_EVENTS);
    assert_int_equal(entries->count, 1);
}

static void encodings_and_charsets_are_refused(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    static const char body[] = "{\"name\":\"n\",\"userId\":\"u\"}";
    kit_assert_error(
        kit_request(server, "POST", KIT_ADD_EVENT, "Content-Encoding: gzip\r\n", body, strlen(body)), 415,
        ".");
    kit_assert_error(kit_request(server, "POST", KIT_ADD_EVENT,
                                 "Content-Type: application/json; charset=latin1\r\n", body, strlen(body)),
                     415, ".");
    kit_assert_list(server, KIT_GET_EVENTS, "[]");
}

static void other_methods_are_refused(void **state)
{
    static const char *const methods[] = {"GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"};
    struct kit_server *server = kit_serve_events(*state);
    for (size_t i = 0; i < KIT_COUNT(methods); i++) {
        kit_note(*state, "%s", methods[i]);
        const struct kit_response *response = kit_request(server, methods[i], KIT_ADD_EVENT, NULL, NULL, 0);
        kit_assert_status(response, 405);
        kit_assert_header_matches(response, *state, "Allow", "^POST$");
    }
}

/* ---- several at once ---- */

enum { CLIENTS = 8, EVENTS = 150 };

struct client {
    struct kit_server *server;
    pthread_t thread;
    int number;
    long ids[EVENTS];
    int taken;
};

static void *add_all(void *argument)
{
    struct client *client = argument;
    struct kit_connection *connection = kit_try_connect(client->server);
    while (connection != NULL && client->taken < EVENTS) {
        char body[128], id[64];
        snprintf(body, sizeof body, "{\"name\":\"%d/%d\",\"userId\":\"u%d\"}", client->number, client->taken,
                 client->number % 3);
        if (kit_try_add(connection, body, kit_deadline_at_ms(KIT_DEADLINE_MS), id) != 200)
            break;
        client->ids[client->taken++] = strtol(id, NULL, 10);
    }
    if (connection != NULL)
        kit_close(connection);
    return NULL;
}

static void check_clients(struct kit_server *server, const struct client *clients)
{
    const struct kit_entries *entries = kit_entries(server, KIT_GET_EVENTS);
    struct kit *kit = kit_of(server);
    assert_int_equal(entries->count, CLIENTS * EVENTS);
    for (int i = 0; i < CLIENTS * EVENTS; i++)
        assert_int_equal(strtol(entries->items[i].id.text, NULL, 10), i + 1);
    for (int i = 0; i < CLIENTS; i++) {
        assert_int_equal(clients[i].taken, EVENTS);
        for (int j = 0; j < EVENTS; j++) {
            struct kit_slice name;
            long id = clients[i].ids[j];
            assert_in_range(id, j == 0 ? 1 : clients[i].ids[j - 1] + 1, CLIENTS * EVENTS);
            assert_int_equal(kit_member(entries->items[id - 1].json, "name", &name), 1);
            assert_true(kit_slice_is(name, kit_format(kit, "\"%d/%d\"", i, j)));
        }
    }
}

static void many_at_once_get_ids_of_their_own(void **state)
{
    static struct client clients[CLIENTS];
    struct kit_server *server = kit_serve_events(*state);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.server = server, .number = i};
        assert_int_equal(pthread_create(&clients[i].thread, NULL, add_all, &clients[i]), 0);
    }
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(clients[i].thread, NULL);
    check_clients(server, clients);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_engines(ids_are_numbers_as_text_in_the_order_added),
        kit_test_engines(an_event_is_shown_as_documented),
        kit_test_engines(one_and_the_text_one_are_one_user),
        kit_test_engines(details_of_any_kind_are_kept_exactly),
        kit_test_engines(escapes_and_white_space_do_no_harm),
        kit_test_engines(names_and_users_may_be_any_text),
        kit_test_engines(odd_names_do_no_harm),
        kit_test_sqlite(other_members_are_ignored),
        kit_test_sqlite(any_content_type_and_chunks_are_taken),
        kit_test_sqlite(missing_fields_are_refused),
        kit_test_sqlite(unfit_fields_are_refused),
        kit_test_sqlite(what_is_no_object_is_refused),
        kit_test_sqlite(what_is_no_json_is_refused),
        kit_test_sqlite(an_empty_body_is_refused),
        kit_test_sqlite(nesting_has_its_limit),
        kit_test_sqlite(large_bodies_are_refused),
        kit_test_sqlite(encodings_and_charsets_are_refused),
        kit_test_sqlite(other_methods_are_refused),
        kit_test_engines(many_at_once_get_ids_of_their_own),
    };
    return kit_run_event_tests(tests);
}
