/*
 * Proves that a body is as long as RFC 9112 section 6 says, and that a head of which two readers could
 * disagree about that is refused with 400 and the connection closed: nothing behind it is ever taken for a
 * request of its own (request smuggling, RFC 9112 section 11.2), nor is anything stored.
 */
#include "kit_wire.h"

#define HEAD             "POST /push?key=k HTTP/1.1\r\nHost: h\r\n"
#define POST(fields)     HEAD fields "\r\n[1,2]"
#define CHUNKS(fields)   HEAD fields "\r\n5\r\n[1,2]\r\n0\r\n\r\n"
#define LENGTH_IS(value) POST("Content-Length: " value "\r\n")
#define CODING_IS(value) CHUNKS("Transfer-Encoding: " value "\r\n")

static void lengths_have_one_reading(void **state)
{
    static const struct kit_wire_row rows[] = {
        KIT_WIRE_GOOD("9110-8.6 a length", LENGTH_IS("5"), "200", "[[1,2]]"),
        KIT_WIRE_GOOD("9110-8.6 zeros first", LENGTH_IS("0005"), "200", "[[1,2]]"),
        KIT_WIRE_GOOD("9112-5 white space around it", LENGTH_IS(" \t5 \t"), "200", "[[1,2]]"),
        KIT_WIRE_GOOD("9112-6.3 no length is no body", HEAD "\r\n", "400", NULL),
        KIT_WIRE_GOOD("9112-6.3 a length of none", HEAD "Content-Length: 0\r\n\r\n", "400", NULL),
        KIT_WIRE_GOOD("9112-6.3 a body that looks like a request",
                      "POST /no-such-path HTTP/1.1\r\nHost: h\r\nContent-Length: 63\r\n\r\n" KIT_WIRE_BEHIND,
                      "404", NULL),
        KIT_WIRE_BAD("9112-6.3 two that differ", POST("Content-Length: 5\r\nContent-Length: 6\r\n"), "400",
                     "Content-Length"),
        KIT_WIRE_BAD("9112-6.3 two that agree", POST("Content-Length: 5\r\nContent-Length: 5\r\n"), "400",
                     "Content-Length"),
        KIT_WIRE_BAD("9112-6.3 two that agree, apart",
                     POST("Content-Length: 5\r\nX: y\r\ncontent-length: 5\r\n"), "400", "Content-Length"),
        KIT_WIRE_BAD("9112-6.3 the first of none", POST("Content-Length: 0\r\nContent-Length: 5\r\n"), "400",
                     "Content-Length"),
        KIT_WIRE_BAD("9112-6.3 the last empty", POST("Content-Length: 5\r\nContent-Length:\r\n"), "400",
                     "Content-Length"),
        KIT_WIRE_BAD("9112-6.3 a list that agrees", LENGTH_IS("5,5"), "400", "Content-Length"),
        KIT_WIRE_BAD("9112-6.3 a list with a space", LENGTH_IS("5, 5"), "400", "Content-Length"),
        KIT_WIRE_BAD("9112-6.3 a list that differs", LENGTH_IS("5, 6"), "400", "Content-Length"),
        KIT_WIRE_BAD("9112-6.3 a list of one", LENGTH_IS("5,"), "400", "Content-Length"),
        KIT_WIRE_BAD("9110-8.6 two numbers", LENGTH_IS("5 5"), "400", "Content-Length"),
        KIT_WIRE_BAD("9110-8.6 a space in it", LENGTH_IS("1 2"), "400", "Content-Length"),
        KIT_WIRE_BAD("9110-8.6 plus", LENGTH_IS("+5"), "400", "Content-Length"),
        KIT_WIRE_BAD("9110-8.6 minus", LENGTH_IS("-5"), "400", "Content-Length"),
        KIT_WIRE_BAD("9110-8.6 minus zero", LENGTH_IS("-0"), "400", "Content-Length"),
        KIT_WIRE_BAD("9110-8.6 hexadecimal", LENGTH_IS("0x5"), "400", "Content-Length"),
        KIT_WIRE_BAD("9110-8.6 a letter behind", LENGTH_IS("5a"), "400", "Content-Length"),
        KIT_WIRE_BAD("9110-8.6 a hexadecimal digit", LENGTH_IS("a"), "400", "Content-Length"),
        KIT_WIRE_BAD("9110-8.6 a fraction", LENGTH_IS("5.0"), "400", "Content-Length"),
        KIT_WIRE_BAD("9110-8.6 an exponent", LENGTH_IS("5e0"), "400", "Content-Length"),
        KIT_WIRE_BAD("9110-8.6 a separator", LENGTH_IS("1_0"), "400", "Content-Length"),
        KIT_WIRE_BAD("9110-8.6 quoted", LENGTH_IS("\"5\""), "400", "Content-Length"),
        KIT_WIRE_BAD("9110-8.6 a parameter", LENGTH_IS("5;a=b"), "400", "Content-Length"),
        KIT_WIRE_BAD("9110-8.6 empty", LENGTH_IS(""), "400", "Content-Length"),
        KIT_WIRE_BAD("9110-8.6 a vertical tab before it", LENGTH_IS("\v5"), "400", NULL),
        KIT_WIRE_BAD("9110-8.6 a form feed behind it", LENGTH_IS("5\f"), "400", NULL),
        KIT_WIRE_BAD("9110-8.6 NUL behind it", LENGTH_IS("5\0"), "400", NULL),
        KIT_WIRE_BAD("9110-8.6 CR before it", LENGTH_IS("\r5"), "400", NULL),
        KIT_WIRE_BAD("9110-8.6 digits of another script", LENGTH_IS("\xd9\xa5"), "400", "Content-Length"),
        KIT_WIRE_BAD("9110-8.6 2^64 + 5", LENGTH_IS("18446744073709551621"), "400", "Content-Length"),
        KIT_WIRE_BAD("9110-8.6 2^64", LENGTH_IS("18446744073709551616"), "400", "Content-Length"),
        KIT_WIRE_BAD("9110-8.6 2^64 - 1", LENGTH_IS("18446744073709551615"), "400", "Content-Length"),
        KIT_WIRE_BAD("9110-8.6 2^63", LENGTH_IS("9223372036854775808"), "400", "Content-Length"),
        KIT_WIRE_BAD("9110-8.6 10^40 + 5", LENGTH_IS("10000000000000000000000000000000000000005"), "400",
                     "Content-Length"),
        KIT_WIRE_BAD("9110-15.5.14 2^63 - 1", LENGTH_IS("9223372036854775807"), "413", "1048576"),
        KIT_WIRE_BAD("9110-15.5.14 2^32 + 5", LENGTH_IS("4294967301"), "413", "1048576"),
        KIT_WIRE_BAD("9112-5.1 a space before the colon", POST("Content-Length : 5\r\n"), "400", "name"),
        KIT_WIRE_BAD("9112-5.2 folded", POST("Content-Length:\r\n 5\r\n"), "400", NULL),
        KIT_WIRE_BAD("9112-6.3 bad on no path",
                     "POST /no-such-path HTTP/1.1\r\nHost: h\r\nContent-Length: 0x5\r\n\r\n", "400",
                     "Content-Length"),
        KIT_WIRE_BAD("9112-6.3 bad on a GET",
                     "GET /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 5,5\r\n\r\n", "400",
                     "Content-Length"),
        KIT_WIRE_BAD("9112-6.3 bad in HTTP/1.0",
                     "POST /push?key=k HTTP/1.0\r\nContent-Length: 5, 5\r\n\r\n[1,2]", "400",
                     "Content-Length"),
    };
    kit_wire_play_table(*state, rows, KIT_COUNT(rows));
}

static void codings_have_one_reading(void **state)
{
    static const struct kit_wire_row rows[] = {
        KIT_WIRE_GOOD("9112-6.1 chunked", CODING_IS("chunked"), "200", "[[1,2]]"),
        KIT_WIRE_GOOD("9112-7 names of codings have no case", CODING_IS("cHuNkEd"), "200", "[[1,2]]"),
        KIT_WIRE_GOOD("9112-5 white space around it", CODING_IS(" \tchunked \t"), "200", "[[1,2]]"),
        KIT_WIRE_GOOD("9112-5 no space behind the colon", CHUNKS("TRANSFER-ENCODING:chunked\r\n"), "200",
                      "[[1,2]]"),
        /* Names that are not it: the length counts. */
        KIT_WIRE_GOOD("9110-5.1 an underscore", POST("Content-Length: 5\r\nTransfer_Encoding: chunked\r\n"),
                      "200", "[[1,2]]"),
        KIT_WIRE_GOOD("9110-5.1 a letter more", POST("Content-Length: 5\r\nXTransfer-Encoding: chunked\r\n"),
                      "200", "[[1,2]]"),
        KIT_WIRE_GOOD("9110-10.1.4 TE is another field",
                      POST("Content-Length: 5\r\nTE: chunked, trailers\r\n"), "200", "[[1,2]]"),
        /* Known to HTTP, framed well, not known here. */
        KIT_WIRE_BAD("9112-6.1 gzip, chunked", CODING_IS("gzip, chunked"), "501", "chunked"),
        KIT_WIRE_BAD("9112-6.1 x-gzip,chunked", CODING_IS("x-gzip,chunked"), "501", "chunked"),
        KIT_WIRE_BAD("9112-6.1 deflate, gzip, Chunked", CODING_IS("deflate, GZIP , Chunked"), "501",
                     "chunked"),
        KIT_WIRE_BAD("9112-6.1 compress, chunked", CODING_IS("compress, chunked"), "501", "chunked"),
        /* No end that all agree on. */
        KIT_WIRE_BAD("9112-6.3 gzip", CODING_IS("gzip"), "400", "chunked"),
        KIT_WIRE_BAD("9112-6.3 chunked, gzip", CODING_IS("chunked, gzip"), "400", "chunked"),
        KIT_WIRE_BAD("9112-6.3 identity", CODING_IS("identity"), "400", "chunked"),
        KIT_WIRE_BAD("9112-6.3 chunked, identity", CODING_IS("chunked, identity"), "400", "chunked"),
        KIT_WIRE_BAD("9112-6.3 identity, chunked", CODING_IS("identity, chunked"), "400", "chunked"),
        KIT_WIRE_BAD("9112-7.1 chunked, chunked", CODING_IS("chunked, chunked"), "400", "chunked"),
        KIT_WIRE_BAD("9112-6.3 xchunked", CODING_IS("xchunked"), "400", "chunked"),
        KIT_WIRE_BAD("9112-6.3 chunkedx", CODING_IS("chunkedx"), "400", "chunked"),
        KIT_WIRE_BAD("9112-6.3 x-chunked", CODING_IS("x-chunked"), "400", "chunked"),
        KIT_WIRE_BAD("9112-6.3 chunke", CODING_IS("chunke"), "400", "chunked"),
        KIT_WIRE_BAD("9112-6.3 chunk", CODING_IS("chunk"), "400", "chunked"),
        KIT_WIRE_BAD("9112-6.3 x, chunked", CODING_IS("x, chunked"), "400", "chunked"),
        KIT_WIRE_BAD("9112-7 a weight", CODING_IS("chunked;q=1"), "400", "chunked"),
        KIT_WIRE_BAD("9112-7 a parameter", CODING_IS("chunked ; a=b"), "400", "chunked"),
        KIT_WIRE_BAD("9112-7 quoted", CODING_IS("\"chunked\""), "400", "chunked"),
        KIT_WIRE_BAD("9112-7 in single quotes", CODING_IS("'chunked'"), "400", "chunked"),
        KIT_WIRE_BAD("9112-7 two words", CODING_IS("chunked chunked"), "400", "chunked"),
        KIT_WIRE_BAD("9112-7 a space in it", CODING_IS("chun ked"), "400", "chunked"),
        KIT_WIRE_BAD("9112-7 a tab in it", CODING_IS("chunked\tx"), "400", "chunked"),
        KIT_WIRE_BAD("9112-7 a colon", CODING_IS(": chunked"), "400", "chunked"),
        KIT_WIRE_BAD("9112-7 a vertical tab before it", CODING_IS("\vchunked"), "400", NULL),
        KIT_WIRE_BAD("9112-7 a vertical tab behind it", CODING_IS("chunked\v"), "400", NULL),
        KIT_WIRE_BAD("9112-7 a form feed behind it", CODING_IS("chunked\f"), "400", NULL),
        KIT_WIRE_BAD("9112-7 NUL behind it", CODING_IS("chunked\0"), "400", NULL),
        KIT_WIRE_BAD("9112-7 CR before it", CODING_IS("\rchunked"), "400", NULL),
        KIT_WIRE_BAD("9112-7 a no-break space before it",
                     CODING_IS("\xa0"
                               "chunked"),
                     "400", "chunked"),
        KIT_WIRE_BAD("9112-6.3 empty", CODING_IS(""), "400", "chunked"),
        KIT_WIRE_BAD("9110-5.6.1 an empty element first", CODING_IS(", chunked"), "400", "chunked"),
        KIT_WIRE_BAD("9110-5.6.1 an empty element behind", CODING_IS("chunked,"), "400", "chunked"),
        KIT_WIRE_BAD("9112-6.3 two fields",
                     CHUNKS("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), "400",
                     "Transfer-Encoding"),
        KIT_WIRE_BAD("9112-6.3 two fields, the last one x",
                     CHUNKS("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n"), "400",
                     "Transfer-Encoding"),
        KIT_WIRE_BAD("9112-6.3 two fields, the first one x",
                     CHUNKS("Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n"), "400",
                     "Transfer-Encoding"),
        KIT_WIRE_BAD("9112-6.3 two fields, the first one empty",
                     CHUNKS("Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n"), "400",
                     "Transfer-Encoding"),
        KIT_WIRE_BAD("9112-6.3 two fields, the first one identity",
                     CHUNKS("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n"), "400",
                     "Transfer-Encoding"),
        KIT_WIRE_BAD("9112-5.1 a space before the colon", CHUNKS("Transfer-Encoding : chunked\r\n"), "400",
                     "name"),
        KIT_WIRE_BAD("9112-5.1 a tab before the colon", CHUNKS("Transfer-Encoding\t: chunked\r\n"), "400",
                     "name"),
        KIT_WIRE_BAD("9112-5.2 folded", CHUNKS("Transfer-Encoding:\r\n chunked\r\n"), "400", NULL),
        KIT_WIRE_BAD("9112-5.2 folded inside", CHUNKS("Transfer-Encoding: x\r\n , chunked\r\n"), "400", NULL),
        KIT_WIRE_BAD("9112-2.2 hidden behind LF", CHUNKS("X: y\nTransfer-Encoding: chunked\r\n"), "400",
                     "CRLF"),
        KIT_WIRE_BAD("9112-2.2 hidden behind CR", CHUNKS("X: y\rTransfer-Encoding: chunked\r\n"), "400",
                     NULL),
        KIT_WIRE_BAD("9112-2.2 hidden by a space first",
                     HEAD " Transfer-Encoding: chunked\r\n\r\n5\r\n[1,2]\r\n0\r\n\r\n", "400", NULL),
    };
    kit_wire_play_table(*state, rows, KIT_COUNT(rows));
}

static void length_and_coding_exclude_each_other(void **state)
{
    static const struct kit_wire_row rows[] = {
        KIT_WIRE_BAD("9112-6.3 CL.TE",
                     HEAD "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400",
                     "Content-Length.*Transfer-Encoding"),
        KIT_WIRE_BAD("9112-6.3 TE.CL",
                     HEAD "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", "400",
                     "Content-Length.*Transfer-Encoding"),
        KIT_WIRE_BAD("9112-6.3 they agree", CHUNKS("Content-Length: 15\r\nTransfer-Encoding: chunked\r\n"),
                     "400", "Content-Length.*Transfer-Encoding"),
        KIT_WIRE_BAD("9112-6.3 a length of none",
                     CHUNKS("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"), "400",
                     "Content-Length.*Transfer-Encoding"),
        KIT_WIRE_BAD("9112-6.3 the length is malformed",
                     CHUNKS("Content-Length: x\r\nTransfer-Encoding: chunked\r\n"), "400", "Content-Length"),
        KIT_WIRE_BAD("9112-6.3 identity", POST("Content-Length: 5\r\nTransfer-Encoding: identity\r\n"), "400",
                     "Content-Length.*Transfer-Encoding"),
        KIT_WIRE_BAD("9112-6.3 xchunked", POST("Content-Length: 5\r\nTransfer-Encoding: xchunked\r\n"), "400",
                     "Content-Length.*Transfer-Encoding"),
        KIT_WIRE_BAD("9112-6.3 gzip, chunked",
                     CHUNKS("Content-Length: 5\r\nTransfer-Encoding: gzip, chunked\r\n"), "400",
                     "Content-Length.*Transfer-Encoding"),
        KIT_WIRE_BAD("9112-6.3 an empty coding", POST("Content-Length: 5\r\nTransfer-Encoding:\r\n"), "400",
                     "Content-Length.*Transfer-Encoding"),
        KIT_WIRE_BAD("9112-6.3 apart",
                     CHUNKS("Content-Length: 5\r\nX: y\r\nZ: w\r\ntransfer-encoding: CHUNKED\r\n"), "400",
                     "Content-Length.*Transfer-Encoding"),
        KIT_WIRE_BAD("9112-6.3 on a GET",
                     "GET /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: "
                     "chunked\r\n\r\n0\r\n\r\n",
                     "400", "Content-Length.*Transfer-Encoding"),
        KIT_WIRE_ROW("9112-6.3 on HEAD",
                     "HEAD /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: "
                     "chunked\r\n\r\n0\r\n\r\n" KIT_WIRE_BEHIND,
                     "H400", KIT_CLOSED, NULL, NULL),
        KIT_WIRE_BAD("9112-6.1 a coding in HTTP/1.0",
                     "POST /push?key=k HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n7\r\n0\r\n\r\n",
                     "400", "HTTP/1.0"),
        KIT_WIRE_BAD("9112-6.1 a coding in HTTP/1.0 that is kept",
                     "POST /push?key=k HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: "
                     "chunked\r\n\r\n1\r\n7\r\n0\r\n\r\n",
                     "400", "HTTP/1.0"),
        KIT_WIRE_BAD("9112-6.1 both in HTTP/1.0",
                     "POST /push?key=k HTTP/1.0\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n7",
                     "400", NULL),
        KIT_WIRE_ROW("9112-6.3 behind a good request",
                     LENGTH_IS("5") HEAD
                     "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" KIT_WIRE_BEHIND,
                     "200 400", KIT_CLOSED, "[[1,2]]", "Content-Length.*Transfer-Encoding"),
    };
    kit_wire_play_table(*state, rows, KIT_COUNT(rows));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(lengths_have_one_reading),
        kit_test(codings_have_one_reading),
        kit_test(length_and_coding_exclude_each_other),
    };
    return kit_run_tests(tests);
}
