/* Texts with the verdict that RFC 8259 (and RFC 3629 for UTF-8) gives on them, and the place of the first byte that can't
 * belong to a valid text. Written by hand from the grammar. */
#ifndef JSON_ROWS_KIT_H
#define JSON_ROWS_KIT_H

#include <stddef.h>

struct row {
    const char *bytes;
    size_t length;
    size_t line, column; /* of the first bad byte; 0: it is taken */
};

#define TAKEN(literal)                                                                                       \
    {                                                                                                        \
        (literal), sizeof(literal) - 1, 0, 0                                                                 \
    }
/* Refused in the first line, or in any. */
#define REFUSED(literal, column)                                                                             \
    {                                                                                                        \
        (literal), sizeof(literal) - 1, 1, (column)                                                          \
    }
#define REFUSED_AT(literal, line, column)                                                                    \
    {                                                                                                        \
        (literal), sizeof(literal) - 1, (line), (column)                                                     \
    }

static const struct row numbers[] = {
    TAKEN("0"),
    TAKEN("-0"),
    TAKEN("7"),
    TAKEN("-7"),
    TAKEN("10"),
    TAKEN("1234567890"),
    TAKEN("0.0"),
    TAKEN("-0.0"),
    TAKEN("0.10"),
    TAKEN("10.01"),
    TAKEN("0e0"),
    TAKEN("0E0"),
    TAKEN("1e9"),
    TAKEN("1E+9"),
    TAKEN("1e-9"),
    TAKEN("1e00"),
    TAKEN("1.5e007"),
    TAKEN("-1.5E-07"),
    TAKEN("1e999"),
    TAKEN("-1e999"),
    TAKEN("1e-999"),
    TAKEN("1e99999999999999999999"),
    TAKEN("9007199254740993"),
    TAKEN("18446744073709551616"),
    TAKEN("-9223372036854775809"),
    TAKEN("0.1000000000000000055511151231257827021181583404541015625"),
    REFUSED("-", 2),
    REFUSED("--1", 2),
    REFUSED("-x", 2),
    REFUSED("+1", 1),
    REFUSED("+", 1),
    REFUSED("00", 2),
    REFUSED("01", 2),
    REFUSED("-01", 3),
    REFUSED("-00", 3),
    REFUSED("1.", 3),
    REFUSED("1. ", 3),
    REFUSED("-1.", 4),
    REFUSED(".5", 1),
    REFUSED("-.5", 2),
    REFUSED("1..5", 3),
    REFUSED("1.e5", 3),
    REFUSED("1.5.", 4),
    REFUSED("1e", 3),
    REFUSED("1E", 3),
    REFUSED("1e+", 4),
    REFUSED("1e-", 4),
    REFUSED("1e+-1", 4),
    REFUSED("1ee1", 3),
    REFUSED("1e1.5", 4),
    REFUSED("1e1e1", 4),
    REFUSED("0x10", 2),
    REFUSED("0b1", 2),
    REFUSED("0o7", 2),
    REFUSED("1_000", 2),
    REFUSED("1,000", 2),
    REFUSED("1 000", 3),
    REFUSED("- 1", 2),
    REFUSED("1f", 2),
    REFUSED("1n", 2),
    REFUSED("Infinity", 1),
    REFUSED("-Infinity", 2),
    REFUSED("NaN", 1),
    REFUSED("nan", 2),
    REFUSED("$1", 1),
    REFUSED("1%", 2),
    REFUSED("1-1", 2),
    REFUSED("1+1", 2),
    REFUSED("\xd9\xa1", 1), /* a digit of another script */
    REFUSED("1\xc2\xb2", 2),
};

static const struct row strings[] = {
    TAKEN("\"\""),
    TAKEN("\" \""),
    TAKEN("\"a\""),
    TAKEN("\"'\""),
    TAKEN("\"/\""),
    TAKEN("\"\\\"\""),
    TAKEN("\"\\\\\""),
    TAKEN("\"\\/\""),
    TAKEN("\"\\b\\f\\n\\r\\t\""),
    TAKEN("\"\\u0000\""),
    TAKEN("\"\\u0022\\u005C\""),
    TAKEN("\"\\uaBcD\""),
    TAKEN("\"\\uFFFE\\uffff\""),
    TAKEN("\"\\ud83D\\uDe00\""),
    TAKEN("\"\\ud800\""), /* no character, but of the grammar: RFC 8259 section 8.2 */
    TAKEN("\"\\udc00\""),
    TAKEN("\"\\udc00\\ud800\""),
    TAKEN("\"\\ud800x\""),
    TAKEN("\"\\ud800\\u0041\""),
    TAKEN("\"\x7f\""),
    TAKEN("\"\xc2\x80\""),
    TAKEN("\"\xc2\x85\""),
    TAKEN("\"\xdf\xbf\""),
    TAKEN("\"\xe0\xa0\x80\""),
    TAKEN("\"\xe2\x80\xa8\xe2\x80\xa9\""), /* U+2028, U+2029 */
    TAKEN("\"\xed\x9f\xbf\xee\x80\x80\""), /* around the surrogates */
    TAKEN("\"\xef\xbb\xbf\""),
    TAKEN("\"\xef\xbf\xbe\xef\xbf\xbf\""),
    TAKEN("\"\xf0\x90\x80\x80\""),
    TAKEN("\"\xf4\x8f\xbf\xbf\""),
    REFUSED("\"", 2),
    REFUSED("\"a", 3),
    REFUSED("\"\\\"", 4),
    REFUSED("\"\\", 3),
    REFUSED("\"\\\\\\\"", 6),
    REFUSED("a\"", 1),
    REFUSED("'a'", 1),
    REFUSED("\"a\"b", 4),
    REFUSED("\"a\"\"", 4),
    REFUSED("\"\\a\"", 3),
    REFUSED("\"\\v\"", 3),
    REFUSED("\"\\0\"", 3),
    REFUSED("\"\\'\"", 3),
    REFUSED("\"\\x41\"", 3),
    REFUSED("\"\\U0041\"", 3),
    REFUSED("\"\\ \"", 3),
    REFUSED("\"\\\n\"", 3),
    REFUSED("\"\\\0\"", 3),
    REFUSED("\"\\u\"", 4),
    REFUSED("\"\\u1\"", 5),
    REFUSED("\"\\u12\"", 6),
    REFUSED("\"\\u123\"", 7),
    REFUSED("\"\\u12G4\"", 6),
    REFUSED("\"\\u+123\"", 4),
    REFUSED("\"\\u 123\"", 4),
    REFUSED("\"\\u{1F600}\"", 4),
    REFUSED("\"a\nb\"", 3),
    REFUSED("\"a\rb\"", 3),
    REFUSED("\"a\tb\"", 3),
    REFUSED("\"a\0b\"", 3),
    REFUSED("\"\x01\"", 2),
    REFUSED("\"\x08\"", 2),
    REFUSED("\"\x0b\"", 2),
    REFUSED("\"\x0c\"", 2),
    REFUSED("\"\x1b[31m\"", 2),
    REFUSED("\"\x1f\"", 2),
};

static const struct row no_utf8[] = {
    REFUSED("\"\x80\"", 2),
    REFUSED("\"\xbf\"", 2),
    REFUSED("\"\xc0\x80\"", 2),
    REFUSED("\"\xc1\xbf\"", 2),
    REFUSED("\"\xc2\"", 2),
    REFUSED("\"\xc2(\"", 2),
    REFUSED("\"\xe0\x80\x80\"", 2),
    REFUSED("\"\xe0\x9f\xbf\"", 2),
    REFUSED("\"\xe2\x82\"", 2),
    REFUSED("\"\xe2\"", 2),
    REFUSED("\"\xe2(\xa1\"", 2),
    REFUSED("\"\xed\xa0\x80\"", 2),             /* U+D800 */
    REFUSED("\"\xed\xbf\xbf\"", 2),             /* U+DFFF */
    REFUSED("\"\xed\xa0\xbd\xed\xb8\x80\"", 2), /* a pair of them: CESU-8 */
    REFUSED("\"\xf0\x80\x80\x80\"", 2),
    REFUSED("\"\xf0\x8f\xbf\xbf\"", 2),
    REFUSED("\"\xf0\x9f\x98\"", 2),
    REFUSED("\"\xf0\x9f\"", 2),
    REFUSED("\"\xf4\x90\x80\x80\"", 2), /* U+110000 */
    REFUSED("\"\xf5\x80\x80\x80\"", 2),
    REFUSED("\"\xf8\x88\x80\x80\x80\"", 2),
    REFUSED("\"\xfc\x84\x80\x80\x80\x80\"", 2),
    REFUSED("\"\xfe\"", 2),
    REFUSED("\"\xff\"", 2),
    REFUSED("\"caf\xe9\"", 5), /* ISO 8859-1 */
    REFUSED("\"a\xc3", 3),
    REFUSED("{\"\xe9\":1}", 3),
    REFUSED_AT("[1,\n\"\xff\"]", 2, 2),
};

static const struct row words_and_space[] = {
    TAKEN("true"),
    TAKEN("false"),
    TAKEN("null"),
    TAKEN(" \t\r\nnull\n\r\t "),
    TAKEN(" 1"),
    TAKEN("1\n"),
    TAKEN("\t\"a\"\r\n"),
    TAKEN("\n[\n1\r,\t2 ]\n"),
    TAKEN(" { \"a\" : 1 , \"b\" : 2 } "),
    REFUSED("", 1),
    REFUSED(" ", 2),
    REFUSED("\t\t", 3),
    REFUSED_AT("\r\n", 2, 1),
    REFUSED_AT("\n\n\n", 4, 1),
    REFUSED("t", 2),
    REFUSED("tru", 4),
    REFUSED("trues", 5),
    REFUSED("True", 1),
    REFUSED("TRUE", 1),
    REFUSED("fals", 5),
    REFUSED("falsy", 5),
    REFUSED("nul", 4),
    REFUSED("nil", 2),
    REFUSED("NULL", 1),
    REFUSED("undefined", 1),
    REFUSED("\x0b"
            "1",
            1),
    REFUSED("1\x0c", 2),
    REFUSED("\xc2\xa0"
            "1",
            1),                  /* no-break space */
    REFUSED("1\xe2\x80\xa8", 2), /* line separator */
    REFUSED("\xe3\x80\x80"
            "1",
            1), /* ideographic space */
    REFUSED("\xef\xbb\xbf"
            "1",
            1), /* a byte order mark is not added, RFC 8259 section 8.1; here it is refused */
    REFUSED("\xef\xbb\xbf", 1),
    REFUSED("\xff\xfe"
            "1\0",
            1), /* UTF-16 */
    REFUSED("1\xef\xbb\xbf", 2),
    REFUSED("\0", 1),
    REFUSED("1\0", 2),
    REFUSED("\0"
            "1",
            1),
    REFUSED("[\0]", 2),
    REFUSED("[1\0]", 3),
    REFUSED("{\"a\"\0:1}", 5),
    REFUSED("1\x7f", 2),
    REFUSED("//\n1", 1),
    REFUSED("1 //", 3),
    REFUSED("/**/1", 1),
    REFUSED("[1/**/]", 3),
    REFUSED("# 1", 1),
    REFUSED_AT("1\n#", 2, 1),
};

static const struct row structure[] = {
    TAKEN("[]"),
    TAKEN("{}"),
    TAKEN("[[]]"),
    TAKEN("[{},{}]"),
    TAKEN("{\"a\":{}}"),
    TAKEN("{\"\":\"\"}"),
    TAKEN("{\"a\":1,\"a\":2}"), /* section 4: names should be unique, and need not be */
    TAKEN("{\"a\":1,\"\\u0061\":2}"),
    TAKEN("{\"\\ud800\":1}"),
    TAKEN("[1,\"two\",3.0,null,true,false,{\"a\":[{}]}]"),
    REFUSED("[", 2),
    REFUSED("{", 2),
    REFUSED("]", 1),
    REFUSED("}", 1),
    REFUSED(",", 1),
    REFUSED(":", 1),
    REFUSED("[1", 3),
    REFUSED("[1,", 4),
    REFUSED("[1,]", 4),
    REFUSED("[,1]", 2),
    REFUSED("[1,,2]", 4),
    REFUSED("[1 2]", 4),
    REFUSED("[1:2]", 3),
    REFUSED("[}", 2),
    REFUSED("{]", 2),
    REFUSED("[1}", 3),
    REFUSED("{\"a\":1]", 7),
    REFUSED("{,}", 2),
    REFUSED("{\"a\"}", 5),
    REFUSED("{\"a\":}", 6),
    REFUSED("{\"a\":1,}", 8),
    REFUSED("{\"a\" 1}", 6),
    REFUSED("{\"a\"::1}", 6),
    REFUSED("{\"a\":1 \"b\":2}", 8),
    REFUSED("{\"a\":1,,\"b\":2}", 8),
    REFUSED("{1:1}", 2),
    REFUSED("{a:1}", 2),
    REFUSED("{'a':1}", 2),
    REFUSED("{null:1}", 2),
    REFUSED("{[]:1}", 2),
    REFUSED("{\"a\":1", 7),
    REFUSED("{\"a\"", 5),
    REFUSED("1 2", 3),
    REFUSED("1,2", 2),
    REFUSED("[][]", 3),
    REFUSED("{} {}", 4),
    REFUSED("null null", 6),
    REFUSED("[1]]", 4),
    REFUSED("{}}", 3),
    REFUSED("[]x", 3),
    REFUSED_AT("1\n2", 2, 1),
    REFUSED_AT("[1,\n 2,\n]", 3, 1),
    REFUSED_AT("{\r\n\"a\":\r\n1\r\n\"b\"}", 4, 1),
};

#define TABLE(rows)                                                                                          \
    {                                                                                                        \
        (rows), sizeof(rows) / sizeof((rows)[0])                                                             \
    }
static const struct {
    const struct row *rows;
    size_t count;
} tables[] = {TABLE(numbers), TABLE(strings), TABLE(no_utf8), TABLE(words_and_space), TABLE(structure)};

#endif
