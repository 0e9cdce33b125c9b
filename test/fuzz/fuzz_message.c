/* A connection's bytes as requests: the same whether they come at once or in pieces. A byte 0xFF in the input is no byte of
 * it but the end of a piece, 0xFE and a byte are many of that one. */
#include "fuzz.h"

#include "net/message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BODY_LIMIT = 300, PIECE_END = 0xFF, RUN_BYTES = 4096, RUNS = 8 };

static void record_text(struct buffer *record, struct text text)
{
    buffer_printf(record, "%zu:", text.length);
    buffer_append(record, text.bytes, text.length);
}

static bool is_discarded(const struct request *request)
{
    return text_equals(request->path, TEXT("/d"));
}

/* A head that was taken can be read in one way only. */
static void check_head(const struct message *message, const struct request *request)
{
    struct model_head head;
    struct text text = {.bytes = message->bytes.bytes + message->start, .length = message->scanned};
    FUZZ_REQUIRE(model_head_read(text, &head));
    FUZZ_REQUIRE((int)request->minor_version == head.minor_version);
    FUZZ_REQUIRE((request->framing == FRAMING_CHUNKED) == (head.codings > 0));
    FUZZ_REQUIRE((request->framing == FRAMING_LENGTH) == (head.content_length > 0));
    if (request->framing == FRAMING_LENGTH)
        FUZZ_REQUIRE(request->content_length == head.content_length);
}

static void record_request(struct buffer *record, const struct request *request)
{
    FUZZ_REQUIRE((request->method & (request->method - 1)) == 0 && request->method != 0);
    buffer_printf(record, "\nrequest %d %u %d %d %llu ", (int)request->method, request->minor_version,
                  request->keep_alive, (int)request->framing, (unsigned long long)request->content_length);
    FUZZ_REQUIRE(request->path.length > 0);
    record_text(record, request->path);
    record_text(record, request->query);
    for (int i = 0; i < HEADER_COUNT; i++)
        record_text(record, request->headers[i]);
    if (!is_discarded(request))
        record_text(record, request->body);
}

static void record_refusal(struct buffer *record, const struct refusal *refusal)
{
    FUZZ_REQUIRE(refusal->status >= 400 && refusal->status <= 599 && refusal->reason != NULL);
    buffer_printf(record, "\nrefused %u %s", refusal->status, refusal->reason);
}

/* Takes what has arrived. False: nothing can be read any more. */
static bool take(struct message *message, struct buffer *record)
{
    struct request request;
    struct refusal refusal;
    for (;;) {
        switch (message_next(message, &request, &refusal)) {
        case MESSAGE_MORE:
            return true;
        case MESSAGE_STARTED:
            FUZZ_REQUIRE(request.body.length == 0 && request.framing != FRAMING_NONE);
            message_expect_body(message, BODY_LIMIT, is_discarded(&request));
            break;
        case MESSAGE_REQUEST:
            check_head(message, &request);
            record_request(record, &request);
            message_done(message);
            break;
        case MESSAGE_REFUSED:
            record_refusal(record, &refusal);
            return false;
        }
    }
}

static void arrive(struct message *message, const char *bytes, size_t length)
{
    while (length > 0) {
        size_t room;
        char *place = message_room(message, &room);
        FUZZ_REQUIRE(place != NULL && room > 0);
        size_t part = room < length ? room : length;
        memcpy(place, bytes, part);
        message_received(message, part);
        bytes += part;
        length -= part;
    }
}

/* What comes out of the input, in pieces or, `whole`, all at once. */
static struct buffer run(struct text input, bool whole)
{
    struct message message = MESSAGE_EMPTY;
    struct buffer record = BUFFER_EMPTY;
    bool readable = true;
    while (input.length > 0 && readable) {
        struct text piece = text_cut(&input, (char)PIECE_END);
        arrive(&message, piece.bytes, piece.length);
        if (!whole || input.length == 0)
            readable = take(&message, &record);
    }
    if (readable)
        buffer_printf(&record, "\nend %d", message_is_idle(&message));
    message_free(&message);
    FUZZ_REQUIRE(!record.failed);
    return record;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text input = fuzz_expand(data, size, RUN_BYTES, RUNS);
    struct buffer whole = run(input, true), pieces = run(input, false);
    bool same = text_equals((struct text){.bytes = whole.bytes, .length = whole.length},
                            (struct text){.bytes = pieces.bytes, .length = pieces.length});
    if (!same)
        fprintf(stderr, "--- whole:%.*s\n--- pieces:%.*s\n", (int)whole.length, whole.bytes,
                (int)pieces.length, pieces.bytes);
    FUZZ_REQUIRE(same);
    buffer_free(&whole);
    buffer_free(&pieces);
    fuzz_free(input);
    return 0;
}
