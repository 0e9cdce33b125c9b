/* TLS: the upstream's certificate and its name are verified before anything is sent. The server is openssl's. */
#include "upstream_kit.h"

#include "../temporary.h"

#include <ftw.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { PATH_BYTES = TEMPORARY_BYTES + 32, OUTPUT_BYTES = 4096 };

struct tls_server {
    char folder[TEMPORARY_BYTES];
    char key[PATH_BYTES];
    char certificate[PATH_BYTES];
    pid_t process;
    FILE *output;
    unsigned port;
};

/* Runs a program with its output in a pipe; the child ends with the test. */
static pid_t run(const char *const *arguments, FILE **output)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(ends[1], 1);
        dup2(ends[1], 2);
        execvp(arguments[0], (char *const *)arguments);
        _exit(127);
    }
    assert_true(child > 0);
    close(ends[1]);
    *output = fdopen(ends[0], "r");
    assert_non_null(*output);
    return child;
}

static void finish(pid_t child, FILE *output)
{
    int status = 0;
    char ignored[OUTPUT_BYTES];
    while (fread(ignored, 1, sizeof ignored, output) > 0)
        continue;
    fclose(output);
    assert_int_equal(waitpid(child, &status, 0), child);
}

/* A server with a certificate of its own making for `name`. */
static void tls_server_begin(struct tls_server *server, const char *name)
{
    char names[64];
    char line[OUTPUT_BYTES];
    FILE *output;
    assert_int_equal(temporary_folder(server->folder, "event-syncer-tls"), 0);
    snprintf(server->key, sizeof server->key, "%s/key.pem", server->folder);
    snprintf(server->certificate, sizeof server->certificate, "%s/certificate.pem", server->folder);
    snprintf(names, sizeof names, "subjectAltName=%s", name);
    pid_t maker = run((const char *const[]){"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                                            "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                                            "/CN=test", "-addext", names, "-keyout", server->key, "-out",
                                            server->certificate, NULL},
                      &output);
    finish(maker, output);
    server->process = run((const char *const[]){"openssl", "s_server", "-accept", "127.0.0.1:0", "-key",
                                                server->key, "-cert", server->certificate, "-www", NULL},
                          &server->output);
    server->port = 0;
    while (server->port == 0 && fgets(line, sizeof line, server->output) != NULL)
        sscanf(line, "ACCEPT 127.0.0.1:%u", &server->port);
    assert_int_not_equal(server->port, 0);
}

static int remove_path(const char *path, const struct stat *stat, int kind, struct FTW *position)
{
    (void)stat, (void)kind, (void)position;
    return remove(path);
}

static void tls_server_end(struct tls_server *server)
{
    kill(server->process, SIGKILL);
    finish(server->process, server->output);
    nftw(server->folder, remove_path, 16, FTW_DEPTH | FTW_PHYS);
}

/* GETs a page of the server and returns the result; the reason goes to `reason`. */
static enum upstream_result call(const struct tls_server *server, const char *authorities,
                                 char reason[static UPSTREAM_REASON_BYTES])
{
    struct upstream_scene scene;
    struct upstream_answer answer;
    scene_begin(&scene);
    snprintf(scene.url, sizeof scene.url, "https://127.0.0.1:%u", server->port);
    scene.options.authorities = authorities;
    scene_connect(&scene);
    enum upstream_result result = upstream_get(scene.upstream, "/", NO_JUDGE, &answer);
    memcpy(reason, answer.reason, UPSTREAM_REASON_BYTES);
    upstream_answer_free(&answer);
    scene_end(&scene);
    return result;
}

static void certificates_are_verified(void **state)
{
    struct tls_server server;
    char reason[UPSTREAM_REASON_BYTES];
    (void)state;
    tls_server_begin(&server, "IP:127.0.0.1");
    assert_int_equal(call(&server, NULL, reason), UPSTREAM_FAILED);
    assert_string_equal(reason, "no trusted TLS connection");
    assert_int_equal(call(&server, server.certificate, reason), UPSTREAM_ANSWERED);
    tls_server_end(&server);
}

static void names_are_verified(void **state)
{
    struct tls_server server;
    char reason[UPSTREAM_REASON_BYTES];
    (void)state;
    tls_server_begin(&server, "DNS:another.example");
    assert_int_equal(call(&server, server.certificate, reason), UPSTREAM_FAILED);
    assert_string_equal(reason, "no trusted TLS connection");
    tls_server_end(&server);
}

static void plain_http_is_no_tls(void **state)
{
    struct upstream_scene scene;
    struct upstream_answer answer;
    (void)state;
    scene_begin(&scene);
    snprintf(scene.url, sizeof scene.url, "https://127.0.0.1:%u", standin_port(scene.standin));
    behave(&scene, STANDIN_GARBAGE);
    scene.options.call_ns = CLOCK_NS_PER_SECOND;
    scene_connect(&scene);
    assert_int_equal(upstream_post(scene.upstream, "/a", TEXT("{}"), NO_JUDGE, &answer), UPSTREAM_FAILED);
    assert_int_equal(standin_count(scene.standin, NULL), 0);
    upstream_answer_free(&answer);
    scene_end(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(certificates_are_verified),
        cmocka_unit_test(names_are_verified),
        cmocka_unit_test(plain_http_is_no_tls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
