/*
 * Many producers and consumers at once, some of which hang up at the worst moment. For every group of every
 * key: each event exactly once, each producer's order kept, nothing lost.
 *
 * Three kinds of groups:
 *  - PLAIN: one consumer that always reads on. It sees the ids 1, 2, 3, ... one after the other.
 *  - SHARED: several consumers with limits. They half-close while they wait, but read on to the end of the
 *    connection; and they reset it right after a whole answer. Both leave no doubt about what was consumed,
 * so every event is still seen exactly once.
 *  - CUT: consumers that reset or close before or in the middle of an answer. The server may or may not have
 * handed over the whole of it. An event may be missing only if a request of its group was cut at about that
 * time, and no more of them than the cut requests had asked for. No event may be seen twice. Cuts come in
 * every other second only, so that a loss in the seconds between has no excuse.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kit_ledger.h"

enum { KEYS = 3, PRODUCERS = 6, KINDS = 3, CONSUMERS = 3, PADDING = 20000, BATCH = 8, ID_MAX = 100000 };
enum kind { PLAIN, SHARED, CUT };
#define EVENTS     10000 /* of each producer, at TEST_TIME_SCALE 1 */
#define NOTICED_MS 300   /* the server knows of a cut by then */
#define PHASE_MS   1000
#define FAIL(...)  fail_with((stress), __VA_ARGS__)

struct group {
    enum kind kind;
    struct ledger_group ledger;
};

struct stress {
    struct kit *kit;
    struct kit_server *server;
    int64_t started_at_ms;
    struct ledger ledger;
    struct group groups[KEYS][KINDS];
    atomic_bool failed, producers_done;
    pthread_mutex_t mutex; /* guards `problem` */
    char problem[300];
};

struct actor {
    struct stress *stress;
    pthread_t thread;
    bool runs; /* the thread was started */
    uint64_t random;
    struct kit_connection *connection; /* NULL: opened when needed */
    int number;                        /* of a producer */
    struct group *group;               /* of a consumer */
};

struct request {
    char target[120];
    int limit; /* 0: none */
    int64_t sent_at_ms;
};

/* The first problem counts; it ends all threads. */
static void __attribute__((format(printf, 2, 3))) fail_with(struct stress *stress, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    pthread_mutex_lock(&stress->mutex);
    if (!atomic_exchange(&stress->failed, true))
        vsnprintf(stress->problem, sizeof stress->problem, format, arguments);
    pthread_mutex_unlock(&stress->mutex);
    va_end(arguments);
}

/* splitmix64: 0 to bound - 1. */
static int draw(struct actor *actor, int bound)
{
    uint64_t mixed = actor->random += 0x9e3779b97f4a7c15;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
    return (int)((mixed ^ (mixed >> 31)) % (uint64_t)bound);
}

static bool is_connected(struct actor *actor)
{
    if (actor->connection == NULL)
        actor->connection = kit_try_connect(actor->stress->server);
    if (actor->connection == NULL)
        fail_with(actor->stress, "connect: %s", strerror(errno));
    return actor->connection != NULL;
}

static void disconnect(struct actor *actor, bool reset)
{
    if (actor->connection != NULL)
        (reset ? kit_reset : kit_close)(actor->connection);
    actor->connection = NULL;
}

/* ---- producers ---- */

static size_t write_event(struct actor *producer, char *text, int number)
{
    int padding = draw(producer, 50) == 0 ? draw(producer, PADDING) : draw(producer, 200);
    int length = sprintf(text, "{\"p\":%d,\"n\":%d,\"x\":\"", producer->number, number);
    memset(text + length, 'x', (size_t)padding);
    return (size_t)(length + padding + sprintf(text + length + padding, "\"}\n"));
}

static void note_pushes(struct actor *producer, int first, int count, struct ledger_push push)
{
    for (int i = 0; i < count; i++)
        producer->stress->ledger.pushes[producer->number][first + i] = push;
}

/* Reads the answer of a push; its id, or 0 after a failure. */
static int64_t read_id(struct actor *producer)
{
    struct stress *stress = producer->stress;
    struct kit_response response;
    int64_t id = 0;
    if (kit_try_receive(producer->connection, "POST", kit_deadline_at_ms(KIT_DEADLINE_MS), &response) != 0) {
        FAIL("no answer to a push: %s", strerror(errno));
        return 0;
    }
    if (response.status != 200 || !kit_json_number(response.body, "id", &id) || id < 1 || id > ID_MAX)
        FAIL("a push was answered %d %.200s", response.status, response.body);
    kit_response_clear(&response);
    return id;
}

/* Pushes some events in one request, which may break off. */
static int push_some(struct actor *producer, char *text, int first)
{
    struct stress *stress = producer->stress;
    int count = draw(producer, 3) == 0 ? 1 + draw(producer, BATCH) : 1, dice = draw(producer, 100);
    if (count > stress->ledger.events - first)
        count = stress->ledger.events - first;
    size_t length = 0;
    for (int i = 0; i < count; i++)
        length += write_event(producer, text + length, first + i);
    if (count == 1)
        length--; /* a single event is stored byte for byte, its line break too */
    struct ledger_push push = {.key = draw(producer, KEYS), .started_at_ms = kit_now_ms()};
    char head[200];
    int head_length =
        snprintf(head, sizeof head,
                 "POST /push?key=key%d HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/%s\r\n"
                 "Content-Length: %zu\r\n\r\n",
                 push.key, count == 1 ? "json" : "x-ndjson", length);
    size_t sent_length = dice < 3 ? (size_t)draw(producer, (int)length) : length; /* 3 in 100 never finish */
    if (!is_connected(producer))
        return count;
    push.certainty = dice < 3 ? LEDGER_NEVER : dice < 6 ? LEDGER_PERHAPS : LEDGER_STORED;
    note_pushes(producer, first, count, push);
    if (kit_try_send(producer->connection, head, (size_t)head_length) != 0 ||
        kit_try_send(producer->connection, text, sent_length) != 0) {
        FAIL("sending a push: %s", strerror(errno));
    } else if (push.certainty != LEDGER_STORED) {
        disconnect(producer, draw(producer, 2) == 0);
    } else {
        if (dice < 10) /* closes its sending side, and must be answered all the same */
            kit_shutdown_sending(producer->connection);
        stress->ledger.pushes[producer->number][first + count - 1].id = read_id(producer);
        if (dice < 15)
            disconnect(producer, dice < 12);
    }
    return count;
}

static void *produce(void *argument)
{
    struct actor *producer = argument;
    struct stress *stress = producer->stress;
    char *text = malloc(BATCH * (PADDING + 100));
    if (text == NULL)
        FAIL("out of memory");
    for (int next = 0; next < stress->ledger.events && !atomic_load(&stress->failed);)
        next += push_some(producer, text, next);
    disconnect(producer, false);
    free(text);
    return NULL;
}

/* ---- consumers ---- */

static bool take_text(const char **next, const char *text)
{
    if (strncmp(*next, text, strlen(text)) != 0)
        return false;
    *next += strlen(text);
    return true;
}

static bool take_number(const char **next, int64_t most, int64_t *number)
{
    char *end;
    *number = strtoll(*next, &end, 10);
    bool taken = end != *next && *number >= 0 && *number <= most;
    *next = end;
    return taken;
}

struct event {
    int64_t id, producer, number;
};

/* One element {"id":7,"ts":"...","data":{"p":0,"n":1,"x":"xx"}} */
static bool take_event(const char **next, int most, struct event *event)
{
    if (!take_text(next, "{\"id\":") || !take_number(next, ID_MAX, &event->id) ||
        !take_text(next, ",\"ts\":\""))
        return false;
    *next += strcspn(*next, "\"");
    if (!take_text(next, "\",\"data\":{\"p\":") || !take_number(next, PRODUCERS - 1, &event->producer) ||
        !take_text(next, ",\"n\":") || !take_number(next, most, &event->number) ||
        !take_text(next, ",\"x\":\""))
        return false;
    *next += strspn(*next, "x");
    return take_text(next, "\"}}");
}

/* Notes an answer that was received whole; the number of its events, or -1. */
static int note_answer(struct stress *stress, struct group *group, const struct kit_response *response)
{
    const char *next = response->body;
    int64_t last_id = 0;
    int count = 0;
    if (response->status != 200 || !take_text(&next, "[")) {
        FAIL("a get was answered %d %.200s", response->status, response->body);
        return -1;
    }
    pthread_mutex_lock(&group->ledger.mutex);
    while (*next != ']' && !atomic_load(&stress->failed)) {
        struct event event;
        if ((count > 0 && !take_text(&next, ",")) || !take_event(&next, stress->ledger.events - 1, &event)) {
            FAIL("not an event at %.100s of %.100s", next, response->body);
            break;
        }
        const char *problem = NULL;
        if (event.id <= last_id)
            problem = "out of order within a batch";
        else if (group->kind == PLAIN && event.id != group->ledger.last_id + 1)
            problem = "out of order";
        else
            problem = ledger_see_locked(&group->ledger, event.id, (int)event.producer, (int)event.number);
        if (problem != NULL)
            FAIL("key%d group%d: id %lld is %s", group->ledger.key, (int)group->kind, (long long)event.id,
                 problem);
        last_id = event.id;
        count++;
    }
    pthread_mutex_unlock(&group->ledger.mutex);
    return atomic_load(&stress->failed) ? -1 : count;
}

static struct request make_request(struct actor *consumer, bool to_cut)
{
    struct request request = {.limit = 0};
    char limit[32] = "";
    if (to_cut || (consumer->group->kind != PLAIN && draw(consumer, 2) == 0))
        request.limit = 1 + draw(consumer, to_cut ? 5 : 20);
    if (request.limit > 0)
        snprintf(limit, sizeof limit, "&limit=%d", request.limit);
    snprintf(request.target, sizeof request.target,
             "/blocking-get?key=key%d&groupId=group%d&meta=1&timeout=%s%s", consumer->group->ledger.key,
             (int)consumer->group->kind, draw(consumer, 10) == 0 ? "0" : "0.25", limit);
    return request;
}

/* Waits a little for an answer, without reading it. */
static void dawdle(struct actor *consumer)
{
    for (int looks = draw(consumer, 6); looks > 0 && !kit_has_input(consumer->connection); looks--)
        kit_pause();
}

/* Sends a request and cuts it off, before anything of the answer or in the middle of it. */
static void get_and_cut(struct actor *consumer)
{
    char bytes[400];
    struct request request = make_request(consumer, true);
    request.sent_at_ms = kit_now_ms();
    if (kit_try_send_request(consumer->connection, "GET", request.target, NULL, NULL, 0) != 0)
        fail_with(consumer->stress, "sending a get: %s", strerror(errno));
    else if (draw(consumer, 2) == 0)
        dawdle(consumer);
    else
        kit_try_read(consumer->connection, bytes, (size_t)(1 + draw(consumer, (int)sizeof bytes)));
    disconnect(consumer, draw(consumer, 2) == 0);
    struct ledger_cut cut = {request.sent_at_ms, kit_now_ms(), request.limit};
    if (ledger_note_cut(&consumer->group->ledger, cut) != 0)
        fail_with(consumer->stress, "out of memory");
}

/* Sends a request and reads all that comes; the number of events, -1 when it is not known to be the last of
 * them. */
static int get_whole(struct actor *consumer)
{
    struct stress *stress = consumer->stress;
    struct kit_response response;
    struct request request = make_request(consumer, false);
    bool half_closes = consumer->group->kind == SHARED && draw(consumer, 6) == 0;
    if (kit_try_send_request(consumer->connection, "GET", request.target, NULL, NULL, 0) != 0) {
        FAIL("sending a get: %s", strerror(errno));
        return -1;
    }
    if (half_closes) {
        dawdle(consumer);
        kit_shutdown_sending(consumer->connection);
    }
    if (kit_try_receive(consumer->connection, "GET", kit_deadline_at_ms(KIT_DEADLINE_MS), &response) != 0) {
        /* Hung up while it waited: closed by the server without a byte, and nothing is consumed. */
        if (!half_closes || errno != EPIPE)
            FAIL("no answer to a get%s: %s", half_closes ? " of a half-closed client" : "", strerror(errno));
        disconnect(consumer, false);
        return -1;
    }
    int count = note_answer(stress, consumer->group, &response);
    kit_response_clear(&response);
    if (half_closes || (consumer->group->kind != PLAIN && draw(consumer, 10) == 0))
        disconnect(consumer, draw(consumer, 2) == 0);
    return half_closes ? -1 : count;
}

static void *consume(void *argument)
{
    struct actor *consumer = argument;
    struct stress *stress = consumer->stress;
    while (!atomic_load(&stress->failed) && is_connected(consumer)) {
        bool done = atomic_load(&stress->producers_done);
        bool cutting = (kit_now_ms() - stress->started_at_ms) / PHASE_MS % 2 == 0;
        if (consumer->group->kind == CUT && cutting && !done && draw(consumer, 3) == 0)
            get_and_cut(consumer);
        else if (get_whole(consumer) == 0 && done)
            break;
    }
    disconnect(consumer, false);
    return NULL;
}

/* ---- the whole ---- */

static void set_up(struct stress *stress, struct kit *kit)
{
    stress->kit = kit;
    stress->server = kit_serve(kit, "--max-threads", "100");
    stress->ledger = (struct ledger){.kit = kit, .producer_count = PRODUCERS};
    stress->ledger.events = (int)(EVENTS / kit_time_scale());
    stress->ledger.pushes = kit_allocate(kit, PRODUCERS * sizeof *stress->ledger.pushes);
    for (int i = 0; i < PRODUCERS; i++)
        stress->ledger.pushes[i] =
            kit_allocate(kit, (size_t)stress->ledger.events * sizeof **stress->ledger.pushes);
    pthread_mutex_init(&stress->mutex, NULL);
    for (int key = 0; key < KEYS; key++)
        for (int kind = 0; kind < KINDS; kind++) {
            stress->groups[key][kind].kind = (enum kind)kind;
            ledger_group_init(&stress->groups[key][kind].ledger, kit, key, ID_MAX);
        }
    stress->started_at_ms = kit_now_ms();
}

static void start(struct stress *stress, struct actor *actor, uint64_t seed, void *(*function)(void *))
{
    actor->stress = stress;
    actor->random = seed;
    int problem = pthread_create(&actor->thread, NULL, function, actor);
    actor->runs = problem == 0;
    if (problem != 0)
        FAIL("a thread can't be started: %s", strerror(problem));
}

static void join(struct actor *actors, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (actors[i].runs)
            pthread_join(actors[i].thread, NULL);
}

static void run_threads(struct stress *stress, uint64_t seed)
{
    struct actor producers[PRODUCERS] = {0}, consumers[KEYS * KINDS * CONSUMERS] = {0};
    size_t count = 0;
    for (int key = 0; key < KEYS; key++)
        for (int kind = 0; kind < KINDS; kind++)
            for (int i = 0; i < (kind == PLAIN ? 1 : CONSUMERS); i++) {
                consumers[count].group = &stress->groups[key][kind];
                start(stress, &consumers[count], seed + 1000 + count, consume);
                count++;
            }
    for (int i = 0; i < PRODUCERS; i++) {
        producers[i].number = i;
        start(stress, &producers[i], seed + (uint64_t)i, produce);
    }
    join(producers, PRODUCERS);
    atomic_store(&stress->producers_done, true);
    join(consumers, count);
    if (atomic_load(&stress->failed))
        kit_fail(stress->kit, "%s", stress->problem);
}

/* What came back from the last cut connections is still there. */
static void drain(struct stress *stress)
{
    kit_wait_until_health(stress->server, "connections.open", 1);
    for (int key = 0; key < KEYS; key++)
        for (int kind = 0; kind < KINDS; kind++) {
            int count;
            do {
                const struct kit_response *response =
                    kit_get(stress->server, kit_format(stress->kit, "key%d", key),
                            kit_format(stress->kit, "group%d", kind), "meta=1&timeout=0");
                count = note_answer(stress, &stress->groups[key][kind], response);
            } while (count > 0);
        }
    if (atomic_load(&stress->failed))
        kit_fail(stress->kit, "%s", stress->problem);
}

static void check(struct stress *stress)
{
    long long events = 0;
    size_t cuts = 0, missing = 0;
    for (int key = 0; key < KEYS; key++) {
        const struct group *groups = stress->groups[key];
        events += ledger_check_whole(&stress->ledger, &groups[PLAIN].ledger);
        ledger_check_same(&stress->ledger, &groups[SHARED].ledger, &groups[PLAIN].ledger);
        cuts += groups[CUT].ledger.cut_count;
        missing += ledger_check_cut(&stress->ledger, &groups[CUT].ledger, &groups[PLAIN].ledger,
                                    (int64_t)(NOTICED_MS * kit_time_scale()));
    }
    print_message("%lld events stored, %zu requests cut, %zu events went with them, %lld ms\n", events, cuts,
                  missing, (long long)(kit_now_ms() - stress->started_at_ms));
    /* Otherwise the run has shown nothing of what it is for. */
    assert_true(events > 0 && cuts > 0);
}

static void every_event_once_for_every_group(void **state)
{
    const char *given = getenv("TEST_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    struct stress *stress = kit_allocate(*state, sizeof *stress);
    print_message("TEST_SEED=%llu\n", (unsigned long long)seed);
    set_up(stress, *state);
    run_threads(stress, seed);
    drain(stress);
    check(stress);
    for (int key = 0; key < KEYS; key++)
        for (int kind = 0; kind < KINDS; kind++)
            ledger_group_destroy(&stress->groups[key][kind].ledger);
    pthread_mutex_destroy(&stress->mutex);
}

int main(void)
{
    const struct CMUnitTest tests[] = {kit_test(every_event_once_for_every_group)};
    return kit_run_tests(tests);
}
