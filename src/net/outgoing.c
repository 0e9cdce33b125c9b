#include "net/outgoing.h"

#include "net/limits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { VECTOR_COUNT = 64, FLAGS = MSG_NOSIGNAL | MSG_DONTWAIT };

static bool has_source(const struct outgoing *outgoing)
{
    return outgoing->source.operations != NULL;
}

static bool is_whole(const struct outgoing *outgoing)
{
    if (has_source(outgoing) && (outgoing->source.endless || outgoing->source_sent < outgoing->source.length))
        return false;
    return outgoing->sent == outgoing->length;
}

static int fill(const struct outgoing *outgoing, struct iovec *vectors)
{
    int count = 0;
    if (outgoing->sent < outgoing->length)
        vectors[count++] = (struct iovec){.iov_base = (void *)(outgoing->bytes + outgoing->sent),
                                          .iov_len = outgoing->length - outgoing->sent};
    if (has_source(outgoing))
        count +=
            outgoing->source.operations->fill(outgoing->source.state, vectors + count, VECTOR_COUNT - count);
    return count;
}

uint64_t outgoing_ready(const struct outgoing *outgoing)
{
    struct iovec vectors[VECTOR_COUNT];
    uint64_t bytes = 0;
    for (int i = 0, count = fill(outgoing, vectors); i < count; i++)
        bytes += vectors[i].iov_len;
    return bytes;
}

static void advance(struct outgoing *outgoing, size_t taken)
{
    size_t bytes = outgoing->length - outgoing->sent;
    if (bytes > taken)
        bytes = taken;
    outgoing->sent += bytes;
    taken -= bytes;
    if (taken > 0) {
        outgoing->source.operations->advance(outgoing->source.state, taken);
        outgoing->source_sent += taken;
    }
}

static void close_source(struct outgoing *outgoing, bool whole)
{
    struct body_source source = outgoing->source;
    outgoing->source.operations = NULL; /* closed once */
    if (source.operations != NULL)
        source.operations->close(source.state, whole);
}

/* Returns what sendmsg does, or 0 when the source has nothing. */
static ssize_t send_vectors(int descriptor, const struct outgoing *outgoing)
{
    struct iovec vectors[VECTOR_COUNT];
    struct msghdr message = {.msg_iov = vectors};
    message.msg_iovlen = (size_t)fill(outgoing, vectors);
    return message.msg_iovlen == 0 ? 0 : sendmsg(descriptor, &message, FLAGS);
}

enum outgoing_result outgoing_send(int descriptor, struct outgoing *outgoing)
{
    size_t budget = HTTP_BYTES_IN_A_ROW;
    while (!is_whole(outgoing)) {
        ssize_t taken = has_source(outgoing) ? send_vectors(descriptor, outgoing)
                                             : send(descriptor, outgoing->bytes + outgoing->sent,
                                                    outgoing->length - outgoing->sent, FLAGS);
        if (taken < 0 && errno == EINTR)
            continue;
        if (taken < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK ? OUTGOING_BLOCKED : OUTGOING_FAILED;
        if (taken == 0 && outgoing->source.endless)
            return OUTGOING_IDLE;
        advance(outgoing, (size_t)taken);
        if ((size_t)taken >= budget && !is_whole(outgoing))
            return OUTGOING_YIELDED;
        budget -= (size_t)taken < budget ? (size_t)taken : budget;
    }
    close_source(outgoing, true);
    return OUTGOING_WHOLE;
}

struct outgoing *outgoing_keep(const struct outgoing *outgoing, struct budget *budget)
{
    size_t left = outgoing->length - outgoing->sent;
    if (!budget_take(budget, left))
        return NULL;
    struct outgoing *kept = malloc(sizeof *kept);
    char *bytes = malloc(left + 1);
    if (kept == NULL || bytes == NULL) {
        free(kept);
        free(bytes);
        budget_give_back(budget, left);
        return NULL;
    }
    *kept = *outgoing;
    kept->budget = budget;
    if (left > 0)
        memcpy(bytes, outgoing->bytes + outgoing->sent, left);
    kept->bytes = bytes;
    kept->owned_bytes = bytes;
    kept->length = left;
    kept->sent = 0;
    return kept;
}

static void free_bytes(struct outgoing *outgoing)
{
    if (outgoing->owned_bytes == NULL)
        return;
    free(outgoing->owned_bytes);
    budget_give_back(outgoing->budget, outgoing->length);
    outgoing->owned_bytes = NULL;
}

void outgoing_forget_head(struct outgoing *outgoing)
{
    if (outgoing->sent < outgoing->length)
        return;
    free_bytes(outgoing);
    outgoing->bytes = NULL;
    outgoing->length = 0;
    outgoing->sent = 0;
}

void outgoing_abandon(struct outgoing *outgoing)
{
    close_source(outgoing, false);
}

void outgoing_free(struct outgoing *outgoing)
{
    if (outgoing == NULL)
        return;
    free_bytes(outgoing);
    free(outgoing);
}
