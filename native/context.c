/* context.c - memory of a context, and evaluating token ids in batches. */
#include "context.h"
#include "select.h"

#include <math.h>
#include <stdlib.h>

/* Longest batch: more gains nothing, and scratch memory grows with it. */
#define BATCH_MAX 4096

/* ---- memory ---- */

/* Adds n * size to *total, or marks it as overflown (SIZE_MAX). */
static size_t *claim(size_t *total, int64_t n, int64_t m, size_t size)
{
    size_t bytes;
    if (!lc_mul((size_t)n, (size_t)m, &bytes) || !lc_mul(bytes, size, &bytes) || bytes > SIZE_MAX - LC_CACHE_LINE ||
        *total > SIZE_MAX - bytes - LC_CACHE_LINE)
        *total = SIZE_MAX;
    else
        *total += (bytes + LC_CACHE_LINE - 1) / LC_CACHE_LINE * LC_CACHE_LINE;
    return total;
}

static bool alloc_cache(lc_context *ctx)
{
    const lc_hparams *h = &ctx->model->hparams;
    const int64_t heads = (int64_t)h->n_layers * h->n_kv_heads;
    const size_t stride = (size_t)ctx->head_stride;

    ctx->n_blocks = (size_t)lc_round_up(ctx->n_ctx, LC_KEY_TILE) / LC_KEY_BLOCK;
    ctx->v_block = ctx->kv_q8 ? stride / LC_BLOCK * LC_KV_RECORD : stride * LC_KEY_BLOCK * 2;
    ctx->k_block = ctx->kv_q8 ? ctx->v_block
                              : (size_t)lc_round_up(h->head_dim, LC_KEY_DIMS) * LC_KEY_BLOCK * 2;
    claim(&ctx->k_bytes, heads, (int64_t)ctx->n_blocks, ctx->k_block);
    claim(&ctx->v_bytes, heads, (int64_t)ctx->n_blocks, ctx->v_block);
    ctx->k = ctx->k_bytes == SIZE_MAX ? NULL : lc_pages_alloc(ctx->k_bytes, false);
    ctx->v = ctx->v_bytes == SIZE_MAX ? NULL : lc_pages_alloc(ctx->v_bytes, false);
    return ctx->k && ctx->v;
}

/* Cuts the batch's vectors out of one allocation.  Strides have some floats to spare: kernels that work on a head at an
 * odd place read head_stride floats. */
static bool alloc_floats(lc_context *ctx)
{
    const lc_hparams *h = &ctx->model->hparams;
    const int64_t n = ctx->n_batch;
    const int64_t n_logits = lc_round_up(h->n_vocab, LC_PAD);
    ctx->embd_stride = lc_round_up(h->n_embd, LC_PAD);
    ctx->q_stride = lc_round_up((int64_t)h->n_heads * h->head_dim, LC_PAD) + LC_BLOCK;
    ctx->kv_stride = lc_round_up((int64_t)h->n_kv_heads * h->head_dim, LC_PAD) + LC_BLOCK;
    ctx->ff_stride = lc_round_up(h->n_ff, LC_PAD);

    const struct { float **place; int64_t n, m; } vectors[] = {
        {&ctx->x, n, ctx->embd_stride},      {&ctx->q, n, ctx->q_stride},
        {&ctx->keys, n, ctx->kv_stride},     {&ctx->values, n, ctx->kv_stride},
        {&ctx->attended, n, ctx->q_stride},  {&ctx->hidden, n, ctx->ff_stride},
        {&ctx->cosine, n, ctx->head_stride}, {&ctx->sine, n, ctx->head_stride},
        {&ctx->logits, 1, n_logits},         {&ctx->partial, 1, lc_attention_partial_floats(h, ctx->head_stride)},
    };
    const size_t n_vectors = sizeof vectors / sizeof *vectors;
    for (size_t i = 0; i < n_vectors; i++)
        claim(&ctx->floats_bytes, vectors[i].n, vectors[i].m, sizeof(float));
    ctx->floats = ctx->floats_bytes == SIZE_MAX ? NULL : lc_pages_alloc(ctx->floats_bytes, false);
    if (!ctx->floats)
        return false;
    size_t at = 0;
    for (size_t i = 0; i < n_vectors; i++) {
        *vectors[i].place = ctx->floats + at / sizeof(float);
        claim(&at, vectors[i].n, vectors[i].m, sizeof(float));
    }
    return true;
}

static int64_t widest_row(const lc_context *ctx)
{
    const lc_hparams *h = &ctx->model->hparams;
    return lc_max(lc_max(h->n_embd, h->n_ff), (int64_t)h->n_heads * h->head_dim);
}

static bool alloc_scratch(lc_context *ctx)
{
    const int32_t n_threads = lc_pool_threads(ctx->pool);
    const int64_t rows = ctx->attention_rows, stride = ctx->head_stride, wide = lc_round_up(widest_row(ctx), LC_PAD);
    size_t one = 0;

    claim(claim(claim(&one, wide, LC_TILE, 4), rows, stride, 4), rows, stride, 4); /* rows, q, acc */
    claim(claim(claim(&one, rows, 1, 4), rows, 1, 4), rows, 1, 4);           /* top, sum, visible */
    claim(claim(&one, lc_attention_scratch(rows, stride), 1, 4), (int64_t)lc_multiply_scratch_bytes(), 1, 1);
    claim(claim(&one, (int64_t)ctx->v_block, 1, 1), (int64_t)ctx->v_block, 1, 1);
    ctx->scratch = calloc((size_t)n_threads, sizeof *ctx->scratch);
    if (one == SIZE_MAX || !ctx->scratch || !lc_mul(one, (size_t)n_threads, &ctx->scratch_bytes))
        return false;
    ctx->scratch_memory = lc_pages_alloc(ctx->scratch_bytes, false);
    if (!ctx->scratch_memory)
        return false;
    for (int32_t i = 0; i < n_threads; i++) {
        lc_scratch *s = &ctx->scratch[i];
        uint8_t *memory = ctx->scratch_memory + (size_t)i * one;
        size_t at = 0;
        s->rows = (float *)(void *)memory, claim(&at, wide, LC_TILE, 4);
        s->q = (float *)(void *)(memory + at), claim(&at, rows, stride, 4);
        s->acc = (float *)(void *)(memory + at), claim(&at, rows, stride, 4);
        s->top = (float *)(void *)(memory + at), claim(&at, rows, 1, 4);
        s->sum = (float *)(void *)(memory + at), claim(&at, rows, 1, 4);
        s->visible = (int32_t *)(void *)(memory + at), claim(&at, rows, 1, 4);
        s->attention = (float *)(void *)(memory + at), claim(&at, lc_attention_scratch(rows, stride), 1, 4);
        s->own_k = memory + at, claim(&at, (int64_t)ctx->v_block, 1, 1);
        s->own_v = memory + at, claim(&at, (int64_t)ctx->v_block, 1, 1);
        s->product = memory + at;
        if (!lc_activations_alloc(&s->activations, ctx->model->kernels, widest_row(ctx), 1))
            return false;
    }
    return lc_activations_alloc(&ctx->activations, ctx->model->kernels, widest_row(ctx), ctx->n_batch);
}

static bool make_frequencies(lc_context *ctx)
{
    const lc_hparams *h = &ctx->model->hparams;
    const float *factors = ctx->model->rope_freqs.values;
    ctx->frequencies = malloc((size_t)h->head_dim / 2 * sizeof(double));
    for (int32_t i = 0; ctx->frequencies && i < h->head_dim / 2; i++)
        ctx->frequencies[i] = (double)h->rope_scale * pow(h->rope_base, -2.0 * i / h->head_dim) /
                              (factors ? (double)factors[i] : 1.0);
    return ctx->frequencies != NULL;
}

lc_status lc_context_create(lc_model *model, lc_pool *pool, const lc_context_options *options, lc_context **out)
{
    if (!model || !pool || !options || !out || options->n_ctx < 1 || options->n_ctx > 1 << 24 || options->n_batch < 1 ||
        options->rounding < 0 || options->rounding >= LC_N_ROUNDINGS)
        return LC_ERR_ARGUMENT;
    if (options->kv_type != LC_F16 && options->kv_type != LC_Q8_0)
        return LC_ERR_TYPE;
    if (!model->finished)
        return LC_ERR_STATE;
    lc_context *ctx = calloc(1, sizeof *ctx);
    if (!ctx)
        return LC_ERR_MEMORY;
    const lc_hparams *h = &model->hparams;
    ctx->model = model;
    ctx->pool = pool;
    lc_model_hold(model);
    lc_pool_hold(pool);
    ctx->n_ctx = options->n_ctx;
    ctx->n_batch = (int32_t)lc_min(lc_min(options->n_batch, options->n_ctx), BATCH_MAX);
    ctx->rounding = options->rounding;
    ctx->kv_q8 = options->kv_type == LC_Q8_0;
    ctx->head_stride = (int32_t)lc_round_up(h->head_dim, ctx->kv_q8 ? LC_BLOCK : LC_PAD);
    ctx->attention_rows = (int32_t)lc_round_up(h->n_heads / h->n_kv_heads, LC_QUERIES);
    if (!alloc_cache(ctx) || !alloc_floats(ctx) || !alloc_scratch(ctx) || !make_frequencies(ctx)) {
        lc_context_free(ctx);
        return LC_ERR_MEMORY;
    }
    *out = ctx;
    return LC_OK;
}

void lc_context_free(lc_context *ctx)
{
    if (!ctx)
        return;
    lc_pool_settle(ctx->pool);
    for (int32_t i = 0; ctx->scratch && i < lc_pool_threads(ctx->pool); i++)
        lc_activations_free(&ctx->scratch[i].activations);
    lc_activations_free(&ctx->activations);
    lc_pages_free(ctx->k, ctx->k_bytes);
    lc_pages_free(ctx->v, ctx->v_bytes);
    lc_pages_free(ctx->floats, ctx->floats_bytes);
    lc_pages_free(ctx->scratch_memory, ctx->scratch_bytes);
    free(ctx->frequencies);
    free(ctx->scratch);
    lc_model_free(ctx->model);
    lc_pool_free(ctx->pool);
    free(ctx);
}

/* ---- use ---- */

size_t lc_context_bytes(const lc_context *ctx)
{
    if (!ctx)
        return 0;
    const int64_t cols = lc_round_up(widest_row(ctx), LC_BLOCK);
    size_t packed = 0;
    for (int form = 0; form < LC_N_FORMS; form++)
        packed += lc_activations_bytes((lc_form)form, cols, ctx->n_batch) +
                  lc_activations_bytes((lc_form)form, cols, 1) * (size_t)lc_pool_threads(ctx->pool);
    return ctx->k_bytes + ctx->v_bytes + ctx->floats_bytes + ctx->scratch_bytes + packed;
}

int32_t lc_context_length(const lc_context *ctx) { return ctx ? ctx->length : 0; }

lc_status lc_context_truncate(lc_context *ctx, int32_t n_keep)
{
    if (!ctx || n_keep < 0 || n_keep > ctx->length)
        return LC_ERR_ARGUMENT;
    ctx->length = n_keep;
    ctx->has_logits = false;
    ctx->n_rows = 0;
    return LC_OK;
}

const float *lc_context_logits(const lc_context *ctx) { return ctx && ctx->has_logits ? ctx->logits : NULL; }

/* Sharing costs some microseconds a layer, in which one thread reads about this much.  (A 260K model makes 46,000
 * tokens/s alone, 28,000 with two threads.) */
#define ALONE_BYTES ((size_t)512 << 10)

static lc_sharing sharing_of(const lc_context *ctx, int32_t n)
{
    if (lc_model_bytes(ctx->model) / (size_t)ctx->model->hparams.n_layers < ALONE_BYTES / (size_t)n)
        return LC_ALONE;
    return n < LC_FAST_TOKENS ? LC_TOGETHER : LC_APART;
}

/* Appends ids in batches; the last n_rows of them, all in the last batch, go through the last layer. */
static lc_status evaluate(lc_context *ctx, const int32_t *ids, int32_t n, int32_t n_rows, float *logits,
                          const volatile int32_t *cancel)
{
    for (int32_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= ctx->model->hparams.n_vocab)
            return LC_ERR_ARGUMENT;
    if (n > ctx->n_ctx - ctx->length)
        return LC_ERR_CONTEXT;

    ctx->has_logits = false;
    ctx->n_rows = 0;
    for (int32_t done = 0; done < n;) {
        const int32_t size = (int32_t)lc_min(n - done, ctx->n_batch);
        const bool last = done + size == n;
        const lc_batch batch = {ctx, ids + done, cancel, ctx->length + done, size, last ? n_rows : 0,
                                last ? logits : NULL};
        if (!lc_pool_run(ctx->pool, lc_forward, &batch, sizeof batch, sharing_of(ctx, size)))
            return LC_ERR_CANCELLED;
        done += size;
    }
    return LC_OK;
}

lc_status lc_context_eval(lc_context *ctx, const int32_t *ids, int32_t n, const volatile int32_t *cancel)
{
    if (!ctx || !ids || n < 1)
        return LC_ERR_ARGUMENT;
    const lc_status status = evaluate(ctx, ids, n, 1, ctx->logits, cancel);
    float highest;
    if (status != LC_OK)
        return status;
    if (!lc_logits_highest(ctx->logits, ctx->model->hparams.n_vocab, &highest))
        return LC_ERR_NONFINITE;
    ctx->length += n;
    ctx->has_logits = true;
    return LC_OK;
}

lc_status lc_context_eval_rows(lc_context *ctx, const int32_t *ids, int32_t n, int32_t n_rows,
                               const volatile int32_t *cancel)
{
    if (!ctx || !ids || n < 1 || n > ctx->n_batch || n_rows < 0 || n_rows > n)
        return LC_ERR_ARGUMENT;
    const lc_status status = evaluate(ctx, ids, n, n_rows, NULL, cancel);
    if (status != LC_OK)
        return status;
    ctx->length += n;
    ctx->n_rows = n_rows;
    ctx->rows_at = n - n_rows;
    return LC_OK;
}

/* Rows that the output matrix is multiplied with at once: fewer than make a long prompt, whose activations have less
 * precision; those of an answer's logits have not. */
#define ROWS_AT_ONCE 48
_Static_assert(ROWS_AT_ONCE < LC_FAST_TOKENS, "logits of rows are as exact as an answer's");

lc_status lc_context_rows(lc_context *ctx, int32_t first, int32_t n, float *logits, const volatile int32_t *cancel)
{
    if (!ctx || !logits || first < 0 || n < 1)
        return LC_ERR_ARGUMENT;
    if (n > ctx->n_rows - first)
        return LC_ERR_STATE;
    const int32_t n_vocab = ctx->model->hparams.n_vocab;
    for (int32_t done = 0; done < n; done += ROWS_AT_ONCE) {
        const int32_t size = (int32_t)lc_min(n - done, ROWS_AT_ONCE);
        const lc_rows rows = {ctx, cancel, ctx->rows_at + first + done, size, logits + (int64_t)done * n_vocab};
        if (!lc_pool_run(ctx->pool, lc_forward_rows, &rows, sizeof rows, sharing_of(ctx, size)))
            return LC_ERR_CANCELLED;
        float highest;
        for (int32_t i = 0; i < size; i++)
            if (!lc_logits_highest(rows.logits + (int64_t)i * n_vocab, n_vocab, &highest))
                return LC_ERR_NONFINITE;
    }
    return LC_OK;
}
