#include "api/json_body.h"

#include "base/json.h"

#include <string.h>

int json_body_check(struct text json, size_t first_line, struct response *response)
{
    struct json_error error;
    switch (json_check(json, JSON_DEPTH, &error)) {
    case JSON_VALID:
        return 0;
    case JSON_INVALID:
        response_error(response, 400, "the body is not valid JSON: line %zu, column %zu: %s",
                       first_line + error.line - 1, error.column, error.reason);
        break;
    case JSON_NO_MEMORY:
        response_out_of_memory(response);
        break;
    }
    return -1;
}

int json_body_object(const struct request *request, struct response *response)
{
    if (request->body.length == 0) {
        response_error(response, 400, "the body is empty; it must be a JSON object");
        return -1;
    }
    if (json_body_check(request->body, 1, response) != 0)
        return -1;
    if (json_type_of(request->body) == JSON_OBJECT)
        return 0;
    response_error(response, 400, "the body must be a JSON object");
    return -1;
}

bool json_member_is_missing(struct text value)
{
    return json_type_of(value) == JSON_NULL || text_equals(value, TEXT("\"\""));
}

int json_member_name(struct text value, const char *field, struct name *name, struct response *response)
{
    if (json_type_of(value) != JSON_STRING) {
        response_error(response, 400, "%s must be a string", field);
        return -1;
    }
    struct buffer storage = BUFFER_EMPTY;
    struct text decoded = {.length = 0};
    enum json_string_result result = json_string(value, &storage, &decoded);
    const char *fault = NULL;
    if (result == JSON_STRING_BAD)
        fault = "is not valid Unicode";
    else if (decoded.length > NAME_BYTES)
        fault = "is longer than 255 bytes";
    else if (result == JSON_STRING_OK && text_has_control(decoded))
        fault = "holds a control character";
    if (result == JSON_STRING_NO_MEMORY) {
        response_out_of_memory(response);
    } else if (fault != NULL) {
        response_error(response, 400, "%s %s", field, fault);
    } else {
        memcpy(name->bytes, decoded.bytes, decoded.length);
        name->text = (struct text){.bytes = name->bytes, .length = decoded.length};
    }
    buffer_free(&storage);
    return result == JSON_STRING_OK && fault == NULL ? 0 : -1;
}
