/* Which file process goes on with: journals that were rotated between two runs are finished in their order, those that
 * were cut or replaced are noticed, and what a server may still take back is left alone. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit_live.h"

static const char *add_all(struct kit *kit, const char *user, int count)
{
    return kit_repeat(kit, kit_add(kit, user, "1"), (size_t)count);
}

static const char *numbered(struct kit *kit, const char *journal, int number)
{
    return number == 0 ? journal : kit_format(kit, "%s.%d", journal, number);
}

/* As logrotate does it: NAME.1 becomes NAME.2, NAME becomes NAME.1. */
static void rotate(struct kit *kit, const char *journal)
{
    int oldest = 0;
    while (access(numbered(kit, journal, oldest), F_OK) == 0)
        oldest++;
    for (int i = oldest; i > 0; i--)
        kit_rename(kit, numbered(kit, journal, i - 1), numbered(kit, journal, i));
}

/* Something is said about the journal, beside the summary, and the exit status is 1. */
static void expect_report(struct kit *kit, const struct kit_run *run, int64_t lines)
{
    kit_expect_summary(kit, run, 1, .lines = lines, .users = lines > 0, .subtracted = "0");
    if (!kit_matches(run->errors,
                     "server-events\\.jsonl[^\n]*(cut|truncat|short|replac|other|another|not the file|"
                     "different|changed)"))
        kit_fail(kit, "it is not reported what has become of the journal:\n%s", run->errors);
}

static void a_rotated_journal_is_finished_first(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    kit_append(kit, journal, add_all(kit, "u", 3));
    kit_process_all(kit, journal, .lines = 3, .users = 1);
    kit_append(kit, journal, add_all(kit, "u", 2));
    rotate(kit, journal);
    kit_append(kit, journal, add_all(kit, "v", 4));
    kit_process_all(kit, journal, .lines = 6, .users = 2, .added = "6");
    kit_process_all(kit, journal, .added = "0");
    kit_append(kit, journal, add_all(kit, "v", 1));
    kit_process_all(kit, journal, .lines = 1, .users = 1);
    struct kit_server *server = kit_serve_events(kit);
    kit_assert_revenue(server, "u", "5");
    kit_assert_revenue(server, "v", "5");
}

static void several_rotations_between_runs(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    kit_append(kit, journal, add_all(kit, "u", 3));
    kit_process_all(kit, journal, .lines = 3, .users = 1);
    for (int i = 0; i < 12; i++) {
        rotate(kit, journal);
        kit_append(kit, journal, add_all(kit, "u", 1 + i % 3));
    }
    kit_process_all(kit, journal, .lines = 24, .users = 1, .added = "24");
    kit_process_all(kit, journal, .added = "0");
    rotate(kit, journal);
    kit_append(kit, journal, add_all(kit, "u", 1));
    kit_process_all(kit, journal, .lines = 1, .users = 1);
    kit_assert_revenue(kit_serve_events(kit), "u", "28");
}

static void the_first_run_begins_with_the_oldest(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    kit_append(kit, journal, add_all(kit, "c", 3));
    kit_append(kit, numbered(kit, journal, 1), kit_format(kit, "%sbad\n", add_all(kit, "b", 2)));
    kit_append(kit, numbered(kit, journal, 2), kit_format(kit, "bad\n%s", add_all(kit, "a", 1)));
    kit_append(kit, kit_format(kit, "%s.bak", journal), add_all(kit, "nobody", 1));
    const struct kit_run *run = kit_run_processor(kit, journal);
    kit_expect_summary(kit, run, 1, .lines = 6, .users = 3, .added = "6", .skipped = 2);
    const char *oldest = strstr(run->errors, "jsonl.2:1: skipped: ");
    if (oldest == NULL || strstr(oldest, "jsonl.1:3: skipped: ") == NULL)
        kit_fail(kit, "not both, the oldest first: %s", run->errors);
    kit_process_all(kit, journal, .added = "0");
    kit_assert_revenue(kit_serve_events(kit), "nobody", NULL);
}

/* Small files are done within the same millisecond; the next run still knows which came last. */
static void small_files_are_done_at_once(void **state)
{
    struct kit *kit = *state;
    int64_t sum = 0;
    for (int i = 0; i < 12; i++) {
        kit_note(kit, "journal %d", i);
        const char *journal = kit_new_journal(kit);
        for (int number = 0; number < 4; number++)
            kit_append(kit, numbered(kit, journal, number), add_all(kit, "u", 2));
        kit_process_all(kit, journal, .lines = 8, .users = 1);
        kit_append(kit, journal, add_all(kit, "u", 3));
        kit_process_all(kit, journal, .lines = 3, .users = 1);
        kit_process_all(kit, journal, .added = "0");
        sum += 11;
    }
    kit_assert_revenue(kit_serve_events(kit), "u", kit_format(kit, "%lld", (long long)sum));
}

/* The server has not written again yet. */
static void a_journal_that_was_only_renamed(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    kit_append(kit, journal, add_all(kit, "u", 3));
    kit_process_all(kit, journal, .lines = 3, .users = 1);
    kit_append(kit, journal, add_all(kit, "u", 1));
    rotate(kit, journal);
    /* Whether a missing FILE is refused then is left open; counted twice or lost nothing may be. */
    const struct kit_run *run = kit_run_processor(kit, journal);
    assert_in_range(run->exit_status, 0, 2);
    kit_append(kit, journal, add_all(kit, "u", 1));
    assert_int_equal(kit_run_processor(kit, journal)->exit_status, 0);
    kit_assert_revenue(kit_serve_events(kit), "u", "5");
}

static void empty_journals_may_be_rotated(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    kit_append(kit, journal, "");
    kit_process_all(kit, journal, .added = "0");
    rotate(kit, journal);
    kit_append(kit, journal, add_all(kit, "u", 2));
    kit_process_all(kit, journal, .lines = 2, .users = 1);
    rotate(kit, journal);
    kit_append(kit, journal, "");
    kit_process_all(kit, journal, .added = "0");
    rotate(kit, journal);
    kit_append(kit, journal, add_all(kit, "u", 3));
    kit_process_all(kit, journal, .lines = 3, .users = 1);
    kit_process_all(kit, journal, .added = "0");
    kit_assert_revenue(kit_serve_events(kit), "u", "5");
}

/* Half a line at the end of a journal that nobody writes to any more never becomes whole. */
static void half_a_line_of_a_rotated_journal(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    kit_append(kit, journal, kit_format(kit, "%s{\"userId\":\"u\",\"na", add_all(kit, "u", 3)));
    kit_process_all(kit, journal, .lines = 3, .users = 1);
    rotate(kit, journal);
    kit_append(kit, journal, add_all(kit, "u", 2));
    const struct kit_run *run = kit_run_processor(kit, journal);
    assert_in_range(run->exit_status, 0, 1);
    assert_int_equal(kit_counted(kit, run), 2);
    kit_process_all(kit, journal, .added = "0");
    kit_assert_revenue(kit_serve_events(kit), "u", "5");
}

/* The database knows files by what they are, not by their path. */
static void a_moved_journal_is_known_again(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    kit_append(kit, journal, add_all(kit, "u", 3));
    kit_process_all(kit, journal, .lines = 3, .users = 1);
    const char *link = kit_format(
        kit, "%s/../%s/server-events.jsonl", kit_make_directory(kit),
        strrchr(kit_format(kit, "%.*s", (int)(strrchr(journal, '/') - journal), journal), '/') + 1);
    kit_append(kit, journal, add_all(kit, "u", 1));
    kit_process_all(kit, link, .lines = 1, .users = 1);
    kit_assert_revenue(kit_serve_events(kit), "u", "4");
}

/* ---- cut and replaced ---- */

static void a_cut_journal_is_refused(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit), *line = kit_add(kit, "u", "1");
    kit_append(kit, journal, add_all(kit, "u", 5));
    kit_process_all(kit, journal, .lines = 5, .users = 1);
    /* By whole lines, and in the middle of one. */
    for (size_t cut = 0; cut < 2; cut++) {
        assert_int_equal(truncate(journal, (off_t)(strlen(line) * 3 - cut * 10)), 0);
        for (int i = 0; i < 2; i++)
            expect_report(kit, kit_run_processor(kit, journal), 0);
    }
    kit_assert_revenue(kit_serve_events(kit), "u", "5");
}

/* All of it is gone: noticed, and what comes after it is never counted from the middle. */
static void an_emptied_journal_is_reported(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    kit_append(kit, journal, add_all(kit, "u", 5));
    kit_process_all(kit, journal, .lines = 5, .users = 1);
    assert_int_equal(truncate(journal, 0), 0);
    expect_report(kit, kit_run_processor(kit, journal), 0);
}

static void a_journal_with_another_first_line_is_counted(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    kit_append(kit, journal, add_all(kit, "u", 5));
    kit_process_all(kit, journal, .lines = 5, .users = 1);
    /* Longer and shorter than what was counted. */
    kit_overwrite(kit, journal, kit_format(kit, "%s%s", kit_add(kit, "u", "1.5"), add_all(kit, "u", 7)));
    expect_report(kit, kit_run_processor(kit, journal), 8);
    kit_process_all(kit, journal, .added = "0");
    kit_overwrite(kit, journal, kit_format(kit, "%s%s", kit_add(kit, "u", "2.5"), add_all(kit, "u", 1)));
    expect_report(kit, kit_run_processor(kit, journal), 2);
    kit_process_all(kit, journal, .added = "0");
    kit_assert_revenue(kit_serve_events(kit), "u", "17");
}

/* Another file in its place, and the old one is nowhere: it may have been another journal's. */
static void a_replaced_journal_is_reported(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit), *other = kit_format(kit, "%s.new", journal);
    kit_append(kit, journal, add_all(kit, "u", 5));
    kit_process_all(kit, journal, .lines = 5, .users = 1);
    kit_append(kit, other, kit_format(kit, "%s%s", kit_add(kit, "u", "1.5"), add_all(kit, "u", 7)));
    kit_rename(kit, other, journal);
    const struct kit_run *run = kit_run_processor(kit, journal);
    assert_int_equal(run->exit_status, 0);
    assert_non_null(strstr(run->errors, "none of the files that were counted into this database before"));
    assert_non_null(strstr(run->errors, "from its beginning"));
    kit_process_all(kit, journal, .added = "0");
    kit_assert_revenue(kit_serve_events(kit), "u", "13.5");
}

/* What was rotated and counted before is not counted again because the newest file was replaced. */
static void a_replacement_leaves_older_ones_alone(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    kit_append(kit, journal, add_all(kit, "u", 5));
    kit_process_all(kit, journal, .lines = 5, .users = 1);
    rotate(kit, journal);
    kit_append(kit, journal, add_all(kit, "u", 3));
    kit_process_all(kit, journal, .lines = 3, .users = 1);
    kit_overwrite(kit, journal, kit_format(kit, "%s%s", kit_add(kit, "u", "1.5"), add_all(kit, "u", 7)));
    expect_report(kit, kit_run_processor(kit, journal), 8);
    kit_process_all(kit, journal, .added = "0");
    kit_assert_revenue(kit_serve_events(kit), "u", "16.5");
}

/* ---- what is durable ---- */

/* As a server does: a lock on everything behind the first `length` bytes; it goes with the descriptor. */
static int lock_from(struct kit *kit, const char *path, size_t length)
{
    int descriptor = open(path, O_RDWR | O_CLOEXEC);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)length, .l_len = 0};
    if (descriptor < 0 || fcntl(descriptor, F_OFD_SETLK, &lock) != 0)
        kit_fail(kit, "%s can't be locked: %s", path, strerror(errno));
    return descriptor;
}

static void what_is_not_durable_is_left(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit), *line = kit_add(kit, "u", "1");
    kit_append(kit, journal, add_all(kit, "u", 5));
    int lock = lock_from(kit, journal, 2 * strlen(line));
    kit_process_all(kit, journal, .lines = 2, .users = 1);
    kit_process_all(kit, journal, .added = "0");
    close(lock);
    lock = lock_from(kit, journal, 4 * strlen(line));
    kit_process_all(kit, journal, .lines = 2, .users = 1);
    close(lock);
    kit_process_all(kit, journal, .lines = 1, .users = 1);
}

/* A server that has not noticed the rotation may still write to the old file: that one comes first. */
static void a_renamed_journal_with_a_writer_is_not_done(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit), *line = kit_add(kit, "u", "1");
    kit_append(kit, journal, add_all(kit, "u", 2));
    int lock = lock_from(kit, journal, 2 * strlen(line));
    kit_process_all(kit, journal, .lines = 2, .users = 1);
    rotate(kit, journal);
    kit_append(kit, journal, add_all(kit, "v", 3));
    kit_process_all(kit, journal, .added = "0");
    kit_append(kit, numbered(kit, journal, 1), line);
    close(lock);
    kit_process_all(kit, journal, .lines = 4, .users = 2);
    kit_process_all(kit, journal, .added = "0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_engines(a_rotated_journal_is_finished_first),
        kit_test_engines(several_rotations_between_runs),
        kit_test_engines(the_first_run_begins_with_the_oldest),
        kit_test_engines(small_files_are_done_at_once),
        kit_test_sqlite(a_journal_that_was_only_renamed),
        kit_test_sqlite(empty_journals_may_be_rotated),
        kit_test_sqlite(half_a_line_of_a_rotated_journal),
        kit_test_sqlite(a_moved_journal_is_known_again),
        kit_test_engines(a_cut_journal_is_refused),
        kit_test_sqlite(an_emptied_journal_is_reported),
        kit_test_engines(a_journal_with_another_first_line_is_counted),
        kit_test_sqlite(a_replaced_journal_is_reported),
        kit_test_sqlite(a_replacement_leaves_older_ones_alone),
        kit_test_sqlite(what_is_not_durable_is_left),
        kit_test_sqlite(a_renamed_journal_with_a_writer_is_not_done),
    };
    return kit_run_event_tests(tests);
}
