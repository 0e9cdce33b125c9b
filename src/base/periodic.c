#include "base/periodic.h"

#include "base/sync.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct periodic {
    periodic_round *round;
    void *context;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t condition;
    bool stopping;
};

bool periodic_is_stopping(struct periodic *periodic)
{
    pthread_mutex_lock(&periodic->mutex);
    bool stopping = periodic->stopping;
    pthread_mutex_unlock(&periodic->mutex);
    return stopping;
}

static void *periodic_main(void *context)
{
    struct periodic *periodic = context;
    while (!periodic_is_stopping(periodic)) {
        int64_t next_at = periodic->round(periodic->context, periodic);
        pthread_mutex_lock(&periodic->mutex);
        while (!periodic->stopping && sync_wait_until(&periodic->condition, &periodic->mutex, next_at))
            continue;
        pthread_mutex_unlock(&periodic->mutex);
    }
    return NULL;
}

struct periodic *periodic_start(const char *name, periodic_round *round, void *context)
{
    struct periodic *periodic = calloc(1, sizeof *periodic);
    if (periodic == NULL)
        return NULL;
    periodic->round = round;
    periodic->context = context;
    if (sync_condition_init(&periodic->condition) != 0)
        goto free_periodic;
    pthread_mutex_init(&periodic->mutex, NULL);
    errno = pthread_create(&periodic->thread, NULL, periodic_main, periodic);
    if (errno != 0)
        goto destroy_locks;
    pthread_setname_np(periodic->thread, name);
    return periodic;

destroy_locks:
    pthread_mutex_destroy(&periodic->mutex);
    pthread_cond_destroy(&periodic->condition);
free_periodic:
    free(periodic);
    return NULL;
}

void periodic_stop(struct periodic *periodic)
{
    if (periodic == NULL)
        return;
    pthread_mutex_lock(&periodic->mutex);
    periodic->stopping = true;
    pthread_cond_signal(&periodic->condition);
    pthread_mutex_unlock(&periodic->mutex);
    pthread_join(periodic->thread, NULL);
    pthread_mutex_destroy(&periodic->mutex);
    pthread_cond_destroy(&periodic->condition);
    free(periodic);
}
