#include "api/parameters.h"

#include "base/clock.h"
#include "net/query.h"

/* `what` and `name_of_it` are two words of the sentence. */
static int check_name(const char *what, const char *name_of_it, struct name *name, size_t length,
                      struct response *response)
{
    name->text = (struct text){.bytes = name->bytes, .length = length};
    const char *fault = NULL;
    if (length == 0)
        fault = "is empty";
    else if (!text_is_utf8(name->text))
        fault = "is not valid UTF-8";
    else if (text_has_control(name->text))
        fault = "holds a control character";
    if (fault == NULL)
        return 0;
    response_error(response, 400, "the %s%s %s", what, name_of_it, fault);
    return -1;
}

int parameter_name_if_there(const struct request *request, const char *parameter, struct name *name,
                            struct response *response)
{
    size_t length = 0;
    switch (query_find(request->query, parameter, name->bytes, sizeof name->bytes, &length)) {
    case QUERY_MISSING:
        name->text = (struct text){.bytes = name->bytes, .length = 0};
        return 0;
    case QUERY_TOO_LONG:
        response_error(response, 400, "the parameter %s is longer than %d bytes", parameter, NAME_BYTES);
        return -1;
    case QUERY_FOUND:
        break;
    }
    return check_name("parameter ", parameter, name, length, response);
}

int parameter_name(const struct request *request, const char *parameter, struct name *name,
                   struct response *response)
{
    if (parameter_name_if_there(request, parameter, name, response) != 0)
        return -1;
    if (name->text.length > 0)
        return 0;
    response_error(response, 400, "the parameter %s is missing", parameter);
    return -1;
}

int parameter_segment(const struct request *request, const char *what, struct name *name,
                      struct response *response)
{
    size_t length = 0;
    if (query_decode_segment(request->segment, name->bytes, sizeof name->bytes, &length) == 0)
        return check_name(what, "", name, length, response);
    response_error(response, 400, "the %s is longer than %d bytes", what, NAME_BYTES);
    return -1;
}

/* Decodes a short value. Returns 1 when it is there, 0 when it is missing, -1 when it is longer than any
 * number. */
static int find_short(const struct request *request, const char *parameter, char value[NUMBER_BYTES],
                      struct text *text)
{
    size_t length = 0;
    enum query_result result = query_find(request->query, parameter, value, NUMBER_BYTES, &length);
    *text = (struct text){.bytes = value, .length = length};
    return result == QUERY_FOUND ? 1 : result == QUERY_MISSING ? 0 : -1;
}

int parameter_seconds(const struct request *request, const char *parameter, int64_t most_ns, int64_t *ns,
                      struct response *response)
{
    char value[NUMBER_BYTES];
    struct text text;
    int found = find_short(request, parameter, value, &text);
    if (found == 0 || (found > 0 && text_parse_seconds(text, most_ns, ns) == 0))
        return 0;
    response_error(response, 400, "the parameter %s must be a number of seconds from 0 to %g", parameter,
                   (double)most_ns / CLOCK_NS_PER_SECOND);
    return -1;
}

int parameter_number(const struct request *request, const char *parameter, uint64_t least, uint64_t most,
                     uint64_t *number, struct response *response)
{
    char value[NUMBER_BYTES];
    struct text text;
    int found = find_short(request, parameter, value, &text);
    if (found == 0 || (found > 0 && text_parse_number(text, least, most, number) == 0))
        return 0;
    response_error(response, 400, "the parameter %s must be a whole number from %llu to %llu", parameter,
                   (unsigned long long)least, (unsigned long long)most);
    return -1;
}

int parameter_flag(const struct request *request, const char *parameter, bool *flag,
                   struct response *response)
{
    char value[NUMBER_BYTES];
    struct text text;
    int found = find_short(request, parameter, value, &text);
    uint64_t number = *flag ? 1 : 0;
    if (found < 0 || (found > 0 && text_parse_number(text, 0, 1, &number) != 0)) {
        response_error(response, 400, "the parameter %s must be 0 or 1", parameter);
        return -1;
    }
    *flag = number == 1;
    return 0;
}
