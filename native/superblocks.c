#include "superblocks.h"

const int8_t LC_IQ4_VALUES[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

/* ---- values: e is the number of a weight in its super-block ---- */

static float expand_q2(const uint8_t *b, int e)
{
    const float d = lc_f32_of_f16(lc_load16(b + 80)), dmin = lc_f32_of_f16(lc_load16(b + 82));
    const int scale = b[e / 16];
    const int q = b[16 + e / 128 * 32 + e % 32] >> e % 128 / 32 * 2 & 3;
    return d * (float)(scale & 15) * (float)q - dmin * (float)(scale >> 4);
}

static float expand_q3(const uint8_t *b, int e)
{
    const uint8_t *const scales = b + 96;
    const int s = e / 16;
    const int scale = ((scales[s % 8] >> s / 8 * 4 & 15) | (scales[8 + s % 4] >> s / 4 * 2 & 3) << 4) - 32;
    const int low = b[32 + e / 128 * 32 + e % 32] >> e % 128 / 32 * 2 & 3, high = b[e % 32] >> e / 32 & 1;
    return lc_f32_of_f16(lc_load16(b + 108)) * (float)scale * (float)(low + 4 * high - 4);
}

/* The scale and the minimum of the s-th 32 columns of Q4_K and Q5_K, six bits each. */
static float expand_q4_or_q5(const uint8_t *b, int e, int q)
{
    const uint8_t *const scales = b + 4;
    const int s = e / 32;
    const float d = lc_f32_of_f16(lc_load16(b)), dmin = lc_f32_of_f16(lc_load16(b + 2));
    int scale = scales[s] & 63, minimum = scales[(s + 4) % 8] & 63;
    if (s >= 4) {
        scale = (scales[s + 4] & 15) | scales[s - 4] >> 6 << 4;
        minimum = scales[s + 4] >> 4 | scales[s] >> 6 << 4;
    }
    return d * (float)scale * (float)q - dmin * (float)minimum;
}

static int nibble_of_pair(const uint8_t *q, int e) { return q[e / 64 * 32 + e % 32] >> e / 32 % 2 * 4 & 15; }

static float expand_q4(const uint8_t *b, int e) { return expand_q4_or_q5(b, e, nibble_of_pair(b + 16, e)); }

static float expand_q5(const uint8_t *b, int e)
{
    return expand_q4_or_q5(b, e, nibble_of_pair(b + 48, e) | (b[16 + e % 32] >> e / 32 & 1) << 4);
}

static float expand_q6(const uint8_t *b, int e)
{
    const int half = e / 128, g = e % 128 / 32, l = e % 32;
    const int low = b[64 * half + 32 * (g % 2) + l] >> g / 2 * 4 & 15, high = b[128 + 32 * half + l] >> 2 * g & 3;
    return lc_f32_of_f16(lc_load16(b + 208)) * (float)(int8_t)b[192 + e / 16] * (float)((low | high << 4) - 32);
}

static float expand_iq4(const uint8_t *b, int e)
{
    const int s = e / 32;
    const int scale = (b[4 + s / 2] >> s % 2 * 4 & 15) | (lc_load16(b + 2) >> 2 * s & 3) << 4;
    const int q = b[8 + 16 * s + e % 16] >> e % 32 / 16 * 4 & 15;
    return lc_f32_of_f16(lc_load16(b)) * (float)(scale - 32) * (float)LC_IQ4_VALUES[q];
}

void lc_super_expand(int32_t type, const uint8_t *block, float *dst)
{
    float (*const expand)(const uint8_t *, int) = type == LC_Q2_K   ? expand_q2
                                                  : type == LC_Q3_K ? expand_q3
                                                  : type == LC_Q4_K ? expand_q4
                                                  : type == LC_Q5_K ? expand_q5
                                                  : type == LC_Q6_K ? expand_q6
                                                                    : expand_iq4;
    for (int e = 0; e < LC_SUPER; e++)
        dst[e] = expand(block, e);
}

/* ---- panels ----
 *
 * Files share a byte between weights of several blocks, at the same column of each; panels between several columns of
 * one block.  One is the transpose of the other: of 8 x 8 bits, 4 x 4 pairs or 2 x 2 halves of bytes, four bytes at
 * once. */

/* Swaps the parts of *a that the mask moved up by `shift` covers with those of *b that the mask covers. */
LC_INLINE void swap_bits(uint32_t *a, uint32_t *b, int shift, uint32_t mask)
{
    const uint32_t differ = ((*a >> shift) ^ *b) & mask;
    *b ^= differ;
    *a ^= differ << shift;
}

/* Swaps bit `shift` of a part's number with bit `apart` of a word's number, in `n` words. */
LC_INLINE void swap_words(uint32_t *words, int n, int apart, int shift, uint32_t mask)
{
    for (int i = 0; i < n; i++)
        if (!(i & apart))
            swap_bits(&words[i], &words[i + apart], shift, mask);
}

#define LOW_HALVES 0x0f0f0f0fu
#define LOW_PAIRS 0x33333333u
#define LOW_BITS 0x55555555u

/* Each is its own inverse. */
LC_INLINE void transpose_nibbles(uint32_t words[8]) { swap_words(words, 8, 4, 4, LOW_HALVES); }

LC_INLINE void transpose_pairs(uint32_t words[8])
{
    swap_words(words, 8, 2, 4, LOW_HALVES);
    swap_words(words, 8, 1, 2, LOW_PAIRS);
}

LC_INLINE void transpose_bits(uint32_t words[8])
{
    swap_words(words, 8, 4, 4, LOW_HALVES);
    swap_words(words, 8, 2, 2, LOW_PAIRS);
    swap_words(words, 8, 1, 1, LOW_BITS);
}

/* Where a file's super-block holds what: offsets in bytes. */
typedef struct places {
    int halves, scales, bits, pairs, nibbles;
} places;

LC_INLINE places places_of(int32_t type)
{
    switch (type) {
    case LC_Q2_K: return (places){.halves = 80, .scales = 0, .pairs = 16};
    case LC_Q3_K: return (places){.halves = 108, .scales = 96, .bits = 0, .pairs = 32};
    case LC_Q4_K: return (places){.halves = 0, .scales = 4, .nibbles = 16};
    case LC_Q5_K: return (places){.halves = 0, .scales = 4, .bits = 16, .nibbles = 48};
    case LC_Q6_K: return (places){.halves = 208, .scales = 192, .pairs = 128, .nibbles = 0};
    default: return (places){.halves = 0, .scales = 4, .nibbles = 8}; /* IQ4_XS */
    }
}

LC_INLINE void transpose_at(void transpose(uint32_t *), uint8_t *at, int n)
{
    uint32_t words[8];
    for (int i = 0; i < n; i++, at += sizeof words) {
        memcpy(words, at, sizeof words);
        transpose(words);
        memcpy(at, words, sizeof words);
    }
}

/* Transposes all planes of a super-block where they are, 32 bytes at a time. */
LC_INLINE void transpose_planes(int32_t type, uint8_t *block)
{
    const lc_super_parts parts = lc_super_parts_of(type);
    const places at = places_of(type);
    if (parts.bits)
        transpose_at(transpose_bits, block + at.bits, 1);
    if (parts.pairs)
        transpose_at(transpose_pairs, block + at.pairs, 2);
    if (parts.nibbles && type != LC_IQ4_XS) /* whose nibbles belong to one block from the first */
        transpose_at(transpose_nibbles, block + at.nibbles, 4);
}

/* Where the words of the i-th 32 columns are after that; returns how many. */
LC_INLINE int find_words(int32_t type, int i, int offsets[7])
{
    const lc_super_parts parts = lc_super_parts_of(type);
    const places at = places_of(type);
    /* The two halves of Q6_K's bytes are of the first and third block of four, or the second and fourth. */
    const int nibbles = at.nibbles + 16 * (type == LC_Q6_K ? i / 4 * 4 + i % 2 * 2 + i / 2 % 2 : i);
    int n = 0;
    if (parts.bits)
        offsets[n++] = at.bits + 4 * i;
    if (parts.pairs)
        for (int word = 0; word < 2; word++)
            offsets[n++] = at.pairs + 32 * (i / 4) + 16 * word + 4 * (i % 4);
    if (parts.nibbles)
        for (int word = 0; word < 4; word++)
            offsets[n++] = nibbles + 4 * word;
    return n;
}

LC_INLINE void split(int32_t type, size_t bytes, const uint8_t *block, uint16_t *halves, uint32_t *words)
{
    const lc_super_parts parts = lc_super_parts_of(type);
    const places at = places_of(type);
    uint8_t copy[LC_SUPER_BYTES_MAX];
    int offsets[7];

    memcpy(copy, block, bytes);
    transpose_planes(type, copy);
    memcpy(halves, copy + at.halves, (size_t)parts.halves * sizeof *halves);
    memcpy(words, copy + at.scales, (size_t)parts.scales * sizeof *words);
    words += parts.scales;
    for (int i = 0; i < LC_SUPER_BLOCKS; i++) {
        const int n = find_words(type, i, offsets);
        for (int word = 0; word < n; word++)
            memcpy(words++, copy + offsets[word], sizeof *words);
    }
}

LC_INLINE void join(int32_t type, const uint16_t *halves, const uint32_t *words, uint8_t *block)
{
    const lc_super_parts parts = lc_super_parts_of(type);
    const places at = places_of(type);
    int offsets[7];

    memcpy(block + at.halves, halves, (size_t)parts.halves * sizeof *halves);
    memcpy(block + at.scales, words, (size_t)parts.scales * sizeof *words);
    words += parts.scales;
    for (int i = 0; i < LC_SUPER_BLOCKS; i++) {
        const int n = find_words(type, i, offsets);
        for (int word = 0; word < n; word++)
            memcpy(block + offsets[word], words++, sizeof *words);
    }
    transpose_planes(type, block);
}

void lc_super_split(const lc_type_info *info, const uint8_t *block, uint16_t *halves, uint32_t *words)
{
    switch (info->type) {
    case LC_Q2_K: split(LC_Q2_K, 84, block, halves, words); break;
    case LC_Q3_K: split(LC_Q3_K, 110, block, halves, words); break;
    case LC_Q4_K: split(LC_Q4_K, 144, block, halves, words); break;
    case LC_Q5_K: split(LC_Q5_K, 176, block, halves, words); break;
    case LC_Q6_K: split(LC_Q6_K, 210, block, halves, words); break;
    default: split(LC_IQ4_XS, 136, block, halves, words); break;
    }
}

void lc_super_join(const lc_type_info *info, const uint16_t *halves, const uint32_t *words, uint8_t *block)
{
    join(info->type, halves, words, block);
}
