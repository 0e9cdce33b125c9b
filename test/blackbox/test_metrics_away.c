/* The database is away: tables are refused and the one in memory stands, events and metrics go on; and when it is back,
 * tables are taken again by themselves. */
#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "../postgres.h"
#include "kit_metrics.h"
#include "kit_streams.h"

enum { UPDATES = 3, PROMPT_MS = 1000, RECOVER_MS = 10000 };

/* ---- there and away ---- */

static sqlite3 *locker; /* of the test that runs; this process is not the server's */

static void release_lock(void)
{
    sqlite3_close(locker); /* rolls back */
    locker = NULL;
}

static int tear_down(void **state)
{
    release_lock();
    return streams_teardown(state);
}

/* PostgreSQL is stopped; a database of SQLite takes no writes, since another process holds the lock. */
static void take_away(struct kit *kit)
{
    if (kit_engine() == KIT_POSTGRESQL) {
        assert_int_equal(postgres_stop(streams_postgres(kit), false), 0);
        return;
    }
    const char *path = kit_database(kit) + strlen("sqlite:");
    if (sqlite3_open_v2(path, &locker, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK ||
        sqlite3_busy_timeout(locker, KIT_DEADLINE_MS) != SQLITE_OK ||
        sqlite3_exec(locker, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK)
        kit_fail(kit, "%s can't be locked: %s", path, sqlite3_errmsg(locker));
}

static void bring_back(struct kit *kit)
{
    if (kit_engine() == KIT_POSTGRESQL)
        assert_int_equal(postgres_restart(streams_postgres(kit)), 0);
    else
        release_lock();
}

/* ---- what must be ---- */

static struct kit_connection *put_later(struct kit_server *server, const char *body)
{
    struct kit_connection *connection = kit_connect(server);
    kit_send_request(connection, "PUT", KIT_USERS, "Content-Type: application/json\r\n", body, strlen(body));
    return connection;
}

/* The table in memory is plan "name", and what needs no database is as prompt as ever. */
static void check_working(struct kit_server *server, const char *name, int round)
{
    struct kit *kit = kit_of(server);
    int64_t asked_at_ms = kit_now_ms();
    kit_add_events(server, 1, "u", "click", -1000);
    kit_add_events(server, 1, "v", "click", -1000);
    kit_assert_metrics(server, 300, .unique_users = 1, .unknown = round + 1,
                       .plans = kit_format(kit, "%s=%d", name, round + 1), .regions = "",
                       .types = kit_format(kit, "click=%d", 2 * (round + 1)));
    assert_in_range(kit_now_ms() - asked_at_ms, 0, (int64_t)(PROMPT_MS * kit_time_scale()));
}

/* Polls with tables of that plan until one is taken. */
static void put_when_back(struct kit_server *server, const char *body)
{
    int64_t deadline_at_ms = kit_deadline_at_ms(RECOVER_MS);
    const struct kit_response *response;
    while ((response = kit_put(server, body))->status != 200) {
        kit_assert_retry_later(response);
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(kit_of(server), "tables are still refused: %s", response->body);
        kit_pause();
    }
}

static const char *table_of_plan(struct kit *kit, const char *plan, int number)
{
    return kit_table(kit, kit_format(kit, "{\"u\":{\"plan\":\"%s\"}}", plan), kit_table_instant(kit, number));
}

static void tables_are_refused_while_it_is_away(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    const char *plan = "p";
    kit_assert_status(kit_put(server, table_of_plan(kit, plan, 0)), 200);
    int rounds = kit_engine() == KIT_POSTGRESQL ? 2 : 1; /* SQLite takes its time to give up */
    for (int round = 0; round < rounds; round++) {
        struct kit_connection *connections[UPDATES];
        kit_note(kit, "round %d, away", round);
        take_away(kit);
        for (int i = 0; i < UPDATES; i++)
            connections[i] = put_later(server, table_of_plan(kit, "refused", 1000));
        check_working(server, plan, 2 * round);
        for (int i = 0; i < UPDATES; i++) {
            kit_assert_retry_later(kit_receive(connections[i]));
            kit_close(connections[i]);
        }
        /* What is no table or stale is so without a database too; a stale one may be refused as the others. */
        kit_assert_error(kit_put(server, "{\"user_metadata\":5}"), 400, ".");
        kit_note(kit, "round %d, back", round);
        bring_back(kit);
        plan = kit_format(kit, "p%d", round);
        put_when_back(server, table_of_plan(kit, plan, round + 1));
        check_working(server, plan, 2 * round + 1);
    }
    kit_note(kit, "restarted");
    kit_kill(server);
    check_working(kit_serve_events(kit), plan, 0);
}

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

/* A table that the disk has no room for leaves the old one as it is, in memory and on the disk. */
static void a_full_disk_refuses_tables(void **state)
{
    enum { USERS = 20000, ROOM = 300000 };
    struct kit *kit = *state;
    signal(SIGXFSZ, SIG_IGN); /* the server is to see the error, as with a full disk, not the signal */
    struct kit_server *server = kit_serve_events(kit);
    kit_assert_status(kit_put(server, table_of_plan(kit, "old", 0)), 200);
    const char *users = kit_users(kit, "u", USERS, "\"plan\":\"new\",\"about\":\"somebody or other\"");
    const char *large = kit_table(kit, users, kit_table_instant(kit, 1));
    limit_files(server, ROOM);
    for (int i = 0; i < 2; i++)
        kit_assert_retry_later(kit_put(server, large));
    check_working(server, "old", 0);
    limit_files(server, RLIM_INFINITY);
    kit_kill(server);
    server = kit_serve_events(kit);
    check_working(server, "old", 0);
    limit_files(server, ROOM);
    kit_assert_retry_later(kit_put(server, large));
    limit_files(server, RLIM_INFINITY);
    kit_assert_status(kit_put(server, large), 200);
    kit_stop(server);
    server = kit_serve_events(kit);
    assert_string_equal(kit_counts(kit, kit_metrics(server, 300)->by_plan), "new=0");
}

/* Nothing answers and no connection breaks. What was refused then must not be stored when it thaws. */
static void a_refused_table_does_not_come_with_the_thaw(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    kit_assert_status(kit_put(server, table_of_plan(kit, "old", 0)), 200);
    assert_int_equal(postgres_freeze(streams_postgres(kit)), 0);
    const struct kit_response *response = kit_put(server, table_of_plan(kit, "refused", 1));
    bool is_unknown = strstr(response->body, "outcome unknown") != NULL;
    kit_assert_retry_later(response);
    if (!is_unknown)
        check_working(server, "old", 0);
    assert_int_equal(postgres_thaw(streams_postgres(kit)), 0);
    print_message("the outcome is %s\n", is_unknown ? "unknown" : "known");
    if (is_unknown)
        return;
    /* One that is stored behind it comes later than anything that the thaw may still bring. */
    put_when_back(server, table_of_plan(kit, "old", 0));
    check_working(server, "old", 1);
    kit_kill(server);
    check_working(kit_serve_events(kit), "old", 0);
}

#define away_test_sqlite(function)                                                                           \
    {                                                                                                        \
#function " on sqlite", function, kit_setup_sqlite, tear_down, NULL                                  \
    }
#define away_test_postgresql(function)                                                                       \
    {                                                                                                        \
#function " on postgresql", function, kit_setup_postgresql, tear_down, NULL                          \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        away_test_sqlite(tables_are_refused_while_it_is_away),
        away_test_sqlite(a_full_disk_refuses_tables),
        away_test_postgresql(tables_are_refused_while_it_is_away),
        away_test_postgresql(a_refused_table_does_not_come_with_the_thaw),
    };
    return kit_run_event_tests(tests);
}
