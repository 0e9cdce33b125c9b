/* The journal under load: every event that is answered 200 is in it exactly once and whole, also when the server is
 * killed or stopped, the file is renamed, or the disk takes no more. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kit_live.h"

#define PATHS(...) ((const char *const[]){__VA_ARGS__, NULL})

static int scaled(int count)
{
    return kit_time_scale() > 1 ? count / 4 : count;
}

static void fifty_clients_share_syncs(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_server *server = kit_serve_live(kit, journal);
    struct kit_live_load *load = kit_start_load(server, 0, 50, 0);
    kit_wait_until_taken(load, scaled(10000));
    kit_finish_load(load);
    struct kit_live_lines lines = kit_check_load(kit, load, PATHS(journal));
    assert_int_equal(lines.events, load->taken);
    assert_int_equal(lines.halves, 0);
    assert_int_equal(kit_health(server, "journal.lines"), lines.events);
    int64_t syncs = kit_health(server, "journal.syncs");
    print_message("%lld events by %lld syncs\n", (long long)lines.events, (long long)syncs);
    assert_in_range(syncs, 1, lines.events - 1);
    kit_process_all(kit, journal, .lines = lines.events, .users = -1);
}

/* Clients of many lines at once do not mix them with those of others. */
static void batches_stay_together(void **state)
{
    enum { BATCHES = 20, LINES = 200 };
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_server *server = kit_serve_live(kit, journal);
    const char *lines = kit_repeat(kit, kit_add(kit, "batch", "1"), LINES);
    struct kit_live_load *load = kit_start_load(server, 0, 8, 0);
    for (int i = 0; i < BATCHES; i++)
        kit_assert_status(kit_post_live_lines(server, lines), 200);
    kit_finish_load(load);
    const char *text = kit_read_file(kit, journal);
    int count = 0;
    for (const char *found; (found = strstr(text, lines)) != NULL; text = found + strlen(lines))
        count++;
    assert_int_equal(count, BATCHES);
}

/* ---- ends of the server ---- */

static void what_was_answered_survives_kills(void **state)
{
    enum { ROUNDS = 10, CLIENTS = 16 };
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_live_load *loads[ROUNDS];
    struct kit_live_lines lines = {0};
    srand((unsigned)kit_now_ms());
    for (int round = 0; round < ROUNDS; round++) {
        struct kit_server *server = kit_serve_live(kit, journal);
        loads[round] = kit_start_load(server, round, CLIENTS, KIT_LIVE_MAY_BREAK);
        kit_wait_until_taken(loads[round], 1 + rand() % scaled(1000));
        kit_kill(server);
        kit_finish_load(loads[round]);
        kit_note(kit, "round %d", round);
        for (int i = 0; i <= round; i++)
            lines = kit_check_load(kit, loads[i], PATHS(journal));
        assert_in_range(lines.halves, 0, round + 1);
    }
    struct kit_server *server = kit_serve_live(kit, journal);
    kit_live(server, kit_add(kit, "load 0 client 0", "0"));
    const char *last = kit_last_line(kit, kit_read_file(kit, journal));
    assert_string_equal(kit_format(kit, "%s\n", last), kit_add(kit, "load 0 client 0", "0"));
    print_message("%lld events, %d half lines\n", (long long)lines.events, lines.halves);
    kit_expect_summary(kit, kit_run_processor(kit, journal), lines.halves > 0, .lines = lines.events + 1,
                       .users = -1, .skipped = lines.halves);
}

static void a_stop_loses_nothing(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    for (int round = 0; round < 3; round++) {
        struct kit_server *server = kit_serve_live(kit, journal);
        struct kit_live_load *load =
            kit_start_load(server, round, 16, KIT_LIVE_MAY_BREAK | KIT_LIVE_MAY_REFUSE);
        kit_wait_until_taken(load, scaled(800));
        kit_signal(server, SIGTERM);
        assert_int_equal(kit_wait_exit(server), 0);
        kit_finish_load(load);
        assert_int_equal(kit_check_load(kit, load, PATHS(journal)).halves, 0);
    }
}

/* ---- rotation ---- */

static void a_renamed_journal_is_followed_by_a_new_one(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit), *renamed = kit_format(kit, "%s.1", journal);
    struct kit_server *server = kit_serve_live(kit, journal);
    kit_live(server, kit_add(kit, "a", "1"));
    kit_rename(kit, journal, renamed);
    kit_live(server, kit_add(kit, "b", "2"));
    kit_live(server, kit_add(kit, "c", "3"));
    assert_string_equal(kit_read_file(kit, renamed), kit_add(kit, "a", "1"));
    assert_string_equal(kit_read_file(kit, journal),
                        kit_format(kit, "%s%s", kit_add(kit, "b", "2"), kit_add(kit, "c", "3")));
    assert_int_equal(unlink(journal), 0);
    kit_live(server, kit_add(kit, "d", "4"));
    assert_string_equal(kit_read_file(kit, journal), kit_add(kit, "d", "4"));
}

/* Waits until the load has made a new file. */
static void wait_until_file(struct kit *kit, const char *path)
{
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
    while (access(path, F_OK) != 0) {
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(kit, "there is no new %s", path);
        kit_pause();
    }
}

static void rotation_under_load_loses_nothing(void **state)
{
    enum { ROTATIONS = 8 };
    struct kit *kit = *state;
    const char *names[ROTATIONS + 2] = {0}; /* the oldest first */
    names[ROTATIONS] = kit_new_journal(kit);
    for (int i = 0; i < ROTATIONS; i++)
        names[i] = kit_format(kit, "%s.%d", names[ROTATIONS], ROTATIONS - i);
    struct kit_server *server = kit_serve_live(kit, names[ROTATIONS]);
    struct kit_live_load *load = kit_start_load(server, 0, 16, 0);
    for (int rotation = 0; rotation < ROTATIONS; rotation++) {
        kit_wait_until_taken(load, (rotation + 1) * scaled(400));
        for (int i = ROTATIONS - rotation; i <= ROTATIONS; i++) /* each name to the one before it */
            kit_rename(kit, names[i], names[i - 1]);
        wait_until_file(kit, names[ROTATIONS]);
    }
    kit_wait_until_taken(load, (ROTATIONS + 1) * scaled(400));
    kit_finish_load(load);
    struct kit_live_lines lines = kit_check_load(kit, load, names);
    assert_int_equal(lines.events, load->taken);
    assert_int_equal(lines.halves, 0);
    kit_process_all(kit, names[ROTATIONS], .lines = lines.events, .users = -1);
}

/* ---- a disk that takes no more ---- */

/* A limit on the size of each of the server's files, as if the disk were full behind it. */
static void limit_files(struct kit_server *server, rlim_t length)
{
    struct rlimit limit;
    if (prlimit(kit_process(server), RLIMIT_FSIZE, NULL, &limit) != 0)
        kit_fail(kit_of(server), "prlimit: %s", strerror(errno));
    limit.rlim_cur = length < limit.rlim_max ? length : limit.rlim_max;
    if (prlimit(kit_process(server), RLIMIT_FSIZE, &limit, NULL) != 0)
        kit_fail(kit_of(server), "prlimit: %s", strerror(errno));
}

static void expect_full(struct kit *kit, const struct kit_response *response)
{
    kit_assert_error(response, 503, ".");
    kit_assert_header_matches(response, kit, "Retry-After", "^[0-9]+$");
    if (strstr(response->body, "outcome unknown") != NULL)
        kit_fail(kit, "a full disk leaves nothing open: %s", response->body);
}

static void a_full_disk_refuses_and_leaves_no_half(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_server *server = kit_serve_live(kit, journal);
    /* The log must have room; the journal is the larger file. */
    const char *lines = kit_repeat(kit, kit_add(kit, "before", "1"), 2000);
    kit_assert_status(kit_post_live_lines(server, lines), 200);
    const char *event = kit_add(kit, "after", "1");
    for (size_t room = 0; room < strlen(event); room += 17) {
        kit_note(kit, "room for %zu bytes", room);
        limit_files(server, strlen(lines) + room);
        expect_full(kit, kit_post_live(server, event));
        expect_full(kit, kit_post_live_lines(server, kit_repeat(kit, event, 3)));
        assert_string_equal(kit_read_file(kit, journal), lines);
        kit_assert_body(kit_get_path(server, "/healthz"), "{\"ok\":true}");
        kit_assert_revenue(server, "before", NULL);
    }
    /* A batch of which some lines have room is refused whole; what fits is taken. */
    limit_files(server, strlen(lines) + strlen(event) + 5);
    expect_full(kit, kit_post_live_lines(server, kit_repeat(kit, event, 3)));
    assert_string_equal(kit_read_file(kit, journal), lines);
    kit_live(server, event);
    expect_full(kit, kit_post_live(server, event));
    limit_files(server, RLIM_INFINITY);
    kit_live(server, event);
    assert_string_equal(kit_read_file(kit, journal), kit_format(kit, "%s%s%s", lines, event, event));
    kit_process_all(kit, journal, .lines = 2002, .users = 2, .added = "2002", .subtracted = "0");
}

static void a_full_disk_under_load(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_server *server = kit_serve_live(kit, journal);
    struct kit_live_load *load = kit_start_load(server, 0, 16, KIT_LIVE_MAY_REFUSE);
    int64_t deadline_at_ms = kit_deadline_at_ms(INT64_C(4) * KIT_DEADLINE_MS);
    for (int round = 0; round < 4; round++) {
        kit_wait_until_taken(load, atomic_load(&load->taken) + scaled(600));
        struct stat status;
        assert_int_equal(stat(journal, &status), 0);
        limit_files(server, (rlim_t)status.st_size + 3333);
        int refused = atomic_load(&load->refused);
        while (atomic_load(&load->refused) < refused + 32 && !atomic_load(&load->failed) &&
               kit_now_ms() < deadline_at_ms)
            kit_pause();
        limit_files(server, RLIM_INFINITY);
    }
    kit_wait_until_taken(load, atomic_load(&load->taken) + scaled(600));
    kit_finish_load(load);
    assert_in_range(load->refused, 4 * 32, INT32_MAX);
    struct kit_live_lines lines = kit_check_load(kit, load, PATHS(journal));
    assert_int_equal(lines.halves, 0);
    assert_int_equal(lines.events, load->taken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_sqlite(fifty_clients_share_syncs),
        kit_test_sqlite(batches_stay_together),
        kit_test_sqlite(what_was_answered_survives_kills),
        kit_test_sqlite(a_stop_loses_nothing),
        kit_test_sqlite(a_renamed_journal_is_followed_by_a_new_one),
        kit_test_sqlite(rotation_under_load_loses_nothing),
        kit_test_sqlite(a_full_disk_refuses_and_leaves_no_half),
        kit_test_sqlite(a_full_disk_under_load),
    };
    return kit_run_event_tests(tests);
}
