/* The journal when the disk is full, or broken: what was refused is cut off, what can't be cut off is told. */
#include "journal_kit.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* --- what can't be written --- */

/* Wherever the disk gets full, of a batch nothing stays. */
static void of_a_batch_that_does_not_fit_nothing_stays(void **state)
{
    static const char lines[] = "second\nthird\n";
    (void)state;
    for (size_t room = 0; room < sizeof lines - 1; room++) {
        struct fixture *fixture = fixture_make();
        assert_int_equal(append(fixture, "first\n"), JOURNAL_OK);
        if (room == 0)
            gate_fail(GATE_WRITE, 0, 1, ENOSPC);
        else
            gate_fill_disk(room);
        assert_int_equal(append(fixture, lines), JOURNAL_FULL);
        kit_expect_file(fixture->path, "first\n");
        struct journal_counts counts = journal_counts(fixture->journal);
        assert_false(counts.available);
        assert_int_equal(counts.failures, 1);
        assert_int_equal(append(fixture, "fourth\n"), JOURNAL_OK);
        kit_expect_file(fixture->path, "first\nfourth\n");
        assert_true(journal_counts(fixture->journal).available);
        assert_int_equal(journal_counts(fixture->journal).lines, 2);
        fixture_free(fixture);
    }
}

/* A write that takes a part is no failure: the rest follows. */
static void a_short_write_goes_on(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make();
    gate_fill_disk(3);
    gate_fail(GATE_WRITE, 1, 1, EINTR);
    assert_int_equal(append(fixture, "first\nsecond\n"), JOURNAL_OK);
    assert_int_equal(gate_calls(GATE_WRITE), 3);
    kit_expect_file(fixture->path, "first\nsecond\n");
    fixture_free(fixture);
}

static void errors_are_told_apart(void **state)
{
    static const struct {
        int error;
        enum journal_result result;
    } table[] = {
        {ENOSPC, JOURNAL_FULL}, {EDQUOT, JOURNAL_FULL}, {EFBIG, JOURNAL_FULL},
        {EIO, JOURNAL_AWAY},    {EROFS, JOURNAL_AWAY},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct fixture *fixture = fixture_make();
        gate_fail(GATE_WRITE, 0, 1, table[i].error);
        assert_int_equal(append(fixture, "line\n"), table[i].result);
        gate_fail(GATE_FDATASYNC, 0, 1, table[i].error);
        assert_int_equal(append(fixture, "line\n"), table[i].result);
        kit_expect_file(fixture->path, "");
        assert_int_equal(append(fixture, "line\n"), JOURNAL_OK);
        kit_expect_file(fixture->path, "line\n");
        fixture_free(fixture);
    }
}

/* All that share a batch share its end; what came meanwhile is a batch of its own. */
static void a_failure_is_that_of_its_batch(void **state)
{
    enum { COUNT = 10 };
    (void)state;
    struct fixture *fixture = fixture_make();
    struct record first, records[COUNT], last;
    gate_shut(GATE_FDATASYNC, true);
    submit(&first, fixture, "first\n");
    gate_await_waiting();
    for (size_t i = 0; i < COUNT; i++)
        submit(&records[i], fixture, "refused\n");
    gate_fill_disk(11);
    gate_shut(GATE_FDATASYNC, false);
    await_settled(fixture, 1 + COUNT);
    assert_int_equal(await_record(&first), JOURNAL_OK);
    for (size_t i = 0; i < COUNT; i++) {
        assert_ptr_equal(fixture->order[i + 1], &records[i]);
        assert_int_equal(await_record(&records[i]), JOURNAL_FULL);
    }
    submit(&last, fixture, "last\n");
    assert_int_equal(await_record(&last), JOURNAL_OK);
    kit_expect_file(fixture->path, "first\nlast\n");
    fixture_free(fixture);
}

/* --- what can't be synced --- */

static void after_a_failed_sync_the_lines_are_cut_off_and_the_file_is_opened_anew(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make();
    assert_int_equal(append(fixture, "first\n"), JOURNAL_OK);
    unsigned opened = gate_calls(GATE_OPEN);
    gate_fail(GATE_FDATASYNC, 0, 1, EIO);
    assert_int_equal(append(fixture, "refused\n"), JOURNAL_AWAY);
    kit_expect_file(fixture->path, "first\n");
    /* The cut was synced, too. */
    assert_int_equal(gate_calls(GATE_FDATASYNC), 3);
    assert_int_equal(gate_calls(GATE_OPEN), opened);
    assert_int_equal(append(fixture, "second\n"), JOURNAL_OK);
    /* The file and its folder. */
    assert_int_equal(gate_calls(GATE_OPEN), opened + 2);
    kit_expect_file(fixture->path, "first\nsecond\n");
    fixture_free(fixture);
}

/* What was cut off may come back with a power cut. */
static void a_cut_that_is_not_synced_leaves_the_outcome_unknown(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make();
    gate_fail(GATE_FDATASYNC, 0, 2, EIO);
    assert_int_equal(append(fixture, "refused\n"), JOURNAL_UNKNOWN);
    kit_expect_file(fixture->path, "");
    assert_int_equal(append(fixture, "second\n"), JOURNAL_OK);
    kit_expect_file(fixture->path, "second\n");
    fixture_free(fixture);
}

/* --- what can't be cut off --- */

static void what_was_not_cut_off_is_cut_off_before_the_next_batch(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make();
    assert_int_equal(append(fixture, "first\n"), JOURNAL_OK);
    gate_fail(GATE_FTRUNCATE, 0, 1, EIO);
    pthread_mutex_lock(&gate.mutex);
    gate.failing[GATE_FDATASYNC] = 1;
    pthread_mutex_unlock(&gate.mutex);
    assert_int_equal(append(fixture, "refused\n"), JOURNAL_UNKNOWN);
    kit_expect_file(fixture->path, "first\nrefused\n");
    assert_int_equal(append(fixture, "second\n"), JOURNAL_OK);
    kit_expect_file(fixture->path, "first\nsecond\n");
    fixture_free(fixture);
}

static void what_was_not_cut_off_is_cut_off_at_the_end(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make();
    assert_int_equal(append(fixture, "first\n"), JOURNAL_OK);
    gate_fail(GATE_FTRUNCATE, 0, 1, EIO);
    pthread_mutex_lock(&gate.mutex);
    gate.failing[GATE_FDATASYNC] = 1;
    pthread_mutex_unlock(&gate.mutex);
    assert_int_equal(append(fixture, "refused\n"), JOURNAL_UNKNOWN);
    assert_int_equal(journal_stop(fixture->journal), 0);
    kit_expect_file(fixture->path, "first\n");
    fixture_free(fixture);
}

/* A file that can't be cut at all: what comes next is whole all the same. */
static void behind_what_cant_be_cut_off_lines_are_whole(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make();
    assert_int_equal(append(fixture, "first\n"), JOURNAL_OK);
    gate_fill_disk(10);
    pthread_mutex_lock(&gate.mutex);
    gate.failing[GATE_FTRUNCATE] = 2;
    pthread_mutex_unlock(&gate.mutex);
    assert_int_equal(append(fixture, "refused\nhalf\n"), JOURNAL_UNKNOWN);
    kit_expect_file(fixture->path, "first\nrefused\nha");
    assert_int_equal(append(fixture, "second\n"), JOURNAL_OK);
    kit_expect_file(fixture->path, "first\nrefused\nha\nsecond\n");
    assert_int_equal(append(fixture, "third\n"), JOURNAL_OK);
    kit_expect_file(fixture->path, "first\nrefused\nha\nsecond\nthird\n");
    assert_int_equal(gate_calls(GATE_FTRUNCATE), 2);
    fixture_free(fixture);
}

/* --- half a line --- */

static void half_a_line_gets_a_line_break_first(void **state)
{
    static const char *const table[][2] = {
        {"", "next\n"},           {"whole\n", "whole\nnext\n"},
        {"half", "half\nnext\n"}, {"whole\nhalf", "whole\nhalf\nnext\n"},
        {"\n", "\nnext\n"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct fixture *fixture = fixture_prepare();
        kit_write_file(fixture->path, table[i][0]);
        fixture_open(fixture);
        kit_expect_file(fixture->path, table[i][0]);
        /* A batch that fails takes its line break with it. */
        gate_fill_disk(2);
        assert_int_equal(append(fixture, "refused\n"), JOURNAL_FULL);
        kit_expect_file(fixture->path, table[i][0]);
        assert_int_equal(append(fixture, "next\n"), JOURNAL_OK);
        kit_expect_file(fixture->path, table[i][1]);
        /* The line break is none of the lines. */
        assert_int_equal(journal_counts(fixture->journal).lines, 1);
        assert_int_equal(journal_counts(fixture->journal).bytes, 5);
        fixture_free(fixture);
    }
}

/* Nobody should, but where others cut or append, lines stay whole. */
static void a_batch_goes_to_the_end_wherever_others_have_left_it(void **state)
{
    (void)state;
    struct fixture *fixture = fixture_make();
    assert_int_equal(append(fixture, "first\n"), JOURNAL_OK);
    kit_append_file(fixture->path, "stranger");
    assert_int_equal(append(fixture, "second\n"), JOURNAL_OK);
    kit_expect_file(fixture->path, "first\nstranger\nsecond\n");
    assert_int_equal(truncate(fixture->path, 3), 0);
    assert_int_equal(append(fixture, "third\n"), JOURNAL_OK);
    kit_expect_file(fixture->path, "fir\nthird\n");
    /* While a batch is under way that is cut off again: the cut makes nothing longer. */
    struct record record;
    gate_shut(GATE_FDATASYNC, true);
    submit(&record, fixture, "refused\n");
    gate_await_waiting();
    assert_int_equal(truncate(fixture->path, 3), 0);
    gate_fail(GATE_FDATASYNC, 0, 1, EIO);
    gate_shut(GATE_FDATASYNC, false);
    assert_int_equal(await_record(&record), JOURNAL_AWAY);
    kit_expect_file(fixture->path, "fir");
    fixture_free(fixture);
}

/* --- the real thing --- */

/* In a process of its own, as the limit is one of the process; SIGXFSZ would kill it. Returns the number of the check that
 * failed. */
static int exceed_the_limit(struct fixture *fixture)
{
    enum { LIMIT = 1000 };
    char reason[JOURNAL_REASON_BYTES];
    struct rlimit limit = {.rlim_cur = LIMIT, .rlim_max = RLIM_INFINITY};
    struct record record;
    unsigned taken = 0;
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        return 1;
    fixture->options.system = NULL;
    fixture->journal = journal_open(&fixture->options, reason);
    if (fixture->journal == NULL)
        return 2;
    enum journal_result result = JOURNAL_OK;
    for (; result == JOURNAL_OK; taken++) {
        record_make(&record, fixture, TEXT("some thirty bytes of a journal\n"));
        if (journal_submit(fixture->journal, &record.append) != 0)
            return 3;
        result = await_record(&record);
    }
    if (result != JOURNAL_FULL || taken - 1 != LIMIT / 31)
        return 4;
    limit.rlim_cur = RLIM_INFINITY;
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        return 5;
    record_make(&record, fixture, TEXT("room again\n"));
    if (journal_submit(fixture->journal, &record.append) != 0 || await_record(&record) != JOURNAL_OK)
        return 6;
    journal_close(fixture->journal);
    return 0;
}

static void beyond_the_size_limit_lines_are_refused(void **state)
{
    (void)state;
    for (unsigned ignored = 0; ignored < 2; ignored++) {
        struct fixture *fixture = fixture_prepare();
        pid_t child = fork();
        if (child == 0) {
            signal(SIGXFSZ, ignored ? SIG_IGN : SIG_DFL);
            _exit(exceed_the_limit(fixture));
        }
        int status;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        struct buffer expected = BUFFER_EMPTY;
        for (unsigned i = 0; i < 1000 / 31; i++)
            buffer_append_text(&expected, "some thirty bytes of a journal\n");
        buffer_append(&expected, "room again\n", sizeof "room again\n");
        kit_expect_file(fixture->path, expected.bytes);
        buffer_free(&expected);
        fixture_free(fixture);
    }
}

/* --- any failure at any time --- */

static unsigned draw(uint64_t *random, unsigned below)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return (unsigned)(*random >> 33) % below;
}

static bool has_line(const struct buffer *content, const char *line)
{
    const char *found = strstr(content->bytes, line);
    return found != NULL && (found == content->bytes || found[-1] == '\n');
}

/* Whatever fails: a line that was acknowledged is there, one that was refused is not, and all are in order. */
static void what_was_told_holds_whatever_fails(void **state)
{
    enum { ROUNDS = 3000 };
    static char lines[ROUNDS][32];
    static enum journal_result results[ROUNDS];
    static const int errors[] = {EIO, ENOSPC, EINTR};
    unsigned told[JOURNAL_UNKNOWN + 1] = {0};
    (void)state;
    struct fixture *fixture = fixture_make();
    uint64_t random = 0x9E3779B97F4A7C15;
    for (unsigned i = 0; i < ROUNDS; i++) {
        snprintf(lines[i], sizeof lines[i], "<%u>\n", i);
        for (unsigned faults = 0; faults < 2; faults++) {
            enum gate_call call = draw(&random, GATE_CALLS);
            unsigned failing = draw(&random, 3);
            gate_fail(call, draw(&random, 2), failing, errors[draw(&random, 3)]);
        }
        pthread_mutex_lock(&gate.mutex);
        gate.short_write = draw(&random, 12);
        pthread_mutex_unlock(&gate.mutex);
        results[i] = append(fixture, lines[i]);
        told[results[i]]++;
    }
    gate_reset();
    assert_int_equal(append(fixture, "end\n"), JOURNAL_OK);
    struct buffer content = BUFFER_EMPTY;
    kit_read_file(fixture->path, &content);
    const char *last = content.bytes;
    for (unsigned i = 0; i < ROUNDS; i++) {
        bool is_there = has_line(&content, lines[i]);
        if (results[i] != JOURNAL_UNKNOWN && is_there != (results[i] == JOURNAL_OK))
            fail_msg("%u: %d", i, results[i]);
        const char *found = strstr(content.bytes, lines[i]);
        assert_true(!is_there || found >= last);
        last = is_there ? found : last;
    }
    for (size_t i = 0; i <= JOURNAL_UNKNOWN; i++)
        assert_true(told[i] > ROUNDS / 100);
    buffer_free(&content);
    fixture_free(fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_a_batch_that_does_not_fit_nothing_stays),
        cmocka_unit_test(a_short_write_goes_on),
        cmocka_unit_test(errors_are_told_apart),
        cmocka_unit_test(a_failure_is_that_of_its_batch),
        cmocka_unit_test(after_a_failed_sync_the_lines_are_cut_off_and_the_file_is_opened_anew),
        cmocka_unit_test(a_cut_that_is_not_synced_leaves_the_outcome_unknown),
        cmocka_unit_test(what_was_not_cut_off_is_cut_off_before_the_next_batch),
        cmocka_unit_test(what_was_not_cut_off_is_cut_off_at_the_end),
        cmocka_unit_test(behind_what_cant_be_cut_off_lines_are_whole),
        cmocka_unit_test(half_a_line_gets_a_line_break_first),
        cmocka_unit_test(a_batch_goes_to_the_end_wherever_others_have_left_it),
        cmocka_unit_test(beyond_the_size_limit_lines_are_refused),
        cmocka_unit_test(what_was_told_holds_whatever_fails),
    };
    return cmocka_run_group_tests(tests, install_gate, NULL);
}
