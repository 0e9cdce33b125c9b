#include "kit_send.h"

#include "kit_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { MOST_ARGUMENTS = 32, NOT_STARTED = 127, TERMINAL_BYTES = 1 << 20 };

/* What the child needs, made ready before the fork. */
struct child {
    char **arguments;
    char **variables;
    const char *directory;
    int input, errors;
    pid_t parent;
};

_Noreturn static void become(const struct child *child)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != child->parent || setpgid(0, 0) != 0 || chdir(child->directory) != 0)
        _exit(NOT_STARTED);
    int output = open("stdout", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (dup2(child->input, 0) < 0 || dup2(output, 1) < 0 || dup2(child->errors, 2) < 0)
        _exit(NOT_STARTED);
    execve(child->arguments[0], child->arguments, child->variables);
    _exit(NOT_STARTED);
}

static char **make_arguments(struct kit *kit, const char *const *added)
{
    char **all = kit_allocate(kit, (MOST_ARGUMENTS + 1) * sizeof *all);
    size_t used = 0;
    all[used++] = kit_format(kit, "%s", kit->binary);
    all[used++] = kit_format(kit, "send");
    for (; *added != NULL && used < MOST_ARGUMENTS; added++)
        all[used++] = kit_format(kit, "%s", *added);
    return all;
}

/* The test's own, without what would change the command, and with a terminal that can draw. */
static char **make_variables(struct kit *kit)
{
    size_t count = 0, used = 0;
    while (environ[count] != NULL)
        count++;
    char **variables = kit_allocate(kit, (count + 2) * sizeof *variables);
    for (size_t i = 0; i < count; i++)
        if (strncmp(environ[i], "EVENT_SYNCER_TOKEN=", 19) != 0 && strncmp(environ[i], "TERM=", 5) != 0)
            variables[used++] = environ[i];
    variables[used] = kit_format(kit, "TERM=xterm");
    return variables;
}

static struct kit_server *spawn(struct kit *kit, struct child *child)
{
    struct kit_server *process = calloc(1, sizeof *process);
    assert_non_null(process);
    process->kit = kit;
    process->directory = child->directory;
    LIST_INSERT_HEAD(&kit->servers, process, link);
    child->parent = getpid();
    pid_t id = fork();
    if (id == 0)
        become(child);
    if (id < 0)
        kit_fail(kit, "fork: %s", strerror(errno));
    process->process = id;
    setpgid(id, id);
    return process;
}

struct sending *sending_start(struct kit *kit, const struct sending_start *start)
{
    struct sending *sending = kit_allocate(kit, sizeof *sending);
    struct child child = {.arguments = make_arguments(kit, start->arguments),
                          .variables = make_variables(kit),
                          .directory = kit_make_directory(kit)};
    int input[2] = {-1, -1};
    sending->terminal = -1;
    if (start->with_input && pipe2(input, O_CLOEXEC) != 0)
        kit_fail(kit, "pipe2: %s", strerror(errno));
    child.input = start->with_input ? input[0] : open("/dev/null", O_RDONLY | O_CLOEXEC);
    sending->input = input[1];
    if (start->columns > 0) {
        struct winsize size = {.ws_row = 24, .ws_col = start->columns};
        if (openpty(&sending->terminal, &child.errors, NULL, NULL, &size) != 0)
            kit_fail(kit, "openpty: %s", strerror(errno));
        fcntl(sending->terminal, F_SETFD, FD_CLOEXEC);
        fcntl(child.errors, F_SETFD, FD_CLOEXEC);
    } else {
        child.errors = open(kit_format(kit, "%s/stderr", child.directory),
                            O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    }
    if (child.input < 0 || child.errors < 0)
        kit_fail(kit, "open: %s", strerror(errno));
    sending->process = spawn(kit, &child);
    close(child.input);
    close(child.errors);
    return sending;
}

void sending_write(struct sending *sending, const char *text)
{
    for (size_t left = strlen(text); left > 0;) {
        if (!kit_poll(sending->input, POLLOUT, kit_deadline_at_ms(KIT_DEADLINE_MS)))
            kit_fail(sending->process->kit, "the command does not read");
        /* Pipes that are ready take this much at once. */
        ssize_t written = write(sending->input, text, left < PIPE_BUF ? left : PIPE_BUF);
        if (written < 0)
            kit_fail(sending->process->kit, "write: %s", strerror(errno));
        text += written;
        left -= (size_t)written;
    }
}

void sending_close_input(struct sending *sending)
{
    if (sending->input >= 0)
        close(sending->input);
    sending->input = -1;
}

const char *sending_terminal(struct sending *sending, const char *wanted)
{
    struct kit *kit = sending->process->kit;
    char *shown = kit_allocate(kit, TERMINAL_BYTES);
    size_t length = 0;
    while (length < TERMINAL_BYTES - 1 && (wanted == NULL || strstr(shown, wanted) == NULL)) {
        if (!kit_poll(sending->terminal, POLLIN, kit_deadline_at_ms(2 * KIT_DEADLINE_MS)))
            kit_fail(kit, "the terminal does not show \"%s\":\n%s", wanted == NULL ? "the end" : wanted,
                     shown);
        ssize_t got = read(sending->terminal, shown + length, TERMINAL_BYTES - 1 - length);
        if (got <= 0)
            break; /* EIO: the other end is closed */
        length += (size_t)got;
    }
    return shown;
}

int sending_end(struct sending *sending)
{
    sending_close_input(sending);
    int status = kit_wait_exit(sending->process);
    if (sending->terminal >= 0)
        close(sending->terminal);
    sending->terminal = -1;
    return status;
}

const char *sending_file(struct kit *kit, const char *content)
{
    const char *path = kit_format(kit, "%s/events.jsonl", kit_make_directory(kit));
    FILE *file = fopen(path, "we");
    if (file == NULL || fputs(content, file) == EOF || fclose(file) != 0)
        kit_fail(kit, "can't write %s", path);
    return path;
}

bool sending_has_line(const char *text, const char *line)
{
    size_t length = strlen(line);
    for (const char *at = strstr(text, line); at != NULL; at = strstr(at + 1, line)) {
        bool begins = at == text || at[-1] == '\n';
        bool ends = at[length] == '\n' || at[length] == '\r' || at[length] == '\0';
        if (begins && ends)
            return true;
    }
    return false;
}
