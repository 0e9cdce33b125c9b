/* The listener: waits on a connection of its own for what other servers on the same database notify. */
#include "storage/postgresql_internal.h"

#include <errno.h>
#include <poll.h>

/* Nothing is due: the stop interrupts a wait, keepalives end a connection that is dead. */
#define LONG_NS (INT64_C(60) * CLOCK_NS_PER_SECOND)

static void tell_news(const struct postgresql *postgresql)
{
    if (postgresql->watcher.news != NULL)
        postgresql->watcher.news(postgresql->watcher.context);
}

static void tell_unsubscribed(const struct postgresql *postgresql, struct text user, struct text channel)
{
    if (postgresql->watcher.unsubscribed != NULL)
        postgresql->watcher.unsubscribed(postgresql->watcher.context, user, channel);
}

/* Reads "LENGTH:USERCHANNEL", the length of the user in bytes. */
static void tell_payload(const struct postgresql *postgresql, struct text payload)
{
    uint64_t length;
    struct text rest = payload;
    struct text number = text_cut(&rest, ':');
    if (text_parse_number(number, 1, rest.length, &length) != 0) {
        /* Nobody knows which. */
        tell_unsubscribed(postgresql, TEXT(""), TEXT(""));
        return;
    }
    tell_unsubscribed(postgresql, (struct text){.bytes = rest.bytes, .length = length},
                      (struct text){.bytes = rest.bytes + length, .length = rest.length - length});
}

static void tell_notifications(const struct postgresql *postgresql, struct postgresql_link *link)
{
    bool news = false;
    PGnotify *notification;
    while ((notification = PQnotifies(link->connection)) != NULL) {
        if (strcmp(notification->relname, "event_syncer") == 0)
            news = true;
        else
            tell_payload(postgresql, text_from(notification->extra));
        PQfreemem(notification);
    }
    if (news)
        tell_news(postgresql);
}

/* Connects and listens until the connection is lost. Returns whether it had been there. */
static bool listen_once(const struct postgresql *postgresql, struct postgresql_link *link)
{
    int64_t deadline_at = clock_monotonic_ns() + POSTGRESQL_CONNECT_NS;
    PGresult *result = NULL;
    bool good = postgresql_link_open(link, postgresql->url, deadline_at) == POSTGRESQL_DONE &&
                postgresql_link_run(link, postgresql_settings, deadline_at, &result) == POSTGRESQL_DONE &&
                PQresultStatus(result) == PGRES_TUPLES_OK;
    PQclear(result);
    result = NULL;
    good = good &&
           postgresql_link_run(link, "LISTEN event_syncer; LISTEN event_syncer_unsubscribed", deadline_at,
                               &result) == POSTGRESQL_DONE &&
           PQresultStatus(result) == PGRES_COMMAND_OK;
    PQclear(result);
    if (good) {
        /* Whatever happened while nobody listened. */
        tell_news(postgresql);
        tell_unsubscribed(postgresql, TEXT(""), TEXT(""));
        do
            tell_notifications(postgresql, link);
        while (postgresql_link_wait(link, POLLIN, clock_monotonic_ns() + LONG_NS) == POSTGRESQL_DONE);
        tell_notifications(postgresql, link);
    }
    postgresql_link_close(link);
    return good;
}

static void *listener_main(void *context)
{
    struct postgresql *postgresql = context;
    struct postgresql_link link = {.interrupt = postgresql->stop};
    unsigned failures = 0;
    do
        failures = listen_once(postgresql, &link) ? 1 : failures + 1;
    while (postgresql_pause(postgresql, clock_monotonic_ns() + postgresql_backoff_ns(failures)));
    return NULL;
}

int postgresql_listener_start(struct postgresql *postgresql)
{
    errno = pthread_create(&postgresql->listener, NULL, listener_main, postgresql);
    if (errno != 0)
        return -1;
    postgresql->has_listener = true;
    pthread_setname_np(postgresql->listener, "pg listener");
    return 0;
}

void postgresql_listener_stop(struct postgresql *postgresql)
{
    if (postgresql->has_listener)
        pthread_join(postgresql->listener, NULL);
}
