/* Allocations that fail while a server starts, and in the commands: each ends with a message, or has done all it should; what it
 * has not done the next run does, and nothing twice. */
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kit_faults.h"
#include "kit_live.h"
#include "kit_send.h"

/* The first ones one by one, then with gaps that grow: of hundreds most are alike. */
static uint64_t next_of(uint64_t nth)
{
    return nth < 8 ? nth + 1 : nth + nth / 2;
}

/* Whether one has failed since. */
static bool end(struct faults *faults, uint64_t failed)
{
    kit_faults_end(faults);
    return atomic_load(&faults->failed_allocations) != failed;
}

/* One line, or more, and each says what is wrong. */
static void assert_message(struct kit *kit, const char *errors)
{
    if (!kit_matches(errors, "^event-syncer: .+\n$"))
        kit_fail(kit, "not a message: \"%s\"", errors);
}

/* --- serve --- */

/* Waits until the server serves, or has ended: returns whether it has ended. */
static bool has_ended(struct kit_server *server)
{
    const char *path = kit_format(kit_of(server), "%s/port", kit_directory(server));
    int64_t deadline_at_ms = kit_deadline_at_ms(10000);
    while (kit_now_ms() < deadline_at_ms) {
        siginfo_t info = {.si_pid = 0};
        if (waitid(P_PID, (id_t)kit_process(server), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
            info.si_pid != 0)
            return true;
        if (access(path, R_OK) == 0)
            return false;
        kit_pause();
    }
    kit_fail(kit_of(server), "the server neither serves nor ends");
}

static void a_server_that_starts(void **state)
{
    struct faults *faults = kit_faults(*state);
    static const char *const arguments[] = {"serve", "--listen", "127.0.0.1:0", "--port-file", "port", NULL};
    bool fired = true;
    unsigned ended = 0, served = 0;
    for (uint64_t nth = 1; fired && nth < 100000; nth = next_of(nth)) {
        kit_note(*state, "allocation %llu of the start", (unsigned long long)nth);
        uint64_t failed = atomic_load(&faults->failed_allocations);
        kit_fail_allocations(faults, nth, 1);
        struct kit_server *server = kit_launch(*state, arguments);
        bool is_over = has_ended(server);
        fired = end(faults, failed);
        if (is_over) {
            assert_int_equal(kit_wait_exit(server), 2);
            assert_message(*state, kit_log(server));
        } else {
            kit_stop(server);
        }
        ended += is_over;
        served += !is_over;
    }
    assert_false(fired);
    assert_true(ended > 5 && served > 0);
}

/* --- process --- */

/* The user's revenue in the database; "" when there is none. */
static const char *revenue_of(struct kit *kit, const char *path, const char *user)
{
    sqlite3 *database;
    sqlite3_stmt *statement;
    const char *revenue = "";
    assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(database, "SELECT revenue FROM users_revenue WHERE user_id = ?1", -1,
                                        &statement, NULL),
                     SQLITE_OK);
    sqlite3_bind_text(statement, 1, user, -1, SQLITE_STATIC);
    if (sqlite3_step(statement) == SQLITE_ROW)
        revenue = kit_format(kit, "%s", (const char *)sqlite3_column_text(statement, 0));
    sqlite3_finalize(statement);
    sqlite3_close(database);
    return revenue;
}

/* Each run has one line more to count; the sum is that of all lines, whatever the run before has come to. */
static void lines_that_are_counted(void **state)
{
    struct faults *faults = kit_faults(*state);
    const char *journal = kit_new_journal(*state);
    const char *database = kit_format(*state, "%s/events.db", kit_make_directory(*state));
    const char *url = kit_format(*state, "sqlite:%s", database);
    bool fired = true;
    unsigned failures = 0, lines = 0;
    for (uint64_t nth = 1; fired && nth < 100000; nth = next_of(nth)) {
        kit_note(*state, "allocation %llu of process", (unsigned long long)nth);
        uint64_t failed = atomic_load(&faults->failed_allocations);
        kit_append(*state, journal, kit_add(*state, "u", "1"));
        lines++;
        kit_fail_allocations(faults, nth, 1);
        const struct kit_run *run = kit_command(*state, "process", journal, "--database", url);
        fired = end(faults, failed);
        failures += run->exit_status != 0;
        if (run->exit_status != 0)
            assert_message(*state, run->errors);
        run = kit_command(*state, "process", journal, "--database", url);
        assert_int_equal(run->exit_status, 0);
        assert_string_equal(revenue_of(*state, database, "u"), kit_format(*state, "%u", lines));
    }
    assert_false(fired);
    assert_true(failures > 5);
}

/* --- send --- */

enum { LINES = 5 };

struct arming {
    struct faults *faults;
    uint64_t nth;
};

/* The first line has come: the command is in the middle of its work. */
static struct receiver_answer arm(void *context, const struct receiver_post *post)
{
    struct arming *arming = context;
    if (post->count == 0)
        kit_fail_allocations(arming->faults, arming->nth, 1);
    return (struct receiver_answer){.act = RECEIVER_ANSWER};
}

/* Every line comes at most once; that the command is content means that all have come, else it says what has become of them. */
static void check_sent(struct kit *kit, struct receiver *receiver, const struct kit_run *run,
                       const char *const *lines)
{
    if (run->exit_status > 2 || (run->exit_status != 0 && run->errors[0] == '\0'))
        kit_fail(kit, "status %d: \"%s\"", run->exit_status, run->errors);
    for (int i = 0; i < LINES; i++) {
        size_t count = receiver_count_of(receiver, lines[i]);
        bool is_named = kit_matches(run->errors, kit_format(kit, "(^|\n)(event-syncer: )?line %d: ", i + 1));
        if (count > 1 || (count == 0 && run->exit_status == 0) ||
            (count == 1 && is_named && run->exit_status == 0))
            kit_fail(kit, "line %d came %zu times, status %d: %s", i + 1, count, run->exit_status,
                     run->errors);
    }
}

static void lines_that_are_sent(void **state)
{
    struct faults *faults = kit_faults(*state);
    bool fired = true;
    unsigned failures = 0;
    const char *lines[LINES], *text = "";
    for (int i = 0; i < LINES; i++) {
        lines[i] = kit_format(*state, "{\"userId\":\"u\",\"name\":\"add_revenue\",\"value\":%d}", i + 1);
        text = kit_format(*state, "%s%s\n", text, lines[i]);
    }
    const char *file = sending_file(*state, text);
    for (uint64_t nth = 1; fired && nth < 100000; nth = next_of(nth)) {
        kit_note(*state, "allocation %llu of send", (unsigned long long)nth);
        struct arming arming = {.faults = faults, .nth = nth};
        struct receiver *receiver = receiver_start(*state, arm, &arming);
        uint64_t failed = atomic_load(&faults->failed_allocations);
        const struct kit_run *run =
            sending_run(*state, file, "--url", receiver_url(receiver), "--connections", "1");
        fired = end(faults, failed);
        check_sent(*state, receiver, run, lines);
        failures += run->exit_status != 0;
        receiver_end(receiver);
    }
    assert_false(fired);
    assert_true(failures > 0);
}

/* --- no memory at all --- */

static void commands_without_memory_say_so(void **state)
{
    static const char *const commands[][6] = {
        {"serve", "--listen", "127.0.0.1:0"},
        {"process", "server-events.jsonl", "--database", "sqlite:events.db"},
        {"send", "/dev/null", "--url", "http://127.0.0.1:1"},
    };
    static const uint64_t picked[] = {1, 3, 30, 300};
    struct faults *faults = kit_faults(*state);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        for (size_t j = 0; j < sizeof picked / sizeof *picked; j++) {
            kit_note(*state, "%s without memory from allocation %llu on", commands[i][0],
                     (unsigned long long)picked[j]);
            kit_fail_allocations(faults, picked[j], UINT64_MAX / 2);
            const struct kit_run *run = kit_run(*state, commands[i], NULL);
            kit_faults_end(faults);
            if (run->exit_status != 1 && run->exit_status != 2)
                kit_fail(*state, "status %d: %s", run->exit_status, run->errors);
            assert_message(*state, run->errors);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(a_server_that_starts),
        kit_test(lines_that_are_counted),
        kit_test(lines_that_are_sent),
        kit_test(commands_without_memory_say_so),
    };
    return kit_run_event_tests(tests);
}
