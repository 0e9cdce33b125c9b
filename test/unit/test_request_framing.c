/* Proves that the length of a body has one reading (RFC 9112 section 6), and which expectations are met. */
#include "net/request.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array)  (sizeof(array) / sizeof(array)[0])
#define GET(headers)  "GET / HTTP/1.1\r\nHost: h\r\n" headers "\r\n"
#define POST(headers) "POST / HTTP/1.1\r\nHost: h\r\n" headers "\r\n"

struct parsed {
    struct request request; /* its texts are gone */
    struct refusal refusal;
};

/* Parses a copy that ends where the head ends. */
static int parse(struct parsed *parsed, const char *head)
{
    size_t length = strlen(head);
    char *copy = malloc(length);
    assert_non_null(copy);
    memcpy(copy, head, length);
    *parsed = (struct parsed){.refusal = {.status = 0}};
    int result = request_parse_head(&parsed->request, (struct text){copy, length}, &parsed->refusal);
    free(copy);
    return result;
}

/* The status that a head is refused with, 0 when it is taken. */
static unsigned status_of(const char *head)
{
    struct parsed parsed;
    int result = parse(&parsed, head);
    assert_int_equal(result, parsed.refusal.status == 0 ? 0 : -1);
    return parsed.refusal.status;
}

struct row {
    const char *name, *head;
    unsigned status;
};

static void check_all(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (status_of(rows[i].head) != rows[i].status)
            fail_msg("%s: %u instead of %u", rows[i].name, status_of(rows[i].head), rows[i].status);
}

/* The status of a POST with one header made of `format` and `value`. */
static unsigned status_with(const char *format, const char *value)
{
    char header[128], head[256];
    snprintf(header, sizeof header, format, value);
    snprintf(head, sizeof head, "POST / HTTP/1.1\r\nHost: h\r\n%s\r\n", header);
    return status_of(head);
}

static void refuse_all(const char *const *headers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (status_with("%s", headers[i]) != 400)
            fail_msg("row %zu: %u\n%s", i, status_with("%s", headers[i]), headers[i]);
}

static void bodies_are_framed(void **state)
{
    (void)state;
    static const struct {
        const char *head;
        enum framing framing;
        uint64_t length;
    } rows[] = {
        {POST(""), FRAMING_NONE, 0},
        {POST("Content-Length: 0\r\n"), FRAMING_NONE, 0},
        {POST("Content-Length: 1\r\n"), FRAMING_LENGTH, 1},
        {POST("Content-Length:  0017 \r\n"), FRAMING_LENGTH, 17},
        {POST("Content-Length:\t17\t\r\n"), FRAMING_LENGTH, 17},
        {POST("Content-Length: 9223372036854775807\r\n"), FRAMING_LENGTH, INT64_MAX},
        {GET("Content-Length: 3\r\n"), FRAMING_LENGTH, 3},
        {POST("Transfer-Encoding: chunked\r\n"), FRAMING_CHUNKED, 0},
        {POST("TRANSFER-ENCODING: \tChunked \r\n"), FRAMING_CHUNKED, 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct parsed parsed;
        if (parse(&parsed, rows[i].head) != 0)
            fail_msg("row %zu: %u %s", i, parsed.refusal.status, parsed.refusal.reason);
        if (parsed.request.framing != rows[i].framing || parsed.request.content_length != rows[i].length)
            fail_msg("row %zu: framing %d", i, (int)parsed.request.framing);
    }
}

static void lengths_in_two_readings_are_refused(void **state)
{
    (void)state;
    static const char *const values[] = {"5,5",
                                         "5, 5",
                                         "5 5",
                                         "+5",
                                         "-1",
                                         "-0",
                                         "0x5",
                                         "5a",
                                         "5.0",
                                         "\"5\"",
                                         " ",
                                         "",
                                         "5;",
                                         "5e0",
                                         "18446744073709551616",
                                         "18446744073709551621",
                                         "99999999999999999999999999"};
    for (size_t i = 0; i < COUNT(values); i++)
        assert_int_equal(status_with("Content-Length: %s\r\n", values[i]), 400);
    static const char *const headers[] = {"Content-Length: 5\r\nContent-Length: 6\r\n",
                                          "Content-Length: 5\r\ncontent-length: 5\r\n",
                                          "Content-Length: 5\r\nX: y\r\nContent-Length: 5\r\n",
                                          "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                                          "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                                          "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
                                          "Transfer-Encoding: identity\r\nContent-Length: 5\r\n",
                                          "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"};
    refuse_all(headers, COUNT(headers));
    assert_int_equal(status_of("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
}

static void codings_but_chunked_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        unsigned status;
    } rows[] = {{"gzip, chunked", 501},
                {"deflate,GZIP , Chunked", 501},
                {"x-gzip, x-compress, compress, chunked", 501},
                {"identity", 400},
                {"gzip", 400},
                {"identity, chunked", 400},
                {"chunked, gzip", 400},
                {"chunked, chunked", 400},
                {"gzip, chunked, chunked", 400},
                {"chunked,", 400},
                {",chunked", 400},
                {"gzip, chunked,", 400},
                {", gzip, chunked", 400},
                {"chunkedx", 400},
                {"xchunked", 400},
                {"chunke", 400},
                {"chunked;a=b", 400},
                {"gzip, chunked;a=b", 400},
                {"gzip;a=b, chunked", 400},
                {"\"chunked\"", 400},
                {"", 400},
                {" ", 400},
                {",", 400},
                {"chunked x", 400},
                {"\vchunked", 400},
                {"chunked\f", 400},
                {"chunked identity", 400}};
    for (size_t i = 0; i < COUNT(rows); i++)
        if (status_with("Transfer-Encoding: %s\r\n", rows[i].value) != rows[i].status)
            fail_msg("\"%s\": %u", rows[i].value, status_with("Transfer-Encoding: %s\r\n", rows[i].value));
}

/* RFC 9110 section 10.1.1. */
static void expectations_but_one_are_refused(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"none", POST("Expect:\r\n"), 0},
        {"the one", POST("Expect: 100-Continue\r\n"), 0},
        {"another", POST("Expect: wonders\r\n"), 417},
        {"both", POST("Expect: 100-continue, wonders\r\n"), 417},
        {"two fields", POST("Expect: 100-continue\r\nExpect: wonders\r\n"), 417},
        {"an empty field first", POST("Expect:\r\nExpect: wonders\r\n"), 417},
        {"of HTTP/1.0", "POST / HTTP/1.0\r\nExpect: wonders\r\nExpect: x\r\n\r\n", 0},
    };
    check_all(rows, COUNT(rows));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies_are_framed),
        cmocka_unit_test(lengths_in_two_readings_are_refused),
        cmocka_unit_test(codings_but_chunked_are_refused),
        cmocka_unit_test(expectations_but_one_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
