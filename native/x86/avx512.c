/* The kernels for AVX-512 with VNNI (Intel since 2019, AMD since 2022).
 *
 * Quantised panels are multiplied by vpdpbusd: four columns of sixteen rows a step, unsigned weights by signed
 * activations.  An activation of 15 bits is two bytes, high * 128 + low (see LC_Q_MAX): two steps.  What the weights
 * are too large by, for being unsigned, is in the value that sums start with: it costs nothing.
 */
#if defined(__x86_64__)
#include <float.h>
#include <math.h>

#include "../kernels.h"
#include "avx512_bf16.h"
#include "cpu.h"
#include "target.h"

LC_TARGET_BEGIN_AVX512
#include <immintrin.h>

#define LANES 16
#define PANEL LANES

typedef __m512 vf;
typedef int32_t vi __attribute__((vector_size(64)));
typedef __m512i vb;

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

LC_INLINE vb vb_load(const uint8_t *p) { return _mm512_loadu_si512(p); }
LC_INLINE vb vb_set1(char x) { return _mm512_set1_epi8(x); }
LC_INLINE vb vb_repeat(__m128i bytes) { return _mm512_broadcast_i32x4(bytes); }
LC_INLINE vb vb_lookup(vb table, vb v) { return _mm512_shuffle_epi8(table, v); }
LC_INLINE vb vb_and(vb a, vb b) { return _mm512_and_si512(a, b); }
LC_INLINE vb vb_xor(vb a, vb b) { return _mm512_xor_si512(a, b); }
LC_INLINE vb vb_left(vb v, const int n) { return _mm512_slli_epi16(v, n); }
LC_INLINE vb vb_right(vb v, const int n) { return _mm512_srli_epi16(v, n); }
LC_INLINE vb vb_with(vb v, vb w, vb mask) { return _mm512_ternarylogic_epi32(v, w, mask, 0xf8); /* v | (w & mask) */ }

#define ATTENTION_KEYS(rows) ((rows) <= 6 ? 1 : 2)
#define ATTENTION_CHAINS(rows) ((rows) <= 2 ? 4 : (rows) <= 6 ? 2 : 1)
#define ATTENTION_VALUES(rows) ((rows) <= 3 ? 8 : (rows) <= 6 ? 4 : 2)
#define ATTENTION_QUERIES 3
#define ATTENTION_STEP 8

/* Sums of eight columns of one token hide an addition's latency; 24 registers of sums of several tokens leave room for
 * weights. */
#define FLOAT_SUMS 8
#define FLOAT_TILES 3

#include "../templates/vector.h"
#include "../templates/floats.h"
#include "../templates/attention_few.h"
#include "../templates/attention_many.h"

#include "blocks.h"
#include "avx512_dot.h"
#include "avx512_gemm.h"
#include "../templates/dispatch.h"
#include "avx512_pack.h"
#include "../templates/integers.h"

static lc_gemm gemm(const lc_type_info *info, lc_precision precision)
{
    const bool bf16 = precision == LC_FAST && (info->type == LC_F16 || info->type == LC_BF16);
    if (lc_type_is_block(info))
        return gemm_of_blocks(info, precision);
    if (bf16 && lc_cpu_has_avx512_bf16())
        return info->type == LC_F16 ? lc_gemm_bf16_of_f16 : lc_gemm_bf16;
    return (lc_gemm){LC_FORM_FLOATS, FLOAT_COLUMNS, unpack(info), multiply_floats};
}

const lc_kernels lc_kernels_avx512 = {
    .name = "avx512",
    .panel = PANEL,
    .dot = dot,
    .form = form,
    .gemm = gemm,
    .pack = {pack_floats, pack_integers, pack_bytes, lc_pack_bf16},
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
