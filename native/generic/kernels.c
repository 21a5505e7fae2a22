/* The kernels in plain C: correct on every processor, and what the others are compared with.
 *
 * Vectors are the compilers' own of 16 bytes, which every 64-bit processor has.  Quantised panels are expanded to
 * floats, so that one dot product serves all types.
 */
#include <float.h>
#include <math.h>

#include "../kernels.h"

#define LANES 4
#define PANEL LANES
#define TILE 4

typedef float vf __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));

LC_INLINE vf vf_load(const float *p)
{
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}
LC_INLINE void vf_store(float *p, vf v) { memcpy(p, &v, sizeof v); }
LC_INLINE vf vf_set1(float x) { return (vf){x, x, x, x}; }
LC_INLINE vf vf_fma(vf a, vf b, vf c) { return a * b + c; }
LC_INLINE vf vf_max(vf a, vf b)
{
    const vi above = a > b;
    return (vf)(((vi)a & above) | ((vi)b & ~above));
}
LC_INLINE vf vf_swap_pairs(vf v) { return (vf){v[1], v[0], v[3], v[2]}; }
LC_INLINE float vf_sum(vf v) { return (v[0] + v[1]) + (v[2] + v[3]); }
LC_INLINE float vf_highest(vf v) { return fmaxf(fmaxf(v[0], v[1]), fmaxf(v[2], v[3])); }
LC_INLINE vf vf_load_f16(const uint16_t *p)
{
    return (vf){lc_f32_of_f16(p[0]), lc_f32_of_f16(p[1]), lc_f32_of_f16(p[2]), lc_f32_of_f16(p[3])};
}
LC_INLINE vf vf_load_bf16(const uint16_t *p)
{
    return (vf){lc_f32_of_bf16(p[0]), lc_f32_of_bf16(p[1]), lc_f32_of_bf16(p[2]), lc_f32_of_bf16(p[3])};
}
LC_INLINE void vf_store_f16(uint16_t *p, vf v)
{
    for (int i = 0; i < LANES; i++)
        p[i] = lc_f16_of_f32(v[i]);
}

#define ATTENTION_ROWS 3
#define ATTENTION_VECTORS 2

#include "../templates/vector.h"
#include "../templates/floats.h"
#include "../templates/attention.h"

LC_INLINE vi load_words(const uint8_t *p)
{
    vi v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* The integers of one column: a byte of each row's word, or half of one and a bit from elsewhere. */
LC_INLINE vi column_quants(const int q_bytes, const bool has_high, const uint8_t *q, vi high, const int step,
                           const int byte)
{
    if (q_bytes == LC_BLOCK)
        return load_words(q + step * PANEL * 4) << (24 - 8 * byte) >> 24;
    const vi halves = load_words(q + step % 4 * PANEL * 4) >> (8 * byte + step / 4 * 4) & 15;
    return has_high ? halves | (high >> (8 * byte + step) & 1) << 4 : halves;
}

LC_INLINE void dot_blocks(const int q_bytes, const bool has_high, const bool has_m, const int zero, const int width,
                          const lc_panel_layout *layout, const uint8_t *panel, const float *x, int32_t n, float *out)
{
    const int high_at = PANEL * (2 + 2 * has_m), q_at = high_at + PANEL * 4 * has_high;
    vf sums[TILE] = {{0}}; /* one token has a sum for each column of a step, so that additions need not wait */

    for (int64_t block = 0; block < layout->blocks; block++, x += LC_BLOCK * width, panel += layout->record) {
        const vf scale = vf_load_f16((const uint16_t *)(const void *)panel);
        const vf offset = has_m ? vf_load_f16((const uint16_t *)(const void *)panel + PANEL) : scale * (float)-zero;
        const vi high = has_high ? load_words(panel + high_at) : (vi){0};
        #pragma GCC unroll 32
        for (int column = 0; column < LC_BLOCK; column++) {
            const vi quants = column_quants(q_bytes, has_high, panel + q_at, high, column / 4, column % 4);
            const vf weights = vf_fma(scale, __builtin_convertvector(quants, vf), offset);
            #pragma GCC unroll 4
            for (int t = 0; t < width; t++) {
                const int sum = width == 1 ? column % 4 : t;
                sums[sum] = vf_fma(weights, vf_set1(x[column * width + t]), sums[sum]);
            }
        }
    }
    if (width == 1)
        sums[0] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    for (int t = 0; t < n; t++)
        vf_store(out + t * PANEL, sums[t]);
}

LC_INLINE void dot_columns(int32_t type, const int width, const lc_panel_layout *layout, const uint8_t *panel,
                           const float *x, int32_t n, float *out)
{
    dot_floats(type, width, width == 1 ? 4 : 1, layout, panel, x, n, out);
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

DEFINE_DOT(dot_f32, dot_columns, LC_F32)
DEFINE_DOT(dot_f16, dot_columns, LC_F16)
DEFINE_DOT(dot_bf16, dot_columns, LC_BF16)
DEFINE_DOT(dot_q4_0, dot_blocks, 16, false, false, 8)
DEFINE_DOT(dot_q4_1, dot_blocks, 16, false, true, 0)
DEFINE_DOT(dot_q5_0, dot_blocks, 16, true, false, 16)
DEFINE_DOT(dot_q5_1, dot_blocks, 16, true, true, 0)
DEFINE_DOT(dot_q8_0, dot_blocks, 32, false, false, 0)

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
    (void)info;
    return LC_FORM_FLOATS;
}

const lc_kernels lc_kernels_generic = {
    .name = "generic",
    .panel = PANEL,
    .tile = TILE,
    .width = {0, 1, 4, 4, 4},
    .form = form,
    .dot = dot,
    .pack = {[LC_FORM_FLOATS] = pack_floats},
    .rmsnorm = rmsnorm,
    .swiglu = swiglu,
    .rope = rope,
    .to_f16 = to_f16,
    .attend = attend,
};
