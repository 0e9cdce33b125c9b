/* One server, put together: everything that there is one of.
 *
 * Made and owned by the `serve` command (src/cli/serve.c), which fills it before the first request arrives
 * and takes it apart after the last; handlers get it as their context. Nothing in it changes in between, but
 * for what says otherwise, so it needs no lock: each part has its own.
 */
#ifndef API_SERVER_H
#define API_SERVER_H

#include "api/later.h"
#include "base/log.h"
#include "base/periodic.h"
#include "journal/journal.h"
#include "metrics/metrics.h"
#include "net/http_server.h"
#include "queue/reaper.h"
#include "queue/store.h"
#include "storage/storage.h"
#include "stream/hub.h"
#include "upstream/upstream.h"

#include <stdint.h>

#define EVENT_SYNCER_VERSION "0.1.0"

/* Who may ask: see the Access section of the README. Empty texts: not set. */
struct access_rules {
    struct text token;
    struct text cors_origin;
    bool insecure; /* said by the operator: no token, and yet open to others */
};

struct refresher;

struct server {
    struct log log;
    struct log_limit events_full, metrics_full; /* change (src/api/shortage.h) */
    struct store *store;
    struct reaper *reaper;
    struct storage *storage;
    struct hub *hub;
    struct metrics *metrics;
    struct periodic *metrics_rounds;
    uint64_t reference_generation; /* of the stored table, 0: none (src/api/reference.h) */
    struct journal *journal;
    struct upstream *upstream;   /* NULL: none */
    struct refresher *refresher; /* NULL: none */
    struct http_server *http;
    struct later later; /* answers that group commits have settled */
    struct access_rules access;
    int64_t longest_wait_ns;
    uint64_t max_memory_bytes;
    uint64_t max_request_memory_bytes;
    uint64_t max_metrics_memory_bytes;
    uint64_t retention_s;
    int64_t started_at;
};

#endif
