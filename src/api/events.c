/* Section 3 of the API: events come in, and each gets a result of its own. */
#include "api/api.h"
#include "api/json_body.h"
#include "api/lines.h"
#include "api/shortage.h"
#include "base/json.h"

#include <stdlib.h>
#include <string.h>

static const char full[] = "the memory for metrics is full";

enum {
    /* No 16 MiB hold more whole events; smaller ones would get an answer many times the size of the body. */
    MOST_EVENTS = 256 * 1024,
    EVENTS_AT_ONCE = 1000, /* for the metrics */
};

/* The events of a body, whatever its form. */
struct event_walk {
    enum { ONE_EVENT, EVENT_ARRAY, EVENT_LINES } form;
    struct lines lines;
    struct json_walk array;
    struct text rest; /* ONE_EVENT: the body, until it was given */
};

enum event_form { EVENT_WHOLE, EVENT_NO_OBJECT, EVENT_INCOMPLETE };

struct event_entry {
    enum event_form form;
    struct text id; /* bytes NULL: none that can be named */
};

struct ingest {
    struct metrics *metrics;
    struct response *response;
    struct buffer strings; /* decoded texts; large enough not to move */
    struct buffer message;
    size_t answered;
    size_t accepted;
    size_t full; /* found no memory */
    size_t entry_count;
    size_t event_count; /* of the entries that are whole */
    struct event_entry entries[EVENTS_AT_ONCE];
    struct metrics_event events[EVENTS_AT_ONCE];
    enum metrics_result results[EVENTS_AT_ONCE];
};

static struct event_walk walk_begin(const struct request *request)
{
    struct event_walk walk = {.form = ONE_EVENT, .rest = request->body};
    if (lines_are_announced(request)) {
        walk.form = EVENT_LINES;
        walk.lines.rest = request->body;
    } else if (json_type_of(request->body) == JSON_ARRAY) {
        walk.form = EVENT_ARRAY;
        json_walk_begin(&walk.array, request->body);
    }
    return walk;
}

static bool walk_next(struct event_walk *walk, struct text *event)
{
    switch (walk->form) {
    case EVENT_LINES:
        return lines_next(&walk->lines, event);
    case EVENT_ARRAY:
        return json_walk_element(&walk->array, event);
    case ONE_EVENT:
        break;
    }
    *event = walk->rest;
    walk->rest.length = 0;
    return event->length > 0;
}

/* --- before anything is counted: the whole body is valid JSON, and not too much --- */

static int check_syntax(const struct request *request, struct response *response)
{
    if (!lines_are_announced(request))
        return json_body_check(request->body, 1, response);
    struct text line;
    for (struct lines lines = {.rest = request->body}; lines_next(&lines, &line);) {
        if (json_body_check(line, lines.number, response) != 0)
            return -1;
    }
    return 0;
}

static int check_body(const struct request *request, struct response *response)
{
    if (request->body.length == 0) {
        response_error(response, 400, "the body is empty; it must be an event, or an array of events");
        return -1;
    }
    if (check_syntax(request, response) != 0)
        return -1;
    size_t count = 0;
    struct text event;
    for (struct event_walk walk = walk_begin(request); count <= MOST_EVENTS && walk_next(&walk, &event);)
        count++;
    if (count <= MOST_EVENTS)
        return 0;
    response_error(response, 413, "the body holds more than %d events", (int)MOST_EVENTS);
    return -1;
}

/* --- one event --- */

/* Decodes a field that must be fit for a name. Returns false where it is missing or unfit. */
static bool read_name(struct ingest *ingest, struct text value, struct text *name)
{
    struct text decoded;
    if (json_type_of(value) != JSON_STRING ||
        json_string(value, &ingest->strings, &decoded) != JSON_STRING_OK || decoded.length == 0 ||
        decoded.length > NAME_BYTES || text_has_control(decoded))
        return false;
    *name = decoded;
    return true;
}

/* What can't be read stays as it is written in JSON, which is no timestamp. */
static struct text read_timestamp(struct ingest *ingest, struct text value)
{
    struct text decoded;
    bool read = json_type_of(value) == JSON_STRING &&
                json_string(value, &ingest->strings, &decoded) == JSON_STRING_OK;
    return read ? decoded : value;
}

static enum event_form read_event(struct ingest *ingest, struct text source, struct text *id,
                                  struct metrics_event *event)
{
    const struct text names[] = {TEXT("event_id"), TEXT("user_id"), TEXT("type"), TEXT("ts")};
    struct text values[4];
    *id = (struct text){.bytes = NULL};
    if (json_type_of(source) != JSON_OBJECT)
        return EVENT_NO_OBJECT;
    json_members(source, names, values, 4);
    if (!read_name(ingest, values[0], id) || !read_name(ingest, values[1], &event->user) ||
        !read_name(ingest, values[2], &event->type) || json_member_is_missing(values[3]))
        return EVENT_INCOMPLETE;
    event->id = *id;
    event->timestamp = read_timestamp(ingest, values[3]);
    return EVENT_WHOLE;
}

/* --- results --- */

static void write_message(struct buffer *message, const struct event_entry *entry, enum metrics_result result)
{
    buffer_clear(message);
    switch (entry->form) {
    case EVENT_WHOLE:
        metrics_append_message(message, result, entry->id);
        break;
    case EVENT_NO_OBJECT:
        buffer_append_text(message, "Event must be an object");
        break;
    case EVENT_INCOMPLETE:
        buffer_append_text(message, "Event ");
        buffer_append(message, entry->id.bytes, entry->id.length);
        buffer_append_text(message, entry->id.bytes == NULL ? "is missing required fields"
                                                            : " is missing required fields");
        break;
    }
}

static void append_result(struct ingest *ingest, const struct event_entry *entry, enum metrics_result result)
{
    struct buffer *body = ingest->response->body;
    bool accepted = entry->form == EVENT_WHOLE && result == METRICS_ACCEPTED;
    buffer_append_text(body, ingest->answered == 0 ? "{\"event_id\":" : ",{\"event_id\":");
    if (entry->id.bytes == NULL)
        buffer_append_text(body, "null");
    else
        json_append_string(body, entry->id);
    buffer_append_text(body, accepted ? ",\"status\":\"success\",\"message\":"
                                      : ",\"status\":\"error\",\"message\":");
    write_message(&ingest->message, entry, result);
    json_append_string(body, (struct text){.bytes = ingest->message.bytes, .length = ingest->message.length});
    buffer_append_text(body, "}");
    ingest->answered++;
    ingest->accepted += accepted ? 1 : 0;
    ingest->full += entry->form == EVENT_WHOLE && result == METRICS_FULL ? 1 : 0;
}

/* Counts the events that have been read, and writes their results. */
static void flush(struct ingest *ingest)
{
    metrics_ingest(ingest->metrics, ingest->events, ingest->event_count, ingest->results);
    size_t next_result = 0;
    for (size_t i = 0; i < ingest->entry_count; i++) {
        const struct event_entry *entry = &ingest->entries[i];
        enum metrics_result result = METRICS_ACCEPTED;
        if (entry->form == EVENT_WHOLE)
            result = ingest->results[next_result++];
        append_result(ingest, entry, result);
    }
    ingest->entry_count = 0;
    ingest->event_count = 0;
    buffer_clear(&ingest->strings);
}

static void take_events(struct ingest *ingest, const struct request *request)
{
    struct text source;
    for (struct event_walk walk = walk_begin(request); walk_next(&walk, &source);) {
        struct event_entry *entry = &ingest->entries[ingest->entry_count++];
        entry->form = read_event(ingest, source, &entry->id, &ingest->events[ingest->event_count]);
        ingest->event_count += entry->form == EVENT_WHOLE ? 1 : 0;
        if (ingest->entry_count == EVENTS_AT_ONCE)
            flush(ingest);
    }
    flush(ingest);
}

/* The texts of one flush decode into no more bytes than they have in the body. */
static int reserve_strings(struct ingest *ingest, struct text body)
{
    return memchr(body.bytes, '\\', body.length) == NULL ? 0 : buffer_reserve(&ingest->strings, body.length);
}

static void ingest_body(struct server *server, const struct request *request, struct response *response)
{
    struct ingest *ingest = calloc(1, sizeof *ingest);
    if (ingest == NULL || reserve_strings(ingest, request->body) != 0) {
        free(ingest);
        response_out_of_memory(response);
        return;
    }
    ingest->metrics = server->metrics;
    ingest->response = response;
    response_json(response, 200);
    buffer_append_text(response->body, "{\"results\":[");
    take_events(ingest, request);
    buffer_append_text(response->body, "]}");
    if (ingest->full > 0)
        note_metrics_full(server, full);
    if (ingest->accepted == 0 && ingest->full > 0)
        response_error(response, 503, "%s", full);
    buffer_free(&ingest->strings);
    buffer_free(&ingest->message);
    free(ingest);
}

void api_events(void *context, struct request *request, struct response *response)
{
    if (check_body(request, response) == 0)
        ingest_body(context, request, response);
}
