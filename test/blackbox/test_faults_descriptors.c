/* The process has no descriptor left: open connections go on, new ones wait in line and are served once there are some, and so
 * it is with the database, the journal's next file and the upstream. The log says it once. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "../postgres.h"
#include "kit_faults.h"
#include "kit_live.h"
#include "kit_management.h"

enum {
    NEW = 30,
    NONE = 3, /* a limit below all that are open: also one that is closed can't be opened again */
};

static rlim_t set_limit(struct kit_server *server, rlim_t count)
{
    struct rlimit limit;
    assert_int_equal(prlimit(kit_process(server), RLIMIT_NOFILE, NULL, &limit), 0);
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = count;
    assert_int_equal(prlimit(kit_process(server), RLIMIT_NOFILE, &limit, NULL), 0);
    return before;
}

/* Leaves room below the limit for so many more descriptors; the limit as it was. */
static rlim_t leave_room(struct kit_server *server, rlim_t more)
{
    char path[64];
    rlim_t free_below = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)kit_process(server));
    bool used[4096] = {false};
    DIR *folder = opendir(path);
    assert_non_null(folder);
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (entry->d_name[0] != '.')
            used[atoi(entry->d_name) % 4096] = true;
    closedir(folder);
    /* The limit is on numbers, and the lowest free one is taken next. */
    while (used[free_below] || more > 0) {
        more -= !used[free_below];
        free_below++;
    }
    return set_limit(server, free_below);
}

static void assert_lines(struct kit_server *server, const char *pattern, size_t count)
{
    size_t found = kit_matching_lines(kit_of(server), kit_log(server), pattern);
    if (found != count)
        kit_fail(kit_of(server), "%zu lines \"%s\" instead of %zu", found, pattern, count);
}

#define SHORTAGE " warn new connections have to wait: raise the limit of open files .*Too many open files"

static void wait_for_line(struct kit_server *server, const char *pattern)
{
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
    while (kit_matching_lines(kit_of(server), kit_log(server), pattern) == 0) {
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(kit_of(server), "no line \"%s\"", pattern);
        kit_pause();
    }
}

/* A request over a connection that is open; its response. */
static const struct kit_response *ask(struct kit_connection *connection, const char *method,
                                      const char *target, const char *body)
{
    kit_send_request(connection, method, target, NULL, body, body == NULL ? 0 : strlen(body));
    return kit_receive(connection);
}

/* Only so many connections are left, this one among them: what has been closed is closed on the other side, too. */
static void await_connections(struct kit_connection *connection, int64_t count)
{
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS), found = 0;
    while (found != count) {
        const struct kit_response *response = ask(connection, "GET", "/health", NULL);
        if (!kit_json_number(response->body, "connections.open", &found) || kit_now_ms() > deadline_at_ms)
            kit_fail(response->kit, "%lld connections are open", (long long)found);
    }
}

static void open_connections_go_on_and_new_ones_wait(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    struct kit_connection *open[3], *new[NEW];
    for (int i = 0; i < 3; i++) {
        open[i] = kit_connect(server);
        kit_assert_status(ask(open[i], "GET", "/healthz", NULL), 200);
    }
    struct kit_holdings before = kit_holdings(server);
    await_connections(open[0], 3);
    rlim_t usual = leave_room(server, 0);
    for (int i = 0; i < NEW; i++) {
        new[i] = kit_connect(server);
        kit_send_request(new[i], "POST", kit_format(*state, "/push?key=n%d", i), NULL, "1", 1);
    }
    wait_for_line(server, SHORTAGE);
    kit_assert_status(ask(open[0], "POST", "/push?key=k", "1"), 200);
    kit_assert_body(ask(open[1], "GET", "/blocking-get?key=k&groupId=g", NULL), "[1]");
    kit_assert_status(ask(open[0], "POST", KIT_PUBLISH, kit_envelope(*state, "c", "t", "1")), 202);
    kit_assert_status(ask(open[1], "GET", KIT_HISTORY "?channel=c", NULL), 200);
    for (int i = 0; i < NEW; i++)
        kit_expect_silence(new[i]);
    /* One goes, and one of those who wait, the first, gets its place. */
    kit_close(open[2]);
    kit_assert_status(kit_receive(new[0]), 200);
    for (int i = 1; i < 5; i++) {
        kit_close(new[i - 1]);
        kit_assert_status(kit_receive(new[i]), 200);
    }
    kit_expect_silence(new[5]);
    set_limit(server, usual);
    for (int i = 5; i < NEW; i++)
        kit_assert_status(kit_receive(new[i]), 200);
    for (int i = 4; i < NEW; i++)
        kit_close(new[i]);
    assert_lines(server, " (warn|error) ", 1);
    kit_close(open[0]);
    kit_close(open[1]);
    kit_wait_until_holdings(server, &before);
}

static void at_max_connections_new_ones_are_turned_away(void **state)
{
    struct kit_server *server = kit_serve(*state, "--max-connections", "2");
    struct kit_connection *open[] = {kit_connect(server), kit_connect(server)};
    for (int i = 0; i < 2; i++)
        kit_assert_status(ask(open[i], "GET", "/healthz", NULL), 200);
    for (int i = 0; i < NEW; i++) {
        struct kit_connection *refused = kit_connect(server);
        kit_assert_error(kit_receive(refused), 503, "too many connections");
        kit_close(refused);
    }
    kit_assert_status(ask(open[0], "POST", "/push?key=k", "1"), 200);
    assert_lines(server,
                 " warn new connections are turned away with 503: raise --max-connections connections=2", 1);
    assert_lines(server, " (warn|error) ", 1);
    kit_close(open[0]);
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
    int status = 503;
    while (status == 503 && kit_now_ms() < deadline_at_ms) {
        struct kit_connection *next = kit_connect(server);
        kit_send_request(next, "GET", "/healthz", NULL, NULL, 0);
        status = kit_receive(next)->status;
        kit_close(next);
    }
    assert_int_equal(status, 200);
}

/* --- who else needs descriptors --- */

/* The journal is renamed: the next one can't be opened, until there are descriptors. */
static void a_journal_that_is_rotated(void **state)
{
    const char *journal = kit_new_journal(*state), *renamed = kit_format(*state, "%s.1", journal);
    struct kit_server *server = kit_serve_live(*state, journal);
    struct kit_connection *open = kit_connect(server), *new[NEW];
    const char *line = "{\"userId\":\"u\",\"name\":\"add_revenue\",\"value\":1}";
    size_t taken = 1;
    kit_assert_status(ask(open, "POST", "/liveEvent", line), 200);
    await_connections(open, 1);
    rlim_t usual = leave_room(server, 0);
    for (int i = 0; i < NEW; i++)
        new[i] = kit_connect(server);
    wait_for_line(server, SHORTAGE);
    kit_rename(*state, journal, renamed);
    bool refused = false;
    for (int i = 0; i < 20; i++) {
        const struct kit_response *response = ask(open, "POST", "/liveEvent", line);
        if (response->status == 200)
            taken++;
        else
            kit_assert_error(response, 503, "");
        refused |= response->status == 503;
    }
    assert_true(refused);
    set_limit(server, usual);
    for (int i = 0; i < NEW; i++)
        kit_close(new[i]);
    kit_assert_status(ask(open, "POST", "/liveEvent", line), 200);
    taken++;
    assert_int_equal(kit_line_count(kit_read_file(*state, renamed)) +
                         kit_line_count(kit_read_file(*state, journal)),
                     taken);
    assert_lines(server, " error the journal takes no lines: .*Too many open files", 1);
    assert_lines(server, " info the journal takes lines again", 1);
}

/* The connections to the database break, and their descriptors go to clients who wait in line. */
static void a_database_that_comes_back(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    struct kit_connection *open = kit_connect(server), *new[NEW];
    const char *body = kit_envelope(*state, "c", "t", "1");
    kit_await_links(*state);
    kit_assert_status(ask(open, "POST", KIT_PUBLISH, body), 202);
    rlim_t usual = set_limit(server, NONE);
    for (int i = 0; i < NEW; i++)
        new[i] = kit_connect(server);
    wait_for_line(server, SHORTAGE);
    free(postgres_query(kit_postgres(*state), kit_database(*state),
                        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = "
                        "current_database() AND application_name = 'event-syncer'"));
    wait_for_line(server, " warn the database is away");
    kit_assert_status(ask(open, "GET", "/healthz", NULL), 200);
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
    const struct kit_response *response;
    do {
        response = ask(open, "POST", KIT_PUBLISH, kit_envelope(*state, "d", "t", "2"));
    } while (response->status == 202 && kit_now_ms() < deadline_at_ms);
    kit_assert_error(response, 503, "");
    kit_assert_status(ask(open, "POST", "/push?key=k", "1"), 200);
    set_limit(server, usual);
    for (int i = 0; i < NEW; i++)
        kit_close(new[i]);
    kit_await_database(server);
    kit_publish(server, "c", "t", "3");
    kit_assert_history(server, "c", "[1,3]");
}

static void a_call_of_the_upstream(void **state)
{
    struct standin *standin = kit_standin(*state);
    struct kit_server *server = kit_serve_upstream(*state, standin);
    struct kit_connection *open = kit_connect(server), *new[NEW];
    standin_close_idle(standin);
    kit_assert_status(ask(open, "GET", "/healthz", NULL), 200);
    uint64_t calls = standin_count(standin, KIT_ADD_EVENT);
    rlim_t usual = set_limit(server, NONE);
    for (int i = 0; i < NEW; i++)
        new[i] = kit_connect(server);
    wait_for_line(server, SHORTAGE);
    const struct kit_response *response =
        ask(open, "POST", KIT_ADD_EVENT, "{\"name\":\"n\",\"userId\":\"refused\"}");
    kit_assert_unavailable(response, 502);
    assert_int_equal(standin_count(standin, KIT_ADD_EVENT), calls);
    set_limit(server, usual);
    for (int i = 0; i < NEW; i++)
        kit_close(new[i]);
    kit_add(server, "n", "1", NULL);
    kit_assert_status(kit_get_path(server, KIT_EVENTS_OF "refused"), 404);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_sqlite(open_connections_go_on_and_new_ones_wait),
        kit_test(at_max_connections_new_ones_are_turned_away),
        kit_test_sqlite(a_journal_that_is_rotated),
        kit_test_postgresql(a_database_that_comes_back),
        kit_test_upstream(a_call_of_the_upstream),
    };
    return kit_run_event_tests(tests);
}
