/* avx512_gemm.h - several tokens: panels of blocks unpacked, and the micro-kernel. Part of avx512.c.
 *
 * Unpacked, 32 columns of a pair of panels are
 *     q  u8   [8 steps][pair][row][4]   so that 128 means zero (types with minima: as they are)
 *     d  f32  [groups][pair][row]
 *     m  f32  [groups][pair][row]       types with minima
 *
 * The micro-kernel keeps the sums of 32 rows by 4 tokens in 8 registers, and a block's integers in 8 (exact: 16) more.
 * It runs at 77 % of what vpdpbusd alone reaches, 70 % with minima or with two scales: sums in floats share its ports,
 * and two of ten operations are theirs.  (Tried: 32 x 12 and 64 x 6 with sums in memory: 55-60 %, the stores cost more
 * than the loads that they save.  32 x 6 and 48 x 4: the same as this within 2 %.)
 */

#define PAIR_BYTES (LC_PAIR * PANEL * 4) /* a register of each panel */

/* Bytes of 32 unpacked columns. */
LC_INLINE size_t unpacked_bytes(const lc_block_kind kind)
{
    return PAIR_BYTES * (size_t)(LC_STEPS + kind.groups * (kind.minima ? 2 : 1));
}

LC_INLINE void unpack_blocks(const int32_t type, const lc_panel_layout *layout, const uint8_t *const panels[LC_PAIR],
                             int64_t column, int64_t n, uint8_t *weights)
{
    const lc_block_kind kind = lc_block_kind_of(type);
    const size_t part = lc_record_part(kind, PANEL);
    const __m512i bias = _mm512_set1_epi8((char)(kind.minima ? 0 : LC_START_ZERO - kind.zero));

    for (int p = 0; p < LC_PAIR; p++) {
        const uint8_t *record = panels[p] + (size_t)(column / kind.columns) * layout->record;
        uint8_t *out = weights + p * PANEL * 4;
        for (int64_t done = 0; done < n; done += kind.columns, record += layout->record) {
            scales s;
            scales_of(type, record, &s);
            #pragma GCC unroll 8
            for (int i = 0; i < kind.columns / LC_BLOCK; i++, out += unpacked_bytes(kind)) {
                uint8_t *d = out + LC_STEPS * PAIR_BYTES, *m = d + kind.groups * PAIR_BYTES;
                quants q;
                quants_of(type, record, i, &q);
                lc_ahead_of(LC_AGAIN, layout, record + (size_t)i * part, part);
                #pragma GCC unroll 8
                for (int k = 0; k < LC_STEPS; k++)
                    _mm512_store_si512(out + k * PAIR_BYTES, _mm512_add_epi8(q.step[k], bias));
                #pragma GCC unroll 2
                for (int g = 0; g < kind.groups; g++) {
                    _mm512_store_ps(d + g * PAIR_BYTES, s.d[i * kind.groups + g]);
                    if (kind.minima)
                        _mm512_store_ps(m + g * PAIR_BYTES, s.m[i * kind.groups + g]);
                }
            }
        }
    }
}

LC_INLINE float float_at(const uint8_t *p) { return *(const float *)(const void *)p; }

/* What a record of a tile holds of a token and a group of columns: i32 or f32 [2][token], see lc_form. */
LC_INLINE __m512i group_start(const uint8_t *start, const int groups, const int group, const int token)
{
    const __m512i all = columns_of(start + token * 4), half = columns_of(start + (LC_TILE + token) * 4);
    return groups == 1 ? all : group ? _mm512_sub_epi32(all, half) : half;
}

LC_INLINE __m512 group_sum(const uint8_t *sums, const int groups, const int group, const int token)
{
    const __m512 all = _mm512_set1_ps(float_at(sums + token * 4));
    const __m512 half = _mm512_set1_ps(float_at(sums + (LC_TILE + token) * 4));
    return groups == 1 ? all : group ? _mm512_sub_ps(all, half) : half;
}

#define SUMS (LC_PAIR * LC_TILE) /* [pair][token], as in memory */

/* dots = a group's columns of a block times a tile's record, in integers. */
LC_INLINE void dot_group(const lc_block_kind kind, const bool wide, const int group, const uint8_t *w, const uint8_t *x,
                         __m512i *dots)
{
    const lc_record at = lc_record_of(wide ? LC_FORM_INTEGERS : LC_FORM_BYTES, LC_TILE);
    const int steps = LC_STEPS / kind.groups, first = group * steps;
    __m512i high[SUMS];

    #pragma GCC unroll 8
    for (int i = 0; i < SUMS; i++) {
        high[i] = _mm512_setzero_si512();
        dots[i] = kind.minima ? high[i] : group_start(x + at.start, kind.groups, group, i % LC_TILE);
    }
    #pragma GCC unroll 8
    for (int k = first; k < first + steps; k++) {
        __m512i weights[LC_PAIR];
        #pragma GCC unroll 2
        for (int p = 0; p < LC_PAIR; p++)
            weights[p] = _mm512_load_si512(w + k * PAIR_BYTES + p * PANEL * 4);
        #pragma GCC unroll 4
        for (int t = 0; t < LC_TILE; t++) {
            const __m512i four = columns_of(x + (k * LC_TILE + t) * 4);
            const __m512i low = wide ? columns_of(x + ((LC_STEPS + k) * LC_TILE + t) * 4) : four;
            #pragma GCC unroll 2
            for (int p = 0; p < LC_PAIR; p++) {
                const int i = p * LC_TILE + t;
                dots[i] = _mm512_dpbusd_epi32(dots[i], weights[p], low);
                if (wide)
                    high[i] = _mm512_dpbusd_epi32(high[i], weights[p], four);
            }
        }
    }
    if (wide) {
        #pragma GCC unroll 8
        for (int i = 0; i < SUMS; i++)
            dots[i] = _mm512_add_epi32(dots[i], _mm512_slli_epi32(high[i], 7));
    }
}

/* sums += a block times a record.  With two groups their dot products meet first: one multiplication by the token's
 * scale serves both. */
LC_INLINE void add_record(const lc_block_kind kind, const bool wide, const uint8_t *w, const uint8_t *x, __m512 *sums)
{
    const lc_record at = lc_record_of(wide ? LC_FORM_INTEGERS : LC_FORM_BYTES, LC_TILE);
    const uint8_t *d = w + LC_STEPS * PAIR_BYTES, *m = d + kind.groups * PAIR_BYTES;
    __m512i dots[SUMS];
    __m512 first[SUMS];

    dot_group(kind, wide, 0, w, x, dots);
    if (kind.groups == 2) {
        #pragma GCC unroll 8
        for (int i = 0; i < SUMS; i++)
            first[i] = _mm512_mul_ps(_mm512_cvtepi32_ps(dots[i]), _mm512_load_ps(d + i / LC_TILE * PANEL * 4));
        dot_group(kind, wide, 1, w, x, dots);
    }
    #pragma GCC unroll 8
    for (int i = 0; i < SUMS; i++) {
        const int row = i / LC_TILE * PANEL * 4, token = i % LC_TILE;
        const __m512 scale = _mm512_set1_ps(float_at(x + at.d + token * 4));
        const __m512 dot = _mm512_cvtepi32_ps(dots[i]);
        if (kind.groups == 1) {
            sums[i] = _mm512_fmadd_ps(dot, _mm512_mul_ps(_mm512_load_ps(d + row), scale), sums[i]);
        } else {
            const __m512 both = _mm512_fmadd_ps(dot, _mm512_load_ps(d + PAIR_BYTES + row), first[i]);
            sums[i] = _mm512_fmadd_ps(both, scale, sums[i]);
        }
        if (kind.minima) {
            const __m512 units = group_sum(x + at.scaled_sum, kind.groups, 0, token);
            sums[i] = _mm512_fmadd_ps(_mm512_load_ps(m + row), units, sums[i]);
        }
        if (kind.minima && kind.groups == 2) {
            const __m512 units = group_sum(x + at.scaled_sum, kind.groups, 1, token);
            sums[i] = _mm512_fmadd_ps(_mm512_load_ps(m + PAIR_BYTES + row), units, sums[i]);
        }
    }
}

LC_INLINE void multiply_blocks(const lc_block_kind kind, const bool wide, const uint8_t *weights, int64_t n,
                               const uint8_t *tiles, size_t tile_bytes, int32_t n_tiles, float *out)
{
    const size_t x_bytes = lc_record_of(wide ? LC_FORM_INTEGERS : LC_FORM_BYTES, LC_TILE).bytes;

    for (int32_t tile = 0; tile < n_tiles; tile++, tiles += tile_bytes, out += SUMS * PANEL) {
        const uint8_t *w = weights, *x = tiles;
        __m512 sums[SUMS];
        #pragma GCC unroll 8
        for (int i = 0; i < SUMS; i++)
            sums[i] = _mm512_load_ps(out + i * PANEL);
        for (int64_t column = 0; column < n; column += LC_BLOCK, w += unpacked_bytes(kind), x += x_bytes)
            add_record(kind, wide, w, x, sums);
        #pragma GCC unroll 8
        for (int i = 0; i < SUMS; i++)
            _mm512_store_ps(out + i * PANEL, sums[i]);
    }
}

#include "../templates/kinds.h"

#define BLOCK_COLUMNS 512 /* of a slice: up to 24 KB */
