/* Journals that are renamed, under writers and readers; and what a reader may see of a journal that is being written. */
#include "journal_kit.h"

#include <sys/wait.h>

static struct journal_reader *reader_open(const char *path)
{
    struct journal_reader *reader;
    struct journal_reader_options options = {.path = path};
    assert_int_equal(journal_reader_open(&options, &reader), JOURNAL_READ_OK);
    return reader;
}

static void expect_line(struct journal_reader *reader, const char *text)
{
    struct journal_line line;
    assert_int_equal(journal_reader_next(reader, &line), JOURNAL_READ_OK);
    if (!text_equals(line.text, text_from(text)))
        fail_msg("%s: %.*s", text, (int)line.text.length, line.text.bytes);
}

static void expect_end(struct journal_reader *reader)
{
    struct journal_line line;
    assert_int_equal(journal_reader_next(reader, &line), JOURNAL_READ_END);
}

static void expect_finished(struct journal_reader *reader, const char *path, bool expected, uint64_t half)
{
    uint64_t half_bytes;
    assert_int_equal(journal_reader_is_finished(reader, path, &half_bytes), expected);
    assert_int_equal(half_bytes, half);
}

/* --- the writer --- */

static void after_a_renaming_lines_go_into_a_new_file(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make();
    const char *first = BESIDE(fixture, "journal.1");
    unsigned synced = gate_calls(GATE_FSYNC);
    assert_int_equal(append(fixture, "1\n"), JOURNAL_OK);
    assert_int_equal(gate_calls(GATE_FSYNC), synced);
    assert_int_equal(rename(fixture->path, first), 0);
    assert_int_equal(append(fixture, "2\n"), JOURNAL_OK);
    /* The new file and its folder. */
    assert_int_equal(gate_calls(GATE_FSYNC), synced + 2);
    kit_expect_file(first, "1\n");
    kit_expect_file(fixture->path, "2\n");
    /* Gone altogether. */
    assert_int_equal(unlink(fixture->path), 0);
    assert_int_equal(append(fixture, "3\n"), JOURNAL_OK);
    kit_expect_file(fixture->path, "3\n");
    /* Another file in its place. */
    assert_int_equal(rename(fixture->path, first), 0);
    kit_write_file(fixture->path, "half");
    assert_int_equal(append(fixture, "4\n"), JOURNAL_OK);
    kit_expect_file(first, "3\n");
    kit_expect_file(fixture->path, "half\n4\n");
    fixture_free(fixture);
}

/* What is being written when the name changes goes into the old file, as a whole. */
static void a_batch_goes_into_one_file(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make();
    const char *first = BESIDE(fixture, "journal.1");
    struct record records[3];
    gate_shut(GATE_WRITE, true);
    submit(&records[0], fixture, "1\n");
    gate_await_waiting();
    assert_int_equal(rename(fixture->path, first), 0);
    submit(&records[1], fixture, "2\n");
    submit(&records[2], fixture, "3\n");
    gate_shut(GATE_WRITE, false);
    await_settled(fixture, 3);
    kit_expect_file(first, "1\n");
    kit_expect_file(fixture->path, "2\n3\n");
    fixture_free(fixture);
}

static void a_name_that_cant_be_opened_is_tried_again(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make();
    assert_int_equal(append(fixture, "1\n"), JOURNAL_OK);
    /* Another server has taken the name. */
    assert_int_equal(rename(fixture->path, BESIDE(fixture, "journal.1")), 0);
    char reason[JOURNAL_REASON_BYTES];
    struct journal *other = journal_open(&fixture->options, reason);
    assert_non_null(other);
    assert_int_equal(append(fixture, "2\n"), JOURNAL_AWAY);
    assert_int_equal(append(fixture, "3\n"), JOURNAL_AWAY);
    journal_close(other);
    assert_int_equal(append(fixture, "4\n"), JOURNAL_OK);
    kit_expect_file(fixture->path, "4\n");
    /* No descriptors, no room for a name, no folder. */
    assert_int_equal(unlink(fixture->path), 0);
    gate_fail(GATE_OPEN, 0, 1, EMFILE);
    assert_int_equal(append(fixture, "5\n"), JOURNAL_AWAY);
    gate_fail(GATE_OPEN, 0, 1, ENOSPC);
    assert_int_equal(append(fixture, "6\n"), JOURNAL_FULL);
    gate_fail(GATE_FSYNC, 1, 1, EIO);
    assert_int_equal(append(fixture, "7\n"), JOURNAL_AWAY);
    kit_expect_file(fixture->path, "");
    char moved[TEMPORARY_BYTES + 8];
    snprintf(moved, sizeof moved, "%s.moved", fixture->folder);
    assert_int_equal(rename(fixture->folder, moved), 0);
    assert_int_equal(append(fixture, "8\n"), JOURNAL_AWAY);
    assert_int_equal(rename(moved, fixture->folder), 0);
    assert_int_equal(append(fixture, "9\n"), JOURNAL_OK);
    kit_expect_file(fixture->path, "9\n");
    kit_expect_file(BESIDE(fixture, "journal.1"), "1\n");
    fixture_free(fixture);
}

/* --- what a reader sees --- */

static void what_is_not_durable_is_not_read(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make();
    struct record record;
    assert_int_equal(append(fixture, "1\n"), JOURNAL_OK);
    struct journal_reader *reader = reader_open(fixture->path);
    expect_line(reader, "1");
    gate_shut(GATE_FDATASYNC, true);
    submit(&record, fixture, "2\n");
    gate_await_waiting();
    kit_expect_file(fixture->path, "1\n2\n");
    expect_end(reader);
    /* A reader that comes now sees no more, not even a first line. */
    struct journal_reader *another = reader_open(fixture->path);
    expect_line(another, "1");
    expect_end(another);
    gate_shut(GATE_FDATASYNC, false);
    assert_int_equal(await_record(&record), JOURNAL_OK);
    expect_line(reader, "2");
    expect_line(another, "2");
    expect_end(another);
    journal_reader_close(another);
    /* What is refused in the end was never seen, nor what can't be cut off as long as it may still be. */
    gate_fill_disk(5);
    pthread_mutex_lock(&gate.mutex);
    gate.failing[GATE_FTRUNCATE] = 1;
    pthread_mutex_unlock(&gate.mutex);
    assert_int_equal(append(fixture, "3\n4\n5\n"), JOURNAL_UNKNOWN);
    kit_expect_file(fixture->path, "1\n2\n3\n4\n5");
    expect_end(reader);
    assert_int_equal(append(fixture, "6\n"), JOURNAL_OK);
    expect_line(reader, "6");
    expect_end(reader);
    journal_reader_close(reader);
    fixture_free(fixture);
}

static void a_first_line_that_is_not_durable_is_none(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make();
    struct record record;
    gate_shut(GATE_FDATASYNC, true);
    submit(&record, fixture, "refused\n");
    gate_await_waiting();
    struct journal_reader *reader = reader_open(fixture->path);
    expect_end(reader);
    gate_fail(GATE_FDATASYNC, 0, 1, EIO);
    gate_shut(GATE_FDATASYNC, false);
    assert_int_equal(await_record(&record), JOURNAL_AWAY);
    assert_int_equal(append(fixture, "first\n"), JOURNAL_OK);
    expect_line(reader, "first");
    expect_end(reader);
    journal_reader_close(reader);
    fixture_free(fixture);
}

/* A server that is killed leaves whole lines that nobody got an answer for, which count, and half a line. */
static void what_a_crash_has_left_is_read(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_prepare();
    pid_t child = fork();
    if (child == 0) {
        char reason[JOURNAL_REASON_BYTES];
        struct record record;
        fixture->journal = journal_open(&fixture->options, reason);
        gate_shut(GATE_FDATASYNC, true);
        record_make(&record, fixture, TEXT("1\n2\n"));
        if (fixture->journal == NULL || journal_submit(fixture->journal, &record.append) != 0)
            _exit(1);
        gate_await_waiting();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    kit_append_file(fixture->path, "ha");
    struct journal_reader *reader = reader_open(fixture->path);
    expect_line(reader, "1");
    expect_line(reader, "2");
    expect_end(reader);
    assert_int_equal(journal_reader_sync(reader), 0);
    fixture_open(fixture);
    expect_end(reader);
    assert_int_equal(append(fixture, "3\n"), JOURNAL_OK);
    expect_line(reader, "ha");
    expect_line(reader, "3");
    expect_end(reader);
    journal_reader_close(reader);
    fixture_free(fixture);
}

/* --- the end of a file --- */

static void a_renamed_file_is_finished_when_its_server_has_left_it(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make();
    struct record record;
    const char *first = BESIDE(fixture, "journal.1");
    assert_int_equal(append(fixture, "1\n"), JOURNAL_OK);
    struct journal_reader *reader = reader_open(fixture->path);
    expect_line(reader, "1");
    expect_end(reader);
    expect_finished(reader, fixture->path, false, 0);
    /* As logrotate's "create" does, while a batch is under way. */
    gate_shut(GATE_WRITE, true);
    submit(&record, fixture, "2\n");
    gate_await_waiting();
    assert_int_equal(rename(fixture->path, first), 0);
    kit_write_file(fixture->path, "");
    expect_end(reader);
    expect_finished(reader, fixture->path, false, 0);
    gate_shut(GATE_WRITE, false);
    assert_int_equal(await_record(&record), JOURNAL_OK);
    expect_finished(reader, fixture->path, false, 0);
    expect_line(reader, "2");
    expect_end(reader);
    /* The server has it open until it has something to write. */
    expect_finished(reader, fixture->path, false, 0);
    assert_int_equal(append(fixture, "3\n"), JOURNAL_OK);
    expect_finished(reader, fixture->path, true, 0);
    struct journal_checkpoint done = journal_reader_checkpoint(reader);
    journal_reader_close(reader);
    struct journal_reader_options options = {.path = fixture->path};
    assert_int_equal(journal_reader_open_next(&options, &done.identity, &reader), JOURNAL_READ_OK);
    expect_line(reader, "3");
    expect_end(reader);
    expect_finished(reader, fixture->path, false, 0);
    done = journal_reader_checkpoint(reader);
    journal_reader_close(reader);
    assert_int_equal(journal_reader_open_next(&options, &done.identity, &reader), JOURNAL_READ_ABSENT);
    assert_null(reader);
    fixture_free(fixture);
}

static void half_a_line_at_the_end_of_a_finished_file_is_told(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_prepare();
    kit_write_file(fixture->path, "1\nhalf");
    struct journal_reader *reader = reader_open(fixture->path);
    expect_line(reader, "1");
    /* Not all was read yet. */
    assert_int_equal(rename(fixture->path, BESIDE(fixture, "journal.1")), 0);
    expect_end(reader);
    expect_finished(reader, fixture->path, true, 4);
    kit_append_file(BESIDE(fixture, "journal.1"), " and whole\nand\n");
    expect_finished(reader, fixture->path, false, 0);
    expect_line(reader, "half and whole");
    expect_finished(reader, fixture->path, false, 0);
    expect_line(reader, "and");
    expect_end(reader);
    expect_finished(reader, fixture->path, true, 0);
    journal_reader_close(reader);
    fixture_free(fixture);
}

/* --- which file comes next --- */

/* Reads the first lines of all files, one after the other. */
static void expect_order(const char *path, const char *expected)
{
    struct buffer order = BUFFER_EMPTY;
    struct journal_reader_options options = {.path = path};
    struct journal_reader *reader;
    struct journal_line line;
    enum journal_read_result result = journal_reader_open_next(&options, NULL, &reader);
    while (result == JOURNAL_READ_OK) {
        assert_int_equal(journal_reader_next(reader, &line), JOURNAL_READ_OK);
        buffer_append(&order, line.text.bytes, line.text.length);
        buffer_append_text(&order, " ");
        struct journal_identity identity = journal_reader_checkpoint(reader).identity;
        journal_reader_close(reader);
        result = journal_reader_open_next(&options, &identity, &reader);
    }
    assert_int_equal(result, JOURNAL_READ_ABSENT);
    buffer_append(&order, "", 1);
    assert_string_equal(order.bytes, expected);
    buffer_free(&order);
}

/* Each file holds its own name. */
static void put_named(const struct fixture *fixture, const char *name)
{
    char content[64];
    snprintf(content, sizeof content, "%s\n", name);
    kit_write_file(BESIDE(fixture, name), content);
}

static void files_follow_each_other_by_their_names(void **state)
{
    static const char *const strangers[] = {
        "journal.bak", "journal.1.gz", "journal~",     "journal.",    "journal-",         "journal2",
        "journals.1",  "a journal",    "journal.x1",   "journal_1",   "journal.1 (copy)", "xjournal.1",
        "Journal",     ".journal.1",   "journal-1.gz", "journal-old", "journal.-1",
    };
    (void)state;
    struct fixture *fixture = fixture_prepare();
    expect_order(fixture->path, "");
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++)
        put_named(fixture, strangers[i]);
    assert_int_equal(mkdir(BESIDE(fixture, "journal.7"), 0700), 0);
    expect_order(fixture->path, "");
    put_named(fixture, "journal");
    expect_order(fixture->path, "journal ");
    put_named(fixture, "journal.1");
    put_named(fixture, "journal.2");
    put_named(fixture, "journal.10");
    put_named(fixture, "journal.9999");
    expect_order(fixture->path, "journal.9999 journal.10 journal.2 journal.1 journal ");
    put_named(fixture, "journal-20260102");
    put_named(fixture, "journal-20251231");
    put_named(fixture, "journal.20260101");
    put_named(fixture, "journal-2026-01-03T00:00:00Z");
    expect_order(fixture->path, "journal.9999 journal.10 journal.2 journal.1 journal-20251231 "
                                "journal-2026-01-03T00:00:00Z journal.20260101 journal-20260102 journal ");
    assert_int_equal(unlink(fixture->path), 0);
    assert_int_equal(unlink(BESIDE(fixture, "journal-2026-01-03T00:00:00Z")), 0);
    expect_order(
        fixture->path,
        "journal.9999 journal.10 journal.2 journal.1 journal-20251231 journal.20260101 journal-20260102 ");
    fixture_free(fixture);
}

static struct journal_identity identity_of(const char *path)
{
    struct journal_reader *reader = reader_open(path);
    struct journal_identity identity = journal_reader_checkpoint(reader).identity;
    journal_reader_close(reader);
    return identity;
}

static void what_comes_after_a_file_that_is_no_more_is_not_guessed(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_prepare();
    struct journal_reader_options options = {.path = fixture->path};
    struct journal_reader *reader;
    put_named(fixture, "journal");
    put_named(fixture, "journal.1");
    put_named(fixture, "archive");
    /* Under a name that says nothing, the journal is next. */
    struct journal_identity archive = identity_of(BESIDE(fixture, "archive"));
    assert_int_equal(journal_reader_open_next(&options, &archive, &reader), JOURNAL_READ_OK);
    expect_line(reader, "journal");
    journal_reader_close(reader);
    assert_int_equal(unlink(BESIDE(fixture, "archive")), 0);
    assert_int_equal(journal_reader_open_next(&options, &archive, &reader), JOURNAL_READ_GONE);
    assert_null(reader);
    /* A second name of a file is not read a second time. */
    assert_int_equal(unlink(BESIDE(fixture, "journal.1")), 0);
    assert_int_equal(link(fixture->path, BESIDE(fixture, "journal.1")), 0);
    struct journal_identity twice = identity_of(fixture->path);
    assert_int_equal(journal_reader_open_next(&options, &twice, &reader), JOURNAL_READ_ABSENT);
    /* An inode that is used again, by a file with another first line. */
    struct journal_identity reused = twice;
    reused.first_line.low++;
    assert_int_equal(journal_reader_open_next(&options, &reused, &reader), JOURNAL_READ_GONE);
    options.path = BESIDE(fixture, "nowhere/journal");
    assert_int_equal(journal_reader_open_next(&options, &twice, &reader), JOURNAL_READ_FAILED);
    assert_int_equal(errno, ENOENT);
    fixture_free(fixture);
}

/* A path without a folder is one in the folder of the process. */
static void a_bare_name_lies_in_the_working_folder(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_prepare();
    char before[4096], found[JOURNAL_PATH_BYTES];
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(fixture->folder), 0);
    fixture->options.path = "journal";
    fixture_open(fixture);
    assert_int_equal(append(fixture, "1\n"), JOURNAL_OK);
    assert_int_equal(rename("journal", "journal.1"), 0);
    assert_int_equal(append(fixture, "2\n"), JOURNAL_OK);
    struct journal_identity first = identity_of("journal.1");
    assert_int_equal(journal_find("journal", &first, found), JOURNAL_READ_OK);
    assert_string_equal(found, "journal.1");
    struct journal_reader *reader;
    struct journal_reader_options options = {.path = "journal"};
    assert_int_equal(journal_reader_open_next(&options, &first, &reader), JOURNAL_READ_OK);
    expect_line(reader, "2");
    assert_int_equal(journal_reader_sync(reader), 0);
    journal_reader_close(reader);
    assert_int_equal(chdir(before), 0);
    fixture_free(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_a_renaming_lines_go_into_a_new_file),
        cmocka_unit_test(a_batch_goes_into_one_file),
        cmocka_unit_test(a_name_that_cant_be_opened_is_tried_again),
        cmocka_unit_test(what_is_not_durable_is_not_read),
        cmocka_unit_test(a_first_line_that_is_not_durable_is_none),
        cmocka_unit_test(what_a_crash_has_left_is_read),
        cmocka_unit_test(a_renamed_file_is_finished_when_its_server_has_left_it),
        cmocka_unit_test(half_a_line_at_the_end_of_a_finished_file_is_told),
        cmocka_unit_test(files_follow_each_other_by_their_names),
        cmocka_unit_test(what_comes_after_a_file_that_is_no_more_is_not_guessed),
        cmocka_unit_test(a_bare_name_lies_in_the_working_folder),
    };
    return cmocka_run_group_tests(tests, install_gate, NULL);
}
