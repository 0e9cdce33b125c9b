/* Delivering what a push has for the requests that wait.
 *
 * A few are delivered by the pusher's own worker, right after the first try at its own answer. Very many are
 * cut into jobs for all workers, so that they hold up neither the pusher nor anybody else.
 */
#ifndef API_FANOUT_H
#define API_FANOUT_H

#include "api/server.h"

/* Has the batches delivered after the response's first try. Takes them over; delivers at once without memory.
 */
void fanout_after(struct server *server, struct response *response, struct batch_list *batches);

#endif
