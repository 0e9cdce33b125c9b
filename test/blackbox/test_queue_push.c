/* POST /push: ids, what is stored for which type of body, and what is refused. */
#include <stdlib.h>
#include <string.h>

#include "kit.h"

static void ids_rise_by_one_for_each_key(void **state)
{
    struct kit_server *server = kit_serve(*state);
    for (int64_t id = 1; id <= 5; id++) {
        assert_int_equal(kit_push(server, "a", "{}"), id);
        assert_int_equal(kit_push(server, "b", "{}"), id);
    }
}

static void a_refused_push_uses_no_id(void **state)
{
    struct kit_server *server = kit_serve(*state);
    assert_int_equal(kit_push(server, "a", "1"), 1);
    kit_assert_error(kit_post(server, "a", NULL, "{", 1), 400, "");
    assert_int_equal(kit_push(server, "a", "2"), 2);
    kit_assert_get(server, "a", "g", "[1,2]");
}

static void the_answer_is_exact(void **state)
{
    struct kit_server *server = kit_serve(*state);
    const struct kit_response *response = kit_post(server, "a", NULL, "{}", 2);
    kit_assert_status(response, 200);
    kit_assert_body(response, "{\"message\":\"Data pushed successfully\",\"id\":1}");
    kit_assert_header(response, "Content-Type", "application/json");
}

static void ids_survive_a_forgotten_key(void **state)
{
    struct kit_server *server = kit_serve(*state, "--ttl", "1");
    for (int i = 0; i < 3; i++)
        kit_push(server, "a", "1");
    /* Pushes to other keys go on: a server that tidies up only while it is used gets its chance. */
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
    const char *observer = "observer";
    do {
        kit_pause();
        kit_push(server, "other", "1");
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(*state, "the events of a key are still there long after their time");
        observer = kit_format(*state, "observer%lld", (long long)kit_now_ms());
    } while (strcmp(kit_get(server, "a", observer, "timeout=0")->body, "[]") != 0);
    kit_wait_until_health(server, "queue.events", 0);
    assert_true(kit_push(server, "a", "1") > 3);
}

static void bodies_are_kept_byte_for_byte(void **state)
{
    static const char *const bodies[] = {
        "{\"n\":1}",
        "\"two\"",
        "3",
        "null",
        "true",
        "false",
        "{}",
        "[]",
        "\"\"",
        " { \"a\" : [ 1 , 2 ] } ",
        "\n\t\r {\n\t\"a\":\r\n1}\n",
        "0.1000",
        "-0",
        "-0.0e-0",
        "1E400",
        "1e-400",
        "123456789012345678901234567890.123456789012345678901234567890",
        "9007199254740993",
        "18446744073709551616",
        "{\"a\":1,\"a\":2,\"\":3}",
        "\"\\u00e9\\uD83D\\uDE00\\/\\\\\\\"\\b\\f\\n\\r\\t\\u0000\"",
        "\"h\xc3\xa9llo \xe6\xbc\xa2\xe5\xad\x97 \xf0\x9f\x98\x80 \xe2\x80\xa8 \x7f\"",
        "\"\xef\xbf\xbf \xf4\x8f\xbf\xbf \xed\x9f\xbf\"",
        "{\"\xe6\xbc\xa2\":\"</script>\"}",
    };
    struct kit_server *server = kit_serve(*state);
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        kit_note(*state, "body %s", bodies[i]);
        kit_push(server, "a", bodies[i]);
        kit_assert_get(server, "a", "g", kit_format(*state, "[%s]", bodies[i]));
    }
}

static void a_body_as_large_as_allowed_is_kept(void **state)
{
    enum { LARGEST = 1048576 };
    struct kit_server *server = kit_serve(*state);
    char *body = kit_repeat(*state, "x", LARGEST);
    body[0] = body[LARGEST - 1] = '"';
    kit_push(server, "a", body);
    kit_assert_get(server, "a", "g", kit_format(*state, "[%s]", body));
    char *too_large = kit_format(*state, "%s ", body);
    kit_assert_error(kit_post(server, "a", NULL, too_large, LARGEST + 1), 413, "");
    kit_assert_get(server, "a", "g", "[]");
}

static void every_other_type_means_json(void **state)
{
    static const char *const types[] = {
        "",
        "Content-Type: application/json\r\n",
        "Content-Type: application/json; charset=utf-8\r\n",
        "content-type: application/json;charset=\"UTF-8\"\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\n", /* curl -d */
        "Content-Type: application/octet-stream\r\n",
        "Content-Type: text/html\r\n",
    };
    struct kit_server *server = kit_serve(*state);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        kit_note(*state, "header %s", types[i]);
        kit_assert_status(kit_request(server, "POST", "/push?key=a", types[i], "{\"n\":1}", 7), 200);
        kit_assert_get(server, "a", "g", "[{\"n\":1}]");
        kit_assert_error(kit_request(server, "POST", "/push?key=a", types[i], "n=1", 3), 400, "");
        kit_assert_get(server, "a", "g", "[]");
    }
}

/* Undoes JSON's escapes in place; -1 when it is no JSON string. How a text is escaped is the server's choice.
 */
static ssize_t unescape(char *text)
{
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    size_t used = 0;
    const char *next = text;
    if (*next++ != '"')
        return -1;
    while (*next != '"') {
        if ((unsigned char)*next < 0x20)
            return -1;
        if (*next != '\\') {
            text[used++] = *next++;
            continue;
        }
        next++;
        if (*next == 'u') {
            char digits[5] = "";
            memcpy(digits, next + 1, strnlen(next + 1, 4));
            text[used++] = (char)strtol(digits, NULL, 16); /* the tests escape nothing beyond ASCII */
            next += 5;
        } else {
            const char *letter = *next == '\0' ? NULL : strchr(letters, *next);
            if (letter == NULL)
                return -1;
            text[used++] = meanings[letter - letters];
            next++;
        }
    }
    return next[1] == '\0' ? (ssize_t)used : -1;
}

static void check_text(struct kit_server *server, const char *type, const char *text, size_t length)
{
    struct kit *kit = kit_of(server);
    kit_note(kit, "text \"%s\" as %s", text, type);
    kit_assert_status(kit_post(server, "a", type, text, length), 200);
    const struct kit_response *response = kit_get(server, "a", "g", "timeout=0");
    kit_assert_body_matches(response, "^\\[\".*\"\\]$");
    char *string = kit_format(kit, "%s", response->body + 1);
    string[strlen(string) - 1] = '\0';
    assert_int_equal(unescape(string), length);
    assert_memory_equal(string, text, length);
}

static void plain_text_becomes_a_string(void **state)
{
    static const char *const texts[] = {
        "hello",
        "12",
        "{\"n\":1}",
        " ",
        "\n",
        "a \"quoted\" \\ back/slash",
        "tab\tline\r\nfeed\fback\bbell\x07 escape\x1b delete\x7f",
        "h\xc3\xa9llo \xe6\xbc\xa2 \xf0\x9f\x98\x80",
    };
    struct kit_server *server = kit_serve(*state);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        check_text(server, "text/plain", texts[i], strlen(texts[i]));
    check_text(server, "text/plain", "a\0b", 3);
    check_text(server, "TEXT/Plain; Charset=UTF-8", "x", 1);
    check_text(server, "text/plain;charset=utf-8", "x", 1);
}

static void plain_text_must_be_utf8(void **state)
{
    struct kit_server *server = kit_serve(*state);
    kit_assert_error(kit_post(server, "a", "text/plain", "caf\xe9", 4), 400, "");
    kit_assert_error(kit_post(server, "a", "text/plain; charset=iso-8859-1", "cafe", 4), 415, "");
    kit_assert_error(kit_post(server, "a", "application/json; charset=latin1", "1", 1), 415, "");
    kit_assert_error(
        kit_request(server, "POST", "/push?key=a", "Content-Encoding: gzip\r\n", "\x1f\x8b\x08", 3), 415, "");
    kit_assert_get(server, "a", "g", "[]");
}

static void no_body_is_refused(void **state)
{
    struct kit_server *server = kit_serve(*state);
    kit_assert_error(kit_request(server, "POST", "/push?key=a", NULL, NULL, 0), 400, "");
    kit_assert_error(kit_request(server, "POST", "/push?key=a", NULL, "", 0), 400, "");
    kit_assert_error(kit_post(server, "a", "text/plain", "", 0), 400, "");
    kit_assert_error(kit_post(server, "a", "application/x-ndjson", "", 0), 400, "");
    struct kit_connection *connection = kit_connect(server);
    kit_send_text(connection, "POST /push?key=a HTTP/1.1\r\nHost: localhost\r\n"
                              "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
    kit_assert_error(kit_receive(connection), 400, "");
    kit_assert_get(server, "a", "g", "[]");
}

static void a_chunked_body_is_joined(void **state)
{
    struct kit_server *server = kit_serve(*state);
    struct kit_connection *connection = kit_connect(server);
    kit_send_text(connection, "POST /push?key=a HTTP/1.1\r\nHost: localhost\r\n"
                              "Transfer-Encoding: chunked\r\n\r\n3\r\n{\"n\r\n4\r\n\":1}\r\n0\r\n\r\n");
    kit_assert_status(kit_receive(connection), 200);
    kit_assert_get(server, "a", "g", "[{\"n\":1}]");
}

static void an_unfinished_push_stores_nothing(void **state)
{
    struct kit_server *server = kit_serve(*state);
    struct kit_connection *connection = kit_connect(server);
    /* The bytes that are there are valid JSON by themselves. */
    kit_send_text(connection, "POST /push?key=a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n12");
    kit_shutdown_sending(connection);
    kit_read_to_end(connection);
    kit_assert_get(server, "a", "g", "[]");
}

static void only_post_pushes(void **state)
{
    static const char *const methods[] = {"GET", "HEAD", "PUT", "DELETE", "PATCH"};
    struct kit_server *server = kit_serve(*state);
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        kit_note(*state, "method %s", methods[i]);
        const struct kit_response *response = kit_request(server, methods[i], "/push?key=a", NULL, NULL, 0);
        kit_assert_status(response, 405);
        kit_assert_header(response, "Allow", "");
        assert_true(kit_matches(kit_header(response, "Allow"), "(^|[, ])POST([, ]|$)"));
    }
    kit_assert_get(server, "a", "g", "[]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(ids_rise_by_one_for_each_key),
        kit_test(a_refused_push_uses_no_id),
        kit_test(the_answer_is_exact),
        kit_test(ids_survive_a_forgotten_key),
        kit_test(bodies_are_kept_byte_for_byte),
        kit_test(a_body_as_large_as_allowed_is_kept),
        kit_test(every_other_type_means_json),
        kit_test(plain_text_becomes_a_string),
        kit_test(plain_text_must_be_utf8),
        kit_test(no_body_is_refused),
        kit_test(a_chunked_body_is_joined),
        kit_test(an_unfinished_push_stores_nothing),
        kit_test(only_post_pushes),
    };
    return kit_run_tests(tests);
}
