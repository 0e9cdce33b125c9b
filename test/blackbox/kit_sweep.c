/* Sweeps: a request again and again, each time with another allocation failing. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "kit_events.h"
#include "kit_faults.h"
#include "kit_internal.h"

char *kit_numbered(struct kit *kit, const char *text, unsigned number)
{
    char digits[16];
    int length = snprintf(digits, sizeof digits, "%u", number);
    size_t marks = 0;
    for (const char *at = text; *at != '\0'; at++)
        marks += *at == '#';
    char *numbered = kit_allocate(kit, strlen(text) + marks * (size_t)length + 1), *end = numbered;
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '#')
            end += snprintf(end, sizeof digits, "%s", digits);
        else
            *end++ = *at;
    }
    *end = '\0';
    return numbered;
}

static int send_numbered(struct kit *kit, struct kit_connection *connection, const struct kit_swept *request,
                         unsigned number)
{
    if (request->raw != NULL) {
        const char *raw = kit_numbered(kit, request->raw, number);
        return kit_try_send(connection, raw, strlen(raw));
    }
    const char *headers = request->headers == NULL ? NULL : kit_numbered(kit, request->headers, number);
    const char *body = request->body == NULL ? NULL : kit_numbered(kit, request->body, number);
    return kit_try_send_request(connection, request->method, kit_numbered(kit, request->target, number),
                                headers, body, body == NULL ? 0 : strlen(body));
}

static enum kit_outcome judge_response(struct kit *kit, const struct kit_swept *request,
                                       const struct kit_response *response)
{
    char status[16];
    snprintf(status, sizeof status, "%d", response->status);
    if (strstr(request->statuses, status) != NULL)
        return KIT_TAKEN;
    const char *retry_after = kit_header(response, "Retry-After");
    if (response->status != 503 || !kit_matches(response->body, "^\\{.*\"error\":\".+\".*\\}$") ||
        retry_after == NULL || !kit_matches(retry_after, "^[1-9][0-9]*$"))
        kit_fail(kit, "without memory: status %d: %s", response->status, response->body);
    return strstr(response->body, "outcome unknown") != NULL ? KIT_OPEN_OUTCOME : KIT_REFUSED;
}

static enum kit_outcome attempt(struct kit_sweep *sweep, const struct kit_swept *request, unsigned number,
                                const char **body)
{
    struct kit *kit = kit_of(sweep->server);
    struct kit_connection *connection = kit_connect(sweep->server);
    struct kit_response response = {0};
    enum kit_outcome outcome = KIT_OPEN_OUTCOME;
    const char *method = request->method == NULL ? "POST" : request->method;
    *body = NULL;
    if (send_numbered(kit, connection, request, number) == 0 &&
        kit_try_receive(connection, method, kit_deadline_at_ms(KIT_DEADLINE_MS), &response) == 0) {
        *body = kit_format(kit, "%s", response.body);
        outcome = judge_response(kit, request, &response);
    } else if (errno == ETIMEDOUT || errno == EPROTO) {
        kit_fail(kit, "no whole answer: %s", strerror(errno));
    } else {
        sweep->cut++;
    }
    kit_response_clear(&response);
    kit_close(connection);
    return outcome;
}

void kit_await_database(struct kit_server *server)
{
    static const char probe[] = "{\"userId\":\"probe\",\"channel\":\"probe\"}";
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
    while (kit_post_json(server, KIT_SUBSCRIBE, probe)->status != 201 ||
           kit_get_path(server, KIT_LIST "?userId=probe")->status != 200) {
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(kit_of(server), "the database does not come back");
        kit_pause();
    }
}

/* What is answered although something failed is right all the same. */
static void check_answer(struct kit_sweep *sweep, const struct kit_swept *request, unsigned number,
                         const char *body)
{
    struct kit *kit = kit_of(sweep->server);
    if (request->answer == NULL && sweep->first_answer == NULL)
        sweep->first_answer = body;
    const char *wanted =
        request->answer == NULL ? sweep->first_answer : kit_numbered(kit, request->answer, number);
    bool is_any = request->answer != NULL && request->answer[0] == '\0';
    if (!is_any && strcmp(body, wanted) != 0)
        kit_fail(kit, "answered is\n%s\ninstead of\n%s", body, wanted);
}

/* One attempt with that allocation failing; 0: none. Returns whether one failed. */
static bool step(struct kit_sweep *sweep, const struct kit_swept *request, uint64_t nth)
{
    struct kit *kit = kit_of(sweep->server);
    struct faults *faults = sweep->faults;
    unsigned number = ++sweep->attempts;
    uint64_t failed = atomic_load(&faults->failed_allocations);
    const char *body;
    kit_note(kit, "%s, attempt %u, allocation %llu", request->name, number, (unsigned long long)nth);
    if (nth > 0)
        kit_fail_allocations(faults, nth, 1);
    enum kit_outcome outcome = attempt(sweep, request, number, &body);
    kit_faults_end(faults);
    bool fired = atomic_load(&faults->failed_allocations) != failed;
    if (!fired && outcome != KIT_TAKEN)
        kit_fail(kit, "not taken, though nothing failed: %s", body == NULL ? "no answer" : body);
    if (outcome == KIT_TAKEN)
        check_answer(sweep, request, number, body);
    if (sweep->database_goes && fired)
        kit_await_database(sweep->server);
    sweep->taken += outcome == KIT_TAKEN;
    sweep->refused += outcome == KIT_REFUSED;
    sweep->open += outcome == KIT_OPEN_OUTCOME;
    if (request->judge != NULL)
        request->judge(sweep, number, outcome, body);
    return fired;
}

void kit_sweep(struct kit_sweep *sweep, const struct kit_swept *request, unsigned most)
{
    /* Twice past the last one: requests do not all allocate alike. */
    unsigned quiet = 0;
    sweep->first_answer = NULL;
    step(sweep, request, 0);
    for (unsigned nth = 1; nth <= most && quiet < 2; nth++)
        quiet = step(sweep, request, nth) ? 0 : quiet + 1;
    step(sweep, request, 0);
}
