/* Lists of the upstream, read from JSON and merged into the database in pieces.
 *
 * Entries that can't be used are passed over and counted: what is no object, has no id that is an integer or 1 to 255 bytes of
 * text, an event without a name or a userId, and what is larger than ENTRY_BYTES. */
#ifndef API_UPSTREAM_LIST_H
#define API_UPSTREAM_LIST_H

#include "base/text.h"
#include "storage/storage.h"
#include "upstream/upstream.h"

#include <stdbool.h>
#include <stddef.h>

enum { UPSTREAM_ENTRY_BYTES = 16 * 1024 };

/* Whether a body is a list: a JSON array. For upstream_get. */
enum upstream_verdict upstream_list_judge(void *context, struct text body);

/* Merge a list that was judged good. `should_stop` is asked now and then; STORAGE_AWAY when it has said so. */
struct upstream_merge {
    struct storage *storage;
    bool (*should_stop)(void *context);
    void *context;
    size_t skipped; /* filled: entries that were passed over */
};
enum storage_result upstream_list_merge_users(struct upstream_merge *merge, struct text list);
enum storage_result upstream_list_merge_events(struct upstream_merge *merge, struct text list);

#endif
