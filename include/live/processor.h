/* The processor: counts what is new in a journal, and stores sums and checkpoint in one transaction.
 *
 * What it counts once
 *   A batch of lines is summed by user, then the journal is synced, then one write moves the checkpoint of the file from where
 *   the batch began to where it ends, and adds the sums, both or none. So a processor that is killed leaves a batch counted
 *   or not, never in part. The checkpoint only moves when it still stands where this processor has left it: of
 *   two processors at once, one finds itself overtaken and ends. A write whose outcome is not known is repeated: if it
 *   was stored, the repetition finds the checkpoint where it wants to move it.
 *
 * Which file
 *   Files are known by inode and first line (journal/reader.h; numbers of devices change with a mount). The journal itself is
 *   gone on with where it has a checkpoint, else the file whose checkpoint moved last of those that it was before it was
 *   renamed; when that is finished, the next one follows, up to the journal itself. Without
 *   one it begins with the oldest. A file that has been cut is reported, and not counted; one that has another first line in
 *   the same place is reported, and counted from its beginning: it may be an inode that is used again.
 *
 * Owners: the processor has the reader and the sums; storage and path stay the caller's. One thread.
 */
#ifndef LIVE_PROCESSOR_H
#define LIVE_PROCESSOR_H

#include "base/decimal.h"
#include "storage/storage.h"

#include <stdbool.h>
#include <stdint.h>

struct processor;

enum { PROCESSOR_REASON_BYTES = 512 };

struct processor_options {
    const char *path;
    struct storage *storage;
    bool patient; /* waits for a database that is away as long as it takes; else a minute */
    /* A line that was not counted. */
    void (*skipped)(void *context, const char *path, uint64_t number, const char *why);
    /* A file is begun, or gone on with behind `lines` lines. */
    void (*opened)(void *context, const char *path, uint64_t lines, uint64_t bytes);
    /* Of all files that were counted into this database, none is there any more: the next one is counted from its beginning. */
    void (*unknown)(void *context, const char *path);
    /* The file is another one than `lines` lines were counted of, in its place: it is counted from its beginning. */
    void (*replaced)(void *context, const char *path, uint64_t lines);
    /* Waits for some time. Returns false when it is to end: the batch under way is given up. */
    bool (*wait)(void *context, int64_t ns);
    void *context;
};

enum processor_result {
    PROCESSOR_MORE,      /* go on */
    PROCESSOR_CAUGHT_UP, /* all there is has been counted */
    PROCESSOR_STOPPED,   /* `wait` wanted it */
    PROCESSOR_FAILED,    /* see processor_reason */
};

struct processor_counts {
    uint64_t lines; /* counted, and stored */
    uint64_t skipped;
    uint64_t bytes; /* read, of all files */
    uint64_t users; /* distinct ones, up to PROCESSOR_USERS */
    struct decimal added;
    struct decimal subtracted;
};

enum { PROCESSOR_USERS = 1000000 };

/* Returns NULL without memory. */
struct processor *processor_create(const struct processor_options *options);
void processor_free(struct processor *processor);

/* Reads some lines, and stores the batch when it is large enough or all has been read. */
enum processor_result processor_step(struct processor *processor);

/* Why it failed, in one line that says what to do. */
const char *processor_reason(const struct processor *processor);

struct processor_counts processor_counts(const struct processor *processor);

#endif
