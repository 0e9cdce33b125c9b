/* Delivering what a push has for the requests that wait.
 *
 * A few are delivered by the pusher's own worker, right after the first try at its own answer. Very many are
 * cut into jobs for all workers, so that they hold up neither the pusher nor anybody else. The threads that
 * waited are woken when the last delivery has been made (see store_deliver).
 *
 * Lock: each fan-out has a mutex of its own, a leaf.
 */
#ifndef API_FANOUT_H
#define API_FANOUT_H

#include "api/server.h"

/* Has the batches delivered after the first try to write the response, or at once when there is no memory for
 * that. Takes them over. */
void fanout_after(struct server *server, struct response *response, struct store_pushed *pushed);

/* Has the batches delivered by workers, when no response is being made. Takes them over. */
void fanout_later(struct server *server, struct store_pushed *pushed);

#endif
