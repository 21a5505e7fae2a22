/* llamachat.h - the C core of llamachat: tensors and numbers.
 *
 * The core evaluates Llama-architecture models.  It opens no file, prints
 * nothing, and keeps no global state but what is known of this processor, and
 * chosen for it (lc_isa_select, lc_last_cache_select).  Whoever calls it parses files, owns text, and hands over shapes
 * and bytes; every shape is checked here again before memory is touched.
 *
 * Every function that can fail returns an lc_status, and leaves its output
 * arguments alone unless that is LC_OK.  A NULL object is LC_ERR_ARGUMENT;
 * freeing NULL does nothing.  Objects are not locked: one thread at a time may
 * use a context, a sampler or a pool; a finished model is read-only and may be
 * shared.  While a model or a matrix is being filled, several threads may write
 * rows of it at once, and do nothing else with it.
 *
 * This header is also read by cffi (native/build.py drops the preprocessor
 * lines), so it holds plain declarations only.
 */
#ifndef LLAMACHAT_H
#define LLAMACHAT_H

#include <stddef.h>
#include <stdint.h>

typedef enum lc_status {
    LC_OK = 0,
    LC_ERR_MEMORY,     /* an allocation failed */
    LC_ERR_ARGUMENT,   /* NULL, or a number outside its documented range */
    LC_ERR_SHAPE,      /* a tensor's rows or columns do not fit the model, or do not fill whole blocks */
    LC_ERR_TYPE,       /* a tensor type that the core does not compute, or not in this slot */
    LC_ERR_STATE,      /* called out of order: rows written twice, tensor missing, model not finished */
    LC_ERR_NONFINITE,  /* a NaN or an infinity in weights (or an f32 scale of 2^120, which makes one), or in logits */
    LC_ERR_CONTEXT,    /* more tokens than the context holds */
    LC_ERR_THREAD,     /* a thread could not be started */
    LC_ERR_CANCELLED   /* the caller's flag was raised; nothing was appended */
} lc_status;

/* ---- instruction sets ------------------------------------------------- */

/* Names of the sets compiled in, best last ("generic", "avx2", ...); NULL past the end. */
const char *lc_isa_name(int32_t index);
/* 1 if this processor can run the set, 0 if it cannot or the name is unknown. */
int32_t lc_isa_supported(const char *name);
/* Chooses the kernels of the models and matrices made from now on; NULL or "" takes the
 * best supported set.  Those that exist keep theirs.  LC_ERR_ARGUMENT: unknown or
 * unsupported. */
lc_status lc_isa_select(const char *name);
/* The set in use (the best one is chosen on first use). */
const char *lc_isa_selected(void);
/* Bytes that the last-level cache is taken to hold by matrices made and models finished from now on, which choose by
 * it what of them shall stay there; 0: what the processor says, or, where it says nothing, as many as there are.  No
 * result depends on it: it is for tests. */
void lc_last_cache_select(size_t bytes);

/* ---- tensor types ----------------------------------------------------- */

/* Numbers are those of ggml, and layouts those of GGUF (little-endian), up to BF16.  From 256 on are blocks of files
 * older than that, which ggml has no number for: 32 weights with scales in float32, where others have float16 (f32 d,
 * in Q4_1 f32 m, then the quants of their namesakes), and Q4_2 and Q4_3, whose scales in float16 serve 16 weights each
 * (f16 d of the first and of the second 16, in Q4_3 f16 m of both, then the nibbles of Q4_0). */
typedef enum lc_type {
    LC_F32 = 0,
    LC_F16 = 1,
    LC_Q4_0 = 2,
    LC_Q4_1 = 3,
    LC_Q5_0 = 6,
    LC_Q5_1 = 7,
    LC_Q8_0 = 8,
    LC_Q2_K = 10,
    LC_Q3_K = 11,
    LC_Q4_K = 12,
    LC_Q5_K = 13,
    LC_Q6_K = 14,
    LC_IQ4_NL = 20,
    LC_IQ4_XS = 23,
    LC_BF16 = 30,
    LC_Q4_0_F32 = 256,
    LC_Q4_1_F32 = 257,
    LC_Q8_0_F32 = 258,
    LC_Q4_2 = 259,
    LC_Q4_3 = 260
} lc_type;

/* Elements and bytes of one block (1 element for the float types). LC_ERR_TYPE: unknown. */
lc_status lc_type_block(int32_t type, int32_t *elements, int32_t *bytes);
/* Expands n elements (whole blocks) of src to float32: the scalar reference of every kernel. */
lc_status lc_dequantize(int32_t type, const void *src, size_t n, float *dst);
/* The way back: n weights (whole blocks) as blocks of a type.  Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0 are ggml's reference
 * to the bit; F16 and BF16 round to nearest, ties to even; Q4_K, Q5_K and Q6_K are searched for.  LC_ERR_TYPE: the
 * core reads the type and does not make it.  LC_ERR_NONFINITE: a weight is not finite, or too large for
 * the type; what dst holds then is of no use. */
lc_status lc_quantize(int32_t type, const float *src, size_t n, void *dst);

/* ---- threads ---------------------------------------------------------- */

typedef struct lc_pool lc_pool;

/* A pool of n_threads (1..256) workers, the calling thread being one of them.  Idle
 * workers spin for some microseconds and then sleep, so an idle pool uses no CPU. */
lc_status lc_pool_create(int32_t n_threads, lc_pool **out);
void lc_pool_free(lc_pool *pool);

/* ---- one matrix (what models are made of; on its own for tests and benchmarks) -------- */

typedef struct lc_matrix lc_matrix;

/* How activations are rounded before they meet weights. */
typedef enum lc_rounding {
    LC_ROUND_FAST = 0,   /* batches of 64 tokens or more are read two to three times as fast, with activations of 8 bits
                            where weights are quantised, and in bf16 where weights are F16 or BF16 and the processor
                            multiplies that; smaller ones as LC_ROUND_EXACT */
    LC_ROUND_EXACT,      /* 15 bits where weights are quantised, floats otherwise */
    LC_ROUND_LLAMA_CPP,  /* first as llama.cpp's kernels for processors do it, so that figures of both compare: 8 bits
                            in blocks of 32 where weights have such, of 256 where theirs have, f16 or bf16 where weights
                            are that; then as LC_ROUND_EXACT */
    LC_N_ROUNDINGS
} lc_rounding;

/* rows x cols weights of a type, laid out for the kernels in use. */
lc_status lc_matrix_create(int32_t type, int64_t rows, int64_t cols, lc_matrix **out);
/* Repacks n_rows whole rows in the file's layout; each row exactly once, in any order, from any thread.  Fastest from
 * a multiple of 16 rows on, and 16 or more at a time.  LC_ERR_STATE: one of the rows is written, or being written by
 * another thread.  LC_ERR_NONFINITE: a weight or a block's scale is not finite; none of the rows counts as written. */
lc_status lc_matrix_write(lc_matrix *m, int64_t first_row, int64_t n_rows, const void *bytes, size_t n_bytes);
/* y[n][rows] = x[n][cols] times the matrix's transpose, the batch being all n tokens.
 * LC_ERR_STATE: rows are missing. */
lc_status lc_matrix_multiply(const lc_matrix *m, lc_pool *pool, const float *x, int64_t n, int32_t rounding,
                             float *y);
/* Reads one row back as float32[cols], exactly the values that lc_dequantize gives. */
lc_status lc_matrix_row(const lc_matrix *m, int64_t row, float *dst);
size_t lc_matrix_bytes(const lc_matrix *m);
void lc_matrix_free(lc_matrix *m);

/* ---- model ------------------------------------------------------------ */

typedef struct lc_hparams {
    int32_t n_vocab;     /* 1..2^24 */
    int32_t n_embd;      /* 1..2^20 */
    int32_t n_ff;        /* 1..2^22 */
    int32_t n_layers;    /* 1..1024 */
    int32_t n_heads;     /* 1..4096 */
    int32_t n_kv_heads;  /* divides n_heads */
    int32_t head_dim;    /* even, 2..1024; n_heads * head_dim need not equal n_embd */
    float norm_eps;      /* finite, >= 0: added to the mean square in RMSNorm */
    float rope_base;     /* finite, > 0: theta of RoPE */
    float rope_scale;    /* finite, > 0: positions are multiplied by it (linear scaling: 1/factor) */
} lc_hparams;

/* The places of a Llama model that hold a tensor.  The first four are the model's
 * (layer 0 is passed), the others one per layer.  A matrix is [rows out][cols in],
 * a vector is one row. */
typedef enum lc_slot {
    LC_TOKEN_EMBD = 0,  /* n_vocab x n_embd */
    LC_OUTPUT_NORM,     /* 1 x n_embd, F32 */
    LC_OUTPUT,          /* n_vocab x n_embd; left out: tied to the embedding */
    LC_ROPE_FREQS,      /* 1 x head_dim/2, F32; left out: ones; divides each frequency */
    LC_ATTN_NORM,       /* 1 x n_embd, F32 */
    LC_ATTN_Q,          /* n_heads*head_dim x n_embd, rows in Meta order (RoPE on adjacent pairs) */
    LC_ATTN_K,          /* n_kv_heads*head_dim x n_embd, likewise */
    LC_ATTN_V,          /* n_kv_heads*head_dim x n_embd */
    LC_ATTN_OUTPUT,     /* n_embd x n_heads*head_dim */
    LC_FFN_NORM,        /* 1 x n_embd, F32 */
    LC_FFN_GATE,        /* n_ff x n_embd */
    LC_FFN_UP,          /* n_ff x n_embd */
    LC_FFN_DOWN,        /* n_embd x n_ff */
    LC_N_SLOTS
} lc_slot;

typedef struct lc_model lc_model;

lc_status lc_model_create(const lc_hparams *hparams, lc_model **out);
/* The shape that a slot must have (rows is 1 for vectors). */
lc_status lc_model_shape(const lc_model *model, int32_t slot, int64_t *rows, int64_t *cols);
/* Makes room for a tensor.  Each slot once; rows and cols must be lc_model_shape's.  LC_FFN_GATE and LC_FFN_UP of a
 * layer get their memory together: neither can be written before both are added. */
lc_status lc_model_add(lc_model *model, int32_t slot, int32_t layer, int32_t type, int64_t rows, int64_t cols);
/* Repacks whole rows of a tensor that was added, as lc_matrix_write does.  LC_ERR_NONFINITE
 * is also for the inverse of a factor of LC_ROPE_FREQS. */
lc_status lc_model_write(lc_model *model, int32_t slot, int32_t layer, int64_t first_row, int64_t n_rows,
                         const void *bytes, size_t n_bytes);
/* Checks that every required tensor is there and whole, after which the model is read-only.
 * LC_ERR_STATE: one is not; it is named. */
lc_status lc_model_finish(lc_model *model, int32_t *missing_slot, int32_t *missing_layer);
/* Bytes of its weights that shall stay in the last-level cache from one token of an answer to the next. */
size_t lc_model_kept_bytes(const lc_model *model);
size_t lc_model_bytes(const lc_model *model);
void lc_model_free(lc_model *model);

/* ---- context: a model's KV cache and scratch memory -------------------- */

typedef struct lc_context lc_context;

typedef struct lc_context_options {
    int32_t n_ctx;    /* tokens that it has room for, 1..2^24 */
    int32_t n_batch;  /* prompts are evaluated up to this many tokens at a time, >= 1; above n_ctx, or above 4096, it
                         counts as that */
    int32_t kv_type;  /* of the KV cache: LC_F16, or LC_Q8_0: half as much memory (blocks of 32 along a head, the last
                         one padded), values off by up to 1/254 of their block's largest */
    int32_t rounding; /* lc_rounding */
} lc_context_options;

/* Pages of the cache become resident as they are used.  The context holds on to the model and the pool: they may be
 * freed before it, in any order.  LC_ERR_TYPE: the core keeps no cache of that type. */
lc_status lc_context_create(lc_model *model, lc_pool *pool, const lc_context_options *options, lc_context **out);
/* Appends n token ids (each below n_vocab) and computes the logits of the last one.  The
 * flag is looked at in every layer; raised, nothing is appended and LC_ERR_CANCELLED is
 * returned.  cancel may be NULL. */
lc_status lc_context_eval(lc_context *ctx, const int32_t *ids, int32_t n, const volatile int32_t *cancel);
/* Appends n (at most n_batch) token ids likewise, but computes no logits: those of the last n_rows (0..n) tokens are
 * there for lc_context_rows.  It is how texts are scored. */
lc_status lc_context_eval_rows(lc_context *ctx, const int32_t *ids, int32_t n, int32_t n_rows,
                               const volatile int32_t *cancel);
/* Computes the logits of those tokens number first..first+n-1 (0 is the earliest) into logits[n][n_vocab], until the
 * next eval or truncate; any number of times.  LC_ERR_STATE: there are not so many.  LC_ERR_NONFINITE, and
 * LC_ERR_CANCELLED: what logits holds is of no use. */
lc_status lc_context_rows(lc_context *ctx, int32_t first, int32_t n, float *logits, const volatile int32_t *cancel);
/* Tokens held. */
int32_t lc_context_length(const lc_context *ctx);
/* Forgets all but the first n_keep tokens; the logits are no longer valid. */
lc_status lc_context_truncate(lc_context *ctx, int32_t n_keep);
/* float32[n_vocab] of the token evaluated last, valid until the next eval or truncate;
 * NULL if there are none. */
const float *lc_context_logits(const lc_context *ctx);
size_t lc_context_bytes(const lc_context *ctx);
void lc_context_free(lc_context *ctx);

/* ---- sampling --------------------------------------------------------- */

typedef struct lc_sampling {
    float temperature;     /* >= 0; 0 is greedy: the highest logit after the penalty, lowest id on ties */
    float top_p;           /* 0..1; 1 keeps all */
    float min_p;           /* 0..1; 0 keeps all: keeps tokens with p >= min_p * p of the likeliest */
    float repeat_penalty;  /* > 0; 1 is none: a positive logit of a token in the window is divided by it,
                              another multiplied */
    int32_t top_k;         /* >= 0; 0 keeps all */
} lc_sampling;

typedef struct lc_sampler lc_sampler;

/* The random numbers of a seed (and scratch memory for n_vocab candidates). */
lc_status lc_sampler_create(int32_t n_vocab, uint64_t seed, lc_sampler **out);
void lc_sampler_reseed(lc_sampler *sampler, uint64_t seed);
/* Draws a token: penalty over the n_window ids of window, then top-k, top-p, min-p, then
 * temperature, then one random number (none is used when greedy).  The logits are not
 * changed.  The result depends on the arguments and the seed alone. */
lc_status lc_sampler_draw(lc_sampler *sampler, const float *logits, const lc_sampling *how,
                          const int32_t *window, int32_t n_window, int32_t *id);
/* The probability with which lc_sampler_draw would take each of n_ids ids: 0 for those that it leaves out.  No random
 * number is used. */
lc_status lc_sampler_shares(lc_sampler *sampler, const float *logits, const lc_sampling *how,
                            const int32_t *window, int32_t n_window, const int32_t *ids, int32_t n_ids,
                            float *shares);
void lc_sampler_free(lc_sampler *sampler);

/* Natural logarithms of the softmax of the raw logits: of id (logprob may be NULL), and of
 * the n_top (0..n_vocab) likeliest, best first, lowest id first on ties. */
lc_status lc_logprobs(const float *logits, int32_t n_vocab, int32_t id, float *logprob,
                      int32_t n_top, int32_t *top_ids, float *top_logprobs);
/* The Kullback-Leibler divergence of q from p, in nats: the mean over p of log p - log q, p and q being the softmax of
 * two rows of raw logits.  0 where they are the same; never below. */
lc_status lc_kl_divergence(const float *p, const float *q, int32_t n_vocab, double *divergence);

#endif /* LLAMACHAT_H */
