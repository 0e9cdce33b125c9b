/* Section 1 of the API: push and blocking-get. */
#include "api/api.h"
#include "api/batch_body.h"
#include "api/fanout.h"
#include "api/json_body.h"
#include "api/lines.h"
#include "api/parameters.h"
#include "api/shortage.h"
#include "base/json.h"
#include "net/media_type.h"
#include "net/waiting.h"

#include <stdlib.h>
#include <string.h>

static void answer_unavailable(struct server *server, struct response *response, enum store_result result)
{
    if (result == STORE_FULL)
        answer_events_full(server, response);
    else
        response_out_of_memory(response);
}

/* --- push --- */

struct values {
    struct text *items;
    size_t count;
    bool counted; /* the answer says how many */
};

static void push_values(struct server *server, struct text key, const struct values *values,
                        struct response *response)
{
    struct store_pushed pushed;
    enum store_result result = store_push(server->store, key, values->items, values->count, &pushed);
    if (result != STORE_OK) {
        answer_unavailable(server, response, result);
        return;
    }
    response_json(response, 200);
    buffer_append_text(response->body, "{\"message\":\"Data pushed successfully\",\"id\":");
    buffer_append_number(response->body, pushed.last_id);
    if (values->counted) {
        buffer_append_text(response->body, ",\"count\":");
        buffer_append_number(response->body, values->count);
    }
    buffer_append_text(response->body, "}");
    if (pushed.batch_count > 0)
        fanout_after(server, response, &pushed);
}

static void push_json(struct server *server, struct text key, struct text body, struct response *response)
{
    if (json_body_check(body, 1, response) == 0)
        push_values(server, key, &(struct values){.items = &body, .count = 1}, response);
}

static void push_text(struct server *server, struct text key, struct text body, struct response *response)
{
    if (!text_is_utf8(body)) {
        response_error(response, 400, "the body is not valid UTF-8");
        return;
    }
    struct buffer json = BUFFER_EMPTY;
    json_append_string(&json, body);
    struct text value = {.bytes = json.bytes, .length = json.length};
    if (json.failed)
        response_out_of_memory(response);
    else
        push_values(server, key, &(struct values){.items = &value, .count = 1}, response);
    buffer_free(&json);
}

static size_t count_lines(struct text body)
{
    size_t count = 0;
    struct text line;
    for (struct lines lines = {.rest = body}; lines_next(&lines, &line);)
        count++;
    return count;
}

/* Checks each line and collects those that are not blank. Returns 0, or -1 with the response filled. */
static int collect_lines(struct text body, struct values *values, struct response *response)
{
    struct text line;
    for (struct lines lines = {.rest = body}; lines_next(&lines, &line);) {
        if (json_body_check(line, lines.number, response) != 0)
            return -1;
        values->items[values->count++] = line;
    }
    return 0;
}

static void push_lines(struct server *server, struct text key, struct text body, struct response *response)
{
    size_t count = count_lines(body);
    if (count == 0) {
        response_error(response, 400, "the body holds no event");
        return;
    }
    struct values values = {.items = calloc(count, sizeof(struct text)), .counted = true};
    if (values.items == NULL)
        response_out_of_memory(response);
    else if (collect_lines(body, &values, response) == 0)
        push_values(server, key, &values, response);
    free(values.items);
}

void api_push(void *context, struct request *request, struct response *response)
{
    struct server *server = context;
    struct name key;
    if (parameter_name(request, "key", &key, response) != 0)
        return;
    if (request->body.length == 0) {
        response_error(response, 400, "the body is empty; it must be a JSON value");
        return;
    }
    struct text type = media_type_parse(request->headers[HEADER_CONTENT_TYPE]).type;
    if (text_equals_ignoring_case(type, TEXT("text/plain")))
        push_text(server, key.text, request->body, response);
    else if (lines_are_announced(request))
        push_lines(server, key.text, request->body, response);
    else
        push_json(server, key.text, request->body, response);
}

/* --- blocking-get --- */

struct get {
    struct name key;
    struct name group;
    int64_t timeout_ns;
    uint64_t limit;
    bool meta;
};

/* A blocking-get that waits. Lives on the stack of its thread; a delivering thread uses it until the waiter
 * is told. */
struct pending_get {
    struct store *store;
    bool meta;
    uint64_t sent_bytes;
    bool no_memory; /* for the answer; the batch went back */
    struct waiting waiting;
    struct waiter waiter;
};

static int read_get(const struct server *server, const struct request *request, struct get *get,
                    struct response *response)
{
    get->timeout_ns = server->longest_wait_ns;
    get->limit = SIZE_MAX;
    get->meta = false;
    if (parameter_name(request, "key", &get->key, response) != 0 ||
        parameter_name(request, "groupId", &get->group, response) != 0 ||
        parameter_seconds(request, "timeout", server->longest_wait_ns, &get->timeout_ns, response) != 0 ||
        parameter_number(request, "limit", 1, SIZE_MAX, &get->limit, response) != 0 ||
        parameter_flag(request, "meta", &get->meta, response) != 0)
        return -1;
    return 0;
}

static void forbid_storing(struct response *response)
{
    response_header(response, "Cache-Control", TEXT("no-store"));
}

static void answer_nothing(struct response *response)
{
    response_json(response, 200);
    buffer_append_text(response->body, "[]");
}

/* Answers with what store_take or store_wait_begin gave. */
static void answer_taken(struct server *server, enum store_result result, struct batch *batch, bool meta,
                         struct response *response)
{
    if (result == STORE_EMPTY || result == STORE_STOPPED) {
        answer_nothing(response);
    } else if (result != STORE_OK) {
        answer_unavailable(server, response, result);
    } else if (batch_body_fill(response, server->store, batch, meta) != 0) {
        store_batch_return(server->store, batch);
        response_out_of_memory(response);
    }
    forbid_storing(response);
}

/* Called by the thread that pushed. */
static enum delivery deliver(void *context, struct batch *batch)
{
    struct pending_get *pending = context;
    struct buffer body = BUFFER_EMPTY;
    struct buffer headers = BUFFER_EMPTY;
    struct response response = {.body = &body, .headers = &headers};
    enum delivery delivery = DELIVERY_TAKEN;
    if (batch_body_fill(&response, pending->store, batch, pending->meta) != 0) {
        pending->no_memory = true;
        delivery = DELIVERY_GONE;
    } else {
        pending->sent_bytes = response.source.length;
        forbid_storing(&response);
        if (waiting_answer(&pending->waiting, &response) == WAITING_GONE) {
            batch_body_discard(&response);
            delivery = DELIVERY_GONE;
        }
    }
    buffer_free(&headers);
    return delivery;
}

static void interrupt(void *context)
{
    store_wait_interrupt(context);
}

static void answer_waited(const struct pending_get *pending, enum wait_outcome outcome,
                          struct response *response)
{
    switch (outcome) {
    case WAIT_DELIVERED:
        response->status = 200;
        response->sent_bytes = pending->sent_bytes;
        response->kind = pending->waiting.result == WAITING_WRITTEN ? RESPONSE_WRITTEN : RESPONSE_ELSEWHERE;
        return;
    case WAIT_GONE:
    case WAIT_INTERRUPTED:
        response->kind = RESPONSE_HANG_UP;
        if (!pending->no_memory)
            return;
        response->kind = RESPONSE_ANSWER;
        response_out_of_memory(response);
        break;
    case WAIT_NO_MEMORY:
        response_out_of_memory(response);
        break;
    case WAIT_PENDING:
    case WAIT_TIMED_OUT:
    case WAIT_STOPPED:
        answer_nothing(response);
        break;
    }
    forbid_storing(response);
}

/* Takes what has come meanwhile, or waits in a blocking section of the pool. */
static void wait_in_section(struct server *server, struct pending_get *pending, const struct get *get,
                            struct response *response)
{
    struct batch *batch = NULL;
    int64_t deadline_at = clock_monotonic_ns() + get->timeout_ns;
    enum store_result result =
        store_wait_begin(server->store, get->key.text, get->group.text, &pending->waiter, &batch);
    enum wait_outcome outcome = WAIT_PENDING;
    if (result == STORE_EMPTY)
        outcome = store_wait(server->store, &pending->waiter, deadline_at);
    bool there = waiting_end(&pending->waiting);
    if (outcome != WAIT_PENDING) {
        answer_waited(pending, outcome, response);
    } else if (result == STORE_OK && !there) {
        store_batch_return(server->store, batch);
        response->kind = RESPONSE_HANG_UP;
    } else {
        answer_taken(server, result, batch, get->meta, response);
    }
}

static void wait_for_events(struct server *server, struct request *request, const struct get *get,
                            struct response *response)
{
    struct pending_get pending = {.store = server->store, .meta = get->meta};
    if (store_waiter_init(&pending.waiter, get->limit, deliver, &pending) != 0) {
        response_out_of_memory(response);
        return;
    }
    switch (waiting_begin(&pending.waiting, request, interrupt, &pending.waiter)) {
    case WAITING_STARTED:
        wait_in_section(server, &pending, get, response);
        break;
    case WAITING_NO_THREAD:
        response_error(response, 503, "too many requests are waiting");
        forbid_storing(response);
        break;
    case WAITING_NO_MEMORY:
        response_out_of_memory(response);
        response->close = true;
        forbid_storing(response);
        break;
    case WAITING_HUNG_UP:
        response->kind = RESPONSE_HANG_UP;
        break;
    }
    store_waiter_destroy(&pending.waiter);
}

void api_blocking_get(void *context, struct request *request, struct response *response)
{
    struct server *server = context;
    struct get get;
    if (read_get(server, request, &get, response) != 0)
        return;
    struct batch *batch = NULL;
    enum store_result result = store_take(server->store, get.key.text, get.group.text, get.limit, &batch);
    if (result == STORE_EMPTY && get.timeout_ns > 0)
        wait_for_events(server, request, &get, response);
    else
        answer_taken(server, result, batch, get.meta, response);
}
