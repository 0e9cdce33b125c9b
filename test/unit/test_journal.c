/* The journal's writer thread: order, batches, bounds, deadlines, the end, and who may write. System calls go through a gate
 * of the test's own: a sync takes as long as the test wants. */
#include "journal_kit.h"

#include <sys/wait.h>

/* --- group commit --- */

static void a_line_is_there_when_it_is_settled(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make();
    assert_int_equal(append(fixture, "{\"n\":1}\n"), JOURNAL_OK);
    kit_expect_file(fixture->path, "{\"n\":1}\n");
    assert_int_equal(append(fixture, "2\n3\n"), JOURNAL_OK);
    kit_expect_file(fixture->path, "{\"n\":1}\n2\n3\n");
    struct journal_counts counts = journal_counts(fixture->journal);
    assert_int_equal(counts.lines, 3);
    assert_int_equal(counts.bytes, 12);
    assert_int_equal(counts.batches, 2);
    assert_int_equal(counts.failures, 0);
    assert_int_equal(counts.expired, 0);
    assert_true(counts.available);
    struct stat status;
    assert_int_equal(stat(fixture->path, &status), 0);
    assert_int_equal(status.st_mode & 0137, 0);
    fixture_free(fixture);
}

static void what_waits_is_one_batch(void **state)
{
    enum { COUNT = 100 };
    (void)state;
    struct fixture *fixture = fixture_make();
    struct buffer expected = BUFFER_EMPTY;
    struct record first, records[COUNT];
    char lines[COUNT][16];
    gate_shut(GATE_FDATASYNC, true);
    submit(&first, fixture, "first\n");
    buffer_append_text(&expected, "first\n");
    gate_await_waiting();
    for (size_t i = 0; i < COUNT; i++) {
        snprintf(lines[i], sizeof lines[i], "%zu\n", i);
        buffer_append_text(&expected, lines[i]);
        submit(&records[i], fixture, lines[i]);
    }
    assert_int_equal(fixture->settled_count, 0);
    assert_int_equal(journal_counts(fixture->journal).unsettled_bytes, expected.length);
    gate_shut(GATE_FDATASYNC, false);
    await_settled(fixture, 1 + COUNT);
    /* One write and one sync for the first, one each for all that came meanwhile. */
    assert_int_equal(gate_calls(GATE_WRITE), 2);
    assert_int_equal(gate_calls(GATE_FDATASYNC), 2);
    assert_int_equal(journal_counts(fixture->journal).batches, 2);
    assert_int_equal(journal_counts(fixture->journal).lines, 1 + COUNT);
    assert_ptr_equal(fixture->order[0], &first);
    for (size_t i = 0; i < COUNT; i++) {
        assert_ptr_equal(fixture->order[i + 1], &records[i]);
        assert_int_equal(await_record(&records[i]), JOURNAL_OK);
    }
    buffer_append(&expected, "", 1);
    kit_expect_file(fixture->path, expected.bytes);
    buffer_free(&expected);
    fixture_free(fixture);
}

static char *make_line(size_t length)
{
    char *line = malloc(length + 1);
    assert_non_null(line);
    memset(line, 'x', length);
    line[length - 1] = '\n';
    line[length] = '\0';
    return line;
}

static void a_batch_is_bounded_and_a_larger_append_goes_alone(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make();
    char *third = make_line(JOURNAL_BATCH_BYTES / 3);
    char *large = make_line(3 * (size_t)JOURNAL_BATCH_BYTES);
    struct record first, records[5];
    gate_shut(GATE_FDATASYNC, true);
    submit(&first, fixture, "first\n");
    gate_await_waiting();
    /* Three thirds; two that would be with the large one; the large one. */
    const char *const lines[] = {third, third, third, "small\n", large};
    for (size_t i = 0; i < 5; i++)
        submit(&records[i], fixture, lines[i]);
    gate_shut(GATE_FDATASYNC, false);
    await_settled(fixture, 6);
    for (size_t i = 0; i < 5; i++) {
        assert_ptr_equal(fixture->order[i + 1], &records[i]);
        assert_int_equal(await_record(&records[i]), JOURNAL_OK);
    }
    /* The three thirds are short of a batch by a byte, so that "small" goes with nothing but itself. */
    assert_int_equal(JOURNAL_BATCH_BYTES % 3, 1);
    assert_int_equal(gate_calls(GATE_FDATASYNC), 4);
    struct stat status;
    assert_int_equal(stat(fixture->path, &status), 0);
    assert_int_equal(status.st_size, 6 + 3 * (JOURNAL_BATCH_BYTES / 3) + 6 + 3 * JOURNAL_BATCH_BYTES);
    free(third);
    free(large);
    fixture_free(fixture);
}

/* --- many threads --- */

enum { WRITERS = 8, APPENDS_EACH = 200 };

struct writer {
    pthread_t thread;
    struct fixture *fixture;
    unsigned number;
    unsigned failures;
    unsigned turns;
    struct record records[APPENDS_EACH];
    char lines[APPENDS_EACH][32];
};

/* Some it waits for, some not. */
static void *writer_main(void *context)
{
    struct writer *writer = context;
    for (unsigned i = 0; i < APPENDS_EACH; i++) {
        snprintf(writer->lines[i], sizeof writer->lines[i], "%u %u\n", writer->number, i);
        record_make(&writer->records[i], writer->fixture, text_from(writer->lines[i]));
        writer->failures += journal_submit(writer->fixture->journal, &writer->records[i].append) != 0 ? 1 : 0;
        if (i % 4 == 0)
            writer->failures += await_record(&writer->records[i]) != JOURNAL_OK ? 1 : 0;
    }
    return NULL;
}

static void each_append_of_many_threads_is_there_once_in_the_order_of_settling(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make();
    static struct writer writers[WRITERS];
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.fixture = fixture, .number = i};
        assert_int_equal(pthread_create(&writers[i].thread, NULL, writer_main, &writers[i]), 0);
    }
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(writers[i].thread, NULL);
    await_settled(fixture, WRITERS * APPENDS_EACH);
    struct buffer expected = BUFFER_EMPTY;
    unsigned next[WRITERS] = {0};
    for (size_t i = 0; i < WRITERS * APPENDS_EACH; i++) {
        const struct record *record = fixture->order[i];
        assert_int_equal(record->calls, 1);
        assert_int_equal(record->result, JOURNAL_OK);
        unsigned number, turn;
        assert_int_equal(sscanf(record->append.lines.bytes, "%u %u\n", &number, &turn), 2);
        assert_int_equal(turn, next[number]++);
        buffer_append(&expected, record->append.lines.bytes, record->append.lines.length);
    }
    for (unsigned i = 0; i < WRITERS; i++)
        assert_int_equal(writers[i].failures, 0);
    buffer_append(&expected, "", 1);
    kit_expect_file(fixture->path, expected.bytes);
    buffer_free(&expected);
    fixture_free(fixture);
}

/* --- what is not taken --- */

static void too_many_bytes_are_not_taken(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_prepare();
    fixture->options.max_unsettled_bytes = 10;
    fixture_open(fixture);
    struct record records[4];
    record_make(&records[0], fixture, TEXT("0123456789\n"));
    assert_int_equal(journal_submit(fixture->journal, &records[0].append), -1);
    assert_int_equal(errno, EAGAIN);
    gate_shut(GATE_FDATASYNC, true);
    submit(&records[0], fixture, "0123\n");
    gate_await_waiting();
    submit(&records[1], fixture, "456\n");
    record_make(&records[2], fixture, TEXT("7\n"));
    assert_int_equal(journal_submit(fixture->journal, &records[2].append), -1);
    assert_int_equal(errno, EAGAIN);
    submit(&records[3], fixture, "\n");
    gate_shut(GATE_FDATASYNC, false);
    await_settled(fixture, 3);
    assert_int_equal(records[2].calls, 0);
    kit_expect_file(fixture->path, "0123\n456\n\n");
    assert_int_equal(append(fixture, "012345678\n"), JOURNAL_OK);
    fixture_free(fixture);
}

static void lines_that_are_not_whole_are_not_taken(void **state)
{
    static const struct text table[] = {TEXT(""), {.bytes = NULL}, TEXT("half"), TEXT("one\nhalf")};
    (void)state;
    struct fixture *fixture = fixture_make();
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct record record;
        record_make(&record, fixture, table[i]);
        assert_int_equal(journal_submit(fixture->journal, &record.append), -1);
        assert_int_equal(errno, EINVAL);
    }
    assert_int_equal(append(fixture, "whole\n"), JOURNAL_OK);
    fixture_free(fixture);
}

/* --- settled may free, and submit again --- */

struct chain {
    struct journal_append append; /* the first member */
    struct fixture *fixture;
    unsigned left;
    char line[16];
};

static void submit_chain(struct fixture *fixture, unsigned left);

static void continue_chain(struct journal_append *append, enum journal_result result)
{
    struct chain *chain = (struct chain *)(void *)append;
    struct fixture *fixture = chain->fixture;
    unsigned left = chain->left;
    assert_int_equal(result, JOURNAL_OK);
    free(chain);
    if (left > 1)
        submit_chain(fixture, left - 1);
    pthread_mutex_lock(&fixture->mutex);
    fixture->settled_count++;
    pthread_cond_broadcast(&fixture->changed);
    pthread_mutex_unlock(&fixture->mutex);
}

static void submit_chain(struct fixture *fixture, unsigned left)
{
    struct chain *chain = calloc(1, sizeof *chain);
    assert_non_null(chain);
    chain->fixture = fixture;
    chain->left = left;
    snprintf(chain->line, sizeof chain->line, "%u\n", left);
    chain->append.lines = text_from(chain->line);
    chain->append.settled = continue_chain;
    assert_int_equal(journal_submit(fixture->journal, &chain->append), 0);
}

static void what_is_settled_may_be_freed_and_others_submitted(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make();
    submit_chain(fixture, 5);
    await_settled(fixture, 5);
    kit_expect_file(fixture->path, "5\n4\n3\n2\n1\n");
    fixture_free(fixture);
}

/* --- deadlines --- */

/* Long enough to get to the gate on a busy machine. */
#define SHORT_CALL_NS (500 * CLOCK_NS_PER_MS)

/* The disk hangs: what is being written may be there, what waits is not. Both are told in time, and once. */
static void a_disk_that_hangs_holds_nobody_up(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_prepare();
    fixture->options.call_ns = SHORT_CALL_NS;
    fixture_open(fixture);
    struct record taken, waiting;
    gate_shut(GATE_FDATASYNC, true);
    int64_t started_at = clock_monotonic_ns();
    char *lines = make_line(64);
    submit(&taken, fixture, lines);
    gate_await_waiting();
    submit(&waiting, fixture, "waiting\n");
    await_settled(fixture, 2);
    assert_true(clock_monotonic_ns() - started_at >= SHORT_CALL_NS);
    assert_int_equal(await_record(&taken), JOURNAL_UNKNOWN);
    assert_int_equal(await_record(&waiting), JOURNAL_AWAY);
    assert_false(journal_counts(fixture->journal).available);
    /* The lines are the caller's again, though they are still being written. */
    char *expected = strdup(lines);
    memset(lines, '?', 64);
    free(lines);
    gate_shut(GATE_FDATASYNC, false);
    assert_int_equal(journal_stop(fixture->journal), 0);
    kit_expect_file(fixture->path, expected);
    free(expected);
    assert_int_equal(fixture->settled_count, 2);
    struct journal_counts counts = journal_counts(fixture->journal);
    assert_int_equal(counts.expired, 2);
    assert_int_equal(counts.unsettled_bytes, 0);
    assert_int_equal(counts.lines, 1);
    assert_true(counts.available);
    fixture_free(fixture);
}

/* What has waited so long for another batch that it has hardly any time left is refused, not begun. */
static void too_little_time_is_no_time(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_prepare();
    fixture->options.call_ns = SHORT_CALL_NS;
    fixture_open(fixture);
    struct record first, second;
    gate_shut(GATE_FDATASYNC, true);
    submit(&first, fixture, "first\n");
    gate_await_waiting();
    /* Once the first one's time is over, the second has so much left, which is less than a sixth. */
    int64_t until_at = clock_monotonic_ns() + SHORT_CALL_NS / 12;
    pthread_mutex_lock(&fixture->mutex);
    while (sync_wait_until(&fixture->changed, &fixture->mutex, until_at))
        continue;
    pthread_mutex_unlock(&fixture->mutex);
    submit(&second, fixture, "second\n");
    assert_int_equal(await_record(&first), JOURNAL_UNKNOWN);
    gate_shut(GATE_FDATASYNC, false);
    assert_int_equal(await_record(&second), JOURNAL_AWAY);
    assert_int_equal(journal_stop(fixture->journal), 0);
    kit_expect_file(fixture->path, "first\n");
    fixture_free(fixture);
}

/* --- the end --- */

static void the_end_settles_all(void **state)
{
    enum { COUNT = 50 };
    (void)state;
    struct fixture *fixture = fixture_make();
    struct record first, records[COUNT], late;
    gate_shut(GATE_WRITE, true);
    submit(&first, fixture, "first\n");
    gate_await_waiting();
    for (size_t i = 0; i < COUNT; i++)
        submit(&records[i], fixture, "line\n");
    gate_shut(GATE_WRITE, false);
    assert_int_equal(journal_stop(fixture->journal), 0);
    assert_int_equal(fixture->settled_count, 1 + COUNT);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(await_record(&records[i]), JOURNAL_OK);
    assert_int_equal(journal_counts(fixture->journal).lines, 1 + COUNT);
    record_make(&late, fixture, TEXT("late\n"));
    assert_int_equal(journal_submit(fixture->journal, &late.append), -1);
    assert_int_equal(errno, ESHUTDOWN);
    assert_int_equal(journal_stop(fixture->journal), 0);
    fixture_free(fixture);
}

/* Writers go on while the journal stops, until it refuses them. */
static void *append_until_refused(void *context)
{
    struct writer *writer = context;
    struct record *record = &writer->records[0];
    for (;; writer->turns++) {
        snprintf(writer->lines[0], sizeof writer->lines[0], "%u %u\n", writer->number, writer->turns);
        record_make(record, writer->fixture, text_from(writer->lines[0]));
        if (journal_submit(writer->fixture->journal, &record->append) != 0)
            return NULL;
        writer->failures += await_record(record) != JOURNAL_OK ? 1 : 0;
    }
}

static void a_journal_is_stopped_under_load(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make();
    static struct writer writers[WRITERS];
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.fixture = fixture, .number = i};
        assert_int_equal(pthread_create(&writers[i].thread, NULL, append_until_refused, &writers[i]), 0);
    }
    await_settled(fixture, 100);
    assert_int_equal(journal_stop(fixture->journal), 0);
    size_t taken = 0;
    for (unsigned i = 0; i < WRITERS; i++) {
        pthread_join(writers[i].thread, NULL);
        assert_int_equal(writers[i].failures, 0);
        taken += writers[i].turns;
    }
    assert_int_equal(fixture->settled_count, taken);
    assert_int_equal(journal_counts(fixture->journal).lines, taken);
    struct buffer content = BUFFER_EMPTY;
    kit_read_file(fixture->path, &content);
    unsigned next[WRITERS] = {0};
    size_t lines = 0;
    for (char *at = content.bytes; *at != '\0'; at = strchr(at, '\n') + 1, lines++) {
        unsigned number, turn;
        assert_int_equal(sscanf(at, "%u %u\n", &number, &turn), 2);
        assert_int_equal(turn, next[number]++);
    }
    assert_int_equal(lines, taken);
    buffer_free(&content);
    fixture_free(fixture);
}

static void the_end_does_not_wait_for_a_disk_that_hangs(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_prepare();
    fixture->options.call_ns = SHORT_CALL_NS;
    fixture_open(fixture);
    struct record record;
    gate_shut(GATE_FDATASYNC, true);
    submit(&record, fixture, "line\n");
    gate_await_waiting();
    assert_int_equal(journal_stop(fixture->journal), -1);
    assert_int_equal(record.calls, 1);
    assert_int_equal(record.result, JOURNAL_UNKNOWN);
    gate_shut(GATE_FDATASYNC, false);
    while (journal_stop(fixture->journal) != 0)
        continue;
    fixture_free(fixture);
}

/* --- who may write --- */

static void expect_refused(const struct journal_options *options, const char *part)
{
    char reason[JOURNAL_REASON_BYTES] = "";
    assert_null(journal_open(options, reason));
    if (strstr(reason, part) == NULL || strchr(reason, '\n') != NULL)
        fail_msg("%s: %s", part, reason);
}

static void one_server_writes_to_a_journal(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make();
    assert_int_equal(append(fixture, "1\n"), JOURNAL_OK);
    expect_refused(&fixture->options, "another server writes to it");
    /* In another process, too; and that its end frees nothing. */
    pid_t child = fork();
    if (child == 0) {
        char reason[JOURNAL_REASON_BYTES];
        _exit(journal_open(&fixture->options, reason) == NULL ? 7 : 0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    expect_refused(&fixture->options, "another server writes to it");
    assert_int_equal(append(fixture, "2\n"), JOURNAL_OK);
    journal_close(fixture->journal);
    fixture_open(fixture);
    assert_int_equal(append(fixture, "3\n"), JOURNAL_OK);
    kit_expect_file(fixture->path, "1\n2\n3\n");
    fixture_free(fixture);
}

static void what_cant_be_a_journal_is_refused(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make();
    struct journal_options options = fixture->options;
    options.path = fixture->folder;
    expect_refused(&options, "can't open ");
    expect_refused(&options, "Is a directory");
    options.path = BESIDE(fixture, "nowhere/journal");
    expect_refused(&options, "No such file or directory");
    options.path = "/dev/null";
    expect_refused(&options, "is no regular file");
    options.path = BESIDE(fixture, "other");
    gate_fail(GATE_OPEN, 0, 1, EACCES);
    expect_refused(&options, "Permission denied");
    /* Its content, then its folder. */
    gate_fail(GATE_FSYNC, 0, 1, EIO);
    expect_refused(&options, "can't sync ");
    gate_fail(GATE_FSYNC, 1, 1, EIO);
    expect_refused(&options, "can't sync the folder of ");
    gate_fail(GATE_OPEN, 1, 1, EMFILE);
    expect_refused(&options, "can't open the folder of ");
    journal_close(NULL);
    fixture_free(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_is_there_when_it_is_settled),
        cmocka_unit_test(what_waits_is_one_batch),
        cmocka_unit_test(a_batch_is_bounded_and_a_larger_append_goes_alone),
        cmocka_unit_test(each_append_of_many_threads_is_there_once_in_the_order_of_settling),
        cmocka_unit_test(too_many_bytes_are_not_taken),
        cmocka_unit_test(lines_that_are_not_whole_are_not_taken),
        cmocka_unit_test(what_is_settled_may_be_freed_and_others_submitted),
        cmocka_unit_test(a_disk_that_hangs_holds_nobody_up),
        cmocka_unit_test(too_little_time_is_no_time),
        cmocka_unit_test(the_end_settles_all),
        cmocka_unit_test(a_journal_is_stopped_under_load),
        cmocka_unit_test(the_end_does_not_wait_for_a_disk_that_hangs),
        cmocka_unit_test(one_server_writes_to_a_journal),
        cmocka_unit_test(what_cant_be_a_journal_is_refused),
    };
    return cmocka_run_group_tests(tests, install_gate, NULL);
}
