/* The store without anybody waiting: order, groups, limits, expiry, what comes back, memory. Every step is
 * followed by a look at all invariants (store_check), every test by a look that nothing is left behind. */
#include "store_kit.h"

enum { PLENTY = 1024 * 1024 };

static void ids_rise_by_one_for_each_key(void **state)
{
    struct store_kit kit;
    (void)state;
    kit_start(&kit, PLENTY);
    assert_int_equal(kit_push(&kit, "a", "1"), 1);
    assert_int_equal(kit_push(&kit, "a", "2"), 2);
    assert_int_equal(kit_push(&kit, "b", "3"), 1);
    assert_int_equal(kit_push(&kit, "a", "4"), 3);
    kit_end(&kit);
}

static void each_group_gets_everything_once(void **state)
{
    struct store_kit kit;
    (void)state;
    kit_start(&kit, PLENTY);
    kit_push(&kit, "a", "1");
    kit_push(&kit, "a", "2");
    kit_consume(&kit, "a", "g", SIZE_MAX, "1,2");
    kit_consume(&kit, "a", "g", SIZE_MAX, NULL);
    kit_push(&kit, "a", "3");
    kit_consume(&kit, "a", "g", SIZE_MAX, "3");
    kit_consume(&kit, "a", "late", SIZE_MAX, "1,2,3");
    kit_consume(&kit, "b", "g", SIZE_MAX, NULL);
    kit_end(&kit);
}

static void asking_in_vain_leaves_nothing_behind(void **state)
{
    struct store_kit kit;
    (void)state;
    kit_start(&kit, PLENTY);
    kit_consume(&kit, "a", "g", SIZE_MAX, NULL);
    assert_int_equal(store_counts(kit.store).memory_bytes, 0);
    kit_end(&kit);
}

static void a_limit_leaves_the_rest(void **state)
{
    struct store_kit kit;
    (void)state;
    kit_start(&kit, PLENTY);
    for (int i = 0; i < 5; i++)
        kit_push(&kit, "a", (const char *[]){"1", "2", "3", "4", "5"}[i]);
    kit_consume(&kit, "a", "g", 2, "1,2");
    kit_consume(&kit, "a", "g", 1, "3");
    kit_consume(&kit, "a", "g", 9, "4,5");
    kit_end(&kit);
}

static void a_batch_is_stored_whole_and_in_order(void **state)
{
    struct store_kit kit;
    (void)state;
    kit_start(&kit, PLENTY);
    struct text values[] = {TEXT("1"), TEXT("2"), TEXT("3")};
    struct store_pushed pushed;
    assert_int_equal(store_push(kit.store, TEXT("a"), values, 3, &pushed), STORE_OK);
    assert_int_equal(pushed.last_id, 3);
    assert_int_equal(pushed.batch_count, 0);
    struct batch *batch = kit_take(&kit, "a", "g", SIZE_MAX, "1,2,3");
    assert_int_equal(store_batch_value_bytes(batch), 3);
    assert_int_equal(store_batch_event(batch, 1).id, 2);
    assert_int_equal(store_batch_event(batch, 1).wall_ms, SECONDS(1000) / CLOCK_NS_PER_MS);
    store_batch_consumed(kit.store, batch);
    kit_end(&kit);
}

static void an_event_expires_exactly(void **state)
{
    struct store_kit kit;
    (void)state;
    kit_start(&kit, PLENTY);
    kit_push(&kit, "a", "1");
    kit_pass(&kit, CLOCK_NS_PER_MS);
    kit_push(&kit, "a", "2");
    kit_pass(&kit, SECONDS(KIT_TTL_SECONDS) - CLOCK_NS_PER_MS - 1);
    kit_consume(&kit, "a", "before", SIZE_MAX, "1,2");
    kit_pass(&kit, 1);
    kit_consume(&kit, "a", "after", SIZE_MAX, "2");
    assert_int_equal(store_count_live(kit.store), 1);
    kit_pass(&kit, CLOCK_NS_PER_MS);
    kit_consume(&kit, "a", "later", SIZE_MAX, NULL);
    assert_int_equal(store_count_live(kit.store), 0);
    kit_end(&kit);
}

static void the_reaper_removes_what_has_expired_and_no_more(void **state)
{
    struct store_kit kit;
    (void)state;
    kit_start(&kit, PLENTY);
    assert_int_equal(store_next_expiry(kit.store), INT64_MAX);
    kit_push(&kit, "a", "1");
    kit_consume(&kit, "a", "g", SIZE_MAX, "1");
    kit_pass(&kit, SECONDS(60));
    kit_push(&kit, "a", "2");
    assert_int_equal(store_next_expiry(kit.store), SECONDS(1000 + KIT_TTL_SECONDS));
    assert_int_equal(store_reap(kit.store, SIZE_MAX), 0);
    kit_pass(&kit, SECONDS(60));
    assert_int_equal(store_reap(kit.store, SIZE_MAX), 1);
    /* The group's cursor stood on the event that is gone: the group went with it. */
    assert_int_equal(store_counts(kit.store).groups, 0);
    assert_int_equal(store_counts(kit.store).events, 1);
    store_check(kit.store);
    kit_consume(&kit, "a", "g", SIZE_MAX, "2");
    kit_end(&kit);
}

static void the_reaper_works_in_slices(void **state)
{
    struct store_kit kit;
    (void)state;
    kit_start(&kit, PLENTY);
    for (int i = 0; i < 10; i++)
        kit_push(&kit, i % 2 == 0 ? "a" : "b", "1");
    kit_pass(&kit, SECONDS(KIT_TTL_SECONDS));
    assert_int_equal(store_reap(kit.store, 3), 3);
    store_check(kit.store);
    assert_int_equal(store_reap(kit.store, SIZE_MAX), 7);
    kit_end(&kit);
}

static void ids_never_go_back(void **state)
{
    struct store_kit kit;
    (void)state;
    kit_start(&kit, PLENTY);
    kit_push(&kit, "a", "1");
    kit_push(&kit, "a", "2");
    kit_pass(&kit, SECONDS(KIT_TTL_SECONDS));
    store_reap(kit.store, SIZE_MAX);
    assert_int_equal(store_counts(kit.store).keys, 0);
    assert_int_equal(kit_push(&kit, "a", "3"), 3);
    kit_end(&kit);
}

static void what_comes_back_goes_first(void **state)
{
    struct store_kit kit;
    (void)state;
    kit_start(&kit, PLENTY);
    kit_push(&kit, "a", "1");
    kit_push(&kit, "a", "2");
    struct batch *batch = kit_take(&kit, "a", "g", SIZE_MAX, "1,2");
    kit_push(&kit, "a", "3");
    store_batch_return(kit.store, batch);
    store_check(kit.store);
    kit_consume(&kit, "a", "g", SIZE_MAX, "1,2,3");
    kit_end(&kit);
}

static void batches_come_back_in_any_order(void **state)
{
    struct store_kit kit;
    (void)state;
    kit_start(&kit, PLENTY);
    for (int i = 0; i < 4; i++)
        kit_push(&kit, "a", (const char *[]){"1", "2", "3", "4"}[i]);
    struct batch *first = kit_take(&kit, "a", "g", 1, "1");
    struct batch *second = kit_take(&kit, "a", "g", 1, "2");
    store_batch_return(kit.store, first);
    struct batch *third = kit_take(&kit, "a", "g", 2, "1,3");
    store_batch_return(kit.store, third);
    store_batch_return(kit.store, second);
    store_check(kit.store);
    kit_consume(&kit, "a", "g", 2, "1,2");
    kit_consume(&kit, "a", "g", SIZE_MAX, "3,4");
    kit_end(&kit);
}

static void what_has_expired_does_not_come_back(void **state)
{
    struct store_kit kit;
    (void)state;
    kit_start(&kit, PLENTY);
    kit_push(&kit, "a", "1");
    kit_pass(&kit, SECONDS(60));
    kit_push(&kit, "a", "2");
    struct batch *batch = kit_take(&kit, "a", "g", SIZE_MAX, "1,2");
    kit_pass(&kit, SECONDS(60));
    store_reap(kit.store, SIZE_MAX);
    store_batch_return(kit.store, batch);
    store_check(kit.store);
    kit_consume(&kit, "a", "g", SIZE_MAX, "2");
    kit_end(&kit);
}

static void a_batch_under_way_outlives_its_events(void **state)
{
    struct store_kit kit;
    (void)state;
    kit_start(&kit, PLENTY);
    kit_push(&kit, "a", "1");
    struct batch *batch = kit_take(&kit, "a", "g", SIZE_MAX, "1");
    kit_pass(&kit, SECONDS(KIT_TTL_SECONDS));
    assert_int_equal(store_reap(kit.store, SIZE_MAX), 1);
    store_check(kit.store);
    char text[KIT_TEXT_BYTES];
    kit_batch_text(batch, text);
    assert_string_equal(text, "1");
    assert_true(store_counts(kit.store).memory_bytes > 0);
    store_batch_consumed(kit.store, batch);
    kit_end(&kit);
}

static void a_full_store_refuses_and_keeps_all(void **state)
{
    struct store_kit kit;
    (void)state;
    kit_start(&kit, 4096);
    unsigned pushed = 0;
    while (kit_push(&kit, "a", "1234567890") != 0)
        pushed++;
    assert_in_range(pushed, 10, 100);
    struct store_counts full = store_counts(kit.store);
    assert_true(full.memory_bytes <= 4096);
    assert_int_equal(full.events, pushed);
    struct text value = TEXT("1");
    struct store_pushed ignored;
    assert_int_equal(store_push(kit.store, TEXT("other"), &value, 1, &ignored), STORE_FULL);
    store_check(kit.store);
    /* Consumers are let in a little further. */
    struct batch *batch;
    assert_int_equal(store_take(kit.store, TEXT("a"), TEXT("g"), 3, &batch), STORE_OK);
    store_batch_consumed(kit.store, batch);
    kit_end(&kit);
}

static void a_refused_push_changes_nothing(void **state)
{
    struct store_kit kit;
    (void)state;
    kit_start(&kit, 4096);
    kit_push(&kit, "a", "1");
    uint64_t before = store_counts(kit.store).memory_bytes;
    char large[4096];
    memset(large, '7', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    struct text values[] = {TEXT("2"), text_from(large)};
    struct store_pushed ignored;
    assert_int_equal(store_push(kit.store, TEXT("a"), values, 2, &ignored), STORE_FULL);
    assert_int_equal(store_push(kit.store, TEXT("new"), values, 2, &ignored), STORE_FULL);
    assert_int_equal(store_counts(kit.store).memory_bytes, before);
    assert_int_equal(kit_push(&kit, "a", "3"), 2);
    kit_consume(&kit, "a", "g", SIZE_MAX, "1,3");
    kit_end(&kit);
}

static void groups_are_refused_when_memory_is_out(void **state)
{
    struct store_kit kit;
    (void)state;
    kit_start(&kit, 4096);
    kit_push(&kit, "a", "1");
    enum store_result result = STORE_OK;
    unsigned groups = 0;
    while (result == STORE_OK) {
        char name[16];
        struct batch *batch;
        snprintf(name, sizeof name, "g%u", groups++);
        result = store_take(kit.store, TEXT("a"), text_from(name), SIZE_MAX, &batch);
        if (result == STORE_OK)
            store_batch_consumed(kit.store, batch);
        store_check(kit.store);
    }
    assert_int_equal(result, STORE_FULL);
    assert_true(store_counts(kit.store).memory_bytes <= 4096);
    kit_end(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_rise_by_one_for_each_key),
        cmocka_unit_test(each_group_gets_everything_once),
        cmocka_unit_test(asking_in_vain_leaves_nothing_behind),
        cmocka_unit_test(a_limit_leaves_the_rest),
        cmocka_unit_test(a_batch_is_stored_whole_and_in_order),
        cmocka_unit_test(an_event_expires_exactly),
        cmocka_unit_test(the_reaper_removes_what_has_expired_and_no_more),
        cmocka_unit_test(the_reaper_works_in_slices),
        cmocka_unit_test(ids_never_go_back),
        cmocka_unit_test(what_comes_back_goes_first),
        cmocka_unit_test(batches_come_back_in_any_order),
        cmocka_unit_test(what_has_expired_does_not_come_back),
        cmocka_unit_test(a_batch_under_way_outlives_its_events),
        cmocka_unit_test(a_full_store_refuses_and_keeps_all),
        cmocka_unit_test(a_refused_push_changes_nothing),
        cmocka_unit_test(groups_are_refused_when_memory_is_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
