#define _POSIX_C_SOURCE 200809L
#include "pool.h"

#include "cores.h"

#include <pthread.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define MAX_THREADS 256
/* How long a thread looks before it sleeps.  Waking costs 30-50 us on a virtual machine; stages are 5-100 us long,
 * and a caller needs about 50 us between two tokens. */
#define SPIN_NS 100000
#define FETCH_BYTES 512 /* between two looks */
#define JOB_WORDS (LC_JOB_BYTES / 8)

/* Chunks of a stage are cut evenly into regions, one for each thread, who takes those of its own in order, and then
 * helps the others: so neighbouring chunks stay with one processor, as its prefetching and caches like it.  A region's
 * counter holds the number of the stage (43 bits: years) and how many chunks were taken: a counter of an earlier stage
 * means none. */
#define CHUNK_BITS 21
#define CHUNK_MASK ((1u << CHUNK_BITS) - 1)

struct lc_team {
    lc_pool *pool;
    uint64_t stage;
    int32_t rank;
    uint32_t n_done;   /* chunks of this stage done and not yet reported */
    bool holds_chunk;
    lc_ahead ahead;
    size_t fetched;    /* bytes of it that were asked for */
};

typedef struct worker {
    alignas(LC_CACHE_LINE) _Atomic uint64_t taken; /* of its region */
    pthread_t thread;
    lc_pool *pool;
    int32_t rank;
} worker;

/* Threads asleep for one reason. */
typedef struct sleepers {
    _Atomic int32_t n;
    pthread_cond_t changed;
} sleepers;

struct lc_pool {
    alignas(LC_CACHE_LINE) _Atomic uint64_t stage; /* counted since the pool began */
    alignas(LC_CACHE_LINE) _Atomic uint32_t n_done; /* chunks of this stage */
    alignas(LC_CACHE_LINE) _Atomic uint64_t serial; /* of the job; odd while one runs, even between jobs */
    _Atomic uint64_t first_stage;
    _Atomic(lc_job_function *) function;
    _Atomic uint64_t job[JOB_WORDS];
    alignas(LC_CACHE_LINE) _Atomic int32_t n_inside; /* workers inside a job */
    _Atomic bool aborted, closing, apart;
    _Atomic int32_t n_holders;
    pthread_mutex_t mutex;
    sleepers for_job, for_stage, for_exit;
    int32_t n_threads, n_started;
    lc_cores cores;
    worker workers[];
};

/* ---- waiting ---- */

static void pause_a_moment(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Whoever changes what others may wait for calls this after the change.  The sleeper counts itself before it looks
 * for the last time, the waker changes before it counts sleepers (all sequentially consistent): one sees the other. */
static void wake(lc_pool *pool, sleepers *who)
{
    if (!atomic_load(&who->n))
        return;
    pthread_mutex_lock(&pool->mutex);
    pthread_cond_broadcast(&who->changed);
    pthread_mutex_unlock(&pool->mutex);
}

typedef bool ready_function(lc_pool *pool, uint64_t seen);

/* Returns when ready(pool, seen): looks for a while, then sleeps. */
static void wait_until(lc_pool *pool, sleepers *who, ready_function *ready, uint64_t seen)
{
    const int64_t until = now_ns() + SPIN_NS;
    do {
        for (int i = 0; i < 32; i++) {
            if (ready(pool, seen))
                return;
            pause_a_moment();
        }
    } while (now_ns() < until);

    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add(&who->n, 1);
    while (!ready(pool, seen))
        pthread_cond_wait(&who->changed, &pool->mutex);
    atomic_fetch_sub(&who->n, 1);
    pthread_mutex_unlock(&pool->mutex);
}

static bool stage_over(lc_pool *pool, uint64_t stage)
{
    return atomic_load(&pool->stage) != stage || atomic_load(&pool->aborted);
}

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

/* ---- stages ---- */

static void region_of(const lc_pool *pool, int32_t rank, int64_t n_chunks, int64_t *first, int64_t *end)
{
    *first = n_chunks * rank / pool->n_threads;
    *end = n_chunks * (rank + 1) / pool->n_threads;
}

/* The next chunk of a region, or -1.  A stage that is over has no chunk left: its counters stand at their ends, or
 * belong to a later stage. */
static int32_t take_from(lc_pool *pool, uint64_t stage, int32_t region, int64_t n_chunks)
{
    int64_t first, end;
    region_of(pool, region, n_chunks, &first, &end);
    _Atomic uint64_t *counter = &pool->workers[region].taken;
    uint64_t seen = atomic_load(counter);
    for (;;) {
        const int64_t taken = seen >> CHUNK_BITS == stage ? (int64_t)(seen & CHUNK_MASK) : 0;
        if (seen >> CHUNK_BITS > stage || first + taken >= end)
            return -1;
        if (atomic_compare_exchange_weak(counter, &seen, stage << CHUNK_BITS | (uint64_t)(taken + 1)))
            return (int32_t)(first + taken);
    }
}

void lc_team_own(const lc_team *team, int64_t n_chunks, int64_t *first, int64_t *end)
{
    region_of(team->pool, team->rank, n_chunks, first, end);
}

void lc_team_expect(lc_team *team, lc_ahead ahead)
{
    if (team->ahead.at == ahead.at)
        return;
    team->ahead = (lc_ahead){ahead.at, (size_t)lc_min((int64_t)ahead.n_bytes, LC_AHEAD_BYTES)};
    team->fetched = 0;
}

lc_ahead lc_team_claim(lc_team *team, size_t n_bytes)
{
    const size_t at = team->fetched, n = (size_t)lc_min((int64_t)n_bytes, (int64_t)(team->ahead.n_bytes - at));
    team->fetched += n;
    return (lc_ahead){n ? team->ahead.at + at : NULL, n};
}

void lc_team_fetch(lc_team *team, size_t n_bytes)
{
    const lc_ahead next = lc_team_claim(team, n_bytes);
    for (size_t i = 0; i < next.n_bytes; i += LC_CACHE_LINE)
        __builtin_prefetch(next.at + i, 0, 2); /* the second-level cache will do */
}

/* The end of a stage with something to look forward to. */
static void fetch_until_over(lc_team *team)
{
    while (team->fetched < team->ahead.n_bytes && !stage_over(team->pool, team->stage))
        lc_team_fetch(team, FETCH_BYTES);
}

static void report_done(lc_pool *pool, lc_team *team, int64_t n_chunks)
{
    const uint32_t n = team->n_done;
    team->n_done = 0;
    if (!n || atomic_fetch_add(&pool->n_done, n) + n < n_chunks)
        return;
    atomic_store(&pool->n_done, 0);
    atomic_store(&pool->stage, team->stage + 1);
    wake(pool, &pool->for_stage);
}

int32_t lc_team_take(lc_team *team, int64_t n_chunks)
{
    lc_pool *pool = team->pool;

    team->n_done += team->holds_chunk;
    team->holds_chunk = false;
    if (!stage_over(pool, team->stage)) {
        for (int32_t i = 0; i < pool->n_threads; i++) {
            const int32_t chunk = take_from(pool, team->stage, (team->rank + i) % pool->n_threads, n_chunks);
            if (chunk >= 0) {
                team->holds_chunk = true;
                return chunk;
            }
        }
        report_done(pool, team, n_chunks);
        fetch_until_over(team);
        wait_until(pool, &pool->for_stage, stage_over, team->stage);
    }
    team->n_done = 0;
    team->stage++;
    return -1;
}

void lc_team_abort(lc_team *team)
{
    atomic_store(&team->pool->aborted, true);
    wake(team->pool, &team->pool->for_stage);
}

int32_t lc_team_rank(const lc_team *team) { return team->rank; }

/* ---- jobs ---- */

/* Copies the job of this serial; false if it is over.  A sequence lock: the copy counts only if the serial is the same
 * before and after. */
static bool copy_job(lc_pool *pool, uint64_t serial, uint64_t *job, lc_job_function **function, uint64_t *first_stage)
{
    if (atomic_load(&pool->serial) != serial)
        return false;
    for (int i = 0; i < JOB_WORDS; i++)
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
    const worker *self = argument;
    lc_pool *pool = self->pool;
    uint64_t serial = 0;
    bool apart = false;

    for (;;) {
        wait_until(pool, &pool->for_job, job_posted, serial);
        if (atomic_load(&pool->closing))
            return NULL;
        serial = atomic_load(&pool->serial);
        place(pool, self->rank, atomic_load(&pool->apart), &apart);
        uint64_t job[JOB_WORDS];
        lc_job_function *function;
        lc_team team = {.pool = pool, .rank = self->rank};

        /* Counted before the job is copied: lc_pool_settle, which comes after the job was closed, then either sees
         * this thread inside, or this thread sees the job closed. */
        atomic_fetch_add(&pool->n_inside, 1);
        if ((serial & 1) && copy_job(pool, serial, job, &function, &team.stage))
            function(job, &team);
        atomic_fetch_sub(&pool->n_inside, 1);
        wake(pool, &pool->for_exit);
    }
}

static void post(lc_pool *pool, lc_job_function *function, const uint64_t *words, uint64_t first_stage)
{
    atomic_thread_fence(memory_order_seq_cst); /* the last job was closed before its words change */
    for (int i = 0; i < JOB_WORDS; i++)
        atomic_store_explicit(&pool->job[i], words[i], memory_order_relaxed);
    atomic_store(&pool->function, function);
    atomic_store(&pool->first_stage, first_stage);
    atomic_fetch_add(&pool->serial, 1);
    wake(pool, &pool->for_job);
}

bool lc_pool_run(lc_pool *pool, lc_job_function *function, const void *job, size_t job_bytes, lc_sharing sharing)
{
    uint64_t words[JOB_WORDS] = {0};
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
    atomic_store(&pool->n_done, 0);
    atomic_fetch_add(&pool->stage, 1); /* the counters of this one are as the abort left them */
    atomic_store(&pool->aborted, false);
    return false;
}

void lc_pool_settle(lc_pool *pool) { wait_until(pool, &pool->for_exit, all_outside, 0); }

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
        worker *w = &pool->workers[rank];
        w->pool = pool;
        w->rank = rank;
        if (pthread_create(&w->thread, NULL, work, w))
            break;
        pool->n_started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return pool->n_started == pool->n_threads - 1;
}

lc_status lc_pool_create(int32_t n_threads, lc_pool **out)
{
    if (!out || n_threads < 1 || n_threads > MAX_THREADS)
        return LC_ERR_ARGUMENT;
    const size_t bytes = sizeof(lc_pool) + (size_t)n_threads * sizeof(worker);
    lc_pool *pool = aligned_alloc(LC_CACHE_LINE, bytes);
    if (!pool)
        return LC_ERR_MEMORY;
    memset(pool, 0, bytes);
    pool->n_threads = n_threads;
    pool->cores = lc_cores_find(n_threads);
    pool->n_holders = 1;
    sleepers *all[] = {&pool->for_job, &pool->for_stage, &pool->for_exit};
    bool failed = pthread_mutex_init(&pool->mutex, NULL);
    for (int i = 0; i < 3; i++)
        failed |= pthread_cond_init(&all[i]->changed, NULL) != 0;
    if (failed) {
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
    wake(pool, &pool->for_job);
    for (int32_t i = 1; i <= pool->n_started; i++)
        pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->for_job.changed);
    pthread_cond_destroy(&pool->for_stage.changed);
    pthread_cond_destroy(&pool->for_exit.changed);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}
