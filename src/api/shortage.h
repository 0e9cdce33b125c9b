/* Refusals for memory that is full by the server's own limits: 503, and a line of the log, but not for each.
 *
 * What the system has no memory for is response_out_of_memory (net/response.h).
 */
#ifndef API_SHORTAGE_H
#define API_SHORTAGE_H

#include "api/server.h"

/* --max-memory. */
void answer_events_full(struct server *server, struct response *response);

/* --max-metrics-memory; the message says for what. The first is for the log alone. */
void note_metrics_full(struct server *server, const char *message);
void answer_metrics_full(struct server *server, const char *message, struct response *response);

#endif
