/* The command `send`: posts the lines of a file to a server. */
#include "cli/client.h"
#include "cli/commands.h"
#include "cli/send_options.h"
#include "cli/send_run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail_to_read(const char *name, int error)
{
    fprintf(stderr, "event-syncer: can't read %s: %s; name a file of JSON lines, or - for standard input\n",
            name, strerror(error));
    return -1;
}

/* Opens the input and sees what it is. Returns 0 or -1. */
static int open_input(const char *name, struct send_run_options *run)
{
    struct stat status;
    run->name = name;
    run->descriptor = strcmp(name, "-") == 0 ? STDIN_FILENO : open(name, O_RDONLY | O_CLOEXEC);
    if (run->descriptor < 0 || fstat(run->descriptor, &status) != 0)
        return fail_to_read(name, errno);
    if (S_ISDIR(status.st_mode))
        return fail_to_read(name, EISDIR);
    run->is_file = S_ISREG(status.st_mode);
    off_t at = run->is_file ? lseek(run->descriptor, 0, SEEK_CUR) : 0;
    if (run->is_file && at >= 0 && status.st_size > at)
        run->total_bytes = (uint64_t)(status.st_size - at);
    return 0;
}

/* The signals that stop a run come through a descriptor. Returns it, or -1. */
static int catch_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    signal(SIGPIPE, SIG_IGN);
    /* A shell ignores SIGINT for what it starts in the background; who sends it to us means it. */
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    int descriptor = -1;
    if (sigprocmask(SIG_BLOCK, &signals, NULL) == 0)
        descriptor = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (descriptor < 0)
        fprintf(stderr, "event-syncer: can't start: %s\n", strerror(errno));
    return descriptor;
}

/* What is needed is given by then: the client, the input, the signals. */
static int run(const struct send_options *options, struct send_run_options *run_options)
{
    run_options->signals = catch_signals();
    if (run_options->signals < 0)
        return EXIT_USAGE;
    run_options->slots = (unsigned)options->connections;
    run_options->give_up_ns = options->give_up_ns;
    run_options->timeout_ns = options->timeout_ns;
    int status = EXIT_USAGE;
    switch (send_run(run_options)) {
    case SEND_RUN_GOOD:
        status = EXIT_SUCCESS;
        break;
    case SEND_RUN_SHORT:
        status = EXIT_FAILURE;
        break;
    case SEND_RUN_NOTHING:
        break;
    }
    close(run_options->signals);
    return status;
}

static int send_file(const struct send_options *options)
{
    struct client_options client_options = {
        .url = options->url,
        .path = "/liveEvent",
        .token = {.bytes = options->token.bytes, .length = options->token.length},
        .slots = (unsigned)options->connections,
        .timeout_ns = options->timeout_ns,
    };
    char reason[CLIENT_REASON_BYTES];
    struct send_run_options run_options = {.client = client_create(&client_options, reason)};
    int status = EXIT_USAGE;
    if (run_options.client == NULL)
        fprintf(stderr, "event-syncer: %s\n", reason);
    else if (open_input(options->file, &run_options) == 0)
        status = run(options, &run_options);
    if (run_options.client != NULL && run_options.descriptor > STDERR_FILENO)
        close(run_options.descriptor);
    client_free(run_options.client);
    return status;
}

static void print_help(void)
{
    printf(
        "event-syncer send [FILE] [options]: posts each line of FILE to a server's /liveEvent\n\n"
        "FILE is events.jsonl, or - for standard input. Lines of one userId go in their order.\n"
        "Exit status: 0 all lines were taken, 1 some were not or may not have been, 2 nothing was sent.\n\n"
        "options (defaults and environment variables in brackets):\n");
    send_options_print();
}

int command_send(int argument_count, char **arguments)
{
    struct send_options options;
    int status = EXIT_USAGE;
    switch (send_options_read(&options, argument_count, arguments)) {
    case OPTIONS_GO:
        status = send_file(&options);
        break;
    case OPTIONS_HELP:
        print_help();
        status = EXIT_SUCCESS;
        break;
    case OPTIONS_WRONG:
        break;
    }
    send_options_free(&options);
    return status;
}
