/*
 * Proves that chunks, their extensions and trailers are read as RFC 9112 section 7.1 writes them, to the
 * byte, and that what is not written so ends the connection: a size that two readers take for two numbers, or
 * a line that ends in two places, hides a request (RFC 9112 section 11.2).
 */
#include <string.h>

#include "kit_wire.h"

#define HEAD       "POST /push?key=k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
#define SIZE(size) HEAD size "\r\n[1,2]\r\n0\r\n\r\n"
#define LAST(last) HEAD "5\r\n[1,2]\r\n" last
#define STORED     "[[1,2]]"

static void chunks_are_sizes_and_data(void **state)
{
    static const struct kit_wire_row rows[] = {
        KIT_WIRE_GOOD("9112-7.1 one chunk", SIZE("5"), "200", STORED),
        KIT_WIRE_GOOD("9112-7.1 a byte a chunk", HEAD "1\r\n[\r\n1\r\n1\r\n1\r\n]\r\n0\r\n\r\n", "200",
                      "[[1]]"),
        KIT_WIRE_GOOD("9112-7.1 small and capital digits",
                      HEAD "a\r\n[1,2,3,4,5\r\nB\r\n,6,7,8,9,0]\r\n0\r\n\r\n", "200",
                      "[[1,2,3,4,5,6,7,8,9,0]]"),
        KIT_WIRE_GOOD("9112-7.1 two digits", HEAD "10\r\n[1,2,3,4,5,6,77]\r\n0\r\n\r\n", "200",
                      "[[1,2,3,4,5,6,77]]"),
        KIT_WIRE_GOOD("9112-7.1 zeros first", SIZE("0005"), "200", STORED),
        KIT_WIRE_GOOD("9112-7.1 14 zeros first", SIZE("000000000000005"), "200", STORED),
        KIT_WIRE_GOOD("9112-7.1 the last chunk has zeros", LAST("000\r\n\r\n"), "200", STORED),
        KIT_WIRE_GOOD("9112-7.1 breaks in the data", HEAD "7\r\n[\r\n1\r\n]\r\n0\r\n\r\n", "200",
                      "[[\r\n1\r\n]]"),
        KIT_WIRE_GOOD("9112-7.1 data like the last chunk", HEAD "9\r\n[0\r\n\r\n  ]\r\n0\r\n\r\n", "200",
                      "[[0\r\n\r\n  ]]"),
        KIT_WIRE_GOOD("9112-7.1 no data is no body", HEAD "0\r\n\r\n", "400", NULL),
        KIT_WIRE_GOOD("9112-7.1 the next request", SIZE("5") SIZE("5"), "200 200", "[[1,2],[1,2]]"),
        KIT_WIRE_BAD("9112-7.1 no size", SIZE(""), "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 not a digit", SIZE("g"), "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 a digit, then not", SIZE("5x"), "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 plus", SIZE("+5"), "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 minus", SIZE("-5"), "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 minus zero", LAST("-0\r\n\r\n"), "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 0x", SIZE("0x5"), "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 0x of the last chunk", LAST("0x0\r\n\r\n"), "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 h", SIZE("5h"), "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 a fraction", SIZE("5.0"), "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 a separator", SIZE("0_5"), "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 quoted", SIZE("\"5\""), "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 a space first", SIZE(" 5"), "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 a tab first", SIZE("\t5"), "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 a space behind", SIZE("5 "), "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 spaces behind the last chunk", LAST("0   \r\n\r\n"), "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 two sizes", SIZE("5 5"), "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 a comma", SIZE("5,5"), "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 NUL", SIZE("5\0"), "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 a vertical tab", SIZE("5\v"), "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 2^64 + 5", SIZE("10000000000000005"), "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 2^64", LAST("10000000000000000\r\n\r\n"), "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 2^64 - 1", SIZE("ffffffffffffffff"), "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 2^63", SIZE("8000000000000000"), "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 2^128 + 5", SIZE("100000000000000000000000000000005"), "400", "chunk"),
        KIT_WIRE_BAD("9110-15.5.14 2^32 + 5", SIZE("100000005"), "413", "larger"),
        KIT_WIRE_BAD("9110-15.5.14 2^60 - 1", SIZE("fffffffffffffff"), "413", "larger"),
        KIT_WIRE_BAD("9112-7.1 data too long", SIZE("4"), "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 data too short", SIZE("6"), "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 no break behind the data", HEAD "5\r\n[1,2]0\r\n\r\n", "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 another byte for the break", HEAD "5\r\n[1,2]xx0\r\n\r\n", "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 LF behind the size", HEAD "5\n[1,2]\r\n0\r\n\r\n", "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 CR behind the size", HEAD "5\r[1,2]\r\n0\r\n\r\n", "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 CR CR LF behind the size", HEAD "5\r\r\n[1,2]\r\n0\r\n\r\n", "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 LF CR behind the size", HEAD "5\n\r[1,2]\r\n0\r\n\r\n", "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 LF behind the data", HEAD "5\r\n[1,2]\n0\r\n\r\n", "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 CR behind the data", HEAD "5\r\n[1,2]\r0\r\n\r\n", "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 an empty line between chunks", HEAD "5\r\n[1,2]\r\n\r\n0\r\n\r\n", "400",
                     "chunk"),
        KIT_WIRE_BAD("9112-7.1 LF behind the last chunk", LAST("0\n\r\n"), "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1 LF for the last line", LAST("0\r\n\n"), "400", "trailer"),
        KIT_WIRE_BAD("9112-7.1 CR for the last line", LAST("0\r\n\rX"), "400", "trailer"),
        KIT_WIRE_BAD("9112-7.1 no last line", LAST("0\r\n"), "400", "trailer"),
    };
    kit_wire_play_table(*state, rows, KIT_COUNT(rows));
}

static void extensions_are_names_with_values(void **state)
{
    static const struct kit_wire_row rows[] = {
        KIT_WIRE_GOOD("9112-7.1.1 a name", SIZE("5;name"), "200", STORED),
        KIT_WIRE_GOOD("9112-7.1.1 a name and a value", SIZE("5;name=value"), "200", STORED),
        KIT_WIRE_GOOD("9112-7.1.1 several", SIZE("5;a;b=c;a;d=\"e\""), "200", STORED),
        KIT_WIRE_GOOD("9112-7.1.1 a quoted value", SIZE("5;a=\"b;c=d \t\xc3\xa4\";e"), "200", STORED),
        KIT_WIRE_GOOD("9112-7.1.1 an empty quoted value", SIZE("5;a=\"\""), "200", STORED),
        KIT_WIRE_GOOD("9112-7.1.1 quotes within quotes", SIZE("5;a=\"\\\"\\\\\";b"), "200", STORED),
        KIT_WIRE_GOOD("9112-7.1.1 white space where it may be", SIZE("5 \t; \ta\t = \tb ; c = \"d\" ;e"),
                      "200", STORED),
        KIT_WIRE_GOOD("9112-7.1.1 of the last chunk", LAST("0;a=b\r\n\r\n"), "200", STORED),
        KIT_WIRE_BAD("9112-7.1.1 only an extension", SIZE(";a=b"), "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1.1 an empty one", SIZE("5;"), "400", "extension"),
        KIT_WIRE_BAD("9112-7.1.1 an empty one before another", SIZE("5;;a"), "400", "extension"),
        KIT_WIRE_BAD("9112-7.1.1 a value without a name", SIZE("5;=b"), "400", "extension"),
        KIT_WIRE_BAD("9112-7.1.1 no value", SIZE("5;a="), "400", "extension"),
        KIT_WIRE_BAD("9112-7.1.1 two values", SIZE("5;a=b=c"), "400", "extension"),
        KIT_WIRE_BAD("9112-7.1.1 two words", SIZE("5;a b"), "400", "extension"),
        KIT_WIRE_BAD("9112-7.1.1 two values by a space", SIZE("5;a=b c"), "400", "extension"),
        KIT_WIRE_BAD("9112-7.1.1 a space behind the name", SIZE("5;a "), "400", "extension"),
        KIT_WIRE_BAD("9112-7.1.1 a space behind the value", SIZE("5;a=b "), "400", "extension"),
        KIT_WIRE_BAD("9112-7.1.1 a quoted name", SIZE("5;\"a\""), "400", "extension"),
        KIT_WIRE_BAD("9112-7.1.1 a comma", SIZE("5;a,b"), "400", "extension"),
        KIT_WIRE_BAD("9112-7.1.1 a byte above 127", SIZE("5;\xc3\xa4"), "400", "extension"),
        KIT_WIRE_BAD("9112-7.1.1 quotes that do not end", SIZE("5;a=\"b"), "400", "extension"),
        KIT_WIRE_BAD("9112-7.1.1 a break in quotes", SIZE("5;a=\"b\r\n\""), "400", "extension"),
        KIT_WIRE_BAD("9112-7.1.1 an escaped break in quotes", SIZE("5;a=\"b\\\r\n\""), "400", "extension"),
        KIT_WIRE_BAD("9112-7.1.1 text behind quotes", SIZE("5;a=\"b\"c"), "400", "extension"),
        KIT_WIRE_BAD("9112-7.1.1 LF in it", SIZE("5;a\nb"), "400", "extension"),
        KIT_WIRE_BAD("9112-7.1.1 LF at its end", HEAD "5;a\n[1,2]\r\n0\r\n\r\n", "400", "extension"),
        KIT_WIRE_BAD("9112-7.1.1 LF in quotes", SIZE("5;a=\"b\nc\""), "400", "extension"),
        KIT_WIRE_BAD("9112-7.1.1 CR in it", SIZE("5;a\rb"), "400", "chunk"),
        KIT_WIRE_BAD("9112-7.1.1 CR in quotes", SIZE("5;a=\"b\rc\""), "400", "extension"),
        KIT_WIRE_BAD("9112-7.1.1 NUL in it", SIZE("5;a\0"), "400", "extension"),
        KIT_WIRE_BAD("9112-7.1.1 NUL in quotes", SIZE("5;a=\"\0\""), "400", "extension"),
        KIT_WIRE_BAD("9112-7.1.1 DEL in quotes", SIZE("5;a=\"\x7f\""), "400", "extension"),
    };
    kit_wire_play_table(*state, rows, KIT_COUNT(rows));
}

static void trailers_are_fields_that_change_nothing(void **state)
{
    static const struct kit_wire_row rows[] = {
        KIT_WIRE_GOOD("9112-7.1.2 one", LAST("0\r\nX: y\r\n\r\n"), "200", STORED),
        KIT_WIRE_GOOD("9112-7.1.2 several", LAST("0\r\nX: y\r\nX:\r\nX-B:\t\xc3\xa4 \r\n\r\n"), "200",
                      STORED),
        KIT_WIRE_GOOD(
            "9112-7.1.2 announced",
            "POST /push?key=k HTTP/1.1\r\nHost: h\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\n\r\n"
            "5\r\n[1,2]\r\n0\r\nX: y\r\n\r\n",
            "200", STORED),
        KIT_WIRE_GOOD("9112-7.1.2 of an empty body", HEAD "0\r\nX: y\r\n\r\n", "400", NULL),
        /* RFC 9110 section 6.5.1: what says how to read, route or admit a request comes too late to be heard. */
        KIT_WIRE_GOOD("9110-6.5.1 Content-Length", LAST("0\r\nContent-Length: 63\r\n\r\n"), "200", STORED),
        KIT_WIRE_GOOD("9110-6.5.1 Transfer-Encoding", LAST("0\r\nTransfer-Encoding: chunked\r\n\r\n"), "200",
                      STORED),
        KIT_WIRE_GOOD("9110-6.5.1 Host", LAST("0\r\nHost: a b\r\n\r\n"), "200", STORED),
        KIT_WIRE_GOOD("9110-6.5.1 Connection", LAST("0\r\nConnection: close\r\n\r\n"), "200", STORED),
        KIT_WIRE_GOOD("9110-6.5.1 Content-Encoding", LAST("0\r\nContent-Encoding: gzip\r\n\r\n"), "200",
                      STORED),
        KIT_WIRE_GOOD("9110-6.5.1 Origin", LAST("0\r\nOrigin: http://x\r\n\r\n"), "200", STORED),
        KIT_WIRE_GOOD("9110-6.5.1 Expect", LAST("0\r\nExpect: wonders\r\n\r\n"), "200", STORED),
        KIT_WIRE_BAD("9112-7.1.2 no colon", LAST("0\r\nabc\r\n\r\n"), "400", "trailer"),
        KIT_WIRE_BAD("9112-7.1.2 no name", LAST("0\r\n: y\r\n\r\n"), "400", "trailer"),
        KIT_WIRE_BAD("9112-7.1.2 a space before the colon", LAST("0\r\nX : y\r\n\r\n"), "400", "trailer"),
        KIT_WIRE_BAD("9112-7.1.2 a space first", LAST("0\r\n X: y\r\n\r\n"), "400", "trailer"),
        KIT_WIRE_BAD("9112-7.1.2 folded", LAST("0\r\nX: y\r\n z\r\n\r\n"), "400", "trailer"),
        KIT_WIRE_BAD("9112-7.1.2 LF behind it", LAST("0\r\nX: y\n\r\n"), "400", "trailer"),
        KIT_WIRE_BAD("9112-7.1.2 LF hides the end", LAST("0\r\nX: y\n\n"), "400", "trailer"),
        KIT_WIRE_BAD("9112-7.1.2 CR in it", LAST("0\r\nX: y\rz\r\n\r\n"), "400", "trailer"),
        KIT_WIRE_BAD("9112-7.1.2 NUL in the value", LAST("0\r\nX: \0\r\n\r\n"), "400", "trailer"),
        KIT_WIRE_BAD("9112-7.1.2 NUL in the name", LAST("0\r\nX\0: y\r\n\r\n"), "400", "trailer"),
        KIT_WIRE_BAD("9112-7.1.2 a control character", LAST("0\r\nX: \x1b\r\n\r\n"), "400", "trailer"),
        KIT_WIRE_BAD("9112-7.1.2 a request for a trailer", LAST("0\r\nGET /healthz HTTP/1.1\r\n\r\n"), "400",
                     "trailer"),
    };
    kit_wire_play_table(*state, rows, KIT_COUNT(rows));
}

/* RFC 9112 section 7.1.1: what surrounds the data is limited, with a status that says so. */
static void much_around_the_data_is_refused(void **state)
{
    struct kit *kit = *state;
    const char *large = kit_repeat(kit, "a", 200000), *zeros = kit_repeat(kit, "0", 200000);
    const char *fits = kit_repeat(kit, "a", 7000);
    const struct kit_wire_row rows[] = {
        {"9112-7.1.1 a long extension", kit_format(kit, SIZE("5;a=\"%s\""), fits), 0, "200", KIT_OPEN, STORED,
         NULL},
        {"9112-7.1.2 a long trailer", kit_format(kit, LAST("0\r\nX: %s\r\n\r\n"), fits), 0, "200", KIT_OPEN,
         STORED, NULL},
        {"9112-7.1.1 too long an extension", kit_format(kit, SIZE("5;%s") KIT_WIRE_BEHIND, large), 0, "431",
         KIT_CLOSED, NULL, "extensions"},
        {"9112-7.1.1 quotes without end", kit_format(kit, HEAD "5;a=\"%s", large), 0, "431", KIT_CLOSED, NULL,
         "extensions"},
        {"9112-7.1.1 many extensions",
         kit_format(kit, HEAD "%s0\r\n\r\n" KIT_WIRE_BEHIND, kit_repeat(kit, "1;abcdefgh\r\n1\r\n", 2000)), 0,
         "431", KIT_CLOSED, NULL, "extensions"},
        {"9112-7.1.2 too long a trailer", kit_format(kit, LAST("0\r\nX: %s\r\n\r\n") KIT_WIRE_BEHIND, large),
         0, "431", KIT_CLOSED, NULL, "trailers"},
        {"9112-7.1.2 many trailers",
         kit_format(kit, LAST("0\r\n%s\r\n") KIT_WIRE_BEHIND, kit_repeat(kit, "X: y\r\n", 20000)), 0, "431",
         KIT_CLOSED, NULL, "trailers"},
        {"9112-7.1 zeros without end", kit_format(kit, HEAD "%s", zeros), 0, "400", KIT_CLOSED, NULL,
         "chunk"},
    };
    kit_wire_play_table(kit, rows, KIT_COUNT(rows));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(chunks_are_sizes_and_data),
        kit_test(extensions_are_names_with_values),
        kit_test(trailers_are_fields_that_change_nothing),
        kit_test(much_around_the_data_is_refused),
    };
    return kit_run_tests(tests);
}
