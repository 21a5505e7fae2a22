/* multiply.c - the loops around the dot kernels. */
#include "matrix.h"

/* Weights that one chunk of a single token's product reads, at least; and chunks for each thread, so that threads end
 * together although one was interrupted.  More chunks cost more than they gain while they are small: each one begins
 * with a wait for memory (a 135M model, 2 threads: 1.22 ms a token with 2, 1.33 with 4).  A large chunk's wait does not
 * show, but the other threads' for the last of them does (a 1.1B model: 12 % of the time, 3 % with this limit). */
#define CHUNK_BYTES ((size_t)8 << 10)
#define CHUNK_BYTES_MOST ((size_t)128 << 10)
#define CHUNKS_PER_THREAD 2
/* A prompt's chunk: a few panels, which stay in the second-level cache, by some tiles. */
#define PROMPT_PANELS 4
#define PROMPT_TILES 8

lc_grid lc_grid_make(int64_t n_panels, int32_t n_tiles, size_t panel_bytes, int32_t n_threads)
{
    lc_grid grid = {.panels = PROMPT_PANELS, .tiles = (int32_t)lc_min(n_tiles, PROMPT_TILES)};
    if (n_tiles == 1) {
        const int64_t least = (int64_t)(CHUNK_BYTES / panel_bytes), most = (int64_t)(CHUNK_BYTES_MOST / panel_bytes);
        grid.panels = lc_min(n_panels / (CHUNKS_PER_THREAD * n_threads), most);
        grid.panels = lc_max(lc_max(least, grid.panels), 1);
    }
    grid.panels = lc_max(grid.panels, lc_ceil_div(n_panels, LC_STAGE_CHUNKS / 256));
    grid.tiles = (int32_t)lc_max(grid.tiles, lc_ceil_div(n_tiles, 64));
    grid.n_across = lc_ceil_div(n_panels, grid.panels);
    grid.n_down = lc_ceil_div(n_tiles, grid.tiles);
    return grid;
}

/* The part of the product that a chunk is. */
typedef struct span {
    int64_t panel, panel_end;
    int32_t tile, tile_end;
} span;

static span span_of(const lc_matrix *m, const lc_activations *a, const lc_grid *grid, int64_t chunk)
{
    const int64_t across = chunk % grid->n_across, down = chunk / grid->n_across;
    return (span){
        .panel = across * grid->panels,
        .panel_end = lc_min((across + 1) * grid->panels, m->n_panels),
        .tile = (int32_t)down * grid->tiles,
        .tile_end = (int32_t)lc_min((down + 1) * grid->tiles, lc_activations_n_tiles(a)),
    };
}

LC_INLINE void dot(const lc_matrix *m, const lc_activations *a, int64_t panel, int32_t tile, float *out)
{
    m->dot(&m->layout, m->panels + (size_t)panel * m->layout.bytes, lc_activations_tile(a, m->form, tile),
           lc_activations_in_tile(a, tile), out);
}

/* Moves a panel's results [n][rows of a panel] to their rows of y. */
static void deliver(const lc_matrix *m, const lc_activations *a, int64_t panel, int32_t tile, const float *results,
                    const lc_output *out)
{
    const int32_t n = lc_activations_in_tile(a, tile), width = m->layout.rows;
    const int64_t row = panel * width;
    const int64_t n_rows = lc_min(width, m->rows - row);

    for (int32_t t = 0; t < n; t++) {
        float *y = out->y + (tile * a->kernels->tile + t) * out->stride + row;
        const float *from = results + t * width;
        if (out->add)
            for (int64_t r = 0; r < n_rows; r++)
                y[r] += from[r];
        else
            memcpy(y, from, (size_t)n_rows * sizeof(float));
    }
}

void lc_multiply_prefetch(const lc_matrix *m, const lc_grid *grid, int64_t chunk)
{
    const uint8_t *first = m->panels + (size_t)(chunk % grid->n_across * grid->panels) * m->layout.bytes;
    lc_prefetch(first, (size_t)lc_min(LC_PREFETCH_AHEAD, (int64_t)m->layout.bytes));
}

/* A tile stays in the first-level cache while the chunk's panels pass. */
void lc_multiply_chunk(const lc_matrix *m, const lc_activations *a, const lc_grid *grid, int64_t chunk,
                       const lc_output *out)
{
    const span s = span_of(m, a, grid, chunk);
    _Alignas(LC_CACHE_LINE) float results[LC_TILE_MAX * LC_PANEL_ROWS_MAX];
    for (int32_t tile = s.tile; tile < s.tile_end; tile++)
        for (int64_t panel = s.panel; panel < s.panel_end; panel++) {
            dot(m, a, panel, tile, results);
            deliver(m, a, panel, tile, results, out);
        }
}

void lc_multiply_gated_chunk(const lc_matrix *gate, const lc_matrix *up, const lc_activations *a, const lc_grid *grid,
                             int64_t chunk, const lc_output *out)
{
    const span s = span_of(gate, a, grid, chunk);
    _Alignas(LC_CACHE_LINE) float results[LC_TILE_MAX * LC_PANEL_ROWS_MAX];
    _Alignas(LC_CACHE_LINE) float factors[LC_TILE_MAX * LC_PANEL_ROWS_MAX];
    for (int32_t tile = s.tile; tile < s.tile_end; tile++)
        for (int64_t panel = s.panel; panel < s.panel_end; panel++) {
            dot(gate, a, panel, tile, results);
            dot(up, a, panel, tile, factors);
            a->kernels->swiglu(results, factors, lc_activations_in_tile(a, tile) * gate->layout.rows);
            deliver(gate, a, panel, tile, results, out);
        }
}
