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

LC_INLINE vf vf_load_i8(const int8_t *p) { return (vf){p[0], p[1], p[2], p[3]}; }

#define ATTENTION_VECTORS(rows) ((rows) <= 3 ? 2 : 1)
#define ATTENTION_QUERIES 2
#define ATTENTION_STEP 4

#include "../templates/vector.h"
#include "../templates/floats.h"
#include "../templates/attention_few.h"
#include "../templates/attention_many.h"

#include "blocks.h"

LC_INLINE vf column_quants(const quants *q, const int column)
{
    const uint8_t *rows = &q->step[column / 4][column % 4];
    return (vf){rows[0], rows[4], rows[8], rows[12]};
}

/* sums[width] + a block's columns times x[column][width]. One token has a sum for each column of a step, so that
 * additions need not wait. */
LC_INLINE void add_block(const lc_block_kind kind, const int width, const quants *q, const vf *d, const vf *m,
                         const float *x, vf *sums)
{
    #pragma GCC unroll 32
    for (int column = 0; column < LC_BLOCK; column++) {
        const int g = column * kind.groups / LC_BLOCK;
        const vf offset = kind.minima ? m[g] : d[g] * (float)-kind.zero;
        const vf weights = vf_fma(d[g], column_quants(q, column), offset);
        #pragma GCC unroll 4
        for (int t = 0; t < width; t++) {
            const int sum = width == 1 ? column % 4 : t;
            sums[sum] = vf_fma(weights, vf_set1(x[column * width + t]), sums[sum]);
        }
    }
}

LC_INLINE void dot_blocks(const int32_t type, const int width, const lc_panel_layout *layout, const uint8_t *panel,
                          const float *x, int32_t n, float *out)
{
    const lc_block_kind kind = lc_block_kind_of(type);
    vf sums[TILE] = {{0}};

    for (int64_t record = 0; record < layout->blocks; record++, panel += layout->record) {
        scales s;
        scales_of(type, panel, &s);
        for (int i = 0; i < kind.columns / LC_BLOCK; i++, x += LC_BLOCK * width) {
            quants q;
            quants_of(type, panel, i, &q);
            add_block(kind, width, &q, s.d + i * kind.groups, s.m + i * kind.groups, x, sums);
        }
    }
    if (width == 1)
        sums[0] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    for (int t = 0; t < n; t++)
        vf_store(out + t * PANEL, sums[t]);
}

LC_INLINE void dot_tile(const int32_t type, const int width, const lc_panel_layout *layout, const uint8_t *panel,
                        const float *tile, int32_t n, float *out)
{
    if (lc_is_float(type))
        dot_floats(type, width, width == 1 ? 4 : 1, layout, panel, tile, n, out);
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
