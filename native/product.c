/* product.c - one matrix times rows of floats, on its own: what tests and benchmarks call. */
#include "matrix.h"
#include "rounding.h"

/* Tokens that are packed at once. */
#define MULTIPLY_BATCH 512

typedef struct product {
    const lc_matrix *m;
    lc_activations *a;
    const float *x;
    float *y;
    uint8_t *scratch; /* of all threads */
    int32_t n_threads;
} product;

static void multiply(const void *job, lc_team *team)
{
    const product *p = job;
    const lc_matrix *m = p->m;
    lc_activations *a = p->a;
    const int32_t n_tiles = lc_activations_n_tiles(a), width = lc_activations_width(a);
    const lc_grid grid = lc_grid_make(m->n_panels, a->n, m->layout.bytes, p->n_threads);
    const lc_output out = {p->y, m->rows, false};
    uint8_t *scratch = p->scratch + (size_t)lc_team_rank(team) * lc_multiply_scratch_bytes();
    int32_t chunk;

    while ((chunk = lc_team_take(team, n_tiles)) >= 0) {
        const float *rows[LC_TILE] = {NULL};
        for (int32_t t = 0; t < lc_activations_in_tile(a, chunk); t++)
            rows[t] = p->x + (chunk * width + t) * a->cols;
        lc_activations_pack(a, chunk, 0, a->cols, rows);
    }
    while ((chunk = lc_team_take(team, lc_grid_chunks(&grid))) >= 0)
        lc_multiply_chunk(m, a, &grid, chunk, team, scratch, &out);
}

static lc_status multiply_batches(const lc_matrix *m, lc_pool *pool, lc_activations *a, const float *x, int64_t n,
                                  float *y)
{
    const int32_t n_threads = lc_pool_threads(pool);
    const size_t bytes = lc_multiply_scratch_bytes() * (size_t)n_threads;
    uint8_t *scratch = lc_pages_alloc(bytes, false);
    if (!scratch)
        return LC_ERR_MEMORY;
    for (int64_t done = 0; done < n; done += a->n) {
        a->n = (int32_t)lc_min(n - done, MULTIPLY_BATCH);
        a->forms = 1u << lc_multiply_form(m, a);
        const product p = {m, a, x + done * a->cols, y + done * m->rows, scratch, n_threads};
        lc_pool_run(pool, multiply, &p, sizeof p, LC_TOGETHER);
        lc_pool_settle(pool); /* a late thread may read `a` until here */
    }
    lc_pages_free(scratch, bytes);
    return LC_OK;
}

lc_status lc_matrix_multiply(const lc_matrix *m, lc_pool *pool, const float *x, int64_t n, int32_t rounding,
                             float *y)
{
    lc_activations a;
    size_t bytes;

    if (!m || !pool || !x || !y || n < 1 || rounding < 0 || rounding >= LC_N_ROUNDINGS)
        return LC_ERR_ARGUMENT;
    if (m->n_written < m->rows)
        return LC_ERR_STATE;
    const size_t widest = (size_t)lc_max(m->rows, m->layout.cols);
    if (!lc_mul((size_t)n, widest, &bytes) || !lc_mul(bytes, sizeof(float), &bytes))
        return LC_ERR_ARGUMENT;
    if (!lc_activations_alloc(&a, m->kernels, m->layout.cols, lc_min(n, MULTIPLY_BATCH)))
        return LC_ERR_MEMORY;

    a.cols = m->layout.cols;
    a.precision = lc_multiply_precision(rounding, n);
    a.rounded_for = lc_rounded_for(rounding, m->layout.info);
    const lc_status status = multiply_batches(m, pool, &a, x, n, y);
    lc_activations_free(&a);
    return status;
}
