#include "api/shortage.h"

void answer_events_full(struct server *server, struct response *response)
{
    log_limited(&server->log, &server->events_full, LOG_LEVEL_WARN,
                "the memory for events is full, pushes and publishes are refused: raise --max-memory, or "
                "lower --ttl");
    response_error(response, 503, "the memory for events is full");
}

void note_metrics_full(struct server *server, const char *message)
{
    log_limited(&server->log, &server->metrics_full, LOG_LEVEL_WARN,
                "%s, requests are refused: raise --max-metrics-memory, or lower --retention", message);
}

void answer_metrics_full(struct server *server, const char *message, struct response *response)
{
    note_metrics_full(server, message);
    response_error(response, 503, "%s", message);
}
