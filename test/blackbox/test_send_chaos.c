/* `send` against a server that does anything at random, stopped at random: what it says of each line must be true. */
#include "kit_send.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINES = 4000, USERS = 60, ROUNDS = 8 };

enum outcome { NOTHING, TAKEN, REFUSED, LOST };

struct chaos {
    unsigned random;
    unsigned again[LINES + 1];        /* posts that were answered with "not taken" */
    unsigned final[LINES + 1];        /* posts that were answered otherwise, or not at all */
    enum outcome outcomes[LINES + 1]; /* of the last of those */
    unsigned last[USERS];             /* the highest line of each user that came */
    unsigned breaches;
};

static unsigned draw(struct chaos *chaos, unsigned below)
{
    chaos->random = chaos->random * 1103515245U + 12345U;
    return (chaos->random >> 16) % below;
}

static struct receiver_answer do_anything(void *context, const struct receiver_post *post)
{
    static const struct receiver_answer good[] = {{.status = 200}};
    static const struct receiver_answer refusing[] = {{.status = 400, .body = "{\"error\":\"no\"}"},
                                                      {.status = 413}};
    static const struct receiver_answer again[] = {{.status = 503, .body = "{\"error\":\"full\"}"},
                                                   {.status = 429}};
    static const struct receiver_answer lost[] = {{.act = RECEIVER_DROP}, {.status = 500}};
    struct chaos *chaos = context;
    unsigned number = receiver_number(post->body);
    if (number < 1 || number > LINES) {
        chaos->breaches++;
        return good[0];
    }
    if (number < chaos->last[number % USERS])
        chaos->breaches++;
    chaos->last[number % USERS] = number;
    unsigned what = draw(chaos, 100), which = draw(chaos, 2);
    struct receiver_answer answer = what < 3   ? again[which]
                                    : what < 6 ? refusing[which]
                                    : what < 9 ? lost[which]
                                               : good[0];
    if (what < 3) {
        chaos->again[number]++;
    } else {
        chaos->final[number]++;
        chaos->outcomes[number] = what < 6 ? REFUSED : what < 9 ? LOST : TAKEN;
    }
    answer.delay_us = draw(chaos, 10) == 0 ? draw(chaos, 5000) : 0;
    return answer;
}

/* What the list says of each line: a letter of its fate, 's' for those that are not in it. */
static void read_list(struct kit *kit, const char *errors, char fates[LINES + 1])
{
    memset(fates, 's', LINES + 1);
    for (const char *at = errors; *at != '\0'; at += strcspn(at, "\n") + 1) {
        unsigned first, last;
        char fate[16];
        if (sscanf(at, "line %u: %15s", &first, fate) == 2)
            last = first;
        else if (sscanf(at, "lines %u-%u: %15s", &first, &last, fate) != 3)
            continue;
        if (first < 1 || last > LINES || first > last)
            kit_fail(kit, "lines %u-%u in the list", first, last);
        memset(fates + first, fate[0], last - first + 1);
    }
    if (strstr(errors, "more line") != NULL)
        kit_fail(kit, "the list is too short for the test");
}

static void judge_line(struct kit *kit, const struct chaos *chaos, unsigned number, char fate)
{
    unsigned final = chaos->final[number];
    enum outcome outcome = chaos->outcomes[number];
    bool right = (fate == 's' && final == 1 && outcome == TAKEN) ||
                 (fate == 'r' && final == 1 && outcome == REFUSED) ||
                 (fate == 'o' && final == 1 && outcome == LOST) || (fate == 'n' && final == 0);
    if (!right)
        kit_fail(kit, "line %u is said to be %c; it came %u times, and %u times for good (%d)", number, fate,
                 chaos->again[number] + final, final, (int)outcome);
}

static void play(struct kit *kit, unsigned seed, bool stopped)
{
    struct chaos *chaos = kit_allocate(kit, sizeof *chaos);
    chaos->random = seed;
    struct receiver *receiver = receiver_start(kit, do_anything, chaos);
    const char *path = sending_file(kit, "");
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    for (unsigned i = 1; i <= LINES; i++)
        fprintf(file, "{\"userId\":%u,\"n\":%u}\n", i % USERS, i);
    assert_int_equal(fclose(file), 0);
    struct sending *sending =
        sending_begin(kit, path, "--url", receiver_url(receiver), "--connections", "16");
    assert_true(receiver_await(receiver, 200 * seed));
    if (stopped)
        kit_signal(sending->process, SIGTERM);
    else
        assert_true(receiver_await(receiver, LINES));
    assert_int_equal(sending_end(sending), 1);
    receiver_end(receiver);
    const char *errors = kit_log(sending->process);
    const char *stop = strstr(errors, "stopped at line ");
    unsigned end = LINES;
    if (stop != NULL)
        end = (unsigned)strtoul(stop + strlen("stopped at line "), NULL, 10);
    assert_true(stopped || stop == NULL);
    char fates[LINES + 1];
    read_list(kit, errors, fates);
    assert_int_equal(chaos->breaches, 0);
    for (unsigned number = 1; number <= end; number++)
        judge_line(kit, chaos, number, fates[number]);
    for (unsigned number = end + 1; number <= LINES; number++)
        assert_int_equal(chaos->final[number], 0);
}

static void test_to_the_end(void **state)
{
    for (unsigned seed = 1; seed <= ROUNDS / 2; seed++)
        play(*state, seed, false);
}

static void test_stopped(void **state)
{
    for (unsigned seed = 1; seed <= ROUNDS; seed++)
        play(*state, seed, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        kit_test(test_to_the_end),
        kit_test(test_stopped),
    };
    return kit_run_tests(tests);
}
