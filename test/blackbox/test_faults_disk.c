/* No room on the disk, or a disk that fails: what needs it is refused, the rest goes on, nothing acknowledged is lost, and all
 * works again as soon as there is room. The log says when it begins and when it ends. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "kit_faults.h"
#include "kit_live.h"
#include "kit_management.h"

enum { REFUSALS = 20 };

static const char *line_of(struct kit *kit, int number)
{
    return kit_format(kit, "{\"userId\":\"u\",\"name\":\"add_revenue\",\"value\":%d}", number);
}

static void assert_refused(const struct kit_response *response)
{
    kit_assert_error(response, 503, "");
    kit_assert_header(response, "Retry-After", "1");
}

/* The log has so many lines like that. */
static void assert_lines(struct kit_server *server, const char *pattern, size_t count)
{
    size_t found = kit_matching_lines(kit_of(server), kit_log(server), pattern);
    if (found != count)
        kit_fail(kit_of(server), "%zu lines \"%s\" instead of %zu", found, pattern, count);
}

static void expect_file(struct kit *kit, const char *path, const char *wanted)
{
    const char *found = kit_read_file(kit, path);
    if (strcmp(found, wanted) != 0)
        kit_fail(kit, "%s has\n%s\ninstead of\n%s", path, found, wanted);
}

/* --- the journal --- */

static void the_rest_goes_on_without_the_journal(struct kit_server *server)
{
    kit_publish(server, "c", "t", "1");
    kit_push(server, "k", "1");
    kit_assert_status(kit_get_path(server, KIT_HISTORY "?channel=c"), 200);
    kit_assert_status(kit_get_path(server, "/userEvents/u"), 404);
    kit_assert_status(kit_get_path(server, "/health"), 200);
    kit_assert_body_matches(kit_get_path(server, "/health"), "\"journal\":\\{\"state\":\"away\"");
}

static void a_journal_that_takes_nothing(void **state)
{
    static const struct {
        unsigned calls;
        int error;
        const char *reason;
    } ways[] = {
        {FAULTS_WRITE, ENOSPC, "No space left on device"},
        {FAULTS_SYNC, EIO, "Input/output error"},
    };
    struct faults *faults = kit_faults(*state);
    for (size_t way = 0; way < KIT_COUNT(ways); way++) {
        const char *journal = kit_new_journal(*state);
        struct kit_server *server = kit_serve_live(*state, journal);
        kit_note(*state, "%s", ways[way].reason);
        kit_live(server, line_of(*state, 1));
        kit_fail_files(faults, "server-events.jsonl", ways[way].calls, ways[way].error);
        for (int i = 0; i < REFUSALS; i++)
            assert_refused(kit_post_live(server, line_of(*state, 2)));
        the_rest_goes_on_without_the_journal(server);
        kit_faults_end(faults);
        kit_live(server, line_of(*state, 3));
        expect_file(*state, journal, kit_format(*state, "%s\n%s\n", line_of(*state, 1), line_of(*state, 3)));
        assert_lines(server, kit_format(*state, " error the journal takes no lines: .*%s", ways[way].reason),
                     1);
        assert_lines(server, " info the journal takes lines again", 1);
        assert_in_range(kit_matching_lines(*state, kit_log(server), " error "), 1, 2);
        kit_assert_body_matches(kit_get_path(server, "/health"), "\"journal\":\\{\"state\":\"available\"");
        kit_stop(server);
    }
}

/* --- the database --- */

/* Everything that writes. */
static void assert_all_refused(struct kit_server *server, int number)
{
    struct kit *kit = kit_of(server);
    const char *payload = kit_format(kit, "%d", number);
    assert_refused(kit_post_json(server, KIT_PUBLISH, kit_envelope(kit, "c", "t", payload)));
    assert_refused(kit_post_json(server, KIT_SUBSCRIBE, "{\"userId\":1,\"channel\":\"c\"}"));
    assert_refused(kit_post_json(server, KIT_ADD_EVENT, "{\"name\":\"n\",\"userId\":1}"));
}

static void a_database_without_room(void **state)
{
    struct faults *faults = kit_faults(*state);
    struct kit_server *server = kit_serve_live(*state, kit_new_journal(*state));
    kit_publish(server, "c", "t", "1");
    kit_fail_files(faults, "events.db", FAULTS_WRITE | FAULTS_TRUNCATE, ENOSPC);
    for (int i = 0; i < REFUSALS; i++)
        assert_all_refused(server, 2);
    assert_true(atomic_load(&faults->failed_file_calls) >= REFUSALS);
    kit_assert_history(server, "c", "[1]");
    kit_assert_channels(server, "1");
    kit_assert_get(server, "c", "g", kit_get(server, "c", "h", "timeout=0")->body);
    kit_push(server, "k", "1");
    kit_live(server, line_of(*state, 1));
    assert_lines(server, " warn the database took no writes: make room on its disk", 1);
    kit_faults_end(faults);
    kit_publish(server, "c", "t", "3");
    kit_subscribe(server, "1", "c");
    kit_assert_history(server, "c", "[1,3]");
    kit_assert_list(server, KIT_GET_EVENTS, "[]");
    assert_lines(server, " info the database takes writes again", 1);
    assert_lines(server, " (warn|error) ", 1);
}

/* What has become of it is not known, and it stays so until the database works again: but a crash brings back nothing that was
 * refused. */
static void a_database_whose_syncs_fail(void **state)
{
    struct faults *faults = kit_faults(*state);
    struct kit_server *server = kit_serve_events(*state);
    kit_publish(server, "c", "t", "1");
    kit_fail_files(faults, "events.db", FAULTS_SYNC, EIO);
    const struct kit_response *response =
        kit_post_json(server, KIT_PUBLISH, kit_envelope(*state, "c", "t", "2"));
    assert_refused(response);
    bool is_open = strstr(response->body, "outcome unknown") != NULL;
    kit_kill(server);
    kit_faults_end(faults);
    server = kit_serve_events(*state);
    const struct kit_history *history = kit_history(server, "c", NULL);
    assert_in_range(history->count, 1, is_open ? 2 : 1);
    assert_string_equal(history->events[0].payload, "1");
    kit_publish(server, "c", "t", "3");
}

static void a_sync_that_fails_once_is_settled(void **state)
{
    struct faults *faults = kit_faults(*state);
    struct kit_server *server = kit_serve_events(*state);
    struct kit_connection *connection = kit_connect(server);
    const char *body = kit_envelope(*state, "c", "t", "2");
    kit_publish(server, "c", "t", "1");
    uint64_t failed = atomic_load(&faults->failed_file_calls);
    kit_fail_files(faults, "events.db", FAULTS_SYNC, EIO);
    kit_send_request(connection, "POST", KIT_PUBLISH, NULL, body, strlen(body));
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
    while (atomic_load(&faults->failed_file_calls) == failed && kit_now_ms() < deadline_at_ms)
        kit_pause();
    kit_faults_end(faults);
    const struct kit_response *response = kit_receive(connection);
    bool is_open = strstr(response->body, "outcome unknown") != NULL;
    kit_assert_status(response, 503);
    kit_publish(server, "c", "t", "3");
    /* A server that has answered for it knows by the next one. */
    kit_kill(server);
    server = kit_serve_events(*state);
    const struct kit_history *history = kit_history(server, "c", NULL);
    assert_in_range(history->count, 2, is_open ? 3 : 2);
    assert_string_equal(history->events[history->count - 1].payload, "3");
}

/* --- a limit of the system for the size of files --- */

static void set_file_limit(struct kit_server *server, rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(prlimit(kit_process(server), RLIMIT_FSIZE, NULL, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(prlimit(kit_process(server), RLIMIT_FSIZE, &limit, NULL), 0);
}

static void files_that_may_not_grow(void **state)
{
    enum { LIMIT = 200 * 1000, LINE = 10 * 1000, MOST = 3 * LIMIT / LINE };
    const char *journal = kit_new_journal(*state);
    struct kit_server *server = kit_serve_live(*state, journal);
    const char *text = kit_repeat(*state, "x", LINE);
    /* A batch that does not fit leaves nothing of it. */
    const char *line =
        kit_format(*state, "{\"userId\":\"%.250s\",\"name\":\"add_revenue\",\"value\":1}\n", text);
    const char *batch = kit_repeat(*state, line, LINE / 300);
    const char *body = kit_envelope(*state, "c", "t", kit_format(*state, "\"%s\"", text));
    int batches = 0, events = 0, status = 200;
    set_file_limit(server, LIMIT);
    while (events < MOST && (status = kit_post_json(server, KIT_PUBLISH, body)->status) == 202)
        events++;
    assert_int_equal(status, 503);
    while (batches < MOST && (status = kit_post_live_lines(server, batch)->status) == 200)
        batches++;
    assert_int_equal(status, 503);
    assert_int_equal(kit_whole_history(server, "c", 1000)->count, events);
    kit_push(server, "k", "1");
    set_file_limit(server, RLIM_INFINITY);
    assert_int_equal(kit_post_json(server, KIT_PUBLISH, body)->status, 202);
    assert_int_equal(kit_post_live_lines(server, batch)->status, 200);
    assert_int_equal(kit_whole_history(server, "c", 1000)->count, events + 1);
    assert_int_equal(kit_line_count(kit_read_file(*state, journal)), (batches + 1) * (LINE / 300));
    assert_lines(server, " (warn|error) ", 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_sqlite(a_journal_that_takes_nothing), kit_test_sqlite(a_database_without_room),
        kit_test_sqlite(a_database_whose_syncs_fail),  kit_test_sqlite(a_sync_that_fails_once_is_settled),
        kit_test_sqlite(files_that_may_not_grow),
    };
    return kit_run_event_tests(tests);
}
