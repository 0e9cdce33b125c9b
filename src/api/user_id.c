#include "api/user_id.h"

#include "api/json_body.h"

#include <string.h>

static bool is_integer(struct text number)
{
    size_t sign = number.length > 0 && number.bytes[0] == '-' ? 1 : 0;
    for (size_t i = sign; i < number.length; i++) {
        if (number.bytes[i] < '0' || number.bytes[i] > '9')
            return false;
    }
    return number.length > sign && number.length <= NAME_BYTES;
}

bool id_read(struct text value, struct name *id)
{
    struct buffer strings = BUFFER_EMPTY;
    struct text decoded = {.length = 0};
    enum json_type type = json_type_of(value);
    if (type == JSON_NUMBER && is_integer(value))
        decoded = value;
    else if (type != JSON_STRING || json_string(value, &strings, &decoded) != JSON_STRING_OK ||
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
    enum json_type type = json_type_of(value);
    user->as_sent = value;
    if (type == JSON_STRING)
        return json_member_name(value, "userId", &user->name, response);
    if (type == JSON_NUMBER && is_integer(value)) {
        memcpy(user->name.bytes, value.bytes, value.length);
        user->name.text = (struct text){.bytes = user->name.bytes, .length = value.length};
        return 0;
    }
    response_error(response, 400, "userId must be an integer or a string");
    return -1;
}
