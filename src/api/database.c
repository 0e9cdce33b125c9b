#include "api/database.h"

#include "api/json_body.h"
#include "base/clock.h"
#include "net/blocking.h"

int64_t database_deadline(void)
{
    return clock_monotonic_ns() + STORAGE_CALL_NS;
}

int database_begin(const struct request *request, struct response *response)
{
    if (blocking_begin(request->worker) == 0)
        return 0;
    response_error(response, 503, "too many requests wait for the database");
    return -1;
}

void answer_database_error(struct response *response, enum storage_result result)
{
    switch (result) {
    case STORAGE_OK:
        break;
    case STORAGE_AWAY:
        response_error(response, 503, "the database is not available; nothing was changed");
        break;
    case STORAGE_UNKNOWN:
        response_error(
            response, 503,
            "outcome unknown: the database was lost while it was storing this, and may have done so");
        break;
    case STORAGE_NO_MEMORY:
        response_out_of_memory(response);
        break;
    }
}
