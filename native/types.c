/* types.c - the table of weight types, and the scalar expansion that all kernels are held to. */
#include "superblocks.h"

static const lc_type_info TYPES[] = {
    /* type          n  bytes  d    m  hi  q  q_bytes zero scale groups */
    {LC_F32,         1,   4,   0,   0, 0,  0,   0,    0,    0,    0},
    {LC_F16,         1,   2,   0,   0, 0,  0,   0,    0,    0,    0},
    {LC_BF16,        1,   2,   0,   0, 0,  0,   0,    0,    0,    0},
    {LC_Q4_0,       32,  18,   0,   0, 0,  2,  16,    8,    2,    1},
    {LC_Q4_1,       32,  20,   0,   2, 0,  4,  16,    0,    2,    1},
    {LC_Q5_0,       32,  22,   0,   0, 2,  6,  16,   16,    2,    1},
    {LC_Q5_1,       32,  24,   0,   2, 4,  8,  16,    0,    2,    1},
    {LC_Q8_0,       32,  34,   0,   0, 0,  2,  32,    0,    2,    1},
    {LC_IQ4_NL,     32,  18,   0,   0, 0,  2,  16,    0,    2,    1},
    {LC_Q4_0_F32,   32,  20,   0,   0, 0,  4,  16,    8,    4,    1},
    {LC_Q4_1_F32,   32,  24,   0,   4, 0,  8,  16,    0,    4,    1},
    {LC_Q8_0_F32,   32,  36,   0,   0, 0,  4,  32,    0,    4,    1},
    {LC_Q4_2,       32,  20,   0,   0, 0,  4,  16,    8,    2,    2},
    {LC_Q4_3,       32,  24,   0,   4, 0,  8,  16,    0,    2,    2},
    {LC_Q2_K,      256,  84,  80,  82, 0,  0,   0,    0,    2,    1},
    {LC_Q3_K,      256, 110, 108,   0, 0,  0,   0,    0,    2,    1},
    {LC_Q4_K,      256, 144,   0,   2, 0,  0,   0,    0,    2,    1},
    {LC_Q5_K,      256, 176,   0,   2, 0,  0,   0,    0,    2,    1},
    {LC_Q6_K,      256, 210, 208,   0, 0,  0,   0,    0,    2,    1},
    {LC_IQ4_XS,    256, 136,   0,   0, 0,  0,   0,    0,    2,    1},
};

const lc_type_info *lc_type_find(int32_t type)
{
    for (size_t i = 0; i < sizeof TYPES / sizeof *TYPES; i++)
        if (TYPES[i].type == type)
            return &TYPES[i];
    return NULL;
}

static void expand_floats(int32_t type, const uint8_t *src, size_t n, float *dst)
{
    for (size_t i = 0; i < n; i++)
        dst[i] = type == LC_F32   ? lc_float_of_bits(lc_load32(src + 4 * i))
                 : type == LC_F16 ? lc_f32_of_f16(lc_load16(src + 2 * i))
                                  : lc_f32_of_bf16(lc_load16(src + 2 * i));
}

/* The scale of a group of a block, of those that are side by side at `scales`. */
static float scale_at(const lc_type_info *info, const uint8_t *scales, int group)
{
    return info->scale_bytes == 4 ? lc_float_of_bits(lc_load32(scales + 4 * group))
                                  : lc_f32_of_f16(lc_load16(scales + 2 * group));
}

static void expand_block(const lc_type_info *info, const uint8_t *block, float *dst)
{
    const uint32_t high = info->high_offset ? lc_load32(block + info->high_offset) : 0;
    const uint8_t *q = block + info->q_offset;

    for (int i = 0; i < LC_BLOCK; i++) {
        int value;
        if (info->q_bytes == LC_BLOCK)
            value = (int8_t)q[i];
        else
            value = (i < 16 ? q[i] & 15 : q[i - 16] >> 4) + (int)((high >> i & 1) << 4);
        if (info->type == LC_IQ4_NL)
            value = LC_IQ4_VALUES[value];
        const int group = i * info->groups / LC_BLOCK;
        const float d = scale_at(info, block, group);
        dst[i] = info->m_offset ? d * (float)value + scale_at(info, block + info->m_offset, group)
                                : d * (float)(value - info->zero);
    }
}

void lc_type_expand(const lc_type_info *info, const void *src, size_t n, float *dst)
{
    if (!lc_type_is_block(info)) {
        expand_floats(info->type, src, n, dst);
        return;
    }
    const uint8_t *block = src;
    for (size_t i = 0; i < n; i += (size_t)info->elements, block += info->bytes)
        if (lc_type_is_super(info))
            lc_super_expand(info->type, block, dst + i);
        else
            expand_block(info, block, dst + i);
}

bool lc_type_all_finite(const lc_type_info *info, const void *src, size_t n_bytes)
{
    const uint8_t *p = src;
    bool finite = true;

    switch (info->type) {
    case LC_F32: return lc_all_below_32(p, n_bytes / 4, LC_F32_INFINITE);
    case LC_F16: return lc_all_finite_16(p, n_bytes / 2, LC_F16_EXPONENT);
    case LC_BF16: return lc_all_finite_16(p, n_bytes / 2, 0x7f80);
    default: { /* a block's scales, and its offsets */
        const size_t d = (size_t)info->d_offset, m = info->m_offset ? (size_t)info->m_offset : d;
        for (size_t i = 0; i < n_bytes; i += (size_t)info->bytes) {
            finite &= lc_scales_finite(info, p + i + d, (size_t)info->groups);
            finite &= lc_scales_finite(info, p + i + m, (size_t)info->groups);
        }
        return finite;
    }
    }
}

lc_status lc_type_block(int32_t type, int32_t *elements, int32_t *bytes)
{
    const lc_type_info *info = lc_type_find(type);
    if (!elements || !bytes)
        return LC_ERR_ARGUMENT;
    if (!info)
        return LC_ERR_TYPE;
    *elements = info->elements;
    *bytes = info->bytes;
    return LC_OK;
}

lc_status lc_dequantize(int32_t type, const void *src, size_t n, float *dst)
{
    const lc_type_info *info = lc_type_find(type);
    if (!src || !dst)
        return LC_ERR_ARGUMENT;
    if (!info)
        return LC_ERR_TYPE;
    if (n % (size_t)info->elements)
        return LC_ERR_SHAPE;
    lc_type_expand(info, src, n, dst);
    return LC_OK;
}
