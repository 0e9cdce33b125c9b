/* POST /push of application/x-ndjson: one event a line, all of them or none, one batch to whoever waits. */
#include <stdio.h>
#include <string.h>

#include "kit.h"

#define NDJSON "application/x-ndjson"

static const struct kit_response *post_lines(struct kit_server *server, const char *key, const char *lines)
{
    return kit_post(server, key, NDJSON, lines, strlen(lines));
}

static void check_taken(struct kit_server *server, const char *key, const char *lines, int64_t count,
                        const char *stored)
{
    int64_t number;
    kit_note(kit_of(server), "lines \"%s\"", lines);
    const struct kit_response *response = post_lines(server, key, lines);
    kit_assert_status(response, 200);
    kit_assert_header(response, "Content-Type", "application/json");
    kit_assert_body_matches(response, "\"message\":\"Data pushed successfully\"");
    assert_true(kit_json_number(response->body, "id", &number));
    assert_int_equal(number, count);
    assert_true(kit_json_number(response->body, "count", &number));
    assert_int_equal(number, count);
    kit_assert_get(server, key, "g", stored);
}

static void every_line_is_an_event(void **state)
{
    struct kit_server *server = kit_serve(*state);
    check_taken(server, "a", "1\n2\n3\n", 3, "[1,2,3]");
    check_taken(server, "b", "1\n2\n3", 3, "[1,2,3]");
    check_taken(server, "c", "{\"n\":1}", 1, "[{\"n\":1}]");
    check_taken(server, "d", "{\"n\": 1}\n\"\xe6\xbc\xa2\\n\"\n1e400\n[1, 2]\n", 4,
                "[{\"n\": 1},\"\xe6\xbc\xa2\\n\",1e400,[1, 2]]");
}

static void blank_lines_are_skipped(void **state)
{
    struct kit_server *server = kit_serve(*state);
    check_taken(server, "e", "\n\n1\n\n\n2\n\n", 2, "[1,2]");
    check_taken(server, "f", "1\n  \t \n2\n ", 2, "[1,2]");
}

static void lines_may_end_in_cr_lf(void **state)
{
    struct kit_server *server = kit_serve(*state);
    /* The CR may stay behind the value as JSON's white space or go with the line's end; the value is the
     * same. */
    const struct kit_response *response = post_lines(server, "a", "\r\n{\"n\":1}\r\n\r\n2\r\n\"x\"\r\n");
    int64_t count;
    kit_assert_status(response, 200);
    assert_true(kit_json_number(response->body, "count", &count));
    assert_int_equal(count, 3);
    kit_assert_body_matches(kit_get(server, "a", "g", "timeout=0"), "^\\[\\{\"n\":1}\r?,2\r?,\"x\"\r?]$");
}

static void the_media_type_is_recognised(void **state)
{
    static const char *const types[] = {NDJSON, "Application/X-NDJSON", NDJSON "; charset=utf-8",
                                        NDJSON ";charset=UTF-8"};
    struct kit_server *server = kit_serve(*state);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        kit_note(*state, "type %s", types[i]);
        kit_assert_status(kit_post(server, "a", types[i], "1\n2\n", 4), 200);
        kit_assert_get(server, "a", "g", "[1,2]");
    }
    kit_assert_error(kit_post(server, "a", NDJSON "; charset=utf-16", "1\n2\n", 4), 415, "");
    /* Without the type these are two values where one is wanted. */
    kit_assert_error(kit_post(server, "a", NULL, "1\n2\n", 4), 400, "");
}

static void ids_go_on_after_a_batch(void **state)
{
    struct kit_server *server = kit_serve(*state);
    int64_t id;
    assert_int_equal(kit_push(server, "a", "0"), 1);
    assert_true(kit_json_number(post_lines(server, "a", "1\n2\n3\n")->body, "id", &id));
    assert_int_equal(id, 4);
    assert_int_equal(kit_push(server, "a", "4"), 5);
    kit_assert_get(server, "a", "g", "[0,1,2,3,4]");
}

static void a_bad_line_refuses_all(void **state)
{
    const struct {
        const char *lines;
        int line; /* counted from 1, blank ones too */
    } rows[] = {
        {"x\n1\n2\n", 1},
        {"1\n2\nx", 3},
        {"1\n{\"n\":}\n3\n", 2},
        {"1\n\n\r\n[1,\n2]\n", 4},
        {"1\n2 3\n", 2},
        {"1\n\f\n2\n", 2},
        {"1\n2\n\"caf\xe9\"\n", 3},
        {"1\n\"a\n", 2},
        {"1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12,\n", 12},
        {kit_format(*state, "1\n%s%s\n", kit_repeat(*state, "[", 1001), kit_repeat(*state, "]", 1001)), 2},
    };
    struct kit_server *server = kit_serve(*state);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        kit_note(*state, "lines \"%s\"", rows[i].lines);
        kit_assert_error(post_lines(server, "a", rows[i].lines), 400,
                         kit_format(*state, "[Ll]ine %d([^0-9]|$)", rows[i].line));
    }
    kit_assert_get(server, "a", "g", "[]");
    assert_int_equal(kit_push(server, "a", "1"), 1);
}

static void a_batch_without_an_event_is_refused(void **state)
{
    struct kit_server *server = kit_serve(*state);
    kit_assert_error(post_lines(server, "a", "\n"), 400, "");
    kit_assert_error(post_lines(server, "a", "\r\n\n\r\n"), 400, "");
}

static void a_waiting_consumer_gets_one_batch(void **state)
{
    struct kit_server *server = kit_serve(*state);
    struct kit_connection *first = kit_get_later(server, "a", "g", NULL);
    struct kit_connection *second = kit_get_later(server, "a", "h", NULL);
    kit_wait_until_health(server, "queue.waiting", 2);
    kit_assert_status(post_lines(server, "a", "1\n2\n3\n4\n5\n"), 200);
    kit_assert_body(kit_receive(first), "[1,2,3,4,5]");
    kit_assert_body(kit_receive(second), "[1,2,3,4,5]");
    kit_assert_get(server, "a", "g", "[]");
}

static void a_limit_splits_a_batch_among_those_who_wait(void **state)
{
    static const char *const answers[] = {"[1,2]", "[3]", "[4,5,6]", "[7]"};
    static const char *const limits[] = {"limit=2", "limit=1", "limit=3", NULL};
    struct kit_server *server = kit_serve(*state);
    struct kit_connection *waiting[5];
    for (int i = 0; i < 5; i++) {
        waiting[i] = kit_get_later(server, "a", "g", i < 4 ? limits[i] : NULL);
        kit_wait_until_health(server, "queue.waiting", i + 1);
    }
    kit_assert_status(post_lines(server, "a", "1\n2\n3\n4\n5\n6\n7\n"), 200);
    for (int i = 0; i < 4; i++)
        kit_assert_body(kit_receive(waiting[i]), answers[i]);
    kit_wait_until_health(server, "queue.waiting", 1);
    kit_expect_silence(waiting[4]);
    kit_push(server, "a", "8");
    kit_assert_body(kit_receive(waiting[4]), "[8]");
}

static void a_large_batch_is_kept_whole(void **state)
{
    enum { LINES = 20000 };
    struct kit_server *server = kit_serve(*state);
    char *lines = kit_allocate(*state, LINES * 16);
    char *wanted = kit_allocate(*state, LINES * 16);
    size_t used = 0;
    for (int i = 0; i < LINES; i++)
        used += (size_t)sprintf(lines + used, "{\"n\":%d}\n", i);
    wanted[0] = '[';
    for (size_t i = 0; i < used; i++)
        wanted[i + 1] = lines[i] == '\n' ? ',' : lines[i];
    wanted[used] = ']';
    kit_assert_status(post_lines(server, "a", lines), 200);
    kit_assert_get(server, "a", "g", wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(every_line_is_an_event),
        kit_test(blank_lines_are_skipped),
        kit_test(lines_may_end_in_cr_lf),
        kit_test(the_media_type_is_recognised),
        kit_test(ids_go_on_after_a_batch),
        kit_test(a_bad_line_refuses_all),
        kit_test(a_batch_without_an_event_is_refused),
        kit_test(a_waiting_consumer_gets_one_batch),
        kit_test(a_limit_splits_a_batch_among_those_who_wait),
        kit_test(a_large_batch_is_kept_whole),
    };
    return kit_run_tests(tests);
}
