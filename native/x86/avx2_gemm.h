/* avx2_gemm.h - several tokens: panels of blocks unpacked, and the micro-kernels. Part of avx2.c.
 *
 * Unpacked, 32 columns of a pair of panels are
 *     q  u8   [8 steps][pair][row][4]
 *     d  f32  [groups][pair][row]
 *     m  f32  [groups][pair][row]       the minima, or -zero * d
 */

#define PAIR_BYTES (LC_PAIR * PANEL * 4) /* a register of each panel */

LC_INLINE size_t unpacked_bytes(const int groups) { return PAIR_BYTES * (size_t)(LC_STEPS + 2 * groups); }

LC_INLINE void unpack_blocks(const int32_t type, const lc_panel_layout *layout, const uint8_t *const panels[LC_PAIR],
                             int64_t column, int64_t n, uint8_t *weights)
{
    const lc_block_kind kind = lc_block_kind_of(type);
    const size_t part = lc_record_part(kind, PANEL);

    for (int p = 0; p < LC_PAIR; p++) {
        const uint8_t *record = panels[p] + (size_t)(column / kind.columns) * layout->record;
        uint8_t *out = weights + p * PANEL * 4;
        for (int64_t done = 0; done < n; done += kind.columns, record += layout->record) {
            scales s;
            scales_of(type, record, &s);
            for (int i = 0; i < kind.columns / LC_BLOCK; i++, out += unpacked_bytes(kind.groups)) {
                float *d = (float *)(void *)(out + LC_STEPS * PAIR_BYTES), *m = d + kind.groups * LC_PAIR * PANEL;
                quants q;
                quants_of(type, record, i, &q);
                lc_ahead_of(LC_AGAIN, layout, record + (size_t)i * part, part);
                #pragma GCC unroll 8
                for (int k = 0; k < LC_STEPS; k++)
                    _mm256_store_si256((__m256i *)(void *)(out + k * PAIR_BYTES), q.step[k]);
                for (int g = 0; g < kind.groups; g++) {
                    const int at = i * kind.groups + g;
                    const __m256 zero = _mm256_set1_ps((float)-kind.zero);
                    _mm256_store_ps(d + g * LC_PAIR * PANEL, s.d[at]);
                    _mm256_store_ps(m + g * LC_PAIR * PANEL, kind.minima ? s.m[at] : _mm256_mul_ps(s.d[at], zero));
                }
            }
        }
    }
}

/* dots[token] = the columns of a group of a panel times a record of words. */
LC_INLINE void dot_words(const int first, const int steps, const uint8_t *w, const uint8_t *x, __m256i *dots)
{
    #pragma GCC unroll 16
    for (int i = 2 * first; i < 2 * (first + steps); i++) {
        const __m256i words = words_of(vb_load(w + i / 2 * PAIR_BYTES), i % 2);
        #pragma GCC unroll 4
        for (int t = 0; t < LC_TILE; t++)
            dots[t] = _mm256_add_epi32(dots[t], _mm256_madd_epi16(words, four_bytes(x + t * 2 * LC_BLOCK + i * 4)));
    }
}

/* The same of bytes.  So many steps' sums of pairs stay in 16 bits: 4 * 2 * 31 * 127, 2 * 2 * 63 * 127. */
LC_INLINE void dot_bytes(const int at_once, const int first, const int steps, const uint8_t *w, const uint8_t *x,
                         __m256i *dots)
{
    #pragma GCC unroll 4
    for (int begin = first; begin < first + steps; begin += at_once) {
        __m256i pairs[LC_TILE];
        #pragma GCC unroll 4
        for (int k = begin; k < begin + at_once; k++) {
            const __m256i bytes = vb_load(w + k * PAIR_BYTES);
            #pragma GCC unroll 4
            for (int t = 0; t < LC_TILE; t++) {
                const __m256i product = _mm256_maddubs_epi16(bytes, four_bytes(x + (k * LC_TILE + t) * 4));
                pairs[t] = k == begin ? product : _mm256_add_epi16(pairs[t], product);
            }
        }
        #pragma GCC unroll 4
        for (int t = 0; t < LC_TILE; t++)
            dots[t] = _mm256_add_epi32(dots[t], _mm256_madd_epi16(pairs[t], _mm256_set1_epi16(1)));
    }
}

/* at_once: see dot_bytes; 0 is words. */
LC_INLINE void add_record(const int groups, const int at_once, const uint8_t *w, const uint8_t *x, __m256 *sums)
{
    const lc_record at = lc_record_of(at_once ? LC_FORM_BYTES : LC_FORM_INTEGERS, LC_TILE);
    const float *d = (const float *)(const void *)(w + LC_STEPS * PAIR_BYTES), *m = d + groups * LC_PAIR * PANEL;
    #pragma GCC unroll 2
    for (int g = 0; g < groups; g++, d += LC_PAIR * PANEL, m += LC_PAIR * PANEL) {
        __m256i dots[LC_TILE];
        for (int t = 0; t < LC_TILE; t++)
            dots[t] = _mm256_setzero_si256();
        if (at_once)
            dot_bytes(at_once, g * LC_STEPS / groups, LC_STEPS / groups, w, x, dots);
        else
            dot_words(g * LC_STEPS / groups, LC_STEPS / groups, w, x, dots);
        #pragma GCC unroll 4
        for (int t = 0; t < LC_TILE; t++) {
            const __m256 scale = _mm256_mul_ps(_mm256_load_ps(d), scale_of(x, at, t));
            sums[t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots[t]), scale, sums[t]);
            sums[t] = _mm256_fmadd_ps(_mm256_load_ps(m), group_sum(x, at, groups, g, LC_TILE, t), sums[t]);
        }
    }
}

LC_INLINE void multiply_blocks(const int groups, const int at_once, const uint8_t *weights, int64_t n,
                               const uint8_t *tiles, size_t tile_bytes, int32_t n_tiles, float *out)
{
    const size_t x_bytes = lc_record_of(at_once ? LC_FORM_BYTES : LC_FORM_INTEGERS, LC_TILE).bytes;

    for (int32_t tile = 0; tile < n_tiles; tile++, tiles += tile_bytes)
        for (int p = 0; p < LC_PAIR; p++, out += LC_TILE * PANEL) {
            const uint8_t *w = weights + p * PANEL * 4, *x = tiles;
            __m256 sums[LC_TILE];
            for (int t = 0; t < LC_TILE; t++)
                sums[t] = _mm256_load_ps(out + t * PANEL);
            for (int64_t column = 0; column < n; column += LC_BLOCK, w += unpacked_bytes(groups), x += x_bytes)
                add_record(groups, at_once, w, x, sums);
            for (int t = 0; t < LC_TILE; t++)
                _mm256_store_ps(out + t * PANEL, sums[t]);
        }
}

/* Name, groups, steps at once. */
#define KINDS(X)                                                                                                     \
    X(multiply_words, 1, 0)                                                                                          \
    X(multiply_words_halves, 2, 0)                                                                                   \
    X(multiply_bytes, 1, 4)                                                                                          \
    X(multiply_bytes_halves, 2, 4)                                                                                   \
    X(multiply_six_bits, 1, 2)                                                                                       \
    X(multiply_six_bits_halves, 2, 2)
#define DEFINE_MULTIPLY(name, groups, at_once)                                                                       \
    static void name(const void *weights, int64_t n, const uint8_t *tiles, size_t tile_bytes, int32_t n_tiles,       \
                     float *sums)                                                                                    \
    {                                                                                                                \
        multiply_blocks(groups, at_once, weights, n, tiles, tile_bytes, n_tiles, sums);                              \
    }
#define CASE_MULTIPLY(name, groups, at_once) case (groups) * 8 + (at_once): return name;

KINDS(DEFINE_MULTIPLY)

static lc_gemm_kernel *multiply_of(const int groups, const int at_once)
{
    switch (groups * 8 + at_once) {
        KINDS(CASE_MULTIPLY)
    default: return NULL;
    }
}

#define BLOCK_COLUMNS 512 /* of a slice: up to 12 KB */
