/* neon_gemm.h - several tokens: panels of blocks unpacked, and the micro-kernel. Part of neon.c.
 *
 * Unpacked, 32 columns of a pair of panels are
 *     q  i8   [8 steps][pair][row][4]
 *     d  f32  [groups][pair][row]
 *     m  f32  [groups][pair][row]       types with minima
 */

#define PAIR_BYTES (LC_PAIR * PANEL * 4) /* a register of each panel */

LC_INLINE size_t unpacked_bytes(const lc_block_kind kind)
{
    return PAIR_BYTES * (size_t)(LC_STEPS + kind.groups * (kind.minima ? 2 : 1));
}

LC_INLINE void unpack_blocks(const int32_t type, const lc_panel_layout *layout, const uint8_t *const panels[LC_PAIR],
                             int64_t column, int64_t n, uint8_t *weights)
{
    const lc_block_kind kind = lc_block_kind_of(type);

    for (int p = 0; p < LC_PAIR; p++) {
        const uint8_t *record = panels[p] + (size_t)(column / kind.columns) * layout->record;
        uint8_t *out = weights + p * PANEL * 4;
        for (int64_t done = 0; done < n; done += kind.columns, record += layout->record) {
            scales s;
            scales_of(type, record, &s);
            lc_ahead_of(LC_AGAIN, layout, record, layout->record);
            for (int i = 0; i < kind.columns / LC_BLOCK; i++, out += unpacked_bytes(kind)) {
                float *d = (float *)(void *)(out + LC_STEPS * PAIR_BYTES), *m = d + kind.groups * LC_PAIR * PANEL;
                quants q;
                quants_of(type, record, i, &q);
                for (int k = 0; k < LC_STEPS; k++)
                    vst1q_s8((int8_t *)out + k * PAIR_BYTES, signed_step(kind, &q, k));
                for (int g = 0; g < kind.groups; g++) {
                    vf_store(d + g * LC_PAIR * PANEL, s.d[i * kind.groups + g]);
                    if (kind.minima)
                        vf_store(m + g * LC_PAIR * PANEL, s.m[i * kind.groups + g]);
                }
            }
        }
    }
}

#define SUMS (LC_PAIR * LC_TILE) /* [pair][token], as in memory */

/* dots = a group's columns of a block times one plane of a tile's record, [step][token][4]: a lane is a token. */
LC_INLINE void dot_plane(const int first, const int steps, const uint8_t *w, const uint8_t *x, int32x4_t *dots)
{
    #pragma GCC unroll 8
    for (int i = 0; i < SUMS; i++)
        dots[i] = vdupq_n_s32(0);
    #pragma GCC unroll 8
    for (int k = first; k < first + steps; k++) {
        const int8x16_t four = vld1q_s8((const int8_t *)x + k * LC_TILE * 4);
        #pragma GCC unroll 2
        for (int p = 0; p < LC_PAIR; p++) {
            const int8x16_t weights = vld1q_s8((const int8_t *)w + k * PAIR_BYTES + p * PANEL * 4);
            int32x4_t *sums = dots + p * LC_TILE;
            sums[0] = vdotq_laneq_s32(sums[0], weights, four, 0);
            sums[1] = vdotq_laneq_s32(sums[1], weights, four, 1);
            sums[2] = vdotq_laneq_s32(sums[2], weights, four, 2);
            sums[3] = vdotq_laneq_s32(sums[3], weights, four, 3);
        }
    }
}

LC_INLINE void add_record(const lc_block_kind kind, const bool wide, const uint8_t *w, const uint8_t *x, vf *sums)
{
    const lc_record at = lc_record_of(wide ? LC_FORM_INTEGERS : LC_FORM_BYTES, LC_TILE);
    const float *d = (const float *)(const void *)(w + LC_STEPS * PAIR_BYTES), *m = d + kind.groups * LC_PAIR * PANEL;
    const int steps = LC_STEPS / kind.groups;

    #pragma GCC unroll 2
    for (int g = 0; g < kind.groups; g++, d += LC_PAIR * PANEL, m += LC_PAIR * PANEL) {
        int32x4_t dots[SUMS], high[SUMS];
        dot_plane(g * steps, steps, w, x + (wide ? LC_BLOCK * LC_TILE : 0), dots);
        if (wide)
            dot_plane(g * steps, steps, w, x, high);
        #pragma GCC unroll 8
        for (int i = 0; i < SUMS; i++) {
            const int row = i / LC_TILE * PANEL, token = i % LC_TILE;
            const int32x4_t all = wide ? vaddq_s32(vshlq_n_s32(high[i], 7), dots[i]) : dots[i];
            sums[i] = vf_fma(vcvtq_f32_s32(all), vf_load(d + row) * scale_of(x, at, token), sums[i]);
            if (kind.minima)
                sums[i] = vf_fma(vf_load(m + row), group_sum(x, at, kind.groups, g, LC_TILE, token), sums[i]);
        }
    }
}

LC_INLINE void multiply_blocks(const lc_block_kind kind, const bool wide, const uint8_t *weights, int64_t n,
                               const uint8_t *tiles, size_t tile_bytes, int32_t n_tiles, float *out)
{
    const size_t x_bytes = lc_record_of(wide ? LC_FORM_INTEGERS : LC_FORM_BYTES, LC_TILE).bytes;

    for (int32_t tile = 0; tile < n_tiles; tile++, tiles += tile_bytes, out += SUMS * PANEL) {
        const uint8_t *w = weights, *x = tiles;
        vf sums[SUMS];
        for (int i = 0; i < SUMS; i++)
            sums[i] = vf_load(out + i * PANEL);
        for (int64_t column = 0; column < n; column += LC_BLOCK, w += unpacked_bytes(kind), x += x_bytes)
            add_record(kind, wide, w, x, sums);
        for (int i = 0; i < SUMS; i++)
            vf_store(out + i * PANEL, sums[i]);
    }
}

#include "../templates/kinds.h"

#define BLOCK_COLUMNS 1024 /* of a slice: up to 12 KB */
