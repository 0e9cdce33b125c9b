#include "api/reference_users.h"

#include "api/parameters.h"

#include <string.h>

/* Of a bad user's id: the fault must fit behind it into the answer (net/response.h). */
enum { SHOWN_BYTES = 80 };

struct reading {
    struct reference_builder *builder;
    struct buffer *reason;
    struct buffer strings; /* decoded; large enough not to move */
    struct buffer attributes;
};

static enum reference_users_result bad(struct reading *reading, struct text id, const char *fault)
{
    struct text shown = id;
    if (id.length > SHOWN_BYTES) {
        shown.length = SHOWN_BYTES;
        shown.length = text_utf8_length(shown); /* no half of a character */
    }
    buffer_clear(reading->reason);
    buffer_printf(reading->reason, "user_metadata: the user %.*s%s %s", (int)shown.length, shown.bytes,
                  shown.length < id.length ? "..." : "", fault);
    return REFERENCE_USERS_BAD;
}

/* A plan or region: a string of any length, or none. Returns false for anything else. */
static bool read_value(struct reading *reading, struct text value, struct text *decoded)
{
    *decoded = (struct text){.bytes = NULL};
    if (json_type_of(value) == JSON_NULL)
        return true;
    return json_type_of(value) == JSON_STRING &&
           json_string(value, &reading->strings, decoded) == JSON_STRING_OK;
}

static bool is_id(struct text id)
{
    return id.length > 0 && id.length <= NAME_BYTES && !text_has_control(id);
}

static enum reference_users_result add_user(struct reading *reading, struct text name, struct text value)
{
    const struct text names[] = {TEXT("plan"), TEXT("region")};
    struct text values[2], id, plan, region;
    buffer_clear(&reading->strings);
    buffer_clear(&reading->attributes);
    if (buffer_reserve(&reading->strings, name.length + value.length) != 0)
        return REFERENCE_USERS_FULL;
    if (json_string(name, &reading->strings, &id) != JSON_STRING_OK || !is_id(id))
        return bad(reading, name, "has an id that is not 1 to 255 bytes of text without control characters");
    if (json_type_of(value) != JSON_OBJECT)
        return bad(reading, name, "must be an object");
    if (value.length > REFERENCE_USER_BYTES)
        return bad(reading, name, "has more than 1048576 bytes");
    json_members(value, names, values, 2);
    if (!read_value(reading, values[0], &plan))
        return bad(reading, name, "has a plan that is not a string");
    if (!read_value(reading, values[1], &region))
        return bad(reading, name, "has a region that is not a string");
    json_append_compact(&reading->attributes, value);
    struct text attributes = {.bytes = reading->attributes.bytes, .length = reading->attributes.length};
    if (reading->attributes.failed ||
        reference_add(reading->builder, id, plan, region, attributes) != REFERENCE_OK)
        return REFERENCE_USERS_FULL;
    return REFERENCE_USERS_OK;
}

enum reference_users_result reference_users_add(struct reference_builder *builder, struct text users,
                                                struct buffer *reason)
{
    struct reading reading = {.builder = builder, .reason = reason};
    enum reference_users_result result = REFERENCE_USERS_OK;
    struct json_walk walk;
    struct text name, value;
    json_walk_begin(&walk, users);
    while (result == REFERENCE_USERS_OK && json_walk_member(&walk, &name, &value))
        result = add_user(&reading, name, value);
    buffer_free(&reading.strings);
    buffer_free(&reading.attributes);
    return result;
}

bool reference_users_next_piece(struct json_walk *walk, struct buffer *piece)
{
    struct text name, value;
    buffer_clear(piece);
    while (piece->length < REFERENCE_PIECE_BYTES && json_walk_member(walk, &name, &value)) {
        buffer_append_text(piece, piece->length == 0 ? "{" : ",");
        buffer_append(piece, name.bytes, name.length);
        buffer_append_text(piece, ":");
        json_append_compact(piece, value);
    }
    if (piece->length == 0)
        return false;
    buffer_append_text(piece, "}");
    return true;
}
