/* The bodies of POST /events: what is no JSON, what is too large, and that nothing of what is refused counts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit_metrics.h"

#define MEBIBYTE   1048576
#define EVENTS_MAX 262144 /* of one request */

/* A position is one of the first byte that can't belong to a valid value, both counted from 1. */
#define AT(line, column) "[Ll]ine " #line "([^0-9].*)?[Cc]olumn " #column "([^0-9]|$)"
#define SOMEWHERE        "[Ll]ine [0-9]+.*[Cc]olumn [0-9]+"
#define LINE(line)       "[Ll]ine " #line "([^0-9]|$)"

/* Event e1 of the rows has not been taken: it still can be. */
static void check_nothing_counted(struct kit_server *server)
{
    struct kit *kit = kit_of(server);
    kit_note(kit, "after all");
    kit_assert_metrics(server, 300, .plans = "", .regions = "", .types = "");
    kit_assert_event(server, kit_click(kit, "e1", "u", "click", kit_instant(kit, -1000)), "e1", KIT_ACCEPTED);
    kit_assert_metrics(server, 300, .unknown = 1, .plans = "", .regions = "", .types = "click=1");
}

struct row {
    const char *body; /* behind a good event */
    const char *error;
};

static void bad_json_is_refused_with_its_place(void **state)
{
    static const struct row alone[] = {
        {"x", AT(1, 1)},
        {"[x]", AT(1, 2)},
        {"{\n\"event_id\":}", AT(2, 12)},
        {"{event_id:1}", AT(1, 2)},
        {"[1]x", AT(1, 4)},
        {"[1] [2]", AT(1, 5)},
        {"{}{}", AT(1, 3)},
        {"5 5", AT(1, 3)},
        {"[1,]", AT(1, 4)},
        {"[,1]", AT(1, 2)},
        {"{\"a\":1,}", SOMEWHERE},
        {"[", SOMEWHERE},
        {"{\"a\"", SOMEWHERE},
        {"{\"a\":\"\xff\"}", SOMEWHERE},
        {"\"a\nb\"", SOMEWHERE},
        {"[01]", SOMEWHERE},
        {"[1.]", SOMEWHERE},
        {"[NaN]", SOMEWHERE},
        {"'a'", AT(1, 1)},
        {"\xef\xbb\xbf{}", AT(1, 1)},
        {"nul", SOMEWHERE},
        {"-", SOMEWHERE},
        {"]", AT(1, 1)},
        {"}", AT(1, 1)},
        {"[}", AT(1, 2)},
        {"{\"a\":\"\\x\"}", SOMEWHERE},
        {"\"\xc3\"", SOMEWHERE},
    };
    static const struct row behind[] = {
        {"[%s,]", SOMEWHERE},       {"[%s", SOMEWHERE},           {"[%s,{}", SOMEWHERE},
        {"[%s,\n\n  x]", AT(3, 3)}, {"[%s]]", SOMEWHERE},         {"%s,", SOMEWHERE},
        {"%s\n%s", AT(2, 1)},       {"[%s,{\"a\":}]", SOMEWHERE}, {"[%s]\n[%s]", AT(2, 1)},
    };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    for (size_t i = 0; i < KIT_COUNT(alone); i++) {
        kit_note(kit, "%s", alone[i].body);
        kit_assert_error(kit_post_events(server, KIT_JSON, alone[i].body), 400, alone[i].error);
    }
    const char *event = kit_click(kit, "e1", "u", "click", kit_instant(kit, -1000));
    for (size_t i = 0; i < KIT_COUNT(behind); i++) {
        const char *body = kit_format(kit, behind[i].body, event, event);
        kit_note(kit, "%.400s", body);
        kit_assert_error(kit_post_events(server, KIT_JSON, body), 400, behind[i].error);
    }
    check_nothing_counted(server);
}

static void no_body_is_refused(void **state)
{
    static const char *const bodies[] = {"", " ", "\n \r\n\t"};
    struct kit_server *server = kit_serve(*state);
    for (size_t i = 0; i < KIT_COUNT(bodies); i++)
        kit_assert_error(kit_post_events(server, KIT_JSON, bodies[i]), 400, ".");
    kit_assert_error(kit_post_events(server, KIT_NDJSON, ""), 400, ".");
    kit_assert_error(kit_request(server, "POST", KIT_EVENTS, NULL, NULL, 0), 400, ".");
    /* Lines, but none with an event: the contract does not say which of the two. */
    const struct kit_response *response = kit_post_events(server, KIT_NDJSON, "\n\r\n \n");
    kit_assert_status_among(response, *state, "200|400");
    if (response->status == 200)
        kit_assert_body(response, "{\"results\":[]}");
}

static void a_nul_is_no_json(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    const char *event = kit_click(kit, "e1", "u", "click", kit_instant(kit, -1000));
    char *body = kit_format(kit, "%s.", event);
    body[strlen(event)] = '\0';
    kit_assert_error(kit_exchange_long(server, "POST", KIT_EVENTS, KIT_JSON, body, strlen(event) + 1), 400,
                     SOMEWHERE);
    kit_assert_error(kit_exchange_long(server, "POST", KIT_EVENTS, KIT_NDJSON, body, strlen(event) + 1), 400,
                     LINE(1));
    check_nothing_counted(server);
}

static void a_bad_line_refuses_all(void **state)
{
    static const struct row rows[] = {
        {"x\n%s\n", LINE(1)},           {"%s\nx", LINE(2)},
        {"%s\nx\n", LINE(2)},           {"%s\n\n\r\n{\"a\":\n1}\n", LINE(4)},
        {"%s %s\n", LINE(1)},           {"%s\n%s,\n", LINE(2)},
        {"%s\n5 5\n", LINE(2)},         {"%s\n[\n]\n", LINE(2)},
        {"%s\n\"caf\xe9\"\n", LINE(2)}, {"%s\n\f\n", LINE(2)},
        {"\xef\xbb\xbf%s\n", LINE(1)},  {"%s\n{\"a\":1", LINE(2)},
        {"[%s,\n%s]", LINE(1)},         {"%s\n1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n{]\n", LINE(12)},
    };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    const char *event = kit_click(kit, "e1", "u", "click", kit_instant(kit, -1000));
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        const char *body = kit_format(kit, rows[i].body, event, event);
        kit_note(kit, "%.400s", body);
        kit_assert_error(kit_post_events(server, KIT_NDJSON, body), 400, rows[i].error);
    }
    /* Also the last line of many. */
    const char *many = kit_repeat(kit, "5\n", 20000);
    kit_assert_error(kit_post_events(server, KIT_NDJSON, kit_format(kit, "%s\n%sx", event, many)), 400,
                     LINE(20002));
    /* The type makes them lines. */
    kit_assert_error(kit_post_events(server, KIT_JSON, kit_format(kit, "%s\n%s\n", event, event)), 400,
                     SOMEWHERE);
    check_nothing_counted(server);
}

static void depth_harms_nobody(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    const char *const openings[] = {"[", "{\"a\":", "[{\"event_id\":"};
    for (size_t i = 0; i < KIT_COUNT(openings); i++) {
        const char *deep = kit_repeat(kit, openings[i], 500000);
        kit_assert_error(kit_post_events(server, KIT_JSON, deep), 400, ".");
        kit_assert_error(kit_post_events(server, KIT_NDJSON, deep), 400, ".");
    }
    /* Whole ones: whether they are too deep to be taken is open, not that the others are answered. */
    const char *open = kit_repeat(kit, "[", 100000), *close = kit_repeat(kit, "]", 100000);
    const char *event = kit_format(
        kit, "{\"event_id\":\"e1\",\"user_id\":\"u\",\"type\":\"click\",\"more\":%s%s}", open, close);
    kit_assert_status_among(kit_post_events(server, KIT_JSON, event), kit, "200|400");
    kit_assert_status_among(kit_post_events(server, KIT_NDJSON, event), kit, "200|400");
    check_nothing_counted(server);
}

static void content_types_are_judged(void **state)
{
    static const struct {
        const char *header;
        int status;
    } rows[] = {
        {"X-None: 1", 200},
        {"Content-Type: application/json; charset=utf-8", 200},
        {"Content-Type: application/json;charset=\"UTF-8\"", 200},
        {"Content-Type: application/x-www-form-urlencoded", 200}, /* curl's own default */
        {"Content-Type: Application/X-NDJSON", 200},
        {"Content-Type: application/json; charset=latin-1", 415},
        {"Content-Type: application/x-ndjson; charset=utf-16", 415},
        {"Content-Encoding: gzip", 415},
    };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    int64_t taken = 0;
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        const char *id = kit_format(kit, "e%zu", i);
        const char *event = kit_click(kit, id, "u", "click", kit_instant(kit, -1000));
        kit_note(kit, "%s", rows[i].header);
        const struct kit_response *response = kit_request(
            server, "POST", KIT_EVENTS, kit_format(kit, "%s\r\n", rows[i].header), event, strlen(event));
        kit_assert_status(response, rows[i].status);
        if (rows[i].status == 200)
            kit_assert_result(response, id, KIT_ACCEPTED);
        else
            kit_assert_error(response, rows[i].status, ".");
        taken += rows[i].status == 200;
    }
    assert_int_equal(kit_metrics(server, 300)->events, taken);
}

static void bodies_may_come_in_chunks(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    struct kit_connection *connection = kit_connect(server);
    const char *event = kit_click(kit, "e1", "u", "click", kit_instant(kit, -1000));
    kit_send_text(connection, "POST /events HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-ndjson\r\n"
                              "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n");
    kit_assert_status(kit_receive(connection), 100);
    for (const char *next = event; *next != '\0'; next++)
        kit_send_text(connection, kit_format(kit, "1\r\n%c\r\n", *next));
    kit_send_text(connection, "3\r\n\n5\n\r\n0\r\n\r\n");
    const struct kit_results *results = kit_results(kit_receive(connection));
    assert_int_equal(results->count, 2);
    assert_string_equal(results->results[0].message, KIT_ACCEPTED);
    assert_string_equal(results->results[1].message, "Event must be an object");
}

/* ---- how much ---- */

/* Many events of about the same length that fill the body to exactly `length`, with blanks at its end. */
static char *fill_body(struct kit *kit, size_t length, size_t events, bool lines)
{
    char *body = kit_allocate(kit, length + 1);
    const char *now = kit_instant(kit, -1000);
    size_t each = length / events, used = 0;
    for (size_t i = 0; i < events; i++) {
        int written = sprintf(body + used,
                              "%s{\"event_id\":\"e%zu\",\"user_id\":\"u%zu\",\"type\":\"click\","
                              "\"ts\":\"%s\",\"more\":\"",
                              lines    ? ""
                              : i == 0 ? "["
                                       : ",",
                              i, i, now);
        size_t padding = each - (size_t)written - 8;
        memset(body + used + written, 'x', padding);
        used += (size_t)written + padding;
        used += (size_t)sprintf(body + used, "\"}%s", lines ? "\n" : i + 1 == events ? "]" : "");
    }
    memset(body + used, ' ', length - used);
    return body;
}

static void check_large(struct kit_server *server, const char *type, const char *body, size_t events)
{
    const struct kit_results *results = kit_results(kit_post_events(server, type, body));
    assert_int_equal(results->count, events);
    for (size_t i = 0; i < events; i++)
        if (strcmp(results->results[i].message, KIT_ACCEPTED) != 0 ||
            (size_t)atoi(results->results[i].id + 1) != i)
            kit_fail(kit_of(server), "result %zu: %s of %s", i, results->results[i].message,
                     results->results[i].id);
    assert_int_equal(kit_metrics(server, 300)->unknown, events);
}

static void sixteen_mebibytes_are_the_most(void **state)
{
    struct kit *kit = *state;
    size_t events = kit_time_scale() > 1 ? 20000 : 100000, most = 16 * (size_t)MEBIBYTE;
    for (int lines = 0; lines < 2; lines++) {
        const char *type = lines == 1 ? KIT_NDJSON : KIT_JSON;
        struct kit_server *server = kit_serve(kit);
        const char *body = fill_body(kit, most, events, lines == 1);
        const struct kit_response *response =
            kit_exchange_long(server, "POST", KIT_EVENTS, type, kit_format(kit, "%s ", body), most + 1);
        kit_assert_error(response, 413, ".");
        kit_assert_metrics(server, 300, .plans = "", .regions = "", .types = "");
        check_large(server, type, body, events);
        kit_stop(server);
    }
}

/* It is known before the body comes that it is too large, and a client that asks first is told so. */
static void too_much_is_refused_before_it_is_sent(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    struct kit_connection *connection = kit_connect(server);
    kit_send_text(connection, kit_format(kit,
                                         "POST /events HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
                                         "Content-Length: %d\r\n\r\n",
                                         16 * MEBIBYTE + 1));
    kit_assert_error(kit_receive(connection), 413, ".");
    connection = kit_connect(server);
    kit_send_text(connection, kit_format(kit,
                                         "POST /events HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n"
                                         "Content-Length: %d\r\n\r\n",
                                         16 * MEBIBYTE));
    kit_assert_status(kit_receive(connection), 100);
}

/* A body in chunks is too large when it has become too large. */
static void too_much_in_chunks_is_refused(void **state)
{
    static const struct {
        const char *head;
        int most;
    } rows[] = {{"POST /events", 16}, {"PUT /reference/users", 64}};
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    const char *chunk = kit_format(kit, "100000\r\n%s\r\n", kit_repeat(kit, " ", MEBIBYTE));
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        struct kit_connection *connection = kit_connect(server);
        kit_send_text(
            connection,
            kit_format(kit, "%s HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", rows[i].head));
        for (int mebibytes = 0; mebibytes < rows[i].most; mebibytes++)
            kit_send(connection, chunk, strlen(chunk));
        kit_expect_silence(connection);
        (void)kit_try_send(connection, chunk, strlen(chunk));
        kit_assert_error(kit_receive(connection), 413, ".");
        kit_close(connection);
    }
}

/* --max-body is for what has no limit of its own. */
static void other_limits_do_not_apply(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit, "--max-body", "100", "--max-memory", "1000");
    kit_put_users(server, kit_users(kit, "u", 1000, "\"plan\":\"pro\""), kit_table_instant(kit, 1));
    kit_add_events(server, 1000, "u999", "click", -1000);
    kit_assert_metrics(server, 300, .unique_users = 1, .plans = "pro=1000", .regions = "",
                       .types = "click=1000");
}

/* Clients that are not through with their bodies keep nobody else waiting, however few workers there are. */
static void slow_clients_keep_nobody_waiting(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit, "--threads", "1");
    for (int i = 0; i < 8; i++) {
        kit_send_text(kit_connect(server),
                      "POST /events HTTP/1.1\r\nHost: h\r\nContent-Length: 500\r\n\r\n[{");
        kit_send_text(kit_connect(server),
                      "PUT /reference/users HTTP/1.1\r\nHost: h\r\nContent-Length: 500\r\n\r\n"
                      "{\"user_metadata\":{\"u\":{\"plan\":\"slow\"}");
    }
    kit_put_users(server, "{\"u\":{\"plan\":\"pro\"}}", kit_table_instant(kit, 1));
    kit_add_events(server, 1, "u", "click", -1000);
    kit_assert_metrics(server, 300, .unique_users = 1, .plans = "pro=1", .regions = "", .types = "click=1");
}

static void events_of_a_request_are_limited(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    const char *event = kit_click(kit, "e1", "u", "click", kit_instant(kit, -1000));
    const char *most = kit_repeat(kit, "5,", EVENTS_MAX - 1), *lines = kit_repeat(kit, "5\n", EVENTS_MAX);
    kit_assert_error(kit_post_events(server, KIT_JSON, kit_format(kit, "[%s,%s5]", event, most)), 413, ".");
    kit_assert_error(kit_post_events(server, KIT_NDJSON, kit_format(kit, "%s\n%s", event, lines)), 413, ".");
    check_nothing_counted(server);
    const struct kit_results *results =
        kit_results(kit_post_events(server, KIT_JSON, kit_format(kit, "[%s5]", most)));
    assert_int_equal(results->count, EVENTS_MAX);
    assert_string_equal(results->results[EVENTS_MAX - 1].message, "Event must be an object");
    assert_int_equal(kit_results(kit_post_events(server, KIT_NDJSON, lines))->count, EVENTS_MAX);
}

/* ---- clients that vanish ---- */

static void half_a_request_counts_nothing(void **state)
{
    static const char *const forms[] = {
        "POST /events HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-ndjson\r\nContent-Length: "
        "%zu\r\n\r\n%s",
        "POST /events HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n%s",
        "POST /events HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-ndjson\r\n"
        "Transfer-Encoding: chunked\r\n\r\n%zx\r\n%s\r\n",
        "POST /events HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n%s\r\n0\r\n",
    };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    const char *event = kit_click(kit, "e1", "u", "click", kit_instant(kit, -1000));
    const char *padded = kit_format(kit, "%s\n%s", event, kit_repeat(kit, " \n", MEBIBYTE));
    for (size_t i = 0; i < KIT_COUNT(forms); i++)
        for (int way = 0; way < 3; way++) {
            size_t missing = i < 2 ? 1 : 0; /* a chunked one misses its end */
            const char *body = way == 1 ? padded : event;
            struct kit_connection *connection = kit_connect(server);
            kit_send_text(connection, kit_format(kit, forms[i], strlen(body) + missing, body));
            if (way == 0)
                kit_reset(connection);
            else if (way == 1)
                kit_close(connection);
            else
                kit_shutdown_sending(connection);
        }
    kit_wait_until_health(server, "connections.open", 1);
    check_nothing_counted(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(bad_json_is_refused_with_its_place),
        kit_test(no_body_is_refused),
        kit_test(a_nul_is_no_json),
        kit_test(a_bad_line_refuses_all),
        kit_test(depth_harms_nobody),
        kit_test(content_types_are_judged),
        kit_test(bodies_may_come_in_chunks),
        kit_test(sixteen_mebibytes_are_the_most),
        kit_test(too_much_is_refused_before_it_is_sent),
        kit_test(too_much_in_chunks_is_refused),
        kit_test(other_limits_do_not_apply),
        kit_test(slow_clients_keep_nobody_waiting),
        kit_test(events_of_a_request_are_limited),
        kit_test(half_a_request_counts_nothing),
    };
    return kit_run_tests(tests);
}
