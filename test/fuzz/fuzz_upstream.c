/* What an upstream answers: to an event that is added, and its lists. The first byte of the input says the status, the second
 * what it is an answer to; the rest is its body. The calls of the upstream and the writes of the storage are doubles. */
#include "fuzz.h"

#include "api/json_body.h"
#include "api/upstream_event.h"
#include "api/upstream_list.h"
#include "base/json.h"

#include <string.h>

enum { LIST_USERS, LIST_EVENTS, ADDED, KINDS };

/* What the double of the upstream answers with. */
static struct {
    unsigned status;
    struct text body;
} given;

/* --- doubles --- */

enum upstream_result upstream_post(struct upstream *upstream, const char *path, struct text body,
                                   struct upstream_judge judge, struct upstream_answer *answer)
{
    struct json_error error;
    (void)upstream;
    FUZZ_REQUIRE(strcmp(path, "/addEvent") == 0);
    FUZZ_REQUIRE(json_check(body, JSON_DEPTH + 1, &error) == JSON_VALID);
    *answer = (struct upstream_answer){.status = given.status, .body = BUFFER_EMPTY, .retry_after_s = 1};
    if (given.status >= 300 && (given.status < 400 || given.status > 499)) {
        strcpy(answer->reason, "it answered otherwise");
        return UPSTREAM_FAILED;
    }
    if (given.status <= 299 && judge.judge(judge.context, given.body) != UPSTREAM_GOOD) {
        strcpy(answer->reason, "its answer is unreadable");
        return UPSTREAM_FAILED;
    }
    buffer_append(&answer->body, given.body.bytes, given.body.length);
    return given.status <= 299 ? UPSTREAM_ANSWERED : UPSTREAM_REFUSED;
}

enum upstream_result upstream_get(struct upstream *upstream, const char *path, struct upstream_judge judge,
                                  struct upstream_answer *answer)
{
    return upstream_post(upstream, path, TEXT("{}"), judge, answer);
}

void upstream_answer_free(struct upstream_answer *answer)
{
    buffer_free(&answer->body);
}

static void check_id(struct text id)
{
    FUZZ_REQUIRE(id.length >= 1 && id.length <= NAME_BYTES);
    FUZZ_REQUIRE(text_is_utf8(id) && !text_has_control(id));
}

static void check_storable(struct text text)
{
    FUZZ_REQUIRE(text_is_utf8(text) && memchr(text.bytes, '\0', text.length) == NULL);
}

static void check_json(struct text text, bool is_object)
{
    struct json_error error;
    check_storable(text);
    FUZZ_REQUIRE(json_check(text, JSON_DEPTH, &error) == JSON_VALID);
    FUZZ_REQUIRE(!is_object || json_type_of(text) == JSON_OBJECT);
}

enum storage_result storage_write(struct storage *storage, struct storage_write *write, int64_t deadline_at)
{
    (void)storage, (void)deadline_at;
    FUZZ_REQUIRE(write->count >= 1 && write->count <= STORAGE_MERGE_MAX);
    for (size_t i = 0; i < write->count && write->kind == STORAGE_MERGE_USERS; i++) {
        check_id(write->users[i].id);
        check_json(write->users[i].attributes, true);
    }
    for (size_t i = 0; i < write->count && write->kind == STORAGE_MERGE_EVENTS; i++) {
        const struct storage_planned_event *event = &write->events[i];
        check_id(event->id);
        check_id(event->user);
        check_storable(event->name);
        if (event->details.length > 0)
            check_json(event->details, false);
    }
    return STORAGE_OK;
}

/* --- the target --- */

static bool go_on(void *context)
{
    (void)context;
    return false;
}

static void merge(int kind)
{
    struct upstream_merge merge = {.should_stop = go_on};
    if (upstream_list_judge(NULL, given.body) != UPSTREAM_GOOD)
        return;
    enum storage_result result = kind == LIST_USERS ? upstream_list_merge_users(&merge, given.body)
                                                    : upstream_list_merge_events(&merge, given.body);
    FUZZ_REQUIRE(result == STORAGE_OK);
}

/* The answer's body is that of the request, too, where it is an object. */
static void add(void)
{
    struct json_error error;
    struct buffer body = BUFFER_EMPTY, headers = BUFFER_EMPTY;
    struct response response = {.body = &body, .headers = &headers};
    struct name id;
    bool is_object =
        json_check(given.body, JSON_DEPTH, &error) == JSON_VALID && json_type_of(given.body) == JSON_OBJECT;
    FUZZ_REQUIRE(uuid_draw(&id) == 0);
    if (upstream_event_post(NULL, is_object ? given.body : TEXT("{\"name\":\"n\"}"), &id, &response) == 0) {
        FUZZ_REQUIRE(id.text.bytes == id.bytes);
        check_id(id.text);
    } else {
        FUZZ_REQUIRE(response.status >= 400 && response.status <= 599);
        check_json((struct text){.bytes = body.bytes, .length = body.length}, false);
    }
    buffer_free(&body);
    buffer_free(&headers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned statuses[] = {200, 201, 204, 302, 400, 404, 409, 422, 499, 500, 503};
    given.status = statuses[fuzz_take_byte(&data, &size) % (sizeof statuses / sizeof statuses[0])];
    int kind = fuzz_take_byte(&data, &size) % KINDS;
    given.body = fuzz_copy(data, size);
    if (kind == ADDED)
        add();
    else
        merge(kind);
    fuzz_free(given.body);
    return 0;
}
