/* pool_stages.c - jobs of a pool with threads that stall, each thing seen counted; says what was wrong and exits with
 * 1.
 *
 *     pool_stages mixed|stalled|aborted THREADS
 */
#define _POSIX_C_SOURCE 200809L
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "pool.h"

#define STAGES 400
#define CHUNKS_MOST 40
#define STALL_MOST_MS 20000 /* then something waits that should not */

typedef struct shared {
    int delivered[STAGES][CHUNKS_MOST]; /* plain memory: only the winner of a chunk may touch its own */
    int64_t sums[STAGES];               /* what the stage before left, seen by a chunk of this one */
    atomic_int tried, lost;
    atomic_bool stalls;                 /* the next worker that tries a chunk stalls, */
    atomic_bool released;               /* until this */
    int stalled_stage;
} shared;

typedef struct job {
    shared *s;
    int64_t abort_at; /* stage; -1: none */
} job;

#define CHECK(condition, ...) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, __VA_ARGS__); \
            fprintf(stderr, " (%s)\n", #condition); \
            exit(1); \
        } \
    } while (0)

static void sleep_us(long us)
{
    const struct timespec t = {us / 1000000, us % 1000000 * 1000};
    nanosleep(&t, NULL);
}

static int n_chunks_of(int stage) { return 1 + stage * 7 % CHUNKS_MOST; }
static bool is_trial(int stage) { return stage % 3 != 0; }

/* Any thread but the caller's, once. */
static void stall(shared *s, const lc_team *team)
{
    bool yes = true;
    if (lc_team_rank(team) == 0 || !atomic_compare_exchange_strong(&s->stalls, &yes, false))
        return;
    for (int ms = 0; !atomic_load(&s->released); ms++) {
        CHECK(ms < STALL_MOST_MS, "a stalled thread was waited for");
        sleep_us(1000);
    }
}

static void deliver(shared *s, int stage, int chunk)
{
    s->delivered[stage][chunk]++;
    if (chunk == 0)
        for (int i = 0; stage > 0 && i < n_chunks_of(stage - 1); i++)
            s->sums[stage] += s->delivered[stage - 1][i];
}

static void work(const void *argument, lc_team *team)
{
    const job *j = argument;
    shared *s = j->s;
    for (int stage = 0; stage < STAGES; stage++) {
        const int n = n_chunks_of(stage);
        int32_t chunk;
        if (!is_trial(stage)) {
            while ((chunk = lc_team_take(team, n)) >= 0)
                deliver(s, stage, chunk);
            continue;
        }
        while ((chunk = lc_team_try(team, n, 5000)) >= 0) {
            atomic_fetch_add(&s->tried, 1);
            if (stage == j->abort_at && lc_team_rank(team) == 0) {
                lc_team_abort(team);
                continue;
            }
            stall(s, team);
            if ((stage * 31 + chunk) % 61 == 0) /* now and then, beyond the others' patience */
                sleep_us(lc_team_rank(team) ? 300 : 50);
            if (lc_team_win(team))
                deliver(s, stage, chunk);
            else
                atomic_fetch_add(&s->lost, 1);
        }
    }
}

static void run(lc_pool *pool, shared *s)
{
    memset(s->delivered, 0, sizeof s->delivered);
    memset(s->sums, 0, sizeof s->sums);
    const job j = {s, -1};
    CHECK(lc_pool_run(pool, work, &j, sizeof j, LC_TOGETHER), "a job was aborted by nobody");
    for (int stage = 0; stage < STAGES; stage++) {
        for (int chunk = 0; chunk < n_chunks_of(stage); chunk++)
            CHECK(s->delivered[stage][chunk] == 1, "chunk %d of stage %d was delivered %d times", chunk, stage,
                  s->delivered[stage][chunk]);
        CHECK(stage == 0 || s->sums[stage] == n_chunks_of(stage - 1), "stage %d began early", stage);
    }
}

/* A worker stalls with a chunk in its hand, and jobs end; what it comes back with is not delivered. */
static void run_stalled(lc_pool *pool, shared *s)
{
    for (int i = 0; i < 20; i++) {
        atomic_store(&s->released, false);
        atomic_store(&s->stalls, true);
        const int lost = atomic_load(&s->lost);
        for (int jobs = 0; atomic_load(&s->stalls); jobs++) { /* until a worker came early enough to be given one */
            CHECK(jobs < 100000, "no worker ever tries a chunk");
            run(pool, s);
        }
        run(pool, s);
        atomic_store(&s->released, true);
        lc_pool_settle(pool);
        CHECK(atomic_load(&s->lost) > lost, "a chunk in a stalled hand was not lost");
    }
}

static void run_aborted(lc_pool *pool, shared *s)
{
    const job j = {s, 4};
    for (int i = 0; i < 50; i++) {
        if (!lc_pool_run(pool, work, &j, sizeof j, LC_TOGETHER))
            lc_pool_settle(pool);
        run(pool, s);
    }
}

int main(int argc, char **argv)
{
    static shared s;
    lc_pool *pool;
    CHECK(argc == 3, "usage");
    CHECK(lc_pool_create(atoi(argv[2]), &pool) == LC_OK, "no pool");
    if (!strcmp(argv[1], "stalled"))
        run_stalled(pool, &s);
    else if (!strcmp(argv[1], "aborted"))
        run_aborted(pool, &s);
    else
        for (int i = 0; i < 30; i++)
            run(pool, &s);
    lc_pool_free(pool);
    printf("tried %d, lost %d\n", atomic_load(&s.tried), atomic_load(&s.lost));
}
