/* The metrics with many threads: some take events in, some swap tables, some ask, one moves the clock, one checks the
 * invariants, also of a view that is being made. The type of each event is the name of its user, and a table is known by
 * its time alone, so that each answer tells by its types what the rest of it must be under its table. */
#include "metrics_kit.h"

#include <pthread.h>

enum {
    PLENTY = 256 * 1024 * 1024,
    RETENTION = 200,
    USERS = 300,
    PLANS = 5,
    REGIONS = 11,
    INGESTERS = 2,
    SWAPPERS = 2,
    ASKERS = 2,
    THREADS = INGESTERS + SWAPPERS + ASKERS + 2,
    BATCHES = 150,
    BATCH = 200,
};

struct crowd {
    struct metrics_kit kit;
    atomic_int ingesters_left;
    _Atomic int64_t newest_table;
    atomic_ulong accepted;
    atomic_ulong answers;
    atomic_ulong swaps;
};

struct member {
    struct crowd *crowd;
    unsigned number;
    uint64_t random;
};

static unsigned draw(uint64_t *random, unsigned below)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return (unsigned)(*random >> 33) % below;
}

static bool in_table(int64_t table, unsigned user)
{
    return (user + (uint64_t)table) % 3 != 0;
}

static unsigned plan_in(int64_t table, unsigned user)
{
    return (unsigned)((user * 7 + (uint64_t)table) % PLANS);
}

static unsigned region_in(int64_t table, unsigned user)
{
    return (unsigned)((user / 2 + (uint64_t)table * 5) % REGIONS);
}

/* --- those who take events in --- */

static void ingest_batch(struct member *member, unsigned batch)
{
    char ids[BATCH][24], users[BATCH][16], timestamps[BATCH][CLOCK_RFC3339_BYTES];
    struct metrics_event events[BATCH];
    enum metrics_result results[BATCH];
    struct metrics_kit *kit = &member->crowd->kit;
    for (unsigned i = 0; i < BATCH; i++) {
        /* the higher ones come late only, so that users are made while views are */
        unsigned user = draw(&member->random, 1 + USERS * (batch + 1) / (BATCHES + 1));
        snprintf(ids[i], sizeof ids[i], "%u.%u.%u", member->number, batch, draw(&member->random, BATCH));
        snprintf(users[i], sizeof users[i], "u%u", user);
        clock_format_rfc3339(kit_wall_ms(kit) + (int64_t)draw(&member->random, 200000) - 100000,
                             timestamps[i]);
        events[i] = (struct metrics_event){.id = text_from(ids[i]),
                                           .user = text_from(users[i]),
                                           .type = text_from(users[i]),
                                           .timestamp = text_from(timestamps[i])};
    }
    metrics_ingest(kit->metrics, events, BATCH, results);
    for (unsigned i = 0; i < BATCH; i++) {
        assert_true(results[i] == METRICS_ACCEPTED || results[i] == METRICS_SEEN ||
                    results[i] == METRICS_LATE || results[i] == METRICS_SKEWED);
        atomic_fetch_add(&member->crowd->accepted, results[i] == METRICS_ACCEPTED);
    }
}

static void *ingest(void *context)
{
    struct member *member = context;
    for (unsigned batch = 0; batch < BATCHES; batch++)
        ingest_batch(member, batch);
    atomic_fetch_sub(&member->crowd->ingesters_left, 1);
    return NULL;
}

/* --- those who ask --- */

struct expected {
    uint64_t events, unknown, unique;
    uint64_t by_plan[PLANS], by_region[REGIONS];
};

static uint64_t number_behind(struct text name, size_t prefix)
{
    uint64_t number;
    struct text digits = {name.bytes + prefix, name.length - prefix};
    assert_int_equal(text_parse_number(digits, 0, 1000000, &number), 0);
    return number;
}

static void expect_by_types(const struct metrics_answer *answer, int64_t table, struct expected *expected)
{
    for (size_t i = 0; i < answer->by_type.length; i++) {
        uint64_t count = answer->by_type.counts[i].count;
        unsigned user = (unsigned)number_behind(answer->by_type.counts[i].name, 1);
        expected->events += count;
        if (answer->reference == NULL || !in_table(table, user)) {
            expected->unknown += count;
            continue;
        }
        expected->unique++;
        expected->by_plan[plan_in(table, user)] += count;
        expected->by_region[region_in(table, user)] += count;
    }
}

static void check_list(const struct metrics_list *list, const uint64_t *expected)
{
    for (size_t i = 0; i < list->length; i++)
        assert_int_equal(list->counts[i].count, expected[number_behind(list->counts[i].name, 1)]);
}

/* Returns the time of the answer's table, -1 for none. */
static int64_t ask(struct crowd *crowd, unsigned window_s)
{
    struct metrics_answer answer;
    struct expected expected = {.events = 0};
    assert_int_equal(metrics_query(crowd->kit.metrics, window_s, &answer), 0);
    int64_t table = answer.reference == NULL ? -1 : reference_wall_ms(answer.reference);
    expect_by_types(&answer, table, &expected);
    assert_int_equal(answer.events, expected.events);
    assert_int_equal(answer.unknown, expected.unknown);
    assert_int_equal(answer.unique_users, expected.unique);
    assert_int_equal(answer.by_plan.length, table < 0 ? 0 : PLANS);
    assert_int_equal(answer.by_region.length, table < 0 ? 0 : REGIONS);
    check_list(&answer.by_plan, expected.by_plan);
    check_list(&answer.by_region, expected.by_region);
    metrics_answer_free(&answer);
    atomic_fetch_add(&crowd->answers, 1);
    return table;
}

static void *ask_on(void *context)
{
    struct member *member = context;
    int64_t last = -1;
    while (atomic_load(&member->crowd->ingesters_left) > 0) {
        int64_t table = ask(member->crowd, 1 + draw(&member->random, RETENTION));
        assert_true(table >= last); /* never back to an older table */
        last = table;
    }
    return NULL;
}

/* --- those who swap --- */

static void swap_table(struct member *member)
{
    struct crowd *crowd = member->crowd;
    int64_t table = atomic_fetch_add(&crowd->newest_table, 1);
    struct reference_builder *builder = metrics_reference_begin(crowd->kit.metrics, table);
    assert_non_null(builder);
    for (unsigned user = 0; user < USERS; user++) {
        char id[16], plan[16], region[16];
        snprintf(id, sizeof id, "u%u", user);
        snprintf(plan, sizeof plan, "p%u", plan_in(table, user));
        snprintf(region, sizeof region, "r%u", region_in(table, user));
        if (in_table(table, user))
            assert_int_equal(
                reference_add(builder, text_from(id), text_from(plan), text_from(region), TEXT("{}")),
                REFERENCE_OK);
    }
    struct reference *reference = reference_finish(builder);
    enum metrics_set_result result = metrics_set_reference(crowd->kit.metrics, reference);
    reference_release(reference);
    assert_int_not_equal(result, METRICS_SET_FULL);
    /* It, or one that came later, is what everybody sees from now on. */
    assert_true(ask(crowd, RETENTION) >= table);
    atomic_fetch_add(&crowd->swaps, result == METRICS_SET_OK);
    struct reference *held = metrics_reference(crowd->kit.metrics);
    assert_true(reference_wall_ms(held) >= table);
    assert_int_equal(reference_find(held, TEXT("u0")) != REFERENCE_NONE,
                     in_table(reference_wall_ms(held), 0));
    reference_release(held);
}

static void *swap_on(void *context)
{
    struct member *member = context;
    while (atomic_load(&member->crowd->ingesters_left) > 0)
        swap_table(member);
    return NULL;
}

/* --- the clock, and the invariants --- */

static void *move_clock(void *context)
{
    struct member *member = context;
    struct metrics_kit *kit = &member->crowd->kit;
    while (atomic_load(&member->crowd->ingesters_left) > 0) {
        kit_pass(kit, draw(&member->random, 100));
        if (draw(&member->random, 50) == 0)
            kit_step(kit, (int64_t)draw(&member->random, 6000) - 3000);
        metrics_round(kit->metrics, NULL);
    }
    return NULL;
}

static void *check_on(void *context)
{
    struct member *member = context;
    while (atomic_load(&member->crowd->ingesters_left) > 0)
        metrics_check(member->crowd->kit.metrics);
    return NULL;
}

static void *(*role_of(int number))(void *)
{
    static void *(*const others[])(void *) = {move_clock, check_on};
    if (number < INGESTERS)
        return ingest;
    if (number < INGESTERS + SWAPPERS)
        return swap_on;
    return number < INGESTERS + SWAPPERS + ASKERS ? ask_on : others[number - INGESTERS - SWAPPERS - ASKERS];
}

static void every_answer_is_of_one_table(void **state)
{
    (void)state;
    struct crowd *crowd = calloc(1, sizeof *crowd);
    struct member members[THREADS];
    pthread_t threads[THREADS];
    assert_non_null(crowd);
    kit_start(&crowd->kit, RETENTION, PLENTY);
    atomic_store(&crowd->ingesters_left, INGESTERS);
    for (int i = 0; i < THREADS; i++) {
        members[i] =
            (struct member){.crowd = crowd, .number = (unsigned)i, .random = (uint64_t)i * 7919 + 12345};
        assert_int_equal(pthread_create(&threads[i], NULL, role_of(i), &members[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    metrics_check(crowd->kit.metrics);
    ask(crowd, RETENTION);
    assert_true(atomic_load(&crowd->accepted) > 1000);
    assert_true(atomic_load(&crowd->swaps) > 0);
    print_message("%lu events, %lu answers, %lu tables\n", atomic_load(&crowd->accepted),
                  atomic_load(&crowd->answers), atomic_load(&crowd->swaps));
    kit_end(&crowd->kit);
    free(crowd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_answer_is_of_one_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
