/* Slow and dead clients. */
#include "kit_slow.h"

#include <dirent.h>
#include <errno.h>
#include <linux/filter.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "kit_internal.h"

#define PROBES         40
#define PROBE_KEY      "ordinary"
#define MOST_MEDIAN_MS 50

/* ---- crowds ---- */

struct kit_crowd *kit_gather(struct kit_server *server, size_t count, int receive_buffer, const char *format)
{
    struct kit *kit = server->kit;
    struct kit_crowd *crowd = kit_allocate(kit, sizeof *crowd);
    *crowd = (struct kit_crowd){.server = server, .count = count};
    crowd->connections = kit_allocate(kit, count * sizeof(struct kit_connection *));
    for (size_t i = 0; i < count; i++) {
        crowd->connections[i] = kit_connect_small(server, receive_buffer);
        if (format == NULL)
            continue;
        char *text;
        const char *place = strstr(format, "%zu");
        int length = place == NULL
                         ? asprintf(&text, "%s", format)
                         : asprintf(&text, "%.*s%zu%s", (int)(place - format), format, i, place + 3);
        if (length < 0)
            kit_fail(kit, "out of memory");
        kit_send(crowd->connections[i], text, (size_t)length);
        free(text);
    }
    return crowd;
}

static void drop(struct kit_crowd *crowd, size_t number)
{
    kit_close(crowd->connections[number]);
    crowd->connections[number] = NULL;
}

/* Looks at a member: true once it has its 408. */
static bool has_408(struct kit_crowd *crowd, size_t number)
{
    struct kit_connection *connection = crowd->connections[number];
    struct kit_response response;
    if (!kit_has_input(connection))
        return false;
    if (kit_try_receive(connection, "GET", kit_deadline_at_ms(KIT_DEADLINE_MS), &response) != 0)
        kit_fail(crowd->server->kit, "member %zu: no answer, but: %s", number, strerror(errno));
    int status = response.status;
    kit_response_clear(&response);
    if (status != 408)
        kit_fail(crowd->server->kit, "member %zu was answered %d", number, status);
    kit_expect_end(connection);
    drop(crowd, number);
    return true;
}

void kit_trickle_until_408(struct kit_crowd *crowd, int64_t milliseconds)
{
    int64_t deadline_at_ms = kit_deadline_at_ms(milliseconds);
    size_t left = 0;
    for (size_t i = 0; i < crowd->count; i++)
        left += crowd->connections[i] != NULL;
    while (left > 0) {
        for (size_t i = 0; i < crowd->count; i++) {
            if (crowd->connections[i] == NULL)
                continue;
            (void)kit_try_send(crowd->connections[i], "x", 1);
            left -= has_408(crowd, i);
        }
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(crowd->server->kit, "%zu of %zu are still served although they are slow", left,
                     crowd->count);
        for (int i = 0; i < 10; i++)
            kit_pause();
    }
}

void kit_expect_ends(struct kit_crowd *crowd, int64_t milliseconds)
{
    int64_t deadline_at_ms = kit_deadline_at_ms(milliseconds);
    for (size_t i = 0; i < crowd->count; i++) {
        if (!kit_poll(crowd->connections[i]->socket, POLLIN, deadline_at_ms))
            kit_fail(crowd->server->kit, "connection %zu of %zu was not ended", i, crowd->count);
        kit_expect_end(crowd->connections[i]);
        drop(crowd, i);
    }
}

void kit_leave(struct kit_crowd *crowd, enum kit_leave how)
{
    for (size_t i = 0; i < crowd->count; i++) {
        if (how == KIT_LEAVE_HALF) {
            kit_shutdown_sending(crowd->connections[i]);
            continue;
        }
        (how == KIT_LEAVE_FIN ? kit_close : kit_reset)(crowd->connections[i]);
        crowd->connections[i] = NULL;
    }
}

void kit_vanish(struct kit_connection *connection)
{
    /* Asked before TCP sees a segment; 0: drop it (socket(7)). */
    struct sock_filter nothing = BPF_STMT(BPF_RET | BPF_K, 0);
    struct sock_fprog program = {.len = 1, .filter = &nothing};
    if (setsockopt(connection->socket, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0)
        kit_fail(connection->kit, "SO_ATTACH_FILTER: %s", strerror(errno));
}

/* ---- ordinary requests ---- */

static int compare_times(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

/* One request over a kept connection, or a fresh one where that is NULL; how long it took. */
static int64_t probe(struct kit_server *server, struct kit_connection *kept, bool push)
{
    int64_t started_at_ms = kit_now_ms();
    struct kit_connection *connection = kept != NULL ? kept : kit_connect(server);
    struct kit_response response;
    const char *target =
        push ? "/push?key=" PROBE_KEY : "/blocking-get?key=" PROBE_KEY "&groupId=g&timeout=0";
    kit_send_request(connection, push ? "POST" : "GET", target, NULL, push ? "{\"n\":1}" : NULL,
                     push ? 7 : 0);
    if (kit_try_receive(connection, "GET", kit_deadline_at_ms(KIT_DEADLINE_MS), &response) != 0)
        kit_fail(server->kit, "an ordinary request was not answered: %s", strerror(errno));
    bool good = response.status == 200 &&
                strstr(response.body, push ? "Data pushed successfully" : "[{\"n\":1}]") != NULL;
    if (!good)
        kit_fail(server->kit, "an ordinary request was answered %d %.200s", response.status, response.body);
    kit_response_clear(&response);
    if (kept == NULL)
        kit_close(connection);
    return kit_now_ms() - started_at_ms;
}

void kit_assert_served_at(struct kit_server *server, const char *file, int line)
{
    int64_t took_ms[PROBES * 4];
    size_t used = 0;
    struct kit_connection *kept = kit_connect(server);
    for (int i = 0; i < PROBES; i++) {
        took_ms[used++] = probe(server, NULL, true);
        took_ms[used++] = probe(server, kept, false);
        took_ms[used++] = probe(server, kept, true);
        took_ms[used++] = probe(server, NULL, false);
    }
    kit_close(kept);
    qsort(took_ms, used, sizeof *took_ms, compare_times);
    if ((double)took_ms[used / 2] > MOST_MEDIAN_MS * kit_time_scale())
        kit_fail_at(server->kit, file, line, "ordinary requests take %lld ms (median), at most %lld ms",
                    (long long)took_ms[used / 2], (long long)took_ms[used - 1]);
}

/* ---- what the server uses ---- */

static int64_t count_descriptors(struct kit_server *server)
{
    DIR *directory = opendir(kit_format(server->kit, "/proc/%d/fd", (int)server->process));
    if (directory == NULL)
        kit_fail(server->kit, "the server's descriptors can't be counted");
    int64_t count = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(directory);
    return count;
}

static int64_t resident_kb(struct kit_server *server)
{
    const char *status =
        kit_read_file(server->kit, kit_format(server->kit, "/proc/%d/status", (int)server->process));
    const char *line = strstr(status, "\nVmRSS:");
    return line == NULL ? 0 : strtoll(line + strlen("\nVmRSS:"), NULL, 10);
}

void kit_free_at_once(void)
{
    setenv("ASAN_OPTIONS", "quarantine_size_mb=4:thread_local_quarantine_size_kb=64", 0);
}

struct kit_usage kit_usage(struct kit_server *server)
{
    const struct kit_response *health = kit_request(server, "GET", "/health", NULL, NULL, 0);
    struct kit_usage usage;
    int64_t running, waiting;
    if (!kit_json_number(health->body, "connections.open", &usage.connections) ||
        !kit_json_number(health->body, "threads.running", &running) ||
        !kit_json_number(health->body, "threads.waiting", &waiting))
        kit_fail(server->kit, "no numbers in /health: %s", health->body);
    usage.busy_threads = running + waiting;
    usage.descriptors = count_descriptors(server);
    usage.resident_kb = resident_kb(server);
    return usage;
}

void kit_wait_until_usage_at(struct kit_server *server, const struct kit_usage *before, int64_t margin_kb,
                             int64_t milliseconds, const char *file, int line)
{
    int64_t deadline_at_ms = kit_deadline_at_ms(milliseconds);
    int64_t most_kb = before->resident_kb + (int64_t)((double)margin_kb * kit_time_scale());
    for (;;) {
        struct kit_usage now = kit_usage(server);
        if (now.connections <= before->connections && now.descriptors <= before->descriptors &&
            now.busy_threads <= before->busy_threads && now.resident_kb <= most_kb)
            break;
        if (kit_now_ms() > deadline_at_ms)
            kit_fail_at(server->kit, file, line,
                        "not given back: connections %lld (before %lld), descriptors %lld (%lld), "
                        "busy threads %lld (%lld), resident memory %lld KB (%lld, at most %lld)",
                        (long long)now.connections, (long long)before->connections,
                        (long long)now.descriptors, (long long)before->descriptors,
                        (long long)now.busy_threads, (long long)before->busy_threads,
                        (long long)now.resident_kb, (long long)before->resident_kb, (long long)most_kb);
        kit_pause();
    }
}
