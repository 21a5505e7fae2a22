/* kinds.h - the micro-kernel for every kind of blocks, where all differences between types but these are unpacked.
 *
 * Needs multiply_blocks(kind, wide, weights, n, tiles, tile_bytes, n_tiles, sums).
 */

/* One for each kind: name, groups, minima, whether activations are wide. */
#define KINDS(X)                                                                                                     \
    X(multiply_wide, 1, false, true)                                                                                 \
    X(multiply_wide_minima, 1, true, true)                                                                           \
    X(multiply_wide_halves, 2, false, true)                                                                          \
    X(multiply_wide_halves_minima, 2, true, true)                                                                    \
    X(multiply_bytes, 1, false, false)                                                                               \
    X(multiply_bytes_minima, 1, true, false)                                                                         \
    X(multiply_bytes_halves, 2, false, false)                                                                        \
    X(multiply_bytes_halves_minima, 2, true, false)
#define DEFINE_MULTIPLY(name, groups, minima, wide)                                                                  \
    static void name(const void *weights, int64_t n, const uint8_t *tiles, size_t tile_bytes, int32_t n_tiles,       \
                     float *sums)                                                                                    \
    {                                                                                                                \
        const lc_block_kind kind = {0, LC_BLOCK, groups, minima, LC_START_ZERO};                                     \
        multiply_blocks(kind, wide, weights, n, tiles, tile_bytes, n_tiles, sums);                                   \
    }
#define CASE_MULTIPLY(name, groups, minima, wide) case (groups) * 4 + (minima) * 2 + (wide): return name;

KINDS(DEFINE_MULTIPLY)

static lc_gemm_kernel *multiply_of(const lc_block_kind kind, const bool wide)
{
    switch (kind.groups * 4 + kind.minima * 2 + wide) {
        KINDS(CASE_MULTIPLY)
    default: return NULL;
    }
}

#undef KINDS
#undef DEFINE_MULTIPLY
#undef CASE_MULTIPLY
