/* The kernels for ARM with dot products (ARMv8.2: Apple since 2018, Cortex-A76, Graviton 2).
 *
 * Quantised panels are multiplied by sdot: four columns of four rows a step, the four columns of a token being a lane
 * of a register of sixteen.  Both sides are signed, so weights without minima are moved down until 0 is zero.
 */
#include "target.h"
#if defined(LC_HAS_NEON)
#include <arm_neon.h>
#include <float.h>
#include <math.h>

#include "../kernels.h"

LC_TARGET_BEGIN_DOTPROD

#define LANES 4
#define PANEL LANES

typedef float32x4_t vf;
typedef int32_t vi __attribute__((vector_size(16)));

LC_INLINE vf vf_load(const float *p) { return vld1q_f32(p); }
LC_INLINE void vf_store(float *p, vf v) { vst1q_f32(p, v); }
LC_INLINE vf vf_set1(float x) { return vdupq_n_f32(x); }
LC_INLINE vf vf_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
LC_INLINE vf vf_max(vf a, vf b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
LC_INLINE vf vf_swap_pairs(vf v) { return vrev64q_f32(v); }
LC_INLINE float vf_sum(vf v) { return vaddvq_f32(v); }
LC_INLINE float vf_highest(vf v) { return vmaxvq_f32(v); }
LC_INLINE vf vf_load_f16(const uint16_t *p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
LC_INLINE vf vf_load_bf16(const uint16_t *p) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16)); }
LC_INLINE void vf_store_f16(uint16_t *p, vf v) { vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(v))); }
LC_INLINE vf vf_load_i8(const int8_t *p)
{
    int32_t four;
    memcpy(&four, p, sizeof four);
    const int16x8_t wide = vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(four)));
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide)));
}

#define ATTENTION_KEYS(rows) ((rows) <= 4 ? 4 : 2)
#define ATTENTION_CHAINS(rows) ((rows) == 1 ? 4 : (rows) == 2 ? 2 : 1)
#define ATTENTION_VALUES(rows) ((rows) == 1 ? 16 : (rows) == 2 ? 8 : (rows) <= 4 ? 4 : 2)
#define ATTENTION_QUERIES 4
#define ATTENTION_STEP 4

#define FLOAT_SUMS 8
#define FLOAT_TILES 2

#include "../templates/vector.h"
#include "../templates/floats.h"
#include "../templates/attention_few.h"
#include "../templates/attention_many.h"

/* The loops over bytes there are what compilers make vectors of. */
#include "../generic/blocks.h"
#include "neon_dot.h"
#include "neon_gemm.h"
#include "../templates/dispatch.h"
#include "neon_pack.h"
#include "../templates/integers.h"

static lc_gemm gemm(const lc_type_info *info, lc_precision precision)
{
    if (lc_type_is_block(info))
        return gemm_of_blocks(info, precision);
    return (lc_gemm){LC_FORM_FLOATS, FLOAT_COLUMNS, unpack(info), multiply_floats};
}

const lc_kernels lc_kernels_neon = {
    .name = "neon",
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
typedef int lc_no_neon; /* a file may not be empty */
#endif
