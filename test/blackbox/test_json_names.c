/*
 * Proves that keys, channels and ids are the same everywhere: 1 to 255 bytes of UTF-8 without control characters, whether they
 * are written plainly, with JSON's escapes, or percent-encoded; and that a message about a bad one stays short.
 */
#include <stdio.h>
#include <string.h>

#include "kit_live.h"
#include "kit_management.h"
#include "kit_metrics.h"

enum verdict { FIT, MISSING, UNFIT };

static const struct name {
    const char *json; /* between the quotes */
    enum verdict verdict;
} names[] = {
    {"a", FIT},
    {" ", FIT},
    {"\\u0061\\u00e9\\u20ac\\ud83d\\ude00", FIT},
    {"a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", FIT},
    {"\\\"\\\\\\/", FIT},
    {"\\u00a0\\u2028\\u2029\\u200b\\ufeff", FIT}, /* no control characters (category Cc) */
    {"\\uffff\\ufffe", FIT},
    {"", MISSING},
    {"\\u0000", UNFIT},
    {"a\\u0000", UNFIT},
    {"\\u0000a", UNFIT},
    {"\\n", UNFIT},
    {"a\\tb", UNFIT},
    {"\\b\\f\\r", UNFIT},
    {"\\u001b[31m", UNFIT},
    {"\\u001f", UNFIT},
    {"\x7f", UNFIT},
    {"\\u007f", UNFIT},
    {"\\u0080", UNFIT},
    {"\\u0085", UNFIT},
    {"\xc2\x85", UNFIT},
    {"\\u009f", UNFIT},
    {"\\ud800", UNFIT},
    {"\\udfff", UNFIT},
    {"\\ude00\\ud83d", UNFIT},
    {"\\ud83d", UNFIT},
    {"\\ud83dx", UNFIT},
    {"\\ud83d\\u0041", UNFIT},
    {"\\ud83d\\ud83d\\ude00", UNFIT},
};

/* Where names stand in bodies; @ is the name. Each answer to a good one is `taken`. */
static const struct place {
    const char *method, *target, *body;
    int status;
    const char *taken; /* what the answer to a good one has */
} places[] = {
    {"POST", KIT_PUBLISH, "{\"channel\":@,\"eventType\":\"t\",\"payload\":1}", 202, ""},
    {"POST", KIT_PUBLISH, "{\"channel\":\"c\",\"eventType\":@,\"payload\":1}", 202, ""},
    {"POST", KIT_SUBSCRIBE, "{\"userId\":@,\"channel\":\"c\"}", 201, "subscribed"},
    {"POST", KIT_SUBSCRIBE, "{\"userId\":\"u\",\"channel\":@}", 201, "subscribed"},
    {"POST", KIT_UNSUBSCRIBE, "{\"userId\":@,\"channel\":\"c\"}", 200, "unsubscribed"},
    {"POST", KIT_UNSUBSCRIBE, "{\"userId\":\"u\",\"channel\":@}", 200, "unsubscribed"},
    {"POST", KIT_EVENTS, "{\"event_id\":@,\"user_id\":\"u\",\"type\":\"t\",\"ts\":\"#\"}", 200,
     "accepted\"|already seen\""},
    {"POST", KIT_EVENTS, "{\"event_id\":\"e1\",\"user_id\":@,\"type\":\"t\",\"ts\":\"#\"}", 200,
     "accepted\"|already seen\""},
    {"POST", KIT_EVENTS, "{\"event_id\":\"e2\",\"user_id\":\"u\",\"type\":@,\"ts\":\"#\"}", 200,
     "accepted\"|already seen\""},
    {"POST", KIT_ADD_EVENT, "{\"name\":\"n\",\"userId\":@}", 200, "\"success\":true"},
    {"POST", "/liveEvent", "{\"userId\":@,\"name\":\"add_revenue\",\"value\":1}", 200, "received"},
    {"PUT", KIT_USERS, "{\"user_metadata\":{@:{}},\"ts\":\"2026-01-01T00:00:00Z\"}", 200, "updated"},
};

static const char *filled(struct kit *kit, const char *template, char sign, const char *text)
{
    const char *at = strchr(template, sign);
    return at == NULL ? template : kit_format(kit, "%.*s%s%s", (int)(at - template), template, text, at + 1);
}

static void check_place(struct kit_server *server, const struct place *place, const char *value,
                        enum verdict verdict)
{
    struct kit *kit = kit_of(server);
    const char *body = filled(kit, filled(kit, place->body, '@', value), '#', kit_instant(kit, 0));
    bool results = strcmp(place->target, KIT_EVENTS) == 0;
    kit_note(kit, "%s %s", place->target, body);
    const struct kit_response *response =
        kit_request(server, place->method, place->target, NULL, body, strlen(body));
    if (verdict == FIT) {
        kit_assert_status(response, place->status);
        kit_assert_body_matches(response, place->taken);
    } else if (results) {
        kit_assert_status(response, 200);
        kit_assert_body_matches(response, "is missing required fields\"");
    } else {
        bool is_key = strcmp(place->target, KIT_USERS) == 0;
        kit_assert_error(response, 400,
                         verdict == MISSING && !is_key ? "Missing required fields"
                                                       : "channel|eventType|userId|user_metadata");
        assert_true(response->body_length < 300);
    }
}

static void check_everywhere(struct kit_server *server, const char *value, enum verdict verdict)
{
    for (size_t i = 0; i < KIT_COUNT(places); i++)
        check_place(server, &places[i], value, verdict);
}

static void names_are_judged_alike_in_every_body(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    for (size_t i = 0; i < KIT_COUNT(names); i++)
        check_everywhere(server, kit_format(kit, "\"%s\"", names[i].json), names[i].verdict);
}

static void names_have_at_most_255_bytes(void **state)
{
    static const struct {
        const char *unit;
        size_t bytes;
    } units[] = {{"x", 1},       {"\\u0078", 1},        {"\xc3\xa9", 2},
                 {"\\u20ac", 3}, {"\\ud83d\\ude00", 4}, {"\\\"", 1}};
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    for (size_t i = 0; i < KIT_COUNT(units); i++) {
        size_t count = 255 / units[i].bytes, rest = 255 % units[i].bytes;
        const char *longest =
            kit_format(kit, "%s%s", kit_repeat(kit, units[i].unit, count), kit_repeat(kit, "x", rest));
        check_everywhere(server, kit_format(kit, "\"%s\"", longest), FIT);
        check_everywhere(server, kit_format(kit, "\"%sx\"", longest), UNFIT);
    }
    check_everywhere(server, kit_format(kit, "\"%s\"", kit_repeat(kit, "\xe2\x82\xac", 100000)), UNFIT);
}

/* What is no string at all; a userId may be an integer too. */
static void other_values_are_no_names(void **state)
{
    static const struct {
        const char *json;
        enum verdict alone, as_user;
    } rows[] = {
        {"null", MISSING, MISSING}, {"1", UNFIT, FIT},
        {"-7", UNFIT, FIT},         {"12345678901234567890", UNFIT, FIT},
        {"1.5", UNFIT, UNFIT},      {"1.0", UNFIT, UNFIT},
        {"1e2", UNFIT, UNFIT},      {"true", UNFIT, UNFIT},
        {"[\"a\"]", UNFIT, UNFIT},  {"{}", UNFIT, UNFIT},
        {"[]", UNFIT, UNFIT},       {"false", UNFIT, UNFIT},
    };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    for (size_t i = 0; i < KIT_COUNT(rows); i++)
        for (size_t k = 0; k < KIT_COUNT(places); k++)
            if (strcmp(places[k].target, KIT_USERS) != 0)
                check_place(server, &places[k], rows[i].json,
                            strstr(places[k].body, "\"userId\":@") != NULL ? rows[i].as_user : rows[i].alone);
    for (size_t k = 0; k < KIT_COUNT(places); k++) {
        if (strstr(places[k].body, "\"userId\":@") == NULL)
            continue;
        check_place(server, &places[k], kit_repeat(kit, "7", 255), FIT);
        check_place(server, &places[k], kit_repeat(kit, "7", 256), UNFIT);
    }
}

/* The same names in queries and paths. */
static void names_are_judged_alike_in_every_target(void **state)
{
    static const struct {
        const char *encoded;
        bool fit;
    } rows[] = {
        {"a", true},
        {"%20", true},
        {"%C3%A9", true},
        {"%E2%80%A8", true},
        {"%F0%9F%98%80", true},
        {"%EF%BB%BF", true},
        {"%00", false},
        {"a%00", false},
        {"%0A", false},
        {"%0d%0a", false},
        {"%1B", false},
        {"%7F", false},
        {"%C2%85", false},
        {"%C2%9F", false},
        {"%FF", false},
        {"%C0%80", false},
        {"%ED%A0%80", false},
        {"%E2%82", false},
        {"%F4%90%80%80", false},
    };
    static const char *const targets[] = {
        "/blocking-get?key=@&groupId=g&timeout=0",
        "/blocking-get?key=k&groupId=@&timeout=0",
        KIT_LIST "?userId=@",
        KIT_HISTORY "?channel=@",
        KIT_STREAM "?userId=@&channels=c",
        KIT_STREAM "?userId=1&channels=@",
        "/getEventsByUserId/@",
        "/userEvents/@",
    };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    for (size_t i = 0; i < KIT_COUNT(rows); i++)
        for (size_t k = 0; k < KIT_COUNT(targets); k++) {
            const char *target = filled(kit, targets[k], '@', rows[i].encoded);
            kit_note(kit, "%s", target);
            const struct kit_response *response = kit_get_path(server, target);
            if ((response->status == 400) == rows[i].fit)
                kit_fail(kit, "status %d: %s", response->status, response->body);
        }
}

/* Escapes in names and in what they name are only another way to write them; of two the last counts. */
static void escapes_make_no_other_name(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    static const char *const bodies[] = {
        "{\"userId\":\"u\",\"channel\":\"ab\"}",
        "{\"userId\":\"\\u0075\",\"channel\":\"\\u0061b\"}",
        "{\"user\\u0049d\":\"u\",\"\\u0063hannel\":\"a\\u0062\"}",
        "{\"userId\":\"other\",\"channel\":[],\"channel\":\"ab\",\"us\\u0065rId\":\"u\"}",
    };
    for (size_t i = 0; i < KIT_COUNT(bodies); i++) {
        kit_assert_status(kit_post_json(server, KIT_SUBSCRIBE, bodies[i]), 201);
        kit_assert_channels(server, "u", "ab");
        kit_assert_channels(server, "other", NULL);
    }
    /* Names of members are told apart by case and by every byte. */
    kit_assert_error(kit_post_json(server, KIT_SUBSCRIBE, "{\"userid\":1,\"Channel\":\"c\"}"), 400,
                     "Missing");
    kit_assert_error(kit_post_json(server, KIT_SUBSCRIBE, "{\"userId\\u0000\":1,\"channel\":\"c\"}"), 400,
                     "Missing");
}

/* The fault is told however long the id is, and no half of a character is shown. */
static void messages_about_long_ids_are_whole(void **state)
{
    static const char *const units[] = {"x",       "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
                                        "\\u20ac", "\\\"",     "\\\\"};
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    for (size_t i = 0; i < KIT_COUNT(units); i++)
        for (size_t count = 20; count <= 260; count += 20) {
            const char *id = kit_repeat(kit, units[i], count);
            const char *body = kit_format(
                kit, "{\"user_metadata\":{\"a%s\":{\"plan\":1}},\"ts\":\"2026-01-01T00:00:00Z\"}", id);
            const struct kit_response *response = kit_put(server, body);
            kit_assert_error(response, 400, "has a plan that is not a string|without control characters");
            kit_assert_body_matches(response, "(a string|characters)\"\\}$");
            assert_true(kit_is_json(response->body));
            assert_true(response->body_length < 500);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_sqlite(names_are_judged_alike_in_every_body),
        kit_test_sqlite(names_have_at_most_255_bytes),
        kit_test_sqlite(other_values_are_no_names),
        kit_test_sqlite(names_are_judged_alike_in_every_target),
        kit_test_sqlite(escapes_make_no_other_name),
        kit_test_sqlite(messages_about_long_ids_are_whole),
    };
    return kit_run_event_tests(tests);
}
