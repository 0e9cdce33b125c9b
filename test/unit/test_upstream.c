/* The upstream's client: requests as they arrive, answers, failures, limits, and the breaker around it. */
#include "upstream_kit.h"

enum { LARGE_BODY_BYTES = 3 * 1024 * 1024 };

static void a_post_arrives_as_it_was_given(void **state)
{
    struct upstream_scene scene;
    struct upstream_answer answer;
    struct standin_request request;
    (void)state;
    scene_begin(&scene);
    snprintf(scene.url, sizeof scene.url, "%s/some/where/", standin_url(scene.standin));
    scene_connect(&scene);
    assert_int_equal(
        upstream_post(scene.upstream, "/addEvent", TEXT("{\"name\":\"h\\u00e9\"}"), NO_JUDGE, &answer),
        UPSTREAM_ANSWERED);
    assert_int_equal(answer.status, 200);
    assert_int_equal(answer.body.length, 16);
    assert_memory_equal(answer.body.bytes, "{\"success\":true}", 16);
    upstream_answer_free(&answer);
    assert_int_equal(standin_request(scene.standin, 0, &request), 0);
    assert_string_equal(request.method, "POST");
    assert_string_equal(request.path, "/some/where/addEvent");
    assert_string_equal(request.body, "{\"name\":\"h\\u00e9\"}");
    assert_non_null(strstr(request.head, "\r\nContent-Type: application/json\r\n"));
    assert_non_null(strstr(request.head, "\r\nHost: 127.0.0.1:"));
    assert_null(strcasestr(request.head, "\r\nExpect"));
    assert_null(strcasestr(request.head, "\r\nAccept-Encoding"));
    assert_null(strcasestr(request.head, "\r\nAuthorization"));
    standin_request_free(&request);
    scene_end(&scene);
}

static void a_get_and_a_large_post_share_a_connection(void **state)
{
    struct upstream_scene scene;
    struct standin_request request;
    (void)state;
    scene_begin(&scene);
    scene_connect(&scene);
    char *body = malloc(LARGE_BODY_BYTES);
    assert_non_null(body);
    memset(body, 'x', LARGE_BODY_BYTES);
    struct upstream_answer answer;
    assert_int_equal(
        upstream_post(scene.upstream, "/addEvent", (struct text){body, LARGE_BODY_BYTES}, NO_JUDGE, &answer),
        UPSTREAM_ANSWERED);
    upstream_answer_free(&answer);
    assert_int_equal(kit_get(scene.upstream), UPSTREAM_ANSWERED);
    assert_int_equal(kit_post(scene.upstream, ""), UPSTREAM_ANSWERED);
    assert_int_equal(standin_request(scene.standin, 0, &request), 0);
    assert_null(strcasestr(request.head, "\r\nExpect"));
    assert_int_equal(request.body_length, LARGE_BODY_BYTES);
    assert_memory_equal(request.body, body, LARGE_BODY_BYTES);
    standin_request_free(&request);
    assert_int_equal(standin_request(scene.standin, 1, &request), 0);
    assert_string_equal(request.method, "GET");
    assert_string_equal(request.path, "/getUsers");
    assert_int_equal(request.body_length, 0);
    assert_null(strcasestr(request.head, "\r\nContent-"));
    assert_int_equal(request.connection, 1);
    standin_request_free(&request);
    assert_int_equal(standin_connections(scene.standin), 1);
    free(body);
    scene_end(&scene);
}

/* One call for each way to fail, short of time where it would never end. */
static const struct {
    struct standin_behaviour behaviour;
    int64_t call_ms;
    const char *reason;
} failures[] = {
    {{.kind = STANDIN_ANSWER, .status = 500}, 0, "it answered with status 500"},
    {{.kind = STANDIN_ANSWER, .status = 503}, 0, "it answered with status 503"},
    {{.kind = STANDIN_ANSWER, .status = 300}, 0, "it answered with status 300"},
    {{.kind = STANDIN_ANSWER, .status = 600}, 0, "its answer is no HTTP"},
    {{.kind = STANDIN_REDIRECT, .status = 302, .body = "/elsewhere"}, 0, "it answered with status 302"},
    {{.kind = STANDIN_REDIRECT, .status = 307, .body = "/elsewhere"}, 0, "it answered with status 307"},
    {{.kind = STANDIN_REDIRECT, .status = 308, .body = "file:///etc/passwd"},
     0,
     "it answered with status 308"},
    {{.kind = STANDIN_DROP}, 0, "the connection was lost before an answer"},
    {{.kind = STANDIN_DROP_UNREAD}, 0, "the connection was lost before an answer"},
    {{.kind = STANDIN_DROP_HALF}, 0, "its answer broke off"},
    {{.kind = STANDIN_GARBAGE}, 0, "its answer is no HTTP"},
    {{.kind = STANDIN_RAW, .body = "\r\n"}, 0, "its answer is no HTTP"},
    {{.kind = STANDIN_RAW, .body = "HTTP/1.1 200 OK\r\nContent-"}, 0, "its answer broke off"},
    {{.kind = STANDIN_RAW, .body = "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"}, 0, NULL},
    {{.kind = STANDIN_RAW, .body = "HTTP/1.1 100 Continue\r\n\r\n"}, 0, NULL},
    {{.kind = STANDIN_RAW, .body = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"},
     0,
     "its answer broke off"},
    {{.kind = STANDIN_RAW, .body = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"}, 0, NULL},
    {{.kind = STANDIN_RAW, .body = "HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999\r\n\r\n"},
     0,
     NULL},
    {{.kind = STANDIN_LARGE, .bytes = 10 * 1024 * 1024}, 0, "its answer is too large"},
    {{.kind = STANDIN_LARGE_CHUNKED, .bytes = 10 * 1024 * 1024}, 0, "its answer is too large"},
    {{.kind = STANDIN_LARGE_HEAD, .bytes = 10 * 1024 * 1024}, 0, "its answer is too large"},
    {{.kind = STANDIN_INTERIM, .pause_ms = 0}, 0, "its answer is too large"},
    {{.kind = STANDIN_HANG}, 200, "no answer in time"},
    {{.kind = STANDIN_SLOW, .pause_ms = 20}, 200, "no answer in time"},
    {{.kind = STANDIN_INTERIM, .pause_ms = 50}, 200, "no answer in time"},
};

static void each_failure_is_one(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        struct upstream_scene scene;
        struct upstream_answer answer;
        scene_begin(&scene);
        if (failures[i].call_ms != 0)
            scene.options.call_ns = failures[i].call_ms * CLOCK_NS_PER_MS;
        scene_connect(&scene);
        standin_set(scene.standin, NULL, &failures[i].behaviour);
        int64_t began_at = clock_monotonic_ns();
        enum upstream_result result =
            upstream_post(scene.upstream, "/addEvent", TEXT("{}"), NO_JUDGE, &answer);
        int64_t took_ms = (clock_monotonic_ns() - began_at) / CLOCK_NS_PER_MS;
        if (result != UPSTREAM_FAILED)
            print_error("failure %zu: result %d, status %u: %s\n", i, (int)result, answer.status,
                        answer.reason);
        assert_int_equal(result, UPSTREAM_FAILED);
        if (failures[i].reason != NULL)
            assert_string_equal(answer.reason, failures[i].reason);
        assert_int_equal(answer.body.length, 0);
        assert_true(took_ms >= failures[i].call_ms - 10 && took_ms < failures[i].call_ms + 20000);
        struct breaker_counts counts = upstream_counts(scene.upstream).breaker;
        assert_int_equal(counts.failures, 1);
        assert_int_equal(counts.row, 1);
        assert_true(standin_count(scene.standin, NULL) <= 1);
        upstream_answer_free(&answer);
        scene_end(&scene);
    }
}

static void a_4xx_is_an_answer(void **state)
{
    static const unsigned statuses[] = {400, 401, 404, 408, 409, 413, 417, 422, 429, 499};
    struct upstream_scene scene;
    (void)state;
    scene_begin(&scene);
    scene_connect(&scene);
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        struct upstream_answer answer;
        standin_set(
            scene.standin, NULL,
            &(struct standin_behaviour){.status = statuses[i], .body = "{\"error\":\"no such user\"}"});
        assert_int_equal(upstream_post(scene.upstream, "/addEvent", TEXT("{}"), NO_JUDGE, &answer),
                         UPSTREAM_REFUSED);
        assert_int_equal(answer.status, statuses[i]);
        assert_int_equal(answer.body.length, 24);
        assert_memory_equal(answer.body.bytes, "{\"error\":\"no such user\"}", 24);
        upstream_answer_free(&answer);
        assert_int_equal(standin_count(scene.standin, NULL), i + 1);
    }
    assert_int_equal(upstream_counts(scene.upstream).breaker.successes, sizeof statuses / sizeof *statuses);
    scene_end(&scene);
}

static enum upstream_verdict judge_success(void *context, struct text body)
{
    *(unsigned *)context += 1;
    if (body.length == 0)
        return UPSTREAM_UNSURE;
    return text_equals(body, TEXT("{\"success\":true}")) ? UPSTREAM_GOOD : UPSTREAM_BAD;
}

static void the_judge_decides(void **state)
{
    struct upstream_scene scene;
    struct upstream_answer answer;
    unsigned judged = 0;
    struct upstream_judge judge = {judge_success, &judged};
    (void)state;
    scene_begin(&scene);
    scene_connect(&scene);
    assert_int_equal(upstream_post(scene.upstream, "/a", TEXT("{}"), judge, &answer), UPSTREAM_ANSWERED);
    upstream_answer_free(&answer);
    standin_set(scene.standin, "/a", &(struct standin_behaviour){.body = "{\"success\":false}"});
    assert_int_equal(upstream_post(scene.upstream, "/a", TEXT("{}"), judge, &answer), UPSTREAM_FAILED);
    assert_string_equal(answer.reason, "its answer is not a good one");
    assert_int_equal(answer.status, 200);
    upstream_answer_free(&answer);
    standin_set(scene.standin, "/a", &(struct standin_behaviour){.body = ""});
    assert_int_equal(upstream_get(scene.upstream, "/a", judge, &answer), UPSTREAM_NO_MEMORY);
    upstream_answer_free(&answer);
    /* Only 2xx is judged. */
    standin_set(scene.standin, "/a", &(struct standin_behaviour){.status = 404, .body = "x"});
    assert_int_equal(upstream_get(scene.upstream, "/a", judge, &answer), UPSTREAM_REFUSED);
    upstream_answer_free(&answer);
    assert_int_equal(judged, 3);
    struct breaker_counts counts = upstream_counts(scene.upstream).breaker;
    assert_int_equal(counts.successes, 2);
    assert_int_equal(counts.failures, 1);
    assert_int_equal(counts.cancelled, 1);
    scene_end(&scene);
}

static void an_answer_without_a_body_is_fine(void **state)
{
    struct upstream_scene scene;
    struct upstream_answer answer;
    (void)state;
    scene_begin(&scene);
    scene_connect(&scene);
    standin_set(scene.standin, NULL,
                &(struct standin_behaviour){.kind = STANDIN_RAW, .body = "HTTP/1.1 204 No Content\r\n\r\n"});
    assert_int_equal(upstream_post(scene.upstream, "/a", TEXT("{}"), NO_JUDGE, &answer), UPSTREAM_ANSWERED);
    assert_int_equal(answer.status, 204);
    assert_int_equal(answer.body.length, 0);
    upstream_answer_free(&answer);
    scene_end(&scene);
}

/* The limits are exact, announced or not, for POST and GET each its own. */
static void bodies_have_a_limit(void **state)
{
    static const struct {
        enum standin_kind kind;
        size_t bytes;
        bool is_post;
        enum upstream_result result;
    } cases[] = {
        {STANDIN_LARGE, 1000, true, UPSTREAM_ANSWERED},
        {STANDIN_LARGE, 1001, true, UPSTREAM_FAILED},
        {STANDIN_LARGE_CHUNKED, 1000, true, UPSTREAM_ANSWERED},
        {STANDIN_LARGE_CHUNKED, 1001, true, UPSTREAM_FAILED},
        {STANDIN_LARGE, 70000, false, UPSTREAM_ANSWERED},
        {STANDIN_LARGE, 70001, false, UPSTREAM_FAILED},
        {STANDIN_LARGE_CHUNKED, 70000, false, UPSTREAM_ANSWERED},
        {STANDIN_LARGE_CHUNKED, 70001, false, UPSTREAM_FAILED},
        {STANDIN_LARGE_HEAD, UPSTREAM_HEAD_BYTES - 1000, false, UPSTREAM_ANSWERED},
        {STANDIN_LARGE_HEAD, UPSTREAM_HEAD_BYTES, false, UPSTREAM_FAILED},
    };
    struct upstream_scene scene;
    (void)state;
    scene_begin(&scene);
    scene.options.max_post_bytes = 1000;
    scene.options.max_get_bytes = 70000;
    scene_connect(&scene);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct upstream_answer answer;
        standin_set(scene.standin, NULL,
                    &(struct standin_behaviour){.kind = cases[i].kind, .bytes = cases[i].bytes});
        enum upstream_result result = cases[i].is_post
                                          ? upstream_post(scene.upstream, "/a", TEXT("{}"), NO_JUDGE, &answer)
                                          : upstream_get(scene.upstream, "/a", NO_JUDGE, &answer);
        assert_int_equal(result, cases[i].result);
        if (result == UPSTREAM_ANSWERED && cases[i].kind != STANDIN_LARGE_HEAD)
            assert_int_equal(answer.body.length, cases[i].bytes);
        upstream_answer_free(&answer);
    }
    scene_end(&scene);
}

static void redirects_lead_nowhere(void **state)
{
    struct upstream_scene scene;
    (void)state;
    scene_begin(&scene);
    scene_connect(&scene);
    standin_set(scene.standin, "/addEvent",
                &(struct standin_behaviour){.kind = STANDIN_REDIRECT, .status = 307, .body = "/elsewhere"});
    standin_set(scene.standin, "/getUsers",
                &(struct standin_behaviour){.kind = STANDIN_REDIRECT, .status = 301, .body = "/elsewhere"});
    assert_int_equal(kit_post(scene.upstream, "{}"), UPSTREAM_FAILED);
    assert_int_equal(kit_get(scene.upstream), UPSTREAM_FAILED);
    assert_int_equal(standin_count(scene.standin, "/elsewhere"), 0);
    assert_int_equal(standin_count(scene.standin, NULL), 2);
    scene_end(&scene);
}

static void credentials_are_sent_and_never_shown(void **state)
{
    static char log[KIT_LOG_BYTES];
    struct upstream_scene scene;
    struct standin_request request;
    (void)state;
    scene_begin(&scene);
    snprintf(scene.url, sizeof scene.url, "http://me:s%%3Acret@127.0.0.1:%u", standin_port(scene.standin));
    scene_connect(&scene);
    assert_string_equal(upstream_url(scene.upstream), standin_url(scene.standin));
    assert_int_equal(kit_post(scene.upstream, "{}"), UPSTREAM_ANSWERED);
    assert_int_equal(standin_request(scene.standin, 0, &request), 0);
    assert_non_null(strstr(request.head, "\r\nAuthorization: Basic bWU6czpjcmV0\r\n"));
    standin_request_free(&request);
    standin_vanish(scene.standin);
    for (int i = 0; i < 4; i++)
        kit_post(scene.upstream, "{}");
    assert_int_equal(upstream_counts(scene.upstream).breaker.state, BREAKER_OPEN);
    assert_null(strstr(scene_log(&scene, log), "cret"));
    assert_non_null(strstr(log, standin_url(scene.standin)));
    scene_end(&scene);
}

static void the_breaker_goes_around_it(void **state)
{
    static char log[KIT_LOG_BYTES];
    struct upstream_scene scene;
    struct upstream_answer answer;
    (void)state;
    scene_begin(&scene);
    scene.log.level = LOG_LEVEL_INFO;
    scene_connect(&scene);
    assert_int_equal(kit_post(scene.upstream, "{}"), UPSTREAM_ANSWERED);
    assert_int_equal(standin_vanish(scene.standin), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(upstream_post(scene.upstream, "/addEvent", TEXT("{}"), NO_JUDGE, &answer),
                         UPSTREAM_FAILED);
        assert_string_equal(answer.reason, "no connection");
        upstream_answer_free(&answer);
    }
    /* Back again, but open: nothing is sent. */
    assert_int_equal(standin_return(scene.standin), 0);
    assert_int_equal(upstream_post(scene.upstream, "/addEvent", TEXT("{}"), NO_JUDGE, &answer),
                     UPSTREAM_OPEN);
    assert_int_equal(answer.retry_after_s, 1);
    upstream_answer_free(&answer);
    atomic_store(&scene.now, 499 * CLOCK_NS_PER_MS);
    assert_int_equal(kit_get(scene.upstream), UPSTREAM_OPEN);
    assert_int_equal(standin_count(scene.standin, NULL), 1);
    /* The probe fails, the next back-off is twice as long, the next probe closes. */
    behave(&scene, STANDIN_DROP);
    atomic_store(&scene.now, 500 * CLOCK_NS_PER_MS);
    assert_int_equal(kit_post(scene.upstream, "{}"), UPSTREAM_FAILED);
    behave(&scene, STANDIN_ANSWER);
    atomic_store(&scene.now, 1499 * CLOCK_NS_PER_MS);
    assert_int_equal(kit_post(scene.upstream, "{}"), UPSTREAM_OPEN);
    atomic_store(&scene.now, 1500 * CLOCK_NS_PER_MS);
    assert_int_equal(kit_post(scene.upstream, "{}"), UPSTREAM_ANSWERED);
    assert_int_equal(kit_post(scene.upstream, "{}"), UPSTREAM_ANSWERED);
    assert_int_equal(standin_count(scene.standin, NULL), 4);
    /* Opened, half-open, opened again, half-open, closed: a line each, and no other. */
    assert_int_equal(count_in(scene_log(&scene, log), "\n"), 5);
    assert_int_equal(
        count_in(log, " warn the circuit breaker of the upstream is open failures=3 backoff_ms=500 "), 1);
    assert_int_equal(count_in(log, " warn the circuit breaker of the upstream is open again lost_probes=1 "),
                     1);
    assert_int_equal(count_in(log, " info the circuit breaker of the upstream is half-open "), 2);
    assert_int_equal(count_in(log, " info the circuit breaker of the upstream is closed "), 1);
    scene_end(&scene);
}

static void retry_after_is_rounded_up(void **state)
{
    struct upstream_scene scene;
    struct upstream_answer answer;
    (void)state;
    scene_begin(&scene);
    scene.options.breaker.failures_to_open = 1;
    scene.options.breaker.first_backoff_ns = 10 * CLOCK_NS_PER_SECOND;
    scene_connect(&scene);
    behave(&scene, STANDIN_DROP);
    assert_int_equal(kit_post(scene.upstream, "{}"), UPSTREAM_FAILED);
    static const struct {
        int64_t now_ms;
        uint32_t seconds;
    } instants[] = {{0, 5}, {1, 5}, {999, 5}, {1000, 4}, {3999, 2}, {4000, 1}, {4999, 1}};
    for (size_t i = 0; i < sizeof instants / sizeof *instants; i++) {
        atomic_store(&scene.now, instants[i].now_ms * CLOCK_NS_PER_MS);
        assert_int_equal(upstream_post(scene.upstream, "/a", TEXT("{}"), NO_JUDGE, &answer), UPSTREAM_OPEN);
        assert_int_equal(answer.retry_after_s, instants[i].seconds);
        upstream_answer_free(&answer);
    }
    scene_end(&scene);
}

int main(void)
{
    /* Ignored, or every test would fail. */
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("all_proxy", "http://127.0.0.1:1", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_post_arrives_as_it_was_given),
        cmocka_unit_test(a_get_and_a_large_post_share_a_connection),
        cmocka_unit_test(each_failure_is_one),
        cmocka_unit_test(a_4xx_is_an_answer),
        cmocka_unit_test(the_judge_decides),
        cmocka_unit_test(an_answer_without_a_body_is_fine),
        cmocka_unit_test(bodies_have_a_limit),
        cmocka_unit_test(redirects_lead_nowhere),
        cmocka_unit_test(credentials_are_sent_and_never_shown),
        cmocka_unit_test(the_breaker_goes_around_it),
        cmocka_unit_test(retry_after_is_rounded_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
