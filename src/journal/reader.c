/* One file of a journal, read line by line. The other files of its folder are the matter of src/journal/rotation.c. */
#include "journal/reader.h"

#include "journal/identity.h"
#include "journal/mark.h"
#include "journal/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The longest line with its "\n". */
enum { BUFFER_BYTES = JOURNAL_LINE_BYTES + 1, READ_BYTES = 64 * 1024 };

/* Invariants: the bytes of the file from read_to - (end - start) to read_to are those from start to end of `bytes`;
 * up to `scanned` there is no line break; start <= scanned <= end <= BUFFER_BYTES. */
struct journal_reader {
    int descriptor;
    char *path;
    size_t read_bytes;
    struct journal_checkpoint done;
    uint64_t read_to; /* in the file */
    uint64_t limit;   /* in the file: so far it may be read */
    bool skipping;    /* in a line that is too long: its front has been dropped */
    size_t start;
    size_t scanned;
    size_t end;
    char bytes[BUFFER_BYTES];
};

/* --- what may be read --- */

/* Finds out how far the file may be read. Returns 0, or -1 with errno. */
static int find_limit(int descriptor, uint64_t *size, uint64_t *limit)
{
    struct stat opened;
    bool held;
    int64_t mark;
    if (mark_find(descriptor, &held, &mark) != 0 || fstat(descriptor, &opened) != 0)
        return -1;
    /* Asked again: what a server appends that has just opened the file is not durable yet. */
    if (!held && mark_find(descriptor, &held, &mark) != 0)
        return -1;
    *size = (uint64_t)opened.st_size;
    *limit = held && (uint64_t)mark < *size ? (uint64_t)mark : *size;
    return 0;
}

/* Whether the byte before the offset ends a line. */
static bool is_behind_line(int descriptor, uint64_t offset)
{
    char last = '\0';
    return offset == 0 || (pread(descriptor, &last, 1, (off_t)(offset - 1)) == 1 && last == '\n');
}

/* Looks how far the file may be read now, and whether it still is the same. Returns JOURNAL_READ_OK, CHANGED or FAILED. */
static enum journal_read_result look(struct journal_reader *reader)
{
    uint64_t size, limit;
    struct journal_identity now;
    if (find_limit(reader->descriptor, &size, &limit) != 0)
        return JOURNAL_READ_FAILED;
    if (size < reader->read_to)
        return JOURNAL_READ_CHANGED;
    /* A first line is not taken for one before it is durable; later it is compared wherever the mark is. */
    bool is_known = identity_has_line(&reader->done.identity);
    if (identity_read(reader->descriptor, is_known ? size : limit, &now) != 0)
        return JOURNAL_READ_FAILED;
    if (!identity_fits(&reader->done.identity, &now) ||
        !is_behind_line(reader->descriptor, reader->done.offset))
        return JOURNAL_READ_CHANGED;
    reader->done.identity = now;
    /* A server that opens the file holds a mark at its beginning for a moment. */
    if (limit > reader->limit)
        reader->limit = limit;
    return JOURNAL_READ_OK;
}

/* --- lines --- */

/* Makes a line of what is there up to the line break at `at`. */
static enum journal_read_result cut_line(struct journal_reader *reader, size_t at, struct journal_line *line)
{
    uint64_t behind = reader->read_to - (reader->end - at - 1);
    *line = (struct journal_line){.number = reader->done.lines + 1, .length = behind - reader->done.offset};
    bool skipped = reader->skipping;
    if (!skipped) {
        line->text = (struct text){.bytes = reader->bytes + reader->start, .length = at - reader->start};
        if (line->text.length > 0 && line->text.bytes[line->text.length - 1] == '\r')
            line->text.length--;
    }
    reader->done.lines++;
    reader->done.offset = behind;
    reader->skipping = false;
    reader->start = at + 1;
    reader->scanned = at + 1;
    return skipped ? JOURNAL_READ_TOO_LONG : JOURNAL_READ_OK;
}

/* Finds the next line in what was read. */
static bool find_line(struct journal_reader *reader, size_t *at)
{
    const char *found = memchr(reader->bytes + reader->scanned, '\n', reader->end - reader->scanned);
    if (found != NULL) {
        *at = (size_t)(found - reader->bytes);
        return true;
    }
    reader->scanned = reader->end;
    if (reader->end - reader->start == BUFFER_BYTES)
        reader->skipping = true;
    if (reader->skipping)
        reader->start = reader->end;
    return false;
}

/* Reads some more behind what is there, which has no whole line. */
static enum journal_read_result read_more(struct journal_reader *reader)
{
    if (reader->start == reader->end || reader->end == BUFFER_BYTES) {
        memmove(reader->bytes, reader->bytes + reader->start, reader->end - reader->start);
        reader->end -= reader->start;
        reader->scanned -= reader->start;
        reader->start = 0;
    }
    size_t length = BUFFER_BYTES - reader->end;
    length = length > reader->read_bytes ? reader->read_bytes : length;
    uint64_t left = reader->limit - reader->read_to;
    length = length > left ? (size_t)left : length;
    ssize_t got = pread(reader->descriptor, reader->bytes + reader->end, length, (off_t)reader->read_to);
    if (got < 0)
        return errno == EINTR ? JOURNAL_READ_OK : JOURNAL_READ_FAILED;
    if (got == 0)
        return JOURNAL_READ_CHANGED;
    reader->end += (size_t)got;
    reader->read_to += (uint64_t)got;
    return JOURNAL_READ_OK;
}

enum journal_read_result journal_reader_next(struct journal_reader *reader, struct journal_line *line)
{
    size_t at;
    *line = (struct journal_line){.number = 0};
    while (!find_line(reader, &at)) {
        enum journal_read_result result = JOURNAL_READ_OK;
        if (reader->read_to == reader->limit)
            result = look(reader);
        if (result == JOURNAL_READ_OK && reader->read_to == reader->limit)
            result = JOURNAL_READ_END;
        if (result == JOURNAL_READ_OK)
            result = read_more(reader);
        if (result != JOURNAL_READ_OK)
            return result;
    }
    return cut_line(reader, at, line);
}

struct journal_checkpoint journal_reader_checkpoint(const struct journal_reader *reader)
{
    return reader->done;
}

/* --- the end --- */

int journal_reader_sync(struct journal_reader *reader)
{
    if (fdatasync(reader->descriptor) != 0)
        return -1;
    char *path = place_folder(reader->path);
    int folder = path == NULL ? -1 : open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(path);
    if (folder < 0)
        return -1;
    /* Some file systems have no such thing, and say EINVAL. */
    int result = fsync(folder) == 0 || errno == EINVAL ? 0 : -1;
    int error = errno;
    close(folder);
    errno = error;
    return result;
}

bool journal_reader_is_finished(struct journal_reader *reader, const char *journal_path, uint64_t *half_bytes)
{
    struct stat named, opened;
    bool held;
    int64_t mark;
    *half_bytes = 0;
    /* In this order: a server that finds the name gone after it has the lock writes nothing, and what it wrote before it
     * gave the lock up is in the file's size. */
    if (stat(journal_path, &named) == 0) {
        if (named.st_dev == reader->done.identity.device && named.st_ino == reader->done.identity.inode)
            return false;
    } else if (errno != ENOENT) {
        return false;
    }
    if (mark_find(reader->descriptor, &held, &mark) != 0 || held)
        return false;
    if (fstat(reader->descriptor, &opened) != 0 || (uint64_t)opened.st_size != reader->read_to)
        return false;
    if (reader->scanned != reader->end)
        return false;
    *half_bytes = reader->read_to - reader->done.offset;
    return true;
}

/* --- life --- */

/* Looks at the file that was opened, and at what the checkpoint says of it. */
static enum journal_read_result begin(struct journal_reader *reader, const struct journal_checkpoint *from)
{
    struct stat opened;
    if (fstat(reader->descriptor, &opened) != 0)
        return JOURNAL_READ_FAILED;
    if (!S_ISREG(opened.st_mode)) {
        errno = S_ISDIR(opened.st_mode) ? EISDIR : EINVAL;
        return JOURNAL_READ_FAILED;
    }
    if (from != NULL)
        reader->done = *from;
    else
        reader->done.identity = (struct journal_identity){.device = opened.st_dev, .inode = opened.st_ino};
    /* Someone's numbers from a database. */
    if (reader->done.offset > INT64_MAX ||
        (reader->done.offset > 0 && !identity_has_line(&reader->done.identity)))
        return JOURNAL_READ_CHANGED;
    reader->read_to = reader->done.offset;
    reader->limit = reader->done.offset;
    return look(reader);
}

enum journal_read_result journal_reader_open(const struct journal_reader_options *options,
                                             struct journal_reader **reader)
{
    *reader = NULL;
    struct journal_reader *made = calloc(1, sizeof *made);
    if (made == NULL)
        return JOURNAL_READ_FAILED;
    made->path = strdup(options->path);
    made->read_bytes = options->read_bytes == 0 ? READ_BYTES : options->read_bytes;
    /* Without blocking, if it should be a pipe. */
    made->descriptor = open(options->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    enum journal_read_result result = JOURNAL_READ_FAILED;
    if (made->descriptor < 0)
        result = errno == ENOENT ? JOURNAL_READ_ABSENT : JOURNAL_READ_FAILED;
    else if (made->path != NULL)
        result = begin(made, options->from);
    if (result == JOURNAL_READ_OK) {
        *reader = made;
        return JOURNAL_READ_OK;
    }
    int error = errno;
    journal_reader_close(made);
    errno = error;
    return result;
}

void journal_reader_close(struct journal_reader *reader)
{
    if (reader == NULL)
        return;
    if (reader->descriptor >= 0)
        close(reader->descriptor);
    free(reader->path);
    free(reader);
}
