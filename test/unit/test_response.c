/*
 * Proves what stands in the head of an answer, byte by byte, for both versions of HTTP, and what errors look
 * like.
 */
#include "base/json.h"
#include "net/limits.h"
#include "net/response.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define NOW          784111777 /* Sun, 06 Nov 1994 08:49:37 GMT */

struct fixture {
    struct buffer body, headers, head;
    struct response response;
};

static int setup(void **state)
{
    static struct fixture fixture;
    fixture = (struct fixture){.response = {.body = &fixture.body, .headers = &fixture.headers}};
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    buffer_free(&fixture->body);
    buffer_free(&fixture->headers);
    buffer_free(&fixture->head);
    return 0;
}

static void assert_holds(const struct buffer *buffer, const char *wanted)
{
    assert_false(buffer->failed);
    if (buffer->length != strlen(wanted) || memcmp(buffer->bytes, wanted, buffer->length) != 0)
        fail_msg("\"%.*s\" instead of \"%s\"", (int)buffer->length, buffer->bytes, wanted);
}

/* The head as a string, without its first line. */
static const char *head_of(struct fixture *fixture, uint64_t length, unsigned minor_version, bool keep_alive)
{
    buffer_clear(&fixture->head);
    response_write_head(&fixture->response, length, NOW, minor_version, keep_alive, TEXT("Server: s\r\n"),
                        &fixture->head);
    buffer_append(&fixture->head, "", 1);
    assert_false(fixture->head.failed);
    const char *head = fixture->head.bytes;
    assert_int_equal(strlen(head), fixture->head.length - 1);
    /* One empty line, at the end. */
    assert_ptr_equal(strstr(head, "\r\n\r\n"), head + strlen(head) - 4);
    return strstr(head, "\r\n") + 2;
}

/* How often a line stands in a head. */
static size_t count_of(const char *head, const char *line)
{
    size_t count = 0;
    char whole[256];
    int length = snprintf(whole, sizeof whole, "%s\r\n", line);
    assert_in_range(length, 0, sizeof whole - 1);
    for (const char *at = head; at != NULL && *at != '\0'; at = strstr(at, "\r\n") + 2)
        count += strncmp(at, whole, (size_t)length) == 0;
    return count;
}

/* How many lines have this name, in any case. */
static size_t count_named(const char *head, const char *name)
{
    size_t count = 0, length = strlen(name);
    for (const char *at = head; at != NULL && *at != '\0'; at = strstr(at, "\r\n") + 2)
        count += strncasecmp(at, name, length) == 0 && at[length] == ':';
    return count;
}

static void json_answers_say_so(void **state)
{
    struct fixture *fixture = *state;
    response_json(&fixture->response, 201);
    assert_int_equal(fixture->response.status, 201);
    assert_int_equal(fixture->response.kind, RESPONSE_ANSWER);
    assert_int_equal(fixture->body.length, 0);
    const char *head = head_of(fixture, 12, 1, true);
    assert_int_equal(count_of(head, "Content-Type: application/json"), 1);
    assert_int_equal(count_of(head, "Content-Length: 12"), 1);
}

static void head_has_all_lines_once(void **state)
{
    struct fixture *fixture = *state;
    fixture->response.status = 200;
    fixture->response.content_type = "text/plain";
    response_header(&fixture->response, "X-One", TEXT("1, 2"));
    response_header(&fixture->response, "X-Two", TEXT(""));
    assert_holds(&fixture->headers, "X-One: 1, 2\r\nX-Two: \r\n");
    const char *head = head_of(fixture, 5, 1, true);
    static const char *const lines[] = {"Date: Sun, 06 Nov 1994 08:49:37 GMT",
                                        "Content-Type: text/plain",
                                        "Content-Length: 5",
                                        "Server: s",
                                        "X-One: 1, 2",
                                        "X-Two: "};
    for (size_t i = 0; i < COUNT(lines); i++)
        assert_int_equal(count_of(head, lines[i]), 1);
    static const char *const names[] = {"Date", "Content-Type", "Content-Length", "Server"};
    for (size_t i = 0; i < COUNT(names); i++)
        assert_int_equal(count_named(head, names[i]), 1);
    assert_int_equal(count_named(head, "Transfer-Encoding"), 0);
}

static void head_is_appended(void **state)
{
    struct fixture *fixture = *state;
    fixture->response.status = 200;
    buffer_append_text(&fixture->head, "before");
    response_write_head(&fixture->response, 0, NOW, 1, true, (struct text){0}, &fixture->head);
    assert_memory_equal(fixture->head.bytes, "beforeHTTP/1.1 200 OK\r\n", 23);
    assert_memory_equal(fixture->head.bytes + fixture->head.length - 4, "\r\n\r\n", 4);
}

static void status_lines_have_number_and_phrase(void **state)
{
    struct fixture *fixture = *state;
    static const char *const wanted[] = {"200 OK",
                                         "201 Created",
                                         "202 Accepted",
                                         "400 Bad Request",
                                         "401 Unauthorized",
                                         "403 Forbidden",
                                         "404 Not Found",
                                         "405 Method Not Allowed",
                                         "408 Request Timeout",
                                         "409 Conflict",
                                         "413 Content Too Large",
                                         "414 URI Too Long",
                                         "415 Unsupported Media Type",
                                         "431 Request Header Fields Too Large",
                                         "500 Internal Server Error",
                                         "501 Not Implemented",
                                         "502 Bad Gateway",
                                         "503 Service Unavailable",
                                         "505 HTTP Version Not Supported"};
    for (size_t i = 0; i < COUNT(wanted); i++) {
        char line[64];
        int length = snprintf(line, sizeof line, "HTTP/1.1 %s\r\n", wanted[i]);
        assert_int_equal(sscanf(wanted[i], "%u", &fixture->response.status), 1);
        for (unsigned minor_version = 0; minor_version < 2; minor_version++) {
            head_of(fixture, 0, minor_version, true);
            assert_memory_equal(fixture->head.bytes, line, (size_t)length);
        }
    }
    /* A number that nobody has a phrase for has one all the same: three digits and a space are due. */
    fixture->response.status = 299;
    head_of(fixture, 0, 1, true);
    assert_memory_equal(fixture->head.bytes, "HTTP/1.1 299 ", 13);
}

static void lengths_are_written_in_full(void **state)
{
    struct fixture *fixture = *state;
    static const struct {
        uint64_t length;
        const char *line;
    } rows[] = {
        {0, "Content-Length: 0"},
        {9, "Content-Length: 9"},
        {10, "Content-Length: 10"},
        {UINT64_C(4294967296), "Content-Length: 4294967296"},
        {UINT64_MAX, "Content-Length: 18446744073709551615"},
    };
    fixture->response.status = 200;
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_int_equal(count_of(head_of(fixture, rows[i].length, 1, true), rows[i].line), 1);
}

/* An answer without content has no type, and HTTP/1.1 allows no length beside 204. */
static void empty_answers_have_no_type(void **state)
{
    struct fixture *fixture = *state;
    fixture->response.status = 202;
    const char *head = head_of(fixture, 0, 1, true);
    assert_int_equal(count_named(head, "Content-Type"), 0);
    assert_int_equal(count_of(head, "Content-Length: 0"), 1);
    fixture->response.status = 204;
    assert_int_equal(count_named(head_of(fixture, 0, 1, true), "Content-Length"), 0);
}

static void connections_are_kept_or_closed_as_said(void **state)
{
    struct fixture *fixture = *state;
    fixture->response.status = 200;
    assert_int_equal(count_of(head_of(fixture, 1, 1, true), "Connection: close"), 0);
    assert_int_equal(count_of(head_of(fixture, 1, 1, false), "Connection: close"), 1);
    assert_int_equal(count_named(head_of(fixture, 1, 1, false), "Connection"), 1);
    /* A client of HTTP/1.0 must be told that it may go on. */
    assert_int_equal(count_of(head_of(fixture, 1, 0, true), "Connection: keep-alive"), 1);
    assert_int_equal(count_of(head_of(fixture, 1, 0, true), "Connection: close"), 0);
    assert_int_equal(count_of(head_of(fixture, 1, 0, false), "Connection: keep-alive"), 0);
}

static void head_of_a_head_is_that_of_a_get(void **state)
{
    struct fixture *fixture = *state;
    struct buffer get = BUFFER_EMPTY;
    response_json(&fixture->response, 200);
    head_of(fixture, 11, 1, true);
    buffer_append(&get, fixture->head.bytes, fixture->head.length);
    fixture->response.without_body = true;
    head_of(fixture, 11, 1, true);
    assert_int_equal(fixture->head.length, get.length);
    assert_memory_equal(fixture->head.bytes, get.bytes, get.length);
    buffer_free(&get);
}

/* ---- errors ---- */

static void errors_replace_what_there_was(void **state)
{
    struct fixture *fixture = *state;
    fixture->response.content_type = "text/plain";
    buffer_append_text(&fixture->body, "half an answ");
    response_error(&fixture->response, 400, "bad %s at %d", "thing", 7);
    assert_int_equal(fixture->response.status, 400);
    assert_holds(&fixture->body, "{\"error\":\"bad thing at 7\"}");
    const char *head = head_of(fixture, fixture->body.length, 1, true);
    assert_int_equal(count_of(head, "Content-Type: application/json"), 1);
    assert_int_equal(count_named(head, "WWW-Authenticate"), 0);
    assert_int_equal(count_named(head, "Retry-After"), 0);
}

static void errors_are_escaped(void **state)
{
    struct fixture *fixture = *state;
    response_error(&fixture->response, 400, "%s", "a \"b\" \\ \xc3\xa4");
    assert_holds(&fixture->body, "{\"error\":\"a \\\"b\\\" \\\\ \xc3\xa4\"}");
    struct json_error error;
    response_error(&fixture->response, 400, "line\nbreak\x01%%");
    assert_int_equal(json_check((struct text){fixture->body.bytes, fixture->body.length}, 2, &error),
                     JSON_VALID);
    assert_null(memchr(fixture->body.bytes, '\n', fixture->body.length));
}

/* A message may quote a stranger's long name, and must stay JSON wherever it is cut. */
static void long_errors_are_json_too(void **state)
{
    struct fixture *fixture = *state;
    static const char euro[] = "\xe2\x82\xac";
    for (size_t before = 0; before < 4; before++) {
        char message[1200] = "xxx";
        size_t length = before;
        for (; length + 4 < sizeof message; length += 3)
            memcpy(message + length, euro, 3);
        message[length] = '\0';
        response_error(&fixture->response, 400, "%s", message);
        struct json_error error;
        if (json_check((struct text){fixture->body.bytes, fixture->body.length}, 2, &error) != JSON_VALID)
            fail_msg("%zu letters first: %s at %zu", before, error.reason, error.column);
    }
}

static void unauthorized_names_the_scheme(void **state)
{
    struct fixture *fixture = *state;
    response_error(&fixture->response, 401, "no");
    const char *head = head_of(fixture, 1, 1, true);
    assert_int_equal(count_of(head, "WWW-Authenticate: Bearer"), 1);
    assert_int_equal(count_named(head, "WWW-Authenticate"), 1);
    assert_int_equal(count_named(head, "Retry-After"), 0);
}

static void unavailable_says_when_to_come_again(void **state)
{
    struct fixture *fixture = *state;
    char line[64];
    snprintf(line, sizeof line, "Retry-After: %d", HTTP_RETRY_AFTER_SECONDS);
    response_error(&fixture->response, 503, "full");
    const char *head = head_of(fixture, 1, 1, true);
    assert_int_equal(count_of(head, line), 1);
    assert_int_equal(count_named(head, "Retry-After"), 1);
    assert_int_equal(count_named(head, "WWW-Authenticate"), 0);
}

static int fill_nothing(void *source_state, struct iovec *vectors, int count)
{
    (void)source_state;
    (void)vectors;
    (void)count;
    return 0;
}

static void advance_nothing(void *source_state, size_t length)
{
    (void)source_state;
    (void)length;
}

struct closings {
    int whole, not_whole;
};

static void count_closing(void *source_state, bool whole)
{
    struct closings *closings = source_state;
    *(whole ? &closings->whole : &closings->not_whole) += 1;
}

/* A source is closed once, also when an error takes its place. */
static void dropped_source_is_closed(void **state)
{
    static const struct body_source_operations operations = {
        .fill = fill_nothing, .advance = advance_nothing, .close = count_closing};
    struct fixture *fixture = *state;
    struct closings closings = {0};
    fixture->response.source =
        (struct body_source){.operations = &operations, .state = &closings, .length = 9};
    response_error(&fixture->response, 500, "no");
    assert_null(fixture->response.source.operations);
    assert_int_equal(closings.whole, 0);
    assert_int_equal(closings.not_whole, 1);
}

#define response_test(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        response_test(json_answers_say_so),
        response_test(head_has_all_lines_once),
        response_test(head_is_appended),
        response_test(status_lines_have_number_and_phrase),
        response_test(lengths_are_written_in_full),
        response_test(empty_answers_have_no_type),
        response_test(connections_are_kept_or_closed_as_said),
        response_test(head_of_a_head_is_that_of_a_get),
        response_test(errors_replace_what_there_was),
        response_test(errors_are_escaped),
        response_test(long_errors_are_json_too),
        response_test(unauthorized_names_the_scheme),
        response_test(unavailable_says_when_to_come_again),
        response_test(dropped_source_is_closed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
