/*
 * Proves how long a connection lasts (RFC 9112 section 9), that pipelined requests are answered in order and
 * none behind the last, and what is made of HEAD, bodies nobody asked for, Expect and Upgrade (RFC 9110
 * sections 9.3, 10.1.1 and 7.8).
 */
#include "kit_wire.h"

#define GET(fields)        "GET /healthz HTTP/1.1\r\nHost: h\r\n" fields "\r\n"
#define GET_1_0(fields)    "GET /healthz HTTP/1.0\r\n" fields "\r\n"
#define POST(fields, body) "POST /push?key=k HTTP/1.1\r\nHost: h\r\n" fields "\r\n" body
#define ONE                POST("Content-Length: 1\r\n", "1")
/* Answered, and no other behind it. */
#define LAST(name, literal, statuses, stored)                                                                \
    KIT_WIRE_ROW(name, literal KIT_WIRE_BEHIND, statuses, KIT_CLOSED, stored, NULL)

static void connections_last_as_version_and_options_say(void **state)
{
    static const struct kit_wire_row rows[] = {
        KIT_WIRE_GOOD("9112-9.3 1.1", GET(""), "200", NULL),
        KIT_WIRE_GOOD("9112-9.3 1.1, keep-alive", GET("Connection: keep-alive\r\n"), "200", NULL),
        KIT_WIRE_GOOD("9112-9.3 1.1, an unknown option", GET("Connection: x-hop\r\n"), "200", NULL),
        KIT_WIRE_GOOD("9112-9.3 1.1, no option", GET("Connection:\r\n"), "200", NULL),
        KIT_WIRE_GOOD("9110-7.6.1 no option of its own: closed", GET("Connection: closed\r\n"), "200", NULL),
        KIT_WIRE_GOOD("9110-7.6.1 no option of its own: close x", GET("Connection: close x\r\n"), "200",
                      NULL),
        KIT_WIRE_GOOD("9110-7.6.1 another field", GET("X-Connection: close\r\n"), "200", NULL),
        LAST("9112-9.6 1.1, close", GET("Connection: close\r\n"), "200", NULL),
        LAST("9112-9.6 1.1, CLOSE", GET("CONNECTION: CLOSE\r\n"), "200", NULL),
        LAST("9112-9.6 1.1, close in a list", GET("Connection: x-hop , close\r\n"), "200", NULL),
        LAST("9112-9.6 1.1, close first in a list", GET("Connection: close, x-hop\r\n"), "200", NULL),
        LAST("9112-9.6 1.1, close and keep-alive", GET("Connection: close, keep-alive\r\n"), "200", NULL),
        LAST("9112-9.6 1.1, keep-alive and close", GET("Connection: keep-alive,close\r\n"), "200", NULL),
        LAST("9110-5.6.1 1.1, close among nothing", GET("Connection: ,, close,\t,\r\n"), "200", NULL),
        LAST("9110-5.3 1.1, close in a second field", GET("Connection: keep-alive\r\nConnection: close\r\n"),
             "200", NULL),
        LAST("9110-5.3 1.1, close in a first field", GET("Connection: close\r\nConnection: keep-alive\r\n"),
             "200", NULL),
        LAST("9112-9.6 1.1, close and a body", POST("Connection: close\r\nContent-Length: 1\r\n", "1"), "200",
             "[1]"),
        LAST("9112-9.6 1.1, close of what is not found",
             "GET /no-such-path HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "404", NULL),
        LAST("9112-9.3 1.0", GET_1_0(""), "200", NULL),
        LAST("9112-9.3 1.0, Host", GET_1_0("Host: h\r\n"), "200", NULL),
        LAST("9112-9.3 1.0, close", GET_1_0("Connection: close\r\n"), "200", NULL),
        LAST("9112-9.3 1.0, close and keep-alive", GET_1_0("Connection: close, keep-alive\r\n"), "200", NULL),
        LAST("9112-9.3 1.0, keep-alive, then close",
             GET_1_0("Connection: keep-alive\r\nConnection: close\r\n"), "200", NULL),
        LAST("9112-C.2.2 1.0, Keep-Alive is another field", GET_1_0("Keep-Alive: timeout=5\r\n"), "200",
             NULL),
        /* An old proxy passes this on without knowing what it says, and then waits for the end. */
        LAST("9112-C.2.2 1.0, Proxy-Connection", GET_1_0("Proxy-Connection: keep-alive\r\n"), "200", NULL),
        KIT_WIRE_GOOD("9112-C.2.2 1.1, Proxy-Connection", GET("Proxy-Connection: close\r\n"), "200", NULL),
        LAST("9112-9.3 1.0, a body", "POST /push?key=k HTTP/1.0\r\nContent-Length: 1\r\n\r\n1", "200", "[1]"),
        LAST("9112-9.3 1.0, what is not found", "GET /no-such-path HTTP/1.0\r\n\r\n", "404", NULL),
        KIT_WIRE_GOOD("9112-9.3 1.0, keep-alive", GET_1_0("Connection: keep-alive\r\n"), "200", NULL),
        KIT_WIRE_GOOD("9112-9.3 1.0, Keep-Alive in a list", GET_1_0("connection: x, Keep-Alive\r\n"), "200",
                      NULL),
        KIT_WIRE_GOOD("9112-9.3 1.0, keep-alive and a body",
                      "POST /push?key=k HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n1",
                      "200", "[1]"),
    };
    kit_wire_play_table(*state, rows, KIT_COUNT(rows));
}

static void pipelines_go_on_or_end(void **state)
{
    static const struct kit_wire_row rows[] = {
        KIT_WIRE_GOOD("9112-9.3.2 answers in order",
                      GET("") "GET /no-such-path HTTP/1.1\r\nHost: h\r\n\r\n" ONE GET(""), "200 404 200 200",
                      "[1]"),
        KIT_WIRE_GOOD("9112-9.3.2 behind 404", "GET /no-such-path HTTP/1.1\r\nHost: h\r\n\r\n" ONE, "404 200",
                      "[1]"),
        KIT_WIRE_GOOD("9112-9.3.2 behind 404 with a body",
                      "POST /no-such-path HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc" ONE, "404 200",
                      "[1]"),
        KIT_WIRE_GOOD("9112-9.3.2 behind 405",
                      "PUT /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc" ONE, "405 200",
                      "[1]"),
        KIT_WIRE_GOOD("9112-9.3.2 behind 415",
                      POST("Content-Encoding: gzip\r\nContent-Length: 1\r\n", "7") ONE, "415 200", "[1]"),
        KIT_WIRE_GOOD("9112-9.3.2 behind a bad parameter",
                      "GET /blocking-get?key=k HTTP/1.1\r\nHost: h\r\n\r\n" ONE, "400 200", "[1]"),
        KIT_WIRE_GOOD("9112-9.3.2 behind a body that is no JSON", POST("Content-Length: 1\r\n", "x") ONE,
                      "400 200", "[1]"),
        KIT_WIRE_GOOD("9112-9.3.2 behind HEAD", "HEAD /healthz HTTP/1.1\r\nHost: h\r\n\r\n" ONE, "H200 200",
                      "[1]"),
        LAST("9112-9.6 behind close", ONE GET("Connection: close\r\n"), "200 200", "[1]"),
        LAST("9112-2.2 behind 400", ONE "GET\r\n\r\n", "200 400", "[1]"),
        LAST("9110-15.6.2 behind 501", ONE "FOO / HTTP/1.1\r\nHost: h\r\n\r\n", "200 501", "[1]"),
        LAST("9110-15.6.6 behind 505", ONE "GET / HTTP/2.0\r\nHost: h\r\n\r\n", "200 505", "[1]"),
        LAST("9110-15.5.14 behind 413", ONE POST("Content-Length: 1048577\r\n", ""), "200 413", "[1]"),
        /* RFC 9112 section 9.3: what is not read can't be told from a request, so the answer is the last. */
        LAST("9112-9.3 chunks that nobody reads",
             "POST /no-such-path HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: "
             "chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
             "404", NULL),
    };
    kit_wire_play_table(*state, rows, KIT_COUNT(rows));
}

static void heads_have_no_body_and_bodies_are_read(void **state)
{
    static const struct kit_wire_row rows[] = {
        /* RFC 9110 section 9.3.2: no content, whatever the status. */
        KIT_WIRE_GOOD("9110-9.3.2 200", "HEAD /healthz HTTP/1.1\r\nHost: h\r\n\r\n", "H200", NULL),
        KIT_WIRE_GOOD("9110-9.3.2 404", "HEAD /no-such-path HTTP/1.1\r\nHost: h\r\n\r\n", "H404", NULL),
        KIT_WIRE_GOOD("9110-9.3.2 405", "HEAD /blocking-get?key=k&groupId=g HTTP/1.1\r\nHost: h\r\n\r\n",
                      "H405", NULL),
        KIT_WIRE_GOOD("9110-9.3.2 400 of the query", "HEAD /healthz?%zz HTTP/1.1\r\nHost: h\r\n\r\n", "H400",
                      NULL),
        LAST("9110-9.3.2 400 of the head", "HEAD /healthz HTTP/1.1\r\n\r\n", "H400", NULL),
        LAST("9110-9.3.2 400 of a line", "\r\nHEAD /healthz HTTP/1.1\nHost: h\r\n\r\n", "H400", NULL),
        LAST("9110-9.3.2 400 of a chunk",
             "HEAD /healthz HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", "H400", NULL),
        LAST("9110-9.3.2 413", "HEAD /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 1048577\r\n\r\n", "H413",
             NULL),
        LAST("9110-9.3.2 417", "HEAD /healthz HTTP/1.1\r\nHost: h\r\nExpect: wonders\r\n\r\n", "H417", NULL),
        LAST("9110-9.3.2 505", "HEAD /healthz HTTP/2.0\r\nHost: h\r\n\r\n", "H505", NULL),
        LAST("9110-9.3.2 404 before the body",
             "HEAD /no-such-path HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "H404",
             NULL),
        KIT_WIRE_BAD("9110-9.1 no HEAD", "HEADER /healthz HTTP/1.1\r\nHost: h\r\n\r\n", "501", "method"),
        KIT_WIRE_BAD("9110-9.1 no HEAD either", "head /healthz HTTP/1.1\r\n\r\n", "400", "Host"),
        /* RFC 9110 section 9.3.1: content of a GET has no meaning, but a length. */
        KIT_WIRE_GOOD("9110-9.3.1 a body of GET", GET("Content-Length: 63\r\n") KIT_WIRE_BEHIND, "200", NULL),
        KIT_WIRE_GOOD("9110-9.3.1 chunks of GET",
                      GET("Transfer-Encoding: chunked\r\n") "3\r\nabc\r\n0\r\n\r\n", "200", NULL),
        KIT_WIRE_GOOD("9110-9.3.2 a body of HEAD",
                      "HEAD /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 63\r\n\r\n" KIT_WIRE_BEHIND,
                      "H200", NULL),
        KIT_WIRE_GOOD("9110-9.3.5 a body of DELETE",
                      "DELETE /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 63\r\n\r\n" KIT_WIRE_BEHIND,
                      "405", NULL),
        KIT_WIRE_GOOD("9110-9.3.7 a body of OPTIONS",
                      "OPTIONS * HTTP/1.1\r\nHost: h\r\nContent-Length: 63\r\n\r\n" KIT_WIRE_BEHIND, "405",
                      NULL),
        KIT_WIRE_GOOD("9110-9.3.1 a length of none of GET", GET("Content-Length: 0\r\n"), "200", NULL),
    };
    kit_wire_play_table(*state, rows, KIT_COUNT(rows));
}

static void expectations_are_met_or_refused(void **state)
{
    static const struct kit_wire_row rows[] = {
        KIT_WIRE_GOOD("9110-10.1.1 100-continue", POST("Expect: 100-continue\r\nContent-Length: 1\r\n", "1"),
                      "200", "[1]"),
        KIT_WIRE_GOOD("9110-10.1.1 letters are the same",
                      POST("expect: 100-Continue\r\nContent-Length: 1\r\n", "1"), "200", "[1]"),
        KIT_WIRE_GOOD("9110-10.1.1 with chunks",
                      POST("Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n", "1\r\n1\r\n0\r\n\r\n"),
                      "200", "[1]"),
        KIT_WIRE_GOOD("9110-10.1.1 without a body", GET("Expect: 100-continue\r\n"), "200", NULL),
        KIT_WIRE_GOOD("9110-10.1.1 an empty one", GET("Expect:\r\n"), "200", NULL),
        KIT_WIRE_GOOD("9110-10.1.1 refused without a body",
                      "GET /no-such-path HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n", "404", NULL),
        /* The client may send the body or not: nobody can tell what comes next. */
        LAST("9110-10.1.1 refused",
             "POST /no-such-path HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n1",
             "404", NULL),
        LAST("9110-10.1.1 too large", POST("Expect: 100-continue\r\nContent-Length: 1048577\r\n", ""), "413",
             NULL),
        KIT_WIRE_BAD("9110-15.5.18 another one", POST("Expect: wonders\r\nContent-Length: 1\r\n", "1"), "417",
                     "100-continue"),
        KIT_WIRE_BAD("9110-15.5.18 another one beside it",
                     POST("Expect: 100-continue, wonders\r\nContent-Length: 1\r\n", "1"), "417",
                     "100-continue"),
        KIT_WIRE_BAD("9110-15.5.18 another one in a second field",
                     POST("Expect: 100-continue\r\nExpect: wonders\r\nContent-Length: 1\r\n", "1"), "417",
                     "100-continue"),
        KIT_WIRE_BAD("9110-15.5.18 a value", POST("Expect: 100-continue=1\r\nContent-Length: 1\r\n", "1"),
                     "417", "100-continue"),
        KIT_WIRE_BAD(
            "9112-6.3 framing comes first",
            POST("Expect: wonders\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            "400", "Content-Length"),
        /* A client of HTTP/1.0 does not know interim answers: the field MUST be ignored. */
        LAST("9110-10.1.1 1.0",
             "POST /push?key=k HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n1", "200", "[1]"),
        LAST("9110-10.1.1 1.0, another one",
             "POST /push?key=k HTTP/1.0\r\nExpect: wonders\r\nContent-Length: 1\r\n\r\n1", "200", "[1]"),
    };
    kit_wire_play_table(*state, rows, KIT_COUNT(rows));
}

/* RFC 9110 section 7.8: a server MAY ignore it, and what follows is HTTP/1.1 all the same. */
static void upgrades_are_passed_over(void **state)
{
    static const struct kit_wire_row rows[] = {
        KIT_WIRE_GOOD(
            "9110-7.8 h2c",
            GET("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n")
                ONE,
            "200 200", "[1]"),
        KIT_WIRE_GOOD("9110-7.8 websocket",
                      GET("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n") ONE,
                      "200 200", "[1]"),
        KIT_WIRE_GOOD("9110-7.8 with a body",
                      POST("Connection: upgrade\r\nUpgrade: x/1, y\r\nContent-Length: 1\r\n", "1") GET(""),
                      "200 200", "[1]"),
        KIT_WIRE_GOOD("9110-7.8 with chunks",
                      POST("Connection: upgrade\r\nUpgrade: x\r\nTransfer-Encoding: chunked\r\n",
                           "1\r\n1\r\n0\r\n\r\n") GET(""),
                      "200 200", "[1]"),
        KIT_WIRE_GOOD("9110-7.8 where nothing is",
                      "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" ONE,
                      "404 200", "[1]"),
        KIT_WIRE_GOOD("9110-7.8 without the option", GET("Upgrade: h2c\r\n") ONE, "200 200", "[1]"),
        LAST("9110-7.8 and close", GET("Connection: Upgrade, close\r\nUpgrade: h2c\r\n"), "200", NULL),
        LAST("9110-7.8 1.0", GET_1_0("Connection: Upgrade\r\nUpgrade: h2c\r\n"), "200", NULL),
        KIT_WIRE_BAD("9113-3.3 HTTP/2 right behind it",
                     GET("Connection: Upgrade\r\nUpgrade: h2c\r\n") "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                     "200 505", "HTTP/1"),
    };
    kit_wire_play_table(*state, rows, KIT_COUNT(rows));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(connections_last_as_version_and_options_say),
        kit_test(pipelines_go_on_or_end),
        kit_test(heads_have_no_body_and_bodies_are_read),
        kit_test(expectations_are_met_or_refused),
        kit_test(upgrades_are_passed_over),
    };
    return kit_run_tests(tests);
}
