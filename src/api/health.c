/* Section 6 of the API: how the server is. */
#include "api/api.h"
#include "api/refresher.h"

static void append_pool(struct buffer *body, const struct pool_counts *pool)
{
    buffer_printf(body, "\"threads\":{\"running\":%u,\"waiting\":%u,\"spare\":%u,\"total\":%u,\"max\":%u}",
                  pool->running, pool->waiting, pool->spare, pool->total, pool->max);
}

static void append_queue(struct buffer *body, const struct store_counts *counts, uint64_t max_memory_bytes)
{
    buffer_printf(body,
                  "\"queue\":{\"keys\":%llu,\"groups\":%llu,\"waiting\":%llu,\"events\":%llu,"
                  "\"memory_bytes\":%llu,\"max_memory_bytes\":%llu}",
                  (unsigned long long)counts->keys, (unsigned long long)counts->groups,
                  (unsigned long long)counts->waiting, (unsigned long long)counts->events,
                  (unsigned long long)counts->memory_bytes, (unsigned long long)max_memory_bytes);
}

static void append_metrics(struct buffer *body, const struct metrics_counts *counts,
                           uint64_t max_memory_bytes)
{
    buffer_printf(
        body, "\"metrics\":{\"events\":%llu,\"users\":%llu,\"memory_bytes\":%llu,\"max_memory_bytes\":%llu}",
        (unsigned long long)counts->events, (unsigned long long)counts->users,
        (unsigned long long)counts->memory_bytes, (unsigned long long)max_memory_bytes);
}

static void append_journal(struct buffer *body, const struct journal_counts *counts)
{
    buffer_printf(
        body,
        ",\"journal\":{\"state\":\"%s\",\"lines\":%llu,\"bytes\":%llu,\"syncs\":%llu,\"failures\":%llu}",
        counts->available ? "available" : "away", (unsigned long long)counts->lines,
        (unsigned long long)counts->bytes, (unsigned long long)counts->batches,
        (unsigned long long)counts->failures);
}

static void append_breaker(struct buffer *body, const struct breaker_counts *breaker, int64_t now)
{
    buffer_printf(
        body,
        "\"breaker\":\"%s\",\"failures_in_a_row\":%u,\"calls\":%llu,\"successes\":%llu,\"failures\":%llu,"
        "\"refused\":%llu,\"opened\":%llu,",
        breaker_state_name(breaker->state), (unsigned)breaker->row, (unsigned long long)breaker->calls,
        (unsigned long long)breaker->successes, (unsigned long long)breaker->failures,
        (unsigned long long)breaker->refused, (unsigned long long)breaker->opened);
    if (breaker->state == BREAKER_OPEN) {
        char time[CLOCK_RFC3339_BYTES];
        clock_format_rfc3339(clock_wall_ms() + (breaker->probe_at - now) / CLOCK_NS_PER_MS, time);
        buffer_printf(body, "\"next_probe\":\"%s\",", time);
    } else {
        buffer_append_text(body, "\"next_probe\":null,");
    }
}

static void append_upstream(struct buffer *body, const struct server *server)
{
    struct upstream_counts counts = upstream_counts(server->upstream);
    struct refresher_counts refreshes = refresher_counts(server->refresher);
    int64_t now = clock_monotonic_ns();
    buffer_append_text(body, ",\"upstream\":{");
    append_breaker(body, &counts.breaker, now);
    buffer_printf(body,
                  "\"under_way\":%u,\"most_under_way\":%u,\"refreshes\":%llu,\"failed_refreshes\":%llu,",
                  counts.calls_under_way, counts.most_calls, (unsigned long long)refreshes.succeeded,
                  (unsigned long long)refreshes.failed);
    if (refreshes.refreshed_at == 0)
        buffer_append_text(body, "\"seconds_since_refresh\":null}");
    else
        buffer_printf(body, "\"seconds_since_refresh\":%lld}",
                      (long long)((now - refreshes.refreshed_at) / CLOCK_NS_PER_SECOND));
}

void api_health(void *context, struct request *request, struct response *response)
{
    (void)request;
    struct server *server = context;
    struct pool_counts pool = pool_counts(http_server_pool(server->http));
    struct connection_counts connections = http_server_connections(server->http);
    struct store_counts counts = store_counts(server->store);
    struct metrics_counts metrics = metrics_counts(server->metrics);
    struct buffer *body = response->body;
    bool available = storage_is_available(server->storage);
    response_json(response, available ? 200 : 503);
    if (!available)
        response_header(response, "Retry-After", TEXT("1"));
    buffer_printf(body, "{\"status\":\"%s\",\"version\":\"%s\",\"uptime_seconds\":%lld,",
                  available ? "OK" : "database not available", EVENT_SYNCER_VERSION,
                  (long long)((clock_monotonic_ns() - server->started_at) / CLOCK_NS_PER_SECOND));
    append_pool(body, &pool);
    buffer_printf(body, ",\"connections\":{\"open\":%u,\"max\":%u},", connections.open, connections.max);
    buffer_printf(body, "\"requests\":{\"memory_bytes\":%llu,\"max_memory_bytes\":%llu},",
                  (unsigned long long)http_server_request_memory(server->http),
                  (unsigned long long)server->max_request_memory_bytes);
    append_queue(body, &counts, server->max_memory_bytes);
    buffer_append_text(body, ",");
    append_metrics(body, &metrics, server->max_metrics_memory_bytes);
    buffer_printf(body, ",\"streams\":%zu,\"database\":{\"engine\":\"%s\",\"state\":\"%s\"}",
                  hub_stream_count(server->hub), storage_engine_name(server->storage),
                  available ? "available" : "away");
    struct journal_counts journal = journal_counts(server->journal);
    append_journal(body, &journal);
    if (server->upstream != NULL)
        append_upstream(body, server);
    buffer_append_text(body, "}");
    response_header(response, "Cache-Control", TEXT("no-store"));
}

void api_healthz(void *context, struct request *request, struct response *response)
{
    (void)context;
    (void)request;
    response_json(response, 200);
    buffer_append_text(response->body, "{\"ok\":true}");
}
