/* Reading one file of a journal: whole lines, wherever the reads end; checkpoints; files that are not what they were. */
#include "journal_kit.h"

struct folder {
    char path[TEMPORARY_BYTES];
    char file[KIT_PATH_BYTES];
};

static struct folder folder_make(void)
{
    struct folder folder;
    assert_int_equal(temporary_folder(folder.path, "event-syncer-unit"), 0);
    snprintf(folder.file, sizeof folder.file, "%s/journal", folder.path);
    return folder;
}

static struct journal_reader *reader_open(const char *path, const struct journal_checkpoint *from,
                                          size_t read_bytes)
{
    struct journal_reader *reader;
    struct journal_reader_options options = {.path = path, .from = from, .read_bytes = read_bytes};
    assert_int_equal(journal_reader_open(&options, &reader), JOURNAL_READ_OK);
    return reader;
}

static void expect_open(const char *path, const struct journal_checkpoint *from,
                        enum journal_read_result expected)
{
    struct journal_reader *reader;
    struct journal_reader_options options = {.path = path, .from = from};
    assert_int_equal(journal_reader_open(&options, &reader), expected);
    assert_int_equal(reader != NULL, expected == JOURNAL_READ_OK);
    journal_reader_close(reader);
}

static void expect_line(struct journal_reader *reader, uint64_t number, struct text text, uint64_t length)
{
    struct journal_line line;
    enum journal_read_result result = journal_reader_next(reader, &line);
    if (result != JOURNAL_READ_OK || line.number != number || !text_equals(line.text, text))
        fail_msg("line %d: %d, %d, %.*s", (int)number, result, (int)line.number, (int)line.text.length,
                 line.text.bytes);
    assert_int_equal(line.length, length);
    assert_int_equal(journal_reader_checkpoint(reader).lines, number);
}

static void expect_next(struct journal_reader *reader, enum journal_read_result expected)
{
    struct journal_line line;
    assert_int_equal(journal_reader_next(reader, &line), expected);
}

/* --- lines --- */

static const char varied[] = "{\"a\":1}\n\n\r\ntwo\r\n \nnul\0 and \r in it\n\0\n\xff\xfe\n\n\r\r\nlast\n";
static const struct text varied_lines[] = {
    TEXT("{\"a\":1}"), TEXT(""),         TEXT(""), TEXT("two"), TEXT(" "),    TEXT("nul\0 and \r in it"),
    TEXT("\0"),        TEXT("\xff\xfe"), TEXT(""), TEXT("\r"),  TEXT("last"),
};
enum { VARIED_LENGTH = sizeof varied - 1, VARIED_LINES = sizeof varied_lines / sizeof varied_lines[0] };

/* Reads all lines behind the first `done`, and expects the end. */
static void expect_varied(struct journal_reader *reader, size_t done)
{
    uint64_t offset = journal_reader_checkpoint(reader).offset;
    for (size_t i = done; i < VARIED_LINES; i++) {
        const char *end = memchr(varied + offset, '\n', VARIED_LENGTH - offset);
        uint64_t behind = (uint64_t)(end + 1 - varied);
        expect_line(reader, i + 1, varied_lines[i], behind - offset);
        offset = behind;
        assert_int_equal(journal_reader_checkpoint(reader).offset, offset);
    }
    assert_int_equal(offset, VARIED_LENGTH);
    expect_next(reader, JOURNAL_READ_END);
    expect_next(reader, JOURNAL_READ_END);
}

static void lines_come_out_however_the_reads_end(void **state)
{
    (void)state;
    struct folder folder = folder_make();
    kit_put(folder.file, O_TRUNC, varied, VARIED_LENGTH);
    for (size_t read_bytes = 0; read_bytes <= VARIED_LENGTH + 1; read_bytes++) {
        struct journal_reader *reader = reader_open(folder.file, NULL, read_bytes);
        expect_varied(reader, 0);
        journal_reader_close(reader);
    }
    kit_remove_folder(folder.path);
}

/* The file grows in any two steps, the reader looking before and between. */
static void lines_come_out_however_the_file_grows(void **state)
{
    (void)state;
    struct folder folder = folder_make();
    for (size_t split = 0; split <= VARIED_LENGTH; split++) {
        kit_write_file(folder.file, "");
        struct journal_reader *reader = reader_open(folder.file, NULL, 0);
        expect_next(reader, JOURNAL_READ_END);
        kit_put(folder.file, O_APPEND, varied, split);
        size_t done = 0;
        for (size_t i = 0; i < split; i++)
            done += varied[i] == '\n' ? 1 : 0;
        for (size_t i = 0; i < done; i++)
            expect_next(reader, JOURNAL_READ_OK);
        expect_next(reader, JOURNAL_READ_END);
        struct journal_checkpoint between = journal_reader_checkpoint(reader);
        assert_int_equal(between.lines, done);
        kit_put(folder.file, O_APPEND, varied + split, VARIED_LENGTH - split);
        expect_varied(reader, done);
        journal_reader_close(reader);
        /* Another reader goes on from there. */
        reader = reader_open(folder.file, &between, 3);
        expect_varied(reader, done);
        journal_reader_close(reader);
        unlink(folder.file);
    }
    kit_remove_folder(folder.path);
}

static void a_checkpoint_holds_everything_that_is_done(void **state)
{
    (void)state;
    struct folder folder = folder_make();
    kit_put(folder.file, O_TRUNC, varied, VARIED_LENGTH);
    struct journal_reader *first = reader_open(folder.file, NULL, 0);
    for (size_t done = 0; done <= VARIED_LINES; done++) {
        struct journal_checkpoint from = journal_reader_checkpoint(first);
        struct journal_reader *second = reader_open(folder.file, &from, 0);
        struct journal_checkpoint same = journal_reader_checkpoint(second);
        assert_memory_equal(&same, &from, sizeof same);
        expect_varied(second, done);
        journal_reader_close(second);
        if (done < VARIED_LINES)
            expect_next(first, JOURNAL_READ_OK);
    }
    journal_reader_close(first);
    kit_remove_folder(folder.path);
}

/* --- long lines --- */

static void put_long_line(const char *path, size_t length, char before_break)
{
    char *line = malloc(length + 1);
    assert_non_null(line);
    memset(line, 'x', length);
    line[length - 1] = before_break;
    line[length] = '\n';
    kit_put(path, O_APPEND, line, length + 1);
    free(line);
}

static void lines_that_are_too_long_are_skipped(void **state)
{
    static const size_t lengths[] = {
        JOURNAL_LINE_BYTES - 1,     JOURNAL_LINE_BYTES,     JOURNAL_LINE_BYTES + 1,
        JOURNAL_LINE_BYTES + 2,     65536 * 16 - 1,         2 * JOURNAL_LINE_BYTES + 1,
        2 * JOURNAL_LINE_BYTES + 2, 5 * JOURNAL_LINE_BYTES,
    };
    static const size_t reads[] = {0, 1000, 65537, JOURNAL_LINE_BYTES, JOURNAL_LINE_BYTES + 1, SIZE_MAX};
    (void)state;
    struct folder folder = folder_make();
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        kit_write_file(folder.file, "before\n");
        put_long_line(folder.file, lengths[i], i % 2 == 0 ? 'x' : '\r');
        kit_append_file(folder.file, "behind\n");
        for (size_t j = 0; j < sizeof reads / sizeof reads[0]; j++) {
            struct journal_reader *reader = reader_open(folder.file, NULL, reads[j]);
            struct journal_line line;
            bool fits = lengths[i] <= JOURNAL_LINE_BYTES;
            expect_line(reader, 1, TEXT("before"), 7);
            assert_int_equal(journal_reader_next(reader, &line),
                             fits ? JOURNAL_READ_OK : JOURNAL_READ_TOO_LONG);
            assert_int_equal(line.number, 2);
            assert_int_equal(line.length, lengths[i] + 1);
            assert_int_equal(line.text.length, !fits ? 0 : i % 2 == 0 ? lengths[i] : lengths[i] - 1);
            expect_line(reader, 3, TEXT("behind"), 7);
            expect_next(reader, JOURNAL_READ_END);
            journal_reader_close(reader);
        }
    }
    kit_remove_folder(folder.path);
}

/* It is told once it is whole; until then the checkpoint stays before it. */
static void a_line_that_is_too_long_grows_too(void **state)
{
    (void)state;
    struct folder folder = folder_make();
    kit_write_file(folder.file, "before\n");
    struct journal_reader *reader = reader_open(folder.file, NULL, 0);
    expect_line(reader, 1, TEXT("before"), 7);
    char *half = malloc(JOURNAL_LINE_BYTES);
    assert_non_null(half);
    memset(half, 'x', JOURNAL_LINE_BYTES);
    for (unsigned i = 0; i < 3; i++) {
        kit_put(folder.file, O_APPEND, half, JOURNAL_LINE_BYTES);
        expect_next(reader, JOURNAL_READ_END);
        assert_int_equal(journal_reader_checkpoint(reader).offset, 7);
    }
    kit_append_file(folder.file, "\nbehind\n");
    expect_next(reader, JOURNAL_READ_TOO_LONG);
    expect_line(reader, 3, TEXT("behind"), 7);
    journal_reader_close(reader);
    free(half);
    kit_remove_folder(folder.path);
}

/* --- files that are not what they were --- */

static struct journal_checkpoint read_lines(const char *path, unsigned count)
{
    struct journal_reader *reader = reader_open(path, NULL, 0);
    for (unsigned i = 0; i < count; i++)
        expect_next(reader, JOURNAL_READ_OK);
    struct journal_checkpoint checkpoint = journal_reader_checkpoint(reader);
    journal_reader_close(reader);
    return checkpoint;
}

/* In place, so that device and inode stay: before a new reader comes, and under one that is at the end. */
static void a_file_that_was_cut_or_rewritten_is_noticed(void **state)
{
    static const struct {
        const char *content;
        enum journal_read_result result;
    } table[] = {
        {"one\ntwo\n", JOURNAL_READ_OK},
        {"one\ntwo\nthree\n", JOURNAL_READ_OK},
        {"one\ntwo\nhalf", JOURNAL_READ_OK},
        {"one\nTWO\n", JOURNAL_READ_OK}, /* this can't be seen */
        {"", JOURNAL_READ_CHANGED},
        {"one\n", JOURNAL_READ_CHANGED},
        {"one\ntwo", JOURNAL_READ_CHANGED},
        {"one", JOURNAL_READ_CHANGED},
        {"One\ntwo\n", JOURNAL_READ_CHANGED},
        {"One\ntwo\nthree\nfour\n", JOURNAL_READ_CHANGED},
        {"one\rtwo\n", JOURNAL_READ_CHANGED},
        {"one\r\ntw\n", JOURNAL_READ_CHANGED},
        {"\none\ntwo\n", JOURNAL_READ_CHANGED},
        {"one\nlonger\n", JOURNAL_READ_CHANGED}, /* there is no line break before the offset */
        {"a very long line without an end", JOURNAL_READ_CHANGED},
    };
    (void)state;
    struct folder folder = folder_make();
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        kit_write_file(folder.file, "one\ntwo\n");
        struct journal_checkpoint from = read_lines(folder.file, 2);
        struct journal_reader *follower = reader_open(folder.file, &from, 0);
        expect_next(follower, JOURNAL_READ_END);
        char found[JOURNAL_PATH_BYTES];
        kit_write_file(folder.file, table[i].content);
        expect_open(folder.file, &from, table[i].result);
        struct journal_line line;
        enum journal_read_result result = journal_reader_next(follower, &line);
        assert_int_equal(result == JOURNAL_READ_CHANGED, table[i].result == JOURNAL_READ_CHANGED);
        result = journal_find(folder.file, &from.identity, found);
        assert_int_equal(result,
                         strncmp(table[i].content, "one\n", 4) == 0 ? JOURNAL_READ_OK : JOURNAL_READ_GONE);
        journal_reader_close(follower);
    }
    kit_remove_folder(folder.path);
}

/* A file with few bytes on the way is cut under the reader's feet. */
static void a_file_that_is_cut_while_it_is_read_is_noticed(void **state)
{
    (void)state;
    struct folder folder = folder_make();
    kit_write_file(folder.file, "one\ntwo\nthree\n");
    struct journal_reader *reader = reader_open(folder.file, NULL, 4);
    expect_line(reader, 1, TEXT("one"), 4);
    assert_int_equal(truncate(folder.file, 4), 0);
    expect_next(reader, JOURNAL_READ_CHANGED);
    journal_reader_close(reader);
    /* Half a line that was read already. */
    kit_append_file(folder.file, "half");
    reader = reader_open(folder.file, NULL, 0);
    expect_line(reader, 1, TEXT("one"), 4);
    expect_next(reader, JOURNAL_READ_END);
    assert_int_equal(truncate(folder.file, 4), 0);
    expect_next(reader, JOURNAL_READ_CHANGED);
    journal_reader_close(reader);
    kit_remove_folder(folder.path);
}

static void another_file_of_the_same_name_is_noticed(void **state)
{
    (void)state;
    struct folder folder = folder_make();
    char renamed[KIT_PATH_BYTES], found[JOURNAL_PATH_BYTES];
    snprintf(renamed, sizeof renamed, "%s/some other name", folder.path);
    kit_write_file(folder.file, "one\ntwo\n");
    struct journal_checkpoint from = read_lines(folder.file, 2);
    assert_int_equal(journal_find(folder.file, &from.identity, found), JOURNAL_READ_OK);
    assert_string_equal(found, folder.file);
    assert_int_equal(rename(folder.file, renamed), 0);
    expect_open(folder.file, &from, JOURNAL_READ_ABSENT);
    /* The same content does not make the same file. */
    kit_write_file(folder.file, "one\ntwo\nthree\n");
    expect_open(folder.file, &from, JOURNAL_READ_CHANGED);
    assert_int_equal(journal_find(folder.file, &from.identity, found), JOURNAL_READ_OK);
    assert_string_equal(found, renamed);
    expect_open(found, &from, JOURNAL_READ_OK);
    unlink(renamed);
    assert_int_equal(journal_find(folder.file, &from.identity, found), JOURNAL_READ_GONE);
    kit_remove_folder(folder.path);
    assert_int_equal(journal_find(folder.file, &from.identity, found), JOURNAL_READ_FAILED);
    assert_int_equal(errno, ENOENT);
}

/* The identity is the same in every process and on every machine: a fixed hash of the first line's front. */
static void identities_depend_on_the_first_line_alone(void **state)
{
    (void)state;
    struct folder folder = folder_make();
    kit_write_file(folder.file, "{\"userId\":\"user1\",\"name\":\"add_revenue\",\"value\":100}\n");
    struct journal_identity before = read_lines(folder.file, 0).identity;
    assert_true(before.first_line.low == UINT64_C(0xca9e89aa563bed5f));
    assert_true(before.first_line.high == UINT64_C(0x1d5bac34735b38a4));
    kit_append_file(folder.file, "more\n");
    struct journal_identity now = read_lines(folder.file, 2).identity;
    assert_memory_equal(&before, &now, sizeof now);
    /* Without a whole line there is no hash; a long one counts with its front. */
    kit_write_file(folder.file, "half");
    now = read_lines(folder.file, 0).identity;
    assert_true(now.first_line.low == 0 && now.first_line.high == 0);
    kit_write_file(folder.file, "");
    put_long_line(folder.file, JOURNAL_IDENTITY_BYTES + 1, 'a');
    before = read_lines(folder.file, 0).identity;
    assert_true(before.first_line.low != 0);
    kit_write_file(folder.file, "");
    put_long_line(folder.file, JOURNAL_IDENTITY_BYTES + 1, 'b');
    now = read_lines(folder.file, 0).identity;
    assert_memory_equal(&before, &now, sizeof now);
    kit_write_file(folder.file, "");
    put_long_line(folder.file, JOURNAL_IDENTITY_BYTES, 'b');
    now = read_lines(folder.file, 0).identity;
    assert_memory_not_equal(&before, &now, sizeof now);
    kit_remove_folder(folder.path);
}

/* Numbers that nobody's reader has made. */
static void checkpoints_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    struct folder folder = folder_make();
    kit_write_file(folder.file, "one\ntwo\n");
    struct journal_checkpoint good = read_lines(folder.file, 1);
    static const uint64_t offsets[] = {1, 3, 5, 7, 9, 1000, INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        struct journal_checkpoint bad = good;
        bad.offset = offsets[i];
        expect_open(folder.file, &bad, JOURNAL_READ_CHANGED);
    }
    struct journal_checkpoint bad = good;
    bad.identity.inode++;
    expect_open(folder.file, &bad, JOURNAL_READ_CHANGED);
    bad = good;
    bad.identity.device++;
    expect_open(folder.file, &bad, JOURNAL_READ_CHANGED);
    bad = good;
    bad.identity.first_line = (struct hash_128){.low = 0, .high = 0};
    expect_open(folder.file, &bad, JOURNAL_READ_CHANGED);
    bad = (struct journal_checkpoint){.offset = 0};
    expect_open(folder.file, &bad, JOURNAL_READ_CHANGED);
    expect_open(folder.file, &good, JOURNAL_READ_OK);
    kit_remove_folder(folder.path);
}

static void what_is_no_file_is_refused(void **state)
{
    (void)state;
    struct folder folder = folder_make();
    expect_open(folder.file, NULL, JOURNAL_READ_ABSENT);
    expect_open(folder.path, NULL, JOURNAL_READ_FAILED);
    assert_int_equal(errno, EISDIR);
    assert_int_equal(mkfifo(folder.file, 0600), 0);
    expect_open(folder.file, NULL, JOURNAL_READ_FAILED);
    assert_int_equal(errno, EINVAL);
    journal_reader_close(NULL);
    kit_remove_folder(folder.path);
}

static void what_was_read_is_made_durable(void **state)
{
    (void)state;
    struct folder folder = folder_make();
    kit_write_file(folder.file, "one\n");
    struct journal_reader *reader = reader_open(folder.file, NULL, 0);
    expect_line(reader, 1, TEXT("one"), 4);
    assert_int_equal(journal_reader_sync(reader), 0);
    kit_remove_folder(folder.path);
    assert_int_equal(journal_reader_sync(reader), -1);
    assert_int_equal(errno, ENOENT);
    journal_reader_close(reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_come_out_however_the_reads_end),
        cmocka_unit_test(lines_come_out_however_the_file_grows),
        cmocka_unit_test(a_checkpoint_holds_everything_that_is_done),
        cmocka_unit_test(lines_that_are_too_long_are_skipped),
        cmocka_unit_test(a_line_that_is_too_long_grows_too),
        cmocka_unit_test(a_file_that_was_cut_or_rewritten_is_noticed),
        cmocka_unit_test(a_file_that_is_cut_while_it_is_read_is_noticed),
        cmocka_unit_test(another_file_of_the_same_name_is_noticed),
        cmocka_unit_test(identities_depend_on_the_first_line_alone),
        cmocka_unit_test(checkpoints_that_do_not_fit_are_refused),
        cmocka_unit_test(what_is_no_file_is_refused),
        cmocka_unit_test(what_was_read_is_made_durable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
