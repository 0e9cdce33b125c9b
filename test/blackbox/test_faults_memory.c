/* Whichever allocation of a request fails: it is taken, or refused and leaves nothing behind, and the next one is taken. */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kit_faults.h"
#include "kit_live.h"
#include "kit_management.h"
#include "kit_metrics.h"

enum { MOST = 400 };

/* --- what has become of it --- */

/* The key of the attempt holds exactly its events, or nothing. */
static void judge_push(struct kit_sweep *sweep, unsigned number, enum kit_outcome outcome, const char *body)
{
    struct kit *kit = kit_of(sweep->server);
    const char *key = kit_format(kit, "key%u", number);
    const struct kit_response *stored = kit_get(sweep->server, key, "judge", "timeout=0");
    bool is_there = strcmp(stored->body, "[]") != 0;
    (void)body;
    kit_assert_status(stored, 200);
    if (outcome != KIT_OPEN_OUTCOME && is_there != (outcome == KIT_TAKEN))
        kit_fail(kit, "outcome %d, and stored is %s", (int)outcome, stored->body);
    if (is_there && !kit_matches(stored->body, kit_format(kit, "^\\[.*%u.*\\]$", number)))
        kit_fail(kit, "stored is %s", stored->body);
}

/* A group whose request was refused has consumed nothing. */
static void judge_get(struct kit_sweep *sweep, unsigned number, enum kit_outcome outcome, const char *body)
{
    struct kit *kit = kit_of(sweep->server);
    const struct kit_response *rest =
        kit_get(sweep->server, "stored", kit_format(kit, "g%u", number), "timeout=0");
    if (outcome == KIT_TAKEN)
        assert_string_equal(body, "[{\"n\":1},\"two\"]");
    kit_assert_body(rest, outcome == KIT_TAKEN ? "[]" : "[{\"n\":1},\"two\"]");
}

static void copy_file(struct kit *kit, const char *from, const char *to)
{
    char bytes[65536];
    size_t length;
    FILE *source = fopen(from, "rbe"), *target = fopen(to, "wbe");
    if (source == NULL || target == NULL)
        kit_fail(kit, "%s can't be copied", from);
    while ((length = fread(bytes, 1, sizeof bytes, source)) > 0)
        assert_int_equal(fwrite(bytes, 1, length, target), length);
    fclose(source);
    assert_int_equal(fclose(target), 0);
}

/* How many events of the channel the database would have if the server crashed now. */
static int count_after_crash(struct kit *kit, const char *channel)
{
    sqlite3 *database;
    sqlite3_stmt *statement;
    const char *path = kit_database(kit) + strlen("sqlite:");
    const char *copy = kit_format(kit, "%s/copy", kit_make_directory(kit));
    copy_file(kit, path, copy);
    copy_file(kit, kit_format(kit, "%s-wal", path), kit_format(kit, "%s-wal", copy));
    assert_int_equal(sqlite3_open(copy, &database), SQLITE_OK);
    assert_int_equal(
        sqlite3_prepare_v2(database, "SELECT count(*) FROM events WHERE channel = ?1", -1, &statement, NULL),
        SQLITE_OK);
    sqlite3_bind_text(statement, 1, channel, -1, SQLITE_STATIC);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int count = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(database);
    return count;
}

static void judge_publish(struct kit_sweep *sweep, unsigned number, enum kit_outcome outcome,
                          const char *body)
{
    struct kit *kit = kit_of(sweep->server);
    const char *channel = kit_format(kit, "key%u", number);
    const struct kit_history *history = kit_history(sweep->server, channel, NULL);
    if (kit_engine() == KIT_SQLITE && outcome != KIT_OPEN_OUTCOME)
        assert_int_equal(count_after_crash(kit, channel), outcome == KIT_TAKEN ? 1 : 0);
    if (outcome != KIT_OPEN_OUTCOME && history->count != (outcome == KIT_TAKEN ? 1 : 0))
        kit_fail(kit, "outcome %d, and the history has %zu", (int)outcome, history->count);
    if (history->count == 1)
        assert_string_equal(history->events[0].payload, kit_format(kit, "{\"n\":%u}", number));
    judge_push(sweep, number, history->count == 1 ? KIT_TAKEN : KIT_REFUSED, body);
}

static void judge_subscribe(struct kit_sweep *sweep, unsigned number, enum kit_outcome outcome,
                            const char *body)
{
    struct kit *kit = kit_of(sweep->server);
    const char *user = kit_format(kit, "%u", number);
    (void)body;
    if (outcome == KIT_TAKEN)
        kit_assert_channels(sweep->server, user, "swept");
    else if (outcome == KIT_REFUSED)
        kit_assert_channels(sweep->server, user);
}

#define RESULT                                                                                               \
    "\\{\"event_id\":(null|\"[ef][0-9]+\"),\"status\":\"(success|error)\",\"message\":\"[^\"]+\"\\}"

/* An event that was not taken is not known, and may be sent again. Of the others of its request each has its own result. */
static void judge_events(struct kit_sweep *sweep, unsigned number, enum kit_outcome outcome, const char *body)
{
    struct kit *kit = kit_of(sweep->server);
    const char *id = kit_format(kit, "e%u", number);
    const char *again = kit_click(kit, id, "u", "again", kit_instant(kit, 0));
    const struct kit_response *response = kit_post_events(sweep->server, NULL, again);
    bool taken = body != NULL && strstr(body, kit_format(kit, "\"%s\",\"status\":\"success\"", id)) != NULL;
    if (outcome == KIT_TAKEN && !kit_matches(body, "^\\{\"results\":\\[(" RESULT ",)*" RESULT "\\]\\}$"))
        kit_fail(kit, "no results: %s", body);
    if (outcome != KIT_OPEN_OUTCOME)
        kit_assert_result(response, id, taken ? kit_format(kit, "Event %s already seen", id) : KIT_ACCEPTED);
}

static void judge_add(struct kit_sweep *sweep, unsigned number, enum kit_outcome outcome, const char *body)
{
    struct kit *kit = kit_of(sweep->server);
    const char *target = kit_format(kit, "%sadder%u", KIT_EVENTS_OF, number);
    const struct kit_response *list = kit_get_path(sweep->server, target);
    (void)body;
    if (outcome == KIT_TAKEN)
        kit_assert_body_matches(list, "^\\[\\{[^{}]*\"name\":\"swept\"[^{}]*\\{\"a\":\\[1\\]\\}\\}\\]$");
    else if (outcome == KIT_REFUSED)
        kit_assert_status(list, 404);
}

static void judge_put(struct kit_sweep *sweep, unsigned number, enum kit_outcome outcome, const char *body)
{
    struct kit *kit = kit_of(sweep->server);
    const struct kit_metrics *metrics = kit_metrics(sweep->server, 1);
    bool is_there = kit_parse_count(metrics->by_plan, kit_format(kit, "plan%u", number)) >= 0;
    (void)body;
    if (outcome != KIT_OPEN_OUTCOME && is_there != (outcome == KIT_TAKEN))
        kit_fail(kit, "outcome %d, and the table is %s one", (int)outcome, is_there ? "this" : "another");
}

/* The journal has the line, whole, or not. */
static void judge_live(struct kit_sweep *sweep, unsigned number, enum kit_outcome outcome, const char *body)
{
    struct kit *kit = kit_of(sweep->server);
    const char *journal = kit_read_file(kit, sweep->context);
    const char *line =
        kit_format(kit, "{\"userId\":\"live%u\",\"name\":\"add_revenue\",\"value\":1}\n", number);
    bool is_there = strstr(journal, line) != NULL;
    (void)body;
    if (outcome != KIT_OPEN_OUTCOME && is_there != (outcome == KIT_TAKEN))
        kit_fail(kit, "outcome %d, and the journal %s the line", (int)outcome, is_there ? "has" : "lacks");
}

/* --- the requests --- */

#define JSON     "Content-Type: application/json\r\n"
#define NDJSON   "Content-Type: application/x-ndjson\r\n"
#define LIVE     "{\"userId\":\"live#\",\"name\":\"add_revenue\",\"value\":1}"
#define PUSHED   "{\"message\":\"Data pushed successfully\",\"id\":1}"
#define RECEIVED "{\"message\":\"Event received\"}"
#define GET      .method = "GET", .target
#define POST     .method = "POST", .target

static const struct kit_swept queue_requests[] = {
    {"push JSON", POST = "/push?key=key#", .headers = JSON, .body = "{\"n\":#}", .statuses = "200",
     .answer = PUSHED, .judge = judge_push},
    {"push text", POST = "/push?key=key#", .headers = "Content-Type: text/plain\r\n", .body = "text \"#\"",
     .statuses = "200", .answer = PUSHED, .judge = judge_push},
    {"push lines", POST = "/push?key=key#", .headers = NDJSON, .body = "{\"n\":#}\n[#]\n", .statuses = "200",
     .answer = "{\"message\":\"Data pushed successfully\",\"id\":2,\"count\":2}", .judge = judge_push},
    {"push in chunks",
     .raw = "POST /push?key=key# HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            "5\r\n[1000\r\n6\r\n0,1000\r\n1\r\n]\r\n0\r\n\r\n",
     .statuses = "200", .answer = PUSHED},
    {"push what is wrong", POST = "/push?key=key#", .body = "{\"n\":#", .statuses = "400", .answer = ""},
    {"get at once", GET = "/blocking-get?key=stored&groupId=g#&timeout=0", .statuses = "200",
     .judge = judge_get},
    {"get nothing", GET = "/blocking-get?key=none&groupId=g#&timeout=0", .statuses = "200"},
    {"get after a wait", GET = "/blocking-get?key=none&groupId=w#&timeout=0.001", .statuses = "200"},
    {"get with ids", GET = "/blocking-get?key=stored&groupId=m#&timeout=0&meta=1&limit=1", .statuses = "200"},
    {"health", GET = "/health", .statuses = "200", .answer = ""},
    {"healthz", .method = "HEAD", .target = "/healthz", .statuses = "200"},
    {"no such path", GET = "/none#", .statuses = "404"},
};

static const struct kit_swept event_requests[] = {
    {"publish", POST = KIT_PUBLISH, .headers = JSON,
     .body = "{\"channel\":\"key#\",\"eventType\":\"t\",\"payload\":{\"n\": #}}", .statuses = "202",
     .judge = judge_publish},
    {"subscribe", POST = KIT_SUBSCRIBE, .headers = JSON, .body = "{\"userId\":#,\"channel\":\"swept\"}",
     .statuses = "201", .answer = "{\"status\":\"subscribed\",\"userId\":#,\"channel\":\"swept\"}",
     .judge = judge_subscribe},
    {"unsubscribe", POST = KIT_UNSUBSCRIBE, .headers = JSON, .body = "{\"userId\":#,\"channel\":\"swept\"}",
     .statuses = "200", .answer = "{\"status\":\"unsubscribed\",\"userId\":#,\"channel\":\"swept\"}"},
    {"list", GET = KIT_LIST "?userId=1", .statuses = "200"},
    {"history", GET = KIT_HISTORY "?channel=old&afterId=0", .statuses = "200"},
    {"count", GET = KIT_ACTIVE_CONNECTIONS, .statuses = "200"},
    {"revenue", GET = "/userEvents/paid", .statuses = "200"},
    {"live event", POST = "/liveEvent", .headers = JSON, .body = LIVE, .statuses = "200", .answer = RECEIVED,
     .judge = judge_live},
    {"live events", POST = "/liveEvent", .headers = NDJSON, .body = LIVE "\n" LIVE "\n", .statuses = "200",
     .answer = "{\"message\":\"Event received\",\"count\":2}", .judge = judge_live},
};

/* `@` stands for now. */
#define EVENT(id) "{\"event_id\":\"" id "\",\"user_id\":\"u#\",\"type\":\"type#\",\"ts\":\"@\"}"

static const struct kit_swept management_requests[] = {
    {"event", POST = KIT_EVENTS, .headers = JSON, .body = EVENT("e#"), .statuses = "200", .answer = "",
     .judge = judge_events},
    {"events", POST = KIT_EVENTS, .headers = JSON, .body = "[" EVENT("e#") ",1," EVENT("f#") "]",
     .statuses = "200", .answer = "", .judge = judge_events},
    {"lines of events", POST = KIT_EVENTS, .headers = NDJSON, .body = EVENT("e#") "\n" EVENT("f#") "\n",
     .statuses = "200", .answer = "", .judge = judge_events},
    {"metrics", GET = KIT_METRICS "?window=1800", .statuses = "200"},
    {"table", .method = "PUT", .target = KIT_USERS, .headers = JSON,
     .body = "{\"user_metadata\":{\"u#\":{\"plan\":\"plan#\",\"region\":\"r#\",\"userName\":\"n\"},\"v\":{}},"
             "\"ts\":\"@\"}",
     .statuses = "200", .answer = KIT_REPLACED, .judge = judge_put},
    {"wrong table", .method = "PUT", .target = KIT_USERS, .headers = JSON,
     .body = "{\"user_metadata\":{\"u#\":{\"plan\":7}},\"ts\":\"@\"}", .statuses = "400", .answer = ""},
    {"added event", POST = KIT_ADD_EVENT, .headers = JSON,
     .body = "{\"name\":\"swept\",\"userId\":\"adder#\",\"details\":{\"a\":[1]}}", .statuses = "200",
     .answer = "", .judge = judge_add},
    {"users", GET = KIT_GET_USERS, .statuses = "200"},
    {"added events", GET = KIT_GET_EVENTS "?limit=2", .statuses = "200"},
    {"events of a user", GET = KIT_EVENTS_OF "adder", .statuses = "200"},
};

/* The text with the time now in the place of @. */
static const char *with_now(struct kit *kit, const char *text)
{
    const char *mark;
    while (text != NULL && (mark = strchr(text, '@')) != NULL)
        text = kit_format(kit, "%.*s%s%s", (int)(mark - text), text, kit_instant(kit, 0), mark + 1);
    return text;
}

static void sweep_all(struct kit_sweep *sweep, const struct kit_swept *requests, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        unsigned before = sweep->attempts, cut = sweep->cut, refused = sweep->refused;
        struct kit_swept request = requests[i];
        request.body = with_now(kit_of(sweep->server), request.body);
        kit_sweep(sweep, &request, MOST);
        if (getenv("FAULTS_VERBOSE") != NULL)
            print_message("%s: %u attempts, %u refused, %u cut\n", requests[i].name, sweep->attempts - before,
                          sweep->refused - refused, sweep->cut - cut);
    }
}

static void finish(struct kit_sweep *sweep, const struct kit_holdings *before)
{
    kit_note(kit_of(sweep->server), "after the sweep");
    assert_true(sweep->refused > 0);
    assert_int_equal(sweep->cut, 0); /* nobody was left without an answer */
    /* Each kind of shortage is said once, and some that it is over. */
    assert_in_range(kit_matching_lines(kit_of(sweep->server), kit_log(sweep->server), " (warn|error) "), 1,
                    8);
    kit_wait_until_holdings(sweep->server, before);
    kit_wait_until_health(sweep->server, "queue.waiting", 0);
}

static void the_queue(void **state)
{
    struct faults *faults = kit_faults(*state);
    struct kit_server *server = kit_serve(*state, "--access-log");
    struct kit_sweep sweep = {.server = server, .faults = faults};
    kit_push(server, "stored", "{\"n\":1}");
    kit_push(server, "stored", "\"two\"");
    assert_int_equal(atomic_load(&faults->attached), kit_process(server));
    /* The buffers for head and body grow step by step. */
    const struct kit_swept large = {
        .name = "push what is large",
        .method = "POST",
        .target = "/push?key=key#",
        .headers = kit_format(*state, "X-Large: %s\r\n", kit_repeat(*state, "x", 10000)),
        .body = kit_format(*state, "[#,\"%s\"]", kit_repeat(*state, "y", 300000)),
        .statuses = "200",
        .answer = PUSHED,
        .judge = judge_push,
    };
    struct kit_holdings before = kit_holdings(server);
    sweep_all(&sweep, queue_requests, KIT_COUNT(queue_requests));
    sweep_all(&sweep, &large, 1);
    finish(&sweep, &before);
}

static void notifications_and_live_events(void **state)
{
    struct faults *faults = kit_faults(*state);
    const char *journal = kit_new_journal(*state);
    struct kit_server *server = kit_serve_live(*state, journal);
    struct kit_sweep sweep = {.server = server,
                              .faults = faults,
                              .context = (void *)(uintptr_t)journal,
                              .database_goes = kit_engine() == KIT_POSTGRESQL};
    kit_publish(server, "old", "t", kit_format(*state, "\"%s\"", kit_repeat(*state, "long ", 1000)));
    kit_subscribe(server, "1", "a");
    kit_live(server, "{\"userId\":\"paid\",\"name\":\"add_revenue\",\"value\":12.50}");
    assert_int_equal(kit_command(*state, "process", journal, "--database", kit_database(*state))->exit_status,
                     0);
    kit_await_links(*state);
    struct kit_holdings before = kit_holdings(server);
    sweep_all(&sweep, event_requests, KIT_COUNT(event_requests));
    finish(&sweep, &before);
}

static void metrics_and_management(void **state)
{
    struct faults *faults = kit_faults(*state);
    struct kit_server *server = kit_serve_events(*state);
    struct kit_sweep sweep = {
        .server = server, .faults = faults, .database_goes = kit_engine() == KIT_POSTGRESQL};
    kit_add(server, "one", "\"adder\"", kit_format(*state, "\"%s\"", kit_repeat(*state, "long ", 1000)));
    kit_await_links(*state);
    struct kit_holdings before = kit_holdings(server);
    sweep_all(&sweep, management_requests, KIT_COUNT(management_requests));
    finish(&sweep, &before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(the_queue),
        kit_test_engines(notifications_and_live_events),
        kit_test_engines(metrics_and_management),
    };
    return kit_run_event_tests(tests);
}
