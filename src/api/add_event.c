/* Section 4 of the API: an event is added.
 *
 * With an upstream it goes there first, and only what that took is stored. When the store then fails, the answer is 500: the
 * upstream has it, and it comes back with the next refresh (refresher.c). So the database is asked beforehand whether it is
 * there.
 */
#include "api/api.h"
#include "api/database.h"
#include "api/json_body.h"
#include "api/upstream_event.h"
#include "api/user_id.h"
#include "base/json.h"
#include "net/blocking.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct new_event {
    struct user_id user;
    struct text name;     /* decoded */
    struct text details;  /* JSON; empty: none */
    struct name id;       /* empty: the database numbers it */
    struct name spare_id; /* in case that number is another event's id */
    struct buffer strings;
};

/* Lives on the heap, as its outcome may come later than the request can wait. */
struct event_write {
    struct storage_write write; /* the first member; freed by the storage when it is abandoned */
    char bytes[];
};

static int read_name(struct text value, struct new_event *event, struct response *response)
{
    const char *fault = NULL;
    switch (json_string(value, &event->strings, &event->name)) {
    case JSON_STRING_OK:
        if (memchr(event->name.bytes, '\0', event->name.length) != NULL)
            fault = "name holds a NUL character";
        break;
    case JSON_STRING_BAD:
        fault = "name is not valid Unicode";
        break;
    case JSON_STRING_NO_MEMORY:
        response_out_of_memory(response);
        return -1;
    }
    if (fault == NULL)
        return 0;
    response_error(response, 400, "%s", fault);
    return -1;
}

static int read_event(const struct request *request, struct new_event *event, struct response *response)
{
    const struct text names[] = {TEXT("name"), TEXT("userId"), TEXT("details")};
    struct text values[3];
    if (json_body_object(request, response) != 0)
        return -1;
    json_members(request->body, names, values, 3);
    if (json_member_is_missing(values[0]) || json_member_is_missing(values[1])) {
        response_error(response, 400, "Missing required fields");
        return -1;
    }
    if (json_type_of(values[0]) != JSON_STRING) {
        response_error(response, 400, "name must be a string");
        return -1;
    }
    if (json_type_of(values[2]) != JSON_NULL)
        event->details = values[2];
    return user_id_read(values[1], &event->user, response) != 0 ? -1 : read_name(values[0], event, response);
}

/* --- storing --- */

static struct event_write *event_write_create(const struct new_event *event)
{
    struct buffer details = BUFFER_EMPTY;
    if (event->details.length > 0)
        json_append_compact(&details, event->details);
    size_t size = event->user.name.text.length + event->name.length + details.length + event->id.text.length +
                  event->spare_id.text.length;
    struct event_write *write = details.failed ? NULL : malloc(sizeof *write + size);
    if (write != NULL) {
        char *to = write->bytes;
        write->write = (struct storage_write){.kind = STORAGE_ADD_EVENT};
        write->write.user = text_put(&to, event->user.name.text);
        write->write.name = text_put(&to, event->name);
        write->write.details = text_put(&to, (struct text){.bytes = details.bytes, .length = details.length});
        write->write.event_id = text_put(&to, event->id.text);
        write->write.spare_id = text_put(&to, event->spare_id.text);
    }
    buffer_free(&details);
    return write;
}

/* The id that the database has given the event. */
static void take_id(struct new_event *event, const struct storage_write *write)
{
    struct name *id = &event->id;
    int length = snprintf(id->bytes, sizeof id->bytes, "%llu", (unsigned long long)write->id);
    if (write->spare_used) {
        length = (int)event->spare_id.text.length;
        memcpy(id->bytes, event->spare_id.bytes, event->spare_id.text.length);
    }
    id->text = (struct text){.bytes = id->bytes, .length = (size_t)length};
}

static enum storage_result store_event(struct server *server, struct new_event *event)
{
    struct event_write *write = event_write_create(event);
    if (write == NULL)
        return STORAGE_NO_MEMORY;
    enum storage_result result = storage_write(server->storage, &write->write, database_deadline());
    if (result == STORAGE_OK && event->id.text.length == 0)
        take_id(event, &write->write);
    if (result != STORAGE_UNKNOWN)
        free(write);
    return result;
}

/* --- the request --- */

static void answer_added(struct response *response, struct text id)
{
    response_json(response, 200);
    buffer_append_text(response->body, "{\"success\":true,\"id\":");
    json_append_string(response->body, id);
    buffer_append_text(response->body, "}");
}

static void add_here(struct server *server, struct new_event *event, struct response *response)
{
    enum storage_result result = store_event(server, event);
    if (result == STORAGE_OK)
        answer_added(response, event->id.text);
    else
        answer_database_error(response, result);
}

static void add_upstream(struct server *server, struct new_event *event, struct text body,
                         struct response *response)
{
    if (!storage_is_available(server->storage)) {
        answer_database_error(response, STORAGE_AWAY);
        return;
    }
    event->id.text = (struct text){.bytes = event->id.bytes, .length = event->spare_id.text.length};
    memcpy(event->id.bytes, event->spare_id.bytes, event->spare_id.text.length);
    if (upstream_event_post(server->upstream, body, &event->id, response) != 0)
        return;
    if (store_event(server, event) == STORAGE_OK)
        answer_added(response, event->id.text);
    else
        answer_failed(response, 500, "The upstream took the event, but it could not be stored here",
                      "it comes with the next refresh; do not send it again");
}

void api_add_event(void *context, struct request *request, struct response *response)
{
    struct server *server = context;
    struct new_event event = {.strings = BUFFER_EMPTY};
    if (read_event(request, &event, response) != 0) {
        /* said */
    } else if (uuid_draw(&event.spare_id) != 0) {
        response_out_of_memory(response);
    } else if (database_begin(request, response) == 0) {
        if (server->upstream == NULL)
            add_here(server, &event, response);
        else
            add_upstream(server, &event, request->body, response);
        blocking_end(request->worker);
    }
    buffer_free(&event.strings);
}
