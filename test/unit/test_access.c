/*
 * Proves, for every route that there is and every one that there will be, that it is closed: to strangers' web pages, and to
 * everybody without the token where there is one. What is open is named here.
 */
#include "api/api.h"
#include "net/response.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define SECRET       "Secret-1"

static const char *const open_paths[] = {"/health", "/healthz"};
static const char *const stream_paths[] = {"/api/events/stream"};

static bool is_among(const char *path, const char *const *paths, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(path, paths[i]) == 0)
            return true;
    return false;
}

/* What a request is answered with, 0 when it is admitted. `route` NULL: its path is none. */
static unsigned status_of(const struct server *server, const struct route *route, const char *head)
{
    static const char challenge[] = "WWW-Authenticate: Bearer\r\n";
    struct request request;
    struct refusal refusal;
    struct buffer body = BUFFER_EMPTY, headers = BUFFER_EMPTY;
    struct response response = {.body = &body, .headers = &headers};
    assert_int_equal(request_parse_head(&request, text_from(head), &refusal), 0);
    bool admitted = api_admit((void *)(uintptr_t)server, &request, route, &response);
    assert_true(admitted == (response.status == 0));
    if (response.status == 401)
        assert_non_null(memmem(headers.bytes, headers.length, challenge, sizeof challenge - 1));
    buffer_free(&body);
    buffer_free(&headers);
    return response.status;
}

static void check(const struct server *server, const struct route *route, const char *fields,
                  const char *query, unsigned wanted)
{
    static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"};
    for (size_t i = 0; i < COUNT(methods); i++) {
        char head[4096];
        int length = snprintf(head, sizeof head, "%s %s%s HTTP/1.1\r\nHost: 127.0.0.1:3031\r\n%s\r\n",
                              methods[i], route == NULL ? "/no-such-path" : route->path, query, fields);
        assert_true((size_t)length < sizeof head);
        unsigned status = status_of(server, route, head);
        if (status != wanted)
            fail_msg("%s %s%s with \"%s\": %u instead of %u", methods[i],
                     route == NULL ? "(unknown path)" : route->path, query, fields, status, wanted);
    }
}

/* The routes, and NULL for a path that is none. */
static const struct route *route_at(size_t number)
{
    return number < api_route_count ? &api_routes[number] : NULL;
}

static bool is_open(const struct route *route)
{
    return route != NULL && is_among(route->path, open_paths, COUNT(open_paths));
}

static void every_route_asks_for_the_token(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",
                                        "Authorization:\r\n",
                                        "Authorization: Bearer\r\n",
                                        "Authorization: Bearer  \r\n",
                                        "Authorization: Bearer Secret-\r\n",
                                        "Authorization: Bearer Secret-11\r\n",
                                        "Authorization: Bearer secret-1\r\n",
                                        "Authorization: Bearer Secret-1 Secret-1\r\n",
                                        "Authorization: Bearer\tSecret-1\r\n",
                                        "Authorization: BearerSecret-1\r\n",
                                        "Authorization: Basic Secret-1\r\n",
                                        "Authorization: Bearer Secret-1,Bearer x\r\n",
                                        "Authorization: Bearer \xc3\xa9\r\n"};
    static const char *const right[] = {"Authorization: Bearer Secret-1\r\n",
                                        "authorization: bearer Secret-1\r\n",
                                        "Authorization: BEARER     Secret-1   \r\n",
                                        "AUTHORIZATION:Secret-1\r\n", "Authorization: \t Secret-1\t\r\n"};
    const struct server server = {.access = {.token = TEXT(SECRET)}};
    for (size_t i = 0; i <= api_route_count; i++) {
        for (size_t k = 0; k < COUNT(wrong); k++)
            check(&server, route_at(i), wrong[k], "", is_open(route_at(i)) ? 0 : 401);
        for (size_t k = 0; k < COUNT(right); k++)
            check(&server, route_at(i), right[k], "", 0);
    }
}

static void only_streams_take_it_in_the_query(void **state)
{
    (void)state;
    static const char *const queries[] = {"?access_token=Secret-1", "?a=b&access_token=Secret%2D1&c=d",
                                          "?access%5ftoken=Secret-1",
                                          "?access_token=Secret-1&access_token=x"};
    static const char *const wrong[] = {"?access_token=",
                                        "?access_token",
                                        "?access_token=Secret-",
                                        "?access_token=x&access_token=Secret-1",
                                        "?ACCESS_TOKEN=Secret-1",
                                        "?token=Secret-1",
                                        "?access_token=Secret-1&key=%zz",
                                        "?access_token=Secret-1%00"};
    const struct server server = {.access = {.token = TEXT(SECRET)}};
    for (size_t i = 0; i <= api_route_count; i++) {
        const struct route *route = route_at(i);
        bool streams = route != NULL && is_among(route->path, stream_paths, COUNT(stream_paths));
        unsigned status = is_open(route) || streams ? 0 : 401;
        for (size_t k = 0; k < COUNT(queries); k++)
            check(&server, route, "", queries[k], status);
        for (size_t k = 0; k < COUNT(wrong); k++)
            check(&server, route, "", wrong[k], is_open(route) ? 0 : 401);
    }
}

/* An empty Host is no origin, whatever the Origin is. */
static void nobody_is_no_origin(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "POST /push HTTP/1.1\r\nHost:\r\nOrigin: https://\r\n\r\n",
        "POST /push HTTP/1.1\r\nHost:\r\nOrigin: http://\r\n\r\n",
        "POST /push HTTP/1.0\r\nOrigin: https://\r\n\r\n",
        "POST /push HTTP/1.0\r\nOrigin: http://\r\n\r\n",
        "POST /push HTTP/1.0\r\nOrigin: http://127.0.0.1:3031\r\n\r\n",
    };
    const struct server alone = {.access = {.insecure = false}}, insecure = {.access = {.insecure = true}};
    for (size_t i = 0; i < COUNT(heads); i++) {
        assert_int_equal(status_of(&alone, &api_routes[0], heads[i]), 403);
        assert_int_equal(status_of(&insecure, &api_routes[0], heads[i]), 403);
    }
}

static void no_route_is_open_to_foreign_pages(void **state)
{
    (void)state;
    static const char *const foreign[] = {"Origin: https://evil.example\r\n",
                                          "Origin: null\r\n",
                                          "Origin:\r\n",
                                          "Origin: http://127.0.0.1\r\n",
                                          "Origin: http://127.0.0.1:3032\r\n",
                                          "Origin: http://127.0.0.1:3031/\r\n",
                                          "Origin: http://x@127.0.0.1:3031\r\n",
                                          "Origin: ws://127.0.0.1:3031\r\n",
                                          "Origin: http://127.0.0.1:3031 http://evil.example\r\n",
                                          "Sec-Fetch-Site: cross-site\r\n",
                                          "Sec-Fetch-Site: Cross-Site\r\n",
                                          "Sec-Fetch-Site: cross-site\r\nAuthorization: Secret-1\r\n"};
    static const char *const own[] = {"",
                                      "Origin: http://127.0.0.1:3031\r\n",
                                      "Origin: HTTP://127.0.0.1:3031\r\n",
                                      "Origin: https://127.0.0.1:3031\r\n",
                                      "Sec-Fetch-Site: same-origin\r\n",
                                      "Sec-Fetch-Site: none\r\n"};
    const struct server servers[] = {
        {.access = {.insecure = false}}, {.access = {.insecure = true}}, {.access = {.token = TEXT(SECRET)}}};
    for (size_t i = 0; i <= api_route_count; i++) {
        for (size_t k = 0; k < COUNT(foreign); k++)
            for (size_t number = 0; number < COUNT(servers); number++)
                check(&servers[number], route_at(i), foreign[k], "", 403);
        for (size_t k = 0; k < COUNT(own); k++)
            check(&servers[0], route_at(i), own[k], "", 0);
    }
}

/* The page of a stranger, whose name leads to this machine for the moment: Host and Origin agree. */
static void rebound_names_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        unsigned alone, insecure, with_token; /* what is answered */
    } rows[] = {
        {"evil.example:3031", 403, 0, 401},
        {"evil.example", 403, 0, 401},
        {"127.0.0.1.evil.example:3031", 403, 0, 401},
        {"localhost.evil.example:3031", 403, 0, 401},
        {"192.0.2.1:3031", 403, 0, 401},
        {"[2001:db8::1]:3031", 403, 0, 401},
        {"localhost:3031", 0, 0, 401},
        {"LOCALHOST:3031", 0, 0, 401},
        {"127.0.0.1:3031", 0, 0, 401},
        {"127.255.255.254:80", 0, 0, 401},
        {"[::1]:3031", 0, 0, 401},
        {"[::1]", 0, 0, 401},
    };
    const struct server servers[] = {
        {.access = {.insecure = false}}, {.access = {.insecure = true}}, {.access = {.token = TEXT(SECRET)}}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        const unsigned wanted[] = {rows[i].alone, rows[i].insecure, rows[i].with_token};
        for (size_t number = 0; number < COUNT(servers); number++) {
            char head[500];
            /* An absolute target names the host, whatever the field says (RFC 9112 section 3.2.2). */
            snprintf(head, sizeof head,
                     "POST http://%s/push HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://%s\r\n\r\n",
                     rows[i].host, rows[i].host);
            unsigned status = status_of(&servers[number], &api_routes[0], head);
            if (status != wanted[number])
                fail_msg("%s, server %zu: %u instead of %u", rows[i].host, number, status, wanted[number]);
        }
    }
}

/* Those that decide who is let in, or how a body is read: which one of two counts is anybody's guess. */
static void fields_that_decide_may_not_be_repeated(void **state)
{
    (void)state;
    static const char *const names[] = {"Authorization", "Origin", "Sec-Fetch-Site", "Content-Type",
                                        "Content-Encoding"};
    for (size_t i = 0; i < COUNT(names); i++) {
        char head[200];
        struct request request;
        struct refusal refusal;
        snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: h\r\n%s: one\r\nX: y\r\n%s: one\r\n\r\n",
                 names[i], names[i]);
        assert_int_equal(request_parse_head(&request, text_from(head), &refusal), -1);
        assert_int_equal(refusal.status, 400);
        assert_non_null(strstr(refusal.reason, names[i]));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_asks_for_the_token),
        cmocka_unit_test(only_streams_take_it_in_the_query),
        cmocka_unit_test(no_route_is_open_to_foreign_pages),
        cmocka_unit_test(rebound_names_are_refused),
        cmocka_unit_test(nobody_is_no_origin),
        cmocka_unit_test(fields_that_decide_may_not_be_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
