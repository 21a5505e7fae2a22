/* kernels.h - the functions that have a version per instruction set, as one table per set.
 *
 * The versions differ in the width of a register, and in how activations of quantised matrices are stored; all else
 * of the core is written once, over this table.  A matrix, a model and a context keep the table that they were made
 * with.
 */
#ifndef LC_KERNELS_H
#define LC_KERNELS_H

#include "blocks.h"

#define LC_TILE_MAX 12  /* tokens that one call of a dot kernel takes at most */

/* What activations look like to a dot kernel.  They are packed in tiles of a few tokens, so that a kernel reads one
 * stream; width is the number of tokens that a tile has room for (lc_kernels.width).
 *   floats:    f32 [column][token]
 *   integers:  for each block of 32 columns a record: x is about d * q, q an integer of 15 bits (see below);
 *                q           64 bytes a token, in an order of the set's own
 *                d           f32 [token]
 *                start       i32 [2][token]: -128 * sum(q), of the block's 32 columns and of the first 16
 *                scaled_sum  f32 [2][token]: d * sum(q), likewise
 */
typedef enum lc_form { LC_FORM_FLOATS, LC_FORM_INTEGERS, LC_N_FORMS } lc_form;

/* |q| <= 127 * 128: a high int8 plane of at most 127, and a low one of -64..63, make it whole.  One plane (8 bits)
 * would put log-probabilities of a 135M model off by up to 0.18; two add 0.003 to what the f16 cache does. */
#define LC_Q_MAX 16256
/* A block whose largest magnitude is below this is zero; the inverse of its scale would not be finite. */
#define LC_Q_TINY 1e-30f
/* What start takes for the q of a weight that is zero: no type's is more. */
#define LC_START_ZERO 128

/* Offsets in a record of integers, and its size. */
typedef struct lc_record {
    size_t d, start, scaled_sum, bytes;
} lc_record;

LC_INLINE lc_record lc_record_of(int32_t width)
{
    const size_t n = (size_t)width;
    return (lc_record){n * 64, n * 68, n * 76, n * 84};
}

/* out[n][rows of a panel] = the panel times n tokens of a tile. */
typedef void lc_dot_kernel(const lc_panel_layout *layout, const uint8_t *panel, const void *tile, int32_t n,
                           float *out);
/* Packs one token of cols values into a tile as number token; x may be NULL: zeros. */
typedef void lc_pack_kernel(const float *x, int64_t cols, int32_t token, int32_t width, void *tile);

/* ---- attention ---- */

#define LC_KEY_BLOCK 16 /* keys stored side by side */
#define LC_KEY_TILE 64  /* keys that one step of attention reads; a cache has room for whole tiles */

/* The cache of one KV head is a row of blocks of 16 keys, and likewise of values.
 *   f16:   keys [head_dim][16 keys], values [16 keys][stride], stride being head_dim rounded up to LC_PAD
 *   Q8_0:  for every 32 dimensions (the last ones padded with zeros) a record: f16 scales [16 keys], then int8 of
 *          keys [32 dimensions][16 keys], of values [16 keys][32 dimensions]; stride is head_dim rounded up to 32 */
#define LC_KV_RECORD (LC_KEY_BLOCK * (2 + LC_BLOCK))

/* Attention of some queries, all of one KV head, over the keys first..last-1: online softmax, tile by tile. */
typedef struct lc_attention {
    int32_t head_dim;
    int32_t stride;         /* floats in a row of q and acc */
    int32_t n_rows;         /* queries */
    int32_t first, last;    /* keys; first is a multiple of LC_KEY_TILE */
    bool q8;                /* the cache's type: Q8_0, or f16 */
    size_t k_bytes, v_bytes; /* of a block of 16 keys */
    const uint8_t *k, *v;   /* the cache */
    const float *q;         /* [n_rows][stride], times log2(e) / sqrt(head_dim); zeros from head_dim on */
    const int32_t *visible; /* [n_rows], ascending: a query sees the keys below this */
    float *acc;             /* [n_rows][stride]: sum of 2^(score - top) * v */
    float *top;             /* [n_rows]: the highest score */
    float *sum;             /* [n_rows]: sum of 2^(score - top) */
    float *scratch;         /* lc_attention_scratch floats.  It, q, acc, visible, top and sum have room for n_rows
                               rounded up to LC_QUERIES rows. */
} lc_attention;

#define LC_QUERIES 48       /* a multiple of how many queries any set attends together */

/* Floats of lc_attention.scratch for n_rows (a multiple of LC_QUERIES). */
LC_INLINE int64_t lc_attention_scratch(int64_t n_rows, int64_t stride)
{
    return 2 * n_rows * stride + LC_KEY_TILE * (2 * stride + LC_QUERIES);
}

typedef struct lc_kernels {
    const char *name;
    int32_t panel;                    /* rows in a panel */
    int32_t tile;                     /* tokens in a full tile */
    uint8_t width[LC_TILE_MAX + 1];   /* by number of tokens: the width their tile is packed for */

    lc_form (*form)(const lc_type_info *info);
    lc_dot_kernel *(*dot)(const lc_type_info *info);
    lc_pack_kernel *pack[LC_N_FORMS];

    /* Of vectors padded with zeros to whole LC_PADs; n is the true length. */
    void (*rmsnorm)(const float *x, const float *weight, int64_t n, float eps, float *out);
    void (*swiglu)(float *gate, const float *up, int64_t n); /* gate = silu(gate) * up */
    /* Rotates adjacent pairs.  cosine and sine hold each angle twice, sine with the sign of its place (-, +). */
    void (*rope)(const float *x, const float *cosine, const float *sine, int64_t n, float scale, float *out);
    void (*to_f16)(const float *x, int64_t n, uint16_t *out);
    void (*attend)(const lc_attention *attention);
} lc_kernels;

/* One token's weights come from memory, and the processor's own prefetching starts anew at every page: asking for the n
 * bytes that are read this much later makes one thread a fifth to a third faster (48 GB/s instead of 34-42). */
#define LC_PREFETCH_AHEAD 8192

LC_INLINE void lc_prefetch(const uint8_t *at, size_t n)
{
    for (size_t i = 0; i < n; i += LC_CACHE_LINE)
        __builtin_prefetch(at + i);
}

/* For what is read n bytes a step.  The address may be past the end: then nothing happens. */
LC_INLINE void lc_prefetch_ahead(const uint8_t *at, size_t n)
{
    for (size_t i = 0; i < n; i += LC_CACHE_LINE)
        __builtin_prefetch((const void *)((uintptr_t)at + LC_PREFETCH_AHEAD + i));
}

/* The table in use. */
const lc_kernels *lc_kernels_selected(void);

extern const lc_kernels lc_kernels_generic;
#if defined(__x86_64__)
extern const lc_kernels lc_kernels_avx2;
extern const lc_kernels lc_kernels_avx512;
#elif defined(__aarch64__)
extern const lc_kernels lc_kernels_neon;
#endif

#endif
