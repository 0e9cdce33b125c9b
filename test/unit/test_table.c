/*
 * Proves that a table finds exactly what is in it, through thousands of additions and removals, with equal
 * hashes too, that a walk meets each element once, and what its buckets cost.
 */
#include "base/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* calloc is ours, so that memory can run out; the sanitizers bring their own. */
#ifndef __has_feature
#define __has_feature(feature) 0
#endif
#if !defined(__SANITIZE_ADDRESS__) && !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
#define OWN_CALLOC

void *__libc_calloc(size_t count, size_t size);

static bool out_of_memory;

void *calloc(size_t count, size_t size)
{
    return out_of_memory ? NULL : __libc_calloc(count, size);
}
#endif

enum { ELEMENTS = 5000 };

struct element {
    unsigned number;
    bool inside;
    unsigned met;
    struct table_link link;
};

static struct element elements[ELEMENTS];

static bool matches(const struct table_link *link, const void *wanted)
{
    return TABLE_ELEMENT(link, const struct element, link)->number == *(const unsigned *)wanted;
}

/* Spread as a good hash would; of `ways` values alone when that is not 0. */
static uint64_t hash_of(unsigned number, unsigned ways)
{
    return (ways == 0 ? number : number % ways) * UINT64_C(0x9e3779b97f4a7c15);
}

static struct element *find(const struct table *table, unsigned number, uint64_t hash)
{
    struct table_link *link = table_find(table, hash, matches, &number);
    return link == NULL ? NULL : TABLE_ELEMENT(link, struct element, link);
}

static int reset(void **state)
{
    (void)state;
    memset(elements, 0, sizeof elements);
    for (unsigned i = 0; i < ELEMENTS; i++)
        elements[i].number = i;
    return 0;
}

static void add(struct table *table, struct element *element, uint64_t hash)
{
    assert_int_equal(table_reserve(table), 0);
    table_add(table, &element->link, hash);
    element->inside = true;
}

static void take_out(struct table *table, struct element *element)
{
    table_remove(table, &element->link);
    element->inside = false;
}

/* The table holds those elements that are marked, no others. */
static void check_content(const struct table *table, unsigned ways)
{
    size_t count = 0, met = 0;
    for (unsigned i = 0; i < ELEMENTS; i++) {
        assert_ptr_equal(find(table, i, hash_of(i, ways)), elements[i].inside ? &elements[i] : NULL);
        count += elements[i].inside;
        elements[i].met = 0;
    }
    assert_int_equal(table->count, count);
    for (struct table_link *link = table_next(table, NULL); link != NULL; link = table_next(table, link)) {
        struct element *element = TABLE_ELEMENT(link, struct element, link);
        assert_true(element->inside);
        assert_int_equal(++element->met, 1);
        met++;
    }
    assert_int_equal(met, count);
}

static void empty_table_costs_nothing(void **state)
{
    (void)state;
    struct table table = TABLE_EMPTY;
    assert_int_equal(sizeof table, 24);
    assert_int_equal(table.count, 0);
    assert_int_equal(table_bytes(&table), 0);
    assert_null(find(&table, 1, hash_of(1, 0)));
    assert_null(table_next(&table, NULL));
}

static void thousands_come_and_go(void **state)
{
    (void)state;
    struct table table = TABLE_EMPTY;
    for (unsigned i = 0; i < ELEMENTS; i++)
        add(&table, &elements[i], hash_of(i, 0));
    check_content(&table, 0);
    assert_null(find(&table, ELEMENTS, hash_of(ELEMENTS, 0)));
    for (unsigned i = 0; i < ELEMENTS; i += 3)
        take_out(&table, &elements[i]);
    check_content(&table, 0);
    for (unsigned i = 0; i < ELEMENTS; i += 3)
        add(&table, &elements[i], hash_of(i, 0));
    check_content(&table, 0);
    for (unsigned i = ELEMENTS; i-- > 0;)
        take_out(&table, &elements[i]);
    check_content(&table, 0);
}

static void random_steps_keep_the_content(void **state)
{
    (void)state;
    static const unsigned all_ways[] = {0, 1, 7};
    for (size_t way = 0; way < 3; way++) {
        unsigned ways = all_ways[way], most = ways == 0 ? ELEMENTS : 300;
        struct table table = TABLE_EMPTY;
        for (unsigned step = 0, random = 99; step < 30000; step++) {
            random = random * 1103515245U + 12345U;
            struct element *element = &elements[(random >> 8) % most];
            if (element->inside)
                take_out(&table, element);
            else
                add(&table, element, hash_of(element->number, ways));
            if (step % 5000 == 0)
                check_content(&table, ways);
        }
        check_content(&table, ways);
        for (unsigned i = 0; i < ELEMENTS; i++)
            if (elements[i].inside)
                take_out(&table, &elements[i]);
        assert_int_equal(table_bytes(&table), 0);
    }
}

static void equal_hashes_are_told_apart_by_matches(void **state)
{
    (void)state;
    enum { SAME = 500 };
    static const uint64_t hashes[] = {0, UINT64_MAX, 42};
    for (size_t i = 0; i < 3; i++) {
        struct table table = TABLE_EMPTY;
        for (unsigned n = 0; n < SAME; n++)
            add(&table, &elements[n], hashes[i]);
        for (unsigned n = 0; n < SAME; n++)
            assert_ptr_equal(find(&table, n, hashes[i]), &elements[n]);
        assert_null(find(&table, SAME, hashes[i]));
        /* First, last and middle of the chain. */
        static const unsigned removed[] = {0, SAME - 1, SAME / 2};
        for (size_t r = 0; r < 3; r++) {
            take_out(&table, &elements[removed[r]]);
            assert_null(find(&table, removed[r], hashes[i]));
        }
        for (unsigned n = 0; n < SAME; n++)
            if (elements[n].inside) {
                assert_ptr_equal(find(&table, n, hashes[i]), &elements[n]);
                take_out(&table, &elements[n]);
            }
    }
}

static bool matches_all(const struct table_link *link, const void *wanted)
{
    (void)link;
    (void)wanted;
    return true;
}

/* Both differ in the high half alone, so they share every bucket. */
static void only_the_whole_hash_finds(void **state)
{
    (void)state;
    struct table table = TABLE_EMPTY;
    uint64_t first = 5, second = first | UINT64_C(1) << 63, third = first | UINT64_C(1) << 32;
    add(&table, &elements[0], first);
    add(&table, &elements[1], second);
    assert_ptr_equal(table_find(&table, first, matches_all, NULL), &elements[0].link);
    assert_ptr_equal(table_find(&table, second, matches_all, NULL), &elements[1].link);
    assert_null(table_find(&table, third, matches_all, NULL));
    take_out(&table, &elements[0]);
    assert_null(table_find(&table, first, matches_all, NULL));
    take_out(&table, &elements[1]);
}

static void buckets_double_and_go_with_the_last(void **state)
{
    (void)state;
    struct table table = TABLE_EMPTY;
    size_t before = 0;
    for (unsigned i = 0; i < ELEMENTS; i++) {
        add(&table, &elements[i], hash_of(i, 0));
        size_t buckets = table.bucket_count;
        assert_int_equal(buckets & (buckets - 1), 0);
        assert_true(buckets >= table.count);
        assert_int_equal(table_bytes(&table), buckets * sizeof(struct table_link *));
        if (before != 0)
            assert_true(buckets == before || (buckets == 2 * before && table.count > before));
        before = buckets;
    }
    for (unsigned i = 0; i + 1 < ELEMENTS; i++) {
        take_out(&table, &elements[i]);
        assert_int_equal(table.bucket_count, before);
    }
    take_out(&table, &elements[ELEMENTS - 1]);
    assert_int_equal(table_bytes(&table), 0);
    assert_null(table.buckets);
    assert_int_equal(table.bucket_count, 0);
    add(&table, &elements[0], 1);
    assert_ptr_equal(find(&table, 0, 1), &elements[0]);
    take_out(&table, &elements[0]);
}

/* Reserving alone is no element: buckets that nobody used must not be lost either. */
static void reserve_may_be_repeated(void **state)
{
    (void)state;
    struct table table = TABLE_EMPTY;
    for (int i = 0; i < 10; i++)
        assert_int_equal(table_reserve(&table), 0);
    assert_int_equal(table.count, 0);
    assert_null(table_next(&table, NULL));
    table_add(&table, &elements[0].link, 7);
    assert_int_equal(table.count, 1);
    table_remove(&table, &elements[0].link);
    assert_int_equal(table_bytes(&table), 0);
}

static void walk_may_remove_what_it_has_passed(void **state)
{
    (void)state;
    struct table table = TABLE_EMPTY;
    for (unsigned i = 0; i < ELEMENTS; i++)
        add(&table, &elements[i], hash_of(i, 1000));
    size_t met = 0;
    for (struct table_link *link = table_next(&table, NULL), *next; link != NULL; link = next, met++) {
        next = table_next(&table, link);
        struct element *element = TABLE_ELEMENT(link, struct element, link);
        assert_int_equal(++element->met, 1);
        if (element->number % 2 == 0)
            take_out(&table, element);
    }
    assert_int_equal(met, ELEMENTS);
    check_content(&table, 1000);
    for (struct table_link *link = table_next(&table, NULL), *next; link != NULL; link = next) {
        next = table_next(&table, link);
        take_out(&table, TABLE_ELEMENT(link, struct element, link));
    }
    check_content(&table, 1000);
}

#ifdef OWN_CALLOC
static void only_the_first_buckets_must_be_had(void **state)
{
    (void)state;
    struct table table = TABLE_EMPTY;
    out_of_memory = true;
    int first = table_reserve(&table);
    out_of_memory = false;
    assert_int_equal(first, -1);
    assert_int_equal(table_bytes(&table), 0);
    assert_null(find(&table, 0, hash_of(0, 0)));

    add(&table, &elements[0], hash_of(0, 0));
    size_t bytes = table_bytes(&table);
    out_of_memory = true;
    for (unsigned i = 1; i < 500; i++)
        add(&table, &elements[i], hash_of(i, 0));
    out_of_memory = false;
    assert_int_equal(table_bytes(&table), bytes); /* longer chains */
    check_content(&table, 0);
    for (unsigned i = 500; i < 600; i++)
        add(&table, &elements[i], hash_of(i, 0));
    assert_true(table_bytes(&table) > bytes);
    check_content(&table, 0);
    for (unsigned i = 0; i < 600; i++)
        take_out(&table, &elements[i]);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_table_costs_nothing),
        cmocka_unit_test_setup(thousands_come_and_go, reset),
        cmocka_unit_test_setup(random_steps_keep_the_content, reset),
        cmocka_unit_test_setup(equal_hashes_are_told_apart_by_matches, reset),
        cmocka_unit_test_setup(only_the_whole_hash_finds, reset),
        cmocka_unit_test_setup(buckets_double_and_go_with_the_last, reset),
        cmocka_unit_test_setup(reserve_may_be_repeated, reset),
        cmocka_unit_test_setup(walk_may_remove_what_it_has_passed, reset),
#ifdef OWN_CALLOC
        cmocka_unit_test_setup(only_the_first_buckets_must_be_had, reset),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
