/* attention_few.h - attention of a few queries (an answer's), written once for every instruction set.
 *
 * Needs what vector.h needs, vf_load_i8 (int8 to float), and for so many queries: ATTENTION_KEYS(rows), registers of
 * keys in one step, ATTENTION_CHAINS(rows), how many sums each has, so that an addition need not wait for the one
 * before, and ATTENTION_VALUES(rows), registers of a value (DEFINE_FEW says what they may be).  After Milakov and
 * Gimelshein, "Online normalizer calculation for softmax" (2018), and Dao et al., "FlashAttention" (2022): for each
 * tile of keys the scores' maximum may rise, and what was summed before is scaled down to it.
 *
 * Keys are stored 16 side by side, so that a register is one dimension of many keys and no sum across lanes is needed.
 *
 * Memory must not wait: keys and values are read block by block, in the order in which they lie, and asked for some KB
 * before, a tile's values after its keys and the next tile's keys after these.  Four blocks of keys at once need fewer
 * loads of queries, and computed from a cache they are up to 17 % faster, but come from memory at 66 to 80 % of the
 * speed it has, where one after the other comes at 88 to 97 (Zen 5, 53 GB/s, 1 to 6 queries).  From 7 queries on
 * arithmetic takes as long as memory, and with AVX-512 two blocks share a query.
 */
#include "../ahead.h"

#define TILE_KEYS LC_KEY_TILE
#define TILE_BLOCKS (TILE_KEYS / LC_KEY_BLOCK)
#define TILE_VECTORS (TILE_KEYS / LANES)
#define FEW_ROWS 8

LC_INLINE const uint16_t *halves_at(const uint8_t *p) { return (const uint16_t *)(const void *)p; }

LC_INLINE const uint8_t *key_block(const lc_attention *a, int32_t key)
{
    return a->k + (size_t)(key / LC_KEY_BLOCK) * a->k_bytes;
}

LC_INLINE const uint8_t *value_block(const lc_attention *a, int32_t key)
{
    return a->v + (size_t)(key / LC_KEY_BLOCK) * a->v_bytes;
}

/* ---- what is asked for ---- */

/* Blocks that lie one after the other, of one tile at most. */
typedef struct block_span {
    const uint8_t *at;
    size_t bytes; /* of one */
    int32_t n;
} block_span;

LC_INLINE block_span blocks_of(const uint8_t *at, size_t bytes, int32_t n_keys)
{
    return (block_span){at, bytes, (int32_t)lc_min(lc_ceil_div(n_keys, LC_KEY_BLOCK), TILE_BLOCKS)};
}

LC_INLINE const uint8_t *block_at(const block_span *b, int32_t i) { return b->at + (size_t)i * b->bytes; }

LC_INLINE block_span keys_after(const lc_attention *a, int32_t key)
{
    const int32_t next = key + TILE_KEYS;
    return next < a->last ? blocks_of(key_block(a, next), a->k_bytes, a->last - next)
                          : blocks_of(a->next_k, a->k_bytes, a->n_next);
}

/* How many blocks before it is read one is asked for: no more than are read now. */
LC_INLINE int32_t distance(const lc_attention *a, const block_span *now) { return (int32_t)lc_min(a->ahead, now->n); }

/* The block to ask for while block i of `now` is read: the one that is the distance later, or i itself if there is
 * none. */
LC_INLINE const uint8_t *later_block(const lc_attention *a, const block_span *now, const block_span *next, int32_t i)
{
    const int32_t later = i + distance(a, now);
    if (later < now->n)
        return block_at(now, later);
    return later - now->n < next->n ? block_at(next, later - now->n) : block_at(now, i);
}

/* The next blocks that fewer ones had no time to ask for. */
LC_INLINE void ask_for_rest(const lc_attention *a, const block_span *now, const block_span *next)
{
    for (int32_t i = distance(a, now); i < lc_min(a->ahead, next->n); i++)
        lc_ahead_read(block_at(next, i), next->bytes);
}

/* ---- scores ---- */

/* Blocks of keys that meet a query in one step. */
#define BLOCKS(rows) (ATTENTION_KEYS(rows) * LANES > LC_KEY_BLOCK ? ATTENTION_KEYS(rows) * LANES / LC_KEY_BLOCK : 1)
#define MOST_BLOCKS 2
#define MOST_STEP 4 /* registers of keys, and sums of each */

/* Adds up the chains of some keys, from `first` on: their scores, or what the dimensions of one record add to them. */
LC_INLINE void store_scores(const int rows, const bool q8, vf sums[FEW_ROWS][MOST_STEP][MOST_STEP], int32_t first,
                            const uint8_t *const now[MOST_BLOCKS], int32_t record, float *scores)
{
    const int vectors = ATTENTION_KEYS(rows), chains = ATTENTION_CHAINS(rows);
    const size_t at_record = q8 ? (size_t)record * LC_KV_RECORD : 0;
    #pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
        #pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            const uint8_t *scales = now[v * LANES / LC_KEY_BLOCK] + at_record;
            const int32_t at = first + v * LANES;
            float *to = scores + r * TILE_KEYS + at;
            vf score = sums[r][0][v];
            #pragma GCC unroll 4
            for (int c = 1; c < chains; c++)
                score += sums[r][c][v];
            if (q8)
                score = vf_fma(score, vf_load_f16(halves_at(scales) + at % LC_KEY_BLOCK),
                               record ? vf_load(to) : vf_set1(0.0f));
            vf_store(to, score);
        }
}

/* The scores of some blocks of keys, or what the dimensions of one record add to them. */
LC_INLINE void block_scores(const int rows, const bool q8, const lc_attention *a, int32_t record,
                            const uint8_t *const now[MOST_BLOCKS], const uint8_t *const later[MOST_BLOCKS],
                            float *scores)
{
    const int vectors = ATTENTION_KEYS(rows), chains = ATTENTION_CHAINS(rows);
    const int32_t row_bytes = LC_KEY_BLOCK * (q8 ? 1 : 2), dims = q8 ? LC_BLOCK : a->head_dim;
    const float *query = a->q + record * LC_BLOCK;
    const size_t at_record = q8 ? (size_t)record * LC_KV_RECORD : 0, at_keys = at_record + (q8 ? 2 * LC_KEY_BLOCK : 0);

    for (int i = 0; q8 && i < BLOCKS(rows); i++)
        __builtin_prefetch(later[i] + at_record + LC_KV_RECORD - 1); /* records end within a line */
    for (int32_t first = 0; first < LC_KEY_BLOCK; first += vectors * LANES) {
        vf sums[FEW_ROWS][MOST_STEP][MOST_STEP];
        #pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
            #pragma GCC unroll 4
            for (int c = 0; c < chains; c++)
                #pragma GCC unroll 4
                for (int v = 0; v < vectors; v++)
                    sums[r][c][v] = vf_set1(0.0f);
        for (int32_t d = 0; d < dims; d += LC_KEY_DIMS) {
            if (first == 0)
                #pragma GCC unroll 4
                for (int32_t line = 0; line < LC_KEY_DIMS * row_bytes; line += LC_CACHE_LINE)
                    for (int i = 0; i < BLOCKS(rows); i++)
                        __builtin_prefetch(later[i] + at_record + d * row_bytes + line);
            #pragma GCC unroll 4
            for (int j = 0; j < LC_KEY_DIMS; j++) {
                vf keys[MOST_STEP];
                #pragma GCC unroll 4
                for (int v = 0; v < vectors; v++) {
                    const uint8_t *k = now[v * LANES / LC_KEY_BLOCK] + at_keys;
                    const int32_t at = (d + j) * LC_KEY_BLOCK + (first + v * LANES) % LC_KEY_BLOCK;
                    keys[v] = q8 ? vf_load_i8((const int8_t *)k + at) : vf_load_f16(halves_at(k) + at);
                }
                #pragma GCC unroll 8
                for (int r = 0; r < rows; r++) {
                    const vf q = vf_set1(query[r * a->stride + d + j]);
                    #pragma GCC unroll 4
                    for (int v = 0; v < vectors; v++)
                        sums[r][j % chains][v] = vf_fma(q, keys[v], sums[r][j % chains][v]);
                }
            }
        }
        store_scores(rows, q8, sums, first, now, record, scores);
    }
}

/* scores[rows][TILE_KEYS] of a tile of keys.  Where the last block has no key, and beyond it, is what weights_of must
 * not look at. */
LC_INLINE void scores_of(const int rows, const bool q8, const lc_attention *a, const block_span *keys,
                         const block_span *values, float *scores)
{
    for (int32_t i = 0; i < keys->n; i += BLOCKS(rows)) {
        const uint8_t *now[MOST_BLOCKS], *later[MOST_BLOCKS];
        for (int b = 0; b < BLOCKS(rows); b++) { /* the last one again where there are no more */
            const int32_t block = (int32_t)lc_min(i + b, keys->n - 1);
            now[b] = block_at(keys, block);
            later[b] = later_block(a, keys, values, block);
        }
        for (int32_t record = 0; record < (q8 ? a->stride / LC_BLOCK : 1); record++)
            block_scores(rows, q8, a, record, now, later, scores + i * LC_KEY_BLOCK);
    }
    ask_for_rest(a, keys, values);
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

/* ---- values ---- */

#define MOST_RECORDS 4 /* in one pass */

/* weights[rows][TILE_KEYS] times a record's scale of each value. */
LC_INLINE void scale_weights(const int rows, const block_span *values, int32_t record, int32_t n_keys,
                             const float *weights, float *scaled)
{
    for (int32_t at = 0; at < n_keys; at += LANES) {
        const uint8_t *scales = block_at(values, at / LC_KEY_BLOCK) + record * LC_KV_RECORD;
        const vf scale = vf_load_f16(halves_at(scales) + at % LC_KEY_BLOCK);
        #pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
            vf_store(scaled + r * TILE_KEYS + at, vf_load(weights + r * TILE_KEYS + at) * scale);
    }
}

/* acc[rows] = acc * shrink + weights * values, over `vectors` registers of dimensions from dim on.  For Q8_0 weights
 * are those of scale_weights, of the records of the dimensions one after the other, and whole records are taken, or
 * parts of one. */
LC_INLINE void add_values(const int rows, const int vectors, const bool q8, const lc_attention *a, int32_t dim,
                          const block_span *values, const block_span *next, int32_t n_keys, const float *weights,
                          const float *shrink)
{
    enum { MOST = 16, REGISTERS = LC_BLOCK / LANES }; /* of a line of f16s, or of a record's row */
    vf sums[FEW_ROWS][MOST];
    #pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
        #pragma GCC unroll 16
        for (int c = 0; c < vectors; c++)
            sums[r][c] = vf_load(a->acc + r * a->stride + dim + c * LANES) * vf_set1(shrink[r]);
    for (int32_t i = 0; i < values->n; i++) {
        const size_t step = q8 ? LC_BLOCK : (size_t)a->stride * 2;
        const size_t inside = q8 ? (size_t)(dim / LC_BLOCK) * LC_KV_RECORD + 2 * LC_KEY_BLOCK + (size_t)dim % LC_BLOCK
                                 : (size_t)dim * 2;
        const uint8_t *v = block_at(values, i) + inside, *later = later_block(a, values, next, i) + inside;
        const int32_t first = i * LC_KEY_BLOCK, n = (int32_t)lc_min(n_keys - first, LC_KEY_BLOCK);
        for (int32_t j = 0; j < n; j++, v += step, later += step) {
            #pragma GCC unroll 4
            for (int c = 0; c < vectors; c += REGISTERS)
                __builtin_prefetch(later + (q8 ? c * LANES / LC_BLOCK * LC_KV_RECORD : c * LANES * 2));
            #pragma GCC unroll 16
            for (int c = 0; c < vectors; c++) {
                const vf value = q8 ? vf_load_i8((const int8_t *)v + c * LANES / LC_BLOCK * LC_KV_RECORD +
                                                 c * LANES % LC_BLOCK)
                                    : vf_load_f16(halves_at(v) + c * LANES);
                const int record = q8 ? c * LANES / LC_BLOCK : 0;
                #pragma GCC unroll 8
                for (int r = 0; r < rows; r++)
                    sums[r][c] = vf_fma(vf_set1(weights[(record * rows + r) * TILE_KEYS + first + j]), value,
                                        sums[r][c]);
            }
        }
    }
    #pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
        #pragma GCC unroll 16
        for (int c = 0; c < vectors; c++)
            vf_store(a->acc + r * a->stride + dim + c * LANES, sums[r][c]);
}

/* As many passes of so many registers as fit in what is left of a value; returns the dimension they end at. */
LC_INLINE int32_t add_passes(const int rows, const int vectors, const bool q8, const lc_attention *a, int32_t dim,
                             const block_span *values, const block_span *next, int32_t n_keys, const float *weights,
                             float *scaled, const float *shrink)
{
    const int32_t step = vectors * LANES;
    for (; dim + step <= a->stride; dim += step) {
        for (int32_t i = 0; q8 && i < step; i += LC_BLOCK)
            if ((dim + i) % LC_BLOCK == 0)
                scale_weights(rows, values, (dim + i) / LC_BLOCK, n_keys, weights,
                              scaled + i / LC_BLOCK * rows * TILE_KEYS);
        add_values(rows, vectors, q8, a, dim, values, next, n_keys, q8 ? scaled : weights, shrink);
    }
    return dim;
}

/* As wide as registers allow, and then what is left. */
LC_INLINE void add_all_values(const int rows, const bool q8, const lc_attention *a, const block_span *values,
                              const block_span *next, int32_t n_keys, const float *weights, const float *shrink)
{
    float scaled[MOST_RECORDS * FEW_ROWS * TILE_KEYS];
    const int most = ATTENTION_VALUES(rows);
    int32_t dim = 0;
    if (most >= 16)
        dim = add_passes(rows, 16, q8, a, dim, values, next, n_keys, weights, scaled, shrink);
    if (most >= 8)
        dim = add_passes(rows, 8, q8, a, dim, values, next, n_keys, weights, scaled, shrink);
    if (most >= 4)
        dim = add_passes(rows, 4, q8, a, dim, values, next, n_keys, weights, scaled, shrink);
    if (most >= 2)
        dim = add_passes(rows, 2, q8, a, dim, values, next, n_keys, weights, scaled, shrink);
    add_passes(rows, 1, q8, a, dim, values, next, n_keys, weights, scaled, shrink);
    ask_for_rest(a, values, next);
}

LC_INLINE void attend_few(const int rows, const bool q8, const lc_attention *a)
{
    float scores[FEW_ROWS * TILE_KEYS], shrink[FEW_ROWS];

    for (int32_t key = a->first; key < a->last; key += TILE_KEYS) {
        const int32_t last = a->visible[rows - 1] < a->last ? a->visible[rows - 1] : a->last;
        const int32_t n_keys = last - key < TILE_KEYS ? last - key : TILE_KEYS;
        if (n_keys <= 0)
            return;
        const block_span keys = blocks_of(key_block(a, key), a->k_bytes, n_keys), next = keys_after(a, key);
        const block_span values = blocks_of(value_block(a, key), a->v_bytes, n_keys);
        scores_of(rows, q8, a, &keys, &values, scores);
        for (int r = 0; r < rows; r++) {
            const int32_t n_visible = a->visible[r] - key;
            shrink[r] = weights_of(scores + r * TILE_KEYS, n_visible < n_keys ? n_visible : n_keys, a->top + r,
                                   a->sum + r);
        }
        add_all_values(rows, q8, a, &values, &next, n_keys, scores, shrink);
    }
}

#define DEFINE_FEW(rows)                                                                    \
    _Static_assert(ATTENTION_KEYS(rows) <= 4 && LC_KEY_DIMS % ATTENTION_CHAINS(rows) == 0 &&  \
                       (BLOCKS(rows) > 1 ? BLOCKS(rows) == MOST_BLOCKS                        \
                                         : LC_KEY_BLOCK % (ATTENTION_KEYS(rows) * LANES) == 0), \
                   "keys in steps");                                                        \
    _Static_assert(16 % ATTENTION_VALUES(rows) == 0 &&                                      \
                       ATTENTION_VALUES(rows) * LANES <= MOST_RECORDS * LC_BLOCK,           \
                   "values in passes");                                                     \
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

/* ---- the key that is not in the cache ---- */

LC_INLINE vf own_at(const lc_attention *a, const uint8_t *row, int32_t dim)
{
    const uint8_t *record = row + dim / LC_BLOCK * LC_KV_RECORD;
    if (!a->q8)
        return vf_load_f16(halves_at(row) + dim);
    return vf_load_i8((const int8_t *)record + 2 * LC_KEY_BLOCK + dim % LC_BLOCK) *
           vf_set1(lc_f32_of_f16(*halves_at(record)));
}

static void attend_own(const lc_attention *a)
{
    for (int32_t row = 0; row < a->n_rows; row++) {
        const float *q = a->q + (int64_t)row * a->stride;
        float *acc = a->acc + (int64_t)row * a->stride;
        vf products = vf_set1(0.0f);
        for (int32_t dim = 0; dim < a->stride; dim += LANES)
            products = vf_fma(vf_load(q + dim), own_at(a, a->own_k, dim), products);
        const float score = vf_sum(products), top = fmaxf(a->top[row], score);
        const float shrink = exp2f(a->top[row] - top), weight = exp2f(score - top);
        for (int32_t dim = 0; dim < a->stride; dim += LANES)
            vf_store(acc + dim,
                     vf_fma(vf_set1(weight), own_at(a, a->own_v, dim), vf_load(acc + dim) * vf_set1(shrink)));
        a->top[row] = top;
        a->sum[row] = a->sum[row] * shrink + weight;
    }
}
