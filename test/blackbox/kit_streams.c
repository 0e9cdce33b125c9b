/* The swarm: its start, the events that it publishes, its end, and the judgement. */
#include "kit_streams.h"

#include <arpa/inet.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../postgres.h"
#include "kit_streams_internal.h"

enum {
    OPEN_MS = 10000,     /* until all clients have their first stream */
    STORE_MS = 60000,    /* until all events have been taken */
    RECOVER_MS = 10000,  /* until the last events are taken */
    CATCH_UP_MS = 20000, /* from the last event to the last client */
    PORT_FIRST = 12000,  /* below those that the system gives to clients */
    PORT_COUNT = 20000,
};
#define TEST_ITSELF PUBLISHERS /* publishes the last events */

/* Of the test that runs. */
static struct swarm *running;
static struct {
    struct postgres *postgres; /* NULL: not to be disturbed */
    const char *database;
} disturbed;

void swarm_fail(struct swarm *swarm, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    pthread_mutex_lock(&swarm->mutex);
    if (!atomic_exchange(&swarm->failed, true))
        vsnprintf(swarm->problem, sizeof swarm->problem, format, arguments);
    pthread_mutex_unlock(&swarm->mutex);
    va_end(arguments);
}

uint64_t swarm_mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
    value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
    return value ^ (value >> 31);
}

/* ---- events ---- */

/* The payload up to its padding; its length. */
static int write_start(char start[static 100], int channel, int publisher, int number)
{
    return sprintf(start, "{\"c\":%d,\"p\":%d,\"n\":%d,\"v\":1.50,\"x\":\"", channel, publisher, number);
}

/* Most events are short, some don't fit into one packet. */
static size_t padding_of(const struct swarm *swarm, int publisher, int number)
{
    uint64_t mixed = swarm_mix((uint64_t)publisher << 32 | (unsigned)(number + 1));
    return mixed / 64 % (swarm->setup.large ? PADDING_LARGE : mixed % 64 == 0 ? PADDING_MAX : PADDING);
}

int swarm_write_body(const struct swarm *swarm, char *body, int channel, int publisher, int number)
{
    size_t padding = padding_of(swarm, publisher, number);
    int length =
        sprintf(body, "{\"channel\":\"channel%d\",\"eventType\":\"type%d\",\"payload\":", channel, publisher);
    length += write_start(body + length, channel, publisher, number);
    memset(body + length, 'x', padding);
    length += (int)padding;
    return length + sprintf(body + length, "\"}}");
}

bool swarm_read_event(const struct swarm *swarm, const char *type, const char *payload,
                      struct sighting *event)
{
    char start[100], wanted_type[32];
    int *channel = &event->channel, *publisher = &event->publisher, *number = &event->number;
    if (sscanf(payload, "{\"c\":%d,\"p\":%d,\"n\":%d,", channel, publisher, number) != 3 || *channel < 0 ||
        *channel >= CHANNELS || *publisher < 0 || *publisher > TEST_ITSELF || *number < 0 ||
        *number >= swarm->numbers)
        return false;
    size_t length = (size_t)write_start(start, *channel, *publisher, *number);
    size_t padding = padding_of(swarm, *publisher, *number);
    snprintf(wanted_type, sizeof wanted_type, "type%d", *publisher);
    return strncmp(payload, start, length) == 0 && strspn(payload + length, "x") == padding &&
           strcmp(payload + length + padding, "\"}") == 0 && strcmp(type, wanted_type) == 0;
}

/* ---- start ---- */

const char *streams_free_address(struct kit *kit)
{
    for (;;) {
        unsigned port = PORT_FIRST + arc4random_uniform(PORT_COUNT);
        struct sockaddr_in address = {.sin_family = AF_INET,
                                      .sin_port = htons((uint16_t)port),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool is_free = probe >= 0 && bind(probe, (struct sockaddr *)&address, sizeof address) == 0;
        if (probe >= 0)
            close(probe);
        if (is_free)
            return kit_format(kit, "127.0.0.1:%u", port);
    }
}

static uint64_t choose_seed(void)
{
    const char *given = getenv("TEST_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)time(NULL);
    print_message("TEST_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

static void set_up(struct swarm *swarm, const struct swarm_setup *setup)
{
    uint64_t seed = choose_seed();
    swarm->setup = *setup;
    swarm->events = setup->large ? setup->events : (int)(setup->events / kit_time_scale());
    swarm->numbers = swarm->events + SPARE;
    swarm->started_at_ms = kit_now_ms();
    atomic_store(&swarm->publishing, PUBLISHERS);
    swarm_hold_at(swarm, 100);
    for (int i = 0; i <= TEST_ITSELF; i++)
        swarm->pushes[i] = kit_allocate(swarm->kit, (size_t)swarm->numbers * sizeof *swarm->pushes[i]);
    for (int i = 0; i < PUBLISHERS; i++)
        swarm->publishers[i] = (struct actor){.swarm = swarm,
                                              .number = i,
                                              .random = seed + (uint64_t)i,
                                              .body = kit_allocate(swarm->kit, BODY_BYTES + 1)};
    for (int i = 0; i < setup->readers; i++) {
        struct reader *reader = &swarm->readers[i];
        reader->actor = (struct actor){.swarm = swarm, .number = i, .random = seed + 100 + (uint64_t)i};
        reader->kind = i < setup->stalling ? STALLING : i % 10 == 9 ? STEADY : DROPPING;
        /* Each channel alone, two, and all of them. */
        bool takes_all = i % 5 == 4 || (setup->large && reader->kind == STALLING);
        reader->channels = takes_all ? (1U << CHANNELS) - 1 : 1U << i % CHANNELS | 1U << i / 7 % CHANNELS;
    }
}

void swarm_hold_at(struct swarm *swarm, int percent)
{
    atomic_store(&swarm->hold_at, swarm->events * percent / 100);
}

static void start_thread(struct actor *actor, void *(*function)(void *), void *argument)
{
    actor->give_up_at_ms = kit_deadline_at_ms(GIVE_UP_MS);
    int problem = pthread_create(&actor->thread, NULL, function, argument);
    actor->runs = problem == 0;
    if (problem != 0)
        swarm_fail(actor->swarm, "a thread can't be started: %s", strerror(problem));
}

/* Waits until `counter` is at `wanted` or above, or the publishers are through, or something has failed. */
static void wait_count(struct swarm *swarm, atomic_int *counter, int wanted, int64_t milliseconds,
                       const char *what)
{
    int64_t deadline_at_ms = kit_deadline_at_ms(milliseconds);
    while (atomic_load(counter) < wanted && atomic_load(&swarm->publishing) > 0 &&
           !atomic_load(&swarm->failed)) {
        if (kit_now_ms() > deadline_at_ms)
            swarm_fail(swarm, "%d %s in time instead of %d", atomic_load(counter), what, wanted);
        kit_pause();
    }
}

struct swarm *swarm_start(struct kit *kit, const struct swarm_setup *setup, struct kit_server *first,
                          struct kit_server *second)
{
    struct swarm *swarm = kit_allocate(kit, sizeof *swarm);
    assert_true(running == NULL && setup->readers <= READERS_MAX);
    swarm->kit = kit;
    swarm->ports[swarm->port_count++] = kit_port(first);
    if (second != NULL)
        swarm->ports[swarm->port_count++] = kit_port(second);
    for (int channel = 0; channel < CHANNELS; channel++)
        kit_subscribe(first, "1", kit_format(kit, "channel%d", channel));
    set_up(swarm, setup);
    pthread_mutex_init(&swarm->mutex, NULL);
    running = swarm;
    for (int i = 0; i < setup->readers; i++)
        start_thread(&swarm->readers[i].actor, swarm_read_streams, &swarm->readers[i]);
    wait_count(swarm, &swarm->opened, setup->readers, OPEN_MS, "streams were opened");
    for (int i = 0; i < PUBLISHERS; i++)
        start_thread(&swarm->publishers[i], swarm_publish_all, &swarm->publishers[i]);
    return swarm;
}

void swarm_wait_stored(struct swarm *swarm, int percent)
{
    wait_count(swarm, &swarm->stored, PUBLISHERS * swarm->events * percent / 100, STORE_MS,
               "events were taken");
}

void swarm_wait_refused(struct swarm *swarm, int count)
{
    int wanted = atomic_load(&swarm->refused) + count;
    wait_count(swarm, &swarm->refused, wanted, STORE_MS, "publishes were refused");
    if (atomic_load(&swarm->refused) < wanted)
        swarm_fail(swarm, "all events were taken, and only %d publishes refused",
                   atomic_load(&swarm->refused));
}

/* ---- end ---- */

static void join_all(struct swarm *swarm)
{
    for (int i = 0; i < PUBLISHERS + swarm->setup.readers; i++) {
        struct actor *actor = i < PUBLISHERS ? &swarm->publishers[i] : &swarm->readers[i - PUBLISHERS].actor;
        if (actor->runs)
            pthread_join(actor->thread, NULL);
        actor->runs = false;
    }
}

struct postgres *streams_postgres(struct kit *kit)
{
    disturbed.database = kit_database(kit);
    disturbed.postgres = kit_postgres(kit);
    return disturbed.postgres;
}

/* A test that has failed may have left it stopped or frozen. */
static void bring_back_postgres(void)
{
    if (disturbed.postgres == NULL)
        return;
    postgres_thaw(disturbed.postgres);
    char *answer = postgres_query(disturbed.postgres, disturbed.database, "SELECT 1");
    if (answer == NULL)
        postgres_restart(disturbed.postgres);
    free(answer);
    disturbed.postgres = NULL;
}

int streams_teardown(void **state)
{
    if (running != NULL) {
        atomic_store(&running->failed, true);
        join_all(running);
        for (int i = 0; i < running->setup.readers; i++)
            free(running->readers[i].seen);
        pthread_mutex_destroy(&running->mutex);
    }
    running = NULL;
    bring_back_postgres(); /* before the servers are stopped, and for the next test */
    return kit_teardown(state);
}

static void stop_if_failed(struct swarm *swarm)
{
    if (!atomic_load(&swarm->failed))
        return;
    join_all(swarm);
    kit_fail(swarm->kit, "%s", swarm->problem);
}

/* Publishes a last event to the channel, which must be taken sooner or later; its number. */
static int publish_last(struct swarm *swarm, struct kit_server *server, int channel, int first_number)
{
    char *body = kit_allocate(swarm->kit, BODY_BYTES + 1);
    int64_t deadline_at_ms = kit_deadline_at_ms(RECOVER_MS);
    for (int number = first_number; number < swarm->numbers; number++) {
        swarm_write_body(swarm, body, channel, TEST_ITSELF, number);
        const struct kit_response *response = kit_post_json(server, KIT_PUBLISH, body);
        swarm->pushes[TEST_ITSELF][number] = response->status == 202                             ? STORED
                                             : strstr(response->body, "outcome unknown") != NULL ? PERHAPS
                                                                                                 : REFUSED;
        if (response->status == 202)
            return number;
        kit_assert_status(response, 503);
        if (kit_now_ms() > deadline_at_ms || (!swarm->setup.database_goes && !swarm->setup.servers_go))
            kit_assert_status(response, 202);
        kit_pause();
    }
    kit_fail(swarm->kit, "too many publishes are refused");
}

static int compare_ids(const void *left, const void *right)
{
    int64_t first = ((const struct sighting *)left)->id, second = ((const struct sighting *)right)->id;
    return (first > second) - (first < second);
}

/* Reads all histories into swarm->all. */
static void read_histories(struct swarm *swarm, struct kit_server *server)
{
    struct kit *kit = swarm->kit;
    const struct kit_history *histories[CHANNELS];
    swarm->all_count = 0;
    for (int channel = 0; channel < CHANNELS; channel++) {
        histories[channel] = kit_whole_history(server, kit_format(kit, "channel%d", channel), 1000);
        swarm->all_count += histories[channel]->count;
    }
    swarm->all = kit_allocate(kit, (swarm->all_count + 1) * sizeof *swarm->all);
    struct sighting *next = swarm->all;
    for (int channel = 0; channel < CHANNELS; channel++)
        for (size_t i = 0; i < histories[channel]->count; i++) {
            const struct kit_event *event = &histories[channel]->events[i];
            next->id = event->id;
            if (!swarm_read_event(swarm, event->type, event->payload, next) || next->channel != channel)
                kit_fail(kit, "not an event of channel%d as it was published: %.300s", channel, event->json);
            next++;
        }
    qsort(swarm->all, swarm->all_count, sizeof *swarm->all, compare_ids);
}

/* Nothing twice, all that was taken, in its publisher's order, and nothing that was refused. */
static void check_histories(struct swarm *swarm)
{
    struct kit *kit = swarm->kit;
    int last_stored[PUBLISHERS + 1];
    int *counts = kit_allocate(kit, (size_t)(swarm->numbers * (PUBLISHERS + 1)) * sizeof *counts);
    memset(last_stored, -1, sizeof last_stored);
    for (size_t i = 0; i < swarm->all_count; i++) {
        const struct sighting *event = &swarm->all[i];
        if (i > 0 && event->id == event[-1].id)
            kit_fail(kit, "two events have the id %lld", (long long)event->id);
        counts[event->publisher * swarm->numbers + event->number]++;
        if (swarm->pushes[event->publisher][event->number] != STORED)
            continue;
        if (event->number < last_stored[event->publisher])
            kit_fail(kit, "publisher %d: event %d has a higher id than event %d, which was taken later",
                     event->publisher, last_stored[event->publisher], event->number);
        last_stored[event->publisher] = event->number;
    }
    for (int publisher = 0; publisher <= TEST_ITSELF; publisher++)
        for (int number = 0; number < swarm->numbers; number++) {
            enum certainty certainty = swarm->pushes[publisher][number];
            int count = counts[publisher * swarm->numbers + number];
            int least = certainty == STORED, most = certainty == STORED || certainty == PERHAPS;
            if (count < least || count > most)
                kit_fail(kit, "event %d of publisher %d, which was %s, is there %d times", number, publisher,
                         (const char *const[]){"not sent", "taken", "perhaps taken", "not sent whole",
                                               "refused"}[certainty],
                         count);
        }
}

/* The client has taken exactly the events of its channels, up to the last one it had to wait for. */
static void check_reader(struct swarm *swarm, const struct reader *reader)
{
    size_t taken = 0;
    for (size_t i = 0; i < swarm->all_count; i++) {
        const struct sighting *event = &swarm->all[i], *seen = &reader->seen[taken];
        if ((reader->channels >> event->channel & 1) == 0 || event->id > reader->last_id)
            continue;
        if (taken == reader->count || seen->id != event->id || seen->publisher != event->publisher ||
            seen->number != event->number)
            kit_fail(swarm->kit, "client %d: after %zu events, id %lld is missing; what came is %lld",
                     reader->actor.number, taken, (long long)event->id,
                     taken == reader->count ? 0 : (long long)seen->id);
        taken++;
    }
    if (taken < reader->count)
        kit_fail(swarm->kit, "client %d: id %lld is not in the history", reader->actor.number,
                 (long long)reader->seen[taken].id);
}

/* The last events are published, and each client has come as far as them. */
static void wait_for_readers(struct swarm *swarm, struct kit_server *server)
{
    int number = -1, numbers[CHANNELS];
    for (int channel = 0; channel < CHANNELS; channel++)
        numbers[channel] = number = publish_last(swarm, server, channel, number + 1);
    read_histories(swarm, server);
    for (size_t i = 0; i < swarm->all_count; i++)
        for (int channel = 0; channel < CHANNELS; channel++)
            if (swarm->all[i].publisher == TEST_ITSELF && swarm->all[i].number == numbers[channel])
                atomic_store(&swarm->targets[channel], swarm->all[i].id);
    for (int channel = 0; channel < CHANNELS; channel++)
        if (atomic_load(&swarm->targets[channel]) == 0)
            kit_fail(swarm->kit, "the last event of channel%d was taken, and is not in the history", channel);
    int64_t deadline_at_ms = kit_deadline_at_ms(CATCH_UP_MS);
    while (atomic_load(&swarm->through) < swarm->setup.readers && !atomic_load(&swarm->failed)) {
        if (kit_now_ms() > deadline_at_ms)
            swarm_fail(swarm, "only %d clients have come to the last event", atomic_load(&swarm->through));
        kit_pause();
    }
    stop_if_failed(swarm);
    join_all(swarm);
}

void swarm_finish(struct swarm *swarm, struct kit_server *server)
{
    wait_count(swarm, &swarm->stored, INT_MAX, STORE_MS,
               "events were taken"); /* until all publishers are through */
    stop_if_failed(swarm);
    wait_for_readers(swarm, server);
    read_histories(swarm, server);
    check_histories(swarm);
    for (int i = 0; i < swarm->setup.readers; i++)
        check_reader(swarm, &swarm->readers[i]);
    print_message("%d events taken, %d refused, %d answers lost; %d streams dropped, %d ended; %lld ms\n",
                  atomic_load(&swarm->stored), atomic_load(&swarm->refused), atomic_load(&swarm->lost),
                  atomic_load(&swarm->drops), atomic_load(&swarm->ended),
                  (long long)(kit_now_ms() - swarm->started_at_ms));
    /* Otherwise the run has shown nothing of what it is for: clients that drop their streams, or that the server closes. */
    assert_true(swarm->setup.large || atomic_load(&swarm->drops) > 0);
    assert_true(!swarm->setup.large || atomic_load(&swarm->ended) >= swarm->setup.stalling);
    assert_true(!swarm->setup.servers_go || atomic_load(&swarm->ended) > 0);
}
