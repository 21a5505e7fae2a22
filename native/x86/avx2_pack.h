/* avx2_pack.h - activations packed for the kernels. Part of avx2.c. */

/* Types that have minima have at most 5 bits.  Those of 8 bits meet words: sums of pairs of bytes would not fit. */
static lc_gemm gemm_of_blocks(const lc_type_info *info, lc_precision precision)
{
    const lc_block_kind kind = lc_block_kind_of(info->type);
    const int at_once = precision == LC_EXACT || kind.zero == 128 ? 0 : kind.zero == 32 ? 2 : 4;
    return (lc_gemm){at_once ? LC_FORM_BYTES : LC_FORM_INTEGERS, BLOCK_COLUMNS, unpack(info),
                     multiply_of(kind.groups, at_once)};
}

/* Eight columns as 32-bit integers. */
LC_INLINE __m256i quantize(const float *x, __m256 inverse) { return _mm256_cvtps_epi32(_mm256_loadu_ps(x) * inverse); }

/* May wrap round where activations are not finite. */
LC_INLINE int32_t sum_of(__m256i v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_unpackhi_epi64(s, s));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_srli_epi64(s, 32)));
}

LC_INLINE float largest_of(const float *x)
{
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff);
    __m256i most = _mm256_setzero_si256();
    for (int i = 0; i < LC_BLOCK; i += LANES) /* as integers: a NaN is above all numbers, and stays */
        most = _mm256_max_epi32(most, _mm256_and_si256(_mm256_castps_si256(_mm256_loadu_ps(x + i)), magnitude));
    __m128i half = _mm_max_epi32(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
    half = _mm_max_epi32(half, _mm_unpackhi_epi64(half, half));
    const int32_t a = _mm_cvtsi128_si32(half), b = _mm_extract_epi32(half, 1);
    return lc_float_of_bits((uint32_t)(a > b ? a : b));
}

/* Sixteen columns as words, each four in the order 0, 2, 1, 3: vpmaddwd wants the even columns side by side, and the
 * odd ones.  Returns their sum. */
LC_INLINE int32_t pack_words(const float *x, __m256 inverse, uint8_t *dst)
{
    const __m256i low = quantize(x, inverse), high = quantize(x + 8, inverse);
    const __m256i words = _mm256_packs_epi32(_mm256_shuffle_epi32(low, _MM_SHUFFLE(3, 1, 2, 0)),
                                             _mm256_shuffle_epi32(high, _MM_SHUFFLE(3, 1, 2, 0)));
    _mm256_storeu_si256((__m256i *)(void *)dst, _mm256_permute4x64_epi64(words, _MM_SHUFFLE(3, 1, 2, 0)));
    return sum_of(_mm256_add_epi32(low, high));
}

/* Sixteen columns as bytes, [4 steps][LC_TILE][4]. */
LC_INLINE int32_t pack_steps(const float *x, __m256 inverse, uint8_t *dst)
{
    const __m256i low = quantize(x, inverse), high = quantize(x + 8, inverse);
    const __m256i words = _mm256_packs_epi32(low, high); /* steps 0 and 2, 1 and 3 */
    const __m256i bytes = _mm256_packs_epi16(words, words);
    const int32_t steps[4] = {_mm256_extract_epi32(bytes, 0), _mm256_extract_epi32(bytes, 4),
                              _mm256_extract_epi32(bytes, 1), _mm256_extract_epi32(bytes, 5)};
    for (int k = 0; k < 4; k++)
        memcpy(dst + k * LC_TILE * 4, &steps[k], 4);
    return sum_of(_mm256_add_epi32(low, high));
}

LC_INLINE void pack_block(const bool wide, const int32_t width, const float *x, int32_t token, uint8_t *record)
{
    const lc_record at = lc_record_of(wide ? LC_FORM_INTEGERS : LC_FORM_BYTES, width);
    float *d = (float *)(void *)(record + at.d) + token, *scaled_sum = (float *)(void *)(record + at.scaled_sum);
    float sums[2];
    const float most = x ? largest_of(x) : 0.0f, steps = wide ? LC_Q_MAX : LC_BYTE_MAX;
    const bool nothing = most < LC_Q_TINY;
    const __m256 inverse = _mm256_set1_ps(nothing ? 0.0f : steps / most);
    static const float zeros[LC_BLOCK];

    x = nothing ? zeros : x;
    for (int i = 0; i < 2; i++)
        sums[i] = (float)(wide ? pack_words(x + i * 16, inverse, record + token * 2 * LC_BLOCK + i * LC_BLOCK)
                               : pack_steps(x + i * 16, inverse, record + (i * 4 * LC_TILE + token) * 4));
    *d = nothing ? 0.0f : most / steps;
    scaled_sum[token] = *d * (sums[0] + sums[1]);
    scaled_sum[width + token] = *d * sums[0];
}

LC_INLINE void pack_blocks(const bool wide, const int32_t width, const float *const x[LC_TILE], int64_t cols,
                           uint8_t *record)
{
    const size_t bytes = lc_record_of(wide ? LC_FORM_INTEGERS : LC_FORM_BYTES, width).bytes;
    for (int64_t column = 0; column < cols; column += LC_BLOCK, record += bytes)
        for (int32_t t = 0; t < width; t++)
            pack_block(wide, width, x[t] ? x[t] + column : NULL, t, record);
}
