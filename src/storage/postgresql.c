/* The PostgreSQL engine: opening and closing. */
#include "storage/postgresql_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define FIRST_CONNECTION_NS (INT64_C(5) * CLOCK_NS_PER_SECOND * DEADLINE_SCALE)
#define PAUSE_NS            (INT64_C(200) * CLOCK_NS_PER_MS)

void postgresql_note(struct postgresql *postgresql, bool good, const char *error)
{
    if (atomic_load(&postgresql->closing) || atomic_exchange(&postgresql->available, good) == good)
        return;
    if (!good && log_limited(postgresql->log, &postgresql->gone, LOG_LEVEL_WARN,
                             "the database is away error=%s", LOG_TEXT(text_from(error))))
        atomic_store(&postgresql->complained, true);
    else if (good && atomic_exchange(&postgresql->complained, false))
        log_info(postgresql->log, "the database is back");
}

bool postgresql_pause(struct postgresql *postgresql, int64_t until_at)
{
    struct pollfd stop = {.fd = postgresql->stop, .events = POLLIN};
    int64_t left_ns;
    while ((left_ns = until_at - clock_monotonic_ns()) > 0)
        if (poll(&stop, 1, (int)(left_ns / CLOCK_NS_PER_MS) + 1) > 0)
            return false;
    return !atomic_load(&postgresql->closing);
}

/* --- life --- */

static void postgresql_close(void *state)
{
    struct postgresql *postgresql = state;
    const uint64_t one = 1;
    atomic_store(&postgresql->closing, true);
    if (write(postgresql->stop, &one, sizeof one) != (ssize_t)sizeof one)
        log_error(postgresql->log, "an eventfd does not take a number");
    postgresql_listener_stop(postgresql);
    postgresql_links_stop(postgresql);
    postgresql_links_destroy(postgresql);
    close(postgresql->stop);
    free(postgresql->url);
    free(postgresql);
}

static struct postgresql *create(const struct storage_options *options)
{
    struct postgresql *postgresql = calloc(1, sizeof *postgresql);
    if (postgresql == NULL)
        return NULL;
    postgresql->log = options->log;
    postgresql->watcher = options->watcher;
    atomic_store(&postgresql->available, true);
    postgresql->url = strdup(options->url);
    postgresql->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (postgresql->url != NULL && postgresql->stop >= 0 && postgresql_links_init(postgresql) == 0)
        return postgresql;
    if (postgresql->stop >= 0)
        close(postgresql->stop);
    free(postgresql->url);
    free(postgresql);
    return NULL;
}

/* --- the first connection --- */

static const char *option_value(const PQconninfoOption *options, const char *name)
{
    for (; options->keyword != NULL; options++)
        if (strcmp(options->keyword, name) == 0)
            return options->val == NULL ? "" : options->val;
    return "";
}

/* Refuses URLs that the library would misread, and then repeat parts of a password as the name of a host or a port in
 * its messages. */
static int check_url(const char *url, char reason[static STORAGE_REASON_BYTES])
{
    char *message = NULL;
    PQconninfoOption *options = PQconninfoParse(url, &message);
    PQfreemem(message); /* it repeats the URL */
    bool good = options != NULL && strchr(option_value(options, "host"), '@') == NULL &&
                strchr(option_value(options, "dbname"), '@') == NULL &&
                strspn(option_value(options, "port"), "0123456789,") == strlen(option_value(options, "port"));
    PQconninfoFree(options);
    if (!good)
        snprintf(reason, STORAGE_REASON_BYTES,
                 "the database URL is not valid: postgres://USER:PASSWORD@HOST:PORT/DATABASE, with special "
                 "characters"
                 " as %%XX");
    return good ? 0 : -1;
}

/* Whether the server takes connections, so that one that failed will fail again. */
static bool server_refuses(const char *url)
{
    const char *const names[] = {"connect_timeout", "dbname", "connect_timeout", NULL};
    const char *const values[] = {"2", url, "2", NULL};
    return PQpingParams(names, values, 1) == PQPING_OK;
}

/* Connects, again and again for some seconds: database and server may have been started together. */
static int connect_first(struct postgresql *postgresql, struct postgresql_link *link,
                         char reason[static STORAGE_REASON_BYTES])
{
    int64_t deadline_at = clock_monotonic_ns() + FIRST_CONNECTION_NS;
    while (postgresql_link_open(link, postgresql->url, deadline_at) != POSTGRESQL_DONE) {
        postgresql_link_close(link);
        int64_t next_at = clock_monotonic_ns() + PAUSE_NS;
        if (next_at >= deadline_at || server_refuses(postgresql->url)) {
            snprintf(reason, STORAGE_REASON_BYTES,
                     "%.180s; check that it runs and what the database URL names", link->error);
            return -1;
        }
        postgresql_pause(postgresql, next_at);
    }
    return 0;
}

/* Makes the writer's link with the tables behind it, before the connector knows of it. */
static int begin(struct postgresql *postgresql, char reason[static STORAGE_REASON_BYTES])
{
    struct postgresql_link *link = &postgresql->links.all[0];
    if (connect_first(postgresql, link, reason) != 0 || postgresql_prepare_schema(link, reason) != 0)
        return -1;
    if (postgresql_link_set_up(link, clock_monotonic_ns() + FIRST_CONNECTION_NS) != POSTGRESQL_DONE) {
        snprintf(reason, STORAGE_REASON_BYTES,
                 "%.180s; check the tables and the rights of the database's user", link->error);
        return -1;
    }
    link->state = POSTGRESQL_IDLE;
    if (postgresql_links_start(postgresql) != 0 || postgresql_listener_start(postgresql) != 0) {
        snprintf(reason, STORAGE_REASON_BYTES, "%s", strerror(errno));
        return -1;
    }
    return 0;
}

static void *postgresql_open(const struct storage_options *options, char reason[static STORAGE_REASON_BYTES])
{
    if (check_url(options->url, reason) != 0)
        return NULL;
    struct postgresql *postgresql = create(options);
    if (postgresql == NULL) {
        snprintf(reason, STORAGE_REASON_BYTES, "%s", strerror(errno));
        return NULL;
    }
    if (begin(postgresql, reason) == 0)
        return postgresql;
    postgresql_close(postgresql);
    return NULL;
}

static bool postgresql_is_available(void *state)
{
    struct postgresql *postgresql = state;
    return atomic_load(&postgresql->available);
}

const struct storage_engine storage_postgresql = {
    .name = "postgresql",
    .open = postgresql_open,
    .close = postgresql_close,
    .is_available = postgresql_is_available,
    .commit = postgresql_commit,
    .resolve = postgresql_resolve,
    .events = postgresql_events,
    .newest_id = postgresql_newest_id,
    .subscriptions = postgresql_subscriptions,
    .reference = postgresql_reference,
    .reference_piece = postgresql_reference_piece,
    .planned_events = postgresql_planned_events,
    .planned_position = postgresql_planned_position,
    .planned_users_named = postgresql_planned_users_named,
    .planned_users = postgresql_planned_users,
    .planned_event_ids = postgresql_planned_event_ids,
    .revenue = postgresql_revenue,
    .checkpoint = postgresql_checkpoint,
    .checkpoints = postgresql_checkpoints,
};
