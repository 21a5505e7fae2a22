/* avx2_dot.h - one token, straight from the panels, and what several tokens share with it. Part of avx2.c.
 *
 * Activations of integers are words: [token][pair of columns], of each step the even columns and then the odd ones.
 */

/* The even (0, 2) or odd (1, 3) columns of a step as 16-bit integers: two for each row. */
LC_INLINE __m256i words_of(__m256i bytes, const int odd)
{
    return odd ? _mm256_srli_epi16(bytes, 8) : _mm256_and_si256(bytes, _mm256_set1_epi16(255));
}

LC_INLINE __m256i four_bytes(const uint8_t *x)
{
    int32_t four;
    memcpy(&four, x, 4);
    return _mm256_set1_epi32(four);
}

/* Sums of a record by group of columns: of all, or of the first or the second 16. */
LC_INLINE __m256 group_sum(const uint8_t *record, lc_record at, const int groups, const int group, const int width,
                           const int token)
{
    const float *sums = (const float *)(const void *)(record + at.scaled_sum) + token;
    return _mm256_set1_ps(groups == 1 ? sums[0] : group ? sums[0] - sums[width] : sums[width]);
}

LC_INLINE __m256 scale_of(const uint8_t *record, lc_record at, const int token)
{
    return _mm256_set1_ps(((const float *)(const void *)(record + at.d))[token]);
}

/* sum + a block's columns times a record.  What the weights are too large by, for being unsigned, is taken off with the
 * sum of the activations. */
LC_INLINE __m256 add_block(const lc_block_kind kind, const quants *q, const __m256 *d, const __m256 *m,
                           const uint8_t *record, __m256 sum)
{
    const lc_record at = lc_record_of(LC_FORM_INTEGERS, 1);
    const int pairs = 2 * LC_STEPS / kind.groups;
    #pragma GCC unroll 2
    for (int g = 0; g < kind.groups; g++) {
        __m256i dot = _mm256_setzero_si256();
        #pragma GCC unroll 16
        for (int i = g * pairs; i < (g + 1) * pairs; i++)
            dot = _mm256_add_epi32(dot, _mm256_madd_epi16(words_of(q->step[i / 2], i % 2), four_bytes(record + i * 4)));
        const __m256 offset = kind.minima ? m[g] : _mm256_mul_ps(d[g], _mm256_set1_ps((float)-kind.zero));
        sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), d[g] * scale_of(record, at, 0), sum);
        sum = _mm256_fmadd_ps(offset, group_sum(record, at, kind.groups, g, 1, 0), sum);
    }
    return sum;
}

LC_INLINE void dot_blocks(const int32_t type, const lc_reading reading, const lc_panel_layout *layout,
                          const uint8_t *panel, const uint8_t *x, float *out)
{
    const lc_block_kind kind = lc_block_kind_of(type);
    const size_t part = lc_record_part(kind, PANEL);
    __m256 sum = _mm256_setzero_ps();

    for (int64_t record = 0; record < layout->blocks; record++, panel += layout->record) {
        scales s;
        scales_of(type, panel, &s);
        /* One loop: unrolled, Q6_K reads 37 GB/s instead of 51, since processors prefetch by the address of a load. */
        #pragma GCC unroll 1
        for (int i = 0; i < kind.columns / LC_BLOCK; i++, x += lc_record_of(LC_FORM_INTEGERS, 1).bytes) {
            quants q;
            quants_of(type, panel, i, &q);
            lc_ahead_of(reading, layout, panel + (size_t)i * part, part);
            sum = add_block(kind, &q, s.d + i * kind.groups, s.m + i * kind.groups, x, sum);
        }
    }
    _mm256_storeu_ps(out, sum);
}
