/* Section 3 of the API: metrics of a window. */
#include "api/api.h"
#include "api/json_body.h"
#include "api/parameters.h"
#include "base/json.h"

static void append_counts(struct buffer *body, const char *name, const struct metrics_list *list)
{
    buffer_printf(body, ",\"%s\":{", name);
    for (size_t i = 0; i < list->length; i++) {
        buffer_append_text(body, i == 0 ? "" : ",");
        json_append_string(body, list->counts[i].name);
        buffer_append_text(body, ":");
        buffer_append_number(body, list->counts[i].count);
    }
    buffer_append_text(body, "}");
}

static void append_metrics(struct buffer *body, uint64_t window_s, const struct metrics_answer *answer)
{
    buffer_append_text(body, "{\"window_sec\":");
    buffer_append_number(body, window_s);
    buffer_append_text(body, ",\"events_per_sec\":");
    json_append_double(body, (double)answer->events / (double)window_s);
    buffer_append_text(body, ",\"unique_users\":");
    buffer_append_number(body, answer->unique_users);
    buffer_append_text(body, ",\"unknown\":");
    buffer_append_number(body, answer->unknown);
    append_counts(body, "by_plan", &answer->by_plan);
    append_counts(body, "by_region", &answer->by_region);
    append_counts(body, "by_type", &answer->by_type);
    buffer_append_text(body, "}");
}

void api_metrics(void *context, struct request *request, struct response *response)
{
    struct server *server = context;
    struct metrics_answer answer;
    uint64_t window_s = 0;
    if (parameter_number(request, "window", 1, server->retention_s, &window_s, response) != 0)
        return;
    if (window_s == 0) {
        response_error(response, 400, "the parameter window is missing: whole seconds, 1 to %u",
                       (unsigned)server->retention_s);
        return;
    }
    if (metrics_query(server->metrics, (uint32_t)window_s, &answer) != 0) {
        response_out_of_memory(response);
        return;
    }
    response_json(response, 200);
    response_header(response, "Cache-Control", TEXT("no-store"));
    append_metrics(response->body, window_s, &answer);
    metrics_answer_free(&answer);
}
