/* Frames: events in the form of Server-Sent Events (WHATWG HTML, section 9.2), and queues of them. */
#include "stream/hub_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_BYTES = 24, SMALLEST_QUEUE = 4 };

static struct frame *frame_allocate(atomic_size_t *account, uint64_t id, size_t length, struct text channel)
{
    if (length > SIZE_MAX / 2)
        return NULL;
    struct frame *frame = malloc(sizeof *frame + length + channel.length);
    if (frame == NULL)
        return NULL;
    *frame = (struct frame){.account = account, .id = id, .references = 1, .length = length};
    frame->channel = (struct text){.bytes = frame->bytes + length, .length = channel.length};
    if (channel.length > 0)
        memcpy(frame->bytes + length, channel.bytes, channel.length);
    return frame;
}

static char *put(char *at, struct text text)
{
    memcpy(at, text.bytes, text.length);
    return at + text.length;
}

/* An event type holds no control character and a payload in compact JSON no line break, so that each fills one line. */
struct frame *frame_create(atomic_size_t *account, const struct storage_event *event)
{
    const struct text event_field = TEXT("\nevent: ");
    const struct text data_field = TEXT("\ndata: ");
    const struct text end = TEXT("\n\n");
    char id[NUMBER_BYTES];
    size_t id_length = (size_t)snprintf(id, sizeof id, "id: %llu", (unsigned long long)event->id);
    size_t length = id_length + event_field.length + event->event_type.length + data_field.length +
                    event->payload.length + end.length;
    struct frame *frame = frame_allocate(account, event->id, length, event->channel);
    if (frame == NULL)
        return NULL;
    char *at = put(frame->bytes, (struct text){.bytes = id, .length = id_length});
    at = put(at, event_field);
    at = put(at, event->event_type);
    at = put(at, data_field);
    at = put(at, event->payload);
    put(at, end);
    atomic_fetch_add(account, sizeof *frame + length);
    return frame;
}

struct frame *frame_create_heartbeat(void)
{
    const struct text comment = TEXT(": heartbeat\n\n");
    struct frame *frame = frame_allocate(NULL, 0, comment.length, (struct text){.length = 0});
    if (frame != NULL)
        put(frame->bytes, comment);
    return frame;
}

void frame_hold(struct frame *frame)
{
    atomic_fetch_add_explicit(&frame->references, 1, memory_order_relaxed);
}

void frame_release(struct frame *frame)
{
    if (frame == NULL || atomic_fetch_sub_explicit(&frame->references, 1, memory_order_acq_rel) != 1)
        return;
    if (frame->account != NULL)
        atomic_fetch_sub(frame->account, sizeof *frame + frame->length);
    free(frame);
}

struct queued *frame_queue_at(const struct frame_queue *queue, size_t index)
{
    return &queue->items[(queue->first + index) & (queue->capacity - 1)];
}

static int grow(struct frame_queue *queue)
{
    size_t capacity = queue->capacity == 0 ? SMALLEST_QUEUE : 2 * queue->capacity;
    struct queued *items = malloc(capacity * sizeof *items);
    if (items == NULL)
        return -1;
    for (size_t i = 0; i < queue->count; i++)
        items[i] = *frame_queue_at(queue, i);
    free(queue->items);
    queue->items = items;
    queue->capacity = capacity;
    queue->first = 0;
    return 0;
}

int frame_queue_add(struct frame_queue *queue, struct frame *frame, struct following *following)
{
    if (queue->count == queue->capacity && grow(queue) != 0)
        return -1;
    frame_hold(frame);
    queue->bytes += frame->length;
    *frame_queue_at(queue, queue->count++) = (struct queued){.frame = frame, .following = following};
    return 0;
}

static void free_when_empty(struct frame_queue *queue)
{
    if (queue->count > 0)
        return;
    free(queue->items);
    *queue = (struct frame_queue){.items = NULL};
}

void frame_queue_drop_first(struct frame_queue *queue)
{
    queue->bytes -= frame_queue_at(queue, 0)->frame->length;
    frame_release(frame_queue_at(queue, 0)->frame);
    queue->first = (queue->first + 1) & (queue->capacity - 1);
    queue->count--;
    free_when_empty(queue);
}

void frame_queue_clear(struct frame_queue *queue)
{
    while (queue->count > 0)
        frame_queue_drop_first(queue);
}

void frame_queue_drop_ended(struct frame_queue *queue, size_t kept)
{
    size_t left = 0;
    for (size_t i = 0; i < queue->count; i++) {
        struct queued item = *frame_queue_at(queue, i);
        bool dropped = i >= kept && item.following != NULL && item.following->ended;
        if (dropped) {
            queue->bytes -= item.frame->length;
            frame_release(item.frame);
        } else {
            *frame_queue_at(queue, left++) = item;
        }
    }
    queue->count = left;
    free_when_empty(queue);
}
