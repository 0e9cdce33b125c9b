/* The reference table outlives the server: stopped, killed, and killed in the middle of a series of updates. The
 * events of the window need not. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../postgres.h"
#include "kit_metrics.h"
#include "kit_streams.h"

enum { ROUNDS = 6, USERS = 1500, UPDATES_MAX = 5000 };

static const char small[] = "{\"u\":{\"plan\":\"pro\",\"region\":\"eu\",\"userName\":\"Anna\"},"
                            "\"h\\u00e9llo \\\"v\\\"\":{\"plan\":\"a\\\"b\\\\\",\"region\":\"\xe6\xbc\xa2\"},"
                            "\"w\":{},\"x\":{\"plan\":null,\"region\":\"\"}}";

/* The small table as after a start: nothing of its own is missing, and nothing else is there. */
static void check_small(struct kit_server *server)
{
    kit_add_events(server, 1, "u", "click", -1000);
    kit_add_events(server, 2, "h\xc3\xa9llo \\\"v\\\"", "click", -1000);
    kit_add_events(server, 3, "w", "click", -1000);
    kit_add_events(server, 4, "x", "click", -1000);
    kit_add_events(server, 5, "y", "click", -1000);
    const struct kit_metrics *metrics = kit_metrics(server, 300);
    assert_int_equal(metrics->unique_users, 4);
    assert_string_equal(kit_counts(kit_of(server), metrics->by_plan), "a\"b\\=2 pro=1");
    assert_string_equal(kit_counts(kit_of(server), metrics->by_region), "=4 eu=1 \xe6\xbc\xa2=2");
    /* Its ts is there too. */
    const char *stale = kit_table(kit_of(server), "{}", kit_table_instant(kit_of(server), 999));
    kit_assert_error(kit_put(server, stale), 409, "^Stale update: ");
}

static void a_table_survives_a_stop(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    kit_put_users(server, small, kit_table_instant(kit, 1000));
    for (int i = 0; i < 2; i++) {
        kit_stop(server);
        server = kit_serve_events(kit);
        check_small(server);
    }
    /* An equal ts wins after the restart as before it, and what replaces the table is there after the next. */
    kit_put_users(server, "{\"new\":{\"plan\":\"new\"}}", kit_table_instant(kit, 1000));
    kit_stop(server);
    server = kit_serve_events(kit);
    assert_string_equal(kit_counts(kit, kit_metrics(server, 300)->by_plan), "new=0");
    kit_put_users(server, "{}", kit_table_instant(kit, 1001));
    kit_stop(server);
    server = kit_serve_events(kit);
    assert_string_equal(kit_counts(kit, kit_metrics(server, 300)->by_plan), "");
    const char *stale = kit_table(kit, small, kit_table_instant(kit, 1000));
    kit_assert_error(kit_put(server, stale), 409, "^Stale update: ");
}

static void a_table_survives_a_kill(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    kit_put_users(server, small, kit_table_instant(kit, 1000));
    for (int i = 0; i < 2; i++) {
        kit_kill(server);
        server = kit_serve_events(kit);
        check_small(server);
    }
    kit_put_users(server, "{\"new\":{\"plan\":\"new\"}}", kit_table_instant(kit, 1000));
    kit_kill(server);
    assert_string_equal(kit_counts(kit, kit_metrics(kit_serve_events(kit), 300)->by_plan), "new=0");
}

static void a_refused_update_is_not_there_after_a_restart(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    kit_put_users(server, small, kit_table_instant(kit, 1000));
    kit_assert_error(kit_put(server, kit_table(kit, "{}", kit_table_instant(kit, 999))), 409, ".");
    kit_assert_error(kit_put(server, kit_table(kit, "{\"a\":{},\"b\":5}", kit_table_instant(kit, 1001))), 400,
                     ".");
    kit_assert_error(kit_put(server, "{\"user_metadata\":{\"a\":{}},\"ts\":\"2026-01-01T00:00:00Z\""), 400,
                     ".");
    kit_kill(server);
    check_small(kit_serve_events(kit));
}

static void a_large_table_survives(void **state)
{
    struct kit *kit = *state;
    size_t count = kit_time_scale() > 1 ? 20000 : 100000;
    struct kit_server *server = kit_serve_events(kit);
    const char *about =
        kit_format(kit, "\"plan\":\"pro\",\"region\":\"eu\",\"about\":\"%s\"", kit_repeat(kit, "x", 60));
    kit_put_users(server, kit_users(kit, "u", count, about), kit_table_instant(kit, 1000));
    for (int i = 0; i < 2; i++) {
        (i == 0 ? kit_stop : kit_kill)(server);
        server = kit_serve_events(kit);
        kit_add_events(server, 1, kit_format(kit, "u%zu", count), "click", -1000);
        kit_add_events(server, 2, kit_format(kit, "u%zu", count - 1), "click", -1000);
        kit_add_events(server, 3, "u0", "click", -1000);
        kit_assert_metrics(server, 300, .unique_users = 2, .unknown = 1, .plans = "pro=5", .regions = "eu=5",
                           .types = "click=6");
    }
    /* A small one takes its place, wholly. */
    kit_put_users(server, "{\"u0\":{\"plan\":\"free\"}}", kit_table_instant(kit, 1001));
    kit_kill(server);
    server = kit_serve_events(kit);
    kit_add_events(server, 2, kit_format(kit, "u%zu", count - 1), "click", -1000);
    kit_add_events(server, 3, "u0", "click", -1000);
    kit_assert_metrics(server, 300, .unique_users = 1, .unknown = 2, .plans = "free=3", .regions = "",
                       .types = "click=5");
}

/* Any text is kept as it is, NUL and what looks like an escape too, and so is what the metrics do not need. */
static void odd_tables_survive(void **state)
{
    static const char *const names[] = {"",
                                        " ",
                                        "\\\"x\\\"",
                                        "\\\\",
                                        "\\\\u0000",
                                        "a\\u0000b",
                                        "\\u0000",
                                        "\\n\\u0001\\u007f",
                                        "\xe6\xbc\xa2\xf0\x9f\x98\x80",
                                        "\\ufeff\\uffff",
                                        "'; drop table users; --",
                                        "%s",
                                        "null",
                                        "{}",
                                        "x,y\\ty"};
    struct kit *kit = *state;
    char *users =
        kit_format(kit, "{\"u\":{\"about\":[1e999,\"\\u0000\",{\"a\":-0.0}]},\"z\":{\"plan\":\"%s\"}",
                   kit_repeat(kit, "0123456789", 1000));
    for (size_t i = 0; i < KIT_COUNT(names); i++)
        users =
            kit_format(kit, "%s,\"u%zu\":{\"plan\":\"%s\",\"region\":\"%s\"}", users, i, names[i], names[i]);
    struct kit_server *server = kit_serve_events(kit);
    kit_put_users(server, kit_format(kit, "%s}", users), kit_table_instant(kit, 1000));
    const struct kit_metrics *before = kit_metrics(server, 300);
    kit_kill(server);
    server = kit_serve_events(kit);
    const struct kit_metrics *after = kit_metrics(server, 300);
    assert_string_equal(kit_counts(kit, after->by_plan), kit_counts(kit, before->by_plan));
    assert_string_equal(kit_counts(kit, after->by_region), kit_counts(kit, before->by_region));
    for (size_t i = 0; i < KIT_COUNT(names); i++)
        kit_add_events(server, i + 1, kit_format(kit, "u%zu", i), "click", -1000);
    after = kit_metrics(server, 300);
    assert_int_equal(after->unknown, 0);
    assert_int_equal(after->unique_users, KIT_COUNT(names));
    assert_int_equal(kit_parse_sum(after->by_plan), after->events);
    assert_int_equal(kit_parse_sum(after->by_region), after->events);
    assert_true(kit_matches(after->by_plan.text, "\"a\\\\u0000b\":6[,}]"));
    assert_true(kit_matches(after->by_plan.text, "\"\\\\u0000\":7[,}]"));
    assert_int_equal(kit_parse_count(after->by_plan, ""), 1);
}

/* Two servers on one database: what one has stored, the other finds when it starts. */
static void another_server_finds_the_table(void **state)
{
    struct kit *kit = *state;
    struct kit_server *first = kit_serve_events(kit);
    kit_put_users(first, small, kit_table_instant(kit, 1000));
    kit_stop(first);
    struct kit_server *second = kit_serve_events(kit, "--retention", "600");
    check_small(second);
}

/* ---- ended in the middle ---- */

struct series {
    struct kit *kit;
    struct kit_server *server;
    int first;          /* number of its first update */
    atomic_int taken;   /* updates that were answered 200 */
    int sent;           /* at most one more */
    bool database_goes; /* an update may be answered 503, and ends the series */
    atomic_bool refused, outcome_unknown;
    char problem[200];
};

/* Puts one table after the other until the connection breaks. */
static void *update(void *argument)
{
    struct series *series = argument;
    struct kit_connection *connection = kit_try_connect(series->server);
    while (connection != NULL && series->sent < UPDATES_MAX) {
        struct kit_response response;
        char *body = kit_try_numbered_table(series->first + series->sent++, USERS);
        int result = kit_try_exchange(connection, "PUT", KIT_USERS, KIT_JSON, body, strlen(body), &response);
        int problem = errno;
        free(body);
        if (result != 0) {
            if (problem == ETIMEDOUT)
                snprintf(series->problem, sizeof series->problem, "no answer");
            break;
        }
        int status = response.status;
        atomic_store(&series->outcome_unknown, strstr(response.body, "outcome unknown") != NULL);
        atomic_store(&series->refused, status == 503);
        if (status != 200 && !(series->database_goes && status == 503))
            snprintf(series->problem, sizeof series->problem, "%d: %.150s", status, response.body);
        kit_response_clear(&response);
        if (status != 200)
            break;
        atomic_fetch_add(&series->taken, 1);
    }
    if (connection != NULL)
        kit_close(connection);
    return NULL;
}

/* Returns after so many updates and a few milliseconds more, while the next one is under way. */
static pthread_t begin_updates(struct series *series, int updates, int pauses)
{
    pthread_t thread;
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_LONG_MS);
    assert_int_equal(pthread_create(&thread, NULL, update, series), 0);
    while (atomic_load(&series->taken) < updates && kit_now_ms() < deadline_at_ms)
        kit_pause();
    for (int i = 0; i < pauses; i++)
        kit_pause(); /* the moment within an update is to be a different one each time */
    return thread;
}

static void end_updates(struct series *series, pthread_t thread, int updates)
{
    pthread_join(thread, NULL);
    if (series->problem[0] != '\0')
        kit_fail(series->kit, "an update: %s", series->problem);
    if (atomic_load(&series->taken) < updates)
        kit_fail(series->kit, "only %d updates were taken", atomic_load(&series->taken));
}

/* The number of the table that is there by its plan alone. */
static int find_plan(struct kit_server *server)
{
    int number;
    const char *plans = kit_counts(kit_of(server), kit_metrics(server, 300)->by_plan);
    if (sscanf(plans, "p%d=0", &number) != 1)
        kit_fail(kit_of(server), "no plan of the series: %s", plans);
    return number;
}

/* The number of the table that is there; all of it must be. */
static int find_table(struct kit_server *server)
{
    struct kit *kit = kit_of(server);
    int number = find_plan(server);
    char *lines = kit_allocate(kit, (size_t)USERS * 128);
    const char *now = kit_instant(kit, -1000);
    size_t used = 0;
    for (int i = 0; i < USERS; i++)
        used += (size_t)sprintf(lines + used,
                                "{\"event_id\":\"e%d\",\"user_id\":\"u%d\",\"type\":\"t\",\"ts\":\"%s\"}\n",
                                i, i, now);
    kit_results(kit_post_events(server, KIT_NDJSON, lines));
    kit_add_events(server, 1, kit_format(kit, "only%d", number), "t", -1000);
    kit_add_events(server, 1, kit_format(kit, "only%d", number - 1), "t", -1000);
    kit_add_events(server, 1, kit_format(kit, "only%d", number + 1), "t", -1000);
    kit_assert_metrics(server, 300, .unique_users = USERS + 1, .unknown = 2,
                       .plans = kit_format(kit, "p%d=%d", number, USERS),
                       .regions = kit_format(kit, "r%d=%d", number, USERS),
                       .types = kit_format(kit, "t=%d", USERS + 3));
    return number;
}

static void what_was_answered_is_stored(void **state)
{
    struct kit *kit = *state;
    int first = 1;
    for (int round = 0; round < ROUNDS; round++) {
        kit_note(kit, "round %d", round);
        struct series series = {.kit = kit, .server = kit_serve_events(kit), .first = first};
        pthread_t thread = begin_updates(&series, 3 + round, round * 2 % 5);
        (round % 3 == 2 ? kit_stop : kit_kill)(series.server);
        end_updates(&series, thread, 3 + round);
        struct kit_server *server = kit_serve_events(kit);
        int found = find_table(server);
        int last_taken = first + atomic_load(&series.taken) - 1;
        int last_sent = first + series.sent - 1;
        if (found < last_taken || found > last_sent)
            kit_fail(kit, "table %d is there, but %d was answered 200 and %d was the last one sent", found,
                     last_taken, last_sent);
        /* The ts is that of this table. */
        char *older = kit_try_numbered_table(found - 1, USERS), *same = kit_try_numbered_table(found, USERS);
        kit_assert_error(kit_put(server, older), 409, "^Stale update: ");
        kit_assert_status(kit_put(server, same), 200);
        free(older);
        free(same);
        first = found + 1;
        kit_stop(server);
    }
}

/* The database dies in the middle of an update, and the server with it. An update that was answered 503 has changed
 * nothing, neither in memory nor in the database; only where the server says so may it have. */
static void what_was_refused_is_not_stored(void **state)
{
    struct kit *kit = *state;
    int first = 1;
    for (int round = 0; round < ROUNDS / 2; round++) {
        kit_note(kit, "round %d", round);
        struct series series = {
            .kit = kit, .server = kit_serve_events(kit), .first = first, .database_goes = true};
        pthread_t thread = begin_updates(&series, 3 + round, round * 2 % 5);
        assert_int_equal(postgres_stop(streams_postgres(kit), true), 0);
        end_updates(&series, thread, 3 + round);
        int last_taken = first + atomic_load(&series.taken) - 1;
        int last_sent = first + series.sent - 1;
        assert_true(atomic_load(&series.refused));
        bool is_known = !atomic_load(&series.outcome_unknown);
        if (is_known)
            assert_int_equal(find_plan(series.server), last_taken);
        kit_kill(series.server);
        assert_int_equal(postgres_restart(streams_postgres(kit)), 0);
        struct kit_server *server = kit_serve_events(kit);
        int found = find_table(server);
        if (found != last_taken && (is_known || found != last_sent))
            kit_fail(kit, "table %d is there, but %d was the last one that was answered 200", found,
                     last_taken);
        first = found + 1;
        kit_stop(server);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_engines(a_table_survives_a_stop),
        kit_test_engines(a_table_survives_a_kill),
        kit_test_engines(a_refused_update_is_not_there_after_a_restart),
        kit_test_engines(a_large_table_survives),
        kit_test_engines(odd_tables_survive),
        kit_test_engines(another_server_finds_the_table),
        kit_test_engines(what_was_answered_is_stored),
        streams_test_postgresql(what_was_refused_is_not_stored),
    };
    return kit_run_event_tests(tests);
}
