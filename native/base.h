/* base.h - what every file of the core needs: checked sizes and small helpers. */
#ifndef LC_BASE_H
#define LC_BASE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "llamachat.h"

#define LC_CACHE_LINE 64
#define LC_INLINE static inline __attribute__((always_inline))

/* Vectors of floats are padded to this many, so that kernels of every set use whole registers. */
#define LC_PAD 16

LC_INLINE int64_t lc_min(int64_t a, int64_t b) { return a < b ? a : b; }
LC_INLINE int64_t lc_max(int64_t a, int64_t b) { return a > b ? a : b; }
LC_INLINE int64_t lc_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
LC_INLINE int64_t lc_round_up(int64_t a, int64_t multiple) { return lc_ceil_div(a, multiple) * multiple; }

/* *out = a * b, or false if that does not fit. */
LC_INLINE bool lc_mul(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }

LC_INLINE float lc_float_of_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

LC_INLINE uint32_t lc_bits_of_float(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

#endif
