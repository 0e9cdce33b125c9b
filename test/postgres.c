/* The cluster: initdb in a folder, `postgres` as a direct child, commands by libpq. The server is told to end when the
 * thread that started it ends (PR_SET_PDEATHSIG): call postgres_start and postgres_restart from the main thread. */
#include "postgres.h"

#include "temporary.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <grp.h>
#include <libpq-fe.h>
#include <netinet/in.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    PATH_BYTES = TEMPORARY_BYTES + 64,     /* of a file in the folder, or an option that names it */
    URL_BYTES = 3 * TEMPORARY_BYTES + 256, /* with each byte of the folder percent-encoded */
    LOG_SHOWN_BYTES = 4000,
    CHILDREN_MAX = 256,
    START_ATTEMPTS = 5,
    PAUSE_MS = 10,
    PROGRAM_MS = 120 * 1000,
    STOP_MS = 20 * 1000,
    /* Below the ports that the system gives to clients, so that nobody takes it while the server is down. */
    PORT_FIRST = 12000,
    PORT_COUNT = 20000,
    NOT_STARTED = 127,
};

struct database {
    char url[URL_BYTES];
    SLIST_ENTRY(database) link;
};

struct postgres {
    char folder[TEMPORARY_BYTES];
    char initdb[PATH_BYTES]; /* the programs' paths */
    char server[PATH_BYTES];
    uid_t user; /* whose processes they are */
    gid_t group;
    unsigned port;
    pid_t process; /* the postmaster's; 0 while it does not run */
    bool frozen;
    unsigned database_count;
    SLIST_HEAD(, database) databases;
};

static void complain(const char *what, const char *why)
{
    fprintf(stderr, "test postgres: %s: %s\n", what, why);
}

static void show_log(const struct postgres *postgres)
{
    char path[PATH_BYTES];
    char text[LOG_SHOWN_BYTES + 1];
    snprintf(path, sizeof path, "%s/log", postgres->folder);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return;
    if (fseek(file, -LOG_SHOWN_BYTES, SEEK_END) != 0)
        rewind(file);
    text[fread(text, 1, LOG_SHOWN_BYTES, file)] = '\0';
    fclose(file);
    complain("its log ends with", text);
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- programs --- */

/* The child's side of a fork: only what is safe after a fork of a process with threads. */
_Noreturn static void become(const struct postgres *postgres, const char *const *arguments, int log,
                             pid_t parent)
{
    static const char *const environment[] = {"PATH=/usr/bin:/bin", "LC_ALL=C.UTF-8", NULL};
    int input = open("/dev/null", O_RDONLY);
    if (dup2(input, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0 || close_range(3, ~0U, 0) != 0)
        _exit(NOT_STARTED);
    if (geteuid() == 0 &&
        (setgroups(0, NULL) != 0 || setresgid(postgres->group, postgres->group, postgres->group) != 0 ||
         setresuid(postgres->user, postgres->user, postgres->user) != 0))
        _exit(NOT_STARTED);
    /* A group of its own: a stopped one is continued by the kernel when the test program has gone. The signal at the
     * parent's end is forgotten by setuid, so it comes after that. */
    if (setpgid(0, 0) != 0 || prctl(PR_SET_PDEATHSIG, SIGQUIT) != 0 || getppid() != parent ||
        chdir(postgres->folder) != 0)
        _exit(NOT_STARTED);
    execve(arguments[0], (char *const *)arguments, (char *const *)environment);
    _exit(NOT_STARTED);
}

/* Starts one of PostgreSQL's programs with its output in the log. Returns the process, or -1. */
static pid_t spawn(const struct postgres *postgres, const char *const *arguments)
{
    char log_path[PATH_BYTES];
    snprintf(log_path, sizeof log_path, "%s/log", postgres->folder);
    int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (log < 0) {
        complain(log_path, strerror(errno));
        return -1;
    }
    pid_t parent = getpid();
    pid_t child = fork();
    if (child == 0)
        become(postgres, arguments, log, parent);
    if (child < 0)
        complain("fork", strerror(errno));
    close(log);
    return child;
}

/* Waits for the end of a process. Returns its wait status, or -1 when it has not ended in time. */
static int wait_ended(pid_t process, int64_t within_ms)
{
    int64_t deadline_at = now_ms() + within_ms;
    int status;
    while (waitpid(process, &status, WNOHANG) != process) {
        if (now_ms() > deadline_at)
            return -1;
        poll(NULL, 0, PAUSE_MS);
    }
    return status;
}

static int run_program(const struct postgres *postgres, const char *const *arguments)
{
    pid_t process = spawn(postgres, arguments);
    int status = process < 0 ? 1 : wait_ended(process, PROGRAM_MS);
    if (status == -1) {
        kill(process, SIGKILL);
        waitpid(process, NULL, 0);
    }
    return status == 0 ? 0 : -1;
}

/* A run of many programs names a folder where the first of them leaves a copy for the others: initdb takes ten times as
 * long as copying what it has made. */
static int make_data(const struct postgres *postgres)
{
    const char *template = getenv("TEST_POSTGRES_TEMPLATE");
    const char *const initdb[] = {postgres->initdb, "-Ddata",           "-Upostgres", "-Atrust",
                                  "-EUTF8",         "--locale=C.UTF-8", "--no-sync",  NULL};
    const char *const copy[] = {"/bin/cp", "-a", template, "data", NULL};
    const char *const leave[] = {
        "/bin/sh", "-c",     "cp -a data \"$1.$$\" && mv -T \"$1.$$\" \"$1\" || rm -rf \"$1.$$\"",
        "sh",      template, NULL};
    if (template != NULL && access(template, F_OK) == 0 && run_program(postgres, copy) == 0)
        return 0;
    if (run_program(postgres, initdb) == 0) {
        if (template != NULL)
            run_program(postgres, leave);
        return 0;
    }
    complain("initdb", "failed");
    show_log(postgres);
    return -1;
}

/* --- start --- */

/* The programs of the newest PostgreSQL. */
static int find_programs(struct postgres *postgres)
{
    glob_t found;
    if (glob("/usr/lib/postgresql/*/bin/postgres", 0, NULL, &found) != 0) {
        complain("no programs in /usr/lib/postgresql", "install the package postgresql");
        return -1;
    }
    unsigned long newest = 0;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        unsigned long version = strtoul(found.gl_pathv[i] + strlen("/usr/lib/postgresql/"), NULL, 10);
        if (version < newest)
            continue;
        newest = version;
        snprintf(postgres->initdb, PATH_BYTES, "/usr/lib/postgresql/%lu/bin/initdb", version);
        snprintf(postgres->server, PATH_BYTES, "/usr/lib/postgresql/%lu/bin/postgres", version);
    }
    globfree(&found);
    return 0;
}

static int find_user(struct postgres *postgres)
{
    postgres->user = geteuid();
    postgres->group = getegid();
    if (postgres->user != 0)
        return 0;
    struct passwd entry, *found = NULL;
    char storage[4096];
    if (getpwnam_r("postgres", &entry, storage, sizeof storage, &found) != 0 || found == NULL) {
        complain("no user postgres", "install the package postgresql");
        return -1;
    }
    postgres->user = entry.pw_uid;
    postgres->group = entry.pw_gid;
    return 0;
}

static bool is_port_free(unsigned port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_free = probe >= 0 && bind(probe, (struct sockaddr *)&address, sizeof address) == 0;
    if (probe >= 0)
        close(probe);
    return is_free;
}

static unsigned choose_port(void)
{
    for (;;) {
        unsigned port = PORT_FIRST + arc4random_uniform(PORT_COUNT);
        if (is_port_free(port))
            return port;
    }
}

/* By its Unix socket: under the load of some tests the loopback device drops packets, and TCP then waits for seconds. */
static void format_url(const struct postgres *postgres, const char *name, char url[static URL_BYTES])
{
    char host[3 * TEMPORARY_BYTES];
    size_t length = 0;
    for (const char *c = postgres->folder; *c != '\0'; c++)
        length += (size_t)snprintf(host + length, sizeof host - length, *c == '/' ? "%%2F" : "%c", *c);
    snprintf(url, URL_BYTES, "postgres://postgres@%s:%u/%s", host, postgres->port, name);
}

/* Waits until the server takes connections, or has ended. */
static int wait_ready(struct postgres *postgres)
{
    char target[URL_BYTES];
    format_url(postgres, "postgres?connect_timeout=2", target);
    int64_t deadline_at = now_ms() + PROGRAM_MS;
    while (PQping(target) != PQPING_OK) {
        if (waitpid(postgres->process, NULL, WNOHANG) == postgres->process)
            postgres->process = 0;
        if (postgres->process == 0 || now_ms() > deadline_at)
            return -1;
        poll(NULL, 0, PAUSE_MS);
    }
    return 0;
}

static int start_server(struct postgres *postgres)
{
    char port[32], sockets[PATH_BYTES];
    snprintf(port, sizeof port, "--port=%u", postgres->port);
    snprintf(sockets, sizeof sockets, "--unix_socket_directories=%s", postgres->folder);
    /* Nothing here survives a power cut, but a disk that stalls for seconds would fail the tests. */
    const char *const arguments[] = {
        postgres->server, "-Ddata", "--listen_addresses=127.0.0.1", port, sockets, "--shared_buffers=16MB",
        "--fsync=off",    NULL};
    postgres->process = spawn(postgres, arguments);
    if (postgres->process < 0) {
        postgres->process = 0;
        return -1;
    }
    /* In both processes, so that the group exists whoever runs first. */
    setpgid(postgres->process, postgres->process);
    return wait_ready(postgres);
}

struct postgres *postgres_start(void)
{
    struct postgres *postgres = calloc(1, sizeof *postgres);
    if (postgres == NULL)
        return NULL;
    SLIST_INIT(&postgres->databases);
    if (find_programs(postgres) != 0 || find_user(postgres) != 0)
        goto free_postgres;
    if (temporary_folder(postgres->folder, "event-syncer-postgres") != 0 ||
        chown(postgres->folder, postgres->user, postgres->group) != 0) {
        complain(postgres->folder, strerror(errno));
        goto free_postgres;
    }
    if (make_data(postgres) != 0)
        goto remove_folder;
    /* Somebody else may take the port between the look at it and the start. */
    for (int attempt = 0; attempt < START_ATTEMPTS; attempt++) {
        postgres->port = choose_port();
        if (start_server(postgres) == 0)
            return postgres;
        if (postgres->process != 0)
            break;
    }
    complain("the server", "did not start");
    show_log(postgres);
remove_folder:
    postgres_free(postgres);
    return NULL;
free_postgres:
    free(postgres);
    return NULL;
}

/* --- processes --- */

struct process_stat {
    char state;
    pid_t parent;
};

static int read_stat(pid_t process, struct process_stat *stat)
{
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)process);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return -1;
    line[fread(line, 1, sizeof line - 1, file)] = '\0';
    fclose(file);
    /* "pid (name) state parent ...", and a name may hold anything. */
    const char *behind_name = strrchr(line, ')');
    if (behind_name == NULL || behind_name[1] != ' ' || behind_name[2] == '\0')
        return -1;
    stat->state = behind_name[2];
    stat->parent = (pid_t)strtol(behind_name + 3, NULL, 10);
    return 0;
}

/* The server's processes, the postmaster first. Returns how many. */
static size_t list_processes(const struct postgres *postgres, pid_t processes[static CHILDREN_MAX])
{
    DIR *proc = postgres->process == 0 ? NULL : opendir("/proc");
    if (proc == NULL)
        return 0;
    size_t count = 0;
    processes[count++] = postgres->process;
    const struct dirent *entry;
    while (count < CHILDREN_MAX && (entry = readdir(proc)) != NULL) {
        struct process_stat stat;
        pid_t process = (pid_t)strtol(entry->d_name, NULL, 10);
        if (process > 0 && read_stat(process, &stat) == 0 && stat.parent == postgres->process &&
            stat.state != 'Z')
            processes[count++] = process;
    }
    closedir(proc);
    return count;
}

static int wait_stopped(pid_t process)
{
    int64_t deadline_at = now_ms() + STOP_MS;
    struct process_stat stat;
    while (read_stat(process, &stat) == 0 && stat.state != 'T' && stat.state != 'Z') {
        if (now_ms() > deadline_at) {
            complain("freeze", "a process does not stop");
            return -1;
        }
        poll(NULL, 0, PAUSE_MS);
    }
    return 0;
}

int postgres_freeze(struct postgres *postgres)
{
    pid_t processes[CHILDREN_MAX];
    if (postgres->process == 0 || kill(postgres->process, SIGSTOP) != 0)
        return -1;
    postgres->frozen = true;
    /* The postmaster has stopped before its children are counted, so none is born behind our back. */
    if (wait_stopped(postgres->process) != 0)
        return -1;
    size_t count = list_processes(postgres, processes);
    for (size_t i = 1; i < count; i++)
        kill(processes[i], SIGSTOP);
    for (size_t i = 1; i < count; i++)
        if (wait_stopped(processes[i]) != 0)
            return -1;
    return 0;
}

int postgres_thaw(struct postgres *postgres)
{
    pid_t processes[CHILDREN_MAX];
    size_t count = list_processes(postgres, processes);
    if (count == 0)
        return -1;
    for (size_t i = count; i > 0; i--)
        kill(processes[i - 1], SIGCONT);
    postgres->frozen = false;
    return 0;
}

int postgres_stop(struct postgres *postgres, bool at_once)
{
    if (postgres->process == 0)
        return -1;
    kill(postgres->process, at_once ? SIGQUIT : SIGINT);
    if (postgres->frozen)
        postgres_thaw(postgres);
    int result = wait_ended(postgres->process, STOP_MS) == -1 ? -1 : 0;
    if (result != 0) {
        complain("stop", "the server had to be killed");
        kill(postgres->process, SIGKILL);
        waitpid(postgres->process, NULL, 0);
    }
    postgres->process = 0;
    return result;
}

int postgres_restart(struct postgres *postgres)
{
    if (postgres->process != 0)
        postgres_stop(postgres, false);
    if (start_server(postgres) == 0)
        return 0;
    complain("the server", "did not start again");
    show_log(postgres);
    return -1;
}

/* --- databases --- */

const char *postgres_new_database(struct postgres *postgres)
{
    char administration[URL_BYTES], name[32], statement[64];
    struct database *database = calloc(1, sizeof *database);
    if (database == NULL)
        return NULL;
    snprintf(name, sizeof name, "test_%u", ++postgres->database_count);
    snprintf(statement, sizeof statement, "CREATE DATABASE %s", name);
    format_url(postgres, "postgres", administration);
    format_url(postgres, name, database->url);
    char *answer = postgres_query(postgres, administration, statement);
    if (answer == NULL) {
        free(database);
        return NULL;
    }
    free(answer);
    SLIST_INSERT_HEAD(&postgres->databases, database, link);
    return database->url;
}

/* --- end --- */

static int remove_entry(const char *path, const struct stat *stat, int kind, struct FTW *position)
{
    (void)stat, (void)kind, (void)position;
    return remove(path);
}

void postgres_free(struct postgres *postgres)
{
    if (postgres == NULL)
        return;
    if (postgres->process != 0)
        postgres_stop(postgres, true);
    nftw(postgres->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    struct database *database;
    while ((database = SLIST_FIRST(&postgres->databases)) != NULL) {
        SLIST_REMOVE_HEAD(&postgres->databases, link);
        free(database);
    }
    free(postgres);
}
