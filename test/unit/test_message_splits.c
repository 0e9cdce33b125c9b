/*
 * Proves that a request comes to the same however it is cut into pieces: every message of http_messages.h at
 * every position, at every two positions, and byte by byte gives the same requests, bodies and refusals as the
 * whole; so do heads that are too large.
 */
#include "net/limits.h"
#include "net/message.h"

#include "../http_messages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What the pieces have come to so far. */
struct outcome {
    struct message message;
    struct buffer log;
    bool refused;
};

static void append(struct buffer *log, const char *name, struct text text)
{
    buffer_printf(log, " %s=<%.*s>", name, (int)text.length, text.length == 0 ? "" : text.bytes);
}

static void log_request(struct buffer *log, const struct request *request)
{
    buffer_printf(log, "%s 1.%u", request_method_name(request->method), request->minor_version);
    append(log, "path", request->path);
    append(log, "query", request->query);
    append(log, "host", request->headers[HEADER_HOST]);
    append(log, "body", request->body);
    buffer_printf(log, " framing=%d keep=%d\n", (int)request->framing, (int)request->keep_alive);
}

/* Takes all that is whole. Returns whether there may be more. */
static bool take(struct outcome *outcome)
{
    struct request request;
    struct refusal refusal;
    switch (message_next(&outcome->message, &request, &refusal)) {
    case MESSAGE_MORE:
        return false;
    case MESSAGE_STARTED: /* whether it is told depends on the pieces; what it leads to does not */
        message_expect_body(&outcome->message, HTTP_MESSAGES_BODY_BYTES, false);
        return true;
    case MESSAGE_REQUEST:
        log_request(&outcome->log, &request);
        message_done(&outcome->message);
        return true;
    case MESSAGE_REFUSED:
        buffer_printf(&outcome->log, "%u %s head=%d\n", refusal.status, refusal.reason,
                      (int)message_is_head_request(&outcome->message));
        outcome->refused = true;
        break;
    }
    return false;
}

static void receive(struct outcome *outcome, const char *bytes, size_t length)
{
    while (length > 0 && !outcome->refused) {
        size_t room = 0;
        char *place = message_room(&outcome->message, &room);
        assert_non_null(place);
        size_t piece = room < length ? room : length;
        memcpy(place, bytes, piece);
        message_received(&outcome->message, piece);
        bytes += piece;
        length -= piece;
        while (take(outcome))
            ;
    }
}

static struct outcome outcome_start(void)
{
    return (struct outcome){.message = MESSAGE_EMPTY, .log = BUFFER_EMPTY};
}

static void outcome_free(struct outcome *outcome)
{
    message_free(&outcome->message);
    buffer_free(&outcome->log);
}

static struct text text_of(const struct outcome *outcome)
{
    return (struct text){.bytes = outcome->log.bytes, .length = outcome->log.length};
}

static void assert_same(const char *name, const struct outcome *whole, struct outcome *pieces, size_t first,
                        size_t second)
{
    struct text wanted = text_of(whole), got = text_of(pieces);
    if (!text_equals(wanted, got))
        fail_msg("%s, cut at %zu and %zu:\n%.*sinstead of\n%.*s", name, first, second, (int)got.length,
                 got.bytes, (int)wanted.length, wanted.bytes);
    outcome_free(pieces);
}

static void cut(const char *name, const struct outcome *whole, const char *bytes, size_t length, size_t first,
                size_t second)
{
    struct outcome pieces = outcome_start();
    receive(&pieces, bytes, first);
    receive(&pieces, bytes + first, second - first);
    receive(&pieces, bytes + second, length - second);
    assert_same(name, whole, &pieces, first, second);
}

static struct outcome play_whole(const char *bytes, size_t length)
{
    struct outcome whole = outcome_start();
    receive(&whole, bytes, length);
    assert_false(whole.log.failed);
    assert_true(whole.log.length > 0);
    return whole;
}

static void every_two_cuts_come_to_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < http_message_count; i++) {
        const char *bytes = http_messages[i].bytes;
        size_t length = strlen(bytes);
        struct outcome whole = play_whole(bytes, length);
        for (size_t first = 0; first < length; first++)
            for (size_t second = first; second < length; second++)
                cut(http_messages[i].name, &whole, bytes, length, first, second);
        outcome_free(&whole);
    }
}

static void single_bytes_come_to_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < http_message_count; i++) {
        const char *bytes = http_messages[i].bytes;
        size_t length = strlen(bytes);
        struct outcome whole = play_whole(bytes, length), pieces = outcome_start();
        for (size_t at = 0; at < length; at++)
            receive(&pieces, bytes + at, 1);
        assert_same(http_messages[i].name, &whole, &pieces, 1, 1);
        outcome_free(&whole);
    }
}

/* `start`, then `fill` up to `length` bytes, then `end`. */
static char *filled(const char *start, const char *fill, size_t length, const char *end)
{
    size_t at = strlen(start), fill_length = strlen(fill);
    char *text = malloc(length + fill_length + strlen(end) + 1);
    assert_non_null(text);
    strcpy(text, start);
    for (; at < length; at += fill_length)
        strcpy(text + at, fill);
    strcpy(text + at, end);
    return text;
}

/* Refused for their size or for what is in them: one of both, always the same. */
static void large_heads_come_to_the_same(void **state)
{
    (void)state;
    static const struct {
        const char *name, *start, *fill;
        size_t length;
        const char *end;
        unsigned status;
    } rows[] = {
        {"a target", "\r\nGET /", "a", HTTP_REQUEST_LINE_BYTES, " HTTP/1.1\r\nHost: h\r\n\r\n", 414},
        {"a target and LF", "GET /", "a", HTTP_REQUEST_LINE_BYTES, " HTTP/1.1\nHost: h\r\n\r\n", 414},
        {"a target that ends in time, and LF", "GET /", "a", HTTP_REQUEST_LINE_BYTES - 20,
         " HTTP/1.1\nHost: h\r\n\r\n", 400},
        {"a method", "", "A", HTTP_REQUEST_LINE_BYTES, " / HTTP/1.1\r\nHost: h\r\n\r\n", 501},
        {"no method", "G@T", "A", HTTP_REQUEST_LINE_BYTES, " / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
        {"a field", "HEAD / HTTP/1.1\r\nHost: h\r\nX: ", "a", HTTP_HEAD_BYTES, "\r\n\r\n", 431},
        {"a field, then LF", "GET / HTTP/1.1\r\nHost: h\r\nX: ", "a", HTTP_HEAD_BYTES - 5, "\r\nY: z\n\r\n",
         431},
        {"LF, then a field", "GET / HTTP/1.1\r\nHost: h\nX: ", "a", HTTP_HEAD_BYTES, "\r\n\r\n", 400},
        {"many fields", "GET / HTTP/1.1\r\nHost: h\r\n", "X: y\r\n", 1000, "\r\n", 431},
        {"an extension", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1;", "a",
         HTTP_CHUNK_EXTRA_BYTES + 60, "\r\n1\r\n0\r\n\r\n", 431},
        {"a trailer", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX:", "a",
         HTTP_CHUNK_EXTRA_BYTES + 60, "\n", 431},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *bytes = filled(rows[i].start, rows[i].fill, rows[i].length, rows[i].end);
        size_t length = strlen(bytes);
        struct outcome whole = play_whole(bytes, length);
        if (strtoul(whole.log.bytes, NULL, 10) != rows[i].status)
            fail_msg("%s: %.*s", rows[i].name, (int)whole.log.length, whole.log.bytes);
        for (size_t first = 1; first < length; first += first < 100 || length - first < 100 ? 1 : 37)
            cut(rows[i].name, &whole, bytes, length, first, first);
        outcome_free(&whole);
        free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_two_cuts_come_to_the_same),
        cmocka_unit_test(single_bytes_come_to_the_same),
        cmocka_unit_test(large_heads_come_to_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
