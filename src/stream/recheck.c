/* Subscriptions that may have ended through another server. */
#include "base/clock.h"
#include "stream/hub_internal.h"

#include <string.h>

enum { RECHECKS_AT_ONCE = 32, USER_BYTES = 255 };

void recheck_user_locked(struct hub *hub, struct user *user)
{
    if (!user->recheck_wanted)
        TAILQ_INSERT_TAIL(&hub->rechecks, user, recheck_link);
    user->recheck_wanted = true;
}

void hub_recheck(struct hub *hub, struct text user)
{
    pthread_mutex_lock(&hub->mutex);
    if (user.length > 0) {
        struct user *known = registry_user_locked(hub, user);
        if (known != NULL)
            recheck_user_locked(hub, known);
    } else {
        struct table_link *link = NULL;
        while ((link = table_next(&hub->users, link)) != NULL)
            recheck_user_locked(hub, TABLE_ELEMENT(link, struct user, link));
    }
    bool any = !TAILQ_EMPTY(&hub->rechecks);
    pthread_mutex_unlock(&hub->mutex);
    if (any)
        hub_look(hub);
}

/* Takes the next user out of the list, and questions what its streams were known to follow before the database is asked:
 * only that can be found to have ended. `name` gets a copy of the user's. Returns false when there is none. */
static bool question_next(struct hub *hub, char bytes[static USER_BYTES], struct text *name)
{
    pthread_mutex_lock(&hub->mutex);
    struct user *user = TAILQ_FIRST(&hub->rechecks);
    struct stream *stream;
    if (user != NULL) {
        TAILQ_REMOVE(&hub->rechecks, user, recheck_link);
        user->recheck_wanted = false;
        user->recheck_generation++;
        memcpy(bytes, user->name.bytes, user->name.length);
        *name = (struct text){.bytes = bytes, .length = user->name.length};
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

static void put_back(struct hub *hub, struct text name)
{
    pthread_mutex_lock(&hub->mutex);
    struct user *user = registry_user_locked(hub, name);
    if (user != NULL)
        recheck_user_locked(hub, user);
    pthread_mutex_unlock(&hub->mutex);
}

bool recheck_some(struct hub *hub)
{
    char bytes[USER_BYTES];
    struct text user;
    for (size_t i = 0; i < RECHECKS_AT_ONCE; i++) {
        if (!question_next(hub, bytes, &user))
            return false;
        struct answer answer = {.hub = hub, .user = user};
        if (storage_subscriptions(hub->storage, user, confirm, &answer,
                                  clock_monotonic_ns() + STORAGE_CALL_NS) != STORAGE_OK) {
            put_back(hub, user);
            return false;
        }
        end_unconfirmed(hub, user);
    }
    return true;
}
