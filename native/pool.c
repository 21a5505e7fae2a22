#define _POSIX_C_SOURCE 200809L
#include "pool_parts.h"

#include <signal.h>
#include <stdlib.h>

#define MAX_THREADS 256

/* ---- what is waited for ---- */

static bool job_posted(lc_pool *pool, uint64_t serial)
{
    const uint64_t now = atomic_load(&pool->serial);
    return (now != serial && (now & 1)) || atomic_load(&pool->closing);
}

static bool all_outside(lc_pool *pool, uint64_t unused)
{
    (void)unused;
    return atomic_load(&pool->n_inside) == 0;
}

/* ---- jobs ---- */

/* Copies the job of this serial; false if it is over.  A sequence lock: the copy counts only if the serial is the same
 * before and after. */
static bool copy_job(lc_pool *pool, uint64_t serial, uint64_t *job, lc_job_function **function, uint64_t *first_stage)
{
    if (atomic_load(&pool->serial) != serial)
        return false;
    for (int i = 0; i < LC_JOB_WORDS; i++)
        job[i] = atomic_load_explicit(&pool->job[i], memory_order_relaxed);
    *function = atomic_load_explicit(&pool->function, memory_order_relaxed);
    *first_stage = atomic_load_explicit(&pool->first_stage, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
    return atomic_load(&pool->serial) == serial;
}

/* Puts the calling thread on its own core, or lets it go, if it is not so already. */
static void place(const lc_pool *pool, int32_t rank, bool wanted, bool *apart)
{
    if (wanted && !*apart)
        lc_cores_keep(&pool->cores, rank);
    else if (!wanted && *apart)
        lc_cores_leave(&pool->cores);
    *apart = wanted;
}

static void *work(void *argument)
{
    const lc_worker *self = argument;
    lc_pool *pool = self->pool;
    uint64_t serial = 0;
    bool apart = false;

    for (;;) {
        lc_wait(&pool->for_job, job_posted, pool, serial);
        if (atomic_load(&pool->closing))
            return NULL;
        serial = atomic_load(&pool->serial);
        place(pool, self->rank, atomic_load(&pool->apart), &apart);
        uint64_t job[LC_JOB_WORDS];
        lc_job_function *function;
        lc_team team = {.pool = pool, .rank = self->rank};

        /* Counted before the job is copied: lc_pool_settle, which comes after the job was closed, then either sees
         * this thread inside, or this thread sees the job closed. */
        atomic_fetch_add(&pool->n_inside, 1);
        if ((serial & 1) && copy_job(pool, serial, job, &function, &team.stage))
            function(job, &team);
        atomic_fetch_sub(&pool->n_inside, 1);
        lc_wake(&pool->for_exit);
    }
}

static void post(lc_pool *pool, lc_job_function *function, const uint64_t *words, uint64_t first_stage)
{
    atomic_thread_fence(memory_order_seq_cst); /* the last job was closed before its words change */
    for (int i = 0; i < LC_JOB_WORDS; i++)
        atomic_store_explicit(&pool->job[i], words[i], memory_order_relaxed);
    atomic_store(&pool->function, function);
    atomic_store(&pool->first_stage, first_stage);
    atomic_fetch_add(&pool->serial, 1);
    lc_wake(&pool->for_job);
}

bool lc_pool_run(lc_pool *pool, lc_job_function *function, const void *job, size_t job_bytes, lc_sharing sharing)
{
    uint64_t words[LC_JOB_WORDS] = {0};
    memcpy(words, job, job_bytes);
    lc_team team = {.pool = pool, .stage = atomic_load(&pool->stage), .rank = 0};
    const bool alone = sharing == LC_ALONE || pool->n_threads == 1;
    bool apart = false;

    if (!alone) {
        atomic_store(&pool->apart, sharing == LC_APART);
        place(pool, 0, sharing == LC_APART, &apart);
        post(pool, function, words, team.stage);
    }
    function(words, &team);
    if (!alone)
        atomic_fetch_add(&pool->serial, 1);
    place(pool, 0, false, &apart); /* where the caller runs between jobs is not the pool's */
    if (!atomic_load(&pool->aborted))
        return true;
    lc_pool_settle(pool);
    lc_team_forget(pool);
    atomic_store(&pool->aborted, false);
    return false;
}

void lc_pool_settle(lc_pool *pool) { lc_wait(&pool->for_exit, all_outside, pool, 0); }

int32_t lc_pool_threads(const lc_pool *pool) { return pool->n_threads; }

/* Workers take no signals, which are for the program's own threads, but those that their own faults raise. */
static bool start_workers(lc_pool *pool)
{
    static const int FAULTS[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP};
    sigset_t masked, before;
    sigfillset(&masked);
    for (size_t i = 0; i < sizeof FAULTS / sizeof *FAULTS; i++)
        sigdelset(&masked, FAULTS[i]);
    pthread_sigmask(SIG_SETMASK, &masked, &before);
    for (int32_t rank = 1; rank < pool->n_threads; rank++) {
        lc_worker *w = &pool->workers[rank];
        w->pool = pool;
        w->rank = rank;
        if (pthread_create(&w->thread, NULL, work, w))
            break;
        pool->n_started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pool->n_started == pool->n_threads - 1;
}

static bool start_sleepers(lc_pool *pool)
{
    lc_sleepers *all[] = {&pool->for_job, &pool->for_stage, &pool->for_exit};
    for (int i = 0; i < 3; i++)
        if (!lc_sleepers_init(all[i])) {
            while (i--)
                lc_sleepers_destroy(all[i]);
            return false;
        }
    return true;
}

lc_status lc_pool_create(int32_t n_threads, lc_pool **out)
{
    if (!out || n_threads < 1 || n_threads > MAX_THREADS)
        return LC_ERR_ARGUMENT;
    const size_t bytes = sizeof(lc_pool) + (size_t)n_threads * sizeof(lc_worker);
    lc_pool *pool = aligned_alloc(LC_CACHE_LINE, bytes);
    if (!pool)
        return LC_ERR_MEMORY;
    memset(pool, 0, bytes);
    pool->n_threads = n_threads;
    pool->cores = lc_cores_find(n_threads);
    pool->n_holders = 1;
    if (!start_sleepers(pool)) {
        free(pool);
        return LC_ERR_THREAD;
    }
    if (!start_workers(pool)) {
        lc_pool_free(pool);
        return LC_ERR_THREAD;
    }
    *out = pool;
    return LC_OK;
}

void lc_pool_hold(lc_pool *pool) { atomic_fetch_add(&pool->n_holders, 1); }

void lc_pool_free(lc_pool *pool)
{
    if (!pool || atomic_fetch_sub(&pool->n_holders, 1) > 1)
        return;
    atomic_store(&pool->closing, true);
    lc_wake(&pool->for_job);
    for (int32_t i = 1; i <= pool->n_started; i++)
        pthread_join(pool->workers[i].thread, NULL);
    lc_sleepers_destroy(&pool->for_job);
    lc_sleepers_destroy(&pool->for_stage);
    lc_sleepers_destroy(&pool->for_exit);
    free(pool);
}
