/* Lists by pages, and lists of any length: in pieces, whole, in order, whatever their readers do. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../postgres.h"
#include "kit_http.h"
#include "kit_management.h"

enum { EVENTS = 2500, USERS = 700, LONG_EVENTS = 12000, LONG_USERS = 3, READ_MS = 20000 };

/* ---- walking through pages ---- */

/* All pages of a list, one behind the other; each but the last is full. The ids must be those of `whole`. */
static void walk(struct kit_server *server, const char *target, int limit, const struct kit_entries *whole)
{
    struct kit *kit = kit_of(server);
    size_t seen = 0;
    const char *after = "";
    for (;;) {
        kit_note(kit, "%s by pages of %d behind %zu entries", target, limit, seen);
        const struct kit_entries *page =
            kit_entries(server, kit_format(kit, "%s?limit=%d%s", target, limit, after));
        if (page->count > (size_t)limit || seen + page->count > whole->count)
            kit_fail(kit, "a page of %zu entries, %zu in all", page->count, seen + page->count);
        for (size_t i = 0; i < page->count; i++, seen++) {
            const struct kit_slice *wanted = &whole->items[seen].json, *got = &page->items[i].json;
            if (got->length != wanted->length || memcmp(got->text, wanted->text, got->length) != 0)
                kit_fail(kit, "entry %zu is %.*s instead of %.*s", seen, (int)got->length, got->text,
                         (int)wanted->length, wanted->text);
        }
        if (page->count < (size_t)limit)
            break;
        struct kit_slice last = page->items[page->count - 1].id;
        after = kit_format(kit, "&afterId=%.*s", (int)last.length, last.text);
    }
    assert_int_equal(seen, whole->count);
}

/* Ids of users are texts that rise, those of events numbers that rise. */
static void check_order(const struct kit_entries *entries, bool numbers)
{
    struct kit *kit = entries->response->kit;
    for (size_t i = 1; i < entries->count; i++) {
        const char *before = kit_slice_text(kit, entries->items[i - 1].id);
        const char *id = kit_slice_text(kit, entries->items[i].id);
        if (numbers ? strtol(id, NULL, 10) <= strtol(before, NULL, 10) : strcmp(id, before) <= 0)
            kit_fail(kit, "%s behind %s", id, before);
    }
}

/* The events of each user are those whose userId is that user, in the order added. */
static void check_events_of_users(const struct kit_entries *users, const struct kit_entries *events)
{
    struct kit *kit = users->response->kit;
    struct kit_slice value, *owners = kit_allocate(kit, events->count * sizeof *owners);
    char *lists = kit_allocate(kit, users->response->body_length + 1);
    for (size_t i = 0; i < events->count; i++)
        assert_int_equal(kit_member(events->items[i].json, "userId", &owners[i]), 1);
    for (size_t u = 0; u < users->count; u++) {
        struct kit_slice user = users->items[u].id;
        char *end = stpcpy(lists, "[");
        for (size_t i = 0; i < events->count; i++)
            if (owners[i].length == user.length + 2 &&
                memcmp(owners[i].text + 1, user.text, user.length) == 0)
                end += sprintf(end, "%s\"%.*s\"", end == lists + 1 ? "" : ",",
                               (int)events->items[i].id.length, events->items[i].id.text);
        memcpy(end, "]", 2);
        assert_int_equal(kit_member(users->items[u].json, "events", &value), 1);
        if (!kit_slice_is(value, lists))
            kit_fail(kit, "user %.*s has %.*s instead of %s", (int)user.length, user.text, (int)value.length,
                     value.text, lists);
    }
}

static void pages_hold_every_entry_once(void **state)
{
    static const int limits[] = {1000, 333, 41};
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    kit_add_many(server, 0, EVENTS, USERS);
    const struct kit_entries *events = kit_entries(server, KIT_GET_EVENTS);
    const struct kit_entries *users = kit_entries(server, KIT_GET_USERS);
    const struct kit_entries *own = kit_entries(server, KIT_EVENTS_OF "u0003");
    assert_int_equal(events->count, EVENTS);
    assert_int_equal(users->count, USERS);
    assert_int_equal(own->count, 4);
    check_order(events, true);
    check_order(users, false);
    check_order(own, true);
    check_events_of_users(users, events);
    for (size_t i = 0; i < KIT_COUNT(limits); i++) {
        walk(server, KIT_GET_EVENTS, limits[i], events);
        walk(server, KIT_GET_USERS, limits[i], users);
    }
    walk(server, KIT_GET_USERS, 7, users);
    for (int limit = 1; limit <= 5; limit++)
        walk(server, KIT_EVENTS_OF "u0003", limit, own);
}

/* The table's users come first, in its order; a page may end in the middle of either part, or between them. */
static void pages_of_users_cross_the_table(void **state)
{
    enum { TABLE = 300 };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    kit_add_many(server, 0, 500, 400);
    char *table = kit_allocate(kit, (size_t)TABLE * 64), *end = stpcpy(table, "{");
    for (int i = 0; i < TABLE; i++) /* neither in the order of ids nor against it; some have events */
        end += sprintf(end, "%s\"u%04d\":{}", i == 0 ? "" : ",", (i * 7919) % TABLE + 200);
    memcpy(end, "}", 2);
    kit_put_table(server, table);
    const struct kit_entries *users = kit_entries(server, KIT_GET_USERS);
    assert_int_equal(users->count, 500);
    for (int i = 0; i < TABLE; i++)
        assert_true(kit_slice_is(users->items[i].id, kit_format(kit, "u%04d", (i * 7919) % TABLE + 200)));
    for (int i = TABLE; i < 500; i++)
        assert_true(kit_slice_is(users->items[i].id, kit_format(kit, "u%04d", i - TABLE)));
    static const int limits[] = {1000, 500, 300, 150, 149, 77, 13};
    for (size_t i = 0; i < KIT_COUNT(limits); i++)
        walk(server, KIT_GET_USERS, limits[i], users);
}

/* ---- parameters ---- */

static void limits_are_obeyed(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    for (int i = 0; i < 5; i++)
        kit_add(server, "n", kit_format(*state, "\"u%d\"", i / 2), NULL);
    static const struct {
        const char *target, *ids;
    } rows[] = {
        {"/getEvents?limit=2", "1 2"},
        {"/getEvents?limit=2&afterId=2", "3 4"},
        {"/getEvents?afterId=3&limit=100", "4 5"},
        {"/getEvents?afterId=3", "4 5"},
        {"/getEvents?afterId=5", ""},
        {"/getEvents?limit=1&limit=4", "1"}, /* the first counts */
        {"/getEvents?afterId=%34", "5"},
        {"/getEvents?other=1", "1 2 3 4 5"},
        {"/getEventsByUserId/u1?limit=1", "3"},
        {"/getEventsByUserId/u1?afterId=3", "4"},
        {"/getEventsByUserId/u1?afterId=4&limit=1", ""},
        {"/getUsers?limit=1", "u0"},
        {"/getUsers?limit=1&afterId=u0", "u1"},
        {"/getUsers?afterId=u1", "u2"},
        {"/getUsers?afterId=%75%31", "u2"},
        {"/getUsers?afterId=u2", ""},
    };
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        kit_note(*state, "%s", rows[i].target);
        assert_string_equal(kit_ids(server, rows[i].target), rows[i].ids);
    }
}

static void bad_parameters_are_refused(void **state)
{
    static const char *const lists[] = {KIT_GET_EVENTS, KIT_GET_USERS, KIT_EVENTS_OF "u"};
    static const char *const limits[] = {"0", "-1", "", "x", "1.5", "1e3", "0x10", "+5", "%205", "5x", "%00"};
    struct kit_server *server = kit_serve_events(*state);
    kit_add(server, "n", "\"u\"", NULL);
    for (size_t i = 0; i < KIT_COUNT(lists); i++)
        for (size_t j = 0; j < KIT_COUNT(limits); j++) {
            const char *target = kit_format(*state, "%s?limit=%s", lists[i], limits[j]);
            kit_note(*state, "%s", target);
            kit_assert_error(kit_get_path(server, target), 400, "limit");
        }
    static const char *const afters[] = {"2", "0", "-1", "x", "1x", "99999999999999999999999", "%FF", "1%00"};
    for (size_t j = 0; j < KIT_COUNT(afters); j++) {
        kit_note(*state, "afterId=%s", afters[j]);
        kit_assert_error(kit_get_path(server, kit_format(*state, "/getEvents?afterId=%s", afters[j])), 400,
                         "afterId");
        kit_assert_error(kit_get_path(server, kit_format(*state, KIT_EVENTS_OF "u?afterId=%s", afters[j])),
                         400, "afterId");
    }
    kit_assert_error(kit_get_path(server, KIT_EVENTS_OF "nobody?limit=5"), 404, ".");
}

/* ---- long lists ---- */

static const struct kit_response *get_long(struct kit_connection *connection, const char *request)
{
    kit_send_text(connection, request);
    return kit_receive_at(connection, "GET", READ_MS, __FILE__, __LINE__);
}

#define REQUEST_1_1 "GET /getEvents HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define REQUEST_1_0 "GET /getEvents HTTP/1.0\r\n\r\n"

static void long_lists_come_in_pieces(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_add_many(server, 0, LONG_EVENTS, LONG_USERS);
    struct kit_connection *connection = kit_connect(server);
    const struct kit_response *response = get_long(connection, REQUEST_1_1);
    assert_true(response->chunked);
    kit_assert_header(response, "Connection", "close");
    kit_assert_header(response, "Content-Length", NULL);
    const struct kit_entries *entries = kit_parse_entries(response, __FILE__, __LINE__);
    assert_int_equal(entries->count, LONG_EVENTS);
    check_order(entries, true);
    kit_expect_end(connection);

    const struct kit_response *unframed = get_long(kit_connect(server), REQUEST_1_0);
    assert_true(unframed->until_end);
    kit_assert_header(unframed, "Transfer-Encoding", NULL);
    assert_int_equal(unframed->body_length, response->body_length);
    assert_memory_equal(unframed->body, response->body, response->body_length);

    const struct kit_entries *users = kit_entries(server, KIT_GET_USERS);
    assert_int_equal(users->count, LONG_USERS);
    size_t ids = 0;
    for (size_t i = 0; i < users->count; i++) {
        struct kit_slice value;
        assert_int_equal(kit_member(users->items[i].json, "events", &value), 1);
        for (size_t at = 0; at < value.length; at++)
            ids += value.text[at] == '"';
    }
    assert_int_equal(ids, 2 * LONG_EVENTS);
}

enum { LARGE_EVENTS = 12, LARGE_BYTES = 800 * 1000, MEMORY_KB = 20 * 1024 };

/* Adds events that make up a long list by their size; the bodies of the requests come from one buffer. */
#define serve_large(...)      SERVE_LARGE(__VA_ARGS__, NULL)
#define SERVE_LARGE(kit, ...) start_large(kit, (const char *const[]){__VA_ARGS__})
static struct kit_server *start_large(struct kit *kit, const char *const *arguments)
{
    struct kit_server *server = kit_start_events(kit, arguments);
    const char *details = kit_format(kit, "\"%s\"", kit_repeat(kit, "x", LARGE_BYTES));
    const char *body = kit_planned_body(kit, "large", "\"u\"", details);
    struct kit_connection *connection = kit_connect(server);
    for (int i = 0; i < LARGE_EVENTS; i++) {
        char id[64];
        assert_int_equal(kit_try_add(connection, body, kit_deadline_at_ms(KIT_DEADLINE_MS), id), 200);
    }
    kit_close(connection);
    return server;
}

static long resident_kb(struct kit_server *server)
{
    const char *path = kit_format(kit_of(server), "/proc/%d/status", (int)kit_process(server));
    const char *line = strstr(kit_read_file(kit_of(server), path), "VmRSS:");
    assert_non_null(line);
    return strtol(line + strlen("VmRSS:"), NULL, 10);
}

/* Asks for a long list over a narrow connection and does not read it: the server is in the middle of it. */
static struct kit_connection *begin(struct kit_server *server, const char *request)
{
    struct kit_connection *connection = kit_connect_small(server, 4096);
    kit_send_text(connection, request);
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
    while (!kit_has_input(connection)) {
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(kit_of(server), "the list does not begin");
        kit_pause();
    }
    return connection;
}

static void check_answers(struct kit_server *server)
{
    kit_push(server, "k", "1");
    assert_int_equal(kit_entries(server, "/getEvents?limit=1")->count, 1);
    assert_int_equal(kit_entries(server, KIT_GET_USERS)->count, 1);
}

/* Several readers stand in the middle of 10 MB each; nothing waits for them, and none of it is in memory whole. */
static void slow_readers_get_it_whole(void **state)
{
    enum { READERS = 4, LAST = sizeof "\r\n0\r\n\r\n" - 1 };
    struct kit *kit = *state;
    struct kit_server *server = serve_large(kit);
    struct kit_connection *readers[READERS];
    long before_kb = resident_kb(server);
    for (int i = 0; i < READERS; i++)
        readers[i] = begin(server, REQUEST_1_1);
    check_answers(server);
    const char *id = kit_add(server, "late", "\"u\"", NULL);
    assert_string_equal(id, kit_format(kit, "%d", LARGE_EVENTS + 1));
    if (kit_time_scale() <= 1 && resident_kb(server) - before_kb > MEMORY_KB)
        kit_fail(kit, "%ld kB more for %d readers", resident_kb(server) - before_kb, READERS);
    for (int i = 1; i < READERS; i++)
        kit_reset(readers[i]);
    /* The first one goes on, and gets the rest. */
    static char piece[65536];
    size_t total = 0;
    ssize_t count;
    char last[LAST + 1] = "";
    while ((count = kit_try_read(readers[0], piece, sizeof piece)) > 0) {
        total += (size_t)count;
        size_t end = (size_t)count < LAST ? (size_t)count : LAST;
        memmove(last, last + end, LAST - end);
        memcpy(last + LAST - end, piece + (size_t)count - end, end);
    }
    assert_int_equal(count, 0);
    assert_string_equal(last, "\r\n0\r\n\r\n");
    assert_in_range(total, (size_t)LARGE_EVENTS * LARGE_BYTES, (size_t)LARGE_EVENTS * LARGE_BYTES * 2);
    check_answers(server);
}

/* More readers stand still than there are threads; what is quick is served all the same. */
static void many_slow_readers_leave_the_rest_working(void **state)
{
    enum { READERS = 30, PUSHES = 20 };
    struct kit *kit = *state;
    struct kit_server *server = serve_large(kit, "--threads", "2", "--max-threads", "20");
    struct kit_connection *readers[READERS];
    for (int i = 0; i < READERS; i++) {
        readers[i] = kit_connect_small(server, 4096);
        kit_send_text(readers[i], REQUEST_1_1);
    }
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS), started_at_ms;
    int begun = 0;
    while (begun < READERS && kit_now_ms() < deadline_at_ms) {
        begun = 0;
        for (int i = 0; i < READERS; i++)
            begun += kit_has_input(readers[i]);
        kit_pause();
    }
    assert_int_equal(begun, READERS);
    started_at_ms = kit_now_ms();
    for (int i = 0; i < PUSHES; i++)
        kit_push(server, "k", "1");
    kit_assert_body(kit_get_path(server, "/healthz"), "{\"ok\":true}");
    assert_in_range(kit_now_ms() - started_at_ms, 0, (int64_t)(2000 * kit_time_scale()));
    for (int i = 0; i < READERS; i++)
        kit_reset(readers[i]);
    started_at_ms = kit_now_ms();
    check_answers(server);
    assert_in_range(kit_now_ms() - started_at_ms, 0, (int64_t)(2000 * kit_time_scale()));
}

/* The second half of the list is read after the client has gone: nothing is left of it. */
static void readers_that_go_away_harm_nobody(void **state)
{
    enum { ROUNDS = 5 };
    struct kit *kit = *state;
    struct kit_server *server = serve_large(kit);
    for (int i = 0; i < ROUNDS; i++) {
        struct kit_connection *gone = begin(server, i % 2 == 0 ? REQUEST_1_1 : REQUEST_1_0);
        struct kit_connection *closed = begin(server, "GET /getEventsByUserId/u HTTP/1.1\r\nHost: x\r\n\r\n");
        kit_reset(gone);
        kit_close(closed);
        check_answers(server);
    }
    kit_wait_until_health(server, "connections.open", 1);
    const struct kit_entries *entries = kit_entries(server, "/getEvents?limit=10");
    assert_int_equal(entries->count, 10);
    kit_add(server, "n", "\"u\"", NULL);
}

/* ---- what happens to the lists meanwhile ---- */

/* A table of `count` users of some size, from number `first` on. */
static const char *large_table(struct kit *kit, int first, int count)
{
    const char *filler = kit_repeat(kit, "y", 2000);
    char *table = kit_allocate(kit, (size_t)count * 2100), *end = stpcpy(table, "{");
    for (int i = first; i < first + count; i++)
        end += sprintf(end, "%s\"u%04d\":{\"about\":\"%s\"}", i == first ? "" : ",", i, filler);
    memcpy(end, "}", 2);
    return table;
}

static int compare_ids(const void *left, const void *right)
{
    const struct kit_slice *one = &((const struct kit_entry *)left)->id;
    const struct kit_slice *other = &((const struct kit_entry *)right)->id;
    size_t length = one->length < other->length ? one->length : other->length;
    int order = memcmp(one->text, other->text, length);
    return order != 0 ? order : (one->length > other->length) - (one->length < other->length);
}

/* Whoever is in both tables, or has events, is in the list whatever it is made from; nobody is there twice. */
static void a_new_table_does_not_confuse_a_reader(void **state)
{
    enum { TABLE = 4000 };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    kit_put_table(server, large_table(kit, 0, TABLE));
    kit_add_many(server, 0, 100, 100);
    struct kit_connection *reader = begin(server, "GET /getUsers HTTP/1.1\r\nHost: localhost\r\n\r\n");
    kit_put_table(server, large_table(kit, TABLE / 2, TABLE));
    kit_add(server, "n", "\"u0050\"", NULL);
    kit_add(server, "n", "\"late\"", NULL);
    const struct kit_response *response = kit_receive_at(reader, "GET", READ_MS, __FILE__, __LINE__);
    const struct kit_entries *users = kit_parse_entries(response, __FILE__, __LINE__);
    qsort(users->items, users->count, sizeof *users->items, compare_ids);
    size_t in_both = 0, with_events = 0;
    for (size_t i = 0; i < users->count; i++) {
        const char *id = kit_slice_text(kit, users->items[i].id);
        long number = *id == 'u' ? strtol(id + 1, NULL, 10) : -1;
        if (i > 0 && compare_ids(&users->items[i - 1], &users->items[i]) == 0)
            kit_fail(kit, "user %s comes twice", id);
        in_both += number >= TABLE / 2 && number < TABLE;
        with_events += number >= 0 && number < 100;
    }
    assert_int_equal(in_both, TABLE / 2);
    assert_int_equal(with_events, 100);
    assert_int_equal(kit_entries(server, KIT_GET_USERS)->count, TABLE + 100 + 1);
}

/* Half a list must not look like a whole one. */
static void a_list_without_its_database_is_not_ended(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = serve_large(kit);
    struct kit_connection *reader = begin(server, REQUEST_1_1);
    assert_int_equal(postgres_stop(kit_postgres(kit), true), 0);
    struct kit_response response;
    int result = kit_try_receive(reader, "GET", kit_deadline_at_ms(READ_MS), &response);
    int problem = errno;
    assert_int_equal(postgres_restart(kit_postgres(kit)), 0);
    if (result == 0)
        kit_fail(kit, "a whole list of %zu bytes", response.body_length);
    if (problem == ETIMEDOUT)
        kit_fail(kit, "the list has no end");
    int64_t deadline_at_ms = kit_deadline_at_ms(2 * KIT_DEADLINE_MS);
    while (kit_get_path(server, "/getEvents?limit=1")->status != 200 && kit_now_ms() < deadline_at_ms)
        kit_pause();
    check_answers(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_engines(pages_hold_every_entry_once),
        kit_test_engines(pages_of_users_cross_the_table),
        kit_test_engines(limits_are_obeyed),
        kit_test_engines(bad_parameters_are_refused),
        kit_test_engines(long_lists_come_in_pieces),
        kit_test_engines(slow_readers_get_it_whole),
        kit_test_engines(many_slow_readers_leave_the_rest_working),
        kit_test_engines(readers_that_go_away_harm_nobody),
        kit_test_engines(a_new_table_does_not_confuse_a_reader),
        kit_test_postgresql(a_list_without_its_database_is_not_ended),
    };
    return kit_run_event_tests(tests);
}
