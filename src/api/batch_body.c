#include "api/batch_body.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    PREFIX_BYTES = sizeof "},{\"id\":18446744073709551615,\"ts\":\"2026-01-02T03:04:05.678Z\",\"data\":",
    PREFIXES_AT_ONCE = 32,
};

/* The body is a row of pieces: the prefix and the value of each event in turn, then the tail. */
struct batch_body {
    struct store *store;
    struct batch *batch;
    bool meta;
    size_t piece;  /* the next one; even: a prefix, odd: a value */
    size_t offset; /* into it */
    size_t piece_count;
    char prefixes[][PREFIX_BYTES]; /* PREFIXES_AT_ONCE with meta */
};

/* Prefixes with meta are written into `storage`. */
static struct text piece_text(const struct batch_body *body, size_t piece, char storage[PREFIX_BYTES])
{
    bool first = piece == 0;
    if (piece == body->piece_count - 1)
        return body->meta ? TEXT("}]") : TEXT("]");
    if (piece % 2 == 0 && !body->meta)
        return first ? TEXT("[") : TEXT(",");
    struct batch_event event = store_batch_event(body->batch, piece / 2);
    if (piece % 2 == 1)
        return event.value;
    char time[CLOCK_RFC3339_BYTES];
    clock_format_rfc3339(event.wall_ms, time);
    int length = snprintf(storage, PREFIX_BYTES, "%s{\"id\":%llu,\"ts\":\"%s\",\"data\":", first ? "[" : "},",
                          (unsigned long long)event.id, time);
    return (struct text){.bytes = storage, .length = (size_t)length};
}

static int batch_body_fill_vectors(void *state, struct iovec *vectors, int count)
{
    struct batch_body *body = state;
    size_t prefix_count = 0;
    int filled = 0;
    for (size_t piece = body->piece; piece < body->piece_count && filled < count; piece++, filled++) {
        if (body->meta && prefix_count == PREFIXES_AT_ONCE)
            break;
        char *storage = body->meta ? body->prefixes[prefix_count++] : NULL;
        struct text text = piece_text(body, piece, storage);
        size_t skip = filled == 0 ? body->offset : 0;
        vectors[filled] =
            (struct iovec){.iov_base = (void *)(text.bytes + skip), .iov_len = text.length - skip};
    }
    return filled;
}

static void batch_body_advance(void *state, size_t length)
{
    struct batch_body *body = state;
    while (length > 0) {
        char storage[PREFIX_BYTES];
        size_t left = piece_text(body, body->piece, storage).length - body->offset;
        if (length < left) {
            body->offset += length;
            return;
        }
        length -= left;
        body->piece++;
        body->offset = 0;
    }
}

static void batch_body_close(void *state, bool whole)
{
    struct batch_body *body = state;
    if (whole)
        store_batch_consumed(body->store, body->batch);
    else
        store_batch_return(body->store, body->batch);
    free(body);
}

static const struct body_source_operations operations = {
    .fill = batch_body_fill_vectors,
    .advance = batch_body_advance,
    .close = batch_body_close,
};

static uint64_t body_length(const struct batch_body *body)
{
    size_t count = store_batch_count(body->batch);
    uint64_t length = store_batch_value_bytes(body->batch);
    if (!body->meta)
        return length + count + 1; /* brackets, and commas between */
    char storage[PREFIX_BYTES];
    for (size_t i = 0; i < count; i++)
        length += piece_text(body, 2 * i, storage).length;
    return length + piece_text(body, body->piece_count - 1, storage).length;
}

int batch_body_fill(struct response *response, struct store *store, struct batch *batch, bool meta)
{
    size_t prefix_count = meta ? PREFIXES_AT_ONCE : 0;
    struct batch_body *body = malloc(sizeof *body + prefix_count * PREFIX_BYTES);
    if (body == NULL)
        return -1;
    *body = (struct batch_body){.store = store, .batch = batch, .meta = meta};
    body->piece_count = 2 * store_batch_count(batch) + 1;
    response_json(response, 200);
    response->source =
        (struct body_source){.operations = &operations, .state = body, .length = body_length(body)};
    return 0;
}

void batch_body_discard(struct response *response)
{
    free(response->source.state);
    response->source = (struct body_source){.operations = NULL};
}
