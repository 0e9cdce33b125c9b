/* Who follows what: the tables of channels and users of all open streams. */
#include "stream/hub_internal.h"

#include <stdlib.h>
#include <string.h>

static bool channel_matches(const struct table_link *link, const void *wanted)
{
    return text_equals(TABLE_ELEMENT(link, const struct channel, link)->name, *(const struct text *)wanted);
}

static bool user_matches(const struct table_link *link, const void *wanted)
{
    return text_equals(TABLE_ELEMENT(link, const struct user, link)->name, *(const struct text *)wanted);
}

struct channel *registry_channel_locked(const struct hub *hub, struct text name)
{
    struct table_link *link = table_find(&hub->channels, hash_text(&hub->seed, name), channel_matches, &name);
    return link == NULL ? NULL : TABLE_ELEMENT(link, struct channel, link);
}

struct user *registry_user_locked(const struct hub *hub, struct text name)
{
    struct table_link *link = table_find(&hub->users, hash_text(&hub->seed, name), user_matches, &name);
    return link == NULL ? NULL : TABLE_ELEMENT(link, struct user, link);
}

static struct channel *make_channel(struct hub *hub, struct text name)
{
    struct channel *channel = registry_channel_locked(hub, name);
    if (channel != NULL)
        return channel;
    channel = malloc(sizeof *channel + name.length);
    if (channel == NULL || table_reserve(&hub->channels) != 0) {
        free(channel);
        return NULL;
    }
    memcpy(channel->bytes, name.bytes, name.length);
    channel->name = (struct text){.bytes = channel->bytes, .length = name.length};
    TAILQ_INIT(&channel->followers);
    table_add(&hub->channels, &channel->link, hash_text(&hub->seed, name));
    return channel;
}

static struct user *make_user(struct hub *hub, struct text name)
{
    struct user *user = registry_user_locked(hub, name);
    if (user != NULL)
        return user;
    user = malloc(sizeof *user + name.length);
    if (user == NULL || table_reserve(&hub->users) != 0) {
        free(user);
        return NULL;
    }
    *user = (struct user){.recheck_generation = 0};
    memcpy(user->bytes, name.bytes, name.length);
    user->name = (struct text){.bytes = user->bytes, .length = name.length};
    TAILQ_INIT(&user->streams);
    table_add(&hub->users, &user->link, hash_text(&hub->seed, name));
    return user;
}

void registry_end_following_locked(struct hub *hub, struct following *following)
{
    struct channel *channel = following->channel;
    if (channel == NULL)
        return;
    TAILQ_REMOVE(&channel->followers, following, link);
    following->channel = NULL;
    if (!TAILQ_EMPTY(&channel->followers))
        return;
    table_remove(&hub->channels, &channel->link);
    free(channel);
}

void registry_remove_locked(struct hub *hub, struct stream *stream)
{
    for (size_t i = 0; i < stream->following_count; i++)
        registry_end_following_locked(hub, &stream->followings[i]);
    struct user *user = stream->user;
    if (user == NULL)
        return;
    stream->user = NULL;
    TAILQ_REMOVE(&user->streams, stream, user_link);
    if (!TAILQ_EMPTY(&user->streams))
        return;
    if (user->recheck_wanted)
        TAILQ_REMOVE(&hub->rechecks, user, recheck_link);
    table_remove(&hub->users, &user->link);
    free(user);
}

int registry_add_locked(struct hub *hub, struct stream *stream, struct text user_name)
{
    stream->user = make_user(hub, user_name);
    if (stream->user == NULL)
        return -1;
    TAILQ_INSERT_TAIL(&stream->user->streams, stream, user_link);
    for (size_t i = 0; i < stream->following_count; i++) {
        struct following *following = &stream->followings[i];
        following->channel = make_channel(hub, following->name);
        if (following->channel == NULL) {
            registry_remove_locked(hub, stream);
            return -1;
        }
        TAILQ_INSERT_TAIL(&following->channel->followers, following, link);
    }
    return 0;
}
