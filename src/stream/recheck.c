/* Subscriptions that may have ended through another server. */
#include "base/clock.h"
#include "stream/hub_internal.h"

#include <stdlib.h>
#include <string.h>

enum { RECHECKS_AT_ONCE = 32, MOST_RECHECKS = 1024 };

static struct recheck *make_recheck(struct text user)
{
    struct recheck *recheck = malloc(sizeof *recheck + user.length);
    if (recheck == NULL)
        return NULL;
    memcpy(recheck->bytes, user.bytes, user.length);
    recheck->user = (struct text){.bytes = recheck->bytes, .length = user.length};
    return recheck;
}

void hub_recheck(struct hub *hub, struct text user)
{
    struct recheck *recheck = user.length == 0 ? NULL : make_recheck(user);
    pthread_mutex_lock(&hub->inbox_mutex);
    if (recheck != NULL && hub->recheck_count < MOST_RECHECKS) {
        STAILQ_INSERT_TAIL(&hub->rechecks, recheck, link);
        hub->recheck_count++;
        recheck = NULL;
    } else {
        hub->recheck_all = true;
    }
    hub->look = true;
    pthread_cond_signal(&hub->inbox_changed);
    pthread_mutex_unlock(&hub->inbox_mutex);
    free(recheck);
}

static struct recheck *take(struct hub *hub)
{
    pthread_mutex_lock(&hub->inbox_mutex);
    struct recheck *recheck = STAILQ_FIRST(&hub->rechecks);
    if (recheck != NULL) {
        STAILQ_REMOVE_HEAD(&hub->rechecks, link);
        hub->recheck_count--;
    }
    pthread_mutex_unlock(&hub->inbox_mutex);
    return recheck;
}

static void put_back(struct hub *hub, struct recheck *recheck)
{
    pthread_mutex_lock(&hub->inbox_mutex);
    STAILQ_INSERT_HEAD(&hub->rechecks, recheck, link);
    hub->recheck_count++;
    pthread_mutex_unlock(&hub->inbox_mutex);
}

/* Makes a list of every user with an open stream. */
static void expand_all(struct hub *hub)
{
    pthread_mutex_lock(&hub->mutex);
    pthread_mutex_lock(&hub->inbox_mutex);
    if (hub->recheck_all) {
        hub->recheck_all = false;
        struct table_link *link = NULL;
        while ((link = table_next(&hub->users, link)) != NULL) {
            struct recheck *recheck = make_recheck(TABLE_ELEMENT(link, struct user, link)->name);
            if (recheck == NULL) {
                hub->recheck_all = true; /* again in a second */
                break;
            }
            STAILQ_INSERT_TAIL(&hub->rechecks, recheck, link);
            hub->recheck_count++;
        }
    }
    pthread_mutex_unlock(&hub->inbox_mutex);
    pthread_mutex_unlock(&hub->mutex);
}

/* Only what a stream was known to follow before the database was asked can be found to have ended. */
static bool question_user(struct hub *hub, struct text name)
{
    pthread_mutex_lock(&hub->mutex);
    struct user *user = registry_user_locked(hub, name);
    struct stream *stream;
    if (user != NULL) {
        TAILQ_FOREACH (stream, &user->streams, user_link) {
            for (size_t i = 0; i < stream->following_count; i++)
                stream->followings[i].in_question =
                    stream->followings[i].confirmed && stream->followings[i].channel != NULL;
        }
    }
    pthread_mutex_unlock(&hub->mutex);
    return user != NULL;
}

struct answer {
    struct hub *hub;
    struct text user;
};

static bool confirm(void *context, struct text channel)
{
    struct answer *answer = context;
    pthread_mutex_lock(&answer->hub->mutex);
    struct user *user = registry_user_locked(answer->hub, answer->user);
    struct stream *stream;
    if (user != NULL) {
        TAILQ_FOREACH (stream, &user->streams, user_link) {
            for (size_t i = 0; i < stream->following_count; i++) {
                if (text_equals(stream->followings[i].name, channel))
                    stream->followings[i].in_question = false;
            }
        }
    }
    pthread_mutex_unlock(&answer->hub->mutex);
    return true;
}

static void end_unconfirmed(struct hub *hub, struct text name)
{
    pthread_mutex_lock(&hub->mutex);
    struct user *user = registry_user_locked(hub, name);
    struct stream *stream;
    if (user != NULL) {
        TAILQ_FOREACH (stream, &user->streams, user_link) {
            for (size_t i = 0; i < stream->following_count; i++) {
                if (stream->followings[i].in_question)
                    stream_end_following_locked(&stream->followings[i]);
            }
        }
    }
    pthread_mutex_unlock(&hub->mutex);
}

/* Returns 0, or -1 when the database does not answer. */
static int recheck_user(struct hub *hub, struct text user)
{
    struct answer answer = {.hub = hub, .user = user};
    if (!question_user(hub, user))
        return 0;
    if (storage_subscriptions(hub->storage, user, confirm, &answer, clock_monotonic_ns() + STORAGE_CALL_NS) !=
        STORAGE_OK)
        return -1;
    end_unconfirmed(hub, user);
    return 0;
}

bool recheck_some(struct hub *hub)
{
    expand_all(hub);
    struct recheck *recheck = NULL;
    for (size_t i = 0; i < RECHECKS_AT_ONCE && (recheck = take(hub)) != NULL; i++) {
        if (recheck_user(hub, recheck->user) != 0) {
            put_back(hub, recheck);
            return false;
        }
        free(recheck);
    }
    return recheck != NULL;
}

void recheck_free(struct hub *hub)
{
    struct recheck *recheck;
    while ((recheck = take(hub)) != NULL)
        free(recheck);
}
