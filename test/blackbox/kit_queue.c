/* Pushing, getting, and what /health says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit_internal.h"

const struct kit_response *kit_post(struct kit_server *server, const char *key, const char *content_type,
                                    const void *body, size_t length)
{
    const char *type = content_type == NULL ? "application/json" : content_type;
    return kit_request(server, "POST", kit_format(server->kit, "/push?key=%s", key),
                       kit_format(server->kit, "Content-Type: %s\r\n", type), body, length);
}

int64_t kit_push_at(struct kit_server *server, const char *key, const char *json, const char *file, int line)
{
    int64_t id;
    const struct kit_response *response = kit_post(server, key, NULL, json, strlen(json));
    kit_assert_status_at(response, 200, file, line);
    if (!kit_json_number(response->body, "id", &id))
        kit_fail_at(server->kit, file, line, "no id in %s", response->body);
    return id;
}

static const char *get_target(struct kit_server *server, const char *key, const char *group,
                              const char *parameters)
{
    return kit_format(server->kit, "/blocking-get?key=%s&groupId=%s%s%s", key, group,
                      parameters == NULL ? "" : "&", parameters == NULL ? "" : parameters);
}

const struct kit_response *kit_get(struct kit_server *server, const char *key, const char *group,
                                   const char *parameters)
{
    return kit_request(server, "GET", get_target(server, key, group, parameters), NULL, NULL, 0);
}

void kit_assert_get_at(struct kit_server *server, const char *key, const char *group, const char *wanted,
                       const char *file, int line)
{
    const struct kit_response *response = kit_get(server, key, group, "timeout=0");
    kit_assert_status_at(response, 200, file, line);
    kit_assert_body_at(response, wanted, file, line);
}

struct kit_connection *kit_get_later(struct kit_server *server, const char *key, const char *group,
                                     const char *parameters)
{
    struct kit_connection *connection = kit_connect(server);
    kit_send_request(connection, "GET", get_target(server, key, group, parameters), NULL, NULL, 0);
    return connection;
}

/* Just behind the colon of `"name":` in this object itself, not in one inside it; NULL when there is none. */
static const char *find_member(const char *object, const char *name, size_t length)
{
    int depth = 0;
    for (const char *next = object; *next != '\0'; next++) {
        if (*next == '{' || *next == '[') {
            depth++;
        } else if (*next == '}' || *next == ']') {
            depth--;
            if (depth == 0)
                return NULL;
        } else if (*next == '"') {
            const char *start = ++next;
            while (*next != '\0' && *next != '"')
                next += *next == '\\' && next[1] != '\0' ? 2 : 1;
            if (*next == '\0')
                return NULL;
            if (depth == 1 && next[1] == ':' && (size_t)(next - start) == length &&
                memcmp(start, name, length) == 0)
                return next + 2;
        }
    }
    return NULL;
}

bool kit_json_number(const char *json, const char *path, int64_t *number)
{
    const char *at = json;
    while (at != NULL) {
        size_t length = strcspn(path, ".");
        at = find_member(at, path, length);
        if (path[length] == '\0')
            break;
        path += length + 1;
    }
    if (at == NULL)
        return false;
    char *end;
    long long value = strtoll(at, &end, 10);
    if (end == at || (*end != ',' && *end != '}'))
        return false;
    *number = value;
    return true;
}

int64_t kit_health(struct kit_server *server, const char *path)
{
    int64_t number;
    const struct kit_response *response = kit_request(server, "GET", "/health", NULL, NULL, 0);
    kit_assert_status(response, 200);
    if (!kit_json_number(response->body, path, &number))
        kit_fail(server->kit, "no number %s in %s", path, response->body);
    return number;
}

void kit_wait_until_health_at(struct kit_server *server, const char *path, int64_t wanted, const char *file,
                              int line)
{
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS), number = 0;
    struct kit_connection *connection = kit_connect(server);
    for (;;) {
        struct kit_response response;
        kit_send_request(connection, "GET", "/health", NULL, NULL, 0);
        if (kit_try_receive(connection, "GET", deadline_at_ms, &response) != 0)
            kit_fail_at(server->kit, file, line,
                        "no answer from /health while waiting for %s to be %lld; it was %lld last", path,
                        (long long)wanted, (long long)number);
        bool known = kit_json_number(response.body, path, &number);
        kit_response_clear(&response);
        if (!known)
            kit_fail_at(server->kit, file, line, "no number %s in /health", path);
        if (number == wanted)
            break;
        if (kit_now_ms() > deadline_at_ms)
            kit_fail_at(server->kit, file, line, "%s of /health stays %lld instead of %lld", path,
                        (long long)number, (long long)wanted);
        kit_pause();
    }
    kit_close(connection);
}
