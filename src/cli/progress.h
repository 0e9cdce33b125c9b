/* The progress of a command that works through lines of a file: a bar on a terminal, else now and then a plain line.
 *
 *   [==========>             ]  42%  84,000 lines, 32,786/s, 0:04 left      redrawn at most 10 times a second
 *   event-syncer: 42%, 84,000 lines, 32,786/s, 0:04 left                    every 5 s; none in a shorter run
 *
 * Without a total (standard input) there is neither bar nor percentage, and the time is what has passed. Rate and time
 * left are those of the last seconds, not of the whole run.
 *
 * The caller hands time (CLOCK_MONOTONIC, ns) and width (columns) in, so tests need neither terminal nor patience. The
 * struct is the caller's and holds nothing that must be freed; the descriptor stays the caller's too. One thread.
 * Nothing here fails or blocks: what the descriptor has no room for is not shown.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PROGRESS_SAMPLES = 16, PROGRESS_NUMBER_BYTES = 32 };

struct progress_count {
    uint64_t bytes; /* done, of the total; not used when there is none */
    uint64_t lines;
};

struct progress_sample {
    int64_t at;
    struct progress_count done;
};

struct progress {
    int descriptor;
    bool is_terminal;
    uint64_t total_bytes; /* 0: not known */
    int64_t started_at;
    int64_t due_at;                                   /* nothing is shown before */
    bool is_drawn;                                    /* the bar stands in the terminal's line */
    struct progress_sample samples[PROGRESS_SAMPLES]; /* a ring: the last seconds */
    size_t sample_count;                              /* ever taken */
};

struct progress_options {
    int descriptor;
    bool is_terminal;     /* with carriage return and "erase to the end of the line" (ECMA-48) */
    uint64_t total_bytes; /* 0: not known */
};

void progress_begin(struct progress *progress, const struct progress_options *options, int64_t now_at);

/* More has been found to be done than was known at the beginning. */
void progress_add_total(struct progress *progress, uint64_t bytes);

/* When progress_show would show something again. */
int64_t progress_due_at(const struct progress *progress);

/* Shows how far it is, if that is due. */
void progress_show(struct progress *progress, struct progress_count done, unsigned width, int64_t now_at);

/* Shows the end, and leaves the line of the bar, so that something else can be written. Nothing may be shown after it.
 * Without a terminal it shows nothing. */
void progress_end(struct progress *progress, struct progress_count done, unsigned width, int64_t now_at);

/* The columns of the terminal behind a descriptor, now; 80 when it does not say. */
unsigned progress_width(int descriptor);

/* Whether a descriptor is a terminal that can redraw a line (TERM=dumb can't). */
bool progress_is_terminal(int descriptor);

/* Writes a number with its thousands set apart ("1,234,567"). Returns `text`. */
const char *progress_number(uint64_t number, char text[static PROGRESS_NUMBER_BYTES]);

#endif
