/* The store with requests that wait: who gets a batch, and every way in which a hand-over can end. The
 * waiters' deliver functions are the test's own, so that each interleaving is made on purpose: what happens
 * "during" a delivery happens inside that function. */
#include "store_kit.h"

#include "base/clock.h"

#include <pthread.h>

enum { PLENTY = 1024 * 1024 };

/* A client that waits. */
struct client {
    struct store_kit *kit;
    struct waiter waiter;
    bool gone; /* answers that nobody is there */
    bool keep; /* takes the batch and leaves it open: a partial write */
    void (*during)(struct client *client);
    struct batch *batch; /* kept */
    unsigned delivery_count;
    char text[KIT_TEXT_BYTES];
};

static enum delivery deliver(void *context, struct batch *batch)
{
    struct client *client = context;
    client->delivery_count++;
    if (client->during != NULL)
        client->during(client);
    if (client->gone)
        return DELIVERY_GONE;
    kit_batch_text(batch, client->text);
    if (client->keep)
        client->batch = batch;
    else
        store_batch_consumed(client->kit->store, batch);
    return DELIVERY_TAKEN;
}

static void client_wait(struct client *client, struct store_kit *kit, const char *key, const char *group,
                        size_t limit)
{
    client->kit = kit;
    assert_int_equal(store_waiter_init(&client->waiter, limit, deliver, client), 0);
    struct batch *batch = NULL;
    assert_int_equal(store_wait_begin(kit->store, text_from(key), text_from(group), &client->waiter, &batch),
                     STORE_EMPTY);
    store_check(kit->store);
}

/* Ends the wait; the deadline has passed long ago, so it never blocks when nobody else ends it. */
static void client_expect(struct client *client, enum wait_outcome expected)
{
    assert_int_equal(store_wait(client->kit->store, &client->waiter, 0), expected);
    store_waiter_destroy(&client->waiter);
    store_check(client->kit->store);
}

static void a_push_ends_the_wait(void **state)
{
    struct store_kit kit;
    struct client client = {.gone = false};
    (void)state;
    kit_start(&kit, PLENTY);
    client_wait(&client, &kit, "a", "g", SIZE_MAX);
    assert_int_equal(store_counts(kit.store).waiting, 1);
    kit_push(&kit, "a", "1");
    client_expect(&client, WAIT_DELIVERED);
    assert_string_equal(client.text, "1");
    kit_consume(&kit, "a", "g", SIZE_MAX, NULL);
    kit_end(&kit);
}

static void what_is_there_needs_no_wait(void **state)
{
    struct store_kit kit;
    struct waiter waiter;
    struct batch *batch = NULL;
    (void)state;
    kit_start(&kit, PLENTY);
    kit_push(&kit, "a", "1");
    assert_int_equal(store_waiter_init(&waiter, 1, deliver, NULL), 0);
    assert_int_equal(store_wait_begin(kit.store, TEXT("a"), TEXT("g"), &waiter, &batch), STORE_OK);
    store_batch_consumed(kit.store, batch);
    store_waiter_destroy(&waiter);
    kit_end(&kit);
}

static void the_longest_waiter_is_served_first(void **state)
{
    struct store_kit kit;
    struct client clients[3] = {{.gone = false}};
    (void)state;
    kit_start(&kit, PLENTY);
    for (int i = 0; i < 3; i++)
        client_wait(&clients[i], &kit, "a", "g", SIZE_MAX);
    kit_push(&kit, "a", "1");
    kit_push(&kit, "a", "2");
    client_expect(&clients[0], WAIT_DELIVERED);
    client_expect(&clients[1], WAIT_DELIVERED);
    client_expect(&clients[2], WAIT_TIMED_OUT);
    assert_string_equal(clients[0].text, "1");
    assert_string_equal(clients[1].text, "2");
    assert_int_equal(clients[2].delivery_count, 0);
    kit_end(&kit);
}

static void every_group_is_served(void **state)
{
    struct store_kit kit;
    struct client clients[3] = {{.gone = false}};
    (void)state;
    kit_start(&kit, PLENTY);
    client_wait(&clients[0], &kit, "a", "g", SIZE_MAX);
    client_wait(&clients[1], &kit, "a", "h", SIZE_MAX);
    client_wait(&clients[2], &kit, "b", "g", SIZE_MAX);
    kit_push(&kit, "a", "1");
    client_expect(&clients[0], WAIT_DELIVERED);
    client_expect(&clients[1], WAIT_DELIVERED);
    client_expect(&clients[2], WAIT_TIMED_OUT);
    kit_end(&kit);
}

static void a_limit_shares_a_batch_between_waiters(void **state)
{
    struct store_kit kit;
    struct client clients[2] = {{.gone = false}};
    struct text values[] = {TEXT("1"), TEXT("2"), TEXT("3"), TEXT("4")};
    struct store_pushed pushed;
    (void)state;
    kit_start(&kit, PLENTY);
    client_wait(&clients[0], &kit, "a", "g", 1);
    client_wait(&clients[1], &kit, "a", "g", 2);
    assert_int_equal(store_push(kit.store, TEXT("a"), values, 4, &pushed), STORE_OK);
    assert_int_equal(pushed.batch_count, 2);
    kit_deliver(kit.store, &pushed.batches);
    client_expect(&clients[0], WAIT_DELIVERED);
    client_expect(&clients[1], WAIT_DELIVERED);
    assert_string_equal(clients[0].text, "1");
    assert_string_equal(clients[1].text, "2,3");
    kit_consume(&kit, "a", "g", SIZE_MAX, "4");
    kit_end(&kit);
}

static void a_gone_client_costs_the_next_nothing(void **state)
{
    struct store_kit kit;
    struct client clients[3] = {{.gone = true}, {.gone = true}, {.gone = false}};
    (void)state;
    kit_start(&kit, PLENTY);
    for (int i = 0; i < 3; i++)
        client_wait(&clients[i], &kit, "a", "g", SIZE_MAX);
    kit_push(&kit, "a", "1");
    client_expect(&clients[0], WAIT_GONE);
    client_expect(&clients[1], WAIT_GONE);
    client_expect(&clients[2], WAIT_DELIVERED);
    assert_string_equal(clients[2].text, "1");
    kit_end(&kit);
}

static void when_all_are_gone_the_group_keeps_it(void **state)
{
    struct store_kit kit;
    struct client client = {.gone = true};
    (void)state;
    kit_start(&kit, PLENTY);
    client_wait(&client, &kit, "a", "g", SIZE_MAX);
    kit_push(&kit, "a", "1");
    client_expect(&client, WAIT_GONE);
    kit_push(&kit, "a", "2");
    kit_consume(&kit, "a", "g", SIZE_MAX, "1,2");
    kit_end(&kit);
}

static void a_partial_write_that_fails_serves_the_next(void **state)
{
    struct store_kit kit;
    struct client clients[2] = {{.keep = true}, {.gone = false}};
    (void)state;
    kit_start(&kit, PLENTY);
    client_wait(&clients[0], &kit, "a", "g", SIZE_MAX);
    kit_push(&kit, "a", "1");
    client_expect(&clients[0], WAIT_DELIVERED);
    client_wait(&clients[1], &kit, "a", "g", SIZE_MAX);
    /* The rest of the answer could not be written after all. */
    store_batch_return(kit.store, clients[0].batch);
    client_expect(&clients[1], WAIT_DELIVERED);
    assert_string_equal(clients[1].text, "1");
    kit_end(&kit);
}

static void a_partial_write_that_ends_well_consumes(void **state)
{
    struct store_kit kit;
    struct client client = {.keep = true};
    (void)state;
    kit_start(&kit, PLENTY);
    client_wait(&client, &kit, "a", "g", SIZE_MAX);
    kit_push(&kit, "a", "1");
    client_expect(&client, WAIT_DELIVERED);
    store_batch_consumed(kit.store, client.batch);
    kit_consume(&kit, "a", "g", SIZE_MAX, NULL);
    kit_end(&kit);
}

static void a_hang_up_consumes_nothing(void **state)
{
    struct store_kit kit;
    struct client client = {.gone = false};
    (void)state;
    kit_start(&kit, PLENTY);
    client_wait(&client, &kit, "a", "g", SIZE_MAX);
    store_wait_interrupt(&client.waiter);
    client_expect(&client, WAIT_INTERRUPTED);
    kit_push(&kit, "a", "1");
    assert_int_equal(client.delivery_count, 0);
    kit_consume(&kit, "a", "g", SIZE_MAX, "1");
    kit_end(&kit);
}

static void interrupt_now(struct client *client)
{
    store_wait_interrupt(&client->waiter);
}

static void a_hang_up_during_a_delivery_waits_for_the_outcome(void **state)
{
    struct store_kit kit;
    struct client taken = {.during = interrupt_now};
    struct client gone = {.during = interrupt_now, .gone = true};
    (void)state;
    kit_start(&kit, PLENTY);
    client_wait(&taken, &kit, "a", "g", SIZE_MAX);
    kit_push(&kit, "a", "1");
    client_expect(&taken, WAIT_DELIVERED);
    client_wait(&gone, &kit, "a", "g", SIZE_MAX);
    kit_push(&kit, "a", "2");
    client_expect(&gone, WAIT_GONE);
    kit_consume(&kit, "a", "g", SIZE_MAX, "2");
    kit_end(&kit);
}

static void stop_now(struct client *client)
{
    store_stop(client->kit->store);
}

static void a_stop_during_a_delivery_takes_nothing_back(void **state)
{
    struct store_kit kit;
    struct client clients[2] = {{.during = stop_now}, {.gone = false}};
    (void)state;
    kit_start(&kit, PLENTY);
    client_wait(&clients[0], &kit, "a", "g", SIZE_MAX);
    client_wait(&clients[1], &kit, "a", "g", SIZE_MAX);
    kit_push(&kit, "a", "1");
    client_expect(&clients[0], WAIT_DELIVERED);
    client_expect(&clients[1], WAIT_STOPPED);
    kit_end(&kit);
}

static void a_stop_ends_all_waits_and_consumes_nothing(void **state)
{
    struct store_kit kit;
    struct client clients[3] = {{.gone = false}};
    struct waiter late;
    struct batch *batch;
    (void)state;
    kit_start(&kit, PLENTY);
    client_wait(&clients[0], &kit, "a", "g", SIZE_MAX);
    client_wait(&clients[1], &kit, "a", "g", SIZE_MAX);
    client_wait(&clients[2], &kit, "b", "h", SIZE_MAX);
    store_stop(kit.store);
    for (int i = 0; i < 3; i++)
        client_expect(&clients[i], WAIT_STOPPED);
    assert_int_equal(store_waiter_init(&late, 1, deliver, NULL), 0);
    assert_int_equal(store_wait_begin(kit.store, TEXT("a"), TEXT("g"), &late, &batch), STORE_STOPPED);
    store_waiter_destroy(&late);
    /* Pushes that are under way go on. */
    assert_int_equal(kit_push(&kit, "a", "1"), 1);
    kit_consume(&kit, "a", "g", SIZE_MAX, "1");
    kit_end(&kit);
}

static void push_2_now(struct client *client)
{
    client->during = NULL;
    kit_push(client->kit, "a", "2");
}

/* A push during a delivery of the same group: its event goes behind the one under way. */
static void order_holds_while_a_delivery_fails(void **state)
{
    struct store_kit kit;
    struct client client = {.during = push_2_now, .gone = true};
    (void)state;
    kit_start(&kit, PLENTY);
    client_wait(&client, &kit, "a", "g", SIZE_MAX);
    kit_push(&kit, "a", "1");
    client_expect(&client, WAIT_GONE);
    kit_consume(&kit, "a", "g", SIZE_MAX, "1,2");
    kit_end(&kit);
}

static void a_wait_leaves_nothing_behind(void **state)
{
    struct store_kit kit;
    struct client client = {.gone = false};
    (void)state;
    kit_start(&kit, PLENTY);
    client_wait(&client, &kit, "a", "g", SIZE_MAX);
    assert_int_equal(store_counts(kit.store).keys, 1);
    assert_int_equal(store_counts(kit.store).groups, 1);
    client_expect(&client, WAIT_TIMED_OUT);
    assert_int_equal(store_counts(kit.store).keys, 0);
    assert_int_equal(store_counts(kit.store).memory_bytes, 0);
    kit_end(&kit);
}

static void the_reaper_leaves_waiters_alone(void **state)
{
    struct store_kit kit;
    struct client client = {.gone = false};
    (void)state;
    kit_start(&kit, PLENTY);
    kit_push(&kit, "a", "1");
    kit_consume(&kit, "a", "g", SIZE_MAX, "1");
    client_wait(&client, &kit, "a", "g", SIZE_MAX);
    kit_pass(&kit, SECONDS(KIT_TTL_SECONDS));
    assert_int_equal(store_reap(kit.store, SIZE_MAX), 1);
    store_check(kit.store);
    kit_push(&kit, "a", "2");
    client_expect(&client, WAIT_DELIVERED);
    assert_string_equal(client.text, "2");
    kit_end(&kit);
}

static void expired_events_do_not_end_a_wait(void **state)
{
    struct store_kit kit;
    struct client client = {.gone = false};
    (void)state;
    kit_start(&kit, PLENTY);
    kit_push(&kit, "a", "1");
    kit_pass(&kit, SECONDS(KIT_TTL_SECONDS));
    /* Not reaped yet, and yet gone. */
    client_wait(&client, &kit, "a", "g", SIZE_MAX);
    kit_push(&kit, "a", "2");
    client_expect(&client, WAIT_DELIVERED);
    assert_string_equal(client.text, "2");
    kit_end(&kit);
}

struct sleeper {
    struct client client;
    enum wait_outcome outcome;
};

static void *sleep_until_told(void *context)
{
    struct sleeper *sleeper = context;
    sleeper->outcome =
        store_wait(sleeper->client.kit->store, &sleeper->client.waiter, clock_monotonic_ns() + SECONDS(60));
    return NULL;
}

/* The thread really blocks: each way to end its wait must wake it, long before its deadline. */
static void check_wakes(void (*end)(struct client *client), enum wait_outcome expected)
{
    struct store_kit kit;
    struct sleeper sleeper = {.outcome = WAIT_PENDING};
    pthread_t thread;
    kit_start(&kit, PLENTY);
    client_wait(&sleeper.client, &kit, "a", "g", SIZE_MAX);
    int64_t started_at = clock_monotonic_ns();
    assert_int_equal(pthread_create(&thread, NULL, sleep_until_told, &sleeper), 0);
    end(&sleeper.client);
    pthread_join(thread, NULL);
    assert_true(clock_monotonic_ns() - started_at < SECONDS(30));
    assert_int_equal(sleeper.outcome, expected);
    store_waiter_destroy(&sleeper.client.waiter);
    kit_end(&kit);
}

static void push_1_now(struct client *client)
{
    kit_push(client->kit, "a", "1");
}

static void a_sleeping_thread_is_woken(void **state)
{
    (void)state;
    check_wakes(push_1_now, WAIT_DELIVERED);
    check_wakes(interrupt_now, WAIT_INTERRUPTED);
    check_wakes(stop_now, WAIT_STOPPED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_push_ends_the_wait),
        cmocka_unit_test(what_is_there_needs_no_wait),
        cmocka_unit_test(the_longest_waiter_is_served_first),
        cmocka_unit_test(every_group_is_served),
        cmocka_unit_test(a_limit_shares_a_batch_between_waiters),
        cmocka_unit_test(a_gone_client_costs_the_next_nothing),
        cmocka_unit_test(when_all_are_gone_the_group_keeps_it),
        cmocka_unit_test(a_partial_write_that_fails_serves_the_next),
        cmocka_unit_test(a_partial_write_that_ends_well_consumes),
        cmocka_unit_test(a_hang_up_consumes_nothing),
        cmocka_unit_test(a_hang_up_during_a_delivery_waits_for_the_outcome),
        cmocka_unit_test(a_stop_during_a_delivery_takes_nothing_back),
        cmocka_unit_test(a_stop_ends_all_waits_and_consumes_nothing),
        cmocka_unit_test(order_holds_while_a_delivery_fails),
        cmocka_unit_test(a_wait_leaves_nothing_behind),
        cmocka_unit_test(the_reaper_leaves_waiters_alone),
        cmocka_unit_test(expired_events_do_not_end_a_wait),
        cmocka_unit_test(a_sleeping_thread_is_woken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
