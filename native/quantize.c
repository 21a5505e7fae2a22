/* quantize.c - float32 weights as the blocks that files store: the way back from types.c.
 *
 * The types of 32 weights in a block follow ggml's definition of them to the bit: the order of operations, the rounding
 * and the weight that a scale is taken from are part of the format, so that the same weights give the same file
 * whichever program made it.
 */
#include "quantize.h"

#include <float.h>
#include <math.h>

/* A quant counted from 0, cut to an integer.  The inverse of a scale below 2^-128 is infinite; float16 makes 0 of such
 * a scale, and the quants that it multiplies are 0 here. */
LC_INLINE int cut(float v) { return v > -1.0f && v < 256.0f ? (int)v : 0; }

/* Packs 32 quants: low nibbles split in two halves, and where the type has them the fifth bits. */
static void store_quants(const lc_type_info *info, const uint8_t *q, uint8_t *block)
{
    uint32_t high = 0;
    for (int i = 0; i < LC_BLOCK / 2; i++) {
        block[info->q_offset + i] = (uint8_t)((q[i] & 15) | (q[i + 16] & 15) << 4);
        high |= (uint32_t)(q[i] >> 4) << i | (uint32_t)(q[i + 16] >> 4) << (i + 16);
    }
    if (info->high_offset) {
        lc_store16(block + info->high_offset, (uint16_t)high);
        lc_store16(block + info->high_offset + 2, (uint16_t)(high >> 16));
    }
}

/* Q4_0 and Q5_0.  The weight of largest magnitude (the first of equals) becomes the most negative quant, which reaches
 * one further than the most positive one. */
static void symmetric(const lc_type_info *info, const float *x, uint8_t *block)
{
    const int zero = info->zero;
    float largest = 0.0f, extreme = 0.0f;
    for (int i = 0; i < LC_BLOCK; i++) {
        if (largest < fabsf(x[i])) {
            largest = fabsf(x[i]);
            extreme = x[i];
        }
    }
    const float d = extreme / (float)-zero;
    const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
    uint8_t q[LC_BLOCK];
    for (int i = 0; i < LC_BLOCK; i++) {
        const int v = cut(x[i] * inverse + ((float)zero + 0.5f));
        q[i] = (uint8_t)(v < 2 * zero ? v : 2 * zero - 1);
    }
    lc_store16(block, lc_f16_of_f32(d));
    store_quants(info, q, block);
}

/* Q4_1 and Q5_1: quants count up from the block's minimum. */
static void affine(const lc_type_info *info, const float *x, uint8_t *block)
{
    const int top = info->high_offset ? 31 : 15;
    float low = x[0], high = x[0];
    for (int i = 1; i < LC_BLOCK; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    const float d = (high - low) / (float)top;
    const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
    uint8_t q[LC_BLOCK];
    for (int i = 0; i < LC_BLOCK; i++) {
        const int v = cut((x[i] - low) * inverse + 0.5f);
        q[i] = (uint8_t)(v < top ? v : top);
    }
    lc_store16(block, lc_f16_of_f32(d));
    lc_store16(block + info->m_offset, lc_f16_of_f32(low));
    store_quants(info, q, block);
}

/* Q8_0: the scale takes the largest magnitude to 127; halves are rounded away from zero. */
static void bytes(const lc_type_info *info, const float *x, uint8_t *block)
{
    float largest = 0.0f;
    for (int i = 0; i < LC_BLOCK; i++)
        largest = largest > fabsf(x[i]) ? largest : fabsf(x[i]);
    const float d = largest / 127.0f;
    const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
    lc_store16(block, lc_f16_of_f32(d));
    for (int i = 0; i < LC_BLOCK; i++) {
        const float v = x[i] * inverse;
        block[info->q_offset + i] = fabsf(v) < 128.0f ? (uint8_t)(int8_t)roundf(v) : 0;
    }
}

static void floats(const lc_type_info *info, const float *src, size_t n, uint8_t *dst)
{
    if (info->type == LC_F32) {
        for (size_t i = 0; i < n; i++) {
            const uint32_t bits = lc_bits_of_float(src[i]);
            lc_store16(dst + 4 * i, (uint16_t)bits);
            lc_store16(dst + 4 * i + 2, (uint16_t)(bits >> 16));
        }
    } else if (info->type == LC_F16) {
        for (size_t i = 0; i < n; i++)
            lc_store16(dst + 2 * i, lc_f16_of_f32(src[i]));
    } else {
        for (size_t i = 0; i < n; i++)
            lc_store16(dst + 2 * i, lc_bf16_of_f32(src[i]));
    }
}

/* Whether no magnitude is above most: a NaN's bits are above all numbers'. */
static bool all_within(const float *src, size_t n, float most)
{
    const uint32_t limit = lc_bits_of_float(most);
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++)
        bad |= (lc_bits_of_float(src[i]) & 0x7fffffffu) > limit;
    return !bad;
}

/* Whether the core makes blocks of a type: others, and all of old files, it only reads. */
static bool is_made(const lc_type_info *info)
{
    if (lc_type_is_super(info))
        return lc_super_quantizes(info->type);
    return info->type != LC_IQ4_NL && info->type <= LC_BF16;
}

lc_status lc_quantize(int32_t type, const float *src, size_t n, void *dst)
{
    const lc_type_info *info = lc_type_find(type);
    if (!src || !dst)
        return LC_ERR_ARGUMENT;
    if (!info || !is_made(info))
        return LC_ERR_TYPE;
    if (n % (size_t)info->elements)
        return LC_ERR_SHAPE;
    if (!all_within(src, n, lc_type_is_super(info) ? LC_SUPER_MOST : FLT_MAX))
        return LC_ERR_NONFINITE;

    uint8_t *out = dst;
    const size_t n_bytes = n / (size_t)info->elements * (size_t)info->bytes;
    if (!lc_type_is_block(info)) {
        floats(info, src, n, out);
    } else {
        for (size_t i = 0; i < n; i += (size_t)info->elements, out += info->bytes) {
            if (lc_type_is_super(info))
                lc_super_quantize(type, src + i, out);
            else if (info->q_bytes == LC_BLOCK)
                bytes(info, src + i, out);
            else if (info->m_offset)
                affine(info, src + i, out);
            else
                symmetric(info, src + i, out);
        }
    }
    /* What was finite may be too large for float16, as a weight or as a block's scale. */
    return lc_type_all_finite(info, dst, n_bytes) ? LC_OK : LC_ERR_NONFINITE;
}
