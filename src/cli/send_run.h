/* Sending all lines of an input: the loop of the command `send`.
 *
 * What it does
 *   One thread reads lines into a bounded queue (cli/send_queue.h), hands them to the slots of a client (cli/client.h),
 *   judges the answers (cli/send_judge.h), and tells each line's fate to a report (cli/send_report.h). A slot keeps its
 *   line while that has to be tried again: a server that is overloaded is not asked by the same connection for something
 *   else meanwhile. Until a connection has come about, one slot alone is used: a server that is not there is found out by
 *   one line.
 *
 * When it gives up
 *   A line that was tried for `give_up_ns`, while others got through since it was refused before, is told as not sent. When no
 *   line was answered for so long, the run stops.
 *
 * How it stops
 *   By a signal: nothing more is read. Lines that lie before one that was already sent are still sent, so that there is a
 *   line M before which all is settled, and from which on nothing was sent. After `timeout_ns` what is under way is cut.
 *   By itself (the token is refused, no line was answered for too long): the same without sending more.
 *   Either way, lines before M that could not be sent are told one by one.
 */
#ifndef CLI_SEND_RUN_H
#define CLI_SEND_RUN_H

#include "cli/client.h"
#include "cli/send_judge.h"

#include <stdbool.h>
#include <stdint.h>

enum { SEND_MESSAGE_BYTES = SEND_REASON_BYTES + 256 };

struct send_run_options {
    struct client *client; /* new */
    unsigned slots;        /* its */
    int descriptor;        /* the input */
    const char *name;      /* its name; "-" for standard input */
    bool is_file;          /* reading it never waits for somebody else */
    uint64_t total_bytes;  /* 0: not known */
    int signals;           /* a signalfd; readable when the run shall stop */
    int64_t give_up_ns;
    int64_t timeout_ns;
};

enum send_run_result {
    SEND_RUN_GOOD,    /* every line was taken */
    SEND_RUN_SHORT,   /* some were not, or may not have been */
    SEND_RUN_NOTHING, /* nothing was sent: no server, no input, no memory */
};

/* Sends, shows the progress, and says on stderr what became of the lines. */
enum send_run_result send_run(const struct send_run_options *options);

#endif
