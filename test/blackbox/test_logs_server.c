/*
 * Proves that the server's log is the server's: whatever a client or an upstream says, in every place where they can say
 * something and on every way a request can go, each entry is one line of the documented form without a control byte, and
 * keys, payloads, ids and tokens are in none below debug level; the token in none at all.
 */
#include <stdio.h>
#include <string.h>

#include "kit_http.h"
#include "kit_management.h"

#define MARK   "ZQXMARK"
#define TOKEN  "ZQXTOKEN"
#define FORGED "2026-01-01T00:00:00.000Z error forged"
#define TIME   "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z "

/* Beginnings of lines, colours, ends of quotes, bytes that are no text. */
static const struct hostile {
    const char *bytes;
    size_t length;
} hostile[] = {
#define HOSTILE(text)                                                                                        \
    {                                                                                                        \
        MARK text MARK, sizeof(MARK text MARK) - 1                                                           \
    }
    HOSTILE(""),
    HOSTILE("\n" FORGED "\n"),
    HOSTILE("\r\n" FORGED "\r\n"),
    HOSTILE("\r" FORGED),
    HOSTILE("\x1b[2J\x1b]0;title\x07"),
    HOSTILE("\xc2\x85" FORGED), /* next line */
    HOSTILE("\xc2\x9b"
            "31m"), /* the escape of 8 bits */
    HOSTILE("\xe2\x80\xa8" FORGED "\xe2\x80\xa9"),
    HOSTILE("\xe2\x80\xae"), /* right to left */
    HOSTILE("\" path=\"/forged\" \\\""),
    HOSTILE("\xff\xc0\xed\xa0\x80"),
    HOSTILE("\0\x7f\x08\x0b\x0c"),
    HOSTILE("%s%n%d{}${x}"),
};

/* As it may stand in a target: the mark stays readable. */
static const char *encoded(struct kit *kit, const struct hostile *text)
{
    char *to = kit_allocate(kit, 3 * text->length + 1);
    for (size_t i = 0, at = 0; i < text->length; i++) {
        unsigned char byte = (unsigned char)text->bytes[i];
        at += (size_t)snprintf(to + at, 4, byte >= 'A' && byte <= 'Z' ? "%c" : "%%%02X", byte);
    }
    return to;
}

/* As it may stand between the quotes of a JSON string; what is no UTF-8 stays what it is. */
static const char *escaped(struct kit *kit, const struct hostile *text)
{
    char *to = kit_allocate(kit, 6 * text->length + 1);
    for (size_t i = 0, at = 0; i < text->length; i++) {
        unsigned char byte = (unsigned char)text->bytes[i];
        bool plain = byte >= 0x20 && byte != '"' && byte != '\\';
        at += (size_t)snprintf(to + at, 7, plain ? "%c" : "\\u%04x", byte);
    }
    return to;
}

/* As a header's value: without what would end it. */
static const char *in_header(struct kit *kit, const struct hostile *text)
{
    char *to = kit_allocate(kit, text->length + 1);
    for (size_t i = 0; i < text->length; i++)
        to[i] = text->bytes[i];
    for (size_t i = 0; i < text->length; i++)
        if (to[i] == '\0' || to[i] == '\r' || to[i] == '\n')
            to[i] = '\t';
    return to;
}

/* The template with `text` for each @. */
static const char *filled(struct kit *kit, const char *template, const char *text)
{
    const char *result = "";
    for (const char *at; (at = strchr(template, '@')) != NULL; template = at + 1)
        result = kit_format(kit, "%s%.*s%s", result, (int)(at - template), template, text);
    return kit_format(kit, "%s%s", result, template);
}

/* A request that is answered, errors in JSON of a bounded length. */
static void ask(struct kit_server *server, const char *method, const char *target, const char *headers,
                const char *body)
{
    struct kit_connection *connection = kit_connect(server);
    kit_send_request(connection, method, target, headers, body, body == NULL ? 0 : strlen(body));
    const struct kit_response *response =
        kit_receive_at(connection, method, KIT_DEADLINE_MS, __FILE__, __LINE__);
    if (response->status >= 400 && response->body_length > 0 &&
        (response->body_length > 2000 || !kit_is_json(response->body)))
        kit_fail(kit_of(server), "an error that is long, or no JSON: %s", response->body);
    kit_close(connection);
}

/* In the query and in the path of everything, with methods that fit and others. */
static void say_in_targets(struct kit_server *server, const char *headers, const char *text)
{
    static const char *const targets[] = {
        "/push?key=@&x=@",
        "/push?@=@",
        "/push?access_token=@&key=k",
        "/blocking-get?key=@&groupId=@&timeout=0",
        "/blocking-get?key=k&groupId=@&timeout=@",
        "/blocking-get?key=k&groupId=g&timeout=0&limit=@&meta=@",
        KIT_LIST "?userId=@",
        KIT_HISTORY "?channel=@&afterId=@",
        KIT_HISTORY "?channel=c&limit=@",
        KIT_STREAM "?userId=@&channels=@",
        KIT_STREAM "?userId=1&channels=c&lastEventId=@",
        KIT_STREAM "?userId=1&channels=c&access_token=@",
        "/metrics?window=@",
        "/getUsers?afterId=@",
        "/getEvents?limit=@",
        "/getEventsByUserId/@",
        "/getEventsByUserId/@/@",
        "/getEventsByUserId/u?afterId=@",
        "/userEvents/@",
        "/userEvents/@?x=@",
        "/userEvents/%zz@",
        "/health?@",
    };
    static const char *const methods[] = {"GET", "POST", "DELETE"};
    for (size_t i = 0; i < KIT_COUNT(targets); i++)
        for (size_t k = 0; k < KIT_COUNT(methods); k++)
            ask(server, methods[k], filled(kit_of(server), targets[i], text), headers, k == 1 ? MARK : NULL);
}

/* In every member of every body. */
static void say_in_bodies(struct kit_server *server, const char *headers, const char *text)
{
    static const struct {
        const char *method, *target, *body;
    } rows[] = {
        {"POST", "/push?key=k", "{\"@\":\"@\"}"},
        {"POST", "/push?key=k", "{\"@\":\"@\"} @"},
        {"POST", KIT_PUBLISH, "{\"channel\":\"@\",\"eventType\":\"t\",\"payload\":\"@\"}"},
        {"POST", KIT_PUBLISH, "{\"channel\":\"c\",\"eventType\":\"@\",\"payload\":[\"@\"]}"},
        {"POST", KIT_PUBLISH, "{\"channel\":\"c\",\"eventType\":\"t\",\"payload\":@}"},
        {"POST", KIT_SUBSCRIBE, "{\"userId\":\"@\",\"channel\":\"@\"}"},
        {"POST", KIT_UNSUBSCRIBE, "{\"userId\":1,\"channel\":\"@\"}"},
        {"POST", "/events", "[{\"event_id\":\"@\",\"user_id\":\"@\",\"type\":\"@\",\"ts\":\"@\"}]"},
        {"POST", "/events", "[{\"event_id\":\"@\",\"user_id\":\"u\",\"type\":\"t\"}]"},
        {"PUT", KIT_REFERENCE, "{\"user_metadata\":{\"@\":1},\"ts\":\"2026-01-01T00:00:00Z\"}"},
        {"PUT", KIT_REFERENCE, "{\"user_metadata\":{\"@\":{\"plan\":\"@\"}},\"ts\":\"@\"}"},
        {"PUT", KIT_REFERENCE,
         "{\"user_metadata\":{\"u\":{\"plan\":\"@\",\"region\":\"@\",\"@\":\"@\"}},\"ts\":\"2026-01-01T00:00:"
         "00Z\"}"},
        {"POST", KIT_ADD_EVENT, "{\"name\":\"@\",\"userId\":\"@\",\"details\":\"@\"}"},
        {"POST", KIT_ADD_EVENT, "{\"name\":\"@\",\"userId\":\"u\",\"details\":{\"@\":\"@\"}}"},
        {"POST", "/liveEvent", "{\"userId\":\"@\",\"name\":\"add_revenue\",\"value\":1}"},
        {"POST", "/liveEvent", "{\"userId\":\"u\",\"name\":\"@\",\"value\":\"@\"}"},
    };
    for (size_t i = 0; i < KIT_COUNT(rows); i++)
        ask(server, rows[i].method, rows[i].target, headers, filled(kit_of(server), rows[i].body, text));
}

/* In headers that are read, and in one that is not. */
static void say_in_headers(struct kit_server *server, const char *headers, const char *text)
{
    static const char *const names[] = {"Authorization",
                                        "Origin",
                                        "Sec-Fetch-Site",
                                        "Content-Type",
                                        "Last-Event-ID",
                                        "User-Agent",
                                        "Cookie",
                                        "Content-Encoding",
                                        "Access-Control-Request-Method",
                                        "Transfer-Encoding",
                                        "Expect"};
    struct kit *kit = kit_of(server);
    for (size_t i = 0; i < KIT_COUNT(names); i++) {
        const char *field = kit_format(kit, "%s: %s\r\n%s", names[i], text, i == 0 ? "" : headers);
        ask(server, "GET", "/metrics?window=1", field, NULL);
        ask(server, "GET", KIT_STREAM "?userId=1&channels=none", field, NULL);
    }
    ask(server, "GET", "/metrics?window=1", kit_format(kit, "Host: %s\r\n%s", text, headers), NULL);
    ask(server, "GET", "/metrics?window=1", kit_format(kit, "Content-Length: %s\r\n%s", text, headers), NULL);
    ask(server, "GET", "/metrics?window=1", kit_format(kit, "%s: 1\r\n%s", text, headers), NULL);
}

/* Heads that are no requests. */
static void say_nonsense(struct kit_server *server, const struct hostile *text)
{
    static const char *const before[] = {"", "GET ", "GET /", "GET /x HTTP/",
                                         "GET /push HTTP/1.1\r\nHost: h\r\n"};
    for (size_t i = 0; i < KIT_COUNT(before); i++) {
        struct kit_connection *connection = kit_connect(server);
        kit_send_text(connection, before[i]);
        kit_send(connection, text->bytes, text->length);
        kit_send_text(connection, "\r\n\r\n\r\n");
        kit_shutdown_sending(connection);
        kit_read_to_end(connection);
        kit_close(connection);
    }
}

static void say_everything(struct kit_server *server)
{
    static const char *const authorizations[] = {"Authorization: Bearer " TOKEN "\r\n", ""};
    struct kit *kit = kit_of(server);
    for (size_t i = 0; i < KIT_COUNT(hostile); i++) {
        kit_note(kit, "hostile text %zu", i);
        say_nonsense(server, &hostile[i]);
        /* Without the token no handler hears it: the first two say enough. */
        for (size_t k = 0; k < (i < 2 ? KIT_COUNT(authorizations) : 1); k++) {
            say_in_targets(server, authorizations[k], encoded(kit, &hostile[i]));
            say_in_bodies(server, authorizations[k], escaped(kit, &hostile[i]));
            say_in_headers(server, authorizations[k], in_header(kit, &hostile[i]));
        }
    }
}

/* --- the log --- */

/* A line of the documented form: time, level, a sentence; a request's line to the last byte. */
static bool is_line(const char *line)
{
    static const char entry[] = TIME "(error|warn|info|debug) [a-z][ -~]*$";
    static const char request[] = TIME
        "info request method=(GET|HEAD|POST|PUT|DELETE|PATCH|OPTIONS|-) "
        "path=(/[A-Za-z/-]*|\"([^\"\\\\]|\\\\[\"\\\\]|\\\\x[0-9a-f]{2})*\") status=[0-9]{3} bytes=[0-9]+ "
        "ms=[0-9]+\\.[0-9]{3}$";
    return kit_matches(line, entry) &&
           (!kit_matches(line, "^[^ ]+ info request ") || kit_matches(line, request));
}

/* Returns how many lines there are. */
static size_t check_lines(struct kit *kit, const char *log)
{
    size_t lines = 0;
    assert_true(log[0] == '\0' || log[strlen(log) - 1] == '\n');
    for (const char *end; (end = strchr(log, '\n')) != NULL; log = end + 1, lines++) {
        const char *line = kit_format(kit, "%.*s", (int)(end - log), log);
        if (!is_line(line))
            kit_fail(kit, "no line of the log's form: %s", line);
        if (strstr(line, "forged") == line + strlen(FORGED) - strlen("forged"))
            kit_fail(kit, "a forged line: %s", line);
    }
    return lines;
}

static const char *log_of_ended(struct kit_server *server)
{
    struct kit *kit = kit_of(server);
    kit_stop(server);
    assert_string_equal(kit_read_file(kit, kit_format(kit, "%s/stdout", kit_directory(server))), "");
    return kit_log(server);
}

static void check_lacks(struct kit *kit, const char *log, const char *word)
{
    const char *at = strstr(log, word);
    if (at == NULL)
        return;
    while (at > log && at[-1] != '\n')
        at--;
    kit_fail(kit, "\"%s\" is in the log: %.*s", word, (int)strcspn(at, "\n"), at);
}

static void contents_are_in_no_line_below_debug(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server =
        kit_serve_events(kit, "--access-log", "--log-level", "info", "--token", TOKEN);
    say_everything(server);
    const char *log = log_of_ended(server);
    size_t requests = kit_matching_lines(kit, log, "info request ");
    check_lines(kit, log);
    check_lacks(kit, log, MARK);
    check_lacks(kit, log, TOKEN);
    assert_true(requests > KIT_COUNT(hostile) * 100);
}

static void no_line_can_be_forged_at_any_level(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server =
        kit_serve_events(kit, "--access-log", "--log-level", "debug", "--token", TOKEN);
    say_everything(server);
    const char *log = log_of_ended(server);
    check_lines(kit, log);
    check_lacks(kit, log, TOKEN);
}

/* What is at no path of ours is shown, in quotes, and cut. */
static void unknown_paths_are_quoted(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit, "--access-log");
    for (size_t i = 0; i < KIT_COUNT(hostile); i++)
        ask(server, "GET", kit_format(kit, "/%s", encoded(kit, &hostile[i])), "", NULL);
    ask(server, "GET", "/\"quoted\\path\"'`$", "", NULL);
    ask(server, "GET", kit_format(kit, "/%s", kit_repeat(kit, "\\", 7000)), "", NULL);
    const char *log = log_of_ended(server);
    check_lines(kit, log);
    assert_int_equal(kit_matching_lines(kit, log, "info request method=GET path=\"/"),
                     KIT_COUNT(hostile) + 2);
    assert_int_equal(kit_matching_lines(kit, log, "path=\"/\\\\\"quoted\\\\\\\\path\\\\\"'`\\$\" "), 1);
    assert_int_equal(kit_matching_lines(kit, log, "path=\"/(\\\\\\\\)+\\.\\.\\.\" status=404"), 1);
    check_lacks(kit, log, kit_repeat(kit, "\\", 500));
}

static void add_event(struct kit_server *server)
{
    ask(server, "POST", KIT_ADD_EVENT, "", "{\"name\":\"n\",\"userId\":\"u\"}");
}

/* Every answer is really heard: a good one behind each keeps the breaker closed. */
static void say_as_upstream(struct kit_server *server, struct standin *standin,
                            const struct hostile *hostile_text)
{
    struct kit *kit = kit_of(server);
    const char *text = escaped(kit, hostile_text), *raw = in_header(kit, hostile_text);
    const char *const answers[] = {
        filled(kit, "HTTP/1.1 400 @\r\nX-@: @\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", raw),
        filled(kit, "HTTP/1.1 @\r\n\r\n", raw),
        filled(kit, "@\r\n\r\n", raw),
        filled(kit, "HTTP/1.1 302 Found\r\nLocation: http://@/\r\n\r\n", raw),
        filled(kit, "HTTP/1.1 200 OK\r\n\r\n{\"success\":false,\"error\":\"@\"}", text),
        filled(kit, "HTTP/1.1 200 OK\r\n\r\n{\"success\":true,\"id\":\"@\"}", text),
        filled(kit, "HTTP/1.1 422 @\r\n\r\n{\"error\":\"@\"}", text),
    };
    for (size_t i = 0; i < KIT_COUNT(answers); i++) {
        struct standin_behaviour behaviour = {.kind = STANDIN_RAW, .body = answers[i]};
        standin_set(standin, KIT_ADD_EVENT, &behaviour);
        uint64_t before = standin_count(standin, KIT_ADD_EVENT);
        add_event(server);
        kit_set_answer(standin, KIT_ADD_EVENT, 200, "{\"success\":true}");
        add_event(server);
        assert_int_equal(standin_count(standin, KIT_ADD_EVENT), before + 2);
    }
}

/* An upstream is a stranger too. */
static void an_upstream_writes_no_lines(void **state)
{
    static const char *const levels[] = {"info", "debug"};
    struct kit *kit = *state;
    for (size_t level = 0; level < KIT_COUNT(levels); level++) {
        struct standin *standin = kit_standin(kit);
        struct kit_server *server =
            kit_serve_upstream(kit, standin, "--access-log", "--log-level", levels[level]);
        for (size_t i = 0; i < KIT_COUNT(hostile); i++)
            say_as_upstream(server, standin, &hostile[i]);
        const char *log = log_of_ended(server);
        check_lines(kit, log);
        if (level == 0)
            check_lacks(kit, log, MARK);
    }
}

/* Its lists, one hostile entry and one list that is none at a time. */
static void lists_of_an_upstream_are_in_no_line(void **state)
{
    struct kit *kit = *state;
    for (size_t i = 0; i < KIT_COUNT(hostile); i += 3) {
        struct standin *standin = kit_standin(kit);
        const char *text = escaped(kit, &hostile[i]);
        kit_set_answer(standin, KIT_GET_USERS, 200,
                       filled(kit, "[{\"id\":\"@\",\"@\":\"@\"},\"@\",{\"id\":[\"@\"]}]", text));
        kit_set_answer(standin, KIT_GET_EVENTS, 200, filled(kit, "{\"@\":\"@\"}", text));
        struct kit_server *server = kit_serve_events(kit, "--upstream", standin_url(standin));
        kit_wait_at_least(server, "upstream.failed_refreshes", 1);
        const char *log = log_of_ended(server);
        check_lines(kit, log);
        check_lacks(kit, log, MARK);
        assert_int_equal(
            kit_matching_lines(kit, log, "the upstream's list could not be refreshed path=/getEvents"), 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_sqlite(contents_are_in_no_line_below_debug),
        kit_test_sqlite(no_line_can_be_forged_at_any_level),
        kit_test(unknown_paths_are_quoted),
        kit_test_upstream(an_upstream_writes_no_lines),
        kit_test_upstream(lists_of_an_upstream_are_in_no_line),
    };
    return kit_run_event_tests(tests);
}
