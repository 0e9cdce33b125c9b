/* `send`: the lines of one user arrive in their order, one at a time, however long answers take. */
#include "kit_send.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { USERS = 23, LINES = 3000 };

/* What the receiver has seen of each user. */
struct order {
    unsigned last[USERS];          /* the number of its last line */
    int64_t answered_at_ms[USERS]; /* before which no other line of it may come */
    unsigned random;
    unsigned breaches;
    unsigned counts[LINES + 1];
};

static unsigned draw(struct order *order, unsigned below)
{
    order->random = order->random * 1103515245U + 12345U;
    return (order->random >> 16) % below;
}

static struct receiver_answer judge_order(void *context, const struct receiver_post *post)
{
    struct order *order = context;
    unsigned number = receiver_number(post->body);
    if (number <= LINES)
        order->counts[number]++;
    const char *at = strstr(post->body, "\"userId\":");
    struct receiver_answer answer = {.delay_us = draw(order, 4) == 0 ? draw(order, 8000) : 0};
    if (at == NULL)
        return answer;
    unsigned user = (unsigned)strtoul(at + 9 + (at[9] == '"' ? 1 : 0), NULL, 10);
    if (user < USERS) {
        if (number <= order->last[user] || kit_now_ms() < order->answered_at_ms[user])
            order->breaches++;
        order->last[user] = number;
        order->answered_at_ms[user] = kit_now_ms() + answer.delay_us / 1000;
    }
    return answer;
}

/* Integers and strings are one user, wherever they stand in the line; a busy user is among them. */
static void write_line(struct order *order, FILE *file, unsigned number)
{
    unsigned user = draw(order, 3) == 0 ? 0 : draw(order, USERS);
    switch (draw(order, 8)) {
    case 0:
        fprintf(file, "{\"n\":%u,\"deep\":{\"userId\":99},\"userId\":\"%u\"}\n", number, user);
        break;
    case 1:
        fprintf(file, "{ \"n\":%u , \"\\u0075serId\" : 7, \"userId\":%u }\r\n", number, user);
        break;
    case 2:
        fprintf(file, "{\"n\":%u,\"anybody's\":true}\n", number);
        break;
    case 3:
        fprintf(file, "{\"n\":%u,no JSON\n", number);
        break;
    default:
        fprintf(file, "{\"userId\":%s%u%s,\"n\":%u}\n", number % 2 == 0 ? "\"" : "", user,
                number % 2 == 0 ? "\"" : "", number);
        break;
    }
}

static void test_order_within_users(void **state)
{
    struct kit *kit = *state;
    static const char *const connections[] = {"1", "8", "64"};
    for (size_t i = 0; i < sizeof connections / sizeof *connections; i++) {
        struct order order = {.random = 1 + (unsigned)i};
        const char *path = sending_file(kit, "");
        FILE *file = fopen(path, "we");
        assert_non_null(file);
        for (unsigned number = 1; number <= LINES; number++)
            write_line(&order, file, number);
        assert_int_equal(fclose(file), 0);
        struct receiver *receiver = receiver_start(kit, judge_order, &order);
        struct sending *sending =
            sending_begin(kit, path, "--url", receiver_url(receiver), "--connections", connections[i]);
        kit_note(kit, "%s connections", connections[i]);
        assert_true(receiver_await(receiver, LINES));
        assert_int_equal(sending_end(sending), 0);
        receiver_end(receiver);
        assert_int_equal(order.breaches, 0);
        for (unsigned number = 1; number <= LINES; number++)
            assert_int_equal(order.counts[number], 1);
    }
}

/* A user that has to wait holds nobody else up. */
struct gate {
    bool is_open;
    unsigned tries;
};

static struct receiver_answer refuse_until_open(void *context, const struct receiver_post *post)
{
    struct gate *gate = context;
    if (strstr(post->body, "\"userId\":1,") == NULL || gate->is_open)
        return (struct receiver_answer){.status = 200};
    gate->tries++;
    return (struct receiver_answer){.status = 503, .body = "{\"error\":\"not now\"}"};
}

static void test_one_user_waits_alone(void **state)
{
    enum { OTHERS = 1000 };
    struct kit *kit = *state;
    struct gate gate = {.is_open = false};
    struct receiver *receiver = receiver_start(kit, refuse_until_open, &gate);
    struct sending *sending = sending_begin(kit, "-", "--url", receiver_url(receiver), "--connections", "2");
    for (unsigned i = 1; i <= OTHERS; i++) {
        if (i <= 3)
            sending_write(sending, kit_format(kit, "{\"userId\":1,\"n\":%u}\n", i));
        sending_write(sending, kit_format(kit, "{\"userId\":2,\"n\":%u}\n", i));
    }
    /* All of the other's, and the first of the one that waits. */
    assert_true(receiver_await(receiver, OTHERS + 1));
    sending_close_input(sending);
    int64_t deadline_at_ms = kit_deadline_at_ms(4 * KIT_DEADLINE_MS);
    while (receiver_count_of(receiver, "{\"userId\":2,\"n\":1000}") == 0 && kit_now_ms() < deadline_at_ms)
        kit_pause();
    assert_int_equal(receiver_count_of(receiver, "{\"userId\":2,\"n\":1000}"), 1);
    assert_int_equal(receiver_count_of(receiver, "{\"userId\":1,\"n\":2}"), 0);
    size_t before = receiver_count(receiver);
    assert_true(receiver_await(receiver, before + 1)); /* it is tried again */
    assert_int_equal(receiver_count_of(receiver, "{\"userId\":1,\"n\":2}"), 0);
    receiver_lock(receiver);
    gate.is_open = true;
    receiver_unlock(receiver);
    assert_int_equal(sending_end(sending), 0);
    size_t count = receiver_count(receiver);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(receiver_number(receiver_body(receiver, count - 3 + i)), i + 1);
    receiver_end(receiver);
    assert_int_equal(count, OTHERS + gate.tries + 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(test_order_within_users),
        kit_test(test_one_user_waits_alone),
    };
    return kit_run_tests(tests);
}
