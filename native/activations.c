#include "activations.h"

#include <stdlib.h>

#include "rounding.h"

size_t lc_activations_bytes(lc_form form, int64_t cols, int64_t n)
{
    const int32_t width = n == 1 ? 1 : LC_TILE;
    const size_t tile = (size_t)lc_round_up((int64_t)lc_form_bytes(form, width, cols), LC_CACHE_LINE);
    size_t bytes;
    if (cols > INT32_MAX || !lc_mul(tile, (size_t)lc_ceil_div(n, width), &bytes))
        return 0;
    return bytes;
}

bool lc_activations_alloc(lc_activations *a, const lc_kernels *kernels, int64_t cols_max, int64_t n_max)
{
    const int64_t cols = lc_round_up(cols_max, LC_BLOCK);
    size_t at[LC_N_FORMS], total = 0;
    *a = (lc_activations){.kernels = kernels};
    for (int form = 0; form < LC_N_FORMS; form++) {
        const size_t bytes = lc_activations_bytes((lc_form)form, cols, n_max);
        at[form] = total;
        if (!bytes || __builtin_add_overflow(total, bytes, &total))
            return false;
    }
    uint8_t *memory = aligned_alloc(LC_CACHE_LINE, total);
    for (int form = 0; memory && form < LC_N_FORMS; form++)
        a->tiles[form] = memory + at[form];
    return memory;
}

void lc_activations_free(lc_activations *a)
{
    free(a->tiles[0]);
    *a = (lc_activations){0};
}

static void pack(const lc_activations *a, int32_t tile, int64_t first, int64_t n, const float *const rows[LC_TILE])
{
    const int32_t width = lc_activations_width(a);
    for (int i = 0; i < LC_N_FORMS; i++) {
        const lc_form form = (lc_form)i;
        if (a->forms >> i & 1)
            a->kernels->pack[i](rows, n, width,
                                (uint8_t *)(uintptr_t)lc_activations_tile(a, form, tile) +
                                    lc_form_bytes(form, width, first));
    }
}

#define ROUNDED_COLUMNS 512 /* at a time */

/* Copies are rounded: what rows hold is still wanted, and by other products with other blocks too. */
static void pack_rounded(const lc_activations *a, int32_t tile, int64_t first, int64_t n,
                         const float *const rows[LC_TILE])
{
    _Alignas(LC_CACHE_LINE) float rounded[LC_TILE][ROUNDED_COLUMNS];
    for (int64_t at = 0; at < n; at += ROUNDED_COLUMNS) {
        const int64_t part = lc_min(ROUNDED_COLUMNS, n - at);
        const float *parts[LC_TILE] = {NULL};
        for (int t = 0; t < LC_TILE && rows[t]; t++) {
            memcpy(rounded[t], rows[t] + at, (size_t)part * sizeof(float));
            lc_round_like_llama_cpp(a->rounded_for, rounded[t], part);
            parts[t] = rounded[t];
        }
        pack(a, tile, first + at, part, parts);
    }
}

void lc_activations_pack(lc_activations *a, int32_t tile, int64_t first, int64_t n, const float *const rows[LC_TILE])
{
    if (a->rounded_for)
        pack_rounded(a, tile, first, n, rows);
    else
        pack(a, tile, first, n, rows);
}
