#include "api/planned.h"

#include "api/database.h"
#include "base/json.h"
#include "base/json_read.h"
#include "net/blocking.h"

int planned_read_page(const struct request *request, struct name *after, uint64_t *limit,
                      struct response *response)
{
    if (parameter_name_if_there(request, "afterId", after, response) != 0)
        return -1;
    return parameter_number(request, "limit", 1, INT64_MAX, limit, response);
}

static void note_user(void *context, size_t index, struct text attributes)
{
    (void)index;
    (void)attributes;
    bool *found = context;
    *found = true;
}

bool planned_user_is_known(struct server *server, struct text user, const struct request *request,
                           struct response *response, unsigned status, const char *error)
{
    bool found = false;
    if (database_begin(request, response) != 0)
        return false;
    enum storage_result result =
        storage_planned_users_named(server->storage, &user, 1, note_user, &found, database_deadline());
    blocking_end(request->worker);
    if (result != STORAGE_OK)
        answer_database_error(response, result);
    else if (!found)
        response_error(response, status, "%s", error);
    return result == STORAGE_OK && found;
}

/* These have their places; what else says them is passed over. */
static bool has_a_place(struct text name)
{
    return json_name_is(name, TEXT("id")) || json_name_is(name, TEXT("userName")) ||
           json_name_is(name, TEXT("email")) || json_name_is(name, TEXT("events"));
}

/* The other members of an object, which may be empty. */
static void append_others(struct buffer *buffer, struct text object)
{
    struct json_walk walk;
    struct text name, value;
    if (object.length == 0)
        return;
    json_walk_begin(&walk, object);
    while (json_walk_member(&walk, &name, &value)) {
        if (has_a_place(name))
            continue;
        buffer_append_text(buffer, ",");
        buffer_append(buffer, name.bytes, name.length);
        buffer_append_text(buffer, ":");
        buffer_append(buffer, value.bytes, value.length);
    }
}

static void append_member(struct buffer *buffer, const char *name, struct text value, struct text otherwise)
{
    struct text chosen = value.length > 0 ? value : otherwise;
    buffer_printf(buffer, ",\"%s\":", name);
    if (chosen.length > 0)
        buffer_append(buffer, chosen.bytes, chosen.length);
    else
        buffer_append_text(buffer, "null");
}

void planned_append_user(struct buffer *buffer, struct text id, struct text table, struct text stored)
{
    const struct text names[] = {TEXT("userName"), TEXT("email")};
    struct text in_table[2] = {{.length = 0}, {.length = 0}};
    struct text in_stored[2] = {{.length = 0}, {.length = 0}};
    if (table.length > 0)
        json_members(table, names, in_table, 2);
    if (stored.length > 0)
        json_members(stored, names, in_stored, 2);
    buffer_append_text(buffer, "{\"id\":");
    json_append_string(buffer, id);
    append_member(buffer, "userName", in_table[0], in_stored[0]);
    append_member(buffer, "email", in_table[1], in_stored[1]);
    append_others(buffer, table.length > 0 ? table : stored);
    buffer_append_text(buffer, ",\"events\":[");
}
