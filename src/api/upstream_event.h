/* One event on its way to the upstream: what is sent, and what its answer means.
 *
 * The upstream gets the members of the request's body as they are, and an id of ours before them, a random UUID (RFC 9562
 * section 5.4), which can't be one of its own. An id in its answer wins. */
#ifndef API_UPSTREAM_EVENT_H
#define API_UPSTREAM_EVENT_H

#include "api/parameters.h"
#include "upstream/upstream.h"

enum { UUID_BYTES = 36 };

/* Fills a name with a new UUID. Returns 0, or -1 when the system has no random bytes. */
int uuid_draw(struct name *uuid);

/* Posts the event with the id; a better one replaces it. Blocks. Returns 0 when the upstream took it; else -1, with the
 * response filled. `body` is a valid JSON object. */
int upstream_event_post(struct upstream *upstream, struct text body, struct name *id,
                        struct response *response);

/* An answer of section 4 that says what failed: {"success":false,"error":...,"message":...}. */
void answer_failed(struct response *response, unsigned status, const char *error, const char *message);

#endif
