/* Reservations: all that a push needs, had beforehand. The event and the place in the ring are those that the push will
 * use; nothing else of a push can fail. */
#include "queue/store_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { RESERVATION_BYTES = sizeof(struct store_reservation) + ALLOCATION_OVERHEAD };

size_t reservation_bytes(const struct store_reservation *reservation)
{
    return RESERVATION_BYTES + event_bytes(reservation->most_bytes);
}

static enum store_result reservation_create(struct store *store, size_t most_bytes,
                                            struct store_reservation **created)
{
    struct event *event;
    enum store_result result = event_create(store, most_bytes, &event);
    if (result != STORE_OK)
        return result;
    result = memory_reserve(store, RESERVATION_BYTES, false);
    if (result != STORE_OK) {
        event_unreference(store, event);
        return result;
    }
    struct store_reservation *reservation = malloc(sizeof *reservation);
    if (reservation == NULL) {
        memory_release(store, RESERVATION_BYTES);
        event_unreference(store, event);
        return STORE_NO_MEMORY;
    }
    *reservation = (struct store_reservation){.event = event, .most_bytes = most_bytes};
    *created = reservation;
    return STORE_OK;
}

/* Frees a reservation that is in no key's list any more, with its event. */
static void reservation_discard(struct store *store, struct store_reservation *reservation)
{
    event_unreference(store, reservation->event);
    memory_release(store, RESERVATION_BYTES);
    free(reservation);
}

enum store_result store_reserve(struct store *store, struct text key_name, size_t most_bytes,
                                struct store_reservation **reservation)
{
    struct store_reservation *created;
    enum store_result result = reservation_create(store, most_bytes, &created);
    if (result != STORE_OK)
        return result;
    result = key_acquire(store, key_name, KEY_TO_PUSH, &created->key);
    if (result == STORE_OK) {
        struct key *key = created->key;
        key_lock(key);
        result = key_reserve_locked(store, key, created);
        key_unlock(store, key);
        if (result != STORE_OK)
            key_release(store, key); /* else it stays a user of the key */
    }
    if (result != STORE_OK)
        reservation_discard(store, created);
    else
        *reservation = created;
    return result;
}

void store_push_reserved(struct store *store, struct store_reservation *reservation, struct text value,
                         struct store_pushed *pushed)
{
    struct key *key = reservation->key;
    assert(value.length <= reservation->most_bytes);
    size_t unused = reservation->most_bytes - value.length;
    struct event *event = event_shrink(reservation->event, value.length);
    if (value.length > 0)
        memcpy(event->value, value.bytes, value.length);
    key_lock(key);
    key_append_reserved_locked(store, key, reservation, event);
    push_finish_locked(store, key, pushed);
    key_unlock(store, key);
    key_release(store, key);
    free(reservation);
    memory_release(store, RESERVATION_BYTES + unused);
}

void store_unreserve(struct store *store, struct store_reservation *reservation)
{
    struct key *key = reservation->key;
    key_lock(key);
    key_unreserve_locked(store, key, reservation);
    key_unlock(store, key);
    key_release(store, key);
    reservation_discard(store, reservation);
}
