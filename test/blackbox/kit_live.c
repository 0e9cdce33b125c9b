/* Journals, the command `process`, books of what the sums must be, and clients that post events. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kit_internal.h"
#include "kit_live.h"

#define OPTIONS_MAX 24

/* ---- journals ---- */

const char *kit_new_journal(struct kit *kit)
{
    return kit_format(kit, "%s/server-events.jsonl", kit_make_directory(kit));
}

static void write_file(struct kit *kit, const char *path, const char *mode, const void *bytes, size_t length)
{
    FILE *file = fopen(path, mode);
    bool written = file != NULL && fwrite(bytes, 1, length, file) == length;
    if (file == NULL || fclose(file) != 0 || !written)
        kit_fail(kit, "%s can't be written: %s", path, strerror(errno));
}

void kit_append(struct kit *kit, const char *path, const char *text)
{
    write_file(kit, path, "ae", text, strlen(text));
}

void kit_append_bytes(struct kit *kit, const char *path, const void *bytes, size_t length)
{
    write_file(kit, path, "ae", bytes, length);
}

void kit_overwrite(struct kit *kit, const char *path, const char *text)
{
    write_file(kit, path, "we", text, strlen(text));
}

void kit_rename(struct kit *kit, const char *from, const char *to)
{
    if (rename(from, to) != 0)
        kit_fail(kit, "%s can't be renamed: %s", from, strerror(errno));
}

static char *make_line(struct kit *kit, const char *user, const char *name, const char *value)
{
    return kit_format(kit, "{\"userId\":\"%s\",\"name\":\"%s_revenue\",\"value\":%s}\n", user, name, value);
}

char *kit_add(struct kit *kit, const char *user, const char *value)
{
    return make_line(kit, user, "add", value);
}

char *kit_subtract(struct kit *kit, const char *user, const char *value)
{
    return make_line(kit, user, "subtract", value);
}

/* ---- servers and requests ---- */

struct kit_server *kit_start_live(struct kit *kit, const char *journal, const char *const *arguments)
{
    const char *all[OPTIONS_MAX + 1] = {"--journal", journal};
    for (size_t used = 2; *arguments != NULL; arguments++) {
        if (used == OPTIONS_MAX)
            kit_fail(kit, "too many arguments");
        all[used++] = *arguments;
    }
    return kit_start_events(kit, all);
}

const struct kit_response *kit_post_live(struct kit_server *server, const char *json)
{
    return kit_post_json(server, "/liveEvent", json);
}

const struct kit_response *kit_post_live_lines(struct kit_server *server, const char *lines)
{
    return kit_request(server, "POST", "/liveEvent", "Content-Type: application/x-ndjson\r\n", lines,
                       strlen(lines));
}

void kit_live_at(struct kit_server *server, const char *json, const char *file, int line)
{
    const struct kit_response *response = kit_post_live(server, json);
    kit_assert_status_at(response, 200, file, line);
    kit_assert_body_at(response, "{\"message\":\"Event received\"}", file, line);
}

static char *revenue_body(struct kit *kit, const char *user, const char *revenue)
{
    return kit_format(kit, "{\"userId\":\"%s\",\"revenue\":%s}", user, revenue);
}

static const struct kit_response *get_revenue(struct kit_server *server, const char *user)
{
    return kit_get_path(server, kit_format(kit_of(server), "/userEvents/%s", user));
}

void kit_assert_revenue_at(struct kit_server *server, const char *user, const char *revenue, const char *file,
                           int line)
{
    const struct kit_response *response = get_revenue(server, user);
    if (revenue == NULL) {
        kit_assert_error_at(response, 404, "", file, line);
        return;
    }
    kit_assert_status_at(response, 200, file, line);
    kit_assert_body_at(response, revenue_body(kit_of(server), user, revenue), file, line);
}

void kit_wait_until_revenue_at(struct kit_server *server, const char *user, const char *revenue,
                               const char *file, int line)
{
    int64_t deadline_at_ms = kit_deadline_at_ms(KIT_DEADLINE_MS);
    const char *wanted = revenue_body(kit_of(server), user, revenue);
    const struct kit_response *response;
    do {
        kit_pause();
        response = get_revenue(server, user);
        if (response->status == 200 && strcmp(response->body, wanted) == 0)
            return;
    } while (kit_now_ms() < deadline_at_ms);
    kit_fail_at(kit_of(server), file, line, "%s does not come, the answer is %d %s", wanted, response->status,
                response->body);
}

/* ---- the command `process` ---- */

/* The child's side of the fork: only what is safe after a fork of a process with threads. */
_Noreturn static void become(const char *binary, char *const *arguments, const char *directory, int terminal,
                             pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || setpgid(0, 0) != 0 || chdir(directory) != 0)
        _exit(127);
    int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int output = terminal, errors = terminal;
    if (terminal < 0) {
        output = open("stdout", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        errors = open("stderr", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
    if (dup2(input, 0) >= 0 && dup2(output, 1) >= 0 && dup2(errors, 2) >= 0)
        execv(binary, arguments);
    _exit(127);
}

struct kit_server *kit_start_processor_with(struct kit *kit, const char *journal, const char *const *options,
                                            int terminal)
{
    const char *words[OPTIONS_MAX] = {kit->binary, "process", journal, "--database", kit_database(kit)};
    for (size_t used = 5; *options != NULL && used < OPTIONS_MAX; options++)
        words[used++] = *options;
    char *arguments[OPTIONS_MAX + 1] = {0};
    for (size_t i = 0; i < OPTIONS_MAX && words[i] != NULL; i++)
        arguments[i] = kit_format(kit, "%s", words[i]);
    const char *directory = kit_make_directory(kit);
    struct kit_server *processor = calloc(1, sizeof *processor);
    assert_non_null(processor);
    processor->kit = kit;
    processor->directory = directory;
    pid_t parent = getpid();
    pid_t child = fork();
    if (child == 0)
        become(kit->binary, arguments, directory, terminal, parent);
    if (child < 0) {
        free(processor);
        kit_fail(kit, "fork: %s", strerror(errno));
    }
    setpgid(child, child);
    processor->process = child;
    LIST_INSERT_HEAD(&kit->servers, processor, link);
    return processor;
}

bool kit_processor_has_ended(struct kit_server *processor)
{
    siginfo_t end = {0};
    return processor->process == 0 ||
           (waitid(P_PID, (id_t)processor->process, &end, WEXITED | WNOHANG | WNOWAIT) == 0 &&
            end.si_pid != 0);
}

const struct kit_run *kit_finish_processor(struct kit_server *processor)
{
    struct kit *kit = processor->kit;
    struct kit_run *run = kit_allocate(kit, sizeof *run);
    run->exit_status = kit_wait_exit(processor);
    run->directory = processor->directory;
    run->output = kit_read_file(kit, kit_format(kit, "%s/stdout", processor->directory));
    run->errors = kit_log(processor);
    return run;
}

const struct kit_run *kit_run_processor(struct kit *kit, const char *journal)
{
    return kit_finish_processor(kit_start_processor(kit, journal));
}

/* The text without the commas that group digits. */
static char *without_groups(struct kit *kit, const char *text)
{
    char *copy = kit_format(kit, "%s", text), *end = copy;
    for (const char *next = text; *next != '\0'; next++)
        if (*next != ',' || next[1] < '0' || next[1] > '9')
            *end++ = *next;
    *end = '\0';
    return copy;
}

void kit_expect_summary_at(struct kit *kit, const struct kit_run *run, int status,
                           const struct kit_summary *wanted, const char *file, int line)
{
    const char *number = "-?[0-9]+(\\.[0-9]+)?";
    const char *users = wanted->users < 0 ? "[0-9]+" : kit_format(kit, "%lld", (long long)wanted->users);
    const char *pattern = kit_format(
        kit, "^%lld lines? counted, of %s users?; added %s, subtracted %s; %lld lines? skipped; %s s\n$",
        (long long)wanted->lines, users, wanted->added == NULL ? number : wanted->added,
        wanted->subtracted == NULL ? number : wanted->subtracted, (long long)wanted->skipped, number);
    if (run->exit_status != status || !kit_matches(without_groups(kit, run->output), pattern))
        kit_fail_at(kit, file, line, "exit status %d instead of %d, or a summary that is not %s\n%s\n%.3000s",
                    run->exit_status, status, pattern, run->output, run->errors);
}

int64_t kit_counted(struct kit *kit, const struct kit_run *run)
{
    long long count;
    if (sscanf(without_groups(kit, run->output), "%lld line", &count) != 1)
        kit_fail(kit, "no summary: %s\n%s", run->output, run->errors);
    return count;
}

void kit_expect_refusal(struct kit *kit, const struct kit_run *run, const char *pattern)
{
    if (run->exit_status != 2 || *run->output != '\0' || kit_line_count(run->errors) != 1 ||
        !kit_matches(run->errors, pattern))
        kit_fail(kit, "exit status %d, not 2 with one line of %s:\n%s%s", run->exit_status, pattern,
                 run->output, run->errors);
}

/* ---- many lines with known sums ---- */

/* One value in one of the forms that JSON has for it. */
static void write_value(FILE *file, int64_t thousandths, unsigned form)
{
    if (form % 4 == 0)
        fprintf(file, "%llde-3}\n", (long long)thousandths);
    else if (form % 4 == 1)
        fprintf(file, "%lld.%03lld00E0}\n", (long long)thousandths / 1000, (long long)thousandths % 1000);
    else
        fprintf(file, "%lld.%03lld}\n", (long long)thousandths / 1000, (long long)thousandths % 1000);
}

void kit_append_events(struct kit *kit, const char *path, struct kit_revenues *revenues, int64_t lines)
{
    static unsigned seed = 1;
    FILE *file = fopen(path, "ae");
    if (file == NULL || revenues->users == 0)
        kit_fail(kit, "no users, or %s: %s", path, strerror(errno));
    for (int64_t i = 0; i < lines; i++) {
        /* Every user comes once, the first ones soon. */
        size_t user = (size_t)(i < (int64_t)revenues->users ? i : rand_r(&seed)) % revenues->users;
        int64_t thousandths = rand_r(&seed) % 100000000;
        bool add = rand_r(&seed) % 4 != 0;
        fprintf(file, "{\"userId\":\"user%zu\",\"name\":\"%s_revenue\",\"value\":", user,
                add ? "add" : "subtract");
        write_value(file, thousandths, (unsigned)rand_r(&seed));
        revenues->thousandths[user] += add ? thousandths : -thousandths;
    }
    revenues->lines += lines;
    if (fclose(file) != 0)
        kit_fail(kit, "%s can't be written", path);
}

/* Thousandths as an exact decimal without needless zeros. */
static char *show_thousandths(struct kit *kit, int64_t thousandths)
{
    long long whole = llabs(thousandths) / 1000, rest = llabs(thousandths) % 1000;
    char *text = kit_format(kit, "%s%lld.%03lld", thousandths < 0 ? "-" : "", whole, rest);
    size_t length = strlen(text);
    while (text[length - 1] == '0')
        text[--length] = '\0';
    if (text[length - 1] == '.')
        text[length - 1] = '\0';
    return text;
}

void kit_check_revenues(struct kit_server *server, const struct kit_revenues *revenues)
{
    struct kit *kit = kit_of(server);
    struct kit_connection *connection = kit_connect(server);
    for (size_t i = 0; i < revenues->users; i++) {
        const char *user = kit_format(kit, "user%zu", i);
        kit_send_request(connection, "GET", kit_format(kit, "/userEvents/%s", user), NULL, NULL, 0);
        const struct kit_response *response = kit_receive(connection);
        kit_assert_status(response, 200);
        kit_assert_body(response, revenue_body(kit, user, show_thousandths(kit, revenues->thousandths[i])));
    }
    kit_close(connection);
}

/* ---- clients that post ---- */

#define EVENT_FORM "{\"userId\":\"load %d client %d\",\"name\":\"add_revenue\",\"value\":%d}"

/* Posts event `number`: what became of it. The connection is of no more use after KIT_LIVE_UNSENT. */
static enum kit_live_fate post_event(struct kit_live_client *client, struct kit_connection *connection,
                                     int number)
{
    struct kit_live_load *load = client->load;
    char body[128];
    struct kit_response response;
    snprintf(body, sizeof body, EVENT_FORM, load->number, client->number, number);
    if (kit_try_send_request(connection, "POST", "/liveEvent", "Content-Type: application/json\r\n", body,
                             strlen(body)) != 0 ||
        kit_try_receive(connection, "POST", kit_deadline_at_ms(KIT_DEADLINE_MS), &response) != 0) {
        if (!load->may_break || errno == ETIMEDOUT)
            snprintf(client->problem, sizeof client->problem, "event %d: %s", number, strerror(errno));
        return KIT_LIVE_UNSENT;
    }
    enum kit_live_fate fate = KIT_LIVE_UNKNOWN;
    if (response.status == 200)
        fate = KIT_LIVE_TAKEN;
    else if (response.status == 503 && load->may_refuse &&
             (load->may_break || kit_header(&response, "Retry-After") != NULL))
        fate = strstr(response.body, "outcome unknown") == NULL ? KIT_LIVE_REFUSED : KIT_LIVE_UNKNOWN;
    else
        snprintf(client->problem, sizeof client->problem, "event %d: %d %.100s", number, response.status,
                 response.body);
    kit_response_clear(&response);
    return fate;
}

static void *post_events(void *argument)
{
    struct kit_live_client *client = argument;
    struct kit_live_load *load = client->load;
    struct kit_connection *connection = kit_try_connect(load->server);
    if (connection == NULL && !load->may_break)
        snprintf(client->problem, sizeof client->problem, "connect: %s", strerror(errno));
    while (connection != NULL && client->sent < KIT_LIVE_EVENTS_MAX && client->problem[0] == '\0' &&
           !atomic_load(&load->stop)) {
        int number = client->sent++;
        client->fates[number] = KIT_LIVE_UNKNOWN;
        enum kit_live_fate fate = post_event(client, connection, number);
        if (fate == KIT_LIVE_UNSENT)
            break;
        client->fates[number] = (unsigned char)fate;
        atomic_fetch_add(&load->taken, fate == KIT_LIVE_TAKEN);
        atomic_fetch_add(&load->refused, fate == KIT_LIVE_REFUSED);
        if (fate == KIT_LIVE_REFUSED)
            kit_pause();
    }
    if (client->problem[0] != '\0')
        atomic_store(&load->failed, true);
    if (connection != NULL)
        kit_close(connection);
    return NULL;
}

struct kit_live_load *kit_start_load(struct kit_server *server, int number, int client_count, unsigned may)
{
    struct kit *kit = kit_of(server);
    struct kit_live_load *load = kit_allocate(kit, sizeof *load);
    *load = (struct kit_live_load){.server = server, .number = number, .client_count = client_count};
    load->may_break = (may & KIT_LIVE_MAY_BREAK) != 0;
    load->may_refuse = (may & KIT_LIVE_MAY_REFUSE) != 0;
    load->clients = kit_allocate(kit, (size_t)client_count * sizeof *load->clients);
    for (int i = 0; i < client_count; i++) {
        load->clients[i].load = load;
        load->clients[i].number = i;
        assert_int_equal(pthread_create(&load->threads[i], NULL, post_events, &load->clients[i]), 0);
    }
    return load;
}

void kit_wait_until_taken(struct kit_live_load *load, int count)
{
    int64_t deadline_at_ms = kit_deadline_at_ms(INT64_C(4) * KIT_DEADLINE_MS);
    while (atomic_load(&load->taken) < count && !atomic_load(&load->failed) && kit_now_ms() < deadline_at_ms)
        kit_pause();
    if (atomic_load(&load->taken) >= count)
        return;
    kit_finish_load(load);
    kit_fail(kit_of(load->server), "only %d events were taken", atomic_load(&load->taken));
}

void kit_finish_load(struct kit_live_load *load)
{
    atomic_store(&load->stop, true);
    for (int i = 0; i < load->client_count; i++)
        pthread_join(load->threads[i], NULL);
    for (int i = 0; i < load->client_count; i++)
        if (load->clients[i].problem[0] != '\0')
            kit_fail(kit_of(load->server), "client %d: %s", i, load->clients[i].problem);
}

/* The line only begins like an event: what a crash can leave of one. */
static bool is_half(const char *line)
{
    static const char beginning[] = "{\"userId\":\"load ";
    size_t length = strlen(line);
    return strncmp(line, beginning, length < strlen(beginning) ? length : strlen(beginning)) == 0 &&
           strchr(line, '}') == NULL;
}

struct progress {
    const struct kit_live_load *load;
    int next[KIT_LIVE_CLIENTS_MAX]; /* the number that each client's next event has at least */
};

/* Takes one line of a journal; false when it is not an event of any load. */
static bool take_line(struct kit *kit, struct progress *progress, const char *line)
{
    int load, client, number;
    char again[128];
    if (sscanf(line, EVENT_FORM, &load, &client, &number) != 3)
        return false;
    snprintf(again, sizeof again, EVENT_FORM, load, client, number);
    if (strcmp(line, again) != 0)
        return false;
    if (load != progress->load->number)
        return true;
    if (client >= progress->load->client_count || number >= progress->load->clients[client].sent)
        kit_fail(kit, "an event that was never sent: %s", line);
    if (number < progress->next[client])
        kit_fail(kit, "an event that is there twice, or in the wrong order: %s", line);
    const struct kit_live_client *sender = &progress->load->clients[client];
    for (int i = progress->next[client]; i < number; i++)
        if (sender->fates[i] == KIT_LIVE_TAKEN)
            kit_fail(kit, "event %d of client %d was taken and is not there", i, client);
    if (sender->fates[number] == KIT_LIVE_REFUSED)
        kit_fail(kit, "an event that was refused is there: %s", line);
    progress->next[client] = number + 1;
    return true;
}

struct kit_live_lines kit_check_load(struct kit *kit, const struct kit_live_load *load,
                                     const char *const *paths)
{
    struct kit_live_lines lines = {0};
    struct progress progress = {.load = load};
    for (; *paths != NULL; paths++) {
        char *rest = kit_read_file(kit, *paths), *line;
        while ((line = strsep(&rest, "\n")) != NULL && (rest != NULL || *line != '\0'))
            if (take_line(kit, &progress, line))
                lines.events++;
            else if (is_half(line))
                lines.halves++;
            else
                kit_fail(kit, "%s: neither an event nor half of one: %s", *paths, line);
    }
    for (int client = 0; client < load->client_count; client++)
        for (int i = progress.next[client]; i < load->clients[client].sent; i++)
            if (load->clients[client].fates[i] == KIT_LIVE_TAKEN)
                kit_fail(kit, "event %d of client %d was taken and is not there", i, client);
    return lines;
}
