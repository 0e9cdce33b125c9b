/* POST /api/events/publish: what is refused, how that is said, and that it changes nothing. */
#include <string.h>

#include "kit_events.h"
#include "kit_http.h"
#include "kit_sse.h"

#define MISSING "{\"error\":\"Missing required fields\"}"

/* A position is one of the first byte that can't belong to a valid value, both counted from 1. */
#define AT(line, column) "[Ll]ine " #line "([^0-9].*)?[Cc]olumn " #column "([^0-9]|$)"

struct row {
    const char *body;
    size_t length;     /* 0: strlen(body) */
    const char *error; /* what the message must match */
};

static const struct row missing[] = {
    {"{}", 0, NULL},
    {"{\"eventType\":\"t\",\"payload\":1}", 0, NULL},
    {"{\"channel\":\"c\",\"payload\":1}", 0, NULL},
    {"{\"channel\":\"c\",\"eventType\":\"t\"}", 0, NULL},
    {"{\"channel\":null,\"eventType\":\"t\",\"payload\":1}", 0, NULL},
    {"{\"channel\":\"c\",\"eventType\":null,\"payload\":1}", 0, NULL},
    {"{\"channel\":\"c\",\"eventType\":\"t\",\"payload\":null}", 0, NULL},
    {"{\"channel\":\"c\",\"eventType\":\"t\",\"payload\": null }", 0, NULL},
    {"{\"channel\":\"\",\"eventType\":\"t\",\"payload\":1}", 0, NULL},
    {"{\"channel\":\"c\",\"eventType\":\"\",\"payload\":1}", 0, NULL},
    {"{\"channel\":\"c\",\"eventType\":\"t\",\"Payload\":1}", 0, NULL},
    {"{\"channel\":\"c\",\"type\":\"t\",\"payload\":1}", 0, NULL},
    {"{\"event\":{\"channel\":\"c\",\"eventType\":\"t\",\"payload\":1}}", 0, NULL},
};

static const struct row wrong_types[] = {
    {"{\"channel\":5,\"eventType\":\"t\",\"payload\":1}", 0, "channel"},
    {"{\"channel\":true,\"eventType\":\"t\",\"payload\":1}", 0, "channel"},
    {"{\"channel\":[\"c\"],\"eventType\":\"t\",\"payload\":1}", 0, "channel"},
    {"{\"channel\":{\"c\":\"c\"},\"eventType\":\"t\",\"payload\":1}", 0, "channel"},
    {"{\"channel\":0,\"eventType\":\"t\",\"payload\":1}", 0, "channel|Missing required fields"},
    {"{\"channel\":false,\"eventType\":\"t\",\"payload\":1}", 0, "channel|Missing required fields"},
    {"{\"channel\":\"c\",\"eventType\":5,\"payload\":1}", 0, "eventType"},
    {"{\"channel\":\"c\",\"eventType\":true,\"payload\":1}", 0, "eventType"},
    {"{\"channel\":\"c\",\"eventType\":[\"t\"],\"payload\":1}", 0, "eventType"},
    {"{\"channel\":\"c\",\"eventType\":{},\"payload\":1}", 0, "eventType"},
    {"{\"channel\":\"c\",\"eventType\":0,\"payload\":1}", 0, "eventType|Missing required fields"},
};

static const struct row bad_names[] = {
    {"{\"channel\":\"a,b\",\"eventType\":\"t\",\"payload\":1}", 0, "channel"},
    {"{\"channel\":\",\",\"eventType\":\"t\",\"payload\":1}", 0, "channel"},
    {"{\"channel\":\"a\\u002cb\",\"eventType\":\"t\",\"payload\":1}", 0, "channel"},
    {"{\"channel\":\"\\u0000\",\"eventType\":\"t\",\"payload\":1}", 0, "channel"},
    {"{\"channel\":\"c\\u0000\",\"eventType\":\"t\",\"payload\":1}", 0, "channel"},
    {"{\"channel\":\"c\\n\",\"eventType\":\"t\",\"payload\":1}", 0, "channel"},
    {"{\"channel\":\"c\\u001f\",\"eventType\":\"t\",\"payload\":1}", 0, "channel"},
    {"{\"channel\":\"c\\u007f\",\"eventType\":\"t\",\"payload\":1}", 0, "channel"},
    {"{\"channel\":\"c\x7f\",\"eventType\":\"t\",\"payload\":1}", 0, "channel"},
    {"{\"channel\":\"\\t\",\"eventType\":\"t\",\"payload\":1}", 0, "channel"},
    {"{\"channel\":\"c\",\"eventType\":\"\\u0000\",\"payload\":1}", 0, "eventType"},
    {"{\"channel\":\"c\",\"eventType\":\"t\\u0000\",\"payload\":1}", 0, "eventType"},
    {"{\"channel\":\"c\",\"eventType\":\"t\\nid: 7\",\"payload\":1}", 0, "eventType"},
    {"{\"channel\":\"c\",\"eventType\":\"t\\rdata: 7\",\"payload\":1}", 0, "eventType"},
    {"{\"channel\":\"c\",\"eventType\":\"\\u001b\",\"payload\":1}", 0, "eventType"},
    {"{\"channel\":\"c\",\"eventType\":\"\\u007f\",\"payload\":1}", 0, "eventType"},
    /* Half a surrogate pair is no character, so this is no text. */
    {"{\"channel\":\"\\ud800\",\"eventType\":\"t\",\"payload\":1}", 0, "."},
    {"{\"channel\":\"c\",\"eventType\":\"\\udc00x\",\"payload\":1}", 0, "."},
};

static const struct row not_objects[] = {
    {"1", 0, "."},    {"\"c\"", 0, "."}, {"null", 0, "."},
    {"true", 0, "."}, {"[]", 0, "."},    {"[{\"channel\":\"c\",\"eventType\":\"t\",\"payload\":1}]", 0, "."},
};

static const struct row bad_json[] = {
    {"x", 0, AT(1, 1)},
    {"{channel:\"c\",\"eventType\":\"t\",\"payload\":1}", 0, AT(1, 2)},
    {"{\"channel\":\"c\",\"eventType\":\"t\",\"payload\":1,}", 0, AT(1, 44)},
    {"{\"channel\":\"c\",\n\"eventType\":\"t\",\n\"payload\":x}", 0, AT(3, 11)},
    {"{\"channel\":\"c\",\r\n\"eventType\":\"t\",\r\n\"payload\":[1,]}", 0, AT(3, 14)},
    {"{\"channel\":\"c\",\"eventType\":\"t\",\"payload\":1} {}", 0, AT(1, 45)},
    {"{\"channel\":\"c\",\"eventType\":\"t\",\"payload\":1}x", 0, AT(1, 44)},
    {"{\"channel\":\"c\",\"eventType\":\"t\",\"payload\":1", 0, "[Ll]ine [0-9]+.*[Cc]olumn [0-9]+"},
    {"{\"channel\":\"c\",\"eventType\":\"t\",\"payload\":01}", 0, "[Ll]ine [0-9]+.*[Cc]olumn [0-9]+"},
    {"{\"channel\":\"c\",\"eventType\":\"t\",\"payload\":1.}", 0, "[Ll]ine [0-9]+.*[Cc]olumn [0-9]+"},
    {"{\"channel\":\"c\",\"eventType\":\"t\",\"payload\":NaN}", 0, "[Ll]ine [0-9]+.*[Cc]olumn [0-9]+"},
    {"{\"channel\":\"c\",\"eventType\":\"t\",\"payload\":\"a\nb\"}", 0, "[Ll]ine [0-9]+.*[Cc]olumn [0-9]+"},
    {"{\"channel\":\"c\",\"eventType\":\"t\",\"payload\":\"\\x\"}", 0, "[Ll]ine [0-9]+.*[Cc]olumn [0-9]+"},
    {"{\"channel\":\"c\",\"eventType\":\"t\",\"payload\":\"\xff\"}", 0, "[Ll]ine [0-9]+.*[Cc]olumn [0-9]+"},
    {"{\"channel\":\"\xc3\",\"eventType\":\"t\",\"payload\":1}", 0, "[Ll]ine [0-9]+.*[Cc]olumn [0-9]+"},
    {"{\"channel\":\"c\",\"eventType\":\"t\",\"payload\":1}\0", 44, "[Ll]ine [0-9]+.*[Cc]olumn [0-9]+"},
    {"\xef\xbb\xbf{\"channel\":\"c\",\"eventType\":\"t\",\"payload\":1}", 0, AT(1, 1)},
};

/* Nobody has got anything of what was refused on channel c. */
static void check_nothing_happened(struct kit_server *server, struct kit_sse *stream)
{
    kit_note(kit_of(server), "after all");
    kit_sse_expect_silence(stream, "marked");
    kit_assert_history(server, "c", "[]");
    kit_assert_get(server, "c", "g", "[]");
}

static void check_refused(struct kit *kit, const struct row *rows, size_t count)
{
    struct kit_server *server = kit_serve_events(kit);
    kit_subscribe(server, "1", "c");
    kit_subscribe(server, "1", "marked");
    struct kit_sse *stream = kit_sse_open(server, "1", "c,marked");
    for (size_t i = 0; i < count; i++) {
        size_t length = rows[i].length > 0 ? rows[i].length : strlen(rows[i].body);
        kit_note(kit, "body %s", rows[i].body);
        const struct kit_response *response = kit_request(
            server, "POST", KIT_PUBLISH, "Content-Type: application/json\r\n", rows[i].body, length);
        if (rows[i].error != NULL) {
            kit_assert_error(response, 400, rows[i].error);
        } else {
            kit_assert_status(response, 400);
            kit_assert_body(response, MISSING);
            kit_assert_header(response, "Content-Type", "application/json");
        }
    }
    check_nothing_happened(server, stream);
}

static void missing_fields_are_refused(void **state)
{
    check_refused(*state, missing, KIT_COUNT(missing));
}

static void wrong_types_are_refused(void **state)
{
    check_refused(*state, wrong_types, KIT_COUNT(wrong_types));
}

static void names_that_are_no_plain_text_are_refused(void **state)
{
    check_refused(*state, bad_names, KIT_COUNT(bad_names));
}

static void names_of_256_bytes_are_refused(void **state)
{
    struct kit *kit = *state;
    const char *plain = kit_repeat(kit, "k", 256), *accented = kit_repeat(kit, "\xc3\xa9", 128);
    const struct row rows[] = {
        {kit_envelope(kit, plain, "t", "1"), 0, "channel"},
        {kit_envelope(kit, accented, "t", "1"), 0, "channel"},
        {kit_envelope(kit, kit_repeat(kit, "k", 100000), "t", "1"), 0, "channel"},
        {kit_envelope(kit, "c", plain, "1"), 0, "eventType"},
        {kit_envelope(kit, "c", accented, "1"), 0, "eventType"},
    };
    check_refused(kit, rows, KIT_COUNT(rows));
}

static void what_is_no_object_is_refused(void **state)
{
    check_refused(*state, not_objects, KIT_COUNT(not_objects));
}

static void bad_json_is_refused_with_its_place(void **state)
{
    check_refused(*state, bad_json, KIT_COUNT(bad_json));
}

static void too_deep_payloads_are_refused(void **state)
{
    struct kit *kit = *state;
    const char *arrays = kit_format(kit, "%s%s", kit_repeat(kit, "[", 1001), kit_repeat(kit, "]", 1001));
    const struct row rows[] = {
        {kit_envelope(kit, "c", "t", arrays), 0, "."},
        {kit_envelope(kit, "c", "t", kit_repeat(kit, "[", 500000)), 0, "."},
        {kit_envelope(kit, "c", "t", kit_repeat(kit, "{\"a\":", 200000)), 0, "."},
        {kit_repeat(kit, "{\"payload\":", 90000), 0, "."},
    };
    check_refused(kit, rows, KIT_COUNT(rows));
}

static void no_body_is_refused(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_assert_error(kit_post_json(server, KIT_PUBLISH, ""), 400, ".");
    kit_assert_error(kit_post_json(server, KIT_PUBLISH, " \n"), 400, ".");
    kit_assert_error(kit_post_json(server, KIT_PUBLISH, NULL), 400, ".");
}

static void half_a_body_changes_nothing(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    struct kit_connection *connection = kit_connect(server);
    kit_send_text(connection, "POST " KIT_PUBLISH " HTTP/1.1\r\nHost: h\r\nContent-Length: 50\r\n\r\n"
                              "{\"channel\":\"c\",\"eventType\":\"t\",\"payload\":1}");
    kit_shutdown_sending(connection);
    const char *answer = kit_read_to_end(connection);
    if (*answer != '\0' && !kit_matches(answer, "^HTTP/1.1 4"))
        kit_fail(*state, "answered: %s", answer);
    kit_assert_history(server, "c", "[]");
}

static void a_body_that_is_too_large_changes_nothing(void **state)
{
    enum { SENT = 4 << 20 };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    const char *body = kit_envelope(kit, "c", "t", kit_format(kit, "\"%s\"", kit_repeat(kit, "x", SENT)));
    kit_assert_error(kit_post_json(server, KIT_PUBLISH, body), 413, ".");
    kit_assert_history(server, "c", "[]");
    kit_assert_get(server, "c", "g", "[]");
}

static void foreign_pages_publish_nothing(void **state)
{
    static const char *const headers[] = {"Origin: https://evil.example\r\n",
                                          "Sec-Fetch-Site: cross-site\r\n"};
    struct kit_server *server = kit_serve_events(*state);
    const char *body = kit_envelope(*state, "c", "t", "1");
    for (size_t i = 0; i < KIT_COUNT(headers); i++) {
        const struct kit_response *response =
            kit_request(server, "POST", KIT_PUBLISH, headers[i], body, strlen(body));
        kit_assert_error(response, 403, ".");
    }
    kit_assert_history(server, "c", "[]");
}

static void wrong_methods_are_refused(void **state)
{
    static const struct {
        const char *path, *methods[8], *allowed;
    } rows[] = {
        {KIT_PUBLISH, {"GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"}, "POST"},
        {KIT_SUBSCRIBE, {"GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"}, "POST"},
        {KIT_UNSUBSCRIBE, {"GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"}, "POST"},
        {KIT_LIST "?userId=1", {"POST", "PUT", "DELETE", "PATCH", "OPTIONS"}, "GET"},
        {KIT_HISTORY "?channel=c", {"POST", "PUT", "DELETE", "PATCH", "OPTIONS"}, "GET"},
        {KIT_ACTIVE_CONNECTIONS, {"POST", "PUT", "DELETE", "PATCH", "OPTIONS"}, "GET"},
        {KIT_STREAM "?userId=1&channels=c", {"HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"}, "GET"},
    };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    kit_subscribe(server, "1", "c");
    for (size_t i = 0; i < KIT_COUNT(rows); i++)
        for (size_t method = 0; rows[i].methods[method] != NULL; method++) {
            bool is_head = strcmp(rows[i].methods[method], "HEAD") == 0;
            kit_note(kit, "%s %s", rows[i].methods[method], rows[i].path);
            const struct kit_response *response =
                kit_request(server, rows[i].methods[method], rows[i].path, NULL, NULL, 0);
            kit_assert_status(response, 405);
            if (!is_head)
                kit_assert_error(response, 405, ".");
            kit_assert_header_matches(response, kit, "Allow",
                                      kit_format(kit, "(^|[ ,])%s([ ,]|$)", rows[i].allowed));
            if (strstr(kit_header(response, "Allow"), rows[i].methods[method]) != NULL)
                kit_fail(kit, "Allow names the method that was refused: %s", response->head);
        }
    assert_int_equal(kit_streams(server), 0);
}

static void head_is_like_get(void **state)
{
    static const char *const targets[] = {KIT_LIST "?userId=1", KIT_HISTORY "?channel=c",
                                          KIT_ACTIVE_CONNECTIONS};
    struct kit_server *server = kit_serve_events(*state);
    kit_subscribe(server, "1", "c");
    kit_publish(server, "c", "t", "1");
    for (size_t i = 0; i < KIT_COUNT(targets); i++) {
        kit_note(*state, "%s", targets[i]);
        const struct kit_response *head = kit_request(server, "HEAD", targets[i], NULL, NULL, 0);
        const struct kit_response *get = kit_get_path(server, targets[i]);
        kit_assert_status(head, 200);
        kit_assert_status(get, 200);
        kit_assert_header(head, "Content-Type", "application/json");
        kit_assert_header(head, "Content-Length", kit_header(get, "Content-Length"));
    }
}

static void unknown_paths_are_not_found(void **state)
{
    static const char *const paths[] = {"/api/events",          "/api/events/",         "/api/events/Publish",
                                        "/api/events/publish/", "/api/events/channels", "/api/event/publish"};
    struct kit_server *server = kit_serve_events(*state);
    for (size_t i = 0; i < KIT_COUNT(paths); i++) {
        kit_note(*state, "%s", paths[i]);
        kit_assert_error(kit_get_path(server, paths[i]), 404, ".");
        const char *body = kit_envelope(*state, "c", "t", "1");
        kit_assert_error(kit_post_json(server, paths[i], body), 404, ".");
    }
    kit_assert_history(server, "c", "[]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_engines(missing_fields_are_refused),
        kit_test_engines(wrong_types_are_refused),
        kit_test_engines(names_that_are_no_plain_text_are_refused),
        kit_test_engines(names_of_256_bytes_are_refused),
        kit_test_engines(what_is_no_object_is_refused),
        kit_test_engines(bad_json_is_refused_with_its_place),
        kit_test_engines(too_deep_payloads_are_refused),
        kit_test_engines(no_body_is_refused),
        kit_test_engines(half_a_body_changes_nothing),
        kit_test_engines(a_body_that_is_too_large_changes_nothing),
        kit_test_engines(foreign_pages_publish_nothing),
        kit_test_engines(wrong_methods_are_refused),
        kit_test_engines(head_is_like_get),
        kit_test_engines(unknown_paths_are_not_found),
    };
    return kit_run_event_tests(tests);
}
