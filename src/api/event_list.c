/* Section 4 of the API: planned events, all of them or those of a user. */
#include "api/api.h"
#include "api/database.h"
#include "api/json_body.h"
#include "api/list.h"
#include "api/planned.h"
#include "base/json.h"
#include "net/blocking.h"

#include <stdlib.h>

enum { EVENTS_AT_ONCE = 1000 };

struct event_list {
    struct storage *storage;
    struct name user;  /* empty: events of all */
    uint64_t position; /* of the last one that was sent */
    uint64_t left;     /* of the limit */
    bool begun;
    /* While a page is made. */
    struct buffer *page;
    size_t count;
};

void planned_append_event(struct buffer *buffer, const struct storage_planned_event *event)
{
    buffer_append_text(buffer, "{\"id\":");
    json_append_string(buffer, event->id);
    buffer_append_text(buffer, ",\"name\":");
    json_append_string(buffer, event->name);
    buffer_append_text(buffer, ",\"userId\":");
    json_append_string(buffer, event->user);
    buffer_append_text(buffer, ",\"details\":");
    if (event->details.length > 0)
        buffer_append(buffer, event->details.bytes, event->details.length);
    else
        buffer_append_text(buffer, "null");
    buffer_append_text(buffer, "}");
}

static bool append_event(void *context, const struct storage_planned_event *event)
{
    struct event_list *list = context;
    buffer_append_text(list->page, list->begun ? "," : "[");
    planned_append_event(list->page, event);
    list->begun = true;
    list->position = event->position;
    list->count++;
    return true;
}

static enum list_progress produce(void *state, struct buffer *page, enum storage_result *error)
{
    struct event_list *list = state;
    size_t limit = list->left < EVENTS_AT_ONCE ? (size_t)list->left : EVENTS_AT_ONCE;
    size_t start = page->length;
    list->page = page;
    list->count = 0;
    struct storage_planned_range range = {
        .user = list->user.text, .after = list->position, .limit = limit, .most_bytes = LIST_PAGE_BYTES};
    *error = limit == 0
                 ? STORAGE_OK
                 : storage_planned_events(list->storage, &range, append_event, list, database_deadline());
    if (*error != STORAGE_OK)
        return LIST_FAILED;
    list->left -= list->count;
    /* A page of the database may also have ended for its bytes. */
    if (list->left > 0 && list->count > 0 &&
        (list->count == limit || page->length - start >= LIST_PAGE_BYTES))
        return LIST_MORE;
    buffer_append_text(page, list->begun ? "]" : "[]");
    return LIST_DONE;
}

static struct event_list *event_list_create(struct server *server, const struct name *user)
{
    struct event_list *list = calloc(1, sizeof *list);
    if (list == NULL)
        return NULL;
    list->storage = server->storage;
    list->left = UINT64_MAX;
    if (user != NULL) {
        list->user = *user;
        list->user.text.bytes = list->user.bytes;
    }
    return list;
}

/* Finds where the list begins. */
static int find_start(struct event_list *list, const struct request *request, struct response *response)
{
    struct name after;
    bool found = true;
    if (planned_read_page(request, &after, &list->left, response) != 0)
        return -1;
    if (after.text.length == 0)
        return 0;
    if (database_begin(request, response) != 0)
        return -1;
    enum storage_result result =
        storage_planned_position(list->storage, after.text, &list->position, &found, database_deadline());
    blocking_end(request->worker);
    if (result != STORAGE_OK)
        answer_database_error(response, result);
    else if (!found)
        response_error(response, 400, "the parameter afterId names no event");
    return result == STORAGE_OK && found ? 0 : -1;
}

static void send_events(struct server *server, const struct name *user, struct request *request,
                        struct response *response)
{
    struct event_list *list = event_list_create(server, user);
    if (list == NULL) {
        response_out_of_memory(response);
        return;
    }
    if (find_start(list, request, response) != 0) {
        free(list);
        return;
    }
    list_send(request, response, (struct list_producer){.produce = produce, .free = free, .state = list});
}

void api_planned_events(void *context, struct request *request, struct response *response)
{
    send_events(context, NULL, request, response);
}

/* Whether the reference table or the database knows the user; answers where that can't be found out, or it does not. */
static bool user_is_known(struct server *server, struct text user, const struct request *request,
                          struct response *response)
{
    struct reference *reference = metrics_reference(server->metrics);
    bool found = reference != NULL && reference_find(reference, user) != REFERENCE_NONE;
    reference_release(reference);
    return found || planned_user_is_known(server, user, request, response, 404, "there is no such user");
}

void api_events_of_user(void *context, struct request *request, struct response *response)
{
    struct server *server = context;
    struct name user;
    if (parameter_segment(request, "user id", &user, response) == 0 &&
        user_is_known(server, user.text, request, response))
        send_events(server, &user, request, response);
}
