#include "cli/send_queue.h"

#include "base/buffer.h"
#include "base/json.h"
#include "base/json_read.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { DEEPEST_JSON = 1000 };

struct send_user {
    struct table_link link;
    struct hash_128 name; /* stands for the name itself (base/hash.h) */
    struct send_line_list waiting;
    bool is_named; /* in the table */
    bool is_ready;
    size_t place; /* in the heap */
    bool is_busy;
};

int send_queue_begin(struct send_queue *queue)
{
    *queue = (struct send_queue){.users = TABLE_EMPTY, .last_number = UINT64_MAX};
    TAILQ_INIT(&queue->lines);
    return hash_seed_draw(&queue->seed);
}

bool send_queue_has_room(const struct send_queue *queue)
{
    return queue->count < SEND_QUEUE_LINES && queue->bytes < SEND_QUEUE_BYTES;
}

/* --- users --- */

enum user_result { USER_NAMED, USER_NONE, USER_NO_MEMORY };

/* Whose line it is. A text that is no JSON, and a userId of another kind, are nobody's: the server will say so. */
static enum user_result name_of(const struct send_queue *queue, struct text text, struct hash_128 *name)
{
    static const struct text member = {.bytes = "userId", .length = sizeof "userId" - 1};
    struct json_error error;
    struct text value = {.length = 0};
    enum json_result result = json_check(text, DEEPEST_JSON, &error);
    if (result == JSON_NO_MEMORY)
        return USER_NO_MEMORY;
    if (result != JSON_VALID || json_type_of(text) != JSON_OBJECT)
        return USER_NONE;
    json_members(text, &member, &value, 1);
    if (json_type_of(value) == JSON_NUMBER) {
        *name = hash_text_128(&queue->seed, value);
        return USER_NAMED;
    }
    if (json_type_of(value) != JSON_STRING)
        return USER_NONE;
    struct buffer storage = BUFFER_EMPTY;
    struct text decoded;
    enum json_string_result read = json_string(value, &storage, &decoded);
    if (read == JSON_STRING_OK)
        *name = hash_text_128(&queue->seed, decoded);
    buffer_free(&storage);
    if (read == JSON_STRING_NO_MEMORY)
        return USER_NO_MEMORY;
    return read == JSON_STRING_OK ? USER_NAMED : USER_NONE;
}

static bool has_name(const struct table_link *link, const void *wanted)
{
    const struct send_user *user = TABLE_ELEMENT(link, struct send_user, link);
    const struct hash_128 *name = wanted;
    return user->name.low == name->low && user->name.high == name->high;
}

static struct send_user *make_user(struct send_queue *queue, const struct hash_128 *name)
{
    struct send_user *user = NULL;
    if (name == NULL || table_reserve(&queue->users) == 0)
        user = calloc(1, sizeof *user);
    if (user == NULL)
        return NULL;
    TAILQ_INIT(&user->waiting);
    if (name != NULL) {
        user->name = *name;
        user->is_named = true;
        table_add(&queue->users, &user->link, name->low);
    }
    return user;
}

static struct send_user *find_or_make_user(struct send_queue *queue, struct text text)
{
    struct hash_128 name;
    switch (name_of(queue, text, &name)) {
    case USER_NO_MEMORY:
        return NULL;
    case USER_NONE:
        return make_user(queue, NULL);
    case USER_NAMED:
        break;
    }
    struct table_link *link = table_find(&queue->users, name.low, has_name, &name);
    return link != NULL ? TABLE_ELEMENT(link, struct send_user, link) : make_user(queue, &name);
}

static void free_user(struct send_queue *queue, struct send_user *user)
{
    if (user->is_named)
        table_remove(&queue->users, &user->link);
    free(user);
}

/* --- the heap of users that are ready --- */

static uint64_t first_number(const struct send_user *user)
{
    return TAILQ_FIRST(&user->waiting)->number;
}

static void set_place(struct send_queue *queue, size_t place, struct send_user *user)
{
    queue->ready[place] = user;
    user->place = place;
}

/* Moves a user from `place` up and down to where it belongs. */
static void sift(struct send_queue *queue, size_t place, struct send_user *user)
{
    uint64_t number = first_number(user);
    while (place > 0 && first_number(queue->ready[(place - 1) / 2]) > number) {
        set_place(queue, place, queue->ready[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    for (;;) {
        size_t below = 2 * place + 1;
        if (below + 1 < queue->ready_count &&
            first_number(queue->ready[below + 1]) < first_number(queue->ready[below]))
            below++;
        if (below >= queue->ready_count || first_number(queue->ready[below]) > number)
            break;
        set_place(queue, place, queue->ready[below]);
        place = below;
    }
    set_place(queue, place, user);
}

static void enter_heap(struct send_queue *queue, struct send_user *user)
{
    size_t place = queue->ready_count++;
    set_place(queue, place, user);
    sift(queue, place, user);
}

static void leave_heap(struct send_queue *queue, const struct send_user *user)
{
    struct send_user *last = queue->ready[--queue->ready_count];
    if (last != user)
        sift(queue, user->place, last);
}

/* Makes invariants 3 and 5 hold again. */
static void look_at_user(struct send_queue *queue, struct send_user *user)
{
    const struct send_line *first = TAILQ_FIRST(&user->waiting);
    bool may = !user->is_busy && first != NULL && first->number <= queue->last_number;
    if (may && !user->is_ready)
        enter_heap(queue, user);
    if (!may && user->is_ready)
        leave_heap(queue, user);
    user->is_ready = may;
    if (first == NULL && !user->is_busy)
        free_user(queue, user);
}

/* --- lines --- */

int send_queue_add(struct send_queue *queue, struct text text, uint64_t number, uint64_t file_bytes)
{
    struct send_line *line = NULL;
    if (queue->count < SEND_QUEUE_LINES)
        line = malloc(sizeof *line + text.length);
    if (line == NULL)
        return -1;
    struct send_user *user = find_or_make_user(queue, text);
    if (user == NULL) {
        free(line);
        errno = ENOMEM;
        return -1;
    }
    char *copy = (char *)(line + 1);
    memcpy(copy, text.bytes, text.length);
    *line = (struct send_line){.user = user,
                               .number = number,
                               .file_bytes = file_bytes,
                               .text = {.bytes = copy, .length = text.length}};
    TAILQ_INSERT_TAIL(&queue->lines, line, link);
    TAILQ_INSERT_TAIL(&user->waiting, line, waiting);
    queue->count++;
    queue->bytes += text.length;
    look_at_user(queue, user);
    return 0;
}

struct send_line *send_queue_take(struct send_queue *queue)
{
    if (queue->ready_count == 0)
        return NULL;
    struct send_user *user = queue->ready[0];
    struct send_line *line = TAILQ_FIRST(&user->waiting);
    user->is_busy = true;
    look_at_user(queue, user); /* leaves the heap, which goes by the line */
    TAILQ_REMOVE(&user->waiting, line, waiting);
    return line;
}

void send_queue_settle(struct send_queue *queue, struct send_line *line)
{
    struct send_user *user = line->user;
    TAILQ_REMOVE(&queue->lines, line, link);
    queue->count--;
    queue->bytes -= line->text.length;
    free(line);
    user->is_busy = false;
    look_at_user(queue, user);
}

void send_queue_put_back(struct send_queue *queue, struct send_line *line)
{
    struct send_user *user = line->user;
    TAILQ_INSERT_HEAD(&user->waiting, line, waiting);
    user->is_busy = false;
    look_at_user(queue, user);
}

void send_queue_limit(struct send_queue *queue, uint64_t last_number)
{
    struct send_line *line;
    queue->last_number = last_number;
    TAILQ_FOREACH (line, &queue->lines, link) {
        look_at_user(queue, line->user); /* which has a line, and so stays */
    }
}

void send_queue_free(struct send_queue *queue)
{
    struct send_line *next;
    send_queue_limit(queue, 0); /* nobody is ready */
    for (struct send_line *line = TAILQ_FIRST(&queue->lines); line != NULL; line = next) {
        struct send_user *user = line->user;
        next = TAILQ_NEXT(line, link);
        if (TAILQ_FIRST(&user->waiting) == line)
            TAILQ_REMOVE(&user->waiting, line, waiting);
        else
            user->is_busy = false; /* it was taken */
        free(line);
        look_at_user(queue, user);
    }
    TAILQ_INIT(&queue->lines);
}
