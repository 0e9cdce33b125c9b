/* POST /api/events/publish: what is taken, and that it is kept exactly for history and streams. */
#include <stdio.h>
#include <string.h>

#include "kit_events.h"
#include "kit_http.h"
#include "kit_sse.h"

#define MEBIBYTE 1048576

static void an_event_is_accepted_and_stored(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    const struct kit_response *response = kit_post_json(
        server, KIT_PUBLISH, "{\"channel\":\"c\",\"eventType\":\"created\",\"payload\":{\"n\":1}}");
    kit_assert_status(response, 202);
    kit_assert_body(response, "");
    const struct kit_history *history = kit_history(server, "c", NULL);
    assert_int_equal(history->count, 1);
    assert_string_equal(history->events[0].channel, "c");
    assert_string_equal(history->events[0].type, "created");
    assert_string_equal(history->events[0].payload, "{\"n\":1}");
}

/* Each without white space, so that it must come back byte for byte. */
static const char *const payloads[] = {
    "false",
    "true",
    "0",
    "\"\"",
    "{}",
    "[]",
    "[null]",
    "{\"a\":null}",
    "\"two\"",
    "-0",
    "-0.0e-0",
    "1.0",
    "1.50",
    "1E400",
    "1e400",
    "1e-400",
    "1E+5",
    "1000000000000000.01",
    "9007199254740993",
    "18446744073709551616",
    "123456789012345678901234567890.123456789012345678901234567890",
    "{\"a\":1,\"a\":2,\"\":3}",
    "{\"z\":1,\"a\":{\"y\":2,\"b\":3}}",
    "\"\\u00e9\\uD83D\\uDE00\\/\\\\\\\"\\b\\f\\n\\r\\t\"",
    "\"\\u0000\"",
    "{\"\\u0000\":\"\\u001f\"}",
    "\"h\xc3\xa9llo \xe6\xbc\xa2\xe5\xad\x97 \xf0\x9f\x98\x80 \xe2\x80\xa8 \xc2\x85 \x7f\"",
    "\"\xef\xbf\xbf \xf4\x8f\xbf\xbf \xed\x9f\xbf\"",
    "{\"\xe6\xbc\xa2\":\"</script> & 'x' %s \\\\n : \"}",
    "\"data: x\\n\\nid: 999\\n\\n\"",
};

static void payloads_are_kept_exactly(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    kit_subscribe(server, "1", "c");
    struct kit_sse *stream = kit_sse_open(server, "1", "c");
    for (size_t i = 0; i < KIT_COUNT(payloads); i++) {
        kit_note(kit, "payload %s", payloads[i]);
        kit_publish(server, "c", "t", payloads[i]);
        kit_sse_expect(stream, "t", payloads[i]);
    }
    const struct kit_history *history = kit_history(server, "c", "limit=1000");
    assert_int_equal(history->count, KIT_COUNT(payloads));
    for (size_t i = 0; i < KIT_COUNT(payloads); i++)
        assert_string_equal(history->events[i].payload, payloads[i]);
    /* As it is read from the database, too. */
    stream = kit_sse_resume(server, "1", "c", 0);
    for (size_t i = 0; i < KIT_COUNT(payloads); i++) {
        kit_note(kit, "replayed payload %s", payloads[i]);
        assert_int_equal(kit_sse_expect(stream, "t", payloads[i]), history->events[i].id);
    }
}

static void white_space_goes_outside_strings_only(void **state)
{
    static const struct {
        const char *sent, *kept;
    } rows[] = {
        {" 1.0 ", "1.0"},
        {"\n\t\r \"  a  b  \"\r\n", "\"  a  b  \""},
        {"{ \"a b\" : [ 1 , 2 ,\n\t3 ] ,\r\n \" c \" : { } }", "{\"a b\":[1,2,3],\" c \":{}}"},
        {"[ ]", "[]"},
        {"[ \"\\\" , \\\\\" , \" ] , \" ]", "[\"\\\" , \\\\\",\" ] , \"]"},
        {"{\"a\" : \"\\\\\" , \"b\" : \" x \"}", "{\"a\":\"\\\\\",\"b\":\" x \"}"},
        {"[ -1 , true , false , null ]", "[-1,true,false,null]"},
    };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    kit_subscribe(server, "1", "c");
    struct kit_sse *stream = kit_sse_open(server, "1", "c");
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        kit_note(kit, "payload %s", rows[i].sent);
        kit_publish(server, "c", "t", rows[i].sent);
        kit_sse_expect(stream, "t", rows[i].kept);
        const struct kit_history *history = kit_history(server, "c", "limit=1000");
        assert_int_equal(history->count, i + 1);
        assert_string_equal(history->events[i].payload, rows[i].kept);
    }
}

static void the_envelope_is_any_json_object(void **state)
{
    static const char *const bodies[] = {
        "{\"payload\":1,\"eventType\":\"t\",\"channel\":\"c\"}",
        " \r\n\t{ \"channel\" : \"c\" ,\n \"eventType\" : \"t\" , \"payload\" : 1 } \r\n",
        "{\"chann\\u0065l\":\"c\",\"event\\u0054ype\":\"t\",\"payload\":1}",
        "{\"channel\":\"\\u0063\",\"eventType\":\"\\u0074\",\"payload\":1}",
        /* Members that nobody knows are nobody's business. */
        "{\"channel\":\"c\",\"eventType\":\"t\",\"payload\":1,\"extra\":{\"channel\":\"d\",\"payload\":[2]}}",
        "{\"Channel\":\"d\",\"channel\":\"c\",\"eventType\":\"t\",\"payload\":1,\"\":null}",
    };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    for (size_t i = 0; i < KIT_COUNT(bodies); i++) {
        kit_note(kit, "body %s", bodies[i]);
        const struct kit_response *response = kit_post_json(server, KIT_PUBLISH, bodies[i]);
        kit_assert_status(response, 202);
        const struct kit_history *history = kit_history(server, "c", NULL);
        assert_int_equal(history->count, i + 1);
        assert_string_equal(history->events[i].type, "t");
        assert_string_equal(history->events[i].payload, "1");
    }
    kit_assert_history(server, "d", "[]");
}

static void content_types_are_judged(void **state)
{
    static const struct {
        const char *header;
        int status;
    } rows[] = {
        {"X-None: 1", 202},
        {"Content-Type: application/json; charset=utf-8", 202},
        {"Content-Type: application/x-www-form-urlencoded", 202}, /* curl's own default */
        {"Content-Type: application/json; charset=latin-1", 415},
        {"Content-Encoding: gzip", 415},
    };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    const char *body = kit_envelope(kit, "c", "t", "1");
    size_t taken = 0;
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        kit_note(kit, "%s", rows[i].header);
        const char *headers = kit_format(kit, "%s\r\n", rows[i].header);
        const struct kit_response *response =
            kit_request(server, "POST", KIT_PUBLISH, headers, body, strlen(body));
        kit_assert_status(response, rows[i].status);
        if (rows[i].status != 202)
            kit_assert_error(response, rows[i].status, ".");
        taken += rows[i].status == 202;
    }
    assert_int_equal(kit_history(server, "c", NULL)->count, taken);
}

static void names_are_text(void **state)
{
    static const struct {
        const char *in_json, *in_query;
    } rows[] = {
        {"h\xc3\xa9llo", "h%c3%a9llo"},
        {"\xe6\xbc\xa2\xe5\xad\x97 \xf0\x9f\x98\x80", "%e6%bc%a2%E5%AD%97+%f0%9f%98%80"},
        {"a b", "a%20b"},
        {" ", "+"},
        {"a\\\"b\\\\c\\/d", "a%22b%5Cc/d"},
        {"'; drop table events; --", "';%20drop%20table%20events;%20--"},
        {"%", "%25"},
        {"a+b&c=d#e", "a%2Bb%26c%3Dd%23e"},
        {"A", "A"},
        {"a", "a"}, /* not the same as A */
        {"0", "0"},
    };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    for (size_t i = 0; i < KIT_COUNT(rows); i++)
        kit_publish(server, rows[i].in_json, rows[i].in_json, kit_format(kit, "%zu", i));
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        kit_note(kit, "channel %s", rows[i].in_json);
        kit_assert_history(server, rows[i].in_query, kit_format(kit, "[%zu]", i));
        const struct kit_event *event = &kit_history(server, rows[i].in_query, NULL)->events[0];
        /* However it is escaped, channel and type are the same text. */
        assert_string_equal(event->channel, event->type);
    }
    /* Escaped or not, one channel. */
    kit_publish(server, "h\\u00e9llo", "t", "100");
    kit_assert_history(server, "h%c3%a9llo", "[0,100]");
    kit_publish(server, "\\u6f22\\u5B57 \\ud83d\\uDE00", "t", "101");
    kit_assert_history(server, "%e6%bc%a2%E5%AD%97+%f0%9f%98%80", "[1,101]");
}

static void names_have_255_bytes_at_most(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    const char *longest = kit_repeat(kit, "k", 255);
    const char *accented = kit_format(kit, "%sx", kit_repeat(kit, "\xc3\xa9", 127));
    kit_publish(server, longest, longest, "1");
    kit_publish(server, accented, accented, "2");
    kit_publish(server, kit_repeat(kit, "\\u006b", 255), "t", "3");
    kit_assert_history(server, longest, "[1,3]");
    kit_assert_history(server, kit_format(kit, "%sx", kit_repeat(kit, "%c3%a9", 127)), "[2]");
    /* The longest one's beginning is another channel. */
    kit_assert_history(server, kit_repeat(kit, "k", 254), "[]");
}

static void deep_payloads_are_kept(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    const char *const deep[] = {
        kit_format(kit, "%s%s", kit_repeat(kit, "[", 900), kit_repeat(kit, "]", 900)),
        kit_format(kit, "%s1%s", kit_repeat(kit, "{\"a\":[", 450), kit_repeat(kit, "]}", 450)),
        /* Depth is not the number of brackets. */
        kit_format(kit, "[%s[]]", kit_repeat(kit, "[[]],", 2000)),
    };
    for (size_t i = 0; i < KIT_COUNT(deep); i++)
        kit_publish(server, "c", "t", deep[i]);
    kit_assert_history(server, "c", kit_format(kit, "[%s,%s,%s]", deep[0], deep[1], deep[2]));
}

/* A string that makes the whole body `length` bytes long. */
static char *payload_for_body(struct kit *kit, size_t length)
{
    size_t around = strlen(kit_envelope(kit, "c", "t", "\"\""));
    return kit_format(kit, "\"%s\"", kit_repeat(kit, "x", length - around));
}

static void a_body_of_one_mebibyte_is_the_most(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    kit_subscribe(server, "1", "c");
    struct kit_sse *stream = kit_sse_open(server, "1", "c");
    const char *largest = payload_for_body(kit, MEBIBYTE);
    const char *too_large = kit_envelope(kit, "c", "t", payload_for_body(kit, MEBIBYTE + 1));
    kit_assert_error(kit_post_json(server, KIT_PUBLISH, too_large), 413, ".");
    kit_publish(server, "c", "t", largest);
    kit_sse_expect(stream, "t", largest);
    kit_assert_history(server, "c", kit_format(kit, "[%s]", largest));
    stream = kit_sse_resume(server, "1", "c", 0);
    kit_sse_expect(stream, "t", largest);
}

static void max_body_counts_for_publish(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit, "--max-body", "200");
    kit_publish(server, "c", "t", payload_for_body(kit, 200));
    const char *too_large = kit_envelope(kit, "c", "t", payload_for_body(kit, 201));
    kit_assert_error(kit_post_json(server, KIT_PUBLISH, too_large), 413, ".");
    assert_int_equal(kit_history(server, "c", NULL)->count, 1);
}

static void a_chunked_body_is_taken(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    struct kit_connection *connection = kit_connect(server);
    kit_send_text(connection, "POST " KIT_PUBLISH " HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                              "f\r\n{\"channel\":\"c\",\r\n"
                              "1e\r\n\"eventType\":\"t\",\"payload\":[1]}\r\n0\r\n\r\n");
    kit_assert_status(kit_receive(connection), 202);
    kit_assert_history(server, "c", "[[1]]");
}

static void pipelined_events_are_stored_in_their_order(void **state)
{
    enum { EVENTS = 50 };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    struct kit_connection *connection = kit_connect(server);
    const char *wanted = "";
    for (int i = 0; i < EVENTS; i++) {
        const char *body = kit_envelope(kit, "c", "t", kit_format(kit, "%d", i));
        kit_send_request(connection, "POST", KIT_PUBLISH, NULL, body, strlen(body));
        wanted = kit_format(kit, "%s%s%d", wanted, i == 0 ? "" : ",", i);
    }
    for (int i = 0; i < EVENTS; i++)
        kit_assert_status(kit_receive(connection), 202);
    kit_assert_history(server, "c", kit_format(kit, "[%s]", wanted));
}

/* Closing the sending side is no hang-up for a request that need not wait. */
static void a_half_closed_client_is_answered(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    struct kit_connection *connection = kit_connect(server);
    const char *body = kit_envelope(*state, "c", "t", "1");
    kit_send_request(connection, "POST", KIT_PUBLISH, NULL, body, strlen(body));
    kit_shutdown_sending(connection);
    kit_assert_status(kit_receive(connection), 202);
    kit_expect_end(connection);
    kit_assert_history(server, "c", "[1]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_engines(an_event_is_accepted_and_stored),
        kit_test_engines(payloads_are_kept_exactly),
        kit_test_engines(white_space_goes_outside_strings_only),
        kit_test_engines(the_envelope_is_any_json_object),
        kit_test_engines(content_types_are_judged),
        kit_test_engines(names_are_text),
        kit_test_engines(names_have_255_bytes_at_most),
        kit_test_engines(deep_payloads_are_kept),
        kit_test_engines(a_body_of_one_mebibyte_is_the_most),
        kit_test_engines(max_body_counts_for_publish),
        kit_test_engines(a_chunked_body_is_taken),
        kit_test_engines(pipelined_events_are_stored_in_their_order),
        kit_test_engines(a_half_closed_client_is_answered),
    };
    return kit_run_event_tests(tests);
}
