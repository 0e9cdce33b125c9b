/* The ends of streams that the server hangs into the hub. */
#ifndef API_STREAM_H
#define API_STREAM_H

#include "api/server.h"

/* Writes to the streams of a wake list: a few at once, very many as jobs for all workers. The hub's `wake` and `resume`;
 * the context is a struct server. */
void stream_wake_all(void *context, struct stream_list *streams, size_t count);
void stream_resume(void *context, uint64_t token);

#endif
