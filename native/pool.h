/* pool.h - threads that work through the stages of a job together.
 *
 * Every thread of the pool runs the same function on the same job.  The function is a sequence of stages; a stage is a
 * number of chunks, and a loop that takes them one by one:
 *
 *     while ((chunk = lc_team_take(team, n_chunks)) >= 0)
 *         ... one chunk ...
 *
 * lc_team_take returns -1 only when all chunks of the stage are done, by whatever thread; so the next stage may read
 * what this one wrote.  A thread that comes late finds the past stages done and passes through them: nobody is waited
 * for unless it holds a chunk.
 *
 * Where a chunk takes microseconds, a thread that another program's time slice puts aside for milliseconds with a chunk
 * in hand would cost hundreds of chunks.  There a stage is one of trials:
 *
 *     while ((chunk = lc_team_try(team, n_chunks, chunk_ns)) >= 0) {
 *         ... one chunk, into memory of the thread's own ...
 *         if (lc_team_win(team))
 *             ... put the results where others see them ...
 *     }
 *
 * A chunk that keeps the others waiting is tried by one of them too, and whoever is first delivers it.  That is what
 * keeps an answer going when another program takes a core away.
 *
 * Before it has been given a chunk to do, a thread may read only its copy of the job and what outlives all jobs: a late
 * one may still be inside when the caller has gone on.  So may one that tries a chunk: it may read what is there
 * until lc_pool_settle, and if that has changed under its hands, it does not win.  Which thread does a chunk must not
 * change its result.
 */
#ifndef LC_POOL_H
#define LC_POOL_H

#include "base.h"

typedef struct lc_team lc_team; /* one thread's place in a job */
typedef void lc_job_function(const void *job, lc_team *team);

#define LC_JOB_BYTES 64
#define LC_STAGE_CHUNKS (1 << 20)

/* How a job is shared, by the length of its stages. */
typedef enum lc_sharing {
    LC_ALONE,    /* shorter than it takes to share them (a microsecond): the other threads are left asleep */
    LC_TOGETHER, /* where the threads run is the scheduler's choice */
    LC_APART     /* as long as its time slices (milliseconds): see cores.h */
} lc_sharing;

/* Runs function in every thread, the caller included, each with a copy of the job; true when every stage is done,
 * false if the job was aborted. */
bool lc_pool_run(lc_pool *pool, lc_job_function *function, const void *job, size_t job_bytes, lc_sharing sharing);
/* Waits until no thread is inside an old job: after this the memory that jobs used may be freed. */
void lc_pool_settle(lc_pool *pool);
int32_t lc_pool_threads(const lc_pool *pool);
/* One more holder, who frees it with lc_pool_free: the last one ends the threads. */
void lc_pool_hold(lc_pool *pool);

/* The next chunk (0..n_chunks-1) of the current stage, or -1 when the stage is done and the next one begins.
 * n_chunks (1..LC_STAGE_CHUNKS) is the same in all threads. */
int32_t lc_team_take(lc_team *team, int64_t n_chunks);
/* The same for a stage of trials, and whether this thread is the first: then it must deliver.  (A chunk that was taken
 * is always won.)  The kind of a stage is the same in all threads.  chunk_ns is about what a chunk takes: one that
 * takes eight times as long is tried by others too. */
int32_t lc_team_try(lc_team *team, int64_t n_chunks, int64_t chunk_ns);
bool lc_team_win(lc_team *team);
/* The chunks first..end-1 of a stage with n_chunks are those that this thread is given, unless it comes late. */
void lc_team_own(const lc_team *team, int64_t n_chunks, int64_t *first, int64_t *end);

/* ---- memory that a thread will read soon, and asks for when it has nothing to wait for but other threads ---- */

typedef struct lc_expected {
    const uint8_t *at;
    size_t n_bytes;
} lc_expected;

/* At most: what is asked for shall still be in the second-level cache when it is read. */
#define LC_EXPECTED_BYTES (256 << 10)

/* This is what the thread reads first of the next product.  Whenever it waits for the end of a stage it asks for it.
 * Naming the same again begins nothing anew. */
void lc_team_expect(lc_team *team, lc_expected ahead);
/* Asks for the next n_bytes of it. */
void lc_team_fetch(lc_team *team, size_t n_bytes);

/* Ends the job: every lc_team_take returns -1 from now on.  lc_pool_run then waits for chunks in hand. */
void lc_team_abort(lc_team *team);
/* 0 for the caller, up to the number of threads. */
int32_t lc_team_rank(const lc_team *team);

#endif
