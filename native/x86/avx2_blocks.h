/* avx2_blocks.h - panels of block types in registers of 8 rows: see ../blocks.h. Part of avx2.c. */

typedef struct quants {
    __m256i step[LC_STEPS]; /* unsigned bytes: columns 4k..4k+3 of each row */
} quants;

typedef struct scales {
    __m256 d[LC_RECORD_GROUPS_MAX], m[LC_RECORD_GROUPS_MAX]; /* by group of the record */
} scales;

LC_INLINE __m256i bytes_at(const uint8_t *p) { return _mm256_loadu_si256((const __m256i *)(const void *)p); }

LC_INLINE void quants_of_nibbles(const uint8_t *q, quants *out)
{
    const __m256i low = _mm256_set1_epi8(15);
    #pragma GCC unroll 4
    for (int k = 0; k < LC_STEPS / 2; k++) {
        const __m256i pairs = bytes_at(q + k * PANEL * 4);
        out->step[k] = _mm256_and_si256(pairs, low);
        out->step[k + 4] = _mm256_and_si256(_mm256_srli_epi16(pairs, 4), low);
    }
}

/* Two bits a column. */
LC_INLINE void quants_of_pairs(const uint8_t *pairs, quants *out)
{
    #pragma GCC unroll 8
    for (int k = 0; k < LC_STEPS; k++) {
        const __m256i four = bytes_at(pairs + k / 4 * PANEL * 4);
        out->step[k] = _mm256_and_si256(_mm256_srli_epi16(four, k % 4 * 2), _mm256_set1_epi8(3));
    }
}

LC_INLINE void quants_of_table(const uint8_t *nibbles, quants *out)
{
    const __m128i table = _mm_loadu_si128((const __m128i *)(const void *)LC_IQ4_VALUES);
    const __m256i values = _mm256_broadcastsi128_si256(_mm_xor_si128(table, _mm_set1_epi8(-128)));
    quants_of_nibbles(nibbles, out);
    #pragma GCC unroll 8
    for (int k = 0; k < LC_STEPS; k++)
        out->step[k] = _mm256_shuffle_epi8(values, out->step[k]);
}

/* bytes | (the bits of v that the mask keeps, moved to the left, or to the right where that is negative) */
LC_INLINE __m256i with_bits(__m256i bytes, __m256i v, const int left, const int mask)
{
    const __m256i moved = left >= 0 ? _mm256_slli_epi16(v, left) : _mm256_srli_epi16(v, -left);
    return _mm256_or_si256(bytes, _mm256_and_si256(moved, _mm256_set1_epi8((char)mask)));
}

/* One bit a column, of the value 2^place. */
LC_INLINE void add_bits(const uint8_t *bits, const int place, quants *out)
{
    const __m256i eight = bytes_at(bits);
    #pragma GCC unroll 8
    for (int k = 0; k < LC_STEPS; k++)
        out->step[k] = with_bits(out->step[k], eight, place - k, 1 << place);
}

/* Two bits a column, above four. */
LC_INLINE void add_pairs(const uint8_t *pairs, quants *out)
{
    #pragma GCC unroll 8
    for (int k = 0; k < LC_STEPS; k++)
        out->step[k] = with_bits(out->step[k], bytes_at(pairs + k / 4 * PANEL * 4), 4 - k % 4 * 2, 0x30);
}

LC_INLINE void quants_of_bytes(const uint8_t *q, quants *out)
{
    #pragma GCC unroll 8
    for (int k = 0; k < LC_STEPS; k++)
        out->step[k] = _mm256_xor_si256(bytes_at(q + k * PANEL * 4), _mm256_set1_epi8(-128));
}

#include "../templates/blocks.h"
