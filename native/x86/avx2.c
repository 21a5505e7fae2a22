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

#define ATTENTION_ROWS 6
#define ATTENTION_VECTORS 2

#include "../templates/vector.h"
#include "../templates/floats.h"
#include "../templates/attention.h"

/* ---- integers: [block][token][pair of steps], see pack_integers ---- */

/* The weights of step k (columns 4k..4k+3), even (0, 2) or odd (1, 3) columns, as 16-bit integers: two for each row. */
LC_INLINE __m256i weights_of_bytes(const uint8_t *q, const int k, const int odd)
{
    const __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)(q + k * PANEL * 4));
    return odd ? _mm256_srai_epi16(bytes, 8) : _mm256_srai_epi16(_mm256_slli_epi16(bytes, 8), 8);
}

LC_INLINE __m256i weights_of_nibbles(const uint8_t *q, const __m256i high, const bool has_high, const int k,
                                     const int odd)
{
    const __m256i pairs = _mm256_loadu_si256((const __m256i *)(const void *)(q + k % 4 * PANEL * 4));
    const __m256i shifted = _mm256_srli_epi16(pairs, k / 4 * 4 + odd * 8);
    __m256i w = _mm256_and_si256(shifted, _mm256_set1_epi16(15));
    if (has_high) {
        const int bit = k + 8 * odd; /* of each 16-bit word */
        const __m256i moved =
            bit < 4 ? _mm256_slli_epi16(high, (4 - bit) & 15) : _mm256_srli_epi16(high, (bit - 4) & 15);
        w = _mm256_or_si256(w, _mm256_and_si256(moved, _mm256_set1_epi16(16)));
    }
    return w;
}

LC_INLINE __m256 load_scales(const uint8_t *p) { return vf_load_f16((const uint16_t *)(const void *)p); }

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
    __m256 sums[TILE];

    for (int t = 0; t < width; t++)
        sums[t] = _mm256_setzero_ps();
    for (int64_t b = 0; b < blocks; b++, panel += record, x += width * 64, scale += width, scaled_sum += width) {
        const uint8_t *q = panel + q_at;
        __m256i products[TILE];
        __m256i high = _mm256_setzero_si256();
        if (has_high)
            high = _mm256_loadu_si256((const __m256i *)(const void *)(panel + high_at));
        for (int t = 0; t < width; t++)
            products[t] = _mm256_setzero_si256();
        if (width == 1)
            lc_prefetch_ahead(panel, record);
        #pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            const int k = i / 2, odd = i % 2;
            const __m256i w =
                q_bytes == LC_BLOCK ? weights_of_bytes(q, k, odd) : weights_of_nibbles(q, high, has_high, k, odd);
            #pragma GCC unroll 4
            for (int t = 0; t < width; t++) {
                int32_t pair;
                memcpy(&pair, x + t * 64 + i * 4, 4);
                products[t] = _mm256_add_epi32(products[t], _mm256_madd_epi16(w, _mm256_set1_epi32(pair)));
            }
        }
        const __m256 d = load_scales(panel);
        __m256 m = _mm256_mul_ps(d, _mm256_set1_ps((float)-zero));
        if (has_m)
            m = load_scales(panel + m_at);
        #pragma GCC unroll 4
        for (int t = 0; t < width; t++) {
            const __m256 dot = _mm256_cvtepi32_ps(products[t]);
            sums[t] = _mm256_fmadd_ps(dot, d * _mm256_set1_ps(scale[t]), sums[t]);
            if (has_m || zero)
                sums[t] = _mm256_fmadd_ps(m, _mm256_set1_ps(scaled_sum[t]), sums[t]);
        }
    }
    for (int t = 0; t < n; t++)
        _mm256_storeu_ps(out + t * PANEL, sums[t]);
}

/* Each type for one token and for a tile. */
#define DEFINE_DOT(name, function, ...)                                                                              \
    static void name(const lc_panel_layout *layout, const uint8_t *panel, const void *tile, int32_t n, float *out)   \
    {                                                                                                                \
        if (n == 1)                                                                                                  \
            function(__VA_ARGS__, 1, layout, panel, tile, n, out);                                                   \
        else                                                                                                         \
            function(__VA_ARGS__, TILE, layout, panel, tile, n, out);                                                \
    }

LC_INLINE void dot_columns(int32_t type, const int width, const lc_panel_layout *layout, const uint8_t *panel,
                           const void *tile, int32_t n, float *out)
{
    dot_floats(type, width, width == 1 ? 8 : 2, layout, panel, tile, n, out);
}

DEFINE_DOT(dot_f32, dot_columns, LC_F32)
DEFINE_DOT(dot_f16, dot_columns, LC_F16)
DEFINE_DOT(dot_bf16, dot_columns, LC_BF16)
DEFINE_DOT(dot_q4_0, dot_integers, 16, false, false, 8)
DEFINE_DOT(dot_q4_1, dot_integers, 16, false, true, 0)
DEFINE_DOT(dot_q5_0, dot_integers, 16, true, false, 16)
DEFINE_DOT(dot_q5_1, dot_integers, 16, true, true, 0)
DEFINE_DOT(dot_q8_0, dot_integers, 32, false, false, 0)

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
    const int64_t blocks = cols / LC_BLOCK;
    uint8_t *dst = (uint8_t *)tile + token * 64;
    float *scale = (float *)(void *)((uint8_t *)tile + blocks * width * 64) + token;
    float *scaled_sum = scale + blocks * width;

    for (int64_t b = 0; b < blocks; b++, dst += width * 64, scale += width, scaled_sum += width) {
        const float most = x ? largest_of(x + b * LC_BLOCK) : 0.0f;
        if (most < LC_Q_TINY) {
            memset(dst, 0, 64);
            *scale = *scaled_sum = 0.0f;
            continue;
        }
        const __m256 inverse = _mm256_set1_ps(LC_Q_MAX / most);
        __m256i total = _mm256_setzero_si256();
        for (int i = 0; i < LC_BLOCK; i += 16) {
            const __m256i low = quantize(x + b * LC_BLOCK + i, inverse);
            const __m256i high = quantize(x + b * LC_BLOCK + i + 8, inverse);
            const __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), _MM_SHUFFLE(3, 1, 2, 0));
            _mm256_storeu_si256((__m256i *)(void *)(dst + i * 2), both);
            total = _mm256_add_epi32(total, _mm256_add_epi32(low, high));
        }
        *scale = most / LC_Q_MAX;
        *scaled_sum = *scale * (float)sum_of(total);
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
