/* The reference table in the server: replaced by requests, kept in the database, restored at start.
 *
 * A replacement goes these steps, and can fail in each but the last without having changed anything:
 *   1  the body is read; when it is our turn, the table is made of it (metrics/reference.h): one at a time is in memory;
 *   2  it is prepared: its view of the window is ready (metrics_prepare_reference);
 *   3  it is stored piece by piece, each in a transaction of its own so that published events need not wait for it, under a
 *      generation that nobody uses;
 *   4  one write makes that generation the stored one; if the outcome can't be found out in time, the answer says so, and
 *      whoever learns it later goes on;
 *   5  it is committed: metrics are made from it. The pieces of the former table go.
 * A piece is a JSON object as in `user_metadata`, of whole members. What a stop in step 3 leaves is purged an hour later,
 * with the next replacement.
 *
 * Several servers on one database: each reads the table at its start, so updates are to be sent to all of them.
 *
 * server->reference_generation is guarded by the turn of step 1.
 */
#ifndef API_REFERENCE_H
#define API_REFERENCE_H

#include "api/server.h"

/* Reads the stored table, if there is one, before the first request. Returns 0, or -1 after a line on stderr. */
int reference_restore(struct server *server);

#endif
