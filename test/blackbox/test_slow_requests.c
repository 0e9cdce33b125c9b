/* Clients that are slow to say what they want, say nothing, or leave in the middle of it: they are cut in time, others are
 * served meanwhile, and everything that they held comes back. */
#include <string.h>

#include "kit_drive.h"
#include "kit_slow.h"

enum {
    CROWD = 300,
    MARGIN_KB = 16 * 1024,
    BACK_MS = 5000,
    CUT_MS = 4000, /* for deadlines of a second */
};

#define HEAD       "GET /healthz HTTP/1.1\r\nHost: h\r\nX-Slow: "
#define BODY       "POST /push?key=k HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n\""
#define CHUNKS     "POST /push?key=k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n\""
#define LARGE_BODY "POST /events HTTP/1.1\r\nHost: h\r\nContent-Length: 16000000\r\n\r\n["
#define WHOLE      "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"

/* As it is when nobody but the one who asks is there. */
static struct kit_usage calm_usage(struct kit_server *server)
{
    kit_assert_served(server);
    kit_wait_until_health(server, "connections.open", 1);
    return kit_usage(server);
}

static void check_trickling(struct kit_server *server, const char *beginning)
{
    kit_note(kit_of(server), "%.30s", beginning);
    struct kit_usage before = calm_usage(server);
    struct kit_crowd *crowd = kit_gather(server, CROWD, 0, beginning);
    kit_assert_served(server);
    kit_trickle_until_408(crowd, CUT_MS);
    kit_wait_until_usage(server, &before, MARGIN_KB, BACK_MS);
    kit_assert_served(server);
}

/* A byte now and then lengthens nothing. */
static void heads_that_trickle_are_cut(void **state)
{
    check_trickling(kit_serve(*state, "--head-timeout", "1"), HEAD);
}

static void bodies_that_trickle_are_cut(void **state)
{
    struct kit_server *server = kit_serve(*state, "--body-timeout", "0.8");
    check_trickling(server, BODY);
    check_trickling(server, CHUNKS);
    check_trickling(server, LARGE_BODY);
    assert_int_equal(kit_health(server, "queue.keys"), 1); /* what others have pushed */
}

static void connections_without_a_request_are_closed(void **state)
{
    struct kit_server *server = kit_serve(*state, "--idle-timeout", "1");
    struct kit_usage before = calm_usage(server);
    struct kit_crowd *silent = kit_gather(server, CROWD, 0, NULL);
    struct kit_crowd *idle = kit_gather(server, CROWD, 0, WHOLE);
    for (size_t i = 0; i < idle->count; i++)
        kit_assert_status(kit_receive(idle->connections[i]), 200);
    kit_assert_served(server);
    kit_expect_ends(silent, CUT_MS);
    kit_expect_ends(idle, CUT_MS);
    kit_wait_until_usage(server, &before, MARGIN_KB, BACK_MS);
}

/* Nobody waits for a deadline here: the ones that are usual are far away. */
static void who_leaves_half_way_leaves_nothing_behind(void **state)
{
    static const char *const beginnings[] = {NULL, HEAD, BODY, CHUNKS, WHOLE HEAD};
    struct kit_server *server = kit_serve(*state);
    struct kit_usage before = calm_usage(server);
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++)
        for (enum kit_leave how = KIT_LEAVE_FIN; how <= KIT_LEAVE_HALF; how++) {
            kit_note(*state, "beginning %zu, way %d", i, (int)how);
            struct kit_crowd *crowd = kit_gather(server, CROWD / 3, 0, beginnings[i]);
            kit_leave(crowd, how);
            kit_wait_until_usage(server, &before, MARGIN_KB, BACK_MS);
            if (how == KIT_LEAVE_HALF)
                kit_leave(crowd, KIT_LEAVE_FIN);
        }
    kit_assert_served(server);
}

/* A head of almost 16 KiB each, in small pieces of memory. A sanitizer's malloc gives nothing back: then only what all of them
 * together take is judged, for a smaller crowd. */
static void a_crowd_gives_its_memory_back(void **state)
{
    enum { LARGE_CROWD = 3000, SPARE = 200, LEFT_KB = 5 * 1024, SANITIZED_KB = 12 * 1024 };
    struct kit *kit = *state;
    bool sanitized = kit_time_scale() > 1;
    size_t count = (size_t)(LARGE_CROWD / kit_time_scale());
    kit_raise_file_limit(kit, count + SPARE);
    struct kit_server *server = kit_serve(kit, "--send-timeout", "1");
    struct kit_usage before = calm_usage(server);
    const char *head = kit_format(kit, "%sA: %s\r\nB: %s", "GET /healthz HTTP/1.1\r\nHost: h\r\n",
                                  kit_repeat(kit, "x", 8000), kit_repeat(kit, "y", 7000));
    struct kit_crowd *crowd = kit_gather(server, count, 0, head);
    kit_wait_until_health(server, "connections.open", (int64_t)count + 1);
    assert_true(sanitized || kit_usage(server).resident_kb > before.resident_kb + 8 * LEFT_KB);
    kit_leave(crowd, KIT_LEAVE_FIN);
    kit_wait_until_usage(server, &before, sanitized ? SANITIZED_KB : LEFT_KB, BACK_MS);
}

static void timeouts_are_checked(void **state)
{
    static const struct {
        const char *option, *value;
    } wrong[] = {{"--head-timeout", "0"},    {"--body-timeout", "x"},   {"--idle-timeout", "-1"},
                 {"--send-timeout", "0.01"}, {"--peer-timeout", "4.5"}, {"--peer-timeout", "3"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const struct kit_run *run = kit_command(*state, "serve", wrong[i].option, wrong[i].value);
        assert_int_equal(run->exit_status, 2);
        assert_non_null(strstr(run->errors, wrong[i].option));
    }
}

int main(void)
{
    kit_free_at_once();
    const struct CMUnitTest tests[] = {
        kit_test(heads_that_trickle_are_cut),
        kit_test(bodies_that_trickle_are_cut),
        kit_test(connections_without_a_request_are_closed),
        kit_test(who_leaves_half_way_leaves_nothing_behind),
        kit_test(a_crowd_gives_its_memory_back),
        kit_test(timeouts_are_checked),
    };
    return kit_run_tests(tests);
}
