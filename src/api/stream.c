/* Section 2 of the API: Server-Sent Events (WHATWG HTML, section 9.2). */
#include "api/stream.h"

#include "api/api.h"
#include "api/database.h"
#include "api/json_body.h"
#include "net/blocking.h"
#include "net/limits.h"
#include "net/query.h"
#include "net/streaming.h"

#include <stdlib.h>

enum { MOST_CHANNELS = 1000, WOKEN_AT_ONCE = 64, FEW_STREAMS = 16 };

/* --- the stream as the body of an answer --- */

static int body_fill(void *state, struct iovec *vectors, int count)
{
    return stream_fill(state, vectors, count);
}

static void body_advance(void *state, size_t length)
{
    stream_advance(state, length);
}

static void body_close(void *state, bool whole)
{
    (void)whole;
    stream_close(state);
}

static enum body_more replay(struct stream *stream, struct worker *worker)
{
    if (worker == NULL || blocking_begin(worker) != 0) {
        stream_stall(stream);
        return BODY_IDLE;
    }
    enum stream_more more = stream_replay(stream);
    blocking_end(worker);
    return more == STREAM_IDLE ? BODY_IDLE : BODY_MORE;
}

static enum body_more body_more(void *state, struct worker *worker)
{
    switch (stream_more(state)) {
    case STREAM_MORE:
        return BODY_MORE;
    case STREAM_IDLE:
        return BODY_IDLE;
    case STREAM_REPLAYS:
        return replay(state, worker);
    case STREAM_ENDED:
        break;
    }
    return BODY_END;
}

static const struct body_source_operations stream_operations = {
    .fill = body_fill, .advance = body_advance, .close = body_close, .more = body_more};

/* --- opening --- */

struct channel_list {
    char decoded[HTTP_REQUEST_LINE_BYTES];
    struct text names[MOST_CHANNELS];
    size_t count;
};

static bool contains(const struct channel_list *list, struct text name)
{
    for (size_t i = 0; i < list->count; i++) {
        if (text_equals(list->names[i], name))
            return true;
    }
    return false;
}

/* Returns NULL, or what is wrong with the name. */
static const char *add_channel(struct channel_list *list, struct text name)
{
    if (name.length > NAME_BYTES)
        return "holds a channel that is longer than 255 bytes";
    if (!text_is_utf8(name))
        return "is not valid UTF-8";
    if (text_has_control(name))
        return "holds a control character";
    if (name.length == 0 || contains(list, name))
        return NULL;
    if (list->count == MOST_CHANNELS)
        return "names more than 1000 channels";
    list->names[list->count++] = name;
    return NULL;
}

static int read_channels(const struct request *request, struct channel_list *list, struct response *response)
{
    size_t length = 0;
    const char *fault = NULL;
    list->count = 0;
    if (query_find(request->query, "channels", list->decoded, sizeof list->decoded, &length) != QUERY_FOUND)
        length = 0; /* no query is longer than a request line */
    struct text rest = {.bytes = list->decoded, .length = length};
    while (rest.length > 0 && fault == NULL)
        fault = add_channel(list, text_cut(&rest, ','));
    if (fault == NULL && list->count > 0)
        return 0;
    response_error(response, 400, "the parameter channels %s", fault == NULL ? "is missing" : fault);
    return -1;
}

/* Where the client has left off. */
struct resumption {
    bool wanted;
    uint64_t after;
};

/* Digits alone; a number that no id reaches counts as the highest one. */
static int parse_event_id(struct text text, uint64_t *id)
{
    if (text.length == 0)
        return -1;
    for (size_t i = 0; i < text.length; i++) {
        if (text.bytes[i] < '0' || text.bytes[i] > '9')
            return -1;
    }
    if (text_parse_number(text, 0, INT64_MAX, id) != 0)
        *id = INT64_MAX;
    return 0;
}

static int read_resumption(const struct request *request, struct resumption *resumption,
                           struct response *response)
{
    char value[NUMBER_BYTES];
    size_t length = 0;
    *resumption = (struct resumption){.wanted = false};
    enum query_result found = query_find(request->query, "lastEventId", value, sizeof value, &length);
    bool good = found == QUERY_FOUND &&
                parse_event_id((struct text){.bytes = value, .length = length}, &resumption->after) == 0;
    if (found != QUERY_MISSING && !good) {
        response_error(response, 400, "the parameter lastEventId must be a whole number");
        return -1;
    }
    resumption->wanted = good;
    uint64_t from_header;
    if (parse_event_id(request->headers[HEADER_LAST_EVENT_ID], &from_header) == 0)
        *resumption = (struct resumption){.wanted = true, .after = from_header};
    return 0;
}

static bool confirm(void *context, struct text channel)
{
    stream_confirm(context, channel);
    return true;
}

/* Looks up what the user is subscribed to, and how far the events have got. */
static int look_up(struct server *server, const struct request *request, struct text user,
                   struct stream *stream, uint64_t *newest_id, struct response *response)
{
    if (database_begin(request, response) != 0)
        return -1;
    int64_t deadline_at = database_deadline();
    enum storage_result result = storage_subscriptions(server->storage, user, confirm, stream, deadline_at);
    if (result == STORAGE_OK)
        result = storage_newest_id(server->storage, newest_id, deadline_at);
    blocking_end(request->worker);
    answer_database_error(response, result);
    if (result != STORAGE_OK)
        return -1;
    if (stream_drop_unconfirmed(stream) > 0)
        return 0;
    response_error(response, 403, "the user is subscribed to none of these channels");
    return -1;
}

static void answer_stream(struct stream *stream, struct response *response)
{
    response->status = 200;
    response->content_type = "text/event-stream";
    response_header(response, "Cache-Control", TEXT("no-cache"));
    response_header(response, "X-Accel-Buffering", TEXT("no"));
    buffer_append_text(response->body, "retry: 2000\n\n");
    response->source =
        (struct body_source){.operations = &stream_operations, .state = stream, .endless = true};
}

static void open_stream(struct server *server, const struct request *request,
                        const struct channel_list *channels, struct response *response)
{
    struct name user;
    struct resumption resumption;
    if (parameter_name(request, "userId", &user, response) != 0 ||
        read_resumption(request, &resumption, response) != 0)
        return;
    struct stream *stream =
        stream_open(server->hub, user.text, channels->names, channels->count, streaming_token(request));
    if (stream == NULL) {
        response_out_of_memory(response);
        return;
    }
    uint64_t newest_id = 0;
    if (look_up(server, request, user.text, stream, &newest_id, response) != 0) {
        stream_close(stream);
        return;
    }
    bool replay_some = resumption.wanted && resumption.after < newest_id;
    stream_start(stream, replay_some ? resumption.after : newest_id);
    answer_stream(stream, response);
}

void api_stream(void *context, struct request *request, struct response *response)
{
    struct channel_list *channels = malloc(sizeof *channels);
    if (channels == NULL)
        response_out_of_memory(response);
    else if (read_channels(request, channels, response) == 0)
        open_stream(context, request, channels, response);
    free(channels);
}

void api_active_connections(void *context, struct request *request, struct response *response)
{
    (void)request;
    struct server *server = context;
    response_json(response, 200);
    buffer_append_text(response->body, "{\"count\":");
    buffer_append_number(response->body, hub_stream_count(server->hub));
    buffer_append_text(response->body, "}");
}

/* --- waking --- */

struct wake_job {
    struct job job; /* the first member */
    struct server *server;
    struct stream_list streams;
};

static void wake_list(struct server *server, struct stream_list *streams)
{
    while (!STAILQ_EMPTY(streams))
        streaming_wake(server->http, stream_take_from_list(streams));
}

static void run_wake_job(struct job *job)
{
    struct wake_job *wake = (struct wake_job *)(void *)job;
    wake_list(wake->server, &wake->streams);
    free(wake);
}

void stream_wake_all(void *context, struct stream_list *streams, size_t count)
{
    struct server *server = context;
    while (count > FEW_STREAMS) {
        struct wake_job *wake = malloc(sizeof *wake);
        if (wake == NULL)
            break;
        *wake = (struct wake_job){.job = {.run = run_wake_job}, .server = server};
        STAILQ_INIT(&wake->streams);
        count -= stream_list_split(streams, &wake->streams, WOKEN_AT_ONCE);
        pool_submit(http_server_pool(server->http), &wake->job);
    }
    wake_list(server, streams);
}

void stream_resume(void *context, uint64_t token)
{
    struct server *server = context;
    streaming_resume(server->http, token);
}
