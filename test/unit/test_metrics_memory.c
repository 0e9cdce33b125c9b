/* The limit on memory: never exceeded; what does not fit is refused whole, and comes in again later. */
#include "metrics_kit.h"

enum { LIMIT = 1024 * 1024, RETENTION = 300, MANY = 100000 };

/* The events, users and types are as they were: nothing of a refused event is left. */
static void assert_unchanged(struct metrics_kit *kit, const struct metrics_counts *before)
{
    struct metrics_counts now = metrics_counts(kit->metrics);
    assert_int_equal(now.events, before->events);
    assert_int_equal(now.users, before->users);
    assert_int_equal(now.types, before->types);
}

/* Takes events in until one is refused. Users and types are as many as `variety` says. Returns how many there were. */
static int fill(struct metrics_kit *kit, const char *prefix, int variety)
{
    for (int i = 0; i < MANY; i++) {
        char id[32], user[32], type[32];
        snprintf(id, sizeof id, "%s%d", prefix, i);
        snprintf(user, sizeof user, "u%d", i % variety);
        snprintf(type, sizeof type, "t%d", i / 2 % variety);
        struct metrics_counts before = metrics_counts(kit->metrics);
        enum metrics_result result = kit_ingest(kit, id, user, type, (i % 200 - 100) * 1000);
        if (result == METRICS_FULL) {
            assert_unchanged(kit, &before);
            metrics_check(kit->metrics);
            return i;
        }
        assert_int_equal(result, METRICS_ACCEPTED);
        assert_true(metrics_counts(kit->metrics).memory_bytes <= LIMIT);
    }
    fail_msg("never full");
    return 0;
}

static void a_full_memory_refuses_and_recovers(void **state)
{
    (void)state;
    static const int varieties[] = {5, 500, MANY};
    for (size_t i = 0; i < 3; i++) {
        struct metrics_kit kit;
        kit_start(&kit, RETENTION, LIMIT);
        int first = fill(&kit, "a", varieties[i]);
        assert_true(first > 1000);
        /* a refused id is not remembered, one that was taken is */
        char id[32];
        snprintf(id, sizeof id, "a%d", first);
        assert_int_not_equal(kit_ingest(&kit, id, "u0", "t0", 0), METRICS_SEEN);
        assert_int_equal(kit_ingest(&kit, "a0", "u0", "t0", 0), METRICS_SEEN);
        kit_pass(&kit, 500 * 1000);
        for (int round = 0; round < 64; round++)
            metrics_round(kit.metrics, NULL);
        assert_int_equal(metrics_counts(kit.metrics).memory_bytes, kit.empty_bytes);
        assert_true(fill(&kit, "b", varieties[i]) > first / 2);
        kit_end(&kit);
    }
}

static void a_table_that_does_not_fit_leaves_the_old_one(void **state)
{
    (void)state;
    struct metrics_kit kit;
    kit_start(&kit, RETENTION, LIMIT);
    assert_int_equal(kit_set(&kit, "u1 pro eu, u2 free us", 0), METRICS_SET_OK);
    kit_ingest(&kit, "e1", "u1", "a", 0);
    kit_ingest(&kit, "e2", "u3", "a", 0);
    struct reference_builder *builder = metrics_reference_begin(kit.metrics, 1);
    assert_non_null(builder);
    enum reference_result result = REFERENCE_OK;
    for (int i = 0; result == REFERENCE_OK && i < MANY; i++) {
        char id[32];
        snprintf(id, sizeof id, "u%d", i);
        result =
            reference_add(builder, text_from(id), text_from(id), TEXT("eu"), TEXT("{\"userName\":\"Ann\"}"));
    }
    assert_int_equal(result, REFERENCE_FULL);
    reference_abandon(builder);
    kit_expect(&kit, 1, "events 2 unknown 1 users 1 plan:pro=1,free=0 region:eu=1,us=0 type:a=2");
    /* The table fits, its view does not. */
    struct reference *reference = kit_table(&kit, "u1 max asia, u3 max asia", 1);
    fill(&kit, "x", MANY);
    assert_int_equal(metrics_set_reference(kit.metrics, reference), METRICS_SET_FULL);
    reference_release(reference);
    metrics_check(kit.metrics);
    kit_pass(&kit, 500 * 1000);
    for (int round = 0; round < 64; round++)
        metrics_round(kit.metrics, NULL);
    kit_ingest(&kit, "e3", "u1", "a", 0);
    kit_expect(&kit, 1, "events 1 unknown 0 users 1 plan:pro=1,free=0 region:eu=1,us=0 type:a=1");
    kit_end(&kit);
}

/* Wherever in the making of a view the memory ends: either all of it is there, or nothing. */
static void a_view_that_runs_out_of_memory_is_given_up(void **state)
{
    (void)state;
    int made = 0, refused = 0;
    for (uint64_t limit = 300 * 1024; limit < 1500 * 1024; limit += 40 * 1024) {
        struct metrics_kit kit;
        kit_start(&kit, RETENTION, limit);
        for (int i = 0; i < 2000; i++) {
            char id[32], user[32];
            snprintf(id, sizeof id, "e%d", i);
            snprintf(user, sizeof user, "u%d", i % 50);
            kit_ingest(&kit, id, user, "a", (i % 120 - 119) * 1000);
        }
        uint64_t before = metrics_counts(kit.metrics).memory_bytes;
        struct reference_builder *builder = metrics_reference_begin(kit.metrics, 1);
        for (int i = 0; builder != NULL && i < 50; i++) {
            char id[32];
            snprintf(id, sizeof id, "u%d", i);
            if (reference_add(builder, text_from(id), text_from(id), text_from(id), TEXT("{}")) !=
                REFERENCE_OK) {
                reference_abandon(builder);
                builder = NULL;
            }
        }
        if (builder != NULL) {
            struct reference *reference = reference_finish(builder);
            enum metrics_set_result result = metrics_set_reference(kit.metrics, reference);
            reference_release(reference);
            made += result == METRICS_SET_OK;
            refused += result == METRICS_SET_FULL;
            assert_int_equal(metrics_counts(kit.metrics).generation, result == METRICS_SET_OK);
            if (result == METRICS_SET_FULL)
                assert_int_equal(metrics_counts(kit.metrics).memory_bytes, before);
        }
        metrics_check(kit.metrics);
        kit_end(&kit);
    }
    assert_true(made > 0);
    assert_true(refused > 0);
}

static void an_event_takes_few_bytes(void **state)
{
    (void)state;
    struct metrics_kit kit;
    kit_start(&kit, RETENTION, LIMIT * UINT64_C(1024));
    for (int i = 0; i < MANY; i++) {
        char id[32], user[32];
        snprintf(id, sizeof id, "e%d", i);
        snprintf(user, sizeof user, "u%d", i % 1000);
        assert_int_equal(kit_ingest(&kit, id, user, "a", (i % 200 - 100) * 1000), METRICS_ACCEPTED);
    }
    uint64_t bytes = metrics_counts(kit.metrics).memory_bytes - kit.empty_bytes;
    assert_in_range(bytes / MANY, 20, 44);
    kit_end(&kit);
}

static void a_limit_below_the_ring_is_refused(void **state)
{
    (void)state;
    struct metrics_options options = {.clock = clock_system, .retention_s = 1800};
    for (options.max_memory_bytes = 0; options.max_memory_bytes < 1000000;
         options.max_memory_bytes += 20000) {
        struct metrics *metrics = metrics_create(&options);
        if (metrics != NULL)
            assert_true(metrics_counts(metrics).memory_bytes <= options.max_memory_bytes);
        metrics_free(metrics);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_memory_refuses_and_recovers),
        cmocka_unit_test(a_table_that_does_not_fit_leaves_the_old_one),
        cmocka_unit_test(a_view_that_runs_out_of_memory_is_given_up),
        cmocka_unit_test(an_event_takes_few_bytes),
        cmocka_unit_test(a_limit_below_the_ring_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
