/* GET /blocking-get without waiting: the answer's form, and timeout, limit and meta, good and bad. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kit.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void the_answer_is_an_array_of_the_pushed_values(void **state)
{
    struct kit_server *server = kit_serve(*state);
    kit_push(server, "a", "{\"n\":1}");
    kit_push(server, "a", "\"two\"");
    kit_push(server, "a", "3");
    const struct kit_response *response = kit_get(server, "a", "g", NULL);
    kit_assert_status(response, 200);
    kit_assert_body(response, "[{\"n\":1},\"two\",3]");
    kit_assert_header(response, "Content-Type", "application/json");
    kit_assert_header(response, "Cache-Control", "no-store");
}

static void nothing_there_is_an_empty_array(void **state)
{
    struct kit_server *server = kit_serve(*state);
    const struct kit_response *response = kit_get(server, "a", "g", "timeout=0");
    kit_assert_status(response, 200);
    kit_assert_body(response, "[]");
    kit_assert_header(response, "Content-Type", "application/json");
    kit_assert_header(response, "Cache-Control", "no-store");
}

static void what_was_pushed_meanwhile_comes_next(void **state)
{
    struct kit_server *server = kit_serve(*state);
    kit_push(server, "a", "1");
    kit_assert_get(server, "a", "g", "[1]");
    kit_assert_get(server, "a", "g", "[]");
    kit_push(server, "a", "2");
    kit_push(server, "a", "3");
    kit_assert_get(server, "a", "g", "[2,3]");
    kit_assert_get(server, "a", "g", "[]");
}

static void many_events_keep_their_order(void **state)
{
    enum { EVENTS = 1000 };
    struct kit_server *server = kit_serve(*state);
    struct kit_connection *connection = kit_connect(server);
    char *wanted = kit_allocate(*state, EVENTS * 5 + 2);
    size_t used = 0;
    for (int i = 0; i < EVENTS; i++) {
        char text[16];
        size_t length = (size_t)snprintf(text, sizeof text, "%d", i);
        kit_send_request(connection, "POST", "/push?key=a", NULL, text, length);
        kit_assert_status(kit_receive(connection), 200);
        used += (size_t)sprintf(wanted + used, "%c%s", i == 0 ? '[' : ',', text);
    }
    wanted[used] = ']';
    kit_assert_get(server, "a", "g", wanted);
}

static void a_batch_of_several_megabytes_is_whole(void **state)
{
    enum { EVENTS = 8, LENGTH = 1000000 };
    struct kit_server *server = kit_serve(*state);
    char *wanted = kit_allocate(*state, EVENTS * (LENGTH + 1) + 2);
    size_t used = 0;
    wanted[used++] = '[';
    for (int i = 0; i < EVENTS; i++) {
        char *event = kit_repeat(*state, (const char[]){(char)('a' + i), '\0'}, LENGTH);
        event[0] = event[LENGTH - 1] = '"';
        kit_push(server, "a", event);
        memcpy(wanted + used, event, LENGTH);
        used += LENGTH;
        wanted[used++] = i < EVENTS - 1 ? ',' : ']';
    }
    kit_assert_get(server, "a", "g", wanted);
    kit_assert_get(server, "a", "g", "[]");
}

static void limit_leaves_the_rest(void **state)
{
    struct kit_server *server = kit_serve(*state);
    for (int i = 1; i <= 7; i++)
        kit_push(server, "a", kit_format(*state, "%d", i));
    kit_assert_body(kit_get(server, "a", "g", "limit=1"), "[1]");
    kit_assert_body(kit_get(server, "a", "g", "limit=3"), "[2,3,4]");
    kit_assert_body(kit_get(server, "a", "g", "limit=2&timeout=0"), "[5,6]");
    kit_assert_body(kit_get(server, "a", "g", "limit=2"), "[7]");
    kit_assert_body(kit_get(server, "a", "g", "limit=2&timeout=0"), "[]");
    /* The limit of one group is nothing to another. */
    kit_assert_body(kit_get(server, "a", "h", "limit=1000000"), "[1,2,3,4,5,6,7]");
}

/* Seconds since 1970 of a "ts" member, or -1. */
static double parse_instant(const char *text)
{
    struct tm parts = {0};
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &parts);
    if (rest == NULL || *rest != '.')
        return -1;
    return (double)timegm(&parts) + strtod(rest, NULL);
}

static double now_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void meta_adds_id_and_time(void **state)
{
    static const char instant[] = "\"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z\"";
    struct kit_server *server = kit_serve(*state);
    double before = now_seconds();
    kit_push(server, "a", " {\"n\" : 1}");
    double between = now_seconds();
    kit_push(server, "a", "\"two\"");
    double after = now_seconds();
    const struct kit_response *response = kit_get(server, "a", "g", "meta=1");
    kit_assert_status(response, 200);
    kit_assert_body_matches(response, kit_format(*state,
                                                 "^\\[\\{\"id\":1,\"ts\":%s,\"data\": \\{\"n\" : 1}},"
                                                 "\\{\"id\":2,\"ts\":%s,\"data\":\"two\"}]$",
                                                 instant, instant));
    const char *first = strstr(response->body, "\"ts\":") + strlen("\"ts\":\"");
    const char *second = strstr(first, "\"ts\":") + strlen("\"ts\":\"");
    /* Whole milliseconds: up to one is lost, or gained by rounding. */
    assert_true(parse_instant(first) > before - 0.002 && parse_instant(first) < between + 0.002);
    assert_true(parse_instant(second) > between - 0.002 && parse_instant(second) < after + 0.002);
}

static void meta_goes_with_limit_and_nothing(void **state)
{
    struct kit_server *server = kit_serve(*state);
    kit_assert_body(kit_get(server, "a", "g", "meta=1&timeout=0"), "[]");
    kit_push(server, "a", "1");
    kit_push(server, "a", "2");
    kit_assert_body_matches(kit_get(server, "a", "g", "meta=1&limit=1"),
                            "^\\[\\{\"id\":1,[^{]*\"data\":1}]$");
    kit_assert_body_matches(kit_get(server, "a", "g", "limit=1&meta=1"),
                            "^\\[\\{\"id\":2,[^{]*\"data\":2}]$");
}

static void meta_0_is_without(void **state)
{
    struct kit_server *server = kit_serve(*state);
    kit_push(server, "a", "1");
    kit_assert_body(kit_get(server, "a", "g", "meta=0"), "[1]");
}

static void bad_numbers_are_refused(void **state)
{
    static const struct {
        const char *name, *value;
    } rows[] = {
        {"timeout", ""},    {"timeout", "-1"},    {"timeout", "-0.1"},   {"timeout", "nan"},
        {"timeout", "inf"}, {"timeout", "abc"},   {"timeout", "1s"},     {"timeout", "1,5"},
        {"timeout", "0x1"}, {"timeout", "1.5.2"}, {"timeout", "30.001"}, {"timeout", "31"},
        {"timeout", "1e9"}, {"timeout", "."},     {"timeout", "-"},      {"timeout", "1e999"},
        {"timeout", "%00"}, {"timeout", "1%0a"},  {"limit", ""},         {"limit", "0"},
        {"limit", "-1"},    {"limit", "abc"},     {"limit", "1.5"},      {"limit", "1x"},
        {"limit", "0x10"},  {"limit", "nan"},     {"limit", "1%202"},    {"meta", "x"},
        {"meta", "-1"},
    };
    struct kit_server *server = kit_serve(*state);
    kit_push(server, "a", "1");
    for (size_t i = 0; i < COUNT(rows); i++) {
        kit_note(*state, "%s=%s", rows[i].name, rows[i].value);
        kit_assert_error(kit_get(server, "a", "g", kit_format(*state, "%s=%s", rows[i].name, rows[i].value)),
                         400, rows[i].name);
    }
    /* None of them has consumed it. */
    kit_assert_get(server, "a", "g", "[1]");
}

static void timeouts_up_to_wait_are_taken(void **state)
{
    static const char *const timeouts[] = {"0", "0.0", "0.5", "1", "1.25", "2", "2.0"};
    struct kit_server *server = kit_serve(*state, "--wait", "2");
    for (size_t i = 0; i < COUNT(timeouts); i++) {
        kit_note(*state, "timeout=%s", timeouts[i]);
        kit_push(server, "a", "1");
        kit_assert_body(kit_get(server, "a", "g", kit_format(*state, "timeout=%s", timeouts[i])), "[1]");
    }
    kit_assert_error(kit_get(server, "a", "g", "timeout=2.1"), 400, "timeout");
    kit_assert_error(kit_get(server, "a", "g", "timeout=3"), 400, "timeout");
}

static void only_get_gets(void **state)
{
    static const char *const methods[] = {"HEAD", "POST", "PUT", "DELETE", "PATCH"};
    struct kit_server *server = kit_serve(*state);
    kit_push(server, "a", "1");
    for (size_t i = 0; i < COUNT(methods); i++) {
        kit_note(*state, "method %s", methods[i]);
        const struct kit_response *response =
            kit_request(server, methods[i], "/blocking-get?key=a&groupId=g", NULL, NULL, 0);
        kit_assert_status(response, 405);
        kit_assert_header(response, "Allow", "");
        assert_true(kit_matches(kit_header(response, "Allow"), "(^|[, ])GET([, ]|$)"));
        assert_false(kit_matches(kit_header(response, "Allow"), "HEAD"));
    }
    kit_assert_get(server, "a", "g", "[1]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(the_answer_is_an_array_of_the_pushed_values),
        kit_test(nothing_there_is_an_empty_array),
        kit_test(what_was_pushed_meanwhile_comes_next),
        kit_test(many_events_keep_their_order),
        kit_test(a_batch_of_several_megabytes_is_whole),
        kit_test(limit_leaves_the_rest),
        kit_test(meta_adds_id_and_time),
        kit_test(meta_goes_with_limit_and_nothing),
        kit_test(meta_0_is_without),
        kit_test(bad_numbers_are_refused),
        kit_test(timeouts_up_to_wait_are_taken),
        kit_test(only_get_gets),
    };
    return kit_run_tests(tests);
}
