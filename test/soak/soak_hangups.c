/* Clients without manners under the soak: whatever they ask, they break it off somewhere. Nothing is known of their requests
 * afterwards, so they keep away from the keys and channels whose contents are checked. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../blackbox/kit_slow.h"
#include "soak.h"

enum { REQUEST_BYTES = 8192, ANSWER_BYTES = 100000, PADDING = 4000, LARGE_EVENT = 100000 };

static const struct {
    const char *method, *target, *body; /* the body with a %d for a number */
} requests[] = {
    {"POST", "/push?key=cut%d", "{\"n\":%d}"},
    {"POST", "/push?key=large", "{\"n\":%d}"},
    {"GET", "/blocking-get?key=cut%d&groupId=g", NULL},
    {"GET", "/blocking-get?key=cut%d&groupId=g&timeout=0", NULL},
    {"POST", "/api/events/publish", "{\"channel\":\"cut\",\"eventType\":\"t\",\"payload\":%d}"},
    {"GET", "/api/events/stream?userId=soak&channels=news%d", NULL},
    {"GET", "/api/events/stream?userId=soak&channels=news%d&lastEventId=0", NULL},
    {"GET", "/api/events/history?channel=news%d&limit=1000", NULL},
    {"POST", "/events", "[{\"event_id\":\"cut%d\"}]"},
    {"GET", "/metrics?window=%d", NULL},
    {"PUT", "/reference/users", "{\"ts\":\"2020-01-01T00:00:00Z\",\"user_metadata\":{\"u%d\":{}}}"},
    {"POST", "/addEvent", "{\"name\":\"cut\",\"userId\":\"u%d\"}"},
    {"GET", "/getUsers", NULL},
    {"GET", "/getEvents", NULL},
    {"GET", "/getEventsByUserId/u%d", NULL},
    {"POST", "/liveEvent", "{\"userId\":\"cut\",\"name\":\"add_revenue\",\"value\":%d}"},
    {"GET", "/health", NULL},
};

/* Writes `format` with the number in the place of its %d. */
static int write_number(char *text, size_t size, const char *format, int number)
{
    const char *place = strstr(format, "%d");
    if (place == NULL)
        return snprintf(text, size, "%s", format);
    return snprintf(text, size, "%.*s%d%s", (int)(place - format), format, number, place + 2);
}

/* Any request; its body may be chunked, or padded with white space. Returns its length. */
static size_t write_request(struct actor *actor, char bytes[REQUEST_BYTES])
{
    int which = soak_draw(actor, sizeof requests / sizeof *requests), number = 1 + soak_draw(actor, 3);
    char target[200], body[PADDING + 200] = "";
    int length = 0;
    write_number(target, sizeof target, requests[which].target, number);
    if (requests[which].body == NULL)
        return (size_t)snprintf(bytes, REQUEST_BYTES, "%s %s HTTP/1.1\r\nHost: h\r\n\r\n",
                                requests[which].method, target);
    length = write_number(body, sizeof body - PADDING, requests[which].body, number);
    if (soak_draw(actor, 2) == 0) {
        int padding = soak_draw(actor, PADDING);
        memset(body + length, ' ', (size_t)padding);
        length += padding;
        body[length] = '\0';
    }
    if (soak_draw(actor, 3) == 0)
        return (size_t)snprintf(
            bytes, REQUEST_BYTES,
            "%s %s HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n",
            requests[which].method, target, (unsigned)length, body);
    return (size_t)snprintf(bytes, REQUEST_BYTES, "%s %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s",
                            requests[which].method, target, length, body);
}

/* In pieces, at random. */
static void send_pieces(struct actor *actor, const char *bytes, size_t length)
{
    while (length > 0) {
        size_t piece = soak_draw(actor, 2) == 0 ? length : 1 + (size_t)soak_draw(actor, (int)length);
        if (kit_try_send(actor->connection, bytes, piece) != 0)
            return;
        bytes += piece;
        length -= piece;
        if (soak_draw(actor, 4) == 0)
            kit_pause();
    }
}

void soak_hang_up(struct actor *actor)
{
    char bytes[REQUEST_BYTES], *answer;
    size_t length = write_request(actor, bytes);
    if (!soak_connect(actor))
        return;
    if (soak_draw(actor, 2) == 0)
        length = (size_t)soak_draw(actor, (int)length); /* in the head or the body */
    send_pieces(actor, bytes, length);
    switch (soak_draw(actor, 4)) {
    case 0:
        kit_shutdown_sending(actor->connection);
        kit_pause();
        break;
    case 1: /* in the answer */
        answer = malloc(ANSWER_BYTES);
        if (answer != NULL && kit_has_input(actor->connection))
            kit_try_read(actor->connection, answer, (size_t)(1 + soak_draw(actor, ANSWER_BYTES)));
        free(answer);
        break;
    default:
        kit_pause();
        break;
    }
    soak_disconnect(actor, soak_draw(actor, 2) == 0);
}

/* A connection that was left alone makes room for this one, which is left alone from now on. */
static void leave(struct actor *actor)
{
    int place = soak_draw(actor, SOAK_LEFT_MOST);
    if (actor->left[place] != NULL)
        kit_close(actor->left[place]);
    actor->left[place] = actor->connection;
    actor->connection = NULL;
}

void soak_dawdle(struct actor *actor)
{
    char bytes[REQUEST_BYTES];
    size_t length = write_request(actor, bytes);
    if (!soak_connect(actor))
        return;
    send_pieces(actor, bytes, (size_t)soak_draw(actor, (int)length));
    leave(actor);
}

void soak_stall(struct actor *actor)
{
    static const char *const much[] = {
        "GET /api/events/history?channel=news0&limit=1000 HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /getEvents HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /api/events/stream?userId=soak&channels=news1&lastEventId=0 HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /blocking-get?key=large&groupId=stall HTTP/1.1\r\nHost: h\r\n\r\n",
    };
    soak_disconnect(actor, false);
    if (!soak_connect(actor))
        return;
    /* The same many times over: no socket takes in all the answers. */
    const char *request = much[soak_draw(actor, sizeof much / sizeof *much)];
    for (int i = 0; i < 20; i++)
        (void)kit_try_send(actor->connection, request, strlen(request));
    leave(actor);
}

void soak_vanish(struct actor *actor)
{
    char bytes[REQUEST_BYTES];
    size_t length = write_request(actor, bytes);
    soak_disconnect(actor, false);
    if (!soak_connect(actor))
        return;
    send_pieces(actor, bytes, soak_draw(actor, 2) == 0 ? length : (size_t)soak_draw(actor, (int)length));
    kit_vanish(actor->connection);
    leave(actor);
}
