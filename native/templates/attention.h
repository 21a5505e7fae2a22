/* attention.h - attention in tiles with online softmax, written once for every instruction set.
 *
 * Needs what vector.h needs, and ATTENTION_ROWS and ATTENTION_VECTORS: how many queries and how many registers of
 * keys (or of values) one step holds sums for; their product, plus the registers of keys and one, must fit in the
 * set's registers.  After Milakov and Gimelshein, "Online normalizer calculation for softmax" (2018), and Dao et al.,
 * "FlashAttention" (2022): for each tile of keys the scores' maximum may rise, and what was summed before is scaled
 * down to it.
 */

#define TILE_KEYS LC_KEY_TILE
#define TILE_VECTORS (TILE_KEYS / LANES)

/* Asks for the d-th 128 bytes of the next tile's keys and values.  Spread over a tile's computation like this it
 * makes one token's attention a quarter faster; asked for at once it gains nothing. */
LC_INLINE void fetch_next(const lc_attention *a, int32_t key, int32_t d)
{
    const size_t next = (size_t)(key + TILE_KEYS);
    lc_prefetch((const uint8_t *)(a->k + next * (size_t)a->head_dim) + d * 128, 128);
    lc_prefetch((const uint8_t *)(a->v + next * (size_t)a->stride) + d * 128, 128);
}

/* scores[rows][TILE_KEYS] of the keys from key on.  Keys are stored 16 side by side, so that a register is one
 * dimension of many keys and no sum across lanes is needed. */
LC_INLINE void scores_of(const int rows, const lc_attention *a, int32_t row, int32_t key, int32_t n_keys, float *scores)
{
    /* Where many queries use a tile, waiting for it does not matter. */
    const bool few = a->n_rows <= ATTENTION_ROWS && key + TILE_KEYS < a->last;
    for (int32_t first = 0; first < n_keys; first += ATTENTION_VECTORS * LANES) {
        vf sums[ATTENTION_ROWS][ATTENTION_VECTORS];
        const uint16_t *k[ATTENTION_VECTORS];
        #pragma GCC unroll 8
        for (int c = 0; c < ATTENTION_VECTORS; c++) {
            const int32_t at = key + first + c * LANES;
            k[c] = a->k + (size_t)(at / LC_KEY_BLOCK) * (size_t)a->head_dim * LC_KEY_BLOCK + at % LC_KEY_BLOCK;
            #pragma GCC unroll 8
            for (int r = 0; r < rows; r++)
                sums[r][c] = vf_set1(0.0f);
        }
        for (int32_t d = 0; d < a->head_dim; d++) {
            if (few && first == 0)
                fetch_next(a, key, d);
            vf keys[ATTENTION_VECTORS];
            #pragma GCC unroll 8
            for (int c = 0; c < ATTENTION_VECTORS; c++)
                keys[c] = vf_load_f16(k[c] + d * LC_KEY_BLOCK);
            #pragma GCC unroll 8
            for (int r = 0; r < rows; r++) {
                const vf q = vf_set1(a->q[(row + r) * a->stride + d]);
                #pragma GCC unroll 8
                for (int c = 0; c < ATTENTION_VECTORS; c++)
                    sums[r][c] = vf_fma(q, keys[c], sums[r][c]);
            }
        }
        #pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
            #pragma GCC unroll 8
            for (int c = 0; c < ATTENTION_VECTORS; c++)
                vf_store(scores + r * TILE_KEYS + first + c * LANES, sums[r][c]);
    }
}

/* Scores to weights exp(score - top), invisible keys to 0; returns by how much earlier sums shrink. */
LC_INLINE float weights_of(float *scores, int32_t n_visible, float *top, float *sum)
{
    for (int32_t j = n_visible < 0 ? 0 : n_visible; j < TILE_KEYS; j++)
        scores[j] = -INFINITY;
    vf most = vf_load(scores);
    for (int c = 1; c < TILE_VECTORS; c++)
        most = vf_max(most, vf_load(scores + c * LANES));
    const float new_top = fmaxf(*top, vf_highest(most));
    vf total = vf_set1(0.0f);
    for (int c = 0; c < TILE_VECTORS; c++) {
        const vf w = vf_exp(vf_load(scores + c * LANES) - vf_set1(new_top));
        vf_store(scores + c * LANES, w);
        total += w;
    }
    /* exp does not reach 0 by itself: e^-87 each, which is nothing in the sum; but weights must be 0 exactly. */
    for (int32_t j = n_visible < 0 ? 0 : n_visible; j < TILE_KEYS; j++)
        scores[j] = 0.0f;
    const float shrink = expf(*top - new_top);
    *top = new_top;
    *sum = *sum * shrink + vf_sum(total);
    return shrink;
}

/* acc[rows] = acc * shrink + weights * values, over `vectors` registers of dimensions from dim on. */
LC_INLINE void add_values(const int rows, const int vectors, const lc_attention *a, int32_t row, int32_t dim,
                          int32_t key, int32_t n_keys, const float *weights, const float *shrink)
{
    vf sums[ATTENTION_ROWS][ATTENTION_VECTORS];
    #pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
        #pragma GCC unroll 8
        for (int c = 0; c < vectors; c++)
            sums[r][c] = vf_load(a->acc + (row + r) * a->stride + dim + c * LANES) * vf_set1(shrink[r]);
    const uint16_t *v = a->v + (size_t)key * (size_t)a->stride + dim;
    for (int32_t j = 0; j < n_keys; j++, v += a->stride) {
        vf values[ATTENTION_VECTORS];
        #pragma GCC unroll 8
        for (int c = 0; c < vectors; c++)
            values[c] = vf_load_f16(v + c * LANES);
        #pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            const vf w = vf_set1(weights[r * TILE_KEYS + j]);
            #pragma GCC unroll 8
            for (int c = 0; c < vectors; c++)
                sums[r][c] = vf_fma(w, values[c], sums[r][c]);
        }
    }
    #pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
        #pragma GCC unroll 8
        for (int c = 0; c < vectors; c++)
            vf_store(a->acc + (row + r) * a->stride + dim + c * LANES, sums[r][c]);
}

/* One tile of keys for a few queries. */
LC_INLINE void attend_tile(const int rows, const lc_attention *a, int32_t row, int32_t key)
{
    float scores[ATTENTION_ROWS * TILE_KEYS];
    float shrink[ATTENTION_ROWS];
    int32_t last = a->visible[row + rows - 1];
    last = last < a->last ? last : a->last;
    const int32_t n_keys = last - key < TILE_KEYS ? last - key : TILE_KEYS;
    if (n_keys <= 0)
        return;

    scores_of(rows, a, row, key, n_keys, scores);
    for (int r = 0; r < rows; r++) {
        int32_t n_visible = a->visible[row + r] - key;
        n_visible = n_visible < n_keys ? n_visible : n_keys;
        shrink[r] = weights_of(scores + r * TILE_KEYS, n_visible, a->top + row + r, a->sum + row + r);
    }
    int32_t dim = 0;
    for (; dim + ATTENTION_VECTORS * LANES <= a->stride; dim += ATTENTION_VECTORS * LANES)
        add_values(rows, ATTENTION_VECTORS, a, row, dim, key, n_keys, scores, shrink);
    for (; dim < a->stride; dim += LANES)
        add_values(rows, 1, a, row, dim, key, n_keys, scores, shrink);
}

static void attend_tile_1(const lc_attention *a, int32_t row, int32_t key) { attend_tile(1, a, row, key); }
static void attend_tile_2(const lc_attention *a, int32_t row, int32_t key) { attend_tile(2, a, row, key); }
static void attend_tile_3(const lc_attention *a, int32_t row, int32_t key) { attend_tile(3, a, row, key); }
#if ATTENTION_ROWS > 3
static void attend_tile_4(const lc_attention *a, int32_t row, int32_t key) { attend_tile(4, a, row, key); }
#endif
#if ATTENTION_ROWS > 4
static void attend_tile_5(const lc_attention *a, int32_t row, int32_t key) { attend_tile(5, a, row, key); }
static void attend_tile_6(const lc_attention *a, int32_t row, int32_t key) { attend_tile(6, a, row, key); }
#endif

static void attend(const lc_attention *a)
{
    typedef void tile_function(const lc_attention *, int32_t, int32_t);
    static tile_function *const TILES[] = {NULL, attend_tile_1, attend_tile_2, attend_tile_3,
#if ATTENTION_ROWS > 3
                                           attend_tile_4,
#endif
#if ATTENTION_ROWS > 4
                                           attend_tile_5, attend_tile_6,
#endif
    };
    for (int32_t row = 0; row < a->n_rows; row++) {
        /* low, but finite: the first tile's shrink must be a number */
        a->top[row] = -1e30f;
        a->sum[row] = 0.0f;
        memset(a->acc + row * a->stride, 0, (size_t)a->stride * sizeof(float));
    }
    /* All queries use a tile of keys and values while the nearest cache holds it. */
    for (int32_t key = a->first; key < a->last; key += TILE_KEYS)
        for (int32_t row = 0; row < a->n_rows; row += ATTENTION_ROWS) {
            const int32_t left = a->n_rows - row;
            TILES[left < ATTENTION_ROWS ? left : ATTENTION_ROWS](a, row, key);
        }
}
