/* team.c - the stages of a job: who takes which chunk, and when a stage is over. */
#include "ahead.h"
#include "pool_parts.h"

#define FETCH_BYTES 512 /* between two looks */
/* After so many times what a chunk takes (5 to 20 us for one token) those in other threads' hands are tried too: that
 * is less than a tenth of the time for which a scheduler puts a thread aside. */
#define PATIENCE 8

/* Chunks of a stage are cut evenly into regions, one for each thread, who takes those of its own in order, and then
 * helps the others: so neighbouring chunks stay with one processor, as its prefetching and caches like it.  A region's
 * counter holds the number of the stage (43 bits: years) and how many chunks were taken: a counter of an earlier stage
 * means none.  So does a count of chunks done.  A hand holds the stage and one more than the chunk. */
#define CHUNK_BITS 21
#define CHUNK_MASK ((1u << CHUNK_BITS) - 1)

static uint64_t word_of(uint64_t stage, int64_t n) { return stage << CHUNK_BITS | (uint64_t)n; }
static int64_t number_in(uint64_t word, uint64_t stage)
{
    return word >> CHUNK_BITS == stage ? (int64_t)(word & CHUNK_MASK) : 0;
}

static bool stage_over(lc_pool *pool, uint64_t stage)
{
    return atomic_load(&pool->stage) != stage || atomic_load(&pool->aborted);
}

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
        const int64_t taken = number_in(seen, stage);
        if (seen >> CHUNK_BITS > stage || first + taken >= end)
            return -1;
        if (atomic_compare_exchange_weak(counter, &seen, word_of(stage, taken + 1)))
            return (int32_t)(first + taken);
    }
}

void lc_team_own(const lc_team *team, int64_t n_chunks, int64_t *first, int64_t *end)
{
    region_of(team->pool, team->rank, n_chunks, first, end);
}

void lc_team_expect(lc_team *team, lc_expected ahead)
{
    if (team->ahead.at == ahead.at)
        return;
    team->ahead = (lc_expected){ahead.at, (size_t)lc_min((int64_t)ahead.n_bytes, LC_EXPECTED_BYTES)};
    team->fetched = 0;
}

void lc_team_fetch(lc_team *team, size_t n_bytes)
{
    const size_t at = team->fetched, n = (size_t)lc_min((int64_t)n_bytes, (int64_t)(team->ahead.n_bytes - at));
    lc_ahead_later(team->ahead.at + at, n);
    team->fetched += n;
}

/* The end of a stage with something to look forward to. */
static void fetch_until_over(lc_team *team)
{
    while (team->fetched < team->ahead.n_bytes && !stage_over(team->pool, team->stage))
        lc_team_fetch(team, FETCH_BYTES);
}

/* ---- the end of a stage ---- */

/* The chunk in hand is done. */
static void put_down(lc_team *team)
{
    _Atomic uint64_t *done = &team->pool->workers[team->rank].done;
    uint64_t seen = atomic_load(done);
    if (team->holds_chunk) /* another thread may be counting them */
        while (!atomic_compare_exchange_weak(done, &seen, word_of(team->stage, number_in(seen, team->stage) + 1)))
            continue;
    team->holds_chunk = false;
    team->hand = 0;
}

/* Counts what the thread of this rank has done, whoever calls it; the last chunk ends the stage. */
static void count(lc_team *team, int32_t rank, int64_t n_chunks)
{
    lc_pool *pool = team->pool;
    _Atomic uint64_t *done = &pool->workers[rank].done;
    uint64_t seen = atomic_load(done);
    int64_t n;
    do {
        n = number_in(seen, team->stage);
        if (!n)
            return;
    } while (!atomic_compare_exchange_weak(done, &seen, 0));
    if (atomic_fetch_add(&pool->n_done, (uint32_t)n) + (uint32_t)n < n_chunks)
        return;
    atomic_store(&pool->n_done, 0);
    atomic_store(&pool->stage, team->stage + 1);
    lc_wake(&pool->for_stage);
}

/* The next chunk that nobody has taken, or -1 when there is none; own ones first. */
static int32_t take_any(lc_team *team, int64_t n_chunks)
{
    lc_pool *pool = team->pool;
    for (int32_t i = 0; i < pool->n_threads; i++) {
        const int32_t chunk = take_from(pool, team->stage, (team->rank + i) % pool->n_threads, n_chunks);
        if (chunk >= 0)
            return chunk;
    }
    return -1;
}

/* All chunks are taken: what can be done until they are done. */
static void end_stage(lc_team *team, int64_t n_chunks)
{
    count(team, team->rank, n_chunks);
    fetch_until_over(team);
}

int32_t lc_team_take(lc_team *team, int64_t n_chunks)
{
    lc_pool *pool = team->pool;
    put_down(team);
    if (!stage_over(pool, team->stage)) {
        const int32_t chunk = take_any(team, n_chunks);
        if (chunk >= 0) {
            team->holds_chunk = true;
            return chunk;
        }
        end_stage(team, n_chunks);
        lc_wait(&pool->for_stage, stage_over, pool, team->stage);
    }
    team->stage++;
    return -1;
}

/* ---- chunks that several threads may try ---- */

static int32_t try_chunk(lc_team *team, int32_t rank, uint64_t hand)
{
    team->hand_rank = rank;
    team->hand = hand;
    return (int32_t)(hand & CHUNK_MASK) - 1;
}

/* A chunk of this stage in another thread's hand, or -1. */
static int32_t try_again(lc_team *team, int64_t n_chunks)
{
    lc_pool *pool = team->pool;
    for (int32_t i = 1; i < pool->n_threads; i++) {
        const int32_t rank = (team->rank + i) % pool->n_threads;
        const uint64_t hand = atomic_load(&pool->workers[rank].hand);
        count(team, rank, n_chunks);
        if (number_in(hand, team->stage))
            return try_chunk(team, rank, hand);
    }
    return -1;
}

int32_t lc_team_try(lc_team *team, int64_t n_chunks, int64_t chunk_ns)
{
    lc_pool *pool = team->pool;
    put_down(team);
    if (!stage_over(pool, team->stage)) {
        int32_t chunk = take_any(team, n_chunks);
        if (chunk >= 0) {
            const uint64_t hand = word_of(team->stage, chunk + 1);
            atomic_store(&pool->workers[team->rank].hand, hand);
            return try_chunk(team, team->rank, hand);
        }
        end_stage(team, n_chunks);
        if (!lc_look(stage_over, pool, team->stage, PATIENCE * chunk_ns) && (chunk = try_again(team, n_chunks)) >= 0)
            return chunk;
        lc_wait(&pool->for_stage, stage_over, pool, team->stage);
    }
    team->stage++;
    return -1;
}

bool lc_team_win(lc_team *team)
{
    if (team->hand)
        team->holds_chunk = atomic_compare_exchange_strong(&team->pool->workers[team->hand_rank].hand, &team->hand, 0);
    return team->holds_chunk;
}

/* ---- */

void lc_team_abort(lc_team *team)
{
    atomic_store(&team->pool->aborted, true);
    lc_wake(&team->pool->for_stage);
}

void lc_team_forget(lc_pool *pool)
{
    for (int32_t i = 0; i < pool->n_threads; i++) {
        atomic_store(&pool->workers[i].hand, 0);
        atomic_store(&pool->workers[i].done, 0);
    }
    atomic_store(&pool->n_done, 0);
    atomic_fetch_add(&pool->stage, 1); /* the counters of this one are as the abort left them */
}

int32_t lc_team_rank(const lc_team *team) { return team->rank; }
