/*
 * Proves that all who read JSON read the same JSON: each text of the table that the server's judge is tested with
 * (test/unit/json_rows_kit.h) has the same verdict on every path, in every form of body, in a journal, in a file that is sent
 * and in an upstream's answer; and that what is taken comes back byte for byte.
 */
#include <stdio.h>
#include <string.h>

#include "../unit/json_grammar_kit.h"
#include "../unit/json_rows_kit.h"
#include "kit_live.h"
#include "kit_management.h"
#include "kit_metrics.h"

#define NO_JSON "not valid JSON: line [0-9]+, column [0-9]+: ."

struct body {
    char *bytes;
    size_t length;
};

static struct body framed(struct kit *kit, const char *before, const char *bytes, size_t length,
                          const char *behind)
{
    size_t first = strlen(before), last = strlen(behind);
    struct body body = {.bytes = kit_allocate(kit, first + length + last + 1),
                        .length = first + length + last};
    memcpy(body.bytes, before, first);
    memcpy(body.bytes + first, bytes, length);
    memcpy(body.bytes + first + length, behind, last);
    return body;
}

static bool is_valid(struct body body)
{
    size_t bad_at;
    return grammar_judge(body.bytes, body.length, 1000, &bad_at);
}

static const struct kit_response *ask(struct kit_connection *connection, const char *method,
                                      const char *target, const char *type, struct body body)
{
    const char *headers = type == NULL ? NULL : type;
    kit_send_request(connection, method, target, headers, body.bytes, body.length);
    return kit_receive(connection);
}

/* Calls `use` for every row of the table. */
typedef void use_row(void *context, const struct row *row);
static void for_rows(struct kit *kit, use_row *use, void *context)
{
    for (size_t i = 0; i < KIT_COUNT(tables); i++) {
        for (size_t k = 0; k < tables[i].count; k++) {
            kit_note(kit, "table %zu, row %zu: %.60s", i, k, tables[i].rows[k].bytes);
            use(context, &tables[i].rows[k]);
        }
    }
}

/* --- every path --- */

static const struct frame {
    const char *method, *target, *before, *behind;
    int status;
} frames[] = {
    {"POST", "/push?key=k", "", "", 200},
    {"POST", KIT_PUBLISH, "{\"channel\":\"c\",\"eventType\":\"t\",\"payload\":[", "]}", 202},
    {"POST", KIT_SUBSCRIBE, "{\"userId\":1,\"channel\":\"c\",\"x\":", "}", 201},
    {"POST", KIT_UNSUBSCRIBE, "{\"x\":", ",\"userId\":1,\"channel\":\"c\"}", 200},
    {"POST", KIT_EVENTS, "[1,", "]", 200},
    {"PUT", KIT_USERS, "{\"user_metadata\":{\"u\":{\"x\":", "}},\"ts\":\"2026-01-01T00:00:00Z\"}", 200},
    {"POST", KIT_ADD_EVENT, "{\"name\":\"n\",\"userId\":1,\"details\":", "}", 200},
    {"POST", "/liveEvent", "{\"userId\":1,\"name\":\"add_revenue\",\"value\":1,\"x\":", "}", 200},
};

struct paths {
    struct kit *kit;
    struct kit_connection *connection;
};

static void judge_on_every_path(void *context, const struct row *row)
{
    struct paths *paths = context;
    for (size_t i = 0; i < KIT_COUNT(frames); i++) {
        struct body body = framed(paths->kit, frames[i].before, row->bytes, row->length, frames[i].behind);
        const struct kit_response *response =
            ask(paths->connection, frames[i].method, frames[i].target, NULL, body);
        if (is_valid(body))
            kit_assert_status(response, frames[i].status);
        else
            kit_assert_error(response, 400, body.length == 0 ? "empty" : NO_JSON);
    }
}

static void every_path_has_the_same_verdict(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    struct paths paths = {.kit = kit, .connection = kit_connect(server)};
    for_rows(kit, judge_on_every_path, &paths);
}

/* --- the queue --- */

struct pushing {
    struct kit *kit;
    struct kit_server *server;
    struct kit_connection *connection;
    const char *type;
};

static void expect_next(struct pushing *pushing, struct body wanted)
{
    const struct kit_response *response =
        ask(pushing->connection, "GET", "/blocking-get?key=k&groupId=g&timeout=0", NULL,
            (struct body){.length = 0});
    kit_assert_status(response, 200);
    if (response->body_length != wanted.length || memcmp(response->body, wanted.bytes, wanted.length) != 0)
        kit_fail(pushing->kit, "%.*s comes back as %s", (int)wanted.length, wanted.bytes, response->body);
}

static void push_and_get(void *context, const struct row *row)
{
    struct pushing *pushing = context;
    bool lines = pushing->type != NULL;
    if (lines && (memchr(row->bytes, '\n', row->length) != NULL || row->length == 0))
        return;
    struct body body = framed(pushing->kit, "", row->bytes, row->length, lines ? "\n\"behind\"\r\n" : "");
    const struct kit_response *response =
        ask(pushing->connection, "POST", "/push?key=k", pushing->type, body);
    bool blank = lines && strspn(row->bytes, " \t") == row->length;
    if (row->line != 0 && !blank) {
        kit_assert_error(response, 400, row->length == 0 ? "empty" : NO_JSON);
        expect_next(pushing, (struct body){.bytes = (char[]){"[]"}, .length = 2});
        return;
    }
    kit_assert_status(response, 200);
    expect_next(pushing,
                blank ? framed(pushing->kit, "[\"behind\"", "", 0, "]")
                      : framed(pushing->kit, "[", row->bytes, row->length, lines ? ",\"behind\"]" : "]"));
}

static void what_is_pushed_comes_back_byte_for_byte(void **state)
{
    static const char *const types[] = {NULL, "Content-Type: application/x-ndjson\r\n"};
    struct kit *kit = *state;
    for (size_t i = 0; i < KIT_COUNT(types); i++) {
        struct kit_server *server = kit_serve(kit);
        struct pushing pushing = {
            .kit = kit, .server = server, .connection = kit_connect(server), .type = types[i]};
        for_rows(kit, push_and_get, &pushing);
    }
}

/* Text is any UTF-8, NUL and control characters too: the string that comes back stands for exactly its bytes. */
static void text_becomes_the_string_that_stands_for_it(void **state)
{
    static const struct {
        const char *text;
        size_t length;
        const char *string; /* NULL: refused */
    } rows[] = {
        {"a", 1, "\"a\""},
        {"\"", 1, "\"\\\"\""},
        {"\\u0041", 6, "\"\\\\u0041\""},
        {"/", 1, "\"/\""},
        {"\b\f\n\r\t", 5, "\"\\b\\f\\n\\r\\t\""},
        {"\0", 1, "\"\\u0000\""},
        {"\x01\x1b\x1f\x7f", 4, "\"\\u0001\\u001b\\u001f\x7f\""},
        {"\xef\xbb\xbf", 3, "\"\xef\xbb\xbf\""},
        {"\xe2\x80\xa8\xc2\x85", 5, "\"\xe2\x80\xa8\xc2\x85\""},
        {"\xf4\x8f\xbf\xbf", 4, "\"\xf4\x8f\xbf\xbf\""},
        {"\xed\xa0\x80", 3, NULL},
        {"\xc0\x80", 2, NULL},
        {"a\xff", 2, NULL},
        {"\xf4\x90\x80\x80", 4, NULL},
        {"\xe2\x82", 2, NULL},
    };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        kit_note(kit, "row %zu", i);
        const struct kit_response *response =
            kit_post(server, "k", "text/plain", rows[i].text, rows[i].length);
        if (rows[i].string == NULL)
            kit_assert_error(response, 400, "UTF-8");
        else
            kit_assert_status(response, 200);
        kit_assert_get(server, "k", "g",
                       rows[i].string == NULL ? "[]" : kit_format(kit, "[%s]", rows[i].string));
    }
}

/* --- the database --- */

struct publishing {
    struct kit *kit;
    struct kit_server *server;
    struct kit_connection *connection;
    int number;
};

/* The row without white space between its tokens; strings of the table that are not alone have none in them. */
static const char *compact(struct kit *kit, const struct row *row)
{
    char *to = kit_allocate(kit, row->length + 1);
    for (size_t i = 0, at = 0; i < row->length; i++)
        if (row->bytes[0] == '"' || strchr(" \t\r\n", row->bytes[i]) == NULL)
            to[at++] = row->bytes[i];
    return to;
}

static void publish_and_read(void *context, const struct row *row)
{
    struct publishing *publishing = context;
    if (row->line != 0)
        return;
    struct kit *kit = publishing->kit;
    int number = publishing->number++;
    const char *before = kit_format(kit, "{\"channel\":\"c%d\",\"eventType\":\"t\",\"payload\":[", number);
    struct body body = framed(kit, before, row->bytes, row->length, "]}");
    kit_assert_status(ask(publishing->connection, "POST", KIT_PUBLISH, NULL, body), 202);
    kit_assert_history(publishing->server, kit_format(kit, "c%d", number),
                       kit_format(kit, "[[%s]]", compact(kit, row)));
    before = kit_format(kit, "{\"name\":\"n\",\"userId\":\"u%d\",\"details\":[", number);
    body = framed(kit, before, row->bytes, row->length, "]}");
    const struct kit_response *response = ask(publishing->connection, "POST", KIT_ADD_EVENT, NULL, body);
    const char *id = kit_added_id(response);
    kit_assert_list(publishing->server, kit_format(kit, KIT_EVENTS_OF "u%d", number),
                    kit_format(kit, "[{\"id\":\"%s\",\"name\":\"n\",\"userId\":\"u%d\",\"details\":[%s]}]",
                               id, number, compact(kit, row)));
}

static void what_is_stored_comes_back_as_written(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    struct publishing publishing = {.kit = kit, .server = server, .connection = kit_connect(server)};
    for_rows(kit, publish_and_read, &publishing);
    assert_true(publishing.number > 60);
}

/* --- files and upstreams --- */

struct journal {
    struct kit *kit;
    const char *path;
    int good, bad;
};

static void append_row(void *context, const struct row *row)
{
    struct journal *journal = context;
    struct body body =
        framed(journal->kit, "{\"userId\":1,\"name\":\"add_revenue\",\"value\":1,\"x\":", row->bytes,
               row->length, "}");
    if (memchr(row->bytes, '\n', row->length) != NULL)
        return;
    *(is_valid(body) ? &journal->good : &journal->bad) += 1;
    body.bytes[body.length] = '\n';
    kit_append_bytes(journal->kit, journal->path, body.bytes, body.length + 1);
}

static void process_and_send_have_the_same_verdict(void **state)
{
    struct kit *kit = *state;
    struct journal journal = {.kit = kit, .path = kit_new_journal(kit)};
    for_rows(kit, append_row, &journal);
    assert_true(journal.good > 60 && journal.bad > 100);
    const struct kit_run *run = kit_run_processor(kit, journal.path);
    kit_expect_summary(kit, run, 1, .lines = journal.good, .users = 1, .skipped = journal.bad);
    struct kit_server *server = kit_serve_live(kit, kit_new_journal(kit), NULL);
    run = kit_command(kit, "send", journal.path, "--url",
                      kit_format(kit, "http://127.0.0.1:%d", kit_port(server)));
    const char *sum =
        kit_format(kit, " %d sent, %d refused, 0 unknown, 0 not sent, 0 blank;", journal.good, journal.bad);
    if (strstr(run->errors, sum) == NULL)
        kit_fail(kit, "not %s: %s", sum, run->errors);
}

struct upstream {
    struct kit *kit;
    struct kit_server *server;
    struct standin *standin;
    int number;
};

/* A good answer behind each keeps the breaker closed. A NUL ends what the stand-in says. */
static void answer_as_upstream(void *context, const struct row *row)
{
    struct upstream *upstream = context;
    struct body body = framed(upstream->kit, "{\"success\":true,\"x\":", row->bytes, row->length, "}");
    if (upstream->number++ % 4 != 0 || memchr(body.bytes, '\0', body.length) != NULL)
        return;
    static const char event[] = "{\"name\":\"n\",\"userId\":\"u\"}";
    kit_set_answer(upstream->standin, KIT_ADD_EVENT, 200, body.bytes);
    const struct kit_response *response = kit_post_json(upstream->server, KIT_ADD_EVENT, event);
    if (is_valid(body))
        kit_assert_status(response, 200);
    else
        kit_assert_unavailable(response, 502);
    kit_set_answer(upstream->standin, KIT_ADD_EVENT, 200, "{}");
    kit_assert_status(kit_post_json(upstream->server, KIT_ADD_EVENT, event), 200);
}

static void upstreams_are_held_to_the_same(void **state)
{
    struct kit *kit = *state;
    struct upstream upstream = {.kit = kit, .standin = kit_standin(kit)};
    upstream.server = kit_serve_upstream(kit, upstream.standin);
    for_rows(kit, answer_as_upstream, &upstream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_sqlite(every_path_has_the_same_verdict),
        kit_test(what_is_pushed_comes_back_byte_for_byte),
        kit_test(text_becomes_the_string_that_stands_for_it),
        kit_test_engines(what_is_stored_comes_back_as_written),
        kit_test_sqlite(process_and_send_have_the_same_verdict),
        kit_test_upstream(upstreams_are_held_to_the_same),
    };
    return kit_run_event_tests(tests);
}
