/* activations.h - rows of floats packed in tiles for the dot kernels, in one form or both. */
#ifndef LC_ACTIVATIONS_H
#define LC_ACTIVATIONS_H

#include "kernels.h"

typedef struct lc_activations {
    const lc_kernels *kernels;
    int64_t cols;
    int32_t n;                      /* tokens */
    unsigned forms;                 /* bits 1 << lc_form: what the matrices at hand need */
    uint8_t *tiles[LC_N_FORMS];     /* room for n tokens of the widest matrix */
} lc_activations;

/* Bytes of a form's tiles of n tokens; 0 if that overflows. */
size_t lc_activations_bytes(const lc_kernels *kernels, lc_form form, int64_t cols, int64_t n);
/* Memory for n_max tokens of up to cols_max columns in both forms (in one block, at tiles[0]), or false. */
bool lc_activations_alloc(lc_activations *a, const lc_kernels *kernels, int64_t cols_max, int64_t n_max);
void lc_activations_free(lc_activations *a);

int32_t lc_activations_n_tiles(const lc_activations *a);
/* Tokens in a tile: all of it but for the last. */
int32_t lc_activations_in_tile(const lc_activations *a, int32_t tile);
const void *lc_activations_tile(const lc_activations *a, lc_form form, int32_t tile);
/* Packs x[cols] as token number `token`, in every form wanted. */
void lc_activations_pack(lc_activations *a, int32_t token, const float *x);
/* Makes the unused places of a tile zero; needed after the tokens of a tile that is not full. */
void lc_activations_pad(lc_activations *a, int32_t tile);

#endif
