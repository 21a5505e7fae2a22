/* blocks.h - what the kernels make of a block type's panels: 32 columns at a time, as unsigned bytes and scales.
 *
 * Every type of blocks is taken apart by two functions, written once in templates/blocks.h over what each instruction
 * set has for planes of nibbles, pairs, bits and bytes (x86/blocks.h, generic/blocks.h):
 *     quants_of(record, i)   the i-th 32 columns of a record as unsigned bytes q, [8 steps][row][4 columns]
 *     scales_of(record)      d, and m for types with minima, of every group of columns of the record
 * A weight is d * (q - zero), or d * q + m for types with minima.
 * To add a type: its layout (types.c, panels.c), its place in LC_BLOCK_TYPES, its kind, its cases in the two functions.
 */
#ifndef LC_BLOCKS_H
#define LC_BLOCKS_H

#include "panels.h"
#include "superblocks.h"

/* name and lc_type of the types that kernels exist for: templates/dispatch.h makes the functions of each. */
#define LC_FLOAT_TYPES(X) X(f32, LC_F32) X(f16, LC_F16) X(bf16, LC_BF16)
#define LC_BLOCK_TYPES(X)                                                                                            \
    X(q4_0, LC_Q4_0) X(q4_1, LC_Q4_1) X(q5_0, LC_Q5_0) X(q5_1, LC_Q5_1) X(q8_0, LC_Q8_0) X(iq4_nl, LC_IQ4_NL)         \
    X(q2_k, LC_Q2_K) X(q3_k, LC_Q3_K) X(q4_k, LC_Q4_K) X(q5_k, LC_Q5_K) X(q6_k, LC_Q6_K) X(iq4_xs, LC_IQ4_XS)         \
    X(q4_0_f32, LC_Q4_0_F32) X(q4_1_f32, LC_Q4_1_F32) X(q8_0_f32, LC_Q8_0_F32) X(q4_2, LC_Q4_2) X(q4_3, LC_Q4_3)

#define LC_STEPS (LC_BLOCK / 4)   /* dot-product instructions take four columns a step */
#define LC_RECORD_GROUPS_MAX 16   /* 256 columns, a scale for each 16 */

typedef struct lc_block_kind {
    int32_t bytes;   /* of a record, one row's */
    int32_t columns; /* of a record: 32, or 256 for super-blocks */
    int32_t groups;  /* in 32 columns: 1, or 2 where 16 columns share a scale */
    bool minima;     /* weight = d * q + m */
    int32_t zero;    /* without minima: the q that means zero */
} lc_block_kind;

/* Constants, where the type is one.  What a file holds as signed (Q8_0, the table of IQ4) is moved up by 128. */
LC_INLINE lc_block_kind lc_block_kind_of(int32_t type)
{
    switch (type) {
    case LC_Q4_0: return (lc_block_kind){18, LC_BLOCK, 1, false, 8};
    case LC_Q4_1: return (lc_block_kind){20, LC_BLOCK, 1, true, 0};
    case LC_Q5_0: return (lc_block_kind){22, LC_BLOCK, 1, false, 16};
    case LC_Q5_1: return (lc_block_kind){24, LC_BLOCK, 1, true, 0};
    case LC_Q8_0: return (lc_block_kind){34, LC_BLOCK, 1, false, 128};
    case LC_Q2_K: return (lc_block_kind){84, LC_SUPER, 2, true, 0};
    case LC_Q3_K: return (lc_block_kind){110, LC_SUPER, 2, false, 4};
    case LC_Q4_K: return (lc_block_kind){144, LC_SUPER, 1, true, 0};
    case LC_Q5_K: return (lc_block_kind){176, LC_SUPER, 1, true, 0};
    case LC_Q6_K: return (lc_block_kind){210, LC_SUPER, 2, false, 32};
    case LC_IQ4_NL: return (lc_block_kind){18, LC_BLOCK, 1, false, 128};
    case LC_Q4_0_F32: return (lc_block_kind){20, LC_BLOCK, 1, false, 8};
    case LC_Q4_1_F32: return (lc_block_kind){24, LC_BLOCK, 1, true, 0};
    case LC_Q8_0_F32: return (lc_block_kind){36, LC_BLOCK, 1, false, 128};
    case LC_Q4_2: return (lc_block_kind){20, LC_BLOCK, 2, false, 8};
    case LC_Q4_3: return (lc_block_kind){24, LC_BLOCK, 2, true, 0};
    default: return (lc_block_kind){136, LC_SUPER, 1, false, 128}; /* IQ4_XS */
    }
}

LC_INLINE bool lc_is_float(int32_t type) { return type == LC_F32 || type == LC_F16 || type == LC_BF16; }
/* Bytes of a panel's record for each 32 columns, about: what to ask for ahead. */
LC_INLINE size_t lc_record_part(const lc_block_kind kind, int rows)
{
    return (size_t)(kind.bytes * rows / (kind.columns / LC_BLOCK));
}
LC_INLINE int lc_record_groups(const lc_block_kind kind) { return kind.columns / LC_BLOCK * kind.groups; }

/* Offsets in a record of the types with 32 columns (see panels.h), by rows of a panel. */
LC_INLINE size_t lc_record_minima(int32_t type, int rows)
{
    const bool four = type == LC_Q4_0_F32 || type == LC_Q4_1_F32 || type == LC_Q8_0_F32;
    return (size_t)rows * (four ? 4 : 2) * (size_t)lc_block_kind_of(type).groups;
}

LC_INLINE size_t lc_record_high(int32_t type, int rows)
{
    return lc_record_minima(type, rows) * (lc_block_kind_of(type).minima ? 2 : 1);
}

LC_INLINE size_t lc_record_quants(int32_t type, int rows)
{
    return lc_record_high(type, rows) + (type == LC_Q5_0 || type == LC_Q5_1 ? (size_t)rows * 4 : 0);
}

/* Offsets in a record of super-blocks: of the words that hold scales, and of the planes of the i-th 32 columns. */
LC_INLINE size_t lc_super_scales(int32_t type, int rows) { return (size_t)(rows * 2 * lc_super_parts_of(type).halves); }

typedef struct lc_super_planes {
    const uint8_t *bits, *pairs, *nibbles;
} lc_super_planes;

LC_INLINE lc_super_planes lc_super_planes_of(int32_t type, int rows, const uint8_t *record, int i)
{
    const lc_super_parts parts = lc_super_parts_of(type);
    const size_t word = (size_t)rows * 4;
    const uint8_t *bits = record + lc_super_scales(type, rows) + (size_t)(parts.scales + i * parts.block) * word;
    const uint8_t *pairs = bits + (parts.bits ? word : 0);
    return (lc_super_planes){bits, pairs, pairs + (parts.pairs ? 2 * word : 0)};
}

#endif
