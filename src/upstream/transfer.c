#include "upstream/transfer.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    POSTS_SENT_MOST = 1,
    GETS_SENT_MOST = 2,
    /* Whole seconds, rounded down by libcurl: a connection idle for less than 2 s is used again. */
    IDLE_SECONDS_MOST = 1,
    NAMES_KEPT_SECONDS = 5,
};

/* --- what libcurl calls --- */

static size_t take_body(char *bytes, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;
    size_t length = size * count;
    if (length > transfer->max_bytes - transfer->body->length) {
        transfer->too_large = true;
        return CURL_WRITEFUNC_ERROR;
    }
    buffer_append(transfer->body, bytes, length);
    if (transfer->body->failed) {
        transfer->no_memory = true;
        return CURL_WRITEFUNC_ERROR;
    }
    return length;
}

static size_t take_head(char *bytes, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;
    struct text line = {.bytes = bytes, .length = size * count};
    size_t length = line.length;
    if (length > UPSTREAM_HEAD_BYTES - transfer->head_bytes) {
        transfer->too_large = true;
        return CURL_WRITEFUNC_ERROR;
    }
    transfer->head_bytes += length;
    /* A connection that ends within a head is the end of a good answer to libcurl. */
    if (length >= 5 && memcmp(bytes, "HTTP/", 5) == 0)
        transfer->head_ended = false;
    else if (text_equals(line, TEXT("\r\n")) || text_equals(line, TEXT("\n")))
        transfer->head_ended = true;
    return length;
}

/* Right before each request that libcurl sends. */
static int allow_request(void *context, char *their_address, char *our_address, int their_port, int our_port)
{
    struct transfer *transfer = context;
    (void)their_address, (void)our_address, (void)their_port, (void)our_port;
    if (transfer->requests_left == 0) {
        transfer->sent_again = true;
        return CURL_PREREQFUNC_ABORT;
    }
    transfer->requests_left--;
    return CURL_PREREQFUNC_OK;
}

/* Whenever something happens, and at least about once a second. */
static int keep_going(void *context, curl_off_t to_come, curl_off_t came, curl_off_t to_go, curl_off_t gone)
{
    const struct transfer *transfer = context;
    (void)to_come, (void)came, (void)to_go, (void)gone;
    return clock_monotonic_ns() >= atomic_load(transfer->setup->stop_at) ? 1 : 0;
}

/* --- making --- */

static struct curl_slist *make_fields(const char *const *fields)
{
    struct curl_slist *list = NULL;
    for (; *fields != NULL; fields++) {
        struct curl_slist *longer = curl_slist_append(list, *fields);
        if (longer == NULL) {
            curl_slist_free_all(list);
            return NULL;
        }
        list = longer;
    }
    return list;
}

int transfer_setup_make(struct transfer_setup *setup, const struct upstream_options *options,
                        const _Atomic int64_t *stop_at)
{
    /* "Expect:" without a value keeps libcurl from asking for 100 Continue before large bodies. */
    static const char *const post[] = {"Content-Type: application/json", "Accept: application/json",
                                       "Expect:", NULL};
    static const char *const get[] = {"Accept: application/json", NULL};
    setup->call_ns = options->call_ns;
    setup->stop_at = stop_at;
    setup->post_fields = make_fields(post);
    setup->get_fields = make_fields(get);
    setup->authorities = options->authorities == NULL ? NULL : strdup(options->authorities);
    bool complete = setup->post_fields != NULL && setup->get_fields != NULL &&
                    (setup->authorities != NULL || options->authorities == NULL);
    return complete ? 0 : -1;
}

void transfer_setup_free(struct transfer_setup *setup)
{
    curl_slist_free_all(setup->post_fields);
    curl_slist_free_all(setup->get_fields);
    setup->post_fields = NULL;
    setup->get_fields = NULL;
    free(setup->authorities);
    setup->authorities = NULL;
    base_url_free(&setup->base);
}

/* curl_easy_setopt is a macro that checks types, hence so many lines; the first failure is returned. */
#define SET(option, value)                                                                                   \
    do {                                                                                                     \
        CURLcode code_ = curl_easy_setopt(easy, (option), (value));                                          \
        if (code_ != CURLE_OK)                                                                               \
            return code_;                                                                                    \
    } while (0)

/* What keeps a call where it belongs: no other protocol, host, proxy or way than the one that was given. */
static CURLcode set_bounds(CURL *easy, const struct transfer_setup *setup)
{
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_HTTP09_ALLOWED, 0L);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (setup->authorities != NULL)
        SET(CURLOPT_CAINFO, setup->authorities);
    SET(CURLOPT_TIMEOUT_MS, (long)(setup->call_ns / CLOCK_NS_PER_MS));
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L);
    SET(CURLOPT_DNS_CACHE_TIMEOUT, (long)NAMES_KEPT_SECONDS);
    SET(CURLOPT_MAXCONNECTS, 1L);
    SET(CURLOPT_MAXAGE_CONN, (long)IDLE_SECONDS_MOST);
    SET(CURLOPT_USERAGENT, "event-syncer");
    if (setup->base.user != NULL || setup->base.password != NULL) {
        SET(CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        SET(CURLOPT_USERNAME, setup->base.user == NULL ? "" : setup->base.user);
        SET(CURLOPT_PASSWORD, setup->base.password == NULL ? "" : setup->base.password);
    }
    return CURLE_OK;
}

static CURLcode set_callbacks(CURL *easy, struct transfer *transfer)
{
    SET(CURLOPT_WRITEFUNCTION, take_body);
    SET(CURLOPT_WRITEDATA, transfer);
    SET(CURLOPT_HEADERFUNCTION, take_head);
    SET(CURLOPT_HEADERDATA, transfer);
    SET(CURLOPT_PREREQFUNCTION, allow_request);
    SET(CURLOPT_PREREQDATA, transfer);
    SET(CURLOPT_XFERINFOFUNCTION, keep_going);
    SET(CURLOPT_XFERINFODATA, transfer);
    SET(CURLOPT_NOPROGRESS, 0L);
    SET(CURLOPT_ERRORBUFFER, transfer->error);
    return CURLE_OK;
}

static CURLcode set_request(CURL *easy, const struct transfer_setup *setup,
                            const struct transfer_request *request, const char *url)
{
    SET(CURLOPT_URL, url);
    SET(CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)request->max_bytes);
    if (request->is_post) {
        SET(CURLOPT_HTTPHEADER, setup->post_fields);
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.length);
        SET(CURLOPT_POSTFIELDS, request->body.length == 0 ? "" : request->body.bytes);
    } else {
        SET(CURLOPT_HTTPHEADER, setup->get_fields);
        SET(CURLOPT_POSTFIELDS, NULL);
        SET(CURLOPT_HTTPGET, 1L);
    }
    return CURLE_OK;
}

struct transfer *transfer_create(const struct transfer_setup *setup)
{
    struct transfer *transfer = calloc(1, sizeof *transfer);
    if (transfer == NULL)
        return NULL;
    transfer->setup = setup;
    transfer->easy = curl_easy_init();
    CURLcode code = CURLE_OUT_OF_MEMORY;
    if (transfer->easy != NULL)
        code = set_bounds(transfer->easy, setup);
    if (code == CURLE_OK)
        code = set_callbacks(transfer->easy, transfer);
    if (code != CURLE_OK) {
        transfer_free(transfer);
        errno = code == CURLE_OUT_OF_MEMORY ? ENOMEM : ENOSYS;
        return NULL;
    }
    return transfer;
}

void transfer_free(struct transfer *transfer)
{
    curl_easy_cleanup(transfer->easy);
    free(transfer);
}

/* --- running --- */

static const char *reason_of(const struct transfer *transfer, CURLcode code, unsigned status)
{
    bool has_begun = status != 0;
    if (transfer->sent_again)
        return "the connection was lost before an answer";
    if (transfer->too_large)
        return "its answer is too large";
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
        return "its name is not known";
    case CURLE_COULDNT_CONNECT:
        return "no connection";
    case CURLE_OPERATION_TIMEDOUT:
        return "no answer in time";
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
        return has_begun ? "its answer broke off" : "the connection was lost before an answer";
    case CURLE_PARTIAL_FILE:
        return "its answer broke off";
    case CURLE_FILESIZE_EXCEEDED:
        return "its answer is too large";
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
        return "its answer is no HTTP";
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
        return "no trusted TLS connection";
    default:
        return curl_easy_strerror(code);
    }
}

static enum transfer_result judge_end(const struct transfer *transfer, CURLcode code,
                                      struct upstream_answer *answer)
{
    long status = 0;
    if (curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status) == CURLE_OK && status >= 200)
        answer->status = (unsigned)status;
    if (transfer->no_memory || code == CURLE_OUT_OF_MEMORY)
        return TRANSFER_NO_MEMORY;
    if (code == CURLE_ABORTED_BY_CALLBACK && !transfer->sent_again)
        return TRANSFER_STOPPED;
    bool is_http = answer->status >= 200 && answer->status <= 599; /* else 0: a 1xx is no answer */
    if (code == CURLE_OK && is_http && transfer->head_ended)
        return TRANSFER_ANSWERED;
    const char *reason = code != CURLE_OK ? reason_of(transfer, code, answer->status)
                         : is_http        ? "its answer broke off"
                                          : "its answer is no HTTP";
    snprintf(answer->reason, sizeof answer->reason, "%s", reason);
    return TRANSFER_FAILED;
}

enum transfer_result transfer_run(struct transfer *transfer, const struct transfer_request *request,
                                  struct upstream_answer *answer)
{
    struct buffer url = BUFFER_EMPTY;
    buffer_append_text(&url, transfer->setup->base.text);
    buffer_append_text(&url, request->path);
    buffer_append(&url, "", 1);
    if (url.failed) {
        buffer_free(&url);
        return TRANSFER_NO_MEMORY;
    }
    transfer->body = &answer->body;
    transfer->max_bytes = request->max_bytes;
    transfer->head_bytes = 0;
    transfer->head_ended = false;
    transfer->requests_left = request->is_post ? POSTS_SENT_MOST : GETS_SENT_MOST;
    transfer->sent_again = false;
    transfer->too_large = false;
    transfer->no_memory = false;
    transfer->error[0] = '\0';
    CURLcode code = set_request(transfer->easy, transfer->setup, request, url.bytes);
    if (code == CURLE_OK)
        code = curl_easy_perform(transfer->easy);
    buffer_free(&url);
    transfer->body = NULL;
    return judge_end(transfer, code, answer);
}
