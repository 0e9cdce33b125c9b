/*
 * The soak: starts a server with short deadlines, runs all actors for SOAK_SECONDS (300), and waits for everything to be as it
 * was before: threads, descriptors, connections, keys, and memory within a margin. The last line is "N passed, N failed".
 *
 * The environment: SOAK_SECONDS; SOAK_SEED, to draw the same again; EVENT_SYNCER_BINARY and TEST_TIME_SCALE as in all tests.
 */
#include "soak.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../blackbox/kit_drive.h"
#include "../blackbox/kit_slow.h"

enum {
    USUAL_SECONDS = 300,
    LONGEST_SECONDS = 24 * 3600,
    ACTORS_MOST = 100,
    DESCRIPTORS = 1000,
    RETURN_MS = 60000,        /* the ttl, the retention and some more */
    MARGIN_KB = 48 * 1024,    /* resident memory, with what malloc keeps, times TEST_TIME_SCALE */
    QUEUE_MARGIN_BYTES = 0,   /* of the store's own count */
    METRICS_MARGIN = 2000000, /* of the metrics: names, tables, and a filter that shrinks slowly */
    SAMPLE_MS = 1000,
};

static const struct activity activities[] = {
    {"push", 4, 20, soak_push},
    {"get all", 8, 20, soak_get_all},
    {"get shared", 6, 20, soak_get_shared},
    {"get and cut", 4, 40, soak_get_and_cut},
    {"publish", 4, 60, soak_publish},
    {"stream", 6, 40, soak_stream},
    {"history", 1, 100, soak_history},
    {"subscribe", 1, 100, soak_subscribe},
    {"events", 2, 60, soak_post_events},
    {"metrics", 1, 60, soak_metrics},
    {"table", 1, 1000, soak_swap_table},
    {"add", 2, 200, soak_add_event},
    {"list", 1, 300, soak_list},
    {"live", 2, 60, soak_live_event},
    {"look", 2, 60, soak_look},
    {"hang up", 6, 20, soak_hang_up},
    {"dawdle", 2, 100, soak_dawdle},
    {"stall", 2, 500, soak_stall},
    {"vanish", 2, 200, soak_vanish},
};

/* Short, so that the run sees all of them at work many times. */
static const char *const options[] = {"--ttl",
                                      "30",
                                      "--retention",
                                      "30",
                                      "--wait",
                                      "5",
                                      "--heartbeat",
                                      "1",
                                      "--head-timeout",
                                      "2",
                                      "--body-timeout",
                                      "2",
                                      "--idle-timeout",
                                      "5",
                                      "--send-timeout",
                                      "2",
                                      "--peer-timeout",
                                      "4",
                                      "--log-level",
                                      "warn",
                                      NULL};

/* ---- for the actors ---- */

void soak_fail(struct soak *soak, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    pthread_mutex_lock(&soak->mutex);
    if (!atomic_exchange(&soak->failed, true))
        vsnprintf(soak->problem, sizeof soak->problem, format, arguments);
    pthread_mutex_unlock(&soak->mutex);
    va_end(arguments);
}

bool soak_is_over(const struct soak *soak)
{
    return atomic_load(&soak->failed) || kit_now_ms() >= soak->ends_at_ms;
}

/* splitmix64 */
int soak_draw(struct actor *actor, int bound)
{
    uint64_t mixed = actor->random += 0x9e3779b97f4a7c15;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
    return bound <= 0 ? 0 : (int)((mixed ^ (mixed >> 31)) % (uint64_t)bound);
}

bool soak_connect(struct actor *actor)
{
    if (actor->connection == NULL)
        actor->connection = kit_try_connect(actor->soak->server);
    if (actor->connection == NULL)
        soak_fail(actor->soak, "%s: connect: %s", actor->activity->name, strerror(errno));
    return actor->connection != NULL;
}

void soak_disconnect(struct actor *actor, bool reset)
{
    if (actor->connection != NULL)
        (reset ? kit_reset : kit_close)(actor->connection);
    actor->connection = NULL;
}

static bool is_among(int status, const char *statuses)
{
    char text[16];
    snprintf(text, sizeof text, "%d", status);
    return strstr(statuses, text) != NULL;
}

int soak_exchange(struct actor *actor, const char *method, const char *target, const char *type,
                  const char *body, const char *statuses, struct kit_response *response)
{
    char header[100];
    snprintf(header, sizeof header, "Content-Type: %s\r\n", type == NULL ? "application/json" : type);
    if (!soak_connect(actor))
        return 0;
    if (kit_try_send_request(actor->connection, method, target, header, body,
                             body == NULL ? 0 : strlen(body)) != 0 ||
        kit_try_receive(actor->connection, method, kit_deadline_at_ms(SOAK_DEADLINE_MS), response) != 0) {
        soak_fail(actor->soak, "%s: %s %s was not answered: %s", actor->activity->name, method, target,
                  strerror(errno));
        return 0;
    }
    const char *connection = kit_header(response, "Connection");
    if ((connection != NULL && strcmp(connection, "close") == 0) || response->until_end ||
        soak_draw(actor, 10) == 0)
        soak_disconnect(actor, false);
    if (is_among(response->status, statuses)) {
        if (response->status == 503)
            atomic_fetch_add(&actor->soak->refused, 1);
        return response->status;
    }
    soak_fail(actor->soak, "%s: %s %s was answered %d %.200s", actor->activity->name, method, target,
              response->status, response->body);
    kit_response_clear(response);
    return 0;
}

void soak_ask(struct actor *actor, const char *method, const char *target, const char *type, const char *body,
              const char *statuses)
{
    struct kit_response response;
    if (soak_exchange(actor, method, target, type, body, statuses, &response) != 0)
        kit_response_clear(&response);
}

/* ---- the run ---- */

static void *act(void *argument)
{
    struct actor *actor = argument;
    while (!soak_is_over(actor->soak)) {
        actor->activity->step(actor);
        actor->steps++;
        /* The rate of the load. */
        struct timespec pause = {.tv_nsec =
                                     (1 + soak_draw(actor, actor->activity->pause_ms)) * INT64_C(1000000)};
        if (pause.tv_nsec >= 1000000000)
            pause = (struct timespec){.tv_sec = 1};
        nanosleep(&pause, NULL);
    }
    soak_disconnect(actor, false);
    for (int i = 0; i < SOAK_LEFT_MOST; i++)
        if (actor->left[i] != NULL)
            kit_close(actor->left[i]);
    return NULL;
}

static size_t start_actors(struct soak *soak, struct actor *actors, uint64_t seed)
{
    size_t count = 0;
    for (size_t i = 0; i < sizeof activities / sizeof *activities; i++)
        for (int number = 0; number < activities[i].count; number++) {
            struct actor *actor = &actors[count];
            *actor = (struct actor){
                .soak = soak, .activity = &activities[i], .number = number, .random = seed * 1000 + count};
            assert_true(count++ < ACTORS_MOST);
            actor->runs = pthread_create(&actor->thread, NULL, act, actor) == 0;
            if (!actor->runs)
                soak_fail(soak, "a thread can't be started");
        }
    return count;
}

/* What must return, as /health and the system tell it. */
struct state {
    int64_t connections, threads, keys, groups, waiting, events, queue_bytes, streams, metrics_events,
        metrics_bytes, descriptors, resident_kb;
};

static struct state look(struct soak *soak)
{
    struct state state;
    const struct {
        const char *path;
        int64_t *number;
    } numbers[] = {
        {"connections.open", &state.connections},
        {"threads.total", &state.threads},
        {"queue.keys", &state.keys},
        {"queue.groups", &state.groups},
        {"queue.waiting", &state.waiting},
        {"queue.events", &state.events},
        {"queue.memory_bytes", &state.queue_bytes},
        {"streams", &state.streams},
        {"metrics.events", &state.metrics_events},
        {"metrics.memory_bytes", &state.metrics_bytes},
    };
    const struct kit_response *health = kit_request(soak->server, "GET", "/health", NULL, NULL, 0);
    kit_assert_status(health, 200);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!kit_json_number(health->body, numbers[i].path, numbers[i].number))
            kit_fail(soak->kit, "no %s in %s", numbers[i].path, health->body);
    struct kit_usage usage = kit_usage(soak->server);
    state.descriptors = usage.descriptors;
    state.resident_kb = usage.resident_kb;
    return state;
}

static void print_state(const char *when, const struct state *state)
{
    print_message(
        "%s: threads %lld, descriptors %lld, connections %lld, streams %lld, keys %lld, groups %lld, waiting "
        "%lld, events %lld, queue %lld bytes, metrics %lld events, %lld bytes, resident %lld KB\n",
        when, (long long)state->threads, (long long)state->descriptors, (long long)state->connections,
        (long long)state->streams, (long long)state->keys, (long long)state->groups,
        (long long)state->waiting, (long long)state->events, (long long)state->queue_bytes,
        (long long)state->metrics_events, (long long)state->metrics_bytes, (long long)state->resident_kb);
}

static bool has_returned(const struct state *now, const struct state *before)
{
    return now->connections <= before->connections && now->threads <= before->threads &&
           now->keys == before->keys && now->groups == before->groups && now->waiting == 0 &&
           now->events == 0 && now->queue_bytes <= before->queue_bytes + QUEUE_MARGIN_BYTES &&
           now->streams == 0 && now->metrics_events == 0 &&
           now->metrics_bytes <= before->metrics_bytes + METRICS_MARGIN &&
           now->descriptors <= before->descriptors &&
           now->resident_kb <= before->resident_kb + (int64_t)(MARGIN_KB * kit_time_scale());
}

/* Once a second: what it is in between is only told, but a leak shows in it. */
static void watch(struct soak *soak)
{
    struct state most = {0};
    int64_t next_at_ms = kit_now_ms();
    while (!soak_is_over(soak)) {
        if (kit_now_ms() >= next_at_ms) {
            struct state now = look(soak);
            most.resident_kb = now.resident_kb > most.resident_kb ? now.resident_kb : most.resident_kb;
            most.connections = now.connections > most.connections ? now.connections : most.connections;
            most.threads = now.threads > most.threads ? now.threads : most.threads;
            most.descriptors = now.descriptors > most.descriptors ? now.descriptors : most.descriptors;
            next_at_ms += SAMPLE_MS;
        }
        kit_pause();
    }
    print_message("at most: threads %lld, descriptors %lld, connections %lld, resident %lld KB\n",
                  (long long)most.threads, (long long)most.descriptors, (long long)most.connections,
                  (long long)most.resident_kb);
}

static void wait_until_returned(struct soak *soak, const struct state *before)
{
    int64_t deadline_at_ms = kit_deadline_at_ms(RETURN_MS);
    struct state now = look(soak);
    while (!has_returned(&now, before) && kit_now_ms() < deadline_at_ms) {
        for (int i = 0; i < 100; i++)
            kit_pause();
        now = look(soak);
    }
    print_state("after", &now);
    if (!has_returned(&now, before))
        kit_fail(soak->kit, "not all of it has returned");
}

static int read_number(const char *name, int usual, int most)
{
    const char *text = getenv(name);
    long number = text == NULL ? usual : strtol(text, NULL, 10);
    return number < 1 || number > most ? usual : (int)number;
}

static void prepare(struct soak *soak, struct kit *kit)
{
    soak->kit = kit;
    soak->seconds = read_number("SOAK_SECONDS", USUAL_SECONDS, LONGEST_SECONDS);
    pthread_mutex_init(&soak->mutex, NULL);
    kit_raise_file_limit(kit, DESCRIPTORS);
    soak->server = kit_start(kit, &(struct kit_start){.arguments = options});
    soak_queue_create(soak);
    soak_channels_create(soak);
    kit_wait_until_health(soak->server, "connections.open", 1);
}

static void everything_returns(void **state)
{
    struct soak *soak = kit_allocate(*state, sizeof *soak);
    struct actor *actors = kit_allocate(*state, ACTORS_MOST * sizeof *actors);
    int seed = read_number("SOAK_SEED", (int)time(NULL), INT32_MAX);
    prepare(soak, *state);
    print_message("SOAK_SEED=%d, %d seconds\n", seed, soak->seconds);
    struct state before = look(soak);
    print_state("before", &before);
    soak->ends_at_ms = kit_now_ms() + soak->seconds * INT64_C(1000);
    size_t count = start_actors(soak, actors, (uint64_t)seed);
    watch(soak);
    for (size_t i = 0; i < count; i++)
        if (actors[i].runs)
            pthread_join(actors[i].thread, NULL);
    if (!atomic_load(&soak->failed))
        soak_queue_check(soak);
    if (atomic_load(&soak->failed))
        kit_fail(soak->kit, "%s", soak->problem);
    soak_channels_report(soak);
    uint64_t steps = 0;
    for (size_t i = 0; i < count; i++)
        steps += actors[i].steps;
    print_message("%llu steps of %zu actors, %lld of them refused with 503\n", (unsigned long long)steps,
                  count, (long long)atomic_load(&soak->refused));
    /* A few where others keep the disk busy; more would mean that nothing was under test. */
    assert_true((uint64_t)atomic_load(&soak->refused) <= steps / 50);
    wait_until_returned(soak, &before);
    kit_stop(soak->server);
}

int main(void)
{
    kit_free_at_once();
    const struct CMUnitTest tests[] = {kit_test(everything_returns)};
    int failed = kit_run_tests(tests);
    int count = sizeof tests / sizeof *tests;
    printf("%d passed, %d failed\n", count - failed, failed);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
