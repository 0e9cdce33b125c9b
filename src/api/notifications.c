/* Section 2 of the API: subscriptions and history. Publishing is in publish.c, streams are in stream.c. */
#include "api/api.h"
#include "api/database.h"
#include "api/event_json.h"
#include "api/json_body.h"
#include "api/user_id.h"
#include "base/json.h"
#include "net/blocking.h"

#include <stdlib.h>
#include <string.h>

/* A page of the history ends where its payloads have so many bytes, and nextAfterId leads on. */
enum { DEFAULT_PAGE_EVENTS = 50, MOST_PAGE_EVENTS = 1000, PAGE_BYTES = 4 * 1024 * 1024 };

/* --- subscribe and unsubscribe --- */

struct subscription {
    struct user_id user;
    struct name channel;
};

struct subscription_write {
    struct storage_write write; /* the first member */
    struct server *server;
    struct subscription subscription;
};

/* In the writer thread, before any later write is committed: so it can't end a subscription that was made after this. */
static void settled(struct storage_write *write, enum storage_result result, bool abandoned)
{
    struct subscription_write *change = (struct subscription_write *)(void *)write;
    if (result == STORAGE_OK && write->kind == STORAGE_UNSUBSCRIBE)
        hub_unsubscribe(change->server->hub, write->user, write->channel);
    if (abandoned)
        free(change);
}

static int read_subscription(const struct request *request, struct subscription *subscription,
                             struct response *response)
{
    const struct text names[] = {TEXT("userId"), TEXT("channel")};
    struct text values[2];
    if (json_body_object(request, response) != 0)
        return -1;
    json_members(request->body, names, values, 2);
    if (json_member_is_missing(values[0]) || json_member_is_missing(values[1])) {
        response_error(response, 400, "Missing required fields");
        return -1;
    }
    if (user_id_read(values[0], &subscription->user, response) != 0 ||
        json_member_name(values[1], "channel", &subscription->channel, response) != 0)
        return -1;
    if (memchr(subscription->channel.bytes, ',', subscription->channel.text.length) == NULL)
        return 0;
    response_error(response, 400, "channel holds a comma");
    return -1;
}

/* Stores the change. The write lives on the heap, as its outcome may come later than this request can wait. */
static enum storage_result store_change(struct server *server, const struct subscription *subscription,
                                        enum storage_write_kind kind)
{
    struct subscription_write *change = malloc(sizeof *change);
    if (change == NULL)
        return STORAGE_NO_MEMORY;
    change->server = server;
    change->subscription = *subscription;
    struct name *user = &change->subscription.user.name;
    struct name *channel = &change->subscription.channel;
    user->text.bytes = user->bytes;
    channel->text.bytes = channel->bytes;
    change->write = (struct storage_write){
        .kind = kind, .user = user->text, .channel = channel->text, .settled = settled};
    enum storage_result result = storage_write(server->storage, &change->write, database_deadline());
    if (result != STORAGE_UNKNOWN)
        free(change);
    return result;
}

static void change_subscription(struct server *server, const struct request *request,
                                struct response *response, enum storage_write_kind kind)
{
    struct subscription subscription;
    bool subscribe = kind == STORAGE_SUBSCRIBE;
    if (read_subscription(request, &subscription, response) != 0 || database_begin(request, response) != 0)
        return;
    enum storage_result result = store_change(server, &subscription, kind);
    blocking_end(request->worker);
    if (result != STORAGE_OK) {
        answer_database_error(response, result);
        return;
    }
    response_json(response, subscribe ? 201 : 200);
    buffer_append_text(response->body,
                       subscribe ? "{\"status\":\"subscribed\"," : "{\"status\":\"unsubscribed\",");
    buffer_append_text(response->body, "\"userId\":");
    buffer_append(response->body, subscription.user.as_sent.bytes, subscription.user.as_sent.length);
    buffer_append_text(response->body, ",\"channel\":");
    json_append_string(response->body, subscription.channel.text);
    buffer_append_text(response->body, "}");
}

void api_subscribe(void *context, struct request *request, struct response *response)
{
    change_subscription(context, request, response, STORAGE_SUBSCRIBE);
}

void api_unsubscribe(void *context, struct request *request, struct response *response)
{
    change_subscription(context, request, response, STORAGE_UNSUBSCRIBE);
}

/* --- list --- */

struct listing {
    struct buffer *body;
    bool any;
};

static bool list_channel(void *context, struct text channel)
{
    struct listing *listing = context;
    if (listing->any)
        buffer_append_text(listing->body, ",");
    listing->any = true;
    json_append_string(listing->body, channel);
    return !listing->body->failed;
}

void api_subscriptions(void *context, struct request *request, struct response *response)
{
    struct server *server = context;
    struct name user;
    if (parameter_name(request, "userId", &user, response) != 0 || database_begin(request, response) != 0)
        return;
    struct listing listing = {.body = response->body};
    buffer_append_text(response->body, "{\"channels\":[");
    enum storage_result result =
        storage_subscriptions(server->storage, user.text, list_channel, &listing, database_deadline());
    blocking_end(request->worker);
    buffer_append_text(response->body, "]}");
    response_json(response, 200);
    answer_database_error(response, result);
}

/* --- history --- */

struct page {
    struct buffer *body;
    uint64_t limit;
    uint64_t count;
    uint64_t last_id;
    uint64_t payload_bytes;
    bool more; /* events follow */
};

static bool add_to_page(void *context, const struct storage_event *event)
{
    struct page *page = context;
    page->more = page->count == page->limit;
    if (page->more)
        return false;
    if (page->count > 0)
        buffer_append_text(page->body, ",");
    event_json_append(page->body, event);
    page->last_id = event->id;
    page->payload_bytes += event->payload.length;
    page->count++;
    return !page->body->failed;
}

static void end_page(const struct page *page)
{
    buffer_append_text(page->body, "],\"nextAfterId\":");
    if (page->more)
        buffer_append_number(page->body, page->last_id);
    else
        buffer_append_text(page->body, "null");
    buffer_append_text(page->body, "}");
}

void api_history(void *context, struct request *request, struct response *response)
{
    struct server *server = context;
    struct name channel;
    struct page page = {.body = response->body, .limit = DEFAULT_PAGE_EVENTS};
    uint64_t after = 0;
    if (parameter_name(request, "channel", &channel, response) != 0 ||
        parameter_number(request, "afterId", 0, INT64_MAX, &after, response) != 0 ||
        parameter_number(request, "limit", 1, MOST_PAGE_EVENTS, &page.limit, response) != 0 ||
        database_begin(request, response) != 0)
        return;
    buffer_append_text(response->body, "{\"events\":[");
    /* One more than asked for tells whether events follow. */
    struct storage_range range = {.channels = &channel.text,
                                  .channel_count = 1,
                                  .after = after,
                                  .up_to = UINT64_MAX,
                                  .limit = (size_t)page.limit + 1,
                                  .most_bytes = PAGE_BYTES};
    enum storage_result result =
        storage_events(server->storage, &range, add_to_page, &page, database_deadline());
    /* One that ended for its size may be followed by nothing: then the next one is empty. */
    page.more = page.more || page.payload_bytes >= PAGE_BYTES;
    blocking_end(request->worker);
    end_page(&page);
    response_json(response, 200);
    answer_database_error(response, result);
}
