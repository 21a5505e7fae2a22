#include "activations.h"

#include <stdlib.h>

/* A tile's bytes. */
static size_t tile_bytes(const lc_kernels *kernels, lc_form form, int64_t cols)
{
    const size_t bytes = form == LC_FORM_FLOATS ? (size_t)cols * (size_t)kernels->tile * sizeof(float)
                                                : (size_t)(cols / LC_BLOCK) * lc_record_of(kernels->tile).bytes;
    return (size_t)lc_round_up((int64_t)bytes, LC_CACHE_LINE);
}

size_t lc_activations_bytes(const lc_kernels *kernels, lc_form form, int64_t cols, int64_t n)
{
    size_t bytes;
    if (cols > INT32_MAX || !lc_mul(tile_bytes(kernels, form, cols), (size_t)lc_ceil_div(n, kernels->tile), &bytes))
        return 0;
    return bytes;
}

bool lc_activations_alloc(lc_activations *a, const lc_kernels *kernels, int64_t cols_max, int64_t n_max)
{
    const size_t floats = lc_activations_bytes(kernels, LC_FORM_FLOATS, cols_max, n_max);
    const size_t integers = lc_activations_bytes(kernels, LC_FORM_INTEGERS, cols_max, n_max);
    *a = (lc_activations){.kernels = kernels};
    if (!floats || floats > SIZE_MAX - integers)
        return false;
    a->tiles[LC_FORM_FLOATS] = aligned_alloc(LC_CACHE_LINE, floats + integers);
    if (!a->tiles[LC_FORM_FLOATS])
        return false;
    a->tiles[LC_FORM_INTEGERS] = a->tiles[LC_FORM_FLOATS] + floats;
    return true;
}

void lc_activations_free(lc_activations *a)
{
    free(a->tiles[LC_FORM_FLOATS]);
    *a = (lc_activations){0};
}

int32_t lc_activations_n_tiles(const lc_activations *a) { return (int32_t)lc_ceil_div(a->n, a->kernels->tile); }

int32_t lc_activations_in_tile(const lc_activations *a, int32_t tile)
{
    return (int32_t)lc_min(a->kernels->tile, a->n - tile * a->kernels->tile);
}

static uint8_t *tile_at(const lc_activations *a, lc_form form, int32_t tile)
{
    return a->tiles[form] + (size_t)tile * tile_bytes(a->kernels, form, a->cols);
}

const void *lc_activations_tile(const lc_activations *a, lc_form form, int32_t tile) { return tile_at(a, form, tile); }

static void pack(lc_activations *a, int32_t tile, int32_t place, const float *x)
{
    const int32_t width = a->kernels->width[lc_activations_in_tile(a, tile)];
    for (int form = 0; form < LC_N_FORMS; form++)
        if (a->forms >> form & 1)
            a->kernels->pack[form](x, a->cols, place, width, tile_at(a, (lc_form)form, tile));
}

void lc_activations_pack(lc_activations *a, int32_t token, const float *x)
{
    pack(a, token / a->kernels->tile, token % a->kernels->tile, x);
}

void lc_activations_pad(lc_activations *a, int32_t tile)
{
    const int32_t n = lc_activations_in_tile(a, tile);
    for (int32_t place = n; place < a->kernels->width[n]; place++)
        pack(a, tile, place, NULL);
}
