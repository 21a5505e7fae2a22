/* blocks.h - panels of block types in plain C: see ../blocks.h. Part of kernels.c. */

typedef struct quants {
    uint8_t step[LC_STEPS][PANEL * 4]; /* [row][4]: columns 4k..4k+3 */
} quants;

typedef struct scales {
    vf d[LC_RECORD_GROUPS_MAX], m[LC_RECORD_GROUPS_MAX]; /* by group of the record */
} scales;

LC_INLINE void quants_of_nibbles(const uint8_t *q, quants *out)
{
    for (int k = 0; k < LC_STEPS / 2; k++, q += PANEL * 4)
        for (int i = 0; i < PANEL * 4; i++) {
            out->step[k][i] = q[i] & 15;
            out->step[k + 4][i] = q[i] >> 4;
        }
}

/* Two bits a column. */
LC_INLINE void quants_of_pairs(const uint8_t *pairs, quants *out)
{
    for (int k = 0; k < LC_STEPS; k++)
        for (int i = 0; i < PANEL * 4; i++)
            out->step[k][i] = pairs[k / 4 * PANEL * 4 + i] >> k % 4 * 2 & 3;
}

LC_INLINE void quants_of_table(const uint8_t *nibbles, quants *out)
{
    quants_of_nibbles(nibbles, out);
    for (int k = 0; k < LC_STEPS; k++)
        for (int i = 0; i < PANEL * 4; i++)
            out->step[k][i] = (uint8_t)(LC_IQ4_VALUES[out->step[k][i]] + 128);
}

/* One bit a column, of the value 2^place. */
LC_INLINE void add_bits(const uint8_t *bits, const int place, quants *out)
{
    for (int k = 0; k < LC_STEPS; k++)
        for (int i = 0; i < PANEL * 4; i++)
            out->step[k][i] |= (uint8_t)((bits[i] >> k & 1) << place);
}

/* Two bits a column, above four. */
LC_INLINE void add_pairs(const uint8_t *pairs, quants *out)
{
    for (int k = 0; k < LC_STEPS; k++)
        for (int i = 0; i < PANEL * 4; i++)
            out->step[k][i] |= (uint8_t)((pairs[k / 4 * PANEL * 4 + i] >> k % 4 * 2 & 3) << 4);
}

LC_INLINE void quants_of_bytes(const uint8_t *q, quants *out)
{
    for (int k = 0; k < LC_STEPS; k++, q += PANEL * 4)
        for (int i = 0; i < PANEL * 4; i++)
            out->step[k][i] = q[i] ^ 0x80;
}

#include "../templates/blocks.h"
