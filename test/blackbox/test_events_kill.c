/*
 * The server is killed while many publish: every event that was answered 202 is in the history afterwards, none
 * is there twice, and the ids go on rising. PostgreSQL itself is not killed.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit_events.h"
#include "kit_sse.h"

enum { ROUNDS = 5, PUBLISHERS = 8, EVENTS_MAX = 20000, TAKEN_BEFORE_KILL = 150 };

struct round {
    struct kit *kit;
    struct kit_server *server;
    int number;
    atomic_int taken; /* events that were answered 202 */
    atomic_bool failed;
};

struct publisher {
    struct round *round;
    pthread_t thread;
    int number;
    int sent, taken; /* its events 0 to taken - 1 were answered 202; sent is at most one more */
    char problem[200];
};

/* Publishes one after the other until the connection breaks. */
static void *publish(void *argument)
{
    struct publisher *publisher = argument;
    struct round *round = publisher->round;
    struct kit_connection *connection = kit_try_connect(round->server);
    while (connection != NULL && publisher->taken < EVENTS_MAX) {
        char payload[64];
        snprintf(payload, sizeof payload, "{\"round\":%d,\"publisher\":%d,\"number\":%d}", round->number,
                 publisher->number, publisher->sent++);
        int status = kit_try_publish(connection, "c", "t", payload, kit_deadline_at_ms(KIT_DEADLINE_MS));
        if (status != 202) {
            /* Broken off is what is to happen; another answer or none at all is not. */
            if (status >= 0 || errno == ETIMEDOUT) {
                snprintf(publisher->problem, sizeof publisher->problem, "answered %d (%s)", status,
                         status < 0 ? strerror(errno) : "");
                atomic_store(&round->failed, true);
            }
            break;
        }
        publisher->taken++;
        atomic_fetch_add(&round->taken, 1);
    }
    if (connection != NULL)
        kit_close(connection);
    return NULL;
}

/* Lets all publish, kills the server in the middle of it, and returns when they have noticed. */
static void publish_and_kill(struct round *round, struct publisher *publishers, int taken_before_kill)
{
    int64_t deadline_at_ms = kit_deadline_at_ms(4 * KIT_DEADLINE_MS);
    for (int i = 0; i < PUBLISHERS; i++) {
        publishers[i] = (struct publisher){.round = round, .number = i};
        assert_int_equal(pthread_create(&publishers[i].thread, NULL, publish, &publishers[i]), 0);
    }
    while (atomic_load(&round->taken) < taken_before_kill && !atomic_load(&round->failed) &&
           kit_now_ms() < deadline_at_ms)
        kit_pause();
    kit_kill(round->server);
    for (int i = 0; i < PUBLISHERS; i++)
        pthread_join(publishers[i].thread, NULL);
    for (int i = 0; i < PUBLISHERS; i++)
        if (publishers[i].problem[0] != '\0')
            kit_fail(round->kit, "publisher %d: %s", i, publishers[i].problem);
    if (atomic_load(&round->taken) < taken_before_kill)
        kit_fail(round->kit, "only %d events were taken", atomic_load(&round->taken));
}

/* The events of this round, behind those of the rounds before: each publisher's from 0 on without a gap, all
 * that were taken, and at most the one more that was under way. */
static void check_round(struct kit *kit, const struct kit_history *history, size_t first, int round_number,
                        const struct publisher *publishers)
{
    int next[PUBLISHERS] = {0};
    for (size_t i = first; i < history->count; i++) {
        int round, publisher, number;
        const char *payload = history->events[i].payload;
        if (sscanf(payload, "{\"round\":%d,\"publisher\":%d,\"number\":%d}", &round, &publisher, &number) !=
                3 ||
            publisher < 0 || publisher >= PUBLISHERS)
            kit_fail(kit, "an event that nobody published: %s", payload);
        if (round != round_number || number != next[publisher])
            kit_fail(kit, "in round %d: %s, but number %d is next", round_number, payload, next[publisher]);
        next[publisher]++;
    }
    for (int i = 0; i < PUBLISHERS; i++)
        if (next[i] < publishers[i].taken || next[i] > publishers[i].sent)
            kit_fail(kit, "of publisher %d %d events are stored, %d were sent and %d answered 202", i,
                     next[i], publishers[i].sent, publishers[i].taken);
}

static void what_was_answered_is_stored(void **state)
{
    struct publisher publishers[PUBLISHERS];
    struct kit *kit = *state;
    const struct kit_history *before = NULL;
    for (int number = 0; number < ROUNDS; number++) {
        kit_note(kit, "round %d", number);
        struct round round = {.kit = kit, .server = kit_serve_events(kit), .number = number};
        publish_and_kill(&round, publishers, TAKEN_BEFORE_KILL * (number + 1));
        struct kit_server *server = kit_serve_events(kit);
        const struct kit_history *history = kit_whole_history(server, "c", 1000);
        size_t first = before == NULL ? 0 : before->count;
        assert_true(history->count >= first);
        for (size_t i = 0; i < first; i++)
            assert_string_equal(history->events[i].json, before->events[i].json);
        check_round(kit, history, first, number, publishers);
        before = history;
        kit_stop(server);
    }
    assert_true(before->count >= TAKEN_BEFORE_KILL * ROUNDS * (ROUNDS + 1) / 2);
}

/* Takes what has arrived at a stream whose server is gone; each event must be in the history. The number of
 * events. */
static size_t check_seen(struct kit_sse *stream, const struct kit_history *history)
{
    size_t count = 0;
    struct kit_sse_frame frame;
    while (kit_sse_try_next_event(stream, kit_deadline_at_ms(KIT_DEADLINE_MS), &frame) == 0) {
        bool right = count < history->count && frame.id == history->events[count].id &&
                     strcmp(frame.data, history->events[count].payload) == 0;
        kit_sse_frame_clear(&frame);
        if (!right)
            kit_fail(kit_of(stream->server), "the stream's event %zu with id %lld is not the history's",
                     count, (long long)stream->last_id);
        count++;
    }
    if (errno != EPIPE && errno != ECONNRESET && !stream->cut)
        kit_fail(kit_of(stream->server), "behind event %zu: %s", count,
                 errno == EPROTO ? stream->problem : strerror(errno));
    return count;
}

/* A stream never shows what a crash can take back, and a client that resumes at the next server misses
 * nothing. */
static void streams_show_only_what_is_stored(void **state)
{
    struct publisher publishers[PUBLISHERS];
    struct kit *kit = *state;
    struct round round = {.kit = kit, .server = kit_serve_events(kit)};
    kit_subscribe(round.server, "1", "c");
    struct kit_sse *stream = kit_sse_open(round.server, "1", "c");
    publish_and_kill(&round, publishers, 4 * TAKEN_BEFORE_KILL);
    struct kit_server *server = kit_serve_events(kit);
    const struct kit_history *history = kit_whole_history(server, "c", 1000);
    check_round(kit, history, 0, 0, publishers);
    size_t count = check_seen(stream, history);
    struct kit_sse *resumed = kit_sse_resume(server, "1", "c", stream->last_id);
    for (; count < history->count; count++)
        assert_int_equal(kit_sse_expect(resumed, "t", history->events[count].payload),
                         history->events[count].id);
    int64_t marker = kit_sse_expect_silence(resumed, "c");
    assert_true(marker > history->events[history->count - 1].id);
}

/* Subscriptions are as safe as events. */
static void subscriptions_survive_a_kill(void **state)
{
    enum { CHANNELS = 8 };
    struct kit *kit = *state;
    const char *channels[CHANNELS + 1] = {0};
    for (int i = 0; i < CHANNELS; i++) {
        struct kit_server *server = kit_serve_events(kit);
        channels[i] = kit_format(kit, "channel %d", i);
        kit_subscribe(server, "1", channels[i]);
        kit_subscribe(server, "1", "not for long");
        kit_unsubscribe(server, "1", "not for long");
        kit_kill(server);
    }
    kit_assert_channels_at(kit_serve_events(kit), "1", channels, __FILE__, __LINE__);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_engines(what_was_answered_is_stored),
        kit_test_engines(streams_show_only_what_is_stored),
        kit_test_engines(subscriptions_survive_a_kill),
    };
    return kit_run_event_tests(tests);
}
