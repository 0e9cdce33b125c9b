#include "cli/system_limits.h"

#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

enum { MAPPINGS_PER_THREAD = 2, FEWEST_THREADS = 64, MOST_THREADS = 1000000 };

uint64_t system_raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 1024;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur;
}

/* The number in a file of the kernel's; UINT64_MAX when there is none ("max", or no such file). */
static uint64_t number_in(const char *path)
{
    unsigned long long number;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return UINT64_MAX;
    int found = fscanf(file, "%llu", &number);
    fclose(file);
    return found == 1 ? number : UINT64_MAX;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t system_thread_limit(void)
{
    struct rlimit limit = {.rlim_cur = RLIM_INFINITY};
    getrlimit(RLIMIT_NPROC, &limit);
    uint64_t threads = limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur;
    threads = least(threads, number_in("/proc/sys/kernel/threads-max"));
    threads = least(threads, number_in("/proc/sys/kernel/pid_max"));
    threads = least(threads, number_in("/proc/sys/vm/max_map_count") / MAPPINGS_PER_THREAD);
    threads = least(threads, number_in("/sys/fs/cgroup/pids.max"));
    threads = least(threads, MOST_THREADS);
    threads -= threads / 8;
    return threads < FEWEST_THREADS ? FEWEST_THREADS : threads;
}

uint64_t system_core_count(void)
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : (uint64_t)count;
}
