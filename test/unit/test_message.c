/*
 * Proves that the same bytes give the same requests however they arrive, also when the message moves to other
 * memory in between; where the limits lie; and that memory grows with what has come alone.
 */
#include "net/limits.h"
#include "net/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define HOST         " HTTP/1.1\r\nHost: h\r\n"
#define MEBIBYTE     (1024 * 1024)

/* realloc is ours, so that memory can run out; the sanitizers bring their own. */
#ifndef __has_feature
#define __has_feature(feature) 0
#endif
#if !defined(__SANITIZE_ADDRESS__) && !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
#define OWN_REALLOC

void *__libc_realloc(void *memory, size_t size);

static bool out_of_memory;

void *realloc(void *memory, size_t size)
{
    return out_of_memory ? NULL : __libc_realloc(memory, size);
}
#endif

/* A reader, and what it has read so far as one text. */
struct reader {
    struct message message;
    uint64_t limit;
    bool discard;
    unsigned started; /* of the request that is coming */
    bool refused;
    struct buffer log;
};

static struct reader reader_make(uint64_t limit)
{
    return (struct reader){.message = MESSAGE_EMPTY, .limit = limit, .log = BUFFER_EMPTY};
}

static void reader_free(struct reader *reader)
{
    message_free(&reader->message);
    buffer_free(&reader->log);
}

/* Head and body of a request lie in the message's memory. */
static void assert_inside(const struct message *message, struct text text)
{
    const char *first = message->bytes.bytes;
    if (text.length > 0)
        assert_true(text.bytes >= first && text.bytes + text.length <= first + message->bytes.length);
}

static void log_request(struct reader *reader, const struct request *request)
{
    assert_inside(&reader->message, request->path);
    assert_inside(&reader->message, request->query);
    assert_inside(&reader->message, request->body);
    assert_true(text_equals(request->headers[HEADER_HOST], TEXT("h")));
    buffer_printf(&reader->log, "%s %.*s", request_method_name(request->method), (int)request->path.length,
                  request->path.bytes);
    if (request->body.length <= 64)
        buffer_printf(&reader->log, " <%.*s>\n", (int)request->body.length, request->body.bytes);
    else
        buffer_printf(&reader->log, " %zu\n", request->body.length);
}

/* Takes all requests that are whole. */
static void take_requests(struct reader *reader)
{
    for (;;) {
        struct request request;
        struct refusal refusal = {0};
        switch (message_next(&reader->message, &request, &refusal)) {
        case MESSAGE_MORE:
            return;
        case MESSAGE_STARTED:
            assert_int_equal(++reader->started, 1);
            assert_int_equal(request.body.length, 0);
            assert_int_not_equal(request.framing, FRAMING_NONE);
            assert_inside(&reader->message, request.path);
            message_expect_body(&reader->message, reader->limit, reader->discard);
            break;
        case MESSAGE_REQUEST:
            log_request(reader, &request);
            message_done(&reader->message);
            reader->started = 0;
            break;
        case MESSAGE_REFUSED:
            assert_non_null(refusal.reason);
            buffer_printf(&reader->log, "refused %u\n", refusal.status);
            reader->refused = true;
            return;
        }
    }
}

static void receive(struct reader *reader, const char *bytes, size_t length)
{
    while (length > 0 && !reader->refused) {
        size_t room = 0;
        char *place = message_room(&reader->message, &room);
        assert_non_null(place);
        assert_true(room >= 1);
        size_t piece = room < length ? room : length;
        memcpy(place, bytes, piece);
        message_received(&reader->message, piece);
        bytes += piece;
        length -= piece;
        take_requests(reader);
    }
}

static void receive_text(struct reader *reader, const char *text)
{
    receive(reader, text, strlen(text));
}

static void receive_pieces(struct reader *reader, const char *bytes, size_t length, size_t piece)
{
    for (size_t at = 0; at < length; at += piece)
        receive(reader, bytes + at, piece < length - at ? piece : length - at);
}

static void assert_log(const struct reader *reader, const char *wanted)
{
    if (!text_equals((struct text){reader->log.bytes, reader->log.length}, text_from(wanted)))
        fail_msg("\"%.*s\" instead of \"%s\"", (int)reader->log.length, reader->log.bytes, wanted);
}

/* ---- requests, whole and in pieces ---- */

static const char stream[] =
    "\r\nGET /none?a=b" HOST "\r\n"
    "POST /length" HOST "Content-Length: 5\r\n\r\nhello"
    "POST /empty" HOST "Content-Length: 0\r\n\r\n"
    "POST /chunked" HOST
    "Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nX: y\r\n\r\n"
    "POST /no-data" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    "\r\nPOST /break-behind" HOST "Content-Length: 2\r\n\r\nok\r\n"
    "DELETE /like-a-head" HOST "Content-Length: 18\r\n\r\nGET / HTTP/1.1\r\n\r\n"
    "GET /last" HOST "\r\n";
static const char stream_log[] =
    "GET /none <>\nPOST /length <hello>\nPOST /empty <>\nPOST /chunked <hello world>\n"
    "POST /no-data <>\nPOST /break-behind <ok>\n"
    "DELETE /like-a-head <GET / HTTP/1.1\r\n\r\n>\nGET /last <>\n";

static void every_split_gives_the_same_requests(void **state)
{
    (void)state;
    size_t length = strlen(stream);
    for (size_t first = 0; first <= length; first++)
        for (size_t second = first; second <= length; second += 1 + (second - first) / 4) {
            struct reader reader = reader_make(1000);
            receive(&reader, stream, first);
            receive(&reader, stream + first, second - first);
            receive(&reader, stream + second, length - second);
            assert_log(&reader, stream_log);
            assert_true(message_is_idle(&reader.message));
            reader_free(&reader);
        }
}

/* The second time, the message moves behind each piece. */
static void every_size_of_pieces_gives_the_same_requests(void **state)
{
    (void)state;
    size_t length = strlen(stream);
    for (size_t piece = 1; piece <= 2 * length; piece++) {
        struct reader reader = reader_make(1000);
        size_t size = piece <= length ? piece : piece - length;
        for (size_t at = 0; at < length; at += size) {
            receive(&reader, stream + at, size < length - at ? size : length - at);
            if (piece <= length)
                continue;
            struct message from = reader.message;
            reader.message = MESSAGE_EMPTY;
            assert_int_equal(message_move(&from, &reader.message), 0);
            message_free(&from);
        }
        assert_log(&reader, stream_log);
        reader_free(&reader);
    }
}

/* At every position the unfinished request moves, and the memory that it leaves reads another one. */
static void message_moves_in_the_middle(void **state)
{
    (void)state;
    size_t length = strlen(stream);
    for (size_t split = 0; split <= length; split++) {
        struct reader reader = reader_make(1000);
        receive(&reader, stream, split);
        struct message from = reader.message;
        reader.message = MESSAGE_EMPTY;
        const char *memory = from.bytes.bytes;
        assert_int_equal(message_move(&from, &reader.message), 0);
        assert_true(message_is_idle(&from));
        assert_ptr_equal(from.bytes.bytes, memory);
        assert_true(memory == NULL || reader.message.bytes.bytes != memory);

        struct reader other = reader_make(1000);
        other.message = from;
        receive_text(&other, "POST /other" HOST "Content-Length: 3\r\n\r\nxyz");
        assert_log(&other, "POST /other <xyz>\n");
        reader_free(&other);

        receive(&reader, stream + split, length - split);
        assert_log(&reader, stream_log);
        reader_free(&reader);
    }
}

/* Once for each request, as soon as the head is whole. */
static void body_is_announced_before_it_is_given(void **state)
{
    (void)state;
    struct reader reader = reader_make(5);
    for (int i = 0; i < 3; i++) {
        receive_text(&reader, i == 1 ? "POST /" HOST "Content-Length: 5\r\n\r"
                                     : "POST /" HOST "Transfer-Encoding: chunked\r\n\r");
        assert_int_equal(reader.started, 0);
        receive_text(&reader, "\n");
        assert_int_equal(reader.started, 1);
        receive_text(&reader, i == 1 ? "hello" : "5\r\nhello\r\n0\r\n\r\n");
        assert_int_equal(reader.started, 0);
        assert_log(&reader, "POST / <hello>\n");
        buffer_clear(&reader.log);
    }
    reader_free(&reader);
}

static void idle_is_whoever_sent_nothing(void **state)
{
    (void)state;
    struct reader reader = reader_make(100);
    assert_true(message_is_idle(&reader.message));
    receive_text(&reader, "G");
    assert_false(message_is_idle(&reader.message));
    receive_text(&reader, "ET /" HOST "\r\n");
    assert_true(message_is_idle(&reader.message));
    receive_text(&reader, "POST /" HOST "Content-Length: 2\r\n\r\n");
    assert_false(message_is_idle(&reader.message));
    receive_text(&reader, "ab");
    assert_true(message_is_idle(&reader.message));
    receive_text(&reader, "GET /" HOST "\r\nP");
    assert_false(message_is_idle(&reader.message));
    receive_text(&reader, "UT /" HOST "\r\n\r\n");
    assert_true(message_is_idle(&reader.message)); /* an empty line does not count */
    receive_text(&reader, "G");
    assert_false(message_is_idle(&reader.message));
    assert_log(&reader, "GET / <>\nPOST / <ab>\nGET / <>\nPUT / <>\n");
    reader_free(&reader);
}

/* ---- limits ---- */

/* Feeds `input` in pieces of several sizes; all must end in the same refusal. */
static void check_refused(const char *input, size_t length, uint64_t limit, const char *wanted)
{
    static const size_t pieces[] = {1, 7, 1000, 4096, 1 << 20};
    for (size_t i = 0; i < COUNT(pieces); i++) {
        struct reader reader = reader_make(limit);
        receive_pieces(&reader, input, length, pieces[i]);
        assert_log(&reader, wanted);
        reader_free(&reader);
    }
}

/* A text of `start`, then `fill` again and again up to `length` bytes, then `end`. */
static char *filled(const char *start, const char *fill, size_t length, const char *end)
{
    size_t fill_length = strlen(fill), at = strlen(start);
    char *text = malloc(length + fill_length + strlen(end) + 1);
    assert_non_null(text);
    strcpy(text, start);
    for (; at < length; at += fill_length)
        strcpy(text + at, fill);
    strcpy(text + at, end);
    return text;
}

static void lines_and_heads_without_end_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *start, *fill, *end, *wanted;
    } rows[] = {
        {"GET /", "a", "", "refused 414\n"},
        {"GET /", "a", HOST "\r\n", "refused 414\n"},
        {"GET /" HOST "X: ", "y", "", "refused 431\n"},
        {"GET /" HOST, "X: y\r\n", "", "refused 431\n"},
        {"GET /first" HOST "\r\nGET /", "a", "", "GET /first <>\nrefused 414\n"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *input = filled(rows[i].start, rows[i].fill, 100000, rows[i].end);
        check_refused(input, strlen(input), 100, rows[i].wanted);
        free(input);
    }
}

/* Lines and heads of the limit's length are taken, whether that counts the last CRLF or not. */
static void lines_and_heads_up_to_the_limit_are_taken(void **state)
{
    (void)state;
    static const struct {
        const char *start, *end, *refusal;
        size_t limit;
    } rows[] = {
        {"GET /", HOST "\r\n", "refused 414\n", HTTP_REQUEST_LINE_BYTES + sizeof "Host: h\r\n\r\n" - 1},
        {"GET /" HOST "X: ", "\r\n\r\n", "refused 431\n", HTTP_HEAD_BYTES},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t end = strlen(rows[i].end);
        char *input = filled(rows[i].start, "a", rows[i].limit - end, rows[i].end);
        struct reader reader = reader_make(0);
        receive_text(&reader, input);
        assert_true(reader.log.length > 0 && !reader.refused);
        reader_free(&reader);
        free(input);
        input = filled(rows[i].start, "a", rows[i].limit - end + 3, rows[i].end);
        check_refused(input, strlen(input), 100, rows[i].refusal);
        free(input);
    }
}

static void a_hundred_headers_are_the_most(void **state)
{
    (void)state;
    const char *start = "GET /" HOST, *line = "X: y\r\n";
    for (int count = HTTP_HEADER_COUNT - 2; count <= HTTP_HEADER_COUNT + 1; count++) {
        char *input = filled(start, line, strlen(start) + (size_t)(count - 1) * strlen(line), "\r\n");
        check_refused(input, strlen(input), 0, count > HTTP_HEADER_COUNT ? "refused 431\n" : "GET / <>\n");
        free(input);
    }
}

static void bodies_beyond_the_limit_are_refused(void **state)
{
    (void)state;
    /* The last one is malformed as well, but only behind what may be too much. */
    static const char *const bodies[] = {"5\r\nhello\r\n0\r\n\r\n", "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
                                         "1\r\nh\r\n1\r\ne\r\n3\r\nllo\r\n0\r\n\r\n", "5\r\nhello!"};
    for (size_t i = 0; i < 8 * COUNT(bodies); i++) {
        char input[128];
        const char *wanted = i % 8 < 5 ? "refused 413\n" : i < 24 ? "POST / <hello>\n" : "refused 400\n";
        snprintf(input, sizeof input, "POST /" HOST "Transfer-Encoding: chunked\r\n\r\n%s", bodies[i / 8]);
        check_refused(input, strlen(input), i % 8, wanted);
    }
}

static void heads_and_chunks_that_are_wrong_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *input, *wanted;
    } rows[] = {
        {"GET / HTTP/1.1\nHost: h\n\n", "refused 400\n"},
        {"GET /" HOST "X: y\nZ: w\r\n\r\n", "refused 400\n"},
        {"GET /" HOST "\r\nnonsense\r\n\r\n", "GET / <>\nrefused 400\n"},
        {"\r\n\r\nGET /" HOST "\r\n", "refused 400\n"},
        {"\nGET /" HOST "\r\n", "refused 400\n"},
        {"POST /" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\n", "refused 400\n"},
        {"POST /" HOST "Transfer-Encoding: chunked\r\n\r\n100000005\r\n", "refused 413\n"},
        {"POST /" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n62\r\nd", "refused 413\n"},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        check_refused(rows[i].input, strlen(rows[i].input), 100, rows[i].wanted);
}

/* ---- memory ---- */

static void announced_bytes_take_no_memory(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "POST /" HOST "Content-Length: 9223372036854775807\r\n\r\nab",
        "POST /" HOST "Transfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\nab",
    };
    for (size_t i = 0; i < COUNT(heads); i++) {
        struct reader reader = reader_make(UINT64_MAX);
        receive_text(&reader, heads[i]);
        assert_log(&reader, "");
        size_t room;
        assert_non_null(message_room(&reader.message, &room));
        assert_true(reader.message.bytes.capacity < MEBIBYTE);
        reader_free(&reader);
    }
}

static void discarded_bodies_are_not_kept(void **state)
{
    (void)state;
    char *piece = filled("", "a", 65536, "\r\n");
    for (int chunked = 0; chunked < 2; chunked++) {
        struct reader reader = reader_make(UINT64_MAX);
        reader.discard = true;
        receive_text(&reader, chunked ? "POST /a" HOST "Transfer-Encoding: chunked\r\n\r\n"
                                      : "POST /a" HOST "Content-Length: 16777216\r\n\r\n");
        for (int i = 0; i < 256; i++) {
            if (chunked)
                receive_text(&reader, "10000\r\n");
            receive(&reader, piece, chunked ? 65538 : 65536);
            assert_true(reader.message.bytes.capacity < MEBIBYTE);
        }
        receive_text(&reader, chunked ? "0\r\n\r\nGET /b" HOST "\r\n" : "GET /b" HOST "\r\n");
        assert_log(&reader, "POST /a <>\nGET /b <>\n");
        /* The limit holds for them too. */
        reader.limit = 2;
        receive_text(&reader,
                     "POST /c" HOST "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n");
        assert_log(&reader, "POST /a <>\nGET /b <>\nrefused 413\n");
        reader_free(&reader);
    }
    free(piece);
}

/* Neither many requests on one connection nor empty lines without end fill the memory. */
static void memory_is_used_again(void **state)
{
    (void)state;
    struct reader reader = reader_make(1000);
    for (size_t round = 0; round < 2000; round++) {
        receive_pieces(&reader, stream, strlen(stream), 200 + round % 61);
        assert_log(&reader, stream_log);
        buffer_clear(&reader.log);
        assert_true(reader.message.bytes.capacity <= 4 * HTTP_HEAD_BYTES);
    }
    reader_free(&reader);

    reader = reader_make(1000);
    for (int i = 0; i < MEBIBYTE && !reader.refused; i++)
        receive_text(&reader, "\r\n");
    assert_true(reader.refused || reader.message.bytes.capacity <= 4 * HTTP_HEAD_BYTES);
    reader_free(&reader);
}

#ifdef OWN_REALLOC
/* Whatever fails for want of memory leaves the message as it was. */
static void message_outlives_want_of_memory(void **state)
{
    (void)state;
    size_t length = strlen(stream);
    for (size_t split = 1; split < length; split++) {
        struct reader reader = reader_make(1000);
        receive(&reader, stream, split);
        struct message to = MESSAGE_EMPTY;
        size_t room;
        bool nothing = reader.message.bytes.length == reader.message.start;
        out_of_memory = true;
        int moved = message_move(&reader.message, &to);
        char *place = message_room(&to, &room);
        out_of_memory = false;
        assert_null(place);
        assert_int_equal(moved, nothing ? 0 : -1);
        receive(&reader, stream + split, length - split);
        assert_log(&reader, stream_log);
        reader_free(&reader);
        message_free(&to);
    }
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_split_gives_the_same_requests),
        cmocka_unit_test(every_size_of_pieces_gives_the_same_requests),
        cmocka_unit_test(message_moves_in_the_middle),
        cmocka_unit_test(body_is_announced_before_it_is_given),
        cmocka_unit_test(idle_is_whoever_sent_nothing),
        cmocka_unit_test(lines_and_heads_without_end_are_refused),
        cmocka_unit_test(lines_and_heads_up_to_the_limit_are_taken),
        cmocka_unit_test(a_hundred_headers_are_the_most),
        cmocka_unit_test(bodies_beyond_the_limit_are_refused),
        cmocka_unit_test(heads_and_chunks_that_are_wrong_are_refused),
        cmocka_unit_test(announced_bytes_take_no_memory),
        cmocka_unit_test(discarded_bodies_are_not_kept),
        cmocka_unit_test(memory_is_used_again),
#ifdef OWN_REALLOC
        cmocka_unit_test(message_outlives_want_of_memory),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
