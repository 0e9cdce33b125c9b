/* What the files of the storage's face share. The locks and threads are storage.h's. */
#ifndef STORAGE_STORAGE_INTERNAL_H
#define STORAGE_STORAGE_INTERNAL_H

#include "base/periodic.h"
#include "storage/engine.h"

struct storage {
    const struct storage_engine *engine;
    void *state;
    pthread_t writer;
    struct periodic *deadlines;
    pthread_mutex_t mutex;
    pthread_cond_t work;
    /* Guarded by `mutex`. */
    struct storage_write_list queued;
    TAILQ_HEAD(outstanding_list, storage_write) outstanding; /* the submitted ones, by deadline */
    bool writer_idles;
    bool stopping;
};

#endif
