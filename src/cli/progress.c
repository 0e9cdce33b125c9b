#include "cli/progress.h"

#include "base/clock.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    USUAL_WIDTH = 80,
    BAR_LEAST = 10,
    BAR_MOST = 50,
    TEXT_BYTES = 160,
    LONGEST_HOURS = 99,
};

#define BAR_INTERVAL_NS    (CLOCK_NS_PER_SECOND / 10)
#define LINE_INTERVAL_NS   (5 * CLOCK_NS_PER_SECOND)
#define SAMPLE_INTERVAL_NS (CLOCK_NS_PER_SECOND / 2)

void progress_begin(struct progress *progress, const struct progress_options *options, int64_t now_at)
{
    *progress = (struct progress){
        .descriptor = options->descriptor,
        .is_terminal = options->is_terminal,
        .total_bytes = options->total_bytes,
        .started_at = now_at,
        .due_at = now_at + (options->is_terminal ? BAR_INTERVAL_NS : LINE_INTERVAL_NS),
        .samples = {{.at = now_at}},
        .sample_count = 1,
    };
}

void progress_add_total(struct progress *progress, uint64_t bytes)
{
    progress->total_bytes += bytes;
}

int64_t progress_due_at(const struct progress *progress)
{
    return progress->due_at;
}

/* --- numbers --- */

const char *progress_number(uint64_t number, char text[static PROGRESS_NUMBER_BYTES])
{
    char digits[PROGRESS_NUMBER_BYTES];
    size_t count = (size_t)snprintf(digits, sizeof digits, "%" PRIu64, number);
    size_t length = 0;
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && (count - i) % 3 == 0)
            text[length++] = ',';
        text[length++] = digits[i];
    }
    text[length] = '\0';
    return text;
}

/* "0:04", "1:02:03". Returns `text`. */
static const char *format_time(double seconds, char text[static PROGRESS_NUMBER_BYTES])
{
    enum { MINUTE = 60, HOUR = 3600 };
    if (!(seconds < (double)LONGEST_HOURS * HOUR))
        return "-:--";
    unsigned whole = (unsigned)(seconds + 0.5);
    if (whole >= HOUR)
        snprintf(text, PROGRESS_NUMBER_BYTES, "%u:%02u:%02u", whole / HOUR, whole % HOUR / MINUTE,
                 whole % MINUTE);
    else
        snprintf(text, PROGRESS_NUMBER_BYTES, "%u:%02u", whole / MINUTE, whole % MINUTE);
    return text;
}

static void take_sample(struct progress *progress, struct progress_count done, int64_t now_at)
{
    const struct progress_sample *last = &progress->samples[(progress->sample_count - 1) % PROGRESS_SAMPLES];
    if (now_at - last->at < SAMPLE_INTERVAL_NS)
        return;
    progress->samples[progress->sample_count++ % PROGRESS_SAMPLES] =
        (struct progress_sample){.at = now_at, .done = done};
}

/* The oldest sample that is kept: rates count from there. */
static const struct progress_sample *oldest_sample(const struct progress *progress)
{
    size_t first = progress->sample_count < PROGRESS_SAMPLES ? 0 : progress->sample_count % PROGRESS_SAMPLES;
    return &progress->samples[first];
}

static unsigned percentage(const struct progress *progress, struct progress_count done)
{
    /* A file may have grown since. */
    if (done.bytes >= progress->total_bytes)
        return 100;
    return (unsigned)((double)done.bytes * 100 / (double)progress->total_bytes);
}

/* "84,000 lines, 32,786/s, 0:04 left". */
static void describe(const struct progress *progress, struct progress_count done, int64_t now_at, bool ended,
                     char text[static TEXT_BYTES])
{
    const struct progress_sample first = {.at = progress->started_at};
    const struct progress_sample *since = ended ? &first : oldest_sample(progress);
    double seconds = (double)(now_at - since->at) / (double)CLOCK_NS_PER_SECOND;
    double rate = seconds > 0 ? (double)(done.lines - since->done.lines) / seconds : 0;
    double passed = (double)(now_at - progress->started_at) / (double)CLOCK_NS_PER_SECOND;
    char lines[PROGRESS_NUMBER_BYTES], per_second[PROGRESS_NUMBER_BYTES], time[PROGRESS_NUMBER_BYTES];
    const char *shown = format_time(passed, time);
    const char *left = "";
    if (progress->total_bytes > 0 && !ended) {
        double came = (double)(done.bytes - since->done.bytes);
        double to_come =
            done.bytes < progress->total_bytes ? (double)(progress->total_bytes - done.bytes) : 0;
        shown = came > 0 ? format_time(to_come * seconds / came, time) : "-:--";
        left = " left";
    }
    snprintf(text, TEXT_BYTES, "%s lines, %s/s, %s%s", progress_number(done.lines, lines),
             progress_number((uint64_t)(rate + 0.5), per_second), shown, left);
}

/* --- showing --- */

/* Returns false when there was no room. Half a bar does no harm: the next one covers it. */
static bool put(const struct progress *progress, const char *bytes, size_t length)
{
    struct pollfd reader = {.fd = progress->descriptor, .events = POLLOUT};
    return poll(&reader, 1, 0) == 1 && write(progress->descriptor, bytes, length) >= 0;
}

static size_t draw_bar(char *line, unsigned columns, unsigned percent)
{
    unsigned filled = columns * percent / 100;
    line[0] = '[';
    memset(line + 1, ' ', columns);
    memset(line + 1, '=', filled);
    if (filled < columns)
        line[1 + filled] = '>';
    line[columns + 1] = ']';
    return columns + 2;
}

static void draw(struct progress *progress, struct progress_count done, const char *text, unsigned width)
{
    char line[1 + BAR_MOST + 2 + TEXT_BYTES + sizeof " 100%  " + sizeof "\x1b[K"];
    char tail[TEXT_BYTES + sizeof " 100%  "];
    size_t length = 0;
    unsigned percent = progress->total_bytes == 0 ? 0 : percentage(progress, done);
    if (progress->total_bytes == 0)
        snprintf(tail, sizeof tail, "%s", text);
    else
        snprintf(tail, sizeof tail, " %3u%%  %s", percent, text);
    /* The last column stays free: terminals may wrap when it is filled. */
    size_t room = width > 1 ? width - 1 : 0;
    size_t tail_length = strlen(tail);
    line[length++] = '\r';
    if (progress->total_bytes > 0 && room >= tail_length + BAR_LEAST + 2) {
        size_t columns = room - tail_length - 2;
        length +=
            draw_bar(line + length, columns < BAR_MOST ? (unsigned)columns : (unsigned)BAR_MOST, percent);
    }
    if (tail_length > room)
        tail_length = room;
    length += (size_t)snprintf(line + length, sizeof line - length, "%.*s\x1b[K", (int)tail_length, tail);
    if (put(progress, line, length))
        progress->is_drawn = true;
}

static void print_line(const struct progress *progress, struct progress_count done, const char *text)
{
    char line[TEXT_BYTES + sizeof "event-syncer: 100%, \n"];
    char share[sizeof "100%, "] = "";
    if (progress->total_bytes > 0)
        snprintf(share, sizeof share, "%u%%, ", percentage(progress, done));
    int length = snprintf(line, sizeof line, "event-syncer: %s%s\n", share, text);
    put(progress, line, (size_t)length);
}

void progress_show(struct progress *progress, struct progress_count done, unsigned width, int64_t now_at)
{
    char text[TEXT_BYTES];
    if (now_at < progress->due_at)
        return;
    describe(progress, done, now_at, false, text);
    take_sample(progress, done, now_at);
    if (progress->is_terminal)
        draw(progress, done, text, width);
    else
        print_line(progress, done, text);
    progress->due_at = now_at + (progress->is_terminal ? BAR_INTERVAL_NS : LINE_INTERVAL_NS);
}

void progress_end(struct progress *progress, struct progress_count done, unsigned width, int64_t now_at)
{
    char text[TEXT_BYTES];
    if (!progress->is_terminal)
        return;
    describe(progress, done, now_at, true, text);
    draw(progress, done, text, width);
    if (progress->is_drawn)
        put(progress, "\n", 1);
    progress->is_drawn = false;
}

unsigned progress_width(int descriptor)
{
    struct winsize size;
    if (ioctl(descriptor, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return USUAL_WIDTH;
    return size.ws_col;
}

bool progress_is_terminal(int descriptor)
{
    const char *kind = getenv("TERM");
    return isatty(descriptor) == 1 && (kind == NULL || strcmp(kind, "dumb") != 0);
}
