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

static void dot_f32(const lc_panel_layout *layout, const uint8_t *panel, const void *tile, int32_t n, float *out)
{
    if (n == 1)
        dot_floats(LC_F32, 1, 4, layout, panel, tile, n, out);
    else
        dot_floats(LC_F32, 4, 1, layout, panel, tile, n, out);
}

static void dot_f16(const lc_panel_layout *layout, const uint8_t *panel, const void *tile, int32_t n, float *out)
{
    if (n == 1)
        dot_floats(LC_F16, 1, 4, layout, panel, tile, n, out);
    else
        dot_floats(LC_F16, 4, 1, layout, panel, tile, n, out);
}

static void dot_bf16(const lc_panel_layout *layout, const uint8_t *panel, const void *tile, int32_t n, float *out)
{
    if (n == 1)
        dot_floats(LC_BF16, 1, 4, layout, panel, tile, n, out);
    else
        dot_floats(LC_BF16, 4, 1, layout, panel, tile, n, out);
}

/* One record of a panel as floats [column][row]. */
static void expand_record(const lc_panel_layout *layout, const uint8_t *record, float *weights)
{
    const lc_type_info *info = layout->info;
    const uint16_t *d = (const uint16_t *)(const void *)record;
    const uint16_t *m = (const uint16_t *)(const void *)(record + layout->m);
    const uint8_t *high = record + layout->high, *q = record + layout->q;

    for (int row = 0; row < PANEL; row++) {
        const float scale = lc_f32_of_f16(d[row]);
        const float offset = info->m_offset ? lc_f32_of_f16(m[row]) : -scale * (float)info->zero;
        for (int column = 0; column < LC_BLOCK; column++) {
            const int step = column / 4, byte = column % 4;
            int value;
            if (info->q_bytes == LC_BLOCK) {
                value = (int8_t)q[(step * PANEL + row) * 4 + byte];
            } else {
                const int pair = q[(step % 4 * PANEL + row) * 4 + byte];
                value = step < 4 ? pair & 15 : pair >> 4;
                if (info->high_offset)
                    value |= (high[row * 4 + byte] >> step & 1) << 4;
            }
            weights[column * PANEL + row] = scale * (float)value + offset;
        }
    }
}

static void dot_blocks(const lc_panel_layout *layout, const uint8_t *panel, const void *tile, int32_t n, float *out)
{
    const float *x = tile;
    const int width = n == 1 ? 1 : TILE;
    vf sums[TILE] = {{0}};

    for (int64_t block = 0; block < layout->blocks; block++, x += LC_BLOCK * width, panel += layout->record) {
        float weights[LC_BLOCK * PANEL];
        expand_record(layout, panel, weights);
        for (int column = 0; column < LC_BLOCK; column++)
            for (int t = 0; t < width; t++)
                sums[t] = vf_fma(vf_load(weights + column * PANEL), vf_set1(x[column * width + t]), sums[t]);
    }
    for (int t = 0; t < n; t++)
        vf_store(out + t * PANEL, sums[t]);
}

static lc_form form(const lc_type_info *info)
{
    (void)info;
    return LC_FORM_FLOATS;
}

static lc_dot_kernel *dot(const lc_type_info *info)
{
    return info->type == LC_F32 ? dot_f32 : info->type == LC_F16 ? dot_f16 : info->type == LC_BF16 ? dot_bf16 : dot_blocks;
}

const lc_kernels lc_kernels_generic = {
    .name = "generic",
    .panel = PANEL,
    .tile = TILE,
    .width = {0, 1, 4, 4, 4},
    .form = form,
    .dot = dot,
    .pack = {[LC_FORM_FLOATS] = pack_floats, [LC_FORM_INTEGERS] = pack_floats},
    .rmsnorm = rmsnorm,
    .add = add,
    .swiglu = swiglu,
    .rope = rope,
    .to_f16 = to_f16,
    .attend = attend,
};
