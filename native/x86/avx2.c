/* The kernels for AVX2 with FMA and F16C (Intel since 2013, AMD since 2015).
 *
 * Quantised panels are multiplied as 16-bit integers: vpmaddwd takes two columns of eight rows a step.  Where
 * activations have 8 bits and weights at most 6, vpmaddubsw takes four.
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

typedef __m256 vf;
typedef int32_t vi __attribute__((vector_size(32)));
typedef __m256i vb;

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

LC_INLINE vb vb_load(const uint8_t *p) { return _mm256_loadu_si256((const __m256i *)(const void *)p); }
LC_INLINE vb vb_set1(char x) { return _mm256_set1_epi8(x); }
LC_INLINE vb vb_repeat(__m128i bytes) { return _mm256_broadcastsi128_si256(bytes); }
LC_INLINE vb vb_lookup(vb table, vb v) { return _mm256_shuffle_epi8(table, v); }
LC_INLINE vb vb_and(vb a, vb b) { return _mm256_and_si256(a, b); }
LC_INLINE vb vb_xor(vb a, vb b) { return _mm256_xor_si256(a, b); }
LC_INLINE vb vb_left(vb v, const int n) { return _mm256_slli_epi16(v, n); }
LC_INLINE vb vb_right(vb v, const int n) { return _mm256_srli_epi16(v, n); }
LC_INLINE vb vb_with(vb v, vb w, vb mask) { return _mm256_or_si256(v, _mm256_and_si256(w, mask)); }

#define ATTENTION_KEYS(rows) ((rows) <= 6 ? 2 : 1)
#define ATTENTION_CHAINS(rows) ((rows) == 1 ? 4 : (rows) <= 3 ? 2 : 1)
#define ATTENTION_VALUES(rows) ((rows) == 1 ? 8 : (rows) <= 3 ? 4 : (rows) <= 6 ? 2 : 1)
#define ATTENTION_QUERIES 3
#define ATTENTION_STEP 4

#define FLOAT_SUMS 8
#define FLOAT_TILES 1

#include "../templates/vector.h"
#include "../templates/floats.h"
#include "../templates/attention_few.h"
#include "../templates/attention_many.h"

#include "blocks.h"
#include "avx2_dot.h"
#include "avx2_gemm.h"
#include "../templates/dispatch.h"
#include "avx2_pack.h"
#include "../templates/integers.h"

static lc_gemm gemm(const lc_type_info *info, lc_precision precision)
{
    if (lc_type_is_block(info))
        return gemm_of_blocks(info, precision);
    return (lc_gemm){LC_FORM_FLOATS, FLOAT_COLUMNS, unpack(info), multiply_floats};
}

const lc_kernels lc_kernels_avx2 = {
    .name = "avx2",
    .panel = PANEL,
    .dot = dot,
    .form = form,
    .gemm = gemm,
    .pack = {pack_floats, pack_integers, pack_bytes, NULL},
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
