/* PostgreSQL goes away: what needs it is answered 503 in time, however much is asked at once; everything else goes on,
 * streams too; and when it is back everything works again by itself, with nothing lost and nothing twice. */
#include <stdlib.h>
#include <string.h>

#include "../postgres.h"
#include "kit_sse.h"
#include "kit_streams.h"

enum { NUMBERS_MAX = 4000, RECOVER_MS = 10000, PROMPT_MS = 1000, PUBLISHES = 12 };

enum fate { UNSENT, STORED, PERHAPS, REFUSED };

/* Publishes the numbers 1, 2, 3, ... to channel c. */
struct away {
    struct kit *kit;
    struct kit_server *server;
    struct kit_sse *stream; /* of user 1, on c; open all the time */
    int last_number;
    enum fate fates[NUMBERS_MAX + 1];
    bool is_subscribed_perhaps, is_unsubscribed_perhaps; /* user 3 to d, and user 4 from d */
};

static struct away *set_up(struct kit *kit)
{
    struct away *away = kit_allocate(kit, sizeof *away);
    away->kit = kit;
    away->server = kit_serve_events(kit, "--heartbeat", "1");
    kit_subscribe(away->server, "1", "c");
    kit_subscribe(away->server, "4", "d");
    away->stream = kit_sse_open(away->server, "1", "c");
    return away;
}

/* ---- requests that are under way together ---- */

struct question {
    struct kit_connection *connection;
    int64_t sent_at_ms;
    int number; /* of an event; 0: no publish */
};

static struct question ask(struct away *away, const char *method, const char *target, const char *json)
{
    struct question question = {.connection = kit_connect(away->server), .sent_at_ms = kit_now_ms()};
    kit_send_request(question.connection, method, target,
                     json == NULL ? NULL : "Content-Type: application/json\r\n", json,
                     json == NULL ? 0 : strlen(json));
    return question;
}

static struct question ask_to_publish(struct away *away)
{
    int number = ++away->last_number;
    if (number > NUMBERS_MAX)
        kit_fail(away->kit, "too many publishes");
    const char *payload = kit_format(away->kit, "%d", number);
    struct question question = ask(away, "POST", KIT_PUBLISH, kit_envelope(away->kit, "c", "t", payload));
    question.number = number;
    return question;
}

static const struct kit_response *hear(struct away *away, struct question question)
{
    const struct kit_response *response = kit_receive(question.connection);
    int64_t took_ms = kit_now_ms() - question.sent_at_ms;
    if (response->status == 503 && (double)took_ms > STREAMS_AWAY_MS * kit_time_scale())
        kit_fail(away->kit, "503 only after %lld ms: %s", (long long)took_ms, response->body);
    kit_close(question.connection);
    if (question.number > 0)
        away->fates[question.number] = response->status == 202                             ? STORED
                                       : strstr(response->body, "outcome unknown") != NULL ? PERHAPS
                                                                                           : REFUSED;
    return response;
}

/* True when the outcome is unknown. */
static bool expect_refusal(struct away *away, struct question question)
{
    const struct kit_response *response = hear(away, question);
    kit_assert_error(response, 503, "");
    kit_assert_header(response, "Retry-After", "");
    assert_true(kit_matches(kit_header(response, "Retry-After"), "^[1-9][0-9]*$"));
    return strstr(response->body, "outcome unknown") != NULL;
}

/* Push and blocking-get are as ever, and prompt. */
static void expect_working_queue(struct away *away)
{
    int64_t asked_at_ms = kit_now_ms();
    const char *key = kit_format(away->kit, "key%d", away->last_number);
    struct kit_connection *waiting = kit_get_later(away->server, key, "waiting", NULL);
    kit_push(away->server, key, "1");
    kit_assert_body(kit_receive(waiting), "[1]");
    kit_assert_get(away->server, key, "other", "[1]");
    kit_assert_body(kit_get_path(away->server, "/healthz"), "{\"ok\":true}");
    assert_in_range(kit_now_ms() - asked_at_ms, 0, (int64_t)(PROMPT_MS * kit_time_scale()));
    kit_close(waiting);
}

/* All that needs the database, at once: more than there are workers. What needs none goes on meanwhile. */
static void expect_refusals(struct away *away)
{
    struct question questions[PUBLISHES + 3 * 2], subscribes, unsubscribes;
    size_t count = 0;
    for (int i = 0; i < PUBLISHES; i++)
        questions[count++] = ask_to_publish(away);
    for (int i = 0; i < 2; i++) {
        questions[count++] = ask(away, "GET", KIT_HISTORY "?channel=c", NULL);
        questions[count++] = ask(away, "GET", KIT_LIST "?userId=1", NULL);
        questions[count++] = ask(away, "GET", KIT_STREAM "?userId=1&channels=c", NULL);
    }
    subscribes = ask(away, "POST", KIT_SUBSCRIBE, "{\"userId\":3,\"channel\":\"d\"}");
    unsubscribes = ask(away, "POST", KIT_UNSUBSCRIBE, "{\"userId\":4,\"channel\":\"d\"}");
    expect_working_queue(away);
    for (size_t i = 0; i < count; i++)
        expect_refusal(away, questions[i]);
    away->is_subscribed_perhaps |= expect_refusal(away, subscribes);
    away->is_unsubscribed_perhaps |= expect_refusal(away, unsubscribes);
}

/* ---- there and back again ---- */

static void wait_until_status(struct away *away, const char *target, int status)
{
    int64_t deadline_at_ms = kit_deadline_at_ms(RECOVER_MS);
    while (kit_get_path(away->server, target)->status != status) {
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(away->kit, "%s does not become %d", target, status);
        kit_pause();
    }
}

static void wait_until_back(struct away *away)
{
    int64_t deadline_at_ms = kit_deadline_at_ms(RECOVER_MS);
    const struct kit_response *response;
    while ((response = hear(away, ask_to_publish(away)))->status != 202) {
        kit_assert_status(response, 503);
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(away->kit, "nothing can be published again");
        kit_pause();
    }
    wait_until_status(away, "/health", 200);
}

static void expect_heartbeats(struct away *away, int count)
{
    for (int beats = 0; beats < count;) {
        const struct kit_sse_frame *frame = kit_sse_next_frame(away->stream, 3000);
        if (frame->kind != KIT_SSE_COMMENT)
            kit_fail(away->kit, "an event while the database is away: %s", frame->data);
        assert_string_equal(frame->comment, "heartbeat");
        beats++;
    }
}

/* What was taken is there once, what was refused is not, and the stream has had all of it. */
static void check_history(struct away *away)
{
    const struct kit_history *history = kit_whole_history(away->server, "c", 1000);
    int *counts = kit_allocate(away->kit, (NUMBERS_MAX + 1) * sizeof *counts);
    for (size_t i = 0; i < history->count; i++) {
        int number = atoi(history->events[i].payload);
        assert_in_range(number, 1, away->last_number);
        counts[number]++;
        if (away->fates[number] == STORED && history->events[i].id > away->stream->last_id)
            kit_fail(away->kit, "the stream has not had event %d", number);
    }
    for (int number = 1; number <= away->last_number; number++) {
        int least = away->fates[number] == STORED, most = away->fates[number] != REFUSED;
        if (counts[number] < least || counts[number] > most)
            kit_fail(away->kit, "event %d, which was %s, is there %d times", number,
                     away->fates[number] == STORED    ? "taken"
                     : away->fates[number] == REFUSED ? "refused"
                                                      : "perhaps taken",
                     counts[number]);
    }
}

/* The stream, which was never resumed, gets each event that is new in the history. */
static void check_stream(struct away *away)
{
    int64_t after_id = away->stream->last_id;
    assert_int_equal(hear(away, ask_to_publish(away))->status, 202);
    const struct kit_history *history =
        kit_history(away->server, "c", kit_format(away->kit, "afterId=%lld&limit=1000", (long long)after_id));
    for (size_t i = 0; i < history->count; i++) {
        const struct kit_event *event = &history->events[i];
        assert_int_equal(kit_sse_expect(away->stream, "t", event->payload), event->id);
    }
}

/* One of each kind works, each at the first attempt. */
static void expect_all_works(struct away *away)
{
    struct kit_server *server = away->server;
    kit_subscribe(server, "2", "d");
    kit_assert_channels(server, "2", "d");
    kit_assert_channels(server, "1", "c");
    struct kit_sse *stream = kit_sse_open(server, "2", "d");
    kit_publish(server, "d", "t", "1");
    kit_sse_expect(stream, "t", "1");
    kit_unsubscribe(server, "2", "d");
    kit_assert_channels(server, "2");
    kit_sse_close(stream);
    kit_wait_until_streams(server, 1);
    if (!away->is_subscribed_perhaps)
        kit_assert_channels(server, "3");
    if (!away->is_unsubscribed_perhaps)
        kit_assert_channels(server, "4", "d");
}

enum outage { STOPPED, POWER_CUT, FROZEN };

static void check_outages(struct kit *kit, enum outage outage, int count)
{
    struct postgres *postgres = streams_postgres(kit);
    struct away *away = set_up(kit);
    for (int round = 0; round < count; round++) {
        kit_note(kit, "outage %d", round);
        check_stream(away);
        int result =
            outage == FROZEN ? postgres_freeze(postgres) : postgres_stop(postgres, outage == POWER_CUT);
        assert_int_equal(result, 0);
        expect_refusals(away);
        wait_until_status(away, "/health", 503);
        expect_heartbeats(away, round == 0 ? 2 : 1);
        kit_assert_body(kit_get_path(away->server, KIT_ACTIVE_CONNECTIONS), "{\"count\":1}");
        if (outage == STOPPED)
            expect_refusals(away);
        assert_int_equal(outage == FROZEN ? postgres_thaw(postgres) : postgres_restart(postgres), 0);
        wait_until_back(away);
        expect_all_works(away);
        check_stream(away);
        check_history(away);
    }
}

static void a_database_that_is_stopped_comes_back(void **state)
{
    check_outages(*state, STOPPED, 2);
}

static void a_database_that_had_no_power_comes_back(void **state)
{
    check_outages(*state, POWER_CUT, 1);
}

static void a_database_that_stands_still_comes_back(void **state)
{
    check_outages(*state, FROZEN, 1);
}

/* ---- sessions that break while much is published ---- */

static void broken_sessions_lose_nothing(void **state)
{
    static const char sql[] = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                              "WHERE datname = current_database() AND pid <> pg_backend_pid()";
    struct kit *kit = *state;
    struct postgres *postgres = streams_postgres(kit);
    struct kit_server *server = kit_serve_events(kit);
    const struct swarm_setup setup = {.readers = 10, .events = 400, .database_goes = true};
    struct swarm *swarm = swarm_start(kit, &setup, server, NULL);
    int ended = 0;
    for (int percent = 4; percent < 100; percent += 4) {
        swarm_wait_stored(swarm, percent);
        char *count = postgres_query(postgres, kit_database(kit), sql);
        assert_non_null(count);
        ended += atoi(count);
        free(count);
    }
    print_message("%d sessions ended\n", ended);
    assert_true(ended > 0);
    swarm_finish(swarm, server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        streams_test_postgresql(a_database_that_is_stopped_comes_back),
        streams_test_postgresql(a_database_that_had_no_power_comes_back),
        streams_test_postgresql(a_database_that_stands_still_comes_back),
        streams_test_postgresql(broken_sessions_lose_nothing),
    };
    return kit_run_event_tests(tests);
}
