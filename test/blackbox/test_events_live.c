/*
 * A replay that turns into a live stream while others publish: whenever the streams are opened, each of them
 * gets every event once, in the order of the history.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit_events.h"
#include "kit_sse.h"

enum { STORED = 3000, PUBLISHERS = 4, EACH = 250, READERS = 8, TOTAL = STORED + PUBLISHERS * EACH };
#define READ_MS 30000 /* for a whole reader, at TEST_TIME_SCALE 1 */

struct race {
    struct kit *kit;
    struct kit_server *server;
    atomic_int published; /* by the publishers, with 202 */
    atomic_bool failed;
};

struct publisher {
    struct race *race;
    pthread_t thread;
    int first; /* its numbers are this one and those behind it */
    char problem[200];
};

struct reader {
    struct race *race;
    pthread_t thread;
    int opens_at;     /* so many published */
    int64_t after_id; /* and it resumes there */
    int expected, count;
    int64_t ids[TOTAL];
    int numbers[TOTAL];
    char problem[200];
};

static void *publish(void *argument)
{
    struct publisher *publisher = argument;
    struct race *race = publisher->race;
    struct kit_connection *connection = kit_try_connect(race->server);
    for (int i = 0; connection != NULL && i < EACH && !atomic_load(&race->failed); i++) {
        char payload[16];
        snprintf(payload, sizeof payload, "%d", publisher->first + i);
        int status = kit_try_publish(connection, "c", "number", payload, kit_deadline_at_ms(KIT_DEADLINE_MS));
        if (status != 202) {
            snprintf(publisher->problem, sizeof publisher->problem, "a publish was answered %d (%s)", status,
                     status < 0 ? strerror(errno) : "");
            atomic_store(&race->failed, true);
        }
        atomic_fetch_add(&race->published, 1);
    }
    if (connection != NULL)
        kit_close(connection);
    return NULL;
}

static void fail_reader(struct reader *reader, const char *what, const struct kit_sse *stream)
{
    snprintf(reader->problem, sizeof reader->problem, "%s after %d of %d events: %s", what, reader->count,
             reader->expected,
             errno == EPROTO && stream->problem != NULL ? stream->problem : strerror(errno));
    atomic_store(&reader->race->failed, true);
}

static void read_stream(struct reader *reader, struct kit_connection *connection)
{
    struct kit_sse stream;
    char header[64];
    int64_t deadline_at_ms = kit_deadline_at_ms(READ_MS);
    snprintf(header, sizeof header, "Last-Event-ID: %lld\r\n", (long long)reader->after_id);
    if (kit_sse_try_open(&stream, connection, KIT_STREAM "?userId=1&channels=c", header, deadline_at_ms) !=
        0) {
        fail_reader(reader, "no stream", &stream);
        return;
    }
    while (reader->count < reader->expected) {
        struct kit_sse_frame frame;
        if (kit_sse_try_next_event(&stream, deadline_at_ms, &frame) != 0) {
            fail_reader(reader, "no next event", &stream);
            return;
        }
        reader->ids[reader->count] = frame.id;
        reader->numbers[reader->count++] = atoi(frame.data);
        kit_sse_frame_clear(&frame);
    }
}

static void *open_and_read(void *argument)
{
    struct reader *reader = argument;
    struct race *race = reader->race;
    while (atomic_load(&race->published) < reader->opens_at && !atomic_load(&race->failed))
        kit_pause();
    struct kit_connection *connection = kit_try_connect(race->server);
    if (connection == NULL) {
        snprintf(reader->problem, sizeof reader->problem, "connect: %s", strerror(errno));
        atomic_store(&race->failed, true);
        return NULL;
    }
    read_stream(reader, connection);
    kit_close(connection);
    return NULL;
}

/* Starts all threads and waits for them; they end by themselves, at their deadlines at the latest. */
static void run(struct race *race, struct publisher *publishers, struct reader *readers)
{
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&readers[i].thread, NULL, open_and_read, &readers[i]), 0);
    for (int i = 0; i < PUBLISHERS; i++)
        assert_int_equal(pthread_create(&publishers[i].thread, NULL, publish, &publishers[i]), 0);
    for (int i = 0; i < PUBLISHERS; i++)
        pthread_join(publishers[i].thread, NULL);
    for (int i = 0; i < READERS; i++)
        pthread_join(readers[i].thread, NULL);
    for (int i = 0; i < PUBLISHERS; i++)
        if (publishers[i].problem[0] != '\0')
            kit_fail(race->kit, "publisher %d: %s", i, publishers[i].problem);
    for (int i = 0; i < READERS; i++)
        if (readers[i].problem[0] != '\0')
            kit_fail(race->kit, "reader %d: %s", i, readers[i].problem);
    assert_false(atomic_load(&race->failed));
}

/* Each number once, and those of one publisher in its order. */
static void check_history(const struct kit_history *history)
{
    char seen[TOTAL] = {0};
    int last[PUBLISHERS];
    for (int i = 0; i < PUBLISHERS; i++)
        last[i] = -1;
    assert_int_equal(history->count, TOTAL);
    for (size_t i = 0; i < TOTAL; i++) {
        int number = atoi(history->events[i].payload);
        assert_in_range(number, 0, TOTAL - 1);
        assert_int_equal(seen[number]++, 0);
        if (number < STORED)
            continue;
        int publisher = (number - STORED) / EACH;
        assert_true(number > last[publisher]);
        last[publisher] = number;
    }
}

static void check_reader(struct kit *kit, const struct reader *reader, const struct kit_history *history)
{
    int skipped = TOTAL - reader->expected;
    for (int i = 0; i < reader->expected; i++) {
        const struct kit_event *event = &history->events[skipped + i];
        if (reader->ids[i] != event->id || reader->numbers[i] != atoi(event->payload))
            kit_fail(kit, "event %d is %lld with %d, in the history %lld with %s", i,
                     (long long)reader->ids[i], reader->numbers[i], (long long)event->id, event->payload);
    }
}

static void no_gap_and_no_double(void **state)
{
    struct race race = {.kit = *state, .server = kit_serve_events(*state)};
    struct publisher publishers[PUBLISHERS] = {0};
    struct reader *readers = kit_allocate(race.kit, READERS * sizeof *readers);
    kit_subscribe(race.server, "1", "c");
    kit_publish_numbers(race.server, "c", 0, STORED);
    const struct kit_history *stored = kit_whole_history(race.server, "c", 1000);
    assert_int_equal(stored->count, STORED);
    for (int i = 0; i < PUBLISHERS; i++)
        publishers[i] = (struct publisher){.race = &race, .first = STORED + i * EACH};
    for (int i = 0; i < READERS; i++) {
        /* From the beginning, and from near the end, where it catches up within a moment. */
        int skipped = i % 2 == 0 ? 0 : STORED - i;
        readers[i].race = &race;
        readers[i].opens_at = i * PUBLISHERS * EACH / READERS;
        readers[i].after_id = skipped == 0 ? 0 : stored->events[skipped - 1].id;
        readers[i].expected = TOTAL - skipped;
    }
    run(&race, publishers, readers);
    const struct kit_history *history = kit_whole_history(race.server, "c", 1000);
    check_history(history);
    for (int i = 0; i < READERS; i++) {
        kit_note(race.kit, "reader %d", i);
        check_reader(race.kit, &readers[i], history);
    }
    kit_wait_until_streams(race.server, 0);
}

/* Resumes at *last_id and takes up to three events, which must be the numbers from *next on; NULL, or what is
 * wrong. */
static const char *take_three(struct race *race, struct kit_connection *connection, int64_t *last_id,
                              int *next)
{
    struct kit_sse stream;
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
    const char *header = kit_sse_header(race->server, *last_id);
    if (kit_sse_try_open(&stream, connection, KIT_STREAM "?userId=1&channels=c", header, deadline_at_ms) != 0)
        return errno == EPROTO && stream.problem != NULL ? stream.problem : strerror(errno);
    for (int i = 0; i < 3 && *next < EACH; i++) {
        struct kit_sse_frame frame;
        if (kit_sse_try_next_event(&stream, deadline_at_ms, &frame) != 0)
            return errno == EPROTO ? stream.problem : strerror(errno);
        bool right = atoi(frame.data) == *next && frame.id > *last_id;
        *last_id = frame.id;
        kit_sse_frame_clear(&frame);
        if (!right)
            return "not the next event";
        ++*next;
    }
    return NULL;
}

/* As over a network that breaks all the time. */
static void resuming_again_and_again_loses_nothing(void **state)
{
    struct race race = {.kit = *state, .server = kit_serve_events(*state)};
    struct publisher publisher = {.race = &race, .first = 0};
    kit_subscribe(race.server, "1", "c");
    assert_int_equal(pthread_create(&publisher.thread, NULL, publish, &publisher), 0);
    const char *problem = NULL;
    int64_t last_id = 0;
    int next = 0;
    for (int round = 0; next < EACH && problem == NULL; round++) {
        struct kit_connection *connection = kit_try_connect(race.server);
        problem = connection == NULL ? "no connection" : take_three(&race, connection, &last_id, &next);
        if (connection != NULL)
            (round % 2 == 0 ? kit_close : kit_reset)(connection);
    }
    /* The thread first: a test that fails must not leave it behind. */
    atomic_store(&race.failed, problem != NULL);
    pthread_join(publisher.thread, NULL);
    if (publisher.problem[0] != '\0')
        kit_fail(race.kit, "the publisher: %s", publisher.problem);
    if (problem != NULL)
        kit_fail(race.kit, "at number %d behind id %lld: %s", next, (long long)last_id, problem);
    kit_wait_until_streams(race.server, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_engines(no_gap_and_no_double),
        kit_test_engines(resuming_again_and_again_loses_nothing),
    };
    return kit_run_event_tests(tests);
}
