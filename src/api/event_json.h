/* A published event as a JSON object: {"id","channel","eventType","payload","createdAt"}. */
#ifndef API_EVENT_JSON_H
#define API_EVENT_JSON_H

#include "base/buffer.h"
#include "storage/storage.h"

/* Appends everything from behind the id on. Failures are the buffer's. */
void event_json_append_rest(struct buffer *buffer, const struct storage_event *event);

/* Appends the whole object. */
void event_json_append(struct buffer *buffer, const struct storage_event *event);

#endif
