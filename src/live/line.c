#include "live/line.h"

#include "base/json.h"
#include "base/json_read.h"

#include <string.h>

static const char *read_user(struct text value, struct live_line *line)
{
    struct buffer strings = BUFFER_EMPTY;
    struct text user = {.length = 0};
    const char *fault = NULL;
    enum json_type type = json_type_of(value);
    if (json_is_integer(value))
        user = value;
    else if (type != JSON_STRING)
        fault = "userId must be an integer or a string";
    else if (json_string(value, &strings, &user) != JSON_STRING_OK)
        fault = "userId is not valid Unicode";
    if (fault == NULL && user.length > LIVE_USER_BYTES)
        fault = "userId is longer than 255 bytes";
    else if (fault == NULL && text_has_control(user))
        fault = "userId holds a control character";
    if (fault == NULL) {
        memcpy(line->user, user.bytes, user.length);
        line->user_length = user.length;
    }
    buffer_free(&strings);
    return fault;
}

static const char *read_name(struct text value, struct live_line *line)
{
    struct buffer strings = BUFFER_EMPTY;
    struct text name = {.length = 0};
    bool known = json_type_of(value) == JSON_STRING && json_string(value, &strings, &name) == JSON_STRING_OK;
    line->subtracts = known && text_equals(name, TEXT("subtract_revenue"));
    known = line->subtracts || (known && text_equals(name, TEXT("add_revenue")));
    buffer_free(&strings);
    return known ? NULL : "name must be add_revenue or subtract_revenue";
}

static const char *read_value(struct text value, struct live_line *line)
{
    if (json_type_of(value) != JSON_NUMBER)
        return "value must be a number";
    if (decimal_parse(value, &line->value) != DECIMAL_OK || !decimal_fits(&line->value, LIVE_WHOLE_DIGITS))
        return "value has more than 18 digits before the point, or behind it";
    return NULL;
}

static bool is_missing(struct text value)
{
    return json_type_of(value) == JSON_NULL || text_equals(value, TEXT("\"\""));
}

const char *live_line_read(struct text json, struct live_line *line)
{
    const struct text names[] = {TEXT("userId"), TEXT("name"), TEXT("value")};
    struct text values[3];
    if (json_type_of(json) != JSON_OBJECT)
        return "an event must be an object";
    json_members(json, names, values, 3);
    for (int i = 0; i < 3; i++) {
        if (is_missing(values[i]))
            return "Missing required fields";
    }
    const char *fault = read_user(values[0], line);
    if (fault == NULL)
        fault = read_name(values[1], line);
    return fault == NULL ? read_value(values[2], line) : fault;
}

void live_line_append(struct buffer *buffer, const struct live_line *line)
{
    char number[DECIMAL_BYTES];
    struct text value = decimal_format(&line->value, number);
    buffer_append_text(buffer, "{\"userId\":");
    json_append_string(buffer, (struct text){.bytes = line->user, .length = line->user_length});
    buffer_append_text(buffer, line->subtracts ? ",\"name\":\"subtract_revenue\",\"value\":"
                                               : ",\"name\":\"add_revenue\",\"value\":");
    buffer_append(buffer, value.bytes, value.length);
    buffer_append_text(buffer, "}\n");
}

struct decimal live_line_amount(const struct live_line *line)
{
    struct decimal amount = line->value;
    if (line->subtracts)
        decimal_negate(&amount);
    return amount;
}
