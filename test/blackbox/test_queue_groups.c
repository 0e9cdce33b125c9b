/* Consumer groups: each pair of key and group gets every event of the key once, in order, independent of
 * others. */
#include <string.h>

#include "kit.h"

static void push_numbers(struct kit_server *server, const char *key, int first, int last)
{
    for (int i = first; i <= last; i++)
        kit_push(server, key, kit_format(kit_of(server), "%d", i));
}

static void every_group_gets_every_event(void **state)
{
    struct kit_server *server = kit_serve(*state);
    push_numbers(server, "a", 1, 3);
    kit_assert_get(server, "a", "g", "[1,2,3]");
    kit_assert_get(server, "a", "h", "[1,2,3]");
    kit_assert_get(server, "a", "g", "[]");
    push_numbers(server, "a", 4, 5);
    kit_assert_get(server, "a", "h", "[4,5]");
    kit_assert_get(server, "a", "g", "[4,5]");
}

static void a_late_group_starts_at_the_oldest(void **state)
{
    struct kit_server *server = kit_serve(*state);
    push_numbers(server, "a", 1, 2);
    kit_assert_get(server, "a", "early", "[1,2]");
    push_numbers(server, "a", 3, 3);
    kit_assert_get(server, "a", "late", "[1,2,3]");
    kit_assert_get(server, "a", "early", "[3]");
}

static void a_group_that_found_nothing_misses_nothing(void **state)
{
    struct kit_server *server = kit_serve(*state);
    kit_assert_get(server, "a", "g", "[]");
    push_numbers(server, "a", 1, 2);
    kit_assert_get(server, "a", "g", "[1,2]");
}

static void a_group_of_one_key_is_not_that_of_another(void **state)
{
    struct kit_server *server = kit_serve(*state);
    push_numbers(server, "a", 1, 2);
    push_numbers(server, "b", 11, 12);
    kit_assert_get(server, "a", "g", "[1,2]");
    kit_assert_get(server, "b", "g", "[11,12]");
    push_numbers(server, "b", 13, 13);
    kit_assert_get(server, "a", "g", "[]");
    kit_assert_get(server, "b", "g", "[13]");
}

static void limits_move_one_group_alone(void **state)
{
    struct kit_server *server = kit_serve(*state);
    push_numbers(server, "a", 1, 4);
    kit_assert_body(kit_get(server, "a", "g", "limit=1"), "[1]");
    kit_assert_body(kit_get(server, "a", "h", "limit=3"), "[1,2,3]");
    kit_assert_body(kit_get(server, "a", "g", "limit=1"), "[2]");
    push_numbers(server, "a", 5, 5);
    kit_assert_get(server, "a", "h", "[4,5]");
    kit_assert_get(server, "a", "g", "[3,4,5]");
}

/* However a server joins the two names: the pairs differ. */
static void pairs_of_names_are_not_mixed_up(void **state)
{
    static const char *const separators[] = {"%20", ":",   "%2F", ",",   "%7C", "-",
                                             ".",   "%26", "%3D", "%3F", "%23"};
    struct kit_server *server = kit_serve(*state);
    for (size_t i = 0; i < sizeof separators / sizeof *separators; i++) {
        kit_note(*state, "separator %s", separators[i]);
        const char *long_name = kit_format(*state, "x%sy", separators[i]);
        kit_push(server, long_name, "1");
        kit_push(server, "x", "2");
        kit_assert_get(server, long_name, "z", "[1]");
        kit_assert_get(server, "x", kit_format(*state, "y%sz", separators[i]),
                       kit_format(*state, "[%s2]", kit_repeat(*state, "2,", i)));
    }
}

static void groups_wait_independently(void **state)
{
    struct kit_server *server = kit_serve(*state);
    struct kit_connection *first = kit_get_later(server, "a", "g", NULL);
    struct kit_connection *second = kit_get_later(server, "a", "h", "limit=1");
    struct kit_connection *other_key = kit_get_later(server, "b", "g", NULL);
    kit_wait_until_health(server, "queue.waiting", 3);
    push_numbers(server, "a", 1, 1);
    kit_assert_body(kit_receive(first), "[1]");
    kit_assert_body(kit_receive(second), "[1]");
    kit_wait_until_health(server, "queue.waiting", 1);
    kit_expect_silence(other_key);
    kit_push(server, "b", "2");
    kit_assert_body(kit_receive(other_key), "[2]");
}

static void many_groups_and_keys_at_once(void **state)
{
    enum { KEYS = 10, GROUPS = 20 };
    struct kit_server *server = kit_serve(*state);
    for (int key = 0; key < KEYS; key++)
        push_numbers(server, kit_format(*state, "k%d", key), key, key + 2);
    for (int group = 0; group < GROUPS; group++)
        for (int key = 0; key < KEYS; key++)
            kit_assert_get(server, kit_format(*state, "k%d", key), kit_format(*state, "g%d", group),
                           kit_format(*state, "[%d,%d,%d]", key, key + 1, key + 2));
    for (int group = 0; group < GROUPS; group++)
        for (int key = 0; key < KEYS; key++)
            kit_assert_get(server, kit_format(*state, "k%d", key), kit_format(*state, "g%d", group), "[]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(every_group_gets_every_event),
        kit_test(a_late_group_starts_at_the_oldest),
        kit_test(a_group_that_found_nothing_misses_nothing),
        kit_test(a_group_of_one_key_is_not_that_of_another),
        kit_test(limits_move_one_group_alone),
        kit_test(pairs_of_names_are_not_mixed_up),
        kit_test(groups_wait_independently),
        kit_test(many_groups_and_keys_at_once),
    };
    return kit_run_tests(tests);
}
