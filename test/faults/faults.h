/* Faults on purpose: the switchboard between a test and the server whose calls it wants to fail.
 *
 * test/faults/faults.c stands before malloc, pthread_create and the calls that write files. Two ways lead into a server:
 * faults.so by LD_PRELOAD, for the usual build; and linked into faults/event-syncer, for the sanitized ones, whose own
 * malloc would else come first (a definition in the program beats the sanitizer's, which is weak, and calls it). Either
 * way the libraries' calls go through it as well: SQLite's, libpq's, libcurl's, YAJL's.
 *
 * FAULTS_VARIABLE names a file of sizeof(struct faults) bytes, which both map. Without it nothing ever fails. All fields are atomic:
 * the test changes them while the server runs.
 */
#ifndef TEST_FAULTS_H
#define TEST_FAULTS_H

#include <stdatomic.h>
#include <stdint.h>

#define FAULTS_VARIABLE "EVENT_SYNCER_FAULTS"

enum { FAULTS_NAME_BYTES = 64 };

/* Calls on files, as bits. */
enum faults_call {
    FAULTS_WRITE = 1,    /* write, pwrite, writev */
    FAULTS_SYNC = 2,     /* fsync, fdatasync */
    FAULTS_TRUNCATE = 4, /* ftruncate, fallocate */
    FAULTS_OPEN = 8,     /* open, openat */
};

struct faults {
    /* Allocations: the calls of the whole process, counted from 1; those from number `first` to `last` fail, and of all
     * numbers each that `every` divides. 0: none. */
    _Atomic uint64_t allocations;
    _Atomic uint64_t first, last;
    _Atomic uint64_t every;
    _Atomic uint64_t failed_allocations;
    /* Threads: pthread_create returns this error. 0: it works. */
    _Atomic int thread_error;
    _Atomic uint64_t failed_threads;
    /* Files whose path contains `name` (set while no call is chosen): the calls chosen fail with this error. */
    _Atomic int file_error;
    _Atomic unsigned file_calls;
    char file_name[FAULTS_NAME_BYTES];
    _Atomic uint64_t failed_file_calls;
    _Atomic int attached; /* the process that has mapped this */
};

#endif
