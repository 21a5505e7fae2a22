/* matrix.c - making matrices: repacking rows, and reading them back. */
#include "matrix.h"

#include <stdlib.h>

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
