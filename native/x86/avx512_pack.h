/* avx512_pack.h - activations packed for the kernels. Part of avx512.c. */

static lc_gemm gemm_of_blocks(const lc_type_info *info, lc_precision precision)
{
    const bool wide = precision == LC_EXACT;
    return (lc_gemm){wide ? LC_FORM_INTEGERS : LC_FORM_BYTES, BLOCK_COLUMNS, unpack(info),
                     multiply_of(lc_block_kind_of(info->type), wide)};
}

/* One token's block: bytes of each column (the high and the low one, or one alone), and what goes beside them. */
typedef struct packed {
    __m256i high, low;
    float d;
    int32_t sum, first_sum; /* of the 32 integers, of the first 16 */
} packed;

/* The largest magnitude of a block.  Compared as integers: a NaN is above all numbers, and stays. */
LC_INLINE float largest_of(__m512 a, __m512 b)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
    const __m512i most = _mm512_max_epi32(_mm512_and_si512(_mm512_castps_si512(a), magnitude),
                                          _mm512_and_si512(_mm512_castps_si512(b), magnitude));
    return lc_float_of_bits((uint32_t)_mm512_reduce_max_epi32(most));
}

LC_INLINE __m256i bytes_of(__m512i first, __m512i second)
{
    return _mm256_set_m128i(_mm512_cvtepi32_epi8(second), _mm512_cvtepi32_epi8(first));
}

LC_INLINE int32_t sum_of(__m128i v)
{
    v = _mm_add_epi32(v, _mm_shuffle_epi32(v, _MM_SHUFFLE(1, 0, 3, 2)));
    return _mm_cvtsi128_si32(_mm_add_epi32(v, _mm_shuffle_epi32(v, _MM_SHUFFLE(2, 3, 0, 1))));
}

LC_INLINE packed pack_block(const bool wide, const float *x)
{
    packed p = {_mm256_setzero_si256(), _mm256_setzero_si256(), 0.0f, 0, 0};
    if (!x)
        return p;
    const __m512 first = _mm512_loadu_ps(x), second = _mm512_loadu_ps(x + 16);
    const float most = largest_of(first, second), steps = wide ? LC_Q_MAX : LC_BYTE_MAX;
    if (most < LC_Q_TINY)
        return p;
    const __m512 inverse = _mm512_set1_ps(steps / most);
    const __m512i a = _mm512_cvtps_epi32(_mm512_mul_ps(first, inverse));
    const __m512i b = _mm512_cvtps_epi32(_mm512_mul_ps(second, inverse));
    p.d = most / steps;
    p.low = bytes_of(a, b);
    __m256i sums = _mm256_setzero_si256();
    if (wide) {
        const __m512i half = _mm512_set1_epi32(64);
        const __m512i a_high = _mm512_srai_epi32(_mm512_add_epi32(a, half), 7);
        const __m512i b_high = _mm512_srai_epi32(_mm512_add_epi32(b, half), 7);
        p.high = bytes_of(a_high, b_high);
        p.low = bytes_of(_mm512_sub_epi32(a, _mm512_slli_epi32(a_high, 7)),
                         _mm512_sub_epi32(b, _mm512_slli_epi32(b_high, 7)));
        sums = _mm256_slli_epi32(_mm256_dpbusd_epi32(sums, _mm256_set1_epi8(1), p.high), 7);
    }
    sums = _mm256_dpbusd_epi32(sums, _mm256_set1_epi8(1), p.low);
    p.first_sum = sum_of(_mm256_castsi256_si128(sums));
    p.sum = p.first_sum + sum_of(_mm256_extracti128_si256(sums, 1));
    return p;
}

/* Stores [step][token][4 columns]. */
LC_INLINE void store_steps(uint8_t *dst, __m256i a, __m256i b, __m256i c, __m256i d)
{
    const __m256i ab_low = _mm256_unpacklo_epi32(a, b), ab_high = _mm256_unpackhi_epi32(a, b);
    const __m256i cd_low = _mm256_unpacklo_epi32(c, d), cd_high = _mm256_unpackhi_epi32(c, d);
    const __m256i steps[4] = {
        _mm256_unpacklo_epi64(ab_low, cd_low), _mm256_unpackhi_epi64(ab_low, cd_low), /* 0 and 4, 1 and 5 */
        _mm256_unpacklo_epi64(ab_high, cd_high), _mm256_unpackhi_epi64(ab_high, cd_high),
    };
    for (int k = 0; k < 4; k++) {
        _mm_storeu_si128((__m128i *)(void *)(dst + k * 16), _mm256_castsi256_si128(steps[k]));
        _mm_storeu_si128((__m128i *)(void *)(dst + (k + 4) * 16), _mm256_extracti128_si256(steps[k], 1));
    }
}

LC_INLINE void pack_blocks(const bool wide, const int32_t width, const float *const x[LC_TILE], int64_t cols,
                           uint8_t *record)
{
    const lc_record at = lc_record_of(wide ? LC_FORM_INTEGERS : LC_FORM_BYTES, width);

    for (int64_t column = 0; column < cols; column += LC_BLOCK, record += at.bytes) {
        float *d = (float *)(void *)(record + at.d), *scaled_sum = (float *)(void *)(record + at.scaled_sum);
        int32_t *start = (int32_t *)(void *)(record + at.start);
        packed p[LC_TILE];
        #pragma GCC unroll 4
        for (int t = 0; t < width; t++) {
            p[t] = pack_block(wide, x[t] ? x[t] + column : NULL);
            d[t] = p[t].d;
            start[t] = -LC_START_ZERO * p[t].sum;
            start[width + t] = -LC_START_ZERO * p[t].first_sum;
            scaled_sum[t] = p[t].d * (float)p[t].sum;
            scaled_sum[width + t] = p[t].d * (float)p[t].first_sum;
        }
        uint8_t *low = record + (wide ? LC_BLOCK * width : 0);
        if (width == 1) {
            _mm256_storeu_si256((__m256i *)(void *)record, p[0].high);
            _mm256_storeu_si256((__m256i *)(void *)low, p[0].low);
            continue;
        }
        if (wide)
            store_steps(record, p[0].high, p[1].high, p[2].high, p[3].high);
        store_steps(low, p[0].low, p[1].low, p[2].low, p[3].low);
    }
}
