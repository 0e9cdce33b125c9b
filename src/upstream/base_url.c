#include "upstream/base_url.h"

#include <curl/curl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { SHOWN_BYTES = 120, LAST_PORT = 65535 };

/* Says what is taken instead of `url`, of which neither credentials nor a query are shown, nor what would break the
 * line. */
static int refuse(const char *url, char reason[static UPSTREAM_REASON_BYTES])
{
    char shown[SHOWN_BYTES];
    const char *at = strrchr(url, '@');
    int length = snprintf(shown, sizeof shown, "%s%s", at == NULL ? "" : "...", at == NULL ? url : at);
    for (char *byte = shown; *byte != '\0'; byte++) {
        if ((unsigned char)*byte < 0x20 || *byte == 0x7F)
            *byte = '?';
    }
    char *end = strpbrk(shown, "?#");
    bool cut = length >= SHOWN_BYTES || (end != NULL && end[1] != '\0');
    if (end != NULL)
        end[1] = '\0';
    snprintf(reason, UPSTREAM_REASON_BYTES, "--upstream takes http://HOST[:PORT][/PATH], not '%s%s'", shown,
             cut ? "..." : "");
    return -1;
}

static int no_memory(char reason[static UPSTREAM_REASON_BYTES])
{
    snprintf(reason, UPSTREAM_REASON_BYTES, "--upstream: out of memory");
    return -1;
}

/* Takes one part of the URL over, into memory of ours. Returns 0, also when there is none, or an error of libcurl's. */
static CURLUcode take_part(CURLU *parts, CURLUPart which, unsigned flags, char **taken)
{
    char *part = NULL;
    CURLUcode code = curl_url_get(parts, which, &part, flags);
    if (code == CURLUE_NO_USER || code == CURLUE_NO_PASSWORD)
        return CURLUE_OK;
    if (code != CURLUE_OK)
        return code;
    *taken = strdup(part);
    explicit_bzero(part, strlen(part));
    curl_free(part);
    return *taken == NULL ? CURLUE_OUT_OF_MEMORY : CURLUE_OK;
}

static CURLUcode check_port(CURLU *parts)
{
    char *port = NULL;
    CURLUcode code = curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
    if (code != CURLUE_OK)
        return code;
    uint64_t number;
    bool good = text_parse_number(text_from(port), 1, LAST_PORT, &number) == 0;
    curl_free(port);
    return good ? CURLUE_OK : CURLUE_BAD_PORT_NUMBER;
}

static CURLUcode take_apart(CURLU *parts, const char *url, struct base_url *base)
{
    CURLUcode code = curl_url_set(parts, CURLUPART_URL, url, 0);
    if (code == CURLUE_OK)
        code = check_port(parts);
    if (code == CURLUE_OK)
        code = take_part(parts, CURLUPART_USER, CURLU_URLDECODE, &base->user);
    if (code == CURLUE_OK)
        code = take_part(parts, CURLUPART_PASSWORD, CURLU_URLDECODE, &base->password);
    if (code == CURLUE_OK)
        code = curl_url_set(parts, CURLUPART_USER, NULL, 0);
    if (code == CURLUE_OK)
        code = curl_url_set(parts, CURLUPART_PASSWORD, NULL, 0);
    if (code == CURLUE_OK)
        code = take_part(parts, CURLUPART_URL, 0, &base->text);
    return code;
}

/* A host in percent-encoding: libcurl decodes it and then reads it once more, so it would not be what was written. Only zones
 * of IPv6 addresses need it. */
static bool has_escaped_host(const char *authority)
{
    size_t length = strcspn(authority, "/");
    const char *at = memrchr(authority, '@', length);
    const char *host = at == NULL ? authority : at + 1;
    return *host != '[' && memchr(host, '%', length - (size_t)(host - authority)) != NULL;
}

int base_url_read(struct base_url *base, const char *url, char reason[static UPSTREAM_REASON_BYTES])
{
    *base = (struct base_url){.text = NULL};
    const char *authority = strncasecmp(url, "http://", 7) == 0    ? url + 7
                            : strncasecmp(url, "https://", 8) == 0 ? url + 8
                                                                   : NULL;
    /* libcurl would overlook a third slash. */
    if (authority == NULL || authority[0] == '/' || strlen(url) >= UPSTREAM_URL_BYTES ||
        strpbrk(url, "?#\\ ") != NULL || has_escaped_host(authority))
        return refuse(url, reason);
    CURLU *parts = curl_url();
    if (parts == NULL)
        return no_memory(reason);
    CURLUcode code = take_apart(parts, url, base);
    curl_url_cleanup(parts);
    if (code == CURLUE_OUT_OF_MEMORY)
        return no_memory(reason);
    if (code != CURLUE_OK)
        return refuse(url, reason);
    size_t length = strlen(base->text);
    while (length > 0 && base->text[length - 1] == '/')
        base->text[--length] = '\0';
    return 0;
}

static void wipe(char *secret)
{
    if (secret == NULL)
        return;
    explicit_bzero(secret, strlen(secret));
    free(secret);
}

void base_url_free(struct base_url *base)
{
    wipe(base->user);
    wipe(base->password);
    free(base->text);
    *base = (struct base_url){.text = NULL};
}
