/* Many writers, a journal that is renamed all the time, faults, and a follower that is restarted all the time: each
 * acknowledged line is in the files once, and is read once, in order. */
#include "journal_kit.h"

#include <sched.h>
#include <stdatomic.h>

enum { WRITERS = 6, ROTATIONS = 40, LINES_A_ROTATION = 200 };

/* What was seen: each writer's lines in their order. Lines that were not acknowledged may be missing. */
struct account {
    unsigned next[WRITERS];
    size_t lines;
};

struct load {
    struct fixture *fixture;
    atomic_size_t acknowledged;
    atomic_bool enough;  /* writers end */
    atomic_bool written; /* all have */
    struct account followed;
    unsigned files_followed;
};

struct writer {
    pthread_t thread;
    struct load *load;
    unsigned number;
    struct buffer outcomes; /* of each line, a byte */
};

/* Waits for each line, and goes on whatever has become of it. */
static void *writer_main(void *context)
{
    struct writer *writer = context;
    struct load *load = writer->load;
    for (unsigned i = 0; !atomic_load(&load->enough); i++) {
        char line[32];
        struct record record;
        snprintf(line, sizeof line, "<%u %u>\n", writer->number, i);
        record_make(&record, load->fixture, text_from(line));
        if (journal_submit(load->fixture->journal, &record.append) != 0)
            abort();
        char outcome = (char)await_record(&record);
        buffer_append(&writer->outcomes, &outcome, 1);
        atomic_fetch_add(&load->acknowledged, outcome == JOURNAL_OK ? 1 : 0);
    }
    return NULL;
}

/* Takes a line into account. Called while writers write, so it asks for the order alone. */
static void see_line(struct account *account, struct text text)
{
    char line[32];
    unsigned number, turn;
    assert_true(text.length < sizeof line);
    memcpy(line, text.bytes, text.length);
    line[text.length] = '\0';
    if (sscanf(line, "<%u %u>", &number, &turn) != 2)
        fail_msg("%s", line);
    assert_true(number < WRITERS && turn >= account->next[number]);
    account->next[number] = turn + 1;
    account->lines++;
}

/* --- the follower, as a process that is killed now and then --- */

static bool open_from(struct load *load, const struct journal_checkpoint *from,
                      struct journal_reader **reader)
{
    char path[JOURNAL_PATH_BYTES];
    enum journal_read_result result = journal_find(load->fixture->path, &from->identity, path);
    if (result != JOURNAL_READ_OK)
        fail_msg("find: %d, %d", result, errno);
    struct journal_reader_options options = {.path = path, .from = from};
    result = journal_reader_open(&options, reader);
    /* It may have been renamed meanwhile. */
    assert_true(result == JOURNAL_READ_OK || result == JOURNAL_READ_ABSENT || result == JOURNAL_READ_CHANGED);
    return result == JOURNAL_READ_OK;
}

static void go_on(struct load *load, struct journal_reader **reader)
{
    struct journal_reader_options options = {.path = load->fixture->path};
    struct journal_checkpoint done = journal_reader_checkpoint(*reader);
    struct journal_reader *next;
    uint64_t half_bytes;
    if (!journal_reader_is_finished(*reader, load->fixture->path, &half_bytes)) {
        sched_yield();
        return;
    }
    assert_int_equal(half_bytes, 0);
    enum journal_read_result result = journal_reader_open_next(&options, &done.identity, &next);
    if (result == JOURNAL_READ_ABSENT)
        return;
    assert_int_equal(result, JOURNAL_READ_OK);
    journal_reader_close(*reader);
    *reader = next;
    load->files_followed++;
}

/* Whether the end of all that will ever be written has been reached. */
static bool is_at_the_end(struct load *load, const struct journal_reader *reader)
{
    struct stat named;
    struct journal_checkpoint done = journal_reader_checkpoint(reader);
    if (!atomic_load(&load->written) || stat(load->fixture->path, &named) != 0)
        return false;
    return named.st_ino == done.identity.inode && (uint64_t)named.st_size == done.offset;
}

static void *follow(void *context)
{
    enum { LINES_A_LIFE = 37 };
    struct load *load = context;
    struct journal_reader_options options = {.path = load->fixture->path};
    struct journal_reader *reader = NULL;
    assert_int_equal(journal_reader_open_next(&options, NULL, &reader), JOURNAL_READ_OK);
    int64_t deadline_at = kit_patience();
    unsigned life = 0;
    while (!is_at_the_end(load, reader)) {
        struct journal_line line;
        enum journal_read_result result = journal_reader_next(reader, &line);
        if (result == JOURNAL_READ_OK)
            see_line(&load->followed, line.text);
        else if (result == JOURNAL_READ_END)
            go_on(load, &reader);
        else
            fail_msg("%d", result);
        if (++life % LINES_A_LIFE == 0) {
            struct journal_checkpoint done = journal_reader_checkpoint(reader);
            journal_reader_close(reader);
            while (!open_from(load, &done, &reader))
                assert_true(clock_monotonic_ns() < deadline_at);
        }
        assert_true(clock_monotonic_ns() < deadline_at);
    }
    journal_reader_close(reader);
    return NULL;
}

/* --- rotation --- */

static const char *numbered(const struct load *load, unsigned number, char path[static KIT_PATH_BYTES])
{
    char name[32];
    snprintf(name, sizeof name, number == 0 ? "journal" : "journal.%u", number);
    return beside(load->fixture, name, path);
}

/* As logrotate does it: the oldest first. `count` are there already. */
static void rotate(const struct load *load, unsigned count)
{
    char from[KIT_PATH_BYTES], to[KIT_PATH_BYTES];
    for (unsigned i = count + 1; i > 0; i--)
        assert_int_equal(rename(numbered(load, i - 1, from), numbered(load, i, to)), 0);
}

/* Waits until the writers have gone on for some lines, the last ones in a file of the journal's name. */
static void await_progress(const struct load *load)
{
    int64_t deadline_at = kit_patience();
    size_t before = atomic_load(&load->acknowledged);
    struct stat named;
    while (atomic_load(&load->acknowledged) < before + LINES_A_ROTATION ||
           stat(load->fixture->path, &named) != 0) {
        assert_true(clock_monotonic_ns() < deadline_at);
        sched_yield();
    }
}

/* Sees all lines of all files, from the oldest to the newest: each was acknowledged, and stands there once, as the order of
 * its writer's lines leaves no room for a second time. */
static size_t count_acknowledged_lines(const struct load *load, const struct writer *writers,
                                       unsigned rotations)
{
    char path[KIT_PATH_BYTES];
    struct buffer content = BUFFER_EMPTY;
    for (unsigned i = rotations + 1; i > 0; i--)
        kit_read_file(numbered(load, i - 1, path), &content);
    struct account account = {.lines = 0};
    for (struct text rest = {content.bytes, content.length}; rest.length > 0;) {
        struct account before = account;
        see_line(&account, text_cut(&rest, '\n'));
        for (unsigned i = 0; i < WRITERS; i++) {
            if (account.next[i] != before.next[i])
                assert_int_equal(writers[i].outcomes.bytes[account.next[i] - 1], JOURNAL_OK);
        }
    }
    buffer_free(&content);
    return account.lines;
}

static void expect_all_lines(const struct load *load, const struct writer *writers, unsigned rotations)
{
    size_t acknowledged = atomic_load(&load->acknowledged);
    for (unsigned i = 0; i < WRITERS; i++)
        assert_null(memchr(writers[i].outcomes.bytes, JOURNAL_UNKNOWN, writers[i].outcomes.length));
    assert_int_equal(count_acknowledged_lines(load, writers, rotations), acknowledged);
    assert_int_equal(journal_counts(load->fixture->journal).lines, acknowledged);
    assert_int_equal(load->followed.lines, acknowledged);
}

static void run(bool faults)
{
    static struct load load;
    static struct writer writers[WRITERS];
    pthread_t follower;
    load = (struct load){.fixture = fixture_make()};
    assert_int_equal(pthread_create(&follower, NULL, follow, &load), 0);
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.load = &load, .number = i};
        assert_int_equal(pthread_create(&writers[i].thread, NULL, writer_main, &writers[i]), 0);
    }
    unsigned rotations = 0;
    for (; rotations < ROTATIONS; rotations++) {
        await_progress(&load);
        if (faults && rotations % 2 == 0)
            gate_fill_disk(5 + rotations);
        else if (faults)
            gate_fail(GATE_FDATASYNC, 0, 1, EIO);
        rotate(&load, rotations);
    }
    await_progress(&load);
    atomic_store(&load.enough, true);
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(writers[i].thread, NULL);
    atomic_store(&load.written, true);
    pthread_join(follower, NULL);
    expect_all_lines(&load, writers, rotations);
    assert_int_equal(load.files_followed, ROTATIONS);
    struct journal_counts counts = journal_counts(load.fixture->journal);
    assert_true(faults ? counts.failures > 0 : counts.failures == 0);
    for (unsigned i = 0; i < WRITERS; i++)
        buffer_free(&writers[i].outcomes);
    fixture_free(load.fixture);
}

static void lines_survive_rotation_under_load(void **state)
{
    (void)state;
    run(false);
}

static void lines_survive_rotation_and_faults_under_load(void **state)
{
    (void)state;
    run(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_survive_rotation_under_load),
        cmocka_unit_test(lines_survive_rotation_and_faults_under_load),
    };
    return cmocka_run_group_tests(tests, install_gate, NULL);
}
