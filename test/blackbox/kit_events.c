/* The requests under /api/events but history. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit_events.h"

#define CONNECTIONS 16 /* of kit_publish_numbers() */

const struct kit_response *kit_post_json(struct kit_server *server, const char *path, const char *json)
{
    return kit_request(server, "POST", path, "Content-Type: application/json\r\n", json,
                       json == NULL ? 0 : strlen(json));
}

const struct kit_response *kit_get_path(struct kit_server *server, const char *target)
{
    return kit_request(server, "GET", target, NULL, NULL, 0);
}

#define ENVELOPE "{\"channel\":\"%s\",\"eventType\":\"%s\",\"payload\":%s}"

char *kit_envelope(struct kit *kit, const char *channel, const char *type, const char *payload)
{
    return kit_format(kit, ENVELOPE, channel, type, payload);
}

static const char content_type[] = "Content-Type: application/json\r\n";

void kit_publish_at(struct kit_server *server, const char *channel, const char *type, const char *payload,
                    const char *file, int line)
{
    const char *body = kit_envelope(kit_of(server), channel, type, payload);
    const struct kit_response *response = kit_post_json(server, KIT_PUBLISH, body);
    kit_assert_status_at(response, 202, file, line);
    kit_assert_body_at(response, "", file, line);
}

int kit_try_publish(struct kit_connection *connection, const char *channel, const char *type,
                    const char *payload, int64_t deadline_at_ms)
{
    char *body;
    struct kit_response response;
    int length = asprintf(&body, ENVELOPE, channel, type, payload);
    if (length < 0)
        return -1;
    int result = kit_try_send_request(connection, "POST", KIT_PUBLISH, content_type, body, (size_t)length);
    int problem = errno;
    free(body);
    errno = problem;
    if (result != 0 || kit_try_receive(connection, "POST", deadline_at_ms, &response) != 0)
        return -1;
    int status = response.status;
    kit_response_clear(&response);
    return status;
}

/* Reads the answer of a publish over a connection that goes on. */
static void expect_taken(struct kit *kit, struct kit_connection *connection)
{
    struct kit_response response;
    if (kit_try_receive(connection, "POST", kit_deadline_at_ms(KIT_DEADLINE_MS), &response) != 0)
        kit_fail(kit, "no answer to a publish: %s", strerror(errno));
    int status = response.status;
    kit_response_clear(&response);
    if (status != 202)
        kit_fail(kit, "a publish was answered %d", status);
}

void kit_publish_numbers(struct kit_server *server, const char *channel, int first, int count)
{
    struct kit_connection *connections[CONNECTIONS];
    struct kit *kit = kit_of(server);
    const char *start = kit_format(kit, "{\"channel\":\"%s\",\"eventType\":\"number\",\"payload\":", channel);
    char *body = kit_allocate(kit, strlen(start) + 16);
    int open = count < CONNECTIONS ? count : CONNECTIONS;
    for (int i = 0; i < open; i++)
        connections[i] = kit_connect(server);
    for (int i = 0; i < count; i++) {
        struct kit_connection *connection = connections[i % CONNECTIONS];
        if (i >= CONNECTIONS)
            expect_taken(kit, connection);
        size_t length = (size_t)sprintf(body, "%s%d}", start, first + i);
        kit_send_request(connection, "POST", KIT_PUBLISH, content_type, body, length);
    }
    for (int i = 0; i < open; i++) {
        expect_taken(kit, connections[i]);
        kit_close(connections[i]);
    }
}

static void change_subscription(struct kit_server *server, const char *path, const char *user,
                                const char *channel, const char *file, int line)
{
    bool subscribes = strcmp(path, KIT_SUBSCRIBE) == 0;
    struct kit *kit = kit_of(server);
    const char *rest = kit_format(kit, "\"userId\":%s,\"channel\":\"%s\"}", user, channel);
    const struct kit_response *response = kit_post_json(server, path, kit_format(kit, "{%s", rest));
    kit_assert_status_at(response, subscribes ? 201 : 200, file, line);
    kit_assert_body_at(
        response, kit_format(kit, "{\"status\":\"%s\",%s", subscribes ? "subscribed" : "unsubscribed", rest),
        file, line);
    kit_assert_header_at(response, "Content-Type", "application/json", file, line);
}

void kit_subscribe_at(struct kit_server *server, const char *user, const char *channel, const char *file,
                      int line)
{
    change_subscription(server, KIT_SUBSCRIBE, user, channel, file, line);
}

void kit_unsubscribe_at(struct kit_server *server, const char *user, const char *channel, const char *file,
                        int line)
{
    change_subscription(server, KIT_UNSUBSCRIBE, user, channel, file, line);
}

void kit_assert_channels_at(struct kit_server *server, const char *user, const char *const *channels,
                            const char *file, int line)
{
    struct kit *kit = kit_of(server);
    const struct kit_response *response = kit_get_path(server, kit_format(kit, KIT_LIST "?userId=%s", user));
    kit_assert_status_at(response, 200, file, line);
    kit_assert_header_at(response, "Content-Type", "application/json", file, line);
    static const char start[] = "{\"channels\":[", end[] = "]}";
    size_t length = strlen(start) + strlen(end), count = 0;
    for (; channels[count] != NULL; count++) {
        const char *quoted = kit_format(kit, "\"%s\"", channels[count]);
        length += strlen(quoted) + (count > 0); /* a comma */
        if (strstr(response->body, quoted) == NULL)
            kit_fail_at(kit, file, line, "no channel %s in %.2000s", quoted, response->body);
    }
    /* All of them are there, so whatever is too much shows in the length. */
    if (response->body_length != length || strncmp(response->body, start, strlen(start)) != 0 ||
        strcmp(response->body + length - strlen(end), end) != 0)
        kit_fail_at(kit, file, line, "not the list of %zu channels: %.2000s", count, response->body);
}

int64_t kit_streams(struct kit_server *server)
{
    int64_t count;
    const struct kit_response *response = kit_get_path(server, KIT_ACTIVE_CONNECTIONS);
    kit_assert_status(response, 200);
    kit_assert_body_matches(response, "^\\{\"count\":[0-9]+\\}$");
    assert_true(kit_json_number(response->body, "count", &count));
    return count;
}

void kit_wait_until_streams_at(struct kit_server *server, int64_t wanted, const char *file, int line)
{
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS), count = -1;
    struct kit_connection *connection = kit_connect(server);
    for (;;) {
        struct kit_response response;
        kit_send_request(connection, "GET", KIT_ACTIVE_CONNECTIONS, NULL, NULL, 0);
        if (kit_try_receive(connection, "GET", deadline_at_ms, &response) != 0)
            kit_fail_at(kit_of(server), file, line, "no answer from active-connections");
        bool known = response.status == 200 && kit_json_number(response.body, "count", &count);
        kit_response_clear(&response);
        if (!known)
            kit_fail_at(kit_of(server), file, line, "no count of active connections");
        if (count == wanted)
            break;
        if (kit_now_ms() > deadline_at_ms)
            kit_fail_at(kit_of(server), file, line, "%lld streams stay open instead of %lld",
                        (long long)count, (long long)wanted);
        kit_pause();
    }
    kit_close(connection);
}
