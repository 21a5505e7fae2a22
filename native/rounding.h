/* rounding.h - activations as llama.cpp's kernels for processors round them. */
#ifndef LC_ROUNDING_H
#define LC_ROUNDING_H

#include "types.h"

/* n activations of a row, from a whole block on, that are to meet weights of a type, as llama.cpp rounds them for that:
 *   blocks of 32   bytes and their scale in f16, which makes 127 of the largest magnitude (its q8_0; q8_1, beside
 *                  weights with offsets, also rounds the sum that meets the offsets, which is left out here)
 *   super-blocks   likewise 256 of them, and the scale in f32 (q8_K)
 *   F16, BF16      numbers of that type
 * What is too large for f16 is not rounded to it, while it becomes an infinity there. */
void lc_round_like_llama_cpp(const lc_type_info *weights, float *x, int64_t n);

/* The type that activations are rounded for, as lc_rounding says, or NULL: those that meet F32 are not. */
LC_INLINE const lc_type_info *lc_rounded_for(int32_t rounding, const lc_type_info *weights)
{
    return rounding == LC_ROUND_LLAMA_CPP && weights->type != LC_F32 ? weights : NULL;
}

/* Whether the weights of two types meet the same. */
LC_INLINE bool lc_rounded_alike(const lc_type_info *a, const lc_type_info *b)
{
    return a->elements == b->elements && (lc_type_is_block(a) || a->type == b->type);
}

#endif
