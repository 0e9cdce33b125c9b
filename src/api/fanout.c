#include "api/fanout.h"

#include <stdlib.h>

enum { DELIVERIES_AT_ONCE = 64, FEW_DELIVERIES = 4 };

/* All deliveries of one push. Freed by the part that ends last. */
struct fanout {
    struct server *server;
    struct batch_list batches; /* before they are cut into parts */
    pthread_mutex_t mutex;
    /* Guarded by `mutex`. */
    size_t parts_left;
    struct waiter_list done;
};

/* Some of them: a job for one worker. */
struct part {
    struct job job;
    struct fanout *fanout;
    struct batch_list batches;
};

/* Delivers; who is last wakes the threads of all. */
static void deliver_part(struct fanout *fanout, struct batch_list *batches)
{
    struct waiter_list done = TAILQ_HEAD_INITIALIZER(done);
    store_deliver(fanout->server->store, batches, &done);
    pthread_mutex_lock(&fanout->mutex);
    TAILQ_CONCAT(&fanout->done, &done, link);
    bool last = --fanout->parts_left == 0;
    pthread_mutex_unlock(&fanout->mutex);
    if (!last)
        return;
    store_wake(&fanout->done);
    pthread_mutex_destroy(&fanout->mutex);
    free(fanout);
}

static void run_part(struct job *job)
{
    struct part *part = (struct part *)(void *)job; /* its first member */
    deliver_part(part->fanout, &part->batches);
    free(part);
}

/* Cuts the next part off and submits it. Returns 0, or -1 without memory. */
static int submit_part(struct fanout *fanout)
{
    struct part *part = malloc(sizeof *part);
    if (part == NULL)
        return -1;
    *part = (struct part){.job = {.run = run_part}, .fanout = fanout};
    store_batches_split(&fanout->batches, &part->batches, DELIVERIES_AT_ONCE);
    pthread_mutex_lock(&fanout->mutex);
    fanout->parts_left++;
    pthread_mutex_unlock(&fanout->mutex);
    pool_submit(http_server_pool(fanout->server->http), &part->job);
    return 0;
}

/* Makes jobs of all but the first deliveries, then does those. */
static void deliver(void *context)
{
    struct fanout *fanout = context;
    struct batch_list first;
    store_batches_split(&fanout->batches, &first, DELIVERIES_AT_ONCE);
    while (!STAILQ_EMPTY(&fanout->batches) && submit_part(fanout) == 0)
        continue;
    STAILQ_CONCAT(&first, &fanout->batches);
    deliver_part(fanout, &first);
}

static void deliver_at_once(struct server *server, struct batch_list *batches)
{
    struct waiter_list done = TAILQ_HEAD_INITIALIZER(done);
    store_deliver(server->store, batches, &done);
    store_wake(&done);
}

static struct fanout *create(struct server *server, struct store_pushed *pushed)
{
    struct fanout *fanout = malloc(sizeof *fanout);
    if (fanout == NULL) {
        deliver_at_once(server, &pushed->batches);
        return NULL;
    }
    *fanout = (struct fanout){.server = server, .parts_left = 1};
    pthread_mutex_init(&fanout->mutex, NULL);
    STAILQ_INIT(&fanout->batches);
    TAILQ_INIT(&fanout->done);
    STAILQ_CONCAT(&fanout->batches, &pushed->batches);
    return fanout;
}

void fanout_after(struct server *server, struct response *response, struct store_pushed *pushed)
{
    struct fanout *fanout = create(server, pushed);
    if (fanout == NULL)
        return;
    response->after = deliver;
    response->after_context = fanout;
    response->after_is_long = pushed->batch_count > FEW_DELIVERIES;
}

void fanout_later(struct server *server, struct store_pushed *pushed)
{
    struct fanout *fanout = create(server, pushed);
    if (fanout == NULL)
        return;
    while (!STAILQ_EMPTY(&fanout->batches) && submit_part(fanout) == 0)
        continue;
    deliver_part(fanout, &fanout->batches); /* what there was no memory for */
}
