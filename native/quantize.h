/* quantize.h - what the files that quantise share. */
#ifndef LC_QUANTIZE_H
#define LC_QUANTIZE_H

#include "types.h"

LC_INLINE void lc_store16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

/* No type of super-blocks reaches this (Q6_K: 65504 * 128 * 32 is a quarter of it), and the squares of what is below it
 * are far from overflowing, which would make a search find zeros. */
#define LC_SUPER_MOST 0x1p30f

/* Whether weights can be made super-blocks of this type. */
bool lc_super_quantizes(int32_t type);
/* 256 weights of at most LC_SUPER_MOST as one super-block, whose scale is infinite if they are too large for it. */
void lc_super_quantize(int32_t type, const float *x, uint8_t *block);

#endif
