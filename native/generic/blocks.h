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

LC_INLINE void quants_of_five(const uint8_t *high, const uint8_t *q, quants *out)
{
    quants_of_nibbles(q, out);
    for (int k = 0; k < LC_STEPS; k++)
        for (int i = 0; i < PANEL * 4; i++)
            out->step[k][i] |= (uint8_t)((high[i] >> k & 1) << 4);
}

LC_INLINE void quants_of_bytes(const uint8_t *q, quants *out)
{
    for (int k = 0; k < LC_STEPS; k++, q += PANEL * 4)
        for (int i = 0; i < PANEL * 4; i++)
            out->step[k][i] = q[i] ^ 0x80;
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

LC_INLINE vf scales_at(const uint8_t *p) { return vf_load_f16((const uint16_t *)(const void *)p); }

LC_INLINE void scales_of(const int32_t type, const uint8_t *record, scales *out)
{
    out->d[0] = scales_at(record);
    if (lc_block_kind_of(type).minima)
        out->m[0] = scales_at(record + PANEL * 2);
}
