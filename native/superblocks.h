/* superblocks.h - blocks of 256 weights ("K-quants" and IQ4_XS): what a file's bytes mean, and how they lie in a panel.
 *
 * A super-block has one scale d (and dmin) in f16, and for each group of 16 or 32 weights small integers that multiply
 * them:
 *     Q2_K, Q4_K, Q5_K   d * scale * q - dmin * minimum
 *     Q3_K, Q6_K         d * scale * (q - zero)
 *     IQ4_XS             d * scale * value of q in a table of 16
 *
 * Files spread the bits of a weight over a super-block: the two low ones here, the third there, each byte shared by
 * weights that lie 32 or 64 columns apart.  In a panel the 32 columns of a block stand together instead, in as many
 * bits.  For each row of a panel:
 *     halves   u16   d, then dmin; IQ4_XS: d, then the high bits of the scales
 *     scales   words (u32) as they stand in the file
 *     8 blocks of 32 columns, each as words of four neighbouring columns to a byte, of these planes:
 *         bits      1 word    bit k of byte b belongs to column 4k + b
 *         pairs     2 words   bits 2k, 2k + 1 of byte b of word w belong to column 16w + 4k + b
 *         nibbles   4 words   byte b of word j holds columns 4j + b (low half) and 4j + b + 16 (high half)
 */
#ifndef LC_SUPERBLOCKS_H
#define LC_SUPERBLOCKS_H

#include "types.h"

#define LC_SUPER 256                       /* weights */
#define LC_SUPER_BLOCKS (LC_SUPER / LC_BLOCK)
#define LC_SUPER_BYTES_MAX 210             /* in a file: Q6_K */
#define LC_SUPER_WORDS_MAX 52              /* of one row of a panel: Q6_K */

/* What each row of a panel holds of a super-block. */
typedef struct lc_super_parts {
    int halves;        /* u16 */
    int scales;        /* words; the planes of a block follow */
    bool bits, pairs, nibbles;
    int block;         /* words of a block of 32 columns */
    int words;         /* all of them */
} lc_super_parts;

/* A constant, where the type is one. */
LC_INLINE lc_super_parts lc_super_parts_of(int32_t type)
{
    lc_super_parts p = {1, 3, false, false, true, 0, 0};
    switch (type) {
    case LC_Q2_K: p = (lc_super_parts){2, 4, false, true, false, 0, 0}; break;
    case LC_Q3_K: p = (lc_super_parts){1, 3, true, true, false, 0, 0}; break;
    case LC_Q4_K: p = (lc_super_parts){2, 3, false, false, true, 0, 0}; break;
    case LC_Q5_K: p = (lc_super_parts){2, 3, true, false, true, 0, 0}; break;
    case LC_Q6_K: p = (lc_super_parts){1, 4, false, true, true, 0, 0}; break;
    default: p = (lc_super_parts){2, 1, false, false, true, 0, 0}; break; /* IQ4_XS */
    }
    p.block = (p.bits ? 1 : 0) + (p.pairs ? 2 : 0) + (p.nibbles ? 4 : 0);
    p.words = p.scales + LC_SUPER_BLOCKS * p.block;
    return p;
}

/* The values that the four bits of IQ4_NL and IQ4_XS stand for. */
extern const int8_t LC_IQ4_VALUES[16];

/* The 256 values of a super-block as it stands in a file. */
void lc_super_expand(int32_t type, const uint8_t *block, float *dst);
/* A file's super-block as what one row of a panel holds of it, and back: no bit is lost. */
void lc_super_split(const lc_type_info *info, const uint8_t *block, uint16_t *halves, uint32_t *words);
void lc_super_join(const lc_type_info *info, const uint16_t *halves, const uint32_t *words, uint8_t *block);

#endif
