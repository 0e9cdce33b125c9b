/*
 * Proves that the percent escapes of a query are decoded where they are good and refused where they are not.
 */
#include "kit_http.h"

static void bad_escapes_of_the_query_are_refused(void **state)
{
    static const char *const targets[] = {
        "/push?key=%",   "/push?key=%2",     "/push?key=%zz",   "/push?key=a%2gb", "/push?key=%%20",
        "/push?key=% 1", "/push?key=%00",    "/push?key=a%0ab", "/push?key=a%7f",  "/push?key=%ff",
        "/push?key=%c3", "/push?key=%c0%80", "/push?key=%+1",   "/push?key=%0x",   "/push?key=%-1",
    };
    struct kit_server *server = kit_serve(*state);
    for (size_t i = 0; i < KIT_COUNT(targets); i++) {
        struct kit_exchange exchange = {.name = targets[i], .statuses = "400", .fate = KIT_EITHER};
        exchange.bytes =
            kit_format(*state, "POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1", targets[i]);
        assert_true(kit_play(server, &exchange));
    }
    assert_int_equal(kit_health(server, "queue.events"), 0);
}

static void good_escapes_of_the_query_are_decoded(void **state)
{
    static const struct {
        const char *sent, *same;
    } keys[] = {
        {"%6b%65%79", "key"}, {"a+b", "a%20b"}, {"a%2Bb", "a%2bb"}, {"a%26b", "a%26b"},
        {"%C3%A4", "%c3%a4"}, {"a=b", "a%3Db"}, {"a%25b", "a%25b"}, {"a%3fb", "a?b"},
    };
    struct kit_server *server = kit_serve(*state);
    for (size_t i = 0; i < KIT_COUNT(keys); i++) {
        kit_push(server, keys[i].sent, "1");
        kit_assert_get(server, keys[i].same, "g", "[1]");
    }
    assert_int_equal(kit_health(server, "queue.keys"), KIT_COUNT(keys));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(bad_escapes_of_the_query_are_refused),
        kit_test(good_escapes_of_the_query_are_decoded),
    };
    return kit_run_tests(tests);
}
