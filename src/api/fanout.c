#include "api/fanout.h"

#include <stdlib.h>

enum { DELIVERIES_AT_ONCE = 64 };

struct fanout {
    struct job job;
    struct server *server;
    struct batch_list batches;
};

static void run(struct job *job)
{
    struct fanout *fanout = (struct fanout *)(void *)job; /* its first member */
    store_deliver(fanout->server->store, &fanout->batches);
    free(fanout);
}

static struct fanout *fanout_create(struct server *server)
{
    struct fanout *fanout = malloc(sizeof *fanout);
    if (fanout != NULL)
        *fanout = (struct fanout){.job = {.run = run}, .server = server};
    return fanout;
}

/* Makes jobs of all but the first deliveries, then does those. */
static void deliver(void *context)
{
    struct fanout *fanout = context;
    struct batch_list first;
    store_batches_split(&fanout->batches, &first, DELIVERIES_AT_ONCE);
    while (!STAILQ_EMPTY(&fanout->batches)) {
        struct fanout *part = fanout_create(fanout->server);
        if (part == NULL)
            break;
        store_batches_split(&fanout->batches, &part->batches, DELIVERIES_AT_ONCE);
        pool_submit(http_server_pool(fanout->server->http), &part->job);
    }
    store_deliver(fanout->server->store, &first);
    run(&fanout->job);
}

void fanout_after(struct server *server, struct response *response, struct batch_list *batches)
{
    struct fanout *fanout = fanout_create(server);
    if (fanout == NULL) {
        store_deliver(server->store, batches);
        return;
    }
    STAILQ_INIT(&fanout->batches);
    STAILQ_CONCAT(&fanout->batches, batches);
    response->after = deliver;
    response->after_context = fanout;
}
