/* Planned events in batches with writes of all other kinds, given to the engines directly, so that a batch is what the test
 * says; the same tests on both. */
#include "storage_planned_kit.h"

#include "storage/engine.h"

enum { BATCH_MAX = 1200 };

struct batch {
    const struct storage_engine *engine;
    void *state;
    struct storage_write_list list;
    size_t count;
    struct storage_write writes[BATCH_MAX];
};

static struct batch *batch_open(const struct place *place)
{
    char reason[STORAGE_REASON_BYTES] = "";
    struct storage_options options = {.url = place->url, .log = &place->file.log};
    struct batch *batch = calloc(1, sizeof *batch);
    assert_non_null(batch);
    batch->engine = place->on_sqlite ? &storage_sqlite : &storage_postgresql;
    batch->state = batch->engine->open(&options, reason);
    assert_string_equal(reason, "");
    STAILQ_INIT(&batch->list);
    return batch;
}

static void batch_close(struct batch *batch)
{
    batch->engine->close(batch->state);
    free(batch);
}

static struct storage_write *batch_add(struct batch *batch, struct storage_write write)
{
    assert_true(batch->count < BATCH_MAX);
    struct storage_write *added = &batch->writes[batch->count++];
    *added = write;
    /* As a batch that was tried before may leave them. */
    added->id = 77777;
    added->spare_used = true;
    STAILQ_INSERT_TAIL(&batch->list, added, link);
    return added;
}

static enum storage_result batch_commit(struct batch *batch)
{
    enum storage_result result = batch->engine->commit(batch->state, &batch->list, kit_in_ms(20000));
    STAILQ_INIT(&batch->list);
    batch->count = 0;
    return result;
}

static struct storage_write publish_of(struct text payload)
{
    return (struct storage_write){
        .kind = STORAGE_PUBLISH, .channel = TEXT("a"), .event_type = TEXT("type"), .payload = payload};
}

static void all_kinds_share_a_batch(void **state)
{
    static const struct storage_planned_user users[] = {{TEXT("u"), TEXT("{}")}, {TEXT("v"), TEXT("[]")}};
    static const struct storage_planned_event given[] = {
        {0, TEXT("up"), TEXT("merged"), TEXT("v"), TEXT("1")},
        {0, TEXT("fresh"), TEXT("merged"), TEXT("w"), {NULL, 0}},
    };
    static const struct storage_planned_user known[] = {
        {TEXT("u"), TEXT("{}")}, {TEXT("v"), TEXT("[]")}, {TEXT("w"), {NULL, 0}}};
    struct place *place = place_make(*state);
    struct batch *batch = batch_open(place);
    struct storage *storage = place_open(place);
    struct storage_write *published = batch_add(batch, publish_of(TEXT("1")));
    struct storage_write *here = batch_add(batch, add_of("u", "here", "", "s1"));
    batch_add(batch, merge_users_of(users, 2));
    struct storage_write *there = batch_add(batch, add_of("u", "there", "up", ""));
    batch_add(batch,
              (struct storage_write){.kind = STORAGE_SUBSCRIBE, .user = TEXT("user"), .channel = TEXT("a")});
    struct storage_write *again = batch_add(batch, add_of("x", "again", "up", ""));
    batch_add(batch, merge_events_of(given, 2));
    batch_add(batch, (struct storage_write){
                         .kind = STORAGE_UNSUBSCRIBE, .user = TEXT("user"), .channel = TEXT("a")});
    struct storage_write *late = batch_add(batch, add_of("w", "late", "fresh", ""));
    struct storage_write *last = batch_add(batch, add_of("v", "last", "", "s2"));
    struct storage_write *behind = batch_add(batch, publish_of(TEXT("2")));
    assert_int_equal(batch_commit(batch), STORAGE_OK);
    assert_int_equal(published->id, 1);
    assert_int_equal(behind->id, 2);
    assert_int_equal(here->id, 1);
    assert_int_equal(there->id, 2);
    assert_int_equal(again->id, 2);
    assert_int_equal(late->id, position_of(storage, "fresh"));
    assert_false(here->spare_used || there->spare_used || again->spare_used || late->spare_used ||
                 last->spare_used);
    char number[PLANNED_TEXT_BYTES];
    snprintf(number, sizeof number, "%llu", (unsigned long long)last->id);
    assert_int_equal(position_of(storage, number), last->id);
    assert_int_equal(place_number(place, "SELECT count(*) FROM planned_events"), 4);
    assert_int_equal(place_number(place, "SELECT count(*) FROM planned_events WHERE name = 'merged'"), 2);
    expect_users(storage, known, 3);
    storage_close(storage);
    batch_close(batch);
    database_file_remove(&place->file);
}

/* The numbers of a batch meet ids that come in the same batch, in both orders. */
static void ids_of_one_batch_may_collide(void **state)
{
    static const struct storage_planned_event given[] = {
        {0, TEXT("3"), TEXT("merged"), TEXT("u"), {NULL, 0}}};
    struct place *place = place_make(*state);
    struct batch *batch = batch_open(place);
    struct storage *storage = place_open(place);
    struct storage_write *writes[] = {
        batch_add(batch, add_of("u", "a", "", "s1")), batch_add(batch, add_of("u", "b", "1", "")),
        batch_add(batch, merge_events_of(given, 1)),  batch_add(batch, add_of("u", "c", "4", "")),
        batch_add(batch, add_of("u", "d", "", "s4")), batch_add(batch, add_of("u", "e", "", "s5")),
    };
    assert_int_equal(batch_commit(batch), STORAGE_OK);
    assert_int_equal(writes[0]->id, 1);
    assert_false(writes[0]->spare_used);
    /* Its id is there: the first one's. */
    assert_int_equal(writes[1]->id, 1);
    assert_false(writes[1]->spare_used);
    for (size_t i = 4; i < 6; i++) {
        char id[PLANNED_TEXT_BYTES], spare_id[PLANNED_TEXT_BYTES];
        snprintf(id, sizeof id, "%llu", (unsigned long long)writes[i]->id);
        snprintf(spare_id, sizeof spare_id, "s%zu", i);
        assert_int_equal(writes[i]->spare_used, position_of(storage, spare_id) != 0);
        assert_int_equal(position_of(storage, writes[i]->spare_used ? spare_id : id), writes[i]->id);
        assert_int_equal(writes[i]->spare_used, writes[i]->id == 4 || writes[i]->id == 3);
    }
    assert_int_equal(place_number(place, "SELECT count(*) FROM planned_events"), 5);
    storage_close(storage);
    batch_close(batch);
    database_file_remove(&place->file);
}

/* Among them more bytes than a statement takes at once. */
static void many_are_added_in_one_batch(void **state)
{
    enum { COUNT = 1000, LARGE = 3 * 1024 * 1024 };
    struct place *place = place_make(*state);
    struct batch *batch = batch_open(place);
    struct storage *storage = place_open(place);
    struct storage_write *writes[COUNT];
    char(*texts)[PLANNED_TEXT_BYTES] = calloc(COUNT, sizeof *texts);
    char *large = malloc(LARGE);
    assert_non_null(texts);
    assert_non_null(large);
    memset(large, 'x', LARGE);
    merge_events(storage,
                 (const struct storage_planned_event[]){{0, TEXT("500"), TEXT(""), TEXT("u"), {NULL, 0}}}, 1);
    for (size_t i = 0; i < COUNT; i++) {
        snprintf(texts[i], PLANNED_TEXT_BYTES, "spare %zu", i);
        writes[i] = batch_add(batch, add_of("u", "n", "", texts[i]));
        if (i % 300 == 100)
            writes[i]->details = (struct text){.bytes = large, .length = LARGE};
    }
    assert_int_equal(batch_commit(batch), STORAGE_OK);
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(writes[i]->id, i + 2);
        assert_int_equal(writes[i]->spare_used, i + 2 == 500);
    }
    assert_int_equal(position_of(storage, "500"), 1);
    assert_int_equal(position_of(storage, "spare 498"), 500);
    assert_int_equal(position_of(storage, "1001"), COUNT + 1);
    assert_int_equal(place_number(place, "SELECT count(*) FROM planned_events"), COUNT + 1);
    assert_int_equal(place_number(place, "SELECT sum(length(details)) FROM planned_events"), 3 * LARGE);
    free(texts);
    free(large);
    storage_close(storage);
    batch_close(batch);
    database_file_remove(&place->file);
}

/* The database takes one of them not: nothing of the batch is stored, nor is a position lost. */
static void refused_batches_change_nothing(void **state)
{
    static const struct storage_planned_user user = {TEXT("v"), TEXT("{}")};
    static const struct storage_planned_event event = {2, TEXT("x"), TEXT("n"), TEXT("w"), {NULL, 0}};
    static const struct storage_planned_event expected[] = {
        {1, TEXT("1"), TEXT("first"), TEXT("u"), {NULL, 0}},
        {2, TEXT("2"), TEXT("next"), TEXT("u"), {NULL, 0}}};
    struct place *place = place_make(*state);
    struct batch *batch = batch_open(place);
    struct storage *storage = place_open(place);
    store(storage, add_of("u", "first", "", "spare"));
    place_run(place, place->on_sqlite
                         ? "CREATE TRIGGER r BEFORE INSERT ON planned_events WHEN new.name = 'bad'"
                           " BEGIN SELECT RAISE(ABORT, 'no'); END"
                         : "ALTER TABLE planned_events ADD CHECK (name <> 'bad')");
    batch_add(batch, publish_of(TEXT("1")));
    batch_add(batch, merge_users_of(&user, 1));
    batch_add(batch, merge_events_of(&event, 1));
    batch_add(batch, add_of("x", "good", "", "s1"));
    batch_add(batch, add_of("y", "bad", "", "s2"));
    assert_int_equal(batch_commit(batch), STORAGE_AWAY);
    expect_events(storage, expected, 1);
    assert_int_equal(place_number(place, "SELECT count(*) FROM planned_users"), 1);
    assert_int_equal(place_number(place, "SELECT count(*) FROM events"), 0);
    assert_int_equal(store(storage, add_of("u", "next", "", "s")), 2);
    expect_events(storage, expected, 2);
    storage_close(storage);
    batch_close(batch);
    database_file_remove(&place->file);
}

/* Another program holds the lock. (PostgreSQL: test_storage_planned_faults.c.) */
static void a_locked_database_changes_nothing(void **state)
{
    static const struct storage_planned_event event = {1, TEXT("x"), TEXT("n"), TEXT("w"), {NULL, 0}};
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    struct storage_write writes[] = {add_of("u", "n", "", "s"), merge_events_of(&event, 1)};
    sqlite3 *holder = NULL;
    assert_int_equal(sqlite3_open(place->file.path, &holder), SQLITE_OK);
    assert_int_equal(sqlite3_exec(holder, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(storage_write(storage, &writes[i], kit_in_ms(1500)), STORAGE_AWAY);
    expect_events(storage, NULL, 0);
    expect_users(storage, NULL, 0);
    sqlite3_close(holder);
    merge_events(storage, &event, 1);
    expect_events(storage, &event, 1);
    storage_close(storage);
    database_file_remove(&place->file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(all_kinds_share_a_batch),
        ON_BOTH(ids_of_one_batch_may_collide),
        ON_BOTH(many_are_added_in_one_batch),
        ON_BOTH(refused_batches_change_nothing),
        ON_SQLITE(a_locked_database_changes_nothing),
    };
    return cmocka_run_group_tests(tests, cluster_start, cluster_end);
}
