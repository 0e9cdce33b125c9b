#include "journal/mark.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* `length` 0 is infinity. */
static int set_lock(int descriptor, short type, int64_t start, int64_t length)
{
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
    return fcntl(descriptor, F_OFD_SETLK, &lock);
}

int mark_take(int descriptor)
{
    int result = set_lock(descriptor, F_WRLCK, 0, 0);
    if (result != 0 && errno == EACCES)
        errno = EAGAIN; /* POSIX allows either */
    return result;
}

int mark_move(int descriptor, int64_t offset)
{
    if (set_lock(descriptor, F_WRLCK, offset, 0) != 0)
        return -1;
    return offset == 0 ? 0 : set_lock(descriptor, F_UNLCK, 0, offset);
}

int mark_find(int descriptor, bool *held, int64_t *offset)
{
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    if (fcntl(descriptor, F_OFD_GETLK, &lock) != 0)
        return -1;
    *held = lock.l_type != F_UNLCK;
    *offset = *held ? lock.l_start : 0;
    return 0;
}
