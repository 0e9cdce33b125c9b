/*
 * Proves who is let in: the token and its three sources, and that a web page of a foreign origin reaches
 * nothing unless --cors-origin names it.
 */
#include <stdio.h>
#include <string.h>

#include "kit_http.h"

#define APP        "https://app.example"
#define GET_TARGET "/blocking-get?key=k&groupId=g&timeout=0"

struct access_case {
    const char *headers; /* NULL: none */
    int status;          /* of a push that is right but for them */
};

static void check_pushes(struct kit_server *server, const struct access_case *cases, size_t count)
{
    int64_t taken = 0;
    for (size_t i = 0; i < count; i++) {
        const struct kit_response *response =
            kit_request(server, "POST", "/push?key=k", cases[i].headers, "1", 1);
        if (response->status != cases[i].status)
            kit_fail(kit_of(server), "%s: status %d instead of %d\n%s",
                     cases[i].headers == NULL ? "" : cases[i].headers, response->status, cases[i].status,
                     response->body);
        if (response->status != 200)
            kit_assert_error(response, cases[i].status, ".");
        if (response->status == 401)
            kit_assert_header(response, "WWW-Authenticate", "Bearer");
        taken += response->status == 200;
    }
    assert_int_equal(kit_health(server, "queue.events"), taken);
}

static void token_is_asked_for(void **state)
{
    static const struct access_case cases[] = {
        {"Authorization: Bearer secret-T", 200},
        {"Authorization: secret-T", 200},
        {"Authorization: bearer secret-T", 200},
        {"Authorization: BEARER secret-T", 200},
        {"authorization: Bearer secret-T", 200},
        {NULL, 401},
        {"Authorization: Bearer wrong", 401},
        {"Authorization: wrong", 401},
        {"Authorization: Bearer secret-", 401},
        {"Authorization: Bearer secret-TT", 401},
        {"Authorization: Bearer secret-t", 401},
        {"Authorization: Bearer SECRET-T", 401},
        {"Authorization: Bearer", 401},
        {"Authorization: Bearer ", 401},
        {"Authorization:", 401},
        {"Authorization: Bearersecret-T", 401},
        {"Authorization: Bearer secret-T x", 401},
        {"Authorization: Bearer Bearer secret-T", 401},
        {"Authorization: Basic secret-T", 401},
        {"Authorization: Bearer \"secret-T\"", 401},
        {"X-Authorization: Bearer secret-T", 401},
        {"Cookie: token=secret-T", 401},
        {"Proxy-Authorization: Bearer secret-T", 401},
    };
    struct kit *kit = *state;
    struct access_case lines[KIT_COUNT(cases)];
    for (size_t i = 0; i < KIT_COUNT(cases); i++) {
        lines[i] = cases[i];
        if (cases[i].headers != NULL)
            lines[i].headers = kit_format(kit, "%s\r\n", cases[i].headers);
    }
    check_pushes(kit_serve(kit, "--token", "secret-T"), lines, KIT_COUNT(lines));
}

static void everything_but_health_needs_the_token(void **state)
{
    static const struct {
        const char *method, *target, *statuses;
    } rows[] = {
        {"GET", "/health", "200"},
        {"HEAD", "/health", "200"},
        {"GET", "/healthz", "200"},
        {"HEAD", "/healthz", "200"},
        {"GET", "/healthz?a=b", "200"},
        {"GET", GET_TARGET, "401"},
        {"POST", "/push", "401"},
        {"GET", "/push?key=k", "401"},
        {"POST", "/push?key=k&access_token=secret-T", "401"}, /* for streams alone */
        {"GET", GET_TARGET "&access_token=secret-T", "401"},
        {"GET", "/no-such-path", "401"},
        {"GET", "/health/", "401"},
        {"GET", "/healthz/../push", "401"},
        {"GET", "/healthzz", "401"},
        {"OPTIONS", "/push?key=k", "401|405"},
        {"FOO", "/push?key=k", "401|501"},
        {"GET", "http://h/push", "401"},
    };
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit, "--token", "secret-T");
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        const struct kit_response *response =
            kit_request(server, rows[i].method, rows[i].target, NULL, NULL, 0);
        if (!kit_matches(kit_format(kit, "%d", response->status),
                         kit_format(kit, "^(%s)$", rows[i].statuses)))
            kit_fail(kit, "%s %s: status %d instead of %s", rows[i].method, rows[i].target, response->status,
                     rows[i].statuses);
    }
    const struct kit_response *response =
        kit_request(server, "GET", "/no-such-path", "Authorization: Bearer secret-T\r\n", NULL, 0);
    kit_assert_error(response, 404, ".");
}

/* Which of two headers counts is anybody's guess, so neither may let anyone in. */
static void two_authorizations_let_nobody_in(void **state)
{
    struct kit_server *server = kit_serve(*state, "--token", "secret-T");
    static const char *const headers = "Authorization: Bearer wrong\r\nAuthorization: Bearer secret-T\r\n";
    const struct kit_response *response = kit_request(server, "POST", "/push?key=k", headers, "1", 1);
    kit_assert_status_among(response, *state, "400|401");
}

static void consumer_needs_the_token(void **state)
{
    struct kit_server *server = kit_serve(*state, "--token", "secret-T");
    static const char *const header = "Authorization: Bearer secret-T\r\n";
    kit_assert_status(kit_request(server, "POST", "/push?key=k", header, "[1]", 3), 200);
    const struct kit_response *refused = kit_request(server, "GET", GET_TARGET, NULL, NULL, 0);
    kit_assert_error(refused, 401, ".");
    /* The refused one has consumed nothing. */
    kit_assert_body(kit_request(server, "GET", GET_TARGET, header, NULL, 0), "[[1]]");
}

static void check_token(struct kit_server *server, const char *right, const char *wrong)
{
    struct kit *kit = kit_of(server);
    const char *headers = kit_format(kit, "Authorization: Bearer %s\r\n", right);
    kit_assert_status(kit_request(server, "POST", "/push?key=k", headers, "1", 1), 200);
    headers = kit_format(kit, "Authorization: Bearer %s\r\n", wrong);
    kit_assert_status(kit_request(server, "POST", "/push?key=k", headers, "1", 1), 401);
    kit_assert_status(kit_request(server, "POST", "/push?key=k", NULL, "1", 1), 401);
}

static void token_comes_from_the_environment(void **state)
{
    struct kit_start start = {.environment =
                                  (const char *const[]){"EVENT_SYNCER_TOKEN=of-environment", NULL}};
    check_token(kit_start(*state, &start), "of-environment", "of-option");
}

static void token_option_beats_the_environment(void **state)
{
    struct kit_start start = {.arguments = (const char *const[]){"--token", "of-option", NULL},
                              .environment =
                                  (const char *const[]){"EVENT_SYNCER_TOKEN=of-environment", NULL}};
    check_token(kit_start(*state, &start), "of-option", "of-environment");
}

static const char *write_token(struct kit *kit, const char *content)
{
    const char *path = kit_format(kit, "%s/token", kit_make_directory(kit));
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(content, file);
    assert_int_equal(fclose(file), 0);
    return path;
}

static void token_comes_from_a_file(void **state)
{
    static const char *const contents[] = {"of-file", "of-file\n", "of-file\r\n"};
    for (size_t i = 0; i < KIT_COUNT(contents); i++)
        check_token(kit_serve(*state, "--token-file", write_token(*state, contents[i])), "of-file", "of");
}

static void token_file_beats_the_environment(void **state)
{
    const char *path = write_token(*state, "of-file\n");
    struct kit_start start = {.arguments = (const char *const[]){"--token-file", path, NULL},
                              .environment =
                                  (const char *const[]){"EVENT_SYNCER_TOKEN=of-environment", NULL}};
    check_token(kit_start(*state, &start), "of-file", "of-environment");
}

/* Without a token, what a client sends of its own accord does not matter. */
static void no_token_asks_for_none(void **state)
{
    static const struct access_case cases[] = {{NULL, 200}, {"Authorization: Bearer anything\r\n", 200}};
    check_pushes(kit_serve(*state), cases, KIT_COUNT(cases));
}

static void foreign_pages_are_refused(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit);
    int port = kit_port(server);
    const struct access_case cases[] = {
        {NULL, 200},
        {kit_format(kit, "Host: 127.0.0.1:%d\r\nOrigin: http://127.0.0.1:%d\r\n", port, port), 200},
        {kit_format(kit, "Host: localhost:%d\r\nOrigin: http://localhost:%d\r\n", port, port), 200},
        {kit_format(kit,
                    "Host: 127.0.0.1:%d\r\nOrigin: http://127.0.0.1:%d\r\nSec-Fetch-Site: same-origin\r\n",
                    port, port),
         200},
        {"Sec-Fetch-Site: none\r\n", 200},
        {kit_format(kit, "Host: 127.0.0.1:%d\r\nOrigin: https://evil.example\r\n", port), 403},
        {kit_format(kit, "Host: 127.0.0.1:%d\r\nOrigin: http://evil.example:%d\r\n", port, port), 403},
        {kit_format(kit, "Host: 127.0.0.1:%d\r\nOrigin: http://127.0.0.1:%d\r\n", port,
                    port == 1024 ? 1025 : 1024),
         403},
        {kit_format(kit, "Host: 127.0.0.1:%d\r\nOrigin: http://127.0.0.1\r\n", port), 403},
        {kit_format(kit, "Host: 127.0.0.1:%d\r\nOrigin: http://127.0.0.1:%d.evil.example\r\n", port, port),
         403},
        {kit_format(kit, "Host: 127.0.0.1:%d\r\nOrigin: http://127.0.0.1:%d@evil.example\r\n", port, port),
         403},
        {kit_format(kit, "Host: 127.0.0.1:%d\r\nOrigin: http://evil127.0.0.1:%d\r\n", port, port), 403},
        {"Origin: null\r\n", 403},
        {"Origin: file://\r\n", 403},
        {"Sec-Fetch-Site: cross-site\r\n", 403},
        {kit_format(kit,
                    "Host: 127.0.0.1:%d\r\nOrigin: https://evil.example\r\nSec-Fetch-Site: same-origin\r\n",
                    port),
         403},
    };
    check_pushes(server, cases, KIT_COUNT(cases));
}

static void foreign_pages_consume_nothing(void **state)
{
    static const char *const headers[] = {"Origin: https://evil.example\r\n",
                                          "Sec-Fetch-Site: cross-site\r\n"};
    struct kit_server *server = kit_serve(*state);
    kit_push(server, "k", "[1]");
    for (size_t i = 0; i < KIT_COUNT(headers); i++)
        kit_assert_error(kit_request(server, "GET", GET_TARGET, headers[i], NULL, 0), 403, ".");
    kit_assert_get(server, "k", "g", "[[1]]");
}

/* The token does not make a foreign page welcome: a browser would have to have been told it. */
static void foreign_pages_are_refused_with_a_token_too(void **state)
{
    static const struct access_case cases[] = {
        {"Authorization: Bearer secret-T\r\nOrigin: https://evil.example\r\n", 403},
        {"Authorization: Bearer secret-T\r\nSec-Fetch-Site: cross-site\r\n", 403},
        {"Authorization: Bearer secret-T\r\n", 200},
    };
    check_pushes(kit_serve(*state, "--token", "secret-T"), cases, KIT_COUNT(cases));
}

static void preflight_is_off_by_default(void **state)
{
    struct kit_server *server = kit_serve(*state);
    const struct kit_response *response = kit_request(server, "OPTIONS", "/push?key=k", NULL, NULL, 0);
    kit_assert_error(response, 405, ".");
    kit_assert_header(response, "Allow", "");
    static const char *const headers = "Origin: " APP "\r\nAccess-Control-Request-Method: POST\r\n";
    response = kit_request(server, "OPTIONS", "/push?key=k", headers, NULL, 0);
    kit_assert_status_among(response, *state, "403|405");
    kit_assert_header(response, "Access-Control-Allow-Origin", NULL);
}

static void preflight_needs_no_token(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit, "--token", "secret-T", "--cors-origin", APP);
    static const char *const headers = "Origin: " APP "\r\nAccess-Control-Request-Method: POST\r\n"
                                       "Access-Control-Request-Headers: authorization,content-type\r\n"
                                       "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: cors\r\n";
    static const char *const targets[] = {"/push?key=k", GET_TARGET};
    static const char *const methods[] = {"POST", "GET"};
    for (size_t i = 0; i < KIT_COUNT(targets); i++) {
        const struct kit_response *response = kit_request(server, "OPTIONS", targets[i], headers, NULL, 0);
        kit_assert_status_among(response, kit, "200|204");
        kit_assert_header(response, "Access-Control-Allow-Origin", APP);
        kit_assert_header_matches(response, kit, "Access-Control-Allow-Methods", methods[i]);
        kit_assert_header_matches(response, kit, "Access-Control-Allow-Headers", "Authorization");
        kit_assert_header_matches(response, kit, "Access-Control-Allow-Headers", "Content-Type");
        kit_assert_header_matches(response, kit, "Access-Control-Allow-Headers", "Last-Event-ID");
    }
    static const char *const foreign =
        "Origin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n";
    const struct kit_response *refused = kit_request(server, "OPTIONS", "/push?key=k", foreign, NULL, 0);
    kit_assert_error(refused, 403, ".");
}

/* Errors too: a page may read only what carries the header. */
static void answers_to_the_named_origin_say_so(void **state)
{
    struct kit *kit = *state;
    struct kit_server *server = kit_serve(kit, "--token", "secret-T", "--cors-origin", APP);
    static const struct {
        const char *method, *target, *authorization;
        int status;
    } rows[] = {
        {"POST", "/push?key=k", "Authorization: Bearer secret-T\r\n", 200},
        {"GET", GET_TARGET, "Authorization: Bearer secret-T\r\n", 200},
        {"GET", "/health", "", 200},
        {"POST", "/push", "Authorization: Bearer secret-T\r\n", 400},
        {"POST", "/push?key=k", "Authorization: Bearer wrong\r\n", 401},
        {"GET", "/no-such-path", "Authorization: Bearer secret-T\r\n", 404},
        {"GET", "/push?key=k", "Authorization: Bearer secret-T\r\n", 405},
    };
    for (size_t i = 0; i < KIT_COUNT(rows); i++) {
        const char *headers = kit_format(kit, "Origin: " APP "\r\n%s", rows[i].authorization);
        bool is_post = strcmp(rows[i].method, "POST") == 0;
        const struct kit_response *response = kit_request(server, rows[i].method, rows[i].target, headers,
                                                          is_post ? "1" : NULL, is_post ? 1 : 0);
        kit_assert_status(response, rows[i].status);
        kit_assert_header(response, "Access-Control-Allow-Origin", APP);
    }
}

/* What a browser really sends with a request from that page. */
static void named_origin_is_let_in_from_another_site(void **state)
{
    static const struct access_case cases[] = {
        {"Origin: " APP "\r\n", 200},
        {"Origin: " APP "\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: cors\r\n", 200},
        {"Origin: " APP ".evil.example\r\n", 403},
        {"Origin: http://app.example\r\n", 403},
        {"Origin: " APP ":8443\r\n", 403},
        {"Origin: https://app.exampl\r\n", 403},
        {"Origin: null\r\n", 403},
        {"Sec-Fetch-Site: cross-site\r\n", 403},
        {NULL, 200},
    };
    check_pushes(kit_serve(*state, "--cors-origin", APP), cases, KIT_COUNT(cases));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(token_is_asked_for),
        kit_test(everything_but_health_needs_the_token),
        kit_test(two_authorizations_let_nobody_in),
        kit_test(consumer_needs_the_token),
        kit_test(token_comes_from_the_environment),
        kit_test(token_option_beats_the_environment),
        kit_test(token_comes_from_a_file),
        kit_test(token_file_beats_the_environment),
        kit_test(no_token_asks_for_none),
        kit_test(foreign_pages_are_refused),
        kit_test(foreign_pages_consume_nothing),
        kit_test(foreign_pages_are_refused_with_a_token_too),
        kit_test(preflight_is_off_by_default),
        kit_test(preflight_needs_no_token),
        kit_test(answers_to_the_named_origin_say_so),
        kit_test(named_origin_is_let_in_from_another_site),
    };
    return kit_run_tests(tests);
}
