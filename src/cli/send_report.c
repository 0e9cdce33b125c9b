#include "cli/send_report.h"

#include "cli/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const fate_names[SEND_FATES] = {
    [SEND_FATE_SENT] = "sent",         [SEND_FATE_REFUSED] = "refused", [SEND_FATE_UNKNOWN] = "unknown",
    [SEND_FATE_NOT_SENT] = "not sent", [SEND_FATE_BLANK] = "blank",
};

int send_report_begin(struct send_report *report)
{
    *report = (struct send_report){.entry_count = 0};
    /* One more than are kept, so that each line can be put in before the last one is dropped. */
    report->entries = calloc(SEND_REPORT_KEPT + 1, sizeof report->entries[0]);
    return report->entries == NULL ? -1 : 0;
}

void send_report_free(struct send_report *report)
{
    free(report->entries);
    report->entries = NULL;
}

/* The index of the first entry behind a line. */
static size_t find_place(const struct send_report *report, uint64_t number)
{
    size_t low = 0, high = report->entry_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (report->entries[middle].first > number)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static void remove_entry(struct send_report *report, size_t place)
{
    report->entry_count--;
    memmove(&report->entries[place], &report->entries[place + 1],
            (report->entry_count - place) * sizeof report->entries[0]);
}

static bool is_same(const struct send_report_entry *entry, enum send_fate fate, const char *reason)
{
    return entry->fate == fate && strcmp(entry->reason, reason) == 0;
}

/* Lengthens the entry before or the one behind `place`, or both into one. */
static bool join(struct send_report *report, size_t place, uint64_t number, enum send_fate fate,
                 const char *reason)
{
    struct send_report_entry *before = place > 0 ? &report->entries[place - 1] : NULL;
    struct send_report_entry *behind = place < report->entry_count ? &report->entries[place] : NULL;
    bool joins_before = before != NULL && before->last + 1 == number && is_same(before, fate, reason);
    bool joins_behind = behind != NULL && number + 1 == behind->first && is_same(behind, fate, reason);
    if (joins_before && joins_behind) {
        before->last = behind->last;
        remove_entry(report, place);
    } else if (joins_before) {
        before->last = number;
    } else if (joins_behind) {
        behind->first = number;
    }
    return joins_before || joins_behind;
}

static uint64_t count_lines(const struct send_report_entry *entry)
{
    return entry->last - entry->first + 1;
}

void send_report_add(struct send_report *report, uint64_t number, enum send_fate fate, const char *reason)
{
    report->counts[fate]++;
    if (fate == SEND_FATE_SENT || fate == SEND_FATE_BLANK)
        return;
    char shown[SEND_REASON_BYTES];
    snprintf(shown, sizeof shown, "%s", reason);
    size_t place = find_place(report, number);
    if (join(report, place, number, fate, shown))
        return;
    struct send_report_entry *entry = &report->entries[place];
    memmove(entry + 1, entry, (report->entry_count - place) * sizeof *entry);
    *entry = (struct send_report_entry){.first = number, .last = number, .fate = fate};
    memcpy(entry->reason, shown, sizeof shown);
    if (++report->entry_count > SEND_REPORT_KEPT)
        report->dropped_lines += count_lines(&report->entries[--report->entry_count]);
}

uint64_t send_report_lines(const struct send_report *report)
{
    uint64_t lines = 0;
    for (int fate = 0; fate < SEND_FATES; fate++)
        lines += report->counts[fate];
    return lines;
}

bool send_report_is_good(const struct send_report *report)
{
    return report->counts[SEND_FATE_SENT] + report->counts[SEND_FATE_BLANK] == send_report_lines(report);
}

void send_report_list(const struct send_report *report, struct buffer *text)
{
    uint64_t more_lines = report->dropped_lines;
    for (size_t i = SEND_REPORT_ENTRIES; i < report->entry_count; i++)
        more_lines += count_lines(&report->entries[i]);
    for (size_t i = 0; i < report->entry_count && i < SEND_REPORT_ENTRIES; i++) {
        const struct send_report_entry *entry = &report->entries[i];
        const char *fate = entry->fate == SEND_FATE_UNKNOWN ? "outcome unknown" : fate_names[entry->fate];
        if (entry->first == entry->last)
            buffer_printf(text, "line %" PRIu64, entry->first);
        else
            buffer_printf(text, "lines %" PRIu64 "-%" PRIu64, entry->first, entry->last);
        buffer_printf(text, ": %s: %s\n", fate, entry->reason);
    }
    char number[PROGRESS_NUMBER_BYTES];
    if (more_lines > 0)
        buffer_printf(text, "and %s more line%s\n", progress_number(more_lines, number),
                      more_lines == 1 ? "" : "s");
}

void send_report_sum(const struct send_report *report, int64_t took_ns, struct buffer *text)
{
    char number[PROGRESS_NUMBER_BYTES];
    uint64_t lines = send_report_lines(report);
    double seconds = (double)took_ns / (double)CLOCK_NS_PER_SECOND;
    buffer_printf(text, "event-syncer: %s line%s:", progress_number(lines, number), lines == 1 ? "" : "s");
    for (int fate = 0; fate < SEND_FATES; fate++)
        buffer_printf(text, "%s %s %s", fate == 0 ? "" : ",", progress_number(report->counts[fate], number),
                      fate_names[fate]);
    uint64_t rate = seconds > 0 ? (uint64_t)((double)lines / seconds + 0.5) : 0;
    buffer_printf(text, "; %.1f s, %s lines/s\n", seconds, progress_number(rate, number));
}
