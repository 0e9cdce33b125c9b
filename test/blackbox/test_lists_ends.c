/* Lists that are too long to be sent at once, and how they end: for clients that have said all they have to say, at a stop of
 * the server, and across a name that is written with escapes. */
#include "kit.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

enum { USERS = 60000, USER_BYTES = 200 };

static void put_table(struct kit_server *server, const char *users)
{
    struct kit *kit = kit_of(server);
    const char *body = kit_format(kit, "{\"user_metadata\":{%s},\"ts\":\"2026-01-02T03:04:05Z\"}", users);
    kit_assert_status(kit_request(server, "PUT", "/reference/users", NULL, body, strlen(body)), 200);
}

/* More than sockets hold. */
static void put_many_users(struct kit_server *server)
{
    struct kit *kit = kit_of(server);
    char *users = kit_allocate(kit, (size_t)USERS * USER_BYTES);
    size_t length = 0;
    for (int i = 0; i < USERS; i++)
        length += (size_t)snprintf(users + length, USER_BYTES, "%s\"u%05d\":{\"userName\":\"%0120d\"}",
                                   i == 0 ? "" : ",", i, i);
    put_table(server, users);
}

static void assert_whole(const struct kit_response *response)
{
    kit_assert_status(response, 200);
    assert_true(response->body_length > (size_t)USERS * 120);
    assert_memory_equal(response->body, "[{\"id\":\"u00000\"", 15);
    assert_memory_equal(response->body + response->body_length - 2, "}]", 2);
}

static void who_closes_its_sending_side_gets_the_list(void **state)
{
    struct kit_server *server = kit_serve(*state);
    put_many_users(server);
    for (int i = 0; i < 5; i++) {
        struct kit_connection *connection = kit_connect(server);
        kit_send_text(connection, "GET /getUsers HTTP/1.1\r\nHost: x\r\n\r\n");
        kit_shutdown_sending(connection);
        assert_whole(kit_receive(connection));
        kit_close(connection);
    }
    struct kit_connection *connection = kit_connect(server);
    kit_send_text(connection, "GET /getUsers HTTP/1.0\r\n\r\n");
    kit_shutdown_sending(connection);
    const char *answer = kit_read_to_end(connection);
    assert_non_null(strstr(answer, "\r\n\r\n[{\"id\":\"u00000\""));
    assert_string_equal(answer + strlen(answer) - 2, "}]");
}

static void a_stop_waits_for_a_list(void **state)
{
    struct kit_server *server = kit_serve(*state);
    put_many_users(server);
    struct kit_connection *connection = kit_connect_small(server, 4096);
    kit_send_text(connection, "GET /getUsers HTTP/1.1\r\nHost: x\r\n\r\n");
    int64_t deadline_at = kit_deadline_at_ms(KIT_DEADLINE_MS);
    while (!kit_has_input(connection)) {
        if (kit_now_ms() > deadline_at)
            kit_fail(*state, "the list has not begun");
        kit_pause();
    }
    kit_signal(server, SIGTERM);
    assert_whole(kit_receive(connection));
    kit_close(connection);
    assert_int_equal(kit_wait_exit(server), 0);
}

static void escapes_hide_no_member(void **state)
{
    struct kit_server *server = kit_serve(*state);
    put_table(server,
              "\"a\":{\"\\u0069d\":\"b\",\"even\\u0074s\":[1],\"user\\u004eame\":\"A\",\"m\\u006fre\":1}");
    kit_assert_body(kit_request(server, "GET", "/getUsers", NULL, NULL, 0),
                    "[{\"id\":\"a\",\"userName\":\"A\",\"email\":null,\"m\\u006fre\":1,\"events\":[]}]");
}

static void paging_goes_on_behind_known_users_alone(void **state)
{
    struct kit_server *server = kit_serve(*state);
    put_table(server, "\"a\":{},\"b\":{}");
    kit_assert_body_matches(kit_request(server, "GET", "/getUsers?afterId=a", NULL, NULL, 0),
                            "\\[\\{\"id\":\"b\".*\\]");
    kit_assert_body(kit_request(server, "GET", "/getUsers?afterId=b", NULL, NULL, 0), "[]");
    kit_assert_error(kit_request(server, "GET", "/getUsers?afterId=c", NULL, NULL, 0), 400, "afterId");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(who_closes_its_sending_side_gets_the_list),
        kit_test(a_stop_waits_for_a_list),
        kit_test(escapes_hide_no_member),
        kit_test(paging_goes_on_behind_known_users_alone),
    };
    return kit_run_tests(tests);
}
