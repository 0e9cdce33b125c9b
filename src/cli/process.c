/* The command `process`: turns a journal into revenue. */
#include "base/clock.h"
#include "cli/commands.h"
#include "cli/process_options.h"
#include "cli/progress.h"
#include "live/processor.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    SKIPPED_LISTED = 1000,
    /* A server's sync, which lets a reader read on, makes no event. */
    LOOK_AGAIN_MS = 200,
};

struct process {
    const struct process_options *options;
    struct storage *storage;
    struct processor *processor;
    struct progress progress;
    int signals;
    int changes; /* inotify; -1 without --follow */
    uint64_t listed;
    bool opened;  /* a file, at all */
    bool unknown; /* said */
    bool replaced;
    bool stopped;
    int64_t started_at;
};

/* --- what the processor tells --- */

static void show_progress(struct process *process)
{
    int64_t now = clock_monotonic_ns();
    if (now < progress_due_at(&process->progress))
        return;
    struct processor_counts counts = processor_counts(process->processor);
    progress_show(&process->progress, (struct progress_count){.bytes = counts.bytes, .lines = counts.lines},
                  progress_width(STDERR_FILENO), now);
}

/* Leaves the line of the bar, so that something else can be written. */
static void clear_bar(const struct process *process)
{
    if (process->progress.is_drawn)
        fputs("\r\033[K", stderr);
}

static void on_skipped(void *context, const char *path, uint64_t number, const char *why)
{
    struct process *process = context;
    if (process->listed++ >= SKIPPED_LISTED)
        return;
    clear_bar(process);
    fprintf(stderr, "%s:%llu: skipped: %s\n", path, (unsigned long long)number, why);
}

/* Bytes of a file, for the bar; 0 where that is not known. */
static uint64_t size_of(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && status.st_size > 0 ? (uint64_t)status.st_size : 0;
}

static void on_opened(void *context, const char *path, uint64_t lines, uint64_t bytes)
{
    struct process *process = context;
    uint64_t size = size_of(path);
    process->opened = true;
    if (!process->options->follow && size > bytes)
        progress_add_total(&process->progress, size - bytes);
    clear_bar(process);
    if (lines == 0)
        fprintf(stderr, "event-syncer: %s, from its beginning\n", path);
    else
        fprintf(stderr, "event-syncer: %s, behind line %llu\n", path, (unsigned long long)lines);
}

static void on_unknown(void *context, const char *path)
{
    struct process *process = context;
    if (process->unknown)
        return;
    process->unknown = true;
    clear_bar(process);
    fprintf(stderr,
            "event-syncer: none of the files that were counted into this database before is where %s is\n",
            path);
}

static void on_replaced(void *context, const char *path, uint64_t lines)
{
    struct process *process = context;
    clear_bar(process);
    process->replaced = true;
    fprintf(stderr, "event-syncer: %s is another file than the one that %llu lines were counted of\n", path,
            (unsigned long long)lines);
}

/* Waits for a signal, for changes of the journal's folder, or for the time. Returns false for a signal. */
static bool wait_for_news(struct process *process, int timeout_ms)
{
    struct pollfd sources[] = {{.fd = process->signals, .events = POLLIN},
                               {.fd = process->changes, .events = POLLIN}};
    char changes[4096];
    poll(sources, 2, timeout_ms);
    if (sources[0].revents != 0)
        process->stopped = true;
    if (sources[1].revents != 0 && read(process->changes, changes, sizeof changes) < 0)
        return !process->stopped; /* it is only to wake us */
    return !process->stopped;
}

static bool on_wait(void *context, int64_t ns)
{
    struct process *process = context;
    int64_t until = clock_monotonic_ns() + ns;
    int64_t left;
    while ((left = until - clock_monotonic_ns()) > 0) {
        if (!wait_for_news(process, (int)(left / CLOCK_NS_PER_MS) + 1))
            return false;
    }
    return true;
}

/* --- the run --- */

static void print_summary(const struct process *process, const struct processor_counts *counts)
{
    char lines[PROGRESS_NUMBER_BYTES], users[PROGRESS_NUMBER_BYTES], skipped[PROGRESS_NUMBER_BYTES];
    char added[DECIMAL_BYTES], subtracted[DECIMAL_BYTES];
    double seconds = (double)(clock_monotonic_ns() - process->started_at) / (double)CLOCK_NS_PER_SECOND;
    decimal_format(&counts->added, added);
    decimal_format(&counts->subtracted, subtracted);
    if (process->listed > SKIPPED_LISTED)
        fprintf(stderr, "event-syncer: and %llu more lines were skipped\n",
                (unsigned long long)(process->listed - SKIPPED_LISTED));
    printf("%s lines counted, of %s%s users; added %s, subtracted %s; %s lines skipped; %.1f s\n",
           progress_number(counts->lines, lines), counts->users == PROCESSOR_USERS ? "more than " : "",
           progress_number(counts->users, users), added, subtracted,
           progress_number(counts->skipped, skipped), seconds);
}

static enum processor_result run_to_end(struct process *process)
{
    enum processor_result result;
    do {
        result = processor_step(process->processor);
        show_progress(process);
        if (result == PROCESSOR_MORE && !wait_for_news(process, 0))
            result = PROCESSOR_STOPPED;
        if (result == PROCESSOR_CAUGHT_UP && process->options->follow)
            result = wait_for_news(process, LOOK_AGAIN_MS) ? PROCESSOR_MORE : PROCESSOR_STOPPED;
    } while (result == PROCESSOR_MORE);
    return result;
}

static int run(struct process *process)
{
    enum processor_result result = run_to_end(process);
    struct processor_counts counts = processor_counts(process->processor);
    progress_end(&process->progress, (struct progress_count){.bytes = counts.bytes, .lines = counts.lines},
                 progress_width(STDERR_FILENO), clock_monotonic_ns());
    if (result == PROCESSOR_FAILED)
        fprintf(stderr, "event-syncer: %s\n", processor_reason(process->processor));
    if (result == PROCESSOR_STOPPED && !process->options->follow)
        fprintf(stderr, "event-syncer: stopped; run it again to count the rest\n");
    if (result == PROCESSOR_CAUGHT_UP && !process->opened) {
        fprintf(stderr, "event-syncer: there is no %s; name the journal of the server\n",
                process->options->file);
        return EXIT_USAGE;
    }
    print_summary(process, &counts);
    bool whole = result == PROCESSOR_CAUGHT_UP || (result == PROCESSOR_STOPPED && process->options->follow);
    return whole && counts.skipped == 0 && !process->replaced ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* --- what it needs --- */

static int catch_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    return pthread_sigmask(SIG_BLOCK, &signals, NULL) == 0
               ? signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK)
               : -1;
}

/* Watches the journal's folder: the file is appended to, renamed, made anew. */
static int watch_folder(const char *path)
{
    char copy[PATH_MAX];
    snprintf(copy, sizeof copy, "%s", path);
    int descriptor = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (descriptor >= 0)
        inotify_add_watch(descriptor, dirname(copy), IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM);
    return descriptor;
}

static bool folder_exists(const char *path)
{
    char copy[PATH_MAX];
    struct stat status;
    snprintf(copy, sizeof copy, "%s", path);
    return stat(dirname(copy), &status) == 0;
}

static int check_file(const struct process_options *options)
{
    struct stat status;
    if (stat(options->file, &status) == 0 && !S_ISREG(status.st_mode)) {
        fprintf(stderr, "event-syncer: %s is no file\n", options->file);
        return -1;
    }
    int descriptor = open(options->file, O_RDONLY | O_CLOEXEC);
    if (descriptor >= 0) {
        close(descriptor);
        return 0;
    }
    if (errno == ENOENT && folder_exists(options->file))
        return 0; /* it may have been renamed a moment ago */
    fprintf(stderr, "event-syncer: can't read %s: %s; name the journal of the server\n", options->file,
            strerror(errno));
    return -1;
}

static int open_all(struct process *process, const struct log *log)
{
    char reason[STORAGE_REASON_BYTES];
    process->signals = catch_signals();
    process->changes = process->options->follow ? watch_folder(process->options->file) : -1;
    struct storage_options storage_options = {.url = process->options->database, .log = log};
    process->storage = storage_open(&storage_options, reason);
    if (process->storage == NULL) {
        fprintf(stderr, "event-syncer: can't use the database: %s\n", reason);
        return -1;
    }
    struct processor_options processor_options = {.path = process->options->file,
                                                  .storage = process->storage,
                                                  .patient = process->options->follow,
                                                  .skipped = on_skipped,
                                                  .opened = on_opened,
                                                  .unknown = on_unknown,
                                                  .replaced = on_replaced,
                                                  .wait = on_wait,
                                                  .context = process};
    process->processor = processor_create(&processor_options);
    if (process->processor == NULL || process->signals < 0) {
        fprintf(stderr, "event-syncer: can't start: %s\n", strerror(errno));
        return -1;
    }
    struct progress_options progress = {.descriptor = STDERR_FILENO,
                                        .is_terminal = progress_is_terminal(STDERR_FILENO)};
    process->started_at = clock_monotonic_ns();
    progress_begin(&process->progress, &progress, process->started_at);
    return 0;
}

static int process_file(const struct process_options *options)
{
    const struct log log = {.descriptor = STDERR_FILENO, .level = LOG_LEVEL_WARN};
    struct process process = {.options = options, .signals = -1, .changes = -1};
    int status = EXIT_USAGE;
    if (check_file(options) == 0 && open_all(&process, &log) == 0)
        status = run(&process);
    processor_free(process.processor);
    storage_close(process.storage);
    if (process.signals >= 0)
        close(process.signals);
    if (process.changes >= 0)
        close(process.changes);
    return status;
}

static void print_help(void)
{
    printf("event-syncer process [FILE] [options]: adds what is new in a journal to its users' revenue\n\n"
           "FILE is server-events.jsonl. Each line is counted once, however often this is run or killed.\n"
           "Exit status: 0 all was counted, 1 lines were skipped or it ended early, 2 nothing was done.\n\n"
           "options (defaults and environment variables in brackets):\n");
    process_options_print();
}

int command_process(int argument_count, char **arguments)
{
    struct process_options options;
    switch (process_options_read(&options, argument_count, arguments)) {
    case OPTIONS_GO:
        return process_file(&options);
    case OPTIONS_HELP:
        print_help();
        return EXIT_SUCCESS;
    case OPTIONS_WRONG:
        break;
    }
    return EXIT_USAGE;
}
