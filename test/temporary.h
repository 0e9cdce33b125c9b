/* Where tests put their folders: TMPDIR, or /tmp. */
#ifndef TEST_TEMPORARY_H
#define TEST_TEMPORARY_H

#include <stdio.h>
#include <stdlib.h>

enum { TEMPORARY_BYTES = 256 };

/* Makes a new folder whose name begins with `prefix`. Returns 0, or -1 with errno. */
static inline int temporary_folder(char folder[static TEMPORARY_BYTES], const char *prefix)
{
    const char *parent = getenv("TMPDIR");
    snprintf(folder, TEMPORARY_BYTES, "%s/%s-XXXXXX", parent == NULL || *parent == '\0' ? "/tmp" : parent,
             prefix);
    return mkdtemp(folder) == NULL ? -1 : 0;
}

#endif
