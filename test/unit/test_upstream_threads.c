/* The upstream's client under many threads: the bulkhead, one probe, stopping, names that take for ever. */
#include "upstream_kit.h"

#include <dlfcn.h>
#include <netdb.h>
#include <sched.h>

enum { BULKHEAD = 16, THREADS = 50, CALLS_EACH = 60, STOP_MOST_S = 20 };

/* --- names: libcurl's calls of getaddrinfo come here --- */

#define HANGING_NAME "hanging.example"

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool released;
    unsigned waiting;
} names = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

typedef int lookup(const char *, const char *, const struct addrinfo *, struct addrinfo **);

__attribute__((used, visibility("default"))) int
getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **result)
{
    if (name == NULL || strcmp(name, HANGING_NAME) != 0) {
        lookup *system = NULL;
        void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");
        memcpy(&system, &symbol, sizeof system);
        return system(name, service, hints, result);
    }
    pthread_mutex_lock(&names.mutex);
    names.waiting++;
    pthread_cond_broadcast(&names.changed);
    while (!names.released)
        pthread_cond_wait(&names.changed, &names.mutex);
    names.waiting--;
    pthread_cond_broadcast(&names.changed);
    pthread_mutex_unlock(&names.mutex);
    return EAI_NONAME;
}

static void names_hang(void)
{
    pthread_mutex_lock(&names.mutex);
    names.released = false;
    pthread_mutex_unlock(&names.mutex);
}

static void names_await(unsigned waiting)
{
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += KIT_WAIT_MS / 1000;
    pthread_mutex_lock(&names.mutex);
    while (names.waiting != waiting)
        assert_int_equal(pthread_cond_timedwait(&names.changed, &names.mutex, &deadline), 0);
    pthread_mutex_unlock(&names.mutex);
}

static void names_go_on(void)
{
    pthread_mutex_lock(&names.mutex);
    names.released = true;
    pthread_cond_broadcast(&names.changed);
    pthread_mutex_unlock(&names.mutex);
    names_await(0);
}

static void a_name_that_hangs_ends_at_the_limit(void **state)
{
    struct upstream_scene scene;
    struct upstream_answer answer;
    (void)state;
    scene_begin(&scene);
    snprintf(scene.url, sizeof scene.url, "http://" HANGING_NAME ":1");
    scene.options.call_ns = 300 * CLOCK_NS_PER_MS;
    scene_connect(&scene);
    names_hang();
    int64_t began_at = clock_monotonic_ns();
    assert_int_equal(upstream_post(scene.upstream, "/a", TEXT("{}"), NO_JUDGE, &answer), UPSTREAM_FAILED);
    int64_t took_ms = (clock_monotonic_ns() - began_at) / CLOCK_NS_PER_MS;
    assert_string_equal(answer.reason, "no answer in time");
    /* libcurl's clock may be a millisecond ahead of ours. */
    assert_true(took_ms >= 290 && took_ms < STOP_MOST_S * 1000);
    upstream_answer_free(&answer);
    names_await(1); /* still there, and nobody waits for it */
    scene_end(&scene);
    names_go_on();
}

static void stopping_ends_a_name_that_hangs(void **state)
{
    struct upstream_scene scene;
    struct poster poster;
    (void)state;
    scene_begin(&scene);
    snprintf(scene.url, sizeof scene.url, "http://" HANGING_NAME ":1");
    scene_connect(&scene);
    names_hang();
    poster_begin(&poster, scene.upstream, "/a");
    names_await(1);
    int64_t stopped_at = clock_monotonic_ns();
    upstream_stop(scene.upstream, 0);
    assert_int_equal(poster_end(&poster), UPSTREAM_FAILED);
    assert_true(clock_monotonic_ns() - stopped_at < STOP_MOST_S * CLOCK_NS_PER_SECOND);
    assert_string_equal(poster.reason, "the server is stopping");
    scene_end(&scene);
    names_go_on();
}

/* --- the bulkhead --- */

static void the_seventeenth_call_is_refused_at_once(void **state)
{
    struct upstream_scene scene;
    struct upstream_answer answer;
    struct poster posters[BULKHEAD];
    (void)state;
    scene_begin(&scene);
    scene_connect(&scene);
    for (int round = 1; round <= 2; round++) {
        behave(&scene, STANDIN_HOLD);
        uint64_t before = standin_count(scene.standin, NULL);
        for (int i = 0; i < BULKHEAD; i++)
            poster_begin(&posters[i], scene.upstream, "/addEvent");
        assert_int_equal(standin_await(scene.standin, NULL, before + BULKHEAD, KIT_WAIT_MS), 0);
        assert_int_equal(upstream_counts(scene.upstream).calls_under_way, BULKHEAD);
        /* It would never return if it waited for one of them. */
        assert_int_equal(upstream_post(scene.upstream, "/addEvent", TEXT("{}"), NO_JUDGE, &answer),
                         UPSTREAM_BUSY);
        assert_string_equal(answer.reason, "too many calls are under way");
        upstream_answer_free(&answer);
        assert_int_equal(kit_get(scene.upstream), UPSTREAM_BUSY);
        assert_int_equal(standin_count(scene.standin, NULL), before + BULKHEAD);
        behave(&scene, STANDIN_ANSWER);
        standin_release(scene.standin);
        for (int i = 0; i < BULKHEAD; i++)
            assert_int_equal(poster_end(&posters[i]), UPSTREAM_ANSWERED);
        assert_int_equal(kit_post(scene.upstream, "{}"), UPSTREAM_ANSWERED);
        assert_int_equal(upstream_counts(scene.upstream).calls_under_way, 0);
    }
    struct breaker_counts counts = upstream_counts(scene.upstream).breaker;
    assert_int_equal(counts.state, BREAKER_CLOSED);
    assert_int_equal(counts.cancelled, 4);
    scene_end(&scene);
}

struct held_call {
    struct upstream_scene *scene;
    struct poster poster;
};

/* While its call is judged, its place is free: another call takes it, and stays. */
static enum upstream_verdict take_the_place(void *context, struct text body)
{
    struct held_call *held = context;
    (void)body;
    poster_begin(&held->poster, held->scene->upstream, "/held");
    assert_int_equal(standin_await(held->scene->standin, "/held", 1, KIT_WAIT_MS), 0);
    return UPSTREAM_BAD;
}

/* A probe that finds no room is given back. */
static void a_probe_without_room_is_no_failure(void **state)
{
    struct upstream_scene scene;
    struct upstream_answer answer;
    (void)state;
    scene_begin(&scene);
    scene.options.most_calls = 1;
    scene.options.breaker.failures_to_open = 1;
    scene_connect(&scene);
    standin_set(scene.standin, "/held", &(struct standin_behaviour){.kind = STANDIN_HOLD});
    struct held_call held = {.scene = &scene};
    struct upstream_judge judge = {take_the_place, &held};
    assert_int_equal(upstream_post(scene.upstream, "/a", TEXT("{}"), judge, &answer), UPSTREAM_FAILED);
    upstream_answer_free(&answer);
    assert_int_equal(kit_post(scene.upstream, "{}"), UPSTREAM_OPEN);
    atomic_store(&scene.now, CLOCK_NS_PER_SECOND);
    assert_int_equal(kit_post(scene.upstream, "{}"), UPSTREAM_BUSY);
    assert_int_equal(kit_post(scene.upstream, "{}"), UPSTREAM_BUSY);
    standin_release(scene.standin);
    assert_int_equal(poster_end(&held.poster), UPSTREAM_ANSWERED);
    struct breaker_counts counts = upstream_counts(scene.upstream).breaker;
    assert_int_equal(counts.state, BREAKER_HALF_OPEN);
    assert_int_equal(counts.late, 1);
    assert_int_equal(counts.probes_lost, 0);
    assert_int_equal(kit_post(scene.upstream, "{}"), UPSTREAM_ANSWERED);
    assert_int_equal(upstream_counts(scene.upstream).breaker.state, BREAKER_CLOSED);
    scene_end(&scene);
}

/* --- stopping --- */

static void stopping_ends_hanging_calls(void **state)
{
    struct upstream_scene scene;
    struct upstream_answer answer;
    struct poster posters[BULKHEAD];
    (void)state;
    scene_begin(&scene);
    scene_connect(&scene);
    behave(&scene, STANDIN_HANG);
    for (int i = 0; i < BULKHEAD; i++)
        poster_begin(&posters[i], scene.upstream, "/addEvent");
    assert_int_equal(standin_await(scene.standin, NULL, BULKHEAD, KIT_WAIT_MS), 0);
    int64_t stopped_at = clock_monotonic_ns();
    upstream_stop(scene.upstream, 0);
    for (int i = 0; i < BULKHEAD; i++) {
        assert_int_equal(poster_end(&posters[i]), UPSTREAM_FAILED);
        assert_string_equal(posters[i].reason, "the server is stopping");
    }
    print_message("stopped after %lld ms\n",
                  (long long)((clock_monotonic_ns() - stopped_at) / CLOCK_NS_PER_MS));
    assert_true(clock_monotonic_ns() - stopped_at < STOP_MOST_S * CLOCK_NS_PER_SECOND);
    assert_int_equal(upstream_post(scene.upstream, "/a", TEXT("{}"), NO_JUDGE, &answer), UPSTREAM_FAILED);
    assert_string_equal(answer.reason, "the server is stopping");
    upstream_answer_free(&answer);
    assert_int_equal(standin_count(scene.standin, NULL), BULKHEAD);
    struct breaker_counts counts = upstream_counts(scene.upstream).breaker;
    assert_int_equal(counts.cancelled, BULKHEAD);
    assert_int_equal(counts.failures, 0);
    scene_end(&scene);
}

/* --- many threads --- */

static void fifty_callers_make_one_probe(void **state)
{
    struct upstream_scene scene;
    struct poster posters[THREADS];
    (void)state;
    scene_begin(&scene);
    scene_connect(&scene);
    behave(&scene, STANDIN_DROP);
    for (int i = 0; i < 3; i++)
        assert_int_equal(kit_post(scene.upstream, "{}"), UPSTREAM_FAILED);
    behave(&scene, STANDIN_HOLD);
    atomic_store(&scene.now, CLOCK_NS_PER_SECOND);
    for (int i = 0; i < THREADS; i++)
        poster_begin(&posters[i], scene.upstream, "/addEvent");
    assert_int_equal(standin_await(scene.standin, NULL, 4, KIT_WAIT_MS), 0);
    unsigned answered = 0;
    int64_t deadline_at = clock_monotonic_ns() + KIT_WAIT_MS * CLOCK_NS_PER_MS;
    while (upstream_counts(scene.upstream).breaker.refused < THREADS - 1) {
        assert_true(clock_monotonic_ns() < deadline_at);
        sched_yield();
    }
    standin_release(scene.standin);
    for (int i = 0; i < THREADS; i++)
        answered += poster_end(&posters[i]) == UPSTREAM_ANSWERED;
    assert_int_equal(answered, 1);
    assert_int_equal(standin_count(scene.standin, NULL), 4);
    assert_int_equal(upstream_counts(scene.upstream).breaker.state, BREAKER_CLOSED);
    scene_end(&scene);
}

struct caller {
    pthread_t thread;
    struct upstream *upstream;
    unsigned number;
    enum upstream_result results[CALLS_EACH];
    unsigned refusals; /* open, or busy: nothing was sent, so the same may be sent again */
    atomic_uint *done;
};

static void *call_again_and_again(void *context)
{
    struct caller *caller = context;
    for (unsigned i = 0; i < CALLS_EACH; i++) {
        char body[32];
        snprintf(body, sizeof body, "%u", caller->number * CALLS_EACH + i);
        while ((caller->results[i] = kit_post(caller->upstream, body)) == UPSTREAM_OPEN ||
               caller->results[i] == UPSTREAM_BUSY) {
            caller->refusals++;
            nanosleep(&(struct timespec){.tv_nsec = 500 * 1000},
                      NULL); /* leaves the others some of the processor */
        }
        if (i % 8 == 0)
            kit_get(caller->upstream);
    }
    atomic_fetch_add(caller->done, 1);
    return NULL;
}

static void keep_changing(struct upstream_scene *scene, const atomic_uint *done)
{
    static const enum standin_kind kinds[] = {STANDIN_ANSWER,      STANDIN_DROP,    STANDIN_ANSWER,
                                              STANDIN_HANG,        STANDIN_ANSWER,  STANDIN_DROP_HALF,
                                              STANDIN_SLOW,        STANDIN_GARBAGE, STANDIN_ANSWER,
                                              STANDIN_DROP_UNREAD, STANDIN_ANSWER,  STANDIN_LARGE_HEAD};
    for (unsigned i = 0; atomic_load(done) < THREADS; i++) {
        if (i % 5 == 4) {
            assert_int_equal(standin_vanish(scene->standin), 0);
            assert_int_equal(standin_return(scene->standin), 0);
        }
        behave(scene, kinds[i % (sizeof kinds / sizeof *kinds)]);
        /* Until something has come, or for 5 ms: the breaker may be open. */
        standin_await(scene->standin, NULL, standin_count(scene->standin, NULL) + 3, 5);
    }
}

static void check_arrivals(struct upstream_scene *scene, const struct caller *callers)
{
    static unsigned arrived[THREADS * CALLS_EACH];
    struct standin_request request;
    for (size_t i = 0; standin_request(scene->standin, i, &request) == 0; i++) {
        if (strcmp(request.method, "POST") == 0)
            arrived[strtoul(request.body, NULL, 10)]++;
        standin_request_free(&request);
    }
    unsigned answered = 0;
    unsigned refusals = 0;
    for (unsigned i = 0; i < THREADS * CALLS_EACH; i++) {
        enum upstream_result result = callers[i / CALLS_EACH].results[i % CALLS_EACH];
        assert_true(result == UPSTREAM_ANSWERED || result == UPSTREAM_FAILED);
        assert_true(arrived[i] <= 1);
        if (result == UPSTREAM_ANSWERED)
            assert_int_equal(arrived[i], 1);
        answered += result == UPSTREAM_ANSWERED;
    }
    for (unsigned i = 0; i < THREADS; i++)
        refusals += callers[i].refusals;
    print_message("answered %u, failed %u, refused %u times\n", answered, THREADS * CALLS_EACH - answered,
                  refusals);
}

/* All at once, while the upstream changes its ways and comes and goes; it recovers in the end. */
static void fifty_threads_and_a_moody_upstream(void **state)
{
    static struct caller callers[THREADS];
    struct upstream_scene scene;
    atomic_uint done = 0;
    (void)state;
    scene_begin(&scene);
    scene.options.call_ns = 200 * CLOCK_NS_PER_MS;
    scene.options.clock = clock_system;
    scene.options.breaker.first_backoff_ns = CLOCK_NS_PER_MS;
    scene.options.breaker.longest_backoff_ns = 4 * CLOCK_NS_PER_MS;
    scene_connect(&scene);
    for (unsigned i = 0; i < THREADS; i++) {
        callers[i] = (struct caller){.upstream = scene.upstream, .number = i, .done = &done};
        assert_int_equal(pthread_create(&callers[i].thread, NULL, call_again_and_again, &callers[i]), 0);
    }
    keep_changing(&scene, &done);
    behave(&scene, STANDIN_ANSWER);
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(callers[i].thread, NULL), 0);
    check_arrivals(&scene, callers);
    int64_t deadline_at = clock_monotonic_ns() + KIT_WAIT_MS * CLOCK_NS_PER_MS;
    while (kit_get(scene.upstream) != UPSTREAM_ANSWERED)
        assert_true(clock_monotonic_ns() < deadline_at);
    struct upstream_counts counts = upstream_counts(scene.upstream);
    assert_int_equal(counts.breaker.state, BREAKER_CLOSED);
    assert_int_equal(counts.calls_under_way, 0);
    assert_int_equal(counts.breaker.calls,
                     counts.breaker.successes + counts.breaker.failures + counts.breaker.cancelled);
    scene_end(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_that_hangs_ends_at_the_limit),
        cmocka_unit_test(stopping_ends_a_name_that_hangs),
        cmocka_unit_test(the_seventeenth_call_is_refused_at_once),
        cmocka_unit_test(a_probe_without_room_is_no_failure),
        cmocka_unit_test(stopping_ends_hanging_calls),
        cmocka_unit_test(fifty_callers_make_one_probe),
        cmocka_unit_test(fifty_threads_and_a_moody_upstream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
