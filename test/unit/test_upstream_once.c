/* One upstream_post is never two requests, whatever becomes of the connection. */
#include "upstream_kit.h"

#include <sched.h>

enum { RACE_POSTS = 3000 };

/* A scene with one connection that is kept after a good POST. */
static void begin_with_kept_connection(struct upstream_scene *scene)
{
    scene_begin(scene);
    scene->options.breaker.failures_to_open = BREAKER_MOST_FAILURES;
    scene_connect(scene);
    assert_int_equal(kit_post(scene->upstream, "{\"n\":1}"), UPSTREAM_ANSWERED);
    assert_int_equal(standin_count(scene->standin, NULL), 1);
}

static unsigned connection_of(struct upstream_scene *scene, size_t index)
{
    struct standin_request request;
    assert_int_equal(standin_request(scene->standin, index, &request), 0);
    standin_request_free(&request);
    return request.connection;
}

/* libcurl would send the second POST again, on a new connection: the kept one ended before a byte of the answer. */
static void a_post_dropped_on_a_kept_connection_is_not_sent_again(void **state)
{
    struct upstream_scene scene;
    struct upstream_answer answer;
    (void)state;
    begin_with_kept_connection(&scene);
    behave(&scene, STANDIN_DROP);
    assert_int_equal(upstream_post(scene.upstream, "/addEvent", TEXT("{\"n\":2}"), NO_JUDGE, &answer),
                     UPSTREAM_FAILED);
    assert_string_equal(answer.reason, "the connection was lost before an answer");
    upstream_answer_free(&answer);
    assert_int_equal(standin_count(scene.standin, NULL), 2);
    assert_int_equal(connection_of(&scene, 0), connection_of(&scene, 1));
    assert_int_equal(upstream_counts(scene.upstream).breaker.failures, 1);
    /* The next one works, once. */
    behave(&scene, STANDIN_ANSWER);
    assert_int_equal(kit_post(scene.upstream, "{\"n\":3}"), UPSTREAM_ANSWERED);
    assert_int_equal(standin_count(scene.standin, NULL), 3);
    scene_end(&scene);
}

static void a_post_reset_on_a_kept_connection_is_not_sent_again(void **state)
{
    struct upstream_scene scene;
    (void)state;
    begin_with_kept_connection(&scene);
    behave(&scene, STANDIN_DROP_UNREAD);
    /* The stand-in looks at this only when it waits for a first byte, so it is told in time. */
    assert_int_equal(kit_post(scene.upstream, "{\"n\":2}"), UPSTREAM_FAILED);
    assert_int_equal(standin_count(scene.standin, NULL), 1);
    behave(&scene, STANDIN_ANSWER);
    assert_int_equal(kit_post(scene.upstream, "{\"n\":3}"), UPSTREAM_ANSWERED);
    assert_int_equal(standin_count(scene.standin, NULL), 2);
    scene_end(&scene);
}

/* A body that takes many writes: the connection ends while they are under way. */
static void a_large_post_is_not_sent_again(void **state)
{
    enum { BYTES = 8 * 1024 * 1024 };
    struct upstream_scene scene;
    struct upstream_answer answer;
    (void)state;
    begin_with_kept_connection(&scene);
    char *body = malloc(BYTES);
    assert_non_null(body);
    memset(body, ' ', BYTES);
    behave(&scene, STANDIN_DROP_UNREAD);
    assert_int_equal(
        upstream_post(scene.upstream, "/addEvent", (struct text){body, BYTES}, NO_JUDGE, &answer),
        UPSTREAM_FAILED);
    upstream_answer_free(&answer);
    behave(&scene, STANDIN_DROP);
    assert_int_equal(
        upstream_post(scene.upstream, "/addEvent", (struct text){body, BYTES}, NO_JUDGE, &answer),
        UPSTREAM_FAILED);
    upstream_answer_free(&answer);
    assert_int_equal(standin_count(scene.standin, NULL), 2);
    free(body);
    scene_end(&scene);
}

/* A GET may go out a second time, on a new connection; no more often. */
static void a_get_is_sent_twice_at_most(void **state)
{
    struct upstream_scene scene;
    (void)state;
    begin_with_kept_connection(&scene);
    behave(&scene, STANDIN_DROP);
    assert_int_equal(kit_get(scene.upstream), UPSTREAM_FAILED);
    assert_int_equal(standin_count(scene.standin, "/getUsers"), 2);
    assert_int_not_equal(connection_of(&scene, 1), connection_of(&scene, 2));
    /* A connection of its own that is dropped is no reason. */
    assert_int_equal(kit_get(scene.upstream), UPSTREAM_FAILED);
    assert_int_equal(standin_count(scene.standin, "/getUsers"), 3);
    scene_end(&scene);
}

/* Closed while idle, and known to be: a new connection, one request. */
static void a_connection_closed_while_idle_costs_nothing(void **state)
{
    struct upstream_scene scene;
    (void)state;
    begin_with_kept_connection(&scene);
    assert_int_equal(standin_vanish(scene.standin), 0); /* returns when all connections are closed */
    assert_int_equal(standin_return(scene.standin), 0);
    enum upstream_result result = kit_post(scene.upstream, "{\"n\":2}");
    if (result == UPSTREAM_ANSWERED)
        assert_int_equal(standin_count(scene.standin, NULL), 2);
    else
        assert_int_equal(result, UPSTREAM_FAILED);
    assert_int_equal(kit_post(scene.upstream, "{\"n\":3}"), UPSTREAM_ANSWERED);
    scene_end(&scene);
}

/* Statuses at which libcurl tries again in some configurations: for credentials, without Expect, after a time-out. */
static void no_status_makes_a_second_request(void **state)
{
    static const char *const heads[] = {
        "HTTP/1.1 401 Who\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 401 Who\r\nWWW-Authenticate: Digest realm=\"x\", nonce=\"y\"\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 401 Who\r\nWWW-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 401 Who\r\nWWW-Authenticate: Negotiate\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 408 Late\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 421 Not here\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 425 Too early\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 429 Slow\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 503 Away\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 308 There\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nRefresh: 0; url=/\r\nAlt-Svc: h2=\":1\"\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    };
    (void)state;
    for (size_t i = 0; i < 2 * sizeof heads / sizeof *heads; i++) {
        struct upstream_scene scene;
        scene_begin(&scene);
        if (i % 2 == 1)
            snprintf(scene.url, sizeof scene.url, "http://me:secret@127.0.0.1:%u",
                     standin_port(scene.standin));
        scene_connect(&scene);
        standin_set(scene.standin, NULL,
                    &(struct standin_behaviour){.kind = STANDIN_RAW, .body = heads[i / 2]});
        kit_post(scene.upstream, "{}");
        assert_int_equal(standin_count(scene.standin, NULL), 1);
        scene_end(&scene);
    }
}

struct closer {
    struct standin *standin;
    atomic_bool done;
};

static void *close_again_and_again(void *context)
{
    struct closer *closer = context;
    while (!atomic_load(&closer->done)) {
        standin_close_idle(closer->standin);
        sched_yield();
    }
    return NULL;
}

/* Idle connections are closed all the time while POSTs go out: each arrives once at most, and once when answered. */
static void closing_races_with_posts(void **state)
{
    static enum upstream_result results[RACE_POSTS];
    static unsigned arrived[RACE_POSTS];
    struct upstream_scene scene;
    pthread_t thread;
    (void)state;
    scene_begin(&scene);
    scene.options.breaker.row_ns = 0; /* a clock that moves on keeps it closed */
    scene_connect(&scene);
    struct closer closer = {.standin = scene.standin};
    assert_int_equal(pthread_create(&thread, NULL, close_again_and_again, &closer), 0);
    unsigned failed = 0;
    for (unsigned i = 0; i < RACE_POSTS; i++) {
        char body[32];
        snprintf(body, sizeof body, "%u", i);
        atomic_fetch_add(&scene.now, 1);
        results[i] = kit_post(scene.upstream, body);
        failed += results[i] != UPSTREAM_ANSWERED;
        assert_true(results[i] == UPSTREAM_ANSWERED || results[i] == UPSTREAM_FAILED);
    }
    atomic_store(&closer.done, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    struct standin_request request;
    for (size_t i = 0; standin_request(scene.standin, i, &request) == 0; i++) {
        arrived[strtoul(request.body, NULL, 10)]++;
        standin_request_free(&request);
    }
    for (unsigned i = 0; i < RACE_POSTS; i++) {
        assert_true(arrived[i] <= 1);
        if (results[i] == UPSTREAM_ANSWERED)
            assert_int_equal(arrived[i], 1);
    }
    print_message("%u of %u posts failed, %u connections\n", failed, RACE_POSTS,
                  standin_connections(scene.standin));
    scene_end(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_post_dropped_on_a_kept_connection_is_not_sent_again),
        cmocka_unit_test(a_post_reset_on_a_kept_connection_is_not_sent_again),
        cmocka_unit_test(a_large_post_is_not_sent_again),
        cmocka_unit_test(a_get_is_sent_twice_at_most),
        cmocka_unit_test(a_connection_closed_while_idle_costs_nothing),
        cmocka_unit_test(no_status_makes_a_second_request),
        cmocka_unit_test(closing_races_with_posts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
