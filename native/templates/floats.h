/* floats.h - products of floats, written once for every instruction set.
 *
 * Needs what vector.h needs, vf_load_bf16, and FLOAT_SUMS, the registers that sums of one token may take, FLOAT_TILES,
 * the tiles that one step of several tokens takes: LC_PAIR * LC_TILE registers of sums each.
 * PANEL == LANES: one register is one column of a panel.
 */

LC_INLINE vf column_of(int32_t type, const uint8_t *panel, int64_t column)
{
    if (type == LC_F32)
        return vf_load((const float *)(const void *)panel + column * LANES);
    const uint16_t *halves = (const uint16_t *)(const void *)panel + column * LANES;
    return type == LC_F16 ? vf_load_f16(halves) : vf_load_bf16(halves);
}

/* Neighbouring columns go to different sums, so that no addition waits for the one before. */
LC_INLINE void dot_floats(const int32_t type, const lc_reading reading, const lc_panel_layout *layout,
                          const uint8_t *panel, const float *x, float *out)
{
    vf sums[FLOAT_SUMS];
    const int64_t cols = layout->cols;
    int64_t column = 0;

    #pragma GCC unroll 8
    for (int i = 0; i < FLOAT_SUMS; i++)
        sums[i] = vf_set1(0.0f);
    for (; column + FLOAT_SUMS <= cols; column += FLOAT_SUMS) {
        lc_ahead_of(reading, layout, panel + (size_t)column * layout->record, FLOAT_SUMS * layout->record);
        #pragma GCC unroll 8
        for (int i = 0; i < FLOAT_SUMS; i++)
            sums[i] = vf_fma(column_of(type, panel, column + i), vf_set1(x[column + i]), sums[i]);
    }
    for (; column < cols; column++)
        sums[0] = vf_fma(column_of(type, panel, column), vf_set1(x[column]), sums[0]);
    #pragma GCC unroll 8
    for (int i = 1; i < FLOAT_SUMS; i++)
        sums[0] += sums[i];
    vf_store(out, sums[0]);
}

/* ---- several tokens: unpacked weights are f32 [column][pair][row] ---- */

LC_INLINE void unpack_floats(const int32_t type, const lc_panel_layout *layout, const uint8_t *const panels[LC_PAIR],
                             int64_t column, int64_t n, float *weights)
{
    for (int p = 0; p < LC_PAIR; p++)
        for (int64_t i = 0; i < n; i++) {
            lc_ahead_of(LC_AGAIN, layout, panels[p] + (size_t)(column + i) * layout->record, layout->record);
            vf_store(weights + (i * LC_PAIR + p) * LANES, column_of(type, panels[p], column + i));
        }
}

/* Some tiles at once: while one register of weights is at hand, it meets as many tokens as there are registers for. */
LC_INLINE void multiply_floats_tiles(const int tiles, const float *weights, int64_t n, const uint8_t *x,
                                     size_t tile_bytes, float *sums)
{
    vf sum[FLOAT_TILES * LC_PAIR * LC_TILE]; /* as in memory: [tile][pair][token] */

    #pragma GCC unroll 32
    for (int i = 0; i < tiles * LC_PAIR * LC_TILE; i++)
        sum[i] = vf_load(sums + i * LANES);
    for (int64_t column = 0; column < n; column++, weights += LC_PAIR * LANES, x += LC_TILE * sizeof(float)) {
        vf w[LC_PAIR];
        #pragma GCC unroll 2
        for (int p = 0; p < LC_PAIR; p++)
            w[p] = vf_load(weights + p * LANES);
        #pragma GCC unroll 12
        for (int t = 0; t < tiles * LC_TILE; t++) {
            const float *at = (const float *)(const void *)(x + (size_t)(t / LC_TILE) * tile_bytes) + t % LC_TILE;
            const vf value = vf_set1(*at);
            #pragma GCC unroll 2
            for (int p = 0; p < LC_PAIR; p++) {
                const int i = (t / LC_TILE * LC_PAIR + p) * LC_TILE + t % LC_TILE;
                sum[i] = vf_fma(w[p], value, sum[i]);
            }
        }
    }
    #pragma GCC unroll 32
    for (int i = 0; i < tiles * LC_PAIR * LC_TILE; i++)
        vf_store(sums + i * LANES, sum[i]);
}

static void multiply_floats(const void *weights, int64_t n, const uint8_t *tiles, size_t tile_bytes, int32_t n_tiles,
                            float *sums)
{
    const size_t step = LC_PAIR * LC_TILE * LANES, many = FLOAT_TILES;
    for (; n_tiles >= FLOAT_TILES; n_tiles -= FLOAT_TILES, tiles += many * tile_bytes, sums += many * step)
        multiply_floats_tiles(FLOAT_TILES, weights, n, tiles, tile_bytes, sums);
    for (; n_tiles > 0; n_tiles--, tiles += tile_bytes, sums += step)
        multiply_floats_tiles(1, weights, n, tiles, tile_bytes, sums);
}

#define FLOAT_COLUMNS (LC_SLICE_BYTES / (LC_PAIR * LANES * (int)sizeof(float)))

static void pack_floats(const float *const x[LC_TILE], int64_t cols, int32_t width, void *tile)
{
    float *dst = tile;
    for (int32_t t = 0; t < width; t++)
        for (int64_t i = 0; i < cols; i++)
            dst[i * width + t] = x[t] ? x[t][i] : 0.0f;
}
