/* One request and its answer, by libcurl: what the options of an easy handle have to be, and what its results mean.
 *
 * A transfer owns an easy handle with at most one kept connection. It is used by one thread at a time; between two
 * uses it may change hands. Everything that it is given must outlive it or the call.
 */
#ifndef UPSTREAM_TRANSFER_H
#define UPSTREAM_TRANSFER_H

#include "upstream/base_url.h"
#include "upstream/upstream.h"

#include <curl/curl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/queue.h>

/* What all transfers of an upstream share; never changes while there are any. */
struct transfer_setup {
    struct base_url base;
    struct curl_slist *post_fields;
    struct curl_slist *get_fields;
    char *authorities; /* NULL: the system's */
    int64_t call_ns;
    const _Atomic int64_t *stop_at; /* when transfers under way end (CLOCK_MONOTONIC) */
};

struct transfer_request {
    const char *path;
    bool is_post;
    struct text body;
    size_t max_bytes; /* of the answer's body */
};

enum transfer_result {
    TRANSFER_ANSWERED, /* some status that HTTP knows, 2xx to 5xx, and a whole body */
    TRANSFER_FAILED,
    TRANSFER_STOPPED,
    TRANSFER_NO_MEMORY,
};

struct transfer {
    CURL *easy;
    const struct transfer_setup *setup;
    SLIST_ENTRY(transfer) link; /* its owner's */
    /* Of the call that is under way. */
    struct buffer *body;
    size_t max_bytes;
    size_t head_bytes;
    bool head_ended;        /* the last head that began has come in whole */
    unsigned requests_left; /* that may yet be sent */
    bool sent_again;        /* libcurl wanted to, and was not allowed to */
    bool too_large;
    bool no_memory;
    char error[CURL_ERROR_SIZE];
};

/* Makes all but the base URL of it. Returns 0, or -1 without memory. transfer_setup_free ends it in both cases. */
int transfer_setup_make(struct transfer_setup *setup, const struct upstream_options *options,
                        const _Atomic int64_t *stop_at);
void transfer_setup_free(struct transfer_setup *setup);

/* Returns NULL with errno: ENOMEM, or ENOSYS when this libcurl does not know what is needed of it. */
struct transfer *transfer_create(const struct transfer_setup *setup);
void transfer_free(struct transfer *transfer);

/* Sends the request and collects the answer: its status, body or reason. Blocks for at most the setup's call_ns. */
enum transfer_result transfer_run(struct transfer *transfer, const struct transfer_request *request,
                                  struct upstream_answer *answer);

#endif
