#include "api/user_id.h"

#include "api/json_body.h"

#include <string.h>

bool id_read(struct text value, struct name *id)
{
    struct buffer strings = BUFFER_EMPTY;
    struct text decoded = {.length = 0};
    if (json_is_integer(value))
        decoded = value;
    else if (json_type_of(value) != JSON_STRING || json_string(value, &strings, &decoded) != JSON_STRING_OK ||
             text_has_control(decoded))
        decoded.length = 0;
    bool good = decoded.length > 0 && decoded.length <= NAME_BYTES;
    if (good) {
        memcpy(id->bytes, decoded.bytes, decoded.length);
        id->text = (struct text){.bytes = id->bytes, .length = decoded.length};
    }
    buffer_free(&strings);
    return good;
}

int user_id_read(struct text value, struct user_id *user, struct response *response)
{
    user->as_sent = value;
    if (json_type_of(value) == JSON_STRING)
        return json_member_name(value, "userId", &user->name, response);
    if (json_is_integer(value) && value.length <= NAME_BYTES) {
        memcpy(user->name.bytes, value.bytes, value.length);
        user->name.text = (struct text){.bytes = user->name.bytes, .length = value.length};
        return 0;
    }
    response_error(response, 400,
                   json_is_integer(value) ? "userId is longer than 255 bytes"
                                          : "userId must be an integer or a string");
    return -1;
}
