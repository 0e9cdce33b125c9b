/* What the system allows one process. */
#ifndef CLI_SYSTEM_LIMITS_H
#define CLI_SYSTEM_LIMITS_H

#include <stdint.h>

/* Raises the soft limit of open files to the hard one and returns it. */
uint64_t system_raise_file_limit(void);

/* The number of threads that one process may well have: seven eighths of the tightest of the limits of
 * processes, threads, memory mappings (two a thread) and the control group. */
uint64_t system_thread_limit(void);

uint64_t system_core_count(void);

#endif
