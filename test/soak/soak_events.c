/* All endpoints but the queue's under the soak. Each channel has one publisher, which numbers what it publishes: streams must
 * see the numbers go on, also across reconnects with Last-Event-ID. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../blackbox/kit_sse.h"
#include "soak.h"

enum {
    CHANNELS = 4,
    EVENTS_A_POST = 20,
    TABLE_USERS = 200,
    PAGE = 20,
    LISTED_USERS = 50,
    STREAM_MS = 1500, /* that a stream is read before it is looked at again */
};

struct soak_channels {
    atomic_bool unsure[CHANNELS]; /* a publish was not answered: its number may come twice, or not at all */
    atomic_llong published, streamed, posted, added, live;
};

void soak_channels_create(struct soak *soak)
{
    soak->channels = kit_allocate(soak->kit, sizeof *soak->channels);
    for (int i = 0; i < CHANNELS; i++) {
        const char *body = kit_format(soak->kit, "{\"userId\":\"soak\",\"channel\":\"news%d\"}", i);
        kit_assert_status(kit_request(soak->server, "POST", "/api/events/channels/subscribe",
                                      "Content-Type: application/json\r\n", body, strlen(body)),
                          201);
    }
}

void soak_channels_report(const struct soak *soak)
{
    const struct soak_channels *channels = soak->channels;
    print_message(
        "others: %lld published, %lld seen by streams, %lld events posted, %lld planned events added, "
        "%lld live events\n",
        channels->published, channels->streamed, channels->posted, channels->added, channels->live);
}

/* ---- channels ---- */

void soak_publish(struct actor *actor)
{
    char body[200];
    int channel = actor->number % CHANNELS;
    snprintf(body, sizeof body, "{\"channel\":\"news%d\",\"eventType\":\"soak\",\"payload\":%lld}", channel,
             (long long)actor->last_number + 1);
    struct kit_response response;
    int status = soak_exchange(actor, "POST", "/api/events/publish", NULL, body, "202|503", &response);
    if (status == 0)
        return;
    /* A disk that others keep busy. */
    if (status == 503)
        atomic_store(&actor->soak->channels->unsure[channel], true);
    else
        atomic_fetch_add(&actor->soak->channels->published, 1);
    actor->last_number++;
    kit_response_clear(&response);
}

static void take_number(struct actor *actor, const struct kit_sse_frame *frame)
{
    struct soak_channels *channels = actor->soak->channels;
    int64_t number = strtoll(frame->data, NULL, 10);
    bool sure = !atomic_load(&channels->unsure[actor->number % CHANNELS]);
    if (actor->last_id != 0 && sure && number != actor->last_number + 1)
        soak_fail(actor->soak, "a stream of news%d goes on with %lld behind %lld", actor->number % CHANNELS,
                  (long long)number, (long long)actor->last_number);
    actor->last_id = frame->id;
    actor->last_number = number;
    atomic_fetch_add(&channels->streamed, 1);
}

void soak_stream(struct actor *actor)
{
    char target[100], header[60];
    struct kit_sse stream = {.server = NULL};
    struct kit_sse_frame frame;
    soak_disconnect(actor, false);
    if (!soak_connect(actor))
        return;
    snprintf(target, sizeof target, "/api/events/stream?userId=soak&channels=news%d",
             actor->number % CHANNELS);
    snprintf(header, sizeof header, "Last-Event-ID: %lld\r\n", (long long)actor->last_id);
    int64_t deadline_at_ms = kit_deadline_at_ms(SOAK_DEADLINE_MS);
    if (kit_sse_try_open(&stream, actor->connection, target, actor->last_id == 0 ? NULL : header,
                         deadline_at_ms) != 0) {
        if (stream.status == 503)
            atomic_fetch_add(&actor->soak->refused, 1);
        else
            soak_fail(actor->soak, "a stream: %s, status %d: %s", strerror(errno), stream.status,
                      stream.problem == NULL ? "" : stream.problem);
        return;
    }
    int wanted = 1 + soak_draw(actor, 100);
    deadline_at_ms = kit_now_ms() + STREAM_MS;
    while (wanted-- > 0 && !soak_is_over(actor->soak)) {
        if (kit_sse_try_next_event(&stream, deadline_at_ms, &frame) != 0) {
            if (errno != ETIMEDOUT)
                soak_fail(actor->soak, "a stream has ended: %s", strerror(errno));
            break;
        }
        take_number(actor, &frame);
        kit_sse_frame_clear(&frame);
    }
    soak_disconnect(actor, soak_draw(actor, 2) == 0);
}

void soak_history(struct actor *actor)
{
    char target[100];
    snprintf(target, sizeof target, "/api/events/history?channel=news%d&afterId=%d&limit=%d",
             soak_draw(actor, CHANNELS), soak_draw(actor, 5000), 1 + soak_draw(actor, 1000));
    soak_ask(actor, "GET", target, NULL, NULL, "200|503");
}

void soak_subscribe(struct actor *actor)
{
    char body[100], target[100];
    int user = soak_draw(actor, 50);
    snprintf(body, sizeof body, "{\"userId\":%d,\"channel\":\"other%d\"}", user, soak_draw(actor, 5));
    if (soak_draw(actor, 2) == 0)
        soak_ask(actor, "POST", "/api/events/channels/subscribe", NULL, body, "201|503");
    else
        soak_ask(actor, "POST", "/api/events/channels/unsubscribe", NULL, body, "200|503");
    snprintf(target, sizeof target, "/api/events/channels/list?userId=%d", user);
    soak_ask(actor, "GET", target, NULL, NULL, "200|503");
}

/* ---- metrics ---- */

static void write_instant(char text[40])
{
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    strftime(text, 40, "%Y-%m-%dT%H:%M:%SZ", &parts);
}

void soak_post_events(struct actor *actor)
{
    char body[EVENTS_A_POST * 150] = "[", instant[40];
    size_t length = 1;
    write_instant(instant);
    for (int i = 0; i < EVENTS_A_POST; i++)
        length += (size_t)sprintf(
            body + length,
            "%s{\"event_id\":\"%d-%llu-%d\",\"user_id\":\"u%d\",\"type\":\"t%d\",\"ts\":\"%s\"}",
            i == 0 ? "" : ",", actor->number, (unsigned long long)actor->steps, i,
            soak_draw(actor, 2 * TABLE_USERS), soak_draw(actor, 5), instant);
    memcpy(body + length, "]", 2);
    struct kit_response response;
    if (soak_exchange(actor, "POST", "/events", NULL, body, "200", &response) == 0)
        return;
    if (strstr(response.body, "\"error\"") != NULL)
        soak_fail(actor->soak, "an event was refused: %.300s", strstr(response.body, "\"error\""));
    atomic_fetch_add(&actor->soak->channels->posted, EVENTS_A_POST);
    kit_response_clear(&response);
}

void soak_metrics(struct actor *actor)
{
    char target[60];
    snprintf(target, sizeof target, "/metrics?window=%d", 1 + soak_draw(actor, 20));
    soak_ask(actor, "GET", target, NULL, NULL, "200");
}

void soak_swap_table(struct actor *actor)
{
    char body[TABLE_USERS * 80 + 200], instant[40];
    write_instant(instant);
    size_t length = (size_t)sprintf(body, "{\"ts\":\"%s\",\"user_metadata\":{", instant);
    for (int i = 0; i < TABLE_USERS; i++)
        length += (size_t)sprintf(body + length, "%s\"u%d\":{\"plan\":\"p%d\",\"region\":\"r%d\"}",
                                  i == 0 ? "" : ",", i, soak_draw(actor, 4), soak_draw(actor, 4));
    memcpy(body + length, "}}", 3);
    soak_ask(actor, "PUT", "/reference/users", NULL, body, "200|409|503");
}

/* ---- planned and live events ---- */

void soak_add_event(struct actor *actor)
{
    char body[200];
    snprintf(body, sizeof body, "{\"name\":\"soak\",\"userId\":\"u%d\",\"details\":[%llu]}",
             soak_draw(actor, LISTED_USERS), (unsigned long long)actor->steps);
    soak_ask(actor, "POST", "/addEvent", NULL, body, "200|503");
    atomic_fetch_add(&actor->soak->channels->added, 1);
}

void soak_list(struct actor *actor)
{
    char target[80];
    switch (soak_draw(actor, 4)) {
    case 0:
        soak_ask(actor, "GET", "/getUsers", NULL, NULL, "200|503");
        break;
    case 1:
        soak_ask(actor, "GET", "/getEvents", NULL, NULL, "200|503");
        break;
    default:
        snprintf(target, sizeof target, "/getEventsByUserId/u%d?limit=%d", soak_draw(actor, LISTED_USERS),
                 PAGE);
        soak_ask(actor, "GET", target, NULL, NULL, "200|404|503");
        break;
    }
}

void soak_live_event(struct actor *actor)
{
    char body[200];
    snprintf(body, sizeof body, "{\"userId\":\"u%d\",\"name\":\"%s_revenue\",\"value\":%d.%02d}",
             soak_draw(actor, LISTED_USERS), soak_draw(actor, 3) == 0 ? "subtract" : "add",
             soak_draw(actor, 1000), soak_draw(actor, 100));
    soak_ask(actor, "POST", "/liveEvent", NULL, body, "200|503");
    snprintf(body, sizeof body, "/userEvents/u%d", soak_draw(actor, LISTED_USERS));
    soak_ask(actor, "GET", body, NULL, NULL, "404|503");
    atomic_fetch_add(&actor->soak->channels->live, 1);
}

/* What is only looked at, and what is refused. */
void soak_look(struct actor *actor)
{
    static const struct {
        const char *method, *target, *statuses;
    } requests[] = {
        {"GET", "/health", "200"},           {"GET", "/healthz", "200"},
        {"HEAD", "/healthz", "200"},         {"GET", "/api/events/active-connections", "200"},
        {"GET", "/nowhere", "404"},          {"DELETE", "/push", "405"},
        {"POST", "/push?key=k", "400"},      {"GET", "/blocking-get?key=k", "400"},
        {"GET", "/metrics?window=x", "400"},
    };
    int which = soak_draw(actor, sizeof requests / sizeof *requests);
    soak_ask(actor, requests[which].method, requests[which].target, NULL, NULL, requests[which].statuses);
}
