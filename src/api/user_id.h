/* The ids of users in bodies: an integer or a string; 1 and "1" are one user. */
#ifndef API_USER_ID_H
#define API_USER_ID_H

#include "api/parameters.h"

struct user_id {
    struct name name;    /* what identifies the user: the text of a string, the digits of a number */
    struct text as_sent; /* the value as it stands in the body */
};

/* Reads a JSON value that an id may be: an integer, or a string of 1 to 255 bytes without control characters. Returns
 * false for anything else. */
bool id_read(struct text value, struct name *id);

/* Reads a JSON value, as json_members gives it. Returns 0, or -1 with the response filled. */
int user_id_read(struct text value, struct user_id *user, struct response *response);

#endif
