/* The kernels for AVX-512 with VNNI (Intel since 2019, AMD since 2022).
 *
 * Quantised panels are multiplied by vpdpbusd: four columns of sixteen rows a step, unsigned weights by signed
 * activations.  An activation is two bytes, high * 128 + low (see LC_Q_MAX): two steps.  What the weights are too
 * large by, for being unsigned, is taken off with the block's sum of activations.
 */
#if defined(__x86_64__)
#include <float.h>
#include <math.h>

#include "../kernels.h"

#include "target.h"
LC_TARGET_BEGIN_AVX512
#include <immintrin.h>

#define LANES 16
#define PANEL LANES
#define TILE 12

typedef __m512 vf;
typedef int32_t vi __attribute__((vector_size(64)));

LC_INLINE vf vf_load(const float *p) { return _mm512_loadu_ps(p); }
LC_INLINE void vf_store(float *p, vf v) { _mm512_storeu_ps(p, v); }
LC_INLINE vf vf_set1(float x) { return _mm512_set1_ps(x); }
LC_INLINE vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
LC_INLINE vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
LC_INLINE vf vf_swap_pairs(vf v) { return _mm512_permute_ps(v, 0xb1); }
LC_INLINE float vf_sum(vf v) { return _mm512_reduce_add_ps(v); }
LC_INLINE float vf_highest(vf v) { return _mm512_reduce_max_ps(v); }
LC_INLINE vf vf_load_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
LC_INLINE vf vf_load_bf16(const uint16_t *p)
{
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
LC_INLINE void vf_store_f16(uint16_t *p, vf v)
{
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}

LC_INLINE vf vf_load_i8(const int8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}

#define ATTENTION_VECTORS(rows) ((rows) <= 6 ? 4 : 2)
#define ATTENTION_QUERIES 3
#define ATTENTION_STEP 8

#include "../templates/vector.h"
#include "../templates/floats.h"
#include "../templates/attention_few.h"
#include "../templates/attention_many.h"

/* ---- integers: q is [token]{32 high bytes, 32 low bytes} ---- */

#include "avx512_blocks.h"

LC_INLINE __m512i columns_of(const uint8_t *x)
{
    int32_t four;
    memcpy(&four, x, 4);
    return _mm512_set1_epi32(four);
}

/* sum + a group of a block's columns times one token of a record.  What the weights are too large by, for being
 * unsigned, is in the sum that the low plane starts with. */
LC_INLINE __m512 add_group(const lc_block_kind kind, const int group, const int width, const quants *q, __m512 d,
                           __m512 m, const uint8_t *record, const int token, __m512 sum)
{
    const lc_record at = lc_record_of(width);
    const float *scaled_sum = (const float *)(const void *)(record + at.scaled_sum) + token;
    const int32_t *start = (const int32_t *)(const void *)(record + at.start) + token;
    const int steps = LC_STEPS / kind.groups, first = group * steps;
    const uint8_t *x = record + token * 64;
    __m512i high = _mm512_setzero_si512(), low = _mm512_setzero_si512();

    if (!kind.minima) {
        const int32_t units = group ? start[0] - start[width] : start[kind.groups == 2 ? width : 0];
        low = _mm512_set1_epi32(units / LC_START_ZERO * kind.zero);
    }
    #pragma GCC unroll 8
    for (int k = first; k < first + steps; k++) {
        high = _mm512_dpbusd_epi32(high, q->step[k], columns_of(x + k * 4));
        low = _mm512_dpbusd_epi32(low, q->step[k], columns_of(x + 32 + k * 4));
    }
    const __m512 dot = _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(high, 7), low));
    const float scale = ((const float *)(const void *)(record + at.d))[token];
    sum = _mm512_fmadd_ps(dot, _mm512_mul_ps(d, _mm512_set1_ps(scale)), sum);
    if (kind.minima) {
        const float units = group ? scaled_sum[0] - scaled_sum[width] : scaled_sum[kind.groups == 2 ? width : 0];
        sum = _mm512_fmadd_ps(m, _mm512_set1_ps(units), sum);
    }
    return sum;
}

LC_INLINE void dot_blocks(const int32_t type, const int width, const lc_panel_layout *layout, const uint8_t *panel,
                          const uint8_t *x, int32_t n, float *out)
{
    const lc_block_kind kind = lc_block_kind_of(type);
    const size_t x_bytes = lc_record_of(width).bytes;
    const size_t part = (size_t)(kind.bytes * PANEL / (kind.columns / LC_BLOCK)); /* of a record: 32 columns */
    __m512 sums[TILE];

    #pragma GCC unroll 12
    for (int t = 0; t < width; t++)
        sums[t] = _mm512_setzero_ps();
    for (int64_t record = 0; record < layout->blocks; record++, panel += layout->record) {
        scales s;
        scales_of(type, panel, &s);
        #pragma GCC unroll 8
        for (int i = 0; i < kind.columns / LC_BLOCK; i++, x += x_bytes) {
            quants q;
            quants_of(type, panel, i, &q);
            if (width == 1)
                lc_prefetch_ahead(panel + (size_t)i * part, part);
            #pragma GCC unroll 12
            for (int t = 0; t < width; t++)
                #pragma GCC unroll 2
                for (int g = 0; g < kind.groups; g++) {
                    const int at = i * kind.groups + g;
                    sums[t] = add_group(kind, g, width, &q, s.d[at], s.m[at], x, t, sums[t]);
                }
        }
    }
    #pragma GCC unroll 12
    for (int t = 0; t < width; t++)
        if (t < n)
            _mm512_storeu_ps(out + t * PANEL, sums[t]);
}

LC_INLINE void dot_tile(const int32_t type, const int width, const lc_panel_layout *layout, const uint8_t *panel,
                        const void *tile, int32_t n, float *out)
{
    if (lc_is_float(type))
        dot_floats(type, width, width == 1 ? 8 : width == 4 ? 4 : 2, layout, panel, tile, n, out);
    else
        dot_blocks(type, width, layout, panel, tile, n, out);
}

/* By the width of the tile. */
LC_INLINE void dot_type(const int32_t type, const lc_panel_layout *layout, const uint8_t *panel, const void *tile,
                        int32_t n, float *out)
{
    if (n == 1)
        dot_tile(type, 1, layout, panel, tile, n, out);
    else if (n <= 4)
        dot_tile(type, 4, layout, panel, tile, n, out);
    else if (n <= 8)
        dot_tile(type, 8, layout, panel, tile, n, out);
    else
        dot_tile(type, TILE, layout, panel, tile, n, out);
}

#include "../templates/dispatch.h"

static lc_form form(const lc_type_info *info)
{
    return lc_type_is_block(info) ? LC_FORM_INTEGERS : LC_FORM_FLOATS;
}

/* ---- packing ---- */

/* The largest magnitude of a block.  Compared as integers: a NaN is above all numbers, and stays. */
LC_INLINE float largest_of(__m512 a, __m512 b)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    const __m512i most = _mm512_max_epi32(_mm512_and_si512(_mm512_castps_si512(a), magnitude),
                                          _mm512_and_si512(_mm512_castps_si512(b), magnitude));
    return lc_float_of_bits((uint32_t)_mm512_reduce_max_epi32(most));
}

/* Sixteen columns: stores both bytes of each, returns the integers. */
LC_INLINE __m512i quantize(__m512 x, __m512 inverse, uint8_t *dst)
{
    const __m512i q = _mm512_cvtps_epi32(_mm512_mul_ps(x, inverse));
    const __m512i high = _mm512_srai_epi32(_mm512_add_epi32(q, _mm512_set1_epi32(64)), 7);
    const __m512i low = _mm512_sub_epi32(q, _mm512_slli_epi32(high, 7));
    _mm_storeu_si128((__m128i *)(void *)dst, _mm512_cvtepi32_epi8(high));
    _mm_storeu_si128((__m128i *)(void *)(dst + LC_BLOCK), _mm512_cvtepi32_epi8(low));
    return q;
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
        const __m512 first = x ? _mm512_loadu_ps(x + b * LC_BLOCK) : _mm512_setzero_ps();
        const __m512 second = x ? _mm512_loadu_ps(x + b * LC_BLOCK + 16) : _mm512_setzero_ps();
        const float most = largest_of(first, second);
        if (most < LC_Q_TINY) {
            memset(dst, 0, 64);
            *d = scaled_sum[0] = scaled_sum[width] = 0.0f;
            start[0] = start[width] = 0;
            continue;
        }
        const __m512 inverse = _mm512_set1_ps(LC_Q_MAX / most);
        const int32_t half = _mm512_reduce_add_epi32(quantize(first, inverse, dst));
        const int32_t all = half + _mm512_reduce_add_epi32(quantize(second, inverse, dst + 16));
        *d = most / LC_Q_MAX;
        start[0] = -LC_START_ZERO * all;
        start[width] = -LC_START_ZERO * half;
        scaled_sum[0] = *d * (float)all;
        scaled_sum[width] = *d * (float)half;
    }
}

const lc_kernels lc_kernels_avx512 = {
    .name = "avx512",
    .panel = PANEL,
    .tile = TILE,
    .width = {0, 1, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12},
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
