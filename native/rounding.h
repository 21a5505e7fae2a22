/* rounding.h - activations as llama.cpp rounds them. */
#ifndef LC_ROUNDING_H
#define LC_ROUNDING_H

#include "types.h"

/* n activations of a row, from a whole block on, that are to meet weights of a type: as llama.cpp rounds them for that.
 * A block of such weights meets a block of as many bytes and their scale, of which the largest magnitude is 127; the
 * scale is f16 for blocks of 32, f32 for super-blocks. */
void lc_round_like_llama_cpp(const lc_type_info *weights, float *x, int64_t n);
/* The same for a context's or a product's lc_rounding: the type whose blocks activations are rounded in, or NULL, which
 * is also for weights that are floats: they meet floats. */
LC_INLINE const lc_type_info *lc_rounded_like(int32_t rounding, const lc_type_info *weights)
{
    return rounding == LC_ROUND_LLAMA_CPP && lc_type_is_block(weights) ? weights : NULL;
}

#endif
