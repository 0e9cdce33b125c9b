/* The HTTP API: one file a section of the contract, each handler a straight line of parse, call the domain,
 * answer.
 *
 * This is the only place where HTTP and the domains meet. The context of all functions is a `struct server`.
 */
#ifndef API_API_H
#define API_API_H

#include "api/server.h"

extern const struct route api_routes[];
extern const size_t api_route_count;

/* What every request must pass: the page it comes from, and the token (access.c). */
bool api_admit(void *context, const struct request *request, const struct route *route,
               struct response *response);

/* Writes the header lines that every answer carries under these rules. */
void api_common_headers(const struct access_rules *access, struct buffer *headers);

/* queue.c */
route_handler api_push;
route_handler api_blocking_get;

/* publish.c */
route_handler api_publish;

/* notifications.c */
route_handler api_subscribe;
route_handler api_unsubscribe;
route_handler api_subscriptions;
route_handler api_history;

/* stream.c */
route_handler api_stream;
route_handler api_active_connections;

/* events.c */
route_handler api_events;

/* metrics.c */
route_handler api_metrics;

/* reference.c */
route_handler api_reference_users;

/* user_list.c */
route_handler api_users;

/* event_list.c */
route_handler api_planned_events;
route_handler api_events_of_user;

/* add_event.c */
route_handler api_add_event;

/* live_event.c */
route_handler api_live_event;
route_handler api_user_events;

/* health.c */
route_handler api_health;
route_handler api_healthz;

#endif
