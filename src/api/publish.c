/* Section 2 of the API: publish.
 *
 * An event goes three ways, in this order: into the database, into the queue key of its channel's name, and to the open
 * streams. Room in the queue is reserved before anything is stored, so that nothing can fail once it is. The queue and
 * the streams are served by the storage's writer thread, in the order of the ids.
 *
 * A request holds no thread while its event is stored (net/deferred.h): with a thread each, 64 publishers on 2 cores got a
 * third of the rate. What a commit has settled is answered by jobs of the workers (later.h).
 */
#include "api/api.h"
#include "api/database.h"
#include "api/event_json.h"
#include "api/fanout.h"
#include "api/json_body.h"
#include "api/later.h"
#include "api/shortage.h"
#include "net/deferred.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for {"id": and the digits of any id. */
enum { ID_BYTES = sizeof "{\"id\":18446744073709551615" - 1 };

/* The names, quotes and braces of the history object, and its time. */
enum { HISTORY_FIXED_BYTES = 128 };

struct publish {
    struct storage_write write; /* the first member */
    struct server *server;
    struct store_reservation *reservation; /* NULL once it has been used or given back */
    struct store_pushed pushed;
    size_t rest_at; /* in `memory`: the history object from behind the id on, with ID_BYTES before it */
    struct buffer memory;
    struct deferred deferred;
    enum storage_result result;
    struct later_item later;
};

struct published_fields {
    struct name channel;
    struct name event_type;
    struct text payload; /* a piece of the body */
};

/* Answers 400, and the fixed text of the contract for what is missing. */
static int read_fields(const struct request *request, struct published_fields *fields,
                       struct response *response)
{
    const struct text names[] = {TEXT("channel"), TEXT("eventType"), TEXT("payload")};
    struct text values[3];
    if (json_body_object(request, response) != 0)
        return -1;
    json_members(request->body, names, values, 3);
    if (json_member_is_missing(values[0]) || json_member_is_missing(values[1]) ||
        json_type_of(values[2]) == JSON_NULL) {
        response_error(response, 400, "Missing required fields");
        return -1;
    }
    if (json_member_name(values[0], "channel", &fields->channel, response) != 0 ||
        json_member_name(values[1], "eventType", &fields->event_type, response) != 0)
        return -1;
    if (memchr(fields->channel.bytes, ',', fields->channel.text.length) != NULL) {
        response_error(response, 400, "channel holds a comma");
        return -1;
    }
    fields->payload = values[2];
    return 0;
}

static struct storage_event event_of(const struct storage_write *write)
{
    return (struct storage_event){
        .id = write->id,
        .created_ms = write->created_ms,
        .channel = write->channel,
        .event_type = write->event_type,
        .payload = write->payload,
    };
}

static void publish_free(struct publish *publish)
{
    if (publish->reservation != NULL)
        store_unreserve(publish->server->store, publish->reservation);
    buffer_free(&publish->memory);
    free(publish);
}

/* The history object: writes the id before the rest. */
static struct text history_object(struct publish *publish)
{
    char head[ID_BYTES + 1];
    size_t length =
        (size_t)snprintf(head, sizeof head, "{\"id\":%llu", (unsigned long long)publish->write.id);
    char *start = publish->memory.bytes + publish->rest_at - length;
    memcpy(start, head, length);
    return (struct text){.bytes = start, .length = publish->memory.length - publish->rest_at + length};
}

/* --- answering --- */

static void answer(struct publish *publish)
{
    struct buffer body = BUFFER_EMPTY;
    struct buffer headers = BUFFER_EMPTY;
    struct response response = {.status = 202, .body = &body, .headers = &headers};
    if (publish->result != STORAGE_OK)
        answer_database_error(&response, publish->result);
    else if (publish->pushed.batch_count > 0)
        fanout_after(publish->server, &response, &publish->pushed);
    deferred_answer(&publish->deferred, &response);
    buffer_free(&headers);
    buffer_free(&body);
}

static void answer_now(struct later_item *item)
{
    struct publish *publish = (struct publish *)(void *)((char *)item - offsetof(struct publish, later));
    answer(publish);
    publish_free(publish);
}

/* In the writer thread, in the order of the ids: a stored event goes into the queue and to the streams. */
static void hand_out(struct publish *publish)
{
    struct server *server = publish->server;
    struct storage_event event = event_of(&publish->write);
    store_push_reserved(server->store, publish->reservation, history_object(publish), &publish->pushed);
    publish->reservation = NULL;
    hub_published(server->hub, &event);
}

static void settled(struct storage_write *write, enum storage_result result, bool abandoned)
{
    struct publish *publish = (struct publish *)(void *)write;
    if (result == STORAGE_OK)
        hand_out(publish);
    if (abandoned) {
        if (publish->pushed.batch_count > 0)
            fanout_later(publish->server, &publish->pushed);
        publish_free(publish);
        return;
    }
    publish->result = result;
    if (result == STORAGE_UNKNOWN)
        answer(publish); /* and the rest stays with the storage until it knows */
    else
        later_add(&publish->server->later, &publish->later);
}

/* --- the request --- */

/* Appends a copy to memory that has room for it, and so does not move. */
static struct text keep(struct buffer *memory, struct text text)
{
    struct text kept = {.bytes = memory->bytes + memory->length, .length = text.length};
    buffer_append(memory, text.bytes, text.length);
    return kept;
}

static struct text keep_compact(struct buffer *memory, struct text json)
{
    struct text kept = {.bytes = memory->bytes + memory->length};
    size_t start = memory->length;
    json_append_compact(memory, json);
    kept.length = memory->length - start;
    return kept;
}

/* Room for the fields, and for the history object made of them: a name may double when it is escaped. */
static size_t bytes_needed(const struct published_fields *fields)
{
    size_t names = fields->channel.text.length + fields->event_type.text.length;
    return names + 2 * names + 2 * fields->payload.length + ID_BYTES + HISTORY_FIXED_BYTES;
}

static struct publish *publish_create(struct server *server, const struct published_fields *fields)
{
    struct publish *publish = calloc(1, sizeof *publish);
    if (publish == NULL || buffer_reserve(&publish->memory, bytes_needed(fields)) != 0) {
        free(publish);
        return NULL;
    }
    struct buffer *memory = &publish->memory;
    publish->server = server;
    publish->later.run = answer_now;
    publish->write =
        (struct storage_write){.kind = STORAGE_PUBLISH, .created_ms = clock_wall_ms(), .settled = settled};
    publish->write.channel = keep(memory, fields->channel.text);
    publish->write.event_type = keep(memory, fields->event_type.text);
    publish->write.payload = keep_compact(memory, fields->payload);
    memory->length += ID_BYTES;
    publish->rest_at = memory->length;
    struct storage_event event = event_of(&publish->write);
    event_json_append_rest(memory, &event);
    return publish;
}

static int reserve(struct publish *publish, struct response *response)
{
    struct server *server = publish->server;
    size_t most_bytes = publish->memory.length - publish->rest_at + ID_BYTES;
    enum store_result result =
        store_reserve(server->store, publish->write.channel, most_bytes, &publish->reservation);
    if (result == STORE_OK)
        return 0;
    publish->reservation = NULL;
    if (result == STORE_FULL)
        answer_events_full(server, response);
    else
        response_out_of_memory(response);
    return -1;
}

/* Passes the event to the storage, which has it answered. Takes the publish over. */
static void store_event(struct publish *publish, struct request *request, struct response *response)
{
    if (reserve(publish, response) != 0) {
        publish_free(publish);
        return;
    }
    if (deferred_begin(&publish->deferred, request, response) != 0) {
        response_out_of_memory(response);
        publish_free(publish);
        return;
    }
    if (storage_submit(publish->server->storage, &publish->write) != 0) {
        publish->result = STORAGE_AWAY;
        answer(publish);
        publish_free(publish);
    }
}

void api_publish(void *context, struct request *request, struct response *response)
{
    struct server *server = context;
    struct published_fields fields;
    if (read_fields(request, &fields, response) != 0)
        return;
    struct publish *publish = publish_create(server, &fields);
    if (publish == NULL)
        response_out_of_memory(response);
    else
        store_event(publish, request, response);
}
