/* What handlers that use the storage share. */
#ifndef API_DATABASE_H
#define API_DATABASE_H

#include "net/request.h"
#include "net/response.h"
#include "storage/storage.h"

/* When a call of the storage that begins now has to be over. */
int64_t database_deadline(void);

/* Begins a blocking section. Returns 0, or -1 with 503 in the response. blocking_end (net/blocking.h) ends it. */
int database_begin(const struct request *request, struct response *response);

/* Fills the response with the error for any result but STORAGE_OK. */
void answer_database_error(struct response *response, enum storage_result result);

#endif
