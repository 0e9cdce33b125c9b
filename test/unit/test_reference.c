/* The reference table: built aside, looked up by id, listed by number, freed by the last one who holds it. */
#include "metrics/reference.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PLENTY = 256 * 1024 * 1024, MANY = 20000 };

#define NO_TEXT ((struct text){.bytes = NULL})

static const struct hash_seed seed = {.low = 3, .high = 4};

static void assert_text(struct text text, const char *expected)
{
    if (!text_equals(text, text_from(expected)))
        fail_msg("'%.*s' instead of '%s'", (int)text.length, text.bytes, expected);
}

static void add(struct reference_builder *builder, const char *id, struct text plan, struct text region,
                const char *attributes)
{
    assert_int_equal(reference_add(builder, text_from(id), plan, region, text_from(attributes)),
                     REFERENCE_OK);
}

static void users_are_found_with_what_was_said_of_them(void **state)
{
    (void)state;
    struct budget budget;
    budget_init(&budget, PLENTY);
    struct reference_builder *builder = reference_begin(&seed, &budget, 1234);
    add(builder, "u1", TEXT("pro"), TEXT("eu"), "{\"userName\":\"Ann\"}");
    add(builder, "u2", TEXT("free"), TEXT("us"), "");
    add(builder, "u3", TEXT("pro"), NO_TEXT, "{}");
    add(builder, "u4", NO_TEXT, TEXT("eu"), "{}");
    add(builder, "u5", TEXT(""), TEXT(""), "{}");
    struct reference *reference = reference_finish(builder);
    assert_int_equal(reference_wall_ms(reference), 1234);
    assert_int_equal(reference_user_count(reference), 5);
    assert_int_equal(reference_plan_count(reference), 3);
    assert_text(reference_plan(reference, 0), "pro");
    assert_text(reference_plan(reference, 1), "free");
    assert_text(reference_plan(reference, 2), "");
    assert_int_equal(reference_region_count(reference), 3);
    assert_text(reference_region(reference, 0), "eu");
    assert_text(reference_region(reference, 1), "us");
    for (uint32_t i = 0; i < 5; i++)
        assert_int_equal(reference_find(reference, reference_user(reference, i).id), i);
    struct reference_user first = reference_user(reference, 0);
    assert_text(first.id, "u1");
    assert_text(first.attributes, "{\"userName\":\"Ann\"}");
    assert_int_equal(first.plan, 0);
    assert_int_equal(first.region, 0);
    assert_int_equal(reference_user(reference, 2).region, REFERENCE_NONE);
    assert_int_equal(reference_user(reference, 3).plan, REFERENCE_NONE);
    assert_text(reference_user(reference, 1).attributes, "");
    assert_int_equal(reference_find(reference, TEXT("u6")), REFERENCE_NONE);
    assert_int_equal(reference_find(reference, TEXT("")), REFERENCE_NONE);
    assert_int_equal(reference_find(reference, TEXT("u")), REFERENCE_NONE);
    reference_release(reference);
    assert_int_equal(budget_used(&budget), 0);
}

static void the_last_of_a_repeated_user_counts(void **state)
{
    (void)state;
    struct budget budget;
    budget_init(&budget, PLENTY);
    struct reference_builder *builder = reference_begin(&seed, &budget, 0);
    add(builder, "u1", TEXT("pro"), TEXT("eu"), "1");
    add(builder, "u2", TEXT("pro"), TEXT("eu"), "2");
    add(builder, "u1", TEXT("free"), TEXT("eu"), "3");
    struct reference *reference = reference_finish(builder);
    assert_int_equal(reference_user_count(reference), 2);
    assert_int_equal(reference_find(reference, TEXT("u1")), 0);
    struct reference_user user = reference_user(reference, 0);
    assert_text(user.id, "u1");
    assert_text(user.attributes, "3");
    assert_text(reference_plan(reference, user.plan), "free");
    reference_release(reference);
    assert_int_equal(budget_used(&budget), 0);
}

static void an_empty_table_finds_nobody(void **state)
{
    (void)state;
    struct budget budget;
    budget_init(&budget, PLENTY);
    struct reference *reference = reference_finish(reference_begin(&seed, &budget, -5));
    assert_int_equal(reference_user_count(reference), 0);
    assert_int_equal(reference_plan_count(reference), 0);
    assert_int_equal(reference_region_count(reference), 0);
    assert_int_equal(reference_find(reference, TEXT("u1")), REFERENCE_NONE);
    reference_release(reference);
    reference_release(NULL);
    reference_abandon(NULL);
    assert_int_equal(budget_used(&budget), 0);
}

/* User i of many: its plan is one of seven, its region its own; some have long attributes. */
static void add_many(struct reference_builder *builder, int i)
{
    static char attributes[40000];
    char id[32], plan[32], region[32];
    size_t length = i % 500 == 0 ? sizeof attributes : (size_t)(i % 50);
    memset(attributes, 'a' + i % 26, length);
    snprintf(id, sizeof id, "user-%d", i);
    snprintf(plan, sizeof plan, "plan-%d", i % 7);
    snprintf(region, sizeof region, "region-%d", i);
    assert_int_equal(reference_add(builder, text_from(id), text_from(plan), text_from(region),
                                   (struct text){attributes, length}),
                     REFERENCE_OK);
}

static void many_users_keep_their_numbers(void **state)
{
    (void)state;
    struct budget budget;
    budget_init(&budget, PLENTY);
    struct reference_builder *builder = reference_begin(&seed, &budget, 0);
    for (int i = 0; i < MANY; i++)
        add_many(builder, i);
    struct reference *reference = reference_finish(builder);
    assert_int_equal(reference_user_count(reference), MANY);
    assert_int_equal(reference_plan_count(reference), 7);
    assert_int_equal(reference_region_count(reference), MANY);
    for (int i = 0; i < MANY; i++) {
        char id[32], region[32];
        snprintf(id, sizeof id, "user-%d", i);
        snprintf(region, sizeof region, "region-%d", i);
        uint32_t number = reference_find_hashed(reference, hash_text(&seed, text_from(id)), text_from(id));
        assert_int_equal(number, i);
        struct reference_user user = reference_user(reference, number);
        assert_text(user.id, id);
        assert_int_equal(user.plan, i % 7);
        assert_text(reference_region(reference, user.region), region);
        assert_int_equal(user.attributes.length, i % 500 == 0 ? 40000 : i % 50);
        for (size_t at = 0; at < user.attributes.length; at++)
            assert_int_equal(user.attributes.bytes[at], 'a' + i % 26);
    }
    reference_release(reference);
    assert_int_equal(budget_used(&budget), 0);
}

/* Wherever the memory ends, the builder says so and can be abandoned. */
static void a_table_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    struct budget budget;
    for (uint64_t limit = 100; limit < 400000; limit += limit / 3) {
        budget_init(&budget, limit);
        struct reference_builder *builder = reference_begin(&seed, &budget, 0);
        enum reference_result result = REFERENCE_OK;
        for (int i = 0; builder != NULL && result == REFERENCE_OK && i < MANY; i++) {
            char id[32];
            snprintf(id, sizeof id, "user-%d", i);
            result = reference_add(builder, text_from(id), text_from(id), text_from(id), TEXT("{}"));
            assert_true(budget_used(&budget) <= limit);
        }
        assert_true(builder == NULL || result == REFERENCE_FULL);
        reference_abandon(builder);
        assert_int_equal(budget_used(&budget), 0);
    }
}

static void *use_and_release(void *context)
{
    struct reference *reference = context;
    for (int i = 0; i < 1000; i++) {
        struct reference *held = reference_hold(reference);
        assert_int_equal(reference_find(held, TEXT("u1")), 0);
        reference_release(held);
    }
    reference_release(reference);
    return NULL;
}

static void the_last_holder_frees_it(void **state)
{
    (void)state;
    struct budget budget;
    pthread_t threads[3];
    budget_init(&budget, PLENTY);
    struct reference_builder *builder = reference_begin(&seed, &budget, 0);
    add(builder, "u1", TEXT("pro"), TEXT("eu"), "{}");
    struct reference *reference = reference_finish(builder);
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_and_release, reference_hold(reference)), 0);
    reference_release(reference);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(budget_used(&budget), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(users_are_found_with_what_was_said_of_them),
        cmocka_unit_test(the_last_of_a_repeated_user_counts),
        cmocka_unit_test(an_empty_table_finds_nobody),
        cmocka_unit_test(many_users_keep_their_numbers),
        cmocka_unit_test(a_table_that_does_not_fit_is_refused),
        cmocka_unit_test(the_last_holder_frees_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
