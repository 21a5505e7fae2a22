/* attention_few.h - attention of a few queries (an answer's), written once for every instruction set.
 *
 * Needs what vector.h needs, vf_load_i8 (int8 to float), and ATTENTION_VECTORS(rows): how many registers of keys (or
 * of values) one step holds sums for, for that many queries.  After Milakov and Gimelshein, "Online normalizer
 * calculation for softmax" (2018), and Dao et al., "FlashAttention" (2022): for each tile of keys the scores' maximum
 * may rise, and what was summed before is scaled down to it.
 *
 * Keys are stored 16 side by side, so that a register is one dimension of many keys and no sum across lanes is needed.
 */

#define TILE_KEYS LC_KEY_TILE
#define TILE_VECTORS (TILE_KEYS / LANES)
#define FEW_ROWS 8

LC_INLINE const uint16_t *halves_at(const uint8_t *p) { return (const uint16_t *)(const void *)p; }

LC_INLINE const uint8_t *key_block(const lc_attention *a, int32_t key)
{
    const int32_t block = key / LC_KEY_BLOCK;
    return block == a->own_block ? a->own_k : a->k + (size_t)block * a->k_bytes;
}

LC_INLINE const uint8_t *value_block(const lc_attention *a, int32_t key)
{
    const int32_t block = key / LC_KEY_BLOCK;
    return block == a->own_block ? a->own_v : a->v + (size_t)block * a->v_bytes;
}

/* Where the tile lies, in the keys or the values, that comes after the one from key on; that one itself where none is
 * known.  It is asked for
 * while this one is computed, a line whenever as much of this one is read: so the keys and values of an answer come
 * from memory at nearly the speed it has, where the same lines asked for in the first quarter of a tile's time made
 * every tile of eight queries wait (118 us for 2,048 keys, 77 like this). */
LC_INLINE const uint8_t *later_tile(const lc_attention *a, const uint8_t *cache, size_t block_bytes,
                                    const uint8_t *next, int32_t key)
{
    const bool last = key + TILE_KEYS >= a->last;
    return last && next ? next : cache + (size_t)(last ? key : key + TILE_KEYS) / LC_KEY_BLOCK * block_bytes;
}

/* scores[rows][TILE_KEYS] of the keys from key on, or what the dimensions of one record add to them. */
LC_INLINE void scores_of(const int rows, const bool q8, const lc_attention *a, int32_t record, int32_t key,
                         int32_t n_keys, float *scores)
{
    enum { MOST = 4 };
    const int vectors = ATTENTION_VECTORS(rows);
    enum { BLOCK_STEP = LANES < LC_KEY_BLOCK ? LC_KEY_BLOCK / LANES : 1 }; /* registers of a block of keys */
    const int32_t row_bytes = LC_KEY_BLOCK * (q8 ? 1 : 2), dims_in_line = LC_CACHE_LINE / row_bytes;
    const float *query = a->q + record * LC_BLOCK;
    const int32_t dims = q8 ? LC_BLOCK : a->head_dim;
    for (int32_t first = 0; first < n_keys; first += vectors * LANES) {
        vf sums[FEW_ROWS][MOST];
        const uint8_t *k[MOST], *later[MOST];
        #pragma GCC unroll 8
        for (int c = 0; c < vectors; c++) {
            const int32_t at = first + c * LANES;
            const size_t inside = (size_t)((q8 ? record * LC_KV_RECORD + 2 * LC_KEY_BLOCK : 0) +
                                           at % LC_KEY_BLOCK * (q8 ? 1 : 2));
            k[c] = key_block(a, key + at) + inside;
            later[c] = later_tile(a, a->k, a->k_bytes, a->next_k, key) + inside +
                       (size_t)(at / LC_KEY_BLOCK) * a->k_bytes;
            #pragma GCC unroll 8
            for (int r = 0; r < rows; r++)
                sums[r][c] = vf_set1(0.0f);
        }
        for (int32_t d = 0; d < dims; d++) {
            if (d % dims_in_line == 0)
                #pragma GCC unroll 8
                for (int c = 0; c < vectors; c += BLOCK_STEP)
                    __builtin_prefetch(later[c] + d * row_bytes);
            vf keys[MOST];
            #pragma GCC unroll 8
            for (int c = 0; c < vectors; c++)
                keys[c] = q8 ? vf_load_i8((const int8_t *)k[c] + d * LC_KEY_BLOCK)
                             : vf_load_f16(halves_at(k[c]) + d * LC_KEY_BLOCK);
            #pragma GCC unroll 8
            for (int r = 0; r < rows; r++) {
                const vf q = vf_set1(query[r * a->stride + d]);
                #pragma GCC unroll 8
                for (int c = 0; c < vectors; c++)
                    sums[r][c] = vf_fma(q, keys[c], sums[r][c]);
            }
        }
        #pragma GCC unroll 8
        for (int c = 0; c < vectors; c++) {
            const int32_t at = first + c * LANES;
            const vf scale = q8 ? vf_load_f16(halves_at(key_block(a, key + at) + record * LC_KV_RECORD) +
                                              at % LC_KEY_BLOCK)
                                : vf_set1(1.0f);
            #pragma GCC unroll 8
            for (int r = 0; r < rows; r++) {
                float *to = scores + r * TILE_KEYS + at;
                vf score = sums[r][c];
                if (q8)
                    score = vf_fma(score, scale, record ? vf_load(to) : vf_set1(0.0f));
                vf_store(to, score);
            }
        }
    }
}

/* Scores to weights 2^(score - top), invisible keys to 0; returns by how much earlier sums shrink. */
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
        const vf w = vf_exp2(vf_load(scores + c * LANES) - vf_set1(new_top));
        vf_store(scores + c * LANES, w);
        total += w;
    }
    /* vf_exp2 does not reach 0: 2^-126 each, which is nothing in the sum; but weights must be 0 exactly. */
    for (int32_t j = n_visible < 0 ? 0 : n_visible; j < TILE_KEYS; j++)
        scores[j] = 0.0f;
    const float shrink = exp2f(*top - new_top);
    *top = new_top;
    *sum = *sum * shrink + vf_sum(total);
    return shrink;
}

/* weights[rows][TILE_KEYS] times a record's scale of each value. */
LC_INLINE void scale_weights(const int rows, const lc_attention *a, int32_t record, int32_t key, int32_t n_keys,
                             const float *weights, float *scaled)
{
    for (int32_t at = 0; at < n_keys; at += LANES) {
        const vf scale = vf_load_f16(halves_at(value_block(a, key + at) + record * LC_KV_RECORD) + at % LC_KEY_BLOCK);
        #pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
            vf_store(scaled + r * TILE_KEYS + at, vf_load(weights + r * TILE_KEYS + at) * scale);
    }
}

/* acc[rows] = acc * shrink + weights * values, over `vectors` registers of dimensions from dim on.  For Q8_0 weights
 * are scaled_weights', those of the records of the dimensions one after the other, and whole records are taken, or
 * parts of one. */
LC_INLINE void add_values(const int rows, const int vectors, const bool q8, const lc_attention *a, int32_t dim,
                          int32_t key, int32_t n_keys, const float *weights, const float *shrink)
{
    enum { MOST = 4, REGISTERS = LC_BLOCK / LANES }; /* of a line of f16s, or of a record's row */
    vf sums[FEW_ROWS][MOST];
    #pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
        #pragma GCC unroll 8
        for (int c = 0; c < vectors; c++)
            sums[r][c] = vf_load(a->acc + r * a->stride + dim + c * LANES) * vf_set1(shrink[r]);
    for (int32_t first = 0; first < n_keys; first += LC_KEY_BLOCK) {
        const size_t step = q8 ? LC_BLOCK : (size_t)a->stride * 2;
        const size_t inside = q8 ? (size_t)(dim / LC_BLOCK) * LC_KV_RECORD + 2 * LC_KEY_BLOCK + (size_t)dim % LC_BLOCK
                                 : (size_t)dim * 2;
        const uint8_t *v = value_block(a, key + first) + inside;
        const uint8_t *later =
            later_tile(a, a->v, a->v_bytes, a->next_v, key) + (size_t)(first / LC_KEY_BLOCK) * a->v_bytes + inside;
        const int32_t end = n_keys - first < LC_KEY_BLOCK ? n_keys : first + LC_KEY_BLOCK;
        for (int32_t j = first; j < end; j++, v += step, later += step) {
            #pragma GCC unroll 4
            for (int c = 0; c < vectors; c += REGISTERS)
                __builtin_prefetch(later + (q8 ? c * LANES / LC_BLOCK * LC_KV_RECORD : c * LANES * 2));
            vf values[MOST];
            #pragma GCC unroll 8
            for (int c = 0; c < vectors; c++)
                values[c] = q8 ? vf_load_i8((const int8_t *)v + c * LANES / LC_BLOCK * LC_KV_RECORD +
                                            c * LANES % LC_BLOCK)
                               : vf_load_f16(halves_at(v) + c * LANES);
            #pragma GCC unroll 8
            for (int r = 0; r < rows; r++)
                #pragma GCC unroll 8
                for (int c = 0; c < vectors; c++) {
                    const int record = q8 ? c * LANES / LC_BLOCK : 0;
                    sums[r][c] = vf_fma(vf_set1(weights[(record * rows + r) * TILE_KEYS + j]), values[c], sums[r][c]);
                }
        }
    }
    #pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
        #pragma GCC unroll 8
        for (int c = 0; c < vectors; c++)
            vf_store(a->acc + r * a->stride + dim + c * LANES, sums[r][c]);
}

LC_INLINE void add_all_values(const int rows, const bool q8, const lc_attention *a, int32_t key, int32_t n_keys,
                              const float *weights, const float *shrink)
{
    enum { MOST_RECORDS = 2 };
    const int vectors = ATTENTION_VECTORS(rows), step = vectors * LANES;
    float scaled[MOST_RECORDS * FEW_ROWS * TILE_KEYS];
    int32_t dim = 0;
    for (; dim + step <= a->stride; dim += step) {
        for (int i = 0; q8 && i < (step > LC_BLOCK ? step / LC_BLOCK : 1); i++)
            if ((dim + i * LC_BLOCK) % LC_BLOCK == 0)
                scale_weights(rows, a, dim / LC_BLOCK + i, key, n_keys, weights, scaled + i * rows * TILE_KEYS);
        add_values(rows, vectors, q8, a, dim, key, n_keys, q8 ? scaled : weights, shrink);
    }
    for (; dim < a->stride; dim += LANES) {
        if (q8 && dim % LC_BLOCK == 0)
            scale_weights(rows, a, dim / LC_BLOCK, key, n_keys, weights, scaled);
        add_values(rows, 1, q8, a, dim, key, n_keys, q8 ? scaled : weights, shrink);
    }
}

LC_INLINE void attend_few(const int rows, const bool q8, const lc_attention *a)
{
    float scores[FEW_ROWS * TILE_KEYS], shrink[FEW_ROWS];

    for (int32_t key = a->first; key < a->last; key += TILE_KEYS) {
        const int32_t last = a->visible[rows - 1] < a->last ? a->visible[rows - 1] : a->last;
        const int32_t n_keys = last - key < TILE_KEYS ? last - key : TILE_KEYS;
        if (n_keys <= 0)
            return;
        for (int32_t record = 0; record < (q8 ? a->stride / LC_BLOCK : 1); record++)
            scores_of(rows, q8, a, record, key, n_keys, scores);
        for (int r = 0; r < rows; r++) {
            const int32_t n_visible = a->visible[r] - key;
            shrink[r] = weights_of(scores + r * TILE_KEYS, n_visible < n_keys ? n_visible : n_keys, a->top + r,
                                   a->sum + r);
        }
        add_all_values(rows, q8, a, key, n_keys, scores, shrink);
    }
}

#define DEFINE_FEW(rows)                                                                    \
    static void attend_f16_##rows(const lc_attention *a) { attend_few(rows, false, a); }    \
    static void attend_q8_##rows(const lc_attention *a) { attend_few(rows, true, a); }

DEFINE_FEW(1)
DEFINE_FEW(2)
DEFINE_FEW(3)
DEFINE_FEW(4)
DEFINE_FEW(5)
DEFINE_FEW(6)
DEFINE_FEW(7)
DEFINE_FEW(8)
