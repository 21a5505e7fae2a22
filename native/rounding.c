#include "rounding.h"

#define BYTE_MAX 127.0f
/* What is smaller is left as it is: it is nothing, and the inverse of what is far smaller is no number. */
#define SMALLEST 0x1p-100f
#define F16_MOST 65504.0f
/* Added and taken off again, it leaves a small number's nearest integer, the even one of two. */
#define TO_INTEGER 0x1.8p23f

/* The largest of a block, NaN if there is one: as bits, which are in the same order, and which compilers vectorise. */
static float magnitude(const float *x, int32_t n)
{
    int32_t most = 0;
    for (int32_t i = 0; i < n; i++) {
        const int32_t bits = (int32_t)(lc_bits_of_float(x[i]) & 0x7fffffffu);
        most = bits > most ? bits : most;
    }
    return lc_float_of_bits((uint32_t)most);
}

static void round_block(float *x, int32_t n, bool half)
{
    const float most = magnitude(x, n), inverse = BYTE_MAX / most;
    float scale = most / BYTE_MAX;
    if (!(most >= SMALLEST)) /* NaN too stays what it is */
        return;
    if (half && scale < F16_MOST)
        scale = lc_f32_of_f16(lc_f16_of_f32(scale));
    for (int32_t i = 0; i < n; i++)
        x[i] = scale * (x[i] * inverse + TO_INTEGER - TO_INTEGER);
}

LC_INLINE float as_f16(float x)
{
    const float rounded = lc_f32_of_f16(lc_f16_of_f32(x));
    return lc_bits_of_float(rounded) << 1 == 0xff000000u ? x : rounded;
}

LC_INLINE float as_bf16(float x)
{
    const float rounded = lc_f32_of_bf16(lc_bf16_of_f32(x));
    return x == x ? rounded : x; /* of a NaN's bits it would make anything */
}

void lc_round_like_llama_cpp(const lc_type_info *weights, float *x, int64_t n)
{
    if (lc_type_is_block(weights))
        for (int64_t i = 0; i < n; i += weights->elements)
            round_block(x + i, weights->elements, !lc_type_is_super(weights));
    else if (weights->type == LC_F16)
        for (int64_t i = 0; i < n; i++)
            x[i] = as_f16(x[i]);
    else
        for (int64_t i = 0; i < n; i++)
            x[i] = as_bf16(x[i]);
}
