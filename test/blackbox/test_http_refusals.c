/*
 * Proves that a request whose head can be read in two ways is refused with 400 and the connection closed, so
 * that nothing behind it is taken for a request of its own (request smuggling), and that it changes nothing.
 */
#include <string.h>

#include "kit_http.h"

/* Behind every bad head: a second answer would show that the server has read on. */
#define BEHIND        "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"
#define POST(headers) "POST /push?key=k HTTP/1.1\r\nHost: h\r\n" headers "\r\n[1,2]" BEHIND
#define CHUNKS(headers)                                                                                      \
    "POST /push?key=k HTTP/1.1\r\nHost: h\r\n" headers "\r\n5\r\n[1,2]\r\n0\r\n\r\n" BEHIND
#define GET(headers) "GET /healthz HTTP/1.1\r\n" headers "\r\n" BEHIND

/* A literal with NULs in it. */
#define WHOLE(literal) literal, sizeof(literal) - 1

static void refuse_all(struct kit *kit, const struct kit_exchange *exchanges, size_t count)
{
    struct kit_server *server = kit_serve(kit);
    kit_play_all(server, exchanges, count);
    assert_int_equal(kit_health(server, "queue.events"), 0);
}

static void content_length_in_two_readings_is_refused(void **state)
{
    static const struct kit_exchange exchanges[] = {
        {"two that differ", POST("Content-Length: 5\r\nContent-Length: 6\r\n"), 0, "400", KIT_CLOSED},
        {"two that agree", POST("Content-Length: 5\r\nContent-Length: 5\r\n"), 0, "400", KIT_CLOSED},
        {"two that agree, apart", POST("Content-Length: 5\r\nX: y\r\ncontent-length: 5\r\n"), 0, "400",
         KIT_CLOSED},
        {"a list", POST("Content-Length: 5,5\r\n"), 0, "400", KIT_CLOSED},
        {"a list with a space", POST("Content-Length: 5, 5\r\n"), 0, "400", KIT_CLOSED},
        {"two words", POST("Content-Length: 5 5\r\n"), 0, "400", KIT_CLOSED},
        {"plus", POST("Content-Length: +5\r\n"), 0, "400", KIT_CLOSED},
        {"minus", POST("Content-Length: -1\r\n"), 0, "400", KIT_CLOSED},
        {"minus zero", POST("Content-Length: -0\r\n"), 0, "400", KIT_CLOSED},
        {"hexadecimal", POST("Content-Length: 0x5\r\n"), 0, "400", KIT_CLOSED},
        {"a letter", POST("Content-Length: 5a\r\n"), 0, "400", KIT_CLOSED},
        {"a fraction", POST("Content-Length: 5.0\r\n"), 0, "400", KIT_CLOSED},
        {"an exponent", POST("Content-Length: 5e0\r\n"), 0, "400", KIT_CLOSED},
        {"quoted", POST("Content-Length: \"5\"\r\n"), 0, "400", KIT_CLOSED},
        {"empty", POST("Content-Length: \r\n"), 0, "400", KIT_CLOSED},
        {"no value", POST("Content-Length:\r\n"), 0, "400", KIT_CLOSED},
        {"2^64 + 5", POST("Content-Length: 18446744073709551621\r\n"), 0, "400|413", KIT_CLOSED},
        {"2^64 - 1", POST("Content-Length: 18446744073709551615\r\n"), 0, "400|413", KIT_CLOSED},
        {"2^63", POST("Content-Length: 9223372036854775808\r\n"), 0, "400|413", KIT_CLOSED},
        {"2^32 + 5", POST("Content-Length: 4294967301\r\n"), 0, "413", KIT_CLOSED},
        {"of a GET", GET("Host: h\r\nContent-Length: 5, 5\r\n"), 0, "400", KIT_CLOSED},
        {"on a path that is not there",
         "POST /no-such-path HTTP/1.1\r\nHost: h\r\nContent-Length: 0x5\r\n\r\n" BEHIND, 0, "400",
         KIT_CLOSED},
    };
    refuse_all(*state, exchanges, KIT_COUNT(exchanges));
}

static void transfer_encoding_in_two_readings_is_refused(void **state)
{
    static const struct kit_exchange exchanges[] = {
        {"length, then coding", CHUNKS("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 0, "400",
         KIT_CLOSED},
        {"coding, then length", CHUNKS("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 0, "400",
         KIT_CLOSED},
        {"length of zero", CHUNKS("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"), 0, "400",
         KIT_CLOSED},
        {"length and another coding", CHUNKS("Content-Length: 5\r\nTransfer-Encoding: identity\r\n"), 0,
         "400|501", KIT_CLOSED},
        {"length and xchunked", CHUNKS("Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n"), 0, "400|501",
         KIT_CLOSED},
        {"identity", CHUNKS("Transfer-Encoding: identity\r\n"), 0, "400|501", KIT_CLOSED},
        {"gzip", CHUNKS("Transfer-Encoding: gzip\r\n"), 0, "400|501", KIT_CLOSED},
        {"gzip, chunked", CHUNKS("Transfer-Encoding: gzip, chunked\r\n"), 0, "400|501", KIT_CLOSED},
        {"chunked, gzip", CHUNKS("Transfer-Encoding: chunked, gzip\r\n"), 0, "400|501", KIT_CLOSED},
        {"chunked, identity", CHUNKS("Transfer-Encoding: chunked, identity\r\n"), 0, "400|501", KIT_CLOSED},
        {"chunked twice", CHUNKS("Transfer-Encoding: chunked, chunked\r\n"), 0, "400|501", KIT_CLOSED},
        {"two headers", CHUNKS("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 0, "400|501",
         KIT_CLOSED},
        {"two headers that differ", CHUNKS("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n"), 0,
         "400|501", KIT_CLOSED},
        {"a parameter", CHUNKS("Transfer-Encoding: chunked;a=b\r\n"), 0, "400|501", KIT_CLOSED},
        {"quoted", CHUNKS("Transfer-Encoding: \"chunked\"\r\n"), 0, "400|501", KIT_CLOSED},
        {"one letter more", CHUNKS("Transfer-Encoding: chunkedx\r\n"), 0, "400|501", KIT_CLOSED},
        {"empty", CHUNKS("Transfer-Encoding:\r\n"), 0, "400|501", KIT_CLOSED},
        {"vertical tab", CHUNKS("Transfer-Encoding: \vchunked\r\n"), 0, "400|501", KIT_CLOSED},
        {"space before the colon", CHUNKS("Transfer-Encoding : chunked\r\n"), 0, "400", KIT_CLOSED},
        {"folded", CHUNKS("Transfer-Encoding:\r\n chunked\r\n"), 0, "400", KIT_CLOSED},
    };
    refuse_all(*state, exchanges, KIT_COUNT(exchanges));
}

static void header_lines_in_two_readings_are_refused(void **state)
{
    static const struct kit_exchange exchanges[] = {
        {"space before the colon", GET("Host: h\r\nX-Name : y\r\n"), 0, "400", KIT_CLOSED},
        {"tab before the colon", GET("Host: h\r\nX-Name\t: y\r\n"), 0, "400", KIT_CLOSED},
        {"space in the name", GET("Host: h\r\nX Name: y\r\n"), 0, "400", KIT_CLOSED},
        {"folded by a space", GET("Host: h\r\nX-Name: y\r\n z\r\n"), 0, "400", KIT_CLOSED},
        {"folded by a tab", GET("Host: h\r\nX-Name: y\r\n\tz\r\n"), 0, "400", KIT_CLOSED},
        {"folded first line", GET(" Host: h\r\nHost: h\r\n"), 0, "400", KIT_CLOSED},
        {"folded length", POST("Content-Length:\r\n 5\r\n"), 0, "400", KIT_CLOSED},
        {"empty name", GET("Host: h\r\n: y\r\n"), 0, "400", KIT_CLOSED},
        {"no colon", GET("Host: h\r\nX-Name\r\n"), 0, "400", KIT_CLOSED},
        {"a name of other bytes", GET("Host: h\r\nX-N\xc3\xa4me: y\r\n"), 0, "400", KIT_CLOSED},
        {"parentheses in the name", GET("Host: h\r\nX(Name): y\r\n"), 0, "400", KIT_CLOSED},
        {"NUL in the name", WHOLE(GET("Host: h\r\nX\0Y: z\r\n")), "400", KIT_CLOSED},
        {"NUL in the value", WHOLE(GET("Host: h\r\nX: y\0z\r\n")), "400", KIT_CLOSED},
        {"NUL in the target", WHOLE("GET /healthz\0x HTTP/1.1\r\nHost: h\r\n\r\n" BEHIND), "400", KIT_CLOSED},
        {"NUL in the method", WHOLE("GE\0T /healthz HTTP/1.1\r\nHost: h\r\n\r\n" BEHIND), "400|501",
         KIT_CLOSED},
        {"NUL in a length", WHOLE(POST("Content-Length: 5\0\r\n")), "400", KIT_CLOSED},
        {"control character in the target", "GET /healthz\x01 HTTP/1.1\r\nHost: h\r\n\r\n" BEHIND, 0, "400",
         KIT_CLOSED},
        {"DEL in the target", "GET /healthz\x7f HTTP/1.1\r\nHost: h\r\n\r\n" BEHIND, 0, "400", KIT_CLOSED},
    };
    refuse_all(*state, exchanges, KIT_COUNT(exchanges));
}

static void bare_line_breaks_are_refused(void **state)
{
    static const struct kit_exchange exchanges[] = {
        {"LF everywhere", "GET /healthz HTTP/1.1\nHost: h\n\n" BEHIND, 0, "400", KIT_CLOSED},
        {"LF behind the request line", "GET /healthz HTTP/1.1\nHost: h\r\n\r\n" BEHIND, 0, "400", KIT_CLOSED},
        {"LF behind a header", GET("Host: h\nX: y\r\n"), 0, "400", KIT_CLOSED},
        {"LF behind the length", POST("Content-Length: 5\nX: y\r\n"), 0, "400", KIT_CLOSED},
        {"LF for the empty line", "GET /healthz HTTP/1.1\r\nHost: h\r\n\n" BEHIND, 0, "400", KIT_CLOSED},
        {"LF hides a coding", CHUNKS("X: y\nTransfer-Encoding: chunked\r\n"), 0, "400", KIT_CLOSED},
        {"CR in a value", GET("Host: h\r\nX: y\rz\r\n"), 0, "400", KIT_CLOSED},
        {"CR behind a header", GET("Host: h\rX: y\r\n"), 0, "400", KIT_CLOSED},
        {"CR hides a coding", CHUNKS("X: y\rTransfer-Encoding: chunked\r\n"), 0, "400", KIT_CLOSED},
        {"CR in the request line", "GET /healthz\r HTTP/1.1\r\nHost: h\r\n\r\n" BEHIND, 0, "400", KIT_CLOSED},
        {"CR CR LF behind the request line", "GET /healthz HTTP/1.1\r\r\nHost: h\r\n\r\n" BEHIND, 0,
         "400|505", KIT_CLOSED},
        {"CR CR LF behind a header", GET("Host: h\r\r\n"), 0, "400", KIT_CLOSED},
        {"CR for the empty line", "GET /healthz HTTP/1.1\r\nHost: h\r\n\rX\r\n\r\n" BEHIND, 0, "400",
         KIT_CLOSED},
    };
    refuse_all(*state, exchanges, KIT_COUNT(exchanges));
}

static void host_is_named_once(void **state)
{
    static const struct kit_exchange exchanges[] = {
        {"none", GET("X: y\r\n"), 0, "400", KIT_CLOSED},
        {"no headers", "GET /healthz HTTP/1.1\r\n\r\n" BEHIND, 0, "400", KIT_CLOSED},
        {"two that differ", GET("Host: a\r\nHost: b\r\n"), 0, "400", KIT_CLOSED},
        {"two that agree", GET("Host: h\r\nhost: h\r\n"), 0, "400", KIT_CLOSED},
        {"two in HTTP/1.0", "GET /healthz HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n" BEHIND, 0, "400",
         KIT_CLOSED},
        {"absolute form without Host", "GET http://h/healthz HTTP/1.1\r\n\r\n" BEHIND, 0, "400", KIT_CLOSED},
    };
    refuse_all(*state, exchanges, KIT_COUNT(exchanges));
}

/* Odd, but one reading only: they must go through. */
static void unusual_but_clear_heads_are_taken(void **state)
{
    static const struct kit_exchange exchanges[] = {
        {"no space behind the colon", "GET /healthz HTTP/1.1\r\nHost:h\r\n\r\n", 0, "200", KIT_OPEN},
        {"tabs around a value", "GET /healthz HTTP/1.1\r\nHost: h\r\nX:\t y \t\r\n\r\n", 0, "200", KIT_OPEN},
        {"spaces around a length", "POST /push?key=k HTTP/1.1\r\nHost: h\r\nContent-Length:  1 \r\n\r\n1", 0,
         "200", KIT_OPEN},
        {"zeros before a length", "POST /push?key=k HTTP/1.1\r\nHost: h\r\nContent-Length: 0001\r\n\r\n1", 0,
         "200", KIT_OPEN},
        {"empty value", "GET /healthz HTTP/1.1\r\nHost: h\r\nX:\r\n\r\n", 0, "200", KIT_OPEN},
        {"colons in a value", "GET /healthz HTTP/1.1\r\nHost: h\r\nX: a:b::c\r\n\r\n", 0, "200", KIT_OPEN},
        {"bytes above 127 in a value", "GET /healthz HTTP/1.1\r\nHost: h\r\nX: \xc3\xa4\xff\r\n\r\n", 0,
         "200", KIT_OPEN},
        {"all marks that a name may have", "GET /healthz HTTP/1.1\r\nHost: h\r\n!#$%&'*+-.^_`|~9: y\r\n\r\n",
         0, "200", KIT_OPEN},
        {"length of a GET", "GET /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", 0, "200|400",
         KIT_EITHER},
        {"a repeated header that is no list", "GET /healthz HTTP/1.1\r\nHost: h\r\nX: 1\r\nX: 2\r\n\r\n", 0,
         "200", KIT_OPEN},
        {"Host with a port", "GET /healthz HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 0, "200", KIT_OPEN},
    };
    kit_play_all(kit_serve(*state), exchanges, KIT_COUNT(exchanges));
}

static void bad_escapes_of_the_query_are_refused(void **state)
{
    static const char *const targets[] = {
        "/push?key=%",   "/push?key=%2",     "/push?key=%zz",   "/push?key=a%2gb", "/push?key=%%20",
        "/push?key=% 1", "/push?key=%00",    "/push?key=a%0ab", "/push?key=a%7f",  "/push?key=%ff",
        "/push?key=%c3", "/push?key=%c0%80", "/push?key=%+1",   "/push?key=%0x",   "/push?key=%-1",
    };
    struct kit_server *server = kit_serve(*state);
    for (size_t i = 0; i < KIT_COUNT(targets); i++) {
        struct kit_exchange exchange = {.name = targets[i], .statuses = "400", .fate = KIT_EITHER};
        exchange.bytes =
            kit_format(*state, "POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1", targets[i]);
        assert_true(kit_play(server, &exchange));
    }
    assert_int_equal(kit_health(server, "queue.events"), 0);
}

static void good_escapes_of_the_query_are_decoded(void **state)
{
    static const struct {
        const char *sent, *same;
    } keys[] = {
        {"%6b%65%79", "key"}, {"a+b", "a%20b"}, {"a%2Bb", "a%2bb"}, {"a%26b", "a%26b"},
        {"%C3%A4", "%c3%a4"}, {"a=b", "a%3Db"}, {"a%25b", "a%25b"}, {"a%3fb", "a?b"},
    };
    struct kit_server *server = kit_serve(*state);
    for (size_t i = 0; i < KIT_COUNT(keys); i++) {
        kit_push(server, keys[i].sent, "1");
        kit_assert_get(server, keys[i].same, "g", "[1]");
    }
    assert_int_equal(kit_health(server, "queue.keys"), KIT_COUNT(keys));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(content_length_in_two_readings_is_refused),
        kit_test(transfer_encoding_in_two_readings_is_refused),
        kit_test(header_lines_in_two_readings_are_refused),
        kit_test(bare_line_breaks_are_refused),
        kit_test(host_is_named_once),
        kit_test(unusual_but_clear_heads_are_taken),
        kit_test(bad_escapes_of_the_query_are_refused),
        kit_test(good_escapes_of_the_query_are_decoded),
    };
    return kit_run_tests(tests);
}
