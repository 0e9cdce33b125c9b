/* What became of the lines: counts of all, and a list of those that were not taken.
 *
 *   line 17: refused: 400 "value must be a number"
 *   lines 20-31: refused: 400 "not valid JSON: ..."
 *   line 44: outcome unknown: no answer in time
 *   and 12,000 more lines
 *   event-syncer: 200,000 lines: 199,986 sent, 13 refused, 1 unknown, 0 not sent, 0 blank; 6.1 s, 32,786 lines/s
 *
 * The list is in the order of the lines, whatever the order in which they are told. Consecutive lines with the same fate
 * share an entry. SEND_REPORT_ENTRIES are shown, and the lines of the others counted. More are kept: lines that are told
 * before earlier ones make entries that are joined later. As at most SEND_QUEUE_LINES lines are waited for at any time,
 * they leave at most so many gaps more; so an entry that has to go (the last one) was never to be shown. The struct is the caller's, ended by
 * send_report_free. One thread.
 */
#ifndef CLI_SEND_REPORT_H
#define CLI_SEND_REPORT_H

#include "base/buffer.h"
#include "cli/send_judge.h"
#include "cli/send_queue.h"

#include <stddef.h>
#include <stdint.h>

enum {
    SEND_REPORT_ENTRIES = 1000,
    SEND_REPORT_KEPT = SEND_REPORT_ENTRIES + SEND_QUEUE_LINES + 1,
};

enum send_fate {
    SEND_FATE_SENT,     /* and taken */
    SEND_FATE_REFUSED,  /* not taken, for good */
    SEND_FATE_UNKNOWN,  /* may have been taken, once at most */
    SEND_FATE_NOT_SENT, /* not taken; it was never refused as such */
    SEND_FATE_BLANK,
    SEND_FATES,
};

struct send_report_entry {
    uint64_t first, last;
    enum send_fate fate;
    char reason[SEND_REASON_BYTES];
};

struct send_report {
    uint64_t counts[SEND_FATES];
    struct send_report_entry *entries; /* by rising number */
    size_t entry_count;
    uint64_t dropped_lines; /* that have no entry any more */
};

/* Returns 0, or -1 without memory. */
int send_report_begin(struct send_report *report);
void send_report_free(struct send_report *report);

/* Counts a line, and lists it unless it was sent or blank; `reason` is then one line (else it is not read). A line is told
 * once. */
void send_report_add(struct send_report *report, uint64_t number, enum send_fate fate, const char *reason);

/* Lines that were told, in all. */
uint64_t send_report_lines(const struct send_report *report);

/* Whether every line that was not blank was taken. */
bool send_report_is_good(const struct send_report *report);

/* Append the list, and the summary's line. Failures are the buffer's. */
void send_report_list(const struct send_report *report, struct buffer *text);
void send_report_sum(const struct send_report *report, int64_t took_ns, struct buffer *text);

#endif
