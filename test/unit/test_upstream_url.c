/* What is taken as the upstream's URL, what is refused, and how it is said. */
#include "upstream_kit.h"

static struct upstream *create(const char *url, char reason[static UPSTREAM_REASON_BYTES])
{
    static const struct log silent = {.descriptor = 2, .level = LOG_LEVEL_ERROR};
    struct upstream_options options = upstream_defaults();
    options.url = url;
    options.log = &silent;
    return upstream_create(&options, reason);
}

static void good_urls_are_taken(void **state)
{
    static const struct {
        const char *url;
        const char *base;
    } urls[] = {
        {"http://localhost", "http://localhost"},
        {"http://localhost/", "http://localhost"},
        {"http://127.0.0.1:8080", "http://127.0.0.1:8080"},
        {"HTTP://localhost:80/", "http://localhost:80"},
        {"https://api.example.com/v1", "https://api.example.com/v1"},
        {"https://api.example.com/v1/", "https://api.example.com/v1"},
        {"https://api.example.com/v1//", "https://api.example.com/v1"},
        {"http://[::1]:3000/a%20b", "http://[::1]:3000/a%20b"},
        {"http://user@host", "http://host"},
        {"http://user:password@host:1/x", "http://host:1/x"},
        {"http://user:pass%40word@host:65535", "http://host:65535"},
        {"http://:password@host", "http://host"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        char reason[UPSTREAM_REASON_BYTES] = "";
        struct upstream *upstream = create(urls[i].url, reason);
        assert_string_equal(reason, "");
        assert_non_null(upstream);
        assert_string_equal(upstream_url(upstream), urls[i].base);
        upstream_free(upstream);
    }
}

static void other_urls_are_refused(void **state)
{
    static const struct {
        const char *url;
        const char *shown;
    } urls[] = {
        {"", ""},
        {"localhost", "localhost"},
        {"localhost:8080", "localhost:8080"},
        {"//localhost", "//localhost"},
        {"http:localhost", "http:localhost"},
        {"http:/localhost", "http:/localhost"},
        {"http://", "http://"},
        {"http:///path", "http:///path"},
        {"http://:80", "http://:80"},
        {"http://host:0", "http://host:0"},
        {"http://host:65536", "http://host:65536"},
        {"http://host:http", "http://host:http"},
        {"http://host:-1", "http://host:-1"},
        {"http://ho st", "http://ho st"},
        {"http://host/a b", "http://host/a b"},
        {"http://%31/", "http://%31/"},
        {"http://us%40er@ho%73t:80", "...@ho%73t:80"},
        {"http://host\\@evil", "...@evil"},
        {"http://host\n", "http://host?"},
        {"http://[::1", "http://[::1"},
        {"ftp://host", "ftp://host"},
        {"file:///etc/passwd", "file:///etc/passwd"},
        {"gopher://host", "gopher://host"},
        {"http+unix://host", "http+unix://host"},
        {" http://host", " http://host"},
        {"http://host?x=secret", "http://host?..."},
        {"http://host/path?", "http://host/path?"},
        {"http://host/#secret", "http://host/#..."},
        {"ftp://user:secret@host", "...@host"},
        {"http://user:secret@", "...@"},
        {"http://user:sec@ret@host?x", "...@host?..."},
    };
    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        char reason[UPSTREAM_REASON_BYTES] = "";
        char wanted[UPSTREAM_REASON_BYTES];
        struct upstream *upstream = create(urls[i].url, reason);
        if (upstream != NULL)
            print_error("taken: %s\n", urls[i].url);
        assert_null(upstream);
        snprintf(wanted, sizeof wanted, "--upstream takes http://HOST[:PORT][/PATH], not '%s'",
                 urls[i].shown);
        assert_string_equal(reason, wanted);
    }
}

static void a_very_long_url_is_cut(void **state)
{
    static char url[UPSTREAM_URL_BYTES + 1];
    char reason[UPSTREAM_REASON_BYTES] = "";
    (void)state;
    memset(url, 'a', UPSTREAM_URL_BYTES);
    memcpy(url, "http://", 7);
    assert_null(create(url, reason));
    assert_non_null(strstr(reason, "aaaa...'"));
    url[9 + 7] = '/';
    url[UPSTREAM_URL_BYTES - 1] = '\0';
    struct upstream *upstream = create(url, reason);
    assert_non_null(upstream);
    assert_string_equal(upstream_url(upstream), url);
    upstream_free(upstream);
}

static void options_have_their_range(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        static const struct log silent = {.descriptor = 2, .level = LOG_LEVEL_ERROR};
        char reason[UPSTREAM_REASON_BYTES] = "";
        struct upstream_options options = upstream_defaults();
        options.url = "http://localhost";
        options.log = &silent;
        if (i == 0)
            options.call_ns = CLOCK_NS_PER_MS - 1;
        else if (i == 1)
            options.call_ns = 3600 * CLOCK_NS_PER_SECOND + 1;
        else if (i == 2)
            options.most_calls = 0;
        else if (i == 3)
            options.most_calls = 10001;
        else
            options.breaker.failures_to_open = 0;
        assert_null(upstream_create(&options, reason));
        assert_string_not_equal(reason, "");
    }
    upstream_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_urls_are_taken),
        cmocka_unit_test(other_urls_are_refused),
        cmocka_unit_test(a_very_long_url_is_cut),
        cmocka_unit_test(options_have_their_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
