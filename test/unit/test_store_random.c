/* The store against a model that is plain to see: a list of events, and for each group the events it has not
 * consumed. A long random run of pushes, reservations, takes, returns and steps of the clock must agree with it at every
 * step; then the same with many threads, where for every group each event must come exactly once and each
 * producer's events in order. */
#include "store_kit.h"

#include <pthread.h>

enum {
    PLENTY = 64 * 1024 * 1024,
    STEPS = 20000,
    MODEL_EVENTS = 4096,
    MODEL_GROUPS = 3,
    OPEN_BATCHES = 8,
    RESERVATIONS = 6
};

struct model_event {
    uint64_t id;
    int64_t expires_at;
    bool consumed[MODEL_GROUPS]; /* or in a batch under way */
};

struct open_batch {
    struct batch *batch;
    int group;
};

struct held_reservation {
    struct store_reservation *reservation;
    size_t most_bytes;
};

struct model {
    struct store_kit kit;
    uint64_t random;
    struct model_event events[MODEL_EVENTS];
    size_t event_count;
    uint64_t last_id;
    struct open_batch open[OPEN_BATCHES];
    struct held_reservation held[RESERVATIONS];
};

static unsigned draw(uint64_t *random, unsigned below)
{
    /* xorshift64 (Marsaglia 2003): repeatable, and good enough to shuffle. */
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return (unsigned)(*random >> 33) % below;
}

static struct text group_name(int group)
{
    static const char *const names[MODEL_GROUPS] = {"g0", "g1", "g2"};
    return text_from(names[group]);
}

static struct model_event *model_find(struct model *model, uint64_t id)
{
    for (size_t i = 0; i < model->event_count; i++) {
        if (model->events[i].id == id)
            return &model->events[i];
    }
    fail_msg("event %llu is not in the model", (unsigned long long)id);
    return NULL;
}

/* Ids go on by one even when the key has been forgotten meanwhile: it is the only one of its shard. */
static void model_add(struct model *model, uint64_t id)
{
    assert_int_equal(id, ++model->last_id);
    int64_t expires_at = kit_now(&model->kit) + SECONDS(KIT_TTL_SECONDS);
    model->events[model->event_count++] = (struct model_event){.id = id, .expires_at = expires_at};
}

static void model_push(struct model *model)
{
    if (model->event_count < MODEL_EVENTS)
        model_add(model, kit_push(&model->kit, "a", "1"));
}

static void model_reserve(struct model *model, struct held_reservation *held)
{
    held->most_bytes = draw(&model->random, 300);
    assert_int_equal(store_reserve(model->kit.store, TEXT("a"), held->most_bytes, &held->reservation),
                     STORE_OK);
}

/* Ends a reservation in one of the two ways. */
static void model_end_reservation(struct model *model, struct held_reservation *held)
{
    if (model->event_count < MODEL_EVENTS && draw(&model->random, 3) > 0) {
        char value[300];
        size_t length = draw(&model->random, (unsigned)held->most_bytes + 1);
        struct store_pushed pushed;
        memset(value, '1', sizeof value);
        store_push_reserved(model->kit.store, held->reservation, (struct text){value, length}, &pushed);
        assert_int_equal(pushed.batch_count, 0);
        model_add(model, pushed.last_id);
    } else {
        store_unreserve(model->kit.store, held->reservation);
    }
    held->reservation = NULL;
}

/* What the group should get now, in order: the ids, at most `limit`. */
static size_t model_expect(struct model *model, int group, size_t limit, uint64_t *ids)
{
    size_t count = 0;
    for (size_t i = 0; i < model->event_count && count < limit; i++) {
        struct model_event *event = &model->events[i];
        if (!event->consumed[group] && event->expires_at > kit_now(&model->kit))
            ids[count++] = event->id;
    }
    return count;
}

static void model_take(struct model *model, struct open_batch *open)
{
    uint64_t expected[MODEL_EVENTS];
    open->group = (int)draw(&model->random, MODEL_GROUPS);
    size_t limit = draw(&model->random, 2) == 0 ? SIZE_MAX : 1 + draw(&model->random, 5);
    size_t count = model_expect(model, open->group, limit, expected);
    enum store_result result =
        store_take(model->kit.store, TEXT("a"), group_name(open->group), limit, &open->batch);
    assert_int_equal(result, count == 0 ? STORE_EMPTY : STORE_OK);
    if (count == 0)
        return;
    assert_int_equal(store_batch_count(open->batch), count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(store_batch_event(open->batch, i).id, expected[i]);
        model_find(model, expected[i])->consumed[open->group] = true;
    }
}

static void model_finish(struct model *model, struct open_batch *open)
{
    if (draw(&model->random, 2) == 0) {
        store_batch_consumed(model->kit.store, open->batch);
    } else {
        for (size_t i = 0; i < store_batch_count(open->batch); i++)
            model_find(model, store_batch_event(open->batch, i).id)->consumed[open->group] = false;
        store_batch_return(model->kit.store, open->batch);
    }
    open->batch = NULL;
}

static void model_forget_expired(struct model *model)
{
    size_t kept = 0;
    bool open = false;
    for (int i = 0; i < OPEN_BATCHES; i++)
        open = open || model->open[i].batch != NULL;
    for (size_t i = 0; i < model->event_count; i++) {
        if (open || model->events[i].expires_at > kit_now(&model->kit))
            model->events[kept++] = model->events[i];
    }
    model->event_count = kept;
}

static void model_step(struct model *model)
{
    struct open_batch *open = &model->open[draw(&model->random, OPEN_BATCHES)];
    struct held_reservation *held = &model->held[draw(&model->random, RESERVATIONS)];
    switch (draw(&model->random, 11)) {
    case 0:
        /* Now and then everything expires. */
        kit_pass(&model->kit, SECONDS(draw(&model->random, draw(&model->random, 16) == 0 ? 1000 : 10)));
        model_forget_expired(model);
        break;
    case 1:
        store_reap(model->kit.store, draw(&model->random, 4) == 0 ? SIZE_MAX : draw(&model->random, 4));
        break;
    case 2:
    case 3:
        if (open->batch != NULL)
            model_finish(model, open);
        break;
    case 4:
    case 5:
        if (open->batch == NULL)
            model_take(model, open);
        break;
    case 6:
    case 7:
    case 8:
        if (held->reservation == NULL)
            model_reserve(model, held);
        else
            model_end_reservation(model, held);
        break;
    default:
        model_push(model);
        break;
    }
    store_check(model->kit.store);
}

static void a_random_run_agrees_with_the_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct model *model = calloc(1, sizeof *model);
        assert_non_null(model);
        model->random = seed * UINT64_C(0x9E3779B97F4A7C15);
        kit_start(&model->kit, PLENTY);
        for (int i = 0; i < STEPS; i++)
            model_step(model);
        for (int i = 0; i < OPEN_BATCHES; i++) {
            if (model->open[i].batch != NULL)
                model_finish(model, &model->open[i]);
        }
        for (int i = 0; i < RESERVATIONS; i++) {
            if (model->held[i].reservation != NULL)
                model_end_reservation(model, &model->held[i]);
        }
        kit_end(&model->kit);
        free(model);
    }
}

/* --- many threads --- */

enum { PRODUCERS = 3, PUSHES = 3000, CONSUMERS = 4, KEYS = 2, GROUPS = 2 };

struct crowd {
    struct store_kit kit;
    atomic_int producers_left;
    /* How often each event came, and the last of each producer that a group has seen; one writer at a time
     * each. */
    pthread_mutex_t mutex;
    unsigned char seen[KEYS][GROUPS][PRODUCERS][PUSHES];
};

struct member {
    struct crowd *crowd;
    int number;
    uint64_t random;
    struct waiter waiter;
    int key, group;
    bool gone;
};

static const char *const crowd_keys[KEYS] = {"a", "b"};

static void note(struct member *member, struct batch *batch)
{
    struct crowd *crowd = member->crowd;
    int last[PRODUCERS] = {-1, -1, -1};
    pthread_mutex_lock(&crowd->mutex);
    for (size_t i = 0; i < store_batch_count(batch); i++) {
        struct text value = store_batch_event(batch, i).value;
        int producer, number;
        char text[32];
        snprintf(text, sizeof text, "%.*s", (int)value.length, value.bytes);
        assert_int_equal(sscanf(text, "%d.%d", &producer, &number), 2);
        crowd->seen[member->key][member->group][producer][number]++;
        assert_true(number > last[producer]);
        last[producer] = number;
    }
    pthread_mutex_unlock(&crowd->mutex);
}

static enum delivery crowd_deliver(void *context, struct batch *batch)
{
    struct member *member = context;
    if (member->gone)
        return DELIVERY_GONE;
    note(member, batch);
    store_batch_consumed(member->crowd->kit.store, batch);
    return DELIVERY_TAKEN;
}

/* Pushes, or reserves first; now and then in vain. */
static void produce_one(struct member *member, struct text key, struct text value)
{
    struct store *store = member->crowd->kit.store;
    struct store_reservation *reservation;
    struct store_pushed pushed;
    unsigned way = draw(&member->random, 3);
    if (way == 0) {
        assert_int_equal(store_reserve(store, key, 1000, &reservation), STORE_OK);
        store_unreserve(store, reservation);
    }
    if (way == 1) {
        assert_int_equal(store_reserve(store, key, 32, &reservation), STORE_OK);
        store_push_reserved(store, reservation, value, &pushed);
    } else {
        assert_int_equal(store_push(store, key, &value, 1, &pushed), STORE_OK);
    }
    kit_deliver(store, &pushed.batches);
}

static void *produce(void *context)
{
    struct member *member = context;
    for (int i = 0; i < PUSHES; i++) {
        for (int key = 0; key < KEYS; key++) {
            char text[32];
            snprintf(text, sizeof text, "%d.%d", member->number, i);
            produce_one(member, text_from(crowd_keys[key]), text_from(text));
        }
    }
    atomic_fetch_sub(&member->crowd->producers_left, 1);
    return NULL;
}

static void consume_once(struct member *member)
{
    struct store *store = member->crowd->kit.store;
    struct text key = text_from(crowd_keys[member->key]);
    struct batch *batch;
    size_t limit = draw(&member->random, 2) == 0 ? SIZE_MAX : 1 + draw(&member->random, 3);
    member->gone = draw(&member->random, 4) == 0;
    assert_int_equal(store_waiter_init(&member->waiter, limit, crowd_deliver, member), 0);
    enum store_result result =
        store_wait_begin(store, key, group_name(member->group), &member->waiter, &batch);
    if (result == STORE_EMPTY) {
        int64_t deadline_at = clock_monotonic_ns() + CLOCK_NS_PER_MS * draw(&member->random, 3);
        store_wait(store, &member->waiter, deadline_at);
    } else if (member->gone) {
        store_batch_return(store, batch);
    } else {
        note(member, batch);
        store_batch_consumed(store, batch);
    }
    store_waiter_destroy(&member->waiter);
}

static void *consume(void *context)
{
    struct member *member = context;
    while (atomic_load(&member->crowd->producers_left) > 0) {
        member->key = (int)draw(&member->random, KEYS);
        member->group = (int)draw(&member->random, GROUPS);
        consume_once(member);
    }
    return NULL;
}

static void drain(struct crowd *crowd)
{
    for (int key = 0; key < KEYS; key++) {
        for (int group = 0; group < GROUPS; group++) {
            struct member member = {.crowd = crowd, .key = key, .group = group};
            struct batch *batch;
            while (store_take(crowd->kit.store, text_from(crowd_keys[key]), group_name(group), SIZE_MAX,
                              &batch) == STORE_OK) {
                note(&member, batch);
                store_batch_consumed(crowd->kit.store, batch);
            }
        }
    }
}

static void expect_each_once(const struct crowd *crowd)
{
    const unsigned char *counts = &crowd->seen[0][0][0][0];
    for (size_t i = 0; i < sizeof crowd->seen; i++) {
        if (counts[i] != 1)
            fail_msg("an event came %u times to a group", counts[i]);
    }
}

static void a_crowd_gets_every_event_once(void **state)
{
    (void)state;
    struct crowd *crowd = calloc(1, sizeof *crowd);
    struct member members[PRODUCERS + CONSUMERS];
    pthread_t threads[PRODUCERS + CONSUMERS];
    assert_non_null(crowd);
    kit_start(&crowd->kit, PLENTY);
    pthread_mutex_init(&crowd->mutex, NULL);
    atomic_store(&crowd->producers_left, PRODUCERS);
    for (int i = 0; i < PRODUCERS + CONSUMERS; i++) {
        members[i] = (struct member){.crowd = crowd, .number = i, .random = (uint64_t)i * 7919 + 12345};
        void *(*run)(void *) = i < PRODUCERS ? produce : consume;
        assert_int_equal(pthread_create(&threads[i], NULL, run, &members[i]), 0);
    }
    for (int i = 0; i < PRODUCERS + CONSUMERS; i++)
        pthread_join(threads[i], NULL);
    store_check(crowd->kit.store);
    drain(crowd);
    expect_each_once(crowd);
    kit_end(&crowd->kit);
    pthread_mutex_destroy(&crowd->mutex);
    free(crowd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_random_run_agrees_with_the_model),
        cmocka_unit_test(a_crowd_gets_every_event_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
