/* The kit's part for the command `send`: the command as a process whose input and terminal the test holds, and a
 * receiver: a small HTTP server in the test itself that asks the test what to do with each line.
 *
 * The process belongs to the kit and goes with it. A receiver is ended by the test with receiver_end; a test that failed
 * leaves its threads behind, which harms no other test. (test/standin.h does the same by path, and records less.)
 */
#ifndef KIT_SEND_H
#define KIT_SEND_H

#include "kit.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- the command (kit_send.c) ---- */

struct sending {
    struct kit_server *process; /* for kit_signal, kit_process and kit_log, which is its stderr */
    int input;                  /* where to write what it reads; -1: it has none, or it was closed */
    int terminal;               /* the other end of its terminal; -1: it has none */
};

struct sending_start {
    const char *const *arguments; /* after `send`, ended by NULL */
    bool with_input;              /* standard input is a pipe; else it is empty */
    unsigned short columns;       /* stderr is a terminal so wide; 0: it is a file */
};

struct sending *sending_start(struct kit *kit, const struct sending_start *start);
#define sending_begin(kit, ...)                                                                              \
    sending_start(kit, &(struct sending_start){.arguments = (const char *const[]){__VA_ARGS__, NULL},        \
                                               .with_input = true})

/* Writes all of it; the reader must keep up within 5 s. */
void sending_write(struct sending *sending, const char *text);
void sending_close_input(struct sending *sending);

/* Reads the terminal until it shows `wanted` (NULL: until the process has closed it). Returns all that it has shown. */
const char *sending_terminal(struct sending *sending, const char *wanted);

/* Waits for its end; the exit status, or 128 + the signal that killed it. */
int sending_end(struct sending *sending);

/* Runs it to its end with nothing to read. */
#define sending_run(kit, ...) kit_run(kit, (const char *const[]){"send", __VA_ARGS__, NULL}, NULL)

/* A new file with that content; its name. */
const char *sending_file(struct kit *kit, const char *content);

/* Whether the text has this line, as a whole. */
bool sending_has_line(const char *text, const char *line);
#define sending_assert_line(kit, text, line)                                                                 \
    do {                                                                                                     \
        if (!sending_has_line(text, line))                                                                   \
            kit_fail(kit, "no line \"%s\" in:\n%s", line, text);                                             \
    } while (0)

/* ---- the receiver (kit_send_receiver.c) ---- */

struct receiver;

struct receiver_post {
    const char *body; /* with a final NUL */
    size_t length;
    const char *head;
    uint64_t count; /* posts before this one */
};

enum receiver_act {
    RECEIVER_ANSWER,
    RECEIVER_DROP, /* closes the connection without an answer */
};

struct receiver_answer {
    enum receiver_act act;
    unsigned status;        /* 0: 200 */
    const char *body;       /* NULL: {"message":"Event received"} */
    unsigned retry_after_s; /* 0: without the field */
    unsigned delay_us;
};

/* Says what to do with a post, in the thread of its connection. Posts are told one at a time; `delay_us` passes after. */
typedef struct receiver_answer receiver_judge(void *context, const struct receiver_post *post);

/* `judge` NULL: takes everything. */
struct receiver *receiver_start(struct kit *kit, receiver_judge *judge, void *context);
void receiver_end(struct receiver *receiver);
/* Around what the test does with what `judge` uses. */
void receiver_lock(struct receiver *receiver);
void receiver_unlock(struct receiver *receiver);
const char *receiver_url(const struct receiver *receiver);

/* Bodies that have come, in the order of their coming; they live until receiver_end. */
size_t receiver_count(struct receiver *receiver);
const char *receiver_body(struct receiver *receiver, size_t index);
/* The number behind "n": in a body; 0 when there is none. */
unsigned receiver_number(const char *body);
/* How often exactly this body has come. */
size_t receiver_count_of(struct receiver *receiver, const char *body);
/* Waits until there are `count`, for at most a minute. */
bool receiver_await(struct receiver *receiver, size_t count);

#endif
