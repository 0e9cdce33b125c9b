#include "fuzz.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { MS_PER_SECOND = 1000, NS_PER_MS = 1000000 };

/* See fuzz.h; clock_gettime is a macro here. */
int clock_gettime(clockid_t clock, struct timespec *time)
{
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) {
        *time = (struct timespec){.tv_sec = FUZZ_WALL_MS / MS_PER_SECOND,
                                  .tv_nsec = FUZZ_WALL_MS % MS_PER_SECOND * NS_PER_MS};
        return 0;
    }
    return (int)syscall(SYS_clock_gettime, clock, time);
}

_Noreturn void fuzz_fail(const char *file, int line, const char *condition)
{
    /* Not on stderr, which a target may have turned elsewhere. */
    dprintf(STDERR_FILENO, "%s:%d: does not hold: %s\n", file, line, condition);
    abort();
}

struct text fuzz_copy(const void *bytes, size_t length)
{
    char *copy = malloc(length);
    FUZZ_REQUIRE(copy != NULL);
    if (length > 0)
        memcpy(copy, bytes, length);
    return (struct text){.bytes = copy, .length = length};
}

void fuzz_free(struct text text)
{
    free((char *)(uintptr_t)text.bytes);
}

enum { RUN = 0xFE };

struct text fuzz_expand(const uint8_t *data, size_t size, size_t run_length, size_t most)
{
    char *expanded = malloc(size + run_length * most);
    size_t length = 0;
    FUZZ_REQUIRE(expanded != NULL);
    for (size_t i = 0; i < size; i++) {
        if (data[i] == RUN && i + 1 < size && most > 0) {
            memset(expanded + length, data[++i], run_length);
            length += run_length;
            most--;
        } else {
            expanded[length++] = (char)data[i];
        }
    }
    struct text text = fuzz_copy(expanded, length);
    free(expanded);
    return text;
}

static char folder[PATH_MAX];

static void remove_folder(void)
{
    DIR *entries = opendir(folder);
    const struct dirent *entry;
    while (entries != NULL && (entry = readdir(entries)) != NULL)
        unlinkat(dirfd(entries), entry->d_name, 0);
    if (entries != NULL)
        closedir(entries);
    rmdir(folder);
}

const char *fuzz_folder(void)
{
    const char *parent = getenv("TMPDIR");
    if (folder[0] != '\0')
        return folder;
    snprintf(folder, sizeof folder, "%s/fuzz-XXXXXX", parent == NULL ? "/tmp" : parent);
    FUZZ_REQUIRE(mkdtemp(folder) != NULL && atexit(remove_folder) == 0);
    return folder;
}

uint8_t fuzz_take_byte(const uint8_t **data, size_t *size)
{
    if (*size == 0)
        return 0;
    (*size)--;
    return *(*data)++;
}
