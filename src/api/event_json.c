#include "api/event_json.h"

#include "base/clock.h"
#include "base/json.h"

void event_json_append_rest(struct buffer *buffer, const struct storage_event *event)
{
    char time[CLOCK_RFC3339_BYTES];
    clock_format_rfc3339(event->created_ms, time);
    buffer_append_text(buffer, ",\"channel\":");
    json_append_string(buffer, event->channel);
    buffer_append_text(buffer, ",\"eventType\":");
    json_append_string(buffer, event->event_type);
    buffer_append_text(buffer, ",\"payload\":");
    buffer_append(buffer, event->payload.bytes, event->payload.length);
    buffer_append_text(buffer, ",\"createdAt\":\"");
    buffer_append_text(buffer, time);
    buffer_append_text(buffer, "\"}");
}

void event_json_append(struct buffer *buffer, const struct storage_event *event)
{
    buffer_append_text(buffer, "{\"id\":");
    buffer_append_number(buffer, event->id);
    event_json_append_rest(buffer, event);
}
