/* avx512_dot.h - one token, straight from the panels. Part of avx512.c. */

/* Four neighbouring columns of a token, for every row. */
LC_INLINE __m512i columns_of(const uint8_t *x)
{
    int32_t four;
    memcpy(&four, x, 4);
    return _mm512_set1_epi32(four);
}

/* sum + a group of a block's columns times a record of integers: 32 high bytes, 32 low bytes. */
LC_INLINE __m512 add_group(const lc_block_kind kind, const int group, const quants *q, __m512 d,
                           const uint8_t *record, __m512 sum)
{
    const float *scale = (const float *)(const void *)(record + lc_record_of(LC_FORM_INTEGERS, 1).d);
    const int steps = LC_STEPS / kind.groups, first = group * steps;
    __m512i high = _mm512_setzero_si512(), low = _mm512_setzero_si512();

    #pragma GCC unroll 8
    for (int k = first; k < first + steps; k++) {
        high = _mm512_dpbusd_epi32(high, q->step[k], columns_of(record + k * 4));
        low = _mm512_dpbusd_epi32(low, q->step[k], columns_of(record + LC_BLOCK + k * 4));
    }
    const __m512 dot = _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_slli_epi32(high, 7), low));
    return _mm512_fmadd_ps(dot, _mm512_mul_ps(d, _mm512_set1_ps(*scale)), sum);
}

/* sum + unit times the activations' sum, by groups: the minima, or what weights are too large by, in units of zero.
 * Apart from the products, so that neither waits for the other, and without arithmetic on single numbers. */
LC_INLINE __m512 add_offset(const lc_block_kind kind, const __m512 *unit, const uint8_t *record, __m512 sum)
{
    const float *total = (const float *)(const void *)(record + lc_record_of(LC_FORM_INTEGERS, 1).scaled_sum);
    if (kind.groups == 2) /* a * first + b * (total - first) */
        sum = _mm512_fmadd_ps(_mm512_sub_ps(unit[0], unit[1]), _mm512_set1_ps(total[1]), sum);
    return _mm512_fmadd_ps(unit[kind.groups - 1], _mm512_set1_ps(total[0]), sum);
}

LC_INLINE void dot_blocks(const int32_t type, const lc_reading reading, const lc_panel_layout *layout,
                          const uint8_t *panel, const uint8_t *x, float *out)
{
    const lc_block_kind kind = lc_block_kind_of(type);
    const size_t part = lc_record_part(kind, PANEL);
    __m512 sum = _mm512_setzero_ps(), offset = _mm512_setzero_ps();

    for (int64_t record = 0; record < layout->blocks; record++, panel += layout->record) {
        scales s;
        scales_of(type, panel, &s);
        /* One loop: unrolled, Q6_K reads 37 GB/s instead of 51, since processors prefetch by the address of a load. */
        #pragma GCC unroll 1
        for (int i = 0; i < kind.columns / LC_BLOCK; i++, x += lc_record_of(LC_FORM_INTEGERS, 1).bytes) {
            const __m512 *d = s.d + i * kind.groups, *m = s.m + i * kind.groups;
            quants q;
            quants_of(type, panel, i, &q);
            lc_ahead_of(reading, layout, panel + (size_t)i * part, part);
            #pragma GCC unroll 2
            for (int g = 0; g < kind.groups; g++)
                sum = add_group(kind, g, &q, d[g], x, sum);
            offset = add_offset(kind, kind.minima ? m : d, x, offset);
        }
    }
    const float factor = kind.minima ? 1.0f : (float)-kind.zero;
    _mm512_storeu_ps(out, _mm512_fmadd_ps(_mm512_set1_ps(factor), offset, sum));
}
