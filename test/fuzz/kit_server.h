/* A whole server in the thread of the target: the connection, the router and all handlers are the real ones, on a store, metrics,
 * a journal and an SQLite database that are emptied between two inputs.
 *
 * It is made as the command `serve` makes it, but for the listener, the upstream and what runs by the clock. Its pool has no
 * threads of its own: the target serves as its only worker, between writing to one end of a socket pair and reading from it, so
 * that nothing depends on how threads are scheduled, and no time is lost with switching between them. What is committed in
 * groups (events of channels, live events) is still written by threads, and waited for. No request may wait for events: those
 * that would are refused, as if no thread were left.
 */
#ifndef FUZZ_KIT_SERVER_H
#define FUZZ_KIT_SERVER_H

#include "api/server.h"
#include "base/buffer.h"

/* What a server has, small enough to be used up by one input. The retention is longer than the lateness that is allowed, so that
 * every event that was taken counts. */
enum { KIT_MAX_BODY = 2048, KIT_MAX_MEMORY = 64 * 1024, KIT_RETENTION_SECONDS = 130 };

/* Starts it, once a process. */
void kit_server_start(void);

/* Empties it. No connection is open. */
void kit_server_reset(void);

/* Requires that its invariants hold, after an input. */
void kit_server_check(void);

/* The token that requests need from now on; empty: none. */
void kit_server_set_token(struct text token);

/* A connection of a client that reads all answers; what comes back is appended to `answers`. One at a time. The server has
 * dealt with a piece when kit_server_send returns. */
void kit_server_connect(void);
void kit_server_send(struct text piece, struct buffer *answers);
/* Ends the sending side, and then the connection. */
void kit_server_disconnect(struct buffer *answers);

/* What is in the journal from `offset` on, appended to `content`. */
void kit_server_read_journal(size_t offset, struct buffer *content);
size_t kit_server_journal_bytes(void);

/* --- kit_http.c: what comes back --- */

struct kit_answer {
    struct text head; /* up to and with its empty line */
    struct text body;
    unsigned status;
    bool is_json;
    bool is_stream;
    bool closes; /* says that it is the last one */
};

/* Cuts the next answer off, 100 Continue left out. Requires that it is well-formed HTTP, and an error in the form of the
 * API. False: no more. */
bool kit_next_answer(struct text *rest, struct kit_answer *answer);

#endif
