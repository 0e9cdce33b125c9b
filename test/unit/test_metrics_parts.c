/* What the metrics are made of, each part alone: budget, lists of numbers, tallies, interned texts, the duplicate
 * filter. Every one gives back to the budget all that it took. */
#include "metrics/filter.h"
#include "metrics/intern.h"
#include "metrics/numbers.h"
#include "metrics/tally.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PLENTY = 256 * 1024 * 1024 };

static const struct hash_seed seed = {.low = 1, .high = 2};

static unsigned draw(uint64_t *random, unsigned below)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return (unsigned)(*random >> 33) % below;
}

static void a_budget_is_never_exceeded(void **state)
{
    (void)state;
    struct budget budget;
    budget_init(&budget, 1000);
    void *first = budget_allocate(&budget, 500);
    assert_non_null(first);
    assert_in_range(budget_used(&budget), 500, 530);
    assert_null(budget_allocate(&budget, 500));
    assert_null(budget_allocate(&budget, SIZE_MAX / 2));
    assert_null(budget_grow(&budget, first, 500, 600)); /* both are there for a moment */
    void *second = budget_allocate(&budget, 100);
    assert_non_null(second);
    memset(second, 'x', 100);
    second = budget_grow(&budget, second, 100, 300);
    assert_non_null(second);
    assert_memory_equal(second, "xxxxxxxxxx", 10);
    assert_in_range(budget_used(&budget), 800, 850);
    assert_false(budget_take(&budget, 300));
    assert_true(budget_take(&budget, 50));
    budget_give_back(&budget, 50);
    budget_free(&budget, first, 500);
    budget_free(&budget, second, 300);
    budget_free(&budget, NULL, 300);
    assert_int_equal(budget_used(&budget), 0);
}

static void large_blocks_come_from_the_system(void **state)
{
    (void)state;
    static const size_t sizes[] = {100, 1000, 65535, 65536, 70001, 1000000, 20000000};
    struct budget budget;
    budget_init(&budget, PLENTY);
    char *block = NULL;
    size_t bytes = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        block = budget_grow(&budget, block, bytes, sizes[i]);
        assert_non_null(block);
        for (size_t at = 0; at < bytes; at++)
            assert_int_equal(block[at], (char)(at % 101));
        for (size_t at = bytes; at < sizes[i]; at++)
            block[at] = (char)(at % 101);
        bytes = sizes[i];
        assert_in_range(budget_used(&budget), bytes, bytes + 4096);
        char *zeros = budget_allocate(&budget, bytes);
        assert_non_null(zeros);
        for (size_t at = 0; at < bytes; at++)
            assert_int_equal(zeros[at], 0);
        budget_free(&budget, zeros, bytes);
    }
    budget_free(&budget, block, bytes);
    assert_int_equal(budget_used(&budget), 0);
}

static void numbers_come_back_in_their_order(void **state)
{
    (void)state;
    struct budget budget;
    struct numbers numbers = {.first = NULL}, others = {.first = NULL};
    budget_init(&budget, PLENTY);
    for (uint32_t i = 0; i < 10000; i++) {
        struct numbers *to = i < 6000 ? &numbers : &others;
        assert_true(numbers_reserve(to, &budget));
        assert_true(numbers_reserve(to, &budget));
        numbers_append(to, i);
    }
    assert_true(budget_used(&budget) < 10000 * 4 + 3 * 4096);
    numbers_move(&numbers, &others);
    assert_null(others.first);
    numbers_move(&numbers, &others);
    uint32_t expected = 0;
    for (struct numbers_piece *piece = numbers.first; piece != NULL; piece = piece->next) {
        for (uint32_t i = 0; i < piece->count; i++)
            assert_int_equal(piece->values[i], expected++);
    }
    assert_int_equal(expected, 10000);
    numbers_move(&others, &numbers);
    numbers_drop_piece(&others, &budget);
    assert_int_equal(others.first->values[0], 4);
    numbers_free(&others, &budget);
    assert_int_equal(budget_used(&budget), 0);
    budget_init(&budget, 10);
    assert_false(numbers_reserve(&numbers, &budget));
}

/* --- tallies --- */

enum { PLACES = 128, VALUES = 1200 };

static uint32_t tally_model[PLACES][VALUES];

static void forget(void *context, uint32_t value, uint32_t count)
{
    uint32_t *model = context;
    assert_true(model[value] >= count);
    model[value] -= count;
}

static void check_tally(const struct tally *tally, uint32_t first, uint32_t length, uint32_t count_length)
{
    uint64_t counts[VALUES] = {0}, expected[VALUES] = {0};
    tally_sum(tally, first, length, counts, count_length);
    for (uint32_t i = 0; i < length; i++) {
        for (uint32_t value = 0; value < count_length; value++)
            expected[value] += tally_model[(first + i) % PLACES][value];
    }
    assert_memory_equal(counts, expected, sizeof counts);
}

static void tallies_agree_with_plain_counts(void **state)
{
    (void)state;
    struct budget budget;
    struct tally tally;
    uint64_t random = 4711;
    budget_init(&budget, PLENTY);
    memset(tally_model, 0, sizeof tally_model);
    assert_true(tally_init(&tally, &budget, PLACES));
    uint64_t empty = budget_used(&budget);
    for (int i = 0; i < 6000; i++) {
        uint32_t place = draw(&random, PLACES);
        uint32_t value = draw(&random, draw(&random, 3) == 0 ? VALUES : 10);
        assert_true(tally_reserve(&tally, place, value));
        tally_add(&tally, place, value);
        tally_model[place][value]++;
        if (i % 37 == 0) {
            place = draw(&random, PLACES);
            tally_clear(&tally, place, forget, tally_model[place]);
            for (int v = 0; v < VALUES; v++)
                assert_int_equal(tally_model[place][v], 0);
        }
        if (i % 11 == 0)
            check_tally(&tally, draw(&random, PLACES), draw(&random, PLACES + 1), 1 + draw(&random, VALUES));
    }
    for (uint32_t length = 0; length <= PLACES; length++)
        check_tally(&tally, 31, length, VALUES);
    for (uint32_t place = 0; place < PLACES; place++)
        tally_clear(&tally, place, NULL, NULL);
    assert_int_equal(budget_used(&budget), empty);
    tally_free(&tally);
    tally_free(&tally);
    assert_int_equal(budget_used(&budget), 0);
}

static void a_tally_without_memory_stays_as_it_is(void **state)
{
    (void)state;
    struct budget budget;
    struct tally tally;
    budget_init(&budget, 100);
    assert_false(tally_init(&tally, &budget, PLACES));
    assert_int_equal(budget_used(&budget), 0);
    budget_init(&budget, 10000);
    memset(tally_model, 0, sizeof tally_model);
    assert_true(tally_init(&tally, &budget, PLACES));
    int taken = 0;
    for (uint32_t value = 0; value < VALUES; value += 7) {
        if (tally_reserve(&tally, value % PLACES, value)) {
            tally_add(&tally, value % PLACES, value);
            tally_model[value % PLACES][value]++;
            taken++;
        }
        check_tally(&tally, 0, PLACES, VALUES);
    }
    assert_in_range(taken, 1, VALUES / 7 - 1);
    tally_free(&tally);
    assert_int_equal(budget_used(&budget), 0);
}

/* --- interned texts --- */

enum { TEXTS = 3000 };

struct element {
    struct interned interned;
    uint64_t beside;
};

static struct text text_number(unsigned number, char storage[32])
{
    snprintf(storage, 32, "text %u", number);
    return text_from(storage);
}

static void texts_are_kept_once(void **state)
{
    (void)state;
    struct budget budget;
    struct intern intern;
    struct element *model[TEXTS] = {NULL};
    uint64_t random = 99, count = 0;
    budget_init(&budget, PLENTY);
    intern_init(&intern, &budget, sizeof(struct element));
    for (int i = 0; i < 60000; i++) {
        char storage[32];
        /* a slow wave, so that pages become empty and are made again */
        unsigned number = draw(&random, 1 + (unsigned)abs(i % 10000 - 5000) * TEXTS / 5001);
        struct text text = text_number(number, storage);
        uint64_t hash = hash_text(&seed, text);
        struct element *found = (struct element *)(void *)intern_find(&intern, hash, text);
        assert_ptr_equal(found, model[number]);
        if (found == NULL && draw(&random, 2) == 0) {
            model[number] = (struct element *)(void *)intern_add(&intern, hash, text);
            assert_non_null(model[number]);
            assert_int_equal(model[number]->beside, 0);
            model[number]->beside = number;
            count++;
        } else if (found != NULL) {
            assert_int_equal(found->beside, number);
            assert_true(text_equals(interned_text(&found->interned), text));
            assert_ptr_equal(intern_at(&intern, found->interned.number), found);
            intern_remove(&intern, &found->interned);
            model[number] = NULL;
            count--;
        }
        assert_int_equal(intern.count, count);
    }
    uint32_t used = 0;
    for (uint32_t number = 0; number < intern_end(&intern); number++)
        used += intern_at_if_used(&intern, number) != NULL;
    assert_int_equal(used, count);
    intern_free(&intern);
    assert_int_equal(budget_used(&budget), 0);
}

static void empty_pages_are_given_back(void **state)
{
    (void)state;
    struct budget budget;
    struct intern intern;
    static struct interned *elements[TEXTS];
    budget_init(&budget, PLENTY);
    intern_init(&intern, &budget, sizeof(struct element));
    for (int round = 0; round < 3; round++) {
        for (unsigned i = 0; i < TEXTS; i++) {
            char storage[32];
            struct text text = text_number(i, storage);
            elements[i] = intern_add(&intern, hash_text(&seed, text), text);
            assert_non_null(elements[i]);
        }
        for (unsigned i = 0; i < TEXTS; i++) {
            if (i != 1500)
                intern_remove(&intern, elements[i]);
        }
        assert_true(budget_used(&budget) < 30000);
        intern_remove(&intern, elements[1500]);
        assert_int_equal(intern_end(&intern), 0);
        assert_true(budget_used(&budget) < 1000);
    }
    intern_free(&intern);
    assert_int_equal(budget_used(&budget), 0);
}

static void texts_without_memory_are_refused(void **state)
{
    (void)state;
    struct budget budget;
    struct intern intern;
    budget_init(&budget, 40000);
    intern_init(&intern, &budget, sizeof(struct element));
    unsigned added = 0;
    for (unsigned i = 0; i < TEXTS; i++) {
        char storage[32];
        struct text text = text_number(i, storage);
        struct interned *interned = intern_add(&intern, hash_text(&seed, text), text);
        assert_ptr_equal(intern_find(&intern, hash_text(&seed, text), text), interned);
        added += interned != NULL;
    }
    assert_in_range(added, 200, TEXTS / 2);
    assert_int_equal(intern.count, added);
    struct interned *empty = intern_find(&intern, hash_text(&seed, TEXT("")), (struct text){.bytes = NULL});
    assert_null(empty);
    intern_free(&intern);
    empty = intern_add(&intern, 5, (struct text){.bytes = NULL});
    assert_non_null(empty);
    assert_ptr_equal(intern_find(&intern, 5, TEXT("")), empty);
    intern_free(&intern);
    assert_int_equal(budget_used(&budget), 0);
}

/* Wherever the memory ends, nothing half made is left. */
static void a_text_is_added_whole_or_not_at_all(void **state)
{
    (void)state;
    struct budget budget;
    struct intern intern;
    for (uint64_t limit = 0; limit < 40000; limit += 40) {
        uint64_t full = 0, used = 0;
        budget_init(&budget, limit);
        intern_init(&intern, &budget, sizeof(struct element));
        for (unsigned i = 0; i < 400; i++) {
            char storage[32];
            struct text text = text_number(i, storage);
            if (intern_add(&intern, hash_text(&seed, text), text) == NULL)
                full++;
            else
                used++;
        }
        assert_int_equal(intern.count, used);
        assert_true(full + used == 400 && budget_used(&budget) <= limit);
        intern_free(&intern);
        assert_int_equal(budget_used(&budget), 0);
    }
}

/* --- the duplicate filter --- */

enum { IDS = 20000, REMEMBERED = 50 };

static struct hash_128 id_hash(unsigned number)
{
    char storage[32];
    return hash_text_128(&seed, text_number(number, storage));
}

static void ids_are_remembered_for_their_time(void **state)
{
    (void)state;
    struct budget budget;
    static struct filter filter;
    static int64_t model[IDS];
    uint64_t random = 7;
    budget_init(&budget, PLENTY);
    filter_init(&filter, &budget);
    /* The second is kept modulo 2^24: the run goes over that edge. */
    int64_t now_s = (1 << 24) - 300;
    for (int i = 0; i < IDS; i++)
        model[i] = -1;
    for (int i = 0; i < 200000; i++) {
        unsigned number = draw(&random, IDS);
        struct hash_128 hash = id_hash(number);
        bool expected = model[number] >= now_s;
        assert_int_equal(filter_has(&filter, &hash, now_s), expected);
        if (!expected && draw(&random, 2) == 0) {
            int64_t last_s = now_s + (int64_t)draw(&random, REMEMBERED);
            filter_prefetch(&filter, &hash);
            assert_true(filter_reserve(&filter, &hash, now_s));
            filter_add(&filter, &hash, last_s);
            model[number] = last_s;
        }
        if (i % 400 == 0)
            now_s++;
        if (i % 50 == 0)
            filter_sweep(&filter, now_s, draw(&random, 8));
    }
    uint64_t live = 0;
    for (int i = 0; i < IDS; i++)
        live += model[i] >= now_s;
    assert_int_equal(filter_count(&filter, now_s), live);
    assert_int_equal(filter_count(&filter, now_s + REMEMBERED), 0);
    filter_sweep(&filter, now_s + REMEMBERED, FILTER_PARTS);
    assert_int_equal(budget_used(&budget), 0);
    filter_free(&filter);
}

static void many_ids_take_little_memory(void **state)
{
    (void)state;
    struct budget budget;
    static struct filter filter;
    budget_init(&budget, PLENTY);
    filter_init(&filter, &budget);
    for (unsigned i = 0; i < 300000; i++) {
        struct hash_128 hash = id_hash(i);
        assert_true(filter_reserve(&filter, &hash, 100));
        filter_add(&filter, &hash, 200);
    }
    for (unsigned i = 0; i < 300000; i++) {
        struct hash_128 hash = id_hash(i);
        assert_true(filter_has(&filter, &hash, 200));
    }
    assert_in_range(budget_used(&budget), 300000 * 16, 300000 * 34);
    filter_free(&filter);
    assert_int_equal(budget_used(&budget), 0);
}

static void a_full_filter_refuses_and_keeps_what_it_has(void **state)
{
    (void)state;
    struct budget budget;
    static struct filter filter;
    static bool added[IDS];
    budget_init(&budget, 200000);
    filter_init(&filter, &budget);
    unsigned count = 0;
    for (unsigned i = 0; i < IDS; i++) {
        struct hash_128 hash = id_hash(i);
        added[i] = filter_reserve(&filter, &hash, 100);
        if (added[i])
            filter_add(&filter, &hash, 200);
        count += added[i];
    }
    assert_in_range(count, 3000, IDS / 2);
    for (unsigned i = 0; i < IDS; i++) {
        struct hash_128 hash = id_hash(i);
        assert_int_equal(filter_has(&filter, &hash, 150), added[i]);
    }
    filter_free(&filter);
    assert_int_equal(budget_used(&budget), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_budget_is_never_exceeded),
        cmocka_unit_test(large_blocks_come_from_the_system),
        cmocka_unit_test(numbers_come_back_in_their_order),
        cmocka_unit_test(tallies_agree_with_plain_counts),
        cmocka_unit_test(a_tally_without_memory_stays_as_it_is),
        cmocka_unit_test(texts_are_kept_once),
        cmocka_unit_test(empty_pages_are_given_back),
        cmocka_unit_test(texts_without_memory_are_refused),
        cmocka_unit_test(a_text_is_added_whole_or_not_at_all),
        cmocka_unit_test(ids_are_remembered_for_their_time),
        cmocka_unit_test(many_ids_take_little_memory),
        cmocka_unit_test(a_full_filter_refuses_and_keeps_what_it_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
