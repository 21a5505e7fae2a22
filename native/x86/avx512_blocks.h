/* avx512_blocks.h - panels of block types in registers of 16 rows: see blocks.h. Part of avx512.c. */

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

LC_INLINE void quants_of_five(const uint8_t *section, const uint8_t *q, quants *out)
{
    const __m512i high = _mm512_loadu_si512(section);
    quants_of_nibbles(q, out);
    #pragma GCC unroll 8
    for (int k = 0; k < LC_STEPS; k++) {
        const __m512i moved = k < 4 ? _mm512_slli_epi16(high, 4 - k) : _mm512_srli_epi16(high, k - 4);
        out->step[k] = _mm512_ternarylogic_epi32(out->step[k], moved, _mm512_set1_epi8(16), 0xf8); /* a | (b & c) */
    }
}

LC_INLINE void quants_of_bytes(const uint8_t *q, quants *out)
{
    #pragma GCC unroll 8
    for (int k = 0; k < LC_STEPS; k++)
        out->step[k] = _mm512_xor_si512(_mm512_loadu_si512(q + k * PANEL * 4), _mm512_set1_epi8(-128));
}

/* The i-th 32 columns of a record. */
LC_INLINE void quants_of(const int32_t type, const uint8_t *record, const int i, quants *out)
{
    const uint8_t *high = record + lc_record_high(type, PANEL), *q = record + lc_record_quants(type, PANEL);
    (void)i; /* types of more than 32 columns */
    switch (type) {
    case LC_Q4_0:
    case LC_Q4_1: quants_of_nibbles(q, out); break;
    case LC_Q5_0:
    case LC_Q5_1: quants_of_five(high, q, out); break;
    default: quants_of_bytes(q, out);
    }
}

LC_INLINE __m512 scales_at(const uint8_t *p) { return vf_load_f16((const uint16_t *)(const void *)p); }

LC_INLINE void scales_of(const int32_t type, const uint8_t *record, scales *out)
{
    out->d[0] = scales_at(record);
    if (lc_block_kind_of(type).minima)
        out->m[0] = scales_at(record + PANEL * 2);
}
