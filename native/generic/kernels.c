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

#define ATTENTION_KEYS(rows) ((rows) <= 3 ? 2 : 1)
#define ATTENTION_CHAINS(rows) ((rows) == 1 ? 4 : (rows) <= 4 ? 2 : 1)
#define ATTENTION_VALUES(rows) ((rows) <= 2 ? 4 : (rows) <= 4 ? 2 : 1)
#define ATTENTION_QUERIES 2
#define ATTENTION_STEP 4

#define FLOAT_SUMS 4
#define FLOAT_TILES 1

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

/* A column's weights. */
LC_INLINE vf column_weights(const lc_block_kind kind, const quants *q, const vf *d, const vf *m, const int column)
{
    const int g = column * kind.groups / LC_BLOCK;
    const vf offset = kind.minima ? m[g] : d[g] * (float)-kind.zero;
    return vf_fma(d[g], column_quants(q, column), offset);
}

/* Each column of a step has its own sum, so that additions need not wait. */
LC_INLINE void dot_blocks(const int32_t type, const lc_reading reading, const lc_panel_layout *layout,
                          const uint8_t *panel, const float *x, float *out)
{
    (void)reading; /* arithmetic takes longer than memory here */
    const lc_block_kind kind = lc_block_kind_of(type);
    vf sums[4] = {{0}};

    for (int64_t record = 0; record < layout->blocks; record++, panel += layout->record) {
        scales s;
        scales_of(type, panel, &s);
        for (int i = 0; i < kind.columns / LC_BLOCK; i++, x += LC_BLOCK) {
            const vf *d = s.d + i * kind.groups, *m = s.m + i * kind.groups;
            quants q;
            quants_of(type, panel, i, &q);
            #pragma GCC unroll 32
            for (int column = 0; column < LC_BLOCK; column++)
                sums[column % 4] = vf_fma(column_weights(kind, &q, d, m, column), vf_set1(x[column]), sums[column % 4]);
        }
    }
    vf_store(out, (sums[0] + sums[1]) + (sums[2] + sums[3]));
}

/* To floats, whatever the type. */
LC_INLINE void unpack_blocks(const int32_t type, const lc_panel_layout *layout, const uint8_t *const panels[LC_PAIR],
                             int64_t column, int64_t n, float *weights)
{
    const lc_block_kind kind = lc_block_kind_of(type);

    for (int p = 0; p < LC_PAIR; p++) {
        const uint8_t *record = panels[p] + (size_t)(column / kind.columns) * layout->record;
        float *out = weights + p * PANEL;
        for (int64_t done = 0; done < n; done += kind.columns, record += layout->record) {
            scales s;
            scales_of(type, record, &s);
            for (int i = 0; i < kind.columns / LC_BLOCK; i++) {
                const vf *d = s.d + i * kind.groups, *m = s.m + i * kind.groups;
                quants q;
                quants_of(type, record, i, &q);
                for (int c = 0; c < LC_BLOCK; c++, out += LC_PAIR * PANEL)
                    vf_store(out, column_weights(kind, &q, d, m, c));
            }
        }
    }
}

#include "../templates/dispatch.h"

static lc_form form(const lc_type_info *info)
{
    (void)info;
    return LC_FORM_FLOATS;
}

static lc_gemm gemm(const lc_type_info *info, lc_precision precision)
{
    (void)precision;
    return (lc_gemm){LC_FORM_FLOATS, FLOAT_COLUMNS, unpack(info), multiply_floats};
}

const lc_kernels lc_kernels_generic = {
    .name = "generic",
    .panel = PANEL,
    .dot = dot,
    .form = form,
    .gemm = gemm,
    .pack = {[LC_FORM_FLOATS] = pack_floats},
    .rmsnorm = rmsnorm,
    .swiglu = swiglu,
    .rope = rope,
    .to_f16 = to_f16,
    .attend = attend,
};
