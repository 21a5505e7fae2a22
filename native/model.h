/* model.h - the tensors of a Llama model, by layer. */
#ifndef LC_MODEL_H
#define LC_MODEL_H

#include <stdatomic.h>

#include "matrix.h"

/* A weight vector (a norm, or RoPE's factors), padded with zeros to whole LC_PADs. */
typedef struct lc_vector {
    float *values;   /* NULL: not added */
    int64_t n;
    _Atomic bool taken;   /* written, or being written */
} lc_vector;

typedef struct lc_layer {
    lc_vector attn_norm, ffn_norm;
    lc_matrix q, k, v, attn_output;
    lc_matrix gate, up, down;
} lc_layer;

struct lc_model {
    lc_hparams hparams;
    const lc_kernels *kernels;
    lc_arena arena;
    lc_matrix token_embd, output;
    lc_vector output_norm, rope_freqs;
    lc_layer *layers;
    size_t kept; /* bytes that stay in the last-level cache */
    bool finished;
    _Atomic int32_t n_holders;   /* whoever made it, and its contexts */
};

/* One more holder, who frees it with lc_model_free. */
LC_INLINE void lc_model_hold(lc_model *model) { atomic_fetch_add(&model->n_holders, 1); }

/* The matrix that makes logits: the embedding if there is no other. */
LC_INLINE const lc_matrix *lc_model_output(const lc_model *model)
{
    return model->output.panels ? &model->output : &model->token_embd;
}

#endif
