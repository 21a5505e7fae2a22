/* neon_pack.h - activations packed for the kernels. Part of neon.c. */

static lc_gemm gemm_of_blocks(const lc_type_info *info, lc_precision precision)
{
    const bool wide = precision == LC_EXACT;
    return (lc_gemm){wide ? LC_FORM_INTEGERS : LC_FORM_BYTES, BLOCK_COLUMNS, unpack(info),
                     multiply_of(lc_block_kind_of(info->type), wide)};
}

/* The largest magnitude of a block.  Compared as integers: a NaN is above all numbers, and stays. */
LC_INLINE float largest_of(const float *x)
{
    uint32x4_t most = vdupq_n_u32(0);
    for (int i = 0; i < LC_BLOCK; i += LANES)
        most = vmaxq_u32(most, vandq_u32(vreinterpretq_u32_f32(vld1q_f32(x + i)), vdupq_n_u32(0x7fffffff)));
    return lc_float_of_bits(vmaxvq_u32(most));
}

/* Four columns: stores their bytes, high ones (if wide) and low ones apart; returns the integers. */
LC_INLINE int32x4_t quantize(const bool wide, vf x, float inverse, uint8_t *high_bytes, uint8_t *low_bytes)
{
    const int32x4_t q = vcvtnq_s32_f32(vmulq_n_f32(x, inverse));
    const int32x4_t high = wide ? vshrq_n_s32(vaddq_s32(q, vdupq_n_s32(64)), 7) : vdupq_n_s32(0);
    const int32x4_t low = vsubq_s32(q, vshlq_n_s32(high, 7));
    const int16x8_t both = vcombine_s16(vmovn_s32(high), vmovn_s32(low));
    const uint32x2_t bytes = vreinterpret_u32_s8(vmovn_s16(both));
    const uint32_t words[2] = {vget_lane_u32(bytes, 0), vget_lane_u32(bytes, 1)};
    if (wide)
        memcpy(high_bytes, &words[0], 4);
    memcpy(low_bytes, &words[1], 4);
    return q;
}

/* One token's block, [plane][step][token][4]. */
LC_INLINE void pack_block(const bool wide, const int32_t width, const float *x, int32_t token, uint8_t *record)
{
    const lc_record at = lc_record_of(wide ? LC_FORM_INTEGERS : LC_FORM_BYTES, width);
    float *d = (float *)(void *)(record + at.d) + token;
    float *scaled_sum = (float *)(void *)(record + at.scaled_sum) + token;
    const float most = x ? largest_of(x) : 0.0f, steps = wide ? LC_Q_MAX : LC_BYTE_MAX;
    const bool nothing = most < LC_Q_TINY;
    const float inverse = nothing ? 0.0f : steps / most;
    int32x4_t totals[2] = {vdupq_n_s32(0), vdupq_n_s32(0)};

    for (int k = 0; k < LC_STEPS; k++) {
        uint8_t *high = record + (k * width + token) * 4, *low = wide ? high + LC_BLOCK * width : high;
        const vf four = nothing ? vf_set1(0.0f) : vf_load(x + k * 4);
        totals[k / 4] = vaddq_s32(totals[k / 4], quantize(wide, four, inverse, high, low));
    }
    const int32_t half = vaddvq_s32(totals[0]), sum = half + vaddvq_s32(totals[1]);
    *d = nothing ? 0.0f : most / steps;
    scaled_sum[0] = *d * (float)sum;
    scaled_sum[width] = *d * (float)half;
}

LC_INLINE void pack_blocks(const bool wide, const int32_t width, const float *const x[LC_TILE], int64_t cols,
                           uint8_t *record)
{
    const size_t bytes = lc_record_of(wide ? LC_FORM_INTEGERS : LC_FORM_BYTES, width).bytes;
    for (int64_t column = 0; column < cols; column += LC_BLOCK, record += bytes)
        for (int32_t t = 0; t < width; t++)
            pack_block(wide, width, x[t] ? x[t] + column : NULL, t, record);
}
