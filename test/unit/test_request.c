/* Proves that a head is read in the one way that RFC 9112 allows, and refused with the right status when it could be read
 * in two. */
#include "net/request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
/* A literal with NULs in it. */
#define WHOLE(literal) literal, sizeof(literal) - 1
#define GET(headers)   "GET / HTTP/1.1\r\nHost: h\r\n" headers "\r\n"
#define POST(headers)  "POST / HTTP/1.1\r\nHost: h\r\n" headers "\r\n"

struct parsed {
    struct request request;
    struct refusal refusal;
    char *copy; /* of the head, to be freed */
};

/* Parses a copy that ends where the head ends. */
static int parse(struct parsed *parsed, const char *head, size_t length)
{
    parsed->copy = malloc(length + 1);
    assert_non_null(parsed->copy);
    memcpy(parsed->copy + 1, head, length);
    memset(&parsed->request, 0x5a, sizeof parsed->request); /* what is not filled shows */
    parsed->refusal = (struct refusal){0};
    return request_parse_head(&parsed->request, (struct text){parsed->copy + 1, length}, &parsed->refusal);
}

/* The status that a head is refused with, 0 when it is taken. */
static unsigned status_of(const char *head, size_t length)
{
    struct parsed parsed;
    int result = parse(&parsed, head, length == 0 ? strlen(head) : length);
    free(parsed.copy);
    if (result == 0)
        return 0;
    assert_int_equal(result, -1);
    assert_non_null(parsed.refusal.reason);
    assert_true(parsed.refusal.reason[0] != '\0');
    assert_in_range(parsed.refusal.status, 400, 599);
    return parsed.refusal.status;
}

struct row {
    const char *name, *head;
    size_t length; /* 0: strlen(head) */
    unsigned status;
};

static void check_all(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        unsigned status = status_of(rows[i].head, rows[i].length);
        if (status != rows[i].status)
            fail_msg("%s: %u instead of %u", rows[i].name, status, rows[i].status);
    }
}

/* The status of a POST with one header made of `format` and `value`. */
static unsigned status_with(const char *format, const char *value)
{
    char header[128], head[256];
    snprintf(header, sizeof header, format, value);
    snprintf(head, sizeof head, "POST / HTTP/1.1\r\nHost: h\r\n%s\r\n", header);
    return status_of(head, 0);
}

static void refuse_all(const char *const *headers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (status_with("%s", headers[i]) != 400)
            fail_msg("row %zu: %u\n%s", i, status_with("%s", headers[i]), headers[i]);
}

/* ---- what is read ---- */

static void assert_text(struct text text, const char *wanted)
{
    if (text.length != strlen(wanted) || memcmp(text.bytes, wanted, text.length) != 0)
        fail_msg("\"%.*s\" instead of \"%s\"", (int)text.length, text.bytes, wanted);
}

static void all_fields_are_filled(void **state)
{
    (void)state;
    static const char head[] =
        "POST /a%20b?c=d&e HTTP/1.1\r\nHost: example.org:80\r\n"
        "access-control-request-method: PUT\r\nAUTHORIZATION: Bearer t\r\n"
        "Content-Encoding: \t identity \t\r\nContent-Length: 42\r\nContent-Type:text/plain\r\n"
        "Expect: 100-continue\r\nOrigin: http://o\r\nSec-Fetch-Site: none\r\nlast-event-id: 7 \r\n\r\n";
    struct parsed parsed;
    assert_int_equal(parse(&parsed, head, sizeof head - 1), 0);
    assert_int_equal(parsed.request.method, METHOD_POST);
    assert_int_equal(parsed.request.minor_version, 1);
    assert_true(parsed.request.keep_alive);
    assert_text(parsed.request.path, "/a%20b");
    assert_text(parsed.request.query, "c=d&e");
    assert_int_equal(parsed.request.framing, FRAMING_LENGTH);
    assert_true(parsed.request.content_length == 42);
    static const char *const wanted[HEADER_COUNT] = {
        [HEADER_ACCESS_CONTROL_REQUEST_METHOD] = "PUT",
        [HEADER_AUTHORIZATION] = "Bearer t",
        [HEADER_CONTENT_ENCODING] = "identity",
        [HEADER_CONTENT_LENGTH] = "42",
        [HEADER_CONTENT_TYPE] = "text/plain",
        [HEADER_EXPECT] = "100-continue",
        [HEADER_HOST] = "example.org:80",
        [HEADER_LAST_EVENT_ID] = "7",
        [HEADER_ORIGIN] = "http://o",
        [HEADER_SEC_FETCH_SITE] = "none",
    };
    for (enum header header = 0; header < HEADER_COUNT; header++) {
        assert_int_equal(request_has_header(&parsed.request, header), wanted[header] != NULL);
        if (wanted[header] != NULL)
            assert_text(parsed.request.headers[header], wanted[header]);
        else
            assert_null(parsed.request.headers[header].bytes);
    }
    free(parsed.copy);
}

static void absent_fields_are_empty(void **state)
{
    (void)state;
    static const char head[] = "GET / HTTP/1.0\r\n\r\n";
    struct parsed parsed;
    assert_int_equal(parse(&parsed, head, sizeof head - 1), 0);
    assert_int_equal(parsed.request.minor_version, 0);
    assert_false(parsed.request.keep_alive);
    assert_text(parsed.request.path, "/");
    assert_int_equal(parsed.request.query.length, 0);
    assert_int_equal(parsed.request.framing, FRAMING_NONE);
    assert_true(parsed.request.content_length == 0);
    for (enum header header = 0; header < HEADER_COUNT; header++)
        assert_false(request_has_header(&parsed.request, header));
    free(parsed.copy);
}

static void headers_may_be_empty_or_repeated(void **state)
{
    (void)state;
    static const char head[] =
        GET("Origin:\r\nX-Last-Event-ID: a\r\nLast-Event-ID: one\r\nlast-event-id: two\r\n"
            "Authorization: \r\nExpectation: none\r\n");
    struct parsed parsed;
    assert_int_equal(parse(&parsed, head, sizeof head - 1), 0);
    assert_text(parsed.request.headers[HEADER_LAST_EVENT_ID], "one");
    assert_true(request_has_header(&parsed.request, HEADER_ORIGIN));
    assert_int_equal(parsed.request.headers[HEADER_ORIGIN].length, 0);
    assert_true(request_has_header(&parsed.request, HEADER_AUTHORIZATION));
    assert_int_equal(parsed.request.headers[HEADER_AUTHORIZATION].length, 0);
    assert_false(request_has_header(&parsed.request, HEADER_EXPECT));
    free(parsed.copy);
}

/* Those that decide who is let in, or how a body is read. */
static void fields_that_decide_may_not_be_repeated(void **state)
{
    (void)state;
    static const char *const names[] = {"Authorization", "Origin", "Sec-Fetch-Site", "Content-Type",
                                        "Content-Encoding"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char head[200];
        struct parsed parsed;
        snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: h\r\n%s: one\r\nX: y\r\n%s: one\r\n\r\n",
                 names[i], names[i]);
        assert_int_equal(parse(&parsed, head, strlen(head)), -1);
        assert_int_equal(parsed.refusal.status, 400);
        assert_non_null(strstr(parsed.refusal.reason, names[i]));
        free(parsed.copy);
    }
}

static void methods_are_known_or_not_implemented(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum request_method method;
    } known[] = {{"GET", METHOD_GET},        {"HEAD", METHOD_HEAD},     {"POST", METHOD_POST},
                 {"PUT", METHOD_PUT},        {"DELETE", METHOD_DELETE}, {"PATCH", METHOD_PATCH},
                 {"OPTIONS", METHOD_OPTIONS}};
    for (size_t i = 0; i < COUNT(known); i++) {
        char head[64];
        struct parsed parsed;
        int length = snprintf(head, sizeof head, "%s / HTTP/1.1\r\nHost: h\r\n\r\n", known[i].name);
        assert_int_equal(parse(&parsed, head, (size_t)length), 0);
        assert_int_equal(parsed.request.method, known[i].method);
        assert_string_equal(request_method_name(parsed.request.method), known[i].name);
        free(parsed.copy);
    }
    static const char *const unknown[] = {"TRACE",     "CONNECT", "PROPFIND", "M-SEARCH",
                                          "SUBSCRIBE", "LINK",    "FOO",      "get"};
    for (size_t i = 0; i < COUNT(unknown); i++) {
        char head[64];
        snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: h\r\n\r\n", unknown[i], i == 1 ? "h:443" : "/");
        assert_int_equal(status_of(head, 0), 501);
    }
    /* Where the request ends is asked first. */
    static const struct row rows[] = {
        {"two framings",
         "FOO / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 0, 400},
        {"a bad length", "FOO / HTTP/1.1\r\nHost: h\r\nContent-Length: 0x1\r\n\r\n", 0, 400},
        {"no Host", "CONNECT h:443 HTTP/1.1\r\n\r\n", 0, 400},
        {"a target that no other method has", "FOO ?? HTTP/1.1\r\nHost: h\r\n\r\n", 0, 501},
    };
    check_all(rows, COUNT(rows));
}

static void connections_last_as_the_version_says(void **state)
{
    (void)state;
    static const struct {
        const char *head;
        bool keep_alive;
    } rows[] = {
        {GET(""), true},
        {GET("Connection: keep-alive\r\n"), true},
        {GET("Connection: close\r\n"), false},
        {GET("CONNECTION: CLOSE\r\n"), false},
        {GET("Connection: x-hop, close\r\n"), false},
        {GET("Connection: closed\r\n"), true},
        {GET("X-Connection: close\r\n"), true},
        {GET("Proxy-Connection: close\r\n"), true},
        {GET("Connection: close x\r\n"), true},
        {GET("Connection:\r\n"), true},
        {GET("Connection: keep-alive\r\nConnection: ,\tClose ,\r\n"), false},
        {POST("Content-Length: 1\r\n"), true},
        {POST("Transfer-Encoding: chunked\r\n"), true},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true},
        {"GET / HTTP/1.0\r\nconnection: Keep-Alive\r\n\r\n", true},
        {"GET / HTTP/1.0\r\nConnection: close\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: close, keep-alive\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: x, keep-alive\r\n\r\n", true},
        {"GET / HTTP/1.0\r\nProxy-Connection: keep-alive\r\n\r\n", false},
        {"GET / HTTP/1.2\r\nHost: h\r\n\r\n", true},
        {"POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\n", false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct parsed parsed;
        assert_int_equal(parse(&parsed, rows[i].head, strlen(rows[i].head)), 0);
        if (parsed.request.keep_alive != rows[i].keep_alive)
            fail_msg("row %zu: %d", i, parsed.request.keep_alive);
        free(parsed.copy);
    }
}

/* ---- what is refused ---- */

static void header_lines_in_two_readings_are_refused(void **state)
{
    (void)state;
    static const char *const headers[] = {
        "X-Name : y\r\n", "X-Name\t: y\r\n", "X Name: y\r\n",  "X: y\r\n z\r\n", "X: y\r\n\tz\r\n",
        " X: y\r\n",      "\tX: y\r\n",      ": y\r\n",        "X-Name\r\n",     "X\xc3\xa4: y\r\n",
        "X(Name): y\r\n", "X\"Y: z\r\n",     "X/Y: z\r\n",     "X@Y: z\r\n",     "X[Y]: z\r\n",
        "{X}: z\r\n",     "X: y\x01\r\n",    "X: \x7f\r\n",    "X: y\bz\r\n",    "X: \x1b[0m\r\n",
        "X: y\v\r\n",     "X: y\f\r\n",      "X: y\rZ: w\r\n", "X: y\r\r\n",     "X:\r y\r\n",
        "\rX: y\r\n",     "X\r: y\r\n",      "Host : h\r\n"};
    static const char *const folded[] = {
        "Content-Length:\r\n 5\r\n", "Content-Length : 5\r\n", "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n", "X: y\rTransfer-Encoding: chunked\r\n"};
    refuse_all(headers, COUNT(headers));
    refuse_all(folded, COUNT(folded));
    assert_int_equal(status_of("GET / HTTP/1.1\r\n Host: h\r\nHost: h\r\n\r\n", 0), 400);
    static const struct row nuls[] = {
        {"NUL in a name", WHOLE(GET("X\0Y: z\r\n")), 400},
        {"NUL in a value", WHOLE(GET("X: y\0z\r\n")), 400},
        {"NUL in the target", WHOLE("GET /\0x HTTP/1.1\r\nHost: h\r\n\r\n"), 400},
        {"NUL in a length", WHOLE(POST("Content-Length: 5\0\r\n")), 400},
        {"NUL in Host", WHOLE("GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n"), 400},
    };
    check_all(nuls, COUNT(nuls));
}

static void request_lines_have_three_parts(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"no target", "GET HTTP/1.1\r\nHost: h\r\n\r\n", 0, 400},
        {"two spaces", "GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 0, 400},
        {"a word too many", "GET / x HTTP/1.1\r\nHost: h\r\n\r\n", 0, 400},
        {"a space behind", "GET / HTTP/1.1 \r\nHost: h\r\n\r\n", 0, 400},
        {"a space first", " GET / HTTP/1.1\r\nHost: h\r\n\r\n", 0, 400},
        {"tabs", "GET\t/\tHTTP/1.1\r\nHost: h\r\n\r\n", 0, 400},
        {"control character in the target", "GET /\x01 HTTP/1.1\r\nHost: h\r\n\r\n", 0, 400},
        {"DEL in the target", "GET /\x7f HTTP/1.1\r\nHost: h\r\n\r\n", 0, 400},
        {"bytes above 127 in the target", "GET /\xc3\xa4 HTTP/1.1\r\nHost: h\r\n\r\n", 0, 400},
        {"fragment in the target", "GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", 0, 400},
        {"absolute form with a user", "GET http://u@h/a HTTP/1.1\r\nHost: h\r\n\r\n", 0, 400},
        {"tab in the target", "GET /a\tb HTTP/1.1\r\nHost: h\r\n\r\n", 0, 400},
        {"no slash", "GET healthz HTTP/1.1\r\nHost: h\r\n\r\n", 0, 400},
        {"absolute form without a host", "GET http:///a HTTP/1.1\r\nHost: h\r\n\r\n", 0, 400},
        {"method and space", "GET \r\nHost: h\r\n\r\n", 0, 400},
        {"a header for a line", "Host: h\r\n\r\n", 0, 400},
    };
    check_all(rows, COUNT(rows));
}

static void versions_but_1_are_refused(void **state)
{
    (void)state;
    static const char *const versions[] = {
        " HTTP/2.0",  " HTTP/0.9",  " HTTP/1",    " HTTP/1.",  " HTTP/1.10", " HTTP/11.1",
        " HTTP/01.1", " http/1.1",  " HTTPS/1.1", " HTTP/1,1", " HTTP/1.1.", " HTTP/1.x",
        " HTTP /1.1", " HTTP/ 1.1", " HTTP",      " /1.1",     " ICE/1.0",   ""};
    for (size_t i = 0; i < COUNT(versions); i++) {
        char head[64];
        snprintf(head, sizeof head, "GET /%s\r\nHost: h\r\n\r\n", versions[i]);
        unsigned status = status_of(head, 0);
        if (status != 400 && status != 505)
            fail_msg("\"%s\": %u", versions[i], status);
    }
}

static void host_is_named_once(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"no headers", "GET / HTTP/1.1\r\n\r\n", 0, 400},
        {"none", "GET / HTTP/1.1\r\nX: y\r\n\r\n", 0, 400},
        {"two that differ", GET("Host: b\r\n"), 0, 400},
        {"two that agree", GET("host: h\r\n"), 0, 400},
        {"absolute form without Host", "GET http://h/ HTTP/1.1\r\n\r\n", 0, 400},
        {"two in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 0, 400},
        {"one in HTTP/1.0", "GET / HTTP/1.0\r\nHost: h\r\n\r\n", 0, 0},
        {"other letters", "GET / HTTP/1.1\r\nhOST:h\r\n\r\n", 0, 0},
        {"IPv6", "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 0, 0},
    };
    check_all(rows, COUNT(rows));
}

/* Odd, but one reading only. */
static void unusual_but_clear_headers_are_taken(void **state)
{
    (void)state;
    static const char *const headers[] = {
        "X:y\r\n",          "X:\t y \t\r\n",           "X:\r\n",
        "X: a:b::c\r\n",    "X: \xc3\xa4\xff\x80\r\n", "!#$%&'*+-.^_`|~9: y\r\n",
        "X: 1\r\nX: 2\r\n", "X: \"a\\\"b\", (c)\r\n",  "X: a\tb\r\n",
        "Upgrade: h2c\r\n", "Connection: Upgrade\r\n"};
    for (size_t i = 0; i < COUNT(headers); i++)
        if (status_with("%s", headers[i]) != 0)
            fail_msg("%s: %u", headers[i], status_with("%s", headers[i]));
}

static void token_bytes_are_those_of_rfc_9110(void **state)
{
    (void)state;
    static const char token[] =
        "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    for (int byte = 0; byte < 256; byte++)
        if (request_is_token_byte((char)byte) != (byte != 0 && strchr(token, byte) != NULL))
            fail_msg("0x%02x", (unsigned)byte);
}

/* Every byte in every place within the lines of a good head: no control character is ever taken. */
static void no_byte_confuses_the_reader(void **state)
{
    (void)state;
    static const char head[] = "POST http://h/a?b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nX: y\r\n\r\n";
    for (size_t at = 0; at < sizeof head - 1; at++)
        for (int byte = 0; byte < 256 && head[at] != '\r' && head[at] != '\n'; byte++) {
            if (byte == '\n')
                continue; /* the caller splits the lines */
            char changed[sizeof head];
            memcpy(changed, head, sizeof head);
            changed[at] = (char)byte;
            unsigned status = status_of(changed, sizeof head - 1);
            bool control = (byte < 0x20 && byte != '\t') || byte == 0x7f;
            if (control && status == 0)
                fail_msg("0x%02x at %zu is taken", (unsigned)byte, at);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_fields_are_filled),
        cmocka_unit_test(absent_fields_are_empty),
        cmocka_unit_test(headers_may_be_empty_or_repeated),
        cmocka_unit_test(fields_that_decide_may_not_be_repeated),
        cmocka_unit_test(methods_are_known_or_not_implemented),
        cmocka_unit_test(connections_last_as_the_version_says),
        cmocka_unit_test(header_lines_in_two_readings_are_refused),
        cmocka_unit_test(request_lines_have_three_parts),
        cmocka_unit_test(versions_but_1_are_refused),
        cmocka_unit_test(host_is_named_once),
        cmocka_unit_test(unusual_but_clear_headers_are_taken),
        cmocka_unit_test(token_bytes_are_those_of_rfc_9110),
        cmocka_unit_test(no_byte_confuses_the_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
