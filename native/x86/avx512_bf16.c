/* Products of several tokens in bf16, which AMD has since 2022 and Intel in some since 2020: vdpbf16ps multiplies two
 * columns of sixteen rows a step, and sums in floats.
 *
 * Unpacked, weights are bf16 [pair of columns][pair of panels][row][2].
 */
#if defined(__x86_64__)
#include "avx512_bf16.h"

#include "target.h"
LC_TARGET_BEGIN_AVX512_BF16
#include <immintrin.h>

#define PANEL 16
#define TILES 3 /* at once: 24 registers of sums, which hide the latency */

LC_INLINE __m256i halves_at(const uint8_t *p) { return _mm256_loadu_si256((const __m256i *)(const void *)p); }

/* Two columns of a panel as bf16, side by side. */
LC_INLINE __m512i pair_of(const int32_t type, const uint8_t *column, const bool has_second)
{
    const __m256i first = halves_at(column);
    const __m256i second = has_second ? halves_at(column + PANEL * 2) : _mm256_setzero_si256();
    __m256i a = first, b = second;
    if (type == LC_F16) {
        a = (__m256i)_mm512_cvtneps_pbh(_mm512_cvtph_ps(first));
        b = (__m256i)_mm512_cvtneps_pbh(_mm512_cvtph_ps(second));
    }
    return _mm512_or_si512(_mm512_cvtepu16_epi32(a), _mm512_slli_epi32(_mm512_cvtepu16_epi32(b), 16));
}

LC_INLINE void unpack_type(const int32_t type, const lc_panel_layout *layout, const uint8_t *const panels[LC_PAIR],
                           int64_t column, int64_t n, uint8_t *weights)
{
    for (int p = 0; p < LC_PAIR; p++) {
        const uint8_t *at = panels[p] + (size_t)column * layout->record;
        for (int64_t i = 0; i < n; i += 2, at += 2 * layout->record) {
            lc_ahead_of(LC_AGAIN, layout, at, 2 * layout->record);
            _mm512_store_si512(weights + (i / 2 * LC_PAIR + p) * PANEL * 4, pair_of(type, at, i + 1 < n));
        }
    }
}

static void unpack_f16(const lc_panel_layout *layout, const uint8_t *const panels[LC_PAIR], int64_t column, int64_t n,
                       void *weights)
{
    unpack_type(LC_F16, layout, panels, column, n, weights);
}

static void unpack_bf16(const lc_panel_layout *layout, const uint8_t *const panels[LC_PAIR], int64_t column, int64_t n,
                        void *weights)
{
    unpack_type(LC_BF16, layout, panels, column, n, weights);
}

LC_INLINE void multiply_tiles(const int tiles, const uint8_t *weights, int64_t n, const uint8_t *x, size_t tile_bytes,
                              float *out)
{
    __m512 sums[TILES * LC_PAIR * LC_TILE]; /* as in memory: [tile][pair][token] */

    #pragma GCC unroll 24
    for (int i = 0; i < tiles * LC_PAIR * LC_TILE; i++)
        sums[i] = _mm512_load_ps(out + i * PANEL);
    for (int64_t column = 0; column < n; column += 2, weights += LC_PAIR * PANEL * 4, x += LC_TILE * 4) {
        __m512bh w[LC_PAIR];
        #pragma GCC unroll 2
        for (int p = 0; p < LC_PAIR; p++)
            w[p] = (__m512bh)_mm512_load_si512(weights + p * PANEL * 4);
        #pragma GCC unroll 12
        for (int t = 0; t < tiles * LC_TILE; t++) {
            int32_t two;
            memcpy(&two, x + (size_t)(t / LC_TILE) * tile_bytes + t % LC_TILE * 4, 4);
            const __m512bh value = (__m512bh)_mm512_set1_epi32(two);
            #pragma GCC unroll 2
            for (int p = 0; p < LC_PAIR; p++) {
                const int i = (t / LC_TILE * LC_PAIR + p) * LC_TILE + t % LC_TILE;
                sums[i] = _mm512_dpbf16_ps(sums[i], w[p], value);
            }
        }
    }
    #pragma GCC unroll 24
    for (int i = 0; i < tiles * LC_PAIR * LC_TILE; i++)
        _mm512_store_ps(out + i * PANEL, sums[i]);
}

static void multiply(const void *weights, int64_t n, const uint8_t *tiles, size_t tile_bytes, int32_t n_tiles,
                     float *sums)
{
    const size_t step = LC_PAIR * LC_TILE * PANEL;
    for (; n_tiles >= TILES; n_tiles -= TILES, tiles += TILES * tile_bytes, sums += TILES * step)
        multiply_tiles(TILES, weights, n, tiles, tile_bytes, sums);
    for (; n_tiles > 0; n_tiles--, tiles += tile_bytes, sums += step)
        multiply_tiles(1, weights, n, tiles, tile_bytes, sums);
}

/* Sixteen columns as bf16; fewer: zeros after them. */
LC_INLINE __m256i halves_of(const float *x, int64_t column, int64_t cols)
{
    if (!x)
        return _mm256_setzero_si256();
    const int64_t left = cols - column;
    const __mmask16 mask = left >= 16 ? 0xffff : (__mmask16)((1u << left) - 1);
    return (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, x + column));
}

void lc_pack_bf16(const float *const x[LC_TILE], int64_t cols, int32_t width, void *tile)
{
    uint8_t *dst = tile;
    (void)width; /* one token alone meets floats */
    for (int64_t column = 0; column < cols; column += 16, dst += 8 * LC_TILE * 4) {
        uint32_t pairs[LC_TILE][8];
        const int64_t n = lc_min((cols - column + 1) / 2, 8);
        for (int t = 0; t < LC_TILE; t++)
            _mm256_storeu_si256((__m256i *)(void *)pairs[t], halves_of(x[t], column, cols));
        for (int64_t i = 0; i < n; i++)
            for (int t = 0; t < LC_TILE; t++)
                memcpy(dst + (i * LC_TILE + t) * 4, &pairs[t][i], 4);
    }
}

#define COLUMNS (LC_SLICE_BYTES / (LC_PAIR * PANEL * 2))

const lc_gemm lc_gemm_bf16 = {LC_FORM_HALVES, COLUMNS, unpack_bf16, multiply};
const lc_gemm lc_gemm_bf16_of_f16 = {LC_FORM_HALVES, COLUMNS, unpack_f16, multiply};

LC_TARGET_END
#else
typedef int lc_not_x86; /* a file may not be empty */
#endif
