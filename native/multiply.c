/* multiply.c - the loops around the kernels. */
#include "matrix.h"

/* Weights that one chunk of a single token's product reads, at least; and chunks for each thread, so that threads end
 * together although one was interrupted.  More chunks cost more than they gain while they are small: each one begins
 * with a wait for memory (a 135M model, 2 threads: 1.22 ms a token with 2, 1.33 with 4).  A large chunk's wait does not
 * show, but the other threads' for the last of them does (a 1.1B model: 12 % of the time, 3 % with this limit). */
#define CHUNK_BYTES ((size_t)8 << 10)
#define CHUNK_BYTES_MOST ((size_t)128 << 10)
#define CHUNKS_PER_THREAD 2
/* Several tokens: a chunk's tiles and pairs of panels, whose sums and a slice of whose activations stay in the
 * second-level cache (512 tokens: 128 KB for two pairs, twice that for a gated product, beside 430 KB).  Where there
 * are few pairs one at a time shares out better. */
#define SPAN_TILES (512 / LC_TILE)
#define SPAN_PAIRS 2
#define FEW_PAIRS 16 /* for each thread */

/* So that a stage of three products has room for their chunks. */
#define ACROSS_MOST_ONE (LC_STAGE_CHUNKS / 4)
#define ACROSS_MOST_SEVERAL (LC_STAGE_CHUNKS / 256)

#define TILE_SUMS (LC_PAIR * LC_TILE * LC_PANEL_ROWS_MAX)
#define SPAN_SUMS (SPAN_PAIRS * SPAN_TILES * TILE_SUMS)

lc_grid lc_grid_make(int64_t n_panels, int32_t n_tokens, size_t panel_bytes, int32_t n_threads)
{
    lc_grid grid = {.tiles = 1, .n_down = 1};
    const int64_t n_tiles = lc_ceil_div(n_tokens, LC_TILE);
    if (n_tokens == 1) {
        const int64_t least = (int64_t)(CHUNK_BYTES / panel_bytes), most = (int64_t)(CHUNK_BYTES_MOST / panel_bytes);
        grid.panels = lc_min(n_panels / (CHUNKS_PER_THREAD * n_threads), most);
        grid.panels = lc_max(lc_max(least, grid.panels), LC_PAIR);
        grid.panels = lc_max(grid.panels, lc_ceil_div(n_panels, ACROSS_MOST_ONE));
    } else {
        grid.tiles = (int32_t)lc_ceil_div(n_tiles, lc_ceil_div(n_tiles, SPAN_TILES));
        grid.n_down = lc_ceil_div(n_tiles, grid.tiles);
        grid.panels = n_panels >= (int64_t)FEW_PAIRS * LC_PAIR * n_threads ? SPAN_PAIRS * LC_PAIR : LC_PAIR;
        grid.panels = lc_max(grid.panels, lc_round_up(lc_ceil_div(n_panels, ACROSS_MOST_SEVERAL), LC_PAIR));
    }
    grid.n_across = lc_ceil_div(n_panels, grid.panels);
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

LC_INLINE const uint8_t *panel_at(const lc_matrix *m, int64_t panel)
{
    return m->panels + (size_t)panel * m->stride;
}

/* Moves one token's results of a panel to their rows of y. */
LC_INLINE void deliver(const lc_matrix *m, int64_t panel, int32_t token, const float *from, const lc_output *out)
{
    const int32_t width = m->layout.rows;
    const int64_t row = panel * width, n_rows = lc_min(width, m->rows - row);
    float *y = out->y + token * out->stride + row;

    if (n_rows == LC_PANEL_ROWS_MAX && out->add)
        for (int r = 0; r < LC_PANEL_ROWS_MAX; r++)
            y[r] += from[r];
    else if (n_rows == LC_PANEL_ROWS_MAX)
        memcpy(y, from, LC_PANEL_ROWS_MAX * sizeof(float));
    else
        for (int64_t r = 0; r < n_rows; r++)
            y[r] = out->add ? y[r] + from[r] : from[r];
}

/* ---- one token ---- */

/* results[panel][row] of a chunk. */
static void multiply_one(const lc_matrix *m, const lc_activations *a, const span *s, float *results)
{
    for (int64_t panel = s->panel; panel < s->panel_end; panel++, results += m->layout.rows)
        m->dot(&m->layout, panel_at(m, panel), a->tiles[m->form], results);
}

/* Computed before their gates are opened: the exponentials of several panels do not wait for each other. */
#define GATED_PANELS 16

/* n panels of the gate and of its partner: in turn where they lie so, else one stream after the other. */
static void multiply_gates(const lc_matrix *gate, const lc_matrix *up, const lc_activations *a, int64_t first,
                           int64_t n, float *results, float *factors)
{
    const int64_t rows = gate->layout.rows;
    const bool paired = lc_matrix_paired(gate, up);
    for (int64_t i = 0; i < n; i++) {
        gate->dot(&gate->layout, panel_at(gate, first + i), a->tiles[gate->form], results + i * rows);
        if (paired)
            up->dot(&up->layout, panel_at(up, first + i), a->tiles[up->form], factors + i * rows);
    }
    for (int64_t i = 0; i < n && !paired; i++)
        up->dot(&up->layout, panel_at(up, first + i), a->tiles[up->form], factors + i * rows);
}

static void multiply_one_gated(const lc_matrix *gate, const lc_matrix *up, const lc_activations *a, const span *s,
                               float *results)
{
    _Alignas(LC_CACHE_LINE) float factors[GATED_PANELS * LC_PANEL_ROWS_MAX];
    const int64_t rows = gate->layout.rows;
    for (int64_t first = s->panel, n; first < s->panel_end; first += n, results += n * rows) {
        n = lc_min(s->panel_end - first, GATED_PANELS);
        multiply_gates(gate, up, a, first, n, results, factors);
        a->kernels->swiglu(results, factors, n * rows);
    }
}

static void deliver_one(const lc_matrix *m, const span *s, const float *results, const lc_output *out)
{
    for (int64_t panel = s->panel; panel < s->panel_end; panel++, results += m->layout.rows)
        deliver(m, panel, 0, results, out);
}

/* ---- several tokens ---- */

size_t lc_multiply_scratch_bytes(void) { return LC_SLICE_BYTES + 2 * SPAN_SUMS * sizeof(float); }

LC_INLINE size_t tile_sums(const lc_matrix *m) { return LC_PAIR * LC_TILE * (size_t)m->layout.rows; }

LC_INLINE float *pair_sums(const lc_matrix *m, const span *s, float *sums, int64_t panel)
{
    return sums + (size_t)(panel - s->panel) / LC_PAIR * (size_t)(s->tile_end - s->tile) * tile_sums(m);
}

/* sums[pair][tile][panel of the pair][token][row] of a span of at most SPAN_PAIRS.  A slice of its weights is unpacked
 * into the nearest cache and meets all tiles; the last panel of an odd number is its own partner. */
static void multiply_span(const lc_matrix *m, const lc_activations *a, const span *s, uint8_t *weights, float *sums)
{
    const lc_gemm *gemm = &m->gemm[a->precision];
    const uint8_t *tiles = lc_activations_tile(a, gemm->form, s->tile);
    const size_t tile_bytes = lc_activations_tile_bytes(a, gemm->form);

    for (int64_t column = 0; column < a->cols; column += gemm->columns) {
        const int64_t n = lc_min(gemm->columns, a->cols - column);
        const uint8_t *at = tiles + lc_form_bytes(gemm->form, LC_TILE, column);
        for (int64_t panel = s->panel; panel < s->panel_end; panel += LC_PAIR) {
            const uint8_t *panels[LC_PAIR] = {panel_at(m, panel), panel_at(m, lc_min(panel + 1, m->n_panels - 1))};
            float *to = pair_sums(m, s, sums, panel);
            if (column == 0)
                memset(to, 0, (size_t)(s->tile_end - s->tile) * tile_sums(m) * sizeof(float));
            gemm->unpack(&m->layout, panels, column, n, weights);
            gemm->multiply(weights, n, at, tile_bytes, s->tile_end - s->tile, to);
        }
    }
}

/* Rows of y lie far apart, in no cache: those of a token some way on are asked for. */
#define DELIVER_AHEAD 16

static void deliver_part(const lc_matrix *m, const lc_activations *a, const span *s, float *sums, const lc_output *out)
{
    const int64_t rows = m->layout.rows;
    for (int32_t tile = s->tile; tile < s->tile_end; tile++)
        for (int32_t t = 0; t < lc_activations_in_tile(a, tile); t++) {
            const int32_t token = tile * LC_TILE + t;
            const float *later = out->y + lc_min(token + DELIVER_AHEAD, a->n - 1) * out->stride;
            for (int64_t panel = s->panel; panel < s->panel_end; panel++) {
                const float *of_tile = pair_sums(m, s, sums, panel) + (size_t)(tile - s->tile) * tile_sums(m);
                lc_ahead_written(later + panel * rows, (size_t)rows * sizeof(float));
                deliver(m, panel, token, of_tile + ((panel - s->panel) % LC_PAIR * LC_TILE + t) * rows, out);
            }
        }
}

/* y = m * activations, or silu(m * activations) * (up * activations). */
static void multiply_several(const lc_matrix *m, const lc_matrix *up, const lc_activations *a, const span *s,
                             uint8_t *scratch, const lc_output *out)
{
    float *sums = (float *)(void *)(scratch + LC_SLICE_BYTES), *factors = sums + SPAN_SUMS;
    for (int64_t panel = s->panel; panel < s->panel_end; panel += SPAN_PAIRS * LC_PAIR) {
        const span part = {panel, lc_min(panel + SPAN_PAIRS * LC_PAIR, s->panel_end), s->tile, s->tile_end};
        multiply_span(m, a, &part, scratch, sums);
        if (up)
            multiply_span(up, a, &part, scratch, factors);
        if (up)
            for (int64_t pair = part.panel; pair < part.panel_end; pair += LC_PAIR)
                a->kernels->swiglu(pair_sums(m, &part, sums, pair), pair_sums(m, &part, factors, pair),
                                   (s->tile_end - s->tile) * (int64_t)tile_sums(m));
        deliver_part(m, a, &part, sums, out);
    }
}

/* ---- chunks ---- */

/* One token: the other threads have read the rows that a chunk's results go to, in the stage before or a layer ago. */
static void expect_results(const lc_matrix *m, const span *s, const lc_output *out)
{
    const int64_t rows = m->layout.rows;
    lc_ahead_written(out->y + s->panel * rows, (size_t)((s->panel_end - s->panel) * rows) * sizeof(float));
}

const uint8_t *lc_multiply_address(const lc_matrix *m, const lc_grid *grid, int64_t chunk)
{
    return panel_at(m, chunk * grid->panels);
}

size_t lc_multiply_bytes(const lc_matrix *m, const lc_grid *grid, int64_t first, int64_t end)
{
    return (size_t)(lc_min(end * grid->panels, m->n_panels) - first * grid->panels) * m->stride;
}

void lc_multiply_chunk(const lc_matrix *m, const lc_activations *a, const lc_grid *grid, int64_t chunk, lc_team *team,
                       uint8_t *scratch, const lc_output *out)
{
    const span s = span_of(m, a, grid, chunk);
    float *results = (float *)(void *)scratch;
    if (a->n > 1) {
        multiply_several(m, NULL, a, &s, scratch, out);
        return;
    }
    expect_results(m, &s, out);
    multiply_one(m, a, &s, results);
    if (lc_team_win(team))
        deliver_one(m, &s, results, out);
}

void lc_multiply_gated_chunk(const lc_matrix *gate, const lc_matrix *up, const lc_activations *a, const lc_grid *grid,
                             int64_t chunk, lc_team *team, uint8_t *scratch, const lc_output *out)
{
    const span s = span_of(gate, a, grid, chunk);
    float *results = (float *)(void *)scratch;
    if (a->n > 1) {
        multiply_several(gate, up, a, &s, scratch, out);
        return;
    }
    expect_results(gate, &s, out);
    multiply_one_gated(gate, up, a, &s, results);
    if (lc_team_win(team))
        deliver_one(gate, &s, results, out);
}

lc_form lc_multiply_form(const lc_matrix *m, const lc_activations *a)
{
    return a->n == 1 ? m->form : m->gemm[a->precision].form;
}

lc_precision lc_multiply_precision(int32_t rounding, int64_t n)
{
    return rounding != LC_ROUND_FAST || n < LC_FAST_TOKENS ? LC_EXACT : LC_FAST;
}
