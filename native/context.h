/* context.h - what evaluating needs beside the model: the KV cache and scratch memory. */
#ifndef LC_CONTEXT_H
#define LC_CONTEXT_H

#include "model.h"

/* One thread's own memory. */
typedef struct lc_scratch {
    lc_activations activations;  /* one token, packed: cheaper to do in every thread than to wait for one */
    float *rows;                 /* the widest vectors of a tile's tokens */
    float *q, *acc, *top, *sum;  /* attention's queries and sums: [rows][stride], [rows] */
    int32_t *visible;
    float *attention;            /* lc_attention.scratch */
    uint8_t *own_k, *own_v;      /* a token's key and value of one head: lc_attention's; room for a block, of whose
                                    records they have a part */
    uint8_t *product;            /* lc_multiply_scratch_bytes */
} lc_scratch;

struct lc_context {
    lc_model *model;             /* held, as is the pool */
    lc_pool *pool;
    int32_t n_ctx, n_batch;
    int32_t length;              /* tokens held */
    bool has_logits;
    int32_t rows_at, n_rows;     /* tokens of the last batch whose rows of x went through the last layer */
    int32_t rounding;            /* lc_rounding */

    /* KV cache: for each layer and KV head, keys and values of n_ctx tokens rounded up to whole LC_KEY_TILEs, in blocks
     * of 16; see lc_attention. */
    bool kv_q8;                  /* Q8_0, or f16 */
    int32_t head_stride;         /* head_dim rounded up to LC_PAD, for Q8_0 to 32 */
    size_t k_block, v_block;     /* bytes of a block of keys, of values */
    size_t n_blocks;             /* of one head */
    uint8_t *k, *v;
    size_t k_bytes, v_bytes;

    /* Of the tokens of a batch, each row padded with zeros to whole LC_PADs. */
    int64_t embd_stride, q_stride, kv_stride, ff_stride;
    float *x;                    /* the residual stream */
    float *q, *keys, *values;
    float *attended;             /* [token][n_heads * head_dim] */
    float *hidden;               /* [token][n_ff] */
    float *cosine, *sine;        /* [token][head_stride]: see lc_kernels.rope */
    float *partial;              /* one token's attention, cut by keys: see attention.c */
    float *logits;
    float *floats;               /* the allocation that holds all of the above */
    size_t floats_bytes;
    lc_activations activations;  /* of a batch */

    double *frequencies;         /* [head_dim / 2]: radians per position */

    int32_t attention_rows;      /* queries that a thread attends at once, a multiple of LC_QUERIES */
    lc_scratch *scratch;         /* by rank */
    uint8_t *scratch_memory;
    size_t scratch_bytes;        /* of all threads */
};

/* A batch being evaluated. */
typedef struct lc_batch {
    lc_context *context;
    const int32_t *ids;
    const volatile int32_t *cancel;
    int32_t start;               /* position of the first token */
    int32_t n;
    int32_t n_rows;              /* the last so many tokens go through the last layer to its end */
    float *logits;               /* of the last token, if they are wanted */
} lc_batch;

/* Tokens of a batch that was evaluated, and where their logits go. */
typedef struct lc_rows {
    lc_context *context;
    const volatile int32_t *cancel;
    int32_t first, n;            /* rows of x */
    float *logits;               /* [n][n_vocab] */
} lc_rows;

/* forward.c: evaluates a batch; a job of the pool. */
void lc_forward(const void *batch, lc_team *team);
/* The logits of some rows; a job of the pool. */
void lc_forward_rows(const void *rows, lc_team *team);

/* ---- attention.c: stages of a layer ---- */

/* Floats that one token's attention in parts needs. */
int64_t lc_attention_partial_floats(const lc_hparams *h, int32_t head_stride);
/* Rotates the batch's keys, and stores keys and values in the cache. */
void lc_attention_store(const lc_batch *batch, lc_team *team, int32_t layer);
/* Attends the queries of the tokens first..n-1 of a batch that is stored.  Leaves results in ctx->attended; if it is
 * only one, in parts that lc_attention_join joins into out[n_heads * head_dim]. */
void lc_attention_attend(const lc_batch *batch, lc_team *team, int32_t layer, int32_t first);
void lc_attention_join(const lc_batch *batch, float *out);

#endif
