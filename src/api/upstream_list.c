#include "api/upstream_list.h"

#include "api/database.h"
#include "api/upstream_answer.h"
#include "api/user_id.h"

#include <stdlib.h>
#include <string.h>

enum { ENTRIES_AT_ONCE = 500, BYTES_AT_ONCE = 1024 * 1024, PARTS = 4 };

/* What an entry is stored as: of a user its id and attributes; of an event id, name, user and details. */
struct part {
    size_t at; /* in the texts of the batch */
    size_t length;
};

struct batch {
    enum storage_write_kind kind;
    struct buffer texts;
    struct buffer strings; /* decoded names */
    size_t count;
    struct part parts[ENTRIES_AT_ONCE][PARTS];
};

/* Lives on the heap, as its outcome may come later than the refresher waits. */
struct merge_write {
    struct storage_write write; /* the first member; freed by the storage when it is abandoned */
    struct storage_planned_user users[ENTRIES_AT_ONCE];
    struct storage_planned_event events[ENTRIES_AT_ONCE];
    char bytes[];
};

enum upstream_verdict upstream_list_judge(void *context, struct text body)
{
    (void)context;
    return upstream_answer_judge(body, JSON_ARRAY);
}

/* --- storing --- */

static struct text text_of(const struct merge_write *write, const struct part *part)
{
    return (struct text){.bytes = write->bytes + part->at, .length = part->length};
}

static struct merge_write *merge_write_create(const struct batch *batch)
{
    struct merge_write *write = malloc(sizeof *write + batch->texts.length);
    if (write == NULL)
        return NULL;
    memcpy(write->bytes, batch->texts.bytes, batch->texts.length);
    for (size_t i = 0; i < batch->count; i++) {
        const struct part *parts = batch->parts[i];
        if (batch->kind == STORAGE_MERGE_USERS)
            write->users[i] = (struct storage_planned_user){.id = text_of(write, &parts[0]),
                                                            .attributes = text_of(write, &parts[1])};
        else
            write->events[i] = (struct storage_planned_event){.id = text_of(write, &parts[0]),
                                                              .name = text_of(write, &parts[1]),
                                                              .user = text_of(write, &parts[2]),
                                                              .details = text_of(write, &parts[3])};
    }
    write->write = (struct storage_write){
        .kind = batch->kind, .users = write->users, .events = write->events, .count = batch->count};
    return write;
}

static enum storage_result flush(struct upstream_merge *merge, struct batch *batch)
{
    if (batch->count == 0)
        return STORAGE_OK;
    if (merge->should_stop(merge->context))
        return STORAGE_AWAY;
    struct merge_write *write = batch->texts.failed ? NULL : merge_write_create(batch);
    batch->count = 0;
    buffer_clear(&batch->texts);
    if (write == NULL)
        return STORAGE_NO_MEMORY;
    enum storage_result result = storage_write(merge->storage, &write->write, database_deadline());
    if (result != STORAGE_UNKNOWN)
        free(write);
    return result;
}

/* --- reading --- */

static void set_part(struct batch *batch, int number, struct text text)
{
    batch->parts[batch->count][number] = (struct part){.at = batch->texts.length, .length = text.length};
    buffer_append(&batch->texts, text.bytes, text.length);
}

/* The members but those that have places of their own. */
static void set_attributes(struct batch *batch, struct text entry)
{
    struct json_walk walk;
    struct text name, value;
    struct part *part = &batch->parts[batch->count][1];
    size_t start = batch->texts.length;
    buffer_append_text(&batch->texts, "{");
    json_walk_begin(&walk, entry);
    while (json_walk_member(&walk, &name, &value)) {
        if (json_name_is(name, TEXT("id")) || json_name_is(name, TEXT("events")))
            continue;
        buffer_append_text(&batch->texts, batch->texts.length == start + 1 ? "" : ",");
        buffer_append(&batch->texts, name.bytes, name.length);
        buffer_append_text(&batch->texts, ":");
        json_append_compact(&batch->texts, value);
    }
    buffer_append_text(&batch->texts, "}");
    *part = (struct part){.at = start, .length = batch->texts.length - start};
}

static bool add_user(struct batch *batch, struct text entry)
{
    const struct text names[] = {TEXT("id")};
    struct text value;
    struct name id;
    json_members(entry, names, &value, 1);
    if (!id_read(value, &id))
        return false;
    set_part(batch, 0, id.text);
    set_attributes(batch, entry);
    return true;
}

static void set_details(struct batch *batch, struct text details)
{
    size_t start = batch->texts.length;
    if (json_type_of(details) != JSON_NULL)
        json_append_compact(&batch->texts, details);
    batch->parts[batch->count][3] = (struct part){.at = start, .length = batch->texts.length - start};
}

static bool add_event(struct batch *batch, struct text entry)
{
    const struct text names[] = {TEXT("id"), TEXT("name"), TEXT("userId"), TEXT("details")};
    struct text values[4], name;
    struct name id, user;
    json_members(entry, names, values, 4);
    buffer_clear(&batch->strings);
    if (!id_read(values[0], &id) || !id_read(values[2], &user) || json_type_of(values[1]) != JSON_STRING ||
        json_string(values[1], &batch->strings, &name) != JSON_STRING_OK ||
        memchr(name.bytes, '\0', name.length) != NULL)
        return false;
    set_part(batch, 0, id.text);
    set_part(batch, 1, name);
    set_part(batch, 2, user.text);
    set_details(batch, values[3]);
    return true;
}

static enum storage_result merge_list(struct upstream_merge *merge, struct text list, struct batch *batch)
{
    struct json_walk walk;
    struct text entry;
    enum storage_result result = STORAGE_OK;
    merge->skipped = 0;
    json_walk_begin(&walk, list);
    while (result == STORAGE_OK && json_walk_element(&walk, &entry)) {
        bool usable = json_type_of(entry) == JSON_OBJECT && entry.length <= UPSTREAM_ENTRY_BYTES &&
                      (batch->kind == STORAGE_MERGE_USERS ? add_user(batch, entry) : add_event(batch, entry));
        if (usable)
            batch->count++;
        else
            merge->skipped++;
        if (batch->count == ENTRIES_AT_ONCE || batch->texts.length >= BYTES_AT_ONCE)
            result = flush(merge, batch);
    }
    return result == STORAGE_OK ? flush(merge, batch) : result;
}

static enum storage_result merge_kind(struct upstream_merge *merge, struct text list,
                                      enum storage_write_kind kind)
{
    struct batch *batch = calloc(1, sizeof *batch);
    if (batch == NULL)
        return STORAGE_NO_MEMORY;
    batch->kind = kind;
    enum storage_result result = merge_list(merge, list, batch);
    buffer_free(&batch->texts);
    buffer_free(&batch->strings);
    free(batch);
    return result;
}

enum storage_result upstream_list_merge_users(struct upstream_merge *merge, struct text list)
{
    return merge_kind(merge, list, STORAGE_MERGE_USERS);
}

enum storage_result upstream_list_merge_events(struct upstream_merge *merge, struct text list)
{
    return merge_kind(merge, list, STORAGE_MERGE_EVENTS);
}
