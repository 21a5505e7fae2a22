/* The kernels for AVX2 with FMA and F16C (Intel since 2013, AMD since 2015).
 *
 * Quantised panels are multiplied as 16-bit integers: vpmaddwd takes two columns of eight rows a step.  A block's
 * weights are widened to 16 bits once for a tile of tokens.
 */
#if defined(__x86_64__)
#include <float.h>
#include <math.h>

#include "../kernels.h"

#include "target.h"
LC_TARGET_BEGIN_AVX2
#include <immintrin.h>

#define LANES 8
#define PANEL LANES
#define TILE 4

typedef __m256 vf;
typedef int32_t vi __attribute__((vector_size(32)));

LC_INLINE vf vf_load(const float *p) { return _mm256_loadu_ps(p); }
LC_INLINE void vf_store(float *p, vf v) { _mm256_storeu_ps(p, v); }
LC_INLINE vf vf_set1(float x) { return _mm256_set1_ps(x); }
LC_INLINE vf vf_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
LC_INLINE vf vf_max(vf a, vf b) { return _mm256_max_ps(a, b); }
LC_INLINE vf vf_swap_pairs(vf v) { return _mm256_permute_ps(v, 0xb1); }
LC_INLINE __m128 halves_sum(vf v) { return _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1)); }
LC_INLINE float vf_sum(vf v)
{
    __m128 s = halves_sum(v);
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
LC_INLINE float vf_highest(vf v)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
LC_INLINE vf vf_load_f16(const uint16_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}
LC_INLINE vf vf_load_bf16(const uint16_t *p)
{
    const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
LC_INLINE void vf_store_f16(uint16_t *p, vf v)
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}

LC_INLINE vf vf_load_i8(const int8_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}

#define ATTENTION_VECTORS(rows) ((rows) <= 6 ? 2 : 1)
#define ATTENTION_QUERIES 3
#define ATTENTION_STEP 4

#include "../templates/vector.h"
#include "../templates/floats.h"
#include "../templates/attention_few.h"
#include "../templates/attention_many.h"

/* ---- integers: q is [token][pair of steps], see pack_integers ---- */

#include "avx2_blocks.h"

/* The even (0, 2) or odd (1, 3) columns of a step as 16-bit integers: two for each row. */
LC_INLINE __m256i words_of(__m256i bytes, const int odd)
{
    return odd ? _mm256_srli_epi16(bytes, 8) : _mm256_and_si256(bytes, _mm256_set1_epi16(255));
}

/* sum + a group's product of integers: the minimum, or what the weights are too large by for being unsigned. */
LC_INLINE __m256 add_group(const lc_block_kind kind, const int group, const int width, __m256i product, __m256 d,
                           __m256 m, const uint8_t *record, const int token, __m256 sum)
{
    const lc_record at = lc_record_of(width);
    const float scale = ((const float *)(const void *)(record + at.d))[token];
    const float *sums = (const float *)(const void *)(record + at.scaled_sum) + token;
    const float units = group ? sums[0] - sums[width] : sums[kind.groups == 2 ? width : 0];
    if (!kind.minima)
        m = _mm256_mul_ps(d, _mm256_set1_ps((float)-kind.zero));
    sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(product), d * _mm256_set1_ps(scale), sum);
    return _mm256_fmadd_ps(m, _mm256_set1_ps(units), sum);
}

/* sums[width] + a block's columns times a record. */
LC_INLINE void add_block(const lc_block_kind kind, const int width, const quants *q, const __m256 *d, const __m256 *m,
                         const uint8_t *record, __m256 *sums)
{
    #pragma GCC unroll 2
    for (int g = 0; g < kind.groups; g++) {
        const int steps = LC_STEPS / kind.groups;
        __m256i products[TILE];
        for (int t = 0; t < width; t++)
            products[t] = _mm256_setzero_si256();
        #pragma GCC unroll 16
        for (int i = 2 * g * steps; i < 2 * (g + 1) * steps; i++) {
            const __m256i w = words_of(q->step[i / 2], i % 2);
            #pragma GCC unroll 4
            for (int t = 0; t < width; t++) {
                int32_t pair;
                memcpy(&pair, record + t * 64 + i * 4, 4);
                products[t] = _mm256_add_epi32(products[t], _mm256_madd_epi16(w, _mm256_set1_epi32(pair)));
            }
        }
        #pragma GCC unroll 4
        for (int t = 0; t < width; t++)
            sums[t] = add_group(kind, g, width, products[t], d[g], m[g], record, t, sums[t]);
    }
}

LC_INLINE void dot_blocks(const int32_t type, const int width, const lc_panel_layout *layout, const uint8_t *panel,
                          const uint8_t *x, int32_t n, float *out)
{
    const lc_block_kind kind = lc_block_kind_of(type);
    const size_t x_bytes = lc_record_of(width).bytes;
    const size_t part = (size_t)(kind.bytes * PANEL / (kind.columns / LC_BLOCK)); /* of a record: 32 columns */
    __m256 sums[TILE];

    for (int t = 0; t < width; t++)
        sums[t] = _mm256_setzero_ps();
    for (int64_t record = 0; record < layout->blocks; record++, panel += layout->record) {
        scales s;
        scales_of(type, panel, &s);
        #pragma GCC unroll 8
        for (int i = 0; i < kind.columns / LC_BLOCK; i++, x += x_bytes) {
            quants q;
            quants_of(type, panel, i, &q);
            if (width == 1)
                lc_prefetch_ahead(panel + (size_t)i * part, part);
            add_block(kind, width, &q, s.d + i * kind.groups, s.m + i * kind.groups, x, sums);
        }
    }
    for (int t = 0; t < n; t++)
        _mm256_storeu_ps(out + t * PANEL, sums[t]);
}

LC_INLINE void dot_tile(const int32_t type, const int width, const lc_panel_layout *layout, const uint8_t *panel,
                        const void *tile, int32_t n, float *out)
{
    if (lc_is_float(type))
        dot_floats(type, width, width == 1 ? 8 : 2, layout, panel, tile, n, out);
    else
        dot_blocks(type, width, layout, panel, tile, n, out);
}

LC_INLINE void dot_type(const int32_t type, const lc_panel_layout *layout, const uint8_t *panel, const void *tile,
                        int32_t n, float *out)
{
    if (n == 1)
        dot_tile(type, 1, layout, panel, tile, n, out);
    else
        dot_tile(type, TILE, layout, panel, tile, n, out);
}

#include "../templates/dispatch.h"

static lc_form form(const lc_type_info *info)
{
    return lc_type_is_block(info) ? LC_FORM_INTEGERS : LC_FORM_FLOATS;
}

/* ---- packing ---- */

/* Eight columns as 32-bit integers, each four in the order 0, 2, 1, 3: vpmaddwd wants the even columns side by side,
 * and the odd ones. */
LC_INLINE __m256i quantize(const float *x, __m256 inverse)
{
    const __m256i q = _mm256_cvtps_epi32(_mm256_loadu_ps(x) * inverse);
    return _mm256_shuffle_epi32(q, _MM_SHUFFLE(3, 1, 2, 0));
}

LC_INLINE int32_t sum_of(__m256i v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_unpackhi_epi64(s, s));
    return _mm_cvtsi128_si32(s) + _mm_extract_epi32(s, 1);
}

LC_INLINE float largest_of(const float *x)
{
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
    __m256i most = _mm256_setzero_si256();
    for (int i = 0; i < LC_BLOCK; i += LANES) /* as integers: a NaN is above all numbers, and stays */
        most = _mm256_max_epi32(most, _mm256_and_si256(_mm256_castps_si256(_mm256_loadu_ps(x + i)), magnitude));
    __m128i half = _mm_max_epi32(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
    half = _mm_max_epi32(half, _mm_unpackhi_epi64(half, half));
    const int32_t a = _mm_cvtsi128_si32(half), b = _mm_extract_epi32(half, 1);
    return lc_float_of_bits((uint32_t)(a > b ? a : b));
}

static void pack_integers(const float *x, int64_t cols, int32_t token, int32_t width, void *tile)
{
    const lc_record at = lc_record_of(width);
    uint8_t *record = tile;

    for (int64_t b = 0; b < cols / LC_BLOCK; b++, record += at.bytes) {
        uint8_t *dst = record + token * 64;
        float *d = (float *)(void *)(record + at.d) + token, *scaled_sum = (float *)(void *)(record + at.scaled_sum);
        int32_t *start = (int32_t *)(void *)(record + at.start) + token;
        scaled_sum += token;
        const float most = x ? largest_of(x + b * LC_BLOCK) : 0.0f;
        if (most < LC_Q_TINY) {
            memset(dst, 0, 64);
            *d = scaled_sum[0] = scaled_sum[width] = 0.0f;
            start[0] = start[width] = 0;
            continue;
        }
        const __m256 inverse = _mm256_set1_ps(LC_Q_MAX / most);
        int32_t sums[2];
        for (int i = 0; i < 2; i++) {
            const float *from = x + b * LC_BLOCK + i * 16;
            const __m256i low = quantize(from, inverse), high = quantize(from + 8, inverse);
            const __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), _MM_SHUFFLE(3, 1, 2, 0));
            _mm256_storeu_si256((__m256i *)(void *)(dst + i * 32), both);
            sums[i] = sum_of(_mm256_add_epi32(low, high));
        }
        *d = most / LC_Q_MAX;
        start[0] = -LC_START_ZERO * (sums[0] + sums[1]);
        start[width] = -LC_START_ZERO * sums[0];
        scaled_sum[0] = *d * (float)(sums[0] + sums[1]);
        scaled_sum[width] = *d * (float)sums[0];
    }
}

const lc_kernels lc_kernels_avx2 = {
    .name = "avx2",
    .panel = PANEL,
    .tile = TILE,
    .width = {0, 1, 4, 4, 4},
    .form = form,
    .dot = dot,
    .pack = {[LC_FORM_FLOATS] = pack_floats, [LC_FORM_INTEGERS] = pack_integers},
    .rmsnorm = rmsnorm,
    .swiglu = swiglu,
    .rope = rope,
    .to_f16 = to_f16,
    .attend = attend,
};

LC_TARGET_END
#else
typedef int lc_not_x86; /* a file may not be empty */
#endif
