/* No small damage to a body harms the server: every byte of some good ones is left out, doubled and replaced, and each
 * result gets an answer of its right form, never a 500 and never a crash. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "kit_metrics.h"

static const struct {
    const char *method, *target, *type, *body;
} requests[] = {
    {"POST", KIT_EVENTS, KIT_JSON,
     "[{\"event_id\":\"e\\u00e9\\n\",\"user_id\":\"u\",\"type\":\"t\",\"ts\":\"2025-10-08T12:34:56.789+02:"
     "00\"},"
     "{\"event_id\":\"f\",\"x\":[1,{\"a\":-1.5e3}],\"type\":null},5,\"\\ud83d\\ude00\"]"},
    {"POST", KIT_EVENTS, KIT_NDJSON,
     "{\"event_id\":\"\xc3\xa9\",\"user_id\":\"u\",\"type\":\"t\",\"ts\":\"2025-10-08T12:34:56Z\"}\r\n\n"
     "{\"event_id\":\"\xf0\x9f\x98\x80\",\"type\":true}\n[]\n"},
    {"PUT", KIT_USERS, KIT_JSON,
     "{\"ts\":\"2025-10-08T12:00:00.000Z\",\"user_metadata\":{\"u\\\"\":{\"plan\":\"p\",\"region\":null,"
     "\"email\":\"x\"},\"\xc3\xa9\":{\"region\":\"\\u0001\"}},\"more\":[{}]}"},
};

static void check_damaged(struct kit_server *server, struct kit_connection *connection, size_t request,
                          const char *body, size_t length)
{
    struct kit *kit = kit_of(server);
    struct kit_response response;
    if (kit_try_exchange(connection, requests[request].method, requests[request].target,
                         requests[request].type, body, length, &response) != 0)
        kit_fail(kit, "no answer (%s) to %.*s", strerror(errno), (int)length, body);
    static const char *const forms[] = {"^\\{\"results\":\\[.*]}$", "^\\{\"results\":\\[.*]}$",
                                        "^\\{\"message\":\"Reference table updated successfully\"}$"};
    bool right = response.status == 200 ? kit_matches(response.body, forms[request])
                                        : (response.status == 400 || response.status == 409) &&
                                              kit_matches(response.body, "^\\{\"error\":\"..*\"}$");
    if (!right)
        kit_fail(kit, "an answer of %d %.300s\nto %.*s", response.status, response.body, (int)length, body);
    kit_response_clear(&response);
}

static void check_all_damages(struct kit_server *server, size_t request)
{
    static const char replacements[] = {'\0', '\n', ' ', ':', '"',    '\\',  '{',
                                        ']',  ',',  '9', 'x', '\x7f', '\xff'};
    const char *body = requests[request].body;
    size_t length = strlen(body);
    char *damaged = kit_allocate(kit_of(server), length + 2);
    struct kit_connection *connection = kit_connect(server);
    for (size_t i = 0; i < length; i++) {
        memcpy(damaged, body, i);
        memcpy(damaged + i, body + i + 1, length - i - 1);
        check_damaged(server, connection, request, damaged, length - 1); /* left out */
        damaged[i] = body[i];
        memcpy(damaged + i + 1, body + i, length - i);
        check_damaged(server, connection, request, damaged, length + 1); /* doubled */
        memcpy(damaged, body, length + 1);
        for (size_t replacement = 0; replacement < sizeof replacements; replacement++) {
            damaged[i] = replacements[replacement];
            check_damaged(server, connection, request, damaged, length);
        }
        check_damaged(server, connection, request, body, i + 1); /* cut off */
    }
    kit_close(connection);
}

static void damaged_bodies_harm_nothing(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    for (size_t i = 0; i < KIT_COUNT(requests); i++)
        check_all_damages(server, i);
    /* All of them were too late to count. */
    assert_int_equal(kit_metrics(server, 1800)->events, 0);
    kit_put_users(server, "{\"u\":{\"plan\":\"pro\"}}", "9999-12-31T23:59:59Z");
    kit_add_events(server, 1, "u", "click", -1000);
    kit_assert_metrics(server, 300, .unique_users = 1, .plans = "pro=1", .regions = "", .types = "click=1");
}

/* Windows of two and three characters that are whole numbers in range, and nothing else, are taken. */
static void windows_are_numbers_or_refused(void **state)
{
    static const char characters[] = "0123456789+-.eExX ,";
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    struct kit_connection *connection = kit_connect(server);
    for (size_t i = 0; i < strlen(characters) * strlen(characters); i++) {
        struct kit_response response;
        char first = characters[i / strlen(characters)], second = characters[i % strlen(characters)];
        char target[64];
        snprintf(target, sizeof target, KIT_METRICS "?window=%%%02x%%%02x", first, second);
        if (kit_try_exchange(connection, "GET", target, NULL, NULL, 0, &response) != 0)
            kit_fail(kit, "no answer to %s", target);
        int status = response.status;
        kit_response_clear(&response);
        bool is_number = strchr("123456789", first) != NULL && strchr("0123456789", second) != NULL;
        /* Zeros in front are open. */
        if (status != (is_number ? 200 : 400) &&
            !(first == '0' && status == 200 && second >= '1' && second <= '9'))
            kit_fail(kit, "window=%c%c is answered %d", first, second, status);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(damaged_bodies_harm_nothing),
        kit_test(windows_are_numbers_or_refused),
    };
    return kit_run_tests(tests);
}
