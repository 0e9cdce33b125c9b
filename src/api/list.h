/* JSON lists of any length as answers: made and sent a page at a time, so that no list is ever in memory as a whole.
 *
 * The first page is made while the request is handled: if it is the only one, it is an answer like any other. Else the
 * rest is made by whatever worker finds that the socket has taken what there was, and is sent chunked (RFC 9112 section
 * 7.1; to a client of HTTP/1.0 as it is), on a connection that is closed behind it. When a page can't be made, the
 * connection is closed without the last chunk, by which a client knows; one of HTTP/1.0 only by the missing bracket.
 *
 * What a list that is not sent in one piece holds is counted in the server's memory for requests (--max-request-memory); one
 * that does not fit is not begun, or broken off.
 *
 * A list belongs to the handler until list_send, then to the connection; one thread at a time uses it.
 */
#ifndef API_LIST_H
#define API_LIST_H

#include "api/server.h"

enum list_progress { LIST_MORE, LIST_DONE, LIST_FAILED };

struct list_producer {
    /* Appends some more to `page`, brackets and commas included, in one read of the database: it is called until there are
     * LIST_PAGE_BYTES, or all. In a blocking section. For LIST_FAILED `*error` says why. */
    enum list_progress (*produce)(void *state, struct buffer *page, enum storage_result *error);
    void (*free)(void *state);
    void *state;
};

enum { LIST_PAGE_BYTES = 64 * 1024 }; /* what a slow client holds */

/* Makes the first page and fills the response. Takes the producer over. */
void list_send(struct request *request, struct response *response, struct list_producer producer);

#endif
