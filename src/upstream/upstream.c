#include "upstream/upstream.h"

#include "upstream/transfer.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_CALLS = 10000 };

#define LONGEST_CALL_NS (3600 * CLOCK_NS_PER_SECOND)

SLIST_HEAD(transfer_list, transfer);

struct upstream {
    struct upstream_options options; /* never change */
    struct transfer_setup setup;     /* never changes */
    struct breaker *breaker;
    _Atomic int64_t stop_at;
    pthread_mutex_t mutex;
    /* Under the mutex. */
    struct transfer_list idle;
    unsigned calls_under_way;
};

struct upstream_options upstream_defaults(void)
{
    return (struct upstream_options){
        .call_ns = 5 * CLOCK_NS_PER_SECOND,
        .max_post_bytes = (size_t)1024 * 1024,
        .max_get_bytes = (size_t)64 * 1024 * 1024,
        .most_calls = 16,
        .breaker = breaker_defaults,
        .clock = clock_system,
    };
}

/* One line for each change; several servers tell theirs apart by the URL. */
static void log_change(void *context, const struct breaker_change *change)
{
    const struct upstream *upstream = context;
    const struct log *log = upstream->options.log;
    const char *url = LOG_TEXT(text_from(upstream->setup.base.text));
    const char *state = breaker_state_name(change->to);
    if (change->to != BREAKER_OPEN)
        log_info(log, "the circuit breaker of the upstream is %s upstream=%s", state, url);
    else if (change->from == BREAKER_CLOSED)
        log_warn(log, "the circuit breaker of the upstream is %s failures=%u backoff_ms=%lld upstream=%s",
                 state, change->failed_row, (long long)(change->backoff_ns / CLOCK_NS_PER_MS), url);
    else
        log_warn(log,
                 "the circuit breaker of the upstream is %s again lost_probes=%u backoff_ms=%lld upstream=%s",
                 state, change->probes_lost, (long long)(change->backoff_ns / CLOCK_NS_PER_MS), url);
}

/* --- making --- */

static int check_options(const struct upstream_options *options, char reason[static UPSTREAM_REASON_BYTES])
{
    if (options->call_ns >= CLOCK_NS_PER_MS && options->call_ns <= LONGEST_CALL_NS &&
        options->most_calls >= 1 && options->most_calls <= MOST_CALLS)
        return 0;
    snprintf(reason, UPSTREAM_REASON_BYTES, "the options of the upstream are out of range");
    return -1;
}

/* Without these two the deadline and the thread-safety that the header promises would not hold. */
static int check_library(char reason[static UPSTREAM_REASON_BYTES])
{
    const curl_version_info_data *library = curl_version_info(CURLVERSION_NOW);
    if ((library->features & CURL_VERSION_ASYNCHDNS) != 0 &&
        (library->features & CURL_VERSION_THREADSAFE) != 0)
        return 0;
    snprintf(reason, UPSTREAM_REASON_BYTES, "libcurl %s can't look names up aside, or is not thread-safe",
             library->version);
    return -1;
}

/* All that can fail for the configuration or for want of memory, so that it fails at the start. */
static int prepare(struct upstream *upstream, char reason[static UPSTREAM_REASON_BYTES])
{
    if (base_url_read(&upstream->setup.base, upstream->options.url, reason) != 0)
        return -1;
    struct breaker_config config = upstream->options.breaker;
    config.changed = log_change;
    config.changed_context = upstream;
    struct transfer *first = NULL;
    upstream->breaker = breaker_create(&config);
    if (upstream->breaker != NULL &&
        transfer_setup_make(&upstream->setup, &upstream->options, &upstream->stop_at) == 0)
        first = transfer_create(&upstream->setup);
    if (first == NULL) {
        snprintf(reason, UPSTREAM_REASON_BYTES, "the upstream's client can't be made: %s", strerror(errno));
        return -1;
    }
    SLIST_INSERT_HEAD(&upstream->idle, first, link);
    upstream->options.url = NULL; /* these two were the caller's, and are copied */
    upstream->options.authorities = NULL;
    return 0;
}

struct upstream *upstream_create(const struct upstream_options *options,
                                 char reason[static UPSTREAM_REASON_BYTES])
{
    if (check_options(options, reason) != 0 || check_library(reason) != 0)
        return NULL;
    struct upstream *upstream = calloc(1, sizeof *upstream);
    if (upstream == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(upstream);
        snprintf(reason, UPSTREAM_REASON_BYTES, "the upstream's client can't be made: %s", strerror(ENOMEM));
        return NULL;
    }
    atomic_init(&upstream->stop_at, INT64_MAX);
    upstream->options = *options;
    SLIST_INIT(&upstream->idle);
    pthread_mutex_init(&upstream->mutex, NULL);
    if (prepare(upstream, reason) != 0) {
        upstream_free(upstream);
        return NULL;
    }
    return upstream;
}

void upstream_free(struct upstream *upstream)
{
    if (upstream == NULL)
        return;
    struct transfer *transfer;
    while ((transfer = SLIST_FIRST(&upstream->idle)) != NULL) {
        SLIST_REMOVE_HEAD(&upstream->idle, link);
        transfer_free(transfer);
    }
    transfer_setup_free(&upstream->setup);
    breaker_free(upstream->breaker);
    pthread_mutex_destroy(&upstream->mutex);
    curl_global_cleanup();
    free(upstream);
}

/* --- the bulkhead --- */

/* Takes a place and a transfer for one call. */
static enum upstream_result take_place(struct upstream *upstream, struct transfer **taken)
{
    struct transfer *transfer = NULL;
    pthread_mutex_lock(&upstream->mutex);
    bool full = upstream->calls_under_way >= upstream->options.most_calls;
    if (!full) {
        upstream->calls_under_way++;
        transfer = SLIST_FIRST(&upstream->idle);
        if (transfer != NULL)
            SLIST_REMOVE_HEAD(&upstream->idle, link);
    }
    pthread_mutex_unlock(&upstream->mutex);
    if (full)
        return UPSTREAM_BUSY;
    if (transfer == NULL)
        transfer = transfer_create(&upstream->setup);
    *taken = transfer;
    return transfer == NULL ? UPSTREAM_NO_MEMORY : UPSTREAM_ANSWERED;
}

/* Gives the place back, and the transfer, if there is one, to the next call. */
static void give_place_back(struct upstream *upstream, struct transfer *transfer)
{
    pthread_mutex_lock(&upstream->mutex);
    upstream->calls_under_way--;
    if (transfer != NULL)
        SLIST_INSERT_HEAD(&upstream->idle, transfer, link);
    pthread_mutex_unlock(&upstream->mutex);
}

/* --- calls --- */

static int64_t now_ns(const struct upstream *upstream)
{
    return upstream->options.clock.monotonic_ns(upstream->options.clock.context);
}

static enum upstream_result say(struct upstream_answer *answer, enum upstream_result result,
                                const char *reason)
{
    snprintf(answer->reason, sizeof answer->reason, "%s", reason);
    return result;
}

/* What an answer that came in whole means, by its status and the caller's judge. */
static enum upstream_result judge_answer(struct upstream_judge judge, struct upstream_answer *answer)
{
    if (answer->status >= 400 && answer->status <= 499)
        return UPSTREAM_REFUSED;
    if (answer->status > 299) {
        snprintf(answer->reason, sizeof answer->reason, "it answered with status %u", answer->status);
        return UPSTREAM_FAILED;
    }
    struct text body = {.bytes = answer->body.length == 0 ? "" : answer->body.bytes,
                        .length = answer->body.length};
    switch (judge.judge == NULL ? UPSTREAM_GOOD : judge.judge(judge.context, body)) {
    case UPSTREAM_GOOD:
        return UPSTREAM_ANSWERED;
    case UPSTREAM_UNSURE:
        return UPSTREAM_NO_MEMORY;
    case UPSTREAM_BAD:
        break;
    }
    return say(answer, UPSTREAM_FAILED, "its answer is not a good one");
}

/* Makes the call that the breaker has let through. Fills `outcome` for it. */
static enum upstream_result make_call(struct upstream *upstream, const struct transfer_request *request,
                                      struct upstream_judge judge, struct upstream_answer *answer,
                                      enum breaker_outcome *outcome)
{
    *outcome = BREAKER_CANCELLED;
    struct transfer *transfer = NULL;
    enum upstream_result place = take_place(upstream, &transfer);
    if (place == UPSTREAM_BUSY)
        return say(answer, place, "too many calls are under way");
    if (place == UPSTREAM_NO_MEMORY) {
        give_place_back(upstream, NULL);
        return place;
    }
    enum transfer_result end = transfer_run(transfer, request, answer);
    if (end == TRANSFER_FAILED)
        log_debug(upstream->options.log, "a call of the upstream failed error=%s",
                  LOG_TEXT(text_from(transfer->error[0] == '\0' ? answer->reason : transfer->error)));
    give_place_back(upstream, transfer);
    if (end == TRANSFER_NO_MEMORY)
        return UPSTREAM_NO_MEMORY;
    if (end == TRANSFER_STOPPED)
        return say(answer, UPSTREAM_FAILED, "the server is stopping");
    enum upstream_result result = end == TRANSFER_FAILED ? UPSTREAM_FAILED : judge_answer(judge, answer);
    if (result != UPSTREAM_NO_MEMORY)
        *outcome = result == UPSTREAM_FAILED ? BREAKER_FAILURE : BREAKER_SUCCESS;
    return result;
}

static uint32_t seconds_until(int64_t instant, int64_t now)
{
    int64_t left_ns = instant - now;
    if (left_ns <= CLOCK_NS_PER_SECOND)
        return 1;
    return (uint32_t)((left_ns + CLOCK_NS_PER_SECOND - 1) / CLOCK_NS_PER_SECOND);
}

static enum upstream_result call(struct upstream *upstream, const struct transfer_request *request,
                                 struct upstream_judge judge, struct upstream_answer *answer)
{
    *answer = (struct upstream_answer){.retry_after_s = 1};
    if (clock_monotonic_ns() >= atomic_load(&upstream->stop_at))
        return say(answer, UPSTREAM_FAILED, "the server is stopping");
    struct breaker_ticket ticket;
    int64_t retry_at = 0;
    int64_t now = now_ns(upstream);
    if (breaker_enter(upstream->breaker, now, &ticket, &retry_at) == BREAKER_REFUSED) {
        answer->retry_after_s = seconds_until(retry_at, now);
        return say(answer, UPSTREAM_OPEN, "it has failed too often");
    }
    enum breaker_outcome outcome;
    enum upstream_result result = make_call(upstream, request, judge, answer, &outcome);
    breaker_leave(upstream->breaker, &ticket, outcome, now_ns(upstream));
    if (result == UPSTREAM_NO_MEMORY)
        say(answer, result, "out of memory");
    if (result != UPSTREAM_ANSWERED && result != UPSTREAM_REFUSED)
        buffer_free(&answer->body);
    return result;
}

enum upstream_result upstream_post(struct upstream *upstream, const char *path, struct text body,
                                   struct upstream_judge judge, struct upstream_answer *answer)
{
    struct transfer_request request = {
        .path = path, .is_post = true, .body = body, .max_bytes = upstream->options.max_post_bytes};
    return call(upstream, &request, judge, answer);
}

enum upstream_result upstream_get(struct upstream *upstream, const char *path, struct upstream_judge judge,
                                  struct upstream_answer *answer)
{
    struct transfer_request request = {.path = path, .max_bytes = upstream->options.max_get_bytes};
    return call(upstream, &request, judge, answer);
}

void upstream_answer_free(struct upstream_answer *answer)
{
    buffer_free(&answer->body);
}

void upstream_stop(struct upstream *upstream, int64_t at)
{
    atomic_store(&upstream->stop_at, at);
}

struct upstream_counts upstream_counts(struct upstream *upstream)
{
    struct upstream_counts counts = {.breaker = breaker_counts(upstream->breaker),
                                     .most_calls = upstream->options.most_calls};
    pthread_mutex_lock(&upstream->mutex);
    counts.calls_under_way = upstream->calls_under_way;
    pthread_mutex_unlock(&upstream->mutex);
    return counts;
}

const char *upstream_url(const struct upstream *upstream)
{
    return upstream->setup.base.text;
}
