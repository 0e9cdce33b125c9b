/* Keys and groups as query values: length, UTF-8, control characters, percent-decoding, repetition. */
#include <string.h>

#include "kit.h"

/* In UTF-8 and percent-encoded; every one is 1 to 255 bytes without control characters. */
static const char *const good_names[] = {
    "a",
    "A",
    "0",
    "%20",
    "a+b",
    "a%2Bb",
    "a%2fb",
    "a%26b%3Dc",
    "%25",
    "..",
    "h%c3%a9llo",
    "%e6%bc%a2%E5%AD%97",
    "%f0%9f%98%80",
    "a:b,c,d;e'f(g)~!*",
    "%22%5C%3C%3E",
};

/* The server refuses each as a key and as a group. */
static const char *const bad_names[] = {
    "",       "%00",       "a%00b",  "%01",       "a%09",         "a%0a",         "%0d%0aX-Injected:1",
    "%1f",    "%7f",       "%ff",    "%80",       "%c3",          "%c3%28",       "%c0%80",
    "%c1%bf", "%e0%80%af", "%e6%bc", "%ed%a0%80", "%f0%80%80%80", "%f4%90%80%80", "%f8%88%80%80%80",
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void good_keys_and_groups_work(void **state)
{
    struct kit_server *server = kit_serve(*state);
    for (size_t i = 0; i < COUNT(good_names); i++) {
        kit_note(*state, "name %s", good_names[i]);
        /* All at once: a name that meant another one's key would find its event there. */
        kit_push(server, good_names[i], kit_format(*state, "%zu", i));
    }
    for (size_t i = 0; i < COUNT(good_names); i++) {
        kit_note(*state, "name %s", good_names[i]);
        kit_assert_get(server, good_names[i], good_names[i], kit_format(*state, "[%zu]", i));
        kit_assert_get(server, good_names[i], good_names[i], "[]");
    }
}

static void bad_keys_are_refused(void **state)
{
    struct kit_server *server = kit_serve(*state);
    for (size_t i = 0; i < COUNT(bad_names); i++) {
        kit_note(*state, "key %s", bad_names[i]);
        kit_assert_error(kit_post(server, bad_names[i], NULL, "1", 1), 400, "key");
        kit_assert_error(kit_get(server, bad_names[i], "g", "timeout=0"), 400, "key");
    }
    assert_int_equal(kit_health(server, "queue.events"), 0);
}

static void bad_groups_are_refused(void **state)
{
    struct kit_server *server = kit_serve(*state);
    kit_push(server, "a", "1");
    for (size_t i = 0; i < COUNT(bad_names); i++) {
        kit_note(*state, "group %s", bad_names[i]);
        kit_assert_error(kit_get(server, "a", bad_names[i], "timeout=0"), 400, "groupId");
    }
}

static void missing_names_are_refused(void **state)
{
    struct kit_server *server = kit_serve(*state);
    static const char *const no_key[] = {"/push",       "/push?",       "/push?groupId=g",
                                         "/push?Key=a", "/push?keys=a", "/push?key"};
    static const char *const no_group[] = {"/blocking-get?key=a", "/blocking-get?key=a&groupid=g",
                                           "/blocking-get?key=a&group=g", "/blocking-get?key=a&groupId"};
    static const char *const no_key_to_get[] = {"/blocking-get?groupId=g", "/blocking-get?Key=a&groupId=g",
                                                "/blocking-get"};
    for (size_t i = 0; i < COUNT(no_key); i++) {
        kit_note(*state, "target %s", no_key[i]);
        kit_assert_error(kit_request(server, "POST", no_key[i], NULL, "1", 1), 400, "key");
    }
    for (size_t i = 0; i < COUNT(no_group); i++) {
        kit_note(*state, "target %s", no_group[i]);
        kit_assert_error(kit_request(server, "GET", no_group[i], NULL, NULL, 0), 400, "groupId");
    }
    for (size_t i = 0; i < COUNT(no_key_to_get); i++) {
        kit_note(*state, "target %s", no_key_to_get[i]);
        kit_assert_error(kit_request(server, "GET", no_key_to_get[i], NULL, NULL, 0), 400, "key");
    }
}

static void check_longest(struct kit_server *server, const char *longest, const char *too_long)
{
    kit_push(server, longest, "1");
    kit_assert_get(server, longest, longest, "[1]");
    kit_assert_error(kit_post(server, too_long, NULL, "1", 1), 400, "key");
    kit_assert_error(kit_get(server, too_long, "g", "timeout=0"), 400, "key");
    kit_assert_error(kit_get(server, longest, too_long, "timeout=0"), 400, "groupId");
}

static void names_have_255_bytes_at_most(void **state)
{
    struct kit_server *server = kit_serve(*state);
    check_longest(server, kit_repeat(*state, "k", 255), kit_repeat(*state, "k", 256));
    /* Bytes count, not characters, and not those of the encoding. */
    check_longest(server, kit_format(*state, "%sx", kit_repeat(*state, "%c3%a9", 127)),
                  kit_repeat(*state, "%c3%a9", 128));
    check_longest(server, kit_repeat(*state, "%6b", 255), kit_repeat(*state, "%6b", 256));
    /* 255 bytes share their beginning with these 254, and are another key. */
    kit_assert_get(server, kit_repeat(*state, "k", 254), "g", "[]");
}

static void names_are_percent_decoded(void **state)
{
    static const char *const same[][2] = {
        {"a", "%61"},     {"k%2fl", "k/l"},       {"m%2Fn", "m%2fn"},
        {"b+c", "b%20c"}, {"d%c3%a9", "d%C3%A9"}, {"e~", "e%7E"},
    };
    static const char *const different[][2] = {{"p+q", "p%2Bq"}, {"%2574", "t"}, {"r", "R"}, {"s", "s%20"}};
    struct kit_server *server = kit_serve(*state);
    for (size_t i = 0; i < COUNT(same); i++) {
        kit_note(*state, "%s and %s", same[i][0], same[i][1]);
        kit_push(server, same[i][0], "1");
        kit_assert_get(server, same[i][1], same[i][0], "[1]");
        kit_assert_get(server, same[i][0], same[i][1], "[]");
    }
    for (size_t i = 0; i < COUNT(different); i++) {
        kit_note(*state, "%s and %s", different[i][0], different[i][1]);
        kit_push(server, different[i][0], "1");
        kit_assert_get(server, different[i][1], "g", "[]");
        kit_assert_get(server, different[i][0], different[i][0], "[1]");
        kit_push(server, different[i][0], "2");
        kit_assert_get(server, different[i][0], different[i][1], "[1,2]");
    }
}

static void parameter_names_are_decoded_too(void **state)
{
    struct kit_server *server = kit_serve(*state);
    kit_push(server, "a", "1");
    kit_assert_body(kit_request(server, "GET", "/blocking-get?%6bey=a&group%49d=g&timeout=0", NULL, NULL, 0),
                    "[1]");
}

static void the_first_of_a_repeated_parameter_counts(void **state)
{
    struct kit_server *server = kit_serve(*state);
    kit_assert_status(kit_request(server, "POST", "/push?key=a&key=b", NULL, "1", 1), 200);
    kit_assert_get(server, "b", "g", "[]");
    kit_assert_body(kit_request(server, "GET",
                                "/blocking-get?key=a&groupId=g&key=b&groupId=h&timeout=0&timeout=x", NULL,
                                NULL, 0),
                    "[1]");
    kit_assert_get(server, "a", "g", "[]");
    kit_assert_get(server, "a", "h", "[1]");
    /* The first one counts when it is bad, too. */
    kit_assert_error(kit_request(server, "POST", "/push?key=%00&key=b", NULL, "1", 1), 400, "key");
    kit_assert_error(kit_get(server, "a", "g", "limit=0&limit=1&timeout=0"), 400, "limit");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(good_keys_and_groups_work),       kit_test(bad_keys_are_refused),
        kit_test(bad_groups_are_refused),          kit_test(missing_names_are_refused),
        kit_test(names_have_255_bytes_at_most),    kit_test(names_are_percent_decoded),
        kit_test(parameter_names_are_decoded_too), kit_test(the_first_of_a_repeated_parameter_counts),
    };
    return kit_run_tests(tests);
}
