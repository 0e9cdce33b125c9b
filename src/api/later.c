#include "api/later.h"

enum { ITEMS_AT_ONCE = 32 };

/* Takes some; submits the job again when there are more. */
static void take(struct later *later, struct later_list *taken)
{
    pthread_mutex_lock(&later->mutex);
    for (size_t i = 0; i < ITEMS_AT_ONCE && !STAILQ_EMPTY(&later->items); i++) {
        struct later_item *item = STAILQ_FIRST(&later->items);
        STAILQ_REMOVE_HEAD(&later->items, link);
        STAILQ_INSERT_TAIL(taken, item, link);
    }
    later->submitted = !STAILQ_EMPTY(&later->items);
    if (later->submitted)
        pool_submit(http_server_pool(*later->http), &later->job);
    pthread_mutex_unlock(&later->mutex);
}

static void run_some(struct job *job)
{
    struct later *later = (struct later *)(void *)job;
    struct later_list taken = STAILQ_HEAD_INITIALIZER(taken);
    struct later_item *item;
    take(later, &taken);
    while ((item = STAILQ_FIRST(&taken)) != NULL) {
        STAILQ_REMOVE_HEAD(&taken, link);
        item->run(item);
    }
}

void later_init(struct later *later, struct http_server *const *http)
{
    *later = (struct later){.job = {.run = run_some}, .http = http};
    pthread_mutex_init(&later->mutex, NULL);
    STAILQ_INIT(&later->items);
}

void later_destroy(struct later *later)
{
    pthread_mutex_destroy(&later->mutex);
}

void later_add(struct later *later, struct later_item *item)
{
    pthread_mutex_lock(&later->mutex);
    STAILQ_INSERT_TAIL(&later->items, item, link);
    if (!later->submitted)
        pool_submit(http_server_pool(*later->http), &later->job);
    later->submitted = true;
    pthread_mutex_unlock(&later->mutex);
}
