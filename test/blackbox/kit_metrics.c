/* Events in, the reference table, metrics: requests, and answers judged by their exact form. */
#include "kit_metrics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- requests ---- */

static int try_ask(struct kit_connection *connection, const char *method, const char *target,
                   const char *type, const void *body, size_t length)
{
    char headers[256] = "";
    if (type != NULL)
        snprintf(headers, sizeof headers, "Content-Type: %s\r\n", type);
    return kit_try_send_request(connection, method, target, headers, body, length);
}

const struct kit_response *kit_exchange_long(struct kit_server *server, const char *method,
                                             const char *target, const char *type, const void *body,
                                             size_t length)
{
    struct kit_connection *connection = kit_connect(server);
    /* A server may refuse a body before it has all of it: then the answer is what counts. */
    (void)try_ask(connection, method, target, type, body, length);
    const struct kit_response *response = kit_receive_at(connection, method, KIT_LONG_MS, __FILE__, __LINE__);
    kit_close(connection);
    return response;
}

int kit_try_exchange(struct kit_connection *connection, const char *method, const char *target,
                     const char *type, const void *body, size_t length, struct kit_response *response)
{
    if (try_ask(connection, method, target, type, body, length) != 0)
        return -1;
    return kit_try_receive(connection, method, kit_deadline_at_ms(KIT_LONG_MS), response);
}

void kit_assert_retry_later_at(const struct kit_response *response, const char *file, int line)
{
    kit_assert_error_at(response, 503, ".", file, line);
    kit_assert_header_matches_at(response, response->kit, "Retry-After", "^[1-9][0-9]*$", file, line);
}

/* ---- instants ---- */

char *kit_instant_at(struct kit *kit, int64_t wall_clock_ms)
{
    char text[64];
    time_t seconds = (time_t)(wall_clock_ms / 1000);
    struct tm parts;
    gmtime_r(&seconds, &parts);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
    return kit_format(kit, "%s.%03dZ", text, (int)(wall_clock_ms % 1000));
}

char *kit_instant(struct kit *kit, int64_t offset_ms)
{
    return kit_instant_at(kit, kit_wall_clock_ms() + offset_ms);
}

/* ---- text of JSON ---- */

static size_t put_utf8(char *out, unsigned code)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const unsigned first[] = {0, 0xc0, 0xe0, 0xf0};
    out[0] = (char)(first[more] | code >> (6 * more));
    for (size_t i = 1; i <= more; i++)
        out[i] = (char)(0x80 | (code >> (6 * (more - i)) & 0x3f));
    return more + 1;
}

/* The number of four hexadecimal digits, or -1. */
static int read_hex(const char *text)
{
    int number = 0;
    for (int i = 0; i < 4; i++) {
        static const char digits[] = "0123456789abcdef0123456789ABCDEF";
        const char *digit = text[i] == '\0' ? NULL : strchr(digits, text[i]);
        if (digit == NULL)
            return -1;
        number = number * 16 + (int)((digit - digits) % 16);
    }
    return number;
}

/* Behind the escape at `text` (which starts behind the backslash), whose bytes go to *out; NULL: not JSON. */
static const char *decode_escape(const char *text, char **out)
{
    static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    const char *name = *text == '\0' ? NULL : strchr(names, *text);
    if (name != NULL) {
        *(*out)++ = meanings[name - names];
        return text + 1;
    }
    int code = *text == 'u' ? read_hex(text + 1) : -1;
    if (code < 0 || (code >= 0xdc00 && code < 0xe000))
        return NULL;
    text += 5;
    if (code >= 0xd800 && code < 0xdc00) {
        int low = text[0] == '\\' && text[1] == 'u' ? read_hex(text + 2) : -1;
        if (low < 0xdc00 || low >= 0xe000)
            return NULL;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        text += 6;
    }
    *out += put_utf8(*out, (unsigned)code);
    return text;
}

/* Behind the string at `text`, which is written to *out without its escapes and with a NUL, and *out moved
 * behind it; NULL: not JSON. It never grows. */
static const char *decode_string(const char *text, char **out)
{
    if (*text++ != '"')
        return NULL;
    while (*text != '"') {
        if ((unsigned char)*text < 0x20)
            return NULL;
        if (*text != '\\')
            *(*out)++ = *text++;
        else if ((text = decode_escape(text + 1, out)) == NULL)
            return NULL;
    }
    *(*out)++ = '\0';
    return text + 1;
}

/* Behind `wanted`, or NULL; takes NULL. */
static const char *pass_over(const char *text, const char *wanted)
{
    size_t length = strlen(wanted);
    return text != NULL && strncmp(text, wanted, length) == 0 ? text + length : NULL;
}

/* ---- events ---- */

char *kit_click(struct kit *kit, const char *id, const char *user, const char *type, const char *ts)
{
    return kit_format(kit, "{\"event_id\":\"%s\",\"user_id\":\"%s\",\"type\":\"%s\",\"ts\":\"%s\"}", id, user,
                      type, ts);
}

const struct kit_response *kit_post_events(struct kit_server *server, const char *type, const char *body)
{
    return kit_exchange_long(server, "POST", KIT_EVENTS, type, body, strlen(body));
}

/* Behind one result; its texts go to *out. */
static const char *parse_result(const char *text, struct kit_result *result, char **out)
{
    text = pass_over(text, "{\"event_id\":");
    if (text != NULL && *text == '"') {
        result->id = *out;
        text = decode_string(text, out);
    } else {
        text = pass_over(text, "null");
    }
    text = pass_over(text, ",\"status\":");
    result->status = *out;
    text = text == NULL ? NULL : decode_string(text, out);
    text = pass_over(text, ",\"message\":");
    result->message = *out;
    text = text == NULL ? NULL : decode_string(text, out);
    text = pass_over(text, "}");
    if (text == NULL)
        return NULL;
    bool accepted = strcmp(result->message, KIT_ACCEPTED) == 0;
    return strcmp(result->status, accepted ? "success" : "error") == 0 ? text : NULL;
}

const struct kit_results *kit_results_at(const struct kit_response *response, const char *file, int line)
{
    static const char end[] = "]}";
    struct kit *kit = response->kit;
    kit_assert_status_at(response, 200, file, line);
    kit_assert_header_at(response, "Content-Type", KIT_JSON, file, line);
    struct kit_results *results = kit_allocate(kit, sizeof *results);
    char *out = kit_allocate(kit, response->body_length + 1);
    /* No result is shorter. */
    size_t capacity = response->body_length / strlen("{\"event_id\":\"\",\"status\":\"\",\"message\":\"\"}");
    results->results = kit_allocate(kit, (capacity + 1) * sizeof *results->results);
    const char *text = pass_over(response->body, "{\"results\":[");
    bool ended = text != NULL && strcmp(text, end) == 0;
    while (text != NULL && !ended) {
        text = parse_result(text, &results->results[results->count++], &out);
        ended = text != NULL && strcmp(text, end) == 0;
        if (!ended)
            text = pass_over(text, ",");
    }
    if (text == NULL)
        kit_fail_at(kit, file, line, "result %zu is not as it must be: %.1000s", results->count,
                    response->body);
    return results;
}

/* Whether the result is of that event (NULL: null) and says that. */
static bool is_result(const struct kit_result *result, const char *id, const char *message)
{
    bool same_id = id == NULL || result->id == NULL ? id == result->id : strcmp(id, result->id) == 0;
    return same_id && strcmp(result->message, message) == 0;
}

void kit_assert_result_at(const struct kit_response *response, const char *id, const char *message,
                          const char *file, int line)
{
    const struct kit_results *results = kit_results_at(response, file, line);
    if (results->count != 1 || !is_result(&results->results[0], id, message))
        kit_fail_at(response->kit, file, line, "results\n%.2000s\ninstead of \"%s\" for %s", response->body,
                    message, id == NULL ? "null" : id);
}

void kit_assert_event_at(struct kit_server *server, const char *event, const char *id, const char *message,
                         const char *file, int line)
{
    kit_assert_result_at(kit_post_events(server, KIT_JSON, event), id, message, file, line);
}

void kit_add_events_at(struct kit_server *server, size_t count, const char *user, const char *type,
                       int64_t offset_ms, const char *file, int line)
{
    static size_t number; /* of all events of the program */
    struct kit *kit = kit_of(server);
    const char *rest = kit_format(kit, "\"user_id\":\"%s\",\"type\":\"%s\",\"ts\":\"%s\"}\n", user, type,
                                  kit_instant(kit, offset_ms));
    char *lines = kit_allocate(kit, count * (strlen(rest) + 64) + 1);
    size_t used = 0;
    for (size_t i = 0; i < count; i++)
        used += (size_t)sprintf(lines + used, "{\"event_id\":\"event %zu\",%s", number++, rest);
    const struct kit_results *results =
        kit_results_at(kit_post_events(server, KIT_NDJSON, lines), file, line);
    if (results->count != count)
        kit_fail_at(kit, file, line, "%zu results of %zu events", results->count, count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(results->results[i].message, KIT_ACCEPTED) != 0)
            kit_fail_at(kit, file, line, "event %zu of %zu: %s", i, count, results->results[i].message);
}

/* ---- the reference table ---- */

char *kit_users(struct kit *kit, const char *prefix, size_t count, const char *attributes)
{
    char *users = kit_allocate(kit, count * (strlen(prefix) + strlen(attributes) + 32) + 3);
    size_t used = (size_t)sprintf(users, "{");
    for (size_t i = 0; i < count; i++)
        used += (size_t)sprintf(users + used, "%s\"%s%zu\":{%s}", i == 0 ? "" : ",", prefix, i, attributes);
    users[used] = '}';
    return users;
}

char *kit_table(struct kit *kit, const char *users, const char *ts)
{
    return kit_format(kit, "{\"user_metadata\":%s,\"ts\":\"%s\"}", users, ts);
}

char *kit_table_instant(struct kit *kit, int number)
{
    static const int64_t first_ms = 1759924800000; /* 2025-10-08T12:00:00Z */
    return kit_instant_at(kit, first_ms + number);
}

char *kit_try_numbered_table(int number, int users)
{
    char *body = malloc((size_t)users * 64 + 200);
    if (body == NULL)
        return NULL;
    size_t used =
        (size_t)sprintf(body, "{\"ts\":\"2026-01-01T%02d:%02d:%02dZ\",\"user_metadata\":{\"only%d\":{}",
                        number / 3600, number / 60 % 60, number % 60, number);
    for (int i = 0; i < users; i++)
        used +=
            (size_t)sprintf(body + used, ",\"u%d\":{\"plan\":\"p%d\",\"region\":\"r%d\"}", i, number, number);
    sprintf(body + used, "}}");
    return body;
}

const struct kit_response *kit_put(struct kit_server *server, const char *body)
{
    return kit_exchange_long(server, "PUT", KIT_USERS, KIT_JSON, body, strlen(body));
}

void kit_put_users_at(struct kit_server *server, const char *users, const char *ts, const char *file,
                      int line)
{
    const struct kit_response *response = kit_put(server, kit_table(kit_of(server), users, ts));
    kit_assert_status_at(response, 200, file, line);
    kit_assert_body_at(response, KIT_REPLACED, file, line);
    kit_assert_header_at(response, "Content-Type", KIT_JSON, file, line);
}

/* ---- metrics ---- */

/* Behind a whole number without a sign. */
static const char *parse_number(const char *text, int64_t *number)
{
    char *end;
    if (text == NULL || *text < '0' || *text > '9' || (text[0] == '0' && text[1] >= '0' && text[1] <= '9'))
        return NULL;
    *number = strtoll(text, &end, 10);
    return end;
}

/* Behind a string, escapes and all. */
static const char *pass_string(const char *text)
{
    if (text == NULL || *text != '"')
        return NULL;
    for (text++; *text != '"'; text++)
        if (*text == '\0' || (*text == '\\' && *++text == '\0'))
            return NULL;
    return text + 1;
}

/* Behind an object of whole numbers, which goes to *counts. */
static const char *parse_counts(const char *text, struct kit_slice *counts)
{
    int64_t number;
    const char *start = text;
    text = pass_over(text, "{");
    for (bool first = true; text != NULL && *text != '}'; first = false) {
        if (!first)
            text = pass_over(text, ",");
        text = parse_number(pass_over(pass_string(text), ":"), &number);
    }
    text = pass_over(text, "}");
    if (text != NULL)
        *counts = (struct kit_slice){start, (size_t)(text - start)};
    return text;
}

int64_t kit_parse_sum(struct kit_slice counts)
{
    int64_t sum = 0, number;
    const char *text = counts.text;
    while ((text = parse_number(pass_over(pass_string(text + 1), ":"), &number)) != NULL)
        sum += number;
    return sum;
}

int64_t kit_parse_count(struct kit_slice counts, const char *name)
{
    int64_t number;
    const char *text = counts.text, *member;
    size_t length = strlen(name);
    while ((member = pass_string(text + 1)) != NULL) {
        bool found = (size_t)(member - text) == length + 3 && memcmp(text + 2, name, length) == 0;
        text = parse_number(pass_over(member, ":"), &number);
        if (text == NULL)
            return -1;
        if (found)
            return number;
    }
    return -1;
}

static const char *parse_rate(const char *text, double *rate)
{
    char *end;
    if (text == NULL || !kit_matches(text, "^(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][-+]?[0-9]+)?,"))
        return NULL;
    *rate = strtod(text, &end);
    return end;
}

const char *kit_parse_metrics(const char *json, struct kit_metrics *metrics)
{
    const char *text = parse_number(pass_over(json, "{\"window_sec\":"), &metrics->window_sec);
    text = parse_rate(pass_over(text, ",\"events_per_sec\":"), &metrics->events_per_sec);
    text = parse_number(pass_over(text, ",\"unique_users\":"), &metrics->unique_users);
    text = parse_number(pass_over(text, ",\"unknown\":"), &metrics->unknown);
    text = parse_counts(pass_over(text, ",\"by_plan\":"), &metrics->by_plan);
    text = parse_counts(pass_over(text, ",\"by_region\":"), &metrics->by_region);
    text = parse_counts(pass_over(text, ",\"by_type\":"), &metrics->by_type);
    text = pass_over(text, "}");
    if (text == NULL || *text != '\0')
        return "not the object of the contract";
    metrics->events = kit_parse_sum(metrics->by_type);
    double rate = (double)metrics->events / (double)metrics->window_sec;
    if (metrics->events_per_sec < rate || metrics->events_per_sec > rate)
        return "events_per_sec is not the events of all types by the window";
    int64_t known = metrics->events - metrics->unknown;
    if (kit_parse_sum(metrics->by_plan) > known || kit_parse_sum(metrics->by_region) > known)
        return "more events in plans or regions than of known users";
    if (metrics->unique_users > known || (metrics->unique_users == 0 && known > 0))
        return "unique users and their events do not go together";
    return NULL;
}

static int compare_texts(const void *first, const void *second)
{
    return strcmp(*(const char *const *)first, *(const char *const *)second);
}

/* As kit_counts(), or without those that are 0. */
static const char *list_counts(struct kit *kit, struct kit_slice counts, bool with_zeros)
{
    size_t capacity = counts.length / strlen("\"\":0,") + 1, count = 0;
    const char **entries = kit_allocate(kit, capacity * sizeof *entries);
    const char *text = counts.text;
    char *names = kit_allocate(kit, counts.length);
    while (text + 2 < counts.text + counts.length) {
        int64_t number;
        const char *name = names, *behind = decode_string(text + 1, &names);
        text = parse_number(pass_over(behind, ":"), &number);
        if (text == NULL)
            kit_fail(kit, "a name that is no JSON: %.1000s", counts.text);
        if (number != 0 || with_zeros)
            entries[count++] = kit_format(kit, "%s=%lld", name, (long long)number);
    }
    qsort(entries, count, sizeof *entries, compare_texts);
    char *all = kit_allocate(kit, counts.length * 2 + 2), *end = all;
    for (size_t i = 0; i < count; i++)
        end = stpcpy(stpcpy(end, i == 0 ? "" : " "), entries[i]);
    return all;
}

const char *kit_counts(struct kit *kit, struct kit_slice counts)
{
    return list_counts(kit, counts, true);
}

/* The answer's text, of a request over a connection of its own. */
static const char *ask_metrics(struct kit_server *server, int window, const char *file, int line)
{
    const char *target = kit_format(kit_of(server), KIT_METRICS "?window=%d", window);
    const struct kit_response *response = kit_exchange_long(server, "GET", target, NULL, NULL, 0);
    kit_assert_status_at(response, 200, file, line);
    kit_assert_header_at(response, "Content-Type", KIT_JSON, file, line);
    return response->body;
}

const struct kit_metrics *kit_metrics_at(struct kit_server *server, int window, const char *file, int line)
{
    struct kit *kit = kit_of(server);
    const char *json = ask_metrics(server, window, file, line);
    struct kit_metrics *metrics = kit_allocate(kit, sizeof *metrics);
    const char *problem = kit_parse_metrics(json, metrics);
    if (problem == NULL && metrics->window_sec != window)
        problem = "another window";
    if (problem != NULL)
        kit_fail_at(kit, file, line, "%s: %.2000s", problem, json);
    return metrics;
}

static const char *describe(struct kit *kit, const struct kit_wanted *wanted)
{
    return kit_format(kit, "unique %lld, unknown %lld, plans \"%s\", regions \"%s\", types \"%s\"",
                      (long long)wanted->unique_users, (long long)wanted->unknown, wanted->plans,
                      wanted->regions, wanted->types);
}

/* NULL when they are as wanted, or what they are. */
static const char *compare_metrics(struct kit_server *server, int window, const struct kit_wanted *wanted,
                                   const char *file, int line)
{
    struct kit *kit = kit_of(server);
    const struct kit_metrics *metrics = kit_metrics_at(server, window, file, line);
    const char *found = describe(kit, &(struct kit_wanted){
                                          .unique_users = metrics->unique_users,
                                          .unknown = metrics->unknown,
                                          .plans = kit_counts(kit, metrics->by_plan),
                                          .regions = kit_counts(kit, metrics->by_region),
                                          .types = list_counts(kit, metrics->by_type, false),
                                      });
    return strcmp(found, describe(kit, wanted)) == 0 ? NULL : found;
}

void kit_assert_metrics_at(struct kit_server *server, int window, const struct kit_wanted *wanted,
                           const char *file, int line)
{
    const char *found = compare_metrics(server, window, wanted, file, line);
    if (found != NULL)
        kit_fail_at(kit_of(server), file, line, "window %d: %s\ninstead of %s", window, found,
                    describe(kit_of(server), wanted));
}

void kit_wait_until_metrics_at(struct kit_server *server, int window, int64_t milliseconds,
                               const struct kit_wanted *wanted, const char *file, int line)
{
    int64_t deadline_at_ms = kit_deadline_at_ms(milliseconds);
    const char *found;
    while ((found = compare_metrics(server, window, wanted, file, line)) != NULL) {
        if (kit_now_ms() > deadline_at_ms)
            kit_fail_at(kit_of(server), file, line, "window %d stays %s\ninstead of %s", window, found,
                        describe(kit_of(server), wanted));
        kit_pause();
    }
}
