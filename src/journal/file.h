/* The file that a journal is appended to: opened, locked, followed when it is renamed, and cut when an append fails (see
 * journal/journal.h). One thread at a time. */
#ifndef JOURNAL_FILE_H
#define JOURNAL_FILE_H

#include "journal/journal.h"

struct journal_file {
    char *path;
    char *folder;
    const struct journal_system *system;
    int descriptor; /* -1: to be opened */
    off_t marked;   /* where the mark is */
    bool suspect;   /* to be opened anew */
    bool uncut;     /* what is behind cut_to should be cut off, which has failed */
    off_t cut_to;
    /* Of the last failure. */
    int error;
    char reason[JOURNAL_REASON_BYTES];
};

/* Opens the file. Returns 0, or -1 with `reason` and nothing to close. */
int journal_file_open(struct journal_file *file, const char *path, const struct journal_system *system);

/* Takes a file that is not open, too. */
void journal_file_close(struct journal_file *file);

/* Makes the batch durable behind the end of the file that has the journal's name now. Its first byte is a line break, which
 * is written only when the file ends in half a line. For any result but JOURNAL_OK `reason` says why. */
enum journal_result journal_file_append(struct journal_file *file, struct text batch);

#endif
