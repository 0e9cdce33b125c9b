/*
 * Proves that the body of a request is taken whole or not at all: small chunks without number, bodies cut short, Expect:
 * 100-continue, bodies that are too large, codings and charsets. (How bodies are framed: test_http_conformance_*.c.)
 */
#include <string.h>

#include "kit_http.h"

#define MEBIBYTE 1048576

/* A POST whose body has one chunk to come. */
#define CHUNKED "POST /push?key=k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"

/* A client that streams may send each of its lines as a chunk. */
static void many_small_chunks_are_taken(void **state)
{
    enum { CHUNKS = 10000, DATA_BYTES = 100 };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    const char *data = kit_repeat(kit, "a", DATA_BYTES);
    const char *chunks = kit_repeat(kit, kit_format(kit, "%x\r\n%s\r\n", DATA_BYTES, data), CHUNKS);
    struct kit_exchange exchange = {.name = "many chunks", .statuses = "200", .fate = KIT_OPEN};
    exchange.bytes = kit_format(kit, CHUNKED "1\r\n\"\r\n%s1\r\n\"\r\n0\r\n\r\n", chunks);
    assert_true(kit_play(server, &exchange));
    /* The string, its quotes, and the brackets of the array. */
    assert_int_equal(kit_get(server, "k", "g", "timeout=0")->body_length, CHUNKS * DATA_BYTES + 4);
}

/* Half a body is no request: whatever is answered, nothing of it is stored. */
static void body_cut_short_changes_nothing(void **state)
{
    static const char *const requests[] = {
        "POST /push?key=k HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n[1]",
        CHUNKED "3\r\n[1]\r\n",
        CHUNKED "3\r\n[1]\r\n0\r\n",
        CHUNKED "100000005\r\n[1,2]\r\n0\r\n\r\n", /* 2^32 + 5 bytes to come */
        "POST /push?key=k HTTP/1.1\r\nHost: h\r\n",
    };
    struct kit_server *server = kit_serve(*state);
    for (size_t i = 0; i < KIT_COUNT(requests); i++) {
        struct kit_connection *connection = kit_connect(server);
        char answer[4096];
        ssize_t count;
        kit_send_text(connection, requests[i]);
        kit_shutdown_sending(connection);
        while ((count = kit_try_read(connection, answer, sizeof answer - 1)) > 0) {
            answer[count] = '\0';
            if (!kit_matches(answer, "^HTTP/1.1 4"))
                kit_fail(*state, "request %zu: %s", i, answer);
        }
        assert_int_equal(count, 0);
        kit_close(connection);
    }
    assert_int_equal(kit_health(server, "queue.events"), 0);
}

static void expectation_is_met_before_the_body(void **state)
{
    static const char *const heads[] = {
        "POST /push?key=k HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 14\r\n\r\n",
        "POST /push?key=k HTTP/1.1\r\nHost: h\r\nContent-Length: 14\r\nexpect: 100-Continue\r\n\r\n",
        "POST /push?key=k HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n",
    };
    static const char *const bodies[] = {"[1,2,3,4,5,67]", "[1,2,3,4,5,67]",
                                         "e\r\n[1,2,3,4,5,67]\r\n0\r\n\r\n"};
    struct kit_server *server = kit_serve(*state);
    struct kit_connection *connection = kit_connect(server);
    for (size_t i = 0; i < KIT_COUNT(heads); i++) {
        kit_send_text(connection, heads[i]);
        kit_assert_status(kit_receive(connection), 100);
        kit_send_text(connection, bodies[i]);
        kit_assert_status(kit_receive(connection), 200);
        kit_assert_get(server, "k", "g", "[[1,2,3,4,5,67]]");
    }
}

static void expectation_of_too_large_a_body_is_refused_at_once(void **state)
{
    static const struct kit_exchange exchanges[] = {
        {"just too large",
         "POST /push?key=k HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1048577\r\n\r\n", 0,
         "413", KIT_EITHER},
        {"much too large",
         "POST /push?key=k HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: "
         "99999999999\r\n\r\n",
         0, "413", KIT_EITHER},
        {"refused for its path", "POST /no-such-path HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n", 0,
         "100|404", KIT_EITHER},
    };
    kit_play_all(kit_serve(*state), exchanges, KIT_COUNT(exchanges));
}

/* The body is there already: the interim answer may be left out, the final one not. */
static void body_that_does_not_wait_for_100_is_taken(void **state)
{
    struct kit_connection *connection = kit_connect(kit_serve(*state));
    kit_send_text(connection,
                  "POST /push?key=k HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
                  "1GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n");
    const struct kit_response *response = kit_receive(connection);
    if (response->status == 100)
        response = kit_receive(connection);
    kit_assert_status(response, 200);
    kit_assert_body(kit_receive(connection), "{\"ok\":true}");
}

static void body_of_one_mebibyte_is_the_most(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    char *body = kit_repeat(kit, "a", MEBIBYTE + 1);
    body[0] = '"';
    body[MEBIBYTE] = '"';
    struct kit_exchange exchange = {.name = "one byte more", .statuses = "413", .fate = KIT_EITHER};
    exchange.bytes = kit_format(kit, "POST /push?key=k HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s",
                                MEBIBYTE + 1, body);
    assert_true(kit_play(server, &exchange));
    assert_int_equal(kit_health(server, "queue.events"), 0);
    body[MEBIBYTE - 1] = '"';
    kit_assert_status(kit_post(server, "k", NULL, body, MEBIBYTE), 200);
    assert_int_equal(kit_get(server, "k", "g", "timeout=0")->body_length, MEBIBYTE + 2);
}

/* The client goes on sending for megabytes and reads only then, as many do. */
static void refusal_reaches_a_client_that_is_sending(void **state)
{
    enum { PIECE = 65536, PIECES = 128 };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    static const char *const heads[] = {
        "POST /push?key=k HTTP/1.1\r\nHost: h\r\nContent-Length: 8388608\r\n\r\n", CHUNKED};
    const char *plain = kit_repeat(kit, "a", PIECE);
    const char *pieces[] = {plain, kit_format(kit, "10000\r\n%s\r\n", plain)};
    for (size_t i = 0; i < KIT_COUNT(heads); i++) {
        struct kit_connection *connection = kit_connect(server);
        kit_send_text(connection, heads[i]);
        for (int piece = 0; piece < PIECES && kit_try_send(connection, pieces[i], strlen(pieces[i])) == 0;
             piece++)
            ;
        kit_assert_error(kit_receive(connection), 413, ".");
        kit_close(connection);
    }
    assert_int_equal(kit_health(server, "queue.events"), 0);
}

static void codings_and_charsets_are_judged(void **state)
{
    static const struct {
        const char *header;
        int status;
    } rows[] = {
        {"Content-Encoding: gzip", 415},
        {"content-encoding: GZIP", 415},
        {"Content-Encoding: br", 415},
        {"Content-Type: application/json; charset=latin-1", 415},
        {"Content-Type: application/json;charset=iso-8859-1", 415},
        {"Content-Type: text/plain; charset=windows-1252", 415},
        {"Content-Type: application/json; charset=\"utf-16\"", 415},
        {"Content-Type: application/x-ndjson; charset=utf-16le", 415},
        {"Content-Type: application/json", 200},
        {"Content-Type: application/json; charset=utf-8", 200},
        {"Content-Type: application/json;charset=UTF-8", 200},
        {"Content-Type: application/json; Charset=Utf-8", 200},
        {"Content-Type: application/json; charset=\"utf-8\"", 200},
        {"Content-Type: application/json; charset=\"UTF-8\"; profile=x", 200},
        {"Content-Type: application/json; profile=\"charset=latin-1\"", 200},
        {"Content-Type: application/x-www-form-urlencoded", 200},
        {"X-None: 1", 200},
    };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    int taken = 0;
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        const char *headers = kit_format(kit, "%s\r\n", rows[i].header);
        const struct kit_response *response = kit_request(server, "POST", "/push?key=k", headers, "[1]", 3);
        if (response->status != rows[i].status)
            kit_fail(kit, "%s: %s\n%s", rows[i].header, response->head, response->body);
        if (response->status == 415)
            kit_assert_error(response, 415, ".");
        taken += response->status == 200;
    }
    assert_int_equal(kit_health(server, "queue.events"), taken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(many_small_chunks_are_taken),
        kit_test(body_cut_short_changes_nothing),
        kit_test(expectation_is_met_before_the_body),
        kit_test(expectation_of_too_large_a_body_is_refused_at_once),
        kit_test(body_that_does_not_wait_for_100_is_taken),
        kit_test(body_of_one_mebibyte_is_the_most),
        kit_test(refusal_reaches_a_client_that_is_sending),
        kit_test(codings_and_charsets_are_judged),
    };
    return kit_run_tests(tests);
}
