/* The pool of links, and the thread that connects them. */
#include "storage/postgresql_internal.h"

#include "base/sync.h"

#include <errno.h>
#include <sys/random.h>

#define BACKOFF_FIRST_NS (INT64_C(100) * CLOCK_NS_PER_MS)
#define BACKOFF_LAST_NS  CLOCK_NS_PER_SECOND

/* With less time than that nobody gets a link: it would most likely be broken by the deadline. */
#define SHORTEST_CALL_NS (INT64_C(10) * CLOCK_NS_PER_MS)

int64_t postgresql_backoff_ns(unsigned failures)
{
    int64_t most = BACKOFF_FIRST_NS;
    for (unsigned i = 1; i < failures && most < BACKOFF_LAST_NS; i++)
        most *= 2;
    if (most > BACKOFF_LAST_NS)
        most = BACKOFF_LAST_NS;
    /* Servers that lost the database at the same time do not come back at the same time. */
    uint16_t random = 0;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random)
        random = UINT16_MAX;
    int64_t jittered = most / 2 + most / 2 * random / UINT16_MAX;
    return jittered < BACKOFF_FIRST_NS ? BACKOFF_FIRST_NS : jittered;
}

/* --- lending --- */

struct search {
    struct postgresql_link *idle;
    bool connected; /* a link of the role is idle or lent */
};

static struct search search_locked(struct postgresql_links *links, enum postgresql_role role)
{
    struct search search = {.idle = NULL};
    for (size_t i = 0; i < POSTGRESQL_LINKS; i++) {
        struct postgresql_link *link = &links->all[i];
        if (link->role != role || link->state == POSTGRESQL_BROKEN)
            continue;
        search.connected = true;
        if (link->state == POSTGRESQL_IDLE)
            search.idle = link;
    }
    return search;
}

static struct postgresql_link *take_idle(struct postgresql_links *links, enum postgresql_role role,
                                         int64_t deadline_at, bool patiently)
{
    struct postgresql_link *link = NULL;
    deadline_at -= SHORTEST_CALL_NS;
    bool in_time = clock_monotonic_ns() < deadline_at;
    pthread_mutex_lock(&links->mutex);
    while (in_time && link == NULL) {
        struct search search = search_locked(links, role);
        link = search.idle;
        if (link == NULL && !patiently && links->away && !search.connected)
            break;
        if (link == NULL)
            in_time = sync_wait_until(&links->idle[role], &links->mutex, deadline_at);
    }
    if (link != NULL)
        link->state = POSTGRESQL_LENT;
    else
        pthread_cond_signal(&links->idle[role]); /* it may have been this thread's turn */
    pthread_mutex_unlock(&links->mutex);
    return link;
}

struct postgresql_link *postgresql_links_take(struct postgresql *postgresql, enum postgresql_role role,
                                              int64_t deadline_at, bool patiently)
{
    for (;;) {
        struct postgresql_link *link = take_idle(&postgresql->links, role, deadline_at, patiently);
        if (link == NULL || postgresql_link_is_alive(link))
            return link;
        postgresql_links_give_back(postgresql, link, false);
    }
}

void postgresql_links_give_back(struct postgresql *postgresql, struct postgresql_link *link, bool good)
{
    struct postgresql_links *links = &postgresql->links;
    postgresql_note(postgresql, good, link->error);
    if (!good)
        postgresql_link_close(link);
    pthread_mutex_lock(&links->mutex);
    link->state = good ? POSTGRESQL_IDLE : POSTGRESQL_BROKEN;
    pthread_cond_signal(good ? &links->idle[link->role] : &links->broken);
    pthread_mutex_unlock(&links->mutex);
}

/* --- the connector --- */

/* The next broken link after the one last tried, so that one that can't be set up keeps no other waiting. */
static struct postgresql_link *broken_locked(struct postgresql_links *links, size_t *last_tried)
{
    for (size_t i = 1; i <= POSTGRESQL_LINKS; i++) {
        size_t index = (*last_tried + i) % POSTGRESQL_LINKS;
        if (links->all[index].state != POSTGRESQL_BROKEN)
            continue;
        *last_tried = index;
        return &links->all[index];
    }
    return NULL;
}

/* Waits for work that may be begun. Returns NULL at the end. */
static struct postgresql_link *await_broken(struct postgresql_links *links, size_t *last_tried,
                                            int64_t not_before)
{
    struct postgresql_link *link = NULL;
    pthread_mutex_lock(&links->mutex);
    while (!links->stopping && sync_wait_until(&links->broken, &links->mutex, not_before))
        continue;
    while (!links->stopping && (link = broken_locked(links, last_tried)) == NULL)
        sync_wait(&links->broken, &links->mutex);
    pthread_mutex_unlock(&links->mutex);
    return link;
}

static bool connect_link(struct postgresql *postgresql, struct postgresql_link *link)
{
    struct postgresql_links *links = &postgresql->links;
    int64_t deadline_at = clock_monotonic_ns() + POSTGRESQL_CONNECT_NS;
    bool good = postgresql_link_open(link, postgresql->url, deadline_at) == POSTGRESQL_DONE &&
                postgresql_link_set_up(link, deadline_at) == POSTGRESQL_DONE;
    postgresql_note(postgresql, good, link->error);
    if (!good)
        postgresql_link_close(link);
    pthread_mutex_lock(&links->mutex);
    links->away = !good;
    if (good)
        link->state = POSTGRESQL_IDLE;
    /* All who wait look again: whether there is hope is the same for all. */
    for (int role = 0; role < POSTGRESQL_ROLES; role++)
        pthread_cond_broadcast(&links->idle[role]);
    pthread_mutex_unlock(&links->mutex);
    return good;
}

static void *connector_main(void *context)
{
    struct postgresql *postgresql = context;
    struct postgresql_link *link;
    size_t last_tried = POSTGRESQL_LINKS - 1;
    unsigned failures = 0;
    int64_t not_before = 0;
    while ((link = await_broken(&postgresql->links, &last_tried, not_before)) != NULL) {
        failures = connect_link(postgresql, link) ? 0 : failures + 1;
        not_before = failures == 0 ? 0 : clock_monotonic_ns() + postgresql_backoff_ns(failures);
    }
    return NULL;
}

/* --- life --- */

int postgresql_links_init(struct postgresql *postgresql)
{
    struct postgresql_links *links = &postgresql->links;
    for (size_t i = 0; i < POSTGRESQL_LINKS; i++) {
        links->all[i].role = i == 0 ? POSTGRESQL_WRITER : POSTGRESQL_READER;
        links->all[i].interrupt = postgresql->stop;
    }
    pthread_cond_t *conditions[] = {&links->idle[POSTGRESQL_WRITER], &links->idle[POSTGRESQL_READER],
                                    &links->broken};
    for (size_t i = 0; i < sizeof conditions / sizeof conditions[0]; i++) {
        if (sync_condition_init(conditions[i]) == 0)
            continue;
        while (i > 0)
            pthread_cond_destroy(conditions[--i]);
        return -1;
    }
    pthread_mutex_init(&links->mutex, NULL);
    return 0;
}

void postgresql_links_destroy(struct postgresql *postgresql)
{
    struct postgresql_links *links = &postgresql->links;
    for (size_t i = 0; i < POSTGRESQL_LINKS; i++)
        postgresql_link_close(&links->all[i]);
    for (int role = 0; role < POSTGRESQL_ROLES; role++)
        pthread_cond_destroy(&links->idle[role]);
    pthread_cond_destroy(&links->broken);
    pthread_mutex_destroy(&links->mutex);
}

int postgresql_links_start(struct postgresql *postgresql)
{
    errno = pthread_create(&postgresql->links.connector, NULL, connector_main, postgresql);
    if (errno != 0)
        return -1;
    postgresql->links.has_connector = true;
    pthread_setname_np(postgresql->links.connector, "pg connector");
    return 0;
}

void postgresql_links_stop(struct postgresql *postgresql)
{
    struct postgresql_links *links = &postgresql->links;
    if (!links->has_connector)
        return;
    pthread_mutex_lock(&links->mutex);
    links->stopping = true;
    pthread_cond_signal(&links->broken);
    pthread_mutex_unlock(&links->mutex);
    pthread_join(links->connector, NULL);
}
