#include "http_messages.h"

#define BEHIND       "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"
#define PUSH(fields) "POST /push?key=" HTTP_MESSAGES_KEY " HTTP/1.1\r\nHost: h\r\n" fields "\r\n"
#define CHUNKED      PUSH("Transfer-Encoding: chunked\r\n")

const struct http_message http_messages[] = {
    {"GET", "\r\nGET /healthz?a=b HTTP/1.1\r\nHost: h\r\nX:\t y \r\n\r\n" BEHIND},
    {"a counted body", PUSH("Content-Length: 7\r\n") "[1,\r\n2]" BEHIND},
    {"a body of none", PUSH("Content-Length: 0\r\n") BEHIND},
    {"chunks with extensions and trailers", CHUNKED
     "3;a ; b = \"c\\\"; \"\r\n[\r\n\r\n0002;d=e\r\n1]\r\n0;f\r\nX: y\r\nContent-Length: 9\r\n\r\n" BEHIND},
    {"pushes in a row", PUSH("Content-Length: 1\r\n") "1"
                                                      "\r\n" PUSH("Content-Length: 1\r\n") "2" BEHIND},
    {"HEAD", "HEAD /healthz HTTP/1.1\r\nHost: h\r\n\r\n" BEHIND},
    {"a body that is dropped",
     "POST /no-such-path HTTP/1.1\r\nHost: h\r\nContent-Length: 16\r\n\r\nGET / HTTP/1.1\r\n" BEHIND},
    {"a method that does not fit", "PUT /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nab" BEHIND},
    {"a coding of the content", PUSH("Content-Length: 1\r\nContent-Encoding: br\r\n") "1" BEHIND},
    {"HTTP/1.0", "GET /healthz HTTP/1.0\r\n\r\n" BEHIND},
    {"HTTP/1.0, kept", "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" BEHIND},
    {"the last one", "GET http://h:80/healthz HTTP/1.1\r\nHost: x\r\nConnection: x, close\r\n\r\n" BEHIND},
    {"an expectation", PUSH("Expect: 100-continue\r\nContent-Length: 1\r\n") "1" BEHIND},
    {"an expectation that is not met",
     "PUT /push?key=k HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n1" BEHIND},
    {"chunks that nobody reads",
     "POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n" BEHIND},
    {"an upgrade", "OPTIONS * HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n" BEHIND},
    {"LF alone", "GET /healthz HTTP/1.1\r\nHost: h\nX: y\r\n\r\n" BEHIND},
    {"CR alone", "GET /healthz HTTP/1.1\r\nHost: h\rX: y\r\n\r\n" BEHIND},
    {"two empty lines", "\r\n\r\n" BEHIND},
    {"no request line", "GET  /healthz HTTP/1.1\r\nHost: h\r\n\r\n" BEHIND},
    {"another version", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" BEHIND},
    {"an unknown method", "FOO /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc" BEHIND},
    {"another scheme", "GET https://h/healthz HTTP/1.1\r\nHost: h\r\n\r\n" BEHIND},
    {"another expectation", PUSH("Expect: wonders\r\nContent-Length: 1\r\n") "1" BEHIND},
    {"no Host", "HEAD /healthz HTTP/1.1\r\n\r\n" BEHIND},
    {"a bad Host", "GET /healthz HTTP/1.1\r\nHost: u@h\r\n\r\n" BEHIND},
    {"a folded field", "GET /healthz HTTP/1.1\r\nHost: h\r\nX: y\r\n z\r\n\r\n" BEHIND},
    {"two framings", PUSH("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") "0\r\n\r\n" BEHIND},
    {"two lengths", PUSH("Content-Length: 1\r\nContent-Length: 01\r\n") "1" BEHIND},
    {"another coding", PUSH("Transfer-Encoding: gzip, chunked\r\n") "0\r\n\r\n" BEHIND},
    {"a bad chunk size", CHUNKED "1\r\n1\r\n0x1\r\n1\r\n0\r\n\r\n" BEHIND},
    {"a bad chunk end", CHUNKED "1\r\n12\r\n0\r\n\r\n" BEHIND},
    {"a bad extension", CHUNKED "1;a=\"\r\n\"\r\n1\r\n0\r\n\r\n" BEHIND},
    {"a bad trailer", CHUNKED "1\r\n1\r\n0\r\nX: y\r\n z\r\n\r\n" BEHIND},
    {"a length too large", PUSH("Content-Length: 21\r\n") "123456789012345678901" BEHIND},
    /* The last size is malformed, but the one before it already too large. */
    {"chunks too large", CHUNKED "a\r\n1234567890\r\nb\r\n12345678901\r\nx\r\n" BEHIND},
};

const size_t http_message_count = sizeof http_messages / sizeof http_messages[0];
