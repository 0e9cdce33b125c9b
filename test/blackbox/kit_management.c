/* Events that are added, the lists taken apart, and the upstream. */
#include "kit_management.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../postgres.h"

enum {
    ARGUMENTS_MAX = 28,
    STANDINS_MAX = 8,
    CONNECTIONS = 48, /* of kit_add_many() */
    PIPELINED = 16,   /* requests on each of them that wait for their answers */
    MANY_MS = 20000,
};

static const char content_type[] = "Content-Type: application/json\r\n";

/* Of the running test; cmocka runs one at a time. */
static struct standin *standins[STANDINS_MAX];
static size_t standin_total;
static struct postgres *frozen;

/* ---- adding ---- */

char *kit_planned_body(struct kit *kit, const char *name, const char *user, const char *details)
{
    return kit_format(kit, "{\"name\":\"%s\",\"userId\":%s%s%s}", name, user,
                      details == NULL ? "" : ",\"details\":", details == NULL ? "" : details);
}

const char *kit_added_id_at(const struct kit_response *response, const char *file, int line)
{
    static const char start[] = "{\"success\":true,\"id\":\"";
    kit_assert_status_at(response, 200, file, line);
    kit_assert_header_at(response, "Content-Type", "application/json", file, line);
    kit_assert_body_matches_at(response, "^\\{\"success\":true,\"id\":\"([^\"\\]|\\\\.)+\"\\}$", file, line);
    size_t length = response->body_length - strlen(start) - strlen("\"}");
    return kit_slice_text(response->kit, (struct kit_slice){response->body + strlen(start), length});
}

const char *kit_add_at(struct kit_server *server, const char *name, const char *user, const char *details,
                       const char *file, int line)
{
    const char *body = kit_planned_body(kit_of(server), name, user, details);
    return kit_added_id_at(kit_post_json(server, KIT_ADD_EVENT, body), file, line);
}

struct kit_connection *kit_add_later(struct kit_server *server, const char *body)
{
    struct kit_connection *connection = kit_connect(server);
    kit_send_request(connection, "POST", KIT_ADD_EVENT, content_type, body, strlen(body));
    return connection;
}

int kit_try_add(struct kit_connection *connection, const char *body, int64_t deadline_at_ms, char id[64])
{
    struct kit_response response;
    id[0] = '\0';
    if (kit_try_send_request(connection, "POST", KIT_ADD_EVENT, content_type, body, strlen(body)) != 0 ||
        kit_try_receive(connection, "POST", deadline_at_ms, &response) != 0)
        return -1;
    int status = response.status;
    if (status == 200 && sscanf(response.body, "{\"success\":true,\"id\":\"%63[^\"]\"}", id) != 1)
        status = 0;
    kit_response_clear(&response);
    return status;
}

static int occurrences(const char *text, const char *part)
{
    int count = 0;
    for (text = strstr(text, part); text != NULL; text = strstr(text + 1, part))
        count++;
    return count;
}

/* Answers of addEvent over a connection that goes on; all must be 200. Not taken apart one by one: they are many. */
static void expect_added(struct kit *kit, struct kit_connection *connection, int count)
{
    char answers[PIPELINED * 512] = "";
    size_t used = 0;
    int64_t deadline_at_ms = kit_deadline_at_ms(MANY_MS);
    while (occurrences(answers, "\"}") < count) {
        ssize_t more = kit_try_read(connection, answers + used, sizeof answers - used - 1);
        if (more <= 0 || kit_now_ms() > deadline_at_ms)
            kit_fail(kit, "the answers end: %.2000s", answers);
        used += (size_t)more;
        answers[used] = '\0';
    }
    if (occurrences(answers, "HTTP/1.1 200 ") != count ||
        occurrences(answers, "\r\n\r\n{\"success\":true,\"id\":\"") != count)
        kit_fail(kit, "not %d answers of addEvent: %.2000s", count, answers);
}

/* Sends `count` requests at once. */
static void send_numbers(struct kit_connection *connection, char *bytes, int first, int count, int users)
{
    char body[128], *end = bytes;
    for (int i = first; i < first + count; i++) {
        int length = snprintf(body, sizeof body, "{\"name\":\"n%04d\",\"userId\":\"u%04d\"}", i, i % users);
        end += sprintf(end, "POST /addEvent HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s",
                       length, body);
    }
    kit_send(connection, bytes, (size_t)(end - bytes));
}

void kit_add_many(struct kit_server *server, int first, int count, int users)
{
    struct kit *kit = kit_of(server);
    struct kit_connection *connections[CONNECTIONS];
    int waiting[CONNECTIONS] = {0};
    char *bytes = kit_allocate(kit, (size_t)PIPELINED * 256);
    for (int i = 0; i < CONNECTIONS; i++)
        connections[i] = kit_connect(server);
    for (int sent = 0, turn = 0; sent < count; turn = (turn + 1) % CONNECTIONS) {
        int part = count - sent < PIPELINED ? count - sent : PIPELINED;
        expect_added(kit, connections[turn], waiting[turn]);
        send_numbers(connections[turn], bytes, first + sent, part, users);
        waiting[turn] = part;
        sent += part;
    }
    for (int i = 0; i < CONNECTIONS; i++) {
        expect_added(kit, connections[i], waiting[i]);
        kit_close(connections[i]);
    }
}

void kit_put_table_at(struct kit_server *server, const char *users, const char *file, int line)
{
    struct kit *kit = kit_of(server);
    const char *body = kit_format(kit, "{\"user_metadata\":%s,\"ts\":\"2026-01-01T00:00:00.000Z\"}", users);
    const struct kit_response *response =
        kit_request(server, "PUT", KIT_REFERENCE, content_type, body, strlen(body));
    kit_assert_status_at(response, 200, file, line);
}

/* ---- the three lists ---- */

bool kit_slice_is(struct kit_slice slice, const char *text)
{
    return slice.length == strlen(text) && memcmp(slice.text, text, slice.length) == 0;
}

const char *kit_slice_text(struct kit *kit, struct kit_slice slice)
{
    char *text = kit_allocate(kit, slice.length + 1);
    memcpy(text, slice.text, slice.length);
    return text;
}

bool kit_is_json(const char *text)
{
    sqlite3 *database;
    sqlite3_stmt *statement = NULL;
    bool valid = sqlite3_open(":memory:", &database) == SQLITE_OK &&
                 sqlite3_prepare_v2(database, "SELECT json_valid(?)", -1, &statement, NULL) == SQLITE_OK &&
                 sqlite3_bind_text(statement, 1, text, -1, SQLITE_STATIC) == SQLITE_OK &&
                 sqlite3_step(statement) == SQLITE_ROW && sqlite3_column_int(statement, 0) == 1;
    sqlite3_finalize(statement);
    sqlite3_close(database);
    return valid;
}

size_t kit_member(struct kit_slice object, const char *name, struct kit_slice *value)
{
    size_t count = 0;
    const char *next = object.text, *end = object.text + object.length;
    if (object.length < 2 || *next != '{')
        return 0;
    for (next++; next < end && *next == '"'; next += *next == ',') {
        const char *colon = kit_parse_value(next);
        const char *behind = colon == NULL || *colon != ':' ? NULL : kit_parse_value(colon + 1);
        if (behind == NULL || behind > end)
            return 0;
        if (kit_slice_is((struct kit_slice){next + 1, (size_t)(colon - next) - 2}, name)) {
            count++;
            *value = (struct kit_slice){colon + 1, (size_t)(behind - colon) - 1};
        }
        next = behind;
    }
    return count;
}

/* The next entry of an array; just behind it, or NULL. */
static const char *parse_entry(const char *text, struct kit_entry *entry)
{
    static const char start[] = "{\"id\":\"";
    if (strncmp(text, start, strlen(start)) != 0)
        return NULL;
    const char *id = text + strlen(start), *end = kit_parse_value(text);
    const char *id_end = kit_parse_value(id - 1);
    if (end == NULL || id_end == NULL || id_end > end)
        return NULL;
    entry->id = (struct kit_slice){id, (size_t)(id_end - id) - 1};
    entry->json = (struct kit_slice){text, (size_t)(end - text)};
    return entry->id.length > 0 ? end : NULL;
}

/* The array's entries; what is wrong with it, or NULL. */
static const char *parse_array(struct kit *kit, const char *body, struct kit_entries *entries)
{
    size_t capacity = 0;
    if (*body != '[')
        return "no array";
    for (body++; *body != ']'; entries->count++) {
        if (entries->count > 0 && *body++ != ',')
            return "no comma between entries";
        if (entries->count == capacity) {
            capacity = capacity * 4 + 64;
            struct kit_entry *larger = kit_allocate(kit, capacity * sizeof *larger);
            if (entries->count > 0)
                memcpy(larger, entries->items, entries->count * sizeof *larger);
            entries->items = larger;
        }
        body = parse_entry(body, &entries->items[entries->count]);
        if (body == NULL)
            return "not an entry";
    }
    return body[1] == '\0' ? NULL : "something behind the end";
}

const struct kit_entries *kit_parse_entries(const struct kit_response *response, const char *file, int line)
{
    struct kit *kit = response->kit;
    struct kit_entries *entries = kit_allocate(kit, sizeof *entries);
    entries->response = response;
    kit_assert_status_at(response, 200, file, line);
    kit_assert_header_at(response, "Content-Type", "application/json", file, line);
    const char *problem =
        strlen(response->body) != response->body_length ? "a NUL" : parse_array(kit, response->body, entries);
    if (problem == NULL && !kit_is_json(response->body))
        problem = "no valid JSON";
    if (problem != NULL)
        kit_fail_at(kit, file, line, "%s behind %zu entries: %.2000s", problem, entries->count,
                    response->body);
    return entries;
}

const struct kit_entries *kit_entries_at(struct kit_server *server, const char *target, const char *file,
                                         int line)
{
    return kit_parse_entries(kit_get_path(server, target), file, line);
}

const char *kit_ids_at(struct kit_server *server, const char *target, const char *file, int line)
{
    const struct kit_entries *entries = kit_entries_at(server, target, file, line);
    char *ids = kit_allocate(kit_of(server), entries->response->body_length + 1), *end = ids;
    for (size_t i = 0; i < entries->count; i++)
        end += sprintf(end, "%s%.*s", i == 0 ? "" : " ", (int)entries->items[i].id.length,
                       entries->items[i].id.text);
    return ids;
}

void kit_assert_list_at(struct kit_server *server, const char *target, const char *wanted, const char *file,
                        int line)
{
    const struct kit_response *response = kit_get_path(server, target);
    kit_assert_status_at(response, 200, file, line);
    kit_assert_header_at(response, "Content-Type", "application/json", file, line);
    kit_assert_body_at(response, wanted, file, line);
}

void kit_wait_until_list_at(struct kit_server *server, const char *target, const char *wanted,
                            const char *file, int line)
{
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
    while (strcmp(kit_get_path(server, target)->body, wanted) != 0 && kit_now_ms() < deadline_at_ms)
        kit_pause();
    kit_assert_list_at(server, target, wanted, file, line);
}

/* ---- the stand-in ---- */

int kit_teardown_upstream(void **state)
{
    while (standin_total > 0)
        standin_free(standins[--standin_total]);
    kit_thaw_database(*state);
    return kit_teardown(state);
}

struct standin *kit_standin(struct kit *kit)
{
    struct standin *standin = standin_total < STANDINS_MAX ? standin_start() : NULL;
    if (standin == NULL)
        kit_fail(kit, "no stand-in for the upstream");
    standins[standin_total++] = standin;
    kit_set_answer(standin, KIT_GET_USERS, 200, "[]");
    kit_set_answer(standin, KIT_GET_EVENTS, 200, "[]");
    return standin;
}

void kit_set_answer(struct standin *standin, const char *path, unsigned status, const char *body)
{
    standin_set(standin, path, &(struct standin_behaviour){.status = status, .body = body});
}

void kit_set_kind(struct standin *standin, const char *path, enum standin_kind kind)
{
    standin_set(standin, path, &(struct standin_behaviour){.kind = kind});
}

void kit_await_calls_at(struct kit *kit, struct standin *standin, const char *path, uint64_t count,
                        const char *file, int line)
{
    if (standin_await(standin, path, count, (int64_t)(2 * KIT_DEADLINE_MS * kit_time_scale())) != 0)
        kit_fail_at(kit, file, line, "only %llu calls of %s instead of %llu",
                    (unsigned long long)standin_count(standin, path), path, (unsigned long long)count);
}

const char *kit_call_body(struct kit *kit, struct standin *standin, const char *path, size_t number)
{
    struct standin_request request;
    for (size_t i = 0; standin_request(standin, i, &request) == 0; i++) {
        bool wanted = strcmp(request.path, path) == 0 && number-- == 0;
        const char *body = wanted ? kit_format(kit, "%s", request.body) : NULL;
        standin_request_free(&request);
        if (body != NULL)
            return body;
    }
    return NULL;
}

/* ---- a server with an upstream ---- */

struct kit_server *kit_start_upstream(struct kit *kit, struct standin *standin, const char *const *arguments)
{
    const char *all[ARGUMENTS_MAX + 1] = {"--upstream", standin_url(standin)};
    size_t used = 2;
    bool refreshes = false;
    for (; *arguments != NULL; arguments++) {
        refreshes |= strcmp(*arguments, "--upstream-refresh") == 0;
        if (used == ARGUMENTS_MAX - 2)
            kit_fail(kit, "too many arguments");
        all[used++] = *arguments;
    }
    if (!refreshes) {
        all[used++] = "--upstream-refresh";
        all[used] = "3600";
    }
    struct kit_server *server = kit_start_events(kit, all);
    kit_wait_at_least(server, "upstream.refreshes", 1);
    return server;
}

void kit_assert_unavailable_at(const struct kit_response *response, int status, const char *file, int line)
{
    kit_assert_status_at(response, status, file, line);
    kit_assert_header_at(response, "Content-Type", "application/json", file, line);
    kit_assert_body_matches_at(response,
                               "^\\{\"success\":false,\"error\":\"Service temporarily unavailable\","
                               "\"message\":\"([^\"\\]|\\\\.)+\"\\}$",
                               file, line);
    const char *retry_after = kit_header(response, "Retry-After");
    if (status == 503 && (retry_after == NULL || !kit_matches(retry_after, "^[1-9][0-9]*$")))
        kit_fail_at(response->kit, file, line, "no Retry-After of a second or more: %s", response->head);
}

const char *kit_breaker(struct kit_server *server)
{
    const struct kit_response *response = kit_get_path(server, "/health");
    const char *upstream = strstr(response->body, "\"upstream\":{\"breaker\":\"");
    if (upstream == NULL)
        kit_fail(kit_of(server), "no state of a breaker in %d %s", response->status, response->body);
    const char *state = strchr(upstream, '{') + strlen("{\"breaker\":\"");
    return kit_slice_text(kit_of(server), (struct kit_slice){state, strcspn(state, "\"")});
}

void kit_wait_until_breaker_at(struct kit_server *server, const char *wanted, const char *file, int line)
{
    const char *now = kit_breaker(server);
    int64_t deadline_at_ms = kit_deadline_at_ms(2 * KIT_DEADLINE_MS);
    for (; strcmp(now, wanted) != 0 && kit_now_ms() < deadline_at_ms; now = kit_breaker(server))
        kit_pause();
    if (strcmp(now, wanted) != 0)
        kit_fail_at(kit_of(server), file, line, "the breaker stays %s instead of %s", now, wanted);
}

int64_t kit_number(struct kit_server *server, const char *path)
{
    int64_t number = -1;
    const struct kit_response *response = kit_get_path(server, "/health");
    if (!kit_json_number(response->body, path, &number))
        kit_fail(kit_of(server), "no number %s in %s", path, response->body);
    return number;
}

void kit_wait_at_least_at(struct kit_server *server, const char *path, int64_t wanted, const char *file,
                          int line)
{
    int64_t deadline_at_ms = kit_deadline_at_ms(MANY_MS), number = kit_number(server, path);
    for (; number < wanted && kit_now_ms() < deadline_at_ms; number = kit_number(server, path))
        kit_pause();
    if (number < wanted)
        kit_fail_at(kit_of(server), file, line, "%s stays %lld instead of %lld", path, (long long)number,
                    (long long)wanted);
}

void kit_open_breaker(struct kit_server *server, struct standin *standin)
{
    kit_set_answer(standin, KIT_ADD_EVENT, 500, "{}");
    for (int i = 0; i < 3; i++)
        kit_assert_unavailable(kit_post_json(server, KIT_ADD_EVENT, "{\"name\":\"failing\",\"userId\":1}"),
                               502);
    assert_string_equal(kit_breaker(server), "open");
}

void kit_freeze_database(struct kit *kit)
{
    if (postgres_freeze(kit_postgres(kit)) != 0)
        kit_fail(kit, "PostgreSQL can't be frozen");
    frozen = kit_postgres(kit);
}

void kit_thaw_database(struct kit *kit)
{
    (void)kit;
    if (frozen != NULL)
        postgres_thaw(frozen);
    frozen = NULL;
}
