/* Section 4 of the API: users, each with the ids of its events.
 *
 * Users come in this order: those of the reference table, in the table's order; then those whom only the database knows (they
 * came from the upstream, or with an event), by the bytes of their ids. The list is made a batch of users at a time; of a
 * batch, the ids of events are read a page at a time, so that a user may have any number. The table that was there at
 * the beginning is held until the end.
 */
#include "api/api.h"
#include "api/database.h"
#include "api/json_body.h"
#include "api/list.h"
#include "api/planned.h"
#include "base/json.h"

#include <stdlib.h>
#include <string.h>

enum { USERS_AT_ONCE = 256, EVENT_IDS_AT_ONCE = 2000 };

struct user_entry {
    size_t id_at; /* in `texts` */
    size_t id_length;
    struct text in_table;
    size_t stored_at; /* in `texts` */
    size_t stored_length;
};

struct user_list {
    struct storage *storage;
    struct reference *reference; /* held; NULL: there is none */
    uint32_t next_in_table;      /* at the table's count: all the others follow */
    struct buffer after;         /* the id of the last one of the others */
    uint64_t left;               /* of the limit */
    bool begun;
    bool ended;
    /* The batch; what is read of it so far. */
    struct user_entry users[USERS_AT_ONCE];
    size_t count;
    struct buffer texts;
    size_t at;         /* the user whose events are being read */
    bool open;         /* its head is written */
    bool has_events;   /* and an id */
    uint64_t position; /* of that */
    /* While a page is made. */
    struct buffer *page;
    size_t found;
};

static void user_list_free(void *state)
{
    struct user_list *list = state;
    reference_release(list->reference);
    buffer_free(&list->after);
    buffer_free(&list->texts);
    free(list);
}

static struct text id_of(const struct user_list *list, size_t index)
{
    const struct user_entry *user = &list->users[index];
    return (struct text){.bytes = list->texts.bytes + user->id_at, .length = user->id_length};
}

/* --- a batch of users --- */

static struct user_entry *add_user(struct user_list *list, struct text id)
{
    struct user_entry *user = &list->users[list->count++];
    *user = (struct user_entry){.id_at = list->texts.length, .id_length = id.length};
    buffer_append(&list->texts, id.bytes, id.length);
    return user;
}

static void set_stored(struct user_list *list, struct user_entry *user, struct text attributes)
{
    user->stored_at = list->texts.length;
    user->stored_length = attributes.length;
    buffer_append(&list->texts, attributes.bytes, attributes.length);
}

static void visit_named(void *context, size_t index, struct text attributes)
{
    struct user_list *list = context;
    set_stored(list, &list->users[index], attributes);
}

static uint32_t table_count(const struct user_list *list)
{
    return list->reference == NULL ? 0 : reference_user_count(list->reference);
}

static size_t most_users(const struct user_list *list)
{
    return list->left < USERS_AT_ONCE ? (size_t)list->left : USERS_AT_ONCE;
}

static enum storage_result load_from_table(struct user_list *list)
{
    struct text ids[USERS_AT_ONCE];
    size_t most = most_users(list);
    size_t bytes = 0;
    while (list->count < most && bytes < LIST_PAGE_BYTES && list->next_in_table < table_count(list)) {
        struct reference_user known = reference_user(list->reference, list->next_in_table++);
        ids[list->count] = known.id;
        add_user(list, known.id)->in_table = known.attributes;
        bytes += known.attributes.length;
    }
    return storage_planned_users_named(list->storage, ids, list->count, visit_named, list,
                                       database_deadline());
}

static bool visit_other(void *context, const struct storage_planned_user *user)
{
    struct user_list *list = context;
    list->found++;
    buffer_clear(&list->after);
    buffer_append(&list->after, user->id.bytes, user->id.length);
    if (list->reference == NULL || reference_find(list->reference, user->id) == REFERENCE_NONE)
        set_stored(list, add_user(list, user->id), user->attributes);
    return true;
}

/* Those who are in the table too have been listed: there may be none left of one read, and more to come. */
static enum storage_result load_others(struct user_list *list)
{
    list->found = 0;
    struct buffer from = list->after;
    list->after = BUFFER_EMPTY;
    enum storage_result result =
        storage_planned_users(list->storage, (struct text){.bytes = from.bytes, .length = from.length},
                              most_users(list), LIST_PAGE_BYTES, visit_other, list, database_deadline());
    buffer_free(&from);
    list->ended = list->found == 0;
    return result == STORAGE_OK && list->after.failed ? STORAGE_NO_MEMORY : result;
}

/* Loads the next users, or finds the end of the list. */
static enum storage_result load_batch(struct user_list *list)
{
    list->count = 0;
    list->at = 0;
    buffer_clear(&list->texts);
    list->ended = list->left == 0;
    if (list->ended)
        return STORAGE_OK;
    enum storage_result result =
        list->next_in_table < table_count(list) ? load_from_table(list) : load_others(list);
    list->left -= list->count;
    return result == STORAGE_OK && list->texts.failed ? STORAGE_NO_MEMORY : result;
}

/* --- writing --- */

static void open_user(struct user_list *list)
{
    const struct user_entry *user = &list->users[list->at];
    struct text stored = {.bytes = list->texts.bytes + user->stored_at, .length = user->stored_length};
    if (list->open)
        return;
    buffer_append_text(list->page, list->begun ? "," : "[");
    planned_append_user(list->page, id_of(list, list->at), user->in_table, stored);
    list->begun = true;
    list->open = true;
    list->has_events = false;
}

static void close_user(struct user_list *list)
{
    open_user(list);
    buffer_append_text(list->page, "]}");
    list->open = false;
    list->position = 0;
    list->at++;
}

static bool visit_event_id(void *context, size_t index, uint64_t position, struct text id)
{
    struct user_list *list = context;
    while (list->at < index)
        close_user(list);
    open_user(list);
    if (list->has_events)
        buffer_append_text(list->page, ",");
    json_append_string(list->page, id);
    list->has_events = true;
    list->position = position;
    list->found++;
    return true;
}

/* Writes the batch as far as one read of event ids goes. */
static enum storage_result write_some(struct user_list *list)
{
    struct text ids[USERS_AT_ONCE];
    for (size_t i = list->at; i < list->count; i++)
        ids[i] = id_of(list, i);
    struct storage_event_ids_range range = {.users = ids,
                                            .user_count = list->count,
                                            .first_user = list->at,
                                            .after = list->position,
                                            .limit = EVENT_IDS_AT_ONCE};
    list->found = 0;
    enum storage_result result =
        storage_planned_event_ids(list->storage, &range, visit_event_id, list, database_deadline());
    if (result == STORAGE_OK && list->found < EVENT_IDS_AT_ONCE) {
        while (list->at < list->count)
            close_user(list);
    }
    return result;
}

static enum list_progress produce(void *state, struct buffer *page, enum storage_result *error)
{
    struct user_list *list = state;
    list->page = page;
    *error = list->at == list->count ? load_batch(list) : STORAGE_OK;
    if (*error == STORAGE_OK && list->count > 0)
        *error = write_some(list);
    if (*error != STORAGE_OK)
        return LIST_FAILED;
    if (!list->ended)
        return LIST_MORE;
    buffer_append_text(page, list->begun ? "]" : "[]");
    return LIST_DONE;
}

/* Goes behind the user of `afterId`. */
static int find_start(struct server *server, struct user_list *list, struct text after,
                      const struct request *request, struct response *response)
{
    uint32_t number = list->reference == NULL ? REFERENCE_NONE : reference_find(list->reference, after);
    if (number != REFERENCE_NONE) {
        list->next_in_table = number + 1;
        return 0;
    }
    list->next_in_table = table_count(list);
    buffer_append(&list->after, after.bytes, after.length);
    if (list->after.failed) {
        response_out_of_memory(response);
        return -1;
    }
    return planned_user_is_known(server, after, request, response, 400, "the parameter afterId names no user")
               ? 0
               : -1;
}

void api_users(void *context, struct request *request, struct response *response)
{
    struct server *server = context;
    struct name after;
    struct user_list *list = calloc(1, sizeof *list);
    if (list == NULL) {
        response_out_of_memory(response);
        return;
    }
    list->storage = server->storage;
    list->left = UINT64_MAX;
    if (planned_read_page(request, &after, &list->left, response) != 0) {
        free(list);
        return;
    }
    list->reference = metrics_reference(server->metrics);
    if (after.text.length > 0 && find_start(server, list, after.text, request, response) != 0) {
        user_list_free(list);
        return;
    }
    list_send(request, response,
              (struct list_producer){.produce = produce, .free = user_list_free, .state = list});
}
