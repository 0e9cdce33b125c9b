/* Work that settles requests, passed on from a thread that must not do it: the writer thread of a group commit settles many
 * at once, and their answers are written by jobs of the workers, some at a time, in the order of their coming.
 *
 * Owners: an item is embedded in whatever is to be settled, and belongs to the queue from later_add until its `run` is
 * called, in a worker, with no lock held. Lock: later->mutex, a leaf but for the pool's.
 */
#ifndef API_LATER_H
#define API_LATER_H

#include "net/http_server.h"

#include <pthread.h>
#include <sys/queue.h>

struct later_item {
    void (*run)(struct later_item *item);
    STAILQ_ENTRY(later_item) link; /* later->mutex */
};

STAILQ_HEAD(later_list, later_item);

struct later {
    struct job job;                  /* the first member */
    struct http_server *const *http; /* looked up when there is something to do */
    pthread_mutex_t mutex;
    /* Guarded by `mutex`. */
    struct later_list items;
    bool submitted; /* the job */
};

/* `http` points to where the server will be found. */
void later_init(struct later *later, struct http_server *const *http);

/* Empty, and nobody uses it any more. */
void later_destroy(struct later *later);

void later_add(struct later *later, struct later_item *item);

#endif
