/* One call of the upstream for one addEvent: what it is told, what its answers mean, and what counts as no answer. */
#include <stdio.h>
#include <string.h>

#include "kit_http.h"
#include "kit_management.h"

#define UUID    "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
#define CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
#define BODY    "{\"name\":\"n\",\"userId\":\"u\"}"

/* ---- what the upstream is told ---- */

static void members_go_as_they_came_behind_an_id(void **state)
{
    static const char *const members[] = {
        "\"name\":\"hello\",\"userId\":\"1\"}",
        "\"name\":\"hello\",\"userId\":1,\"details\":{\"n\":1e400,\"z\":[1.50,-0,null]},\"more\":[true,{}]}",
        "\"x\":\"\xc3\xa4\xf0\x9f\x98\x80\",\"userId\":12345678901234567,\"name\":\"a\\tb\"}",
    };
    struct kit *kit = *state;
    struct standin *standin = kit_standin(kit);
    struct kit_server *server = kit_serve_upstream(kit, standin);
    for (size_t i = 0; i < KIT_COUNT(members); i++) {
        kit_note(kit, "{%s", members[i]);
        const char *id =
            kit_added_id(kit_post_json(server, KIT_ADD_EVENT, kit_format(kit, "{%s", members[i])));
        assert_true(kit_matches(id, "^" UUID "$"));
        const char *body = kit_call_body(kit, standin, KIT_ADD_EVENT, i);
        assert_non_null(body);
        assert_string_equal(body, kit_format(kit, "{\"id\":\"%s\",%s", id, members[i]));
    }
    assert_int_equal(standin_count(standin, KIT_ADD_EVENT), KIT_COUNT(members));
    assert_int_equal(kit_entries(server, KIT_GET_EVENTS)->count, KIT_COUNT(members));
}

static void the_request_is_plain_http(void **state)
{
    struct standin *standin = kit_standin(*state);
    kit_set_answer(standin, "/base/v1/addEvent", 201, "{\"id\":\"from-base\"}");
    kit_set_answer(standin, "/base/v1/getUsers", 200, "[]");
    kit_set_answer(standin, "/base/v1/getEvents", 200, "[]");
    struct kit_server *server =
        kit_serve_events(*state, "--upstream", kit_format(*state, "%s/base/v1", standin_url(standin)));
    kit_wait_at_least(server, "upstream.refreshes", 1);
    assert_string_equal(kit_added_id(kit_post_json(server, KIT_ADD_EVENT, BODY)), "from-base");
    struct standin_request request;
    size_t posts = 0;
    for (size_t i = 0; standin_request(standin, i, &request) == 0; i++) {
        if (strcmp(request.path, "/base/v1/addEvent") == 0) {
            posts++;
            assert_string_equal(request.method, "POST");
            assert_non_null(strcasestr(request.head, "\r\nContent-Type: application/json"));
            assert_null(strcasestr(request.head, "\r\nExpect:"));
        } else {
            assert_string_equal(request.method, "GET");
        }
        standin_request_free(&request);
    }
    assert_int_equal(posts, 1);
}

static void refused_bodies_reach_no_upstream(void **state)
{
    static const char *const bodies[] = {"",
                                         "x",
                                         "[]",
                                         "{}",
                                         "{\"name\":\"n\"}",
                                         "{\"name\":\"n\",\"userId\":1.5}",
                                         "{\"name\":\"n\",\"userId\":\"\"}",
                                         "{\"name\":\"n\",\"userId\":1}}"};
    struct standin *standin = kit_standin(*state);
    struct kit_server *server = kit_serve_upstream(*state, standin);
    for (size_t i = 0; i < KIT_COUNT(bodies); i++) {
        kit_note(*state, "%s", bodies[i]);
        kit_assert_error(kit_post_json(server, KIT_ADD_EVENT, bodies[i]), 400, ".");
    }
    assert_int_equal(standin_count(standin, KIT_ADD_EVENT), 0);
}

/* Nothing but the address that it was given counts. */
static void proxies_of_the_environment_are_not_used(void **state)
{
    struct kit *kit = *state;
    struct standin *standin = kit_standin(kit), *proxy = kit_standin(kit);
    const char *url = standin_url(proxy);
    const char *const environment[] = {
        kit_format(kit, "http_proxy=%s", url), kit_format(kit, "HTTP_PROXY=%s", url),
        kit_format(kit, "all_proxy=%s", url), kit_format(kit, "ALL_PROXY=%s", url), NULL};
    const char *const arguments[] = {"--upstream", standin_url(standin), NULL};
    struct kit_server *server =
        kit_start(kit, &(struct kit_start){.arguments = arguments, .environment = environment});
    kit_add(server, "n", "1", NULL);
    assert_int_equal(standin_count(standin, KIT_ADD_EVENT), 1);
    assert_int_equal(standin_connections(proxy), 0);
}

/* ---- what it answers ---- */

static void an_id_in_the_answer_wins(void **state)
{
    static const struct {
        const char *answer, *id; /* NULL: ours */
    } rows[] = {
        {"{\"success\":true,\"id\":\"up-1\"}", "up-1"},
        {"{\"id\":4711}", "4711"},
        {"{\"id\":\"with / and \xc3\xa4\",\"success\":true}", "with / and \xc3\xa4"},
        {"{\"event\":{\"id\":\"inner\"},\"id\":\"outer\"}", "outer"},
        {" {\n \"id\" : 9007199254740993 } \n", "9007199254740993"},
        {"{}", NULL},
        {"{\"success\":true}", NULL},
        {"{\"event\":{\"id\":\"inner\"}}", NULL},
        {"{\"success\":true,\"id\":null}", NULL},
    };
    struct kit *kit = *state;
    struct standin *standin = kit_standin(kit);
    struct kit_server *server = kit_serve_upstream(kit, standin);
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        kit_note(kit, "%s", rows[i].answer);
        kit_set_answer(standin, KIT_ADD_EVENT, 200, rows[i].answer);
        const char *user = kit_format(kit, "%zu", i), *id = kit_add(server, "n", user, "[1]");
        if (rows[i].id != NULL)
            assert_string_equal(id, rows[i].id);
        else
            assert_non_null(strstr(kit_call_body(kit, standin, KIT_ADD_EVENT, i), id));
        kit_assert_list(
            server, kit_format(kit, KIT_EVENTS_OF "%zu", i),
            kit_format(kit, "[{\"id\":\"%s\",\"name\":\"n\",\"userId\":\"%zu\",\"details\":[1]}]", id, i));
    }
    const struct kit_entries *events = kit_entries(server, KIT_GET_EVENTS);
    assert_int_equal(events->count, KIT_COUNT(rows));
    assert_true(kit_slice_is(events->items[0].id, "up-1")); /* in the order added */
    assert_true(kit_slice_is(events->items[1].id, "4711"));
}

/* Whatever it sends as an id, none but a usable one is told and stored; the contract leaves open how it is taken. */
static void unusable_ids_are_not_used(void **state)
{
    struct kit *kit = *state;
    const char *const ids[] = {
        "\"\"",      "true",       "1.5",
        "[]",        "{\"id\":1}", "\"a\\u0000\"",
        "\"a\\nb\"", "1e400",      kit_format(kit, "\"%s\"", kit_repeat(kit, "i", 256))};
    struct standin *standin = kit_standin(kit);
    struct kit_server *server = kit_serve_upstream(kit, standin);
    for (size_t i = 0; i < KIT_COUNT(ids); i++) {
        kit_note(kit, "id %s", ids[i]);
        kit_set_answer(standin, KIT_ADD_EVENT, 200, kit_format(kit, "{\"success\":true,\"id\":%s}", ids[i]));
        const struct kit_response *response = kit_post_json(server, KIT_ADD_EVENT, BODY);
        kit_assert_status_among(response, kit, "200|502");
        if (response->status == 200)
            assert_true(kit_matches(kit_added_id(response), "^" UUID "$"));
        else
            kit_assert_unavailable(response, 502);
        kit_set_answer(standin, KIT_ADD_EVENT, 200, "{}");
        kit_add(server, "n", "1", NULL);
    }
    const struct kit_entries *events = kit_entries(server, KIT_GET_EVENTS);
    for (size_t i = 0; i < events->count; i++)
        assert_true(kit_matches(kit_slice_text(kit, events->items[i].id), "^" UUID "$"));
}

/* An answer is understood however it is framed. */
static void answers_come_in_any_frame(void **state)
{
    static const char *const answers[] = {
        (CHUNKED "7\r\n{\"id\":\"\r\n9;x=y\r\nframed-0\"\r\n1\r\n}\r\n0\r\nX: x\r\n\r\n"),
        "HTTP/1.0 200 OK\r\n\r\n{\"id\":\"framed-1\"}",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"id\":\"framed-2\"}",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"id\":\"framed-3\"}",
        "HTTP/1.1 202 Accepted\r\ncontent-length:17\r\nContent-Type: text/plain\r\n\r\n{\"id\":\"framed-4\"}",
    };
    struct standin *standin = kit_standin(*state);
    struct kit_server *server = kit_serve_upstream(*state, standin);
    for (size_t i = 0; i < KIT_COUNT(answers); i++) {
        kit_note(*state, "%s", answers[i]);
        standin_set(standin, KIT_ADD_EVENT,
                    &(struct standin_behaviour){.kind = STANDIN_RAW, .body = answers[i]});
        assert_string_equal(kit_add(server, "n", "1", NULL), kit_format(*state, "framed-%zu", i));
    }
}

/* A name may have an address that nobody listens on before the one that is right. */
static void names_are_looked_up(void **state)
{
    struct standin *standin = kit_standin(*state);
    struct kit_server *server = kit_serve_events(
        *state, "--upstream", kit_format(*state, "http://localhost:%u", standin_port(standin)));
    kit_wait_at_least(server, "upstream.refreshes", 1);
    kit_add(server, "n", "1", NULL);
    assert_int_equal(standin_count(standin, KIT_ADD_EVENT), 1);
}

static void refusals_are_passed_on_and_are_no_failures(void **state)
{
    static const struct {
        unsigned status;
        const char *answer;
        bool is_json;
    } rows[] = {
        {400, "{\"error\":\"no such day\"}", true},
        {401, "{\"error\":\"who are you\"}", true},
        {403, "{\"code\":17,\"reasons\":[\"a\",1.50]}", true},
        {404, "<html>not found</html>", false},
        {409, "{\"success\":false,\"error\":\"taken\"}", true},
        {422, "{\"errors\":{\"name\":\"too \xc3\xa4\"}}", true},
        {429, "slow down", false},
        {404, "", false},
        {418, "{\"error\":", false},
        {451, "\xff\xfe", false},
    };
    enum { ROUNDS = 2 };
    struct standin *standin = kit_standin(*state);
    struct kit_server *server = kit_serve_upstream(*state, standin);
    for (size_t i = 0; i < KIT_COUNT(rows) * ROUNDS; i++) {
        size_t row = i % KIT_COUNT(rows);
        kit_note(*state, "%u %s", rows[row].status, rows[row].answer);
        kit_set_answer(standin, KIT_ADD_EVENT, rows[row].status, rows[row].answer);
        const struct kit_response *response = kit_post_json(server, KIT_ADD_EVENT, BODY);
        kit_assert_status(response, (int)rows[row].status);
        kit_assert_header(response, "Content-Type", "application/json");
        if (rows[row].is_json)
            kit_assert_body(response, rows[row].answer);
        else if (!kit_is_json(response->body) || !kit_matches(response->body, "[{,]\"error\":\"[^\"]+\""))
            kit_fail(*state, "no JSON that tells an error: %s", response->body);
    }
    assert_int_equal(standin_count(standin, KIT_ADD_EVENT), KIT_COUNT(rows) * ROUNDS);
    assert_string_equal(kit_breaker(server), "closed");
    assert_int_equal(kit_health(server, "upstream.failures"), 0);
    kit_assert_list(server, KIT_GET_EVENTS, "[]");
    kit_assert_list(server, KIT_GET_USERS, "[]");
    kit_set_answer(standin, KIT_ADD_EVENT, 200, "{}");
    kit_add(server, "n", "1", NULL);
}

/* ---- what is a failure ---- */

struct failure {
    const char *name;
    struct standin_behaviour behaviour;
};

static const struct failure failures[] = {
    {"500", {.status = 500}},
    {"500 that speaks of success", {.status = 500, .body = "{\"success\":true,\"id\":\"x\"}"}},
    {"502", {.status = 502, .body = "<html>"}},
    {"503", {.status = 503, .body = "{\"error\":\"busy\"}"}},
    {"599", {.status = 599}},
    {"301", {.kind = STANDIN_REDIRECT, .status = 301, .body = "/elsewhere"}},
    {"302", {.kind = STANDIN_REDIRECT, .status = 302, .body = "/elsewhere"}},
    {"304", {.kind = STANDIN_REDIRECT, .status = 304, .body = "/elsewhere"}},
    {"307", {.kind = STANDIN_REDIRECT, .status = 307, .body = "/elsewhere"}},
    {"a dropped connection", {.kind = STANDIN_DROP}},
    {"half an answer", {.kind = STANDIN_DROP_HALF, .body = "{\"success\":true,\"id\":\"half\"}"}},
    {"garbage", {.kind = STANDIN_GARBAGE}},
    {"10 MB", {.kind = STANDIN_LARGE, .bytes = 10000000}},
    {"10 MB in chunks", {.kind = STANDIN_LARGE_CHUNKED, .bytes = 10000000}},
    {"10 MB of headers", {.kind = STANDIN_LARGE_HEAD, .bytes = 10000000}},
    {"no success", {.body = "{\"success\":false}"}},
    {"no success with an id", {.body = "{\"id\":\"x\",\"success\":false,\"error\":\"no\"}"}},
    {"no JSON", {.body = "OK"}},
    {"HTML", {.body = "<html><body>Success</body></html>"}},
    {"half of JSON", {.body = "{\"success\":true,"}},
    {"an array", {.body = "[{\"success\":true}]"}},
    {"a number", {.body = "1"}},
    {"a string", {.body = "\"success\""}},
    {"null", {.body = "null"}},
    {"nothing", {.body = ""}},
    {"blanks", {.body = "  \r\n"}},
    {"two objects", {.body = "{\"id\":\"a\"}{\"id\":\"b\"}"}},
    {"no text", {.body = "{\"id\":\"\xff\"}"}},
    {"an end without a length",
     {.kind = STANDIN_RAW, .body = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"success\":true}"}},
    {"chunks without an end",
     {.kind = STANDIN_RAW, .body = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"}},
    {"silence", {.kind = STANDIN_HANG}},
    {"an answer too slow", {.kind = STANDIN_SLOW, .pause_ms = 100}},
};

/* Each kind of failure between two successes: 502 in its shape, one call, and nothing stored. */
static void failures_are_told_and_store_nothing(void **state)
{
    struct standin *standin = kit_standin(*state);
    struct kit_server *server = kit_serve_upstream(*state, standin, "--upstream-timeout", "1");
    for (size_t i = 0; i < KIT_COUNT(failures); i++) {
        kit_note(*state, "%s", failures[i].name);
        standin_set(standin, KIT_ADD_EVENT, &failures[i].behaviour);
        int64_t started_at_ms = kit_now_ms();
        kit_assert_unavailable(kit_post_json(server, KIT_ADD_EVENT, BODY), 502);
        assert_in_range(kit_now_ms() - started_at_ms, 0, (int64_t)(2500 * kit_time_scale()));
        assert_int_equal(standin_count(standin, KIT_ADD_EVENT), 2 * i + 1);
        assert_int_equal(kit_health(server, "upstream.failures_in_a_row"), 1);
        kit_set_answer(standin, KIT_ADD_EVENT, 200, "{}");
        kit_add(server, "between", "\"v\"", NULL);
        assert_int_equal(kit_health(server, "upstream.failures_in_a_row"), 0);
    }
    assert_int_equal(standin_count(standin, "/elsewhere"), 0);
    assert_int_equal(kit_health(server, "upstream.failures"), KIT_COUNT(failures));
    assert_int_equal(kit_entries(server, KIT_GET_EVENTS)->count, KIT_COUNT(failures));
    assert_string_equal(kit_ids(server, KIT_GET_USERS), "v");
    kit_assert_error(kit_get_path(server, KIT_EVENTS_OF "u"), 404, ".");
}

static void a_refused_connection_is_a_failure(void **state)
{
    struct standin *standin = kit_standin(*state);
    struct kit_server *server = kit_serve_upstream(*state, standin);
    kit_add(server, "n", "1", NULL);
    assert_int_equal(standin_vanish(standin), 0);
    kit_assert_unavailable(kit_post_json(server, KIT_ADD_EVENT, BODY), 502);
    kit_assert_unavailable(kit_post_json(server, KIT_ADD_EVENT, BODY), 502);
    assert_int_equal(standin_return(standin), 0);
    kit_add(server, "n", "1", NULL);
    assert_int_equal(standin_count(standin, KIT_ADD_EVENT), 2);
    assert_int_equal(kit_entries(server, KIT_GET_EVENTS)->count, 2);
}

static void https_to_a_plain_server_is_a_failure(void **state)
{
    struct standin *standin = kit_standin(*state);
    kit_set_kind(standin, NULL, STANDIN_DROP_UNREAD); /* it does not wait for the end of what is no HTTP */
    struct kit_server *server = kit_serve_events(
        *state, "--upstream", kit_format(*state, "https://127.0.0.1:%u", standin_port(standin)));
    kit_wait_at_least(server, "upstream.failed_refreshes", 1);
    kit_assert_unavailable(kit_post_json(server, KIT_ADD_EVENT, BODY), 502);
    assert_int_equal(standin_count(standin, NULL), 0);
    kit_assert_list(server, KIT_GET_EVENTS, "[]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_upstream(members_go_as_they_came_behind_an_id),
        kit_test_upstream(the_request_is_plain_http),
        kit_test_upstream(refused_bodies_reach_no_upstream),
        kit_test_upstream(proxies_of_the_environment_are_not_used),
        kit_test_upstream(an_id_in_the_answer_wins),
        kit_test_upstream(unusable_ids_are_not_used),
        kit_test_upstream(answers_come_in_any_frame),
        kit_test_upstream(names_are_looked_up),
        kit_test_upstream(refusals_are_passed_on_and_are_no_failures),
        kit_test_upstream(failures_are_told_and_store_nothing),
        kit_test_upstream(a_refused_connection_is_a_failure),
        kit_test_upstream(https_to_a_plain_server_is_a_failure),
    };
    return kit_run_event_tests(tests);
}
