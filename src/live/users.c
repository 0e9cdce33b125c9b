#include "live/users.h"

#include <stdlib.h>

enum { FIRST_CAPACITY = 1024 };

int users_init(struct users *users, size_t most)
{
    *users = (struct users){.most = most};
    return hash_seed_draw(&users->seed);
}

void users_free(struct users *users)
{
    free(users->hashes);
    users->hashes = NULL;
}

/* Where the hash is, or would be. */
static size_t place_of(const uint64_t *hashes, size_t capacity, uint64_t hash)
{
    size_t place = (size_t)hash & (capacity - 1);
    while (hashes[place] != 0 && hashes[place] != hash)
        place = (place + 1) & (capacity - 1);
    return place;
}

static int grow(struct users *users)
{
    size_t capacity = users->capacity == 0 ? FIRST_CAPACITY : users->capacity * 2;
    uint64_t *hashes = calloc(capacity, sizeof *hashes);
    if (hashes == NULL)
        return -1;
    for (size_t i = 0; i < users->capacity; i++) {
        if (users->hashes[i] != 0)
            hashes[place_of(hashes, capacity, users->hashes[i])] = users->hashes[i];
    }
    free(users->hashes);
    users->hashes = hashes;
    users->capacity = capacity;
    return 0;
}

void users_add(struct users *users, struct text user)
{
    uint64_t hash = hash_text(&users->seed, user);
    hash += hash == 0;
    if (users->count == users->most || (users->count * 2 >= users->capacity && grow(users) != 0))
        return;
    size_t place = place_of(users->hashes, users->capacity, hash);
    users->count += users->hashes[place] == 0;
    users->hashes[place] = hash;
}

size_t users_count(const struct users *users)
{
    return users->count;
}
