/* An answer on its way out, and the one function of the server that writes to a connection.
 *
 * An outgoing holds the bytes of head and small body, then the body's source. What the kernel does not take
 * at once stays with it. It belongs to the owner of the connection; not locked.
 */
#ifndef NET_OUTGOING_H
#define NET_OUTGOING_H

#include "base/budget.h"
#include "net/response.h"

struct outgoing {
    const char *bytes;
    size_t length;
    size_t sent;
    char *owned_bytes;     /* NULL while `bytes` is somebody else's */
    struct budget *budget; /* that `length` of those are counted in */
    struct body_source source;
    uint64_t source_sent;
    bool close;          /* end the connection afterwards */
    int64_t allowed_ns;  /* for all of it, from the moment that it did not fit at once */
    int64_t deadline_at; /* the end of that; 0 before */
};

enum outgoing_result {
    OUTGOING_WHOLE,   /* the network has taken everything; the source is closed */
    OUTGOING_BLOCKED, /* the socket takes no more for now */
    OUTGOING_YIELDED, /* it would take more, but others come first */
    OUTGOING_IDLE,    /* an endless source has nothing for now */
    OUTGOING_FAILED,  /* the connection is broken */
};

/* Writes without blocking. */
enum outgoing_result outgoing_send(int descriptor, struct outgoing *outgoing);

/* The bytes that could be sent now; of a source, as far as one look into it shows. */
uint64_t outgoing_ready(const struct outgoing *outgoing);

/* Copies an answer that was begun from borrowed memory to the heap, where the budget has room for it. Returns NULL without
 * memory; the source then stays with the caller's outgoing. */
struct outgoing *outgoing_keep(const struct outgoing *outgoing, struct budget *budget);

/* Frees the bytes before the source of an outgoing that was kept, when they are sent. */
void outgoing_forget_head(struct outgoing *outgoing);

/* Closes the source, if there is one, as not handed over. */
void outgoing_abandon(struct outgoing *outgoing);

/* Frees what outgoing_keep made, not its source. Takes NULL. */
void outgoing_free(struct outgoing *outgoing);

#endif
