/* blocks.h - panels of block types in registers: see ../blocks.h. Written once for the sets of x86.
 *
 * Needs what vector.h needs, the type vb (as many bytes as vf), and
 *     vb_load, vb_set1, vb_and, vb_xor, vb_repeat(sixteen bytes), vb_lookup(repeated table, v)
 *     vb_left(v, n), vb_right(v, n)    moved by n bits, in words of 16
 *     vb_with(v, w, mask)              v | (w & mask)
 */

typedef struct quants {
    vb step[LC_STEPS]; /* unsigned bytes: columns 4k..4k+3 of each row */
} quants;

typedef struct scales {
    vf d[LC_RECORD_GROUPS_MAX], m[LC_RECORD_GROUPS_MAX]; /* by group of the record */
} scales;

LC_INLINE void quants_of_nibbles(const uint8_t *q, quants *out)
{
    const vb low = vb_set1(15);
    #pragma GCC unroll 4
    for (int k = 0; k < LC_STEPS / 2; k++) {
        const vb pairs = vb_load(q + k * PANEL * 4);
        out->step[k] = vb_and(pairs, low);
        out->step[k + 4] = vb_and(vb_right(pairs, 4), low);
    }
}

/* Two bits a column. */
LC_INLINE void quants_of_pairs(const uint8_t *pairs, quants *out)
{
    #pragma GCC unroll 8
    for (int k = 0; k < LC_STEPS; k++)
        out->step[k] = vb_and(vb_right(vb_load(pairs + k / 4 * PANEL * 4), k % 4 * 2), vb_set1(3));
}

LC_INLINE void quants_of_table(const uint8_t *nibbles, quants *out)
{
    const __m128i table = _mm_loadu_si128((const __m128i *)(const void *)LC_IQ4_VALUES);
    const vb values = vb_repeat(_mm_xor_si128(table, _mm_set1_epi8(-128)));
    quants_of_nibbles(nibbles, out);
    #pragma GCC unroll 8
    for (int k = 0; k < LC_STEPS; k++)
        out->step[k] = vb_lookup(values, out->step[k]);
}

/* bytes | (the bits of v that the mask keeps, moved to the left, or to the right where that is negative) */
LC_INLINE vb with_bits(vb bytes, vb v, const int left, const int mask)
{
    return vb_with(bytes, left >= 0 ? vb_left(v, left) : vb_right(v, -left), vb_set1((char)mask));
}

/* One bit a column, of the value 2^place. */
LC_INLINE void add_bits(const uint8_t *bits, const int place, quants *out)
{
    const vb eight = vb_load(bits);
    #pragma GCC unroll 8
    for (int k = 0; k < LC_STEPS; k++)
        out->step[k] = with_bits(out->step[k], eight, place - k, 1 << place);
}

/* Two bits a column, above four. */
LC_INLINE void add_pairs(const uint8_t *pairs, quants *out)
{
    #pragma GCC unroll 8
    for (int k = 0; k < LC_STEPS; k++)
        out->step[k] = with_bits(out->step[k], vb_load(pairs + k / 4 * PANEL * 4), 4 - k % 4 * 2, 0x30);
}

LC_INLINE void quants_of_bytes(const uint8_t *q, quants *out)
{
    #pragma GCC unroll 8
    for (int k = 0; k < LC_STEPS; k++)
        out->step[k] = vb_xor(vb_load(q + k * PANEL * 4), vb_set1(-128));
}

#include "../templates/blocks.h"
