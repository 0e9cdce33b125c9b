/* The client of `send`: what counts as sent, and that nothing is sent twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "cli/client.h"

#include "../standin.h"

#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PATIENCE_S = 30, SLOTS = 4 };

static struct client *make_client(const char *url, int64_t timeout_ns)
{
    char reason[CLIENT_REASON_BYTES];
    struct client_options options = {
        .url = url, .path = "/liveEvent", .slots = SLOTS, .timeout_ns = timeout_ns};
    struct client *client = client_create(&options, reason);
    assert_non_null(client);
    return client;
}

static struct client_answer await_answer(struct client *client)
{
    struct client_answer answer;
    int64_t deadline_at = clock_monotonic_ns() + PATIENCE_S * CLOCK_NS_PER_SECOND;
    client_run(client);
    while (!client_next(client, &answer)) {
        assert_true(clock_monotonic_ns() < deadline_at);
        client_wait(client, NULL, 0, CLOCK_NS_PER_SECOND);
        client_run(client);
    }
    return answer;
}

static struct client_answer post(struct client *client, const char *body)
{
    assert_int_equal(client_begin(client, 0, text_from(body)), 0);
    return await_answer(client);
}

static struct standin *start_standin(void)
{
    struct standin *standin = standin_start();
    assert_non_null(standin);
    return standin;
}

static void test_answers(void **state)
{
    (void)state;
    struct standin *standin = start_standin();
    struct client *client = make_client(standin_url(standin), 10 * CLOCK_NS_PER_SECOND);
    assert_false(client_has_connected(client));
    struct client_answer answer = post(client, "{}");
    assert_int_equal(answer.status, 200);
    assert_true(answer.was_sent);
    assert_true(text_equals(answer.body, TEXT("{\"success\":true}")));
    assert_true(client_has_connected(client));
    standin_set(standin, NULL,
                &(struct standin_behaviour){.kind = STANDIN_ANSWER, .status = 503, .body = "no"});
    answer = post(client, "{}");
    assert_int_equal(answer.status, 503);
    assert_int_equal(answer.retry_after_s, 0);
    assert_int_equal(standin_connections(standin), 1);
    /* A connection that was closed meanwhile is not used again, and costs nothing. */
    standin_close_idle(standin);
    answer = post(client, "{}");
    assert_int_equal(answer.status, 503);
    assert_int_equal(standin_count(standin, NULL), 3);
    client_free(client);
    standin_free(standin);
}

static void test_no_connection(void **state)
{
    (void)state;
    struct standin *standin = start_standin();
    struct client *client = make_client(standin_url(standin), 10 * CLOCK_NS_PER_SECOND);
    assert_int_equal(standin_vanish(standin), 0);
    for (int i = 0; i < 3; i++) {
        struct client_answer answer = post(client, "{}");
        assert_int_equal(answer.status, 0);
        assert_false(answer.was_sent);
        assert_string_equal(answer.failure, "no connection (Connection refused)");
        assert_int_equal(client_has_connected(client), i > 0);
        if (i > 0)
            continue;
        /* What was sent before does not count for what comes after. */
        assert_int_equal(standin_return(standin), 0);
        assert_int_equal(post(client, "{}").status, 200);
        assert_int_equal(standin_vanish(standin), 0);
    }
    client_free(client);
    standin_free(standin);
}

/* TLS with a server that knows none: the request does not leave. */
static void test_no_tls(void **state)
{
    (void)state;
    struct standin *standin = start_standin();
    char url[64];
    snprintf(url, sizeof url, "https://127.0.0.1:%u", standin_port(standin));
    struct client *client = make_client(url, 2 * CLOCK_NS_PER_SECOND);
    struct client_answer answer = post(client, "{}");
    assert_int_equal(answer.status, 0);
    assert_false(answer.was_sent);
    assert_false(client_has_connected(client));
    client_free(client);
    standin_free(standin);
}

/* A listener whose queue is full: connections to it are neither made nor refused. */
struct full {
    int listener;
    int clients[8];
    char url[64];
};

static void full_begin(struct full *full)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    full->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(full->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(full->listener, 0), 0);
    assert_int_equal(getsockname(full->listener, (struct sockaddr *)&address, &length), 0);
    snprintf(full->url, sizeof full->url, "http://127.0.0.1:%u", ntohs(address.sin_port));
    for (size_t i = 0; i < sizeof full->clients / sizeof *full->clients; i++) {
        full->clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)!connect(full->clients[i], (struct sockaddr *)&address, sizeof address);
    }
}

static void full_end(struct full *full)
{
    for (size_t i = 0; i < sizeof full->clients / sizeof *full->clients; i++)
        close(full->clients[i]);
    close(full->listener);
}

static void test_no_connection_in_time(void **state)
{
    struct full full;
    (void)state;
    full_begin(&full);
    struct client *client = make_client(full.url, CLOCK_NS_PER_SECOND / 2);
    struct client_answer answer = post(client, "{}");
    assert_false(answer.was_sent);
    assert_string_equal(answer.failure, "no connection in time");
    assert_int_equal(client_begin(client, 1, TEXT("{}")), 0);
    client_run(client);
    assert_false(client_cut(client, 1));
    assert_false(client_has_connected(client));
    client_free(client);
    full_end(&full);
}

/* The connection breaks before the answer: a new one, a used one; read or not. Nothing comes again. */
static void test_lost_answers(void **state)
{
    static const enum standin_kind kinds[] = {STANDIN_DROP, STANDIN_DROP_UNREAD, STANDIN_DROP_HALF,
                                              STANDIN_GARBAGE};
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        for (int used = 0; used <= 1; used++) {
            struct standin *standin = start_standin();
            struct client *client = make_client(standin_url(standin), 10 * CLOCK_NS_PER_SECOND);
            if (used == 1)
                assert_int_equal(post(client, "{\"n\":1}").status, 200);
            standin_set(standin, NULL, &(struct standin_behaviour){.kind = kinds[i]});
            struct client_answer answer = post(client, "{\"n\":2}");
            assert_int_equal(answer.status, 0);
            assert_true(answer.was_sent);
            assert_true(answer.failure[0] != '\0');
            standin_set(standin, NULL, &(struct standin_behaviour){.kind = STANDIN_ANSWER});
            assert_int_equal(post(client, "{\"n\":3}").status, 200);
            size_t read = kinds[i] == STANDIN_DROP_UNREAD ? 0 : 1;
            assert_int_equal(standin_count(standin, NULL), (size_t)used + read + 1);
            client_free(client);
            standin_free(standin);
        }
    }
}

/* A body that is too large for one write, to a server that reads nothing of it. */
static void test_large_body_is_lost(void **state)
{
    enum { LENGTH = 1024 * 1024 };
    (void)state;
    struct standin *standin = start_standin();
    struct client *client = make_client(standin_url(standin), 10 * CLOCK_NS_PER_SECOND);
    char *body = malloc(LENGTH + 1);
    assert_non_null(body);
    memset(body, 'x', LENGTH);
    body[LENGTH] = '\0';
    assert_int_equal(post(client, body).status, 200);
    standin_set(standin, NULL, &(struct standin_behaviour){.kind = STANDIN_DROP_UNREAD});
    struct client_answer answer = post(client, body);
    assert_int_equal(answer.status, 0);
    assert_true(answer.was_sent);
    client_free(client);
    standin_free(standin);
    free(body);
}

static void test_time_out_and_cut(void **state)
{
    (void)state;
    struct standin *standin = start_standin();
    standin_set(standin, NULL, &(struct standin_behaviour){.kind = STANDIN_HANG});
    struct client *client = make_client(standin_url(standin), CLOCK_NS_PER_SECOND);
    assert_int_equal(client_begin(client, 2, TEXT("{}")), 0);
    struct client_answer answer = await_answer(client);
    assert_int_equal(answer.slot, 2);
    assert_true(answer.was_sent);
    assert_string_equal(answer.failure, "no answer in time");
    assert_int_equal(client_begin(client, 3, TEXT("{}")), 0);
    client_run(client);
    while (standin_count(standin, NULL) < 2) {
        client_wait(client, NULL, 0, CLOCK_NS_PER_SECOND / 100);
        client_run(client);
    }
    assert_true(client_cut(client, 3));
    assert_false(client_cut(client, 3));
    assert_false(client_next(client, &answer));
    client_free(client);
    standin_free(standin);
}

/* All slots at once, for a while: every post is answered once, to its slot. */
static void test_many(void **state)
{
    enum { POSTS = 2000 };
    (void)state;
    struct standin *standin = start_standin();
    struct client *client = make_client(standin_url(standin), 10 * CLOCK_NS_PER_SECOND);
    unsigned begun = 0, busy[SLOTS] = {0};
    for (; begun < SLOTS; begun++)
        busy[begun] += client_begin(client, begun, TEXT("{}")) == 0 ? 1 : 0;
    for (unsigned ended = 0; ended < POSTS; ended++) {
        struct client_answer answer = await_answer(client);
        assert_int_equal(answer.status, 200);
        assert_int_equal(busy[answer.slot]--, 1);
        if (begun < POSTS) {
            assert_int_equal(client_begin(client, answer.slot, TEXT("{}")), 0);
            busy[answer.slot]++;
            begun++;
        }
    }
    assert_int_equal(standin_count(standin, NULL), POSTS);
    assert_int_equal(standin_connections(standin), SLOTS);
    client_free(client);
    standin_free(standin);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),          cmocka_unit_test(test_no_connection),
        cmocka_unit_test(test_no_tls),           cmocka_unit_test(test_no_connection_in_time),
        cmocka_unit_test(test_lost_answers),     cmocka_unit_test(test_large_body_is_lost),
        cmocka_unit_test(test_time_out_and_cut), cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
