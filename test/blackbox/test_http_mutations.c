/*
 * Proves that no small damage to a request harms the server: every byte of some good requests is left out,
 * doubled and replaced, and each result gets an answer of HTTP (or, being incomplete, none), never a 500 and
 * never a crash.
 */
#include <errno.h>
#include <string.h>

#include "kit_http.h"

static const char *const requests[] = {
    "POST /push?key=a%20b HTTP/1.1\r\nHost: h\r\nContent-Type: application/json; charset=\"utf-8\"\r\n"
    "Content-Length: 8\r\n\r\n{\"n\":12}",
    "\r\nPOST /push?key=k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    "5;a=\"b\"\r\n[1,2]\r\n0\r\nX: y\r\n\r\n",
    "POST /push?key=k HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-ndjson\r\nContent-Length: "
    "9\r\n\r\n1\n\"two\"\n\n",
    "GET /blocking-get?key=k&groupId=g&timeout=0.0&limit=2&meta=1 HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET http://h/healthz?a=b HTTP/1.0\r\nHost: h:80\r\nConnection: keep-alive\r\nAuthorization: Bearer "
    "x\r\n\r\n",
    "HEAD /health HTTP/1.1\r\nHost: [::1]:80\r\nOrigin: http://[::1]:80\r\nSec-Fetch-Site: "
    "same-origin\r\n\r\n",
};

/* Sends the bytes and the end, and reads all answers. */
static void check_damaged(struct kit_server *server, const char *bytes, size_t length)
{
    char answers[8192];
    size_t used = 0;
    ssize_t count;
    struct kit_connection *connection = kit_connect(server);
    (void)kit_try_send(connection, bytes, length);
    kit_shutdown_sending(connection);
    while ((count = kit_try_read(connection, answers + used, sizeof answers - 1 - used)) > 0)
        used += (size_t)count;
    answers[used] = '\0';
    if (count < 0 && errno != ECONNRESET)
        kit_fail(kit_of(server), "the connection does not end (%s): %.*s", strerror(errno), (int)length,
                 bytes);
    if (used > 0 &&
        (!kit_matches(answers, "^HTTP/1\\.[01] [1-5][0-9][0-9] ") || strstr(answers, "HTTP/1.1 500") != NULL))
        kit_fail(kit_of(server), "an answer of %.300s\nto %.*s", answers, (int)length, bytes);
    kit_close(connection);
}

static void check_all_damages(struct kit_server *server, const char *request)
{
    static const char replacements[] = {'\0', '\r', '\n', ' ', ':', '"', '%', '9', '\x7f', '\xff'};
    size_t length = strlen(request);
    char *damaged = kit_allocate(kit_of(server), length + 2);
    for (size_t i = 0; i < length; i++) {
        memcpy(damaged, request, i);
        memcpy(damaged + i, request + i + 1, length - i - 1);
        check_damaged(server, damaged, length - 1); /* left out */
        damaged[i] = request[i];
        memcpy(damaged + i + 1, request + i, length - i);
        check_damaged(server, damaged, length + 1); /* doubled */
        memcpy(damaged, request, length);
        for (size_t replacement = 0; replacement < sizeof replacements; replacement++) {
            damaged[i] = replacements[replacement];
            check_damaged(server, damaged, length);
        }
        check_damaged(server, request, i + 1); /* cut off */
    }
}

static void damaged_requests_harm_nothing(void **state)
{
    struct kit_server *server = kit_serve(*state);
    for (size_t i = 0; i < KIT_COUNT(requests); i++)
        check_all_damages(server, requests[i]);
    kit_assert_status(kit_request(server, "GET", "/healthz", NULL, NULL, 0), 200);
    kit_wait_until_health(server, "connections.open", 1);
}

/* Lines of a request in every order, doubled and left out: what is between requests counts too. */
static void lines_in_any_order_harm_nothing(void **state)
{
    static const char *const lines[] = {
        "", "GET /healthz HTTP/1.1", "Host: h", "Content-Length: 2", "Transfer-Encoding: chunked", "2", "12",
        "0"};
    enum { LINES = KIT_COUNT(lines) };
    struct kit_server *server = kit_serve(*state);
    for (int code = 0; code < LINES * LINES * LINES * LINES; code++) {
        char bytes[256] = "";
        for (int rest = code, i = 0; i < 4; i++, rest /= LINES)
            strcat(strcat(bytes, lines[rest % LINES]), "\r\n");
        strcat(bytes, "\r\n");
        check_damaged(server, bytes, strlen(bytes));
    }
    kit_assert_status(kit_request(server, "GET", "/healthz", NULL, NULL, 0), 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(damaged_requests_harm_nothing),
        kit_test(lines_in_any_order_harm_nothing),
    };
    return kit_run_tests(tests);
}
