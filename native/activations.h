/* activations.h - rows of floats packed in tiles for the kernels, in every form that the matrices at hand need. */
#ifndef LC_ACTIVATIONS_H
#define LC_ACTIVATIONS_H

#include "kernels.h"

typedef struct lc_activations {
    const lc_kernels *kernels;
    int64_t cols;
    int32_t n;                      /* tokens */
    lc_precision precision;         /* of products of several tokens */
    const lc_type_info *rounded_for; /* as llama.cpp rounds them for weights of this type; NULL: not at all */
    unsigned forms;                 /* bits 1 << lc_form */
    uint8_t *tiles[LC_N_FORMS];     /* room for n tokens of the widest matrix */
} lc_activations;

/* Bytes of a form's tiles of n tokens; 0 if that overflows. */
size_t lc_activations_bytes(lc_form form, int64_t cols, int64_t n);
/* Memory for n_max tokens of up to cols_max columns in every form (in one block, at tiles[0]), or false. */
bool lc_activations_alloc(lc_activations *a, const lc_kernels *kernels, int64_t cols_max, int64_t n_max);
void lc_activations_free(lc_activations *a);

/* Tokens in a full tile. */
LC_INLINE int32_t lc_activations_width(const lc_activations *a) { return a->n == 1 ? 1 : LC_TILE; }
LC_INLINE int32_t lc_activations_n_tiles(const lc_activations *a)
{
    return (int32_t)lc_ceil_div(a->n, lc_activations_width(a));
}
/* Tokens in a tile: all of it but for the last. */
LC_INLINE int32_t lc_activations_in_tile(const lc_activations *a, int32_t tile)
{
    const int32_t width = lc_activations_width(a);
    return (int32_t)lc_min(width, a->n - tile * width);
}
/* From one tile to the next. */
LC_INLINE size_t lc_activations_tile_bytes(const lc_activations *a, lc_form form)
{
    return (size_t)lc_round_up((int64_t)lc_form_bytes(form, lc_activations_width(a), a->cols), LC_CACHE_LINE);
}
LC_INLINE const uint8_t *lc_activations_tile(const lc_activations *a, lc_form form, int32_t tile)
{
    return a->tiles[form] + (size_t)tile * lc_activations_tile_bytes(a, form);
}
/* Packs the columns first..first+n-1 of a tile in every form wanted; first is a multiple of LC_BLOCK, and of LC_SUPER
 * where they are rounded.  rows: floats from that column on, NULL beyond the last token. */
void lc_activations_pack(lc_activations *a, int32_t tile, int64_t first, int64_t n, const float *const rows[LC_TILE]);

#endif
