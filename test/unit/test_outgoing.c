/*
 * Proves that an answer goes out whole and in order however little the socket takes at a time, that nobody
 * waits for a reader, that others get their turn, and that the source of a body is closed exactly once and
 * told the truth.
 */
#include "net/limits.h"
#include "net/outgoing.h"

#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* malloc is ours, so that memory can run out; the sanitizers bring their own. */
#ifndef __has_feature
#define __has_feature(feature) 0
#endif
#if !defined(__SANITIZE_ADDRESS__) && !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
#define OWN_MALLOC

void *__libc_malloc(size_t size);

static bool counting;
static size_t remaining; /* allocations that still succeed, while counting */

void *malloc(size_t size)
{
    if (counting && remaining == 0)
        return NULL;
    remaining -= counting;
    return __libc_malloc(size);
}
#endif

/* Of all answers that are kept. */
static struct budget memory = {.limit_bytes = UINT64_MAX};

/* A body in pieces: byte n of it is byte_at(n). */
struct source {
    size_t length;
    size_t piece;  /* of one vector */
    size_t most;   /* vectors at a time */
    size_t offset; /* what has been taken */
    char *bytes;
    unsigned closed;
    bool whole;
};

static char byte_at(size_t offset)
{
    return (char)(offset % 251);
}

static int source_fill(void *state, struct iovec *vectors, int count)
{
    struct source *source = state;
    int filled = 0;
    assert_int_equal(source->closed, 0);
    for (size_t at = source->offset;
         at < source->length && filled < count && (size_t)filled < source->most;) {
        size_t length = source->piece < source->length - at ? source->piece : source->length - at;
        vectors[filled++] = (struct iovec){.iov_base = source->bytes + at, .iov_len = length};
        at += length;
    }
    return filled;
}

static void source_advance(void *state, size_t length)
{
    struct source *source = state;
    assert_int_equal(source->closed, 0);
    assert_true(length > 0 && length <= source->length - source->offset);
    source->offset += length;
}

static void source_close(void *state, bool whole)
{
    struct source *source = state;
    source->closed++;
    source->whole = whole;
    /* Nobody may look at the memory any more. */
    free(source->bytes);
    source->bytes = NULL;
}

static const struct body_source_operations operations = {
    .fill = source_fill, .advance = source_advance, .close = source_close};

static struct body_source source_make(struct source *source, size_t length, size_t piece, size_t most)
{
    *source = (struct source){.length = length, .piece = piece, .most = most, .bytes = malloc(length + 1)};
    assert_non_null(source->bytes);
    for (size_t i = 0; i < length; i++)
        source->bytes[i] = byte_at(i);
    return (struct body_source){.operations = &operations, .state = source, .length = length};
}

/* ---- sockets ---- */

struct sockets {
    int writer, reader; /* both would block */
    size_t received;
};

static struct sockets sockets_make(void)
{
    int ends[2], small = 1;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_int_equal(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    return (struct sockets){.writer = ends[0], .reader = ends[1]};
}

/* Over TCP the kernel takes megabytes at once. */
static struct sockets tcp_sockets_make(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    struct sockets sockets = {.writer = socket(AF_INET, SOCK_STREAM, 0)};
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    assert_int_equal(connect(sockets.writer, (struct sockaddr *)&address, sizeof address), 0);
    sockets.reader = accept(listener, NULL, NULL);
    assert_true(sockets.reader >= 0);
    close(listener);
    return sockets;
}

static void sockets_close(struct sockets *sockets)
{
    close(sockets->writer);
    close(sockets->reader);
}

/* Reads up to `most` bytes that are there already: first those of `head`, then those of the body. */
static size_t receive(struct sockets *sockets, const char *head, size_t most)
{
    static char bytes[1 << 18];
    size_t total = 0, head_length = strlen(head);
    while (total < most) {
        size_t wanted = most - total < sizeof bytes ? most - total : sizeof bytes;
        ssize_t count = recv(sockets->reader, bytes, wanted, MSG_DONTWAIT);
        if (count <= 0)
            break;
        for (size_t i = 0; i < (size_t)count; i++, sockets->received++) {
            size_t at = sockets->received;
            char expected = at < head_length ? head[at] : byte_at(at - head_length);
            if (bytes[i] != expected)
                fail_msg("byte %zu is another", at);
        }
        total += (size_t)count;
    }
    return total;
}

static void receive_all(struct sockets *sockets, const char *head, size_t length)
{
    const char *scale = getenv("TEST_TIME_SCALE");
    struct pollfd reader = {.fd = sockets->reader, .events = POLLIN};
    while (sockets->received < length) {
        assert_int_equal(poll(&reader, 1, (int)(5000 * (scale == NULL ? 1 : atof(scale)))), 1);
        assert_true(receive(sockets, head, length - sockets->received) > 0);
    }
    assert_int_equal(receive(sockets, head, 1), 0);
}

static struct outgoing outgoing_make(const char *head, struct body_source source)
{
    return (struct outgoing){.bytes = head, .length = strlen(head), .source = source};
}

/* ---- tests ---- */

static void what_fits_goes_out_at_once(void **state)
{
    (void)state;
    struct sockets sockets = sockets_make();
    struct source source;
    struct outgoing outgoing = outgoing_make("head", source_make(&source, 300, 7, 100));
    assert_int_equal(outgoing_send(sockets.writer, &outgoing), OUTGOING_WHOLE);
    assert_int_equal(source.closed, 1);
    assert_true(source.whole);
    assert_int_equal(source.offset, 300);
    receive_all(&sockets, "head", 304);

    /* The end has been told; nothing later tells it again. */
    outgoing_abandon(&outgoing);
    assert_int_equal(source.closed, 1);
    sockets_close(&sockets);
}

static void answers_without_source_or_bytes_are_whole_too(void **state)
{
    (void)state;
    struct sockets sockets = sockets_make();
    struct source source;
    struct outgoing outgoing = outgoing_make("only a head", (struct body_source){.operations = NULL});
    assert_int_equal(outgoing_send(sockets.writer, &outgoing), OUTGOING_WHOLE);
    receive_all(&sockets, "only a head", 11);
    sockets.received = 0;
    outgoing = outgoing_make("", source_make(&source, 20, 20, 1));
    assert_int_equal(outgoing_send(sockets.writer, &outgoing), OUTGOING_WHOLE);
    assert_true(source.closed == 1 && source.whole);
    receive_all(&sockets, "", 20);
    sockets.received = 0;
    outgoing = outgoing_make("head", source_make(&source, 0, 1, 1));
    assert_int_equal(outgoing_send(sockets.writer, &outgoing), OUTGOING_WHOLE);
    assert_true(source.closed == 1 && source.whole);
    receive_all(&sockets, "head", 4);
    outgoing = outgoing_make("", (struct body_source){.operations = NULL});
    assert_int_equal(outgoing_send(sockets.writer, &outgoing), OUTGOING_WHOLE);
    sockets_close(&sockets);
}

/* Sends until it is whole, reading `step` bytes whenever the socket is full. Returns how often it was. */
static unsigned send_whole(struct sockets *sockets, struct outgoing *outgoing, const char *head, size_t step)
{
    for (unsigned blocked = 0;; blocked++) {
        enum outgoing_result result = outgoing_send(sockets->writer, outgoing);
        if (result == OUTGOING_WHOLE)
            return blocked;
        assert_int_equal(result, OUTGOING_BLOCKED);
        assert_true(receive(sockets, head, step) > 0);
    }
}

static void what_does_not_fit_goes_on_later(void **state)
{
    (void)state;
    static const struct {
        size_t length, piece, most, step;
    } rows[] = {
        {200000, 200000, 1, 1 << 20}, {200000, 1, 1000, 1 << 20}, {200000, 1000, 1, 1 << 20},
        {200000, 4096, 1000, 1},      {100000, 333, 3, 500},      {60000, 7, 64, 1 << 20},
    };
    static char head[50001];
    memset(head, 'h', sizeof head - 1);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sockets sockets = sockets_make();
        struct source source;
        struct outgoing outgoing =
            outgoing_make(head, source_make(&source, rows[i].length, rows[i].piece, rows[i].most));
        assert_int_equal(outgoing_send(sockets.writer, &outgoing), OUTGOING_BLOCKED);
        assert_true(outgoing.sent > 0);
        assert_int_equal(source.closed, 0);
        /* Nobody has read: nothing more is taken. */
        size_t sent = outgoing.sent;
        assert_int_equal(outgoing_send(sockets.writer, &outgoing), OUTGOING_BLOCKED);
        assert_int_equal(outgoing.sent, sent);

        assert_true(send_whole(&sockets, &outgoing, head, rows[i].step) > 0);
        assert_true(source.closed == 1 && source.whole);
        assert_int_equal(source.offset, rows[i].length);
        receive_all(&sockets, head, sizeof head - 1 + rows[i].length);
        sockets_close(&sockets);
    }
}

static void broken_connections_are_told(void **state)
{
    (void)state;
    struct sockets sockets = sockets_make();
    struct source source;
    struct outgoing outgoing = outgoing_make("head", source_make(&source, 200000, 4096, 100));
    assert_int_equal(outgoing_send(sockets.writer, &outgoing), OUTGOING_BLOCKED);
    close(sockets.reader);
    /* SIGPIPE would end this program. */
    assert_int_equal(outgoing_send(sockets.writer, &outgoing), OUTGOING_FAILED);
    outgoing_abandon(&outgoing);
    assert_int_equal(source.closed, 1);
    assert_false(source.whole);
    outgoing_abandon(&outgoing);
    assert_int_equal(source.closed, 1);
    outgoing = outgoing_make("head", (struct body_source){.operations = NULL});
    assert_int_equal(outgoing_send(sockets.writer, &outgoing), OUTGOING_FAILED);
    outgoing_abandon(&outgoing);
    close(sockets.writer);
    assert_int_equal(outgoing_send(-1, &outgoing), OUTGOING_FAILED);
}

static void abandoned_sources_are_not_whole(void **state)
{
    (void)state;
    struct source source;
    struct outgoing outgoing = outgoing_make("head", source_make(&source, 10, 1, 1));
    outgoing_abandon(&outgoing);
    assert_int_equal(source.closed, 1);
    assert_false(source.whole);
    outgoing_abandon(&outgoing);
    assert_int_equal(source.closed, 1);
}

/* A reader that takes everything at once must not keep a worker for itself. */
static void long_answers_yield(void **state)
{
    (void)state;
    enum { LENGTH = 16 * 1024 * 1024 };
    struct sockets sockets = tcp_sockets_make();
    struct source source;
    struct outgoing outgoing = outgoing_make("head", source_make(&source, LENGTH, 65536, 4));
    unsigned yielded = 0;
    for (;;) {
        uint64_t before = outgoing.sent + outgoing.source_sent;
        enum outgoing_result result = outgoing_send(sockets.writer, &outgoing);
        uint64_t taken = outgoing.sent + outgoing.source_sent - before;
        if (result == OUTGOING_WHOLE)
            break;
        assert_int_equal(source.closed, 0);
        assert_true(result == OUTGOING_YIELDED || result == OUTGOING_BLOCKED);
        assert_int_equal(result == OUTGOING_YIELDED, taken >= HTTP_BYTES_IN_A_ROW);
        yielded += result == OUTGOING_YIELDED;
        receive(&sockets, "head", LENGTH);
    }
    assert_true(yielded > 0);
    assert_true(source.closed == 1 && source.whole);
    receive_all(&sockets, "head", 4 + (size_t)LENGTH);
    sockets_close(&sockets);
}

/* The worker's buffer is used for the next answer while the kept one waits for its reader. */
static void kept_answers_need_no_borrowed_memory(void **state)
{
    (void)state;
    enum { HEAD = 100000, BODY = 200000 };
    for (int with_source = 0; with_source < 2; with_source++) {
        struct sockets sockets = sockets_make();
        struct source source;
        char *borrowed = malloc(HEAD + 1), *head = malloc(HEAD + 1);
        assert_true(borrowed != NULL && head != NULL);
        memset(head, 'h', HEAD);
        head[HEAD] = '\0';
        memcpy(borrowed, head, HEAD + 1);
        struct outgoing outgoing = outgoing_make(borrowed, with_source ? source_make(&source, BODY, 999, 64)
                                                                       : (struct body_source){.length = 0});
        outgoing.close = true;
        outgoing.allowed_ns = 12345;
        assert_int_equal(outgoing_send(sockets.writer, &outgoing), OUTGOING_BLOCKED);
        struct outgoing *kept = outgoing_keep(&outgoing, &memory);
        assert_non_null(kept);
        assert_true(kept->close && kept->allowed_ns == 12345);
        memset(borrowed, '#', HEAD);
        free(borrowed);
        send_whole(&sockets, kept, head, 1 << 20);
        receive_all(&sockets, head, HEAD + (with_source ? BODY : 0));
        outgoing_free(kept);
        if (with_source)
            assert_true(source.closed == 1 && source.whole);
        free(head);
        sockets_close(&sockets);
    }
    outgoing_free(NULL);
}

/* All of head and body has gone but a part of the source; and freeing is not closing. */
static void kept_answers_may_be_at_any_place(void **state)
{
    (void)state;
    struct sockets sockets = sockets_make();
    struct source source;
    struct outgoing outgoing = outgoing_make("head", source_make(&source, 200000, 50, 64));
    assert_int_equal(outgoing_send(sockets.writer, &outgoing), OUTGOING_BLOCKED);
    assert_int_equal(outgoing.sent, 4);
    struct outgoing *kept = outgoing_keep(&outgoing, &memory);
    assert_non_null(kept);
    struct outgoing *again = outgoing_keep(kept, &memory);
    assert_non_null(again);
    outgoing_free(kept);
    assert_int_equal(source.closed, 0);
    send_whole(&sockets, again, "head", 1 << 20);
    assert_true(source.closed == 1 && source.whole);
    outgoing_free(again);
    receive_all(&sockets, "head", 200004);
    sockets_close(&sockets);
}

/* An endless source gives what it has been given; the answer is never whole. */
static void endless_sources_idle_and_go_on(void **state)
{
    (void)state;
    enum { SHORT = 300, LONG = 200000 };
    struct sockets sockets = sockets_make();
    struct source source;
    struct outgoing outgoing = outgoing_make("head", source_make(&source, LONG, 4096, 8));
    outgoing.source.endless = true;
    outgoing.source.length = 0;
    source.length = 0;
    assert_int_equal(outgoing_send(sockets.writer, &outgoing), OUTGOING_IDLE);
    receive_all(&sockets, "head", 4);
    assert_int_equal(outgoing_send(sockets.writer, &outgoing), OUTGOING_IDLE);
    for (source.length = 1; source.length <= SHORT; source.length++) {
        assert_int_equal(outgoing_send(sockets.writer, &outgoing), OUTGOING_IDLE);
        assert_int_equal(source.offset, source.length);
        receive_all(&sockets, "head", 4 + source.length);
    }
    source.length = LONG;
    unsigned blocked = 0;
    enum outgoing_result result;
    while ((result = outgoing_send(sockets.writer, &outgoing)) != OUTGOING_IDLE) {
        assert_int_equal(result, OUTGOING_BLOCKED);
        blocked++;
        assert_true(receive(&sockets, "head", 1 << 20) > 0);
    }
    assert_true(blocked > 0);
    receive_all(&sockets, "head", 4 + LONG);
    assert_int_equal(source.closed, 0);
    outgoing_abandon(&outgoing);
    assert_true(source.closed == 1 && !source.whole);
    sockets_close(&sockets);
}

/* A stream stays for hours: its head's memory goes as soon as it is sent. */
static void heads_are_forgotten_when_they_are_sent(void **state)
{
    (void)state;
    enum { HEAD = 100000, BODY = 1000 };
    static char head[HEAD + 1];
    memset(head, 'h', HEAD);
    struct sockets sockets = sockets_make();
    struct source source;
    struct outgoing outgoing = outgoing_make(head, source_make(&source, BODY, 99, 8));
    outgoing.source.endless = true;
    struct outgoing *kept = outgoing_keep(&outgoing, &memory);
    assert_non_null(kept);
    assert_int_equal(outgoing_send(sockets.writer, kept), OUTGOING_BLOCKED);
    assert_true(kept->sent > 0 && kept->sent < HEAD);
    size_t sent = kept->sent;
    outgoing_forget_head(kept);
    assert_non_null(kept->owned_bytes);
    assert_int_equal(kept->sent, sent);
    while (outgoing_send(sockets.writer, kept) == OUTGOING_BLOCKED)
        assert_true(receive(&sockets, head, 1 << 20) > 0);
    receive_all(&sockets, head, HEAD + BODY);
    for (int again = 0; again < 2; again++) {
        outgoing_forget_head(kept);
        assert_null(kept->owned_bytes);
        assert_int_equal(kept->length, 0);
        assert_int_equal(outgoing_send(sockets.writer, kept), OUTGOING_IDLE);
    }
    source.offset = 0;
    sockets.received = HEAD;
    assert_int_equal(outgoing_send(sockets.writer, kept), OUTGOING_IDLE);
    receive_all(&sockets, head, HEAD + BODY);
    outgoing_abandon(kept);
    outgoing_free(kept);
    assert_true(source.closed == 1 && !source.whole);
    sockets_close(&sockets);
}

#ifdef OWN_MALLOC
static void source_stays_when_memory_is_short(void **state)
{
    (void)state;
    struct source source;
    struct outgoing outgoing = outgoing_make("head", source_make(&source, 10, 1, 1)), *kept = NULL;
    size_t allowed = 0;
    for (; kept == NULL; allowed++) {
        assert_true(allowed < 10);
        remaining = allowed;
        counting = true;
        kept = outgoing_keep(&outgoing, &memory);
        counting = false;
        assert_int_equal(source.closed, 0);
        assert_ptr_equal(outgoing.source.operations, &operations);
    }
    assert_true(allowed > 1);
    outgoing_abandon(kept);
    assert_true(source.closed == 1 && !source.whole);
    outgoing_free(kept);
}
#endif

/* What could be sent now: the rest of the bytes, and what the source shows. */
static void what_is_ready_is_added_up(void **state)
{
    (void)state;
    struct source source;
    struct outgoing outgoing = outgoing_make("head", source_make(&source, 1000, 100, 8));
    assert_int_equal(outgoing_ready(&outgoing), 4 + 800);
    outgoing.sent = 3;
    source.offset = 950;
    assert_int_equal(outgoing_ready(&outgoing), 1 + 50);
    source.offset = 1000;
    outgoing.sent = 4;
    assert_int_equal(outgoing_ready(&outgoing), 0);
    outgoing_abandon(&outgoing);
}

static int all_memory_is_given_back(void **state)
{
    (void)state;
    return budget_used(&memory) == 0 ? 0 : -1;
}

int main(void)
{
    alarm(280); /* ends a writer that waits for its reader */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_fits_goes_out_at_once),
        cmocka_unit_test(answers_without_source_or_bytes_are_whole_too),
        cmocka_unit_test(what_does_not_fit_goes_on_later),
        cmocka_unit_test(broken_connections_are_told),
        cmocka_unit_test(abandoned_sources_are_not_whole),
        cmocka_unit_test(long_answers_yield),
        cmocka_unit_test(kept_answers_need_no_borrowed_memory),
        cmocka_unit_test(what_is_ready_is_added_up),
        cmocka_unit_test(kept_answers_may_be_at_any_place),
        cmocka_unit_test(endless_sources_idle_and_go_on),
        cmocka_unit_test(heads_are_forgotten_when_they_are_sent),
#ifdef OWN_MALLOC
        cmocka_unit_test(source_stays_when_memory_is_short),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, all_memory_is_given_back);
}
