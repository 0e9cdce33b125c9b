#include "api/refresher.h"

#include "api/upstream_list.h"
#include "base/hash.h"
#include "base/periodic.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { LISTS = 2 };

typedef enum storage_result merge_function(struct upstream_merge *merge, struct text list);

static const struct {
    const char *path;
    merge_function *merge;
} lists[LISTS] = {
    {.path = "/getUsers", .merge = upstream_list_merge_users},
    {.path = "/getEvents", .merge = upstream_list_merge_events},
};

struct refresher {
    struct refresher_options options;
    struct periodic *thread;
    struct hash_seed seed;
    struct hash_128 merged[LISTS]; /* what was merged the last time */
    bool has_merged[LISTS];
    bool complained;
    _Atomic uint64_t succeeded;
    _Atomic uint64_t failed;
    _Atomic int64_t refreshed_at;
};

static bool is_stopping(void *periodic)
{
    return periodic_is_stopping(periodic);
}

/* Merges what was fetched. Returns NULL, or what went wrong. */
static const char *merge_body(struct refresher *refresher, int number, struct text body,
                              struct periodic *periodic)
{
    struct hash_128 hash = hash_text_128(&refresher->seed, body);
    if (refresher->has_merged[number] && memcmp(&hash, &refresher->merged[number], sizeof hash) == 0)
        return NULL;
    struct upstream_merge merge = {
        .storage = refresher->options.storage, .should_stop = is_stopping, .context = periodic};
    if (lists[number].merge(&merge, body) != STORAGE_OK)
        return "the database did not take it";
    refresher->merged[number] = hash;
    refresher->has_merged[number] = true;
    if (merge.skipped > 0)
        log_warn(refresher->options.log, "the upstream lists entries that can't be used path=%s count=%zu",
                 lists[number].path, merge.skipped);
    return NULL;
}

/* Returns whether the list is merged. */
static bool refresh(struct refresher *refresher, int number, struct periodic *periodic)
{
    struct upstream_answer answer;
    const char *fault = NULL;
    enum upstream_result result =
        upstream_get(refresher->options.upstream, lists[number].path,
                     (struct upstream_judge){.judge = upstream_list_judge}, &answer);
    struct text body = {.bytes = answer.body.bytes, .length = answer.body.length};
    if (result == UPSTREAM_ANSWERED)
        fault = merge_body(refresher, number, body, periodic);
    else
        fault = result == UPSTREAM_REFUSED ? "it answers with a status of 4xx" : answer.reason;
    bool stopping = periodic_is_stopping(periodic);
    if (fault != NULL && !refresher->complained && !stopping) {
        log_warn(refresher->options.log, "the upstream's list could not be refreshed path=%s reason=%s",
                 lists[number].path, LOG_TEXT(text_from(fault)));
        refresher->complained = true;
    }
    upstream_answer_free(&answer);
    return fault == NULL;
}

static int64_t refresh_all(void *context, struct periodic *periodic)
{
    struct refresher *refresher = context;
    int64_t next_at = clock_monotonic_ns() + refresher->options.interval_ns;
    bool whole = true;
    for (int number = 0; number < LISTS && !periodic_is_stopping(periodic); number++)
        whole = refresh(refresher, number, periodic) && whole;
    if (!whole) {
        atomic_fetch_add(&refresher->failed, 1);
        return next_at;
    }
    if (refresher->complained)
        log_info(refresher->options.log, "the upstream's lists are refreshed again");
    refresher->complained = false;
    atomic_store(&refresher->refreshed_at, clock_monotonic_ns());
    atomic_fetch_add(&refresher->succeeded, 1);
    return next_at;
}

struct refresher *refresher_start(const struct refresher_options *options)
{
    struct refresher *refresher = calloc(1, sizeof *refresher);
    if (refresher == NULL)
        return NULL;
    refresher->options = *options;
    if (hash_seed_draw(&refresher->seed) == 0)
        refresher->thread = periodic_start("refresher", refresh_all, refresher);
    if (refresher->thread != NULL)
        return refresher;
    int error = errno;
    free(refresher);
    errno = error;
    return NULL;
}

void refresher_stop(struct refresher *refresher)
{
    if (refresher == NULL)
        return;
    periodic_stop(refresher->thread);
    refresher->thread = NULL;
}

void refresher_free(struct refresher *refresher)
{
    refresher_stop(refresher);
    free(refresher);
}

struct refresher_counts refresher_counts(struct refresher *refresher)
{
    return (struct refresher_counts){
        .succeeded = atomic_load(&refresher->succeeded),
        .failed = atomic_load(&refresher->failed),
        .refreshed_at = atomic_load(&refresher->refreshed_at),
    };
}
