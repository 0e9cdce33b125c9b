/* Batches with writes of the reference table and of all other kinds, given to the engines directly, so that a batch is what
 * the test says; the same tests on both. */
#include "storage_reference_kit.h"

#include <poll.h>

enum { BATCH_MAX = 32 };

/* --- batches --- */

struct batch {
    const struct storage_engine *engine;
    void *state;
    struct storage_write_list list;
    struct storage_write writes[BATCH_MAX];
    size_t count;
};

static void batch_open(struct batch *batch, const struct place *place)
{
    char reason[STORAGE_REASON_BYTES] = "";
    struct storage_options options = {.url = place->url, .log = &place->file.log};
    batch->engine = place->on_sqlite ? &storage_sqlite : &storage_postgresql;
    batch->state = batch->engine->open(&options, reason);
    assert_string_equal(reason, "");
    assert_non_null(batch->state);
}

static void batch_begin(struct batch *batch)
{
    STAILQ_INIT(&batch->list);
    batch->count = 0;
}

static struct storage_write *batch_add(struct batch *batch, struct storage_write write)
{
    assert_true(batch->count < BATCH_MAX);
    struct storage_write *added = &batch->writes[batch->count++];
    *added = write;
    STAILQ_INSERT_TAIL(&batch->list, added, link);
    return added;
}

static enum storage_result batch_commit(struct batch *batch, int64_t milliseconds)
{
    return batch->engine->commit(batch->state, &batch->list, kit_in_ms(milliseconds));
}

enum mixed { PIECE_0, PUBLISH_0, PIECE_1, SUBSCRIBE, SWITCH, UNSUBSCRIBE, PURGE, PUBLISH_1, MIXED };

static struct storage_write mixed_of(enum mixed kind, uint64_t generation)
{
    switch (kind) {
    case PIECE_0:
    case PIECE_1:
        return piece_of(generation, kind == PIECE_1, TEXT("[]"), now_ms);
    case SWITCH:
        return switch_of(generation, 2, now_ms);
    case PURGE:
        return purge_of(generation - 1, INT64_MIN);
    case SUBSCRIBE:
        return subscription_of(STORAGE_SUBSCRIBE);
    case UNSUBSCRIBE:
        return subscription_of(STORAGE_UNSUBSCRIBE);
    default:
        return publish_of(TEXT("1"));
    }
}

/* In each order of a ring: a purge takes the table before only behind the switch. */
static void all_kinds_share_a_batch(void **state)
{
    struct place *place = place_make(*state);
    struct batch batch;
    struct storage_write *of_kind[MIXED];
    batch_open(&batch, place);
    struct storage *storage = place_open(place);
    for (uint64_t rotation = 0; rotation < MIXED; rotation++) {
        uint64_t generation = 100 + rotation;
        size_t places[MIXED];
        batch_begin(&batch);
        for (size_t i = 0; i < MIXED; i++) {
            enum mixed kind = (enum mixed)((i + rotation) % MIXED);
            places[kind] = i;
            of_kind[kind] = batch_add(&batch, mixed_of(kind, generation));
        }
        assert_int_equal(batch_commit(&batch, 5000), STORAGE_OK);
        bool purged = places[PURGE] > places[SWITCH] && rotation > 0;
        assert_int_equal(of_kind[PURGE]->purged, purged ? 2 : 0);
        bool in_order = places[PUBLISH_0] < places[PUBLISH_1];
        assert_int_equal(of_kind[PUBLISH_0]->id, rotation * 2 + (in_order ? 1 : 2));
        assert_int_equal(of_kind[PUBLISH_1]->id, rotation * 2 + (in_order ? 2 : 1));
        assert_int_equal(place_number(place, "SELECT count(*) FROM user_subscriptions"),
                         places[SUBSCRIBE] > places[UNSUBSCRIBE]);
        expect_table(storage, generation, 2, now_ms);
        expect_piece(storage, generation, 0, TEXT("[]"));
        expect_piece(storage, generation, 1, TEXT("[]"));
        expect_purged(storage, generation - 1, INT64_MIN, purged || rotation == 0 ? 0 : 2);
        kit_subscription(storage, STORAGE_UNSUBSCRIBE, "user", "a");
    }
    storage_close(storage);
    batch.engine->close(batch.state);
    database_file_remove(&place->file);
}

/* Each of several purges is told its own number. */
static void purges_of_one_batch_are_told_apart(void **state)
{
    struct place *place = place_make(*state);
    struct batch batch;
    batch_open(&batch, place);
    batch_begin(&batch);
    for (uint64_t generation = 1; generation <= 3; generation++)
        for (uint32_t number = 0; number < generation; number++)
            batch_add(&batch, piece_of(generation, number, TEXT("[]"), now_ms));
    const struct storage_write *purges[4];
    batch_add(&batch, subscription_of(STORAGE_UNSUBSCRIBE));
    purges[0] = batch_add(&batch, purge_of(2, INT64_MIN));
    batch_add(&batch, switch_of(3, 3, now_ms));
    purges[1] = batch_add(&batch, purge_of(3, INT64_MIN));
    batch_add(&batch, publish_of(TEXT("1")));
    purges[2] = batch_add(&batch, purge_of(0, INT64_MAX));
    batch_add(&batch, switch_of(4, 0, now_ms));
    purges[3] = batch_add(&batch, purge_of(3, INT64_MAX));
    assert_int_equal(batch_commit(&batch, 5000), STORAGE_OK);
    static const uint32_t expected[] = {2, 0, 1, 3};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(purges[i]->purged, expected[i]);
    assert_int_equal(place_number(place, "SELECT count(*) FROM reference_pieces"), 0);
    batch.engine->close(batch.state);
    database_file_remove(&place->file);
}

/* More than may be copied at once; and a purge has to do with all of it. */
static void large_batches_are_stored_whole(void **state)
{
    enum { PIECES = STORAGE_PURGE_PIECES, PUBLISH_EVERY = 4 };
    struct place *place = place_make(*state);
    struct batch batch;
    char *large = make_large();
    batch_open(&batch, place);
    batch_begin(&batch);
    for (uint32_t number = 0; number < PIECES; number++) {
        size_t length = number % 3 == 0 ? LARGE : number % 3 == 1 ? MEGABYTE / 13 * 13 : 0;
        batch_add(&batch, piece_of(1, number, (struct text){large, length}, now_ms));
        if (number % PUBLISH_EVERY == 0)
            batch_add(&batch, publish_of((struct text){large, MEGABYTE / 13 * 13}));
    }
    batch_add(&batch, switch_of(1, PIECES, now_ms));
    assert_int_equal(batch_commit(&batch, 60000), STORAGE_OK);
    struct storage *storage = place_open(place);
    for (size_t i = 0; i < batch.count; i++)
        if (batch.writes[i].kind == STORAGE_REFERENCE_PIECE)
            expect_piece(storage, 1, batch.writes[i].number, batch.writes[i].payload);
    assert_int_equal(place_number(place, "SELECT count(*) FROM events"), PIECES / PUBLISH_EVERY);
    expect_stored(storage, switch_of(2, 0, now_ms));
    expect_purged(storage, 1, INT64_MIN, PIECES);
    storage_close(storage);
    free(large);
    batch.engine->close(batch.state);
    database_file_remove(&place->file);
}

/* --- what is not taken --- */

/* A table of two pieces, and a batch that would replace it, with everything else. */
static void fill_replacing(struct batch *batch, struct text content)
{
    batch_begin(batch);
    batch_add(batch, publish_of(TEXT("1")));
    batch_add(batch, piece_of(31, 0, TEXT("[]"), now_ms));
    batch_add(batch, subscription_of(STORAGE_SUBSCRIBE));
    batch_add(batch, switch_of(31, 2, now_ms + 1));
    batch_add(batch, purge_of(30, INT64_MAX));
    batch_add(batch, piece_of(31, 1, content, now_ms));
}

static void expect_unchanged(const struct place *place, struct storage *storage)
{
    expect_table(storage, 30, 2, now_ms);
    expect_piece(storage, 30, 0, TEXT("[]"));
    expect_piece(storage, 30, 1, TEXT("[]"));
    assert_int_equal(count_pieces(place, 31), 0);
    assert_int_equal(place_number(place, "SELECT count(*) FROM events"), 0);
    assert_int_equal(place_number(place, "SELECT count(*) FROM user_subscriptions"), 0);
}

static void refused_batches_leave_nothing(void **state)
{
    struct place *place = place_make(*state);
    struct batch batch;
    batch_open(&batch, place);
    struct storage *storage = place_open(place);
    store_pieces(storage, 30, 2, now_ms);
    expect_stored(storage, switch_of(30, 2, now_ms));
    place_run(place, place->on_sqlite
                         ? "CREATE TRIGGER no_bad BEFORE INSERT ON reference_pieces WHEN NEW.content = 'bad'"
                           " BEGIN SELECT RAISE(ABORT, 'bad'); END"
                         : "ALTER TABLE reference_pieces ADD CHECK (content <> 'bad')");
    fill_replacing(&batch, TEXT("bad"));
    assert_int_equal(batch_commit(&batch, 5000), STORAGE_AWAY);
    expect_unchanged(place, storage);
    fill_replacing(&batch, TEXT("good"));
    assert_int_equal(batch_commit(&batch, 5000), STORAGE_OK);
    assert_int_equal(batch.writes[0].id, 1);
    expect_table(storage, 31, 2, now_ms + 1);
    expect_piece(storage, 31, 1, TEXT("good"));
    assert_int_equal(count_pieces(place, 30), 0);
    storage_close(storage);
    batch.engine->close(batch.state);
    database_file_remove(&place->file);
}

static void expect_recovery(struct storage *storage)
{
    int64_t deadline_at = kit_patience();
    struct storage_reference reference;
    while (storage_reference(storage, &reference, kit_in_ms(1000)) != STORAGE_OK) {
        assert_true(clock_monotonic_ns() < deadline_at);
        poll(NULL, 0, 10);
    }
}

/* SQLite: another program holds the lock. PostgreSQL: the server is not there. */
static void while_the_database_is_away_nothing_changes(void **state)
{
    struct place *place = place_make(*state);
    struct batch batch;
    batch_open(&batch, place);
    struct storage *storage = place_open(place);
    store_pieces(storage, 30, 2, now_ms);
    expect_stored(storage, switch_of(30, 2, now_ms));
    sqlite3 *holder = NULL;
    if (place->on_sqlite) {
        assert_int_equal(sqlite3_open(place->file.path, &holder), SQLITE_OK);
        assert_int_equal(sqlite3_exec(holder, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    } else {
        assert_int_equal(postgres_stop(cluster, true), 0);
    }
    fill_replacing(&batch, TEXT("good"));
    assert_int_equal(batch_commit(&batch, 300), STORAGE_AWAY);
    if (!place->on_sqlite) {
        struct storage_reference reference;
        struct expected_piece unexpected = {.visits = 0};
        bool found = true;
        assert_int_equal(storage_reference(storage, &reference, kit_in_ms(300)), STORAGE_AWAY);
        assert_int_equal(
            storage_reference_piece(storage, 30, 0, compare_piece, &unexpected, &found, kit_in_ms(300)),
            STORAGE_AWAY);
        assert_int_equal(unexpected.visits, 0);
        assert_int_equal(postgres_restart(cluster), 0);
    }
    sqlite3_close(holder);
    expect_recovery(storage);
    expect_unchanged(place, storage);
    storage_close(storage);
    batch.engine->close(batch.state);
    database_file_remove(&place->file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(all_kinds_share_a_batch),
        ON_BOTH(purges_of_one_batch_are_told_apart),
        ON_BOTH(large_batches_are_stored_whole),
        ON_BOTH(refused_batches_leave_nothing),
        ON_BOTH(while_the_database_is_away_nothing_changes),
    };
    return cmocka_run_group_tests(tests, cluster_start, cluster_end);
}
