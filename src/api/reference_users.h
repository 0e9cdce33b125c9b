/* `user_metadata` in JSON, read into a reference table, and cut into pieces for the database. */
#ifndef API_REFERENCE_USERS_H
#define API_REFERENCE_USERS_H

#include "base/buffer.h"
#include "base/json_read.h"
#include "metrics/reference.h"

enum { REFERENCE_PIECE_BYTES = 256 * 1024, REFERENCE_USER_BYTES = 1024 * 1024 };

enum reference_users_result {
    REFERENCE_USERS_OK,
    REFERENCE_USERS_BAD,  /* `reason` says why */
    REFERENCE_USERS_FULL, /* the table's memory, or the system's */
};

/* Adds all users of `users`, an object that json_check has found valid: user ids with objects, of whose members `plan` and
 * `region` must be strings where they are there. After anything but OK the builder can only be abandoned. */
enum reference_users_result reference_users_add(struct reference_builder *builder, struct text users,
                                                struct buffer *reason);

/* The next piece of such an object: an object of its own, in `piece`, which is cleared first. Returns false when there is
 * none left; check piece->failed. */
bool reference_users_next_piece(struct json_walk *walk, struct buffer *piece);

#endif
