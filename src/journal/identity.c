#include "journal/identity.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Never to be changed: checkpoints are compared with what other processes stored. */
static const struct hash_seed seed = {
    .low = UINT64_C(0x6A6F75726E616C2E),  /* "journal." */
    .high = UINT64_C(0x6964656E74697479), /* "identity" */
};

int identity_read(int descriptor, uint64_t limit, struct journal_identity *identity)
{
    char front[JOURNAL_IDENTITY_BYTES];
    struct stat opened;
    if (fstat(descriptor, &opened) != 0)
        return -1;
    ssize_t length = pread(descriptor, front, limit < sizeof front ? (size_t)limit : sizeof front, 0);
    if (length < 0)
        return -1;
    *identity = (struct journal_identity){.device = opened.st_dev, .inode = opened.st_ino};
    struct text line = {.bytes = front, .length = (size_t)length};
    const char *end = memchr(front, '\n', line.length);
    if (end != NULL)
        line.length = (size_t)(end + 1 - front);
    else if (line.length < sizeof front)
        return 0;
    identity->first_line = hash_text_128(&seed, line);
    return 0;
}

bool identity_has_line(const struct journal_identity *identity)
{
    return identity->first_line.low != 0 || identity->first_line.high != 0;
}

bool identity_same_inode(const struct journal_identity *a, const struct journal_identity *b)
{
    bool same_device = a->device == b->device || a->device == 0 || b->device == 0;
    return same_device && a->inode == b->inode;
}

bool identity_fits(const struct journal_identity *before, const struct journal_identity *now)
{
    if (!identity_same_inode(before, now))
        return false;
    return !identity_has_line(before) ||
           (before->first_line.low == now->first_line.low && before->first_line.high == now->first_line.high);
}
