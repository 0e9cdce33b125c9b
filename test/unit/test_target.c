/* Proves that targets are split as RFC 9112 section 3.2 says, and what a host may be (RFC 3986 section 3.2). */
#include "net/target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* A copy that ends where the text ends, so that the sanitizer sees who reads on. */
static struct text copy_of(const char *terminated)
{
    size_t length = strlen(terminated);
    char *bytes = malloc(length + 1);
    assert_non_null(bytes);
    memcpy(bytes + 1, terminated, length);
    return (struct text){.bytes = bytes + 1, .length = length};
}

static void free_copy(struct text copy)
{
    free((char *)(uintptr_t)(copy.bytes - 1));
}

static bool equals(struct text text, const char *wanted)
{
    return text_equals(text, text_from(wanted));
}

static void targets_are_split(void **state)
{
    (void)state;
    static const struct {
        const char *target, *path, *query, *host;
    } rows[] = {
        {"/", "/", "", "h"},
        {"/a/b", "/a/b", "", "h"},
        {"/a?", "/a", "", "h"},
        {"/a?b=c", "/a", "b=c", "h"},
        {"/a?b?c/d", "/a", "b?c/d", "h"},
        {"/?", "/", "", "h"},
        {"//a", "//a", "", "h"},
        {"/http://x/y", "/http://x/y", "", "h"},
        {"*", "*", "", "h"},
        {"http://example.org/a?b=c", "/a", "b=c", "example.org"},
        {"HTTP://example.org/a", "/a", "", "example.org"},
        {"http://example.org:8080/", "/", "", "example.org:8080"},
        {"http://h:/a", "/a", "", "h:"},
        {"http://[::1]:80/a", "/a", "", "[::1]:80"},
        {"http://example.org/?u=http://other/b", "/", "u=http://other/b", "example.org"},
        {"http://other", "*", "", "other"}, /* RFC 9112 section 3.2.4 */
        {"http://other/", "/", "", "other"},
        {"http://other?a=/b", "/", "a=/b", "other"},
        {"http://other?/admin", "/", "/admin", "other"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct request request = {.method = METHOD_OPTIONS, .headers = {[HEADER_HOST] = TEXT("h")}};
        struct refusal refusal = {0};
        struct text target = copy_of(rows[i].target);
        if (target_split(&request, target, &refusal) != 0)
            fail_msg("%s: %u %s", rows[i].target, refusal.status, refusal.reason);
        if (!equals(request.path, rows[i].path) || !equals(request.query, rows[i].query) ||
            !equals(request.headers[HEADER_HOST], rows[i].host))
            fail_msg("%s: path %.*s, query %.*s, host %.*s", rows[i].target, (int)request.path.length,
                     request.path.bytes, (int)request.query.length, request.query.bytes,
                     (int)request.headers[HEADER_HOST].length, request.headers[HEADER_HOST].bytes);
        free_copy(target);
    }
}

static void other_targets_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *target;
        unsigned status;
    } rows[] = {
        {"a", 400},          {"?a", 400},           {"*", 400},           {"**", 400},
        {"*?", 400},         {"http", 400},         {"http:", 400},       {"http:/", 400},
        {"http:/h/a", 400},  {"http:h", 400},       {"http://", 400},     {"http:///a", 400},
        {"http://?a", 400},  {"http://:80/", 400},  {"http://u@h/", 400}, {"http://h:x/", 400},
        {"http://[/", 400},  {"http://[::1/", 400}, {"h:80", 400},        {"://h/", 421},
        {"https://h/", 421}, {"ftp://h/", 421},     {"xhttp://h/", 421},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct request request = {.method = METHOD_GET};
        struct refusal refusal = {0};
        struct text target = copy_of(rows[i].target);
        int result = target_split(&request, target, &refusal);
        free_copy(target);
        if (result != -1 || refusal.status != rows[i].status || refusal.reason == NULL)
            fail_msg("%s: %d, %u instead of %u", rows[i].target, result, refusal.status, rows[i].status);
    }
}

static void hosts_are_names_or_addresses_with_ports(void **state)
{
    (void)state;
    static const char *const good[] = {
        "",
        "h",
        "h:",
        "h:0",
        "h:65535",
        "h:000080",
        "127.0.0.1",
        "[::]",
        "[::1]:",
        "[::1]:80",
        "[1:2:3:4:5:6:7:8]:1",
        "[::ffff:1.2.3.4]",
        "a.b.",
        "%41%c3",
        "-._~!$&'()*+;=",
    };
    static const char *const bad[] = {
        ":",
        ":80",
        "h:65536",
        "h:x",
        "h:1x",
        "h:-1",
        "h:+1",
        "h: 1",
        "h:1:2",
        "h:99999999999999999999",
        "::1",
        "[",
        "]",
        "[]",
        "[]:1",
        "[::1",
        "::1]",
        "[::1]]",
        "[[::1]]",
        "[::1]1",
        "[::1]:x",
        "[::1]:1:2",
        "[h]",
        "[1.2.3.4]",
        "[::1%eth0]",
        "[::1%25eth0]",
        "[v1.a]",
        "[1:2:3:4:5:6:7:8:9]",
        "[1111:2222:3333:4444:5555:6666:7777:8888:9999:0000]",
        "%",
        "%4",
        "%4g",
        "%g4",
        "h%",
        "a b",
        "a,b",
        "a/b",
        "a?b",
        "a#b",
        "a@b",
        "a\\b",
        "a\"b",
        "a<b",
        "a>b",
        "a[b",
        "a]b",
        "a^b",
        "a`b",
        "a{b",
        "a|b",
        "a}b",
        "\xc3\xa4",
        "\x7f",
        "\x01",
    };
    for (size_t i = 0; i < COUNT(good) + COUNT(bad); i++) {
        const char *text = i < COUNT(good) ? good[i] : bad[i - COUNT(good)];
        struct text copy = copy_of(text);
        if (target_is_host(copy) != (i < COUNT(good)))
            fail_msg("\"%s\"", text);
        free_copy(copy);
    }
    assert_false(target_is_host((struct text){"a\0b", 3}));
    assert_false(target_is_host((struct text){"[::1\0]", 6}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_are_split),
        cmocka_unit_test(other_targets_are_refused),
        cmocka_unit_test(hosts_are_names_or_addresses_with_ports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
