/* Every path of the API, a row each. */
#include "api/api.h"

enum { EVENTS_BODY_BYTES = 16 * 1024 * 1024, REFERENCE_BODY_BYTES = 64 * 1024 * 1024 };

const struct route api_routes[] = {
    {.method = METHOD_POST, .path = "/push", .handle = api_push},
    {.method = METHOD_GET, .path = "/blocking-get", .handle = api_blocking_get, .without_head = true},
    {.method = METHOD_POST, .path = "/api/events/publish", .handle = api_publish},
    {.method = METHOD_POST, .path = "/api/events/channels/subscribe", .handle = api_subscribe},
    {.method = METHOD_POST, .path = "/api/events/channels/unsubscribe", .handle = api_unsubscribe},
    {.method = METHOD_GET, .path = "/api/events/channels/list", .handle = api_subscriptions},
    {.method = METHOD_GET, .path = "/api/events/history", .handle = api_history},
    {.method = METHOD_GET, .path = "/api/events/active-connections", .handle = api_active_connections},
    {.method = METHOD_GET,
     .path = "/api/events/stream",
     .handle = api_stream,
     .without_head = true,
     .token_in_query = true},
    {.method = METHOD_POST, .path = "/events", .handle = api_events, .max_body = EVENTS_BODY_BYTES},
    {.method = METHOD_PUT,
     .path = "/reference/users",
     .handle = api_reference_users,
     .max_body = REFERENCE_BODY_BYTES},
    {.method = METHOD_GET, .path = "/metrics", .handle = api_metrics},
    {.method = METHOD_GET, .path = "/getUsers", .handle = api_users},
    {.method = METHOD_GET, .path = "/getEvents", .handle = api_planned_events},
    {.method = METHOD_GET,
     .path = "/getEventsByUserId/",
     .takes_segment = true,
     .handle = api_events_of_user},
    {.method = METHOD_POST, .path = "/addEvent", .handle = api_add_event},
    {.method = METHOD_POST, .path = "/liveEvent", .handle = api_live_event},
    {.method = METHOD_GET, .path = "/userEvents/", .takes_segment = true, .handle = api_user_events},
    {.method = METHOD_GET, .path = "/health", .handle = api_health, .open = true},
    {.method = METHOD_GET, .path = "/healthz", .handle = api_healthz, .open = true},
};

const size_t api_route_count = sizeof api_routes / sizeof api_routes[0];
