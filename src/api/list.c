#include "api/list.h"

#include "api/database.h"
#include "api/json_body.h"
#include "net/blocking.h"
#include "net/streaming.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room before a page for its length in hexadecimal, and a CRLF on either side. */
enum { CHUNK_HEAD_BYTES = 2 * sizeof(size_t) + 4 };

/* What the producer of a list holds beside the page, about. */
enum { PRODUCER_BYTES = LIST_PAGE_BYTES };

struct list {
    struct list_producer producer;
    struct buffer page; /* framed */
    size_t sent;        /* of it */
    bool chunked;
    bool done; /* `page` is the last one */
    struct budget *budget;
    size_t counted; /* in that */
};

static void list_free(struct list *list)
{
    list->producer.free(list->producer.state);
    if (list->counted > 0)
        budget_give_back(list->budget, list->counted);
    buffer_free(&list->page);
    free(list);
}

/* --- as the body of an answer --- */

static int list_fill(void *state, struct iovec *vectors, int count)
{
    struct list *list = state;
    if (count == 0 || list->sent == list->page.length)
        return 0;
    vectors[0] =
        (struct iovec){.iov_base = list->page.bytes + list->sent, .iov_len = list->page.length - list->sent};
    return 1;
}

static void list_advance(void *state, size_t length)
{
    struct list *list = state;
    list->sent += length;
}

static void list_close(void *state, bool whole)
{
    (void)whole;
    list_free(state);
}

/* Counts what the list holds while its client takes its time. */
static bool count(struct list *list)
{
    size_t bytes = list->page.capacity + PRODUCER_BYTES;
    if (bytes == list->counted)
        return true;
    if (!budget_take(list->budget, bytes))
        return false;
    if (list->counted > 0)
        budget_give_back(list->budget, list->counted);
    list->counted = bytes;
    return true;
}

/* Makes the next page and frames it as a chunk. The line before it is as short as it may be, so it is written behind the
 * room that was left for it. */
static enum list_progress make_page(struct list *list, enum storage_result *error)
{
    char head[CHUNK_HEAD_BYTES + 1] = "";
    buffer_clear(&list->page);
    list->sent = 0;
    if (list->chunked)
        buffer_append(&list->page, head, CHUNK_HEAD_BYTES);
    size_t start = list->page.length;
    enum list_progress progress = LIST_MORE;
    while (progress == LIST_MORE && list->page.length - start < LIST_PAGE_BYTES && !list->page.failed)
        progress = list->producer.produce(list->producer.state, &list->page, error);
    if (progress == LIST_FAILED)
        return progress;
    size_t length = list->page.length - start;
    if (list->chunked) {
        int head_length = snprintf(head, sizeof head, "%zx\r\n", length);
        buffer_append_text(&list->page, progress == LIST_DONE ? "\r\n0\r\n\r\n" : "\r\n");
        list->sent = start - (size_t)head_length;
        if (!list->page.failed)
            memcpy(list->page.bytes + list->sent, head, (size_t)head_length);
    }
    if (list->page.failed || (progress == LIST_MORE && !count(list))) {
        *error = STORAGE_NO_MEMORY;
        return LIST_FAILED;
    }
    list->done = progress == LIST_DONE;
    return progress;
}

static enum body_more list_more(void *state, struct worker *worker)
{
    struct list *list = state;
    enum storage_result error;
    if (list->done || worker == NULL)
        return BODY_END;
    bool blocking = blocking_begin_page(worker) == 0;
    enum list_progress progress = make_page(list, &error);
    if (blocking)
        blocking_end_page(worker);
    return progress == LIST_FAILED ? BODY_END : BODY_MORE;
}

static const struct body_source_operations operations = {
    .fill = list_fill, .advance = list_advance, .close = list_close, .more = list_more};

/* --- the request --- */

/* Sends the page that has been made, and what follows it. */
static void send_chunks(struct list *list, const struct request *request, struct response *response,
                        struct text first)
{
    list->chunked = request->minor_version > 0;
    if (list->chunked)
        response_header(response, "Transfer-Encoding", TEXT("chunked"));
    if (request->method == METHOD_HEAD) {
        list->done = true;
    } else if (list->chunked) {
        buffer_printf(response->body, "%zx\r\n", first.length);
        buffer_append(response->body, first.bytes, first.length);
        buffer_append_text(response->body, "\r\n");
    } else {
        buffer_append(response->body, first.bytes, first.length);
    }
    buffer_free(&list->page); /* the next page comes when the client has taken this one */
    list->sent = 0;
    response->source =
        (struct body_source){.operations = &operations, .state = list, .endless = true, .ends = true};
}

void list_send(struct request *request, struct response *response, struct list_producer producer)
{
    enum storage_result error = STORAGE_OK;
    struct list *list = calloc(1, sizeof *list);
    if (list == NULL) {
        producer.free(producer.state);
        response_out_of_memory(response);
        return;
    }
    list->producer = producer;
    list->budget = streaming_budget(request);
    if (database_begin(request, response) != 0) {
        list_free(list);
        return;
    }
    enum list_progress progress = make_page(list, &error);
    blocking_end(request->worker);
    struct text first = {.bytes = list->page.bytes, .length = list->page.length};
    switch (progress) {
    case LIST_FAILED:
        answer_database_error(response, error);
        list_free(list);
        break;
    case LIST_DONE:
        response_json(response, 200);
        buffer_append(response->body, first.bytes, first.length);
        list_free(list);
        break;
    case LIST_MORE:
        response_json(response, 200);
        send_chunks(list, request, response, first);
        break;
    }
}
