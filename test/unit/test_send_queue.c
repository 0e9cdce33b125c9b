/* Which line may be sent when: step by step, and at random beside a model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/send_queue.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void add(struct send_queue *queue, uint64_t number, const char *text)
{
    assert_int_equal(send_queue_add(queue, text_from(text), number, strlen(text) + 1), 0);
}

/* Takes the next line, which must be this one (0: there is none). */
static struct send_line *take(struct send_queue *queue, uint64_t number)
{
    struct send_line *line = send_queue_take(queue);
    assert_int_equal(line == NULL ? 0 : line->number, number);
    return line;
}

static void test_turns(void **state)
{
    struct send_queue queue;
    (void)state;
    assert_int_equal(send_queue_begin(&queue), 0);
    assert_null(take(&queue, 0));
    add(&queue, 1, "{\"userId\":\"a\"}");
    add(&queue, 2, "{\"userId\":\"a\"}");
    add(&queue, 3, "{\"userId\":\"b\"}");
    add(&queue, 5, "{\"userId\":\"a\"}");
    struct send_line *first = take(&queue, 1);
    assert_true(text_equals(first->text, TEXT("{\"userId\":\"a\"}")));
    assert_int_equal(first->file_bytes, first->text.length + 1);
    struct send_line *third = take(&queue, 3);
    assert_null(take(&queue, 0));
    send_queue_settle(&queue, third);
    assert_null(take(&queue, 0));
    send_queue_settle(&queue, first);
    struct send_line *second = take(&queue, 2);
    assert_null(take(&queue, 0));
    send_queue_put_back(&queue, second);
    send_queue_settle(&queue, take(&queue, 2));
    add(&queue, 6, "{\"userId\":\"b\"}");
    send_queue_settle(&queue, take(&queue, 5));
    send_queue_settle(&queue, take(&queue, 6));
    assert_int_equal(queue.count, 0);
    assert_int_equal(queue.bytes, 0);
    assert_int_equal(queue.users.count, 0);
    send_queue_free(&queue);
}

/* Pairs of lines, and whether they belong to one user. */
static void test_users(void **state)
{
    static const struct {
        const char *first, *second;
        bool same;
    } pairs[] = {
        {"{\"userId\":1}", "{\"userId\":\"1\"}", true},
        {"{\"userId\":\"u\\u0031\"}", "{\"n\":[1,2],\"userId\":\"u1\"}", true},
        {"{\"userId\":\"x\",\"userId\":\"a\"}", " { \"userId\" : \"a\" } ", true},
        {"{\"\\u0075serId\":\"a\"}", "{\"userId\":\"a\"}", true},
        {"{\"userId\":1}", "{\"userId\":2}", false},
        {"{\"userId\":\"\"}", "{\"userId\":\"\"}", true},
        {"{\"userId\":\"a\"}", "{\"userId\":\"A\"}", false},
        {"{\"userId\":null}", "{\"userId\":null}", false},
        {"{\"userId\":{}}", "{\"userId\":{}}", false},
        {"{\"user\":1}", "{\"user\":1}", false},
        {"{\"a\":{\"userId\":1}}", "{\"userId\":1}", false},
        {"[{\"userId\":1}]", "[{\"userId\":1}]", false},
        {"{\"userId\":1", "{\"userId\":1", false},
        {"", "", false},
        {"{\"userId\":\"\\ud800\"}", "{\"userId\":\"\\ud800\"}", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        struct send_queue queue;
        assert_int_equal(send_queue_begin(&queue), 0);
        add(&queue, 1, pairs[i].first);
        add(&queue, 2, pairs[i].second);
        assert_non_null(take(&queue, 1));
        if (pairs[i].same != (send_queue_take(&queue) == NULL))
            fail_msg("%s and %s", pairs[i].first, pairs[i].second);
        send_queue_free(&queue); /* lines that are taken too */
    }
}

static void test_limit(void **state)
{
    struct send_queue queue;
    (void)state;
    assert_int_equal(send_queue_begin(&queue), 0);
    add(&queue, 1, "{\"userId\":\"a\"}");
    add(&queue, 2, "{\"userId\":\"b\"}");
    add(&queue, 3, "{\"userId\":\"a\"}");
    add(&queue, 4, "no JSON");
    struct send_line *first = take(&queue, 1);
    struct send_line *second = take(&queue, 2);
    send_queue_limit(&queue, 3);
    assert_null(take(&queue, 0)); /* 4 is behind, 3 has to wait for 1 */
    send_queue_put_back(&queue, second);
    second = take(&queue, 2);
    send_queue_settle(&queue, first);
    struct send_line *third = take(&queue, 3);
    send_queue_limit(&queue, 0);
    send_queue_put_back(&queue, third);
    send_queue_put_back(&queue, second);
    assert_null(take(&queue, 0));
    assert_int_equal(queue.count, 3);
    assert_int_equal(TAILQ_FIRST(&queue.lines)->number, 2);
    send_queue_free(&queue);
}

static void test_room(void **state)
{
    struct send_queue queue;
    (void)state;
    assert_int_equal(send_queue_begin(&queue), 0);
    for (uint64_t i = 1; i <= SEND_QUEUE_LINES; i++) {
        assert_true(send_queue_has_room(&queue));
        add(&queue, i, "{\"userId\":\"a\"}");
    }
    assert_false(send_queue_has_room(&queue));
    send_queue_settle(&queue, take(&queue, 1));
    assert_true(send_queue_has_room(&queue));
    send_queue_free(&queue);
    char *large = calloc(1, SEND_QUEUE_BYTES);
    assert_non_null(large);
    assert_int_equal(send_queue_begin(&queue), 0);
    assert_int_equal(send_queue_add(&queue, (struct text){.bytes = large, .length = SEND_QUEUE_BYTES}, 1, 1),
                     0);
    assert_false(send_queue_has_room(&queue));
    send_queue_free(&queue);
    free(large);
}

/* --- at random --- */

enum { USERS = 17, STEPS = 20000, MOST_TAKEN = 6 };

struct model {
    uint64_t last_taken[USERS]; /* settled or taken; a line that is put back lowers it */
    bool is_busy[USERS];
    struct send_line *taken[MOST_TAKEN];
    size_t taken_count;
    uint64_t added, settled;
    uint64_t owner[STEPS + 1];
};

static void take_at_random(struct send_queue *queue, struct model *model)
{
    struct send_line *line = model->taken_count == MOST_TAKEN ? NULL : send_queue_take(queue);
    if (line == NULL)
        return;
    uint64_t user = model->owner[line->number];
    assert_false(model->is_busy[user]);
    assert_true(line->number > model->last_taken[user]);
    for (uint64_t i = model->last_taken[user] + 1; i < line->number; i++)
        assert_true(model->owner[i] != user); /* none is left out */
    /* It is the first one that may leave: those before it are settled, taken, or of a busy user. */
    const struct send_line *before;
    TAILQ_FOREACH (before, &queue->lines, link) {
        if (before->number >= line->number)
            break;
        assert_true(model->is_busy[model->owner[before->number]]);
    }
    model->last_taken[user] = line->number;
    model->is_busy[user] = true;
    model->taken[model->taken_count++] = line;
}

static void end_at_random(struct send_queue *queue, struct model *model)
{
    if (model->taken_count == 0)
        return;
    size_t at = (size_t)rand() % model->taken_count;
    struct send_line *line = model->taken[at];
    uint64_t user = model->owner[line->number];
    model->taken[at] = model->taken[--model->taken_count];
    model->is_busy[user] = false;
    if (rand() % 4 == 0) {
        model->last_taken[user] = line->number - 1;
        send_queue_put_back(queue, line);
    } else {
        model->settled++;
        send_queue_settle(queue, line);
    }
}

static void test_random(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 10; seed++) {
        struct send_queue queue;
        struct model *model = calloc(1, sizeof *model);
        assert_non_null(model);
        assert_int_equal(send_queue_begin(&queue), 0);
        srand(seed);
        for (int i = 0; i < STEPS; i++) {
            int what = rand() % 3;
            if (what == 0 && queue.count < 50) {
                char text[64];
                uint64_t user = (uint64_t)rand() % USERS;
                snprintf(text, sizeof text, "{\"userId\":%u}", (unsigned)user);
                model->owner[++model->added] = user;
                add(&queue, model->added, text);
            } else if (what == 1) {
                take_at_random(&queue, model);
            } else {
                end_at_random(&queue, model);
            }
            assert_int_equal(queue.count, model->added - model->settled);
        }
        while (queue.count > 0) {
            take_at_random(&queue, model);
            end_at_random(&queue, model);
        }
        assert_int_equal(queue.users.count, 0);
        send_queue_free(&queue);
        free(model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_turns), cmocka_unit_test(test_users),  cmocka_unit_test(test_limit),
        cmocka_unit_test(test_room),  cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
