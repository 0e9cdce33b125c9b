/* `send`: what it makes of an answer, and of the lines of a file. The first two bytes of the input are the status; the rest is
 * the answer's body, and each of its lines one of a file. */
#include "fuzz.h"

#include "cli/send_judge.h"
#include "cli/send_queue.h"

#include <stdlib.h>
#include <string.h>

static void check_judge(unsigned status, struct text body)
{
    struct client_answer answer = {.status = status, .was_sent = true, .body = body};
    char reason[SEND_REASON_BYTES] = {0};
    enum send_verdict verdict = send_judge(&answer, reason);
    size_t length = strnlen(reason, sizeof reason);
    FUZZ_REQUIRE(length < sizeof reason && (verdict == SEND_TAKEN || status == 0 || length > 0));
    for (size_t i = 0; i < length; i++)
        FUZZ_REQUIRE((unsigned char)reason[i] >= 0x20 && reason[i] != 0x7F);
    /* What was not sent is safe to send again; what may have arrived is not. */
    if (verdict == SEND_TAKEN)
        FUZZ_REQUIRE(status == 200);
    if (verdict == SEND_AGAIN)
        FUZZ_REQUIRE(status == 503 || status == 429 || status == 408);
}

/* No answer came, or a wait is to be found. */
static void check_waits(uint8_t choice, struct text body)
{
    struct client_answer answer = {.was_sent = choice % 2 == 1, .failure = "no answer in time"};
    char reason[SEND_REASON_BYTES];
    FUZZ_REQUIRE(send_judge(&answer, reason) == (answer.was_sent ? SEND_UNKNOWN : SEND_AGAIN));
    int64_t retry_after_s = 0;
    uint64_t random = 0;
    memcpy(&retry_after_s, body.bytes, body.length < 8 ? body.length : 8);
    if (body.length > 8)
        memcpy(&random, body.bytes + 8, body.length < 16 ? body.length - 8 : 8);
    int64_t ns = send_backoff_ns(choice, retry_after_s, random);
    FUZZ_REQUIRE(ns >= SEND_BACKOFF_FIRST_NS / 2 && ns < 2 * 3600 * CLOCK_NS_PER_SECOND);
    if (retry_after_s > 0 && retry_after_s <= 3600)
        FUZZ_REQUIRE(ns >= retry_after_s * CLOCK_NS_PER_SECOND);
}

/* Settles half of what is taken at once, puts others back. Every line comes out in the end, the first ones of the file
 * first. */
static void drain(struct send_queue *queue, size_t count)
{
    size_t settled = 0, turn = 0;
    struct send_line *line;
    while ((line = send_queue_take(queue)) != NULL) {
        struct send_line *other = turn++ % 3 == 0 ? send_queue_take(queue) : NULL;
        FUZZ_REQUIRE(other == NULL || other->number > line->number);
        if (other != NULL)
            send_queue_put_back(queue, other);
        send_queue_settle(queue, line);
        settled++;
    }
    FUZZ_REQUIRE(settled == count && queue->count == 0 && queue->bytes == 0 && queue->ready_count == 0);
}

static void check_queue(struct text rest)
{
    static struct send_queue queue;
    uint64_t number = 0;
    FUZZ_REQUIRE(send_queue_begin(&queue) == 0);
    while (rest.length > 0 && send_queue_has_room(&queue)) {
        struct text line = text_cut(&rest, '\n');
        struct text copy = fuzz_copy(line.bytes, line.length);
        FUZZ_REQUIRE(send_queue_add(&queue, copy, ++number, line.length + 1) == 0);
        fuzz_free(copy);
    }
    drain(&queue, number);
    send_queue_free(&queue);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned statuses[] = {200, 201, 204, 302, 400, 401, 403, 404,
                                        408, 413, 429, 500, 501, 503, 505};
    uint8_t choice = fuzz_take_byte(&data, &size);
    unsigned status = choice < sizeof statuses / sizeof statuses[0] ? statuses[choice] : 200U + choice;
    struct text body = fuzz_copy(data, size);
    check_judge(status, body);
    check_waits(choice, body);
    check_queue(body);
    fuzz_free(body);
    return 0;
}
