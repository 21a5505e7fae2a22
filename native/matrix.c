/* matrix.c - making matrices: repacking rows, reading them back, and the public product. */
#include "matrix.h"

#include <stdlib.h>

#include "rounding.h"

/* Tokens of a public product that are packed at once. */
#define MULTIPLY_BATCH 512

lc_status lc_matrix_init(lc_matrix *m, const lc_kernels *kernels, int32_t type, int64_t rows, int64_t cols)
{
    const lc_type_info *info = lc_type_find(type);
    if (!info)
        return LC_ERR_TYPE;
    if (rows < 1 || cols < 1 || rows > INT32_MAX || cols > INT32_MAX)
        return LC_ERR_ARGUMENT;

    *m = (lc_matrix){.kernels = kernels, .form = kernels->form(info), .rows = rows};
    for (int i = 0; i < LC_N_PRECISIONS; i++)
        m->gemm[i] = kernels->gemm(info, (lc_precision)i);
    const lc_status status = lc_panel_layout_make(info, kernels->panel, cols, &m->layout);
    if (status)
        return status;
    m->layout.ahead = lc_ahead_distance(info);
    m->stride = m->layout.bytes;
    m->n_panels = lc_ceil_div(rows, kernels->panel);
    lc_matrix_keep(m, lc_ahead_room(lc_matrix_bytes(m)) == lc_matrix_bytes(m));
    m->taken = calloc((size_t)lc_ceil_div(rows, 64), sizeof *m->taken);
    return m->taken ? LC_OK : LC_ERR_MEMORY;
}

void lc_matrix_keep(lc_matrix *m, bool keep)
{
    m->dot = m->kernels->dot(m->layout.info, keep ? LC_AGAIN : LC_ONCE);
}

lc_status lc_matrix_place(lc_matrix *m, lc_arena *arena)
{
    size_t bytes;
    if (!lc_mul((size_t)m->n_panels, m->stride, &bytes))
        return LC_ERR_ARGUMENT;
    m->panels = lc_arena_alloc(arena, bytes);
    return m->panels ? LC_OK : LC_ERR_MEMORY;
}

lc_status lc_matrix_place_pair(lc_matrix *a, lc_matrix *b, lc_arena *arena)
{
    lc_status status = LC_OK;
    if (a->layout.info == b->layout.info) {
        a->stride = b->stride = 2 * a->layout.bytes; /* fits: a layout's bytes are at most SIZE_MAX / 2 */
        status = lc_matrix_place(a, arena);
        if (status)
            a->stride = b->stride = a->layout.bytes;
        else
            b->panels = a->panels + a->layout.bytes;
        return status;
    }
    if (!a->panels)
        status = lc_matrix_place(a, arena);
    return status || b->panels ? status : lc_matrix_place(b, arena);
}

void lc_matrix_clear(lc_matrix *m)
{
    free((void *)m->taken);
    lc_arena_free(&m->own);
    *m = (lc_matrix){0};
}

lc_status lc_matrix_create(int32_t type, int64_t rows, int64_t cols, lc_matrix **out)
{
    if (!out)
        return LC_ERR_ARGUMENT;
    lc_matrix *m = malloc(sizeof *m);
    if (!m)
        return LC_ERR_MEMORY;
    lc_status status = lc_matrix_init(m, lc_kernels_selected(), type, rows, cols);
    if (!status) {
        status = lc_matrix_place(m, &m->own);
        if (status)
            lc_matrix_clear(m);
    }
    if (status) {
        free(m);
        return status;
    }
    *out = m;
    return LC_OK;
}

void lc_matrix_free(lc_matrix *m)
{
    if (m)
        lc_matrix_clear(m);
    free(m);
}

size_t lc_matrix_bytes(const lc_matrix *m) { return m ? (size_t)m->n_panels * m->layout.bytes : 0; }

LC_INLINE uint8_t *panel_of_row(const lc_matrix *m, int64_t row)
{
    return m->panels + (size_t)(row / m->layout.rows) * m->stride;
}

LC_INLINE bool is_taken(const lc_matrix *m, int64_t row) { return atomic_load(&m->taken[row / 64]) >> row % 64 & 1; }

/* The bits of the rows first..last-1 in their first word. */
LC_INLINE uint64_t bits_of(int64_t first, int64_t last)
{
    const int64_t n = lc_min(last - first, 64 - first % 64);
    return (UINT64_MAX >> (64 - n)) << first % 64;
}

LC_INLINE int64_t next_word(int64_t row) { return row - row % 64 + 64; }

static void give_back(lc_matrix *m, int64_t first, int64_t last)
{
    for (int64_t row = first; row < last; row = next_word(row))
        atomic_fetch_and(&m->taken[row / 64], ~bits_of(row, last));
}

/* Takes rows for the caller alone; false, and nothing is taken, if one of them is somebody's.  Of two callers whose
 * rows overlap one gets them: both go upwards, and the first word that they share decides. */
static bool take(lc_matrix *m, int64_t first, int64_t last)
{
    for (int64_t row = first; row < last; row = next_word(row)) {
        const uint64_t bits = bits_of(row, last);
        const uint64_t before = atomic_fetch_or(&m->taken[row / 64], bits);
        if (!(before & bits))
            continue;
        atomic_fetch_and(&m->taken[row / 64], ~bits | before);
        give_back(m, first, row);
        return false;
    }
    return true;
}

/* Whether all of them are finite. */
static bool put_rows(lc_matrix *m, int64_t first, int64_t last, const uint8_t *src)
{
    const lc_panel_layout *layout = &m->layout;
    bool finite = true;

    for (int64_t row = first, n; row < last && finite; row += n, src += (size_t)n * layout->row_bytes) {
        const int64_t at = row % layout->rows;
        n = at == 0 && last - row >= layout->rows ? layout->rows : 1;
        if (n > 1) {
            finite = lc_panel_put_all(layout, panel_of_row(m, row), src);
        } else {
            finite = lc_type_all_finite(layout->info, src, layout->row_bytes);
            lc_panel_put(layout, panel_of_row(m, row), (int32_t)at, src);
        }
    }
    return finite;
}

lc_status lc_matrix_write(lc_matrix *m, int64_t first_row, int64_t n_rows, const void *bytes, size_t n_bytes)
{
    size_t expected;
    if (!m || !bytes || first_row < 0 || n_rows < 1)
        return LC_ERR_ARGUMENT;
    if (first_row > m->rows || n_rows > m->rows - first_row)
        return LC_ERR_SHAPE;
    if (!lc_mul((size_t)n_rows, m->layout.row_bytes, &expected) || expected != n_bytes)
        return LC_ERR_SHAPE;
    const int64_t last = first_row + n_rows;
    if (!take(m, first_row, last))
        return LC_ERR_STATE;
    if (!put_rows(m, first_row, last, bytes)) {
        give_back(m, first_row, last); /* what they hold now is never read: rows that are not taken count as missing */
        return LC_ERR_NONFINITE;
    }
    atomic_fetch_add(&m->n_written, n_rows);
    return LC_OK;
}

lc_status lc_matrix_row(const lc_matrix *m, int64_t row, float *dst)
{
    if (!m || !dst || row < 0 || row >= m->rows)
        return LC_ERR_ARGUMENT;
    if (!is_taken(m, row))
        return LC_ERR_STATE;
    lc_panel_expand(&m->layout, panel_of_row(m, row), (int32_t)(row % m->layout.rows), dst);
    return LC_OK;
}

/* ---- the public product ---- */

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
