/* blocks.h - what the types of blocks are made of, written once for every instruction set: see ../blocks.h.
 *
 * Needs what vector.h needs, the types quants and scales, and of quants (of a block's planes):
 *     quants_of_nibbles, quants_of_pairs, quants_of_bytes, quants_of_table(plane, out)
 *     add_bits(plane, place, out), add_pairs(plane, out)
 */

/* The i-th 32 columns of a record. */
LC_INLINE void quants_of(const int32_t type, const uint8_t *record, const int i, quants *out)
{
    const uint8_t *high = record + lc_record_high(type, PANEL), *q = record + lc_record_quants(type, PANEL);
    const lc_super_planes at = lc_super_planes_of(type, PANEL, record, i);
    switch (type) {
    case LC_Q4_0:
    case LC_Q4_1:
    case LC_Q4_0_F32:
    case LC_Q4_1_F32:
    case LC_Q4_2:
    case LC_Q4_3: quants_of_nibbles(q, out); break;
    case LC_Q5_0:
    case LC_Q5_1: quants_of_nibbles(q, out), add_bits(high, 4, out); break;
    case LC_Q8_0:
    case LC_Q8_0_F32: quants_of_bytes(q, out); break;
    case LC_IQ4_NL: quants_of_table(q, out); break;
    case LC_Q2_K: quants_of_pairs(at.pairs, out); break;
    case LC_Q3_K: quants_of_pairs(at.pairs, out), add_bits(at.bits, 2, out); break;
    case LC_Q4_K: quants_of_nibbles(at.nibbles, out); break;
    case LC_Q5_K: quants_of_nibbles(at.nibbles, out), add_bits(at.bits, 4, out); break;
    case LC_Q6_K: quants_of_nibbles(at.nibbles, out), add_pairs(at.pairs, out); break;
    default: quants_of_table(at.nibbles, out); /* IQ4_XS */
    }
}

/* ---- scales: those of four blocks or groups are the bytes of a word, for all rows at once ---- */

#define BYTES(n) ((n) * 0x01010101)

LC_INLINE vf scales_at(const uint8_t *p) { return vf_load_f16((const uint16_t *)(const void *)p); }

LC_INLINE vi words_at(const uint8_t *p)
{
    vi v;
    memcpy(&v, p, sizeof v);
    return v;
}

LC_INLINE vf floats_at(const uint8_t *p)
{
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* out[4] = unit * (each byte - zero), bytes up to 63 in this and signed in the next. */
LC_INLINE void spread_scales(vi four, const int zero, vf unit, vf *out)
{
    #pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        out[i] = unit * __builtin_convertvector((four >> 8 * i & 63) - zero, vf);
}

LC_INLINE void spread_signed(vi four, vf unit, vf *out)
{
    #pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        out[i] = unit * __builtin_convertvector(four << (24 - 8 * i) >> 24, vf);
}

/* Q4_K, Q5_K: six bits each. Words 0 and 1 hold the scales and minima of four blocks, and two bits of those of the
 * other four, whose other bits are in word 2. */
LC_INLINE void scales_of_six(const uint8_t *words, vf d, vf m, scales *out)
{
    const vi w0 = words_at(words), w1 = words_at(words + PANEL * 4), w2 = words_at(words + PANEL * 8);
    spread_scales(w0, 0, d, out->d);
    spread_scales(w1, 0, m, out->m);
    spread_scales((w2 & BYTES(15)) | (w0 >> 2 & BYTES(0x30)), 0, d, out->d + 4);
    spread_scales((w2 >> 4 & BYTES(15)) | (w1 >> 2 & BYTES(0x30)), 0, m, out->m + 4);
}

/* Q2_K: four bits each, a scale and a minimum to a byte. */
LC_INLINE void scales_of_four(const uint8_t *words, vf d, vf m, scales *out)
{
    #pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        const vi both = words_at(words + i * PANEL * 4);
        spread_scales(both & BYTES(15), 0, d, out->d + 4 * i);
        spread_scales(both >> 4 & BYTES(15), 0, m, out->m + 4 * i);
    }
}

/* Q3_K: six bits each and 32 too large, of which four are in words 0 and 1 and two in word 2. */
LC_INLINE void scales_of_q3(const uint8_t *words, vf d, scales *out)
{
    const vi high = words_at(words + PANEL * 8);
    #pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        const vi low = words_at(words + i % 2 * PANEL * 4) >> i / 2 * 4;
        const vi moved = i < 2 ? high << (4 - 2 * i) : high >> (2 * i - 4);
        spread_scales((low & BYTES(15)) | (moved & BYTES(0x30)), 32, d, out->d + 4 * i);
    }
}

/* IQ4_XS: six bits each and 32 too large, of which four are in a word and two in half a word. */
LC_INLINE void scales_of_iq4(const uint8_t *record, vf d, scales *out)
{
    const vi low = words_at(record + PANEL * 4);
    uint16_t halves __attribute__((vector_size(PANEL * 2)));
    memcpy(&halves, record + PANEL * 2, sizeof halves);
    const vi high = __builtin_convertvector(halves, vi);
    #pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
        const vi moved = i < 2 ? high << (4 - 2 * i) : high >> (2 * i - 4);
        out->d[i] = d * __builtin_convertvector(((low >> 4 * i & 15) | (moved & 0x30)) - 32, vf);
    }
}

/* Of types whose scales are f32, and of those with a scale for each 16 columns. */
LC_INLINE void scales_of_floats(const uint8_t *d, const uint8_t *m, const bool minima, scales *out)
{
    out->d[0] = floats_at(d);
    out->m[0] = minima ? floats_at(m) : out->d[0];
}

LC_INLINE void scales_of_halves(const uint8_t *d, const uint8_t *m, const bool minima, scales *out)
{
    #pragma GCC unroll 2
    for (int g = 0; g < 2; g++) {
        out->d[g] = scales_at(d + g * PANEL * 2);
        out->m[g] = minima ? scales_at(m + g * PANEL * 2) : out->d[g];
    }
}

/* Of all groups of a record. */
LC_INLINE void scales_of(const int32_t type, const uint8_t *record, scales *out)
{
    const uint8_t *words = record + lc_super_scales(type, PANEL);
    const bool minima = lc_block_kind_of(type).minima;
    const vf d = scales_at(record), m = minima ? scales_at(record + PANEL * 2) : d;
    switch (type) {
    case LC_Q2_K: scales_of_four(words, d, -m, out); break;
    case LC_Q3_K: scales_of_q3(words, d, out); break;
    case LC_Q4_K:
    case LC_Q5_K: scales_of_six(words, d, -m, out); break;
    case LC_Q6_K:
        #pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
            spread_signed(words_at(words + i * PANEL * 4), d, out->d + 4 * i);
        break;
    case LC_IQ4_XS: scales_of_iq4(record, d, out); break;
    case LC_Q4_0_F32:
    case LC_Q4_1_F32:
    case LC_Q8_0_F32: scales_of_floats(record, record + lc_record_minima(type, PANEL), minima, out); break;
    case LC_Q4_2:
    case LC_Q4_3: scales_of_halves(record, record + lc_record_minima(type, PANEL), minima, out); break;
    default:
        out->d[0] = d;
        out->m[0] = m;
    }
}

#undef BYTES
