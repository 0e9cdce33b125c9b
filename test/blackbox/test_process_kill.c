/* Whatever happens to process while it counts: it is killed fifty times, a second one runs beside it, the database goes
 * away and comes back. The sums are exactly right after it; and it takes little memory for however long a journal. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../postgres.h"
#include "kit_live.h"

/* A build with sanitizers gets less to do. */
static int scaled(int count)
{
    return kit_time_scale() > 1 ? count / 10 : count;
}

static struct kit_revenues *new_revenues(struct kit *kit, size_t users)
{
    struct kit_revenues *revenues = kit_allocate(kit, sizeof *revenues);
    revenues->users = users;
    return revenues;
}

/* Microseconds, up to a limit that is such that some runs get through and more do not: so the kills hit every stage. */
struct patience {
    unsigned seed;
    double limit_us;
};

/* Starts process and kills it some time later. Whether it was killed; else it has ended by itself. */
static bool start_and_kill(struct kit *kit, const char *journal, struct patience *patience)
{
    int64_t delay_us = (int64_t)(patience->limit_us * rand_r(&patience->seed) / RAND_MAX);
    struct kit_server *processor = kit_start_processor(kit, journal);
    struct timespec delay = {.tv_sec = delay_us / 1000000, .tv_nsec = delay_us % 1000000 * 1000};
    ppoll(NULL, 0, &delay, NULL); /* the moment is to be random; nothing is waited for */
    bool ended = kit_processor_has_ended(processor);
    kit_kill(processor);
    int status = kit_wait_exit(processor);
    if (ended && status != 0)
        kit_fail(kit, "it ended with status %d:\n%s", status, kit_log(processor));
    patience->limit_us *= ended ? 0.75 : 1.12;
    return status == 128 + SIGKILL;
}

static void fifty_kills_change_nothing(void **state)
{
    int kills = 0, ends = 0, wanted = kit_time_scale() > 1 ? 10 : 50;
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_revenues *revenues = new_revenues(kit, KIT_REVENUE_USERS_MAX);
    struct kit_server *server = kit_serve_events(kit);
    kit_append_events(kit, journal, revenues, scaled(100000));
    struct patience patience = {.seed = (unsigned)kit_now_ms(), .limit_us = 100000};
    print_message("seed %u\n", patience.seed);
    while (kills < wanted) {
        kit_note(kit, "after %d kills and %d ends", kills, ends);
        if (start_and_kill(kit, journal, &patience)) {
            kills++;
        } else {
            ends++;
            kit_append_events(kit, journal, revenues, scaled(10000));
        }
        /* What is read meanwhile is no half sum: user1's is that of some prefix, which nobody knows; but there is one. */
        if (kills % 10 == 0)
            kit_assert_status_among(kit_get_path(server, "/userEvents/user1"), kit, "200|404");
    }
    if (revenues->lines < scaled(200000))
        kit_append_events(kit, journal, revenues, scaled(200000) - revenues->lines);
    assert_int_equal(kit_run_processor(kit, journal)->exit_status, 0);
    kit_check_revenues(server, revenues);
    kit_process_all(kit, journal, .added = "0", .subtracted = "0");
    print_message("%lld lines, %d kills, %d runs ended by themselves\n", (long long)revenues->lines, kills,
                  ends);
}

/* Killed just behind a transaction, as soon as another shows what it has stored. */
static void kills_between_transactions(void **state)
{
    int kills = 0;
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_revenues *revenues = new_revenues(kit, KIT_REVENUE_USERS_MAX);
    struct kit_server *server = kit_serve_events(kit);
    kit_append_events(kit, journal, revenues, scaled(1000000));
    for (bool ended = false; !ended;) {
        const char *before = kit_get_path(server, "/userEvents/user0")->body, *now;
        struct kit_server *processor = kit_start_processor(kit, journal);
        int64_t deadline_at_ms = kit_deadline_at_ms(INT64_C(2) * KIT_DEADLINE_MS);
        do {
            if (kit_now_ms() > deadline_at_ms)
                kit_fail(kit, "it stores nothing, and does not end");
            kit_pause();
            ended = kit_processor_has_ended(processor);
            now = kit_get_path(server, "/userEvents/user0")->body;
        } while (!ended && strcmp(now, before) == 0);
        kit_kill(processor);
        kills += kit_wait_exit(processor) == 128 + SIGKILL;
    }
    print_message("%d kills\n", kills);
    kit_check_revenues(server, revenues);
    kit_process_all(kit, journal, .added = "0", .subtracted = "0");
}

/* A signal ends it early: what it says it has counted is counted, and the next run does the rest. */
static void a_stopped_run_is_gone_on_with(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_revenues *revenues = new_revenues(kit, 100);
    kit_append_events(kit, journal, revenues, scaled(400000));
    int64_t counted = 0;
    for (int i = 0; i < 4; i++) {
        struct kit_server *processor = kit_start_processor(kit, journal);
        int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
        while (*kit_log(processor) == '\0' && kit_now_ms() < deadline_at_ms)
            kit_pause(); /* until it has begun */
        if (!kit_processor_has_ended(processor))
            kit_signal(processor, i % 2 == 0 ? SIGTERM : SIGINT);
        const struct kit_run *run = kit_finish_processor(processor);
        assert_in_range(run->exit_status, 0, 1);
        counted += kit_counted(kit, run);
    }
    const struct kit_run *run = kit_run_processor(kit, journal);
    assert_int_equal(run->exit_status, 0);
    assert_int_equal(counted + kit_counted(kit, run), revenues->lines);
    kit_check_revenues(kit_serve_events(kit), revenues);
}

/* Rotated meanwhile, too. */
static void kills_and_rotations(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_revenues *revenues = new_revenues(kit, 50);
    struct patience patience = {.seed = (unsigned)kit_now_ms(), .limit_us = 30000};
    print_message("seed %u\n", patience.seed);
    for (int i = 0; i < 15; i++) {
        kit_append_events(kit, journal, revenues, scaled(4000));
        start_and_kill(kit, journal, &patience);
        for (int number = 20; number >= 0; number--) {
            const char *from = number == 0 ? journal : kit_format(kit, "%s.%d", journal, number);
            if (access(from, F_OK) == 0)
                kit_rename(kit, from, kit_format(kit, "%s.%d", journal, number + 1));
        }
    }
    kit_append_events(kit, journal, revenues, scaled(4000));
    assert_int_equal(kit_run_processor(kit, journal)->exit_status, 0);
    kit_check_revenues(kit_serve_events(kit), revenues);
    kit_process_all(kit, journal, .added = "0", .subtracted = "0");
}

/* ---- two at once ---- */

/* One that did not count all says why in a line. */
static void expect_clear_end(struct kit *kit, const struct kit_run *run)
{
    if (run->exit_status == 0)
        return;
    assert_in_range(run->exit_status, 1, 2);
    if (!kit_matches(run->errors, "another|already|other process|process is|beside|two "))
        kit_fail(kit, "it does not say why it refuses: %s", run->errors);
}

static void two_at_once_count_nothing_twice(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_revenues *revenues = new_revenues(kit, 500);
    for (int round = 0; round < 3; round++) {
        kit_note(kit, "round %d", round);
        kit_append_events(kit, journal, revenues, scaled(50000));
        struct kit_server *processors[3];
        for (int i = 0; i < 3; i++)
            processors[i] = kit_start_processor(kit, journal);
        bool one_is_through = false;
        for (int i = 0; i < 3; i++) {
            const struct kit_run *run = kit_finish_processor(processors[i]);
            expect_clear_end(kit, run);
            one_is_through |= run->exit_status == 0;
        }
        assert_true(one_is_through);
        kit_process_all(kit, journal, .added = "0", .subtracted = "0");
    }
    kit_check_revenues(kit_serve_events(kit), revenues);
}

/* Two journals have nothing to do with each other but the users. */
static void two_journals_at_once(void **state)
{
    struct kit *kit = *state;
    const char *journals[] = {kit_new_journal(kit), kit_new_journal(kit)};
    struct kit_revenues *revenues = new_revenues(kit, 500);
    struct kit_server *processors[2];
    for (int i = 0; i < 2; i++)
        kit_append_events(kit, journals[i], revenues, scaled(30000));
    for (int i = 0; i < 2; i++)
        processors[i] = kit_start_processor(kit, journals[i]);
    for (int i = 0; i < 2; i++)
        expect_clear_end(kit, kit_finish_processor(processors[i]));
    for (int i = 0; i < 2; i++)
        assert_int_equal(kit_run_processor(kit, journals[i])->exit_status, 0);
    kit_check_revenues(kit_serve_events(kit), revenues);
}

static void a_second_one_beside_a_follower(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_server *server = kit_serve_events(kit);
    kit_append(kit, journal, kit_add(kit, "u", "1"));
    struct kit_server *follower = kit_start_processor(kit, journal, "--follow");
    kit_wait_until_revenue(server, "u", "1");
    struct kit_server *second = kit_start_processor(kit, journal);
    kit_append(kit, journal, kit_add(kit, "u", "10"));
    kit_wait_until_revenue(server, "u", "11");
    kit_signal(follower, SIGTERM);
    assert_int_equal(kit_wait_exit(follower), 0);
    /* Refused, or it has waited or counted its share. */
    expect_clear_end(kit, kit_finish_processor(second));
    kit_append(kit, journal, kit_add(kit, "u", "100"));
    kit_process_all(kit, journal, .lines = 1, .users = 1);
    kit_assert_revenue(server, "u", "111");
}

/* ---- the database goes ---- */

static void the_database_goes_and_comes_back(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_revenues *revenues = new_revenues(kit, 500);
    struct postgres *postgres = kit_postgres(kit);
    unsigned seed = (unsigned)kit_now_ms();
    print_message("seed %u\n", seed);
    for (int round = 0; round < 4; round++) {
        kit_note(kit, "round %d", round);
        kit_append_events(kit, journal, revenues, scaled(200000));
        struct kit_server *processor = kit_start_processor(kit, journal);
        /* It must have begun: at its start an unusable database ends it. */
        int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
        while (*kit_log(processor) == '\0' && kit_now_ms() < deadline_at_ms)
            kit_pause();
        poll(NULL, 0, rand_r(&seed) % 60); /* a random moment */
        assert_int_equal(postgres_stop(postgres, round % 2 == 0), 0);
        bool ended = kit_processor_has_ended(processor);
        assert_int_equal(postgres_restart(postgres), 0);
        const struct kit_run *run = kit_finish_processor(processor);
        if (run->exit_status != 0)
            kit_fail(kit, "it did not go on: exit status %d\n%s%s", run->exit_status, run->output,
                     run->errors);
        print_message("round %d: it had %s when the database stopped\n", round,
                      ended ? "ended" : "not ended");
        kit_process_all(kit, journal, .added = "0", .subtracted = "0");
    }
    kit_check_revenues(kit_serve_events(kit), revenues);
}

/* ---- memory ---- */

/* The most that the process has had in memory, as far as it has been seen; KiB. */
static long peak_memory(struct kit *kit, struct kit_server *processor)
{
    const char *path = kit_format(kit, "/proc/%d/status", (int)kit_process(processor));
    int64_t deadline_at_ms = kit_deadline_at_ms(INT64_C(6) * KIT_DEADLINE_MS);
    long peak = 0;
    while (!kit_processor_has_ended(processor)) {
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(kit, "it does not end");
        char line[256];
        FILE *file = fopen(path, "re");
        while (file != NULL && fgets(line, sizeof line, file) != NULL) {
            long now;
            if (sscanf(line, "VmHWM: %ld", &now) == 1 && now > peak)
                peak = now;
        }
        if (file != NULL)
            fclose(file);
        kit_pause();
    }
    return peak;
}

static void check_memory(struct kit *kit, const char *journal)
{
    struct stat status;
    assert_int_equal(stat(journal, &status), 0);
    struct kit_server *processor = kit_start_processor(kit, journal);
    long peak = peak_memory(kit, processor);
    assert_int_equal(kit_wait_exit(processor), 0);
    print_message("%lld MB of journal, %ld MB of memory\n", (long long)status.st_size / 1000000, peak / 1000);
    assert_in_range(peak, 1, kit_time_scale() > 1 ? 1000000 : 100000);
}

static void a_long_journal_takes_little_memory(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    struct kit_revenues *revenues = new_revenues(kit, KIT_REVENUE_USERS_MAX);
    kit_append_events(kit, journal, revenues, scaled(850000));
    check_memory(kit, journal);
    kit_check_revenues(kit_serve_events(kit), revenues);
}

/* Nor do many users. */
static void many_users_take_little_memory(void **state)
{
    struct kit *kit = *state;
    const char *journal = kit_new_journal(kit);
    FILE *file = fopen(journal, "we");
    assert_non_null(file);
    int users = scaled(300000);
    for (int i = 0; i < users; i++)
        fprintf(
            file,
            "{\"userId\":\"a user with a rather long name %d\",\"name\":\"add_revenue\",\"value\":%d.5}\n", i,
            i);
    assert_int_equal(fclose(file), 0);
    check_memory(kit, journal);
    kit_append(kit, journal, kit_add(kit, "last", "1"));
    kit_process_all(kit, journal, .lines = 1, .users = 1);
    const char *target =
        kit_format(kit, "/userEvents/a%%20user%%20with%%20a%%20rather%%20long%%20name%%20%d", users - 1);
    kit_assert_body_matches(kit_get_path(kit_serve_events(kit), target),
                            kit_format(kit, ":%d\\.5\\}$", users - 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_engines(fifty_kills_change_nothing),
        kit_test_engines(kills_between_transactions),
        kit_test_engines(a_stopped_run_is_gone_on_with),
        kit_test_sqlite(kills_and_rotations),
        kit_test_engines(two_at_once_count_nothing_twice),
        kit_test_engines(two_journals_at_once),
        kit_test_engines(a_second_one_beside_a_follower),
        kit_test_postgresql(the_database_goes_and_comes_back),
        kit_test_sqlite(a_long_journal_takes_little_memory),
        kit_test_sqlite(many_users_take_little_memory),
    };
    return kit_run_event_tests(tests);
}
