/* The server as a child process: started in a process group and a directory of its own, watched, stopped,
 * reaped. */
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

#define EXIT_MS       10000
#define START_MS      10000
#define ARGUMENTS_MAX 64
#define NOT_STARTED   127

/* What a developer's shell may hold and no test wants to inherit. */
static const char *const foreign_variables[] = {"PORT", "DATABASE_URL", "EVENT_SYNCER_TOKEN"};

static bool is_foreign(const char *variable)
{
    for (size_t i = 0; i < sizeof foreign_variables / sizeof *foreign_variables; i++) {
        size_t length = strlen(foreign_variables[i]);
        if (strncmp(variable, foreign_variables[i], length) == 0 && variable[length] == '=')
            return true;
    }
    return false;
}

static char **make_environment(struct kit *kit, const char *const *added)
{
    size_t count = 0, added_count = 0, used = 0;
    while (environ[count] != NULL)
        count++;
    while (added != NULL && added[added_count] != NULL)
        added_count++;
    size_t usual_count = sizeof kit->environment / sizeof *kit->environment;
    char **variables = kit_allocate(kit, (count + added_count + usual_count + 1) * sizeof *variables);
    /* Ours first: getenv() takes the first of equal names. */
    for (size_t i = 0; i < added_count; i++)
        variables[used++] = kit_format(kit, "%s", added[i]);
    for (size_t i = 0; i < usual_count && kit->environment[i] != NULL; i++)
        variables[used++] = kit_format(kit, "%s", kit->environment[i]);
    for (size_t i = 0; i < count; i++)
        if (!is_foreign(environ[i]))
            variables[used++] = environ[i];
    return variables;
}

static char **make_arguments(struct kit *kit, const char *const *first, const char *const *second)
{
    char **all = kit_allocate(kit, (ARGUMENTS_MAX + 2) * sizeof *all);
    size_t used = 0;
    all[used++] = kit_format(kit, "%s", kit->binary);
    for (; first != NULL && *first != NULL && used < ARGUMENTS_MAX; first++)
        all[used++] = kit_format(kit, "%s", *first);
    for (; second != NULL && *second != NULL && used < ARGUMENTS_MAX; second++)
        all[used++] = kit_format(kit, "%s", *second);
    return all;
}

/* The child's side of the fork: only what is safe after a fork of a process with threads. */
_Noreturn static void become(char **arguments, char **variables, const char *directory, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || setpgid(0, 0) != 0 || chdir(directory) != 0)
        _exit(NOT_STARTED);
    int input = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int output = open("stdout", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int errors = open("stderr", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (dup2(input, 0) < 0 || dup2(output, 1) < 0 || dup2(errors, 2) < 0)
        _exit(NOT_STARTED);
    execve(arguments[0], arguments, variables);
    _exit(NOT_STARTED);
}

static struct kit_server *spawn(struct kit *kit, char **arguments, const char *const *environment)
{
    struct kit_server *server = calloc(1, sizeof *server);
    assert_non_null(server);
    server->kit = kit;
    LIST_INSERT_HEAD(&kit->servers, server, link);
    server->directory = kit_make_directory(kit);
    char **variables = make_environment(kit, environment);
    pid_t parent = getpid();
    pid_t child = fork();
    if (child == 0)
        become(arguments, variables, server->directory, parent);
    if (child < 0)
        kit_fail(kit, "fork: %s", strerror(errno));
    server->process = child;
    /* In both processes, so that the group exists whoever runs first. */
    setpgid(child, child);
    return server;
}

/* True once the process has ended and is reaped. */
static bool has_ended(struct kit_server *server)
{
    int status;
    if (server->process == 0)
        return true;
    if (waitpid(server->process, &status, WNOHANG) != server->process)
        return false;
    server->process = 0;
    server->exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return true;
}

static bool wait_ended(struct kit_server *server, int64_t deadline_at_ms)
{
    while (!has_ended(server)) {
        if (kit_now_ms() > deadline_at_ms)
            return false;
        kit_pause();
    }
    return true;
}

struct kit_server *kit_start(struct kit *kit, const struct kit_start *start)
{
    static const char *const usual[] = {"serve", "--listen", "127.0.0.1:0", "--port-file", "port", NULL};
    char **arguments = make_arguments(kit, start->exact ? NULL : usual, start->arguments);
    struct kit_server *server = spawn(kit, arguments, start->environment);
    char path[512];
    snprintf(path, sizeof path, "%s/port", server->directory);
    int64_t deadline_at_ms = kit_deadline_at_ms(START_MS);
    /* The file appears by rename, whole; access() first so that polling allocates nothing. */
    while (access(path, R_OK) != 0) {
        if (has_ended(server))
            kit_fail(kit, "the server ended with status %d instead of serving", server->exit_status);
        if (kit_now_ms() > deadline_at_ms)
            kit_fail(kit, "the server has not written its port file in time");
        kit_pause();
    }
    char *end;
    const char *text = kit_read_file(kit, path);
    long port = strtol(text, &end, 10);
    if (end == text || (*end != '\0' && *end != '\n') || port < 1 || port > 65535)
        kit_fail(kit, "not a port in the port file: \"%s\"", text);
    server->port = (int)port;
    return server;
}

int kit_port(const struct kit_server *server)
{
    return server->port;
}

pid_t kit_process(const struct kit_server *server)
{
    return server->process;
}

const char *kit_directory(const struct kit_server *server)
{
    return server->directory;
}

struct kit *kit_of(const struct kit_server *server)
{
    return server->kit;
}

const char *kit_log(struct kit_server *server)
{
    return kit_read_file(server->kit, kit_format(server->kit, "%s/stderr", server->directory));
}

void kit_signal(struct kit_server *server, int signal_number)
{
    if (server->process == 0)
        kit_fail(server->kit, "the server has ended already");
    kill(server->process, signal_number);
}

int kit_wait_exit(struct kit_server *server)
{
    if (!wait_ended(server, kit_deadline_at_ms(EXIT_MS)))
        kit_fail(server->kit, "the server has not ended in time");
    return server->exit_status;
}

void kit_stop(struct kit_server *server)
{
    kit_signal(server, SIGTERM);
    int status = kit_wait_exit(server);
    if (status != 0)
        kit_fail(server->kit, "the server left with status %d on SIGTERM", status);
}

void kit_kill(struct kit_server *server)
{
    if (has_ended(server))
        return;
    kill(-server->process, SIGKILL);
    wait_ended(server, kit_deadline_at_ms(EXIT_MS));
}

bool kit_server_finish(struct kit_server *server)
{
    /* Reaped earlier: the test itself has judged the status, unless the server died behind its back. */
    if (server->process == 0)
        return true;
    if (has_ended(server)) {
        print_error("the server ended by itself with status %d\n%s\n", server->exit_status, kit_log(server));
        return false;
    }
    kill(server->process, SIGTERM);
    bool ended = wait_ended(server, kit_deadline_at_ms(EXIT_MS));
    if (!ended)
        kit_kill(server);
    if (ended && server->exit_status == 0)
        return true;
    print_error("at the end of the test the server %s %d on SIGTERM\n%s\n",
                ended ? "left with status" : "had to be killed, status", server->exit_status,
                kit_log(server));
    return false;
}

struct kit_server *kit_launch(struct kit *kit, const char *const *arguments)
{
    return spawn(kit, make_arguments(kit, arguments, NULL), NULL);
}

const struct kit_run *kit_run(struct kit *kit, const char *const *arguments, const char *const *environment)
{
    struct kit_server *process = spawn(kit, make_arguments(kit, arguments, NULL), environment);
    struct kit_run *run = kit_allocate(kit, sizeof *run);
    if (!wait_ended(process, kit_deadline_at_ms(EXIT_MS))) {
        kit_kill(process);
        kit_fail(kit, "the command has not ended in time");
    }
    run->exit_status = process->exit_status;
    run->directory = process->directory;
    run->output = kit_read_file(kit, kit_format(kit, "%s/stdout", process->directory));
    run->errors = kit_log(process);
    return run;
}
