/* Reading a journal: line by line, in constant memory, from where the last reader got to. The other side of
 * journal/journal.h, for another process; knows nothing of what the lines say.
 *
 * Which bytes are read
 *   Those before the mark of the server that has the file open (see journal/journal.h); all, when none has. So nothing is
 *   read that may be cut off again. What a crash has left is read, too, and counts once journal_reader_sync has made it
 *   durable: without that, a power cut could leave a checkpoint beyond the file's end.
 *
 * Lines
 *   A line ends in "\n"; that and a "\r" before it do not belong to its text, which may be empty and hold any bytes. Lines
 *   have up to JOURNAL_LINE_BYTES before the "\n"; longer ones are skipped and reported. Half a line at the end is left for
 *   later: the rest may still come.
 *
 * Checkpoints
 *   A checkpoint says which file, how many bytes of it and how many lines are done. The file is known by its device and
 *   inode, and by a hash of its first line (of the front JOURNAL_IDENTITY_BYTES, if that is longer), as inodes are used
 *   again, and files are cut and written anew. The hash is SipHash-2-4-128 under a fixed seed, the same everywhere. Besides,
 *   the byte before the offset must be a "\n". A file that does not fit its checkpoint is JOURNAL_READ_CHANGED. First
 *   lines that are alike can't be told apart; so a file that was emptied in place and has grown beyond the offset again
 *   with the same first line is not noticed: journals are to be renamed, not emptied (no copytruncate).
 *
 * Rotation
 *   A journal that was renamed is found again in its folder by journal_find. Once it is finished (journal_reader_is_finished),
 *   journal_reader_open_next opens the one that came after it, by the names that logrotate(8) gives, oldest first:
 *     NAME.9999 .. NAME.2, NAME.1         up to four digits: the higher, the older
 *     NAME.SUFFIX, NAME-SUFFIX            a longer SUFFIX, of a digit and then digits and "-_.:TZ", such as 20260102: in
 *                                         the order of the bytes; after those with numbers
 *     NAME                                itself
 *   Others (NAME.bak, NAME.1.gz, ...) are none of them, but journal_find finds a file under any name.
 *
 *   A command that reads all there is:
 *
 *     open from the checkpoint, where there is none open_next(NULL)
 *     for (;;) {
 *         next, until it says JOURNAL_READ_END         (commit now and then: sync, then the database, lines and checkpoint
 *         commit                                        in one transaction)
 *         if is_finished: open_next, else wait or end
 *     }
 *
 * Errors are results; errno tells more where said. A reader is used by one thread at a time. No locks but the file's, which
 * it only asks about.
 */
#ifndef JOURNAL_READER_H
#define JOURNAL_READER_H

#include "base/hash.h"
#include "base/text.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct journal_reader;

enum {
    JOURNAL_LINE_BYTES = 1024 * 1024,
    JOURNAL_IDENTITY_BYTES = 4096,
    JOURNAL_PATH_BYTES = PATH_MAX + NAME_MAX,
};

struct journal_identity {
    uint64_t device; /* 0: not known; it need not outlive a mount, so it does not belong into a store */
    uint64_t inode;
    struct hash_128 first_line; /* zeros until the first line is whole */
};

/* Plain numbers, to be stored anywhere. */
struct journal_checkpoint {
    struct journal_identity identity;
    uint64_t offset; /* bytes that are done; behind a line */
    uint64_t lines;  /* lines that are done */
};

enum journal_read_result {
    JOURNAL_READ_OK,
    JOURNAL_READ_TOO_LONG, /* a line that was skipped */
    JOURNAL_READ_END,      /* no whole line yet */
    JOURNAL_READ_ABSENT,   /* no such file */
    JOURNAL_READ_GONE,     /* the file that was read last is not in the folder */
    JOURNAL_READ_CHANGED,  /* this is not the file that was read, or it has been cut */
    JOURNAL_READ_FAILED,   /* errno tells why */
};

struct journal_reader_options {
    const char *path;
    const struct journal_checkpoint *from; /* NULL: the beginning */
    size_t read_bytes;                     /* asked for at once; 0: 64 KiB */
};

/* Opens the file. For JOURNAL_READ_OK there is a reader, which the caller closes; else (ABSENT, CHANGED, FAILED) NULL. */
enum journal_read_result journal_reader_open(const struct journal_reader_options *options,
                                             struct journal_reader **reader);

/* Takes NULL. */
void journal_reader_close(struct journal_reader *reader);

struct journal_line {
    struct text text; /* the reader's memory, until the next call; empty for JOURNAL_READ_TOO_LONG */
    uint64_t number;  /* in the file, from 1 */
    uint64_t length;  /* in bytes, with its end */
};

/* The next whole line: JOURNAL_READ_OK, TOO_LONG (`line` is set), END (may be called again later), CHANGED or FAILED. */
enum journal_read_result journal_reader_next(struct journal_reader *reader, struct journal_line *line);

/* What is done behind the line that came last. */
struct journal_checkpoint journal_reader_checkpoint(const struct journal_reader *reader);

/* Makes what was read, and the file's name, durable. To be called before a checkpoint is committed. Returns 0, or -1 with
 * errno: then nothing may be committed. */
int journal_reader_sync(struct journal_reader *reader);

/* Whether nothing will follow in this file: the journal's name is gone or another file's, no server has this one open any
 * more, and all of its bytes were read. Half a line that will never be whole may be left: `*half_bytes` tells how much.
 * To be asked after JOURNAL_READ_END; false where it can't be said. */
bool journal_reader_is_finished(struct journal_reader *reader, const char *journal_path,
                                uint64_t *half_bytes);

/* Whether a file of the journal's folder is, by its name, the journal or what came before it: one of the names above. */
bool journal_is_generation(const char *journal_path, const char *found_path);

/* Finds the file in the folder of `path` (that of the journal) and writes its path: JOURNAL_READ_OK, GONE or FAILED. The file
 * may be renamed at any time: journal_reader_open says whether it is the right one. */
enum journal_read_result journal_find(const char *path, const struct journal_identity *identity,
                                      char found[static JOURNAL_PATH_BYTES]);

/* Opens the beginning of the file that came after the one that is finished, or of the oldest where that is NULL, as above.
 * JOURNAL_READ_OK; ABSENT when there is none yet; GONE when the finished one is not in the folder, so that nobody can tell
 * which came next; FAILED. `options->path` is that of the journal, `from` is not used. */
enum journal_read_result journal_reader_open_next(const struct journal_reader_options *options,
                                                  const struct journal_identity *finished,
                                                  struct journal_reader **reader);

#endif
