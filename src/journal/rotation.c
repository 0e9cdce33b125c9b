/* The files of a journal's folder: which one a renamed journal is now, and which comes after it. */
#include "journal/identity.h"
#include "journal/place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NUMBER_DIGITS = 4, PASSES = 4, OPEN_TRIES = 100 };

/* --- names --- */

/* From the oldest to the newest. Of one that has another name nothing is known but that the journal itself is newer. */
enum name_kind { NAME_NUMBERED, NAME_DATED, NAME_OTHER, NAME_ITSELF };

/* What a name says about its place among the files of a journal. */
struct generation {
    enum name_kind kind;
    unsigned number;    /* NAME_NUMBERED */
    const char *suffix; /* NAME_DATED: a piece of the name */
};

static size_t count_digits(const char *text)
{
    return strspn(text, "0123456789");
}

/* What the name of a file says, beside that of the journal. */
static struct generation read_generation(const char *journal_name, const char *name)
{
    size_t length = strlen(journal_name);
    struct generation generation = {.kind = NAME_OTHER};
    if (strcmp(name, journal_name) == 0)
        generation.kind = NAME_ITSELF;
    if (strncmp(name, journal_name, length) != 0 || (name[length] != '.' && name[length] != '-'))
        return generation;
    const char *suffix = name + length + 1;
    size_t digits = count_digits(suffix);
    if (name[length] == '.' && digits > 0 && digits <= NUMBER_DIGITS && suffix[digits] == '\0') {
        generation.kind = NAME_NUMBERED;
        generation.number = (unsigned)strtoul(suffix, NULL, 10);
    } else if (digits > 0 && suffix[strspn(suffix, "0123456789-_.:TZ")] == '\0') {
        generation.kind = NAME_DATED;
        generation.suffix = suffix;
    }
    return generation;
}

static const char *last_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

bool journal_is_generation(const char *journal_path, const char *found_path)
{
    return read_generation(last_name(journal_path), last_name(found_path)).kind != NAME_OTHER;
}

static bool is_older(const struct generation *a, const struct generation *b)
{
    if (a->kind != b->kind)
        return a->kind < b->kind;
    switch (a->kind) {
    case NAME_NUMBERED:
        return a->number > b->number;
    case NAME_DATED:
        return strcmp(a->suffix, b->suffix) < 0;
    case NAME_OTHER:
    case NAME_ITSELF:
        break;
    }
    return false;
}

/* --- the folder --- */

struct folder {
    char *path;
    DIR *entries;
};

/* Returns 0, or -1 with errno and nothing to close. */
static int folder_open(struct folder *folder, const char *file_path)
{
    folder->path = place_folder(file_path);
    folder->entries = folder->path == NULL ? NULL : opendir(folder->path);
    if (folder->entries != NULL)
        return 0;
    int error = errno;
    free(folder->path);
    errno = error;
    return -1;
}

static void folder_close(struct folder *folder)
{
    closedir(folder->entries);
    free(folder->path);
}

/* Goes to the next regular file. Returns 1, 0 at the end, -1 with errno. */
static int folder_next(struct folder *folder, const char **name, struct journal_identity *identity)
{
    struct stat found;
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(folder->entries);
        if (entry == NULL)
            return errno == 0 ? 0 : -1;
        /* One that is renamed or deleted meanwhile is not there. */
        if (fstatat(dirfd(folder->entries), entry->d_name, &found, 0) != 0 || !S_ISREG(found.st_mode))
            continue;
        *name = entry->d_name;
        *identity = (struct journal_identity){.device = found.st_dev, .inode = found.st_ino};
        return 1;
    }
}

/* Whether the file of that name has the first line, too. */
static bool has_first_line(struct folder *folder, const char *name, const struct journal_identity *identity)
{
    struct journal_identity found;
    int descriptor = openat(dirfd(folder->entries), name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (descriptor < 0)
        return false;
    int result = identity_read(descriptor, UINT64_MAX, &found);
    close(descriptor);
    return result == 0 && identity_fits(identity, &found);
}

/* One pass. Returns 1, 0 when it was not met, -1 with errno. */
static int look_for_name(const char *path, const struct journal_identity *identity,
                         char name[static NAME_MAX + 1])
{
    struct folder folder;
    struct journal_identity found;
    const char *entry;
    if (folder_open(&folder, path) != 0)
        return -1;
    int result;
    while ((result = folder_next(&folder, &entry, &found)) > 0) {
        if (!identity_same_inode(&found, identity) || !has_first_line(&folder, entry, identity))
            continue;
        snprintf(name, NAME_MAX + 1, "%s", entry);
        break;
    }
    folder_close(&folder);
    return result;
}

/* Finds the name of the file. Returns 1, 0 when it is not there, -1 with errno. */
static int find_name(const char *path, const struct journal_identity *identity,
                     char name[static NAME_MAX + 1])
{
    int result = 0;
    /* One that is renamed while the folder is read may be met under neither name. */
    for (int i = 0; i < PASSES && result == 0; i++)
        result = look_for_name(path, identity, name);
    return result;
}

/* Finds the name that comes after that of the finished file (NULL: the first of all). As find_name. */
static int find_next_name(const char *path, const char *finished_name,
                          const struct journal_identity *finished, char name[static NAME_MAX + 1],
                          struct journal_identity *identity)
{
    struct folder folder;
    struct generation after = {.kind = NAME_OTHER}, best = {.kind = NAME_OTHER};
    struct journal_identity found;
    const char *entry, *journal_name = place_name(path);
    if (folder_open(&folder, path) != 0)
        return -1;
    if (finished_name != NULL)
        after = read_generation(journal_name, finished_name);
    int result;
    while ((result = folder_next(&folder, &entry, &found)) > 0) {
        struct generation candidate = read_generation(journal_name, entry);
        if (candidate.kind == NAME_OTHER)
            continue;
        /* A second name of the finished file is not another one. */
        if (finished_name != NULL && (!is_older(&after, &candidate) || identity_same_inode(finished, &found)))
            continue;
        if (best.kind != NAME_OTHER && !is_older(&candidate, &best))
            continue;
        snprintf(name, NAME_MAX + 1, "%s", entry);
        best = read_generation(journal_name, name);
        *identity = found;
    }
    folder_close(&folder);
    return result < 0 ? -1 : best.kind != NAME_OTHER ? 1 : 0;
}

/* --- what others call --- */

/* Returns 0, or -1 with errno. */
static int join_path(const char *path, const char *name, char joined[static JOURNAL_PATH_BYTES])
{
    int folder_length = (int)(place_name(path) - path);
    int length = snprintf(joined, JOURNAL_PATH_BYTES, "%.*s%s", folder_length, path, name);
    if (length < JOURNAL_PATH_BYTES)
        return 0;
    errno = ENAMETOOLONG;
    return -1;
}

enum journal_read_result journal_find(const char *path, const struct journal_identity *identity,
                                      char found[static JOURNAL_PATH_BYTES])
{
    char name[NAME_MAX + 1];
    int result = find_name(path, identity, name);
    if (result == 0)
        return JOURNAL_READ_GONE;
    return result > 0 && join_path(path, name, found) == 0 ? JOURNAL_READ_OK : JOURNAL_READ_FAILED;
}

/* Finds the name of the next file, and who it is. JOURNAL_READ_OK, ABSENT, GONE, FAILED. */
static enum journal_read_result find_next(const char *path, const struct journal_identity *finished,
                                          char name[static NAME_MAX + 1], struct journal_identity *identity)
{
    char finished_name[NAME_MAX + 1];
    int result = finished == NULL ? 1 : find_name(path, finished, finished_name);
    if (result == 0)
        return JOURNAL_READ_GONE;
    if (result > 0)
        result = find_next_name(path, finished == NULL ? NULL : finished_name, finished, name, identity);
    if (result < 0)
        return JOURNAL_READ_FAILED;
    return result == 0 ? JOURNAL_READ_ABSENT : JOURNAL_READ_OK;
}

/* Opens the file that was found, if it still is the next: while the folder was read, others may have renamed what is in it.
 * Returns JOURNAL_READ_OK and no reader when it is not. */
static enum journal_read_result open_found(const struct journal_reader_options *options,
                                           const struct journal_identity *finished, const char *name,
                                           struct journal_reader **reader)
{
    char path[JOURNAL_PATH_BYTES], name_again[NAME_MAX + 1];
    struct journal_identity again;
    struct journal_reader_options found = *options;
    found.path = path;
    found.from = NULL;
    if (join_path(options->path, name, path) != 0)
        return JOURNAL_READ_FAILED;
    enum journal_read_result result = journal_reader_open(&found, reader);
    if (result != JOURNAL_READ_OK)
        return result == JOURNAL_READ_FAILED ? result : JOURNAL_READ_OK;
    struct journal_checkpoint opened = journal_reader_checkpoint(*reader);
    result = find_next(options->path, finished, name_again, &again);
    if (result == JOURNAL_READ_OK && strcmp(name, name_again) == 0 &&
        identity_same_inode(&again, &opened.identity))
        return JOURNAL_READ_OK;
    journal_reader_close(*reader);
    *reader = NULL;
    return result == JOURNAL_READ_ABSENT ? JOURNAL_READ_OK : result;
}

enum journal_read_result journal_reader_open_next(const struct journal_reader_options *options,
                                                  const struct journal_identity *finished,
                                                  struct journal_reader **reader)
{
    char name[NAME_MAX + 1];
    struct journal_identity identity;
    *reader = NULL;
    for (int i = 0; i < OPEN_TRIES; i++) {
        enum journal_read_result result = find_next(options->path, finished, name, &identity);
        if (result == JOURNAL_READ_OK)
            result = open_found(options, finished, name, reader);
        if (result != JOURNAL_READ_OK || *reader != NULL)
            return result;
    }
    errno = EAGAIN;
    return JOURNAL_READ_FAILED;
}
