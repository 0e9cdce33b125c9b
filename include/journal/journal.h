/* The journal: lines appended to a file, each answered for once it is durable. This is the server's side; what reads the
 * file is journal/reader.h. It knows neither HTTP nor what the lines say.
 *
 * Group commit
 *   One writer thread takes all appends that are queued, up to JOURNAL_BATCH_BYTES (a larger one goes alone), copies them into
 *   one buffer, writes that with one write(2) behind the file's end, syncs once, and then settles each, in their order. So
 *   the more callers wait, the more share the price of one sync. All of a batch goes into one file.
 *
 * What the file holds
 *   Whole lines: those of all appends that were answered JOURNAL_OK, in the order of their batches. Beside them at most
 *     - what a crash left: whole lines nobody got an answer for, and half a line, which gets a line break before the next
 *       batch (so does any other half line that a batch finds at the end);
 *     - lines of appends whose outcome was JOURNAL_UNKNOWN.
 *   Of a batch that can't be written whole, or not be synced, everything is cut off again, and the cut is synced: only then
 *   it is refused (JOURNAL_FULL, JOURNAL_AWAY). Where the cut fails, the outcome is JOURNAL_UNKNOWN; it is tried once more
 *   before the next batch, which then goes behind what is left (a file that can only be appended to, chattr +a, would
 *   otherwise never be written again).
 *   After a failed sync nobody knows what the disk has: Linux marks the pages clean that it could not write, so that a
 *   second sync that succeeds says nothing (fsync(2), "EIO"; PostgreSQL's "fsyncgate" of 2018; Rebello and others, "Can
 *   Applications Recover from fsync Failures?", 2020). Hence the cut, and the file is opened anew; what comes next is
 *   written anew from memory.
 *
 * The mark: who may write, and how far a reader may read
 *   One server writes to a journal. It holds a write lock on the bytes from the end of what is durable up to infinity
 *   (fcntl(2), open file description locks), for as long as it has the file open. A second server finds the lock and is
 *   refused. And whoever reads asks where the lock begins, and reads up to there: so it never sees a line that is cut off
 *   again later. (flock(2) could do the former only.) The lock goes with the process. Others may read and rename the
 *   file; to cut or to append to it under a running server is their own risk: the next batch goes to its end.
 *
 * Rotation
 *   Before each batch the name is looked up. If it is gone, or another file's, the batch goes into a new file of that name,
 *   and the old one is closed, which frees the lock: a reader that finds a renamed journal unlocked knows that nothing will
 *   follow in it. The folder is synced before the first batch in a file, so that its name is durable.
 *
 * Deadlines
 *   Each append is settled within `call_ns`: by the deadline thread, if the disk takes longer. JOURNAL_AWAY for one that no
 *   batch has taken: it never gets into the file. JOURNAL_UNKNOWN for one that is being written: that can't be interrupted.
 *   One whose turn comes with less than a sixth of its time left is refused. While one batch hangs, others queue up, and are
 *   refused when their time is over.
 *
 * Who owns what
 *   An append and its lines are the caller's memory. From journal_submit on the journal has them, until it calls `settled`,
 *   exactly once for each that was taken; with that they are the caller's again, whatever the result (what is being
 *   written is a copy). `settled` is called by the writer thread or the deadline thread with no lock held; it must not block,
 *   and may free the append or submit others.
 *
 * Bounds
 *   Appends that are not settled have at most max_unsettled_bytes of lines. The journal itself needs the bytes of one batch.
 *
 * Lock: journal->mutex guards the lists, the counts and the states of the threads (leaf; not held during system calls or
 * `settled`). The file is the writer thread's own.
 *
 * Signals: writing beyond RLIMIT_FSIZE sends SIGXFSZ to the thread that does it; the writer thread blocks that signal.
 */
#ifndef JOURNAL_JOURNAL_H
#define JOURNAL_JOURNAL_H

#include "base/log.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

struct journal;

enum { JOURNAL_REASON_BYTES = 512, JOURNAL_BATCH_BYTES = 4 * 1024 * 1024 };

#define JOURNAL_UNSETTLED_BYTES (UINT64_C(64) * 1024 * 1024)

/* Builds with sanitizers are some times slower. */
#ifndef DEADLINE_SCALE
#define DEADLINE_SCALE 1
#endif

/* As STORAGE_CALL_NS. */
#define JOURNAL_CALL_NS (INT64_C(1800) * 1000 * 1000 * DEADLINE_SCALE)

enum journal_result {
    JOURNAL_OK,   /* durable */
    JOURNAL_FULL, /* no room (ENOSPC, EDQUOT, EFBIG); nothing of it is in the file */
    JOURNAL_AWAY, /* the file can't be written or opened, no memory, or not in time; nothing of it is in the file */
    JOURNAL_UNKNOWN, /* some or all of its lines may be in the file, now or after a crash */
};

struct journal_append {
    /* Filled by the caller: whole lines, each with its "\n"; at least one. */
    struct text lines;
    void (*settled)(struct journal_append *append, enum journal_result result);
    /* The journal's own. */
    int64_t deadline_at;
    TAILQ_ENTRY(journal_append) link;
};

/* The system calls that change the file, so that tests can make them fail or wait. As those of the same names. */
struct journal_system {
    int (*open)(const char *path, int flags, mode_t mode);
    ssize_t (*write)(int descriptor, const void *bytes, size_t length);
    int (*fdatasync)(int descriptor);
    int (*fsync)(int descriptor); /* of a file just opened, and of its folder */
    int (*ftruncate)(int descriptor, off_t length);
};

struct journal_options {
    const char *path;                    /* copied */
    const struct log *log;               /* must outlive the journal */
    uint64_t max_unsettled_bytes;        /* 0: JOURNAL_UNSETTLED_BYTES */
    int64_t call_ns;                     /* 0: JOURNAL_CALL_NS */
    const struct journal_system *system; /* NULL: the system's own; must outlive the journal */
};

/* Opens the file, makes it when there is none (mode 0640), takes its lock and starts the threads. Returns NULL and why, in
 * one line that says what to do. */
struct journal *journal_open(const struct journal_options *options, char reason[static JOURNAL_REASON_BYTES]);

/* Queues the append; `settled` will be called. Returns 0, or -1 with errno when it was not taken, and nothing is called:
 * EAGAIN too many bytes are not settled yet; ESHUTDOWN the journal is stopping; EINVAL the lines are not whole ones. */
int journal_submit(struct journal *journal, struct journal_append *append);

/* Refuses what comes from now on, and settles all others. Returns 0 when the threads have ended and the file is closed.
 * Returns -1 when a call of the disk still hangs after `call_ns`: all appends are settled by then, the thread is left to
 * itself, and the journal must not be freed. It may be called again. */
int journal_stop(struct journal *journal);

/* Stops, and frees the journal (leaves it where journal_stop returns -1). Nobody else may use it any more. Takes NULL. */
void journal_close(struct journal *journal);

/* Since journal_open. */
struct journal_counts {
    uint64_t lines;           /* durable, those answered too late included */
    uint64_t bytes;           /* of these lines */
    uint64_t batches;         /* durable */
    uint64_t failures;        /* batches that are not */
    uint64_t expired;         /* appends that were not settled in time, or had too little left */
    uint64_t unsettled_bytes; /* of now */
    bool available;           /* whether the last batch became durable, and no batch takes too long now */
};

struct journal_counts journal_counts(struct journal *journal);

#endif
