/*
 * Proves that what begins a request is read as RFC 9112 sections 2 and 3 say: empty lines and line breaks,
 * the request line, versions, methods, and the four forms of a target.
 */
#include <string.h>

#include "kit_wire.h"

#define HOST       "Host: h\r\n\r\n"
#define LINE(line) line "\r\n" HOST

static void lines_begin_and_end_in_one_way(void **state)
{
    static const struct kit_wire_row rows[] = {
        /* A server SHOULD ignore at least one empty line: one, not two. */
        KIT_WIRE_GOOD("9112-2.2 an empty line first", "\r\n" LINE("GET /healthz HTTP/1.1"), "200", NULL),
        KIT_WIRE_GOOD("9112-2.2 an empty line between",
                      LINE("GET /healthz HTTP/1.1") "\r\n" LINE("GET /healthz HTTP/1.1"), "200 200", NULL),
        KIT_WIRE_GOOD("9112-2.2 an empty line behind a body",
                      "POST /push?key=k HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1\r\n" LINE(
                          "GET /healthz HTTP/1.1"),
                      "200 200", "[1]"),
        KIT_WIRE_BAD("9112-2.2 two empty lines first", "\r\n\r\n" LINE("GET /healthz HTTP/1.1"), "400",
                     "empty line"),
        KIT_WIRE_BAD("9112-2.2 five empty lines first", "\r\n\r\n\r\n\r\n\r\n" LINE("GET /healthz HTTP/1.1"),
                     "400", "empty line"),
        KIT_WIRE_BAD("9112-2.2 two empty lines between",
                     LINE("GET /healthz HTTP/1.1") "\r\n\r\n" LINE("GET /healthz HTTP/1.1"), "200 400",
                     "empty line"),
        KIT_WIRE_BAD("9112-2.2 LF first", "\n" LINE("GET /healthz HTTP/1.1"), "400", "CRLF"),
        KIT_WIRE_BAD("9112-2.2 CR first", "\r" LINE("GET /healthz HTTP/1.1"), "400", NULL),
        KIT_WIRE_BAD("9112-2.2 empty lines, then a field", "\r\n\r\n" HOST, "400", "empty line"),
        /* A recipient MAY take a single LF for a line break: not here, and a bare CR never. */
        KIT_WIRE_BAD("9112-2.2 LF everywhere", "GET /healthz HTTP/1.1\nHost: h\n\n", "400", "CRLF"),
        KIT_WIRE_BAD("9112-2.2 LF behind the request line", "GET /healthz HTTP/1.1\n" HOST, "400", "CRLF"),
        KIT_WIRE_BAD("9112-2.2 LF behind a field", "GET /healthz HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", "400",
                     "CRLF"),
        KIT_WIRE_BAD("9112-2.2 LF for the empty line", "GET /healthz HTTP/1.1\r\nHost: h\r\n\n", "400",
                     "CRLF"),
        KIT_WIRE_BAD("9112-2.2 LF hides a length",
                     "POST /push?key=k HTTP/1.1\r\nHost: h\r\nX: y\nContent-Length: 1\r\n\r\n1", "400",
                     "CRLF"),
        KIT_WIRE_BAD("9112-2.2 CR for the empty line", "GET /healthz HTTP/1.1\r\nHost: h\r\n\rX\r\n\r\n",
                     "400", NULL),
        KIT_WIRE_BAD("9112-2.2 CR in the request line", "GET /healthz\r HTTP/1.1\r\n" HOST, "400", NULL),
        KIT_WIRE_BAD("9112-2.2 CR CR LF behind the request line", "GET /healthz HTTP/1.1\r\r\n" HOST, "400",
                     NULL),
        KIT_WIRE_BAD("9112-2.2 CR for a line break", "GET /healthz HTTP/1.1\rHost: h\r\n\r\n", "400", NULL),
        KIT_WIRE_BAD("9112-2.2 a space before the first field", "GET /healthz HTTP/1.1\r\n X: y\r\n" HOST,
                     "400", NULL),
        KIT_WIRE_BAD("9112-2.2 a tab before the first field", "GET /healthz HTTP/1.1\r\n\tX: y\r\n" HOST,
                     "400", NULL),
        KIT_WIRE_BAD("9112-2.2 a blank line of a space",
                     "GET /healthz HTTP/1.1\r\n"
                     "Host: h\r\n \r\n\r\n",
                     "400", NULL),
        KIT_WIRE_BAD("9112-2.2 no HTTP, but TLS", "\x16\x03\x01\x02\x80\x01\x01\xfc\x03\x03\r\n\r\n", "400",
                     NULL),
        KIT_WIRE_BAD("9112-2.2 no HTTP, but a status line", "HTTP/1.1 200 OK\r\n" HOST, "400", NULL),
        KIT_WIRE_BAD("9112-2.2 no HTTP, but NULs", "\0\0\0\0\r\n\r\n", "400", NULL),
    };
    kit_wire_play_table(*state, rows, KIT_COUNT(rows));
}

static void versions_are_1(void **state)
{
    static const struct kit_wire_row rows[] = {
        KIT_WIRE_GOOD("9112-2.3 a minor version to come", LINE("GET /healthz HTTP/1.2"), "200", NULL),
        KIT_WIRE_GOOD("9112-2.3 the last minor version", LINE("GET /healthz HTTP/1.9"), "200", NULL),
        KIT_WIRE_ROW("9112-2.3 HTTP/1.0 is answered as 1.1", LINE("GET /healthz HTTP/1.0"), "200", KIT_CLOSED,
                     NULL, NULL),
        KIT_WIRE_BAD("9112-3.2 HTTP/1.2 needs Host too", "GET /healthz HTTP/1.2\r\n\r\n", "400", "Host"),
        KIT_WIRE_BAD("9110-15.6.6 HTTP/2.0", LINE("GET /healthz HTTP/2.0"), "505", "HTTP/1"),
        KIT_WIRE_BAD("9110-15.6.6 HTTP/3.0", LINE("GET /healthz HTTP/3.0"), "505", "HTTP/1"),
        KIT_WIRE_BAD("9110-15.6.6 HTTP/0.9", LINE("GET /healthz HTTP/0.9"), "505", "HTTP/1"),
        KIT_WIRE_BAD("9113-3.4 preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505", "HTTP/1"),
        KIT_WIRE_BAD("9112-2.3 HTTP/1.10", LINE("GET /healthz HTTP/1.10"), "400", NULL),
        KIT_WIRE_BAD("9112-2.3 HTTP/10.1", LINE("GET /healthz HTTP/10.1"), "400", NULL),
        KIT_WIRE_BAD("9112-2.3 HTTP/01.1", LINE("GET /healthz HTTP/01.1"), "400", NULL),
        KIT_WIRE_BAD("9112-2.3 HTTP/1", LINE("GET /healthz HTTP/1"), "400", NULL),
        KIT_WIRE_BAD("9112-2.3 HTTP/1.", LINE("GET /healthz HTTP/1."), "400", NULL),
        KIT_WIRE_BAD("9112-2.3 HTTP/.1", LINE("GET /healthz HTTP/.1"), "400", NULL),
        KIT_WIRE_BAD("9112-2.3 HTTP/1,1", LINE("GET /healthz HTTP/1,1"), "400", "version"),
        KIT_WIRE_BAD("9112-2.3 HTTP/1.x", LINE("GET /healthz HTTP/1.x"), "400", "version"),
        KIT_WIRE_BAD("9112-2.3 HTTP/-1.1", LINE("GET /healthz HTTP/-1.1"), "400", NULL),
        KIT_WIRE_BAD("9112-2.3 http/1.1", LINE("GET /healthz http/1.1"), "400", "version"),
        KIT_WIRE_BAD("9112-2.3 HTTPS/1.1", LINE("GET /healthz HTTPS/1.1"), "400", NULL),
        KIT_WIRE_BAD("9112-2.3 ICE/1.0", LINE("GET /healthz ICE/1.0"), "400", NULL),
        KIT_WIRE_BAD("9112-2.3 a space in the version", LINE("GET /healthz HTTP/ 1.1"), "400", NULL),
        KIT_WIRE_BAD("9112-3 no version", LINE("GET /healthz"), "400", NULL),
    };
    kit_wire_play_table(*state, rows, KIT_COUNT(rows));
}

static void request_lines_have_three_parts_and_two_spaces(void **state)
{
    static const struct kit_wire_row rows[] = {
        KIT_WIRE_BAD("9112-3 two spaces behind the method", LINE("GET  /healthz HTTP/1.1"), "400", NULL),
        KIT_WIRE_BAD("9112-3 two spaces before the version", LINE("GET /healthz  HTTP/1.1"), "400", NULL),
        KIT_WIRE_BAD("9112-3 tabs", LINE("GET\t/healthz\tHTTP/1.1"), "400", NULL),
        KIT_WIRE_BAD("9112-3 a tab before the version", LINE("GET /healthz\tHTTP/1.1"), "400", NULL),
        KIT_WIRE_BAD("9112-3 a vertical tab", LINE("GET\v/healthz HTTP/1.1"), "400", NULL),
        KIT_WIRE_BAD("9112-3 a form feed", LINE("GET /healthz\fHTTP/1.1"), "400", NULL),
        KIT_WIRE_BAD("9112-3 a space first", LINE(" GET /healthz HTTP/1.1"), "400", NULL),
        KIT_WIRE_BAD("9112-3 a space behind", LINE("GET /healthz HTTP/1.1 "), "400", NULL),
        KIT_WIRE_BAD("9112-3 a tab behind", LINE("GET /healthz HTTP/1.1\t"), "400", NULL),
        KIT_WIRE_BAD("9112-3 a word too many", LINE("GET /healthz x HTTP/1.1"), "400", NULL),
        KIT_WIRE_BAD("9112-3 two versions", LINE("GET /healthz HTTP/1.1 HTTP/1.1"), "400", NULL),
        KIT_WIRE_BAD("9112-3 no target", LINE("GET HTTP/1.1"), "400", NULL),
        KIT_WIRE_BAD("9112-3 an empty target", LINE("GET  HTTP/1.1"), "400", NULL),
        KIT_WIRE_BAD("9112-3 a method alone", LINE("GET"), "400", "request line"),
        KIT_WIRE_BAD("9112-3 a field for a request line", HOST, "400", "request line"),
        KIT_WIRE_BAD("9112-3 no method", LINE(" /healthz HTTP/1.1"), "400", NULL),
    };
    kit_wire_play_table(*state, rows, KIT_COUNT(rows));
}

static void methods_are_known_taken_or_not(void **state)
{
    static const struct kit_wire_row rows[] = {
        KIT_WIRE_BAD("9110-9.1 FOO", LINE("FOO /healthz HTTP/1.1"), "501", "method"),
        KIT_WIRE_BAD("9110-9.1 FOO on no path", LINE("FOO /no-such-path HTTP/1.1"), "501", "method"),
        KIT_WIRE_BAD("9110-9.1 letters are not the same", LINE("get /healthz HTTP/1.1"), "501", "method"),
        KIT_WIRE_BAD("9110-9.1 GETS", LINE("GETS /healthz HTTP/1.1"), "501", "method"),
        KIT_WIRE_BAD("9110-9.1 GE", LINE("GE /healthz HTTP/1.1"), "501", "method"),
        KIT_WIRE_BAD("4918 PROPFIND", LINE("PROPFIND /healthz HTTP/1.1"), "501", "method"),
        KIT_WIRE_BAD("9110-9.1 all marks of a token", LINE("!#$%&'*+-.^_`|~09 /healthz HTTP/1.1"), "501",
                     "method"),
        KIT_WIRE_BAD("9110-9.3.6 CONNECT", "CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", "501", "method"),
        KIT_WIRE_BAD("9110-9.3.8 TRACE", LINE("TRACE /healthz HTTP/1.1"), "501", "method"),
        KIT_WIRE_BAD("9110-9.3.8 TRACE with a body",
                     "TRACE /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", "501", "method"),
        KIT_WIRE_BAD("9110-9.1 a body behind an unknown method",
                     "FOO /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 63\r\n\r\n", "501", "method"),
        KIT_WIRE_BAD("9112-3.1 not a token", LINE("G@T /healthz HTTP/1.1"), "400", "request line"),
        KIT_WIRE_BAD("9112-3.1 a colon in it", LINE("GET: /healthz HTTP/1.1"), "400", "request line"),
        KIT_WIRE_BAD("9112-3.1 quotes", LINE("\"GET\" /healthz HTTP/1.1"), "400", "request line"),
        KIT_WIRE_BAD("9112-3.1 NUL in it", LINE("GE\0T /healthz HTTP/1.1"), "400", "request line"),
        KIT_WIRE_BAD("9112-3.1 a byte above 127", LINE("G\xc3\x84T /healthz HTTP/1.1"), "400",
                     "request line"),
        /* What may be read in two ways is so for a method that nobody knows too. */
        KIT_WIRE_BAD("9112-6.3 an unknown method with two framings",
                     "FOO /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: "
                     "chunked\r\n\r\n0\r\n\r\n",
                     "400", "Content-Length"),
        KIT_WIRE_BAD("9112-6.3 an unknown method with two lengths",
                     "FOO /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
                     "400", "Content-Length"),
        KIT_WIRE_BAD("9112-3.2 an unknown method without Host", "FOO /healthz HTTP/1.1\r\n\r\n", "400",
                     "Host"),
        /* Known, but not for this path. */
        KIT_WIRE_GOOD("9110-15.5.6 DELETE", LINE("DELETE /healthz HTTP/1.1"), "405", NULL),
        KIT_WIRE_GOOD("9110-15.5.6 PATCH", LINE("PATCH /healthz HTTP/1.1"), "405", NULL),
        KIT_WIRE_GOOD("9110-15.5.6 PUT", LINE("PUT /healthz HTTP/1.1"), "405", NULL),
        KIT_WIRE_GOOD("9110-15.5.6 POST", LINE("POST /healthz HTTP/1.1"), "405", NULL),
        KIT_WIRE_GOOD("9110-15.5.6 OPTIONS", LINE("OPTIONS /healthz HTTP/1.1"), "405", NULL),
        KIT_WIRE_GOOD("9110-15.5.6 GET", LINE("GET /push?key=k HTTP/1.1"), "405", NULL),
        KIT_WIRE_GOOD("9110-15.5.6 HEAD", LINE("HEAD /push?key=k HTTP/1.1"), "H405", NULL),
    };
    kit_wire_play_table(*state, rows, KIT_COUNT(rows));
}

static void targets_in_origin_form_are_found(void **state)
{
    static const struct kit_wire_row rows[] = {
        KIT_WIRE_GOOD("9112-3.2.1 a path", LINE("GET /healthz HTTP/1.1"), "200", NULL),
        KIT_WIRE_GOOD("9112-3.2.1 a query that nobody asked for", LINE("GET /healthz?a=b&c HTTP/1.1"), "200",
                      NULL),
        KIT_WIRE_GOOD("9112-3.2.1 an empty query", LINE("GET /healthz? HTTP/1.1"), "200", NULL),
        KIT_WIRE_GOOD("9112-3.2.1 a question mark in the query", LINE("GET /healthz?a?b HTTP/1.1"), "200",
                      NULL),
        KIT_WIRE_GOOD("9112-3.2.1 a URI in the query", LINE("GET /healthz?http://x/y HTTP/1.1"), "200", NULL),
        /* Browsers leave these as they are, and they have one reading only. */
        KIT_WIRE_GOOD("3986-2.2 marks that no URI has", LINE("GET /healthz?[]{}|\\^`\"<> HTTP/1.1"), "200",
                      NULL),
        KIT_WIRE_GOOD("9110-15.5.5 no such path", LINE("GET /no-such-path HTTP/1.1"), "404", NULL),
        KIT_WIRE_GOOD("9110-15.5.5 the root", LINE("GET / HTTP/1.1"), "404", NULL),
        KIT_WIRE_GOOD("9110-4.2.3 letters are not the same", LINE("GET /HEALTHZ HTTP/1.1"), "404", NULL),
        /* A path is compared as it was sent, so that a proxy's rules for it can't be passed by. */
        KIT_WIRE_GOOD("3986-6.2.2.2 an escape in the path", LINE("GET /%68ealthz HTTP/1.1"), "404", NULL),
        KIT_WIRE_GOOD("3986-6.2.2.2 an escaped slash", LINE("GET /%2fhealthz HTTP/1.1"), "404", NULL),
        KIT_WIRE_GOOD("3986-2.1 a bad escape in the path", LINE("GET /healthz%zz HTTP/1.1"), "404", NULL),
        KIT_WIRE_GOOD("3986-2.1 an escaped NUL", LINE("GET /healthz%00 HTTP/1.1"), "404", NULL),
        KIT_WIRE_GOOD("3986-5.2.4 dots", LINE("GET /x/../healthz HTTP/1.1"), "404", NULL),
        KIT_WIRE_GOOD("3986-5.2.4 a dot", LINE("GET /./healthz HTTP/1.1"), "404", NULL),
        KIT_WIRE_GOOD("9112-3.2.1 two slashes", LINE("GET //healthz HTTP/1.1"), "404", NULL),
        KIT_WIRE_GOOD("9112-3.2.1 a slash behind", LINE("GET /healthz/ HTTP/1.1"), "404", NULL),
        KIT_WIRE_GOOD("9112-3.2.1 a parameter of the path", LINE("GET /healthz;x HTTP/1.1"), "404", NULL),
        KIT_WIRE_GOOD("3986-2.1 a bad escape in the query", LINE("GET /healthz?%zz HTTP/1.1"), "400", NULL),
        KIT_WIRE_GOOD("3986-2.1 half an escape in the query", LINE("GET /healthz?a=%2 HTTP/1.1"), "400",
                      NULL),
        KIT_WIRE_GOOD("3986-2.1 a bad escape in a segment", LINE("GET /userEvents/%zz HTTP/1.1"), "400",
                      NULL),
        KIT_WIRE_BAD("9112-3.2 a fragment", LINE("GET /healthz#x HTTP/1.1"), "400", "target"),
        KIT_WIRE_BAD("9112-3.2 a fragment behind a query", LINE("GET /healthz?a#b HTTP/1.1"), "400",
                     "target"),
        KIT_WIRE_BAD("9112-3.2 no slash", LINE("GET healthz HTTP/1.1"), "400", "target"),
        KIT_WIRE_BAD("9112-3.2 a query alone", LINE("GET ?key=k HTTP/1.1"), "400", "target"),
        KIT_WIRE_BAD("9112-3.2 a backslash for the slash", LINE("GET \\healthz HTTP/1.1"), "400", "target"),
        KIT_WIRE_BAD("9112-3.2 a space in it", LINE("GET /health z HTTP/1.1"), "400", "target"),
        KIT_WIRE_BAD("9112-3.2 a tab in it", LINE("GET /health\tz HTTP/1.1"), "400", "target"),
        KIT_WIRE_BAD("9112-3.2 NUL in it", LINE("GET /healthz\0x HTTP/1.1"), "400", "target"),
        KIT_WIRE_BAD("9112-3.2 a control character in it", LINE("GET /healthz\x01 HTTP/1.1"), "400",
                     "target"),
        KIT_WIRE_BAD("9112-3.2 DEL in it", LINE("GET /healthz\x7f HTTP/1.1"), "400", "target"),
        KIT_WIRE_BAD("9112-3.2 bytes above 127 in it", LINE("GET /\xc3\xa4 HTTP/1.1"), "400", "target"),
    };
    kit_wire_play_table(*state, rows, KIT_COUNT(rows));
}

static void targets_in_other_forms_are_found_or_refused(void **state)
{
    static const struct kit_wire_row rows[] = {
        KIT_WIRE_GOOD("9112-3.2.2 the same host", LINE("GET http://h/healthz HTTP/1.1"), "200", NULL),
        /* The server MUST ignore Host and take the target's. */
        KIT_WIRE_GOOD("9112-3.2.2 another host", LINE("GET http://other:80/healthz HTTP/1.1"), "200", NULL),
        KIT_WIRE_GOOD("9112-3.2.2 scheme in capitals", LINE("GET HTTP://h/healthz HTTP/1.1"), "200", NULL),
        KIT_WIRE_GOOD("9112-3.2.2 IPv6", LINE("GET http://[::1]:80/healthz HTTP/1.1"), "200", NULL),
        KIT_WIRE_GOOD("9112-3.2.2 an empty port", LINE("GET http://h:/healthz HTTP/1.1"), "200", NULL),
        KIT_WIRE_GOOD("9112-3.2.2 a push",
                      "POST http://h/push?key=k HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1", "200",
                      "[1]"),
        KIT_WIRE_GOOD("9112-3.2.2 no path", LINE("GET http://h HTTP/1.1"), "404", NULL),
        KIT_WIRE_GOOD("9112-3.2.2 no path, but a query", LINE("GET http://h?/healthz HTTP/1.1"), "404", NULL),
        KIT_WIRE_ROW("9112-3.2.2 HTTP/1.0 without Host", "GET http://h/healthz HTTP/1.0\r\n\r\n", "200",
                     KIT_CLOSED, NULL, NULL),
        KIT_WIRE_BAD("9112-3.2 without Host", "GET http://h/healthz HTTP/1.1\r\n\r\n", "400", "Host"),
        KIT_WIRE_BAD("9112-3.2 with an invalid Host", "GET http://h/healthz HTTP/1.1\r\nHost: a b\r\n\r\n",
                     "400", "Host"),
        KIT_WIRE_BAD("9110-4.2.4 a user", LINE("GET http://u@h/healthz HTTP/1.1"), "400", "target"),
        KIT_WIRE_BAD("9110-4.2.4 a user with a password", LINE("GET http://u:p@h/healthz HTTP/1.1"), "400",
                     "target"),
        KIT_WIRE_BAD("9110-4.2.1 an empty host", LINE("GET http:///healthz HTTP/1.1"), "400", "target"),
        KIT_WIRE_BAD("9110-4.2.1 a port without a host", LINE("GET http://:80/healthz HTTP/1.1"), "400",
                     "target"),
        KIT_WIRE_BAD("9110-4.2.1 scheme alone", LINE("GET http:// HTTP/1.1"), "400", "target"),
        KIT_WIRE_BAD("3986-3.2.3 a port of letters", LINE("GET http://h:80a/healthz HTTP/1.1"), "400",
                     "target"),
        KIT_WIRE_BAD("3986-3.2.3 two ports", LINE("GET http://h:80:80/healthz HTTP/1.1"), "400", "target"),
        KIT_WIRE_BAD("3986-3.2.2 an open bracket", LINE("GET http://[::1/healthz HTTP/1.1"), "400", "target"),
        KIT_WIRE_BAD("3986-3.2.2 a backslash in the host", LINE("GET http://h\\x/healthz HTTP/1.1"), "400",
                     "target"),
        KIT_WIRE_BAD("9112-3.2.2 one slash", LINE("GET http:/h/healthz HTTP/1.1"), "400", "target"),
        KIT_WIRE_BAD("9112-3.2.2 a fragment", LINE("GET http://h/healthz#x HTTP/1.1"), "400", "target"),
        KIT_WIRE_BAD("9110-7.4 https, but no TLS", LINE("GET https://h/healthz HTTP/1.1"), "421", "http"),
        KIT_WIRE_BAD("9110-7.4 ftp", LINE("GET ftp://h/healthz HTTP/1.1"), "421", "http"),
        KIT_WIRE_BAD("9112-3.2.3 authority form", LINE("GET h:80 HTTP/1.1"), "400", "target"),
        KIT_WIRE_BAD("9112-3.2.3 authority form without a port", LINE("POST h HTTP/1.1"), "400", "target"),
        KIT_WIRE_GOOD("9112-3.2.4 asterisk form", LINE("OPTIONS * HTTP/1.1"), "405", NULL),
        KIT_WIRE_GOOD("9112-3.2.4 the absolute form of it", LINE("OPTIONS http://h HTTP/1.1"), "405", NULL),
        KIT_WIRE_BAD("9112-3.2.4 asterisk with GET", LINE("GET * HTTP/1.1"), "400", "target"),
        KIT_WIRE_BAD("9112-3.2.4 asterisk with POST",
                     "POST * HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1", "400", "target"),
        KIT_WIRE_BAD("9112-3.2.4 asterisk and more", LINE("OPTIONS *x HTTP/1.1"), "400", "target"),
        KIT_WIRE_BAD("9112-3.2.4 asterisk and a query", LINE("OPTIONS *?x HTTP/1.1"), "400", "target"),
    };
    kit_wire_play_table(*state, rows, KIT_COUNT(rows));
}

/* RFC 9112 section 3: what is too long is the method or the target; 8,000 bytes must do. */
static void long_request_lines_are_judged(void **state)
{
    struct kit *kit = *state;
    const char *long_name = kit_repeat(kit, "A", 400), *large = kit_repeat(kit, "a", 100000);
    const char *line = kit_format(kit, "GET /healthz?%s HTTP/1.1",
                                  kit_repeat(kit, "a", 8000 - strlen("GET /healthz? HTTP/1.1")));
    const struct kit_wire_row rows[] = {
        {"9112-3 8,000 bytes", kit_format(kit, "%s\r\n" HOST, line), 0, "200", KIT_OPEN, NULL, NULL},
        {"9112-3 a long method", kit_format(kit, "%s /healthz HTTP/1.1\r\n" HOST KIT_WIRE_BEHIND, long_name),
         0, "501", KIT_CLOSED, NULL, "method"},
        {"9112-3 a method without end", kit_format(kit, "%s", large), 0, "501", KIT_CLOSED, NULL, "method"},
        {"9112-3 no method without end", kit_format(kit, "GET@%s", large), 0, "400", KIT_CLOSED, NULL,
         "request line"},
        {"9110-15.5.15 a long path", kit_format(kit, "GET /%s HTTP/1.1\r\n" HOST KIT_WIRE_BEHIND, large), 0,
         "414", KIT_CLOSED, NULL, "line"},
        {"9110-15.5.15 a long query",
         kit_format(kit, "GET /healthz?%s HTTP/1.1\r\n" HOST KIT_WIRE_BEHIND, large), 0, "414", KIT_CLOSED,
         NULL, "line"},
        {"9110-15.5.15 a long host",
         kit_format(kit, "GET http://%s/healthz HTTP/1.1\r\n" HOST KIT_WIRE_BEHIND, large), 0, "414",
         KIT_CLOSED, NULL, "line"},
        {"9110-15.5.15 a target without end", kit_format(kit, "GET /%s", large), 0, "414", KIT_CLOSED, NULL,
         "line"},
        {"9110-15.5.15 of HEAD", kit_format(kit, "HEAD /%s HTTP/1.1\r\n" HOST, large), 0, "H414", KIT_CLOSED,
         NULL, NULL},
    };
    kit_wire_play_table(kit, rows, KIT_COUNT(rows));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(lines_begin_and_end_in_one_way),
        kit_test(versions_are_1),
        kit_test(request_lines_have_three_parts_and_two_spaces),
        kit_test(methods_are_known_taken_or_not),
        kit_test(targets_in_origin_form_are_found),
        kit_test(targets_in_other_forms_are_found_or_refused),
        kit_test(long_request_lines_are_judged),
    };
    return kit_run_tests(tests);
}
