/* The system, or --max-threads, gives no more threads: who would wait is refused, all else goes on, and waiting works again as
 * soon as there are some. The log says it once. */
#include <errno.h>
#include <string.h>

#include "kit_events.h"
#include "kit_faults.h"
#include "kit_http.h"
#include "kit_sse.h"

enum { REFUSALS = 50 };

static void assert_refused(const struct kit_response *response)
{
    kit_assert_error(response, 503, "");
    kit_assert_header(response, "Retry-After", "1");
}

static void assert_lines(struct kit_server *server, const char *pattern, size_t count)
{
    size_t found = kit_matching_lines(kit_of(server), kit_log(server), pattern);
    if (found != count)
        kit_fail(kit_of(server), "%zu lines \"%s\" instead of %zu", found, pattern, count);
}

static void the_system_gives_no_more_threads(void **state)
{
    struct faults *faults = kit_faults(*state);
    struct kit_server *server = kit_serve_events(*state, "--threads", "1");
    kit_subscribe(server, "1", "c");
    struct kit_sse *stream = kit_sse_open(server, "1", "c");
    struct kit_connection *early = kit_get_later(server, "k", "early", NULL);
    kit_wait_until_health(server, "queue.waiting", 1);
    struct kit_holdings before = kit_holdings(server);
    atomic_store(&faults->thread_error, EAGAIN);
    for (int i = 0; i < REFUSALS; i++) {
        assert_refused(kit_get(server, "none", "g", NULL));
        kit_assert_get(server, "none", "g", "[]");
    }
    assert_true(atomic_load(&faults->failed_threads) > 0);
    assert_refused(kit_get_path(server, KIT_HISTORY "?channel=c")); /* nobody would serve while it reads */
    assert_lines(server, " warn .*the system gives no more threads.*ulimit -u.*--max-threads", 1);
    assert_lines(server, " (warn|error) ", 1);
    /* What does not wait goes on, deliveries to who waited already too. */
    kit_publish(server, "c", "t", "1");
    kit_sse_expect(stream, "t", "1");
    kit_push(server, "k", "1");
    kit_assert_body(kit_receive(early), "[1]");
    atomic_store(&faults->thread_error, 0);
    struct kit_connection *late = kit_get_later(server, "k", "late", NULL);
    kit_assert_body(kit_receive(late), "[1]");
    kit_assert_history(server, "c", "[1]");
    kit_close(late);
    late = kit_get_later(server, "k", "late", NULL);
    kit_wait_until_health(server, "queue.waiting", 1);
    kit_push(server, "k", "2");
    kit_assert_body(kit_receive(late), "[2]");
    kit_close(late);
    kit_close(early);
    kit_wait_until_health(server, "queue.waiting", 0);
    kit_wait_until_holdings(server, &before);
}

/* Threads that fail now and then: nobody is lost, and the log stays small. */
static void threads_come_and_go(void **state)
{
    struct faults *faults = kit_faults(*state);
    struct kit_server *server = kit_serve(*state, "--threads", "1");
    int refused = 0;
    for (int i = 0; i < REFUSALS; i++) {
        const char *key = kit_format(*state, "k%d", i);
        struct kit_connection *waiting[4];
        for (int j = 0; j < 4; j++) {
            atomic_store(&faults->thread_error, j % 2 == 0 ? EAGAIN : 0);
            waiting[j] = kit_get_later(server, key, kit_format(*state, "g%d", j), NULL);
        }
        kit_push(server, key, "1");
        for (int j = 0; j < 4; j++) {
            const struct kit_response *response = kit_receive(waiting[j]);
            refused += response->status == 503;
            kit_assert_get(server, key, kit_format(*state, "g%d", j), response->status == 503 ? "[1]" : "[]");
            kit_close(waiting[j]);
        }
    }
    atomic_store(&faults->thread_error, 0);
    assert_true(kit_matching_lines(*state, kit_log(server), " (warn|error) ") <= 2);
    kit_wait_until_health(server, "queue.waiting", 0);
}

static void the_log_tells_of_the_limit_once(void **state)
{
    struct kit_server *server = kit_serve(*state, "--threads", "1", "--max-threads", "6");
    int refused = 0;
    for (int i = 0; i < REFUSALS; i++) {
        kit_get_later(server, "k", kit_format(*state, "g%d", i), NULL);
        const struct kit_response *healthy = kit_get_path(server, "/health");
        kit_assert_status(healthy, 200);
        refused += i >= 6;
    }
    kit_push(server, "k", "1");
    assert_true(refused > 0);
    assert_lines(server, " warn requests that would wait are refused: raise --max-threads threads=[0-9]+$",
                 1);
    assert_lines(server, " (warn|error) ", 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_sqlite(the_system_gives_no_more_threads),
        kit_test(threads_come_and_go),
        kit_test(the_log_tells_of_the_limit_once),
    };
    return kit_run_event_tests(tests);
}
