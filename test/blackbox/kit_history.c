/* GET /api/events/history: its answers taken apart. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kit_events.h"

int64_t kit_wall_clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t kit_parse_instant_ms(const char *text, size_t length)
{
    static const char form[] = "dddd-dd-ddTdd:dd:dd.dddZ";
    char copy[sizeof form];
    struct tm parts = {0};
    if (length != strlen(form))
        return -1;
    for (size_t i = 0; i < length; i++)
        if (form[i] == 'd' ? !isdigit((unsigned char)text[i]) : text[i] != form[i])
            return -1;
    memcpy(copy, text, length);
    copy[length] = '\0';
    const char *rest = strptime(copy, "%Y-%m-%dT%H:%M:%S", &parts);
    if (rest == NULL || *rest != '.')
        return -1;
    return (int64_t)timegm(&parts) * 1000 + atoi(rest + 1);
}

/* Just behind the string whose opening quote is at `text`. */
static const char *skip_string(const char *text)
{
    for (text++; *text != '"'; text++) {
        if (*text == '\\' && text[1] != '\0')
            text++;
        if (*text == '\0')
            return NULL;
    }
    return text + 1;
}

const char *kit_parse_value(const char *text)
{
    size_t depth = 0;
    for (;;) {
        if (*text == '"') {
            text = skip_string(text);
            if (text == NULL)
                return NULL;
        } else if (*text == '{' || *text == '[') {
            depth++;
            text++;
        } else if (*text == '}' || *text == ']') {
            if (depth == 0)
                return NULL;
            depth--;
            text++;
        } else if (*text == ',' || *text == ':') {
            text++;
        } else {
            size_t length = strcspn(text, ",:{}[]\"");
            if (length == 0 || text[length] == '\0')
                return NULL;
            text += length;
        }
        if (depth == 0)
            return text;
    }
}

static bool take_text(const char **next, const char *text)
{
    if (*next == NULL || strncmp(*next, text, strlen(text)) != 0)
        return false;
    *next += strlen(text);
    return true;
}

static bool take_id(const char **next, int64_t *id)
{
    char *end;
    if (!isdigit((unsigned char)**next) || **next == '0')
        return false;
    *id = strtoll(*next, &end, 10);
    *next = end;
    return *id > 0;
}

/* A string without its quotes. */
static bool take_string(const char **next, struct kit_slice *slice)
{
    if (**next != '"')
        return false;
    const char *start = *next + 1, *end = skip_string(*next);
    if (end == NULL)
        return false;
    *slice = (struct kit_slice){start, (size_t)(end - start) - 1};
    *next = end;
    return true;
}

const char *kit_parse_event(const char *text, struct kit_event_slices *event)
{
    const char *next = text;
    if (!take_text(&next, "{\"id\":") || !take_id(&next, &event->id) || !take_text(&next, ",\"channel\":") ||
        !take_string(&next, &event->channel) || !take_text(&next, ",\"eventType\":") ||
        !take_string(&next, &event->type) || !take_text(&next, ",\"payload\":"))
        return NULL;
    const char *end = kit_parse_value(next);
    if (end == NULL)
        return NULL;
    event->payload = (struct kit_slice){next, (size_t)(end - next)};
    next = end;
    if (!take_text(&next, ",\"createdAt\":") || !take_string(&next, &event->created_at) ||
        !take_text(&next, "}"))
        return NULL;
    event->json = (struct kit_slice){text, (size_t)(next - text)};
    return next;
}

static const char *copy_slice(struct kit *kit, struct kit_slice slice)
{
    char *text = kit_allocate(kit, slice.length + 1);
    memcpy(text, slice.text, slice.length);
    return text;
}

static struct kit_event copy_event(struct kit *kit, const struct kit_event_slices *slices)
{
    return (struct kit_event){
        .id = slices->id,
        .channel = copy_slice(kit, slices->channel),
        .type = copy_slice(kit, slices->type),
        .payload = copy_slice(kit, slices->payload),
        .created_at = copy_slice(kit, slices->created_at),
        .json = copy_slice(kit, slices->json),
    };
}

static void append(struct kit *kit, struct kit_history *history, size_t *capacity,
                   const struct kit_event *event)
{
    if (history->count == *capacity) {
        size_t larger = *capacity * 2 + 64;
        struct kit_event *events = kit_allocate(kit, larger * sizeof *events);
        if (history->count > 0)
            memcpy(events, history->events, history->count * sizeof *events);
        history->events = events;
        *capacity = larger;
    }
    history->events[history->count++] = *event;
}

/* What is wrong with an event behind another one, or NULL. */
static const char *judge_event(const struct kit_history *history, const struct kit_event *event)
{
    const struct kit_event *last = history->count == 0 ? NULL : &history->events[history->count - 1];
    if (last != NULL && event->id <= last->id)
        return "ids do not rise";
    if (last != NULL && strcmp(event->channel, last->channel) != 0)
        return "events of two channels";
    if (kit_parse_instant_ms(event->created_at, strlen(event->created_at)) < 0)
        return "createdAt is not RFC 3339 in UTC with milliseconds";
    return NULL;
}

/* The whole body; what is wrong with it, or NULL. */
static const char *parse_page(struct kit *kit, const char *body, struct kit_history *history)
{
    const char *next = body;
    size_t capacity = 0;
    if (!take_text(&next, "{\"events\":["))
        return "not {\"events\":[";
    while (*next != ']') {
        struct kit_event_slices slices;
        if (history->count > 0 && !take_text(&next, ","))
            return "no comma between events";
        next = kit_parse_event(next, &slices);
        if (next == NULL)
            return "not an event";
        struct kit_event event = copy_event(kit, &slices);
        const char *problem = judge_event(history, &event);
        if (problem != NULL)
            return problem;
        append(kit, history, &capacity, &event);
    }
    if (!take_text(&next, "],\"nextAfterId\":"))
        return "no nextAfterId";
    if (!take_text(&next, "null") && !take_id(&next, &history->next_after_id))
        return "nextAfterId is neither null nor an id";
    return strcmp(next, "}") == 0 ? NULL : "something behind the end";
}

const struct kit_history *kit_history_at(struct kit_server *server, const char *channel,
                                         const char *parameters, const char *file, int line)
{
    struct kit *kit = kit_of(server);
    const char *target = kit_format(kit, KIT_HISTORY "?channel=%s%s%s", channel,
                                    parameters == NULL ? "" : "&", parameters == NULL ? "" : parameters);
    const struct kit_response *response = kit_get_path(server, target);
    kit_assert_status_at(response, 200, file, line);
    kit_assert_header_at(response, "Content-Type", "application/json", file, line);
    struct kit_history *history = kit_allocate(kit, sizeof *history);
    const char *problem =
        strlen(response->body) == response->body_length ? parse_page(kit, response->body, history) : "a NUL";
    if (problem != NULL)
        kit_fail_at(kit, file, line, "%s: %s: %.2000s", target, problem, response->body);
    if (history->next_after_id != 0 &&
        (history->count == 0 || history->events[history->count - 1].id != history->next_after_id))
        kit_fail_at(kit, file, line, "%s: nextAfterId is not the last id of the page: %.2000s", target,
                    response->body);
    return history;
}

const struct kit_history *kit_whole_history_at(struct kit_server *server, const char *channel, int limit,
                                               const char *file, int line)
{
    struct kit *kit = kit_of(server);
    struct kit_history *whole = kit_allocate(kit, sizeof *whole);
    size_t capacity = 0;
    int64_t after_id = 0;
    do {
        const char *parameters = kit_format(kit, "afterId=%lld&limit=%d", (long long)after_id, limit);
        const struct kit_history *page = kit_history_at(server, channel, parameters, file, line);
        for (size_t i = 0; i < page->count; i++) {
            if (page->events[i].id <= after_id)
                kit_fail_at(kit, file, line, "id %lld after id %lld", (long long)page->events[i].id,
                            (long long)after_id);
            append(kit, whole, &capacity, &page->events[i]);
        }
        after_id = page->next_after_id;
    } while (after_id != 0);
    return whole;
}

void kit_assert_history_at(struct kit_server *server, const char *channel, const char *payloads,
                           const char *file, int line)
{
    const struct kit_history *history = kit_whole_history_at(server, channel, 1000, file, line);
    struct kit *kit = kit_of(server);
    size_t length = 3;
    for (size_t i = 0; i < history->count; i++)
        length += strlen(history->events[i].payload) + 1;
    char *array = kit_allocate(kit, length), *end = array;
    *end++ = '[';
    for (size_t i = 0; i < history->count; i++) {
        if (i > 0)
            *end++ = ',';
        end = stpcpy(end, history->events[i].payload);
    }
    *end = ']';
    if (strcmp(array, payloads) != 0)
        kit_fail_at(kit, file, line, "the history of %s is %.2000s\ninstead of %.2000s", channel, array,
                    payloads);
}
