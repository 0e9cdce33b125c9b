/* The threads of a swarm: publishers, and clients that drop their streams and resume. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit_streams_internal.h"

#define LOOK_MS   50 /* a client that gets nothing looks this often whether it is through */
#define FAIL(...) swarm_fail(swarm, __VA_ARGS__)

/* 0 to bound - 1 */
static int draw(struct actor *actor, int bound)
{
    return (int)(swarm_mix(actor->random += 0x9e3779b97f4a7c15) % (uint64_t)bound);
}

static void disconnect(struct actor *actor, bool reset)
{
    if (actor->connection != NULL)
        (reset ? kit_reset : kit_close)(actor->connection);
    actor->connection = NULL;
}

static bool is_connected(struct actor *actor)
{
    struct swarm *swarm = actor->swarm;
    if (actor->connection == NULL)
        actor->connection =
            kit_try_connect_to(swarm->kit, "127.0.0.1", swarm->ports[draw(actor, swarm->port_count)]);
    if (actor->connection != NULL)
        return true;
    if (!swarm->setup.servers_go)
        FAIL("connect: %s", strerror(errno));
    else if (kit_now_ms() > actor->give_up_at_ms)
        FAIL("the servers stay away");
    kit_pause();
    return false;
}

/* Judges an answer that only a database or a server that is away excuses. */
static void judge_refusal(struct swarm *swarm, const char *what, int status, int64_t took_ms)
{
    if (status != 503 || (!swarm->setup.database_goes && !swarm->setup.servers_go))
        FAIL("%s was answered %d", what, status);
    else if ((double)took_ms > STREAMS_AWAY_MS * kit_time_scale())
        FAIL("%s was answered 503 after %lld ms", what, (long long)took_ms);
}

/* ---- publishers ---- */

static const char content_type[] = "Content-Type: application/json\r\n";

/* Sends part of a request or all of it, and does not wait for the answer. */
static enum certainty publish_and_hang_up(struct actor *publisher, const char *body, int length)
{
    struct swarm *swarm = publisher->swarm;
    bool whole = draw(publisher, 2) == 0;
    char head[200];
    int head_length = snprintf(
        head, sizeof head, "POST " KIT_PUBLISH " HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %d\r\n\r\n",
        content_type, length);
    size_t sent = (size_t)(whole ? length : draw(publisher, length));
    if ((kit_try_send(publisher->connection, head, (size_t)head_length) != 0 ||
         kit_try_send(publisher->connection, body, sent) != 0) &&
        !swarm->setup.servers_go)
        FAIL("sending a publish: %s", strerror(errno));
    disconnect(publisher, draw(publisher, 2) == 0);
    return whole ? PERHAPS : CUT;
}

/* What an answer says of the event. */
static enum certainty judge_answer(struct swarm *swarm, const struct kit_response *response, int64_t took_ms)
{
    if (response->status == 202) {
        if (response->body_length > 0)
            FAIL("a publish was answered 202 %.200s", response->body);
        return STORED;
    }
    judge_refusal(swarm, "a publish", response->status, took_ms);
    const char *after = kit_header(response, "Retry-After");
    if (after == NULL || !kit_matches(after, "^[0-9]+$"))
        FAIL("a publish was answered 503 without Retry-After: %.300s", response->head);
    atomic_fetch_add(&swarm->refused, 1);
    return strstr(response->body, "outcome unknown") != NULL ? PERHAPS : REFUSED;
}

/* Tries once; what is known of the event then. UNSENT: nothing has left. */
static enum certainty publish_once(struct actor *publisher, int channel, int number)
{
    struct swarm *swarm = publisher->swarm;
    struct kit_response response;
    char *body = publisher->body;
    int length = swarm_write_body(swarm, body, channel, publisher->number, number);
    if (!is_connected(publisher))
        return UNSENT;
    if (draw(publisher, 25) == 0)
        return publish_and_hang_up(publisher, body, length);
    int64_t sent_at_ms = kit_now_ms();
    if (kit_try_send_request(publisher->connection, "POST", KIT_PUBLISH, content_type, body,
                             (size_t)length) != 0 ||
        kit_try_receive(publisher->connection, "POST", kit_deadline_at_ms(KIT_DEADLINE_MS), &response) != 0) {
        if (!swarm->setup.servers_go || errno == ETIMEDOUT)
            FAIL("no answer to a publish: %s", strerror(errno));
        atomic_fetch_add(&swarm->lost, 1);
        disconnect(publisher, false);
        return PERHAPS;
    }
    enum certainty certainty = judge_answer(swarm, &response, kit_now_ms() - sent_at_ms);
    const char *fate = kit_header(&response, "Connection");
    if ((fate != NULL && kit_matches(fate, "[Cc]lose")) || draw(publisher, 20) == 0)
        disconnect(publisher, draw(publisher, 2) == 0);
    kit_response_clear(&response);
    return certainty;
}

void *swarm_publish_all(void *argument)
{
    struct actor *publisher = argument;
    struct swarm *swarm = publisher->swarm;
    enum certainty *pushes = swarm->pushes[publisher->number];
    int stored = 0;
    for (int number = 0; stored < swarm->events && number < swarm->numbers && !atomic_load(&swarm->failed);) {
        if (stored >= atomic_load(&swarm->hold_at)) {
            kit_pause();
            continue;
        }
        enum certainty certainty = publish_once(publisher, draw(publisher, CHANNELS), number);
        if (certainty == STORED) {
            stored++;
            atomic_fetch_add(&swarm->stored, 1);
            publisher->give_up_at_ms = kit_deadline_at_ms(GIVE_UP_MS);
        } else if (kit_now_ms() > publisher->give_up_at_ms) {
            FAIL("no publish is taken any more");
        }
        /* What was refused may be tried again as the same event: then it must still be there only once. */
        bool is_spare = number - stored < SPARE / 2 && draw(publisher, 2) == 0;
        if (certainty == REFUSED)
            kit_pause();
        if (certainty != UNSENT && (certainty != REFUSED || is_spare))
            pushes[number++] = certainty;
    }
    disconnect(publisher, false);
    atomic_fetch_sub(&swarm->publishing, 1);
    return NULL;
}

/* ---- clients ---- */

static void write_target(struct reader *reader, char target[static 300], char header[static 64])
{
    struct actor *actor = &reader->actor;
    size_t length = (size_t)sprintf(target, KIT_STREAM "?userId=1&channels=");
    for (int channel = 0; channel < CHANNELS; channel++)
        if ((reader->channels >> channel & 1) != 0)
            length += (size_t)sprintf(target + length, "channel%d,", channel);
    target[--length] = '\0';
    *header = '\0';
    /* Nothing is published before the first time: "live only" is as good as a place to begin at. */
    if (!reader->opened && draw(actor, 2) == 0)
        return;
    bool by_header = draw(actor, 2) == 0;
    if (by_header)
        sprintf(header, "Last-Event-ID: %lld\r\n", (long long)reader->last_id);
    if (!by_header || draw(actor, 4) == 0) /* beside the header it must not count */
        sprintf(target + length, "&lastEventId=%lld", by_header ? 0 : (long long)reader->last_id);
}

/* The connection was ended by the server, whole frame or not. */
static bool is_end(const struct kit_sse *stream, int problem)
{
    return problem == EPIPE || problem == ECONNRESET ||
           (problem == EPROTO && (stream->cut || stream->problem == NULL));
}

/* Opens a stream behind the last event; false when that has to be tried again. */
static bool open_stream(struct reader *reader)
{
    struct swarm *swarm = reader->actor.swarm;
    char target[300], header[64];
    if (!is_connected(&reader->actor))
        return false;
    write_target(reader, target, header);
    int64_t asked_at_ms = kit_now_ms();
    reader->has_stalled = false;
    if (kit_sse_try_open(&reader->stream, reader->actor.connection, target, header,
                         kit_deadline_at_ms(KIT_DEADLINE_MS)) == 0) {
        if (!reader->opened)
            atomic_fetch_add(&swarm->opened, 1);
        reader->opened = true;
        return true;
    }
    int problem = errno, status = reader->stream.status;
    disconnect(&reader->actor, false);
    bool may_end = swarm->setup.servers_go || swarm->setup.database_goes;
    if (status != 0 && status != 200)
        judge_refusal(swarm, target, status, kit_now_ms() - asked_at_ms);
    else if (!may_end || !is_end(&reader->stream, problem))
        FAIL("%s: no stream: %s", target,
             reader->stream.problem != NULL ? reader->stream.problem : strerror(problem));
    if (kit_now_ms() > reader->actor.give_up_at_ms)
        FAIL("%s: no stream any more", target);
    kit_pause();
    return false;
}

static void note_event(struct reader *reader, const struct kit_sse_frame *frame)
{
    struct swarm *swarm = reader->actor.swarm;
    struct sighting event = {.id = frame->id};
    if (!swarm_read_event(swarm, frame->event, frame->data, &event))
        FAIL("not an event as it was published: %lld %s %.200s", (long long)frame->id, frame->event,
             frame->data);
    else if ((reader->channels >> event.channel & 1) == 0)
        FAIL("client %d got an event of channel%d", reader->actor.number, event.channel);
    else if (frame->id <= reader->last_id)
        FAIL("client %d got id %lld behind %lld", reader->actor.number, (long long)frame->id,
             (long long)reader->last_id);
    if (reader->count == reader->capacity) {
        size_t capacity = reader->capacity * 2 + 1000;
        struct sighting *larger = realloc(reader->seen, capacity * sizeof *larger);
        if (larger == NULL) {
            FAIL("out of memory");
            return;
        }
        reader->seen = larger;
        reader->capacity = capacity;
    }
    reader->seen[reader->count++] = event;
    reader->last_id = frame->id;
}

static void drop_stream(struct reader *reader)
{
    struct actor *actor = &reader->actor;
    char bytes[200];
    if (draw(actor, 3) == 0 && kit_has_input(actor->connection))
        kit_try_read(actor->connection, bytes, (size_t)(1 + draw(actor, (int)sizeof bytes)));
    disconnect(actor, draw(actor, 2) == 0);
    atomic_fetch_add(&actor->swarm->drops, 1);
}

/* Reads nothing while some hundred events are published; of large ones, while any are published. */
static void stall(struct reader *reader)
{
    struct swarm *swarm = reader->actor.swarm;
    int length = swarm->setup.large ? INT_MAX / 2 : 100 + draw(&reader->actor, 400);
    int wanted = atomic_load(&swarm->stored) + length;
    reader->has_stalled = true;
    while (atomic_load(&swarm->stored) < wanted && atomic_load(&swarm->publishing) > 0 &&
           !atomic_load(&swarm->failed))
        kit_pause();
}

static bool is_through(struct reader *reader)
{
    for (int channel = 0; channel < CHANNELS; channel++) {
        int64_t target = atomic_load(&reader->actor.swarm->targets[channel]);
        if (target == 0 || ((reader->channels >> channel & 1) != 0 && reader->last_id < target))
            return false;
    }
    return true;
}

void *swarm_read_streams(void *argument)
{
    struct reader *reader = argument;
    struct actor *actor = &reader->actor;
    struct swarm *swarm = actor->swarm;
    while (!atomic_load(&swarm->failed) && !is_through(reader)) {
        struct kit_sse_frame frame;
        if (actor->connection == NULL && !open_stream(reader))
            continue;
        actor->give_up_at_ms = kit_deadline_at_ms(GIVE_UP_MS);
        if (kit_sse_try_next_event(&reader->stream, kit_now_ms() + LOOK_MS, &frame) == 0) {
            note_event(reader, &frame);
            kit_sse_frame_clear(&frame);
        } else if (errno != ETIMEDOUT) {
            /* A few large events are more than a reader may be behind, and on a busy machine it is, for a moment. */
            bool may_end = reader->has_stalled || swarm->setup.large || swarm->setup.servers_go ||
                           swarm->setup.database_goes;
            if (!may_end || !is_end(&reader->stream, errno))
                FAIL("client %d at %lld: %s", actor->number, (long long)reader->last_id,
                     errno == EPROTO ? reader->stream.problem : strerror(errno));
            disconnect(actor, false);
            atomic_fetch_add(&swarm->ended, 1);
            continue;
        }
        if (reader->kind == STALLING && draw(actor, swarm->setup.large ? 1 : 150) == 0)
            stall(reader);
        else if (reader->kind != STEADY && draw(actor, 50) == 0)
            drop_stream(reader);
    }
    disconnect(actor, false);
    atomic_fetch_add(&swarm->through, 1);
    return NULL;
}
