/* The whole way of a request: the bytes of a connection, in pieces or at once, up to all handlers and back. A byte 0xFF in the
 * input is no byte of it but the end of a piece, 0xFE and a byte are many of that one. Whoever names a Bearer needs the token "t". */
#include "fuzz.h"
#include "kit_server.h"

#include <stdio.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argument_count, char ***arguments)
{
    (void)argument_count, (void)arguments;
    kit_server_start();
    return 0;
}

enum { PIECE_END = 0xFF, RUN_BYTES = 3072, RUNS = 8 };

static void exchange(struct text input, bool whole, struct buffer *answers)
{
    struct buffer all = BUFFER_EMPTY;
    buffer_clear(answers);
    kit_server_connect();
    while (input.length > 0) {
        struct text piece = text_cut(&input, (char)PIECE_END);
        if (whole)
            buffer_append(&all, piece.bytes, piece.length);
        else
            kit_server_send(piece, answers);
    }
    kit_server_send((struct text){.bytes = all.bytes, .length = all.length}, answers);
    kit_server_disconnect(answers);
    buffer_free(&all);
}

static void run(struct text input, bool whole, struct buffer *answers)
{
    kit_server_reset();
    exchange(input, whole, answers);
    kit_server_check();
}

/* Whether it tells of more than what the input says. */
static bool is_volatile(const struct kit_answer *answer)
{
    return answer->is_stream || memmem(answer->body.bytes, answer->body.length, "uptime_seconds",
                                       strlen("uptime_seconds")) != NULL;
}

/* The answers are the same up to one that ends the connection: a refusal does that when the body is still to come. */
static bool compare(struct text whole, struct text pieces)
{
    struct kit_answer a, b;
    bool more_a, more_b;
    do {
        more_a = kit_next_answer(&whole, &a);
        more_b = kit_next_answer(&pieces, &b);
        if (!more_a || !more_b)
            return more_a == more_b;
        if (a.status != b.status || (!is_volatile(&a) && !text_equals(a.body, b.body)))
            return false;
    } while (!a.closes && !b.closes);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct buffer whole, pieces;
    struct text input = fuzz_expand(data, size, RUN_BYTES, RUNS);
    kit_server_set_token(memmem(data, size, "Bearer", 6) != NULL ? TEXT("t") : TEXT(""));
    run(input, true, &whole);
    run(input, false, &pieces);
    bool same = compare((struct text){.bytes = whole.bytes, .length = whole.length},
                        (struct text){.bytes = pieces.bytes, .length = pieces.length});
    if (!same)
        fprintf(stderr, "--- whole:\n%.*s\n--- pieces:\n%.*s\n", (int)whole.length, whole.bytes,
                (int)pieces.length, pieces.bytes);
    FUZZ_REQUIRE(same);
    fuzz_free(input);
    return 0;
}
