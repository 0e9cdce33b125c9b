/* Subscribing, unsubscribing and the list: their answers byte for byte, who a user is, and what is refused. */
#include <string.h>

#include "kit_events.h"
#include "kit_http.h"
#include "kit_sse.h"

static void answers_are_exact(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    const struct kit_response *response =
        kit_post_json(server, KIT_SUBSCRIBE, "{\"userId\":1,\"channel\":\"c\"}");
    kit_assert_status(response, 201);
    kit_assert_body(response, "{\"status\":\"subscribed\",\"userId\":1,\"channel\":\"c\"}");
    kit_assert_header(response, "Content-Type", "application/json");
    response = kit_get_path(server, KIT_LIST "?userId=1");
    kit_assert_status(response, 200);
    kit_assert_body(response, "{\"channels\":[\"c\"]}");
    kit_assert_header(response, "Content-Type", "application/json");
    response = kit_post_json(server, KIT_UNSUBSCRIBE, "{\"userId\":1,\"channel\":\"c\"}");
    kit_assert_status(response, 200);
    kit_assert_body(response, "{\"status\":\"unsubscribed\",\"userId\":1,\"channel\":\"c\"}");
    kit_assert_header(response, "Content-Type", "application/json");
    kit_assert_body(kit_get_path(server, KIT_LIST "?userId=1"), "{\"channels\":[]}");
}

static void users_are_answered_as_they_were_sent(void **state)
{
    static const struct {
        const char *in_json, *in_query;
    } rows[] = {
        {"1", "1"},
        {"\"1\"", "1"},
        {"0", "0"},
        {"-5", "-5"},
        {"9007199254740993", "9007199254740993"}, /* a double can't hold it */
        {"9223372036854775807", "9223372036854775807"},
        {"\"01\"", "01"},
        {"\"1.5\"", "1.5"}, /* a string may be anything */
        {"\"true\"", "true"},
        {"\"anna\"", "anna"},
        {"\"Anna\"", "Anna"},
        {"\" \"", "%20"},
        {"\"a b+c\"", "a+b%2Bc"},
        {"\"h\xc3\xa9llo \xf0\x9f\x98\x80\"", "h%c3%a9llo%20%F0%9f%98%80"},
        {"\"a\\\"b\\\\c\"", "a%22b%5cc"},
        {"\"a,b&c=d%\"", "a,b%26c%3Dd%25"},
        {"\"'; delete from subscriptions; --\"", "';%20delete%20from%20subscriptions;%20--"},
    };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        kit_note(kit, "user %s", rows[i].in_json);
        kit_subscribe(server, rows[i].in_json, kit_format(kit, "c%zu", i));
    }
    /* Behind all of them: a user that meant another one would have its channel, too. */
    for (size_t i = 2; i < KIT_COUNT(rows); i++) {
        kit_note(kit, "user %s", rows[i].in_json);
        kit_assert_channels(server, rows[i].in_query, kit_format(kit, "c%zu", i));
    }
    kit_assert_channels(server, "1", "c0", "c1");
    for (size_t i = 2; i < KIT_COUNT(rows); i++) {
        kit_note(kit, "user %s", rows[i].in_json);
        kit_unsubscribe(server, rows[i].in_json, kit_format(kit, "c%zu", i));
        kit_assert_body(kit_get_path(server, kit_format(kit, KIT_LIST "?userId=%s", rows[i].in_query)),
                        "{\"channels\":[]}");
    }
}

static void number_and_string_are_one_user(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_subscribe(server, "1", "a");
    kit_subscribe(server, "\"1\"", "a");
    kit_subscribe(server, "\"1\"", "b");
    kit_assert_channels(server, "1", "a", "b");
    kit_unsubscribe(server, "\"1\"", "a");
    kit_assert_channels(server, "1", "b");
    kit_unsubscribe(server, "1", "b");
    kit_assert_body(kit_get_path(server, KIT_LIST "?userId=1"), "{\"channels\":[]}");
}

static void once_more_changes_nothing(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    for (int i = 0; i < 3; i++)
        kit_subscribe(server, "1", "c");
    kit_assert_channels(server, "1", "c");
    for (int i = 0; i < 3; i++)
        kit_unsubscribe(server, "1", "c");
    kit_assert_body(kit_get_path(server, KIT_LIST "?userId=1"), "{\"channels\":[]}");
    kit_unsubscribe(server, "\"nobody\"", "never heard of");
    kit_subscribe(server, "1", "c");
    kit_assert_channels(server, "1", "c");
}

static void users_and_channels_are_apart(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_subscribe(server, "1", "a");
    kit_subscribe(server, "1", "A");
    kit_subscribe(server, "1", "a b");
    kit_subscribe(server, "2", "a");
    kit_subscribe(server, "12", "b");
    kit_unsubscribe(server, "2", "b");
    kit_unsubscribe(server, "1", "b");
    kit_assert_channels(server, "1", "a", "A", "a b");
    kit_assert_channels(server, "2", "a");
    kit_assert_channels(server, "12", "b");
    kit_unsubscribe(server, "1", "a");
    kit_assert_channels(server, "1", "A", "a b");
    kit_assert_channels(server, "2", "a");
}

static void channels_are_listed_as_text(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_subscribe(server, "1", "h\xc3\xa9llo \xf0\x9f\x98\x80");
    kit_subscribe(server, "1", "a\\\"b\\\\c");
    kit_subscribe(server, "1", "' or 1=1; --");
    kit_assert_channels(server, "1", "h\xc3\xa9llo \xf0\x9f\x98\x80", "a\\\"b\\\\c", "' or 1=1; --");
}

static void an_unknown_user_has_no_channels(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    const struct kit_response *response = kit_get_path(server, KIT_LIST "?userId=nobody");
    kit_assert_status(response, 200);
    kit_assert_body(response, "{\"channels\":[]}");
}

static void many_channels_are_listed(void **state)
{
    enum { CHANNELS = 300 };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    const char *channels[CHANNELS + 1] = {0};
    for (int i = 0; i < CHANNELS; i++) {
        channels[i] = kit_format(kit, "channel %d", i);
        kit_subscribe(server, "1", channels[i]);
    }
    kit_assert_channels_at(server, "1", channels, __FILE__, __LINE__);
}

static void subscriptions_survive_a_restart(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_subscribe(server, "1", "a");
    kit_subscribe(server, "1", "b");
    kit_subscribe(server, "\"anna\"", "c");
    kit_unsubscribe(server, "1", "b");
    kit_stop(server);
    server = kit_serve_events(*state);
    kit_assert_channels(server, "1", "a");
    kit_assert_channels(server, "anna", "c");
    struct kit_sse *stream = kit_sse_open(server, "1", "a,b");
    kit_publish(server, "b", "t", "1");
    kit_sse_expect_silence(stream, "a");
}

/* What is wrong in the bodies of both; none of it may change the subscriptions. */
static void check_refused(struct kit *kit, const char *const *bodies, size_t count, const char *error)
{
    static const char *const paths[] = {KIT_SUBSCRIBE, KIT_UNSUBSCRIBE};
    struct kit_server *server = kit_serve_events(kit);
    kit_subscribe(server, "1", "c");
    for (size_t i = 0; i < count; i++)
        for (size_t path = 0; path < KIT_COUNT(paths); path++) {
            kit_note(kit, "%s %s", paths[path], bodies[i]);
            kit_assert_error(kit_post_json(server, paths[path], bodies[i]), 400, error);
        }
    kit_assert_channels(server, "1", "c");
    kit_assert_body(kit_get_path(server, KIT_LIST "?userId=0"), "{\"channels\":[]}");
}

static void bad_users_are_refused(void **state)
{
    struct kit *kit = *state;
    const char *const bodies[] = {
        "{\"channel\":\"c\"}",
        "{\"userId\":null,\"channel\":\"c\"}",
        "{\"userId\":\"\",\"channel\":\"c\"}",
        "{\"userId\":1.5,\"channel\":\"c\"}",
        "{\"userId\":-0.5,\"channel\":\"c\"}",
        "{\"userId\":1e400,\"channel\":\"c\"}",
        "{\"userId\":true,\"channel\":\"c\"}",
        "{\"userId\":false,\"channel\":\"c\"}",
        "{\"userId\":{},\"channel\":\"c\"}",
        "{\"userId\":[],\"channel\":\"c\"}",
        "{\"userId\":[1],\"channel\":\"c\"}",
        "{\"userId\":\"a\\u0000\",\"channel\":\"c\"}",
        "{\"userId\":\"a\\nb\",\"channel\":\"c\"}",
        "{\"userId\":\"\\u007f\",\"channel\":\"c\"}",
        "{\"userid\":1,\"channel\":\"c\"}",
        kit_format(kit, "{\"userId\":\"%s\",\"channel\":\"c\"}", kit_repeat(kit, "u", 256)),
        kit_format(kit, "{\"userId\":%s,\"channel\":\"c\"}", kit_repeat(kit, "1", 256)),
    };
    check_refused(kit, bodies, KIT_COUNT(bodies), "userId|Missing required fields");
}

static void bad_channels_are_refused(void **state)
{
    struct kit *kit = *state;
    const char *const bodies[] = {
        "{\"userId\":1}",
        "{\"userId\":1,\"channel\":null}",
        "{\"userId\":1,\"channel\":\"\"}",
        "{\"userId\":1,\"channel\":7}",
        "{\"userId\":1,\"channel\":false}",
        "{\"userId\":1,\"channel\":{}}",
        "{\"userId\":1,\"channel\":[\"c\"]}",
        "{\"userId\":1,\"channel\":\"a,c\"}",
        "{\"userId\":1,\"channel\":\"c\\u0000\"}",
        "{\"userId\":1,\"channel\":\"c\\n\"}",
        "{\"userId\":1,\"channel\":\"\\u007f\"}",
        "{\"userId\":1,\"channels\":[\"c\"]}",
        kit_format(kit, "{\"userId\":1,\"channel\":\"%s\"}", kit_repeat(kit, "c", 256)),
        kit_format(kit, "{\"userId\":1,\"channel\":\"%s\"}", kit_repeat(kit, "\xc3\xa9", 128)),
    };
    check_refused(kit, bodies, KIT_COUNT(bodies), "channel|Missing required fields");
}

static void bad_bodies_are_refused(void **state)
{
    static const char *const no_objects[] = {"",   " ",    "1",    "\"c\"",
                                             "[]", "null", "true", "[{\"userId\":1,\"channel\":\"c\"}]"};
    static const char *const no_json[] = {
        "{\"userId\":1,\"channel\":\"c\"",     "{\"userId\":01,\"channel\":\"c\"}",
        "{\"userId\":1,\"channel\":\"c\",}",   "{'userId':1}",
        "{\"userId\":1,\"channel\":\"c\"} {}", "{\"userId\":NaN,\"channel\":\"c\"}",
        "{\"userId\":1 \"channel\":\"c\"}",    "{\"userId\":\"\xff\",\"channel\":\"c\"}",
    };
    check_refused(*state, no_objects, KIT_COUNT(no_objects), ".");
    check_refused(*state, no_json, KIT_COUNT(no_json), "[Ll]ine [0-9]+.*[Cc]olumn [0-9]+");
}

static void names_of_255_bytes_are_taken(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    const char *longest = kit_repeat(kit, "x", 255);
    kit_subscribe(server, kit_format(kit, "\"%s\"", longest), longest);
    kit_assert_channels(server, longest, longest);
}

static void bad_users_have_no_list(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve_events(kit);
    const char *const targets[] = {
        KIT_LIST,
        KIT_LIST "?",
        KIT_LIST "?userId",
        KIT_LIST "?userId=",
        KIT_LIST "?userid=1",
        KIT_LIST "?user=1",
        KIT_LIST "?userId=%00",
        KIT_LIST "?userId=a%0ab",
        KIT_LIST "?userId=%7f",
        KIT_LIST "?userId=%ff",
        kit_format(kit, KIT_LIST "?userId=%s", kit_repeat(kit, "u", 256)),
    };
    for (size_t i = 0; i < KIT_COUNT(targets); i++) {
        kit_note(kit, "%s", targets[i]);
        kit_assert_error(kit_get_path(server, targets[i]), 400, "userId");
    }
}

static void the_first_user_counts(void **state)
{
    struct kit_server *server = kit_serve_events(*state);
    kit_subscribe(server, "1", "a");
    kit_subscribe(server, "2", "b");
    kit_assert_channels(server, "1&userId=2", "a");
    kit_assert_channels(server, "%31", "a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_engines(answers_are_exact),
        kit_test_engines(users_are_answered_as_they_were_sent),
        kit_test_engines(number_and_string_are_one_user),
        kit_test_engines(once_more_changes_nothing),
        kit_test_engines(users_and_channels_are_apart),
        kit_test_engines(channels_are_listed_as_text),
        kit_test_engines(an_unknown_user_has_no_channels),
        kit_test_engines(many_channels_are_listed),
        kit_test_engines(subscriptions_survive_a_restart),
        kit_test_engines(bad_users_are_refused),
        kit_test_engines(bad_channels_are_refused),
        kit_test_engines(bad_bodies_are_refused),
        kit_test_engines(names_of_255_bytes_are_taken),
        kit_test_engines(bad_users_have_no_list),
        kit_test_engines(the_first_user_counts),
    };
    return kit_run_event_tests(tests);
}
