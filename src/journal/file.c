#include "journal/file.h"

#include "journal/mark.h"
#include "journal/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A name that changes hands faster than that is not waited for. */
enum { OPEN_TRIES = 100 };

static int system_open(const char *path, int flags, mode_t mode)
{
    return open(path, flags, mode);
}

static const struct journal_system system_itself = {
    .open = system_open,
    .write = write,
    .fdatasync = fdatasync,
    .fsync = fsync,
    .ftruncate = ftruncate,
};

/* Remembers the failure for those who are told. Returns -1. */
static int fail(struct journal_file *file, const char *action)
{
    file->error = errno;
    snprintf(file->reason, sizeof file->reason, "can't %s %s: %s", action, file->path, strerror(errno));
    return -1;
}

static int fail_because(struct journal_file *file, const char *reason)
{
    file->error = 0;
    snprintf(file->reason, sizeof file->reason, "%s: %s", file->path, reason);
    return -1;
}

/* --- opening --- */

static void drop(struct journal_file *file)
{
    close(file->descriptor);
    file->descriptor = -1;
    file->suspect = false;
    file->uncut = false;
}

/* Whether the name is gone, or another file's. Where that can't be said, it is taken for the old one. */
static bool is_renamed(const struct journal_file *file)
{
    struct stat opened, named;
    if (fstat(file->descriptor, &opened) != 0)
        return false;
    if (stat(file->path, &named) != 0)
        return errno == ENOENT || errno == ENOTDIR;
    return opened.st_dev != named.st_dev || opened.st_ino != named.st_ino;
}

static int sync_folder(struct journal_file *file)
{
    int folder = file->system->open(file->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (folder < 0)
        return fail(file, "open the folder of");
    /* Some file systems have no such thing, and say EINVAL. */
    int result = file->system->fsync(folder) == 0 || errno == EINVAL ? 0 : fail(file, "sync the folder of");
    close(folder);
    return result;
}

/* Makes what is there already durable, before the mark says so: a crash may have left lines that were never synced. */
static int settle_content(struct journal_file *file)
{
    struct stat opened;
    if (file->system->fsync(file->descriptor) != 0)
        return fail(file, "sync");
    if (sync_folder(file) != 0)
        return -1;
    if (fstat(file->descriptor, &opened) != 0)
        return fail(file, "look at");
    if (mark_move(file->descriptor, opened.st_size) != 0)
        return fail(file, "lock");
    file->marked = opened.st_size;
    return 0;
}

/* Returns 0, 1 when the file was renamed before it was locked, or -1. */
static int secure(struct journal_file *file)
{
    struct stat opened;
    if (fstat(file->descriptor, &opened) != 0)
        return fail(file, "look at");
    if (!S_ISREG(opened.st_mode))
        return fail_because(file, "is no regular file; name another with --journal");
    if (mark_take(file->descriptor) != 0)
        return errno == EAGAIN
                   ? fail_because(file, "another server writes to it; give each its own with --journal")
                   : fail(file, "lock");
    /* Only now: who finds a renamed file unlocked relies on it that nobody will write to it. */
    if (is_renamed(file))
        return 1;
    return settle_content(file);
}

static int open_anew(struct journal_file *file)
{
    for (int i = 0; i < OPEN_TRIES; i++) {
        file->descriptor =
            file->system->open(file->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);
        if (file->descriptor < 0)
            return fail(file, "open");
        int secured = secure(file);
        if (secured == 0)
            return 0;
        drop(file);
        if (secured < 0)
            return -1;
    }
    return fail_because(file, "is renamed again and again");
}

/* --- one batch --- */

/* Cuts off what is behind `length`, for good. Returns 0, or -1 when it may still be there, or come back. */
static int cut(struct journal_file *file, off_t length)
{
    struct stat opened;
    file->uncut = true;
    file->cut_to = length;
    if (fstat(file->descriptor, &opened) != 0)
        return -1;
    /* Never makes it longer: somebody else may have cut it meanwhile. */
    bool is_longer = opened.st_size > length;
    if (is_longer && file->system->ftruncate(file->descriptor, length) != 0)
        return -1;
    file->uncut = false;
    /* What was cut off may have reached the disk already. */
    return is_longer ? file->system->fdatasync(file->descriptor) : 0;
}

/* Has the file open that has the name now. */
static int prepare(struct journal_file *file)
{
    if (file->descriptor >= 0) {
        if (file->uncut) {
            /* The last chance, while the lock still hides it from readers. */
            cut(file, file->cut_to);
            file->uncut = false;
        }
        if (file->suspect || is_renamed(file))
            drop(file);
    }
    return file->descriptor >= 0 ? 0 : open_anew(file);
}

/* Finds the end, and puts the mark there, wherever others have left it. */
static int find_end(struct journal_file *file, off_t *end, bool *half)
{
    struct stat opened;
    char last = '\n';
    if (fstat(file->descriptor, &opened) != 0)
        return fail(file, "look at");
    if (opened.st_size > 0 && pread(file->descriptor, &last, 1, opened.st_size - 1) != 1)
        return fail(file, "read");
    if (opened.st_size != file->marked && mark_move(file->descriptor, opened.st_size) != 0)
        return fail(file, "lock");
    file->marked = opened.st_size;
    *end = opened.st_size;
    *half = last != '\n';
    return 0;
}

static int write_whole(struct journal_file *file, struct text text)
{
    while (text.length > 0) {
        ssize_t written = file->system->write(file->descriptor, text.bytes, text.length);
        if (written < 0 && errno == EINTR)
            continue;
        /* A file that takes nothing, without an error, is not to be met; but a loop without an end would be. */
        if (written == 0)
            errno = EIO;
        if (written <= 0)
            return fail(file, "write to");
        text.bytes += written;
        text.length -= (size_t)written;
    }
    return 0;
}

static bool is_full(int error)
{
    return error == ENOSPC || error == EDQUOT || error == EFBIG;
}

static enum journal_result refuse(struct journal_file *file, off_t end)
{
    enum journal_result result = is_full(file->error) ? JOURNAL_FULL : JOURNAL_AWAY;
    if (result == JOURNAL_AWAY)
        file->suspect = true;
    if (cut(file, end) == 0)
        return result;
    file->suspect = true;
    return JOURNAL_UNKNOWN;
}

enum journal_result journal_file_append(struct journal_file *file, struct text batch)
{
    off_t end;
    bool half;
    if (prepare(file) != 0 || find_end(file, &end, &half) != 0)
        return is_full(file->error) ? JOURNAL_FULL : JOURNAL_AWAY;
    if (!half) {
        batch.bytes++;
        batch.length--;
    }
    if (write_whole(file, batch) != 0)
        return refuse(file, end);
    if (file->system->fdatasync(file->descriptor) != 0) {
        fail(file, "sync");
        return refuse(file, end);
    }
    /* If this fails, readers see these lines later: the next batch tries again. */
    if (mark_move(file->descriptor, end + (off_t)batch.length) == 0)
        file->marked = end + (off_t)batch.length;
    return JOURNAL_OK;
}

/* --- life --- */

int journal_file_open(struct journal_file *file, const char *path, const struct journal_system *system)
{
    *file = (struct journal_file){.descriptor = -1, .system = system == NULL ? &system_itself : system};
    file->path = strdup(path);
    file->folder = place_folder(path);
    if (file->path == NULL || file->folder == NULL)
        snprintf(file->reason, sizeof file->reason, "can't open %s: %s", path, strerror(ENOMEM));
    else if (open_anew(file) == 0)
        return 0;
    journal_file_close(file);
    return -1;
}

void journal_file_close(struct journal_file *file)
{
    if (file->descriptor >= 0) {
        if (file->uncut)
            cut(file, file->cut_to);
        drop(file);
    }
    free(file->path);
    free(file->folder);
    file->path = NULL;
    file->folder = NULL;
}
