/* pool_parts.h - what pool.c (jobs) and team.c (their stages) share. */
#ifndef LC_POOL_PARTS_H
#define LC_POOL_PARTS_H

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>

#include "cores.h"
#include "pool.h"
#include "waiting.h"

#define LC_JOB_WORDS (LC_JOB_BYTES / 8)

/* What others see of a thread. */
typedef struct lc_worker {
    alignas(LC_CACHE_LINE) _Atomic uint64_t taken; /* of its region: see team.c */
    _Atomic uint64_t done; /* chunks that it has done, not yet counted in the pool's */
    _Atomic uint64_t hand; /* the chunk that it tries, which others may try too; 0: none */
    pthread_t thread;
    lc_pool *pool;
    int32_t rank;
} lc_worker;

struct lc_pool {
    alignas(LC_CACHE_LINE) _Atomic uint64_t stage; /* counted since the pool began */
    alignas(LC_CACHE_LINE) _Atomic uint32_t n_done; /* chunks of this stage */
    alignas(LC_CACHE_LINE) _Atomic uint64_t serial; /* of the job; odd while one runs, even between jobs */
    _Atomic uint64_t first_stage;
    _Atomic(lc_job_function *) function;
    _Atomic uint64_t job[LC_JOB_WORDS];
    alignas(LC_CACHE_LINE) _Atomic int32_t n_inside; /* workers inside a job */
    _Atomic bool aborted, closing, apart;
    _Atomic int32_t n_holders;
    lc_sleepers for_job, for_stage, for_exit;
    int32_t n_threads, n_started;
    lc_cores cores;
    lc_worker workers[]; /* by rank; the caller's first */
};

struct lc_team {
    lc_pool *pool;
    uint64_t stage;
    int32_t rank;
    bool holds_chunk;  /* that counts as done when the next one is asked for */
    int32_t hand_rank; /* whose hand the chunk is in that this thread tries */
    uint64_t hand;     /* what that hand holds; 0: this thread tries none */
    lc_expected ahead;
    size_t fetched;    /* bytes of it that were asked for */
};

/* team.c: forgets what an aborted job left undone; no thread is inside. */
void lc_team_forget(lc_pool *pool);

#endif
