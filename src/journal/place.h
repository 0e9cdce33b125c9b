/* Where a file lies: the two parts of its path. */
#ifndef JOURNAL_PLACE_H
#define JOURNAL_PLACE_H

/* The folder's path, to be freed. NULL without memory. */
char *place_folder(const char *path);

/* The name in the folder: the end of `path`. */
const char *place_name(const char *path);

#endif
