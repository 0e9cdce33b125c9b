/* URLs on the command line: of the upstream, and of the server that lines are sent to. Neither what is kept for showing, nor
 * what is said of a bad one, gives credentials away. */
#include "fuzz.h"

#include "cli/client.h"
#include "upstream/base_url.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

static void check_line(const char *line, size_t capacity)
{
    struct text text = {.bytes = line, .length = strnlen(line, capacity)};
    FUZZ_REQUIRE(text.length > 0 && text.length < capacity);
    for (size_t i = 0; i < text.length; i++)
        FUZZ_REQUIRE((unsigned char)line[i] >= 0x20 && line[i] != 0x7F);
}

/* The password of these tests is s3cret: before the last @ of what is refused, and before that of the authority otherwise. */
static void check_secret(const char *url, bool is_url, const char *shown)
{
    static const char secret[] = "s3cret";
    const char *authority = strstr(url, "//");
    const char *at = strrchr(url, '@');
    if (is_url)
        at = memrchr(authority, '@', 2 + strcspn(authority + 2, "/"));
    if (at != NULL && strstr(at, secret) == NULL)
        FUZZ_REQUIRE(strstr(shown, secret) == NULL);
}

static void check_accepted(const struct base_url *base)
{
    struct base_url again;
    char reason[UPSTREAM_REASON_BYTES];
    char *user = NULL;
    size_t length = strlen(base->text);
    FUZZ_REQUIRE(length > strlen("http://") && base->text[length - 1] != '/');
    FUZZ_REQUIRE(strpbrk(base->text, "?# ") == NULL);
    FUZZ_REQUIRE(base_url_read(&again, base->text, reason) == 0);
    FUZZ_REQUIRE(strcmp(again.text, base->text) == 0 && again.user == NULL && again.password == NULL);
    base_url_free(&again);
    CURLU *parts = curl_url();
    FUZZ_REQUIRE(parts != NULL && curl_url_set(parts, CURLUPART_URL, base->text, 0) == CURLUE_OK);
    FUZZ_REQUIRE(curl_url_get(parts, CURLUPART_USER, &user, 0) == CURLUE_NO_USER);
    curl_url_cleanup(parts);
}

static void check_client(const char *url, bool is_url)
{
    char reason[CLIENT_REASON_BYTES];
    struct client_options options = {.url = url, .path = "/liveEvent", .slots = 1, .timeout_ns = 1000000000};
    struct client *client = client_create(&options, reason);
    FUZZ_REQUIRE((client != NULL) == is_url);
    if (client == NULL) {
        check_line(reason, sizeof reason);
        check_secret(url, false, reason);
    } else {
        check_secret(url, true, client_url(client));
    }
    client_free(client);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct base_url base;
    char reason[UPSTREAM_REASON_BYTES];
    struct text copy = fuzz_copy(data, size);
    char *url = strndup(copy.bytes, copy.length);
    FUZZ_REQUIRE(url != NULL);
    bool is_url = base_url_read(&base, url, reason) == 0;
    if (is_url) {
        check_accepted(&base);
        check_secret(url, true, base.text);
    } else {
        check_line(reason, sizeof reason);
        check_secret(url, false, reason);
    }
    base_url_free(&base);
    check_client(url, is_url);
    free(url);
    fuzz_free(copy);
    return 0;
}
