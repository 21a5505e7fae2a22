/* neon_dot.h - one token, straight from the panels, and what several tokens share with it. Part of neon.c. */

/* The weights of a step, signed. */
LC_INLINE int8x16_t signed_step(const lc_block_kind kind, const quants *q, const int step)
{
    const uint8x16_t zero = vdupq_n_u8((uint8_t)(kind.minima ? 0 : kind.zero));
    return vreinterpretq_s8_u8(vsubq_u8(vld1q_u8(q->step[step]), zero));
}

/* sum + four steps, the first of which is `step`, times sixteen bytes of a token. */
LC_INLINE int32x4_t add_steps(const lc_block_kind kind, const quants *q, const int step, const uint8_t *x,
                              int32x4_t sum)
{
    const int8x16_t columns = vld1q_s8((const int8_t *)x);
    sum = vdotq_laneq_s32(sum, signed_step(kind, q, step), columns, 0);
    sum = vdotq_laneq_s32(sum, signed_step(kind, q, step + 1), columns, 1);
    sum = vdotq_laneq_s32(sum, signed_step(kind, q, step + 2), columns, 2);
    return vdotq_laneq_s32(sum, signed_step(kind, q, step + 3), columns, 3);
}

/* What a record holds of a token: its scale, and the sum of a group of columns, times the scale. */
LC_INLINE vf scale_of(const uint8_t *record, const lc_record at, const int token)
{
    return vf_set1(((const float *)(const void *)(record + at.d))[token]);
}

LC_INLINE vf group_sum(const uint8_t *record, const lc_record at, const int groups, const int group, const int width,
                       const int token)
{
    const float *sums = (const float *)(const void *)(record + at.scaled_sum) + token;
    return vf_set1(groups == 1 ? sums[0] : group ? sums[0] - sums[width] : sums[width]);
}

/* sum + a group of a block's columns times a record: 32 high bytes, 32 low bytes. */
LC_INLINE vf add_group(const lc_block_kind kind, const int group, const quants *q, vf d, vf m, const uint8_t *record,
                       vf sum)
{
    const lc_record at = lc_record_of(LC_FORM_INTEGERS, 1);
    const int steps = LC_STEPS / kind.groups, first = group * steps;
    int32x4_t high = vdupq_n_s32(0), low = high;

    #pragma GCC unroll 2
    for (int step = first; step < first + steps; step += 4) {
        high = add_steps(kind, q, step, record + step * 4, high);
        low = add_steps(kind, q, step, record + LC_BLOCK + step * 4, low);
    }
    const vf dot = vcvtq_f32_s32(vaddq_s32(vshlq_n_s32(high, 7), low));
    sum = vf_fma(dot, d * scale_of(record, at, 0), sum);
    return kind.minima ? vf_fma(m, group_sum(record, at, kind.groups, group, 1, 0), sum) : sum;
}

LC_INLINE void dot_blocks(const int32_t type, const lc_reading reading, const lc_panel_layout *layout,
                          const uint8_t *panel, const uint8_t *x, float *out)
{
    const lc_block_kind kind = lc_block_kind_of(type);
    vf sum = vf_set1(0.0f);

    for (int64_t record = 0; record < layout->blocks; record++, panel += layout->record) {
        scales s;
        scales_of(type, panel, &s);
        lc_ahead_of(reading, layout, panel, layout->record);
        #pragma GCC unroll 8
        for (int i = 0; i < kind.columns / LC_BLOCK; i++, x += lc_record_of(LC_FORM_INTEGERS, 1).bytes) {
            quants q;
            quants_of(type, panel, i, &q);
            #pragma GCC unroll 2
            for (int g = 0; g < kind.groups; g++)
                sum = add_group(kind, g, &q, s.d[i * kind.groups + g], s.m[i * kind.groups + g], x, sum);
        }
    }
    vf_store(out, sum);
}
