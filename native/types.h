/* types.h - numbers as files store them: half precisions, and blocks of quantised weights.
 *
 * A block holds 32 neighbouring weights of a row: a scale d, for the "_1" types also an
 * offset m, and small integers q.  Each weight is d * (q - zero) or d * q + m; in IQ4_NL
 * d times what a table has for q.  Nibbles are split: byte i holds weight i in its low half
 * and weight i + 16 in its high half.  Scales are f16; blocks of old files have f32, or one f16 (d, and m) for each 16
 * weights, side by side.  Blocks of 256 are told of in superblocks.h.
 */
#ifndef LC_TYPES_H
#define LC_TYPES_H

#include "base.h"

#define LC_BLOCK 32

/* What the core knows of a type.  Offsets are in a block; that of an absent part is 0. */
typedef struct lc_type_info {
    int32_t type;
    int32_t elements;    /* weights in a block; 1 for float types */
    int32_t bytes;       /* of a block */
    int32_t d_offset;    /* d */
    int32_t m_offset;    /* m, or dmin of super-blocks */
    /* Of blocks of 32 alone: */
    int32_t high_offset; /* u32: fifth bits, bit i of weight i */
    int32_t q_offset;
    int32_t q_bytes;     /* 16 (nibbles) or 32 (bytes) */
    int32_t zero;        /* the q that means zero, for types without m */
    int32_t scale_bytes; /* of a d or m: 2 (f16) or 4 (f32) */
    int32_t groups;      /* that have a d (and m) each: 1, or 2 of 16 weights */
} lc_type_info;

/* NULL if the core does not compute the type. */
const lc_type_info *lc_type_find(int32_t type);
/* Expands n weights (whole blocks). */
void lc_type_expand(const lc_type_info *info, const void *src, size_t n, float *dst);
/* Whether every weight (or scale) in n_bytes of whole blocks is finite. */
bool lc_type_all_finite(const lc_type_info *info, const void *src, size_t n_bytes);

#define LC_F16_EXPONENT 0x7c00

LC_INLINE bool lc_type_is_block(const lc_type_info *info) { return info->elements > 1; }
LC_INLINE bool lc_type_is_super(const lc_type_info *info) { return info->elements > LC_BLOCK; }
/* Bytes of all d, or of all m, of a block of 32. */
LC_INLINE size_t lc_type_scales(const lc_type_info *info) { return (size_t)(info->scale_bytes * info->groups); }

/* f16 to f32, exact.  Multiplying the shifted bits by 2^112 moves the exponent's bias and makes
 * subnormals right by itself; only infinities and NaNs need care.  Written without a branch so that compilers
 * vectorise loops over it. */
LC_INLINE float lc_f32_of_f16(uint16_t h)
{
    const uint32_t magnitude = (uint32_t)(h & 0x7fff) << 13;
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    const uint32_t special = magnitude >= 0x0f800000u ? 0x7f800000u : 0;
    const float scaled = lc_float_of_bits(magnitude) * 0x1p112f;
    return lc_float_of_bits(lc_bits_of_float(scaled) | special | sign);
}

/* f32 to f16, to nearest, ties to even; too large becomes infinity. */
LC_INLINE uint16_t lc_f16_of_f32(float f)
{
    const uint32_t bits = lc_bits_of_float(f);
    const uint32_t magnitude = bits & 0x7fffffffu;
    const uint32_t sign = (bits >> 16) & 0x8000;
    /* Subnormals: adding 0.5 leaves the value in units of 2^-24 in the low bits, rounded by the addition. */
    const uint32_t small = lc_bits_of_float(lc_float_of_bits(magnitude) + 0.5f) - 0x3f000000u;
    /* Normals: re-bias, add half of what is cut off (a little less when the kept part is even), cut. */
    const uint32_t normal = (magnitude - 0x38000000u + 0xfff + ((magnitude >> 13) & 1)) >> 13;
    uint32_t h = magnitude < 0x38800000u ? small : normal;
    h = magnitude >= 0x477ff000u ? 0x7c00 : h;
    h = magnitude > 0x7f800000u ? 0x7e00 : h;
    return (uint16_t)(h | sign);
}

LC_INLINE float lc_f32_of_bf16(uint16_t h) { return lc_float_of_bits((uint32_t)h << 16); }

/* f32 to bf16, to nearest, ties to even; not of NaN. */
LC_INLINE uint16_t lc_bf16_of_f32(float f)
{
    const uint32_t bits = lc_bits_of_float(f);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* Little-endian reads from unaligned file bytes. */
LC_INLINE uint16_t lc_load16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
LC_INLINE uint32_t lc_load32(const uint8_t *p) { return (uint32_t)lc_load16(p) | (uint32_t)lc_load16(p + 2) << 16; }

/* Whether n numbers of 16 bits with the exponent in these bits are finite: an exponent of ones alone says infinity or
 * NaN, and adding one to its lowest bit carries into the sign's. */
LC_INLINE bool lc_all_finite_16(const uint8_t *src, size_t n, uint16_t exponent)
{
    const uint16_t lowest = exponent & (uint16_t)-exponent;
    uint16_t bad = 0;
    for (size_t i = 0; i < n; i++)
        bad |= (uint16_t)((lc_load16(src + 2 * i) & exponent) + lowest);
    return !(bad & 0x8000);
}

/* The same of n numbers of 32 bits; `exponent` is the first (biased, 1..255) of those that are too large. */
LC_INLINE bool lc_all_below_32(const uint8_t *src, size_t n, uint32_t exponent)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++)
        bad |= (lc_load32(src + 4 * i) & 0x7f800000u) + ((256 - exponent) << 23);
    return !(bad & 0x80000000u);
}

#define LC_F32_INFINITE 255
/* From 2^120 on a scale in float32 could make an infinity of a byte. */
#define LC_F32_SCALE_TOO_LARGE 247

/* Whether n scales of a type, side by side, are finite and their weights are. */
LC_INLINE bool lc_scales_finite(const lc_type_info *info, const uint8_t *src, size_t n)
{
    return info->scale_bytes == 4 ? lc_all_below_32(src, n, LC_F32_SCALE_TOO_LARGE)
                                  : lc_all_finite_16(src, n, LC_F16_EXPONENT);
}

#endif
