/* matrix.h - a matrix of weights in panels, and its product with activations. */
#ifndef LC_MATRIX_H
#define LC_MATRIX_H

#include <stdatomic.h>

#include "activations.h"
#include "memory.h"
#include "pool.h"

struct lc_matrix {
    const lc_kernels *kernels;
    lc_panel_layout layout;
    lc_dot_kernel *dot;
    lc_form form;             /* of the activations that dot reads */
    lc_gemm gemm[LC_N_PRECISIONS];
    int64_t rows, n_panels;
    uint8_t *panels;          /* NULL until the matrix is placed */
    size_t stride;            /* from one panel to the next: two of a pair lie in turn */
    _Atomic uint64_t *taken;  /* one bit per row: written, or being written */
    _Atomic int64_t n_written;
    lc_arena own;             /* of a matrix that belongs to no model */
};

/* A matrix that has no memory for its weights yet; LC_ERR_TYPE, LC_ERR_SHAPE, LC_ERR_ARGUMENT, LC_ERR_MEMORY. */
lc_status lc_matrix_init(lc_matrix *m, const lc_kernels *kernels, int32_t type, int64_t rows, int64_t cols);
/* Whether products of one token shall leave it in the last-level cache; init asks for that if it has room there. */
void lc_matrix_keep(lc_matrix *m, bool keep);
/* Gives it memory of the arena, once; LC_ERR_ARGUMENT (sizes overflow), LC_ERR_MEMORY. */
lc_status lc_matrix_place(lc_matrix *m, lc_arena *arena);
/* The same for two matrices of one shape that are always read together.  Where their types agree their panels lie in
 * turn, so that one thread reads one stream: two streams in turn cost a tenth of the speed, for each begins anew with
 * every panel. */
lc_status lc_matrix_place_pair(lc_matrix *a, lc_matrix *b, lc_arena *arena);
/* Whether it is the first of such a pair, and this the second. */
LC_INLINE bool lc_matrix_paired(const lc_matrix *a, const lc_matrix *b)
{
    return b->panels == a->panels + a->layout.bytes && a->stride == 2 * a->layout.bytes;
}
/* Frees what init allocated, which is not of the arena. */
void lc_matrix_clear(lc_matrix *m);

/* ---- products, in chunks for a pool ---- */

/* How a product of one or more matrices with the same activations is cut: by panels, and by tiles of tokens. */
typedef struct lc_grid {
    int64_t panels;            /* a chunk's */
    int32_t tiles;
    int64_t n_across, n_down;  /* chunks: of panels, of tiles */
} lc_grid;

lc_grid lc_grid_make(int64_t n_panels, int32_t n_tokens, size_t panel_bytes, int32_t n_threads);
LC_INLINE int64_t lc_grid_chunks(const lc_grid *grid) { return grid->n_across * grid->n_down; }

/* Where results go: y[token][stride]; added to what is there, or stored. */
typedef struct lc_output {
    float *y;
    int64_t stride;
    bool add;
} lc_output;

/* One token: where a chunk's weights begin, and the bytes of the chunks first..end-1, which lie one after the other
 * (end may be past the last). */
const uint8_t *lc_multiply_address(const lc_matrix *m, const lc_grid *grid, int64_t chunk);
size_t lc_multiply_bytes(const lc_matrix *m, const lc_grid *grid, int64_t first, int64_t end);
/* Chunk number `chunk` of y = m * activations.  scratch: lc_multiply_scratch_bytes at a 64-byte boundary, for this
 * thread.  Chunks of one token may be trials (pool.h), those of several tokens must be taken. */
void lc_multiply_chunk(const lc_matrix *m, const lc_activations *a, const lc_grid *grid, int64_t chunk, lc_team *team,
                       uint8_t *scratch, const lc_output *out);
/* The same for y = silu(gate * activations) * (up * activations): the gated half of the feed-forward. */
void lc_multiply_gated_chunk(const lc_matrix *gate, const lc_matrix *up, const lc_activations *a, const lc_grid *grid,
                             int64_t chunk, lc_team *team, uint8_t *scratch, const lc_output *out);
size_t lc_multiply_scratch_bytes(void);

/* Products of at least this many tokens are fast where that is wanted.  Fewer are what one more question in a
 * chat comes to, and are over soon; nor does one of them decide much, while a short prompt's few keys decide
 * everything. */
#define LC_FAST_TOKENS 64
lc_precision lc_multiply_precision(int32_t rounding, int64_t n);
/* The form that m needs of activations whose n and precision are set. */
lc_form lc_multiply_form(const lc_matrix *m, const lc_activations *a);

#endif
