#include "base/json.h"

#include "base/json_internal.h"

#include <setjmp.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_parse.h>

enum { FIRST_CHUNK_BYTES = 3072, CHUNK_BYTES = 8192 };

/* Each allocation is preceded by its size, which a resize needs. */
struct allocation {
    alignas(max_align_t) size_t size;
};

struct chunk {
    struct chunk *next;
    alignas(max_align_t) char bytes[];
};

/* Grows by chunks, frees all at once. The first chunk lies on the stack and is enough for nearly every text.
 */
struct arena {
    char *free_at;
    char *end;
    struct chunk *chunks;
    jmp_buf out_of_memory;
    alignas(max_align_t) char first[FIRST_CHUNK_BYTES];
};

static size_t aligned(size_t size)
{
    return (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
}

static void *arena_allocate(void *context, size_t size)
{
    struct arena *arena = context;
    if (size > SIZE_MAX / 4)
        longjmp(arena->out_of_memory, 1);
    size_t needed = sizeof(struct allocation) + aligned(size);
    if ((size_t)(arena->end - arena->free_at) < needed) {
        size_t chunk_bytes = needed > CHUNK_BYTES ? needed : CHUNK_BYTES;
        struct chunk *chunk = malloc(sizeof *chunk + chunk_bytes);
        if (chunk == NULL)
            longjmp(arena->out_of_memory, 1);
        chunk->next = arena->chunks;
        arena->chunks = chunk;
        arena->free_at = chunk->bytes;
        arena->end = chunk->bytes + chunk_bytes;
    }
    struct allocation *allocation = (struct allocation *)(void *)arena->free_at;
    allocation->size = size;
    arena->free_at += needed;
    return allocation + 1;
}

static void *arena_resize(void *context, void *old, size_t size)
{
    if (old == NULL)
        return arena_allocate(context, size);
    size_t old_size = ((struct allocation *)old - 1)->size;
    if (size <= old_size)
        return old;
    void *larger = arena_allocate(context, size);
    memcpy(larger, old, old_size);
    return larger;
}

static void arena_release(void *context, void *old)
{
    (void)context;
    (void)old;
}

static void arena_init(struct arena *arena)
{
    arena->free_at = arena->first;
    arena->end = arena->first + sizeof arena->first;
    arena->chunks = NULL;
}

static void arena_free(struct arena *arena)
{
    while (arena->chunks != NULL) {
        struct chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        free(chunk);
    }
}

struct depth {
    size_t now;
    size_t limit;
};

static int enter(void *context)
{
    struct depth *depth = context;
    return ++depth->now <= depth->limit;
}

static int leave(void *context)
{
    struct depth *depth = context;
    depth->now--;
    return 1;
}

static void locate(struct text json, size_t offset, struct json_error *error)
{
    error->line = 1;
    error->column = 1;
    for (size_t i = 0; i < offset && i < json.length; i++) {
        if (json.bytes[i] == '\n') {
            error->line++;
            error->column = 1;
        } else {
            error->column++;
        }
    }
}

static void explain(yajl_handle handle, struct json_error *error)
{
    unsigned char *message = yajl_get_error(handle, 0, NULL, 0);
    snprintf(error->reason, sizeof error->reason, "%s", message == NULL ? "" : (const char *)message);
    error->reason[strcspn(error->reason, "\n")] = '\0';
    yajl_free_error(handle, message);
}

static bool is_one_of(struct text json, size_t at, const char *wanted)
{
    return at < json.length && json.bytes[at] != '\0' && strchr(wanted, json.bytes[at]) != NULL;
}

static size_t digits_end(struct text json, size_t at)
{
    while (is_one_of(json, at, "0123456789"))
        at++;
    return at;
}

/* Where the number that begins at `at` ends by the grammar: 01 is two of them. */
static size_t number_end(struct text json, size_t at)
{
    at += is_one_of(json, at, "-") ? 1 : 0;
    at = is_one_of(json, at, "0") ? at + 1 : digits_end(json, at);
    if (is_one_of(json, at, "."))
        at = digits_end(json, at + 1);
    if (!is_one_of(json, at, "eE"))
        return at;
    at++;
    return digits_end(json, at + (is_one_of(json, at, "+-") ? 1 : 0));
}

/* Where the token at `at` ends. All before the first bad one are well-formed. */
static size_t token_end(struct text json, size_t at)
{
    char first = json.bytes[at];
    if (first == '"')
        return json_string_end(json, at);
    if (is_one_of(json, at, "-0123456789"))
        return number_end(json, at);
    at++;
    if (first == 't' || first == 'n' || first == 'f') {
        size_t rest = first == 'f' ? strlen("alse") : strlen("rue");
        return at + rest < json.length ? at + rest : json.length;
    }
    return at;
}

static bool begins_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* Where the value that the text begins with ends; it is well-formed. */
static size_t first_value_end(struct text json)
{
    size_t at = json_skip_space(json, 0);
    return is_one_of(json, at, "[{") ? json_container_end(json, at) : token_end(json, at);
}

/* From how many bytes YAJL has consumed to where the fault begins: most bad bytes, and a bad token in an object, are given
 * back by it, other tokens are consumed. */
static size_t first_bad_byte(struct text json, size_t consumed, const char *reason)
{
    if (begins_with(reason, "parse error: premature EOF"))
        return json.length;
    if (begins_with(reason, "parse error: trailing garbage"))
        return json_skip_space(json, first_value_end(json));
    bool lexical = begins_with(reason, "lexical error");
    bool given_back = lexical ? !begins_with(reason, "lexical error: invalid char in json text")
                              : begins_with(reason, "parse error: after key");
    if (consumed > 0 && !given_back)
        consumed--;
    if (lexical)
        return consumed;
    size_t at = 0;
    for (size_t end; at < json.length && (end = token_end(json, at)) <= consumed; at = end)
        continue;
    return json_skip_space(json, at);
}

static enum json_result parse(struct arena *arena, struct text json, size_t depth_limit,
                              struct json_error *error)
{
    static const yajl_callbacks callbacks = {
        .yajl_start_map = enter, .yajl_end_map = leave, .yajl_start_array = enter, .yajl_end_array = leave};
    yajl_alloc_funcs allocator = {
        .malloc = arena_allocate, .realloc = arena_resize, .free = arena_release, .ctx = arena};
    struct depth depth = {.limit = depth_limit};
    if (setjmp(arena->out_of_memory) != 0)
        return JSON_NO_MEMORY;
    yajl_handle handle = yajl_alloc(&callbacks, &allocator, &depth);
    yajl_config(handle, yajl_dont_validate_strings, 1); /* done already */
    yajl_status status = yajl_parse(handle, (const unsigned char *)json.bytes, json.length);
    /* A number at the very end is looked at only when the text is said to be complete. */
    size_t consumed = status == yajl_status_ok ? json.length : yajl_get_bytes_consumed(handle);
    if (status == yajl_status_ok)
        status = yajl_complete_parse(handle);
    /* YAJL overlooks half a token behind a whole value (1"); a line feed can continue none, and shows it. */
    if (status == yajl_status_ok)
        status = yajl_parse(handle, (const unsigned char *)"\n", 1);
    if (status == yajl_status_ok)
        return JSON_VALID;
    if (status == yajl_status_client_canceled)
        snprintf(error->reason, sizeof error->reason, "nested more than %zu deep", depth_limit);
    else
        explain(handle, error);
    locate(json, first_bad_byte(json, consumed, error->reason), error);
    return JSON_INVALID;
}

/* What YAJL would let pass. */
static int check_bytes(struct text json, struct json_error *error)
{
    const char *reason = "not valid UTF-8";
    size_t offset = text_utf8_length(json);
    const char *space = json.length == 0 ? NULL : memchr(json.bytes, '\f', json.length);
    if (space == NULL && json.length > 0)
        space = memchr(json.bytes, '\v', json.length);
    if (space != NULL && (size_t)(space - json.bytes) < offset) {
        reason = "control characters are not allowed";
        offset = (size_t)(space - json.bytes);
    }
    if (offset == json.length)
        return 0;
    locate(json, offset, error);
    snprintf(error->reason, sizeof error->reason, "%s", reason);
    return -1;
}

enum json_result json_check(struct text json, size_t depth_limit, struct json_error *error)
{
    if (check_bytes(json, error) != 0)
        return JSON_INVALID;
    struct arena arena;
    arena_init(&arena);
    enum json_result result = parse(&arena, json, depth_limit, error);
    arena_free(&arena);
    return result;
}

static void append_escaped(struct buffer *buffer, unsigned char byte)
{
    static const char shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    for (size_t i = 0; i + 1 < sizeof shorts; i += 2) {
        if ((unsigned char)shorts[i] == byte) {
            const char escape[2] = {'\\', shorts[i + 1]};
            buffer_append(buffer, escape, sizeof escape);
            return;
        }
    }
    buffer_printf(buffer, "\\u%04x", byte);
}

void json_append_string(struct buffer *buffer, struct text text)
{
    size_t plain_from = 0;
    buffer_append_text(buffer, "\"");
    for (size_t i = 0; i < text.length; i++) {
        unsigned char byte = (unsigned char)text.bytes[i];
        if (byte >= 0x20 && byte != '"' && byte != '\\')
            continue;
        buffer_append(buffer, text.bytes + plain_from, i - plain_from);
        append_escaped(buffer, byte);
        plain_from = i + 1;
    }
    if (text.length > plain_from)
        buffer_append(buffer, text.bytes + plain_from, text.length - plain_from);
    buffer_append_text(buffer, "\"");
}

/* 17 significant digits always suffice, 15 mostly (IEEE 754 binary64). */
void json_append_double(struct buffer *buffer, double number)
{
    char digits[32];
    int length = 0;
    for (int precision = 15; precision <= 17; precision++) {
        length = snprintf(digits, sizeof digits, "%.*g", precision, number);
        if (strtod(digits, NULL) == number)
            break;
    }
    buffer_append(buffer, digits, (size_t)length);
}
