/* Tables are replaced while others ingest and ask: every answer is made from one table, and never from an older
 * one than it could know; in the end every event has been counted. */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit_metrics.h"

enum { USERS = 1000, BATCH = 100, INGESTERS = 3, ASKERS = 3, SWAPPERS = 2, SWAPS = 60, BATCHES = 60 };

struct scene {
    struct kit *kit;
    struct kit_server *server;
    const char *tables[2]; /* bodies: all users are of plan a, or every second one of plan b */
    int swaps, batches;    /* of each swapper and each ingester */
    atomic_int swapped;    /* number of the newest table that was answered 200 */
    atomic_int working;    /* swappers and ingesters */
    atomic_int accepted;   /* events, by all ingesters */
    atomic_bool failed;
    pthread_mutex_t mutex;
    char problem[1000]; /* the first one */
};

struct actor {
    struct scene *scene;
    pthread_t thread;
    int number;
};

static void complain(struct scene *scene, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void complain(struct scene *scene, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    pthread_mutex_lock(&scene->mutex);
    if (!atomic_exchange(&scene->failed, true))
        vsnprintf(scene->problem, sizeof scene->problem, format, arguments);
    pthread_mutex_unlock(&scene->mutex);
    va_end(arguments);
}

/* True and the answer, which must be 200. */
static bool exchange(struct scene *scene, struct kit_connection *connection, const char *method,
                     const char *target, const char *type, const char *body, struct kit_response *response)
{
    size_t length = body == NULL ? 0 : strlen(body);
    if (kit_try_exchange(connection, method, target, type, body, length, response) != 0) {
        complain(scene, "%s %s: %s", method, target, strerror(errno));
        return false;
    }
    if (response->status == 200)
        return true;
    complain(scene, "%s %s: %d %.500s", method, target, response->status, response->body);
    kit_response_clear(response);
    return false;
}

/* ---- one table ---- */

/* What an answer may be between two tables: all of plan a and nobody unknown, or plan b. */
static const char *judge(const char *json, struct kit_metrics *metrics)
{
    const char *problem = kit_parse_metrics(json, metrics);
    if (problem != NULL)
        return problem;
    int64_t a = kit_parse_count(metrics->by_plan, "a"), b = kit_parse_count(metrics->by_plan, "b");
    int64_t in_a = kit_parse_count(metrics->by_region, "in a"),
            in_b = kit_parse_count(metrics->by_region, "in b");
    if ((a >= 0) == (b >= 0))
        return "plans of both tables, or of none";
    if (a != in_a || b != in_b)
        return "plans and regions are of different tables";
    if (metrics->unknown + (a >= 0 ? a : b) != metrics->events)
        return "unknown and the plan are not all events";
    if (a >= 0 && metrics->unknown != 0)
        return "somebody is unknown to the table that has all";
    /* Half of each batch is of users whom table b does not have; a batch may be counted bit by bit. */
    int64_t half = metrics->events / 2, slack = (int64_t)INGESTERS * BATCH;
    if (b >= 0 && (metrics->unknown < half - slack || metrics->unknown > half + slack))
        return "not half of the events are unknown to the table that has half of the users";
    if (metrics->unique_users > (a >= 0 ? USERS : USERS / 2))
        return "more users than the table has";
    return NULL;
}

static int64_t ask_and_judge(struct scene *scene, struct kit_connection *connection)
{
    struct kit_response response;
    struct kit_metrics metrics;
    if (!exchange(scene, connection, "GET", KIT_METRICS "?window=1800", NULL, NULL, &response))
        return -1;
    const char *problem = judge(response.body, &metrics);
    if (problem != NULL)
        complain(scene, "%s: %.600s", problem, response.body);
    kit_response_clear(&response);
    return problem == NULL ? metrics.events : -1;
}

static void *ask(void *argument)
{
    struct actor *actor = argument;
    struct scene *scene = actor->scene;
    struct kit_connection *connection = kit_try_connect(scene->server);
    int64_t before = 0;
    while (connection != NULL && !atomic_load(&scene->failed) && atomic_load(&scene->working) > 0) {
        int64_t events = ask_and_judge(scene, connection);
        if (events >= 0 && events < before)
            complain(scene, "%lld events after %lld", (long long)events, (long long)before);
        before = events;
    }
    if (connection != NULL)
        kit_close(connection);
    return NULL;
}

static void *swap(void *argument)
{
    struct actor *actor = argument;
    struct scene *scene = actor->scene;
    struct kit_connection *connection = kit_try_connect(scene->server);
    for (int i = 0; connection != NULL && i < scene->swaps && !atomic_load(&scene->failed); i++) {
        struct kit_response response;
        const char *body = scene->tables[(i + actor->number) % 2];
        if (exchange(scene, connection, "PUT", KIT_USERS, KIT_JSON, body, &response))
            kit_response_clear(&response);
    }
    if (connection != NULL)
        kit_close(connection);
    atomic_fetch_sub(&scene->working, 1);
    return NULL;
}

/* One batch of events of users of both kinds, alternately; the text of its body. */
static void write_batch(char *lines, int ingester, int batch, const char *ts)
{
    size_t used = 0;
    for (int i = 0; i < BATCH; i++)
        used += (size_t)sprintf(
            lines + used,
            "{\"event_id\":\"%d-%d-%d\",\"user_id\":\"u%d\",\"type\":\"type %d\",\"ts\":\"%s\"}\n", ingester,
            batch, i, (batch * BATCH + i) % USERS, i % 5, ts);
}

static void *ingest(void *argument)
{
    struct actor *actor = argument;
    struct scene *scene = actor->scene;
    struct kit_connection *connection = kit_try_connect(scene->server);
    char lines[BATCH * 160], ts[64];
    for (int batch = 0; connection != NULL && batch < scene->batches && !atomic_load(&scene->failed);
         batch++) {
        struct kit_response response;
        time_t now = (time_t)(kit_wall_clock_ms() / 1000) - 1 - batch % 40;
        struct tm parts;
        strftime(ts, sizeof ts, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &parts));
        write_batch(lines, actor->number, batch, ts);
        if (!exchange(scene, connection, "POST", KIT_EVENTS, KIT_NDJSON, lines, &response))
            break;
        if (strstr(response.body, "\"error\"") != NULL)
            complain(scene, "an event was refused: %.600s", response.body);
        kit_response_clear(&response);
    }
    if (connection != NULL)
        kit_close(connection);
    atomic_fetch_sub(&scene->working, 1);
    return NULL;
}

/* Each function in so many threads, until all are through. */
static void play(struct scene *scene, void *(*const *functions)(void *), const int *counts, size_t kinds)
{
    struct actor actors[16];
    size_t used = 0;
    pthread_mutex_init(&scene->mutex, NULL);
    for (size_t kind = 0; kind < kinds; kind++)
        for (int i = 0; i < counts[kind]; i++, used++) {
            actors[used] = (struct actor){.scene = scene, .number = i};
            assert_int_equal(pthread_create(&actors[used].thread, NULL, functions[kind], &actors[used]), 0);
        }
    for (size_t i = 0; i < used; i++)
        pthread_join(actors[i].thread, NULL);
    pthread_mutex_destroy(&scene->mutex);
    if (atomic_load(&scene->failed))
        kit_fail(scene->kit, "%s", scene->problem);
}

/* Users u0, u2, u4, ... with those attributes. */
static const char *even_users(struct kit *kit, const char *attributes)
{
    char *users = kit_allocate(kit, (size_t)USERS * 80);
    size_t used = 0;
    for (int i = 0; i < USERS; i += 2)
        used += (size_t)sprintf(users + used, "%s\"u%d\":{%s}", i == 0 ? "{" : ",", i, attributes);
    users[used] = '}';
    return users;
}

static void every_answer_is_made_from_one_table(void **state)
{
    struct kit *kit = *state;
    int scale = kit_time_scale() > 1 ? 3 : 1;
    struct scene scene = {
        .kit = kit, .server = kit_serve_events(kit), .swaps = SWAPS / scale, .batches = BATCHES / scale};
    const char *all = kit_users(kit, "u", USERS, "\"plan\":\"a\",\"region\":\"in a\"");
    const char *half = even_users(kit, "\"plan\":\"b\",\"region\":\"in b\"");
    scene.tables[0] = kit_table(kit, all, "2025-10-08T12:00:00Z");
    scene.tables[1] = kit_table(kit, half, "2025-10-08T12:00:00Z");
    kit_assert_status(kit_put(scene.server, scene.tables[0]), 200);
    atomic_store(&scene.working, SWAPPERS + INGESTERS);
    play(&scene, (void *(*const[])(void *)){swap, ingest, ask}, (const int[]){SWAPPERS, INGESTERS, ASKERS},
         3);
    kit_assert_status(kit_put(scene.server, scene.tables[0]), 200);
    int each = scene.batches * BATCH, total = INGESTERS * each;
    const char *types = kit_format(kit, "type 0=%d type 1=%d type 2=%d type 3=%d type 4=%d", total / 5,
                                   total / 5, total / 5, total / 5, total / 5);
    kit_assert_metrics(scene.server, 1800, .unique_users = USERS, .plans = kit_format(kit, "a=%d", total),
                       .regions = kit_format(kit, "in a=%d", total), .types = types);
    kit_assert_status(kit_put(scene.server, scene.tables[1]), 200);
    kit_assert_metrics(scene.server, 1800, .unique_users = USERS / 2, .unknown = total / 2,
                       .plans = kit_format(kit, "b=%d", total / 2),
                       .regions = kit_format(kit, "in b=%d", total / 2), .types = types);
}

/* ---- the newest table ---- */

/* The number of the table that an answer is made from, or -1. */
static int ask_number(struct scene *scene, struct kit_connection *connection)
{
    struct kit_response response;
    struct kit_metrics metrics;
    int plan = -1, region = -1;
    if (!exchange(scene, connection, "GET", KIT_METRICS "?window=1800", NULL, NULL, &response))
        return -1;
    const char *problem = kit_parse_metrics(response.body, &metrics);
    if (problem == NULL && (sscanf(metrics.by_plan.text, "{\"p%d\":", &plan) != 1 ||
                            sscanf(metrics.by_region.text, "{\"r%d\":", &region) != 1 || plan != region ||
                            kit_parse_sum(metrics.by_plan) != metrics.events || metrics.unknown != 0))
        problem = "not of one table";
    if (problem != NULL)
        complain(scene, "%s: %.600s", problem, response.body);
    kit_response_clear(&response);
    return problem == NULL ? plan : -1;
}

/* What was answered before is the least that an answer may be made from, and tables never come back. */
static void *ask_for_newest(void *argument)
{
    struct actor *actor = argument;
    struct scene *scene = actor->scene;
    struct kit_connection *connection = kit_try_connect(scene->server);
    int before = 0;
    while (connection != NULL && !atomic_load(&scene->failed) && atomic_load(&scene->working) > 0) {
        int least = atomic_load(&scene->swapped);
        int found = ask_number(scene, connection);
        if (found >= 0 && (found < least || found < before))
            complain(scene, "table %d after %d was answered and %d seen", found, least, before);
        before = found;
    }
    if (connection != NULL)
        kit_close(connection);
    return NULL;
}

static void *swap_numbered(void *argument)
{
    struct actor *actor = argument;
    struct scene *scene = actor->scene;
    struct kit_connection *connection = kit_try_connect(scene->server);
    struct kit_connection *other = kit_try_connect(scene->server);
    for (int i = 1; other != NULL && connection != NULL && i <= scene->swaps; i++) {
        struct kit_response response;
        char *body = kit_try_numbered_table(i, USERS);
        bool taken = exchange(scene, connection, "PUT", KIT_USERS, KIT_JSON, body, &response);
        free(body);
        if (!taken)
            break;
        kit_response_clear(&response);
        atomic_store(&scene->swapped, i);
        if (atomic_load(&scene->failed) || ask_number(scene, other) < 0)
            break;
    }
    if (connection != NULL)
        kit_close(connection);
    if (other != NULL)
        kit_close(other);
    atomic_fetch_sub(&scene->working, 1);
    return NULL;
}

static void answers_are_made_from_the_newest_table(void **state)
{
    struct kit *kit = *state;
    int scale = kit_time_scale() > 1 ? 3 : 1;
    struct scene scene = {
        .kit = kit, .server = kit_serve_events(kit), .swaps = SWAPS / scale, .batches = BATCHES / scale};
    char *first = kit_try_numbered_table(0, USERS);
    kit_assert_status(kit_put(scene.server, first), 200);
    free(first);
    atomic_store(&scene.working, 1 + INGESTERS);
    play(&scene, (void *(*const[])(void *)){swap_numbered, ingest, ask_for_newest},
         (const int[]){1, INGESTERS, ASKERS}, 3);
    int total = INGESTERS * scene.batches * BATCH;
    const struct kit_metrics *metrics = kit_metrics(scene.server, 1800);
    assert_int_equal(metrics->events, total);
    assert_string_equal(kit_counts(kit, metrics->by_plan), kit_format(kit, "p%d=%d", scene.swaps, total));
}

/* ---- the same events by many ---- */

/* All post the same ids, each in another order of batches. */
static void *ingest_the_same(void *argument)
{
    struct actor *actor = argument;
    struct scene *scene = actor->scene;
    struct kit_connection *connection = kit_try_connect(scene->server);
    char lines[BATCH * 160], ts[64];
    time_t now = (time_t)(kit_wall_clock_ms() / 1000) - 1;
    struct tm parts;
    strftime(ts, sizeof ts, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &parts));
    for (int i = 0; connection != NULL && i < scene->batches && !atomic_load(&scene->failed); i++) {
        struct kit_response response;
        /* Always about the same one, so that they meet. */
        write_batch(lines, 0, i / 4 * 4 + (i + actor->number) % 4, ts);
        if (!exchange(scene, connection, "POST", KIT_EVENTS, KIT_NDJSON, lines, &response))
            break;
        for (const char *next = response.body; (next = strstr(next, KIT_ACCEPTED)) != NULL; next++)
            atomic_fetch_add(&scene->accepted, 1);
        kit_response_clear(&response);
    }
    if (connection != NULL)
        kit_close(connection);
    return NULL;
}

static void an_id_counts_once_however_many_send_it(void **state)
{
    enum { SENDERS = 6 };
    struct scene scene = {.kit = *state, .server = kit_serve_events(*state), .batches = 40};
    play(&scene, (void *(*const[])(void *)){ingest_the_same}, (const int[]){SENDERS}, 1);
    assert_int_equal(atomic_load(&scene.accepted), 40 * BATCH);
    assert_int_equal(kit_metrics(scene.server, 300)->unknown, 40 * BATCH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_engines(every_answer_is_made_from_one_table),
        kit_test_sqlite(answers_are_made_from_the_newest_table),
        kit_test_sqlite(an_id_counts_once_however_many_send_it),
    };
    return kit_run_event_tests(tests);
}
