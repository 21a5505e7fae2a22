/* floats.h - dot products of float panels with float activations, written once for every instruction set.
 *
 * Needs what vector.h needs, and vf_load_bf16.  PANEL == LANES: one register is one column of a panel.
 */

LC_INLINE vf column_of(int32_t type, const uint8_t *panel, int64_t column)
{
    if (type == LC_F32)
        return vf_load((const float *)(const void *)panel + column * LANES);
    const uint16_t *halves = (const uint16_t *)(const void *)panel + column * LANES;
    return type == LC_F16 ? vf_load_f16(halves) : vf_load_bf16(halves);
}

/* n_sums neighbouring columns go to different sums, so that few tokens need not wait for each addition. */
LC_INLINE void dot_floats(int32_t type, const int width, const int n_sums, const lc_panel_layout *layout,
                          const uint8_t *panel, const float *x, int32_t n, float *out)
{
    vf sums[LC_TILE_MAX * 2]; /* [n_sums][width] */
    const int64_t cols = layout->cols;
    int64_t column = 0;

    #pragma GCC unroll 24
    for (int i = 0; i < n_sums * width; i++)
        sums[i] = vf_set1(0.0f);
    for (; column + n_sums <= cols; column += n_sums) {
        if (width == 1)
            lc_prefetch_ahead(panel + (size_t)column * layout->record, (size_t)n_sums * layout->record);
        #pragma GCC unroll 8
        for (int s = 0; s < n_sums; s++) {
            const vf w = column_of(type, panel, column + s);
            #pragma GCC unroll 12
            for (int t = 0; t < width; t++)
                sums[s * width + t] = vf_fma(w, vf_set1(x[(column + s) * width + t]), sums[s * width + t]);
        }
    }
    for (; column < cols; column++) {
        const vf w = column_of(type, panel, column);
        #pragma GCC unroll 12
        for (int t = 0; t < width; t++)
            sums[t] = vf_fma(w, vf_set1(x[column * width + t]), sums[t]);
    }
    #pragma GCC unroll 12
    for (int t = 0; t < width; t++) {
        vf sum = sums[t];
        #pragma GCC unroll 8
        for (int s = 1; s < n_sums; s++)
            sum += sums[s * width + t];
        if (t < n)
            vf_store(out + t * LANES, sum);
    }
}

static void pack_floats(const float *x, int64_t cols, int32_t token, int32_t width, void *tile)
{
    float *dst = (float *)tile + token;
    for (int64_t i = 0; i < cols; i++)
        dst[i * width] = x ? x[i] : 0.0f;
}
