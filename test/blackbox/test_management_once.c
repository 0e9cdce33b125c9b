/* One addEvent makes one call of the upstream at most, whatever becomes of the connections; and what no upstream is. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "kit_http.h"
#include "kit_management.h"

#define BODY "{\"name\":\"n\",\"userId\":\"u\"}"

enum { CLIENTS = 4, EVENTS = 100 };

struct client {
    struct kit_server *server;
    pthread_t thread;
    int number, answered;
    bool taken[EVENTS];
};

static atomic_int clients_at_work;

/* A 503 says that nothing was called: only then may an event be sent once more. */
static void *add_all(void *argument)
{
    struct client *client = argument;
    struct kit_connection *connection = kit_try_connect(client->server);
    int64_t deadline_at_ms = kit_deadline_at_ms(6 * KIT_DEADLINE_MS);
    while (connection != NULL && client->answered < EVENTS && kit_now_ms() < deadline_at_ms) {
        char body[128], id[64];
        snprintf(body, sizeof body, "{\"name\":\"#%d/%d#\",\"userId\":1}", client->number, client->answered);
        int status = kit_try_add(connection, body, deadline_at_ms, id);
        if (status == 200 || status == 502)
            client->taken[client->answered++] = status == 200;
        else if (status == 503)
            kit_pause();
        else
            break;
    }
    if (connection != NULL)
        kit_close(connection);
    atomic_fetch_sub(&clients_at_work, 1);
    return NULL;
}

/* The recorded calls: no id and no name twice; every event that was taken is among them. */
static void check_calls(struct kit *kit, struct standin *standin, const struct client *clients)
{
    static int seen[CLIENTS][EVENTS];
    struct standin_request request;
    memset(seen, 0, sizeof seen);
    for (size_t i = 0; standin_request(standin, i, &request) == 0; i++) {
        int client, number;
        const char *mark = strchr(request.body, '#');
        if (mark != NULL && sscanf(mark, "#%d/%d#", &client, &number) == 2)
            seen[client][number]++;
        standin_request_free(&request);
    }
    for (int i = 0; i < CLIENTS; i++)
        for (int j = 0; j < EVENTS; j++)
            if (seen[i][j] > 1 || (clients[i].taken[j] && seen[i][j] != 1))
                kit_fail(kit, "event %d of client %d came %d times upstream, taken: %d", j, i, seen[i][j],
                         clients[i].taken[j]);
}

/* Kept connections are closed while requests are on their way over them: whether one has arrived is unknown
 * then, and it must not be sent again. */
static void closed_connections_make_no_second_call(void **state)
{
    static struct client clients[CLIENTS];
    struct standin *standin = kit_standin(*state);
    struct kit_server *server = kit_serve_upstream(*state, standin);
    atomic_store(&clients_at_work, CLIENTS);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.server = server, .number = i};
        assert_int_equal(pthread_create(&clients[i].thread, NULL, add_all, &clients[i]), 0);
    }
    while (atomic_load(&clients_at_work) > 0) {
        standin_close_idle(standin);
        kit_pause();
    }
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(clients[i].thread, NULL);
    for (int i = 0; i < CLIENTS; i++)
        assert_int_equal(clients[i].answered, EVENTS);
    check_calls(*state, standin, clients);
    size_t taken = 0;
    for (int i = 0; i < CLIENTS; i++)
        for (int j = 0; j < EVENTS; j++)
            taken += clients[i].taken[j];
    assert_int_equal(kit_entries(server, KIT_GET_EVENTS)->count, taken);
    assert_true(taken > (size_t)CLIENTS * EVENTS / 2);
}

/* The upstream takes a request over a kept connection, and then closes it without a word. */
static void dropped_requests_are_not_sent_again(void **state)
{
    struct standin *standin = kit_standin(*state);
    struct kit_server *server = kit_serve_upstream(*state, standin);
    for (uint64_t i = 0; i < 10; i++) {
        static const enum standin_kind kinds[] = {STANDIN_DROP, STANDIN_DROP_HALF, STANDIN_GARBAGE};
        kit_set_answer(standin, KIT_ADD_EVENT, 200, "{}");
        kit_add(server, "n", "1", NULL);
        kit_set_kind(standin, KIT_ADD_EVENT, kinds[i % KIT_COUNT(kinds)]);
        kit_assert_unavailable(kit_post_json(server, KIT_ADD_EVENT, BODY), 502);
        assert_int_equal(standin_count(standin, KIT_ADD_EVENT), 2 * i + 2);
    }
}

/* ---- the option ---- */

static void wrong_urls_are_refused(void **state)
{
    static const char *const urls[] = {"",
                                       "upstream",
                                       "ftp://127.0.0.1:1",
                                       "127.0.0.1:8080",
                                       "http://",
                                       "http:///path",
                                       "https://",
                                       "http://:80",
                                       "http:/host",
                                       "HTTP//host",
                                       "http://host:port",
                                       "http://host:0x50",
                                       "http://a b",
                                       "http://host:99999",
                                       "file:///etc/passwd",
                                       "http://[::1",
                                       "http://host\n",
                                       "http://host/path?query",
                                       "http://host/#part"};
    for (size_t i = 0; i < KIT_COUNT(urls); i++) {
        kit_note(*state, "--upstream \"%s\"", urls[i]);
        const struct kit_run *run =
            kit_command(*state, "serve", "--listen", "127.0.0.1:0", "--upstream", urls[i]);
        assert_int_equal(run->exit_status, 2);
        if (kit_line_count(run->errors) != 1 || !kit_matches(run->errors, "--upstream"))
            kit_fail(*state, "not one line that names --upstream: %s", run->errors);
        assert_string_equal(run->output, "");
    }
}

/* Whether an address may hold a password or not, it is not given away. */
static void a_password_in_the_url_is_not_shown(void **state)
{
    struct kit *kit = *state;
    struct standin *standin = kit_standin(kit);
    const char *url = kit_format(kit, "http://user:pass-word-1@127.0.0.1:%u", standin_port(standin));
    kit_set_answer(standin, KIT_ADD_EVENT, 500, "{}");
    kit_set_answer(standin, KIT_GET_USERS, 500, "{}");
    struct kit_server *server =
        kit_serve_events(kit, "--upstream", url, "--log-level", "debug", "--access-log");
    kit_wait_at_least(server, "upstream.failed_refreshes", 1);
    for (int i = 0; i < 3; i++)
        assert_null(strstr(kit_post_json(server, KIT_ADD_EVENT, BODY)->body, "pass-word-1"));
    assert_null(strstr(kit_get_path(server, "/health")->body, "pass-word-1"));
    assert_null(strstr(kit_log(server), "pass-word-1"));
    const struct kit_run *run = kit_command(kit, "serve", "--listen", "127.0.0.1:0", "--upstream",
                                            "http://user:pass-word-1@host:port");
    assert_int_equal(run->exit_status, 2);
    assert_null(strstr(run->errors, "pass-word-1"));
}

static void wrong_numbers_are_refused(void **state)
{
    static const char *const options[] = {"--upstream-timeout", "--upstream-refresh", "--upstream-calls"};
    static const char *const values[] = {"", "x", "-1", "0", "1s", "nan"};
    for (size_t i = 0; i < KIT_COUNT(options) * KIT_COUNT(values); i++) {
        const char *option = options[i % KIT_COUNT(options)], *value = values[i / KIT_COUNT(options)];
        kit_note(*state, "%s \"%s\"", option, value);
        const struct kit_run *run = kit_command(*state, "serve", "--listen", "127.0.0.1:0", "--upstream",
                                                "http://127.0.0.1:1", option, value);
        assert_int_equal(run->exit_status, 2);
        if (kit_line_count(run->errors) != 1 || !kit_matches(run->errors, option))
            kit_fail(*state, "not one line that names %s: %s", option, run->errors);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test_upstream(closed_connections_make_no_second_call),
        kit_test_upstream(dropped_requests_are_not_sent_again),
        kit_test_upstream(a_password_in_the_url_is_not_shown),
        kit_test_upstream(wrong_urls_are_refused),
        kit_test_upstream(wrong_numbers_are_refused),
    };
    return kit_run_event_tests(tests);
}
