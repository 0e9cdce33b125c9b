/* What the files of the kit share among themselves; tests include kit.h only. */
#ifndef KIT_INTERNAL_H
#define KIT_INTERNAL_H

#include <pthread.h>
#include <sys/queue.h>

#include "kit.h"

struct kit_block {
    SLIST_ENTRY(kit_block) link;
    _Alignas(max_align_t) unsigned char bytes[];
};

struct kit_owned_response {
    SLIST_ENTRY(kit_owned_response) link;
    struct kit_response response;
};

struct kit_server {
    LIST_ENTRY(kit_server) link;
    struct kit *kit;
    pid_t process; /* 0 once it has been reaped */
    int exit_status;
    int port;
    const char *directory;
};

struct kit_connection {
    LIST_ENTRY(kit_connection) link;
    struct kit *kit;
    int socket;
    char *buffer; /* received and not yet taken */
    size_t used, capacity;
};

struct kit_directory {
    SLIST_ENTRY(kit_directory) link;
    char path[];
};

struct kit {
    const char *binary;
    const char *environment[4]; /* "NAME=value", for every process that is started; ended by NULL */
    char note[512];
    LIST_HEAD(, kit_server) servers;
    SLIST_HEAD(, kit_block) blocks;
    SLIST_HEAD(, kit_owned_response) responses;
    SLIST_HEAD(, kit_directory) directories;
    pthread_mutex_t mutex; /* guards the list of connections: threads of a test open and close them */
    LIST_HEAD(, kit_connection) connections;
};

/* Ends a server at teardown; false and a message when it did not leave as it should. */
bool kit_server_finish(struct kit_server *server);
void kit_connection_free(struct kit_connection *connection);
/* Waits for poll(2) `events`: true, or false with ETIMEDOUT. */
bool kit_poll(int descriptor, short events, int64_t deadline_at_ms);
/* Makes `bytes` of room behind what is buffered and reads once: count, 0 at the end, -1 with errno. */
ssize_t kit_fill(struct kit_connection *connection, int64_t deadline_at_ms);
/* Drops `length` bytes from the front of the buffer. */
void kit_consume(struct kit_connection *connection, size_t length);

#endif
