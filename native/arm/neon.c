/* The kernels for ARM with dot products (ARMv8.2: Apple since 2018, Cortex-A76, Graviton 2).
 *
 * Quantised panels are multiplied by sdot: four columns of four rows a step, the four columns of a token being a lane
 * of a register of sixteen.  Both sides are signed, so weights that are unsigned bytes by 128 too large are moved down
 * again; the others fit as they are, and what they are too large by is taken off with the sums' start value.
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
#define TILE 8

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

#define ATTENTION_VECTORS(rows) ((rows) <= 4 ? 4 : 2)
#define ATTENTION_QUERIES 4
#define ATTENTION_STEP 4

#include "../templates/vector.h"
#include "../templates/floats.h"
#include "../templates/attention_few.h"
#include "../templates/attention_many.h"

/* ---- integers: q is [token]{32 high bytes, 32 low bytes} ---- */

/* The loops over bytes there are what compilers make vectors of. */
#include "../generic/blocks.h"

/* The weights of a step, signed. */
LC_INLINE int8x16_t signed_step(const lc_block_kind kind, const quants *q, const int step)
{
    const uint8x16_t bytes = vld1q_u8(q->step[step]);
    return vreinterpretq_s8_u8(kind.zero == 128 ? veorq_u8(bytes, vdupq_n_u8(0x80)) : bytes);
}

/* sum + four steps, the first of which is `step`, times sixteen bytes of a token. */
LC_INLINE int32x4_t add_steps(const lc_block_kind kind, const quants *q, const int step, const uint8_t *x, int32x4_t sum)
{
    const int8x16_t columns = vld1q_s8((const int8_t *)x);
    sum = vdotq_laneq_s32(sum, signed_step(kind, q, step), columns, 0);
    sum = vdotq_laneq_s32(sum, signed_step(kind, q, step + 1), columns, 1);
    sum = vdotq_laneq_s32(sum, signed_step(kind, q, step + 2), columns, 2);
    return vdotq_laneq_s32(sum, signed_step(kind, q, step + 3), columns, 3);
}

/* sum + a group of a block's columns times one token of a record. */
LC_INLINE vf add_group(const lc_block_kind kind, const int group, const int width, const quants *q, vf d, vf m,
                       const uint8_t *record, const int token, vf sum)
{
    const lc_record at = lc_record_of(width);
    const float *scaled_sum = (const float *)(const void *)(record + at.scaled_sum) + token;
    const int32_t *start = (const int32_t *)(const void *)(record + at.start) + token;
    const int steps = LC_STEPS / kind.groups, first = group * steps;
    const uint8_t *x = record + token * 64;
    int32x4_t high = vdupq_n_s32(0), low = high;

    if (!kind.minima && kind.zero != 128) {
        const int32_t units = group ? start[0] - start[width] : start[kind.groups == 2 ? width : 0];
        low = vdupq_n_s32(units / LC_START_ZERO * kind.zero);
    }
    #pragma GCC unroll 2
    for (int step = first; step < first + steps; step += 4) {
        high = add_steps(kind, q, step, x + step * 4, high);
        low = add_steps(kind, q, step, x + 32 + step * 4, low);
    }
    const vf dot = vcvtq_f32_s32(vaddq_s32(vshlq_n_s32(high, 7), low));
    const float scale = ((const float *)(const void *)(record + at.d))[token];
    sum = vf_fma(dot, d * vf_set1(scale), sum);
    if (kind.minima) {
        const float units = group ? scaled_sum[0] - scaled_sum[width] : scaled_sum[kind.groups == 2 ? width : 0];
        sum = vf_fma(m, vf_set1(units), sum);
    }
    return sum;
}

LC_INLINE void dot_blocks(const int32_t type, const int width, const lc_panel_layout *layout, const uint8_t *panel,
                          const uint8_t *x, int32_t n, float *out)
{
    const lc_block_kind kind = lc_block_kind_of(type);
    const size_t x_bytes = lc_record_of(width).bytes;
    vf sums[TILE];

    for (int t = 0; t < width; t++)
        sums[t] = vf_set1(0.0f);
    for (int64_t record = 0; record < layout->blocks; record++, panel += layout->record) {
        scales s;
        scales_of(type, panel, &s);
        if (width == 1)
            lc_prefetch_ahead(panel, layout->record);
        #pragma GCC unroll 8
        for (int i = 0; i < kind.columns / LC_BLOCK; i++, x += x_bytes) {
            quants q;
            quants_of(type, panel, i, &q);
            #pragma GCC unroll 8
            for (int t = 0; t < width; t++)
                #pragma GCC unroll 2
                for (int g = 0; g < kind.groups; g++) {
                    const int at = i * kind.groups + g;
                    sums[t] = add_group(kind, g, width, &q, s.d[at], s.m[at], x, t, sums[t]);
                }
        }
    }
    for (int t = 0; t < n; t++)
        vf_store(out + t * PANEL, sums[t]);
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

/* The largest magnitude of a block.  Compared as integers: a NaN is above all numbers, and stays. */
LC_INLINE float largest_of(const float *x)
{
    uint32x4_t most = vdupq_n_u32(0);
    for (int i = 0; i < LC_BLOCK; i += LANES)
        most = vmaxq_u32(most, vandq_u32(vreinterpretq_u32_f32(vld1q_f32(x + i)), vdupq_n_u32(0x7fffffff)));
    return lc_float_of_bits(vmaxvq_u32(most));
}

/* Four columns: stores both bytes of each, returns the integers. */
LC_INLINE int32x4_t quantize(vf x, float inverse, uint8_t *dst)
{
    const int32x4_t q = vcvtnq_s32_f32(vmulq_n_f32(x, inverse));
    const int32x4_t high = vshrq_n_s32(vaddq_s32(q, vdupq_n_s32(64)), 7);
    const int32x4_t low = vsubq_s32(q, vshlq_n_s32(high, 7));
    const int16x8_t both = vcombine_s16(vmovn_s32(high), vmovn_s32(low));
    const uint32x2_t bytes = vreinterpret_u32_s8(vmovn_s16(both));
    const uint32_t words[2] = {vget_lane_u32(bytes, 0), vget_lane_u32(bytes, 1)};
    memcpy(dst, &words[0], 4);
    memcpy(dst + LC_BLOCK, &words[1], 4);
    return q;
}

static void pack_integers(const float *x, int64_t cols, int32_t token, int32_t width, void *tile)
{
    const lc_record at = lc_record_of(width);
    uint8_t *record = tile;

    for (int64_t b = 0; b < cols / LC_BLOCK; b++, record += at.bytes) {
        uint8_t *dst = record + token * 64;
        float *d = (float *)(void *)(record + at.d) + token;
        float *scaled_sum = (float *)(void *)(record + at.scaled_sum) + token;
        int32_t *start = (int32_t *)(void *)(record + at.start) + token;
        const float most = x ? largest_of(x + b * LC_BLOCK) : 0.0f;
        if (most < LC_Q_TINY) {
            memset(dst, 0, 64);
            *d = scaled_sum[0] = scaled_sum[width] = 0.0f;
            start[0] = start[width] = 0;
            continue;
        }
        int32x4_t totals[2] = {vdupq_n_s32(0), vdupq_n_s32(0)};
        for (int i = 0; i < LC_BLOCK; i += LANES)
            totals[i / 16] = vaddq_s32(totals[i / 16], quantize(vld1q_f32(x + b * LC_BLOCK + i), LC_Q_MAX / most, dst + i));
        const int32_t half = vaddvq_s32(totals[0]), sum = half + vaddvq_s32(totals[1]);
        *d = most / LC_Q_MAX;
        start[0] = -LC_START_ZERO * sum;
        start[width] = -LC_START_ZERO * half;
        scaled_sum[0] = *d * (float)sum;
        scaled_sum[width] = *d * (float)half;
    }
}

const lc_kernels lc_kernels_neon = {
    .name = "neon",
    .panel = PANEL,
    .tile = TILE,
    .width = {0, 1, 8, 8, 8, 8, 8, 8, 8},
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
typedef int lc_no_neon; /* a file may not be empty */
#endif
