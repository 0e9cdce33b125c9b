/* Every path of the API, a row each. */
#include "api/api.h"

const struct route api_routes[] = {
    {.method = METHOD_POST, .path = "/push", .handle = api_push},
    {.method = METHOD_GET, .path = "/blocking-get", .handle = api_blocking_get, .without_head = true},
    {.method = METHOD_GET, .path = "/health", .handle = api_health, .open = true},
    {.method = METHOD_GET, .path = "/healthz", .handle = api_healthz, .open = true},
};

const size_t api_route_count = sizeof api_routes / sizeof api_routes[0];
