/* avx512_blocks.h - panels of block types in registers of 16 rows: see ../blocks.h. Part of avx512.c. */

typedef struct quants {
    __m512i step[LC_STEPS]; /* unsigned bytes: columns 4k..4k+3 of each row */
} quants;

typedef struct scales {
    __m512 d[LC_RECORD_GROUPS_MAX], m[LC_RECORD_GROUPS_MAX]; /* by group of the record */
} scales;

LC_INLINE void quants_of_nibbles(const uint8_t *q, quants *out)
{
    const __m512i low = _mm512_set1_epi8(15);
    #pragma GCC unroll 4
    for (int k = 0; k < LC_STEPS / 2; k++) {
        const __m512i pairs = _mm512_loadu_si512(q + k * PANEL * 4);
        out->step[k] = _mm512_and_si512(pairs, low);
        out->step[k + 4] = _mm512_and_si512(_mm512_srli_epi16(pairs, 4), low);
    }
}

/* Two bits a column. */
LC_INLINE void quants_of_pairs(const uint8_t *pairs, quants *out)
{
    #pragma GCC unroll 8
    for (int k = 0; k < LC_STEPS; k++) {
        const __m512i four = _mm512_loadu_si512(pairs + k / 4 * PANEL * 4);
        out->step[k] = _mm512_and_si512(_mm512_srli_epi16(four, k % 4 * 2), _mm512_set1_epi8(3));
    }
}

LC_INLINE void quants_of_table(const uint8_t *nibbles, quants *out)
{
    const __m128i table = _mm_loadu_si128((const __m128i *)(const void *)LC_IQ4_VALUES);
    const __m512i values = _mm512_broadcast_i32x4(_mm_xor_si128(table, _mm_set1_epi8(-128)));
    quants_of_nibbles(nibbles, out);
    #pragma GCC unroll 8
    for (int k = 0; k < LC_STEPS; k++)
        out->step[k] = _mm512_shuffle_epi8(values, out->step[k]);
}

/* bytes | (the bits of v that the mask keeps, moved to the left, or to the right where that is negative) */
LC_INLINE __m512i with_bits(__m512i bytes, __m512i v, const int left, const int mask)
{
    const __m512i moved = left >= 0 ? _mm512_slli_epi16(v, left) : _mm512_srli_epi16(v, -left);
    return _mm512_ternarylogic_epi32(bytes, moved, _mm512_set1_epi8((char)mask), 0xf8); /* a | (b & c) */
}

/* One bit a column, of the value 2^place. */
LC_INLINE void add_bits(const uint8_t *bits, const int place, quants *out)
{
    const __m512i eight = _mm512_loadu_si512(bits);
    #pragma GCC unroll 8
    for (int k = 0; k < LC_STEPS; k++)
        out->step[k] = with_bits(out->step[k], eight, place - k, 1 << place);
}

/* Two bits a column, above four. */
LC_INLINE void add_pairs(const uint8_t *pairs, quants *out)
{
    #pragma GCC unroll 8
    for (int k = 0; k < LC_STEPS; k++)
        out->step[k] = with_bits(out->step[k], _mm512_loadu_si512(pairs + k / 4 * PANEL * 4), 4 - k % 4 * 2, 0x30);
}

LC_INLINE void quants_of_bytes(const uint8_t *q, quants *out)
{
    #pragma GCC unroll 8
    for (int k = 0; k < LC_STEPS; k++)
        out->step[k] = _mm512_xor_si512(_mm512_loadu_si512(q + k * PANEL * 4), _mm512_set1_epi8(-128));
}

#include "../templates/blocks.h"
