/* quantize.h - what the files that quantise share. */
#ifndef LC_QUANTIZE_H
#define LC_QUANTIZE_H

#include "types.h"

LC_INLINE void lc_store16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

/* Whether weights can be made super-blocks of this type. */
bool lc_super_quantizes(int32_t type);
/* 256 finite weights as one super-block. */
void lc_super_quantize(int32_t type, const float *x, uint8_t *block);

#endif
