/* Reservations: once granted, the push succeeds whatever has become of the memory; refused or given back, they leave
 * nothing behind. Every step is followed by a look at all invariants (store_check), every test by a look that nothing
 * is left. */
#include "store_kit.h"

enum { PLENTY = 1024 * 1024, SMALL = 8192 };

/* malloc and realloc are ours, so that memory can run out; the sanitizers bring their own. */
#ifndef __has_feature
#define __has_feature(feature) 0
#endif
#if !defined(__SANITIZE_ADDRESS__) && !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
#define OWN_MALLOC

void *__libc_malloc(size_t size);
void *__libc_realloc(void *memory, size_t size);

static bool counting;    /* the following holds while this is set */
static size_t remaining; /* allocations that still succeed */

static bool is_refused(void)
{
    if (!counting)
        return false;
    if (remaining == 0)
        return true;
    remaining--;
    return false;
}

void *malloc(size_t size)
{
    return is_refused() ? NULL : __libc_malloc(size);
}

void *realloc(void *memory, size_t size)
{
    return is_refused() ? NULL : __libc_realloc(memory, size);
}
#endif

static struct store_reservation *reserve(struct store_kit *kit, const char *key, size_t most_bytes)
{
    struct store_reservation *reservation = NULL;
    assert_int_equal(store_reserve(kit->store, text_from(key), most_bytes, &reservation), STORE_OK);
    store_check(kit->store);
    return reservation;
}

static void unreserve(struct store_kit *kit, struct store_reservation *reservation)
{
    store_unreserve(kit->store, reservation);
    store_check(kit->store);
}

/* Pushes and delivers; returns the id. */
static uint64_t push_reserved(struct store_kit *kit, struct store_reservation *reservation, const char *value)
{
    struct store_pushed pushed;
    store_push_reserved(kit->store, reservation, text_from(value), &pushed);
    kit_deliver(kit->store, &pushed.batches);
    store_check(kit->store);
    return pushed.last_id;
}

/* Fills the store until not even a byte can be pushed, neither under a new key nor under `key`. */
static void fill_up(struct store_kit *kit, const char *key)
{
    char value[SMALL], name[32];
    unsigned names = 0;
    memset(value, '7', sizeof value);
    for (size_t length = sizeof value - 1; length > 0; length /= 2) {
        value[length] = '\0';
        do {
            snprintf(name, sizeof name, "filler%u", names++);
        } while (kit_push(kit, name, value) != 0);
        while (kit_push(kit, key, value) != 0)
            continue;
        value[length] = '7';
    }
}

static uint64_t memory_of(struct store_kit *kit)
{
    return store_counts(kit->store).memory_bytes;
}

static void ids_are_given_at_the_push(void **state)
{
    struct store_kit kit;
    (void)state;
    kit_start(&kit, PLENTY);
    struct store_reservation *first = reserve(&kit, "a", 10);
    struct store_reservation *second = reserve(&kit, "a", 10);
    assert_int_equal(kit_push(&kit, "a", "1"), 1);
    assert_int_equal(push_reserved(&kit, second, "2"), 2);
    assert_int_equal(kit_push(&kit, "a", "3"), 3);
    assert_int_equal(push_reserved(&kit, first, "4"), 4);
    kit_consume(&kit, "a", "g", SIZE_MAX, "1,2,3,4");
    kit_end(&kit);
}

static void times_are_given_at_the_push(void **state)
{
    struct store_kit kit;
    (void)state;
    kit_start(&kit, PLENTY);
    struct store_reservation *reservation = reserve(&kit, "a", 10);
    kit_pass(&kit, SECONDS(5));
    push_reserved(&kit, reservation, "1");
    struct batch *batch = kit_take(&kit, "a", "g", SIZE_MAX, "1");
    assert_int_equal(store_batch_event(batch, 0).wall_ms, SECONDS(1005) / CLOCK_NS_PER_MS);
    store_batch_consumed(kit.store, batch);
    assert_int_equal(store_next_expiry(kit.store), SECONDS(1005 + KIT_TTL_SECONDS));
    kit_end(&kit);
}

static void nobody_sees_a_reservation(void **state)
{
    struct store_kit kit;
    (void)state;
    kit_start(&kit, PLENTY);
    struct store_reservation *reservation = reserve(&kit, "a", 10);
    uint64_t before = memory_of(&kit);
    kit_consume(&kit, "a", "g", SIZE_MAX, NULL);
    assert_int_equal(store_counts(kit.store).events, 0);
    assert_int_equal(store_counts(kit.store).groups, 0);
    assert_int_equal(store_count_live(kit.store), 0);
    assert_int_equal(store_next_expiry(kit.store), INT64_MAX);
    assert_int_equal(memory_of(&kit), before);
    unreserve(&kit, reservation);
    kit_end(&kit);
}

/* Afterwards the store holds what it would hold after a push. */
static void a_shorter_value_gives_the_rest_back(void **state)
{
    struct store_kit plain, reserved;
    static const char *const values[] = {"", "1", "0123456789", "0123456789012345678901234567890123456789"};
    static const size_t more[] = {0, 1, 100, 300000};
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        for (size_t m = 0; m < sizeof more / sizeof more[0]; m++) {
            kit_start(&plain, PLENTY);
            kit_start(&reserved, PLENTY);
            kit_push(&plain, "a", values[i]);
            size_t most_bytes = strlen(values[i]) + more[m];
            struct store_reservation *reservation = reserve(&reserved, "a", most_bytes);
            assert_true(memory_of(&reserved) >= memory_of(&plain) + more[m]);
            push_reserved(&reserved, reservation, values[i]);
            assert_int_equal(memory_of(&reserved), memory_of(&plain));
            kit_consume(&reserved, "a", "g", SIZE_MAX, values[i]);
            kit_end(&plain);
            kit_end(&reserved);
        }
    }
}

static void a_full_store_refuses_to_reserve(void **state)
{
    struct store_kit kit;
    struct store_reservation *reservation;
    (void)state;
    kit_start(&kit, SMALL);
    fill_up(&kit, "a");
    struct store_counts before = store_counts(kit.store);
    assert_int_equal(store_reserve(kit.store, TEXT("a"), 1, &reservation), STORE_FULL);
    assert_int_equal(store_reserve(kit.store, TEXT("a"), 0, &reservation), STORE_FULL);
    assert_int_equal(store_reserve(kit.store, TEXT("new"), 1, &reservation), STORE_FULL);
    store_check(kit.store);
    assert_int_equal(store_counts(kit.store).memory_bytes, before.memory_bytes);
    assert_int_equal(store_counts(kit.store).keys, before.keys);
    kit_end(&kit);

    kit_start(&kit, UINT64_MAX / 2);
    assert_int_equal(store_reserve(kit.store, TEXT("a"), (size_t)UINT32_MAX + 1, &reservation), STORE_FULL);
    assert_int_equal(store_reserve(kit.store, TEXT("a"), SIZE_MAX, &reservation), STORE_FULL);
    kit_end(&kit);
}

/* Whichever step a limit stops, nothing is left of those before it; and there is a limit from which on all succeed,
 * which then is enough for the push too. */
static void a_refusal_leaves_nothing_behind(void **state)
{
    unsigned granted = 0;
    (void)state;
    for (uint64_t limit = 0; limit < 1024; limit++) {
        struct store_kit kit;
        struct store_reservation *reservation;
        kit_start(&kit, limit);
        enum store_result result = store_reserve(kit.store, TEXT("a"), 10, &reservation);
        store_check(kit.store);
        if (result == STORE_OK) {
            assert_true(memory_of(&kit) <= limit);
            assert_int_equal(push_reserved(&kit, reservation, "0123456789"), 1);
            granted++;
        } else {
            assert_int_equal(result, STORE_FULL);
            assert_int_equal(granted, 0);
            assert_int_equal(memory_of(&kit), 0);
            assert_int_equal(store_counts(kit.store).keys, 0);
        }
        kit_end(&kit);
    }
    assert_true(granted > 0);
}

static void what_is_reserved_survives_a_full_store(void **state)
{
    enum { RESERVED = 9 };
    struct store_kit kit;
    struct store_reservation *reservations[RESERVED], *other;
    (void)state;
    kit_start(&kit, SMALL);
    for (int i = 0; i < RESERVED; i++)
        reservations[i] = reserve(&kit, "a", 8);
    other = reserve(&kit, "b", 100);
    /* The others may fill the ring of the same key, too. */
    uint64_t last_id = 0;
    for (int i = 0; i < 20; i++)
        last_id = kit_push(&kit, "a", "1");
    assert_int_equal(last_id, 20);
    while (kit_push(&kit, "a", "1") != 0)
        last_id++;
    fill_up(&kit, "a");
    for (int i = 0; i < RESERVED; i++)
        assert_int_equal(push_reserved(&kit, reservations[i], "12345678"), ++last_id);
    assert_int_equal(push_reserved(&kit, other, "1"), 1);
    assert_true(memory_of(&kit) <= SMALL);
    kit_consume(&kit, "b", "g", SIZE_MAX, "1");
    kit_end(&kit);
}

static void a_key_with_a_reservation_is_not_forgotten(void **state)
{
    struct store_kit kit;
    (void)state;
    kit_start(&kit, PLENTY);
    kit_push(&kit, "a", "1");
    kit_push(&kit, "a", "2");
    kit_consume(&kit, "a", "g", SIZE_MAX, "1,2");
    struct store_reservation *reservation = reserve(&kit, "a", 1);
    kit_pass(&kit, SECONDS(KIT_TTL_SECONDS));
    assert_int_equal(store_reap(kit.store, SIZE_MAX), 2);
    store_check(kit.store);
    kit_pass(&kit, SECONDS(100 * KIT_TTL_SECONDS));
    assert_int_equal(store_reap(kit.store, SIZE_MAX), 0);
    assert_int_equal(store_counts(kit.store).keys, 1);
    assert_int_equal(store_counts(kit.store).groups, 0);
    kit_consume(&kit, "a", "g", SIZE_MAX, NULL);
    assert_int_equal(push_reserved(&kit, reservation, "3"), 3);
    kit_consume(&kit, "a", "g", SIZE_MAX, "3");
    kit_end(&kit);
}

/* The ring goes with the last event, but not the places that are reserved in it. */
static void an_emptied_ring_keeps_reserved_places(void **state)
{
    enum { RESERVED = 5 };
    struct store_kit kit;
    struct store_reservation *reservations[RESERVED];
    (void)state;
    kit_start(&kit, SMALL);
    for (int i = 0; i < 6; i++)
        kit_push(&kit, "a", "1");
    for (int i = 0; i < RESERVED; i++)
        reservations[i] = reserve(&kit, "a", 1);
    kit_pass(&kit, SECONDS(KIT_TTL_SECONDS));
    assert_int_equal(store_reap(kit.store, SIZE_MAX), 6);
    store_check(kit.store);
    fill_up(&kit, "other");
    unreserve(&kit, reservations[0]);
    for (int i = 1; i < RESERVED; i++)
        assert_int_equal(push_reserved(&kit, reservations[i], (const char *[]){"1", "2", "3", "4"}[i - 1]),
                         6 + i);
    kit_consume(&kit, "a", "g", SIZE_MAX, "1,2,3,4");
    kit_end(&kit);
}

static void unreserving_gives_everything_back(void **state)
{
    struct store_kit kit;
    (void)state;
    kit_start(&kit, PLENTY);
    unreserve(&kit, reserve(&kit, "a", 1000));
    assert_int_equal(memory_of(&kit), 0);
    assert_int_equal(store_counts(kit.store).keys, 0);

    assert_int_equal(kit_push(&kit, "a", "1"), 1);
    uint64_t before = memory_of(&kit);
    unreserve(&kit, reserve(&kit, "a", 1000));
    assert_int_equal(memory_of(&kit), before);

    /* The last to go takes the key along, and the ids go on. */
    struct store_reservation *first = reserve(&kit, "a", 1000), *second = reserve(&kit, "a", 0);
    kit_pass(&kit, SECONDS(KIT_TTL_SECONDS));
    store_reap(kit.store, SIZE_MAX);
    unreserve(&kit, first);
    assert_int_equal(store_counts(kit.store).keys, 1);
    unreserve(&kit, second);
    assert_int_equal(memory_of(&kit), 0);
    assert_int_equal(store_counts(kit.store).keys, 0);
    assert_int_equal(kit_push(&kit, "a", "2"), 2);
    kit_end(&kit);
}

static enum delivery deliver(void *context, struct batch *batch)
{
    struct store_kit *kit = context;
    char text[KIT_TEXT_BYTES];
    kit_batch_text(batch, text);
    assert_string_equal(text, "1");
    store_batch_consumed(kit->store, batch);
    return DELIVERY_TAKEN;
}

static void who_waits_is_served(void **state)
{
    static const char *const groups[] = {"g", "h"};
    struct store_kit kit;
    struct waiter waiters[2];
    struct store_pushed pushed;
    struct batch *batch;
    (void)state;
    kit_start(&kit, PLENTY);
    struct store_reservation *reservation = reserve(&kit, "a", 100);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(store_waiter_init(&waiters[i], SIZE_MAX, deliver, &kit), 0);
        assert_int_equal(store_wait_begin(kit.store, TEXT("a"), text_from(groups[i]), &waiters[i], &batch),
                         STORE_EMPTY);
    }
    store_check(kit.store);
    store_push_reserved(kit.store, reservation, TEXT("1"), &pushed);
    store_check(kit.store);
    assert_int_equal(pushed.last_id, 1);
    assert_int_equal(pushed.batch_count, 2);
    kit_deliver(kit.store, &pushed.batches);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(store_wait(kit.store, &waiters[i], 0), WAIT_DELIVERED);
        store_waiter_destroy(&waiters[i]);
        kit_consume(&kit, "a", groups[i], SIZE_MAX, NULL);
    }
    kit_end(&kit);
}

static void stopping_ends_no_reservation(void **state)
{
    struct store_kit kit;
    (void)state;
    kit_start(&kit, PLENTY);
    struct store_reservation *reservation = reserve(&kit, "a", 1);
    store_stop(kit.store);
    store_check(kit.store);
    assert_int_equal(push_reserved(&kit, reservation, "1"), 1);
    kit_end(&kit);
}

#ifdef OWN_MALLOC
static void the_push_needs_no_memory(void **state)
{
    struct store_kit kit;
    struct store_pushed pushed;
    (void)state;
    kit_start(&kit, PLENTY);
    kit_push(&kit, "a", "1"); /* the ring is full with the reservation's place */
    struct store_reservation *reservation = reserve(&kit, "a", 5);
    remaining = 0;
    counting = true;
    store_push_reserved(kit.store, reservation, TEXT("23"), &pushed);
    counting = false;
    store_check(kit.store);
    assert_int_equal(pushed.last_id, 2);
    kit_consume(&kit, "a", "g", SIZE_MAX, "1,23");
    kit_end(&kit);
}

static void want_of_memory_leaves_nothing_behind(void **state)
{
    struct store_kit kit;
    struct store_reservation *reservation;
    enum store_result result = STORE_NO_MEMORY;
    size_t allowed = 0;
    (void)state;
    for (; result == STORE_NO_MEMORY; allowed++) {
        kit_start(&kit, PLENTY);
        remaining = allowed;
        counting = true;
        result = store_reserve(kit.store, TEXT("a"), 10, &reservation);
        counting = false;
        store_check(kit.store);
        if (result == STORE_NO_MEMORY)
            assert_int_equal(store_counts(kit.store).keys, 0);
        else
            unreserve(&kit, reservation);
        assert_int_equal(memory_of(&kit), 0);
        kit_end(&kit);
    }
    assert_int_equal(result, STORE_OK);
    assert_true(allowed > 3);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_given_at_the_push),
        cmocka_unit_test(times_are_given_at_the_push),
        cmocka_unit_test(nobody_sees_a_reservation),
        cmocka_unit_test(a_shorter_value_gives_the_rest_back),
        cmocka_unit_test(a_full_store_refuses_to_reserve),
        cmocka_unit_test(a_refusal_leaves_nothing_behind),
        cmocka_unit_test(what_is_reserved_survives_a_full_store),
        cmocka_unit_test(a_key_with_a_reservation_is_not_forgotten),
        cmocka_unit_test(an_emptied_ring_keeps_reserved_places),
        cmocka_unit_test(unreserving_gives_everything_back),
        cmocka_unit_test(who_waits_is_served),
        cmocka_unit_test(stopping_ends_no_reservation),
#ifdef OWN_MALLOC
        cmocka_unit_test(the_push_needs_no_memory),
        cmocka_unit_test(want_of_memory_leaves_nothing_behind),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
