#include "cli/send_run.h"

#include "base/clock.h"
#include "cli/progress.h"
#include "cli/send_lines.h"
#include "cli/send_queue.h"
#include "cli/send_report.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define LONGEST_WAIT_NS (10 * CLOCK_NS_PER_SECOND)

/* One connection's work. With a line it is under way, or rests until the line is tried again. */
struct place {
    struct send_line *line;
    bool is_under_way;
    unsigned tries;
    int64_t first_tried_at;
    int64_t refused_at; /* the last time */
    int64_t again_at;
};

struct sender {
    const struct send_run_options *options;
    struct send_lines lines;
    struct send_queue queue;
    struct send_report report;
    struct progress progress;
    int64_t started_at;
    uint64_t done_bytes;
    uint64_t highest_settled; /* by an answer, or for the lack of one */
    int64_t answered_at;      /* the last time that the server took or refused a line */
    bool input_ready;
    bool input_ended;
    bool is_stopping;
    bool is_unreachable;
    int64_t cut_at;                   /* when it stops: the end of its patience */
    char message[SEND_MESSAGE_BYTES]; /* why it stopped by itself */
    struct place places[CLIENT_MOST_SLOTS];
};

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* --- lines and their fates --- */

static void settle(struct sender *sender, struct place *place, enum send_fate fate, const char *reason)
{
    struct send_line *line = place->line;
    send_report_add(&sender->report, line->number, fate, reason);
    sender->done_bytes += line->file_bytes;
    if (line->number > sender->highest_settled)
        sender->highest_settled = line->number;
    place->line = NULL; /* the queue frees it */
    place->is_under_way = false;
    send_queue_settle(&sender->queue, line);
}

static void put_back(struct sender *sender, struct place *place)
{
    struct send_line *line = place->line;
    place->line = NULL; /* the queue has it again */
    place->is_under_way = false;
    send_queue_put_back(&sender->queue, line);
}

/* The highest line that may have reached the server: what lies before it shall be sent too. */
static uint64_t highest_sent(const struct sender *sender)
{
    uint64_t highest = sender->highest_settled;
    for (unsigned i = 0; i < sender->options->slots; i++) {
        const struct place *place = &sender->places[i];
        if (place->is_under_way && place->line->number > highest)
            highest = place->line->number;
    }
    return highest;
}

/* From now on only lines up to `last_number` are sent; those that rest behind it go back. */
static void stop(struct sender *sender, uint64_t last_number)
{
    if (!sender->is_stopping)
        sender->cut_at = clock_monotonic_ns() + sender->options->timeout_ns;
    sender->is_stopping = true;
    /* What was ruled out before stays so. */
    if (last_number > sender->queue.last_number)
        last_number = sender->queue.last_number;
    send_queue_limit(&sender->queue, last_number);
    for (unsigned i = 0; i < sender->options->slots; i++) {
        struct place *place = &sender->places[i];
        if (place->line != NULL && !place->is_under_way && place->line->number > last_number)
            put_back(sender, place);
    }
}

static void stop_because(struct sender *sender, uint64_t last_number, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void stop_because(struct sender *sender, uint64_t last_number, const char *format, ...)
{
    if (sender->message[0] == '\0') {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(sender->message, sizeof sender->message, format, arguments);
        va_end(arguments);
    }
    stop(sender, last_number);
}

/* --- reading --- */

static void take_line(struct sender *sender, const struct send_lines_line *line)
{
    if (send_queue_add(&sender->queue, line->text, line->number, line->bytes) == 0)
        return;
    send_report_add(&sender->report, line->number, SEND_FATE_NOT_SENT, "out of memory");
    stop_because(sender, highest_sent(sender), "out of memory");
}

static void read_more(struct sender *sender)
{
    sender->input_ready = sender->options->is_file;
    if (send_lines_read(&sender->lines) != 0)
        stop_because(sender, highest_sent(sender), "can't read %s: %s", sender->options->name,
                     strerror(errno));
}

/* Fills the queue from at most one read. */
static void take_lines(struct sender *sender)
{
    bool has_read = false;
    while (!sender->is_stopping && !sender->input_ended && send_queue_has_room(&sender->queue)) {
        struct send_lines_line line;
        switch (send_lines_next(&sender->lines, &line)) {
        case SEND_LINES_LINE:
            take_line(sender, &line);
            break;
        case SEND_LINES_BLANK:
            send_report_add(&sender->report, line.number, SEND_FATE_BLANK, NULL);
            sender->done_bytes += line.bytes;
            break;
        case SEND_LINES_TOO_LONG:
            send_report_add(&sender->report, line.number, SEND_FATE_REFUSED, "longer than 1 MiB");
            sender->done_bytes += line.bytes;
            break;
        case SEND_LINES_MORE:
            if (has_read || !sender->input_ready)
                return;
            read_more(sender);
            has_read = true;
            break;
        case SEND_LINES_END:
            sender->input_ended = true;
            break;
        }
    }
}

static bool may_read_now(const struct sender *sender)
{
    return sender->input_ready && !sender->is_stopping && !sender->input_ended &&
           send_queue_has_room(&sender->queue);
}

/* --- sending --- */

static void begin(struct sender *sender, struct place *place, int64_t now_at)
{
    place->is_under_way = true;
    place->tries++;
    if (place->tries == 1)
        place->first_tried_at = now_at;
    if (client_begin(sender->options->client, (unsigned)(place - sender->places), place->line->text) == 0)
        return;
    put_back(sender, place);
    stop_because(sender, 0, "out of memory");
}

static void send_lines(struct sender *sender, int64_t now_at)
{
    bool first_contact = !client_has_connected(sender->options->client);
    unsigned count = first_contact ? 1 : sender->options->slots;
    for (unsigned i = 0; i < count; i++) {
        struct place *place = &sender->places[i];
        if (place->line == NULL) {
            place->line = send_queue_take(&sender->queue);
            place->tries = 0;
            if (place->line != NULL)
                begin(sender, place, now_at);
        } else if (!place->is_under_way && place->again_at <= now_at) {
            begin(sender, place, now_at);
        }
    }
}

/* --- answers --- */

static void try_again(struct sender *sender, struct place *place, const struct client_answer *answer,
                      const char *reason)
{
    int64_t now_at = clock_monotonic_ns();
    int64_t give_up_ns = sender->options->give_up_ns;
    int64_t give_up_at = place->first_tried_at + give_up_ns;
    int64_t give_all_up_at = later(place->first_tried_at, sender->answered_at) + give_up_ns;
    uint64_t random = 0;
    (void)!getrandom(&random, sizeof random, GRND_NONBLOCK); /* without it: the same pause for all */
    place->is_under_way = false;
    place->again_at = now_at + send_backoff_ns(place->tries, answer->retry_after_s, random);
    if (place->line->number > sender->queue.last_number) {
        put_back(sender, place);
    } else if (now_at >= give_all_up_at) {
        put_back(sender, place);
        stop_because(sender, 0, "no line was taken for %.3g s (%s)",
                     (double)give_up_ns / (double)CLOCK_NS_PER_SECOND, reason);
    } else if (now_at < give_up_at) {
        place->again_at = earlier(place->again_at, give_up_at);
    } else if (sender->answered_at > place->refused_at) {
        settle(sender, place, SEND_FATE_NOT_SENT, reason);
    } else {
        place->again_at = earlier(place->again_at, give_all_up_at);
    }
    place->refused_at = now_at;
}

static void take_answer(struct sender *sender, const struct client_answer *answer)
{
    struct place *place = &sender->places[answer->slot];
    char reason[SEND_REASON_BYTES] = "";
    switch (send_judge(answer, reason)) {
    case SEND_TAKEN:
        sender->answered_at = clock_monotonic_ns();
        settle(sender, place, SEND_FATE_SENT, NULL);
        break;
    case SEND_REFUSED:
        sender->answered_at = clock_monotonic_ns();
        settle(sender, place, SEND_FATE_REFUSED, reason);
        break;
    case SEND_UNKNOWN:
        settle(sender, place, SEND_FATE_UNKNOWN, reason);
        break;
    case SEND_FORBIDDEN:
        put_back(sender, place);
        stop_because(sender, 0,
                     "the server lets nobody in without the right token (%s); see --token and --token-file",
                     reason);
        break;
    case SEND_AGAIN:
        if (client_has_connected(sender->options->client)) {
            try_again(sender, place, answer, reason);
            break;
        }
        put_back(sender, place);
        sender->is_unreachable = true;
        stop_because(sender, 0, "can't reach %s: %s; start the server there, or name another with --url",
                     client_url(sender->options->client), reason);
        break;
    }
}

static bool take_answers(struct sender *sender)
{
    struct client_answer answer;
    bool any = false;
    client_run(sender->options->client);
    while (client_next(sender->options->client, &answer)) {
        take_answer(sender, &answer);
        any = true;
    }
    return any;
}

/* --- stopping --- */

/* The time to wait for answers is over. */
static void cut(struct sender *sender)
{
    send_queue_limit(&sender->queue, 0);
    for (unsigned i = 0; i < sender->options->slots; i++) {
        struct place *place = &sender->places[i];
        if (place->line == NULL)
            continue;
        if (client_cut(sender->options->client, i))
            settle(sender, place, SEND_FATE_UNKNOWN, "no answer in time");
        else
            put_back(sender, place);
    }
}

/* After the first signal a second one ends the process at once. */
static void take_signal(struct sender *sender)
{
    struct signalfd_siginfo information;
    sigset_t signals;
    if (read(sender->options->signals, &information, sizeof information) != (ssize_t)sizeof information)
        return;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_UNBLOCK, &signals, NULL);
    stop(sender, highest_sent(sender));
}

static bool has_work(const struct sender *sender)
{
    if (sender->queue.ready_count > 0 || (!sender->is_stopping && !sender->input_ended))
        return true;
    for (unsigned i = 0; i < sender->options->slots; i++) {
        if (sender->places[i].line != NULL)
            return true;
    }
    return false;
}

/* --- waiting --- */

static int64_t wait_ns(const struct sender *sender, bool is_busy)
{
    if (is_busy || may_read_now(sender))
        return 0;
    int64_t now_at = clock_monotonic_ns();
    int64_t until_at = earlier(now_at + LONGEST_WAIT_NS, progress_due_at(&sender->progress));
    if (sender->is_stopping)
        until_at = earlier(until_at, sender->cut_at);
    for (unsigned i = 0; i < sender->options->slots; i++) {
        const struct place *place = &sender->places[i];
        if (place->line != NULL && !place->is_under_way)
            until_at = earlier(until_at, place->again_at);
    }
    return later(until_at - now_at, 0);
}

/* Waits for a connection, the input (if there is room for it) or a signal, and sees which of the latter has come. */
static void wait_for_something(struct sender *sender, bool is_busy)
{
    struct pollfd looked_at[] = {{.fd = sender->options->signals, .events = POLLIN},
                                 {.fd = sender->options->descriptor, .events = POLLIN}};
    bool wants_input = !sender->options->is_file && !sender->input_ready && !sender->input_ended &&
                       !sender->is_stopping && send_queue_has_room(&sender->queue);
    nfds_t count = wants_input ? 2 : 1;
    int64_t longest_ns = wait_ns(sender, is_busy);
    if (longest_ns > 0) {
        const int descriptors[] = {looked_at[0].fd, looked_at[1].fd};
        client_wait(sender->options->client, descriptors, count, longest_ns);
    }
    if (poll(looked_at, count, 0) <= 0)
        return;
    if (wants_input && looked_at[1].revents != 0)
        sender->input_ready = true; /* its end counts too, which libcurl would not tell */
    if (looked_at[0].revents != 0)
        take_signal(sender);
}

/* --- the run --- */

static struct progress_count done_so_far(const struct sender *sender)
{
    return (struct progress_count){.bytes = sender->done_bytes, .lines = send_report_lines(&sender->report)};
}

static void run(struct sender *sender)
{
    while (has_work(sender)) {
        int64_t now_at = clock_monotonic_ns();
        if (sender->is_stopping && now_at >= sender->cut_at)
            cut(sender);
        take_lines(sender);
        send_lines(sender, now_at);
        bool is_busy = take_answers(sender);
        if (now_at >= progress_due_at(&sender->progress))
            progress_show(&sender->progress, done_so_far(sender), progress_width(STDERR_FILENO), now_at);
        wait_for_something(sender, is_busy);
    }
}

/* Tells the lines that were read and stayed: one by one where later ones were sent. Returns the first line from which on
 * nothing was sent; 0: there is none. */
static uint64_t tell_rest(struct sender *sender)
{
    const struct send_line *line;
    TAILQ_FOREACH (line, &sender->queue.lines, link) {
        if (line->number > sender->highest_settled)
            return line->number;
        send_report_add(&sender->report, line->number, SEND_FATE_NOT_SENT, "stopped before");
    }
    return sender->input_ended ? 0 : sender->lines.number + 1;
}

static void tell_stop(const struct sender *sender, uint64_t next_line, struct buffer *text)
{
    const char *name = sender->options->name;
    if (sender->message[0] != '\0')
        buffer_printf(text, "event-syncer: %s\n", sender->message);
    if (next_line == 0)
        return;
    buffer_printf(text, "event-syncer: stopped at line %" PRIu64 "; ", next_line - 1);
    if (strcmp(name, "-") == 0)
        buffer_printf(text, "nothing from line %" PRIu64 " on was sent\n", next_line);
    else
        buffer_printf(text, "continue with: tail -n +%" PRIu64 " '%s' | event-syncer send -\n", next_line,
                      name);
}

static void print(const struct buffer *text)
{
    for (size_t at = 0; at < text->length;) {
        ssize_t written = write(STDERR_FILENO, text->bytes + at, text->length - at);
        if (written < 0 && errno != EINTR)
            return;
        at += written < 0 ? 0 : (size_t)written;
    }
}

static enum send_run_result tell(struct sender *sender)
{
    struct buffer text = BUFFER_EMPTY;
    int64_t now_at = clock_monotonic_ns();
    uint64_t next_line = tell_rest(sender);
    progress_end(&sender->progress, done_so_far(sender), progress_width(STDERR_FILENO), now_at);
    send_report_list(&sender->report, &text);
    tell_stop(sender, next_line, &text);
    send_report_sum(&sender->report, now_at - sender->started_at, &text);
    print(&text);
    buffer_free(&text);
    return send_report_is_good(&sender->report) && next_line == 0 ? SEND_RUN_GOOD : SEND_RUN_SHORT;
}

enum send_run_result send_run(const struct send_run_options *options)
{
    struct sender *sender = calloc(1, sizeof *sender);
    if (sender == NULL || send_queue_begin(&sender->queue) != 0 || send_report_begin(&sender->report) != 0) {
        fprintf(stderr, "event-syncer: can't start: %s\n", strerror(errno));
        free(sender);
        return SEND_RUN_NOTHING;
    }
    sender->options = options;
    sender->input_ready = options->is_file;
    sender->started_at = clock_monotonic_ns();
    send_lines_begin(&sender->lines, options->descriptor);
    progress_begin(&sender->progress,
                   &(struct progress_options){.descriptor = STDERR_FILENO,
                                              .is_terminal = progress_is_terminal(STDERR_FILENO),
                                              .total_bytes = options->total_bytes},
                   sender->started_at);
    run(sender);
    enum send_run_result result = SEND_RUN_NOTHING;
    bool had_input = sender->lines.number > 0;
    if (sender->is_unreachable && sender->progress.is_drawn)
        fputc('\n', stderr);
    if (!sender->is_unreachable && (had_input || sender->message[0] == '\0'))
        result = tell(sender);
    else
        fprintf(stderr, "event-syncer: %s\n", sender->message);
    send_report_free(&sender->report);
    send_queue_free(&sender->queue);
    send_lines_free(&sender->lines);
    free(sender);
    return result;
}
