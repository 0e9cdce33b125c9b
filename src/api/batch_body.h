/* A batch of the queue as the body of an answer: a JSON array, sent from where the events lie.
 *
 * The source owns the batch from here on and ends it: consumed when the network has taken the whole answer,
 * given back to its group when not. With `meta` each element is {"id":...,"ts":...,"data":...}.
 */
#ifndef API_BATCH_BODY_H
#define API_BATCH_BODY_H

#include "net/response.h"
#include "queue/store.h"

/* Fills the response with the batch. Returns 0, or -1 without memory: the batch then stays the caller's. */
int batch_body_fill(struct response *response, struct store *store, struct batch *batch, bool meta);

/* Takes the batch out of a source that was not sent. */
void batch_body_discard(struct response *response);

#endif
