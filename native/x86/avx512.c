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

#define ATTENTION_ROWS 6
#define ATTENTION_VECTORS 4

#include "../templates/vector.h"
#include "../templates/floats.h"
#include "../templates/attention.h"

/* ---- integers: [block][token]{32 high bytes, 32 low bytes} ---- */

#define STEPS (LC_BLOCK / 4)

/* A block's weights as unsigned bytes, one register a step. */
LC_INLINE void unpack_bytes(const uint8_t *q, __m512i weights[STEPS])
{
    #pragma GCC unroll 8
    for (int k = 0; k < STEPS; k++)
        weights[k] = _mm512_xor_si512(_mm512_loadu_si512(q + k * PANEL * 4), _mm512_set1_epi8(-128));
}

LC_INLINE void unpack_nibbles(const uint8_t *q, __m512i weights[STEPS])
{
    const __m512i low = _mm512_set1_epi8(15);
    #pragma GCC unroll 4
    for (int k = 0; k < STEPS / 2; k++) {
        const __m512i pairs = _mm512_loadu_si512(q + k * PANEL * 4);
        weights[k] = _mm512_and_si512(pairs, low);
        weights[k + 4] = _mm512_and_si512(_mm512_srli_epi16(pairs, 4), low);
    }
}

LC_INLINE void add_high_bits(const uint8_t *section, __m512i weights[STEPS])
{
    const __m512i high = _mm512_loadu_si512(section);
    #pragma GCC unroll 8
    for (int k = 0; k < STEPS; k++) {
        const __m512i moved = k < 4 ? _mm512_slli_epi16(high, 4 - k) : _mm512_srli_epi16(high, k - 4);
        weights[k] = _mm512_ternarylogic_epi32(weights[k], moved, _mm512_set1_epi8(16), 0xf8); /* a | (b & c) */
    }
}

LC_INLINE __m512i columns_of(const uint8_t *x)
{
    int32_t four;
    memcpy(&four, x, 4);
    return _mm512_set1_epi32(four);
}

LC_INLINE __m512 load_scales(const uint8_t *p) { return vf_load_f16((const uint16_t *)(const void *)p); }

LC_INLINE void dot_integers(const int q_bytes, const bool has_high, const bool has_m, const int zero, const int width,
                            const lc_panel_layout *layout, const uint8_t *panel, const void *tile, int32_t n,
                            float *out)
{
    const int64_t blocks = layout->blocks;
    const uint8_t *x = tile;
    const float *scale = (const float *)(const void *)(x + blocks * width * 64);
    const float *scaled_sum = scale + blocks * width;
    const size_t m_at = PANEL * 2, high_at = m_at + PANEL * 2 * has_m, q_at = high_at + PANEL * 4 * has_high;
    const size_t record = q_at + PANEL * (size_t)q_bytes;
    __m512 sums[TILE];

    #pragma GCC unroll 12
    for (int t = 0; t < width; t++)
        sums[t] = _mm512_setzero_ps();
    for (int64_t b = 0; b < blocks; b++, panel += record, x += width * 64, scale += width, scaled_sum += width) {
        __m512i weights[STEPS];
        if (q_bytes == LC_BLOCK)
            unpack_bytes(panel + q_at, weights);
        else
            unpack_nibbles(panel + q_at, weights);
        if (has_high)
            add_high_bits(panel + high_at, weights);
        if (width == 1)
            lc_prefetch_ahead(panel, record);
        const __m512 d = load_scales(panel);
        __m512 m = _mm512_mul_ps(d, _mm512_set1_ps((float)-zero));
        if (has_m)
            m = load_scales(panel + m_at);
        #pragma GCC unroll 12
        for (int t = 0; t < width; t++) {
            __m512i high = _mm512_setzero_si512(), low = _mm512_setzero_si512();
            #pragma GCC unroll 8
            for (int k = 0; k < STEPS; k++) {
                high = _mm512_dpbusd_epi32(high, weights[k], columns_of(x + t * 64 + k * 4));
                low = _mm512_dpbusd_epi32(low, weights[k], columns_of(x + t * 64 + 32 + k * 4));
            }
            const __m512 dot = _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(high, 7), low));
            sums[t] = _mm512_fmadd_ps(dot, _mm512_mul_ps(d, _mm512_set1_ps(scale[t])), sums[t]);
            sums[t] = _mm512_fmadd_ps(m, _mm512_set1_ps(scaled_sum[t]), sums[t]);
        }
    }
    #pragma GCC unroll 12
    for (int t = 0; t < width; t++)
        if (t < n)
            _mm512_storeu_ps(out + t * PANEL, sums[t]);
}

/* Each type by the width of the tile. */
#define DEFINE_DOT(name, function, ...)                                                                              \
    static void name(const lc_panel_layout *layout, const uint8_t *panel, const void *tile, int32_t n, float *out)   \
    {                                                                                                                \
        if (n == 1)                                                                                                  \
            function(__VA_ARGS__, 1, layout, panel, tile, n, out);                                                   \
        else if (n <= 4)                                                                                             \
            function(__VA_ARGS__, 4, layout, panel, tile, n, out);                                                   \
        else if (n <= 8)                                                                                             \
            function(__VA_ARGS__, 8, layout, panel, tile, n, out);                                                   \
        else                                                                                                         \
            function(__VA_ARGS__, TILE, layout, panel, tile, n, out);                                                \
    }

LC_INLINE void dot_columns(int32_t type, const int width, const lc_panel_layout *layout, const uint8_t *panel,
                           const void *tile, int32_t n, float *out)
{
    dot_floats(type, width, width == 1 ? 8 : width == 4 ? 4 : 2, layout, panel, tile, n, out);
}

DEFINE_DOT(dot_f32, dot_columns, LC_F32)
DEFINE_DOT(dot_f16, dot_columns, LC_F16)
DEFINE_DOT(dot_bf16, dot_columns, LC_BF16)
DEFINE_DOT(dot_q4_0, dot_integers, 16, false, false, 8)
DEFINE_DOT(dot_q4_1, dot_integers, 16, false, true, 0)
DEFINE_DOT(dot_q5_0, dot_integers, 16, true, false, 16)
DEFINE_DOT(dot_q5_1, dot_integers, 16, true, true, 0)
DEFINE_DOT(dot_q8_0, dot_integers, 32, false, false, 128)

static lc_dot_kernel *dot(const lc_type_info *info)
{
    switch (info->type) {
    case LC_F32: return dot_f32;
    case LC_F16: return dot_f16;
    case LC_BF16: return dot_bf16;
    case LC_Q4_0: return dot_q4_0;
    case LC_Q4_1: return dot_q4_1;
    case LC_Q5_0: return dot_q5_0;
    case LC_Q5_1: return dot_q5_1;
    default: return dot_q8_0;
    }
}

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
    const int64_t blocks = cols / LC_BLOCK;
    uint8_t *dst = (uint8_t *)tile + token * 64;
    float *scale = (float *)(void *)((uint8_t *)tile + blocks * width * 64) + token;
    float *scaled_sum = scale + blocks * width;

    for (int64_t b = 0; b < blocks; b++, dst += width * 64, scale += width, scaled_sum += width) {
        const __m512 first = x ? _mm512_loadu_ps(x + b * LC_BLOCK) : _mm512_setzero_ps();
        const __m512 second = x ? _mm512_loadu_ps(x + b * LC_BLOCK + 16) : _mm512_setzero_ps();
        const float most = largest_of(first, second);
        if (most < LC_Q_TINY) {
            memset(dst, 0, 64);
            *scale = *scaled_sum = 0.0f;
            continue;
        }
        const __m512 inverse = _mm512_set1_ps(LC_Q_MAX / most);
        const __m512i total = _mm512_add_epi32(quantize(first, inverse, dst), quantize(second, inverse, dst + 16));
        *scale = most / LC_Q_MAX;
        *scaled_sum = *scale * (float)_mm512_reduce_add_epi32(total);
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
