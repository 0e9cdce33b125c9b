/* The refresher: a thread that fetches the upstream's users and events, at start and every --upstream-refresh seconds.
 *
 * What it fetches is merged into the database: new ones are added, changed ones replaced; what the upstream no longer lists
 * stays, as a list may be behind what was just added. Reads never wait for it: they read the database. The calls go
 * through the same circuit breaker as all others; a list that could not be fetched is fetched the next time. A list that is
 * byte for byte what was merged the last time is not merged again.
 *
 * Log: a warning when a refresh fails, a line when one succeeds again, each once.
 *
 * Its state belongs to its thread, but for the counts, which are atomic.
 */
#ifndef API_REFRESHER_H
#define API_REFRESHER_H

#include "base/log.h"
#include "storage/storage.h"
#include "upstream/upstream.h"

struct refresher;

struct refresher_options {
    struct upstream *upstream;
    struct storage *storage;
    const struct log *log;
    int64_t interval_ns;
};

struct refresher_counts {
    uint64_t succeeded; /* whole refreshes */
    uint64_t failed;
    int64_t refreshed_at; /* when the last one succeeded (CLOCK_MONOTONIC), 0: never */
};

/* Returns NULL with errno. */
struct refresher *refresher_start(const struct refresher_options *options);

/* Ends the thread: at once where upstream_stop came before, but for a write of the database. Its counts may be asked for until
 * refresher_free. Both take NULL. */
void refresher_stop(struct refresher *refresher);
void refresher_free(struct refresher *refresher);

struct refresher_counts refresher_counts(struct refresher *refresher);

#endif
