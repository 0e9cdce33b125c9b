/* The metrics against a model that is plain to see: a list of the events that were taken, recounted at each query. A long
 * random run of events, steps of the clocks (back too), new tables and queries must agree with it at every step. */
#include "metrics_kit.h"

enum {
    PLENTY = 256 * 1024 * 1024,
    STEPS = 4000,
    MODEL_EVENTS = 400000,
    USERS = 3000,
    TYPES = 6000,
    PLANS = 5,
    IDS = 60000,
    NOBODY = -1,
    NOTHING = -2, /* in the table, without a plan or region */
};

struct model_event {
    int64_t second;
    int user, type;
};

struct model {
    struct metrics_kit kit;
    uint64_t random;
    int64_t retention_s;
    struct model_event *events; /* those in the ring */
    size_t event_count;
    int64_t remembered[IDS]; /* the last second of the monotonic clock, 0: never */
    uint64_t generation;
    int64_t table_ms;
    int plan[USERS], region[USERS]; /* NOBODY for the plan: not in the table */
    size_t plan_count, region_count;
    /* what a window should have */
    uint64_t by_plan[PLANS], by_region[USERS], by_type[TYPES];
    uint64_t total, unknown, unique;
};

static unsigned draw(uint64_t *random, unsigned below)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return (unsigned)(*random >> 33) % below;
}

static int64_t now_s(struct model *model)
{
    return kit_wall_ms(&model->kit) / 1000;
}

static int64_t monotonic_s(struct model *model)
{
    return atomic_load(&model->kit.monotonic_ms) / 1000;
}

/* The metrics look at the clock: what is not in the ring any more is gone for good. */
static void model_observe(struct model *model)
{
    size_t kept = 0;
    for (size_t i = 0; i < model->event_count; i++) {
        int64_t second = model->events[i].second;
        if (second > now_s(model) - model->retention_s && second <= now_s(model) + METRICS_SKEW_S)
            model->events[kept++] = model->events[i];
    }
    model->event_count = kept;
}

static enum metrics_result model_ingest(struct model *model, unsigned id, int user, int type, int64_t wall_ms)
{
    if (model->remembered[id] >= monotonic_s(model))
        return METRICS_SEEN;
    int64_t now_ms = kit_wall_ms(&model->kit);
    if (wall_ms > now_ms + METRICS_SKEW_S * 1000)
        return METRICS_SKEWED;
    if (wall_ms < now_ms - METRICS_LATENESS_S * 1000)
        return METRICS_LATE;
    int64_t second = wall_ms / 1000;
    int64_t ahead_s = second > now_s(model) ? second - now_s(model) : 0;
    model->remembered[id] = monotonic_s(model) + ahead_s + model->retention_s;
    if (second > now_s(model) - model->retention_s) {
        assert_true(model->event_count < MODEL_EVENTS);
        model->events[model->event_count++] = (struct model_event){second, user, type};
    }
    return METRICS_ACCEPTED;
}

/* --- events --- */

enum { BATCH = 300 };

struct batch {
    struct metrics_event events[BATCH];
    enum metrics_result results[BATCH];
    char ids[BATCH][16], users[BATCH][16], types[BATCH][16], timestamps[BATCH][CLOCK_RFC3339_BYTES];
    enum metrics_result expected[BATCH];
};

static void make_event(struct model *model, struct batch *batch, unsigned i)
{
    uint64_t *random = &model->random;
    unsigned id = draw(random, draw(random, 10) == 0 ? 100 : IDS);
    unsigned user = draw(random, draw(random, 2) == 0 ? 20 : USERS);
    unsigned type = draw(random, draw(random, 3) > 0 ? 10 : TYPES);
    int64_t wall_ms = kit_wall_ms(&model->kit);
    if (draw(random, 3) > 0)
        wall_ms += (int64_t)draw(random, 244000) - 122000;
    snprintf(batch->ids[i], sizeof batch->ids[i], "e%u", id);
    snprintf(batch->users[i], sizeof batch->users[i], "u%u", user);
    snprintf(batch->types[i], sizeof batch->types[i], "t%u", type);
    clock_format_rfc3339(wall_ms, batch->timestamps[i]);
    batch->events[i] = (struct metrics_event){.id = text_from(batch->ids[i]),
                                              .user = text_from(batch->users[i]),
                                              .type = text_from(batch->types[i]),
                                              .timestamp = text_from(batch->timestamps[i])};
    batch->expected[i] = model_ingest(model, id, (int)user, (int)type, wall_ms);
}

static void step_ingest(struct model *model)
{
    static struct batch batch;
    unsigned count = 1 + draw(&model->random, BATCH);
    model_observe(model);
    for (unsigned i = 0; i < count; i++)
        make_event(model, &batch, i);
    metrics_ingest(model->kit.metrics, batch.events, count, batch.results);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(batch.results[i], batch.expected[i]);
}

/* --- tables --- */

static void add_user(struct model *model, struct reference_builder *builder, unsigned user, unsigned regions)
{
    char id[16], plan[16], region[16];
    int p = (int)draw(&model->random, PLANS + 1), r = (int)draw(&model->random, regions + 1);
    snprintf(id, sizeof id, "u%u", user);
    snprintf(plan, sizeof plan, "p%d", p);
    snprintf(region, sizeof region, "r%d", r);
    struct text none = {.bytes = NULL};
    model->plan[user] = p == PLANS ? NOTHING : p;
    model->region[user] = r == (int)regions ? NOTHING : r;
    assert_int_equal(reference_add(builder, text_from(id), p == PLANS ? none : text_from(plan),
                                   r == (int)regions ? none : text_from(region), TEXT("{}")),
                     REFERENCE_OK);
}

/* How many different values the users of the table have. */
static size_t count_values(const int values[USERS], const int plans[USERS])
{
    static bool seen[USERS];
    size_t count = 0;
    memset(seen, 0, sizeof seen);
    for (int user = 0; user < USERS; user++) {
        if (plans[user] == NOBODY || values[user] == NOTHING || seen[values[user]])
            continue;
        seen[values[user]] = true;
        count++;
    }
    return count;
}

static void step_table(struct model *model)
{
    int64_t wall_ms = model->table_ms + (int64_t)draw(&model->random, 100) - 20;
    struct reference_builder *builder = metrics_reference_begin(model->kit.metrics, wall_ms);
    assert_non_null(builder);
    if (model->generation > 0 && wall_ms < model->table_ms) {
        struct reference *stale = reference_finish(builder);
        assert_int_equal(metrics_set_reference(model->kit.metrics, stale), METRICS_SET_STALE);
        reference_release(stale);
        return;
    }
    unsigned part = 1 + draw(&model->random, 4), regions = draw(&model->random, 2) == 0 ? 3 : USERS - 1;
    for (unsigned user = 0; user < USERS; user++) {
        model->plan[user] = NOBODY;
        if (draw(&model->random, part) == 0)
            add_user(model, builder, user, regions);
    }
    struct reference *reference = reference_finish(builder);
    assert_int_equal(metrics_set_reference(model->kit.metrics, reference), METRICS_SET_OK);
    reference_release(reference);
    model->table_ms = wall_ms;
    model->generation++;
    model->plan_count = count_values(model->plan, model->plan);
    model->region_count = count_values(model->region, model->plan);
}

/* --- queries --- */

static void model_recount(struct model *model, int64_t window_s)
{
    static bool present[USERS];
    memset(present, 0, sizeof present);
    memset(model->by_plan, 0, sizeof model->by_plan);
    memset(model->by_region, 0, sizeof model->by_region);
    memset(model->by_type, 0, sizeof model->by_type);
    model->total = model->unknown = model->unique = 0;
    for (size_t i = 0; i < model->event_count; i++) {
        const struct model_event *event = &model->events[i];
        if (event->second > now_s(model) || event->second <= now_s(model) - window_s)
            continue;
        model->total++;
        model->by_type[event->type]++;
        int plan = model->plan[event->user], region = model->region[event->user];
        if (plan == NOBODY) {
            model->unknown++;
            continue;
        }
        model->unique += !present[event->user];
        present[event->user] = true;
        if (plan != NOTHING)
            model->by_plan[plan]++;
        if (region != NOTHING)
            model->by_region[region]++;
    }
}

/* Each value of the list has its count, and those that are not listed have none. */
static void compare(const struct metrics_list *list, const uint64_t *expected, size_t length)
{
    uint64_t total = 0, listed = 0;
    for (size_t i = 0; i < length; i++)
        total += expected[i];
    for (size_t i = 0; i < list->length; i++) {
        uint64_t value;
        struct text name = list->counts[i].name;
        name.bytes++;
        name.length--;
        assert_int_equal(text_parse_number(name, 0, length - 1, &value), 0);
        assert_int_equal(list->counts[i].count, expected[value]);
        listed += list->counts[i].count;
    }
    assert_int_equal(listed, total);
}

static void step_query(struct model *model)
{
    struct metrics_answer answer;
    unsigned window_s = 1 + draw(&model->random, (unsigned)model->retention_s);
    model_observe(model);
    model_recount(model, window_s);
    assert_int_equal(metrics_query(model->kit.metrics, window_s, &answer), 0);
    assert_int_equal(answer.generation, model->generation);
    assert_int_equal(answer.events, model->total);
    assert_int_equal(answer.unknown, model->unknown);
    assert_int_equal(answer.unique_users, model->unique);
    assert_int_equal(answer.by_plan.length, model->plan_count);
    assert_int_equal(answer.by_region.length, model->region_count);
    compare(&answer.by_plan, model->by_plan, PLANS);
    compare(&answer.by_region, model->by_region, USERS);
    compare(&answer.by_type, model->by_type, TYPES);
    for (size_t i = 0; i < answer.by_type.length; i++)
        assert_true(answer.by_type.counts[i].count > 0);
    metrics_answer_free(&answer);
}

/* --- the clocks --- */

static void step_clock(struct model *model)
{
    uint64_t *random = &model->random;
    switch (draw(random, 40)) {
    case 0:
        kit_step(&model->kit, -(int64_t)draw(random, 5000));
        break;
    case 1:
        kit_step(&model->kit, -(int64_t)draw(random, 200000));
        break;
    case 2:
        kit_step(&model->kit, (int64_t)draw(random, 200000));
        break;
    case 3:
        kit_step(&model->kit, ((int64_t)draw(random, 3) - 1) * draw(random, 4000000));
        break;
    default:
        kit_pass(&model->kit, draw(random, draw(random, 4) == 0 ? 20000 : 1500));
        break;
    }
}

static void model_step(struct model *model)
{
    switch (draw(&model->random, 16)) {
    case 0:
        if (draw(&model->random, 4) == 0)
            step_table(model);
        break;
    case 1:
        model_observe(model);
        metrics_round(model->kit.metrics, NULL);
        break;
    case 2:
        if (draw(&model->random, 8) == 0) {
            model_observe(model);
            metrics_check(model->kit.metrics);
        }
        break;
    case 3:
    case 4:
    case 5:
    case 6:
        step_query(model);
        break;
    case 7:
    case 8:
    case 9:
        step_clock(model);
        break;
    default:
        step_ingest(model);
        break;
    }
}

static void a_random_run_agrees_with_the_model(void **state)
{
    (void)state;
    /* With 136 s the live seconds fill their ring exactly. */
    static const uint32_t retentions[] = {1800, 300, 136, 60, 7};
    /* A build with sanitizers gets less to do. */
    const char *scale = getenv("TEST_TIME_SCALE");
    int steps = scale != NULL && atof(scale) > 1 ? STEPS / 4 : STEPS;
    for (size_t seed = 0; seed < sizeof retentions / sizeof retentions[0]; seed++) {
        struct model *model = calloc(1, sizeof *model);
        assert_non_null(model);
        model->events = calloc(MODEL_EVENTS, sizeof model->events[0]);
        assert_non_null(model->events);
        model->random = (seed + 1) * UINT64_C(0x9E3779B97F4A7C15);
        model->retention_s = retentions[seed];
        for (int user = 0; user < USERS; user++)
            model->plan[user] = NOBODY;
        kit_start(&model->kit, retentions[seed], PLENTY);
        for (int i = 0; i < steps; i++)
            model_step(model);
        kit_end(&model->kit);
        free(model->events);
        free(model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_random_run_agrees_with_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
