/* Proves that the memory of requests on their way in and answers on their way out is counted, bounded and given back. */
#include "net/limits.h"
#include "net/message.h"
#include "net/outgoing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define HOST     " HTTP/1.1\r\nHost: h\r\n"
#define MEBIBYTE (1024 * 1024)

static const char large_head[] = "POST /" HOST "Content-Length: 300000\r\n\r\n";

/* Gives the message as much of `length` further bytes as it takes, some at a time. */
static size_t receive_some(struct message *message, size_t length)
{
    struct request request;
    struct refusal refusal;
    size_t done = 0;
    while (done < length && message_next(message, &request, &refusal) == MESSAGE_MORE) {
        size_t room;
        char *place = message_room(message, &room);
        if (place == NULL)
            break;
        size_t piece = room < length - done ? room : length - done;
        memset(place, 'x', piece);
        message_received(message, piece);
        done += piece;
    }
    return done;
}

static void begin_large(struct message *message)
{
    struct request request;
    struct refusal refusal;
    size_t room;
    char *place = message_room(message, &room);
    assert_true(place != NULL && room >= strlen(large_head));
    memcpy(place, large_head, strlen(large_head));
    message_received(message, strlen(large_head));
    assert_int_equal(message_next(message, &request, &refusal), MESSAGE_STARTED);
    message_expect_body(message, MEBIBYTE, false);
}

/* What is in memory is counted, not what was announced, and all of it is given back. A budget without room stops the
 * reading, and what was read stays. */
static void large_requests_are_counted(void **state)
{
    (void)state;
    struct budget budget;
    budget_init(&budget, 570000);
    struct message first = {.budget = &budget}, second = {.budget = &budget};
    begin_large(&first);
    assert_int_equal(receive_some(&first, 1000), 1000);
    assert_int_equal(budget_used(&budget), 0);
    assert_int_equal(receive_some(&first, 200000), 200000);
    assert_in_range(budget_used(&budget), 200000, 310000);
    begin_large(&second);
    size_t taken = receive_some(&second, 300000);
    assert_in_range(taken, HTTP_UNCOUNTED_BYTES / 2, 250000);
    assert_true(budget_used(&budget) <= 570000);
    message_free(&first);
    assert_int_equal(receive_some(&second, 300000 - taken), 300000 - taken);
    struct request request;
    struct refusal refusal;
    assert_int_equal(message_next(&second, &request, &refusal), MESSAGE_REQUEST);
    assert_int_equal(request.body.length, 300000);
    assert_in_range(budget_used(&budget), 300000, 305000); /* no room beyond a body's known end */
    message_clear(&second, HTTP_UNCOUNTED_BYTES);
    assert_int_equal(budget_used(&budget), 0);
    message_free(&second);
}

/* Unfinished requests that are kept are counted from the first byte. */
static void kept_requests_are_counted(void **state)
{
    (void)state;
    struct budget budget;
    budget_init(&budget, 400000);
    struct message read = {.budget = &budget}, small, large, none;
    begin_large(&read);
    assert_int_equal(message_move(&read, &small), 0);
    uint64_t used = budget_used(&budget);
    assert_in_range(used, strlen(large_head), strlen(large_head) + 100);
    begin_large(&read);
    assert_int_equal(receive_some(&read, 250000), 250000);
    used = budget_used(&budget);
    const char *bytes = read.bytes.bytes;
    assert_int_equal(message_move(&read, &large), 0); /* copies nothing */
    assert_ptr_equal(large.bytes.bytes, bytes);
    assert_int_equal(budget_used(&budget), used);
    assert_true(message_is_idle(&read));
    budget.limit_bytes = used;
    begin_large(&read);
    assert_int_equal(message_move(&read, &none), -1);
    assert_int_equal(budget_used(&budget), used);
    message_free(&large);
    assert_int_equal(message_move(&read, &none), 0); /* nothing of it was lost */
    assert_int_equal(receive_some(&none, 100), 100);
    message_free(&none);
    message_free(&small);
    message_free(&read);
    assert_int_equal(budget_used(&budget), 0);
}

/* Only as many bytes are kept as the budget has; all of them go back. */
static void kept_answers_are_counted(void **state)
{
    (void)state;
    enum { COUNT = 8 };
    static const char text[] = "HTTP/1.1 200 OK";
    struct budget little;
    budget_init(&little, 100);
    struct outgoing outgoing = {.bytes = text, .length = strlen(text)};
    struct outgoing *kept[COUNT] = {NULL};
    size_t count = 0;
    while (count < COUNT && (kept[count] = outgoing_keep(&outgoing, &little)) != NULL)
        count++;
    assert_in_range(count, 1, COUNT - 1);
    assert_in_range(budget_used(&little), count * strlen(text), 100);
    /* A head that has been sent needs no room any more. */
    kept[0]->sent = kept[0]->length;
    outgoing_forget_head(kept[0]);
    struct outgoing *another = outgoing_keep(&outgoing, &little);
    assert_non_null(another);
    outgoing_free(another);
    for (size_t i = 0; i < count; i++)
        outgoing_free(kept[i]);
    assert_int_equal(budget_used(&little), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_requests_are_counted),
        cmocka_unit_test(kept_requests_are_counted),
        cmocka_unit_test(kept_answers_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
