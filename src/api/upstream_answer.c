#include "api/upstream_answer.h"

#include "api/json_body.h"
#include "base/json.h"

enum upstream_verdict upstream_answer_judge(struct text body, enum json_type type)
{
    struct json_error error;
    switch (json_check(body, JSON_DEPTH, &error)) {
    case JSON_NO_MEMORY:
        return UPSTREAM_UNSURE;
    case JSON_INVALID:
        return UPSTREAM_BAD;
    case JSON_VALID:
        break;
    }
    return json_type_of(body) == type ? UPSTREAM_GOOD : UPSTREAM_BAD;
}
