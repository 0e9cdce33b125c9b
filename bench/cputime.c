/*
 * Prints the CPU time in nanoseconds that the given processes have used together, threads that have ended
 * included: the processes' own CPU clocks, which are finer than the clock ticks of /proc/PID/stat.
 *
 * usage: cputime PID...
 */
#include "common.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

int main(int argument_count, char **arguments)
{
    uint64_t sum = 0;

    for (int index = 1; index < argument_count; index++)
        sum += process_nanoseconds((pid_t)parse_number(arguments[index], "PID", 1, INT_MAX));
    printf("%" PRIu64 "\n", sum);
    return 0;
}
