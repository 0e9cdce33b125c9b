/* POST /events: one result an event, in order; which message an event gets, and what counts once. */
#include <stdio.h>
#include <string.h>

#include "kit_metrics.h"

#define NOW "ts of now" /* stands for an instant in the rows */

/* The text with `ts` for each NOW in it. */
static char *with_instant(struct kit *kit, const char *text, const char *ts)
{
    char *whole = kit_format(kit, "%s", "");
    for (const char *mark; (mark = strstr(text, NOW)) != NULL; text = mark + strlen(NOW))
        whole = kit_format(kit, "%s%.*s%s", whole, (int)(mark - text), text, ts);
    return kit_format(kit, "%s%s", whole, text);
}

static void a_single_event_is_answered_exactly(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    const char *event = kit_click(kit, "e1", "u-123", "click", kit_instant(kit, -1000));
    const struct kit_response *response = kit_post_events(server, KIT_JSON, event);
    kit_assert_status(response, 200);
    kit_assert_header(response, "Content-Type", KIT_JSON);
    kit_assert_body(
        response,
        "{\"results\":[{\"event_id\":\"e1\",\"status\":\"success\",\"message\":\"Event accepted\"}]}");
    response = kit_post_events(server, KIT_JSON, "{}");
    kit_assert_body(response, "{\"results\":[{\"event_id\":null,\"status\":\"error\",\"message\":\"Event is "
                              "missing required fields\"}]}");
    kit_assert_metrics(server, 300, .unknown = 1, .plans = "", .regions = "", .types = "click=1");
}

static void the_order_and_the_space_of_members_do_not_matter(void **state)
{
    static const char *const events[] = {
        "{\"ts\":\"" NOW "\",\"type\":\"click\",\"user_id\":\"u\",\"event_id\":\"e0\"}",
        " \r\n\t{ \"event_id\" : \"e1\" ,\n\"type\" :\t\"click\", \"user_id\":\"u\", \"ts\":\"" NOW "\" }\n ",
        "{\"event_id\":\"e2\",\"user_id\":\"u\",\"type\":\"click\",\"ts\":\"" NOW
        "\",\"more\":{\"event_id\":\"x\","
        "\"ts\":[1,{\"type\":null}]},\"\":0,\"user\":true,\"Event_id\":\"y\",\"n\":1e400}",
        "{\"\\u0065vent_id\":\"e3\",\"user\\u005fid\":\"u\",\"type\":\"cl\\u0069ck\",\"ts\":\"" NOW "\"}",
    };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    for (size_t i = 0; i < KIT_COUNT(events); i++) {
        kit_note(kit, "%s", events[i]);
        kit_assert_event(server, with_instant(kit, events[i], kit_instant(kit, -1000)),
                         kit_format(kit, "e%zu", i), KIT_ACCEPTED);
    }
    kit_assert_metrics(server, 300, .unknown = KIT_COUNT(events), .plans = "", .regions = "",
                       .types = "click=4");
}

/* ---- several at once ---- */

/* Bad ones between good ones: by what is wrong with each. */
static const struct kit_result mixed_results[] = {
    {"e1", NULL, KIT_ACCEPTED},
    {NULL, NULL, "Event must be an object"},
    {"e2", NULL, "Event e2 is missing required fields"},
    {"e1", NULL, "Event e1 already seen"},
    {NULL, NULL, "Event is missing required fields"},
    {"e3", NULL, "Event e3 has an invalid timestamp"},
    {"e4", NULL, "Event e4 timestamp is more than 2 minutes skewed."},
    {"e5", NULL, "Event e5 timestamp is outside the 2 minute lateness threshold."},
    {NULL, NULL, "Event must be an object"},
    {"e3", NULL, KIT_ACCEPTED},
};

static void check_mixed(struct kit_server *server, const char *type, const char *form, const char *separator)
{
    struct kit *kit = kit_of(server);
    const char *now = kit_instant(kit, -1000);
    const char *const events[] = {
        kit_click(kit, "e1", "u", "click", now),
        "null",
        kit_click(kit, "e2", "u", "", now),
        kit_click(kit, "e1", "v", "view", now),
        "{}",
        kit_click(kit, "e3", "u", "click", "soon"),
        kit_click(kit, "e4", "u", "click", kit_instant(kit, 130000)),
        kit_click(kit, "e5", "u", "click", kit_instant(kit, -130000)),
        "[{\"event_id\":\"e6\"}]",
        kit_click(kit, "e3", "u", "click", now),
    };
    char *all = kit_format(kit, "%s", events[0]);
    for (size_t i = 1; i < KIT_COUNT(events); i++)
        all = kit_format(kit, "%s%s%s", all, separator, events[i]);
    const struct kit_results *results =
        kit_results(kit_post_events(server, type, kit_format(kit, form, all)));
    assert_int_equal(results->count, KIT_COUNT(mixed_results));
    for (size_t i = 0; i < results->count; i++) {
        kit_note(kit, "result %zu", i);
        assert_string_equal(results->results[i].message, mixed_results[i].message);
        assert_int_equal(results->results[i].id == NULL, mixed_results[i].id == NULL);
        if (mixed_results[i].id != NULL)
            assert_string_equal(results->results[i].id, mixed_results[i].id);
    }
    kit_assert_metrics(server, 300, .unknown = 2, .plans = "", .regions = "", .types = "click=2");
}

static void each_event_has_its_result(void **state)
{
    check_mixed(kit_serve(*state), KIT_JSON, "[%s]", ",");
    check_mixed(kit_serve(*state), KIT_JSON, " [\n%s\n]\n", " ,\r\n");
    check_mixed(kit_serve(*state), NULL, "[%s]", ",");
    check_mixed(kit_serve(*state), KIT_NDJSON, "%s\n", "\n");
    check_mixed(kit_serve(*state), KIT_NDJSON "; charset=utf-8", "%s", "\n");
    check_mixed(kit_serve(*state), KIT_NDJSON, "\n \t\r\n%s\r\n\r\n", "\r\n\n  \n");
}

static void no_events_have_no_results(void **state)
{
    static const char *const bodies[] = {"[]", " [ ]\n"};
    struct kit_server *server = kit_serve(*state);
    for (size_t i = 0; i < KIT_COUNT(bodies); i++) {
        const struct kit_response *response = kit_post_events(server, KIT_JSON, bodies[i]);
        kit_assert_status(response, 200);
        kit_assert_body(response, "{\"results\":[]}");
    }
}

static void what_is_no_object_says_so(void **state)
{
    static const char *const values[] = {"5",    "-1.5e3", "\"e1\"", "\"\"", "null",
                                         "true", "false",  "0",      " 7 "};
    static const char *const elements[] = {"[5]", "[null]", "[[]]", "[[{\"event_id\":\"e1\"}]]", "[\"e1\"]"};
    struct kit_server *server = kit_serve(*state);
    for (size_t i = 0; i < KIT_COUNT(values); i++) {
        kit_note(*state, "%s", values[i]);
        kit_assert_event(server, values[i], NULL, "Event must be an object");
        kit_assert_result(kit_post_events(server, KIT_NDJSON, values[i]), NULL, "Event must be an object");
    }
    for (size_t i = 0; i < KIT_COUNT(elements); i++) {
        kit_note(*state, "%s", elements[i]);
        kit_assert_event(server, elements[i], NULL, "Event must be an object");
    }
    /* A line is one event: an array is none. */
    kit_assert_result(kit_post_events(server, KIT_NDJSON, "[{\"event_id\":\"e1\"}]\n"), NULL,
                      "Event must be an object");
}

/* ---- missing fields ---- */

/* Everything but the field, then the field: `name` with `value`, or without it at all (NULL). */
static const char *event_with(struct kit *kit, const char *name, const char *value)
{
    static const char *const names[] = {"event_id", "user_id", "type", "ts"};
    const char *const values[] = {"\"e1\"", "\"u\"", "\"click\"",
                                  kit_format(kit, "\"%s\"", kit_instant(kit, -1000))};
    const char *event = "{\"also\":1";
    for (size_t i = 0; i < KIT_COUNT(names); i++)
        if (strcmp(names[i], name) != 0)
            event = kit_format(kit, "%s,\"%s\":%s", event, names[i], values[i]);
    if (value != NULL)
        event = kit_format(kit, "%s,\"%s\":%s", event, name, value);
    return kit_format(kit, "%s}", event);
}

static void check_missing(struct kit_server *server, const char *value)
{
    static const char *const others[] = {"user_id", "type"};
    struct kit *kit = kit_of(server);
    kit_note(kit, "event_id %.300s", value == NULL ? "(none)" : value);
    kit_assert_event(server, event_with(kit, "event_id", value), NULL, "Event is missing required fields");
    for (size_t i = 0; i < KIT_COUNT(others); i++) {
        kit_note(kit, "%s %.300s", others[i], value == NULL ? "(none)" : value);
        kit_assert_event(server, event_with(kit, others[i], value), "e1",
                         "Event e1 is missing required fields");
    }
}

/* What is no text at all; NULL: no such member. */
static const char *const no_texts[] = {NULL, "null", "\"\"", "5",   "0",     "1.5",
                                       "[]", "{}",   "true", "[1]", "false", "{\"event_id\":\"x\"}"};

static void a_field_that_is_no_text_is_missing(void **state)
{
    struct kit_server *server = kit_serve(*state);
    for (size_t i = 0; i < KIT_COUNT(no_texts); i++)
        check_missing(server, no_texts[i]);
    kit_assert_metrics(server, 300, .plans = "", .regions = "", .types = "");
}

static bool is_nothing(const char *value)
{
    return value == NULL || strcmp(value, "null") == 0 || strcmp(value, "\"\"") == 0;
}

/* A ts that is there and can't be read is an invalid one, whatever it is. */
static void a_ts_that_is_no_text_is_invalid(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    for (size_t i = 0; i < KIT_COUNT(no_texts); i++) {
        kit_note(kit, "ts %s", no_texts[i] == NULL ? "(none)" : no_texts[i]);
        kit_assert_event(server, event_with(kit, "ts", no_texts[i]), "e1",
                         is_nothing(no_texts[i]) ? "Event e1 is missing required fields"
                                                 : "Event e1 has an invalid timestamp");
    }
    kit_assert_metrics(server, 300, .plans = "", .regions = "", .types = "");
}

static void a_field_that_is_unfit_for_an_id_is_missing(void **state)
{
    static const char *const values[] = {"\"a\\u0000b\"", "\"\\u0000\"",   "\"a\\n\"",  "\"\\tb\"",
                                         "\"\\u001f\"",   "\"a\\u007fb\"", "\"a\x7f\"", "\"\\r\""};
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    for (size_t i = 0; i < KIT_COUNT(values); i++) {
        kit_note(kit, "%s", values[i]);
        kit_assert_event(server, event_with(kit, "event_id", values[i]), NULL,
                         "Event is missing required fields");
        kit_assert_event(server, event_with(kit, "user_id", values[i]), "e1",
                         "Event e1 is missing required fields");
        kit_assert_event(server, event_with(kit, "type", values[i]), "e1",
                         "Event e1 is missing required fields");
    }
    const char *longest = kit_format(kit, "\"%s\"", kit_repeat(kit, "x", 256));
    const char *accented = kit_format(kit, "\"%s\"", kit_repeat(kit, "\xc3\xa9", 128));
    const char *escaped = kit_format(kit, "\"%s\"", kit_repeat(kit, "\\u00e9", 128));
    const char *huge = kit_format(kit, "\"%s\"", kit_repeat(kit, "x", 300000));
    const char *const long_values[] = {longest, accented, escaped, huge};
    for (size_t i = 0; i < KIT_COUNT(long_values); i++) {
        kit_note(kit, "%.40s", long_values[i]);
        kit_assert_event(server, event_with(kit, "event_id", long_values[i]), NULL,
                         "Event is missing required fields");
        kit_assert_event(server, event_with(kit, "user_id", long_values[i]), "e1",
                         "Event e1 is missing required fields");
        kit_assert_event(server, event_with(kit, "type", long_values[i]), "e1",
                         "Event e1 is missing required fields");
    }
    kit_assert_metrics(server, 300, .plans = "", .regions = "", .types = "");
}

/* ---- ids ---- */

static void ids_are_echoed_as_json(void **state)
{
    static const struct {
        const char *sent, *meant;
    } rows[] = {
        {"a\\\"b", "a\"b"},
        {"a\\\\b\\\\", "a\\b\\"},
        {"a\\/b", "a/b"},
        {"h\\u00e9llo", "h\xc3\xa9llo"},
        {"h\xc3\xa9llo!", "h\xc3\xa9llo!"},
        {"\\ud83d\\ude00", "\xf0\x9f\x98\x80"},
        {"\xe6\xbc\xa2\xe5\xad\x97 \xf0\x9f\x98\x81", "\xe6\xbc\xa2\xe5\xad\x97 \xf0\x9f\x98\x81"},
        {"\\u2028\xe2\x80\xa9", "\xe2\x80\xa8\xe2\x80\xa9"},
        {" ", " "},
        {"<script>&'%s%n", "<script>&'%s%n"},
        {"null", "null"},
        {"\xef\xbf\xbf\xf4\x8f\xbf\xbf", "\xef\xbf\xbf\xf4\x8f\xbf\xbf"},
    };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        kit_note(kit, "%s", rows[i].sent);
        const char *event = kit_click(kit, rows[i].sent, "u", "click", kit_instant(kit, -1000));
        kit_assert_event(server, event, rows[i].meant, KIT_ACCEPTED);
        /* However it is written, it is that id. */
        const char *raw = kit_format(kit, "Event %s already seen", rows[i].meant);
        kit_assert_event(server, event, rows[i].meant, raw);
    }
    kit_assert_event(server, kit_click(kit, "a\\u0022b", "u", "click", kit_instant(kit, 0)), "a\"b",
                     "Event a\"b already seen");
    kit_assert_event(server, kit_click(kit, "h\\u00E9llo", "u", "click", "x"), "h\xc3\xa9llo",
                     "Event h\xc3\xa9llo already seen");
}

static void ids_of_255_bytes_are_taken(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    const char *longest = kit_repeat(kit, "x", 255);
    const char *accented = kit_format(kit, "%sy", kit_repeat(kit, "\xc3\xa9", 127));
    const char *now = kit_instant(kit, -1000);
    kit_assert_event(server, kit_click(kit, longest, longest, longest, now), longest, KIT_ACCEPTED);
    kit_assert_event(server, kit_click(kit, accented, accented, accented, now), accented, KIT_ACCEPTED);
    /* They differ in the last byte alone. */
    char *almost = kit_format(kit, "%s", longest);
    almost[254] = 'y';
    kit_assert_event(server, kit_click(kit, almost, "u", "click", now), almost, KIT_ACCEPTED);
    kit_assert_event(server, kit_click(kit, longest, "u", "click", now), longest,
                     kit_format(kit, "Event %s already seen", longest));
    kit_assert_metrics(server, 300, .unknown = 3, .plans = "", .regions = "",
                       .types = kit_format(kit, "click=1 %s=1 %s=1", longest, accented));
}

/* ---- once ---- */

static void an_id_counts_once(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    const char *now = kit_instant(kit, -1000);
    const char *event = kit_click(kit, "e1", "u", "click", now);
    const struct kit_results *results =
        kit_results(kit_post_events(server, KIT_JSON, kit_format(kit, "[%s,%s,%s]", event, event, event)));
    assert_int_equal(results->count, 3);
    assert_string_equal(results->results[0].message, KIT_ACCEPTED);
    assert_string_equal(results->results[1].message, "Event e1 already seen");
    assert_string_equal(results->results[2].message, "Event e1 already seen");
    kit_assert_event(server, event, "e1", "Event e1 already seen");
    /* Whatever else it says, and whoever it is of. */
    kit_assert_event(server, kit_click(kit, "e1", "v", "view", kit_instant(kit, 0)), "e1",
                     "Event e1 already seen");
    /* Ids that only look alike are others. */
    static const char *const others[] = {"E1", "e1 ", " e1", "e", "e11", "1"};
    for (size_t i = 0; i < KIT_COUNT(others); i++)
        kit_assert_event(server, kit_click(kit, others[i], "u", "click", now), others[i], KIT_ACCEPTED);
    kit_assert_metrics(server, 300, .unknown = 1 + KIT_COUNT(others), .plans = "", .regions = "",
                       .types = "click=7");
}

static void what_is_wrong_is_judged_in_order(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    const char *late = kit_instant(kit, -130000);
    kit_assert_event(server, kit_click(kit, "e1", "u", "click", kit_instant(kit, -1000)), "e1", KIT_ACCEPTED);
    /* Missing comes before seen, seen before what is wrong with the ts. */
    kit_assert_event(server, kit_click(kit, "e1", "", "click", late), "e1",
                     "Event e1 is missing required fields");
    kit_assert_event(server, event_with(kit, "ts", NULL), "e1", "Event e1 is missing required fields");
    kit_assert_event(server, kit_click(kit, "e1", "u", "click", "soon"), "e1", "Event e1 already seen");
    kit_assert_event(server, kit_click(kit, "e1", "u", "click", late), "e1", "Event e1 already seen");
    kit_assert_event(server, kit_click(kit, "e1", "u", "click", kit_instant(kit, 130000)), "e1",
                     "Event e1 already seen");
    kit_assert_event(server, kit_click(kit, "e2", "", "click", "soon"), "e2",
                     "Event e2 is missing required fields");
    kit_assert_metrics(server, 300, .unknown = 1, .plans = "", .regions = "", .types = "click=1");
}

static void a_refused_id_is_not_remembered(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    for (int round = 0; round < 2; round++) {
        kit_assert_event(server, kit_click(kit, "e1", "u", "", kit_instant(kit, 0)), "e1",
                         "Event e1 is missing required fields");
        kit_assert_event(server, kit_click(kit, "e1", "u", "click", "soon"), "e1",
                         "Event e1 has an invalid timestamp");
        kit_assert_event(server, kit_click(kit, "e1", "u", "click", kit_instant(kit, 130000)), "e1",
                         "Event e1 timestamp is more than 2 minutes skewed.");
        kit_assert_event(server, kit_click(kit, "e1", "u", "click", kit_instant(kit, -130000)), "e1",
                         "Event e1 timestamp is outside the 2 minute lateness threshold.");
    }
    kit_assert_metrics(server, 300, .plans = "", .regions = "", .types = "");
    kit_assert_event(server, kit_click(kit, "e1", "u", "click", kit_instant(kit, -1000)), "e1", KIT_ACCEPTED);
    kit_assert_metrics(server, 300, .unknown = 1, .plans = "", .regions = "", .types = "click=1");
}

/* What is posted over one connection without waiting is taken in that order. */
static void requests_may_be_pipelined(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    struct kit_connection *connection = kit_connect(server);
    const char *event = kit_click(kit, "e1", "u", "click", kit_instant(kit, -1000));
    const char *post = kit_format(kit, "POST /events HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n%s",
                                  strlen(event), event);
    static const char get[] = "GET /metrics?window=300 HTTP/1.1\r\nHost: h\r\n\r\n";
    kit_send_text(connection, kit_format(kit, "%s%s%s%s", get, post, get, post));
    struct kit_metrics metrics;
    assert_null(kit_parse_metrics(kit_receive(connection)->body, &metrics));
    assert_int_equal(metrics.events, 0);
    kit_assert_result(kit_receive(connection), "e1", KIT_ACCEPTED);
    assert_null(kit_parse_metrics(kit_receive(connection)->body, &metrics));
    assert_int_equal(metrics.events, 1);
    kit_assert_result(kit_receive(connection), "e1", "Event e1 already seen");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(a_single_event_is_answered_exactly),
        kit_test(the_order_and_the_space_of_members_do_not_matter),
        kit_test(each_event_has_its_result),
        kit_test(no_events_have_no_results),
        kit_test(what_is_no_object_says_so),
        kit_test(a_field_that_is_no_text_is_missing),
        kit_test(a_ts_that_is_no_text_is_invalid),
        kit_test(a_field_that_is_unfit_for_an_id_is_missing),
        kit_test(ids_are_echoed_as_json),
        kit_test(ids_of_255_bytes_are_taken),
        kit_test(an_id_counts_once),
        kit_test(what_is_wrong_is_judged_in_order),
        kit_test(a_refused_id_is_not_remembered),
        kit_test(requests_may_be_pipelined),
    };
    return kit_run_tests(tests);
}
