/* integers.h - what the sets share that multiply quantised weights by integers.
 *
 * Needs pack_blocks(wide, width, x, cols, record).
 */

static lc_form form(const lc_type_info *info)
{
    return lc_type_is_block(info) ? LC_FORM_INTEGERS : LC_FORM_FLOATS;
}

static void pack_integers(const float *const x[LC_TILE], int64_t cols, int32_t width, void *tile)
{
    if (width == 1)
        pack_blocks(true, 1, x, cols, tile);
    else
        pack_blocks(true, LC_TILE, x, cols, tile);
}

static void pack_bytes(const float *const x[LC_TILE], int64_t cols, int32_t width, void *tile)
{
    (void)width; /* one token alone is exact */
    pack_blocks(false, LC_TILE, x, cols, tile);
}
