/* The server's side of faults.h. What comes before a function here has its name and its types. */
#include "faults.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* The sanitizers' own, where there are some; the C library's else. */
extern void *__interceptor_malloc(size_t bytes) __attribute__((weak));
extern void *__interceptor_calloc(size_t count, size_t bytes) __attribute__((weak));
extern void *__interceptor_realloc(void *memory, size_t bytes) __attribute__((weak));
extern int __interceptor_posix_memalign(void **memory, size_t alignment, size_t bytes) __attribute__((weak));
extern int __interceptor_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                                        void *(*run)(void *), void *context) __attribute__((weak));
extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *memory, size_t bytes);
extern void *__libc_memalign(size_t alignment, size_t bytes);

/* Whether the thread is in what it was made for. Before and after that a sanitizer keeps its books, and must not run short;
 * nor may the thread's local storage be allocated when it is asked for. */
static _Thread_local bool under_way __attribute__((tls_model("initial-exec")));

/* NULL until the file is mapped, and always without one. Not a constant, but there is one for each process. */
static struct faults *_Atomic switchboard;

__attribute__((constructor)) static void attach(void)
{
    const char *path = getenv(FAULTS_VARIABLE);
    under_way = true;
    if (path == NULL)
        return;
    int descriptor = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);
    void *mapped = descriptor < 0
                       ? MAP_FAILED
                       : mmap(NULL, sizeof(struct faults), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (mapped == MAP_FAILED)
        abort();
    close(descriptor);
    atomic_store(&switchboard, (struct faults *)mapped);
    atomic_store(&((struct faults *)mapped)->attached, getpid());
}

/* --- memory --- */

static bool allocation_fails(void)
{
    struct faults *faults = atomic_load_explicit(&switchboard, memory_order_acquire);
    if (faults == NULL || !under_way)
        return false;
    uint64_t number = atomic_fetch_add(&faults->allocations, 1) + 1;
    uint64_t first = atomic_load(&faults->first), every = atomic_load(&faults->every);
    if (!(first != 0 && number >= first && number <= atomic_load(&faults->last)) &&
        (every == 0 || number % every != 0))
        return false;
    atomic_fetch_add(&faults->failed_allocations, 1);
    errno = ENOMEM;
    return true;
}

void *malloc(size_t bytes)
{
    if (allocation_fails())
        return NULL;
    return __interceptor_malloc != NULL ? __interceptor_malloc(bytes) : __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
    if (allocation_fails())
        return NULL;
    return __interceptor_calloc != NULL ? __interceptor_calloc(count, bytes) : __libc_calloc(count, bytes);
}

void *realloc(void *memory, size_t bytes)
{
    if (allocation_fails())
        return NULL;
    return __interceptor_realloc != NULL ? __interceptor_realloc(memory, bytes)
                                         : __libc_realloc(memory, bytes);
}

void *reallocarray(void *memory, size_t count, size_t bytes)
{
    if (bytes != 0 && count > SIZE_MAX / bytes) {
        errno = ENOMEM;
        return NULL;
    }
    return realloc(memory, count * bytes);
}

int posix_memalign(void **memory, size_t alignment, size_t bytes)
{
    if (allocation_fails())
        return ENOMEM;
    if (__interceptor_posix_memalign != NULL)
        return __interceptor_posix_memalign(memory, alignment, bytes);
    void *aligned = __libc_memalign(alignment, bytes);
    if (aligned != NULL)
        *memory = aligned;
    return aligned == NULL ? ENOMEM : 0;
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    void *memory = NULL;
    errno = posix_memalign(&memory, alignment < sizeof(void *) ? sizeof(void *) : alignment, bytes);
    return memory;
}

char *strndup(const char *text, size_t most)
{
    size_t length = strnlen(text, most);
    char *copy = malloc(length + 1);
    if (copy == NULL)
        return NULL;
    memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

/* The sanitizers' goes past malloc. */
char *strdup(const char *text)
{
    return strndup(text, SIZE_MAX);
}

/* --- threads --- */

struct start {
    void *(*run)(void *);
    void *context;
};

static void *run_thread(void *context)
{
    struct start start = *(struct start *)context;
    free(context);
    under_way = true;
    void *result = start.run(start.context);
    under_way = false;
    return result;
}

static int create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *context)
{
    int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (__interceptor_pthread_create != NULL)
        return __interceptor_pthread_create(thread, attributes, run, context);
    void *found = dlsym(RTLD_NEXT, "pthread_create");
    memcpy(&next, &found, sizeof next);
    return next(thread, attributes, run, context);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *context)
{
    struct faults *faults = atomic_load_explicit(&switchboard, memory_order_acquire);
    int error = faults == NULL ? 0 : atomic_load(&faults->thread_error);
    if (error != 0) {
        atomic_fetch_add(&faults->failed_threads, 1);
        return error;
    }
    bool was_under_way = under_way;
    under_way = false;
    struct start *start = malloc(sizeof *start);
    if (start == NULL)
        abort();
    *start = (struct start){.run = run, .context = context};
    /* The C library's own allocations may fail. */
    under_way = was_under_way && __interceptor_pthread_create == NULL;
    error = create(thread, attributes, run_thread, start);
    under_way = was_under_way;
    if (error != 0)
        free(start);
    return error;
}

/* --- files --- */

/* Whether such a call fails for a file of this path; then with errno. */
static bool path_fails(struct faults *faults, const char *path)
{
    if (strstr(path, faults->file_name) == NULL)
        return false;
    atomic_fetch_add(&faults->failed_file_calls, 1);
    errno = atomic_load(&faults->file_error);
    return true;
}

static struct faults *chosen(enum faults_call call)
{
    struct faults *faults = atomic_load_explicit(&switchboard, memory_order_acquire);
    return faults != NULL && (atomic_load(&faults->file_calls) & call) != 0 ? faults : NULL;
}

static bool call_fails(enum faults_call call, int descriptor)
{
    struct faults *faults = chosen(call);
    char link[64], path[4096];
    if (faults == NULL)
        return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return false;
    path[length] = '\0';
    return path_fails(faults, path);
}

ssize_t write(int descriptor, const void *bytes, size_t length)
{
    return call_fails(FAULTS_WRITE, descriptor) ? -1 : syscall(SYS_write, descriptor, bytes, length);
}

ssize_t writev(int descriptor, const struct iovec *vectors, int count)
{
    return call_fails(FAULTS_WRITE, descriptor) ? -1 : syscall(SYS_writev, descriptor, vectors, count);
}

ssize_t pwrite(int descriptor, const void *bytes, size_t length, off_t offset)
{
    return call_fails(FAULTS_WRITE, descriptor) ? -1
                                                : syscall(SYS_pwrite64, descriptor, bytes, length, offset);
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t length, off64_t offset)
{
    return pwrite(descriptor, bytes, length, offset);
}

int fsync(int descriptor)
{
    return call_fails(FAULTS_SYNC, descriptor) ? -1 : (int)syscall(SYS_fsync, descriptor);
}

int fdatasync(int descriptor)
{
    return call_fails(FAULTS_SYNC, descriptor) ? -1 : (int)syscall(SYS_fdatasync, descriptor);
}

int ftruncate(int descriptor, off_t length)
{
    return call_fails(FAULTS_TRUNCATE, descriptor) ? -1 : (int)syscall(SYS_ftruncate, descriptor, length);
}

int ftruncate64(int descriptor, off64_t length)
{
    return ftruncate(descriptor, length);
}

static int open_at(int folder, const char *path, int flags, mode_t mode)
{
    struct faults *faults = chosen(FAULTS_OPEN);
    if (faults != NULL && path_fails(faults, path))
        return -1;
    return (int)syscall(SYS_openat, folder, path, flags, mode);
}

/* The mode is there only when a file may be made; reading it in any case is harmless where arguments lie in registers. */
#define MODE_OF(last)                                                                                        \
    __extension__({                                                                                          \
        va_list arguments;                                                                                   \
        va_start(arguments, last);                                                                           \
        mode_t mode = (last & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(arguments, mode_t) : 0;                   \
        va_end(arguments);                                                                                   \
        mode;                                                                                                \
    })

int open(const char *path, int flags, ...)
{
    return open_at(AT_FDCWD, path, flags, MODE_OF(flags));
}

int open64(const char *path, int flags, ...)
{
    return open_at(AT_FDCWD, path, flags, MODE_OF(flags));
}

int openat(int folder, const char *path, int flags, ...)
{
    return open_at(folder, path, flags, MODE_OF(flags));
}

int openat64(int folder, const char *path, int flags, ...)
{
    return open_at(folder, path, flags, MODE_OF(flags));
}
