/* What the handlers of section 4 share: users and their planned events. */
#ifndef API_PLANNED_H
#define API_PLANNED_H

#include "api/parameters.h"
#include "api/server.h"
#include "base/buffer.h"

/* Reads `afterId` (empty where it is missing) and `limit` (left alone where it is). Returns 0, or -1 with the response
 * filled. */
int planned_read_page(const struct request *request, struct name *after, uint64_t *limit,
                      struct response *response);

/* Whether the database knows the user; answers where that can't be found out, and with `status` and `error` where it does not. */
bool planned_user_is_known(struct server *server, struct text user, const struct request *request,
                           struct response *response, unsigned status, const char *error);

/* Appends an event as lists show it. */
void planned_append_event(struct buffer *buffer, const struct storage_planned_event *event);

/* Appends what lists show of a user before its events: {"id":"1","userName":...,"email":...,"events":[ with further
 * attributes between. `table` and `stored` are JSON objects, or empty: what the reference table says of the user, and what
 * the upstream does. Name and email are the table's, or else the stored ones; the rest is all of one or of the other. */
void planned_append_user(struct buffer *buffer, struct text id, struct text table, struct text stored);

#endif
