#include "model.h"

#include <math.h>
#include <stdlib.h>

static bool in_range(int64_t value, int64_t least, int64_t most) { return value >= least && value <= most; }

static bool hparams_valid(const lc_hparams *h)
{
    return in_range(h->n_vocab, 1, 1 << 24) && in_range(h->n_embd, 1, 1 << 20) && in_range(h->n_ff, 1, 1 << 22) &&
           in_range(h->n_layers, 1, 1024) && in_range(h->n_heads, 1, 4096) && in_range(h->n_kv_heads, 1, h->n_heads) &&
           h->n_heads % h->n_kv_heads == 0 && in_range(h->head_dim, 2, 1024) && h->head_dim % 2 == 0 &&
           isfinite(h->norm_eps) && h->norm_eps >= 0 && isfinite(h->rope_base) && h->rope_base > 0 &&
           isfinite(h->rope_scale) && h->rope_scale > 0;
}

lc_status lc_model_create(const lc_hparams *hparams, lc_model **out)
{
    if (!hparams || !out || !hparams_valid(hparams))
        return LC_ERR_ARGUMENT;
    lc_model *model = calloc(1, sizeof *model);
    lc_layer *layers = calloc((size_t)hparams->n_layers, sizeof *layers);
    if (!model || !layers) {
        free(model);
        free(layers);
        return LC_ERR_MEMORY;
    }
    model->hparams = *hparams;
    model->kernels = lc_kernels_selected();
    model->layers = layers;
    model->n_holders = 1;
    *out = model;
    return LC_OK;
}

/* The matrices that an answer is multiplied with, in order (not an embedding that is only looked up); NULL after the
 * last one. */
static lc_matrix *matrix_in_order(lc_model *model, int32_t i)
{
    enum { IN_LAYER = 7 };
    const int32_t layer = i / IN_LAYER;
    if (layer == model->hparams.n_layers)
        return i % IN_LAYER == 0 ? (model->output.panels ? &model->output : &model->token_embd) : NULL;
    lc_layer *l = &model->layers[layer];
    lc_matrix *matrices[IN_LAYER] = {&l->k, &l->v, &l->q, &l->attn_output, &l->gate, &l->up, &l->down};
    return matrices[i % IN_LAYER];
}

void lc_model_free(lc_model *model)
{
    if (!model || atomic_fetch_sub(&model->n_holders, 1) > 1)
        return;
    lc_matrix *m;
    for (int32_t i = 0; (m = matrix_in_order(model, i)); i++)
        lc_matrix_clear(m);
    lc_matrix_clear(&model->token_embd);
    lc_matrix_clear(&model->output);
    lc_arena_free(&model->arena);
    free(model->layers);
    free(model);
}

size_t lc_model_kept_bytes(const lc_model *model) { return model ? model->kept : 0; }

size_t lc_model_bytes(const lc_model *model) { return model ? model->arena.used : 0; }

/* ---- slots ---- */

static bool per_layer(int32_t slot) { return slot >= LC_ATTN_NORM; }
static bool optional(int32_t slot) { return slot == LC_OUTPUT || slot == LC_ROPE_FREQS; }

static bool place_valid(const lc_model *model, int32_t slot, int32_t layer)
{
    return in_range(slot, 0, LC_N_SLOTS - 1) && in_range(layer, 0, per_layer(slot) ? model->hparams.n_layers - 1 : 0);
}

static lc_vector *vector_at(lc_model *model, int32_t slot, int32_t layer)
{
    switch (slot) {
    case LC_OUTPUT_NORM: return &model->output_norm;
    case LC_ROPE_FREQS: return &model->rope_freqs;
    case LC_ATTN_NORM: return &model->layers[layer].attn_norm;
    case LC_FFN_NORM: return &model->layers[layer].ffn_norm;
    default: return NULL;
    }
}

static lc_matrix *matrix_at(lc_model *model, int32_t slot, int32_t layer)
{
    lc_layer *l = &model->layers[layer];
    switch (slot) {
    case LC_TOKEN_EMBD: return &model->token_embd;
    case LC_OUTPUT: return &model->output;
    case LC_ATTN_Q: return &l->q;
    case LC_ATTN_K: return &l->k;
    case LC_ATTN_V: return &l->v;
    case LC_ATTN_OUTPUT: return &l->attn_output;
    case LC_FFN_GATE: return &l->gate;
    case LC_FFN_UP: return &l->up;
    default: return &l->down;
    }
}

lc_status lc_model_shape(const lc_model *model, int32_t slot, int64_t *rows, int64_t *cols)
{
    if (!model || !rows || !cols || !in_range(slot, 0, LC_N_SLOTS - 1))
        return LC_ERR_ARGUMENT;
    const lc_hparams *h = &model->hparams;
    const int64_t q_width = (int64_t)h->n_heads * h->head_dim, kv_width = (int64_t)h->n_kv_heads * h->head_dim;
    const int64_t shapes[LC_N_SLOTS][2] = {
        [LC_TOKEN_EMBD] = {h->n_vocab, h->n_embd}, [LC_OUTPUT_NORM] = {1, h->n_embd},
        [LC_OUTPUT] = {h->n_vocab, h->n_embd},     [LC_ROPE_FREQS] = {1, h->head_dim / 2},
        [LC_ATTN_NORM] = {1, h->n_embd},           [LC_ATTN_Q] = {q_width, h->n_embd},
        [LC_ATTN_K] = {kv_width, h->n_embd},       [LC_ATTN_V] = {kv_width, h->n_embd},
        [LC_ATTN_OUTPUT] = {h->n_embd, q_width},   [LC_FFN_NORM] = {1, h->n_embd},
        [LC_FFN_GATE] = {h->n_ff, h->n_embd},      [LC_FFN_UP] = {h->n_ff, h->n_embd},
        [LC_FFN_DOWN] = {h->n_embd, h->n_ff},
    };
    *rows = shapes[slot][0];
    *cols = shapes[slot][1];
    return LC_OK;
}

static lc_status add_vector(lc_model *model, lc_vector *v, int32_t type, int64_t n)
{
    if (v->values)
        return LC_ERR_STATE;
    if (type != LC_F32)
        return LC_ERR_TYPE;
    v->values = lc_arena_alloc(&model->arena, (size_t)lc_round_up(n, LC_PAD) * sizeof(float));
    v->n = n;
    return v->values ? LC_OK : LC_ERR_MEMORY;
}

/* The gate and its partner get their memory together, as soon as both are there. */
static lc_status place_matrix(lc_model *model, int32_t slot, int32_t layer)
{
    lc_layer *l = &model->layers[layer];
    if (slot != LC_FFN_GATE && slot != LC_FFN_UP)
        return lc_matrix_place(matrix_at(model, slot, layer), &model->arena);
    return l->gate.taken && l->up.taken ? lc_matrix_place_pair(&l->gate, &l->up, &model->arena) : LC_OK;
}

static lc_status add_matrix(lc_model *model, int32_t slot, int32_t layer, int32_t type)
{
    lc_matrix *m = matrix_at(model, slot, layer);
    int64_t rows, cols;
    if (m->taken)
        return LC_ERR_STATE;
    lc_model_shape(model, slot, &rows, &cols);
    lc_status status = lc_matrix_init(m, model->kernels, type, rows, cols);
    if (!status)
        status = place_matrix(model, slot, layer);
    if (status)
        lc_matrix_clear(m);
    return status;
}

lc_status lc_model_add(lc_model *model, int32_t slot, int32_t layer, int32_t type, int64_t rows, int64_t cols)
{
    int64_t expected_rows, expected_cols;

    if (!model || !place_valid(model, slot, layer))
        return LC_ERR_ARGUMENT;
    if (model->finished)
        return LC_ERR_STATE;
    lc_model_shape(model, slot, &expected_rows, &expected_cols);
    if (rows != expected_rows || cols != expected_cols)
        return LC_ERR_SHAPE;
    lc_vector *v = vector_at(model, slot, layer);
    if (v)
        return add_vector(model, v, type, cols);
    return add_matrix(model, slot, layer, type);
}

/* Neither the values nor, where the pass divides by them, their inverses may be infinite. */
static bool usable(const float *values, int64_t n, bool divisors)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(values[i]) || (divisors && !isfinite(1.0f / values[i])))
            return false;
    return true;
}

static lc_status write_vector(lc_vector *v, bool divisors, int64_t first_row, int64_t n_rows, const uint8_t *bytes,
                              size_t n_bytes)
{
    if (!v->values)
        return LC_ERR_STATE;
    if (first_row != 0 || n_rows != 1 || n_bytes != (size_t)v->n * sizeof(float))
        return LC_ERR_SHAPE;
    if (atomic_exchange(&v->taken, true))
        return LC_ERR_STATE;
    lc_type_expand(lc_type_find(LC_F32), bytes, (size_t)v->n, v->values);
    if (usable(v->values, v->n, divisors))
        return LC_OK;
    atomic_store(&v->taken, false);
    return LC_ERR_NONFINITE;
}

lc_status lc_model_write(lc_model *model, int32_t slot, int32_t layer, int64_t first_row, int64_t n_rows,
                         const void *bytes, size_t n_bytes)
{
    if (!model || !bytes || !place_valid(model, slot, layer) || first_row < 0 || n_rows < 1)
        return LC_ERR_ARGUMENT;
    if (model->finished)
        return LC_ERR_STATE;
    lc_vector *v = vector_at(model, slot, layer);
    if (v)
        return write_vector(v, slot == LC_ROPE_FREQS, first_row, n_rows, bytes, n_bytes);
    lc_matrix *m = matrix_at(model, slot, layer);
    return m->panels ? lc_matrix_write(m, first_row, n_rows, bytes, n_bytes) : LC_ERR_STATE;
}

/* ---- finishing ---- */

static bool present(lc_model *model, int32_t slot, int32_t layer)
{
    const lc_vector *v = vector_at(model, slot, layer);
    return v ? v->values != NULL : matrix_at(model, slot, layer)->taken != NULL;
}

static bool whole(lc_model *model, int32_t slot, int32_t layer)
{
    const lc_vector *v = vector_at(model, slot, layer);
    if (v)
        return v->taken;
    const lc_matrix *m = matrix_at(model, slot, layer);
    return m->n_written == m->rows;
}

/* The first place of which that is not so; false if there is none. */
static bool find_place(lc_model *model, bool (*is_so)(lc_model *, int32_t, int32_t), int32_t *slot, int32_t *layer)
{
    for (int32_t s = 0; s < LC_N_SLOTS; s++)
        for (int32_t l = 0; l < (per_layer(s) ? model->hparams.n_layers : 1); l++)
            if (!is_so(model, s, l)) {
                *slot = s;
                *layer = l;
                return true;
            }
    return false;
}

static bool present_or_optional(lc_model *model, int32_t slot, int32_t layer)
{
    return present(model, slot, layer) || optional(slot);
}

static bool whole_or_absent(lc_model *model, int32_t slot, int32_t layer)
{
    return !present(model, slot, layer) || whole(model, slot, layer);
}

/* Chooses what stays in the last-level cache from one token of an answer to the next: as many of the first matrices as
 * there is room for.  What a model's weights leave there in turn is gone before the next token comes round. */
static void choose_kept(lc_model *model)
{
    size_t all = 0;
    lc_matrix *m;
    for (int32_t i = 0; (m = matrix_in_order(model, i)); i++)
        all += lc_matrix_bytes(m);
    const size_t room = lc_ahead_room(all);
    bool keep = true;
    for (int32_t i = 0; (m = matrix_in_order(model, i)); i++) {
        keep = keep && lc_matrix_bytes(m) <= room - model->kept;
        model->kept += keep ? lc_matrix_bytes(m) : 0;
        lc_matrix_keep(m, keep);
    }
}

lc_status lc_model_finish(lc_model *model, int32_t *missing_slot, int32_t *missing_layer)
{
    if (!model || !missing_slot || !missing_layer)
        return LC_ERR_ARGUMENT;
    if (model->finished)
        return LC_OK;
    if (find_place(model, present_or_optional, missing_slot, missing_layer) ||
        find_place(model, whole_or_absent, missing_slot, missing_layer))
        return LC_ERR_STATE;
    choose_kept(model);
    model->finished = true;
    return LC_OK;
}
