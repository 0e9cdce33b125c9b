/* Section 5 of the API: live events into the journal, and the revenue that `event-syncer process` has made of them.
 *
 * A line of the journal is written anew from what was read: {"userId":"user1","name":"add_revenue","value":100}, the value as an
 * exact decimal. So what was taken can be no bad line for the processor, and lines are short. A request holds no thread
 * while its lines are written (net/deferred.h, later.h).
 */
#include "api/api.h"
#include "api/database.h"
#include "api/json_body.h"
#include "api/lines.h"
#include "base/json.h"
#include "live/line.h"
#include "net/blocking.h"
#include "net/deferred.h"

#include <errno.h>
#include <stdlib.h>

struct live_events {
    struct journal_append append; /* the first member */
    struct server *server;
    struct deferred deferred;
    struct later_item later;
    struct buffer lines;
    size_t count;
    bool counted; /* the answer says how many */
    enum journal_result result;
};

static void live_events_free(struct live_events *events)
{
    buffer_free(&events->lines);
    free(events);
}

/* --- reading --- */

static int read_line(struct text source, size_t line_number, struct live_events *events,
                     struct response *response)
{
    if (json_body_check(source, line_number == 0 ? 1 : line_number, response) != 0)
        return -1;
    struct live_line line;
    const char *fault = live_line_read(source, &line);
    if (fault == NULL) {
        live_line_append(&events->lines, &line);
        events->count++;
        return 0;
    }
    if (line_number > 0)
        response_error(response, 400, "line %zu: %s", line_number, fault);
    else
        response_error(response, 400, "%s", fault);
    return -1;
}

static int read_lines(const struct request *request, struct live_events *events, struct response *response)
{
    struct text line;
    for (struct lines lines = {.rest = request->body}; lines_next(&lines, &line);) {
        if (read_line(line, lines.number, events, response) != 0)
            return -1;
    }
    if (events->count > 0)
        return 0;
    response_error(response, 400, "the body holds no event");
    return -1;
}

static int read_body(const struct request *request, struct live_events *events, struct response *response)
{
    events->counted = lines_are_announced(request);
    if (request->body.length == 0) {
        response_error(response, 400, "the body is empty; it must be an event");
        return -1;
    }
    int result = events->counted ? read_lines(request, events, response)
                                 : read_line(request->body, 0, events, response);
    if (result == 0 && events->lines.failed) {
        response_out_of_memory(response);
        result = -1;
    }
    return result;
}

/* --- answering --- */

static void answer_refused(struct response *response, enum journal_result result)
{
    switch (result) {
    case JOURNAL_FULL:
        response_error(response, 503, "there is no room for the journal; nothing was stored");
        break;
    case JOURNAL_AWAY:
        response_error(response, 503, "the journal can't be written; nothing was stored");
        break;
    case JOURNAL_UNKNOWN:
        response_error(response, 503,
                       "outcome unknown: the journal was lost while this was being written, and may hold it");
        break;
    case JOURNAL_OK:
        break;
    }
}

static void answer(struct later_item *item)
{
    struct live_events *events =
        (struct live_events *)(void *)((char *)item - offsetof(struct live_events, later));
    struct buffer body = BUFFER_EMPTY;
    struct buffer headers = BUFFER_EMPTY;
    struct response response = {.body = &body, .headers = &headers};
    if (events->result == JOURNAL_OK) {
        response_json(&response, 200);
        buffer_append_text(&body, "{\"message\":\"Event received\"");
        if (events->counted)
            buffer_printf(&body, ",\"count\":%zu", events->count);
        buffer_append_text(&body, "}");
    } else {
        answer_refused(&response, events->result);
    }
    deferred_answer(&events->deferred, &response);
    buffer_free(&headers);
    buffer_free(&body);
    live_events_free(events);
}

static void settled(struct journal_append *append, enum journal_result result)
{
    struct live_events *events = (struct live_events *)(void *)append;
    events->result = result;
    later_add(&events->server->later, &events->later);
}

/* Passes the lines to the journal, which has them answered. Takes the events over. */
static void write_lines(struct live_events *events, struct request *request, struct response *response)
{
    events->append.lines = (struct text){.bytes = events->lines.bytes, .length = events->lines.length};
    events->append.settled = settled;
    events->later.run = answer;
    if (deferred_begin(&events->deferred, request, response) != 0) {
        response_out_of_memory(response);
        live_events_free(events);
        return;
    }
    if (journal_submit(events->server->journal, &events->append) != 0) {
        events->result = JOURNAL_AWAY;
        answer(&events->later);
    }
}

void api_live_event(void *context, struct request *request, struct response *response)
{
    struct live_events *events = calloc(1, sizeof *events);
    if (events == NULL) {
        response_out_of_memory(response);
        return;
    }
    events->server = context;
    if (read_body(request, events, response) == 0)
        write_lines(events, request, response);
    else
        live_events_free(events);
}

/* --- revenue --- */

void api_user_events(void *context, struct request *request, struct response *response)
{
    struct server *server = context;
    struct name user;
    char amount[STORAGE_REVENUE_BYTES];
    bool found = false;
    if (parameter_segment(request, "user id", &user, response) != 0 || database_begin(request, response) != 0)
        return;
    enum storage_result result =
        storage_revenue(server->storage, user.text, amount, &found, database_deadline());
    blocking_end(request->worker);
    if (result != STORAGE_OK) {
        answer_database_error(response, result);
    } else if (!found) {
        response_error(response, 404, "this user has no revenue");
    } else {
        response_json(response, 200);
        buffer_append_text(response->body, "{\"userId\":");
        json_append_string(response->body, user.text);
        buffer_append_text(response->body, ",\"revenue\":");
        buffer_append_text(response->body, amount);
        buffer_append_text(response->body, "}");
    }
}
