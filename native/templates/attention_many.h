/* attention_many.h - attention of many queries at once (a prompt's), written once for every instruction set.
 *
 * Needs attention_few.h, and ATTENTION_STEP and ATTENTION_QUERIES: how many keys (or dimensions) meet how many
 * registers of queries in one step, their sums in registers.  A lane is a query: softmax is the same operations in
 * every lane, and nothing goes across; a key or a value is a number that all lanes meet.  A tile of keys and values is
 * expanded to floats once for all queries.
 */

#define STEP ATTENTION_STEP
#define QUERIES (ATTENTION_QUERIES * LANES)

/* What attend_many works on, all in lc_attention.scratch. */
typedef struct many {
    float *q, *acc;   /* [blocks of queries][dimension][QUERIES] */
    float *keys;      /* [TILE_KEYS / 16][dimension][16] */
    float *values;    /* [TILE_KEYS][stride] */
    float *scores;    /* [TILE_KEYS][QUERIES], then weights */
} many;

/* out[columns][rows] = in[rows][columns]; both sizes are multiples of 4. */
static void transpose(const float *in, int64_t in_stride, int32_t rows, int32_t columns, float *out, int64_t out_stride)
{
    typedef float f4 __attribute__((vector_size(16)));
    for (int32_t r = 0; r < rows; r += 4)
        for (int32_t c = 0; c < columns; c += 4) {
            f4 row[4];
            for (int i = 0; i < 4; i++)
                memcpy(&row[i], in + (r + i) * in_stride + c, sizeof row[i]);
            for (int i = 0; i < 4; i++) {
                const f4 column = {row[0][i], row[1][i], row[2][i], row[3][i]};
                memcpy(out + (c + i) * out_stride + r, &column, sizeof column);
            }
        }
}

/* ---- a tile to floats ---- */

LC_INLINE void expand_f16(const uint8_t *from, int32_t n, float *to)
{
    for (int32_t i = 0; i < n; i += LANES)
        vf_store(to + i, vf_load_f16(halves_at(from) + i));
}

static void expand_keys(const lc_attention *a, int32_t key, int32_t n_keys, float *to)
{
    for (int32_t end = key + n_keys; key < end; key += LC_KEY_BLOCK, to += a->stride * LC_KEY_BLOCK) {
        const uint8_t *block = key_block(a, key);
        if (!a->q8)
            expand_f16(block, a->head_dim * LC_KEY_BLOCK, to);
        for (int32_t d = 0; a->q8 && d < a->stride; d++) {
            const uint8_t *record = block + d / LC_BLOCK * LC_KV_RECORD;
            const int8_t *q = (const int8_t *)record + 2 * LC_KEY_BLOCK + d % LC_BLOCK * LC_KEY_BLOCK;
            for (int i = 0; i < LC_KEY_BLOCK; i += LANES)
                vf_store(to + d * LC_KEY_BLOCK + i, vf_load_i8(q + i) * vf_load_f16(halves_at(record) + i));
        }
    }
}

static void expand_values(const lc_attention *a, int32_t key, int32_t n_keys, float *to)
{
    for (int32_t end = key + n_keys; key < end; key += LC_KEY_BLOCK, to += a->stride * LC_KEY_BLOCK) {
        const uint8_t *block = value_block(a, key);
        if (!a->q8)
            expand_f16(block, a->stride * LC_KEY_BLOCK, to);
        for (int32_t d = 0; a->q8 && d < a->stride; d += LC_BLOCK, block += LC_KV_RECORD) {
            float scales[LC_KEY_BLOCK];
            expand_f16(block, LC_KEY_BLOCK, scales);
            for (int j = 0; j < LC_KEY_BLOCK; j++)
                for (int i = 0; i < LC_BLOCK; i += LANES)
                    vf_store(to + j * a->stride + d + i,
                             vf_load_i8((const int8_t *)block + 2 * LC_KEY_BLOCK + j * LC_BLOCK + i) *
                                 vf_set1(scales[j]));
        }
    }
}

/* ---- one block of queries with one tile ---- */

LC_INLINE void many_scores(const int vectors, const lc_attention *a, const many *m, const float *q, int32_t n_keys)
{
    for (int32_t j = 0; j < n_keys; j += STEP) {
        const float *keys = m->keys + j / LC_KEY_BLOCK * a->stride * LC_KEY_BLOCK + j % LC_KEY_BLOCK;
        const float *queries = q;
        vf sums[STEP][ATTENTION_QUERIES];
        #pragma GCC unroll 8
        for (int s = 0; s < STEP; s++)
            #pragma GCC unroll 8
            for (int c = 0; c < vectors; c++)
                sums[s][c] = vf_set1(0.0f);
        for (int32_t d = 0; d < a->head_dim; d++, keys += LC_KEY_BLOCK, queries += QUERIES) {
            vf x[ATTENTION_QUERIES];
            #pragma GCC unroll 8
            for (int c = 0; c < vectors; c++)
                x[c] = vf_load(queries + c * LANES);
            #pragma GCC unroll 8
            for (int s = 0; s < STEP; s++) {
                const vf k = vf_set1(keys[s]);
                #pragma GCC unroll 8
                for (int c = 0; c < vectors; c++)
                    sums[s][c] = vf_fma(k, x[c], sums[s][c]);
            }
        }
        #pragma GCC unroll 8
        for (int s = 0; s < STEP; s++)
            #pragma GCC unroll 8
            for (int c = 0; c < vectors; c++)
                vf_store(m->scores + (j + s) * QUERIES + c * LANES, sums[s][c]);
    }
}

/* v where the query sees the key, else otherwise. */
LC_INLINE vf where_visible(const int32_t *visible, int32_t key, vf v, vf otherwise)
{
    vi limit;
    memcpy(&limit, visible, sizeof limit);
    const vi seen = limit > key;
    return (vf)(((vi)v & seen) | ((vi)otherwise & ~seen));
}

/* Scores to weights 2^(score - top), invisible keys to 0; and by how much earlier sums shrink. */
LC_INLINE void many_weights(const int vectors, const bool masked, const lc_attention *a, const many *m, int32_t row,
                            int32_t key, int32_t n_keys, vf *shrink)
{
    const int32_t *visible = a->visible + row;
    vf top[ATTENTION_QUERIES], sum[ATTENTION_QUERIES];
    #pragma GCC unroll 8
    for (int c = 0; c < vectors; c++)
        top[c] = vf_load(a->top + row + c * LANES);
    for (int32_t j = 0; j < n_keys; j++)
        #pragma GCC unroll 8
        for (int c = 0; c < vectors; c++) {
            vf score = vf_load(m->scores + j * QUERIES + c * LANES);
            if (masked)
                score = where_visible(visible + c * LANES, key + j, score, vf_set1(-INFINITY));
            top[c] = vf_max(score, top[c]);
        }
    #pragma GCC unroll 8
    for (int c = 0; c < vectors; c++) {
        shrink[c] = vf_exp2(vf_load(a->top + row + c * LANES) - top[c]);
        sum[c] = vf_load(a->sum + row + c * LANES) * shrink[c];
        vf_store(a->top + row + c * LANES, top[c]);
    }
    for (int32_t j = 0; j < n_keys; j++)
        #pragma GCC unroll 8
        for (int c = 0; c < vectors; c++) {
            float *at = m->scores + j * QUERIES + c * LANES;
            vf weight = vf_exp2(vf_load(at) - top[c]);
            if (masked)
                weight = where_visible(visible + c * LANES, key + j, weight, vf_set1(0.0f));
            vf_store(at, weight);
            sum[c] += weight;
        }
    #pragma GCC unroll 8
    for (int c = 0; c < vectors; c++)
        vf_store(a->sum + row + c * LANES, sum[c]);
}

LC_INLINE void many_values(const int vectors, const lc_attention *a, const many *m, int32_t n_keys, const vf *shrink,
                           float *acc)
{
    for (int32_t dim = 0; dim < a->head_dim; dim += STEP, acc += STEP * QUERIES) {
        const float *values = m->values + dim, *weights = m->scores;
        vf sums[STEP][ATTENTION_QUERIES];
        #pragma GCC unroll 8
        for (int s = 0; s < STEP; s++)
            #pragma GCC unroll 8
            for (int c = 0; c < vectors; c++)
                sums[s][c] = vf_load(acc + s * QUERIES + c * LANES) * shrink[c];
        for (int32_t j = 0; j < n_keys; j++, values += a->stride, weights += QUERIES) {
            vf w[ATTENTION_QUERIES];
            #pragma GCC unroll 8
            for (int c = 0; c < vectors; c++)
                w[c] = vf_load(weights + c * LANES);
            #pragma GCC unroll 8
            for (int s = 0; s < STEP; s++) {
                const vf v = vf_set1(values[s]);
                #pragma GCC unroll 8
                for (int c = 0; c < vectors; c++)
                    sums[s][c] = vf_fma(v, w[c], sums[s][c]);
            }
        }
        #pragma GCC unroll 8
        for (int s = 0; s < STEP; s++)
            #pragma GCC unroll 8
            for (int c = 0; c < vectors; c++)
                vf_store(acc + s * QUERIES + c * LANES, sums[s][c]);
    }
}

/* `vectors` registers of queries, row being the first. */
LC_INLINE void attend_tile(const int vectors, const lc_attention *a, const many *m, int32_t row, int32_t key)
{
    const int32_t end = row + vectors * LANES < a->n_rows ? row + vectors * LANES : a->n_rows;
    const int32_t last = a->visible[end - 1] < a->last ? a->visible[end - 1] : a->last;
    const int32_t n_keys = last - key < TILE_KEYS ? last - key : TILE_KEYS;
    const int64_t block = (int64_t)row * a->stride;
    vf shrink[ATTENTION_QUERIES];

    if (n_keys <= 0)
        return;
    many_scores(vectors, a, m, m->q + block, n_keys);
    if (a->visible[row] < key + n_keys)
        many_weights(vectors, true, a, m, row, key, n_keys, shrink);
    else
        many_weights(vectors, false, a, m, row, key, n_keys, shrink);
    many_values(vectors, a, m, n_keys, shrink, m->acc + block);
}

static void attend_tile_1(const lc_attention *a, const many *m, int32_t row, int32_t key)
{
    attend_tile(1, a, m, row, key);
}
static void attend_tile_2(const lc_attention *a, const many *m, int32_t row, int32_t key)
{
    attend_tile(2, a, m, row, key);
}
static void attend_tile_3(const lc_attention *a, const many *m, int32_t row, int32_t key)
{
    attend_tile(ATTENTION_QUERIES, a, m, row, key);
}

static void attend_many(const lc_attention *a)
{
    const int64_t blocks = lc_ceil_div(a->n_rows, QUERIES), floats = blocks * QUERIES * a->stride;
    const many m = {
        .q = a->scratch,
        .acc = a->scratch + floats,
        .keys = a->scratch + 2 * floats,
        .values = a->scratch + 2 * floats + TILE_KEYS * a->stride,
        .scores = a->scratch + 2 * floats + 2 * TILE_KEYS * a->stride,
    };
    const int64_t block = (int64_t)QUERIES * a->stride;

    for (int64_t b = 0; b < blocks; b++)
        transpose(a->q + b * block, a->stride, QUERIES, a->stride, m.q + b * block, QUERIES);
    memset(m.acc, 0, (size_t)floats * sizeof(float));
    for (int32_t key = a->first; key < a->last; key += TILE_KEYS) {
        const int32_t n_keys = a->last - key < TILE_KEYS ? a->last - key : TILE_KEYS;
        expand_keys(a, key, n_keys, m.keys);
        expand_values(a, key, n_keys, m.values);
        for (int32_t row = 0; row < a->n_rows; row += QUERIES) {
            const int32_t left = a->n_rows - row;
            (left <= LANES ? attend_tile_1 : left <= 2 * LANES ? attend_tile_2 : attend_tile_3)(a, &m, row, key);
        }
    }
    for (int64_t b = 0; b < blocks; b++)
        transpose(m.acc + b * block, QUERIES, a->stride, QUERIES, a->acc + b * block, a->stride);
}

static void attend(const lc_attention *a)
{
    typedef void function(const lc_attention *);
    static function *const F16[] = {attend_f16_1, attend_f16_2, attend_f16_3, attend_f16_4,
                                    attend_f16_5, attend_f16_6, attend_f16_7, attend_f16_8};
    static function *const Q8[] = {attend_q8_1, attend_q8_2, attend_q8_3, attend_q8_4,
                                   attend_q8_5, attend_q8_6, attend_q8_7, attend_q8_8};

    for (int32_t row = 0; row < lc_round_up(a->n_rows, QUERIES); row++) {
        /* low, but finite: the first tile's shrink must be a number */
        a->top[row] = -1e30f;
        a->sum[row] = 0.0f;
    }
    if (a->n_rows > FEW_ROWS) {
        attend_many(a);
    } else {
        memset(a->acc, 0, (size_t)a->n_rows * (size_t)a->stride * sizeof(float));
        (a->q8 ? Q8 : F16)[a->n_rows - 1](a);
    }
    if (a->own_k)
        attend_own(a);
}
