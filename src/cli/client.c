#include "cli/client.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "upstream/base_url.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* Whole seconds, rounded down by libcurl: a connection idle for less than 2 s is used again. */
    IDLE_SECONDS_MOST = 1,
    CONNECTING_PART = 2, /* of the time-out; the rest is left for the answer */
    WATCHED_MOST = 4,
};

struct slot {
    struct client *client;
    CURL *easy;
    struct buffer body;
    bool is_under_way;
    bool was_allowed; /* a request has been let through */
    bool was_repeated;
    bool is_too_large;
    bool is_out_of_memory;
};

struct client {
    CURLM *multi;
    struct base_url base;
    struct buffer url;
    struct curl_slist *fields;
    bool has_connected;
    unsigned slot_count;
    struct slot slots[];
};

/* --- what libcurl calls --- */

static size_t take_body(char *bytes, size_t size, size_t count, void *context)
{
    struct slot *slot = context;
    size_t length = size * count;
    slot->is_too_large = length > CLIENT_BODY_BYTES - slot->body.length;
    if (slot->is_too_large)
        return CURL_WRITEFUNC_ERROR;
    buffer_append(&slot->body, bytes, length);
    slot->is_out_of_memory = slot->body.failed;
    return slot->body.failed ? CURL_WRITEFUNC_ERROR : length;
}

/* Right before each request that libcurl sends. */
static int allow_request(void *context, char *their_address, char *our_address, int their_port, int our_port)
{
    struct slot *slot = context;
    (void)their_address, (void)our_address, (void)their_port, (void)our_port;
    slot->client->has_connected = true;
    if (slot->was_allowed) {
        slot->was_repeated = true;
        return CURL_PREREQFUNC_ABORT;
    }
    slot->was_allowed = true;
    return CURL_PREREQFUNC_OK;
}

/* --- making --- */

static int add_field(struct client *client, const char *field)
{
    struct curl_slist *longer = curl_slist_append(client->fields, field);
    if (longer == NULL)
        return -1;
    client->fields = longer;
    return 0;
}

static int make_fields(struct client *client, struct text token)
{
    struct buffer field = BUFFER_EMPTY;
    /* "Expect:" without a value keeps libcurl from asking for 100 Continue before large bodies. */
    int result = add_field(client, "Content-Type: application/json") | add_field(client, "Expect:") |
                 add_field(client, "Accept: application/json");
    if (token.length > 0) {
        buffer_append_text(&field, "Authorization: Bearer ");
        buffer_append(&field, token.bytes, token.length);
        buffer_append(&field, "", 1);
        result |= field.failed ? -1 : add_field(client, field.bytes);
        if (field.bytes != NULL)
            explicit_bzero(field.bytes, field.length);
    }
    buffer_free(&field);
    return result;
}

/* curl_easy_setopt is a macro that checks types, hence so many lines; the first failure is returned. */
#define SET(option, value)                                                                                   \
    do {                                                                                                     \
        CURLcode code_ = curl_easy_setopt(easy, (option), (value));                                          \
        if (code_ != CURLE_OK)                                                                               \
            return code_;                                                                                    \
    } while (0)

/* What keeps a POST where it belongs: no other protocol, host, proxy or way than the one that was given. */
static CURLcode set_bounds(CURL *easy, const struct client *client, int64_t timeout_ns)
{
    long timeout_ms = (long)(timeout_ns / CLOCK_NS_PER_MS);
    SET(CURLOPT_URL, client->url.bytes);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_HTTP09_ALLOWED, 0L);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_TIMEOUT_MS, timeout_ms);
    SET(CURLOPT_CONNECTTIMEOUT_MS, timeout_ms / CONNECTING_PART + 1);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L);
    SET(CURLOPT_MAXAGE_CONN, (long)IDLE_SECONDS_MOST);
    SET(CURLOPT_USERAGENT, "event-syncer");
    if (client->base.user != NULL || client->base.password != NULL) {
        SET(CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        SET(CURLOPT_USERNAME, client->base.user == NULL ? "" : client->base.user);
        SET(CURLOPT_PASSWORD, client->base.password == NULL ? "" : client->base.password);
    }
    return CURLE_OK;
}

static CURLcode set_request(CURL *easy, struct slot *slot)
{
    SET(CURLOPT_POST, 1L);
    SET(CURLOPT_HTTPHEADER, slot->client->fields);
    SET(CURLOPT_WRITEFUNCTION, take_body);
    SET(CURLOPT_WRITEDATA, slot);
    SET(CURLOPT_PREREQFUNCTION, allow_request);
    SET(CURLOPT_PREREQDATA, slot);
    SET(CURLOPT_PRIVATE, slot);
    return CURLE_OK;
}

static int make_slot(struct client *client, struct slot *slot, int64_t timeout_ns)
{
    slot->client = client;
    slot->easy = curl_easy_init();
    return slot->easy != NULL && set_bounds(slot->easy, client, timeout_ns) == CURLE_OK &&
                   set_request(slot->easy, slot) == CURLE_OK
               ? 0
               : -1;
}

/* Says what is taken instead of a URL, which is not shown when it may hold a password. */
static int read_url(struct client *client, const struct client_options *options,
                    char reason[static CLIENT_REASON_BYTES])
{
    char ignored[UPSTREAM_REASON_BYTES];
    if (base_url_read(&client->base, options->url, ignored) != 0) {
        bool shown = strchr(options->url, '@') == NULL && !text_has_control(text_from(options->url));
        snprintf(reason, CLIENT_REASON_BYTES, "--url takes http://HOST[:PORT][/PATH]%s%.120s%s",
                 shown ? ", not '" : "", shown ? options->url : "", shown ? "'" : "");
        return -1;
    }
    if (options->token.length > 0 && client->base.user != NULL) {
        snprintf(reason, CLIENT_REASON_BYTES, "--url has a user, and there is a token; give one of them");
        return -1;
    }
    buffer_append_text(&client->url, client->base.text);
    buffer_append_text(&client->url, options->path);
    buffer_append(&client->url, "", 1);
    return 0;
}

struct client *client_create(const struct client_options *options, char reason[static CLIENT_REASON_BYTES])
{
    snprintf(reason, CLIENT_REASON_BYTES, "can't start: out of memory");
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return NULL;
    struct client *client = calloc(1, sizeof *client + options->slots * sizeof client->slots[0]);
    if (client == NULL) {
        curl_global_cleanup();
        return NULL;
    }
    client->slot_count = options->slots;
    client->multi = curl_multi_init();
    bool made = client->multi != NULL &&
                curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, (long)options->slots) == CURLM_OK &&
                read_url(client, options, reason) == 0 && !client->url.failed &&
                make_fields(client, options->token) == 0;
    for (unsigned i = 0; i < client->slot_count && made; i++)
        made = make_slot(client, &client->slots[i], options->timeout_ns) == 0;
    if (made)
        return client;
    client_free(client);
    return NULL;
}

void client_free(struct client *client)
{
    if (client == NULL)
        return;
    for (unsigned i = 0; i < client->slot_count; i++) {
        client_cut(client, i);
        curl_easy_cleanup(client->slots[i].easy);
        buffer_free(&client->slots[i].body);
    }
    curl_multi_cleanup(client->multi);
    curl_slist_free_all(client->fields);
    base_url_free(&client->base);
    buffer_free(&client->url);
    free(client);
    curl_global_cleanup();
}

/* --- running --- */

static CURLcode set_body(CURL *easy, struct text body)
{
    SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.length);
    SET(CURLOPT_POSTFIELDS, body.bytes);
    return CURLE_OK;
}

int client_begin(struct client *client, unsigned number, struct text body)
{
    struct slot *slot = &client->slots[number];
    buffer_clear(&slot->body);
    slot->was_allowed = false;
    slot->was_repeated = false;
    slot->is_too_large = false;
    slot->is_out_of_memory = false;
    if (set_body(slot->easy, body) != CURLE_OK ||
        curl_multi_add_handle(client->multi, slot->easy) != CURLM_OK)
        return -1;
    slot->is_under_way = true;
    return 0;
}

/* Whether a connection has taken any of the request. */
static bool was_sent(const struct slot *slot)
{
    long sent_bytes = 0;
    curl_easy_getinfo(slot->easy, CURLINFO_REQUEST_SIZE, &sent_bytes);
    return slot->was_allowed && sent_bytes > 0;
}

bool client_cut(struct client *client, unsigned number)
{
    struct slot *slot = &client->slots[number];
    if (!slot->is_under_way)
        return false;
    slot->is_under_way = false;
    curl_multi_remove_handle(client->multi, slot->easy);
    return was_sent(slot);
}

void client_run(struct client *client)
{
    int running;
    curl_multi_perform(client->multi, &running);
}

static const char *describe(const struct slot *slot, CURLcode code)
{
    if (slot->was_repeated)
        return "the connection was lost before an answer";
    if (slot->is_too_large)
        return "its answer is too large";
    if (slot->is_out_of_memory)
        return "out of memory for its answer";
    switch (code) {
    case CURLE_OK:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
        return "its answer is no HTTP";
    case CURLE_COULDNT_RESOLVE_HOST:
        return "its name is not known";
    case CURLE_COULDNT_CONNECT:
        return "no connection";
    case CURLE_OPERATION_TIMEDOUT:
        return slot->was_allowed ? "no answer in time" : "no connection in time";
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
        return "the connection was lost before an answer";
    case CURLE_PARTIAL_FILE:
        return "its answer broke off";
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
        return "no trusted TLS connection";
    default:
        return curl_easy_strerror(code);
    }
}

static void judge(const struct slot *slot, CURLcode code, struct client_answer *answer)
{
    long status = 0, os_error = 0;
    curl_off_t retry_after_s = 0;
    curl_easy_getinfo(slot->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(slot->easy, CURLINFO_OS_ERRNO, &os_error);
    curl_easy_getinfo(slot->easy, CURLINFO_RETRY_AFTER, &retry_after_s);
    *answer = (struct client_answer){.slot = (unsigned)(slot - slot->client->slots),
                                     .was_sent = was_sent(slot) || status > 0,
                                     .retry_after_s = retry_after_s,
                                     .body = {.bytes = slot->body.bytes, .length = slot->body.length}};
    if (code == CURLE_OK && status >= 200 && status <= 599) {
        answer->status = (unsigned)status;
        return;
    }
    bool is_system = code == CURLE_COULDNT_CONNECT && os_error != 0;
    snprintf(answer->failure, sizeof answer->failure, "%s%s%s%s", describe(slot, code), is_system ? " (" : "",
             is_system ? strerror((int)os_error) : "", is_system ? ")" : "");
}

bool client_next(struct client *client, struct client_answer *answer)
{
    int left;
    CURLMsg *message;
    while ((message = curl_multi_info_read(client->multi, &left)) != NULL) {
        struct slot *slot = NULL;
        CURLcode code = message->data.result;
        if (message->msg != CURLMSG_DONE ||
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &slot) != CURLE_OK || slot == NULL)
            continue;
        judge(slot, code, answer);
        curl_multi_remove_handle(client->multi, slot->easy);
        slot->is_under_way = false;
        return true;
    }
    return false;
}

void client_wait(struct client *client, const int *descriptors, size_t count, int64_t wait_ns)
{
    struct curl_waitfd watched[WATCHED_MOST];
    unsigned watched_count = 0;
    for (size_t i = 0; i < count && i < WATCHED_MOST; i++)
        watched[watched_count++] = (struct curl_waitfd){.fd = descriptors[i], .events = CURL_WAIT_POLLIN};
    /* Rounded up: a wait that ends early would be begun again and again. */
    int64_t wait_ms = (wait_ns + CLOCK_NS_PER_MS - 1) / CLOCK_NS_PER_MS;
    int ready;
    curl_multi_poll(client->multi, watched, watched_count, (int)wait_ms, &ready);
}

bool client_has_connected(const struct client *client)
{
    return client->has_connected;
}

const char *client_url(const struct client *client)
{
    return client->base.text;
}
