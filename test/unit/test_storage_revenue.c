/* Revenue in the storage: sums, checkpoints, and who is overtaken; the same tests on both engines. */
#include "storage_revenue_kit.h"

#include "storage/engine.h"

#include <pthread.h>

/* --- sums --- */

static void sums_are_exact(void **state)
{
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    for (uint64_t i = 0; i < 10; i++)
        count_revenue(storage, "f", i, i + 1, "tenth", "0.1");
    expect_revenue(storage, "tenth", "1");
    count_revenue(storage, "f", 10, 11, "large", "1000000000000000.01");
    count_revenue(storage, "f", 11, 12, "large", "0.01");
    expect_revenue(storage, "large", "1000000000000000.02");
    count_revenue(storage, "f", 12, 13, "small", "0.000000000000000001");
    count_revenue(storage, "f", 13, 14, "small", "99999999999999999");
    expect_revenue(storage, "small", "99999999999999999.000000000000000001");
    count_revenue(storage, "f", 14, 15, "negative", "-20.05");
    expect_revenue(storage, "negative", "-20.05");
    count_revenue(storage, "f", 15, 16, "negative", "20.050");
    expect_revenue(storage, "negative", "0");
    count_revenue(storage, "f", 16, 17, "negative", "-0.5");
    expect_revenue(storage, "negative", "-0.5");
    storage_close(storage);
    database_file_remove(&place->file);
}

/* All that decimal_parse takes. */
static void amounts_have_many_notations(void **state)
{
    static const char *const amounts[] = {"0",   "-0",  "0e-99999999", "1E+2",  "150e-2",   "-2.5e0", "0.1E1",
                                          "1.0", "0.0", "-0.000",      "0E999", "1000e-21", "-1E-18"};
    static const char *const sums[] = {"0",   "0",   "0",   "100", "101.5", "99",
                                       "100", "101", "101", "101", "101",   "101.000000000000000001",
                                       "101"};
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    for (size_t i = 0; i < sizeof amounts / sizeof amounts[0]; i++) {
        count_revenue(storage, "f", i, i + 1, "u", amounts[i]);
        expect_revenue(storage, "u", sums[i]);
    }
    char *zeros = malloc(40000);
    assert_non_null(zeros);
    snprintf(zeros, 40000, "0.%039990d", 0);
    count_revenue(storage, "f", 13, 14, "u", zeros);
    expect_revenue(storage, "u", "101");
    free(zeros);
    storage_close(storage);
    database_file_remove(&place->file);
}

static void users_are_added_or_known(void **state)
{
    static const struct storage_revenue first[] = {
        {TEXT("b"), TEXT("1")}, {TEXT(""), TEXT("2")}, {TEXT("\xC3\xA4 'x'"), TEXT("3")}};
    static const struct storage_revenue second[] = {
        {TEXT("a"), TEXT("10")}, {TEXT("b"), TEXT("20")}, {TEXT("B"), TEXT("30")}};
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    expect_revenue(storage, "b", "");
    count_revenues(storage, "f", 0, 30, first, 3);
    count_revenues(storage, "f", 30, 60, second, 3);
    expect_revenue(storage, "a", "10");
    expect_revenue(storage, "b", "21");
    expect_revenue(storage, "B", "30");
    expect_revenue(storage, "", "2");
    expect_revenue(storage, "\xC3\xA4 'x'", "3");
    expect_revenue(storage, "c", "");
    assert_int_equal(place_number(place, "SELECT count(*) FROM users_revenue"), 5);
    /* Nothing but lines that count for nobody. */
    count_revenues(storage, "f", 60, 90, NULL, 0);
    expect_checkpoint(storage, "f", 90);
    storage_close(storage);
    database_file_remove(&place->file);
}

static void sums_stay_decimals(void **state)
{
    static const char largest[] = "999999999999999999999999999999999999.999999999999999999";
    const struct storage_revenue revenues[] = {{TEXT("new"), TEXT("1")},
                                               {TEXT("full"), TEXT("0.000000000000000001")}};
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    count_revenue(storage, "f", 0, 10, "full", largest);
    struct storage_write write = count_of("f", 10, 20, revenues, 2);
    assert_int_equal(kit_write(storage, &write), STORAGE_OK);
    assert_true(write.overflowed);
    assert_false(write.overtaken);
    expect_revenue(storage, "full", largest);
    expect_revenue(storage, "new", "");
    expect_checkpoint(storage, "f", 10);
    /* A new file would have no checkpoint still. */
    write = count_of("g", 0, 20, revenues, 2);
    assert_int_equal(kit_write(storage, &write), STORAGE_OK);
    assert_true(write.overflowed);
    expect_checkpoint(storage, "g", 0);
    write = count_of("g", 5, 20, revenues, 2);
    assert_int_equal(kit_write(storage, &write), STORAGE_OK);
    assert_true(write.overtaken);
    assert_false(write.overflowed);
    count_revenue(storage, "f", 10, 20, "full", "-1e35");
    expect_revenue(storage, "full", "899999999999999999999999999999999999.999999999999999999");
    count_revenue(storage, "f", 20, 30, "less", "-999999999999999999999999999999999999");
    count_revenue(storage, "f", 30, 40, "less", "-0.999999999999999999");
    write = count_of("f", 40, 50, &(struct storage_revenue){TEXT("less"), TEXT("-1e-18")}, 1);
    assert_int_equal(kit_write(storage, &write), STORAGE_OK);
    assert_true(write.overflowed);
    expect_revenue(storage, "less", "-999999999999999999999999999999999999.999999999999999999");
    storage_close(storage);
    database_file_remove(&place->file);
}

static void invalid_writes_are_not_taken(void **state)
{
    static const struct storage_revenue good = {TEXT("u"), TEXT("1")};
    static struct storage_revenue many[STORAGE_REVENUES_MAX + 1];
    static const char *const amounts[] = {"", "x", "1 ", "+1", "NaN", "1e36", "0.0000000000000000001", ".5"};
    char file[STORAGE_FILE_BYTES + 2] = "";
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    memset(file, 'f', STORAGE_FILE_BYTES + 1);
    struct storage_write writes[16] = {
        count_of("", 0, 1, &good, 1),
        count_of(file, 0, 1, &good, 1),
        count_of("f", 1, 1, &good, 1),
        count_of("f", 2, 1, &good, 1),
        count_of("f", 0, UINT64_C(1) << 63, &good, 1),
        count_of("f", 0, 1, many, STORAGE_REVENUES_MAX + 1),
        count_of("f", 0, 1, &good, 1),
    };
    writes[6].lines_after = UINT64_C(1) << 63;
    struct storage_revenue bad[8];
    for (size_t i = 0; i < 8; i++) {
        bad[i] = (struct storage_revenue){.user = TEXT("u"), .amount = text_from(amounts[i])};
        writes[7 + i] = count_of("f", 0, 1, &bad[i], 1);
    }
    for (size_t i = 0; i < 15; i++) {
        assert_int_equal(kit_write(storage, &writes[i]), STORAGE_NO_MEMORY);
        assert_int_equal(storage_submit(storage, &writes[i]), -1);
    }
    expect_revenue(storage, "u", "");
    expect_checkpoint(storage, "f", 0);
    file[STORAGE_FILE_BYTES] = '\0';
    count_revenue(storage, file, 0, INT64_MAX, "u", "1");
    expect_checkpoint(storage, file, INT64_MAX);
    storage_close(storage);
    database_file_remove(&place->file);
}

/* --- checkpoints --- */

static void the_overtaken_change_nothing(void **state)
{
    static const struct storage_revenue revenue = {TEXT("u"), TEXT("1")};
    static const uint64_t elsewhere[] = {0, 99, 101, 200, INT64_MAX - 1};
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    count_revenue(storage, "f", 0, 100, "u", "5");
    for (size_t i = 0; i < sizeof elsewhere / sizeof elsewhere[0]; i++) {
        struct storage_write write = count_of("f", elsewhere[i], INT64_MAX, &revenue, 1);
        assert_int_equal(kit_write(storage, &write), STORAGE_OK);
        assert_true(write.overtaken);
        assert_false(write.overflowed);
        expect_checkpoint(storage, "f", 100);
    }
    /* Without a checkpoint it stands at 0. */
    struct storage_write write = count_of("g", 1, 2, &revenue, 1);
    assert_int_equal(kit_write(storage, &write), STORAGE_OK);
    assert_true(write.overtaken);
    expect_checkpoint(storage, "g", 0);
    expect_revenue(storage, "u", "5");
    count_revenue(storage, "g", 0, 50, "u", "1");
    count_revenue(storage, "f", 100, 110, "u", "1");
    expect_checkpoint(storage, "g", 50);
    expect_checkpoint(storage, "f", 110);
    expect_revenue(storage, "u", "7");
    storage_close(storage);
    database_file_remove(&place->file);
}

struct seen_checkpoints {
    size_t count;
    size_t most;
    char file[4][STORAGE_FILE_BYTES + 1];
};

static bool see_checkpoint(void *context, struct text file, const struct storage_checkpoint *checkpoint)
{
    struct seen_checkpoints *seen = context;
    if (seen->count < 4)
        snprintf(seen->file[seen->count], sizeof seen->file[0], "%.*s", (int)file.length, file.bytes);
    assert_int_equal(checkpoint->lines, checkpoint->position / 10);
    return ++seen->count < seen->most;
}

static struct seen_checkpoints seen_checkpoints(struct storage *storage, size_t most)
{
    struct seen_checkpoints seen = {.most = most};
    assert_int_equal(storage_checkpoints(storage, see_checkpoint, &seen, kit_patience()), STORAGE_OK);
    return seen;
}

/* What comes from now on has a later time than what was. */
static void wait_for_next_millisecond(void)
{
    int64_t then_ms = clock_wall_ms();
    while (clock_wall_ms() <= then_ms)
        usleep(100);
}

static void the_newest_checkpoints_come_first(void **state)
{
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    assert_int_equal(seen_checkpoints(storage, 100).count, 0);
    static const char *const files[] = {"b", "a", "c"};
    for (size_t i = 0; i < 3; i++) {
        count_revenue(storage, files[i], 0, 10, "u", "1");
        wait_for_next_millisecond();
    }
    count_revenue(storage, "b", 10, 20, "u", "1");
    struct seen_checkpoints seen = seen_checkpoints(storage, 100);
    assert_int_equal(seen.count, 3);
    assert_string_equal(seen.file[0], "b");
    assert_string_equal(seen.file[1], "c");
    assert_string_equal(seen.file[2], "a");
    assert_int_equal(seen_checkpoints(storage, 2).count, 2);
    place_run(place, place->on_sqlite
                         ? "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1100)"
                           " INSERT INTO journal_checkpoints SELECT 'old ' || i, 10, 1, i FROM n"
                         : "INSERT INTO journal_checkpoints SELECT 'old ' || i, 10, 1,"
                           " timestamptz 'epoch' + i * interval '1 second' FROM generate_series(1, 1100) i");
    seen = seen_checkpoints(storage, 9999);
    assert_int_equal(seen.count, STORAGE_CHECKPOINTS_MAX);
    assert_string_equal(seen.file[3], "old 1100");
    storage_close(storage);
    database_file_remove(&place->file);
}

static void a_new_storage_finds_all(void **state)
{
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    count_revenue(storage, "f", 0, 70, "u", "-1.5");
    storage_close(storage);
    storage = place_open(place);
    expect_revenue(storage, "u", "-1.5");
    expect_checkpoint(storage, "f", 70);
    count_revenue(storage, "f", 70, 80, "u", "0.25");
    expect_revenue(storage, "u", "-1.25");
    storage_close(storage);
    database_file_remove(&place->file);
}

/* What is no decimal was put there by somebody else. */
static void foreign_sums_are_not_shown(void **state)
{
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    char amount[STORAGE_REVENUE_BYTES];
    bool found = true;
    place_run(place, "INSERT INTO users_revenue VALUES ('u', 'NaN')");
    place_run(place, "INSERT INTO users_revenue VALUES ('v', '2.50')");
    assert_int_equal(storage_revenue(storage, TEXT("u"), amount, &found, kit_patience()), STORAGE_AWAY);
    assert_false(found);
    expect_revenue(storage, "v", "2.5");
    storage_close(storage);
    database_file_remove(&place->file);
}

/* --- two processors --- */

enum { END = 600, USERS = 3 };

struct processor {
    pthread_t thread;
    struct storage *storage;
    uint64_t counted; /* bytes */
    unsigned overtaken;
    unsigned seed;
};

/* Each byte is 0.01 for each user. */
static void *processor_main(void *context)
{
    struct processor *processor = context;
    uint64_t position = 0;
    while (position < END) {
        uint64_t after = position + 1 + (uint64_t)rand_r(&processor->seed) % 20;
        after = after > END ? END : after;
        char amount[24];
        snprintf(amount, sizeof amount, "%llue-2", (unsigned long long)(after - position));
        const struct storage_revenue revenues[USERS] = {
            {TEXT("a"), text_from(amount)}, {TEXT("b"), text_from(amount)}, {TEXT("c"), text_from(amount)}};
        struct storage_write write = count_of("f", position, after, revenues, USERS);
        if (kit_write(processor->storage, &write) != STORAGE_OK)
            continue;
        processor->counted += write.overtaken ? 0 : after - position;
        processor->overtaken += write.overtaken ? 1 : 0;
        struct storage_checkpoint checkpoint;
        bool found;
        assert_int_equal(
            storage_checkpoint(processor->storage, TEXT("f"), &checkpoint, &found, kit_patience()),
            STORAGE_OK);
        position = checkpoint.position;
    }
    return NULL;
}

static void processors_count_each_part_once(void **state)
{
    struct place *place = place_make(*state);
    struct processor processors[2] = {{.seed = 1}, {.seed = 2}};
    for (size_t i = 0; i < 2; i++)
        processors[i].storage = place_open(place);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&processors[i].thread, NULL, processor_main, &processors[i]), 0);
    for (size_t i = 0; i < 2; i++)
        pthread_join(processors[i].thread, NULL);
    assert_int_equal(processors[0].counted + processors[1].counted, END);
    assert_true(processors[0].overtaken + processors[1].overtaken > 0);
    expect_revenue(processors[0].storage, "a", "6");
    expect_revenue(processors[0].storage, "b", "6");
    expect_revenue(processors[0].storage, "c", "6");
    for (size_t i = 0; i < 2; i++)
        storage_close(processors[i].storage);
    database_file_remove(&place->file);
}

/* --- a database of version 3 --- */

/* What later versions added is taken away again. */
static const char back_to_version_3[] = "DROP TABLE users_revenue; DROP TABLE journal_checkpoints;";
static const char sqlite_version_3[] = "PRAGMA user_version = 3;";
static const char postgresql_version_3[] =
    "ALTER TABLE write_batches DROP COLUMN counted; UPDATE schema_version SET version = 3;";

static void databases_of_version_3_are_brought_up_to_date(void **state)
{
    struct place *place = place_make(*state);
    struct storage *storage = place_open(place);
    kit_store(storage, "a", TEXT("1"));
    storage_close(storage);
    place_run(place, back_to_version_3);
    place_run(place, place->on_sqlite ? sqlite_version_3 : postgresql_version_3);
    for (int i = 0; i < 2; i++) {
        storage = place_open(place);
        assert_int_equal(place_number(place, place->on_sqlite ? "PRAGMA user_version"
                                                              : "SELECT version FROM schema_version"),
                         STORAGE_SCHEMA_VERSION);
        count_revenue(storage, "f", (uint64_t)i * 10, (uint64_t)i * 10 + 10, "u", "0.5");
        storage_close(storage);
    }
    storage = place_open(place);
    expect_revenue(storage, "u", "1");
    assert_int_equal(place_number(place, "SELECT count(*) FROM events"), 1);
    storage_close(storage);
    database_file_remove(&place->file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_BOTH(sums_are_exact),
        ON_BOTH(amounts_have_many_notations),
        ON_BOTH(users_are_added_or_known),
        ON_BOTH(sums_stay_decimals),
        ON_BOTH(invalid_writes_are_not_taken),
        ON_BOTH(the_overtaken_change_nothing),
        ON_BOTH(the_newest_checkpoints_come_first),
        ON_BOTH(a_new_storage_finds_all),
        ON_BOTH(foreign_sums_are_not_shown),
        ON_BOTH(processors_count_each_part_once),
        ON_BOTH(databases_of_version_3_are_brought_up_to_date),
    };
    return cmocka_run_group_tests(tests, cluster_start, cluster_end);
}
